// SPDX-License-Identifier: Apache-2.0
/* Whatever parses prints, parses again, and is the same; its own diff is empty. */
#include <stdlib.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL;
    if (jparse(slice_of((const char *)data, size), 1 << 20, &value, NULL) < 0) {
        return 0;
    }
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64 << 20);
    json_t *again = NULL;
    int rc = jdump(value, &text, NULL);
    REQUIRE(rc == 0);
    rc = jparse(strbuf_slice(&text), 64 << 20, &again, NULL);
    REQUIRE(rc == 0 && jequal(value, again));
    json_t *diff = jmerge_diff(value, again);
    REQUIRE(!json_is_object(value) || json_object_size(diff) == 0);
    json_t *merged = jmerge_patch(value, again);
    json_t *found = jpointer_get(value, slice_of((const char *)data, size < 32 ? size : 32));
    REQUIRE(found == NULL || merged != NULL);
    json_decref(merged);
    json_decref(diff);
    json_decref(again);
    json_decref(value);
    return 0;
}
