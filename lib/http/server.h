// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HTTP server: listeners, connections, and exchanges. An exchange is one request with its answer;
 * a connection may carry many, one after the other (HTTP/1.1, pipelined too) or at once (HTTP/2).
 *
 * The server calls on_request when a head is complete. The handler says who listens
 * (http_exchange_listen) and answers now or later. The body is not delivered until
 * http_exchange_resume(): until then up to hold_body_bytes of it are kept, then the connection is
 * not read further. So a request can be held, moved or refused before its body is touched.
 *
 *     static void on_request(struct http_exchange *ex, void *arg)
 *     {
 *         http_exchange_respond(ex, 200, "text/plain", SLICE_LIT("hello\n"));
 *     }
 *
 * Lifetime: the exchange belongs to the server. It lives until its on_close, which comes exactly
 * once, as the last callback, for every exchange that has a listener: after the answer was handed
 * to the kernel, or when the client has gone, or after http_exchange_abort. Nothing may touch it
 * afterwards. on_close never runs inside a call that the handler makes; it runs after the callback
 * in which that call was made, or from the loop.
 *
 * What the server answers by itself (and then closes where framing is in doubt): 400 bad message,
 * missing or double Host, 405 CONNECT, 408 slow, 413 body over the limit, 414, 417 unknown Expect,
 * 431, 501 unknown transfer coding, 503 too many connections, 505. Such a request never reaches
 * on_request (413 and 408 in the middle of a body: the exchange is aborted, or answered if nothing
 * was sent).
 */

#include "loop/listener.h"
#include "http/head.h"
#include "http/limits.h"

struct http_server;
struct http_exchange;

/* What a write answers: go on, or wait for on_writable (the bytes were taken all the same). */
enum http_flow { HTTP_GO = 0, HTTP_FULL = 1 };

enum http_close {
    HTTP_CLOSE_DONE,    /* the whole answer was handed over */
    HTTP_CLOSE_GONE,    /* the client went away first */
    HTTP_CLOSE_ABORTED, /* we broke it off: http_exchange_abort, a timeout, server closing */
};

struct http_exchange_events {
    /* A piece of the body; borrowed until return. Only between resume and pause. */
    void (*on_body)(struct http_exchange *ex, struct slice chunk, void *arg);
    /* The request is complete and delivered, its trailers too (http_exchange_request_trailers).
       Only after resume, also when there is no body. May be NULL. */
    void (*on_end)(struct http_exchange *ex, void *arg);
    /* No more callbacks from what was read just now: a good moment to send. May be NULL. */
    void (*on_flush)(struct http_exchange *ex, void *arg);
    /* After HTTP_FULL: there is room again. May be NULL. */
    void (*on_writable)(struct http_exchange *ex, void *arg);
    /* Last callback. May be NULL. */
    void (*on_close)(struct http_exchange *ex, enum http_close how, void *arg);
};

struct http_server_options {
    struct http_limits limits;
    bool h2c; /* clients may begin with HTTP/2's preface ("prior knowledge"); else 505 */
    void (*on_request)(struct http_exchange *ex, void *arg);
    /*
     * After an exchange's last callback, when its head can still be read; whoever listened to it.
     * For a request log; NULL: none. May do nothing with the exchange but read it.
     */
    void (*on_over)(struct http_exchange *ex, void *arg);
    void *arg;
};

/* ---- server ---- */

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options);
/*
 * Listens on an address (loop/addr.h). May be called for several. opt may be NULL; its `secure`
 * puts TLS in, its `inherited` takes a bound socket over (addr is then ignored and may be NULL).
 */
MUST_CHECK int http_server_listen(struct http_server *server, const struct addr *addr,
                                  const struct listen_options *opt, struct error *err);
/*
 * The same from text: "IP:PORT" (port 0: any free one), "[IPv6]:PORT", "unix:/path" (mode 0600), or
 * ":PORT" for every address of the machine, IPv6 and IPv4.
 */
MUST_CHECK int http_server_listen_text(struct http_server *server, const char *addr,
                                       const struct listen_options *opt, struct error *err);
/* Listens on each of a comma-separated list of addresses; stops at the first that fails. */
MUST_CHECK int http_server_listen_list(struct http_server *server, const char *list,
                                       struct error *err);
/* The port of the first TCP listener, 0 without one. */
uint16_t http_server_port(const struct http_server *server);

/* Connections now, and exchanges not yet closed. */
size_t http_server_connections(const struct http_server *server);
size_t http_server_active(const struct http_server *server);

/*
 * Drain: takes in what waits at the listeners and closes them; running exchanges go on, with
 * Connection: close on their answers, and so does a request that was on its way (idle connections
 * are closed a quarter of a second later). on_drained (once, from the loop) when no connection is
 * left.
 */
