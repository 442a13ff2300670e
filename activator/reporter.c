// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one timer, one link. Every second the meters are read whether the link is up or not, so
 * that a report always covers one second; it is sent when the link is up.
 */
#include "activator/reporter.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "activator/report.h"

#define FRAME_HELLO 1
#define FRAME_STATS 2
#define FRAME_POKE  3
#define FRAME_NOTE  4

#define PERIOD_MS      1000
#define SECRET_MAX     4096
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

static void send_frame(struct reporter *r, uint8_t type, struct slice payload)
{
    struct error err;
    uint64_t dropped;
    if (link_client_send(r->link, type, payload, &err) == 0) {
        r->sent++;
        return;
    }
    r->lost++;
    if (log_limit(&r->trouble, loop_now_ms(r->loop), TROUBLE_LOG_MS, &dropped)) {
        LOG_WARN("cannot report to the autoscaler", LOG_ERR(&err), LOG_UINT("lost", r->lost));
    }
}

static void on_part(void *arg, struct slice payload)
{
    struct reporter *r = arg;
    if (link_client_is_up(r->link)) {
        send_frame(r, FRAME_STATS, payload);
    } else {
        r->lost++;
    }
}

static void on_timer(struct timer *timer)
{
    struct reporter *r = timer->data;
    struct report_source source = source_of(r);
    r->seq++;
    report_stats(r->throttler, &source, on_part, r);
}

/* --- link ----------------------------------------------------------------------------------- */

static void on_up(struct link_client *client, void *data)
{
    struct reporter *r = data;
    CLEANUP(strbuf_fini) struct strbuf hello;
    strbuf_init(&hello, POKE_BYTES_MAX);
    report_hello(r->name, r->boot, &hello);
    LOG_INFO("connected to the autoscaler");
    send_frame(r, FRAME_HELLO, strbuf_slice(&hello));
    throttler_poke_again(r->throttler, loop_now_ns(r->loop));
    for (int i = 0; i < POKES_AT_ONCE; i++) {
        const struct revision *rev = throttler_next_poke(r->throttler, loop_now_ns(r->loop));
        if (rev == NULL) {
            return;
        }
        reporter_poke(r, rev);
    }
}

static void on_frame(struct link_client *client, uint8_t type, struct slice payload, void *data)
{
    struct reporter *r = data;
    if (type == FRAME_NOTE) {
        LOG_DEBUG("note from the autoscaler", LOG_SLICE("note", payload));
        report_note(r->throttler, payload, loop_now_ns(r->loop));
    }
}

static void on_down(struct link_client *client, const struct error *why, void *data)
{
    struct reporter *r = data;
    uint64_t dropped;
    if (log_limit(&r->trouble, loop_now_ms(r->loop), TROUBLE_LOG_MS, &dropped)) {
        LOG_WARN("the autoscaler is away: requests to running replicas go on", LOG_ERR(why));
    }
}

static const struct link_client_events link_events = {
    .on_up = on_up, .on_frame = on_frame, .on_down = on_down};

/* --- life ----------------------------------------------------------------------------------- */

static int start_link(struct reporter *r, const struct config *c, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf secret;
    strbuf_init(&secret, SECRET_MAX);
    if (c->install_secret_file != NULL && c->install_secret_file[0] != '\0') {
        int rc = fs_read_file(c->install_secret_file, SECRET_MAX, &secret, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--install-secret-file");
        }
    }
    while (secret.len > 0 && secret.ptr[secret.len - 1] <= ' ') {
        strbuf_truncate(&secret, secret.len - 1); /* the file usually ends with a line feed */
    }
    struct link_client_options o = {.address = c->autoscaler,
                                    .secret = strbuf_slice(&secret),
                                    /* On a cluster a new autoscaler's address leads nowhere for a
                                     * moment: try again soon, cold starts wait for it. */
                                    .handshake_ms = 1000,
                                    .backoff_max_ms = 1000,
                                    .events = &link_events,
                                    .data = r};
    int rc = link_client_start(r->loop, &o, &r->link, err);
    return rc < 0 ? error_prefix(err, rc, "--autoscaler %s", c->autoscaler) : 0;
}

int reporter_start(struct reporter *r, struct loop *loop, const struct config *c, const char *name,
                   struct throttler *throttler, struct error *err)
{
    *r = (struct reporter){
        .loop = loop, .throttler = throttler, .started_ns = loop_now_ns(loop), .seq = 1};
    closer_init(&r->closer);
    r->name = xstrdup(name);
    random_hex(r->boot, sizeof(r->boot) - 1);
    timer_init(&r->timer, loop, on_timer, r);
    closer_hold(&r->closer);
    int rc = start_link(r, c, err);
    if (rc < 0) {
        return rc;
    }
    closer_hold(&r->closer);
    timer_start_every(&r->timer, PERIOD_MS);
    return 0;
}

bool reporter_connected(const struct reporter *r)
{
    return r->link != NULL && link_client_is_up(r->link);
}

void reporter_poke(struct reporter *r, const struct revision *revision)
{
    CLEANUP(strbuf_fini) struct strbuf payload;
    strbuf_init(&payload, POKE_BYTES_MAX);
    struct report_source source = source_of(r);
    report_poke(revision, &source, &payload);
    if (link_client_is_up(r->link)) {
        send_frame(r, FRAME_POKE, strbuf_slice(&payload));
    }
}

static void on_link_closed(void *data)
{
    struct reporter *r = data;
    r->link = NULL;
    closer_drop(&r->closer);
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
    if (r->link != NULL) {
        link_client_close(r->link, on_link_closed, r);
    }
    (void)closer_close(&r->closer, r->loop, cb, arg);
}
