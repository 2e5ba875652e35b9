/*
 * Goal: RESPOND's invariants under any input: sequence numbers without gaps, timers in order and at their due
 * times, duplicates without effect, a state restored from its SAVE effects goes on like the one it
 * came from, and deadlines before the input that follows them.
 * Method: seeded random transitions, commands, ticks, repeats and clock jumps. Beside the state
 * runs a twin that is thrown away at random and rebuilt from what was saved; both must give
 * the same effects to the byte of their events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/codec.h"
#include "tocsin/respond.h"

#define SEEDS 150
#define STEPS 250

struct run {
    struct tsn_policy policy;
    struct tsn_respond *main, *twin;
    struct tsn_map saved; /* incident id → struct tsn_respond_incident * */
    struct tsn_map seq;   /* incident id → (void *)last seq */
    int64_t now, alerts, commands;
    uint64_t random;
};

static uint32_t pick(struct run *r, uint32_t below)
{
    r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(r->random >> 33) % below;
}

static void drop(void *incident)
{
    if (incident)
        tsn_respond_incident_release(incident);
    tsn_free(incident);
}

/* What a store does with the effects; and the checks that need no second state. */
static void take(struct run *r, const struct tsn_effects *effects)
{
    int64_t last_due = INT64_MIN;

    for (size_t i = 0; i < effects->len; i++) {
        const struct tsn_effect *e = &effects->items[i];

        if (e->kind == TSN_EFFECT_EVENT) {
            int64_t last = (int64_t)(intptr_t)tsn_map_get_str(&r->seq, e->incident_id);

            assert_int_equal(e->event.seq, last + 1);
            assert_int_equal(e->event.snapshot.version, e->event.seq);
            assert_true(e->event.event_time_ms <= tsn_respond_position(r->main).clock_ms);
            assert_true(e->event.event_time_ms >= last_due);
            last_due = e->event.event_time_ms;
            tsn_map_put_str(&r->seq, e->incident_id, (void *)(intptr_t)e->event.seq);
        } else if (e->kind == TSN_EFFECT_SAVE) {
            struct tsn_respond_incident *copy = tsn_alloc(sizeof *copy);

            tsn_respond_incident_copy(copy, e->record);
            drop(tsn_map_put_str(&r->saved, e->incident_id, copy));
        } else if (e->kind == TSN_EFFECT_FORGET) {
            drop(tsn_map_del(&r->saved, e->incident_id, strlen(e->incident_id)));
        }
    }
}

static void assert_same(const struct tsn_effects *a, const struct tsn_effects *b)
{
    struct tsn_buf x = TSN_BUF_INIT, y = TSN_BUF_INIT;

    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++) {
        assert_int_equal(a->items[i].kind, b->items[i].kind);
        assert_string_equal(a->items[i].incident_id, b->items[i].incident_id);
        if (a->items[i].kind != TSN_EFFECT_EVENT)
            continue;
        tsn_buf_reset(&x);
        tsn_buf_reset(&y);
        tsn_codec_incident_event_encode(&a->items[i].event, TSN_FORM_JSON, &x);
        tsn_codec_incident_event_encode(&b->items[i].event, TSN_FORM_JSON, &y);
        assert_string_equal(tsn_buf_str(&x), tsn_buf_str(&y));
    }
    tsn_buf_release(&x);
    tsn_buf_release(&y);
}

static void rebuild_twin(struct run *r)
{
    tsn_respond_free(&r->twin);
    r->twin = tsn_respond_new(&r->policy, NULL);
    tsn_map_foreach(&r->saved, e) {
        struct tsn_respond_incident copy;

        tsn_respond_incident_copy(&copy, e->value);
        assert_int_equal(tsn_respond_restore(r->twin, &copy, NULL), TSN_OK);
    }
    tsn_respond_set_position(r->twin, tsn_respond_position(r->main));
}

