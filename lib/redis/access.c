// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the address from its file or text, user and password from theirs, then the certificates:
 * those of the options, else those beside the address.
 */
#include "redis/access.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "loop/tls.h"

#define FILE_MAX 4096

/* The texts of the options, one after the other. */
static const size_t texts[] = {
    offsetof(struct redis_conn_options, address),
    offsetof(struct redis_conn_options, address_file),
    offsetof(struct redis_conn_options, user_file),
    offsetof(struct redis_conn_options, password_file),
    offsetof(struct redis_conn_options, sentinel_password_file),
    offsetof(struct redis_conn_options, ca_file),
    offsetof(struct redis_conn_options, cert_file),
    offsetof(struct redis_conn_options, key_file),
    offsetof(struct redis_conn_options, server_name),
};

static const struct {
    size_t option;
    const char *name;
} besides[REDIS_BESIDE_COUNT] = {
    [REDIS_CA] = {offsetof(struct redis_conn_options, ca_file), "ca.crt"},
    [REDIS_CERT] = {offsetof(struct redis_conn_options, cert_file), "tls.crt"},
    [REDIS_KEY] = {offsetof(struct redis_conn_options, key_file), "tls.key"},
    [REDIS_SENTINEL_PASSWORD] = {offsetof(struct redis_conn_options, sentinel_password_file),
                                 "sentinel-password"},
};

static const char *option_of(const struct redis_conn_options *options, size_t at)
{
    const char *text;
    memcpy(&text, (const char *)options + at, sizeof(text));
    return text;
}

static char *path_beside(const char *file, const char *name)
{
    const char *slash = file == NULL ? NULL : strrchr(file, '/');
    return slash == NULL ? NULL : xasprintf("%.*s/%s", (int)(slash - file), file, name);
}

/* A certificate of our own is one with its key. */
const char *redis_access_file(const struct redis_access *a, enum redis_beside which)
{
    const char *named = option_of(&a->files, besides[which].option);
    bool of_pair = which == REDIS_CERT || which == REDIS_KEY;
    enum redis_beside other = which == REDIS_CERT ? REDIS_KEY : REDIS_CERT;
    if (named != NULL || a->beside[which] == NULL || access(a->beside[which], F_OK) < 0 ||
        (of_pair && (a->beside[other] == NULL || access(a->beside[other], F_OK) < 0))) {
        return named;
    }
    return a->beside[which];
}

void redis_access_init(struct redis_access *a, const struct redis_conn_options *options)
{
    bool own = options->cert_file != NULL || options->key_file != NULL;
    for (size_t i = 0; i < REDIS_BESIDE_COUNT; i++) {
        bool named = own && (i == REDIS_CERT || i == REDIS_KEY);
        a->beside[i] = named ? NULL : path_beside(options->address_file, besides[i].name);
    }
    a->files = *options;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *at = (char *)&a->files + texts[i];
        const char *text = option_of(&a->files, texts[i]);
        text = text == NULL ? NULL : xstrdup(text);
        memcpy(at, &text, sizeof(text));
    }
}

void redis_access_fini(struct redis_access *a)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *at = (char *)&a->files + texts[i];
        char *text;
        memcpy(&text, at, sizeof(text));
        free(text);
    }
    for (size_t i = 0; i < REDIS_BESIDE_COUNT; i++) {
        free(a->beside[i]);
        a->beside[i] = NULL;
    }
    a->files = (struct redis_conn_options){0};
}

/* The content of a file without what editors put at its end; new memory. */
static int read_text(const char *path, const char *what, char **out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, FILE_MAX);
    int rc = fs_read_file(path, FILE_MAX, &text, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", what);
    }
    struct slice content = strbuf_slice(&text);
    while (content.len > 0 && strchr(" \t\r\n", content.ptr[content.len - 1]) != NULL) {
        content.len--;
    }
    if (content.len == 0 || memchr(content.ptr, '\0', content.len) != NULL) {
        return error_set(err, ERR_INVALID, "%s: %s is empty, or is no text", what, path);
    }
    free(*out);
    *out = slice_dup(content);
    return 0;
}

static int load_address(const struct redis_conn_options *o, struct redis_address *out,
                        struct error *err)
{
    CLEANUP(cleanup_free) char *text = NULL;
    if (o->address_file == NULL) {
        return redis_address_parse(slice_str(o->address), out, err);
    }
    int rc = read_text(o->address_file, "address of redis", &text, err);
    if (rc == 0) {
        rc = redis_address_parse(slice_str(text), out, err);
        rc = rc < 0 ? error_prefix(err, rc, "%s", o->address_file) : 0;
    }
    return rc;
}

int redis_access_load(const struct redis_access *a, struct redis_address *address,
                      struct tls_context **tls, struct error *err)
{
    const struct redis_conn_options *o = &a->files;
    *address = (struct redis_address){0};
    *tls = NULL;
    int rc = load_address(o, address, err);
    if (rc == 0 && o->user_file != NULL) {
        rc = read_text(o->user_file, "user of redis", &address->user, err);
    }
    if (rc == 0 && o->password_file != NULL) {
        rc = read_text(o->password_file, "password of redis", &address->password, err);
    }
    if (rc == 0 && address->user != NULL && address->password == NULL) {
        rc = error_set(err, ERR_INVALID, "redis: there is a user but no password");
    }
    if (rc == 0 && address->tls) {
        rc = tls_client_new(&(struct tls_options){.ca_file = redis_access_file(a, REDIS_CA),
                                                  .cert_file = redis_access_file(a, REDIS_CERT),
                                                  .key_file = redis_access_file(a, REDIS_KEY)},
                            tls, err);
    }
    if (rc < 0) {
        redis_address_fini(address);
    }
    return rc;
}
