// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "fault.h"
#include "link/link.h"
#include "link/proto.h"
#include "test.h"
#include "test_loop.h"

#define SECRET SLICE_LIT("0123456789abcdef0123456789abcdef")

/* The server echoes each frame; type 9 makes it drop the peer. */
struct world {
    struct loop *loop;
    struct link_server *server;
    struct link_client *client;
    struct link_peer *peer;
    char address[ADDR_TEXT_MAX];
    int server_ups;
    int server_downs;
    int client_ups;
    int client_downs;
    int down_code;
    int frames; /* echoes that the client got */
    struct strbuf last;
    bool server_closed;
    bool client_closed;
    bool close_on_frame;
    bool send_on_up;
    uint64_t handshake_ms;
};

static void server_up(struct link_peer *peer, void *data)
{
    struct world *w = data;
    w->server_ups++;
    w->peer = peer;
    link_peer_set_data(peer, w);
}

static void server_frame(struct link_peer *peer, uint8_t type, struct slice payload, void *data)
{
    struct error err;
    assert_ptr_equal(link_peer_data(peer), data);
    if (type == 9) {
        link_peer_close(peer);
        ASSERT_ERR(ERR_CLOSED, link_peer_send(peer, 1, payload, &err));
        return;
    }
    int rc = link_peer_send(peer, type, payload, &err);
    (void)rc; /* a fault may be under it */
}

static void server_down(struct link_peer *peer, const struct error *why, void *data)
{
    struct world *w = data;
    w->server_downs++;
    w->peer = NULL;
}

static const struct link_server_events server_events = {server_up, server_frame, server_down};

static void client_up(struct link_client *client, void *data)
{
    struct world *w = data;
    struct error err;
    w->client_ups++;
    assert_true(link_client_is_up(client));
    if (w->send_on_up) {
        int rc = link_client_send(client, 5, SLICE_LIT("hello"), &err);
        (void)rc;
    }
}

static void client_frame(struct link_client *client, uint8_t type, struct slice payload, void *data)
{
    struct world *w = data;
    w->frames++;
    strbuf_clear(&w->last);
    strbuf_append_slice(&w->last, payload);
}

static void client_down(struct link_client *client, const struct error *why, void *data)
{
    struct world *w = data;
    w->client_downs++;
    w->down_code = why->code;
    assert_false(link_client_is_up(client));
}

static const struct link_client_events client_events = {client_up, client_frame, client_down};

static void world_init(struct world *w, struct loop *loop)
{
    *w = (struct world){.loop = loop, .handshake_ms = 200};
    strbuf_init(&w->last, 2 << 20);
}

static int start_server(struct world *w, const char *address, struct slice secret)
{
    struct error err;
    struct link_server_options opt = {.secret = secret,
                                      .events = &server_events,
                                      .data = w,
                                      .max_peers = 2,
                                      .handshake_ms = w->handshake_ms,
                                      .queue_max_bytes = 4 << 20};
    ASSERT_OK(addr_parse(slice_str(address), &opt.addr, &err));
    w->server_closed = false;
    int rc = link_server_start(w->loop, &opt, &w->server, &err);
    if (rc == 0) {
        addr_format(link_server_addr(w->server), w->address, sizeof(w->address));
    }
    return rc;
}

static void start_client(struct world *w, const char *address, struct slice secret)
{
    struct error err;
    struct link_client_options opt = {.address = address,
                                      .secret = secret,
                                      .events = &client_events,
                                      .data = w,
                                      .handshake_ms = 500,
                                      .backoff_min_ms = 1,
                                      .backoff_max_ms = 20};
    ASSERT_OK(link_client_start(w->loop, &opt, &w->client, &err));
}

static void server_closed(void *data)
{
    struct world *w = data;
    assert_false(w->server_closed);
    w->server_closed = true;
    w->server = NULL;
}

static void client_closed(void *data)
{
    struct world *w = data;
    assert_false(w->client_closed);
    w->client_closed = true;
    w->client = NULL;
}

static void close_server(struct world *w)
{
    if (w->server != NULL) {
        link_server_close(w->server, server_closed, w);
        LOOP_UNTIL(w->loop, w->server_closed);
    }
}

