// SPDX-License-Identifier: Apache-2.0
//
// Text by text: read whole (bounded), to values (lib/yaml), one manifest for each object.
#include "cli/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "fetch/fetch.h"
#include "yaml/yparse.h"

#define FOLDER_DEPTH_MAX 16
#define URL_TIMEOUT_MS   30000

struct reading {
    struct cli *cli;
    bool recursive;
    struct manifests *out;
    struct error *err;
};

static int add(struct reading *r, json_t *object, const char *where, size_t line)
{
    size_t i;
    json_t *item;

    if (!json_is_object(object)) {
        return error_set(r->err, ERR_INVALID, "%s:%zu: an object is expected, this is %s", where,
                         line, jtype_name(object));
    }
    const char *kind = jpeek_cstr(object, "kind");
    size_t len = strlen(kind);
    if (len >= 4 && strcmp(kind + len - 4, "List") == 0 && jpeek_arr(object, "items")) {
        json_array_foreach(jpeek_arr(object, "items"), i, item)
        {
            int rc = strcmp(jpeek_cstr(item, "kind"), kind) == 0
                         ? error_set(r->err, ERR_INVALID, "%s:%zu: a list of lists", where, line)
                         : add(r, item, where, line);
            if (rc < 0) {
                return rc;
            }
        }
        return 0;
    }
    if (r->out->count == MANIFESTS_MAX) {
        return error_set(r->err, ERR_TOO_BIG, "%s:%zu: more than %d objects", where, line,
                         MANIFESTS_MAX);
    }
    r->out->items = xreallocarray(r->out->items, r->out->count + 1, sizeof *r->out->items);
    r->out->items[r->out->count++] = (struct manifest){.object = json_incref(object),
                                                       .origin = xasprintf("%s:%zu", where, line)};
    return 0;
}

static int add_text(struct reading *r, struct slice text, const char *where)
{
    struct yaml_docs docs = {0};
    int rc = yparse(text, &docs, r->err);

    if (rc < 0) {
        return error_prefix(r->err, rc, "%s", where);
    }
    for (size_t i = 0; rc == 0 && i < docs.count; i++) {
        rc = add(r, docs.items[i].value, where, docs.items[i].line);
    }
    yaml_docs_fini(&docs);
    return rc;
}

static int read_file(struct reading *r, const char *path)
{
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, YPARSE_BYTES_MAX);
    int rc = fs_read_file(path, YPARSE_BYTES_MAX, &text, r->err);
    return rc < 0 ? rc : add_text(r, strbuf_slice(&text), path);
}

static int read_stdin(struct reading *r)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    ssize_t n = 1;

    strbuf_init(&text, YPARSE_BYTES_MAX);
    while (n > 0) {
        char *at = strbuf_reserve(&text, 4096);
        if (!at) {
            return error_set(r->err, ERR_TOO_BIG, "standard input: more than %u bytes",
                             YPARSE_BYTES_MAX);
        }
        n = read(STDIN_FILENO, at, 4096);
        if (n < 0) {
            return error_from_errno(r->err, errno, "standard input");
        }
        strbuf_commit(&text, (size_t)n);
    }
    return add_text(r, strbuf_slice(&text), "standard input");
}

// ---- URLs

struct download {
    bool done;
    int status, rc;
    struct strbuf body;
    struct error err;
};

static void on_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct download *d = arg;

    d->done = true;
    d->status = result->status;
    strbuf_append_slice(&d->body, result->body);
    d->rc = err ? error_copy(&d->err, err) : 0;
}

static int read_url(struct reading *r, const char *url)
{
    struct download d = {0};
    struct fetch *f = NULL;
    struct fetch_spec spec = {.method = "GET",
                              .url = url,
                              .timeout_ms = URL_TIMEOUT_MS,
                              .max_body = YPARSE_BYTES_MAX,
                              .on_done = on_done,
                              .arg = &d};

    strbuf_init(&d.body, YPARSE_BYTES_MAX);
    int rc = fetch_new(&r->cli->loop, &(struct fetch_options){0}, &f, r->err);
    rc = rc ? rc : fetch_start(f, &spec, NULL, r->err);
    if (rc < 0) {
        return error_prefix(r->err, rc, "%s", url);
    }
    (void)cli_run_until(r->cli, &d.done, URL_TIMEOUT_MS * 2);
    fetch_close(f, NULL, NULL);
    if (d.rc < 0) {
        error_copy(r->err, &d.err);
        rc = error_prefix(r->err, d.rc, "%s", url);
    } else if (d.status != 200) {
        rc = error_set(r->err, ERR_UNAVAILABLE, "%s: answers %d", url, d.status);
    } else {
        rc = add_text(r, strbuf_slice(&d.body), url);
    }
    strbuf_fini(&d.body);
    return rc;
}

// ---- folders

static int wanted(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool is_manifest(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static int read_folder(struct reading *r, const char *path, int depth)
{
    struct dirent **names = NULL;
    int rc = 0;
    int count = scandir(path, &names, wanted, alphasort);

    if (count < 0) {
        return error_from_errno(r->err, errno, "%s", path);
    }
    if (depth > FOLDER_DEPTH_MAX) {
        rc =
            error_set(r->err, ERR_TOO_BIG, "%s: more than %d folders deep", path, FOLDER_DEPTH_MAX);
    }
    for (int i = 0; i < count; i++) {
        CLEANUP(cleanup_free) char *at = fs_join(path, names[i]->d_name);
        if (rc == 0 && fs_is_dir(at)) {
            rc = r->recursive ? read_folder(r, at, depth + 1) : 0;
        } else if (rc == 0 && is_manifest(names[i]->d_name)) {
            rc = read_file(r, at);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

int manifests_read(struct cli *cli, const struct cli_words *words, bool recursive,
                   struct manifests *out, struct error *err)
{
    struct reading r = {.cli = cli, .recursive = recursive, .out = out, .err = err};
    int rc = 0;

    for (int i = 0; rc == 0 && i < words->count; i++) {
        const char *word = words->items[i];
        if (strcmp(word, "-") == 0) {
            rc = read_stdin(&r);
        } else if (strncmp(word, "http://", 7) == 0 || strncmp(word, "https://", 8) == 0) {
            rc = read_url(&r, word);
        } else {
            rc = fs_is_dir(word) ? read_folder(&r, word, 0) : read_file(&r, word);
        }
    }
    if (rc == 0 && out->count == 0) {
        rc = error_set(err, ERR_NOT_FOUND, "no object in what -f names%s",
                       recursive ? "" : " (-R looks into folders within folders)");
    }
    return rc;
}

void manifests_fini(struct manifests *manifests)
{
    for (size_t i = 0; i < manifests->count; i++) {
        json_decref(manifests->items[i].object);
        free(manifests->items[i].origin);
    }
    free(manifests->items);
    *manifests = (struct manifests){0};
}
