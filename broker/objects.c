// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one function per kind. A delivery spec that cannot be read counts as the default: the
 * webhook has refused it, or the controller says so. A filter that cannot be compiled matches
 * nothing, and the object says why.
 */
#include "broker/objects.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "eventing/names.h"

#define PARALLELISM_MAX 10000

static bool read_policy(const json_t *object, struct retry_policy *out)
{
    const json_t *delivery = jpeek_obj(object, "spec.delivery");
    if (delivery == NULL || retry_policy_read(delivery, out, NULL) < 0) {
        retry_policy_default(out);
        return false;
    }
    return true;
}

int broker_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct broker_object *b = value;
    struct slice class = jpeek_str(object, "metadata.annotations.`" ANNOTATION_BROKER_CLASS "`");
    if (!slice_empty(class) && !slice_eq_str(class, BROKER_CLASS)) {
        return 1;
    }
    b->born = xasprintf("%s %s", jpeek_cstr(object, "metadata.creationTimestamp"),
                        jpeek_cstr(object, "metadata.uid"));
    b->has_delivery = read_policy(object, &b->policy);
    b->dead_letter = jpeek_dup(object, "status.deadLetterSinkUri");
    return 0;
}

void broker_object_release(void *arg, void *value)
{
    struct broker_object *b = value;
    free(b->born);
    free(b->dead_letter);
}

int trigger_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct trigger_object *t = value;
    uint64_t n;
    struct error why = {0};
    t->broker = jpeek_dup(object, "spec.broker");
    const json_t *spec = jpeek_obj(object, "spec");
    if (t->broker == NULL || spec == NULL) {
        return 1;
    }
    t->subscriber = jpeek_dup(object, "status.subscriberUri");
    t->dead_letter = jpeek_dup(object, "status.deadLetterSinkUri");
    t->has_delivery = read_policy(object, &t->policy);
    struct slice text = jpeek_str(object, "metadata.annotations.`" ANNOTATION_PARALLELISM "`");
    if (num_parse_u64(text, 1, PARALLELISM_MAX, &n, NULL) == 0) {
        t->parallelism = (unsigned)n;
    }
    text = jpeek_str(object, "metadata.annotations.`" ANNOTATION_ORDERING "`");
    t->ordered = slice_eq_str(text, ORDERING_PARTITION_KEY);
    if (filter_compile(spec, &t->filter, &why) < 0) {
        t->err = NEW(struct error);
        *t->err = why;
    }
    return 0;
}

void trigger_object_release(void *arg, void *value)
{
    struct trigger_object *t = value;
    free(t->broker);
    free(t->subscriber);
    free(t->dead_letter);
    filter_free(t->filter);
    free(t->err);
}
