// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: counting adds to plain memory; the page walks the revisions once per metric, because all
 * lines of one metric stand together.
 */
#include "activator/numbers.h"

#include "base/mem.h"
#include "base/num.h"
#include "metric/rows.h"
#include "activator/throttler.h"

#define LABELS_MAX 1024

static const char *const phase_names[PHASE_N] = {"queue", "decide", "start", "probe", "proxy"};
static const char *const code_names[6] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

void cold_mark(uint64_t *mark, uint64_t now_ns)
{
    if (*mark == 0) {
        *mark = now_ns;
    }
}

void numbers_begin(struct numbers *n, struct revision *r)
{
    if (r->numbers == NULL && n->counted < n->max) {
        n->counted++;
        r->numbers = NEW(struct revision_numbers);
    }
}

void numbers_record(struct numbers *n, struct revision *r, int status, uint64_t ns)
{
    struct revision_numbers *rn = r->numbers != NULL ? r->numbers : &n->other;
    rn->codes[status >= 100 && status < 600 ? status / 100 : 0]++;
    metric_buckets_observe(&rn->duration, ns);
}

void numbers_forget(struct numbers *n, struct revision *r)
{
    if (r->numbers != NULL) {
        n->counted--;
        free(r->numbers);
        r->numbers = NULL;
    }
}

static uint64_t between(uint64_t low, uint64_t x, uint64_t high)
{
    return x < low ? low : x > high ? high : x;
}

void phases_of(const struct cold_marks *marks, uint64_t enter_ns, uint64_t granted_ns,
               uint64_t answered_ns, struct phases *out)
{
    *out = (struct phases){.cold = marks->ready_ns >= enter_ns && marks->ready_ns <= granted_ns};
    out->ns[PHASE_QUEUE] = granted_ns - enter_ns;
    out->ns[PHASE_PROXY] = answered_ns - granted_ns;
    if (!out->cold) {
        return;
    }
    /* A step that was not seen took no time of its own: the next one has it. */
    uint64_t decided = between(enter_ns, marks->decided_ns, marks->ready_ns);
    uint64_t started = marks->started_ns == 0
                           ? marks->ready_ns
                           : between(decided, marks->started_ns, marks->ready_ns);
    out->ns[PHASE_DECIDE] = decided - enter_ns;
    out->ns[PHASE_START] = started - decided;
    out->ns[PHASE_PROBE] = marks->ready_ns - started;
}

void numbers_record_cold(struct numbers *n, const struct phases *phases)
{
    for (int i = 0; phases->cold && i < PHASE_N; i++) {
        metric_buckets_observe(&n->cold[i], phases->ns[i]);
    }
}

void phases_text(const struct phases *phases, char *buf, size_t size)
{
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, size - 1);
    for (int i = 0; i < PHASE_N; i++) {
        if (phases->cold || i == PHASE_QUEUE || i == PHASE_PROXY) {
            strbuf_appendf(&s, "%s%s;dur=%.3f", i == 0 ? "" : ", ", phase_names[i],
                           (double)phases->ns[i] / 1e6);
        }
    }
    if (!strbuf_ok(&s) || !slice_copy(strbuf_slice(&s), buf, size)) {
        buf[0] = '\0';
    }
}

/* --- the page ------------------------------------------------------------------------------- */

static void put_labels(const struct revision *r, struct strbuf *out)
{
    metric_write_label(out, true, "k8s_namespace_name", r == NULL ? SLICE_LIT("other") : r->ns);
    metric_write_label(out, false, "kn_revision_name", r == NULL ? SLICE_LIT("other") : r->name);
}

static void put_line(const char *name, const struct revision *r, double value, struct strbuf *out)
{
    char text[NUM_DOUBLE_MAX];
    strbuf_appendf(out, "%s{", name);
    put_labels(r, out);
    strbuf_appendf(out, "} %s\n", num_format_double(value, text, sizeof(text)));
}

/* What is known of a revision at this moment. */
static double concurrency(const struct revision *r, uint64_t now_ns)
{
    return r->meter.last.concurrency;
}

