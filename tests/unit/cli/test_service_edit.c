// SPDX-License-Identifier: Apache-2.0
//
// What a deployment changes in a Service, and what it leaves alone.
#include <string.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"
#include "cli/service_edit.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct error err;
    ASSERT_OK(jparse_object(slice_str(text), 1u << 20, &root, &err));
    return root;
}

static void edited(const char *before, const struct service_changes *changes, const char *after)
{
    struct error err;
    json_t *service = parsed(before), *want = parsed(after);
    ASSERT_OK(service_edit(service, changes, &err));
    CLEANUP(cleanup_free) char *got = jdump_str(service);
    if (!jequal(service, want)) {
        fail_msg("got %s", got);
    }
    json_decref(service);
    json_decref(want);
}

#define CONTAINER(text) "{\"spec\":{\"template\":{\"spec\":{\"containers\":[" text "]}}}}"

static void test_new(void **state)
{
    (void)state;
    struct service_changes c = {.image = "i", .bundle = true, .concurrency = -1};
    edited("{}", &c, CONTAINER("{\"image\":\"i\"}"));
}

static void test_env_merges_by_name(void **state)
{
    (void)state;
    const char *words[] = {"B=2=3", "C=", "D-", "E-", NULL};
    struct service_changes c = {.image = "i", .env = words, .concurrency = -1};
    edited(CONTAINER("{\"image\":\"o\",\"env\":[{\"name\":\"A\",\"value\":\"1\"},"
                     "{\"name\":\"B\",\"valueFrom\":{\"x\":1}},{\"name\":\"D\",\"value\":\"4\"}]}"),
           &c,
           CONTAINER("{\"image\":\"i\",\"env\":[{\"name\":\"A\",\"value\":\"1\"},"
                     "{\"name\":\"B\",\"value\":\"2=3\"},{\"name\":\"C\",\"value\":\"\"}]}"));
}

static void test_over_another_clients(void **state)
{
    (void)state;
    struct service_changes c = {.image = "i", .bundle = true, .concurrency = 5};
    edited(
        "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"template\":{\"metadata\":"
        "{\"name\":\"x-v1\",\"labels\":{}},\"spec\":{\"containers\":["
        "{\"image\":\"sidecar\",\"args\":[\"s\"]},"
        "{\"image\":\"o\",\"command\":[\"c\"],\"args\":[\"a\"],\"ports\":[{\"containerPort\":1}]}"
        "]}}}}",
        &c,
        "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"template\":{\"metadata\":"
        "{\"labels\":{}},\"spec\":{\"containerConcurrency\":5,\"containers\":["
        "{\"image\":\"sidecar\",\"args\":[\"s\"]},"
        "{\"image\":\"i\",\"ports\":[{\"containerPort\":1}]}]}}}}");
}

static void test_wrong_words(void **state)
{
    (void)state;
    static const char *const WRONG[] = {"", "A", "=x", "-", "A=\xff"};
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        const char *words[] = {WRONG[i], NULL};
        struct service_changes c = {.image = "i", .env = words, .concurrency = -1};
        struct error err;
        json_t *service = json_object();
        ASSERT_ERR(ERR_INVALID, service_edit(service, &c, &err));
        json_decref(service);
    }
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } ROWS[] = {
        {"A=1", "A=1"},
        {"A=1,B=2", "A=1|B=2"},
        {"A=1,2,3,B=x", "A=1,2,3|B=x"},
        {"A=1,B-,C=3", "A=1|B-|C=3"},
        {"A=a,b-c", "A=a,b-c"},
        {"A=,", "A=,"},
        {",A=1", "|A=1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        char text[64], got[64] = "";
        const char *list[8];
        size_t count = 0;
        struct error err;
        snprintf(text, sizeof text, "%s", ROWS[i].text);
        ASSERT_OK(service_env_words(text, list, &count, 8, &err));
        for (size_t k = 0; k < count; k++) {
            size_t at = strlen(got);
            snprintf(got + at, sizeof got - at, "%s%s", k ? "|" : "", list[k]);
        }
        assert_string_equal(got, ROWS[i].want);
    }
    char text[] = "A=1,B=2,C=3";
    const char *list[2];
    size_t count = 0;
    struct error err;
    ASSERT_ERR(ERR_TOO_BIG, service_env_words(text, list, &count, 2, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_env_merges_by_name),
        cmocka_unit_test(test_over_another_clients),
        cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
