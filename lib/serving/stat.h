// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The numbers that a replica or an activator reports once a second, in Knative's protobuf form
 * (Stat, WireStatMessage, WireStatMessages). Pure: bytes in, numbers out and back.
 * Owns nothing; decoded names are views into the bytes they were read from.
 * A number that no honest peer sends (NaN, infinite, negative, above STAT_VALUE_MAX) makes its
 * stat count as dropped; bytes that are not the format end the reading.
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define STAT_VALUE_MAX     1e9 /* largest concurrency, count or uptime that is believed */
#define STAT_NAMESPACE_MAX 63  /* bytes */
#define STAT_NAME_MAX      253 /* bytes of a revision's or pod's name */
/* Room that one encoded stat_sample, or one encoded stat_message, can need. */
#define STAT_SAMPLE_BYTES  320
#define STAT_MESSAGE_BYTES 672

struct stat_sample {
    struct slice pod_name;        /* borrowed; the reporting replica or activator */
    double concurrency;           /* requests in flight, averaged over the period */
    double proxied_concurrency;   /* of these, the ones that came through an activator */
    double request_count;         /* requests that arrived in the period */
    double proxied_request_count; /* of these, the ones that came through an activator */
    double process_uptime_s;      /* seconds since the reporting process started */
    int64_t timestamp;            /* as sent; 0 when absent. Nothing here reads it */
};

struct stat_message {
    struct slice namespace_name; /* borrowed */
    struct slice name;           /* borrowed; the revision */
    struct stat_sample sample;
};

/*
 * Appends the protobuf form of one sample (what a replica answers to a scrape).
 * Returns 0; ERR_TOO_BIG when a name is too long or the buffer is full: nothing is appended then.
 */
MUST_CHECK int stat_encode(const struct stat_sample *sample, struct strbuf *out, struct error *err);

/*
 * Appends one message as an element of WireStatMessages. Messages simply follow one another, so a
 * sender that gets ERR_TOO_BIG sends what it has and starts the next part with this message.
 */
MUST_CHECK int stat_message_append(const struct stat_message *message, struct strbuf *out,
                                   struct error *err);

/*
 * Reads one sample. ERR_PROTOCOL: not the format. ERR_INVALID: a number or name that is not
 * believed. *out is written on success only; its names borrow `bytes`.
 */
MUST_CHECK int stat_decode(struct slice bytes, struct stat_sample *out, struct error *err);

/* Steps through WireStatMessages: struct stat_reader r = {.rest = bytes}; */
struct stat_reader {
    struct slice rest; /* what is still to be read */
    uint64_t dropped;  /* messages that were well formed and not believed, so far */
};

/* 1: *out is the next message, its names borrow the bytes. 0: the end. ERR_PROTOCOL: give up. */
MUST_CHECK int stat_reader_next(struct stat_reader *reader, struct stat_message *out,
                                struct error *err);
