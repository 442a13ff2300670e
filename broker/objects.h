// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a worker keeps of Brokers and Triggers. Projections for kube/cache.h: each fills a zeroed
 * struct from JSON and owns what is in it; release gives it back. Pure.
 */

#include <jansson.h>

#include "broker/retry.h"
#include "events/filter.h"

/* A Broker that is ours; others do not matter (project answers 1). */
struct broker_object {
    char *born; /* "CREATIONTIMESTAMP UID" */
    bool has_delivery;
    struct retry_policy policy;
    char *dead_letter; /* status.deadLetterSinkUri; NULL: none */
};

int broker_object_project(void *arg, const json_t *object, void *value, struct error *err);
void broker_object_release(void *arg, void *value);

/* NULL is as good as "". */
static inline bool same_text(const char *a, const char *b)
{
    return slice_eq(slice_str(a), slice_str(b));
}

/* Annotations of ours on a Trigger. */
#define ANNOTATION_PARALLELISM "events.lull.dev/parallelism"
#define ANNOTATION_ORDERING    "events.lull.dev/ordering"
#define ORDERING_PARTITION_KEY "partitionkey"

struct trigger_object {
    char *broker;
    char *subscriber;  /* status.subscriberUri; NULL: not known yet */
    char *dead_letter; /* NULL: the Broker's */
    bool has_delivery; /* else the Broker's counts */
    struct retry_policy policy;
    unsigned parallelism;  /* 0: not said */
    bool ordered;          /* events of one partition key one after the other */
    bool no_replies;       /* an answer is no event */
    struct filter *filter; /* NULL: it cannot be used, err says why */
    struct error *err;
};

int trigger_object_project(void *arg, const json_t *object, void *value, struct error *err);
void trigger_object_release(void *arg, void *value);
