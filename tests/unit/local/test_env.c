// SPDX-License-Identifier: Apache-2.0
//
// Variables and volumes of a function from the objects that its Pod names.
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/agent/env.h"
#include "local/agent/volumes.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct error err;
    ASSERT_OK(jparse_object(slice_str(text), 1u << 20, &root, &err));
    return root;
}

// One ConfigMap "c" and one Secret "s".
static json_t *get(enum reference_kind kind, const char *name, void *arg)
{
    (void)arg;
    if (kind == REFERENCE_CONFIG_MAP && strcmp(name, "c") == 0) {
        return parsed("{\"data\":{\"a\":\"1\",\"b\":\"$(a)\"},\"binaryData\":{\"raw\":\"AAEC\"}}");
    }
    return kind == REFERENCE_SECRET && strcmp(name, "s") == 0
               ? parsed("{\"data\":{\"k\":\"aGk=\",\"nul\":\"AAA=\",\"bad\":\"a\"}}")
               : NULL;
}

static const struct reference_source SOURCE = {get, NULL};

static int env_of(struct env *env, const char *container, struct error *err)
{
    json_t *pod =
        parsed("{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"labels\":{\"x/y\":\"l\"}}}");
    json_t *c = parsed(container);
    *env = (struct env){0};
    int rc = env_read(env, &SOURCE, pod, c, err);
    rc = rc ? rc : env_resolve(env, err);
    json_decref(pod);
    json_decref(c);
    return rc;
}

static void expect(const struct env *env, const char *name, const char *value)
{
    for (size_t i = env->count; i-- > 0;) {
        if (strcmp(env->rows[i].name, name) == 0) {
            assert_string_equal(env->rows[i].value, value);
            return;
        }
    }
    fail_msg("no variable %s", name);
}

static void test_order_and_references(void **state)
{
    struct env env;
    struct error err;
    ASSERT_OK(
        env_of(&env,
               "{\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":\"c\"}}],\"env\":["
               "{\"name\":\"X\",\"value\":\"$(P_a)-$(P_b)-$(Y)-$$(P_a)-$(\"},"
               "{\"name\":\"Y\",\"value\":\"y\"},{\"name\":\"Z\",\"value\":\"$(X)$(Y)\"},"
               "{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
               "\"metadata.labels['x/y']\"}}},"
               "{\"name\":\"K\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}]}",
               &err));
    expect(&env, "P_b", "$(a)");
    expect(&env, "X", "1-$(a)-$(Y)-$(P_a)-$(");
    expect(&env, "Z", "1-$(a)-$(Y)-$(P_a)-$(y");
    expect(&env, "L", "l");
    expect(&env, "K", "hi");
    env_fini(&env);
}

static void test_what_cannot_be_read(void **state)
{
    static const struct {
        const char *container, *why;
    } ROWS[] = {
        {"{\"envFrom\":[{\"secretRef\":{\"name\":\"x\"}}]}", "secret \"x\" not found"},
        {"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"c\",\"key\":"
         "\"q\"}}}]}",
         "couldn't find key q in ConfigMap n/c"},
        {"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":"
         "\"nul\"}}}]}",
         "NUL"},
        {"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":"
         "\"bad\"}}}]}",
         "not base64"},
        {"{\"env\":[{\"name\":\"A=B\",\"value\":\"\"}]}", "cannot be the name"},
        {"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.x\"}}}]}",
         "fieldPath \"spec.x\" is not one of"},
        {"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits."
         "gpu\"}}}]}",
         "unsupported container resource"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct env env;
        struct error err = {0};
        assert_true(env_of(&env, ROWS[i].container, &err) < 0);
        assert_non_null(strstr(err.msg, ROWS[i].why));
        env_fini(&env);
    }
}

// Each value takes the one before it twice: no end but the bound.
static void test_growth_is_bounded(void **state)
{
    struct env env = {0};
    struct error err;
    env_set(&env, "V0", "0123456789abcdef");
    for (int i = 1; i < 30; i++) {
        CLEANUP(cleanup_free) char *name = xasprintf("V%d", i);
        CLEANUP(cleanup_free) char *value = xasprintf("$(V%d)$(V%d)", i - 1, i - 1);
        env_set(&env, name, value);
        env.rows[i].literal = false;
    }
    assert_int_equal(env_resolve(&env, &err), ERR_TOO_BIG);
    env_fini(&env);
}

static int volumes_of(struct volume_set *set, const char *volumes, const char *mounts,
                      struct error *err)
{
    CLEANUP(cleanup_free)
    char *text =
        xasprintf("{\"metadata\":{\"labels\":{\"b\":\"2\",\"a\":\"\\\"1\\\"\"}},\"spec\":{"
                  "\"volumes\":[%s],\"containers\":[{\"name\":\"f\",\"volumeMounts\":[%s]}]}}",
                  volumes, mounts);
    json_t *pod = parsed(text);
    *set = (struct volume_set){0};
    int rc = volumes_read(set, &SOURCE, pod, jget(pod, "spec.containers[0]"), err);
    json_decref(pod);
    return rc;
}

static const struct volume_file *file_of(const struct volume *v, const char *path)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->files[i].path, path) == 0) {
            return &v->files[i];
        }
    }
    fail_msg("no file %s", path);
    return NULL;
}

