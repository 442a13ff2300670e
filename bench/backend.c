// SPDX-License-Identifier: Apache-2.0
//
// bench-backend [PORT [any]]: the function behind the proxies that are measured. One epoll loop,
// keep-alive. As little work as can be, so that what is measured is the proxy.
//
//     /        13 bytes; also what a POST gets, once all of its body has been read and dropped
//     /64k     64 KiB with a Content-Length
//     /stream  64 KiB in sixteen chunks, each sent by itself
//     /metrics a queue-proxy's Stat: ten requests in flight, all of them through an activator
//     /taken   204 without a body, for events
//     /latency how long after their ce-due (bench-load -T) POSTs came, in µs, as JSON; then anew
//     /first   the microseconds between its listen() and the first whole head that it was sent
//
// PORT is the environment's when absent; any: on every address, not on 127.0.0.1 alone. Bodies of
// requests need a Content-Length. Bytes after a request wait for its answer.
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

enum {
    EVENTS = 256,
    CONNECTIONS = 65536,
    HEAD = 4096,
    READ = 65536,
    PIECE = 4096,
    PIECES = 16,
    LATENCIES = 1 << 22,
};

struct conn {
    int fd;
    uint32_t len;           // bytes in head
    uint64_t skip;          // of a request's body, still to come
    bool asked;             // a whole head is there, its answer not begun: the body is not read yet
    const struct piece *at; // of the answer being sent; NULL: none
    size_t sent;            // of *at
    bool blocked;           // epoll waits for room
    const struct piece *answer;
    char head[HEAD];
};

struct piece {
    char *bytes; // NULL: the end
    size_t len;
};

static struct piece small[2], large[2], streamed[PIECES + 3], first[2], stat[2], taken[2], told[2];
static uint32_t *latencies;
static size_t n_latencies;
static uint64_t listening_ns;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void piece_set(struct piece *p, const char *head, size_t body, const char *tail)
{
    p->len = strlen(head) + body + strlen(tail);
    p->bytes = malloc(p->len + 1);
    memcpy(p->bytes, head, strlen(head));
    memset(p->bytes + strlen(head), 'x', body);
    memcpy(p->bytes + strlen(head) + body, tail, strlen(tail));
}

static void make_answers(void)
{
#define TEXT "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    char size[16];
    piece_set(&small[0], TEXT "Content-Length: 13\r\n\r\nHello, World!", 0, "");
    // Stat: average in flight, of these through activators; requests in the last second, likewise
    const double ten = 10;
    char *at = stat[0].bytes = malloc(256);
    at += snprintf(at, 128, TEXT "Content-Length: 36\r\n\r\n");
    for (char field = 2; field <= 5; field++) {
        *at++ = (char)(field << 3 | 1);
        memcpy(at, &ten, sizeof(ten));
        at += sizeof(ten);
    }
    stat[0].len = (size_t)(at - stat[0].bytes);
    piece_set(&taken[0], "HTTP/1.1 204 No Content\r\n\r\n", 0, "");
    piece_set(&large[0], TEXT "Content-Length: 65536\r\n\r\n", 65536, "");
    piece_set(&streamed[0], TEXT "Transfer-Encoding: chunked\r\n\r\n", 0, "");
    snprintf(size, sizeof(size), "%x\r\n", PIECE);
    for (int i = 1; i <= PIECES; i++) {
        piece_set(&streamed[i], size, PIECE, "\r\n");
    }
    piece_set(&streamed[PIECES + 1], "0\r\n\r\n", 0, "");
}

static void make_first(void)
{
    char body[32], text[128];
    int n = snprintf(body, sizeof(body), "%llu\n",
                     (unsigned long long)(now_ns() - listening_ns) / 1000);
    snprintf(text, sizeof(text), TEXT "Content-Length: %d\r\n\r\n%s", n, body);
    piece_set(&first[0], text, 0, "");
}

