// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller: watches the API, runs the reconcilers, writes what they plan. Its only memory is
 * the caches; killed at any moment it goes on from what the API says. Owns: the API client, the
 * caches, the queue, the admin port, signals and lifeline.
 */

#include "base/log.h"
#include "loop/lifeline.h"
#include "loop/signals.h"
#include "loop/timer.h"
#include "http/admin.h"
#include "kube/elector.h"
#include "controller/broker_part.h"
#include "controller/broker_watch.h"
#include "controller/config.h"
#include "controller/expect.h"
#include "controller/objects.h"
#include "controller/resolver.h"
#include "controller/settings.h"
#include "controller/tls_secrets.h"
#include "controller/webhook.h"
#include "controller/work_queue.h"

struct controller_counters {
    uint64_t runs;      /* reconciliations */
    uint64_t writes;    /* operations that the API took */
    uint64_t conflicts; /* refused because the object had changed */
    uint64_t failures;  /* failed otherwise */
};

struct controller {
    struct loop *loop;
    const struct controller_config *config;
    struct kube_client *client;
    struct objects objects;
    struct settings settings;
    struct work_queue *queue;
    struct expectations expectations;
    struct http_admin admin;
    struct signals signals;
    struct lifeline lifeline;
    struct controller_counters counters;
    struct timer link;         /* looks after the link to the API, for the log, and after memory */
    uint64_t trimmed_at_run;   /* when free memory was given back last */
    struct webhook webhook;    /* only with an address to listen at */
    struct resolver *resolver; /* NULL: images stay as they are (one machine) */
    struct tls_secrets *tls_secrets;   /* NULL: the ingress does not speak TLS */
    struct broker_part broker;         /* where events go in */
    struct broker_watch *broker_watch; /* NULL: nobody is to look whether it is there */
    struct elector *elector;           /* NULL: no lease, we lead */
    struct timer drain;                /* after SIGTERM, until the webhook may go */
    uint64_t away_since_ms; /* since when no write was answered, if one was not; else 0 */
    bool link_lost;
    bool gateway_lost; /* the log has said that its kind cannot be watched */
    bool link_started;
    bool draining;
    struct log_limit complaints;
    bool objects_started;
    bool signals_started;
    bool lifeline_started;
    bool stopping;
};

/* config lives as long as the controller. On failure controller_stop frees what was started. */
MUST_CHECK int controller_start(struct controller *c, struct loop *loop,
                                const struct controller_config *config, struct error *err);
/* Ends the runs under way, then everything; the loop is empty afterwards. Idempotent. */
void controller_stop(struct controller *c);
