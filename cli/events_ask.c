// SPDX-License-Identifier: Apache-2.0
//
// Happy path: one GET or PUT, its answer read as JSON. Numbers on a cluster: every Pod that runs is
// asked, the first one's answer is what counts for Redis, the others' counts and rates are added.
// Failure modes: nobody answers: the last error; some do not: those that do.
#include "cli/events_ask.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/home.h"
#include "cli/part_ask.h"

enum { ANSWER_MAX = 64 << 20, PATH_MAX_BYTES = 65536, STATE_MAX = 65536 };

void events_path(const struct cli *cli, const char *page, struct strbuf *out)
{
    strbuf_init(out, PATH_MAX_BYTES);
    strbuf_appendf(out, "/events/%s?namespace=%s", page, cli->ns);
}

void events_path_add(struct strbuf *path, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0') {
        return;
    }
    strbuf_appendf(path, "&%s=", name);
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z') || *c == '-' || *c == '.' || *c == '_';
        strbuf_appendf(path, plain ? "%c" : "%%%02X", *c);
    }
}

int events_absent(const struct cli *cli, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(cli->home, "run/broker.json");
    CLEANUP(jfree) json_t *said = NULL;
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, STATE_MAX);
    if (!part_is_here(cli)) {
        return 0;
    }
    if (home_supervisor(cli->home) == 0) {
        return error_set(err, ERR_NOT_FOUND,
                         "Lull does not run on this machine (%s): start it with `lull up`",
                         cli->home);
    }
    if (fs_read_file(path, STATE_MAX, &text, NULL) < 0 ||
        jparse_object(strbuf_slice(&text), STATE_MAX, &said, NULL) < 0) {
        return error_set(err, ERR_NOT_FOUND,
                         "nothing takes events on this machine yet: `lull broker create default` "
                         "starts what does");
    }
    struct slice state = jpeek_str(said, "state");
    return slice_eq_str(state, "failed")
               ? error_set(err, ERR_NOT_FOUND, "%s", jpeek_cstr(said, "message"))
           : slice_eq_str(state, "starting")
               ? error_set(err, ERR_UNAVAILABLE, "what takes events is being started")
               : 0;
}

int events_explain(const struct cli *cli, int rc, struct error *err)
{
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/broker.admin.sock", cli->home);
    struct error why;
    int absent =
        rc == ERR_REFUSED || (rc < 0 && access(socket, F_OK) != 0) ? events_absent(cli, &why) : 0;

    return absent < 0 ? error_copy(err, &why) : rc;
}

int events_call(struct cli *cli, const char *method, const struct strbuf *path, json_t **out,
                struct error *err)
{
    CLEANUP(cleanup_free) char *text = NULL;
    if (!strbuf_ok(path)) {
        return error_set(err, ERR_TOO_BIG, "the filter is too long");
    }
    int rc = events_explain(cli, part_call(cli, method, "broker", path->ptr, &text, err), err);
    return rc ? rc : jparse_object(slice_str(text), ANSWER_MAX, out, err);
}

// ---- numbers

const json_t *events_numbers_broker(const json_t *numbers, const char *ns, const char *name)
{
    size_t i;
    json_t *broker;
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        if (slice_eq_str(jpeek_str(broker, "name"), name) &&
            slice_eq_str(jpeek_str(broker, "namespace"), ns)) {
            return broker;
        }
    }
    return NULL;
}

const json_t *events_numbers_trigger(const json_t *numbers, const char *ns, const char *name)
{
    size_t i, k;
    json_t *broker, *trigger;
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        json_array_foreach(jpeek_arr(broker, "triggers"), k, trigger)
        {
            if (slice_eq_str(jpeek_str(trigger, "name"), name) &&
                slice_eq_str(jpeek_str(trigger, "namespace"), ns)) {
                return trigger;
            }
        }
    }
    return NULL;
}

