// SPDX-License-Identifier: Apache-2.0
/* The built-in manifests: which objects there are, in which order, with which images. */
#include <string.h>

#include "json/jget.h"
#include "cli/install_set.h"
#include "test.h"

static const struct install_choice PLAIN = {.registry = "registry.example:5000/lull",
                                            .tag = "v1.2"};

static void test_objects(void **state)
{
    struct install_set set = {0};
    struct error err;
    size_t i, kept = 0, deployments = 0;
    json_t *object;
    ASSERT_OK(install_set_load(&PLAIN, &set, &err));
    /* What everything else stands in comes first, what asks the parts comes last. */
    size_t count = json_array_size(set.objects);
    assert_string_equal(jpeek_cstr(json_array_get(set.objects, 0), "kind"), "Namespace");
    assert_string_equal(jpeek_cstr(json_array_get(set.objects, 0), "metadata.name"),
                        INSTALL_NAMESPACE);
    assert_string_equal(jpeek_cstr(json_array_get(set.objects, count - 1), "kind"),
                        "ValidatingWebhookConfiguration");
    json_array_foreach(set.objects, i, object)
    {
        const char *kind = jpeek_cstr(object, "kind");
        assert_string_not_equal(kind, "Secret"); /* made once, by whoever installs */
        kept += install_keeps(object);
        deployments += strcmp(kind, "Deployment") == 0;
    }
    assert_int_equal(kept, 1 + 14 + 8); /* the namespace, the kinds, the ConfigMaps */
    assert_int_equal(deployments, 3);
    install_set_fini(&set);
}

static void test_images(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    strbuf_init(&text, 4u << 20);
    ASSERT_OK(install_text(&PLAIN, &text, &err));
    assert_non_null(strstr(text.ptr, "image: registry.example:5000/lull/lull-activator:v1.2\n"));
    assert_non_null(
        strstr(text.ptr, "--queue-proxy-image=registry.example:5000/lull/lull-queue-proxy:v1.2\n"));
    assert_null(strstr(text.ptr, "dev.local/lull-"));
    assert_non_null(strstr(text.ptr, "ko.local,dev.local\"")); /* a setting, not an image */
}

