// SPDX-License-Identifier: Apache-2.0
//
// Happy path: the pods are found by their label, and the first that runs is asked through the API
// server. Failure modes: no right to list or to use the proxy, nothing that runs, no answer: the
// last one's error.
#include "cli/part_ask.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "fetch/fetch.h"
#include "cli/install_set.h"

#define ASK_TIMEOUT_MS 5000
#define ANSWER_MAX     (16u << 20)
#define IDLE_MS        30000

bool part_is_here(const struct cli *cli)
{
    CLEANUP(cleanup_free) char *own = fs_join(cli->home, "kubeconfig");
    CLEANUP(cleanup_free) char *real_own = realpath(own, NULL);
    CLEANUP(cleanup_free) char *real = cli->config == NULL ? NULL : realpath(cli->config, NULL);
    return real_own != NULL && real != NULL && strcmp(real, real_own) == 0;
}

struct get {
    struct strbuf body;
    bool done;
    int rc;
    struct error *err;
};

static void on_data(void *arg, struct slice data)
{
    struct get *g = arg;
    (void)!strbuf_append_slice(&g->body, data); // said at the end
}

static void on_done(void *arg, const struct error *err)
{
    struct get *g = arg;
    g->done = true;
    if (err != NULL) {
        g->rc = error_copy(g->err, err);
    } else if (!strbuf_ok(&g->body)) {
        g->rc = error_set(g->err, ERR_TOO_BIG, "the answer is too long");
    }
}

static int call(struct cli *cli, const char *method, const char *path, char **out,
                struct error *err)
{
    struct get g = {.err = err};
    struct kube_stream_spec spec = {.method = method,
                                    .path = path,
                                    .accept = "*/*",
                                    .timeout_ms = ASK_TIMEOUT_MS,
                                    .on_data = on_data,
                                    .on_done = on_done,
                                    .arg = &g};
    strbuf_init(&g.body, ANSWER_MAX);
    int rc = kube_stream(cli->client, &spec, NULL, err);
    while (rc == 0 && !g.done) {
        loop_turn(&cli->loop, true);
    }
    rc = rc < 0 ? rc : g.rc;
    if (rc == 0) {
        *out = strbuf_take(&g.body, NULL);
    }
    strbuf_fini(&g.body);
    return rc;
}

int part_get(struct cli *cli, const char *path, char **out, struct error *err)
{
    return call(cli, "GET", path, out, err);
}

int part_pods(struct cli *cli, const char *part, json_t **out, struct error *err)
{
    CLEANUP(cleanup_free) char *label = xasprintf("app=lull-%s", part == NULL ? "" : part);
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_POD)),
        .ns = INSTALL_NAMESPACE,
        .label_selector = part == NULL ? "app.kubernetes.io/part-of=lull" : label,
    };
    return cli_call(cli, kube_list, &call, out, err);
}

char *part_pod_path(const json_t *pod, const char *path)
{
    return xasprintf("/api/v1/namespaces/%s/pods/%s:9090/proxy%s",
                     jpeek_cstr(pod, "metadata.namespace"), jpeek_cstr(pod, "metadata.name"), path);
}

static int call_pod(struct cli *cli, const char *method, const json_t *pod, const char *path,
                    char **out, struct error *err)
{
    CLEANUP(cleanup_free) char *full = part_pod_path(pod, path);
    return call(cli, method, full, out, err);
}

int part_ask_pod(struct cli *cli, const json_t *pod, const char *path, char **out,
                 struct error *err)
{
    return call_pod(cli, "GET", pod, path, out, err);
}

int part_call(struct cli *cli, const char *method, const char *part, const char *path, char **out,
              struct error *err)
{
    CLEANUP(jfree) json_t *pods = NULL;
    size_t i;
    json_t *pod;
    if (part_is_here(cli)) {
        return cli_admin_call(cli, method, part, path, out, err);
    }
    int rc = part_pods(cli, part, &pods, err);
    if (rc < 0) {
        return rc;
    }
    rc = error_set(err, ERR_NOT_FOUND, "no pod of lull-%s runs in namespace %s", part,
                   INSTALL_NAMESPACE);
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        if (rc < 0 && slice_eq_str(jpeek_str(pod, "status.phase"), "Running")) {
            rc = call_pod(cli, method, pod, path, out, err);
        }
    }
    return rc;
}

