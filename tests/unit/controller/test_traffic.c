// SPDX-License-Identifier: Apache-2.0
/* Services, Routes and their traffic on objects in memory: names, tags, owners, rollouts, kills. */
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "fake_world.h"
#include "test.h"

#define S INT64_C(1000000000)

/* A Service of one container; template_name may be "". */
static void put_service(struct world *w, const char *name, const char *template_name)
{
    json_t *service =
        json_pack("{s:{s:s,s:{s:s},s:{s:s}},s:{s:{s:{s:s},s:{s:[{s:s}]}}}}", "metadata", "name",
                  name, "labels", "team", "a", "annotations", "note", "b", "spec", "template",
                  "metadata", "name", template_name, "spec", "containers", "image", "test/i");
    if (template_name[0] == '\0') {
        json_object_del(jget(service, "spec.template"), "metadata");
    }
    world_put(w, KIND_SERVICE, service);
}

static void set_image(struct world *w, const char *name, const char *image)
{
    char patch[256];
    snprintf(patch, sizeof(patch),
             "{'spec':{'template':{'spec':{'containers':[{'image':'test/%s'}]}}}}", image);
    world_patch(w, KIND_SERVICE, name, patch);
}

static struct condition get(struct world *w, enum kind_id kind, const char *name, const char *type)
{
    return condition_get(world_get(w, kind, name), type);
}

#define IS(kind, name, type, want) assert_string_equal(world_condition(&w, kind, name, type), want)
#define SAYS(kind, name, type, want_status, want_reason, want_message) \
    do {                                                               \
        struct condition c_ = get(&w, kind, name, type);               \
        assert_string_equal(c_.status, want_status);                   \
        assert_string_equal(c_.reason, want_reason);                   \
        assert_string_equal(c_.message, want_message);                 \
    } while (0)

static void world_ready(struct world *w, const char *service)
{
    world_init(w);
    w->replicas.ready = 1;
    put_service(w, service, "");
    world_settle(w);
}

/* "hello-00001:30:x hello-00002:70:" */
static void assert_traffic(struct world *w, enum kind_id kind, const char *name, const char *want)
{
    CLEANUP(strbuf_fini) struct strbuf got;
    size_t i;
    const json_t *item;
    strbuf_init(&got, 4096);
    json_array_foreach(jpeek_arr(world_get(w, kind, name), "status.traffic"), i, item)
    {
        strbuf_appendf(&got, "%s%s:%lld:%s", i == 0 ? "" : " ", jpeek_cstr(item, "revisionName"),
                       (long long)jpeek_i64(item, "percent"), jpeek_cstr(item, "tag"));
    }
    assert_string_equal(got.ptr, want);
}

/* --- names and tags ----------------------------------------------------------------------------
 */

static void each_tag_has_its_service(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'hello-00001','percent':20,'tag':'old'},"
                "{'latestRevision':true,'percent':80},"
                "{'latestRevision':true,'percent':0,'tag':'new'}]}}");
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello",
                   "hello-00001:20:old hello-00001:80: hello-00001:0:new");
    IS(KIND_SERVICE, "hello", "Ready", "True");
    const json_t *route = world_get(&w, KIND_ROUTE, "hello");
    const json_t *placeholder = world_get(&w, KIND_CORE_SERVICE, "old-hello");
    assert_non_null(placeholder);
    assert_true(meta_controlled_by(placeholder, route));
    assert_string_equal(meta_label(placeholder, LABEL_ROUTE), "hello");
    assert_string_equal(meta_label(placeholder, LABEL_SERVICE), "hello");
    assert_string_equal(meta_label(placeholder, "team"), "a");
    assert_string_equal(meta_annotation(placeholder, "note"), "b");
    assert_string_equal(jpeek_cstr(placeholder, "spec.type"), "ExternalName");
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "new-hello"));
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "hello"));
    /* What others put there stays; what the Route says comes back. */
    world_patch(&w, KIND_CORE_SERVICE, "old-hello",
                "{'metadata':{'labels':{'team':'z','mine':'1'}},'spec':{'externalName':'x'}}");
    world_settle(&w);
    placeholder = world_get(&w, KIND_CORE_SERVICE, "old-hello");
    assert_string_equal(meta_label(placeholder, "team"), "a");
    assert_string_equal(meta_label(placeholder, "mine"), "1");
    assert_string_equal(jpeek_cstr(placeholder, "spec.externalName"),
                        "lull-activator-local.lull-system.svc.cluster.local");
    /* The tag goes, and its Service with it. */
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'latestRevision':true,'percent':100,'tag':'new'}]}}");
    world_settle(&w);
    assert_null(world_get(&w, KIND_CORE_SERVICE, "old-hello"));
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "new-hello"));
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "hello"));
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

