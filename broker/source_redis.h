// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * RedisSource: entries of a stream (as a consumer of a group) or elements of a list become events
 * for the sink; an entry is acknowledged, an element goes from its processing list, when somebody
 * took it, or when it is among the dead of our own Redis. Of several workers one runs it at a time:
 * who has the key lull:{source/redis/NS/NAME}:reader. Owns: two connections to that Redis, and what
 * is being delivered.
 */

#include "broker/model.h"
#include "broker/push.h"
#include "broker/source_object.h"

struct redis_source;

/* In the forms that broker/sources.c wants; one: what redis_source_new has made. */
void *redis_source_new(struct worker *w, const char *ns, const char *name);
/* value: a struct redis_object, taken over. */
void redis_source_use(void *one, const char *uid, void *value);
/* It was deleted: what we keep of it goes; the stream, its group and the list stay as they are. */
void redis_source_drop(void *one);
void redis_source_free(void *one);
void redis_source_tick(void *one, uint64_t now_ms, size_t crowd);
/* For /state; the caller's. */
json_t *redis_source_state(const void *one);
