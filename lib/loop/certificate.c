// SPDX-License-Identifier: Apache-2.0
/*
 * OpenSSL in and out of PEM texts. Happy path: key, certificate, extensions, signature, text.
 * Failure mode: the first step that OpenSSL refuses; its reason is in the error.
 */
#include "loop/certificate.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/mem.h"
#include "base/random.h"

enum { SKEW_S = 24 * 3600, CA_LOOKED_AT = 16 };

static int fail(struct error *err, const char *what)
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

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, X509 *issuer, const char *name, int64_t lifetime_s)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_set_version(cert, 2) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), random_u64() >> 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -(long)SKEW_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), (long)lifetime_s) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1;
}

static bool extend_ca(X509 *cert)
{
    return add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(cert, cert, NID_subject_key_identifier, "hash");
}

static bool extend_server(X509 *cert, X509 *issuer, const char *alt_names)
{
    return add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, issuer, NID_ext_key_usage, "serverAuth") &&
           add_extension(cert, issuer, NID_authority_key_identifier, "keyid") &&
           add_extension(cert, issuer, NID_subject_alt_name, alt_names);
}

/* What a memory BIO holds, as a text of the caller's; NULL when it holds nothing. */
static char *take_text(BIO *bio)
{
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    return len > 0 ? xstrndup(text, (size_t)len) : NULL;
}

static int to_pem(X509 *cert, EVP_PKEY *key, struct certificate *out, struct error *err)
{
    BIO *certs = BIO_new(BIO_s_mem());
    BIO *keys = BIO_new(BIO_s_secmem());
    if (certs != NULL && keys != NULL && PEM_write_bio_X509(certs, cert) == 1 &&
        PEM_write_bio_PrivateKey(keys, key, NULL, NULL, 0, NULL, NULL) == 1) {
        *out = (struct certificate){take_text(certs), take_text(keys)};
    }
    BIO_free(certs);
    BIO_free(keys);
    if (out->cert_pem == NULL || out->key_pem == NULL) {
        certificate_fini(out);
        return fail(err, "the text of a certificate");
    }
    return 0;
}

static BIO *reader(struct slice pem)
{
    return BIO_new_mem_buf(pem.ptr, (int)(pem.len < INT32_MAX ? pem.len : 0));
}

/* What needs a password cannot be read: nobody is asked for it. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

static X509 *read_first(struct slice pem)
{
    BIO *bio = reader(pem);
    X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return cert;
}

static EVP_PKEY *read_key(struct slice pem)
{
    BIO *bio = reader(pem);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

int certificate_make_ca(const char *name, int64_t lifetime_s, struct certificate *out,
                        struct error *err)
{
    *out = (struct certificate){0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool ok = key != NULL && cert != NULL && fill(cert, key, cert, name, lifetime_s) &&
              extend_ca(cert) && X509_sign(cert, key, EVP_sha256()) != 0;
    int rc = ok ? to_pem(cert, key, out, err) : fail(err, "a certificate authority");
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

int certificate_make(const struct certificate *ca, const char *name, const char *alt_names,
                     int64_t lifetime_s, struct certificate *out, struct error *err)
{
    *out = (struct certificate){0};
    X509 *issuer = read_first(slice_str(ca->cert_pem));
    EVP_PKEY *issuer_key = read_key(slice_str(ca->key_pem));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool ok = issuer != NULL && issuer_key != NULL && key != NULL && cert != NULL &&
              fill(cert, key, issuer, name, lifetime_s) && extend_server(cert, issuer, alt_names) &&
              X509_sign(cert, issuer_key, EVP_sha256()) != 0;
    int rc = ok ? to_pem(cert, key, out, err) : fail(err, "a certificate");
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

void certificate_fini(struct certificate *certificate)
{
    if (certificate->key_pem != NULL) {
        OPENSSL_cleanse(certificate->key_pem, strlen(certificate->key_pem));
    }
    free(certificate->cert_pem);
    free(certificate->key_pem);
    *certificate = (struct certificate){0};
}

/* --- reading ------------------------------------------------------------------------------- */

static bool seconds_of(const ASN1_TIME *at, int64_t *out)
{
    struct tm tm = {0};
    if (ASN1_TIME_to_tm(at, &tm) != 1) {
        return false;
    }
    *out = (int64_t)timegm(&tm);
    return true;
}

int certificate_times(struct slice pem, struct certificate_times *out, struct error *err)
{
    X509 *cert = read_first(pem);
    struct certificate_times times = {0};
    bool ok = cert != NULL && seconds_of(X509_get0_notBefore(cert), &times.begins_s) &&
              seconds_of(X509_get0_notAfter(cert), &times.ends_s);
    X509_free(cert);
    if (!ok) {
        return error_set(err, ERR_INVALID, "no certificate in the text");
    }
    *out = times;
    return 0;
}

bool certificate_has_key(struct slice cert_pem, struct slice key_pem)
{
    X509 *cert = read_first(cert_pem);
    EVP_PKEY *key = read_key(key_pem);
    bool has = cert != NULL && key != NULL && X509_check_private_key(cert, key) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return has;
}

bool certificate_signed_by(struct slice cert_pem, struct slice ca_pem)
{
    X509 *cert = read_first(cert_pem);
    BIO *bio = reader(ca_pem);
    bool is = false;
    for (unsigned i = 0; cert != NULL && bio != NULL && !is && i < CA_LOOKED_AT; i++) {
        X509 *ca = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (ca == NULL) {
            break;
        }
        EVP_PKEY *key = X509_get_pubkey(ca);
        is = key != NULL && X509_verify(cert, key) == 1;
        EVP_PKEY_free(key);
        X509_free(ca);
    }
    BIO_free(bio);
    X509_free(cert);
    ERR_clear_error();
    return is;
}

bool certificate_names(struct slice cert_pem, const char *host)
{
    X509 *cert = read_first(cert_pem);
    bool names = cert != NULL && X509_check_host(cert, host, strlen(host), 0, NULL) == 1;
    X509_free(cert);
    ERR_clear_error();
    return names;
}

size_t certificate_hosts(struct slice cert_pem, void (*fn)(void *arg, struct slice host), void *arg)
{
    X509 *cert = read_first(cert_pem);
    GENERAL_NAMES *names =
        cert == NULL ? NULL : X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && count < CERTIFICATE_HOSTS_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            fn(arg, slice_of((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                             (size_t)ASN1_STRING_length(name->d.dNSName)));
            count++;
        }
    }
    GENERAL_NAMES_free(names);
    X509_free(cert);
    ERR_clear_error();
    return count;
}
