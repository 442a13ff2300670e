// SPDX-License-Identifier: Apache-2.0
/*
 * Precedence climbing over tokens that are made as they are asked for. Happy path: nodes are added
 * behind each other, children before their parents; strings without escapes stay in the text that
 * was given. Failure modes: the first thing that does not fit ends it, with its column.
 *
 * AND, OR and XOR have one precedence and are grouped from the right, as in the grammar that the
 * specification publishes: a OR b AND c is a OR (b AND c), a AND b OR c is a AND (b OR c).
 */
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "events/cesql_impl.h"

enum token {
    T_END,
    T_NAME, /* letters and digits, maybe underscores */
    T_NUMBER,
    T_STRING,
    T_OPEN,
    T_CLOSE,
    T_COMMA,
    T_TIMES,
    T_DIVIDE,
    T_MODULO,
    T_PLUS,
    T_MINUS,
    T_EQUAL,
    T_UNEQUAL,
    T_LESS,
    T_LESS_EQUAL,
    T_GREATER,
    T_GREATER_EQUAL,
    T_AND,
    T_OR,
    T_XOR,
    T_NOT,
    T_LIKE,
    T_EXISTS,
    T_IN,
    T_TRUE,
    T_FALSE,
    T_N,
};

/* How tight operators bind. */
enum { P_LOGIC = 3, P_COMPARE, P_ADD, P_MULTIPLY, P_IN, P_LIKE, P_UNARY };

struct parser {
    struct cesql *c;
    struct slice text;
    size_t at;    /* behind the current token */
    size_t begin; /* of the current token */
    enum token token;
    struct slice word; /* of a name, number or string (with its quotes) */
    size_t texts_used;
    unsigned depth;
    struct error *err;
    int rc; /* of the first failure */
};

static const struct {
    const char *word;
    enum token token;
} KEYWORDS[] = {{"AND", T_AND}, {"OR", T_OR},     {"XOR", T_XOR},
                {"NOT", T_NOT}, {"LIKE", T_LIKE}, {"EXISTS", T_EXISTS},
                {"IN", T_IN},   {"TRUE", T_TRUE}, {"FALSE", T_FALSE}};

static const struct {
    uint8_t precedence;
    uint8_t op;
} BINARY[T_N] = {
    [T_AND] = {P_LOGIC, CESQL_OP_AND},
    [T_OR] = {P_LOGIC, CESQL_OP_OR},
    [T_XOR] = {P_LOGIC, CESQL_OP_XOR},
    [T_EQUAL] = {P_COMPARE, CESQL_OP_EQUAL},
    [T_UNEQUAL] = {P_COMPARE, CESQL_OP_UNEQUAL},
    [T_LESS] = {P_COMPARE, CESQL_OP_LESS},
    [T_LESS_EQUAL] = {P_COMPARE, CESQL_OP_LESS_EQUAL},
    [T_GREATER] = {P_COMPARE, CESQL_OP_GREATER},
    [T_GREATER_EQUAL] = {P_COMPARE, CESQL_OP_GREATER_EQUAL},
    [T_PLUS] = {P_ADD, CESQL_OP_PLUS},
    [T_MINUS] = {P_ADD, CESQL_OP_SUBTRACT},
    [T_TIMES] = {P_MULTIPLY, CESQL_OP_TIMES},
    [T_DIVIDE] = {P_MULTIPLY, CESQL_OP_DIVIDE},
    [T_MODULO] = {P_MULTIPLY, CESQL_OP_MODULO},
    [T_IN] = {P_IN, CESQL_OP_IN},
    [T_LIKE] = {P_LIKE, CESQL_OP_LIKE},
};

static uint16_t parse_expression(struct parser *p, int least);

