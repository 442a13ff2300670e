// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The error value: a code and a sentence, on the caller's stack. Nothing to release.
 *
 * A function that can fail returns 0 or one of the (negative) codes below and takes
 * `struct error *err` as its last parameter. It fills err only when it fails. A NULL err is
 * allowed everywhere: the sentence is then lost, the code is not.
 *
 *     int rc = fs_read_file(path, 1 << 20, &text, err);
 *     if (rc < 0) {
 *         return error_prefix(err, rc, "config of %s", name);
 *     }
 *     if (n > max) {
 *         return error_set(err, ERR_TOO_BIG, "%zu bytes, at most %zu are allowed", n, max);
 *     }
 */

#include "base/attr.h"

/*
 * X(code, number, HTTP status that we answer, worth a retry, short text)
 * Numbers stay clear of -errno, so that a libuv or errno value is never taken for one of these.
 */
#define ERR_MAP(X)                                              \
    X(ERR_CANCELED, -1001, 503, false, "canceled")              \
    X(ERR_TIMEOUT, -1002, 504, true, "timed out")               \
    X(ERR_OVERLOAD, -1003, 503, true, "overloaded")             \
    X(ERR_NOT_FOUND, -1004, 404, false, "not found")            \
    X(ERR_EXISTS, -1005, 409, false, "exists already")          \
    X(ERR_CONFLICT, -1006, 409, true, "conflict")               \
    X(ERR_GONE, -1007, 410, false, "gone")                      \
    X(ERR_TOO_BIG, -1008, 413, false, "too big")                \
    X(ERR_PROTOCOL, -1009, 502, false, "protocol error")        \
    X(ERR_INVALID, -1010, 400, false, "invalid")                \
    X(ERR_UNAUTHORIZED, -1011, 401, false, "not authenticated") \
    X(ERR_DENIED, -1012, 403, false, "permission denied")       \
    X(ERR_UNAVAILABLE, -1013, 503, true, "unavailable")         \
    X(ERR_REFUSED, -1014, 502, true, "connection refused")      \
    X(ERR_CLOSED, -1015, 502, true, "connection closed")        \
    X(ERR_IN_USE, -1016, 409, false, "in use")                  \
    X(ERR_IO, -1017, 500, false, "input/output error")          \
    X(ERR_NOMEM, -1018, 503, true, "out of memory")             \
    X(ERR_UNSUPPORTED, -1019, 501, false, "not supported")      \
    X(ERR_INTERNAL, -1020, 500, false, "internal error")

#define ERR_ENUM_ROW(code, number, status, retry, text) code = number,
enum err_code { ERR_OK = 0, ERR_MAP(ERR_ENUM_ROW) };
#undef ERR_ENUM_ROW

/* Kubernetes' longest sentence about a name, with a name of 253 bytes twice in it, fits. */
#define ERROR_MSG_MAX 1024

struct error {
    enum err_code code;      /* 0 or one of ERR_MAP */
    char msg[ERROR_MSG_MAX]; /* one sentence, NUL-terminated, cut when too long */
};

/* Fill err (may be NULL) and return code, which must not be ERR_OK. */
int error_set(struct error *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "text: " before the sentence of err (may be NULL). Returns rc, so that it can be returned. */
int error_prefix(struct error *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As error_set, with the code that fits errnum and ": <text of errnum>" at the end. */
int error_from_errno(struct error *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The code that fits an errno value (positive). */
enum err_code error_code_of_errno(int errnum);

/* Copy a whole error; dst may be NULL. Returns the code. */
int error_copy(struct error *dst, const struct error *src);

/* "ERR_TIMEOUT"; "ERR_OK" for 0; "ERR_INTERNAL" for a number that is not in the map. */
const char *error_name(int code);
/* "timed out" */
const char *error_text(int code);
/* The HTTP status to answer with; 200 for 0, 500 for an unknown number. */
int error_http_status(int code);
/* Whether the same request may succeed a little later. */
bool error_retryable(int code);
