/*
 * Goal: what the property test of plans cannot see from answers: that real rules have a streaming form,
 * that equal parts are one, that windows move on instead of being filled anew, and that steps do not
 * fall back to the naive evaluator where they need not.
 * Method: small graphs by hand, their statistics, and a few answers as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tocsin/plan.h"

#define T0 INT64_C(1700000040000)
enum { STEP_MS = 15000 };

static struct tsn_query *parse(const char *text)
{
    struct tsn_parse_error error;
    struct tsn_query *query = tsn_query_parse(text, strlen(text), &error);

    if (!query)
        fail_msg("%s: %s", text, error.message);
    return query;
}

static void push(struct tsn_samples *s, int64_t ts_ms, double value)
{
    struct tsn_sample sample = { ts_ms, value };

    tsn_samples_push(s, sample);
}

static void select_nothing(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                           struct tsn_series_list *out)
{
    TSN_UNUSED(self);
    TSN_UNUSED(matchers);
    TSN_UNUSED(count);
    TSN_UNUSED(from_ms);
    TSN_UNUSED(to_ms);
    TSN_UNUSED(out);
}

static size_t step(struct tsn_plan *plan, int64_t at_ms, double *first)
{
    struct tsn_storage storage = { select_nothing, NULL };
    struct tsn_result result;
    struct tsn_error error;
    size_t len;

    tsn_result_init(&result);
    if (tsn_plan_step(plan, &storage, at_ms, TSN_TIME_NONE, &result, &error))
        fail_msg("%s", error.message);
    len = result.vector_len;
    if (first)
        *first = len ? result.vector[0].value : 0;
    tsn_result_release(&result);
    return len;
}

static void test_rules_have_a_streaming_form(void **state)
{
    static const char *const streaming[] = {
        "up == 0",
        "sum by (service) (rate(err_total[5m])) / on (service) group_left sum by (service) (rate(all_total[5m])) > 0.05",
        "histogram_quantile(0.95, sum by (le, service) (rate(d_bucket[5m]))) > 0.5 and on (service) up == 1",
        "absent(up{job=\"x\"}) or absent_over_time(up{job=\"y\"}[10m])",
        "topk(3, max_over_time(x[1h])) unless ignoring (a) y",
        "time() - timestamp(x) > 300",
        "label_replace(label_join(x, \"c\", \"-\", \"a\", \"b\"), \"d\", \"$1\", \"c\", \"(.*)-.*\")",
        "abs(clamp_max(delta(x[10m]), scalar(y))) > bool -1 * 3",
        "predict_linear(free[6h], 4 * 3600) < 0",
        "quantile_over_time(0.9, x[5m] offset 5m) > on () vector(1)",
        "changes(x[15m]) > 2 and hour() > 8",
        "max_over_time(rate(x[1m])[5m:1m]) > 1",
        "avg_over_time((sum by (a) (rate(x[1m])) / max_over_time(y[1h:])) [10m:30s] offset 1m) > 1",
        "absent_over_time((up == 1)[10m:1m]) or quantile_over_time(0.9, vector(time())[5m:])",
        "count_values(\"v\", rate(x[5m])) > 3",
        "sum by (__name__) (x)",
    };
    static const char *const naive[] = { "x @ 5", "max_over_time((x @ 5)[5m:1m])", "rate(x[5m] anchored)",
                                         "x / on (__name__) y" };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(streaming) + TSN_ARRAY_LEN(naive); i++) {
        bool expected = i < TSN_ARRAY_LEN(streaming);
        const char *text = expected ? streaming[i] : naive[i - TSN_ARRAY_LEN(streaming)];
        struct tsn_plans *plans = tsn_plans_new(NULL);
        struct tsn_query *query = parse(text);

        if (tsn_plan_is_streaming(tsn_plans_add(plans, query, 0, 0)) != expected)
            fail_msg("%s: streaming %d expected", text, expected);
        tsn_plans_free(&plans);
        tsn_query_free(&query);
    }
}

static void test_equal_parts_are_one(void **state)
{
    struct tsn_plans *plans = tsn_plans_new(NULL);
    struct tsn_query *a = parse("sum by (s) (rate(x[5m])) > 1"), *b = parse("(sum by (s) (rate(x[5m]))) > 2");
    size_t nodes;

    TSN_UNUSED(state);
    (void)tsn_plans_add(plans, a, 0, 0);
    nodes = tsn_plans_stats(plans).nodes;
    (void)tsn_plans_add(plans, a, 0, 0);
    assert_int_equal(tsn_plans_stats(plans).nodes, nodes);
    (void)tsn_plans_add(plans, b, 0, 0);
    assert_int_equal(tsn_plans_stats(plans).nodes, nodes + 2); /* the threshold, the comparison */
    (void)tsn_plans_add(plans, a, 0, 1); /* another lane shares nothing but the matching */
    assert_int_equal(tsn_plans_stats(plans).nodes, 2 * nodes + 2);
    assert_int_equal(tsn_plans_stats(plans).selectors, 1);
    tsn_plans_free(&plans);
    tsn_query_free(&a);
    tsn_query_free(&b);
}

