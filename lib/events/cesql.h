// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * CloudEvents SQL 1.0: an expression over the attributes of one event, compiled once, evaluated for
 * each event. Every evaluation ends and has a value; what went wrong on the way is said beside it.
 * It stops at the first problem, with the zero value of the part where it arose carried outwards by
 * the rules of the specification (3.3, 4.1: fail fast).
 *
 * Bounded: length, depth and number of operations of an expression, bytes of the texts that one
 * evaluation makes, and steps of LIKE. Evaluating allocates nothing: what functions make lies in
 * memory of the compiled expression, so one of them is used by one thread at a time, and a value
 * lives until it is evaluated again.
 */

#include "events/event.h"

#define CESQL_BYTES_MAX 8192 /* of an expression */
#define CESQL_DEPTH_MAX 64   /* of operators and brackets within each other */
#define CESQL_NODES_MAX 2048 /* operators, literals and names */
#define CESQL_SCRATCH_MAX \
    65536 /* bytes of a text that a function makes; of all of them twice that */
#define CESQL_STEPS_MAX 1000000 /* of LIKE in one evaluation */

enum cesql_type { CESQL_BOOLEAN, CESQL_INTEGER, CESQL_STRING };

/* The specification's errors: X(id, name as it is reported). */
#define CESQL_PROBLEM_MAP(X)                       \
    X(CESQL_FINE, "none")                          \
    X(CESQL_MATH, "math")                          \
    X(CESQL_CAST, "cast")                          \
    X(CESQL_MISSING_ATTRIBUTE, "missingAttribute") \
    X(CESQL_MISSING_FUNCTION, "missingFunction")   \
    X(CESQL_FUNCTION, "functionEvaluation")        \
    X(CESQL_GENERIC, "generic")

#define CESQL_PROBLEM_ROW(id, name) id,
enum cesql_problem { CESQL_PROBLEM_MAP(CESQL_PROBLEM_ROW) };
#undef CESQL_PROBLEM_ROW

struct cesql_value {
    enum cesql_type type;
    int32_t number;      /* of an integer; of a boolean 0 or 1 */
    struct slice string; /* of a string; borrowed from the event or the expression */
};

struct cesql; /* owned by who compiled it */

/*
 * text must live as long as the result. ERR_INVALID with "column 7: …" for what does not parse;
 * ERR_TOO_BIG beyond a limit. A function that does not exist is a problem of the evaluation.
 */
MUST_CHECK int cesql_compile(struct slice text, struct cesql **out, struct error *err);
void cesql_free(struct cesql *c); /* NULL is fine */

enum cesql_problem cesql_run(const struct cesql *c, const struct event *ev,
                             struct cesql_value *out);
/* As a filter: true only for a boolean true without a problem. */
bool cesql_match(const struct cesql *c, const struct event *ev);
const char *cesql_problem_name(enum cesql_problem problem);
