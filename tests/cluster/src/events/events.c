// SPDX-License-Identifier: Apache-2.0
//
// Takes events on $PORT, for tests. With $REPLY every event is answered with one of that type,
// which keeps the extension "number". Without, it is a ledger, kept in memory:
//   GET /seen            "TYPE NUMBER" of each event, a line each, in the order in which they came
//   GET /refuse, /accept from now on every event gets 503; is taken
// One thread per connection, which is kept. Bodies are read by Content-Length and forgotten.
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../listen.h"

enum { HEAD = 16384, WORD = 200, LEDGER = 4 << 20 };

static struct {
    pthread_mutex_t lock;
    size_t len;
    char text[LEDGER];
} ledger = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_bool refusing;

/* The value of a header of the head; "-" when it is not there. */
static void header(const char *head, const char *name, char out[static WORD])
{
    size_t len = strlen(name);
    snprintf(out, WORD, "-");
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            line += len + 1;
            line += strspn(line, " ");
            snprintf(out, WORD, "%.*s", (int)strcspn(line, "\r\n"), line);
            return;
        }
    }
}

static void answer(FILE *out, int status, const char *headers, const char *body, size_t len)
{
    fprintf(out, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status, headers, len);
    fwrite(body, 1, len, out);
    fflush(out);
}

static void take(FILE *out, const char *head)
{
    char id[WORD], type[WORD], number[WORD], headers[5 * WORD];
    const char *reply = getenv("REPLY");
    header(head, "ce-id", id);
    header(head, "ce-type", type);
    header(head, "ce-number", number);
    if (refusing) {
        answer(out, 503, "", "", 0);
    } else if (reply != NULL) {
        const char *slow = getenv("SLOW_MS");
        poll(NULL, 0, slow == NULL ? 0 : (int)strtol(slow, NULL, 10));
        snprintf(headers, sizeof(headers),
                 "ce-specversion: 1.0\r\nce-id: %s.%s\r\nce-source: /%s\r\nce-type: %s\r\n"
                 "ce-number: %s\r\nContent-Type: application/json\r\n",
                 id, reply, reply, reply, number);
        answer(out, 200, headers, "{}", 2);
    } else {
        pthread_mutex_lock(&ledger.lock);
        if (ledger.len < LEDGER - 2 * WORD - 2) {
            ledger.len += (size_t)snprintf(ledger.text + ledger.len, LEDGER - ledger.len, "%s %s\n",
                                           type, number);
        }
        pthread_mutex_unlock(&ledger.lock);
        answer(out, 202, "", "", 0);
    }
}

static void show(FILE *out, const char *head)
{
    if (strncmp(head, "GET /refuse ", 12) == 0 || strncmp(head, "GET /accept ", 12) == 0) {
        refusing = head[5] == 'r';
        answer(out, 200, "", "", 0);
    } else if (strncmp(head, "GET /seen ", 10) == 0) {
        pthread_mutex_lock(&ledger.lock);
        answer(out, 200, "", ledger.text, ledger.len);
        pthread_mutex_unlock(&ledger.lock);
    } else {
        answer(out, 404, "", "", 0);
    }
}

/* The head of a request, with its empty line; false: the connection is at its end. */
static int read_head(FILE *in, char head[static HEAD])
{
    size_t len = 0;
    while (len < HEAD - 1 && fgets(head + len, (int)(HEAD - len), in) != NULL) {
        size_t line = strlen(head + len);
        len += line;
        if (line == 2 && head[len - 2] == '\r') {
            return 1;
        }
    }
    return 0;
}

static void *serve(void *arg)
{
    char head[HEAD], length[WORD];
    int fd = *(int *)arg;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    free(arg);
    while (read_head(in, head)) {
        header(head, "content-length", length);
        for (long left = strtol(length, NULL, 10); left > 0 && getc(in) != EOF; left--) {
        }
        strncmp(head, "GET ", 4) == 0 ? show(out, head) : take(out, head);
    }
    fclose(in);
    fclose(out);
    return NULL;
}

int main(void)
{
    int listener = listen_on_port();
    if (listener < 0) {
        return 1;
    }
    for (;;) {
        pthread_t thread;
        int *fd = malloc(sizeof(*fd));
        *fd = accept(listener, NULL, NULL);
        if (*fd < 0 || pthread_create(&thread, NULL, serve, fd) != 0) {
            free(fd);
            continue;
        }
        pthread_detach(thread);
    }
}
