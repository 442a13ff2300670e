// SPDX-License-Identifier: Apache-2.0
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "loop/tls.h"
#include "loop/tls_identity.h"
#include "echo.h"
#include "fault.h"
#include "test.h"
#include "test_loop.h"

/* A self-signed certificate for localhost and 127.0.0.1, made once for all tests. */
struct identity {
    char *cert;
    char *key;
};

static char *take_pem(BIO *bio)
{
    char *bytes = NULL;
    long n = BIO_get_mem_data(bio, &bytes);
    char *copy = xstrndup(bytes, (size_t)n);
    BIO_free(bio);
    return copy;
}

static void make_identity(struct identity *id)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *san =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    assert_int_equal(X509_add_ext(cert, san, -1), 1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    BIO *out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, cert);
    id->cert = take_pem(out);
    out = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
    id->key = take_pem(out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct fixture {
    struct identity id;
    struct tls_context *server;
    struct tls_context *client;   /* trusts the certificate */
    struct tls_context *stranger; /* trusts another one */
};

static struct fixture fixture;

static int setup_group(void **state)
{
    struct error err;
    struct identity other;
    make_identity(&fixture.id);
    make_identity(&other);
    struct tls_options opt = {.cert_pem = slice_str(fixture.id.cert),
                              .key_pem = slice_str(fixture.id.key),
                              .alpn = "h2,http/1.1"};
    ASSERT_OK(tls_server_new(&opt, &fixture.server, &err));
    opt = (struct tls_options){.ca_pem = slice_str(fixture.id.cert), .alpn = "http/1.1"};
    ASSERT_OK(tls_client_new(&opt, &fixture.client, &err));
    opt = (struct tls_options){.ca_pem = slice_str(other.cert)};
    ASSERT_OK(tls_client_new(&opt, &fixture.stranger, &err));
    free(other.cert);
    free(other.key);
    return 0;
}

static int teardown_group(void **state)
{
    tls_context_free(fixture.server);
    tls_context_free(fixture.client);
    tls_context_free(fixture.stranger);
    tls_context_free(NULL);
    free(fixture.id.cert);
    free(fixture.id.key);
    return 0;
}

static int secure_localhost(void *ctx, struct stream *s, struct error *err)
{
    return tls_secure_client(ctx, s, "localhost", err);
}

static int secure_ip(void *ctx, struct stream *s, struct error *err)
{
    return tls_secure_client(ctx, s, "127.0.0.1", err);
}

static int secure_wrong_name(void *ctx, struct stream *s, struct error *err)
{
    return tls_secure_client(ctx, s, "elsewhere.example.com", err);
}

static struct echo *new_echo(void)
{
    struct echo *e = NEW(struct echo);
    e->listen.secure = tls_secure;
    e->listen.secure_data = fixture.server;
    e->secure_client = secure_localhost;
    e->secure_arg = fixture.client;
    return e;
}

static void echoes_over_tls(void **state)
{
    static const size_t totals[] = {0, 1, 100000, 24u << 20};
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        struct echo *e = new_echo();
        e->secure_client = i % 2 == 0 ? secure_localhost : secure_ip;
        echo_start(e, *state, "127.0.0.1:0", totals[i]);
        LOOP_UNTIL(*state, echo_closed(e));
        if (!e->ok) {
            fail_msg("%zu bytes: %s", totals[i], e->err.msg);
        }
        assert_int_equal(e->completions, 3);
        assert_true(totals[i] < 1u << 20 || e->paused > 0);
        free(e);
    }
}

/* --- a server that chooses by the client's name ----------------------------------------------- */

struct choice {
    struct tls_identity *identity; /* for localhost; NULL: nobody's */
    unsigned asked;
};

static const struct tls_identity *choose(void *arg, struct slice name)
{
    struct choice *c = arg;
    c->asked++;
    return slice_eq_str(name, "localhost") ? c->identity : NULL;
}

static bool echoes(void *loop, struct tls_context *server,
                   int (*secure)(void *, struct stream *, struct error *))
{
    struct echo *e = new_echo();
    e->listen.secure_data = server;
    e->secure_client = secure;
    echo_start(e, loop, "127.0.0.1:0", 1000);
    LOOP_UNTIL(loop, echo_closed(e));
    bool ok = e->ok;
    free(e);
    return ok;
}

static void shows_the_certificate_of_the_name(void **state)
{
    struct error err;
    struct choice choice = {.asked = 0};
    struct tls_context *server = NULL;
    struct tls_options opt = {.choose = choose, .choose_arg = &choice, .alpn = "http/1.1"};
    ASSERT_OK(tls_server_new(&opt, &server, &err));
    const struct tls_counters *counters = tls_context_counters(server);
    assert_false(echoes(*state, server, secure_localhost));
    ASSERT_OK(tls_identity_new(slice_str(fixture.id.cert), slice_str(fixture.id.key),
                               &choice.identity, &err));
    assert_true(echoes(*state, server, secure_localhost));
    assert_false(echoes(*state, server, secure_ip)); /* names no host */
    assert_int_equal(choice.asked, 3);
    assert_int_equal(counters->done, 1);
    assert_int_equal(counters->unnamed, 2);
    assert_int_equal(counters->failed, 2);
    assert_int_equal(counters->under_way, 0);
    tls_context_retire(server);
    assert_false(echoes(*state, server, secure_localhost));
    assert_int_equal(choice.asked, 3);
    tls_context_free(server);
    tls_identity_free(choice.identity);
}

