// SPDX-License-Identifier: Apache-2.0

/*
 * /version and the OpenAPI documents over HTTP. Plan: the hash of a document is its ETag and stands
 * in the address that the index gives; under that address it may be kept for ever, and is.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "local/api/call.h"
#include "local/api/discovery.h"
#include "local/api/openapi.h"

#define DOCUMENT_MAX (4u << 20)
#define V2_PROTOBUF  "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

static const struct openapi_hashes *hashes_of(struct api *api)
{
    if (api->openapi == NULL) {
        api->openapi = NEW(struct openapi_hashes);
        openapi_hash(api->openapi);
    }
    return api->openapi;
}

static void add(struct http_head *head, const char *name, const char *value)
{
    if (http_head_add(head, slice_str(name), slice_str(value)) < 0) {
        head->status = 500;
    }
}

/* forever: the address has the hash in it. */
static void respond_document(struct http_simple_request *rq, const char *type, const char *hash,
                             bool forever, const struct strbuf *body)
{
    char etag[OPENAPI_HASH_MAX + 8];
    bool protobuf = strcmp(type, V2_PROTOBUF) == 0;
    (void)snprintf(etag, sizeof(etag), "\"%s%s\"", hash, protobuf ? "-pb" : "");
    struct http_header room[8];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    bool same = header_has(rq, "if-none-match", etag);
    head.status = same ? 304 : strbuf_ok(body) ? 200 : 500;
    add(&head, "Content-Type", type);
    add(&head, "ETag", etag);
    add(&head, "Vary", "Accept");
    add(&head, "Cache-Control",
        forever ? "public, max-age=31536000, immutable" : "no-cache, private");
    http_simple_respond_head(rq, &head, same ? SLICE_EMPTY : strbuf_slice(body));
}

static void redirect(struct http_simple_request *rq, const char *hash)
{
    char where[400];
    (void)snprintf(where, sizeof(where), "%.*s?hash=%s", SLICE_FMT(rq->path), hash);
    struct http_header room[2];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = 301;
    add(&head, "Location", where);
    http_simple_respond_head(rq, &head, SLICE_EMPTY);
}

static void handle_v2(struct api *api, struct http_simple_request *rq, struct strbuf *out)
{
    bool protobuf = header_has(rq, "accept", "proto-openapi.spec.v2");
    if (protobuf) {
        openapi_v2_protobuf(out);
    } else {
        openapi_v2(out);
    }
    respond_document(rq, protobuf ? V2_PROTOBUF : "application/json", hashes_of(api)->v2, false,
                     out);
}

static bool handle_v3(struct api *api, struct http_simple_request *rq, struct strbuf *out)
{
    const struct openapi_hashes *hashes = hashes_of(api);
    if (slice_eq_str(rq->path, "/openapi/v3") || slice_eq_str(rq->path, "/openapi/v3/")) {
        openapi_index(hashes, out);
        respond_text(rq, 200, out);
        return true;
    }
    const struct kind *head = openapi_find(rq->path);
    if (head == NULL) {
        return false;
    }
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 256);
    const char *asked = query_get(rq, "hash", &buf);
    const char *hash = hashes->of[head->id];
    if (asked[0] != '\0' && strcmp(asked, hash) != 0) {
        redirect(rq, hash);
        return true;
    }
    openapi_v3(head, out);
    respond_document(rq, "application/json", hash, asked[0] != '\0', out);
    return true;
}

bool documents_handle(struct api *api, struct http_simple_request *rq)
{
    if (!slice_eq_str(rq->method, "GET")) {
        return false;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, DOCUMENT_MAX);
    if (slice_eq_str(rq->path, "/version") || slice_eq_str(rq->path, "/version/")) {
        discovery_version(&out);
        respond_text(rq, 200, &out);
        return true;
    }
    if (slice_eq_str(rq->path, "/openapi/v2")) {
        handle_v2(api, rq, &out);
        return true;
    }
    return slice_starts_with(rq->path, SLICE_LIT("/openapi/v3")) && handle_v3(api, rq, &out);
}
