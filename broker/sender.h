// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Posts events to sinks: names to addresses, addresses to pools of kept connections, one POST to
 * one answer. Owns: pools and questions for addresses. May not: decide what an answer means, retry,
 * or wait without end: its caller cancels what takes too long.
 *
 * Every address is looked at before it is called (broker/target.h), also when a name's address has
 * changed; redirects are not followed.
 */

#include "base/list.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "http/upstream.h"
#include "broker/target.h"
#include "events/event_http.h"

struct sender_peer; /* private */
struct tls_context;

struct sender_options {
    const char *gateway;       /* "": names of the cluster are asked of DNS; lives as long */
    unsigned rules;            /* enum target_rule */
    const uint16_t *own_ports; /* lives as long */
    size_t n_own;
    size_t reply_max;    /* bytes of a reply's body */
    size_t event_max;    /* bytes of an event's data */
    const char *ca_file; /* https: trust only these; NULL: the system's */
};

struct sender {
    struct loop *loop;
    struct sender_options options;
    struct map peers;
    struct tls_context *tls; /* made at first use */
    struct list retiring;    /* pools whose address has changed */
    uint64_t refused;        /* addresses that may not be called */
    struct closer closer;    /* pools */
    void (*close_cb)(void *arg);
    void *close_arg;
};

struct send;

struct send_answer {
    int status;              /* 0: none came; err says why */
    uint64_t retry_after_ms; /* 0: not asked for */
    bool too_big;            /* a 2xx (raw: any) whose body has more bytes than it may have */
    const struct event_header *headers; /* those of a 2xx that make an event; borrowed */
    size_t n_headers;
    struct slice body; /* of a 2xx: whole; else its first bytes; borrowed */
    const struct error *err;
};

/* Once; the call is over and may be started again. */
typedef void (*send_cb)(struct send *s, const struct send_answer *answer);

/* An ordinary request. All headers and the body of its answer are kept, whatever its status. */
struct send_raw {
    struct slice method;
    const struct event_header *headers; /* without those that frame the message */
    size_t n;
    struct slice body;
    size_t answer_max; /* bytes of the answer's body; beyond it the answer is too_big */
};

struct send_message {
    struct target target;
    bool outside;   /* a stranger named it: no address but a public one, and no gateway */
    const char *ns; /* for Kn-Namespace */
    const struct event *event;
    bool structured;
    bool wake;                  /* no event: the activator is asked to have the function ready */
    const struct send_raw *raw; /* instead of an event; NULL: an event */
};

/* One call; embed it. All private. */
struct send {
    struct list link; /* of a peer: waits for its address */
    struct sender *sender;
    struct sender_peer *peer;
    struct http_call call;
    struct send_message message; /* until it has left */
    send_cb cb;
    int status;
    uint64_t retry_after_ms;
    bool too_big;
    bool again;         /* tried on a kept connection that had ended */
    bool over;          /* answered early: the rest is not waited for */
    struct strbuf head; /* name, NUL, value, NUL, … */
    size_t n_headers;
    struct strbuf body;
};

void sender_init(struct sender *s, struct loop *loop, const struct sender_options *options);
/* Running calls must be over or cancelled. cb (may be NULL) comes later. */
void sender_close(struct sender *s, void (*cb)(void *arg), void *arg);
/* Now and then: closes pools that nobody used for a while. */
void sender_tidy(struct sender *s);

/*
 * Zero: exactly one cb, never inside this call. The message's event, and the text of its target,
 * must live until then. Non-zero: nothing was started (no such address, too many connections).
 */
MUST_CHECK int send_start(struct sender *sender, struct send *s, const struct send_message *message,
                          send_cb cb, struct error *err);
/* No callback comes any more. Fine for one that is over, and for a zeroed one. */
void send_cancel(struct send *s);
/* Releases what the answer was kept in. */
void send_fini(struct send *s);
