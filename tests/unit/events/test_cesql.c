// SPDX-License-Identifier: Apache-2.0
//
// CloudEvents SQL: expressions, the values that they have, and what goes wrong on the way.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/cesql.h"
#include "events/filter.h"
#include "test.h"

static const char EVENT[] =
    "specversion=1.0\nid=myId\nsource=http://localhost/source\ntype=order.made\n"
    "subject=Gr\xc3\xbc\xc3\x9f"
    "e 100%\ntime=2018-04-26T14:48:09+02:00\nmyint#10\nmybool?true\nno?false\n"
    "text=10\nempty=\nttl=5\nhop=10\n";

/* A value as text: 'abc', 5, true; with what went wrong behind it. */
static void show(const struct cesql_value *value, enum cesql_problem problem, struct strbuf *out)
{
    if (value->type == CESQL_STRING) {
        strbuf_appendf(out, "'%.*s'", SLICE_FMT(value->string));
    } else if (value->type == CESQL_INTEGER) {
        strbuf_appendf(out, "%d", value->number);
    } else {
        strbuf_append_str(out, value->number != 0 ? "true" : "false");
    }
    if (problem != CESQL_FINE) {
        strbuf_appendf(out, " %s", cesql_problem_name(problem));
    }
}

struct row {
    const char *expression;
    const char *want;
};

static void check_rows(const struct row *rows, size_t n)
{
    struct error err;
    struct event ev;
    ASSERT_OK(event_unpack(slice_str(EVENT), SLICE_EMPTY, &ev, &err));
    for (size_t i = 0; i < n; i++) {
        struct cesql *c;
        struct cesql_value value;
        CLEANUP(strbuf_fini) struct strbuf got;
        strbuf_init(&got, 100000);
        if (cesql_compile(slice_str(rows[i].expression), &c, &err) < 0) {
            fail_msg("%s: %s", rows[i].expression, err.msg);
        }
        for (int round = 0; round < 2; round++) { /* the second one finds used memory */
            strbuf_clear(&got);
            enum cesql_problem problem = cesql_run(c, &ev, &value);
            show(&value, problem, &got);
            if (strcmp(got.ptr, rows[i].want) != 0) {
                fail_msg("%s: got %s, want %s", rows[i].expression, got.ptr, rows[i].want);
            }
        }
        assert_int_equal(cesql_match(c, &ev), strcmp(rows[i].want, "true") == 0);
        cesql_free(c);
    }
    event_fini(&ev);
}

static const struct row LITERALS[] = {
    {"TRUE", "true"},
    {" fAlSe\t\r\n", "false"},
    {"0", "0"},
    {"007", "7"},
    {"+5", "5"},
    {"-5", "-5"},
    {"- 5", "-5"},
    {"--5", "5"},
    {"2147483647", "2147483647"},
    {"-2147483648", "-2147483648"},
    {"'a\"b\\'c'", "'a\"b'c'"},
    {"\"a'b\\\"c\"", "'a'b\"c'"},
    {"'a\\nb\\\\'", "'a\\nb\\\\'"},
    {"''", "''"},
    {"'\xe2\x82\xac'", "'\xe2\x82\xac'"},
    {"((TRUE))", "true"},
};

static const struct row ATTRIBUTES[] = {
    {"id", "'myId'"},
    {"ID", "'myId'"},
    {"time", "'2018-04-26T14:48:09+02:00'"},
    {"myint", "10"},
    {"mybool", "true"},
    {"text", "'10'"},
    {"empty", "''"},
    {"dataschema", "false missingAttribute"},
    {"missing", "false missingAttribute"},
    {"exists id AND EXISTS TYPE", "true"},
    {"EXISTS dataschema", "false"},
    {"NOT EXISTS missing", "true"},
    {"EXISTS empty", "true"},
    {"EXISTS 123", "false"},
    {"android", "false missingAttribute"},
};

