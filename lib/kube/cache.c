// SPDX-License-Identifier: Apache-2.0
/*
 * The list-watch cache.
 *
 * Happy path: LIST in pages; every object is projected and reported; what the list did not name is
 * reported as deleted; then WATCH from the list's resourceVersion, one JSON line per event, each
 * applied as it arrives. The watch ends on the server's time limit and goes on from the last
 * version seen. Failure modes: a cut connection resumes (at once when it had worked for a while,
 * then with back-off); 410, as status or as ERROR event, lists anew; an object that cannot be
 * projected is left out; a line that is no event ends the watch. Nothing of this clears what is
 * known. What is older than what is known (an event that comes twice or late, a list of a server
 * that lags behind) changes nothing; a server that goes on saying so for STALE_LISTS_MAX lists was
 * set back in time, and is right.
 */
#include "kube/cache.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/order.h"
#include "kube/status.h"

enum {
    LIST_PAGE = 500,
    LIST_TIMEOUT_MS = 60000,
    WATCH_SECONDS = 300, /* up to twice as long: not all watches end together */
    WATCH_IDLE_EXTRA_MS = 30000,
    STEADY_MS = 1000, /* a watch that lasted so long had worked */
    EVENT_BYTES_MAX = 16 << 20,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 1500,
    STALE_LISTS_MAX = 8, /* in a row: about 6 s */
    MISSING_AGAIN_MS = 30000,
    KEY_MAX = 2 * 254,
    VERSION_MAX = 32,
    UID_MAX = 40,
};

struct item {
    struct kube_entry entry; /* points into this struct */
    uint64_t list_id;        /* the last list that named it */
    uint64_t number;         /* of version; 0: unknown */
    char uid[UID_MAX];
    char version[VERSION_MAX];
    size_t key_len;
    char key[]; /* ns NUL name NUL */
};

struct kube_cache {
    struct kube_client *client;
    struct kube_cache_options options;
    char *ns;
    char *label_selector;
    char *field_selector;
    char **event_without; /* options.without, in an event; NULL: none */
    struct map items;
    struct kube_request *req; /* the list or watch that is under way */
    struct timer retry;
    struct backoff backoff;
    struct closer closer;
    struct strbuf line;        /* a part of an event */
    char version[VERSION_MAX]; /* where the watch goes on; "": list first */
    uint64_t list_id;
    uint64_t newest;         /* the highest number of a version that was seen */
    unsigned stale_lists;    /* in a row */
    struct order_gone *gone; /* owned */
    uint64_t opened_ms;      /* when the watch opened; 0: it has not */
    unsigned fails;          /* in a row */
    bool set_back;           /* this list counts, whatever is known */
    bool relist;             /* the watch is to end and a list to follow */
    bool synced;
    bool closing;
    struct error trouble;
    kube_close_cb close_cb;
    void *close_arg;
};

static void cache_go(struct kube_cache *cache);

/* --- items
 * -------------------------------------------------------------------------------------------- */

/* Returns the key's length, 0 when it is too long. */
static size_t make_key(char out[static KEY_MAX], struct slice ns, struct slice name)
{
    size_t len = ns.len + 1 + name.len;
    if (len + 1 > KEY_MAX) {
        return 0;
    }
    memcpy(out, ns.ptr, ns.len);
    out[ns.len] = '\0';
    memcpy(out + ns.len + 1, name.ptr, name.len);
    out[len] = '\0';
    return len;
}

static struct item *item_find(const struct kube_cache *cache, struct slice ns, struct slice name)
{
    char key[KEY_MAX];
    size_t len = make_key(key, ns, name);
    return len == 0 ? NULL : map_get(&cache->items, slice_of(key, len));
}

static struct item *item_new(struct slice ns, struct slice name)
{
    char key[KEY_MAX];
    size_t len = make_key(key, ns, name);
    if (len == 0) {
        return NULL;
    }
    struct item *item = xcalloc(1, sizeof(*item) + len + 1);
    item->key_len = len;
    memcpy(item->key, key, len + 1);
    item->entry.ns = item->key;
    item->entry.name = item->key + ns.len + 1;
    item->entry.uid = item->uid;
    item->entry.resource_version = item->version;
    return item;
}

static void value_free(const struct kube_cache *cache, void *value)
{
    if (value != NULL && cache->options.release != NULL) {
        cache->options.release(cache->options.arg, value);
    }
    free(value);
}

static void item_free(const struct kube_cache *cache, struct item *item)
{
    value_free(cache, item->entry.value);
    free(item);
}

