// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a request for a page becomes a question to every worker that is connected; when the last
 * answer is in, workers_page() makes one page of them. /healthz and /readyz are answered here.
 *
 * Failure modes: a worker that does not answer within ASK_MS, or dies meanwhile, is left out. The
 * client may leave at any time: the answers then go nowhere.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "metric/rows.h"
#include "activator/workers.h"

#define ASK_MS 2000

struct part {
    struct worker_process *from; /* NULL: it will not answer any more */
    unsigned index;
    int status;
    char *type; /* owned */
    struct strbuf page;
};

struct ask {
    struct list link; /* in workers.asks */
    struct workers *workers;
    struct http_simple_request *rq; /* NULL: the client has left */
    struct deadline deadline;
    uint32_t id;
    unsigned waiting;
    unsigned count;
    bool metrics; /* /metrics: keep what each said */
    struct part parts[];
};

static void ask_free(struct ask *ask)
{
    list_remove(&ask->link);
    deadline_clear(&ask->deadline);
    for (unsigned i = 0; i < ask->count; i++) {
        free(ask->parts[i].type);
        strbuf_fini(&ask->parts[i].page);
    }
    free(ask);
}

static void own_metrics(const struct workers *w, struct strbuf *out)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < w->count; i++) {
        ready += w->slots[i].current != NULL && w->slots[i].current->state == WORKER_READY ? 1 : 0;
    }
    metric_write_number(out, "gauge", "lull_activator_workers", "Workers that take requests.",
                        ready);
    metric_write_number(out, "counter", "lull_activator_worker_restarts_total",
                        "Workers that ended unasked.", w->restarts);
}

static void respond(const struct ask *ask)
{
    CLEANUP(strbuf_fini) struct strbuf page;
    struct worker_answer answers[WORKERS_MAX];
    const char *type;
    for (unsigned i = 0; i < ask->count; i++) {
        const struct part *part = &ask->parts[i];
        answers[i] = (struct worker_answer){.index = part->index,
                                            .status = part->from == NULL ? part->status : 0,
                                            .type = part->type,
                                            .page = strbuf_slice(&part->page)};
    }
    strbuf_init(&page, 2 * ADMIN_PAGE_MAX);
    int status = workers_page(answers, ask->count, &ask->workers->retired, &type, &page);
    if (ask->metrics && status == 200) {
        own_metrics(ask->workers, &page);
    }
    if (!strbuf_ok(&page)) {
        http_simple_respondf(ask->rq, 500, "the page would be larger than %u bytes\n",
                             2 * ADMIN_PAGE_MAX);
        return;
    }
    http_simple_respond(ask->rq, status, type, strbuf_slice(&page));
}

static void ask_end(struct ask *ask)
{
    struct http_simple_request *rq = ask->rq;
    if (rq != NULL) {
        rq->on_close = NULL;
        rq->data = NULL;
        respond(ask);
    }
    ask_free(ask);
}

static void on_ask_late(struct deadline *deadline, void *data)
{
    ask_end(CONTAINER_OF(deadline, struct ask, deadline));
}

/* --- answers -------------------------------------------------------------------------------- */

static struct part *part_of(struct ask *ask, const struct worker_process *p)
{
    for (unsigned i = 0; i < ask->count; i++) {
        if (ask->parts[i].from == p) {
            return &ask->parts[i];
        }
    }
    return NULL;
}

static void part_done(struct ask *ask, struct part *part)
{
    part->from = NULL;
    if (--ask->waiting == 0) {
        ask_end(ask);
    }
}

static void keep_metrics(struct worker_process *p, struct slice page)
{
    strbuf_clear(&p->page);
    strbuf_append_slice(&p->page, page);
}

void workers_admin_page(struct worker_process *p, struct slice payload)
{
    const unsigned char *b = (const unsigned char *)payload.ptr;
    uint32_t id = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    int status = b[4] << 8 | b[5];
    bool last = b[6] != 0;
    struct slice type = slice_sub(payload, WORKER_PAGE_HEAD, b[7]);
    struct slice piece = slice_sub(payload, WORKER_PAGE_HEAD + type.len, payload.len);
    if (id == 0) { /* its last numbers; a page in several pieces is too rare to matter */
        if (last) {
            keep_metrics(p, piece);
        }
        return;
    }
    list_foreach (node, &p->workers->asks) {
        struct ask *ask = LIST_ENTRY(node, struct ask, link);
        struct part *part = ask->id == id ? part_of(ask, p) : NULL;
        if (part == NULL) {
            continue;
        }
        strbuf_append_slice(&part->page, piece);
        if (!last) {
            return;
        }
        part->status = strbuf_ok(&part->page) ? status : 500;
        part->type = slice_dup(type);
        if (ask->metrics && part->status == 200) {
            keep_metrics(p, strbuf_slice(&part->page));
        }
        part_done(ask, part);
        return;
    }
}

