// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: connect on loopback answers at once, so an attempt is three system calls without a
 * wait. What does not answer at once (another host) is taken by its timeout of one attempt.
 * The connection is closed again with an ordinary end, which servers take as a client that left.
 */

#include "queue-proxy/prober.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "queue-proxy/grpc_health.h"

#define DEFAULT_PERIOD_MS 10000
#define HTTP_RETRY_MS     10
#define EAGER_MS          10  /* so long after its start a function is looked for eagerly: */
#define EAGER_TRIES       5   /* several attempts a turn of the loop, */
#define EAGER_PAUSE_US    200 /* with so much in between */

static void arm(struct prober *p);

/* True when the function's port takes a connection. Waits at most 2 ms, for addresses that are not
 * loopback. */
static bool connects(const struct addr *addr)
{
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool ok = connect(fd, &addr->u.any, addr->len) == 0;
    if (!ok && errno == EINPROGRESS) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        int error = 1;
        socklen_t len = sizeof(error);
        ok = poll(&poll_fd, 1, 2) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
             error == 0;
    }
    close(fd);
    return ok;
}

static bool eager(const struct prober *p)
{
    return !p->ready && loop_now_ms(p->loop) - p->since_ms < EAGER_MS;
}

/*
 * A small function listens within a millisecond, which is as fine as the loop's timers are. In its
 * first moments the loop waits here instead, less than a millisecond at a time: nothing else can be
 * done for anybody yet.
 */
static bool connects_soon(const struct prober *p)
{
    const struct timespec pause = {.tv_nsec = EAGER_PAUSE_US * 1000};
    bool ok = connects(&p->addr);
    for (int i = 1; !ok && i < EAGER_TRIES && eager(p); i++) {
        nanosleep(&pause, NULL);
        ok = connects(&p->addr);
    }
    return ok;
}

/* How long until the next attempt while not ready. */
static uint64_t retry_ms(const struct prober *p)
{
    uint64_t waited = loop_now_ms(p->loop) - p->since_ms;
    if ((p->spec->http || p->spec->grpc) && p->failures > 0 && p->successes < 0) {
        return HTTP_RETRY_MS;
    }
    return waited < 2000 ? 1 : waited < 10000 ? 2 : waited < 30000 ? 5 : 20;
}

static void set_ready(struct prober *p, bool ready)
{
    if (p->ready == ready) {
        return;
    }
    p->ready = ready;
    p->since_ms = loop_now_ms(p->loop);
    p->on_change(p);
}

static void result(struct prober *p, bool ok)
{
    if (ok) {
        p->failures = 0;
        p->successes = p->successes < 0 ? 1 : p->successes + 1;
    } else {
        p->successes = 0;
        p->failures++;
    }
    if (ok && !p->ready && p->successes >= p->spec->success_threshold) {
        set_ready(p, true);
    } else if (!ok && p->ready && p->failures >= p->spec->failure_threshold) {
        set_ready(p, false);
    }
    if (!p->closing) {
        arm(p);
    }
}

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct prober *p = arg;
    p->request = NULL;
    bool ok = rc == 0 && answer->head->status >= 200 && answer->head->status < 400 &&
              (!p->spec->grpc || grpc_health_serving(answer->body));
    if (!ok && !p->ready) {
        p->failures++;
        p->successes = -1; /* it listens, but says no: ask less often */
        arm(p);
        return;
    }
    result(p, ok);
}

static bool ask_grpc(struct prober *p)
{
    static const struct http_header headers[] = {
        {.name = SLICE_LIT("User-Agent"), .value = SLICE_LIT("kube-probe/lull")},
        {.name = SLICE_LIT("Content-Type"), .value = SLICE_LIT("application/grpc")},
    };
    CLEANUP(strbuf_fini) struct strbuf body;
    strbuf_init(&body, PROBE_TEXT_MAX + 64);
    return grpc_health_request(p->spec->service, &body) &&
           http_client_start(p->loop,
                             &(struct http_client_request){
                                 .addr = p->addr_text,
                                 .h2c = true,
                                 .method = "POST",
                                 .target = GRPC_HEALTH_TARGET,
                                 .host = p->host,
                                 .headers = headers,
                                 .n_headers = ARRAY_LEN(headers),
                                 .body = strbuf_slice(&body),
                                 .timeout_ms = (uint32_t)p->spec->timeout_s * 1000,
                                 .max_body = 4096,
                             },
                             on_answer, p, &p->request, NULL) == 0;
}

static bool ask_http(struct prober *p)
{
    struct http_header headers[PROBE_HEADERS_MAX + 1];
    size_t n = 0;
    headers[n++] = (struct http_header){.name = SLICE_LIT("User-Agent"),
                                        .value = SLICE_LIT("kube-probe/lull")};
    for (size_t i = 0; i < p->spec->n_headers; i++) {
        headers[n].name = p->spec->headers[i].name;
        headers[n++].value = p->spec->headers[i].value;
    }
    char path[PROBE_TEXT_MAX];
    if (!slice_copy(p->spec->path, path, sizeof(path))) {
        return false;
    }
    return http_client_start(p->loop,
                             &(struct http_client_request){
                                 .addr = p->addr_text,
                                 .target = path,
                                 .host = p->host,
                                 .headers = headers,
                                 .n_headers = n,
                                 .timeout_ms = (uint32_t)p->spec->timeout_s * 1000,
                                 .max_body = 1024 * 1024,
                             },
                             on_answer, p, &p->request, NULL) == 0;
}

static void attempt(struct prober *p)
{
    if (p->request != NULL) {
        return;
    }
    bool ok = connects_soon(p);
    if (ok && (p->spec->http || p->spec->grpc)) {
        if (p->spec->grpc ? ask_grpc(p) : ask_http(p)) {
            return;
        }
        ok = false;
    }
    result(p, ok);
}

static void on_timer(struct timer *timer)
{
    attempt(timer->data);
}

static void arm(struct prober *p)
{
    uint64_t period =
        p->spec->period_s > 0 ? (uint64_t)p->spec->period_s * 1000 : DEFAULT_PERIOD_MS;
    timer_start(&p->timer, p->ready ? period : retry_ms(p));
}

void prober_start(struct prober *p, struct loop *loop, const struct addr *probed,
                  const struct probe_spec *spec, void (*on_change)(struct prober *p), void *data)
{
    *p = (struct prober){
        .loop = loop, .spec = spec, .addr = *probed, .on_change = on_change, .data = data};
    addr_format(probed, p->addr_text, sizeof(p->addr_text));
    if (spec->host.len == 0 || !slice_copy(spec->host, p->host, sizeof(p->host))) {
        snprintf(p->host, sizeof(p->host), "%s", p->addr_text);
    }
    p->since_ms = loop_now_ms(loop);
    timer_init(&p->timer, loop, on_timer, p);
    timer_start(&p->timer, 0);
}

void prober_suspect(struct prober *p)
{
    if (p->ready && !p->closing) {
        p->failures = p->spec->failure_threshold;
        set_ready(p, false);
        timer_start(&p->timer, 0);
    }
}

static void on_timer_closed(struct timer *timer)
{
    struct prober *p = timer->data;
    if (p->close_cb != NULL) {
        p->close_cb(p);
    }
}

void prober_close(struct prober *p, void (*cb)(struct prober *p))
{
    if (p->closing) {
        return;
    }
    p->closing = true;
    p->close_cb = cb;
    http_client_cancel(p->request);
    p->request = NULL;
    timer_close(&p->timer, on_timer_closed);
}
