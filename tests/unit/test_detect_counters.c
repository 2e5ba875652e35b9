/*
 * Goal: a counter that is counted here (DESIGN §3) lives as it should: a zero at birth, its total once more before it changes after a
 * silence, a marker when its ttl has passed, born again after that; late counts, leaps of time and switches of rule sets between.
 * Method: batches by hand, transitions against the sequential reference and against what the text says; then the same log with a
 * takeover after every batch, windows kept in `samples` or in chunks: the same transitions, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect_one_input.h"

#include "../detect_state.h"

#define GROUP_5S "groups: [{name: g, interval: 5s, rules: ["
#define ERR "err{service=\"a\"}"

/* ---- takeovers ---------------------------------------------------------------------------- */

struct sets {
    const char *text[3];
    int64_t ttl_ms, long_ms, chunk_ms;
};

/* A lookback of 1 min, so that it does not hide how short the windows are. */
static struct tsn_detect *detect_of(const struct sets *sets)
{
    struct tsn_detect_options options = { .partition_count = 1, .warmup = true, .counter_ttl_ms = sets->ttl_ms, .lookback_ms = 60 * S,
                                          .long_ms = sets->long_ms, .chunk_ms = sets->chunk_ms };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (int i = 0; i < 3 && sets->text[i]; i++)
        tsn_detect_add_rule_set(d, i, world_rules(sets->text[i]));
    return d;
}

/* Another owner takes over after batch `at` and goes on for a while: what it gives, batch for batch. */
static void taken_over(const struct log *log, const struct sets *sets, const struct topic *topic, size_t at, const struct tsn_buf *want)
{
    enum { AFTER = 12 };
    size_t read;
    struct tsn_detect *d = take_over(detect_of(sets), topic, log, &read);

    for (size_t i = at + 1; i < log->records.len && i <= at + AFTER; i++) {
        struct tsn_buf got = TSN_BUF_INIT;

        apply_one(d, &log->records.items[i], &got);
        if (strcmp(tsn_buf_str(&got), tsn_buf_str(&want[i])) != 0)
            fail_msg("long from %lld ms, chunks of %lld ms, taken over after batch %zu, batch %zu: undisturbed\n%staken over\n%s",
                     (long long)sets->long_ms, (long long)sets->chunk_ms, at, i, tsn_buf_str(&want[i]), tsn_buf_str(&got));
        tsn_buf_release(&got);
    }
    tsn_detect_free(&d);
}

/* Owners that live for `batches` follow one another; each commits after every batch, and then another takes over, too. */
static void in_owners(const struct log *log, const struct sets *sets, size_t batches, const struct tsn_buf *want)
{
    struct topic topic = { { 0 } };
    struct tsn_detect *d = detect_of(sets);

    for (size_t i = 0; i < log->records.len; i++) {
        struct tsn_buf got = TSN_BUF_INIT;
        size_t read;

        if (i && i % batches == 0)
            d = take_over(detect_of(sets), &topic, log, &read);
        apply_one(d, &log->records.items[i], &got);
        assert_string_equal(tsn_buf_str(&got), tsn_buf_str(&want[i]));
        commit(d, log->records.items[i].offset + 1, &topic);
        taken_over(log, sets, &topic, i, want);
        if (i % batches == batches - 1)
            tsn_detect_free(&d);
        tsn_buf_release(&got);
    }
    tsn_detect_free(&d);
    topic_release(&topic);
}

static void same_in_takeovers(const struct log *log, struct sets sets)
{
    static const int64_t kept[][2] = { { 0, 0 }, { 50 * S, 15 * S }, { 50 * S, 60 * S } };
    struct tsn_buf *want = tsn_calloc(log->records.len, sizeof *want);

    for (size_t k = 0; k < TSN_ARRAY_LEN(kept); k++) {
        struct tsn_detect *d;

        sets.long_ms = kept[k][0];
        sets.chunk_ms = kept[k][1];
        d = detect_of(&sets);
        for (size_t i = 0; i < log->records.len; i++) {
            tsn_buf_reset(&want[i]);
            apply_one(d, &log->records.items[i], &want[i]);
        }
        tsn_detect_free(&d);
        in_owners(log, &sets, 1, want);
        in_owners(log, &sets, SIZE_MAX, want);
    }
    for (size_t i = 0; i < log->records.len; i++)
        tsn_buf_release(&want[i]);
    tsn_free(want);
}

