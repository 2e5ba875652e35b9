/*
 * Goal: DETECT gives what the sequential reference gives, step by step, and decides about time as
 * DESIGN §3 says. Method: batches by hand (tests/detect_world.h), transitions as lines of text,
 * compared with the rule evaluator over a memory store, or with what the text says. Lives of counters: test_detect_counters.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect_one_input.h"

/* ---- against the reference ---------------------------------------------------------------- */

static void test_for_and_keep_firing(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Hot, expr: 'temp > 10', for: 30s, keep_firing_for: 1m,"
                          " labels: {severity: page}, annotations: {v: '{{ $value }}'}}" END, 0);
    for (int64_t t = 0; t <= 600; t += 15) {
        gauge(&w, "temp{service=\"a\"}", T0 + t * S, t >= 60 && t < 200 ? 20 + (double)t : 5);
        gauge(&w, "temp{service=\"b\"}", T0 + t * S, t == 90 ? 11 : 2); /* pending only */
        tick(&w, T0 + t * S);
    }
    same_as_reference(&w, T0, T0 + 600 * S);
    assert_non_null(strstr(tsn_buf_str(&w.lines), "Hot pending>firing"));
    assert_non_null(strstr(tsn_buf_str(&w.lines), "Hot pending>resolved"));
    assert_non_null(strstr(tsn_buf_str(&w.lines), "Hot firing>resolved"));
    world_stop(&w);
}

static void test_recording_rules(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, "groups:\n"
                    "- {name: low, interval: 15s, rules: [{record: 'job:x', expr: 'sum by (service) (x)'},\n"
                    "   {record: 'job:x', expr: 'sum by (service) (y)', labels: {of: y}}]}\n"
                    "- {name: high, interval: 30s, rules: [{alert: A, expr: 'avg_over_time(job:x[1m]) > 3'},\n"
                    "   {alert: Meta, expr: 'ALERTS{alertname=\"A\"} == 1', for: 30s}]}\n", 0);
    for (int64_t t = 0; t <= 600; t += 15) {
        if (t < 300)
            gauge(&w, "x{service=\"a\",i=\"1\"}", T0 + t * S, 1 + (double)(t % 90) / 10);
        gauge(&w, "x{service=\"a\",i=\"2\"}", T0 + t * S, 0.1);
        gauge(&w, "y{service=\"b\"}", T0 + t * S, (double)(t % 120) / 20);
        tick(&w, T0 + t * S);
    }
    same_as_reference(&w, T0, T0 + 600 * S);
    assert_non_null(strstr(tsn_buf_str(&w.lines), "Meta pending>firing"));
    world_stop(&w);
}

/* Steps only when the watermark passes; batches cut anywhere give the same. */
static void test_batch_cuts(void **state)
{
    struct world w, x;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Errors, expr: 'rate(err[1m]) > 0.1'}" END, 0);
    world_start(&x, GROUP "{alert: Errors, expr: 'rate(err[1m]) > 0.1'}" END, 0);
    for (int64_t t = 0; t <= 900; t++) {
        if (t / 100 % 2 == 0 && t % 3 == 0) {
            count(&w, "err{service=\"a\"}", T0 + t * S + 250, 0.5);
            count(&x, "err{service=\"a\"}", T0 + t * S + 250, 0.5);
        }
        if (t % 7 == 0)
            tick(&w, T0 + t * S);
        if (t % 50 == 49)
            tick(&x, T0 + t * S + 900);
    }
    tick(&w, T0 + 901 * S);
    tick(&x, T0 + 901 * S);
    same_as_reference(&w, T0, T0 + 901 * S);
    assert_string_equal(tsn_buf_str(&w.lines), tsn_buf_str(&x.lines));
    world_stop(&w);
    world_stop(&x);
}

/* ---- time --------------------------------------------------------------------------------- */

