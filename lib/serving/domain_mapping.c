// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the name is a domain, the reference is complete and stays in its namespace.
 * Failure mode: the first rule that is broken, ERR_INVALID with its path.
 */
#include "serving/domain_mapping.h"

#include <string.h>

#include "base/slice.h"
#include "json/jget.h"
#include "serving/names.h"

void domain_mapping_default(json_t *mapping)
{
    json_t *ref = jpeek_obj(mapping, "spec.ref");
    const char *ns = jpeek_cstr(mapping, "metadata.namespace");
    if (ref != NULL && jpeek_str(ref, "namespace").len == 0 && ns[0] != '\0') {
        json_object_set_new(ref, "namespace", json_string(ns));
    }
}

/* No label is longer than a DNS label may be; the rest is known to be a subdomain. */
static bool labels_fit(const char *name)
{
    for (const char *at = name; *at != '\0';) {
        size_t len = strcspn(at, ".");
        if (len > NAME_MAX_LEN) {
            return false;
        }
        at += len + (at[len] == '.');
    }
    return true;
}

int domain_name_validate(const char *name, struct error *err)
{
    if (!name_is_dns1123_subdomain(name) || !labels_fit(name)) {
        return error_set(err, ERR_INVALID,
                         "invalid name \"%.253s\": name: Invalid value: must be a domain: lower "
                         "case letters, digits, '-' and '.', each label at most %d characters, "
                         "which begins and ends with a letter or digit: metadata.name",
                         name, NAME_MAX_LEN);
    }
    if (strchr(name, '.') == NULL) {
        return error_set(err, ERR_INVALID,
                         "invalid name \"%s\": name: Invalid value: \"%s\": should be a domain "
                         "with at least two segments separated by dots: metadata.name",
                         name, name);
    }
    if (slice_ends_with(slice_str(name), SLICE_LIT("." CLUSTER_DOMAIN))) {
        return error_set(err, ERR_INVALID,
                         "invalid name \"%s\": must not be a subdomain of cluster local domain "
                         "\"" CLUSTER_DOMAIN "\": metadata.name",
                         name);
    }
    return 0;
}

static int check_ref(const json_t *mapping, struct error *err)
{
    const char *missing[3];
    size_t n = 0;
    static const char *const needed[] = {"apiVersion", "kind", "name"};
    const json_t *ref = jpeek_obj(mapping, "spec.ref");
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (jpeek_str(ref, needed[i]).len == 0) {
            missing[n++] = needed[i];
        }
    }
    if (n > 0) {
        return error_set(err, ERR_INVALID, "missing field(s): spec.ref.%s%s%s%s%s", missing[0],
                         n > 1 ? ", spec.ref." : "", n > 1 ? missing[1] : "",
                         n > 2 ? ", spec.ref." : "", n > 2 ? missing[2] : "");
    }
    if (jpeek_str(ref, "group").len > 0) {
        return error_set(err, ERR_INVALID, "must not set the field(s): spec.ref.group");
    }
    struct slice parent = jpeek_str(mapping, "metadata.namespace");
    struct slice ns = jpeek_str(ref, "namespace");
    if (ns.len > 0 && parent.len > 0 && !slice_eq(ns, parent)) {
        return error_set(err, ERR_INVALID,
                         "mismatched namespaces: spec.ref.namespace\n"
                         "parent namespace: \"%.*s\" does not match ref: \"%.*s\"",
                         SLICE_FMT(parent), SLICE_FMT(ns));
    }
    return 0;
}

int domain_mapping_validate(const json_t *mapping, struct error *err)
{
    if (jpeek_str(mapping, "metadata.generateName").len > 0) {
        return error_set(err, ERR_INVALID, "must not set the field(s): metadata.generateName");
    }
    int rc = domain_name_validate(jpeek_cstr(mapping, "metadata.name"), err);
    return rc < 0 ? rc : check_ref(mapping, err);
}

int domain_claim_validate(const json_t *claim, struct error *err)
{
    if (jpeek_str(claim, "spec.namespace").len == 0) {
        return error_set(err, ERR_INVALID, "missing field(s): spec.namespace");
    }
    return 0;
}
