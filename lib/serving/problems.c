// SPDX-License-Identifier: Apache-2.0
/*
 * A list of problems. Happy path: a rule adds, callers prefix, the end prints. Failure modes: too
 * many (the rest is counted and said so), a text that is too long (cut with "…").
 */
#include "serving/problems.h"

#include <stdlib.h>

#include "base/mem.h"

void problems_init(struct problems *p)
{
    *p = (struct problems){0};
}

static void problem_fini(struct problem *problem)
{
    free(problem->message);
    free(problem->details);
    for (size_t i = 0; i < problem->n_paths; i++) {
        free(problem->paths[i]);
    }
    free(problem->paths);
}

void problems_fini(struct problems *p)
{
    problems_drop(p, 0);
    free(p->list);
    problems_init(p);
}

size_t problems_mark(const struct problems *p)
{
    return p->len;
}

void problems_drop(struct problems *p, size_t mark)
{
    while (p->len > mark) {
        problem_fini(&p->list[--p->len]);
    }
    p->dropped = 0;
}

static char *bounded_text(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

static char *bounded_text(const char *fmt, va_list ap)
{
    char *text = xmalloc(PROBLEM_TEXT_MAX);
    int len = vsnprintf(text, PROBLEM_TEXT_MAX, fmt, ap);
    if (len >= PROBLEM_TEXT_MAX) {
        static const char cut[] = "…";
        memcpy(text + PROBLEM_TEXT_MAX - sizeof(cut), cut, sizeof(cut));
    }
    return xrealloc(text, strlen(text) + 1);
}

void problem_add(struct problems *p, const char *path, const char *fmt, ...)
{
    if (p->len == PROBLEMS_MAX) {
        p->dropped++;
        return;
    }
    if (p->len == p->cap) {
        p->cap = p->cap == 0 ? 16 : p->cap * 2;
        p->list = xreallocarray(p->list, p->cap, sizeof(*p->list));
    }
    va_list ap;
    va_start(ap, fmt);
    p->list[p->len++] = (struct problem){.message = bounded_text(fmt, ap), .details = xstrdup("")};
    va_end(ap);
    if (path != NULL) {
        problem_path(p, path);
    }
}

static struct problem *last(struct problems *p)
{
    return p->len == 0 || p->dropped > 0 ? NULL : &p->list[p->len - 1];
}

void problem_path(struct problems *p, const char *path)
{
    struct problem *problem = last(p);
    if (problem != NULL && problem->n_paths < PROBLEMS_MAX) {
        problem->paths =
            xreallocarray(problem->paths, problem->n_paths + 1, sizeof(*problem->paths));
        problem->paths[problem->n_paths++] = xstrdup(path);
    }
}

void problem_details(struct problems *p, const char *fmt, ...)
{
    struct problem *problem = last(p);
    if (problem != NULL) {
        va_list ap;
        va_start(ap, fmt);
        free(problem->details);
        problem->details = bounded_text(fmt, ap);
        va_end(ap);
    }
}

void problem_warns(struct problems *p)
{
    struct problem *problem = last(p);
    if (problem != NULL) {
        problem->level = PROBLEM_WARNING;
    }
}

/* --- the way to a path --------------------------------------------------------------------- */

void problems_via(struct problems *p, size_t mark, const char *field)
{
    for (size_t i = mark; i < p->len; i++) {
        for (size_t j = 0; j < p->list[i].n_paths; j++) {
            char *old = p->list[i].paths[j];
            p->list[i].paths[j] = xasprintf("%s.%s", field, old);
            free(old);
        }
    }
}

void problems_via_index(struct problems *p, size_t mark, size_t index)
{
    char text[32];
    snprintf(text, sizeof(text), "[%zu]", index);
    problems_via(p, mark, text);
}

void problems_via_key(struct problems *p, size_t mark, const char *key)
{
    CLEANUP(cleanup_free) char *text = xasprintf("[%s]", key);
    problems_via(p, mark, text);
}

/* "a..[0].b." becomes "a[0].b": empty parts go, an index stands right behind what it is of. */
static char *flatten(const char *path)
{
    char *out = xmalloc(strlen(path) + 1);
    size_t n = 0;
    struct slice rest = slice_str(path);
    struct slice part;
    while (slice_split(&rest, '.', &part)) {
        if (part.len == 0) {
            continue;
        }
        bool index = part.len > 1 && part.ptr[0] == '[' && part.ptr[part.len - 1] == ']';
        if (n > 0 && !index) {
            out[n++] = '.';
        }
        memcpy(out + n, part.ptr, part.len);
        n += part.len;
    }
    out[n] = '\0';
    return out;
}

/* --- printing ------------------------------------------------------------------------------ */

static int compare_problems(const void *left, const void *right)
{
    const struct problem *a = *(struct problem *const *)left;
    const struct problem *b = *(struct problem *const *)right;
    int order = strcmp(a->message, b->message);
    return order != 0 ? order : strcmp(a->details, b->details);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The paths of problems[0..count), which say the same, sorted and each once. */
static void print_paths(struct problem **problems, size_t count, struct strbuf *out)
{
    size_t n = 0;
    size_t all = 0;
    for (size_t i = 0; i < count; i++) {
        all += problems[i]->n_paths;
    }
    char **paths = xcalloc(all + 1, sizeof(*paths));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < problems[i]->n_paths; j++) {
            paths[n++] = flatten(problems[i]->paths[j]);
        }
    }
    qsort(paths, n, sizeof(*paths), compare_texts);
    const char *before = NULL;
    for (size_t i = 0; i < n; i++) {
        if (before == NULL || strcmp(before, paths[i]) != 0) {
            strbuf_appendf(out, "%s%s", before == NULL ? "" : ", ", paths[i]);
        }
        before = paths[i];
    }
    for (size_t i = 0; i < n; i++) {
        free(paths[i]);
    }
    free(paths);
}