static void test_absent_in_silence(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Gone, expr: 'absent(up{service=\"a\"})', for: 1m},"
                          "{alert: Down, expr: 'up < 1'}" END, 0);
    gauge(&w, "up{service=\"a\"}", T0, 0);
    tick(&w, T0);
    for (int64_t t = 30; t <= 600; t += 30) {
        put_input(&w.w, "m", 0, T0, true, T0 + t * S);
        send(&w);
    }
    same_as_reference(&w, T0, T0 + 600 * S);
    assert_non_null(strstr(tsn_buf_str(&w.lines), "Gone pending>firing"));
    assert_non_null(strstr(tsn_buf_str(&w.lines), "+300 Down firing>resolved"));
    assert_non_null(strstr(tsn_buf_str(&w.reasons), "partition_idle"));
    world_stop(&w);
}

/* A unit without a single sample steps too, whatever times the watermarks name. */
static void test_absent_of_what_never_was(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Never, expr: 'absent(nothing)', for: 15s}" END, 0);
    for (int64_t t = 4; t <= 60; t += 7)
        tick(&w, T0 + t * S + 123);
    assert_string_equal(tsn_buf_str(&w.lines), "+15 Never inactive>pending {alertname=\"Never\"} 1 since +15\n"
                                               "+30 Never pending>firing {alertname=\"Never\"} 1 since +15\n");
    world_stop(&w);
}

/* One record stamped 1970 must not cost fifty years of steps. */
static void test_leap(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Up, expr: 'up > 0'}" END, 0);
    gauge(&w, "up{service=\"a\"}", 0, 1);
    tick(&w, -5 * S);
    gauge(&w, "up{service=\"a\"}", T0, 1);
    tick(&w, T0);
    assert_int_equal(stats(&w).leaps, 1);
    assert_true(stats(&w).steps < 50000);
    assert_string_equal(tsn_buf_str(&w.lines), "+0 Up inactive>firing {alertname=\"Up\", service=\"a\"} 1 since +0\n");
    world_stop(&w);
}

static void test_one_idle_partition_holds_nothing(void **state)
{
    struct world w;
    int64_t at;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Up, expr: 'up > 0'}" END, 0);
    put_decl(&w.w, "m", 4, NULL);
    for (int32_t p = 0; p < 3; p++)
        put_input(&w.w, "m", p, T0, false, TSN_TIME_NONE);
    gauge(&w, "up{service=\"a\"}", T0, 1);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, TSN_TIME_NONE); /* partition 3 has said nothing yet */
    put_input(&w.w, "m", 3, TSN_TIME_NONE, true, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0);
    for (int32_t p = 0; p < 3; p++)
        put_input(&w.w, "m", p, T0 + (60 + p) * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0 + 60 * S);
    /* it wakes behind: time stands until it has caught up, and never goes back */
    put_input(&w.w, "m", 3, T0 + 50 * S, false, TSN_TIME_NONE);
    for (int32_t p = 0; p < 3; p++)
        put_input(&w.w, "m", p, T0 + 90 * S, false, TSN_TIME_NONE);
    send(&w);
    at = stats(&w).watermark_ms;
    assert_int_equal(at, T0 + 60 * S);
    put_input(&w.w, "m", 3, T0 + 95 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0 + 90 * S);
    world_stop(&w);
}

static void test_time_of_what_can_feed(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, "groups:\n- {name: m, interval: 15s, rules: [{alert: M, expr: 'up > 0'}]}\n"
                    "- {name: l, interval: 15s, rules: [{alert: L, expr: 'log_messages_total >= 0'}]}\n", 0);
    put_decl(&w.w, "metrics", 1, "up");
    put_decl(&w.w, "logs", 1, "log_messages_total");
    gauge(&w, "up{service=\"a\"}", T0, 1);
    put_delta(&w.log, &w.w, "log_messages_total{service=\"a\"}", T0 + S, 1);
    put_input(&w.w, "metrics", 0, T0, false, TSN_TIME_NONE);
    put_input(&w.w, "logs", 0, T0 - 100 * S, false, TSN_TIME_NONE);
    send(&w);
    put_input(&w.w, "metrics", 0, T0 + 60 * S, false, TSN_TIME_NONE);
    send(&w);
    /* an hour of log backlog does not blind the metric rules */
    assert_non_null(strstr(tsn_buf_str(&w.lines), "+0 M inactive>firing"));
    assert_null(strstr(tsn_buf_str(&w.lines), " L "));
    put_input(&w.w, "logs", 0, T0 + 30 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_non_null(strstr(tsn_buf_str(&w.lines), "+15 L inactive>firing"));
    world_stop(&w);
}

