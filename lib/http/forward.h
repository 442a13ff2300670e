// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The forwarder: one exchange (server side) onto one call (upstream side). Both proxies use it.
 * It copies heads without hop-by-hop headers, streams bodies both ways with back-pressure and
 * bounded buffers, sends head and first body bytes together, tunnels an accepted upgrade, and
 * closes the upstream when the client goes away. It sends no retries; it says where it failed.
 *
 * The struct is the caller's (embed it in the per-request object). While it runs it is the
 * exchange's listener. It ends exactly once: on_done, or http_forward_cancel.
 *
 *     result.answered false: nothing was sent to the client. The exchange is again the caller's,
 * paused, its body as far as possible unread (result.body_intact): listen to it again, then answer
 * it, hold it or forward it elsewhere. result.answered true:  the exchange is finished or broken
 * off; do not touch it.
 *
 * on_done comes when the upstream is done, which may be before the client has read the last bytes;
 * with hooks.outlive also long after the client has gone.
 */

#include "http/server.h"
#include "http/upstream.h"

struct http_forward;

enum http_outcome {
    HTTP_OUTCOME_OK,          /* the answer was relayed */
    HTTP_OUTCOME_CLIENT_GONE, /* answered is true: the exchange is closed or closing */
    HTTP_OUTCOME_TAKEN_BACK,  /* on_response said so; answered is false */
    HTTP_OUTCOME_FAILED,      /* upstream: see stage and err */
};

struct http_forward_result {
    enum http_outcome outcome;
    bool answered;         /* see above */
    bool body_intact;      /* not answered: the body can be sent again from its start */
    enum http_stage stage; /* of FAILED */
    struct error err;      /* of FAILED */
    int status;            /* of the answer, 0 when there was none */
    uint64_t bytes_in;     /* request body */
    uint64_t bytes_out;    /* answer body */
};

struct http_forward_hooks {
    /*
     * The request head as it will be sent: add, replace, remove (authority is Host). `in` is the
     * original. A negative code fails the start with it. May be NULL.
     */
    int (*on_request)(struct http_forward *f, const struct http_head *in, struct http_head *out,
                      void *arg);
    /*
     * The answer's head before anything is relayed; out as it will be sent. false: take the
     * exchange back, the upstream connection is closed. May be NULL.
     */
    bool (*on_response)(struct http_forward *f, const struct http_head *in, struct http_head *out,
                        void *arg);
    void (*on_done)(struct http_forward *f, const struct http_forward_result *result, void *arg);
    /*
     * Send a body that may be larger than hold_body_bytes only when the upstream has asked for it
     * (Expect: 100-continue on this hop): a refusal then finds it untouched, whatever its size.
     * Only for upstreams that are known to ask, as lull-queue-proxy does when it has a slot.
     */
    bool ask_first;
    /*
     * A call that may have reached the upstream goes on when its client goes away: the answer is
     * read and thrown away, a request that is not complete is cut, and on_done (CLIENT_GONE) comes
     * when the upstream has ended its answer or the connection. The owner sets a bound and calls
     * http_forward_cancel then. Without: the connection is closed at once.
     */
    bool outlive;
};

struct http_forward {
    struct http_exchange *exchange; /* private, like the rest */
    struct http_call call;
    const struct http_forward_hooks *hooks;
    void *arg;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int status;
    bool request_ended; /* the client's body is complete */
    bool asking;        /* the body waits for 100 Continue */
    bool answering;     /* the answer's head was passed on */
    bool tunnel;
    bool left; /* it goes on without its client */
    bool running;
};

/* ERR_…: nothing was started, the exchange is still the caller's. hooks is borrowed, best static.
 */
MUST_CHECK int http_forward_start(struct http_forward *f, struct http_exchange *ex,
                                  struct http_pool *pool, const struct http_forward_hooks *hooks,
                                  void *arg, struct error *err);
/*
 * Stops it without on_done (a deadline of the caller). Returns whether the answer had begun: the
 * exchange is then broken off, after `text` (may be empty) as last bytes where framing allows it.
 * Otherwise the exchange is again the caller's. Fine when it does not run (false).
 */
bool http_forward_cancel(struct http_forward *f, struct slice text);
/*
 * As cancel for the exchange, but with hooks.outlive the call goes on as if the client had gone,
 * and on_done follows (never inside this call). Without outlive, or when nothing has reached the
 * upstream, it is http_forward_cancel: http_forward_running tells.
 */
bool http_forward_leave(struct http_forward *f, struct slice text);
/* Whether it goes on without a client. */
bool http_forward_left(const struct http_forward *f);
bool http_forward_running(const struct http_forward *f);
