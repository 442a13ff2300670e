// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The types of sources that `lull source` knows: a row each, with the options of `create` and what
 * becomes of them. Owns: nothing. May not: talk to the API (cmd_source.c does).
 */

#include "base/strbuf.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/delivery_args.h"

/* Of all types; what a type has no option for stays NULL. */
struct source_options {
    struct cli_common common;
    struct cli_wait wait;
    bool all_namespaces;
    char *sink;
    char *extension; /* a row for --help */
    struct cli_words extensions;
    /* ping */
    char *schedule, *timezone, *data, *data_base64, *content_type;
    /* binding */
    char *subject, *selector;
    /* source_lull.c */
    char *type;
    struct delivery_args delivery;
    char *scheme, *secret, *header, *prefix, *encoding;
    char *type_header, *type_field, *id_header, *id_field;
    struct cli_words secrets;
    char *url, *url_secret, *stream, *group, *from, *data_field, *list, *end;
    char *path, *pattern, *settle, *mode, *after;
};

struct source_type {
    const char *word; /* lull source WORD … */
    enum kind_id kind;
    const struct option_table *table;
    /* Fills in spec, which has sink and ceOverrides already. ERR_INVALID. */
    int (*fill)(const struct source_options *o, json_t *spec, struct error *err);
    /* What `list` shows of it in one line, without a line's end. */
    void (*about)(const json_t *object, struct strbuf *out);
    /* Lines for `describe`; NULL: none. */
    void (*show)(const json_t *object);
};

/* Of our own kinds. */
enum { SOURCE_TYPES_LULL_COUNT = 3 };
extern const struct source_type SOURCE_TYPES_LULL[SOURCE_TYPES_LULL_COUNT];

/* source_binding.c */
extern const struct source_type SOURCE_TYPE_BINDING;

/* to[key] = text, unless that is NULL. */
void source_set_text(json_t *to, const char *key, const char *text);

/* NULL: there is no such type. */
const struct source_type *source_type(const char *word);
/* All of them, in order; NULL: i is too large. */
const struct source_type *source_type_at(size_t i);

#define SOURCE_ROWS(subject_help)                                                              \
    OPTION(struct source_options, sink, STRING, NULL, "sink", NULL, .optional = true,          \
           .help = "with create: " subject_help ": a function's NAME, svc:NAME, broker:NAME, " \
                   "each with :NAMESPACE perhaps, or a URL; -s for short"),                    \
        OPTION(struct source_options, extension, STRING, NULL, "extension", NULL,              \
               .optional = true, .also = "ce-override",                                        \
               .help = "with create: NAME=VALUE that every event gets (ceOverrides); may be "  \
                       "given several times"),                                                 \
        OPTION(struct source_options, all_namespaces, BOOL, NULL, "all-namespaces", "false",   \
               .help = "with list: of every namespace; -A for short"),                         \
        CLI_WAIT_ROWS(struct source_options), CLI_COMMON_ROWS(struct source_options)
