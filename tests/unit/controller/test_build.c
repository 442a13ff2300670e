// SPDX-License-Identifier: Apache-2.0
/* The Deployment of a Revision that uses all that may pass through, field by field; and how many
 * objects a function is made of. */
#include <unistd.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/announce.h"
#include "controller/build.h"
#include "fake_world.h"
#include "test.h"

enum { OBJECTS_OF_A_FUNCTION = 7 };

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &value, &err));
    return value;
}

static const char revision_text[] =
    "{\"apiVersion\":\"serving.knative.dev/"
    "v1\",\"kind\":\"Revision\",\"metadata\":{\"name\":\"r-00001\","
    "\"namespace\":\"ns\",\"uid\":\"u1\",\"labels\":{\"serving.knative.dev/service\":\"r\","
    "\"serving.knative.dev/configuration\":\"r\",\"serving.knative.dev/"
    "routingState\":\"active\",\"mine\":\"1\"},"
    "\"annotations\":{\"serving.knative.dev/routes\":\"r\",\"example.com/a\":\"b\","
    "\"serving.knative.dev/progress-deadline\":\"120s\"}},\"spec\":{\"containerConcurrency\":5,"
    "\"timeoutSeconds\":42,\"serviceAccountName\":\"robot\",\"imagePullSecrets\":[{\"name\":"
    "\"pull\"}],"
    "\"nodeSelector\":{\"disk\":\"ssd\"},\"runtimeClassName\":\"gvisor\",\"priorityClassName\":"
    "\"high\","
    "\"schedulerName\":\"mine\",\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}],"
    "\"affinity\":{\"podAntiAffinity\":{}},\"topologySpreadConstraints\":[{\"maxSkew\":1}],"
    "\"securityContext\":{\"fsGroup\":7},\"dnsPolicy\":\"None\",\"hostAliases\":[{\"ip\":\"10.0.0."
    "1\"}],"
    "\"automountServiceAccountToken\":false,\"enableServiceLinks\":true,"
    "\"initContainers\":[{\"name\":\"init\",\"image\":\"i\"}],"
    "\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"x\"}},{\"name\":\"c\",\"configMap\":"
    "{\"name\":\"x\"}},"
    "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"p\",\"persistentVolumeClaim\":{\"claimName\":"
    "\"x\"}},"
    "{\"name\":\"j\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"x\"}}]}}],"
    "\"containers\":[{\"name\":\"fn\",\"image\":\"f\",\"ports\":[{\"containerPort\":9000}],"
    "\"env\":[{\"name\":\"A\",\"value\":\"b\"}],\"envFrom\":[{\"secretRef\":{\"name\":\"x\"}}],"
    "\"resources\":{\"limits\":{\"cpu\":\"1\"}},\"securityContext\":{\"runAsUser\":5},"
    "\"volumeMounts\":[{\"name\":\"s\",\"mountPath\":\"/s\",\"readOnly\":true}],"
    "\"readinessProbe\":{\"httpGet\":{\"path\":\"/ready\"},\"periodSeconds\":3},"
    "\"livenessProbe\":{\"httpGet\":{\"path\":\"/live\"}},\"startupProbe\":{\"tcpSocket\":{}}},"
    "{\"name\":\"side\",\"image\":\"g\",\"args\":[\"x\"]}]}}";

#define TEXT(path, want)   assert_string_equal(jpeek_cstr(d, path), want)
#define NUMBER(path, want) assert_int_equal(jpeek_i64(d, path), want)
#define POD                "spec.template.spec."
#define FN                 POD "containers[0]."
#define QP                 POD "containers[2]."

static json_t *deployment(const char *text)
{
    struct settings settings;
    CLEANUP(jfree) json_t *revision = parse(text);
    settings_init(&settings, "example.com/queue-proxy:1", "lull-system");
    json_t *d = build_deployment(&settings, revision);
    settings_fini(&settings);
    assert_non_null(d);
    return d;
}

