// SPDX-License-Identifier: Apache-2.0
//
// A row per type of source. What the API checks is not checked here.
#include "cli/source_type.h"

#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/sink.h"

enum { DATA_MAX = 16 << 20 };

void source_set_text(json_t *to, const char *key, const char *text)
{
    if (text) {
        json_object_set_new(to, key, json_string(text));
    }
}

// ---- ping

static const struct option_row PING_ROWS[] = {
    OPTION(struct source_options, schedule, STRING, NULL, "schedule", NULL, .optional = true,
           .help = "with create: when, as cron has it: 5 fields, or 6 with seconds, or @hourly and "
                   "the like; absent: every minute"),
    OPTION(struct source_options, timezone, STRING, NULL, "timezone", NULL, .optional = true,
           .help = "with create: time zone of the schedule, as Europe/Berlin; absent: that of the "
                   "system"),
    OPTION(struct source_options, data, STRING, NULL, "data", NULL, .optional = true,
           .help = "with create: what each event carries; -d for short"),
    OPTION(struct source_options, data_base64, STRING, NULL, "data-base64", NULL, .optional = true,
           .help = "with create: the same in base64"),
    OPTION(struct source_options, content_type, STRING, NULL, "content-type", NULL,
           .optional = true,
           .help = "with create: media type of the data; absent: application/json where --data is "
                   "an object or a list in JSON"),
    SOURCE_ROWS("who gets the events"),
};
static const struct option_table PING = {
    .program = "lull source ping",
    .summary = "sends an event at the times of a schedule (PingSource)",
    .arguments = "create NAME --sink FUNCTION|URL [--schedule CRON] | update NAME | list | "
                 "describe NAME | delete NAME…",
    .rows = PING_ROWS,
    .count = ARRAY_LEN(PING_ROWS),
    .examples = "  lull source ping create nightly --schedule \"0 3 * * *\" --timezone "
                "Europe/Berlin --sink report\n"
                "  lull source ping create tick --schedule \"*/10 * * * * *\" --data '{\"n\": 1}' "
                "--sink hello\n"};

static int ping_fill(const struct source_options *o, json_t *spec, struct error *err)
{
    CLEANUP(jfree) json_t *value = NULL;
    bool json = o->data && (o->data[0] == '{' || o->data[0] == '[') &&
                jparse(slice_str(o->data), DATA_MAX, &value, NULL) == 0;

    (void)err;
    source_set_text(spec, "schedule", o->schedule);
    source_set_text(spec, "timezone", o->timezone);
    source_set_text(spec, "data", o->data);
    source_set_text(spec, "dataBase64", o->data_base64);
    source_set_text(spec, "contentType",
                    o->content_type ? o->content_type
                    : json          ? "application/json"
                                    : NULL);
    return 0;
}

static void ping_about(const json_t *object, struct strbuf *out)
{
    const char *zone = jpeek_cstr(object, "spec.timezone");
    (void)strbuf_appendf(out, "%s%s%s", jpeek_cstr(object, "spec.schedule"), zone[0] ? " " : "",
                         zone);
}

static void ping_show(const json_t *object)
{
    const char *zone = jpeek_cstr(object, "spec.timezone");
    printf("  Schedule     %s\n", jpeek_cstr(object, "spec.schedule"));
    printf("  Time zone    %s\n", zone[0] ? zone : "(that of the system)");
    if (jpeek_cstr(object, "spec.data")[0]) {
        printf("  Data         %s\n", jpeek_cstr(object, "spec.data"));
    }
}

// ----

static const struct source_type TYPES[] = {
    {"ping", KIND_PINGSOURCE, &PING, ping_fill, ping_about, ping_show},
};

const struct source_type *source_type_at(size_t i)
{
    size_t lull = ARRAY_LEN(TYPES) + 1;

    return i < ARRAY_LEN(TYPES)                 ? &TYPES[i]
           : i == ARRAY_LEN(TYPES)              ? &SOURCE_TYPE_BINDING
           : i < lull + SOURCE_TYPES_LULL_COUNT ? &SOURCE_TYPES_LULL[i - lull]
                                                : NULL;
}

const struct source_type *source_type(const char *word)
{
    const struct source_type *type;

    for (size_t i = 0; (type = source_type_at(i)); i++) {
        if (strcmp(type->word, word) == 0) {
            return type;
        }
    }
    return NULL;
}
