// SPDX-License-Identifier: Apache-2.0
/* lull-controller: reads the options, wires the controller, runs the loop. */
#include <stdlib.h>

#include "base/log.h"
#include "controller/controller.h"

int main(int argc, char **argv)
{
    static struct controller controller;
    struct controller_config config = {0};
    struct loop loop;
    struct error err = {0};
    log_init("controller");
    (void)options_main(&controller_config_table, LULL_VERSION, argc, argv, &config);
    if (loop_init(&loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        return EXIT_FAILURE;
    }
    int rc = controller_start(&controller, &loop, &config, &err);
    if (rc < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        controller_stop(&controller);
    }
    loop_run(&loop);
    if (loop_fini(&loop, &err) < 0) {
        LOG_DEBUG("handles were left open", LOG_ERR(&err));
    }
    options_fini(&controller_config_table, &config);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
