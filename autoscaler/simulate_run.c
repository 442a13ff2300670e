// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Three kinds of events, in the order of their time: a running request ends and one that
 * waits takes its place, replicas become ready, a second is over (its report is recorded, every
 * second one is a tick). How many requests ran in a second is added up in a ring of seconds when
 * they start, so that a request costs a few additions; ends are only kept where there is a limit.
 * After a tick that found rest, the next second that matters is known, and time goes on there.
 * Numbers are recorded in steps of 2^-20: sums in windows are exact then, in any order.
 * Failure modes: none; the queue is bounded, what does not fit is counted as refused.
 */
#include "autoscaler/simulate_run.h"

#include "base/mem.h"

#define RING_SECONDS 4096u /* more than the longest request */
#define ORIGIN_MS    10000000000ull
#define POKE_US      20000u
#define NEVER        UINT64_MAX
#define STEPS        1048576u /* per one of what is recorded */

struct second {
    uint64_t part_us; /* of requests that start or end within it */
    int64_t more;     /* requests that run from its begin to its end, more than in the one before */
};

struct waiting {
    uint64_t at_us;
    uint64_t duration_us;
};

struct start {
    uint64_t ready_us;
    int32_t count;
};

struct sim {
    const struct sim_setting *setting;
    bool every_tick;
    struct revision *rev;
    struct reports reports;
    struct sim_result result;
    int64_t limit; /* requests per replica; 0: any number */

    uint64_t now_us;
    uint64_t second; /* index of the boundary that is due: the end of second - 1 */
    bool slept;      /* boundaries before it were skipped */
    struct second *ring;
    int64_t level;     /* requests that ran all through the last second */
    uint64_t busy_us;  /* the last end of a request so far */
    uint64_t requests; /* that came in this second */

    uint64_t *ends; /* a heap: of running requests, with a limit */
    size_t running;
    size_t ends_cap;
    struct waiting *queue; /* a ring */
    size_t queue_head;
    size_t queue_len;
    uint64_t queue_us; /* when the sum below was last brought up to date */
    uint64_t queue_part_us;
    size_t said; /* requests that were said to wait */
    uint64_t said_us;

    struct start *starts; /* in order of time */
    size_t starts_head;
    size_t starts_len;
    size_t starts_cap;
    uint64_t replicas_us; /* when the replicas' time was last added up */
};

/* --- life ---------------------------------------------------------------------------------- */

struct sim *sim_new(const struct sim_setting *setting, bool every_tick)
{
    struct sim *sim = NEW(struct sim);
    sim->setting = setting;
    sim->every_tick = every_tick;
    sim->limit = setting->pa.container_concurrency;
    sim->ring = xcalloc(RING_SECONDS, sizeof(*sim->ring));
    sim->queue = xcalloc(SIM_QUEUE_MAX, sizeof(*sim->queue));
    reports_init(&sim->reports);
    sim->reports.fresh = true;
    sim->reports.current = true;
    return sim;
}

void sim_free(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    if (sim->rev != NULL) {
        revision_free(sim->rev);
    }
    reports_fini(&sim->reports);
    histogram_fini(&sim->result.waits);
    free(sim->ring);
    free(sim->queue);
    free(sim->ends);
    free(sim->starts);
    free(sim);
}

const struct sim_result *sim_result(const struct sim *sim)
{
    return &sim->result;
}

void sim_begin(struct sim *sim)
{
    if (sim->rev != NULL) {
        revision_free(sim->rev);
    }
    memset(sim->ring, 0, RING_SECONDS * sizeof(*sim->ring));
    sim->now_us = 0;
    sim->second = 1;
    sim->slept = false;
    sim->level = 0;
    sim->busy_us = 0;
    sim->requests = 0;
    sim->running = 0;
    sim->queue_len = 0;
    sim->queue_us = 0;
    sim->queue_part_us = 0;
    sim->said = 0;
    sim->said_us = 0;
    sim->starts_len = 0;
    sim->replicas_us = 0;
    struct pa_object pa = sim->setting->pa; /* at zero, and known for long */
    pa.deployment = xstrdup(pa.deployment); /* the revision takes it */
    pa.has_active = true;
    pa.active = PLAN_INACTIVE;
    pa.initialized = true;
    sim->rev = revision_new("simulated", "function");
    revision_set_pa(sim->rev, &pa, &sim->setting->config, ORIGIN_MS, ORIGIN_MS * 1000000ll);
    sim->rev->replicas = 0;
    revision_start(sim->rev, ORIGIN_MS);
}

/* --- replicas ------------------------------------------------------------------------------ */

static uint64_t ms_of(uint64_t us)
{
    return ORIGIN_MS + us / 1000;
}