static double rate(const struct revision *r, uint64_t now_ns)
{
    return r->meter.last.rate;
}

static double busy(const struct revision *r, uint64_t now_ns)
{
    return stat_meter_busy_s(&r->meter, now_ns);
}

static double queued(const struct revision *r, uint64_t now_ns)
{
    return r->held_own;
}

static double active(const struct revision *r, uint64_t now_ns)
{
    return r->meter.now - r->held_own;
}

static double cold_starts(const struct revision *r, uint64_t now_ns)
{
    return (double)r->cold_starts;
}

static const struct {
    const char *name;
    const char *type;
    const char *help;
    double (*read)(const struct revision *r, uint64_t now_ns);
} revision_rows[] = {
    {"kn_revision_request_concurrency", "gauge",
     "Requests held or running, averaged over the last second.", concurrency},
    {"kn_revision_request_queued", "gauge", "Requests that wait right now.", queued},
    {"kn_revision_request_active", "gauge", "Requests that run right now.", active},
    {"lull_activator_revision_request_rate", "gauge",
     "Requests that came in per second, over the last second.", rate},
    {"lull_activator_revision_busy_seconds_total", "counter",
     "Requests held or running, summed over time: its rate is the exact average concurrency.",
     busy},
    {"lull_activator_revision_cold_requests_total", "counter",
     "Requests that found no ready replica.", cold_starts},
};

static void put_codes(const struct revision_numbers *rn, const struct revision *r,
                      struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(rn->codes); i++) {
        if (rn->codes[i] > 0) {
            strbuf_append_str(out, "lull_activator_revision_requests_total{");
            put_labels(r, out);
            metric_write_label(out, false, "code", slice_str(code_names[i]));
            strbuf_appendf(out, "} %llu\n", (unsigned long long)rn->codes[i]);
        }
    }
}

static void put_duration(const struct revision_numbers *rn, const struct revision *r,
                         struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, LABELS_MAX);
    put_labels(r, &labels);
    if (strbuf_ok(&labels) && metric_buckets_count(&rn->duration) > 0) {
        metric_buckets_write(&rn->duration, "lull_activator_revision_request_seconds", labels.ptr,
                             out);
    }
}

static void put_all(const struct numbers *n, const struct throttler *t, struct strbuf *out,
                    void (*put)(const struct revision_numbers *rn, const struct revision *r,
                                struct strbuf *out))
{
    map_foreach (it, &t->revisions) {
        const struct revision *r = it.value;
        if (r->numbers != NULL) {
            put(r->numbers, r, out);
        }
    }
    put(&n->other, NULL, out);
}

void numbers_write(const struct numbers *n, const struct throttler *t, uint64_t now_ns,
                   struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(revision_rows); i++) {
        metric_write_head(out, revision_rows[i].type, revision_rows[i].name, revision_rows[i].help);
        map_foreach (it, &t->revisions) {
            const struct revision *r = it.value;
            if (r->numbers != NULL) {
                put_line(revision_rows[i].name, r, revision_rows[i].read(r, now_ns), out);
            }
        }
    }
    metric_write_head(out, "counter", "lull_activator_revision_requests_total",
                      "Requests that came to their end, by class of answer; none: the client left "
                      "or it was broken off.");
    put_all(n, t, out, put_codes);
    metric_write_head(out, "histogram", "lull_activator_revision_request_seconds",
                      "Seconds from a request's admission to the end of its answer.");
    put_all(n, t, out, put_duration);
    metric_write_head(out, "histogram", "lull_activator_cold_start_seconds",
                      "Requests that waited for a replica to become ready, by phase.");
    for (int i = 0; i < PHASE_N; i++) {
        char label[32];
        (void)snprintf(label, sizeof(label), "phase=\"%s\"", phase_names[i]);
        metric_buckets_write(&n->cold[i], "lull_activator_cold_start_seconds", label, out);
    }
    metric_write_number(out, "gauge", "lull_activator_revision_numbers_bytes",
                        "Memory of what is counted per revision.",
                        n->counted * sizeof(struct revision_numbers));
}
