// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: the HTTP/1.1 codec. The read side is llhttp with every lenient flag off plus
 * the checks that it leaves to us; the write side turns a struct http_head into bytes. No I/O here.
 *
 * One parser serves one direction of one connection. Its heads are gathered in a struct h1_message
 * that the caller lends for the time of one message, so that a head may straddle reads without
 * being parsed twice, and an idle connection needs none.
 */

#include <llhttp.h>

#include "base/strbuf.h"
#include "http/head.h"
#include "http/limits.h"

/* Memory of one head. Reused from message to message; h1_message_trim gives large ones back. */
struct h1_message {
    struct http_head head;
    char *text; /* owned: target, names and values */
    size_t len;
    size_t cap;
    struct http_header *headers; /* owned */
    struct h1_message *trailers; /* owned: only its headers count; NULL without any */
};

void h1_message_init(struct h1_message *m);
void h1_message_fini(struct h1_message *m);
/* Empty again; memory over a small size is freed. */
void h1_message_reset(struct h1_message *m);

struct h1_parser;

/* What on_head answers. */
enum h1_go {
    H1_GO,      /* body, if any, follows */
    H1_NO_BODY, /* answer to HEAD: whatever its head says, no body follows */
    H1_TUNNEL,  /* what follows is not HTTP: the message ends here */
    H1_STOP,    /* the owner does not want to go on: h1_feed returns H1_STOPPED */
};

struct h1_events {
    enum h1_go (*on_head)(struct h1_parser *p, void *owner);
    /* false: stop */
    bool (*on_body)(struct h1_parser *p, struct slice chunk, void *owner);
};

enum h1_result {
    H1_MORE,    /* all consumed, the message is not complete (or none has begun) */
    H1_DONE,    /* one message complete; the rest of the bytes is not touched */
    H1_STOPPED, /* on_head or on_body said so */
    H1_BAD,     /* p->bad_status and p->bad_text say why; the parser is unusable */
};

struct h1_parser {
    llhttp_t ll;
    struct h1_message *msg; /* borrowed; must be set before bytes of a message are fed */
    const struct http_limits *limits;
    const struct h1_events *events;
    void *owner;
    int64_t overhead;     /* private: bytes of this message around its body */
    const char *bad_text; /* static */
    uint32_t fed;         /* private: bytes fed so far, modulo 2^32 */
    uint32_t shift;       /* private: an address minus it is a place in what was fed */
    uint32_t word_end;    /* private: where the last word of the request line ended */
    uint32_t name_at;     /* private: where the header being read starts in msg->text */
    uint32_t name_len;    /* private */
    uint32_t value_len;   /* private */
    uint16_t trailers;    /* private */
    uint16_t bad_status;
    bool started;    /* a message has begun and is not complete */
    bool head_done;  /* its head is complete */
    bool keep_alive; /* after H1_DONE: the connection may carry another one */
    bool tunnel;     /* after H1_DONE: on_head said H1_TUNNEL */
    bool is_head;    /* a HEAD request is being read: its answer has no body, also when refused */
    bool stopped;    /* private */
    bool extension;  /* private: the name or value of a chunk's extension has a byte */
    bool quoted;     /* private: that value is a quoted string */
    bool half_line;  /* private: a CR before the message, or in its status line, waits for its LF */
    bool line_done;  /* private: the status line is complete */
};

void h1_parser_init(struct h1_parser *p, enum llhttp_type type, const struct http_limits *limits,
                    const struct h1_events *events, void *owner);
/* Consumes what it can; *out_used says how much. */
enum h1_result h1_feed(struct h1_parser *p, const char *bytes, size_t len, size_t *out_used);
/* In on_head and later: whether the peer wants the connection to go on. Who says both, to close and
   to keep it alive, wants it closed, which llhttp does not see in HTTP/1.0. */
bool h1_keeps_alive(const struct h1_parser *p);
/* The peer sent its last byte: H1_DONE when that ends the message rightly, H1_MORE when idle. */
enum h1_result h1_finish(struct h1_parser *p);

/*
 * Checks of a complete request head beyond the grammar, and its target turned into origin form.
 * 0, or the status to answer with and *out_text saying why. Pure.
 */
int h1_check_request(struct h1_message *m, const char **out_text);
/* The same for an answer's head. 0 or 502. */
int h1_check_response(const struct h1_message *m, const char **out_text);
/* Whether a Host value is one host with an optional port. */
bool h1_host_valid(struct slice host);

/* How the connection goes on after this message, for the write side. */
enum h1_connection {
    H1_KEEP,       /* nothing said (HTTP/1.1) */
    H1_KEEP_SAY,   /* Connection: keep-alive, for HTTP/1.0 peers */
    H1_CLOSE,      /* Connection: close */
    H1_UPGRADE,    /* Connection: upgrade, Upgrade: head->upgrade */
    H1_SAY_NOTHING /* no Connection header whatever */
};

/* Append a head. chunked: Transfer-Encoding instead of a length. false: out is at its maximum. */
bool h1_write_request(struct strbuf *out, const struct http_head *head, enum h1_connection conn);
/* date: the value of Date, empty to add none. */
bool h1_write_response(struct strbuf *out, const struct http_head *head, enum h1_connection conn,
                       bool chunked, struct slice date);
/* The fields of a trailer section, without the line that ends it. */
bool h1_write_trailers(struct strbuf *out, const struct http_head *trailers);
/* "1a\r\n" into buf (H1_CHUNK_HEAD_MAX); returns its length. */
#define H1_CHUNK_HEAD_MAX 20
size_t h1_chunk_head(char *buf, size_t len);
