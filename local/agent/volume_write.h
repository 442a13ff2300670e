// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Volumes on the disk, below $LULL_HOME/replicas/ID/volumes/NAME. A volume of files changes as a
 * whole, the way the kubelet does it: the files stand in a folder of their own, `..data` is a link
 * to it that is replaced by rename, and each name in the volume is a link through `..data`. Blocks:
 * for a pool thread.
 */

#include <sys/types.h>

#include "local/agent/volumes.h"

/* The folder that holds the volumes of a replica, and the one that its root is built in. */
#define VOLUMES_FOLDER "volumes"
#define VOLUMES_ROOT   ".root"

/*
 * Makes or replaces the volumes in `folder` (made, mode 0700, when absent). uid 0: our own user.
 * An emptyDir that is there is left alone.
 */
MUST_CHECK int volumes_write(const char *folder, const struct volume_set *set, uid_t uid,
                             struct error *err);
