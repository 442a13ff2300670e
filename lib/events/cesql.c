// SPDX-License-Identifier: Apache-2.0
/*
 * Evaluation: one recursive walk, as deep as the tree is high. A problem in a part ends the part
 * around it with the zero value of its type, and so on outwards; AND and OR stop before that when
 * what stands on their left decides. What is made on the way lies in the scratch memory.
 */
#include "events/cesql.h"

#include <stdlib.h>

#include "base/mem.h"
#include "events/cesql_impl.h"

#define FIRST_BLOCK 256
#define BLOCKS      9 /* 256 << 8 is CESQL_SCRATCH_MAX */
#define ARGS_MAX    16

/* --- scratch ---------------------------------------------------------------------------------- */

struct cesql_scratch {
    char *blocks[BLOCKS]; /* of FIRST_BLOCK << i; made when first needed, kept */
    unsigned i;
    size_t used; /* of blocks[i] */
};

struct cesql_scratch *cesql_scratch_new(void)
{
    return NEW(struct cesql_scratch);
}

void cesql_scratch_free(struct cesql_scratch *s)
{
    for (unsigned i = 0; s != NULL && i < BLOCKS; i++) {
        free(s->blocks[i]);
    }
    free(s);
}

void cesql_scratch_reset(struct cesql_scratch *s)
{
    s->i = 0;
    s->used = 0;
}

char *cesql_scratch_room(struct cesql_scratch *s, size_t len)
{
    while (s->i < BLOCKS && ((size_t)FIRST_BLOCK << s->i) - s->used < len) {
        s->i++;
        s->used = 0;
    }
    if (s->i == BLOCKS) {
        return NULL;
    }
    if (s->blocks[s->i] == NULL) {
        s->blocks[s->i] = xmalloc((size_t)FIRST_BLOCK << s->i);
    }
    char *room = s->blocks[s->i] + s->used;
    s->used += len;
    return room;
}

/* --- values ----------------------------------------------------------------------------------- */

struct run {
    const struct cesql *c;
    const struct event *ev;
    int64_t steps;
};

static enum cesql_problem eval(struct run *r, uint16_t i, struct cesql_value *out);

static struct cesql_value zero(enum cesql_type type)
{
    return (struct cesql_value){.type = type, .string = SLICE_EMPTY};
}

static struct cesql_value boolean(bool on)
{
    return (struct cesql_value){.type = CESQL_BOOLEAN, .number = on};
}

/* A child's value as this type. */
static enum cesql_problem eval_as(struct run *r, uint16_t i, enum cesql_type type,
                                  struct cesql_value *out)
{
    enum cesql_problem problem = eval(r, i, out);
    return problem != CESQL_FINE || out->type == type ? problem : cesql_cast(r->c, out, type);
}

/* Both of the same type. */
static bool same(const struct cesql_value *a, const struct cesql_value *b)
{
    return a->type == CESQL_STRING ? slice_eq(a->string, b->string) : a->number == b->number;
}

/* --- names ------------------------------------------------------------------------------------ */

static struct cesql_value extension_value(const struct run *r, const struct event_attr *attr)
{
    struct cesql_value value = {.type = CESQL_STRING, .string = attr->value};
    if (attr->kind != EVENT_STRING) { /* its text is one of that kind */
        (void)cesql_cast(r->c, &value, attr->kind == EVENT_INTEGER ? CESQL_INTEGER : CESQL_BOOLEAN);
    }
    return value;
}

static enum cesql_problem eval_attribute(const struct run *r, const struct cesql_node *node,
                                         struct cesql_value *out)
{
    if (node->attr < EVENT_ATTR_N) {
        *out = (struct cesql_value){.type = CESQL_STRING, .string = r->ev->known[node->attr]};
        if (out->string.ptr != NULL) {
            return CESQL_FINE;
        }
    } else {
        const struct event_attr *attr = event_extension(r->ev, node->value.string);
        if (attr != NULL) {
            *out = extension_value(r, attr);
            return CESQL_FINE;
        }
    }
    *out = boolean(false);
    return CESQL_MISSING_ATTRIBUTE;
}

