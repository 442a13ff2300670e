// SPDX-License-Identifier: Apache-2.0
/* Plan. One walk over the store, which reads of each object its target only. */
#include "local/hpa/rivals.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jget.h"

static bool on_listed(struct object *object, void *arg)
{
    static const char *const members[] = {"spec.scaleTargetRef"};
    json_t *all = arg, *hpa = object_only(object, members, ARRAY_LEN(members));
    CLEANUP(cleanup_free)
    char *target = xasprintf("%s/%s/%s", object->ns, jpeek_cstr(hpa, "spec.scaleTargetRef.kind"),
                             jpeek_cstr(hpa, "spec.scaleTargetRef.name"));
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", object->ns, object->name);
    json_t *rivals = json_object_get(all, target);
    if (rivals == NULL) {
        rivals = json_array();
        REQUIRE(json_object_set_new(all, target, rivals) == 0);
    }
    REQUIRE(json_array_append_new(rivals, json_string(key)) == 0);
    json_decref(hpa);
    return true;
}

json_t *hpa_rivals(struct store *store, struct error *err)
{
    json_t *all = json_object();
    if (store_list(store, &(struct store_selector){.resource = HPA_RESOURCE}, on_listed, all, err) <
        0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

bool hpa_rivals_say(const json_t *rivals, const char *ns, const struct hpa_spec *spec,
                    char text[ERROR_MSG_MAX])
{
    CLEANUP(cleanup_free)
    char *target = xasprintf("%s/%s/%s", ns, spec->target_kind, spec->target_name);
    const json_t *one, *all = json_object_get(rivals, target);
    size_t i;
    if (json_array_size(all) < 2) {
        return false;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, ERROR_MSG_MAX);
    (void)strbuf_appendf(&out, "pods of %.60s %.100s are controlled by multiple HPAs: [",
                         spec->target_kind, spec->target_name);
    json_array_foreach(all, i, one)
    {
        (void)strbuf_appendf(&out, "%s%.100s", i > 0 ? " " : "", json_string_value(one));
    }
    (void)strbuf_append_str(&out, "]");
    (void)slice_copy(slice_sub(strbuf_slice(&out), 0, ERROR_MSG_MAX - 1), text, ERROR_MSG_MAX);
    return true;
}