static const struct row OPERATORS[] = {
    {"4 * 2 + 4 / 2", "10"},
    {"4 * (2 + 4) / 2", "12"},
    {"10 - 3 - 2", "5"},
    {"4-1", "3"},
    {"4 -1", "3"},
    {"4+-1", "3"},
    {"-7 / 2", "-3"},
    {"-7 % 2", "-1"},
    {"7 % -2", "1"},
    {"5 / 0", "0 math"},
    {"5 % 0", "0 math"},
    {"-2147483648 / -1", "-2147483648"},
    {"-2147483648 % -1", "0"},
    {"2147483647 + 1", "-2147483648"},
    {"'5' + TRUE", "6"},
    {"'5avc4' + 10", "0 cast"},
    {"' 5' + 10", "0 cast"},
    {"'+5' + 10", "15"},
    {"'2147483648' + 0", "0 cast"},
    {"missing / 0", "0 missingAttribute"},
    {"1 / missing", "0 missingAttribute"},
    {"'a' + missing", "0 missingAttribute"},
    {"-missing", "0 missingAttribute"},
    {"-TRUE", "-1"},
    {"--'10'", "10"},
    {"NOT 'TRUE'", "false"},
    {"NOT 10", "false"},
    {"NOT 'x'", "false cast"},
    {"NOT missing", "false missingAttribute"},
    {"NOT NOT TRUE", "true"},
};

static const struct row COMPARISONS[] = {
    {"'TRUE' = true", "true"},
    {"true = 'TRUE'", "false"},
    {"true = 'true'", "true"},
    {"'abc' = 'Abc'", "false"},
    {"1 = '1'", "true"},
    {"'01' = 1", "true"},
    {"1 = '01'", "false"},
    {"'x' = 1", "false cast"},
    {"'x' != 1", "false cast"},
    {"'x' <> 'y'", "true"},
    {"2 != 2", "false"},
    {"missing != 2", "false missingAttribute"},
    {"2 = missing", "false missingAttribute"},
    {"hop < ttl", "false"},
    {"hop > ttl", "true"},
    {"int(hop) < 1000 and int(ttl) >= 5", "true"},
    {"2 <= 2", "true"},
    {"2 < 2", "false"},
    {"3 >= 4", "false"},
    {"'a' < 3", "false cast"},
    {"missing <= 2", "false missingAttribute"},
    {"1 < 2 = TRUE", "true"},
    {"1 + 1 = 2", "true"},
    {"NOT TRUE = FALSE", "true"},
};

static const struct row LOGIC[] = {
    {"TRUE AND TRUE AND TRUE", "true"},
    {"TRUE AND FALSE AND TRUE", "false"},
    {"FALSE OR FALSE OR TRUE", "true"},
    {"FALSE or false", "false"},
    {"TRUE XOR TRUE", "false"},
    {"TRUE XOR TRUE XOR TRUE", "true"},
    {"false and (1 != 1 / 0)", "false"},
    {"true and (1 != 1 / 0)", "false math"},
    {"true or missing", "true"},
    {"false or missing", "false missingAttribute"},
    {"missing or true", "false missingAttribute"},
    {"false and missing", "false"},
    {"true xor missing", "false missingAttribute"},
    {"'x' and true", "false cast"},
    {"1 and 'TRUE'", "true"},
    /* grouped from the right */
    {"true OR true AND false", "true"},
    {"false AND true OR true", "false"},
    {"(false AND true) OR true", "true"},
    {"true XOR true AND false", "true"},
};