static void shape_of_the_deployment(void **state)
{
    CLEANUP(jfree) json_t *d = deployment(revision_text);
    TEXT("metadata.name", "r-00001-deployment");
    TEXT("metadata.namespace", "ns");
    TEXT("metadata.ownerReferences[0].kind", "Revision");
    TEXT("metadata.labels.app", "r-00001");
    TEXT("metadata.labels.`serving.knative.dev/revision`", "r-00001");
    TEXT("spec.selector.matchLabels.`serving.knative.dev/revisionUID`", "u1");
    TEXT("spec.strategy.type", "RollingUpdate");
    NUMBER("spec.strategy.rollingUpdate.maxUnavailable", 0);
    NUMBER("spec.revisionHistoryLimit", 0);
    NUMBER("spec.progressDeadlineSeconds", 120);
    NUMBER("spec.replicas", 1);
    TEXT("spec.template.metadata.labels.mine", "1");
    TEXT("spec.template.metadata.labels.`serving.knative.dev/service`", "r");
    TEXT("spec.template.metadata.labels.`serving.knative.dev/routingState`", "");
    TEXT("spec.template.metadata.annotations.`example.com/a`", "b");
    TEXT("spec.template.metadata.annotations.`serving.knative.dev/routes`", "");
    NUMBER(POD "terminationGracePeriodSeconds", 42);
    assert_null(jget(d, POD "containerConcurrency"));
    assert_null(jget(d, POD "timeoutSeconds"));
}

/* What a user may say of a pod reaches it as it was said. */
static void pods_keep_what_is_said(void **state)
{
    static const char *const fields[] = {"serviceAccountName", "imagePullSecrets",
                                         "nodeSelector",       "runtimeClassName",
                                         "priorityClassName",  "schedulerName",
                                         "tolerations",        "affinity",
                                         "securityContext",    "dnsPolicy",
                                         "hostAliases",        "topologySpreadConstraints",
                                         "initContainers",     "volumes",
                                         "enableServiceLinks", "automountServiceAccountToken"};
    static const char *const of_container[] = {"image", "envFrom",         "resources",
                                               "args",  "securityContext", "volumeMounts"};
    CLEANUP(jfree) json_t *d = deployment(revision_text);
    CLEANUP(jfree) json_t *revision = parse(revision_text);
    const json_t *from = jpeek_obj(revision, "spec");
    const json_t *pod = jpeek_obj(d, "spec.template.spec");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_t *want = json_object_get(from, fields[i]);
        if (want == NULL || !json_equal(want, json_object_get(pod, fields[i]))) {
            fail_msg("%s", fields[i]);
        }
    }
    for (size_t c = 0; c < 2; c++) {
        const json_t *said = json_array_get(jpeek_arr(from, "containers"), c);
        const json_t *got = json_array_get(jpeek_arr(pod, "containers"), c);
        for (size_t i = 0; i < ARRAY_LEN(of_container); i++) {
            json_t *want = json_object_get(said, of_container[i]);
            if (want != NULL && !json_equal(want, json_object_get(got, of_container[i]))) {
                fail_msg("%s of container %zu", of_container[i], c);
            }
        }
    }
    assert_int_equal(json_array_size(jpeek_arr(pod, "containers")), 3);
}

static void the_function_and_its_probes(void **state)
{
    static const char *const names[] = {"A", "PORT", "K_REVISION", "K_CONFIGURATION", "K_SERVICE"};
    static const char *const values[] = {"b", "9000", "r-00001", "r", "r"};
    CLEANUP(jfree) json_t *d = deployment(revision_text);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *one = json_array_get(jpeek_arr(d, FN "env"), i);
        assert_string_equal(jpeek_cstr(one, "name"), names[i]);
        assert_string_equal(jpeek_cstr(one, "value"), values[i]);
    }
    TEXT(FN "ports[0].name", "user-port");
    NUMBER(FN "ports[0].containerPort", 9000);
    assert_null(jget(d, FN "readinessProbe"));
    TEXT(FN "livenessProbe.httpGet.path", "/live");
    NUMBER(FN "livenessProbe.httpGet.port", 9000);
    NUMBER(FN "startupProbe.tcpSocket.port", 9000);
    TEXT(FN "lifecycle.preStop.httpGet.path", "/wait-for-drain");
    NUMBER(FN "lifecycle.preStop.httpGet.port", 8022);
    TEXT(FN "terminationMessagePolicy", "FallbackToLogsOnError");
}

