// SPDX-License-Identifier: Apache-2.0
/* Plan: find the row of the path, let it write into a bounded buffer, send that. */
#include "http/admin.h"

#include "base/mem.h"

#define WHY_MAX 1024

static const char plain[] = "text/plain; charset=utf-8";

static int write_ready(const struct http_admin *a, const struct http_admin_page *page,
                       struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, WHY_MAX);
    bool ready = page->ready(a->arg, &why);
    strbuf_appendf(out, "%s\n", ready ? "ok" : why.ptr);
    return ready ? 200 : 503;
}

static int write_page(const struct http_admin *a, const struct http_admin_page *page,
                      const char **out_type, struct strbuf *out)
{
    struct error err;
    int rc = page->write(a->arg, out, &err);
    if (rc == 0 && !strbuf_ok(out)) {
        rc = error_set(&err, ERR_TOO_BIG, "the page would be larger than %zu bytes", out->max);
    }
    if (rc < 0) {
        strbuf_clear(out);
        strbuf_appendf(out, "%s\n", err.msg);
        return 500;
    }
    *out_type = page->type;
    return 200;
}

static int write_unknown(const struct http_admin *a, struct strbuf *out)
{
    strbuf_append_str(out, "no such page; there are /healthz");
    for (size_t i = 0; i < a->count; i++) {
        strbuf_appendf(out, "%s%s", i + 1 == a->count ? " and " : ", ", a->pages[i].path);
    }
    strbuf_append_char(out, '\n');
    return 404;
}

static const struct http_admin_page *find(const struct http_admin *a, struct slice path)
{
    for (size_t i = 0; i < a->count; i++) {
        if (slice_eq_str(path, a->pages[i].path)) {
            return &a->pages[i];
        }
    }
    return NULL;
}

int http_admin_page(const struct http_admin *a, struct slice path, const char **out_type,
                    struct strbuf *out)
{
    const struct http_admin_page *page = find(a, path);
    *out_type = plain;
    if (slice_eq_str(path, "/healthz")) {
        strbuf_append_str(out, "ok\n");
        return 200;
    }
    if (page == NULL || page->answer != NULL) {
        return write_unknown(a, out);
    }
    return page->ready != NULL ? write_ready(a, page, out) : write_page(a, page, out_type, out);
}

static void handle(struct http_simple_request *rq, void *arg)
{
    const struct http_admin *a = arg;
    const struct http_admin_page *page = find(a, rq->path);
    bool look = slice_eq_str(rq->method, "GET") || slice_eq_str(rq->method, "HEAD");
    bool changes = page != NULL && page->changes;
    if (changes ? !slice_eq_str(rq->method, "PUT") : !look) {
        http_simple_respondf(rq, 405, "only %s is served here\n", changes ? "PUT" : "GET");
        return;
    }
    if (page != NULL && page->answer != NULL) {
        page->answer(rq, a->arg);
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    const char *type;
    strbuf_init(&out, HTTP_ADMIN_PAGE_MAX);
    int status = http_admin_page(a, rq->path, &type, &out);
    http_simple_respond(rq, status, type, strbuf_slice(&out));
}

void http_admin_init(struct http_admin *a, const struct http_admin_page *pages, size_t count,
                     void *arg)
{
    *a = (struct http_admin){.pages = pages, .count = count, .arg = arg};
}

int http_admin_start(struct http_admin *a, struct loop *loop, const char *listen, struct error *err)
{
    struct http_simple_options options = http_simple_options_default(handle, a);
    options.limits.max_body_bytes = 1024;
    options.limits.out_burst_bytes = HTTP_ADMIN_PAGE_MAX;
    a->simple = http_simple_new(loop, &options);
    int rc = http_server_listen_list(http_simple_server(a->simple), listen, err);
    return rc < 0 ? error_prefix(err, rc, "admin port %s", listen) : 0;
}

void http_admin_drain(struct http_admin *a)
{
    http_server_drain(http_simple_server(a->simple), NULL, NULL);
}

void http_admin_close(struct http_admin *a, void (*cb)(void *arg), void *arg)
{
    if (a->simple == NULL) {
        REQUIRE(cb == NULL);
        return;
    }
    http_simple_close(a->simple, cb, arg);
    a->simple = NULL;
}
