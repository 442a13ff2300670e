// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A scripted HTTP server on the test's own loop, for the faults of an API server: 409, 410, cut
 * watches, silence. It answers request n with step n, whatever connection it comes on, and records
 * what was asked.
 *
 *     static const struct fake_step steps[] = {{"GET /api/v1/pods", 200, "{…}"},
 *                                              {"GET /api/v1/pods?watch", 200, .stream = true}};
 *     fake_api_start(&api, &loop, steps, 2);   … api.url …
 *     fake_api_send(&api, "{…}\n");            on the stream that is open
 *     fake_api_close(&api);                    then run the loop until it is empty
 */

#include "loop/loop.h"

enum { FAKE_REQUESTS_MAX = 64, FAKE_CONNS_MAX = 64 };

struct fake_step {
    const char *want; /* the request line must begin so; NULL: any */
    int status;       /* 0: close the connection instead of answering */
    const char *body;
    bool stream;      /* chunked, stays open: fake_api_send, fake_api_cut */
    bool hang;        /* never answer */
    bool close_after; /* close the connection after the answer (not announced) */
    const char *head; /* more header lines of an answer with a body, each with its CRLF */
};

struct fake_conn;

struct fake_api {
    struct loop *loop;
    uv_tcp_t listener;
    char url[64];
    const struct fake_step *steps;
    size_t n_steps;
    size_t n_requests;
    char lines[FAKE_REQUESTS_MAX][512]; /* "GET /path" of each request */
    char *bodies[FAKE_REQUESTS_MAX];    /* owned */
    char *heads[FAKE_REQUESTS_MAX];     /* owned: the header lines */
    bool unexpected;                    /* a request did not fit its step */
    struct fake_conn *conns[FAKE_CONNS_MAX];
    struct fake_conn *stream; /* the last one that a stream step opened */
    size_t n_accepted;
};

void fake_api_start(struct fake_api *api, struct loop *loop, const struct fake_step *steps,
                    size_t n_steps);
/* Text on the open stream (as one chunk). */
void fake_api_send(struct fake_api *api, const char *text);
/* Ends the open stream in order. */
void fake_api_end(struct fake_api *api);
/* Cuts the open stream off. */
void fake_api_cut(struct fake_api *api);
/* Stops listening and cuts all connections; call once, before the loop is finished. */
void fake_api_close(struct fake_api *api);
/* After the loop is empty. */
void fake_api_free(struct fake_api *api);

/* Turns the loop until cond holds; fails the test after 10 s. */
#define RUN_UNTIL(loop, cond)                                    \
    do {                                                         \
        uint64_t until_ = uv_hrtime() + 10000000000ull;          \
        uv_timer_t *tick_ = fake_tick_start(loop);               \
        while (!(cond) && uv_hrtime() < until_) {                \
            loop_turn(loop, true);                               \
        }                                                        \
        fake_tick_stop(tick_);                                   \
        if (!(cond)) {                                           \
            fail_msg("%s did not come true within 10 s", #cond); \
        }                                                        \
    } while (0)

/* For RUN_UNTIL: a timer that keeps the loop turning. */
uv_timer_t *fake_tick_start(struct loop *loop);
void fake_tick_stop(uv_timer_t *tick);
