// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Entries of a stream and elements of a list as events. Whatever bytes they have, an event comes
 * out: an entry is a JSON object of its fields (a name that stands twice has a list, a value that
 * is no text is {"base64": …}, a name that is none is %-encoded), or one field as it is. Pure.
 */

#include "redis/reply.h"
#include "broker/source_object.h"

#define REDIS_STREAM_TYPE "dev.lull.redis.stream"
#define REDIS_LIST_TYPE   "dev.lull.redis.list"

/* out owns all that it has; event_fini it, also after an error. */
MUST_CHECK int redis_stream_event(const struct redis_object *source, struct slice id,
                                  const struct redisReply *fields, int64_t wall_ns,
                                  struct event *out, struct error *err);
MUST_CHECK int redis_list_event(const struct redis_object *source, struct slice value,
                                int64_t wall_ns, struct event *out, struct error *err);

/* Text as an attribute may have it: what may not stand there is %-encoded. */
void event_text(struct slice bytes, struct strbuf *out);
