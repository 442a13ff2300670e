// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The seam through which the API server reads the log of a replica. The node agent implements it
 * (it knows where the files are); the API server calls it for GET …/pods/NAME/log.
 *
 * Rules: open() returns 0 and a source, or an error and none (ERR_PROTOCOL: no log yet, no
 * such container, no run before this one). Callbacks run on the loop, never inside open(). The
 * source gives data until the end (follow: until the run has ended), then exactly one `end`;
 * nothing comes after close() or `end`. The caller calls close() in any case, also after `end`.
 */

#include "base/error.h"
#include "base/slice.h"

struct logs_query {
    const char *ns;
    const char *pod;
    const char *pod_uid;
    const char *container; /* "" : the function's container */
    bool follow;
    bool previous;      /* the run before this one; one that waits to be started again: the last */
    bool timestamps;    /* RFC 3339, before each line */
    int64_t since_ns;   /* wall clock: nothing older; 0: all */
    int64_t tail_lines; /* -1: all */
    uint64_t limit_bytes; /* 0: no limit */
};

struct logs_source; /* of the implementation */

struct logs_sink {
    /* data is borrowed during the call. False: no more until resume(). */
    bool (*data)(struct slice data, void *arg);
    void (*end)(int rc, const struct error *err, void *arg);
    void *arg;
};

struct logs_provider {
    int (*open)(void *self, const struct logs_query *query, const struct logs_sink *sink,
                struct logs_source **out, struct error *err);
    void (*resume)(struct logs_source *source);
    void (*close)(struct logs_source *source);
    void *self;
};
