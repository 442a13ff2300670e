// SPDX-License-Identifier: Apache-2.0
/* Plan: Knative's rules; the numbers are bounded before they are multiplied. */
#include "broker/retry.h"

#include <time.h>

#include "base/clock.h"
#include "base/num.h"
#include "json/jget.h"
#include "eventing/period.h"

#define DEFAULT_RETRIES  10
#define DEFAULT_DELAY_MS 200
#define RETRIES_MAX      1000
#define SHIFT_MAX        40

void retry_policy_default(struct retry_policy *p)
{
    *p = (struct retry_policy){
        .retries = DEFAULT_RETRIES, .backoff = RETRY_EXPONENTIAL, .delay_ms = DEFAULT_DELAY_MS};
}

/* Absent: *out stays. */
static int read_period(const json_t *delivery, const char *name, uint64_t *out, struct error *err)
{
    struct slice text;
    int64_t ms = 0;
    int rc = jget_str_or(delivery, name, SLICE_EMPTY, &text, err);
    if (rc < 0 || slice_empty(text)) {
        return rc;
    }
    rc = period_parse_ms(text, &ms, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", name);
    }
    if (ms < 0) {
        return error_set(err, ERR_INVALID, "%s: must not be negative", name);
    }
    *out = (uint64_t)ms;
    return 0;
}

int retry_policy_read(const json_t *delivery, struct retry_policy *out, struct error *err)
{
    struct retry_policy p;
    retry_policy_default(&p);
    int64_t retries = 0;
    struct slice word;
    if (delivery == NULL) {
        *out = p;
        return 0;
    }
    /* A delivery spec that does not say how often says: once. */
    int rc = jget_i64_or(delivery, "retry", 0, &retries, err);
    rc = rc < 0 ? rc : jget_str_or(delivery, "backoffPolicy", SLICE_EMPTY, &word, err);
    if (rc < 0) {
        return rc;
    }
    p.retries = (uint32_t)(retries < 0 ? 0 : retries > RETRIES_MAX ? RETRIES_MAX : retries);
    p.backoff = slice_eq_str(word, "linear") ? RETRY_LINEAR : RETRY_EXPONENTIAL;
    rc = read_period(delivery, "backoffDelay", &p.delay_ms, err);
    rc = rc < 0 ? rc : read_period(delivery, "timeout", &p.timeout_ms, err);
    rc = rc < 0 ? rc : read_period(delivery, "retryAfterMax", &p.retry_after_max_ms, err);
    rc = rc < 0 ? rc : jget_str_or(delivery, "format", SLICE_EMPTY, &word, err);
    if (rc < 0) {
        return rc;
    }
    p.structured = slice_eq_str(word, "json");
    *out = p;
    return 0;
}

bool retry_wanted(int status)
{
    return status == 0 || status >= 500 || status == 404 || status == 408 || status == 409 ||
           status == 429;
}

uint64_t retry_delay_ms(const struct retry_policy *p, uint32_t attempt, uint64_t after_ms,
                        double jitter)
{
    uint64_t base = p->delay_ms < RETRY_DELAY_MAX_MS ? p->delay_ms : RETRY_DELAY_MAX_MS;
    uint64_t delay;
    if (p->backoff == RETRY_LINEAR) {
        delay = base * (attempt < RETRIES_MAX ? attempt : RETRIES_MAX);
    } else if (base == 0) {
        delay = 0;
    } else {
        delay = attempt >= SHIFT_MAX || base > RETRY_DELAY_MAX_MS >> attempt ? RETRY_DELAY_MAX_MS
                                                                             : base << attempt;
    }
    if (delay > RETRY_DELAY_MAX_MS) {
        delay = RETRY_DELAY_MAX_MS;
    }
    delay += (uint64_t)((double)delay * 0.1 * jitter);
    if (after_ms > p->retry_after_max_ms) {
        after_ms = p->retry_after_max_ms;
    }
    return after_ms > delay ? after_ms : delay;
}

uint64_t retry_after_ms(struct slice value, int64_t wall_ns)
{
    uint64_t seconds;
    char text[64];
    struct tm tm = {0};
    value = slice_trim(value);
    if (num_parse_u64(value, 0, RETRY_DELAY_MAX_MS / 1000, &seconds, NULL) == 0) {
        return seconds * 1000;
    }
    bool digits = value.len > 0;
    for (size_t i = 0; i < value.len; i++) {
        digits = digits && value.ptr[i] >= '0' && value.ptr[i] <= '9';
    }
    if (digits) {
        return RETRY_DELAY_MAX_MS; /* absurd, but meant */
    }
    if (!slice_copy(value, text, sizeof(text))) {
        return 0;
    }
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end != '\0') {
        return 0;
    }
    int64_t then_s = (int64_t)timegm(&tm);
    int64_t ms = (then_s - wall_ns / 1000000000) * 1000;
    return ms <= 0 ? 0 : (uint64_t)ms < RETRY_DELAY_MAX_MS ? (uint64_t)ms : RETRY_DELAY_MAX_MS;
}
