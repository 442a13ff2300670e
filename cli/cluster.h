// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull install` and `lull uninstall` ask of a cluster before they change anything, and how
 * they wait. Everything that is read is the user's kubeconfig's right.
 */

#include "cli/cli.h"

/* A client for the cluster that --kubeconfig (or KUBECONFIG) names; never the Lull of this machine.
 */
MUST_CHECK int cluster_connect(struct cli *cli, const struct cli_common *common, struct error *err);

/*
 * ERR_DENIED while Knative's own controllers run here, while its webhooks stand in the way, or when
 * the serving kinds are not Lull's: neither its kinds nor its objects may be touched.
 * *out_there (may be NULL): whether Lull's kinds are there.
 */
MUST_CHECK int cluster_is_ours(struct cli *cli, bool *out_there, struct error *err);

/*
 * Where Knative Eventing is there beside Lull, takes its kinds and our webhooks for them out of the
 * objects to install or uninstall. *out_theirs: it is there.
 */
MUST_CHECK int cluster_spare_eventing(struct cli *cli, json_t *objects, bool *out_theirs,
                                      struct error *err);

/* Resolves the kind of an object by the server's discovery, once for each kind. */
struct cluster_kinds {
    struct cli_resource *items; /* private */
    json_t *names;              /* private: "v1 Secret" to its place in items */
    size_t count;
};
/* The resource is borrowed from kinds. ERR_NOT_FOUND: the server has no such kind. */
MUST_CHECK int cluster_kind(struct cli *cli, struct cluster_kinds *kinds, const json_t *object,
                            const struct cli_resource **out, struct error *err);
void cluster_kinds_fini(struct cluster_kinds *kinds);

/*
 * Waits until each part's Deployment has all its new pods, lull-broker's too with `events`, telling
 * each one on stdout. ERR_TIMEOUT says which part waits for what.
 */
MUST_CHECK int cluster_wait_parts(struct cli *cli, bool events, uint64_t timeout_ms,
                                  struct error *err);
/* Waits until the API server gets an answer from the webhook, by a dry run: then Services can be
 * written. */
MUST_CHECK int cluster_wait_admission(struct cli *cli, uint64_t timeout_ms, struct error *err);
/* Waits until a list (call: kind, ns, label_selector) is empty. what: for the sentence. */
MUST_CHECK int cluster_wait_none(struct cli *cli, const struct kube_call *call, const char *what,
                                 uint64_t timeout_ms, struct error *err);
