// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "echo.h"
#include "fault.h"
#include "test.h"
#include "test_loop.h"

#define BIG (24u << 20) /* more than two sockets buffer */

static void run_echo(struct loop *loop, const char *address, size_t total)
{
    struct echo *e = NEW(struct echo);
    echo_start(e, loop, address, total);
    LOOP_UNTIL(loop, echo_closed(e));
    if (!e->ok) {
        fail_msg("%s", e->err.msg);
    }
    assert_int_equal(e->completions, 3); /* one connect, two shutdowns */
    assert_int_equal(e->starts, 3);
    if (total == BIG) {
        assert_true(e->paused > 0);
    }
    free(e);
}

static void echoes_over_tcp(void **state)
{
    run_echo(*state, "127.0.0.1:0", BIG);
    run_echo(*state, "[::1]:0", 100);
    run_echo(*state, "127.0.0.1:0", 0);
}

static void echoes_over_unix(void **state)
{
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    run_echo(*state, address, BIG);
    run_echo(*state, address, 1);
    assert_false(fs_exists(address + 5)); /* the listener took its path away */
    test_dir_remove(dir);
    CLEANUP(cleanup_free) char *abstract = xasprintf("unix:@lull-test-%d", (int)getpid());
    run_echo(*state, abstract, BIG);
    run_echo(*state, abstract, 1);
}

/* Error at every wrapped call n. */
static void survives_every_fault(void **state)
{
    static const int codes[] = {UV_ENOBUFS, UV_ECONNRESET};
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *unix_address = xasprintf("unix:%s/s", dir);
    const char *const addresses[] = {"127.0.0.1:0", unix_address};
    for (size_t a = 0; a < 4; a++) {
        unsigned n = 0;
        bool fired = true;
        while (fired) {
            struct echo *e = NEW(struct echo);
            fault_arm(++n, codes[a / 2]);
            echo_start(e, *state, addresses[a % 2], 300000);
            LOOP_UNTIL(*state, echo_closed(e));
            fired = fault_disarm();
            assert_true(e->ok == !fired || (fired && e->received == e->total));
            assert_int_equal(e->completions, e->starts);
            free(e);
        }
        assert_true(n > 8);
    }
    test_dir_remove(dir);
}

/* Close at every loop iteration n. */
static void close_at_every_turn(struct loop *loop, const char *address)
{
    bool finished = false;
    unsigned n = 0;
    for (; !finished; n++) {
        struct echo *e = NEW(struct echo);
        echo_start(e, loop, address, 1u << 20);
        struct test_wait wait;
        test_wait_begin(&wait);
        for (unsigned i = 0; i < n && !echo_closed(e); i++) {
            test_wait_turn(&wait, loop, "the n-th turn", __FILE__, __LINE__);
        }
        finished = e->ok;
        echo_close(e);
        echo_close(e);
        LOOP_UNTIL(loop, echo_closed(e));
        assert_int_equal(e->completions, e->starts);
        free(e);
    }
    assert_true(n > 4);
}

static void closes_at_every_turn(void **state)
{
    CLEANUP(cleanup_free) char *abstract = xasprintf("unix:@lull-test-%d", (int)getpid());
    close_at_every_turn(*state, "127.0.0.1:0");
    close_at_every_turn(*state, abstract);
}

/* --- single behaviours --- */

struct probe {
    struct stream s;
    char buf[32];
    size_t got;
    size_t want_buffer; /* what on_buffer offers */
    bool ended;
    bool closed;
    bool done;
    int drains;
    int connect_code;
    struct error err;
    struct rivals *rivals;
};

static struct stream_buffer probe_buffer(struct stream *s)
{
    struct probe *p = s->data;
    return (struct stream_buffer){p->buf + p->got, p->want_buffer};
}

static void probe_read(struct stream *s, char *bytes, size_t n)
{
    struct probe *p = s->data;
    p->got += n;
}

static void probe_end(struct stream *s)
{
    struct probe *p = s->data;
    p->ended = true;
}

static void probe_drain(struct stream *s)
{
    struct probe *p = s->data;
    p->drains++;
}

static void probe_error(struct stream *s, const struct error *err)
{
    struct probe *p = s->data;
    assert_int_equal(p->err.code, 0); /* at most once */
    p->err = *err;
}

