// SPDX-License-Identifier: Apache-2.0
/*
 * Certificates, keys and trust, from files or from memory. A context that cannot be made whole is
 * freed again; the sentence names the file and OpenSSL's reason.
 */
#include "loop/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/fs.h"
#include "base/mem.h"

#define PEM_MAX (1u << 20)

int tls_fail(struct error *err, enum err_code code, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e == 0 ? "unexpected end" : ERR_reason_error_string(e);
    error_set(err, code, "%s: %s", what, reason == NULL ? "unknown reason" : reason);
    ERR_clear_error();
    return code;
}

int tls_no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

/* The PEM text: from memory when given, else from the file. */
static int load_pem(struct slice pem, const char *file, struct strbuf *out, struct error *err)
{
    if (pem.len > 0) {
        return strbuf_append_slice(out, pem) < 0
                   ? error_set(err, ERR_TOO_BIG, "PEM of more than %u bytes", PEM_MAX)
                   : 0;
    }
    return fs_read_file(file, PEM_MAX, out, err);
}

static int use_certificate(SSL_CTX *ssl, const struct strbuf *pem, const char *what,
                           struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem->ptr, (int)pem->len);
    X509 *cert = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL);
    int ok = cert != NULL && SSL_CTX_use_certificate(ssl, cert) == 1;
    X509_free(cert);
    X509 *next;
    while (ok && (next = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ssl, next) == 1;
        if (!ok) {
            X509_free(next);
        }
    }
    BIO_free(bio);
    if (!ok) {
        return tls_fail(err, ERR_INVALID, what);
    }
    ERR_clear_error(); /* the end of the chain is reported as an error */
    return 0;
}

static int use_key(SSL_CTX *ssl, const struct strbuf *pem, const char *what, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem->ptr, (int)pem->len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, NULL);
    int ok =
        key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : tls_fail(err, ERR_INVALID, what);
}

static int use_ca(SSL_CTX *ssl, const struct strbuf *pem, const char *what, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem->ptr, (int)pem->len);
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    unsigned count = 0;
    bool ok = true;
    X509 *cert;
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
        count++;
    }
    BIO_free(bio);
    if (!ok || count == 0) {
        return tls_fail(err, ERR_INVALID, what);
    }
    ERR_clear_error();
    return 0;
}

enum pem_use { USE_CERTIFICATE, USE_KEY, USE_CA };

static int load_into(SSL_CTX *ssl, enum pem_use use, struct slice pem, const char *file,
                     struct error *err)
{
    static const char *const names[] = {"certificate", "private key", "certificate authority"};
    char what[160];
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, PEM_MAX);
    int rc = load_pem(pem, file, &text, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", names[use]);
    }
    snprintf(what, sizeof(what), "%s %s", names[use], pem.len > 0 ? "(from memory)" : file);
    ERR_clear_error();
    rc = use == USE_CERTIFICATE ? use_certificate(ssl, &text, what, err)
         : use == USE_KEY       ? use_key(ssl, &text, what, err)
                                : use_ca(ssl, &text, what, err);
    if (use == USE_KEY && text.len > 0) {
        OPENSSL_cleanse(text.ptr, text.len);
    }
    return rc;
}

