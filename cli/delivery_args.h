// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How events are delivered, as people write it: --retry, --backoff, --backoff-delay,
 * --delivery-timeout, --retry-after-max, --dead-letter, and kn's names for them. Durations are
 * taken as 500ms too, and sent as ISO 8601. Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/options.h"

/* A member `delivery` of a command's options; name the rows by DELIVERY_ROWS. */
struct delivery_args {
    int64_t retry; /* -1: not said */
    char *backoff, *backoff_delay, *timeout, *retry_after_max, *dead_letter;
};

#define DELIVERY_ROWS(strct)                                                                      \
    OPTION(strct, delivery.retry, INT, NULL, "retry", "-1", .min = -1, .max = 1000,               \
           .help = "how often a delivery is tried again; -1: not said"),                          \
        OPTION(strct, delivery.backoff, STRING, NULL, "backoff", NULL, .optional = true,          \
               .also = "backoff-policy",                                                          \
               .help = "how the delay grows: exponential (which it is) or linear"),               \
        OPTION(strct, delivery.backoff_delay, STRING, NULL, "backoff-delay", NULL,                \
               .optional = true, .help = "delay before a retry, as 500ms or PT0.5S"),             \
        OPTION(strct, delivery.timeout, STRING, NULL, "delivery-timeout", NULL, .optional = true, \
               .also = "timeout", .help = "longest wait for one delivery, as 30s or PT30S"),      \
        OPTION(strct, delivery.retry_after_max, STRING, NULL, "retry-after-max", NULL,            \
               .optional = true,                                                                  \
               .help = "longest Retry-After of a subscriber that counts, as 5m or PT5M"),         \
        OPTION(strct, delivery.dead_letter, STRING, NULL, "dead-letter", NULL, .optional = true,  \
               .also = "dl-sink", .help = "where events go that nobody took (as a --sink)")

/*
 * Sets what was said in delivery, an object: that of before, or an empty one, in which what was not
 * said becomes what it is without any delivery; it stays empty when nothing was said. ERR_INVALID.
 */
MUST_CHECK int delivery_args_set(const struct delivery_args *a, json_t *delivery,
                                 struct error *err);
/* to[key] = text as ISO 8601, whether it was "500ms" or "PT0.5S"; nothing for NULL. ERR_INVALID. */
MUST_CHECK int delivery_args_period(json_t *to, const char *key, const char *flag, const char *text,
                                    struct error *err);
