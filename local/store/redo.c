// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: the file is a head and one run of records. A record's texts are copied first and its length
 * is stored last, so a process that is killed in between leaves a length of zero there: the end.
 * Clearing stores zero as the first length. The file has its blocks from the start (fallocate): no
 * later store can find the disk full.
 * Failures: another boot, another form or size: what is in it does not count.
 */

#include "local/store/redo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define MAGIC    0x316f646572756cULL /* "luredo1" */
#define BOOT_MAX 40

struct head {
    uint64_t magic;
    uint64_t bytes;
    char boot[BOOT_MAX];
};

struct record {
    _Atomic uint32_t len; /* of all of it, a multiple of 8; 0: the end */
    uint32_t body_len;
    uint64_t version;
    uint64_t follows;
    int64_t row;
    uint16_t resource_len;
    uint16_t ns_len;
    uint16_t name_len;
    uint16_t remove;
    char texts[]; /* resource, ns and name, each with its end; the body */
};

struct redo {
    int fd;
    size_t bytes;
    size_t used; /* from the start of the file */
    char *map;
};

/* --- open ---------------------------------------------------------------------------------- */

static void read_boot(char out[BOOT_MAX])
{
    memset(out, 0, BOOT_MAX);
    CLEANUP(strbuf_fini) struct strbuf id = {0};
    struct error err;
    if (fs_read_file("/proc/sys/kernel/random/boot_id", BOOT_MAX - 1, &id, &err) == 0) {
        memcpy(out, strbuf_slice(&id).ptr, strbuf_slice(&id).len);
    }
}

static struct record *record_at(const struct redo *r, size_t at)
{
    return (struct record *)(void *)(r->map + at);
}

void redo_clear(struct redo *r)
{
    r->used = sizeof(struct head);
    atomic_store_explicit(&record_at(r, r->used)->len, 0, memory_order_release);
}

static void start_anew(struct redo *r, const struct head *head)
{
    ((struct head *)(void *)r->map)->magic = 0;
    redo_clear(r);
    memcpy(r->map, head, sizeof(*head));
}

static int map_file(struct redo *r, const char *path, struct error *err)
{
    r->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->fd < 0) {
        return error_from_errno(err, errno, "cannot open %s", path);
    }
    int rc = posix_fallocate(r->fd, 0, (off_t)r->bytes);
    if (rc != 0) {
        return error_from_errno(err, rc, "cannot get %zu bytes for %s", r->bytes, path);
    }
    void *map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    if (map == MAP_FAILED) {
        return error_from_errno(err, errno, "cannot map %s", path);
    }
    r->map = map;
    return 0;
}

int redo_open(struct redo **out, const char *path, size_t bytes, struct error *err)
{
    struct redo *r = NEW(struct redo);
    r->bytes = bytes;
    r->used = sizeof(struct head);
    int rc = map_file(r, path, err);
    if (rc < 0) {
        redo_close(r);
        return rc;
    }
    struct head head = {.magic = MAGIC, .bytes = bytes};
    read_boot(head.boot);
    if (memcmp(r->map, &head, sizeof(head)) != 0) {
        start_anew(r, &head);
    }
    *out = r;
    return 0;
}

void redo_close(struct redo *r)
{
    if (r == NULL) {
        return;
    }
    if (r->map != NULL) {
        (void)munmap(r->map, r->bytes);
    }
    cleanup_close(&r->fd);
    free(r);
}

/* --- records ------------------------------------------------------------------------------- */

/* The record at `at`, when it is whole; *next: where it ends. */
static bool read_record(const struct redo *r, size_t at, struct redo_record *out, size_t *next)
{
    if (r->bytes - at < sizeof(struct record)) {
        return false;
    }
    const struct record *rec = record_at(r, at);
    size_t len = atomic_load_explicit(&rec->len, memory_order_acquire);
    size_t need =
        sizeof(*rec) + (size_t)rec->resource_len + rec->ns_len + rec->name_len + 3 + rec->body_len;
    if (len < sizeof(*rec) || len % 8 != 0 || len > r->bytes - at || need > len) {
        return false;
    }
    const char *resource = rec->texts;
    const char *ns = resource + rec->resource_len + 1;
    const char *name = ns + rec->ns_len + 1;
    const char *body = name + rec->name_len + 1;
    if (ns[-1] != '\0' || name[-1] != '\0' || body[-1] != '\0') {
        return false;
    }
    *out = (struct redo_record){.version = rec->version,
                                .follows = rec->follows,
                                .row = rec->row,
                                .remove = rec->remove != 0,
                                .resource = resource,
                                .ns = ns,
                                .name = name,
                                .body = slice_of(body, rec->body_len)};
    *next = at + len;
    return true;
}

int redo_replay(const struct redo *r, uint64_t *version, redo_cb cb, void *arg, struct error *err)
{
    size_t at = sizeof(struct head);
    struct redo_record record;
    while (read_record(r, at, &record, &at)) {
        if (record.version <= *version) {
            continue;
        }
        if (record.follows != *version) {
            break;
        }
        int rc = cb(&record, arg, err);
        if (rc < 0) {
            return rc;
        }
        *version = record.version;
    }
    return 0;
}

static char *put_text(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    at[len] = '\0';
    return at + len + 1;
}

bool redo_append(struct redo *r, const struct redo_record *record, struct redo_record *kept)
{
    size_t resource_len = strlen(record->resource), ns_len = strlen(record->ns),
           name_len = strlen(record->name);
    size_t len = sizeof(struct record) + resource_len + ns_len + name_len + 3 + record->body.len;
    len = (len + 7) & ~(size_t)7;
    /* The length of the record behind it must have its place too. */
    if (resource_len > UINT16_MAX || ns_len > UINT16_MAX || name_len > UINT16_MAX ||
        len + sizeof(struct record) > r->bytes - r->used) {
        return false;
    }
    struct record *rec = record_at(r, r->used);
    atomic_store_explicit(&record_at(r, r->used + len)->len, 0, memory_order_relaxed);
    rec->body_len = (uint32_t)record->body.len;
    rec->version = record->version;
    rec->follows = record->follows;
    rec->row = record->row;
    rec->resource_len = (uint16_t)resource_len;
    rec->ns_len = (uint16_t)ns_len;
    rec->name_len = (uint16_t)name_len;
    rec->remove = record->remove;
    char *at = put_text(rec->texts, record->resource, resource_len);
    at = put_text(at, record->ns, ns_len);
    at = put_text(at, record->name, name_len);
    memcpy(at, record->body.ptr, record->body.len);
    atomic_store_explicit(&rec->len, (uint32_t)len, memory_order_release);
    bool whole = read_record(r, r->used, kept, &r->used);
    REQUIRE(whole);
    return true;
}

size_t redo_used(const struct redo *r)
{
    return r->used - sizeof(struct head);
}

size_t redo_size(const struct redo *r)
{
    return r->bytes;
}
