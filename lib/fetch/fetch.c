// SPDX-License-Identifier: Apache-2.0
/*
 * libcurl's multi interface driven by the loop.
 *
 * Happy path: fetch_start fills an easy handle (fetch_setup.c) and adds it; curl asks for a timer
 * and for socket events; each event goes to curl_multi_socket_action. Inside curl we only collect:
 * bytes into the request's buffer, the request onto the `ready` list. When curl has returned,
 * fetch_deliver calls the users: so that a callback may start, cancel or close anything.
 *
 * Failure modes: curl's result becomes an error (error_from_curl) in on_done; a body that grows
 * over its maximum ends its request with ERR_TOO_BIG; a cancelled request leaves curl at once and
 * completes from the loop; close cancels all, and tears curl down when the last has completed.
 */
#include "fetch/fetch.h"

#include <strings.h>

#include <curl/curl.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "fetch/fetch_error.h"
#include "fetch/fetch_setup.h"

enum {
    MAX_CONNECTIONS_DEFAULT = 64,
    BODY_DEFAULT = 64 << 20,
    SPARE_EASY_MAX = 16, /* handles kept for reuse */
};

struct fetch {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share; /* TLS sessions */
    struct timer timer;
    struct loop_task kick; /* deliver what became ready outside of curl */
    struct list requests;  /* all that have not completed */
    struct list ready;     /* those with something to tell */
    struct list sockets;
    struct closer closer;
    bool closing;
    bool delivering;
    bool torn_down;
    size_t pending;
    CURL *spare[SPARE_EASY_MAX];
    size_t n_spare;
    struct fetch_setup setup;
    fetch_close_cb close_cb;
    void *close_arg;
};

struct fetch_request {
    struct fetch *f;
    struct list link;       /* in requests */
    struct list ready_link; /* in ready */
    CURL *easy;
    struct fetch_told told;
    struct strbuf in; /* what came and was not delivered yet, or the whole body */
    int status;
    bool head_seen;
    bool head_told;
    bool in_curl; /* added to the multi handle */
    bool done;
    bool has_timer;
    bool streaming;             /* on_data and a 2xx status */
    char *kept[FETCH_KEEP_MAX]; /* owned, may be NULL */
    struct error err;           /* code ERR_OK: an answer came */
    uint64_t idle_ms;
    struct timer idle;
    struct fetch_spec spec; /* callbacks only; its pointers are not ours */
    char curl_text[CURL_ERROR_SIZE];
};

struct fetch_socket {
    struct list link;
    uv_poll_t poll;
    struct fetch *f;
    curl_socket_t fd;
};

static void fetch_drive(struct fetch *f, curl_socket_t fd, int mask);
static void fetch_deliver(struct fetch *f);

/* --- sockets and the timer that curl asks for ---------------------------------------------------
 */

static void socket_closed(uv_handle_t *handle)
{
    struct fetch_socket *s = handle->data;
    struct fetch *f = s->f;
    free(s);
    closer_drop(&f->closer);
}

static void socket_close(struct fetch_socket *s)
{
    list_remove(&s->link);
    uv_close((uv_handle_t *)&s->poll, socket_closed);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct fetch_socket *s = poll->data;
    int mask = ((events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0) |
               ((events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0) |
               (status < 0 ? CURL_CSELECT_ERR : 0);
    fetch_drive(s->f, s->fd, mask);
}

/* CURLMOPT_SOCKETFUNCTION */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct fetch *f = arg;
    struct fetch_socket *s = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            curl_multi_assign(f->multi, fd, NULL);
            socket_close(s);
        }
        return 0;
    }
    if (s == NULL) {
        s = NEW(struct fetch_socket);
        s->f = f;
        s->fd = fd;
        if (uv_poll_init_socket(&f->loop->uv, &s->poll, fd) != 0) {
            free(s);
            return -1;
        }
        s->poll.data = s;
        list_init(&s->link);
        list_push_back(&f->sockets, &s->link);
        closer_hold(&f->closer);
        curl_multi_assign(f->multi, fd, s);
    }
    int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                 ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    return uv_poll_start(&s->poll, events, on_poll) == 0 ? 0 : -1;
}

