// SPDX-License-Identifier: Apache-2.0
//
// Shares, tags and rollback as edits of spec.traffic; Secrets and ConfigMaps as edits of a Pod's
// spec.
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/service_refs.h"
#include "cli/traffic_edit.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct error err;
    ASSERT_OK(jparse(slice_str(text), 1u << 20, &root, &err));
    return root;
}

static void same(const json_t *got, const char *want)
{
    json_t *expect = parsed(want);
    CLEANUP(cleanup_free) char *text = jdump_str(got);
    if (!jequal(got, expect)) {
        fail_msg("got %s, want %s", text, want);
    }
    json_decref(expect);
}

static json_t *service_with(const char *traffic)
{
    CLEANUP(cleanup_free) char *text = xasprintf("{\"spec\":{\"traffic\":%s}}", traffic);
    return parsed(text);
}

#define LATEST(n) "{\"latestRevision\":true,\"percent\":" #n "}"
#define WORDS(...)        \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

static void edits(const char *before, const struct traffic_changes *c, const char *after)
{
    struct error err;
    json_t *service = service_with(before);
    ASSERT_OK(traffic_edit(service, c, &err));
    same(jget(service, "spec.traffic"), after);
    json_decref(service);
}

static void test_shares(void **state)
{
    (void)state;
    edits("null", &(struct traffic_changes){.to = WORDS("x-1=20", "@latest=80")},
          "[{\"latestRevision\":true,\"percent\":80},"
          "{\"revisionName\":\"x-1\",\"latestRevision\":false,\"percent\":20}]");
    // By tag; the tag stays, also where the share goes.
    edits("[{\"revisionName\":\"x-1\",\"tag\":\"v1\",\"percent\":0}," LATEST(100) "]",
          &(struct traffic_changes){.to = WORDS("v1=100%")},
          "[{\"revisionName\":\"x-1\",\"tag\":\"v1\",\"latestRevision\":false,\"percent\":100}]");
    edits("[{\"revisionName\":\"x-1\",\"tag\":\"v1\",\"percent\":100}]",
          &(struct traffic_changes){.to = WORDS("@latest=100")},
          "[{\"revisionName\":\"x-1\",\"tag\":\"v1\",\"latestRevision\":false}," LATEST(100) "]");
}

static void test_tags(void **state)
{
    (void)state;
    edits("[" LATEST(100) "]", &(struct traffic_changes){.tag = WORDS("x-1=v1", "@latest=now")},
          "[{\"latestRevision\":true,\"percent\":100,\"tag\":\"now\"},"
          "{\"revisionName\":\"x-1\",\"latestRevision\":false,\"tag\":\"v1\"}]");
    edits("[" LATEST(100) ",{\"revisionName\":\"x-1\",\"latestRevision\":false,\"tag\":\"v1\"}]",
          &(struct traffic_changes){.tag = WORDS("x-2=v1"), .untag = WORDS("v1")},
          "[" LATEST(100) ",{\"revisionName\":\"x-2\",\"latestRevision\":false,\"tag\":\"v1\"}]");
    edits("[{\"latestRevision\":true,\"percent\":100,\"tag\":\"a\"}]",
          &(struct traffic_changes){.untag = WORDS("a")}, "[" LATEST(100) "]");
}

static void refused(const struct traffic_changes *c, const char *words)
{
    struct error err;
    json_t *service = service_with(
        "[" LATEST(100) ",{\"revisionName\":\"x-1\",\"latestRevision\":false,\"tag\":\"v1\"}]");
    json_t *copy = json_deep_copy(service);
    assert_true(traffic_edit(service, c, &err) < 0);
    ASSERT_MSG(words);
    assert_true(jequal(service, copy)); // untouched
    json_decref(copy);
    json_decref(service);
}

static void test_refused(void **state)
{
    (void)state;
    refused(&(struct traffic_changes){.to = WORDS("x-1=20")}, "add up to 20");
    refused(&(struct traffic_changes){.to = WORDS("x-1=20", "@latest=90")}, "add up to 110");
    refused(&(struct traffic_changes){.to = WORDS("x-1=50", "v1=50")}, "twice");
    refused(&(struct traffic_changes){.to = WORDS("x-1")}, "must be REVISION=PERCENT");
    refused(&(struct traffic_changes){.to = WORDS("x-1=101")}, "0 to 100");
    refused(&(struct traffic_changes){.to = WORDS("x-1=-1")}, "0 to 100");
    refused(&(struct traffic_changes){.tag = WORDS("x-2=v1")}, "--untag v1");
    refused(&(struct traffic_changes){.untag = WORDS("v2")}, "no such tag");
    refused(&(struct traffic_changes){.tag = WORDS("x-2=No_Label")}, "DNS 1035");
}

