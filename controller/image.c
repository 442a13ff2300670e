// SPDX-License-Identifier: Apache-2.0
/*
 * Texts of others, each with its bounds: what does not fit or does not have the form is refused,
 * and never cut.
 */
#include "controller/image.h"

#include <strings.h>

#include "base/base64.h"
#include "json/jget.h"
#include "json/jparse.h"

enum { CONFIG_MAX = 1 << 20, AUTH_MAX = 8192 };

#define DOCKER_HUB "index.docker.io"

/* --- names --------------------------------------------------------------------------------- */

/* The first part names a registry when it looks like a host. */
static bool is_host(struct slice part)
{
    return slice_find(part, '.') >= 0 || slice_find(part, ':') >= 0 ||
           slice_eq_str(part, "localhost");
}

static bool is_private(const char *host)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    char end = 0;
    if (sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &end) != 4) {
        return false;
    }
    return a == 127 || a == 10 || (a == 172 && b >= 16 && b < 32) || (a == 192 && b == 168);
}

static bool is_near(const char *registry)
{
    char host[256];
    struct slice name = slice_str(registry);
    ptrdiff_t colon = slice_rfind(name, ':');
    (void)slice_copy(colon > 0 ? slice_sub(name, 0, (size_t)colon) : name, host, sizeof(host));
    return strcmp(host, "localhost") == 0 ||
           slice_ends_with(slice_str(host), SLICE_LIT(".local")) || strcmp(host, "[::1]") == 0 ||
           is_private(host);
}

static bool plain_chars(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c != '\0' && strchr("._-/:[]", c) != NULL);
        if (!fine) {
            return false;
        }
    }
    return s.len > 0;
}

int image_ref_parse(const char *image, struct image_ref *out, struct error *err)
{
    struct slice rest = slice_str(image);
    struct slice registry = slice_str(DOCKER_HUB), tag = slice_str("latest");
    *out = (struct image_ref){.has_digest = slice_find(rest, '@') >= 0};
    if (out->has_digest) {
        rest = slice_sub(rest, 0, (size_t)slice_find(rest, '@'));
    }
    ptrdiff_t slash = slice_find(rest, '/');
    if (slash > 0 && is_host(slice_sub(rest, 0, (size_t)slash))) {
        registry = slice_sub(rest, 0, (size_t)slash);
        rest = slice_sub(rest, (size_t)slash + 1, rest.len);
    }
    ptrdiff_t colon = slice_rfind(rest, ':');
    if (colon > 0) {
        tag = slice_sub(rest, (size_t)colon + 1, rest.len);
        rest = slice_sub(rest, 0, (size_t)colon);
    }
    if (slice_eq_str(registry, "docker.io")) {
        registry = slice_str(DOCKER_HUB);
    }
    bool official = slice_eq_str(registry, DOCKER_HUB) && slice_find(rest, '/') < 0;
    char repository[256];
    int n = snprintf(repository, sizeof(repository), "%s%.*s", official ? "library/" : "",
                     SLICE_FMT(rest));
    bool fits = n > 0 && (size_t)n < sizeof(repository) && plain_chars(rest) &&
                plain_chars(registry) && plain_chars(tag) && slice_find(tag, '/') < 0 &&
                slice_copy(registry, out->registry, sizeof(out->registry)) &&
                slice_copy(tag, out->tag, sizeof(out->tag)) &&
                slice_copy(slice_str(repository), out->repository, sizeof(out->repository));
    if (!fits) {
        return error_set(err, ERR_INVALID, "could not parse reference: %.200s", image);
    }
    out->near = is_near(out->registry);
    return 0;
}

bool image_ref_listed(const struct image_ref *ref, const char *list)
{
    struct slice rest = slice_str(list), one;
    while (slice_split(&rest, ',', &one)) {
        if (slice_eq_str(slice_trim(one), ref->registry)) {
            return true;
        }
    }
    return false;
}

