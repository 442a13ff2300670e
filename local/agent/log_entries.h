// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The form of a replica's log files, as local/replica/log.c writes them, back into what the program
 * wrote: an entry is "2006-01-02T15:04:05.000000000Z stdout F " (P: the line goes on in the next
 * entry), bytes, newline. A line in another form is given as it stands.
 * Owns: nothing. May not: open files; log_tail reads from one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOG_STAMP_LEN 30 /* of the time */

struct log_reader {
    char since[LOG_STAMP_LEN + 1]; /* entries before this time are left out; "": none are */
    bool timestamps;               /* each line begins with its time */
    bool within;                   /* private: the line before is not at its end */
};

/*
 * Turns the whole entries at the beginning of data, in place, into what is to be given. Returns how
 * many bytes were entries; out_len: how many are to be given. `last`: nothing follows, so the rest
 * counts as a line.
 */
size_t log_read(struct log_reader *r, char *data, size_t len, bool last, size_t *out_len);

/*
 * Where the last *lines lines of the first `end` bytes of a file begin. *lines becomes how many are
 * missing, when it has fewer. Reads backwards, and blocks.
 */
off_t log_tail(int fd, off_t end, int64_t *lines);
