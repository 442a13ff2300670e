// SPDX-License-Identifier: Apache-2.0
/*
 * What our own kinds of sources get by default, and what is asked of them: WebhookSource,
 * RedisSource, FileSource. Failure mode: problems that say what to write instead.
 */
#include "json/jedit.h"
#include "json/jget.h"
#include "eventing/period.h"
#include "eventing/rules.h"

enum { SECRETS_MAX = 8, PARALLELISM_MAX = 1000, TEXT_MAX = 256 };

static void default_ref(json_t *ref, struct slice ns)
{
    if (ref != NULL && ns.len > 0 && jget(ref, "namespace") == NULL) {
        jset_text(ref, "namespace", ns.ptr);
    }
}

void source_default_ours(json_t *spec, struct slice ns)
{
    default_ref(jpeek_obj(spec, "sink.ref"), ns);
    default_ref(jpeek_obj(spec, "delivery.deadLetterSink.ref"), ns);
}

/* --- what they have in common -------------------------------------------------------------- */

/* words: the ones that are taken, with a NUL between and two at the end. */
static void check_word(struct problems *p, const json_t *spec, const char *field,
                       const char *const *words, bool needed)
{
    struct slice text = jpeek_str(spec, field);
    if (text.len == 0 && needed) {
        problem_missing(p, field);
        return;
    }
    for (size_t i = 0; words[i] != NULL; i++) {
        if (text.len == 0 || slice_eq_str(text, words[i])) {
            return;
        }
    }
    problem_invalid(p, field, text);
}

static void check_period(struct problems *p, const json_t *spec, const char *field)
{
    int64_t ms = 0;
    struct slice text = jpeek_str(spec, field);
    if (text.len > 0 && (period_parse_ms(text, &ms, NULL) < 0 || ms < 0)) {
        problem_invalid(p, field, text);
    }
}

static void check_number(struct problems *p, const json_t *spec, const char *field, int64_t min,
                         int64_t max)
{
    int64_t n = jpeek_i64(spec, field);
    if (jget(spec, field) != NULL && (n < min || n > max)) {
        problem_bounds(p, field, n, min, max);
    }
}

static void check_selector(struct problems *p, const json_t *value)
{
    const json_t *selector = jpeek_obj(value, "secretKeyRef");
    if (selector == NULL) {
        problem_missing(p, "secretKeyRef");
        return;
    }
    if (jpeek_str(selector, "name").len == 0) {
        problem_missing(p, "secretKeyRef.name");
    }
    if (jpeek_str(selector, "key").len == 0) {
        problem_missing(p, "secretKeyRef.key");
    }
}

static void check_common(struct problems *p, const json_t *spec)
{
    rules_source(p, spec);
    size_t mark = problems_mark(p);
    rules_delivery(p, jpeek_obj(spec, "delivery"));
    problems_via(p, mark, "delivery");
    check_number(p, spec, "parallelism", 1, PARALLELISM_MAX);
}

static void check_spec(struct problems *p, const json_t *object,
                       void (*check)(struct problems *p, const json_t *spec))
{
    size_t mark = problems_mark(p);
    const json_t *spec = jpeek_obj(object, "spec");
    check_common(p, spec);
    check(p, spec);
    problems_via(p, mark, "spec");
}

/* --- WebhookSource ------------------------------------------------------------------------- */

static bool is_token(struct slice text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return text.len > 0 && text.len <= TEXT_MAX;
}

static void check_header(struct problems *p, const json_t *object, const char *field)
{
    struct slice text = jpeek_str(object, field);
    if (text.len > 0 && !is_token(text)) {
        problem_invalid(p, field, text);
        problem_details(p, "the name of a header is letters, digits and dashes");
    }
}

/* a.b.c, nothing empty */
static void check_member(struct problems *p, const json_t *object, const char *field)
{
    struct slice text = jpeek_str(object, field);
    struct slice rest = text;
    struct slice name;
    bool good = text.len <= TEXT_MAX;
    while (text.len > 0 && slice_split(&rest, '.', &name)) {
        good = good && name.len > 0;
    }
    if (!good) {
        problem_invalid(p, field, text);
        problem_details(p, "a member of the body is named as a.b.c");
    }
}

static void check_signature(struct problems *p, const json_t *signature)
{
    static const char *const schemes[] = {"github", "stripe", "generic", "none", NULL};
    static const char *const encodings[] = {"hex", "base64", NULL};
    struct slice scheme = jpeek_str(signature, "scheme");
    const json_t *secrets = jpeek_arr(signature, "secrets");
    size_t i;
    json_t *one;
    check_word(p, signature, "scheme", schemes, true);
    check_word(p, signature, "encoding", encodings, false);
    check_number(p, signature, "toleranceSeconds", 1, 86400);
    check_header(p, signature, "header");
    if (slice_eq_str(scheme, "generic") && jpeek_str(signature, "header").len == 0) {
        problem_missing(p, "header");
    }
    if (jpeek_str(signature, "prefix").len > TEXT_MAX) {
        problem_invalid(p, "prefix", SLICE_LIT("longer than 256 bytes"));
    }
    bool none = slice_eq_str(scheme, "none");
    if (!none && json_array_size(secrets) == 0) {
        problem_missing(p, "secrets");
        problem_details(p, "scheme none takes requests of everybody");
    } else if (none && json_array_size(secrets) > 0) {
        problem_disallowed(p, "secrets");
        problem_details(p, "scheme none checks no signature");
    } else if (json_array_size(secrets) > SECRETS_MAX) {
        problem_bounds(p, "secrets", (int64_t)json_array_size(secrets), 1, SECRETS_MAX);
    }
    json_array_foreach(secrets, i, one)
    {
        size_t mark = problems_mark(p);
        check_selector(p, one);
        problems_via_index(p, mark, i);
        problems_via(p, mark, "secrets");
    }
}

