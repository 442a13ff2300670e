// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * YAML text to JSON values, the one place where this happens. Several documents are parted by
 * `---`; JSON is taken as it is. Plain words mean what they mean to kubectl: `yes` is true, `0x10`
 * is 16, `2026-01-01` is text.
 * Owns: the values that it made. May not: read files.
 *
 * Bounded and strict: at most YPARSE_BYTES_MAX bytes, YPARSE_DOCS_MAX documents and
 * JPARSE_DEPTH_MAX levels; what aliases copy is limited as a whole (YPARSE_COPIES_MAX values,
 * YPARSE_COPIED_MAX bytes of text), so no small text becomes a large value; a key that comes twice,
 * a tab that indents, a tag that JSON knows nothing of, bytes that are not UTF-8 are refused. Every
 * sentence begins with the line.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

#define YPARSE_BYTES_MAX  (16u << 20)
#define YPARSE_DOCS_MAX   10000
#define YPARSE_COPIES_MAX 100000
#define YPARSE_COPIED_MAX (4u << 20)

struct yaml_doc {
    json_t *value; /* owned by the list; never NULL, never null */
    size_t line;   /* where its text begins, from 1 */
};

struct yaml_docs {
    struct yaml_doc *items;
    size_t count;
};

/*
 * All documents of the text; empty ones are left out. ERR_INVALID "line 3, column 7: …",
 * ERR_TOO_BIG beyond a bound. *out is written on success only; release it with yaml_docs_fini.
 */
MUST_CHECK int yparse(struct slice text, struct yaml_docs *out, struct error *err);
/* A zeroed struct is fine. */
void yaml_docs_fini(struct yaml_docs *docs);
