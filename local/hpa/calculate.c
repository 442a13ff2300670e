// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Sort the Pods into those that count, start, or have no numbers; average; where the others
 * could turn it, average again with what they would at the worst be. Failure modes: no Pod, none
 * with numbers, one without a request: a sentence, and no answer.
 */
#include "local/hpa/calculate.h"

#include <math.h>

enum group { COUNTED, STARTING, MISSING, IGNORED };

/* Wide: requests are as large as somebody wrote them. */
struct sums {
    __int128 usage;
    __int128 request;
    size_t pods;
};

/* Its processor time is that of its start, and says nothing about what it needs later. */
static bool starts(const struct hpa_pod *pod, const struct hpa_settings *settings, int64_t now_ns)
{
    if (!pod->has_ready) {
        return true;
    }
    if (pod->started_ns + settings->cpu_initialization_ns > now_ns) {
        return pod->unready || pod->measured_ns < pod->ready_changed_ns + pod->window_ns;
    }
    /* never ready since its start */
    return pod->unready && pod->started_ns + settings->initial_readiness_ns > pod->ready_changed_ns;
}

static enum group group_of(const struct hpa_pod *pod, const struct hpa_measure *measure,
                           const struct hpa_settings *settings, int64_t now_ns)
{
    if (pod->ignored) {
        return IGNORED;
    }
    if (pod->pending) {
        return STARTING;
    }
    if (!pod->measured) {
        return MISSING;
    }
    return measure->cpu && starts(pod, settings, now_ns) ? STARTING : COUNTED;
}

static void add(struct sums *sums, const struct hpa_pod *pod, __int128 usage)
{
    sums->usage += usage;
    sums->request += pod->request;
    sums->pods++;
}

/* Used to wanted; the shares are whole percents and whole amounts, as Kubernetes'. */
static int ratio_of(const struct sums *sums, const struct hpa_measure *measure, double *out,
                    struct hpa_proposal *values, struct error *err)
{
    if (measure->utilization && sums->request == 0) {
        return error_set(err, ERR_UNAVAILABLE, "no metrics returned matched known pods");
    }
    __int128 average = sums->usage / (__int128)sums->pods;
    __int128 share = measure->utilization ? sums->usage * 100 / sums->request : average;
    *out = (double)share / (double)measure->target;
    if (values != NULL) {
        values->average = average > INT64_MAX ? INT64_MAX : (int64_t)average;
        values->utilization =
            measure->utilization ? (int32_t)(share > INT32_MAX ? INT32_MAX : share) : 0;
    }
    return 0;
}

static bool within(double ratio, double tolerance)
{
    return 1.0 - tolerance <= ratio && ratio <= 1.0 + tolerance;
}

static int32_t replicas_for(double ratio, size_t pods)
{
    double replicas = ceil(ratio * (double)pods);
    return replicas > (double)INT32_MAX ? INT32_MAX : (int32_t)replicas;
}

/* What a Pod without numbers uses at the most when the average is below the target. */
static __int128 at_most(const struct hpa_pod *pod, const struct hpa_measure *measure)
{
    int64_t percent = measure->target > 100 ? measure->target : 100;
    return measure->utilization ? (__int128)pod->request * percent / 100 : measure->target;
}

/* Once more, with those that were left out. */
static int reconsider(const struct hpa_pod *pods, size_t count, int32_t current,
                      const struct hpa_measure *measure, const struct hpa_settings *settings,
                      int64_t now_ns, struct sums sums, struct hpa_proposal *out, struct error *err)
{
    double first = out->ratio, ratio = 0;
    for (size_t i = 0; i < count; i++) {
        enum group group = group_of(&pods[i], measure, settings, now_ns);
        if (group == MISSING && first < 1.0) {
            add(&sums, &pods[i], at_most(&pods[i], measure));
        } else if ((group == MISSING || group == STARTING) && first > 1.0) {
            add(&sums, &pods[i], 0);
        }
    }
    int rc = ratio_of(&sums, measure, &ratio, NULL, err);
    if (rc < 0) {
        return rc;
    }
    int32_t replicas = replicas_for(ratio, sums.pods);
    bool turned = (first < 1.0 && (ratio > 1.0 || replicas > current)) ||
                  (first > 1.0 && (ratio < 1.0 || replicas < current));
    bool near = within(ratio, settings->tolerance);
    out->ratio = ratio;
    out->tolerated = near && ratio != 1.0;
    out->replicas = near || turned ? current : replicas;
    return 0;
}

int hpa_calculate(const struct hpa_pod *pods, size_t count, int32_t current,
                  const struct hpa_measure *measure, const struct hpa_settings *settings,
                  int64_t now_ns, struct hpa_proposal *out, struct error *err)
{
    struct sums sums = {0};
    size_t measured = 0;
    *out = (struct hpa_proposal){.replicas = current};
    for (size_t i = 0; i < count; i++) {
        measured += pods[i].measured;
        enum group group = group_of(&pods[i], measure, settings, now_ns);
        if (group == COUNTED) {
            add(&sums, &pods[i], pods[i].usage);
        }
        out->starting += group == STARTING;
        out->missing += group == MISSING;
    }
    out->counted = sums.pods;
    if (measured == 0) {
        return error_set(err, ERR_UNAVAILABLE,
                         "unable to get metrics for resource %s: no metrics returned from "
                         "resource metrics API",
                         measure->resource);
    }
    if (sums.pods == 0) {
        return error_set(err, ERR_UNAVAILABLE,
                         "did not receive metrics for targeted pods (pods might be unready)");
    }
    for (size_t i = 0; i < count && measure->utilization; i++) {
        if (pods[i].unrequested != NULL) {
            return error_set(err, ERR_UNAVAILABLE,
                             "missing request for %s in container %.63s of Pod %.253s",
                             measure->resource, pods[i].unrequested, pods[i].name);
        }
    }
    int rc = ratio_of(&sums, measure, &out->ratio, out, err);
    if (rc < 0) {
        return rc;
    }
    if (out->missing > 0 || (out->starting > 0 && out->ratio > 1.0)) {
        return reconsider(pods, count, current, measure, settings, now_ns, sums, out, err);
    }
    bool near = within(out->ratio, settings->tolerance);
    out->tolerated = near && out->ratio != 1.0;
    out->replicas = near ? current : replicas_for(out->ratio, out->counted);
    return 0;
}
