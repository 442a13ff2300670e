// SPDX-License-Identifier: Apache-2.0
//
// lull event tail: lull-broker sends a line of JSON per event as long as we read; what is printed
// is that line, or its parts for people. Failure modes: the connection ends (lull-broker was
// started again, a Pod went): it is made anew from the last event that was seen; nobody answers for
// half a minute (ten seconds at the start, when it may be starting too): the error.
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/event_cmd.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"

enum { LINE_MAX_BYTES = 8 << 20, SHOWN_MAX = 400, AGAIN_MS = 1000, TRIES = 30, TRIES_FIRST = 10 };

struct tail {
    const struct event_options *o;
    struct strbuf line;
    char *last;   // id of the last event, NULL: none yet
    int64_t left; // -1: no end
    bool heard;
    bool stop;
};

static void print_data(const json_t *line)
{
    const json_t *event = jpeek_obj(line, "event");
    const json_t *data = json_object_get(event, "data");
    if (data != NULL) {
        CLEANUP(cleanup_free) char *text = jdump_str(data);
        struct slice shown = slice_sub(slice_str(text), 0, SHOWN_MAX);
        printf("  %.*s%s", SLICE_FMT(shown), shown.len < slice_str(text).len ? "…" : "");
    } else if (jpeek_i64(line, "dataBytes") > 0) {
        printf("  (%lld bytes)", (long long)jpeek_i64(line, "dataBytes"));
    }
}

static void print_event(const json_t *line)
{
    printf("%s  %s  %s  %s  %s", jpeek_cstr(line, "time"), jpeek_cstr(line, "id"),
           jpeek_cstr(line, "event.type"), jpeek_cstr(line, "event.source"),
           jpeek_cstr(line, "event.id"));
    if (jpeek_cstr(line, "event.subject")[0] != '\0') {
        printf("  %s", jpeek_cstr(line, "event.subject"));
    }
    print_data(line);
    if (jpeek_cstr(line, "only")[0] != '\0') {
        printf("  (again, for trigger %s)", jpeek_cstr(line, "only"));
    }
    puts("");
}

static void take_line(struct tail *t, struct slice text)
{
    CLEANUP(jfree) json_t *line = NULL;
    if (slice_empty(slice_trim(text)) || jparse_object(text, LINE_MAX_BYTES, &line, NULL) < 0 ||
        t->stop) {
        return;
    }
    bool is_event = jpeek_obj(line, "event") != NULL;
    if (t->o->common.output == CLI_JSON) {
        printf("%.*s\n", SLICE_FMT(text));
    } else if (is_event) {
        print_event(line);
    } else if (jpeek_i64(line, "passedOver") > 0) {
        fprintf(stderr, "lull: %lld events came too fast and were passed over\n",
                (long long)jpeek_i64(line, "passedOver"));
    } else {
        fprintf(stderr, "lull: %s\n", jpeek_cstr(line, "trouble"));
    }
    fflush(stdout);
    if (is_event) {
        free(t->last);
        t->last = xstrdup(jpeek_cstr(line, "id"));
        t->stop = t->left > 0 && --t->left == 0;
    }
}

static bool on_data(void *arg, struct slice data)
{
    struct tail *t = arg;
    struct slice rest = data;
    t->heard = true;
    for (ptrdiff_t end; !t->stop && (end = slice_find(rest, '\n')) >= 0;) {
        (void)strbuf_append_slice(&t->line, slice_sub(rest, 0, (size_t)end));
        rest = slice_sub(rest, (size_t)end + 1, rest.len);
        if (strbuf_ok(&t->line)) {
            take_line(t, strbuf_slice(&t->line));
        }
        strbuf_clear(&t->line);
    }
    (void)strbuf_append_slice(&t->line, rest);
    return !t->stop;
}

static int watch(struct cli *cli, struct tail *t, const char *since, const char *filters,
                 struct error *err)
{
    int rc = 0;
    for (int tries = 0; !t->stop; tries++) {
        CLEANUP(strbuf_fini) struct strbuf path;
        events_path(cli, "tail", &path);
        events_path_add(&path, "broker", t->o->broker);
        events_path_add(&path, t->last != NULL ? "after" : "since",
                        t->last != NULL ? t->last : since);
        events_path_add(&path, "filters", filters);
        strbuf_clear(&t->line);
        bool before = t->heard;
        t->heard = false;
        rc = part_stream(cli, "broker", path.ptr, on_data, t, err);
        if (t->stop) {
            return 0;
        }
        tries = t->heard ? 0 : tries;
        t->heard = t->heard || before;
        rc = rc < 0 ? events_explain(cli, rc, err) : rc;
        if (tries >= (t->heard ? TRIES : rc == ERR_UNAVAILABLE ? TRIES_FIRST : 0)) {
            break;
        }
        if (tries == 0 && t->heard) {
            fprintf(stderr, "lull: lull-broker has gone, trying again\n");
        } else if (tries == 0) {
            fprintf(stderr, "lull: %s; trying again\n", err->msg);
        }
        cli_pause(cli, AGAIN_MS);
    }
    return rc < 0 ? rc : error_set(err, ERR_UNAVAILABLE, "lull-broker has gone");
}

int event_tail(struct cli *cli, const struct event_options *o, struct error *err)
{
    struct tail t = {.o = o, .left = o->count > 0 ? o->count : -1};
    CLEANUP(jfree) json_t *filters = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    char since[EVENTS_ID_MAX] = "";
    int rc = filter_args_json(&o->filters, &filters, err);
    rc = rc || !o->since ? rc : events_since("--since", o->since, since, err);
    if (rc < 0) {
        return rc;
    }
    text = filters != NULL ? jdump_str(filters) : NULL;
    strbuf_init(&t.line, LINE_MAX_BYTES);
    rc = watch(cli, &t, since, text, err);
    strbuf_fini(&t.line);
    free(t.last);
    return rc;
}