static const char *queue_env(const json_t *d, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(jpeek_arr(d, QP "env"), i, one)
    {
        if (slice_eq_str(jpeek_str(one, "name"), name)) {
            return jpeek_cstr(one, "value");
        }
    }
    return "";
}

static void the_queue_proxy(void **state)
{
    CLEANUP(jfree) json_t *d = deployment(revision_text);
    TEXT(QP "name", "queue-proxy");
    TEXT(QP "image", "example.com/queue-proxy:1");
    TEXT(QP "resources.requests.cpu", "25m");
    assert_true(jpeek_bool(d, QP "securityContext.runAsNonRoot"));
    assert_true(jpeek_bool(d, QP "securityContext.readOnlyRootFilesystem"));
    TEXT(QP "securityContext.capabilities.drop[0]", "ALL");
    TEXT(QP "securityContext.seccompProfile.type", "RuntimeDefault");
    NUMBER(QP "ports[0].containerPort", 8022);
    NUMBER(QP "ports[1].containerPort", 9090);
    NUMBER(QP "ports[2].containerPort", 9091);
    NUMBER(QP "ports[3].containerPort", 8012);
    TEXT(QP "ports[3].name", "queue-port");
    NUMBER(QP "readinessProbe.httpGet.port", 8012);
    TEXT(QP "readinessProbe.httpGet.httpHeaders[0].name", "K-Network-Probe");
    assert_string_equal(queue_env(d, "CONTAINER_CONCURRENCY"), "5");
    assert_string_equal(queue_env(d, "REVISION_TIMEOUT_SECONDS"), "42");
    assert_string_equal(queue_env(d, "USER_PORT"), "9000");
    CLEANUP(jfree) json_t *probe = parse(queue_env(d, "SERVING_READINESS_PROBE"));
    assert_string_equal(jpeek_cstr(probe, "httpGet.path"), "/ready");
    assert_int_equal(jpeek_i64(probe, "httpGet.port"), 9000);
    assert_int_equal(jpeek_i64(probe, "periodSeconds"), 3);
}

/* --- what ConfigMaps and annotations add ------------------------------------------------------ */

/* The Deployment of `revision` (' for ") with what the two ConfigMaps say. */
static json_t *deployment_with(const char *revision, const char *features, const char *config)
{
    struct settings settings;
    struct error err = {0};
    char *texts[3];
    json_t *values[3];
    const char *from[3] = {revision, features, config};
    for (size_t i = 0; i < 3; i++) {
        texts[i] = xstrdup(from[i]);
        for (char *c = texts[i]; *c != '\0'; c++) {
            *c = *c == '\'' ? '"' : *c;
        }
        values[i] = parse(texts[i]);
        free(texts[i]);
    }
    settings_init(&settings, "example.com/queue-proxy:1", "lull-system");
    ASSERT_OK(settings_read(&settings, "config-features", values[1], &err));
    ASSERT_OK(settings_read(&settings, "config-deployment", values[2], &err));
    json_t *d = build_deployment(&settings, values[0]);
    settings_fini(&settings);
    for (size_t i = 0; i < 3; i++) {
        json_decref(values[i]);
    }
    assert_non_null(d);
    return d;
}

#define SMALL(annotations, container)                                                           \
    "{'metadata':{'name':'r-00001','namespace':'ns','uid':'u1','labels':{'tier':'a'},"          \
    "'annotations':{" annotations "}},'spec':{'containers':[{'name':'fn','image':'f'" container \
    "}]}}"

static const json_t *resources_of(const json_t *d)
{
    return jpeek_obj(json_array_get(jpeek_arr(d, POD "containers"), 1), "resources");
}

