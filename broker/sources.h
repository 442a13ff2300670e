// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The sources that this worker runs: PingSources, WebhookSources, RedisSources and FileSources, as
 * the API has them. Owns: their watches and what runs for each. May not: resolve a sink (the
 * controller does).
 */

#include "broker/model.h"

struct sources;

/* After an error close is due all the same. */
MUST_CHECK int sources_start(struct worker *w, void (*on_list)(void *arg), void *arg,
                             struct error *err);
/* All lists are in. */
bool sources_synced(const struct sources *s);
/* Why not; "": nothing to say. */
const char *sources_trouble(const struct sources *s);
/* Nothing is begun any more. */
void sources_close(struct sources *s);
/* Frees what is left, when the connection to Redis is closed. NULL is fine. */
void sources_free(struct sources *s);

/* As often as the worker ticks. */
void sources_tick(struct sources *s);
/* The list in the admin port's /state: an array, the caller's. */
json_t *sources_state(const struct sources *s);

#define SOURCES_HOOKS "/_lull/hooks/"

/* A request whose path begins with that. */
void sources_hook(struct worker *w, struct http_simple_request *rq);
