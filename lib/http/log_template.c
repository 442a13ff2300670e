// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the text becomes a list of parts, each a literal or a field; an entry is written part by
 * part. Fields are rows of one table. Failure: an action that is none of ours is refused when the
 * template is compiled, never when a request is logged.
 */
#include "http/log_template.h"

#include "base/mem.h"
#include "base/num.h"

#define VALUE_MAX 4096 /* of one value; longer ones are cut */

const char log_template_default[] =
    "{\"httpRequest\": {\"requestMethod\": \"{{.Request.Method}}\", \"requestUrl\": "
    "\"{{js .Request.RequestURI}}\", \"requestSize\": \"{{.Request.ContentLength}}\", \"status\": "
    "{{.Response.Code}}, \"responseSize\": \"{{.Response.Size}}\", \"userAgent\": "
    "\"{{js .Request.UserAgent}}\", \"remoteIp\": \"{{js .Request.RemoteAddr}}\", \"serverIp\": "
    "\"{{.Revision.PodIP}}\", \"referer\": \"{{js .Request.Referer}}\", \"latency\": "
    "\"{{.Response.Latency}}s\", \"protocol\": \"{{.Request.Proto}}\"}, \"traceId\": "
    "\"{{.TraceID}}\"}";

enum field {
    FIELD_LITERAL,
    FIELD_METHOD,
    FIELD_TARGET,
    FIELD_HOST,
    FIELD_PROTO,
    FIELD_LENGTH,
    FIELD_PEER,
    FIELD_AGENT,
    FIELD_REFERER,
    FIELD_HEADER,       /* {{.Request.Header.Get "X"}} */
    FIELD_HEADER_INDEX, /* {{index .Request.Header "X"}}: Go prints a list */
    FIELD_CODE,
    FIELD_SIZE,
    FIELD_LATENCY,
    FIELD_REVISION,
    FIELD_NAMESPACE,
    FIELD_SERVICE,
    FIELD_CONFIGURATION,
    FIELD_POD,
    FIELD_POD_IP,
    FIELD_TRACE,
};

static const struct {
    const char *name;
    enum field field;
} field_rows[] = {
    {".Request.Method", FIELD_METHOD},
    {".Request.RequestURI", FIELD_TARGET},
    {".Request.URL", FIELD_TARGET},
    {".Request.Host", FIELD_HOST},
    {".Request.Proto", FIELD_PROTO},
    {".Request.ContentLength", FIELD_LENGTH},
    {".Request.RemoteAddr", FIELD_PEER},
    {".Request.UserAgent", FIELD_AGENT},
    {".Request.Referer", FIELD_REFERER},
    {".Response.Code", FIELD_CODE},
    {".Response.Size", FIELD_SIZE},
    {".Response.Latency", FIELD_LATENCY},
    {".Revision.Name", FIELD_REVISION},
    {".Revision.Namespace", FIELD_NAMESPACE},
    {".Revision.Service", FIELD_SERVICE},
    {".Revision.Configuration", FIELD_CONFIGURATION},
    {".Revision.PodName", FIELD_POD},
    {".Revision.PodIP", FIELD_POD_IP},
    {".TraceID", FIELD_TRACE},
};

struct part {
    enum field field;
    bool js;
    struct slice text; /* of a literal, or the header's name; in log_template.text */
};

struct log_template {
    struct part *parts;
    size_t count;
    char text[];
};

/* --- compiling ------------------------------------------------------------------------------ */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trim_left(struct slice s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s = slice_sub(s, 1, s.len);
    }
    return s;
}

