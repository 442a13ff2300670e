// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: by the type of the first good answer.
 * Failure modes: a worker that did not answer is left out; JSON that is none is left out.
 */
#include "activator/workers_page.h"

#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jparse.h"

#define JSON_MAX (64u << 20)

enum metric_merge_how workers_page_rule(struct slice name)
{
    if (slice_ends_with(name, SLICE_LIT("_connected"))) {
        return METRIC_MERGE_MIN; /* of all */
    }
    /* Every worker knows them all. */
    static const char *const same[] = {"lull_activator_routes", "lull_activator_revisions",
                                       "lull_activator_shards", "lull_activator_certificates",
                                       "lull_activator_certificate_not_after_seconds"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        if (slice_eq_str(name, same[i])) {
            return METRIC_MERGE_MAX;
        }
    }
    return METRIC_MERGE_SUM;
}

static void metrics(const struct worker_answer *answers, size_t count,
                    const struct metric_merge *retired, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct metric_merge all;
    metric_merge_init(&all, workers_page_rule);
    for (size_t i = 0; i < count; i++) {
        if (answers[i].status == 200) {
            metric_merge_add(&all, answers[i].page, METRIC_MERGE_ALL);
        }
    }
    strbuf_init(&text, out->max);
    metric_merge_write(retired, &text);
    metric_merge_add(&all, strbuf_slice(&text), METRIC_MERGE_TOTALS);
    metric_merge_write(&all, out);
    metric_merge_fini(&all);
}

/* One thing that each worker tells of, not a part of the whole. */
static bool is_of_all(const char *key)
{
    return strcmp(key, "uptimeSeconds") == 0 || strcmp(key, "shards") == 0;
}

/* Adds the numbers of one worker's object to the whole. */
static void add_numbers(json_t *whole, const json_t *one)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)one, key, value)
    {
        const json_t *before = json_object_get(whole, key);
        if (json_is_integer(value)) {
            json_int_t a = json_integer_value(before);
            json_int_t b = json_integer_value(value);
            json_object_set_new(whole, key, json_integer(!is_of_all(key) ? a + b : a > b ? a : b));
        } else if (json_is_boolean(value)) {
            bool both = json_is_true(value) && (before == NULL || json_is_true(before));
            json_object_set_new(whole, key, json_boolean(both));
        } else if (json_is_string(value) && before == NULL) {
            json_object_set(whole, key, value);
        }
    }
}

static void objects(const struct worker_answer *answers, size_t count, struct strbuf *out)
{
    CLEANUP(jfree) json_t *whole = json_object();
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = NULL;
        if (answers[i].status != 200 || jparse_object(answers[i].page, JSON_MAX, &one, NULL) < 0) {
            continue;
        }
        add_numbers(whole, one);
        json_object_set_new(one, "worker", json_integer((json_int_t)answers[i].index));
        json_array_append_new(all, one);
    }
    json_object_set_new(whole, "workers", all);
    (void)!jdump(whole, out, NULL); /* too big: out says so */
    strbuf_append_char(out, '\n');
}

static void texts(const struct worker_answer *answers, size_t count, struct strbuf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (answers[i].status == 200) {
            strbuf_appendf(out, "--- worker %u\n", answers[i].index);
            strbuf_append_slice(out, answers[i].page);
        }
    }
}

int workers_page(const struct worker_answer *answers, size_t count,
                 const struct metric_merge *retired, const char **out_type, struct strbuf *out)
{
    const struct worker_answer *other = NULL;
    for (size_t i = 0; i < count; i++) {
        if (answers[i].status != 200) {
            other = answers[i].status != 0 && other == NULL ? &answers[i] : other;
            continue;
        }
        struct slice type = slice_str(answers[i].type);
        *out_type = answers[i].type;
        if (slice_starts_with(type, SLICE_LIT("text/plain; version"))) {
            metrics(answers, count, retired, out);
        } else if (slice_eq_str(type, "application/json")) {
            objects(answers, count, out);
        } else {
            texts(answers, count, out);
        }
        return 200;
    }
    *out_type = other != NULL ? other->type : "text/plain";
    if (other == NULL) {
        strbuf_append_str(out, "no worker answered\n");
        return 503;
    }
    strbuf_append_slice(out, other->page);
    return other->status;
}
