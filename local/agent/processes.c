// SPDX-License-Identifier: Apache-2.0
//
// One walk over /proc: each process' stat tells its group; of those that were asked for the times
// are added up and the memory is read. Failure modes: a process that ends meanwhile is left out;
// one whose smaps_rollup may not be read counts with all that it has resident.
#include "local/agent/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

#define FILE_MAX_BYTES 4096
#define NS_PER_S       1000000000

static struct slice file_read(const char *path, char buf[FILE_MAX_BYTES])
{
    size_t len = 0;
    ssize_t n = 0;
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && len < FILE_MAX_BYTES - 1 &&
           (n = read(fd, buf + len, FILE_MAX_BYTES - 1 - len)) > 0) {
        len += (size_t)n;
    }
    buf[len] = '\0';
    return slice_of(buf, len);
}

static bool number(struct slice text, uint64_t *out)
{
    int64_t value = 0;

    if (num_parse_i64(text, INT64_MIN, INT64_MAX, &value, NULL) < 0) {
        return false;
    }
    *out = value < 0 ? 0 : (uint64_t)value;
    return true;
}

bool processes_parse_stat(struct slice text, struct process_stat *out)
{
    // The name may have blanks and brackets; what follows the last bracket is plain.
    const char *end = memrchr(text.ptr, ')', text.len);
    uint64_t fields[21] = {0}; // from "ppid", the 4th of the line, to "rss"
    size_t count = 0;
    struct slice one;

    if (end == NULL || (size_t)(end - text.ptr) + 4 >= text.len) {
        return false;
    }
    struct slice rest = slice_trim(slice_sub(text, (size_t)(end - text.ptr) + 4, text.len));
    while (count < ARRAY_LEN(fields) && slice_split(&rest, ' ', &one)) {
        if (!number(one, &fields[count++])) {
            return false;
        }
    }
    if (count < ARRAY_LEN(fields)) {
        return false;
    }
    *out = (struct process_stat){
        .pgid = (int)fields[1],
        .cpu_ticks = fields[10] + fields[11] + fields[12] + fields[13],
        .start_ticks = fields[18],
        .rss_pages = (int64_t)fields[20],
    };
    return true;
}

int64_t processes_parse_pss(struct slice text)
{
    struct slice line;

    while (slice_split(&text, '\n', &line)) {
        if (slice_starts_with(line, SLICE_LIT("Pss:"))) {
            struct slice rest = slice_trim(slice_sub(line, 4, line.len)), kib;
            uint64_t value = 0;
            return slice_split(&rest, ' ', &kib) && number(kib, &value) ? (int64_t)value * 1024
                                                                        : -1;
        }
    }
    return -1;
}

static int compare(const void *a, const void *b)
{
    const struct process_group *x = a, *y = b;
    return (x->pgid > y->pgid) - (x->pgid < y->pgid);
}

static void process_add(const char *folder, const struct process_stat *stat, int64_t now_ns,
                        struct process_group *group, char buf[FILE_MAX_BYTES])
{
    char path[512];
    int64_t tick_ns = NS_PER_S / sysconf(_SC_CLK_TCK);

    (void)snprintf(path, sizeof path, "%s/smaps_rollup", folder);
    int64_t memory = processes_parse_pss(file_read(path, buf));
    int64_t age_ns = now_ns - (int64_t)stat->start_ticks * tick_ns;
    group->processes++;
    group->cpu_ns += (int64_t)stat->cpu_ticks * tick_ns;
    group->memory_bytes += memory >= 0 ? memory : stat->rss_pages * sysconf(_SC_PAGESIZE);
    group->age_ns = age_ns > group->age_ns ? age_ns : group->age_ns;
}

void processes_read(const char *proc, struct process_group *groups, size_t count)
{
    char buf[FILE_MAX_BYTES], folder[300], path[320];
    struct timespec up = {0};
    struct dirent *entry;
    DIR *dir = count > 0 ? opendir(proc) : NULL;

    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    while (dir && (entry = readdir(dir)) != NULL) {
        struct process_stat stat;
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') {
            continue;
        }
        (void)snprintf(folder, sizeof folder, "%s/%.20s", proc, entry->d_name);
        (void)snprintf(path, sizeof path, "%s/stat", folder);
        if (!processes_parse_stat(file_read(path, buf), &stat)) {
            continue;
        }
        struct process_group *group = bsearch(&(struct process_group){.pgid = stat.pgid}, groups,
                                              count, sizeof *groups, compare);
        if (group) {
            process_add(folder, &stat, (int64_t)up.tv_sec * NS_PER_S + up.tv_nsec, group, buf);
        }
    }
    if (dir) {
        closedir(dir);
    }
}
