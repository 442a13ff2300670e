// SPDX-License-Identifier: Apache-2.0
//
// bench-backend PORT: the function behind the proxies that are measured. One epoll loop,
// keep-alive, GET only: answers every blank line with 13 bytes. As little work as can be, so that
// what is measured is the proxy.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, CONNECTIONS = 65536 };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
                             "\r\nHello, World!";

static uint8_t matched[CONNECTIONS]; // bytes of "\r\n\r\n" seen so far, by descriptor

static bool serve(int fd)
{
    char buf[16384];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    for (ssize_t i = 0; i < n; i++) {
        uint8_t at = matched[fd];
        bool fits = buf[i] == (at % 2 == 0 ? '\r' : '\n');
        matched[fd] = fits ? (uint8_t)(at + 1) : (uint8_t)(buf[i] == '\r');
        if (matched[fd] < 4) {
            continue;
        }
        matched[fd] = 0;
        if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(answer) - 1) {
            return false;
        }
    }
    return true;
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0) {
        perror("bench-backend: listen");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench-backend PORT\n");
        return 2;
    }
    int listener = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (!serve(fd)) {
                    close(fd);
                }
                continue;
            }
            int on = 1;
            int c = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (c < 0) {
                continue;
            }
            if (c >= CONNECTIONS) {
                close(c);
                continue;
            }
            matched[c] = 0;
            setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            ev.data.fd = c;
            epoll_ctl(epoll, EPOLL_CTL_ADD, c, &ev);
        }
    }
}
