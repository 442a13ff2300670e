// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a Revision is made of: its Deployment and its PodAutoscaler. Pure.
 * Owns: nothing. May not: look at what exists already.
 */

#include <jansson.h>

#include "controller/settings.h"

/* How many replicas a new Deployment gets: the annotation initial-scale, else the setting. */
int64_t build_initial_scale(const struct settings *settings, const json_t *revision);
/* The port of the container that serves; 8080 when it names none. */
int64_t build_user_port(const json_t *revision);
/* The container of a pod spec that serves: the only one, or the one with a port; NULL: none. */
json_t *build_serving_container(const json_t *spec);
/* Gives the HTTP or TCP probe of this name the function's port; keep_number: unless it has one. */
void build_probe_port(json_t *container, const char *probe_name, int64_t port, bool keep_number);
/* Whether that port is named h2c: the function wants HTTP/2. A revision, or a template of one. */
bool build_speaks_h2c(const json_t *revision);
/* annotation progress-deadline, else the setting. */
int64_t build_progress_deadline_s(const struct settings *settings, const json_t *revision);
/* "Reachable", "Unreachable" or "", from the label routingState. */
const char *build_reachability(const json_t *revision);

/* New objects; NULL when the revision holds what cannot be written. */
json_t *build_deployment(const struct settings *settings, const json_t *revision);
json_t *build_pod_autoscaler(const json_t *revision);
