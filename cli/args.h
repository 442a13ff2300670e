// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What cli_parse (cli.h) leaves of a command line: options that may be given several times, and
 * verbs with the words behind them.
 * Owns: nothing; words are borrowed from argv.
 */

#define CLI_WORDS_MAX 256

struct cli_words {
    char *items[CLI_WORDS_MAX + 1]; /* NULL ends; zeroed by the caller */
    int count;
};

/*
 * Takes each `--flag VALUE`, `--flag=VALUE` and (letter not 0) `-X VALUE` before a `--` out of
 * argv, in order. A row of that flag may stand in the command's table for --help. Returns 0, or the
 * exit status 2 when there are too many.
 */
int cli_repeated(int *argc, char **argv, const char *flag, char letter, struct cli_words *out);

struct option_table;

/* A verb of a command, as "describe" of `lull broker`. */
struct cli_verb {
    const char *name;
    int least, most;   /* words behind it; most -1: any number */
    const char *needs; /* what is missing when there are fewer: "NAME" */
};
/*
 * The row of verbs (`name` NULL ends) for the words that cli_parse gathered. NULL: there is none,
 * or it has too few or too many words; what is wrong and how it is meant is said on stderr.
 */
const struct cli_verb *cli_verb_find(const struct option_table *table, const struct cli_verb *verbs,
                                     char **words, int count);
/* Says that a verb needs an option that was not given; returns the exit status. */
int cli_verb_needs(const struct option_table *table, const char *verb, const char *flag);