/* What a worker says of an input whose partition 0 is elsewhere counts only where nothing was said before. */
static void test_declared_by_others(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Up, expr: 'up > 0'}" END, 0);
    put_decl(&w.w, "a", 1, NULL);
    put_decl(&w.w, "b", 2, NULL); /* from the owner of a: b is waited for from the first batch on */
    put_input(&w.w, "a", 0, T0, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, TSN_TIME_NONE);
    put_decl(&w.w, "b", 3, NULL);
    put_input(&w.w, "b", 0, T0, false, TSN_TIME_NONE);
    put_input(&w.w, "b", 1, T0, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, TSN_TIME_NONE); /* its owner knows of a third */
    put_decl(&w.w, "b", 2, NULL);
    put_input(&w.w, "a", 0, T0 + 15 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, TSN_TIME_NONE); /* … and a's owner has old news */
    put_input(&w.w, "b", 2, T0, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0);
    world_stop(&w);
}

/* A topic that was taken out of the configuration stops to hold time; named by an owner again, it holds time from where that stands. */
static void test_gone_input_holds_nothing(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Up, expr: 'up > 0'}" END, 0);
    put_decl(&w.w, "m", 1, NULL);
    put_decl(&w.w, "old", 2, NULL);
    put_input(&w.w, "m", 0, T0, false, TSN_TIME_NONE);
    put_input(&w.w, "old", 0, T0, false, TSN_TIME_NONE);
    put_input(&w.w, "old", 1, T0, false, TSN_TIME_NONE);
    send(&w);
    put_input(&w.w, "m", 0, T0 + 60 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0);
    put_decl(&w.w, "old", 0, NULL);
    put_input(&w.w, "m", 0, T0 + 75 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0 + 75 * S);
    put_input(&w.w, "old", 0, T0 + 80 * S, false, TSN_TIME_NONE);
    put_input(&w.w, "m", 0, T0 + 120 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).watermark_ms, T0 + 80 * S);
    world_stop(&w);
}

static void test_late_samples(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: E, expr: 'increase(err[1m]) > 0'}, {alert: T, expr: 'temp > 0'}" END, 0);
    tick(&w, T0);
    tick(&w, T0 + 60 * S);
    put_delta(&w.log, &w.w, "err{service=\"a\"}", T0 + 20 * S, 2);   /* steps to 60 are done: counts from pane 60 on */
    put_delta(&w.log, &w.w, "err{service=\"a\"}", T0 + 59 * S, 1);   /* its end, 60, is passed as well */
    put_delta(&w.log, &w.w, "err{service=\"a\"}", T0 + 60 * S, 0);   /* not late */
    put_point(&w.log, &w.w, "temp{service=\"a\"}", T0 + 60 * S, 5);  /* at the last step: dropped */
    put_point(&w.log, &w.w, "temp{service=\"b\"}", T0 + 60 * S + 1, 5);
    tick(&w, T0 + 75 * S);
    assert_int_equal(stats(&w).late_moved, 2);
    assert_int_equal(stats(&w).late_dropped, 1);
    assert_string_equal(tsn_buf_str(&w.lines),
                        "+75 E inactive>firing {alertname=\"E\", service=\"a\"} 4.5 since +75\n"
                        "+75 T inactive>firing {alertname=\"T\", service=\"b\"} 5 since +75\n");
    world_stop(&w);
}

