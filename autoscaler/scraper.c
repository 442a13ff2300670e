// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One round per revision and second: order the ready replicas, ask as many as the sample
 * needs at once; one that fails is replaced by the next candidate. When enough have answered their
 * mean is recorded for all. A tick only notes whose turn it is; rounds begin a few per turn of the
 * loop, so that thousands of replicas hold nothing up.
 * Failure modes: candidates run out → the whole round counts as failed and records nothing; a round
 * that has not ended when the next is due keeps the next from starting; a body that is no stat
 * counts as a failed replica.
 */
#include "autoscaler/scraper.h"

#include "base/clock.h"
#include "base/mem.h"

#define SCRAPE_BODY_MAX  4096u
#define SCRAPE_REPLICAS  512u /* candidates looked at per round */
#define TICKS_PER_SCRAPE (SCRAPE_PERIOD_MS / ENGINE_TICK_MS)

struct scrape_round;

struct scrape_call {
    struct scrape_round *round;
    struct http_client *client; /* NULL: not running */
};

/* One revision's round. */
struct scrape_round {
    unsigned missed;  /* seconds before this one that nobody was asked in */
    struct list link; /* in scraper.rounds or scraper.waiting */
    struct scraper *scraper;
    struct revision *rev; /* lives: it is not released while rev->scrape is set */
    uint32_t ready;       /* when the round began */
    uint32_t wanted;      /* answers */
    uint32_t running;
    uint32_t next; /* candidate */
    uint32_t count;
    char **addresses;          /* owned, in the order of asking */
    struct scrape_call *calls; /* one per candidate */
    struct sample_sum sum;
};

static void round_free(struct scrape_round *round)
{
    for (uint32_t i = 0; i < round->count; i++) {
        free(round->addresses[i]);
    }
    list_remove(&round->link);
    free(round->addresses);
    free(round->calls);
    free(round);
}

static void round_end(struct scrape_round *round)
{
    struct scraper *s = round->scraper;
    struct revision *rev = round->rev;
    if (round->sum.answers >= round->wanted) {
        s->answered++;
        uint64_t now_ms = loop_now_ms(s->engine->loop);
        double concurrency;
        double rps;
        sample_scale(&round->sum, round->ready, &concurrency, &rps);
        rev->bypassed = concurrency > 0 || rps > 0;
        rev->scraped_ms = now_ms;
        if (rev->bypassed || !s->engine->reports.fresh) {
            revision_record(rev, now_ms, rev->bypassed ? round->missed : 0, concurrency, rps);
        } /* else the activators tell all: no zero for a second before they do */
    } else {
        s->failed++;
    }
    round_free(round);
    rev->scrape = NULL;
    engine_release(s->engine, rev);
    if (!list_empty(&s->waiting) && !s->closing) {
        loop_task_post(s->engine->loop, &s->begins);
    }
}

static bool ask_next(struct scrape_round *round);

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct scrape_call *call = arg;
    struct scrape_round *round = call->round;
    struct stat_sample sample;
    call->client = NULL;
    round->running--;
    round->scraper->running--;
    if (rc == 0 && answer->head->status == 200 && stat_decode(answer->body, &sample, NULL) == 0) {
        sample_add(&round->sum, &sample);
    } else {
        round->scraper->refused += rc == 0;
        while (round->next < round->count && !ask_next(round)) {
        }
    }
    if (round->running == 0) {
        round_end(round);
    }
}

/* Asks the next candidate. False: it cannot even be started. */
static bool ask_next(struct scrape_round *round)
{
    struct scraper *s = round->scraper;
    uint32_t i = round->next++;
    struct http_header headers[] = {
        {.name = SLICE_LIT("Accept"), .value = SLICE_LIT("application/protobuf")},
        {.name = SLICE_LIT("K-Lull-Revision"), .value = slice_str(round->rev->key)},
    };
    struct http_client_request request = {
        .addr = round->addresses[i],
        .target = "/metrics",
        .headers = headers,
        .n_headers = ARRAY_LEN(headers),
        .timeout_ms = SCRAPE_TIMEOUT_MS,
        .max_body = SCRAPE_BODY_MAX,
    };
    struct scrape_call *call = &round->calls[i];
    call->round = round;
    struct error err;
    if (http_client_start(s->engine->loop, &request, on_answer, call, &call->client, &err) < 0) {
        call->client = NULL;
        return false;
    }
    round->running++;
    s->running++;
    return true;
}

/* The ready replicas with an address, in the order of asking. */
static uint32_t collect(struct scraper *s, const struct revision *rev, char **addresses)
{
    const char *found[SCRAPE_REPLICAS];
    bool old[SCRAPE_REPLICAS];
    uint32_t order[SCRAPE_REPLICAS];
    uint32_t count = 0;
    int64_t window_ns = (int64_t)rev->spec.stable_window_s * (int64_t)CLOCK_NS_PER_S;
    int64_t old_before = clock_wall_ns() - window_ns;
    list_foreach (node, &rev->pods) {
        const struct replica *replica = LIST_ENTRY(node, struct replica, link);
        if (replica->ready && replica->address != NULL && count < SCRAPE_REPLICAS) {
            found[count] = replica->address;
            old[count++] = replica->created_wall_ns < old_before;
        }
    }
    sample_order(old, count, &s->prng, order);
    for (uint32_t i = 0; i < count; i++) {
        addresses[i] = xstrdup(found[order[i]]);
    }
    return count;
}

