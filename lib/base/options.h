// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration of a binary as one table: each row names an environment variable, a flag, a
 * type, a default, bounds and a sentence. The same table fills a struct, prints --help and makes
 * docs/reference. Flags win over the environment, the environment over the default.
 *
 *     struct config { char *listen; uint64_t drain_ms; int64_t backlog; bool verbose; };
 *     static const struct option_row rows[] = {
 *         OPTION(struct config, listen, STRING, "LULL_LISTEN", "listen", "127.0.0.1:8080",
 *                .help = "address to listen on"),
 *         OPTION(struct config, drain_ms, DURATION_MS, "LULL_DRAIN", "drain", "30s",
 *                .min = 0, .max = 600000, .help = "longest drain"),
 *     };
 *     static const struct option_table table = {
 *         .program = "lull-x", .summary = "does x", .rows = rows, .count = ARRAY_LEN(rows)};
 *     struct config config = {0};
 *     options_main(&table, argc, argv, &config);
 *     …
 *     options_fini(&table, &config);
 */

#include "base/error.h"
#include "base/strbuf.h"

/* The member that the row fills: */
enum option_type {
    OPTION_STRING,      /* char *, owned, never NULL unless the default is NULL */
    OPTION_BOOL,        /* bool */
    OPTION_INT,         /* int64_t, min..max */
    OPTION_DOUBLE,      /* double, min..max */
    OPTION_DURATION_MS, /* uint64_t milliseconds from "1m30s", min..max in ms */
    OPTION_BYTES,       /* uint64_t from "64Mi", min..max in bytes */
    OPTION_CHOICE,      /* int: position in choices "a|b|c" */
};

struct option_row {
    const char *env;  /* environment variable, or NULL */
    const char *flag; /* long flag without dashes, or NULL */
    const char *also; /* another name of the flag, or NULL */
    enum option_type type;
    size_t offset;   /* of the member in the struct */
    const char *def; /* default as text; NULL: required unless optional is set */
    bool optional;   /* no default, and may stay absent (NULL, 0, false) */
    int64_t min;     /* bounds are checked when min < max */
    int64_t max;
    const char *choices; /* for OPTION_CHOICE */
    bool secret;         /* never print the value */
    const char *help;    /* one sentence, with the unit */
};

#define OPTION(strct, member, kind, env_name, flag_name, def_text, ...)   \
    {                                                                     \
        .env = (env_name), .flag = (flag_name), .type = OPTION_##kind,    \
        .offset = offsetof(strct, member), .def = (def_text), __VA_ARGS__ \
    }

struct option_table {
    const char *program;   /* "lull-activator" */
    const char *summary;   /* what it is, one sentence */
    const char *arguments; /* usage of positional arguments, or NULL when none are taken */
    const char *examples;  /* lines for the end of --help, each ending in a newline; or NULL */
    const struct option_row *rows;
    size_t count;
};

struct options_result {
    bool help;    /* --help was given: nothing else was checked */
    bool version; /* --version was given */
    int argi;     /* argv[argi … argc-1] are the positional arguments */
};

/*
 * Fills dest (zeroed by the caller) from argv and the environment. On ERR_INVALID `problems` (init
 * by the caller) has one line per problem, all of them, and what was filled has been released.
 * getenv_fn may be NULL for getenv(3).
 */
MUST_CHECK int options_parse(const struct option_table *table, int argc, char *const *argv,
                             const char *(*getenv_fn)(const char *name), void *dest,
                             struct options_result *out, struct strbuf *problems);
/* Releases the strings in dest. A zeroed dest is fine. */
void options_fini(const struct option_table *table, void *dest);

/* The text of --help. */
void options_help(const struct option_table *table, struct strbuf *out);
/* A section of docs/reference: heading, summary, one table row per option. */
void options_markdown(const struct option_table *table, struct strbuf *out);

/*
 * For main(): parses; on --help, --version and --options-markdown prints and exits 0; on problems
 * prints all and exits 2. Returns the index of the first positional argument.
 */
int options_main(const struct option_table *table, const char *version, int argc, char *const *argv,
                 void *dest);
