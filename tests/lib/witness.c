// SPDX-License-Identifier: Apache-2.0
//
// witness: a function that tells on its proxies. It counts the requests that are in it and says
// with every answer which replica it is, how many it has served and how many were in it at most:
//
//     {"replica": "…", "revision": "…", "pid": 1, "served": 1, "most": 1}
//
// GET /?ms=N answers after N milliseconds. As a function that works and does not look whether its
// client is still there, it works on to the end also when the connection is closed.
// With $WITNESS, a UDP port, it sends "PID COUNT" there whenever more than $WITNESS_MOST (1) are in
// it at once: what it sees is told even if it is killed next.
//
// One thread, one epoll loop. Listens on $PORT.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 8192, EVENTS = 64, MAX_MS = 60000 };

struct conn {
    int fd; // -1: closed, its request still runs
    bool working, closing;
    size_t len;
    uint64_t skip; // of the request's body
    uint64_t due_ms;
    struct conn *next; // in the list of those that work
    char head[HEAD];
};

struct server {
    int epoll, listener, told;
    struct conn *working;
    unsigned active, most, allowed;
    unsigned long served;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void begin(struct server *s, struct conn *c, unsigned long ms)
{
    c->working = true;
    c->due_ms = now_ms() + (ms > MAX_MS ? MAX_MS : ms);
    c->next = s->working;
    s->working = c;
    s->active++;
    s->most = s->active > s->most ? s->active : s->most;
    if (s->active > s->allowed && s->told >= 0) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%d %u", getpid(), s->active);
        (void)!send(s->told, text, (size_t)n, 0);
    }
}

// The client is gone or unwelcome. A request that runs goes on without it.
static void drop(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    if (!c->working) {
        free(c);
    }
}

static bool answer(struct server *s, struct conn *c)
{
    const char *replica = getenv("LULL_REPLICA"), *revision = getenv("K_REVISION");
    char body[512], text[768];
    int n = snprintf(body, sizeof(body),
                     "{\"replica\": \"%.100s\", \"revision\": \"%.100s\", \"pid\": %d, "
                     "\"served\": %lu, \"most\": %u}\n",
                     replica != NULL ? replica : "", revision != NULL ? revision : "", getpid(),
                     s->served, s->most);
    int len = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", n,
                       c->closing ? "Connection: close\r\n" : "", body);
    return send(c->fd, text, (size_t)len, MSG_NOSIGNAL) == len && !c->closing;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at != NULL ? at + strlen(name) + strspn(at + strlen(name), " ") : NULL;
}

// Begins the next request if its head is there and nothing of the one before is missing.
static bool next_request(struct server *s, struct conn *c)
{
    size_t body = c->len < c->skip ? c->len : (size_t)c->skip;
    c->skip -= body;
    c->len -= body;
    memmove(c->head, c->head + body, c->len);
    char *end = c->working || c->skip > 0 ? NULL : memmem(c->head, c->len, "\r\n\r\n", 4);
    if (end == NULL) {
        return c->working || c->len < HEAD - 1;
    }
    *end = '\0';
    const char *length = header(c->head, "\r\nContent-Length:");
    const char *connection = header(c->head, "\r\nConnection:");
    const char *ms = strstr(c->head, "?ms=");
    c->closing = header(c->head, "\r\nTransfer-Encoding:") != NULL ||
                 (connection != NULL && strncasecmp(connection, "close", 5) == 0);
    c->skip = length != NULL ? strtoull(length, NULL, 10) : 0;
    unsigned long wait = ms != NULL && ms < strstr(c->head, "\r\n") ? strtoul(ms + 4, NULL, 10) : 0;
    c->len -= (size_t)(end + 4 - c->head);
    memmove(c->head, end + 4, c->len);
    begin(s, c, wait);
    return true;
}

static void readable(struct server *s, struct conn *c)
{
    ssize_t n = recv(c->fd, c->head + c->len, HEAD - 1 - c->len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    c->len += n > 0 ? (size_t)n : 0;
    if (n <= 0 || !next_request(s, c)) {
        drop(c);
    }
}

// Ends what is due. Returns the milliseconds until the next one, -1 for none.
static int work(struct server *s)
{
    uint64_t now = now_ms();
    int wait = -1;
    for (struct conn **at = &s->working; *at != NULL;) {
        struct conn *c = *at;
        if (c->due_ms > now) {
            int left = (int)(c->due_ms - now);
            wait = wait < 0 || left < wait ? left : wait;
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->working = false;
        s->active--;
        s->served++;
        if (c->fd < 0) {
            free(c);
            continue;
        }
        if (!answer(s, c) || !next_request(s, c)) {
            drop(c);
        }
        wait = 0; // the list may have a new head
    }
    return wait;
}

static void take(struct server *s)
{
    int on = 1;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *c = fd >= 0 ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL) {
        return;
    }
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1024) != 0) {
        perror("witness: cannot listen on PORT");
        exit(1);
    }
    return fd;
}

static int tell_to(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (port == NULL) {
        return -1;
    }
    at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

int main(void)
{
    const char *port = getenv("PORT"), *most = getenv("WITNESS_MOST");
    struct epoll_event events[EVENTS], ev = {.events = EPOLLIN, .data.ptr = NULL};
    struct server s = {.allowed = most != NULL ? (unsigned)strtoul(most, NULL, 10) : 1};
    s.told = tell_to(getenv("WITNESS"));
    s.listener = listen_on(port != NULL ? (uint16_t)strtoul(port, NULL, 10) : 8080);
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &ev);
    for (;;) {
        int n = epoll_wait(s.epoll, events, EVENTS, work(&s));
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == NULL) {
                take(&s);
            } else {
                readable(&s, c);
            }
        }
    }
}