/* Everything stops: the token is the end from now on. */
static uint16_t fail(struct parser *p, enum err_code code, const char *what)
{
    if (p->rc == 0) {
        p->rc = error_set(p->err, code, "column %zu: %s", p->begin + 1, what);
    }
    p->at = p->text.len;
    p->token = T_END;
    return CESQL_NONE;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static char at(const struct parser *p, size_t i)
{
    return i < p->text.len ? p->text.ptr[i] : '\0';
}

static void take_string(struct parser *p, char quote)
{
    for (p->at = p->begin + 1; p->at < p->text.len; p->at++) {
        char c = p->text.ptr[p->at];
        if (c == quote) {
            p->at++;
            p->token = T_STRING;
            return;
        }
        p->at += c == '\\';
    }
    fail(p, ERR_INVALID, "a string that does not end");
}

static void take_word(struct parser *p)
{
    bool number = true, letters = true;
    for (char c; c = at(p, p->at), isalnum((unsigned char)c) || c == '_'; p->at++) {
        number = number && isdigit((unsigned char)c);
        letters = letters && isalpha((unsigned char)c);
    }
    struct slice word = slice_sub(p->text, p->begin, p->at - p->begin);
    p->token = number ? T_NUMBER : T_NAME;
    for (size_t i = 0; letters && i < ARRAY_LEN(KEYWORDS); i++) {
        if (slice_eq_nocase(word, slice_str(KEYWORDS[i].word))) {
            p->token = KEYWORDS[i].token;
        }
    }
}

static enum token symbol(struct parser *p, char c, char follows)
{
    switch (c) {
    case '(':
        return T_OPEN;
    case ')':
        return T_CLOSE;
    case ',':
        return T_COMMA;
    case '*':
        return T_TIMES;
    case '/':
        return T_DIVIDE;
    case '%':
        return T_MODULO;
    case '+':
        return T_PLUS;
    case '-':
        return T_MINUS;
    case '=':
        return T_EQUAL;
    case '!':
        p->at += follows == '=';
        return follows == '=' ? T_UNEQUAL : T_END;
    case '<':
        p->at += follows == '=' || follows == '>';
        return follows == '=' ? T_LESS_EQUAL : follows == '>' ? T_UNEQUAL : T_LESS;
    case '>':
        p->at += follows == '=';
        return follows == '=' ? T_GREATER_EQUAL : T_GREATER;
    default:
        return T_END;
    }
}

static void advance(struct parser *p)
{
    while (p->at < p->text.len && memchr(" \t\r\n", p->text.ptr[p->at], 4) != NULL) {
        p->at++;
    }
    p->begin = p->at;
    p->token = T_END;
    if (p->at == p->text.len) {
        return;
    }
    char c = p->text.ptr[p->at];
    if (c == '\'' || c == '"') {
        take_string(p, c);
    } else if (isalnum((unsigned char)c)) {
        take_word(p);
    } else {
        p->at++;
        p->token = symbol(p, c, at(p, p->at));
        if (p->token == T_END) {
            fail(p, ERR_INVALID, "a character that does not belong here");
        }
    }
    if (p->rc == 0) {
        p->word = slice_sub(p->text, p->begin, p->at - p->begin);
    }
}

static bool take(struct parser *p, enum token token)
{
    if (p->rc != 0 || p->token != token) {
        return false;
    }
    advance(p);
    return true;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct cesql_node *node_of(struct parser *p, uint16_t i)
{
    return &p->c->nodes[i];
}

static uint16_t add(struct parser *p, enum cesql_op op)
{
    struct cesql *c = p->c;
    if (p->rc != 0) {
        return CESQL_NONE;
    }
    if (c->n == CESQL_NODES_MAX) {
        return fail(p, ERR_TOO_BIG, "too many operators, names and literals");
    }
    if (c->n == c->cap) {
        c->cap = c->cap == 0 ? 8 : c->cap * 2;
        c->nodes = xreallocarray(c->nodes, c->cap, sizeof(*c->nodes));
    }
    c->nodes[c->n] = (struct cesql_node){
        .op = (uint8_t)op, .height = 1, .child = CESQL_NONE, .next = CESQL_NONE};
    return (uint16_t)c->n++;
}

/* Puts a child in front of the others. */
static void adopt(struct parser *p, uint16_t parent, uint16_t child)
{
    if (p->rc != 0) {
        return;
    }
    struct cesql_node *node = node_of(p, parent);
    struct cesql_node *below = node_of(p, child);
    below->next = node->child;
    node->child = child;
    node->n_children++;
    if (below->height == CESQL_DEPTH_MAX) {
        fail(p, ERR_TOO_BIG, "operators and brackets are nested too deep");
    } else if (below->height >= node->height) {
        node->height = (uint8_t)(below->height + 1);
    }
}

static uint16_t unary(struct parser *p, enum cesql_op op, uint16_t child)
{
    uint16_t i = add(p, op);
    adopt(p, i, child);
    return i;
}

static uint16_t binary(struct parser *p, enum cesql_op op, uint16_t left, uint16_t right)
{
    uint16_t i = add(p, op);
    adopt(p, i, right);
    adopt(p, i, left);
    return i;
}

/* The text of the string token: as it stands there, or without its escaped quotes. */
static struct slice string_text(struct parser *p)
{
    char quote = p->word.ptr[0];
    struct slice raw = slice_sub(p->word, 1, p->word.len - 2);
    char *room = p->c->texts + p->texts_used;
    size_t n = 0;
    if (slice_find(raw, '\\') < 0) {
        return raw;
    }
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\\' && i + 1 < raw.len) {
            if (raw.ptr[i + 1] != quote) {
                room[n++] = raw.ptr[i];
            }
            i++;
        }
        room[n++] = raw.ptr[i];
    }
    p->texts_used += n;
    return slice_of(room, n);
}

