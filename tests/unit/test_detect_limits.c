/*
 * Goal: what a rule may read and give is bounded: one over a limit fails at that step with an error and a count, its
 * instances stand as they were, and the other rules go on; at the limit nothing fails. Series that come and go do
 * not pile up.
 * Method: batches by hand (tests/detect_world.h), the limits set low, transitions and counters read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../detect_world.h"

#define S INT64_C(1000)

struct world {
    struct tsn_detect *d;
    struct tsn_detect_output out;
    struct log log;
    struct log_writer w;
    struct tsn_buf lines;
};

static void start(struct world *w, struct tsn_detect_options options, const char *rules)
{
    memset(w, 0, sizeof *w);
    options.partition_count = 1;
    w->d = tsn_detect_new(&options);
    tsn_detect_add_rule_set(w->d, 0, world_rules(rules));
    writer_init(&w->w, 0, 1);
    w->log.wall_ms = T0;
    put_decl(&w->w, "m", 1, NULL);
}

static void stop(struct world *w)
{
    tsn_detect_free(&w->d);
    tsn_detect_output_release(&w->out);
    log_release(&w->log);
    writer_release(&w->w);
    tsn_buf_release(&w->lines);
}

static void tick(struct world *w, int64_t ms)
{
    size_t at;

    put_input(&w->w, "m", 0, ms, false, TSN_TIME_NONE);
    at = log_send(&w->log, &w->w);
    apply_record(w->d, &w->log.records.items[at], &w->out);
    put_transitions(&w->lines, &w->out);
    tsn_detect_output_reset(&w->out);
    w->log.wall_ms += 300;
}

static void gauges(struct world *w, int count, int64_t ms, double value)
{
    for (int i = 0; i < count; i++) {
        char series[64];

        snprintf(series, sizeof series, "x{service=\"s\",i=\"%d\"}", i);
        put_point(&w->log, &w->w, series, ms, value);
    }
}

/* As the shell does with every transaction: what is written may be forgotten. */
static void checkpoint(struct world *w)
{
    tsn_detect_checkpoint(w->d, (int64_t)w->log.records.len, &w->out);
    tsn_detect_output_reset(&w->out);
}

static struct tsn_detect_stats stats(const struct world *w)
{
    struct tsn_detect_stats s;

    tsn_detect_get_stats(w->d, &s);
    return s;
}

/* Lines with a text in them. */
static size_t lines_with(const struct world *w, const char *text)
{
    size_t count = 0;

    for (const char *at = tsn_buf_str(&w->lines); (at = strstr(at, text)); at++)
        count++;
    return count;
}

#define GROUP(keys, rules) "groups: [{name: g, interval: 15s" keys ", rules: [" rules "]}]"
#define BIG "{alert: Big, expr: 'x > 0'}"
#define SMALL "{alert: Small, expr: 'count(x) > 0'}"

/* Three steps: `few` series, then `many`, then `few`. Of the second step nothing of Big is told. */
static void over_and_back(struct tsn_detect_options options, int few, int many, const char *rules, uint64_t expected_hits)
{
    struct world w;

    start(&w, options, rules);
    gauges(&w, few, T0, 1);
    tick(&w, T0);
    assert_int_equal(stats(&w).rule_limit_hits, 0);
    assert_int_equal(lines_with(&w, "Big inactive>firing"), few);
    gauges(&w, many, T0 + 15 * S, 1);
    tick(&w, T0 + 15 * S);
    assert_int_equal(stats(&w).rule_limit_hits, expected_hits);
    assert_int_equal(stats(&w).rule_errors, expected_hits);
    assert_int_equal(lines_with(&w, "Big inactive>firing"), expected_hits ? few : many);
    assert_int_equal(lines_with(&w, "+15 Small"), 0); /* it went on: firing, as before */
    gauges(&w, many, T0 + 30 * S, 0);
    put_point(&w.log, &w.w, "y{service=\"s\"}", T0 + 30 * S, 1);
    tick(&w, T0 + 30 * S);
    assert_int_equal(lines_with(&w, "+30 Other inactive>firing"), 1);
    assert_int_equal(lines_with(&w, "+30 Big firing>resolved"), expected_hits ? few : many);
    stop(&w);
}

#define OTHER ", {alert: Other, expr: 'y > 0'}"

static void test_output(void **state)
{
    struct tsn_detect_options options = { .max_output = 5 };

    TSN_UNUSED(state);
    over_and_back(options, 3, 5, GROUP("", BIG ", " SMALL OTHER), 0);
    over_and_back(options, 3, 6, GROUP("", BIG ", " SMALL OTHER), 1);
    options.naive = true;
    over_and_back(options, 3, 6, GROUP("", BIG ", " SMALL OTHER), 1);
}

