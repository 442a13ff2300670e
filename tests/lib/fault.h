// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Faults under the calls of the kernel and of libuv that can fail: the n-th of them returns an
 * error instead of being made. Link with test_fault_dep, which brings the linker's --wrap for each.
 *
 *     for (unsigned n = 1;; n++) {
 *         fault_arm(n, UV_ENOBUFS);
 *         bool ok = scenario(…);
 *         if (!fault_disarm()) { assert_true(ok); break; }     no fault was left to fire
 *     }
 */

#include "base/attr.h"

/* The n-th call from now (1 is the next) fails with uv_code (system calls: with its errno). */
void fault_arm(unsigned n, int uv_code);
/* No more faults. Whether one has fired since fault_arm. */
bool fault_disarm(void);
