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
    "_lull_names() { lull get \"$1\" -o name 2>/dev/null | cut -d/ -f2; }\n"
    "_lull_sources() {\n"
    "    lull source list 2>/dev/null | awk 'NR > 1 {print $1}'\n"
    "}\n"
    "_lull_words() {\n"
    "    local command=${COMP_WORDS[1]} verb=${COMP_WORDS[2]} at=$COMP_CWORD\n"
    "    case ${COMP_WORDS[at - 1]} in\n"
    "    --broker) _lull_names brokers; return ;;\n"
    "    --trigger) _lull_names triggers; return ;;\n"
    "    --sink | --dead-letter | --dl-sink | -s)\n"
    "        _lull_names ksvc; _lull_names brokers | sed 's/^/broker:/'; return ;;\n"
    "    --subject) _lull_names ksvc; return ;;\n"
    "    esac\n"
    "    case $command in\n"
    "    source)\n"
    "        case $verb in\n"
    "        ping | webhook | redis | file | binding)\n"
    "            if [ \"$at\" -gt 2 ]; then\n"
    "                verb=${COMP_WORDS[3]}\n"
    "                at=$((at - 1))\n"
    "            fi ;;\n"
    "        esac ;;\n"
    "    esac\n"
    "    case $command.$at in\n"
    "    source.2)\n"
    "        [ \"$COMP_CWORD\" = 2 ] && echo ping webhook redis file binding list "
    "describe delete\n"
    "        [ \"$COMP_CWORD\" = 3 ] && echo create update list describe url delete ;;\n"
    "    source.*) case $verb in describe | delete | url | update) _lull_sources ;; esac "
    ";;\n"
    "    broker.2) echo create update list describe url delete ;;\n"
    "    trigger.2) echo create update list describe delete ;;\n"
    "    broker.* | trigger.*) case $verb in describe | delete | url | update) "
    "_lull_names \"${command}s\" ;; esac ;;\n"
    "    dlq.2) echo list show retry drop ;;\n"
    "    dlq.3) _lull_names triggers ;;\n"
    "    event.2) echo send tail replay ;;\n"
    "    secret.2 | config.2) echo create set list delete ;;\n"
    "    secret.3) _lull_names secrets ;;\n"
    "    config.3) _lull_names configmaps ;;\n"
    "    describe.* | invoke.* | url.* | logs.* | delete.* | why.* | traffic.* | "
    "rollback.* | revisions.* | scale.* | env.* | deploy.*)\n"
    "        _lull_names ksvc ;;\n"
    "    get.2)\n"
    "        echo ksvc revisions routes configurations pods deployments brokers triggers "
    "pingsources sinkbindings \\\n"
    "            webhooksources redissources filesources podautoscalers configmaps "
    "secrets namespaces events services ;;\n"
    "    esac\n"
    "}\n"
    "_lull() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} type=\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(lull help | sed -n 's/^  \\([a-z]*\\) "
    ".*/\\1/p')\" -- \"$word\"))\n"
    "    elif [[ $word == -* ]]; then\n"
    "        case $command.${COMP_WORDS[2]} in\n"
    "        source.ping | source.webhook | source.redis | source.file | source.binding) "
    "type=${COMP_WORDS[2]} ;;\n"
    "        esac\n"
    "        COMPREPLY=($(compgen -W \"$(lull \"$command\" $type --help 2>/dev/null | "
    "sed -n 's/^  \\(--[a-z-]*\\).*/\\1/p')\" -- \"$word\"))\n"
    "    else\n"
    "        COMPREPLY=($(compgen -W \"$(_lull_words)\" -- \"$word\"))\n"
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
