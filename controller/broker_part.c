// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the option, or the file of the supervisor: {"state": "ready", "url": …}. Failure
 * modes: no file yet, or another state in it: the supervisor is told, and asked again soon; neither
 * option nor file: this installation has no events.
 */
#include "controller/broker_part.h"

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

static void ask_supervisor(struct broker_part *part, struct broker_ingress *out)
{
    struct error err;
    CLEANUP(jfree) json_t *state = NULL;
    read_state(part, part->last);
    (void)!jparse_object(slice_str(part->last), BROKER_STATE_MAX, &state, &err);
    out->ready = slice_eq_str(jpeek_str(state, "state"), "ready");
    (void)slice_copy(jpeek_str(state, "url"), out->url, sizeof(out->url));
    if (out->ready) {
        return;
    }
    bool failed = slice_eq_str(jpeek_str(state, "state"), "failed");
    out->reason = failed ? "BrokerNotAvailable" : "BrokerStarting";
    snprintf(out->message, sizeof(out->message), "%s",
             failed ? jpeek_cstr(state, "message") : "The event broker is being started.");
    out->again_ms = failed ? FAILED_MS : STARTING_MS;
    if (notify_send(NOTIFY_BROKER, &err) < 0) {
        LOG_WARN("cannot ask for the event broker", LOG_ERR(&err));
    }
}

void broker_part_ask(struct broker_part *part, struct broker_ingress *out)
{
    *out = (struct broker_ingress){.reason = ""};
    if (part->url[0] != '\0') {
        out->ready = true;
        (void)slice_copy(slice_str(part->url), out->url, sizeof(out->url));
    } else if (part->file[0] != '\0') {
        ask_supervisor(part, out);
    } else {
        out->reason = "NoIngress";
        snprintf(out->message, sizeof(out->message),
                 "This installation has no event broker, which needs a Redis: install with "
                 "--events-redis, or set events.redis of the chart (docs/kubernetes.md, Events).");
    }
}

bool broker_part_changed(const struct broker_part *part)
{
    char now[BROKER_STATE_MAX];
    if (part->url[0] != '\0' || part->file[0] == '\0') {
        return false;
    }
    read_state(part, now);
    return strcmp(now, part->last) != 0;
}
