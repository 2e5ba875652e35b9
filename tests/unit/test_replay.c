/*
 * Goal: a replay gives for a range what the run gave for it, knows what was open when the range began, and
 * says where the log did not reach far enough. Method: a hand-made log (tests/detect_world.h), one run over
 * all of it, replays over parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../detect_world.h"
#include "tocsin/replay.h"

#define S INT64_C(1000)

static const char rules[] = "groups: [{name: g, interval: 15s, rules: ["
                            "{alert: Hot, expr: 'avg_over_time(temp[1m]) > 50', for: 30s, labels: {severity: critical}}]}]";
static const char stricter[] = "groups: [{name: g, interval: 15s, rules: ["
                               "{alert: Hot, expr: 'avg_over_time(temp[1m]) > 15', labels: {severity: critical}}]}]";

/* 40 minutes: hot in [300, 700), [1200, 1500) and from 2100 on. */
static void make_log(struct log *log)
{
    struct log_writer w;

    memset(log, 0, sizeof *log);
    log->wall_ms = T0;
    writer_init(&w, 0, 1);
    for (int64_t t = 0; t <= 2400; t += 15) {
        bool hot = (t >= 300 && t < 700) || (t >= 1200 && t < 1500) || t >= 2100;

        if (t % 60 == 0) /* declared anew each minute, as INGEST does */
            put_decl(&w, "m", 1, NULL);
        put_point(log, &w, "temp{service=\"hook-receiver\"}", T0 + t * S, hot ? 90 : 20);
        put_input(&w, "m", 0, T0 + t * S, false, TSN_TIME_NONE);
        (void)log_send(log, &w);
        log->wall_ms += 15000;
    }
    writer_release(&w);
}

static struct tsn_replay *open_replay(int64_t from_s, int64_t to_s, const struct tsn_policy *policy, size_t max)
{
    struct tsn_replay_options options = { .detect = { .partition_count = 1 }, .from_ms = T0 + from_s * S,
                                          .to_ms = T0 + to_s * S, .policy = policy, .forced_set = -1,
                                          .max_transitions = max };
    struct tsn_replay *r = tsn_replay_new(&options);

    tsn_replay_add_rule_set(r, 0, 0, world_rules(rules));
    return r;
}

static void feed(struct tsn_replay *r, const struct log *log, size_t first)
{
    for (size_t i = first; i < log->records.len && !tsn_replay_done(r, 0); i++)
        assert_int_equal(tsn_replay_batch(r, 0, log->records.items[i].offset, log->records.items[i].bytes,
                                          log->records.items[i].len, NULL), TSN_OK);
}

static void lines_of(struct tsn_buf *out, const struct tsn_transition *t, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_line(out, t[i].step_ms, t[i].rule, t[i].was, t[i].state, t[i].labels, NULL, t[i].value,
                 t[i].active_at_ms);
}

static void test_part_of_the_log(void **state)
{
    struct log log;
    struct tsn_replay *whole = open_replay(0, 2400, NULL, 0), *part;
    struct tsn_replay_result all, some;
    struct tsn_buf want = TSN_BUF_INIT, got = TSN_BUF_INIT;
    size_t first = 0;

    TSN_UNUSED(state);
    make_log(&log);
    feed(whole, &log, 0);
    tsn_replay_finish(whole, &all);
    assert_int_equal(all.transition_count, 8); /* three rises, two falls; each rise is pending first */
    part = open_replay(1200, 1800, NULL, 0);
    /* the longer of window (1 m) and lookback (5 m), 16 s in which a counter may be said again, 30 s for */
    assert_int_equal(tsn_replay_lead_ms(part), 346 * S);
    first = (1200 - 346) / 15;
    feed(part, &log, first);
    tsn_replay_finish(part, &some);
    for (size_t i = 0; i < all.transition_count; i++)
        if (all.transitions[i].step_ms >= T0 + 1200 * S && all.transitions[i].step_ms <= T0 + 1800 * S)
            lines_of(&want, &all.transitions[i], 1);
    lines_of(&got, some.transitions, some.transition_count);
    assert_string_equal(tsn_buf_str(&got), tsn_buf_str(&want));
    assert_int_equal(some.transition_count, 3);
    assert_false(some.report.lead_short);
    assert_true(some.report.reached_ms > T0 + 1800 * S);
    assert_true(some.report.batches < all.report.batches);
    tsn_replay_result_release(&all);
    tsn_replay_result_release(&some);
    tsn_replay_free(&whole);
    tsn_replay_free(&part);
    tsn_buf_release(&want);
    tsn_buf_release(&got);
    log_release(&log);
}