static void random_transition(struct run *r, struct tsn_transition *t)
{
    static const char *const names[] = { "ServiceDown", "ServiceDegraded", "Slow", "Odd" };
    static const char *const services[] = { "hook-receiver", "model-metrics", "workflow-coordinator", "postgres", "x" };
    static const char *const severities[] = { "critical", "warning", "info" };

    memset(t, 0, sizeof *t);
    t->format = 1;
    t->labels = tsn_labels_of("alertname", names[pick(r, 4)], "service", services[pick(r, 5)], "severity",
                              severities[pick(r, 3)], NULL);
    t->annotations = tsn_labels_empty();
    tsn_u128_hex(t->labels->id, t->alert_id);
    t->state = pick(r, 5) == 0 ? TSN_ALERT_PENDING : pick(r, 2) ? TSN_ALERT_FIRING : TSN_ALERT_RESOLVED;
    t->was = t->state == TSN_ALERT_RESOLVED && pick(r, 4) ? TSN_ALERT_FIRING : TSN_ALERT_PENDING;
    t->end_reason = t->state == TSN_ALERT_RESOLVED ? TSN_END_CONDITION : TSN_END_NONE;
    t->step_ms = r->now;
    t->active_at_ms = r->now;
    t->fired_at_ms = r->now - pick(r, 3) * 60000;
    t->keep_firing_since_ms = TSN_TIME_NONE;
    t->warming = pick(r, 8) == 0;
}

static void random_command(struct run *r, struct tsn_command *c)
{
    size_t n;
    const struct tsn_respond_incident **all = tsn_respond_list(r->main, &n);
    char id[16];

    memset(c, 0, sizeof *c);
    snprintf(id, sizeof id, "c%u", pick(r, 60));
    c->format = 1;
    c->command_id = tsn_strdup(id);
    c->kind = pick(r, TSN_CMD_KIND_COUNT);
    c->incident_id = tsn_strdup(n && pick(r, 10) ? all[pick(r, (uint32_t)n)]->pub.incident_id : "inc-none");
    c->actor = tsn_strdup("ada");
    c->reason = tsn_strdup(pick(r, 3) ? "why" : "");
    c->severity = (int32_t)pick(r, 6);
    tsn_free(all);
}

static void step(struct run *r)
{
    struct tsn_effects a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
    struct tsn_transition t;
    struct tsn_command c;
    int64_t due = tsn_respond_next_due(r->main);
    uint32_t what = pick(r, 10);

    /* mostly minutes, sometimes right to a deadline, hours, or back */
    r->now += pick(r, 12) == 0 ? 3 * 3600000 : pick(r, 15) == 0 ? -60000 : (int64_t)pick(r, 300000);
    if (due != TSN_TIME_NONE && pick(r, 3) == 0 && due > r->now)
        r->now = due;
    if (what < 6) {
        random_transition(r, &t);
        tsn_respond_transition(r->main, r->alerts, r->now, &t, &a);
        tsn_respond_transition(r->twin, r->alerts, r->now, &t, &b);
        assert_same(&a, &b);
        tsn_effects_clear(&b);
        tsn_respond_transition(r->main, r->alerts - pick(r, 3), r->now, &t, &b); /* a repeat */
        assert_int_equal(b.len, 0);
        r->alerts += 1 + pick(r, 3); /* commit markers leave gaps */
        tsn_transition_release(&t);
    } else if (what < 9) {
        random_command(r, &c);
        tsn_respond_command(r->main, r->commands, r->now, &c, &a);
        tsn_respond_command(r->twin, r->commands, r->now, &c, &b);
        assert_same(&a, &b);
        r->commands++;
        tsn_command_release(&c);
    } else {
        tsn_respond_tick(r->main, r->now, &a);
        tsn_respond_tick(r->twin, r->now, &b);
        assert_same(&a, &b);
    }
    take(r, &a);
    due = tsn_respond_next_due(r->main);
    assert_true(due == TSN_TIME_NONE || due > tsn_respond_position(r->main).clock_ms);
    if (pick(r, 20) == 0)
        rebuild_twin(r);
    tsn_effects_release(&a);
    tsn_effects_release(&b);
}

static void test_any_input(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct run r = { .now = INT64_C(1700000000000), .random = seed };

        tsn_policy_init_default(&r.policy);
        r.main = tsn_respond_new(&r.policy, NULL);
        r.twin = tsn_respond_new(&r.policy, NULL);
        tsn_map_init(&r.saved);
        tsn_map_init(&r.seq);
        for (int i = 0; i < STEPS; i++)
            step(&r);
        tsn_map_foreach(&r.saved, e)
            drop(e->value);
        tsn_map_release(&r.saved);
        tsn_map_release(&r.seq);
        tsn_respond_free(&r.main);
        tsn_respond_free(&r.twin);
        tsn_policy_release(&r.policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_input) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