static void has(const struct world *w, const char *line)
{
    if (!strstr(tsn_buf_str(&w->lines), line))
        fail_msg("no \"%s\" in\n%s", line, tsn_buf_str(&w->lines));
}

/* ---- birth and end ------------------------------------------------------------------------ */

static void test_first_burst_fires(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Burst, expr: 'increase(err[1m]) > 2'}" END, 0);
    tick(&w, T0);
    count(&w, "err{service=\"a\"}", T0 + 20 * S, 3);
    count(&w, "err{service=\"a\"}", T0 + 20 * S + 400, 4);
    tick(&w, T0 + 31 * S);
    assert_string_equal(tsn_buf_str(&w.lines), "+30 Burst inactive>firing {alertname=\"Burst\", service=\"a\"} 10.5 since +30\n");
    tick(&w, T0 + 300 * S);
    same_as_reference(&w, T0, T0 + 300 * S);
    world_stop(&w);
}

static void test_counter_ttl(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, GROUP "{alert: Seen, expr: 'err >= 0'}" END, 100 * S);
    tick(&w, T0);
    count(&w, "err{service=\"a\"}", T0 + 10 * S, 1);
    for (int64_t t = 15; t <= 300; t += 15) {
        if (t == 225)
            count(&w, "err{service=\"a\"}", T0 + 225 * S, 5);
        tick(&w, T0 + t * S);
    }
    /* last pane ends at 11; 100 s later the marker: gone at 120; born again in pane 225 */
    assert_non_null(strstr(tsn_buf_str(&w.lines), "+120 Seen firing>resolved"));
    assert_non_null(strstr(tsn_buf_str(&w.lines), "+240 Seen inactive>firing {alertname=\"Seen\", service=\"a\"} 5"));
    same_as_reference(&w, T0, T0 + 300 * S);
    world_stop(&w);
}

