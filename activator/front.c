// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a Secret is read once, when it arrives: base64, PEM, key. What it says goes into the table
 * of certificates, which each handshake asks.
 *
 * Failure modes: a Secret that cannot be read is counted and left out; what the table has under its
 * name stays until the Secret is deleted. No certificate for a name: the handshake ends with the
 * alert unrecognized_name, logged at most once a second.
 */
#include "activator/front.h"

#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/num.h"
#include "loop/certificate.h"
#include "loop/tls_identity.h"
#include "json/jget.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "serving/kinds.h"
#include "serving/names.h"

#define CACHES         2
#define PEM_MAX        (1u << 20)
#define HANDSHAKES_MAX 1024 /* under way at once, in each worker */
#define LOG_EVERY_MS   1000
#define RANK_MAX       1000

/* Of a Secret, until the table has it. */
struct secret_object {
    struct tls_identity *identity; /* owned; NULL: taken, or it cannot be read */
    char *host;                    /* owned; NULL: listed */
    struct slice *names;           /* owned, each of them too */
    size_t n_names;
    unsigned rank;
    int64_t ends_s;
};

/* --- Secrets -------------------------------------------------------------------------------- */

static int decode(const json_t *secret, const char *path, struct strbuf *out, struct error *err)
{
    strbuf_init(out, PEM_MAX);
    int rc = base64_decode(jpeek_str(secret, path), out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", path) : 0;
}

static void add_name(void *arg, struct slice host)
{
    struct secret_object *o = arg;
    o->names = xreallocarray(o->names, o->n_names + 1, sizeof(*o->names));
    o->names[o->n_names++] = slice_str(slice_dup(host));
}

static int read_identity(const json_t *secret, struct secret_object *o, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf cert = {0};
    CLEANUP(strbuf_fini) struct strbuf key = {0};
    struct certificate_times times;
    int rc = decode(secret, "data.`tls.crt`", &cert, err);
    rc = rc < 0 ? rc : decode(secret, "data.`tls.key`", &key, err);
    rc = rc < 0 ? rc : certificate_times(strbuf_slice(&cert), &times, err);
    rc = rc < 0 ? rc : tls_identity_new(strbuf_slice(&cert), strbuf_slice(&key), &o->identity, err);
    if (rc == 0) {
        o->ends_s = times.ends_s;
        if (o->host == NULL) {
            (void)certificate_hosts(strbuf_slice(&cert), add_name, o);
        }
    }
    if (key.len > 0) {
        explicit_bzero(key.ptr, key.len);
    }
    return rc;
}

static int secret_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct front *f = arg;
    struct secret_object *o = value;
    struct error why = {0};
    struct slice label = jpeek_str(object, "metadata.labels.`" LABEL_CERTIFICATE "`");
    struct slice host = jpeek_str(object, "metadata.annotations.`" ANNOTATION_CERTIFICATE_HOST "`");
    uint64_t rank = 0;
    bool listed = slice_eq_str(label, CERTIFICATE_LISTED);
    if (!listed && (!slice_eq_str(label, CERTIFICATE_DOMAIN) || slice_empty(host))) {
        return 1;
    }
    o->host = listed ? NULL : slice_dup(host);
    struct slice text = jpeek_str(object, "metadata.annotations.`" ANNOTATION_CERTIFICATE_RANK "`");
    (void)!num_parse_u64(text, 0, RANK_MAX, &rank, NULL);
    o->rank = (unsigned)rank;
    if (read_identity(object, o, &why) < 0) {
        f->unreadable++;
        LOG_WARN("a certificate cannot be read; the last good one stays",
                 LOG_SLICE("secret", jpeek_str(object, "metadata.name")), LOG_ERR(&why));
    }
    return 0;
}

static void secret_release(void *arg, void *value)
{
    struct secret_object *o = value;
    (void)arg;
    for (size_t i = 0; i < o->n_names; i++) {
        free((char *)(uintptr_t)o->names[i].ptr);
    }
    tls_identity_free(o->identity);
    free(o->names);
    free(o->host);
    *o = (struct secret_object){.host = NULL};
}

