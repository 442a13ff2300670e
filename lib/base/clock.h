// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Time. Monotonic time is uint64_t with its unit in the name; wall time is int64_t nanoseconds
 * since 1970 and is used only at the edges (API timestamps, logs).
 */

#include "base/error.h"
#include "base/slice.h"

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC */
uint64_t clock_mono_ns(void);
uint64_t clock_mono_us(void);
uint64_t clock_mono_ms(void);
/* CLOCK_BOOTTIME: goes on while the machine is suspended. */
uint64_t clock_boot_ns(void);
uint64_t clock_boot_ms(void);
/* Wall clock, nanoseconds since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ns(void);

#define CLOCK_RFC3339_MAX 40
/* "2006-01-02T15:04:05Z" with `digits` (0..9) decimals, UTC. Returns buf. */
char *clock_format_rfc3339(int64_t wall_ns, int digits, char *buf, size_t size);
/* Accepts decimals and any zone offset. ERR_INVALID otherwise. Years 1970 to 2261. */
MUST_CHECK int clock_parse_rfc3339(struct slice text, int64_t *out_wall_ns, struct error *err);
