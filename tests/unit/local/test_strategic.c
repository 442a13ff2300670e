// SPDX-License-Identifier: Apache-2.0
/* Strategic merge patch: lists by key, the directives, and what is refused. */
#include <stdlib.h>

#include "base/mem.h"
#include "local/api/strategic.h"
#include "test.h"

struct strategic_case {
    enum kind_id id;
    const char *target, *patch, *want;
    int code;
};

/* Texts use ' for ". */
static json_t *parse(const char *text)
{
    CLEANUP(cleanup_free) char *copy = xstrdup(text);
    for (char *p = copy; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    json_t *root = json_loads(copy, 0, NULL);
    assert_non_null(root);
    return root;
}

static void run(const struct strategic_case *c)
{
    json_t *target = parse(c->target), *patch = parse(c->patch), *out = NULL;
    json_t *kept = json_deep_copy(target);
    struct error err = {0};
    int rc = strategic_merge(strategic_type_of(c->id), target, patch, &out, &err);
    assert_true(json_equal(target, kept));
    if (rc != c->code) {
        fail_msg("%s on %s: got %s (%s)", c->patch, c->target, error_name(rc), err.msg);
    }
    if (rc == 0) {
        json_t *want = parse(c->want);
        char *got = json_dumps(out, JSON_COMPACT);
        if (!json_equal(out, want)) {
            fail_msg("%s on %s: got %s", c->patch, c->target, got);
        }
        free(got);
        json_decref(want);
    }
    json_decref(kept);
    json_decref(out);
    json_decref(patch);
    json_decref(target);
}

static void maps(void **state)
{
    static const struct strategic_case cases[] = {
        {KIND_CONFIGMAP, "{'data':{'a':'1'}}", "{'data':{'b':'2','a':null}}", "{'data':{'b':'2'}}",
         0},
        {KIND_CONFIGMAP, "{'data':{'a':'1'}}", "{'data':{'$patch':'replace','b':'2'}}",
         "{'data':{'b':'2'}}", 0},
        {KIND_CONFIGMAP, "{'data':{'a':'1'}}", "{'data':{'$patch':'delete'}}", "{'data':{}}", 0},
        {KIND_CONFIGMAP, "{'data':{'a':'1'}}", "{'data':{'$patch':'frob'}}", NULL, ERR_INVALID},
        {KIND_CONFIGMAP, "{}", "{'data':{'a':null,'b':'2'}}", "{'data':{'b':'2'}}", 0},
        {KIND_CONFIGMAP, "{'data':7}", "{'data':{'b':'2'}}", "{'data':{'b':'2'}}", 0},
        {KIND_DEPLOYMENT, "{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{}}}}",
         "{'spec':{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}}",
         "{'spec':{'strategy':{'type':'Recreate'}}}", 0},
        {KIND_DEPLOYMENT, "{'spec':{'strategy':{'type':'RollingUpdate'}}}",
         "{'spec':{'strategy':{'$retainKeys':['type'],'other':1}}}", NULL, ERR_PROTOCOL},
        {KIND_DEPLOYMENT, "{'spec':{'strategy':{}}}", "{'spec':{'strategy':{'$retainKeys':7}}}",
         NULL, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run(&cases[i]);
    }
}

#define PORTS(list) "{'spec':{'ports':[" list "]}}"

static void lists_by_key(void **state)
{
    static const struct strategic_case cases[] = {
        {KIND_CORE_SERVICE, PORTS("{'port':80,'name':'a'},{'port':81}"),
         PORTS("{'port':80,'name':'b'}"), PORTS("{'port':80,'name':'b'},{'port':81}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80}"), PORTS("{'port':81}"),
         PORTS("{'port':81},{'port':80}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80},{'port':81}"),
         PORTS("{'port':80,'$patch':'delete'}"), PORTS("{'port':81}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80},{'port':81}"),
         PORTS("{'port':9},{'$patch':'replace'}"), PORTS("{'port':9}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80},{'port':81},{'port':82}"),
         "{'spec':{'$setElementOrder/"
         "ports':[{'port':82},{'port':80}],'ports':[{'port':82,'x':1}]}}",
         PORTS("{'port':81},{'port':82,'x':1},{'port':80}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80},{'port':81}"),
         "{'spec':{'$setElementOrder/ports':[{'port':81},{'port':80}]}}",
         PORTS("{'port':81},{'port':80}"), 0},
        {KIND_CORE_SERVICE, PORTS("{'port':80}"), PORTS("{'name':'x'}"), NULL, ERR_INVALID},
        {KIND_CORE_SERVICE, PORTS("{'port':80}"), PORTS("{'port':80,'$patch':'frob'}"), NULL,
         ERR_INVALID},
        {KIND_CORE_SERVICE, PORTS("{'port':80}"),
         "{'spec':{'$setElementOrder/ports':[{'port':81}],'ports':[{'port':80}]}}", NULL,
         ERR_INVALID},
        {KIND_CORE_SERVICE, PORTS("{'port':80}"), "{'spec':{'$setElementOrder/ports':7}}", NULL,
         ERR_PROTOCOL},
        /* a list that is not merged is replaced */
        {KIND_CORE_SERVICE, "{'spec':{'externalIPs':['a','b']}}", "{'spec':{'externalIPs':['c']}}",
         "{'spec':{'externalIPs':['c']}}", 0},
        {KIND_DEPLOYMENT,
         "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'x','value':'1'}]}]"
         "}"
         "}}}",
         "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'y','value':'2'},"
         "{'name':'x','$patch':'delete'}]}]}}}}",
         "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'y','value':'2'}]}]"
         "}"
         "}}}",
         0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run(&cases[i]);
    }
}

#define FINALIZERS(list) "{'metadata':{'finalizers':[" list "]}}"

static void lists_of_values(void **state)
{
    static const struct strategic_case cases[] = {
        {KIND_SECRET, FINALIZERS("'a','b'"), FINALIZERS("'b','c'"), FINALIZERS("'a','b','c'"), 0},
        {KIND_SECRET, FINALIZERS("'a','b'"),
         "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a']}}", FINALIZERS("'b'"), 0},
        {KIND_SECRET, FINALIZERS("'a','b'"),
         "{'metadata':{'$setElementOrder/finalizers':['b','a']}}", FINALIZERS("'b','a'"), 0},
        {KIND_SECRET, FINALIZERS("'a'"), "{'metadata':{'$deleteFromPrimitiveList/finalizers':7}}",
         NULL, ERR_PROTOCOL},
        {KIND_SECRET, "{}", FINALIZERS("'a'"), FINALIZERS("'a'"), 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run(&cases[i]);
    }
}

/* Each item is looked up among all others: there is a bound to that. */
static void long_lists_are_refused(void **state)
{
    json_t *list = json_array();
    for (int i = 0; i < 20000; i++) {
        json_array_append_new(list, json_pack("{s:i}", "port", i));
    }
    json_t *object = json_pack("{s:{s:o}}", "spec", "ports", list), *out = NULL;
    struct error err;
    int rc = strategic_merge(strategic_type_of(KIND_CORE_SERVICE), object, object, &out, &err);
    assert_int_equal(rc, ERR_TOO_BIG);
    json_decref(object);
}

static void only_for_kubernetes_kinds(void **state)
{
    assert_null(strategic_type_of(KIND_SERVICE));
    assert_null(strategic_type_of(KIND_PODAUTOSCALER));
    assert_non_null(strategic_type_of(KIND_POD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps),
        cmocka_unit_test(lists_by_key),
        cmocka_unit_test(lists_of_values),
        cmocka_unit_test(long_lists_are_refused),
        cmocka_unit_test(only_for_kubernetes_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
