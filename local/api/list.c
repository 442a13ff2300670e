// SPDX-License-Identifier: Apache-2.0

/*
 * Lists and watches. Plan: a feed takes references to the objects that are visible now (no copies),
 * writes them as the client takes them, and for a watch goes on with the store's changes from that
 * very version: the watch is started in the same turn and waits until the first objects are out.
 * A list is one answer when it is small, else a stream.
 * Failures: a client that does not read holds only its place in the history; when the history has
 * moved on it gets a 410 event and the stream ends. A client that has gone ends everything.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/random.h"
#include "local/api/call.h"
#include "local/api/page.h"

#define WHOLE_MAX   (1u << 20) /* larger lists are streamed */
#define ROW_MAX     (4u << 20)
#define WATCH_MIN_S 1800
#define WATCH_MAX_S 86400

struct feed {
    struct list link; /* of api->watches, watches only */
    struct api *api;
    struct http_simple_request *rq;
    struct route route;
    const char *resource;
    struct form form;
    struct object **objects; /* owned references, from `next` on */
    size_t count;
    size_t next;
    size_t limit;
    size_t bytes;
    size_t beyond;  /* matching objects after the limit */
    bool selective; /* labels or fields were asked for */
    uint64_t version;
    bool watch;
    bool streaming; /* a list that is sent as a stream */
    bool bookmarks;
    bool initial_mark; /* the bookmark that ends the initial events is due */
    bool columns_sent;
    bool full; /* until on_writable */
    bool ended;
    uint64_t marked_version; /* of the last bookmark */
    struct store_watch *store_watch;
    struct timer deadline;
};

/* --- life ---------------------------------------------------------------------------------- */

static void drop_objects(struct feed *f)
{
    for (size_t i = f->next; i < f->count; i++) {
        object_unref(f->objects[i]);
    }
    free(f->objects);
    f->objects = NULL;
    f->count = f->next = 0;
}

static void on_deadline_closed(struct timer *timer)
{
    free(timer->data);
}

static void on_request_closed(struct http_simple_request *rq, void *data)
{
    struct feed *f = data;
    drop_objects(f);
    store_watch_close(f->store_watch);
    f->store_watch = NULL;
    if (f->watch) {
        list_remove(&f->link);
        f->api->watches_count--;
        timer_close(&f->deadline, on_deadline_closed);
        return;
    }
    free(f);
}

static void feed_end(struct feed *f)
{
    if (!f->ended) {
        f->ended = true;
        store_watch_close(f->store_watch);
        f->store_watch = NULL;
        http_simple_end(f->rq);
    }
}

static void put(struct feed *f, struct slice text)
{
    if (http_simple_write(f->rq, text) == HTTP_FULL) {
        f->full = true;
    }
}

/* An object in another form than its own, which it has as text already. */
static void append_form(struct feed *f, const struct object *o, uint64_t version,
                        struct strbuf *out)
{
    f->api->serialisations++;
    respond_append(f->route.kind, &f->form, o, version, out);
}

/* --- selection ----------------------------------------------------------------------------- */

static bool take_object(struct object *o, void *arg)
{
    struct feed *f = arg;
    if (f->limit > 0 && f->count == f->limit) {
        f->beyond++;
        return true;
    }
    if ((f->count & (f->count - 1)) == 0) {
        size_t room = f->count == 0 ? 16 : f->count * 2;
        f->objects = xreallocarray(f->objects, room > 16 ? room : 16, sizeof(*f->objects));
    }
    f->objects[f->count++] = object_ref(o);
    f->bytes += object_json_len(o);
    return true;
}

/* Kubernetes' words for a continue token whose state is no longer known, with one that goes on in
 * the state of now. */
static void respond_expired(struct feed *f, const struct page *page)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8192);
    (void)strbuf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{"
                                  "\"continue\":\"");
    page_append_token(0, page->ns, page->name, &out);
    (void)strbuf_append_str(
        &out,
        "\"},\"status\":\"Failure\",\"message\":\"The provided continue parameter is too old to "
        "display a consistent list result. You can start a new list without the continue "
        "parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects "
        "that were created, modified, or deleted between the time the first chunk was returned and "
        "now may show up in the list.\",\"reason\":\"Expired\",\"code\":410}");
    respond_text(f->rq, 410, &out);
}

/* The texts of a selector live in these. */
struct selection {
    struct strbuf labels, fields;
    char name_field[ROUTE_NAME_MAX + 32];
    struct store_selector sel;
};

