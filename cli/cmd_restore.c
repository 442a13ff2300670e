// SPDX-License-Identifier: Apache-2.0
//
// lull restore FILE: only while Lull is down, which lull-local makes sure of once more.
#include <stdio.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/home.h"
#include "cli/program.h"

static const struct option_table TABLE = {
    .program = "lull restore",
    .summary = "replaces the state by that of a backup; Lull must be down",
    .arguments = "FILE",
    .examples = "  lull down && lull restore /mnt/backups/lull-2026-01-31 && lull up --detach\n"};

int cmd_restore(struct cli *cli, int argc, char **argv)
{
    struct error err;
    char none;

    if (cli_parse(&TABLE, argc, argv, &none) != 1) {
        return cli_usage("usage: lull restore FILE");
    }
    int running = home_supervisor(cli->home);
    if (running != 0) {
        return cli_failf("Lull runs on %s as process %d: stop it with `lull down`, then restore",
                         cli->home, running);
    }
    return program_become_keeper(cli->home, "--restore", argv[1], &err) < 0 ? cli_fail(&err) : 0;
}
