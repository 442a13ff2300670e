// SPDX-License-Identifier: Apache-2.0
/* Which requests in the clear are sent on to HTTPS, and where to. */
#include "activator/redirect.h"
#include "test.h"

static void test_who_is_sent_on(void **state)
{
    static const struct {
        const char *name;
        bool local;
        bool secure;
        bool by_default;
        enum http_protocol protocol;
        const char *target;
        bool want;
    } rows[] = {
        {"nobody asks for it", false, false, false, HTTP_PROTOCOL_DEFAULT, "/", false},
        {"config-network", false, false, true, HTTP_PROTOCOL_DEFAULT, "/", true},
        {"its own word: no", false, false, true, HTTP_PROTOCOL_ENABLED, "/", false},
        {"its own word: yes", false, false, false, HTTP_PROTOCOL_REDIRECTED, "/", true},
        {"inside the cluster", true, false, true, HTTP_PROTOCOL_REDIRECTED, "/", false},
        {"TLS already", false, true, true, HTTP_PROTOCOL_REDIRECTED, "/", false},
        {"a certificate authority asks", false, false, true, HTTP_PROTOCOL_REDIRECTED,
         "/.well-known/acme-challenge/token", false},
        {"only that path", false, false, true, HTTP_PROTOCOL_DEFAULT, "/.well-known/acme", true},
        {"by path", false, false, true, HTTP_PROTOCOL_DEFAULT, "/_lull/ns/name/", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redirect_question q = {.local = rows[i].local,
                                      .secure = rows[i].secure,
                                      .by_default = rows[i].by_default,
                                      .protocol = rows[i].protocol,
                                      .target = slice_str(rows[i].target)};
        if (redirect_wanted(&q) != rows[i].want) {
            fail_msg("%s", rows[i].name);
        }
    }
}

static void test_where_to(void **state)
{
    static const struct {
        const char *host;
        unsigned port;
        const char *target;
        const char *want;
    } rows[] = {
        {"a.example.com", 443, "/", "https://a.example.com/"},
        {"a.example.com:8080", 443, "/x/y?q=1&r=%20", "https://a.example.com/x/y?q=1&r=%20"},
        {"a.example.com:8080", 8443, "/", "https://a.example.com:8443/"},
        {"[::1]:80", 8443, "/", "https://[::1]:8443/"},
        {"a.example.com", 443, "*", "https://a.example.com/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 1024);
        redirect_location(slice_str(rows[i].host), rows[i].port, slice_str(rows[i].target), &out);
        assert_string_equal(out.ptr, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_sent_on),
        cmocka_unit_test(test_where_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
