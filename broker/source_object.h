// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a worker keeps of WebhookSources, RedisSources and FileSources: projections for
 * kube/cache.h, as broker/objects.h has them for Brokers and Triggers. Pure.
 */

#include <jansson.h>

#include "broker/retry.h"
#include "broker/signature.h"
#include "events/event.h"

#define SOURCE_SECRETS_MAX 8

/* A value in a Secret of the source's namespace. */
struct secret_ref {
    char *name;
    char *key;
};

/* Of all of them. */
struct source_common {
    char *sink; /* status.sinkUri; NULL: not known yet */
    char *dead_letter;
    struct retry_policy policy;
    char *source;         /* attribute of its events */
    bool own_source;      /* the user has said it */
    char *type;           /* likewise; NULL: the kind's */
    json_t *overrides;    /* names → texts; NULL: none */
    struct error trouble; /* ERR_OK, or why it cannot run */
};

struct webhook_object {
    struct source_common common;
    struct signature_rule rule;
    char *header;
    char *prefix;
    struct secret_ref secrets[SOURCE_SECRETS_MAX];
    size_t n_secrets;
    char *type_header; /* generic; NULL: not said, so the next ones */
    char *type_field;
    char *id_header;
    char *id_field;
    int64_t body_max; /* 0: not said */
    int64_t once_ms;  /* an id counts once within so long; 0: always */
};

int webhook_object_project(void *arg, const json_t *object, void *value, struct error *err);
void webhook_object_release(void *arg, void *value);

struct redis_object {
    struct source_common common;
    char *url;                  /* NULL: in a Secret */
    struct secret_ref url_from; /* name NULL: not said */
    bool is_list;
    char *key;
    char *group;        /* streams */
    bool from_first;    /* streams: also what was there before the group */
    char *data_field;   /* streams: this field is the data; NULL: all are */
    char *processing;   /* lists: where elements are while they are delivered */
    bool from_left;     /* lists: which end is taken from */
    char *content_type; /* NULL: what it looks like */
    unsigned parallelism;
    char *shape; /* texts are equal when the same is read from the same place */
};

int redis_object_project(void *arg, const json_t *object, void *value, struct error *err);
void redis_object_release(void *arg, void *value);

enum file_mode { FILE_AUTO, FILE_DATA, FILE_REFERENCE };

struct file_object {
    struct source_common common;
    char *path;
    char *pattern;      /* NULL: all */
    char *content_type; /* NULL: by the name */
    enum file_mode mode;
    int64_t data_max; /* FILE_AUTO */
    int64_t settle_ms;
    bool keep;
    unsigned parallelism;
};

int file_object_project(void *arg, const json_t *object, void *value, struct error *err);
void file_object_release(void *arg, void *value);

/* api, plural: of the kind, for the attribute source. */
void source_common_read(const json_t *object, const char *api, const char *plural,
                        struct source_common *c);
void source_common_release(struct source_common *c);

/* Sets what spec.ceOverrides says, and checks the event as a whole. */
MUST_CHECK int source_finish_event(const struct source_common *c, struct event *ev,
                                   struct error *err);
