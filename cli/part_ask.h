// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asking a part of Lull at its admin port: by its socket on this machine, through the API server's
 * proxy to its pods on a cluster. Owns: nothing.
 */

#include "cli/cli.h"

/* Whether the API that cli is connected to is the one of this machine. */
bool part_is_here(const struct cli *cli);
/* The pods of a part, or of all with part NULL; a new reference. Clusters only. */
MUST_CHECK int part_pods(struct cli *cli, const char *part, json_t **out, struct error *err);
/* GET path at the admin port of one pod; *out: the body, new memory. Not 2xx: an error with it. */
MUST_CHECK int part_ask_pod(struct cli *cli, const json_t *pod, const char *path, char **out,
                            struct error *err);
/*
 * GET path of a part ("autoscaler"): of the one on this machine, or of the first running pod that
 * answers with 2xx. *out: the body, new memory.
 */
MUST_CHECK int part_ask(struct cli *cli, const char *part, const char *path, char **out,
                        struct error *err);
/* The same with another method: PUT changes something, and may do so twice when a pod dies. */
MUST_CHECK int part_call(struct cli *cli, const char *method, const char *part, const char *path,
                         char **out, struct error *err);
/* Where the API server has path of a pod's admin port; new memory. */
char *part_pod_path(const json_t *pod, const char *path);
/* One GET of the API server whose answer is no object; *out: the body, new memory. */
MUST_CHECK int part_get(struct cli *cli, const char *path, char **out, struct error *err);
/*
 * GET path of a part whose answer goes on: take gets it as it comes and says whether to go on;
 * returns when it does not, or when the answer ends (both 0). Nothing for half a minute: an error.
 */
typedef bool (*part_data_cb)(void *arg, struct slice data);
MUST_CHECK int part_stream(struct cli *cli, const char *part, const char *path, part_data_cb take,
                           void *arg, struct error *err);
