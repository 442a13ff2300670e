// SPDX-License-Identifier: Apache-2.0
/* lull-autoscaler: reads the settings, wires the parts, runs the loop. */
#include <stdlib.h>

#include "base/log.h"
#include "autoscaler/autoscaler.h"

int main(int argc, char **argv)
{
    struct config config = {0};
    struct autoscaler autoscaler = {0};
    struct loop loop;
    struct error err;
    log_init("autoscaler");
    (void)options_main(&config_table, LULL_VERSION, argc, argv, &config);
    if (loop_init(&loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        return EXIT_FAILURE;
    }
    int rc = autoscaler_start(&autoscaler, &loop, &config, &err);
    if (rc < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        autoscaler_stop(&autoscaler);
    }
    loop_run(&loop);
    struct error fini_err;
    if (loop_fini(&loop, &fini_err) < 0) {
        LOG_DEBUG("handles were left open", LOG_ERR(&fini_err));
    }
    options_fini(&config_table, &config);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