/* More tags than one plan has room for. */
static void many_tags(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    json_t *traffic = json_pack("[{s:b,s:i}]", "latestRevision", 1, "percent", 100);
    for (int i = 0; i < 30; i++) {
        char tag[16];
        snprintf(tag, sizeof(tag), "t%d", i);
        json_array_append_new(
            traffic, json_pack("{s:b,s:i,s:s}", "latestRevision", 1, "percent", 0, "tag", tag));
    }
    json_t *service = world_get(&w, KIND_SERVICE, "hello");
    json_object_set_new(jget(service, "spec"), "traffic", traffic);
    json_object_set_new(jget(service, "metadata"), "generation", json_integer(2));
    world_settle(&w);
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "t29-hello"));
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_patch(&w, KIND_SERVICE, "hello", "{'spec':{'traffic':null}}");
    world_settle(&w);
    assert_null(world_get(&w, KIND_CORE_SERVICE, "t0-hello"));
    assert_null(world_get(&w, KIND_CORE_SERVICE, "t29-hello"));
    world_fini(&w);
}

static const char *url_of(struct world *w, const char *path)
{
    return jpeek_cstr(world_get(w, KIND_SERVICE, "hello"), path);
}

static void names_for_inside_only(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    w.replicas.ready = 1;
    snprintf(w.settings.network.domain, sizeof(w.settings.network.domain), "example.com");
    put_service(&w, "hello", "");
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'latestRevision':true,'percent':100,'tag':'a'}]}}");
    world_settle(&w);
    assert_string_equal(url_of(&w, "status.url"), "http://hello.default.example.com");
    assert_string_equal(url_of(&w, "status.traffic[0].url"), "http://a-hello.default.example.com");
    /* One tag by the label on its placeholder. */
    world_patch(&w, KIND_CORE_SERVICE, "a-hello",
                "{'metadata':{'labels':{'networking.knative.dev/visibility':'cluster-local'}}}");
    world_settle(&w);
    assert_string_equal(url_of(&w, "status.url"), "http://hello.default.example.com");
    assert_string_equal(url_of(&w, "status.traffic[0].url"),
                        "http://a-hello.default.svc.cluster.local");
    /* All of it by the label on the Service; the placeholders' own stays. */
    world_patch(&w, KIND_SERVICE, "hello",
                "{'metadata':{'labels':{'networking.knative.dev/visibility':'cluster-local'}}}");
    world_settle(&w);
    assert_string_equal(url_of(&w, "status.url"), "http://hello.default.svc.cluster.local");
    assert_string_equal(meta_label(world_get(&w, KIND_ROUTE, "hello"), LABEL_VISIBILITY),
                        "cluster-local");
    assert_string_equal(meta_label(world_get(&w, KIND_CORE_SERVICE, "hello"), LABEL_VISIBILITY),
                        "");
    world_patch(&w, KIND_SERVICE, "hello",
                "{'metadata':{'labels':{'networking.knative.dev/visibility':null}}}");
    world_settle(&w);
    assert_string_equal(url_of(&w, "status.url"), "http://hello.default.example.com");
    assert_string_equal(url_of(&w, "status.traffic[0].url"),
                        "http://a-hello.default.svc.cluster.local");
    world_fini(&w);
}

static void the_same_twice_is_one(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'latestRevision':true,'percent':30},"
                "{'revisionName':'hello-00001','percent':30},"
                "{'latestRevision':true,'percent':40}]}}");
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00001:70: hello-00001:30:");
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

/* --- owners and names --------------------------------------------------------------------------
 */

static void a_revision_of_another_service(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    put_service(&w, "other", "");
    world_settle(&w);
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'other-00001','percent':100}]}}");
    world_settle(&w);
    SAYS(KIND_ROUTE, "hello", "AllTrafficAssigned", "False", "RevisionNotOwned",
         "Revision \"other-00001\" belongs to Service \"other\", not Service \"hello\".");
    assert_traffic(&w, KIND_ROUTE, "hello", "hello-00001:100:");
    /* A Route of nobody may. */
    world_put(&w, KIND_ROUTE,
              json_pack("{s:{s:s},s:{s:[{s:s,s:i},{s:s,s:i}]}}", "metadata", "name", "both", "spec",
                        "traffic", "revisionName", "other-00001", "percent", 40,
                        "configurationName", "hello", "percent", 60));
    world_settle(&w);
    IS(KIND_ROUTE, "both", "Ready", "True");
    assert_traffic(&w, KIND_ROUTE, "both", "other-00001:40: hello-00001:60:");
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_REVISION, "hello-00001"), ANNOTATION_ROUTES),
        "both,hello");
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_CONFIGURATION, "hello"), ANNOTATION_ROUTES),
        "both,hello");
    world_delete(&w, KIND_ROUTE, "both");
    world_delete(&w, KIND_CORE_SERVICE, "both");
    world_settle(&w);
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_REVISION, "hello-00001"), ANNOTATION_ROUTES), "hello");
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_CONFIGURATION, "hello"), ANNOTATION_ROUTES), "hello");
    world_fini(&w);
}