/* A counter that had counted long before the stretch that is read: its burst there is an increase, as it was live. */
static void test_burst_after_silence(void **state)
{
    static const char burst[] = "groups: [{name: g, interval: 15s, rules: [{alert: Burst, expr: '(increase(err[1m]) > bool 3) > 0'}]}]";
    struct tsn_buf text[2] = { TSN_BUF_INIT, TSN_BUF_INIT };
    struct log_writer w;
    struct log log;

    TSN_UNUSED(state);
    memset(&log, 0, sizeof log);
    log.wall_ms = T0;
    writer_init(&w, 0, 1);
    for (int64_t t = 0; t <= 2400; t += 15) {
        if (t % 60 == 0)
            put_decl(&w, "m", 1, NULL);
        if (t == 300 || t == 1500)
            put_delta(&log, &w, "err{service=\"hook-receiver\"}", T0 + t * S, 9);
        put_input(&w, "m", 0, T0 + t * S, false, TSN_TIME_NONE);
        (void)log_send(&log, &w);
        log.wall_ms += 15000;
    }
    writer_release(&w);
    for (int i = 0; i < 2; i++) {
        struct tsn_replay_options options = { .detect = { .partition_count = 1 }, .from_ms = T0 + 1200 * S,
                                              .to_ms = T0 + 1800 * S, .forced_set = -1 };
        struct tsn_replay *r = tsn_replay_new(&options);
        struct tsn_replay_result result;

        tsn_replay_add_rule_set(r, 0, 0, world_rules(burst));
        feed(r, &log, i ? (1200 - 316) / 15 : 0);
        tsn_replay_finish(r, &result);
        assert_false(result.report.lead_short);
        lines_of(&text[i], result.transitions, result.transition_count);
        tsn_replay_result_release(&result);
        tsn_replay_free(&r);
    }
    assert_non_null(strstr(tsn_buf_str(&text[0]), "+1515 Burst inactive>firing"));
    assert_string_equal(tsn_buf_str(&text[1]), tsn_buf_str(&text[0]));
    tsn_buf_release(&text[0]);
    tsn_buf_release(&text[1]);
    log_release(&log);
}

static void test_open_and_short(void **state)
{
    struct log log;
    struct tsn_replay *r = open_replay(600, 640, NULL, 0);
    struct tsn_replay_result result;

    TSN_UNUSED(state);
    make_log(&log);
    feed(r, &log, 0);
    tsn_replay_finish(r, &result);
    assert_int_equal(result.transition_count, 0);
    assert_int_equal(result.open_count, 1); /* firing since before */
    assert_int_equal(result.open[0].state, TSN_ALERT_FIRING);
    assert_false(result.report.lead_short);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    r = open_replay(600, 5000, NULL, 0);
    feed(r, &log, 30); /* +450: less than the lead before +600; ends at +2400 */
    tsn_replay_finish(r, &result);
    assert_true(result.report.lead_short);
    assert_int_equal(result.report.began_ms, T0 + 450 * S);
    assert_int_equal(result.report.reached_ms, T0 + 2400 * S);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    log_release(&log);
}

static void test_incidents(void **state)
{
    struct log log;
    struct tsn_policy policy;
    struct tsn_replay *r;
    struct tsn_replay_result result;
    size_t opened = 0, resolved = 0;

    TSN_UNUSED(state);
    tsn_policy_init_default(&policy);
    make_log(&log);
    r = open_replay(0, 2400, &policy, 0);
    feed(r, &log, 0);
    tsn_replay_finish(r, &result);
    for (size_t i = 0; i < result.event_count; i++) {
        opened += result.events[i].type == TSN_INC_OPENED;
        resolved += result.events[i].type == TSN_INC_RESOLVED;
        assert_true(i == 0 || result.events[i].event_time_ms >= result.events[i - 1].event_time_ms);
    }
    assert_true(opened >= 1);
    assert_true(resolved >= 1);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    tsn_policy_release(&policy);
    log_release(&log);
}

static void test_what_if(void **state)
{
    struct log log;
    struct tsn_replay_options options = { .detect = { .partition_count = 1 }, .from_ms = T0, .to_ms = T0 + 2400 * S,
                                          .forced_set = 99 };
    struct tsn_replay *r = tsn_replay_new(&options);
    struct tsn_replay_result result;

    TSN_UNUSED(state);
    make_log(&log);
    tsn_replay_add_rule_set(r, 0, 99, world_rules(stricter));
    feed(r, &log, 0);
    tsn_replay_finish(r, &result);
    assert_int_equal(result.transition_count, 1); /* 20 is over 15 from the first sample on */
    assert_int_equal(result.transitions[0].rule_set, 99);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    log_release(&log);
}

