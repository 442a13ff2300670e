// SPDX-License-Identifier: Apache-2.0
/*
 * Binary mode: each ce-* header is an attribute; its value is borrowed unless it has quotes or
 * percent signs. Structured and batched: event_json.c. Failure modes: a header twice, a name that
 * is none, bytes that are not UTF-8 once decoded, a charset or format that nobody here can read.
 */
#include "events/event_http.h"

#include <stdlib.h>

#include "base/mem.h"
#include "events/carried.h"
#include "events/event_json.h"
#include "events/rules.h"

#define ENCODED_MAX (256u * 1024)

static const struct slice CLOUDEVENTS = SLICE_LIT("application/cloudevents");

/* --- which mode ------------------------------------------------------------------------------- */

static struct slice find(const struct event_header *headers, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq_nocase(headers[i].name, name)) {
            return headers[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

/* What follows "application/cloudevents" in a media type; ptr NULL: it is another one. */
static struct slice behind_cloudevents(struct slice type)
{
    static const char ends[] = "+-; \t";
    type = slice_trim(type);
    if (type.len < CLOUDEVENTS.len ||
        !slice_eq_nocase(slice_sub(type, 0, CLOUDEVENTS.len), CLOUDEVENTS)) {
        return (struct slice){NULL, 0};
    }
    struct slice rest = slice_sub(type, CLOUDEVENTS.len, type.len);
    bool ours = rest.len == 0 || memchr(ends, rest.ptr[0], sizeof(ends) - 1) != NULL;
    return ours ? rest : (struct slice){NULL, 0};
}

static bool begins_nocase(struct slice text, struct slice with)
{
    return slice_eq_nocase(slice_sub(text, 0, with.len), with);
}

enum event_mode event_http_mode(const struct event_header *headers, size_t n)
{
    struct slice rest = behind_cloudevents(find(headers, n, SLICE_LIT("content-type")));
    if (rest.ptr != NULL) {
        return begins_nocase(rest, SLICE_LIT("-batch")) ? EVENT_MODE_BATCH : EVENT_MODE_STRUCTURED;
    }
    bool versioned = find(headers, n, SLICE_LIT("ce-specversion")).ptr != NULL;
    return versioned ? EVENT_MODE_BINARY : EVENT_MODE_NONE;
}

/* The format must be JSON, and its characters UTF-8. */
static int check_format(struct slice type, bool batch, struct error *err)
{
    struct slice part;
    struct slice rest = behind_cloudevents(type);
    rest = batch ? slice_sub(rest, strlen("-batch"), rest.len) : rest;
    bool some = slice_split(&rest, ';', &part);
    if (!some || !slice_eq_nocase(slice_trim(part), SLICE_LIT("+json"))) {
        return error_set(err, ERR_UNSUPPORTED,
                         "content-type: %.*s: the only event format here is JSON",
                         SLICE_FMT(slice_sub(type, 0, 100)));
    }
    while (slice_split(&rest, ';', &part)) {
        struct slice value = slice_trim(part);
        if (!begins_nocase(value, SLICE_LIT("charset="))) {
            continue;
        }
        value = slice_sub(value, strlen("charset="), value.len);
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
            value = slice_sub(value, 1, value.len - 2);
        }
        if (!slice_eq_nocase(value, SLICE_LIT("utf-8")) &&
            !slice_eq_nocase(value, SLICE_LIT("us-ascii"))) {
            return error_set(err, ERR_INVALID, "content-type: charset must be utf-8, is %.*s",
                             SLICE_FMT(slice_sub(value, 0, 32)));
        }
    }
    return 0;
}

/* --- reading headers -------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The content of a double-quoted value into room; -1: its quotes are not right. */
static ptrdiff_t unquote(struct slice value, char *room)
{
    size_t n = 0;
    for (size_t i = 1; i < value.len; i++) {
        if (value.ptr[i] == '"') {
            return i + 1 == value.len ? (ptrdiff_t)n : -1;
        }
        i += value.ptr[i] == '\\';
        if (i < value.len) {
            room[n++] = value.ptr[i];
        }
    }
    return -1;
}

/* In place; a percent sign that no two digits follow stays one. */
static size_t percent_decode(char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int high = text[i] == '%' && len - i > 2 ? hex(text[i + 1]) : -1;
        int low = high >= 0 ? hex(text[i + 2]) : -1;
        if (low >= 0) {
            text[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            text[n++] = text[i];
        }
    }
    return n;
}

static int decode_value(struct event *ev, struct slice name, struct slice value, struct slice *out,
                        struct error *err)
{
    bool quoted = value.len > 0 && value.ptr[0] == '"';
    *out = value;
    if (!quoted && slice_find(value, '%') < 0) {
        return 0;
    }
    if (value.len > 4 * EVENT_VALUE_MAX) {
        return error_set(err, ERR_TOO_BIG, "ce-%.*s: %zu bytes", SLICE_FMT(name), value.len);
    }
    char *room = event_room(ev, value.len);
    ptrdiff_t len = (ptrdiff_t)value.len;
    if (quoted) {
        len = unquote(value, room);
    } else {
        memcpy(room, value.ptr, value.len);
    }
    if (len < 0) {
        return error_set(err, ERR_INVALID, "ce-%.*s: a quoted value that does not end",
                         SLICE_FMT(name));
    }
    *out = slice_of(room, percent_decode(room, (size_t)len));
    return 0;
}

/* The name behind "ce-" in lower case, in the event's memory where it has to be changed. */
static struct slice attribute_name(struct event *ev, struct slice name)
{
    bool upper = false;
    for (size_t i = 0; i < name.len; i++) {
        upper |= name.ptr[i] >= 'A' && name.ptr[i] <= 'Z';
    }
    if (!upper || name.len > EVENT_NAME_MAX) {
        return name;
    }
    char *room = event_room(ev, name.len);
    for (size_t i = 0; i < name.len; i++) {
        bool big = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z';
        room[i] = (char)(big ? name.ptr[i] - 'A' + 'a' : name.ptr[i]);
    }
    return slice_of(room, name.len);
}

static bool plain(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '%';
}

#define EACH(byte)     (0x0101010101010101ull * (byte))
#define HAS_ZERO(word) (((word)-EACH(1)) & ~(word)&EACH(0x80))

/* Whether every byte stands for itself in a header; eight are looked at together. */
static bool all_plain(struct slice value)
{
    size_t i = 0;
    for (uint64_t word; value.len - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, value.ptr + i, sizeof(word));
        uint64_t low = (word - EACH(0x21)) & ~word & EACH(0x80);
        uint64_t marks =
            HAS_ZERO(word ^ EACH('"')) | HAS_ZERO(word ^ EACH('%')) | HAS_ZERO(word ^ EACH(0x7f));
        if ((low | marks | (word & EACH(0x80))) != 0) {
            return false;
        }
    }
    while (i < value.len && plain((unsigned char)value.ptr[i])) {
        i++;
    }
    return i == value.len;
}

