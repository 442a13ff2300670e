// SPDX-License-Identifier: Apache-2.0
//
// Walk the folder in sorted order; copy each file and feed its path, mode and content to the
// digest. Left out: .git and the state directory itself. Links stay links when they lead to a place
// inside the folder.
#include "cli/bundle_pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"
#include "json/jparse.h"

#define STORE_TRIES 10

struct packer {
    EVP_MD_CTX *digest;
    const char *root; /* real path of the source */
    char *target;     /* temporary folder's files/ */
    const char *home;
    unsigned files;
    uint64_t bytes;
};

static void feed(struct packer *p, const void *bytes, size_t len)
{
    int ok = EVP_DigestUpdate(p->digest, bytes, len);
    REQUIRE(ok == 1);
}

// A record that no other path, mode and kind gives: length-prefixed text.
static void feed_entry(struct packer *p, char kind, const char *path, const char *detail)
{
    CLEANUP(cleanup_free)
    char *head = xasprintf("%c %zu:%s %zu:%s\n", kind, strlen(path), path, strlen(detail), detail);
    feed(p, head, strlen(head));
}

static int count_entry(struct packer *p, uint64_t bytes, struct error *err)
{
    p->bytes += bytes;
    if (++p->files > BUNDLE_MAX_FILES) {
        return error_set(err, ERR_TOO_BIG, "%s has more than %u files", p->root, BUNDLE_MAX_FILES);
    }
    if (p->bytes > BUNDLE_MAX_BYTES) {
        return error_set(err, ERR_TOO_BIG, "%s is larger than %u MiB", p->root,
                         BUNDLE_MAX_BYTES >> 20);
    }
    return 0;
}

static int pack_file(struct packer *p, const char *from, const char *to, const char *path,
                     const struct stat *st, struct error *err)
{
    char buf[65536], size[32];
    mode_t mode = st->st_mode & S_IXUSR ? 0755 : 0644;
    ssize_t n;
    int rc = count_entry(p, (uint64_t)st->st_size, err);

    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_close) int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    CLEANUP(cleanup_close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (in < 0 || out < 0 || fchmod(out, mode) != 0) {
        return error_from_errno(err, errno, "cannot copy %s", from);
    }
    snprintf(size, sizeof size, "%o %lld", (unsigned)mode, (long long)st->st_size);
    feed_entry(p, 'f', path, size);
    while ((n = read(in, buf, sizeof buf)) > 0) {
        feed(p, buf, (size_t)n);
        if (write(out, buf, (size_t)n) != n) {
            return error_from_errno(err, errno, "cannot write %s", to);
        }
    }
    return n < 0 ? error_from_errno(err, errno, "cannot read %s", from) : 0;
}

static int pack_link(struct packer *p, const char *from, const char *to, const char *path,
                     struct error *err)
{
    char text[PATH_MAX], real[PATH_MAX];
    ssize_t n = readlink(from, text, sizeof text - 1);
    size_t root = strlen(p->root);

    if (n < 0) {
        return error_from_errno(err, errno, "cannot read the link %s", from);
    }
    text[n] = '\0';
    if (!realpath(from, real) || strncmp(real, p->root, root) != 0 ||
        (real[root] != '/' && real[root])) {
        return error_set(err, ERR_INVALID,
                         "%s is a link to %.100s, outside of the folder: copy it, or remove it",
                         from, text);
    }
    if (text[0] == '/') {
        return error_set(err, ERR_INVALID, "%s is an absolute link: make it relative", from);
    }
    feed_entry(p, 'l', path, text);
    int rc = count_entry(p, 0, err);
    if (rc == 0 && symlink(text, to) != 0) {
        rc = error_from_errno(err, errno, "cannot make the link %s", to);
    }
    return rc;
}

static int pack_folder(struct packer *p, const char *rel, unsigned depth, struct error *err);

static int pack_entry(struct packer *p, const char *rel, const char *name, unsigned depth,
                      struct error *err)
{
    struct stat st;
    CLEANUP(cleanup_free) char *path = rel[0] ? fs_join(rel, name) : xstrdup(name);
    CLEANUP(cleanup_free) char *from = fs_join(p->root, path);
    CLEANUP(cleanup_free) char *to = fs_join(p->target, path);

