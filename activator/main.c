// SPDX-License-Identifier: Apache-2.0
/* lull-activator: reads the settings, wires the parts, runs the loop. */
#include "loop/program.h"
#include "activator/activator.h"

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    return activator_start(part, loop, config, err);
}

static void stop(void *part)
{
    activator_stop(part);
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "activator", .options = &config_table, .start = start, .stop = stop};
    struct config config = {0};
    struct activator activator = {0};
    return program_run(&program, argc, argv, &config, &activator);
}