static void names_of_the_users_choice(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    w.replicas.ready = 1;
    put_service(&w, "hello", "hello-one");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-one:100:");
    /* The same template under the same name: nothing new, whatever the generation. */
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'hello-one','percent':100}]}}");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    /* Another one under the same name: refused, and what runs goes on. */
    set_image(&w, "hello", "j");
    world_settle(&w);
    SAYS(KIND_CONFIGURATION, "hello", "Ready", "False", "RevisionFailed",
         "Revision creation failed with message: revisions.serving.knative.dev \"hello-one\" "
         "already exists.");
    SAYS(KIND_SERVICE, "hello", "RoutesReady", "False", "RevisionNameTaken",
         "The revision name \"hello-one\" is taken by a conflicting Revision, so traffic will not "
         "be migrated");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-one:100:");
    assert_true(w.again_ms > 0);
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':null,'template':{'metadata':{'name':'hello-two'}}}}");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-two:100:");
    /* Back to the first, by name and template: no new revision. */
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'template':{'metadata':{'name':'hello-one'}}}}");
    set_image(&w, "hello", "i");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-one:100:");
    world_fini(&w);
}

static void objects_in_the_way(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    w.replicas.ready = 1;
    world_put(&w, KIND_CONFIGURATION,
              json_pack("{s:{s:s},s:{s:{s:{s:[{s:s}]}}}}", "metadata", "name", "hello", "spec",
                        "template", "spec", "containers", "image", "theirs"));
    put_service(&w, "hello", "");
    world_settle(&w);
    SAYS(KIND_SERVICE, "hello", "ConfigurationsReady", "False", "NotOwned",
         "There is an existing Configuration \"hello\" that we do not own.");
    IS(KIND_SERVICE, "hello", "RoutesReady", "Unknown");
    assert_null(world_get(&w, KIND_ROUTE, "hello"));
    assert_string_equal(url_of(&w, "status.latestCreatedRevisionName"), "");
    world_fini(&w);
    world_init(&w);
    w.replicas.ready = 1;
    world_put(&w, KIND_ROUTE,
              json_pack("{s:{s:s},s:{s:[{s:s,s:i}]}}", "metadata", "name", "hello", "spec",
                        "traffic", "configurationName", "none", "percent", 100));
    put_service(&w, "hello", "");
    world_settle(&w);
    SAYS(KIND_ROUTE, "hello", "AllTrafficAssigned", "False", "ConfigurationMissing",
         "Configuration \"none\" referenced in traffic not found.");
    SAYS(KIND_ROUTE, "hello", "IngressReady", "Unknown", "IngressNotConfigured",
         "Ingress has not yet been reconciled.");
    SAYS(KIND_SERVICE, "hello", "RoutesReady", "False", "NotOwned",
         "There is an existing Route \"hello\" that we do not own.");
    assert_string_equal(url_of(&w, "status.url"), "");
    world_fini(&w);
}

/* --- conditions on the way ---------------------------------------------------------------------
 */

