// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which revision a request is for: host, tag and path → weighted targets. Pure: no clock, no I/O.
 *
 * Owns copies of what the Routes said. Main hosts win over tag hosts, an older Route over a newer
 * one that claims the same host. Weights are exact: any 100 consecutive requests of one group are
 * spread as its percents say (smooth weighted round robin; the state of a group survives an update
 * that did not change its targets).
 *
 * Names that lead to a Route NAME in namespace NS:
 *   the host of its status.url            both listeners (cluster-local Routes: private only)
 *   the host of each status.traffic[].url the same, all traffic to that target (to several with one
 *                                         tag, as during a rollout, by their percents)
 *   NAME.NS, NAME.NS.svc, NAME.NS.svc.CLUSTERDOMAIN and TAG-NAME.NS…      private listener only
 *   /_lull/NS/NAME/rest and /_lull/NS/TAG-NAME/rest, whatever the host    both listeners (likewise)
 *
 *   the name of a DomainMapping that leads to the Route                   both listeners
 *
 * A mapped name counts only where no Route has the name by itself, and also for a cluster-local
 * Route: who maps a domain to it wants it to be public. Of two namespaces
 * that map a name the later one has it: the controller has let it.
 *
 * With tag_header the request header Knative-Serving-Tag picks a tag of the Route that a main name
 * leads to, as Knative's feature tag-header-based-routing; an unknown tag changes nothing.
 */

#include "base/map.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define ROUTE_PATH_PREFIX "/_lull/"

/* One entry of status.traffic. All texts are borrowed during route_table_put(). */
struct route_target {
    struct slice revision; /* revisionName */
    struct slice tag;      /* empty when untagged */
    struct slice host;     /* host of its url, without port; empty when it has none */
    uint32_t percent;      /* 0..100 */
    bool cluster_local;    /* the tag's names are not to be reached through the public listener */
};

/* What the table wants to know of a Route; projected by activator/objects. */
struct route_spec {
    struct slice ns;
    struct slice name;
    struct slice host;  /* of status.url, without port; empty: not known yet */
    bool cluster_local; /* not to be reached through the public listener */
    const struct route_target *targets;
    size_t count;
    unsigned char http_protocol; /* enum http_protocol, of its own annotation */
    bool async_off;              /* "Prefer: respond-async" is the function's own business */
};

enum route_listener { ROUTE_PUBLIC, ROUTE_LOCAL };

enum route_result {
    ROUTE_FOUND,
    ROUTE_UNKNOWN,   /* no Route has that name (on this listener) */
    ROUTE_NO_TARGET, /* the Route is there, but no revision of it takes traffic yet */
};

/* What the caller found for a target, kept for its next match; NULL and 0 at first. */
struct route_memo {
    void *value;
    uint64_t epoch; /* the caller's: whether value still holds */
};

/* Borrowed from the table until the next put or remove. */
struct route_match {
    struct slice ns;
    struct slice route;
    struct slice revision; /* empty unless ROUTE_FOUND */
    struct slice tag;      /* the tag that was asked for; empty for the main name */
    size_t path_skip;      /* leading bytes of the path that named the function, 0 for host calls */
    unsigned char http_protocol; /* what Route or domain say of requests in the clear */
    bool async_off;              /* of the Route */
    struct route_memo *memo;     /* of the target; NULL unless ROUTE_FOUND */
};

struct route_table {
    struct map routes;    /* private: "ns/name" -> struct route, owned */
    struct map names[2];  /* private: main and tag names -> chain of struct route_name */
    struct map domains;   /* private: mapped host -> struct domain, owned */
    char *cluster_domain; /* private: owned */
    bool tag_header;      /* the header Knative-Serving-Tag counts; set by the owner */
};

/* What a request says of where it wants to go. */
struct route_request {
    enum route_listener listener;
    struct slice host; /* may carry a port */
    struct slice path; /* the request target in origin form */
    struct slice tag;  /* Knative-Serving-Tag; empty: not said */
};

/* cluster_domain: "cluster.local". Copied. */
void route_table_init(struct route_table *t, const char *cluster_domain);
/* A zeroed table is fine. */
void route_table_fini(struct route_table *t);

/* Adds the Route or replaces what was known of it. At most ROUTE_TARGETS_MAX targets are kept. */
#define ROUTE_TARGETS_MAX 128
void route_table_put(struct route_table *t, const struct route_spec *spec);
void route_table_remove(struct route_table *t, struct slice ns, struct slice name);
size_t route_table_len(const struct route_table *t);

/* host leads to the Route (which may come later) from now on. */
void route_table_map_domain(struct route_table *t, struct slice host, struct slice ns,
                            struct slice route, unsigned char http_protocol);
/* Nothing when another namespace has it. */
void route_table_unmap_domain(struct route_table *t, struct slice host, struct slice ns);

/* Finds the target of one request and moves the weights on by one. */
enum route_result route_table_match(struct route_table *t, const struct route_request *rq,
                                    struct route_match *out);

/*
 * What hosts of functions look like, for people: "NAME.NAMESPACE.DOMAIN" with the domain of a Route
 * that this listener serves, or the in-cluster form.
 */
void route_table_host_form(const struct route_table *t, enum route_listener listener,
                           struct strbuf *out);

/* The host without its port, brackets of an IPv6 address kept. */
struct slice route_host_without_port(struct slice host);

/* Appends every Route as JSON array items (no brackets), for /debug/state. */
void route_table_dump(const struct route_table *t, struct strbuf *out);
