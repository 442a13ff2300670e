// SPDX-License-Identifier: Apache-2.0
#include <hiredis/hiredis.h>

#include "base/strbuf.h"
#include "redis/address.h"
#include "redis/command.h"
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
        {"redis://u@h", NULL, NULL, 0, 0, false, NULL, NULL},
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
    freeReplyObject(r);
    redis_reader_free(reader);
    /* A table of two thousand million elements is refused before it is made. */
    assert_null(parse("*2000000000\r\n", &reader));
    assert_int_not_equal(reader->err, 0);
    redis_reader_free(reader);
    redis_reader_free(NULL);
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
        cmocka_unit_test(addresses),
        cmocka_unit_test(commands),
        cmocka_unit_test(replies),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
