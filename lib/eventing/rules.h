// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of validation, shared by the files of this room and nobody else. Each rule adds its
 * problems with paths relative to what it looks at.
 */

#include <jansson.h>

#include "serving/problems.h"

/* rules_delivery.c */
/* NULL: there is none, which is an error of a Destination that must be there. */
void rules_destination(struct problems *p, const json_t *destination);
void rules_reference(struct problems *p, const json_t *ref);
void rules_delivery(struct problems *p, const json_t *delivery);

/* rules_filter.c */
/* The names in filter.attributes, exact, prefix, suffix; paths "[name]". */
void rules_attributes(struct problems *p, json_t *attributes);
/* filters of a Trigger's spec, and whether it can be made a program of. */
void rules_filters(struct problems *p, const json_t *spec);

/* admit_source.c */
/* What all sources have: sink, ceOverrides. */
void rules_source(struct problems *p, const json_t *spec);
/* spec: an object. */
void source_default_ping(json_t *spec, struct slice ns);
void source_default_binding(json_t *spec, struct slice ns);
void source_check_ping(struct problems *p, const json_t *object);
void source_check_binding(struct problems *p, const json_t *object);

/* admit_lull.c */
void source_default_ours(json_t *spec, struct slice ns);
void source_check_webhook(struct problems *p, const json_t *object);
void source_check_redis(struct problems *p, const json_t *object);
void source_check_file(struct problems *p, const json_t *object);
