// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TLS (1.2 and 1.3) under struct stream. A separate library, loop_tls_dep: binaries without TLS do
 * not link OpenSSL. After tls_secure the stream is used as before; the handshake runs by itself
 * with the first bytes, what is written before it ends waits in the stream's queue.
 * The owner's deadline covers the handshake.
 */

#include "base/strbuf.h"
#include "loop/stream.h"

struct tls_context;
struct tls_identity;

struct tls_options {
    const char *cert_file; /* PEM chain; with key_file: needed for a server */
    const char *key_file;  /* PEM */
    struct slice cert_pem; /* instead of cert_file */
    struct slice key_pem;  /* instead of key_file */
    const char
        *ca_file; /* client: trust only these; server: ask for and check client certificates */
    struct slice ca_pem; /* instead of ca_file */
    const char *alpn;    /* comma-separated, best first: "h2,http/1.1"; NULL: none. A client that
                            names others only is turned away */
    /*
     * Server, instead of a certificate: the one to show to a client that asks for this host name
     * (as it spelled it; empty: it named none), used before the call's owner goes on. NULL: there
     * is none, and the handshake ends with the alert unrecognized_name.
     */
    const struct tls_identity *(*choose)(void *arg, struct slice name);
    void *choose_arg;
    unsigned max_handshakes; /* server: under way at once, more are turned away; 0: any number */
};

/* What a server's context has seen. */
struct tls_counters {
    uint64_t done;      /* handshakes that came to their end */
    uint64_t failed;    /* broken off by either side, or by the owner's deadline */
    uint64_t unnamed;   /* there was no certificate for the name */
    uint64_t refused;   /* too many were under way */
    unsigned under_way; /* now */
};

/* Errors name the file and OpenSSL's reason. */
MUST_CHECK int tls_server_new(const struct tls_options *opt, struct tls_context **out,
                              struct error *err);
MUST_CHECK int tls_client_new(const struct tls_options *opt, struct tls_context **out,
                              struct error *err);
/* Valid as long as the context. */
const struct tls_counters *tls_context_counters(const struct tls_context *ctx);
/* Streams that use it keep it alive, but not the owner of choose_arg: see tls_context_retire. NULL
   is fine. */
void tls_context_free(struct tls_context *ctx);

/* choose is not called any more: handshakes from now on end as if there were no certificate. */
void tls_context_retire(struct tls_context *ctx);
/* Server side, for struct listen_options: .secure = tls_secure, .secure_data = ctx. */
int tls_secure(void *arg, struct stream *s, struct error *err);
/* Client side, before the first write; server_name is checked against the certificate and sent. */
MUST_CHECK int tls_secure_client(struct tls_context *ctx, struct stream *s, const char *server_name,
                                 struct error *err);
