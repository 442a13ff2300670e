// SPDX-License-Identifier: Apache-2.0

/*
 * What a kind asks of its objects beyond what holds for all: the defaults and rules of lib/serving
 * and lib/eventing for Knative's kinds, core.c's for Kubernetes' own.
 */

#include "eventing/admit.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "http/log_template.h"
#include "serving/autoscaler_json.h"
#include "serving/config_check.h"
#include "serving/names.h"
#include "serving/schema_check.h"
#include "local/api/call.h"
#include "local/api/core.h"

#define CONFIG_WEBHOOK \
    "admission webhook \"config.webhook.serving.knative.dev\" denied the request: "
#define VALIDATION_WEBHOOK(name) \
    "admission webhook \"" name "\" denied the request: validation failed: "

/* --- Kubernetes' own kinds ----------------------------------------------------------------- */

static int admit_core(struct call *c, json_t *object, const json_t *old, struct error *err)
{
    const struct kind *kind = c->route.kind;
    json_t *causes = core_admit(kind->id, object, old);
    if (causes == NULL) {
        return 0;
    }
    json_decref(c->causes);
    c->causes = causes;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1u << 20);
    (void)strbuf_appendf(&out, "%s%s%s \"%s\" is invalid: ", kind->kind,
                         kind->group[0] == '\0' ? "" : ".", kind->group,
                         jpeek_cstr(object, "metadata.name"));
    schema_causes_text(causes, &out);
    free(c->refusal);
    c->refusal = xstrdup(strbuf_ok(&out) ? out.ptr : "the object is invalid in many ways");
    return error_set(err, ERR_INVALID, "%s", c->refusal);
}

/* --- Knative's kinds ----------------------------------------------------------------------- */

/* The tree of a ConfigMap of the system when it is another than last time; NULL: the same, or none.
 */
static json_t *changed_config(struct api *api, const char *name, uint64_t *version, bool *out_gone)
{
    struct object *o = store_get(api->options.store, "configmaps", api->system_namespace, name);
    uint64_t now = o == NULL ? 0 : o->version;
    *out_gone = o == NULL && *version != 0;
    if (now == *version) {
        return NULL;
    }
    *version = now;
    return o == NULL ? NULL : object_parse(o);
}

/* config-defaults, config-autoscaler and config-features are read again when they have changed; a
 * bad one is ignored with a line. */
static void refresh_config(struct api *api)
{
    bool gone;
    struct error err;
    json_t *tree = changed_config(api, CONFIG_DEFAULTS, &api->serving_version, &gone);
    if (tree != NULL || gone) {
        struct serving_config fresh;
        serving_config_init(&fresh);
        fresh.processes = true;
        fresh.autoscaler = api->serving.autoscaler;
        fresh.features = api->serving.features;
        if (serving_config_read(&fresh, jpeek_obj(tree, "data"), &err) < 0) {
            LOG_WARN("config-defaults is not usable, the last one stays", LOG_ERR(&err));
        } else {
            api->serving = fresh;
        }
    }
    json_decref(tree);
    tree = changed_config(api, CONFIG_AUTOSCALER, &api->autoscaler_version, &gone);
    if ((tree != NULL || gone) &&
        autoscaler_config_from_json(jpeek_obj(tree, "data"), &api->serving.autoscaler, &err) < 0) {
        LOG_WARN("config-autoscaler is not usable, the last one stays", LOG_ERR(&err));
    }
    json_decref(tree);
    tree = changed_config(api, CONFIG_FEATURES, &api->features_version, &gone);
    if (tree != NULL || gone) {
        features_read(&api->serving.features, jpeek_obj(tree, "data"));
    }
    json_decref(tree);
}

/* What the rules of a kind refuse is answered in the words of an admission webhook. */
static int refuse(struct call *c, const char *webhook, const char *why, struct error *err)
{
    free(c->refusal);
    c->refusal = xasprintf("%s%s", webhook, why);
    return error_set(err, ERR_PROTOCOL, "%s", why);
}

