// SPDX-License-Identifier: Apache-2.0
//
// lull logs NAME [--follow]: the output of the function's replicas, through the API's Pod logs.
// With several replicas, and when following, each line begins with its Pod. Following goes on with
// the replicas that come, from none as well, and with those that are started again, until it is
// interrupted.
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "cli/cli.h"

#define LINE_MAX_BYTES (1u << 20)
#define FOLLOW_POLL_MS 300 // how soon another replica is noticed

struct logs {
    struct cli_common common;
    bool follow, previous, timestamps;
    int64_t tail;
    uint64_t since_ms;
};
static const struct option_row ROWS[] = {
    CLI_COMMON_ROWS(struct logs),
    OPTION(struct logs, follow, BOOL, NULL, "follow", "false",
           .help = "go on as new lines come; -f for short"),
    OPTION(struct logs, tail, INT, NULL, "tail", "-1", .min = -1, .max = 1000000,
           .help = "only the last lines of each replica; -1: all"),
    OPTION(struct logs, since_ms, DURATION_MS, NULL, "since", "0s", .min = 0,
           .max = 100LL * 365 * 86400 * 1000, .help = "only lines that are not older; 0s: all"),
    OPTION(struct logs, timestamps, BOOL, NULL, "timestamps", "false",
           .help = "begin each line with its time"),
    OPTION(struct logs, previous, BOOL, NULL, "previous", "false",
           .help = "of the run before the last restart; -p for short"),
};
static const struct option_table TABLE = {.program = "lull logs",
                                          .summary = "prints what a function's replicas wrote",
                                          .arguments = "NAME",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

struct stream {
    struct list node;
    struct strbuf line; // not printed yet
    char *pod;
    char *container;
    char *started; // when the run of its function began; "": it does not run
    bool prefix, json, timestamps;
    bool done;
    int rc;
    struct error err;
};

static void line_json(const struct stream *s, size_t len)
{
    struct slice text = slice_of(s->line.ptr, len), time = SLICE_EMPTY;
    ptrdiff_t space = s->timestamps ? slice_find(text, ' ') : -1;
    if (space > 0) {
        time = slice_sub(text, 0, (size_t)space);
        text = slice_sub(text, (size_t)space + 1, text.len);
    }
    json_t *line = json_pack("{s:s, s:o}", "pod", s->pod, "line", jstring_lossy(text));
    if (time.len > 0) {
        REQUIRE(json_object_set_new(line, "time", jstring_lossy(time)) == 0);
    }
    CLEANUP(cleanup_free) char *printed = jdump_str(line);

    puts(printed);
    json_decref(line);
}

// Whole lines only, so that replicas' lines do not mix. Terminal control codes of a function stay
// out of a terminal's reach: what is not printable becomes '?'.
static void line_print(struct stream *s, size_t len)
{
    if (s->json) {
        line_json(s, len);
        return;
    }
    if (s->prefix) {
        printf("%s ", s->pod);
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s->line.ptr[i];
        putchar(c < 0x20 && c != '\t' ? '?' : c == 0x7f ? '?' : c);
    }
    putchar('\n');
}

static void on_data(void *arg, struct slice data)
{
    struct stream *s = arg;
    char *end;

    if (strbuf_append_slice(&s->line, data) < 0) {
        line_print(s, s->line.len);
        strbuf_clear(&s->line);
        (void)!strbuf_append_slice(&s->line, data); // one piece is far smaller than the bound
    }
    while ((end = memchr(s->line.ptr, '\n', s->line.len)) != NULL) {
        size_t len = (size_t)(end - s->line.ptr);
        line_print(s, len);
        strbuf_consume(&s->line, len + 1);
    }
    fflush(stdout);
}

static void on_done(void *arg, const struct error *err)
{
    struct stream *s = arg;

    if (s->line.len > 0) {
        line_print(s, s->line.len);
    }
    fflush(stdout);
    if (err) {
        s->rc = error_copy(&s->err, err);
    }
    s->done = true;
}

// The container whose output is meant: the one that the Pod names, as kubectl takes it.
static const char *container_of(const json_t *pod)
{
    const char *name =
        jpeek_cstr(pod, "metadata.annotations.`kubectl.kubernetes.io/default-container`");
    return name[0] != '\0' ? name : USER_CONTAINER_NAME;
}

// Since when a Pod's function runs, as the API says it; "": it does not.
static const char *running_since(const json_t *pod)
{
    const json_t *c =
        jpeek_row(pod, "status.containerStatuses", "name", slice_str(container_of(pod)));
    return jpeek_cstr(c, "state.running.startedAt");
}

static int stream_start(struct cli *cli, const struct logs *o, struct stream *s, bool later,
                        struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;

    strbuf_init(&path, 4096);
    (void)strbuf_appendf(&path, "/api/v1/namespaces/%s/pods/%s/log?container=%s%s%s%s", cli->ns,
                         s->pod, s->container, o->follow ? "&follow=true" : "",
                         o->previous ? "&previous=true" : "",
                         o->timestamps ? "&timestamps=true" : "");
    if (o->tail >= 0 && !later) {
        (void)strbuf_appendf(&path, "&tailLines=%lld", (long long)o->tail);
    }
    if (o->since_ms > 0 && !later) {
        (void)strbuf_appendf(&path, "&sinceSeconds=%llu",
                             (unsigned long long)(o->since_ms + 999) / 1000);
    }
    struct kube_stream_spec spec = {.path = path.ptr,
                                    .timeout_ms = o->follow ? 0 : 30000,
                                    .on_data = on_data,
                                    .on_done = on_done,
                                    .arg = s};
    return kube_stream(cli->client, &spec, NULL, err);
}

static struct stream *stream_find(struct list *streams, const char *pod)
{
    list_foreach (node, streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, node);
        if (strcmp(s->pod, pod) == 0) {
            return s;
        }
    }
    return NULL;
}

