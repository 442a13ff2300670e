// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The certificates that the ingress shows: copies of users' Secrets in a namespace of their own,
 * which activators watch. One per DomainMapping with spec.tls ("d.DOMAIN"), one per name in
 * tls-secrets ("l.NAME"). A Secret that cannot be used leaves its copy as it was: the last good
 * one. Pure. Owns: nothing.
 */

#include "controller/conditions.h"
#include "controller/reconcile.h"

/* The copy of a domain's certificate. */
void certificate_name_of_domain(const char *domain, char out[static OBJECT_BUF]);
/* The domain of a copy with that name; NULL: it has another name. Borrowed. */
const char *certificate_domain_of_name(const char *name);

/* TLS can be had at all. */
bool certificates_on(const struct reconcile_env *env);

/*
 * For a mapping with spec.tls.secretName: its condition, and the copy. may_show: the domain is
 * this mapping's. Texts live in err. WAIT: nothing is known yet, and nothing should be said.
 */
enum certificate_progress { CERTIFICATE_SAID, CERTIFICATE_WAITS };
enum certificate_progress certificate_of_mapping(const struct reconcile_env *env,
                                                 const json_t *mapping, bool may_show,
                                                 struct plan *plan, struct error *err,
                                                 struct condition *out);
/* The name of a listed Secret (tls-secrets) whose certificate counts for the host; false: none. */
bool certificate_listed_for(const struct reconcile_env *env, const char *host,
                            char out[static OBJECT_BUF]);
/*
 * For a host without a Secret of its own, as external-domain-tls has it: True when a listed
 * certificate counts for it (*out_https), or when it is served in the clear all the same.
 */
struct condition certificate_of_host(const struct reconcile_env *env, const json_t *object,
                                     const char *host, bool *out_https);
