/*
 * Goal: the series notation reads as promtool 3 reads it, and errors name the column.
 * Method: tables of lines through the public header; values are printed back as text.
 */
#include "tocsin/series_notation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* name{labels}: v v v, with _ for a gap and stale for a marker. The caller frees. */
static char *read_back(const char *text)
{
    struct tsn_series_notation n;
    struct tsn_error error;
    struct tsn_buf out = TSN_BUF_INIT;

    if (tsn_series_notation_parse(text, strlen(text), &n, &error))
        return tsn_strdup(error.message);
    tsn_labels_format(&out, n.labels);
    tsn_buf_putc(&out, ':');
    for (size_t i = 0; i < n.count; i++) {
        char number[TSN_DOUBLE_TEXT];

        tsn_format_double(number, sizeof number, n.values[i].value, 'g', 21);
        tsn_buf_printf(&out, " %s", n.values[i].missing ? "_" : tsn_is_stale(n.values[i].value) ? "stale" : number);
    }
    tsn_series_notation_release(&n);
    return tsn_buf_take(&out, NULL);
}

static void check(const char *const (*cases)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *got = read_back(cases[i][0]);

        assert_string_equal(got, cases[i][1]);
        tsn_free(got);
    }
}

static void test_values(void **state)
{
    static const char *const cases[][2] = {
        { "m 1 2 3", "m: 1 2 3" },
        { "m", "m:" },
        { "  m{}   1\t2  ", "m: 1 2" },
        { "m 1+2x5", "m: 1 3 5 7 9 11" },
        { "m 10-3x2", "m: 10 7 4" },
        { "m -2+4x3", "m: -2 2 6 10" },
        { "m 3x4", "m: 3 3 3 3 3" },
        { "m 0x10", "m: 0 0 0 0 0 0 0 0 0 0 0" },
        { "m _ 1 _x3 2 _x0 stale", "m: _ 1 _ _ _ 2 stale" },
        { "m NaN Inf -Inf +Inf nan", "m: NaN +Inf -Inf +Inf NaN" },
        { "m 1e3 .5 -.5 1e-2x1 010 1x010", "m: 1000 0.5 -0.5 0.01 0.01 8 1 1 1 1 1 1 1 1 1 1 1" },
        { "m 1 -2 +3", "m: 1 -2 3" },
        { "m 5+-2x1", "series notation, column 5: expected a number, \"_\" or \"stale\"" },
    };

    TSN_UNUSED(state);
    check(cases, TSN_ARRAY_LEN(cases));
}

static void test_names(void **state)
{
    static const char *const cases[][2] = {
        { "m{a=\"b\",c='d',} 1", "m{a=\"b\", c=\"d\"}: 1" },
        { "{a=\"b\"} 1", "{a=\"b\"}: 1" },
        { "{} 1", "{}: 1" },
        { "job:m:rate5m{by=\"x\"} 1", "job:m:rate5m{by=\"x\"}: 1" },
        { "sum{on=\"\"} 1", "sum: 1" },
        { "{\"a.b\", c=\"\\\"\\u00e9\"} 1", "{__name__=\"a.b\", c=\"\\\"\xc3\xa9\"}: 1" },
        { "m{\"x.y\"=`z`} 1", "m{\"x.y\"=\"z\"}: 1" },
        { "m{a=\"x y } 2\"} 1", "m{a=\"x y } 2\"}: 1" },
    };

    TSN_UNUSED(state);
    check(cases, TSN_ARRAY_LEN(cases));
}

static void test_errors_name_the_column(void **state)
{
    static const char *const cases[][2] = {
        { "", "series notation, column 1: expected a metric name or \"{\"" },
        { "m 1 {{count:1}}", "series notation, column 5: native histograms are not supported" },
        { "m 1+2", "series notation, column 6: a step needs a repetition, as in 1+2x3" },
        { "m 1 2y", "series notation, column 5: bad number" },
        { "m 1x", "series notation, column 5: invalid repetition in series values" },
        { "m 1x-2", "series notation, column 5: invalid repetition in series values" },
        { "m 1,2", "series notation, column 4: unexpected character in series values" },
        { "m{a=\"b\"}1", "series notation, column 9: unexpected character in series values" },
        { "m stalex3", "series notation, column 3: expected a number, \"_\" or \"stale\"" },
        { "m 1x99999999999", "series notation, column 5: more than 16777216 values" },
    };

    TSN_UNUSED(state);
    check(cases, TSN_ARRAY_LEN(cases));
}

static void test_label_errors(void **state)
{
    static const char *const bad[] = { "m{a} 1", "m{a=} 1", "m{a=\"b\" 1", "m{a=~\"b\"} 1", "m{a=\"b\"c=\"d\"} 1",
                                       "m{,} 1", "m{a=b} 1", "m{a=\"\\q\"} 1", "{{x}} 1" };
    struct tsn_series_notation n;
    struct tsn_error error;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(bad); i++) {
        assert_int_equal(tsn_series_notation_parse(bad[i], strlen(bad[i]), &n, &error), TSN_ERR_INVALID);
        assert_null(n.labels);
        assert_non_null(strstr(error.message, "column "));
    }
}

static void test_limit_and_one_more(void **state)
{
    static const char at_limit[] = "m 1x16777215", beyond[] = "m 1x16777215 1";
    struct tsn_series_notation n;
    struct tsn_error error;

    TSN_UNUSED(state);
    assert_int_equal(tsn_series_notation_parse(at_limit, strlen(at_limit), &n, &error), TSN_OK);
    assert_int_equal(n.count, TSN_SERIES_NOTATION_MAX);
    tsn_series_notation_release(&n);
    assert_int_equal(tsn_series_notation_parse(beyond, strlen(beyond), &n, &error), TSN_ERR_LIMIT);
}

static void test_labels_alone(void **state)
{
    struct tsn_labels *labels, *expected = tsn_labels_of("__name__", "m", "a", "b", NULL);
    struct tsn_error error;

    TSN_UNUSED(state);
    assert_int_equal(tsn_series_labels_parse(" m{a=\"b\"} ", 10, &labels, &error), TSN_OK);
    assert_true(tsn_labels_equal(labels, expected));
    tsn_labels_unref(labels);
    tsn_labels_unref(expected);
    assert_int_equal(tsn_series_labels_parse("m 1", 3, &labels, &error), TSN_ERR_INVALID);
    assert_null(labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_errors_name_the_column), cmocka_unit_test(test_label_errors),
        cmocka_unit_test(test_limit_and_one_more),     cmocka_unit_test(test_labels_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
