// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One CloudEvent (1.0 or 0.3), free of any transport: context attributes, and data as bytes.
 *
 * Values borrow from where they came as they stand there (a header, a packed text, a JSON body);
 * what had to be decoded, and what event_set puts in, the event owns. So the bytes that were read
 * must live as long as the event. Attributes that the specification names are found by number,
 * extensions by name among a handful. Pure; reads and writes no HTTP (event_http.h does).
 *
 *     struct slice type = ev.known[EVENT_TYPE];          NULL ptr: absent
 *     const struct event_attr *key = event_extension(&ev, SLICE_LIT("partitionkey"));
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

/* Attributes of the specification: X(id, name). 0.3's schemaurl is an extension here. */
#define EVENT_ATTR_MAP(X)               \
    X(EVENT_SPECVERSION, "specversion") \
    X(EVENT_ID, "id")                   \
    X(EVENT_SOURCE, "source")           \
    X(EVENT_TYPE, "type")               \
    X(EVENT_SUBJECT, "subject")         \
    X(EVENT_TIME, "time")               \
    X(EVENT_DATASCHEMA, "dataschema")   \
    X(EVENT_DATACONTENTTYPE, "datacontenttype")

#define EVENT_ATTR_ENUM_ROW(id, name) id,
enum event_attr_id {
    EVENT_ATTR_MAP(EVENT_ATTR_ENUM_ROW) EVENT_ATTR_N,
    EVENT_EXTENSION = EVENT_ATTR_N, /* any other name */
};
#undef EVENT_ATTR_ENUM_ROW

#define EVENT_EXTENSIONS_MAX 64          /* of one event */
#define EVENT_NAME_MAX       64          /* bytes of an attribute's name */
#define EVENT_VALUE_MAX      (16 * 1024) /* bytes of an attribute's value */
#define EVENT_BATCH_MAX      4096        /* events of one batch */

/* What a value was when it came; its text is always the canonical one. Headers say strings only. */
enum event_kind { EVENT_STRING, EVENT_INTEGER, EVENT_BOOLEAN };

struct event_attr {
    struct slice name;  /* lower-case letters and digits */
    struct slice value; /* UTF-8 without control characters; may be empty */
    enum event_kind kind;
};

struct event_block; /* private */
struct event_wire;  /* private */
struct event_carried;

struct event {
    struct slice known[EVENT_ATTR_N]; /* ptr NULL: absent */
    struct event_attr *extensions;    /* owned array */
    unsigned n_extensions;
    unsigned cap_extensions;  /* private */
    struct slice data;        /* ptr NULL: the event has none; may be empty */
    struct event_block *own;  /* private: texts that the event owns */
    struct event_wire *wires; /* private: headers that came in another form than ours, owned */
    unsigned n_wires;
    struct event_carried *carried; /* headers that go with it (carried.h); owned array */
    unsigned n_carried;
};

/* --- life ------------------------------------------------------------------------------------- */

void event_init(struct event *ev);
/* Releases what the event owns; it is as after event_init. A zeroed struct is fine. */
void event_fini(struct event *ev);
/* A copy to change by itself; its texts are borrowed from `from`, which must live as long. */
void event_borrow(struct event *out, const struct event *from);
/* Room for len bytes (and a NUL behind them) that live as long as the event. */
char *event_room(struct event *ev, size_t len);
/* A copy that lives as long as the event. */
struct slice event_keep(struct event *ev, struct slice bytes);
/* Takes what is in the buffer, which is empty then, without a copy. */
struct slice event_adopt(struct event *ev, struct strbuf *text);

/* --- looking ---------------------------------------------------------------------------------- */

/* The id of a name; EVENT_EXTENSION for any other. */
enum event_attr_id event_attr_id(struct slice name);
/* Its name (id < EVENT_ATTR_N). */
struct slice event_attr_name(enum event_attr_id id);
bool event_is_v03(const struct event *ev);

/* NULL: it has none. */
const struct event_attr *event_extension(const struct event *ev, struct slice name);
/* Any attribute by name; false when it is absent. */
bool event_get(const struct event *ev, struct slice name, struct slice *out_value);

/* --- changing --------------------------------------------------------------------------------- */

/*
 * Sets or replaces any attribute; name and value are copied. ERR_INVALID: the name or value is none
 * that an attribute may have; ERR_TOO_BIG: too long, or one extension too many.
 */
MUST_CHECK int event_set(struct event *ev, struct slice name, struct slice value,
                         struct error *err);
/* As event_set, but name and value must live as long as the event. */
MUST_CHECK int event_set_borrowed(struct event *ev, struct slice name, struct slice value,
                                  enum event_kind kind, struct error *err);
MUST_CHECK int event_set_i64(struct event *ev, struct slice name, int64_t value, struct error *err);
/* Takes an attribute out; false when it was not there. */
bool event_remove(struct event *ev, struct slice name);

/* --- rules ------------------------------------------------------------------------------------ */

/* Lower-case ASCII letters and digits, not "data", at most EVENT_NAME_MAX. */
MUST_CHECK int event_check_name(struct slice name, struct error *err);
/* UTF-8, no control or non-characters, at most EVENT_VALUE_MAX bytes. */
MUST_CHECK int event_check_value(struct slice name, struct slice value, struct error *err);
/*
 * The whole event: specversion 1.0 or 0.3; id, source and type there and not empty; subject, time
 * (RFC 3339), dataschema (absolute URI), datacontenttype (a media type) right where given.
 */
MUST_CHECK int event_check(const struct event *ev, struct error *err);

/* Whether a media type says JSON: "application/json", "text/json", "…+json", with parameters. */
bool event_type_is_json(struct slice media_type);

/* --- packing ---------------------------------------------------------------------------------- */

/*
 * The attributes as text that is quick to read back and can be read by people: a line each,
 * "name=value", or "name#value" for an integer, "name?value" for a boolean; "name%text" is a header
 * as it came where it came in another form than ours (event_http.h), ":name:value" a header that
 * goes with it (carried.h). Data is not in it: keep ev->data beside it. strbuf_ok(out) says whether
 * it fitted.
 */
void event_pack(const struct event *ev, struct strbuf *out);
/*
 * The event of a packed text and data (ptr NULL: none), which must live as long as the event.
 * ERR_PROTOCOL for a text that event_pack did not write. Initialises *out; nothing to release on
 * failure.
 */
MUST_CHECK int event_unpack(struct slice packed, struct slice data, struct event *out,
                            struct error *err);
