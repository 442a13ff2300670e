// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which part of a list a request asks for, and of which moment: limit, continue, resourceVersion,
 * resourceVersionMatch. A continue token names the version of the first page, so that all pages
 * show one state; version 0 in it means the state of now. Pure.
 */

#include "base/error.h"
#include "base/strbuf.h"
#include "local/api/route.h"

struct http_simple_request;

struct page {
    size_t limit;     /* 0: none */
    uint64_t version; /* which state; meaningful with `past` */
    bool past;        /* else the newest */
    bool after;       /* goes on behind this object: */
    char ns[ROUTE_NAME_MAX];
    char name[ROUTE_NAME_MAX];
};

/* now: the newest version. ERR_PROTOCOL, ERR_INVALID; ERR_TIMEOUT: a version that is not yet. */
MUST_CHECK int page_read(const struct http_simple_request *rq, uint64_t now, struct page *out,
                         struct error *err);
/* Appends the token that goes on behind an object. */
void page_append_token(uint64_t version, const char *ns, const char *name, struct strbuf *out);
