// SPDX-License-Identifier: Apache-2.0
//
// lull uninstall: the parts go; the kinds, what users made of them, the ConfigMaps and the install
// secret stay, and functions that run go on running. With --purge everything goes. Happy path:
// (purge: the objects first, while a controller and Kubernetes' collector know them), then the
// manifests from the last to the first, so webhooks go before who answers them. Failure modes: the
// first object that cannot be deleted ends it; the next `lull uninstall` goes on.
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/install_set.h"
#include "cli/resource.h"

struct uninstall {
    struct cli_common common;
    bool purge;
    int64_t timeout_s;
    struct install_set set;
    struct cluster_kinds kinds;
    bool theirs; // the kinds for events are Knative Eventing's
};

static const struct option_row ROWS[] = {
    OPTION(struct uninstall, common.kubeconfig, STRING, "KUBECONFIG", "kubeconfig", NULL,
           .optional = true, .help = "the cluster to take Lull from"),
    OPTION(struct uninstall, purge, BOOL, NULL, "purge", "false",
           .help = "delete every function, the kinds, the ConfigMaps and the namespace too"),
    OPTION(struct uninstall, timeout_s, INT, NULL, "timeout", "120", .min = 1, .max = 3600,
           .help = "seconds to wait until what was deleted is gone"),
};
static const struct option_table TABLE = {
    .program = "lull uninstall",
    .summary = "takes Lull from a Kubernetes cluster; functions and settings stay",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull uninstall --kubeconfig ~/.kube/config\n"};

// 1: it was not there.
static int delete_one(struct cli *cli, const struct kube_call *call, struct error *err)
{
    CLEANUP(jfree) json_t *answer = NULL;
    int rc = cli_call(cli, kube_delete, call, &answer, err);

    return rc == ERR_NOT_FOUND ? 1 : rc;
}

static int delete_kind(struct cli *cli, enum kind_id kind, struct error *err)
{
    const struct kind *row = kind_row(kind);
    CLEANUP(jfree) json_t *list = NULL;
    struct kube_call all = {.kind = KUBE_KIND(row)};
    int rc = cli_call(cli, kube_list, &all, &list, err);
    size_t i, deleted = 0;
    json_t *object;

    if (rc == ERR_NOT_FOUND) {
        return 0; // the kind is gone already
    }
    json_array_foreach(jpeek_arr(list, "items"), i, object)
    {
        struct kube_call call = {.kind = KUBE_KIND(row),
                                 .ns = row->namespaced ? jpeek_cstr(object, "metadata.namespace")
                                                       : NULL,
                                 .name = jpeek_cstr(object, "metadata.name")};
        rc = delete_one(cli, &call, err);
        if (rc < 0) {
            return rc;
        }
        deleted += rc == 0;
    }
    if (deleted) {
        printf("%zu %s deleted\n", deleted, row->plural);
    }
    return rc < 0 ? rc : 0;
}

// Before their kinds: Kubernetes does not collect what belonged to an object of a kind that it no
// longer knows.
static int delete_objects(struct cli *cli, const struct uninstall *u, struct error *err)
{
    enum { EVENTING = 2 }; // so many of the first are left alone where they are Knative Eventing's
    static const enum kind_id KINDS[] = {
        KIND_PINGSOURCE,
        KIND_SINKBINDING,
        KIND_WEBHOOKSOURCE,
        KIND_REDISSOURCE,
        KIND_FILESOURCE,
        KIND_TRIGGER,
        KIND_BROKER,
        KIND_DOMAINMAPPING,
        KIND_SERVICE,
        KIND_ROUTE,
        KIND_CONFIGURATION,
        KIND_REVISION,
        KIND_CLUSTERDOMAINCLAIM,
        KIND_PODAUTOSCALER,
    };
    struct kube_call deployments = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
                                    .label_selector = "serving.knative.dev/revision"};
    int rc = 0;

    for (size_t i = u->theirs ? EVENTING : 0; rc == 0 && i < ARRAY_LEN(KINDS); i++) {
        rc = delete_kind(cli, KINDS[i], err);
    }
    return rc ? rc
              : cluster_wait_none(cli, &deployments, "Deployments of functions",
                                  (uint64_t)u->timeout_s * 1000, err);
}

