// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one timer, a link per autoscaler. Every second the meters are read once, whether links are
 * up or not, so that a report always covers one second; its parts go to every link that is up.
 * Failure modes: a link that is down or does not take more loses frames, by itself.
 */
#include "activator/reporter.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
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
#define PODS           "pods:"

/* One autoscaler. */
struct reporter_link {
    struct list node; /* in reporter.links; not linked: closing */
    struct reporter *reporter;
    struct link_client *client;
    char *address; /* owned */
};

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

static void send_frame(struct reporter_link *link, uint8_t type, struct slice payload)
{
    struct reporter *r = link->reporter;
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
    list_foreach (node, &r->links) {
        struct reporter_link *link = LIST_ENTRY(node, struct reporter_link, node);
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
    struct reporter_link *link = data;
    struct reporter *r = link->reporter;
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
    struct reporter_link *link = data;
    struct reporter *r = link->reporter;
    if (type == FRAME_NOTE) {
        LOG_DEBUG("note from the autoscaler", LOG_SLICE("note", payload));
        report_note(r->throttler, payload, loop_now_ns(r->loop));
    }
}

static void on_down(struct link_client *client, const struct error *why, void *data)
{
    struct reporter_link *link = data;
    if (!list_linked(&link->node) || !may_log(link->reporter)) {
        return;
    }
    if (reporter_connected(link->reporter)) {
        LOG_WARN("an autoscaler is away: another one is told", LOG_STR("autoscaler", link->address),
                 LOG_ERR(why));
    } else {
        LOG_WARN("the autoscaler is away: requests to running replicas go on",
                 LOG_STR("autoscaler", link->address), LOG_ERR(why));
    }
}

static struct reporter_link *find(const struct reporter *r, const char *address)
{
    list_foreach (node, &r->links) {
        struct reporter_link *link = LIST_ENTRY(node, struct reporter_link, node);
        if (strcmp(link->address, address) == 0) {
            return link;
        }
    }
    return NULL;
}

int reporter_add(struct reporter *r, const char *address, struct error *err)
{
    static const struct link_client_events events = {
        .on_up = on_up, .on_frame = on_frame, .on_down = on_down};
    if (r->closer.closing || find(r, address) != NULL) {
        return 0;
    }
    if (r->link_count >= REPORTER_LINKS_MAX) {
        return error_set(err, ERR_OVERLOAD, "%d autoscalers are told already; %s is not",
                         REPORTER_LINKS_MAX, address);
    }
    struct reporter_link *link = NEW(struct reporter_link);
    struct link_client_options o = {.address = address,
                                    .secret = slice_of(r->secret, r->secret_len),
                                    /* On a cluster a new autoscaler's address leads nowhere for a
                                     * moment: try again soon, cold starts wait for it. */
                                    .handshake_ms = 1000,
                                    .backoff_max_ms = 1000,
                                    .events = &events,
                                    .data = link};
    int rc = link_client_start(r->loop, &o, &link->client, err);
    if (rc < 0) {
        free(link);
        return rc;
    }
    link->reporter = r;
    link->address = xstrdup(address);
    list_push_back(&r->links, &link->node);
    r->link_count++;
    closer_hold(&r->closer);
    return 0;
}

static void on_link_closed(void *data)
{
    struct reporter_link *link = data;
    struct reporter *r = link->reporter;
    free(link->address);
    free(link);
    closer_drop(&r->closer);
}

static void drop_link(struct reporter_link *link)
{
    list_remove(&link->node);
    link->reporter->link_count--;
    link_client_close(link->client, on_link_closed, link);
}

void reporter_remove(struct reporter *r, const char *address)
{
    struct reporter_link *link = find(r, address);
    if (link != NULL) {
        drop_link(link);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

static int read_secret(struct reporter *r, const struct config *c, struct error *err)
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
    r->secret = slice_dup(strbuf_slice(&secret));
    r->secret_len = secret.len;
    return 0;
}

uint16_t reporter_pods_port(const struct config *c)
{
    uint64_t port;
    if (c->autoscaler == NULL || strncmp(c->autoscaler, PODS, strlen(PODS)) != 0 ||
        num_parse_u64(slice_str(c->autoscaler + strlen(PODS)), 1, UINT16_MAX, &port, NULL) < 0) {
        return 0;
    }
    return (uint16_t)port;
}

/* Those that are named, with commas between them. */
static int add_named(struct reporter *r, const struct config *c, struct error *err)
{
    struct slice rest = slice_str(c->autoscaler);
    struct slice part;
    if (slice_starts_with(rest, SLICE_LIT(PODS))) {
        return reporter_pods_port(c) != 0 ? 0
                                          : error_set(err, ERR_INVALID,
                                                      "--autoscaler %s: the port of the Pods is "
                                                      "not 1 to 65535",
                                                      c->autoscaler);
    }
    while (slice_split(&rest, ',', &part)) {
        CLEANUP(cleanup_free) char *address = slice_dup(slice_trim(part));
        int rc = reporter_add(r, address, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--autoscaler %s", c->autoscaler);
        }
    }
    return 0;
}

int reporter_start(struct reporter *r, struct loop *loop, const struct config *c, const char *name,
                   struct throttler *throttler, struct error *err)
{
    *r = (struct reporter){
        .loop = loop, .throttler = throttler, .started_ns = loop_now_ns(loop), .seq = 1};
    closer_init(&r->closer);
    list_init(&r->links);
    r->name = xstrdup(name);
    random_hex(r->boot, sizeof(r->boot) - 1);
    timer_init(&r->timer, loop, on_timer, r);
    closer_hold(&r->closer);
    int rc = read_secret(r, c, err);
    rc = rc < 0 ? rc : add_named(r, c, err);
    if (rc < 0) {
        return rc;
    }
    timer_start_every(&r->timer, PERIOD_MS);
    return 0;
}

bool reporter_connected(const struct reporter *r)
{
    if (r->loop == NULL) {
        return false;
    }
    list_foreach (node, &r->links) {
        if (link_client_is_up(LIST_ENTRY(node, struct reporter_link, node)->client)) {
            return true;
        }
    }
    return false;
}

void reporter_poke(struct reporter *r, const struct revision *revision)
{
    CLEANUP(strbuf_fini) struct strbuf payload;
    strbuf_init(&payload, POKE_BYTES_MAX);
    struct report_source source = source_of(r);
    report_poke(revision, &source, &payload);
    list_foreach (node, &r->links) {
        struct reporter_link *link = LIST_ENTRY(node, struct reporter_link, node);
        if (link_client_is_up(link->client)) {
            send_frame(link, FRAME_POKE, strbuf_slice(&payload));
        }
    }
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
    free(r->secret);
    r->secret = NULL;
    timer_close(&r->timer, on_timer_closed);
    list_foreach_safe (node, &r->links) {
        drop_link(LIST_ENTRY(node, struct reporter_link, node));
    }
    (void)closer_close(&r->closer, r->loop, cb, arg);
}