static void add_replica_time(struct sim *sim)
{
    sim->result.replica_us += (uint64_t)sim->rev->replicas * (sim->now_us - sim->replicas_us);
    sim->replicas_us = sim->now_us;
}

static void push_start(struct sim *sim, int32_t count)
{
    if (sim->starts_len == sim->starts_cap) {
        size_t cap = sim->starts_cap == 0 ? 16 : 2 * sim->starts_cap;
        struct start *grown = xcalloc(cap, sizeof(*grown));
        for (size_t i = 0; i < sim->starts_len; i++) {
            grown[i] = sim->starts[(sim->starts_head + i) % sim->starts_cap];
        }
        free(sim->starts);
        sim->starts = grown;
        sim->starts_cap = cap;
        sim->starts_head = 0;
    }
    sim->starts[(sim->starts_head + sim->starts_len++) % sim->starts_cap] =
        (struct start){sim->now_us + sim->setting->start_us, count};
}

/* Takes replicas away: first those that are not ready yet, the newest first. */
static void drop(struct sim *sim, int32_t count)
{
    while (count > 0 && sim->starts_len > 0) {
        struct start *last =
            &sim->starts[(sim->starts_head + sim->starts_len - 1) % sim->starts_cap];
        int32_t taken = last->count < count ? last->count : count;
        last->count -= taken;
        count -= taken;
        sim->starts_len -= last->count == 0 ? 1 : 0;
    }
    sim->rev->ready -= count;
}

static void scale(struct sim *sim, int32_t want)
{
    struct revision *rev = sim->rev;
    add_replica_time(sim);
    if (want > rev->replicas) {
        push_start(sim, want - rev->replicas);
        sim->result.starts += (uint64_t)(want - rev->replicas);
    } else {
        drop(sim, rev->replicas - want);
    }
    rev->replicas = want;
    rev->goal = want;
}

static void carry_out(struct sim *sim, struct plan plan)
{
    if (plan.write) {
        scale(sim, plan.want);
    }
}

static void decide(struct sim *sim, bool held)
{
    uint64_t now_ms = ms_of(sim->now_us);
    sim->reports.last_ms = now_ms / 1000 * 1000; /* one comes every second */
    sim->result.ticks++;
    carry_out(sim, revision_decide(sim->rev, &sim->reports, held, now_ms));
}

/* --- requests ------------------------------------------------------------------------------ */

