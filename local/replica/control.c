// SPDX-License-Identifier: Apache-2.0
//
// The talk with the agent (replica.h has the lines).
//
// Happy path: an agent connects, gets the state, and then every new one; its orders are carried
// out at once. Failure modes: an agent that does not read, or sends what is no order, is cut off
// and may connect again; with all places taken the newest connection replaces another.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "local/replica/life.h"

static const char *const PHASE_NAMES[] = {"running", "backoff", "draining", "terminating", "ended"};

// Escapes for JSON; bytes that are not printable ASCII become '?', since the text may be any
// program's output.
static void json_text(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
        }
        out[n++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    out[n] = '\0';
}

static void client_close(struct replica *r, int slot)
{
    close(r->fds[slot].fd);
    r->fds[slot].fd = -1;
}

static void state_line(const struct replica *r, char line[STATE_MAX])
{
    char message[2 * REPLICA_MESSAGE_MAX];

    json_text(message, sizeof message, r->message);
    // Its fixed part and all numbers take less than 400 bytes: it always fits.
    (void)snprintf(line, STATE_MAX,
                   "{\"phase\":\"%s\",\"ready\":%s,\"pid\":%d,\"proxyPid\":%d,\"restarts\":%" PRIu64
                   ",\"startedAt\":%" PRIu64 ",\"readyAt\":%" PRIu64
                   ",\"code\":%d,\"signal\":%d,\"oom\":%s,\"message\":\"%s\"}\n",
                   PHASE_NAMES[r->phase], r->ready ? "true" : "false", (int)r->pid,
                   (int)r->proxy_pid, r->restarts, r->started_wall_ns, r->ready_wall_ns, r->code,
                   r->signal, r->oom ? "true" : "false", message);
}

// A client that does not read its few lines is cut off; it connects again and gets the newest
// state.
static void state_send(struct replica *r, int slot)
{
    size_t len = strlen(r->told);

    ssize_t n = send(r->fds[slot].fd, r->told, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n != (ssize_t)len &&
        !(n < 0 && errno == EPIPE)) { // EPIPE: its last order is yet to be read
        client_close(r, slot);
    }
}

// Only what is new: a function can make us look often, by children that end for example.
void control_tell(struct replica *r)
{
    char line[STATE_MAX];

    state_line(r, line);
    if (strcmp(line, r->told) == 0) {
        return;
    }
    memcpy(r->told, line, sizeof line);
    for (int slot = FD_CLIENT; slot < FD_COUNT; slot++) {
        if (r->fds[slot].fd >= 0) {
            state_send(r, slot);
        }
    }
}

void control_accept(struct replica *r)
{
    int fd = accept4(r->fds[FD_CTL].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    int slot = FD_CLIENT;
    while (slot < FD_COUNT - 1 && r->fds[slot].fd >= 0) {
        slot++;
    }
    if (r->fds[slot].fd >= 0) { // nobody else needs so many: the newest one is the agent
        client_close(r, slot);
    }
    r->fds[slot] = (struct pollfd){.fd = fd, .events = POLLIN};
    r->orders[slot - FD_CLIENT].len = 0;
    state_line(r, r->told);
    state_send(r, slot);
}

static void order_run(struct replica *r, const char *line)
{
    if (strcmp(line, "kill") == 0) {
        life_kill(r);
    } else if (strncmp(line, "stop ", 5) == 0 && line[5] >= '0' && line[5] <= '9') {
        life_stop(r, strtoull(line + 5, NULL, 10));
    }
}

void control_read(struct replica *r, int slot)
{
    struct order *o = &r->orders[slot - FD_CLIENT];
    char *end;
    ssize_t n = recv(r->fds[slot].fd, o->text + o->len, sizeof o->text - o->len, MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            client_close(r, slot);
        }
        return;
    }
    o->len += (size_t)n;
    while ((end = memchr(o->text, '\n', o->len)) != NULL) {
        size_t used = (size_t)(end - o->text) + 1;
        *end = '\0';
        order_run(r, o->text);
        memmove(o->text, o->text + used, o->len - used);
        o->len -= used;
    }
    if (o->len == sizeof o->text) {
        client_close(r, slot); // no order is that long
    }
    control_tell(r);
}