static void item_remove(struct kube_cache *cache, struct item *item)
{
    map_remove(&cache->items, slice_of(item->key, item->key_len));
    order_gone_add(cache->gone, slice_str(item->uid), item->number);
    if (cache->options.on_delete != NULL && !cache->closing) {
        cache->options.on_delete(cache->options.arg, &item->entry);
    }
    item_free(cache, item);
}

/* The object's value, or NULL when it does not matter. */
static void *project(struct kube_cache *cache, const json_t *object)
{
    size_t size = cache->options.value_size == 0 ? 1 : cache->options.value_size;
    void *value = xcalloc(1, size);
    struct error err = {0};
    int rc = cache->options.project(cache->options.arg, object, value, &err);
    if (rc == 0) {
        return value;
    }
    if (rc < 0) {
        LOG_DEBUG("object left out", LOG_STR("resource", cache->options.kind.plural),
                  LOG_STR("name", jpeek_cstr(object, "metadata.name")), LOG_ERR(&err));
    }
    value_free(cache, value);
    return NULL;
}

static void item_set(struct item *item, struct slice uid, struct slice version, uint64_t list_id)
{
    slice_copy(uid, item->uid, sizeof(item->uid));
    slice_copy(version, item->version, sizeof(item->version));
    item->number = order_number(version);
    item->list_id = list_id;
}

static void cache_add(struct kube_cache *cache, const json_t *object, struct slice ns,
                      struct slice name, struct slice uid, struct slice version)
{
    void *value = project(cache, object);
    struct item *item = value == NULL ? NULL : item_new(ns, name);
    if (item == NULL) {
        value_free(cache, value);
        return;
    }
    item->entry.value = value;
    item_set(item, uid, version, cache->list_id);
    map_set(&cache->items, slice_of(item->key, item->key_len), item);
    if (cache->options.on_add != NULL) {
        cache->options.on_add(cache->options.arg, &item->entry);
    }
}

static void cache_update(struct kube_cache *cache, struct item *item, const json_t *object,
                         struct slice uid, struct slice version)
{
    void *value = project(cache, object);
    if (value == NULL) {
        item_remove(cache, item);
        return;
    }
    void *old = item->entry.value;
    item->entry.value = value;
    item_set(item, uid, version, cache->list_id);
    if (cache->options.on_update != NULL) {
        cache->options.on_update(cache->options.arg, &item->entry, old);
    }
    value_free(cache, old);
}

/* From before what is known. */
static bool is_stale(struct kube_cache *cache, const struct item *item, struct slice uid,
                     uint64_t number)
{
    if (cache->set_back || number == 0) {
        return false;
    }
    if (item != NULL && slice_eq_str(uid, item->uid)) {
        return number < item->number;
    }
    return order_gone_has(cache->gone, uid, number) || (item != NULL && number < item->number);
}

/* An object as it is now. */
static void cache_apply(struct kube_cache *cache, const json_t *object)
{
    struct slice ns = jpeek_str(object, "metadata.namespace");
    struct slice name = jpeek_str(object, "metadata.name");
    struct slice uid = jpeek_str(object, "metadata.uid");
    struct slice version = jpeek_str(object, "metadata.resourceVersion");
    if (name.len == 0) {
        return;
    }
    struct item *item = item_find(cache, ns, name);
    if (is_stale(cache, item, uid, order_number(version))) {
        if (item != NULL) {
            item->list_id = cache->list_id;
        }
        return;
    }
    if (item != NULL && !slice_eq_str(uid, item->uid)) {
        item_remove(cache, item); /* made anew under its name */
        item = NULL;
    }
    if (cache->closing) {
        return;
    }
    if (item == NULL) {
        cache_add(cache, object, ns, name, uid, version);
    } else if (version.len > 0 && slice_eq_str(version, item->version)) {
        item->list_id = cache->list_id;
    } else {
        cache_update(cache, item, object, uid, version);
    }
}

/* --- trying again
 * --------------------------------------------------------------------------------------- */

static void on_retry(struct timer *timer)
{
    cache_go(timer->data);
}

/* err NULL: the server ended the watch in order. */
static void cache_again(struct kube_cache *cache, const struct error *err)
{
    uint64_t now_ms = loop_now_ms(kube_client_loop(cache->client));
    bool steady = cache->opened_ms != 0 && now_ms - cache->opened_ms >= STEADY_MS;
    cache->opened_ms = 0;
    if (err != NULL) {
        error_copy(&cache->trouble, err);
        if (err->code == ERR_GONE) {
            cache->version[0] = '\0';
        }
    }
    if (steady) {
        cache->fails = 0;
        backoff_reset(&cache->backoff);
    }
    uint64_t delay_ms = cache->fails++ == 0 ? 0 : backoff_next_ms(&cache->backoff);
    LOG_DEBUG("watch ended", LOG_STR("resource", cache->options.kind.plural),
              LOG_STR("error", err == NULL ? "" : err->msg), LOG_UINT("retry_ms", delay_ms));
    timer_start(&cache->retry, delay_ms);
}

