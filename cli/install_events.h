// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Events of an installation: which Redis, from --events-redis or from what is on the cluster; the
 * Secret of our own Redis; what goes when events go. Borrows what it is given, owns the words.
 */

#include "cli/cluster.h"
#include "cli/install_set.h"

struct install_redis {
    char *secret, *key, *image; /* what a choice points to */
};

/*
 * none, builtin or SECRET[/KEY] into the choice; images that are not said are the default's.
 * ERR_INVALID: the text is something else.
 */
MUST_CHECK int install_redis_parse(const char *text, const char *image, struct install_redis *redis,
                                   struct install_choice *choice, struct error *err);
/* As it is on the cluster; image (NULL: not said) comes before the one that runs. */
MUST_CHECK int install_redis_find(struct cli *cli, const char *image, struct install_redis *redis,
                                  struct install_choice *choice, struct error *err);
void install_redis_fini(struct install_redis *redis);

/* ERR_NOT_FOUND: the Secret that is named is not there, or has no such key. */
MUST_CHECK int install_redis_check(struct cli *cli, const struct install_choice *choice,
                                   struct error *err);
/* The password of our own Redis, made once. *out_made: it was not there. */
MUST_CHECK int install_redis_secret(struct cli *cli, bool *out_made, struct error *err);
/*
 * Deletes what events would need and `set` does not have. Volumes and Secrets stay. Tells each on
 * stdout.
 */
MUST_CHECK int install_events_prune(struct cli *cli, const struct install_set *set,
                                    struct cluster_kinds *kinds, struct error *err);