/* ---- why it ended ------------------------------------------------------------------------- */

static void test_end_reasons(void **state)
{
    struct world w;
    const char *reasons;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: A, expr: 'x > 1'}" END, 0);
    gauge(&w, "x{service=\"cond\"}", T0, 2);
    gauge(&w, "x{service=\"gone\",i=\"1\"}", T0, 2);
    gauge(&w, "x{service=\"gone\",i=\"2\"}", T0, 0);
    gauge(&w, "x{service=\"silent\"}", T0, 2);
    tick(&w, T0);
    gauge(&w, "x{service=\"cond\"}", T0 + 15 * S, 1);
    gauge(&w, "x{service=\"gone\",i=\"1\"}", T0 + 15 * S, tsn_stale());
    gauge(&w, "x{service=\"silent\"}", T0 + 15 * S, tsn_stale());
    tick(&w, T0 + 15 * S);
    reasons = tsn_buf_str(&w.reasons);
    assert_string_equal(reasons, "\n\n\nseries_gone\ncondition\nproducer_silent\n");
    world_stop(&w);
}

/* What only another unit reads may lie behind or ahead: it is no sign of life, or the reason would depend on the batches. */
static void test_end_reason_of_own_unit(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, "groups: [{name: g, interval: 15s, rules: [{alert: A, expr: 'x > 1'}]},"
                    " {name: h, interval: 15s, rules: [{alert: B, expr: 'y > 1'}]}]", 0);
    gauge(&w, "x{service=\"silent\"}", T0, 2);
    gauge(&w, "y{service=\"silent\"}", T0, 0);
    tick(&w, T0);
    gauge(&w, "x{service=\"silent\"}", T0 + 15 * S, tsn_stale());
    gauge(&w, "y{service=\"silent\"}", T0 + 15 * S, 0);
    tick(&w, T0 + 15 * S);
    assert_string_equal(tsn_buf_str(&w.reasons), "\nproducer_silent\n");
    world_stop(&w);
}

/* ---- rule sets ---------------------------------------------------------------------------- */

static void test_switch(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Old, expr: 'x > 1'}, {alert: Both, expr: 'x > 1', for: 1m}" END, 0);
    tsn_detect_add_rule_set(w.d, 7, world_rules("groups: [{name: g, interval: 15s, rules: ["
                                                "{alert: Both, expr: 'x > 0', for: 1m},"
                                                "{alert: New, expr: 'max_over_time(y[2m]) > 1'}]}]"));
    put_decl(&w.w, "m", 2, NULL);
    put_input(&w.w, "m", 0, T0, false, TSN_TIME_NONE);
    put_input(&w.w, "m", 1, T0, false, TSN_TIME_NONE);
    put_point(&w.log, &w.w, "x{service=\"a\"}", T0, 2);
    send(&w);
    w.log.rule_set = 7;
    put_input(&w.w, "m", 0, T0 + 15 * S, false, TSN_TIME_NONE);
    put_point(&w.log, &w.w, "y{service=\"a\"}", T0 + 15 * S, 9); /* nobody reads it yet */
    send(&w);
    assert_int_equal(stats(&w).rule_set, 0); /* partition 1 still carries set 0 */
    tsn_buf_reset(&w.lines);
    tsn_buf_reset(&w.reasons);
    put_input(&w.w, "m", 0, T0 + 60 * S, false, TSN_TIME_NONE);
    put_input(&w.w, "m", 1, T0 + 60 * S, false, TSN_TIME_NONE);
    put_point(&w.log, &w.w, "y{service=\"a\"}", T0 + 60 * S, 9);
    send(&w);
    assert_int_equal(stats(&w).rule_set, 7);
    assert_string_equal(tsn_buf_str(&w.lines),
                        "+0 Old firing>resolved {alertname=\"Old\", service=\"a\"} 2 since +0\n"
                        "+60 Both pending>firing {alertname=\"Both\", service=\"a\"} 2 since +0\n"
                        "+60 New inactive>firing {alertname=\"New\", service=\"a\"} 9 since +60\n");
    assert_string_equal(tsn_buf_str(&w.reasons), "rule_gone\n warming\n warming\n");
    /* once the longest window (the lookback; [2m] is less) has passed, it is warm */
    tsn_buf_reset(&w.reasons);
    put_input(&w.w, "m", 0, T0 + 600 * S, false, TSN_TIME_NONE);
    put_input(&w.w, "m", 1, T0 + 600 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_non_null(strstr(tsn_buf_str(&w.lines), "New firing>resolved"));
    assert_string_equal(tsn_buf_str(&w.reasons), "condition warming\nseries_gone\n");
    put_input(&w.w, "m", 0, T0 + 700 * S, false, TSN_TIME_NONE);
    put_input(&w.w, "m", 1, T0 + 700 * S, false, TSN_TIME_NONE);
    put_point(&w.log, &w.w, "y{service=\"b\"}", T0 + 660 * S, 9);
    tsn_buf_reset(&w.reasons);
    send(&w);
    assert_string_equal(tsn_buf_str(&w.reasons), "\n");
    world_stop(&w);
}

