// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * MD5, because Knative's name shortening is defined by it. Private to lib/serving; no use for
 * anything that must resist an attacker.
 */

#include <stddef.h>

/* 32 hex digits and NUL. */
void md5_hex(const void *data, size_t len, char out[static 33]);
