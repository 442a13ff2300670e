// SPDX-License-Identifier: Apache-2.0
/*
 * Metrics. A family keeps its series in a map whose key is the label text as it is exposed
 * (`a="x",b="y"`), so escaping happens once per series. Exposition walks families in the order in
 * which they were made and series in the order in which they appeared.
 * Failure: a family that is full gives its one series "other"; an output that is full, ERR_TOO_BIG.
 */
#include "metric/metric.h"

#include <math.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_family {
    struct list link;
    enum metric_kind kind;
    const char *name;
    const char *help;
    const char *const *labels;
    const double *bounds;
    size_t bound_count;
    struct map series; /* label text → struct metric, which holds the text */
    struct metric *other;
};

struct metric {
    struct metric_family *family;
    double value;     /* counter, gauge; sum of a histogram */
    uint64_t count;   /* histogram */
    uint64_t *counts; /* histogram: per bound, not added up; the rest is above all bounds */
    char labels[];
};

const double metric_seconds_bounds[14] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                          0.25,  0.5,    1,     2.5,  5,     10,   60};

void metric_registry_init(struct metric_registry *reg)
{
    list_init(&reg->families);
    list_init(&reg->hooks);
}

static void metric_free(struct metric *m)
{
    if (m != NULL) {
        free(m->counts);
        free(m);
    }
}

void metric_registry_fini(struct metric_registry *reg)
{
    struct list *node;
    while ((node = list_pop_front(&reg->families)) != NULL) {
        struct metric_family *f = LIST_ENTRY(node, struct metric_family, link);
        map_foreach (it, &f->series) {
            metric_free(it.value);
        }
        map_fini(&f->series);
        metric_free(f->other);
        free(f);
    }
    while (list_pop_front(&reg->hooks) != NULL) {
    }
}

static bool valid_name(const char *name)
{
    if (*name == '\0' || (*name >= '0' && *name <= '9')) {
        return false;
    }
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")] ==
           '\0';
}

static struct metric_family *add_family(struct metric_registry *reg, enum metric_kind kind,
                                        const char *name, const char *help,
                                        const char *const *labels)
{
    REQUIRE(valid_name(name));
    list_foreach (node, &reg->families) {
        REQUIRE(strcmp(LIST_ENTRY(node, struct metric_family, link)->name, name) != 0);
    }
    struct metric_family *f = NEW(struct metric_family);
    f->kind = kind;
    f->name = name;
    f->help = help;
    f->labels = labels;
    map_init(&f->series, MAP_BORROW_KEYS);
    list_push_back(&reg->families, &f->link);
    return f;
}

struct metric_family *metric_counter(struct metric_registry *reg, const char *name,
                                     const char *help, const char *const *labels)
{
    return add_family(reg, METRIC_COUNTER, name, help, labels);
}

struct metric_family *metric_gauge(struct metric_registry *reg, const char *name, const char *help,
                                   const char *const *labels)
{
    return add_family(reg, METRIC_GAUGE, name, help, labels);
}

struct metric_family *metric_histogram(struct metric_registry *reg, const char *name,
                                       const char *help, const char *const *labels,
                                       const double *bounds, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        REQUIRE(bounds[i - 1] < bounds[i]);
    }
    struct metric_family *f = add_family(reg, METRIC_HISTOGRAM, name, help, labels);
    f->bounds = bounds;
    f->bound_count = count;
    return f;
}

static void put_escaped(struct strbuf *out, const char *text, bool quotes)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || (quotes && *text == '"')) {
            strbuf_append_char(out, '\\');
            strbuf_append_char(out, *text);
        } else if (*text == '\n') {
            strbuf_append_str(out, "\\n");
        } else {
            strbuf_append_char(out, *text);
        }
    }
}

/* `a="x",b="y"`; values NULL: every one is "other". */
static void label_text(const struct metric_family *f, const char *const *values, struct strbuf *out)
{
    for (size_t i = 0; f->labels != NULL && f->labels[i] != NULL; i++) {
        strbuf_appendf(out, "%s%s=\"", i == 0 ? "" : ",", f->labels[i]);
        put_escaped(out, values == NULL ? "other" : values[i], true);
        strbuf_append_char(out, '"');
    }
}

#define LABEL_TEXT_MAX 4096

static struct metric *metric_new(struct metric_family *f, const struct strbuf *labels)
{
    struct metric *m = xcalloc(1, sizeof(*m) + labels->len + 1);
    m->family = f;
    memcpy(m->labels, labels->ptr, labels->len);
    if (f->kind == METRIC_HISTOGRAM) {
        m->counts = xcalloc(f->bound_count, sizeof(*m->counts));
    }
    return m;
}

static struct metric *other_of(struct metric_family *f)
{
    if (f->other == NULL) {
        CLEANUP(strbuf_fini) struct strbuf labels;
        strbuf_init(&labels, LABEL_TEXT_MAX);
        label_text(f, NULL, &labels);
        f->other = metric_new(f, &labels);
    }
    return f->other;
}

