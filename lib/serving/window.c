// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A ring indexed by second modulo length. A write moves last_write forward and clears the
 * buckets in between; reading never changes anything, it subtracts what has fallen out.
 * Failure modes: time that goes back further than the window is ignored; a gap of a window or
 * more starts over. The order of the additions is that of Knative, so that sums agree to the bit.
 */
#include "serving/window.h"

#include <math.h>

#include "base/mem.h"

/* After a resize of an empty window: the next write is the first one. */
#define FIRST_UNKNOWN INT64_MAX

static uint32_t slot(const struct window *w, int64_t second)
{
    int64_t n = (int64_t)w->seconds;
    return (uint32_t)(((second % n) + n) % n);
}

static double bucket(const struct window *w, int64_t second)
{
    return w->buckets == NULL ? 0 : w->buckets[slot(w, second)];
}

void window_init(struct window *w, uint32_t seconds)
{
    REQUIRE(seconds >= 1 && seconds <= WINDOW_SECONDS_MAX);
    *w = (struct window){.seconds = seconds};
}

void window_fini(struct window *w)
{
    free(w->buckets);
    w->buckets = NULL;
}

/* The newest buckets, added up from the newest on: sums agree to the bit with the reference's. */
static void copy_newest(const struct window *w, struct window *to)
{
    uint32_t kept = w->seconds < to->seconds ? w->seconds : to->seconds;
    if (w->buckets == NULL) {
        return;
    }
    to->buckets = xcalloc(to->seconds, sizeof(*to->buckets));
    for (uint32_t i = 0; i < kept; i++) {
        int64_t second = w->last_write - (int64_t)i;
        to->buckets[slot(to, second)] = w->buckets[slot(w, second)];
        to->total += w->buckets[slot(w, second)];
    }
}

void window_resize(struct window *w, uint32_t seconds, int64_t now)
{
    if (w->seconds == seconds) {
        return;
    }
    struct window other;
    window_init(&other, seconds);
    if (w->written) {
        other.written = true;
        other.last_write = w->last_write;
        other.first_write = FIRST_UNKNOWN;
        if (now - w->last_write <= (int64_t)w->seconds) {
            copy_newest(w, &other);
            other.first_write = w->last_write - ((int64_t)w->seconds - 1);
        }
    }
    window_fini(w);
    *w = other;
}

/* What was recorded for a second up to WINDOW_BACK before the window, too. */
static double kept(const struct window *w, int64_t second)
{
    int64_t age = w->last_write - second;
    int64_t out = age - (int64_t)w->seconds;
    if (age < 0 || out >= WINDOW_BACK) {
        return 0;
    }
    return out >= 0 ? w->left[out] : bucket(w, second);
}

/* The window is about to end at `second`: keeps what falls out last. */
static void keep_left(struct window *w, int64_t second)
{
    double left[WINDOW_BACK];
    for (int i = 0; i < WINDOW_BACK; i++) {
        left[i] = kept(w, second - (int64_t)w->seconds - i);
    }
    memcpy(w->left, left, sizeof(left));
}

/* Empties the buckets after last_write up to `second`. */
static void forget_between(struct window *w, int64_t second)
{
    if (w->buckets == NULL) {
        return;
    }
    for (int64_t s = w->last_write + 1; s <= second; s++) {
        double *b = &w->buckets[slot(w, s)];
        w->total -= *b;
        *b = 0;
    }
}

static void forget_all(struct window *w)
{
    window_fini(w);
    w->total = 0;
}

static void start_over(struct window *w, int64_t second)
{
    /* A window of one second does so all the time. */
    bool again = w->first_write >= second - WINDOW_BACK;
    w->first_left = again && w->first_left < w->first_write ? w->first_left : w->first_write;
    w->first_write = second;
}

static void add(struct window *w, int64_t second, double value)
{
    if (w->buckets == NULL) {
        if (value == 0) {
            return;
        }
        w->buckets = xcalloc(w->seconds, sizeof(*w->buckets));
    }
    w->buckets[slot(w, second)] += value;
    w->total += value;
}

void window_record(struct window *w, int64_t second, double value)
{
    if (!w->written) {
        w->written = true;
        w->first_write = second;
        w->first_left = second;
        w->last_write = second;
    } else if (second != w->last_write) {
        if (second + (int64_t)w->seconds <= w->last_write) {
            return;
        }
        if (second < w->first_write) {
            w->first_write = second;
        }
        if (second > w->last_write) {
            keep_left(w, second);
        }
        if (second - w->last_write >= (int64_t)w->seconds) {
            forget_all(w);
            start_over(w, second);
        } else {
            forget_between(w, second);
        }
        w->last_write = second > w->last_write ? second : w->last_write;
    }
    add(w, second, value);
}

void window_touch(struct window *w, int64_t second)
{
    if (!w->written || second > w->last_write) {
        window_record(w, second, 0);
    }
}

void window_rest(struct window *w)
{
    forget_all(w);
    memset(w->left, 0, sizeof(w->left));
}

void window_rested(struct window *w, int64_t second)
{
    if (w->written && second > w->last_write) {
        w->last_write = second;
    }
}

void window_pass(struct window *w, int64_t second)
{
    if (w->written && second - w->last_write >= (int64_t)w->seconds) {
        keep_left(w, second);
        forget_all(w);
        w->last_write = second; /* first_write stays: all the time in between was seen */
    } else {
        window_touch(w, second);
    }
}

bool window_empty(const struct window *w, int64_t second)
{
    return !w->written || second - w->last_write > (int64_t)w->seconds;
}