/* Whether raw is what we would write for value. */
static bool is_encoded(struct slice value, struct slice raw)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = 0;
    if (value.ptr == raw.ptr) { /* nothing had to be decoded */
        return all_plain(value);
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        const char code[3] = {'%', digits[c >> 4], digits[c & 15]};
        size_t len = plain(c) ? 1 : sizeof(code);
        if (raw.len - at < len ||
            memcmp(raw.ptr + at, len == 1 ? (const char *)&value.ptr[i] : code, len) != 0) {
            return false;
        }
        at += len;
    }
    return at == raw.len;
}

static int take_header(struct event *ev, struct slice header, struct slice raw, struct error *err)
{
    struct slice seen, value;
    struct slice name = attribute_name(ev, slice_sub(header, 3, header.len));
    int rc = event_check_name(name, err);
    if (rc < 0) {
        return error_prefix(err, rc, "header %.*s", SLICE_FMT(slice_sub(header, 0, 80)));
    }
    if (event_attr_id(name) == EVENT_DATACONTENTTYPE) {
        return error_set(err, ERR_INVALID,
                         "header ce-datacontenttype: content-type says it in binary mode");
    }
    if (event_get(ev, name, &seen)) {
        return error_set(err, ERR_INVALID, "header ce-%.*s: stands twice", SLICE_FMT(name));
    }
    rc = decode_value(ev, name, raw, &value, err);
    rc = rc < 0 ? rc : event_set_borrowed(ev, name, value, EVENT_STRING, err);
    /* It may be half encoded, so that it is UTF-8 only once it is decoded: that is not passed on.
     */
    if (rc == 0 && !is_encoded(value, raw) && event_check_value(name, raw, NULL) == 0) {
        event_keep_wire(ev, name, raw);
    }
    return rc;
}

