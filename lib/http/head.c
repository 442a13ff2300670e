// SPDX-License-Identifier: Apache-2.0
/*
 * The codec-neutral head: look-ups, building, and the copy that a proxy makes. Pure; the only
 * failure is a head that has no room for one more header.
 */

#include "http/head.h"

#include "http/limits.h"

#define HEADER_LEN_MAX 19

#define HEADER_NAME_ROW(id, text) [id] = text,
static const char header_names[HTTP_H_N][HEADER_LEN_MAX + 1] = {HTTP_HEADER_MAP(HEADER_NAME_ROW)};
#undef HEADER_NAME_ROW

/* The first row of each length (0 … HEADER_LEN_MAX + 1) in HTTP_HEADER_MAP. A test tries every row.
 */
static const uint8_t first_of_len[HEADER_LEN_MAX + 2] = {1,  1,  1,  2,  2,  4,  4,  9,  11, 11, 14,
                                                         17, 18, 19, 20, 24, 30, 33, 35, 36, 37};
_Static_assert(HTTP_H_N == 37, "first_of_len must follow the table");

static inline unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/*
 * Eight bytes at once, or four: letters of `text` in any case, all else exactly. `text` has
 * lower-case letters, digits and '-' only: of these just the letters have the bit 0x40.
 */
static inline bool eq_lower8(const char *ptr, const char *text)
{
    uint64_t a;
    uint64_t b;
    memcpy(&a, ptr, sizeof(a));
    memcpy(&b, text, sizeof(b));
    return ((a ^ b) & ~((b & 0x4040404040404040ull) >> 1)) == 0;
}

static inline bool eq_lower4(const char *ptr, const char *text)
{
    uint32_t a;
    uint32_t b;
    memcpy(&a, ptr, sizeof(a));
    memcpy(&b, text, sizeof(b));
    return ((a ^ b) & ~((b & 0x40404040u) >> 1)) == 0;
}

static inline bool eq_lower(const char *ptr, const char *text, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        if (!eq_lower8(ptr + i, text + i)) {
            return false;
        }
    }
    if (len >= 8) {
        return eq_lower8(ptr + len - 8, text + len - 8);
    }
    if (len >= 4) {
        return eq_lower4(ptr, text) && eq_lower4(ptr + len - 4, text + len - 4);
    }
    for (; i < len; i++) {
        if (lower((unsigned char)ptr[i]) != (unsigned char)text[i]) {
            return false;
        }
    }
    return true;
}

enum http_header_id http_header_id(struct slice name)
{
    if (name.len < 2 || name.len > HEADER_LEN_MAX) {
        return HTTP_H_OTHER;
    }
    unsigned char first = lower((unsigned char)name.ptr[0]);
    for (int id = first_of_len[name.len]; id < first_of_len[name.len + 1]; id++) {
        if ((unsigned char)header_names[id][0] == first &&
            eq_lower(name.ptr, header_names[id], name.len)) {
            return (enum http_header_id)id;
        }
    }
    return HTTP_H_OTHER;
}

enum http_method_id http_method_id(struct slice name)
{
    static const struct {
        struct slice name;
        enum http_method_id id;
    } table[] = {
        {{"GET", 3}, HTTP_METHOD_GET},         {{"HEAD", 4}, HTTP_METHOD_HEAD},
        {{"POST", 4}, HTTP_METHOD_POST},       {{"PUT", 3}, HTTP_METHOD_PUT},
        {{"PATCH", 5}, HTTP_METHOD_PATCH},     {{"DELETE", 6}, HTTP_METHOD_DELETE},
        {{"OPTIONS", 7}, HTTP_METHOD_OPTIONS}, {{"TRACE", 5}, HTTP_METHOD_TRACE},
        {{"CONNECT", 7}, HTTP_METHOD_CONNECT},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(name, table[i].name)) {
            return table[i].id;
        }
    }
    return HTTP_METHOD_OTHER;
}

bool http_method_idempotent(enum http_method_id id)
{
    return id == HTTP_METHOD_GET || id == HTTP_METHOD_HEAD || id == HTTP_METHOD_OPTIONS ||
           id == HTTP_METHOD_TRACE || id == HTTP_METHOD_PUT || id == HTTP_METHOD_DELETE;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {200, "OK"},
        {100, "Continue"},
        {101, "Switching Protocols"},
        {102, "Processing"},
        {103, "Early Hints"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {508, "Loop Detected"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].status == status) {
            return table[i].text;
        }
    }
    return "Unknown";
}

const struct http_header *http_head_find_id(const struct http_head *head, enum http_header_id id)
{
    for (size_t i = 0; i < head->n_headers && http_head_may_have(head, HTTP_ID_BIT(id)); i++) {
        if (head->headers[i].id == id) {
            return &head->headers[i];
        }
    }
    return NULL;
}

const struct http_header *http_head_find(const struct http_head *head, struct slice name)
{
    enum http_header_id id = http_header_id(name);
    if (id != HTTP_H_OTHER) {
        return http_head_find_id(head, id);
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        if (slice_eq_nocase(head->headers[i].name, name)) {
            return &head->headers[i];
        }
    }
    return NULL;
}

