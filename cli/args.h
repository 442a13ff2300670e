// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Options that may be given several times; cli_parse (cli.h) takes the others.
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
