// SPDX-License-Identifier: Apache-2.0
/*
 * The list-watch cache.
 *
 * Happy path: LIST in pages; every object is projected and reported (kube/known.c); what the list
 * did not name is reported as deleted; then WATCH from the list's resourceVersion, one JSON line
 * per event, each applied as it arrives. The watch ends on the server's time limit and goes on from
 * the last version seen. Failure modes: a cut connection resumes (at once when it had worked for a
 * while, then with back-off); 410, as status or as ERROR event, lists anew; an object that cannot
 * be projected is left out; a line that is no event ends the watch. Nothing of this clears what is
 * known. A list of a server that lags behind changes nothing; a server that goes on saying so for
 * STALE_LISTS_MAX lists was set back in time, and is right.
 */
#include "kube/cache.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/known.h"
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
};

struct kube_cache {
    struct kube_client *client;
    struct kube_cache_options options;
    char *ns;
    char *label_selector;
    char *field_selector;
    char **event_without; /* options.without, in an event; NULL: none */
    struct known known;
    struct kube_request *req; /* the list or watch that is under way */
    struct timer retry;
    struct backoff backoff;
    struct closer closer;
    struct strbuf line;              /* a part of an event */
    char version[KNOWN_VERSION_MAX]; /* where the watch goes on; "": list first */
    unsigned stale_lists;            /* in a row */
    uint64_t opened_ms;              /* when the watch opened; 0: it has not */
    unsigned fails;                  /* in a row */
    bool relist;                     /* the watch is to end and a list to follow */
    bool synced;
    bool closing;
    struct error trouble;
    kube_close_cb close_cb;
    void *close_arg;
};

static void cache_go(struct kube_cache *cache);

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
        known_delete(&cache->known, object);
    } else if (slice_eq_str(type, "ADDED") || slice_eq_str(type, "MODIFIED")) {
        known_apply(&cache->known, object);
    }
    if (version.len > 0 && !cache->closing && order_number(version) >= cache->known.newest) {
        slice_copy(version, cache->version, sizeof(cache->version));
    }
    known_seen(&cache->known, version);
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

static void on_list_item(void *arg, const json_t *object)
{
    struct kube_cache *cache = arg;
    known_apply(&cache->known, object);
}

/* Older than what is known: it says nothing of what was made since. */
static bool list_is_stale(struct kube_cache *cache, struct error *err)
{
    if (!known_is_past(&cache->known, slice_str(cache->version))) {
        cache->stale_lists = 0;
        return false;
    }
    cache->stale_lists++;
    (void)error_set(err, ERR_UNAVAILABLE, "list of %s is of version %s, %llu is known already",
                    cache->options.kind.plural, cache->version,
                    (unsigned long long)cache->known.newest);
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
    known_list_end(&cache->known, slice_str(cache->version));
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
        known_list_begin(&cache->known, cache->stale_lists >= STALE_LISTS_MAX);
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
    known_fini(&cache->known);
    strbuf_fini(&cache->line);
    for (char **path = cache->event_without; path != NULL && *path != NULL; path++) {
        free(*path);
    }
    free(cache->event_without);
    free(cache->ns);
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
    cache->ns = copy_or_null(options->ns);
    cache->label_selector = copy_or_null(options->label_selector);
    cache->field_selector = copy_or_null(options->field_selector);
    cache->event_without = in_events(options->without);
    known_init(&cache->known, &cache->options);
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
    known_stop(&cache->known);
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
    return map_len(&cache->known.items);
}

const struct kube_entry *kube_cache_get(const struct kube_cache *cache, const char *ns,
                                        const char *name)
{
    return known_get(&cache->known, ns, name);
}

void *kube_cache_value(const struct kube_cache *cache, const char *ns, const char *name)
{
    const struct kube_entry *entry = kube_cache_get(cache, ns, name);
    return entry == NULL ? NULL : entry->value;
}

void kube_cache_each(const struct kube_cache *cache,
                     void (*fn)(void *arg, const struct kube_entry *entry), void *arg)
{
    known_each(&cache->known, fn, arg);
}