/* --- watch
 * ---------------------------------------------------------------------------------------------- */

static void watch_fail(struct kube_cache *cache)
{
    cache->relist = true;
    if (cache->req != NULL) {
        kube_cancel(cache->req);
    }
}

/* Nothing older than this is news. */
static void seen(struct kube_cache *cache, struct slice version)
{
    uint64_t number = order_number(version);
    cache->newest = number > cache->newest ? number : cache->newest;
}

static void watch_deleted(struct kube_cache *cache, const json_t *object, uint64_t number)
{
    struct item *item = item_find(cache, jpeek_str(object, "metadata.namespace"),
                                  jpeek_str(object, "metadata.name"));
    struct slice uid = jpeek_str(object, "metadata.uid");
    if (item == NULL || !slice_eq_str(uid, item->uid)) {
        order_gone_add(cache->gone, uid, number);
    } else if (number == 0 || number >= item->number) {
        item->number = number;
        item_remove(cache, item);
    }
}

static void watch_event(struct kube_cache *cache, const json_t *event)
{
    struct slice type = jpeek_str(event, "type");
    const json_t *object = json_object_get(event, "object");
    if (slice_eq_str(type, "ERROR")) {
        int64_t code = jpeek_i64(object, "code");
        error_from_kube_status(&cache->trouble, (int)code, object, SLICE_EMPTY);
        watch_fail(cache);
        return;
    }
    struct slice version = jpeek_str(object, "metadata.resourceVersion");
    if (slice_eq_str(type, "DELETED")) {
        watch_deleted(cache, object, order_number(version));
    } else if (slice_eq_str(type, "ADDED") || slice_eq_str(type, "MODIFIED")) {
        cache_apply(cache, object);
    }
    if (version.len > 0 && !cache->closing && order_number(version) >= cache->newest) {
        slice_copy(version, cache->version, sizeof(cache->version));
    }
    seen(cache, version);
}

static void watch_line(struct kube_cache *cache, struct slice line)
{
    if (slice_trim(line).len == 0) {
        return;
    }
    CLEANUP(jfree) json_t *event = NULL;
    struct error err = {0};
    const char *const *without = (const char *const *)cache->event_without;
    if (jparse_object_without(line, EVENT_BYTES_MAX, without, &event, &err) < 0) {
        error_set(&cache->trouble, ERR_PROTOCOL, "watch of %s: no event: %s",
                  cache->options.kind.plural, err.msg);
        watch_fail(cache);
        return;
    }
    watch_event(cache, event);
}

static void on_watch_open(void *arg)
{
    struct kube_cache *cache = arg;
    cache->opened_ms = loop_now_ms(kube_client_loop(cache->client));
    cache->trouble = (struct error){0};
}

static void on_watch_data(void *arg, struct slice data)
{
    struct kube_cache *cache = arg;
    while (data.len > 0 && !cache->closing && !cache->relist) {
        ptrdiff_t end = slice_find(data, '\n');
        if (end < 0) {
            if (strbuf_append_slice(&cache->line, data) < 0) {
                error_set(&cache->trouble, ERR_PROTOCOL, "watch of %s: an event is too big",
                          cache->options.kind.plural);
                watch_fail(cache);
            }
            return;
        }
        struct slice line = slice_sub(data, 0, (size_t)end);
        data = slice_sub(data, (size_t)end + 1, data.len);
        if (cache->line.len == 0) {
            watch_line(cache, line);
        } else if (strbuf_append_slice(&cache->line, line) == 0) {
            watch_line(cache, strbuf_slice(&cache->line));
            strbuf_clear(&cache->line);
        } else {
            watch_fail(cache);
        }
    }
}

static void on_watch_done(void *arg, const struct error *err)
{
    struct kube_cache *cache = arg;
    cache->req = NULL;
    strbuf_clear(&cache->line);
    if (!cache->closing) {
        if (cache->relist) {
            cache->relist = false;
            cache->version[0] = '\0';
            err = NULL;
        }
        cache_again(cache, err);
    }
    closer_drop(&cache->closer);
}

