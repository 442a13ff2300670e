// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a page is read line by line. HELP and TYPE open a family; the samples that follow belong to
 * it. A series is its name with its labels as they are written: our own pages write them always in
 * the same order.
 *
 * Failure modes: what cannot be read as a sample is skipped, and so is a sample outside a family.
 */
#include "metric/merge.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"

#define WHOLE_MAX 1e15

struct series {
    double value;
    char *text; /* owned: name and labels; the key of the map */
};

struct family {
    char *name;        /* owned */
    char *help;        /* owned: the rest of its line; may be NULL */
    char *type;        /* owned; may be NULL */
    struct map series; /* text -> struct series, owned */
};

void metric_merge_init(struct metric_merge *m, metric_merge_rule rule)
{
    *m = (struct metric_merge){.rule = rule};
    map_init(&m->families, MAP_BORROW_KEYS);
}

static struct family *family_of(struct metric_merge *m, struct slice name)
{
    struct family *f = map_get(&m->families, name);
    if (f == NULL) {
        f = NEW(struct family);
        f->name = slice_dup(name);
        map_init(&f->series, MAP_BORROW_KEYS);
        (void)map_set(&m->families, slice_str(f->name), f);
    }
    return f;
}

/* "# HELP name text" and "# TYPE name kind" */
static struct family *read_comment(struct metric_merge *m, struct slice line)
{
    struct slice rest = slice_sub(line, 2, line.len);
    struct slice word;
    struct slice name;
    if (!slice_split(&rest, ' ', &word) || !slice_split(&rest, ' ', &name) || rest.ptr == NULL) {
        return NULL;
    }
    bool help = slice_eq_str(word, "HELP");
    if (!help && !slice_eq_str(word, "TYPE")) {
        return NULL;
    }
    struct family *f = family_of(m, name);
    char **at = help ? &f->help : &f->type;
    if (*at == NULL) {
        *at = slice_dup(rest);
    }
    return f;
}

static bool read_number(struct slice text, double *out)
{
    if (slice_eq_str(text, "NaN") || slice_eq_str(text, "+Inf") || slice_eq_str(text, "-Inf")) {
        return false;
    }
    return num_parse_double(text, -HUGE_VAL, HUGE_VAL, out, NULL) == 0;
}

static void combine(struct series *s, double value, enum metric_merge_how how)
{
    if (how == METRIC_MERGE_SUM) {
        s->value += value;
    } else if (how == METRIC_MERGE_MAX ? value > s->value : value < s->value) {
        s->value = value;
    }
}

static void read_sample(const struct metric_merge *m, struct family *f, struct slice line,
                        enum metric_merge_what what)
{
    double value;
    ptrdiff_t space = slice_rfind(line, ' ');
    if (space <= 0 || !read_number(slice_sub(line, (size_t)space + 1, line.len), &value)) {
        return;
    }
    bool gauge = f->type == NULL || strcmp(f->type, "gauge") == 0;
    if (gauge && what == METRIC_MERGE_TOTALS) {
        return;
    }
    struct slice text = slice_sub(line, 0, (size_t)space);
    struct series *s = map_get(&f->series, text);
    if (s != NULL) {
        enum metric_merge_how how =
            gauge && m->rule != NULL ? m->rule(slice_str(f->name)) : METRIC_MERGE_SUM;
        combine(s, value, how);
        return;
    }
    s = NEW(struct series);
    s->text = slice_dup(text);
    s->value = value;
    (void)map_set(&f->series, slice_str(s->text), s);
}

void metric_merge_add(struct metric_merge *m, struct slice page, enum metric_merge_what what)
{
    struct family *f = NULL;
    struct slice line;
    while (slice_split(&page, '\n', &line)) {
        if (slice_starts_with(line, SLICE_LIT("# "))) {
            f = read_comment(m, line);
        } else if (f != NULL && !slice_empty(line)) {
            read_sample(m, f, line, what);
        }
    }
}

/* Whole numbers in full, as counters are written. */
static const char *print_number(double value, char *buf, size_t size)
{
    if (value == floor(value) && fabs(value) < WHOLE_MAX) {
        snprintf(buf, size, "%.0f", value);
        return buf;
    }
    return num_format_double(value, buf, size);
}

void metric_merge_write(const struct metric_merge *m, struct strbuf *out)
{
    char number[NUM_DOUBLE_MAX];
    map_foreach (it, &m->families) {
        const struct family *f = it.value;
        if (f->help != NULL) {
            strbuf_appendf(out, "# HELP %s %s\n", f->name, f->help);
        }
        if (f->type != NULL) {
            strbuf_appendf(out, "# TYPE %s %s\n", f->name, f->type);
        }
        map_foreach (at, &f->series) {
            const struct series *s = at.value;
            strbuf_append_str(out, s->text);
            strbuf_append_char(out, ' ');
            strbuf_append_str(out, print_number(s->value, number, sizeof(number)));
            strbuf_append_char(out, '\n');
        }
    }
}

void metric_merge_fini(struct metric_merge *m)
{
    map_foreach (it, &m->families) {
        struct family *f = it.value;
        map_foreach (at, &f->series) {
            struct series *s = at.value;
            free(s->text);
            free(s);
        }
        map_fini(&f->series);
        free(f->name);
        free(f->help);
        free(f->type);
        free(f);
    }
    map_fini(&m->families);
}
