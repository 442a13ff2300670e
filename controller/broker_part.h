// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the ingress of Brokers is, and whether it answers. On Kubernetes an option says where; on
 * one machine the supervisor writes it into a file, and starts lull-broker when we tell it (by the
 * readiness socket) that a Broker or a source wants it. Owns: what the file said last. May not:
 * talk to the API.
 */

#include "base/error.h"
#include "base/strbuf.h"

enum { BROKER_URL_MAX = 600, BROKER_STATE_MAX = 4096 };

struct broker_part {
    const char *url;             /* "": the file says it */
    const char *file;            /* "": none */
    char last[BROKER_STATE_MAX]; /* private: the file's text when it was read last */
};

struct broker_ingress {
    bool ready;
    char url[BROKER_URL_MAX]; /* "": not known */
    const char *reason;       /* not ready: a constant */
    char message[ERROR_MSG_MAX];
    uint64_t again_ms; /* not ready: ask again then; 0: no need */
};

/* What is known now; asks for the start of what is missing. */
void broker_part_ask(struct broker_part *part, struct broker_ingress *out);
/* Whether the file says something else than when it was read last. */
bool broker_part_changed(const struct broker_part *part);
