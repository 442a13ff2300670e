// SPDX-License-Identifier: Apache-2.0
/* Ports that are looked at, and held while others are chosen. */
#include <string.h>

#include "base/mem.h"
#include "cli/port.h"
#include "test.h"

static void held_ports_differ(void **state)
{
    unsigned ports[8] = {0};
    int held[8];
    struct error err = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        ASSERT_OK(port_hold(&ports[i], "--p", &held[i], &err));
        assert_int_not_equal(ports[i], 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(ports[i], ports[j]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        cleanup_close(&held[i]);
    }
}

static void one_that_is_used_is_refused(void **state)
{
    unsigned port = 0;
    int held = -1;
    struct error err = {0};
    (void)state;
    ASSERT_OK(port_hold(&port, "--first", &held, &err));
    assert_int_equal(port_check(&port, "--second", &err), ERR_IN_USE);
    assert_non_null(strstr(err.msg, "choose another with --second"));
    cleanup_close(&held);
    ASSERT_OK(port_check(&port, "--second", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_ports_differ),
        cmocka_unit_test(one_that_is_used_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
