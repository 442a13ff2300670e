// SPDX-License-Identifier: Apache-2.0
/*
 * The connecting end.
 *
 *   WAITING -timer→ RESOLVING → CONNECTING → SHAKING → UP
 *      ↑ (names only)   |            |          |      |
 *      +---- back-off --+------------+----------+------+   by ENDING, which closes the connection
 *
 * One timer: the back-off while WAITING, the deadline of the attempt from RESOLVING to SHAKING. The
 * back-off starts from its minimum again after a connection that was up for a second.
 * A close goes through ENDING as well; a name that is being asked for is cancelled, and its answer
 * counts as one of the things that are open.
 */
#include <netdb.h>

#include "base/backoff.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "link/conn.h"

#define QUEUE_MAX_DEFAULT      (4u << 20)
#define ATTEMPT_DEFAULT_MS     5000
#define BACKOFF_MIN_DEFAULT_MS 20
#define BACKOFF_MAX_DEFAULT_MS 5000
#define STEADY_MS              1000

enum client_state { WAITING, RESOLVING, CONNECTING, SHAKING, UP, ENDING };

struct link_client {
    struct loop *loop;
    struct link_client_options opt;
    char *address; /* owned copies */
    char *secret;
    enum client_state state;
    struct link_conn conn;
    bool was_up; /* on_down is owed */
    uint64_t up_since_ms;
    struct error why; /* of the last failure */
    struct timer timer;
    struct backoff backoff;
    uv_getaddrinfo_t resolve;
    struct closer closer; /* timer, connection, resolve */
    void (*close_cb)(void *data);
    void *close_data;
};

static struct link_client *client_of(struct link_conn *conn)
{
    return CONTAINER_OF(conn, struct link_client, conn);
}

static void wait_and_retry(struct link_client *c)
{
    c->state = WAITING;
    if (!c->closer.closing) {
        timer_start(&c->timer, backoff_next_ms(&c->backoff));
    }
}

/* The connection is of no use: close it; the next attempt follows from its close callback. */
static void end(struct link_client *c, const struct error *why)
{
    if (c->state == CONNECTING || c->state == SHAKING || c->state == UP) {
        c->state = ENDING;
        c->why = *why;
        if (!c->closer.closing) {
            timer_stop(&c->timer);
        }
        link_conn_close(&c->conn);
    }
}

/* --- events of the connection
 * --------------------------------------------------------------------- */

static void on_conn_up(struct link_conn *conn)
{
    struct link_client *c = client_of(conn);
    c->state = UP;
    c->was_up = true;
    c->up_since_ms = loop_now_ms(c->loop);
    c->why = (struct error){.code = ERR_OK};
    timer_stop(&c->timer);
    c->opt.events->on_up(c, c->opt.data);
}

static void on_conn_frame(struct link_conn *conn, uint8_t type, struct slice payload)
{
    struct link_client *c = client_of(conn);
    c->opt.events->on_frame(c, type, payload, c->opt.data);
}

static void on_conn_down(struct link_conn *conn, const struct error *why)
{
    end(client_of(conn), why);
}

static void on_conn_closed(struct link_conn *conn)
{
    struct link_client *c = client_of(conn);
    bool was_up = c->was_up;
    c->was_up = false;
    if (was_up && loop_now_ms(c->loop) - c->up_since_ms >= STEADY_MS) {
        backoff_reset(&c->backoff);
    }
    wait_and_retry(c);
    if (was_up) {
        struct error why = c->why;
        c->opt.events->on_down(c, &why, c->opt.data);
    }
    closer_drop(&c->closer);
}

static const struct link_conn_events conn_events = {on_conn_up, on_conn_frame, on_conn_down,
                                                    on_conn_closed};

/* --- an attempt
 * ----------------------------------------------------------------------------------- */

static void on_connected(struct stream *s, const struct error *why)
{
    struct link_client *c = client_of(s->data);
    if (why != NULL) {
        end(c, why);
        return;
    }
    c->state = SHAKING;
    link_conn_begin(&c->conn, c->opt.queue_max_bytes);
}

static void connect_to(struct link_client *c, const struct addr *addr)
{
    struct error err;
    c->state = CONNECTING;
    closer_hold(&c->closer);
    link_conn_init(&c->conn, false, c->opt.secret, &conn_events);
    stream_init(&c->conn.stream, c->loop, &link_conn_stream_events, &c->conn);
    if (stream_connect(&c->conn.stream, addr, on_connected, &err) < 0) {
        end(c, &err);
    }
}

static void fail_name(struct link_client *c, int uv_code)
{
    error_from_uv(&c->why, uv_code, "link: address of %s", c->address);
    timer_stop(&c->timer);
    wait_and_retry(c);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct link_client *c = req->data;
    if (!c->closer.closing && status == 0 && found != NULL &&
        found->ai_addrlen <= sizeof(struct sockaddr_storage)) {
        struct addr addr = {.len = found->ai_addrlen};
        memcpy(&addr.u, found->ai_addr, found->ai_addrlen);
        connect_to(c, &addr);
    } else if (!c->closer.closing) {
        fail_name(c, status < 0 ? status : UV_EAI_NONAME);
    }
    uv_freeaddrinfo(found);
    closer_drop(&c->closer);
}

