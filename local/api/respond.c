// SPDX-License-Identifier: Apache-2.0

/* Plan: every answer is one JSON text in one buffer; errors become Status objects by their code. */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "serving/schema_prune.h"
#include "local/api/call.h"

#define ANSWER_MAX (64u << 20)
#define TOO_LARGE  "Too large resource version"

void respond_text(struct http_simple_request *rq, int status, const struct strbuf *json)
{
    if (!strbuf_ok(json)) {
        http_simple_respondf(rq, 500, "the answer is too big\n");
        return;
    }
    http_simple_respond(rq, status, "application/json", strbuf_slice(json));
}

/*
 * kubectl shows the causes of an Invalid and not its sentence, so they are made from that:
 * "KIND "NAME" is invalid: FIELD: TEXT". false: there are none.
 */
static bool append_causes(struct strbuf *out, const char *message, bool first)
{
    static const struct {
        const char *text, *reason;
    } reasons[] = {
        {"Required value", "FieldValueRequired"}, {"Duplicate value", "FieldValueDuplicate"},
        {"Not found", "FieldValueNotFound"},      {"Unsupported value", "FieldValueNotSupported"},
        {"Forbidden", "FieldValueForbidden"},     {"Too long", "FieldValueTooLong"},
        {"Too many", "FieldValueTooMany"},        {"", "FieldValueInvalid"},
    };
    const char *at = strstr(message, " is invalid: ");
    if (strstr(message, TOO_LARGE) != NULL) { /* client-go looks for it */
        (void)strbuf_appendf(out,
                             "%s\"causes\":[{\"reason\":\"ResourceVersionTooLarge\",\"message\":"
                             "\"" TOO_LARGE "\"}]",
                             first ? "" : ",");
        return true;
    }
    if (at == NULL) {
        return false;
    }
    struct slice text = slice_str(at + strlen(" is invalid: "));
    struct slice field = SLICE_EMPTY;
    const char *colon = memmem(text.ptr, text.len, ": ", 2);
    if (text.ptr[0] != '[' && colon != NULL && memchr(text.ptr, ' ', text.len) == colon + 1) {
        field = slice_of(text.ptr, (size_t)(colon - text.ptr));
        text = slice_sub(text, field.len + 2, text.len);
    }
    size_t i = 0;
    while (!slice_starts_with(text, slice_str(reasons[i].text))) {
        i++;
    }
    (void)strbuf_appendf(out, "%s\"causes\":[{\"reason\":\"%s\",\"message\":", first ? "" : ",",
                         reasons[i].reason);
    (void)strbuf_append_json(out, text);
    if (field.len > 0) {
        (void)strbuf_append_str(out, ",\"field\":");
        (void)strbuf_append_json(out, field);
    }
    (void)strbuf_append_str(out, "}]");
    return true;
}

/* Appends `"key":"value"` behind what is there. */
static void append_pair(struct strbuf *out, const char *key, struct slice value, bool *first)
{
    if (value.len > 0) {
        (void)strbuf_appendf(out, "%s\"%s\":", *first ? "" : ",", key);
        (void)strbuf_append_json(out, value);
        *first = false;
    }
}

/*
 * Every sentence that is about an object has `KIND.GROUP "NAME"` (or resource) in it, and that is
 * what the details name. false: there is no such thing in it.
 */
static bool append_subject(struct strbuf *out, const char *message, bool *first)
{
    static const char *const prefixes[] = {"Operation cannot be fulfilled on ",
                                           "object is being deleted: "};
    struct slice text = slice_str(message);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (slice_starts_with(text, slice_str(prefixes[i]))) {
            text = slice_sub(text, strlen(prefixes[i]), text.len);
        }
    }
    ptrdiff_t space = slice_find(text, ' ');
    struct slice kind = space < 0 ? SLICE_EMPTY : slice_sub(text, 0, (size_t)space);
    text = space < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)space + 1, text.len);
    const char *end =
        text.len < 2 || text.ptr[0] != '"' ? NULL : memchr(text.ptr + 1, '"', text.len - 1);
    if (end == NULL || kind.len == 0) {
        return false;
    }
    ptrdiff_t dot = slice_find(kind, '.');
    append_pair(out, "name", slice_of(text.ptr + 1, (size_t)(end - text.ptr - 1)), first);
    append_pair(out, "group", dot < 0 ? SLICE_EMPTY : slice_sub(kind, (size_t)dot + 1, kind.len),
                first);
    append_pair(out, "kind", dot < 0 ? kind : slice_sub(kind, 0, (size_t)dot), first);
    return true;
}

