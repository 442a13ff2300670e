// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * JSON lines on stderr, one write each: time, level, component, msg, then the fields.
 *
 *     log_init("autoscaler");                       once, in main
 *     LOG_INFO("scaled", LOG_STR("revision", key), LOG_INT("from", a), LOG_INT("to", b));
 *     LOG_WARN("cannot read the pod list", LOG_ERR(&err));
 *
 * The message is static text, so that a line can be found in the source. Level: environment
 * LULL_LOG = debug | info | warn | error | off, default info. Library rooms log at debug only;
 * the component that decides logs once. Level and component are the only state of this module.
 */

#include "base/error.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };

enum log_kind {
    LOG_KIND_END,
    LOG_KIND_STR,
    LOG_KIND_INT,
    LOG_KIND_UINT,
    LOG_KIND_DBL,
    LOG_KIND_BOOL
};

struct log_field {
    enum log_kind kind;
    const char *key;
    union {
        struct slice s;
        int64_t i;
        uint64_t u;
        double d;
        bool b;
    } v;
};

#define LOG_STR(k, text) ((struct log_field){LOG_KIND_STR, (k), {.s = slice_str(text)}})
#define LOG_SLICE(k, sl) ((struct log_field){LOG_KIND_STR, (k), {.s = (sl)}})
#define LOG_INT(k, n)    ((struct log_field){LOG_KIND_INT, (k), {.i = (int64_t)(n)}})
#define LOG_UINT(k, n)   ((struct log_field){LOG_KIND_UINT, (k), {.u = (uint64_t)(n)}})
#define LOG_DBL(k, x)    ((struct log_field){LOG_KIND_DBL, (k), {.d = (double)(x)}})
#define LOG_BOOL(k, x)   ((struct log_field){LOG_KIND_BOOL, (k), {.b = (x)}})
/* The sentence of a struct error, under the key "error". */
#define LOG_ERR(e) ((struct log_field){LOG_KIND_STR, "error", {.s = slice_str((e)->msg)}})

#define LOG_AT(level, msg, ...)                                                              \
    do {                                                                                     \
        if (log_enabled(level)) {                                                            \
            log_write(level, "" msg,                                                         \
                      (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){LOG_KIND_END}}); \
        }                                                                                    \
    } while (0)

#define LOG_DEBUG(msg, ...) LOG_AT(LOG_LEVEL_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_INFO(msg, ...)  LOG_AT(LOG_LEVEL_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_WARN(msg, ...)  LOG_AT(LOG_LEVEL_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_ERROR(msg, ...) LOG_AT(LOG_LEVEL_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)

/* component: static text. Reads LULL_LOG; an unknown value means info and says so once. */
void log_init(const char *component);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* fields end with LOG_KIND_END. Use the macros. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

/*
 * For a line that an outside party can cause at will: at most one per interval. Zeroed is valid.
 *     if (log_limit(&o->bad_peer, now_ms, 1000, &dropped)) { LOG_WARN(…, LOG_UINT("dropped", …)); }
 */
struct log_limit {
    uint64_t next_ms; /* private: no line before this */
    uint64_t dropped; /* private: lines held back since the last one */
};
/* True when a line may be written now; *out_dropped says how many were held back before it. */
bool log_limit(struct log_limit *limit, uint64_t now_ms, uint64_t interval_ms,
               uint64_t *out_dropped);