static struct kube_call cache_call(const struct kube_cache *cache)
{
    return (struct kube_call){
        .kind = cache->options.kind,
        .ns = cache->ns,
        .label_selector = cache->label_selector,
        .field_selector = cache->field_selector,
    };
}

static int watch_start(struct kube_cache *cache, struct error *err)
{
    struct kube_call call = cache_call(cache);
    unsigned seconds = WATCH_SECONDS + (unsigned)(random_u64() % WATCH_SECONDS);
    CLEANUP(cleanup_free) char *base = kube_path(&call);
    CLEANUP(cleanup_free)
    char *path = xasprintf("%s%cwatch=true&allowWatchBookmarks=true&resourceVersion=%s"
                           "&timeoutSeconds=%u",
                           base, strchr(base, '?') == NULL ? '?' : '&', cache->version, seconds);
    struct kube_stream_spec spec = {
        .path = path,
        .idle_ms = (uint64_t)seconds * 1000 + WATCH_IDLE_EXTRA_MS,
        .on_open = on_watch_open,
        .on_data = on_watch_data,
        .on_done = on_watch_done,
        .arg = cache,
    };
    return kube_stream(cache->client, &spec, &cache->req, err);
}

/* --- list
 * -----------------------------------------------------------------------------------------------
 */

static int list_start(struct kube_cache *cache, const char *continue_token, struct error *err);

static void list_sweep(struct kube_cache *cache)
{
    map_foreach (it, &cache->items) {
        struct item *item = it.value;
        if (item->list_id != cache->list_id) {
            item->number = cache->newest;
            item_remove(cache, item);
        }
        if (cache->closing) {
            return;
        }
    }
}

static void on_list_item(void *arg, const json_t *object)
{
    cache_apply(arg, object);
}

/* Older than what is known: it says nothing of what was made since. */
static bool list_is_stale(struct kube_cache *cache, struct error *err)
{
    uint64_t number = order_number(slice_str(cache->version));
    if (cache->set_back || number == 0 || number >= cache->newest) {
        cache->stale_lists = 0;
        return false;
    }
    cache->stale_lists++;
    (void)error_set(err, ERR_UNAVAILABLE, "list of %s is of version %s, %llu is known already",
                    cache->options.kind.plural, cache->version, (unsigned long long)cache->newest);
    return true;
}

static void report_synced(struct kube_cache *cache)
{
    if (!cache->synced && !cache->closing) {
        cache->synced = true;
        if (cache->options.on_synced != NULL) {
            cache->options.on_synced(cache->options.arg);
        }
    }
}

static void list_complete(struct kube_cache *cache)
{
    if (cache->set_back) {
        cache->set_back = false;
        cache->newest = 0;
    }
    seen(cache, slice_str(cache->version));
    list_sweep(cache);
    report_synced(cache);
}

static void on_list(void *arg, json_t *list, const struct error *failed)
{
    struct kube_cache *cache = arg;
    struct error err = {0};
    int rc = 0;
    cache->req = NULL;
    if (failed != NULL && failed->code == ERR_NOT_FOUND && cache->options.optional &&
        !cache->closing) {
        timer_start(&cache->retry, MISSING_AGAIN_MS);
        report_synced(cache);
    } else if (failed != NULL) {
        rc = error_copy(&err, failed);
    } else if (!cache->closing) {
        struct slice version = jpeek_str(list, "metadata.resourceVersion");
        slice_copy(version, cache->version, sizeof(cache->version));
        const char *token = jpeek_cstr(list, "metadata.continue");
        if (token[0] != '\0') {
            cache->version[0] = '\0';
            rc = list_start(cache, token, &err);
        } else if (list_is_stale(cache, &err)) {
            rc = err.code;
        } else {
            list_complete(cache);
            rc = cache->closing ? 0 : watch_start(cache, &err);
        }
        if (cache->req != NULL) {
            closer_hold(&cache->closer);
        }
    }
    if (rc < 0 && !cache->closing) {
        cache->version[0] = '\0';
        cache_again(cache, &err);
    }
    closer_drop(&cache->closer);
}

static int list_start(struct kube_cache *cache, const char *continue_token, struct error *err)
{
    struct kube_call call = cache_call(cache);
    call.limit = LIST_PAGE;
    call.continue_token = continue_token;
    call.timeout_ms = LIST_TIMEOUT_MS;
    call.on_item = on_list_item;
    call.without = cache->options.without;
    call.cb = on_list;
    call.arg = cache;
    if (continue_token == NULL) {
        cache->list_id++;
        cache->set_back = cache->stale_lists >= STALE_LISTS_MAX;
    }
    return kube_list(cache->client, &call, &cache->req, err);
}

