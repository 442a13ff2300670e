// SPDX-License-Identifier: Apache-2.0
//
// lull event: send makes one CloudEvent of options or reads some from a file, and tells what the
// Broker says to it. Accepted means kept: it is on its way to everybody who wants it. The other
// verbs are in event_tail.c and event_replay.c.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "fetch/fetch.h"
#include "cli/event_cmd.h"
#include "eventing/names.h"
#include "events/event_http.h"

enum { DATA_MAX = 16 << 20, EVENT_TEXT_MAX = 32 << 20, ID_BYTES = 16, AGAIN_MS = 500 };

static const struct option_row ROWS[] = {
    OPTION(struct event_options, broker, STRING, NULL, "broker", NULL, .optional = true,
           .help = "who gets them, or whose they are (default default)"),
    OPTION(struct event_options, type, STRING, NULL, "type", NULL, .optional = true,
           .help = "with send: what happened, as order.paid"),
    OPTION(struct event_options, source, STRING, NULL, "source", "/lull/cli",
           .help = "with send: where it happened, a URI"),
    OPTION(struct event_options, id, STRING, NULL, "id", NULL, .optional = true,
           .help = "with send: else a random one"),
    OPTION(struct event_options, subject, STRING, NULL, "subject", NULL, .optional = true,
           .help = "with send: what it is about"),
    OPTION(struct event_options, extension, STRING, NULL, "extension", NULL, .optional = true,
           .help = "with send: NAME=VALUE of a further attribute; may be given several times"),
    OPTION(struct event_options, data, STRING, NULL, "data", NULL, .optional = true,
           .help = "with send: its content; @FILE reads a file, @- standard input"),
    OPTION(struct event_options, content_type, STRING, NULL, "content-type", NULL, .optional = true,
           .help = "with send: media type of the data (else application/json where it is JSON, or "
                   "text/plain)"),
    OPTION(struct event_options, file, STRING, NULL, "file", NULL, .optional = true,
           .help = "send what stands there instead: an event in JSON, an array of them or one on "
                   "each line; - is standard input"),
    OPTION(struct event_options, timeout_s, INT, NULL, "timeout", "30", .min = 1, .max = 3600,
           .help = "with send: seconds in which a Broker that is not there, or answers 503, is "
                   "asked again"),
    OPTION(struct event_options, trigger, STRING, NULL, "trigger", NULL, .optional = true,
           .help = "with replay: who gets them again"),
    OPTION(struct event_options, since, STRING, NULL, "since", NULL, .optional = true,
           .help = "with tail and replay: how long ago (5m), a time, or the id of an event in the "
                   "Broker, as tail shows it"),
    OPTION(struct event_options, until, STRING, NULL, "until", NULL, .optional = true,
           .help = "with replay: the same for the end (else now)"),
    OPTION(struct event_options, filter, STRING, NULL, "filter", NULL, .optional = true,
           .help = "with tail and replay: ATTRIBUTE=VALUE that an event must have; may be given "
                   "several times"),
    OPTION(struct event_options, prefix, STRING, NULL, "prefix", NULL, .optional = true,
           .help = "likewise: ATTRIBUTE=TEXT with which the value must begin"),
    OPTION(struct event_options, suffix, STRING, NULL, "suffix", NULL, .optional = true,
           .help = "likewise: ATTRIBUTE=TEXT with which the value must end"),
    OPTION(struct event_options, cesql, STRING, NULL, "cesql", NULL, .optional = true,
           .help = "likewise: expression in CloudEvents SQL that must be true"),
    OPTION(struct event_options, count, INT, NULL, "count", "0", .min = 0, .max = INT64_MAX,
           .help = "with tail: end after so many events; 0: never"),
    OPTION(struct event_options, dry_run, BOOL, NULL, "dry-run", "false",
           .help = "with replay: only say how many it would be"),
    CLI_COMMON_ROWS(struct event_options),
};
static const struct option_table TABLE = {
    .program = "lull event",
    .summary = "sends events to a Broker, watches them, delivers them again",
    .arguments = "send --type TYPE | send --file FILE | tail | replay --trigger T --since TIME|ID",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples =
        "  lull event send --type order.paid --data '{\"order\": 7}'\n"
        "  lull event send --broker orders --type scan --extension site=north --data @page.pdf\n"
        "  lull event send --file events.json\n"
        "  lull event tail --filter type=order.paid --since 5m\n"
        "  lull event replay --trigger ship --since 2026-01-31T10:00:00Z --dry-run\n"};

/* What is sent: one event, or several. */
struct letter {
    struct strbuf body;
    const char *content_type;
    char id[256]; /* of one event */
    size_t count;
};