struct slice http_head_get(const struct http_head *head, struct slice name)
{
    const struct http_header *h = http_head_find(head, name);
    return h == NULL ? SLICE_EMPTY : h->value;
}

struct slice http_head_path(const struct http_head *head)
{
    ptrdiff_t at = slice_find(head->target, '?');
    return at < 0 ? head->target : slice_of(head->target.ptr, (size_t)at);
}

struct slice http_head_query(const struct http_head *head)
{
    ptrdiff_t at = slice_find(head->target, '?');
    return at < 0 ? SLICE_EMPTY : slice_sub(head->target, (size_t)at + 1, head->target.len);
}

void http_head_init(struct http_head *head, struct http_header *room, size_t cap)
{
    *head = (struct http_head){.version = 11, .headers = room, .cap_headers = cap};
}

int http_head_add(struct http_head *head, struct slice name, struct slice value)
{
    return http_head_add_id(head, http_header_id(name), name, value);
}

int http_head_add_id(struct http_head *head, enum http_header_id id, struct slice name,
                     struct slice value)
{
    if (head->n_headers >= head->cap_headers) {
        return ERR_TOO_BIG;
    }
    head->headers[head->n_headers++] = (struct http_header){.name = name, .value = value, .id = id};
    head->ids |= HTTP_ID_BIT(id);
    return 0;
}

size_t http_head_remove(struct http_head *head, struct slice name)
{
    size_t kept = 0;
    size_t before = head->n_headers;
    for (size_t i = 0; i < before; i++) {
        if (!slice_eq_nocase(head->headers[i].name, name)) {
            head->headers[kept++] = head->headers[i];
        }
    }
    head->n_headers = kept;
    return before - kept;
}

bool http_list_has(struct slice value, struct slice token)
{
    struct slice part;
    while (slice_split(&value, ',', &part)) {
        if (slice_eq_nocase(slice_trim(part), token)) {
            return true;
        }
    }
    return false;
}

/* Headers of one hop, and those that live in the head's own fields. */
static inline bool left_out(enum http_header_id id)
{
    static const bool never[HTTP_H_N] = {
        [HTTP_H_CONNECTION] = true,
        [HTTP_H_KEEP_ALIVE] = true,
        [HTTP_H_PROXY_CONNECTION] = true,
        [HTTP_H_PROXY_AUTHENTICATE] = true,
        [HTTP_H_PROXY_AUTHORIZATION] = true,
        [HTTP_H_TE] = true,
        [HTTP_H_TRANSFER_ENCODING] = true,
        [HTTP_H_UPGRADE] = true,
        [HTTP_H_HTTP2_SETTINGS] = true,
        [HTTP_H_CONTENT_LENGTH] = true,
        [HTTP_H_HOST] = true,
        [HTTP_H_EXPECT] = true,
    };
    return never[id];
}

static bool has_prefix(struct slice name, const char *prefix, size_t len)
{
    return name.len > len && eq_lower(name.ptr, prefix, len);
}

/* Names that only the parts and the proxies in front of them may say. */
static bool is_trusted(struct slice name)
{
    static const struct slice prefixes[] = {
        {"k-", 2}, {"knative-", 8}, {"lull-", 5}, {"x-forwarded-", 12}};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (has_prefix(name, prefixes[i].ptr, prefixes[i].len)) {
            return true;
        }
    }
    return slice_eq_nocase(name, SLICE_LIT("forwarded"));
}

static bool is_one_of(struct slice name, const struct slice *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

/*
 * Names that a Connection header may not remove: they say who asks or how to read the message, or
 * the next hop trusts them. RFC 9110 (7.6.1) forbids to list what is meant for all recipients.
 */
static bool may_be_listed(struct slice name)
{
    static const struct slice never[] = {
        {"authorization", 13}, {"cookie", 6},      {"set-cookie", 10}, {"traceparent", 11},
        {"tracestate", 10},    {"date", 4},        {"location", 8},    {"cache-control", 13},
        {"vary", 4},           {"user-agent", 10}, {"origin", 6},      {"range", 5},
    };
    return !is_one_of(name, never, ARRAY_LEN(never)) && !is_trusted(name) &&
           !has_prefix(name, "content-", 8) && !has_prefix(name, "ce-", 3) &&
           !has_prefix(name, "if-", 3) && !has_prefix(name, "access-control-", 15);
}

bool http_trailer_allowed(const struct http_header *field)
{
    static const struct slice never[] = {
        {"cookie", 6},        {"set-cookie", 10},    {"authorization", 13},
        {"max-forwards", 12}, {"cache-control", 13}, {"www-authenticate", 16},
        {"pragma", 6},        {"range", 5},          {"age", 3},
        {"date", 4},          {"expires", 7},        {"location", 8},
        {"retry-after", 11},  {"vary", 4},           {"warning", 7},
        {"traceparent", 11},  {"tracestate", 10},    {"upgrade-insecure-requests", 25},
    };
    return !left_out(field->id) && field->id != HTTP_H_TRAILER && !is_trusted(field->name) &&
           !is_one_of(field->name, never, ARRAY_LEN(never)) &&
           !has_prefix(field->name, "content-", 8) && !has_prefix(field->name, "if-", 3);
}

#define LISTED_MAX 32

static bool is_listed(const struct http_head *in, struct slice name)
{
    for (size_t i = 0; i < in->n_headers; i++) {
        if (in->headers[i].id == HTTP_H_CONNECTION && http_list_has(in->headers[i].value, name)) {
            return true;
        }
    }
    return false;
}

/* Names in Connection headers that name another header of this head; LISTED_MAX + 1: too many. */
static size_t listed_names(const struct http_head *in, struct slice *names)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n_headers; i++) {
        if (in->headers[i].id != HTTP_H_CONNECTION) {
            continue;
        }
        struct slice rest = in->headers[i].value;
        struct slice part;
        while (slice_split(&rest, ',', &part)) {
            part = slice_trim(part);
            bool plain = part.len == 0 || slice_eq_nocase(part, SLICE_LIT("keep-alive")) ||
                         slice_eq_nocase(part, SLICE_LIT("close")) ||
                         slice_eq_nocase(part, SLICE_LIT("upgrade"));
            if (plain || !may_be_listed(part)) {
                continue;
            }
            if (n == LISTED_MAX) {
                return LISTED_MAX + 1;
            }
            names[n++] = part;
        }
    }
    return n;
}

