// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One asynchronous call that this worker makes: async_run.c claims it and sends it, async_settle.c
 * says what the answer means and tells Redis. Open to these two and to nobody else.
 */

#include "broker/async.h"

enum async_field {
    F_CALLEE,
    F_METHOD,
    F_TARGET,
    F_HEADERS,
    F_BODY,
    F_CALLBACK,
    F_ORIGIN,
    F_TRIES,
    F_CALLBACK_TRIES,
    F_STATE,
    F_STATUS,
    F_RESULT_HEADERS,
    F_RESULT_BODY,
    F_WORDS,
    F_TIME,
    F_N
};

#define ASYNC_CALL_HEADERS_MAX 128u
#define ASYNC_COMMAND_MAX      (160u << 20)

enum async_call_state { CALL_SENDING, CALL_SETTLING, CALL_UNSETTLED };

struct async_call {
    struct list link;
    struct async_function *fn;
    char id[ASYNC_ID_LEN + 1];
    int64_t claim;
    enum async_call_state state;
    bool orphan;   /* we are closing: free it when Redis has answered */
    bool callback; /* its result is to be told, not the function to be called */
    bool ends;     /* settling: it is done */
    char *block;   /* owned: the bytes of all fields */
    size_t bytes;
    struct slice field[F_N]; /* into block */
    char *url;               /* owned */
    char tries_text[24];
    struct event_header headers[ASYNC_CALL_HEADERS_MAX];
    struct send_raw raw;
    struct send send;
    uint64_t begun_ms;
    struct strbuf command; /* that settles it */
};

/* A field's number; 0 when it is none. */
uint64_t async_call_number(const struct async_call *call, enum async_field f);
void async_call_free(struct async_call *call);
/* Its try is over: settles the call, which may be freed when this returns. */
void async_call_answered(struct async_call *call, const struct send_answer *answer);
/* The same for a try that could not be made, or took too long. */
void async_call_failed(struct async_call *call, const struct error *err);