static void world_end(struct world *w)
{
    if (w->client != NULL) {
        link_client_close(w->client, client_closed, w);
        LOOP_UNTIL(w->loop, w->client_closed);
    }
    close_server(w);
    assert_int_equal(w->client_ups, w->client_downs);
    assert_int_equal(w->server_ups, w->server_downs);
    strbuf_fini(&w->last);
}

static void exchange(struct world *w)
{
    struct error err;
    char *big = xcalloc(1, LINK_PAYLOAD_MAX);
    memset(big, 'b', LINK_PAYLOAD_MAX);
    LOOP_UNTIL(w->loop, w->client_ups == 1 && w->server_ups == 1);
    ASSERT_OK(link_client_send(w->client, 1, SLICE_EMPTY, &err));
    ASSERT_OK(link_client_send(w->client, 239, SLICE_LIT("small"), &err));
    LOOP_UNTIL(w->loop, w->frames == 2);
    assert_string_equal(w->last.ptr, "small");
    ASSERT_OK(link_client_send(w->client, 7, slice_of(big, LINK_PAYLOAD_MAX), &err));
    ASSERT_ERR(ERR_TOO_BIG,
               link_client_send(w->client, 7, slice_of(big, LINK_PAYLOAD_MAX + 1), &err));
    LOOP_UNTIL(w->loop, w->frames == 3);
    assert_int_equal(w->last.len, LINK_PAYLOAD_MAX);
    assert_memory_equal(w->last.ptr, big, LINK_PAYLOAD_MAX);
    for (int i = 0; i < 200; i++) {
        ASSERT_OK(link_client_send(w->client, 7, slice_of(big, 1000), &err));
    }
    LOOP_UNTIL(w->loop, w->frames == 203);
    free(big);
}

static void frames_pass_over_unix(void **state)
{
    struct world w;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    world_init(&w, *state);
    assert_int_equal(start_server(&w, address, SLICE_EMPTY), 0);
    start_client(&w, address, SLICE_EMPTY);
    exchange(&w);
    assert_non_null(strstr(link_peer_name(w.peer), "unix: process "));
    world_end(&w);
    test_dir_remove(dir);
}

static void frames_pass_over_tcp(void **state)
{
    struct world w;
    world_init(&w, *state);
    assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
    start_client(&w, w.address, SECRET);
    exchange(&w);
    assert_non_null(strstr(link_peer_name(w.peer), "127.0.0.1:"));
    world_end(&w);
}

static void names_are_resolved(void **state)
{
    struct world w;
    world_init(&w, *state);
    assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
    CLEANUP(cleanup_free)
    char *address = xasprintf("localhost:%u", addr_port(link_server_addr(w.server)));
    start_client(&w, address, SECRET);
    LOOP_UNTIL(w.loop, w.client_ups == 1 && w.server_ups == 1);
    world_end(&w);
}

static void a_wrong_secret_stays_out(void **state)
{
    struct world w;
    struct error err;
    world_init(&w, *state);
    assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
    start_client(&w, w.address, SLICE_LIT("not the secret of this install"));
    LOOP_UNTIL(w.loop, link_server_counts(w.server).refused_auth >= 3);
    assert_int_equal(w.client_ups, 0);
    assert_int_equal(w.server_ups, 0);
    ASSERT_ERR(ERR_UNAVAILABLE, link_client_send(w.client, 1, SLICE_EMPTY, &err));
    ASSERT_MSG(w.address);
    world_end(&w);
}

/* A server without the secret: the client must not come up, whatever it says. */
static void a_false_server_is_not_believed(void **state)
{
    struct world w;
    struct world other;
    world_init(&w, *state);
    world_init(&other, *state);
    assert_int_equal(start_server(&other, "127.0.0.1:0", SLICE_LIT("0123456789abcdef-other")), 0);
    start_client(&w, other.address, SECRET);
    LOOP_UNTIL(w.loop, link_server_counts(other.server).refused_auth >= 1);
    assert_int_equal(w.client_ups, 0);
    world_end(&w);
    world_end(&other);
}

