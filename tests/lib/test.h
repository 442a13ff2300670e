// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What every unit test includes first: cmocka with what it needs, in its order. */

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/error.h"
#include "base/slice.h"

/* A call must succeed; on failure the sentence is printed. */
#define ASSERT_OK(call)                                                  \
    do {                                                                 \
        err.msg[0] = '\0';                                               \
        int ok_rc_ = (call);                                             \
        if (ok_rc_ != 0) {                                               \
            fail_msg("%s: %s (%s)", #call, error_name(ok_rc_), err.msg); \
        }                                                                \
    } while (0)

/* A call must fail with this code; needs `struct error err` in scope. */
#define ASSERT_ERR(want, call)                                                             \
    do {                                                                                   \
        int err_rc_ = (call);                                                              \
        if (err_rc_ != (want)) {                                                           \
            fail_msg("%s: got %s, want %s", #call, error_name(err_rc_), error_name(want)); \
        }                                                                                  \
        assert_int_equal(err.code, (want));                                                \
    } while (0)

/* A slice must have this text. */
#define ASSERT_SLICE(s, text)                                                       \
    do {                                                                            \
        struct slice got_ = (s);                                                    \
        if (!slice_eq_str(got_, (text))) {                                          \
            fail_msg("%s: got \"%.*s\", want \"%s\"", #s, SLICE_FMT(got_), (text)); \
        }                                                                           \
    } while (0)

/* The sentence of an error must contain this text. */
#define ASSERT_MSG(text)                                                 \
    do {                                                                 \
        if (strstr(err.msg, (text)) == NULL) {                           \
            fail_msg("\"%s\" does not contain \"%s\"", err.msg, (text)); \
        }                                                                \
    } while (0)
