// SPDX-License-Identifier: Apache-2.0
/* Plan: fields one after the other. Failure mode: bytes that end too early, or a part that cannot
 * be one of its report. */
#include "serving/backlog_report.h"

static void put(struct strbuf *out, uint64_t value, unsigned bytes)
{
    char raw[8];
    for (unsigned i = 0; i < bytes; i++) {
        raw[i] = (char)(value >> (8 * (bytes - 1 - i)));
    }
    strbuf_append(out, raw, bytes);
}

static void put_name(struct strbuf *out, struct slice name)
{
    name = slice_sub(name, 0, name.len < BACKLOG_NAME_MAX ? name.len : BACKLOG_NAME_MAX);
    put(out, name.len, 1);
    strbuf_append_slice(out, name);
}

void backlog_part_write(struct strbuf *out, const struct backlog_part *part)
{
    put(out, part->seq, 8);
    put(out, part->part, 2);
    put(out, part->parts, 2);
    put_name(out, part->worker);
}

static bool fits(struct slice name)
{
    return name.len > 0 && name.len <= BACKLOG_NAME_MAX;
}

void backlog_entry_write(struct strbuf *out, const struct backlog_entry *entry)
{
    if (fits(entry->ns) && fits(entry->name)) {
        put_name(out, entry->ns);
        put_name(out, entry->name);
        put(out, entry->waiting, 8);
    }
}

static bool take(struct slice *rest, unsigned bytes, uint64_t *out)
{
    uint64_t value = 0;
    if (rest->len < bytes) {
        return false;
    }
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | (uint8_t)rest->ptr[i];
    }
    *rest = slice_sub(*rest, bytes, rest->len);
    *out = value;
    return true;
}

static bool take_name(struct slice *rest, struct slice *out)
{
    uint64_t len;
    if (!take(rest, 1, &len) || len == 0 || rest->len < len) {
        return false;
    }
    *out = slice_sub(*rest, 0, len);
    *rest = slice_sub(*rest, len, rest->len);
    return true;
}

int backlog_part_read(struct slice *rest, struct backlog_part *out, struct error *err)
{
    uint64_t part;
    uint64_t parts;
    struct backlog_part p = {0};
    if (!take(rest, 8, &p.seq) || !take(rest, 2, &part) || !take(rest, 2, &parts) ||
        !take_name(rest, &p.worker)) {
        return error_set(err, ERR_PROTOCOL, "a report of backlogs ends too early");
    }
    if (parts == 0 || parts > BACKLOG_PARTS_MAX || part >= parts) {
        return error_set(err, ERR_PROTOCOL, "part %u of %u of a report of backlogs", (unsigned)part,
                         (unsigned)parts);
    }
    p.part = (uint16_t)part;
    p.parts = (uint16_t)parts;
    *out = p;
    return 0;
}

int backlog_entry_read(struct slice *rest, struct backlog_entry *out, struct error *err)
{
    struct backlog_entry e;
    if (rest->len == 0) {
        return 0;
    }
    if (!take_name(rest, &e.ns) || !take_name(rest, &e.name) || !take(rest, 8, &e.waiting)) {
        return error_set(err, ERR_PROTOCOL, "an entry of a report of backlogs ends too early");
    }
    *out = e;
    return 1;
}
