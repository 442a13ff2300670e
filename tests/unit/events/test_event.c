// SPDX-License-Identifier: Apache-2.0
//
// The event itself: attributes by name, its rules, and its packed form.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/event.h"
#include "test.h"

static void minimal(struct event *ev)
{
    struct error err;
    event_init(ev);
    ASSERT_OK(event_set(ev, SLICE_LIT("specversion"), SLICE_LIT("1.0"), &err));
    ASSERT_OK(event_set(ev, SLICE_LIT("id"), SLICE_LIT("7"), &err));
    ASSERT_OK(event_set(ev, SLICE_LIT("source"), SLICE_LIT("/shop"), &err));
    ASSERT_OK(event_set(ev, SLICE_LIT("type"), SLICE_LIT("order.made"), &err));
}

static void test_names(void **state)
{
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        struct slice name = event_attr_name((enum event_attr_id)id);
        assert_int_equal(event_attr_id(name), id);
    }
    static const char *const others[] = {"",       "ie",      "tipe",       "tyme",
                                         "sourca", "dataurl", "schemaurl",  "datacontenttypo",
                                         "x",      "subjekt", "datazchema", "partitionkey"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(event_attr_id(slice_str(others[i])), EVENT_EXTENSION);
    }
}

static void test_set_get_remove(void **state)
{
    struct error err;
    struct event ev;
    struct slice value;
    minimal(&ev);
    assert_false(event_get(&ev, SLICE_LIT("subject"), &value));
    assert_false(event_get(&ev, SLICE_LIT("color"), &value));
    ASSERT_OK(event_set(&ev, SLICE_LIT("color"), SLICE_LIT("red"), &err));
    ASSERT_OK(event_set(&ev, SLICE_LIT("color"), SLICE_LIT("blue"), &err));
    ASSERT_OK(event_set_i64(&ev, SLICE_LIT("knativebrokerttl"), 255, &err));
    ASSERT_OK(event_set(&ev, SLICE_LIT("empty"), SLICE_EMPTY, &err));
    assert_int_equal(ev.n_extensions, 3);
    assert_true(event_get(&ev, SLICE_LIT("color"), &value));
    ASSERT_SLICE(value, "blue");
    assert_true(event_get(&ev, SLICE_LIT("empty"), &value));
    ASSERT_SLICE(value, "");
    assert_int_equal(event_extension(&ev, SLICE_LIT("knativebrokerttl"))->kind, EVENT_INTEGER);
    assert_true(event_remove(&ev, SLICE_LIT("color")));
    assert_false(event_remove(&ev, SLICE_LIT("color")));
    assert_true(event_get(&ev, SLICE_LIT("empty"), &value));
    assert_true(event_remove(&ev, SLICE_LIT("type")));
    ASSERT_ERR(ERR_INVALID, event_check(&ev, &err));
    ASSERT_MSG("type: missing");
    event_fini(&ev);
    event_fini(&ev);
}

static void test_limits(void **state)
{
    struct error err;
    struct event ev;
    char name[8];
    minimal(&ev);
    for (int i = 0; i < EVENT_EXTENSIONS_MAX; i++) {
        int len = snprintf(name, sizeof(name), "x%d", i);
        ASSERT_OK(event_set(&ev, slice_of(name, (size_t)len), SLICE_LIT("v"), &err));
    }
    ASSERT_ERR(ERR_TOO_BIG, event_set(&ev, SLICE_LIT("more"), SLICE_LIT("v"), &err));
    ASSERT_OK(event_set(&ev, SLICE_LIT("x0"), SLICE_LIT("w"), &err));
    char *large = xmalloc(EVENT_VALUE_MAX + 1);
    memset(large, 'a', EVENT_VALUE_MAX + 1);
    ASSERT_OK(event_set(&ev, SLICE_LIT("x1"), slice_of(large, EVENT_VALUE_MAX), &err));
    ASSERT_ERR(ERR_TOO_BIG,
               event_set(&ev, SLICE_LIT("x1"), slice_of(large, EVENT_VALUE_MAX + 1), &err));
    ASSERT_ERR(ERR_INVALID,
               event_set(&ev, slice_of(large, EVENT_NAME_MAX + 1), SLICE_LIT("v"), &err));
    free(large);
    event_fini(&ev);
}

