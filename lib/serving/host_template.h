// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The part of Go's templates in which users write host names: text with actions in {{ }}, each a
 * value: .Name, .Namespace, .Domain, .Tag, .Labels.x, .Annotations.x, index .Labels "x.y/z",
 * index .Annotations "…". A '-' beside the braces takes the white space there; comments are left
 * out. Pure. Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

struct host_values {
    const char *name;
    const char *ns;            /* NULL: the template may not ask for it */
    const char *domain;        /* likewise */
    const char *tag;           /* likewise */
    bool maps;                 /* it may ask for labels and annotations */
    const json_t *labels;      /* NULL: none */
    const json_t *annotations; /* NULL: none */
};

/* Appends. A label that is not there gives nothing with index, and "<no value>" with a dot, as Go
 * does. ERR_INVALID says where the template is wrong; ERR_TOO_BIG when out is full. */
MUST_CHECK int host_template_print(struct slice text, const struct host_values *values,
                                   struct strbuf *out, struct error *err);
