// SPDX-License-Identifier: Apache-2.0
//
// lull scale NAME: bounds and targets of a function, as annotations of its template. A change makes
// a new revision.
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"

struct scale {
    struct cli_common common;
    struct cli_wait wait;
    char *min, *max, *initial, *activation, *target, *utilization, *metric, *window, *limit;
};

#define SCALE_ROW(member, flag, text) \
    OPTION(struct scale, member, STRING, NULL, flag, NULL, .optional = true, .help = text)
static const struct option_row ROWS[] = {
    SCALE_ROW(min, "min", "least replicas; none takes any of these settings away"),
    SCALE_ROW(max, "max", "most replicas; 0: no limit"),
    SCALE_ROW(initial, "initial", "replicas that a new revision starts with"),
    SCALE_ROW(activation, "activation", "least replicas when it leaves zero"),
    SCALE_ROW(target, "target",
              "requests at once per replica; with --metric rps per second, with --metric backlog "
              "events that wait"),
    SCALE_ROW(utilization, "utilization", "percent of the target to aim at"),
    SCALE_ROW(metric, "metric",
              "what is counted: concurrency, rps, or backlog: events that wait, beside "
              "concurrency"),
    SCALE_ROW(window, "window", "time over which it is averaged, for example 60s"),
    SCALE_ROW(limit, "concurrency-limit", "most requests at once in one replica; 0: no limit"),
    CLI_WAIT_ROWS(struct scale),
    CLI_COMMON_ROWS(struct scale),
};
static const struct option_table TABLE = {
    .program = "lull scale",
    .summary = "sets how a function is scaled; without options shows it",
    .arguments = "NAME",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull scale hello --min 1 --max 10\n"
                "  lull scale hello --target 5 --concurrency-limit 10\n"
                "  lull scale hello --min none\n"};

struct setting {
    size_t offset; /* of its text in struct scale */
    const char *flag, *key, *old_key;
};
#define SETTING(member, flag, name)                                   \
    {                                                                 \
        offsetof(struct scale, member), flag, ANNOTATION_##name, NULL \
    }
static const struct setting SETTINGS[] = {
    {offsetof(struct scale, min), "min", ANNOTATION_MIN_SCALE, ANNOTATION_MIN_SCALE_OLD},
    {offsetof(struct scale, max), "max", ANNOTATION_MAX_SCALE, ANNOTATION_MAX_SCALE_OLD},
    {offsetof(struct scale, initial), "initial", ANNOTATION_INITIAL_SCALE,
     ANNOTATION_INITIAL_SCALE_OLD},
    SETTING(activation, "activation", ACTIVATION_SCALE),
    SETTING(target, "target", TARGET),
    {offsetof(struct scale, utilization), "utilization", ANNOTATION_TARGET_UTILIZATION,
     ANNOTATION_TARGET_UTILIZATION_OLD},
    SETTING(metric, "metric", METRIC),
    SETTING(window, "window", WINDOW),
};

static const char *text_of(const struct scale *s, const struct setting *setting)
{
    const char *text;
    memcpy(&text, (const char *)s + setting->offset, sizeof text);
    return text;
}

static int limit_set(json_t *service, const char *text, struct error *err)
{
    uint64_t n = 0;
    json_t *spec = jpeek_obj(service, "spec.template.spec");

    if (strcmp(text, "none") == 0) {
        (void)json_object_del(spec, "containerConcurrency");
        return 0;
    }
    if (num_parse_u64(slice_str(text), 0, 1000, &n, NULL) < 0) {
        return error_set(err, ERR_INVALID, "--concurrency-limit %.40s: must be 0 to 1000, or none",
                         text);
    }
    json_object_set_new(spec, "containerConcurrency", json_integer((json_int_t)n));
    return 0;
}

static int change(void *arg, json_t *service, struct error *err)
{
    const struct scale *s = arg;
    json_t *template = jobject_at(jobject_at(service, "spec"), "template");
    json_t *meta = jobject_at(template, "metadata");
    json_t *annotations = jobject_at(meta, "annotations");

    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        const char *text = text_of(s, &SETTINGS[i]);
        if (!text) {
            continue;
        }
        (void)json_object_del(annotations, SETTINGS[i].key);
        if (SETTINGS[i].old_key) { // the older spelling would count as well
            (void)json_object_del(annotations, SETTINGS[i].old_key);
        }
        if (strcmp(text, "none") != 0 &&
            json_object_set_new(annotations, SETTINGS[i].key, json_string(text)) != 0) {
            return error_set(err, ERR_INVALID, "--%s: is not UTF-8", SETTINGS[i].flag);
        }
    }
    (void)json_object_del(meta, "name"); // a fixed name would be in the way of a new revision
    return s->limit ? limit_set(service, s->limit, err) : 0;
}

static void show(const json_t *service, bool json)
{
    const json_t *annotations = jpeek_obj(service, "spec.template.metadata.annotations");
    json_t *answer = json_object();

    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        json_t *value = json_object_get(annotations, SETTINGS[i].key);
        value = value || !SETTINGS[i].old_key ? value
                                              : json_object_get(annotations, SETTINGS[i].old_key);
        if (value) {
            json_object_set(answer, SETTINGS[i].flag, value);
        }
        if (!json) {
            printf("%-18s %s\n", SETTINGS[i].flag,
                   json_is_string(value) ? json_string_value(value) : "(default)");
        }
    }
    int64_t limit = jpeek_i64(service, "spec.template.spec.containerConcurrency");
    json_object_set_new(answer, "concurrency-limit", json_integer(limit));
    if (json) {
        cli_print_json(answer);
    } else {
        printf("%-18s %lld\n", "concurrency-limit", (long long)limit);
    }
    json_decref(answer);
}

int cmd_scale(struct cli *cli, int argc, char **argv)
{
    struct scale s = {0};
    struct error err;
    json_t *service = NULL;

    if (cli_parse(&TABLE, argc, argv, &s) != 1) {
        return cli_usage("usage: lull scale NAME [--min N] [--max N] …");
    }
    bool changes = s.limit != NULL;
    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        changes = changes || text_of(&s, &SETTINGS[i]);
    }
    s.wait.progress = s.common.output == CLI_TEXT;
    int rc = cli_connect(cli, &s.common, &err);
    if (rc == 0) {
        rc = changes ? cli_change_service(cli, argv[1], change, &s, &s.wait, &service, &err)
                     : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
    }
    if (rc == 0) {
        show(service, s.common.output == CLI_JSON);
        json_decref(service);
    }
    options_fini(&TABLE, &s);
    return rc < 0 ? cli_fail(&err) : 0;
}
