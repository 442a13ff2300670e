// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: the structs of the HTTP/1.1 server.
 *
 *   server.c    listeners, limits, drain, the objects that are finished between turns
 *   sconn.c     one connection: bytes in, deadlines, refusals, closing
 *   exchange.c  one request with its answer: what a handler calls
 *
 * A connection without a request has no exchange. An exchange is taken from the server's free list
 * at the first byte of a request and goes back when its answer is with the kernel.
 */

#include "loop/deadline.h"
#include "http/h1.h"
#include "http/server.h"
#include "http/shared.h"

/* Which of the server's deadline lists a connection waits on. */
enum sconn_wait {
    SCONN_WAIT_NONE,
    SCONN_WAIT_IDLE,
    SCONN_WAIT_HEAD,
    SCONN_WAIT_BODY,
    SCONN_WAIT_WRITE,
    SCONN_WAIT_LINGER,
    SCONN_WAIT_DRAIN,
    SCONN_WAIT_N
};

#define SCONN_LINGER_MS    2000         /* how long a refused client may go on sending */
#define SCONN_LINGER_BYTES (256 * 1024) /* and how much */
#define SCONN_DRAIN_MS     250          /* for a request that is under way when draining begins */

struct sconn {
    struct stream stream;
    struct http_server *server;
    struct list link; /* server->conns */
    struct deadline deadline;
    struct h1_parser parser;
    struct http_exchange *ex; /* NULL while idle */
    char *pending;            /* bytes behind the current request (pipelining); owned */
    size_t pending_len;
    size_t watched;       /* queued bytes when the write deadline was set */
    uint32_t requests;    /* begun on this connection */
    uint32_t lingered;    /* bytes thrown away while lingering */
    enum sconn_wait wait; /* where deadline is set */
    struct h2_sconn *h2;  /* NULL: HTTP/1.1 */
    uint8_t sniffed;      /* bytes of HTTP/2's preface that came alone */
    char peer[46];        /* address text, "" until asked for */
    bool in_feed;         /* inside sconn_input: finishing is done by its loop */
    bool tunnel;          /* raw bytes both ways */
    bool lingering;       /* answered and shut; reading to the client's end of file */
    bool closing;
    bool peer_ended; /* tunnel: the client's half is closed */
    bool aborted;    /* we broke it off */
};

struct http_exchange {
    struct list link; /* server->free, server->finished, or alone */
    struct h1_message msg;
    struct strbuf held;   /* body: kept from its start, or what waits for resume */
    struct sconn *conn;   /* from here on: cleared for each request */
    struct h2_stream *h2; /* NULL: HTTP/1.1 */
    const struct http_exchange_events *events;
    void *arg;
    const struct http_head *trailers; /* of the request; NULL without */
    struct http_out out;
    struct http_block *block; /* counted: where first lies; NULL without */
    struct slice first;       /* the first bytes of the body, delivered and kept where they were
                                 read; held has what follows them */
    size_t held_pos;          /* of held: delivered so far */
    uint64_t bytes_in;        /* body bytes arrived */
    uint64_t to_write;        /* answer bytes that its length still promises */
    uint64_t begun_ns;        /* when the head came; only for on_over */
    void *note;               /* the handler's */
    uint16_t status;          /* of the answer; 0: not begun */
    bool announced;           /* on_request was called */
    bool resumed;
    bool keep;     /* held is not let go when delivered */
    bool dropped;  /* the start of the body is no longer held */
    bool complete; /* the whole request has arrived */
    bool end_delivered;
    bool batch;      /* something was delivered since the last on_flush */
    bool keep_alive; /* the client allows another request */
    bool started;
    bool sized;   /* to_write counts */
    bool no_body; /* the answer carries none (HEAD, 204, 304) */
    bool ended;
    bool full;         /* a write said HTTP_FULL; on_writable is due */
    bool close_after;  /* Connection: close was said */
    bool until_close;  /* the answer's end is the connection's end */
    bool continue_due; /* 100 must be sent before a body comes */
};

struct server_listener {
    struct listener listener;
    struct http_server *server;
    struct list link;
    bool open;
};

struct http_server {
    struct loop *loop;
    struct http_shared *shared;
    struct http_server_options options;
    struct deadlines waits[SCONN_WAIT_N]; /* index 0 is not used */
    bool unlimited[SCONN_WAIT_N];
    struct deadlines stalls[2]; /* streams of HTTP/2: slow bodies, slow readers; only with h2c */
    struct list listeners;
    struct list conns;
    struct list free;     /* exchanges */
    struct list finished; /* exchanges whose on_close is due */
    struct loop_task task;
    size_t n_conns;
    size_t n_active;
    size_t n_free;
    size_t open_handles; /* listeners, waits and connections not yet closed */
    bool draining;
    bool closing;
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* server.c */
struct http_exchange *server_take_exchange(struct http_server *server, struct sconn *conn);
void server_give_exchange(struct http_server *server, struct http_exchange *ex);
/* The connection's stream is closed: unlink and free it. */
void server_conn_closed(struct sconn *conn);
void server_post(struct http_server *server);

/* sconn.c */
void sconn_open(struct http_server *server, struct listener *l);
/* The exchange's answer is complete, or something else changed: go on, wait or close. */
void sconn_settle(struct sconn *conn);
/* From the server's task: on_close, then the next request, idling or closing. */
void sconn_finish_later(struct sconn *conn);
void sconn_abort(struct sconn *conn);
void sconn_close(struct sconn *conn);
/* Our side is shut; what the client still says is thrown away for a while, then it closes. */
void sconn_linger(struct sconn *conn);
/* Reading is wanted or not, by the state of the exchange. */
void sconn_read(struct sconn *conn);
/* The deadline of what is waited for now; what was waited for before keeps the time it had, unless
 * it is a body and there was progress. */
void sconn_arm(struct sconn *conn, bool progress);
void sconn_disarm(struct sconn *conn);
void sconn_on_deadline(struct deadline *deadline, void *data);

/* exchange.c */
void exchange_got_body(struct http_exchange *ex, struct slice chunk);
/* The parser is at the end of the message. */
void exchange_got_end(struct http_exchange *ex);
void exchange_flush_batch(struct http_exchange *ex);
void exchange_drained(struct http_exchange *ex);
/* The first bytes of the body are not kept any longer. */
void exchange_let_go_first(struct http_exchange *ex);
