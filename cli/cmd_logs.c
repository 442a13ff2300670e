// SPDX-License-Identifier: Apache-2.0
//
// lull logs NAME [--follow]: the output of the function's replicas, through the API's Pod logs.
// With several replicas each line begins with its Pod. Following ends with the last replica that
// was there.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"

#define LINE_MAX_BYTES (1u << 20)

struct logs {
    struct cli_common common;
    bool follow;
    int64_t tail;
};
static const struct option_row ROWS[] = {
    CLI_COMMON_ROWS(struct logs),
    OPTION(struct logs, follow, BOOL, NULL, "follow", "false", .help = "go on as new lines come"),
    OPTION(struct logs, tail, INT, NULL, "tail", "-1", .min = -1, .max = 1000000,
           .help = "only the last lines of each replica; -1: all"),
};
static const struct option_table TABLE = {.program = "lull logs",
                                          .summary = "prints what a function's replicas wrote",
                                          .arguments = "NAME",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

struct stream {
    struct strbuf line; // not printed yet
    const char *pod;    // NULL: no prefix
    size_t *open;
    bool *all_done;
    int rc;
    struct error err;
};

// Whole lines only, so that replicas' lines do not mix. Terminal control codes of a function stay
// out of a terminal's reach: what is not printable becomes '?'.
static void line_print(struct stream *s, size_t len)
{
    if (s->pod) {
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
        return;
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
    if (err) {
        s->rc = error_copy(&s->err, err);
    }
    *s->all_done = --*s->open == 0;
}

static int stream_start(struct cli *cli, const struct logs *o, struct stream *s, const char *pod,
                        struct error *err)
{
    char tail[48] = "";

    if (o->tail >= 0) {
        snprintf(tail, sizeof tail, "&tailLines=%lld", (long long)o->tail);
    }
    CLEANUP(cleanup_free)
    char *path = xasprintf("/api/v1/namespaces/%s/pods/%s/log?container=%s%s%s", cli->ns, pod,
                           USER_CONTAINER_NAME, o->follow ? "&follow=true" : "", tail);
    struct kube_stream_spec spec = {.path = path,
                                    .timeout_ms = o->follow ? 0 : 30000,
                                    .on_data = on_data,
                                    .on_done = on_done,
                                    .arg = s};
    return kube_stream(cli->client, &spec, NULL, err);
}

static int print_all(struct cli *cli, const struct logs *o, const json_t *items, struct error *err)
{
    size_t count = json_array_size(items), open = 0;
    bool all_done = false;
    int rc = 0;
    struct stream *streams = xcalloc(count, sizeof *streams);

    for (size_t i = 0; i < count; i++) {
        const char *pod = jpeek_cstr(json_array_get(items, i), "metadata.name");
        streams[i] =
            (struct stream){.pod = count > 1 ? pod : NULL, .open = &open, .all_done = &all_done};
        strbuf_init(&streams[i].line, LINE_MAX_BYTES);
        rc = rc ? rc : stream_start(cli, o, &streams[i], pod, err);
        open += rc == 0;
    }
    while (rc == 0 && !all_done) {
        loop_turn(&cli->loop, true);
    }
    for (size_t i = 0; i < count; i++) {
        if (rc == 0 && streams[i].rc < 0) {
            rc = error_copy(err, &streams[i].err);
        }
        strbuf_fini(&streams[i].line);
    }
    free(streams);
    return rc;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    struct logs o = {0};
    struct error err;
    json_t *service = NULL, *pods = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull logs NAME [--follow] [--tail N]");
    }
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", argv[1]);
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
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
