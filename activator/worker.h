// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One of several workers, seen from inside: who it is, and its link to the process that started it.
 * Tells that process when it takes requests and when it drains, and hands it the pages of its
 * admin port. Owns the link. When the parent dies, the kernel sends SIGTERM: the worker drains.
 *
 * Frames of the link (lib/link, numbers big endian), version by version the same on both sides,
 * since parent and workers are one binary:
 *   HELLO  worker  u32 index | u32 generation
 *   STATE  worker  u8: READY or DRAINING
 *   ASK    parent  u32 id | path
 *   PAGE   worker  u32 id | u16 status | u8 last | u8 n | n bytes of type | a piece of the page;
 *                  id 0: /metrics as they were at the end, unasked
 */

#include "loop/closer.h"
#include "activator/admin.h"
#include "link/link.h"

#define WORKER_ENV       "LULL_ACTIVATOR_WORKER"
#define WORKER_FD_PUBLIC 3 /* the sockets to accept on */
#define WORKER_FD_LOCAL  4
#define WORKER_FD_LIFE   5 /* the lifeline, when there is one */
#define WORKER_FD_TLS    6 /* with --tls-listen */
#define WORKER_PIECE_MAX (256u << 10)
#define WORKER_PAGE_HEAD 8u
#define WORKER_QUEUE_MAX (ADMIN_PAGE_MAX + (2u << 20))
#define WORKERS_MAX      CONFIG_WORKERS_MAX

enum worker_frame {
    WORKER_HELLO = 1,
    WORKER_STATE = 2,
    WORKER_ASK = 3,
    WORKER_PAGE = 4,
};

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_DRAINING };

/* What WORKER_ENV says: "INDEX COUNT GENERATION PARENT BASE INSTANCE". */
struct worker_id {
    unsigned index;      /* 0 … count-1 */
    unsigned count;      /* of workers */
    unsigned generation; /* 1 for the first with this index */
    int parent;          /* its process id */
    char *base;          /* owned: start of the abstract socket names, "@…" */
    char *instance;      /* owned: name of the whole activator */
};

/* ERR_INVALID: the text is not what a parent of ours writes. */
MUST_CHECK int worker_id_parse(const char *text, struct worker_id *out, struct error *err);
/* The text for WORKER_ENV; the caller frees. */
char *worker_id_text(const struct worker_id *id);
void worker_id_fini(struct worker_id *id);
/* As which it reports to the autoscaler: "INSTANCE-w0", "INSTANCE-w0.2"; the caller frees. */
char *worker_name(const struct worker_id *id);
/* "unix:@….control": where the parent listens; the caller frees. */
char *worker_control_address(const char *base);

struct worker {
    struct loop *loop; /* private, like the rest */
    const struct worker_id *id;
    const struct admin *admin;
    struct link_client *link;
    enum worker_state state;
    struct closer closer;
};

/* id and admin outlive it. After an error worker_close is still fine. */
MUST_CHECK int worker_start(struct worker *w, struct loop *loop, const struct worker_id *id,
                            const struct admin *admin, struct error *err);
void worker_tell(struct worker *w, enum worker_state state);
/* Hands over the last numbers. */
void worker_farewell(struct worker *w);
/* cb comes later. A zeroed or failed one is fine. */
void worker_close(struct worker *w, void (*cb)(void *arg), void *arg);
