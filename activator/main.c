// SPDX-License-Identifier: Apache-2.0
/* lull-activator: reads the settings, wires the parts, runs the loop. */
#include <stdlib.h>

#include "base/log.h"
#include "activator/activator.h"
#include "activator/config.h"

int main(int argc, char **argv)
{
    static struct config config;
    static struct activator activator;
    struct loop loop;
    struct error err;
    log_init("activator");
    (void)options_main(&config_table, LULL_VERSION, argc, argv, &config);
    if (loop_init(&loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        return EXIT_FAILURE;
    }
    int rc = activator_start(&activator, &loop, &config, &err);
    if (rc < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        activator_stop(&activator);
    }
    loop_run(&loop);
    struct error fini_err;
    if (loop_fini(&loop, &fini_err) < 0) {
        LOG_DEBUG("handles were left open", LOG_ERR(&fini_err));
    }
    options_fini(&config_table, &config);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
