// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who leads, by a Lease of the API (coordination.k8s.io/v1): the decision table. Pure: it is told
 * what was seen and what the time is, and says what to do. kube/elector.h does it.
 *
 * Clocks of other machines count for nothing: somebody else's lease has run out when nothing about
 * it has changed here for as long as it lasts. Our own ends earlier than that, counted from the
 * moment at which its last renewal was sent.
 */

#include "base/error.h"

enum { LEASE_HOLDER_MAX = 256 };

struct lease_settings {
    uint64_t duration_ms; /* others wait for so long */
    uint64_t deadline_ms; /* we stop leading after so long without a renewal; below duration_ms */
    uint64_t retry_ms;    /* between renewals, and between attempts */
};
/* A duration, and the other two in proportion: two thirds, a quarter. */
struct lease_settings lease_settings_of(uint64_t duration_ms);

/* The Lease as it was read. */
struct lease_record {
    const char *holder;  /* "": nobody */
    const char *version; /* its resourceVersion */
    uint64_t duration_ms;
};

struct lease {
    struct lease_settings settings;
    char identity[LEASE_HOLDER_MAX];
    /* private: what was seen last */
    bool known; /* it was looked for */
    bool exists;
    char holder[LEASE_HOLDER_MAX];
    char version[64];
    uint64_t their_duration_ms;
    uint64_t seen_ms; /* when it changed */
    /* private: our own */
    bool leading;
    bool writing;
    bool own; /* version is of our own last write: the watch may still tell of earlier ones */
    uint64_t began_ms;   /* of the last attempt */
    bool attempted;      /* began_ms counts */
    uint64_t renewed_ms; /* began_ms of the last one that succeeded */
};

enum lease_action {
    LEASE_REST,   /* nothing before *out_wait_ms is over */
    LEASE_CREATE, /* write a new one, with us as holder */
    LEASE_WRITE,  /* take or renew the one of lease->version */
    LEASE_LOST,   /* stop leading, now: lease_drop, then ask again */
};

/* identity: unlike any other's; what is too long is cut. */
void lease_init(struct lease *lease, const struct lease_settings *settings, const char *identity);
/* record NULL: there is none. After a write that failed, say again what is known. */
void lease_saw(struct lease *lease, const struct lease_record *record, uint64_t now_ms);
enum lease_action lease_next(const struct lease *lease, uint64_t now_ms, uint64_t *out_wait_ms);
/* What lease_next asked for was sent. */
void lease_sent(struct lease *lease, uint64_t now_ms);
/* It was answered; version: of the Lease as written, NULL when it failed. */
void lease_answered(struct lease *lease, const char *version);
/* We do not lead any more. */
void lease_drop(struct lease *lease);
