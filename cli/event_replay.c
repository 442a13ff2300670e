// SPDX-License-Identifier: Apache-2.0
//
// lull event replay: what a Broker still has goes to one Trigger again, page by page; each page is
// written at once by lull-broker, which leaves out what the Trigger has still to do. Failure modes:
// it goes away in the middle: what was written until then is told; asked again nothing comes twice
// that is not done yet.
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/event_cmd.h"
#include "cli/events_ask.h"

struct replay {
    const struct event_options *o;
    char since[EVENTS_ID_MAX], until[EVENTS_ID_MAX], after[EVENTS_ID_MAX];
    char *filters; // NULL: none
    int64_t looked, matched, written, has, gone, kept;
    char *oldest;
};

static int page(struct cli *cli, struct replay *r, bool *more, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    CLEANUP(jfree) json_t *answer = NULL;
    events_path(cli, "replay", &path);
    events_path_add(&path, "trigger", r->o->trigger);
    events_path_add(&path, "since", r->since);
    events_path_add(&path, "until", r->until);
    events_path_add(&path, "after", r->after);
    events_path_add(&path, "filters", r->filters);
    events_path_add(&path, "dry", r->o->dry_run ? "1" : NULL);
    int rc = events_call(cli, "PUT", &path, &answer, err);
    if (rc < 0) {
        return rc;
    }
    r->looked += jpeek_i64(answer, "looked");
    r->matched += jpeek_i64(answer, "matched");
    r->written += jpeek_i64(answer, "written");
    r->has += jpeek_i64(answer, "has");
    r->gone += jpeek_i64(answer, "gone");
    if (r->oldest == NULL) {
        r->kept = jpeek_i64(answer, "kept");
        r->oldest = xstrdup(jpeek_cstr(answer, "oldest"));
    }
    snprintf(r->until, sizeof r->until, "%s", jpeek_cstr(answer, "until"));
    snprintf(r->after, sizeof r->after, "%s", jpeek_cstr(answer, "after"));
    *more = jpeek_bool(answer, "more");
    return 0;
}

static void tell(const struct replay *r)
{
    const char *trigger = r->o->trigger;
    if (r->o->common.output == CLI_JSON) {
        CLEANUP(jfree)
        json_t *answer = json_pack(
            "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "trigger", trigger, "dryRun",
            (int)r->o->dry_run, "looked", (json_int_t)r->looked, "matched", (json_int_t)r->matched,
            "written", (json_int_t)r->written, "has", (json_int_t)r->has, "gone",
            (json_int_t)r->gone, "kept", (json_int_t)r->kept, "oldest", r->oldest ? r->oldest : "");
        cli_print_json(answer);
        return;
    }
    long long n = (long long)(r->o->dry_run ? r->matched : r->written);
    printf("%lld %s to trigger %s again\n", n,
           r->o->dry_run ? (n == 1 ? "event would go" : "events would go")
           : n == 1      ? "event goes"
                         : "events go",
           trigger);
    if (r->has > 0) {
        printf("  %lld more it has still to do\n", (long long)r->has);
    }
    if (r->gone > 0) {
        printf("  %lld went from the broker meanwhile\n", (long long)r->gone);
    }
    printf("  looked at %lld; the broker has %lld%s%s\n", (long long)r->looked, (long long)r->kept,
           r->oldest && r->oldest[0] ? ", back to " : "", r->oldest ? r->oldest : "");
}

// It is there, and its Broker is the one that was named.
static int check(struct cli *cli, const struct event_options *o, struct error *err)
{
    CLEANUP(jfree) json_t *trigger = NULL;
    int rc = cli_get(cli, KIND_TRIGGER, o->trigger, &trigger, err);
    if (rc == 0 && o->broker && !slice_eq_str(jpeek_str(trigger, "spec.broker"), o->broker)) {
        return error_set(err, ERR_INVALID, "trigger %s is one of broker %s, not of %s", o->trigger,
                         jpeek_cstr(trigger, "spec.broker"), o->broker);
    }
    return rc;
}

int event_replay(struct cli *cli, const struct event_options *o, struct error *err)
{
    struct replay r = {.o = o};
    CLEANUP(jfree) json_t *filters = NULL;
    bool more = true;
    int rc = filter_args_json(&o->filters, &filters, err);
    rc = rc ? rc : events_since("--since", o->since, r.since, err);
    rc = rc || !o->until ? rc : events_since("--until", o->until, r.until, err);
    if (rc == 0 && o->until && strtoull(r.until, NULL, 10) < strtoull(r.since, NULL, 10)) {
        rc = error_set(err, ERR_INVALID, "--until %s is before --since %s", o->until, o->since);
    }
    rc = rc ? rc : check(cli, o, err);
    if (rc < 0) {
        return rc;
    }
    r.filters = filters != NULL ? jdump_str(filters) : NULL;
    while (rc == 0 && more) {
        rc = page(cli, &r, &more, err);
    }
    if (rc == 0 || r.written > 0) {
        tell(&r);
    }
    free(r.filters);
    free(r.oldest);
    return rc;
}