/* "h2,http/1.1" → length-prefixed names. */
static int set_alpn(struct tls_context *ctx, const char *names, struct error *err)
{
    struct slice rest = slice_str(names);
    struct slice name;
    while (slice_split(&rest, ',', &name)) {
        if (name.len == 0 || name.len > 255 || ctx->alpn_len + 1 + name.len > sizeof(ctx->alpn)) {
            return error_set(err, ERR_INVALID, "ALPN \"%s\": a name is empty or too long", names);
        }
        ctx->alpn[ctx->alpn_len] = (unsigned char)name.len;
        memcpy(ctx->alpn + ctx->alpn_len + 1, name.ptr, name.len);
        ctx->alpn_len += 1 + (unsigned)name.len;
    }
    return 0;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    const struct tls_context *ctx = arg;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, ctx->alpn, ctx->alpn_len, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Shows the certificate that the owner has for the client's name. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct tls_context *ctx = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct tls_identity *id =
        ctx->choose == NULL ? NULL
                            : ctx->choose(ctx->choose_arg, slice_str(name == NULL ? "" : name));
    if (id == NULL) {
        ctx->counters.unnamed++;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (SSL_use_cert_and_key(ssl, id->cert, id->key, id->chain, 1) != 1) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

static void choose_by_name(struct tls_context *ctx, const struct tls_options *opt)
{
    ctx->choose = opt->choose;
    ctx->choose_arg = opt->choose_arg;
    SSL_CTX_set_tlsext_servername_callback(ctx->ssl, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
}

/*
 * Clients come from anywhere: ciphers with forward secrecy and authentication only, in our order.
 * Sessions are not resumed: a ticket's key would have to be the same in every worker, and a
 * resumed session would go on with a certificate that was replaced.
 */
static int harden_server(SSL_CTX *ssl, struct error *err)
{
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_num_tickets(ssl, 0) == 1 &&
                   SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
               ? 0
               : tls_fail(err, ERR_INTERNAL, "TLS ciphers");
}

static bool given(struct slice pem, const char *file)
{
    return pem.len > 0 || file != NULL;
}

static int fill(struct tls_context *ctx, const struct tls_options *opt, bool server,
                struct error *err)
{
    int rc = 0;
    SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS);
    ctx->max_handshakes = opt->max_handshakes;
    if (server) {
        rc = harden_server(ctx->ssl, err);
    }
    if (rc == 0 && server && opt->choose != NULL) {
        choose_by_name(ctx, opt);
    } else if (rc == 0 && given(opt->cert_pem, opt->cert_file)) {
        rc = load_into(ctx->ssl, USE_CERTIFICATE, opt->cert_pem, opt->cert_file, err);
        rc = rc < 0 ? rc : load_into(ctx->ssl, USE_KEY, opt->key_pem, opt->key_file, err);
    } else if (rc == 0 && server) {
        rc = error_set(err, ERR_INVALID, "a TLS server needs a certificate and a key");
    }
    bool own_ca = given(opt->ca_pem, opt->ca_file);
    if (rc == 0 && own_ca) {
        rc = load_into(ctx->ssl, USE_CA, opt->ca_pem, opt->ca_file, err);
    } else if (rc == 0 && !server && SSL_CTX_set_default_verify_paths(ctx->ssl) != 1) {
        rc = tls_fail(err, ERR_IO, "the system's certificate authorities");
    }
    if (rc == 0 && (own_ca || !server)) {
        SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (rc == 0 && opt->alpn != NULL) {
        rc = set_alpn(ctx, opt->alpn, err);
        if (server) {
            SSL_CTX_set_alpn_select_cb(ctx->ssl, select_alpn, ctx);
        } else if (rc == 0) {
            SSL_CTX_set_alpn_protos(ctx->ssl, ctx->alpn, ctx->alpn_len);
        }
    }
    return rc;
}

static int make(const struct tls_options *opt, bool server, struct tls_context **out,
                struct error *err)
{
    struct tls_context *ctx = NEW(struct tls_context);
    ctx->refs = 1;
    ctx->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    int rc =
        ctx->ssl == NULL ? tls_fail(err, ERR_NOMEM, "TLS set-up") : fill(ctx, opt, server, err);
    if (rc < 0) {
        tls_context_free(ctx);
        return rc;
    }
    *out = ctx;
    return 0;
}

int tls_server_new(const struct tls_options *opt, struct tls_context **out, struct error *err)
{
    return make(opt, true, out, err);
}

int tls_client_new(const struct tls_options *opt, struct tls_context **out, struct error *err)
{
    return make(opt, false, out, err);
}

const struct tls_counters *tls_context_counters(const struct tls_context *ctx)
{
    return &ctx->counters;
}

void tls_context_retire(struct tls_context *ctx)
{
    if (ctx != NULL) {
        ctx->choose = NULL;
    }
}

void tls_context_free(struct tls_context *ctx)
{
    if (ctx != NULL && --ctx->refs == 0) {
        SSL_CTX_free(ctx->ssl);
        free(ctx);
    }
}