/* The ttl of 100 s runs out at 111. A burst in the pane before finds the counter alive, one in that very pane or after it does not. */
static void test_born_again(void **state)
{
    static const char rules[] = GROUP "{alert: Burst, expr: 'increase(err[1m]) > 2'}, {alert: Seen, expr: 'err >= 0'},"
                                      "{alert: Total, expr: 'err > 5'}, {alert: Reset, expr: 'resets(err[5m]) > 0'}" END;
    static const struct {
        int64_t pane_s;
        const char *line;
    } cases[] = {
        { 109, "+120 Total inactive>firing {alertname=\"Total\", service=\"a\"} 9" },
        { 110, "+120 Total inactive>firing {alertname=\"Total\", service=\"a\"} 9" },
        { 111, "+120 Reset inactive>firing" },
        { 112, "+120 Reset inactive>firing" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct world w;

        world_start(&w, rules, 100 * S);
        tick(&w, T0);
        count(&w, ERR, T0 + 10 * S, 4);
        for (int64_t t = 15; t <= 105; t += 15)
            tick(&w, T0 + t * S);
        count(&w, ERR, T0 + cases[i].pane_s * S, 5);
        for (int64_t t = 120; t <= 360; t += 15)
            tick(&w, T0 + t * S);
        has(&w, "+15 Burst inactive>firing");
        has(&w, "+120 Burst inactive>firing");
        has(&w, cases[i].line);
        assert_true(!strstr(tsn_buf_str(&w.lines), "Reset inactive>firing") == (cases[i].pane_s < 111));
        same_as_reference(&w, T0, T0 + 360 * S);
        same_in_takeovers(&w.log, (struct sets){ .text = { rules }, .ttl_ms = 100 * S });
        world_stop(&w);
    }
}

/* ---- silence ------------------------------------------------------------------------------ */

/* The second burst comes long after every window has passed the first, within one pane: an increase all the same. By then nothing at
 * all is left of the first in memory or in the index, and its pane begins where a step, a chunk and a minute end. */
static void test_burst_after_silence(void **state)
{
    static const char rules[] = GROUP_5S "{alert: Burst, expr: 'increase(err[2m]) > 3'}" END;

    TSN_UNUSED(state);
    for (int64_t at = 659; at <= 661; at++) {
        struct world w;

        world_start(&w, rules, 0);
        tick(&w, T0);
        for (int64_t t = 15; t <= 900; t += 15) {
            w.log.wall_ms = T0 + t * S;
            if (t == 15)
                count(&w, ERR, T0 + t * S, 9);
            if (t == at / 15 * 15)
                count(&w, ERR, T0 + at * S, 9);
            tick(&w, T0 + t * S);
        }
        has(&w, "+20 Burst inactive>firing");
        has(&w, at == 659 ? "+660 Burst inactive>firing" : "+665 Burst inactive>firing");
        has(&w, at == 661 ? "+785 Burst firing>resolved" : "+780 Burst firing>resolved");
        same_as_reference(&w, T0, T0 + 900 * S);
        same_in_takeovers(&w.log, (struct sets){ .text = { rules } });
        world_stop(&w);
    }
}

/* A counter that moves every 5 s is never said again, whatever part of it a takeover reads; one that moves every 20 s always is. */
static void test_how_often_it_is_said(void **state)
{
    static const char rules[] = GROUP_5S "{alert: Seen, expr: 'err >= 0'}, {alert: Less, expr: 'count_over_time(err[3m]) < 36'},"
                                         "{alert: More, expr: 'count_over_time(err[3m]) > 36'},"
                                         "{alert: Slow, expr: 'count_over_time(slow[3m]) > 17'}" END;
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, rules, 0);
    tick(&w, T0);
    for (int64_t t = 0; t < 600; t += 5) {
        w.log.wall_ms = T0 + (t + 10) / 15 * 15 * S; /* one a batch */
        count(&w, ERR, T0 + t * S, 1);
        if (t % 20 == 0)
            count(&w, "slow{service=\"a\"}", T0 + t * S, 1);
        if (t % 15 == 0)
            tick(&w, T0 + t * S);
    }
    has(&w, "+175 Less firing>resolved");
    has(&w, "+205 Slow inactive>firing {alertname=\"Slow\", service=\"a\"} 18"); /* 9 times two samples */
    assert_null(strstr(tsn_buf_str(&w.lines), "More"));
    same_as_reference(&w, T0, T0 + 585 * S);
    same_in_takeovers(&w.log, (struct sets){ .text = { rules } });
    world_stop(&w);
}

/* A total that stood for 15 s is said again, one that stood for 14 s is not: counters that move as often as they would be scraped give
 * no more samples than a scrape. */
static void test_how_long_it_stands(void **state)
{
    static const char rules[] = GROUP "{alert: Three, expr: 'count_over_time(err[10m]) > 2'},"
                                      "{alert: More, expr: 'count_over_time(err[10m]) > 3'}" END;
    struct world w;

    TSN_UNUSED(state);
    world_start(&w, rules, 0);
    tick(&w, T0);
    count(&w, ERR, T0 + 20 * S, 1); /* 20: 0, 21: 1 */
    tick(&w, T0 + 30 * S);
    count(&w, ERR, T0 + 35 * S, 1); /* 36: 2 */
    tick(&w, T0 + 45 * S);
    count(&w, ERR, T0 + 51 * S, 1); /* 51: 2, 52: 3 */
    tick(&w, T0 + 60 * S);
    assert_string_equal(tsn_buf_str(&w.lines), "+45 Three inactive>firing {alertname=\"Three\", service=\"a\"} 3 since +45\n"
                                               "+60 More inactive>firing {alertname=\"More\", service=\"a\"} 5 since +60\n");
    same_as_reference(&w, T0, T0 + 60 * S);
    same_in_takeovers(&w.log, (struct sets){ .text = { rules } });
    world_stop(&w);
}

/* ---- late, and leaps ---------------------------------------------------------------------- */

