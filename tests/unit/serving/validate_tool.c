// SPDX-License-Identifier: Apache-2.0
/*
 * Defaults and validates objects from lines of JSON as tests/reference writes them, and compares
 * with the reference's answers:
 *   validate_tool FILE          compares every line of FILE; prints what differs; exit 1 then
 *   validate_tool --print FILE  prints our answers instead, a line of JSON each
 * A line: kind, config, user, status, old, object; and the answer: decode, refused, out, error,
 * warnings. `ours` is our error where it is another on purpose; of a `loose` line only the first
 * line of the error is compared.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/autoscaler_json.h"
#include "serving/defaults.h"

enum { FILE_MAX = 64 << 20, CASES_MIN = 300 };

struct answer {
    bool decode;  /* the object has no readable shape */
    bool refused; /* the configuration is refused */
    struct error err;
    json_t *out;
    struct serving_report report;
};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (strcmp(kind->kind, name) == 0) {
            return kind;
        }
    }
    return NULL;
}

static int configure(const json_t *config, struct serving_config *out, struct error *err)
{
    serving_config_init(out);
    int rc = serving_config_read(out, json_object_get(config, "defaults"), err);
    features_read(&out->features, json_object_get(config, "features"));
    if (rc == 0) {
        rc = autoscaler_config_from_json(json_object_get(config, "autoscaler"), &out->autoscaler,
                                         err);
    }
    return rc;
}

static void answer(const json_t *line, struct answer *a)
{
    struct serving_config config;
    struct serving_request request = {.kind = kind_of(jpeek_cstr(line, "kind")),
                                      .old = json_object_get(line, "old"),
                                      .user = jpeek_cstr(line, "user"),
                                      .status_update = jpeek_bool(line, "status")};
    *a = (struct answer){.out = json_deep_copy(json_object_get(line, "object"))};
    serving_report_init(&a->report);
    if (request.kind == NULL) {
        fprintf(stderr, "%s: unknown kind\n", jpeek_cstr(line, "name"));
        exit(2);
    }
    if (configure(json_object_get(line, "config"), &config, &a->err) < 0) {
        a->refused = true;
    } else if (serving_default_request(&config, &request, a->out, &a->err) < 0) {
        a->decode = true;
    } else {
        (void)!serving_validate_request(&config, &request, a->out, &a->report);
    }
}

static void answer_fini(struct answer *a)
{
    json_decref(a->out);
    serving_report_fini(&a->report);
}

/* What Go prints and JSON need not say: nulls, and the status that we did not touch. */
static void strip(json_t *value, bool top)
{
    const char *key;
    json_t *member;
    void *next;
    size_t i;
    if (top) {
        (void)json_object_del(value, "status");
    }
    json_object_foreach_safe(value, next, key, member)
    {
        if (json_is_null(member)) {
            (void)json_object_del(value, key);
        } else {
            strip(member, false);
        }
    }
    json_array_foreach(value, i, member)
    {
        strip(member, false);
    }
}

static char *canonical(const json_t *object)
{
    struct strbuf text;
    CLEANUP(jfree) json_t *copy = json_deep_copy(object);
    strip(copy, true);
    strbuf_init(&text, FILE_MAX);
    (void)!jdump_canonical(copy, &text, NULL);
    return strbuf_take(&text, NULL);
}

static bool same_text(const char *name, const char *what, const char *want, const char *got,
                      bool loose)
{
    size_t len = loose ? strcspn(want, "\n") : strlen(want);
    if (strncmp(want, got, len) == 0 && (got[len] == '\0' || loose)) {
        return true;
    }
    printf("%s: %s\n  reference: %s\n  ours:      %s\n", name, what, want, got);
    return false;
}

static bool compare(const json_t *line, const struct answer *a)
{
    const char *name = jpeek_cstr(line, "name");
    bool other = json_object_get(line, "ours") != NULL;
    const char *ours = jpeek_cstr(line, "ours");
    const char *refused = jpeek_cstr(line, "refused");
    bool loose = jpeek_bool(line, "loose");
    if (refused[0] != '\0' || a->refused) {
        return same_text(name, "configuration", other ? ours : refused,
                         a->refused ? a->err.msg : "", loose);
    }
    if (jpeek_cstr(line, "decode")[0] != '\0' || a->decode) {
        return same_text(name, "shape", ours, a->err.msg, loose) && a->decode;
    }
    bool same = true;
    if (json_object_get(line, "out") != NULL) {
        CLEANUP(cleanup_free) char *want = canonical(json_object_get(line, "out"));
        CLEANUP(cleanup_free) char *got = canonical(a->out);
        same = same_text(name, "defaulted", want, got, false);
    }
    same = same_text(name, "error", other ? ours : jpeek_cstr(line, "error"), a->report.errors.ptr,
                     loose) &&
           same;
    if (jpeek_bool(line, "warn")) {
        same = same_text(name, "warnings", jpeek_cstr(line, "warnings"), a->report.warnings.ptr,
                         false) &&
               same;
    }
    return same;
}

static void print(const json_t *line, const struct answer *a)
{
    const char *error = a->refused || a->decode ? a->err.msg : a->report.errors.ptr;
    CLEANUP(jfree)
    json_t *out = json_pack("{s:s,s:O,s:s,s:s}", "name", jpeek_cstr(line, "name"), "out", a->out,
                            "error", error, "warnings", a->report.warnings.ptr);
    CLEANUP(cleanup_free) char *text = jdump_str(out);
    puts(text);
}

int main(int argc, char **argv)
{
    bool printing = argc == 3 && strcmp(argv[1], "--print") == 0;
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    size_t cases = 0;
    size_t bad = 0;
    strbuf_init(&text, FILE_MAX);
    if ((argc != 2 && !printing) || fs_read_file(argv[argc - 1], FILE_MAX, &text, &err) < 0) {
        fprintf(stderr, "usage: validate_tool [--print] FILE: %s\n", argc > 1 ? err.msg : "");
        return 2;
    }
    struct slice rest = strbuf_slice(&text);
    struct slice row;
    while (slice_split(&rest, '\n', &row)) {
        json_t *line = NULL;
        struct answer a;
        if (row.len == 0) {
            continue;
        }
        if (jparse_object(row, FILE_MAX, &line, &err) < 0) {
            fprintf(stderr, "line %zu: %s\n", cases + 1, err.msg);
            return 2;
        }
        answer(line, &a);
        if (printing) {
            print(line, &a);
        } else {
            bad += compare(line, &a) ? 0 : 1;
        }
        cases++;
        answer_fini(&a);
        json_decref(line);
    }
    if (!printing) {
        printf("%zu cases, %zu differ\n", cases, bad);
    }
    return printing || (bad == 0 && cases >= CASES_MIN) ? 0 : 1;
}