static void check_webhook(struct problems *p, const json_t *spec)
{
    const json_t *event = jpeek_obj(spec, "event");
    size_t mark = problems_mark(p);
    if (jpeek_obj(spec, "signature") == NULL) {
        problem_missing(p, "signature");
    } else {
        check_signature(p, jpeek_obj(spec, "signature"));
        problems_via(p, mark, "signature");
    }
    mark = problems_mark(p);
    check_header(p, event, "typeHeader");
    check_header(p, event, "idHeader");
    check_member(p, event, "typeField");
    check_member(p, event, "idField");
    problems_via(p, mark, "event");
    check_period(p, spec, "deduplicate");
    check_number(p, spec, "maxBodyBytes", 1, 64 << 20);
}

void source_check_webhook(struct problems *p, const json_t *object)
{
    check_spec(p, object, check_webhook);
}

/* --- RedisSource --------------------------------------------------------------------------- */

/* One of two members must be there. */
static bool one_of(struct problems *p, const json_t *spec, const char *a, const char *b)
{
    bool has_a = jget(spec, a) != NULL;
    bool has_b = jget(spec, b) != NULL;
    if (has_a == has_b) {
        problem_add(p, a, "expected exactly one, got %s", has_a ? "both" : "neither");
        problem_path(p, b);
    }
    return has_a != has_b;
}

static void check_url(struct problems *p, const json_t *spec)
{
    struct slice url = jpeek_str(spec, "url");
    bool known = slice_starts_with(url, SLICE_LIT("redis://")) ||
                 slice_starts_with(url, SLICE_LIT("rediss://")) ||
                 slice_starts_with(url, SLICE_LIT("unix:/"));
    if (!one_of(p, spec, "url", "urlFrom")) {
        return;
    }
    if (jget(spec, "urlFrom") != NULL) {
        size_t mark = problems_mark(p);
        check_selector(p, jpeek_obj(spec, "urlFrom"));
        problems_via(p, mark, "urlFrom");
    } else if (!known) {
        problem_add(p, "url", "must begin with redis://, rediss:// or unix:/");
    } else if (slice_find(url, '@') >= 0) {
        problem_add(p, "url", "a password does not stand here: name a Secret in urlFrom");
    }
}

static void check_redis(struct problems *p, const json_t *spec)
{
    static const char *const froms[] = {"new", "first", NULL};
    static const char *const ends[] = {"right", "left", NULL};
    check_url(p, spec);
    if (!one_of(p, spec, "stream", "list")) {
        return;
    }
    size_t mark = problems_mark(p);
    const json_t *stream = jpeek_obj(spec, "stream");
    const json_t *list = jpeek_obj(spec, "list");
    if (jpeek_str(stream != NULL ? stream : list, "key").len == 0) {
        problem_missing(p, "key");
    }
    check_word(p, stream, "from", froms, false);
    check_word(p, list, "end", ends, false);
    if (list != NULL && jpeek_str(list, "processing").len > 0 &&
        slice_eq(jpeek_str(list, "processing"), jpeek_str(list, "key"))) {
        problem_add(p, "processing", "must be another list than key");
    }
    problems_via(p, mark, stream != NULL ? "stream" : "list");
}

void source_check_redis(struct problems *p, const json_t *object)
{
    check_spec(p, object, check_redis);
}

/* --- FileSource ---------------------------------------------------------------------------- */

static bool has_dots(struct slice path)
{
    struct slice rest = path;
    struct slice name;
    while (slice_split(&rest, '/', &name)) {
        if (slice_eq_str(name, "..") || slice_eq_str(name, ".")) {
            return true;
        }
    }
    return false;
}

static void check_file(struct problems *p, const json_t *spec)
{
    static const char *const modes[] = {"auto", "data", "reference", NULL};
    static const char *const afters[] = {"move", "keep", NULL};
    struct slice path = jpeek_str(spec, "path");
    struct slice pattern = jpeek_str(spec, "pattern");
    if (path.len == 0) {
        problem_missing(p, "path");
    } else if (path.ptr[0] != '/' || path.len == 1 || has_dots(path) || path.len > 3072) {
        problem_invalid(p, "path", path);
        problem_details(p, "an absolute path of a folder, without . and ..");
    }
    if (slice_find(pattern, '/') >= 0 || pattern.len > TEXT_MAX) {
        problem_invalid(p, "pattern", pattern);
        problem_details(p,
                        "a pattern of names, as *.csv: folders in the folder are not looked into");
    }
    check_word(p, spec, "mode", modes, false);
    check_word(p, spec, "after", afters, false);
    check_period(p, spec, "settle");
    check_number(p, spec, "maxDataBytes", 0, 16 << 20);
}

void source_check_file(struct problems *p, const json_t *object)
{
    check_spec(p, object, check_file);
}
