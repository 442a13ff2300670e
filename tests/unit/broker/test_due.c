// SPDX-License-Identifier: Apache-2.0
/* A PingSource by a clock that is put forward and back: which runs are written. */
#include "base/clock.h"
#include "broker/cron.h"
#include "broker/due.h"
#include "test.h"

#define HOUR      3600
#define START     (20000 * 24 * (int64_t)HOUR + 12 * HOUR) /* noon of a day */
#define RUNS_MAX  16
#define STEPS_MAX 4

/* What is between the clocks of the workers and the runs: in Redis, as the scripts of cron.c have
 * it. */
struct runs {
    int64_t at_ms;
    int64_t list[RUNS_MAX];
    size_t n;
};

static int64_t adopt(struct runs *runs, int64_t now_ms)
{
    if (runs->at_ms > now_ms + CRON_SKEW_MS) {
        runs->at_ms = now_ms;
    }
    return runs->at_ms;
}

static void fire(struct runs *runs, int64_t run_s)
{
    int64_t run_ms = run_s * 1000;
    if (runs->at_ms < run_ms || runs->at_ms >= run_ms + CRON_SKEW_MS) {
        runs->at_ms = run_ms;
        assert_true(runs->n < RUNS_MAX);
        runs->list[runs->n++] = run_s;
    }
}

/* A tick, and the answer to what it asks, which comes when the clock has gone on by answer_s. */
static void tick(struct due *d, const struct due_rules *r, struct runs *runs, int64_t now_s,
                 int64_t answer_s)
{
    (void)due_clock(d, now_s * 1000, false);
    if (!d->known) {
        int64_t from_ms = adopt(runs, now_s * 1000);
        (void)due_clock(d, (now_s + answer_s) * 1000, answer_s != 0);
        due_from(d, r, from_ms, now_s + answer_s);
    } else if (due_now(d, r, now_s)) {
        fire(runs, d->next_s);
        (void)due_clock(d, (now_s + answer_s) * 1000, answer_s != 0);
        due_done(d, r, now_s + answer_s);
    }
}

struct step {
    int64_t seconds; /* go by, second by second */
    int64_t jump_s;  /* then the clock is put there */
};

static void clocks_that_jump(void **state)
{
    (void)state;
    static const struct {
        const char *name, *schedule;
        struct step steps[STEPS_MAX];
        bool in_an_answer;      /* the jumps are between a question and its answer */
        int64_t want[RUNS_MAX]; /* seconds after START; 0 ends */
    } rows[] = {
        {"no jump", "* * * * *", {{190, 0}}, false, {60, 120, 180}},
        {"forward by 5 minutes: the last of what was passed over",
         "* * * * *",
         {{90, 300}, {60, 0}},
         false,
         {60, 360, 420}},
        {"forward by 2 hours: likewise",
         "*/10 * * * *",
         {{30, 2 * HOUR}, {900, 0}},
         false,
         {2 * HOUR, 2 * HOUR + 600}},
        {"forward beyond what is made up for: nothing",
         "30 12 * * *",
         {{30, 2 * HOUR}, {900, 0}},
         false,
         {0}},
        {"forward just within it", "30 13 * * *", {{30, 2 * HOUR}, {900, 0}}, false, {5400}},
        {"forward by a second", "*/10 * * * * *", {{15, 1}, {10, 0}}, false, {10, 20}},
        {"back by 5 minutes: no run again",
         "* * * * *",
         {{150, -300}, {450, 0}},
         false,
         {60, 120, 180, 240, 300}},
        {"back by 9 minutes: no run again, though the clock is before all",
         "* * * * *",
         {{90, -540}, {640, 0}},
         false,
         {60, 120, 180}},
        {"back by a second: no run again", "*/10 * * * * *", {{10, -1}, {15, 0}}, false, {10, 20}},
        {"back by an hour: runs by the clock again",
         "*/10 * * * *",
         {{1230, -HOUR}, {1260, 0}},
         false,
         {600, 1200, -1800, -1200}},
        {"back by 12 minutes, the last run being 9 ahead: no run again",
         "*/15 * * * *",
         {{1090, -720}, {1440, 0}},
         false,
         {900, 1800}},
        {"wrong by a year and put right",
         "* * * * *",
         {{90, 365 * 24 * HOUR}, {70, -365 * 24 * HOUR}, {60, 0}},
         false,
         {60, 365 * 24 * HOUR + 60, 365 * 24 * HOUR + 120, 180}},
        {"back by an hour while a run is being written",
         "*/10 * * * *",
         {{600, -HOUR}, {1210, 0}},
         true,
         {600, -2400, -1800}},
        {"back by an hour while it is asked from when on",
         "*/10 * * * *",
         {{0, -HOUR}, {1210, 0}},
         true,
         {-3000, -2400}},
        {"back by 5 minutes while a run is being written",
         "* * * * *",
         {{60, -300}, {370, 0}},
         true,
         {60, 120}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cron cron;
        struct zone zone;
        struct error err = {0};
        ASSERT_OK(cron_parse(slice_str(rows[i].schedule), &cron, &err));
        ASSERT_OK(zone_load("UTC", &zone, &err));
        const struct due_rules rules = {.cron = &cron, .zone = &zone, .grace_s = HOUR};
        struct runs runs = {.at_ms = START * 1000};
        struct due d = {0};
        int64_t now_s = START;
        due_forget(&d);
        for (size_t s = 0; s < STEPS_MAX; s++) {
            const struct step *step = &rows[i].steps[s];
            for (int64_t n = 0; n <= step->seconds; n++, now_s++) {
                bool last = n == step->seconds;
                tick(&d, &rules, &runs, now_s, last && rows[i].in_an_answer ? step->jump_s : 0);
            }
            now_s += step->jump_s - 1;
        }
        for (size_t n = 0; n < RUNS_MAX; n++) {
            int64_t got = n < runs.n ? runs.list[n] - START : 0;
            if (got != rows[i].want[n]) {
                fail_msg("%s: run %zu is %lld, not %lld", rows[i].name, n, (long long)got,
                         (long long)rows[i].want[n]);
            }
        }
        zone_fini(&zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_that_jump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
