// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The request log: a line per request (and per probe where that is wished for). */

#include "queue-proxy/proxy.h"

/* Starts proxy->log if the settings ask for it. ERR_INVALID: a template that is none. */
MUST_CHECK int log_start(struct proxy *proxy, struct error *err);
/* For http_server_options.on_over; arg is the proxy. */
void log_request(struct http_exchange *ex, void *arg);