static void count_latency(const char *head)
{
    const char *due = strcasestr(head, "\r\nce-due: ");
    if (due == NULL || n_latencies == LATENCIES) {
        return;
    }
    if (latencies == NULL) {
        latencies = malloc(LATENCIES * sizeof(*latencies));
    }
    uint64_t took = (now_ns() - strtoull(due + 10, NULL, 10)) / 1000;
    latencies[n_latencies++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void make_latency(void)
{
    char body[256], text[512];
    size_t n = n_latencies, last = n == 0 ? 0 : n - 1;
    static uint32_t none;
    const uint32_t *l = n == 0 ? &none : latencies;
    if (n > 0) {
        qsort(latencies, n, sizeof(*latencies), by_size);
    }
    int len = snprintf(body, sizeof(body),
                       "{\"events\": %zu, \"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, "
                       "\"p999_us\": %u, \"max_us\": %u}\n",
                       n, l[last / 2], l[last * 9 / 10], l[last * 99 / 100], l[last * 999 / 1000],
                       l[last]);
    snprintf(text, sizeof(text), TEXT "Content-Length: %d\r\n\r\n%s", len, body);
    free(told[0].bytes);
    piece_set(&told[0], text, 0, "");
    n_latencies = 0;
}

static void watch(int epoll, struct conn *c, bool blocked)
{
    if (c->blocked != blocked) {
        struct epoll_event ev = {.events = blocked ? EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev);
        c->blocked = blocked;
    }
}

// Sends what there is room for. False: the connection is broken.
static bool answer(int epoll, struct conn *c)
{
    while (c->at->bytes != NULL) {
        ssize_t n = send(c->fd, c->at->bytes + c->sent, c->at->len - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            watch(epoll, c, true);
            return errno == EAGAIN;
        }
        c->sent += (size_t)n;
        if (c->sent == c->at->len) {
            c->at++;
            c->sent = 0;
        }
    }
    c->at = NULL;
    watch(epoll, c, false);
    return true;
}

static const struct piece *wanted(const char *head)
{
    const char *path = strchr(head, ' ');
    if (head[0] == 'P') {
        count_latency(head);
    }
    if (path != NULL && strncmp(path, " /64k ", 6) == 0) {
        return large;
    }
    if (path != NULL && strncmp(path, " /taken ", 8) == 0) {
        return taken;
    }
    if (path != NULL && strncmp(path, " /latency ", 10) == 0) {
        make_latency();
        return told;
    }
    if (path != NULL && strncmp(path, " /metrics ", 10) == 0) {
        return stat;
    }
    if (path != NULL && strncmp(path, " /first ", 8) == 0) {
        return first;
    }
    return path != NULL && strncmp(path, " /stream ", 9) == 0 ? streamed : small;
}

// Takes whole requests out of the buffer and answers them.
static bool work(int epoll, struct conn *c)
{
    while (c->at == NULL && (c->len > 0 || c->asked)) {
        if (!c->asked) {
            char *end = memmem(c->head, c->len, "\r\n\r\n", 4);
            if (end == NULL) {
                return c->len < HEAD;
            }
            *end = '\0';
            if (first[0].bytes == NULL) {
                make_first();
            }
            const char *length =
                c->head[0] == 'G' ? NULL : strcasestr(c->head, "\r\nContent-Length:");
            c->skip = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
            c->answer = wanted(c->head);
            c->asked = true;
            c->len -= (uint32_t)(end + 4 - c->head);
            memmove(c->head, end + 4, c->len);
        }
        uint32_t body = c->len < c->skip ? c->len : (uint32_t)c->skip;
        c->skip -= body;
        c->len -= body;
        memmove(c->head, c->head + body, c->len);
        if (c->skip > 0) {
            return true;
        }
        c->asked = false;
        c->at = c->answer;
        if (!answer(epoll, c)) {
            return false;
        }
    }
    return true;
}

static bool receive(int epoll, struct conn *c)
{
    static char body[READ];
    bool dropping = c->asked && c->len == 0;
    size_t room = dropping ? (c->skip < READ ? (size_t)c->skip : READ) : HEAD - c->len;
    ssize_t n = recv(c->fd, dropping ? body : c->head + c->len, room, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    if (dropping) {
        c->skip -= (size_t)n;
        return c->skip > 0 || work(epoll, c);
    }
    c->len += (uint32_t)n;
    return work(epoll, c);
}

static int listen_on(uint16_t port, in_addr_t on_address)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(on_address)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0) {
        perror("bench-backend: listen");
        exit(1);
    }
    listening_ns = now_ns();
    return fd;
}

static void take(int epoll, int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct conn *c = fd >= 0 && fd < CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

int main(int argc, char **argv)
{
    const char *port = argc >= 2 ? argv[1] : getenv("PORT");
    bool any = argc == 3 && strcmp(argv[2], "any") == 0;
    if (argc > (any ? 3 : 2) || port == NULL) {
        fprintf(stderr, "usage: bench-backend [PORT [any]]\n");
        return 2;
    }
    int listener = listen_on((uint16_t)strtoul(port, NULL, 10), any ? INADDR_ANY : INADDR_LOOPBACK);
    make_answers();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == NULL) {
                take(epoll, listener);
            } else if (!(c->at != NULL ? answer(epoll, c) && work(epoll, c) : receive(epoll, c))) {
                close(c->fd);
                free(c);
            }
        }
    }
}