    if (strcmp(name, ".git") == 0 || strcmp(from, p->home) == 0) {
        return 0;
    }
    if (lstat(from, &st) != 0) {
        return error_from_errno(err, errno, "cannot read %s", from);
    }
    if (S_ISREG(st.st_mode)) {
        return pack_file(p, from, to, path, &st, err);
    }
    if (S_ISLNK(st.st_mode)) {
        return pack_link(p, from, to, path, err);
    }
    if (!S_ISDIR(st.st_mode)) {
        return error_set(err, ERR_INVALID, "%s is neither a file, a folder nor a link", from);
    }
    if (mkdir(to, 0755) != 0 || chmod(to, 0755) != 0) {
        return error_from_errno(err, errno, "cannot make %s", to);
    }
    feed_entry(p, 'd', path, "");
    int rc = count_entry(p, 0, err);
    return rc ? rc : pack_folder(p, path, depth + 1, err);
}

static int pack_folder(struct packer *p, const char *rel, unsigned depth, struct error *err)
{
    struct dirent **names = NULL;
    CLEANUP(cleanup_free) char *folder = rel[0] ? fs_join(p->root, rel) : xstrdup(p->root);
    int rc = 0;

    if (depth > 64) {
        return error_set(err, ERR_TOO_BIG, "%s: folders are nested deeper than 64", folder);
    }
    int count = scandir(folder, &names, NULL, alphasort);
    if (count < 0) {
        return error_from_errno(err, errno, "cannot read the folder %s", folder);
    }
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (rc == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            rc = pack_entry(p, rel, name, depth, err);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

static int digest_hex(struct packer *p, char out[65])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    int ok = EVP_DigestFinal_ex(p->digest, md, &len);
    REQUIRE(ok == 1 && len == 32);
    for (unsigned i = 0; i < 32; i++) {
        snprintf(out + 2 * i, 3, "%02x", md[i]);
    }
    return 0;
}

static int bundle_finish(struct packer *p, const char *temp, const char *text, char hex[65],
                         struct error *err)
{
    CLEANUP(cleanup_free) char *json = fs_join(temp, "bundle.json");

    feed_entry(p, 'b', "bundle.json", text);
    digest_hex(p, hex);
    int rc = fs_write_atomic(json, slice_str(text), 0644, err);
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_free) char *final = xasprintf("%s/bundles/sha256-%s", p->home, hex);
    CLEANUP(cleanup_close) int dir = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || syncfs(dir) != 0) { // a deployed function must survive a power cut
        return error_from_errno(err, errno, "cannot write %s to disk", temp);
    }
    for (int left = STORE_TRIES;; left--) {
        if (rename(temp, final) == 0) {
            return 0;
        }
        if ((errno != ENOTEMPTY && errno != EEXIST) || left == 0) {
            return error_from_errno(err, errno, "cannot store the bundle %s", final);
        }
        // The same one is there; the temporary one is removed by the caller. Touched, it stays
        // until a Service names it (local/agent/bundle_gc.h). Gone in this moment: ours takes its
        // place.
        if (utimensat(AT_FDCWD, final, NULL, 0) == 0 || errno != ENOENT) {
            return 0;
        }
    }
}

int bundle_pack(const char *home, const char *name, const char *source, const char *workdir,
                const json_t *command, const json_t *env, char **out_image, struct error *err)
{
    char root[PATH_MAX] = "", suffix[9], hex[65];
    CLEANUP(cleanup_free) char *temp = xasprintf("%s/bundles/.new-%s", home, random_hex(suffix, 8));
    CLEANUP(cleanup_free) char *files = fs_join(temp, "files");
    struct packer p = {.root = root, .target = files, .home = home};

    if (source && !realpath(source, root)) {
        return error_from_errno(err, errno, "cannot read the folder %s", source);
    }
    json_t *json =
        json_pack("{s:O, s:o, s:s}", "command", command, "env",
                  env ? json_deep_copy(env) : json_object(), "workdir", source ? "files" : workdir);
    CLEANUP(cleanup_free) char *text = jdump_str(json);
    json_decref(json);
    int rc = fs_mkdir_p(files, 0755, err);
    p.digest = EVP_MD_CTX_new();
    REQUIRE(p.digest && EVP_DigestInit_ex(p.digest, EVP_sha256(), NULL) == 1);
    rc = rc || !source ? rc : pack_folder(&p, "", 0, err);
    rc = rc ? rc : bundle_finish(&p, temp, text, hex, err);
    EVP_MD_CTX_free(p.digest);
    (void)!fs_remove_tree(temp, NULL);
    if (rc == 0) {
        *out_image = xasprintf("dev.local/%s@sha256:%s", name, hex);
    }
    return rc;
}
