// SPDX-License-Identifier: Apache-2.0
//
// Says hello, in C with nothing but the C library: one thread, one epoll loop, keep-alive. It
// listens on $PORT and writes a line per request to stdout. GET /?ms=N answers after N
// milliseconds.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
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

enum { BUF = 8192, EVENTS = 64, MAX_MS = 60000 };

struct conn {
    int fd;
    size_t len;      // bytes in buf
    size_t skip;     // of a request body, still to come
    bool close;      // after the answer
    uint64_t due_ms; // a delayed answer; 0: none
    struct conn *next;
    char buf[BUF];
};

struct server {
    int epoll, listener;
    struct conn *waiting; // with a delayed answer
    const char *target;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void conn_close(struct server *s, struct conn *c)
{
    for (struct conn **at = &s->waiting; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    close(c->fd);
    free(c);
}

static bool answer(struct server *s, struct conn *c)
{
    char body[256], text[512];
    int n = snprintf(body, sizeof body, "Hello from C, %.200s!\n", s->target);
    int len =
        snprintf(text, sizeof text,
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s", n,
                 c->close ? "Connection: close\r\n" : "", body);
    return send(c->fd, text, (size_t)len, MSG_NOSIGNAL) == len && !c->close;
}

// The value of a header in a NUL-terminated head, or NULL.
static const char *header(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, strlen(name)) == 0) {
            return line + 2 + strlen(name);
        }
    }
    return NULL;
}

// One whole request from the buffer, if it is there. False: the connection is to be closed.
static bool request(struct server *s, struct conn *c, bool *more)
{
    char *end = memmem(c->buf, c->len, "\r\n\r\n", 4);

    *more = false;
    if (!end) {
        return c->len < BUF - 1;
    }
    size_t head = (size_t)(end - c->buf) + 4;
    *end = '\0';
    const char *length = header(c->buf, "Content-Length:");
    const char *connection = header(c->buf, "Connection:");
    const char *wait = strstr(c->buf, "?ms=");
    if (header(c->buf, "Transfer-Encoding:")) {
        c->close = true; // this small server reads no chunks: it answers and closes
    }
    c->close = c->close ||
               (connection && strncasecmp(connection + strspn(connection, " "), "close", 5) == 0);
    c->skip = length ? strtoul(length, NULL, 10) : 0;
    printf("%.*s\n", (int)strcspn(c->buf, "\r"), c->buf);
    unsigned long ms = wait && wait < strstr(c->buf, "\r\n") ? strtoul(wait + 4, NULL, 10) : 0;
    size_t body = c->len - head < c->skip ? c->len - head : c->skip;
    c->skip -= body;
    c->len -= head + body;
    memmove(c->buf, c->buf + head + body, c->len);
    if (ms > 0) {
        c->due_ms = now_ms() + (ms > MAX_MS ? MAX_MS : ms);
        c->next = s->waiting;
        s->waiting = c;
        return true;
    }
    *more = true;
    return answer(s, c);
}

static bool conn_read(struct server *s, struct conn *c)
{
    ssize_t n = recv(c->fd, c->buf + c->len, BUF - 1 - c->len, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    size_t body = (size_t)n < c->skip ? (size_t)n : c->skip;
    c->skip -= body;
    c->len += (size_t)n - body;
    memmove(c->buf + c->len - ((size_t)n - body), c->buf + c->len - ((size_t)n - body) + body,
            (size_t)n - body);
    bool more = true;
    while (more && c->due_ms == 0) {
        if (!request(s, c, &more)) {
            return false;
        }
    }
    return true;
}

static void conn_accept(struct server *s)
{
    int on = 1;
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct conn *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        return;
    }
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

// Sends what is due; returns the milliseconds until the next one, -1 for none.
static int delayed(struct server *s)
{
    uint64_t now = now_ms();
    int next = -1;
    for (struct conn **at = &s->waiting; *at;) {
        struct conn *c = *at;
        if (c->due_ms > now) {
            int left = (int)(c->due_ms - now);
            next = next < 0 || left < next ? left : next;
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->due_ms = 0;
        if (!answer(s, c)) {
            conn_close(s, c);
            at = &s->waiting;
        }
    }
    return next;
}

static int listen_on(unsigned port)
{
    // All addresses: in a container the proxy beside us comes over the pod's loopback, on a cluster
    // probes do not.
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, 1024) != 0) {
        perror("hello: cannot listen on PORT");
        exit(1);
    }
    return fd;
}

static void on_term(int signum)
{
    (void)signum;
    _exit(0);
}

int main(void)
{
    const char *port = getenv("PORT");
    const char *target = getenv("TARGET");
    struct server s = {.target = target ? target : "world"};
    struct epoll_event events[EVENTS], ev = {.events = EPOLLIN, .data.ptr = NULL};

    signal(SIGTERM, on_term); // as process 1 of a container there is no default action
    setvbuf(stdout, NULL, _IOLBF, 0);
    s.listener = listen_on(port ? (unsigned)strtoul(port, NULL, 10) : 8080);
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &ev);
    for (;;) {
        int n = epoll_wait(s.epoll, events, EVENTS, delayed(&s));
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) {
                conn_accept(&s);
            } else if (!conn_read(&s, c)) {
                conn_close(&s, c);
            }
        }
    }
}
