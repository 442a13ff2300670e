// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the activator wants to know of Routes, Revisions and Pods, projected from their JSON into
 * small structs; the JSON itself is never kept. Pure.
 *
 * Each object_x() returns 0 and fills *out (release it with its fini), or 1 when the object does
 * not matter to an activator. Missing or odd fields are read as absent: the API has validated them.
 */

#include <jansson.h>

#include "base/error.h"
#include "activator/route_table.h"

struct route_object {
    struct route_spec *spec; /* one allocation, texts included */
};

struct revision_object {
    uint32_t concurrency;
    uint32_t timeout_s;
    char *reason;  /* of Ready=False, NULL otherwise; owned */
    char *message; /* owned, may be NULL */
};

struct pod_object {
    char *revision;   /* owned */
    char *address;    /* owned: "unix:/…" or "IP:PORT"; NULL while unknown */
    char *blocked;    /* owned: why it cannot be placed; NULL when it is or may be placed */
    bool h2c;         /* its queue-proxy takes HTTP/2, and the function wants it */
    bool running;     /* phase Running: its containers have started */
    bool ready;       /* condition Ready */
    bool terminating; /* deletionTimestamp is set */
    bool finished;    /* phase Succeeded or Failed */
    bool ours;     /* we may find out by ourselves whether it is ready (no exec probe, no start-up
                      probe): it may announce itself, and is probed once it runs */
    uint16_t port; /* of its queue-proxy */
};

/* Of a DomainMapping. */
struct domain_object {
    char *route;                 /* owned: the Route that its name leads to; NULL: none */
    unsigned char http_protocol; /* enum http_protocol */
    bool keep; /* its status is older than its spec: what was known stays for now */
};

/* Of ConfigMap config-features. */
struct features_object {
    bool tag_header; /* tag-header-based-routing */
};

/* Of ConfigMap config-network. */
struct network_object {
    bool redirects;             /* http-protocol: Redirected */
    uint16_t external_tls_port; /* in the Location of a redirect */
};

enum pod_address { POD_ADDRESS_IP, POD_ADDRESS_UNIX };

int object_route(const json_t *object, struct route_object *out);
int object_revision(const json_t *object, struct revision_object *out);
/* "IP:PORT" as pod_object.address has it; the caller frees. */
char *object_address(const char *ip, uint16_t port);
int object_pod(const json_t *object, enum pod_address how, struct pod_object *out);

int object_domain(const json_t *object, struct domain_object *out);
int object_features(const json_t *object, struct features_object *out);
/* Also 1 when config-network as a whole is not to be read: what was known stays. */
int object_network(const json_t *object, struct network_object *out);

/* Zeroed ones are fine. */
void route_object_fini(struct route_object *o);
void revision_object_fini(struct revision_object *o);
void pod_object_fini(struct pod_object *o);
void domain_object_fini(struct domain_object *o);