static void an_update_is_seen_at_once(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    SAYS(KIND_ROUTE, "hello", "CertificateProvisioned", "True", "TLSNotEnabled",
         "external-domain-tls is not enabled");
    w.broken = "hello-00002";
    set_image(&w, "hello", "j");
    size_t before = w.writes;
    w.max_writes = before + 2; /* the Configuration's new spec, and the Service's status */
    world_pass(&w);
    SAYS(KIND_SERVICE, "hello", "ConfigurationsReady", "Unknown", "OutOfDate",
         "The Configuration is still working to reflect the latest desired specification.");
    IS(KIND_SERVICE, "hello", "Ready", "Unknown");
    assert_true(condition_observed(world_get(&w, KIND_SERVICE, "hello")));
    w.max_writes = SIZE_MAX;
    world_settle(&w);
    IS(KIND_ROUTE, "hello", "Ready", "True"); /* the old one serves */
    SAYS(KIND_SERVICE, "hello", "ConfigurationsReady", "Unknown", "", "");
    /* The new one belongs to the Route before it is ready, the old one stays meanwhile. */
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00002"), LABEL_ROUTING_STATE), "active");
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "active");
    w.broken = NULL;
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00002:100:");
    const json_t *old = world_get(&w, KIND_REVISION, "hello-00001");
    assert_string_equal(meta_label(old, LABEL_ROUTING_STATE), "reserve");
    assert_string_equal(meta_annotation(old, ANNOTATION_ROUTES), "");
    /* Rollback: the old one by name. */
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'hello-00001','percent':100}]}}");
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00001:100:");
    old = world_get(&w, KIND_REVISION, "hello-00001");
    assert_string_equal(meta_label(old, LABEL_ROUTING_STATE), "active");
    assert_false(
        jpeek_bool(world_get(&w, KIND_ROUTE, "hello"), "status.traffic[0].latestRevision"));
    world_fini(&w);
}

static void the_first_deployment_waits(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_service(&w, "hello", "");
    world_settle(&w);
    SAYS(KIND_SERVICE, "hello", "Ready", "Unknown", "RevisionMissing",
         "Configuration \"hello\" is waiting for a Revision to become ready.");
    /* Superseded before it was ever ready: the Route, which has nothing yet, still keeps it. */
    set_image(&w, "hello", "j");
    world_settle(&w);
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "active");
    assert_true(w.again_ms > 0);
    w.replicas = (struct replicas){.trouble = TROUBLE_EXITED, .exit_code = 1};
    world_settle(&w);
    SAYS(KIND_ROUTE, "hello", "AllTrafficAssigned", "False", "RevisionMissing",
         "Configuration \"hello\" does not have any ready Revision.");
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "reserve");
    world_fini(&w);
}

static void the_latest_ready_is_deleted(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    set_image(&w, "hello", "j");
    world_settle(&w);
    w.broken = "hello-00003";
    set_image(&w, "hello", "k");
    world_settle(&w);
    world_delete(&w, KIND_REVISION, "hello-00002");
    world_settle(&w);
    assert_string_equal(url_of(&w, "status.latestReadyRevisionName"), "hello-00001");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00001:100:");
    world_delete(&w, KIND_REVISION, "hello-00001");
    world_settle(&w);
    SAYS(KIND_CONFIGURATION, "hello", "Ready", "False", "RevisionDeleted",
         "Revision \"hello-00001\" was deleted.");
    SAYS(KIND_ROUTE, "hello", "AllTrafficAssigned", "False", "RevisionMissing",
         "Revision \"hello-00001\" referenced in traffic not found.");
    w.broken = NULL;
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    /* The newest itself: it is made again. */
    world_delete(&w, KIND_REVISION, "hello-00003");
    world_delete(&w, KIND_DEPLOYMENT, "hello-00003-deployment");
    world_delete(&w, KIND_PODAUTOSCALER, "hello-00003");
    world_settle(&w);
    assert_non_null(world_get(&w, KIND_REVISION, "hello-00003"));
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

/* --- gradual rollout ---------------------------------------------------------------------------
 */

static const char rollout[] = "{'metadata':{'annotations':{'serving.knative.dev/rollout-duration':"
                              "'11s'}}}"; /* ten steps of ten, one a second */

static void a_rollout_in_steps(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    world_patch(&w, KIND_SERVICE, "hello", rollout);
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    set_image(&w, "hello", "j");
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00001:99: hello-00002:1:");
    SAYS(KIND_ROUTE, "hello", "IngressReady", "Unknown", "RolloutInProgress",
         "A gradual rollout of the latest revision(s) is in progress.");
    SAYS(KIND_SERVICE, "hello", "RoutesReady", "Unknown", "RolloutInProgress",
         "A gradual rollout of the latest revision(s) is in progress.");
    assert_non_null(strstr(meta_annotation(world_get(&w, KIND_ROUTE, "hello"), ANNOTATION_ROLLOUT),
                           "\"stepDuration\":1000000000,\"stepSize\":10"));
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_CORE_SERVICE, "hello"), ANNOTATION_ROLLOUT), "");
    assert_string_equal(
        meta_annotation(world_get(&w, KIND_CONFIGURATION, "hello"), ANNOTATION_ROLLOUT_DURATION),
        "");
    for (int i = 1; i < 10; i++) {
        char want[64];
        assert_in_range(w.again_ms, 1, 1001);
        world_advance(&w, (int64_t)w.again_ms * 1000000);
        world_settle(&w);
        snprintf(want, sizeof(want), "hello-00001:%d: hello-00002:%d:", 99 - 10 * i, 1 + 10 * i);
        assert_traffic(&w, KIND_SERVICE, "hello", want);
        assert_string_equal(
            meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "active");
    }
    world_advance(&w, (int64_t)w.again_ms * 1000000);
    world_settle(&w);
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00002:100:");
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_int_equal(w.again_ms, 0);
    assert_string_equal(meta_annotation(world_get(&w, KIND_ROUTE, "hello"), ANNOTATION_ROLLOUT),
                        "");
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "reserve");
    world_fini(&w);
}

