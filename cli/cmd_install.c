// SPDX-License-Identifier: Apache-2.0
//
// lull install: the built-in manifests onto a cluster, by server-side apply, so keys and fields
// that somebody else has set stay. Happy path: nothing of Knative's is in the way, each object is
// applied, the install secret is made once, the parts become ready. Failure modes: refused before
// anything is written; an object that is refused ends it, and the next `lull install` goes on.
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/install_events.h"
#include "cli/install_set.h"
#include "cli/resource.h"

#define MANAGER         "lull"
#define SECRET_HEX      64
#define PRINT_BYTES_MAX (4u << 20)

struct install {
    struct cli_common common;
    char *registry, *tag, *events_redis, *redis_image;
    int64_t timeout_s;
    bool print;
    struct install_choice choice;
    struct install_redis redis;
    struct install_set set;
    struct cluster_kinds kinds;
    size_t created, changed, same;
};

static const struct option_row ROWS[] = {
    OPTION(struct install, common.kubeconfig, STRING, "KUBECONFIG", "kubeconfig", NULL,
           .optional = true, .help = "the cluster to install on"),
    OPTION(struct install, registry, STRING, NULL, "registry", "dev.local",
           .help = "where the images are: REGISTRY/lull-PART:TAG"),
    OPTION(struct install, tag, STRING, NULL, "tag", "dev", .help = "tag of the images"),
    OPTION(struct install, events_redis, STRING, NULL, "events-redis", NULL, .optional = true,
           .help = "the Redis that keeps events: SECRET[/KEY] of namespace lull-system with its "
                   "URL, builtin (one pod with a volume, for trying out), or none; absent: as it "
                   "is on the cluster"),
    OPTION(struct install, redis_image, STRING, NULL, "redis-image", NULL, .optional = true,
           .help = "image of the builtin Redis; absent: " INSTALL_REDIS_IMAGE),
    OPTION(struct install, timeout_s, INT, NULL, "timeout", "120", .min = 0, .max = 3600,
           .help = "seconds to wait until every part is ready; 0: do not wait"),
    OPTION(struct install, print, BOOL, NULL, "print", "false",
           .help = "print the manifests and change nothing"),
};
static const struct option_table TABLE = {
    .program = "lull install",
    .summary = "puts Lull onto a Kubernetes cluster, or brings it up to date",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull install --kubeconfig ~/.kube/config --registry registry.example --tag v1\n"
                "  lull install --events-redis builtin\n"
                "  lull install --print >lull.yaml\n"};

// Every kind is known before anything is written: on what is no cluster nothing is.
static int resolve(struct cli *cli, struct install *in, struct error *err)
{
    size_t i;
    json_t *object;
    json_array_foreach(in->set.objects, i, object)
    {
        const struct cli_resource *resource;
        int rc = cluster_kind(cli, &in->kinds, object, &resource, err);
        if (rc < 0) {
            return error_prefix(err, rc, "this is no Kubernetes that Lull can be installed on");
        }
    }
    return 0;
}

static int put(struct cli *cli, struct install *in, json_t *object, struct error *err)
{
    const struct cli_resource *resource;
    CLEANUP(jfree) json_t *before = NULL;
    CLEANUP(jfree) json_t *after = NULL;
    int rc = cluster_kind(cli, &in->kinds, object, &resource, err);

    if (rc < 0) {
        return rc;
    }
    struct kube_call call = {.kind = resource->kind,
                             .ns = resource->namespaced ? jpeek_cstr(object, "metadata.namespace")
                                                        : NULL,
                             .name = jpeek_cstr(object, "metadata.name")};
    CLEANUP(cleanup_free) char *name = cli_resource_name(resource, call.name);
    rc = cli_call(cli, kube_get, &call, &before, err);
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        return error_prefix(err, rc, "%s", name);
    }
    bool there = rc == 0;
    call.body = object;
    call.field_manager = MANAGER;
    rc = cli_call(cli, kube_apply, &call, &after, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", name);
    }
    const char *version = jpeek_cstr(after, "metadata.resourceVersion");
    bool same = there && strcmp(version, jpeek_cstr(before, "metadata.resourceVersion")) == 0;
    *(same ? &in->same : there ? &in->changed : &in->created) += 1;
    if (!same) {
        printf("%s %s\n", name, there ? "changed" : "created");
    }
    return 0;
}

