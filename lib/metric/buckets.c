// SPDX-License-Identifier: Apache-2.0
/* Plan: the bounds in nanoseconds and as text, side by side, so that nothing is converted. */
#include "metric/buckets.h"

#include "base/num.h"

#define MS 1000000ull

static const struct {
    uint64_t ns;
    const char *text;
} bounds[METRIC_BUCKETS] = {
    {1 * MS, "0.001"},  {2 * MS + MS / 2, "0.0025"}, {5 * MS, "0.005"},
    {10 * MS, "0.01"},  {25 * MS, "0.025"},          {50 * MS, "0.05"},
    {100 * MS, "0.1"},  {250 * MS, "0.25"},          {500 * MS, "0.5"},
    {1000 * MS, "1"},   {2500 * MS, "2.5"},          {5000 * MS, "5"},
    {10000 * MS, "10"}, {60000 * MS, "60"},
};

void metric_buckets_observe(struct metric_buckets *b, uint64_t ns)
{
    size_t i = 0;
    while (i < METRIC_BUCKETS && ns > bounds[i].ns) {
        i++;
    }
    b->counts[i]++;
    b->sum_ns += ns;
}

uint64_t metric_buckets_count(const struct metric_buckets *b)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
        count += b->counts[i];
    }
    return count;
}

void metric_buckets_add(struct metric_buckets *to, const struct metric_buckets *from)
{
    to->sum_ns += from->sum_ns;
    for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
        to->counts[i] += from->counts[i];
    }
}

static void put_bucket(const char *name, const char *labels, const char *bound, uint64_t count,
                       struct strbuf *out)
{
    strbuf_appendf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels,
                   labels[0] == '\0' ? "" : ",", bound, (unsigned long long)count);
}

void metric_buckets_write(const struct metric_buckets *b, const char *name, const char *labels,
                          struct strbuf *out)
{
    char sum[NUM_DOUBLE_MAX];
    const char *open = labels[0] == '\0' ? "" : "{";
    const char *close = labels[0] == '\0' ? "" : "}";
    uint64_t below = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        below += b->counts[i];
        put_bucket(name, labels, bounds[i].text, below, out);
    }
    below += b->counts[METRIC_BUCKETS];
    put_bucket(name, labels, "+Inf", below, out);
    strbuf_appendf(out, "%s_sum%s%s%s %s\n%s_count%s%s%s %llu\n", name, open, labels, close,
                   num_format_double((double)b->sum_ns / 1e9, sum, sizeof(sum)), name, open, labels,
                   close, (unsigned long long)below);
}

void metric_write_label(struct strbuf *out, bool first, const char *name, struct slice value)
{
    strbuf_appendf(out, "%s%s=\"", first ? "" : ",", name);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"') {
            strbuf_append_char(out, '\\');
            strbuf_append_char(out, c);
        } else if (c == '\n') {
            strbuf_append_str(out, "\\n");
        } else {
            strbuf_append_char(out, c);
        }
    }
    strbuf_append_char(out, '"');
}