/* Whether a Connection header names it. */
static bool is_named(const struct http_head *in, struct slice name, const struct slice *listed,
                     size_t n_listed)
{
    return n_listed > LISTED_MAX ? may_be_listed(name) && is_listed(in, name)
                                 : is_one_of(name, listed, n_listed);
}

int http_head_copy(const struct http_head *in, struct http_head *out)
{
    UNINITIALIZED struct slice listed[LISTED_MAX]; /* only those below n_listed are read */
    size_t n_listed =
        http_head_may_have(in, HTTP_ID_BIT(HTTP_H_CONNECTION)) ? listed_names(in, listed) : 0;
    struct http_header *room = out->headers;
    size_t cap = out->cap_headers;
    *out = *in;
    out->headers = room;
    out->cap_headers = cap;
    out->n_headers = 0;
    for (size_t i = 0; i < in->n_headers; i++) {
        const struct http_header *h = &in->headers[i];
        if (left_out(h->id) || (h->id == HTTP_H_TRAILER && in->body != HTTP_BODY_STREAM) ||
            (n_listed > 0 && is_named(in, h->name, listed, n_listed))) {
            continue;
        }
        if (out->n_headers >= cap) {
            return ERR_TOO_BIG;
        }
        out->headers[out->n_headers++] = *h;
    }
    return 0;
}

bool http_name_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
        if (!alnum && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

bool http_value_valid(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Lower-case hex digits, as Trace Context asks for; *out_zero: all are 0. */
static bool all_hex(struct slice s, bool *out_zero)
{
    *out_zero = true;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        *out_zero = *out_zero && c == '0';
    }
    return true;
}

#define TRACEPARENT_LEN 55  /* "00-", 32 digits, '-', 16 digits, '-', 2 digits */
#define TRACEPARENT_MAX 256 /* later versions may say more behind that */

bool http_traceparent_valid(struct slice v)
{
    bool zero;
    if (v.len < TRACEPARENT_LEN || v.len > TRACEPARENT_MAX || v.ptr[2] != '-' || v.ptr[35] != '-' ||
        v.ptr[52] != '-' || !all_hex(slice_of(v.ptr, 2), &zero) ||
        slice_eq(slice_of(v.ptr, 2), SLICE_LIT("ff"))) {
        return false;
    }
    if (v.len > TRACEPARENT_LEN && (zero || v.ptr[TRACEPARENT_LEN] != '-')) {
        return false;
    }
    return all_hex(slice_of(v.ptr + 3, 32), &zero) && !zero &&
           all_hex(slice_of(v.ptr + 36, 16), &zero) && !zero &&
           all_hex(slice_of(v.ptr + 53, 2), &zero);
}

void http_head_check_trace(struct http_head *head)
{
    const struct http_header *found = NULL;
    bool good = true;
    if (!http_head_may_have(head, HTTP_ID_BIT(HTTP_H_TRACEPARENT))) {
        return;
    }
    for (size_t i = 0; i < head->n_headers && good; i++) {
        if (head->headers[i].id == HTTP_H_TRACEPARENT) {
            good = found == NULL && http_traceparent_valid(head->headers[i].value);
            found = &head->headers[i];
        }
    }
    if (!good) {
        http_head_remove(head, SLICE_LIT("traceparent"));
        http_head_remove(head, SLICE_LIT("tracestate"));
    }
}

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .max_head_bytes = 32 * 1024,
        .max_target_bytes = 16 * 1024,
        .max_headers = 100,
        .max_body_bytes = 0,
        .hold_body_bytes = 64 * 1024,
        .out_high_bytes = 64 * 1024,
        .idle_ms = 75000,
        .head_ms = 15000,
        .body_ms = 60000,
        .write_ms = 60000,
        .max_connections = 15000,
        .max_requests = 0,
    };
}
