// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. down → (timer) → asking Sentinel → resolving → connecting → greeting (redis/greeting.h) →
 * up. A command's bytes are gathered in `out`, which is written once at the end of the turn; its
 * callback waits in a ring (redis/waiters.h). Each answer takes the first out of the ring.
 *
 * WAIT goes behind the commands of a turn when none is under way; what it stands for is all that
 * was answered before it. Commands of later turns stand behind it in Redis, and have the next one.
 *
 * Failure: one way down (conn_fail), which closes the stream, completes what is in the ring from
 * the close callback, and sets the timer. The oldest command's age is looked at by a coarse timer.
 */
#include "redis/conn.h"

#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/backoff.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "loop/resolve.h"
#include "loop/stream.h"
#include "loop/timer.h"
#include "loop/tls.h"
#include "redis/access.h"
#include "redis/command.h"
#include "redis/greeting.h"
#include "redis/sentinel.h"
#include "redis/waiters.h"

#define READ_SIZE       (64u * 1024)
#define TIMEOUT_MS      10000
#define COMMANDS_MAX    65536
#define BYTES_MAX       (64u << 20)
#define ANSWER_MAX      (64u << 20)
#define BACKOFF_MIN_MS  50
#define BACKOFF_MAX_MS  2000
#define SENTINEL_MS     2000       /* for one of them to answer */
#define KEEP_OUT_BYTES  (1u << 20) /* a larger send buffer is given back */
#define LOOKS_PER_LIMIT 4          /* how often the oldest command is looked at */

enum state { DOWN, ASKING, RESOLVING, CONNECTING, GREETING, UP, CLOSING };

