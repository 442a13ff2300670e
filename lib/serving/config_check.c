// SPDX-License-Identifier: Apache-2.0
/* Each map is read into settings that are dropped. Failure mode: its reader's. */
#include "serving/config_check.h"

#include <string.h>

#include "serving/autoscaler_json.h"
#include "serving/config_deployment.h"
#include "serving/config_gc.h"
#include "serving/config_network.h"
#include "serving/config_observability.h"
#include "serving/defaults.h"
#include "serving/names.h"

static int check_autoscaler(const json_t *data, struct error *err)
{
    struct autoscaler_config fresh;
    return autoscaler_config_from_json(data, &fresh, err);
}

static int check_defaults(const json_t *data, struct error *err)
{
    struct serving_config fresh;
    serving_config_init(&fresh);
    return serving_config_read(&fresh, data, err);
}

static int check_deployment(const json_t *data, struct error *err)
{
    struct deployment_config fresh;
    return deployment_config_read(&fresh, data, err);
}

static int check_domain(const json_t *data, struct error *err)
{
    struct network_config fresh;
    network_config_init(&fresh);
    int rc = domain_config_read(&fresh, data, err);
    network_config_fini(&fresh);
    return rc;
}

static int check_gc(const json_t *data, struct error *err)
{
    struct gc_config fresh;
    return gc_config_read(&fresh, data, err);
}

static int check_network(const json_t *data, struct error *err)
{
    struct network_config fresh;
    network_config_init(&fresh);
    int rc = network_config_read(&fresh, data, err);
    network_config_fini(&fresh);
    return rc;
}

static int check_observability(const json_t *data, struct error *err)
{
    struct observability_config fresh;
    return observability_config_read(&fresh, data, err);
}

int config_check(const char *name, const json_t *data, struct error *err)
{
    static const struct {
        const char *name;
        int (*check)(const json_t *data, struct error *err);
    } checks[] = {
        {CONFIG_AUTOSCALER, check_autoscaler},
        {CONFIG_DEFAULTS, check_defaults},
        {CONFIG_DEPLOYMENT, check_deployment},
        {CONFIG_DOMAIN, check_domain},
        {CONFIG_GC, check_gc},
        {CONFIG_NETWORK, check_network},
        {CONFIG_OBSERVABILITY, check_observability},
    };
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        if (strcmp(checks[i].name, name) == 0) {
            return checks[i].check(data, err);
        }
    }
    return 0;
}
