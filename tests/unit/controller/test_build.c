// SPDX-License-Identifier: Apache-2.0
/* The Deployment of a Revision that uses all that may pass through, field by field; and how many
 * objects a function is made of. */
#include "json/jget.h"
#include "json/jparse.h"
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
    NUMBER(QP "ports[2].containerPort", 8012);
    TEXT(QP "ports[2].name", "queue-port");
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
        cmocka_unit_test(shape_of_the_deployment),     cmocka_unit_test(pods_keep_what_is_said),
        cmocka_unit_test(the_function_and_its_probes), cmocka_unit_test(the_queue_proxy),
        cmocka_unit_test(a_function_is_few_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
