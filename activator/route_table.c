// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a Route owns one group for its main name and one per tag, and the names that lead to them.
 * A name sits in one of two maps (main names, tag names) as a chain in order of arrival; the first
 * of a chain answers. Happy path of a match: lower-case the host into a stack buffer, one or two
 * map look-ups, one walk over the group's targets.
 *
 * Failure modes: a host longer than a DNS name or with odd bytes simply is not found.
 */
#include "activator/route_table.h"

#include <string.h>

#include "base/mem.h"

enum { NAMES_MAIN, NAMES_TAG };

#define NAME_BYTES_MAX 512

struct weighted {
    char *revision; /* owned */
    struct route_memo memo;
    int32_t weight;
    int32_t current; /* smooth weighted round robin */
};

struct group {
    char *tag; /* owned; "" for the main group */
    struct weighted *targets;
    size_t count;
    int32_t total; /* sum of the weights */
};

/* A DomainMapping. */
struct domain {
    char *ns;
    char *route;
    unsigned char http_protocol;
};

struct route_name {
    struct route_name *next_same; /* later claimant of the same name */
    struct route *route;
    struct group *group;
    bool public_ok; /* may be asked for on the public listener */
    uint8_t map;    /* NAMES_MAIN or NAMES_TAG */
    char text[];    /* the key */
};

struct route {
    char *ns;
    char *name;
    struct group *groups; /* [0] is the main one */
    size_t group_count;
    struct route_name **names;
    size_t name_count;
    unsigned char http_protocol;
    bool async_off;
    const struct route *replaces; /* while it is put in the place of that one */
};

struct slice route_host_without_port(struct slice host)
{
    if (host.len > 0 && host.ptr[0] == '[') {
        ptrdiff_t end = slice_find(host, ']');
        return end < 0 ? host : slice_sub(host, 0, (size_t)end + 1);
    }
    ptrdiff_t colon = slice_rfind(host, ':');
    return colon < 0 ? host : slice_sub(host, 0, (size_t)colon);
}

void route_table_init(struct route_table *t, const char *cluster_domain)
{
    map_init(&t->routes, MAP_COPY_KEYS);
    map_init(&t->names[NAMES_MAIN], MAP_COPY_KEYS);
    map_init(&t->names[NAMES_TAG], MAP_COPY_KEYS);
    map_init(&t->domains, MAP_COPY_KEYS);
    t->cluster_domain = xstrdup(cluster_domain);
}

static void group_fini(struct group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->targets[i].revision);
    }
    free(g->targets);
    free(g->tag);
}

/* Takes one name out of its chain and frees it. */
static void name_drop(struct route_table *t, struct route_name *n)
{
    struct map *m = &t->names[n->map];
    struct slice key = slice_str(n->text);
    struct route_name *head = map_get(m, key);
    if (head == n) {
        if (n->next_same != NULL) {
            (void)map_set(m, key, n->next_same);
        } else {
            (void)map_remove(m, key);
        }
    } else {
        while (head->next_same != n) {
            head = head->next_same;
        }
        head->next_same = n->next_same;
    }
    free(n);
}

static void route_free(struct route_table *t, struct route *r)
{
    for (size_t i = 0; i < r->name_count; i++) {
        name_drop(t, r->names[i]);
    }
    for (size_t i = 0; i < r->group_count; i++) {
        group_fini(&r->groups[i]);
    }
    free(r->names);
    free(r->groups);
    free(r->ns);
    free(r->name);
    free(r);
}

static void domain_free(struct domain *d)
{
    if (d != NULL) {
        free(d->ns);
        free(d->route);
        free(d);
    }
}

void route_table_fini(struct route_table *t)
{
    map_foreach (it, &t->domains) {
        domain_free(it.value);
    }
    map_fini(&t->domains);
    map_foreach (it, &t->routes) {
        route_free(t, it.value);
    }
    map_fini(&t->routes);
    map_fini(&t->names[NAMES_MAIN]);
    map_fini(&t->names[NAMES_TAG]);
    free(t->cluster_domain);
    t->cluster_domain = NULL;
}