static const struct row LIKES[] = {
    {"'abc' LIKE 'abc'", "true"},
    {"'abc' LIKE 'ab'", "false"},
    {"'abc' NOT LIKE 'abc'", "false"},
    {"'' LIKE ''", "true"},
    {"'' LIKE '%'", "true"},
    {"'' LIKE '_'", "false"},
    {"'a' LIKE ''", "false"},
    {"'azzzbzzzc' LIKE 'a%b%c'", "true"},
    {"'abcbc' LIKE 'a%bc'", "true"},
    {"'abc' LIKE 'abc%bc'", "false"},
    {"'aa' LIKE 'a%a'", "true"},
    {"'a' LIKE 'a%a'", "false"},
    {"'abcd' LIKE '%b_d'", "true"},
    {"'abcd' LIKE '%_b%'", "true"},
    {"'abcd' LIKE '_bc%'", "true"},
    {"'abcd' LIKE '%%c%%'", "true"},
    {"'xaybzc' LIKE '%a_b_c'", "true"},
    {"'xaybzcd' LIKE '%a_b_c'", "false"},
    {"'a_b' LIKE 'a\\_b'", "true"},
    {"'axb' LIKE 'a\\_b'", "false"},
    {"'100%' LIKE '%0\\%'", "true"},
    {"'1000' LIKE '%0\\%'", "false"},
    {"'ab\\c' LIKE 'ab\\c'", "true"},
    {"'it\\'s' LIKE 'it\\'_'", "true"},
    {"'\xe2\x82\xac' LIKE '_'", "true"},
    {"'a\xe2\x82\xac"
     "b' LIKE '%_b'",
     "true"},
    {"'\xe2\x82\xac' LIKE '__'", "false"},
    {"subject LIKE 'Gr__e%'", "true"},
    {"subject LIKE '%\\%'", "true"},
    {"234 LIKE '23_'", "true"},
    {"TRUE LIKE 'tr%'", "true"},
    {"missing LIKE '%'", "false missingAttribute"},
    {"missing NOT LIKE '%'", "false missingAttribute"},
    {"NOT id LIKE 'x'", "false cast"}, /* (NOT id) LIKE */
    {"NOT (id LIKE 'x')", "true"},
    {"source LIKE 'http://%' AND type LIKE '%.made'", "true"},
    {"1 + 2 LIKE '2'", "2"}, /* 1 + (2 LIKE '2') is 1 + true */
};

static const struct row INS[] = {
    {"123 IN (1, 2, 123)", "true"},
    {"123 NOT IN (1, 2, 123)", "false"},
    {"'abc' in ('abc', \"bcd\")", "true"},
    {"source IN (id, 'xyz')", "false"},
    {"'TRUE' IN (TRUE, 'false')", "false"},
    {"TRUE IN ('x', 'true')", "false cast"},
    {"1 IN ('1', 'x')", "true"},
    {"'1' IN (1, 2)", "true"},
    {"missing IN (1)", "false missingAttribute"},
    {"1 IN (missing, 1)", "false missingAttribute"},
    {"1 IN (1, missing)", "true"},
    {"1 NOT IN (2, missing)", "false missingAttribute"},
    {"2 * 3 IN (3)", "2"}, /* 2 * (3 IN (3)) */
    {"(2 * 3) IN (2 + 4)", "true"},
    {"1 IN (1) = TRUE", "true"},
};

