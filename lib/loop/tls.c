// SPDX-License-Identifier: Apache-2.0
/*
 * TLS over OpenSSL's memory buffers: bytes from the socket go into one (BIO_write), bytes for the
 * socket come out of the other, and OpenSSL never sees the descriptor.
 *
 * Happy path: bytes arrive → handshake until it is done, then SSL_read straight into the owner's
 * buffer while it wants bytes; what OpenSSL has to say goes out after each step. A write before
 * the end of the handshake waits in `early` (bounded by the stream's queue).
 * Pausing: the owner stops reading, SSL_read stops, and so does the socket; bytes that were
 * received already stay in the memory buffer until `proceed`.
 * Failures: a handshake or record error breaks the stream with OpenSSL's reason; an end of file
 * without a close_notify is ERR_CLOSED, because a truncated answer must not look whole.
 */
#include "loop/tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/mem.h"
#include "loop/stream_layer.h"
#include "loop/tls_context.h"

/* A longer write goes to the socket in parts of this size, so that OpenSSL's buffer stays small. */
#define FLUSH_BYTES (64u << 10)

struct tls_layer {
    struct stream_layer layer;
    struct tls_context *ctx;
    SSL *ssl;
    BIO *from_socket; /* owned by ssl */
    BIO *to_socket;   /* owned by ssl */
    struct strbuf early;
    bool ready;      /* the handshake is done */
    bool said_bye;   /* close_notify is out */
    bool had_early;  /* the owner is owed an on_drain for what waited */
    bool wants_bye;  /* a shutdown waits for the end of the handshake */
    bool got_bye;    /* close_notify came in */
    bool counted;    /* its handshake is under way */
    bool delivering; /* inside deliver: the owner's callbacks must not start another */
};

static int fail_layer(const struct tls_layer *t, struct error *err, const char *what)
{
    long verify = SSL_get_verify_result(t->ssl);
    if (!t->ready && verify != X509_V_OK) {
        ERR_clear_error();
        return error_set(err, ERR_DENIED, "%s: certificate: %s", what,
                         X509_verify_cert_error_string(verify));
    }
    return tls_fail(err, ERR_PROTOCOL, what);
}

static struct tls_layer *of(struct stream_layer *layer)
{
    return CONTAINER_OF(layer, struct tls_layer, layer);
}

/* --- moving bytes ------------------------------------------------------------------------------
 */

/* What OpenSSL has put out goes to the socket. */
static int flush(struct tls_layer *t, struct error *err)
{
    char *bytes = NULL;
    long n = BIO_get_mem_data(t->to_socket, &bytes);
    if (n <= 0) {
        return 0;
    }
    struct iovec iov = {.iov_base = bytes, .iov_len = (size_t)n};
    int rc = stream_layer_send(t->layer.s, &iov, 1, err);
    (void)BIO_reset(t->to_socket);
    return rc;
}

static int encrypt(struct tls_layer *t, const char *bytes, size_t len, struct error *err)
{
    while (len > 0) {
        size_t n = len < FLUSH_BYTES ? len : FLUSH_BYTES;
        ERR_clear_error();
        int rc = SSL_write(t->ssl, bytes, (int)n);
        if (rc <= 0) {
            return fail_layer(t, err, "TLS write");
        }
        if (n == FLUSH_BYTES) {
            int sent = flush(t, err);
            if (sent < 0) {
                return sent;
            }
        }
        bytes += rc;
        len -= (size_t)rc;
    }
    return 0;
}

/* Says goodbye once. */
static int say_bye(struct tls_layer *t, struct error *err)
{
    if (!t->said_bye) {
        t->said_bye = true;
        ERR_clear_error();
        SSL_shutdown(t->ssl); /* 0 or 1: the notice is in the buffer; an error has no use here */
        ERR_clear_error();
    }
    return flush(t, err);
}

/* Counts what is under way, once; only servers do. */
static void end_handshake(struct tls_layer *t, bool done)
{
    struct tls_counters *c = &t->ctx->counters;
    if (t->counted) {
        t->counted = false;
        c->under_way--;
        c->done += done ? 1 : 0;
        c->failed += done ? 0 : 1;
    }
}

