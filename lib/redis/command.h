// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One command as the bytes that Redis reads (RESP): the number of arguments first, then each with
 * its length. Pure.
 *
 *     redis_command_begin(&out, 3);
 *     redis_command_arg(&out, SLICE_LIT("XACK")); …
 */

#include "base/strbuf.h"

/* Appends the head of a command of `count` arguments. */
void redis_command_begin(struct strbuf *out, size_t count);
void redis_command_arg(struct strbuf *out, struct slice arg);
void redis_command_u64(struct strbuf *out, uint64_t n);
