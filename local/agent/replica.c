// SPDX-License-Identifier: Apache-2.0
//
// The control connection to one lull-replica: state lines in, orders out. The end of the connection
// is the end of the replica: the agent needs no process id for that, so it is the same for adopted
// ones.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "local/agent/node.h"

#define LINE_MAX_BYTES 4096

struct replica_link {
    uv_pipe_t pipe;
    struct list node; // on agent.links
    struct agent *agent;
    struct pod *pod; // NULL once closed; counted
    bool closing;
    size_t len;
    char line[LINE_MAX_BYTES];
};

static void link_closed(uv_handle_t *handle)
{
    struct replica_link *link = handle->data;
    struct agent *a = link->agent;

    free(link);
    closer_drop(&a->closer);
}

void replica_link_close(struct replica_link *link)
{
    if (link->closing) {
        return;
    }
    struct pod *p = link->pod;
    link->closing = true;
    link->pod = NULL;
    p->link = NULL;
    list_remove(&link->node);
    uv_close((uv_handle_t *)&link->pipe, link_closed);
    pod_unref(p);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct replica_link *link = handle->data;
    (void)suggested;
    *buf = uv_buf_init(link->line + link->len, (unsigned)(sizeof link->line - link->len));
}

static void line_take(struct replica_link *link, const char *line, size_t len)
{
    struct replica_state state;
    struct error err;

    if (replica_state_parse(line, len, &state, &err) < 0) {
        LOG_WARN("a replica sent a line that cannot be read", LOG_STR("pod", link->pod->key),
                 LOG_ERR(&err));
        return;
    }
    pod_state(link->pod, &state);
}

// The end of the connection is the end of the replica, unless somebody still listens: a replica
// cuts off an agent that was too slow for it.
static void link_ended(struct replica_link *link)
{
    struct pod *p = link->pod;
    struct error err;

    p->refs++;
    int fd = p->state.ended ? -1 : launch_connect(p->agent->home, p->id);
    replica_link_close(link);
    if (fd < 0 || replica_link_open(p, fd, &err) < 0) {
        pod_replica_gone(p);
    } else {
        LOG_INFO("connected to a replica again", LOG_STR("pod", p->key));
        pod_stop_again(p);
    }
    pod_unref(p);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct replica_link *link = stream->data;
    char *end;

    (void)buf;
    if (n < 0) {
        link_ended(link);
        return;
    }
    link->len += (size_t)n;
    while (!link->closing && (end = memchr(link->line, '\n', link->len)) != NULL) {
        size_t used = (size_t)(end - link->line) + 1;
        line_take(link, link->line, used - 1);
        memmove(link->line, link->line + used, link->len - used);
        link->len -= used;
    }
    if (!link->closing && link->len == sizeof link->line) {
        LOG_WARN("a replica sent a line without end", LOG_STR("pod", link->pod->key));
        link->len = 0; // what follows up to the next newline is refused as a line
    }
}

int replica_link_open(struct pod *p, int fd, struct error *err)
{
    struct replica_link *link = NEW(struct replica_link);
    struct agent *a = p->agent;

    link->agent = a;
    link->pipe.data = link;
    list_init(&link->node);
    int rc = uv_pipe_init(&a->loop->uv, &link->pipe, 0);
    REQUIRE(rc == 0);
    closer_hold(&a->closer);
    link->pod = p;
    p->refs++;
    p->link = link;
    list_push_back(&a->links, &link->node);
    rc = uv_pipe_open(&link->pipe, fd);
    if (rc < 0) {
        close(fd);
    }
    rc = rc ? rc : uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read);
    if (rc < 0) {
        rc = error_from_uv(err, rc, "cannot read from the replica");
        replica_link_close(link);
    }
    return rc;
}

void replica_link_send(struct replica_link *link, const char *text)
{
    char line[64];
    int len = snprintf(line, sizeof line, "%s", text);
    uv_buf_t buf = uv_buf_init(line, (unsigned)len);
    // An order is a few bytes on an idle socket; a replica that cannot take it is about to end.
    if (uv_try_write((uv_stream_t *)&link->pipe, &buf, 1) != (int)buf.len) {
        LOG_WARN("an order could not be sent to a replica", LOG_STR("pod", link->pod->key));
    }
}

struct replica_link *replica_link_of(struct list *node)
{
    return LIST_ENTRY(node, struct replica_link, node);
}