static void secrets_are_demanded(void **state)
{
    struct error err;
    struct world w;
    world_init(&w, *state);
    assert_int_equal(start_server(&w, "127.0.0.1:0", SLICE_LIT("short")), ERR_INVALID);
    struct link_client_options opt = {.address = "127.0.0.1:1", .events = &client_events};
    ASSERT_ERR(ERR_INVALID, link_client_start(*state, &opt, &w.client, &err));
    static const char *const bad[] = {"nowhere", ":", "a:", "unix:", "http://x:1", "::1:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        opt = (struct link_client_options){
            .address = bad[i], .secret = SECRET, .events = &client_events};
        ASSERT_ERR(ERR_INVALID, link_client_start(*state, &opt, &w.client, &err));
    }
    world_end(&w);
}

static void a_client_comes_back(void **state)
{
    struct world w;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    world_init(&w, *state);
    start_client(&w, address, SLICE_EMPTY); /* nobody listens yet */
    LOOP_UNTIL(w.loop, link_client_last_error(w.client)->code == ERR_NOT_FOUND);
    for (int round = 1; round <= 3; round++) {
        assert_int_equal(start_server(&w, address, SLICE_EMPTY), 0);
        LOOP_UNTIL(w.loop, w.client_ups == round && w.server_ups == round);
        assert_int_equal(link_client_last_error(w.client)->code, 0);
        close_server(&w);
        LOOP_UNTIL(w.loop, w.client_downs == round);
        assert_int_equal(w.down_code, ERR_CLOSED);
    }
    world_end(&w);
    test_dir_remove(dir);
}

static void a_dropped_peer_comes_back(void **state)
{
    struct error err;
    struct world w;
    world_init(&w, *state);
    assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
    start_client(&w, w.address, SECRET);
    LOOP_UNTIL(w.loop, w.client_ups == 1 && w.server_ups == 1);
    ASSERT_OK(link_client_send(w.client, 9, SLICE_EMPTY, &err));
    LOOP_UNTIL(w.loop, w.client_ups == 2 && w.server_ups == 2);
    assert_int_equal(w.client_downs, 1);
    world_end(&w);
}

/* A plain socket that says something to a server. */
static int stranger(struct world *w, const char *bytes, size_t len)
{
    const struct addr *addr = link_server_addr(w->server);
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &addr->u.any, addr->len), 0);
    assert_int_equal(write(fd, bytes, len), len);
    return fd;
}

static void strangers_are_dropped(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\0\0\0\4\1\1\0\0", 8},   /* a frame before the handshake */
        {"\0\0\0\4\1\xf1\0\0", 8}, /* a response that is too short */
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
        {"", 0}, /* silence: the deadline */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        world_init(&w, *state);
        assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
        int fd = stranger(&w, rows[i].bytes, rows[i].len);
        LOOP_UNTIL(w.loop, link_server_counts(w.server).refused_auth == 1 &&
                               link_server_peers(w.server) == 0);
        assert_int_equal(w.server_ups, 0);
        close(fd);
        world_end(&w);
    }
}

static void a_peer_that_breaks_frames_is_dropped(void **state)
{
    struct world w;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    world_init(&w, *state);
    assert_int_equal(start_server(&w, address, SLICE_EMPTY), 0);
    int fd = stranger(&w, "\0\0\0\4\1\xf1\0\0", 8);
    LOOP_UNTIL(w.loop, w.server_downs == 1);
    assert_int_equal(link_server_counts(w.server).refused_frames, 1);
    close(fd);
    world_end(&w);
    test_dir_remove(dir);
}

static void too_many_peers_are_refused(void **state)
{
    struct world w;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    world_init(&w, *state);
    assert_int_equal(start_server(&w, address, SLICE_EMPTY), 0);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = stranger(&w, "", 0);
    }
    LOOP_UNTIL(w.loop, w.server_ups == 2 && link_server_counts(w.server).refused_full == 1);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    LOOP_UNTIL(w.loop, w.server_downs == 2);
    world_end(&w);
    test_dir_remove(dir);
}

