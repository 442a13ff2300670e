// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The rules of DomainMapping and ClusterDomainClaim, as Knative's webhook has them. Pure.
 * Owns: nothing. May not: look whether the target exists; that is the controller's to tell.
 */

#include <jansson.h>

#include "base/error.h"

#define CLUSTER_DOMAIN "cluster.local"

/* Fills in spec.ref.namespace. */
void domain_mapping_default(json_t *mapping);
/* ERR_INVALID with Knative's words: `missing field(s): spec.ref.name`. */
MUST_CHECK int domain_mapping_validate(const json_t *mapping, struct error *err);
/* Only spec.namespace counts. */
MUST_CHECK int domain_claim_validate(const json_t *claim, struct error *err);

/* The name is a domain with at least two labels that is not one of in-cluster names. */
MUST_CHECK int domain_name_validate(const char *name, struct error *err);
