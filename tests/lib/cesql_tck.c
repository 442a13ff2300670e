// SPDX-License-Identifier: Apache-2.0
//
// cesql-tck FILE.yaml…: runs the cases of CloudEvents SQL's own test kit. A line for each case that
// fails, and at the end how many there were; status 1 when one failed or there was none.
//
// cesql-tck: answers questions as tests/reference/cesql/main.go does: a line of JSON each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "events/cesql.h"
#include "events/event_http.h"
#include "yaml/yparse.h"

/* What a case means that says nothing of the event: all attributes, and an extension of each kind.
 */
static const char FULL_EVENT[] =
    "{\"specversion\":\"1.0\",\"id\":\"full-event\",\"type\":\"com.example.FullEvent\","
    "\"source\":\"http://example.com/"
    "source\",\"subject\":\"topic\",\"time\":\"2020-03-21T12:34:56.78Z\","
    "\"dataschema\":\"http://example.com/schema\",\"datacontenttype\":\"text/"
    "json\",\"exbool\":true,"
    "\"exint\":42,\"exstring\":\"exstring\",\"data\":\"hello\"}";

static char *event_text(const json_t *test)
{
    json_t *event = jget(test, "event");
    json_t *whole = event != NULL ? json_incref(event) : json_loads(FULL_EVENT, 0, NULL);
    json_t *overrides = jget(test, "eventOverrides");
    if (overrides != NULL) {
        json_object_update(whole, overrides);
    }
    char *text = jdump_str(whole);
    json_decref(whole);
    return text;
}

static bool equal(const json_t *want, const struct cesql_value *got)
{
    if (json_is_string(want)) {
        return got->type == CESQL_STRING && slice_eq_str(got->string, json_string_value(want));
    }
    if (json_is_boolean(want)) {
        return got->type == CESQL_BOOLEAN && (got->number != 0) == json_is_true(want);
    }
    return json_is_integer(want) && got->type == CESQL_INTEGER &&
           got->number == json_integer_value(want);
}

/* An expression without quotes that YAML takes for a number or a boolean is a text all the same. */
static char *plain_text(const json_t *value)
{
    return json_is_string(value) ? xstrdup(json_string_value(value)) : jdump_str(value);
}

static bool run(const char *file, const json_t *test)
{
    struct error err = {.code = 0};
    CLEANUP(cleanup_free) char *plain = plain_text(json_object_get(test, "expression"));
    struct slice expression = slice_str(plain);
    const char *problem = jpeek_cstr(test, "error"); /* "": none */
    const json_t *want = json_object_get(test, "result");
    struct cesql *c;
    struct event ev;
    if (cesql_compile(expression, &c, &err) < 0) {
        bool meant = strcmp(problem, "parse") == 0;
        if (!meant) {
            printf("%s: %s: %s\n", file, jpeek_cstr(test, "name"), err.msg);
        }
        return meant;
    }
    CLEANUP(cleanup_free) char *text = event_text(test);
    if (event_json_read(slice_str(text), &ev, &err) < 0) {
        printf("%s: %s: %s\n", file, jpeek_cstr(test, "name"), err.msg);
        cesql_free(c);
        return false;
    }
    struct cesql_value value;
    const char *found = cesql_problem_name(cesql_run(c, &ev, &value));
    const char *wanted = problem[0] == '\0' ? "none" : problem;
    bool fine = strcmp(found, wanted) == 0 && (want == NULL || equal(want, &value));
    if (!fine) {
        printf("%s: %s: %.*s: type %d, %d, \"%.*s\", error %s\n", file, jpeek_cstr(test, "name"),
               SLICE_FMT(expression), (int)value.type, value.number,
               SLICE_FMT(value.type == CESQL_STRING ? value.string : SLICE_EMPTY), found);
    }
    event_fini(&ev);
    cesql_free(c);
    return fine;
}

static json_t *value_json(const struct cesql_value *value)
{
    return value->type == CESQL_STRING    ? json_stringn(value->string.ptr, value->string.len)
           : value->type == CESQL_INTEGER ? json_integer(value->number)
                                          : json_boolean(value->number);
}

static int answer(const char *line)
{
    struct error err;
    struct cesql *c;
    struct event ev;
    struct cesql_value value;
    json_t *question = json_loads(line, 0, NULL);
    CLEANUP(cleanup_free) char *event = jdump_str(jget(question, "event"));
    if (event_json_read(slice_str(event), &ev, &err) < 0) {
        fprintf(stderr, "%s: %s\n", line, err.msg);
        json_decref(question);
        return 2;
    }
    json_t *told = NULL;
    if (cesql_compile(jpeek_str(question, "expression"), &c, &err) < 0) {
        told = json_pack("{s:b,s:n,s:s}", "parse", 0, "value", "error", "");
    } else {
        const char *problem = cesql_problem_name(cesql_run(c, &ev, &value));
        told =
            json_pack("{s:b,s:o,s:s}", "parse", 1, "value", value_json(&value), "error", problem);
        cesql_free(c);
    }
    CLEANUP(cleanup_free) char *text = jdump_str(told);
    puts(text);
    json_decref(told);
    json_decref(question);
    event_fini(&ev);
    return 0;
}

static int answer_all(void)
{
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    while (rc == 0 && getline(&line, &cap, stdin) > 0) {
        rc = answer(line);
    }
    free(line);
    return rc;
}

int main(int argc, char **argv)
{
    size_t cases = 0, failed = 0;
    if (argc == 1) {
        return answer_all();
    }
    for (int i = 1; i < argc; i++) {
        struct error err;
        struct yaml_docs docs;
        CLEANUP(strbuf_fini) struct strbuf text;
        strbuf_init(&text, 1 << 20);
        if (fs_read_file(argv[i], 1 << 20, &text, &err) < 0 ||
            yparse(strbuf_slice(&text), &docs, &err) < 0) {
            fprintf(stderr, "%s: %s\n", argv[i], err.msg);
            return 2;
        }
        size_t k;
        json_t *test;
        json_array_foreach(jpeek_arr(docs.items[0].value, "tests"), k, test)
        {
            cases++;
            failed += !run(argv[i], test);
        }
        yaml_docs_fini(&docs);
    }
    printf("%zu cases, %zu failed\n", cases, failed);
    return cases == 0 || failed > 0;
}