// Made once: running queue-proxies and activators know it.
static int make_secret(struct cli *cli, struct install *in, struct error *err)
{
    CLEANUP(jfree) json_t *answer = NULL;
    char hex[SECRET_HEX + 1];
    CLEANUP(jfree)
    json_t *secret = json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}, s:{s:s}}", "apiVersion", "v1",
                               "kind", "Secret", "metadata", "name", INSTALL_SECRET, "namespace",
                               INSTALL_NAMESPACE, "labels", "app.kubernetes.io/part-of", "lull",
                               "stringData", "secret", random_hex(hex, SECRET_HEX));
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)), .ns = INSTALL_NAMESPACE, .body = secret};
    int rc = cli_call(cli, kube_create, &call, &answer, err);

    if (rc == ERR_EXISTS) {
        in->same++;
        return 0;
    }
    if (rc == 0) {
        in->created++;
        printf("secret/%s created\n", INSTALL_SECRET);
    }
    return rc;
}

static int make_redis_secret(struct cli *cli, struct install *in, struct error *err)
{
    bool made = false;
    int rc = install_redis_secret(cli, &made, err);

    if (rc == 0) {
        *(made ? &in->created : &in->same) += 1;
        fputs(made ? "secret/" INSTALL_REDIS " created\n" : "", stdout);
    }
    return rc;
}

static int apply_all(struct cli *cli, struct install *in, struct error *err)
{
    size_t i;
    json_t *object;
    int rc = 0;

    json_array_foreach(in->set.objects, i, object)
    {
        rc = put(cli, in, object, err);
        if (rc == 0 && i == 0) { // the namespace: what the pods mount comes before them
            rc = make_secret(cli, in, err);
            rc = rc ? rc : install_redis_check(cli, &in->choice, err);
            rc = rc == 0 && in->choice.events == EVENTS_BUILTIN ? make_redis_secret(cli, in, err)
                                                                : rc;
        }
        if (rc < 0) {
            return rc;
        }
    }
    printf("%zu objects created, %zu changed, %zu as they were\n", in->created, in->changed,
           in->same);
    fflush(stdout);
    return 0;
}

static int print(const struct install *in, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, PRINT_BYTES_MAX);
    int rc = install_text(&in->choice, &text, err);

    if (rc == 0) {
        fputs(text.ptr, stdout);
    }
    return rc;
}

// What is wanted; without --events-redis what the cluster has.
static int choose(struct cli *cli, struct install *in, struct error *err)
{
    in->choice = (struct install_choice){.registry = in->registry, .tag = in->tag};
    int rc = install_redis_parse(in->events_redis ? in->events_redis : "none",
                                 in->events_redis ? in->redis_image : NULL, &in->redis, &in->choice,
                                 err);

    if (rc == 0 && in->print) {
        return print(in, err);
    }
    rc = rc ? rc : install_set_load(&in->choice, &in->set, err); // bad words before anything else
    rc = rc ? rc : cluster_connect(cli, &in->common, err);
    if (rc == 0 && !in->events_redis) {
        install_set_fini(&in->set);
        rc = install_redis_find(cli, in->redis_image, &in->redis, &in->choice, err);
        rc = rc ? rc : install_set_load(&in->choice, &in->set, err);
    }
    return rc;
}

static int spare_eventing(struct cli *cli, struct install *in, struct error *err)
{
    bool theirs = false;
    int rc = cluster_spare_eventing(cli, in->set.objects, &theirs, err);

    if (rc < 0 || !theirs) {
        return rc;
    }
    if (in->choice.events != EVENTS_NONE) {
        return error_set(err, ERR_DENIED,
                         "Knative Eventing is here, and its kinds stay its own: install with "
                         "--events-redis none");
    }
    printf("Knative Eventing is here: its kinds stay as they are, events are its own\n");
    return 0;
}

static int run(struct cli *cli, struct install *in, struct error *err)
{
    int rc = choose(cli, in, err);

    if (rc < 0 || in->print) {
        return rc;
    }
    rc = resolve(cli, in, err);
    rc = rc ? rc : cluster_is_ours(cli, NULL, err);
    rc = rc ? rc : spare_eventing(cli, in, err);
    rc = rc ? rc : apply_all(cli, in, err);
    rc = rc == 0 && in->events_redis ? install_events_prune(cli, &in->set, &in->kinds, err) : rc;
    if (rc == 0 && in->timeout_s > 0) {
        bool events = in->choice.events != EVENTS_NONE;
        rc = cluster_wait_parts(cli, events, (uint64_t)in->timeout_s * 1000, err);
        rc = rc ? rc : cluster_wait_admission(cli, (uint64_t)in->timeout_s * 1000, err);
    }
    return rc;
}

int cmd_install(struct cli *cli, int argc, char **argv)
{
    struct install in = {0};
    struct error err;

    if (cli_parse(&TABLE, argc, argv, &in) != 0) {
        return cli_usage("usage: lull install --kubeconfig FILE");
    }
    int rc = run(cli, &in, &err);
    install_set_fini(&in.set);
    install_redis_fini(&in.redis);
    cluster_kinds_fini(&in.kinds);
    options_fini(&TABLE, &in);
    return rc < 0 ? cli_fail(&err) : 0;
}
