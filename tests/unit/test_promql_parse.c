/*
 * Goal: the parser accepts Prometheus 3.16's language and nothing else, says where and why it refuses,
 * and prints canonical text. Method: tables of texts through the public header.
 */
#include "tocsin/promql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Parses and prints; the caller frees. Fails the test on a parse error. */
static char *canonical(const char *text)
{
    struct tsn_parse_error error;
    struct tsn_query *query = tsn_query_parse(text, strlen(text), &error);
    struct tsn_buf out = TSN_BUF_INIT;

    if (!query)
        fail_msg("%s: %u:%u: %s", text, error.line, error.column, error.message);
    tsn_expr_print(&out, query->root);
    tsn_query_free(&query);
    return tsn_buf_take(&out, NULL);
}

static void test_prints_canonically(void **state)
{
    static const char *const cases[][2] = {
        { "1", "1" },
        { "0x1F", "31" },
        { "010", "8" },
        { "1_000", "1000" },
        { "1_000.5", "1000.5" },
        { "-Inf", "-Inf" },
        { "nan", "NaN" },
        { ".5e3", "500" },
        { "5m", "5m" },
        { "-90s", "-1m30s" },
        { "a+b*c", "a + b * c" },
        { "-a^2", "-a ^ 2" },
        { "2^3^x", "2 ^ 3 ^ x" },
        { "a and b or c unless d", "a and b or c unless d" },
        { "SUM(x) BY (a,b)", "sum by (a, b) (x)" },
        { "sum without() (x)", "sum without () (x)" },
        { "topk by (a) (5, x)", "topk by (a) (5, x)" },
        { "count_values('v', x)", "count_values(\"v\", x)" },
        { "x{b='2',a=\"1\"}", "x{a=\"1\",b=\"2\"}" },
        { "{__name__=~\"a|b\",x!=''}", "{__name__=~\"a|b\",x!=\"\"}" },
        { "{\"my.metric\", \"a b\"=`c`}", "{\"a b\"=\"c\",__name__=\"my.metric\"}" },
        { "x[5m]", "x[5m]" },
        { "x[300]", "x[5m]" },
        { "x[2*1m + 30s]", "x[2m30s]" },
        { "x[5m - 5m]", "x[step()]" },
        { "x offset 5m", "x offset 5m" },
        { "x[1h] offset -5m", "x[1h] offset -5m" },
        { "x offset (5m) * 2", "x offset 10m" },
        { "x offset 5m * 2", "x offset 5m * 2" },
        { "x @ 10", "x @ 10.000" },
        { "x @ start() offset 1m", "x @ start() offset 1m" },
        { "x[5m:] @ end()", "x[5m:] @ end()" },
        { "max_over_time(rate(x[5m])[1h:1m])", "max_over_time(rate(x[5m])[1h:1m])" },
        { "a / on(x) group_left(y) b", "a / on (x) group_left (y) b" },
        { "a > bool ignoring(x) b", "a > bool ignoring (x) b" },
        { "a * on(x) group_right b", "a * on (x) group_right () b" },
        { "a # comment\n+ # another\nb", "a + b" },
        { "sum{a='b'} + by + offset", "sum{a=\"b\"} + by + offset" },
        { "a:b:c", "a:b:c" },
        { "sum by (\"a.b\", on, group_left) (x)", "sum by (\"a.b\", on, group_left) (x)" },
        { "absent(x) == 1", "absent(x) == 1" },
        { "\"a\\x41\\101\\u00e9\\n\"", "\"aAA\xc3\xa9\\n\"" },
        { "label_replace(x, 'a', '$1', 'b', '(.*)')", "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")" },
        { "vector(1) atan2 vector(2) % 3", "vector(1) atan2 vector(2) % 3" },
        { "(((x)))", "(((x)))" },
        { "rate(x[5m] anchored)", "rate(x[5m] anchored)" },
        { "histogram_fraction(0, 0.2, x)", "histogram_fraction(0, 0.2, x)" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        char *once = canonical(cases[i][0]), *twice = canonical(once);

        assert_string_equal(once, cases[i][1]);
        assert_string_equal(twice, once);
        tsn_free(once);
        tsn_free(twice);
    }
}

static void test_refuses_with_a_place(void **state)
{
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *word; /* part of the message */
    } cases[] = {
        { "", 1, 1, "no expression" },
        { "# only a comment", 1, 17, "no expression" },
        { "a +", 1, 4, "unexpected end of input" },
        { "a\n + )", 2, 4, "unexpected right parenthesis" },
        { "sum(", 1, 5, "unclosed left parenthesis" },
        { "a b", 1, 3, "unexpected identifier" },
        { "1 > 0", 1, 3, "must use BOOL" },
        { "1 + bool 2", 1, 3, "bool modifier" },
        { "foo(x)", 1, 1, "unknown function" },
        { "info(x)", 1, 1, "not enabled" },
        { "limitk(1, x)", 1, 1, "experimental" },
        { "a + fill(0) b", 1, 5, "fill modifiers" },
        { "rate(x)", 1, 6, "expected type range vector" },
        { "rate(x[5m], 1)", 1, 1, "expected 1 argument" },
        { "round()", 1, 1, "at least 1" },
        { "round(x,1,2)", 1, 1, "at most 2" },
        { "sum(x,)", 1, 6, "trailing commas" },
        { "topk(x)", 1, 1, "wrong number of arguments" },
        { "{}", 1, 1, "at least one non-empty matcher" },
        { "{a=~'.*'}", 1, 1, "at least one non-empty matcher" },
        { "x{__name__='y'}", 1, 1, "must not be set twice" },
        { "x{a=~'('}", 1, 3, "error parsing regexp" },
        { "x{a='b'", 1, 8, "inside braces" },
        { "x{a 'b'}", 1, 5, "label matching operator" },
        { "x[0]", 1, 3, "greater than 0" },
        { "x[5m][5m]", 1, 6, "only allowed for vector selectors" },
        { "x offset 5m [5m]", 1, 13, "no offset modifiers" },
        { "1 offset 5m", 1, 1, "offset modifier must be preceded" },
        { "x offset 1m offset 2m", 1, 1, "multiple times" },
        { "x @ 1 @ 2", 1, 1, "multiple times" },
        { "x @ inf", 1, 1, "out of bounds" },
        { "1e999", 1, 1, "parsing number" },
        { "0xq", 1, 1, "bad number" },
        { "5m5h", 1, 1, "not a valid duration" },
        { "300y", 1, 1, "out of range" },
        { "x and on(a) group_left b", 1, 1, "no grouping allowed" },
        { "x and 1", 1, 1, "set operator" },
        { "x + on(a) 1", 1, 1, "vector matching" },
        { "a * on(x) group_left(x) b", 1, 3, "ON and GROUP" },
        { "-'a'", 1, 1, "unary expression" },
        { "'a\\'", 1, 1, "unterminated" },
        { "\"\\q\"", 1, 3, "escape" },
        { "x[5m:1m:1m]", 1, 8, "expected \"]\"" },
        { "sum by a (x)", 1, 8, "grouping opts" },
        { "a =~ b", 1, 4, "after '='" },
        { "a = b", 1, 3, "unexpected" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_parse_error error;
        struct tsn_query *query = tsn_query_parse(cases[i].text, strlen(cases[i].text), &error);

        if (query)
            fail_msg("accepted: %s", cases[i].text);
        if (error.line != cases[i].line || error.column != cases[i].column || !strstr(error.message, cases[i].word))
            fail_msg("%s: %u:%u: %s", cases[i].text, error.line, error.column, error.message);
    }
}

/* Builds open^n x close^n. */
static char *nested(const char *open, const char *middle, const char *close, int n)
{
    struct tsn_buf out = TSN_BUF_INIT;

    for (int i = 0; i < n; i++)
        tsn_buf_puts(&out, open);
    tsn_buf_puts(&out, middle);
    for (int i = 0; i < n; i++)
        tsn_buf_puts(&out, close);
    return tsn_buf_take(&out, NULL);
}

static bool parses(const char *text, size_t len)
{
    struct tsn_parse_error error;
    struct tsn_query *query = tsn_query_parse(text, len, &error);
    bool ok = query;

    tsn_query_free(&query);
    return ok;
}

static void test_limits(void **state)
{
    static const struct {
        const char *open, *close;
        int fits, too_many;
    } cases[] = { { "(", ")", 199, 200 }, { "", "+x", 1999, 2000 }, { "-", "", 99, 100 } };
    char *big = tsn_alloc((1 << 20) + 1);

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        char *good = nested(cases[i].open, "x", cases[i].close, cases[i].fits);
        char *bad = nested(cases[i].open, "x", cases[i].close, cases[i].too_many);

        assert_true(parses(good, strlen(good)));
        assert_false(parses(bad, strlen(bad)));
        tsn_free(good);
        tsn_free(bad);
    }
    memset(big, 'x', (1 << 20) + 1);
    assert_true(parses(big, 1 << 20));
    assert_false(parses(big, (1 << 20) + 1));
    tsn_free(big);
}