static void test_windows_move_on(void **state)
{
    struct tsn_plans *plans = tsn_plans_new(NULL);
    struct tsn_query *query = parse("sum(increase(x[1m]))");
    struct tsn_plan *plan = tsn_plans_add(plans, query, 2, 0);
    struct tsn_labels *labels = tsn_labels_of("__name__", "x", "a", "1", NULL);
    struct tsn_samples samples = { 0 };
    struct tsn_plan_series *handle = tsn_plans_series_add(plans, labels, &samples, 1 << 2);
    double value;

    TSN_UNUSED(state);
    for (int i = 0; i < 40; i++) {
        push(&samples, T0 + i * STEP_MS, i * 3);
        tsn_plans_changed(plans);
        assert_int_equal(step(plan, T0 + i * STEP_MS, &value), i > 0);
    }
    assert_true(value == 12); /* 9 in 45 s seen, to the whole minute */
    assert_int_equal(tsn_plans_stats(plans).refills, 1);
    samples.items[38].value = 0; /* an edit inside the window */
    samples.edits++;
    tsn_plans_changed(plans);
    (void)step(plan, T0 + 40 * STEP_MS, NULL);
    (void)step(plan, T0 + 20 * STEP_MS, NULL); /* back in time */
    assert_int_equal(tsn_plans_stats(plans).refills, 3);
    assert_int_equal(tsn_plans_stats(plans).naive_steps, 0);
    tsn_plans_series_remove(plans, handle);
    assert_int_equal(step(plan, T0 + 41 * STEP_MS, NULL), 0);
    assert_int_equal(tsn_plans_stats(plans).series, 0);
    tsn_labels_unref(labels);
    tsn_vec_release(&samples);
    tsn_plans_free(&plans);
    tsn_query_free(&query);
}

/* A subquery's operand is evaluated at times that are new, and anew only where its samples changed. */
static void test_subqueries_move_on(void **state)
{
    struct tsn_plans *plans = tsn_plans_new(NULL);
    struct tsn_query *query = parse("max_over_time(increase(x[1m])[10m:1m])");
    struct tsn_plan *plan = tsn_plans_add(plans, query, 2, 0);
    struct tsn_labels *labels = tsn_labels_of("__name__", "x", "a", "1", NULL);
    struct tsn_samples samples = { 0 };
    double value;
    int i = 0;

    TSN_UNUSED(state);
    (void)tsn_plans_series_add(plans, labels, &samples, 1 << 2);
    for (; i < 80; i++) {
        push(&samples, T0 + i * STEP_MS, i < 20 ? i * 6 : i * 3);
        tsn_plans_changed(plans);
        (void)step(plan, T0 + i * STEP_MS, &value);
    }
    assert_true(value == 12); /* the first, steeper part has left */
    /* ten at first, one a minute after that: the last step stands 79 × 15 s, 19 minutes, later */
    assert_int_equal(tsn_plans_stats(plans).inner_steps, 10 + 19);
    samples.items[70].value = 0;
    samples.edits++;
    tsn_plans_changed(plans);
    (void)step(plan, T0 + 80 * STEP_MS, &value);
    assert_int_equal(tsn_plans_stats(plans).inner_steps, 10 + 19 + 10);
    assert_true(value > 100); /* from 0 up */
    samples.trimmed += 20; /* what no window needs: nothing is lost */
    samples.len -= 20;
    memmove(samples.items, samples.items + 20, samples.len * sizeof *samples.items);
    tsn_plans_changed(plans);
    (void)step(plan, T0 + 81 * STEP_MS, NULL);
    assert_int_equal(tsn_plans_stats(plans).inner_steps, 10 + 19 + 10);
    assert_int_equal(tsn_plans_stats(plans).naive_steps, 0);
    tsn_labels_unref(labels);
    tsn_plans_free(&plans);
    tsn_vec_release(&samples);
    tsn_query_free(&query);
}

/* Series of other scopes are not there; what is written within a step is seen after tsn_plans_touch. */
static void test_scopes_and_touch(void **state)
{
    struct tsn_plans *plans = tsn_plans_new(NULL);
    struct tsn_query *query = parse("count(x)"), *second = parse("count(x) + 0");
    struct tsn_plan *own = tsn_plans_add(plans, query, 0, 0), *all = tsn_plans_add(plans, query, 1, 0);
    struct tsn_plan *later = tsn_plans_add(plans, second, 1, 0);
    struct tsn_labels *labels[2] = { tsn_labels_of("__name__", "x", "a", "1", NULL),
                                     tsn_labels_of("__name__", "x", "a", "2", NULL) };
    struct tsn_samples samples[2] = { { 0 }, { 0 } };
    struct tsn_plan_series *handle;
    double value;

    TSN_UNUSED(state);
    (void)tsn_plans_series_add(plans, labels[0], &samples[0], 1 << 0 | 1 << 1);
    handle = tsn_plans_series_add(plans, labels[1], &samples[1], 1 << 1);
    push(&samples[0], T0, 1);
    tsn_plans_changed(plans);
    assert_int_equal(step(own, T0, &value), 1);
    assert_true(value == 1);
    assert_int_equal(step(all, T0, &value), 1);
    assert_true(value == 1);
    push(&samples[1], T0, 1);
    tsn_plans_touch(plans, handle);
    assert_int_equal(step(later, T0, &value), 1);
    assert_true(value == 2);
    assert_int_equal(step(own, T0, &value), 1);
    assert_true(value == 1);
    for (int i = 0; i < 2; i++) {
        tsn_labels_unref(labels[i]);
        tsn_vec_release(&samples[i]);
    }
    tsn_plans_free(&plans);
    tsn_query_free(&query);
    tsn_query_free(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_have_a_streaming_form),
        cmocka_unit_test(test_equal_parts_are_one),
        cmocka_unit_test(test_windows_move_on),
        cmocka_unit_test(test_subqueries_move_on),
        cmocka_unit_test(test_scopes_and_touch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
