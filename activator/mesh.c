// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one dial per address, kept up by lib/link; HELLO and WELCOME tell who is at its other end.
 * What the pure parts want to say is gathered in one turn and sent in the next.
 *
 * Failure modes: see the header. A link that cannot take more is as good as broken. Our own address
 * among the peers, and a second way to one shard, are noticed by the id and left alone.
 */
#include "activator/mesh.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define MESH_HELLO   1
#define MESH_WELCOME 2
#define MESH_OPS     3
#define MESH_PING    4
#define MESH_PONG    5
#define MESH_NEWS    6

#define TICK_MS      1000
#define SILENT_MS    6000
#define LISTEN_AGAIN 50 /* ms: the worker before us has not let go yet */
#define BACKOFF_MS   500
#define QUEUE_MAX    (8u << 20)
#define PEERS_MAX    512
#define SECRET_MAX   4096
#define ID_MAX       200
#define LINK_WORKERS 0
#define LINK_OTHERS  1

/* One address that we dial. */
struct dial {
    struct list link;
    struct mesh *mesh;
    char *address;
    char *base; /* whose worker it is: the address that was added; NULL: fixed */
    struct link_client *client;
    struct shard *shard; /* once it said who it is */
    uint64_t heard_ms;
    bool silent;   /* ourselves, or no address to dial: leave it */
    bool removing; /* free it when the client is closed */
};

static void dial_open(struct dial *d);
static struct dial *dial_new(struct mesh *m, const char *address, const char *base);

static void post_flush(void *arg)
{
    struct mesh *m = arg;
    if (!m->closer.closing) {
        loop_task_post(m->loop, &m->flush);
    }
}

/* --- what we borrow: the links that we dial -------------------------------------------------- */

static void dial_free(struct dial *d)
{
    struct mesh *m = d->mesh;
    list_remove(&d->link);
    free(d->address);
    free(d->base);
    free(d);
    closer_drop(&m->closer);
}

static void dial_lost(struct dial *d)
{
    struct shard *shard = d->shard;
    d->shard = NULL;
    if (shard == NULL || shard->user != d) {
        return;
    }
    shard->up = false;
    shard->user = NULL;
    ops_clear(&shard->out);
    if (!d->mesh->closer.closing) {
        LOG_INFO("a shard is away", LOG_STR("shard", shard->id));
        sharing_moved(&d->mesh->sharing);
    }
}

static void on_dial_closed(void *data)
{
    struct dial *d = data;
    d->client = NULL;
    if (d->removing || d->mesh->closer.closing) {
        dial_free(d);
    } else if (!d->silent) {
        dial_open(d);
    }
}

/* Closes the link; it is dialled anew unless it is being removed. */
static void dial_reset(struct dial *d)
{
    if (d->client != NULL) {
        link_client_close(d->client, on_dial_closed, d);
    }
}

static void greet(struct dial *d)
{
    struct error err;
    struct slice self = slice_str(d->mesh->sharing.shards.self);
    if (link_client_send(d->client, MESH_HELLO, self, &err) < 0) {
        LOG_DEBUG("a shard was not greeted", LOG_ERR(&err));
    }
}

static void on_dial_up(struct link_client *client, void *data)
{
    struct dial *d = data;
    d->heard_ms = loop_now_ms(d->mesh->loop);
    greet(d);
}

static bool is_dialled(const struct mesh *m, const char *address)
{
    list_foreach (node, &m->dials) {
        const struct dial *d = LIST_ENTRY(node, struct dial, link);
        if (!d->removing && strcmp(d->address, address) == 0) {
            return true;
        }
    }
    return false;
}

