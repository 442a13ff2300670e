// SPDX-License-Identifier: Apache-2.0
/*
 * Steps of a gradual rollout. With D the duration, P the target's percent, start the time at which
 * the new revision got its first percent, and now the time at which that was seen to be routed:
 *
 *   minStep  = max(1 s, now - start, rounded up to seconds)
 *   D'       = max(1 s, D - minStep)
 *   steps    = min(P - 1, max(1, D' / minStep))
 *   stepSize = round((P - 1) / steps)
 *   step     = D' / steps
 *
 * Happy path: at each step, stepSize goes from the newest of the older revisions (then the one
 * before it, and so on) to the new one, until it has all. Failure modes: a state that does not add
 * up is not read; the rollout is over then.
 */
#include "controller/rollout.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"

#define NS_PER_S 1e9

enum { STATE_TEXT_MAX = 64 << 10 };

/* --- life --------------------------------------------------------------------------------------
 */

void rollout_init(struct rollout *r)
{
    *r = (struct rollout){.count = 0};
}

static void shares_drop(struct rollout_target *t, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        free(t->shares[i].revision);
    }
    memmove(t->shares + from, t->shares + from + count,
            (t->count - from - count) * sizeof(*t->shares));
    t->count -= count;
}

static void target_fini(struct rollout_target *t)
{
    if (t->count > 0) {
        shares_drop(t, 0, t->count);
    }
    free(t->shares);
    free(t->configuration);
    free(t->tag);
}

void rollout_fini(struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        target_fini(&r->targets[i]);
    }
    free(r->targets);
    rollout_init(r);
}

static void share_add(struct rollout_target *t, const char *revision, int64_t percent)
{
    t->shares = xreallocarray(t->shares, t->count + 1, sizeof(*t->shares));
    t->shares[t->count++] = (struct rollout_share){xstrdup(revision), percent};
}

static int compare(const struct rollout_target *t, const char *configuration, const char *tag)
{
    int diff = strcmp(t->tag, tag);
    return diff != 0 ? diff : strcmp(t->configuration, configuration);
}

static struct rollout_target *find(const struct rollout *r, const char *configuration,
                                   const char *tag)
{
    for (size_t i = 0; i < r->count; i++) {
        if (compare(&r->targets[i], configuration, tag) == 0) {
            return &r->targets[i];
        }
    }
    return NULL;
}

const struct rollout_target *rollout_find(const struct rollout *r, const char *configuration,
                                          const char *tag)
{
    return find(r, configuration, tag);
}

static struct rollout_target *target_new(struct rollout *r, const char *configuration,
                                         const char *tag)
{
    size_t at = 0;
    while (at < r->count && compare(&r->targets[at], configuration, tag) < 0) {
        at++;
    }
    r->targets = xreallocarray(r->targets, r->count + 1, sizeof(*r->targets));
    memmove(r->targets + at + 1, r->targets + at, (r->count - at) * sizeof(*r->targets));
    r->count++;
    r->targets[at] =
        (struct rollout_target){.configuration = xstrdup(configuration), .tag = xstrdup(tag)};
    return &r->targets[at];
}

void rollout_add(struct rollout *r, const char *configuration, const char *tag,
                 const char *revision, int64_t percent)
{
    struct rollout_target *t = find(r, configuration, tag);
    t = t != NULL ? t : target_new(r, configuration, tag);
    t->percent += percent;
    share_add(t, revision, percent);
}

void rollout_drop(struct rollout_target *t, size_t index)
{
    int64_t percent = t->shares[index].percent;
    shares_drop(t, index, 1);
    t->shares[t->count - 1].percent += percent;
}

bool rollout_done(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->targets[i].count > 1) {
            return false;
        }
    }
    return true;
}

/* --- as text -----------------------------------------------------------------------------------
 */

static void set_number(json_t *object, const char *key, int64_t value)
{
    if (value != 0) {
        json_object_set_new(object, key, json_integer(value));
    }
}