static void stream_drop(struct stream *s)
{
    list_remove(&s->node);
    strbuf_fini(&s->line);
    free(s->pod);
    free(s->container);
    free(s->started);
    free(s);
}

// The log of a run that has ended was given; its replica runs again since.
static bool is_run_again(const struct stream *s, const json_t *pod)
{
    const char *since = running_since(pod);
    return s->done && s->rc == 0 && since[0] != '\0' && strcmp(since, s->started) != 0;
}

// A stream for each Pod that has none. `later`: it has come since we began.
static int streams_add(struct cli *cli, const struct logs *o, const json_t *items,
                       struct list *streams, bool later, struct error *err)
{
    size_t i;
    json_t *pod;
    int rc = 0;
    json_array_foreach(items, i, pod)
    {
        const char *name = jpeek_cstr(pod, "metadata.name");
        struct stream *old = stream_find(streams, name);
        if (old != NULL && is_run_again(old, pod)) {
            stream_drop(old);
            old = NULL;
        }
        if (rc < 0 || old != NULL) {
            continue;
        }
        struct stream *s = NEW(struct stream);
        s->pod = xstrdup(name);
        s->container = xstrdup(container_of(pod));
        s->started = xstrdup(running_since(pod));
        s->prefix = o->follow || json_array_size(items) > 1;
        s->json = o->common.output == CLI_JSON;
        s->timestamps = o->timestamps;
        strbuf_init(&s->line, LINE_MAX_BYTES);
        list_push_back(streams, &s->node);
        rc = stream_start(cli, o, s, later, err);
    }
    return rc;
}

// How many still run. A Pod that has gone or had no log yet (Kubernetes' 400) is asked again
// when `again`; another failure of a stream fails all.
static size_t streams_look(struct list *streams, bool again, int *out_rc, struct error *err)
{
    size_t open = 0;

    list_foreach_safe (node, streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, node);
        if (!s->done) {
            open++;
        } else if ((s->rc == ERR_NOT_FOUND || s->rc == ERR_INVALID) && again) {
            stream_drop(s);
        } else if (s->rc < 0) {
            *out_rc = error_copy(err, &s->err);
        }
    }
    return open;
}

static int print_all(struct cli *cli, const struct logs *o, const json_t *items, struct error *err)
{
    struct list streams;
    int rc;

    list_init(&streams);
    rc = streams_add(cli, o, items, &streams, false, err);
    while (rc == 0 && streams_look(&streams, false, &rc, err) > 0) {
        loop_turn(&cli->loop, true);
    }
    list_foreach_safe (node, &streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, node);
        if (s->done) {
            stream_drop(s);
        }
    }
    return rc;
}

// Until it is interrupted, or nobody reads any more: replicas come and go.
static int follow(struct cli *cli, const struct logs *o, const char *labels, struct error *err)
{
    struct list streams;
    int rc = 0;

    list_init(&streams);
    for (bool later = false; rc == 0 && !ferror(stdout); later = true) {
        json_t *pods = NULL;
        rc = cli_list(cli, KIND_POD, labels, &pods, err);
        rc = rc ? rc : streams_add(cli, o, jpeek_arr(pods, "items"), &streams, later, err);
        json_decref(pods);
        cli_pause(cli, FOLLOW_POLL_MS);
        (void)streams_look(&streams, true, &rc, err);
    }
    return rc; // the process ends: what still streams needs no closing
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    struct logs o = {0};
    struct error err;
    json_t *service = NULL, *pods = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull logs NAME [--follow] [--tail N] [--since TIME] "
                         "[--timestamps] [--previous]");
    }
    if (o.follow && o.previous) {
        return cli_usage("lull logs: a run that has ended cannot be followed: --follow or "
                         "--previous");
    }
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", argv[1]);
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
    if (rc == 0 && o.follow) {
        rc = follow(cli, &o, labels, &err);
        return rc < 0 ? cli_fail(&err) : 0;
    }
    rc = rc ? rc : cli_list(cli, KIND_POD, labels, &pods, &err);
    json_t *items = jpeek_arr(pods, "items");
    if (rc == 0 && json_array_size(items) == 0) {
        fprintf(stderr, "lull: %s has no replica now; its log goes with its replicas\n", argv[1]);
    } else if (rc == 0) {
        rc = print_all(cli, &o, items, &err);
    }
    json_decref(service);
    json_decref(pods);
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
