// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the owner is told first, then the throttler: a ticket has its number and its replica only
 * until then.
 */
#include "activator/sharing.h"

#include "activator/request.h"

static struct request *request_of(struct ticket *tk)
{
    return CONTAINER_OF(tk, struct request, ticket);
}

static uint64_t now_of(const struct handler *h)
{
    return loop_now_ns(h->loop);
}

void sharing_init(struct sharing *s, struct handler *h, const char *self, void (*flush)(void *arg),
                  void *arg)
{
    *s = (struct sharing){.handler = h, .flush = flush, .flush_arg = arg};
    shards_init(&s->shards, self);
    lender_init(&s->lender, &h->throttler);
    borrower_init(&s->borrower, &h->throttler, &s->shards);
    h->sharing = s;
}

void sharing_fini(struct sharing *s)
{
    if (s->handler == NULL) {
        return;
    }
    s->handler->sharing = NULL;
    borrower_fini(&s->borrower);
    shards_fini(&s->shards);
    s->handler = NULL;
}

static void tell_running(struct sharing *s)
{
    s->borrower.tell = false;
    list_foreach (node, &s->handler->running) {
        borrower_tell(&s->borrower, &LIST_ENTRY(node, struct request, link)->ticket);
    }
}

void sharing_moved(struct sharing *s)
{
    struct handler *h = s->handler;
    borrower_moved(&s->borrower, now_of(h));
    tell_running(s);
    s->borrower.moved = false;
    lender_moved(&s->lender, now_of(h));
    handler_pump(h);
    s->flush(s->flush_arg);
}

bool sharing_idle(const struct sharing *s)
{
    return borrower_idle(&s->borrower);
}

void sharing_pump(struct sharing *s, uint64_t now_ns)
{
    struct handler *h = s->handler;
    struct ticket *tk;
    if (s->borrower.tell) {
        tell_running(s);
    }
    if (s->borrower.moved) {
        s->borrower.moved = false;
        lender_moved(&s->lender, now_ns);
    }
    borrower_ask(&s->borrower, now_ns);
    while ((tk = borrower_next(&s->borrower)) != NULL) {
        request_forward(request_of(tk));
    }
    while ((tk = borrower_next_refused(&s->borrower)) != NULL) {
        const struct revision *r = tk->revision;
        unsigned retry_s = revision_retry_after_s(r, now_ns);
        struct http_exchange *ex = request_of(tk)->ex;
        h->counters.refused_full++;
        request_count(request_of(tk), tk->revision, 503);
        throttler_cancel(&h->throttler, tk, now_ns);
        answer_text(ex, 503, retry_s,
                    "pending request queue full\nno more requests can wait for this revision\n");
    }
    s->flush(s->flush_arg);
}

/* --- slots ---------------------------------------------------------------------------------- */

void slot_done(struct handler *h, struct ticket *tk, bool ok)
{
    if (h->sharing != NULL) {
        borrower_done(&h->sharing->borrower, tk, ok ? SLOT_END_OK : SLOT_END_BAD);
        h->sharing->flush(h->sharing->flush_arg);
    }
    throttler_done(&h->throttler, tk, ok, now_of(h));
}

void slot_broken(struct handler *h, struct ticket *tk)
{
    if (h->sharing != NULL) {
        borrower_done(&h->sharing->borrower, tk, SLOT_END_BROKEN);
        h->sharing->flush(h->sharing->flush_arg);
    }
    throttler_broken(&h->throttler, tk, now_of(h));
}

void slot_give_back(struct handler *h, struct ticket *tk, enum give_back why)
{
    if (h->sharing != NULL) {
        borrower_back(&h->sharing->borrower, tk, why);
        h->sharing->flush(h->sharing->flush_arg);
    }
    throttler_give_back(&h->throttler, tk, why, now_of(h));
}

void slot_cancel(struct handler *h, struct ticket *tk)
{
    if (h->sharing != NULL) {
        borrower_cancel(&h->sharing->borrower, tk);
        h->sharing->flush(h->sharing->flush_arg);
    }
    throttler_cancel(&h->throttler, tk, now_of(h));
}
