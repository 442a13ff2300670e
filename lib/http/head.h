// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The head of an HTTP message, request or response, free of any codec: HTTP/1.1 today, HTTP/2 as a
 * second codec under the same struct. A head owns nothing; its slices point into memory of whoever
 * made it (an exchange, a call, or the caller's constants) and live as long as that.
 *
 * Framing is not in the headers: Content-Length and Transfer-Encoding of a received head have been
 * turned into `body` and `content_length`, and a codec writes them from there. A received head
 * still lists them, as every other header, so a copy must leave them out: http_head_copy does.
 */

#include "base/error.h"
#include "base/slice.h"

/*
 * Headers that somebody treats specially: X(enum, text). The id is found once, at arrival. The rows
 * are sorted by length, which the look-up needs.
 */
#define HTTP_HEADER_MAP(X)                             \
    X(HTTP_H_TE, "te")                                 \
    X(HTTP_H_DATE, "date")                             \
    X(HTTP_H_HOST, "host")                             \
    X(HTTP_H_ACCEPT, "accept")                         \
    X(HTTP_H_COOKIE, "cookie")                         \
    X(HTTP_H_EXPECT, "expect")                         \
    X(HTTP_H_PREFER, "prefer")                         \
    X(HTTP_H_SERVER, "server")                         \
    X(HTTP_H_TRAILER, "trailer")                       \
    X(HTTP_H_UPGRADE, "upgrade")                       \
    X(HTTP_H_FORWARDED, "forwarded")                   \
    X(HTTP_H_LULL_HOPS, "lull-hops")                   \
    X(HTTP_H_LULL_WAKE, "lull-wake")                   \
    X(HTTP_H_CONNECTION, "connection")                 \
    X(HTTP_H_KEEP_ALIVE, "keep-alive")                 \
    X(HTTP_H_USER_AGENT, "user-agent")                 \
    X(HTTP_H_TRACEPARENT, "traceparent")               \
    X(HTTP_H_CONTENT_TYPE, "content-type")             \
    X(HTTP_H_AUTHORIZATION, "authorization")           \
    X(HTTP_H_CONTENT_LENGTH, "content-length")         \
    X(HTTP_H_HTTP2_SETTINGS, "http2-settings")         \
    X(HTTP_H_K_LULL_REFUSED, "k-lull-refused")         \
    X(HTTP_H_K_NETWORK_HASH, "k-network-hash")         \
    X(HTTP_H_K_LULL_REVISION, "k-lull-revision")       \
    X(HTTP_H_K_KUBELET_PROBE, "k-kubelet-probe")       \
    X(HTTP_H_K_NETWORK_PROBE, "k-network-probe")       \
    X(HTTP_H_K_ORIGINAL_HOST, "k-original-host")       \
    X(HTTP_H_K_PROXY_REQUEST, "k-proxy-request")       \
    X(HTTP_H_X_FORWARDED_FOR, "x-forwarded-for")       \
    X(HTTP_H_K_PASSTHROUGH_LB, "k-passthrough-lb")     \
    X(HTTP_H_PROXY_CONNECTION, "proxy-connection")     \
    X(HTTP_H_X_FORWARDED_HOST, "x-forwarded-host")     \
    X(HTTP_H_TRANSFER_ENCODING, "transfer-encoding")   \
    X(HTTP_H_X_FORWARDED_PROTO, "x-forwarded-proto")   \
    X(HTTP_H_PROXY_AUTHENTICATE, "proxy-authenticate") \
    X(HTTP_H_PROXY_AUTHORIZATION, "proxy-authorization")

#define HTTP_HEADER_ENUM_ROW(id, text) id,
enum http_header_id {
    HTTP_H_OTHER, /* not in the map */
    HTTP_HEADER_MAP(HTTP_HEADER_ENUM_ROW) HTTP_H_N
};
#undef HTTP_HEADER_ENUM_ROW

struct http_header {
    struct slice name; /* as it came; compares without regard to case */
    struct slice value;
    enum http_header_id id;
};

enum http_method_id {
    HTTP_METHOD_OTHER,
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_TRACE,
    HTTP_METHOD_CONNECT,
};

enum http_body_kind {
    HTTP_BODY_NONE,   /* no body at all (and for a response to HEAD: none follows) */
    HTTP_BODY_LENGTH, /* content_length bytes, may be 0 */
    HTTP_BODY_STREAM, /* until it ends: chunked, or closed connection, or END_STREAM */
    HTTP_BODY_TUNNEL, /* raw bytes both ways after an upgrade */
};

struct http_head {
    /* request */
    struct slice method;
    enum http_method_id method_id;
    struct slice target;    /* origin form ("/a?b"), or "*" for OPTIONS */
    struct slice authority; /* Host, or the authority of an absolute-form target (it wins) */
    /* response */
    int status; /* 100..999; 0 in a request */
    /* both */
    int version; /* 10, 11 or 20 */
    enum http_body_kind body;
    uint64_t content_length; /* for HTTP_BODY_LENGTH; HEAD's answer keeps it with HTTP_BODY_NONE */
    bool has_length;         /* a Content-Length was given (also without a body, as for HEAD) */
    bool expect_continue;    /* the client waits for 100 before its body */
    bool takes_trailers;     /* TE: trailers: who sent this head wants the other side's */
    struct slice upgrade;    /* protocol wanted (request) or chosen (101); empty without one */
    struct http_header *headers;
    size_t n_headers;
    size_t cap_headers; /* room in headers, for http_head_add */
    uint64_t ids;       /* private: http_head_may_have */
};

#define HTTP_ID_BIT(id) (1ull << (id))
_Static_assert(HTTP_H_N <= 64, "one bit for each id");

/* False: no header has one of these ids (HTTP_ID_BIT each). So most passes over headers are saved.
 */
static inline bool http_head_may_have(const struct http_head *head, uint64_t id_bits)
{
    return (head->ids & id_bits) != 0;
}

/* The id of a name, HTTP_H_OTHER when it is not in the map. */
enum http_header_id http_header_id(struct slice name);
/* The method of a name (they compare with case). */
enum http_method_id http_method_id(struct slice name);
/* Whether a request may be run twice (RFC 9110, 9.2.2): GET, HEAD, OPTIONS, TRACE, PUT, DELETE. */
bool http_method_idempotent(enum http_method_id id);
/* "Not Found"; "Unknown" for a number without a text. Never NULL. */
const char *http_status_text(int status);

/* First header with this id (not HTTP_H_OTHER) or NULL. */
const struct http_header *http_head_find_id(const struct http_head *head, enum http_header_id id);
/* First header with this name, in any case, or NULL. */
const struct http_header *http_head_find(const struct http_head *head, struct slice name);
/* Its value; empty when absent. */
struct slice http_head_get(const struct http_head *head, struct slice name);

/* The target without and after '?'. */
struct slice http_head_path(const struct http_head *head);
struct slice http_head_query(const struct http_head *head);

/* Empties a head that is to be built in `room`; method, status … are the caller's to set. */
void http_head_init(struct http_head *head, struct http_header *room, size_t cap);
/*
 * Adds a header; name and value are borrowed. ERR_TOO_BIG when there is no room. The caller answers
 * for the bytes: nothing that came from outside without having been parsed (no CR, LF, NUL).
 */
MUST_CHECK int http_head_add(struct http_head *head, struct slice name, struct slice value);
/* The same for a name of the map, without looking it up. */
MUST_CHECK int http_head_add_id(struct http_head *head, enum http_header_id id, struct slice name,
                                struct slice value);
/* Removes every header with this name; returns how many. */
size_t http_head_remove(struct http_head *head, struct slice name);

/*
 * Whether a field may stand behind a body: none that says how the message is framed, routed,
 * authenticated or to be read, nor what only the parts may say (RFC 9110, 6.5.1).
 */
bool http_trailer_allowed(const struct http_header *field);

/*
 * Copies what a proxy passes on from `in` to `out` (which keeps its room): method, target, status,
 * body kind, and all headers but the hop-by-hop ones: Connection and every name that it lists,
 * Keep-Alive, Proxy-*, TE, Transfer-Encoding, Upgrade, HTTP2-Settings; and without Content-Length,
 * Host, Expect and TE's "trailers", which live in the head's own fields, and without Trailer where
 * the body has no place for trailers. Names that a Connection header may not remove stay: those
 * meant for whoever reads the message in the end, or that the next hop trusts (Authorization,
 * Cookie, Content-*, Cache-Control, Forwarded, X-Forwarded-*, K-*, Ce-*, traceparent …). Slices are
 * shared with `in`. ERR_TOO_BIG when out has too little room.
 */
MUST_CHECK int http_head_copy(const struct http_head *in, struct http_head *out);

/* Whether a name is a token of RFC 9110, and a value free of bytes that could end a line. */
bool http_name_valid(struct slice name);
bool http_value_valid(struct slice value);

/* Whether a value is a traceparent of W3C Trace Context: all its lengths and digits are right. */
bool http_traceparent_valid(struct slice value);
/* Takes a traceparent that is not valid or not the only one off, and its tracestate with it. */
void http_head_check_trace(struct http_head *head);

/* Whether the comma-separated list `value` has the token, in any case. */
bool http_list_has(struct slice value, struct slice token);
