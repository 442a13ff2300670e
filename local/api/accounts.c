// SPDX-License-Identifier: Apache-2.0

/*
 * Every namespace has a ServiceAccount `default`, as a controller of Kubernetes sees to. Plan: look
 * at each namespace once, then watch namespaces that come and accounts that go. A watch that fell
 * behind begins again.
 */

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "local/api/call.h"

static void ensure(struct api *api, const struct object *namespace)
{
    struct error err;
    if (namespace == NULL || namespace->deleting ||
        store_get(api->options.store, "serviceaccounts", namespace->name, "default") != NULL) {
        return;
    }
    json_t *body = json_pack("{s:{s:s}}", "metadata", "name", "default");
    REQUIRE(body != NULL);
    int rc = store_create(api->options.store, "serviceaccounts", namespace->name, body,
                          STORE_MACHINE, NULL, NULL, &err);
    if (rc < 0 && rc != ERR_EXISTS) {
        LOG_WARN("cannot make a default ServiceAccount", LOG_STR("namespace", namespace->name),
                 LOG_ERR(&err));
    }
    json_decref(body);
}

static bool on_namespace(const struct store_event *e, void *arg)
{
    if (e->type == STORE_GONE) {
        accounts_start(arg);
        return false;
    }
    if (e->type == STORE_ADDED) {
        ensure(arg, e->object);
    }
    return true;
}

static bool on_account(const struct store_event *e, void *arg)
{
    struct api *api = arg;
    if (e->type == STORE_GONE) {
        accounts_start(api);
        return false;
    }
    if (e->type == STORE_DELETED) {
        ensure(api, store_get(api->options.store, "namespaces", "", e->object->ns));
    }
    return true;
}

/* References, because nothing may be written inside a list. */
struct found {
    struct object **objects;
    size_t count;
};

static bool add_found(struct object *o, void *arg)
{
    struct found *f = arg;
    f->objects = xreallocarray(f->objects, f->count + 1, sizeof(struct object *));
    f->objects[f->count++] = object_ref(o);
    return true;
}

static void watch_kind(struct api *api, const char *resource, store_watch_cb cb,
                       struct store_watch **watch)
{
    struct error err;
    struct store *store = api->options.store;
    struct store_selector sel = {.resource = resource};
    if (store_watch_start(store, &sel, store_version(store), cb, api, watch, &err) < 0) {
        *watch = NULL;
        LOG_WARN("cannot watch for default ServiceAccounts", LOG_STR("kind", resource),
                 LOG_ERR(&err));
    }
}

void accounts_start(struct api *api)
{
    accounts_stop(api);
    struct error err;
    struct found found = {0};
    watch_kind(api, "namespaces", on_namespace, &api->namespaces);
    watch_kind(api, "serviceaccounts", on_account, &api->accounts);
    if (store_list(api->options.store, &(struct store_selector){.resource = "namespaces"},
                   add_found, &found, &err) < 0) {
        LOG_WARN("cannot list namespaces", LOG_ERR(&err));
    }
    for (size_t i = 0; i < found.count; i++) {
        ensure(api, found.objects[i]);
        object_unref(found.objects[i]);
    }
    free(found.objects);
}

void accounts_stop(struct api *api)
{
    store_watch_close(api->namespaces);
    store_watch_close(api->accounts);
    api->namespaces = api->accounts = NULL;
}
