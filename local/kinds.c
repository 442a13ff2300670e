// SPDX-License-Identifier: Apache-2.0

/* Plan: one row per kind; what only the store needs (fields, bounds) stands here, by kind id. */

#include "local/kinds.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define EVENTS_MAX 1000

static void set_fields(struct store_kind *row, enum kind_id id)
{
    static const struct {
        enum kind_id id;
        const char *fields[8];
    } table[] = {
        {KIND_POD, {"status.phase", "spec.nodeName", "status.podIP", "spec.restartPolicy"}},
        {KIND_NAMESPACE, {"status.phase"}},
        {KIND_SECRET, {"type"}},
        {KIND_EVENT,
         {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
          "involvedObject.uid", "reason", "type", "involvedObject.apiVersion",
          "reportingComponent"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].id == id) {
            memcpy(row->fields, table[i].fields, sizeof(row->fields));
        }
    }
}

struct local_kinds *local_kinds_new(void)
{
    struct local_kinds *k = NEW(struct local_kinds);
    for (int i = 0; i < KIND_COUNT; i++) {
        enum kind_id id = (enum kind_id)i;
        const struct kind *kind = kind_row(id);
        (void)snprintf(k->names[i], sizeof(k->names[i]), "%s%s%s", kind->plural,
                       kind->group[0] == '\0' ? "" : ".", kind->group);
        struct store_kind *row = &k->rows[i];
        row->resource = k->names[i];
        row->api_version = kind_api_version(kind);
        row->kind = kind->kind;
        row->namespaced = kind->namespaced;
        row->status = (kind->subresources & KIND_SUB_STATUS) != 0;
        row->generation = row->status && kind->group[0] != '\0';
        row->keep_newest = id == KIND_EVENT ? EVENTS_MAX : 0;
        set_fields(row, id);
    }
    return k;
}