static void selection_init(struct selection *s, const struct feed *f)
{
    strbuf_init(&s->labels, 8 << 10);
    strbuf_init(&s->fields, 8 << 10);
    s->sel = (struct store_selector){.resource = f->resource,
                                     .ns = f->route.ns,
                                     .labels = query_get(f->rq, "labelSelector", &s->labels),
                                     .fields = query_get(f->rq, "fieldSelector", &s->fields)};
    if (f->route.name[0] != '\0') { /* …/NAME?watch=true */
        (void)snprintf(s->name_field, sizeof(s->name_field), "metadata.name=%s", f->route.name);
        s->sel.fields = s->name_field;
    }
}

static void selection_fini(struct selection *s)
{
    strbuf_fini(&s->labels);
    strbuf_fini(&s->fields);
}

/* The objects of a list; an error was answered. */
static bool list_select(struct feed *f)
{
    struct store *store = f->api->options.store;
    struct page page;
    struct error err = {0};
    struct selection s;
    selection_init(&s, f);
    int rc = page_read(f->rq, store_version(store), &page, &err);
    f->selective = s.sel.labels[0] != '\0' || s.sel.fields[0] != '\0';
    f->version = page.past ? page.version : store_version(store);
    f->limit = rc == 0 ? page.limit : 0;
    const char *ns = page.after ? page.ns : NULL, *name = page.after ? page.name : NULL;
    if (rc == 0 && page.past) {
        rc = store_list_past(store, &s.sel, page.version, ns, name, take_object, f, &err);
    } else if (rc == 0) {
        rc = store_list_after(store, &s.sel, ns, name, take_object, f, &err);
    }
    if (rc == ERR_GONE && page.after) {
        respond_expired(f, &page);
    } else if (rc < 0) {
        respond_error(f->rq, &err, NULL);
    }
    selection_fini(&s);
    return rc == 0;
}

/* What a watch begins with: nothing when it goes on from a version. An error was answered. */
static bool watch_select(struct feed *f)
{
    struct store *store = f->api->options.store;
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    struct error err = {0};
    struct selection s;
    selection_init(&s, f);
    const char *version = query_get(f->rq, "resourceVersion", &buf);
    bool resume = version[0] != '\0' && strcmp(version, "0") != 0 && !f->initial_mark;
    f->version = store_version(store);
    int rc = 0;
    if (!resume) {
        rc = store_list(store, &s.sel, take_object, f, &err);
    } else if (num_parse_u64(slice_str(version), 0, UINT64_MAX, &f->version, &err) < 0) {
        rc = error_set(&err, ERR_PROTOCOL, "resourceVersion: Invalid value: \"%.40s\"", version);
    }
    if (rc < 0) {
        respond_error(f->rq, &err, NULL);
    }
    selection_fini(&s);
    return rc == 0;
}

/* --- lists --------------------------------------------------------------------------------- */

static void append_list_head(struct feed *f, struct strbuf *out)
{
    if (f->form.what != FORM_OBJECT) {
        (void)strbuf_appendf(out, "{\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/v1\",",
                             f->form.what == FORM_TABLE ? "Table" : "PartialObjectMetadataList");
    } else {
        (void)strbuf_appendf(out, "{\"kind\":\"%sList\",\"apiVersion\":\"%s\",",
                             f->route.kind->kind, kind_api_version(f->route.kind));
    }
    (void)strbuf_appendf(out, "\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", f->version);
    if (f->beyond > 0) {
        const struct object *last = f->objects[f->count - 1];
        (void)strbuf_append_str(out, ",\"continue\":\"");
        page_append_token(f->version, last->ns, last->name, out);
        (void)strbuf_append_char(out, '"');
        if (!f->selective) { /* as there, not known with a selector */
            (void)strbuf_appendf(out, ",\"remainingItemCount\":%zu", f->beyond);
        }
    }
    (void)strbuf_append_str(out, "},");
    bool table = f->form.what == FORM_TABLE;
    if (table) {
        cells_columns(f->route.kind, out);
        (void)strbuf_append_char(out, ',');
    }
    (void)strbuf_append_str(out, table ? "\"rows\":[" : "\"items\":[");
}

