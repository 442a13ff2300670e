// SPDX-License-Identifier: Apache-2.0
/* Conditions. Nothing can fail but the memory. */
#include "controller/conditions.h"

#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jget.h"

enum { CONDITIONS_MAX = 8 };

static const json_t *condition_find(const json_t *object, const char *type)
{
    return jpeek_row(object, "status.conditions", "type", slice_str(type));
}

struct condition condition_get(const json_t *object, const char *type)
{
    const json_t *item = condition_find(object, type);
    return (struct condition){
        .type = type,
        .status = jpeek_cstr(item, "status"),
        .reason = jpeek_cstr(item, "reason"),
        .message = jpeek_cstr(item, "message"),
    };
}

bool condition_is(const json_t *object, const char *type, const char *status)
{
    return strcmp(condition_get(object, type).status, status) == 0;
}

bool condition_observed(const json_t *object)
{
    return object != NULL && jpeek_i64(object, "status.observedGeneration") ==
                                 jpeek_i64(object, "metadata.generation");
}

bool object_is_ready(const json_t *object)
{
    return condition_observed(object) && condition_is(object, "Ready", STATUS_TRUE);
}

/* Of what stands in the way, how much it says: what has failed, what has a reason, the rest. */
static int weight(const struct condition *c)
{
    return strcmp(c->status, STATUS_FALSE) == 0 ? 3 : c->reason[0] != '\0' ? 2 : 1;
}

struct condition conditions_ready(const struct condition *list, size_t count)
{
    const struct condition *worst = NULL;
    for (size_t i = 0; i < count; i++) {
        if (list[i].info || strcmp(list[i].status, STATUS_TRUE) == 0) {
            continue;
        }
        if (worst == NULL || weight(&list[i]) > weight(worst)) {
            worst = &list[i];
        }
    }
    if (worst == NULL) {
        return (struct condition){"Ready", STATUS_TRUE, "", "", false};
    }
    return (struct condition){"Ready", worst->status, worst->reason, worst->message, false};
}

static json_t *condition_json(const struct condition *c, const json_t *object, const char *now)
{
    const json_t *old = condition_find(object, c->type);
    const char *since = jpeek_cstr(old, "lastTransitionTime");
    bool same = slice_eq_str(jpeek_str(old, "status"), c->status) && since[0] != '\0';
    json_t *out =
        json_pack("{s:s,s:s,s:s,s:s*,s:s*}", "type", c->type, "status", c->status,
                  "lastTransitionTime", same ? since : now, "reason",
                  c->reason[0] == '\0' ? NULL : c->reason, "severity", c->info ? "Info" : NULL);
    if (c->message[0] != '\0') { /* may quote a function's output */
        json_object_set_new(out, "message", jstring_lossy(slice_str(c->message)));
    }
    return out;
}

static bool given(const struct condition *list, size_t count, const char *type)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].type, type) == 0) {
            return true;
        }
    }
    return false;
}

json_t *conditions_build(const struct condition *list, size_t count, const json_t *object,
                         const char *now)
{
    struct condition all[CONDITIONS_MAX];
    REQUIRE(count < CONDITIONS_MAX);
    memcpy(all, list, count * sizeof(*list));
    if (!given(list, count, "Ready")) {
        all[count] = conditions_ready(list, count);
        count++;
    }
    for (size_t i = 1; i < count; i++) { /* a handful: insertion keeps them by type */
        struct condition c = all[i];
        size_t j = i;
        for (; j > 0 && strcmp(all[j - 1].type, c.type) > 0; j--) {
            all[j] = all[j - 1];
        }
        all[j] = c;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(out, condition_json(&all[i], object, now));
    }
    return out;
}
