// SPDX-License-Identifier: Apache-2.0
/*
 * The decision, most certain thing first: enough replicas were ready (True, for good, until all of
 * them fail), else what stands in the way, else time is up, else it is still deploying.
 */
#include "controller/health.h"

#include "json/jget.h"

enum {
    PORT_WORDS = 48,
    LISTEN_NOTICE_MS = 5000, /* a function that runs so long and does not listen is worth a word */
};

static const struct condition resources_ok = {"ResourcesAvailable", STATUS_TRUE, "", "", false};
static const struct condition container_ok = {"ContainerHealthy", STATUS_TRUE, "", "", false};

static void set(struct condition *c, const char *type, const char *status, struct health *out)
{
    *c = (struct condition){type, status, out->reason, out->message, false};
}

static void say(struct health *out, const char *reason, const char *message)
{
    snprintf(out->reason, sizeof(out->reason), "%s", reason);
    snprintf(out->message, sizeof(out->message), "%s", message);
}

static void resources(struct health *out, const char *status)
{
    set(&out->resources, "ResourcesAvailable", status, out);
}

/*
 * There is nothing to run: no image, or no command in it. On one machine that is certain and said
 * at once; on a cluster a pull may work the next time, and Kubernetes' own words are passed on.
 */
static bool container_missing(const struct health_input *in, struct health *out)
{
    static const char *const pulls[] = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName"};
    const struct replicas *r = &in->replicas;
    bool no_image = false;
    for (size_t i = 0; i < ARRAY_LEN(pulls); i++) {
        no_image |= r->trouble == TROUBLE_WAITING && strcmp(r->reason, pulls[i]) == 0;
    }
    bool no_command = r->trouble == TROUBLE_EXITED && strcmp(r->reason, "StartError") == 0;
    if (!in->one_machine || !(no_image || no_command)) {
        return false;
    }
    snprintf(out->reason, sizeof(out->reason), "ContainerMissing");
    if (no_image) {
        snprintf(out->message, sizeof(out->message), "Unable to fetch image \"%.200s\": %.250s",
                 jpeek_cstr(in->revision, "spec.containers[0].image"), r->message);
    } else {
        snprintf(out->message, sizeof(out->message),
                 "%s. Is the command right, is the file among those that were deployed, and may it "
                 "be executed?",
                 r->message);
    }
    set(&out->container, "ContainerHealthy", STATUS_FALSE, out);
    return true;
}

/* What the pods complain about. False when they do not. */
static bool pod_trouble(const struct replicas *r, struct health *out)
{
    switch (r->trouble) {
    case TROUBLE_UNSCHEDULABLE:
    case TROUBLE_WAITING:
        say(out, r->reason, r->message);
        resources(out, STATUS_FALSE);
        return true;
    case TROUBLE_EXITED:
        snprintf(out->reason, sizeof(out->reason), "ExitCode%lld", (long long)r->exit_code);
        snprintf(out->message, sizeof(out->message), "Container failed with: %s", r->message);
        set(&out->container, "ContainerHealthy", STATUS_FALSE, out);
        return true;
    case TROUBLE_NONE:
        break;
    }
    return false;
}

/* What the Deployment complains about. */
static bool deployment_trouble(const json_t *deployment, struct health *out)
{
    struct condition failure = condition_get(deployment, "ReplicaFailure");
    struct condition progress = condition_get(deployment, "Progressing");
    if (strcmp(failure.status, STATUS_TRUE) == 0) {
        say(out, failure.reason[0] == '\0' ? "FailedCreate" : failure.reason, failure.message);
    } else if (strcmp(progress.status, STATUS_FALSE) == 0) {
        say(out, progress.reason, progress.message);
    } else {
        return false;
    }
    resources(out, STATUS_FALSE);
    return true;
}