/* Each line becomes a Warning header of the answer. */
static void add_warnings(struct call *c, const struct strbuf *text)
{
    struct slice rest = strbuf_slice(text), line;
    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        if (c->warnings == NULL) {
            c->warnings = json_array();
        }
        if (line.len > 0) {
            REQUIRE(json_array_append_new(c->warnings, jstring_lossy(line)) == 0);
        }
    }
}

static int admit_serving(struct call *c, json_t *object, const json_t *old, struct error *err)
{
    struct serving_request request = {.kind = c->route.kind, .old = old, .user = c->api->user};
    struct serving_report report;
    refresh_config(c->api);
    serving_report_init(&report);
    bool events = eventing_knows(request.kind);
    int rc = events ? eventing_admit(&request, object, &report)
                    : serving_admit(&c->api->serving, &request, object, &report);
    if (rc < 0) {
        rc = refuse(c,
                    events ? VALIDATION_WEBHOOK(EVENTING_VALIDATION_WEBHOOK)
                           : VALIDATION_WEBHOOK("validation.webhook.serving.knative.dev"),
                    report.errors.ptr, err);
    } else {
        add_warnings(c, &report.warnings);
    }
    serving_report_fini(&report);
    return rc;
}

/* A ConfigMap of the system that its parts could not read is refused, as Knative's webhook does. */
static int admit_configmap(struct call *c, json_t *object, const json_t *old, struct error *err)
{
    int rc = admit_core(c, object, old, err);
    if (rc < 0 ||
        !slice_eq_str(jpeek_str(object, "metadata.namespace"), c->api->system_namespace)) {
        return rc;
    }
    const json_t *data = jpeek_obj(object, "data");
    const char *name = jpeek_cstr(object, "metadata.name");
    rc = config_check(name, data, err);
    if (rc == 0 && strcmp(name, CONFIG_OBSERVABILITY) == 0) {
        struct log_template *compiled = NULL;
        rc = log_template_new(jpeek_str(data, "`logging.request-log-template`"), &compiled, err);
        rc = rc < 0 ? error_prefix(err, rc, "logging.request-log-template") : 0;
        log_template_free(compiled);
    }
    if (rc < 0) {
        char why[ERROR_MSG_MAX];
        snprintf(why, sizeof(why), "%s", err->msg);
        rc = refuse(c, CONFIG_WEBHOOK, why, err);
    }
    return rc;
}

int admit(struct call *c, json_t *object, const json_t *old, struct error *err)
{
    switch (c->route.kind->id) {
    case KIND_CONFIGMAP:
        return admit_configmap(c, object, old, err);
    case KIND_NAMESPACE:
    case KIND_SECRET:
    case KIND_CORE_SERVICE:
    case KIND_DEPLOYMENT:
    case KIND_HPA:
        return admit_core(c, object, old, err);
    case KIND_SERVICE:
    case KIND_CONFIGURATION:
    case KIND_REVISION:
    case KIND_ROUTE:
    case KIND_DOMAINMAPPING:
    case KIND_CLUSTERDOMAINCLAIM:
    case KIND_PODAUTOSCALER:
    case KIND_BROKER:
    case KIND_TRIGGER:
    case KIND_PINGSOURCE:
    case KIND_SINKBINDING:
    case KIND_WEBHOOKSOURCE:
    case KIND_REDISSOURCE:
    case KIND_FILESOURCE:
        return admit_serving(c, object, old, err);
    case KIND_SERVICEACCOUNT:
    case KIND_POD:
    case KIND_EVENT:
    case KIND_COUNT:
    case KIND_INGRESS: /* a cluster's, so the next ones */
    case KIND_HTTPROUTE:
    case KIND_WORKLOAD:
    case KIND_STATEFULSET:
    case KIND_DAEMONSET:
    case KIND_JOB:
    case KIND_CRONJOB:
    case KIND_ALL:
        break;
    }
    return 0;
}
