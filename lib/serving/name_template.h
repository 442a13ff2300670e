// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Templates for names over an object's metadata: text with {{.Name}}, {{.Namespace}},
 * {{.GenerateName}}, {{.Labels.KEY}}, {{.Annotations.KEY}}, where Knative has Go templates.
 * Pure. Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

/* ERR_INVALID: an action that is none of these. */
MUST_CHECK int name_template_check(struct slice text, struct error *err);
/* text passed name_template_check. metadata (NULL: none) of the object; "<no value>" stands for a
 * missing label, as in Go. */
void name_template_print(struct slice text, const json_t *metadata, struct strbuf *out);