static struct slice trim_right(struct slice s)
{
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* Takes a word that ends at white space off *s. */
static struct slice word(struct slice *s)
{
    *s = trim_left(*s);
    size_t n = 0;
    while (n < s->len && !is_space(s->ptr[n])) {
        n++;
    }
    struct slice w = slice_of(s->ptr, n);
    *s = trim_left(slice_sub(*s, n, s->len));
    return w;
}

/* "text" without a quote or backslash inside, and nothing behind it. */
static bool quoted(struct slice s, struct slice *out)
{
    s = trim_right(s);
    if (s.len < 3 || s.ptr[0] != '"' || s.ptr[s.len - 1] != '"') {
        return false;
    }
    *out = slice_of(s.ptr + 1, s.len - 2);
    return slice_find(*out, '"') < 0 && slice_find(*out, '\\') < 0;
}

static bool find_field(struct slice name, enum field *out)
{
    for (size_t i = 0; i < ARRAY_LEN(field_rows); i++) {
        if (slice_eq_str(name, field_rows[i].name)) {
            *out = field_rows[i].field;
            return true;
        }
    }
    return false;
}

/* The inside of an action, without its braces. */
static bool compile_action(struct slice action, struct part *out)
{
    *out = (struct part){.field = FIELD_LITERAL};
    ptrdiff_t bar = slice_find(action, '|');
    if (bar >= 0) {
        struct slice behind = slice_sub(action, (size_t)bar + 1, action.len);
        struct slice function = word(&behind);
        if (!slice_eq_str(function, "js") || behind.len > 0) {
            return false;
        }
        out->js = true;
        action = trim_right(slice_of(action.ptr, (size_t)bar));
    }
    struct slice first = word(&action);
    if (slice_eq_str(first, "js") && !out->js) {
        out->js = true;
        first = word(&action);
    }
    if (slice_eq_str(first, "index")) {
        out->field = FIELD_HEADER_INDEX;
        return slice_eq_str(word(&action), ".Request.Header") && quoted(action, &out->text);
    }
    if (slice_eq_str(first, ".Request.Header.Get")) {
        out->field = FIELD_HEADER;
        return quoted(action, &out->text);
    }
    return action.len == 0 && find_field(first, &out->field);
}

static void add_part(struct log_template *t, struct part part)
{
    if (part.field == FIELD_LITERAL && part.text.len == 0) {
        return;
    }
    t->parts = xreallocarray(t->parts, t->count + 1, sizeof(*t->parts));
    t->parts[t->count++] = part;
}

static ptrdiff_t find_pair(struct slice s, char c)
{
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (s.ptr[i] == c && s.ptr[i + 1] == c) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static bool is_comment(struct slice action)
{
    return action.len >= 4 && slice_starts_with(action, SLICE_LIT("/*")) &&
           slice_eq(slice_sub(action, action.len - 2, action.len), SLICE_LIT("*/"));
}

static int compile(struct log_template *t, struct slice rest, struct error *err)
{
    const char *begin = rest.ptr;
    bool trim = false; /* the action before asked for it */
    for (;;) {
        ptrdiff_t open = find_pair(rest, '{');
        struct slice literal = open < 0 ? rest : slice_of(rest.ptr, (size_t)open);
        struct slice action = open < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)open + 2, rest.len);
        bool trims_before = action.len >= 2 && action.ptr[0] == '-' && is_space(action.ptr[1]);
        literal = trim ? trim_left(literal) : literal;
        add_part(t, (struct part){.text = trims_before ? trim_right(literal) : literal});
        if (open < 0) {
            return 0;
        }
        ptrdiff_t close = find_pair(action, '}');
        if (close < 0) {
            return error_set(err, ERR_INVALID,
                             "the action at byte %zu is not closed: \"}}\" is missing",
                             (size_t)(action.ptr - begin) - 2);
        }
        rest = slice_sub(action, (size_t)close + 2, action.len);
        action.len = (size_t)close;
        struct slice inside = trims_before ? slice_sub(action, 1, action.len) : action;
        trim = inside.len >= 2 && inside.ptr[inside.len - 1] == '-' &&
               is_space(inside.ptr[inside.len - 2]);
        inside.len -= trim ? 1 : 0;
        inside = trim_left(trim_right(inside));
        struct part part;
        if (is_comment(inside)) {
            continue;
        }
        if (!compile_action(inside, &part)) {
            return error_set(err, ERR_INVALID,
                             "\"{{%.*s}}\" at byte %zu is not known: fields like "
                             ".Request.Method, js FIELD and index .Request.Header \"NAME\" are",
                             SLICE_FMT(slice_sub(inside, 0, 80)), (size_t)(action.ptr - begin) - 2);
        }
        add_part(t, part);
    }
}