/* Lower-cases into buf; an empty slice when it does not fit. */
static struct slice lower(struct slice s, char *buf, size_t size)
{
    if (s.len >= size) {
        return SLICE_EMPTY;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        buf[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return slice_of(buf, s.len);
}

static void name_add(struct route_table *t, struct route *r, struct group *g, int map_no,
                     bool public_ok, struct slice text)
{
    char buf[NAME_BYTES_MAX];
    struct slice key = lower(text, buf, sizeof(buf));
    if (slice_empty(key)) {
        return;
    }
    struct route_name *n = xcalloc(1, sizeof(*n) + key.len + 1);
    n->route = r;
    n->group = g;
    n->public_ok = public_ok;
    n->map = (uint8_t)map_no;
    memcpy(n->text, key.ptr, key.len);
    struct route_name *head = map_get(&t->names[map_no], key);
    if (head == NULL) {
        (void)map_set(&t->names[map_no], key, n);
    } else {
        while (head->next_same != NULL && head->route != r->replaces) {
            head = head->next_same; /* behind its predecessor, or behind all who were first */
        }
        n->next_same = head->next_same;
        head->next_same = n;
    }
    r->names = xreallocarray(r->names, r->name_count + 1, sizeof(struct route_name *));
    r->names[r->name_count++] = n;
}

/* The names that a group has by its label (NAME or TAG-NAME): in-cluster hosts and the path. */
static void names_of_label(struct route_table *t, struct route *r, struct group *g, int map_no,
                           bool public_ok, const char *label)
{
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, NAME_BYTES_MAX);
    strbuf_appendf(&s, "%s.%s", label, r->ns);
    name_add(t, r, g, map_no, false, strbuf_slice(&s));
    strbuf_append_str(&s, ".svc");
    name_add(t, r, g, map_no, false, strbuf_slice(&s));
    strbuf_appendf(&s, ".%s", t->cluster_domain);
    name_add(t, r, g, map_no, false, strbuf_slice(&s));
    strbuf_clear(&s);
    strbuf_appendf(&s, "/%s/%s", r->ns, label);
    name_add(t, r, g, map_no, public_ok, strbuf_slice(&s));
}

static void group_push(struct group *g, struct slice revision, uint32_t percent)
{
    g->targets = xreallocarray(g->targets, g->count + 1, sizeof(*g->targets));
    g->targets[g->count++] = (struct weighted){
        .revision = slice_dup(revision),
        .weight = (int32_t)(percent > 100 ? 100 : percent),
    };
    g->total += g->targets[g->count - 1].weight;
}

static struct group *group_of_tag(const struct route *r, struct slice tag)
{
    for (size_t i = 1; i < r->group_count; i++) {
        if (slice_eq_str(tag, r->groups[i].tag)) {
            return &r->groups[i];
        }
    }
    return NULL;
}

/* Groups: [0] main, then one per distinct tag. */
static void groups_build(struct route *r, const struct route_spec *spec, size_t count)
{
    r->groups = xcalloc(count + 1, sizeof(*r->groups));
    r->group_count = 1;
    r->groups[0].tag = xstrdup("");
    for (size_t i = 0; i < count; i++) {
        const struct route_target *rt = &spec->targets[i];
        if (rt->percent > 0) {
            group_push(&r->groups[0], rt->revision, rt->percent);
        }
        if (slice_empty(rt->tag)) {
            continue;
        }
        struct group *g = group_of_tag(r, rt->tag);
        if (g == NULL) {
            g = &r->groups[r->group_count++];
            g->tag = slice_dup(rt->tag);
        }
        /* Alone it gets all; several share, as a rollout under this tag says. */
        group_push(g, rt->revision, rt->percent > 0 ? rt->percent : 100);
    }
}

static bool same_targets(const struct group *a, const struct group *b)
{
    if (a->count != b->count || strcmp(a->tag, b->tag) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->targets[i].weight != b->targets[i].weight ||
            strcmp(a->targets[i].revision, b->targets[i].revision) != 0) {
            return false;
        }
    }
    return true;
}

static void keep_state(struct group *fresh, const struct group *old)
{
    if (same_targets(fresh, old)) {
        for (size_t i = 0; i < fresh->count; i++) {
            fresh->targets[i].current = old->targets[i].current;
        }
    }
}

static struct slice route_key(struct strbuf *s, struct slice ns, struct slice name)
{
    strbuf_init(s, NAME_BYTES_MAX);
    strbuf_append_slice(s, ns);
    strbuf_append_char(s, '/');
    strbuf_append_slice(s, name);
    return strbuf_slice(s);
}

