// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: domains in a map; the few listed ones in a list, by rank, walked for each name that no
 * domain has.
 *
 * Failure modes: a name longer than a DNS name, or empty, is nobody's.
 */
#include "activator/certificates.h"

#include "base/list.h"
#include "base/mem.h"

#define HOST_MAX 256

static struct slice lower(struct slice s, char buf[static HOST_MAX])
{
    if (s.len > 1 && s.ptr[s.len - 1] == '.') {
        s.len--;
    }
    if (s.len >= HOST_MAX) {
        return SLICE_EMPTY;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        buf[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return slice_of(buf, s.len);
}

static char *dup_lower(struct slice s)
{
    char buf[HOST_MAX];
    return slice_dup(lower(s, buf));
}

static void row_free(const struct certificates *t, struct certificate_row *row)
{
    list_remove(&row->link);
    for (char **name = row->names; name != NULL && *name != NULL; name++) {
        free(*name);
    }
    if (row->identity != NULL) {
        t->release(row->identity);
    }
    free(row->names);
    free(row->host);
    free(row->id);
    free(row);
}

void certificates_init(struct certificates *t, void (*release)(void *identity))
{
    *t = (struct certificates){.release = release};
    map_init(&t->rows, MAP_COPY_KEYS);
    map_init(&t->hosts, MAP_BORROW_KEYS);
    list_init(&t->listed);
}

void certificates_fini(struct certificates *t)
{
    if (t->release == NULL) {
        return;
    }
    map_foreach (it, &t->rows) {
        row_free(t, it.value);
    }
    map_fini(&t->rows);
    map_fini(&t->hosts);
    t->release = NULL;
}

static void insert_by_rank(struct certificates *t, struct certificate_row *row)
{
    list_foreach (node, &t->listed) {
        if (LIST_ENTRY(node, struct certificate_row, link)->rank > row->rank) {
            list_insert_before(node, &row->link);
            return;
        }
    }
    list_push_back(&t->listed, &row->link);
}

void certificates_remove(struct certificates *t, struct slice id)
{
    struct certificate_row *row = map_remove(&t->rows, id);
    if (row == NULL) {
        return;
    }
    if (row->host != NULL && map_get(&t->hosts, slice_str(row->host)) == row) {
        (void)map_remove(&t->hosts, slice_str(row->host));
    }
    row_free(t, row);
}

void certificates_put(struct certificates *t, const struct certificate_spec *spec)
{
    struct certificate_row *row = NEW(struct certificate_row);
    row->id = slice_dup(spec->id);
    row->rank = spec->rank;
    row->ends_s = spec->ends_s;
    row->identity = spec->identity;
    list_init(&row->link);
    certificates_remove(t, spec->id);
    (void)map_set(&t->rows, spec->id, row);
    if (!slice_empty(spec->host)) {
        row->host = dup_lower(spec->host);
        (void)map_remove(&t->hosts, slice_str(row->host)); /* its key is another row's text */
        (void)map_set(&t->hosts, slice_str(row->host), row);
        return;
    }
    row->names = xcalloc(spec->n_names + 1, sizeof(*row->names));
    for (size_t i = 0; i < spec->n_names; i++) {
        row->names[i] = dup_lower(spec->names[i]);
    }
    insert_by_rank(t, row);
}

size_t certificates_len(const struct certificates *t)
{
    return map_len(&t->rows);
}

/* "*.example.com" stands for "a.example.com", not for "a.b.example.com" or ".example.com". */
static bool names_fit(const char *pattern, struct slice host, bool wildcard)
{
    if ((pattern[0] == '*') != wildcard) {
        return false;
    }
    if (!wildcard) {
        return slice_eq_str(host, pattern);
    }
    ptrdiff_t dot = slice_find(host, '.');
    return pattern[1] == '.' && dot > 0 &&
           slice_eq_str(slice_sub(host, (size_t)dot, host.len), pattern + 1);
}

static const struct certificate_row *listed_for(const struct certificates *t, struct slice host,
                                                bool wildcard)
{
    list_foreach (node, &t->listed) {
        const struct certificate_row *row = LIST_ENTRY(node, struct certificate_row, link);
        for (char *const *name = row->names; *name != NULL; name++) {
            if (names_fit(*name, host, wildcard)) {
                return row;
            }
        }
    }
    return NULL;
}

static const struct certificate_row *find(const struct certificates *t, struct slice name)
{
    char buf[HOST_MAX];
    struct slice host = lower(name, buf);
    if (slice_empty(host)) {
        return NULL;
    }
    const struct certificate_row *row = map_get(&t->hosts, host);
    row = row != NULL ? row : listed_for(t, host, false);
    return row != NULL ? row : listed_for(t, host, true);
}

const struct certificate_row *certificates_choose(const struct certificates *t, struct slice name)
{
    const struct certificate_row *row = find(t, name);
    if (row != NULL || list_empty(&t->listed)) {
        return row;
    }
    return LIST_ENTRY(t->listed.next, struct certificate_row, link);
}

bool certificates_cover(const struct certificates *t, struct slice host)
{
    return find(t, host) != NULL;
}