static int read_binary(const struct event_header *headers, size_t n, struct slice body,
                       struct event *ev, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct slice name = headers[i].name;
        if (name.len == 12 && slice_eq_nocase(name, SLICE_LIT("content-type"))) {
            rc = event_set_borrowed(ev, event_attr_name(EVENT_DATACONTENTTYPE),
                                    slice_trim(headers[i].value), EVENT_STRING, err);
        } else if (name.len > 3 && begins_nocase(name, SLICE_LIT("ce-"))) {
            rc = take_header(ev, name, slice_trim(headers[i].value), err);
        }
    }
    ev->data = body.len == 0 ? (struct slice){NULL, 0} : body;
    bool base64 = false;
    rc = rc < 0 ? rc : event_take_encoding(ev, &base64, err);
    if (rc == 0 && base64 && body.len > 0) {
        rc = event_decode_data(ev, "body", body, err);
    }
    return rc < 0 ? rc : event_check(ev, err);
}

static int check_content_type(const struct event_header *headers, size_t n, struct error *err)
{
    size_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        seen += slice_eq_nocase(headers[i].name, SLICE_LIT("content-type"));
    }
    return seen < 2 ? 0 : error_set(err, ERR_INVALID, "header content-type: stands twice");
}

/* --- batches ---------------------------------------------------------------------------------- */

static int add_event(struct event_batch *batch, size_t *cap, struct jscan *s, struct error *err)
{
    if (batch->len == EVENT_BATCH_MAX) {
        return error_set(err, ERR_TOO_BIG, "a batch of more than %d events", EVENT_BATCH_MAX);
    }
    if (batch->len == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        batch->items = xreallocarray(batch->items, *cap, sizeof(*batch->items));
    }
    struct event *ev = &batch->items[batch->len];
    int rc = event_json_walk(s, ev, err);
    if (rc < 0) {
        return error_prefix(err, rc, "event %zu of the batch", batch->len);
    }
    batch->len++;
    if (event_is_v03(ev) != event_is_v03(&batch->items[0])) {
        return error_set(err, ERR_INVALID,
                         "event %zu of the batch: its specversion is another than the first one's",
                         batch->len - 1);
    }
    return 0;
}

static int read_batch(struct slice body, struct event_batch *batch, struct error *err)
{
    size_t cap = 0;
    struct jscan s = jscan_of(body);
    if (!jscan_open(&s, '[')) {
        return jscan_error(&s, err);
    }
    while (jscan_more(&s, ']')) {
        int rc = add_event(batch, &cap, &s, err);
        if (rc < 0) {
            return rc;
        }
    }
    return jscan_end(&s) ? 0 : jscan_error(&s, err);
}

void event_batch_fini(struct event_batch *batch)
{
    for (size_t i = 0; i < batch->len; i++) {
        event_fini(&batch->items[i]);
    }
    free(batch->items);
    *batch = (struct event_batch){.items = NULL};
}

/* Each event of a batch has all of them. */
static void take_carried(const struct event_header *headers, size_t n, struct event_batch *batch)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; event_carries(headers[i].name) && j < batch->len; j++) {
            event_carry(&batch->items[j], headers[i].name, slice_trim(headers[i].value));
        }
    }
}

static int read_one(enum event_mode mode, const struct event_header *headers, size_t n,
                    struct slice body, struct event_batch *batch, struct error *err)
{
    batch->items = NEW(struct event);
    if (mode == EVENT_MODE_STRUCTURED) {
        int rc = event_json_read(body, batch->items, err);
        batch->len = rc == 0;
        return rc;
    }
    batch->len = 1;
    return read_binary(headers, n, body, batch->items, err);
}

