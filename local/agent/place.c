// SPDX-License-Identifier: Apache-2.0
//
// The machine's capacity, and the slots that give each replica its ports and its user. A Pod that
// fits nowhere waits; whenever room is given back the waiting ones are looked at in the order of
// their arrival, and each one that fits is started. What was adopted counts even beyond the limits.
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "local/agent/node.h"

void place_slot_take(struct pod *p)
{
    struct agent *a = p->agent;

    for (unsigned i = 0; p->slot < 0 && i < AGENT_SLOTS; i++) {
        unsigned slot = (a->slot_cursor + i) % AGENT_SLOTS;
        if (!a->slot_used[slot]) {
            p->slot = (int)slot;
        }
    }
    REQUIRE(p->slot >= 0); // max_replicas is at most AGENT_SLOTS
    a->slot_used[p->slot] = true;
    a->slot_cursor = ((unsigned)p->slot + 1) % AGENT_SLOTS;
}

void place_slot_give_back(struct pod *p)
{
    if (p->slot >= 0) {
        p->agent->slot_used[p->slot] = false;
        p->slot = -1;
    }
}

static bool memory_fits(const struct pod *p)
{
    const struct agent *a = p->agent;
    uint64_t max = a->options.max_memory_bytes;

    return max == 0 || p->memory_bytes == 0 ||
           (a->placed_bytes <= max && (uint64_t)p->memory_bytes <= max - a->placed_bytes);
}

static bool fits(const struct pod *p)
{
    return p->placed || (p->agent->placed < p->agent->options.max_replicas && memory_fits(p));
}

static void place_count(struct pod *p)
{
    struct agent *a = p->agent;

    if (!p->placed) {
        p->placed = true;
        a->placed++;
        a->placed_bytes += (uint64_t)p->memory_bytes;
    }
}

static void wait_for_place(struct pod *p)
{
    struct agent *a = p->agent;
    const struct agent_options *o = &a->options;
    char why[200];

    if (a->placed >= o->max_replicas) {
        snprintf(why, sizeof why, "this machine runs its %" PRIu32 " replicas (--max-replicas)",
                 o->max_replicas);
    } else {
        snprintf(why, sizeof why,
                 "needs %" PRId64 " MiB, %" PRIu64 " of %" PRIu64 " MiB are taken (--max-memory)",
                 p->memory_bytes >> 20, a->placed_bytes >> 20, o->max_memory_bytes >> 20);
    }
    p->phase = POD_WAITING;
    if (!list_linked(&p->wait_link)) {
        list_push_back(&a->waiting, &p->wait_link);
    }
    pod_trouble_set(p, "Unschedulable", why, true);
}

void pod_place(struct pod *p)
{
    if (!fits(p)) {
        wait_for_place(p);
        return;
    }
    place_count(p);
    list_remove(&p->wait_link);
    p->trouble = (struct pod_trouble){0};
    pod_launch(p);
}

void place_adopt(struct pod *p, unsigned port)
{
    struct agent *a = p->agent;

    if (port >= AGENT_PORT_MIN && port <= AGENT_PORT_MAX) {
        unsigned slot = (port - AGENT_PORT_MIN) / LAUNCH_PORTS;
        if (!a->slot_used[slot]) {
            a->slot_used[slot] = true;
            p->slot = (int)slot;
        }
    }
    place_count(p);
}

void place_give_back(struct pod *p)
{
    struct agent *a = p->agent;

    if (!p->placed) {
        return;
    }
    p->placed = false;
    place_slot_give_back(p);
    a->placed--;
    a->placed_bytes -= (uint64_t)p->memory_bytes;
    if (a->closer.closing) {
        return;
    }
    // A start that fails keeps its place, so nothing here comes back into this loop.
    list_foreach_safe (node, &a->waiting) {
        struct pod *next = LIST_ENTRY(node, struct pod, wait_link);
        if (fits(next)) {
            pod_place(next);
        }
    }
}
