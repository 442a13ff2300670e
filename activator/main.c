// SPDX-License-Identifier: Apache-2.0
/*
 * lull-activator: reads the settings, wires the parts, runs the loop. With --workers above 1 it is
 * the parent of so many processes of itself; each of those finds its number in its environment.
 */
#include <stdlib.h>

#include "loop/program.h"
#include "activator/activator.h"
#include "activator/workers.h"

struct app {
    char *const *argv;
    const char *worker; /* WORKER_ENV; NULL: not one of several */
    struct worker_id id;
    struct activator activator;
    struct workers workers;
    bool parent;
};

static int start(void *part, struct loop *loop, const void *config, struct error *err)
{
    struct app *app = part;
    unsigned count;
    int rc = config_workers(config, &count, err);
    if (rc == 0 && app->worker != NULL) {
        rc = worker_id_parse(app->worker, &app->id, err);
    }
    if (rc < 0) {
        return rc; /* nothing to stop */
    }
    app->parent = app->worker == NULL && count > 1;
    if (app->parent) {
        return workers_start(&app->workers, loop, config, count, app->argv, err);
    }
    return activator_start(&app->activator, loop, config, app->worker == NULL ? NULL : &app->id,
                           err);
}

static void stop(void *part)
{
    struct app *app = part;
    if (app->parent) {
        workers_stop(&app->workers);
    } else if (app->activator.loop != NULL) {
        activator_stop(&app->activator);
    }
}

static int status(const void *part)
{
    const struct app *app = part;
    return app->parent ? workers_status(&app->workers) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct config config = {0};
    struct app app = {.argv = argv, .worker = getenv(WORKER_ENV)};
    const struct program program = {.name = app.worker == NULL ? "activator" : "activator-worker",
                                    .options = &config_table,
                                    .start = start,
                                    .stop = stop,
                                    .status = status};
    int exit_status = program_run(&program, argc, argv, &config, &app);
    worker_id_fini(&app.id);
    return exit_status;
}
