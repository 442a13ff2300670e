// SPDX-License-Identifier: Apache-2.0
//
// Plan: the flag's words, or those of Deployment lull-broker and StatefulSet lull-redis. Failure
// modes: words that are none; an API server that refuses.
#include "cli/install_events.h"

#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cluster.h"
#include "cli/resource.h"

enum { PASSWORD_HEX = 48 };

static const struct kube_kind stateful_sets = {"apps", "v1", "statefulsets"};

int install_redis_parse(const char *text, const char *image, struct install_redis *redis,
                        struct install_choice *choice, struct error *err)
{
    choice->redis_image = image ? image : INSTALL_REDIS_IMAGE;
    choice->events = strcmp(text, "none") == 0      ? EVENTS_NONE
                     : strcmp(text, "builtin") == 0 ? EVENTS_BUILTIN
                                                    : EVENTS_SECRET;
    if (choice->events == EVENTS_SECRET) {
        const char *slash = strchr(text, '/');
        redis->secret = xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));
        redis->key = xstrdup(slash ? slash + 1 : INSTALL_REDIS_KEY);
        choice->redis_secret = redis->secret;
        choice->redis_key = redis->key;
    }
    return image && choice->events != EVENTS_BUILTIN
               ? error_set(err, ERR_INVALID, "--redis-image is of --events-redis builtin")
               : 0;
}

void install_redis_fini(struct install_redis *redis)
{
    free(redis->secret);
    free(redis->key);
    free(redis->image);
}

// The image of our own Redis; NULL: there is none.
static int running_image(struct cli *cli, char **out, struct error *err)
{
    CLEANUP(jfree) json_t *redis = NULL;
    struct kube_call call = {.kind = stateful_sets, .ns = INSTALL_NAMESPACE, .name = INSTALL_REDIS};
    int rc = cli_call(cli, kube_get, &call, &redis, err);

    if (rc == 0) {
        *out = xstrdup(jpeek_cstr(redis, "spec.template.spec.containers[0].image"));
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int install_redis_find(struct cli *cli, const char *image, struct install_redis *redis,
                       struct install_choice *choice, struct error *err)
{
    CLEANUP(jfree) json_t *broker = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
                             .ns = INSTALL_NAMESPACE,
                             .name = INSTALL_BROKER};
    int rc = cli_call(cli, kube_get, &call, &broker, err);

    choice->events = EVENTS_NONE;
    if (rc == ERR_NOT_FOUND && image) {
        return error_set(err, ERR_INVALID, "--redis-image is of --events-redis builtin");
    }
    if (rc < 0) {
        return rc == ERR_NOT_FOUND ? 0 : rc;
    }
    const json_t *volume =
        jpeek_row(broker, "spec.template.spec.volumes", "name", SLICE_LIT("redis"));
    const json_t *secret = jpeek_obj(volume, "projected.sources[0].secret");
    redis->secret = xstrdup(jpeek_cstr(secret, "name"));
    redis->key = xstrdup(jpeek_cstr(secret, "items[0].key"));
    choice->redis_secret = redis->secret;
    choice->redis_key = redis->key;
    choice->events = EVENTS_SECRET;
    if (strcmp(redis->secret, INSTALL_REDIS) == 0) {
        rc = running_image(cli, &redis->image, err);
        choice->events = redis->image ? EVENTS_BUILTIN : EVENTS_SECRET;
        choice->redis_image = image ? image : redis->image;
    }
    return rc;
}

int install_redis_secret(struct cli *cli, bool *out_made, struct error *err)
{
    CLEANUP(jfree) json_t *answer = NULL;
    char password[PASSWORD_HEX + 1];
    random_hex(password, PASSWORD_HEX);
    CLEANUP(cleanup_free) char *url = xasprintf("redis://:%s@" INSTALL_REDIS ":6379/0", password);
    CLEANUP(jfree)
    json_t *secret =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
                  "Secret", "metadata", "name", INSTALL_REDIS, "namespace", INSTALL_NAMESPACE,
                  "labels", "app.kubernetes.io/part-of", "lull", "stringData", "password", password,
                  INSTALL_REDIS_KEY, url);
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)), .ns = INSTALL_NAMESPACE, .body = secret};
    int rc = cli_call(cli, kube_create, &call, &answer, err);

    *out_made = rc == 0;
    return rc == ERR_EXISTS ? 0 : rc;
}

int install_redis_check(struct cli *cli, const struct install_choice *choice, struct error *err)
{
    CLEANUP(jfree) json_t *secret = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_SECRET)),
                             .ns = INSTALL_NAMESPACE,
                             .name = choice->redis_secret};
    int rc = choice->events == EVENTS_SECRET ? cli_call(cli, kube_get, &call, &secret, err) : 0;

    if (rc < 0 && rc != ERR_NOT_FOUND) {
        return error_prefix(err, rc, "secret/%s", choice->redis_secret);
    }
    if (choice->events == EVENTS_SECRET &&
        json_object_get(jpeek_obj(secret, "data"), choice->redis_key) == NULL) {
        return error_set(err, ERR_NOT_FOUND,
                         "--events-redis: namespace " INSTALL_NAMESPACE
                         " has no Secret %s with the key %s; make it (docs/kubernetes.md, Events), "
                         "then run this again",
                         choice->redis_secret, choice->redis_key);
    }
    return 0;
}

static bool has(const struct install_set *set, const json_t *object)
{
    size_t i;
    json_t *one;
    json_array_foreach(set->objects, i, one)
    {
        if (strcmp(jpeek_cstr(one, "kind"), jpeek_cstr(object, "kind")) == 0 &&
            strcmp(jpeek_cstr(one, "metadata.name"), jpeek_cstr(object, "metadata.name")) == 0) {
            return true;
        }
    }
    return false;
}

static int delete_object(struct cli *cli, struct cluster_kinds *kinds, const json_t *object,
                         struct error *err)
{
    const struct cli_resource *resource;
    CLEANUP(jfree) json_t *answer = NULL;
    int rc = cluster_kind(cli, kinds, object, &resource, err);

    if (rc < 0) {
        return rc;
    }
    struct kube_call call = {.kind = resource->kind,
                             .ns = resource->namespaced ? INSTALL_NAMESPACE : NULL,
                             .name = jpeek_cstr(object, "metadata.name")};
    CLEANUP(cleanup_free) char *name = cli_resource_name(resource, call.name);
    rc = cli_call(cli, kube_delete, &call, &answer, err);
    if (rc == 0) {
        printf("%s deleted\n", name);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? error_prefix(err, rc, "%s", name) : 0;
}

int install_events_prune(struct cli *cli, const struct install_set *set,
                         struct cluster_kinds *kinds, struct error *err)
{
    struct install_set all = {0};
    int rc = install_set_load(&INSTALL_ALL, &all, err);

    for (size_t i = json_array_size(all.objects); rc == 0 && i > 0; i--) {
        const json_t *object = json_array_get(all.objects, i - 1);
        // Where Knative Eventing is, its kinds are not in the set either.
        if (!has(set, object) && !install_keeps(object)) {
            rc = delete_object(cli, kinds, object, err);
        }
    }
    install_set_fini(&all);
    return rc;
}