static const struct row CALLS[] = {
    {"INT('-1')", "-1"},
    {"INT(TRUE)", "1"},
    {"INT('ABC')", "0 cast"},
    {"INT('')", "0 cast"},
    {"INT(missing)", "0 missingAttribute"},
    {"BOOL('false')", "false"},
    {"BOOL(-50)", "true"},
    {"BOOL('ABC')", "false cast"},
    {"string(-1)", "'-1'"},
    {"STRING(FALSE)", "'false'"},
    {"ABS(-10)", "10"},
    {"ABS('-10')", "10"},
    {"ABS(-2147483648)", "2147483647 math"},
    {"LENGTH('\xe2\x82\xac"
     "a')",
     "2"},
    {"LENGTH(1234)", "4"},
    {"LENGTH(missing)", "0 missingAttribute"},
    {"CONCAT()", "''"},
    {"CONCAT('a', 1, TRUE, id)", "'a1truemyId'"},
    {"CONCAT_WS('-')", "''"},
    {"CONCAT_WS('-', 'a')", "'a'"},
    {"CONCAT_WS('-', 'a', 'b', '')", "'a-b-'"},
    {"CONCAT_WS(',', 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18)",
     "'1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18'"},
    {"CONCAT('a', missing)", "'' missingAttribute"},
    {"LOWER('\xc3\x84 BC\xce\xa3')", "'\xc3\xa4 bc\xcf\x83'"},
    {"UPPER('\xc3\xa4 bc\xc9\x90')", "'\xc3\x84 BC\xe2\xb1\xaf'"},
    {"UPPER(subject) LIKE 'GR%'", "true"},
    {"TRIM('  a b\t ')", "'a b'"},
    {"TRIM('\xe3\x80\x80\xc2\xa0x\xe2\x80\xa8')", "'x'"},
    {"TRIM('   ')", "''"},
    {"LEFT('abc', 2)", "'ab'"},
    {"LEFT('abc', 10)", "'abc'"},
    {"LEFT('abc', 0)", "''"},
    {"LEFT('abc', -2)", "'abc' functionEvaluation"},
    {"LEFT('\xe2\x82\xac"
     "a', 1)",
     "'\xe2\x82\xac'"},
    {"RIGHT('abc', '2')", "'bc'"},
    {"RIGHT('abc', 0)", "''"},
    {"RIGHT('abc', -2)", "'abc' functionEvaluation"},
    {"RIGHT('a\xe2\x82\xac', 1)", "'\xe2\x82\xac'"},
    {"SUBSTRING('abcdef', 2)", "'bcdef'"},
    {"SUBSTRING('abcdef', 6)", "'f'"},
    {"SUBSTRING('abcdef', 7)", "'' functionEvaluation"},
    {"SUBSTRING('Sakila', -5, 3)", "'aki'"},
    {"SUBSTRING('Sakila', -6)", "'Sakila'"},
    {"SUBSTRING('Sakila', -7)", "'' functionEvaluation"},
    {"SUBSTRING('abcdef', 0, 1)", "''"},
    {"SUBSTRING('abcdef', 3, 100)", "'cdef'"},
    {"SUBSTRING('abcdef', 3, 0)", "''"},
    {"SUBSTRING('abcdef', 3, -1)", "'' functionEvaluation"},
    {"SUBSTRING('', 0)", "''"},
    {"NOTHING(1)", "false missingFunction"},
    {"NO_THING()", "false missingFunction"},
    {"ABS()", "false missingFunction"},
    {"ABS(1, 2)", "false missingFunction"},
    {"SUBSTRING('a')", "false missingFunction"},
    {"CONCAT_WS()", "false missingFunction"},
    {"TRUE AND NOTHING()", "false missingFunction"},
    {"FALSE AND NOTHING()", "false"},
};

static void test_literals(void **state)
{
    check_rows(LITERALS, ARRAY_LEN(LITERALS));
}

static void test_attributes(void **state)
{
    check_rows(ATTRIBUTES, ARRAY_LEN(ATTRIBUTES));
}

static void test_operators(void **state)
{
    check_rows(OPERATORS, ARRAY_LEN(OPERATORS));
    check_rows(COMPARISONS, ARRAY_LEN(COMPARISONS));
    check_rows(LOGIC, ARRAY_LEN(LOGIC));
}

static void test_like_and_in(void **state)
{
    check_rows(LIKES, ARRAY_LEN(LIKES));
    check_rows(INS, ARRAY_LEN(INS));
}

static void test_calls(void **state)
{
    check_rows(CALLS, ARRAY_LEN(CALLS));
}