char *rollout_text(const struct rollout *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_target *t = &r->targets[i];
        json_t *shares = json_array();
        json_t *step = json_object();
        for (size_t k = 0; k < t->count; k++) {
            json_array_append_new(shares,
                                  json_pack("{s:s,s:I}", "revisionName", t->shares[k].revision,
                                            "percent", (json_int_t)t->shares[k].percent));
        }
        set_number(step, "starttime", t->start_ns);
        set_number(step, "nextStepTime", t->next_ns);
        set_number(step, "stepDuration", t->step_ns);
        set_number(step, "stepSize", t->step_size);
        json_array_append_new(
            list, json_pack("{s:s,s:s*,s:I,s:o,s:o}", "configurationName", t->configuration, "tag",
                            t->tag[0] == '\0' ? NULL : t->tag, "percent", (json_int_t)t->percent,
                            "revisions", shares, "stepParams", step));
    }
    json_t *root = json_pack("{s:o}", "configurations", list);
    char *text = jdump_str(root);
    json_decref(root);
    return text;
}

static int check(const struct rollout_target *t, struct error *err)
{
    int64_t sum = 0;
    bool odd = t->percent < 0 || t->percent > 100 || t->step_size < 0 || t->step_ns < 0 ||
               t->step_size > t->percent;
    for (size_t i = 0; i < t->count; i++) {
        odd |= t->shares[i].percent < 0 || t->shares[i].percent > 100 ||
               t->shares[i].revision[0] == '\0';
        sum += odd ? 0 : t->shares[i].percent;
    }
    if (odd || sum != t->percent) {
        return error_set(err, ERR_INVALID, "Configuration %s: the shares do not add up",
                         t->configuration);
    }
    return 0;
}

static int parse_target(struct rollout *r, const json_t *item, struct error *err)
{
    const char *configuration = jpeek_cstr(item, "configurationName");
    const char *tag = jpeek_cstr(item, "tag");
    if (configuration[0] == '\0' || find(r, configuration, tag) != NULL) {
        return error_set(err, ERR_INVALID, "a target has no name of its own");
    }
    struct rollout_target *t = target_new(r, configuration, tag);
    size_t i;
    const json_t *share;
    json_array_foreach(jpeek_arr(item, "revisions"), i, share)
    {
        share_add(t, jpeek_cstr(share, "revisionName"), jpeek_i64(share, "percent"));
    }
    t->percent = jpeek_i64(item, "percent");
    t->start_ns = jpeek_i64(item, "stepParams.starttime");
    t->next_ns = jpeek_i64(item, "stepParams.nextStepTime");
    t->step_ns = jpeek_i64(item, "stepParams.stepDuration");
    t->step_size = jpeek_i64(item, "stepParams.stepSize");
    return check(t, err);
}

int rollout_parse(struct rollout *r, struct slice text, struct error *err)
{
    CLEANUP(jfree) json_t *root = NULL;
    rollout_init(r);
    int rc = jparse_object(text, STATE_TEXT_MAX, &root, err);
    size_t i;
    const json_t *item;
    json_array_foreach(rc < 0 ? NULL : jpeek_arr(root, "configurations"), i, item)
    {
        rc = parse_target(r, item, err);
        if (rc < 0) {
            break;
        }
    }
    if (rc < 0) {
        rollout_fini(r);
    }
    return rc;
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void set_steps(struct rollout_target *t, int64_t now_ns, double duration_s)
{
    double min_step = fmax(1, ceil((double)(now_ns - t->start_ns) / NS_PER_S));
    double left = fmax(1, duration_s - min_step);
    double percents = (double)(t->percent - 1);
    double steps = fmin(fmax(1, left / min_step), fmax(1, percents));
    t->step_ns = (int64_t)(left / steps * NS_PER_S);
    t->step_size = (int64_t)round(percents / steps);
    t->next_ns = now_ns + t->step_ns;
}

void rollout_observe(struct rollout *prev, int64_t now_ns, int64_t duration_s)
{
    for (size_t i = 0; i < prev->count; i++) {
        struct rollout_target *t = &prev->targets[i];
        if (t->step_ns == 0 && t->start_ns > 0) {
            set_steps(t, now_ns, (double)duration_s);
        }
    }
}

static void clear_steps(struct rollout_target *t)
{
    t->start_ns = t->next_ns = t->step_ns = t->step_size = 0;
}

void rollout_restart(struct rollout *r, int64_t now_ns)
{
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_target *t = &r->targets[i];
        clear_steps(t);
        t->start_ns = t->count > 1 ? now_ns : 0;
    }
}

