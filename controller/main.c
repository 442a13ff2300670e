// SPDX-License-Identifier: Apache-2.0
/* lull-controller: reads the options, wires the controller, runs the loop. */
#include "loop/program.h"
#include "controller/controller.h"

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    return controller_start(part, loop, config, err);
}

static void stop(void *part)
{
    controller_stop(part);
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "controller", .options = &controller_config_table, .start = start, .stop = stop};
    struct controller_config config = {0};
    struct controller controller = {0};
    return program_run(&program, argc, argv, &config, &controller);
}