/* The other workers of the activator whose first one we dialled. */
static void add_workers(struct dial *d, unsigned workers)
{
    struct addr first;
    if (d->base == NULL || strcmp(d->base, d->address) != 0 ||
        addr_parse(slice_str(d->address), &first, NULL) < 0) {
        return;
    }
    char ip[ADDR_TEXT_MAX];
    addr_format_ip(&first, ip, sizeof(ip));
    for (unsigned i = 1; i < workers && i < WORKERS_MAX; i++) {
        struct addr next;
        char text[ADDR_TEXT_MAX];
        unsigned port = addr_port(&first) + i;
        if (port > UINT16_MAX || addr_from_ip(slice_str(ip), (uint16_t)port, &next, NULL) < 0) {
            return;
        }
        addr_format(&next, text, sizeof(text));
        if (!is_dialled(d->mesh, text)) {
            dial_open(dial_new(d->mesh, text, d->base));
        }
    }
}

static void on_welcome(struct dial *d, struct slice payload)
{
    if (payload.len < 2 || payload.len > ID_MAX) {
        return;
    }
    struct shard *shard = shards_put(&d->mesh->sharing.shards, slice_sub(payload, 1, payload.len));
    add_workers(d, (uint8_t)payload.ptr[0]);
    if (shard == NULL) {
        d->silent = true; /* ourselves */
        dial_reset(d);
        return;
    }
    if (shard->up) {
        return; /* there is a way to it; on_timer asks again, should that one break */
    }
    d->shard = shard;
    shard->user = d;
    shard->up = true;
    ops_clear(&shard->out);
    LOG_INFO("a shard is there", LOG_STR("shard", shard->id), LOG_STR("address", d->address));
    sharing_moved(&d->mesh->sharing);
}

static void on_dial_frame(struct link_client *client, uint8_t type, struct slice payload,
                          void *data)
{
    struct dial *d = data;
    struct mesh *m = d->mesh;
    struct error err;
    d->heard_ms = loop_now_ms(m->loop);
    if (type == MESH_WELCOME && d->shard == NULL) {
        on_welcome(d, payload);
    } else if (type == MESH_OPS && d->shard != NULL) {
        int rc =
            borrower_input(&m->sharing.borrower, d->shard, payload, loop_now_ns(m->loop), &err);
        if (rc < 0) {
            LOG_WARN("a shard cannot be understood", LOG_STR("shard", d->shard->id), LOG_ERR(&err));
            dial_reset(d);
        }
        sharing_pump(&m->sharing, loop_now_ns(m->loop));
        handler_pump(m->handler);
    } else if (type == MESH_NEWS && m->announced != NULL) {
        m->announced(m->announced_arg, payload);
    }
}

static void on_dial_down(struct link_client *client, const struct error *why, void *data)
{
    dial_lost(data);
}

static void dial_open(struct dial *d)
{
    static const struct link_client_events events = {
        .on_up = on_dial_up, .on_frame = on_dial_frame, .on_down = on_dial_down};
    struct error err;
    struct link_client_options o = {.address = d->address,
                                    .secret = strbuf_slice(&d->mesh->secret),
                                    .queue_max_bytes = QUEUE_MAX,
                                    .handshake_ms = 2000,
                                    .backoff_max_ms = BACKOFF_MS,
                                    .events = &events,
                                    .data = d};
    if (link_client_start(d->mesh->loop, &o, &d->client, &err) < 0) {
        LOG_WARN("cannot reach a shard", LOG_STR("address", d->address), LOG_ERR(&err));
        d->silent = true;
    }
}

static struct dial *dial_new(struct mesh *m, const char *address, const char *base)
{
    struct dial *d = NEW(struct dial);
    d->mesh = m;
    d->address = xstrdup(address);
    d->base = base == NULL ? NULL : xstrdup(base);
    list_init(&d->link);
    list_push_back(&m->dials, &d->link);
    closer_hold(&m->closer);
    return d;
}

void mesh_add(struct mesh *m, const char *address)
{
    if (!is_dialled(m, address)) {
        dial_open(dial_new(m, address, address));
    }
}

static void dial_remove(struct dial *d)
{
    d->removing = true;
    if (d->client != NULL) {
        dial_reset(d);
    } else {
        dial_free(d);
    }
}