/* Writes as much of the list as the client takes. */
static void list_run(struct feed *f)
{
    CLEANUP(strbuf_fini) struct strbuf row;
    CLEANUP(object_room_fini) struct object_room room = {0};
    strbuf_init(&row, ROW_MAX);
    http_exchange_cork(f->rq->exchange);
    while (f->next < f->count && !f->full) {
        struct object *o = f->objects[f->next];
        if (f->next > 0) {
            put(f, SLICE_LIT(","));
        }
        if (f->form.what == FORM_OBJECT) {
            put(f, object_json(o, &room));
        } else {
            strbuf_clear(&row);
            append_form(f, o, o->version, &row);
            put(f, strbuf_slice(&row));
        }
        object_unref(o);
        f->next++;
    }
    if (f->next == f->count && !f->ended) {
        put(f, SLICE_LIT("]}"));
    }
    http_exchange_uncork(f->rq->exchange);
    if (f->next == f->count) {
        feed_end(f);
    }
}

static void list_whole(struct feed *f)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    CLEANUP(object_room_fini) struct object_room room = {0};
    strbuf_init(&out, 64u << 20);
    append_list_head(f, &out);
    for (size_t i = 0; i < f->count; i++) {
        (void)strbuf_append_str(&out, i > 0 ? "," : "");
        if (f->form.what == FORM_OBJECT) {
            (void)strbuf_append_slice(&out, object_json(f->objects[i], &room));
        } else {
            append_form(f, f->objects[i], f->objects[i]->version, &out);
        }
    }
    (void)strbuf_append_str(&out, "]}");
    respond_text(f->rq, 200, &out);
}

static void on_list_writable(struct http_simple_request *rq, void *data)
{
    struct feed *f = data;
    f->full = false;
    list_run(f);
}

static struct feed *feed_new(struct api *api, struct http_simple_request *rq,
                             const struct route *route, bool watch)
{
    struct feed *f = NEW(struct feed);
    f->api = api;
    f->rq = rq;
    f->route = *route;
    f->resource = api->options.kinds->rows[route->kind->id].resource;
    f->form = respond_form(rq);
    f->watch = watch;
    list_init(&f->link);
    return f;
}

void list_start(struct api *api, struct http_simple_request *rq, const struct route *route)
{
    struct feed *f = feed_new(api, rq, route, false);
    if (!list_select(f)) {
        drop_objects(f);
        free(f);
        return;
    }
    if (f->bytes <= WHOLE_MAX) {
        list_whole(f);
        drop_objects(f);
        free(f);
        return;
    }
    rq->data = f;
    rq->on_close = on_request_closed;
    rq->on_writable = on_list_writable;
    http_simple_stream(rq, 200, "application/json");
    CLEANUP(strbuf_fini) struct strbuf head;
    strbuf_init(&head, 64 << 10);
    append_list_head(f, &head);
    put(f, strbuf_slice(&head));
    list_run(f);
}

/* --- watches ------------------------------------------------------------------------------- */

/* One event: type, and the object as it is or as a Table of one row. */
static void put_event(struct feed *f, const char *type, const struct object *o, uint64_t version)
{
    struct slice parts[3];
    CLEANUP(object_room_fini) struct object_room room = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, ROW_MAX);
    (void)strbuf_appendf(&out, "{\"type\":\"%s\",\"object\":", type);
    http_exchange_cork(f->rq->exchange);
    if (f->form.what == FORM_META) {
        append_form(f, o, version, &out);
        (void)strbuf_append_str(&out, "}\n");
        put(f, strbuf_slice(&out));
    } else if (f->form.what == FORM_TABLE) {
        (void)strbuf_appendf(&out,
                             "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
                             "{\"resourceVersion\":\"%" PRIu64 "\"},",
                             version);
        if (!f->columns_sent) {
            cells_columns(f->route.kind, &out);
            (void)strbuf_append_char(&out, ',');
            f->columns_sent = true;
        } else {
            (void)strbuf_append_str(&out, "\"columnDefinitions\":null,");
        }
        (void)strbuf_append_str(&out, "\"rows\":[");
        append_form(f, o, version, &out);
        (void)strbuf_append_str(&out, "]}}\n");
        put(f, strbuf_slice(&out));
    } else {
        object_json_at(o, version, &room, parts);
        put(f, strbuf_slice(&out));
        for (size_t i = 0; i < 3; i++) {
            put(f, parts[i]);
        }
        put(f, SLICE_LIT("}\n"));
    }
    http_exchange_uncork(f->rq->exchange);
}

static void put_bookmark(struct feed *f, uint64_t version, bool initial_end)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    (void)strbuf_appendf(
        &out,
        "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{"
        "\"resourceVersion\":\"%" PRIu64 "\"%s}}}\n",
        f->route.kind->kind, kind_api_version(f->route.kind), version,
        initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
    put(f, strbuf_slice(&out));
    f->marked_version = version;
}

