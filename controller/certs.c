// SPDX-License-Identifier: Apache-2.0
/*
 * Secret to texts, texts to a verdict, a verdict to new texts. Whatever cannot be read, does not
 * fit together or has ended is made anew; no state is a dead end.
 */
#include "controller/certs.h"

#include "base/base64.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/names.h"

enum { PEM_TEXT_MAX = 64 << 10, TRUSTED_MAX = 3 };

#define CERT_END "-----END CERTIFICATE-----"

static const char key_ca[] = "ca-cert.pem", key_ca_key[] = "ca-key.pem",
                  key_cert[] = "server-cert.pem", key_key[] = "server-key.pem";

void certs_host(const char *ns, char *out, size_t size)
{
    snprintf(out, size, "%s.%s.svc", WEBHOOK_SERVICE, ns);
}

/* --- Secret -------------------------------------------------------------------------------- */

static int read_value(const json_t *secret, const char *key, char **out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    const json_t *coded = json_object_get(jpeek_obj(secret, "data"), key);
    strbuf_init(&text, PEM_TEXT_MAX);
    if (!json_is_string(coded)) {
        return error_set(err, ERR_INVALID, "data.%s: missing", key);
    }
    int rc = base64_decode(slice_str(json_string_value(coded)), &text, err);
    if (rc == 0 && (text.len == 0 || memchr(text.ptr, '\0', text.len) != NULL)) {
        rc = error_set(err, ERR_INVALID, "no PEM");
    }
    if (rc < 0) {
        return error_prefix(err, ERR_INVALID, "data.%s", key);
    }
    *out = strbuf_take(&text, NULL);
    return 0;
}

int certs_read(const json_t *secret, struct certs *out, struct error *err)
{
    *out = (struct certs){0};
    int rc = read_value(secret, key_ca, &out->ca.cert_pem, err);
    rc = rc < 0 ? rc : read_value(secret, key_ca_key, &out->ca.key_pem, err);
    rc = rc < 0 ? rc : read_value(secret, key_cert, &out->server.cert_pem, err);
    rc = rc < 0 ? rc : read_value(secret, key_key, &out->server.key_pem, err);
    if (rc < 0) {
        certs_fini(out);
    }
    return rc;
}

static void put_value(json_t *data, const char *key, const char *text)
{
    CLEANUP(strbuf_fini) struct strbuf coded;
    strbuf_init(&coded, 2 * PEM_TEXT_MAX);
    base64_append(&coded, slice_str(text));
    json_object_set_new(data, key, json_stringn(coded.ptr, coded.len));
}

json_t *certs_secret(const struct certs *certs, const char *ns, const json_t *secret)
{
    json_t *out = secret != NULL ? json_deep_copy(secret)
                                 : json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:{s:s}}}", "apiVersion",
                                             "v1", "kind", "Secret", "type", "Opaque", "metadata",
                                             "name", WEBHOOK_CERTS_SECRET, "namespace", ns,
                                             "labels", "app.kubernetes.io/part-of", "lull");
    json_t *data = jobject_at(out, "data");
    put_value(data, key_ca, certs->ca.cert_pem);
    put_value(data, key_ca_key, certs->ca.key_pem);
    put_value(data, key_cert, certs->server.cert_pem);
    put_value(data, key_key, certs->server.key_pem);
    return out;
}

/* --- what is needed ------------------------------------------------------------------------ */

static bool counts(struct slice pem, int64_t now_s, struct certificate_times *out)
{
    return certificate_times(pem, out, NULL) == 0 && out->begins_s <= now_s && out->ends_s > now_s;
}

enum certs_need certs_need(const struct certs *certs, const char *ns, int64_t now_s)
{
    char host[512];
    struct certificate_times ca, server;
    if (certs->ca.cert_pem == NULL || certs->server.cert_pem == NULL) {
        return CERTS_ALL;
    }
    struct slice ca_pem = slice_str(certs->ca.cert_pem);
    struct slice server_pem = slice_str(certs->server.cert_pem);
    if (!counts(ca_pem, now_s, &ca) || !certificate_has_key(ca_pem, slice_str(certs->ca.key_pem))) {
        return CERTS_ALL;
    }
    certs_host(ns, host, sizeof(host));
    if (!counts(server_pem, now_s, &server) || !certificate_names(server_pem, host) ||
        !certificate_has_key(server_pem, slice_str(certs->server.key_pem)) ||
        !certificate_signed_by(server_pem, ca_pem)) {
        return CERTS_SERVER;
    }
    if (ca.ends_s - now_s <= CERTS_CA_RENEW_S) {
        return CERTS_CA;
    }
    /* begins_s is a day before it was made. */
    bool rested = now_s - ca.begins_s >= CERTS_CA_REST_S + 24 * 3600;
    int64_t left_s = server.ends_s - now_s;
    return left_s <= CERTS_LEAF_RENEW_S && (rested || left_s <= CERTS_CA_REST_S) ? CERTS_SERVER
                                                                                 : CERTS_FINE;
}

/* --- making -------------------------------------------------------------------------------- */

/* first, and behind it those of rest that have not ended, as far as there is room. */
static char *trusted(const char *first, const char *rest, int64_t now_s)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, PEM_TEXT_MAX);
    (void)strbuf_append_str(&out, first);
    for (unsigned n = 1; n < TRUSTED_MAX; n++) {
        const char *end = strstr(rest, CERT_END);
        if (end == NULL) {
            break;
        }
        struct slice one = slice_of(rest, (size_t)(end - rest) + strlen(CERT_END));
        struct certificate_times times;
        if (counts(one, now_s, &times)) {
            (void)strbuf_append_slice(&out, one);
            (void)strbuf_append_char(&out, '\n');
        }
        rest = one.ptr + one.len;
        rest += *rest == '\n';
    }
    return strbuf_take(&out, NULL);
}

static int add_ca(struct certs *certs, bool keep, int64_t now_s, struct error *err)
{
    struct certificate fresh = {0};
    int rc = certificate_make_ca("lull-webhook-ca", CERTS_CA_S, &fresh, err);
    if (rc < 0) {
        return rc;
    }
    if (keep) {
        char *all = trusted(fresh.cert_pem, certs->ca.cert_pem, now_s);
        free(fresh.cert_pem);
        fresh.cert_pem = all;
    }
    certificate_fini(&certs->ca);
    certs->ca = fresh;
    return 0;
}

static int renew_server(struct certs *certs, const char *ns, struct error *err)
{
    char host[512], names[2048];
    struct certificate fresh = {0};
    certs_host(ns, host, sizeof(host));
    snprintf(names, sizeof(names), "DNS:%s,DNS:%s.cluster.local,DNS:%s.%s,DNS:%s", host, host,
             WEBHOOK_SERVICE, ns, WEBHOOK_SERVICE);
    int rc = certificate_make(&certs->ca, WEBHOOK_SERVICE, names, CERTS_LEAF_S, &fresh, err);
    if (rc == 0) {
        certificate_fini(&certs->server);
        certs->server = fresh;
    }
    return rc;
}

int certs_renew(struct certs *certs, enum certs_need need, const char *ns, int64_t now_s,
                struct error *err)
{
    int rc = 0;
    if (need == CERTS_ALL || need == CERTS_CA) {
        rc = add_ca(certs, need == CERTS_CA, now_s, err);
    }
    if (rc == 0 && (need == CERTS_ALL || need == CERTS_SERVER)) {
        rc = renew_server(certs, ns, err);
    }
    return rc;
}

void certs_fini(struct certs *certs)
{
    certificate_fini(&certs->ca);
    certificate_fini(&certs->server);
}
