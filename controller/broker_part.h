// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the ingress of Brokers is, and whether it answers. On Kubernetes an option says where, and
 * the Deployment of lull-broker whether anybody is there; on one machine the supervisor writes both
 * into a file, and starts lull-broker when we tell it (by the readiness socket) that a Broker or a
 * source wants it. Short absences are not told (broker_sight.h). Owns: what the file said last. May
 * not: talk to the API.
 */

#include "base/error.h"
#include "base/strbuf.h"
#include "controller/broker_sight.h"

enum { BROKER_URL_MAX = 600, BROKER_STATE_MAX = 4096 };

struct broker_part {
    const char *url;  /* "": the file says it */
    const char *file; /* "": none */
    /* With url: what is seen of lull-broker now. NULL: it is taken to be there. */
    void (*see)(void *arg, struct broker_seen *out);
    void *arg;
    char last[BROKER_STATE_MAX]; /* private: the file's text when it was read last */
    struct broker_sight sight;   /* private */
    bool news;                   /* private: not everybody was told yet */
};

struct broker_ingress {
    bool ready;
    bool unknown;             /* not even that: say nothing yet */
    char url[BROKER_URL_MAX]; /* "": not known */
    const char *reason;       /* not ready: a constant */
    char message[ERROR_MSG_MAX];
    uint64_t again_ms; /* not ready: ask again then; 0: no need */
};

#define BROKER_IS_STARTING   "BrokerStarting"
#define BROKER_NOT_AVAILABLE "BrokerNotAvailable"

/* What is to be told now; asks for the start of what is missing. */
void broker_part_ask(struct broker_part *part, uint64_t now_ms, struct broker_ingress *out);
/* Looks; whether all are to ask again. Every few seconds, and when `see` would say something new.
 */
bool broker_part_changed(struct broker_part *part, uint64_t now_ms);
/* Nobody has been looking for a while: the next question begins anew. */
void broker_part_forget(struct broker_part *part);
