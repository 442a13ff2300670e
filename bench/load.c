// SPDX-License-Identifier: Apache-2.0
//
// bench-load PORT [-c N] [-d SECONDS] [-n REQUESTS] [-r RATE] [-H HOST] [-p PATH] [-b BYTES | -f
// FILE] [-A HEADER]… [-s SEED] [-T]
//
// Load over keep-alive connections, for what wrk does not measure: with a RATE, requests come at
// random times of their own (an open loop), whether or not the ones before are answered, and their
// latency counts from when they were due. Without one each connection asks again when it has its
// answer. With BYTES a POST with such a body, with FILE one with what is in it; HEADERs as "name:
// value"; -T adds a header ce-due with the moment when the request was due (ns, CLOCK_MONOTONIC),
// which bench-backend adds up. It ends when its time is over or REQUESTS are answered.
//
// bench-load PORT -S N [-i SECONDS] [-d SECONDS]
//
// The slow ones: N connections that send a head one byte in so many seconds and never end it. One
// that is closed comes again. "ready" is written when all are there.
//
// One line of JSON on stdout. Latencies in µs. Everything that is not a 2xx answer is in "bad".
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

enum { STAMP = 20 }; // digits
enum { EVENTS = 512, HEAD = 4096, READ = 65536, ADDRESSES = 8, BODY_FILE = 1 << 20 };

#define NS    1000000000ull
#define NEVER UINT64_MAX

struct conn {
    int fd;
    bool busy;
    bool in_body;
    uint64_t due_ns; // when its request was due
    uint64_t left;   // of the answer's body
    uint32_t len;    // bytes in head
    size_t unsent;
    int status;
    char head[HEAD];
};

struct load {
    int epoll;
    uint16_t port;
    uint32_t connections, slow;
    double seconds, rate, interval;
    const char *host, *path, *body_file;
    char headers[1024]; // lines of -A
    size_t body;
    uint64_t seed, requests;
    char *request;
    size_t request_len;
    bool stamps;
    char *stamp; // in request: the digits of ce-due; NULL: none
    struct conn *conns;
    uint32_t *free_ones; // a queue: the one that is idle longest goes next
    uint32_t free_at, free_count;
    uint64_t *waiting; // due times of requests that found no free connection
    size_t waiting_at, waiting_count, waiting_room;
    uint32_t *took_us;
    size_t done, room;
    uint64_t bad, reconnects;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static void *grown(void *old, size_t bytes)
{
    void *p = realloc(old, bytes);
    if (p == NULL) {
        fprintf(stderr, "bench-load: no memory\n");
        exit(1);
    }
    return p;
}

static double uniform(uint64_t *seed) // (0, 1]
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (double)((*seed >> 11) + 1) / 9007199254740992.0;
}

// -ln(u), without the mathematics library: good enough for times between arrivals.
static double exponential(uint64_t *seed)
{
    double u = uniform(seed), sum = 0;
    while (u < 0.5) {
        u *= 2;
        sum += 0.69314718055994531;
    }
    double y = (u - 1) / (u + 1), y2 = y * y; // ln u = 2 artanh y
    return sum - 2 * y * (1 + y2 / 3 + y2 * y2 / 5 + y2 * y2 * y2 / 7);
}

