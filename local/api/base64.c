// SPDX-License-Identifier: Apache-2.0

/* The text of lib/base as a JSON string. */

#include "local/api/base64.h"

#include "base/base64.h"

json_t *base64_json(struct slice in)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, in.len / 3 * 4 + 8);
    base64_append(&out, in);
    return json_stringn(out.ptr, out.len);
}
