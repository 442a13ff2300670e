// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: a server connection whose client began with the preface of HTTP/2. The
 * struct sconn stays what the server knows; this hangs on it and has its stream's events. Exchanges
 * are those of HTTP/1.1 with `h2` set; exchange.c comes here where the two differ.
 */

#include "http/server_impl.h"

/* The deadlines of a server that takes HTTP/2. */
void h2_server_init(struct http_server *server);
/*
 * Looks at a connection's first bytes. True: it speaks HTTP/2 and the bytes are taken (or they are
 * the first of the preface: the next ones will tell). False: HTTP/1.1; *before of them were
 * swallowed by earlier calls and must be parsed first.
 */
bool h2_server_sniff(struct sconn *conn, const char *bytes, size_t n, size_t *before);
/* GOAWAY; the connection closes when its last stream does. */
void h2_server_drain(struct sconn *conn);
/* The stream is closed: ends its exchanges and frees. */
void h2_server_closed(struct sconn *conn);
/* What it waits for. */
enum sconn_wait h2_server_waits_for(const struct sconn *conn);

/* ---- what exchange.c asks for ---- */

/* Nothing can be sent any more. */
bool h2_exchange_dead(const struct http_exchange *ex);
void h2_exchange_start(struct http_exchange *ex, const struct http_head *head);
void h2_exchange_inform(struct http_exchange *ex, const struct http_head *head);
enum http_flow h2_exchange_write(struct http_exchange *ex, struct slice chunk);
enum http_flow h2_exchange_flush(struct http_exchange *ex);
void h2_exchange_end(struct http_exchange *ex);
/* Resets the stream; on_close follows. */
void h2_exchange_abort(struct http_exchange *ex);
/* What was delivered, or that it is paused, has changed. */
void h2_exchange_settle(struct http_exchange *ex);
