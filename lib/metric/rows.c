// SPDX-License-Identifier: Apache-2.0
/* Plan: walk the rows. */
#include "metric/rows.h"

static uint64_t read_member(const void *base, const struct metric_row *row)
{
    uint64_t value;
    memcpy(&value, (const char *)base + row->offset, sizeof(value));
    return value;
}

void metric_rows_write(const struct metric_row *rows, size_t count, const void *base,
                       struct strbuf *out)
{
    for (size_t i = 0; i < count; i++) {
        metric_write_number(out, rows[i].gauge ? "gauge" : "counter", rows[i].name, rows[i].help,
                            read_member(base, &rows[i]));
    }
}

void metric_rows_add(const struct metric_row *rows, size_t count, void *to, const void *from)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t sum = read_member(to, &rows[i]) + read_member(from, &rows[i]);
        memcpy((char *)to + rows[i].offset, &sum, sizeof(sum));
    }
}

void metric_write_head(struct strbuf *out, const char *type, const char *name, const char *help)
{
    strbuf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_write_number(struct strbuf *out, const char *type, const char *name, const char *help,
                         uint64_t value)
{
    metric_write_head(out, type, name, help);
    strbuf_appendf(out, "%s %llu\n", name, (unsigned long long)value);
}
