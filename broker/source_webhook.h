// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * WebhookSource: a request with a good signature becomes an event in a stream of its own, and is
 * answered when Redis has it; from there it goes to the sink as a Trigger's events do (retries,
 * dead letters, takeover). Owns: its secrets; the broker and trigger behind it are the model's,
 * under the name source/webhook/NAMESPACE/NAME, which no request can name.
 */

#include "broker/model.h"
#include "broker/source_object.h"
#include "broker/source_secrets.h"

struct hook {
    struct worker *worker;
    char *ns;
    char *name;
    char *path; /* "NS/NAME" */
    struct webhook_object object;
    struct source_secrets secrets;
    char *once_key; /* ids that came */
    uint64_t taken;
    uint64_t refused; /* bad signatures */
    struct log_limit refused_log;
};

/* In the forms that broker/sources.c wants; one: what hook_new has made. */
void *hook_new(struct worker *w, const char *ns, const char *name);
/* value: a struct webhook_object, taken over. */
void hook_use(void *one, const char *uid, void *value);
/* It was deleted, and what waits for delivery goes. */
void hook_drop(void *one);
void hook_free(void *one);

/* For /state; the caller's. */
void hook_tick(void *one, uint64_t now_ms, size_t crowd);
json_t *hook_state(const void *one);

void hook_handle(struct hook *h, struct http_simple_request *rq);
