// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a lull-broker tells the autoscalers: how many events wait for each Service or Revision.
 * Frames of lib/link carry it; all parts of one seq are one report, and what is absent from it has
 * none. Pure: bytes in, bytes out.
 *
 *   part:  u64 seq | u16 part | u16 parts | u8 length, name of the worker | entry …
 *   entry: u8 length, namespace | u8 length, name | u64 events      (all big endian)
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define BACKLOG_FRAME     5 /* its type among the frames of the stat link */
#define BACKLOG_NAME_MAX  255
#define BACKLOG_PARTS_MAX 64

struct backlog_part {
    uint64_t seq;
    uint16_t part;
    uint16_t parts;
    struct slice worker; /* 1 to BACKLOG_NAME_MAX bytes */
};

struct backlog_entry {
    struct slice ns;
    struct slice name; /* "SERVICE": each of its Revisions; "SERVICE/REVISION": this one */
    uint64_t waiting;
};

/* Names longer than BACKLOG_NAME_MAX are cut. */
void backlog_part_write(struct strbuf *out, const struct backlog_part *part);
/* One whose names are empty or too long is left out. */
void backlog_entry_write(struct strbuf *out, const struct backlog_entry *entry);

/* Takes the head off rest. ERR_PROTOCOL. Slices are of rest's bytes. */
MUST_CHECK int backlog_part_read(struct slice *rest, struct backlog_part *out, struct error *err);
/* Takes the next entry off rest: 1; 0: there is none; ERR_PROTOCOL. */
MUST_CHECK int backlog_entry_read(struct slice *rest, struct backlog_entry *out, struct error *err);