static void test_names_and_values_refused(void **state)
{
    static const char *const names[] = {"",     "A",           "a-b", "a_b",
                                        "data", "data_base64", "a b", "\xc3\xa4"};
    static const struct slice values[] = {SLICE_LIT("a\nb"),
                                          SLICE_LIT("\x7f"),
                                          SLICE_LIT("a\0b"),
                                          SLICE_LIT("\xff"),
                                          SLICE_LIT("\xc0\xa0"),
                                          SLICE_LIT("\xc3"),
                                          SLICE_LIT("\xc2\x80"),
                                          SLICE_LIT("\xed\xa0\x80"),
                                          SLICE_LIT("\xef\xbf\xbe"),
                                          SLICE_LIT("\xef\xb7\x90"),
                                          SLICE_LIT("\xf4\x90\x80\x80")};
    struct error err;
    struct event ev;
    minimal(&ev);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ASSERT_ERR(ERR_INVALID, event_set(&ev, slice_str(names[i]), SLICE_LIT("v"), &err));
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        ASSERT_ERR(ERR_INVALID, event_set(&ev, SLICE_LIT("name"), values[i], &err));
        ASSERT_MSG("name: ");
    }
    ASSERT_OK(event_set(&ev, SLICE_LIT("name"), SLICE_LIT("\xe2\x82\xac \xf0\x9f\x98\x80 \xc2\xa0"),
                        &err));
    event_fini(&ev);
}

