// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How the programs of these tests begin, which are the first process of a container. */

#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The first process of a container has no default for a signal. */
static inline void listen_end(int number)
{
    (void)number;
    _exit(0);
}

/* A listening socket on $PORT, else 8080, and signals that end the program; -1: said why not. */
static inline int listen_on_port(void)
{
    const char *port = getenv("PORT");
    struct sockaddr_in6 addr = {
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)strtol(port == NULL ? "8080" : port, NULL, 10))};
    int listener = socket(AF_INET6, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, listen_end);
    if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listener, 512) < 0) {
        perror("cannot listen on PORT");
        return -1;
    }
    return listener;
}
