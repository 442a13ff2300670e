// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How asynchronous calls lie in Redis: ids, names of keys, the scripts, and headers as one text.
 * Everything of one function has one hash tag. Pure.
 *
 *   lull:{async}:functions        sorted set: "TAG NS/NAME" by when somebody last called it
 *   lull:{async/TAG}:waiting      sorted set: ids by the time when they are due (ms, Redis' clock)
 *   lull:{async/TAG}:running      sorted set: ids by the end of the lease of who makes the call
 *   lull:{async/TAG}:results      sorted set: ids by when their result goes
 *   lull:{async/TAG}:call:ID      hash: the call, then its result; lives until the result goes
 *   lull:{async/TAG}:idem:HEX     "ID FINGERPRINT" of an Idempotency-Key; as long as its call
 *
 * TAG is a hash of NS/NAME, so that an id, which begins with it, tells no names. An id is TAG, the
 * second in which it was made, and 128 random bits, all hex: who has it may read the result.
 *
 * Fields of a call: h callee, m method, u target, H headers, b body, B callback, o origin, k its
 * idem key, t when it came (ms), n tries made, N tries of the callback, c claims, s state
 * (waiting, running, done). Of a result: r status (0: no answer came), R headers, d body, e words,
 * x 1 when the answer was too large, z what became of the callback.
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define ASYNC_TAG_LEN      8
#define ASYNC_TIME_LEN     8
#define ASYNC_RANDOM_LEN   32
#define ASYNC_ID_LEN       (ASYNC_TAG_LEN + ASYNC_TIME_LEN + ASYNC_RANDOM_LEN)
#define ASYNC_CALLEE_MAX   253
#define ASYNC_FUNCTIONS    "lull:{async}:functions"
#define ASYNC_KEY_MAX      128 /* of every key, with NUL */
#define ASYNC_IDEM_KEY_MAX 255

/* "NAME.NS.svc.DOMAIN" → its parts; ERR_INVALID. */
MUST_CHECK int async_callee(struct slice callee, struct slice *out_name, struct slice *out_ns,
                            struct error *err);
/* The tag of NS/NAME; buf of ASYNC_TAG_LEN + 1. */
char *async_tag(struct slice ns, struct slice name, char *buf);
/* A new id; buf of ASYNC_ID_LEN + 1. */
char *async_id_make(const char *tag, int64_t wall_s, char *buf);
bool async_id_valid(struct slice id);
/* The second in which a valid one was made. */
int64_t async_id_time(struct slice id);

/* "lull:{async/TAG}:what"; buf of ASYNC_KEY_MAX. */
char *async_key(struct slice tag, const char *what, char *buf);
char *async_call_key(struct slice id, char *buf);
/* The key of an Idempotency-Key of one function; buf as above. */
char *async_idem_key(struct slice tag, struct slice callee, struct slice key, char *buf);

/* Headers as "name NUL value NUL …". */
void async_headers_add(struct strbuf *out, struct slice name, struct slice value);
/* Takes the next one off *rest; false at the end (or where the text is broken off). */
bool async_headers_next(struct slice *rest, struct slice *name, struct slice *value);

/* Of an answer: false for those that say how the message came, not what it is. */
bool async_keeps_header(struct slice name);
/* Whether a function's answer with this status (0: none came) is worth another try. */
bool async_retry_wanted(int status);

/*
 * Scripts. Each is atomic.
 *
 * ADD     KEYS waiting, running, results, call, idem (or any, unused); ARGV id, fingerprint ("": no
 *         idem key), most, then field, value …: gives {1} taken, {2, id} there already,
 *         {3} another call has that key, {4, how many} full
 * CLAIM   KEYS waiting, running, results; ARGV start of call keys, most, lease ms, fields…: due
 *         calls become ours, those of dead workers are due again; gives {taken over, waiting,
 *         running, results, ms until the next is due (-1: none), {{id, claim, values…}…}, due}
 * RENEW   KEYS running; ARGV lease ms, ids…
 * SETTLE  KEYS waiting, running, results, call; ARGV id, claim, "again" or "end", ms, then field,
 *         value …: sets the fields; again: due in so many ms; end: the result goes after so many;
 *         0: the call is not ours any more, or gone
 * DROP    KEYS waiting, running, results, call; ARGV id: gives 1 when it was there
 * QUIET   KEYS waiting, running, results: 1 when there is nothing
 * FORGET  KEYS functions; ARGV member, score: unless somebody called it since
 */
extern const char async_script_add[];
extern const char async_script_claim[];
extern const char async_script_renew[];
extern const char async_script_settle[];
extern const char async_script_drop[];
extern const char async_script_quiet[];
extern const char async_script_forget[];
