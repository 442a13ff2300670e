// SPDX-License-Identifier: Apache-2.0
//
// Times are of one width and zone, so they compare as text. What is given is never longer than the
// entry that it came from: the work is done in place.
#include "local/agent/log_entries.h"

#include <string.h>
#include <unistd.h>

#define STREAM     " stdout "
#define STREAM_LEN (sizeof STREAM - 1)
#define TAG_AT     (LOG_STAMP_LEN + STREAM_LEN)
#define PREFIX_LEN (TAG_AT + 2)

// Whether an entry's fixed part stands here.
static bool has_prefix(const char *at, size_t len)
{
    static const char FORM[] = "0000-00-00T00:00:00.000000000Z" STREAM;

    if (len < PREFIX_LEN || (at[TAG_AT] != 'F' && at[TAG_AT] != 'P') || at[TAG_AT + 1] != ' ') {
        return false;
    }
    for (size_t i = 0; i < TAG_AT; i++) {
        if (FORM[i] == '0' ? at[i] < '0' || at[i] > '9' : at[i] != FORM[i]) {
            return false;
        }
    }
    return true;
}

// One entry of n bytes, its newline included if it has one. Returns the length of what is given.
static size_t entry_give(struct log_reader *r, const char *entry, size_t n, char *out)
{
    if (!has_prefix(entry, n)) {
        memmove(out, entry, n);
        r->within = false;
        return n;
    }
    bool within = r->within;
    bool full = entry[TAG_AT] == 'F';
    size_t len = 0;
    r->within = !full;
    if (r->since[0] != '\0' && memcmp(entry, r->since, LOG_STAMP_LEN) < 0) {
        return 0;
    }
    if (r->timestamps && !within) {
        memmove(out, entry, LOG_STAMP_LEN);
        out[LOG_STAMP_LEN] = ' ';
        len = LOG_STAMP_LEN + 1;
    }
    size_t bytes = n - PREFIX_LEN - (!full && entry[n - 1] == '\n' ? 1 : 0);
    memmove(out + len, entry + PREFIX_LEN, bytes);
    return len + bytes;
}

size_t log_read(struct log_reader *r, char *data, size_t len, bool last, size_t *out_len)
{
    size_t done = 0, out = 0;

    while (done < len) {
        const char *end = memchr(data + done, '\n', len - done);
        if (end == NULL && !last) {
            break;
        }
        size_t n = end == NULL ? len - done : (size_t)(end - (data + done)) + 1;
        out += entry_give(r, data + done, n, data + out);
        done += n;
    }
    *out_len = out;
    return done;
}

// Where the entry that ends before `end` begins.
static off_t entry_begin(int fd, off_t end)
{
    char buf[4096];

    for (off_t at = end - 1; at > 0;) { // its own newline does not count
        size_t n = at > (off_t)sizeof buf ? sizeof buf : (size_t)at;
        if (pread(fd, buf, n, at - (off_t)n) != (ssize_t)n) {
            return 0;
        }
        const char *newline = memrchr(buf, '\n', n);
        if (newline != NULL) {
            return at - (off_t)n + (newline - buf) + 1;
        }
        at -= (off_t)n;
    }
    return 0;
}

// Whether the entry at this place ends its line.
static bool ends_line(int fd, off_t at)
{
    char prefix[PREFIX_LEN];
    ssize_t n = pread(fd, prefix, sizeof prefix, at);

    return n < (ssize_t)sizeof prefix || !has_prefix(prefix, sizeof prefix) ||
           prefix[TAG_AT] == 'F';
}

off_t log_tail(int fd, off_t end, int64_t *lines)
{
    int64_t have = 0;
    off_t at = end;

    while (at > 0 && *lines > 0) {
        off_t begin = entry_begin(fd, at);
        bool ends = ends_line(fd, begin);
        if (ends && have == *lines) {
            break;
        }
        have += ends || at == end; // a line that is not at its end counts too
        at = begin;
    }
    *lines -= have;
    return at;
}
