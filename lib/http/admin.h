// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port of a part: a table of pages over http/simple.h. It answers GET and HEAD, and PUT
 * for the pages that change something; bounds every page, serves /healthz by itself, and an unknown
 * path with the list of what there is. Owns its listeners. May not: change anything by itself.
 *
 *     static bool ready(void *arg, struct strbuf *why) { … }
 *     static int metrics(void *arg, struct strbuf *out, struct error *err) { … }
 *     static const struct http_admin_page pages[] = {
 *         {.path = "/readyz", .ready = ready},
 *         {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
 *         {.path = "/debug/x", .answer = answer_x}};
 *     http_admin_init(&admin, pages, ARRAY_LEN(pages), part);
 *     http_admin_start(&admin, loop, "127.0.0.1:9090", &err);
 */

#include "http/simple.h"

/* One of the three callbacks is set. */
struct http_admin_page {
    const char *path;
    /* 200 "ok", or 503 with the sentence that it wrote into `why`. */
    bool (*ready)(void *arg, struct strbuf *why);
    /* Writes the whole page; on an error its message is answered with 500. */
    int (*write)(void *arg, struct strbuf *out, struct error *err);
    const char *type;      /* of what `write` makes */
    http_simple_cb answer; /* answers by itself */
    bool changes;          /* only PUT is answered: nothing changes because somebody looks */
};

struct http_admin {
    struct http_simple *simple; /* private, like the rest; NULL: not started */
    const struct http_admin_page *pages;
    size_t count;
    void *arg;
};

/* Most bytes of a page. */
#define HTTP_ADMIN_PAGE_MAX (16u << 20)

/* pages is borrowed; arg goes to the callbacks. */
void http_admin_init(struct http_admin *a, const struct http_admin_page *pages, size_t count,
                     void *arg);
/* Listens on each of a comma-separated list of addresses. After an error close is still due. */
MUST_CHECK int http_admin_start(struct http_admin *a, struct loop *loop, const char *listen,
                                struct error *err);
/*
 * The page at this path as the port would answer it, for one that has no port; needs init only.
 * Appends to out, whose maximum bounds it; *out_type is static. Returns the HTTP status. Pages that
 * answer by themselves are not found here.
 */
int http_admin_page(const struct http_admin *a, struct slice path, const char **out_type,
                    struct strbuf *out);
/* Stops listening; what is being answered goes on until the close. */
void http_admin_drain(struct http_admin *a);
/* cb (may be NULL) comes later. One that is not started: nothing happens, cb must be NULL. */
void http_admin_close(struct http_admin *a, void (*cb)(void *arg), void *arg);
