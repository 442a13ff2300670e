// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: the HTTP/2 codec, for both ends of a connection, over nghttp2.
 *
 *   h2_head.c      fields ↔ struct http_head; pure
 *   h2_session.c   one connection: bytes in, frames out, what a peer may do how often
 *   h2_server.c    exchanges on it (http/server.h)
 *   h2_pool.c      connections to one address
 *   h2_upstream.c  calls on them (http/upstream.h)
 *
 * A stream carries one message each way. Its owner (an exchange's or a call's side) is told what
 * arrives by struct h2_events, always from inside h2_session_feed or h2_session_pump: it may call
 * everything here but these two do nothing then until they return. What an owner tells its own
 * listener outside of incoming bytes waits in session->due.
 *
 * Bodies are copied into the stream's `out` and leave as flow control allows. What arrives is
 * acknowledged to the connection at once and to the stream when it was delivered, so that one
 * stream that is not read does not stop the others; what waits is at most one window per stream.
 */

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "loop/deadline.h"
#include "http/h1.h"
#include "http/shared.h"

#define H2_STREAMS_MAX      100           /* at once on a connection, either direction */
#define H2_CONN_WINDOW      (1024 * 1024) /* bytes of all streams on the way to us */
#define H2_NV_MAX           (HTTP_MAX_HEADERS + 32)
#define H2_PREFACE_METHOD   "PRI " /* how every connection begins; no other method may */
#define H2_CREDIT_MAX       1000   /* frames that cost us and move nothing: at once … */
#define H2_CREDIT_PER_S     100    /* … and per second; then ENHANCE_YOUR_CALM */
#define H2_BYTES_PER_CREDIT 2048   /* bodies that move pay for frames that go with them */

struct h2_session;

struct h2_stream {
    struct h2_session *session;
    struct list link; /* session->streams */
    struct list due;  /* session->due, when its owner has something to tell */
    int32_t id;
    void *owner;             /* the exchange or call; NULL when nobody listens any more */
    struct h1_message *head; /* what incoming fields go to, trailers too; the owner's, or `own` */
    struct h1_message own;
    struct h1_message *trailing; /* outgoing, owned; NULL without */
    struct strbuf out;
    size_t out_pos;
    struct deadline stall; /* server: it waits for the client */
    uint64_t stall_mark;   /* what had moved when that was set */
    uint64_t taken;        /* bytes of `out` that left */
    size_t unread;         /* bytes that came and were not acknowledged */
    int status;            /* its head cannot be taken: what to answer */
    const char *why;       /* and a sentence */
    bool has_data;         /* DATA follows our head */
    bool ended;            /* all of our side is in `out` */
    bool full;             /* a write said HTTP_FULL */
    bool writable;         /* and now there is room: the owner is to be told */
    bool broken;           /* we reset it */
    bool head_sent;
    bool sent;     /* our END_STREAM has left */
    bool got_head; /* the final head is complete */
    bool got_end;  /* their END_STREAM has come */
    bool closed;   /* nghttp2 has let it go */
    uint32_t code; /* why, when closed */
};

struct h2_events {
    /* Server: a new stream whose fields follow. NULL: not wanted. */
    struct h2_stream *(*on_begin)(struct h2_session *s, int32_t id);
    /* A head is complete, a client's interim ones too. end: nothing follows. */
    void (*on_head)(struct h2_stream *st, bool end);
    /* The owner acknowledges what it could deliver (h2_stream_took). */
    void (*on_body)(struct h2_stream *st, struct slice chunk);
    /* Their side is complete, trailers too (st->head->trailers). */
    void (*on_end)(struct h2_stream *st);
    /* Our END_STREAM is on its way to the kernel. */
    void (*on_sent)(struct h2_stream *st);
    /* nghttp2 knows the stream no more; st lives until h2_stream_free. */
    void (*on_closed)(struct h2_stream *st);
};

