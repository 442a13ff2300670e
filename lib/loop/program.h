// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The main() of a part: options, log, loop, start, run, end. A part brings its table and two
 * functions.
 *
 *     int main(int argc, char **argv)
 *     {
 *         static struct config config;
 *         static struct activator activator;
 *         static const struct program program = {.name = "activator", .options = &config_table,
 *             .start = start, .stop = stop};
 *         return program_run(&program, argc, argv, &config, &activator);
 *     }
 */

#include "base/options.h"
#include "loop/loop.h"

struct program {
    const char *name; /* in the log */
    const struct option_table *options;
    /* config is filled. After an error stop is called all the same. */
    int (*start)(void *part, struct loop *loop, const void *config, struct error *err);
    /* Closes everything, so that the loop runs empty. */
    void (*stop)(void *part);
    /* The exit status when start went well; NULL: 0. */
    int (*status)(const void *part);
};

/* Returns the exit status. config and part are zeroed by the caller. */
MUST_CHECK int program_run(const struct program *program, int argc, char *const *argv, void *config,
                           void *part);
