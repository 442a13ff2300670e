// SPDX-License-Identifier: Apache-2.0
//
// Plan: a file of settings; a table of what redis-server says before it gives up.
#include "cli/events_store.h"

#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"

#define SHARE      4
#define MEMORY_MIN (64ull << 20)
#define CGROUP     "/sys/fs/cgroup/memory.max"

static uint64_t usual_memory(void)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = 0;

    strbuf_init(&text, 64);
    if (fs_read_file(CGROUP, 64, &text, NULL) == 0) {
        struct slice rest = strbuf_slice(&text), line;
        if (slice_split(&rest, '\n', &line) &&
            num_parse_u64(line, 1, UINT64_MAX, &limit, NULL) == 0 && limit < memory) {
            memory = limit; // "max" is no number
        }
    }
    return memory / SHARE > MEMORY_MIN ? memory / SHARE : MEMORY_MIN;
}

// Quoted as redis-server's configuration has it.
static void put_path(struct strbuf *out, const char *key, const char *folder, const char *name)
{
    (void)strbuf_appendf(out, "%s \"", key);
    for (const char *at = folder; *at != '\0'; at++) {
        (void)strbuf_appendf(out, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
    }
    (void)strbuf_appendf(out, "%s\"\n", name);
}

int events_store_configure(const struct events_store *store, const char *path, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf conf;
    uint64_t memory = store->memory != 0 ? store->memory : usual_memory();

    strbuf_init(&conf, 16384);
    (void)strbuf_append_str(&conf,
                            "# Made by lull up at each start.\nport 0\nunixsocketperm 600\n");
    put_path(&conf, "unixsocket", store->home, "/run/redis.sock");
    put_path(&conf, "dir", store->home, "/events");
    (void)strbuf_appendf(&conf,
                         "appendonly yes\nappendfsync %s\nsave \"\"\ndatabases 1\n"
                         "maxmemory %llu\nmaxmemory-policy noeviction\n"
                         "daemonize no\nsupervised no\n",
                         store->fsync, (unsigned long long)memory);
    return fs_write_atomic(path, strbuf_slice(&conf), 0600, err);
}

char *events_store_trouble(const struct events_store *store, const char *last_line)
{
    static const char *const damaged[] = {"Bad file format reading the append only file",
                                          "Unexpected end of file reading the append only file",
                                          "rdb file reading failure",
                                          "Wrong RDB checksum",
                                          "Invalid AOF manifest file",
                                          "RDB crc error"};
    static const char *const full[] = {"AOF write error", "No space left on device"};

    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        if (strstr(last_line, damaged[i])) {
            return xasprintf(
                "The events in %s/events are damaged, redis-server does not start: \"%s\". Copy "
                "that folder; then `redis-check-aof --fix "
                "%s/events/appendonlydir/appendonly.aof.manifest` keeps what stands before the "
                "damage, `lull restore FILE` (after lull down) brings a backup's back, and "
                "without the folder Lull begins with no events",
                store->home, last_line, store->home);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        if (strstr(last_line, full[i])) {
            return xasprintf("The disk of %s/events is full, or cannot be written; no events are "
                             "taken until it has room: \"%s\"",
                             store->home, last_line);
        }
    }
    if (strstr(last_line, "Can't handle RDB format version")) {
        return xasprintf("The events in %s/events were written by a newer redis-server than the "
                         "one that is installed: \"%s\"",
                         store->home, last_line);
    }
    return NULL;
}
