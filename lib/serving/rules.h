// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of defaulting and validation, shared by the files rules_*.c, defaults.c and validate.c
 * and nobody else. Rules look at trees that passed type_check; each adds its problems with paths
 * relative to what it looks at.
 *
 *   rules_metadata.c  names, labels, annotations     rules_scaling.c   autoscaling annotations
 *   rules_traffic.c   traffic                        rules_revision.c  template and revision
 *   rules_pod.c       pod spec, several containers   rules_container.c one container
 *   rules_env.c       env, envFrom                   rules_probe.c     probes
 *   rules_volume.c    volumes, mounts                rules_security.c  security contexts
 *   rules_other.c     PodAutoscaler, DomainMapping
 */

#include "serving/defaults.h"
#include "serving/problems.h"
#include "serving/typed.h"

struct rules {
    const struct serving_config *config;
    struct problems *p;
    const json_t *metadata; /* of the whole object; NULL: none */
};

/* --- reading (null is nothing) --- */
static inline json_t *rule_member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* "" when missing. */
static inline struct slice rule_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    return text == NULL ? SLICE_EMPTY : slice_of(text, json_string_length(value));
}

static inline int64_t rule_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static inline bool rule_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static inline bool rule_open(const struct rules *r, enum feature feature)
{
    return feature_open(&r->config->features, feature);
}

static inline bool rule_on(const struct rules *r, enum feature feature)
{
    return feature_enabled(&r->config->features, feature);
}

/* secure-pod-defaults is Enabled or AllowRootBounded. */
bool rule_secure_defaults(const struct features *features);

/* "must not set the field(s)" with every field of the type that is set and not in allowed, a list
 * that ends with NULL. */
void rule_only(struct rules *r, const json_t *object, enum type_id type,
               const char *const *allowed);
/* As rule_only where whether a field may be set depends on more than its name. */
typedef bool (*rule_allowed_cb)(const struct rules *r, const json_t *object, const char *field);
void rule_only_if(struct rules *r, const json_t *object, enum type_id type,
                  rule_allowed_cb allowed);

/* --- words (words.c): the reasons why a text is not of a form, joined by sep; how many --- */
size_t words_dns1035_label(struct slice text, const char *sep, struct strbuf *out);
size_t words_dns1035_prefix(struct slice text, const char *sep, struct strbuf *out);
size_t words_dns1123_label(struct slice text, const char *sep, struct strbuf *out);
size_t words_dns1123_subdomain(struct slice text, const char *sep, struct strbuf *out);
size_t words_qualified_name(struct slice text, const char *sep, struct strbuf *out);
size_t words_label_value(struct slice text, const char *sep, struct strbuf *out);
size_t words_c_identifier(struct slice text, const char *sep, struct strbuf *out);
enum { WORDS_MAX = 4096 };

/* --- rules_metadata.c --- */
/* The first of two annotation spellings that is there (old may be NULL); NULL: neither. *out_key is
 * the spelling found. */
const json_t *rule_annotation(const json_t *annotations, const char *key, const char *old,
                              const char **out_key);
/* name, generateName, and annotations of autoscaling: checked, or refused. */
void rules_object_metadata(struct rules *r, const json_t *metadata, bool scaling);
void rules_duration_annotation(struct rules *r, const json_t *annotations, const char *key,
                               const char *old, const char *what);
/* old: what was there before, which may stay as it is; NULL: nothing. */
void rules_async_annotation(struct rules *r, const json_t *annotations, const json_t *old);
void rules_owner_label(struct rules *r, const json_t *metadata, const char *label,
                       const char *kind);
void rules_networking_annotations(struct rules *r, const json_t *annotations);
void rules_queue_annotations(struct rules *r, const json_t *annotations);
/* creator and lastModifier against what is stored. same_spec: the specs mean the same. */
void rules_creator(struct rules *r, const json_t *metadata, const json_t *old_metadata,
                   bool same_spec);

/* --- rules_scaling.c --- */
void rules_scaling(struct rules *r, const json_t *annotations);

/* --- rules_traffic.c: in_service: the configuration is known --- */
void rules_traffic(struct rules *r, const json_t *traffic, bool in_service);

/* --- rules_revision.c --- */
void rules_revision_spec(struct rules *r, const json_t *spec);
/* template of a Service or Configuration; its paths begin below it. */
void rules_template(struct rules *r, const json_t *revision_template);
void rules_name_change(struct rules *r, const json_t *revision_template, const json_t *old);
/* Paths "containerConcurrency". */
void rules_concurrency(struct rules *r, int64_t concurrency);

/* --- rules_pod.c --- */
void rules_pod_spec(struct rules *r, const json_t *spec);

/* --- rules_container.c --- */
enum container_role { CONTAINER_ONLY, CONTAINER_SERVING, CONTAINER_SIDECAR, CONTAINER_INIT };
/* The serving port of a pod, with its defaults. */
struct serving_port {
    struct slice name;
};
void rules_container(struct rules *r, const json_t *container, const json_t *volumes,
                     enum container_role role, const struct serving_port *port);

/* --- rules_env.c --- */
void rules_env(struct rules *r, const json_t *container, enum container_role role);
void rules_env_from(struct rules *r, const json_t *container);

/* --- rules_probe.c --- */
/* port NULL: not the serving container. */
void rules_probes(struct rules *r, const json_t *container, const struct serving_port *port);

/* --- rules_volume.c --- */
/* mounted: of all containers, name after name. */
void rules_volumes(struct rules *r, const json_t *volumes, const json_t *mounted);
void rules_mounts(struct rules *r, const json_t *mounts, const json_t *volumes);
/* The last volume of that name, as later ones win; NULL: none. */
const json_t *rule_volume(const json_t *volumes, struct slice name);
/* Whether a mount of it may be written to: emptyDir, a claim, an ephemeral volume. */
bool rule_volume_writable(const json_t *volume);

/* --- rules_security.c --- */
void rules_security_context(struct rules *r, const json_t *context);
void rules_pod_security_context(struct rules *r, const json_t *context);
void rules_security_warnings(struct rules *r, const json_t *pod, const json_t *context);

/* --- rules_other.c --- */
void rules_pod_autoscaler(struct rules *r, const json_t *spec);
void rules_domain_mapping(struct rules *r, const json_t *spec);
void rules_domain_name(struct rules *r, struct slice name);

/* --- image_ref.c --- */
bool image_reference_valid(struct slice image);