int64_t window_last_value(const struct window *w)
{
    for (uint32_t i = 0; w->buckets != NULL && i < w->seconds; i++) {
        if (bucket(w, w->last_write - (int64_t)i) != 0) {
            return w->last_write - (int64_t)i;
        }
    }
    return -1;
}

double window_at(const struct window *w, int64_t second)
{
    bool known = w->written && second <= w->last_write && second + w->seconds > w->last_write;
    return known ? bucket(w, second) : 0;
}

static double round_micro(double value)
{
    return round(value * 1e6) / 1e6;
}

double window_average(const struct window *w, int64_t second)
{
    if (!w->written) {
        return 0;
    }
    int64_t gap = second - w->last_write;
    if (gap >= (int64_t)w->seconds) {
        return 0;
    }
    gap = gap < 0 ? 0 : gap;
    double sum = w->total;
    for (int64_t i = 1; i <= gap; i++) {
        sum -= bucket(w, w->last_write + i);
    }
    int64_t inside = (int64_t)w->seconds - gap;
    int64_t seen = w->first_write == FIRST_UNKNOWN ? inside : w->last_write - w->first_write + 1;
    return round_micro(sum / (double)(seen < inside ? seen : inside));
}

/* The second to read at as if nothing later had been recorded. */
static int64_t read_back(const struct window *w, int64_t second)
{
    return second < w->last_write - WINDOW_BACK ? w->last_write - WINDOW_BACK : second;
}

double window_average_without_later(const struct window *w, int64_t second)
{
    second = w->written ? read_back(w, second) : second;
    if (!w->written || second >= w->last_write) {
        return window_average(w, second);
    }
    int64_t inside = (int64_t)w->seconds;
    double sum = 0;
    for (int64_t i = 0; i < inside; i++) {
        sum += kept(w, second - i);
    }
    bool over = w->first_write > second && w->first_write != FIRST_UNKNOWN;
    int64_t first = over ? w->first_left : w->first_write;
    int64_t seen = first == FIRST_UNKNOWN ? inside : second - first + 1;
    seen = seen < inside ? seen : inside;
    return seen > 0 ? round_micro(sum / (double)seen) : 0;
}

/* Of the window that ends at last, seen at `second`. */
static double weighted(const struct window *w, int64_t last, int64_t second)
{
    double n = (double)w->seconds;
    double smoothing = fmax(0.2, 1 - pow(0.0001, 1 / n));
    double weight = smoothing;
    int64_t count = (int64_t)w->seconds;
    int64_t gap = second - last;
    if (gap > 0) {
        count -= gap;
        weight *= pow(1 - smoothing, (double)gap);
    }
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += kept(w, last - i) * weight;
        weight *= 1 - smoothing;
    }
    return sum;
}

double window_weighted_average(const struct window *w, int64_t second)
{
    if (window_empty(w, second) || w->buckets == NULL) {
        return 0;
    }
    return weighted(w, w->last_write, second);
}

double window_weighted_average_without_later(const struct window *w, int64_t second)
{
    second = w->written ? read_back(w, second) : second;
    if (!w->written || second >= w->last_write) {
        return window_weighted_average(w, second);
    }
    return weighted(w, second, second);
}

/* --- maximum ------------------------------------------------------------------------------- */

void window_max_fini(struct window_max *m)
{
    free(m->values);
    free(m->steps);
    *m = (struct window_max){0};
}

static void max_store(struct window_max *m, int64_t step, int32_t value)
{
    int64_t n = (int64_t)m->count;
    size_t i = (size_t)(((step % n) + n) % n);
    if (m->steps[i] != step || m->values[i] < value) {
        m->values[i] = value;
    }
    m->steps[i] = step;
}

void window_max_resize(struct window_max *m, uint32_t length_s, uint32_t step_s)
{
    REQUIRE(step_s >= 1);
    if (m->length_s == length_s && (length_s == 0 || m->step_s == step_s)) {
        return;
    }
    struct window_max old = *m;
    *m = (struct window_max){0};
    if (length_s > 0) {
        m->length_s = length_s;
        m->step_s = step_s;
        m->count = (length_s + step_s - 1) / step_s;
        m->values = xcalloc(m->count, sizeof(*m->values));
        m->steps = xcalloc(m->count, sizeof(*m->steps));
        for (uint32_t i = 0; i < m->count; i++) {
            m->steps[i] = INT64_MIN;
        }
        if (old.step_s == step_s) {
            int64_t newest = INT64_MIN;
            for (uint32_t i = 0; i < old.count; i++) {
                newest = old.steps[i] > newest ? old.steps[i] : newest;
            }
            for (uint32_t i = 0; i < old.count; i++) {
                if (old.steps[i] != INT64_MIN && old.steps[i] > newest - (int64_t)m->count) {
                    max_store(m, old.steps[i], old.values[i]);
                }
            }
        }
    }
    window_max_fini(&old);
}

int32_t window_max_record(struct window_max *m, int64_t second, int32_t value)
{
    if (m->count == 0) {
        return value;
    }
    int64_t step = second / (int64_t)m->step_s;
    max_store(m, step, value);
    int32_t max = value;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->steps[i] > step - (int64_t)m->count && m->steps[i] <= step && m->values[i] > max) {
            max = m->values[i];
        }
    }
    return max;
}

int64_t window_max_until(const struct window_max *m, int64_t second, int32_t above)
{
    int64_t until = INT64_MIN;
    if (m->count == 0) {
        return until;
    }
    int64_t step = second / (int64_t)m->step_s;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->steps[i] <= step - (int64_t)m->count || m->values[i] <= above) {
            continue;
        }
        int64_t end = (m->steps[i] + (int64_t)m->count) * (int64_t)m->step_s - 1;
        until = end > until ? end : until;
    }
    return until;
}
