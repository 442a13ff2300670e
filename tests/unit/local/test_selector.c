// SPDX-License-Identifier: Apache-2.0
/* Label and field selectors: a table of texts against one object. */
#include "local/store/selector.h"
#include "test.h"

static const struct store_kind kind = {.resource = "pods",
                                       .api_version = "v1",
                                       .kind = "Pod",
                                       .namespaced = true,
                                       .fields = {"status.phase", "spec.nodeName"}};

static void selectors(void **state)
{
    static const struct {
        const char *labels, *fields;
        int want; /* 1 matches, 0 does not, or an error */
    } cases[] = {
        {"", "", 1},
        {NULL, NULL, 1},
        {"app=x", "", 1},
        {"app==x", "", 1},
        {" app = x , tier = y ", "", 1},
        {"app=y", "", 0},
        {"app!=y", "", 1},
        {"app!=x", "", 0},
        {"none!=x", "", 1},
        {"app", "", 1},
        {"none", "", 0},
        {"!none", "", 1},
        {"! app", "", 0},
        {"app in (x,z)", "", 1},
        {"app in ( y , z )", "", 0},
        {"app notin (x)", "", 0},
        {"none notin (x)", "", 1},
        {"app in (x),tier!=z,!none", "", 1},
        {"empty=", "", 1},
        {"example.dev/long=v", "", 1},
        {"app=x,", "", 1},
        {"app=", "", 0},
        {"=x", "", ERR_PROTOCOL},
        {"app x", "", ERR_PROTOCOL},
        {"app in x", "", ERR_PROTOCOL},
        {"app in (x", "", ERR_PROTOCOL},
        {"app=x=y", "", ERR_PROTOCOL},
        {"app!x", "", ERR_PROTOCOL},
        {"a b", "", ERR_PROTOCOL},
        {"", "metadata.name=p", 1},
        {"", "metadata.name==p,metadata.namespace=default", 1},
        {"", "metadata.name!=p", 0},
        {"", "status.phase=Running", 1},
        {"", "status.phase!=Running", 0},
        {"", "spec.nodeName=", 1},
        {"app=x", "status.phase=Pending", 0},
        {"", "metadata.uid=x", ERR_PROTOCOL},
        {"", "metadata.name", ERR_PROTOCOL},
        {"", "metadata.name!p", ERR_PROTOCOL},
    };
    json_t *root = json_loads(
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":\"u\",\"resourceVersion\":"
        "\"1\",\"labels\":{\"app\":\"x\",\"tier\":\"y\",\"empty\":\"\",\"example.dev/long\":\"v\"}}"
        ",\"status\":{\"phase\":\"Running\"}}",
        0, NULL);
    struct object *o;
    struct error err;
    ASSERT_OK(object_make(&kind, root, 10000, &o, &err));
    json_decref(root);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct selector s;
        int got = selector_init(&s, &kind, cases[i].labels, cases[i].fields, &err);
        if (got == 0) {
            got = selector_match(&s, o) ? 1 : 0;
            selector_fini(&s);
        }
        if (got != cases[i].want) {
            fail_msg("\"%s\" \"%s\": got %d, want %d", cases[i].labels, cases[i].fields, got,
                     cases[i].want);
        }
    }
    object_unref(o);
}

static void bounds(void **state)
{
    char text[9000];
    struct selector s;
    struct error err;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ASSERT_ERR(ERR_PROTOCOL, selector_init(&s, &kind, text, NULL, &err));
    for (size_t i = 0; i < 1000; i++) {
        memcpy(text + 2 * i, "a,", 2);
    }
    text[2000] = '\0';
    ASSERT_ERR(ERR_PROTOCOL, selector_init(&s, &kind, text, NULL, &err));
    ASSERT_MSG("at most");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(selectors), cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
