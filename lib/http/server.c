// SPDX-License-Identifier: Apache-2.0
/*
 * The server: listeners, the free list of exchanges, what is due on the next turn, drain and close.
 *
 * Close: every connection is broken off, every listener and deadline list closed; open_handles
 * counts them down, and at zero the server is freed and the callback runs.
 */

#include "base/mem.h"
#include "http/h2_server.h"

#define FREE_MAX  256  /* exchanges kept for reuse */
#define HELD_KEEP 4096 /* bytes of body memory that one of them keeps */

/* ---- exchanges ---- */

struct http_exchange *server_take_exchange(struct http_server *server, struct sconn *conn)
{
    struct list *node = list_pop_front(&server->free);
    struct http_exchange *ex;
    if (node != NULL) {
        ex = LIST_ENTRY(node, struct http_exchange, link);
        server->n_free--;
    } else {
        const struct http_limits *l = &server->options.limits;
        ex = xmalloc(sizeof(*ex));
        h1_message_init(&ex->msg);
        strbuf_init(&ex->held, (size_t)l->hold_body_bytes + 2 * HTTP_READ_SIZE);
    }
    const struct http_limits *limits = &server->options.limits;
    size_t kept = offsetof(struct http_exchange, conn);
    memset((char *)ex + kept, 0, sizeof(*ex) - kept);
    list_init(&ex->link);
    ex->conn = conn;
    ex->out = (struct http_out){
        .shared = server->shared, .stream = &conn->stream, .high = limits->out_high_bytes};
    server->n_active++;
    return ex;
}

static void free_exchange(struct http_exchange *ex)
{
    strbuf_fini(&ex->held);
    h1_message_fini(&ex->msg);
    free(ex);
}

void server_give_exchange(struct http_server *server, struct http_exchange *ex)
{
    if (ex->announced && server->options.on_over != NULL) {
        server->options.on_over(ex, server->options.arg);
    }
    http_out_drop(&ex->out);
    exchange_let_go_first(ex);
    server->n_active--;
    if (server->n_free >= FREE_MAX) {
        free_exchange(ex);
        return;
    }
    if (ex->held.cap > HELD_KEEP) {
        strbuf_fini(&ex->held);
    } else {
        strbuf_clear(&ex->held);
    }
    h1_message_reset(&ex->msg);
    ex->conn = NULL;
    list_push_front(&server->free, &ex->link);
    server->n_free++;
}

/* ---- the end ---- */

static void free_server(struct http_server *server)
{
    struct list *node;
    while ((node = list_pop_front(&server->free)) != NULL) {
        free_exchange(LIST_ENTRY(node, struct http_exchange, link));
    }
    loop_task_cancel(&server->task);
    http_shared_unref(server->shared);
    void (*cb)(void *) = server->close_cb;
    void *arg = server->close_arg;
    free(server);
    if (cb != NULL) {
        cb(arg);
    }
}

static void drop_handle(struct http_server *server)
{
    server->open_handles--;
    if (server->closing && server->open_handles == 0) {
        free_server(server);
    }
}

void server_conn_closed(struct sconn *conn)
{
    struct http_server *server = conn->server;
    deadline_clear(&conn->deadline);
    list_remove(&conn->link);
    server->n_conns--;
    free(conn->pending);
    free(conn);
    if (server->draining && !server->closing && server->n_conns == 0) {
        server_post(server);
    }
    drop_handle(server);
}

/* ---- next turn ---- */

static void run_task(struct loop_task *task)
{
    struct http_server *server = task->data;
    struct list due;
    list_init(&due);
    list_splice_back(&due, &server->finished);
    struct list *node;
    while ((node = list_pop_front(&due)) != NULL) {
        sconn_finish_later(LIST_ENTRY(node, struct http_exchange, link)->conn);
    }
    if (server->draining && server->n_conns == 0 && server->on_drained != NULL) {
        void (*cb)(void *) = server->on_drained;
        server->on_drained = NULL;
        cb(server->drained_arg);
    }
}

void server_post(struct http_server *server)
{
    loop_task_post(server->loop, &server->task);
}

/* ---- listeners ---- */

static void on_connection(struct listener *l)
{
    struct server_listener *sl = l->data;
    sconn_open(sl->server, l);
}

static void on_listener_closed(struct listener *l)
{
    struct server_listener *sl = l->data;
    struct http_server *server = sl->server;
    list_remove(&sl->link);
    free(sl);
    drop_handle(server);
}

int http_server_listen(struct http_server *server, const struct addr *addr,
                       const struct listen_options *opt, struct error *err)
{
    struct server_listener *sl = NEW(struct server_listener);
    sl->server = server;
    list_push_back(&server->listeners, &sl->link);
    server->open_handles++;
    int rc = listener_start(&sl->listener, server->loop, addr, opt, on_connection, sl, err);
    if (rc < 0) {
        sl->listener.data = sl;
        listener_close(&sl->listener, on_listener_closed);
    } else {
        sl->open = true;
    }
    return rc;
}

