// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. HELLO makes an entry, parts of a report arrive in order on one stream, the last part
 * completes it. reports_check is called on every tick and before every decision.
 * Failure modes: a link that breaks inside a report (the next sequence number starts anew and the
 * broken report counts as missing); an activator that comes back under its name; a clock that jumps
 * (a process or a machine that stood still): whichever comes first then, a tick or a report, sees
 * the time in which nobody reported, and it is a hole like any other.
 */
#include "autoscaler/reports.h"

#include "base/mem.h"

#define HEADER_BYTES 12
/* The first report of an activator that has just started has at most this number: a link takes a
 * moment. */
#define SEQ_NEW 3u

void reports_init(struct reports *r)
{
    *r = (struct reports){0};
    map_init(&r->reporters, MAP_COPY_KEYS);
}

void reports_fini(struct reports *r)
{
    map_foreach (it, &r->reporters) {
        free(it.value);
    }
    map_fini(&r->reporters);
}

size_t reports_connected(const struct reports *r)
{
    size_t count = 0;
    map_foreach (it, &r->reporters) {
        count += ((const struct reporter *)it.value)->connected ? 1 : 0;
    }
    return count;
}

int reports_hello(struct reports *r, struct slice name, void *link, uint64_t now_ms,
                  struct reporter **out, void **out_replaced, struct error *err)
{
    if (slice_empty(name) || name.len > REPORTS_NAME_MAX) {
        return error_set(err, ERR_INVALID, "an activator's name must have 1 to %d bytes",
                         REPORTS_NAME_MAX);
    }
    struct reporter *reporter = map_get(&r->reporters, name);
    if (reporter == NULL && map_len(&r->reporters) >= REPORTS_ACTIVATORS_MAX) {
        return error_set(err, ERR_OVERLOAD, "%d activators report already", REPORTS_ACTIVATORS_MAX);
    }
    if (r->path_lost && reports_connected(r) == 0) {
        r->path_since_ms = now_ms;
        r->path_lost = false;
    }
    *out_replaced = NULL;
    if (reporter == NULL) {
        reporter = NEW(struct reporter);
        slice_copy(name, reporter->name, sizeof(reporter->name));
        map_set(&r->reporters, name, reporter);
        reporter->hello_ms = now_ms;
    } else {
        *out_replaced = reporter->link;
    }
    reporter->connected = true;
    reporter->link = link;
    reporter->seq = 0;
    reporter->part = 0;
    reporter->parts = 0;
    *out = reporter;
    return 0;
}

void reports_gone(struct reports *r, struct reporter *reporter, const void *link, uint64_t now_ms)
{
    if (reporter->link != link) {
        return;
    }
    reporter->connected = false;
    reporter->link = NULL;
    reporter->gone_ms = now_ms;
    if (reports_connected(r) == 0) {
        r->path_lost = true;
    }
}

static uint64_t read_be(const char *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | (uint8_t)bytes[i];
    }
    return value;
}

/* Which second a report is of. They come a second apart, give or take a moment, which may lie on
 * either side of a second's end: none is left out and none gets two. More than that waited while we
 * stood still: their seconds have passed, and none of them must look like a crowd of now. */
static void set_second(struct reporter *reporter, uint64_t now_ms)
{
    uint64_t now = now_ms / 1000;
    uint64_t next = reporter->at_ms / 1000 + 1;
    reporter->missed = 0;
    reporter->passed = false;
    if (reporter->last_ms == 0 || now_ms - reporter->last_ms > REPORTS_STALE_MS) {
        reporter->at_ms = now_ms;
    } else if (now >= next) {
        reporter->missed = (unsigned)(now - next);
        reporter->at_ms = now_ms;
    } else {
        reporter->passed = next > now + 1;
        reporter->at_ms = (reporter->passed ? now + 1 : next) * 1000;
    }
}

