// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: all messages into one buffer, with the places where a part ends; then each part with its
 * head (u64 seq, u16 part, u16 parts, big endian). A revision whose message cannot be written (a
 * name that is too long for the format) is left out: the API does not allow such names.
 */
#include "activator/report.h"

#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/stat.h"

#define PARTS_MAX  65535u
#define NOTE_MAX   8192
#define REPORT_MAX ((size_t)REPORT_PART_BYTES * PARTS_MAX)

static struct stat_message message_of(const struct revision *r, const struct report_source *source,
                                      double concurrency, double count)
{
    return (struct stat_message){
        .namespace_name = r->ns,
        .name = r->name,
        .sample = {.pod_name = slice_str(source->name),
                   .concurrency = concurrency,
                   .request_count = count,
                   .process_uptime_s = source->uptime_s},
    };
}

static void put_u16(char *at, uint32_t v)
{
    at[0] = (char)(v >> 8);
    at[1] = (char)v;
}

static void put_head(struct strbuf *out, uint64_t seq, uint32_t part, uint32_t parts)
{
    char head[12];
    for (int i = 0; i < 8; i++) {
        head[i] = (char)(seq >> (56 - 8 * i));
    }
    put_u16(head + 8, part);
    put_u16(head + 10, parts);
    strbuf_append(out, head, sizeof(head));
}

void report_stats(struct throttler *t, const struct report_source *source, report_part_cb cb,
                  void *arg)
{
    CLEANUP(strbuf_fini) struct strbuf body;
    CLEANUP(strbuf_fini) struct strbuf frame;
    CLEANUP(cleanup_free) size_t *ends = NULL;
    uint32_t parts = 0;
    size_t begin = 0;
    strbuf_init(&body, REPORT_MAX);
    strbuf_init(&frame, REPORT_PART_BYTES * 2);
    struct list *cursor = NULL;
    struct stat_report rep;
    const struct revision *r;
    while ((r = throttler_report(t, &cursor, source->now_ns, &rep)) != NULL) {
        struct stat_message m = message_of(r, source, rep.concurrency, rep.count);
        if (stat_message_append(&m, &body, NULL) < 0) {
            continue;
        }
        if (body.len - begin >= REPORT_PART_BYTES && parts + 1 < PARTS_MAX) {
            ends = xreallocarray(ends, parts + 1, sizeof(*ends));
            ends[parts++] = body.len;
            begin = body.len;
        }
    }
    if (parts == 0 || begin < body.len) {
        ends = xreallocarray(ends, parts + 1, sizeof(*ends));
        ends[parts++] = body.len;
    }
    begin = 0;
    for (uint32_t i = 0; i < parts; i++) {
        strbuf_clear(&frame);
        put_head(&frame, source->seq, i, parts);
        strbuf_append(&frame, body.ptr + begin, ends[i] - begin);
        begin = ends[i];
        cb(arg, strbuf_slice(&frame));
    }
}

void report_poke(const struct revision *r, const struct report_source *source, struct strbuf *out)
{
    double demand = revision_demand(r) > 0 ? revision_demand(r) : 1;
    struct stat_message m = message_of(r, source, demand, demand);
    (void)!stat_message_append(&m, out, NULL); /* such a name does not exist in the API */
}

void report_hello(const char *name, const char *boot, struct strbuf *out)
{
    strbuf_append_str(out, "{\"name\":");
    strbuf_append_json(out, slice_str(name));
    strbuf_append_str(out, ",\"boot\":");
    strbuf_append_json(out, slice_str(boot));
    strbuf_append_str(out, "}");
}

void report_note(struct throttler *t, struct slice payload, uint64_t now_ns)
{
    CLEANUP(jfree) json_t *note = NULL;
    if (jparse_object(payload, NOTE_MAX, &note, NULL) < 0 ||
        !slice_eq_str(jpeek_str(note, "phase"), "decided")) {
        return;
    }
    struct slice ns = jpeek_str(note, "namespace");
    struct slice name = jpeek_str(note, "name");
    struct revision *r = throttler_revision(t, ns, name, false);
    if (r != NULL) {
        revision_decided(r, now_ns);
    }
}
