// SPDX-License-Identifier: Apache-2.0
/*
 * ConfigMaps to settings. Happy path: each part is parsed into a fresh copy and replaces the old
 * one. Failure mode: the first bad key; nothing has changed then.
 */
#include "controller/settings.h"

#include "base/num.h"
#include "http/log_template.h"
#include "serving/autoscaler_json.h"
#include "serving/names.h"

enum {
    PROGRESS_DEADLINE_S = 600,
};

void settings_init(struct settings *settings, const char *sidecar_image,
                   const char *system_namespace)
{
    *settings = (struct settings){.progress_deadline_s = PROGRESS_DEADLINE_S, .sidecar_cpu = "25m"};
    serving_config_init(&settings->defaults);
    network_config_init(&settings->network);
    autoscaler_config_default(&settings->autoscaler);
    gc_config_init(&settings->gc);
    slice_copy(slice_str(sidecar_image), settings->sidecar_image, sizeof(settings->sidecar_image));
    snprintf(settings->local_gateway, sizeof(settings->local_gateway),
             "lull-activator-local.%s.svc.%s", system_namespace, settings->network.cluster_domain);
}

bool settings_wants(const char *name)
{
    static const char *const names[] = {CONFIG_AUTOSCALER, CONFIG_DEFAULTS,   CONFIG_NETWORK,
                                        CONFIG_DOMAIN,     CONFIG_DEPLOYMENT, CONFIG_OBSERVABILITY,
                                        CONFIG_GC};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int read_deployment(struct settings *settings, const json_t *data, struct error *err)
{
    const char *deadline = json_string_value(json_object_get(data, "progress-deadline"));
    const char *cpu = json_string_value(json_object_get(data, "queue-sidecar-cpu-request"));
    int64_t ns = (int64_t)PROGRESS_DEADLINE_S * 1000000000;
    int64_t milli = 0;
    if (deadline != NULL) {
        int rc = num_parse_duration_ns(slice_str(deadline), &ns, err);
        if (rc == 0 && ns < 1000000000) {
            rc = error_set(err, ERR_INVALID, "%s is less than a second", deadline);
        }
        if (rc < 0) {
            return error_prefix(err, rc, "progress-deadline");
        }
    }
    if (cpu != NULL) {
        int rc = num_parse_quantity_milli(slice_str(cpu), &milli, err);
        if (rc < 0) {
            return error_prefix(err, rc, "queue-sidecar-cpu-request");
        }
    }
    settings->progress_deadline_s = ns / 1000000000;
    slice_copy(slice_str(cpu == NULL ? "25m" : cpu), settings->sidecar_cpu,
               sizeof(settings->sidecar_cpu));
    return 0;
}

static int read_switch(const json_t *data, const char *key, bool *out, struct error *err)
{
    const char *text = json_string_value(json_object_get(data, key));
    *out = false;
    int rc = text == NULL ? 0 : num_parse_bool(slice_str(text), out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", key) : 0;
}

/* For the queue-proxies of Revisions that are made from now on. */
static int read_observability(struct settings *settings, const json_t *data, struct error *err)
{
    static const char key[] = "logging.request-log-template";
    bool on;
    bool probes;
    int rc = read_switch(data, "logging.enable-request-log", &on, err);
    rc = rc < 0 ? rc : read_switch(data, "logging.enable-probe-request-log", &probes, err);
    if (rc < 0) {
        return rc;
    }
    struct slice text = slice_str(json_string_value(json_object_get(data, key)));
    struct log_template *compiled = NULL;
    if (text.len >= REQUEST_LOG_TEMPLATE_MAX) {
        rc = error_set(err, ERR_INVALID, "longer than %d bytes", REQUEST_LOG_TEMPLATE_MAX - 1);
    } else {
        rc = log_template_new(text, &compiled, err);
    }
    if (rc < 0) {
        return error_prefix(err, rc, "%s", key);
    }
    log_template_free(compiled);
    settings->request_log = on;
    settings->request_log_probes = probes;
    slice_copy(text, settings->request_log_template, sizeof(settings->request_log_template));
    return 0;
}

int settings_read(struct settings *settings, const char *name, const json_t *data,
                  const json_t *other, struct error *err)
{
    int rc = 0;
    if (strcmp(name, CONFIG_AUTOSCALER) == 0) {
        rc = autoscaler_config_from_json(data, &settings->autoscaler, err);
        settings->defaults.autoscaler = settings->autoscaler; /* the bounds of annotations */
    } else if (strcmp(name, CONFIG_DEFAULTS) == 0) {
        struct serving_config next;
        serving_config_init(&next);
        next.autoscaler = settings->autoscaler;
        rc = serving_config_read(&next, data, err);
        settings->defaults = rc == 0 ? next : settings->defaults;
    } else if (strcmp(name, CONFIG_NETWORK) == 0 || strcmp(name, CONFIG_DOMAIN) == 0) {
        bool network = strcmp(name, CONFIG_NETWORK) == 0;
        struct network_config next;
        network_config_init(&next);
        rc = network_config_read(&next, network ? data : other, network ? other : data, err);
        settings->network = rc == 0 ? next : settings->network;
    } else if (strcmp(name, CONFIG_DEPLOYMENT) == 0) {
        rc = read_deployment(settings, data, err);
    } else if (strcmp(name, CONFIG_OBSERVABILITY) == 0) {
        rc = read_observability(settings, data, err);
    } else if (strcmp(name, CONFIG_GC) == 0) {
        rc = gc_config_read(&settings->gc, data, err);
    }
    return rc < 0 ? error_prefix(err, rc, "ConfigMap %s", name) : 0;
}