/* Late by minutes, after a silence: counted in the pane of the last step, where it is an increase; after the ttl it is a birth there. */
static void test_late_after_silence(void **state)
{
    static const char rules[] = GROUP "{alert: Burst, expr: 'increase(err[1m]) > 2'}, {alert: Total, expr: 'err > 5'}" END;

    TSN_UNUSED(state);
    for (int ended = 0; ended < 2; ended++) {
        struct world w;

        world_start(&w, rules, ended ? 100 * S : 0);
        tick(&w, T0);
        count(&w, ERR, T0 + 10 * S, 4);
        for (int64_t t = 15; t <= 300; t += 15)
            tick(&w, T0 + t * S);
        put_delta(&w.log, &w.w, ERR, T0 + 20 * S, 5);
        put_delta(&w.log, &w.w, ERR, T0 + 290 * S, 1);
        ref_delta(&w.ref, ERR, T0 + 300 * S, 6);
        for (int64_t t = 315; t <= 600; t += 15)
            tick(&w, T0 + t * S);
        assert_int_equal(stats(&w).late_moved, 2);
        has(&w, "+315 Burst inactive>firing");
        has(&w, ended ? "+315 Total inactive>firing {alertname=\"Total\", service=\"a\"} 6"
                      : "+315 Total inactive>firing {alertname=\"Total\", service=\"a\"} 10");
        same_as_reference(&w, T0, T0 + 600 * S);
        same_in_takeovers(&w.log, (struct sets){ .text = { rules }, .ttl_ms = ended ? 100 * S : 0 });
        world_stop(&w);
    }
}

/* Every clock jumps by a day at once: the counter ended where its ttl did, and its next burst is a first one. A jump inside the ttl
 * leaves it alive. */
static void test_leap_of_the_clock(void **state)
{
    static const char rules[] = GROUP "{alert: Burst, expr: 'increase(err[1m]) > 2'}, {alert: Total, expr: 'err > 5'},"
                                      "{alert: Seen, expr: 'count_over_time(err[2h]) > 0'}" END;
    static const int64_t leaps[] = { 3600, 86400 };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(leaps); i++) {
        int64_t leap = leaps[i];
        struct world w;

        world_start(&w, rules, 0);
        tick(&w, T0);
        count(&w, ERR, T0 + 10 * S, 4);
        tick(&w, T0 + 30 * S);
        tick(&w, T0 + leap * S);
        count(&w, ERR, T0 + (leap + 1) * S, 5);
        tick(&w, T0 + (leap + 15) * S);
        tick(&w, T0 + (leap + 300) * S);
        has(&w, "+15 Seen inactive>firing");
        if (leap > 7200) {
            has(&w, "+7215 Seen firing>resolved"); /* the zero stood at 10, the total at 11 */
            has(&w, "+86415 Burst inactive>firing");
            assert_null(strstr(tsn_buf_str(&w.lines), "Total"));
        } else {
            has(&w, "+3615 Burst inactive>firing");
            has(&w, "+3615 Total inactive>firing {alertname=\"Total\", service=\"a\"} 9");
        }
        same_as_reference(&w, T0, T0 + (leap + 300) * S);
        same_in_takeovers(&w.log, (struct sets){ .text = { rules } });
        world_stop(&w);
    }
}

/* ---- switches ----------------------------------------------------------------------------- */

static void two_topics(struct world *w, int64_t l_s, int64_t m_s)
{
    put_input(&w->w, "l", 0, T0 + l_s * S, false, TSN_TIME_NONE);
    put_input(&w->w, "m", 0, T0 + m_s * S, false, TSN_TIME_NONE);
    send(w);
}

/* The unit that read the counter is gone, and one that begins anew reads it: at an earlier time, for the others lag behind. What the
 * former steps have passed stays as it was: a count from before them is late. */