int event_http_read(const struct event_header *headers, size_t n, struct slice body,
                    struct event_batch *out, struct error *err)
{
    enum event_mode mode = event_http_mode(headers, n);
    struct event_batch batch = {.items = NULL};
    if (mode == EVENT_MODE_NONE) {
        return error_set(err, ERR_INVALID,
                         "not a CloudEvent: there is neither a ce-specversion header nor the "
                         "content-type " EVENT_TYPE_STRUCTURED);
    }
    int rc = check_content_type(headers, n, err);
    if (rc == 0 && mode != EVENT_MODE_BINARY) {
        struct slice type = find(headers, n, SLICE_LIT("content-type"));
        rc = check_format(slice_trim(type), mode == EVENT_MODE_BATCH, err);
    }
    if (rc == 0) {
        rc = mode == EVENT_MODE_BATCH ? read_batch(body, &batch, err)
                                      : read_one(mode, headers, n, body, &batch, err);
    }
    if (rc < 0) {
        event_batch_fini(&batch);
        return rc;
    }
    take_carried(headers, n, &batch);
    *out = batch;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static size_t encoded_len(struct slice value)
{
    size_t len = value.len;
    if (all_plain(value)) {
        return len;
    }
    for (size_t i = 0; i < value.len; i++) {
        len += plain((unsigned char)value.ptr[i]) ? 0 : 2;
    }
    return len;
}

static struct slice encode(struct slice value, char **room)
{
    static const char digits[] = "0123456789ABCDEF";
    char *first = *room;
    char *p = first;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (plain(c)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = digits[c >> 4];
            *p++ = digits[c & 15];
        }
    }
    *room = p;
    return slice_of(first, (size_t)(p - first));
}

#define HEADER_ROW(id, name) [id] = SLICE_LIT("ce-" name),
static const struct slice HEADERS[EVENT_ATTR_N] = {EVENT_ATTR_MAP(HEADER_ROW)};

/* Bytes of own memory that the headers need. */
static size_t room_needed(const struct event *ev)
{
    size_t sum = 0;
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        size_t len = encoded_len(ev->known[id]);
        sum += id == EVENT_DATACONTENTTYPE || len == ev->known[id].len ? 0 : len;
    }
    for (unsigned i = 0; i < ev->n_extensions; i++) {
        const struct event_attr *attr = &ev->extensions[i];
        size_t len = encoded_len(attr->value);
        sum += 3 + attr->name.len + (len == attr->value.len ? 0 : len);
    }
    return sum;
}

static void put(struct event_headers *out, struct slice name, struct slice value, struct slice wire,
                char **room)
{
    if (wire.ptr != NULL) {
        out->items[out->n++] = (struct event_header){.name = name, .value = wire};
        return;
    }
    bool as_is = encoded_len(value) == value.len;
    out->items[out->n++] =
        (struct event_header){.name = name, .value = as_is ? value : encode(value, room)};
}

int event_http_binary(const struct event *ev, struct event_headers *out, struct error *err)
{
    size_t need = room_needed(ev);
    if (need > ENCODED_MAX) {
        return error_set(err, ERR_TOO_BIG, "attributes of %zu bytes as headers, at most %u", need,
                         ENCODED_MAX);
    }
    out->n = 0;
    out->own = need == 0 ? NULL : xmalloc(need);
    char *room = out->own;
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        struct slice value = ev->known[id];
        if (id == EVENT_DATACONTENTTYPE && value.ptr != NULL) {
            out->items[out->n++] = (struct event_header){SLICE_LIT("content-type"), value};
        } else if (value.ptr != NULL) {
            put(out, HEADERS[id], value, event_wire(ev, event_attr_name((enum event_attr_id)id)),
                &room);
        }
    }
    for (unsigned i = 0; i < ev->n_extensions; i++) {
        const struct event_attr *attr = &ev->extensions[i];
        struct slice name = slice_of(room, 3 + attr->name.len);
        memcpy(room, "ce-", 3);
        memcpy(room + 3, attr->name.ptr, attr->name.len);
        room += name.len;
        put(out, name, attr->value, event_wire(ev, attr->name), &room);
    }
    return 0;
}

void event_headers_fini(struct event_headers *headers)
{
    free(headers->own);
    headers->own = NULL;
    headers->n = 0;
}