/* The handshake is done: what was written meanwhile goes out. */
static int become_ready(struct tls_layer *t, struct error *err)
{
    t->ready = true;
    end_handshake(t, true);
    int rc = encrypt(t, t->early.ptr, t->early.len, err);
    strbuf_fini(&t->early);
    t->had_early = t->layer.queued > 0;
    t->layer.queued = 0;
    if (rc == 0 && t->wants_bye) {
        rc = say_bye(t, err);
        if (rc == 0) {
            stream_layer_shut(t->layer.s);
        }
    }
    t->layer.needs_bytes = false;
    stream_layer_changed(t->layer.s);
    return rc;
}

static int handshake(struct tls_layer *t, struct error *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        return become_ready(t, err);
    }
    int why = SSL_get_error(t->ssl, rc);
    if (why == SSL_ERROR_WANT_READ) {
        return 0;
    }
    struct error first;
    fail_layer(t, &first, "TLS handshake");
    (void)flush(t, NULL); /* the alert tells the peer why */
    return error_copy(err, &first);
}

/* Decrypts into the owner's buffers for as long as it wants bytes and there are some. */
static int deliver(struct tls_layer *t, struct error *err)
{
    struct stream *s = t->layer.s;
    while (!t->got_bye) {
        struct stream_buffer b = stream_layer_want(s);
        if (b.len == 0) {
            return 0;
        }
        ERR_clear_error();
        int n = SSL_read(t->ssl, b.ptr, b.len > INT_MAX ? INT_MAX : (int)b.len);
        if (n > 0) {
            stream_layer_give(s, b.ptr, (size_t)n);
            continue;
        }
        int why = SSL_get_error(t->ssl, n);
        if (why == SSL_ERROR_WANT_READ) {
            return 0;
        }
        if (why != SSL_ERROR_ZERO_RETURN && s->raw_ended) {
            ERR_clear_error();
            return error_set(err, ERR_CLOSED, "TLS read: the peer closed without saying goodbye");
        }
        if (why != SSL_ERROR_ZERO_RETURN) {
            return fail_layer(t, err, "TLS read");
        }
        t->got_bye = true;
        stream_layer_end(s);
    }
    return 0;
}

static int advance(struct tls_layer *t, struct error *err)
{
    if (t->delivering) {
        return 0;
    }
    int rc = t->ready ? 0 : handshake(t, err);
    if (rc == 0 && t->ready) {
        t->delivering = true;
        rc = deliver(t, err);
        t->delivering = false;
    }
    if (rc == 0 && !stream_is_closing(t->layer.s)) {
        rc = flush(t, err);
    }
    if (rc == 0 && t->had_early) {
        t->had_early = false;
        stream_layer_drained(t->layer.s);
    }
    return rc;
}

/* --- the table that the stream calls ------------------------------------------------------------
 */

static struct stream_buffer layer_buffer(struct stream_layer *layer)
{
    struct tls_layer *t = of(layer);
    return (struct stream_buffer){t->ctx->in, sizeof(t->ctx->in)};
}

static int layer_received(struct stream_layer *layer, size_t n, struct error *err)
{
    struct tls_layer *t = of(layer);
    if (BIO_write(t->from_socket, t->ctx->in, (int)n) != (int)n) {
        return error_set(err, ERR_NOMEM, "TLS read: out of memory");
    }
    return advance(t, err);
}

static int layer_ended(struct stream_layer *layer, struct error *err)
{
    struct tls_layer *t = of(layer);
    if (!t->ready) {
        return error_set(err, ERR_CLOSED, "TLS handshake: the peer closed the connection");
    }
    /* From now on an empty buffer means the end. A paused owner learns of it when it reads on. */
    BIO_set_mem_eof_return(t->from_socket, 0);
    return advance(t, err);
}

static int layer_proceed(struct stream_layer *layer, struct error *err)
{
    return advance(of(layer), err);
}

