// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one struct per replica, made at the first use.
 *
 * Failure modes: a probe that cannot even be started has failed.
 */
#include "activator/upstream.h"

#include "base/mem.h"
#include "activator/prober.h"

struct upstream {
    struct handler *h;
    struct replica *replica;
    struct http_pool *pool;
    struct http_client *probe; /* under way, or NULL */
};

static struct upstream *upstream_of(struct handler *h, struct replica *p)
{
    if (p->user == NULL) {
        struct upstream *u = NEW(struct upstream);
        u->h = h;
        u->replica = p;
        p->user = u;
    }
    return p->user;
}

int upstream_pool(struct handler *h, struct replica *p, struct http_pool **out, struct error *err)
{
    struct upstream *u = upstream_of(h, p);
    if (u->pool == NULL) {
        struct http_pool_options options = h->pool_options;
        options.h2c = p->h2c;
        int rc = http_pool_new(h->loop, p->address, &options, &u->pool, err);
        if (rc < 0) {
            u->pool = NULL;
            return rc;
        }
        closer_hold(&h->closer);
    }
    *out = u->pool;
    return 0;
}

void upstream_flush(struct replica *p)
{
    const struct upstream *u = p->user;
    if (u != NULL && u->pool != NULL) {
        http_pool_flush_idle(u->pool);
    }
}

static void on_probed(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct upstream *u = arg;
    struct handler *h = u->h;
    u->probe = NULL;
    throttler_probed(&h->throttler, u->replica, prober_is_good(rc, answer), loop_now_ns(h->loop));
    handler_pump(h);
}

void upstream_probe(struct handler *h, struct replica *p)
{
    struct upstream *u = upstream_of(h, p);
    struct http_client_request request = prober_request(p->address);
    h->counters.probes++;
    if (http_client_start(h->loop, &request, on_probed, u, &u->probe, NULL) < 0) {
        u->probe = NULL;
        throttler_probed(&h->throttler, p, false, loop_now_ns(h->loop));
    }
}

static void drop_cb(void *arg)
{
    closer_drop(arg);
}

void upstream_release(struct handler *h, struct replica *p)
{
    struct upstream *u = p->user;
    p->user = NULL;
    if (u == NULL) {
        return;
    }
    if (u->probe != NULL) {
        http_client_cancel(u->probe);
    }
    if (u->pool != NULL) {
        http_pool_close(u->pool, drop_cb, &h->closer);
    }
    free(u);
}