static void test_time_of_a_counter_at_a_switch(void **state)
{
    static const char lag[] = "groups: [{name: lag, interval: 15s, rules: [{alert: X, expr: 'x > 0'}]}, ";
    struct tsn_buf first = TSN_BUF_INIT, second = TSN_BUF_INIT, third = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    tsn_buf_printf(&first, "%s{name: ahead, interval: 15s, rules: [{alert: Burst, expr: 'increase(err[1m]) > 2'}]}]", lag);
    tsn_buf_printf(&second, "%s{name: none, interval: 15s, rules: [{alert: Y, expr: 'y > 0'}]}]", lag);
    tsn_buf_printf(&third, "%s{name: again, interval: 15s, rules: [{alert: Sum, expr: 'sum_over_time(err[5m]) > 12'}]}]", lag);
    world_start(&w, tsn_buf_str(&first), 0);
    tsn_detect_add_rule_set(w.d, 1, world_rules(tsn_buf_str(&second)));
    tsn_detect_add_rule_set(w.d, 2, world_rules(tsn_buf_str(&third)));
    put_decl(&w.w, "l", 1, "err");
    put_decl(&w.w, "m", 1, "x");
    two_topics(&w, 0, 0);
    put_delta(&w.log, &w.w, ERR, T0 + 480 * S, 4);
    two_topics(&w, 495, 90);
    w.log.rule_set = 1;
    two_topics(&w, 496, 95);
    w.log.rule_set = 2;
    put_delta(&w.log, &w.w, ERR, T0 + 450 * S, 5); /* would be early for `again`, which begins at 90 */
    two_topics(&w, 497, 100);
    assert_int_equal(stats(&w).late_moved, 1);
    for (int64_t t = 510; t <= 900; t += 15)
        two_topics(&w, t, t - 400);
    has(&w, "Burst inactive>firing");
    has(&w, "+510 Sum inactive>firing {alertname=\"Sum\", service=\"a\"} 13"); /* 480: 0, 481: 4, 496: 9 */
    same_in_takeovers(&w.log, (struct sets){ .text = { tsn_buf_str(&first), tsn_buf_str(&second), tsn_buf_str(&third) } });
    tsn_buf_release(&first);
    tsn_buf_release(&second);
    tsn_buf_release(&third);
    world_stop(&w);
}

/* Between two sets that read the counter one does not. What the first kept no window of is gone, what was counted in a pane that it did
 * not come to end is gone, too; the total goes on. */
static void test_a_set_that_does_not_read_it(void **state)
{
    static const char lag[] = "groups: [{name: lag, interval: 15s, rules: [{alert: X, expr: 'x > 0'}]}, ";
    struct tsn_buf first = TSN_BUF_INIT, second = TSN_BUF_INIT, third = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    tsn_buf_printf(&first, "%s{name: ahead, interval: 15s, rules: [{alert: Burst, expr: 'increase(err[1m]) > 2'}]}]", lag);
    tsn_buf_printf(&second, "%s{name: none, interval: 15s, rules: [{alert: Y, expr: 'y > 0'}]}]", lag);
    tsn_buf_printf(&third, "%s{name: again, interval: 15s, rules: [{alert: Sum, expr: 'sum_over_time(err[10m]) > 0'}]}]", lag);
    world_start(&w, tsn_buf_str(&first), 0);
    tsn_detect_add_rule_set(w.d, 1, world_rules(tsn_buf_str(&second)));
    tsn_detect_add_rule_set(w.d, 2, world_rules(tsn_buf_str(&third)));
    put_decl(&w.w, "l", 1, "err");
    put_decl(&w.w, "m", 1, "x");
    two_topics(&w, 0, 0);
    put_delta(&w.log, &w.w, ERR, T0 + 100 * S, 4);
    two_topics(&w, 495, 90);
    put_delta(&w.log, &w.w, ERR, T0 + 496 * S, 2);
    two_topics(&w, 496, 91);
    w.log.rule_set = 1;
    two_topics(&w, 497, 95);
    w.log.rule_set = 2;
    two_topics(&w, 498, 100);
    put_delta(&w.log, &w.w, ERR, T0 + 520 * S, 3);
    for (int64_t t = 525; t <= 900; t += 15)
        two_topics(&w, t, t - 400);
    has(&w, "+525 Sum inactive>firing {alertname=\"Sum\", service=\"a\"} 11"); /* 520: 4, 521: 7 */
    same_in_takeovers(&w.log, (struct sets){ .text = { tsn_buf_str(&first), tsn_buf_str(&second), tsn_buf_str(&third) } });
    tsn_buf_release(&first);
    tsn_buf_release(&second);
    tsn_buf_release(&third);
    world_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_burst_fires),  cmocka_unit_test(test_counter_ttl),
        cmocka_unit_test(test_born_again),         cmocka_unit_test(test_burst_after_silence),
        cmocka_unit_test(test_how_long_it_stands), cmocka_unit_test(test_how_often_it_is_said), cmocka_unit_test(test_late_after_silence),
        cmocka_unit_test(test_leap_of_the_clock),  cmocka_unit_test(test_time_of_a_counter_at_a_switch),
        cmocka_unit_test(test_a_set_that_does_not_read_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
