// SPDX-License-Identifier: Apache-2.0
/*
 * A whole HTTP/2 connection, over a socket, in both directions. The first byte of the input says
 * which: 's' and the rest is what a client sends to our server behind its preface, 'c' and it is
 * what a server answers to our pool, which makes a few calls. Whatever comes: everything that was
 * begun ends once, nothing is left, and what we sent is a row of whole frames.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/server.h"
#include "http/upstream.h"
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define CALLS   4
#define TURNS   120

struct state {
    struct loop loop;
    struct http_server *server;
    struct http_pool *pool;
    struct http_exchange *held;
    struct http_call calls[CALLS];
    unsigned started;
    unsigned over;
    unsigned listened;
    unsigned closed;
    bool all_closed;
    char got[1 << 17];
    size_t n;
};

/* ---- our server ---- */

static void on_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    switch (http_exchange_request(ex)->target.ptr[1]) {
    case 'e': /* echo */
        http_exchange_write(ex, chunk);
        break;
    case 'p': /* stop and go */
        http_exchange_pause(ex);
        http_exchange_resume(ex);
        break;
    case 'x': /* break off in the middle */
        http_exchange_abort(ex);
        break;
    default:
        break;
    }
}

static void on_end(struct http_exchange *ex, void *arg)
{
    const struct http_head *trailers = http_exchange_request_trailers(ex);
    if (!http_exchange_started(ex)) {
        http_exchange_respond(ex, 200, "text/plain", SLICE_LIT("done"));
        return;
    }
    if (trailers != NULL) {
        http_exchange_trailers(ex, trailers);
    }
    http_exchange_end(ex);
}

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct state *st = arg;
    st->closed++;
    if (st->held == ex) {
        st->held = NULL;
    }
}

static const struct http_exchange_events events = {
    .on_body = on_body, .on_end = on_end, .on_close = on_close};

static void on_request(struct http_exchange *ex, void *arg)
{
    struct state *st = arg;
    const struct http_head *rq = http_exchange_request(ex);
    char what = rq->target.len > 1 ? rq->target.ptr[1] : ' ';
    fuzz_check_head(rq);
    FUZZ_CHECK(rq->target.len > 0 && rq->authority.len > 0 && h1_host_valid(rq->authority));
    if (what == 'i') { /* at once, without listening */
        http_exchange_respond(ex, 404, NULL, SLICE_LIT("no"));
        return;
    }
    st->listened++;
    http_exchange_listen(ex, &events, st);
    if (what == 'h' && st->held == NULL) { /* later */
        st->held = ex;
    } else if (what == 'e' || what == 'p' || what == 'x') {
        struct http_head head;
        http_head_init(&head, NULL, 0);
        head.status = 200;
        head.body = HTTP_BODY_STREAM;
        if (what == 'e') {
            http_exchange_start(ex, &head);
        }
        http_exchange_resume(ex);
    } else {
        http_exchange_keep(ex, true);
        http_exchange_resume(ex);
        if (http_exchange_rewind(ex) == 0) {
            http_exchange_resume(ex);
        }
    }
}

/* ---- our pool ---- */

static void on_answer_head(struct http_call *call, const struct http_head *head, void *arg)
{
    fuzz_check_head(head);
    FUZZ_CHECK(head->status >= 100 && head->status <= 999);
}

static void on_answer_trailers(struct http_call *call, const struct http_head *trailers, void *arg)
{
    fuzz_check_head(trailers);
}

static void on_answer_body(struct http_call *call, struct slice chunk, void *arg)
{
    struct state *st = arg;
    if (call == &st->calls[1]) {
        http_call_pause(call);
        http_call_resume(call);
    } else if (call == &st->calls[2]) {
        st->over++;
        http_call_cancel(call);
    }
}

static void on_answer_end(struct http_call *call, void *arg)
{
    struct state *st = arg;
    st->over++;
}

static void on_fail(struct http_call *call, enum http_stage stage, const struct error *err,
                    void *arg)
{
    struct state *st = arg;
    FUZZ_CHECK(err->code != ERR_OK && err->msg[0] != '\0');
    st->over++;
}

static const struct http_call_events call_events = {
    .on_inform = on_answer_head,
    .on_head = on_answer_head,
    .on_body = on_answer_body,
    .on_trailers = on_answer_trailers,
    .on_end = on_answer_end,
    .on_fail = on_fail,
};

static const struct http_call_events no_trailers = {
    .on_head = on_answer_head,
    .on_body = on_answer_body,
    .on_end = on_answer_end,
    .on_fail = on_fail,
};

static void ask(struct state *st)
{
    for (unsigned i = 0; i < CALLS; i++) {
        struct http_head head = {.method = i == 3 ? SLICE_LIT("HEAD") : SLICE_LIT("POST"),
                                 .method_id = i == 3 ? HTTP_METHOD_HEAD : HTTP_METHOD_POST,
                                 .target = SLICE_LIT("/a"),
                                 .authority = SLICE_LIT("a"),
                                 .body = i == 0 ? HTTP_BODY_STREAM : HTTP_BODY_NONE};
        if (http_call_start(st->pool, &st->calls[i], &head, i == 0 ? &call_events : &no_trailers,
                            st, NULL) == 0) {
            st->started++;
            http_call_write(&st->calls[i], SLICE_LIT("body"));
            http_call_end(&st->calls[i]);
        }
    }
}