static uint16_t literal(struct parser *p, struct cesql_value value)
{
    uint16_t i = add(p, CESQL_OP_LITERAL);
    if (i != CESQL_NONE) {
        node_of(p, i)->value = value;
    }
    advance(p);
    return i;
}

static uint16_t number(struct parser *p, bool minus)
{
    int64_t n = 0;
    for (size_t i = 0; i < p->word.len && n < 10ll * INT32_MAX; i++) {
        n = n * 10 + (p->word.ptr[i] - '0');
    }
    n = minus ? -n : n;
    if (n < INT32_MIN || n > INT32_MAX) {
        return fail(p, ERR_INVALID, "a number outside of 32 bits");
    }
    return literal(p, (struct cesql_value){.type = CESQL_INTEGER, .number = (int32_t)n});
}

/* --- the grammar ------------------------------------------------------------------------------ */

/* The name that was read, of an attribute. */
static uint16_t attribute(struct parser *p, enum cesql_op op, struct slice word)
{
    if (slice_find(word, '_') >= 0) {
        return fail(p, ERR_INVALID, "an attribute's name has letters and digits only");
    }
    char *room = p->c->texts + p->texts_used;
    for (size_t i = 0; i < word.len; i++) {
        room[i] = (char)tolower((unsigned char)word.ptr[i]);
    }
    p->texts_used += word.len;
    uint16_t i = add(p, op);
    if (i != CESQL_NONE) {
        struct slice name = slice_of(room, word.len);
        node_of(p, i)->attr = (uint8_t)event_attr_id(name);
        node_of(p, i)->value.string = name;
    }
    return i;
}

/* Expressions up to the closing bracket, as children of `parent` behind `first` (CESQL_NONE: none).
 */
static void arguments(struct parser *p, uint16_t parent, uint16_t first)
{
    uint16_t last = first;
    do {
        uint16_t i = parse_expression(p, 0);
        if (p->rc != 0) {
            return;
        }
        adopt(p, parent, i); /* to the front: heights and numbers; then to its place */
        if (p->rc != 0) {
            return;
        }
        if (last != CESQL_NONE) {
            node_of(p, parent)->child = node_of(p, i)->next;
            node_of(p, i)->next = CESQL_NONE;
            node_of(p, last)->next = i;
        }
        last = i;
    } while (take(p, T_COMMA));
    if (!take(p, T_CLOSE)) {
        fail(p, ERR_INVALID, "',' or ')' is expected");
    }
}