size_t problems_print(const struct problems *p, enum problem_level level, struct strbuf *out)
{
    size_t n = 0;
    size_t lines = 0;
    struct problem **sorted = xcalloc(p->len + 1, sizeof(*sorted));
    for (size_t i = 0; i < p->len; i++) {
        if (p->list[i].level == level) {
            sorted[n++] = &p->list[i];
        }
    }
    qsort(sorted, n, sizeof(struct problem *), compare_problems);
    for (size_t from = 0; from < n;) {
        size_t to = from + 1;
        while (to < n && compare_problems(&sorted[from], &sorted[to]) == 0) {
            to++;
        }
        strbuf_appendf(out, "%s%s: ", lines == 0 ? "" : "\n", sorted[from]->message);
        print_paths(sorted + from, to - from, out);
        if (sorted[from]->details[0] != '\0') {
            strbuf_appendf(out, "\n%s", sorted[from]->details);
        }
        lines++;
        from = to;
    }
    free(sorted);
    if (p->dropped > 0 && level == PROBLEM_ERROR) {
        strbuf_appendf(out, "%s… and %zu more problems", lines++ == 0 ? "" : "\n", p->dropped);
    }
    return lines;
}

/* --- the common ones ----------------------------------------------------------------------- */

void problem_missing(struct problems *p, const char *field)
{
    problem_add(p, field, "missing field(s)");
}

void problem_disallowed(struct problems *p, const char *field)
{
    problem_add(p, field, "must not set the field(s)");
}

void problem_invalid(struct problems *p, const char *field, struct slice value)
{
    problem_add(p, field, "invalid value: %.*s", SLICE_FMT(value));
}

void problem_bounds(struct problems *p, const char *field, int64_t value, int64_t min, int64_t max)
{
    problem_add(p, field, "expected %lld <= %lld <= %lld", (long long)min, (long long)value,
                (long long)max);
}