static void connect_one(struct load *l, struct conn *c)
{
    uint32_t i = (uint32_t)(c - l->conns);
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % ADDRESSES)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(l->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        fprintf(stderr, "bench-load: connection %u to port %u: %s\n", i, l->port, strerror(errno));
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

static void reconnect(struct load *l, struct conn *c)
{
    close(c->fd);
    l->reconnects++;
    c->len = 0;
    c->left = 0;
    c->unsent = 0;
    c->busy = c->in_body = false;
    connect_one(l, c);
}

static void send_some(struct load *l, struct conn *c)
{
    const char *from = l->request + l->request_len - c->unsent;
    ssize_t n = send(c->fd, from, c->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);
    c->unsent -= n > 0 ? (size_t)n : 0;
    struct epoll_event ev = {.events = EPOLLIN | (c->unsent > 0 ? EPOLLOUT : 0), .data.ptr = c};
    if (c->unsent > 0 || n < 0 || (size_t)n < l->request_len) {
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

static void ask(struct load *l, struct conn *c, uint64_t due_ns)
{
    c->busy = true;
    c->due_ns = due_ns;
    c->unsent = l->request_len;
    for (int i = STAMP; l->stamp != NULL && i-- > 0; due_ns /= 10) {
        l->stamp[i] = (char)('0' + due_ns % 10);
    }
    send_some(l, c);
}

// A request is due: on the connection that is idle longest, or it waits for one.
static void arrive(struct load *l, uint64_t due_ns)
{
    if (l->free_count > 0) {
        struct conn *c = &l->conns[l->free_ones[l->free_at]];
        l->free_at = (l->free_at + 1) % l->connections;
        l->free_count--;
        ask(l, c, due_ns);
        return;
    }
    if (l->waiting_at + l->waiting_count == l->waiting_room) {
        l->waiting_room = l->waiting_room * 2 + 1024;
        l->waiting = grown(l->waiting, l->waiting_room * sizeof(*l->waiting));
    }
    l->waiting[l->waiting_at + l->waiting_count++] = due_ns;
}

static void next_request(struct load *l, struct conn *c)
{
    if (l->rate <= 0) {
        ask(l, c, now_ns());
    } else if (l->waiting_count > 0) {
        l->waiting_count--;
        ask(l, c, l->waiting[l->waiting_at++]);
    } else {
        l->free_ones[(l->free_at + l->free_count++) % l->connections] = (uint32_t)(c - l->conns);
    }
}

static void answered(struct load *l, struct conn *c)
{
    uint64_t took = (now_ns() - c->due_ns) / 1000;
    if (c->status / 100 != 2) {
        l->bad++;
    }
    if (l->done == l->room) {
        l->room = l->room * 2 + 65536;
        l->took_us = grown(l->took_us, l->room * sizeof(*l->took_us));
    }
    l->took_us[l->done++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    c->busy = c->in_body = false;
    c->len = 0;
    next_request(l, c);
}

// The head in the buffer, if it is whole. False: not an answer that we read (it needs a length).
static bool head(struct conn *c)
{
    c->head[c->len] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL) {
        return c->len < HEAD - 1;
    }
    char *length = strcasestr(c->head, "\r\nContent-Length:");
    if (length == NULL || length > end) {
        return false;
    }
    c->status = (int)strtol(c->head + 9, NULL, 10);
    uint64_t body = strtoull(length + 17, NULL, 10), have = c->len - (size_t)(end + 4 - c->head);
    c->in_body = true;
    c->left = body > have ? body - have : 0;
    return have <= body;
}

static void readable(struct load *l, struct conn *c)
{
    static char body[READ];
    ssize_t n = c->in_body ? recv(c->fd, body, c->left < READ ? c->left : READ, MSG_DONTWAIT)
                           : recv(c->fd, c->head + c->len, HEAD - 1 - c->len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    bool good = n > 0 && c->busy;
    if (good && c->in_body) {
        c->left -= (uint64_t)n;
    } else if (good) {
        c->len += (uint32_t)n;
        good = head(c);
    }
    if (!good) {
        bool was_busy = c->busy;
        reconnect(l, c);
        if (was_busy) { // an idle one may be closed; it is still in the list
            l->bad++;
            next_request(l, c);
        }
    } else if (c->in_body && c->left == 0) {
        answered(l, c);
    }
}

static int wait_until(struct load *l, struct epoll_event *events, uint64_t until)
{
    uint64_t now = now_ns(), left = until > now ? until - now : 0;
    struct timespec t = {.tv_sec = (time_t)(left / NS), .tv_nsec = (long)(left % NS)};
    return epoll_pwait2(l->epoll, events, EVENTS, &t, NULL);
}

static void run_load(struct load *l)
{
    struct epoll_event events[EVENTS];
    uint64_t begun = now_ns(), end = begun + (uint64_t)(l->seconds * 1e9), due = NEVER;
    for (uint32_t i = 0; i < l->connections; i++) {
        next_request(l, &l->conns[i]);
    }
    if (l->rate > 0) {
        due = begun;
    }
    for (uint64_t now = begun; now < end && l->done < l->requests; now = now_ns()) {
        while (due <= now) {
            arrive(l, due);
            due += (uint64_t)(exponential(&l->seed) / l->rate * 1e9) + 1;
        }
        int n = wait_until(l, events, due < end ? due : end);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if ((events[i].events & EPOLLOUT) != 0 && c->unsent > 0) {
                send_some(l, c);
            }
            if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
                readable(l, c);
            }
        }
    }
    l->seconds = (double)(now_ns() - begun) / 1e9;
}

// Each in its turn sends one byte, all of them once per interval; what is closed comes again.
static void run_slow(struct load *l)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
    struct epoll_event events[EVENTS];
    uint64_t begun = now_ns(), end = begun + (uint64_t)(l->seconds * 1e9);
    double step = l->interval * 1e9 / l->slow;
    printf("ready\n");
    fflush(stdout);
    for (uint64_t turn = 0, now = begun; now < end; turn++) {
        struct conn *c = &l->conns[turn % l->slow];
        char byte = c->len < sizeof(start) - 1 ? start[c->len] : 'x';
        c->len++;
        (void)!send(c->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        uint64_t next = begun + (uint64_t)(step * (double)(turn + 1));
        do {
            int n = wait_until(l, events, next);
            for (int i = 0; i < n; i++) {
                reconnect(l, events[i].data.ptr); // answered or closed: either way it is over
            }
            now = now_ns();
        } while (now < next);
    }
    printf("{\"slow\": %u, \"reconnects\": %llu}\n", l->slow, (unsigned long long)l->reconnects);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct load *l, double q)
{
    size_t at = (size_t)(q * (double)l->done);
    return l->done == 0 ? 0 : l->took_us[at < l->done ? at : l->done - 1];
}

static void report(struct load *l)
{
    size_t unanswered = l->waiting_count;
    for (uint32_t i = 0; i < l->connections; i++) {
        unanswered += l->conns[i].busy ? 1 : 0;
    }
    qsort(l->took_us, l->done, sizeof(*l->took_us), by_size);
    printf(
        "{\"requests\": %zu, \"bad\": %llu, \"unanswered\": %zu, \"seconds\": %.3f, \"rps\": %.1f, "
        "\"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"p999_us\": %u, \"max_us\": %u}\n",
        l->done, (unsigned long long)l->bad, unanswered, l->seconds, (double)l->done / l->seconds,
        quantile(l, 0.5), quantile(l, 0.9), quantile(l, 0.99), quantile(l, 0.999), quantile(l, 1));
}

static char *read_body(struct load *l)
{
    FILE *f = fopen(l->body_file, "rb");
    char *body = grown(NULL, BODY_FILE);
    if (f == NULL) {
        perror(l->body_file);
        exit(1);
    }
    l->body = fread(body, 1, BODY_FILE, f);
    fclose(f);
    return body;
}

static void make_request(struct load *l)
{
    char text[3072];
    char *body = l->body_file != NULL ? read_body(l) : NULL;
    int n = l->body == 0 ? snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                                    l->path, l->host, l->headers)
                         : snprintf(text, sizeof(text),
                                    "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n",
                                    l->path, l->host, l->headers, l->body);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        fprintf(stderr, "bench-load: host or path is too long\n");
        exit(2);
    }
    l->request_len = (size_t)n + l->body;
    l->request = grown(NULL, l->request_len);
    memcpy(l->request, text, (size_t)n);
    if (body != NULL) {
        memcpy(l->request + n, body, l->body);
        free(body);
    } else {
        memset(l->request + n, 'b', l->body);
    }
    char *due = l->stamps ? memmem(l->request, (size_t)n, "ce-due: ", 8) : NULL;
    l->stamp = due == NULL ? NULL : due + 8;
}

