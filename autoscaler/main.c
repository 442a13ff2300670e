// SPDX-License-Identifier: Apache-2.0
/* lull-autoscaler: reads the settings, wires the parts, runs the loop; or plays a recording. */
#include "loop/program.h"
#include "autoscaler/autoscaler.h"
#include "autoscaler/replay.h"
#include "autoscaler/simulate.h"

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    return autoscaler_start(part, loop, config, err);
}

static void stop(void *part)
{
    autoscaler_stop(part);
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "autoscaler", .options = &config_table, .start = start, .stop = stop};
    if (argc > 1 && strcmp(argv[1], "replay") == 0) {
        return replay_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "simulate") == 0) {
        return simulate_main(argc - 1, argv + 1);
    }
    struct config config = {0};
    struct autoscaler autoscaler = {0};
    return program_run(&program, argc, argv, &config, &autoscaler);
}
