// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From a kind as somebody wrote it to a path of the API: our table first (serving/kinds.h), then,
 * for objects of other kinds, what the server says in its discovery.
 */

#include <jansson.h>

#include "cli/cli.h"

struct cli_resource {
    struct kube_kind kind;
    const char *singular; /* "service" */
    bool namespaced;
    const struct kind *row; /* ours; NULL: known to the server only */
    char *owned[4];         /* private: strings of a discovered kind */
};

/* A row of our table. */
struct cli_resource cli_resource_row(const struct kind *row);
/* What apiVersion and kind of an object say. ERR_NOT_FOUND: the server knows no such kind. */
MUST_CHECK int cli_resource_of_object(struct cli *cli, const json_t *object,
                                      struct cli_resource *out, struct error *err);
/* What a user typed ("ksvc", "rev", "configmaps"). ERR_NOT_FOUND lists what there is. */
MUST_CHECK int cli_resource_of_word(const char *word, struct cli_resource *out, struct error *err);
void cli_resource_fini(struct cli_resource *resource);

/* "service.serving.knative.dev/hello"; core kinds without a group. In new memory. */
char *cli_resource_name(const struct cli_resource *resource, const char *name);

/*
 * Whether the object can be sent: it has a name, and its namespace (filled in when absent) is not
 * another than --namespace says.
 */
MUST_CHECK int cli_manifest_target(struct cli *cli, const struct cli_common *common,
                                   const struct cli_resource *resource, json_t *object,
                                   struct error *err);