void mesh_remove(struct mesh *m, const char *address)
{
    list_foreach_safe (node, &m->dials) {
        struct dial *d = LIST_ENTRY(node, struct dial, link);
        if (d->base != NULL && strcmp(d->base, address) == 0 && !d->removing) {
            dial_remove(d);
        }
    }
}

/* --- what we lend: the links that were dialled to us ----------------------------------------- */

static void on_peer_up(struct link_peer *peer, void *data)
{
    link_peer_set_data(peer, NULL);
}

static void on_hello(struct mesh *m, struct link_peer *peer)
{
    CLEANUP(strbuf_fini) struct strbuf welcome;
    struct error err;
    if (link_peer_data(peer) == NULL) {
        struct borrower_peer *borrower = NEW(struct borrower_peer);
        lender_came(&m->sharing.lender, borrower, peer);
        link_peer_set_data(peer, borrower);
    }
    strbuf_init(&welcome, ID_MAX + 1);
    strbuf_append_char(&welcome, (char)m->workers);
    strbuf_append_str(&welcome, m->sharing.shards.self);
    if (link_peer_send(peer, MESH_WELCOME, strbuf_slice(&welcome), &err) < 0) {
        link_peer_close(peer);
    }
}

static void on_peer_frame(struct link_peer *peer, uint8_t type, struct slice payload, void *data)
{
    struct mesh *m = data;
    struct borrower_peer *borrower = link_peer_data(peer);
    struct error err;
    if (type == MESH_HELLO) {
        on_hello(m, peer);
    } else if (borrower == NULL) {
        link_peer_close(peer);
    } else if (type == MESH_PING) {
        if (link_peer_send(peer, MESH_PONG, SLICE_EMPTY, &err) < 0) {
            link_peer_close(peer);
        }
    } else if (type == MESH_OPS) {
        if (lender_input(&m->sharing.lender, borrower, payload, loop_now_ns(m->loop), &err) < 0) {
            LOG_WARN("a shard cannot be understood", LOG_STR("peer", link_peer_name(peer)),
                     LOG_ERR(&err));
            link_peer_close(peer);
        }
        handler_pump(m->handler);
        post_flush(m);
    }
}

static void lender_end(struct mesh *m, struct borrower_peer *borrower)
{
    link_peer_set_data(borrower->user, NULL);
    lender_gone(&m->sharing.lender, borrower, loop_now_ns(m->loop));
    free(borrower);
}

static void on_peer_down(struct link_peer *peer, const struct error *why, void *data)
{
    struct mesh *m = data;
    struct borrower_peer *borrower = link_peer_data(peer);
    if (borrower != NULL) {
        lender_end(m, borrower);
        handler_pump(m->handler);
    }
}

static int listen_one(struct mesh *m, int which, struct error *err)
{
    static const struct link_server_events events = {
        .on_up = on_peer_up, .on_frame = on_peer_frame, .on_down = on_peer_down};
    struct link_server_options o = {.addr = m->listen[which],
                                    .secret = strbuf_slice(&m->secret),
                                    .max_peers = PEERS_MAX,
                                    .queue_max_bytes = QUEUE_MAX,
                                    .events = &events,
                                    .data = m};
    int rc = link_server_start(m->loop, &o, &m->servers[which], err);
    if (rc == 0) {
        closer_hold(&m->closer);
    }
    return rc;
}

/* The worker before us may hold the address still. */
static bool listen_all(struct mesh *m)
{
    bool all = true;
    for (int i = 0; i < 2 && !m->leaving; i++) {
        struct error err;
        if (m->listens[i] && m->servers[i] == NULL && listen_one(m, i, &err) < 0) {
            LOG_DEBUG("cannot listen for other shards yet", LOG_ERR(&err));
            all = false;
        }
    }
    return all;
}

/* --- sending --------------------------------------------------------------------------------- */

static bool send_out(struct ops_out *out, struct link_client *client, struct link_peer *peer)
{
    bool ok = ops_ok(out);
    size_t at = 0;
    struct slice frame;
    while (ok && ops_next_frame(out, &at, &frame)) {
        struct error err;
        int rc = client != NULL ? link_client_send(client, MESH_OPS, frame, &err)
                                : link_peer_send(peer, MESH_OPS, frame, &err);
        ok = rc == 0;
    }
    ops_clear(out);
    return ok;
}

