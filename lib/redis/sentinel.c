// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a connection of the usual kind to one Sentinel; when it is up the question, with the answer
 * the end. Whatever fails, the next one; after the last, what the last one said.
 */
#include "redis/sentinel.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "redis/conn.h"

struct redis_master {
    struct loop *loop;
    const struct redis_address *address;
    const struct redis_access *access;
    size_t at;
    size_t asked;
    uint64_t timeout_ms;
    redis_master_cb cb; /* NULL: canceled, or told */
    void *arg;
    struct redis_conn *conn;
    bool answered; /* of the present one */
    struct loop_task task;
    struct error trouble;
    char *host;
    uint16_t port;
};

static void on_task(struct loop_task *task);

static void on_conn_closed(void *arg)
{
    struct redis_master *m = arg;
    m->conn = NULL;
    if (m->cb == NULL) {
        free(m->host);
        free(m);
    } else {
        loop_task_post(m->loop, &m->task);
    }
}

/* The present Sentinel is done with. */
static void leave(struct redis_master *m)
{
    if (!m->answered) {
        m->answered = true;
        redis_conn_close(m->conn, on_conn_closed, m);
    }
}

static void on_answer(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_master *m = arg;
    struct slice host = redis_reply_text(redis_reply_at(reply, 0));
    uint64_t port = 0;
    if (m->answered) {
        return;
    }
    if (err != NULL) {
        m->trouble = *err;
    } else if (redis_reply_is_nil(reply)) {
        error_set(&m->trouble, ERR_NOT_FOUND, "Sentinel knows no master \"%.100s\"",
                  m->address->master);
    } else if (host.len == 0 || host.len > 253 || memchr(host.ptr, '\0', host.len) != NULL ||
               num_parse_u64(redis_reply_text(redis_reply_at(reply, 1)), 1, 65535, &port, NULL) <
                   0) {
        error_set(&m->trouble, ERR_PROTOCOL, "Sentinel's answer is no address");
    } else {
        m->host = slice_dup(host);
        m->port = (uint16_t)port;
    }
    leave(m);
}

static void on_up(void *arg)
{
    struct redis_master *m = arg;
    const struct slice args[] = {SLICE_LIT("SENTINEL"), SLICE_LIT("get-master-addr-by-name"),
                                 slice_str(m->address->master)};
    struct error err;
    if (!m->answered && redis_conn_send(m->conn, args, ARRAY_LEN(args), on_answer, m, &err) < 0) {
        m->trouble = err;
        leave(m);
    }
}

static void on_down(void *arg, const struct error *err)
{
    struct redis_master *m = arg;
    if (!m->answered) {
        m->trouble = *err;
        leave(m);
    }
}

/* Whoever wrote where Sentinels are may not have written any address. */
static int may_call(void *arg, const struct addr *addr, struct error *err)
{
    const struct redis_master *m = arg;
    if (m->cb == NULL) {
        return error_set(err, ERR_CANCELED, "nobody asks any more");
    }
    const struct redis_conn_options *files = &m->access->files;
    return files->may_call == NULL ? 0 : files->may_call(files->arg, addr, err);
}

static int ask(struct redis_master *m, const struct redis_host *sentinel, struct error *err)
{
    const struct redis_conn_options *files = &m->access->files;
    bool v6 = strchr(sentinel->host, ':') != NULL;
    CLEANUP(cleanup_free)
    char *address = xasprintf("%s://%s%s%s:%u", m->address->tls ? "rediss" : "redis", v6 ? "[" : "",
                              sentinel->host, v6 ? "]" : "", sentinel->port);
    m->answered = false;
    return redis_conn_new(
        m->loop,
        &(struct redis_conn_options){
            .address = address,
            .password_file = redis_access_file(m->access, REDIS_SENTINEL_PASSWORD),
            .ca_file = redis_access_file(m->access, REDIS_CA),
            .cert_file = redis_access_file(m->access, REDIS_CERT),
            .key_file = redis_access_file(m->access, REDIS_KEY),
            .server_name = files->server_name,
            .timeout_ms = m->timeout_ms,
            .max_answer = 64u << 10,
            .may_call = may_call,
            .on_up = on_up,
            .on_down = on_down,
            .arg = m,
        },
        &m->conn, err);
}

static void tell(struct redis_master *m)
{
    redis_master_cb cb = m->cb;
    struct error err = m->trouble;
    m->cb = NULL;
    if (m->host == NULL) {
        error_prefix(&err, (int)err.code,
                     "none of %zu Sentinels says where the master is; the last",
                     m->address->n_sentinels);
    }
    cb(m->arg, m->host, m->port, m->host == NULL ? &err : NULL);
    free(m->host);
    free(m);
}

static void on_task(struct loop_task *task)
{
    struct redis_master *m = task->data;
    while (m->host == NULL && m->asked < m->address->n_sentinels) {
        size_t i = (m->at + m->asked++) % m->address->n_sentinels;
        if (ask(m, &m->address->sentinels[i], &m->trouble) == 0) {
            return;
        }
    }
    tell(m);
}

struct redis_master *redis_master_find(struct loop *loop, const struct redis_address *address,
                                       const struct redis_access *access, size_t first,
                                       uint64_t timeout_ms, redis_master_cb cb, void *arg)
{
    struct redis_master *m = NEW(struct redis_master);
    *m = (struct redis_master){.loop = loop,
                               .address = address,
                               .access = access,
                               .at = first,
                               .timeout_ms = timeout_ms,
                               .cb = cb,
                               .arg = arg};
    loop_task_init(&m->task, on_task, m);
    loop_task_post(loop, &m->task);
    return m;
}

void redis_master_cancel(struct redis_master *m)
{
    if (m == NULL) {
        return;
    }
    m->cb = NULL;
    loop_task_cancel(&m->task);
    if (m->conn != NULL) {
        leave(m);
    } else {
        free(m->host);
        free(m);
    }
}
