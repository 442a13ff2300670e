// SPDX-License-Identifier: Apache-2.0
//
// bench-first: how long until the first whole answer, in microseconds on stdout.
//
//     bench-first get PORT HOST PATH         connect, ask, read the whole answer
//     bench-first start PORT HOST PATH -- COMMAND…   spawn the command with PORT set, the same as
//                                            soon as it listens, then end it
//     bench-first listen PORT -- COMMAND…    spawn the command and connect to PORT, then end it
//
// The clock starts just before the connect, or just before the spawn.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define DEADLINE_US 30000000u
#define PAUSE_NS    20000 // between two attempts to connect

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int try_connect(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

// Reads one answer with a Content-Length. Returns its status, or -1.
static int read_answer(int fd)
{
    char buf[65536];
    size_t have = 0;
    while (have < sizeof(buf) - 1) {
        ssize_t n = recv(fd, buf + have, sizeof(buf) - 1 - have, 0);
        if (n <= 0) {
            return -1;
        }
        have += (size_t)n;
        buf[have] = '\0';
        char *end = strstr(buf, "\r\n\r\n");
        char *length = end != NULL ? strcasestr(buf, "\r\nContent-Length:") : NULL;
        if (end == NULL) {
            continue;
        }
        size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (have >= (size_t)(end - buf) + 4 + body) {
            return (int)strtol(buf + 9, NULL, 10);
        }
    }
    return -1;
}

static int ask(int fd, const char *host, const char *path)
{
    char text[2048];
    int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    if (len < 0 || (size_t)len >= sizeof(text) ||
        send(fd, text, (size_t)len, MSG_NOSIGNAL) != len) {
        return -1;
    }
    return read_answer(fd);
}

int main(int argc, char **argv)
{
    bool listen_only = argc > 4 && strcmp(argv[1], "listen") == 0 && strcmp(argv[3], "--") == 0;
    bool start = argc > 6 && strcmp(argv[1], "start") == 0 && strcmp(argv[5], "--") == 0;
    if (!start && !listen_only && (argc != 5 || strcmp(argv[1], "get") != 0)) {
        fprintf(stderr, "usage: bench-first get PORT HOST PATH\n"
                        "       bench-first start PORT HOST PATH -- COMMAND…\n"
                        "       bench-first listen PORT -- COMMAND…\n");
        return 2;
    }
    char **command = argv + (listen_only ? 4 : 6);
    start = start || listen_only;
    uint16_t port = (uint16_t)strtoul(argv[2], NULL, 10);
    pid_t child = 0;
    setenv("PORT", argv[2], 1);
    uint64_t begun = now_us();
    if (start && posix_spawn(&child, command[0], NULL, NULL, command, environ) != 0) {
        fprintf(stderr, "bench-first: cannot start %s\n", command[0]);
        return 1;
    }
    int fd = try_connect(port);
    while (fd < 0 && start && now_us() - begun < DEADLINE_US) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        fd = try_connect(port);
    }
    int status = fd < 0 ? -1 : listen_only ? 200 : ask(fd, argv[3], argv[4]);
    uint64_t took = now_us() - begun;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (status != 200) {
        fprintf(stderr, "bench-first: port %u answered %d\n", port, status);
        return 1;
    }
    printf("%llu\n", (unsigned long long)took);
    return 0;
}