void route_table_put(struct route_table *t, const struct route_spec *spec)
{
    CLEANUP(strbuf_fini) struct strbuf key_buf;
    struct slice key = route_key(&key_buf, spec->ns, spec->name);
    size_t count = spec->count > ROUTE_TARGETS_MAX ? ROUTE_TARGETS_MAX : spec->count;
    struct route *r = NEW(struct route);
    r->ns = slice_dup(spec->ns);
    r->name = slice_dup(spec->name);
    r->http_protocol = spec->http_protocol;
    r->async_off = spec->async_off;
    groups_build(r, spec, count);
    struct route *old = map_set(&t->routes, key, r);
    r->replaces = old;
    if (old != NULL) {
        keep_state(&r->groups[0], &old->groups[0]);
    }
    bool public_ok = !spec->cluster_local;
    name_add(t, r, &r->groups[0], NAMES_MAIN, public_ok, spec->host);
    names_of_label(t, r, &r->groups[0], NAMES_MAIN, public_ok, r->name);
    for (size_t i = 0, named = 0; i < count; i++) {
        struct group *g = group_of_tag(r, spec->targets[i].tag);
        if (g == NULL || g != &r->groups[named + 1]) {
            continue; /* no tag, or one that has its names */
        }
        bool outside_ok = public_ok && !spec->targets[i].cluster_local;
        name_add(t, r, g, NAMES_TAG, outside_ok, spec->targets[i].host);
        CLEANUP(cleanup_free) char *label = xasprintf("%s-%s", g->tag, r->name);
        names_of_label(t, r, g, NAMES_TAG, outside_ok, label);
        named++;
    }
    r->replaces = NULL;
    if (old != NULL) {
        route_free(t, old); /* only now: its names keep their places for the new ones */
    }
}

void route_table_remove(struct route_table *t, struct slice ns, struct slice name)
{
    CLEANUP(strbuf_fini) struct strbuf key_buf;
    struct route *old = map_remove(&t->routes, route_key(&key_buf, ns, name));
    if (old != NULL) {
        route_free(t, old);
    }
}

size_t route_table_len(const struct route_table *t)
{
    return map_len(&t->routes);
}

void route_table_map_domain(struct route_table *t, struct slice host, struct slice ns,
                            struct slice route, unsigned char http_protocol)
{
    char buf[NAME_BYTES_MAX];
    struct slice key = lower(host, buf, sizeof(buf));
    if (slice_empty(key)) {
        return;
    }
    struct domain *d = NEW(struct domain);
    d->ns = slice_dup(ns);
    d->route = slice_dup(route);
    d->http_protocol = http_protocol;
    domain_free(map_set(&t->domains, key, d));
}

void route_table_unmap_domain(struct route_table *t, struct slice host, struct slice ns)
{
    char buf[NAME_BYTES_MAX];
    struct slice key = lower(host, buf, sizeof(buf));
    const struct domain *old = map_get(&t->domains, key);
    if (old != NULL && slice_eq_str(ns, old->ns)) {
        domain_free(map_remove(&t->domains, key));
    }
}

/* The next target of the group: largest current after every one has grown by its weight. */
static struct weighted *group_pick(struct group *g)
{
    struct weighted *best = NULL;
    if (g->count == 1) {
        return &g->targets[0];
    }
    for (size_t i = 0; i < g->count; i++) {
        struct weighted *w = &g->targets[i];
        w->current += w->weight;
        if (best == NULL || w->current > best->current) {
            best = w;
        }
    }
    if (best != NULL) {
        best->current -= g->total;
    }
    return best;
}

/* "/_lull/NS/NAME…": the key "/NS/NAME" and its length in the path; 0 when it is none. */
static size_t path_label(struct slice path, struct slice *out_key)
{
    struct slice prefix = SLICE_LIT(ROUTE_PATH_PREFIX);
    if (!slice_starts_with(path, prefix)) {
        return 0;
    }
    size_t from = prefix.len - 1; /* the '/' before NS belongs to the key */
    size_t slashes = 0;
    size_t end = from;
    while (end < path.len && path.ptr[end] != '?' && path.ptr[end] != '#') {
        if (path.ptr[end] == '/' && ++slashes == 3) {
            break;
        }
        end++;
    }
    *out_key = slice_sub(path, from, end - from);
    return end;
}

static struct route_name *lookup(struct route_table *t, enum route_listener listener,
                                 struct slice key)
{
    for (size_t i = 0; i < ARRAY_LEN(t->names); i++) {
        struct route_name *n = map_get(&t->names[i], key);
        for (; n != NULL; n = n->next_same) {
            if (listener == ROUTE_LOCAL || n->public_ok) {
                return n;
            }
        }
    }
    return NULL;
}

/* The main group of the Route that a DomainMapping of this name leads to. */
static struct group *mapped_group(const struct route_table *t, struct slice key,
                                  struct route **out_route, unsigned char *out_protocol)
{
    const struct domain *d = map_get(&t->domains, key);
    CLEANUP(strbuf_fini) struct strbuf key_buf = {0};
    struct route *r =
        d == NULL ? NULL
                  : map_get(&t->routes, route_key(&key_buf, slice_str(d->ns), slice_str(d->route)));
    *out_route = r;
    *out_protocol = d == NULL ? 0 : d->http_protocol;
    return r == NULL ? NULL : &r->groups[0];
}

