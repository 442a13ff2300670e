// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A Table of the API (meta.k8s.io/v1) as text with aligned columns. Pure but for the printing. */

#include <jansson.h>

#include "base/strbuf.h"

#define TABLE_ACCEPT  "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
#define TABLE_COLUMNS 64

struct table_style {
    bool wide;                 /* also the columns of priority 1 and more */
    bool namespaces;           /* a column NAMESPACE first */
    const char *prefix;        /* put before each name ("service.serving.knative.dev/"), or NULL */
    int widths[TABLE_COLUMNS]; /* kept from one piece to the next; zeroed at first */
};

/*
 * Appends the rows, and the header when `header`. Columns are as wide as their widest cell so far.
 * A Table without rows appends nothing.
 */
void table_put(const json_t *table, struct table_style *style, bool header, struct strbuf *out);