/* The whole target has another percent now: the newest gains it, or the oldest lose it. */
static void adjust(struct rollout_target *t, int64_t percent)
{
    int64_t diff = percent - t->percent;
    t->percent = percent;
    if (t->count == 0) {
        return;
    }
    if (diff > 0) {
        t->shares[t->count - 1].percent += diff;
    }
    while (diff < 0 && t->count > 0) {
        if (t->shares[0].percent > -diff) {
            t->shares[0].percent += diff;
            return;
        }
        diff += t->shares[0].percent;
        shares_drop(t, 0, 1);
    }
}

/* One step, when it is time. */
static void step(struct rollout_target *t, int64_t now_ns)
{
    if (t->step_size == 0 || now_ns < t->next_ns) {
        return;
    }
    int64_t rest = t->step_size;
    while (rest > 0 && t->count > 1) {
        struct rollout_share *older = &t->shares[t->count - 2];
        int64_t moved = older->percent > rest ? rest : older->percent;
        older->percent -= moved;
        t->shares[t->count - 1].percent += moved;
        rest -= moved;
        if (older->percent == 0) {
            shares_drop(t, t->count - 2, 1);
        }
    }
    t->next_ns = now_ns + t->step_ns;
}

/* The new revision takes its first percent from the newest one that has any. */
static void begin(struct rollout_target *t, const char *revision, int64_t now_ns)
{
    for (size_t i = t->count; i-- > 0;) {
        if (t->shares[i].percent > 0) {
            t->shares[i].percent--;
            break;
        }
    }
    for (size_t i = t->count; i-- > 0;) {
        if (t->shares[i].percent == 0) {
            shares_drop(t, i, 1);
        }
    }
    share_add(t, revision, 1);
    clear_steps(t);
    t->start_ns = now_ns;
}

static bool is_older(const struct rollout_target *t, const char *revision)
{
    for (size_t i = 0; i + 1 < t->count; i++) {
        if (strcmp(t->shares[i].revision, revision) == 0) {
            return true;
        }
    }
    return false;
}

static void step_target(struct rollout_target *goal, struct rollout_target *prev, int64_t now_ns)
{
    const char *wanted = goal->shares[0].revision;
    if (prev->count == 0 || goal->percent <= 1 || is_older(prev, wanted)) {
        return; /* also the way back: at once */
    }
    bool same = strcmp(prev->shares[prev->count - 1].revision, wanted) == 0;
    adjust(prev, goal->percent);
    if (prev->count == 0) {
        return;
    }
    if (same) {
        step(prev, now_ns);
    } else {
        begin(prev, wanted, now_ns);
    }
    if (prev->count > 1) {
        struct rollout_target swap = *goal;
        *goal = *prev;
        *prev = swap;
    }
}

int64_t rollout_step(struct rollout *goal, struct rollout *prev, int64_t now_ns)
{
    int64_t next_ns = 0;
    for (size_t i = 0; i < goal->count; i++) {
        struct rollout_target *t = &goal->targets[i];
        struct rollout_target *old = find(prev, t->configuration, t->tag);
        if (old != NULL) {
            step_target(t, old, now_ns);
        }
        if (t->count > 1 && t->next_ns > 0 && (next_ns == 0 || t->next_ns < next_ns)) {
            next_ns = t->next_ns;
        }
    }
    return next_ns;
}
