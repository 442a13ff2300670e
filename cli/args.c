// SPDX-License-Identifier: Apache-2.0
//
// The command line: options in any order, short forms, options that may be given several times.
#include "cli/args.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static const struct option_row *row_of(const struct option_table *table, const char *name,
                                       size_t len)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *const names[] = {table->rows[i].flag, table->rows[i].also};
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            if (names[k] && strlen(names[k]) == len && strncmp(names[k], name, len) == 0) {
                return &table->rows[i];
            }
        }
    }
    return NULL;
}

// -X stands for the first of its long names that the command has.
static const char *long_of(const struct option_table *table, char letter)
{
    static const struct {
        char letter;
        const char *flag;
    } SHORT[] = {{'o', "output"},   {'n', "namespace"}, {'f', "filename"},  {'f', "follow"},
                 {'l', "selector"}, {'w', "watch"},     {'R', "recursive"}, {'A', "all-namespaces"},
                 {'p', "previous"}, {'s', "sink"},      {'d', "data"}};

    for (size_t i = 0; i < ARRAY_LEN(SHORT); i++) {
        if (SHORT[i].letter == letter && row_of(table, SHORT[i].flag, strlen(SHORT[i].flag))) {
            return SHORT[i].flag;
        }
    }
    return NULL;
}

// The long form of `-o`, `-oyaml` and `-o=yaml`, in new memory; NULL: it is no short option.
static char *lengthen(const struct option_table *table, const char *word)
{
    if (word[0] != '-' || word[1] == '-' || word[1] == '\0') {
        return NULL;
    }
    const char *flag = long_of(table, word[1]);
    if (!flag) {
        return NULL;
    }
    const char *value = word + 2;
    return value[0] ? xasprintf("--%s=%s", flag, value + (value[0] == '='))
                    : xasprintf("--%s", flag);
}

// Whether this option takes the next word as its value.
static bool wants_value(const struct option_table *table, const char *word)
{
    size_t len = strcspn(word, "=");
    const struct option_row *row = word[len] == '=' ? NULL : row_of(table, word + 2, len - 2);

    return row && row->type != OPTION_BOOL;
}

int cli_parse(const struct option_table *table, int argc, char **argv, void *dest)
{
    char **options = xcalloc((size_t)argc + 1, sizeof *options);
    char **made = xcalloc((size_t)argc + 1, sizeof *made);
    int positional = 0, count = 0, n_made = 0;

    options[count++] = argv[0];
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char *word = lengthen(table, argv[i]);
        if (word) {
            made[n_made++] = word;
        } else if (argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[++positional] = argv[i]; // never ahead of i
            continue;
        } else if (argv[i][1] != '-' && strcmp(argv[i], "-h") != 0) {
            exit(cli_usage("%s: no such option (see %s --help)", argv[i], table->program));
        } else {
            word = argv[i];
        }
        options[count++] = word;
        if (i + 1 < argc && wants_value(table, word)) {
            options[count++] = argv[++i];
        }
    }
    options_main(table, LULL_VERSION, count, options, dest);
    while (n_made > 0) {
        free(made[--n_made]);
    }
    free(made);
    free(options);
    // What follows `--` stays behind the positional arguments, the `--` with it.
    int rest = positional + 1;
    while (i < argc) {
        argv[rest++] = argv[i++];
    }
    argv[rest < argc ? rest : argc] = NULL;
    return positional;
}

// The value of `--flag value` or `--flag=value` (short: `-f value`, `-fvalue`) at argv[*i].
static char *value_at(int argc, char **argv, int *i, const char *flag, char letter)
{
    char *word = argv[*i];
    size_t len = strlen(flag);
    bool is_short = letter && word[0] == '-' && word[1] == letter;
    bool is_long = strncmp(word, "--", 2) == 0 && strncmp(word + 2, flag, len) == 0 &&
                   (word[2 + len] == '=' || word[2 + len] == '\0');
    char *value = is_short ? word + 2 : is_long ? word + 2 + len : NULL;

    if (value && *value == '=') {
        return value + 1;
    }
    if (value && *value) {
        return value;
    }
    return value && *i + 1 < argc ? argv[++*i] : NULL;
}

int cli_repeated(int *argc, char **argv, const char *flag, char letter, struct cli_words *out)
{
    int kept = 1, i = 1;

    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        int at = i;
        char *value = value_at(*argc, argv, &i, flag, letter);
        if (!value) {
            argv[kept++] = argv[at];
        } else if (out->count == CLI_WORDS_MAX) {
            return cli_usage("--%s: given more than %d times", flag, CLI_WORDS_MAX);
        } else {
            out->items[out->count++] = value;
        }
    }
    while (i < *argc) {
        argv[kept++] = argv[i++];
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

// ---- verbs

static int meant(const struct option_table *table)
{
    return cli_usage("usage: %s %s (%s --help has the options)", table->program, table->arguments,
                     table->program);
}

const struct cli_verb *cli_verb_find(const struct option_table *table, const struct cli_verb *verbs,
                                     char **words, int count)
{
    const struct cli_verb *v = verbs;

    while (count > 0 && v->name && strcmp(v->name, words[0]) != 0) {
        v++;
    }
    if (count == 0) {
        // nothing was asked for
    } else if (!v->name) {
        (void)cli_usage("%s: there is no \"%s\"", table->program, words[0]);
    } else if (count - 1 < v->least) {
        (void)cli_usage("%s %s: %s is missing", table->program, v->name, v->needs);
    } else if (v->most >= 0 && count - 1 > v->most) {
        (void)cli_usage("%s %s: \"%s\" is a word too many", table->program, v->name,
                        words[v->most + 1]);
    } else {
        return v;
    }
    (void)meant(table);
    return NULL;
}

int cli_verb_needs(const struct option_table *table, const char *verb, const char *flag)
{
    (void)cli_usage("%s %s: %s is missing", table->program, verb, flag);
    return meant(table);
}
