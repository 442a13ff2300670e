// SPDX-License-Identifier: Apache-2.0
//
// Every way in ends in put(): key checked, bytes counted, value encoded.
#include "cli/keyed.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "serving/names.h"

bool keyed_name_ok(struct slice key)
{
    if (key.len == 0 || key.len >= OBJECT_BUF || slice_eq_str(key, ".") ||
        slice_starts_with(key, SLICE_LIT(".."))) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        if (!memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", key.ptr[i],
                    65)) {
            return false;
        }
    }
    return true;
}

static json_t *base64(struct slice value)
{
    unsigned char *text = xmalloc((value.len + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(text, (const unsigned char *)value.ptr, (int)value.len);
    json_t *made = json_string((const char *)text);
    free(text);
    return made;
}

static int put(struct keyed *k, struct slice key, struct slice value, struct error *err)
{
    char name[OBJECT_BUF];

    if (!keyed_name_ok(key) || !slice_copy(key, name, sizeof name)) {
        return error_set(err, ERR_INVALID,
                         "\"%.*s\" cannot be a key: letters, digits, '-', '_' and '.' only",
                         (int)(key.len < 80 ? key.len : 80), key.ptr);
    }
    k->bytes += value.len;
    if (k->bytes > KEYED_BYTES_MAX) {
        return error_set(err, ERR_TOO_BIG, "key %.60s: more than %u bytes in all", name,
                         KEYED_BYTES_MAX);
    }
    if (json_object_get(k->data, name) || json_object_get(k->binary, name)) {
        return error_set(err, ERR_INVALID, "the key %.60s is there twice", name);
    }
    json_t *text =
        k->secret || memchr(value.ptr, '\0', value.len) ? NULL : json_stringn(value.ptr, value.len);
    json_t *into = text || k->secret ? k->data : k->binary;
    (void)json_object_set_new(into, name, text ? text : base64(value));
    return 0;
}

// A whole file, or standard input for "-". What it held is wiped by the caller.
static int read_all(const char *path, struct strbuf *out, struct error *err)
{
    ssize_t n = 1;

    if (strcmp(path, "-") != 0) {
        return fs_read_file(path, KEYED_BYTES_MAX, out, err);
    }
    while (n > 0) {
        char *at = strbuf_reserve(out, 4096);
        if (!at) {
            return error_set(err, ERR_TOO_BIG, "standard input: more than %u bytes",
                             KEYED_BYTES_MAX);
        }
        n = read(STDIN_FILENO, at, 4096);
        if (n < 0) {
            return error_from_errno(err, errno, "standard input");
        }
        strbuf_commit(out, (size_t)n);
    }
    return 0;
}

static int one_file(struct keyed *k, struct slice key, const char *path, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, KEYED_BYTES_MAX + 4096);
    int rc = read_all(path, &text, err);
    rc = rc ? rc : put(k, key, strbuf_slice(&text), err);
    explicit_bzero(text.ptr, text.cap ? text.len : 0);
    return rc;
}

static int folder(struct keyed *k, const char *path, struct error *err)
{
    DIR *dir = opendir(path);
    int rc = 0;

    if (!dir) {
        return error_from_errno(err, errno, "%s", path);
    }
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        CLEANUP(cleanup_free) char *at = fs_join(path, e->d_name);
        if (e->d_name[0] != '.' && !fs_is_dir(at)) {
            rc = one_file(k, slice_str(e->d_name), at, err);
        }
    }
    closedir(dir);
    return rc;
}

int keyed_file(struct keyed *k, const char *word, struct error *err)
{
    const char *eq = strchr(word, '=');

    if (eq) {
        return one_file(k, slice_of(word, (size_t)(eq - word)), eq + 1, err);
    }
    if (strcmp(word, "-") == 0) {
        return error_set(err, ERR_INVALID, "--from-file -: standard input needs a key: KEY=-");
    }
    if (fs_is_dir(word)) {
        return folder(k, word, err);
    }
    const char *slash = strrchr(word, '/');
    return one_file(k, slice_str(slash ? slash + 1 : word), word, err);
}

int keyed_env_file(struct keyed *k, const char *path, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct slice line;
    size_t number = 0;

    strbuf_init(&text, KEYED_BYTES_MAX + 4096);
    int rc = read_all(path, &text, err);
    struct slice rest = strbuf_slice(&text);
    while (rc == 0 && slice_split(&rest, '\n', &line)) {
        number++;
        line.len -= line.len > 0 && line.ptr[line.len - 1] == '\r';
        struct slice trimmed = slice_trim(line);
        ptrdiff_t eq = slice_find(line, '=');
        if (trimmed.len == 0 || trimmed.ptr[0] == '#') {
            continue;
        }
        if (eq < 0) { // the line itself may be a secret
            rc = error_set(err, ERR_INVALID, "line %zu: must be NAME=VALUE", number);
        } else {
            rc = put(k, slice_trim(slice_sub(line, 0, (size_t)eq)),
                     slice_sub(line, (size_t)eq + 1, line.len), err);
            rc = rc < 0 ? error_prefix(err, rc, "line %zu", number) : 0;
        }
    }
    explicit_bzero(text.ptr, text.cap ? text.len : 0);
    return rc < 0 ? error_prefix(err, rc, "%s", strcmp(path, "-") == 0 ? "standard input" : path)
                  : 0;
}

int keyed_literal(struct keyed *k, const char *word, struct error *err)
{
    const char *eq = strchr(word, '=');

    if (!eq) {
        return error_set(err, ERR_INVALID, "--from-literal %.60s: must be KEY=VALUE", word);
    }
    return put(k, slice_of(word, (size_t)(eq - word)), slice_str(eq + 1), err);
}
