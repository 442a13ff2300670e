// SPDX-License-Identifier: Apache-2.0
//
// Everything is done in the text, which --print gives as well: objects of events.yaml take the
// place of those of the same kind and name, or come behind; then the names of images are replaced,
// where they stand as dev.local/lull-PART:dev, also within arguments; then the text is read.
// Failure: words that no image or Secret can have.
#include "cli/install_set.h"

#include <string.h>

#include "json/jget.h"
#include "json/jparse.h"
#include "yaml/yparse.h"

// From deploy/lull.yaml and deploy/events.yaml (cli/meson.build).
extern const char install_manifest[];
extern const size_t install_manifest_len;
extern const char events_manifest[];
extern const size_t events_manifest_len;

#define IMAGE_PREFIX "dev.local/lull-"
#define IMAGE_TAG    ":dev"
#define REDIS_SECRET "{name: " INSTALL_REDIS ", items: [{key: " INSTALL_REDIS_KEY ", path: url}]}"
// As the chart has it: TLS needs no more than one Secret.
#define REDIS_BESIDE                                                                      \
    "items: [{key: ca.crt, path: ca.crt}, {key: tls.crt, path: tls.crt}, {key: tls.key, " \
    "path: tls.key}, {key: sentinel-password, path: sentinel-password}]}"
#define SEPARATOR "\n---\n"
#define TEXT_MAX  (4u << 20)

const struct install_choice INSTALL_ALL = {.registry = "dev.local",
                                           .tag = "dev",
                                           .events = EVENTS_BUILTIN,
                                           .redis_image = INSTALL_REDIS_IMAGE};

