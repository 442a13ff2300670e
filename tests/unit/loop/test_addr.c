// SPDX-License-Identifier: Apache-2.0
#include "loop/addr.h"
#include "test.h"

static void addresses_are_read_and_printed(void **state)
{
    static const struct {
        const char *text;
        const char *print; /* NULL: refused */
        const char *ip;
        unsigned port;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1", 8080, true},
        {"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0", 0, false},
        {":80", "0.0.0.0:80", "0.0.0.0", 80, false},
        {"[::1]:443", "[::1]:443", "::1", 443, true},
        {"[2001:db8::7]:1", "[2001:db8::7]:1", "2001:db8::7", 1, false},
        {"unix:/run/x.sock", "unix:/run/x.sock", "/run/x.sock", 0, true},
        {"unix:@some/name", "unix:@some/name", "@some/name", 0, true},
        {"", NULL, NULL, 0, false},
        {"127.0.0.1", NULL, NULL, 0, false},
        {"127.0.0.1:", NULL, NULL, 0, false},
        {"127.0.0.1:65536", NULL, NULL, 0, false},
        {"127.0.0.1:-1", NULL, NULL, 0, false},
        {"::1:80", NULL, NULL, 0, false},
        {"[::1]", NULL, NULL, 0, false},
        {"localhost:80", NULL, NULL, 0, false},
        {"1.2.3:80", NULL, NULL, 0, false},
        {"unix:", NULL, NULL, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct addr a;
        char text[ADDR_TEXT_MAX];
        if (rows[i].print == NULL) {
            ASSERT_ERR(ERR_INVALID, addr_parse(slice_str(rows[i].text), &a, &err));
            continue;
        }
        ASSERT_OK(addr_parse(slice_str(rows[i].text), &a, &err));
        assert_string_equal(addr_format(&a, text, sizeof(text)), rows[i].print);
        assert_string_equal(addr_format_ip(&a, text, sizeof(text)), rows[i].ip);
        assert_int_equal(addr_port(&a), rows[i].port);
        assert_int_equal(addr_is_loopback(&a), rows[i].loopback);
        assert_int_equal(addr_is_unix(&a), rows[i].text[0] == 'u');
        assert_true(addr_eq(&a, &a));
    }
}

static void long_paths_say_the_limit(void **state)
{
    struct error err;
    struct addr a;
    char text[200] = "unix:/";
    memset(text + 6, 'x', 107 - 1);
    text[5 + 107] = '\0';
    ASSERT_OK(addr_parse(slice_str(text), &a, &err));
    char print[ADDR_TEXT_MAX];
    assert_string_equal(addr_format(&a, print, sizeof(print)), text);
    text[5 + 107] = 'x';
    ASSERT_ERR(ERR_INVALID, addr_parse(slice_str(text), &a, &err));
    ASSERT_MSG("has 108 bytes, a socket's has at most 107");
}

static void ips_are_taken_with_a_port(void **state)
{
    struct error err;
    struct addr a;
    struct addr b;
    char text[ADDR_TEXT_MAX];
    ASSERT_OK(addr_from_ip(SLICE_LIT("10.0.0.1"), 8012, &a, &err));
    assert_string_equal(addr_format(&a, text, sizeof(text)), "10.0.0.1:8012");
    ASSERT_OK(addr_from_ip(SLICE_LIT("fd00::1"), 8012, &b, &err));
    assert_string_equal(addr_format(&b, text, sizeof(text)), "[fd00::1]:8012");
    assert_false(addr_eq(&a, &b));
    ASSERT_OK(addr_from_ip(SLICE_LIT("10.0.0.1"), 8013, &b, &err));
    assert_false(addr_eq(&a, &b));
    ASSERT_ERR(ERR_INVALID, addr_from_ip(SLICE_LIT("host"), 1, &a, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_printed),
        cmocka_unit_test(long_paths_say_the_limit),
        cmocka_unit_test(ips_are_taken_with_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