static void test_rollback(void **state)
{
    (void)state;
#define REVISION(name, generation, ready)                                   \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{"                     \
    "\"serving.knative.dev/configurationGeneration\":\"" generation "\"}}," \
    "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"}]}}"
    struct error err;
    json_t *revisions = parsed("{\"items\":[" REVISION("x-10", "10", "True") "," REVISION(
        "x-9", "9", "False") "," REVISION("x-8", "8", "True") "," REVISION("x-2", "2",
                                                                           "True") "]}");
    json_t *service = parsed("{\"spec\":{},\"status\":{\"traffic\":["
                             "{\"revisionName\":\"x-10\",\"percent\":90},"
                             "{\"revisionName\":\"x-8\",\"percent\":10}]}}");
    assert_string_equal(traffic_previous(service, revisions, &err), "x-8");
    ASSERT_OK(traffic_pin(service, "x-8", &err));
    same(jget(service, "spec.traffic"),
         "[{\"revisionName\":\"x-8\",\"latestRevision\":false,\"percent\":100}]");
    json_decref(service);
    service = parsed("{\"status\":{\"traffic\":[{\"revisionName\":\"x-2\",\"percent\":100}]}}");
    assert_null(traffic_previous(service, revisions, &err));
    ASSERT_MSG("no ready revision older");
    json_decref(service);
    json_decref(revisions);
}

static void test_references(void **state)
{
    (void)state;
    struct error err;
    json_t *pod = parsed("{\"containers\":[{}]}");
    json_t *c = json_array_get(jpeek_arr(pod, "containers"), 0);
    ASSERT_OK(service_env_from(c, "secret:db", &err));
    ASSERT_OK(service_env_from(c, "secret:db", &err));
    ASSERT_OK(service_env_from(c, "config:s", &err));
    ASSERT_OK(service_env_from(c, "secret:db-", &err));
    ASSERT_OK(service_mount(pod, c, "/a=secret:db.x", &err));
    ASSERT_OK(service_mount(pod, c, "/b=config:s", &err));
    ASSERT_OK(service_mount(pod, c, "/c=config:s", &err));
    ASSERT_OK(service_mount(pod, c, "/b-", &err));
    ASSERT_OK(service_mount(pod, c, "/a=config:t", &err));
    same(pod,
         "{\"containers\":[{\"envFrom\":[{\"configMapRef\":{\"name\":\"s\"}}],\"volumeMounts\":["
         "{\"name\":\"config-s\",\"mountPath\":\"/c\",\"readOnly\":true},"
         "{\"name\":\"config-t\",\"mountPath\":\"/a\",\"readOnly\":true}]}],"
         "\"volumes\":[{\"name\":\"config-s\",\"configMap\":{\"name\":\"s\"}},"
         "{\"name\":\"config-t\",\"configMap\":{\"name\":\"t\"}}]}");
    ASSERT_OK(service_mount(pod, c, "/c-", &err));
    ASSERT_OK(service_mount(pod, c, "/a-", &err));
    ASSERT_OK(service_env_from(c, "cm:s-", &err));
    same(pod, "{\"containers\":[{}]}");
    ASSERT_ERR(ERR_NOT_FOUND, service_mount(pod, c, "/a-", &err));
    ASSERT_ERR(ERR_NOT_FOUND, service_env_from(c, "cm:s-", &err));
    ASSERT_ERR(ERR_INVALID, service_mount(pod, c, "a=secret:x", &err));
    ASSERT_ERR(ERR_INVALID, service_mount(pod, c, "/a=x", &err));
    ASSERT_ERR(ERR_INVALID, service_env_from(c, "secret:", &err));
    ASSERT_ERR(ERR_INVALID, service_env_from(c, "db", &err));
    json_decref(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares), cmocka_unit_test(test_tags), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rollback), cmocka_unit_test(test_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