static int check_words(const struct install_choice *choice, struct error *err)
{
    static const char LOWER[] = "abcdefghijklmnopqrstuvwxyz0123456789._-:/";
    static const char IMAGE[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@";
    static const char WORD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *registry = choice->registry, *tag = choice->tag;

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
    if (choice->events == EVENTS_BUILTIN &&
        (choice->redis_image[0] == '\0' ||
         choice->redis_image[strspn(choice->redis_image, IMAGE)] != '\0')) {
        return error_set(err, ERR_INVALID, "--redis-image \"%.80s\" is no name of an image",
                         choice->redis_image);
    }
    if (choice->events == EVENTS_SECRET &&
        (choice->redis_secret[0] == '\0' ||
         choice->redis_secret[strspn(choice->redis_secret, WORD)] != '\0' ||
         choice->redis_key[0] == '\0' ||
         choice->redis_key[strspn(choice->redis_key, WORD)] != '\0')) {
        return error_set(err, ERR_INVALID,
                         "--events-redis: \"%.80s/%.80s\" is no Secret and key; say builtin, none "
                         "or SECRET[/KEY]",
                         choice->redis_secret, choice->redis_key);
    }
    return 0;
}

// ---- which objects

// Takes the next object's text off the front of *rest.
static bool next_object(struct slice *rest, struct slice *object)
{
    if (rest->len == 0) {
        return false;
    }
    const char *end = memmem(rest->ptr, rest->len, SEPARATOR, strlen(SEPARATOR));
    size_t len = end ? (size_t)(end - rest->ptr) + 1 : rest->len;
    *object = slice_of(rest->ptr, len);
    size_t skip = end ? len + strlen(SEPARATOR) - 1 : len;
    *rest = slice_of(rest->ptr + skip, rest->len - skip);
    return true;
}

// The rest of the first line that begins so; empty: there is none.
static struct slice line_after(struct slice text, const char *begin)
{
    const char *at = memmem(text.ptr, text.len, begin, strlen(begin));
    if (!at) {
        return SLICE_LIT("");
    }
    at += strlen(begin);
    size_t left = (size_t)(text.ptr + text.len - at);
    const char *end = memchr(at, '\n', left);
    return slice_of(at, end ? (size_t)(end - at) : left);
}

static struct slice kind_of(struct slice object)
{
    return line_after(object, "\nkind: ");
}

static struct slice name_of(struct slice object)
{
    return line_after(object, "\n  name: ");
}

// The object of events.yaml with the kind and name of this one.
static bool find_same(struct slice events, struct slice object, struct slice *out)
{
    while (next_object(&events, out)) {
        if (slice_eq(kind_of(*out), kind_of(object)) && slice_eq(name_of(*out), name_of(object))) {
            return true;
        }
    }
    return false;
}

static void append_object(struct strbuf *out, struct slice object)
{
    strbuf_append_str(out, out->len ? "---\n" : "");
    strbuf_append(out, object.ptr, object.len);
}

static void merge(const struct install_choice *choice, struct strbuf *out)
{
    struct slice plain = slice_of(install_manifest, install_manifest_len);
    struct slice events = choice->events == EVENTS_NONE
                              ? SLICE_LIT("")
                              : slice_of(events_manifest, events_manifest_len);
    struct slice rest = plain;
    struct slice object, other;

    while (next_object(&rest, &object)) {
        append_object(out, find_same(events, object, &other) ? other : object);
    }
    for (rest = events; next_object(&rest, &object);) {
        bool redis = slice_eq_str(name_of(object), INSTALL_REDIS);
        if (kind_of(object).len != 0 && !find_same(plain, object, &other) &&
            (choice->events == EVENTS_BUILTIN || !redis)) {
            append_object(out, object);
        }
    }
}

// ---- names

// One replacement at `at`: the length of what is replaced; 0: none.
static size_t replace(const struct install_choice *choice, const char *at, struct strbuf *out)
{
    if (strncmp(at, IMAGE_PREFIX, strlen(IMAGE_PREFIX)) == 0) {
        const char *part = at + strlen("dev.local/");
        const char *end = part + strspn(part, "abcdefghijklmnopqrstuvwxyz-");
        if (strncmp(end, IMAGE_TAG, strlen(IMAGE_TAG)) == 0) {
            strbuf_appendf(out, "%s/%.*s:%s", choice->registry, (int)(end - part), part,
                           choice->tag);
            return (size_t)(end - at) + strlen(IMAGE_TAG);
        }
    }
    if (choice->events == EVENTS_BUILTIN &&
        strncmp(at, INSTALL_REDIS_IMAGE, strlen(INSTALL_REDIS_IMAGE)) == 0) {
        strbuf_append_str(out, choice->redis_image);
        return strlen(INSTALL_REDIS_IMAGE);
    }
    if (choice->events == EVENTS_SECRET && strncmp(at, REDIS_SECRET, strlen(REDIS_SECRET)) == 0) {
        strbuf_appendf(out,
                       "{name: \"%s\", items: [{key: \"%s\", path: url}]}\n"
                       "          - secret: {name: \"%s\", optional: true, " REDIS_BESIDE,
                       choice->redis_secret, choice->redis_key, choice->redis_secret);
        return strlen(REDIS_SECRET);
    }
    return 0;
}

int install_text(const struct install_choice *choice, struct strbuf *out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    CLEANUP(strbuf_fini) struct strbuf word;
    int rc = check_words(choice, err);

    strbuf_init(&text, TEXT_MAX);
    strbuf_init(&word, TEXT_MAX);
    if (rc < 0) {
        return rc;
    }
    merge(choice, &text);
    const char *copied = text.len ? text.ptr : "";
    for (const char *at = copied; *(at += strcspn(at, "d{")) != '\0';) { // they begin so
        strbuf_clear(&word);
        size_t len = replace(choice, at, &word);
        if (len == 0) {
            at++;
            continue;
        }
        strbuf_append(out, copied, (size_t)(at - copied));
        strbuf_append_slice(out, strbuf_slice(&word));
        at += len;
        copied = at;
    }
    strbuf_append_str(out, copied);
    return strbuf_ok(out) && strbuf_ok(&text)
               ? 0
               : error_set(err, ERR_TOO_BIG, "the manifests are too long");
}

int install_set_load(const struct install_choice *choice, struct install_set *out,
                     struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct yaml_docs docs = {0};

    strbuf_init(&text, TEXT_MAX);
    int rc = install_text(choice, &text, err);
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
