/*
 * Goal: after a takeover alerts go on to the millisecond; with `prometheus_restore` they go on as those of a
 * restarted Prometheus server do.
 * Method: a rule set a step a minute, handed over from one core to another at a minute; transitions as text, in both
 * ways. What is expected of the second follows reference semantics 40 (tolerance 1 h, grace 10 m).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../detect_world.h"

#define M INT64_C(60000)

struct world {
    struct tsn_detect *d;
    struct tsn_detect_options options;
    struct tsn_detect_output out;
    struct log log;
    struct log_writer w;
    struct tsn_buf lines;
    const char *rules;
    struct tsn_map state; /* the compacted topic: key → value */
};

static struct tsn_detect *new_core(const struct world *w)
{
    struct tsn_detect *d = tsn_detect_new(&w->options);

    tsn_detect_add_rule_set(d, 0, world_rules(w->rules));
    return d;
}

static void start(struct world *w, const char *rules, bool prometheus)
{
    memset(w, 0, sizeof *w);
    w->options = (struct tsn_detect_options){ .partition_count = 1, .prometheus_restore = prometheus };
    w->rules = rules;
    w->d = new_core(w);
    writer_init(&w->w, 0, 1);
    w->log.wall_ms = T0;
    tsn_map_init(&w->state);
    put_decl(&w->w, "m", 1, NULL);
}

static void stop(struct world *w)
{
    tsn_detect_free(&w->d);
    tsn_detect_output_release(&w->out);
    log_release(&w->log);
    writer_release(&w->w);
    tsn_buf_release(&w->lines);
    tsn_map_foreach(&w->state, e)
        tsn_free(e->value);
    tsn_map_release(&w->state);
}

/* x is `value` from minute `from` to `to`, a step each. */
static void play(struct world *w, int from, int to, double value)
{
    for (int m = from; m <= to; m++) {
        size_t at;

        put_point(&w->log, &w->w, "x{service=\"s\"}", T0 + m * M, value);
        put_input(&w->w, "m", 0, T0 + m * M, false, TSN_TIME_NONE);
        at = log_send(&w->log, &w->w);
        apply_record(w->d, &w->log.records.items[at], &w->out);
        put_transitions(&w->lines, &w->out);
        tsn_detect_output_reset(&w->out);
        w->log.wall_ms += 300;
    }
}

static void hand_over(struct world *w)
{
    struct tsn_detect_output state = { 0 };
    struct tsn_error error;
    int64_t from, to;

    tsn_detect_checkpoint(w->d, w->log.next_offset, &state);
    for (size_t i = 0; i < state.state.len; i++) {
        struct tsn_state_record *r = &state.state.items[i];

        tsn_free(tsn_map_put_str(&w->state, r->key, r->value ? tsn_strdup(r->value) : NULL));
    }
    tsn_detect_output_release(&state);
    tsn_detect_free(&w->d);
    w->d = new_core(w);
    tsn_map_foreach(&w->state, e)
        if (e->value)
            assert_int_equal(tsn_detect_restore(w->d, tsn_map_entry_key(e), e->key_len, e->value, strlen(e->value), &error),
                             TSN_OK);
    assert_int_equal(tsn_detect_restore_done(w->d, &from, &to, &error), TSN_OK);
    for (size_t i = 0; i < w->log.records.len; i++)
        if (w->log.records.items[i].offset >= from)
            apply_record(w->d, &w->log.records.items[i], &w->out);
    assert_int_equal(w->out.transitions.len, 0);
    tsn_buf_reset(&w->lines); /* what comes after is looked at */
}

static void expect(struct world *w, const char *const *lines)
{
    struct tsn_buf expected = TSN_BUF_INIT, got = TSN_BUF_INIT;

    for (; *lines; lines++)
        tsn_buf_printf(&expected, "%s\n", *lines);
    for (const char *at = tsn_buf_str(&w->lines); *at;) { /* "+s rule was>now" of each */
        const char *end = strchr(at, '\n'), *brace = strchr(at, '{');

        tsn_buf_printf(&got, "%.*s\n", (int)(brace - at - 1), at);
        at = end + 1;
    }
    assert_string_equal(tsn_buf_str(&got), tsn_buf_str(&expected));
    tsn_buf_release(&expected);
    tsn_buf_release(&got);
}
#define EXPECT(w, ...) expect((w), (const char *const[]){ __VA_ARGS__, NULL })

#define RULE(keys) "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: 'x > 0'" keys "}]}]"

static void pending_with_more_than_the_grace_left(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    for (int prometheus = 0; prometheus < 2; prometheus++) {
        start(&w, RULE(", for: 20m"), prometheus);
        play(&w, 0, 5, 1);
        hand_over(&w);
        play(&w, 6, 40, 1);
        if (prometheus) /* 15 m are left; from minute 5 to the second evaluation at 7 does not count: active since 2 */
            EXPECT(&w, "+360 A inactive>pending", "+1320 A pending>firing");
        else
            EXPECT(&w, "+1200 A pending>firing");
        stop(&w);
    }
}

