// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Starting one lull-replica: everything that blocks, on a pool thread. Resolves the bundle, makes
 * the folders and volumes, finds a free port for the function, writes the specification, spawns the
 * process and connects to its control socket.
 */

#include <sys/types.h>

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "loop/work.h"
#include "local/agent/reference.h"
#include "local/agent/spare.h"

#define REPLICA_MARK "LULL_REPLICA" /* in the environment of every function: its replica's id */
#define LAUNCH_PORTS 4              /* candidates that one launch may try */

struct launch;
/* rc 0: `fd` is the connected control socket (the callee owns it). Otherwise
 * `reason` is Kubernetes' word for it and err the sentence. The launch is freed afterwards. */
typedef void (*launch_done_cb)(int rc, int fd, const char *reason, const struct error *err,
                               void *arg);

struct launch_options {
    struct loop *loop;
    const char *home; /* copied, as every text here */
    const char *libexec;
    const char *id;        /* replica id */
    struct spares *spares; /* outlives the launch */
    uint64_t log_max_bytes;
    int lifeline_fd;                /* -1: none */
    unsigned first_port;            /* LAUNCH_PORTS candidates from here */
    uid_t uid;                      /* 0: our own user */
    const json_t *pod;              /* read inside the call only */
    struct reference_source source; /* for its environment and volumes; inside the call only */
    bool sweep; /* an earlier process of this replica was killed: end what it left first */
};

/*
 * An error: the Pod's spec cannot be run (which field, why), or names a ConfigMap or Secret that is
 * not there.
 */
MUST_CHECK int launch_start(const struct launch_options *options, launch_done_cb cb, void *arg,
                            struct error *err);

/* Connects to the control socket of a replica that should be running. -1: nothing listens there. */
int launch_connect(const char *home, const char *id);

/* The port of a replica's function, from its specification; 0: not known. Blocking. */
unsigned launch_port(const char *home, const char *id);