/* The port that the function is told by $PORT; on one machine each replica gets its own. */
static void port_words(const struct health_input *in, char out[static PORT_WORDS])
{
    if (in->port > 0) {
        snprintf(out, PORT_WORDS, "port %lld ($PORT)", (long long)in->port);
    } else {
        snprintf(out, PORT_WORDS, "the port in $PORT");
    }
}

static void too_late(const struct health_input *in, struct health *out)
{
    char port[PORT_WORDS];
    port_words(in, port);
    snprintf(out->reason, sizeof(out->reason), "ProgressDeadlineExceeded");
    if (in->replicas.running > 0) {
        snprintf(out->message, sizeof(out->message),
                 "Initial scale was never achieved: the container runs, but nothing listens on %s "
                 "after %lld s",
                 port, (long long)(in->deadline_ms / 1000));
    } else {
        snprintf(out->message, sizeof(out->message),
                 "Initial scale was never achieved within %lld s",
                 (long long)(in->deadline_ms / 1000));
    }
    resources(out, STATUS_FALSE);
}

static void still_deploying(const struct health_input *in, struct health *out)
{
    int64_t next_ms = in->deadline_ms - in->age_ms;
    char port[PORT_WORDS];
    port_words(in, port);
    say(out, "Deploying", "");
    if (in->replicas.running > 0 && in->age_ms >= LISTEN_NOTICE_MS) {
        snprintf(out->message, sizeof(out->message),
                 "The container runs, but nothing listens on %s yet", port);
        snprintf(out->reason, sizeof(out->reason), "NotListening");
        out->silent = true;
    } else if (LISTEN_NOTICE_MS - in->age_ms < next_ms) {
        next_ms = in->age_ms < LISTEN_NOTICE_MS ? LISTEN_NOTICE_MS - in->age_ms : 1000;
    }
    out->again_ms = next_ms > 0 ? (uint64_t)next_ms : 1;
    resources(out, STATUS_UNKNOWN);
    set(&out->container, "ContainerHealthy", STATUS_UNKNOWN, out);
}

/* The conditions as they were. */
static void keep(const struct health_input *in, struct health *out)
{
    out->resources = condition_get(in->revision, "ResourcesAvailable");
    out->container = condition_get(in->revision, "ContainerHealthy");
}

void health_decide(const struct health_input *in, struct health *out)
{
    bool was_ready = condition_is(in->revision, "ResourcesAvailable", STATUS_TRUE) &&
                     condition_is(in->revision, "ContainerHealthy", STATUS_TRUE);
    bool had_failed = condition_is(in->revision, "ResourcesAvailable", STATUS_FALSE) ||
                      condition_is(in->revision, "ContainerHealthy", STATUS_FALSE);
    int64_t wanted = jpeek_i64(in->deployment, "spec.replicas");
    *out = (struct health){.resources = {"ResourcesAvailable", STATUS_UNKNOWN, "", "", false},
                           .container = {"ContainerHealthy", STATUS_UNKNOWN, "", "", false}};
    if (in->deployment_foreign) {
        snprintf(out->reason, sizeof(out->reason), "NotOwned");
        snprintf(out->message, sizeof(out->message),
                 "There is an existing Deployment \"%s\" that we do not own.",
                 jpeek_cstr(in->deployment, "metadata.name"));
        resources(out, STATUS_FALSE);
        return;
    }
    int64_t enough = was_ready || had_failed ? 1 : in->initial_scale;
    if (in->deployment != NULL && in->replicas.ready >= enough) {
        out->resources = resources_ok;
        out->container = container_ok;
        return;
    }
    if (in->deployment != NULL && wanted == 0 && (was_ready || had_failed)) {
        keep(in, out);
        return;
    }
    if (in->replicas.ready == 0 && (container_missing(in, out) || pod_trouble(&in->replicas, out) ||
                                    deployment_trouble(in->deployment, out))) {
        return;
    }
    if (was_ready) {
        keep(in, out); /* starting again, or replacing what ended */
    } else if (in->age_ms >= in->deadline_ms) {
        too_late(in, out);
    } else {
        still_deploying(in, out);
    }
}