static void test_regex(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        { "abc", "abc", true },      { "abc", "abcd", false },   { "abc.*", "abc", true },
        { "abc.+", "abc", false },   { "abc.+", "abcd", true },  { "a|b|cd", "cd", true },
        { "(a|b)", "b", true },      { "(?:a|b)", "c", false },  { "", "", true },
        { "", "x", false },          { ".*", "", true },         { ".+", "", false },
        { "a.c", "a\nc", true },     { "[a-c]+", "abcab", true }, { "[a-c]+", "abd", false },
        { "(?i)ABC", "abc", true },  { "a|", "", true },         { "x.*y", "xaay", true },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_regex *re = tsn_regex_new(cases[i].pattern, strlen(cases[i].pattern), NULL);

        assert_non_null(re);
        assert_int_equal(tsn_regex_matches(re, cases[i].text, strlen(cases[i].text)), cases[i].matches);
        tsn_regex_free(&re);
    }
    assert_null(tsn_regex_new("a(", 2, NULL));
}

static void test_regex_expand(void **state)
{
    static const char *const cases[][4] = {
        { "(.*)-(.*)", "a-b", "$2_$1", "a" }, /* the name is 2_ */
        { "(.*)-(.*)", "a-b", "${2}_$1", "b_a" },
        { "(?P<n>.*)x", "ax", "$n$$1", "a$1" },
        { "abc", "abc", "$0", "abc" },
        { "a.*", "abc", "[$0]", "[abc]" },
        { "a(b)?", "a", "<$1>", "<>" },
        { "a", "a", "$", "$" },
        { "a", "a", "$3x", "" },
    };
    struct tsn_buf out = TSN_BUF_INIT;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_regex *re = tsn_regex_new(cases[i][0], strlen(cases[i][0]), NULL);

        tsn_buf_reset(&out);
        assert_true(tsn_regex_expand(re, cases[i][1], strlen(cases[i][1]), cases[i][2], strlen(cases[i][2]), &out));
        assert_string_equal(tsn_buf_str(&out), cases[i][3]);
        tsn_regex_free(&re);
    }
    tsn_buf_reset(&out);
    assert_int_equal(tsn_regex_replace_all("a(.)", "<$1>", "xabyac", &out, NULL), TSN_OK);
    assert_string_equal(tsn_buf_str(&out), "x<b>y<c>");
    tsn_buf_reset(&out);
    assert_int_equal(tsn_regex_replace_all("x*", "-", "abxc", &out, NULL), TSN_OK);
    assert_string_equal(tsn_buf_str(&out), "-a-b-c-");
    tsn_buf_release(&out);
}

