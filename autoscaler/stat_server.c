// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The first frame of a peer must be HELLO; from then on its name stands for it. STATS are
 * recorded as they come and count as a report when the last part is in. A POKE is decided before
 * the function returns.
 * Failure modes: a frame that is not understood closes the link (the activator connects again); a
 * second link with the same name closes the first; a peer that goes away stays expected for a
 * while (autoscaler/reports.h).
 */
#include "autoscaler/stat_server.h"

#include "json/jget.h"
#include "json/jparse.h"
#include "serving/backlog_report.h"

enum frame_type { FRAME_HELLO = 1, FRAME_STATS = 2, FRAME_POKE = 3, FRAME_NOTE = 4 };

#define HELLO_BYTES_MAX 4096
#define TROUBLE_LOG_MS  1000u

static uint64_t now_ms(const struct stat_server *s)
{
    return loop_now_ms(s->engine->loop);
}

static void refuse(struct stat_server *s, struct link_peer *peer, const struct error *err)
{
    uint64_t dropped;
    s->refused++;
    if (log_limit(&s->trouble, now_ms(s), TROUBLE_LOG_MS, &dropped)) {
        LOG_WARN("a frame cannot be used", LOG_STR("peer", link_peer_name(peer)), LOG_ERR(err),
                 LOG_UINT("dropped", dropped));
    }
    link_peer_close(peer);
}

static int read_hello(struct stat_server *s, struct link_peer *peer, struct slice payload,
                      struct error *err)
{
    CLEANUP(jfree) json_t *hello = NULL;
    int rc = jparse_object(payload, HELLO_BYTES_MAX, &hello, err);
    if (rc < 0) {
        return error_prefix(err, rc, "HELLO");
    }
    struct slice name;
    rc = jget_str(hello, "name", &name, err);
    if (rc < 0) {
        return error_prefix(err, rc, "HELLO");
    }
    struct reporter *reporter;
    void *replaced;
    rc = reports_hello(&s->engine->reports, name, peer, now_ms(s), &reporter, &replaced, err);
    if (rc < 0) {
        return rc;
    }
    link_peer_set_data(peer, reporter);
    if (replaced != NULL && replaced != peer) {
        link_peer_set_data(replaced, NULL);
        link_peer_close(replaced);
    }
    LOG_INFO("activator connected", LOG_STR("activator", reporter->name),
             LOG_STR("peer", link_peer_name(peer)));
    return 0;
}

typedef void (*use_cb)(struct engine *e, const struct stat_message *message,
                       const struct reporter *reporter);

static int read_messages(struct stat_server *s, struct slice bytes, use_cb use,
                         const struct reporter *reporter, struct error *err)
{
    struct stat_reader reader = {.rest = bytes};
    struct stat_message message;
    int rc;
    while ((rc = stat_reader_next(&reader, &message, err)) > 0) {
        use(s->engine, &message, reporter);
    }
    s->engine->counters.stats_dropped += reader.dropped;
    return rc;
}

static int read_stats(struct stat_server *s, struct reporter *reporter, struct slice payload,
                      struct error *err)
{
    struct reports *reports = &s->engine->reports;
    struct slice stats;
    int rc = reports_begin_part(reports, reporter, payload, now_ms(s), &stats, err);
    if (rc <= 0) {
        return rc;
    }
    rc = read_messages(s, stats, engine_stat, reporter, err);
    if (rc == 0) {
        (void)reports_end_part(reports, reporter, now_ms(s));
    }
    return rc;
}

static void on_frame(struct link_peer *peer, uint8_t type, struct slice payload, void *data)
{
    struct stat_server *s = data;
    struct reporter *reporter = link_peer_data(peer);
    struct error err = {0};
    int rc;
    if (type == FRAME_HELLO && reporter != NULL) {
        rc = error_set(&err, ERR_PROTOCOL, "a second HELLO"); /* one link speaks for one name */
    } else if (type == FRAME_HELLO) {
        rc = read_hello(s, peer, payload, &err);
    } else if (type == BACKLOG_FRAME) { /* of a lull-broker, which is no activator: no HELLO */
        rc = engine_backlog(s->engine, payload, &err);
    } else if (reporter == NULL) {
        rc = error_set(&err, ERR_PROTOCOL, "frame %u before HELLO", type);
    } else if (type == FRAME_STATS) {
        rc = read_stats(s, reporter, payload, &err);
    } else if (type == FRAME_POKE) {
        rc = read_messages(s, payload, engine_poke, reporter, &err);
    } else {
        rc = 0; /* of a newer release */
    }
    if (rc < 0) {
        refuse(s, peer, &err);
    }
}

static void on_down(struct link_peer *peer, const struct error *why, void *data)
{
    struct stat_server *s = data;
    struct reporter *reporter = link_peer_data(peer);
    if (reporter == NULL || s->closing) {
        return;
    }
    LOG_INFO("activator gone", LOG_STR("activator", reporter->name), LOG_ERR(why));
    reports_gone(&s->engine->reports, reporter, peer, now_ms(s));
}

static void on_up(struct link_peer *peer, void *data)
{
    link_peer_set_data(peer, NULL);
}

int stat_server_start(struct stat_server *s, struct loop *loop, struct engine *engine,
                      struct slice address, struct slice secret, struct error *err)
{
    static const struct link_server_events events = {
        .on_up = on_up, .on_frame = on_frame, .on_down = on_down};
    *s = (struct stat_server){.engine = engine};
    struct link_server_options options = {
        .secret = secret, .max_peers = REPORTS_ACTIVATORS_MAX, .events = &events, .data = s};
    int rc = addr_parse(address, &options.addr, err);
    if (rc == 0) {
        rc = link_server_start(loop, &options, &s->server, err);
    }
    return rc < 0 ? error_prefix(err, rc, "--link-listen %.*s", SLICE_FMT(address)) : 0;
}

void stat_server_note(struct stat_server *s, struct slice payload)
{
    map_foreach (it, &s->engine->reports.reporters) {
        const struct reporter *reporter = it.value;
        struct error err;
        if (reporter->link != NULL &&
            link_peer_send(reporter->link, FRAME_NOTE, payload, &err) < 0) {
            LOG_DEBUG("a note was dropped", LOG_STR("activator", reporter->name), LOG_ERR(&err));
        }
    }
}

static void on_server_closed(void *data)
{
    struct stat_server *s = data;
    if (s->close_cb != NULL) {
        s->close_cb(s->close_arg);
    }
}

void stat_server_close(struct stat_server *s, void (*cb)(void *arg), void *arg)
{
    s->closing = true;
    s->close_cb = cb;
    s->close_arg = arg;
    if (s->server != NULL) {
        link_server_close(s->server, on_server_closed, s);
        s->server = NULL;
    } else if (cb != NULL) {
        cb(arg);
    }
}
