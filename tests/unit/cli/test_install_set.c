// SPDX-License-Identifier: Apache-2.0
/* The built-in manifests: which objects there are, in which order, with which images. */
#include <string.h>

#include "json/jget.h"
#include "cli/install_set.h"
#include "test.h"

static void test_objects(void **state)
{
    struct install_set set = {0};
    struct error err;
    size_t i, kept = 0, deployments = 0;
    json_t *object;
    ASSERT_OK(install_set_load("registry.example:5000/lull", "v1.2", &set, &err));
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
    assert_int_equal(kept, 1 + 9 + 8); /* the namespace, the kinds, the ConfigMaps */
    assert_int_equal(deployments, 3);
    install_set_fini(&set);
}

static void test_images(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    strbuf_init(&text, 4u << 20);
    ASSERT_OK(install_text("registry.example:5000/lull", "v1.2", &text, &err));
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
        assert_int_equal(install_set_load(BAD[i][0], BAD[i][1], &set, &err), ERR_INVALID);
        assert_null(set.objects);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_no_names_of_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