void workers_admin_gone(struct worker_process *p)
{
    list_foreach_safe (node, &p->workers->asks) {
        struct ask *ask = LIST_ENTRY(node, struct ask, link);
        struct part *part = part_of(ask, p);
        if (part != NULL) {
            part_done(ask, part);
        }
    }
}

/* --- questions ------------------------------------------------------------------------------ */

static void on_client_gone(struct http_simple_request *rq, void *data)
{
    struct ask *ask = data;
    ask->rq = NULL;
}

static bool send_question(const struct ask *ask, struct worker_process *p, struct slice path)
{
    CLEANUP(strbuf_fini) struct strbuf frame;
    strbuf_init(&frame, 4 + 8192);
    const char id[] = {(char)(ask->id >> 24), (char)(ask->id >> 16), (char)(ask->id >> 8),
                       (char)ask->id};
    strbuf_append(&frame, id, sizeof(id));
    strbuf_append_slice(&frame, path);
    return strbuf_ok(&frame) &&
           link_peer_send(p->peer, WORKER_ASK, strbuf_slice(&frame), NULL) == 0;
}

/* Also those that drain: their requests are ours until they end. */
static void ask_all(struct workers *w, struct http_simple_request *rq)
{
    struct ask *ask = xcalloc(1, sizeof(*ask) + WORKERS_MAX * sizeof(struct part));
    ask->workers = w;
    ask->rq = rq;
    ask->id = w->next_ask++;
    w->next_ask += w->next_ask == 0 ? 1 : 0;
    ask->metrics = slice_eq_str(rq->path, "/metrics");
    list_init(&ask->link);
    deadline_init(&ask->deadline);
    list_foreach (node, &w->processes) {
        struct worker_process *p = LIST_ENTRY(node, struct worker_process, link);
        if (p->peer == NULL || ask->count == WORKERS_MAX || !send_question(ask, p, rq->path)) {
            continue;
        }
        struct part *part = &ask->parts[ask->count++];
        part->from = p;
        part->index = p->index;
        strbuf_init(&part->page, ADMIN_PAGE_MAX);
    }
    ask->waiting = ask->count;
    if (ask->waiting == 0) {
        respond(ask);
        ask_free(ask);
        return;
    }
    rq->on_close = on_client_gone;
    rq->data = ask;
    list_push_back(&w->asks, &ask->link);
    deadline_set(&w->ask_deadlines, &ask->deadline);
}

static void ready(const struct workers *w, struct http_simple_request *rq)
{
    unsigned taking = 0;
    for (unsigned i = 0; i < w->count; i++) {
        taking += w->slots[i].current != NULL && w->slots[i].current->state == WORKER_READY;
    }
    if (w->stopping) {
        http_simple_respondf(rq, 503, "shutting down\n");
    } else if (!w->announced || taking == 0) {
        http_simple_respondf(rq, 503, "%u of %u workers take requests\n", taking, w->count);
    } else {
        http_simple_respondf(rq, 200, "ok\n");
    }
}

static void handle(struct http_simple_request *rq, void *arg)
{
    struct workers *w = arg;
    if (!slice_eq_str(rq->method, "GET") && !slice_eq_str(rq->method, "HEAD")) {
        http_simple_respondf(rq, 405, "only GET is served here\n");
    } else if (slice_eq_str(rq->path, "/healthz")) {
        http_simple_respondf(rq, 200, "ok\n");
    } else if (slice_eq_str(rq->path, "/readyz")) {
        ready(w, rq);
    } else {
        ask_all(w, rq);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

int workers_admin_start(struct workers *w, struct error *err)
{
    struct http_simple_options o = http_simple_options_default(handle, w);
    deadlines_init(&w->ask_deadlines, w->loop, ASK_MS, on_ask_late, w);
    w->simple = http_simple_new(w->loop, &o);
    closer_hold(&w->closer); /* the deadlines */
    closer_hold(&w->closer); /* the server */
    const char *addr = w->config->admin_listen;
    int rc = http_server_listen_list(http_simple_server(w->simple), addr, err);
    return rc < 0 ? error_prefix(err, rc, "admin port %s", addr) : 0;
}

static void on_deadlines_closed(struct deadlines *d)
{
    struct workers *w = d->data;
    closer_drop(&w->closer);
}

static void on_server_closed(void *arg)
{
    struct workers *w = arg;
    closer_drop(&w->closer);
}

void workers_admin_close(struct workers *w)
{
    if (w->simple == NULL) {
        return;
    }
    list_foreach_safe (node, &w->asks) {
        ask_end(LIST_ENTRY(node, struct ask, link));
    }
    deadlines_close(&w->ask_deadlines, on_deadlines_closed);
    http_simple_close(w->simple, on_server_closed, w);
    w->simple = NULL;
}