struct redis_conn {
    struct loop *loop;
    struct redis_conn_options options;
    struct redis_access access;
    struct redis_address address; /* of this try */
    struct tls_context *tls;      /* likewise */
    char *client_name;
    enum state state;
    struct stream stream;
    bool stream_open; /* its close callback has not come */
    struct redis_master *finding;
    size_t sentinel;   /* which to ask first */
    char *server_name; /* to be found in its certificate */
    struct resolve *resolve;
    struct redisReader *reader;
    char *in; /* READ_SIZE; while there is a stream */
    struct strbuf out;
    struct loop_task flush;
    struct waiters waiters;
    struct redis_greeting greeting;
    bool unwaited;      /* commands were sent that no WAIT stands behind */
    bool waiting;       /* a WAIT is under way */
    struct timer timer; /* down: the next try; else: looks at the oldest */
    uint64_t begun_ms;  /* of connecting */
    struct backoff backoff;
    struct error trouble;
    struct closer closer;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- going down ---------------------------------------------------------------------------- */

static void begin(struct redis_conn *c);

static void on_stream_closed(struct stream *s)
{
    struct redis_conn *c = s->data;
    c->stream_open = false;
    redis_reader_free(c->reader);
    c->reader = NULL;
    free(c->in);
    c->in = NULL;
    strbuf_fini(&c->out);
    struct error err = c->trouble;
    if (c->state == CLOSING) {
        error_set(&err, ERR_CANCELED, "the connection to redis is being closed");
    }
    waiters_fail(&c->waiters, &err);
    if (c->state != CLOSING && c->options.on_down != NULL) {
        c->options.on_down(c->options.arg, &err);
    }
    if (c->state != CLOSING) {
        timer_start(&c->timer, backoff_next_ms(&c->backoff));
    }
    closer_drop(&c->closer);
}

static void conn_fail(struct redis_conn *c, const struct error *err)
{
    if (c->state == DOWN || c->state == CLOSING) {
        return;
    }
    c->trouble = *err;
    c->state = DOWN;
    timer_stop(&c->timer);
    if (c->stream_open) {
        stream_close(&c->stream, on_stream_closed);
        return;
    }
    if (c->options.on_down != NULL) {
        c->options.on_down(c->options.arg, err);
    }
    if (c->state == DOWN) {
        timer_start(&c->timer, backoff_next_ms(&c->backoff));
    }
}

/* --- bytes out ----------------------------------------------------------------------------- */

static void on_waited(void *arg, const struct redisReply *reply, const struct error *err);

static void add_wait(struct redis_conn *c)
{
    if (c->options.wait_replicas == 0 || !c->unwaited || c->waiting || c->state != UP) {
        return;
    }
    c->unwaited = false;
    c->waiting = true;
    redis_command_begin(&c->out, 3);
    redis_command_arg(&c->out, SLICE_LIT("WAIT"));
    redis_command_u64(&c->out, c->options.wait_replicas);
    redis_command_u64(&c->out, c->options.wait_ms);
    waiters_push(&c->waiters, on_waited, c, loop_now_ms(c->loop));
}

static void on_flush(struct loop_task *task)
{
    struct redis_conn *c = task->data;
    if (c->state != UP && c->state != GREETING) {
        return;
    }
    add_wait(c);
    if (c->out.len == 0) {
        return;
    }
    struct error err = {0};
    int rc = stream_write_bytes(&c->stream, c->out.ptr, c->out.len, &err);
    if (c->out.cap > KEEP_OUT_BYTES) {
        strbuf_fini(&c->out);
    } else {
        strbuf_clear(&c->out);
    }
    if (rc < 0) {
        conn_fail(c, &err);
    }
}

static void put(struct redis_conn *c, redis_conn_cb cb, void *arg)
{
    waiters_push(&c->waiters, cb, arg, loop_now_ms(c->loop));
    c->unwaited = c->state == UP;
    loop_task_post_last(c->loop, &c->flush);
}

static void on_waited(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_conn *c = arg;
    struct error failure = {0};
    int64_t n = redis_reply_int(reply, 0);
    c->waiting = false;
    if (err != NULL) {
        error_set(&failure, ERR_UNAVAILABLE, "replicas cannot be waited for: %s", err->msg);
    } else if (n < (int64_t)c->options.wait_replicas) {
        error_set(&failure, ERR_UNAVAILABLE,
                  "only %lld of %u replicas of redis have it; it may come all the same",
                  (long long)n, c->options.wait_replicas);
    }
    waiters_release(&c->waiters, failure.code == ERR_OK ? NULL : &failure);
    if (c->unwaited && c->state == UP) {
        loop_task_post_last(c->loop, &c->flush);
    }
}

static int may_send(const struct redis_conn *c, size_t bytes, struct error *err)
{
    if (c->state != UP) {
        return error_set(err, ERR_UNAVAILABLE, "redis is not reachable: %s", c->trouble.msg);
    }
    size_t queued = c->out.len + stream_queued_bytes(&c->stream);
    size_t waiting = redis_conn_pending(c);
    if (waiting >= c->options.max_commands || queued + bytes > c->options.max_bytes) {
        return error_set(err, ERR_OVERLOAD, "%zu commands and %zu bytes wait for redis", waiting,
                         queued);
    }
    return 0;
}

int redis_conn_send(struct redis_conn *c, const struct slice *args, size_t count, redis_conn_cb cb,
                    void *arg, struct error *err)
{
    size_t bytes = 32;
    for (size_t i = 0; i < count; i++) {
        bytes += args[i].len + 32;
    }
    int rc = may_send(c, bytes, err);
    if (rc < 0) {
        return rc;
    }
    redis_command_begin(&c->out, count);
    for (size_t i = 0; i < count; i++) {
        redis_command_arg(&c->out, args[i]);
    }
    put(c, cb, arg);
    return 0;
}

int redis_conn_send_made(struct redis_conn *c, struct slice command, redis_conn_cb cb, void *arg,
                         struct error *err)
{
    int rc = may_send(c, command.len, err);
    if (rc < 0) {
        return rc;
    }
    strbuf_append_slice(&c->out, command);
    put(c, cb, arg);
    return 0;
}

/* --- bytes in ------------------------------------------------------------------------------ */

/* What makes a connection useless, whoever hears it. */
static bool says_go_away(struct slice text)
{
    return slice_starts_with(text, SLICE_LIT("READONLY")) ||
           slice_starts_with(text, SLICE_LIT("LOADING")) ||
           slice_starts_with(text, SLICE_LIT("MASTERDOWN")) ||
           slice_starts_with(text, SLICE_LIT("NOAUTH"));
}

/* Takes the reply over. */
static void take_answer(struct redis_conn *c, redisReply *reply)
{
    struct error err = {0};
    if (c->waiters.count == 0) {
        redis_reply_free(reply);
        error_set(&err, ERR_PROTOCOL, "redis answered what nobody asked");
        conn_fail(c, &err);
        return;
    }
    struct waiter w = waiters_pop(&c->waiters);
    bool failed = reply->type == REDIS_REPLY_ERROR;
    bool useless = failed && says_go_away(slice_of(reply->str, reply->len));
    if (failed) {
        redis_error_of(slice_of(reply->str, reply->len), &err);
    }
    if (c->options.wait_replicas > 0 && c->state == UP && w.cb != on_waited) {
        waiters_hold(&c->waiters, w, failed ? NULL : reply, failed ? &err : NULL);
        reply = failed ? reply : NULL; /* taken over */
    } else if (w.cb != NULL) {
        w.cb(w.arg, failed ? NULL : reply, failed ? &err : NULL);
    }
    redis_reply_free(reply);
    if (useless) {
        conn_fail(c, &err);
    }
}

static bool is_alive(const struct redis_conn *c)
{
    return c->state == GREETING || c->state == UP;
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct redis_conn *c = s->data;
    struct error err = {0};
    if (redisReaderFeed(c->reader, bytes, n) != REDIS_OK ||
        c->reader->len - c->reader->pos > c->options.max_answer) {
        error_set(&err, ERR_PROTOCOL, "an answer of redis has more than %zu bytes",
                  c->options.max_answer);
        conn_fail(c, &err);
        return;
    }
    while (is_alive(c)) {
        void *reply = NULL;
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
            error_set(&err, ERR_PROTOCOL, "redis: %.100s", c->reader->errstr);
            conn_fail(c, &err);
            return;
        }
        if (reply == NULL) {
            return;
        }
        take_answer(c, reply);
    }
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct redis_conn *c = s->data;
    return (struct stream_buffer){c->in, READ_SIZE};
}