static void add_header(struct load *l, const char *line)
{
    size_t at = strlen(l->headers);
    int n = snprintf(l->headers + at, sizeof(l->headers) - at, "%s\r\n", line);
    if (n < 0 || at + (size_t)n >= sizeof(l->headers)) {
        fprintf(stderr, "bench-load: too many headers\n");
        exit(2);
    }
}

static void options(struct load *l, int argc, char **argv)
{
    int opt;
    while ((opt = getopt(argc, argv, "c:d:n:r:H:p:b:f:A:s:S:i:T")) != -1) {
        switch (opt) {
        case 'c':
            l->connections = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            l->seconds = strtod(optarg, NULL);
            break;
        case 'n':
            l->requests = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            l->rate = strtod(optarg, NULL);
            break;
        case 'H':
            l->host = optarg;
            break;
        case 'p':
            l->path = optarg;
            break;
        case 'b':
            l->body = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            l->body_file = optarg;
            break;
        case 'A':
            add_header(l, optarg);
            break;
        case 'T':
            add_header(l, "ce-due: 00000000000000000000");
            l->stamps = true;
            break;
        case 's':
            l->seed = strtoull(optarg, NULL, 10) * 2654435761u + 1;
            break;
        case 'S':
            l->slow = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            l->interval = strtod(optarg, NULL);
            break;
        default:
            exit(2);
        }
    }
    l->port = optind == argc - 1 ? (uint16_t)strtoul(argv[optind], NULL, 10) : 0;
    if (l->port == 0 || l->connections == 0 || l->seconds <= 0 || l->interval <= 0) {
        fprintf(
            stderr,
            "usage: bench-load PORT [-c N] [-d SECONDS] [-n REQUESTS] [-r RATE] [-H "
            "HOST] [-p PATH] "
            "[-b BYTES | -f FILE] [-A HEADER]… [-s SEED] [-T] | -S N [-i SECONDS] [-d SECONDS]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct load l = {.connections = 1,
                     .seconds = 1,
                     .interval = 5,
                     .host = "127.0.0.1",
                     .path = "/",
                     .seed = 88172645463325252ull,
                     .requests = UINT64_MAX};
    options(&l, argc, argv);
    l.connections = l.slow > 0 ? l.slow : l.connections;
    make_request(&l);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.conns = calloc(l.connections, sizeof(*l.conns));
    l.free_ones = calloc(l.connections, sizeof(*l.free_ones));
    if (l.conns == NULL || l.free_ones == NULL) {
        fprintf(stderr, "bench-load: no memory\n");
        return 1;
    }
    for (uint32_t i = 0; i < l.connections; i++) {
        connect_one(&l, &l.conns[i]);
    }
    if (l.slow > 0) {
        run_slow(&l);
    } else {
        run_load(&l);
        report(&l);
    }
    return 0;
}