static void pending_with_less_than_the_grace_left(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, RULE(", for: 20m"), true);
    play(&w, 0, 15, 1);
    hand_over(&w);
    play(&w, 16, 40, 1);
    EXPECT(&w, "+960 A inactive>pending", "+1620 A pending>firing"); /* ten minutes from the restore at 17 */
    stop(&w);
}

static void firing_fires_again(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    for (int prometheus = 0; prometheus < 2; prometheus++) {
        start(&w, RULE(", for: 20m, keep_firing_for: 5m"), prometheus);
        play(&w, 0, 25, 1);
        hand_over(&w);
        play(&w, 26, 30, 1);
        play(&w, 31, 40, 0);
        if (prometheus)
            EXPECT(&w, "+1560 A inactive>pending", "+1680 A pending>firing", "+2160 A firing>resolved");
        else
            EXPECT(&w, "+2160 A firing>resolved");
        stop(&w);
    }
}

/* keep_firing_for is not restored by Prometheus: what is false after the restart does not fire. */
static void firing_that_does_not_come_back_ends(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    for (int prometheus = 0; prometheus < 2; prometheus++) {
        start(&w, RULE(", for: 20m, keep_firing_for: 5m"), prometheus);
        play(&w, 0, 24, 1);
        play(&w, 25, 26, 0);
        hand_over(&w);
        play(&w, 27, 40, 0);
        if (prometheus)
            EXPECT(&w, "+1680 A firing>resolved"); /* the second evaluation */
        else
            EXPECT(&w, "+1800 A firing>resolved"); /* five minutes after the first false one */
        stop(&w);
    }
}

/* Pending again, and false before it could fire: it ends once, after a second takeover in between, too. */
static void firing_that_goes_while_pending_ends(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, RULE(", for: 5m"), true); /* under the grace: starts over */
    play(&w, 0, 10, 1);
    hand_over(&w);
    play(&w, 11, 13, 1);
    EXPECT(&w, "+660 A inactive>pending");
    hand_over(&w);
    play(&w, 14, 15, 1);
    play(&w, 16, 20, 0);
    EXPECT(&w, "+840 A inactive>pending", "+960 A pending>resolved", "+960 A firing>resolved");
    stop(&w);
}

static void without_for_it_fires_at_once(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, RULE(""), true);
    play(&w, 0, 10, 1);
    hand_over(&w);
    play(&w, 11, 13, 1);
    play(&w, 14, 15, 0);
    EXPECT(&w, "+660 A inactive>firing", "+840 A firing>resolved");
    stop(&w);
}

/* ALERTS_FOR_STATE is written again from the second evaluation on, with the restored time. */
static void series_of_alerts_wait_for_the_restore(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    start(&w, "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: 'x > 0', for: 20m},\n"
              "  {alert: Seen, expr: 'timestamp(ALERTS_FOR_STATE{alertname=\"A\"}) == time()'}]}]", true);
    play(&w, 0, 5, 1);
    hand_over(&w);
    play(&w, 6, 9, 1);
    EXPECT(&w, "+360 A inactive>pending", "+420 Seen firing>resolved", "+480 Seen inactive>firing");
    stop(&w);
}

static void times_as_prometheus_restores_them(void **state)
{
    TSN_UNUSED(state);
    /* for, active since, seen, now, anew */
    assert_int_equal(tsn_alert_restored_active_at(9 * M, 0, 5 * M, 7 * M, 6 * M), 6 * M);      /* for under the grace */
    assert_int_equal(tsn_alert_restored_active_at(10 * M, 0, 10 * M, 12 * M, 11 * M), 0);      /* was firing */
    assert_int_equal(tsn_alert_restored_active_at(10 * M, 999, 10 * M, 12 * M, 11 * M), 0);    /* whole seconds */
    assert_int_equal(tsn_alert_restored_active_at(10 * M, -1, 10 * M, 12 * M, 11 * M), -1000);
    assert_int_equal(tsn_alert_restored_active_at(20 * M, 0, 10 * M, 12 * M, 11 * M), 2 * M);  /* ten left: as long as the grace */
    assert_int_equal(tsn_alert_restored_active_at(20 * M, 0, 10 * M + 1, 12 * M, 11 * M), 2 * M); /* less: now + grace - for */
    assert_int_equal(tsn_alert_restored_active_at(20 * M, 0, 15 * M, 75 * M, 74 * M), 65 * M); /* an hour of outage */
    assert_int_equal(tsn_alert_restored_active_at(20 * M, 0, 15 * M, 75 * M + 1, 74 * M), 74 * M);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_with_more_than_the_grace_left),
        cmocka_unit_test(pending_with_less_than_the_grace_left),
        cmocka_unit_test(firing_fires_again),
        cmocka_unit_test(firing_that_does_not_come_back_ends),
        cmocka_unit_test(firing_that_goes_while_pending_ends),
        cmocka_unit_test(without_for_it_fires_at_once),
        cmocka_unit_test(series_of_alerts_wait_for_the_restore),
        cmocka_unit_test(times_as_prometheus_restores_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