static void on_end(struct stream *s)
{
    struct error err;
    error_set(&err, ERR_CLOSED, "redis closed the connection");
    conn_fail(s->data, &err);
}

static void on_error(struct stream *s, const struct error *err)
{
    conn_fail(s->data, err);
}

static const struct stream_events stream_events = {
    .on_buffer = on_buffer, .on_read = on_read, .on_end = on_end, .on_error = on_error};

/* --- coming up ----------------------------------------------------------------------------- */

static void on_greeting(void *arg, const struct redisReply *reply, const struct error *err);

static void greet(struct redis_conn *c)
{
    if (redis_greeting_next(&c->greeting, &c->out)) {
        put(c, on_greeting, c);
        return;
    }
    c->state = UP;
    c->trouble = (struct error){0};
    backoff_reset(&c->backoff);
    if (c->options.on_up != NULL) {
        c->options.on_up(c->options.arg);
    }
}

static void on_greeting(void *arg, const struct redisReply *reply, const struct error *failure)
{
    struct redis_conn *c = arg;
    struct error err = {0};
    if (c->state != GREETING) {
        return; /* it is going down */
    }
    if (redis_greeting_take(&c->greeting, reply, failure, &err) < 0) {
        conn_fail(c, &err);
    } else {
        greet(c);
    }
}

