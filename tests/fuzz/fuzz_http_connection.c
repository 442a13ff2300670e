// SPDX-License-Identifier: Apache-2.0
/*
 * A whole server connection, over a socket: the input is what a client sends before it closes its
 * half. The handler does what the first byte of the path says. Whatever comes: the connection ends,
 * every exchange that was listened to is closed once, and what the server sent is a row of
 * well-formed answers.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/server.h"
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    struct loop loop;
    struct http_server *server;
    struct http_exchange *held;
    unsigned listened;
    unsigned closed;
    bool server_closed;
};

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
    if (http_exchange_started(ex)) {
        http_exchange_end(ex);
    } else {
        http_exchange_respond(ex, 200, "text/plain", SLICE_LIT("done"));
    }
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
    struct slice target = http_exchange_request(ex)->target;
    char what = target.len > 1 ? target.ptr[1] : ' ';
    if (what == 'i') { /* at once, without listening */
        http_exchange_respond(ex, 404, NULL, SLICE_LIT("no"));
        return;
    }
    st->listened++;
    http_exchange_listen(ex, &events, st);
    if (what == 'n') { /* at once, with a listener */
        http_exchange_respond(ex, 200, NULL, SLICE_LIT("now"));
    } else if (what == 'h') { /* later */
        st->held = ex;
    } else if (target.len > 1 && (what == 'e' || what == 'p' || what == 'x')) {
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

static void on_server_closed(void *arg)
{
    struct state *st = arg;
    st->server_closed = true;
}

/* Every answer but the last is whole. */
static void check_answers(const char *bytes, size_t n)
{
    struct fuzz_seen seen;
    while (n > 0) {
        fuzz_feed(&seen, HTTP_RESPONSE, bytes, n, n);
        size_t used = seen.used;
        FUZZ_CHECK(seen.result != H1_BAD || seen.used <= n);
        bool whole = seen.result == H1_DONE;
        fuzz_free(&seen);
        if (!whole || used == 0) {
            break;
        }
        bytes += used;
        n -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    char got[1 << 16];
    size_t n = 0;
    struct state st = {0};
    struct addr addr;
    struct http_limits limits = http_limits_default();
    limits.hold_body_bytes = 64;
    limits.max_body_bytes = 4096;
    limits.max_head_bytes = 2000;
    snprintf(path, sizeof(path), "unix:/tmp/fuzz-http-%d", (int)getpid());
    FUZZ_CHECK(loop_init(&st.loop, NULL) == 0);
    st.server = http_server_new(
        &st.loop,
        &(struct http_server_options){.limits = limits, .on_request = on_request, .arg = &st});
    FUZZ_CHECK(http_server_listen_text(st.server, path, NULL, NULL) == 0);
    FUZZ_CHECK(addr_parse(slice_str(path), &addr, NULL) == 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, &addr.u.any, addr.len) == 0);
    FUZZ_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    size_t sent = 0;
    bool shut = false;
    for (int turn = 0; turn < 200; turn++) {
        ssize_t k = sent < size ? send(fd, data + sent, size - sent, MSG_NOSIGNAL) : 0;
        sent += k > 0 ? (size_t)k : 0;
        loop_turn(&st.loop, false);
        if (st.held != NULL && turn > 3) {
            http_exchange_respond(st.held, 200, NULL, SLICE_LIT("late"));
            st.held = NULL;
        }
        if (!shut && turn > 8) {
            shut = true;
            shutdown(fd, SHUT_WR);
        }
        k = recv(fd, got + n, sizeof(got) - n, 0);
        n += k > 0 ? (size_t)k : 0;
        if (turn > 10 && http_server_connections(st.server) == 0) {
            break;
        }
    }
    FUZZ_CHECK(http_server_connections(st.server) == 0);
    FUZZ_CHECK(st.listened == st.closed && http_server_active(st.server) == 0);
    close(fd);
    check_answers(got, n);
    http_server_close(st.server, on_server_closed, &st);
    while (loop_turn(&st.loop, false)) {
    }
    FUZZ_CHECK(st.server_closed && loop_fini(&st.loop, NULL) == 0);
    return 0;
}