static void put_gone(struct feed *f, const char *message)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    (void)strbuf_append_str(&out, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\","
                                  "\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                                  "\"message\":");
    (void)strbuf_append_json(&out, slice_str(message));
    (void)strbuf_append_str(&out, ",\"reason\":\"Expired\",\"code\":410}}\n");
    put(f, strbuf_slice(&out));
}

static bool on_change(const struct store_event *e, void *arg)
{
    static const char *const types[] = {"ADDED", "MODIFIED", "DELETED"};
    struct feed *f = arg;
    if (e->type == STORE_GONE) {
        put_gone(f, "too old resource version: the watch was too slow");
        feed_end(f);
        return false;
    }
    put_event(f, types[e->type], e->object, e->version);
    return !f->full;
}

/* The initial objects, as far as the client takes them; then the store's changes. */
static void watch_run(struct feed *f)
{
    while (f->next < f->count && !f->full) {
        struct object *o = f->objects[f->next++];
        put_event(f, "ADDED", o, o->version);
        object_unref(o);
    }
    if (f->next < f->count || f->ended) {
        return;
    }
    if (f->initial_mark) {
        f->initial_mark = false;
        put_bookmark(f, f->version, true);
    }
    if (!f->full) {
        store_watch_resume(f->store_watch);
    }
}

static void on_watch_writable(struct http_simple_request *rq, void *data)
{
    struct feed *f = data;
    f->full = false;
    watch_run(f);
}

static void on_deadline(struct timer *timer)
{
    feed_end(timer->data);
}

void watch_send_bookmarks(struct api *api)
{
    list_foreach_safe (node, &api->watches) {
        struct feed *f = LIST_ENTRY(node, struct feed, link);
        uint64_t version = f->store_watch == NULL ? 0 : store_watch_version(f->store_watch);
        if (f->bookmarks && !f->full && !f->ended && f->next == f->count &&
            version > f->marked_version) {
            put_bookmark(f, version, false);
        }
    }
}

static uint64_t watch_seconds(struct feed *f)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    uint64_t seconds = 0;
    struct error err;
    const char *text = query_get(f->rq, "timeoutSeconds", &buf);
    if (text[0] != '\0' && num_parse_u64(slice_str(text), 0, UINT32_MAX, &seconds, &err) < 0) {
        seconds = 0;
    }
    if (seconds == 0) {
        seconds = WATCH_MIN_S + random_u64() % WATCH_MIN_S;
    }
    return seconds > WATCH_MAX_S ? WATCH_MAX_S : seconds;
}

/* Starts the store's watch; what can go wrong there is told in the stream, as Kubernetes does. */
static int start_store_watch(struct feed *f, struct error *err)
{
    struct selection s;
    selection_init(&s, f);
    int rc = store_watch_start(f->api->options.store, &s.sel, f->version, on_change, f,
                               &f->store_watch, err);
    selection_fini(&s);
    if (rc == 0) { /* requests wait for what the activator hears, and for nothing else */
        struct slice agent = http_head_get(f->rq->head, SLICE_LIT("user-agent"));
        bool activator = slice_starts_with(agent, SLICE_LIT("lull-activator/"));
        store_watch_set_patience(f->store_watch, activator ? STORE_SOON : STORE_PATIENT);
    }
    return rc;
}

void watch_start(struct api *api, struct http_simple_request *rq, const struct route *route)
{
    struct feed *f = feed_new(api, rq, route, true);
    f->initial_mark = query_is_true(rq, "sendInitialEvents");
    f->bookmarks = query_is_true(rq, "allowWatchBookmarks");
    if (!watch_select(f)) {
        drop_objects(f);
        free(f);
        return;
    }
    struct error err;
    int rc = start_store_watch(f, &err);
    if (rc < 0 && rc != ERR_GONE) {
        respond_error(rq, &err, NULL);
        drop_objects(f);
        free(f);
        return;
    }
    rq->data = f;
    rq->on_close = on_request_closed;
    rq->on_writable = on_watch_writable;
    list_push_back(&api->watches, &f->link);
    api->watches_count++;
    timer_init(&f->deadline, api->options.loop, on_deadline, f);
    timer_start(&f->deadline, watch_seconds(f) * 1000);
    http_simple_stream(rq, 200, "application/json");
    if (rc == ERR_GONE) {
        put_gone(f, err.msg);
        feed_end(f);
        return;
    }
    store_watch_pause(f->store_watch); /* until the initial events are out */
    watch_run(f);
}