struct h2_session {
    nghttp2_session *ng;
    struct http_out out;
    const struct h2_events *events;
    const struct http_limits *limits;
    void *owner;
    struct loop *loop;
    struct list streams;
    struct list due;
    size_t n_streams;
    int64_t credit;
    uint64_t credit_ms;
    uint64_t moved; /* bytes of bodies that paid for nothing yet */
    bool server;
    bool busy;         /* inside nghttp2 */
    bool started;      /* a frame has come */
    bool reading_head; /* a block of fields has begun and not ended */
    bool goaway;       /* the peer takes no new streams */
    bool flooded;
    bool dead;         /* only to be closed */
    uint32_t head_raw; /* bytes since that block began */
};

/* stream must live as long; early as in struct http_out. Queues our SETTINGS. */
void h2_session_init(struct h2_session *s, bool server, struct http_shared *shared,
                     struct stream *stream, struct strbuf *early, const struct http_limits *limits,
                     const struct h2_events *events, void *owner);
/* Frees what is left of its streams, too: their owners must have been told. */
void h2_session_fini(struct h2_session *s);
/* Bytes from the peer. Afterwards look at dead; pump follows inside. */
void h2_session_feed(struct h2_session *s, const char *bytes, size_t n);
/* Sends what is due as far as the stream takes it. Nothing inside feed, which does it at its end.
 */
void h2_session_pump(struct h2_session *s);
/* Tells the peer to go away. */
void h2_session_goaway(struct h2_session *s, uint32_t code);
/* Whether there is nothing more to send or to wait for. */
bool h2_session_over(const struct h2_session *s);
/* Takes the next stream whose owner has something to tell off the list; NULL: none. */
struct h2_stream *h2_session_next_due(struct h2_session *s);

/* id 0: not known yet. Lives until h2_stream_free. */
struct h2_stream *h2_stream_new(struct h2_session *s, int32_t id);
void h2_stream_free(struct h2_stream *st);
void h2_stream_due(struct h2_stream *st);
/* Client: the request's head; the stream gets its id. ERR_TOO_BIG, ERR_CLOSED. */
MUST_CHECK int h2_stream_request(struct h2_stream *st, const struct http_head *head);
/* Server: an interim head; the answer's head. False: it cannot be sent, the stream is reset. */
bool h2_stream_inform(struct h2_stream *st, const struct http_head *head);
bool h2_stream_answer(struct h2_stream *st, const struct http_head *head, struct slice date);
/* Body bytes; not sent before h2_session_pump. */
enum http_flow h2_stream_write(struct h2_stream *st, struct slice chunk);
void h2_stream_trailers(struct h2_stream *st, const struct http_head *trailers);
void h2_stream_end(struct h2_stream *st);
void h2_stream_reset(struct h2_stream *st, uint32_t code);
/* All that was delivered so far is taken: the peer may send as much again. */
void h2_stream_took(struct h2_stream *st);

/* ---- h2_head.c ---- */

void h2_message_free(struct h1_message *m);
/*
 * One field, pseudo-fields too, into a message. 0, or the status to answer with (431, 414) and a
 * sentence.
 */
int h2_message_add(struct h1_message *m, struct slice name, struct slice value,
                   const struct http_limits *limits, const char **out_why);
/* Copies headers only, as far as they may be trailers. NULL when none is left or they are too many.
 */
struct h1_message *h2_message_of_trailers(const struct http_head *trailers);
/* The complete head of a request or answer. end: no body follows. 0 or a status. */
int h2_check_request(struct h1_message *m, bool end, const char **out_why);
int h2_check_response(struct h1_message *m, bool end, const char **out_why);

/* Room for the fields of a head with their numbers as text. */
struct h2_fields {
    nghttp2_nv nv[H2_NV_MAX];
    char status[12];
    char length[24];
    size_t n;
    bool failed;
};
/* Fill f (which need not be initialised). False: too many. Everything is borrowed. */
bool h2_fields_request(struct h2_fields *f, const struct http_head *head);
bool h2_fields_response(struct h2_fields *f, const struct http_head *head, struct slice date);
bool h2_fields_trailers(struct h2_fields *f, const struct http_head *head);
