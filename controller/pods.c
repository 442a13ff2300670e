// SPDX-License-Identifier: Apache-2.0
/*
 * Pod status to a few facts. The trouble that is reported is the most telling one: the function
 * ended, else a container cannot be started, else there is no room.
 */
#include "controller/pods.h"

#include "json/jget.h"
#include "controller/conditions.h"
#include "controller/meta.h"

static bool inside_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80; /* not the first byte of a UTF-8 character */
}

/* Fits the sentence into out: of a function's last words the end tells most; a container runtime
 * says what it did first and what failed last; of all else the beginning tells most. */
static void put_message(struct pod_view *out, enum replica_trouble trouble, struct slice message)
{
    if (message.len < sizeof(out->message)) {
        snprintf(out->message, sizeof(out->message), "%.*s", SLICE_FMT(message));
        return;
    }
    size_t room = sizeof(out->message) - sizeof("…");
    size_t first = trouble == TROUBLE_EXITED ? 0 : trouble == TROUBLE_WAITING ? room / 3 : room;
    size_t from = message.len - (room - first);
    while (first > 0 && inside_character(message.ptr[first])) {
        first--;
    }
    while (from < message.len && inside_character(message.ptr[from])) {
        from++;
    }
    snprintf(out->message, sizeof(out->message), "%.*s…%.*s",
             SLICE_FMT(slice_sub(message, 0, first)),
             SLICE_FMT(slice_sub(message, from, message.len)));
}

static void put(struct pod_view *out, enum replica_trouble trouble, struct slice reason,
                struct slice message)
{
    message = slice_trim(message);
    while (message.len > 0 && (message.ptr[message.len - 1] == '\n')) {
        message = slice_trim(slice_sub(message, 0, message.len - 1));
    }
    out->trouble = trouble;
    slice_copy(slice_sub(reason, 0, sizeof(out->reason) - 1), out->reason, sizeof(out->reason));
    put_message(out, trouble, message);
}

static bool harmless(struct slice reason)
{
    return reason.len == 0 || slice_eq_str(reason, "ContainerCreating") ||
           slice_eq_str(reason, "PodInitializing");
}

/* The function's container ended, now or in its last life. */
static bool read_exit(const json_t *status, struct pod_view *out)
{
    const json_t *ended = jpeek_obj(status, "state.terminated");
    if (ended == NULL) {
        ended = jpeek_obj(status, "lastState.terminated");
    }
    if (ended == NULL) {
        return false;
    }
    struct slice message = jpeek_str(ended, "message");
    struct slice reason = jpeek_str(ended, "reason");
    put(out, TROUBLE_EXITED, reason, message.len > 0 ? message : reason);
    out->exit_code = (int32_t)jpeek_i64(ended, "exitCode");
    return true;
}

static void read_container(const json_t *status, struct pod_view *out)
{
    bool sidecar = slice_eq_str(jpeek_str(status, "name"), QUEUE_CONTAINER_NAME);
    const json_t *waiting = jpeek_obj(status, "state.waiting");
    struct slice reason = jpeek_str(waiting, "reason");
    if (!sidecar && jpeek_obj(status, "state.running") != NULL) {
        out->running = true;
    }
    if (out->trouble == TROUBLE_EXITED || (!sidecar && read_exit(status, out))) {
        return;
    }
    if (waiting != NULL && !harmless(reason)) {
        put(out, TROUBLE_WAITING, reason, jpeek_str(waiting, "message"));
    }
}

bool pod_read(const json_t *pod, struct pod_view *out)
{
    const char *revision = meta_label(pod, LABEL_REVISION);
    *out = (struct pod_view){.trouble = TROUBLE_NONE};
    if (revision[0] == '\0' || !slice_copy(slice_str(revision), out->revision, NAME_BUF)) {
        return false;
    }
    if (meta_deleting(pod)) {
        return true; /* on its way out: counts for nothing */
    }
    out->ready = condition_is(pod, "Ready", STATUS_TRUE);
    struct condition scheduled = condition_get(pod, "PodScheduled");
    if (strcmp(scheduled.status, STATUS_FALSE) == 0) {
        const char *reason = scheduled.reason[0] == '\0' ? "Unschedulable" : scheduled.reason;
        put(out, TROUBLE_UNSCHEDULABLE, slice_str(reason), slice_str(scheduled.message));
    }
    size_t i;
    const json_t *status;
    json_array_foreach(jpeek_arr(pod, "status.containerStatuses"), i, status)
    {
        read_container(status, out);
    }
    return true;
}

void pod_count(const struct pod_view *pod, struct replicas *out)
{
    if (pod->ready) {
        out->ready++;
        return;
    }
    out->running += pod->running;
    if (out->trouble == TROUBLE_NONE && pod->trouble != TROUBLE_NONE) {
        out->trouble = pod->trouble;
        out->exit_code = pod->exit_code;
        snprintf(out->reason, sizeof(out->reason), "%s", pod->reason);
        snprintf(out->message, sizeof(out->message), "%s", pod->message);
    }
}
