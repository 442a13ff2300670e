// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one getaddrinfo request in memory of its own, so that whoever asked may go before the
 * answer comes. A cancelled question only forgets its callback.
 */
#include "loop/resolve.h"

#include <netdb.h>

#include "base/mem.h"

#define HOST_MAX 253

struct resolve {
    uv_getaddrinfo_t uv;
    resolve_cb cb; /* NULL: cancelled */
    void *arg;
    char host[HOST_MAX + 1];
};

static void on_resolved(uv_getaddrinfo_t *uv, int status, struct addrinfo *found)
{
    struct resolve *r = CONTAINER_OF(uv, struct resolve, uv);
    struct addr addr = {.len = 0};
    struct error err = {0};
    if (status < 0) {
        error_from_uv(&err, status, "no address of %s", r->host);
    } else if (found == NULL || found->ai_addrlen > sizeof(addr.u)) {
        error_set(&err, ERR_NOT_FOUND, "%s has no address", r->host);
    } else {
        memcpy(&addr.u, found->ai_addr, found->ai_addrlen);
        addr.len = found->ai_addrlen;
    }
    uv_freeaddrinfo(found);
    resolve_cb cb = r->cb;
    void *arg = r->arg;
    free(r);
    if (cb != NULL) {
        cb(arg, addr.len > 0 ? &addr : NULL, addr.len > 0 ? NULL : &err);
    }
}

int resolve_start(struct loop *loop, struct slice host, uint16_t port, resolve_cb cb, void *arg,
                  struct resolve **out, struct error *err)
{
    if (slice_empty(host) || host.len > HOST_MAX) {
        return error_set(err, ERR_INVALID, "a host name has 1 to %d bytes, this one has %zu",
                         HOST_MAX, host.len);
    }
    struct resolve *r = NEW(struct resolve);
    r->cb = cb;
    r->arg = arg;
    memcpy(r->host, host.ptr, host.len);
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int rc = uv_getaddrinfo(&loop->uv, &r->uv, on_resolved, r->host, service, &hints);
    if (rc < 0) {
        free(r);
        return error_from_uv(err, rc, "cannot ask for the address of %.*s", SLICE_FMT(host));
    }
    if (out != NULL) {
        *out = r;
    }
    return 0;
}

void resolve_cancel(struct resolve *r)
{
    r->cb = NULL;
    uv_cancel((uv_req_t *)&r->uv);
}