/* From config-network; with a tag and a pinned part, which stays as it is; then given up. */
static void a_rollout_of_a_part(void **state)
{
    struct world w;
    (void)state;
    world_ready(&w, "hello");
    w.settings.network.rollout_duration_s = 11;
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'hello-00001','percent':60},"
                "{'latestRevision':true,'percent':40,'tag':'next'},"
                "{'latestRevision':true,'percent':0,'tag':'look'}]}}");
    world_settle(&w);
    set_image(&w, "hello", "j");
    world_settle(&w);
    assert_traffic(&w, KIND_ROUTE, "hello",
                   "hello-00001:60: hello-00001:39:next hello-00002:1:next hello-00002:0:look");
    world_advance(&w, S);
    world_settle(&w);
    assert_traffic(&w, KIND_ROUTE, "hello",
                   "hello-00001:60: hello-00001:35:next hello-00002:5:next hello-00002:0:look");
    /* The revision that it comes from is deleted: the rest follows at once. */
    world_delete(&w, KIND_REVISION, "hello-00001");
    world_patch(&w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'latestRevision':true,'percent':100,'tag':'next'}]}}");
    world_settle(&w);
    assert_traffic(&w, KIND_ROUTE, "hello", "hello-00002:100:next");
    IS(KIND_SERVICE, "hello", "Ready", "True");
    /* Switched off on the way: over at once. */
    set_image(&w, "hello", "k");
    world_settle(&w);
    assert_traffic(&w, KIND_ROUTE, "hello", "hello-00002:99:next hello-00003:1:next");
    w.settings.network.rollout_duration_s = 0;
    world_settle(&w);
    assert_traffic(&w, KIND_ROUTE, "hello", "hello-00003:100:next");
    world_fini(&w);
}

/* --- killed after the n-th write ---------------------------------------------------------------
 */

/* A create, updates of template, names and tags with a rollout, and a tag's end. */
static void live(struct world *w)
{
    world_settle(w);
    w->replicas.ready = 1;
    world_settle(w);
    world_patch(w, KIND_SERVICE, "hello", rollout);
    world_patch(w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'latestRevision':true,'percent':100,'tag':'a'}]}}");
    world_settle(w);
    set_image(w, "hello", "j");
    world_settle(w);
    for (int i = 0; i < 10; i++) {
        world_advance(w, 2 * S);
        world_settle(w);
    }
    world_patch(w, KIND_SERVICE, "hello",
                "{'spec':{'traffic':[{'revisionName':'hello-00001','percent':25},"
                "{'latestRevision':true,'percent':75,'tag':'b'}]}}");
    world_settle(w);
}

static void killed_after_any_write(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_service(&w, "hello", "");
    live(&w);
    CLEANUP(cleanup_free) char *want = world_picture(&w);
    size_t writes = w.writes;
    assert_true(writes > 60);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_traffic(&w, KIND_SERVICE, "hello", "hello-00001:25: hello-00002:75:b");
    world_fini(&w);
    for (size_t n = 0; n < writes; n++) {
        world_init(&w);
        put_service(&w, "hello", "");
        w.kill_at = n + 1;
        live(&w);
        CLEANUP(cleanup_free) char *got = world_picture(&w);
        assert_string_equal(got, want);
        world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tag_has_its_service),
        cmocka_unit_test(many_tags),
        cmocka_unit_test(names_for_inside_only),
        cmocka_unit_test(the_same_twice_is_one),
        cmocka_unit_test(a_revision_of_another_service),
        cmocka_unit_test(names_of_the_users_choice),
        cmocka_unit_test(objects_in_the_way),
        cmocka_unit_test(an_update_is_seen_at_once),
        cmocka_unit_test(the_first_deployment_waits),
        cmocka_unit_test(the_latest_ready_is_deleted),
        cmocka_unit_test(a_rollout_in_steps),
        cmocka_unit_test(a_rollout_of_a_part),
        cmocka_unit_test(killed_after_any_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
