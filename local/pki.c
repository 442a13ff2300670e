// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: read CA and server certificate; when one of them is missing or unfit, make both anew (the
 * CA's key is of no use to anybody else, and clients read the CA from the kubeconfig, which is
 * written after it). P-256 keys, ten years.
 */

#include "local/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "loop/certificate.h"

#define YEARS_S     (10L * 365 * 24 * 3600)
#define RENEW_S     (30L * 24 * 3600)
#define FILE_MAX    (64u << 10)
#define TOKEN_CHARS 48

/* --- certificates -------------------------------------------------------------------------- */

static int write_text(const char *path, const char *text, unsigned mode, struct error *err)
{
    return fs_write_atomic(path, slice_str(text), mode, err);
}

static int make_all(const struct pki *pki, const char *ca_key_file, struct error *err)
{
    struct certificate ca = {0}, server = {0};
    int rc = certificate_make_ca("lull-local-ca", YEARS_S, &ca, err);
    if (rc == 0) {
        rc = certificate_make(&ca, "lull-local", "DNS:localhost,IP:127.0.0.1,IP:::1", YEARS_S,
                              &server, err);
    }
    if (rc == 0) {
        rc = write_text(ca_key_file, ca.key_pem, 0600, err);
    }
    if (rc == 0) {
        rc = write_text(pki->ca_file, ca.cert_pem, 0644, err);
    }
    if (rc == 0) {
        rc = write_text(pki->key_file, server.key_pem, 0600, err);
    }
    if (rc == 0) {
        rc = write_text(pki->cert_file, server.cert_pem, 0644, err);
    }
    certificate_fini(&ca);
    certificate_fini(&server);
    return rc;
}

/* Empty when the file cannot be read: that is no certificate. */
static void read_text(const char *path, struct strbuf *out)
{
    struct error ignored;
    strbuf_init(out, FILE_MAX);
    if (fs_read_file(path, FILE_MAX, out, &ignored) < 0) {
        strbuf_clear(out);
    }
}

static bool lasts(struct slice pem)
{
    struct certificate_times times;
    int64_t now_s = clock_wall_ns() / (int64_t)CLOCK_NS_PER_S;
    return certificate_times(pem, &times, NULL) == 0 && times.ends_s > now_s + RENEW_S &&
           times.begins_s < now_s;
}

static bool is_fit(const struct pki *pki)
{
    CLEANUP(strbuf_fini) struct strbuf ca, cert, key;
    read_text(pki->ca_file, &ca);
    read_text(pki->cert_file, &cert);
    read_text(pki->key_file, &key);
    return lasts(strbuf_slice(&ca)) && lasts(strbuf_slice(&cert)) &&
           certificate_has_key(strbuf_slice(&cert), strbuf_slice(&key)) &&
           certificate_signed_by(strbuf_slice(&cert), strbuf_slice(&ca));
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.len >= 16 && text.len <= 1024;
}

static int init_token(struct pki *pki, const char *home, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "token");
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, FILE_MAX);
    int rc = fs_read_file(path, FILE_MAX, &text, err);
    struct slice token = strbuf_slice(&text);
    while (token.len > 0 && token.ptr[token.len - 1] == '\n') {
        token.len--;
    }
    if (rc == 0 && is_token(token)) {
        pki->token = xstrndup(token.ptr, token.len);
        return 0;
    }
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        return rc;
    }
    pki->token = xcalloc(1, TOKEN_CHARS + 1);
    (void)random_hex(pki->token, TOKEN_CHARS);
    return fs_write_atomic(path, slice_str(pki->token), 0600, err);
}

int pki_make_ingress(const struct pki *pki, const char *home, struct certificate *out,
                     struct error *err)
{
    CLEANUP(cleanup_free) char *folder = fs_join(home, "pki");
    CLEANUP(cleanup_free) char *ca_key_file = fs_join(folder, "ca.key");
    CLEANUP(strbuf_fini) struct strbuf cert, key;
    read_text(pki->ca_file, &cert);
    read_text(ca_key_file, &key);
    const struct certificate ca = {.cert_pem = cert.ptr, .key_pem = key.ptr};
    if (cert.len == 0 || key.len == 0) {
        return error_set(err, ERR_INVALID, "%s: the authority's certificate or key cannot be read",
                         folder);
    }
    return certificate_make(&ca, "localhost",
                            "DNS:localhost,DNS:*.default.localhost,IP:127.0.0.1,IP:::1", YEARS_S,
                            out, err);
}

int pki_init(struct pki *pki, const char *home, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = fs_join(home, "pki");
    CLEANUP(cleanup_free) char *ca_key_file = fs_join(folder, "ca.key");
    *pki = (struct pki){
        .ca_file = fs_join(folder, "ca.crt"),
        .cert_file = fs_join(folder, "server.crt"),
        .key_file = fs_join(folder, "server.key"),
    };
    int rc = fs_mkdir_p(folder, 0700, err);
    if (rc == 0 && !is_fit(pki)) {
        LOG_INFO("making the API server's certificate", LOG_STR("folder", folder));
        rc = make_all(pki, ca_key_file, err);
    }
    if (rc == 0) {
        rc = init_token(pki, home, err);
    }
    if (rc < 0) {
        pki_fini(pki);
    }
    return rc;
}

void pki_fini(struct pki *pki)
{
    free(pki->ca_file);
    free(pki->cert_file);
    free(pki->key_file);
    free(pki->token);
    *pki = (struct pki){0};
}

/* --- kubeconfig ---------------------------------------------------------------------------- */

int pki_write_kubeconfig(const struct pki *pki, const char *home, uint16_t port, const char *user,
                         struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf ca, encoded, text, there;
    strbuf_init(&ca, FILE_MAX);
    strbuf_init(&encoded, FILE_MAX * 2);
    strbuf_init(&text, FILE_MAX * 2);
    strbuf_init(&there, FILE_MAX * 2);
    int rc = fs_read_file(pki->ca_file, FILE_MAX, &ca, err);
    if (rc < 0) {
        return rc;
    }
    base64_append(&encoded, strbuf_slice(&ca));
    (void)strbuf_appendf(&text,
                         "apiVersion: v1\n"
                         "kind: Config\n"
                         "clusters:\n"
                         "- name: lull\n"
                         "  cluster:\n"
                         "    server: https://127.0.0.1:%u\n"
                         "    certificate-authority-data: %s\n"
                         "users:\n"
                         "- name: %s\n"
                         "  user:\n"
                         "    token: %s\n"
                         "contexts:\n"
                         "- name: lull\n"
                         "  context:\n"
                         "    cluster: lull\n"
                         "    user: %s\n"
                         "    namespace: default\n"
                         "current-context: lull\n",
                         port, encoded.ptr, user, pki->token, user);
    CLEANUP(cleanup_free) char *path = fs_join(home, "kubeconfig");
    struct error ignored;
    if (fs_read_file(path, FILE_MAX * 2, &there, &ignored) == 0 &&
        slice_eq(strbuf_slice(&there), strbuf_slice(&text))) {
        return 0;
    }
    return fs_write_atomic(path, strbuf_slice(&text), 0600, err);
}