static const struct stream_events probe_events = {probe_buffer, probe_read, probe_end, probe_drain,
                                                  probe_error};

static void probe_closed(struct stream *s)
{
    struct probe *p = s->data;
    p->closed = true;
}

static void probe_connected(struct stream *s, const struct error *err)
{
    struct probe *p = s->data;
    assert_false(p->done);
    p->done = true;
    p->connect_code = err == NULL ? 0 : err->code;
}

/* A stream on one end of a socket pair; the other end is a plain descriptor. */
static int probe_pair(struct probe *p, struct loop *loop)
{
    struct error err;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *p = (struct probe){.want_buffer = 8};
    stream_init(&p->s, loop, &probe_events, p);
    ASSERT_OK(stream_open_fd(&p->s, fds[0], &err));
    return fds[1];
}

static void connecting_to_nobody_is_refused(void **state)
{
    static const struct {
        const char *address;
        int code;
    } rows[] = {{"127.0.0.1:1", ERR_REFUSED}, {"unix:/nonexistent/socket", ERR_NOT_FOUND}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct addr addr;
        struct probe p = {.got = 0};
        ASSERT_OK(addr_parse(slice_str(rows[i].address), &addr, &err));
        stream_init(&p.s, *state, &probe_events, &p);
        ASSERT_OK(stream_connect(&p.s, &addr, probe_connected, &err));
        assert_false(p.done); /* never from inside the call */
        LOOP_UNTIL(*state, p.done);
        assert_int_equal(p.connect_code, rows[i].code);
        ASSERT_ERR(ERR_CLOSED, stream_write_bytes(&p.s, "x", 1, &err));
        ASSERT_ERR(ERR_CLOSED, stream_shutdown(&p.s, NULL, &err));
        assert_false(stream_is_open(&p.s));
        stream_close(&p.s, probe_closed);
        LOOP_UNTIL(*state, p.closed);
    }
}

static void closing_cancels_a_connect(void **state)
{
    struct error err;
    struct addr addr;
    struct probe p = {.got = 0};
    ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:1"), &addr, &err));
    stream_init(&p.s, *state, &probe_events, &p);
    ASSERT_OK(stream_connect(&p.s, &addr, probe_connected, &err));
    stream_close(&p.s, probe_closed);
    LOOP_UNTIL(*state, p.closed);
    assert_true(p.done);
    assert_int_equal(p.connect_code, ERR_CANCELED);
}

static void a_stream_that_was_never_opened_closes(void **state)
{
    struct probe p = {.got = 0};
    stream_init(&p.s, *state, &probe_events, &p);
    stream_close(&p.s, probe_closed);
    stream_close(&p.s, probe_closed);
    assert_false(p.closed);
    LOOP_UNTIL(*state, p.closed);
}

static void an_empty_buffer_pauses(void **state)
{
    struct probe p;
    int fd = probe_pair(&p, *state);
    assert_int_equal(write(fd, "0123456789abcdefghij", 20), 20);
    p.want_buffer = 0;
    stream_read_start(&p.s);
    LOOP_UNTIL(*state, !p.s.reading);
    assert_int_equal(p.got, 0);
    p.want_buffer = 8;
    stream_read_start(&p.s);
    LOOP_UNTIL(*state, p.got == 20);
    close(fd);
    LOOP_UNTIL(*state, p.ended);
    assert_true(stream_is_open(&p.s)); /* half-closed: writing is another matter */
    stream_close(&p.s, probe_closed);
    LOOP_UNTIL(*state, p.closed);
}