static int listen_on(struct http_server *server, struct slice text,
                     const struct listen_options *opt, struct error *err)
{
    struct addr addr;
    if (text.len > 0 && text.ptr[0] == ':' && !(opt != NULL && opt->inherited)) {
        char every[ADDR_TEXT_MAX];
        snprintf(every, sizeof(every), "[::]%.*s", SLICE_FMT(text));
        if (addr_parse(slice_str(every), &addr, err) == 0 &&
            http_server_listen(server, &addr, opt, err) == 0) {
            return 0;
        } /* no IPv6 here, or what the next try will say */
    }
    int rc = addr_parse(text, &addr, err);
    return rc < 0 ? rc : http_server_listen(server, &addr, opt, err);
}

int http_server_listen_text(struct http_server *server, const char *text,
                            const struct listen_options *opt, struct error *err)
{
    return listen_on(server, slice_str(text), opt, err);
}

int http_server_listen_list(struct http_server *server, const char *list, struct error *err)
{
    struct slice rest = slice_str(list);
    struct slice part;
    while (slice_split(&rest, ',', &part)) {
        int rc = listen_on(server, slice_trim(part), NULL, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
    list_foreach (node, &server->listeners) {
        const struct server_listener *sl = LIST_ENTRY(node, struct server_listener, link);
        if (sl->open && !addr_is_unix(listener_addr(&sl->listener))) {
            return addr_port(listener_addr(&sl->listener));
        }
    }
    return 0;
}

size_t http_server_connections(const struct http_server *server)
{
    return server->n_conns;
}

size_t http_server_active(const struct http_server *server)
{
    return server->n_active;
}

/* ---- life ---- */

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options)
{
    struct http_server *server = NEW(struct http_server);
    const struct http_limits *l = &options->limits;
    REQUIRE(options->on_request != NULL && l->max_headers <= HTTP_MAX_HEADERS);
    const uint32_t lengths[SCONN_WAIT_N] = {
        [SCONN_WAIT_IDLE] = l->idle_ms,        [SCONN_WAIT_HEAD] = l->head_ms,
        [SCONN_WAIT_BODY] = l->body_ms,        [SCONN_WAIT_WRITE] = l->write_ms,
        [SCONN_WAIT_LINGER] = SCONN_LINGER_MS, [SCONN_WAIT_DRAIN] = SCONN_DRAIN_MS,
    };
    server->loop = loop;
    server->shared = http_shared_ref(loop);
    server->options = *options;
    list_init(&server->listeners);
    list_init(&server->conns);
    list_init(&server->free);
    list_init(&server->finished);
    loop_task_init(&server->task, run_task, server);
    for (int i = 1; i < SCONN_WAIT_N; i++) {
        /* 0 means no limit: such a list stays empty */
        deadlines_init(&server->waits[i], loop, lengths[i] > 0 ? lengths[i] : 1, sconn_on_deadline,
                       server);
        server->unlimited[i] = lengths[i] == 0;
        server->open_handles++;
    }
    if (options->h2c) {
        h2_server_init(server);
        server->open_handles += ARRAY_LEN(server->stalls);
    }
    return server;
}

void http_server_stop_listening(struct http_server *server)
{
    list_foreach (node, &server->listeners) {
        struct server_listener *sl = LIST_ENTRY(node, struct server_listener, link);
        sl->open = false;
        listener_close(&sl->listener, on_listener_closed);
    }
}

void http_server_goaway(struct http_server *server)
{
    list_foreach (node, &server->conns) {
        struct sconn *conn = LIST_ENTRY(node, struct sconn, link);
        if (conn->h2 != NULL) {
            h2_server_drain(conn);
        }
    }
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *arg), void *arg)
{
    list_foreach (node, &server->listeners) { /* what the kernel took in is ours to answer */
        struct server_listener *sl = LIST_ENTRY(node, struct server_listener, link);
        if (sl->open) {
            listener_take_all(&sl->listener);
        }
    }
    server->draining = true;
    server->on_drained = on_drained;
    server->drained_arg = arg;
    http_server_stop_listening(server);
    list_foreach (node, &server->conns) {
        struct sconn *conn = LIST_ENTRY(node, struct sconn, link);
        if (conn->h2 != NULL) {
            h2_server_drain(conn);
        } else if (conn->ex == NULL && !conn->lingering && !conn->closing) {
            sconn_arm(conn, false);
        }
    }
    server_post(server);
}

static void on_wait_closed(struct deadlines *d)
{
    drop_handle(d->data);
}

void http_server_close(struct http_server *server, void (*cb)(void *arg), void *arg)
{
    REQUIRE(!server->closing);
    server->closing = true;
    server->close_cb = cb;
    server->close_arg = arg;
    http_server_stop_listening(server);
    list_foreach (node, &server->conns) {
        sconn_abort(LIST_ENTRY(node, struct sconn, link));
    }
    for (int i = 1; i < SCONN_WAIT_N; i++) {
        deadlines_close(&server->waits[i], on_wait_closed);
    }
    for (size_t i = 0; i < ARRAY_LEN(server->stalls) && server->options.h2c; i++) {
        deadlines_close(&server->stalls[i], on_wait_closed);
    }
}