bool image_digest_valid(struct slice digest)
{
    static const char prefix[] = "sha256:";
    if (digest.len != strlen(prefix) + 64 || !slice_starts_with(digest, slice_str(prefix))) {
        return false;
    }
    for (size_t i = strlen(prefix); i < digest.len; i++) {
        char c = digest.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* --- challenges ---------------------------------------------------------------------------- */

/* key="value" or key=value behind spaces and commas; false at the end. */
static bool next_parameter(struct slice *rest, struct slice *key, struct slice *value)
{
    while (rest->len > 0 && strchr(", \t", rest->ptr[0]) != NULL) {
        *rest = slice_sub(*rest, 1, rest->len);
    }
    ptrdiff_t equals = slice_find(*rest, '=');
    if (equals <= 0) {
        return false;
    }
    *key = slice_trim(slice_sub(*rest, 0, (size_t)equals));
    *rest = slice_sub(*rest, (size_t)equals + 1, rest->len);
    bool quoted = rest->len > 0 && rest->ptr[0] == '"';
    *rest = slice_sub(*rest, quoted, rest->len);
    ptrdiff_t end = slice_find(*rest, quoted ? '"' : ',');
    size_t len = end < 0 ? rest->len : (size_t)end;
    *value = slice_sub(*rest, 0, len);
    *rest = slice_sub(*rest, len + 1, rest->len);
    return true;
}

static bool has_word(struct slice text, const char *word)
{
    return text.len >= strlen(word) && strncasecmp(text.ptr, word, strlen(word)) == 0;
}

/* "Negotiate, Bearer realm" begins the parameters of another scheme. */
static void split_scheme(struct slice *key, struct slice *scheme)
{
    ptrdiff_t comma = slice_rfind(*key, ',');
    *key = slice_trim(slice_sub(*key, (size_t)(comma + 1), key->len));
    ptrdiff_t space = slice_find(*key, ' ');
    if (space > 0) {
        *scheme = slice_sub(*key, 0, (size_t)space);
        *key = slice_trim(slice_sub(*key, (size_t)space, key->len));
    }
}

void image_challenge_parse(struct slice header, struct image_challenge *out)
{
    struct slice key, value, scheme = {0};
    *out = (struct image_challenge){0};
    header = slice_trim(header);
    out->basic = has_word(header, "Basic");
    bool fits = true;
    while (next_parameter(&header, &key, &value)) {
        split_scheme(&key, &scheme);
        out->basic |= slice_eq_nocase(scheme, SLICE_LIT("Basic"));
        if (!slice_eq_nocase(scheme, SLICE_LIT("Bearer"))) {
            continue;
        }
        if (slice_eq_str(key, "realm")) {
            fits &= slice_copy(value, out->realm, sizeof(out->realm));
        } else if (slice_eq_str(key, "service")) {
            fits &= slice_copy(value, out->service, sizeof(out->service));
        } else if (slice_eq_str(key, "scope")) {
            fits &= slice_copy(value, out->scope, sizeof(out->scope));
        }
    }
    out->bearer = fits && (has_word(slice_str(out->realm), "https://") ||
                           has_word(slice_str(out->realm), "http://"));
}

static void append_query(struct strbuf *out, const char *key, const char *value)
{
    (void)strbuf_appendf(out, "%c%s=", strchr(out->ptr, '?') == NULL ? '?' : '&', key);
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~:/,", c) != NULL;
        (void)strbuf_appendf(out, plain ? "%c" : "%%%02X", c);
    }
}

int image_token_url(const struct image_challenge *challenge, const char *scope, struct strbuf *out,
                    struct error *err)
{
    (void)strbuf_append_str(out, challenge->realm);
    if (challenge->service[0] != '\0') {
        append_query(out, "service", challenge->service);
    }
    append_query(out, "scope", challenge->scope[0] != '\0' ? challenge->scope : scope);
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the challenge is too long");
}

/* --- pull secrets -------------------------------------------------------------------------- */

/* A key may be a URL: its host counts. */
static bool names_registry(const char *key, const char *registry)
{
    struct slice host = slice_str(key);
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (slice_starts_with(host, slice_str(schemes[i]))) {
            host = slice_sub(host, strlen(schemes[i]), host.len);
        }
    }
    ptrdiff_t slash = slice_find(host, '/');
    host = slash >= 0 ? slice_sub(host, 0, (size_t)slash) : host;
    return slice_eq_str(host, registry) ||
           (slice_eq_str(host, "docker.io") && strcmp(registry, DOCKER_HUB) == 0);
}

static int entry_auth(const json_t *entry, struct strbuf *out)
{
    const char *auth = jpeek_cstr(entry, "auth");
    const char *user = jpeek_cstr(entry, "username");
    if (auth[0] != '\0') {
        return strbuf_append_str(out, auth);
    }
    if (user[0] == '\0') {
        return ERR_NOT_FOUND;
    }
    CLEANUP(strbuf_fini) struct strbuf pair;
    strbuf_init(&pair, AUTH_MAX);
    (void)strbuf_appendf(&pair, "%s:%s", user, jpeek_cstr(entry, "password"));
    base64_append(out, strbuf_slice(&pair));
    return strbuf_ok(out) && strbuf_ok(&pair) ? 0 : ERR_TOO_BIG;
}

int image_credentials(const json_t *secret, const char *registry, struct strbuf *out,
                      struct error *err)
{
    static const char *const keys[] = {".dockerconfigjson", ".dockercfg"};
    const json_t *data = jpeek_obj(secret, "data");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        CLEANUP(strbuf_fini) struct strbuf text;
        CLEANUP(jfree) json_t *config = NULL;
        const char *coded = json_string_value(json_object_get(data, keys[i]));
        strbuf_init(&text, CONFIG_MAX);
        if (coded == NULL || base64_decode(slice_str(coded), &text, NULL) < 0 ||
            jparse_object(strbuf_slice(&text), CONFIG_MAX, &config, NULL) < 0) {
            continue;
        }
        json_t *auths = i == 0 ? json_object_get(config, "auths") : config;
        const char *key;
        json_t *entry;
        json_object_foreach(auths, key, entry)
        {
            if (names_registry(key, registry) && entry_auth(entry, out) == 0) {
                return 0;
            }
        }
    }
    return error_set(err, ERR_NOT_FOUND, "no credentials for %s", registry);
}
