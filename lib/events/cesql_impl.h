// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/events: the compiled form of a CESQL expression, between its parser, its
 * evaluation and what these share. Nodes are numbers into one array, children a list by `next`.
 */

#include <locale.h>

#include "events/cesql.h"

enum cesql_op {
    CESQL_OP_LITERAL,
    CESQL_OP_ATTRIBUTE,
    CESQL_OP_EXISTS,
    CESQL_OP_NOT,
    CESQL_OP_MINUS,
    CESQL_OP_AND, /* two operands or more: what stands in a row */
    CESQL_OP_OR,
    CESQL_OP_XOR,
    CESQL_OP_EQUAL,
    CESQL_OP_UNEQUAL,
    CESQL_OP_LESS,
    CESQL_OP_LESS_EQUAL,
    CESQL_OP_GREATER,
    CESQL_OP_GREATER_EQUAL,
    CESQL_OP_TIMES,
    CESQL_OP_DIVIDE,
    CESQL_OP_MODULO,
    CESQL_OP_PLUS,
    CESQL_OP_SUBTRACT,
    CESQL_OP_LIKE,
    CESQL_OP_IN, /* the first child is looked for among the others */
    CESQL_OP_CALL,
};

struct cesql_like;
struct cesql_function;
struct cesql_scratch;

#define CESQL_NONE UINT16_MAX

struct cesql_node {
    uint8_t op;     /* enum cesql_op */
    uint8_t attr;   /* enum event_attr_id of CESQL_OP_ATTRIBUTE and CESQL_OP_EXISTS */
    uint8_t height; /* of the tree below, itself included */
    uint8_t chain;  /* private to the parser: made of operands in a row, not of brackets */
    uint16_t child; /* first one, or CESQL_NONE */
    uint16_t next;  /* sibling, or CESQL_NONE */
    uint16_t n_children;
    struct cesql_value value;              /* of a literal; the string is an extension's name too */
    struct cesql_like *like;               /* owned */
    const struct cesql_function *function; /* NULL: there is none of this name and arity */
};

struct cesql {
    struct cesql_node *nodes; /* owned */
    unsigned n;
    unsigned cap; /* while parsing */
    uint16_t root;
    char *texts; /* owned: names in lower case, and strings without their escapes */
    struct cesql_scratch *scratch; /* owned: where an evaluation puts the texts that it makes */
    locale_t locale;               /* of LOWER and UPPER, or (locale_t)0 */
};

/* --- the parser ------------------------------------------------------------------------------- */

/* Fills nodes, root and texts. What was put in before a failure is cesql_free's. */
MUST_CHECK int cesql_parse(struct cesql *c, struct slice text, struct error *err);

/* --- LIKE ------------------------------------------------------------------------------------- */

struct cesql_like *cesql_like_new(struct slice pattern);
void cesql_like_free(struct cesql_like *like);
/* steps: what is left; taken down. Negative afterwards: it was not finished. */
bool cesql_like_match(const struct cesql_like *like, struct slice text, int64_t *steps);

/* --- functions -------------------------------------------------------------------------------- */

struct cesql_function {
    const char *name;
    uint8_t min_args;
    uint8_t max_args; /* UINT8_MAX: any number */
    enum cesql_type returns;
    /* What arguments are cast to: S, I, B, or A for as they are; the last letter goes on. */
    const char *args;
    /* out holds the zero value of `returns`. args: n of them. */
    enum cesql_problem (*call)(const struct cesql *c, const struct cesql_value *args, unsigned n,
                               struct cesql_value *out);
};

/* NULL: there is none. */
const struct cesql_function *cesql_function_find(struct slice name, unsigned n_args);
/* Whether it changes the case of letters, which needs the locale. */
bool cesql_function_has_case(const struct cesql_function *f);

/* Casts as the specification says (3.7); on a problem *value is the zero value of `type`. */
enum cesql_problem cesql_cast(const struct cesql *c, struct cesql_value *value,
                              enum cesql_type type);

/* --- memory of an evaluation ------------------------------------------------------------------ */

struct cesql_scratch *cesql_scratch_new(void);
void cesql_scratch_free(struct cesql_scratch *s);
void cesql_scratch_reset(struct cesql_scratch *s);
/* NULL when an evaluation has had what it may have. */
char *cesql_scratch_room(struct cesql_scratch *s, size_t len);