static void on_connected(struct stream *s, const struct error *failure)
{
    struct redis_conn *c = s->data;
    if (failure != NULL) {
        conn_fail(c, failure);
        return;
    }
    if (c->state != CONNECTING) {
        return;
    }
    c->state = GREETING;
    c->unwaited = c->waiting = false;
    c->greeting = (struct redis_greeting){.address = &c->address,
                                          .client_name = c->client_name,
                                          .store = c->options.store,
                                          .needs = c->options.needs,
                                          .n_needs = c->options.n_needs,
                                          .warn = c->options.on_warning,
                                          .arg = c->options.arg};
    greet(c);
    stream_read_start(&c->stream);
}

static void connect_to(struct redis_conn *c, const struct addr *addr)
{
    struct error err = {0};
    c->state = CONNECTING;
    stream_init(&c->stream, c->loop, &stream_events, c);
    stream_set_queue_max(&c->stream, c->options.max_bytes + (1u << 20));
    c->stream_open = true;
    closer_hold(&c->closer);
    c->reader = redis_reader_new();
    c->in = xmalloc(READ_SIZE);
    strbuf_init(&c->out, 2 * c->options.max_bytes);
    int rc = stream_connect(&c->stream, addr, on_connected, &err);
    if (rc == 0 && c->tls != NULL) {
        rc = tls_secure_client(c->tls, &c->stream, c->server_name, &err);
    }
    if (rc < 0) {
        conn_fail(c, &err);
    }
}

static void on_resolved(void *arg, const struct addr *addr, const struct error *err)
{
    struct redis_conn *c = arg;
    struct error why = {0};
    c->resolve = NULL;
    if (addr == NULL) {
        conn_fail(c, err);
    } else if (c->options.may_call != NULL && c->options.may_call(c->options.arg, addr, &why) < 0) {
        conn_fail(c, &why);
    } else {
        connect_to(c, addr);
    }
}

static int resolve(struct redis_conn *c, const char *host, uint16_t port, struct error *err)
{
    const char *name = c->access.files.server_name;
    c->state = RESOLVING;
    free(c->server_name);
    c->server_name = xstrdup(name == NULL ? host : name);
    return resolve_start(c->loop, slice_str(host), port, on_resolved, c, &c->resolve, err);
}

static void on_master(void *arg, const char *host, uint16_t port, const struct error *failure)
{
    struct redis_conn *c = arg;
    struct error err = {0};
    c->finding = NULL;
    c->begun_ms = loop_now_ms(c->loop);
    if (host == NULL) {
        c->sentinel++;
        conn_fail(c, failure);
    } else if (resolve(c, host, port, &err) < 0) {
        conn_fail(c, &err);
    }
}

/* What is in the files now. */
static int load(struct redis_conn *c, struct error *err)
{
    struct redis_address address;
    struct tls_context *tls;
    int rc = redis_access_load(&c->access, &address, &tls, err);
    if (rc == 0) {
        redis_address_fini(&c->address);
        tls_context_free(c->tls);
        c->address = address;
        c->tls = tls;
    }
    return rc;
}

static void begin(struct redis_conn *c)
{
    struct error err = {0};
    struct addr addr;
    c->begun_ms = loop_now_ms(c->loop);
    c->state = RESOLVING;
    timer_start_every(&c->timer, c->options.timeout_ms / LOOKS_PER_LIMIT + 1);
    int rc = load(c, &err);
    if (rc < 0) {
        conn_fail(c, &err);
    } else if (c->address.n_sentinels > 0) {
        uint64_t each = c->options.timeout_ms < SENTINEL_MS ? c->options.timeout_ms : SENTINEL_MS;
        c->state = ASKING;
        c->finding =
            redis_master_find(c->loop, &c->address, &c->access, c->sentinel, each, on_master, c);
    } else if (c->address.unix_path != NULL) {
        CLEANUP(cleanup_free) char *text = xasprintf("unix:%s", c->address.unix_path);
        rc = addr_parse(slice_str(text), &addr, &err);
        if (rc == 0) {
            connect_to(c, &addr);
        }
    } else {
        rc = resolve(c, c->address.host, c->address.port, &err);
    }
    if (rc < 0) {
        conn_fail(c, &err);
    }
}

