// SPDX-License-Identifier: Apache-2.0
/* config-deployment. Failure mode: the first key that cannot be read, or is out of its bounds. */
#include "serving/config_deployment.h"

#include <stdio.h>

#include "base/num.h"
#include "serving/config_keys.h"

#define SECOND_NS INT64_C(1000000000)

void deployment_config_init(struct deployment_config *config)
{
    *config = (struct deployment_config){
        .progress_deadline_s = 600,
        .digest_timeout_ms = 10000,
        .skipped_registries = "kind.local,ko.local,dev.local",
        .requests = {"25m"},
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
