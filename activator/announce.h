// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Announcements of replicas (serving/announce.h has the bytes): takes them on the cluster-local
 * listener, asks back at the address that they came from, uses the replica at once, tells the other
 * shards, and believes the Pod watch as soon as that says something. Without the install secret, or
 * switched off, nothing is taken (404), and everything else works as ever.
 *
 * Owns the table of announced replicas, the questions under way and a timer that runs only while
 * something is to be confirmed. Knows of Pods and Revisions what the watch tells when asked.
 */

#include "loop/closer.h"
#include "loop/timer.h"
#include "http/server.h"
#include "activator/announced.h"
#include "activator/config.h"

struct announce_hooks {
    /* The UID of the Revision; NULL: not known. Borrowed. */
    const char *(*revision_uid)(void *arg, const char *ns, const char *revision);
    /* What the API says of the Pod of this name; false: nothing. */
    bool (*pod)(void *arg, const char *ns, const char *pod, struct announced_pod *out);
    /* It says that it runs; whether it is ready follows. */
    void (*started)(void *arg, const char *ns, const char *revision);
    /* A record of this Pod has begun or ceased to count: announce_address() tells. */
    void (*changed)(void *arg, const char *ns, const char *pod);
    void *arg;
};

struct announce {
    struct loop *loop; /* private, like the rest */
    struct announced_table table;
    struct announce_hooks hooks;
    struct strbuf secret;
    struct timer timer;
    struct list dials;
    unsigned n_dials;
    void (*relay)(void *arg, struct slice text); /* to all other shards; NULL: there are none */
    void *relay_arg;
    uint64_t counts[ANNOUNCED_N];
    bool on;
    bool closing;
    struct closer closer;
};

/* After an error announce_close is still due. hooks are copied; set relay afterwards. */
MUST_CHECK int announce_start(struct announce *a, struct loop *loop, const struct config *config,
                              const struct announce_hooks *hooks, struct error *err);
/* Whether the request is an announcement; it is then answered here. */
bool announce_takes(struct announce *a, struct http_exchange *ex);
/* Another shard of ours has proven this announcement. */
void announce_heard(struct announce *a, struct slice text);

/* The Pod has come, changed or gone (pod NULL). */
void announce_pod(struct announce *a, const char *uid, const struct announced_pod *pod);
/* Where the Pod with this UID can be reached, by its own word; NULL: it gave none that counts.
 * Borrowed until the next call. */
const char *announce_address(const struct announce *a, const char *uid);

/* Appends the counts of announcements by how they ended, for /metrics. */
void announce_write(const struct announce *a, struct strbuf *out);

void announce_close(struct announce *a, void (*cb)(void *arg), void *arg);