static int layer_write(struct stream_layer *layer, const struct iovec *iov, unsigned count,
                       struct error *err)
{
    struct tls_layer *t = of(layer);
    struct tls_context *ctx = t->ctx;
    size_t used = 0;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        const char *bytes = iov[i].iov_base;
        size_t len = iov[i].iov_len;
        if (!t->ready) {
            rc = strbuf_append(&t->early, bytes, len) < 0
                     ? error_set(err, ERR_TOO_BIG, "TLS write: too much before the handshake")
                     : 0;
            t->layer.queued = t->early.len;
            continue;
        }
        if (used > 0 && used + len > sizeof(ctx->out)) {
            rc = encrypt(t, ctx->out, used, err);
            used = 0;
        }
        if (rc == 0 && len >= sizeof(ctx->out)) {
            rc = encrypt(t, bytes, len, err);
        } else if (rc == 0 && len > 0) {
            memcpy(ctx->out + used, bytes, len);
            used += len;
        }
    }
    if (rc == 0 && used > 0) {
        rc = encrypt(t, ctx->out, used, err);
    }
    return rc == 0 ? flush(t, err) : rc;
}

static int layer_shutdown(struct stream_layer *layer, struct error *err)
{
    struct tls_layer *t = of(layer);
    if (!t->ready) {
        t->wants_bye = true;
        return 1;
    }
    return say_bye(t, err);
}

static struct slice layer_alpn(const struct stream_layer *layer)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(CONTAINER_OF(layer, const struct tls_layer, layer)->ssl, &name, &len);
    return slice_of((const char *)name, len);
}

static void layer_destroy(struct stream_layer *layer)
{
    struct tls_layer *t = of(layer);
    end_handshake(t, false);
    SSL_free(t->ssl);
    strbuf_fini(&t->early);
    tls_context_free(t->ctx);
    free(t);
}

static const struct stream_layer_ops tls_ops = {
    .buffer = layer_buffer,
    .received = layer_received,
    .ended = layer_ended,
    .proceed = layer_proceed,
    .write = layer_write,
    .shutdown = layer_shutdown,
    .alpn = layer_alpn,
    .destroy = layer_destroy,
};

static int attach(struct tls_context *ctx, struct stream *s, bool server, const char *name,
                  struct error *err)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(ctx->ssl);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (ssl == NULL || in == NULL || out == NULL ||
        (name != NULL && (SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name) != 1 ||
                          SSL_set1_host(ssl, name) != 1))) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return tls_fail(err, ERR_NOMEM, "TLS set-up");
    }
    BIO_set_mem_eof_return(in, -1); /* empty means "later", not "the end" */
    SSL_set_bio(ssl, in, out);
    struct tls_layer *t = NEW(struct tls_layer);
    t->layer.ops = &tls_ops;
    t->layer.needs_bytes = true;
    t->ctx = ctx;
    ctx->refs++;
    t->ssl = ssl;
    t->from_socket = in;
    t->to_socket = out;
    strbuf_init(&t->early, s->queue_max);
    if (server) {
        t->counted = true;
        ctx->counters.under_way++;
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    stream_layer_attach(s, &t->layer);
    return 0;
}

int tls_secure(void *arg, struct stream *s, struct error *err)
{
    struct tls_context *ctx = arg;
    if (ctx->max_handshakes > 0 && ctx->counters.under_way >= ctx->max_handshakes) {
        ctx->counters.refused++;
        return error_set(err, ERR_OVERLOAD, "TLS: %u handshakes are under way already",
                         ctx->counters.under_way);
    }
    return attach(ctx, s, true, NULL, err);
}

int tls_secure_client(struct tls_context *ctx, struct stream *s, const char *server_name,
                      struct error *err)
{
    struct addr ip;
    if (addr_from_ip(slice_str(server_name), 0, &ip, NULL) < 0) {
        return attach(ctx, s, false, server_name, err);
    }
    /* A numeric address is looked for among the certificate's addresses, and not sent as a name. */
    int rc = attach(ctx, s, false, NULL, err);
    if (rc == 0) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(of(s->layer)->ssl), server_name);
    }
    return rc;
}
