// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tells the autoscalers how many events wait for each Service: as soon as it changes, at most every
 * 250 ms, and once a second else. Owns a link to each autoscaler (serving/backlog_report.h has the
 * bytes). While Redis or the API is away nothing is told: silence means "not known", a number would
 * be a lie.
 *
 * What counts: the entries of a Trigger's stream, those that are being delivered among them; and
 * asynchronous calls that are due or being made.
 * Retries count once they are due, so that an event that waits for hours keeps nothing awake.
 */

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct worker;
struct backlog;

/* Without --autoscaler nothing is told, but Triggers are counted for capacity.h all the same. */
MUST_CHECK int backlog_start(struct worker *w, struct error *err);
/* Idempotent; the loop runs empty afterwards. Before the worker's client is closed. */
void backlog_close(struct worker *w);

/* So many more wait for this Service, or for TAG-NAME, which is told as what waits for the
 * Revisions that answer there. For the rows of `sources` in backlog.c, which are asked once in each
 * round; several may name the same Service. */
void backlog_add(struct backlog *b, struct slice ns, struct slice name, uint64_t waiting);

/* One autoscaler at least hears it. */
bool backlog_connected(const struct backlog *b);
/* Reports that were sent. */
uint64_t backlog_reports(const struct backlog *b);
