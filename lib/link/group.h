// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The links of a part to all autoscalers that there are: those that an option names, and those that
 * come and go as Pods do. Each connects again by itself and has a queue of its own: one that is
 * slow or gone delays no other. Owns the links and the install secret. May not: know what is sent.
 */

#include "base/list.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "link/link.h"

#define LINK_GROUP_MAX 8 /* autoscalers that are told; more are left out */

struct link_group;

struct link_member {
    struct list node; /* in members; not linked: closing */
    struct link_group *group;
    struct link_client *client;
    char *address; /* owned */
};

struct link_group {
    struct loop *loop;
    struct list members; /* struct link_member; to be looked through, not to be changed */
    unsigned count;
    void *data; /* the owner's */
    const struct link_client_events *events;
    uint64_t handshake_ms;
    struct strbuf secret;
    struct closer closer;
};

struct link_group_options {
    const char *secret_file;                 /* NULL or "": none */
    uint64_t handshake_ms;                   /* as link_client_options' */
    const struct link_client_events *events; /* data is the struct link_member */
    void *data;
};

/* Reads the secret. link_group_close is needed also after a failure. */
MUST_CHECK int link_group_init(struct link_group *g, struct loop *loop,
                               const struct link_group_options *options, struct error *err);
/* "ADDR,ADDR…": one more each. "pods:PORT": nobody yet, the owner looks for Pods. */
MUST_CHECK int link_group_add_named(struct link_group *g, const char *names, struct error *err);
/* The port of "pods:PORT"; 0: it says something else, or no port. */
uint16_t link_group_pods_port(const char *names);
/* One that is there already counts once; nothing while it closes. ERR_OVERLOAD: too many. */
MUST_CHECK int link_group_add(struct link_group *g, const char *address, struct error *err);
/* Fine for an unknown one. */
void link_group_remove(struct link_group *g, const char *address);
/* To one of them at least. Fine for a zeroed group (false). */
bool link_group_connected(const struct link_group *g);
/* cb (not inside) once, when all links are closed. */
void link_group_close(struct link_group *g, closer_cb cb, void *data);
