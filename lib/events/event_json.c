// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON event format. Reading walks over the text once: values without escapes, and data that is
 * JSON, stay where they are, byte for byte. Failure modes: the first wrong member is named; a
 * member twice, data twice, and types that an attribute cannot have are refused.
 */
#include "events/event_json.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "json/jscan.h"
#include "events/rules.h"

#define JSON_TYPE           SLICE_LIT("application/json")
#define DATACONTENTENCODING SLICE_LIT("datacontentencoding") /* of 0.3 */

/* --- reading ---------------------------------------------------------------------------------- */

/* Members that are no attributes. */
struct reading {
    struct event *ev;
    struct jscan_value data;
    struct jscan_value data_base64;
    bool has_data;
    bool has_base64;
};

static struct slice text_of(struct event *ev, struct jscan_string s)
{
    if (!s.escaped) {
        return s.text.ptr == NULL ? SLICE_EMPTY : s.text;
    }
    char *room = event_room(ev, s.text.len);
    size_t len = jscan_unescape(s, room);
    return slice_of(room, len);
}

static int read_integer(struct slice name, struct slice raw, struct error *err)
{
    int64_t n = 0;
    bool minus = raw.ptr[0] == '-';
    bool fits = raw.len <= 11;
    for (size_t i = minus; fits && i < raw.len; i++) {
        fits = raw.ptr[i] >= '0' && raw.ptr[i] <= '9';
        n = n * 10 + (raw.ptr[i] - '0');
    }
    n = minus ? -n : n;
    if (!fits || n < INT32_MIN || n > INT32_MAX) {
        return error_set(err, ERR_INVALID, "%.*s: a number must be an integer of 32 bits",
                         SLICE_FMT(name));
    }
    return 0;
}

static int set_attribute(struct event *ev, struct slice name, const struct jscan_value *value,
                         struct error *err)
{
    struct slice seen;
    if (event_get(ev, name, &seen)) {
        return error_set(err, ERR_INVALID, "%.*s: stands twice", SLICE_FMT(slice_sub(name, 0, 64)));
    }
    bool own = event_attr_id(name) != EVENT_EXTENSION;
    int rc = 0;
    switch (value->kind) {
    case JSCAN_STRING:
        return event_set_borrowed(ev, name, text_of(ev, value->string), EVENT_STRING, err);
    case JSCAN_NULL:
        return event_check_name(name, err);
    case JSCAN_NUMBER:
        if (own) {
            break;
        }
        rc = read_integer(slice_sub(name, 0, 64), value->raw, err);
        return rc < 0 ? rc : event_set_borrowed(ev, name, value->raw, EVENT_INTEGER, err);
    case JSCAN_TRUE:
    case JSCAN_FALSE:
        if (own) {
            break;
        }
        return event_set_borrowed(ev, name, value->raw, EVENT_BOOLEAN, err);
    case JSCAN_OBJECT:
    case JSCAN_ARRAY:
        break;
    }
    return error_set(err, ERR_INVALID, "%.*s: must be a string%s",
                     SLICE_FMT(slice_sub(name, 0, 64)), own ? "" : ", an integer or a boolean");
}

static int set_data(struct reading *r, bool base64, const struct jscan_value *value,
                    struct error *err)
{
    bool *has = base64 ? &r->has_base64 : &r->has_data;
    if (*has) {
        return error_set(err, ERR_INVALID, "%s: stands twice", base64 ? "data_base64" : "data");
    }
    if (base64 && value->kind == JSCAN_NULL) {
        return 0;
    }
    if (base64 && value->kind != JSCAN_STRING) {
        return error_set(err, ERR_INVALID, "data_base64: must be a string");
    }
    *has = true;
    *(base64 ? &r->data_base64 : &r->data) = *value;
    return 0;
}

static int read_member(struct reading *r, struct jscan *s, struct error *err)
{
    struct jscan_string text;
    struct jscan_value value;
    if (!jscan_name(s, &text) || !jscan_value(s, &value)) {
        return jscan_error(s, err);
    }
    struct slice name = text_of(r->ev, text);
    if (slice_eq(name, SLICE_LIT("data"))) {
        return set_data(r, false, &value, err);
    }
    if (slice_eq(name, SLICE_LIT("data_base64"))) {
        return set_data(r, true, &value, err);
    }
    return set_attribute(r->ev, name, &value, err);
}

int event_decode_data(struct event *ev, const char *member, struct slice text, struct error *err)
{
    struct strbuf bytes;
    strbuf_init(&bytes, text.len);
    int rc = base64_decode(text, &bytes, err);
    if (rc < 0) {
        strbuf_fini(&bytes);
        return error_prefix(err, rc, "%s", member);
    }
    ev->data = event_adopt(ev, &bytes);
    return 0;
}

int event_take_encoding(struct event *ev, bool *out_base64, struct error *err)
{
    const struct event_attr *encoding =
        event_is_v03(ev) ? event_extension(ev, DATACONTENTENCODING) : NULL;
    *out_base64 = encoding != NULL;
    if (encoding != NULL && !slice_eq_nocase(encoding->value, SLICE_LIT("base64"))) {
        return error_set(err, ERR_INVALID, "datacontentencoding: must be base64");
    }
    if (encoding != NULL) {
        event_remove(ev, DATACONTENTENCODING);
    }
    return 0;
}

