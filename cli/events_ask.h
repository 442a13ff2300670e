// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asking lull-broker about events: its pages under /events/ (broker/query.h has them), on this
 * machine or in its Pods. What is asked of Redis any of several workers knows; their own counts are
 * added up. Owns: nothing.
 */

#include "base/strbuf.h"
#include "cli/cli.h"

/* Begins "/events/PAGE?namespace=NS". */
void events_path(const struct cli *cli, const char *page, struct strbuf *out);
/* Appends "&NAME=VALUE", encoded; nothing for NULL and "". */
void events_path_add(struct strbuf *path, const char *name, const char *value);
/* GET or PUT; *out: the answer, an object, the caller's. */
MUST_CHECK int events_call(struct cli *cli, const char *method, const struct strbuf *path,
                           json_t **out, struct error *err);
/*
 * When what takes events does not run on this machine: why not, and what to do. ERR_UNAVAILABLE: it
 * is being started; ERR_NOT_FOUND: it is not. 0: it should be there, or we talk to a cluster.
 */
MUST_CHECK int events_absent(const struct cli *cli, struct error *err);
/* Makes an error of nobody being there say why; gives rc back. */
int events_explain(const struct cli *cli, int rc, struct error *err);
/*
 * Brokers and their triggers, and sources, with their numbers, of the namespace or (all) of every
 * one; counts and rates of all workers together. *out: {"redis", "trouble", "brokers": […],
 * "sources": […]}.
 */
MUST_CHECK int events_numbers(struct cli *cli, bool all, json_t **out, struct error *err);
/* A broker's entry, or that of a trigger; NULL: not there. Borrowed. */
const json_t *events_numbers_broker(const json_t *numbers, const char *ns, const char *name);
const json_t *events_numbers_trigger(const json_t *numbers, const char *ns, const char *name);
/* That of a source; kind: "ping", "webhook", "redis" or "file". */
const json_t *events_numbers_source(const json_t *numbers, const char *ns, const char *kind,
                                    const char *name);
/* "KIND/NAME" of a source's entry; NULL: it is a trigger's. The caller's. */
char *events_source_name(const json_t *entry);
/* What waits for a trigger or a source. */
int64_t events_waiting(const json_t *entry);
double events_rate(const json_t *entry, const char *key);
/* Lines for `describe`; failure: with the last one. */
void events_numbers_print(const json_t *entry, bool failure);

/* "3s", "5m", "2h" since a time as lull-broker writes it; "-" for none. */
void events_age(const char *time, char *out, size_t size);

#define EVENTS_ID_MAX 48
/*
 * An id of a Broker's stream for what people write: such an id, a time (RFC 3339), or how long ago
 * ("5m"). what: the option's name, for the error.
 */
MUST_CHECK int events_since(const char *what, const char *text, char out[static EVENTS_ID_MAX],
                            struct error *err);