/* A longer window over a series that was kept: warm once the window lies behind what was kept. */
static void test_switch_same_series(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: A, expr: 'x > 1'}" END, 0);
    tsn_detect_add_rule_set(w.d, 1, world_rules(GROUP "{alert: A, expr: 'x > 1'},"
                                                      "{alert: B, expr: 'x{service=\"a\"} > 1'}" END));
    for (int64_t t = 0; t <= 600; t += 15) {
        put_point(&w.log, &w.w, "x{service=\"a\"}", T0 + t * S, t == 600 ? 2 : 0);
        w.log.rule_set = t >= 300;
        tick(&w, T0 + t * S);
    }
    assert_int_equal(stats(&w).rule_set, 1);
    assert_string_equal(tsn_buf_str(&w.reasons), "\n\n"); /* B asks for no more than A had: not warming */
    world_stop(&w);
}

/* ---- takeover ----------------------------------------------------------------------------- */

/* Another DETECT, from the state of w's; the rule sets are its own. */
static void hand_over(struct world *w, struct tsn_detect *next)
{
    struct tsn_detect_output state = { 0 };
    struct tsn_error error;
    int64_t from, to;

    tsn_detect_checkpoint(w->d, w->log.next_offset, &state);
    for (size_t i = 0; i < state.state.len; i++)
        if (state.state.items[i].value)
            assert_int_equal(tsn_detect_restore(next, state.state.items[i].key, strlen(state.state.items[i].key),
                                                state.state.items[i].value, state.state.items[i].value_len, &error),
                             TSN_OK);
    assert_int_equal(tsn_detect_restore_done(next, &from, &to, &error), TSN_OK);
    assert_int_equal(to, w->log.next_offset);
    for (size_t i = 0; i < w->log.records.len; i++)
        if (w->log.records.items[i].offset >= from)
            apply_record(next, &w->log.records.items[i], &w->out);
    assert_int_equal(w->out.transitions.len, 0);
    tsn_detect_output_release(&state);
    tsn_detect_free(&w->d);
    w->d = next;
}