/* CURLMOPT_TIMERFUNCTION */
static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct fetch *f = arg;
    (void)multi;
    if (f->torn_down || timeout_ms < 0) {
        timer_stop(&f->timer);
    } else {
        timer_start(&f->timer, (uint64_t)timeout_ms);
    }
    return 0;
}

static void on_timer(struct timer *timer)
{
    fetch_drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* --- one request
 * ----------------------------------------------------------------------------------- */

static void request_ready(struct fetch_request *req)
{
    if (!list_linked(&req->ready_link)) {
        list_push_back(&req->f->ready, &req->ready_link);
    }
}

static void forget_kept(struct fetch_request *req)
{
    for (size_t i = 0; i < FETCH_KEEP_MAX; i++) {
        free(req->kept[i]);
        req->kept[i] = NULL;
    }
}

/* A field that comes again goes on with a comma (RFC 9110 section 5.3). */
static void keep_value(char **kept, struct slice value)
{
    size_t before = *kept == NULL ? 0 : strlen(*kept) + 2;
    if (before + value.len > FETCH_KEPT_BYTES_MAX) {
        return;
    }
    char *whole = *kept == NULL ? slice_dup(value) : xasprintf("%s, %.*s", *kept, SLICE_FMT(value));
    free(*kept);
    *kept = whole;
}

/* One line of a head: "Name: value", or the first. The last answer's counts. */
static void keep_header(struct fetch_request *req, struct slice line)
{
    if (slice_starts_with(line, SLICE_LIT("HTTP/"))) {
        forget_kept(req);
        return;
    }
    while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r')) {
        line.len--;
    }
    for (size_t i = 0; i < FETCH_KEEP_MAX && req->spec.keep[i] != NULL; i++) {
        size_t n = strlen(req->spec.keep[i]);
        if (line.len > n && line.ptr[n] == ':' &&
            strncasecmp(line.ptr, req->spec.keep[i], n) == 0) {
            keep_value(&req->kept[i], slice_trim(slice_sub(line, n + 1, line.len)));
        }
    }
}

/* CURLOPT_HEADERFUNCTION: the blank line ends a head. */
static size_t on_curl_header(char *data, size_t size, size_t count, void *arg)
{
    struct fetch_request *req = arg;
    size_t len = size * count;
    keep_header(req, slice_of(data, len));
    if (len <= 2 && (len == 0 || data[0] == '\r' || data[0] == '\n')) {
        long status = 0;
        curl_easy_getinfo(req->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200) {
            req->status = (int)status;
            req->head_seen = true;
            req->streaming = req->spec.on_data != NULL && status < 300;
            request_ready(req);
        }
    }
    return len;
}

/* CURLOPT_WRITEFUNCTION */
static size_t on_curl_write(char *data, size_t size, size_t count, void *arg)
{
    struct fetch_request *req = arg;
    size_t len = size * count;
    if (strbuf_append(&req->in, data, len) != 0) {
        error_set(&req->err, ERR_TOO_BIG, "the answer has more than %zu bytes", req->in.max);
        return 0;
    }
    if (req->streaming) {
        request_ready(req);
    }
    return len;
}

static void request_leave_curl(struct fetch_request *req)
{
    struct fetch *f = req->f;
    if (!req->in_curl) {
        return;
    }
    req->in_curl = false;
    curl_multi_remove_handle(f->multi, req->easy);
    if (f->n_spare < SPARE_EASY_MAX) {
        curl_easy_reset(req->easy);
        f->spare[f->n_spare++] = req->easy;
    } else {
        curl_easy_cleanup(req->easy);
    }
    req->easy = NULL;
}

static void request_free(struct fetch_request *req)
{
    fetch_told_fini(&req->told);
    strbuf_fini(&req->in);
    forget_kept(req);
    free(req);
}

static void request_timer_closed(struct timer *timer)
{
    struct fetch_request *req = timer->data;
    struct fetch *f = req->f;
    request_free(req);
    closer_drop(&f->closer);
}

