// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull deploy` and `lull env` change in a Service: only what the command line names. The
 * Service may have been written by another client. Pure.
 */

#include <jansson.h>

#include "base/error.h"

struct service_changes {
    const char *image;     /* NULL: as it is */
    bool bundle;           /* the image says itself how it is run: command and args of before go */
    const char **env;      /* "NAME=VALUE" sets, "NAME-" removes; NULL ends; NULL: as it is */
    char *const *env_from; /* words of service_env_from; NULL ends; NULL: as it is */
    char *const *mounts;   /* words of service_mount; the same */
    const char *min_scale, *max_scale, *window; /* NULL: as it is */
    int64_t concurrency;                        /* -1: as it is */
};

/* The function's own container: the one with a port, else the first; borrowed, NULL: none. */
json_t *service_container(const json_t *service);
/* Edits in place. ERR_INVALID names the word that is wrong. */
MUST_CHECK int service_edit(json_t *service, const struct service_changes *changes,
                            struct error *err);

/*
 * Cuts the text of one --env into its words, in place: a comma separates only where NAME= or NAME-
 * follows, so that values may have commas. Appends to list[*count …max]; ERR_TOO_BIG beyond.
 */
MUST_CHECK int service_env_words(char *text, const char **list, size_t *count, size_t max,
                                 struct error *err);
