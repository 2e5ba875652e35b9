/*
 * How far back rules look: selectors, ranges, offsets, nested subqueries, groups with a query offset; what a log must keep.
 */
#include "tocsin/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define M INT64_C(60000)

static int64_t reach(const char *group_keys, const char *expr, int64_t lookback_ms)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_source source = { "r.yaml", NULL, 0 };
    struct tsn_rule_set *set;
    int64_t ms;

    tsn_buf_printf(&text, "groups:\n- name: g\n%s  rules:\n  - alert: Short\n    expr: up == 0\n  - alert: A\n    expr: %s\n", group_keys, expr);
    source.text = text.data;
    source.len = text.len;
    set = tsn_rule_set_load(&source, 1, NULL, &errors);
    if (!set)
        fail_msg("%s: %s", expr, errors.items[0].message);
    ms = tsn_rule_set_reach_ms(set, lookback_ms);
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
    tsn_buf_release(&text);
    return ms;
}

static void test_expressions(void **state)
{
    static const struct { const char *expr; int64_t ms; } cases[] = {
        { "vector(1)", 5 * M }, /* the other rule's selector */
        { "x > 1", 5 * M },
        { "rate(x[1h]) > 1", 65 * M },
        { "rate(x[1h] offset 10m) > 1", 75 * M },
        { "x - x offset 1d > 1", 1445 * M },
        { "x offset -1h > 1", 5 * M },
        { "rate(x[1h] anchored) > 1", 65 * M },
        { "max_over_time(rate(x[5m])[1h:1m]) > 1", 71 * M },
        { "max_over_time(rate(x[5m])[1h:1m] offset 30m) > 1", 101 * M },
        { "sum by (a) (rate(x[30m])) / on (a) group_left () sum by (a) (rate(x[3d])) > 1", 4325 * M },
        { "topk(scalar(count_over_time(y[2h])), x) > 1", 125 * M },
        { "absent(x) or (((-rate(x[40m])))) > 1", 45 * M },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        int64_t ms = reach("", cases[i].expr, 0);

        if (ms != cases[i].ms)
            fail_msg("%s: %lld, expected %lld", cases[i].expr, (long long)ms, (long long)cases[i].ms);
    }
}

static void test_settings(void **state)
{
    (void)state;
    assert_int_equal(reach("", "x > 1", M), M);
    assert_int_equal(reach("  query_offset: 2m\n", "rate(x[1h]) > 1", M), 63 * M);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