static int wait_pods(struct cli *cli, const struct uninstall *u, struct error *err)
{
    struct kube_call pods = {.kind = KUBE_KIND(kind_row(KIND_POD)),
                             .ns = INSTALL_NAMESPACE,
                             .label_selector = "app.kubernetes.io/part-of=lull"};
    return cluster_wait_none(cli, &pods, "pods of the parts", (uint64_t)u->timeout_s * 1000, err);
}

static int delete_manifests(struct cli *cli, struct uninstall *u, struct error *err)
{
    for (size_t i = json_array_size(u->set.objects); i > 0; i--) {
        const json_t *object = json_array_get(u->set.objects, i - 1);
        const struct cli_resource *resource;
        if (install_keeps(object) && !u->purge) {
            continue;
        }
        int rc = cluster_kind(cli, &u->kinds, object, &resource, err);
        // With Pods in it, Kubernetes looks at a namespace again only after half the time that they
        // may take to end, which is minutes for activators.
        rc =
            rc == 0 && !resource->namespaced && slice_eq_str(jpeek_str(object, "kind"), "Namespace")
                ? wait_pods(cli, u, err)
                : rc;
        if (rc < 0) {
            return rc;
        }
        struct kube_call call = {
            .kind = resource->kind,
            .ns = resource->namespaced ? jpeek_cstr(object, "metadata.namespace") : NULL,
            .name = jpeek_cstr(object, "metadata.name")};
        CLEANUP(cleanup_free) char *name = cli_resource_name(resource, call.name);
        rc = delete_one(cli, &call, err);
        if (rc < 0) {
            return error_prefix(err, rc, "%s", name);
        }
        if (rc == 0) {
            printf("%s deleted\n", name);
        }
    }
    fflush(stdout);
    return 0;
}

static int wait_gone(struct cli *cli, const struct uninstall *u, struct error *err)
{
    struct kube_call namespaces = {.kind = KUBE_KIND(kind_row(KIND_NAMESPACE)),
                                   .label_selector =
                                       "kubernetes.io/metadata.name=" INSTALL_NAMESPACE};
    struct kube_call certificates = {.kind = KUBE_KIND(kind_row(KIND_NAMESPACE)),
                                     .label_selector =
                                         "kubernetes.io/metadata.name=" INSTALL_CERTIFICATES};
    uint64_t timeout_ms = (uint64_t)u->timeout_s * 1000;
    int rc = wait_pods(cli, u, err);
    rc = rc ? rc
            : cluster_wait_none(cli, &certificates, "namespaces (" INSTALL_CERTIFICATES ")",
                                timeout_ms, err);

    if (rc == 0 && u->purge) {
        rc = cluster_wait_none(cli, &namespaces, "namespaces (" INSTALL_NAMESPACE ")", timeout_ms,
                               err);
    }
    return rc;
}

static int run(struct cli *cli, struct uninstall *u, struct error *err)
{
    bool there = false;
    int rc = install_set_load(&INSTALL_ALL, &u->set, err);

    rc = rc ? rc : cluster_connect(cli, &u->common, err);
    rc = rc ? rc : cluster_is_ours(cli, &there, err);
    rc = rc ? rc : cluster_spare_eventing(cli, u->set.objects, &u->theirs, err);
    if (rc == 0 && u->purge && there) {
        rc = delete_objects(cli, u, err);
    }
    rc = rc ? rc : delete_manifests(cli, u, err);
    rc = rc ? rc : wait_gone(cli, u, err);
    if (rc == 0 && !u->purge) {
        printf("The kinds, your functions, the ConfigMaps and the secrets are still there; "
               "`lull uninstall --purge` deletes them too.\n");
    }
    return rc;
}

int cmd_uninstall(struct cli *cli, int argc, char **argv)
{
    struct uninstall u = {0};
    struct error err;

    if (cli_parse(&TABLE, argc, argv, &u) != 0) {
        return cli_usage("usage: lull uninstall --kubeconfig FILE [--purge]");
    }
    int rc = run(cli, &u, &err);
    install_set_fini(&u.set);
    cluster_kinds_fini(&u.kinds);
    options_fini(&TABLE, &u);
    return rc < 0 ? cli_fail(&err) : 0;
}