static void refuses_identities_that_do_not_fit(void **state)
{
    struct error err;
    struct identity other;
    struct tls_identity *identity = NULL;
    make_identity(&other);
    struct slice cert = slice_str(fixture.id.cert);
    struct slice key = slice_str(fixture.id.key);
    const struct {
        struct slice cert;
        struct slice key;
    } rows[] = {
        {SLICE_EMPTY, key},
        {cert, SLICE_EMPTY},
        {SLICE_LIT("no PEM"), key},
        {cert, SLICE_LIT("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
        {cert, slice_str(other.key)},
        {slice_sub(cert, 0, cert.len / 2), key},
        {key, cert},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ASSERT_ERR(ERR_INVALID, tls_identity_new(rows[i].cert, rows[i].key, &identity, &err));
    }
    free(other.cert);
    free(other.key);
}

static void refuses_what_is_not_trusted(void **state)
{
    struct echo *e = new_echo();
    e->secure_arg = fixture.stranger;
    echo_start(e, *state, "127.0.0.1:0", 10);
    LOOP_UNTIL(*state, echo_closed(e));
    assert_false(e->ok);
    assert_int_equal(e->received, 0);
    free(e);

    e = new_echo();
    e->secure_client = secure_wrong_name;
    echo_start(e, *state, "127.0.0.1:0", 10);
    LOOP_UNTIL(*state, echo_closed(e));
    assert_false(e->ok);
    assert_int_equal(e->received, 0);
    free(e);
}

static void refuses_plain_text(void **state)
{
    struct echo *e = new_echo();
    e->secure_client = NULL;
    echo_start(e, *state, "127.0.0.1:0", 1000);
    LOOP_UNTIL(*state, echo_closed(e));
    assert_false(e->ok);
    assert_int_equal(e->received, 0);
    free(e);
}

static void survives_every_fault(void **state)
{
    bool fired = true;
    unsigned n = 0;
    while (fired) {
        struct echo *e = new_echo();
        fault_arm(++n, UV_ECONNRESET);
        echo_start(e, *state, "127.0.0.1:0", 100000);
        LOOP_UNTIL(*state, echo_closed(e));
        fired = fault_disarm();
        assert_true(e->ok || fired);
        assert_int_equal(e->completions, e->starts);
        free(e);
    }
    assert_true(n > 8);
}

static void closes_at_every_turn(void **state)
{
    struct loop *loop = *state;
    bool finished = false;
    unsigned n = 0;
    for (; !finished; n++) {
        struct echo *e = new_echo();
        echo_start(e, loop, "127.0.0.1:0", 200000);
        struct test_wait wait;
        test_wait_begin(&wait);
        for (unsigned i = 0; i < n && !echo_closed(e); i++) {
            test_wait_turn(&wait, loop, "the n-th turn", __FILE__, __LINE__);
        }
        finished = e->ok;
        echo_close(e);
        LOOP_UNTIL(loop, echo_closed(e));
        assert_int_equal(e->completions, e->starts);
        free(e);
    }
    assert_true(n > 4);
}

/* --- two ends by hand: pausing, truncation, ALPN --- */

struct end {
    struct stream s;
    char buf[64];
    size_t got;
    bool ended;
    bool closed;
    int drains;
    struct error err;
};

static struct stream_buffer end_buffer(struct stream *s)
{
    struct end *e = s->data;
    return (struct stream_buffer){e->buf, sizeof(e->buf)};
}

static void end_read(struct stream *s, char *bytes, size_t n)
{
    struct end *e = s->data;
    e->got += n;
    if (e->got == 64) {
        stream_read_stop(s); /* with more decrypted bytes behind it */
    }
}

static void end_ended(struct stream *s)
{
    struct end *e = s->data;
    e->ended = true;
}

static void end_drained(struct stream *s)
{
    struct end *e = s->data;
    e->drains++;
}

static void end_failed(struct stream *s, const struct error *err)
{
    struct end *e = s->data;
    e->err = *err;
}

static void end_closed(struct stream *s)
{
    struct end *e = s->data;
    e->closed = true;
}

static const struct stream_events end_events = {end_buffer, end_read, end_ended, end_drained,
                                                end_failed};

static void open_pair(struct loop *loop, struct end *client, struct end *server)
{
    struct error err;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *client = *server = (struct end){.got = 0};
    stream_init(&client->s, loop, &end_events, client);
    stream_init(&server->s, loop, &end_events, server);
    ASSERT_OK(stream_open_fd(&client->s, fds[0], &err));
    ASSERT_OK(stream_open_fd(&server->s, fds[1], &err));
    ASSERT_OK(tls_secure(fixture.server, &server->s, &err));
    ASSERT_OK(tls_secure_client(fixture.client, &client->s, "localhost", &err));
}

static void close_pair(struct loop *loop, struct end *client, struct end *server)
{
    stream_close(&client->s, end_closed);
    stream_close(&server->s, end_closed);
    LOOP_UNTIL(loop, client->closed && server->closed);
}

static void pauses_with_bytes_in_hand(void **state)
{
    struct error err;
    struct end client;
    struct end server;
    char bytes[200] = "x";
    open_pair(*state, &client, &server);
    assert_true(stream_is_secure(&client.s));
    ASSERT_OK(stream_write_bytes(&client.s, bytes, sizeof(bytes), &err));
    assert_int_equal(stream_queued_bytes(&client.s), 200); /* waits for the handshake */
    stream_read_start(&server.s);
    LOOP_UNTIL(*state, client.drains == 1 && server.got == 64);
    for (int i = 0; i < 10; i++) {
        loop_turn(*state, false);
    }
    assert_int_equal(server.got, 64);
    ASSERT_SLICE(stream_alpn(&server.s), "http/1.1");
    ASSERT_OK(stream_shutdown(&client.s, NULL, &err));
    stream_read_start(&server.s);
    LOOP_UNTIL(*state, server.got == 200);
    LOOP_UNTIL(*state, server.ended);
    assert_int_equal(server.err.code, 0);
    close_pair(*state, &client, &server);
}

static void a_cut_connection_is_an_error(void **state)
{
    struct error err;
    struct end client;
    struct end server;
    open_pair(*state, &client, &server);
    ASSERT_OK(stream_write_bytes(&client.s, "x", 1, &err));
    stream_read_start(&server.s);
    LOOP_UNTIL(*state, server.got == 1);
    shutdown(stream_fd(&client.s), SHUT_WR); /* no goodbye */
    LOOP_UNTIL(*state, server.err.code != 0);
    assert_int_equal(server.err.code, ERR_CLOSED);
    assert_false(server.ended);
    close_pair(*state, &client, &server);
}

static void a_cut_handshake_is_an_error(void **state)
{
    struct end client;
    struct end server;
    open_pair(*state, &client, &server);
    shutdown(stream_fd(&client.s), SHUT_RDWR);
    LOOP_UNTIL(*state, server.err.code != 0);
    assert_int_equal(server.err.code, ERR_CLOSED);
    close_pair(*state, &client, &server);
}

static void bad_files_are_named(void **state)
{
    struct error err;
    struct tls_context *ctx = NULL;
    char *dir = test_dir();
    CLEANUP(cleanup_free) char *junk = fs_join(dir, "junk.pem");
    CLEANUP(cleanup_free) char *cert = fs_join(dir, "cert.pem");
    CLEANUP(cleanup_free) char *key = fs_join(dir, "key.pem");
    ASSERT_OK(fs_write_atomic(junk, SLICE_LIT("no pem"), 0600, &err));
    ASSERT_OK(fs_write_atomic(cert, slice_str(fixture.id.cert), 0600, &err));
    ASSERT_OK(fs_write_atomic(key, slice_str(fixture.id.key), 0600, &err));
    struct tls_options opt = {.cert_file = "/nonexistent/cert.pem", .key_file = key};
    ASSERT_ERR(ERR_NOT_FOUND, tls_server_new(&opt, &ctx, &err));
    ASSERT_MSG("/nonexistent/cert.pem");
    opt.cert_file = junk;
    ASSERT_ERR(ERR_INVALID, tls_server_new(&opt, &ctx, &err));
    ASSERT_MSG("junk.pem");
    opt = (struct tls_options){.cert_file = cert, .key_file = junk};
    ASSERT_ERR(ERR_INVALID, tls_server_new(&opt, &ctx, &err));
    opt = (struct tls_options){.alpn = "h2"};
    ASSERT_ERR(ERR_INVALID, tls_server_new(&opt, &ctx, &err));
    opt = (struct tls_options){.ca_file = junk};
    ASSERT_ERR(ERR_INVALID, tls_client_new(&opt, &ctx, &err));
    assert_null(ctx);
    opt = (struct tls_options){.cert_file = cert, .key_file = key, .ca_file = cert};
    ASSERT_OK(tls_server_new(&opt, &ctx, &err));
    tls_context_free(ctx);
    test_dir_remove(dir);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(echoes_over_tls),
        LOOP_TEST(shows_the_certificate_of_the_name),
        LOOP_TEST(refuses_identities_that_do_not_fit),
        LOOP_TEST(refuses_what_is_not_trusted),
        LOOP_TEST(refuses_plain_text),
        LOOP_TEST(survives_every_fault),
        LOOP_TEST(closes_at_every_turn),
        LOOP_TEST(pauses_with_bytes_in_hand),
        LOOP_TEST(a_cut_connection_is_an_error),
        LOOP_TEST(a_cut_handshake_is_an_error),
        cmocka_unit_test(bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