void mesh_tell(struct mesh *m, struct slice announcement)
{
    if (!m->up) {
        return;
    }
    list_foreach (node, &m->sharing.lender.borrowers) {
        const struct borrower_peer *b = LIST_ENTRY(node, struct borrower_peer, link);
        struct error err;
        if (link_peer_send(b->user, MESH_NEWS, announcement, &err) < 0) {
            LOG_DEBUG("a shard was not told of a replica", LOG_ERR(&err)); /* the API will */
        }
    }
}

static void on_flush(struct loop_task *task)
{
    struct mesh *m = task->data;
    list_foreach (node, &m->sharing.shards.all) {
        struct shard *shard = LIST_ENTRY(node, struct shard, link);
        struct dial *d = shard->user;
        if (d != NULL && d->client != NULL && !ops_empty(&shard->out) &&
            !send_out(&shard->out, d->client, NULL)) {
            dial_reset(d);
        }
    }
    list_foreach (node, &m->sharing.lender.borrowers) {
        struct borrower_peer *b = LIST_ENTRY(node, struct borrower_peer, link);
        if (!ops_empty(&b->out) && !send_out(&b->out, NULL, b->user)) {
            link_peer_close(b->user);
        }
    }
}

static void on_timer(struct timer *timer)
{
    struct mesh *m = timer->data;
    uint64_t now = loop_now_ms(m->loop);
    list_foreach_safe (node, &m->dials) {
        struct dial *d = LIST_ENTRY(node, struct dial, link);
        struct error err;
        if (d->client == NULL || !link_client_is_up(d->client)) {
            continue;
        }
        if (d->shard == NULL) {
            greet(d);
        } else if (now > d->heard_ms + SILENT_MS) {
            LOG_WARN("a shard is silent", LOG_STR("shard", d->shard->id));
            m->resets++;
            dial_reset(d);
        } else if (link_client_send(d->client, MESH_PING, SLICE_EMPTY, &err) < 0) {
            LOG_DEBUG("a ping was not sent", LOG_ERR(&err));
        }
    }
    timer_start(&m->timer, listen_all(m) ? TICK_MS : LISTEN_AGAIN);
}

/* --- life ------------------------------------------------------------------------------------ */

static int read_secret(struct mesh *m, struct error *err)
{
    const char *path = m->config->install_secret_file;
    strbuf_init(&m->secret, SECRET_MAX);
    if (path == NULL || path[0] == '\0') {
        return 0;
    }
    int rc = fs_read_file(path, SECRET_MAX, &m->secret, err);
    while (rc == 0 && m->secret.len > 0 && m->secret.ptr[m->secret.len - 1] <= ' ') {
        strbuf_truncate(&m->secret, m->secret.len - 1);
    }
    return rc < 0 ? error_prefix(err, rc, "--install-secret-file") : 0;
}

/* Worker i listens at the port + i. */
static int want_others(struct mesh *m, struct error *err)
{
    const char *text = m->config->peer_listen;
    struct addr addr;
    char ip[ADDR_TEXT_MAX];
    int rc = addr_parse(slice_str(text), &addr, err);
    if (rc == 0 && (addr_is_unix(&addr) || addr_port(&addr) == 0 ||
                    addr_port(&addr) + m->workers > UINT16_MAX)) {
        rc = error_set(err, ERR_INVALID, "\"%s\": needs IP:PORT, and a port for each worker", text);
    }
    rc = rc < 0
             ? rc
             : addr_from_ip(slice_str(addr_format_ip(&addr, ip, sizeof(ip))),
                            (uint16_t)(addr_port(&addr) + m->index), &m->listen[LINK_OTHERS], err);
    m->listens[LINK_OTHERS] = rc == 0;
    return rc;
}

