// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A list for people, with columns as wide as what stands in them. Owns: its rows, until they are
 * printed.
 */

#include <stdbool.h>

#include <jansson.h>

struct columns {
    json_t *table; /* private */
    bool namespaces;
};

/* namespaces: a column NAMESPACE first. names end with NULL. */
void columns_init(struct columns *c, bool namespaces, const char *const *names);
/* The row of an object; cells end with NULL, copied. */
void columns_row(struct columns *c, const json_t *object, const char *const *cells);
/* Prints it, or "no WHAT in namespace NS" without any row; nothing is owned any more. */
void columns_print(struct columns *c, const char *what, const char *ns);
