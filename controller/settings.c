// SPDX-License-Identifier: Apache-2.0
/*
 * ConfigMaps to settings. Happy path: each part is parsed into a fresh copy and replaces the old
 * one. Failure mode: the first bad key; nothing has changed then.
 */
#include "controller/settings.h"

#include "base/fs.h"
#include "http/log_template.h"
#include "serving/autoscaler_json.h"
#include "serving/names.h"

#define ANNOUNCE_PORT 80
#define SECRET_MAX    4096
#define SECRET_MIN    16u

void settings_init(struct settings *settings, const char *sidecar_image,
                   const char *system_namespace)
{
    *settings = (struct settings){.sidecar_image = ""};
    strbuf_init(&settings->secret, SECRET_MAX);
    serving_config_init(&settings->defaults);
    network_config_init(&settings->network);
    autoscaler_config_default(&settings->autoscaler);
    gc_config_init(&settings->gc);
    deployment_config_init(&settings->deployment);
    slice_copy(slice_str(sidecar_image), settings->sidecar_image, sizeof(settings->sidecar_image));
    slice_copy(slice_str(system_namespace), settings->system_namespace,
               sizeof(settings->system_namespace));
    snprintf(settings->local_gateway, sizeof(settings->local_gateway),
             "lull-activator-local.%s.svc.%s", system_namespace, settings->network.cluster_domain);
}

static int announce_address(const char *text, char out[static ADDR_TEXT_MAX], struct error *err)
{
    struct addr addr;
    int rc = addr_from_ip(slice_str(text), ANNOUNCE_PORT, &addr, NULL);
    rc = rc == 0 ? 0 : addr_parse(slice_str(text), &addr, err);
    if (rc == 0 && (addr_is_unix(&addr) || addr_port(&addr) == 0)) {
        rc = error_set(err, ERR_INVALID, "\"%s\": needs IP or IP:PORT", text);
    }
    if (rc == 0) {
        addr_format(&addr, out, ADDR_TEXT_MAX);
    }
    return rc;
}

int settings_announce(struct settings *settings, const char *address, const char *secret_file,
                      struct error *err)
{
    char text[ADDR_TEXT_MAX];
    if (address[0] == '\0') {
        return 0;
    }
    int rc = announce_address(address, text, err);
    if (rc < 0) {
        return error_prefix(err, rc, "--announce");
    }
    strbuf_clear(&settings->secret);
    rc = secret_file[0] == '\0'
             ? error_set(err, ERR_INVALID, "--announce needs it: the keys are made from it")
             : fs_read_file(secret_file, SECRET_MAX, &settings->secret, err);
    while (rc == 0 && settings->secret.len > 0 &&
           settings->secret.ptr[settings->secret.len - 1] <= ' ') {
        strbuf_truncate(&settings->secret, settings->secret.len - 1);
    }
    if (rc == 0 && settings->secret.len < SECRET_MIN) {
        rc = error_set(err, ERR_INVALID, "%s: at least %u bytes are needed", secret_file,
                       SECRET_MIN);
    }
    if (rc < 0) {
        return error_prefix(err, rc, "--install-secret-file");
    }
    slice_copy(slice_str(text), settings->announce, sizeof(settings->announce));
    return 0;
}

void settings_fini(struct settings *settings)
{
    strbuf_fini(&settings->secret);
    network_config_fini(&settings->network);
}

static int read_autoscaler(struct settings *s, const json_t *data, struct error *err)
{
    int rc = autoscaler_config_from_json(data, &s->autoscaler, err);
    s->defaults.autoscaler = s->autoscaler; /* the bounds of annotations */
    return rc;
}

static int read_defaults(struct settings *s, const json_t *data, struct error *err)
{
    struct serving_config next;
    serving_config_init(&next);
    next.autoscaler = s->autoscaler;
    next.features = s->defaults.features;
    int rc = serving_config_read(&next, data, err);
    s->defaults = rc == 0 ? next : s->defaults;
    return rc;
}

/* Values that nobody knows leave the defaults, as in Knative. */
static int read_features(struct settings *s, const json_t *data, struct error *err)
{
    (void)err;
    features_read(&s->defaults.features, data);
    return 0;
}

static int read_network(struct settings *s, const json_t *data, struct error *err)
{
    return network_config_read(&s->network, data, err);
}

static int read_domain(struct settings *s, const json_t *data, struct error *err)
{
    return domain_config_read(&s->network, data, err);
}

static int read_deployment(struct settings *s, const json_t *data, struct error *err)
{
    return deployment_config_read(&s->deployment, data, err);
}

/* For the queue-proxies of Revisions that are made from now on: they must understand it. */
static int read_observability(struct settings *s, const json_t *data, struct error *err)
{
    struct observability_config next;
    struct log_template *compiled = NULL;
    int rc = observability_config_read(&next, data, err);
    if (rc == 0) {
        rc = log_template_new(slice_str(next.request_log_template), &compiled, err);
        rc = rc < 0 ? error_prefix(err, rc, "logging.request-log-template") : 0;
    }
    if (rc == 0) {
        log_template_free(compiled);
        s->observability = next;
    }
    return rc;
}

static int read_gc(struct settings *s, const json_t *data, struct error *err)
{
    return gc_config_read(&s->gc, data, err);
}

static const struct reader {
    const char *name;
    int (*read)(struct settings *s, const json_t *data, struct error *err);
} readers[] = {
    {CONFIG_AUTOSCALER, read_autoscaler},
    {CONFIG_DEFAULTS, read_defaults},
    {CONFIG_FEATURES, read_features},
    {CONFIG_NETWORK, read_network},
    {CONFIG_DOMAIN, read_domain},
    {CONFIG_DEPLOYMENT, read_deployment},
    {CONFIG_OBSERVABILITY, read_observability},
    {CONFIG_GC, read_gc},
};

static const struct reader *reader_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        if (strcmp(readers[i].name, name) == 0) {
            return &readers[i];
        }
    }
    return NULL;
}

bool settings_wants(const char *name)
{
    return reader_of(name) != NULL;
}

int settings_read(struct settings *settings, const char *name, const json_t *data,
                  struct error *err)
{
    const struct reader *reader = reader_of(name);
    int rc = reader == NULL ? 0 : reader->read(settings, data, err);
    return rc < 0 ? error_prefix(err, rc, "ConfigMap %s", name) : 0;
}