int part_ask(struct cli *cli, const char *part, const char *path, char **out, struct error *err)
{
    return part_call(cli, "GET", part, path, out, err);
}

// ---- an answer that goes on

struct flow {
    const char *part;
    part_data_cb on_data;
    void *arg;
    struct kube_request *call;     // on a cluster; NULL: over
    struct fetch_request *request; // here; likewise
    bool stop, done;
    int rc;
    struct error *err;
};

static void on_flow(void *arg, struct slice data)
{
    struct flow *f = arg;
    f->stop = f->stop || !f->on_data(f->arg, data);
}

static void on_flow_done(void *arg, const struct error *err)
{
    struct flow *f = arg;
    f->done = true;
    f->rc = err != NULL && !f->stop ? error_copy(f->err, err) : 0;
}

static void on_here_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    const struct flow *f = arg;
    struct error said = {0};
    if (err == NULL && result->status != 200) {
        (void)cli_refused(f->part, result->status, result->body, &said);
        err = &said;
    } else if (err != NULL) {
        (void)error_copy(&said, err);
        (void)error_prefix(&said, (int)said.code, "asking lull-%s", f->part);
        err = &said;
    }
    on_flow_done(arg, err);
}

static int stream_here(struct cli *cli, const char *part, const char *path, struct flow *f,
                       struct error *err)
{
    struct fetch *fetch = NULL;
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/%s.admin.sock", cli->home, part);
    CLEANUP(cleanup_free) char *url = xasprintf("http://lull%s", path);
    struct fetch_spec spec = {.method = "GET",
                              .url = url,
                              .idle_ms = IDLE_MS,
                              .on_data = on_flow,
                              .on_done = on_here_done,
                              .arg = f};
    int rc = fetch_new(&cli->loop, &(struct fetch_options){.unix_socket = socket}, &fetch, err);
    rc = rc ? rc : fetch_start(fetch, &spec, &f->request, err);
    while (rc == 0 && !f->done) {
        loop_turn(&cli->loop, true);
        if (f->stop && !f->done) {
            fetch_cancel(f->request);
        }
    }
    if (fetch != NULL) {
        fetch_close(fetch, NULL, NULL);
    }
    return rc ? rc : f->rc;
}

static int stream_pod(struct cli *cli, const json_t *pod, const char *path, struct flow *f,
                      struct error *err)
{
    CLEANUP(cleanup_free) char *full = part_pod_path(pod, path);
    struct kube_stream_spec spec = {.path = full,
                                    .accept = "*/*",
                                    .idle_ms = IDLE_MS,
                                    .on_data = on_flow,
                                    .on_done = on_flow_done,
                                    .arg = f};
    int rc = kube_stream(cli->client, &spec, &f->call, err);
    while (rc == 0 && !f->done) {
        loop_turn(&cli->loop, true);
        if (f->stop && !f->done) {
            kube_cancel(f->call);
        }
    }
    return rc ? rc : f->rc;
}

int part_stream(struct cli *cli, const char *part, const char *path, part_data_cb take, void *arg,
                struct error *err)
{
    CLEANUP(jfree) json_t *pods = NULL;
    size_t i;
    json_t *pod;
    struct flow f = {.part = part, .on_data = take, .arg = arg, .err = err};
    if (part_is_here(cli)) {
        return stream_here(cli, part, path, &f, err);
    }
    int rc = part_pods(cli, part, &pods, err);
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        if (slice_eq_str(jpeek_str(pod, "status.phase"), "Running")) {
            return stream_pod(cli, pod, path, &f, err);
        }
    }
    return rc < 0 ? rc
                  : error_set(err, ERR_NOT_FOUND, "no pod of lull-%s runs in namespace %s", part,
                              INSTALL_NAMESPACE);
}
