// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What comes in over HTTP: events for Brokers, and what other files of this component take under
 * /_lull/ (a row of the table in ingress.c each). May not: deliver anything.
 */

#include "http/simple.h"
#include "broker/model.h"

MUST_CHECK int ingress_start(struct worker *w, struct error *err);

/* Answers a request with what is wrong, and counts it: by err->code, see the plan of ingress.c. */
void ingress_refuse(struct worker *w, struct http_simple_request *rq, const struct error *err);
/* Answers with 405; allow: the methods that there are. */
void ingress_refuse_method(struct worker *w, struct http_simple_request *rq, const char *allow);
/*
 * Takes one event of a request, which is answered when Redis has it. The event may go after the
 * call. once: see broker_add; NULL: it counts however often it comes.
 */
void ingress_put(struct broker *b, struct http_simple_request *rq, struct event *ev,
                 const struct broker_once *once);
