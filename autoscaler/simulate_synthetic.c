// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Each function has its own generator, seeded from the seed and its number, so that functions
 * can be made in any order and one at a time. Its rate comes from a table of published quantiles,
 * read log-linearly; its pattern from shares that depend on the rate; its median duration from the
 * published log-normal. Failure modes: none.
 */
#include "autoscaler/simulate_synthetic.h"

#include <math.h>

#define HOUR_US      3600e6
#define DAY_US       86400e6
#define DURATION_MAX 600e6 /* microseconds */
/* Published: durations of functions are log-normal, in seconds. */
#define DURATION_MEAN  -0.38
#define DURATION_SIGMA 2.36
/* Ours: how much one function's own durations vary around its median. */
#define OWN_SIGMA 0.5

/* Which share of the functions has which pattern, one after the other; the rest comes in bursts. */
#define SHARE_TIMER   0.29 /* published */
#define SHARE_REGULAR 0.20
#define SHARE_RANDOM  0.10

/* Requests a day of which share of the functions at most. */
static const struct {
    double share;
    double a_day;
} rates[] = {{0, 1}, {0.45, 24}, {0.81, 1440}, {0.95, 14400}, {1, 144000}};

static double exponential(struct prng *p, double mean)
{
    return -log(1 - prng_double(p)) * mean;
}

static double normal(struct prng *p)
{
    double radius = sqrt(-2 * log(1 - prng_double(p)));
    return radius * cos(2 * 3.14159265358979323846 * prng_double(p));
}

static double make_rate(struct prng *p)
{
    double u = prng_double(p);
    size_t i = 1;
    while (u > rates[i].share) {
        i++;
    }
    double part = (u - rates[i - 1].share) / (rates[i].share - rates[i - 1].share);
    return exp(log(rates[i - 1].a_day) + part * log(rates[i].a_day / rates[i - 1].a_day));
}

/* Timers fire at round periods: the one nearest to the rate. */
static double timer_period(double gap_us)
{
    static const double minutes[] = {1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720, 1440};
    double best = minutes[0];
    for (size_t i = 1; i < ARRAY_LEN(minutes); i++) {
        if (fabs(log(minutes[i] * 60e6 / gap_us)) < fabs(log(best * 60e6 / gap_us))) {
            best = minutes[i];
        }
    }
    return best * 60e6;
}

static void make_durations(struct synthetic *s, double median_us, double sigma)
{
    for (size_t i = 0; i < SYNTHETIC_TABLE; i++) {
        double us = median_us * exp(sigma * normal(&s->prng));
        s->durations[i] = (float)fmin(fmax(us, 1), DURATION_MAX);
    }
}

static void make_pattern(struct synthetic *s)
{
    double u = prng_double(&s->prng);
    s->gap_us = DAY_US / make_rate(&s->prng);
    s->at_us = prng_double(&s->prng) * fmin(s->gap_us, (double)s->span_us);
    if (u < SHARE_TIMER) {
        s->pattern = SYNTHETIC_TIMER;
        s->gap_us = timer_period(s->gap_us);
        s->at_us = floor(prng_double(&s->prng) * s->gap_us / 1e6) * 1e6;
    } else if (u < SHARE_TIMER + SHARE_REGULAR) {
        s->pattern = SYNTHETIC_REGULAR;
        s->spread = 0.05 + 0.15 * prng_double(&s->prng);
    } else if (u < SHARE_TIMER + SHARE_REGULAR + SHARE_RANDOM) {
        s->pattern = SYNTHETIC_RANDOM;
    } else {
        s->pattern = SYNTHETIC_BURSTS;
        s->burst = 2 + exponential(&s->prng, 8);
        s->burst_us = 1e6 + exponential(&s->prng, 20e6);
    }
}

void synthetic_begin(struct synthetic *s, const struct synthetic_options *options,
                     uint64_t function)
{
    *s = (struct synthetic){.span_us = options->span_us};
    prng_seed(&s->prng, options->seed * 1000003 + function);
    if (options->dense_rate > 0) {
        s->pattern = SYNTHETIC_RANDOM;
        s->gap_us = 1e6 / options->dense_rate;
        s->at_us = exponential(&s->prng, s->gap_us);
        make_durations(s, 20e3, OWN_SIGMA);
        return;
    }
    make_pattern(s);
    double median_s = exp(DURATION_MEAN + DURATION_SIGMA * normal(&s->prng));
    make_durations(s, median_s * 1e6, s->pattern == SYNTHETIC_TIMER ? 0.1 : OWN_SIGMA);
}

static double next_gap(struct synthetic *s)
{
    switch (s->pattern) {
    case SYNTHETIC_TIMER:
        return s->gap_us;
    case SYNTHETIC_REGULAR:
        return s->gap_us * fmax(0.1, 1 + s->spread * normal(&s->prng));
    case SYNTHETIC_RANDOM:
        break;
    case SYNTHETIC_BURSTS:
        if (s->left >= 1) {
            s->left -= 1;
            return exponential(&s->prng, s->burst_us);
        }
        s->left = exponential(&s->prng, s->burst - 1);
        return exponential(&s->prng, s->gap_us * s->burst);
    }
    return exponential(&s->prng, s->gap_us);
}

bool synthetic_next(struct synthetic *s, uint64_t *out_at_us, uint64_t *out_duration_us)
{
    if (!(s->at_us < (double)s->span_us)) {
        return false;
    }
    *out_at_us = (uint64_t)s->at_us;
    *out_duration_us = (uint64_t)s->durations[prng_next(&s->prng) >> 54];
    s->at_us += next_gap(s);
    return true;
}
