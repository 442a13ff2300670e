// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: in order, and back. Failure: what cannot start says why in one line of the log; what was
 * started by then is stopped, the loop runs empty, and the status is 1.
 */
#include "loop/program.h"

#include <stdlib.h>

#include "base/log.h"

int program_run(const struct program *program, int argc, char *const *argv, void *config,
                void *part)
{
    struct loop loop;
    struct error err = {0};
    log_init(program->name);
    (void)options_main(program->options, LULL_VERSION, argc, argv, config);
    if (loop_init(&loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        options_fini(program->options, config);
        return EXIT_FAILURE;
    }
    int rc = program->start(part, &loop, config, &err);
    if (rc < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        program->stop(part);
    }
    loop_run(&loop);
    if (loop_fini(&loop, &err) < 0) {
        LOG_DEBUG("handles were left open", LOG_ERR(&err));
    }
    options_fini(program->options, config);
    if (rc < 0) {
        return EXIT_FAILURE;
    }
    return program->status == NULL ? EXIT_SUCCESS : program->status(part);
}