static bool exists(const struct run *r, const struct cesql_node *node)
{
    return node->attr < EVENT_ATTR_N ? r->ev->known[node->attr].ptr != NULL
                                     : event_extension(r->ev, node->value.string) != NULL;
}

/* --- operators -------------------------------------------------------------------------------- */

static enum cesql_problem eval_logic(struct run *r, const struct cesql_node *node,
                                     struct cesql_value *out)
{
    bool decides = node->op == CESQL_OP_OR;
    struct cesql_value value;
    *out = boolean(false);
    for (uint16_t i = node->child; i != CESQL_NONE; i = r->c->nodes[i].next) {
        enum cesql_problem problem = eval_as(r, i, CESQL_BOOLEAN, &value);
        if (problem != CESQL_FINE) {
            return problem;
        }
        if ((value.number != 0) == decides) {
            *out = boolean(decides);
            return CESQL_FINE;
        }
    }
    *out = boolean(!decides);
    return CESQL_FINE;
}

/* The right operand's type is the one that both are compared in. */
static enum cesql_problem eval_equal(struct run *r, const struct cesql_node *node,
                                     struct cesql_value *out)
{
    struct cesql_value left, right;
    *out = boolean(false);
    enum cesql_problem problem = eval(r, node->child, &left);
    problem = problem != CESQL_FINE ? problem : eval(r, r->c->nodes[node->child].next, &right);
    if (problem == CESQL_FINE && left.type != right.type) {
        problem = cesql_cast(r->c, &left, right.type);
    }
    if (problem == CESQL_FINE) {
        *out = boolean(same(&left, &right) == (node->op == CESQL_OP_EQUAL));
    }
    return problem;
}

/* The left operand's type is the one that the others are cast to. */
static enum cesql_problem eval_in(struct run *r, const struct cesql_node *node,
                                  struct cesql_value *out)
{
    struct cesql_value wanted, value;
    *out = boolean(false);
    enum cesql_problem problem = eval(r, node->child, &wanted);
    uint16_t i = r->c->nodes[node->child].next;
    for (; problem == CESQL_FINE && i != CESQL_NONE; i = r->c->nodes[i].next) {
        problem = eval_as(r, i, wanted.type, &value);
        if (problem == CESQL_FINE && same(&wanted, &value)) {
            *out = boolean(true);
            break;
        }
    }
    return problem;
}

static enum cesql_problem eval_like(struct run *r, const struct cesql_node *node,
                                    struct cesql_value *out)
{
    struct cesql_value value;
    *out = boolean(false);
    enum cesql_problem problem = eval_as(r, node->child, CESQL_STRING, &value);
    if (problem != CESQL_FINE) {
        return problem;
    }
    bool matches = cesql_like_match(node->like, value.string, &r->steps);
    if (r->steps < 0) {
        return CESQL_GENERIC;
    }
    *out = boolean(matches);
    return CESQL_FINE;
}

static bool compare(enum cesql_op op, int32_t x, int32_t y)
{
    return op == CESQL_OP_LESS         ? x < y
           : op == CESQL_OP_LESS_EQUAL ? x <= y
           : op == CESQL_OP_GREATER    ? x > y
                                       : x >= y;
}

/* As two's complement: a result outside of 32 bits wraps, as in the reference. */
static enum cesql_problem calculate(enum cesql_op op, int32_t x, int32_t y, int32_t *out)
{
    if (op == CESQL_OP_PLUS) {
        *out = (int32_t)((uint32_t)x + (uint32_t)y);
    } else if (op == CESQL_OP_SUBTRACT) {
        *out = (int32_t)((uint32_t)x - (uint32_t)y);
    } else if (op == CESQL_OP_TIMES) {
        *out = (int32_t)((uint32_t)x * (uint32_t)y);
    } else if (y == 0) {
        return CESQL_MATH;
    } else if (y == -1) {
        *out = op == CESQL_OP_MODULO ? 0 : (int32_t)(0u - (uint32_t)x);
    } else {
        *out = op == CESQL_OP_MODULO ? x % y : x / y;
    }
    return CESQL_FINE;
}

