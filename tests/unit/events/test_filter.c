// SPDX-License-Identifier: Apache-2.0
//
// Filters of Triggers: what they take, and what is refused when they are made.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jparse.h"
#include "events/filter.h"
#include "test.h"

#define EVENT                                                                                    \
    "specversion=1.0\nid=42\nsource=/shop/berlin\ntype=order.made\nsubject=7\n"                  \
    "time=2026-01-31T12:00:00.500+02:00\ndatacontenttype=application/json\ncolor=red\nsize#12\n" \
    "empty=\n"

static int compile(const char *spec, struct filter **out, struct error *err)
{
    json_t *json = json_loads(spec, 0, NULL);
    assert_non_null(json);
    int rc = filter_compile(json, out, err);
    json_decref(json);
    return rc;
}

static bool match(const char *spec, const char *packed)
{
    struct error err;
    struct filter *f;
    struct event ev;
    ASSERT_OK(compile(spec, &f, &err));
    ASSERT_OK(event_unpack(slice_str(packed), SLICE_EMPTY, &ev, &err));
    bool matched = filter_match(f, &ev);
    event_fini(&ev);
    filter_free(f);
    return matched;
}

static void test_match(void **state)
{
    static const struct {
        const char *spec;
        bool want;
    } rows[] = {
        {"{}", true},
        {"{\"filter\":{}}", true},
        {"{\"filter\":null,\"filters\":null}", true},
        {"{\"filter\":{\"attributes\":{}},\"filters\":[]}", true},
        {"{\"filter\":{\"attributes\":{\"type\":\"order.made\"}}}", true},
        {"{\"filter\":{\"attributes\":{\"type\":\"order.made\",\"color\":\"red\"}}}", true},
        {"{\"filter\":{\"attributes\":{\"type\":\"order.made\",\"color\":\"blue\"}}}", false},
        {"{\"filter\":{\"attributes\":{\"type\":\"Order.made\"}}}", false},
        {"{\"filter\":{\"attributes\":{\"type\":\"\"}}}", true},
        {"{\"filter\":{\"attributes\":{\"color\":\"\"}}}", true},
        {"{\"filter\":{\"attributes\":{\"weight\":\"\"}}}", false},
        {"{\"filter\":{\"attributes\":{\"dataschema\":\"\"}}}", false},
        {"{\"filter\":{\"attributes\":{\"type\":\"x\"}},\"filters\":[{\"exact\":{\"id\":\"42\"}}]}",
         true},
        {"{\"filters\":[{\"exact\":{\"size\":\"12\"}}]}", true},
        {"{\"filters\":[{\"exact\":{\"empty\":\"\"}}]}", true},
        {"{\"filters\":[{\"exact\":{\"color\":\"\"}}]}", false},
        {"{\"filters\":[{\"exact\":{\"time\":\"2026-01-31T10:00:00.5Z\"}}]}", true},
        {"{\"filters\":[{\"exact\":{\"time\":\"2026-01-31T11:00:00.50+01:00\"}}]}", true},
        {"{\"filters\":[{\"exact\":{\"time\":\"2026-01-31T12:00:00.500Z\"}}]}", false},
        {"{\"filters\":[{\"prefix\":{\"time\":\"2026-01-31T10:\"}}]}", true},
        {"{\"filters\":[{\"prefix\":{\"source\":\"/shop/\"}}]}", true},
        {"{\"filters\":[{\"prefix\":{\"source\":\"/shop/berlin/\"}}]}", false},
        {"{\"filters\":[{\"prefix\":{\"source\":\"/shop/\",\"color\":\"re\"}}]}", true},
        {"{\"filters\":[{\"prefix\":{\"source\":\"/shop/\",\"color\":\"x\"}}]}", false},
        {"{\"filters\":[{\"suffix\":{\"type\":\".made\"}}]}", true},
        {"{\"filters\":[{\"suffix\":{\"type\":\"made.\"}}]}", false},
        {"{\"filters\":[{\"prefix\":{\"weight\":\"1\"}}]}", false},
        {"{\"filters\":[{\"not\":{\"prefix\":{\"weight\":\"1\"}}}]}", true},
        {"{\"filters\":[{\"not\":{\"not\":{\"exact\":{\"id\":\"42\"}}}}]}", true},
        {"{\"filters\":[{\"exact\":{\"id\":\"42\"}},{\"exact\":{\"type\":\"x\"}}]}", false},
        {"{\"filters\":[{\"any\":[{\"exact\":{\"id\":\"1\"}},{\"suffix\":{\"type\":\"made\"}}]}]}",
         true},
        {"{\"filters\":[{\"any\":[{\"exact\":{\"id\":\"1\"}},{\"suffix\":{\"type\":\"x\"}}]}]}",
         false},
        {"{\"filters\":[{\"all\":[{\"exact\":{\"id\":\"42\"}},{\"any\":[{\"exact\":{\"id\":\"1\"}},"
         "{\"not\":{\"exact\":{\"id\":\"2\"}}}]}]}]}",
         true},
        {"{\"filters\":[{\"all\":[]}]}", true},
        {"{\"filters\":[{\"any\":[]}]}", true},
        {"{\"filters\":[{}]}", true},
        {"{\"filters\":[{\"exact\":{}}]}", true},
        {"{\"filters\":[{\"cesql\":\"\"}]}", true},
        {"{\"filters\":[{\"any\":[{},{\"exact\":{\"id\":\"1\"}}]}]}", false},
        {"{\"filters\":[{\"any\":[{}]}]}", true},
        {"{\"filters\":[{\"not\":{}}]}", false},
        {"{\"filters\":[{\"not\":null}]}", true},
        {"{\"filters\":[{\"exact\":{\"id\":\"42\"},\"prefix\":null}]}", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (match(rows[i].spec, EVENT) != rows[i].want) {
            fail_msg("%s: want %d", rows[i].spec, rows[i].want);
        }
    }
}

static void test_refused(void **state)
{
    static const char *const rows[][2] = {
        {"{\"filters\":{}}", "filters: must be a list"},
        {"{\"filters\":[5]}", "filters[0]: must be an object"},
        {"{\"filters\":[{\"exact\":{\"id\":\"1\"}},{\"regex\":{}}]}",
         "filters[1]: unknown dialect \"regex\""},
        {"{\"filters\":[{\"exact\":{\"id\":\"1\"},\"not\":{}}]}", "filters[0]: only one dialect"},
        {"{\"filters\":[{\"exact\":[1]}]}", "filters[0].exact: must be a map"},
        {"{\"filters\":[{\"exact\":{\"id\":5}}]}",
         "filters[0].exact.id: must be a string, is a whole number"},
        {"{\"filters\":[{\"exact\":{\"Id\":\"5\"}}]}", "filters[0].exact: Id: an attribute's name"},
        {"{\"filters\":[{\"prefix\":{\"data\":\"5\"}}]}", "data is not an attribute"},
        {"{\"filters\":[{\"all\":[{\"any\":[{\"not\":{\"suffix\":5}}]}]}]}",
         "filters[0].all[0].any[0].not.suffix: must be"},
        {"{\"filters\":[{\"not\":[1]}]}", "filters[0].not: must be an object"},
        {"{\"filters\":[{\"cesql\":5}]}", "filters[0].cesql: must be a string"},
        {"{\"filter\":{\"attributes\":[]}}", "filter.attributes: must be a map"},
        {"{\"filter\":{\"attributes\":{\"id\":null}}}", "filter.attributes.id: must be a string"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct filter *f;
        ASSERT_ERR(ERR_INVALID, compile(rows[i][0], &f, &err));
        ASSERT_MSG(rows[i][1]);
    }
}

static json_t *nested(int depth)
{
    json_t *entry = json_pack("{s:{s:s}}", "exact", "id", "42");
    for (int i = 0; i < depth; i++) {
        entry = json_pack("{s:o}", "not", entry);
    }
    return json_pack("{s:[o]}", "filters", entry);
}

static void test_bounds(void **state)
{
    struct error err;
    struct filter *f;
    json_t *deep = nested(FILTER_DEPTH_MAX);
    ASSERT_OK(filter_compile(deep, &f, &err));
    filter_free(f);
    json_decref(deep);
    deep = nested(FILTER_DEPTH_MAX + 1);
    ASSERT_ERR(ERR_TOO_BIG, filter_compile(deep, &f, &err));
    json_decref(deep);

    json_t *list = json_array();
    for (int i = 0; i < FILTER_NODES_MAX; i++) {
        json_array_append_new(list, json_pack("{s:{s:s}}", "exact", "id", "42"));
    }
    json_t *spec = json_pack("{s:o}", "filters", list);
    ASSERT_ERR(ERR_TOO_BIG, filter_compile(spec, &f, &err));
    json_decref(spec);

    char *large = xmalloc(FILTER_BYTES_MAX + 1);
    memset(large, 'a', FILTER_BYTES_MAX + 1);
    spec = json_pack("{s:[{s:{s:s#}}]}", "filters", "exact", "id", large, FILTER_BYTES_MAX + 1);
    ASSERT_ERR(ERR_TOO_BIG, filter_compile(spec, &f, &err));
    json_decref(spec);
    free(large);
    filter_free(NULL);
}

static void test_needs(void **state)
{
    static const struct {
        const char *spec;
        const char *type; /* NULL: any */
        bool all;
    } rows[] = {
        {"{}", NULL, true},
        {"{\"filter\":{\"attributes\":{\"type\":\"a\",\"id\":\"1\"}}}", "a", false},
        {"{\"filter\":{\"attributes\":{\"type\":\"\"}}}", NULL, false},
        {"{\"filters\":[{\"exact\":{\"id\":\"1\"}},{\"exact\":{\"type\":\"a\"}}]}", "a", false},
        {"{\"filters\":[{\"all\":[{\"exact\":{\"type\":\"a\"}}]}]}", "a", false},
        {"{\"filters\":[{\"any\":[{\"exact\":{\"type\":\"a\"}}]}]}", "a", false},
        {"{\"filters\":[{\"any\":[{\"exact\":{\"type\":\"a\"}},{\"exact\":{\"id\":\"a\"}}]}]}",
         NULL, false},
        {"{\"filters\":[{\"not\":{\"exact\":{\"type\":\"a\"}}}]}", NULL, false},
        {"{\"filters\":[{\"prefix\":{\"type\":\"a\"}}]}", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct filter *f;
        struct slice value;
        ASSERT_OK(compile(rows[i].spec, &f, &err));
        bool found = filter_needs(f, EVENT_TYPE, &value);
        if (found != (rows[i].type != NULL) || filter_takes_all(f) != rows[i].all) {
            fail_msg("%s", rows[i].spec);
        }
        if (found) {
            ASSERT_SLICE(value, rows[i].type);
        }
        filter_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
