// SPDX-License-Identifier: Apache-2.0
/* The cells of tables: paths, ages, computed ones. */
#include "json/jget.h"
#include "local/api/cells.h"
#include "test.h"

static void jsonpaths(void **state)
{
    json_t *root =
        json_loads("{\"a\":{\"b\":\"1\",\"x.y/z\":\"2\"},\"c\":[{\"type\":\"Ready\",\"s\":\"3\"},"
                   "{\"type\":\"Other\",\"s\":\"4\"}]}",
                   0, NULL);
    static const struct {
        const char *path, *want;
    } cases[] = {
        {".a.b", "1"},
        {".a['x\\.y/z']", "2"},
        {".c[?(@.type==\"Ready\")].s", "3"},
        {".c[?(@.type==\"Other\")].s", "4"},
        {".c[?(@.type==\"None\")].s", NULL},
        {".c[1].s", "4"},
        {".c[2].s", NULL},
        {".a[0].s", NULL},
        {".a.none", NULL},
        {".none.b", NULL},
        {".a.b.c", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = json_string_value(cells_at(root, cases[i].path));
        if (cases[i].want == NULL) {
            assert_null(got);
        } else {
            assert_string_equal(got, cases[i].want);
        }
    }
    json_decref(root);
}

static void ages(void **state)
{
    static const struct {
        int64_t seconds;
        const char *want;
    } cases[] = {
        {0, "0s"},         {119, "119s"},  {120, "2m"},       {125, "2m5s"},
        {600, "10m"},      {601, "10m"},   {10799, "179m"},   {10800, "3h"},
        {10860, "3h1m"},   {28800, "8h"},  {172799, "47h"},   {172800, "2d"},
        {176400, "2d1h"},  {691200, "8d"}, {63072000, "2y"},  {63158400, "2y1d"},
        {252288000, "8y"}, {-1, "0s"},     {-5, "<invalid>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[CELLS_AGE_MAX];
        assert_string_equal(cells_age(cases[i].seconds, buf, sizeof(buf)), cases[i].want);
    }
}

/* The cells of a row, joined by '|'. */
static void check_row(enum kind_id id, const char *object, const char *want)
{
    json_t *root = json_loads(object, 0, NULL);
    assert_non_null(root);
    struct strbuf out;
    strbuf_init(&out, 1 << 16);
    cells_row(kind_row(id), root, CELLS_NONE, 1700000060000000000, &out);
    assert_true(strbuf_ok(&out));
    assert_string_equal(out.ptr, want);
    json_decref(root);
    strbuf_fini(&out);
}

static void rows(void **state)
{
    check_row(KIND_POD,
              "{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2023-11-14T22:13:20Z\"},"
              "\"spec\":{\"containers\":[{},{}],\"nodeName\":\"n\"},\"status\":{\"phase\":"
              "\"Running\",\"podIP\":\"127.0.0.1\",\"containerStatuses\":[{\"ready\":true,"
              "\"restartCount\":2},{\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}",
              "{\"cells\":[\"p\",\"1/"
              "2\",\"CrashLoopBackOff\",\"2\",\"60s\",\"127.0.0.1\",\"n\",\"<none>\","
              "\"<none>\"]}");
    check_row(KIND_DEPLOYMENT,
              "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":3},\"status\":{"
              "\"readyReplicas\":1,\"updatedReplicas\":2}}",
              "{\"cells\":[\"d\",\"1/3\",2,null,\"<unknown>\",\"<none>\",\"<none>\",\"<none>\"]}");
    check_row(KIND_CONFIGMAP, "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"\",\"b\":\"\"}}",
              "{\"cells\":[\"c\",2,\"<unknown>\"]}");
}

static void every_kind_has_its_columns(void **state)
{
    json_t *empty = json_pack("{s:{s:s}}", "metadata", "name", "x");
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        struct strbuf out;
        strbuf_init(&out, 1 << 16);
        strbuf_append_str(&out, "{");
        cells_columns(kind, &out);
        strbuf_append_str(&out, ",\"row\":");
        cells_row(kind, empty, CELLS_OBJECT, 0, &out);
        strbuf_append_str(&out, "}");
        json_t *table = json_loads(out.ptr, 0, NULL);
        assert_non_null(table);
        /* Events have their name among their own columns. */
        size_t columns = kind->n_columns + (kind->id == KIND_EVENT ? 0 : 1);
        assert_int_equal(json_array_size(json_object_get(table, "columnDefinitions")), columns);
        assert_int_equal(json_array_size(jget(table, "row.cells")), columns);
        json_decref(table);
        strbuf_fini(&out);
    }
    json_decref(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jsonpaths), cmocka_unit_test(ages),
                                       cmocka_unit_test(rows),
                                       cmocka_unit_test(every_kind_has_its_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