/* The one completion. */
static void request_finish(struct fetch_request *req)
{
    struct fetch *f = req->f;
    list_remove(&req->link);
    f->pending--;
    struct fetch_result result = {.status = req->status};
    for (size_t i = 0; i < FETCH_KEEP_MAX; i++) {
        result.kept[i] = slice_str(req->kept[i]);
    }
    if (!req->streaming) {
        result.body = strbuf_slice(&req->in);
    }
    req->spec.on_done(req->spec.arg, &result, req->err.code == ERR_OK ? NULL : &req->err);
    if (req->has_timer) {
        timer_close(&req->idle, request_timer_closed);
    } else {
        request_free(req);
    }
}

static void request_end(struct fetch_request *req, CURLcode code)
{
    if (code != CURLE_OK && req->err.code == ERR_OK) {
        error_from_curl(&req->err, code, req->curl_text);
    }
    request_leave_curl(req);
    req->done = true;
    request_ready(req);
}

static void on_idle(struct timer *timer)
{
    struct fetch_request *req = timer->data;
    if (!req->done) {
        error_set(&req->err, ERR_TIMEOUT, "nothing came for %llu ms",
                  (unsigned long long)req->idle_ms);
        request_end(req, CURLE_OK);
        fetch_deliver(req->f);
    }
}

/* --- delivery
 * -------------------------------------------------------------------------------------- */

/* Data of one request; the callbacks may cancel it, which is seen afterwards. */
static void request_tell(struct fetch_request *req)
{
    bool cancelled = req->done && req->err.code == ERR_CANCELED;
    if (req->streaming && !req->head_told && !cancelled) {
        req->head_told = true;
        if (req->spec.on_head != NULL) {
            req->spec.on_head(req->spec.arg, req->status);
        }
        cancelled = req->done && req->err.code == ERR_CANCELED;
    }
    if (req->streaming && req->in.len > 0 && !cancelled) {
        if (req->idle_ms > 0 && !req->done) {
            timer_start(&req->idle, req->idle_ms);
        }
        req->spec.on_data(req->spec.arg, strbuf_slice(&req->in));
        strbuf_clear(&req->in);
    }
}

static void fetch_teardown(struct fetch *f);

static void fetch_deliver(struct fetch *f)
{
    if (f->delivering) {
        return;
    }
    f->delivering = true;
    closer_hold(&f->closer);
    struct list *node;
    while ((node = list_pop_front(&f->ready)) != NULL) {
        struct fetch_request *req = LIST_ENTRY(node, struct fetch_request, ready_link);
        request_tell(req);
        if (req->done) {
            list_remove(&req->ready_link);
            request_finish(req);
        }
    }
    f->delivering = false;
    if (f->closing && f->pending == 0) {
        fetch_teardown(f);
    }
    closer_drop(&f->closer);
}

static void on_kick(struct loop_task *task)
{
    fetch_deliver(task->data);
}

/* Give curl an event, then tell the users what came of it. */
static void fetch_drive(struct fetch *f, curl_socket_t fd, int mask)
{
    int running = 0;
    curl_multi_socket_action(f->multi, fd, mask, &running);
    int left = 0;
    CURLMsg *msg;
    while ((msg = curl_multi_info_read(f->multi, &left)) != NULL) {
        if (msg->msg == CURLMSG_DONE) {
            CURLcode code = msg->data.result;
            struct fetch_request *req = NULL;
            curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&req);
            request_end(req, code);
        }
    }
    fetch_deliver(f);
}

/* --- starting
 * -------------------------------------------------------------------------------------- */

static void request_set_up(struct fetch_request *req, const struct fetch_spec *spec)
{
    CURL *easy = req->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, req);
    curl_easy_setopt(easy, CURLOPT_SHARE, req->f->share);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, req->curl_text);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_curl_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, req);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_curl_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, req);
    fetch_setup_apply(&req->f->setup, easy, spec, &req->told);
}