static void on_secret(void *arg, const struct kube_entry *entry)
{
    struct front *f = arg;
    struct secret_object *o = entry->value;
    if (o->identity != NULL) {
        struct certificate_spec spec = {
            .id = slice_str(entry->name),
            .host = o->host == NULL ? SLICE_EMPTY : slice_str(o->host),
            .names = o->names,
            .n_names = o->n_names,
            .rank = o->rank,
            .ends_s = o->ends_s,
            .identity = o->identity,
        };
        certificates_put(&f->table, &spec);
        o->identity = NULL;
    }
    secret_release(f, o); /* the table has copies */
}

static void on_secret_update(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)old;
    on_secret(arg, entry);
}

static void on_secret_delete(void *arg, const struct kube_entry *entry)
{
    struct front *f = arg;
    certificates_remove(&f->table, slice_str(entry->name));
}

/* --- config-network ------------------------------------------------------------------------- */

static int network_project(void *arg, const json_t *object, void *value, struct error *err)
{
    (void)arg;
    (void)err;
    return slice_eq_str(jpeek_str(object, "metadata.name"), CONFIG_NETWORK)
               ? object_network(object, value)
               : 1;
}

static void on_network(void *arg, const struct kube_entry *entry)
{
    struct front *f = arg;
    f->network = *(const struct network_object *)entry->value;
}

static void on_network_update(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)old;
    on_network(arg, entry);
}

/* --- handshakes ----------------------------------------------------------------------------- */

static const struct tls_identity *choose(void *arg, struct slice name)
{
    struct front *f = arg;
    uint64_t dropped;
    const struct certificate_row *row = certificates_choose(&f->table, name);
    if (row == NULL && log_limit(&f->unnamed, loop_now_ms(f->loop), LOG_EVERY_MS, &dropped)) {
        LOG_INFO("no certificate for a client", LOG_SLICE("name", slice_sub(name, 0, 128)),
                 LOG_UINT("dropped", dropped));
    }
    return row == NULL ? NULL : row->identity;
}

struct tls_context *front_context(const struct front *f)
{
    return f->context;
}

bool front_covers(const struct front *f, struct slice host)
{
    return certificates_cover(&f->table, route_host_without_port(host));
}

/* --- numbers -------------------------------------------------------------------------------- */

struct front_gauges {
    uint64_t certificates;
    uint64_t under_way;
};

static const struct metric_row gauge_rows[] = {
    METRIC_GAUGE(struct front_gauges, certificates, "lull_activator_certificates",
                 "Certificates that can be shown."),
    METRIC_GAUGE(struct front_gauges, under_way, "lull_activator_tls_handshakes",
                 "TLS handshakes that are under way."),
};

static const struct metric_row counter_rows[] = {
    METRIC_COUNTER(struct tls_counters, done, "lull_activator_tls_handshakes_done_total",
                   "TLS handshakes that came to their end."),
    METRIC_COUNTER(struct tls_counters, failed, "lull_activator_tls_handshakes_failed_total",
                   "TLS handshakes that were broken off or took too long."),
    METRIC_COUNTER(struct tls_counters, unnamed, "lull_activator_tls_no_certificate_total",
                   "TLS handshakes for a name that has no certificate."),
    METRIC_COUNTER(struct tls_counters, refused, "lull_activator_tls_refused_total",
                   "TLS connections turned away because too many handshakes were under way."),
};

void front_write_metrics(const struct front *f, size_t max, struct strbuf *out)
{
    const struct tls_counters *counters = tls_context_counters(f->context);
    struct front_gauges gauges = {certificates_len(&f->table), counters->under_way};
    metric_rows_write(counter_rows, ARRAY_LEN(counter_rows), counters, out);
    metric_rows_write(gauge_rows, ARRAY_LEN(gauge_rows), &gauges, out);
    metric_write_number(out, "counter", "lull_activator_certificates_unreadable_total",
                        "Secrets with a certificate that could not be read.", f->unreadable);
    strbuf_append_str(out, "# HELP lull_activator_certificate_not_after_seconds "
                           "When the certificate ends, in seconds since 1970.\n"
                           "# TYPE lull_activator_certificate_not_after_seconds gauge\n");
    size_t shown = 0;
    map_foreach (it, &f->table.rows) {
        const struct certificate_row *row = it.value;
        if (shown++ < max) {
            strbuf_append_str(out, "lull_activator_certificate_not_after_seconds{certificate=");
            strbuf_append_json(out, row->host != NULL ? slice_str(row->host) : it.key);
            strbuf_appendf(out, "} %lld\n", (long long)row->ends_s);
        }
    }
}

