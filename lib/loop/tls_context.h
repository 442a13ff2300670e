// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/loop: what tls.c and tls_context.c share. */

#include <openssl/ssl.h>

#include "loop/tls.h"

#define TLS_RECORD_BYTES (16u << 10)
#define TLS_ALPN_MAX     64

struct tls_identity {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

struct tls_context {
    SSL_CTX *ssl;
    unsigned refs;
    const struct tls_identity *(*choose)(void *arg, struct slice name);
    void *choose_arg;
    unsigned max_handshakes; /* 0: any number */
    struct tls_counters counters;
    unsigned char alpn[TLS_ALPN_MAX]; /* length-prefixed names, best first */
    unsigned alpn_len;
    char in[TLS_RECORD_BYTES];  /* from the socket, between two calls of libuv */
    char out[TLS_RECORD_BYTES]; /* pieces of a write, gathered into one record */
};

/* A key that needs a password is not to be had: nobody is asked for it. */
int tls_no_password(char *buf, int size, int rwflag, void *arg);
/* Puts OpenSSL's reason behind `what`; returns code. */
int tls_fail(struct error *err, enum err_code code, const char *what);
