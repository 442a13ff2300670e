// SPDX-License-Identifier: Apache-2.0
//
// Equal lines at both ends are taken off; the longest common row of the rest comes from a table,
// up to CELLS_MAX cells; beyond that the rest counts as replaced as a whole.
#include "cli/diff_text.h"

#include <stdlib.h>

#include "base/mem.h"

#define CELLS_MAX (16u << 20)
#define AROUND    3

struct lines {
    struct slice *items;
    size_t count;
};

struct diff {
    struct lines a, b;
    char *ops; /* ' ' in both, '-' in a, '+' in b */
    size_t n_ops;
};

static struct lines lines_of(struct slice text)
{
    struct lines l = {0};
    struct slice line;
    size_t cap = 0;

    if (text.len > 0 && text.ptr[text.len - 1] == '\n') {
        text.len--;
    }
    if (text.len == 0) {
        return l;
    }
    while (slice_split(&text, '\n', &line)) {
        if (l.count == cap) {
            cap = cap ? cap * 2 : 64;
            l.items = xreallocarray(l.items, cap, sizeof *l.items);
        }
        l.items[l.count++] = line;
    }
    return l;
}

static void op(struct diff *d, char kind, size_t times)
{
    while (times-- > 0) {
        d->ops[d->n_ops++] = kind;
    }
}

// a[from…] of n lines against b[from…] of m lines, by the table of common rows' lengths.
static void middle(struct diff *d, size_t from, size_t n, size_t m)
{
    if (n == 0 || m == 0 || n * m > CELLS_MAX) {
        op(d, '-', n);
        op(d, '+', m);
        return;
    }
    uint32_t *longest = xcalloc((n + 1) * (m + 1), sizeof *longest);
    for (size_t i = n; i-- > 0;) {
        for (size_t j = m; j-- > 0;) {
            uint32_t *at = &longest[i * (m + 1) + j];
            uint32_t down = at[m + 1], right = at[1];
            bool same = slice_eq(d->a.items[from + i], d->b.items[from + j]);
            *at = same ? at[m + 2] + 1 : down > right ? down : right;
        }
    }
    size_t i = 0, j = 0;
    while (i < n && j < m) {
        const uint32_t *at = &longest[i * (m + 1) + j];
        if (slice_eq(d->a.items[from + i], d->b.items[from + j])) {
            op(d, ' ', 1);
            i++;
            j++;
        } else if (at[m + 1] >= at[1]) {
            op(d, '-', 1);
            i++;
        } else {
            op(d, '+', 1);
            j++;
        }
    }
    op(d, '-', n - i);
    op(d, '+', m - j);
    free(longest);
}

static size_t around_end(const struct diff *d, size_t at)
{
    size_t quiet = 0;
    while (at < d->n_ops && quiet <= 2 * AROUND) {
        quiet = d->ops[at++] == ' ' ? quiet + 1 : 0;
    }
    return at - (quiet > AROUND ? quiet - AROUND : 0);
}

static void hunk(const struct diff *d, size_t begin, size_t end, size_t i, size_t j,
                 struct strbuf *out)
{
    size_t n = 0, m = 0;

    for (size_t k = begin; k < end; k++) {
        n += d->ops[k] != '+';
        m += d->ops[k] != '-';
    }
    strbuf_appendf(out, "@@ -%zu,%zu +%zu,%zu @@\n", i + (n > 0), n, j + (m > 0), m);
    for (size_t k = begin; k < end; k++) {
        struct slice line = d->ops[k] == '+' ? d->b.items[j] : d->a.items[i];
        strbuf_appendf(out, "%c%.*s\n", d->ops[k], SLICE_FMT(line));
        i += d->ops[k] != '+';
        j += d->ops[k] != '-';
    }
}

static void hunks(const struct diff *d, struct strbuf *out)
{
    size_t i = 0, j = 0, k = 0;

    while (k < d->n_ops) {
        size_t change = k;
        while (change < d->n_ops && d->ops[change] == ' ') {
            change++;
        }
        if (change == d->n_ops) {
            return;
        }
        size_t skip = change - k > AROUND ? change - k - AROUND : 0;
        i += skip;
        j += skip;
        size_t begin = k + skip, end = around_end(d, change);
        hunk(d, begin, end, i, j, out);
        for (k = begin; k < end; k++) {
            i += d->ops[k] != '+';
            j += d->ops[k] != '-';
        }
    }
}

bool diff_text(struct slice before, struct slice after, struct strbuf *out)
{
    if (slice_eq(before, after)) {
        return false;
    }
    struct diff d = {.a = lines_of(before), .b = lines_of(after)};
    size_t n = d.a.count, m = d.b.count, head = 0, tail = 0;

    d.ops = xmalloc(n + m + 1);
    while (head < n && head < m && slice_eq(d.a.items[head], d.b.items[head])) {
        head++;
    }
    while (tail < n - head && tail < m - head &&
           slice_eq(d.a.items[n - 1 - tail], d.b.items[m - 1 - tail])) {
        tail++;
    }
    op(&d, ' ', head);
    middle(&d, head, n - head - tail, m - head - tail);
    op(&d, ' ', tail);
    hunks(&d, out);
    free(d.a.items);
    free(d.b.items);
    free(d.ops);
    return true;
}
