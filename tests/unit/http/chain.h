// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One request through everything that lib/http has, on one loop: a raw client stream, a server that
 * forwards, a pool, a second server that echoes the body. For tests that break it at every step.
 * With `hold` a request waits, unread beyond what is kept of it, until chain_release.
 */

#include "base/strbuf.h"
#include "http/forward.h"

struct forwarded;

struct chain {
    struct loop *loop;
    struct http_server *front;
    struct http_server *back;
    struct http_pool *pool;
    struct stream client;
    struct strbuf answer; /* raw bytes that the client got */
    struct strbuf request;
    char buf[16384];
    unsigned open;          /* parts not yet closed */
    unsigned forwards;      /* started */
    unsigned dones;         /* on_done came */
    unsigned requests;      /* seen by the back server */
    unsigned closes;        /* on_close of front exchanges that had a listener of ours */
    struct forwarded *held; /* the request that waits */
    unsigned held_turns;    /* chain_release was asked for it so often */
    bool hold;              /* set it after chain_start */
    bool draining;
    bool drained;
    bool client_open;
    bool client_done; /* end of file or error */
    bool closing;
    bool started;
};

/* request: raw bytes that the client sends when connected. false: something failed at once. */
bool chain_start(struct chain *c, struct loop *loop, struct slice request);
/* Lets a held request go on, the third time that it is asked. */
void chain_release(struct chain *c);
/* The front takes nothing new. Idempotent. */
void chain_drain(struct chain *c);
/* Idempotent. Then run the loop until chain_closed. */
void chain_close(struct chain *c);
bool chain_closed(const struct chain *c);
void chain_fini(struct chain *c);
