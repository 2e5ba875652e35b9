/*
 * Our own metrics: exact exposition of each kind, escaping, limits, hiding, and threads that count together.
 */
#include "tocsin/metrics.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void expect_text(struct tsn_metrics *m, const char *expected)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_metrics_write(m, &out);
    assert_string_equal(tsn_buf_str(&out), expected);
    tsn_buf_release(&out);
}

static void test_kinds(void **state)
{
    static const double bounds[] = { 0.005, 1, 2.5 };
    struct tsn_metrics *m = tsn_metrics_new();
    struct tsn_metric_family *records = tsn_metrics_family(
        m, &(struct tsn_metric_spec){ .name = "t_records_total", .help = "records", .kind = TSN_METRIC_COUNTER, .labels = { "topic", "partition" } });
    struct tsn_metric_family *lag =
        tsn_metrics_family(m, &(struct tsn_metric_spec){ .name = "t_lag_seconds", .help = "lag", .kind = TSN_METRIC_GAUGE });
    struct tsn_metric_family *step = tsn_metrics_family(
        m, &(struct tsn_metric_spec){ .name = "t_step_seconds", .help = "step", .kind = TSN_METRIC_HISTOGRAM, .bounds = bounds, .bound_count = 3 });

    (void)state;
    expect_text(m, "");
    tsn_metric_add(tsn_metric_get(records, (const char *[]){ "b", "0" }), 2);
    tsn_metric_add(tsn_metric_get(records, (const char *[]){ "a", "1" }), 1);
    tsn_metric_add(tsn_metric_get(records, (const char *[]){ "b", "0" }), 0.5);
    tsn_metric_set(tsn_metric_get(lag, NULL), -1e-9);
    tsn_metric_observe(tsn_metric_get(step, NULL), 0.005);
    tsn_metric_observe(tsn_metric_get(step, NULL), 1.5);
    tsn_metric_observe(tsn_metric_get(step, NULL), INFINITY);
    tsn_metric_observe(tsn_metric_get(step, NULL), NAN);
    expect_text(m, "# HELP t_records_total records\n# TYPE t_records_total counter\n"
                   "t_records_total{topic=\"a\",partition=\"1\"} 1\nt_records_total{topic=\"b\",partition=\"0\"} 2.5\n"
                   "# HELP t_lag_seconds lag\n# TYPE t_lag_seconds gauge\nt_lag_seconds -1e-09\n"
                   "# HELP t_step_seconds step\n# TYPE t_step_seconds histogram\n"
                   "t_step_seconds_bucket{le=\"0.005\"} 1\nt_step_seconds_bucket{le=\"1\"} 1\nt_step_seconds_bucket{le=\"2.5\"} 2\n"
                   "t_step_seconds_bucket{le=\"+Inf\"} 4\nt_step_seconds_sum +Inf\nt_step_seconds_count 4\n");
    tsn_metric_family_hide(records);
    tsn_metric_family_hide(step);
    tsn_metric_set(tsn_metric_get(lag, NULL), NAN);
    tsn_metric_set(tsn_metric_get(records, (const char *[]){ "a", "1" }), 7);
    expect_text(m, "# HELP t_records_total records\n# TYPE t_records_total counter\nt_records_total{topic=\"a\",partition=\"1\"} 7\n"
                   "# HELP t_lag_seconds lag\n# TYPE t_lag_seconds gauge\nt_lag_seconds NaN\n");
    tsn_metrics_free(&m);
}

static void test_escapes(void **state)
{
    struct tsn_metrics *m = tsn_metrics_new();
    struct tsn_metric_family *f = tsn_metrics_family(
        m, &(struct tsn_metric_spec){ .name = "t", .help = "a \\ \"quoted\"\nhelp", .kind = TSN_METRIC_GAUGE, .labels = { "l" } });

    (void)state;
    tsn_metric_set(tsn_metric_get(f, (const char *[]){ "x\"y\\z\n\xff\xc3\xa9" }), 1);
    expect_text(m, "# HELP t a \\\\ \"quoted\"\\nhelp\n# TYPE t gauge\nt{l=\"x\\\"y\\\\z\\n\xef\xbf\xbd\xc3\xa9\"} 1\n");
    tsn_metrics_free(&m);
}

static void test_limit(void **state)
{
    struct tsn_metrics *m = tsn_metrics_new();
    struct tsn_metric_family *f = tsn_metrics_family(
        m, &(struct tsn_metric_spec){ .name = "t_total", .help = "h", .kind = TSN_METRIC_COUNTER, .labels = { "a", "b" }, .max = 2 });

    (void)state;
    for (int i = 0; i < 100; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        tsn_metric_add(tsn_metric_get(f, (const char *[]){ text, "x" }), 1);
    }
    /* "1" + "2x" and "12" + "x" are two sets of values. */
    assert_ptr_equal(tsn_metric_get(f, (const char *[]){ "0", "x" }), tsn_metric_get(f, (const char *[]){ "0", "x" }));
    assert_ptr_not_equal(tsn_metric_get(f, (const char *[]){ "0", "x" }), tsn_metric_get(f, (const char *[]){ "0x", "" }));
    expect_text(m, "# HELP t_total h\n# TYPE t_total counter\nt_total{a=\"0\",b=\"x\"} 1\nt_total{a=\"1\",b=\"x\"} 1\n"
                   "t_total{a=\"other\",b=\"other\"} 98\n");
    tsn_metrics_free(&m);
}

struct counting {
    struct tsn_metric_family *counter, *histogram;
};

static void *count(void *arg)
{
    struct counting *c = arg;

    for (int i = 0; i < 20000; i++) {
        tsn_metric_add(tsn_metric_get(c->counter, (const char *[]){ i % 2 ? "odd" : "even" }), 1);
        tsn_metric_observe(tsn_metric_get(c->histogram, NULL), 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static const double bounds[] = { 1 };
    struct tsn_metrics *m = tsn_metrics_new();
    struct counting c = {
        tsn_metrics_family(m, &(struct tsn_metric_spec){ .name = "t_total", .help = "h", .kind = TSN_METRIC_COUNTER, .labels = { "l" } }),
        tsn_metrics_family(m, &(struct tsn_metric_spec){ .name = "h", .help = "h", .kind = TSN_METRIC_HISTOGRAM, .bounds = bounds, .bound_count = 1 }),
    };
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &c), 0);
    for (int i = 0; i < 20; i++) {
        struct tsn_buf out = TSN_BUF_INIT;

        tsn_metrics_write(m, &out);
        tsn_buf_release(&out);
    }
    for (size_t i = 0; i < TSN_ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    expect_text(m, "# HELP t_total h\n# TYPE t_total counter\nt_total{l=\"even\"} 40000\nt_total{l=\"odd\"} 40000\n"
                   "# HELP h h\n# TYPE h histogram\nh_bucket{le=\"1\"} 80000\nh_bucket{le=\"+Inf\"} 80000\nh_sum 80000\nh_count 80000\n");
    tsn_metrics_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
