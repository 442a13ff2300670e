// SPDX-License-Identifier: Apache-2.0
// Input: one letter that says what follows: a path, two selectors, a protobuf body, a patch and its
// target, or an object. What the store accepts must read back the same, and an update with what is
// there must change nothing.

#include "json/jedit.h"
#include "json/jparse.h"
#include "fuzz.h"
#include "local/api/call.h"
#include "local/api/protobuf.h"
#include "local/store/object.h"
#include "local/store/rules.h"
#include "local/store/selector.h"
#include "local/store/small.h"

#define TEXT_MAX (64u * 1024)

static const struct store_kind kind = {.resource = "pods",
                                       .api_version = "v1",
                                       .kind = "Pod",
                                       .namespaced = true,
                                       .status = true,
                                       .generation = true,
                                       .fields = {"status.phase", "spec.nodeName"}};

static void object(json_t *body)
{
    struct error err;
    json_t *root = NULL;
    if (rules_create(&kind, "default", body, 0, &root, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return;
    }
    rules_set_version(root, 4711);
    struct object *made = NULL, *loaded = NULL;
    if (object_make(&kind, root, TEXT_MAX * 8, &made, &err) == 0) {
        MUST_HOLD(made->version == 4711);
        struct small_kind small = {0};
        struct object_room room = {0};
        MUST_HOLD(object_load(&kind, object_json(made, NULL), &loaded, &err) == 0);
        MUST_HOLD(loaded->version == 4711 && strcmp(loaded->name, made->name) == 0);
        small_pack(&small, loaded);
        MUST_HOLD(slice_eq(object_json(loaded, &room), object_json(made, NULL)));
        json_t *old = object_parse(made), *out = NULL;
        bool changed = true;
        MUST_HOLD(rules_update(&kind, old, STORE_SUB_NONE, old, &out, &changed, &err) == 0);
        MUST_HOLD(!changed);
        json_decref(old);
        object_unref(loaded);
        object_unref(made);
        object_room_fini(&room);
        small_kind_fini(&small);
    }
    json_decref(root);
}

static void patch(struct slice target_text, struct slice patch_text)
{
    CLEANUP(jfree) json_t *target = NULL;
    CLEANUP(jfree) json_t *change = NULL;
    CLEANUP(jfree) json_t *out = NULL;
    struct error err;
    if (jparse(target_text, TEXT_MAX, &target, &err) == 0 &&
        jparse(patch_text, TEXT_MAX, &change, &err) == 0 && json_is_object(target)) {
        struct slice type = json_is_array(change) ? SLICE_LIT("application/json-patch+json")
                                                  : SLICE_LIT("application/merge-patch+json");
        if (patch_apply(KIND_POD, type, target, change, &out, &err) == 0) {
            MUST_HOLD(out != NULL);
        }
    }
}

static void selectors(const char *labels, const char *fields)
{
    struct selector s;
    struct error err;
    if (selector_init(&s, &kind, labels, fields, &err) == 0) {
        selector_fini(&s);
    } else {
        MUST_HOLD(err.msg[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > TEXT_MAX) {
        return 0;
    }
    char *text = malloc(size); // without the letter, with a NUL behind it
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    struct slice whole = {text, size - 1};
    size_t first = strlen(text);
    const char *rest = first < size - 1 ? text + first + 1 : text + first;
    struct slice second = {rest, (size_t)(text + size - 1 - rest)};
    CLEANUP(jfree) json_t *tree = NULL;
    struct error err;
    struct route route;
    switch (data[0]) {
    case 'r':
        route_parse(whole, &route);
        MUST_HOLD(route.what < ROUTE_COLLECTION || route.kind != NULL);
        break;
    case 's':
        selectors(text, rest);
        break;
    case 'p':
        if (protobuf_read(whole, &tree, &err) == 0) {
            object(tree);
        }
        break;
    case 'j':
        patch(slice_of(text, first), second);
        break;
    default:
        if (jparse(whole, TEXT_MAX, &tree, &err) == 0) {
            object(tree);
        }
        break;
    }
    free(text);
    return 0;
}