const json_t *events_numbers_source(const json_t *numbers, const char *ns, const char *kind,
                                    const char *name)
{
    size_t i;
    json_t *source;
    json_array_foreach(jpeek_arr(numbers, "sources"), i, source)
    {
        if (slice_eq_str(jpeek_str(source, "name"), name) &&
            slice_eq_str(jpeek_str(source, "kind"), kind) &&
            slice_eq_str(jpeek_str(source, "namespace"), ns)) {
            return source;
        }
    }
    return NULL;
}

char *events_source_name(const json_t *entry)
{
    return json_object_get(entry, "kind")
               ? xasprintf("%s/%s", jpeek_cstr(entry, "kind"), jpeek_cstr(entry, "name"))
               : NULL;
}

int64_t events_waiting(const json_t *entry)
{
    return jpeek_i64(entry, "waiting") + jpeek_i64(entry, "held");
}

double events_rate(const json_t *entry, const char *key)
{
    return json_number_value(json_object_get(entry, key));
}

void events_numbers_print(const json_t *entry, bool failure)
{
    char age[16];
    bool of_source = json_object_get(entry, "kind") != NULL;
    events_age(jpeek_cstr(entry, "oldest"), age, sizeof age);
    printf("  Backlog      %lld waiting", (long long)events_waiting(entry));
    if (jpeek_i64(entry, "waiting") > 0) {
        printf(" (the oldest for %s)", age);
    }
    printf(", %lld to be tried again", (long long)jpeek_i64(entry, "retrying"));
    if (json_object_get(entry, "nextRetryMs")) {
        printf(" (the next in %.1f s)", (double)jpeek_i64(entry, "nextRetryMs") / 1000);
    }
    printf(", %lld dead letters\n", (long long)jpeek_i64(entry, "dead"));
    printf("  Deliveries   %lld delivered (%.1f/s), %lld attempts failed (%.1f/s), ",
           (long long)jpeek_i64(entry, "delivered"), events_rate(entry, "deliveredPerSecond"),
           (long long)jpeek_i64(entry, "failed"), events_rate(entry, "failedPerSecond"));
    if (!of_source) { // what a source retries by itself is not counted, and nobody replies to it
        printf("%lld tried again, ", (long long)jpeek_i64(entry, "retried"));
    }
    printf("%lld nobody took", (long long)jpeek_i64(entry, "gaveUp"));
    if (!of_source) {
        printf(", %lld replies", (long long)jpeek_i64(entry, "replies"));
    }
    printf("; %lld under way; since lull-broker started\n",
           (long long)(jpeek_i64(entry, "running") + jpeek_i64(entry, "held")));
    if (failure && jpeek_cstr(entry, "trouble")[0]) {
        printf("  Last failure %s\n", jpeek_cstr(entry, "trouble"));
    }
}

static void add(const json_t *to, const json_t *from, const char *const *names)
{
    for (; to != NULL && *names != NULL; names++) {
        json_t *a = json_object_get(to, *names);
        const json_t *b = json_object_get(from, *names);
        if (json_is_integer(a)) {
            json_integer_set(a, json_integer_value(a) + json_integer_value(b));
        } else if (json_is_real(a)) {
            json_real_set(a, json_number_value(a) + json_number_value(b));
        }
    }
}

static void add_worker(const json_t *sum, const json_t *more)
{
    static const char *const OF_BROKER[] = {"accepted", "acceptedPerSecond", NULL};
    static const char *const OF_TRIGGER[] = {
        "running", "delivered",          "failed",          "retried", "gaveUp",
        "replies", "deliveredPerSecond", "failedPerSecond", "held",    NULL};
    size_t i, k;
    json_t *broker, *trigger, *source;
    json_array_foreach(jpeek_arr(more, "sources"), i, source)
    {
        add(events_numbers_source(sum, jpeek_cstr(source, "namespace"), jpeek_cstr(source, "kind"),
                                  jpeek_cstr(source, "name")),
            source, OF_TRIGGER);
    }
    json_array_foreach(jpeek_arr(more, "brokers"), i, broker)
    {
        add(events_numbers_broker(sum, jpeek_cstr(broker, "namespace"), jpeek_cstr(broker, "name")),
            broker, OF_BROKER);
        json_array_foreach(jpeek_arr(broker, "triggers"), k, trigger)
        {
            add(events_numbers_trigger(sum, jpeek_cstr(trigger, "namespace"),
                                       jpeek_cstr(trigger, "name")),
                trigger, OF_TRIGGER);
        }
    }
}

