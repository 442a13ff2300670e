// SPDX-License-Identifier: Apache-2.0
/* lull-queue-proxy: reads the settings, wires the parts, runs the loop. */
#include "loop/program.h"
#include "queue-proxy/app.h"

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    return app_start(part, loop, config, err);
}

static void stop(void *part)
{
    app_stop(part);
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "queue-proxy", .options = &config_table, .start = start, .stop = stop};
    struct config config = {0};
    struct app app = {0};
    return program_run(&program, argc, argv, &config, &app);
}
