// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The autoscaler's end of the stat link: activators say HELLO, send STATS every second and POKE at
 * once, and hear NOTEs. Owns the link server. May not: decide.
 */

#include "autoscaler/engine.h"
#include "link/link.h"

struct stat_server {
    struct engine *engine;
    struct link_server *server;
    struct log_limit trouble;
    uint64_t refused; /* frames that were not understood */
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* secret may be empty for a unix socket. On failure stat_server_close is still fine. */
MUST_CHECK int stat_server_start(struct stat_server *s, struct loop *loop, struct engine *engine,
                                 struct slice address, struct slice secret, struct error *err);
/* Sends a NOTE to every activator that keeps up. */
void stat_server_note(struct stat_server *s, struct slice payload);
/* cb (may be NULL) when all links are closed. */
void stat_server_close(struct stat_server *s, void (*cb)(void *arg), void *arg);
