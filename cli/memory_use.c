// SPDX-License-Identifier: Apache-2.0
//
// Happy path here: every process that has LULL_REPLICA in its environment counts for the Pod of
// that replica. On a cluster: metrics.k8s.io, and where that is not served the summaries of the
// nodes that have such Pods, at most NODES_MAX of them. Failure modes: a process that ends while it
// is read counts nothing; neither source answers: the second one's error.
#include "cli/memory_use.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "serving/quantity.h"
#include "cli/part_ask.h"

#define ENVIRON_MAX (1u << 20)
#define SUMMARY_MAX (64u << 20)
#define NODES_MAX   50

static void count(json_t *used, const char *ns, const char *pod, double bytes)
{
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", ns, pod);
    double before = json_number_value(json_object_get(used, key));
    json_object_set_new(used, key, json_real(before + bytes));
}

// ---- this machine

// The replica that a process belongs to; false: none.
static bool replica_of(const char *pid, char out[static 128])
{
    static const char NAME[] = "LULL_REPLICA=";
    CLEANUP(cleanup_free) char *path = xasprintf("/proc/%s/environ", pid);
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    strbuf_init(&text, ENVIRON_MAX);
    if (fs_read_file(path, ENVIRON_MAX, &text, &err) < 0) {
        return false;
    }
    struct slice rest = strbuf_slice(&text), one;
    while (slice_split(&rest, '\0', &one)) {
        if (slice_starts_with(one, slice_str(NAME))) {
            slice_copy(slice_sub(one, sizeof NAME - 1, one.len), out, 128);
            return true;
        }
    }
    return false;
}

static double resident(const char *pid)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/proc/%s/statm", pid);
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    struct slice rest, one;
    int64_t pages = 0;
    strbuf_init(&text, 4096);
    if (fs_read_file(path, 4096, &text, &err) < 0) {
        return 0;
    }
    rest = strbuf_slice(&text);
    if (!slice_split(&rest, ' ', &one) || !slice_split(&rest, ' ', &one) ||
        num_parse_i64(one, 0, INT64_MAX, &pages, NULL) < 0) {
        return 0;
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int of_processes(const json_t *pods, json_t *used, struct error *err)
{
    CLEANUP(jfree) json_t *pod_of = json_object();
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    size_t i;
    json_t *pod;
    if (proc == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no /proc");
    }
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const char *id = jpeek_cstr(pod, "metadata.annotations.`lull.dev/replica-id`");
        if (id[0] != '\0') {
            json_object_set(pod_of, id, pod);
        }
    }
    while ((entry = readdir(proc)) != NULL) {
        char id[128];
        const json_t *of = NULL;
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && replica_of(entry->d_name, id)) {
            of = json_object_get(pod_of, id);
        }
        if (of != NULL) {
            count(used, jpeek_cstr(of, "metadata.namespace"), jpeek_cstr(of, "metadata.name"),
                  resident(entry->d_name));
        }
    }
    closedir(proc);
    return 0;
}

// ---- a cluster

static double bytes_of(const char *text)
{
    struct quantity q;
    return quantity_parse(slice_str(text), &q) ? (double)q.nano / 1e9 : 0;
}

static int of_metrics_server(struct cli *cli, const char *ns, json_t *used, struct error *err)
{
    CLEANUP(jfree) json_t *list = NULL;
    struct kube_call call = {
        .kind = {"metrics.k8s.io", "v1beta1", "pods"}, .ns = ns, .label_selector = LABEL_REVISION};
    size_t i, k;
    json_t *pod, *container;
    int rc = cli_call(cli, kube_list, &call, &list, err);
    if (rc < 0) {
        return rc;
    }
    json_array_foreach(jpeek_arr(list, "items"), i, pod)
    {
        json_array_foreach(jpeek_arr(pod, "containers"), k, container)
        {
            if (!slice_eq_str(jpeek_str(container, "name"), QUEUE_CONTAINER_NAME)) {
                count(used, jpeek_cstr(pod, "metadata.namespace"), jpeek_cstr(pod, "metadata.name"),
                      bytes_of(jpeek_cstr(container, "usage.memory")));
            }
        }
    }
    return 0;
}

static int of_node(struct cli *cli, const char *node, json_t *used, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/api/v1/nodes/%s/proxy/stats/summary", node);
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(jfree) json_t *summary = NULL;
    size_t i, k;
    json_t *pod, *container;
    int rc = part_get(cli, path, &body, err);
    rc = rc ? rc : jparse_object(slice_str(body), SUMMARY_MAX, &summary, err);
    if (rc < 0) {
        return rc;
    }
    json_array_foreach(jpeek_arr(summary, "pods"), i, pod)
    {
        json_array_foreach(jpeek_arr(pod, "containers"), k, container)
        {
            if (!slice_eq_str(jpeek_str(container, "name"), QUEUE_CONTAINER_NAME)) {
                count(used, jpeek_cstr(pod, "podRef.namespace"), jpeek_cstr(pod, "podRef.name"),
                      (double)jpeek_i64(container, "memory.workingSetBytes"));
            }
        }
    }
    return 0;
}

static int of_kubelets(struct cli *cli, const json_t *pods, json_t *used, struct error *err)
{
    CLEANUP(jfree) json_t *nodes = json_object();
    const char *node;
    json_t *none;
    size_t i;
    json_t *pod;
    int rc = 0;
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const char *name = jpeek_cstr(pod, "spec.nodeName");
        if (name[0] != '\0' && json_object_size(nodes) < NODES_MAX) {
            json_object_set_new(nodes, name, json_true());
        }
    }
    json_object_foreach(nodes, node, none)
    {
        rc = rc ? rc : of_node(cli, node, used, err);
    }
    return rc;
}

int memory_use(struct cli *cli, const json_t *pods, const char *ns, json_t **out, struct error *err)
{
    json_t *used = json_object();
    int rc =
        part_is_here(cli) ? of_processes(pods, used, err) : of_metrics_server(cli, ns, used, err);
    if (rc < 0 && !part_is_here(cli)) {
        rc = of_kubelets(cli, pods, used, err);
    }
    if (rc < 0) {
        json_decref(used);
        return rc;
    }
    *out = used;
    return 0;
}
