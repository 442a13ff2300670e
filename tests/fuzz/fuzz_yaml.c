// SPDX-License-Identifier: Apache-2.0
/* Whatever is read as YAML is written as YAML that reads the same; what is read stays in its
 * bounds. */
#include "base/mem.h"
#include "json/jedit.h"
#include "fuzz.h"
#include "yaml/ydump.h"
#include "yaml/yparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_docs docs = {0}, again = {0};
    struct error err = {0};

    if (yparse(slice_of((const char *)data, size), &docs, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < docs.count; i++) {
        CLEANUP(strbuf_fini) struct strbuf text;
        strbuf_init(&text, YPARSE_BYTES_MAX);
        if (ydump(docs.items[i].value, &text, &err) < 0) {
            continue; // what aliases made may be larger than a text that is read
        }
        int rc = yparse(strbuf_slice(&text), &again, &err);
        if (rc < 0 || again.count != 1 || !jequal(docs.items[i].value, again.items[0].value)) {
            fprintf(stderr, "%s\n%s", rc < 0 ? err.msg : "differs", text.ptr);
        }
        MUST_HOLD(rc == 0 && again.count == 1);
        MUST_HOLD(jequal(docs.items[i].value, again.items[0].value));
        yaml_docs_fini(&again);
    }
    yaml_docs_fini(&docs);
    return 0;
}