static void random_id(char out[static 2 * ID_BYTES + 5])
{
    uint8_t bytes[ID_BYTES];
    size_t n = 0;

    random_bytes(bytes, sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < ID_BYTES; i++) {
        n += (size_t)snprintf(out + n, 2 * ID_BYTES + 5 - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    }
}

static int read_text(const char *path, struct strbuf *out, struct error *err)
{
    return fs_read_file(strcmp(path, "-") == 0 ? "/dev/stdin" : path, DATA_MAX, out, err);
}

static bool is_json(struct slice text)
{
    CLEANUP(jfree) json_t *value = NULL;
    return jparse(text, DATA_MAX, &value, NULL) == 0;
}

static int set(struct event *ev, const char *name, const char *value, struct error *err)
{
    return value ? event_set(ev, slice_str(name), slice_str(value), err) : 0;
}

static int set_extensions(struct event *ev, const struct cli_words *words, struct error *err)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < words->count; i++) {
        struct slice word = slice_str(words->items[i]);
        ptrdiff_t equals = slice_find(word, '=');
        struct slice name = slice_sub(word, 0, equals < 0 ? 0 : (size_t)equals);
        if (equals <= 0 || event_attr_id(name) != EVENT_EXTENSION) {
            return error_set(
                err, ERR_INVALID,
                "--extension %s: must be NAME=VALUE of an attribute that has no option "
                "of its own",
                words->items[i]);
        }
        rc = event_set(ev, name, slice_sub(word, (size_t)equals + 1, word.len - (size_t)equals - 1),
                       err);
    }
    return rc;
}

/* data must outlive the event. */
static int make_event(const struct event_options *o, struct letter *letter, struct strbuf *data,
                      struct event *ev, struct error *err)
{
    char id[2 * ID_BYTES + 5], now[CLOCK_RFC3339_MAX];
    const char *text = o->data, *type = o->content_type;
    int rc = 0;

    random_id(id);
    snprintf(letter->id, sizeof letter->id, "%s", o->id ? o->id : id);
    if (text) {
        rc = text[0] == '@' ? read_text(text + 1, data, err) : strbuf_append_str(data, text);
        type = type ? type : is_json(strbuf_slice(data)) ? "application/json" : "text/plain";
        ev->data = strbuf_slice(data);
    }
    rc = rc ? rc : set(ev, "specversion", "1.0", err);
    rc = rc ? rc : set(ev, "id", o->id ? o->id : id, err);
    rc = rc ? rc : set(ev, "source", o->source, err);
    rc = rc ? rc : set(ev, "type", o->type, err);
    rc = rc ? rc : set(ev, "subject", o->subject, err);
    rc = rc ? rc : set(ev, "time", clock_format_rfc3339(clock_wall_ns(), 3, now, sizeof now), err);
    rc = rc ? rc : set(ev, "datacontenttype", type, err);
    rc = rc ? rc : set_extensions(ev, &o->extensions, err);
    return rc ? rc : event_check(ev, err);
}

static int letter_of_options(const struct event_options *o, struct letter *letter,
                             struct error *err)
{
    CLEANUP(event_fini) struct event ev;
    CLEANUP(strbuf_fini) struct strbuf data;

    event_init(&ev);
    strbuf_init(&data, DATA_MAX + 1);
    int rc = make_event(o, letter, &data, &ev, err);
    letter->count = 1;
    letter->content_type = EVENT_TYPE_STRUCTURED;
    return rc ? rc : event_http_structured(&ev, &letter->body, err);
}

// An event on each of several lines (as jq -c writes them) becomes an array; false: it is none.
static bool lines_to_array(struct strbuf *text)
{
    struct slice rest = strbuf_slice(text), line;
    CLEANUP(strbuf_fini) struct strbuf array;
    size_t count = 0;

    strbuf_init(&array, EVENT_TEXT_MAX);
    while (slice_split(&rest, '\n', &line)) {
        CLEANUP(jfree) json_t *event = NULL;
        line = slice_trim(line);
        if (line.len == 0) {
            continue;
        }
        if (jparse_object(line, DATA_MAX, &event, NULL) < 0) {
            return false;
        }
        strbuf_append_str(&array, count++ == 0 ? "[" : ",");
        strbuf_append_slice(&array, line);
    }
    strbuf_append_str(&array, "]");
    if (count < 2 || !strbuf_ok(&array)) {
        return false;
    }
    strbuf_clear(text);
    return strbuf_append_slice(text, strbuf_slice(&array)) == 0;
}

