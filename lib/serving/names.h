// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Labels, annotations and object names that the parts agree on; all are Knative's unless they begin
 * with lull.dev.
 * Owns: nothing. May not: read an object.
 */

#include <stdbool.h>
#include <stddef.h>

#define SERVING_GROUP           "serving.knative.dev"
#define SERVING_API_VERSION     "serving.knative.dev/v1"
#define DOMAIN_API_VERSION      "serving.knative.dev/v1beta1"
#define CLAIM_API_VERSION       "networking.internal.knative.dev/v1alpha1"
#define AUTOSCALING_API_VERSION "autoscaling.internal.knative.dev/v1alpha1"

// --- labels --------------------------------------------------------------------------------------
#define LABEL_SERVICE                  "serving.knative.dev/service"
#define LABEL_SERVICE_UID              "serving.knative.dev/serviceUID"
#define LABEL_CONFIGURATION            "serving.knative.dev/configuration"
#define LABEL_CONFIGURATION_UID        "serving.knative.dev/configurationUID"
#define LABEL_CONFIGURATION_GENERATION "serving.knative.dev/configurationGeneration"
#define LABEL_REVISION                 "serving.knative.dev/revision"
#define LABEL_REVISION_UID             "serving.knative.dev/revisionUID"
#define LABEL_ROUTE                    "serving.knative.dev/route"
#define LABEL_ROUTING_STATE            "serving.knative.dev/routingState" // pending|active|reserve
#define LABEL_DOMAIN_MAPPING_UID       "serving.knative.dev/domainMappingUID"
#define LABEL_DOMAIN_MAPPING_NAMESPACE "serving.knative.dev/domainMappingNamespace"
#define LABEL_VISIBILITY               "networking.knative.dev/visibility"
#define VISIBILITY_CLUSTER_LOCAL       "cluster-local"

// --- annotations ---------------------------------------------------------------------------------
#define ANNOTATION_CREATOR                "serving.knative.dev/creator"
#define ANNOTATION_LAST_MODIFIER          "serving.knative.dev/lastModifier"
#define ANNOTATION_ROUTES                 "serving.knative.dev/routes" // comma-separated Route names
#define ANNOTATION_ROUTING_STATE_MODIFIED "serving.knative.dev/routingStateModified" // RFC 3339
#define ANNOTATION_NO_GC                  "serving.knative.dev/no-gc"
#define ANNOTATION_ROLLOUT_DURATION       "serving.knative.dev/rollout-duration"
#define ANNOTATION_ROLLOUT_DURATION_OLD   "serving.knative.dev/rolloutDuration"
#define ANNOTATION_ROLLOUT                "networking.internal.knative.dev/rollout" // state, JSON
#define ANNOTATION_PROGRESS_DEADLINE      "serving.knative.dev/progress-deadline"
#define ANNOTATION_LAST_APPLIED           "kubectl.kubernetes.io/last-applied-configuration"

#define AUTOSCALING_PREFIX                "autoscaling.knative.dev/"
#define ANNOTATION_CLASS                  "autoscaling.knative.dev/class"
#define CLASS_KPA                         "kpa.autoscaling.knative.dev"
#define CLASS_HPA                         "hpa.autoscaling.knative.dev"
#define ANNOTATION_MIN_SCALE              "autoscaling.knative.dev/min-scale"
#define ANNOTATION_MIN_SCALE_OLD          "autoscaling.knative.dev/minScale"
#define ANNOTATION_MAX_SCALE              "autoscaling.knative.dev/max-scale"
#define ANNOTATION_MAX_SCALE_OLD          "autoscaling.knative.dev/maxScale"
#define ANNOTATION_INITIAL_SCALE          "autoscaling.knative.dev/initial-scale"
#define ANNOTATION_INITIAL_SCALE_OLD      "autoscaling.knative.dev/initialScale"
#define ANNOTATION_ACTIVATION_SCALE       "autoscaling.knative.dev/activation-scale"
#define ANNOTATION_SCALE_DOWN_DELAY       "autoscaling.knative.dev/scale-down-delay"
#define ANNOTATION_SCALE_DOWN_DELAY_OLD   "autoscaling.knative.dev/scaleDownDelay"
#define ANNOTATION_METRIC                 "autoscaling.knative.dev/metric"
#define ANNOTATION_TARGET                 "autoscaling.knative.dev/target"
#define ANNOTATION_TARGET_UTILIZATION     "autoscaling.knative.dev/target-utilization-percentage"
#define ANNOTATION_TARGET_UTILIZATION_OLD "autoscaling.knative.dev/targetUtilizationPercentage"
#define ANNOTATION_TARGET_BURST           "autoscaling.knative.dev/target-burst-capacity"
#define ANNOTATION_TARGET_BURST_OLD       "autoscaling.knative.dev/targetBurstCapacity"
#define ANNOTATION_WINDOW                 "autoscaling.knative.dev/window"
#define ANNOTATION_PANIC_WINDOW           "autoscaling.knative.dev/panic-window-percentage"
#define ANNOTATION_PANIC_WINDOW_OLD       "autoscaling.knative.dev/panicWindowPercentage"
#define ANNOTATION_PANIC_THRESHOLD        "autoscaling.knative.dev/panic-threshold-percentage"
#define ANNOTATION_PANIC_THRESHOLD_OLD    "autoscaling.knative.dev/panicThresholdPercentage"
#define ANNOTATION_RETENTION              "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
#define ANNOTATION_RETENTION_OLD          "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod"
#define ANNOTATION_AGGREGATION            "autoscaling.knative.dev/metric-aggregation-algorithm"
#define ANNOTATION_AGGREGATION_OLD        "autoscaling.knative.dev/metricAggregationAlgorithm"

