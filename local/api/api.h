// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Kubernetes API of one machine over HTTPS: discovery, the verbs, watches, tables, pod logs.
 * Owns the listener and the requests. Knows the store and nothing of how replicas run; every rule
 * that does not belong to HTTP is the store's or lib/serving's.
 *
 * Errors are Status objects with Kubernetes' reasons; limits: 1.5 MiB per object (413), 64 levels
 * of JSON, 512 connections, watches that fall behind the history get a 410 event.
 */

#include "local/kinds.h"
#include "local/logs.h"
#include "local/store.h"
#include "local/usage.h"

struct api;

struct api_options {
    struct loop *loop;
    struct store *store;             /* outlives the API */
    const struct local_kinds *kinds; /* outlives the API */
    const char *listen;              /* "127.0.0.1:8070"; port 0: any */
    const char *cert_file;
    const char *key_file;
    const char *token;            /* what "Authorization: Bearer" must carry */
    const char *user;             /* who that is, for creator annotations */
    const char *system_namespace; /* where config-defaults is */
};

/* ERR_IN_USE and others name the address. */
MUST_CHECK int api_start(struct api **out, const struct api_options *options, struct error *err);
/* The port it listens on. */
uint16_t api_port(const struct api *api);
/* Where pod logs come from; NULL: nowhere (501). Outlives the API. */
void api_set_logs(struct api *api, const struct logs_provider *logs);
/* Where metrics.k8s.io has its numbers; NULL: nowhere (503). Outlives the API. */
void api_set_usage(struct api *api, const struct usage_provider *usage);
/* Cuts every request off; cb comes later. The store must still be there until then. */
void api_close(struct api *api, void (*cb)(void *arg), void *arg);
/* Requests that were answered, and watches that are open; for metrics. */
uint64_t api_requests(const struct api *api);
size_t api_watches(const struct api *api);
/* Rows of tables and metadata that were made into text; whole objects the store counts. */
uint64_t api_serialisations(const struct api *api);