static void attempt(struct link_client *c)
{
    struct addr addr;
    timer_start(&c->timer, c->opt.handshake_ms);
    if (addr_parse(slice_str(c->address), &addr, NULL) == 0) {
        connect_to(c, &addr);
        return;
    }
    /* link_client_start has seen that it is name:port. */
    char host[256];
    struct slice text = slice_str(c->address);
    ptrdiff_t colon = slice_rfind(text, ':');
    slice_copy(slice_sub(text, 0, (size_t)colon), host, sizeof(host));
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    c->state = RESOLVING;
    c->resolve.data = c;
    int rc = uv_getaddrinfo(&c->loop->uv, &c->resolve, on_resolved, host, c->address + colon + 1,
                            &hints);
    if (rc < 0) {
        fail_name(c, rc);
        return;
    }
    closer_hold(&c->closer);
}

static void on_timer(struct timer *timer)
{
    struct link_client *c = timer->data;
    struct error err;
    if (c->state == WAITING) {
        attempt(c);
    } else if (c->state == RESOLVING) {
        uv_cancel((uv_req_t *)&c->resolve); /* or its answer comes in its own time */
    } else {
        error_set(&err, ERR_TIMEOUT, "link: no connection to %s within %llu ms", c->address,
                  (unsigned long long)c->opt.handshake_ms);
        end(c, &err);
    }
}

/* --- life
 * ----------------------------------------------------------------------------------------- */

static int check_address(const struct link_client_options *opt, struct error *err)
{
    struct addr addr;
    struct slice text = slice_str(opt->address);
    int rc = addr_parse(text, &addr, err);
    ptrdiff_t colon = slice_rfind(text, ':');
    if (rc < 0 && colon > 0 && colon < 250 && (size_t)colon + 1 < text.len &&
        !slice_starts_with(text, SLICE_LIT("unix:")) && slice_find(text, ':') == colon &&
        slice_find(text, '/') < 0) {
        rc = 0; /* a name to ask for */
        addr.u.any.sa_family = AF_INET;
    }
    if (rc == 0 && !addr_is_unix(&addr) && opt->secret.len < LINK_SECRET_MIN) {
        rc = error_set(err, ERR_INVALID, "link: TCP needs a secret of at least %u bytes",
                       LINK_SECRET_MIN);
    }
    return rc;
}

static uint64_t or_default(uint64_t value, uint64_t def)
{
    return value == 0 ? def : value;
}

int link_client_start(struct loop *loop, const struct link_client_options *opt,
                      struct link_client **out, struct error *err)
{
    int rc = check_address(opt, err);
    if (rc < 0) {
        return rc;
    }
    struct link_client *c = NEW(struct link_client);
    c->loop = loop;
    c->opt = *opt;
    c->address = xstrdup(opt->address);
    c->opt.address = c->address;
    c->secret = slice_dup(opt->secret);
    c->opt.secret = slice_of(c->secret, opt->secret.len);
    c->opt.queue_max_bytes = (size_t)or_default(opt->queue_max_bytes, QUEUE_MAX_DEFAULT);
    c->opt.handshake_ms = or_default(opt->handshake_ms, ATTEMPT_DEFAULT_MS);
    uint64_t min_ms = or_default(opt->backoff_min_ms, BACKOFF_MIN_DEFAULT_MS);
    uint64_t max_ms = or_default(opt->backoff_max_ms, BACKOFF_MAX_DEFAULT_MS);
    backoff_init(&c->backoff, min_ms, max_ms < min_ms ? min_ms : max_ms);
    closer_init(&c->closer);
    closer_hold(&c->closer);
    timer_init(&c->timer, loop, on_timer, c);
    timer_start(&c->timer, 0);
    *out = c;
    return 0;
}

bool link_client_is_up(const struct link_client *c)
{
    return c->state == UP;
}

const struct error *link_client_last_error(const struct link_client *c)
{
    return &c->why;
}

int link_client_send(struct link_client *c, uint8_t type, struct slice payload, struct error *err)
{
    if (c->state != UP) {
        return error_set(err, ERR_UNAVAILABLE, "link: not connected to %s%s%s", c->address,
                         c->why.code == ERR_OK ? "" : ": ",
                         c->why.code == ERR_OK ? "" : c->why.msg);
    }
    return link_conn_send(&c->conn, type, payload, err);
}

static void all_closed(void *data)
{
    struct link_client *c = data;
    void (*cb)(void *) = c->close_cb;
    void *cb_data = c->close_data;
    free(c->address);
    free(c->secret);
    free(c);
    if (cb != NULL) {
        cb(cb_data);
    }
}

static void timer_closed(struct timer *timer)
{
    struct link_client *c = timer->data;
    closer_drop(&c->closer);
}

void link_client_close(struct link_client *c, void (*cb)(void *data), void *data)
{
    struct error err;
    if (!closer_close(&c->closer, c->loop, all_closed, c)) {
        return;
    }
    c->close_cb = cb;
    c->close_data = data;
    error_set(&err, ERR_CANCELED, "link: the client is closing");
    if (c->state == RESOLVING) {
        uv_cancel((uv_req_t *)&c->resolve);
    }
    end(c, &err);
    timer_close(&c->timer, timer_closed);
}
