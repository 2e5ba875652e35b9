/*
 * Goal: the naive evaluator gives Prometheus's answers at the edges that rules live on.
 * Method: a few series by hand; each case names an expression, a time and the whole result as text.
 */
#include "tocsin/promql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct tsn_memstore *store;

static void load(struct tsn_labels *labels, int64_t start_ms, int64_t step_ms, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tsn_memstore_add(store, labels, start_ms + (int64_t)i * step_ms, values[i]);
    tsn_labels_unref(labels);
}

static int set_up(void **state)
{
    static const double counter[] = { 0, 10, 20, 5, 15 }, gauge[] = { 1, 2, 4 }, buckets[3][1] = { { 1 }, { 3 }, { 4 } };

    TSN_UNUSED(state);
    store = tsn_memstore_new();
    load(tsn_labels_of("__name__", "c_total", "job", "a", NULL), 0, 60000, counter, 5);
    load(tsn_labels_of("__name__", "g", "job", "a", "i", "1", NULL), 0, 60000, gauge, 3);
    load(tsn_labels_of("__name__", "g", "job", "a", "i", "2", NULL), 0, 60000, gauge, 2);
    load(tsn_labels_of("__name__", "up", "job", "a", NULL), 0, 60000, gauge, 1);
    load(tsn_labels_of("__name__", "h_bucket", "le", "1", NULL), 0, 1, buckets[0], 1);
    load(tsn_labels_of("__name__", "h_bucket", "le", "2", NULL), 0, 1, buckets[1], 1);
    load(tsn_labels_of("__name__", "h_bucket", "le", "+Inf", NULL), 0, 1, buckets[2], 1);
    return 0;
}

static int tear_down(void **state)
{
    TSN_UNUSED(state);
    tsn_memstore_free(&store);
    return 0;
}

/* The result as "{labels} value; …", or "error: …". */
static void evaluate(const char *expr, int64_t at_ms, struct tsn_buf *out)
{
    struct tsn_storage storage = tsn_memstore_storage(store);
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    struct tsn_result result;
    struct tsn_error error;
    char number[TSN_DOUBLE_TEXT];

    tsn_buf_reset(out);
    if (!query) {
        tsn_buf_puts(out, "parse error");
        return;
    }
    tsn_result_init(&result);
    if (tsn_eval_instant(query, &storage, at_ms, NULL, &result, &error))
        tsn_buf_printf(out, "error: %s", error.message);
    if (result.type == TSN_TYPE_SCALAR) {
        tsn_format_double(number, sizeof number, result.scalar, 'g', 21);
        tsn_buf_puts(out, number);
    }
    for (size_t i = 0; i < result.vector_len; i++) {
        tsn_labels_format(out, result.vector[i].labels);
        tsn_format_double(number, sizeof number, result.vector[i].value, 'g', 21);
        tsn_buf_printf(out, " %s;", number);
    }
    tsn_result_release(&result);
    tsn_query_free(&query);
}

static void results_are_prometheus_s(void **state)
{
    static const struct {
        const char *expr;
        int64_t at_ms;
        const char *want;
    } cases[] = {
        { "g", 120000, "g{i=\"1\", job=\"a\"} 4;g{i=\"2\", job=\"a\"} 2;" },
        { "up", 299999, "up{job=\"a\"} 1;" },
        { "up", 300000, "" }, /* lookback is open on the left */
        { "increase(c_total[4m])", 240000, "{job=\"a\"} 33.33333333333333;" },
        { "resets(c_total[5m])", 240000, "{job=\"a\"} 1;" },
        { "count_over_time(c_total[1m])", 60000, "{job=\"a\"} 1;" },
        { "sum by (job) (g)", 60000, "{job=\"a\"} 4;" },
        { "g / on (job) group_left c_total", 60000, "{i=\"1\", job=\"a\"} 0.2;{i=\"2\", job=\"a\"} 0.2;" },
        { "g / on (job) c_total", 60000, "error: multiple matches for labels: many-to-one matching must be "
                                         "explicit (group_left/group_right)" },
        { "g > bool 1", 0, "{i=\"1\", job=\"a\"} 0;{i=\"2\", job=\"a\"} 0;" },
        { "absent(nothing{job=\"x\"})", 0, "{job=\"x\"} 1;" },
        { "sum(nothing)", 0, "" },
        { "histogram_quantile(0.5, h_bucket)", 0, "{} 1.5;" },
        { "max_over_time(g{i=\"1\"}[5m:1m])", 120000, "{i=\"1\", job=\"a\"} 4;" },
        { "scalar(up) + 1", 0, "2" },
        { "topk(1, g)", 120000, "g{i=\"1\", job=\"a\"} 4;" },
        { "sum by (job) (g) or up", 0, "{job=\"a\"} 2;" }, /* the key leaves out __name__: up is covered */
        { "-g{i=\"1\"} ^ 2", 120000, "{i=\"1\", job=\"a\"} -16;" },
        { "{job=\"a\"", 0, "parse error" },
        { "increase(c_total[2m] anchored)", 210000, "{job=\"a\"} 15;" }, /* 10 from before, 20, 5 */
        { "rate(c_total[2m] smoothed)", 150000, "{job=\"a\"} 0.14583333333333334;" },
        { "delta(g{i=\"1\"}[90s] smoothed)", 90000, "{i=\"1\", job=\"a\"} 2;" },
        { "changes(c_total[2m] anchored)", 230000, "{job=\"a\"} 2;" },
        { "resets(c_total[1m] anchored)", 180000, "{job=\"a\"} 1;" },
        { "g smoothed", 90000, "g{i=\"1\", job=\"a\"} 3;g{i=\"2\", job=\"a\"} 2;" }, /* a line to the next, or none */
        { "timestamp(g{i=\"1\"} smoothed)", 90000, "{i=\"1\", job=\"a\"} 60;" },
        { "g{i=\"1\"} anchored", 90000, "g{i=\"1\", job=\"a\"} 2;" },
        { "count_over_time(g[5m] anchored)", 0, "error: anchored modifier can only be used with: changes, delta, "
                                                "increase, rate, resets - not with count_over_time" },
        { "changes(g[5m] smoothed)", 0, "error: smoothed modifier can only be used with: delta, increase, rate - "
                                        "not with changes" },
        { "absent_over_time(nix[5m] anchored)", 0, "error: anchored modifier can only be used with: changes, delta, "
                                                   "increase, rate, resets - not with absent_over_time" },
    };
    struct tsn_buf got = TSN_BUF_INIT;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        evaluate(cases[i].expr, cases[i].at_ms, &got);
        if (strcmp(tsn_buf_str(&got), cases[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", cases[i].expr, cases[i].want, tsn_buf_str(&got));
    }
    tsn_buf_release(&got);
}

static void dropped_names_may_not_collide(void **state)
{
    struct tsn_buf got = TSN_BUF_INIT;

    TSN_UNUSED(state);
    evaluate("abs({job=\"a\", i=\"\"})", 0, &got);
    assert_string_equal(got.data, "error: vector cannot contain metrics with the same labelset");
    tsn_buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_prometheus_s),
        cmocka_unit_test(dropped_names_may_not_collide),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
