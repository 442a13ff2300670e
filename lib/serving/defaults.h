// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defaulting and validation of the product's objects: pure functions over their JSON, with the
 * rules and the words of Knative's webhooks. The one-machine API server calls them before it stores
 * an object, the CLI before it sends one. Kinds: Service, Configuration, Revision, Route,
 * PodAutoscaler, DomainMapping; others pass as they are.
 * Owns: nothing. May not: read a clock, a file or another object than those given.
 *
 *     struct serving_request request = {.kind = kind, .old = old, .user = user};
 *     struct serving_report report;
 *     serving_report_init(&report);
 *     rc = serving_admit(&config, &request, object, &report);
 *     … report.errors.ptr: the whole refusal; report.warnings.ptr: what to tell in any case
 *     serving_report_fini(&report);
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "serving/autoscaler_config.h"
#include "serving/feature_flags.h"
#include "serving/kinds.h"
#include "serving/quantity.h"

enum serving_resource { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_EPHEMERAL_STORAGE, RESOURCE_COUNT };
enum { NAME_TEMPLATE_MAX = 128 };

/* What config-defaults, config-features and config-autoscaler say; serving_config_init gives
 * Knative's defaults. */
struct serving_config {
    int64_t timeout_s;                   /* revision-timeout-seconds */
    int64_t max_timeout_s;               /* max-revision-timeout-seconds */
    int64_t response_start_timeout_s;    /* revision-response-start-timeout-seconds; 0: none */
    int64_t idle_timeout_s;              /* revision-idle-timeout-seconds; 0: none */
    int64_t concurrency;                 /* container-concurrency */
    int64_t max_concurrency;             /* container-concurrency-max-limit */
    bool allow_concurrency_zero;         /* allow-container-concurrency-zero */
    bool service_links_set;              /* enable-service-links is not "default" */
    bool service_links;                  /* enable-service-links */
    struct autoscaler_config autoscaler; /* the bounds of autoscaling annotations */
    struct features features;            /* config-features */
    bool
        processes; /* replicas are no containers: no warnings about Kubernetes' insecure defaults */
    /* container-name-template, init-container-name-template: text with {{.Name}}, {{.Namespace}},
     * {{.GenerateName}}, {{.Labels.KEY}} or {{.Annotations.KEY}} of the Service or Configuration */
    char container_name[NAME_TEMPLATE_MAX];
    char init_container_name[NAME_TEMPLATE_MAX];
    /* revision-{cpu,memory,ephemeral-storage}-{request,limit}; "": none */
    char requests[RESOURCE_COUNT][QUANTITY_TEXT];
    char limits[RESOURCE_COUNT][QUANTITY_TEXT];
};
void serving_config_init(struct serving_config *config);
/* Reads the data of ConfigMap config-defaults (NULL: none) over what is there. ERR_INVALID names
 * the key; config is unchanged then. config-features: features_read(&config->features, data);
 * config-autoscaler: autoscaler_config_from_json(data, &config->autoscaler, err). */
MUST_CHECK int serving_config_read(struct serving_config *config, const json_t *data,
                                   struct error *err);

/* A create or an update. */
struct serving_request {
    const struct kind *kind;
    const json_t *old;  /* what is stored, as it was defaulted then; NULL on a create */
    const char *user;   /* for creator and lastModifier; NULL: leave them alone, "": nobody */
    bool status_update; /* the object's status only: metadata and spec are as they are stored */
};

/* Texts of any length (up to 1 MiB), one problem a line or more: "message: path, path". */
struct serving_report {
    struct strbuf errors;
    struct strbuf warnings;
};
void serving_report_init(struct serving_report *report);
void serving_report_fini(struct serving_report *report);

/*
 * Fills in what object leaves open, and who made and changed it. ERR_INVALID names the first value
 * of a wrong type; object is then as it was. Twice is the same as once.
 */
MUST_CHECK int serving_default_request(const struct serving_config *config,
                                       const struct serving_request *request, json_t *object,
                                       struct error *err);
/* Checks a defaulted object: 0 (there may be warnings), or ERR_INVALID with every problem in
 * report->errors. */
MUST_CHECK int serving_validate_request(const struct serving_config *config,
                                        const struct serving_request *request, const json_t *object,
                                        struct serving_report *report);
/* Both, as the two webhooks after each other. */
MUST_CHECK int serving_admit(const struct serving_config *config,
                             const struct serving_request *request, json_t *object,
                             struct serving_report *report);

/* The same without a user; the error's sentence is the beginning of the report's errors. */
MUST_CHECK int serving_default(const struct serving_config *config, const struct kind *kind,
                               json_t *object, const json_t *old, struct error *err);
MUST_CHECK int serving_validate(const struct serving_config *config, const struct kind *kind,
                                const json_t *object, const json_t *old, struct error *err);
