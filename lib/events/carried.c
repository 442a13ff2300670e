// SPDX-License-Identifier: Apache-2.0
/* Plan: a short array, looked through; most events have none or one. */
#include "events/carried.h"

#include "base/mem.h"

static bool begins(struct slice header, struct slice with)
{
    return header.len > with.len && slice_eq_nocase(slice_sub(header, 0, with.len), with);
}

bool event_carries(struct slice header)
{
    switch (header.len == 0 ? 0 : header.ptr[0] | 0x20) {
    case 'b':
        return slice_eq_nocase(header, SLICE_LIT("b3"));
    case 'k':
        return begins(header, SLICE_LIT("knative-"));
    case 't':
        return slice_eq_nocase(header, SLICE_LIT("traceparent")) ||
               slice_eq_nocase(header, SLICE_LIT("tracestate"));
    case 'x':
        return slice_eq_nocase(header, SLICE_LIT("x-request-id")) ||
               begins(header, SLICE_LIT("x-b3-"));
    default:
        return false;
    }
}

static bool is_name(struct slice header)
{
    for (size_t i = 0; i < header.len; i++) {
        char c = (char)(header.ptr[i] | 0x20);
        bool letter = c >= 'a' && c <= 'z';
        bool mark = memchr("0123456789-._", header.ptr[i], 13) != NULL;
        if (!letter && !mark) {
            return false;
        }
    }
    return header.len <= EVENT_NAME_MAX;
}

/* A copy only where it has to be changed. */
static struct slice lower(struct event *ev, struct slice header)
{
    size_t n = 0;
    while (n < header.len && (header.ptr[n] < 'A' || header.ptr[n] > 'Z')) {
        n++;
    }
    if (n == header.len) {
        return header;
    }
    char *room = event_room(ev, header.len);
    for (size_t i = 0; i < header.len; i++) {
        char c = header.ptr[i];
        room[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return slice_of(room, header.len);
}

void event_carry(struct event *ev, struct slice header, struct slice value)
{
    for (unsigned i = 0; i < ev->n_carried; i++) {
        struct event_carried *c = &ev->carried[i];
        if (slice_eq_nocase(c->name, header)) {
            if (slice_eq_str(c->name, "traceparent")) {
                c->value = SLICE_EMPTY;
            }
            return;
        }
    }
    if (ev->n_carried == EVENT_CARRIED_MAX || !is_name(header) ||
        value.len > EVENT_CARRIED_VALUE_MAX || event_check_value(header, value, NULL) < 0) {
        return;
    }
    ev->carried = xreallocarray(ev->carried, ev->n_carried + 1, sizeof(*ev->carried));
    ev->carried[ev->n_carried++] =
        (struct event_carried){.name = lower(ev, header), .value = value};
}
