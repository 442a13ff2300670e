// SPDX-License-Identifier: Apache-2.0
/* Plan: scheme, authority, the rest; then addresses by their numbers. */
#include "broker/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/num.h"

static bool printable(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\') {
            return false;
        }
    }
    return true;
}

static int parse_authority(struct slice url, struct target *out, struct error *err)
{
    struct slice rest = out->authority;
    struct slice port = SLICE_EMPTY;
    uint64_t number = out->tls ? 443 : 80;
    if (slice_starts_with(rest, SLICE_LIT("["))) {
        ptrdiff_t end = slice_find(rest, ']');
        out->host = end < 0 ? SLICE_EMPTY : slice_sub(rest, 1, (size_t)end - 1);
        rest = end < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)end + 1, rest.len);
        if (rest.len > 0 && rest.ptr[0] != ':') {
            out->host = SLICE_EMPTY;
        }
        port = slice_sub(rest, 1, rest.len);
    } else {
        ptrdiff_t colon = slice_find(rest, ':');
        out->host = colon < 0 ? rest : slice_sub(rest, 0, (size_t)colon);
        port = colon < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)colon + 1, rest.len);
    }
    if (slice_empty(out->host) || out->host.len > 253) {
        return error_set(err, ERR_INVALID, "\"%.*s\" has no host", SLICE_FMT(url));
    }
    if (port.len > 0 && num_parse_u64(port, 1, 65535, &number, err) < 0) {
        return error_prefix(err, ERR_INVALID, "port of \"%.*s\"", SLICE_FMT(url));
    }
    out->port = (uint16_t)number;
    return 0;
}

int target_parse(struct slice url, struct target *out, struct error *err)
{
    struct target t = {0};
    struct slice rest;
    if (url.len > TARGET_URL_MAX || !printable(url) || slice_find(url, '#') >= 0) {
        return error_set(err, ERR_INVALID,
                         "the URL is longer than %d bytes, or has a fragment or characters that "
                         "must be encoded",
                         TARGET_URL_MAX);
    }
    if (slice_starts_with(url, SLICE_LIT("http://"))) {
        rest = slice_sub(url, 7, url.len);
    } else if (slice_starts_with(url, SLICE_LIT("https://"))) {
        t.tls = true;
        rest = slice_sub(url, 8, url.len);
    } else {
        return error_set(err, ERR_INVALID, "\"%.*s\" is no http:// or https:// URL",
                         SLICE_FMT(url));
    }
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?') {
        n++;
    }
    t.authority = slice_sub(rest, 0, n);
    t.path = slice_sub(rest, n, rest.len);
    if (slice_empty(t.path)) {
        t.path = SLICE_LIT("/");
    }
    if (slice_find(t.authority, '@') >= 0 || t.path.ptr[0] == '?') {
        return error_set(err, ERR_INVALID,
                         "\"%.*s\" has a user in it, or a query without a path before it",
                         SLICE_FMT(url));
    }
    int rc = parse_authority(url, &t, err);
    if (rc < 0) {
        return rc;
    }
    t.local = slice_ends_with(t.host, SLICE_LIT(".svc.cluster.local"));
    *out = t;
    return 0;
}

enum range { PUBLIC, PRIVATE, LOOPBACK, NEVER };

static enum range range_v4(uint32_t ip)
{
    static const struct {
        uint32_t net;
        unsigned bits;
        enum range range;
    } rows[] = {
        {0x7f000000, 8, LOOPBACK}, {0x0a000000, 8, PRIVATE},  {0xac100000, 12, PRIVATE},
        {0xc0a80000, 16, PRIVATE}, {0x64400000, 10, PRIVATE}, {0xa9fe0000, 16, NEVER},
        {0x00000000, 8, NEVER},    {0xe0000000, 4, NEVER},    {0xf0000000, 4, NEVER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (ip >> (32 - rows[i].bits) == rows[i].net >> (32 - rows[i].bits)) {
            return rows[i].range;
        }
    }
    return PUBLIC;
}

static uint32_t v4_at(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static enum range range_v6(const struct in6_addr *in)
{
    const unsigned char *b = in->s6_addr;
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (IN6_IS_ADDR_LOOPBACK(in)) {
        return LOOPBACK;
    }
    if (IN6_IS_ADDR_V4MAPPED(in) || memcmp(b, nat64, sizeof(nat64)) == 0) {
        return range_v4(v4_at(b + 12));
    }
    if (b[0] == 0x20 && b[1] == 0x02) { /* 6to4 */
        return range_v4(v4_at(b + 2));
    }
    if (IN6_IS_ADDR_LINKLOCAL(in) || IN6_IS_ADDR_MULTICAST(in) || IN6_IS_ADDR_UNSPECIFIED(in) ||
        IN6_IS_ADDR_V4COMPAT(in)) {
        return NEVER;
    }
    /* fd00:ec2::/32 is where one cloud keeps its credentials */
    if (b[0] == 0xfd && b[1] == 0x00 && b[2] == 0x0e && b[3] == 0xc2) {
        return NEVER;
    }
    return (b[0] & 0xfe) == 0xfc || IN6_IS_ADDR_SITELOCAL(in) ? PRIVATE : PUBLIC;
}

int target_check(const struct addr *addr, unsigned rules, const uint16_t *own_ports, size_t n_own,
                 struct error *err)
{
    char text[ADDR_TEXT_MAX];
    enum range range = NEVER;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (addr->u.any.sa_family == AF_INET) {
        memcpy(&v4, &addr->u, sizeof(v4));
        range = range_v4(ntohl(v4.sin_addr.s_addr));
    } else if (addr->u.any.sa_family == AF_INET6) {
        memcpy(&v6, &addr->u, sizeof(v6));
        range = range_v6(&v6.sin6_addr);
    }
    const char *why = range == NEVER ? "it is link-local, multicast or reserved"
                      : range == PRIVATE && (rules & TARGET_PRIVATE_OK) == 0
                          ? "private addresses are not allowed here (--deliver-private)"
                      : range == LOOPBACK && (rules & TARGET_LOOPBACK_OK) == 0
                          ? "loopback addresses are not allowed here (--deliver-loopback)"
                          : NULL;
    for (size_t i = 0; range == LOOPBACK && why == NULL && i < n_own; i++) {
        if (own_ports[i] == addr_port(addr)) {
            why = "it is an admin port of Lull's";
        }
    }
    return why == NULL ? 0
                       : error_set(err, ERR_DENIED, "%s is not called: %s",
                                   addr_format(addr, text, sizeof(text)), why);
}
