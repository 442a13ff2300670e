// SPDX-License-Identifier: Apache-2.0
//
// Twice over the cells: how wide, then what. Width counts characters, not bytes; a cell's line
// breaks become spaces.
#include "cli/table.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"

#define GAP 3

struct put {
    const json_t *columns;
    struct table_style *style;
    struct strbuf *out; /* NULL: measure only */
    int at;             /* column */
    int pad;            /* spaces owed by the cell before */
};

static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static void cell(struct put *p, const char *prefix, const char *text)
{
    int width = width_of(prefix) + width_of(text);

    if (p->at == TABLE_COLUMNS) {
        return;
    }
    int *widest = &p->style->widths[p->at++];
    *widest = width > *widest ? width : *widest;
    if (!p->out) {
        return;
    }
    strbuf_appendf(p->out, "%*s%s", p->pad, "", prefix);
    for (; *text; text++) {
        strbuf_append_char(p->out, *text == '\n' ? ' ' : *text);
    }
    p->pad = *widest - width + GAP;
}

static void line_end(struct put *p)
{
    if (p->out) {
        strbuf_append_char(p->out, '\n');
    }
    p->at = p->pad = 0;
}

static bool shown(const struct put *p, const json_t *column)
{
    return p->style->wide || jpeek_i64(column, "priority") == 0;
}

static void put_header(struct put *p)
{
    size_t i;
    json_t *column;

    if (p->style->namespaces) {
        cell(p, "", "NAMESPACE");
    }
    json_array_foreach(p->columns, i, column)
    {
        if (shown(p, column)) {
            CLEANUP(cleanup_free) char *name = xstrdup(jpeek_cstr(column, "name"));
            for (char *c = name; *c; c++) {
                *c = (char)toupper((unsigned char)*c);
            }
            cell(p, "", name);
        }
    }
    line_end(p);
}

static void put_cell(struct put *p, const json_t *value, const char *prefix)
{
    char number[NUM_DOUBLE_MAX];

    if (json_is_string(value)) {
        cell(p, prefix, json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        cell(p, prefix, number);
    } else if (json_is_real(value)) {
        cell(p, prefix, num_format_double(json_real_value(value), number, sizeof number));
    } else if (json_is_boolean(value)) {
        cell(p, prefix, json_is_true(value) ? "true" : "false");
    } else {
        cell(p, prefix, json_is_null(value) || !value ? "<none>" : "…");
    }
}

static void put_row(struct put *p, const json_t *row)
{
    const char *prefix = p->style->prefix ? p->style->prefix : "";
    size_t i;
    json_t *column;

    if (p->style->namespaces) {
        cell(p, "", jpeek_cstr(row, "object.metadata.namespace"));
    }
    json_array_foreach(p->columns, i, column)
    {
        if (shown(p, column)) {
            put_cell(p, json_array_get(jpeek_arr(row, "cells"), i), i == 0 ? prefix : "");
        }
    }
    line_end(p);
}

void table_put(const json_t *table, struct table_style *style, bool header, struct strbuf *out)
{
    struct put p = {.columns = jpeek_arr(table, "columnDefinitions"), .style = style};
    const json_t *rows = jpeek_arr(table, "rows");
    size_t i;
    json_t *row;

    if (json_array_size(rows) == 0) {
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        p.out = pass ? out : NULL;
        if (header) {
            put_header(&p);
        }
        json_array_foreach(rows, i, row)
        {
            put_row(&p, row);
        }
    }
}
