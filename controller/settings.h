// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the ConfigMaps of the system namespace say, as far as the controller needs it. A key that
 * does not parse leaves the settings as they were. Owns: its strings. May not: talk to the API.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "loop/addr.h"
#include "serving/autoscaler_config.h"
#include "serving/config_deployment.h"
#include "serving/config_gc.h"
#include "serving/config_network.h"
#include "serving/config_observability.h"
#include "serving/defaults.h"
#include "serving/names.h"

struct settings {
    struct serving_config defaults;
    struct network_config network;
    struct autoscaler_config autoscaler;
    struct gc_config gc;
    struct deployment_config deployment;
    struct observability_config observability;
    char sidecar_image[512];      /* "": the node agent supplies it (one machine) */
    char local_gateway[600];      /* host name of the cluster-local ingress */
    char announce[ADDR_TEXT_MAX]; /* "IP:PORT" of the activators; "": replicas do not announce */
    struct strbuf secret;         /* of this installation; only read with announce */
    char system_namespace[OBJECT_BUF];
    char certificate_namespace[OBJECT_BUF]; /* where the ingress has its certificates; "": no TLS */
};

/* Knative's defaults. */
void settings_init(struct settings *settings, const char *sidecar_image,
                   const char *system_namespace);

/* Replicas of Deployments that are made from now on announce themselves there: "IP" or "IP:PORT".
 * "": they do not. ERR_INVALID and what reading the file may give. */
MUST_CHECK int settings_announce(struct settings *settings, const char *address,
                                 const char *secret_file, struct error *err);

void settings_fini(struct settings *settings);

/* The names of the ConfigMaps that settings_read understands. */
bool settings_wants(const char *name);
/*
 * Reads the data of the ConfigMap `name`; NULL: the defaults again. ERR_INVALID: nothing was
 * changed, the error names ConfigMap and key.
 */
MUST_CHECK int settings_read(struct settings *settings, const char *name, const json_t *data,
                             struct error *err);
