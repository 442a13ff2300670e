// SPDX-License-Identifier: Apache-2.0
#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "redis/address.h"
#include "redis/command.h"
#include "redis/greeting.h"
#include "redis/reply.h"
#include "test.h"

static void addresses(void **state)
{
    static const struct {
        const char *text, *path, *host;
        unsigned port, db;
        bool tls;
        const char *user, *password;
    } rows[] = {
        {"unix:/run/r.sock", "/run/r.sock", NULL, 0, 0, false, NULL, NULL},
        {"unix:///run/r.sock", "/run/r.sock", NULL, 0, 0, false, NULL, NULL},
        {"redis://h", NULL, "h", 6379, 0, false, NULL, NULL},
        {"h:1", NULL, "h", 1, 0, false, NULL, NULL},
        {"redis://h:7/3", NULL, "h", 7, 3, false, NULL, NULL},
        {"redis://[::1]:7", NULL, "::1", 7, 0, false, NULL, NULL},
        {"rediss://u:p%40q@h", NULL, "h", 6379, 0, true, "u", "p@q"},
        {"redis://:p@h/", NULL, "h", 6379, 0, false, NULL, "p"},
        {"redis://u:a%3", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://u:a%3@h", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://u:%00@h", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://u@h", NULL, "h", 6379, 0, false, "u", NULL}, /* its password may be in a file */
        {"redis://h:0", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://h:65536", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://h/x", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://[::1", NULL, NULL, 0, 0, false, NULL, NULL},
        {"redis://[::1]7", NULL, NULL, 0, 0, false, NULL, NULL},
        {"unix:relative", NULL, NULL, 0, 0, false, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redis_address a = {0};
        struct error err = {0};
        int rc = redis_address_parse(slice_str(rows[i].text), &a, &err);
        bool good = rows[i].path != NULL || rows[i].host != NULL;
        if ((rc == 0) != good) {
            fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
        }
        if (good) {
            ASSERT_SLICE(slice_str(a.unix_path), rows[i].path == NULL ? "" : rows[i].path);
            ASSERT_SLICE(slice_str(a.host), rows[i].host == NULL ? "" : rows[i].host);
            ASSERT_SLICE(slice_str(a.user), rows[i].user == NULL ? "" : rows[i].user);
            ASSERT_SLICE(slice_str(a.password), rows[i].password == NULL ? "" : rows[i].password);
            assert_int_equal(a.port, rows[i].port);
            assert_int_equal(a.db, rows[i].db);
            assert_int_equal(a.tls, rows[i].tls);
        } else {
            assert_int_equal(rc, ERR_INVALID);
        }
        redis_address_fini(&a);
    }
}

static void sentinels(void **state)
{
    struct redis_address a = {0};
    struct error err = {0};
    ASSERT_OK(redis_address_parse(SLICE_LIT("rediss+sentinel://u:p@a, b:1,[::1]:7/my%20master/3"),
                                  &a, &err));
    assert_true(a.tls && a.host == NULL && a.n_sentinels == 3 && a.db == 3);
    assert_string_equal(a.master, "my master");
    assert_string_equal(a.user, "u");
    assert_string_equal(a.sentinels[0].host, "a");
    assert_int_equal(a.sentinels[0].port, 26379);
    assert_int_equal(a.sentinels[1].port, 1);
    assert_string_equal(a.sentinels[2].host, "::1");
    redis_address_fini(&a);
    static const char *const bad[] = {
        "redis+sentinel://a:1",   "redis+sentinel://a:1/",
        "redis+sentinel:///m",    "redis+sentinel://a:1,,b:2/m",
        "redis+sentinel://a:0/m", "redis+sentinel://a:1/m/x",
        "redis+sentinel://a:1/%", "redis+sentinel://,a:26/m",
        "sentinel://a:1/m",       "redis+sentinel://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a/m",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (redis_address_parse(slice_str(bad[i]), &a, &err) != ERR_INVALID) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void commands(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    redis_command_begin(&out, 3);
    redis_command_arg(&out, SLICE_LIT("XLEN"));
    redis_command_arg(&out, SLICE_EMPTY);
    redis_command_u64(&out, 18446744073709551615ull);
    ASSERT_SLICE(strbuf_slice(&out),
                 "*3\r\n$4\r\nXLEN\r\n$0\r\n\r\n$20\r\n18446744073709551615\r\n");
    strbuf_clear(&out);
    redis_command_u64(&out, 0);
    ASSERT_SLICE(strbuf_slice(&out), "$1\r\n0\r\n");
}

static redisReply *parse(const char *text, struct redisReader **out_reader)
{
    void *reply = NULL;
    *out_reader = redis_reader_new();
    assert_int_equal(redisReaderFeed(*out_reader, text, strlen(text)), REDIS_OK);
    return redisReaderGetReply(*out_reader, &reply) == REDIS_OK ? reply : NULL;
}

static void replies(void **state)
{
    struct redisReader *reader;
    struct error err = {0};
    redisReply *r =
        parse("*4\r\n$2\r\nab\r\n:7\r\n$-1\r\n*2\r\n$2\r\n12\r\n-OOM no room\r\n", &reader);
    assert_int_equal(redis_reply_len(r), 4);
    ASSERT_SLICE(redis_reply_text(redis_reply_at(r, 0)), "ab");
    assert_int_equal(redis_reply_int(redis_reply_at(r, 1), -1), 7);
    assert_true(redis_reply_is_nil(redis_reply_at(r, 2)));
    const struct redisReply *inner = redis_reply_at(r, 3);
    assert_int_equal(redis_reply_int(redis_reply_at(inner, 0), -1), 12);
    assert_int_equal(redis_reply_int(redis_reply_at(r, 0), -1), -1);
    assert_int_equal(redis_reply_int(NULL, -1), -1);
    assert_null(redis_reply_at(r, 4));
    assert_int_equal(redis_reply_len(redis_reply_at(r, 0)), 0);
    assert_int_equal(redis_reply_error(r, &err), 0);
    assert_int_equal(redis_reply_error(inner, &err), ERR_OVERLOAD);
    redis_reply_free(r);
    redis_reader_free(reader);
    /* A table of two thousand million elements is refused before it is made. */
    assert_null(parse("*2000000000\r\n", &reader));
    assert_int_not_equal(reader->err, 0);
    redis_reader_free(reader);
    redis_reader_free(NULL);
}

/* Many and large ones: nothing of an answer runs into its neighbour, also once another is read. */
static void large_replies(void **state)
{
    enum { N = 3000, LARGE = 200000 };
    struct strbuf text;
    struct redisReader *reader;
    char *large = xmalloc(LARGE + 1);
    memset(large, 'y', LARGE);
    large[LARGE] = '\0';
    strbuf_init(&text, 4u << 20);
    strbuf_appendf(&text, "*%d\r\n", N);
    for (int i = 0; i < N; i++) {
        bool is_large = i % 1000 == 500;
        strbuf_appendf(&text, "*2\r\n:%d\r\n$%d\r\n%.*s\r\n", i, is_large ? LARGE : i % 90,
                       is_large ? LARGE : i % 90, large);
    }
    redisReply *r = parse(text.ptr, &reader);
    void *next = NULL;
    assert_int_equal(redisReaderFeed(reader, "$2\r\nok\r\n", 8), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &next), REDIS_OK);
    assert_int_equal(redis_reply_len(r), N);
    for (int i = 0; i < N; i++) {
        const struct redisReply *pair = redis_reply_at(r, (size_t)i);
        struct slice got = redis_reply_text(redis_reply_at(pair, 1));
        assert_int_equal(redis_reply_int(redis_reply_at(pair, 0), -1), i);
        assert_int_equal(got.len, i % 1000 == 500 ? LARGE : i % 90);
        assert_memory_equal(got.ptr, large, got.len + (got.len == LARGE));
    }
    redis_reply_free(r);
    ASSERT_SLICE(redis_reply_text(next), "ok");
    redis_reply_free(next);
    redis_reply_free(NULL);
    redis_reader_free(reader);
    /* One that is not whole goes with its reader. */
    strbuf_clear(&text);
    assert_null(parse("*3\r\n$2\r\nab\r\n*1\r\n", &reader));
    redis_reader_free(reader);
    strbuf_fini(&text);
    free(large);
}

/* --- the greeting: what a Redis says of itself, and whether it may be used then -------------- */

struct talk {
    const char *info;   /* to INFO */
    const char *hello;  /* role and mode */
    const char *rights; /* to EVAL */
    const char *auth;
    unsigned warnings;
};

static void on_warning(void *arg, const char *text)
{
    ((struct talk *)arg)->warnings++;
}

static char *bulk(const char *text)
{
    return xasprintf("$%zu\r\n%s\r\n", strlen(text), text);
}

static char *answer_to(const struct talk *t, struct slice command)
{
    char *text = slice_dup(command);
    char *answer = strstr(text, "HELLO") != NULL  ? xstrdup(t->hello)
                   : strstr(text, "INFO") != NULL ? bulk(t->info)
                   : strstr(text, "EVAL") != NULL ? xstrdup(t->rights)
                   : strstr(text, "AUTH") != NULL ? xstrdup(t->auth)
                                                  : xstrdup("+OK\r\n");
    free(text);
    return answer;
}

/* The whole greeting against what `t` answers; the error that ends it, or 0. */
static int greet(struct talk *t, const char *address_text, struct error *err)
{
    static const char *const needs[] = {"XLEN lull:x"};
    struct redis_address address = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    int rc = 0;
    strbuf_init(&out, 1 << 16);
    assert_int_equal(redis_address_parse(slice_str(address_text), &address, err), 0);
    struct redis_greeting g = {.address = &address,
                               .client_name = "me",
                               .store = true,
                               .needs = needs,
                               .n_needs = 1,
                               .warn = on_warning,
                               .arg = t};
    while (rc == 0 && redis_greeting_next(&g, &out)) {
        struct redisReader *reader;
        struct error failure = {0};
        char *text = answer_to(t, strbuf_slice(&out));
        redisReply *reply = parse(text, &reader);
        assert_non_null(reply);
        int bad = redis_reply_error(reply, &failure);
        rc = redis_greeting_take(&g, bad < 0 ? NULL : reply, bad < 0 ? &failure : NULL, err);
        redis_reply_free(reply);
        redis_reader_free(reader);
        free(text);
        strbuf_clear(&out);
    }
    redis_address_fini(&address);
    return rc;
}

#define HELLO(version, mode, role)                                                                \
    "*6\r\n$7\r\nversion\r\n$6\r\n" version "\r\n$4\r\nmode\r\n+" mode "\r\n$4\r\nrole\r\n+" role \
    "\r\n"
#define GOOD_INFO "# M\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"

static void greetings(void **state)
{
    static const struct {
        const char *hello, *info, *rights, *auth;
        int code;
        unsigned warnings;
        const char *text; /* in the error */
    } rows[] = {
        {NULL, NULL, NULL, NULL, 0, 0, NULL},
        {HELLO("6.2.14", "standalone", "master"), NULL, NULL, NULL, ERR_UNSUPPORTED, 0,
         "6.2.14 is too old"},
        {"-ERR unknown command `HELLO`, with args\r\n", NULL, NULL, NULL, ERR_UNSUPPORTED, 0,
         "too old"},
        {HELLO("7.2.99", "standalone", "replica"), NULL, NULL, NULL, ERR_UNSUPPORTED, 0, "replica"},
        {HELLO("7.2.99", "sentinel", "master"), NULL, NULL, NULL, ERR_UNSUPPORTED, 0, "Sentinel"},
        {HELLO("7.2.99", "cluster", "master"), "cluster_size:3\r\n", NULL, NULL, ERR_UNSUPPORTED, 0,
         "3 nodes"},
        {HELLO("7.2.99", "cluster", "master"), "cluster_size:1\r\n" GOOD_INFO, NULL, NULL, 0, 0,
         NULL},
        {"*0\r\n", NULL, NULL, NULL, ERR_PROTOCOL, 0, "version"},
        {"+OK\r\n", NULL, NULL, NULL, ERR_PROTOCOL, 0, "version"},
        {NULL, "maxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n", NULL, NULL,
         ERR_UNSUPPORTED, 0, "allkeys-lru"},
        {NULL, "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n", NULL, NULL, 0, 2,
         NULL},
        {NULL, "maxmemory:100\r\nmaxmemory_policy:volatile-lru\r\naof_enabled:1\r\n", NULL, NULL, 0,
         1, NULL},
        {NULL, "nothing that is known", NULL, NULL, 0, 0, NULL},
        {NULL, NULL, "$10\r\nXADD, XLEN\r\n", NULL, ERR_DENIED, 0, "may not use XADD, XLEN"},
        {NULL, NULL, "-NOPERM this user has no permissions to run the 'eval' command\r\n", NULL,
         ERR_DENIED, 0, "'eval'"},
        {NULL, NULL, NULL, "-WRONGPASS invalid username-password pair\r\n", ERR_DENIED, 0, "\"u\""},
        {NULL, NULL, NULL, "-ERR AUTH <password> called without any password configured\r\n",
         ERR_DENIED, 0, "no password"},
        {"-NOAUTH HELLO must be called\r\n", NULL, NULL, NULL, ERR_DENIED, 0,
         "asks for a password"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct talk t = {
            .hello =
                rows[i].hello == NULL ? HELLO("7.2.99", "standalone", "master") : rows[i].hello,
            .info = rows[i].info == NULL ? GOOD_INFO : rows[i].info,
            .rights = rows[i].rights == NULL ? "$0\r\n\r\n" : rows[i].rights,
            .auth = rows[i].auth == NULL ? "+OK\r\n" : rows[i].auth,
        };
        int rc = greet(&t, "redis://u:p@h/2", &err);
        if (rc != rows[i].code || t.warnings != rows[i].warnings ||
            (rows[i].text != NULL && strstr(err.msg, rows[i].text) == NULL)) {
            fail_msg("row %zu: %d, %u warnings, %s", i, rc, t.warnings, err.msg);
        }
    }
}

static void errors(void **state)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"NOGROUP No such key", ERR_NOT_FOUND},
        {"BUSYGROUP exists", ERR_EXISTS},
        {"OOM command not allowed", ERR_OVERLOAD},
        {"LOADING Redis is loading", ERR_UNAVAILABLE},
        {"READONLY You can't", ERR_UNAVAILABLE},
        {"NOAUTH Authentication required.", ERR_DENIED},
        {"MOVED 1 h:1", ERR_UNSUPPORTED},
        {"ERR syntax", ERR_INVALID},
        {"", ERR_INVALID},
    };
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(redis_error_of(slice_str(rows[i].text), &err), rows[i].code);
        ASSERT_MSG("redis: ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses), cmocka_unit_test(sentinels),     cmocka_unit_test(commands),
        cmocka_unit_test(replies),   cmocka_unit_test(large_replies), cmocka_unit_test(greetings),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
