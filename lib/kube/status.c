// SPDX-License-Identifier: Apache-2.0
/* Status to error: the HTTP status decides the code, 409 looks at the reason as well. */
#include "kube/status.h"

#include "json/jget.h"

static enum err_code code_of_status(int http_status, struct slice reason)
{
    switch (http_status) {
    case 400:
    case 422:
        return ERR_INVALID;
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 405:
    case 406:
    case 415:
    case 501:
        return ERR_UNSUPPORTED;
    case 409:
        return slice_eq_str(reason, "AlreadyExists") ? ERR_EXISTS : ERR_CONFLICT;
    case 410:
        return ERR_GONE;
    case 413:
        return ERR_TOO_BIG;
    case 429:
        return ERR_OVERLOAD;
    case 408:
    case 504:
        return ERR_TIMEOUT;
    case 502:
    case 503:
        return ERR_UNAVAILABLE;
    default:
        return http_status >= 500 ? ERR_INTERNAL : ERR_PROTOCOL;
    }
}

int error_from_kube_status(struct error *err, int http_status, const json_t *status,
                           struct slice raw)
{
    enum err_code code = code_of_status(http_status, jpeek_str(status, "reason"));
    struct slice message = jpeek_str(status, "message");
    if (message.len > 0) {
        return error_set(err, code, "%.*s", SLICE_FMT(message));
    }
    raw = slice_trim(slice_sub(raw, 0, 120));
    return error_set(err, code, "the API server answered %d%s%.*s", http_status,
                     raw.len > 0 ? ": " : "", SLICE_FMT(raw));
}
