// SPDX-License-Identifier: Apache-2.0
/*
 * The names of images: [REGISTRY/]REPOSITORY[:TAG][@sha256:HEX]. Only the form is looked at.
 * Failure mode: false.
 */
#include "serving/rules.h"

static bool only_chars(struct slice s, const char *more, bool upper, size_t min, size_t max)
{
    if (s.len < min || s.len > max) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    (upper && c >= 'A' && c <= 'Z') || (c != '\0' && strchr(more, c) != NULL);
        if (!fine) {
            return false;
        }
    }
    return true;
}

/* HOST[:PORT] as a URL may have it. */
static bool registry_valid(struct slice s)
{
    ptrdiff_t colon = slice_rfind(s, ':');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c >= 0x80 || (c != '\0' && strchr("!$&'()*+,;=:<>\"-_.~[]", c) != NULL);
        if (!fine) {
            return false;
        }
    }
    if (slice_find(s, '[') >= 0 || slice_find(s, ']') >= 0) {
        ptrdiff_t end = slice_rfind(s, ']');
        bool literal = s.ptr[0] == '[' && end > 0 && slice_rfind(s, '[') == 0;
        struct slice rest = slice_sub(s, end < 0 ? 0 : (size_t)end + 1, s.len);
        return literal &&
               (rest.len == 0 ||
                (rest.ptr[0] == ':' && only_chars(slice_sub(rest, 1, rest.len), "", false, 0, 9)));
    }
    if (colon < 0) {
        return true;
    }
    struct slice port = slice_sub(s, (size_t)colon + 1, s.len);
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool repository_valid(struct slice s)
{
    ptrdiff_t slash = slice_find(s, '/');
    if (slash >= 0) {
        struct slice registry = slice_sub(s, 0, (size_t)slash);
        if (slice_find(registry, '.') >= 0 || slice_find(registry, ':') >= 0) {
            /* Our own bundles are named after functions, whose names may be one letter. */
            size_t min = slice_eq_str(registry, "dev.local") ? 1 : 2;
            return only_chars(slice_sub(s, (size_t)slash + 1, s.len), "_-./", false, min, 255) &&
                   registry_valid(registry);
        }
    }
    return only_chars(s, "_-./", false, 2, 255);
}

static bool tag_valid(struct slice s)
{
    ptrdiff_t colon = slice_rfind(s, ':');
    if (colon >= 0) {
        struct slice tag = slice_sub(s, (size_t)colon + 1, s.len);
        if (slice_find(tag, '/') < 0) {
            return only_chars(tag, "_-.", true, 0, 128) &&
                   repository_valid(slice_sub(s, 0, (size_t)colon));
        }
    }
    return repository_valid(s);
}

bool image_reference_valid(struct slice image)
{
    ptrdiff_t at = slice_find(image, '@');
    if (tag_valid(image)) {
        return true;
    }
    if (at < 0) {
        return false;
    }
    struct slice base = slice_sub(image, 0, (size_t)at);
    struct slice digest = slice_sub(image, (size_t)at + 1, image.len);
    if (!slice_starts_with(digest, SLICE_LIT("sha256:")) || digest.len != strlen("sha256:") + 64) {
        return false;
    }
    for (size_t i = strlen("sha256:"); i < digest.len; i++) {
        char c = digest.ptr[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return tag_valid(base) || repository_valid(base);
}
