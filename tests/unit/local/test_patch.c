// SPDX-License-Identifier: Apache-2.0
/* The patch formats, and patches that would grow without bound. */
#include <stdlib.h>

#include "local/api/call.h"
#include "test.h"

#define MERGE     "application/merge-patch+json"
#define JSONPATCH "application/json-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"

static void formats(void **state)
{
    static const struct {
        const char *type, *target, *patch, *want;
        int code;
    } cases[] = {
        {MERGE, "{\"a\":1,\"b\":{\"c\":2}}", "{\"a\":null,\"b\":{\"d\":3}}",
         "{\"b\":{\"c\":2,\"d\":3}}", 0},
        {MERGE "; charset=utf-8", "{}", "{\"a\":1}", "{\"a\":1}", 0},
        {MERGE, "{}", "[]", NULL, ERR_PROTOCOL},
        {"text/plain", "{}", "{}", NULL, ERR_UNSUPPORTED},
        {"application/apply-patch+yaml", "{}", "{}", NULL, ERR_UNSUPPORTED},
        {STRATEGIC, "{\"a\":1}", "{\"b\":{\"c\":1}}", "{\"a\":1,\"b\":{\"c\":1}}", 0},
        {STRATEGIC, "{\"b\":[2]}", "{\"b\":[1]}", "{\"b\":[1]}", 0},
        {STRATEGIC, "{\"b\":{\"x\":1}}", "{\"b\":{\"$patch\":\"replace\",\"y\":1}}",
         "{\"b\":{\"y\":1}}", 0},
        {JSONPATCH, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1]}]",
         "{\"a\":1,\"b\":[1]}", 0},
        {JSONPATCH, "{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]",
         "{\"a\":[1,2,3]}", 0},
        {JSONPATCH, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]",
         "{\"a\":[1,2]}", 0},
        {JSONPATCH, "{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/0\",\"value\":2}]",
         "{\"a\":[2]}", 0},
        {JSONPATCH, "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{}", 0},
        {JSONPATCH, "{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"b\":1}",
         0},
        {JSONPATCH, "{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]",
         "{\"a\":1,\"b\":1}", 0},
        {JSONPATCH, "{\"a~/\":1}", "[{\"op\":\"test\",\"path\":\"/a~0~1\",\"value\":1}]",
         "{\"a~/\":1}", 0},
        {JSONPATCH, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL,
         ERR_INVALID},
        {JSONPATCH, "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, ERR_INVALID},
        {JSONPATCH, "{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}", 0},
        {JSONPATCH, "{}", "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":1}]", NULL,
         ERR_INVALID},
        {JSONPATCH, "{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{}", 0},
        {JSONPATCH, "{\"a\":[]}", "[{\"op\":\"add\",\"path\":\"/a/7\",\"value\":1}]", NULL,
         ERR_INVALID},
        {JSONPATCH, "{}", "[{\"op\":\"dance\",\"path\":\"/a\",\"value\":1}]", NULL, ERR_INVALID},
        {JSONPATCH, "{}", "[7]", NULL, ERR_INVALID},
        {JSONPATCH, "{}", "{}", NULL, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *target = json_loads(cases[i].target, 0, NULL);
        json_t *patch = json_loads(cases[i].patch, 0, NULL);
        json_t *out = NULL;
        struct error err = {0};
        int rc = patch_apply(KIND_CONFIGMAP, slice_str(cases[i].type), target, patch, &out, &err);
        if (rc != cases[i].code) {
            fail_msg("%s on %s: got %s (%s)", cases[i].patch, cases[i].target, error_name(rc),
                     err.msg);
        }
        if (rc == 0) {
            char *got = json_dumps(out, JSON_COMPACT);
            assert_string_equal(got, cases[i].want);
            free(got);
        }
        json_decref(out);
        json_decref(patch);
        json_decref(target);
    }
}

/* Copying a value into itself doubles it each time, or nests it each time. */
static void patches_that_grow(void **state)
{
    static const char *const operations[] = {
        "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/x\"}",
        "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        json_t *target = json_loads("{\"a\":[1,2,3]}", 0, NULL);
        json_t *patch = json_array(), *out = NULL;
        for (int n = 0; n < 5000; n++) {
            json_array_append_new(patch, json_loads(operations[i], 0, NULL));
        }
        struct error err;
        ASSERT_ERR(ERR_INVALID,
                   patch_apply(KIND_CONFIGMAP, SLICE_LIT(JSONPATCH), target, patch, &out, &err));
        ASSERT_MSG("too big or too deep");
        json_decref(patch);
        json_decref(target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats),
                                       cmocka_unit_test(patches_that_grow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