/* The group that answers: a tag's own, when the request asks the main name for it. */
static struct group *group_of(const struct route_table *t, const struct route *r,
                              struct group *named, struct slice tag)
{
    if (!t->tag_header || slice_empty(tag) || named != &r->groups[0]) {
        return named;
    }
    for (size_t i = 1; i < r->group_count; i++) {
        if (slice_eq_str(tag, r->groups[i].tag)) {
            return &r->groups[i];
        }
    }
    return named;
}

enum route_result route_table_match(struct route_table *t, const struct route_request *rq,
                                    struct route_match *out)
{
    char buf[NAME_BYTES_MAX];
    struct slice raw = route_host_without_port(rq->host);
    *out = (struct route_match){
        .ns = SLICE_EMPTY, .route = SLICE_EMPTY, .revision = SLICE_EMPTY, .tag = SLICE_EMPTY};
    out->path_skip = path_label(rq->path, &raw);
    if (out->path_skip == 0 && raw.len > 1 && raw.ptr[raw.len - 1] == '.') {
        raw.len--; /* "name.ns.localhost." is the same host */
    }
    struct slice key = lower(raw, buf, sizeof(buf));
    if (slice_empty(key) || (out->path_skip == 0 && key.ptr[0] == '/')) {
        return ROUTE_UNKNOWN; /* a host that looks like a path key is nobody's name */
    }
    struct route_name *n = lookup(t, rq->listener, key);
    struct route *r = n == NULL ? NULL : n->route;
    out->http_protocol = r == NULL ? 0 : r->http_protocol;
    struct group *g = n == NULL ? mapped_group(t, key, &r, &out->http_protocol) : n->group;
    if (g == NULL) {
        return ROUTE_UNKNOWN;
    }
    g = group_of(t, r, g, rq->tag);
    out->ns = slice_str(r->ns);
    out->route = slice_str(r->name);
    out->async_off = r->async_off;
    out->tag = slice_str(g->tag);
    struct weighted *w = group_pick(g);
    if (w == NULL) {
        return ROUTE_NO_TARGET;
    }
    out->revision = slice_str(w->revision);
    out->memo = &w->memo;
    return ROUTE_FOUND;
}

/* The domain of a host that has the usual form NAME.NS.DOMAIN; empty when it has another. */
static struct slice domain_of(const struct route *r, struct slice host)
{
    size_t name = strlen(r->name);
    size_t ns = strlen(r->ns);
    if (host.len < name + ns + 3 || memcmp(host.ptr, r->name, name) != 0 || host.ptr[name] != '.' ||
        memcmp(host.ptr + name + 1, r->ns, ns) != 0 || host.ptr[name + 1 + ns] != '.') {
        return SLICE_EMPTY;
    }
    return slice_sub(host, name + ns + 2, host.len);
}

void route_table_host_form(const struct route_table *t, enum route_listener listener,
                           struct strbuf *out)
{
    map_foreach (it, &t->routes) {
        const struct route *r = it.value;
        for (size_t i = 0; i < r->name_count; i++) {
            const struct route_name *n = r->names[i];
            struct slice domain = domain_of(r, slice_str(n->text));
            if (n->group == &r->groups[0] && n->public_ok && !slice_empty(domain)) {
                strbuf_appendf(out, "NAME.NAMESPACE.%.*s", SLICE_FMT(domain));
                return;
            }
        }
    }
    if (listener == ROUTE_LOCAL) {
        strbuf_appendf(out, "NAME.NAMESPACE.svc.%s", t->cluster_domain);
    } else {
        strbuf_append_str(out, "NAME.NAMESPACE.DOMAIN");
    }
}

void route_table_dump(const struct route_table *t, struct strbuf *out)
{
    bool first = true;
    map_foreach (it, &t->routes) {
        const struct route *r = it.value;
        strbuf_appendf(out, "%s{\"route\":\"%s/%s\",\"names\":[", first ? "" : ",", r->ns, r->name);
        first = false;
        for (size_t i = 0; i < r->name_count; i++) {
            strbuf_append_str(out, i == 0 ? "" : ",");
            strbuf_append_json(out, slice_str(r->names[i]->text));
        }
        strbuf_append_str(out, "],\"traffic\":[");
        for (size_t i = 0; i < r->groups[0].count; i++) {
            const struct weighted *w = &r->groups[0].targets[i];
            strbuf_appendf(out, "%s{\"revision\":\"%s\",\"percent\":%d}", i == 0 ? "" : ",",
                           w->revision, w->weight);
        }
        strbuf_append_str(out, "]}");
    }
}
