// SPDX-License-Identifier: Apache-2.0
// The smallest function: a static HTTP/1.1 server that answers every request with its pod's name.
// It needs no library in its image; one request per connection, one connection at a time.
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int sig)
{
    (void)sig;
    _exit(0);
}

static void answer(int fd)
{
    char head[16384], host[256] = "", out[512];
    size_t have = 0;
    while (have < sizeof(head) - 1) {
        ssize_t got = read(fd, head + have, sizeof(head) - 1 - have);
        if (got <= 0) {
            return;
        }
        have += (size_t)got;
        head[have] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL) {
            break;
        }
    }
    gethostname(host, sizeof(host) - 1);
    int body = (int)strlen(host) + (int)strlen("hello from \n");
    int len = snprintf(out, sizeof(out),
                       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                       "Connection: close\r\n\r\nhello from %s\n",
                       body, host);
    if (write(fd, out, (size_t)len) != len) {
        fputs("short write\n", stderr);
    }
    head[strcspn(head, "\r\n")] = '\0';
    printf("%s\n", head);
    fflush(stdout);
}

int main(void)
{
    const char *port = getenv("PORT");
    struct sigaction act = {.sa_handler = end};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port =
                                   htons((unsigned short)strtoul(port ? port : "8080", NULL, 10)),
                               .sin_addr.s_addr = htonl(INADDR_ANY)};
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 128) < 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int conn = accept(fd, NULL, NULL);
        if (conn >= 0) {
            answer(conn);
            close(conn);
        }
    }
}