int fetch_start(struct fetch *f, const struct fetch_spec *spec, struct fetch_request **out,
                struct error *err)
{
    REQUIRE(spec->on_done != NULL && spec->method != NULL && spec->url != NULL);
    if (f->closing) {
        return error_set(err, ERR_CANCELED, "%s %s: the client is closing", spec->method,
                         spec->url);
    }
    CURL *easy = f->n_spare > 0 ? f->spare[--f->n_spare] : curl_easy_init();
    if (easy == NULL) {
        return error_set(err, ERR_NOMEM, "cannot make a request");
    }
    struct fetch_request *req = NEW(struct fetch_request);
    req->f = f;
    req->easy = easy;
    req->spec = *spec;
    req->idle_ms = spec->idle_ms;
    strbuf_init(&req->in, spec->max_body == 0 ? BODY_DEFAULT : spec->max_body);
    list_init(&req->link);
    list_init(&req->ready_link);
    request_set_up(req, spec);
    CURLMcode rc = curl_multi_add_handle(f->multi, easy);
    if (rc != CURLM_OK) {
        curl_easy_cleanup(easy);
        request_free(req);
        return error_set(err, ERR_INTERNAL, "%s %s: %s", spec->method, spec->url,
                         curl_multi_strerror(rc));
    }
    req->in_curl = true;
    f->pending++;
    list_push_back(&f->requests, &req->link);
    if (req->idle_ms > 0) {
        req->has_timer = true;
        closer_hold(&f->closer);
        timer_init(&req->idle, f->loop, on_idle, req);
        timer_start(&req->idle, req->idle_ms);
    }
    if (out != NULL) {
        *out = req;
    }
    return 0;
}

void fetch_cancel(struct fetch_request *req)
{
    if (req->done) {
        return;
    }
    error_set(&req->err, ERR_CANCELED, "canceled");
    request_end(req, CURLE_OK);
    loop_task_post(req->f->loop, &req->f->kick);
}

size_t fetch_pending(const struct fetch *f)
{
    return f->pending;
}

/* --- life
 * ------------------------------------------------------------------------------------------- */

int fetch_new(struct loop *loop, const struct fetch_options *options, struct fetch **out,
              struct error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return error_set(err, ERR_INTERNAL, "cannot set up libcurl");
    }
    CURLM *multi = curl_multi_init();
    CURLSH *share = curl_share_init();
    if (multi == NULL || share == NULL) {
        curl_multi_cleanup(multi);
        curl_share_cleanup(share);
        curl_global_cleanup();
        return error_set(err, ERR_NOMEM, "cannot set up libcurl");
    }
    struct fetch *f = NEW(struct fetch);
    long max =
        options->max_connections == 0 ? MAX_CONNECTIONS_DEFAULT : (long)options->max_connections;
    f->loop = loop;
    f->multi = multi;
    f->share = share;
    fetch_setup_init(&f->setup, options);
    list_init(&f->requests);
    list_init(&f->ready);
    list_init(&f->sockets);
    closer_init(&f->closer);
    closer_hold(&f->closer); /* the timer */
    timer_init(&f->timer, loop, on_timer, f);
    loop_task_init(&f->kick, on_kick, f);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, f);
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, max);
    *out = f;
    return 0;
}

static void on_timer_closed(struct timer *timer)
{
    struct fetch *f = timer->data;
    closer_drop(&f->closer);
}

/* No request is left: curl goes (it gives its sockets back on the way), then our handles. */
static void fetch_teardown(struct fetch *f)
{
    if (f->torn_down) {
        return;
    }
    f->torn_down = true;
    loop_task_cancel(&f->kick);
    while (f->n_spare > 0) {
        curl_easy_cleanup(f->spare[--f->n_spare]);
    }
    curl_multi_cleanup(f->multi);
    curl_share_cleanup(f->share);
    curl_global_cleanup();
    list_foreach_safe (node, &f->sockets) {
        socket_close(LIST_ENTRY(node, struct fetch_socket, link));
    }
    timer_close(&f->timer, on_timer_closed);
}

static void on_closed(void *data)
{
    struct fetch *f = data;
    fetch_close_cb cb = f->close_cb;
    void *arg = f->close_arg;
    fetch_setup_fini(&f->setup);
    free(f);
    if (cb != NULL) {
        cb(arg);
    }
}

void fetch_close(struct fetch *f, fetch_close_cb cb, void *arg)
{
    if (f->closing) {
        return;
    }
    f->closing = true;
    f->close_cb = cb;
    f->close_arg = arg;
    closer_close(&f->closer, f->loop, on_closed, f);
    list_foreach (node, &f->requests) {
        fetch_cancel(LIST_ENTRY(node, struct fetch_request, link));
    }
    loop_task_post(f->loop, &f->kick); /* tears down, also when nothing was pending */
}
