// SPDX-License-Identifier: Apache-2.0
//
// bench-decide COUNT: how long one decision takes, in nanoseconds on stdout: the averages of a
// revision's windows, the decider, and the plan that follows. Virtual time goes on by two seconds
// from one to the next, with a report for each second, which are not counted.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "autoscaler/revision.h"

enum { REVISIONS = 64 };

static struct revision *make(const struct autoscaler_config *config, unsigned i)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "f%u-00001", i);
    struct revision *rev = revision_new("default", name);
    struct pa_object pa = {.deployment = xstrdup("d"),
                           .reachable = true,
                           .generation = 1,
                           .desired_scale = -1,
                           .actual_scale = -1};
    revision_set_pa(rev, &pa, config, 1, 1);
    free(pa.deployment);
    struct pod_object pod = {.ready = true};
    revision_set_pod(rev, "p", &pod);
    rev->replicas = 1;
    return rev;
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (count < REVISIONS) {
        fprintf(stderr, "usage: bench-decide COUNT (at least %d)\n", REVISIONS);
        return 2;
    }
    struct autoscaler_config config;
    struct revision *revisions[REVISIONS];
    struct reports reports = {.fresh = true, .current = true};
    uint64_t now_ms = 100000000, spent_ns = 0, wanted = 0;
    unsigned long done = 0;
    autoscaler_config_default(&config);
    for (unsigned i = 0; i < REVISIONS; i++) {
        revisions[i] = make(&config, i);
        revision_start(revisions[i], now_ms);
    }
    while (done < count) {
        for (int second = 0; second < 2; second++) {
            now_ms += 1000;
            for (unsigned i = 0; i < REVISIONS; i++) {
                double load = 100 + 90 * sin((double)(now_ms / 1000 + i * 7) / 20);
                revision_record(revisions[i], now_ms, 0, load, load);
            }
        }
        reports.last_ms = now_ms;
        uint64_t begun_ns = clock_mono_ns();
        for (unsigned i = 0; i < REVISIONS; i++) {
            struct plan plan = revision_decide(revisions[i], &reports, false, now_ms);
            wanted += (uint64_t)(plan.want > 0 ? plan.want : 0);
        }
        spent_ns += clock_mono_ns() - begun_ns;
        done += REVISIONS;
    }
    printf("%.1f\n", (double)spent_ns / (double)done);
    for (unsigned i = 0; i < REVISIONS; i++) {
        revision_free(revisions[i]);
    }
    return wanted > 0 ? 0 : 1; /* it decided something */
}