static void test_refused(void **state)
{
    static const char *const rows[][2] = {
        {"", "column 1: it ends too early"},
        {"   ", "it ends too early"},
        {"ABC(", "column 5: it ends too early"},
        {"(1", "')' is expected"},
        {"1)", "column 2: an operator is expected"},
        {"1 2", "column 3: an operator is expected"},
        {"1 +", "it ends too early"},
        {"+ 5", "'+' must be followed by a number"},
        {"+id", "'+' must be followed by a number"},
        {"* 5", "column 1: a value is expected"},
        {"a = = b", "column 5: a value is expected"},
        {"a ! b", "column 3: a character that does not belong here"},
        {"a & b", "a character that does not belong"},
        {"'abc", "column 1: a string that does not end"},
        {"'abc\\'", "a string that does not end"},
        {"'it''s'", "an operator is expected"},
        {"id LIKE 5", "column 9: LIKE must be followed by a string"},
        {"id LIKE type", "LIKE must be followed by a string"},
        {"id NOT 'x'", "NOT must be followed by LIKE or IN"},
        {"id IN 'x'", "IN must be followed by a list"},
        {"id IN ()", "a value is expected"},
        {"id IN (1,)", "a value is expected"},
        {"id IN (1", "',' or ')' is expected"},
        {"CONCAT('a',)", "a value is expected"},
        {"CONCAT('a' 'b')", "',' or ')' is expected"},
        {"EXISTS 'id'", "EXISTS must be followed by"},
        {"EXISTS", "EXISTS must be followed by"},
        {"my_ext = 1", "an attribute's name has letters and digits only"},
        {"F1(2)", "a function's name has letters"},
        {"2147483648", "a number outside of 32 bits"},
        {"-2147483649", "a number outside of 32 bits"},
        {"-21474836480", "a number outside of 32 bits"},
        {"99999999999999999999999", "a number outside of 32 bits"},
        {"NOT", "it ends too early"},
        {"AND TRUE", "a value is expected"},
        {"TRUE AND", "it ends too early"},
        {"'\xff'", "not UTF-8"},
        {"id\xc3\xa4 = 1", "does not belong"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {.code = 0};
        struct cesql *c;
        int rc = cesql_compile(slice_str(rows[i][0]), &c, &err);
        if (rc != ERR_INVALID) {
            fail_msg("%s: %s", rows[i][0], error_name(rc));
        }
        ASSERT_MSG(rows[i][1]);
    }
}

static char *repeat(const char *begin, const char *again, int n, const char *end)
{
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_append_str(&text, begin);
    for (int i = 0; i < n; i++) {
        strbuf_append_str(&text, again);
    }
    strbuf_append_str(&text, end);
    return strbuf_take(&text, NULL);
}

static void check_size(int want, const char *begin, const char *again, int n, const char *end)
{
    struct error err = {.code = 0};
    struct cesql *c = NULL;
    CLEANUP(cleanup_free) char *text = repeat(begin, again, n, end);
    int rc = cesql_compile(slice_str(text), &c, &err);
    if (rc != want) {
        fail_msg("%.60s… %d times: %s %s", text, n, error_name(rc), err.msg);
    }
    if (rc == 0) {
        check_rows(&(struct row){text, "true"}, 1);
        cesql_free(c);
    }
}

static void test_sizes(void **state)
{
    CLEANUP(cleanup_free) char *open = repeat("", "(", 100, "TRUE");
    check_size(0, open, ")", 100, "");
    check_size(ERR_TOO_BIG, "", "(", 1000, "TRUE");
    check_size(0, "", "NOT NOT ", 20, "TRUE");
    check_size(ERR_TOO_BIG, "", "NOT NOT ", 500, "TRUE");
    check_size(0, "", "TRUE AND ", 500, "TRUE");
    check_size(0, "", "FALSE OR ", 500, "TRUE");
    check_size(ERR_TOO_BIG, "", "1 + ", 500, "1");
    check_size(0, "1 IN (", "0,", 1500, "1)");
    check_size(ERR_TOO_BIG, "1 IN (", "0,", 2500, "1)");
    check_size(ERR_TOO_BIG, "'", "x", CESQL_BYTES_MAX, "'");
    check_size(ERR_TOO_BIG, "", "LOWER(", 300, "'A'");
}

/* What an evaluation may take: it ends in time, and says so. */
static void test_bombs(void **state)
{
    struct error err;
    struct event ev;
    CLEANUP(cleanup_free) char *as = repeat("", "a", EVENT_VALUE_MAX, "");
    ASSERT_OK(event_unpack(slice_str(EVENT), SLICE_EMPTY, &ev, &err));
    ASSERT_OK(event_set(&ev, SLICE_LIT("as"), slice_str(as), &err));
    static const struct {
        const char *begin, *again, *end;
        int n;
        enum cesql_problem want;
    } rows[] = {
        {"as LIKE '", "%a_", "b'", 1000, CESQL_FINE},
        {"as LIKE '%", "a_", "b%'", 1000, CESQL_GENERIC},
        {"as LIKE '", "%a", "%b'", 2000, CESQL_FINE},
        {"CONCAT(", "as,", "'')", 10, CESQL_GENERIC},
        {"CONCAT(", "UPPER(as),", "'')", 4, CESQL_GENERIC},
        {"LENGTH(CONCAT(", "as,", "'')) = 49152", 3, CESQL_FINE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cesql *c;
        struct cesql_value value;
        CLEANUP(cleanup_free)
        char *text = repeat(rows[i].begin, rows[i].again, rows[i].n, rows[i].end);
        ASSERT_OK(cesql_compile(slice_str(text), &c, &err));
        enum cesql_problem problem = cesql_run(c, &ev, &value);
        if (problem != rows[i].want) {
            fail_msg("%.40s…: %s", text, cesql_problem_name(problem));
        }
        assert_int_equal(cesql_run(c, &ev, &value), problem);
        cesql_free(c);
    }
    event_fini(&ev);
}

/* In a filter: what has a problem, or is no boolean, does not match. */
static void test_filter(void **state)
{
    static const struct {
        const char *spec;
        bool want;
    } rows[] = {
        {"{\"filters\":[{\"cesql\":\"type LIKE 'order.%' AND int(hop) < 100\"}]}", true},
        {"{\"filters\":[{\"cesql\":\"type LIKE 'x%'\"}]}", false},
        {"{\"filters\":[{\"cesql\":\"missing = 1\"}]}", false},
        {"{\"filters\":[{\"not\":{\"cesql\":\"missing = 1\"}}]}", true},
        {"{\"filters\":[{\"cesql\":\"5\"}]}", false},
        {"{\"filters\":[{\"cesql\":\"'true'\"}]}", false},
        {"{\"filters\":[{\"any\":[{\"cesql\":\"FALSE\"},{\"cesql\":\"mybool\"}]}]}", true},
    };
    struct error err;
    struct event ev;
    ASSERT_OK(event_unpack(slice_str(EVENT), SLICE_EMPTY, &ev, &err));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct filter *f;
        json_t *spec = json_loads(rows[i].spec, 0, NULL);
        ASSERT_OK(filter_compile(spec, &f, &err));
        json_decref(spec);
        if (filter_match(f, &ev) != rows[i].want) {
            fail_msg("%s", rows[i].spec);
        }
        filter_free(f);
    }
    struct filter *f;
    json_t *spec =
        json_loads("{\"filters\":[{\"exact\":{\"id\":\"1\"}},{\"cesql\":\"id =\"}]}", 0, NULL);
    ASSERT_ERR(ERR_INVALID, filter_compile(spec, &f, &err));
    ASSERT_MSG("filters[1].cesql: column 5: it ends too early");
    json_decref(spec);
    event_fini(&ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),  cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_operators), cmocka_unit_test(test_like_and_in),
        cmocka_unit_test(test_calls),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
