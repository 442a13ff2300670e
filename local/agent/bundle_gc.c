// SPDX-License-Identifier: Apache-2.0

/*
 * Plan, a round: (1) a pool thread names the bundles whose folder was not touched for the grace.
 * (2) The texts of all objects that can name a bundle are looked through, a few per millisecond.
 * (3) With what was written meanwhile looked at as well, what is still unused gets another name:
 * from now on a deploy makes it anew. (4) A little later what was written or touched in between is
 * put back. (5) A pool thread gives the rest a third name and removes it.
 * Failures: none is fatal; what cannot be removed is tried in the next round. What a process before
 * this one had renamed in (3) is put back in (1), for it may have been used since; what it had
 * begun to remove is removed.
 */

#include "local/agent/bundle_gc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "loop/work.h"

#define HEX_LEN        64
#define PREFIX         "sha256-"
#define GONE_PREFIX    ".gc-"
#define DEAD_PREFIX    ".gone-"
#define TEMP_PREFIX    ".new-" /* what a deploy writes before it renames it */
#define TEMP_MAX_AGE_S (24 * 3600)
#define ROUND_MAX      1000 /* bundles in one round */
#define SLICE          100  /* objects looked at per SLICE_MS */
#define SLICE_MS       1
#define DOUBT_MS       2000 /* between the other name and the end */
#define PERIOD_MAX_MS  (15 * 60 * 1000)
#define PERIOD_MIN_MS  500

static const char *const kinds[] = {"services.serving.knative.dev",
                                    "configurations.serving.knative.dev",
                                    "revisions.serving.knative.dev", "deployments.apps", "pods"};

enum gc_step { GC_IDLE, GC_LISTING, GC_SCANNING, GC_DOUBTING, GC_REMOVING };

struct candidate {
    char hex[HEX_LEN + 1];
    bool used;
    bool renamed;
};

struct bundle_gc {
    struct bundle_gc_options options;
    char *folder; /* …/bundles */
    struct timer timer;
    struct work work;
    struct closer closer;
    enum gc_step step;
    struct candidate *candidates; /* of this round */
    size_t count;
    size_t unused;
    size_t removed;
    int problem; /* a removal failed; the last one is err */
    struct error err;
    struct map by_hex; /* -> candidate */
    uint64_t version;  /* of the store when the looking began */
    size_t kind;       /* being looked through */
    char *after_ns, *after_name;
    size_t left; /* objects of this slice */
    struct object_room room;
    bundle_gc_close_cb close_cb;
    void *close_arg;
};

/* --- on a pool thread ---------------------------------------------------------------------- */

static int64_t age_ms(const char *path, int64_t now_ns)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        return -1;
    }
    return (now_ns - ((int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec)) / 1000000;
}

static bool is_hex(const char *text)
{
    return strlen(text) == HEX_LEN && strspn(text, "0123456789abcdef") == HEX_LEN;
}

/* What the process before this one was about to remove: its name again, or away with it. */
static void put_back(const char *folder, const char *hex)
{
    CLEANUP(cleanup_free) char *from = xasprintf("%s/" GONE_PREFIX "%s", folder, hex);
    CLEANUP(cleanup_free) char *to = xasprintf("%s/" PREFIX "%s", folder, hex);
    if (rename(from, to) < 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        (void)!fs_remove_tree(from, NULL); /* it was deployed anew */
    }
}

static void list_entry(struct bundle_gc *gc, const char *name, int64_t now_ns)
{
    CLEANUP(cleanup_free) char *path = fs_join(gc->folder, name);
    if (strncmp(name, GONE_PREFIX, strlen(GONE_PREFIX)) == 0 &&
        is_hex(name + strlen(GONE_PREFIX))) {
        put_back(gc->folder, name + strlen(GONE_PREFIX));
        return;
    }
    int64_t age = age_ms(path, now_ns);
    if (strncmp(name, DEAD_PREFIX, strlen(DEAD_PREFIX)) == 0) {
        (void)!fs_remove_tree(path, NULL);
    }
    if (strncmp(name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0 && age > TEMP_MAX_AGE_S * 1000) {
        (void)!fs_remove_tree(path, NULL);
    }
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !is_hex(name + strlen(PREFIX)) ||
        gc->count == ROUND_MAX || age < 0 || (uint64_t)age < gc->options.grace_ms) {
        return;
    }
    gc->candidates = xreallocarray(gc->candidates, gc->count + 1, sizeof(*gc->candidates));
    struct candidate *c = &gc->candidates[gc->count++];
    *c = (struct candidate){0};
    memcpy(c->hex, name + strlen(PREFIX), HEX_LEN);
}

