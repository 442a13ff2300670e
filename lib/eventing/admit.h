// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defaulting and validation of the kinds for events (Broker, Trigger, sources): functions over
 * their JSON, with the rules and the words of Knative's webhooks, as serving/defaults.h has them
 * for its kinds. Requests and reports are that header's. Other kinds pass as they are. Owns:
 * nothing. May not: read another object than those given; of files only time zones.
 */

#include "serving/defaults.h"

/* Whether the kind has rules here. */
bool eventing_knows(const struct kind *kind);

/* What the refusals of Knative's webhooks begin with. */
#define EVENTING_WEBHOOK            "webhook.eventing.knative.dev"
#define EVENTING_VALIDATION_WEBHOOK "validation.webhook.eventing.knative.dev"

/* Fills in what object leaves open; values of a wrong type stay as they are. Twice is once. */
void eventing_default(const struct kind *kind, json_t *object);
/* Checks a defaulted object, whose types its schema has checked: 0, or ERR_INVALID with every
 * problem in report->errors. */
MUST_CHECK int eventing_validate(const struct serving_request *request, const json_t *object,
                                 struct serving_report *report);
/* Both, as the two webhooks after each other. */
MUST_CHECK int eventing_admit(const struct serving_request *request, json_t *object,
                              struct serving_report *report);

/* Whether a Broker is for us to implement. */
bool broker_is_ours(const json_t *broker);
