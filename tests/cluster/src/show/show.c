// SPDX-License-Identifier: Apache-2.0
//
// What a container sees, for tests: `show write PATH TEXT` writes a file and ends (an init
// container), `show` answers on $PORT:
//   /file?PATH       the content of a file, or of a folder the names in it; 404 with the reason
//   /write?PATH      creates a file there; 500 with the reason
//   /env?NAME        a variable; 404 when it is not set
//   /env, /read/PATH all variables, and a file's content, as JSON
//   /id              "UID GID"
//   /call?NAME:PORT/PATH  the body of the answer to GET http://NAME:PORT/PATH, by the resolver of
//   the Pod
// anything else "ok". One process per request: nothing here is made to be fast.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../listen.h"

enum { PAGE = 65536 };

static void say(int fd, int status, const char *body)
{
    dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
            strlen(body), body);
}

static void say_errno(int fd, int status)
{
    say(fd, status, strerror(errno));
}

static void show_file(int fd, const char *path)
{
    static char page[PAGE];
    DIR *dir = opendir(path);
    if (dir != NULL) {
        struct dirent *entry;
        while ((entry = readdir(dir)) != NULL) {
            size_t at = strlen(page);
            snprintf(page + at, sizeof(page) - at, "%s\n", entry->d_name);
        }
        say(fd, 200, page);
        return;
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        say_errno(fd, 404);
        return;
    }
    page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
    say(fd, 200, page);
}

extern char **environ;

/* A JSON string; what is not printable ASCII but for line ends is left out. */
static void put_json(FILE *out, const char *text, size_t len)
{
    putc('"', out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            fputs("\\n", out);
        } else if (text[i] >= ' ' && text[i] < 0x7f) {
            fprintf(out, text[i] == '"' || text[i] == '\\' ? "\\%c" : "%c", text[i]);
        }
    }
    putc('"', out);
}

static void show_json(int fd, const char *path)
{
    char *page = NULL;
    char text[4096];
    size_t len = 0;
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    FILE *out = open_memstream(&page, &len);
    if (path != NULL && file == NULL) {
        say_errno(fd, 404);
        return;
    }
    if (file != NULL) {
        put_json(out, text, fread(text, 1, sizeof(text), file));
    } else {
        for (char **one = environ; *one != NULL; one++) {
            size_t name = strcspn(*one, "=");
            fputs(one == environ ? "{" : ",", out);
            put_json(out, *one, name);
            putc(':', out);
            put_json(out, *one + name + 1, strlen(*one + name + 1));
        }
        putc('}', out);
    }
    fclose(out);
    say(fd, 200, page);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return fd >= 0 && dprintf(fd, "%s", text) >= 0 ? 0 : -1;
}

static void call(int fd, char *to)
{
    static char page[PAGE];
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char *path = strchr(to, '/');
    char *port = strchr(to, ':');
    if (path == NULL || port == NULL || port > path) {
        say(fd, 400, "NAME:PORT/PATH");
        return;
    }
    *path++ = '\0';
    *port++ = '\0';
    int rc = getaddrinfo(to, port, &hints, &found);
    int out = rc == 0 ? socket(AF_INET, SOCK_STREAM, 0) : -1;
    if (rc != 0 || out < 0 || connect(out, found->ai_addr, found->ai_addrlen) < 0) {
        say(fd, 502, rc != 0 ? gai_strerror(rc) : strerror(errno));
        return;
    }
    dprintf(out, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, to);
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(page) - 1 && (n = read(out, page + len, sizeof(page) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    page[len] = '\0';
    char *body = strstr(page, "\r\n\r\n");
    say(fd, strncmp(page, "HTTP/1.1 200", 12) == 0 ? 200 : 502, body == NULL ? page : body + 4);
}

static void serve(int fd)
{
    char request[4096];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(request) - 1 &&
           (n = read(fd, request + len, sizeof(request) - 1 - len)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n") != NULL) {
            break;
        }
    }
    request[len] = '\0';
    char *path = strchr(request, ' ');
    char *end = path == NULL ? NULL : strchr(++path, ' ');
    if (end == NULL) {
        return;
    }
    *end = '\0';
    char *what = strchr(path, '?');
    what = what == NULL ? end : what + 1;
    if (strncmp(path, "/file?", 6) == 0) {
        show_file(fd, what);
    } else if (strcmp(path, "/env") == 0) {
        show_json(fd, NULL);
    } else if (strncmp(path, "/read/", 6) == 0) {
        show_json(fd, path + 5);
    } else if (strncmp(path, "/env?", 5) == 0) {
        say(fd, getenv(what) == NULL ? 404 : 200, getenv(what) == NULL ? "" : getenv(what));
    } else if (strncmp(path, "/write?", 7) == 0) {
        write_file(what, "written") < 0 ? say_errno(fd, 500) : say(fd, 200, "written");
    } else if (strncmp(path, "/call?", 6) == 0) {
        call(fd, what);
    } else if (strcmp(path, "/id") == 0) {
        char id[64];
        snprintf(id, sizeof(id), "%u %u", getuid(), getgid());
        say(fd, 200, id);
    } else {
        say(fd, 200, "ok");
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "write") == 0) {
        if (write_file(argv[2], argv[3]) < 0) {
            fprintf(stderr, "show: cannot write %s: %s\n", argv[2], strerror(errno));
            return 1;
        }
        return 0;
    }
    int listener = listen_on_port();
    signal(SIGCHLD, SIG_IGN);
    if (listener < 0) {
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            serve(fd);
            return 0;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
}
