// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: HELLO and the present state after each connect; a page goes out in pieces as soon as it is
 * asked for.
 *
 * Failure modes: the link breaks: it connects again by itself, a page that was under way is lost
 * and the parent does without it. The parent is gone: SIGTERM from the kernel, and we drain.
 */
#include "activator/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

/* --- who we are ----------------------------------------------------------------------------- */

static bool number(struct slice *rest, uint64_t min, uint64_t max, uint64_t *out)
{
    struct slice word;
    return slice_split(rest, ' ', &word) && num_parse_u64(word, min, max, out, NULL) == 0;
}

int worker_id_parse(const char *text, struct worker_id *out, struct error *err)
{
    uint64_t index;
    uint64_t count;
    uint64_t generation;
    uint64_t parent;
    struct slice rest = slice_str(text);
    struct slice base;
    if (!number(&rest, 0, WORKERS_MAX - 1, &index) || !number(&rest, 1, WORKERS_MAX, &count) ||
        index >= count || !number(&rest, 1, UINT32_MAX, &generation) ||
        !number(&rest, 1, INT32_MAX, &parent) || !slice_split(&rest, ' ', &base) || base.len < 2 ||
        base.ptr[0] != '@' || rest.ptr == NULL || slice_empty(rest)) {
        return error_set(err, ERR_INVALID,
                         WORKER_ENV "=%s: only lull-activator --workers sets this variable", text);
    }
    *out = (struct worker_id){.index = (unsigned)index,
                              .count = (unsigned)count,
                              .generation = (unsigned)generation,
                              .parent = (int)parent,
                              .base = slice_dup(base),
                              .instance = slice_dup(rest)};
    return 0;
}

char *worker_id_text(const struct worker_id *id)
{
    return xasprintf("%u %u %u %d %s %s", id->index, id->count, id->generation, id->parent,
                     id->base, id->instance);
}

void worker_id_fini(struct worker_id *id)
{
    free(id->base);
    free(id->instance);
    *id = (struct worker_id){0};
}

char *worker_name(const struct worker_id *id)
{
    return id->generation == 1 ? xasprintf("%.50s-w%u", id->instance, id->index)
                               : xasprintf("%.45s-w%u.%u", id->instance, id->index, id->generation);
}

char *worker_control_address(const char *base)
{
    return xasprintf("unix:%s.control", base);
}

/* --- frames --------------------------------------------------------------------------------- */

static void put_u32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(v >> (24 - 8 * i));
    }
}

static void send_frame(struct worker *w, enum worker_frame type, struct slice payload)
{
    struct error err;
    if (link_client_send(w->link, (uint8_t)type, payload, &err) < 0) {
        LOG_DEBUG("the parent process was not told", LOG_ERR(&err));
    }
}

static void send_state(struct worker *w)
{
    char state = (char)w->state;
    send_frame(w, WORKER_STATE, slice_of(&state, 1));
}

static void send_page(struct worker *w, uint32_t id, struct slice path)
{
    CLEANUP(strbuf_fini) struct strbuf page;
    CLEANUP(strbuf_fini) struct strbuf frame;
    strbuf_init(&page, ADMIN_PAGE_MAX);
    strbuf_init(&frame, WORKER_PIECE_MAX + 1024);
    const char *type;
    int status = admin_page(w->admin, path, &type, &page);
    if (!strbuf_ok(&page)) {
        status = 500;
        strbuf_clear(&page);
    }
    size_t at = 0;
    do {
        struct slice piece = slice_sub(strbuf_slice(&page), at, WORKER_PIECE_MAX);
        unsigned char head[WORKER_PAGE_HEAD];
        at += piece.len;
        put_u32(head, id);
        head[4] = (unsigned char)(status >> 8);
        head[5] = (unsigned char)status;
        head[6] = at == page.len;
        head[7] = (unsigned char)strlen(type);
        strbuf_clear(&frame);
        strbuf_append(&frame, head, sizeof(head));
        strbuf_append_str(&frame, type);
        strbuf_append_slice(&frame, piece);
        send_frame(w, WORKER_PAGE, strbuf_slice(&frame));
    } while (at < page.len);
}

static void on_up(struct link_client *client, void *data)
{
    struct worker *w = data;
    unsigned char hello[8];
    put_u32(hello, w->id->index);
    put_u32(hello + 4, w->id->generation);
    send_frame(w, WORKER_HELLO, slice_of((const char *)hello, sizeof(hello)));
    send_state(w);
}

static void on_frame(struct link_client *client, uint8_t type, struct slice payload, void *data)
{
    struct worker *w = data;
    if (type == WORKER_ASK && payload.len >= 4) {
        const unsigned char *b = (const unsigned char *)payload.ptr;
        uint32_t id = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        send_page(w, id, slice_sub(payload, 4, payload.len));
    }
}

static void on_down(struct link_client *client, const struct error *why, void *data)
{
    LOG_DEBUG("the link to the parent process broke", LOG_ERR(why));
}

/* --- life ----------------------------------------------------------------------------------- */

int worker_start(struct worker *w, struct loop *loop, const struct worker_id *id,
                 const struct admin *admin, struct error *err)
{
    static const struct link_client_events events = {
        .on_up = on_up, .on_frame = on_frame, .on_down = on_down};
    *w = (struct worker){.loop = loop, .id = id, .admin = admin};
    closer_init(&w->closer);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != id->parent) {
        return error_set(err, ERR_CLOSED, "the process that started this worker is gone");
    }
    CLEANUP(cleanup_free) char *address = worker_control_address(id->base);
    struct link_client_options o = {.address = address,
                                    .queue_max_bytes = WORKER_QUEUE_MAX,
                                    .backoff_max_ms = 1000,
                                    .events = &events,
                                    .data = w};
    int rc = link_client_start(loop, &o, &w->link, err);
    if (rc == 0) {
        closer_hold(&w->closer);
    }
    return rc;
}

void worker_tell(struct worker *w, enum worker_state state)
{
    w->state = state;
    if (w->link != NULL && link_client_is_up(w->link)) {
        send_state(w);
    }
}

void worker_farewell(struct worker *w)
{
    if (w->link != NULL && link_client_is_up(w->link)) {
        send_page(w, 0, SLICE_LIT("/metrics"));
    }
}

static void on_link_closed(void *data)
{
    struct worker *w = data;
    closer_drop(&w->closer);
}

void worker_close(struct worker *w, void (*cb)(void *arg), void *arg)
{
    if (w->link != NULL) {
        link_client_close(w->link, on_link_closed, w);
        w->link = NULL;
    }
    (void)closer_close(&w->closer, w->loop, cb, arg);
}
