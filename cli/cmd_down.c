// SPDX-License-Identifier: Apache-2.0
//
// lull down: SIGTERM to the supervisor, and wait until it has let go of its lock, which it does as
// its last act.
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/home.h"
#include "cli/leftovers.h"

struct down {
    struct cli_common common;
    int64_t timeout_s;
};
static const struct option_row ROWS[] = {
    OPTION(struct down, timeout_s, INT, NULL, "timeout", "60", .min = 1, .max = 600,
           .help = "seconds until what is left is killed"),
    CLI_OUTPUT_ROW(struct down),
};
static const struct option_table TABLE = {.program = "lull down",
                                          .summary = "stops Lull, with everything it started",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

// Another one may have been started meanwhile: that one is not ours to stop.
static bool wait_gone(struct cli *cli, int pid, uint64_t ms)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + ms;

    while (home_supervisor(cli->home) == pid) {
        if (loop_now_fresh_ns(&cli->loop) / 1000000 > end) {
            return false;
        }
        cli_pause(cli, 20);
    }
    return true;
}

int cmd_down(struct cli *cli, int argc, char **argv)
{
    struct down o = {0};

    if (cli_parse(&TABLE, argc, argv, &o) != 0) {
        return cli_usage("usage: lull down");
    }
    int pid = home_supervisor(cli->home);
    if (pid == 0) {
        if (o.common.output == CLI_JSON) {
            puts("{\"running\": false, \"stopped\": null}");
        } else {
            printf("Lull does not run here (%s)\n", cli->home);
        }
        return 0;
    }
    if (kill(pid, SIGTERM) != 0) {
        return cli_failf("cannot stop process %d: %s", pid, strerror(errno));
    }
    if (!wait_gone(cli, pid, (uint64_t)o.timeout_s * 1000)) {
        kill(pid, SIGKILL); // its end closes the lifeline, which ends the rest
        if (!wait_gone(cli, pid, 5000) || !leftovers_wait(cli, 5000)) {
            return cli_failf("process %d, or what it started, does not end", pid);
        }
    }
    if (o.common.output == CLI_JSON) {
        printf("{\"running\": false, \"stopped\": %d}\n", pid);
        return 0;
    }
    printf("Lull is down; the functions come back with `lull up`\n");
    return 0;
}
