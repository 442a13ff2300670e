// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The rule for the name of a DomainMapping, for those who have only the name. Pure. */

#include "base/error.h"

/* The name is a domain with at least two labels that is not one of in-cluster names. ERR_INVALID in
 * Knative's words. */
MUST_CHECK int domain_name_validate(const char *name, struct error *err);
