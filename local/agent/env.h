// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A container's environment: envFrom, then env in order, with values from ConfigMaps, Secrets and
 * the Pod itself, and $(NAME) in values, commands and paths. Pure but for the source. Two steps:
 * the objects are read on the loop (env_read), the references among the variables are resolved when
 * the function's port is known (env_resolve).
 */

#include "base/strbuf.h"
#include "local/agent/reference.h"

#define ENV_MAX 400 /* variables of a container; lull-replica takes REPLICA_MAX_ARGS with ours */

struct env_row {
    char *name;
    char *value;
    bool literal; /* from an object or a field: $(NAME) in it stays */
};

struct env {
    struct env_row *rows;
    size_t count;
};

/* A zeroed struct is empty. On an error it may hold some rows: env_fini() all the same. */
MUST_CHECK int env_read(struct env *env, const struct reference_source *source, const json_t *pod,
                        const json_t *container, struct error *err);
/* A variable that is there already gets the new value, in its place. */
void env_set(struct env *env, const char *name, const char *value);
/* Each row sees those before it. ERR_TOO_BIG when one value would pass 1 MiB. */
MUST_CHECK int env_resolve(struct env *env, struct error *err);
/* $(NAME) becomes the value, $$ becomes $, what is not known stays. Appends to out. */
void env_expand(const struct env *env, const char *text, struct strbuf *out);
void env_fini(struct env *env);
