// SPDX-License-Identifier: Apache-2.0
/* Addresses. Text in, socket address out, and back; nothing is looked up. */
#include "loop/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/num.h"

static struct sockaddr_in *as_in(const struct addr *a)
{
    return (struct sockaddr_in *)(uintptr_t)&a->u.storage;
}

static struct sockaddr_in6 *as_in6(const struct addr *a)
{
    return (struct sockaddr_in6 *)(uintptr_t)&a->u.storage;
}

static int parse_unix(struct slice path, struct addr *out, struct error *err)
{
    if (path.len == 0 || slice_eq(path, SLICE_LIT("@")) ||
        memchr(path.ptr, '\0', path.len) != NULL) {
        return error_set(err, ERR_INVALID, "unix: needs a path");
    }
    if (path.len >= sizeof(out->u.un.sun_path)) {
        return error_set(err, ERR_INVALID,
                         "unix:%.*s: the path has %zu bytes, a socket's has at most %zu",
                         SLICE_FMT(path), path.len, sizeof(out->u.un.sun_path) - 1);
    }
    bool abstract = path.ptr[0] == '@'; /* a NUL in its place, and no NUL at the end */
    *out = (struct addr){
        .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + (abstract ? 0 : 1))};
    out->u.un.sun_family = AF_UNIX;
    memcpy(out->u.un.sun_path, path.ptr, path.len);
    if (abstract) {
        out->u.un.sun_path[0] = '\0';
    }
    return 0;
}

/* An IPv4 address in IPv6's clothes is that IPv4 address. */
static void set_v6(struct addr *a, uint16_t port)
{
    struct in6_addr ip = as_in6(a)->sin6_addr;
    *a = (struct addr){.len = 0};
    if (IN6_IS_ADDR_V4MAPPED(&ip)) {
        as_in(a)->sin_family = AF_INET;
        as_in(a)->sin_port = htons(port);
        memcpy(&as_in(a)->sin_addr, &ip.s6_addr[12], 4);
        a->len = sizeof(struct sockaddr_in);
        return;
    }
    as_in6(a)->sin6_family = AF_INET6;
    as_in6(a)->sin6_port = htons(port);
    as_in6(a)->sin6_addr = ip;
    a->len = sizeof(struct sockaddr_in6);
}

int addr_from_ip(struct slice ip, uint16_t port, struct addr *out, struct error *err)
{
    char host[64];
    struct addr a = {.len = 0};
    if (ip.len >= 2 && ip.ptr[0] == '[' && ip.ptr[ip.len - 1] == ']') {
        ip = slice_sub(ip, 1, ip.len - 2);
    }
    if (slice_copy(ip, host, sizeof(host))) {
        if (inet_pton(AF_INET, host, &as_in(&a)->sin_addr) == 1) {
            as_in(&a)->sin_family = AF_INET;
            as_in(&a)->sin_port = htons(port);
            a.len = sizeof(struct sockaddr_in);
        } else if (inet_pton(AF_INET6, host, &as_in6(&a)->sin6_addr) == 1) {
            set_v6(&a, port);
        }
    }
    if (a.len == 0) {
        return error_set(err, ERR_INVALID, "\"%.*s\" is not a numeric IP address",
                         (int)(ip.len > 60 ? 60 : ip.len), ip.len == 0 ? "" : ip.ptr);
    }
    *out = a;
    return 0;
}