static void the_queue_is_bounded(void **state)
{
    struct error err;
    struct probe p;
    int fd = probe_pair(&p, *state);
    char *big = xcalloc(1, 4 << 20);
    stream_set_queue_max(&p.s, 1 << 20);
    ASSERT_ERR(ERR_OVERLOAD, stream_write_bytes(&p.s, big, (1 << 20) + 1, &err));
    assert_int_equal(stream_queued_bytes(&p.s), 0);
    ASSERT_OK(stream_write_bytes(&p.s, big, 1 << 20, &err));
    size_t queued = stream_queued_bytes(&p.s);
    assert_true(queued > 0 && queued < 1 << 20);
    ASSERT_OK(stream_write_bytes(&p.s, big, (1 << 20) - queued, &err));
    ASSERT_ERR(ERR_OVERLOAD, stream_write_bytes(&p.s, "x", 1, &err));
    assert_int_equal(stream_queued_bytes(&p.s), 1 << 20);
    ASSERT_OK(fs_set_nonblock(fd, true, &err));
    size_t got = 0;
    LOOP_UNTIL(*state, ({
        ssize_t n;
        while ((n = read(fd, big, 65536)) > 0) {
            got += (size_t)n;
        }
        p.drains > 0;
    }));
    assert_int_equal(p.drains, 1);
    assert_true(got > 0);
    assert_int_equal(stream_queued_bytes(&p.s), 0);
    ASSERT_OK(stream_write_bytes(&p.s, "x", 1, &err));
    close(fd);
    free(big);
    stream_close(&p.s, probe_closed);
    LOOP_UNTIL(*state, p.closed);
}

static void a_gone_peer_breaks_it_once(void **state)
{
    struct error err;
    struct probe p;
    int fd = probe_pair(&p, *state);
    close(fd);
    ASSERT_ERR(ERR_CLOSED, stream_write_bytes(&p.s, "x", 1, &err));
    assert_int_equal(p.err.code, 0); /* on_error comes later */
    ASSERT_ERR(ERR_CLOSED, stream_write_bytes(&p.s, "y", 1, &err));
    LOOP_UNTIL(*state, p.err.code != 0);
    assert_int_equal(p.err.code, ERR_CLOSED);
    stream_read_start(&p.s); /* nothing happens */
    stream_close(&p.s, probe_closed);
    LOOP_UNTIL(*state, p.closed);
    assert_false(p.ended);
}

static void closing_swallows_a_pending_error(void **state)
{
    struct error err;
    struct probe p;
    int fd = probe_pair(&p, *state);
    close(fd);
    ASSERT_ERR(ERR_CLOSED, stream_write_bytes(&p.s, "x", 1, &err));
    stream_close(&p.s, probe_closed);
    LOOP_UNTIL(*state, p.closed);
    assert_int_equal(p.err.code, 0);
}

/* Two have bytes in the same turn, and who is told first closes the other. */
struct rivals {
    struct probe a;
    struct probe b;
    int reads;
};

static void close_the_rival(struct stream *s, char *bytes, size_t n)
{
    struct probe *p = s->data;
    struct rivals *r = p->rivals;
    r->reads++;
    stream_close(p == &r->a ? &r->b.s : &r->a.s, probe_closed);
}

static void closing_strikes_what_waits_to_be_told(void **state)
{
    static const struct stream_events events = {probe_buffer, close_the_rival, probe_end,
                                                probe_drain, probe_error};
    struct rivals r = {.reads = 0};
    int a = probe_pair(&r.a, *state);
    int b = probe_pair(&r.b, *state);
    r.a.rivals = r.b.rivals = &r;
    stream_set_events(&r.a.s, &events, &r.a);
    stream_set_events(&r.b.s, &events, &r.b);
    stream_read_start(&r.a.s);
    stream_read_start(&r.b.s);
    assert_int_equal(write(a, "x", 1), 1);
    assert_int_equal(write(b, "x", 1), 1);
    LOOP_UNTIL(*state, r.a.closed || r.b.closed);
    assert_int_equal(r.reads, 1);
    stream_close(&r.a.s, probe_closed);
    stream_close(&r.b.s, probe_closed);
    LOOP_UNTIL(*state, r.a.closed && r.b.closed);
    close(a);
    close(b);
}

/* --- listeners --- */

struct hall {
    struct listener l;
    struct probe guest;
    bool refuse;
    bool hold;
    bool closed;
    unsigned knocks;
};

static void on_knock(struct listener *l)
{
    struct hall *h = l->data;
    struct error err;
    h->knocks++;
    if (h->refuse) {
        listener_refuse(l);
    } else if (!h->hold) {
        h->guest.want_buffer = 8;
        ASSERT_OK(listener_accept(l, &h->guest.s, &probe_events, &h->guest, &err));
    }
}

static void hall_closed(struct listener *l)
{
    struct hall *h = l->data;
    h->closed = true;
}