static uint16_t call(struct parser *p, struct slice name)
{
    uint16_t i = add(p, CESQL_OP_CALL);
    for (size_t k = 0; k < name.len; k++) {
        if (isdigit((unsigned char)name.ptr[k])) {
            return fail(p, ERR_INVALID, "a function's name has letters and underscores only");
        }
    }
    if (!take(p, T_CLOSE)) {
        arguments(p, i, CESQL_NONE);
    }
    if (p->rc == 0) {
        struct cesql_node *node = node_of(p, i);
        node->function = cesql_function_find(name, node->n_children);
    }
    return i;
}

static uint16_t name_or_call(struct parser *p)
{
    struct slice word = p->word;
    advance(p);
    return take(p, T_OPEN) ? call(p, word) : attribute(p, CESQL_OP_ATTRIBUTE, word);
}

static uint16_t exists(struct parser *p)
{
    struct slice word = p->word;
    return take(p, T_NAME) || take(p, T_NUMBER)
               ? attribute(p, CESQL_OP_EXISTS, word)
               : fail(p, ERR_INVALID, "EXISTS must be followed by an attribute's name");
}

static uint16_t bracketed(struct parser *p)
{
    uint16_t i = parse_expression(p, 0);
    if (!take(p, T_CLOSE)) {
        return fail(p, ERR_INVALID, "')' is expected");
    }
    node_of(p, i)->chain = false;
    return i;
}

/* '-' or '+' was read. Digits right behind it make a literal. */
static uint16_t sign(struct parser *p, bool minus, bool adjacent)
{
    if (p->token == T_NUMBER && (adjacent || minus)) {
        return number(p, minus);
    }
    return minus ? unary(p, CESQL_OP_MINUS, parse_expression(p, P_UNARY))
                 : fail(p, ERR_INVALID, "'+' must be followed by a number here");
}

static uint16_t primary(struct parser *p)
{
    enum token token = p->token;
    size_t end = p->at;
    if (token == T_NAME) {
        return name_or_call(p);
    }
    if (token == T_NUMBER) {
        return number(p, false);
    }
    if (token == T_STRING) {
        return literal(p, (struct cesql_value){.type = CESQL_STRING, .string = string_text(p)});
    }
    if (token == T_TRUE || token == T_FALSE) {
        return literal(p, (struct cesql_value){.type = CESQL_BOOLEAN, .number = token == T_TRUE});
    }
    if (take(p, T_OPEN)) {
        return bracketed(p);
    }
    if (take(p, T_NOT)) {
        return unary(p, CESQL_OP_NOT, parse_expression(p, P_UNARY));
    }
    if (take(p, T_EXISTS)) {
        return exists(p);
    }
    if (take(p, T_MINUS) || take(p, T_PLUS)) {
        return sign(p, token == T_MINUS, p->begin == end);
    }
    return fail(p, ERR_INVALID, token == T_END ? "it ends too early" : "a value is expected");
}

/* left [NOT] LIKE '…', left [NOT] IN (…): the operator's token is the current one. */
static uint16_t postfix(struct parser *p, uint16_t left, bool inverted)
{
    uint16_t i;
    if (take(p, T_LIKE)) {
        if (p->token != T_STRING) {
            return fail(p, ERR_INVALID, "LIKE must be followed by a string");
        }
        i = unary(p, CESQL_OP_LIKE, left);
        if (p->rc == 0) {
            node_of(p, i)->like = cesql_like_new(string_text(p));
        }
        advance(p);
    } else {
        advance(p);
        i = unary(p, CESQL_OP_IN, left);
        if (!take(p, T_OPEN)) {
            return fail(p, ERR_INVALID, "IN must be followed by a list in brackets");
        }
        arguments(p, i, left);
    }
    return inverted ? unary(p, CESQL_OP_NOT, i) : i;
}