static int letter_of_file(const struct event_options *o, struct letter *letter, struct error *err)
{
    CLEANUP(jfree) json_t *root = NULL;

    int rc = read_text(o->file, &letter->body, err);
    bool lines = rc == 0 && lines_to_array(&letter->body);
    rc = rc ? rc : jparse(strbuf_slice(&letter->body), DATA_MAX, &root, err);
    if (rc == 0 && !json_is_object(root) && !json_is_array(root)) {
        rc = error_set(err, ERR_INVALID, "must be an event or an array of events, is %s",
                       jtype_name(root));
    }
    if (rc < 0) {
        return error_prefix(err, rc, "%s%s", o->file, lines ? ", its lines as an array" : "");
    }
    letter->count = json_is_array(root) ? json_array_size(root) : 1;
    letter->content_type = json_is_array(root) ? EVENT_TYPE_BATCH : EVENT_TYPE_STRUCTURED;
    snprintf(letter->id, sizeof letter->id, "%s", jpeek_cstr(root, "id"));
    return 0;
}

/* ---- sending ---- */

struct answer {
    bool done;
    int status, rc;
    struct strbuf body;
    struct error err;
};

static void on_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct answer *a = arg;

    a->done = true;
    a->status = result->status;
    struct slice body = result->body;
    while (body.len > 0 && strchr(" \t\r\n", body.ptr[body.len - 1])) {
        body.len--;
    }
    (void)strbuf_append_slice(&a->body, body);
    a->rc = err ? error_copy(&a->err, err) : 0;
}

static int post(struct cli *cli, const struct event_options *o, const char *url,
                const struct letter *letter, struct answer *a, struct error *err)
{
    struct fetch *f = NULL;
    CLEANUP(cleanup_free) char *type = xasprintf("Content-Type: %s", letter->content_type);
    const char *headers[] = {type, NULL};
    struct fetch_spec spec = {.method = "POST",
                              .url = url,
                              .headers = headers,
                              .body = strbuf_slice(&letter->body),
                              .timeout_ms = (uint64_t)o->timeout_s * 1000,
                              .max_body = 1 << 20,
                              .on_done = on_done,
                              .arg = a};

    int rc = fetch_new(&cli->loop, &(struct fetch_options){0}, &f, err);
    rc = rc ? rc : fetch_start(f, &spec, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void)cli_run_until(cli, &a->done, spec.timeout_ms + 1000);
    if (!a->done) {
        return error_set(err, ERR_TIMEOUT, "no answer in %lld s", (long long)o->timeout_s);
    }
    fetch_close(f, NULL, NULL);
    return a->rc ? error_copy(err, &a->err) : 0;
}

static int tell(const struct event_options *o, const struct letter *letter, const struct answer *a)
{
    bool taken = a->status >= 200 && a->status < 300;

    if (o->common.output == CLI_JSON) {
        json_t *said = json_stringn(a->body.ptr, a->body.len);
        json_t *answer =
            json_pack("{s:s, s:I, s:i, s:o}", "id", letter->id, "events", (json_int_t)letter->count,
                      "status", a->status, "answer", said ? said : json_string("(not text)"));
        cli_print_json(answer);
        json_decref(answer);
    } else if (taken && letter->count == 1) {
        printf("%s accepted by broker %s (HTTP %d)\n", letter->id, o->broker, a->status);
    } else if (taken) {
        printf("%zu events accepted by broker %s (HTTP %d)\n", letter->count, o->broker, a->status);
    } else {
        (void)cli_failf("broker %s answered HTTP %d%s%.*s%s", o->broker, a->status,
                        a->body.len > 0 ? ": " : "", SLICE_FMT(strbuf_slice(&a->body)),
                        a->status == 429 || a->status == 503 ? "; it was not taken, send it again"
                                                             : "");
    }
    return taken ? 0 : 1;
}

// The address of the Broker as it is now. ERR_UNAVAILABLE: it may come; ERR_INVALID: not by
// waiting.
static int address(struct cli *cli, const struct event_options *o, json_t **out, struct error *err)
{
    int rc = cli_get(cli, KIND_BROKER, o->broker, out, err);
    const char *class = jpeek_cstr(*out, "metadata.annotations.`" ANNOTATION_BROKER_CLASS "`");
    const json_t *ready = cli_condition(*out, "Ready");

    if (rc < 0 || jpeek_cstr(*out, "status.address.url")[0]) {
        return rc;
    }
    if (class[0] && strcmp(class, BROKER_CLASS) != 0) {
        return error_set(err, ERR_INVALID,
                         "broker %s has no address: its class is %s, which Lull leaves to others",
                         o->broker, class);
    }
    return error_set(err, cli_ready(*out) < 0 ? ERR_INVALID : ERR_UNAVAILABLE,
                     "broker %s has no address yet: %s", o->broker,
                     ready ? jpeek_cstr(ready, "message") : "nobody has looked at it");
}