static void list_run(struct work *work)
{
    struct bundle_gc *gc = work->data;
    DIR *dir = opendir(gc->folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        list_entry(gc, entry->d_name, clock_wall_ns());
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static void remove_run(struct work *work)
{
    struct bundle_gc *gc = work->data;
    for (size_t i = 0; i < gc->count; i++) {
        const char *hex = gc->candidates[i].hex;
        CLEANUP(cleanup_free) char *gone = xasprintf("%s/" GONE_PREFIX "%s", gc->folder, hex);
        CLEANUP(cleanup_free) char *dead = xasprintf("%s/" DEAD_PREFIX "%s", gc->folder, hex);
        if (!gc->candidates[i].renamed) {
            continue;
        }
        if (rename(gone, dead) < 0) {
            gc->problem = error_from_errno(&gc->err, errno, "cannot rename %s", gone);
        } else if (fs_remove_tree(dead, &gc->err) < 0) {
            gc->problem = gc->err.code;
        } else {
            gc->removed++;
        }
    }
}

/* --- looking ------------------------------------------------------------------------------- */

static void mark(struct bundle_gc *gc, const struct object *o)
{
    static const char key[] = "@sha256:";
    struct slice rest = object_json(o, &gc->room);
    const char *at;
    while (gc->unused > 0 && (at = memmem(rest.ptr, rest.len, key, sizeof(key) - 1)) != NULL) {
        rest = slice_sub(rest, (size_t)(at - rest.ptr) + sizeof(key) - 1, rest.len);
        struct candidate *c = map_get(&gc->by_hex, slice_sub(rest, 0, HEX_LEN));
        if (c != NULL && !c->used) {
            c->used = true;
            gc->unused--;
        }
    }
}

static bool on_object(struct object *o, void *arg)
{
    struct bundle_gc *gc = arg;
    mark(gc, o);
    if (gc->unused == 0 || --gc->left == 0) {
        free(gc->after_ns);
        free(gc->after_name);
        gc->after_ns = xstrdup(o->ns);
        gc->after_name = xstrdup(o->name);
        return false;
    }
    return true;
}

static bool on_object_since(struct object *o, void *arg)
{
    struct bundle_gc *gc = arg;
    if (o->version > gc->version) {
        mark(gc, o);
    }
    return gc->unused > 0;
}

/* What was written since the looking began: in one go, for only these are looked into. */
static void mark_since(struct bundle_gc *gc)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct error err;
        if (store_list(gc->options.store, &(struct store_selector){.resource = kinds[i]},
                       on_object_since, gc, &err) < 0) {
            LOG_WARN("cannot look for bundles in use", LOG_ERR(&err));
        }
    }
}

/* --- the steps ----------------------------------------------------------------------------- */

static void rest(struct bundle_gc *gc)
{
    free(gc->candidates);
    free(gc->after_ns);
    free(gc->after_name);
    gc->candidates = NULL;
    gc->after_ns = gc->after_name = NULL;
    gc->count = gc->unused = gc->removed = 0;
    gc->problem = 0;
    map_clear(&gc->by_hex);
    object_room_fini(&gc->room);
    uint64_t period = gc->options.grace_ms / 4;
    period = period > PERIOD_MAX_MS ? PERIOD_MAX_MS : period;
    gc->step = GC_IDLE;
    if (!gc->closer.closing) {
        timer_start(&gc->timer, period < PERIOD_MIN_MS ? PERIOD_MIN_MS : period);
    }
}

static void start_work(struct bundle_gc *gc, enum gc_step step, work_run_cb run, work_done_cb done)
{
    struct error err;
    gc->step = step;
    closer_hold(&gc->closer);
    if (work_start(&gc->work, gc->options.loop, run, done, gc, &err) < 0) {
        LOG_WARN("cannot look after bundles", LOG_ERR(&err));
        rest(gc);
        closer_drop(&gc->closer);
    }
}

static void on_removed(struct work *work, int status)
{
    struct bundle_gc *gc = work->data;
    if (gc->problem != 0) {
        LOG_WARN("cannot remove a bundle that nobody uses", LOG_ERR(&gc->err));
    }
    if (gc->removed > 0) {
        LOG_INFO("removed bundles that nobody uses", LOG_UINT("bundles", gc->removed));
    }
    rest(gc);
    closer_drop(&gc->closer);
}

/* Between sha256-HEX and .gc-HEX. */
static bool swap_name(const struct bundle_gc *gc, const char *hex, bool back)
{
    CLEANUP(cleanup_free) char *name = xasprintf("%s/" PREFIX "%s", gc->folder, hex);
    CLEANUP(cleanup_free) char *gone = xasprintf("%s/" GONE_PREFIX "%s", gc->folder, hex);
    return rename(back ? gone : name, back ? name : gone) == 0;
}

