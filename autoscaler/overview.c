// SPDX-License-Identifier: Apache-2.0
/* Happy path: a walk over the revisions. Failure mode: none, but a name that is no UTF-8 is left
 * out. */
#include "autoscaler/overview.h"

static json_t *revision_json(const struct revision *rev, int64_t second)
{
    json_t *one =
        json_pack("{s:s,s:s,s:i,s:f,s:f,s:b}", "namespace", rev->ns, "name", rev->name, "ready",
                  rev->ready, "concurrency", window_average(&rev->concurrency_panic, second), "rps",
                  window_average(&rev->rps_panic, second), "panicMode", rev->last.panicking);
    if (one != NULL && rev->want >= 0) {
        json_object_set_new(one, "wanted", json_integer(rev->want));
    }
    if (one != NULL && rev->spec.metric == SCALING_BACKLOG && rev->backlog >= 0) {
        json_object_set_new(one, "backlog", json_real(rev->backlog));
    }
    return one;
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
    return json_pack("{s:o}", "revisions", list);
}