/* No sample in any window: what is known of inputs comes from the checkpoint alone. */
static void test_takeover_without_samples(void **state)
{
    static const char rules[] = GROUP "{alert: Gone, expr: 'absent(up)', for: 1m}" END;
    static const char later[] = GROUP "{alert: Gone, expr: 'absent(up)', for: 1m}, {alert: L, expr: 'vector(1)'}" END;
    struct tsn_detect_options options = { .partition_count = 1, .warmup = true };
    struct tsn_detect *next = tsn_detect_new(&options);
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, rules, 0);
    tsn_detect_add_rule_set(w.d, 5, world_rules(later));
    tsn_detect_add_rule_set(next, 0, world_rules(rules));
    tsn_detect_add_rule_set(next, 5, world_rules(later));
    put_decl(&w.w, "m", 2, NULL);
    put_input(&w.w, "m", 1, T0, false, TSN_TIME_NONE);
    send(&w);
    w.log.rule_set = 5;
    put_input(&w.w, "m", 0, T0 - 500 * S, true, T0 - 500 * S);
    send(&w);
    put_input(&w.w, "m", 0, T0 - 500 * S, true, T0 - 490 * S);
    send(&w);
    assert_string_equal(tsn_buf_str(&w.lines), "+0 Gone inactive>pending {alertname=\"Gone\"} 1 since +0\n");
    tsn_buf_reset(&w.lines);
    hand_over(&w, next);
    assert_int_equal(stats(&w).rule_set, 0);
    put_input(&w.w, "m", 1, T0 + 60 * S, false, TSN_TIME_NONE);
    send(&w);
    assert_int_equal(stats(&w).rule_set, 5);
    assert_string_equal(tsn_buf_str(&w.lines), "+15 L inactive>firing {alertname=\"L\"} 1 since +15\n"
                                               "+60 Gone pending>firing {alertname=\"Gone\"} 1 since +0\n");
    assert_int_equal(stats(&w).refill_mismatches, 0);
    world_stop(&w);
}

static void refused(struct tsn_detect *d, const char *key, const char *value, const char *word)
{
    struct tsn_error error = { 0 };

    assert_int_not_equal(tsn_detect_restore(d, key, strlen(key), value, strlen(value), &error), TSN_OK);
    if (!strstr(error.message, word))
        fail_msg("%s: %s", key, error.message);
}

/* State comes from a topic: what is damaged, or newer, is refused with a word that names the key. */
static void test_state_refused(void **state)
{
    struct tsn_detect_options options = { .partition_count = 1 };
    struct tsn_detect *d = tsn_detect_new(&options);
    struct tsn_error error = { 0 };
    static const char mark[] = "{\"format\":1,\"offset\":5,\"announced\":5,\"rule_set\":3,\"topics\":[],\"units\":{}}";
    int64_t from, to;

    TSN_UNUSED(state);
    refused(d, "checkpoint", "{\"format\":9}", "newer build");
    refused(d, "checkpoint", "[", "no JSON object");
    refused(d, "future/x", "{}", "unknown kind");
    refused(d, "counter/zz", "{}", "counter/<id>/<birth>");
    refused(d, "counter/00000000000000000000000000000000/1000", "{\"total\":\"1\"}", "32 hex digits");
    refused(d, "derived/00000000000000000000000000000000/1", "{\"samples\":[[1]]}", "sample 0");
    assert_int_equal(tsn_detect_restore(d, "checkpoint", 10, mark, strlen(mark), &error), TSN_OK);
    assert_int_equal(tsn_detect_restore_done(d, &from, &to, &error), TSN_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "rule set 3"));
    tsn_detect_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_and_keep_firing), cmocka_unit_test(test_recording_rules),
        cmocka_unit_test(test_batch_cuts),          cmocka_unit_test(test_absent_in_silence),
        cmocka_unit_test(test_absent_of_what_never_was), cmocka_unit_test(test_leap),
        cmocka_unit_test(test_one_idle_partition_holds_nothing),
        cmocka_unit_test(test_time_of_what_can_feed), cmocka_unit_test(test_declared_by_others), cmocka_unit_test(test_gone_input_holds_nothing), cmocka_unit_test(test_late_samples),
        cmocka_unit_test(test_end_reasons), cmocka_unit_test(test_end_reason_of_own_unit),         cmocka_unit_test(test_switch),
        cmocka_unit_test(test_switch_same_series),  cmocka_unit_test(test_takeover_without_samples),
        cmocka_unit_test(test_state_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
