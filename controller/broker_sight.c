// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a Deployment with an available Pod is there; without one, its condition Progressing tells a
 * start from an absence. Then two clocks: since when it is there, and since when it is not.
 */
#include "controller/broker_sight.h"

#include <stdio.h>
#include <string.h>

#include "json/jget.h"

/* It rolls out, or has just been made. */
static bool is_starting(const json_t *deployment)
{
    const json_t *c = jpeek_row(deployment, "status.conditions", "type", SLICE_LIT("Progressing"));
    return c == NULL || (slice_eq_str(jpeek_str(c, "status"), "True") &&
                         !slice_eq_str(jpeek_str(c, "reason"), "NewReplicaSetAvailable"));
}

static int64_t wanted(const json_t *deployment)
{
    const json_t *replicas = jget(deployment, "spec.replicas");
    return replicas == NULL ? 1 : json_integer_value(replicas);
}

void broker_deployment_read(const json_t *deployment, const char *ns, const char *name,
                            struct broker_seen *out)
{
    *out = (struct broker_seen){.phase = BROKER_AWAY};
    if (deployment == NULL) {
        snprintf(out->message, sizeof(out->message),
                 "There is no Deployment %.63s/%.253s: install Lull again", ns, name);
    } else if (jpeek_i64(deployment, "status.availableReplicas") > 0) {
        out->phase = BROKER_UP;
    } else if (wanted(deployment) == 0) {
        snprintf(out->message, sizeof(out->message),
                 "Deployment %.63s/%.253s is scaled to zero replicas", ns, name);
    } else {
        bool starting = is_starting(deployment);
        out->phase = starting ? BROKER_STARTING : BROKER_AWAY;
        snprintf(
            out->message, sizeof(out->message),
            "No Pod of Deployment %.63s/%.253s is ready%s; what its Redis or its image lack is "
            "told by kubectl -n %.63s logs -l app=%.253s (or describe pods)",
            ns, name, starting ? " yet" : "", ns, name);
    }
}

static void tick(struct broker_sight *s, bool up, uint64_t steady_ms, uint64_t now_ms)
{
    if (up && !s->up) {
        s->up_since = now_ms;
    }
    if ((up || s->up) && now_ms - s->up_since >= steady_ms) {
        s->down = false; /* it was there for long enough */
    }
    if (!up && !s->down) {
        s->down_since = now_ms;
        s->down = true;
    }
    s->up = up;
}

/* Whether what is seen is to be told in place of what was told. */
static bool counts(const struct broker_sight *s, enum broker_phase seen, uint64_t now_ms)
{
    if (s->told.phase == BROKER_UP) {
        return seen == BROKER_UP || now_ms - s->down_since >= BROKER_HOLD_MS;
    }
    return s->told.phase != BROKER_AWAY || seen != BROKER_UP || !s->down;
}

bool broker_sight_step(struct broker_sight *s, const struct broker_seen *seen, uint64_t steady_ms,
                       uint64_t now_ms)
{
    if (seen->phase == BROKER_UNKNOWN) {
        return false;
    }
    tick(s, seen->phase == BROKER_UP, steady_ms, now_ms);
    if (!counts(s, seen->phase, now_ms)) {
        return false;
    }
    bool changed = seen->phase != s->told.phase || strcmp(seen->message, s->told.message) != 0;
    if (seen->phase == BROKER_UP && s->told.phase != BROKER_UP) {
        s->down = false; /* that absence is over */
    }
    s->told = *seen;
    return changed;
}
