// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asks queue-proxies for their numbers, once a second, a sample of each revision's ready replicas:
 * traffic that did not come through an activator is seen only there. Owns the running requests.
 * What a replica says counts for the revision whose replica stands at that address, whatever name
 * is in it.
 */

#include "http/client.h"
#include "autoscaler/engine.h"
#include "autoscaler/sample.h"

#define SCRAPE_TIMEOUT_MS  3000u
#define SCRAPE_PERIOD_MS   1000u
#define SCRAPE_STANDBY_MS  8000u /* of a standby, while the activators see all traffic */
#define SCRAPE_RUNNING_MAX 512u  /* requests at once; other rounds wait for their turn */
#define SCRAPE_STARTS_MAX  64u   /* requests that one turn of the loop starts */

struct scraper {
    struct engine *engine;
    struct prng prng;
    struct list rounds;      /* running */
    struct list waiting;     /* rounds that have not begun */
    struct loop_task begins; /* begins some of those */
    unsigned running;
    uint64_t answered;
    uint64_t refused; /* answers that came and were not believed */
    uint64_t failed;
    uint64_t skipped; /* rounds that were due while the one before them ran or waited */
    bool closing;
};

void scraper_init(struct scraper *s, struct engine *engine);
/* The engine's tick: asks the revisions whose turn it is. */
void scraper_tick(struct scraper *s, unsigned slot);
/* Cancels what runs. */
void scraper_close(struct scraper *s);
