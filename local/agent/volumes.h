// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The volumes that a function mounts, and what is in them: secret, configMap, downwardAPI and
 * projected volumes are files from the objects that they name; an emptyDir is an empty folder.
 * Pure but for the source; writing them is volume_write.h's.
 */

#include "local/agent/reference.h"

#define VOLUME_BYTES_MAX (4u << 20) /* of all files of a Pod */
#define VOLUME_FILES_MAX 4096

struct volume_file {
    char *path; /* relative, without ".." */
    unsigned mode;
    struct reference_value data;
};

struct volume {
    char *name;
    bool writable; /* an emptyDir: made once, never written again */
    struct volume_file *files;
    size_t count;
};

struct volume_mount {
    size_t volume; /* index */
    char *path;    /* absolute */
    char *sub;     /* subPath, or subPathExpr when `expand`; NULL: the whole volume */
    bool expand;
    bool read_only;
};

/* Only volumes that the container mounts. Zeroed is empty. */
struct volume_set {
    struct volume *volumes;
    size_t count;
    struct volume_mount *mounts;
    size_t mounts_count;
};

/*
 * ERR_NOT_FOUND as the kubelet says it (`MountVolume.SetUp failed for volume "x" : configmap "y"
 * not found`), ERR_UNSUPPORTED for volumes that one machine has not, ERR_INVALID for paths that
 * leave the volume. On an error *out may hold some: volumes_fini() all the same.
 */
MUST_CHECK int volumes_read(struct volume_set *out, const struct reference_source *source,
                            const json_t *pod, const json_t *container, struct error *err);
/* A path inside a volume: relative, no "..", not empty, at most 4096 bytes. */
bool volume_path_is_inside(const char *path);
void volumes_fini(struct volume_set *set);
