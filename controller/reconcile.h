// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The reconcilers: from objects as they are to the writes that bring them on. Each is a pure
 * function of what `env` shows (and of the time in it); it may run at any moment, any number of
 * times, and gives an empty plan once nothing is to be done. Owns: nothing. May not: do I/O, or
 * remember anything between two runs.
 */

#include <jansson.h>

#include "base/strbuf.h"
#include "controller/broker_part.h"
#include "controller/plan.h"
#include "controller/settings.h"

enum replica_trouble {
    TROUBLE_NONE,
    TROUBLE_UNSCHEDULABLE, /* no room for the pod */
    TROUBLE_WAITING,       /* a container cannot be started: reason says why */
    TROUBLE_EXITED,        /* the function ended: exit_code, message */
};

/* What the pods of a revision look like. */
struct replicas {
    int64_t ready;
    int64_t running; /* function runs, not ready */
    enum replica_trouble trouble;
    int64_t exit_code;
    char reason[64];
    char message[ERROR_MSG_MAX];
};

/* What counts for a Revision's age. Borrowed until the next change of the caches. */
struct revision_facts {
    const char *name;
    const char *uid;
    int64_t created_ns;
    int64_t active_ns; /* when its routing state changed last, else as created_ns */
    bool reserve;      /* routing state: no Route sends it traffic */
    bool keep;         /* annotation no-gc */
    bool routed;       /* a Route names it all the same */
};

/* What the images of a Revision are fixed to. */
enum digests_state { DIGESTS_KNOWN, DIGESTS_WAIT, DIGESTS_FAILED };
struct digests {
    enum digests_state state;
    json_t *images; /* the caller's, KNOWN only: container name -> image with its digest, or "" */
    char message[3 * ERROR_MSG_MAX]; /* FAILED only */
    uint64_t again_ms;               /* FAILED only: it is tried again then */
};

/* A user's TLS Secret as it was seen last. */
enum tls_secret_state {
    TLS_SECRET_WAIT, /* not read yet */
    TLS_SECRET_ABSENT,
    TLS_SECRET_BAD, /* no certificate, or not its key */
    TLS_SECRET_GOOD,
};
struct tls_secret { /* all borrowed until the next question */
    enum tls_secret_state state;
    const json_t *data;  /* GOOD: tls.crt and tls.key, as in the Secret */
    const char *version; /* GOOD: another one when its content is */
    int64_t begins_s;
    int64_t ends_s;
    const char *message; /* ABSENT, BAD: why */
    uint64_t again_ms;   /* ask again then */
};

/* Who refers to whom. */
enum refs_kind {
    REFS_ROUTES_TO_REVISION, /* Revision ← Routes that name it in spec.traffic or status.traffic */
    REFS_ROUTES_FOLLOWING,   /* Configuration ← Routes that follow its latest revision */
    REFS_PLACEHOLDERS,       /* Route ← core Services that it controls */
    REFS_COUNT,
};

/* Whether the objects of a kind are known here. */
enum known { KNOWN, KNOWN_LATER, KNOWN_NEVER };

struct reconcile_env {
    const struct settings *settings;
    int64_t now_ns;  /* wall time */
    const char *now; /* the same in RFC 3339, seconds */
    /* The object as cached, a new reference; NULL when there is none. */
    json_t *(*get)(void *arg, enum kind_id kind, const char *ns, const char *name);
    /* fn for each object of the kind in the namespace, as cached. */
    void (*each)(void *arg, enum kind_id kind, const char *ns,
                 void (*fn)(void *fn_arg, const json_t *object), void *fn_arg);
    /* LATER: *out_trouble says why they cannot be read, NULL: they are being read. */
    enum known (*knows)(void *arg, enum kind_id kind, const char **out_trouble);
    /* Its resourceVersion; borrowed, NULL when there is none. The function may be NULL. */
    const char *(*version)(void *arg, enum kind_id kind, const char *ns, const char *name);
    void (*replicas)(void *arg, const char *ns, const char *revision, struct replicas *out);
    /* Appends the names of those that refer to an object, comma-separated. */
    void (*refs)(void *arg, enum refs_kind which, const char *ns, const char *name,
                 struct strbuf *out);
    /* fn for each Revision that the Configuration made. */
    void (*revisions_of)(void *arg, const char *ns, const char *configuration,
                         void (*fn)(void *fn_arg, const struct revision_facts *facts),
                         void *fn_arg);
    /* NULL: images stay as they are (one machine). Begins finding out, and says what is known. */
    void (*digests)(void *arg, const json_t *revision, struct digests *out);
    /* NULL: the ingress does not speak TLS. Begins reading it, and says what is known. */
    void (*tls_secret)(void *arg, const char *ns, const char *name, struct tls_secret *out);
    void (*broker_ingress)(void *arg, struct broker_ingress *out);
    enum kind_id
        gateway; /* the kind that is known of another gateway's objects; KIND_COUNT: none */
    void *arg;
};

/* object: borrowed, of the function's kind. */
void reconcile_service(const struct reconcile_env *env, const json_t *service, struct plan *plan);
void reconcile_configuration(const struct reconcile_env *env, const json_t *configuration,
                             struct plan *plan);
/* The API does not take the Revision that the Configuration asked for: its status says why. */
void reconcile_refused_revision(const struct reconcile_env *env, const json_t *configuration,
                                const char *why, struct plan *plan);
/* Deletes the Revisions of a Configuration that config-gc lets go; looks again when the next one
 * will be old enough. */
void reconcile_gc(const struct reconcile_env *env, const json_t *configuration, struct plan *plan);
void reconcile_revision(const struct reconcile_env *env, const json_t *revision, struct plan *plan);
void reconcile_route(const struct reconcile_env *env, const json_t *route, struct plan *plan);
void reconcile_domain_mapping(const struct reconcile_env *env, const json_t *mapping,
                              struct plan *plan);
void reconcile_domain_claim(const struct reconcile_env *env, const json_t *claim,
                            struct plan *plan);

/* broker.c, trigger.c */
void reconcile_broker(const struct reconcile_env *env, const json_t *broker, struct plan *plan);
void reconcile_trigger(const struct reconcile_env *env, const json_t *trigger, struct plan *plan);
/* ping_source.c */
void reconcile_ping_source(const struct reconcile_env *env, const json_t *source,
                           struct plan *plan);
/* lull_source.c: of a WebhookSource, RedisSource or FileSource */
void reconcile_lull_source(const struct reconcile_env *env, enum kind_id kind, const json_t *source,
                           struct plan *plan);

/* sink_binding.c */
void reconcile_sink_binding(const struct reconcile_env *env, const json_t *binding,
                            struct plan *plan);
/* Undoes in a subject what a binding did that does not mean it any more; true: it does. */
bool sink_binding_release(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                          struct plan *plan);

/* certificates.c: a copy of a certificate that nobody wants goes; those that config-network lists
 * are made. */
void reconcile_certificate(const struct reconcile_env *env, const json_t *copy, struct plan *plan);
void reconcile_network(const struct reconcile_env *env, const json_t *config, struct plan *plan);

/* gateway.c: an object for another gateway that nobody wants goes. */
void reconcile_gateway(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                       struct plan *plan);

/* The revision is the Configuration's own, made from its present generation or an equal one. */
bool configuration_owns(const struct reconcile_env *env, const json_t *configuration,
                        const json_t *revision);