void http_server_drain(struct http_server *server, void (*on_drained)(void *arg), void *arg);
/* Asks clients that speak HTTP/2 to begin nothing more on their connections; new ones are taken. */
void http_server_goaway(struct http_server *server);
/* Stops listening only; connections go on as before. */
void http_server_stop_listening(struct http_server *server);
/* Aborts everything and frees the server; cb (may be NULL) when the last handle is closed. */
void http_server_close(struct http_server *server, void (*cb)(void *arg), void *arg);

/* ---- exchange: request ---- */

/* The request head; valid as long as the exchange. */
const struct http_head *http_exchange_request(const struct http_exchange *ex);
/* "10.0.0.1" or "unix"; the address text without port. */
struct slice http_exchange_peer(const struct http_exchange *ex);
/* Whether the connection is TLS. */
bool http_exchange_is_tls(const struct http_exchange *ex);
/* Who gets the callbacks; replaces the one before. events is borrowed, best static. */
void http_exchange_listen(struct http_exchange *ex, const struct http_exchange_events *events,
                          void *arg);
/* The arg of the listener. */
void *http_exchange_arg(const struct http_exchange *ex);

/*
 * Deliver the body / stop delivering it (back-pressure: what has come is kept, then the connection
 * is not read). resume delivers what was kept before it returns: on_body, on_end, on_flush.
 */
void http_exchange_resume(struct http_exchange *ex);
void http_exchange_pause(struct http_exchange *ex);
/* The fields behind the request's body, from on_end on; NULL without. Valid as the head is. */
const struct http_head *http_exchange_request_trailers(const struct http_exchange *ex);
/* Whether the whole request, body included, has arrived here (delivered or held). */
bool http_exchange_request_complete(const struct http_exchange *ex);
/*
 * Keep what is delivered, up to hold_body_bytes, so that it can be delivered again. rewind pauses
 * the exchange with its body as if never read: 0, or ERR_TOO_BIG when more has passed than was
 * kept. on_end comes again too. keep(false) lets the copy go.
 */
void http_exchange_keep(struct http_exchange *ex, bool on);
/* How much is kept at most: the limits' hold_body_bytes. */
size_t http_exchange_hold(const struct http_exchange *ex);
MUST_CHECK int http_exchange_rewind(struct http_exchange *ex);

/* ---- exchange: answer ---- */

/*
 * The whole answer at once. content_type may be NULL. Bytes are copied. Allowed as long as nothing
 * was sent; also before the request body was read (it is then read away, or the connection closed).
 */
void http_exchange_respond(struct http_exchange *ex, int status, const char *content_type,
                           struct slice body);
/* The same with more headers: head->status, headers, and body as HTTP_BODY_LENGTH are set here. */
void http_exchange_respond_head(struct http_exchange *ex, const struct http_head *head,
                                struct slice body);
/*
 * Or in pieces: start (head->body says whether a length is known; STREAM becomes chunked, or close
 * for HTTP/1.0), then write, then end. Nothing leaves before the first write, end or flush, so that
 * head and first bytes go in one send. Bytes are copied as far as the kernel does not take them.
 * Date, Connection and framing headers are added here. A 101 head makes the rest raw both ways.
 */
enum http_flow http_exchange_start(struct http_exchange *ex, const struct http_head *head);
/* A 1xx head (not 101) before the answer; goes out at once, and not at all to an HTTP/1.0 client.
 */
void http_exchange_inform(struct http_exchange *ex, const struct http_head *head);
enum http_flow http_exchange_write(struct http_exchange *ex, struct slice chunk);
void http_exchange_end(struct http_exchange *ex);
/*
 * Fields behind the answer's body, after its last write and before end; copied. Only headers count
 * in this head. Dropped where the client's protocol or the answer's framing has no place for them.
 */
void http_exchange_trailers(struct http_exchange *ex, const struct http_head *trailers);
/* Between cork and uncork writes are gathered (large ones go out all the same). */
void http_exchange_cork(struct http_exchange *ex);
void http_exchange_uncork(struct http_exchange *ex);
/* Send what was gathered. */
enum http_flow http_exchange_flush(struct http_exchange *ex);
/* Whether an answer was started (1xx does not count). */
bool http_exchange_started(const struct http_exchange *ex);
/*
 * Ends a started answer before its time: `text` (may be empty) becomes its last bytes and it ends
 * properly where its length was not given; else it is broken off. The connection is closed.
 */
void http_exchange_cut(struct http_exchange *ex, struct slice text);
/* Break it off: the client sees a truncated answer, or none. on_close follows. */
void http_exchange_abort(struct http_exchange *ex);
/* Status of the answer that was begun, 0: none. When the head came; only known with on_over. */
int http_exchange_status(const struct http_exchange *ex);
uint64_t http_exchange_begun_ns(const struct http_exchange *ex);
/* A word of the handler's for its on_over; the handler owns it. NULL at first. */
void http_exchange_set_note(struct http_exchange *ex, void *note);
void *http_exchange_note(const struct http_exchange *ex);
/* Bytes of body that came in and of answer body that went out. */
uint64_t http_exchange_bytes_in(const struct http_exchange *ex);
uint64_t http_exchange_bytes_out(const struct http_exchange *ex);