/*
 * The leader asks every second. A standby, whose numbers come from the activators' reports like the
 * leader's, looks now and then for traffic that comes past them, and asks every second where it
 * finds some.
 */
static bool is_due(const struct scraper *s, const struct revision *rev, uint64_t now_ms)
{
    return !s->engine->standby || rev->bypassed || rev->scrape_ms == 0 ||
           now_ms - rev->scrape_ms >= SCRAPE_STANDBY_MS - SCRAPE_PERIOD_MS / 2;
}

static unsigned seconds_skipped(const struct scraper *s, const struct revision *rev,
                                uint64_t now_ms)
{
    uint64_t skipped = rev->scrape_ms == 0 ? 0 : now_ms / 1000 - rev->scrape_ms / 1000;
    return !s->engine->standby || skipped <= 1 || skipped > SCRAPE_STANDBY_MS / 1000
               ? 0
               : (unsigned)skipped - 1;
}

/* It is this revision's turn: its round waits to begin. */
static void scrape(struct scraper *s, struct revision *rev)
{
    uint64_t now_ms = loop_now_ms(s->engine->loop);
    /* Without a burst target the activators' numbers alone count, as in Knative. */
    bool wanted = rev->has_pa && rev->spec.kpa && rev->spec.target_burst_capacity >= 0;
    if (!wanted || rev->ready == 0) {
        rev->bypassed = false; /* nobody is there to tell of it */
        return;
    }
    if (!is_due(s, rev, now_ms)) {
        return;
    }
    if (rev->scrape != NULL) {
        s->skipped++;
        return;
    }
    struct scrape_round *round = NEW(struct scrape_round);
    *round = (struct scrape_round){.scraper = s, .rev = rev};
    round->missed = seconds_skipped(s, rev, now_ms);
    rev->scrape_ms = now_ms;
    rev->scrape = round;
    list_push_back(&s->waiting, &round->link);
}

static void begin(struct scraper *s, struct scrape_round *round)
{
    struct revision *rev = round->rev;
    uint32_t candidates = (uint32_t)rev->ready;
    candidates = candidates > SCRAPE_REPLICAS ? SCRAPE_REPLICAS : candidates;
    round->ready = (uint32_t)rev->ready;
    list_remove(&round->link);
    list_push_back(&s->rounds, &round->link);
    if (candidates > 0 && rev->has_pa) {
        round->addresses = xcalloc(candidates, sizeof(*round->addresses));
        round->calls = xcalloc(candidates, sizeof(*round->calls));
        round->count = collect(s, rev, round->addresses);
        round->wanted = sample_size(round->count);
    }
    while (round->next < round->count && round->running < round->wanted) {
        (void)ask_next(round);
    }
    if (round->running == 0) {
        round_free(round);
        rev->scrape = NULL;
        s->failed++;
        engine_release(s->engine, rev);
    }
}

static void on_begins(struct loop_task *task)
{
    struct scraper *s = task->data;
    unsigned before = s->running;
    while (!list_empty(&s->waiting) && s->running < SCRAPE_RUNNING_MAX) {
        if (s->running >= before + SCRAPE_STARTS_MAX) {
            loop_task_post(s->engine->loop, task);
            return;
        }
        begin(s, LIST_ENTRY(list_first(&s->waiting), struct scrape_round, link));
    }
}

void scraper_init(struct scraper *s, struct engine *engine)
{
    *s = (struct scraper){.engine = engine};
    prng_init(&s->prng);
    list_init(&s->rounds);
    list_init(&s->waiting);
    loop_task_init(&s->begins, on_begins, s);
}

void scraper_tick(struct scraper *s, unsigned slot)
{
    if (s->closing) {
        return;
    }
    for (unsigned i = slot % TICKS_PER_SCRAPE; i < ENGINE_SLOTS; i += TICKS_PER_SCRAPE) {
        list_foreach (node, &s->engine->slots[i]) {
            scrape(s, LIST_ENTRY(node, struct revision, slot_link));
        }
    }
    if (!list_empty(&s->waiting)) {
        loop_task_post(s->engine->loop, &s->begins);
    }
}

void scraper_close(struct scraper *s)
{
    s->closing = true;
    loop_task_cancel(&s->begins);
    list_splice_back(&s->rounds, &s->waiting);
    list_foreach_safe (node, &s->rounds) {
        struct scrape_round *round = LIST_ENTRY(node, struct scrape_round, link);
        for (uint32_t i = 0; i < round->count; i++) {
            if (round->calls[i].client != NULL) {
                http_client_cancel(round->calls[i].client);
            }
        }
        round->rev->scrape = NULL;
        round_free(round);
    }
}