/*
 * One try. ERR_UNAVAILABLE: it was not taken, and may be if it is sent again; ERR_INVALID: its
 * Broker is not ready for a reason that stays.
 */
static int send_once(struct cli *cli, const struct event_options *o, const struct letter *letter,
                     struct answer *a, struct error *err)
{
    CLEANUP(jfree) json_t *broker = NULL;

    a->done = false;
    a->rc = 0;
    strbuf_clear(&a->body);
    int rc = address(cli, o, &broker, err);
    rc = rc ? rc : post(cli, o, jpeek_cstr(broker, "status.address.url"), letter, a, err);
    if (rc == ERR_REFUSED && cli_ready(broker) < 0) {
        return error_set(err, ERR_INVALID, "broker %s is not ready: %s", o->broker,
                         jpeek_cstr(cli_condition(broker, "Ready"), "message"));
    }
    if (rc == ERR_REFUSED) {
        return error_prefix(err, ERR_UNAVAILABLE, "broker %s does not answer", o->broker);
    }
    return rc == 0 && a->status == 503
               ? error_set(err, ERR_UNAVAILABLE, "broker %s answered HTTP 503: %.*s", o->broker,
                           SLICE_FMT(strbuf_slice(&a->body)))
               : rc;
}

// Again until the time is over; the ids stay, so that whoever gets one twice knows it.
static int send_letter(struct cli *cli, const struct event_options *o, struct letter *letter,
                       struct answer *a, struct error *err)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + (uint64_t)o->timeout_s * 1000;
    bool told = false;

    int rc = o->file ? letter_of_file(o, letter, err) : letter_of_options(o, letter, err);
    rc = rc ? rc : cli_connect(cli, &o->common, err);
    while (rc == 0 && (rc = send_once(cli, o, letter, a, err)) == ERR_UNAVAILABLE &&
           loop_now_fresh_ns(&cli->loop) / 1000000 + AGAIN_MS < end) {
        if (!told) {
            fprintf(stderr, "lull: %s; trying again\n", err->msg);
            told = true;
        }
        cli_pause(cli, AGAIN_MS);
        rc = 0;
    }
    return rc == ERR_UNAVAILABLE && a->status == 503 && a->rc == 0 ? 0 : rc;
}

static int send_command(struct cli *cli, const struct event_options *o)
{
    struct letter letter = {0};
    struct answer answer = {0};
    struct error err;

    strbuf_init(&letter.body, EVENT_TEXT_MAX);
    strbuf_init(&answer.body, 1 << 20);
    int rc = send_letter(cli, o, &letter, &answer, &err);
    int status = rc < 0 ? cli_fail(&err) : tell(o, &letter, &answer);
    strbuf_fini(&letter.body);
    strbuf_fini(&answer.body);
    return status;
}

static const struct cli_verb VERBS[] = {
    {"send", 0, 0, NULL}, {"tail", 0, 0, NULL}, {"replay", 0, 0, NULL}, {NULL, 0, 0, NULL}};

// 0, or the exit status.
static int check_options(const struct event_options *o, const char *verb)
{
    bool send = strcmp(verb, "send") == 0, replay = strcmp(verb, "replay") == 0;

    return send && !o->type && !o->file ? cli_verb_needs(&TABLE, verb, "--type (or --file)")
           : send && o->type && o->file
               ? cli_usage("lull event send: --type and --file: one of both")
           : replay && !o->trigger ? cli_verb_needs(&TABLE, verb, "--trigger")
           : replay && !o->since   ? cli_verb_needs(&TABLE, verb, "--since")
                                   : 0;
}

int cmd_event(struct cli *cli, int argc, char **argv)
{
    struct event_options o = {0};
    struct error err;

    if (cli_repeated(&argc, argv, "extension", 0, &o.extensions) ||
        filter_args_take(&o.filters, &argc, argv) != 0) {
        return 2;
    }
    int count = cli_parse(&TABLE, argc, argv, &o);
    const struct cli_verb *row = cli_verb_find(&TABLE, VERBS, argv + 1, count);
    const char *verb = row ? row->name : "";
    o.filters.cesql = o.cesql;
    if (!row || check_options(&o, verb) != 0) {
        return 2;
    }
    bool replay = strcmp(verb, "replay") == 0;
    if (o.broker == NULL && !replay) {
        o.broker = xstrdup("default");
    }
    int status = 0;
    if (strcmp(verb, "send") == 0) {
        status = send_command(cli, &o);
    } else {
        int rc = cli_connect(cli, &o.common, &err);
        rc = rc ? rc : replay ? event_replay(cli, &o, &err) : event_tail(cli, &o, &err);
        status = rc < 0 ? cli_fail(&err) : 0;
    }
    options_fini(&TABLE, &o);
    return status;
}
