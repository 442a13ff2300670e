// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Labels, annotations and words of the kinds for events; Knative's unless they begin with lull.dev.
 * Owns: nothing. May not: read an object.
 */

#define EVENTING_API_VERSION "eventing.knative.dev/v1"

#define LABEL_BROKER            "eventing.knative.dev/broker"
#define ANNOTATION_BROKER_CLASS "eventing.knative.dev/broker.class"
#define ANNOTATION_DEPENDENCY   "knative.dev/dependency"
#define ANNOTATION_INJECTION    "eventing.knative.dev/injection"

// Who implements a Broker; one without the annotation is ours too.
#define BROKER_CLASS "Lull"

#define BACKOFF_LINEAR      "linear"
#define BACKOFF_EXPONENTIAL "exponential"
#define FORMAT_JSON         "json"
#define FORMAT_BINARY       "binary"

// What a Broker that says nothing of delivery gets, as Knative's installation has it.
#define DEFAULT_RETRY         10
#define DEFAULT_BACKOFF_DELAY "PT0.2S"

// What a PingSource gets that says nothing of its schedule, and how its events are called.
#define DEFAULT_SCHEDULE "* * * * *"
#define PING_EVENT_TYPE  "dev.knative.sources.ping"

// Words of our own kinds of sources.
#define HOOK_PATH "/_lull/hooks/" // NAMESPACE/NAME of a WebhookSource follow

// On a subject: the SinkBinding whose variables it has.
#define ANNOTATION_SINK_BINDING "sources.lull.dev/sink-binding"
// On a workload of Kubernetes, "true": it has that annotation.
#define LABEL_SINK_BOUND "sources.lull.dev/sink-bound"
