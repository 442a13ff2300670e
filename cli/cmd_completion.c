// SPDX-License-Identifier: Apache-2.0
//
// lull completion bash: a script that asks lull itself for its commands, options and names.
#include <string.h>

#include "cli/cli.h"

struct completion {
    struct cli_common common;
};
static const struct option_table TABLE = {.program = "lull completion",
                                          .summary = "prints a script that completes lull's words",
                                          .arguments = "bash",
                                          .examples = "  source <(lull completion bash)\n"};

static const char SCRIPT[] =
    "_lull() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(lull help | sed -n 's/^  \\([a-z]*\\) .*/\\1/p')\" -- "
    "\"$word\"))\n"
    "    elif [[ $word == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(lull \"$command\" --help 2>/dev/null | "
    "sed -n 's/^  \\(--[a-z-]*\\).*/\\1/p')\" -- \"$word\"))\n"
    "    else\n"
    "        case $command in\n"
    "        describe | invoke | url | logs | delete | why | traffic | rollback | revisions | "
    "scale | "
    "env | deploy)\n"
    "            COMPREPLY=($(compgen -W \"$(lull get ksvc -o name 2>/dev/null | cut -d/ -f2)\" -- "
    "\"$word\")) ;;\n"
    "        secret | config) COMPREPLY=($(compgen -W \"create set list delete\" -- \"$word\")) "
    ";;\n"
    "        broker | trigger)\n"
    "            COMPREPLY=($(compgen -W \"create list describe url delete $(lull get ${command}s "
    "-o "
    "name 2>/dev/null "
    "| cut -d/ -f2)\" -- \"$word\")) ;;\n"
    "        source) COMPREPLY=($(compgen -W \"ping binding create list describe delete\" -- "
    "\"$word\")) ;;\n"
    "        dlq)\n"
    "            COMPREPLY=($(compgen -W \"list show retry drop $(lull get triggers -o name "
    "2>/dev/null | cut -d/ -f2)\" -- \"$word\")) ;;\n"
    "        event) COMPREPLY=($(compgen -W \"send tail replay\" -- \"$word\")) ;;\n"
    "        get) COMPREPLY=($(compgen -W \"ksvc revisions routes configurations pods deployments "
    "brokers triggers pingsources sinkbindings webhooksources redissources filesources "
    "podautoscalers configmaps secrets namespaces events "
    "services\" -- "
    "\"$word\")) ;;\n"
    "        *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
    "        esac\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _lull lull\n";

int cmd_completion(struct cli *cli, int argc, char **argv)
{
    struct completion o = {0};

    (void)cli;
    if (cli_parse(&TABLE, argc, argv, &o) != 1 || strcmp(argv[1], "bash") != 0) {
        return cli_usage("usage: lull completion bash");
    }
    fputs(SCRIPT, stdout);
    return 0;
}
