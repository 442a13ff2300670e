// SPDX-License-Identifier: Apache-2.0
/*
 * Object names. Happy path: parent and suffix fit and are joined. Otherwise Knative's shortening:
 * what is cut away leaves its MD5, so that distinct inputs keep distinct names.
 */
#include "serving/names.h"

#include <stdio.h>
#include <string.h>

#include "serving/md5.h"

enum {
    MD5_LEN = 32,
    HEAD_LEN = NAME_MAX_LEN - MD5_LEN,
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void name_child(char out[static NAME_BUF], const char *parent, const char *suffix)
{
    size_t parent_len = strlen(parent);
    size_t suffix_len = strlen(suffix);
    char hash[MD5_LEN + 1];
    if (parent_len + suffix_len <= NAME_MAX_LEN) {
        memcpy(out, parent, parent_len);
        memcpy(out + parent_len, suffix, suffix_len + 1);
        return;
    }
    if (suffix_len < HEAD_LEN) {
        size_t head = HEAD_LEN - suffix_len;
        md5_hex(parent, parent_len, hash);
        snprintf(out, NAME_BUF, "%.*s%s%s", (int)(head < parent_len ? head : parent_len), parent,
                 hash, suffix);
        return;
    }
    /* The suffix is long itself: hash both, and fill up with the suffix' head. */
    char both[2 * OBJECT_BUF];
    int both_len = snprintf(both, sizeof(both), "%s%s", parent, suffix);
    size_t hashed = both_len < (int)sizeof(both) ? (size_t)both_len : sizeof(both) - 1;
    md5_hex(both, hashed, hash);
    size_t head = parent_len < HEAD_LEN ? parent_len : HEAD_LEN;
    snprintf(out, NAME_BUF, "%.*s%s%s", (int)head, parent, hash, head < HEAD_LEN ? suffix : "");
    size_t len = strlen(out);
    while (len > 0 && !is_alnum(out[len - 1])) {
        out[--len] = '\0';
    }
}

void name_revision(char out[static NAME_BUF], const char *configuration, long long generation)
{
    char suffix[32];
    snprintf(suffix, sizeof(suffix), "-%05lld", generation);
    name_child(out, configuration, suffix);
}

void name_deployment(char out[static NAME_BUF], const char *revision)
{
    name_child(out, revision, "-deployment");
}

bool name_is_dns1035(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN || name[0] < 'a' || name[0] > 'z' || name[len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return true;
}

bool name_is_dns1123_subdomain(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= OBJECT_BUF) {
        return false;
    }
    char before = '.';
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool edge = before == '.' || i + 1 == len || name[i + 1] == '.';
        if (!alnum && !(c == '-' && !edge) && !(c == '.' && before != '.' && i + 1 < len)) {
            return false;
        }
        before = c;
    }
    return true;
}

const char *name_annotation(name_lookup_cb get, const void *arg, const char *key,
                            const char *key_old)
{
    const char *value = get(arg, key);
    return value != NULL || key_old == NULL ? value : get(arg, key_old);
}