/* "data", by what the content type says of it. */
static int take_data(struct event *ev, const struct jscan_value *data, bool base64,
                     struct error *err)
{
    struct slice *type = &ev->known[EVENT_DATACONTENTTYPE];
    if (base64) {
        return data->kind == JSCAN_STRING
                   ? event_decode_data(ev, "data", text_of(ev, data->string), err)
                   : error_set(err, ERR_INVALID, "data: must be a string of base64");
    }
    if (type->ptr == NULL) {
        *type = JSON_TYPE;
    }
    if (event_type_is_json(*type) || data->kind != JSCAN_STRING) {
        bool none = data->kind == JSCAN_NULL && !event_type_is_json(*type);
        ev->data = none ? (struct slice){NULL, 0} : data->raw;
    } else {
        ev->data = text_of(ev, data->string);
    }
    return 0;
}

static int finish(struct reading *r, struct error *err)
{
    if (r->has_data && r->has_base64) {
        return error_set(err, ERR_INVALID, "data and data_base64: only one of them may be there");
    }
    bool base64;
    int rc = event_take_encoding(r->ev, &base64, err);
    if (rc < 0) {
        return rc;
    }
    if (r->has_base64) { /* in 0.3 too, though it has none: SDKs write it */
        rc = event_decode_data(r->ev, "data_base64", text_of(r->ev, r->data_base64.string), err);
    } else if (r->has_data) {
        rc = take_data(r->ev, &r->data, base64, err);
    }
    return rc < 0 ? rc : event_check(r->ev, err);
}

int event_json_walk(struct jscan *s, struct event *out, struct error *err)
{
    struct reading r = {.ev = out};
    event_init(out);
    int rc = jscan_open(s, '{') ? 0 : jscan_error(s, err);
    while (rc == 0 && jscan_more(s, '}')) {
        rc = read_member(&r, s, err);
    }
    if (rc == 0) {
        rc = jscan_failed(s) ? jscan_error(s, err) : finish(&r, err);
    }
    if (rc < 0) {
        event_fini(out);
    }
    return rc;
}

int event_json_read(struct slice text, struct event *out, struct error *err)
{
    struct jscan s = jscan_of(text);
    struct event ev;
    int rc = event_json_walk(&s, &ev, err);
    if (rc < 0) {
        return rc;
    }
    if (!jscan_end(&s)) {
        event_fini(&ev);
        return jscan_error(&s, err);
    }
    *out = ev;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_member(struct strbuf *out, struct slice name, struct slice value, bool quoted)
{
    strbuf_append_char(out, out->ptr[out->len - 1] == '{' ? '"' : ',');
    if (out->ptr[out->len - 1] == ',') {
        strbuf_append_char(out, '"');
    }
    strbuf_append_slice(out, name);
    strbuf_append(out, "\":", 2);
    if (quoted) {
        strbuf_append_json(out, value);
    } else {
        strbuf_append_slice(out, value);
    }
}

static void put_base64(struct strbuf *out, const struct event *ev)
{
    if (event_is_v03(ev)) {
        put_member(out, DATACONTENTENCODING, SLICE_LIT("base64"), true);
        put_member(out, SLICE_LIT("data"), SLICE_LIT("\""), false);
    } else {
        put_member(out, SLICE_LIT("data_base64"), SLICE_LIT("\""), false);
    }
    base64_append(out, ev->data);
    strbuf_append_char(out, '"');
}

static void put_data(struct strbuf *out, const struct event *ev)
{
    struct slice type = ev->known[EVENT_DATACONTENTTYPE];
    bool json = type.ptr != NULL && event_type_is_json(type);
    if (json && jscan_valid(ev->data)) {
        put_member(out, SLICE_LIT("data"), ev->data, false);
    } else if (!json && type.ptr != NULL && event_type_is_text(type) && utf8_valid(ev->data)) {
        put_member(out, SLICE_LIT("data"), ev->data, true);
    } else {
        put_base64(out, ev);
    }
}

int event_http_structured(const struct event *ev, struct strbuf *out, struct error *err)
{
    size_t before = out->len;
    strbuf_append_char(out, '{');
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        if (ev->known[id].ptr != NULL) {
            put_member(out, event_attr_name((enum event_attr_id)id), ev->known[id], true);
        }
    }
    for (unsigned i = 0; i < ev->n_extensions; i++) {
        const struct event_attr *attr = &ev->extensions[i];
        if (event_is_v03(ev) && slice_eq(attr->name, DATACONTENTENCODING)) {
            continue; /* put_base64 says it */
        }
        put_member(out, attr->name, attr->value, attr->kind == EVENT_STRING);
    }
    if (ev->data.ptr != NULL) {
        put_data(out, ev);
    }
    strbuf_append_char(out, '}');
    if (!strbuf_ok(out)) {
        strbuf_truncate(out, before);
        return error_set(err, ERR_TOO_BIG, "an event of more than %zu bytes as JSON", out->max);
    }
    return 0;
}