/* A bad request has no details on Kubernetes; an error about an object names it. */
static void append_details(struct strbuf *out, int status, const char *message,
                           const json_t *causes)
{
    if (status == 400 || status == 401 || status == 413 || status == 500) {
        return;
    }
    (void)strbuf_append_str(out, "\"details\":{");
    bool first = true;
    if (status == 403 || status == 404 || status == 409 || status == 422) {
        (void)append_subject(out, message, &first);
    }
    struct error err;
    if (causes != NULL) {
        (void)strbuf_appendf(out, "%s\"causes\":", first ? "" : ",");
        REQUIRE(jdump(causes, out, &err) == 0 || !strbuf_ok(out));
        first = false;
    } else if (status == 422 || status == 504) {
        first = !append_causes(out, message, first) && first;
    }
    if (status == 429 || status >= 503) {
        (void)strbuf_appendf(out, "%s\"retryAfterSeconds\":1", first ? "" : ",");
    }
    (void)strbuf_append_str(out, "},");
}

static void respond_failure(struct http_simple_request *rq, int status, const char *reason,
                            const char *message, const json_t *causes)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 64 << 10);
    (void)strbuf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                  "\"status\":\"Failure\",\"message\":");
    (void)strbuf_append_json(&out, slice_str(message));
    (void)strbuf_appendf(&out, ",\"reason\":\"%s\",", reason);
    append_details(&out, status, message, causes);
    (void)strbuf_appendf(&out, "\"code\":%d}", status);
    respond_text(rq, status, &out);
}

void respond_status(struct http_simple_request *rq, int status, const char *reason,
                    const char *message)
{
    respond_failure(rq, status, reason, message, NULL);
}

static const struct reason {
    enum err_code code;
    int status;
    const char *reason;
} reasons[] = {
    {ERR_NOT_FOUND, 404, "NotFound"},
    {ERR_EXISTS, 409, "AlreadyExists"},
    {ERR_CONFLICT, 409, "Conflict"},
    {ERR_GONE, 410, "Expired"},
    {ERR_TOO_BIG, 413, "RequestEntityTooLarge"},
    {ERR_INVALID, 422, "Invalid"},
    {ERR_PROTOCOL, 400, "BadRequest"},
    {ERR_DENIED, 403, "Forbidden"},
    {ERR_UNAUTHORIZED, 401, "Unauthorized"},
    {ERR_TIMEOUT, 504, "Timeout"},
    {ERR_OVERLOAD, 429, "TooManyRequests"},
    {ERR_UNSUPPORTED, 415, "UnsupportedMediaType"},
    {ERR_UNAVAILABLE, 503, "ServiceUnavailable"},
};

void respond_refusal(struct http_simple_request *rq, enum err_code code, const char *message,
                     const json_t *causes)
{
    int status = 500;
    const char *reason = "InternalError";
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].code == code) {
            status = reasons[i].status;
            reason = reasons[i].reason;
        }
    }
    respond_failure(rq, status, reason, message, causes);
}

void respond_error(struct http_simple_request *rq, const struct error *err, const char *prefix)
{
    if (prefix != NULL) { /* the words of an admission webhook, which answers 400 */
        CLEANUP(cleanup_free) char *message = xasprintf("%s%s", prefix, err->msg);
        respond_status(rq, 400, "BadRequest", message);
        return;
    }
    respond_refusal(rq, err->code, err->msg, NULL);
}

void respond_deleted(struct http_simple_request *rq, const struct route *route,
                     const struct object *object)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    (void)strbuf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                  "\"status\":\"Success\",\"details\":{");
    bool first = true;
    append_pair(&out, "name", slice_str(object->name), &first);
    append_pair(&out, "group", slice_str(route->kind->group), &first);
    append_pair(&out, "kind", slice_str(route->kind->plural), &first);
    append_pair(&out, "uid", slice_str(object->uid), &first);
    (void)strbuf_append_str(&out, "}}");
    respond_text(rq, 200, &out);
}

/* --- objects ------------------------------------------------------------------------------- */

/* kubectl asks for "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", controllers
 * that only want metadata for as=PartialObjectMetadata or …MetadataList. */