static void silent_strangers_keep_nobody_out(void **state)
{
    struct world w;
    world_init(&w, *state);
    w.handshake_ms = 60000;
    assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = stranger(&w, "", 0);
    }
    start_client(&w, w.address, SECRET);
    LOOP_UNTIL(w.loop, w.client_ups == 1 && w.server_ups == 1);
    assert_true(link_server_counts(w.server).refused_auth >= 3);
    assert_true(link_server_peers(w.server) <= 3);
    for (int i = 0; i < 5; i++) {
        close(fds[i]);
    }
    LOOP_UNTIL(w.loop, link_server_peers(w.server) == 1);
    world_end(&w);
}

static void a_slow_reader_overloads(void **state)
{
    struct error err;
    struct world w;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    CLEANUP(cleanup_free) char *big = xcalloc(1, 1 << 19);
    world_init(&w, *state);
    assert_int_equal(start_server(&w, address, SLICE_EMPTY), 0);
    int fd = stranger(&w, "", 0);
    LOOP_UNTIL(w.loop, w.server_ups == 1);
    int rc = 0;
    int sent = 0;
    while (rc == 0 && sent < 100) {
        rc = link_peer_send(w.peer, 1, slice_of(big, 1 << 19), &err);
        sent++;
    }
    assert_int_equal(rc, ERR_OVERLOAD);
    assert_true(sent >= 8);
    close(fd);
    world_end(&w);
    test_dir_remove(dir);
}

static void survives_every_fault(void **state)
{
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *unix_address = xasprintf("unix:%s/s", dir);
    for (int tcp = 0; tcp < 2; tcp++) {
        bool fired = true;
        unsigned n = 0;
        while (fired) {
            struct world w;
            world_init(&w, *state);
            w.send_on_up = true;
            fault_arm(++n, UV_ECONNRESET);
            if (start_server(&w, tcp ? "127.0.0.1:0" : unix_address, SECRET) == 0) {
                start_client(&w, w.address, SECRET);
                LOOP_UNTIL(w.loop, w.frames >= 1); /* the client tries until it works */
            }
            fired = fault_disarm();
            world_end(&w);
        }
        assert_true(n > 5);
    }
    test_dir_remove(dir);
}

static void closes_at_every_turn(void **state)
{
    struct loop *loop = *state;
    for (int which = 0; which < 2; which++) {
        bool finished = false;
        for (unsigned n = 0; !finished; n++) {
            struct world w;
            world_init(&w, loop);
            w.send_on_up = true;
            assert_int_equal(start_server(&w, "127.0.0.1:0", SECRET), 0);
            CLEANUP(cleanup_free)
            char *address = xasprintf("%s:%u", which == 0 ? "127.0.0.1" : "localhost",
                                      addr_port(link_server_addr(w.server)));
            start_client(&w, address, SECRET);
            struct test_wait wait;
            test_wait_begin(&wait);
            for (unsigned i = 0; i < n && w.frames == 0; i++) {
                test_wait_turn(&wait, loop, "the n-th turn", __FILE__, __LINE__);
            }
            finished = w.frames > 0;
            link_client_close(w.client, client_closed, &w);
            link_client_close(w.client, client_closed, &w);
            LOOP_UNTIL(loop, w.client_closed);
            w.client = NULL;
            world_end(&w);
        }
    }
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(frames_pass_over_unix),
        LOOP_TEST(frames_pass_over_tcp),
        LOOP_TEST(names_are_resolved),
        LOOP_TEST(a_wrong_secret_stays_out),
        LOOP_TEST(a_false_server_is_not_believed),
        LOOP_TEST(secrets_are_demanded),
        LOOP_TEST(a_client_comes_back),
        LOOP_TEST(a_dropped_peer_comes_back),
        LOOP_TEST(strangers_are_dropped),
        LOOP_TEST(a_peer_that_breaks_frames_is_dropped),
        LOOP_TEST(too_many_peers_are_refused),
        LOOP_TEST(silent_strangers_keep_nobody_out),
        LOOP_TEST(a_slow_reader_overloads),
        LOOP_TEST(survives_every_fault),
        LOOP_TEST(closes_at_every_turn),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
