// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The template of a request log: the part of Go's template language that Knative's documented
 * templates use, compiled once. Pure.
 *
 *     {{.Request.Method}}  {{js .Request.RequestURI}}  {{.Request.RequestURI | js}}
 *     {{index .Request.Header "X-B3-Traceid"}}  {{.Request.Header.Get "X-Id"}}  and comments
 *     {{- and -}} take the white space beside them away.
 *
 * Fields: .Request.{Method RequestURI URL Host Proto ContentLength RemoteAddr UserAgent Referer},
 * .Response.{Code Size Latency}, .Revision.{Name Namespace Service Configuration PodName PodIP},
 * .TraceID. Every value is escaped as inside a JSON string, with or without js; js escapes < > & =
 * and ' as well. A line feed ends each entry.
 */

#include "base/strbuf.h"
#include "http/head.h"

/* What is logged when nothing else is wished for: Knative's default. */
extern const char log_template_default[];

struct log_template; /* compiled */

/* One request, borrowed. */
struct log_entry {
    const struct http_head *request;
    struct slice peer; /* the client's address */
    int status;        /* 0: no answer was begun */
    uint64_t bytes_out;
    uint64_t latency_ns;
    struct slice revision;
    struct slice namespace_name;
    struct slice service;
    struct slice configuration;
    struct slice pod;
    struct slice pod_ip;
};

/* ERR_INVALID names the action and the byte at which it begins. text is copied. */
MUST_CHECK int log_template_new(struct slice text, struct log_template **out, struct error *err);
void log_template_free(struct log_template *t);
/* Appends one line; strbuf_ok(out) tells whether it fitted. */
void log_template_write(const struct log_template *t, const struct log_entry *entry,
                        struct strbuf *out);
