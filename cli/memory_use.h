// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How much memory the functions of Pods use, without their queue-proxies: of the processes on this
 * machine; on a cluster what a metrics server says, else the kubelets. Owns: nothing.
 */

#include "cli/cli.h"

/*
 * *out: {"NAMESPACE/POD": bytes}, a new reference; Pods of which nothing is known are absent.
 * pods: the list; ns: of one namespace, NULL: of all.
 */
MUST_CHECK int memory_use(struct cli *cli, const json_t *pods, const char *ns, json_t **out,
                          struct error *err);
