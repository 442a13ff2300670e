// SPDX-License-Identifier: Apache-2.0
#include "broker/target.h"
#include "test.h"

static void urls(void **state)
{
    static const struct {
        const char *url, *authority, *host, *path;
        unsigned port;
        bool tls, local;
    } rows[] = {
        {"http://h", "h", "h", "/", 80, false, false},
        {"https://h/a?b=c", "h", "h", "/a?b=c", 443, true, false},
        {"http://h:81/", "h:81", "h", "/", 81, false, false},
        {"http://[::1]:8/x", "[::1]:8", "::1", "/x", 8, false, false},
        {"http://f.ns.svc.cluster.local", "f.ns.svc.cluster.local", "f.ns.svc.cluster.local", "/",
         80, false, true},
    };
    static const char *const bad[] = {
        "",           "h",           "ftp://h",         "http://",       "http:///x",
        "http://:80", "http://u@h/", "http://u:p@h/",   "http://h/#x",   "http://h:0/",
        "http://h:x", "http://[::1", "http://[::1]x/",  "http://h/a b",  "http://h/\r\nX: y",
        "http://h?q", "http://h\\x", "http://h:70000/", "http://h/\"x\""};
    struct target t;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ASSERT_OK(target_parse(slice_str(rows[i].url), &t, &err));
        ASSERT_SLICE(t.authority, rows[i].authority);
        ASSERT_SLICE(t.host, rows[i].host);
        ASSERT_SLICE(t.path, rows[i].path);
        assert_int_equal(t.port, rows[i].port);
        assert_int_equal(t.tls, rows[i].tls);
        assert_int_equal(t.local, rows[i].local);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ASSERT_ERR(ERR_INVALID, target_parse(slice_str(bad[i]), &t, &err));
    }
}

static int check(const char *ip, unsigned rules, struct error *out)
{
    struct error err = {0};
    static const uint16_t own[] = {9090};
    struct addr addr;
    ASSERT_OK(addr_from_ip(slice_str(ip), 80, &addr, &err));
    return target_check(&addr, rules, own, ARRAY_LEN(own), out);
}

static void ranges(void **state)
{
    static const char *const never[] = {"169.254.169.254",
                                        "169.254.0.1",
                                        "0.0.0.0",
                                        "0.1.2.3",
                                        "224.0.0.1",
                                        "255.255.255.255",
                                        "240.0.0.1",
                                        "::",
                                        "fe80::1",
                                        "ff02::1",
                                        "::1.2.3.4",
                                        "::ffff:169.254.169.254",
                                        "64:ff9b::169.254.169.254",
                                        "2002:a9fe:a9fe::1",
                                        "fd00:ec2::254"};
    static const char *const private[] = {"10.1.2.3",       "172.16.0.1", "172.31.255.255",
                                          "192.168.1.1",    "100.64.0.1", "fd12::1",
                                          "::ffff:10.0.0.1"};
    static const char *const loopback[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    static const char *const fine[] = {"8.8.8.8", "172.32.0.1", "2001:db8::1", "1.1.1.1",
                                       "169.253.1.1"};
    const unsigned all = TARGET_PRIVATE_OK | TARGET_LOOPBACK_OK;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        ASSERT_ERR(ERR_DENIED, check(never[i], all, &err));
    }
    for (size_t i = 0; i < ARRAY_LEN(private); i++) {
        ASSERT_OK(check(private[i], TARGET_PRIVATE_OK, &err));
        ASSERT_ERR(ERR_DENIED, check(private[i], TARGET_LOOPBACK_OK, &err));
        ASSERT_MSG("--deliver-private");
    }
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        ASSERT_OK(check(loopback[i], TARGET_LOOPBACK_OK, &err));
        ASSERT_ERR(ERR_DENIED, check(loopback[i], TARGET_PRIVATE_OK, &err));
    }
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        ASSERT_OK(check(fine[i], 0, &err));
    }
}

static void own_ports(void **state)
{
    static const uint16_t own[] = {8070, 9090};
    struct addr addr;
    struct error err;
    ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:9090"), &addr, &err));
    ASSERT_ERR(ERR_DENIED, target_check(&addr, TARGET_LOOPBACK_OK, own, 2, &err));
    ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:9091"), &addr, &err));
    ASSERT_OK(target_check(&addr, TARGET_LOOPBACK_OK, own, 2, &err));
    ASSERT_OK(addr_parse(SLICE_LIT("10.0.0.1:9090"), &addr, &err));
    ASSERT_OK(target_check(&addr, TARGET_PRIVATE_OK, own, 2, &err));
    ASSERT_OK(addr_parse(SLICE_LIT("unix:/x"), &addr, &err));
    ASSERT_ERR(ERR_DENIED, target_check(&addr, TARGET_LOOPBACK_OK, own, 2, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(urls), cmocka_unit_test(ranges),
                                       cmocka_unit_test(own_ports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
