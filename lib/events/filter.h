// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A Trigger's filter: spec.filter.attributes, or spec.filters (which wins when it is there), made
 * into a small program once and run for each event. Running it allocates nothing.
 *
 * Dialects: exact, prefix, suffix (maps of attribute to text; all of a map must hold), all, any
 * (lists), not, cesql; what is empty counts as not given. An attribute that is absent matches
 * nothing; under not it does. Values are compared as their canonical texts (a time in UTC). An
 * expression that fails at run time does not match.
 */

#include <jansson.h>

#include "events/event.h"

#define FILTER_DEPTH_MAX 16    /* all, any and not within each other */
#define FILTER_NODES_MAX 1024  /* tests and operators of one filter */
#define FILTER_BYTES_MAX 65536 /* names, texts and expressions of one filter */

struct filter; /* owned by who compiled it */

/*
 * spec: the Trigger's spec, with `filters` or `filter.attributes`, or neither: such a filter takes
 * every event. ERR_INVALID with the path ("filters[0].any[1].exact: …"); ERR_TOO_BIG beyond the
 * limits.
 */
MUST_CHECK int filter_compile(const json_t *spec, struct filter **out, struct error *err);
/* One entry of `filters`, or what stands under all, any, not; path is put before errors. */
MUST_CHECK int filter_compile_one(json_t *entry, const char *path, struct filter **out,
                                  struct error *err);
void filter_free(struct filter *f); /* NULL is fine */

bool filter_match(const struct filter *f, const struct event *ev);

/* It takes every event. */
bool filter_takes_all(const struct filter *f);
/*
 * For an index: true when no event matches unless this attribute of the specification has exactly
 * this value (borrowed from the filter).
 */
bool filter_needs(const struct filter *f, enum event_attr_id attr, struct slice *out_value);