struct metric *metric_with(struct metric_family *f, const char *const *values)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, LABEL_TEXT_MAX);
    REQUIRE(values != NULL || f->labels == NULL || f->labels[0] == NULL);
    label_text(f, values, &labels);
    if (!strbuf_ok(&labels)) {
        return other_of(f);
    }
    struct metric *m = map_get(&f->series, strbuf_slice(&labels));
    if (m != NULL) {
        return m;
    }
    if (map_len(&f->series) >= METRIC_SERIES_MAX) {
        return other_of(f);
    }
    m = metric_new(f, &labels);
    map_set(&f->series, slice_str(m->labels), m);
    return m;
}

void metric_remove(struct metric_family *f, const char *const *values)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, LABEL_TEXT_MAX);
    label_text(f, values, &labels);
    if (strbuf_ok(&labels)) {
        metric_free(map_remove(&f->series, strbuf_slice(&labels)));
    }
}

void metric_add(struct metric *m, double by)
{
    REQUIRE(m->family->kind == METRIC_GAUGE || (m->family->kind == METRIC_COUNTER && by >= 0));
    m->value += by;
}

void metric_set(struct metric *m, double value)
{
    REQUIRE(m->family->kind == METRIC_GAUGE);
    m->value = value;
}

void metric_observe(struct metric *m, double value)
{
    const struct metric_family *f = m->family;
    REQUIRE(f->kind == METRIC_HISTOGRAM);
    m->value += value;
    m->count++;
    for (size_t i = 0; i < f->bound_count; i++) {
        if (value <= f->bounds[i]) {
            m->counts[i]++;
            return;
        }
    }
}

double metric_value(const struct metric *m)
{
    return m->family->kind == METRIC_HISTOGRAM ? (double)m->count : m->value;
}

void metric_on_expose(struct metric_registry *reg, struct metric_hook *hook, void (*cb)(void *),
                      void *data)
{
    hook->cb = cb;
    hook->data = data;
    list_push_back(&reg->hooks, &hook->link);
}

static void put_number(struct strbuf *out, double x)
{
    char text[NUM_DOUBLE_MAX];
    if (isnan(x)) {
        strbuf_append_str(out, "NaN");
    } else if (isinf(x)) {
        strbuf_append_str(out, x > 0 ? "+Inf" : "-Inf");
    } else {
        strbuf_append_str(out, num_format_double(x, text, sizeof(text)));
    }
}

/* name[suffix]{labels[,le="…"]} value */
static void put_line(struct strbuf *out, const struct metric *m, const char *suffix,
                     const double *le, double value)
{
    strbuf_appendf(out, "%s%s", m->family->name, suffix);
    if (m->labels[0] != '\0' || le != NULL) {
        strbuf_append_char(out, '{');
        strbuf_append_str(out, m->labels);
        if (le != NULL) {
            strbuf_append_str(out, m->labels[0] == '\0' ? "le=\"" : ",le=\"");
            put_number(out, *le);
            strbuf_append_char(out, '"');
        }
        strbuf_append_char(out, '}');
    }
    strbuf_append_char(out, ' ');
    put_number(out, value);
    strbuf_append_char(out, '\n');
}

static void put_series(struct strbuf *out, const struct metric *m)
{
    const struct metric_family *f = m->family;
    if (f->kind != METRIC_HISTOGRAM) {
        put_line(out, m, "", NULL, m->value);
        return;
    }
    uint64_t below = 0;
    for (size_t i = 0; i < f->bound_count; i++) {
        below += m->counts[i];
        put_line(out, m, "_bucket", &f->bounds[i], (double)below);
    }
    const double infinity = (double)INFINITY;
    put_line(out, m, "_bucket", &infinity, (double)m->count);
    put_line(out, m, "_sum", NULL, m->value);
    put_line(out, m, "_count", NULL, (double)m->count);
}

int metric_expose(struct metric_registry *reg, struct strbuf *out, struct error *err)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    list_foreach (node, &reg->hooks) {
        const struct metric_hook *hook = LIST_ENTRY(node, struct metric_hook, link);
        hook->cb(hook->data);
    }
    list_foreach (node, &reg->families) {
        const struct metric_family *f = LIST_ENTRY(node, struct metric_family, link);
        if (map_len(&f->series) == 0 && f->other == NULL) {
            continue;
        }
        strbuf_appendf(out, "# HELP %s ", f->name);
        put_escaped(out, f->help, false);
        strbuf_appendf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
        map_foreach (it, &f->series) {
            put_series(out, it.value);
        }
        if (f->other != NULL) {
            put_series(out, f->other);
        }
    }
    if (!strbuf_ok(out)) {
        return error_set(err, ERR_TOO_BIG, "metrics have more than %zu bytes", out->max);
    }
    return 0;
}
