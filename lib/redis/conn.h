// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection to Redis that keeps itself up: commands are pipelined, what is sent in one turn of
 * the loop leaves in one write, answers come in order. When the connection is lost, or Redis says
 * that it cannot serve (LOADING, READONLY after a fail-over), every command under way completes
 * with an error, and it is made anew with back-off and jitter, for ever. Nothing is sent twice by
 * itself: whether a command that failed so was carried out is not known.
 *
 * Owns: the socket, the bytes, the question for the address. May not: know what the commands mean.
 *
 *     redis_conn_new(loop, &(struct redis_conn_options){.address = "unix:/run/redis.sock",
 *                    .on_up = up, .arg = me}, &conn, err);
 *     redis_conn_send(conn, (struct slice[]){SLICE_LIT("XLEN"), key}, 2, on_len, me, err);
 *
 * With wait_replicas an answer is told only when so many replicas have what it acknowledges (WAIT,
 * one for all commands of a moment); else the command completes with ERR_UNAVAILABLE, although it
 * was carried out and may stay.
 *
 * Bounds: commands under way (ERR_OVERLOAD), bytes not yet sent (ERR_OVERLOAD), bytes of one answer
 * (the connection is dropped), time of one command (the connection is dropped: answers come in
 * order, so nothing behind a lost one can be told apart).
 */

#include "loop/addr.h"
#include "loop/loop.h"
#include "redis/reply.h"

struct redis_conn;
struct tls_context;

/* Texts are copied; files are read for each connection anew. */
struct redis_conn_options {
    const char *address; /* redis/address.h */
    /* Instead; NULL: none. Where no option below names another, files beside it count, as a mounted
     * Secret has them: ca.crt, tls.crt with tls.key, sentinel-password. */
    const char *address_file;
    const char *user_file;     /* what is in it counts instead of the address' user */
    const char *password_file; /* likewise */
    const char *sentinel_password_file;
    const char *client_name; /* CLIENT SETNAME; NULL: none */
    const char *ca_file;     /* rediss: trust only these; NULL: the system's */
    const char *cert_file;   /* rediss: what we show; NULL: nothing */
    const char *key_file;
    const char *server_name; /* rediss: in the certificate; NULL: the host of the address */
    /*
     * It is to keep what must not be lost: a replica, a Redis older than 7, one that evicts, one of
     * several nodes of a cluster, or one that refuses a command of `needs` (each with arguments, as
     * "XLEN lull:x"; not copied) is not used, and trouble says why.
     */
    bool store;
    const char *const *needs;
    size_t n_needs;
    unsigned wait_replicas; /* 0: none */
    uint64_t wait_ms;       /* longest wait for them; less than timeout_ms */
    uint64_t timeout_ms;    /* of a command, and of connecting; 0: 10 s */
    size_t max_commands;    /* under way; 0: 65,536 */
    size_t max_bytes;       /* waiting to be sent; 0: 64 MiB */
    size_t max_answer;      /* of one answer; 0: 64 MiB */
    /* Whether an address may be called, a Sentinel's too (not asked of sockets of this machine);
     * NULL: any. */
    int (*may_call)(void *arg, const struct addr *addr, struct error *err);
    /* All optional; never inside a call of the owner. */
    void (*on_up)(void *arg); /* commands are taken from now on */
    /* Every pending command has completed before. Also after each failed try to connect. */
    void (*on_down)(void *arg, const struct error *err);
    /* store: what may cost something all the same; at each connect. */
    void (*on_warning)(void *arg, const char *text);
    void *arg;
};

/* Exactly one of reply and err is NULL. reply is borrowed until return. */
typedef void (*redis_conn_cb)(void *arg, const struct redisReply *reply, const struct error *err);

/* Begins to connect. */
MUST_CHECK int redis_conn_new(struct loop *loop, const struct redis_conn_options *options,
                              struct redis_conn **out, struct error *err);
/* Pending commands complete with ERR_CANCELED; then cb (may be NULL), and it is freed. */
void redis_conn_close(struct redis_conn *conn, void (*cb)(void *arg), void *arg);

bool redis_conn_is_up(const struct redis_conn *conn);
/* Why it is not up; "" while it is. */
const char *redis_conn_trouble(const struct redis_conn *conn);
/* Commands under way. */
size_t redis_conn_pending(const struct redis_conn *conn);

/*
 * Zero: exactly one cb, never inside this call. ERR_UNAVAILABLE: not connected; ERR_OVERLOAD: too
 * much is under way; nothing was sent then. cb may be NULL. An error answer is err of cb. Inside a
 * MULTI only the answer of EXEC says what happened.
 */
MUST_CHECK int redis_conn_send(struct redis_conn *conn, const struct slice *args, size_t count,
                               redis_conn_cb cb, void *arg, struct error *err);
/* A command (exactly one) that is made already, with redis/command.h. */
MUST_CHECK int redis_conn_send_made(struct redis_conn *conn, struct slice command, redis_conn_cb cb,
                                    void *arg, struct error *err);