static void test_volumes(void **state)
{
    struct volume_set set;
    struct error err;
    ASSERT_OK(volumes_of(
        &set,
        "{\"name\":\"p\",\"projected\":{\"defaultMode\":420,\"sources\":["
        "{\"configMap\":{\"name\":\"c\"}},{\"secret\":{\"name\":\"s\",\"items\":["
        "{\"key\":\"k\",\"path\":\"a\"},{\"key\":\"k\",\"path\":\"d/k\",\"mode\":288}]}},"
        "{\"downwardAPI\":{\"items\":[{\"path\":\"l\",\"fieldRef\":{\"fieldPath\":"
        "\"metadata.labels\"}}]}}]}},{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"unused\",\"nfs\":"
        "{}}",
        "{\"name\":\"p\",\"mountPath\":\"/x/y\"},{\"name\":\"e\",\"mountPath\":\"/x\"},"
        "{\"name\":\"p\",\"mountPath\":\"/z\",\"subPath\":\"a\"}",
        &err));
    assert_int_equal(set.count, 2);
    assert_int_equal(set.mounts_count, 3);
    assert_string_equal(set.mounts[0].path, "/x"); // a parent before what is mounted in it
    assert_false(set.mounts[0].read_only);
    assert_string_equal(set.mounts[1].path, "/x/y");
    assert_true(set.mounts[1].read_only);
    const struct volume *p = &set.volumes[0];
    assert_int_equal(p->count, 5);
    assert_string_equal(file_of(p, "a")->data.ptr, "hi"); // the later source
    assert_int_equal(file_of(p, "a")->mode, 0600);
    assert_int_equal(file_of(p, "d/k")->mode, 0400);
    assert_int_equal(file_of(p, "b")->mode, 0644);
    assert_int_equal(file_of(p, "raw")->data.len, 3);
    assert_string_equal(file_of(p, "l")->data.ptr, "a=\"\\\"1\\\"\"\nb=\"2\"");
    volumes_fini(&set);
}

static void test_paths_stay_inside(void **state)
{
    static const char *const BAD[] = {"", "/a", "..", "a/..", "../a", "a/../../b", "a/b/.."};
    static const char *const GOOD[] = {"a", "a/b", "..a", "a..", "a/..b/c"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        assert_false(volume_path_is_inside(BAD[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++) {
        assert_true(volume_path_is_inside(GOOD[i]));
    }
    struct volume_set set;
    struct error err;
    assert_int_equal(volumes_of(&set,
                                "{\"name\":\"v\",\"configMap\":{\"name\":\"c\",\"items\":[{\"key\":"
                                "\"a\",\"path\":\"..data\"}]}}",
                                "{\"name\":\"v\",\"mountPath\":\"/x\"}", &err),
                     ERR_INVALID);
    volumes_fini(&set);
}

static void test_references_are_listed(void **state)
{
    json_t *pod = parsed("{\"spec\":{\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[{"
                         "\"secret\":{\"name\":\"s1\"}}]}},"
                         "{\"name\":\"w\",\"secret\":{\"secretName\":\"s2\"}}],\"containers\":[{"
                         "\"envFrom\":[{\"configMapRef\":"
                         "{\"name\":\"c1\"}}],\"env\":[{\"name\":\"A\",\"valueFrom\":{"
                         "\"configMapKeyRef\":{\"name\":\"c2\"}}}]}]}}");
    CLEANUP(cleanup_free) char *list = reference_list(pod);
    assert_true(reference_has(list, REFERENCE_SECRET, "s1"));
    assert_true(reference_has(list, REFERENCE_SECRET, "s2"));
    assert_true(reference_has(list, REFERENCE_CONFIG_MAP, "c1"));
    assert_true(reference_has(list, REFERENCE_CONFIG_MAP, "c2"));
    assert_false(reference_has(list, REFERENCE_CONFIG_MAP, "s1"));
    assert_false(reference_has(NULL, REFERENCE_SECRET, "s1"));
    json_decref(pod);
    pod = parsed("{\"spec\":{\"containers\":[{\"env\":[{\"name\":\"A\",\"value\":\"b\"}]}]}}");
    assert_null(reference_list(pod));
    json_decref(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_references), cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_growth_is_bounded),    cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_paths_stay_inside),    cmocka_unit_test(test_references_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