// A Pod's addresses on one machine (`unix:/path`); read only with --pod-address unix.
#define AUTOSCALING_LULL_PREFIX  "autoscaling.lull.dev/"
#define ANNOTATION_POLICY        "autoscaling.lull.dev/policy"        // histogram|none
#define ANNOTATION_HISTOGRAM_BIN "autoscaling.lull.dev/histogram-bin" // width, a duration
#define ANNOTATION_WARM_AT       "autoscaling.lull.dev/warm-at"       // RFC 3339, comma-separated
#define ANNOTATION_QUEUE_ADDRESS "lull.dev/queue-address"
#define ANNOTATION_ADMIN_ADDRESS "lull.dev/admin-address"
#define ANNOTATION_ASYNC         "lull.dev/async" // off: the function answers Prefer: respond-async

// Secrets with the certificates that the ingress shows, made by the controller: "domain" (of a
// DomainMapping) or "listed".
#define LABEL_CERTIFICATE           "lull.dev/certificate"
#define CERTIFICATE_DOMAIN          "domain"
#define CERTIFICATE_LISTED          "listed"
#define ANNOTATION_CERTIFICATE_HOST "lull.dev/certificate-host"
#define ANNOTATION_CERTIFICATE_RANK "lull.dev/certificate-rank"

// Objects of another gateway that the controller keeps: "route" or "domain", whose host it is.
#define LABEL_GATEWAY         "lull.dev/gateway"
#define GATEWAY_ROUTE         "route"
#define GATEWAY_DOMAIN        "domain"
#define LABEL_ROUTE_NAMESPACE "serving.knative.dev/routeNamespace"

#define ANNOTATION_HTTP_PROTOCOL     "networking.knative.dev/http-protocol"
#define ANNOTATION_HTTP_PROTOCOL_OLD "networking.knative.dev/httpOption"

// --- names ---------------------------------------------------------------------------------------
#define USER_CONTAINER_NAME  "user-container"
#define QUEUE_CONTAINER_NAME "queue-proxy"
#define SYSTEM_NAMESPACE     "lull-system"
#define CONFIG_AUTOSCALER    "config-autoscaler"
#define CONFIG_DEFAULTS      "config-defaults"
#define CONFIG_NETWORK       "config-network"
#define CONFIG_DOMAIN        "config-domain"
#define CONFIG_FEATURES      "config-features"
#define CONFIG_GC            "config-gc"
#define CONFIG_DEPLOYMENT    "config-deployment"
#define CONFIG_OBSERVABILITY "config-observability"

// On Kubernetes: what the API server calls, and where its certificate is kept.
#define WEBHOOK_SERVICE      "lull-webhook"
#define WEBHOOK_CERTS_SECRET "lull-webhook-certs"
#define WEBHOOK_DEFAULTING   "lull-defaulting"
#define WEBHOOK_VALIDATION   "lull-validation"

enum {
    QUEUE_PORT_HTTP1 = 8012,
    QUEUE_PORT_H2C = 8013,
    QUEUE_PORT_ADMIN = 8022,
    QUEUE_PORT_METRICS = 9090,
    QUEUE_PORT_USER_METRICS = 9091, /* the same page, where Knative has the one for users */
    DEFAULT_USER_PORT = 8080,
};

#define NAME_MAX_LEN 63
// Room for any name made here, with its NUL.
#define NAME_BUF (NAME_MAX_LEN + 1)
// Room for an object's name as the API allows it (DNS-1123 subdomain), with its NUL.
#define OBJECT_BUF 254

// Knative's ChildName: parent followed by suffix when that fits into 63 characters, else a head of
// the parent, the MD5 of what was cut, and as much of suffix as fits.
void name_child(char out[static NAME_BUF], const char *parent, const char *suffix);

// Names that follow from another object's.
void name_revision(char out[static NAME_BUF], const char *configuration, long long generation);
void name_deployment(char out[static NAME_BUF], const char *revision);

// True when name is a DNS-1035 label (a lower case letter, then letters, digits and '-', at most
// 63).
bool name_is_dns1035(const char *name);
// True when name is a DNS-1123 subdomain (what most object names must be, at most 253).
bool name_is_dns1123_subdomain(const char *name);

// The first of the two annotation spellings that the map `get(arg, key)` knows, or NULL.
// key_old may be NULL.
typedef const char *(*name_lookup_cb)(const void *arg, const char *key);
const char *name_annotation(name_lookup_cb get, const void *arg, const char *key,
                            const char *key_old);
