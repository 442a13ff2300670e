// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * CloudEvents over HTTP: headers and a body to events, and an event to headers and a body, in the
 * binary, structured and batched modes of the HTTP binding 1.0.2 and of 0.3. Pure: it knows no
 * connection; headers are pairs of slices, of which only content-type, ce-* and those that go with
 * an event (carried.h) are looked at. Writers leave the latter to who sends.
 *
 * Many senders do not encode header values, and their receivers do not decode them. So a header
 * that came in another form than ours (raw spaces or UTF-8, quotes, a '%' by itself) is written as
 * it came while its attribute is not changed; every reader makes of it what it makes of the
 * sender's.
 *
 * Errors and the status that fits: ERR_INVALID 400, ERR_TOO_BIG 413, ERR_UNSUPPORTED 415 (an event
 * format other than JSON). A batch is taken whole or not at all; the sentence says which event is
 * wrong.
 */

#include "events/event.h"

#define EVENT_TYPE_STRUCTURED "application/cloudevents+json"
#define EVENT_TYPE_BATCH      "application/cloudevents-batch+json"

struct event_header {
    struct slice name; /* any case */
    struct slice value;
};

enum event_mode {
    EVENT_MODE_NONE, /* no CloudEvent */
    EVENT_MODE_BINARY,
    EVENT_MODE_STRUCTURED,
    EVENT_MODE_BATCH,
};

/* What a message claims to be: by its content-type, else by ce-specversion. */
enum event_mode event_http_mode(const struct event_header *headers, size_t n);

/* Events that were read together. */
struct event_batch {
    struct event *items; /* owned */
    size_t len;          /* 1, but for a batch, which may have none */
};

/*
 * Reads a message of any mode. The events borrow from headers and body. Nothing to release on
 * failure.
 */
MUST_CHECK int event_http_read(const struct event_header *headers, size_t n, struct slice body,
                               struct event_batch *out, struct error *err);
/* Releases the events and the array. A zeroed struct is fine. */
void event_batch_fini(struct event_batch *batch);

/* --- writing ---------------------------------------------------------------------------------- */

#define EVENT_HEADERS_MAX (EVENT_ATTR_N + EVENT_EXTENSIONS_MAX)

/* Headers for binary mode. They borrow from the event, but for what had to be encoded. */
struct event_headers {
    struct event_header items[EVENT_HEADERS_MAX]; /* names lower-case; content-type is one */
    size_t n;
    char *own; /* private */
};

/* The body is ev->data. ERR_TOO_BIG when the encoded values would pass 256 KiB. */
MUST_CHECK int event_http_binary(const struct event *ev, struct event_headers *out,
                                 struct error *err);
void event_headers_fini(struct event_headers *headers);

/*
 * Appends the event as structured JSON (content-type EVENT_TYPE_STRUCTURED). Data becomes "data" as
 * it is when its type says JSON and it is JSON, "data" as a string when it is text, else
 * "data_base64" (0.3: datacontentencoding). ERR_TOO_BIG when out is full.
 */
MUST_CHECK int event_http_structured(const struct event *ev, struct strbuf *out, struct error *err);

/* One structured event; borrows from text. As a member of a batch it may have space around it. */
MUST_CHECK int event_json_read(struct slice text, struct event *out, struct error *err);