/* What is read, not what comes out: nothing passes the comparison. */
static void test_samples(void **state)
{
    TSN_UNUSED(state);
    for (int naive = 0; naive < 2; naive++)
        for (int over = 0; over < 2; over++) {
            struct tsn_detect_options options = { .max_samples = 20, .naive = naive };
            struct world w;

            start(&w, options, GROUP("", "{alert: Reads, expr: 'sum_over_time(x[1h]) < 0'}, " SMALL));
            for (int n = 0; n < 4 + over; n++) {
                gauges(&w, 5, T0 + n * 15 * S, 1);
                tick(&w, T0 + n * 15 * S);
            }
            assert_int_equal(stats(&w).rule_limit_hits, over);
            assert_int_equal(stats(&w).rule_errors, over);
            assert_int_equal(lines_with(&w, "Small inactive>firing"), 1);
            assert_int_equal(lines_with(&w, "Small firing>"), 0);
            stop(&w);
        }
}

/* Prometheus's own limit: over it a rule fails, and an alert rule's instances go. */
static void test_group_limit(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, (struct tsn_detect_options){ .max_output = 100 },
          "groups: [{name: g, interval: 15s, limit: 5, rules: [{record: 'r:x', expr: 'x + 0'}, " BIG "]},"
          " {name: h, interval: 15s, rules: [{alert: Seen, expr: 'count(r:x) > 0'}]}]");
    gauges(&w, 5, T0, 1);
    tick(&w, T0);
    assert_int_equal(stats(&w).rule_limit_hits, 0);
    gauges(&w, 6, T0 + 15 * S, 1);
    tick(&w, T0 + 15 * S);
    assert_int_equal(stats(&w).rule_limit_hits, 2);
    assert_int_equal(lines_with(&w, "+15 Big firing>resolved"), 5);
    assert_int_equal(lines_with(&w, "Seen firing>"), 0); /* what was recorded before stands within the lookback */
    stop(&w);
}

static void test_series(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, (struct tsn_detect_options){ .max_series = 5 }, GROUP("", SMALL));
    gauges(&w, 5, T0, 1);
    tick(&w, T0);
    assert_int_equal(stats(&w).series_limit_hits, 0);
    gauges(&w, 6, T0 + 15 * S, 1);
    tick(&w, T0 + 15 * S);
    assert_int_equal(stats(&w).series, 5);
    assert_int_equal(stats(&w).series_limit_hits, 1);
    assert_int_equal(lines_with(&w, "Small firing>"), 0);
    stop(&w);
}

/* An hour and a half in which each series lives five steps: at no step is the count wrong, and the store holds those
 * of the last windows alone. */
static void test_churn(void **state)
{
    enum { EACH = 20, LIFE = 5, STEPS = 360 };
    struct world w;
    uint64_t most = 0;

    TSN_UNUSED(state);
    start(&w, (struct tsn_detect_options){ .lookback_ms = 60 * S },
          GROUP("", "{alert: Wrong, expr: 'count(x) != 100 or sum(x) != 100 or sum(count_over_time(x[1m])) != 400'}"));
    for (int n = 0; n < STEPS; n++) {
        int64_t at_ms = T0 + n * 15 * S;

        for (int i = 0; i < EACH * LIFE; i++) {
            int born = n - (n - i / EACH % LIFE + LIFE) % LIFE; /* this slot's step of birth */
            char series[64];

            if (born < 0)
                continue;
            snprintf(series, sizeof series, "x{service=\"s\",i=\"%d-%d\"}", born, i);
            put_point(&w.log, &w.w, series, at_ms, 1);
            if (born == n && born >= LIFE) { /* and who was in it ends */
                snprintf(series, sizeof series, "x{service=\"s\",i=\"%d-%d\"}", born - LIFE, i);
                put_point(&w.log, &w.w, series, at_ms, tsn_stale());
            }
        }
        tick(&w, at_ms);
        w.log.wall_ms = at_ms + 15 * S;
        if (n % 4 == 0)
            checkpoint(&w);
        most = stats(&w).series > most ? stats(&w).series : most;
    }
    assert_int_equal(lines_with(&w, "Wrong "), 2); /* until a minute of all five generations is there, and never again */
    assert_int_equal(lines_with(&w, "+105 Wrong firing>resolved"), 1);
    assert_int_equal(stats(&w).rule_errors, 0);
    assert_true(stats(&w).samples > EACH * LIFE * (STEPS - LIFE));
    assert_true(most < EACH * 40); /* of 7,200: ten minutes' worth at most */
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output), cmocka_unit_test(test_samples), cmocka_unit_test(test_group_limit),
        cmocka_unit_test(test_series), cmocka_unit_test(test_churn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