/* ---- both ---- */

static void on_all_closed(void *arg)
{
    struct state *st = arg;
    st->all_closed = true;
}

/* What we sent, from its first frame on. */
static void check_frames(const char *bytes, size_t n, bool cut)
{
    while (n >= 9) {
        const uint8_t *p = (const uint8_t *)bytes;
        size_t len = 9 + ((size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2]);
        FUZZ_CHECK(len <= 9 + 16384 && p[3] <= 9);
        if (len > n) {
            break;
        }
        bytes += len;
        n -= len;
    }
    FUZZ_CHECK(cut || n == 0);
}

static void converse(struct state *st, int fd, const uint8_t *data, size_t size)
{
    size_t sent = 0;
    bool shut = false;
    FUZZ_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    for (int turn = 0; turn < TURNS; turn++) {
        ssize_t k = sent < size ? send(fd, data + sent, size - sent, MSG_NOSIGNAL) : 0;
        sent += k > 0 ? (size_t)k : 0;
        loop_turn(&st->loop, false);
        if (st->held != NULL && turn > 3) {
            http_exchange_respond(st->held, 200, NULL, SLICE_LIT("late"));
            st->held = NULL;
        }
        if (!shut && turn > 8) {
            shut = true;
            shutdown(fd, SHUT_WR);
        }
        k = recv(fd, st->got + st->n, sizeof(st->got) - st->n, 0);
        st->n += k > 0 ? (size_t)k : 0;
        if (turn > 12 && k == 0) {
            break;
        }
    }
}

static void to_server(struct state *st, const char *path, const uint8_t *data, size_t size)
{
    static const char begin[] = PREFACE "\0\0\0\4\0\0\0\0";
    struct addr addr;
    struct http_limits limits = http_limits_default();
    limits.hold_body_bytes = 64;
    limits.max_body_bytes = 4096;
    limits.max_head_bytes = 2000;
    st->server = http_server_new(
        &st->loop, &(struct http_server_options){
                       .limits = limits, .h2c = true, .on_request = on_request, .arg = st});
    FUZZ_CHECK(http_server_listen_text(st->server, path, NULL, NULL) == 0);
    FUZZ_CHECK(addr_parse(slice_str(path), &addr, NULL) == 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, &addr.u.any, addr.len) == 0);
    FUZZ_CHECK(send(fd, begin, sizeof(begin), MSG_NOSIGNAL) == sizeof(begin));
    converse(st, fd, data, size);
    FUZZ_CHECK(http_server_connections(st->server) == 0);
    FUZZ_CHECK(st->listened == st->closed && http_server_active(st->server) == 0);
    close(fd);
    check_frames(st->got, st->n, st->n == sizeof(st->got));
    http_server_close(st->server, on_all_closed, st);
}

static void to_pool(struct state *st, const char *path, const uint8_t *data, size_t size)
{
    struct addr addr;
    struct http_pool_options options = http_pool_options_default();
    options.h2c = true;
    options.limits.hold_body_bytes = 64;
    options.limits.max_head_bytes = 2000;
    FUZZ_CHECK(addr_parse(slice_str(path), &addr, NULL) == 0);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(listener >= 0);
    unlink(path + strlen("unix:"));
    FUZZ_CHECK(bind(listener, &addr.u.any, addr.len) == 0 && listen(listener, 4) == 0);
    FUZZ_CHECK(http_pool_new(&st->loop, path, &options, &st->pool, NULL) == 0);
    ask(st);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    converse(st, fd, data, size);
    FUZZ_CHECK(st->started == CALLS && st->over == CALLS);
    FUZZ_CHECK(http_pool_active(st->pool) == 0);
    close(fd);
    close(listener);
    size_t skip = strlen(PREFACE);
    FUZZ_CHECK(st->n >= skip && memcmp(st->got, PREFACE, skip) == 0);
    check_frames(st->got + skip, st->n - skip, st->n == sizeof(st->got));
    http_pool_close(st->pool, on_all_closed, st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    if (size == 0) {
        return 0;
    }
    struct state *st = calloc(1, sizeof(*st));
    FUZZ_CHECK(st != NULL && loop_init(&st->loop, NULL) == 0);
    snprintf(path, sizeof(path), "unix:/tmp/fuzz-http2-%d", (int)getpid());
    if (data[0] == 'c') {
        to_pool(st, path, data + 1, size - 1);
    } else {
        to_server(st, path, data + 1, size - 1);
    }
    while (loop_turn(&st->loop, false)) {
    }
    FUZZ_CHECK(st->all_closed && loop_fini(&st->loop, NULL) == 0);
    unlink(path + strlen("unix:"));
    free(st);
    return 0;
}
