// SPDX-License-Identifier: Apache-2.0
/*
 * A whole hop, both directions: server, forwarder and pool between a client and a function of which
 * each sends what the input says. Its first two bytes are the length of the client's part; the
 * function answers each connection with the rest once it has read something. Whatever comes: what
 * the function gets is a row of well-formed requests and what the client gets a row of well-formed
 * answers, of both the last may be cut; every forward is done once; everything closes.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/forward.h"
#include "http_fuzz.h"

#define PEERS_MAX 32 /* connections to the function */
#define GOT_MAX   (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    int fd;
    bool answered;
    size_t n;
    char got[GOT_MAX];
};

struct hop {
    struct loop loop;
    struct http_server *server;
    struct http_pool *pool;
    struct http_forward forward;
    struct http_exchange *exchange; /* that it forwards */
    bool busy;
    unsigned started;
    unsigned done;
    unsigned closed;
    int listener;
    struct peer peers[PEERS_MAX];
    size_t n_peers;
};

static void on_done(struct http_forward *f, const struct http_forward_result *r, void *arg)
{
    struct hop *hop = arg;
    hop->done++;
    hop->busy = false;
    if (!r->answered) {
        struct http_exchange *ex = hop->exchange;
        hop->exchange = NULL;
        http_exchange_listen(ex, NULL, NULL);
        http_exchange_respond(ex, 502, NULL, slice_str(r->err.msg));
    }
}

static const struct http_forward_hooks hooks = {.on_done = on_done};

static void on_request(struct http_exchange *ex, void *arg)
{
    struct hop *hop = arg;
    struct error err;
    if (hop->busy) { /* the answer to the one before is done, its last bytes are not read */
        http_exchange_respond(ex, 503, NULL, SLICE_LIT("busy"));
        return;
    }
    hop->exchange = ex;
    if (http_forward_start(&hop->forward, ex, hop->pool, &hooks, hop, &err) < 0) {
        http_exchange_respond(ex, 502, NULL, slice_str(err.msg));
        return;
    }
    hop->busy = true;
    hop->started++;
}

static int listen_at(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0);
    FUZZ_CHECK(listen(fd, 64) == 0);
    return fd;
}

static int connect_to(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0);
    FUZZ_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

/* One turn of the function: each connection gets the same bytes once, and its end. */
static void serve(struct hop *hop, const uint8_t *answer, size_t n)
{
    int fd = hop->n_peers < PEERS_MAX ? accept(hop->listener, NULL, NULL) : -1;
    if (fd >= 0) {
        FUZZ_CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        struct peer *p = &hop->peers[hop->n_peers++];
        p->fd = fd;
        p->answered = false;
        p->n = 0;
    }
    for (size_t i = 0; i < hop->n_peers; i++) {
        struct peer *p = &hop->peers[i];
        ssize_t k = recv(p->fd, p->got + p->n, GOT_MAX - p->n, 0);
        p->n += k > 0 ? (size_t)k : 0;
        if (p->n > 0 && !p->answered) {
            p->answered = true;
            if (n > 0) {
                (void)!send(p->fd, answer, n, MSG_NOSIGNAL);
            }
            if (n == 0 || answer[0] % 2 == 0) {
                shutdown(p->fd, SHUT_WR);
            }
        }
    }
}

/* A row of messages, of which the last may be cut. Tunnels are passed on raw: what is behind one
 * is not looked at. */
static void check_row(enum llhttp_type type, const char *bytes, size_t n)
{
    while (n > 0) {
        struct fuzz_seen seen;
        fuzz_feed(&seen, type, bytes, n, n);
        bool raw = seen.msg.head.status == 101 || seen.msg.head.upgrade.len > 0;
        FUZZ_CHECK(seen.result != H1_BAD || seen.status == 431 || seen.status == 414 ||
                   (type == HTTP_RESPONSE && seen.msg.head.status != 0) || seen.used == n);
        bool on = seen.result == H1_DONE && !raw;
        size_t used = seen.used;
        fuzz_free(&seen);
        if (!on || used == 0) {
            return;
        }
        bytes += used;
        n -= used;
    }
}

static void on_closed(void *arg)
{
    struct hop *hop = arg;
    hop->closed++;
}

static void open_hop(struct hop *hop, const char *in, const char *out)
{
    char addr[80];
    struct http_limits limits = http_limits_default();
    struct http_pool_options options = http_pool_options_default();
    limits.hold_body_bytes = 64;
    limits.max_head_bytes = 2000;
    FUZZ_CHECK(loop_init(&hop->loop, NULL) == 0);
    snprintf(addr, sizeof(addr), "unix:%s", out);
    FUZZ_CHECK(http_pool_new(&hop->loop, addr, &options, &hop->pool, NULL) == 0);
    hop->server = http_server_new(
        &hop->loop,
        &(struct http_server_options){.limits = limits, .on_request = on_request, .arg = hop});
    snprintf(addr, sizeof(addr), "unix:%s", in);
    FUZZ_CHECK(http_server_listen_text(hop->server, addr, NULL, NULL) == 0);
    hop->listener = listen_at(out);
}

/* The client sends its part, ends its half, and reads until the server has nothing more. */
static size_t converse(struct hop *hop, int fd, const uint8_t *data, size_t size, size_t n_client,
                       char *got)
{
    size_t sent = 0;
    size_t n = 0;
    bool shut = false;
    for (int turn = 0; turn < 300; turn++) {
        ssize_t k = sent < n_client ? send(fd, data + sent, n_client - sent, MSG_NOSIGNAL) : 0;
        sent += k > 0 ? (size_t)k : 0;
        loop_turn(&hop->loop, false);
        serve(hop, data + n_client, size - n_client);
        if (!shut && turn > 20) {
            shut = true;
            shutdown(fd, SHUT_WR);
        }
        k = recv(fd, got + n, GOT_MAX - n, 0);
        n += k > 0 ? (size_t)k : 0;
        if (turn > 22 && http_server_connections(hop->server) == 0) {
            break;
        }
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hop hop; /* large; emptied each time */
    static char got[GOT_MAX];
    char in[64];
    char out[64];
    if (size < 2) {
        return 0;
    }
    size_t n_client = (size_t)data[0] << 8 | data[1];
    data += 2;
    size -= 2;
    n_client = n_client < size ? n_client : size;
    hop = (struct hop){.listener = -1};
    snprintf(in, sizeof(in), "/tmp/fuzz-hop-in-%d", (int)getpid());
    snprintf(out, sizeof(out), "/tmp/fuzz-hop-out-%d", (int)getpid());
    open_hop(&hop, in, out);
    int fd = connect_to(in);
    size_t n = converse(&hop, fd, data, size, n_client, got);
    close(fd);
    for (size_t i = 0; i < hop.n_peers; i++) {
        close(hop.peers[i].fd);
    }
    close(hop.listener);
    http_server_close(hop.server, on_closed, &hop);
    http_pool_close(hop.pool, on_closed, &hop);
    while (loop_turn(&hop.loop, false)) {
    }
    FUZZ_CHECK(hop.closed == 2 && hop.started == hop.done && !hop.busy);
    FUZZ_CHECK(loop_fini(&hop.loop, NULL) == 0);
    unlink(in);
    unlink(out);
    check_row(HTTP_RESPONSE, got, n);
    for (size_t i = 0; i < hop.n_peers; i++) {
        check_row(HTTP_REQUEST, hop.peers[i].got, hop.peers[i].n);
    }
    return 0;
}
