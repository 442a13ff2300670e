// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: per Pod one probe at a time; after a failure a pause that doubles from 10 to 200 ms, up to
 * PROBES_MAX tries: then the platform's word is waited for, as without us.
 */
#include "activator/prober.h"

#include "base/mem.h"

#define PROBE_TIMEOUT_MS 300
#define PAUSE_FIRST_MS   10
#define PAUSE_MAX_MS     200
#define PROBES_MAX       400
#define ANSWER_MAX       256

struct target {
    struct prober *prober;
    struct timer timer;
    struct http_client *probe; /* under way, or NULL */
    uint64_t pause_ms;
    unsigned tries;
    bool ready;
    char *ns;
    char *pod;
    char *uid;
    char *address;
};

static void probe(struct target *t);

static void on_timer(struct timer *timer)
{
    probe(timer->data);
}

static void again(struct target *t)
{
    if (++t->tries < PROBES_MAX) {
        timer_start(&t->timer, t->pause_ms);
        t->pause_ms = t->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : t->pause_ms * 2;
    }
}

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct target *t = arg;
    t->probe = NULL;
    if (prober_is_good(rc, answer)) {
        t->ready = true;
        t->prober->ready(t->prober->arg, t->ns, t->pod);
        return;
    }
    again(t);
}

struct http_client_request prober_request(const char *address)
{
    static const struct http_header headers[] = {
        {.name = SLICE_LIT("K-Network-Probe"), .value = SLICE_LIT("queue")},
        {.name = SLICE_LIT("User-Agent"), .value = SLICE_LIT("Knative-Activator-Probe")},
    };
    return (struct http_client_request){.addr = address,
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers),
                                        .timeout_ms = PROBE_TIMEOUT_MS,
                                        .max_body = ANSWER_MAX};
}

bool prober_is_good(int rc, const struct http_client_answer *answer)
{
    return rc == 0 && answer->head->status == 200 && slice_eq_str(answer->body, "queue");
}

static void probe(struct target *t)
{
    struct http_client_request request = prober_request(t->address);
    if (http_client_start(t->prober->loop, &request, on_answer, t, &t->probe, NULL) < 0) {
        again(t);
    }
}

void prober_init(struct prober *p, struct loop *loop, prober_ready_cb ready, void *arg)
{
    *p = (struct prober){.loop = loop, .ready = ready, .arg = arg};
    map_init(&p->targets, MAP_BORROW_KEYS);
}

static void on_closed(struct timer *timer)
{
    struct target *t = timer->data;
    free(t->ns);
    free(t->pod);
    free(t->uid);
    free(t->address);
    free(t);
}

static void drop(struct target *t)
{
    if (t->probe != NULL) {
        http_client_cancel(t->probe);
        t->probe = NULL;
    }
    timer_close(&t->timer, on_closed);
}

bool prober_want(struct prober *p, const struct prober_target *target)
{
    struct target *t = map_get(&p->targets, slice_str(target->uid));
    if (t != NULL && !slice_eq_str(slice_str(target->address), t->address)) {
        prober_forget(p, target->uid);
        t = NULL;
    }
    if (t != NULL) {
        return t->ready;
    }
    t = NEW(struct target);
    t->prober = p;
    t->ns = xstrdup(target->ns);
    t->pod = xstrdup(target->pod);
    t->uid = xstrdup(target->uid);
    t->address = xstrdup(target->address);
    t->pause_ms = PAUSE_FIRST_MS;
    timer_init(&t->timer, p->loop, on_timer, t);
    (void)map_set(&p->targets, slice_str(t->uid), t);
    probe(t);
    return false;
}

void prober_forget(struct prober *p, const char *uid)
{
    struct target *t = map_remove(&p->targets, slice_str(uid));
    if (t != NULL) {
        drop(t);
    }
}

void prober_close(struct prober *p)
{
    if (p->closing) {
        return;
    }
    p->closing = true;
    map_foreach (it, &p->targets) {
        drop(it.value);
    }
    map_fini(&p->targets);
}
