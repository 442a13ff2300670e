// SPDX-License-Identifier: Apache-2.0
/* Plan: attributes first, then the data and what it looks like. Failure: an override that is none.
 */
#include "broker/redis_event.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "json/jparse.h"

#define ID_HEX   32
#define DATA_MAX (80u << 20) /* base64 of the largest answer */
#define TEXT_MAX 4096

void event_text(struct slice bytes, struct strbuf *out)
{
    for (size_t i = 0; i < bytes.len;) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        size_t n = utf8_len(bytes.ptr + i, bytes.len - i);
        struct error err;
        bool plain = n > 0 && c != '%' &&
                     event_check_value(SLICE_LIT("x"), slice_sub(bytes, i, n), &err) == 0;
        if (plain) {
            strbuf_append(out, bytes.ptr + i, n);
            i += n;
        } else {
            strbuf_appendf(out, "%%%02X", c);
            i++;
        }
    }
}

/* --- data ---------------------------------------------------------------------------------- */

static json_t *value_of(struct slice value)
{
    if (utf8_valid(value)) {
        return json_stringn(value.ptr, value.len);
    }
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, DATA_MAX);
    base64_append(&text, value);
    return json_pack("{s:s}", "base64", text.ptr);
}

static void add_field(json_t *object, struct slice name, struct slice value)
{
    CLEANUP(strbuf_fini) struct strbuf key;
    strbuf_init(&key, DATA_MAX);
    event_text(name, &key);
    json_t *old = json_object_get(object, key.ptr);
    if (old == NULL) {
        json_object_set_new(object, key.ptr, value_of(value));
    } else if (json_is_array(old)) {
        json_array_append_new(old, value_of(value));
    } else {
        json_object_set_new(object, key.ptr, json_pack("[O,o]", old, value_of(value)));
    }
}

static int set_fields(struct event *ev, const struct redisReply *fields, struct error *err)
{
    CLEANUP(jfree) json_t *object = json_object();
    struct strbuf text;
    for (size_t i = 0; i + 1 < redis_reply_len(fields); i += 2) {
        add_field(object, redis_reply_text(redis_reply_at(fields, i)),
                  redis_reply_text(redis_reply_at(fields, i + 1)));
    }
    strbuf_init(&text, DATA_MAX);
    int rc = jdump(object, &text, err);
    if (rc < 0) {
        strbuf_fini(&text);
        return rc;
    }
    ev->data = event_adopt(ev, &text);
    return event_set(ev, SLICE_LIT("datacontenttype"), SLICE_LIT("application/json"), err);
}

static const char *looks_like(struct slice data)
{
    CLEANUP(jfree) json_t *value = NULL;
    if (!utf8_valid(data)) {
        return "application/octet-stream";
    }
    return jparse_last(data, data.len, &value, NULL) == 0 ? "application/json" : "text/plain";
}

static int set_data(const struct redis_object *source, struct event *ev, struct slice data,
                    struct error *err)
{
    const char *type = source->content_type != NULL ? source->content_type : looks_like(data);
    ev->data = event_keep(ev, data);
    return event_set(ev, SLICE_LIT("datacontenttype"), slice_str(type), err);
}

/* --- events -------------------------------------------------------------------------------- */

static int begin(const struct redis_object *source, const char *type, struct slice id,
                 int64_t wall_ns, struct event *out, struct error *err)
{
    const struct source_common *c = &source->common;
    char now[CLOCK_RFC3339_MAX];
    CLEANUP(strbuf_fini) struct strbuf key;
    strbuf_init(&key, TEXT_MAX);
    event_text(slice_str(source->key), &key);
    event_init(out);
    clock_format_rfc3339(wall_ns, 9, now, sizeof(now));
    int rc = event_set(out, SLICE_LIT("specversion"), SLICE_LIT("1.0"), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("id"), id, err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("source"), slice_str(c->source), err);
    rc = rc < 0
             ? rc
             : event_set(out, SLICE_LIT("type"), slice_str(c->type != NULL ? c->type : type), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("time"), slice_str(now), err);
    return rc < 0 || key.len == 0 ? rc
                                  : event_set(out, SLICE_LIT("subject"), strbuf_slice(&key), err);
}

int redis_stream_event(const struct redis_object *source, struct slice id,
                       const struct redisReply *fields, int64_t wall_ns, struct event *out,
                       struct error *err)
{
    struct slice data = {0};
    int rc = begin(source, REDIS_STREAM_TYPE, id, wall_ns, out, err);
    for (size_t i = 0; source->data_field != NULL && i + 1 < redis_reply_len(fields); i += 2) {
        if (slice_eq_str(redis_reply_text(redis_reply_at(fields, i)), source->data_field)) {
            data = redis_reply_text(redis_reply_at(fields, i + 1));
        }
    }
    if (rc == 0) {
        rc = data.ptr != NULL ? set_data(source, out, data, err) : set_fields(out, fields, err);
    }
    return rc < 0 ? rc : source_finish_event(&source->common, out, err);
}

int redis_list_event(const struct redis_object *source, struct slice value, int64_t wall_ns,
                     struct event *out, struct error *err)
{
    char id[ID_HEX + 1];
    int rc = begin(source, REDIS_LIST_TYPE, slice_str(random_hex(id, ID_HEX)), wall_ns, out, err);
    rc = rc < 0 ? rc : set_data(source, out, value, err);
    return rc < 0 ? rc : source_finish_event(&source->common, out, err);
}
