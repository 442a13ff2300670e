// SPDX-License-Identifier: Apache-2.0
/* lull-broker: reads the settings, wires the parts, runs the loop. */
#include "loop/program.h"
#include "broker/worker.h"

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    return part_start(part, loop, config, err);
}

static void stop(void *part)
{
    part_stop(part);
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "broker", .options = &config_table, .start = start, .stop = stop};
    struct config config = {0};
    struct part part = {0};
    return program_run(&program, argc, argv, &config, &part);
}
