// SPDX-License-Identifier: Apache-2.0
//
// What the objects of the API tell, on one machine and on a cluster. Failure modes: what may not be
// read is said as a warning, and the other checks go on.
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/config_check.h"
#include "cli/doctor.h"
#include "cli/install_set.h"

#define HANGS_S    60 // a deletion should not take so long
#define NAMED_MOST 5  // so many objects are named one by one

static bool list(struct doctor *d, const char *check, const struct kube_call *call, json_t **out)
{
    struct error err;
    if (cli_call(d->cli, kube_list, call, out, &err) < 0) {
        doctor_warn(d, check, "see what the API says of it", "%s cannot be read: %s",
                    call->kind.plural, err.msg);
        return false;
    }
    return true;
}

static void check_settings(struct doctor *d)
{
    CLEANUP(jfree) json_t *maps = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_CONFIGMAP)), .ns = INSTALL_NAMESPACE};
    size_t i, good = 0, bad = 0;
    json_t *map;
    if (!list(d, "settings", &call, &maps)) {
        return;
    }
    json_array_foreach(jpeek_arr(maps, "items"), i, map)
    {
        struct error err;
        const char *name = jpeek_cstr(map, "metadata.name");
        if (config_check(name, json_object_get(map, "data"), &err) < 0) {
            bad++;
            doctor_fail(d, "settings",
                        "mend that key; until then the parts use what they read last",
                        "ConfigMap %s: %s", name, err.msg);
        } else {
            good += strncmp(name, "config-", 7) == 0;
        }
    }
    if (bad == 0) {
        doctor_ok(d, "settings", "%zu ConfigMaps config-* can be used", good);
    }
}

static int64_t age_s(struct slice time)
{
    int64_t at_ns = 0;
    return clock_parse_rfc3339(time, &at_ns, NULL) < 0 ? 0 : (clock_wall_ns() - at_ns) / 1000000000;
}

static void check_deletions(struct doctor *d)
{
    static const enum kind_id kinds[] = {KIND_SERVICE,     KIND_CONFIGURATION, KIND_ROUTE,
                                         KIND_REVISION,    KIND_DOMAINMAPPING, KIND_PODAUTOSCALER,
                                         KIND_BROKER,      KIND_TRIGGER,       KIND_PINGSOURCE,
                                         KIND_SINKBINDING, KIND_WEBHOOKSOURCE, KIND_REDISSOURCE,
                                         KIND_FILESOURCE,  KIND_NAMESPACE};
    size_t hanging = 0;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        const struct kind *row = kind_row(kinds[k]);
        CLEANUP(jfree) json_t *all = NULL;
        struct kube_call call = {.kind = KUBE_KIND(row)};
        size_t i;
        json_t *object;
        if (!list(d, "deletions", &call, &all)) {
            return;
        }
        json_array_foreach(jpeek_arr(all, "items"), i, object)
        {
            int64_t since_s = age_s(jpeek_str(object, "metadata.deletionTimestamp"));
            if (since_s > HANGS_S && hanging++ < NAMED_MOST) {
                const char *finalizer = jpeek_cstr(object, "metadata.finalizers[0]");
                doctor_warn(d, "deletions",
                            "whoever set the finalizer has to take it away; when that program is "
                            "gone for good, remove it from metadata.finalizers by hand",
                            "%s %s/%s is being deleted for %lld s%s%s", row->kind,
                            jpeek_cstr(object, "metadata.namespace"),
                            jpeek_cstr(object, "metadata.name"), (long long)since_s,
                            finalizer[0] != '\0' ? ", held by finalizer " : "", finalizer);
            }
        }
    }
    if (hanging == 0) {
        doctor_ok(d, "deletions", "none hangs");
    }
}

static void check_functions(struct doctor *d, bool all_namespaces)
{
    CLEANUP(jfree) json_t *services = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_SERVICE)),
                             .ns = all_namespaces ? NULL : d->cli->ns};
    size_t i, ready = 0, not_ready = 0;
    json_t *service;
    if (!list(d, "functions", &call, &services)) {
        return;
    }
    json_array_foreach(jpeek_arr(services, "items"), i, service)
    {
        const json_t *condition = cli_condition(service, "Ready");
        if (cli_ready(service) > 0) {
            ready++;
        } else if (not_ready++ < NAMED_MOST) {
            CLEANUP(cleanup_free)
            char *advice = xasprintf("lull describe %s -n %s", jpeek_cstr(service, "metadata.name"),
                                     jpeek_cstr(service, "metadata.namespace"));
            doctor_warn(d, "functions", advice, "%s/%s is not ready: %s %.400s",
                        jpeek_cstr(service, "metadata.namespace"),
                        jpeek_cstr(service, "metadata.name"), jpeek_cstr(condition, "reason"),
                        jpeek_cstr(condition, "message"));
        }
    }
    if (not_ready == 0) {
        doctor_ok(d, "functions", "%zu, all ready%s%s", ready,
                  all_namespaces ? "" : ", in namespace ", all_namespaces ? "" : d->cli->ns);
    } else if (not_ready > NAMED_MOST) {
        doctor_warn(d, "functions", "lull list", "%zu more are not ready", not_ready - NAMED_MOST);
    }
}

void doctor_objects(struct doctor *d, bool all_namespaces)
{
    check_settings(d);
    check_deletions(d);
    check_functions(d, all_namespaces);
}
