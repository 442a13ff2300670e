// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a list of clients by address, each with the owner's callbacks.
 * Failure modes: a bad address or secret file is refused; what is down stays and tries again.
 */
#include "link/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"

#define SECRET_MAX     4096
#define BACKOFF_MAX_MS 1000
#define PODS           "pods:"

static int read_secret(struct link_group *g, const char *file, struct error *err)
{
    if (file == NULL || file[0] == '\0') {
        return 0;
    }
    int rc = fs_read_file(file, SECRET_MAX, &g->secret, err);
    while (rc == 0 && g->secret.len > 0 && g->secret.ptr[g->secret.len - 1] <= ' ') {
        strbuf_truncate(&g->secret, g->secret.len - 1); /* the file usually ends with a line feed */
    }
    return rc < 0 ? error_prefix(err, rc, "--install-secret-file") : 0;
}

int link_group_init(struct link_group *g, struct loop *loop,
                    const struct link_group_options *options, struct error *err)
{
    *g = (struct link_group){.loop = loop,
                             .data = options->data,
                             .events = options->events,
                             .handshake_ms = options->handshake_ms};
    list_init(&g->members);
    closer_init(&g->closer);
    strbuf_init(&g->secret, SECRET_MAX);
    return read_secret(g, options->secret_file, err);
}

uint16_t link_group_pods_port(const char *names)
{
    uint64_t port;
    if (names == NULL || strncmp(names, PODS, strlen(PODS)) != 0 ||
        num_parse_u64(slice_str(names + strlen(PODS)), 1, UINT16_MAX, &port, NULL) < 0) {
        return 0;
    }
    return (uint16_t)port;
}

int link_group_add_named(struct link_group *g, const char *names, struct error *err)
{
    struct slice rest = slice_str(names);
    struct slice part;
    if (slice_starts_with(rest, SLICE_LIT(PODS))) {
        return link_group_pods_port(names) != 0
                   ? 0
                   : error_set(err, ERR_INVALID,
                               "--autoscaler %s: the port of the Pods is not 1 to 65535", names);
    }
    while (slice_split(&rest, ',', &part)) {
        CLEANUP(cleanup_free) char *address = slice_dup(slice_trim(part));
        int rc = link_group_add(g, address, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--autoscaler %s", names);
        }
    }
    return 0;
}

static struct link_member *find(const struct link_group *g, const char *address)
{
    list_foreach (node, &g->members) {
        struct link_member *m = LIST_ENTRY(node, struct link_member, node);
        if (strcmp(m->address, address) == 0) {
            return m;
        }
    }
    return NULL;
}

int link_group_add(struct link_group *g, const char *address, struct error *err)
{
    if (g->closer.closing || find(g, address) != NULL) {
        return 0;
    }
    if (g->count >= LINK_GROUP_MAX) {
        return error_set(err, ERR_OVERLOAD, "%d autoscalers are told already; %s is not",
                         LINK_GROUP_MAX, address);
    }
    struct link_member *m = NEW(struct link_member);
    struct link_client_options options = {.address = address,
                                          .secret = strbuf_slice(&g->secret),
                                          .handshake_ms = g->handshake_ms,
                                          .backoff_max_ms = BACKOFF_MAX_MS,
                                          .events = g->events,
                                          .data = m};
    int rc = link_client_start(g->loop, &options, &m->client, err);
    if (rc < 0) {
        free(m);
        return rc;
    }
    m->group = g;
    m->address = xstrdup(address);
    list_push_back(&g->members, &m->node);
    g->count++;
    closer_hold(&g->closer);
    return 0;
}

static void on_link_closed(void *data)
{
    struct link_member *m = data;
    struct link_group *g = m->group;
    free(m->address);
    free(m);
    closer_drop(&g->closer);
}

static void drop(struct link_member *m)
{
    list_remove(&m->node);
    m->group->count--;
    link_client_close(m->client, on_link_closed, m);
}

void link_group_remove(struct link_group *g, const char *address)
{
    struct link_member *m = find(g, address);
    if (m != NULL) {
        drop(m);
    }
}

bool link_group_connected(const struct link_group *g)
{
    if (g->loop == NULL) {
        return false;
    }
    list_foreach (node, &g->members) {
        if (link_client_is_up(LIST_ENTRY(node, struct link_member, node)->client)) {
            return true;
        }
    }
    return false;
}

void link_group_close(struct link_group *g, closer_cb cb, void *data)
{
    strbuf_fini(&g->secret);
    list_foreach_safe (node, &g->members) {
        drop(LIST_ENTRY(node, struct link_member, node));
    }
    (void)closer_close(&g->closer, g->loop, cb, data);
}