/* One attribute over a right event: "" for right, or a part of the sentence. */
static void test_forms(void **state)
{
    static const char *const rows[][3] = {
        {"specversion", "1.0", ""},
        {"specversion", "0.3", ""},
        {"specversion", "0.2", "specversion: must be 1.0 or 0.3, is \"0.2\""},
        {"specversion", "1", "must be 1.0"},
        {"id", "", "id: must not be empty"},
        {"type", "", "type: must not be empty"},
        {"source", "", "source: must not be empty"},
        {"source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", ""},
        {"subject", "", "subject: must not be empty"},
        {"subject", "a b", ""},
        {"time", "2018-04-05T17:31:00Z", ""},
        {"time", "2018-04-05t17:31:00.123456789+02:00", ""},
        {"time", "1937-01-01T12:00:27.87+00:20", ""},
        {"time", "2016-12-31T23:59:60Z", ""},
        {"time", "2020-02-29T00:00:00Z", ""},
        {"time", "2019-02-29T00:00:00Z", "time: must be a time"},
        {"time", "2018-04-05 17:31:00Z", "time: must be"},
        {"time", "2018-04-05T17:31:00", "time: must be"},
        {"time", "2018-04-05T17:31:00.Z", "time: must be"},
        {"time", "2018-04-05T24:31:00Z", "time: must be"},
        {"time", "2018-13-05T17:31:00Z", "time: must be"},
        {"time", "2018-00-05T17:31:00Z", "time: must be"},
        {"time", "2018-04-05T17:31:00+2:00", "time: must be"},
        {"time", "2018-04-05T17:31:00Zx", "time: must be"},
        {"time", "yesterday", "time: must be"},
        {"time", "", "time: must be"},
        {"dataschema", "https://example.com/schema", ""},
        {"dataschema", "urn:schema", ""},
        {"dataschema", "/schema", "dataschema: must be an absolute URI"},
        {"dataschema", "1x:schema", "dataschema: must be"},
        {"dataschema", "http://example.com/a b", "dataschema: must be"},
        {"dataschema", "", "dataschema: must be"},
        {"datacontenttype", "application/json", ""},
        {"datacontenttype", "text/plain; charset=utf-8", ""},
        {"datacontenttype", "text/plain;charset=\"utf-8\" ; a=b;", ""},
        {"datacontenttype", "application/vnd.apache.thrift.binary", ""},
        {"datacontenttype", "json", "datacontenttype: must be a media type"},
        {"datacontenttype", "a/b c", "datacontenttype: must be"},
        {"datacontenttype", "a/b; c", "datacontenttype: must be"},
        {"datacontenttype", "a/b; c=\"d", "datacontenttype: must be"},
        {"datacontenttype", "/json", "datacontenttype: must be"},
        {"datacontenttype", "", "datacontenttype: must be"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {.code = 0};
        struct event ev;
        minimal(&ev);
        ASSERT_OK(event_set(&ev, slice_str(rows[i][0]), slice_str(rows[i][1]), &err));
        int rc = event_check(&ev, &err);
        if ((rc == 0) != (rows[i][2][0] == '\0')) {
            fail_msg("%s=%s: %s", rows[i][0], rows[i][1], rc == 0 ? "was taken" : err.msg);
        }
        if (rc < 0) {
            ASSERT_MSG(rows[i][2]);
        }
        event_fini(&ev);
    }
}

static void test_json_types(void **state)
{
    static const char *const json[] = {"application/json", "text/json",
                                       "application/JSON; charset=x", "application/vnd.a+json",
                                       "image/svg+x+json ;q=1"};
    static const char *const others[] = {"application/xml",   "text/plain",           "json",
                                         "application/jsonx", "application/json+xml", "",
                                         "text/x; a=b/json"};
    for (size_t i = 0; i < ARRAY_LEN(json); i++) {
        assert_true(event_type_is_json(slice_str(json[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(event_type_is_json(slice_str(others[i])));
    }
}

static void test_pack(void **state)
{
    struct error err;
    struct event ev, back;
    CLEANUP(strbuf_fini) struct strbuf packed, again;
    strbuf_init(&packed, 4096);
    strbuf_init(&again, 4096);
    minimal(&ev);
    ASSERT_OK(event_set(&ev, SLICE_LIT("subject"), SLICE_LIT("a=b#c?d \xe2\x82\xac"), &err));
    ASSERT_OK(event_set_i64(&ev, SLICE_LIT("n"), -5, &err));
    ASSERT_OK(event_set_borrowed(&ev, SLICE_LIT("on"), SLICE_LIT("true"), EVENT_BOOLEAN, &err));
    ASSERT_OK(event_set(&ev, SLICE_LIT("0x"), SLICE_EMPTY, &err));
    event_pack(&ev, &packed);
    assert_string_equal(packed.ptr, "specversion=1.0\nid=7\nsource=/shop\ntype=order.made\n"
                                    "subject=a=b#c?d \xe2\x82\xac\nn#-5\non?true\n0x=\n");
    ASSERT_OK(event_unpack(strbuf_slice(&packed), SLICE_LIT("data"), &back, &err));
    event_pack(&back, &again);
    assert_string_equal(again.ptr, packed.ptr);
    ASSERT_SLICE(back.data, "data");
    ASSERT_OK(event_check(&back, &err));
    event_fini(&ev);
    event_fini(&back);

    static const char *const wrong[] = {
        "id=7",   "=7\n",           "id\n",  "id 7\n",          "\n",           "id=7\n\n",
        "Id=7\n", "id=7\nx#\x01\n", "x%a\n", "x=a\nx%b\nx%b\n", "x=a\nx%\x01\n"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        ASSERT_ERR(ERR_PROTOCOL, event_unpack(slice_str(wrong[i]), SLICE_EMPTY, &back, &err));
    }
}

/* What the event owns: texts large and small, and a buffer that it takes. */
static void test_memory(void **state)
{
    struct event ev;
    struct slice kept[200];
    char text[16];
    event_init(&ev);
    for (int i = 0; i < 200; i++) {
        int len = snprintf(text, sizeof(text), "text %d", i);
        kept[i] = event_keep(&ev, slice_of(text, (size_t)len));
        char *room = event_room(&ev, i % 7 == 0 ? 2000 : 1);
        room[0] = 'x';
    }
    struct strbuf buf;
    strbuf_init(&buf, 100);
    strbuf_append_str(&buf, "taken");
    struct slice taken = event_adopt(&ev, &buf);
    assert_int_equal(buf.len, 0);
    ASSERT_SLICE(taken, "taken");
    for (int i = 0; i < 200; i++) {
        (void)snprintf(text, sizeof(text), "text %d", i);
        ASSERT_SLICE(kept[i], text);
    }
    event_fini(&ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),  cmocka_unit_test(test_set_get_remove),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_names_and_values_refused),
        cmocka_unit_test(test_forms),  cmocka_unit_test(test_json_types),
        cmocka_unit_test(test_pack),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
