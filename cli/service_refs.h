// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Secrets and ConfigMaps in a function: all their keys as variables (envFrom), or as files below a
 * folder (a volume and its mount). Pure.
 */

#include <jansson.h>

#include "base/error.h"

/*
 * word: "secret:NAME" or "config:NAME" ("cm:NAME") adds all keys as variables; with a "-" at the
 * end it takes them away. Edits the container in place.
 */
MUST_CHECK int service_env_from(json_t *container, const char *word, struct error *err);

/*
 * word: "/path=secret:NAME" or "/path=config:NAME" puts the keys as files below /path, in place of
 * what was mounted there; "/path-" takes the mount away, and its volume when nothing else uses it.
 * pod: the object with containers and volumes.
 */
MUST_CHECK int service_mount(json_t *pod, json_t *container, const char *word, struct error *err);
