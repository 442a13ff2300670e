// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one timer, a link per autoscaler. Every second the meters are read once, whether links are
 * up or not, so that a report always covers one second; its parts go to every link that is up.
 * Failure modes: a link that is down or does not take more loses frames, by itself.
 */
#include "activator/reporter.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "activator/report.h"

#define FRAME_HELLO 1
#define FRAME_STATS 2
#define FRAME_POKE  3
#define FRAME_NOTE  4

#define PERIOD_MS      1000
#define HANDSHAKE_MS   1000
#define TROUBLE_LOG_MS 10000
#define POKES_AT_ONCE  1024
#define POKE_BYTES_MAX 4096

static struct report_source source_of(const struct reporter *r)
{
    uint64_t now = loop_now_ns(r->loop);
    return (struct report_source){.name = r->name,
                                  .seq = r->seq,
                                  .now_ns = now,
                                  .uptime_s = (double)(now - r->started_ns) / 1e9};
}

static bool may_log(struct reporter *r)
{
    uint64_t dropped;
    return log_limit(&r->trouble, loop_now_ms(r->loop), TROUBLE_LOG_MS, &dropped);
}

static void send_frame(struct link_member *link, uint8_t type, struct slice payload)
{
    struct reporter *r = link->group->data;
    struct error err;
    if (link_client_send(link->client, type, payload, &err) == 0) {
        r->sent++;
        return;
    }
    r->lost++;
    if (may_log(r)) {
        LOG_WARN("cannot report to an autoscaler", LOG_STR("autoscaler", link->address),
                 LOG_ERR(&err), LOG_UINT("lost", r->lost));
    }
}

static void on_part(void *arg, struct slice payload)
{
    struct reporter *r = arg;
    list_foreach (node, &r->links.members) {
        struct link_member *link = LIST_ENTRY(node, struct link_member, node);
        if (link_client_is_up(link->client)) {
            send_frame(link, FRAME_STATS, payload);
        } else {
            r->lost++;
        }
    }
}

static void on_timer(struct timer *timer)
{
    struct reporter *r = timer->data;
    struct report_source source = source_of(r);
    r->seq++;
    report_stats(r->throttler, &source, on_part, r);
}

/* --- links ---------------------------------------------------------------------------------- */

static void on_up(struct link_client *client, void *data)
{
    struct link_member *link = data;
    struct reporter *r = link->group->data;
    CLEANUP(strbuf_fini) struct strbuf hello;
    strbuf_init(&hello, POKE_BYTES_MAX);
    report_hello(r->name, r->boot, &hello);
    LOG_INFO("connected to an autoscaler", LOG_STR("autoscaler", link->address));
    send_frame(link, FRAME_HELLO, strbuf_slice(&hello));
    throttler_poke_again(r->throttler, loop_now_ns(r->loop));
    for (int i = 0; i < POKES_AT_ONCE; i++) {
        const struct revision *rev = throttler_next_poke(r->throttler, loop_now_ns(r->loop));
        if (rev == NULL) {
            return;
        }
        reporter_poke(r, rev); /* the others hear it again, which changes nothing */
    }
}

static void on_frame(struct link_client *client, uint8_t type, struct slice payload, void *data)
{
    struct link_member *link = data;
    struct reporter *r = link->group->data;
    if (type == FRAME_NOTE) {
        LOG_DEBUG("note from the autoscaler", LOG_SLICE("note", payload));
        report_note(r->throttler, payload, loop_now_ns(r->loop));
    }
}

static void on_down(struct link_client *client, const struct error *why, void *data)
{
    struct link_member *link = data;
    struct reporter *r = link->group->data;
    if (!list_linked(&link->node) || !may_log(r)) {
        return;
    }
    if (reporter_connected(r)) {
        LOG_WARN("an autoscaler is away: another one is told", LOG_STR("autoscaler", link->address),
                 LOG_ERR(why));
    } else {
        LOG_WARN("the autoscaler is away: requests to running replicas go on",
                 LOG_STR("autoscaler", link->address), LOG_ERR(why));
    }
}

int reporter_add(struct reporter *r, const char *address, struct error *err)
{
    return link_group_add(&r->links, address, err);
}

void reporter_remove(struct reporter *r, const char *address)
{
    link_group_remove(&r->links, address);
}

/* --- life ----------------------------------------------------------------------------------- */

int reporter_start(struct reporter *r, struct loop *loop, const struct config *c, const char *name,
                   struct throttler *throttler, struct error *err)
{
    *r = (struct reporter){
        .loop = loop, .throttler = throttler, .started_ns = loop_now_ns(loop), .seq = 1};
    static const struct link_client_events events = {
        .on_up = on_up, .on_frame = on_frame, .on_down = on_down};
    closer_init(&r->closer);
    r->name = xstrdup(name);
    random_hex(r->boot, sizeof(r->boot) - 1);
    timer_init(&r->timer, loop, on_timer, r);
    closer_hold(&r->closer);
    closer_hold(&r->closer);
    /* On a cluster a new autoscaler's address leads nowhere for a moment: try again soon, cold
     * starts wait for it. */
    struct link_group_options options = {.secret_file = c->install_secret_file,
                                         .handshake_ms = HANDSHAKE_MS,
                                         .events = &events,
                                         .data = r};
    int rc = link_group_init(&r->links, loop, &options, err);
    rc = rc < 0 ? rc : link_group_add_named(&r->links, c->autoscaler, err);
    if (rc < 0) {
        return rc;
    }
    timer_start_every(&r->timer, PERIOD_MS);
    return 0;
}

bool reporter_connected(const struct reporter *r)
{
    return link_group_connected(&r->links);
}

void reporter_poke(struct reporter *r, const struct revision *revision)
{
    CLEANUP(strbuf_fini) struct strbuf payload;
    strbuf_init(&payload, POKE_BYTES_MAX);
    struct report_source source = source_of(r);
    report_poke(revision, &source, &payload);
    list_foreach (node, &r->links.members) {
        struct link_member *link = LIST_ENTRY(node, struct link_member, node);
        if (link_client_is_up(link->client)) {
            send_frame(link, FRAME_POKE, strbuf_slice(&payload));
        }
    }
}

static void on_links_closed(void *data)
{
    closer_drop(&((struct reporter *)data)->closer);
}

static void on_timer_closed(struct timer *timer)
{
    struct reporter *r = timer->data;
    closer_drop(&r->closer);
}

void reporter_close(struct reporter *r, void (*cb)(void *arg), void *arg)
{
    if (r->closer.closing) {
        return;
    }
    free(r->name);
    r->name = NULL;
    timer_close(&r->timer, on_timer_closed);
    link_group_close(&r->links, on_links_closed, r);
    (void)closer_close(&r->closer, r->loop, cb, arg);
}