static void on_timer(struct timer *timer)
{
    struct redis_conn *c = timer->data;
    struct error err;
    uint64_t now_ms = loop_now_ms(c->loop);
    if (c->state == DOWN) {
        begin(c);
        return;
    }
    /* Each Sentinel has a time of its own. */
    bool slow =
        c->state != UP && c->state != ASKING && now_ms - c->begun_ms > c->options.timeout_ms;
    bool lost = is_alive(c) && c->waiters.count > 0 &&
                now_ms - waiters_oldest_ms(&c->waiters) > c->options.timeout_ms;
    if (slow && c->resolve != NULL) {
        resolve_cancel(c->resolve);
        c->resolve = NULL;
    }
    if (slow || lost) {
        error_set(&err, ERR_TIMEOUT, "redis did not answer within %llu ms",
                  (unsigned long long)c->options.timeout_ms);
        conn_fail(c, &err);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

static size_t or_else(size_t n, size_t otherwise)
{
    return n == 0 ? otherwise : n;
}

int redis_conn_new(struct loop *loop, const struct redis_conn_options *options,
                   struct redis_conn **out, struct error *err)
{
    struct redis_conn *c = NEW(struct redis_conn);
    redis_access_init(&c->access, options);
    int rc = load(c, err);
    if (rc < 0) {
        redis_access_fini(&c->access);
        free(c);
        return rc;
    }
    c->loop = loop;
    c->options = *options;
    c->options.timeout_ms = or_else(options->timeout_ms, TIMEOUT_MS);
    c->options.max_commands = or_else(options->max_commands, COMMANDS_MAX);
    c->options.max_bytes = or_else(options->max_bytes, BYTES_MAX);
    c->options.max_answer = or_else(options->max_answer, ANSWER_MAX);
    c->client_name = options->client_name == NULL ? NULL : xstrdup(options->client_name);
    c->state = DOWN;
    error_set(&c->trouble, ERR_UNAVAILABLE, "not connected yet");
    loop_task_init(&c->flush, on_flush, c);
    timer_init(&c->timer, loop, on_timer, c);
    backoff_init(&c->backoff, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    closer_init(&c->closer);
    closer_hold(&c->closer); /* the timer */
    timer_start(&c->timer, 0);
    *out = c;
    return 0;
}

static void on_timer_closed(struct timer *timer)
{
    closer_drop(&((struct redis_conn *)timer->data)->closer);
}

static void on_closed(void *data)
{
    struct redis_conn *c = data;
    void (*cb)(void *) = c->close_cb;
    void *arg = c->close_arg;
    redis_address_fini(&c->address);
    redis_access_fini(&c->access);
    tls_context_free(c->tls);
    strbuf_fini(&c->out);
    waiters_fini(&c->waiters);
    free(c->server_name);
    free(c->client_name);
    free(c);
    if (cb != NULL) {
        cb(arg);
    }
}

void redis_conn_close(struct redis_conn *c, void (*cb)(void *arg), void *arg)
{
    if (c->state == CLOSING) {
        return;
    }
    c->state = CLOSING;
    c->close_cb = cb;
    c->close_arg = arg;
    loop_task_cancel(&c->flush);
    redis_master_cancel(c->finding);
    c->finding = NULL;
    if (c->resolve != NULL) {
        resolve_cancel(c->resolve);
        c->resolve = NULL;
    }
    if (c->stream_open) {
        stream_close(&c->stream, on_stream_closed);
    }
    timer_close(&c->timer, on_timer_closed);
    closer_close(&c->closer, c->loop, on_closed, c);
}

bool redis_conn_is_up(const struct redis_conn *c)
{
    return c->state == UP;
}

const char *redis_conn_trouble(const struct redis_conn *c)
{
    return c->state == UP ? "" : c->trouble.msg;
}

size_t redis_conn_pending(const struct redis_conn *c)
{
    return c->waiters.count + c->waiters.n_held;
}