static int of_pods(struct cli *cli, const char *path, json_t **out, struct error *err)
{
    CLEANUP(jfree) json_t *pods = NULL;
    size_t i;
    json_t *pod;
    int rc = part_pods(cli, "broker", &pods, err);
    if (rc == 0) {
        (void)error_set(err, ERR_NOT_FOUND, "no Pod of lull-broker runs");
    }
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        CLEANUP(cleanup_free) char *text = NULL;
        CLEANUP(jfree) json_t *answer = NULL;
        if (!slice_eq_str(jpeek_str(pod, "status.phase"), "Running") ||
            part_ask_pod(cli, pod, path, &text, err) < 0 ||
            jparse_object(slice_str(text), ANSWER_MAX, &answer, err) < 0) {
            continue;
        }
        if (*out == NULL) {
            *out = json_incref(answer);
        } else {
            add_worker(*out, answer);
        }
    }
    return *out != NULL ? 0 : rc < 0 ? rc : (int)err->code;
}

int events_numbers(struct cli *cli, bool all, json_t **out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    *out = NULL;
    events_path(cli, "numbers", &path);
    if (all) {
        strbuf_clear(&path);
        strbuf_append_str(&path, "/events/numbers");
    }
    return part_is_here(cli) ? events_call(cli, "GET", &path, out, err)
                             : of_pods(cli, path.ptr, out, err);
}

void events_age(const char *time, char *out, size_t size)
{
    int64_t at = 0;
    if (clock_parse_rfc3339(slice_str(time), &at, NULL) < 0) {
        snprintf(out, size, "-");
        return;
    }
    int64_t s = (clock_wall_ns() - at) / 1000000000;
    s = s < 0 ? 0 : s;
    if (s < 120) {
        snprintf(out, size, "%llds", (long long)s);
    } else if (s < 7200) {
        snprintf(out, size, "%lldm", (long long)s / 60);
    } else if (s < 172800) {
        snprintf(out, size, "%lldh", (long long)s / 3600);
    } else {
        snprintf(out, size, "%lldd", (long long)s / 86400);
    }
}

// "1764000000000-5", or its first half.
static bool is_id(const char *text)
{
    size_t n = strspn(text, "0123456789");
    const char *rest = text + n;
    return n >= 10 && n <= 20 &&
           (*rest == '\0' || (*rest == '-' && rest[1] != '\0' && strlen(rest) <= 21 &&
                              rest[1 + strspn(rest + 1, "0123456789")] == '\0'));
}

int events_since(const char *what, const char *text, char out[static EVENTS_ID_MAX],
                 struct error *err)
{
    int64_t ns = 0;
    if (is_id(text)) {
        snprintf(out, EVENTS_ID_MAX, "%s", text);
        return 0;
    }
    if (num_parse_duration_ns(slice_str(text), &ns, NULL) == 0) {
        ns = clock_wall_ns() - ns;
    } else if (clock_parse_rfc3339(slice_str(text), &ns, NULL) < 0) {
        return error_set(err, ERR_INVALID,
                         "%s %s: must be how long ago (5m), a time (2026-01-31T10:00:00Z), or an "
                         "event's id as `lull event tail` shows it (1764000000000-0)",
                         what, text);
    }
    snprintf(out, EVENTS_ID_MAX, "%lld", (long long)(ns < 0 ? 0 : ns / 1000000));
    return 0;
}
