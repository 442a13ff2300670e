// SPDX-License-Identifier: Apache-2.0
/* Packed objects say what they said before: their texts, their selectors, at another version. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "local/store/selector.h"
#include "local/store/small.h"
#include "test.h"

static const struct store_kind kind = {.resource = "widgets",
                                       .api_version = "v1",
                                       .kind = "Widget",
                                       .namespaced = true,
                                       .fields = {"status.phase", "spec.size"}};

/* big: bytes of its own that look like nothing else. */
static struct object *widget(unsigned i, size_t big)
{
    CLEANUP(cleanup_free) char *noise = xmalloc(big + 1);
    unsigned seed = i + 1;
    for (size_t k = 0; k < big; k++) {
        seed = seed * 1103515245 + 12345;
        noise[k] = (char)('!' + (seed >> 16) % 90);
        noise[k] = noise[k] == '"' || noise[k] == '\\' ? 'x' : noise[k];
    }
    noise[big] = '\0';
    CLEANUP(cleanup_free)
    char *text = xasprintf(
        "{\"apiVersion\":\"v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"w%u\",\"namespace\":"
        "\"default\","
        "\"uid\":\"uid-%u\",\"resourceVersion\":\"%u\",\"labels\":{\"app\":\"a%u\",\"tier\":"
        "\"back\"},"
        "\"ownerReferences\":[{\"uid\":\"one\"},{\"uid\":\"two\",\"blockOwnerDeletion\":true}]},"
        "\"spec\":{\"text\":\"the same words in every one of these objects\",\"noise\":\"%s\"},"
        "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}"
        "]}}",
        i, i, 100 + i, i, noise);
    struct object *o = NULL;
    struct error err;
    ASSERT_OK(object_load(&kind, slice_str(text), &o, &err));
    return o;
}

static bool selects(const struct object *o, const char *labels, const char *fields)
{
    struct selector s;
    struct error err;
    ASSERT_OK(selector_init(&s, &kind, labels, fields, &err));
    bool yes = selector_match(&s, o);
    selector_fini(&s);
    return yes;
}

static void assert_same(const struct object *o, const struct object *plain)
{
    CLEANUP(object_room_fini) struct object_room room = {0};
    struct slice parts[3], was = object_json(plain, NULL);
    assert_true(slice_eq(object_json(o, &room), was));
    assert_int_equal(object_json_len(o), was.len);
    object_json_at(o, 7, &room, parts);
    CLEANUP(cleanup_free)
    char *at =
        xasprintf("%.*s%.*s%.*s", SLICE_FMT(parts[0]), SLICE_FMT(parts[1]), SLICE_FMT(parts[2]));
    assert_non_null(strstr(at, "\"resourceVersion\":\"7\",\"labels\""));
    CLEANUP(cleanup_free) char *label = xasprintf("app=a%s,tier", o->name + 1);
    assert_true(selects(o, label, "status.phase=Running,spec.size="));
    assert_false(selects(o, "app=b", NULL));
    assert_false(selects(o, "apt", "metadata.namespace=default"));
    assert_false(selects(o, NULL, "status.phase=Pending"));
    assert_string_equal(object_owners(o), "one");
    assert_string_equal(object_next_text(object_owners(o)), "two");
}

static void packed_objects_say_the_same(void **state)
{
    struct small_kind small = {0};
    for (unsigned i = 0; i < 100; i++) {
        /* alike, with much of their own, and longer than a sample can be */
        size_t big = i % 10 == 3 ? 2000 : i % 10 == 7 ? 70000 : 0;
        struct object *o = widget(i, big), *plain = widget(i, big);
        small_pack(&small, o);
        assert_same(o, plain);
        if (big == 0 && i > 0) {
            assert_non_null(object_full(o)->pack);
            assert_true(object_full(o)->packed_len < object_json_len(o) / 3);
        }
        small_pack(&small, o); /* once is enough */
        assert_same(o, plain);
        object_unref(o);
        object_unref(plain);
    }
    assert_in_range(small.count, 1, SMALL_SAMPLES);
    small_kind_fini(&small);
}

static void the_latest_stay_as_they_are(void **state)
{
    enum { MANY = 3 * SMALL_LATEST };
    struct small_kind small = {0};
    struct small_latest latest = {0};
    struct object *objects[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        objects[i] = widget(i, 0);
        small_add(&latest, &small, objects[i]);
        assert_null(object_full(objects[i])->pack);
        assert_true(i < SMALL_LATEST || object_full(objects[i - SMALL_LATEST])->pack != NULL);
    }
    for (unsigned i = 0; i < 200; i++) { /* few of them when they are big */
        struct object *o = widget(i, 100000);
        small_add(&latest, &small, o);
        assert_true(latest.bytes < SMALL_LATEST_BYTES + 200000);
        object_unref(o);
    }
    small_latest_fini(&latest);
    for (unsigned i = 0; i < MANY; i++) {
        struct object *plain = widget(i, 0);
        assert_same(objects[i], plain);
        object_unref(plain);
        object_unref(objects[i]);
    }
    small_kind_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_objects_say_the_same),
        cmocka_unit_test(the_latest_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
