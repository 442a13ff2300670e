// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The request log: a line per request (and per probe where that is wished for). */

#include "activator/handler.h"

/* Starts h->log if the settings ask for it. ERR_INVALID: a template that is none. */
MUST_CHECK int log_start(struct handler *h, struct error *err);
/* This request is for that revision. */
void log_revision(struct handler *h, struct http_exchange *ex, const struct revision *r);
/* For http_server_options.on_over; arg is the handler. */
void log_request(struct http_exchange *ex, void *arg);
/* Once no request is left. */
void log_stop(struct handler *h);
