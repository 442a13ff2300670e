// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: certificate, chain and key are read, and a context that is thrown away again is asked
 * to use them, so that what OpenSSL would refuse in a handshake is refused here. Failure mode: the
 * first step that fails; the sentence says which, with OpenSSL's reason.
 */
#include "loop/tls_identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "loop/tls_context.h"

enum { CHAIN_MAX = 16, TEXT_MAX = 1 << 20 };

static BIO *reader(struct slice pem)
{
    return BIO_new_mem_buf(pem.ptr, (int)(pem.len <= TEXT_MAX ? pem.len : 0));
}

static int read_chain(struct tls_identity *id, struct slice pem, struct error *err)
{
    BIO *bio = reader(pem);
    id->cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, tls_no_password, NULL);
    id->chain = sk_X509_new_null();
    X509 *next = NULL;
    bool ok = id->cert != NULL && id->chain != NULL;
    while (ok && sk_X509_num(id->chain) < CHAIN_MAX &&
           (next = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL)) != NULL) {
        ok = sk_X509_push(id->chain, next) > 0;
        if (!ok) {
            X509_free(next);
        }
    }
    BIO_free(bio);
    if (!ok) {
        return tls_fail(err, ERR_INVALID, "certificate");
    }
    /* The end of the text is reported as an error; a certificate in it that cannot be read too. */
    unsigned long e = ERR_peek_last_error();
    if (next == NULL &&
        (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)) {
        return tls_fail(err, ERR_INVALID, "certificate: its chain");
    }
    ERR_clear_error();
    return 0;
}

static int read_key(struct tls_identity *id, struct slice pem, struct error *err)
{
    BIO *bio = reader(pem);
    id->key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, NULL);
    BIO_free(bio);
    return id->key == NULL ? tls_fail(err, ERR_INVALID, "private key") : 0;
}

static int try_out(const struct tls_identity *id, struct error *err)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    int rc = 0;
    if (ssl == NULL || SSL_CTX_use_cert_and_key(ssl, id->cert, id->key, id->chain, 1) != 1) {
        rc = tls_fail(err, ERR_INVALID, "certificate and private key");
    }
    SSL_CTX_free(ssl);
    return rc;
}

int tls_identity_new(struct slice cert_pem, struct slice key_pem, struct tls_identity **out,
                     struct error *err)
{
    struct tls_identity *id = NEW(struct tls_identity);
    ERR_clear_error();
    int rc = read_chain(id, cert_pem, err);
    rc = rc < 0 ? rc : read_key(id, key_pem, err);
    if (rc == 0 && X509_check_private_key(id->cert, id->key) != 1) {
        rc = error_set(err, ERR_INVALID, "the private key is not the certificate's");
        ERR_clear_error();
    }
    rc = rc < 0 ? rc : try_out(id, err);
    if (rc < 0) {
        tls_identity_free(id);
        return rc;
    }
    *out = id;
    return 0;
}

void tls_identity_free(struct tls_identity *id)
{
    if (id != NULL) {
        X509_free(id->cert);
        EVP_PKEY_free(id->key);
        sk_X509_pop_free(id->chain, X509_free);
        free(id);
    }
}
