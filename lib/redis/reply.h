// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What Redis answered, and how it is read: hiredis' tree behind a few readers that never trust its
 * shape. An answer is borrowed during the callback. An error answer never gets here: it becomes a
 * struct error (redis_error_of).
 */

#include "base/error.h"
#include "base/slice.h"

struct redisReply; /* hiredis' */

/* Elements of an array; 0 for everything else and NULL. */
size_t redis_reply_len(const struct redisReply *r);
/* NULL when it is no array or shorter. */
const struct redisReply *redis_reply_at(const struct redisReply *r, size_t i);
/* The text of a string or status; empty for everything else and NULL. */
struct slice redis_reply_text(const struct redisReply *r);
bool redis_reply_is_text(const struct redisReply *r);
/* The integer (also of a string of digits); `or` for everything else and NULL. */
int64_t redis_reply_int(const struct redisReply *r, int64_t or);
/* NULL and the nil answer. */
bool redis_reply_is_nil(const struct redisReply *r);
/* The value of a field of a stream's entry (name, value, name, …); false when it is not there. */
bool redis_reply_field(const struct redisReply *fields, const char *name, struct slice *out);
/* Fills err when the answer, or an element of it (of a script or EXEC), is an error: its code,
 * else 0. */
int redis_reply_error(const struct redisReply *r, struct error *err);

/*
 * The error for the text of an error answer ("NOGROUP No such key …"): ERR_NOT_FOUND (NOGROUP),
 * ERR_EXISTS (BUSYGROUP), ERR_OVERLOAD (OOM), ERR_UNAVAILABLE (LOADING, READONLY, MASTERDOWN,
 * CLUSTERDOWN, BUSY, MISCONF, NOREPLICAS), ERR_DENIED (NOAUTH, NOPERM, WRONGPASS), ERR_UNSUPPORTED
 * (MOVED, ASK, CROSSSLOT), ERR_INVALID for the rest.
 */
int redis_error_of(struct slice text, struct error *err);

/* A parser of answers with bounds on what one may be; for redis/conn.c. */
struct redisReader;
struct redisReader *redis_reader_new(void);
void redis_reader_free(struct redisReader *reader);
/* Of an answer that such a parser gave (hiredis' own free does not know them). NULL is fine. */
void redis_reply_free(struct redisReply *root);