static enum cesql_problem eval_numbers(struct run *r, const struct cesql_node *node,
                                       struct cesql_value *out)
{
    struct cesql_value left, right;
    enum cesql_op op = (enum cesql_op)node->op;
    bool comparison = op >= CESQL_OP_LESS && op <= CESQL_OP_GREATER_EQUAL;
    *out = zero(comparison ? CESQL_BOOLEAN : CESQL_INTEGER);
    /* Both first, then the casts: what is missing on the right goes before a cast on the left. */
    enum cesql_problem problem = eval(r, node->child, &left);
    problem = problem != CESQL_FINE ? problem : eval(r, r->c->nodes[node->child].next, &right);
    problem = problem != CESQL_FINE ? problem : cesql_cast(r->c, &left, CESQL_INTEGER);
    problem = problem != CESQL_FINE ? problem : cesql_cast(r->c, &right, CESQL_INTEGER);
    if (problem != CESQL_FINE) {
        return problem;
    }
    if (comparison) {
        out->number = compare(op, left.number, right.number);
        return CESQL_FINE;
    }
    return calculate(op, left.number, right.number, &out->number);
}

static enum cesql_problem eval_unary(struct run *r, const struct cesql_node *node,
                                     struct cesql_value *out)
{
    struct cesql_value value;
    enum cesql_type type = node->op == CESQL_OP_NOT ? CESQL_BOOLEAN : CESQL_INTEGER;
    *out = zero(type);
    enum cesql_problem problem = eval_as(r, node->child, type, &value);
    if (problem == CESQL_FINE) {
        out->number =
            node->op == CESQL_OP_NOT ? value.number == 0 : (int32_t)(0u - (uint32_t)value.number);
    }
    return problem;
}

static enum cesql_problem eval_xor(struct run *r, const struct cesql_node *node,
                                   struct cesql_value *out)
{
    struct cesql_value left, right;
    *out = boolean(false);
    enum cesql_problem problem = eval_as(r, node->child, CESQL_BOOLEAN, &left);
    problem = problem != CESQL_FINE
                  ? problem
                  : eval_as(r, r->c->nodes[node->child].next, CESQL_BOOLEAN, &right);
    if (problem == CESQL_FINE) {
        *out = boolean(left.number != right.number);
    }
    return problem;
}

/* --- calls ------------------------------------------------------------------------------------ */

static enum cesql_problem eval_arguments(struct run *r, const struct cesql_node *node,
                                         struct cesql_value *args)
{
    const char *types = node->function->args;
    unsigned n = 0;
    for (uint16_t i = node->child; i != CESQL_NONE; i = r->c->nodes[i].next) {
        enum cesql_problem problem = eval(r, i, &args[n]);
        if (problem == CESQL_FINE && *types != 'A') {
            enum cesql_type type = *types == 'S' ? CESQL_STRING : CESQL_INTEGER;
            problem = cesql_cast(r->c, &args[n], type);
        }
        if (problem != CESQL_FINE) {
            return problem;
        }
        types += types[1] != '\0';
        n++;
    }
    return CESQL_FINE;
}

