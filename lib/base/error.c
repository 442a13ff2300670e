// SPDX-License-Identifier: Apache-2.0
/*
 * Errors. The map in error.h is the only list of codes; everything here is read from it.
 * Failure modes: a sentence that is too long is cut; nothing here can fail.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>

struct err_row {
    int code;
    int status;
    bool retry;
    const char *name;
    const char *text;
};

#define ERR_TABLE_ROW(code, number, status, retry, text) {number, status, retry, #code, text},
static const struct err_row err_rows[] = {{ERR_OK, 200, false, "ERR_OK", "ok"},
                                          ERR_MAP(ERR_TABLE_ROW)};

static const struct err_row *err_row(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(err_rows); i++) {
        if (err_rows[i].code == code) {
            return &err_rows[i];
        }
    }
    return &err_rows[ARRAY_LEN(err_rows) - 1];
}

/* Puts text behind the first `used` bytes of a sentence, as much of it as fits. */
static void append(char msg[ERROR_MSG_MAX], size_t used, const char *text)
{
    size_t n = strnlen(text, ERROR_MSG_MAX - 1 - used);
    memcpy(msg + used, text, n);
    msg[used + n] = '\0';
}

int error_set(struct error *err, enum err_code code, const char *fmt, ...)
{
    if (err != NULL) {
        /* An argument may be the old sentence itself: build beside it. */
        char msg[ERROR_MSG_MAX];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(msg, sizeof(msg), fmt, ap);
        va_end(ap);
        err->code = code;
        memcpy(err->msg, msg, sizeof(msg));
    }
    return code;
}

int error_prefix(struct error *err, int rc, const char *fmt, ...)
{
    if (err != NULL) {
        char msg[ERROR_MSG_MAX];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(msg, sizeof(msg), fmt, ap);
        va_end(ap);
        size_t used = n < 0 ? 0 : (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;
        append(msg, used, ": ");
        append(msg, strlen(msg), err->msg);
        memcpy(err->msg, msg, sizeof(msg));
    }
    return rc;
}

enum err_code error_code_of_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ECANCELED:
        return ERR_CANCELED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return ERR_OVERLOAD;
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case E2BIG:
    case EFBIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
        return ERR_TOO_BIG;
    case EPROTO:
    case EBADMSG:
        return ERR_PROTOCOL;
    case EINVAL:
        return ERR_INVALID;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
        return ERR_UNAVAILABLE;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
        return ERR_CLOSED;
    case EADDRINUSE:
    case EBUSY:
    case ETXTBSY:
        return ERR_IN_USE;
    case ENOMEM:
        return ERR_NOMEM;
    case ENOSYS:
    case ENOTSUP:
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}

int error_from_errno(struct error *err, int errnum, const char *fmt, ...)
{
    enum err_code code = errnum == 0 ? ERR_IO : error_code_of_errno(errnum);
    if (err != NULL) {
        char msg[ERROR_MSG_MAX];
        char why[64];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(msg, sizeof(msg), fmt, ap);
        va_end(ap);
        size_t used = n < 0 ? 0 : (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;
        append(msg, used, ": ");
        append(msg, strlen(msg), strerror_r(errnum, why, sizeof(why)));
        err->code = code;
        memcpy(err->msg, msg, sizeof(msg));
    }
    return code;
}

int error_copy(struct error *dst, const struct error *src)
{
    if (dst != NULL && dst != src) {
        *dst = *src;
    }
    return src->code;
}

const char *error_name(int code)
{
    return err_row(code)->name;
}

const char *error_text(int code)
{
    return err_row(code)->text;
}

int error_http_status(int code)
{
    return err_row(code)->status;
}

bool error_retryable(int code)
{
    return err_row(code)->retry;
}