static void push_end(struct sim *sim, uint64_t end_us)
{
    if (sim->running == sim->ends_cap) {
        sim->ends_cap = sim->ends_cap == 0 ? 64 : 2 * sim->ends_cap;
        sim->ends = xreallocarray(sim->ends, sim->ends_cap, sizeof(*sim->ends));
    }
    size_t i = sim->running++;
    while (i > 0 && sim->ends[(i - 1) / 2] > end_us) {
        sim->ends[i] = sim->ends[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->ends[i] = end_us;
}

static void pop_end(struct sim *sim)
{
    uint64_t last = sim->ends[--sim->running];
    size_t i = 0;
    for (size_t child = 1; child < sim->running; child = 2 * i + 1) {
        if (child + 1 < sim->running && sim->ends[child + 1] < sim->ends[child]) {
            child++;
        }
        if (sim->ends[child] >= last) {
            break;
        }
        sim->ends[i] = sim->ends[child];
        i = child;
    }
    sim->ends[i] = last;
}

static bool has_place(const struct sim *sim)
{
    return sim->rev->ready > 0 &&
           (sim->limit == 0 || (int64_t)sim->running < sim->rev->ready * sim->limit);
}

/* It runs from now on. */
static void run(struct sim *sim, uint64_t at_us, uint64_t duration_us)
{
    uint64_t now_us = sim->now_us;
    uint64_t end_us = now_us + duration_us;
    uint64_t first = now_us / SIM_SECOND_US;
    uint64_t last = end_us / SIM_SECOND_US;
    if (first == last) {
        sim->ring[first % RING_SECONDS].part_us += duration_us;
    } else {
        sim->ring[first % RING_SECONDS].part_us += (first + 1) * SIM_SECOND_US - now_us;
        sim->ring[last % RING_SECONDS].part_us += end_us - last * SIM_SECOND_US;
        sim->ring[(first + 1) % RING_SECONDS].more++;
        sim->ring[last % RING_SECONDS].more--;
    }
    if (end_us > sim->busy_us) {
        sim->result.used_us += end_us - (sim->busy_us > now_us ? sim->busy_us : now_us);
        sim->busy_us = end_us;
    }
    if (sim->limit > 0) {
        push_end(sim, end_us);
    }
    if (at_us == now_us) {
        sim->result.at_once++;
    } else {
        sim->result.wait_us += now_us - at_us;
        histogram_record(&sim->result.waits, now_us - at_us);
    }
}

/* Adds up the time that requests have waited in this second. */
static void add_waits(struct sim *sim)
{
    sim->queue_part_us += sim->queue_len * (sim->now_us - sim->queue_us);
    sim->queue_us = sim->now_us;
}

static void run_waiting(struct sim *sim)
{
    add_waits(sim);
    while (sim->queue_len > 0 && has_place(sim)) {
        struct waiting w = sim->queue[sim->queue_head];
        sim->queue_head = (sim->queue_head + 1) % SIM_QUEUE_MAX;
        sim->queue_len--;
        if (sim->now_us - w.at_us > SIM_WAIT_MAX_US) {
            sim->result.refused++;
        } else {
            run(sim, w.at_us, w.duration_us);
        }
    }
    sim->said = sim->queue_len == 0 ? 0 : sim->said;
}

/* As activators do: said at once when nothing can answer, and again when it has doubled. */
static void say(struct sim *sim)
{
    size_t known = sim->said;
    if (sim->rev->ready > 0 && known < (size_t)(sim->rev->ready * sim->limit)) {
        known = (size_t)(sim->rev->ready * sim->limit);
    }
    if (sim->queue_len < 2 * known || (sim->said > 0 && sim->now_us - sim->said_us < POKE_US)) {
        return;
    }
    sim->said = sim->queue_len;
    sim->said_us = sim->now_us;
    revision_poked(sim->rev, (double)(sim->queue_len + sim->running), ms_of(sim->now_us));
    decide(sim, true);
}

static void hold(struct sim *sim, uint64_t duration_us)
{
    sim->result.cold += sim->rev->ready == 0 ? 1 : 0;
    if (sim->queue_len == SIM_QUEUE_MAX) {
        sim->result.refused++;
        return;
    }
    add_waits(sim);
    sim->queue[(sim->queue_head + sim->queue_len++) % SIM_QUEUE_MAX] =
        (struct waiting){sim->now_us, duration_us};
    say(sim);
}

/* --- seconds ------------------------------------------------------------------------------- */

/* More replicas than one are in use when there is more in flight than one takes. */
static void add_use(struct sim *sim, uint64_t ran_us)
{
    double replicas = (double)ran_us / sim->rev->spec.total / (double)SIM_SECOND_US;
    if (replicas > 1) {
        double most = sim->rev->ready;
        replicas = replicas < most ? replicas : most;
        sim->result.used_us +=
            replicas > 1 ? (uint64_t)((replicas - 1) * (double)SIM_SECOND_US) : 0;
    }
}

/* The report of the second that is over; true: it says far more than the replicas are meant for. */
static bool report(struct sim *sim)
{
    struct revision *rev = sim->rev;
    struct second *s = &sim->ring[(sim->second - 1) % RING_SECONDS];
    sim->level += s->more;
    uint64_t ran_us = s->part_us + (uint64_t)sim->level * SIM_SECOND_US;
    *s = (struct second){0};
    add_waits(sim);
    uint64_t all_us = ran_us + sim->queue_part_us;
    uint64_t requests = sim->requests;
    sim->queue_part_us = 0;
    sim->requests = 0;
    if (all_us == 0 && requests == 0) {
        return false;
    }
    add_use(sim, ran_us);
    uint64_t steps = (uint64_t)((double)all_us / (double)SIM_SECOND_US * STEPS);
    double concurrency = (double)(steps > 0 ? steps : 1) / STEPS;
    revision_record(rev, ms_of(sim->now_us), 0, concurrency, (double)requests);
    double room = (double)(rev->replicas > 1 ? rev->replicas : 1) * rev->spec.target;
    return rev->spec.metric != SCALING_RPS && concurrency >= room * rev->spec.panic_threshold;
}

/* The windows are as if all ticks had been there that were skipped. */
static void wake(struct sim *sim)
{
    if (sim->slept) {
        struct revision *rev = sim->rev;
        int64_t second = (int64_t)(ORIGIN_MS / 1000 + ((sim->second - 1) & ~1ull));
        window_pass(&rev->concurrency_stable, second);
        window_pass(&rev->concurrency_panic, second);
        window_pass(&rev->rps_stable, second);
        window_pass(&rev->rps_panic, second);
        sim->slept = false;
    }
}

static uint64_t tick_at(uint64_t time_ms)
{
    uint64_t s = (time_ms - ORIGIN_MS + 999) / 1000;
    return s + (s & 1);
}

/* One replica, and so little traffic in the windows that they ask for one until they are empty. */
static uint64_t window_ends(const struct revision *rev)
{
    const struct scaling_spec *spec = &rev->spec;
    const struct decision *d = &rev->last;
    const struct window *w =
        spec->metric == SCALING_RPS ? &rev->rps_stable : &rev->concurrency_stable;
    if (rev->replicas != 1 || rev->plan.want != 1 || rev->plan.rule != PLAN_AS_DECIDED ||
        d->rule != DECIDER_STABLE || d->stable_pods != 1 || d->panic_pods > 1 || spec->weighted ||
        spec->scale_down_delay_s > 0 || spec->activation_scale > 1) {
        return 0;
    }
    int64_t last = window_last_value(w);
    if (last < 0 || window_at(w, last) < (double)w->seconds / 1000000) {
        return 0; /* so little that the average may be rounded to nothing before */
    }
    return tick_at(((uint64_t)last + w->seconds) * 1000);
}

/* The first tick that may do something else than this one did; 0: the next one. */
static uint64_t quiet_until(const struct sim *sim, const struct plan_state *before)
{
    const struct revision *rev = sim->rev;
    const struct decision *d = &rev->last;
    if (sim->every_tick || sim->queue_len > 0 || sim->starts_len > 0 ||
        sim->busy_us >= sim->now_us || !d->valid || d->panicking || d->until_ms > 0 ||
        d->held > 0 || rev->plan.write || rev->ready != rev->replicas ||
        before->active != rev->state.active || before->since_ms != rev->state.since_ms ||
        before->desired != rev->state.desired) {
        return 0;
    }
    if (d->stable > 0 || d->panic > 0) {
        return window_ends(rev);
    }
    uint64_t now_ms = ms_of(sim->now_us);
    uint64_t until_ms = rev->plan.until_ms > now_ms ? rev->plan.until_ms : NEVER;
    uint64_t warm_ms = revision_warm(rev, now_ms).next_ms;
    until_ms = warm_ms > 0 && warm_ms < until_ms ? warm_ms : until_ms;
    return until_ms == NEVER ? NEVER / SIM_SECOND_US : tick_at(until_ms);
}

static void end_second(struct sim *sim)
{
    wake(sim);
    bool burst = report(sim);
    uint64_t next = sim->second + 1;
    if (sim->second % 2 == 0) {
        struct plan_state before = sim->rev->state;
        decide(sim, false);
        uint64_t until = quiet_until(sim, &before);
        if (until > next) {
            sim->slept = true;
            next = until;
        }
    } else if (burst) {
        decide(sim, false);
    }
    sim->second = next;
}

static void become_ready(struct sim *sim)
{
    struct start s = sim->starts[sim->starts_head];
    sim->starts_head = (sim->starts_head + 1) % sim->starts_cap;
    sim->starts_len--;
    sim->rev->ready += s.count;
    run_waiting(sim);
    uint64_t now_ms = ms_of(sim->now_us);
    carry_out(sim, revision_replan(sim->rev, &sim->reports, false, now_ms));
}

/* All that happens up to that time. */
static void advance(struct sim *sim, uint64_t until_us)
{
    for (;;) {
        uint64_t second_us = sim->second * SIM_SECOND_US;
        uint64_t ready_us = sim->starts_len > 0 ? sim->starts[sim->starts_head].ready_us : NEVER;
        uint64_t end_us =
            sim->queue_len > 0 && sim->rev->ready > 0 && sim->running > 0 ? sim->ends[0] : NEVER;
        uint64_t next_us = second_us < ready_us ? second_us : ready_us;
        next_us = end_us < next_us ? end_us : next_us;
        if (next_us > until_us) {
            return;
        }
        sim->now_us = next_us > sim->now_us ? next_us : sim->now_us;
        if (next_us == end_us) {
            pop_end(sim);
            run_waiting(sim);
        } else if (next_us == ready_us) {
            become_ready(sim);
        } else {
            end_second(sim);
        }
    }
}

void sim_arrive(struct sim *sim, uint64_t at_us, uint64_t duration_us)
{
    if (duration_us > SIM_DURATION_MAX_US) {
        duration_us = SIM_DURATION_MAX_US;
    }
    advance(sim, at_us);
    sim->now_us = at_us > sim->now_us ? at_us : sim->now_us;
    if (sim->slept) {
        sim->second = at_us / SIM_SECOND_US + 1;
        wake(sim);
    }
    while (sim->running > 0 && sim->ends[0] <= at_us) {
        pop_end(sim);
    }
    sim->result.invocations++;
    sim->requests++;
    if (sim->queue_len == 0 && has_place(sim)) {
        run(sim, at_us, duration_us);
    } else {
        hold(sim, duration_us);
    }
}

void sim_end(struct sim *sim, uint64_t end_us)
{
    advance(sim, end_us);
    sim->now_us = end_us > sim->now_us ? end_us : sim->now_us;
    add_replica_time(sim);
    if (sim->busy_us > end_us) {
        sim->result.used_us -= sim->busy_us - end_us;
    }
}