static bool count_nodes(const struct tsn_expr *expr, void *arg)
{
    TSN_UNUSED(expr);
    return ++*(int *)arg < 100;
}

static void test_tree(void **state)
{
    static const char text[] = "sum by (a) (rate(x{a=\"1\"}[5m] offset 1m)) / 2 > bool 1";
    struct tsn_parse_error error;
    struct tsn_query *query = tsn_query_parse(text, sizeof text - 1, &error);
    const struct tsn_expr *sum, *matrix;
    int nodes = 0;

    TSN_UNUSED(state);
    assert_non_null(query);
    assert_int_equal(query->root->kind, TSN_EXPR_BINARY);
    assert_int_equal(query->root->type, TSN_TYPE_VECTOR);
    assert_true(query->root->u.binary.return_bool);
    sum = query->root->u.binary.lhs->u.binary.lhs;
    assert_int_equal(sum->kind, TSN_EXPR_AGGREGATE);
    assert_int_equal(sum->span.start, 0);
    assert_int_equal(sum->span.end, strlen("sum by (a) (rate(x{a=\"1\"}[5m] offset 1m))"));
    matrix = sum->u.aggregate.operand->u.call.args[0];
    assert_int_equal(matrix->u.matrix.range_ms, 300000);
    assert_int_equal(matrix->u.matrix.selector->u.selector.offset_ms, 60000);
    assert_int_equal(matrix->u.matrix.selector->u.selector.matcher_count, 2);
    assert_true(tsn_expr_walk(query->root, count_nodes, &nodes));
    assert_int_equal(nodes, 8);
    tsn_query_free(&query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_canonically), cmocka_unit_test(test_refuses_with_a_place),
        cmocka_unit_test(test_limits),             cmocka_unit_test(test_regex),
        cmocka_unit_test(test_regex_expand),       cmocka_unit_test(test_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
