// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: read CA and server certificate; when one of them is missing or unfit, make both anew (the
 * CA's key is of no use to anybody else, and clients read the CA from the kubeconfig, which is
 * written after it). P-256 keys, ten years.
 */

#include "local/pki.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define YEARS_S     (10L * 365 * 24 * 3600)
#define RENEW_S     (30L * 24 * 3600)
#define FILE_MAX    (64u << 10)
#define TOKEN_CHARS 48

static int from_openssl(struct error *err, const char *what)
{
    char text[160] = "unknown reason";
    unsigned long code = ERR_get_error();
    if (code != 0) {
        ERR_error_string_n(code, text, sizeof(text));
    }
    ERR_clear_error();
    return error_set(err, ERR_INTERNAL, "cannot make %s: %s", what, text);
}

/* --- making -------------------------------------------------------------------------------- */

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static int fill_certificate(X509 *cert, EVP_PKEY *key, X509 *issuer, const char *name)
{
    uint64_t serial = random_u64() >> 1;
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_set_version(cert, 2) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -24L * 3600) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), YEARS_S) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1;
}

/* issuer NULL: self-signed. NULL on failure. */
static X509 *make_certificate(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *cert = X509_new();
    bool ca = issuer == NULL;
    issuer = ca ? cert : issuer;
    int ok = cert != NULL && fill_certificate(cert, key, issuer, name);
    if (ok && ca) {
        ok = add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
             add_extension(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
             add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    } else if (ok) {
        ok = add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
             add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
             add_extension(cert, issuer, NID_ext_key_usage, "serverAuth") &&
             add_extension(cert, issuer, NID_authority_key_identifier, "keyid") &&
             add_extension(cert, issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
    }
    if (!ok || X509_sign(cert, ca ? key : issuer_key, EVP_sha256()) == 0) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static int write_pem(const char *path, X509 *cert, EVP_PKEY *key, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL && (cert == NULL || PEM_write_bio_X509(bio, cert) == 1) &&
             (key == NULL || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    char *text = NULL;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;
    int rc = ok ? fs_write_atomic(path, slice_of(text, (size_t)len), key == NULL ? 0644 : 0600, err)
                : from_openssl(err, path);
    BIO_free(bio);
    return rc;
}

static int make_all(const struct pki *pki, const char *ca_key_file, struct error *err)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = NULL, *cert = NULL;
    if (ca_key != NULL && key != NULL) {
        ca = make_certificate(ca_key, "lull-local-ca", NULL, NULL);
        cert = ca == NULL ? NULL : make_certificate(key, "lull-local", ca, ca_key);
    }
    int rc = cert == NULL ? from_openssl(err, "a certificate") : 0;
    if (rc == 0) {
        rc = write_pem(ca_key_file, NULL, ca_key, err);
    }
    if (rc == 0) {
        rc = write_pem(pki->ca_file, ca, NULL, err);
    }
    if (rc == 0) {
        rc = write_pem(pki->key_file, NULL, key, err);
    }
    if (rc == 0) {
        rc = write_pem(pki->cert_file, cert, NULL, err);
    }
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------- */

static X509 *read_certificate(const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return cert;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return key;
}

static bool lasts(X509 *cert)
{
    time_t then = time(NULL) + RENEW_S;
    return X509_cmp_time(X509_get0_notAfter(cert), &then) > 0 &&
           X509_cmp_current_time(X509_get0_notBefore(cert)) < 0;
}

static bool is_fit(const struct pki *pki)
{
    X509 *ca = read_certificate(pki->ca_file);
    X509 *cert = read_certificate(pki->cert_file);
    EVP_PKEY *key = read_key(pki->key_file);
    EVP_PKEY *ca_key = ca == NULL ? NULL : X509_get_pubkey(ca);
    bool fit = ca != NULL && cert != NULL && key != NULL && ca_key != NULL && lasts(ca) &&
               lasts(cert) && X509_check_private_key(cert, key) == 1 &&
               X509_verify(cert, ca_key) == 1;
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    ERR_clear_error();
    return fit;
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
    CLEANUP(strbuf_fini) struct strbuf ca, text, there;
    strbuf_init(&ca, FILE_MAX);
    strbuf_init(&text, FILE_MAX * 2);
    strbuf_init(&there, FILE_MAX * 2);
    int rc = fs_read_file(pki->ca_file, FILE_MAX, &ca, err);
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_free) char *encoded = xcalloc(1, ca.len / 3 * 4 + 8);
    (void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)ca.ptr, (int)ca.len);
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
                         port, encoded, user, pki->token, user);
    CLEANUP(cleanup_free) char *path = fs_join(home, "kubeconfig");
    struct error ignored;
    if (fs_read_file(path, FILE_MAX * 2, &there, &ignored) == 0 &&
        slice_eq(strbuf_slice(&there), strbuf_slice(&text))) {
        return 0;
    }
    return fs_write_atomic(path, strbuf_slice(&text), 0600, err);
}
