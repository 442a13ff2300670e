// SPDX-License-Identifier: Apache-2.0
/* config-deployment. Failure mode: the first key that cannot be read, or is out of its bounds. */
#include "serving/config_deployment.h"

#include <stdio.h>

#include "base/num.h"
#include "base/strbuf.h"
#include "serving/config_keys.h"
#include "serving/rules.h"
#include "yaml/yparse.h"

#define SECOND_NS INT64_C(1000000000)

void deployment_config_init(struct deployment_config *config)
{
    *config = (struct deployment_config){
        .progress_deadline_s = 600,
        .digest_timeout_ms = 10000,
        .skipped_registries = "kind.local,ko.local,dev.local",
        .requests = {"25m"},
        .spread_over_nodes = true,
    };
}

static int read_deadline(struct deployment_config *next, const json_t *data, struct error *err)
{
    char text[NUM_DURATION_MAX];
    int64_t ns = next->progress_deadline_s * SECOND_NS;
    int rc = config_duration(data, "progress-deadline", "progressDeadline", &ns, err);
    if (rc < 0) {
        return rc;
    }
    if (ns <= 0) {
        return error_set(err, ERR_INVALID,
                         "progress-deadline cannot be a non-positive duration, was %s",
                         num_format_duration_ns(ns, text, sizeof(text)));
    }
    if (ns % SECOND_NS != 0) {
        return error_set(err, ERR_INVALID,
                         "progress-deadline must be rounded to a whole second, was: %s",
                         num_format_duration_ns(ns, text, sizeof(text)));
    }
    next->progress_deadline_s = ns / SECOND_NS;
    int64_t digest_ns = 10 * SECOND_NS;
    rc = config_duration(data, "digest-resolution-timeout", "digestResolutionTimeout", &digest_ns,
                         err);
    if (rc == 0 && digest_ns <= 0) {
        rc = error_set(err, ERR_INVALID,
                       "digest-resolution-timeout cannot be a non-positive duration, was %s",
                       num_format_duration_ns(digest_ns, text, sizeof(text)));
    }
    next->digest_timeout_ms = digest_ns / 1000000;
    return rc;
}

static int read_affinity(struct deployment_config *next, const json_t *data, struct error *err)
{
    const char *text = config_text(data, "default-affinity-type", NULL);
    if (text == NULL) {
        return 0;
    }
    next->spread_over_nodes = strcmp(text, "prefer-spread-revision-over-nodes") == 0;
    if (!next->spread_over_nodes && strcmp(text, "none") != 0) {
        return error_set(err, ERR_INVALID, "unsupported default-affinity-type value: \"%s\"", text);
    }
    return 0;
}

/* The one document of the text: an object of classes, or NULL when it is empty. A new reference. */
static int parse_classes(const char *text, json_t **out, struct error *err)
{
    struct yaml_docs docs = {0};
    int rc = yparse(slice_str(text), &docs, err);
    if (rc == 0 && (docs.count > 1 || (docs.count == 1 && !json_is_object(docs.items[0].value)))) {
        rc = error_set(err, ERR_INVALID, "not a map of class names");
    }
    if (rc == 0) {
        *out = docs.count == 0 ? NULL : json_incref(docs.items[0].value);
    }
    yaml_docs_fini(&docs);
    return rc;
}

static int read_classes(struct deployment_config *next, const json_t *data, struct error *err)
{
    static const char key[] = "runtime-class-name";
    json_t *classes = NULL;
    int rc =
        config_copy(data, key, NULL, next->runtime_classes, sizeof(next->runtime_classes), err);
    if (rc < 0) {
        return rc;
    }
    rc = parse_classes(next->runtime_classes, &classes, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s cannot be parsed, please check the format", key);
    }
    const char *name;
    json_t *value;
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    json_object_foreach(classes, name, value)
    {
        if (rc == 0 && words_dns1123_subdomain(slice_str(name), ", ", &words) != 0) {
            rc = error_set(err, ERR_INVALID, "%s %s selector not valid DNSSubdomain: [%s]", key,
                           name, words.ptr);
        }
    }
    json_decref(classes);
    return rc;
}

void deployment_config_class(const struct deployment_config *config, const json_t *labels,
                             char out[static DEPLOYMENT_CLASS_BUF])
{
    json_t *classes = NULL;
    const char *name;
    json_t *value;
    ssize_t best = -1;
    out[0] = '\0';
    if (config->runtime_classes[0] == '\0' ||
        parse_classes(config->runtime_classes, &classes, NULL) < 0) {
        return;
    }
    json_object_foreach(classes, name, value)
    {
        const json_t *selector = json_object_get(value, "selector");
        ssize_t size = (ssize_t)json_object_size(selector);
        const char *key;
        json_t *want;
        bool matches = true;
        json_object_foreach((json_t *)(uintptr_t)selector, key, want)
        {
            matches = matches && json_equal(want, json_object_get(labels, key));
        }
        if (matches && (size > best || (size == best && strcmp(name, out) < 0))) {
            best = size;
            slice_copy(slice_str(name), out, DEPLOYMENT_CLASS_BUF);
        }
    }
    json_decref(classes);
}

int deployment_config_read(struct deployment_config *config, const json_t *data, struct error *err)
{
    static const struct {
        const char *name;
        const char *old;
    } resources[SIDECAR_RESOURCES] = {
        {"cpu", "CPU"}, {"memory", "Memory"}, {"ephemeral-storage", "EphemeralStorage"}};
    struct deployment_config next;
    deployment_config_init(&next);
    int rc = read_deadline(&next, data, err);
    rc = rc < 0 ? rc
                : config_copy(data, "registries-skipping-tag-resolving",
                              "registriesSkippingTagResolving", next.skipped_registries,
                              sizeof(next.skipped_registries), err);
    rc = rc < 0 ? rc
                : config_copy(data, "queue-sidecar-token-audiences", NULL, next.token_audiences,
                              sizeof(next.token_audiences), err);
    rc = rc < 0 ? rc : read_affinity(&next, data, err);
    rc = rc < 0 ? rc : read_classes(&next, data, err);
    for (size_t i = 0; rc == 0 && i < SIDECAR_RESOURCES; i++) {
        char key[64];
        char old[64];
        snprintf(key, sizeof(key), "queue-sidecar-%s-request", resources[i].name);
        snprintf(old, sizeof(old), "queueSidecar%sRequest", resources[i].old);
        rc = config_quantity(data, key, old, next.requests[i], sizeof(next.requests[i]), err);
        if (rc == 0) {
            snprintf(key, sizeof(key), "queue-sidecar-%s-limit", resources[i].name);
            snprintf(old, sizeof(old), "queueSidecar%sLimit", resources[i].old);
            rc = config_quantity(data, key, old, next.limits[i], sizeof(next.limits[i]), err);
        }
    }
    if (rc == 0) {
        *config = next;
    }
    return rc;
}