int log_template_new(struct slice text, struct log_template **out, struct error *err)
{
    struct log_template *t = xcalloc(1, sizeof(*t) + text.len + 1);
    if (text.len > 0) {
        memcpy(t->text, text.ptr, text.len);
    }
    int rc = compile(t, slice_of(t->text, text.len), err);
    if (rc < 0) {
        log_template_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void log_template_free(struct log_template *t)
{
    if (t != NULL) {
        free(t->parts);
        free(t);
    }
}

/* --- writing -------------------------------------------------------------------------------- */

/* As inside a JSON string. */
static void put_value(struct slice value, bool js, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf quoted_text;
    strbuf_init(&quoted_text, VALUE_MAX * 6 + 2);
    strbuf_append_json(&quoted_text, slice_sub(value, 0, VALUE_MAX));
    for (size_t i = 1; i + 1 < quoted_text.len; i++) {
        char c = quoted_text.ptr[i];
        if (js && (c == '<' || c == '>' || c == '&' || c == '=' || c == '\'')) {
            strbuf_appendf(out, "\\u%04X", (unsigned)(unsigned char)c);
        } else {
            strbuf_append_char(out, c);
        }
    }
}

static void put_header(const struct http_head *head, const struct part *part, struct strbuf *out)
{
    put_value(http_head_get(head, part->text), part->js, out);
}

static void put_header_list(const struct http_head *head, const struct part *part,
                            struct strbuf *out)
{
    bool first = true;
    strbuf_append_char(out, '[');
    for (size_t i = 0; i < head->n_headers; i++) {
        if (slice_eq_nocase(head->headers[i].name, part->text)) {
            strbuf_append_str(out, first ? "" : " ");
            put_value(head->headers[i].value, part->js, out);
            first = false;
        }
    }
    strbuf_append_char(out, ']');
}

/* The trace id of traceparent ("00-ID-…"), else of X-B3-TraceId. */
static struct slice trace_id(const struct http_head *head)
{
    struct slice parent = http_head_get(head, SLICE_LIT("traceparent"));
    struct slice version;
    struct slice id;
    if (slice_split(&parent, '-', &version) && slice_split(&parent, '-', &id) && id.len == 32) {
        return id;
    }
    return http_head_get(head, SLICE_LIT("x-b3-traceid"));
}

static void put_field(const struct log_entry *e, const struct part *part, struct strbuf *out)
{
    char number[NUM_DOUBLE_MAX];
    const struct http_head *head = e->request;
    switch (part->field) {
    case FIELD_LITERAL:
        strbuf_append_slice(out, part->text);
        return;
    case FIELD_METHOD:
        put_value(head->method, part->js, out);
        return;
    case FIELD_TARGET:
        put_value(head->target, part->js, out);
        return;
    case FIELD_HOST:
        put_value(head->authority, part->js, out);
        return;
    case FIELD_PROTO:
        strbuf_appendf(out, "HTTP/%d.%d", head->version / 10, head->version % 10);
        return;
    case FIELD_LENGTH:
        if (head->body == HTTP_BODY_STREAM) {
            strbuf_append_str(out, "-1");
        } else {
            strbuf_appendf(out, "%llu", (unsigned long long)head->content_length);
        }
        return;
    case FIELD_PEER:
        put_value(e->peer, part->js, out);
        return;
    case FIELD_AGENT:
        put_value(http_head_get(head, SLICE_LIT("user-agent")), part->js, out);
        return;
    case FIELD_REFERER:
        put_value(http_head_get(head, SLICE_LIT("referer")), part->js, out);
        return;
    case FIELD_HEADER:
        put_header(head, part, out);
        return;
    case FIELD_HEADER_INDEX:
        put_header_list(head, part, out);
        return;
    case FIELD_CODE:
        strbuf_appendf(out, "%d", e->status);
        return;
    case FIELD_SIZE:
        strbuf_appendf(out, "%llu", (unsigned long long)e->bytes_out);
        return;
    case FIELD_LATENCY:
        strbuf_append_str(out,
                          num_format_double((double)e->latency_ns / 1e9, number, sizeof(number)));
        return;
    case FIELD_REVISION:
        put_value(e->revision, part->js, out);
        return;
    case FIELD_NAMESPACE:
        put_value(e->namespace_name, part->js, out);
        return;
    case FIELD_SERVICE:
        put_value(e->service, part->js, out);
        return;
    case FIELD_CONFIGURATION:
        put_value(e->configuration, part->js, out);
        return;
    case FIELD_POD:
        put_value(e->pod, part->js, out);
        return;
    case FIELD_POD_IP:
        put_value(e->pod_ip, part->js, out);
        return;
    case FIELD_TRACE:
        put_value(trace_id(head), part->js, out);
        return;
    }
}

void log_template_write(const struct log_template *t, const struct log_entry *entry,
                        struct strbuf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        put_field(entry, &t->parts[i], out);
    }
    strbuf_append_char(out, '\n');
}
