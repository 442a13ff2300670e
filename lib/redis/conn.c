// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. down → (timer) → resolving → connecting → greeting (AUTH, SELECT, CLIENT SETNAME, PING) →
 * up. A command's bytes are gathered in `out`, which is written once at the end of the turn; its
 * callback waits in a ring. Each answer takes the first out of the ring.
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
#include "redis/address.h"
#include "redis/command.h"

#define READ_SIZE       (64u * 1024)
#define TIMEOUT_MS      10000
#define COMMANDS_MAX    65536
#define BYTES_MAX       (64u << 20)
#define ANSWER_MAX      (64u << 20)
#define BACKOFF_MIN_MS  50
#define BACKOFF_MAX_MS  2000
#define KEEP_OUT_BYTES  (1u << 20) /* a larger send buffer is given back */
#define LOOKS_PER_LIMIT 4          /* how often the oldest command is looked at */

enum state { DOWN, RESOLVING, CONNECTING, GREETING, UP, CLOSING };

struct waiter {
    redis_conn_cb cb;
    void *arg;
    uint64_t sent_ms;
};

struct redis_conn {
    struct loop *loop;
    struct redis_conn_options options;
    struct redis_address address;
    struct tls_context *tls;
    char *client_name;
    enum state state;
    struct stream stream;
    bool stream_open; /* its close callback has not come */
    struct resolve *resolve;
    struct redisReader *reader;
    char *in; /* READ_SIZE; while there is a stream */
    struct strbuf out;
    struct loop_task flush;
    struct waiter *ring;
    size_t ring_size; /* a power of two */
    size_t first;
    size_t count;
    unsigned greetings; /* answers of the greeting that are due */
    struct timer timer; /* down: the next try; else: looks at the oldest */
    uint64_t begun_ms;  /* of connecting */
    struct backoff backoff;
    struct error trouble;
    bool in_answers;
    struct closer closer;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- the ring of those who wait ------------------------------------------------------------ */

static void ring_push(struct redis_conn *c, redis_conn_cb cb, void *arg)
{
    if (c->count == c->ring_size) {
        size_t size = c->ring_size == 0 ? 64 : c->ring_size * 2;
        struct waiter *ring = xcalloc(size, sizeof(*ring));
        for (size_t i = 0; i < c->count; i++) {
            ring[i] = c->ring[(c->first + i) & (c->ring_size - 1)];
        }
        free(c->ring);
        c->ring = ring;
        c->ring_size = size;
        c->first = 0;
    }
    c->ring[(c->first + c->count) & (c->ring_size - 1)] =
        (struct waiter){.cb = cb, .arg = arg, .sent_ms = loop_now_ms(c->loop)};
    c->count++;
}

static struct waiter ring_pop(struct redis_conn *c)
{
    struct waiter w = c->ring[c->first];
    c->first = (c->first + 1) & (c->ring_size - 1);
    c->count--;
    return w;
}

static void fail_waiters(struct redis_conn *c, const struct error *err)
{
    /* Only those that wait now: a callback may not send, the connection is down. */
    for (size_t n = c->count; n > 0; n--) {
        struct waiter w = ring_pop(c);
        if (w.cb != NULL) {
            w.cb(w.arg, NULL, err);
        }
    }
}

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
    fail_waiters(c, &err);
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

static void on_flush(struct loop_task *task)
{
    struct redis_conn *c = task->data;
    if ((c->state != UP && c->state != GREETING) || c->out.len == 0) {
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
    ring_push(c, cb, arg);
    loop_task_post_last(c->loop, &c->flush);
}

static int may_send(const struct redis_conn *c, size_t bytes, struct error *err)
{
    if (c->state != UP) {
        return error_set(err, ERR_UNAVAILABLE, "redis is not reachable: %s", c->trouble.msg);
    }
    size_t queued = c->out.len + stream_queued_bytes(&c->stream);
    if (c->count >= c->options.max_commands || queued + bytes > c->options.max_bytes) {
        return error_set(err, ERR_OVERLOAD, "%zu commands and %zu bytes wait for redis", c->count,
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

static void take_answer(struct redis_conn *c, const redisReply *reply)
{
    struct error err = {0};
    if (c->count == 0) {
        error_set(&err, ERR_PROTOCOL, "redis answered what nobody asked");
        conn_fail(c, &err);
        return;
    }
    struct waiter w = ring_pop(c);
    bool failed = reply->type == REDIS_REPLY_ERROR;
    if (failed) {
        redis_error_of(slice_of(reply->str, reply->len), &err);
    }
    if (w.cb != NULL) {
        w.cb(w.arg, failed ? NULL : reply, failed ? &err : NULL);
    }
    if (failed && says_go_away(slice_of(reply->str, reply->len))) {
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
        freeReplyObject(reply);
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

static void on_greeting(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_conn *c = arg;
    if (err != NULL) {
        conn_fail(c, err);
        return;
    }
    if (--c->greetings == 0 && c->state == GREETING) {
        c->state = UP;
        c->trouble = (struct error){0};
        backoff_reset(&c->backoff);
        if (c->options.on_up != NULL) {
            c->options.on_up(c->options.arg);
        }
    }
}

static void greet(struct redis_conn *c, const struct slice *args, size_t count)
{
    redis_command_begin(&c->out, count);
    for (size_t i = 0; i < count; i++) {
        redis_command_arg(&c->out, args[i]);
    }
    c->greetings++;
    put(c, on_greeting, c);
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
    c->greetings = 0;
    const struct redis_address *a = &c->address;
    if (a->password != NULL) {
        struct slice args[3] = {SLICE_LIT("AUTH")};
        size_t n = 1;
        if (a->user != NULL) {
            args[n++] = slice_str(a->user);
        }
        args[n++] = slice_str(a->password);
        greet(c, args, n);
    }
    if (a->db > 0) {
        char db[16];
        snprintf(db, sizeof(db), "%u", a->db);
        greet(c, (struct slice[]){SLICE_LIT("SELECT"), slice_str(db)}, 2);
    }
    if (c->client_name != NULL) {
        greet(
            c,
            (struct slice[]){SLICE_LIT("CLIENT"), SLICE_LIT("SETNAME"), slice_str(c->client_name)},
            3);
    }
    greet(c, (struct slice[]){SLICE_LIT("PING")}, 1); /* answers LOADING while it reads its disk */
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
        rc = tls_secure_client(c->tls, &c->stream, c->address.host, &err);
    }
    if (rc < 0) {
        conn_fail(c, &err);
    }
}

static void on_resolved(void *arg, const struct addr *addr, const struct error *err)
{
    struct redis_conn *c = arg;
    c->resolve = NULL;
    if (addr == NULL) {
        conn_fail(c, err);
        return;
    }
    connect_to(c, addr);
}

static void begin(struct redis_conn *c)
{
    struct error err = {0};
    struct addr addr;
    int rc;
    c->begun_ms = loop_now_ms(c->loop);
    c->state = RESOLVING;
    timer_start_every(&c->timer, c->options.timeout_ms / LOOKS_PER_LIMIT + 1);
    if (c->address.unix_path != NULL) {
        CLEANUP(cleanup_free) char *text = xasprintf("unix:%s", c->address.unix_path);
        rc = addr_parse(slice_str(text), &addr, &err);
        if (rc == 0) {
            connect_to(c, &addr);
        }
    } else {
        rc = resolve_start(c->loop, slice_str(c->address.host), c->address.port, on_resolved, c,
                           &c->resolve, &err);
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
    bool slow = c->state != UP && now_ms - c->begun_ms > c->options.timeout_ms;
    bool lost =
        is_alive(c) && c->count > 0 && now_ms - c->ring[c->first].sent_ms > c->options.timeout_ms;
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
    struct redis_address address;
    struct tls_context *tls = NULL;
    int rc = redis_address_parse(slice_str(options->address), &address, err);
    if (rc < 0) {
        return rc;
    }
    if (address.tls) {
        rc = tls_client_new(&(struct tls_options){.ca_file = options->ca_file}, &tls, err);
        if (rc < 0) {
            redis_address_fini(&address);
            return rc;
        }
    }
    struct redis_conn *c = NEW(struct redis_conn);
    c->loop = loop;
    c->options = *options;
    c->options.timeout_ms = or_else(options->timeout_ms, TIMEOUT_MS);
    c->options.max_commands = or_else(options->max_commands, COMMANDS_MAX);
    c->options.max_bytes = or_else(options->max_bytes, BYTES_MAX);
    c->options.max_answer = or_else(options->max_answer, ANSWER_MAX);
    c->address = address;
    c->tls = tls;
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
    tls_context_free(c->tls);
    strbuf_fini(&c->out);
    free(c->client_name);
    free(c->ring);
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
    return c->count;
}
