// SPDX-License-Identifier: Apache-2.0
//
// The replica's specification: NUL-terminated `key=value` records. An unknown key, a bad number or
// a missing record is refused with its name, since the agent and this program are always of one
// release.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "local/replica/replica.h"

enum row_type { ROW_TEXT, ROW_NUMBER, ROW_UID, ROW_GID };

static const struct spec_row {
    const char *key;
    enum row_type type;
    size_t offset;
    bool required;
} SPEC_ROWS[] = {
    {"notify", ROW_TEXT, offsetof(struct replica_spec, notify_path), true},
    {"log", ROW_TEXT, offsetof(struct replica_spec, log_path), true},
    {"proxy-log", ROW_TEXT, offsetof(struct replica_spec, proxy_log_path), true},
    {"cwd", ROW_TEXT, offsetof(struct replica_spec, cwd), true},
    {"proxy", ROW_TEXT, offsetof(struct replica_spec, proxy), true},
    {"log-max-bytes", ROW_NUMBER, offsetof(struct replica_spec, log_max_bytes), true},
    {"memory-bytes", ROW_NUMBER, offsetof(struct replica_spec, memory_bytes), false},
    {"backoff-ms", ROW_NUMBER, offsetof(struct replica_spec, backoff_ms), true},
    {"backoff-max-ms", ROW_NUMBER, offsetof(struct replica_spec, backoff_max_ms), true},
    {"term-ms", ROW_NUMBER, offsetof(struct replica_spec, term_ms), true},
    {"uid", ROW_UID, offsetof(struct replica_spec, uid), false},
    {"gid", ROW_GID, offsetof(struct replica_spec, gid), false},
    {"mount-root", ROW_TEXT, offsetof(struct replica_spec, mount_root), false},
};
#define SPEC_ROW_COUNT (sizeof SPEC_ROWS / sizeof SPEC_ROWS[0])

static const char *list_add(char **list, size_t *count, char *value)
{
    if (*count >= REPLICA_MAX_ARGS) {
        return "too many arg, env or proxy-env records";
    }
    list[(*count)++] = value;
    return NULL;
}

// A name that is there already is replaced: the last record wins, whatever the program's runtime
// does with duplicates.
static const char *env_set(char **list, size_t *count, char *value)
{
    size_t name_len = strcspn(value, "=") + 1;
    for (size_t i = 0; i < *count; i++) {
        if (strncmp(list[i], value, name_len) == 0) {
            list[i] = value;
            return NULL;
        }
    }
    return list_add(list, count, value);
}

static bool number_parse(const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || text[0] == '+') {
        return false;
    }
    *out = v;
    return true;
}

static const char *row_set(struct replica_spec *spec, const struct spec_row *row, char *value)
{
    char *field = (char *)spec + row->offset;
    uint64_t n = 0;
    if (row->type == ROW_TEXT) {
        memcpy(field, &value, sizeof value);
        return NULL;
    }
    if (!number_parse(value, &n) || (row->type != ROW_NUMBER && n > UINT32_MAX - 1)) {
        return row->key;
    }
    if (row->type == ROW_NUMBER) {
        memcpy(field, &n, sizeof n);
    } else {
        uint32_t id = (uint32_t)n; // uid_t and gid_t are both 32 bit
        memcpy(field, &id, sizeof id);
    }
    return NULL;
}

// mount-ro or mount-rw begins one, then perhaps mount-sub, and mount-at ends it.
static const char *mount_set(struct replica_spec *spec, const char *key, char *value)
{
    struct replica_mount *m = &spec->mounts[spec->mountc];

    if (strcmp(key, "mount-ro") == 0 || strcmp(key, "mount-rw") == 0) {
        if (spec->mountc >= REPLICA_MAX_MOUNTS) {
            return "too many mounts";
        }
        *m = (struct replica_mount){.from = value, .writable = strcmp(key, "mount-rw") == 0};
        return NULL;
    }
    if (spec->mountc >= REPLICA_MAX_MOUNTS || !m->from) {
        return "a mount without its source";
    }
    if (strcmp(key, "mount-sub") == 0) {
        m->sub = value;
        return NULL;
    }
    if (value[0] != '/' || strlen(value) >= REPLICA_PATH_MAX / 2) {
        return "mount-at";
    }
    m->at = value;
    spec->mountc++;
    return NULL;
}

static const char *record_set(struct replica_spec *spec, char *record, bool seen[SPEC_ROW_COUNT])
{
    char *value = strchr(record, '=');
    if (!value) {
        return "a record without '='";
    }
    *value++ = '\0';
    if (strcmp(record, "arg") == 0) {
        return list_add(spec->argv, &spec->argc, value);
    }
    if (strcmp(record, "env") == 0) {
        return env_set(spec->envp, &spec->envc, value);
    }
    if (strcmp(record, "proxy-env") == 0) {
        return env_set(spec->proxy_envp, &spec->proxy_envc, value);
    }
    if (strncmp(record, "mount-", 6) == 0 && strcmp(record, "mount-root") != 0) {
        return mount_set(spec, record, value);
    }
    for (size_t i = 0; i < SPEC_ROW_COUNT; i++) {
        if (strcmp(record, SPEC_ROWS[i].key) == 0) {
            seen[i] = true;
            return row_set(spec, &SPEC_ROWS[i], value);
        }
    }
    return "an unknown key";
}

const char *replica_spec_parse(struct replica_spec *spec, char *text, size_t len)
{
    bool seen[SPEC_ROW_COUNT] = {false};

    *spec = (struct replica_spec){0};
    if (len == 0 || text[len - 1] != '\0') {
        return "the last record does not end with NUL";
    }
    for (size_t at = 0; at < len;) {
        char *record = text + at;
        at += strlen(record) + 1;
        const char *wrong = record_set(spec, record, seen);
        if (wrong) {
            return wrong;
        }
    }
    for (size_t i = 0; i < SPEC_ROW_COUNT; i++) {
        if (SPEC_ROWS[i].required && !seen[i]) {
            return SPEC_ROWS[i].key;
        }
    }
    if (spec->mountc > 0 && !spec->mount_root) {
        return "mount-root";
    }
    return spec->argc == 0 ? "arg" : NULL;
}

bool replica_spec_limited(const struct replica_spec *spec)
{
    static const char name[] = "CONTAINER_CONCURRENCY=";
    for (size_t i = 0; i < spec->proxy_envc; i++) {
        if (strncmp(spec->proxy_envp[i], name, sizeof name - 1) == 0) {
            return strcmp(spec->proxy_envp[i] + sizeof name - 1, "0") != 0;
        }
    }
    return false;
}