int reports_begin_part(struct reports *r, struct reporter *reporter, struct slice payload,
                       uint64_t now_ms, struct slice *out_stats, struct error *err)
{
    if (payload.len < HEADER_BYTES) {
        return error_set(err, ERR_PROTOCOL, "a report of %zu bytes is too short", payload.len);
    }
    uint64_t seq = read_be(payload.ptr, 8);
    uint16_t part = (uint16_t)read_be(payload.ptr + 8, 2);
    uint16_t parts = (uint16_t)read_be(payload.ptr + 10, 2);
    if (parts == 0 || part >= parts) {
        return error_set(err, ERR_PROTOCOL, "part %u of %u of a report", part, parts);
    }
    bool running = reporter->part < reporter->parts;
    if (seq < reporter->seq ||
        (seq == reporter->seq && reporter->parts > 0 && (!running || part < reporter->part))) {
        r->duplicates++;
        return 0;
    }
    if (seq > reporter->seq || reporter->parts == 0) {
        reporter->seq = seq;
        reporter->part = 0;
        reporter->parts = parts;
        set_second(reporter, now_ms);
    }
    if (part != reporter->part || parts != reporter->parts) {
        return error_set(err, ERR_PROTOCOL, "part %u of a report where part %u was due", part,
                         reporter->part);
    }
    r->duplicates += reporter->passed;
    *out_stats = reporter->passed ? SLICE_EMPTY : slice_sub(payload, HEADER_BYTES, payload.len);
    return 1;
}

static uint64_t passed(uint64_t now_ms, uint64_t since_ms)
{
    return now_ms > since_ms ? now_ms - since_ms : 0;
}

static uint64_t silent_ms(const struct reporter *reporter, uint64_t now_ms)
{
    return passed(now_ms,
                  reporter->last_ms > reporter->hello_ms ? reporter->last_ms : reporter->hello_ms);
}

void reports_restart(struct reports *r, uint64_t now_ms)
{
    r->since_ms = now_ms;
}

static void look(struct reports *r, uint64_t now_ms)
{
    /* Whoever reported last may be gone and forgotten by now. */
    bool fresh = r->last_ms > 0 && passed(now_ms, r->last_ms) <= REPORTS_STALE_MS;
    bool current = true;
    r->checked_ms = now_ms;
    size_t expected = 0;
    uint64_t silent_most = 0;
    map_foreach (it, &r->reporters) {
        struct reporter *reporter = it.value;
        if (!reporter->connected && now_ms > reporter->gone_ms + REPORTS_FORGET_MS) {
            map_remove(&r->reporters, it.key);
            free(reporter);
            continue;
        }
        expected++;
        uint64_t silent = silent_ms(reporter, now_ms);
        fresh = fresh && silent <= REPORTS_STALE_MS;
        current = current && silent <= REPORTS_LATE_MS;
        silent_most = silent > silent_most ? silent : silent_most;
    }
    fresh = fresh && expected > 0;
    if (fresh && !r->fresh) {
        r->since_ms = now_ms;
    }
    r->fresh = fresh;
    r->current = fresh && current;
    uint64_t told_ms = r->current ? now_ms - silent_most : r->last_ms;
    r->told_ms = told_ms < r->last_ms ? told_ms : r->last_ms;
}

void reports_check(struct reports *r, uint64_t now_ms)
{
    if (now_ms != r->checked_ms) {
        look(r, now_ms);
    }
}

bool reports_end_part(struct reports *r, struct reporter *reporter, uint64_t now_ms)
{
    reporter->part++;
    if (reporter->part < reporter->parts) {
        return false;
    }
    /* The time before it comes first: after it, a hole that it ends could not be seen any more. */
    look(r, now_ms);
    bool known = reporter->last_ms > 0 || reporter->seq <= SEQ_NEW;
    reporter->last_ms = now_ms;
    r->last_ms = now_ms;
    if (!known) {
        reports_restart(r, now_ms);
    }
    look(r, now_ms);
    return true;
}
