// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Addresses as text: "127.0.0.1:8080", "[::1]:80", ":80" (every IPv4 address), "unix:/path",
 * "unix:@name" (abstract: no file, gone with its last descriptor, and open to every user, so that
 * the peer's credentials must be looked at). An IPv4 address in IPv6 clothes (::ffff:1.2.3.4) is
 * written as what it is. Numeric only; nothing here asks a name service. Pure.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/slice.h"

struct addr {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un un;
    } u;
    socklen_t len;
};

/* Longest text of an address, with NUL. */
#define ADDR_TEXT_MAX 128

/* ERR_INVALID names the text; a unix path that does not fit (107 bytes) says so. */
MUST_CHECK int addr_parse(struct slice text, struct addr *out, struct error *err);
/* ip is a numeric address ("10.0.0.1", "::1"). */
MUST_CHECK int addr_from_ip(struct slice ip, uint16_t port, struct addr *out, struct error *err);
/* The text that addr_parse reads. Returns buf. */
char *addr_format(const struct addr *addr, char *buf, size_t size);
/* Without the port: "10.0.0.1"; the path of a unix socket; "" for an unnamed one. */
char *addr_format_ip(const struct addr *addr, char *buf, size_t size);
bool addr_is_unix(const struct addr *addr);
bool addr_is_abstract(const struct addr *addr);
bool addr_is_loopback(const struct addr *addr);
uint16_t addr_port(const struct addr *addr); /* 0 for unix */
bool addr_eq(const struct addr *a, const struct addr *b);