static enum cesql_problem eval_call(struct run *r, const struct cesql_node *node,
                                    struct cesql_value *out)
{
    struct cesql_value few[ARGS_MAX];
    struct cesql_value *args = few;
    if (node->function == NULL) {
        *out = boolean(false);
        return CESQL_MISSING_FUNCTION;
    }
    *out = zero(node->function->returns);
    if (node->n_children > ARGS_MAX) {
        size_t bytes = node->n_children * sizeof(*args) + _Alignof(struct cesql_value);
        char *room = cesql_scratch_room(r->c->scratch, bytes);
        if (room == NULL) {
            return CESQL_GENERIC;
        }
        uintptr_t mask = _Alignof(struct cesql_value) - 1;
        args = (struct cesql_value *)(((uintptr_t)room + mask) & ~mask);
    }
    enum cesql_problem problem = eval_arguments(r, node, args);
    return problem != CESQL_FINE ? problem
                                 : node->function->call(r->c, args, node->n_children, out);
}

static enum cesql_problem eval(struct run *r, uint16_t i, struct cesql_value *out)
{
    const struct cesql_node *node = &r->c->nodes[i];
    switch ((enum cesql_op)node->op) {
    case CESQL_OP_LITERAL:
        *out = node->value;
        return CESQL_FINE;
    case CESQL_OP_ATTRIBUTE:
        return eval_attribute(r, node, out);
    case CESQL_OP_EXISTS:
        *out = boolean(exists(r, node));
        return CESQL_FINE;
    case CESQL_OP_NOT:
    case CESQL_OP_MINUS:
        return eval_unary(r, node, out);
    case CESQL_OP_AND:
    case CESQL_OP_OR:
        return eval_logic(r, node, out);
    case CESQL_OP_XOR:
        return eval_xor(r, node, out);
    case CESQL_OP_EQUAL:
    case CESQL_OP_UNEQUAL:
        return eval_equal(r, node, out);
    case CESQL_OP_LESS:
    case CESQL_OP_LESS_EQUAL:
    case CESQL_OP_GREATER:
    case CESQL_OP_GREATER_EQUAL:
    case CESQL_OP_TIMES:
    case CESQL_OP_DIVIDE:
    case CESQL_OP_MODULO:
    case CESQL_OP_PLUS:
    case CESQL_OP_SUBTRACT:
        return eval_numbers(r, node, out);
    case CESQL_OP_LIKE:
        return eval_like(r, node, out);
    case CESQL_OP_IN:
        return eval_in(r, node, out);
    case CESQL_OP_CALL:
        break;
    }
    return eval_call(r, node, out);
}

/* --- the whole -------------------------------------------------------------------------------- */

void cesql_free(struct cesql *c)
{
    if (c == NULL) {
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        cesql_like_free(c->nodes[i].like);
    }
    if (c->locale != (locale_t)0) {
        freelocale(c->locale);
    }
    cesql_scratch_free(c->scratch);
    free(c->texts);
    free(c->nodes);
    free(c);
}

int cesql_compile(struct slice text, struct cesql **out, struct error *err)
{
    struct cesql *c = NEW(struct cesql);
    int rc = cesql_parse(c, text, err);
    if (rc < 0) {
        cesql_free(c);
        return rc;
    }
    c->scratch = cesql_scratch_new();
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].function != NULL && cesql_function_has_case(c->nodes[i].function) &&
            c->locale == (locale_t)0) {
            c->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        }
    }
    *out = c;
    return 0;
}

enum cesql_problem cesql_run(const struct cesql *c, const struct event *ev, struct cesql_value *out)
{
    struct run r = {.c = c, .ev = ev, .steps = CESQL_STEPS_MAX};
    cesql_scratch_reset(c->scratch);
    return eval(&r, c->root, out);
}

bool cesql_match(const struct cesql *c, const struct event *ev)
{
    struct cesql_value value;
    return cesql_run(c, ev, &value) == CESQL_FINE && value.type == CESQL_BOOLEAN &&
           value.number != 0;
}

const char *cesql_problem_name(enum cesql_problem problem)
{
#define PROBLEM_ROW(id, name) [id] = name,
    static const char *const names[] = {CESQL_PROBLEM_MAP(PROBLEM_ROW)};
#undef PROBLEM_ROW
    return (size_t)problem < ARRAY_LEN(names) ? names[problem] : "generic";
}
