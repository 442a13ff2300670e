// SPDX-License-Identifier: Apache-2.0
/* One function decides; the others remember what it needs. */
#include "kube/lease.h"

#include "base/slice.h"

struct lease_settings lease_settings_of(uint64_t duration_ms)
{
    return (struct lease_settings){duration_ms, duration_ms / 3 * 2, duration_ms / 4};
}

void lease_init(struct lease *lease, const struct lease_settings *settings, const char *identity)
{
    *lease = (struct lease){.settings = *settings};
    (void)slice_copy(slice_sub(slice_str(identity), 0, LEASE_HOLDER_MAX - 1), lease->identity,
                     sizeof(lease->identity));
}

void lease_saw(struct lease *lease, const struct lease_record *record, uint64_t now_ms)
{
    lease->known = true;
    lease->exists = record != NULL;
    if (record != NULL && lease->own && strcmp(record->holder, lease->identity) == 0) {
        return;
    }
    lease->own = false;
    if (record == NULL) {
        lease->holder[0] = '\0';
        lease->version[0] = '\0';
        return;
    }
    if (strcmp(record->version, lease->version) != 0) {
        lease->seen_ms = now_ms;
    }
    lease->their_duration_ms = record->duration_ms;
    (void)slice_copy(slice_sub(slice_str(record->holder), 0, LEASE_HOLDER_MAX - 1), lease->holder,
                     sizeof(lease->holder));
    if (!slice_copy(slice_str(record->version), lease->version, sizeof(lease->version))) {
        lease->version[0] = '\0'; /* a write without one is refused, and tried again */
    }
}

/* When the present holder's time is over, as far as we can tell. */
static uint64_t free_ms(const struct lease *lease)
{
    bool ours = strcmp(lease->holder, lease->identity) == 0;
    return !lease->exists || lease->holder[0] == '\0' || ours
               ? 0
               : lease->seen_ms + lease->their_duration_ms;
}

/* The leader looks again no later than at its own end. */
static uint64_t wait_of(const struct lease *lease, uint64_t now_ms, uint64_t wait_ms)
{
    uint64_t left_ms = lease->renewed_ms + lease->settings.deadline_ms - now_ms;
    return lease->leading && left_ms < wait_ms ? left_ms : wait_ms;
}

enum lease_action lease_next(const struct lease *lease, uint64_t now_ms, uint64_t *out_wait_ms)
{
    const struct lease_settings *s = &lease->settings;
    bool ours = strcmp(lease->holder, lease->identity) == 0;
    *out_wait_ms = s->retry_ms;
    if (lease->leading &&
        (now_ms >= lease->renewed_ms + s->deadline_ms || (!lease->writing && !ours))) {
        return LEASE_LOST;
    }
    *out_wait_ms = wait_of(lease, now_ms, s->retry_ms);
    if (!lease->known || lease->writing) {
        return LEASE_REST;
    }
    uint64_t due_ms = lease->attempted ? lease->began_ms + s->retry_ms : 0;
    uint64_t other_ms = lease->leading ? lease->renewed_ms + s->retry_ms : free_ms(lease);
    due_ms = other_ms > due_ms ? other_ms : due_ms;
    if (now_ms < due_ms) {
        *out_wait_ms = wait_of(lease, now_ms, due_ms - now_ms);
        return LEASE_REST;
    }
    return lease->exists ? LEASE_WRITE : LEASE_CREATE;
}

void lease_sent(struct lease *lease, uint64_t now_ms)
{
    lease->writing = true;
    lease->attempted = true;
    lease->began_ms = now_ms;
}

void lease_answered(struct lease *lease, const char *version)
{
    lease->writing = false;
    lease->own = version != NULL;
    if (version == NULL) {
        return;
    }
    /* What is ours now: the watch may tell it later. */
    lease->known = true;
    lease->exists = true;
    lease->leading = true;
    lease->renewed_ms = lease->began_ms;
    lease->seen_ms = lease->began_ms;
    lease->their_duration_ms = lease->settings.duration_ms;
    (void)slice_copy(slice_str(lease->identity), lease->holder, sizeof(lease->holder));
    if (!slice_copy(slice_str(version), lease->version, sizeof(lease->version))) {
        lease->version[0] = '\0';
    }
}

void lease_drop(struct lease *lease)
{
    lease->leading = false;
    lease->renewed_ms = 0;
}
