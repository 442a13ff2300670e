// SPDX-License-Identifier: Apache-2.0
//
// Happy path: what was said, what this machine's supervisor wrote down, or one look at the Service.
// Failure modes: Lull does not run here; the Service is not there, may not be read, or has no
// address that is good outside the cluster.
#include "cli/gateway.h"

#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/home.h"
#include "cli/install_set.h"
#include "cli/part_ask.h"

#define HTTP_PORT 80

static int find_here(const struct cli *cli, char **out, struct error *err)
{
    CLEANUP(jfree) json_t *up = NULL;
    int rc = home_read_up(cli->home, &up, err);
    if (rc < 0) {
        return error_prefix(err, rc,
                            "Lull does not run on this machine (lull up; --kubeconfig names a "
                            "cluster, --url where functions are called)");
    }
    *out = xasprintf("http://127.0.0.1:%lld", (long long)jpeek_i64(up, "localPort"));
    return 0;
}

// Its port for HTTP, which is the first if none has this name.
static int64_t port_of(const json_t *service)
{
    const json_t *named = jpeek_row(service, "spec.ports", "name", SLICE_LIT("http"));
    int64_t port =
        jpeek_i64(named == NULL ? service : named, named == NULL ? "spec.ports[0].port" : "port");
    return port > 0 ? port : HTTP_PORT;
}

static int find_on_cluster(struct cli *cli, char **out, struct error *err)
{
    static const char *const places[] = {"status.loadBalancer.ingress[0].hostname",
                                         "status.loadBalancer.ingress[0].ip",
                                         "spec.externalIPs[0]"};
    CLEANUP(jfree) json_t *service = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_CORE_SERVICE)),
                             .ns = INSTALL_NAMESPACE,
                             .name = "lull-activator"};
    int rc = cli_call(cli, kube_get, &call, &service, err);
    if (rc < 0) {
        return error_prefix(err, rc,
                            "where functions of this cluster are called is not known (--url says "
                            "it); Service lull-activator");
    }
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *host = jpeek_cstr(service, places[i]);
        bool v6 = strchr(host, ':') != NULL;
        if (host[0] != '\0') {
            *out = xasprintf("http://%s%s%s:%lld", v6 ? "[" : "", host, v6 ? "]" : "",
                             (long long)port_of(service));
            return 0;
        }
    }
    return error_set(
        err, ERR_NOT_FOUND,
        "Service lull-activator has no address outside the cluster: kubectl -n " INSTALL_NAMESPACE
        " port-forward service/lull-activator 8080:80, then --url "
        "http://127.0.0.1:8080");
}

int gateway_find(struct cli *cli, const char *said, char **out, struct error *err)
{
    if (said != NULL && said[0] != '\0') {
        size_t n = strlen(said);
        *out = xstrndup(said, said[n - 1] == '/' ? n - 1 : n);
        return 0;
    }
    return part_is_here(cli) ? find_here(cli, out, err) : find_on_cluster(cli, out, err);
}