static void test_no_names_of_images(void **state)
{
    static const char *const BAD[][2] = {
        {"", "v1"},          {"Registry.example", "v1"}, {"a b", "v1"}, {"dev.local", ""},
        {"dev.local", ".x"}, {"dev.local", "a:b"},       {"a", "a\nb"}, {"a\"", "b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct install_set set = {0};
        struct error err;
        struct install_choice choice = {.registry = BAD[i][0], .tag = BAD[i][1]};
        assert_int_equal(install_set_load(&choice, &set, &err), ERR_INVALID);
        assert_null(set.objects);
    }
}

static const json_t *find(const struct install_set *set, const char *kind, const char *name)
{
    const json_t *found = NULL;
    size_t i;
    json_t *object;
    json_array_foreach(set->objects, i, object)
    {
        if (strcmp(jpeek_cstr(object, "kind"), kind) == 0 &&
            strcmp(jpeek_cstr(object, "metadata.name"), name) == 0) {
            assert_null(found); /* one of each */
            found = object;
        }
    }
    return found;
}

static bool has_argument(const json_t *deployment, const char *begin)
{
    size_t i;
    json_t *argument;
    json_array_foreach(jpeek_arr(deployment, "spec.template.spec.containers[0].args"), i, argument)
    {
        if (strncmp(json_string_value(argument), begin, strlen(begin)) == 0) {
            return true;
        }
    }
    return false;
}

static const json_t *redis_secret(const json_t *broker)
{
    const json_t *volume =
        jpeek_row(broker, "spec.template.spec.volumes", "name", SLICE_LIT("redis"));
    return jpeek_obj(volume, "projected.sources[0].secret");
}

static void load_events(struct install_choice choice, struct install_set *set)
{
    struct error err;
    choice.registry = PLAIN.registry;
    choice.tag = PLAIN.tag;
    ASSERT_OK(install_set_load(&choice, set, &err));
}

static void test_without_events(void **state)
{
    struct install_set set = {0};
    load_events((struct install_choice){.events = EVENTS_NONE}, &set);
    assert_null(find(&set, "Deployment", INSTALL_BROKER));
    assert_null(find(&set, "StatefulSet", INSTALL_REDIS));
    assert_false(has_argument(find(&set, "Deployment", "lull-controller"), "--broker-ingress="));
    install_set_fini(&set);
}

static void test_events_with_a_secret(void **state)
{
    struct install_set set = {0};
    load_events((struct install_choice){.events = EVENTS_SECRET,
                                        .redis_secret = "our-redis",
                                        .redis_key = "uri"},
                &set);
    const json_t *broker = find(&set, "Deployment", INSTALL_BROKER);
    const json_t *secret = redis_secret(broker);
    assert_string_equal(jpeek_cstr(secret, "name"), "our-redis");
    assert_string_equal(jpeek_cstr(secret, "items[0].key"), "uri");
    const json_t *beside =
        jget(jpeek_row(broker, "spec.template.spec.volumes", "name", SLICE_LIT("redis")),
             "projected.sources[1].secret");
    assert_string_equal(jpeek_cstr(beside, "name"), "our-redis");
    assert_string_equal(jpeek_cstr(beside, "items[0].path"), "ca.crt");
    assert_true(jpeek_bool(beside, "optional"));
    assert_string_equal(jpeek_cstr(broker, "spec.template.spec.containers[0].image"),
                        "registry.example:5000/lull/lull-broker:v1.2");
    assert_null(find(&set, "StatefulSet", INSTALL_REDIS));
    assert_null(find(&set, "Service", INSTALL_REDIS));
    assert_null(find(&set, "NetworkPolicy", INSTALL_REDIS));
    assert_non_null(find(&set, "Service", "broker-ingress"));
    const json_t *controller = find(&set, "Deployment", "lull-controller");
    assert_true(has_argument(controller, "--broker-ingress="));
    assert_true(has_argument(controller, "--broker-deployment=" INSTALL_BROKER));
    install_set_fini(&set);
}

static const char *metrics_label(const json_t *workload)
{
    return jpeek_cstr(workload, "spec.template.metadata.labels.`lull.dev/metrics`");
}

static void test_events_with_our_own_redis(void **state)
{
    struct install_set set = {0};
    load_events((struct install_choice){.events = EVENTS_BUILTIN,
                                        .redis_image = "registry.example/redis@sha256:12"},
                &set);
    const json_t *redis = find(&set, "StatefulSet", INSTALL_REDIS);
    assert_string_equal(jpeek_cstr(redis, "spec.template.spec.containers[0].image"),
                        "registry.example/redis@sha256:12");
    const json_t *secret = redis_secret(find(&set, "Deployment", INSTALL_BROKER));
    assert_string_equal(jpeek_cstr(secret, "name"), INSTALL_REDIS);
    assert_string_equal(jpeek_cstr(secret, "items[0].key"), INSTALL_REDIS_KEY);
    /* A Service for metrics selects the parts by a label that Redis has not. */
    assert_string_equal(metrics_label(find(&set, "Deployment", INSTALL_BROKER)), "true");
    assert_string_equal(metrics_label(find(&set, "Deployment", "lull-activator")), "true");
    assert_string_equal(metrics_label(redis), "");
    install_set_fini(&set);
}

static void test_no_names_for_events(void **state)
{
    static const struct install_choice BAD[] = {
        {.events = EVENTS_SECRET, .redis_secret = "", .redis_key = "url"},
        {.events = EVENTS_SECRET, .redis_secret = "a", .redis_key = ""},
        {.events = EVENTS_SECRET, .redis_secret = "a\"}", .redis_key = "url"},
        {.events = EVENTS_SECRET, .redis_secret = "a/b", .redis_key = "c"},
        {.events = EVENTS_BUILTIN, .redis_image = ""},
        {.events = EVENTS_BUILTIN, .redis_image = "a b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct install_choice choice = BAD[i];
        struct install_set set = {0};
        struct error err;
        choice.registry = PLAIN.registry;
        choice.tag = PLAIN.tag;
        assert_int_equal(install_set_load(&choice, &set, &err), ERR_INVALID);
        assert_null(set.objects);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_no_names_of_images),
        cmocka_unit_test(test_without_events),
        cmocka_unit_test(test_events_with_a_secret),
        cmocka_unit_test(test_events_with_our_own_redis),
        cmocka_unit_test(test_no_names_for_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