static int dial_workers(struct mesh *m, const struct worker_id *id, struct error *err)
{
    for (unsigned i = 0; i < id->count; i++) {
        CLEANUP(cleanup_free) char *address = xasprintf("unix:%s.%u", id->base, i);
        if (i != id->index) {
            dial_open(dial_new(m, address, NULL));
            continue;
        }
        int rc = addr_parse(slice_str(address), &m->listen[LINK_WORKERS], err);
        if (rc < 0) {
            return rc;
        }
        m->listens[LINK_WORKERS] = true;
    }
    return 0;
}

static int dial_peers(struct mesh *m, struct error *err)
{
    struct slice rest = slice_str(m->config->peers);
    struct slice one;
    while (rest.len > 0 && slice_split(&rest, ',', &one)) {
        struct addr addr;
        int rc = addr_parse(slice_trim(one), &addr, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--peers");
        }
        char text[ADDR_TEXT_MAX];
        mesh_add(m, addr_format(&addr, text, sizeof(text)));
    }
    return 0;
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

int mesh_start(struct mesh *m, struct loop *loop, const struct config *c,
               const struct worker_id *id, const char *instance, struct handler *handler,
               struct error *err)
{
    *m = (struct mesh){.loop = loop, .config = c, .handler = handler, .workers = 1};
    list_init(&m->dials);
    closer_init(&m->closer);
    if (id == NULL && !given(c->peer_listen)) {
        return 0;
    }
    m->up = true;
    m->workers = id == NULL ? 1 : id->count;
    m->index = id == NULL ? 0 : id->index;
    CLEANUP(cleanup_free) char *self = xasprintf("%.150s/%u", instance, m->index);
    sharing_init(&m->sharing, handler, self, post_flush, m);
    loop_task_init(&m->flush, on_flush, m);
    timer_init(&m->timer, loop, on_timer, m);
    closer_hold(&m->closer);
    int rc = read_secret(m, err);
    if (rc == 0 && given(c->peer_listen)) {
        rc = want_others(m, err);
        rc = rc < 0 ? error_prefix(err, rc, "--peer-listen") : rc;
    }
    rc = rc == 0 && id != NULL ? dial_workers(m, id, err) : rc;
    rc = rc == 0 && given(c->peers) ? dial_peers(m, err) : rc;
    if (rc == 0 && m->listens[LINK_OTHERS] && m->secret.len == 0) {
        rc = error_set(err, ERR_INVALID, "--peer-listen needs --install-secret-file");
    }
    if (rc == 0) {
        timer_start(&m->timer, listen_all(m) ? TICK_MS : LISTEN_AGAIN);
    }
    return rc;
}

static void on_server_closed(void *data)
{
    struct mesh *m = data;
    closer_drop(&m->closer);
}

static void close_servers(struct mesh *m)
{
    for (int i = 0; i < 2; i++) {
        if (m->servers[i] != NULL) {
            link_server_close(m->servers[i], on_server_closed, m);
            m->servers[i] = NULL;
        }
    }
}

void mesh_leave(struct mesh *m)
{
    if (m->up && !m->leaving) {
        m->leaving = true;
        m->sharing.shards.leaving = true;
        close_servers(m);
        sharing_moved(&m->sharing);
    }
}

static void on_timer_closed(struct timer *timer)
{
    struct mesh *m = timer->data;
    closer_drop(&m->closer);
}

void mesh_close(struct mesh *m, void (*cb)(void *arg), void *arg)
{
    if (m->up) {
        m->leaving = true;
        loop_task_cancel(&m->flush);
        list_foreach_safe (at, &m->sharing.lender.borrowers) {
            lender_end(m, LIST_ENTRY(at, struct borrower_peer, link));
        }
        timer_close(&m->timer, on_timer_closed);
        close_servers(m);
        list_foreach_safe (node, &m->dials) {
            struct dial *d = LIST_ENTRY(node, struct dial, link);
            if (!d->removing) {
                dial_remove(d);
            }
        }
        strbuf_fini(&m->secret);
    }
    (void)closer_close(&m->closer, m->loop, cb, arg);
}