static bool was_touched(const struct bundle_gc *gc, const char *hex)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/" GONE_PREFIX "%s", gc->folder, hex);
    int64_t age = age_ms(path, clock_wall_ns());
    return age >= 0 && (uint64_t)age < gc->options.grace_ms;
}

static void condemn(struct bundle_gc *gc)
{
    mark_since(gc);
    for (size_t i = 0; i < gc->count; i++) {
        struct candidate *c = &gc->candidates[i];
        c->renamed = !c->used && swap_name(gc, c->hex, false);
        /* A deploy that found it a moment ago has touched it. */
        if (c->renamed && was_touched(gc, c->hex)) {
            c->renamed = !swap_name(gc, c->hex, true);
        }
    }
    gc->step = GC_DOUBTING;
    timer_start(&gc->timer, DOUBT_MS);
}

static void decide(struct bundle_gc *gc)
{
    mark_since(gc);
    for (size_t i = 0; i < gc->count; i++) {
        struct candidate *c = &gc->candidates[i];
        if (c->renamed && c->used) {
            c->renamed = !swap_name(gc, c->hex, true); /* not when it was deployed anew */
        }
    }
    start_work(gc, GC_REMOVING, remove_run, on_removed);
}

static void scan(struct bundle_gc *gc)
{
    struct error err;
    gc->left = SLICE;
    int rc =
        store_list_after(gc->options.store, &(struct store_selector){.resource = kinds[gc->kind]},
                         gc->after_ns, gc->after_name, on_object, gc, &err);
    if (rc < 0) {
        LOG_WARN("cannot look for bundles in use", LOG_ERR(&err));
        rest(gc);
        return;
    }
    if (gc->left > 0 && gc->unused > 0) { /* the kind's end */
        free(gc->after_ns);
        free(gc->after_name);
        gc->after_ns = gc->after_name = NULL;
        gc->kind++;
    }
    if (gc->unused == 0) {
        rest(gc);
    } else if (gc->kind == ARRAY_LEN(kinds)) {
        condemn(gc);
    } else {
        timer_start(&gc->timer, SLICE_MS);
    }
}

static void on_listed(struct work *work, int status)
{
    struct bundle_gc *gc = work->data;
    gc->unused = gc->count;
    for (size_t i = 0; i < gc->count; i++) {
        (void)map_set(&gc->by_hex, slice_of(gc->candidates[i].hex, HEX_LEN), &gc->candidates[i]);
    }
    gc->version = store_version(gc->options.store);
    gc->kind = 0;
    if (gc->count == 0 || gc->closer.closing) {
        rest(gc);
    } else {
        gc->step = GC_SCANNING;
        timer_start(&gc->timer, SLICE_MS);
    }
    closer_drop(&gc->closer);
}

static void on_timer(struct timer *timer)
{
    struct bundle_gc *gc = timer->data;
    if (gc->step == GC_IDLE) {
        start_work(gc, GC_LISTING, list_run, on_listed);
    } else if (gc->step == GC_SCANNING) {
        scan(gc);
    } else if (gc->step == GC_DOUBTING) {
        decide(gc);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct bundle_gc *bundle_gc_start(const struct bundle_gc_options *options)
{
    struct bundle_gc *gc = NEW(struct bundle_gc);
    gc->options = *options;
    gc->folder = fs_join(options->home, "bundles");
    map_init(&gc->by_hex, MAP_BORROW_KEYS);
    closer_init(&gc->closer);
    timer_init(&gc->timer, options->loop, on_timer, gc);
    closer_hold(&gc->closer);
    rest(gc);
    return gc;
}

static void on_timer_closed(struct timer *timer)
{
    struct bundle_gc *gc = timer->data;
    closer_drop(&gc->closer);
}

static void on_closed(void *data)
{
    struct bundle_gc *gc = data;
    bundle_gc_close_cb cb = gc->close_cb;
    void *arg = gc->close_arg;
    rest(gc);
    map_fini(&gc->by_hex);
    free(gc->folder);
    free(gc);
    if (cb != NULL) {
        cb(arg);
    }
}

void bundle_gc_close(struct bundle_gc *gc, bundle_gc_close_cb cb, void *arg)
{
    if (!closer_close(&gc->closer, gc->options.loop, on_closed, gc)) {
        return;
    }
    gc->close_cb = cb;
    gc->close_arg = arg;
    if (gc->step == GC_LISTING || gc->step == GC_REMOVING) {
        work_cancel(&gc->work);
    }
    timer_close(&gc->timer, on_timer_closed);
}