static void resources_of_the_queue_proxy(void **state)
{
#define Q "queue.sidecar.serving.knative.dev/"
#define FUNCTION_HAS \
    ",'resources':{'requests':{'cpu':'500m','memory':'1Gi'},'limits':{'cpu':'1','memory':'3Gi'}}"
    static const struct {
        const char *revision;
        const char *features;
        const char *config;
        const char *want;
    } rows[] = {
        {SMALL("", ""), "{}", "{}", "{'requests':{'cpu':'25m'}}"},
        {SMALL("", ""), "{}",
         "{'queue-sidecar-memory-limit':'64Mi','queue-sidecar-cpu-request':'5m'}",
         "{'requests':{'cpu':'5m'},'limits':{'memory':'64Mi'}}"},
        {SMALL("", ""), "{'queueproxy.resource-defaults':'Enabled'}", "{}",
         "{'requests':{'cpu':'25m','memory':'400Mi'},'limits':{'cpu':'1','memory':'800Mi'}}"},
        {SMALL("'" Q "memory-resource-request':'10Mi','" Q "cpu-resource-limit':'50m'", ""), "{}",
         "{}", "{'requests':{'cpu':'25m','memory':'10Mi'},'limits':{'cpu':'50m'}}"},
        {SMALL("'" Q "ephemeralStorageResourceLimit':'1Gi'", ""), "{}", "{}",
         "{'requests':{'cpu':'25m'},'limits':{'ephemeral-storage':'1Gi'}}"},
        {SMALL("'" Q "resource-percentage':'10'", FUNCTION_HAS), "{}", "{}",
         "{'requests':{'cpu':'50m','memory':'107374182400m'},"
         "'limits':{'cpu':'100m','memory':'322122547200m'}}"},
        {SMALL("'" Q "resource-percentage':'100'", FUNCTION_HAS), "{}", "{}",
         "{'requests':{'cpu':'100m','memory':'200Mi'},'limits':{'cpu':'500m','memory':'500Mi'}}"},
        {SMALL("'" Q "resource-percentage':'0.2'", FUNCTION_HAS), "{}", "{}",
         "{'requests':{'cpu':'25m','memory':'50Mi'},'limits':{'cpu':'40m','memory':'200Mi'}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree)
        json_t *d = deployment_with(rows[i].revision, rows[i].features, rows[i].config);
        char *want = xstrdup(rows[i].want);
        for (char *c = want; *c != '\0'; c++) {
            *c = *c == '\'' ? '"' : *c;
        }
        CLEANUP(jfree) json_t *wanted = parse(want);
        if (!json_equal(wanted, resources_of(d))) {
            CLEANUP(cleanup_free) char *got = jdump_str(resources_of(d));
            fail_msg("row %zu: %s, wanted %s", i, got, want);
        }
        free(want);
    }
}

static void volumes_of_the_queue_proxy(void **state)
{
    static const char asks[] = SMALL("'features.knative.dev/queueproxy-podinfo':'enabled'", "");
    CLEANUP(jfree)
    json_t *off = deployment_with(asks, "{}", "{}");
    assert_null(jget(off, POD "volumes"));
    CLEANUP(jfree)
    json_t *d = deployment_with(asks, "{'queueproxy.mount-podinfo':'Allowed'}",
                                "{'queue-sidecar-token-audiences':'one, two'}");
    TEXT(POD "volumes[0].name", "pod-info");
    TEXT(POD "volumes[0].downwardAPI.items[0].fieldRef.fieldPath", "metadata.annotations");
    TEXT(POD "volumes[1].projected.sources[1].serviceAccountToken.audience", "two");
    TEXT(POD "containers[1].volumeMounts[0].mountPath", "/etc/podinfo");
    TEXT(POD "containers[1].volumeMounts[1].name", "knative-token-volume");
    assert_null(jget(d, FN "volumeMounts"));
    CLEANUP(jfree)
    json_t *all = deployment_with(SMALL("", ""), "{'queueproxy.mount-podinfo':'Enabled'}", "{}");
    assert_int_equal(json_array_size(jpeek_arr(all, POD "volumes")), 1);
}

static void where_pods_run(void **state)
{
#define SPREAD POD "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
    static const char classes[] =
        "{'runtime-class-name':'{gvisor: {selector: {tier: a}}, kata: {}}'}";
    CLEANUP(jfree) json_t *d = deployment_with(SMALL("", ""), "{}", classes);
    NUMBER(SPREAD "weight", 100);
    TEXT(SPREAD "podAffinityTerm.topologyKey", "kubernetes.io/hostname");
    TEXT(SPREAD "podAffinityTerm.labelSelector.matchLabels.`serving.knative.dev/revision`",
         "r-00001");
    TEXT(POD "runtimeClassName", "gvisor");
    CLEANUP(jfree)
    json_t *none = deployment_with(SMALL("", ""), "{}", "{'default-affinity-type':'none'}");
    assert_null(jget(none, POD "affinity"));
    assert_null(jget(none, POD "runtimeClassName"));
    struct deployment_config config;
    struct error err = {0};
    deployment_config_init(&config);
    CLEANUP(jfree) json_t *wrong = parse("{\"default-affinity-type\":\"maybe\"}");
    assert_int_equal(deployment_config_read(&config, wrong, &err), ERR_INVALID);
    CLEANUP(jfree) json_t *name = parse("{\"runtime-class-name\":\"No_Name: {}\"}");
    assert_int_equal(deployment_config_read(&config, name, &err), ERR_INVALID);
    CLEANUP(jfree) json_t *list = parse("{\"runtime-class-name\":\"[a, b]\"}");
    assert_int_equal(deployment_config_read(&config, list, &err), ERR_INVALID);
}

/* The kubelet keeps what only it can run; every container of the user's waits for the drain. */
static void probes_that_stay(void **state)
{
    static const char several[] =
        "{'metadata':{'name':'r-00001','namespace':'ns','uid':'u1','annotations':"
        "{'autoscaling.knative.dev/target':'5','example.com/a':'b'}},'spec':{'containers':["
        "{'name':'fn','image':'f','ports':[{'containerPort':9000,'name':'http1'}],"
        "'readinessProbe':{'exec':{'command':['/ok']}},"
        "'livenessProbe':{'httpGet':{'path':'/','port':'http1'}}},"
        "{'name':'side','image':'g','readinessProbe':{'tcpSocket':{'port':7000}}}]}}";
    CLEANUP(jfree) json_t *d = deployment_with(several, "{}", "{}");
    TEXT(FN "readinessProbe.exec.command[0]", "/ok");
    NUMBER(FN "livenessProbe.httpGet.port", 9000);
    NUMBER(POD "containers[1].readinessProbe.tcpSocket.port", 7000);
    TEXT(POD "containers[1].lifecycle.preStop.httpGet.path", "/wait-for-drain");
    TEXT(POD "containers[1].env[0].name", "K_REVISION");
    CLEANUP(jfree) json_t *probe = parse(queue_env(d, "SERVING_READINESS_PROBE"));
    assert_int_equal(jpeek_i64(probe, "tcpSocket.port"), 9000);
    assert_null(jget(probe, "exec"));
    assert_string_equal(queue_env(d, "LULL_PROBE_PORT"), "");
    TEXT("spec.template.metadata.annotations.`kubectl.kubernetes.io/default-container`", "fn");
    TEXT("spec.template.metadata.annotations.`example.com/a`", "b");
    TEXT("spec.template.metadata.annotations.`autoscaling.knative.dev/target`", "");
    TEXT("metadata.annotations.`autoscaling.knative.dev/target`", "");
}

/* A probe at another port than the function's goes there. */
static void a_port_for_probes(void **state)
{
    static const struct {
        const char *probe, *port;
    } rows[] = {
        {"'httpGet':{'path':'/','port':9001}", "9001"},
        {"'httpGet':{'path':'/','port':9000}", ""},
        {"'httpGet':{'path':'/'}", ""},
        {"'tcpSocket':{'port':9002}", "9002"},
        {"'grpc':{'port':9003,'service':'a'}", "9003"},
        {"'grpc':{'port':9000}", ""},
        {"'grpc':{'port':0}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(cleanup_free)
        char *text = xasprintf(
            "{'metadata':{'name':'h-1','namespace':'ns','uid':'u'},"
            "'spec':{'containers':[{'name':'fn','image':'f','ports':"
            "[{'containerPort':9000}],'readinessProbe':{%s}},{'name':'side','image':'g'}]}}",
            rows[i].probe);
        CLEANUP(jfree) json_t *d = deployment_with(text, "{}", "{}");
        assert_string_equal(queue_env(d, "LULL_PROBE_PORT"), rows[i].port);
    }
}

/* With an address to announce to, the sidecar gets it and a key that only this Revision has. */
static void the_announcement(void **state)
{
    char path[] = "/tmp/lull-test-secret-XXXXXX";
    struct settings settings;
    struct error err;
    char key[SHA256_HEX + 1];
    CLEANUP(jfree) json_t *plain = deployment(revision_text);
    assert_string_equal(queue_env(plain, "LULL_ANNOUNCE"), "");
    assert_string_equal(queue_env(plain, "LULL_ANNOUNCE_KEY"), "");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a secret of 16 bytes or more\n", 29), 29);
    assert_int_equal(close(fd), 0);
    settings_init(&settings, "example.com/queue-proxy:1", "lull-system");
    ASSERT_ERR(ERR_INVALID, settings_announce(&settings, "activator:80", path, &err));
    ASSERT_MSG("--announce");
    ASSERT_ERR(ERR_INVALID, settings_announce(&settings, "10.96.0.9", "", &err));
    ASSERT_MSG("--install-secret-file");
    ASSERT_ERR(ERR_NOT_FOUND, settings_announce(&settings, "10.96.0.9", "/nowhere", &err));
    assert_string_equal(settings.announce, "");
    ASSERT_OK(settings_announce(&settings, "fd00::9", path, &err));
    assert_string_equal(settings.announce, "[fd00::9]:80");
    ASSERT_OK(settings_announce(&settings, "10.96.0.9", path, &err));
    CLEANUP(jfree) json_t *revision = parse(revision_text);
    CLEANUP(jfree) json_t *d = build_deployment(&settings, revision);
    settings_fini(&settings);
    (void)remove(path);
    announce_key(SLICE_LIT("a secret of 16 bytes or more"), SLICE_LIT("u1"), key);
    assert_string_equal(queue_env(d, "LULL_ANNOUNCE"), "10.96.0.9:80");
    assert_string_equal(queue_env(d, "LULL_ANNOUNCE_KEY"), key);
    assert_string_equal(queue_env(d, "LULL_REVISION_UID"), "u1");
    json_t *pod_uid = jpeek_row(d, QP "env", "name", SLICE_LIT("LULL_POD_UID"));
    assert_string_equal(jpeek_cstr(pod_uid, "valueFrom.fieldRef.fieldPath"), "metadata.uid");
}

static void a_function_is_few_objects(void **state)
{
    struct world w;
    world_init(&w);
    w.replicas.ready = 1;
    world_put(&w, KIND_SERVICE,
              parse("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{"
                    "\"name\":\"one\",\"namespace\":\"default\"},\"spec\":{\"template\":{\"spec\":{"
                    "\"containers\":[{\"name\":\"user-container\",\"image\":\"dev.local/x\"}]}},"
                    "\"traffic\":[{\"latestRevision\":true,\"percent\":100}]}}"));
    world_settle(&w);
    assert_non_null(world_get(&w, KIND_DEPLOYMENT, "one-00001-deployment"));
    assert_non_null(world_get(&w, KIND_CORE_SERVICE, "one"));
    assert_true(w.count <= OBJECTS_OF_A_FUNCTION);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_of_the_deployment),
        cmocka_unit_test(pods_keep_what_is_said),
        cmocka_unit_test(the_function_and_its_probes),
        cmocka_unit_test(the_queue_proxy),
        cmocka_unit_test(a_port_for_probes),
        cmocka_unit_test(the_announcement),
        cmocka_unit_test(a_function_is_few_objects),
        cmocka_unit_test(resources_of_the_queue_proxy),
        cmocka_unit_test(volumes_of_the_queue_proxy),
        cmocka_unit_test(where_pods_run),
        cmocka_unit_test(probes_that_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
