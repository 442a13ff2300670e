// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the option and a Deployment with Pods, or the file of the supervisor: {"state":
 * "ready", "url": …}. Failure modes: no Pod is ready: told, and looked at again when that changes;
 * no file yet, or another state in it: the supervisor is told, and asked again soon; neither option
 * nor file: this installation has no events.
 */
#include "controller/broker_part.h"

#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/notify.h"
#include "json/jget.h"
#include "json/jparse.h"

enum { STARTING_MS = 100, FAILED_MS = 3000 };

static void read_state(const struct broker_part *part, char text[static BROKER_STATE_MAX])
{
    CLEANUP(strbuf_fini) struct strbuf file;
    strbuf_init(&file, BROKER_STATE_MAX);
    text[0] = '\0';
    if (fs_read_file(part->file, BROKER_STATE_MAX - 1, &file, NULL) == 0) {
        (void)slice_copy(strbuf_slice(&file), text, BROKER_STATE_MAX);
    }
}

static void read_seen(const char *text, struct broker_seen *seen, char url[static BROKER_URL_MAX])
{
    CLEANUP(jfree) json_t *state = NULL;
    (void)!jparse_object(slice_str(text), BROKER_STATE_MAX, &state, NULL);
    struct slice word = jpeek_str(state, "state");
    bool failed = slice_eq_str(word, "failed");
    (void)slice_copy(jpeek_str(state, "url"), url, BROKER_URL_MAX);
    seen->phase = slice_eq_str(word, "ready") ? BROKER_UP : failed ? BROKER_AWAY : BROKER_STARTING;
    snprintf(seen->message, sizeof(seen->message), "%s",
             seen->phase == BROKER_UP ? ""
             : failed                 ? jpeek_cstr(state, "message")
                                      : "The event broker is being started.");
}

/* On one machine: reads the file, says whether lull-broker works now. */
static bool look_at_file(struct broker_part *part, uint64_t now_ms, char url[static BROKER_URL_MAX])
{
    char text[BROKER_STATE_MAX];
    struct broker_seen seen = {.phase = BROKER_UNKNOWN};
    read_state(part, text);
    read_seen(text, &seen, url);
    bool up = seen.phase == BROKER_UP;
    bool other = up && strcmp(text, part->last) != 0; /* the address, perhaps */
    memcpy(part->last, text, sizeof(text));
    part->news = broker_sight_step(&part->sight, &seen, 0, now_ms) || other || part->news;
    return up;
}

static void look_at_pods(struct broker_part *part, uint64_t now_ms)
{
    struct broker_seen seen = {.phase = BROKER_UNKNOWN};
    part->see(part->arg, &seen);
    part->news = broker_sight_step(&part->sight, &seen, BROKER_STEADY_MS, now_ms) || part->news;
}

static void ask_supervisor(struct broker_part *part, uint64_t now_ms, struct broker_ingress *out)
{
    struct error err;
    if (!look_at_file(part, now_ms, out->url) && notify_send(NOTIFY_BROKER, &err) < 0) {
        LOG_WARN("cannot ask for the event broker", LOG_ERR(&err));
    }
    out->again_ms = part->sight.told.phase == BROKER_UP     ? 0
                    : part->sight.told.phase == BROKER_AWAY ? FAILED_MS
                                                            : STARTING_MS;
}

static void tell(const struct broker_seen *told, struct broker_ingress *out)
{
    out->ready = told->phase == BROKER_UP;
    if (!out->ready) {
        out->reason = told->phase == BROKER_AWAY ? BROKER_NOT_AVAILABLE : BROKER_IS_STARTING;
        snprintf(out->message, sizeof(out->message), "%s", told->message);
    }
}

void broker_part_ask(struct broker_part *part, uint64_t now_ms, struct broker_ingress *out)
{
    *out = (struct broker_ingress){.reason = ""};
    if (part->url[0] != '\0') {
        (void)slice_copy(slice_str(part->url), out->url, sizeof(out->url));
        out->ready = true;
        if (part->see != NULL) {
            look_at_pods(part, now_ms);
            tell(&part->sight.told, out);
            out->unknown = part->sight.told.phase == BROKER_UNKNOWN;
        }
    } else if (part->file[0] != '\0') {
        ask_supervisor(part, now_ms, out);
        tell(&part->sight.told, out);
    } else {
        out->reason = "NoIngress";
        snprintf(out->message, sizeof(out->message),
                 "This installation has no event broker, which needs a Redis: install with "
                 "--events-redis, or set events.redis of the chart (docs/kubernetes.md, Events).");
    }
}

bool broker_part_changed(struct broker_part *part, uint64_t now_ms)
{
    char url[BROKER_URL_MAX];
    if (part->url[0] != '\0' && part->see != NULL) {
        look_at_pods(part, now_ms);
    } else if (part->url[0] == '\0' && part->file[0] != '\0') {
        (void)look_at_file(part, now_ms, url);
    }
    bool news = part->news;
    part->news = false;
    return news;
}

void broker_part_forget(struct broker_part *part)
{
    part->sight = (struct broker_sight){.up = false};
}