static void hall_open(struct hall *h, struct loop *loop, const char *address)
{
    struct error err;
    struct addr addr;
    ASSERT_OK(addr_parse(slice_str(address), &addr, &err));
    ASSERT_OK(listener_start(&h->l, loop, &addr, NULL, on_knock, h, &err));
}

static void probe_connect(struct probe *p, struct loop *loop, const struct addr *addr)
{
    struct error err;
    p->want_buffer = 8;
    stream_init(&p->s, loop, &probe_events, p);
    ASSERT_OK(stream_connect(&p->s, addr, probe_connected, &err));
}

static void a_reset_is_seen_as_an_error(void **state)
{
    struct hall h = {.knocks = 0};
    struct probe p = {.got = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    probe_connect(&p, *state, listener_addr(&h.l));
    LOOP_UNTIL(*state, p.done && h.knocks == 1);
    char near[ADDR_TEXT_MAX];
    char far[ADDR_TEXT_MAX];
    assert_string_equal(stream_local(&p.s, near, sizeof(near)),
                        stream_peer(&h.guest.s, far, sizeof(far)));
    stream_read_start(&p.s);
    stream_reset(&h.guest.s, probe_closed);
    LOOP_UNTIL(*state, p.err.code != 0);
    assert_int_equal(p.err.code, ERR_CLOSED);
    assert_false(p.ended);
    stream_close(&p.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && h.guest.closed && h.closed);
}

static void refusing_resets(void **state)
{
    struct hall h = {.refuse = true};
    struct probe p = {.got = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    probe_connect(&p, *state, listener_addr(&h.l));
    stream_read_start(&p.s);
    LOOP_UNTIL(*state, p.err.code != 0 || p.connect_code != 0);
    stream_close(&p.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && h.closed);
}

static void a_held_connection_waits(void **state)
{
    struct error err;
    struct hall h = {.hold = true};
    struct probe p = {.got = 0};
    struct probe q = {.got = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    probe_connect(&p, *state, listener_addr(&h.l));
    LOOP_UNTIL(*state, h.knocks == 1);
    probe_connect(&q, *state, listener_addr(&h.l));
    LOOP_UNTIL(*state, p.done && q.done); /* by the kernel; our listener stands still */
    assert_int_equal(h.knocks, 1);
    h.guest.want_buffer = 8;
    ASSERT_OK(listener_accept(&h.l, &h.guest.s, &probe_events, &h.guest, &err));
    LOOP_UNTIL(*state, h.knocks == 2);
    listener_refuse(&h.l);
    stream_close(&p.s, probe_closed);
    stream_close(&q.s, probe_closed);
    stream_close(&h.guest.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && q.closed && h.guest.closed && h.closed);
}

static void connections_wait_while_descriptors_lack(void **state)
{
    struct hall h = {.knocks = 0};
    struct probe p = {.got = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    probe_connect(&p, *state, listener_addr(&h.l));
    fault_arm(1, UV_EMFILE);
    LOOP_UNTIL(*state, h.knocks == 1);
    assert_true(fault_disarm());
    assert_true(stream_is_open(&h.guest.s));
    stream_close(&p.s, probe_closed);
    stream_close(&h.guest.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && h.guest.closed && h.closed);
}

static void accepting_nothing_fails(void **state)
{
    struct error err;
    struct hall h = {.knocks = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    ASSERT_ERR(ERR_UNAVAILABLE, listener_accept(&h.l, &h.guest.s, &probe_events, &h.guest, &err));
    stream_close(&h.guest.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, h.guest.closed && h.closed);
}

static void a_unix_socket_is_private_and_known(void **state)
{
    struct error err;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    struct hall h = {.knocks = 0};
    struct probe p = {.got = 0};
    hall_open(&h, *state, address);
    struct stat st;
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    probe_connect(&p, *state, listener_addr(&h.l));
    LOOP_UNTIL(*state, p.done && h.knocks == 1);
    struct ucred who;
    ASSERT_OK(stream_peer_cred(&h.guest.s, &who, &err));
    assert_int_equal(who.pid, getpid());
    assert_int_equal(who.uid, geteuid());

    /* Somebody listens there: a second one is told so, and the first stays. */
    struct hall second = {.knocks = 0};
    struct addr addr;
    ASSERT_OK(addr_parse(slice_str(address), &addr, &err));
    ASSERT_ERR(ERR_IN_USE, listener_start(&second.l, *state, &addr, NULL, on_knock, &second, &err));
    listener_close(&second.l, hall_closed);
    assert_true(fs_exists(address + 5));
    stream_close(&p.s, probe_closed);
    stream_close(&h.guest.s, probe_closed);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && h.guest.closed && h.closed && second.closed);
    test_dir_remove(dir);
}

static void a_stale_unix_socket_is_replaced(void **state)
{
    struct error err;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/s", dir);
    struct addr addr;
    ASSERT_OK(addr_parse(slice_str(address), &addr, &err));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &addr.u.any, addr.len), 0);
    close(fd);
    assert_true(fs_exists(address + 5));
    struct hall h = {.knocks = 0};
    hall_open(&h, *state, address);
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, h.closed);

    /* A file that is no socket is nobody's to remove. */
    ASSERT_OK(fs_write_atomic(address + 5, SLICE_LIT("x"), 0600, &err));
    ASSERT_ERR(ERR_EXISTS, listener_start(&h.l, *state, &addr, NULL, on_knock, &h, &err));
    h.closed = false;
    listener_close(&h.l, hall_closed);
    LOOP_UNTIL(*state, h.closed);
    assert_true(fs_exists(address + 5));
    test_dir_remove(dir);
}

static void a_busy_port_is_reported(void **state)
{
    struct error err;
    struct hall h = {.knocks = 0};
    struct hall second = {.knocks = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    ASSERT_ERR(ERR_IN_USE, listener_start(&second.l, *state, listener_addr(&h.l), NULL, on_knock,
                                          &second, &err));
    ASSERT_MSG("listen on 127.0.0.1:");
    listener_close(&h.l, hall_closed);
    listener_close(&second.l, hall_closed);
    LOOP_UNTIL(*state, h.closed && second.closed);
}

static void a_listening_socket_is_inherited(void **state)
{
    struct error err;
    struct hall h = {.knocks = 0};
    struct hall heir = {.knocks = 0};
    struct probe p = {.got = 0};
    hall_open(&h, *state, "127.0.0.1:0");
    int fd = dup(listener_fd(&h.l));
    struct addr where = *listener_addr(&h.l);
    listener_close(&h.l, hall_closed);
    struct listen_options opt = {.inherited = true, .fd = fd};
    ASSERT_OK(listener_start(&heir.l, *state, &where, &opt, on_knock, &heir, &err));
    assert_true(addr_eq(listener_addr(&heir.l), &where));
    probe_connect(&p, *state, &where);
    LOOP_UNTIL(*state, p.done && heir.knocks == 1);
    assert_int_equal(p.connect_code, 0);
    stream_close(&p.s, probe_closed);
    stream_close(&heir.guest.s, probe_closed);
    listener_close(&heir.l, hall_closed);
    LOOP_UNTIL(*state, p.closed && heir.guest.closed && heir.closed && h.closed);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(echoes_over_tcp),
        LOOP_TEST(echoes_over_unix),
        LOOP_TEST(survives_every_fault),
        LOOP_TEST(closes_at_every_turn),
        LOOP_TEST(connecting_to_nobody_is_refused),
        LOOP_TEST(closing_cancels_a_connect),
        LOOP_TEST(a_stream_that_was_never_opened_closes),
        LOOP_TEST(an_empty_buffer_pauses),
        LOOP_TEST(the_queue_is_bounded),
        LOOP_TEST(a_gone_peer_breaks_it_once),
        LOOP_TEST(closing_swallows_a_pending_error),
        LOOP_TEST(closing_strikes_what_waits_to_be_told),
        LOOP_TEST(a_reset_is_seen_as_an_error),
        LOOP_TEST(refusing_resets),
        LOOP_TEST(a_held_connection_waits),
        LOOP_TEST(connections_wait_while_descriptors_lack),
        LOOP_TEST(accepting_nothing_fails),
        LOOP_TEST(a_unix_socket_is_private_and_known),
        LOOP_TEST(a_stale_unix_socket_is_replaced),
        LOOP_TEST(a_busy_port_is_reported),
        LOOP_TEST(a_listening_socket_is_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