static void test_limit_and_damage(void **state)
{
    struct log log;
    struct tsn_replay *r = open_replay(0, 2400, NULL, 3);
    struct tsn_replay_result result;
    struct tsn_error error = { 0 };
    enum tsn_err err = TSN_OK;

    TSN_UNUSED(state);
    make_log(&log);
    assert_int_not_equal(tsn_replay_batch(r, 0, 7, "junk", 4, &error), TSN_OK);
    assert_non_null(strstr(error.message, "samples/0 offset 7"));
    for (size_t i = 0; i < log.records.len && !err; i++)
        err = tsn_replay_batch(r, 0, log.records.items[i].offset, log.records.items[i].bytes,
                               log.records.items[i].len, &error);
    assert_int_equal(err, TSN_ERR_LIMIT);
    tsn_replay_finish(r, &result);
    assert_int_equal(result.transition_count, 3);
    assert_int_equal(result.report.bad_batches, 1);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    log_release(&log);
}

/* The same transaction's records of two partitions: what lies in both counts once, what lies in one is there. */
static void test_merged(void **state)
{
    static const char sums[] = "groups: [{name: g, interval: 15s, rules: ["
                               "{alert: Sum, expr: 'sum(increase(err[1m])) > 0'}, {alert: Other, expr: 'temp > 0'}]}]";
    struct tsn_replay_options options = { .detect = { .partition_count = 1 }, .from_ms = T0, .to_ms = T0 + 600 * S,
                                          .forced_set = 5 };
    struct tsn_replay *once = tsn_replay_new(&options), *merged = tsn_replay_new(&options);
    struct tsn_replay_result a, b;
    struct tsn_buf lines_a = TSN_BUF_INIT, lines_b = TSN_BUF_INIT;
    struct log_writer w;
    struct log log = { .wall_ms = T0 };

    TSN_UNUSED(state);
    tsn_replay_add_rule_set(once, 0, 5, world_rules(sums));
    tsn_replay_add_rule_set(merged, 0, 5, world_rules(sums));
    writer_init(&w, 0, 1);
    for (int64_t t = 0; t <= 120; t += 15) {
        struct tsn_batch parts[3];
        const struct log_record *r;
        struct tsn_error error;
        size_t at;

        if (t == 0)
            put_decl(&w, "m", 1, NULL);
        put_delta(&log, &w, "err{service=\"a\"}", T0 + t * S, 2);
        put_point(&log, &w, "temp{service=\"b\"}", T0 + t * S, (double)t + 1);
        put_input(&w, "m", 0, T0 + t * S, false, TSN_TIME_NONE);
        at = log_send(&log, &w);
        r = &log.records.items[at];
        log.wall_ms += 15000;
        assert_int_equal(tsn_replay_batch(once, 0, r->offset, r->bytes, r->len, &error), TSN_OK);
        for (int p = 0; p < 3; p++)
            assert_int_equal(tsn_codec_batch_decode(r->bytes, r->len, &parts[p], &error), TSN_OK);
        parts[0].point_count = 0; /* partition 0 has err alone, 2 has temp alone, 1 has both */
        parts[2].delta_count = 0;
        assert_int_equal(tsn_replay_merged(merged, r->offset, parts, 3, &error), TSN_OK);
    }
    tsn_replay_finish(once, &a);
    tsn_replay_finish(merged, &b);
    lines_of(&lines_a, a.transitions, a.transition_count);
    lines_of(&lines_b, b.transitions, b.transition_count);
    assert_string_equal(tsn_buf_str(&lines_a), tsn_buf_str(&lines_b));
    assert_int_equal(a.transition_count, 2);
    assert_int_equal(a.report.samples, b.report.samples);
    tsn_replay_result_release(&a);
    tsn_replay_result_release(&b);
    tsn_replay_free(&once);
    tsn_replay_free(&merged);
    tsn_buf_release(&lines_a);
    tsn_buf_release(&lines_b);
    writer_release(&w);
    log_release(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_after_silence), cmocka_unit_test(test_part_of_the_log), cmocka_unit_test(test_open_and_short),
        cmocka_unit_test(test_incidents),       cmocka_unit_test(test_what_if),
        cmocka_unit_test(test_limit_and_damage), cmocka_unit_test(test_merged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