struct form respond_form(const struct http_simple_request *rq)
{
    struct form form = {.what = FORM_OBJECT, .include = CELLS_METADATA};
    struct slice accept = http_head_get(rq->head, SLICE_LIT("accept"));
    while (accept.len > 0) {
        ptrdiff_t comma = slice_find(accept, ',');
        struct slice one = comma < 0 ? accept : slice_sub(accept, 0, (size_t)comma);
        accept = comma < 0 ? SLICE_EMPTY : slice_sub(accept, (size_t)comma + 1, accept.len);
        bool json = memmem(one.ptr, one.len, "application/json", 16) != NULL;
        bool other = memmem(one.ptr, one.len, "as=", 3) != NULL;
        bool table = memmem(one.ptr, one.len, "as=Table", 8) != NULL;
        bool meta = memmem(one.ptr, one.len, "as=PartialObjectMetadata", 24) != NULL;
        bool v1 = memmem(one.ptr, one.len, "v=v1beta1", 9) == NULL;
        if (json && v1 && (table || meta)) {
            form.what = table ? FORM_TABLE : FORM_META;
            break;
        }
        if (json && !other) {
            break;
        }
    }
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    const char *include = query_get(rq, "includeObject", &buf);
    if (strcmp(include, "None") == 0) {
        form.include = CELLS_NONE;
    } else if (strcmp(include, "Object") == 0) {
        form.include = CELLS_OBJECT;
    }
    return form;
}

/* A tree whose resourceVersion is this one. */
static json_t *tree_at(const struct object *object, uint64_t version)
{
    if (version == object->version) {
        return object_tree(object);
    }
    char number[OBJECT_VERSION_MAX];
    (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)version);
    json_t *tree = object_parse(object);
    REQUIRE(json_object_set_new(json_object_get(tree, "metadata"), "resourceVersion",
                                json_string(number)) == 0);
    return tree;
}

void respond_append(const struct kind *kind, const struct form *form, const struct object *object,
                    uint64_t version, struct strbuf *out)
{
    json_t *tree = tree_at(object, version);
    if (form->what == FORM_TABLE) {
        cells_row(kind, tree, form->include, clock_wall_ns(), out);
    } else {
        cells_metadata(tree, out);
    }
    json_decref(tree);
}

static void respond_warned(struct http_simple_request *rq, int status, const json_t *warnings,
                           struct slice body)
{
    struct http_header room[SCHEMA_NAMES_MAX + 2];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    CLEANUP(strbuf_fini) struct strbuf lines;
    strbuf_init(&lines, 256u << 10);
    size_t i, n = json_array_size(warnings), begins[SCHEMA_NAMES_MAX + 1];
    n = n > SCHEMA_NAMES_MAX ? SCHEMA_NAMES_MAX : n;
    for (i = 0; i < n; i++) {
        begins[i] = lines.len;
        (void)strbuf_append_str(&lines, "299 - ");
        (void)strbuf_append_json(&lines, slice_str(json_string_value(json_array_get(warnings, i))));
    }
    begins[n] = lines.len;
    bool fits = strbuf_ok(&lines) &&
                http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("application/json")) == 0;
    for (i = 0; fits && i < n; i++) {
        fits = http_head_add(
                   &head, SLICE_LIT("Warning"),
                   slice_sub(strbuf_slice(&lines), begins[i], begins[i + 1] - begins[i])) == 0;
    }
    if (fits) {
        http_simple_respond_head(rq, &head, body);
    } else {
        http_simple_respond(rq, status, "application/json", body);
    }
}

void respond_object(struct http_simple_request *rq, int status, const struct form *form,
                    const struct kind *kind, const struct object *object)
{
    CLEANUP(object_room_fini) struct object_room room = {0};
    if (form->what == FORM_OBJECT && json_array_size(form->warnings) > 0) {
        respond_warned(rq, status, form->warnings, object_json(object, &room));
        return;
    }
    if (form->what == FORM_OBJECT) {
        http_simple_respond(rq, status, "application/json", object_json(object, &room));
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, ANSWER_MAX);
    if (form->what == FORM_META) {
        respond_append(kind, form, object, object->version, &out);
        respond_text(rq, status, &out);
        return;
    }
    (void)strbuf_appendf(&out,
                         "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
                         "{\"resourceVersion\":\"%llu\"},",
                         (unsigned long long)object->version);
    cells_columns(kind, &out);
    (void)strbuf_append_str(&out, ",\"rows\":[");
    respond_append(kind, form, object, object->version, &out);
    (void)strbuf_append_str(&out, "]}");
    respond_text(rq, status, &out);
}