/* left op right, where op is AND, OR or XOR and right is all that follows in the row. */
static uint16_t logic(struct parser *p, enum cesql_op op, uint16_t left, uint16_t right)
{
    if (p->rc == 0 && op != CESQL_OP_XOR && node_of(p, right)->chain &&
        node_of(p, right)->op == op) {
        adopt(p, right, left);
        return right;
    }
    uint16_t i = binary(p, op, left, right);
    if (p->rc == 0) {
        node_of(p, i)->chain = true;
    }
    return i;
}

/* A row of operands with AND, OR, XOR between them; the first operator is the current token. */
static uint16_t logic_row(struct parser *p, uint16_t left)
{
    uint16_t *operands = NULL;
    uint8_t *ops = NULL;
    unsigned n = 0, cap = 0;
    uint16_t right = left;
    while (p->rc == 0 && BINARY[p->token].precedence == P_LOGIC) {
        if (n == cap) {
            cap = cap == 0 ? 4 : cap * 2;
            operands = xreallocarray(operands, cap, sizeof(*operands));
            ops = xreallocarray(ops, cap, sizeof(*ops));
        }
        operands[n] = right;
        ops[n++] = BINARY[p->token].op;
        advance(p);
        right = parse_expression(p, P_LOGIC + 1);
    }
    while (n > 0 && p->rc == 0) {
        n--;
        right = logic(p, (enum cesql_op)ops[n], operands[n], right);
    }
    free(operands);
    free(ops);
    return right;
}

static uint16_t parse_operators(struct parser *p, int least)
{
    uint16_t left = primary(p);
    while (p->rc == 0) {
        bool inverted = false;
        if (p->token == T_NOT && least <= P_IN) {
            advance(p);
            inverted = true;
            if (p->token != T_IN && p->token != T_LIKE) {
                return fail(p, ERR_INVALID, "NOT must be followed by LIKE or IN here");
            }
        }
        int precedence = BINARY[p->token].precedence;
        enum cesql_op op = (enum cesql_op)BINARY[p->token].op;
        if (precedence == 0 || (precedence < least && !inverted)) {
            break;
        }
        if (precedence == P_LOGIC) {
            left = logic_row(p, left);
        } else if (precedence >= P_IN) {
            left = postfix(p, left, inverted);
        } else {
            advance(p);
            uint16_t right = parse_expression(p, precedence + 1);
            left = binary(p, op, left, right);
        }
    }
    return left;
}

static uint16_t parse_expression(struct parser *p, int least)
{
    if (p->rc != 0) {
        return CESQL_NONE;
    }
    if (++p->depth > 4 * CESQL_DEPTH_MAX) {
        return fail(p, ERR_TOO_BIG, "operators and brackets are nested too deep");
    }
    uint16_t i = parse_operators(p, least);
    p->depth--;
    return p->rc == 0 ? i : CESQL_NONE;
}

int cesql_parse(struct cesql *c, struct slice text, struct error *err)
{
    struct parser p = {.c = c, .text = text, .err = err};
    if (text.len > CESQL_BYTES_MAX) {
        return error_set(err, ERR_TOO_BIG, "an expression of %zu bytes, at most %d are allowed",
                         text.len, CESQL_BYTES_MAX);
    }
    if (!utf8_valid(text)) {
        return error_set(err, ERR_INVALID, "the expression is not UTF-8");
    }
    c->texts = xmalloc(text.len + 1);
    advance(&p);
    c->root = parse_expression(&p, 0);
    if (p.rc == 0 && p.token != T_END) {
        fail(&p, ERR_INVALID, "an operator is expected");
    }
    return p.rc;
}
