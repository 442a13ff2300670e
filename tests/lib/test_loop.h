// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A loop for a test. Setup makes it, teardown demands that every handle has been closed: the
 * cheapest leak test there is.
 *
 *     cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
 *     static void name(void **state) { struct loop *loop = *state; … LOOP_UNTIL(loop, done); }
 */

#include "loop/loop.h"

int test_loop_setup(void **state);
int test_loop_teardown(void **state);

struct test_wait {
    uint64_t end_ms;
};
void test_wait_begin(struct test_wait *wait);
/* One turn, waiting for an event; fails the test after 20 s. */
void test_wait_turn(struct test_wait *wait, struct loop *loop, const char *what, const char *file,
                    int line);

/* Runs the loop until the condition holds. */
#define LOOP_UNTIL(loop, cond)                                         \
    do {                                                               \
        struct test_wait wait_;                                        \
        test_wait_begin(&wait_);                                       \
        while (!(cond)) {                                              \
            test_wait_turn(&wait_, (loop), #cond, __FILE__, __LINE__); \
        }                                                              \
    } while (0)

/* A fresh folder below the temporary one, removed by test_dir_remove. Returns its path. */
char *test_dir(void);
void test_dir_remove(char *dir);