/* --- life ----------------------------------------------------------------------------------- */

static void on_synced(void *arg)
{
    struct front *f = arg;
    if (++f->lists_in == CACHES) {
        LOG_INFO("the certificates are known", LOG_UINT("count", certificates_len(&f->table)));
        f->synced(f->arg);
    }
}

static void release_identity(void *identity)
{
    tls_identity_free(identity);
}

static int start_watches(struct front *f, struct kube_client *client, const struct config *config,
                         struct error *err)
{
    struct kube_cache_options secrets = {.kind = KUBE_KIND(kind_row(KIND_SECRET)),
                                         .ns = config->certificate_namespace != NULL
                                                   ? config->certificate_namespace
                                                   : config->system_namespace,
                                         .label_selector = LABEL_CERTIFICATE,
                                         .value_size = sizeof(struct secret_object),
                                         .project = secret_project,
                                         .release = secret_release,
                                         .on_add = on_secret,
                                         .on_update = on_secret_update,
                                         .on_delete = on_secret_delete,
                                         .on_synced = on_synced,
                                         .arg = f};
    struct kube_cache_options networks = {.kind = KUBE_KIND(kind_row(KIND_CONFIGMAP)),
                                          .ns = config->system_namespace,
                                          .field_selector = "metadata.name=" CONFIG_NETWORK,
                                          .value_size = sizeof(struct network_object),
                                          .project = network_project,
                                          .on_add = on_network,
                                          .on_update = on_network_update,
                                          .on_synced = on_synced,
                                          .arg = f};
    int rc = kube_cache_start(client, &secrets, &f->secrets, err);
    if (rc == 0) {
        closer_hold(&f->closer);
        rc = kube_cache_start(client, &networks, &f->networks, err);
    }
    if (rc == 0) {
        closer_hold(&f->closer);
    }
    return rc;
}

int front_start(struct front *f, struct loop *loop, struct kube_client *client,
                const struct config *config, void (*synced)(void *arg), void *arg,
                struct error *err)
{
    *f = (struct front){
        .loop = loop, .network = {.external_tls_port = 443}, .synced = synced, .arg = arg};
    closer_init(&f->closer);
    certificates_init(&f->table, release_identity);
    struct tls_options options = {.alpn = config->h2c ? "h2,http/1.1" : "http/1.1",
                                  .choose = choose,
                                  .choose_arg = f,
                                  .max_handshakes = HANDSHAKES_MAX};
    int rc = tls_server_new(&options, &f->context, err);
    return rc < 0 ? rc : start_watches(f, client, config, err);
}

const char *front_trouble(const struct front *f)
{
    const struct kube_cache *all[CACHES] = {f->secrets, f->networks};
    for (size_t i = 0; i < CACHES; i++) {
        if (all[i] != NULL && !kube_cache_connected(all[i])) {
            const char *text = kube_cache_trouble(all[i]);
            return text[0] == '\0' ? "not connected yet" : text;
        }
    }
    return "";
}

static void on_cache_closed(void *arg)
{
    closer_drop(arg);
}

void front_close(struct front *f, void (*cb)(void *arg), void *arg)
{
    struct kube_cache *all[CACHES] = {f->secrets, f->networks};
    if (f->closer.closing) {
        return;
    }
    for (size_t i = 0; i < CACHES; i++) {
        if (all[i] != NULL) {
            kube_cache_close(all[i], on_cache_closed, &f->closer);
        }
    }
    f->secrets = NULL;
    f->networks = NULL;
    (void)closer_close(&f->closer, f->loop, cb, arg);
}

void front_fini(struct front *f)
{
    tls_context_retire(f->context);
    tls_context_free(f->context);
    f->context = NULL;
    certificates_fini(&f->table);
}
