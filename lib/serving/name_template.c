// SPDX-License-Identifier: Apache-2.0
/* Happy path: text is copied, each action is replaced. Failure mode: an unknown action, found by
 * the check. */
#include "serving/name_template.h"

#include "base/mem.h"
#include "json/jget.h"

/* The next action in *rest: the text before it and what stands in its braces. 0: there is none,
 * 1: one, -1: it does not end. */
static int next_action(struct slice *rest, struct slice *before, struct slice *action)
{
    for (size_t i = 0; i + 1 < rest->len; i++) {
        if (rest->ptr[i] != '{' || rest->ptr[i + 1] != '{') {
            continue;
        }
        for (size_t j = i + 2; j + 1 < rest->len; j++) {
            if (rest->ptr[j] == '}' && rest->ptr[j + 1] == '}') {
                *before = slice_sub(*rest, 0, i);
                *action = slice_trim(slice_sub(*rest, i + 2, j - i - 2));
                *rest = slice_sub(*rest, j + 2, rest->len);
                return 1;
            }
        }
        return -1;
    }
    return 0;
}

static const struct {
    const char *text;
    const char *key;
    bool map;
} actions[] = {
    {".Name", "name", false},
    {".Namespace", "namespace", false},
    {".GenerateName", "generateName", false},
    {".Labels.", "labels", true},
    {".Annotations.", "annotations", true},
};

/* Which of the actions, with the key of a map; -1: none. */
static int which(struct slice action, struct slice *out_key)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        struct slice text = slice_str(actions[i].text);
        if (actions[i].map ? slice_starts_with(action, text) && action.len > text.len
                           : slice_eq(action, text)) {
            *out_key = slice_sub(action, text.len, action.len);
            return (int)i;
        }
    }
    return -1;
}

int name_template_check(struct slice text, struct error *err)
{
    struct slice before;
    struct slice action;
    struct slice key;
    int found;
    while ((found = next_action(&text, &before, &action)) > 0) {
        if (which(action, &key) < 0) {
            return error_set(err, ERR_INVALID,
                             "{{%.*s}} is not known; there are {{.Name}}, {{.Namespace}}, "
                             "{{.GenerateName}}, {{.Labels.KEY}} and {{.Annotations.KEY}}",
                             (int)(action.len > 60 ? 60 : action.len), action.ptr);
        }
    }
    return found == 0 ? 0 : error_set(err, ERR_INVALID, "a {{ that has no }}");
}

void name_template_print(struct slice text, const json_t *metadata, struct strbuf *out)
{
    struct slice before;
    struct slice action;
    struct slice key;
    while (next_action(&text, &before, &action) > 0) {
        strbuf_append_slice(out, before);
        int i = which(action, &key);
        if (i >= 0 && actions[i].map) {
            CLEANUP(cleanup_free) char *name = slice_dup(key);
            const char *value =
                json_string_value(json_object_get(json_object_get(metadata, actions[i].key), name));
            strbuf_append_str(out, value == NULL ? "<no value>" : value);
        } else if (i >= 0) {
            strbuf_append_slice(out, jpeek_str(metadata, actions[i].key));
        }
    }
    strbuf_append_slice(out, text);
}
