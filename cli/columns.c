// SPDX-License-Identifier: Apache-2.0
//
// A Table as the API has it, so that table.c can print it.
#include "cli/columns.h"

#include <stdio.h>

#include "json/jget.h"
#include "cli/table.h"

enum { TEXT_MAX = 64 << 20 };

void columns_init(struct columns *c, bool namespaces, const char *const *names)
{
    json_t *all = json_array();

    for (; *names; names++) {
        json_array_append_new(all, json_pack("{s:s}", "name", *names));
    }
    c->namespaces = namespaces;
    c->table = json_pack("{s:o, s:[]}", "columnDefinitions", all, "rows");
}

void columns_row(struct columns *c, const json_t *object, const char *const *cells)
{
    json_t *texts = json_array();

    for (; *cells; cells++) {
        json_array_append_new(texts, json_string(*cells));
    }
    json_array_append_new(json_object_get(c->table, "rows"),
                          json_pack("{s:o, s:{s:{s:s}}}", "cells", texts, "object", "metadata",
                                    "namespace", jpeek_cstr(object, "metadata.namespace")));
}

void columns_print(struct columns *c, const char *what, const char *ns)
{
    struct table_style style = {.namespaces = c->namespaces};
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, TEXT_MAX);
    table_put(c->table, &style, true, &text);
    if (text.len == 0) {
        printf("no %s in %s%s\n", what, c->namespaces ? "any namespace" : "namespace ",
               c->namespaces ? "" : ns);
    }
    fputs(text.len > 0 ? text.ptr : "", stdout);
    json_decref(c->table);
    c->table = NULL;
}
