// SPDX-License-Identifier: Apache-2.0
/* Happy path: a walk over the revisions. Failure mode: none, but a name that is no UTF-8 is left
 * out. */
#include "autoscaler/overview.h"

#include "base/mem.h"

#define OVERVIEW_EVENTS_MAX 20000 /* of what has more than that the rest is left out */

static json_t *revision_json(const struct revision *rev, int64_t second)
{
    json_t *one =
        json_pack("{s:s,s:s,s:i,s:f,s:f,s:b}", "namespace", rev->ns, "name", rev->name, "ready",
                  rev->ready, "concurrency", window_average(&rev->concurrency_panic, second), "rps",
                  window_average(&rev->rps_panic, second), "panicMode", rev->last.panicking);
    if (one != NULL && rev->want >= 0) {
        json_object_set_new(one, "wanted", json_integer(rev->want));
    }
    return one;
}

static void add_events(void *arg, struct slice key, double waiting)
{
    json_t *events = arg;
    CLEANUP(cleanup_free) char *name = slice_dup(key);
    if (json_object_size(events) < OVERVIEW_EVENTS_MAX &&
        waiting > json_number_value(json_object_get(events, name))) {
        json_object_set_new(events, name, json_real(waiting));
    }
}

json_t *overview_json(const struct engine *e, uint64_t now_ms)
{
    json_t *list = json_array();
    map_foreach (it, &e->revisions) {
        const struct revision *rev = it.value;
        if (rev->has_pa) {
            json_array_append_new(list, revision_json(rev, (int64_t)(now_ms / 1000)));
        }
    }
    json_t *events = json_object();
    if (!backlogs_each(&e->backlogs, now_ms, add_events, events)) {
        json_decref(events);
        events = NULL;
    }
    return json_pack("{s:o,s:o*}", "revisions", list, "events", events);
}
