// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Each worker has two tables: the report that is coming in, and the last whole one, which the
 * other becomes with its last part. Numbers stand in the table itself, one more than they are,
 * since a map has no NULL. Failure modes: parts that are missing make a report void; a worker that
 * starts anew counts from 1 again, which a long silence or part 0 of a lower seq shows.
 */
#include "autoscaler/backlogs.h"

#include "base/mem.h"
#include "serving/backlog_report.h"

#define KEY_MAX (2 * BACKLOG_NAME_MAX + 1)

struct backlog_worker {
    struct map whole;  /* "ns/name" -> number + 1 */
    struct map coming; /* the same */
    uint64_t seq;
    uint16_t part; /* that comes next */
    uint16_t parts;
    uint64_t last_ms; /* of whole; 0: none yet */
};

void backlogs_init(struct backlogs *b)
{
    *b = (struct backlogs){0};
    map_init(&b->workers, MAP_COPY_KEYS);
}

static void worker_free(struct backlog_worker *w)
{
    map_fini(&w->whole);
    map_fini(&w->coming);
    free(w);
}

void backlogs_fini(struct backlogs *b)
{
    map_foreach (it, &b->workers) {
        worker_free(it.value);
    }
    map_fini(&b->workers);
}

void backlogs_begin(struct backlogs *b, uint64_t now_ms)
{
    b->last_ms = now_ms;
}

static bool is_fresh(const struct backlog_worker *w, uint64_t now_ms)
{
    return w->last_ms > 0 && now_ms < w->last_ms + BACKLOGS_SILENCE_MS;
}

static void forget_silent(struct backlogs *b, uint64_t now_ms)
{
    map_foreach (it, &b->workers) {
        struct backlog_worker *w = it.value;
        if (!is_fresh(w, now_ms)) {
            map_remove(&b->workers, it.key);
            worker_free(w);
        }
    }
}

static struct backlog_worker *find_worker(struct backlogs *b, struct slice name, uint64_t now_ms,
                                          struct error *err)
{
    struct backlog_worker *w = map_get(&b->workers, name);
    if (w != NULL) {
        return w;
    }
    if (map_len(&b->workers) >= BACKLOGS_WORKERS_MAX) {
        forget_silent(b, now_ms);
    }
    if (map_len(&b->workers) >= BACKLOGS_WORKERS_MAX) {
        error_set(err, ERR_OVERLOAD, "%d workers of lull-broker report already",
                  BACKLOGS_WORKERS_MAX);
        return NULL;
    }
    w = NEW(struct backlog_worker);
    map_init(&w->whole, MAP_COPY_KEYS);
    map_init(&w->coming, MAP_COPY_KEYS);
    map_set(&b->workers, name, w);
    return w;
}

static struct slice key_of(struct slice ns, struct slice name, char buf[KEY_MAX])
{
    if (ns.len > BACKLOG_NAME_MAX || name.len > BACKLOG_NAME_MAX) {
        return SLICE_EMPTY;
    }
    memcpy(buf, ns.ptr, ns.len);
    buf[ns.len] = '/';
    memcpy(buf + ns.len + 1, name.ptr, name.len);
    return slice_of(buf, ns.len + 1 + name.len);
}

static int read_entries(struct backlog_worker *w, struct slice rest, struct error *err)
{
    struct backlog_entry entry;
    char buf[KEY_MAX];
    int rc;
    while ((rc = backlog_entry_read(&rest, &entry, err)) > 0) {
        if (map_len(&w->coming) >= BACKLOGS_ENTRIES_MAX) {
            return error_set(err, ERR_TOO_BIG, "a report of more than %d backlogs",
                             BACKLOGS_ENTRIES_MAX);
        }
        uint64_t waiting = entry.waiting < INTPTR_MAX - 1 ? entry.waiting : INTPTR_MAX - 1;
        map_set(&w->coming, key_of(entry.ns, entry.name, buf), (void *)(uintptr_t)(waiting + 1));
    }
    return rc;
}

int backlogs_take(struct backlogs *b, struct slice payload, uint64_t now_ms, struct error *err)
{
    struct backlog_part p;
    int rc = backlog_part_read(&payload, &p, err);
    struct backlog_worker *w = rc < 0 ? NULL : find_worker(b, p.worker, now_ms, err);
    if (w == NULL) {
        return rc < 0 ? rc : ERR_OVERLOAD;
    }
    if (p.part == 0) {
        map_clear(&w->coming);
        w->seq = p.seq;
        w->part = 0;
        w->parts = p.parts;
    }
    if (p.seq != w->seq || p.part != w->part || p.parts != w->parts) {
        return 0; /* one before it was lost */
    }
    rc = read_entries(w, payload, err);
    if (rc < 0) {
        w->parts = 0;
        return rc;
    }
    if (++w->part < w->parts) {
        return 0;
    }
    struct map before = w->whole;
    w->whole = w->coming;
    w->coming = before;
    map_clear(&w->coming);
    w->parts = 0;
    w->last_ms = now_ms;
    b->last_ms = now_ms;
    b->reports++;
    return 1;
}

bool backlogs_known(const struct backlogs *b, uint64_t now_ms)
{
    return b->reports > 0 && now_ms < b->last_ms + BACKLOGS_SILENCE_MS;
}

static double waiting_at(const struct backlog_worker *w, struct slice key)
{
    uintptr_t value = (uintptr_t)map_get(&w->whole, key);
    return value > 0 ? (double)(value - 1) : 0;
}

double backlogs_waiting(const struct backlogs *b, struct slice ns, struct slice service,
                        struct slice revision, uint64_t now_ms)
{
    char all_buf[KEY_MAX];
    char own_buf[KEY_MAX];
    char name[BACKLOG_NAME_MAX + 1];
    int len = snprintf(name, sizeof(name), "%.*s/%.*s", SLICE_FMT(service), SLICE_FMT(revision));
    bool fits = len > 0 && (size_t)len < sizeof(name);
    struct slice all = key_of(ns, service, all_buf);
    struct slice own = fits ? key_of(ns, slice_of(name, (size_t)len), own_buf) : SLICE_EMPTY;
    double most = -1;
    map_foreach (it, &b->workers) {
        const struct backlog_worker *w = it.value;
        if (is_fresh(w, now_ms)) {
            double waiting = waiting_at(w, all) + waiting_at(w, own);
            most = waiting > most ? waiting : most;
        }
    }
    return most;
}

bool backlogs_each(const struct backlogs *b, uint64_t now_ms,
                   void (*fn)(void *arg, struct slice key, double waiting), void *arg)
{
    map_foreach (worker, &b->workers) {
        const struct backlog_worker *w = worker.value;
        if (!is_fresh(w, now_ms)) {
            continue;
        }
        map_foreach (it, &w->whole) {
            fn(arg, it.key, (double)((uintptr_t)it.value - 1));
        }
    }
    return backlogs_known(b, now_ms);
}

uint64_t backlogs_freeze_until(const struct backlogs *b)
{
    return b->last_ms + BACKLOGS_SILENCE_MS + BACKLOGS_FREEZE_MS;
}
