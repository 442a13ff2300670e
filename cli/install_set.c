// SPDX-License-Identifier: Apache-2.0
//
// The names of images are replaced in the text, where they stand as dev.local/lull-PART:dev, also
// within arguments; then the text is read. Failure: a registry or tag that no image can have.
#include "cli/install_set.h"

#include <string.h>

#include "json/jget.h"
#include "json/jparse.h"
#include "yaml/yparse.h"

// From deploy/lull.yaml (cli/meson.build).
extern const char install_manifest[];
extern const size_t install_manifest_len;

#define IMAGE_PREFIX "dev.local/lull-"
#define IMAGE_TAG    ":dev"
#define TEXT_MAX     (4u << 20)

static int check_words(const char *registry, const char *tag, struct error *err)
{
    static const char LOWER[] = "abcdefghijklmnopqrstuvwxyz0123456789._-:/";
    static const char WORD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    if (registry[0] == '\0' || registry[strspn(registry, LOWER)] != '\0') {
        return error_set(err, ERR_INVALID,
                         "--registry \"%.80s\" cannot begin the name of an image; it looks like "
                         "registry.example/lull",
                         registry);
    }
    if (tag[0] == '\0' || tag[0] == '.' || tag[0] == '-' || strlen(tag) > 128 ||
        tag[strspn(tag, WORD)] != '\0') {
        return error_set(err, ERR_INVALID, "--tag \"%.80s\" is no tag of an image", tag);
    }
    return 0;
}

int install_text(const char *registry, const char *tag, struct strbuf *out, struct error *err)
{
    const char *at = install_manifest;
    const char *found;
    int rc = check_words(registry, tag, err);

    if (rc < 0) {
        return rc;
    }
    while ((found = strstr(at, IMAGE_PREFIX)) != NULL) {
        const char *part = found + strlen("dev.local/");
        const char *end = part + strspn(part, "abcdefghijklmnopqrstuvwxyz-");
        bool image = strncmp(end, IMAGE_TAG, strlen(IMAGE_TAG)) == 0;
        strbuf_append(out, at, (size_t)(found - at));
        if (image) {
            strbuf_appendf(out, "%s/%.*s:%s", registry, (int)(end - part), part, tag);
            end += strlen(IMAGE_TAG);
        } else {
            strbuf_append(out, found, (size_t)(end - found));
        }
        at = end;
    }
    strbuf_append_str(out, at);
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the manifests are too long");
}

int install_set_load(const char *registry, const char *tag, struct install_set *out,
                     struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct yaml_docs docs = {0};

    strbuf_init(&text, TEXT_MAX);
    int rc = install_text(registry, tag, &text, err);
    rc = rc ? rc : yparse(strbuf_slice(&text), &docs, err);
    if (rc < 0) {
        return rc;
    }
    out->objects = json_array();
    for (size_t i = 0; i < docs.count; i++) {
        json_array_append(out->objects, docs.items[i].value);
    }
    yaml_docs_fini(&docs);
    return 0;
}

void install_set_fini(struct install_set *set)
{
    json_decref(set->objects);
    set->objects = NULL;
}

bool install_keeps(const json_t *object)
{
    const json_t *annotations = jpeek_obj(object, "metadata.annotations");
    const char *keep = json_string_value(json_object_get(annotations, "helm.sh/resource-policy"));

    return (keep && strcmp(keep, "keep") == 0) ||
           (strcmp(jpeek_cstr(object, "kind"), "Namespace") == 0 &&
            strcmp(jpeek_cstr(object, "metadata.name"), INSTALL_NAMESPACE) == 0);
}
