// SPDX-License-Identifier: Apache-2.0
/* What a path names. */
#include "local/api/route.h"
#include "test.h"

static void paths(void **state)
{
    static const struct {
        const char *path;
        enum route_what what;
        const char *kind, *ns, *name;
        enum route_sub sub;
    } cases[] = {
        {"/api", ROUTE_DISCOVERY},
        {"/apis", ROUTE_DISCOVERY},
        {"/apis/", ROUTE_DISCOVERY},
        {"/api/v1", ROUTE_DISCOVERY},
        {"/apis/apps", ROUTE_DISCOVERY},
        {"/apis/apps/v1", ROUTE_DISCOVERY},
        {"/", ROUTE_NONE},
        {"", ROUTE_NONE},
        {"/metrics", ROUTE_NONE},
        {"/api//v1", ROUTE_NONE},
        {"/api/v1/pods", ROUTE_COLLECTION, "Pod", "", ""},
        {"/api/v1/pods/", ROUTE_COLLECTION, "Pod", "", ""},
        {"/api/v1/pods/p", ROUTE_NONE},
        {"/api/v1/namespaces", ROUTE_COLLECTION, "Namespace", "", ""},
        {"/api/v1/namespaces/n", ROUTE_OBJECT, "Namespace", "", "n"},
        {"/api/v1/namespaces/n/status", ROUTE_OBJECT, "Namespace", "", "n", ROUTE_SUB_STATUS},
        {"/api/v1/namespaces/n/pods", ROUTE_COLLECTION, "Pod", "n", ""},
        {"/api/v1/namespaces/n/pods/p", ROUTE_OBJECT, "Pod", "n", "p"},
        {"/api/v1/namespaces/n/pods/p/log", ROUTE_OBJECT, "Pod", "n", "p", ROUTE_SUB_LOG},
        {"/api/v1/namespaces/n/pods/p/scale", ROUTE_NONE},
        {"/api/v1/namespaces/n/pods/p/log/x", ROUTE_NONE},
        {"/api/v1/namespaces/n/configmaps/c/status", ROUTE_NONE},
        {"/apis/apps/v1/namespaces/n/deployments/d/scale", ROUTE_OBJECT, "Deployment", "n", "d",
         ROUTE_SUB_SCALE},
        {"/apis/apps/v2/namespaces/n/deployments/d", ROUTE_NONE},
        {"/apis/serving.knative.dev/v1/services", ROUTE_COLLECTION, "Service", "", ""},
        {"/apis/serving.knative.dev/v1/namespaces/n/services/a%2Db", ROUTE_OBJECT, "Service", "n",
         "a-b"},
        {"/apis/serving.knative.dev/v1/namespaces/n/services/a%2fb", ROUTE_NONE},
        {"/apis/serving.knative.dev/v1/namespaces/n/services/%zz", ROUTE_NONE},
        {"/apis/serving.knative.dev/v1/namespaces/n/namespaces/m", ROUTE_NONE},
        {"/a/b/c/d/e/f/g/h/i/j", ROUTE_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route r;
        route_parse(slice_str(cases[i].path), &r);
        if (r.what != cases[i].what) {
            fail_msg("%s: got %d, want %d", cases[i].path, r.what, cases[i].what);
        }
        if (cases[i].kind != NULL) {
            assert_string_equal(r.kind->kind, cases[i].kind);
            assert_string_equal(r.ns, cases[i].ns);
            assert_string_equal(r.name, cases[i].name);
            assert_int_equal(r.sub, cases[i].sub);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
