// SPDX-License-Identifier: Apache-2.0
//
// lull backup FILE: lull-local knows the state and does it, whether Lull runs or not.
#include <stdio.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/program.h"

static const struct option_table TABLE = {
    .program = "lull backup",
    .summary = "writes all objects, bundles and events to one file, also while Lull runs",
    .arguments = "FILE",
    .examples = "  lull backup /mnt/backups/lull-$(date +%F)\n"};

int cmd_backup(struct cli *cli, int argc, char **argv)
{
    struct error err;
    char none;

    if (cli_parse(&TABLE, argc, argv, &none) != 1) {
        return cli_usage("usage: lull backup FILE");
    }
    return program_become_keeper(cli->home, "--backup", argv[1], &err) < 0 ? cli_fail(&err) : 0;
}