int addr_parse(struct slice text, struct addr *out, struct error *err)
{
    if (slice_starts_with(text, SLICE_LIT("unix:"))) {
        return parse_unix(slice_sub(text, 5, text.len), out, err);
    }
    ptrdiff_t colon = slice_rfind(text, ':');
    struct slice host = colon < 0 ? text : slice_sub(text, 0, (size_t)colon);
    uint64_t port = 0;
    bool bare_v6 = slice_find(host, ':') >= 0 && host.ptr[0] != '[';
    if (colon < 0 || bare_v6 ||
        num_parse_u64(slice_sub(text, (size_t)colon + 1, text.len), 0, 65535, &port, NULL) < 0) {
        return error_set(err, ERR_INVALID,
                         "\"%.*s\" is not an address: IP:PORT, [IPv6]:PORT or unix:/path",
                         (int)(text.len > 80 ? 80 : text.len), text.len == 0 ? "" : text.ptr);
    }
    return addr_from_ip(host.len == 0 ? SLICE_LIT("0.0.0.0") : host, (uint16_t)port, out, err);
}

bool addr_is_unix(const struct addr *addr)
{
    return addr->u.any.sa_family == AF_UNIX;
}

uint16_t addr_port(const struct addr *addr)
{
    if (addr->u.any.sa_family == AF_INET) {
        return ntohs(as_in(addr)->sin_port);
    }
    return addr->u.any.sa_family == AF_INET6 ? ntohs(as_in6(addr)->sin6_port) : 0;
}

bool addr_is_abstract(const struct addr *addr)
{
    return addr_is_unix(addr) && addr->len > offsetof(struct sockaddr_un, sun_path) + 1 &&
           addr->u.un.sun_path[0] == '\0';
}

/* Of an abstract one: without the leading NUL. */
static struct slice unix_path(const struct addr *addr)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t room = addr->len > head ? addr->len - head : 0;
    if (addr_is_abstract(addr)) {
        return slice_of(addr->u.un.sun_path + 1, room - 1);
    }
    return slice_of(addr->u.un.sun_path, strnlen(addr->u.un.sun_path, room));
}

char *addr_format_ip(const struct addr *addr, char *buf, size_t size)
{
    buf[0] = '\0';
    if (addr->u.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &as_in(addr)->sin_addr, buf, (socklen_t)size);
    } else if (addr->u.any.sa_family == AF_INET6) {
        const struct in6_addr *ip = &as_in6(addr)->sin6_addr;
        bool v4 = IN6_IS_ADDR_V4MAPPED(ip); /* who came over IPv4 to an IPv6 socket */
        inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &ip->s6_addr[12] : &ip->s6_addr[0], buf,
                  (socklen_t)size);
    } else if (addr_is_unix(addr)) {
        snprintf(buf, size, "%s%.*s", addr_is_abstract(addr) ? "@" : "",
                 SLICE_FMT(unix_path(addr)));
    }
    return buf;
}

char *addr_format(const struct addr *addr, char *buf, size_t size)
{
    char ip[ADDR_TEXT_MAX];
    addr_format_ip(addr, ip, sizeof(ip));
    if (addr_is_unix(addr)) {
        snprintf(buf, size, "unix:%s", ip);
    } else {
        bool v6 = strchr(ip, ':') != NULL;
        snprintf(buf, size, "%s%s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "",
                 (unsigned)addr_port(addr));
    }
    return buf;
}

bool addr_is_loopback(const struct addr *addr)
{
    if (addr->u.any.sa_family == AF_INET) {
        return ntohl(as_in(addr)->sin_addr.s_addr) >> 24 == 127;
    }
    if (addr->u.any.sa_family == AF_INET6) {
        const struct in6_addr *ip = &as_in6(addr)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
    }
    return addr_is_unix(addr);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->u.any.sa_family != b->u.any.sa_family || addr_port(a) != addr_port(b)) {
        return false;
    }
    if (a->u.any.sa_family == AF_INET) {
        return as_in(a)->sin_addr.s_addr == as_in(b)->sin_addr.s_addr;
    }
    if (a->u.any.sa_family == AF_INET6) {
        return memcmp(&as_in6(a)->sin6_addr, &as_in6(b)->sin6_addr, 16) == 0;
    }
    return addr_is_abstract(a) == addr_is_abstract(b) && slice_eq(unix_path(a), unix_path(b));
}
