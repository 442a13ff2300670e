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
 * Bounds: commands under way (ERR_OVERLOAD), bytes not yet sent (ERR_OVERLOAD), bytes of one answer
 * (the connection is dropped), time of one command (the connection is dropped: answers come in
 * order, so nothing behind a lost one can be told apart).
 */

#include "loop/loop.h"
#include "redis/reply.h"

struct redis_conn;
struct tls_context;

struct redis_conn_options {
    const char *address;     /* redis/address.h; copied */
    const char *client_name; /* CLIENT SETNAME; copied; NULL: none */
    const char *ca_file;     /* rediss: trust only these; NULL: the system's */
    uint64_t timeout_ms;     /* of a command, and of connecting; 0: 10 s */
    size_t max_commands;     /* under way; 0: 65,536 */
    size_t max_bytes;        /* waiting to be sent; 0: 64 MiB */
    size_t max_answer;       /* of one answer; 0: 64 MiB */
    /* All optional; never inside a call of the owner. */
    void (*on_up)(void *arg); /* commands are taken from now on */
    /* Every pending command has completed before. Also after each failed try to connect. */
    void (*on_down)(void *arg, const struct error *err);
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
