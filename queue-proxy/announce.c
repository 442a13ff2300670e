// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: one POST, answered once the activator has asked back. Failure modes: nobody there, or
 * an activator that does not know the Pod yet: again after a pause, with a new nonce. A refusal
 * that will stay one (4xx): told once in the log; the platform's own report does what this would
 * have done.
 */
#include "queue-proxy/announce.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "serving/announce.h"

#define ATTEMPTS_MAX   12
#define PAUSE_FIRST_MS 10u
#define PAUSE_MAX_MS   1000u
#define TIMEOUT_MS     1000u
#define ANSWER_MAX     512u

static void attempt(struct announcer *a);

static void on_timer(struct timer *timer)
{
    attempt(timer->data);
}

static void again(struct announcer *a)
{
    if (a->attempts < ATTEMPTS_MAX) {
        timer_start(&a->timer, a->pause_ms);
        a->pause_ms = a->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : a->pause_ms * 2;
    }
}

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct announcer *a = arg;
    a->request = NULL;
    if (rc < 0) {
        LOG_DEBUG("no activator heard the announcement", LOG_ERR(err));
        again(a);
        return;
    }
    int status = answer->head->status;
    if (status >= 500) {
        LOG_DEBUG("not announced yet", LOG_INT("status", status), LOG_SLICE("why", answer->body));
        again(a);
    } else if (status >= 300) {
        LOG_INFO("the activator does not take announcements of this replica",
                 LOG_INT("status", status), LOG_SLICE("why", answer->body));
    } else {
        LOG_DEBUG("announced", LOG_UINT("attempts", a->attempts));
    }
}

static int write_body(const struct announcer *a, struct strbuf *out, struct error *err)
{
    const struct config *c = a->config;
    char nonce[ANNOUNCE_NONCE + 1];
    random_hex(nonce, ANNOUNCE_NONCE);
    struct announcement said = {
        .ns = slice_str(c->namespace_name),
        .revision = slice_str(c->revision),
        .revision_uid = slice_str(c->revision_uid),
        .pod = slice_str(c->pod),
        .pod_uid = slice_str(c->pod_uid),
        .address = slice_str(c->pod_ip),
        .nonce = slice_of(nonce, ANNOUNCE_NONCE),
        .time_ms = clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS,
    };
    return announcement_write(&said, slice_str(c->announce_key), out, err);
}

static void attempt(struct announcer *a)
{
    struct error err;
    if (a->proxy->draining || a->proxy->used) {
        return; /* nobody needs to be told any more */
    }
    a->attempts++;
    CLEANUP(strbuf_fini) struct strbuf body;
    strbuf_init(&body, ANNOUNCE_MAX);
    int rc = write_body(a, &body, &err);
    if (rc == 0) {
        rc = http_client_start(a->loop,
                               &(struct http_client_request){.addr = a->config->announce,
                                                             .method = "POST",
                                                             .target = ANNOUNCE_PATH,
                                                             .host = a->config->announce,
                                                             .body = strbuf_slice(&body),
                                                             .timeout_ms = TIMEOUT_MS,
                                                             .max_body = ANSWER_MAX},
                               on_answer, a, &a->request, &err);
    }
    if (rc < 0) {
        LOG_WARN("cannot announce this replica", LOG_ERR(&err));
    }
}

void announcer_init(struct announcer *a, struct loop *loop, const struct config *config,
                    const struct proxy *proxy)
{
    *a = (struct announcer){
        .loop = loop, .config = config, .proxy = proxy, .pause_ms = PAUSE_FIRST_MS};
    timer_init(&a->timer, loop, on_timer, a);
}

void announcer_begin(struct announcer *a)
{
    if (a->begun || a->closing || a->config->announce[0] == '\0') {
        return;
    }
    a->begun = true;
    attempt(a);
}

void announcer_close(struct announcer *a)
{
    if (a->closing) {
        return;
    }
    a->closing = true;
    if (a->request != NULL) {
        http_client_cancel(a->request);
        a->request = NULL;
    }
    timer_close(&a->timer, NULL);
}
