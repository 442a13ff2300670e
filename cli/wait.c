// SPDX-License-Identifier: Apache-2.0
//
// Waiting for conditions, creating objects, and changing one that others may be changing too.
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "cli/cli.h"

#define POLL_FIRST_MS 10
#define POLL_MAX_MS   200
#define FAILED_MS     1000 // so long must it look like a failure that will not go away
#define CHANGE_TRIES  8

int cli_ready(const json_t *service)
{
    const json_t *ready = cli_condition(service, "Ready");
    struct slice status = jpeek_str(ready, "status");

    if (jpeek_i64(service, "status.observedGeneration") !=
        jpeek_i64(service, "metadata.generation")) {
        return 0;
    }
    return slice_eq_str(status, "True") ? 1 : slice_eq_str(status, "False") ? -1 : 0;
}

// False for good, as far as one look can tell: while the newest revision is still being started,
// the Route may well say that there is none yet.
static bool failed(const json_t *service)
{
    const json_t *configurations = cli_condition(service, "ConfigurationsReady");

    return cli_ready(service) < 0 && !slice_eq_str(jpeek_str(configurations, "status"), "Unknown");
}

int cli_wait_object(struct cli *cli, struct kube_kind kind, const char *ns, const char *name,
                    uint64_t timeout_ms, bool progress, json_t **out, struct error *err)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + timeout_ms;
    uint64_t pause = POLL_FIRST_MS;
    uint64_t failed_at = 0;
    struct kube_call call = {.kind = kind, .ns = ns, .name = name};
    char last[512] = "";

    for (;;) {
        json_t *service = NULL;
        char text[512];
        int rc = cli_call(cli, kube_get, &call, &service, err);
        if (rc < 0) {
            return rc;
        }
        int ready = cli_ready(service);
        const json_t *c = cli_condition(service, "Ready");
        struct slice reason = jpeek_str(c, "reason"), message = jpeek_str(c, "message");
        snprintf(text, sizeof text, "%.*s%s%.*s", SLICE_FMT(reason),
                 slice_empty(message) ? "" : ": ", SLICE_FMT(message));
        if (progress && text[0] && strcmp(text, last) != 0 && ready == 0) {
            fprintf(stderr, "  %s\n", text);
        }
        memcpy(last, text, sizeof last);
        if (ready > 0) {
            *out = service;
            return 0;
        }
        uint64_t now = loop_now_fresh_ns(&cli->loop) / 1000000;
        failed_at = !failed(service) ? 0 : failed_at ? failed_at : now;
        json_decref(service);
        if (failed_at && now - failed_at >= FAILED_MS) {
            return error_set(err, ERR_INVALID, "%s cannot become ready: %s", name, text);
        }
        if (now > end) {
            return error_set(err, ERR_TIMEOUT, "%s is not ready after %llu s: %s", name,
                             (unsigned long long)(timeout_ms / 1000),
                             text[0] ? text : "no status yet");
        }
        cli_pause(cli, pause);
        pause = pause * 2 > POLL_MAX_MS ? POLL_MAX_MS : pause * 2;
    }
}

int cli_wait_ready(struct cli *cli, const char *name, uint64_t timeout_ms, bool progress,
                   json_t **out, struct error *err)
{
    return cli_wait_object(cli, KUBE_KIND(kind_row(KIND_SERVICE)), cli->ns, name, timeout_ms,
                           progress, out, err);
}

int cli_change(struct cli *cli, const struct kube_call *target, kube_change_cb change, void *arg,
               json_t **out, struct error *err)
{
    int rc = ERR_CONFLICT;

    for (int attempt = 0; attempt < CHANGE_TRIES && rc == ERR_CONFLICT; attempt++) {
        json_t *object = NULL;
        struct kube_call call = *target;
        rc = cli_call(cli, kube_get, &call, &object, err);
        rc = rc ? rc : change(arg, object, err);
        if (rc == 1) { // nothing to write
            *out = object;
            return 0;
        }
        if (rc == 0) {
            call.body = object;
            rc = cli_call(cli, kube_update, &call, out, err);
        }
        json_decref(object);
    }
    return rc;
}

int cli_change_object(struct cli *cli, const struct kube_call *target, kube_change_cb change,
                      void *arg, const struct cli_wait *wait, json_t **out, struct error *err)
{
    int rc = cli_change(cli, target, change, arg, out, err);

    if (rc == 0 && !wait->none) {
        json_decref(*out);
        *out = NULL;
        rc = cli_wait_object(cli, target->kind, target->ns, target->name,
                             (uint64_t)wait->timeout_s * 1000, wait->progress, out, err);
    }
    return rc;
}

int cli_change_service(struct cli *cli, const char *name, kube_change_cb change, void *arg,
                       const struct cli_wait *wait, json_t **out, struct error *err)
{
    struct kube_call target = {
        .kind = KUBE_KIND(kind_row(KIND_SERVICE)), .ns = cli->ns, .name = name};

    return cli_change_object(cli, &target, change, arg, wait, out, err);
}

json_t *cli_new_object(const struct cli *cli, const struct kind *kind, const char *name,
                       struct error *err)
{
    json_t *object =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{}}", "apiVersion", kind_api_version(kind), "kind",
                  kind->kind, "metadata", "name", name, "namespace", cli->ns, "spec");
    if (!object) {
        error_set(err, ERR_INVALID, "the name is not UTF-8");
    }
    return object;
}

int cli_create(struct cli *cli, const struct kind *kind, const char *word, json_t *body,
               const struct cli_wait *wait, json_t **out, const char **how, struct error *err)
{
    const char *name = jpeek_cstr(body, "metadata.name");
    struct kube_call call = {.kind = KUBE_KIND(kind), .ns = cli->ns, .body = body};
    int rc = cli_call(cli, kube_create, &call, out, err);

    *how = wait->none ? "created" : "created and ready";
    if (rc < 0 || wait->none) {
        return rc;
    }
    json_decref(*out);
    *out = NULL;
    rc = cli_wait_object(cli, KUBE_KIND(kind), cli->ns, name, (uint64_t)wait->timeout_s * 1000,
                         wait->progress, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s %s was created, but is not ready", word, name) : 0;
}
