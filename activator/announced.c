// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: records in a map by Pod UID, and on a list in order of their deadlines, which are all
 * equally long. Failure modes: the table is full: newcomers wait for the platform's word, as
 * without announcements; the ring of what was seen forgets the oldest, whose question back fails
 * all the same when it is not the Pod that answers.
 */
#include "activator/announced.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define MARK_DIGITS 15u /* of a code: enough to know it again */

static const struct {
    const char *label;
    int status;
    const char *words;
} ends[] = {
#define ANNOUNCED_ROW(name, label, status, words) {label, status, words},
    ANNOUNCED_MAP(ANNOUNCED_ROW)
#undef ANNOUNCED_ROW
};

const char *announced_label(enum announced_end end)
{
    return ends[end].label;
}

const char *announced_words(enum announced_end end)
{
    return ends[end].words;
}

int announced_status(enum announced_end end)
{
    return ends[end].status;
}

/* "10.0.0.1:8012", "[fd00::1]:8012" */
static bool is_at(struct slice address, struct slice ip)
{
    ptrdiff_t colon = slice_rfind(address, ':');
    struct slice host = slice_sub(address, 0, colon < 0 ? address.len : (size_t)colon);
    if (host.len > 2 && host.ptr[0] == '[') {
        host = slice_sub(host, 1, host.len - 2);
    }
    return slice_eq(host, ip);
}

enum announced_view announced_look(const struct announced_pod *pod, struct slice uid,
                                   struct slice revision, struct slice ip,
                                   enum announced_end *out_end)
{
    enum announced_end end = ANNOUNCED_ACCEPTED;
    enum announced_view view = ANNOUNCED_VIEW_DENIES;
    if (pod == NULL) {
        end = ANNOUNCED_UNKNOWN_POD;
        view = ANNOUNCED_VIEW_NONE;
    } else if (pod->going || !slice_eq(pod->uid, uid)) {
        end = ANNOUNCED_GONE;
    } else if (!slice_eq(pod->revision, revision)) {
        end = ANNOUNCED_OTHER;
    } else if (pod->address.len > 0 && !is_at(pod->address, ip)) {
        end = ANNOUNCED_MOVED;
    } else if (pod->ready) {
        end = ANNOUNCED_KNOWN;
        view = ANNOUNCED_VIEW_OVER;
    } else if (!pod->ours) {
        end = ANNOUNCED_KUBELET;
        view = ANNOUNCED_VIEW_OVER;
    } else {
        view = pod->address.len == 0 ? ANNOUNCED_VIEW_OPEN : ANNOUNCED_VIEW_CONFIRMS;
    }
    if (out_end != NULL) {
        *out_end = end;
    }
    return view;
}

void announced_init(struct announced_table *t)
{
    *t = (struct announced_table){.seen = NULL};
    map_init(&t->by_uid, MAP_BORROW_KEYS);
    list_init(&t->timed);
}

static void record_free(struct announced *a)
{
    list_remove(&a->link);
    free(a->uid);
    free(a->ns);
    free(a->pod);
    free(a->revision);
    free(a->address);
    free(a->ip);
    free(a);
}

void announced_fini(struct announced_table *t)
{
    map_foreach (it, &t->by_uid) {
        record_free(it.value);
    }
    map_fini(&t->by_uid);
    free(t->seen);
    t->seen = NULL;
}

size_t announced_len(const struct announced_table *t)
{
    return map_len(&t->by_uid);
}

bool announced_is_fresh(int64_t time_ms, int64_t now_ms)
{
    return time_ms >= now_ms - ANNOUNCED_FRESH_MS && time_ms <= now_ms + ANNOUNCED_FRESH_MS;
}

bool announced_was_seen(struct announced_table *t, struct slice code)
{
    uint64_t mark = 1; /* 0: an empty place */
    for (size_t i = 0; i < code.len && i < MARK_DIGITS; i++) {
        char c = code.ptr[i];
        mark = mark << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (t->seen == NULL) {
        t->seen = xcalloc(ANNOUNCED_SEEN, sizeof(*t->seen));
    }
    for (uint32_t i = 0; i < ANNOUNCED_SEEN; i++) {
        if (t->seen[i] == mark) {
            return true;
        }
    }
    t->seen[t->seen_at] = mark;
    t->seen_at = (t->seen_at + 1) % ANNOUNCED_SEEN;
    return false;
}

struct announced *announced_add(struct announced_table *t, const struct announced *like,
                                uint64_t now_ns)
{
    if (announced_len(t) >= ANNOUNCED_MAX) {
        return NULL;
    }
    struct announced *a = NEW(struct announced);
    a->uid = xstrdup(like->uid);
    a->ns = xstrdup(like->ns);
    a->pod = xstrdup(like->pod);
    a->revision = xstrdup(like->revision);
    a->address = like->address == NULL ? NULL : xstrdup(like->address);
    a->ip = xstrdup(like->ip);
    a->state = like->state;
    a->deadline_ns = now_ns + ANNOUNCED_DEADLINE_MS * CLOCK_NS_PER_MS;
    list_init(&a->link);
    list_push_back(&t->timed, &a->link);
    REQUIRE(map_set(&t->by_uid, slice_str(a->uid), a) == NULL);
    return a;
}

struct announced *announced_get(const struct announced_table *t, struct slice uid)
{
    return map_get(&t->by_uid, uid);
}

void announced_remove(struct announced_table *t, struct announced *a)
{
    (void)map_remove(&t->by_uid, slice_str(a->uid));
    record_free(a);
}

bool announced_view(struct announced *a, enum announced_view view, enum announced_end *out_end)
{
    bool proven = a->state != ANNOUNCED_DIALLED_STATE;
    switch (view) {
    case ANNOUNCED_VIEW_NONE:
        return true;
    case ANNOUNCED_VIEW_OPEN:
        if (a->state == ANNOUNCED_CONFIRMED_STATE) {
            break; /* it has lost its address: another one will come, or none */
        }
        a->state = proven ? ANNOUNCED_USED_STATE : a->state;
        return true;
    case ANNOUNCED_VIEW_CONFIRMS:
        if (proven) {
            a->state = ANNOUNCED_CONFIRMED_STATE;
            list_remove(&a->link);
        }
        return true;
    case ANNOUNCED_VIEW_OVER:
        *out_end = ANNOUNCED_CONFIRMED;
        return false;
    case ANNOUNCED_VIEW_DENIES:
        break;
    }
    *out_end = ANNOUNCED_EVICTED;
    return false;
}

bool announced_counts(const struct announced *a)
{
    return a->state == ANNOUNCED_USED_STATE || a->state == ANNOUNCED_CONFIRMED_STATE;
}

struct announced *announced_overdue(const struct announced_table *t, uint64_t now_ns,
                                    uint64_t *out_due_ns)
{
    struct list *node = list_first(&t->timed);
    struct announced *a = node == NULL ? NULL : LIST_ENTRY(node, struct announced, link);
    *out_due_ns = a == NULL ? UINT64_MAX : a->deadline_ns;
    return a != NULL && a->deadline_ns <= now_ns ? a : NULL;
}