static void cache_go(struct kube_cache *cache)
{
    struct error err = {0};
    int rc = cache->version[0] == '\0' ? list_start(cache, NULL, &err) : watch_start(cache, &err);
    if (rc < 0) {
        cache_again(cache, &err);
        return;
    }
    closer_hold(&cache->closer);
}

/* --- life
 * ------------------------------------------------------------------------------------------------
 */

static void cache_free(struct kube_cache *cache)
{
    map_foreach (it, &cache->items) {
        item_free(cache, it.value);
    }
    map_fini(&cache->items);
    strbuf_fini(&cache->line);
    for (char **path = cache->event_without; path != NULL && *path != NULL; path++) {
        free(*path);
    }
    free(cache->event_without);
    free(cache->ns);
    free(cache->gone);
    free(cache->label_selector);
    free(cache->field_selector);
    free(cache);
}

static void on_cache_closed(void *data)
{
    struct kube_cache *cache = data;
    kube_close_cb cb = cache->close_cb;
    void *arg = cache->close_arg;
    cache_free(cache);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_retry_closed(struct timer *timer)
{
    struct kube_cache *cache = timer->data;
    closer_drop(&cache->closer);
}

static char *copy_or_null(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

/* An event has the object under "object". */
static char **in_events(const char *const *without)
{
    size_t count = 0;
    while (without != NULL && without[count] != NULL) {
        count++;
    }
    if (count == 0) {
        return NULL;
    }
    char **paths = xcalloc(count + 1, sizeof(*paths));
    for (size_t i = 0; i < count; i++) {
        paths[i] = xasprintf("object.%s", without[i]);
    }
    return paths;
}

int kube_cache_start(struct kube_client *client, const struct kube_cache_options *options,
                     struct kube_cache **out, struct error *err)
{
    REQUIRE(options->project != NULL);
    struct kube_cache *cache = NEW(struct kube_cache);
    cache->client = client;
    cache->options = *options;
    cache->gone = NEW(struct order_gone);
    cache->ns = copy_or_null(options->ns);
    cache->label_selector = copy_or_null(options->label_selector);
    cache->field_selector = copy_or_null(options->field_selector);
    cache->event_without = in_events(options->without);
    map_init(&cache->items, MAP_BORROW_KEYS);
    strbuf_init(&cache->line, EVENT_BYTES_MAX);
    backoff_init(&cache->backoff, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    closer_init(&cache->closer);
    int rc = list_start(cache, NULL, err);
    if (rc < 0) {
        cache_free(cache);
        return rc;
    }
    closer_hold(&cache->closer); /* the list */
    closer_hold(&cache->closer); /* the timer */
    timer_init(&cache->retry, kube_client_loop(client), on_retry, cache);
    *out = cache;
    return 0;
}

void kube_cache_close(struct kube_cache *cache, kube_close_cb cb, void *arg)
{
    if (cache->closing) {
        return;
    }
    cache->closing = true;
    cache->close_cb = cb;
    cache->close_arg = arg;
    closer_close(&cache->closer, kube_client_loop(cache->client), on_cache_closed, cache);
    if (cache->req != NULL) {
        kube_cancel(cache->req);
    }
    timer_close(&cache->retry, on_retry_closed);
}

bool kube_cache_synced(const struct kube_cache *cache)
{
    return cache->synced;
}

bool kube_cache_connected(const struct kube_cache *cache)
{
    return cache->opened_ms != 0;
}

const char *kube_cache_trouble(const struct kube_cache *cache)
{
    return cache->opened_ms != 0 ? "" : cache->trouble.msg;
}

size_t kube_cache_len(const struct kube_cache *cache)
{
    return map_len(&cache->items);
}

const struct kube_entry *kube_cache_get(const struct kube_cache *cache, const char *ns,
                                        const char *name)
{
    const struct item *item = item_find(cache, slice_str(ns), slice_str(name));
    return item == NULL ? NULL : &item->entry;
}

void *kube_cache_value(const struct kube_cache *cache, const char *ns, const char *name)
{
    const struct kube_entry *entry = kube_cache_get(cache, ns, name);
    return entry == NULL ? NULL : entry->value;
}

void kube_cache_each(const struct kube_cache *cache,
                     void (*fn)(void *arg, const struct kube_entry *entry), void *arg)
{
    map_foreach (it, &cache->items) {
        const struct item *item = it.value;
        fn(arg, &item->entry);
    }
}
