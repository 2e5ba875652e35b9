/*
 * Goal: RESPOND does what the platform's procedures say, with their contradictions settled.
 * Method: one test a row of severities, tiers, deadlines, escalation and corrections; inputs are
 * built here, effects are read back as values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/respond.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define T0 INT64_C(1700000000000)

struct world {
    struct tsn_policy policy;
    struct tsn_respond *respond;
    struct tsn_effects effects;
    int64_t alerts, commands, now;
};

static void world_init(struct world *w, bool shadow)
{
    struct tsn_respond_options options = { .shadow = shadow };

    memset(w, 0, sizeof *w);
    tsn_policy_init_default(&w->policy);
    w->respond = tsn_respond_new(&w->policy, &options);
    w->now = T0;
}

static void world_release(struct world *w)
{
    tsn_effects_release(&w->effects);
    tsn_respond_free(&w->respond);
    tsn_policy_release(&w->policy);
}

/* A world of its own around a test: cmocka's set-up and its end. */
static int in_world_begin(void **state)
{
    *state = tsn_alloc(sizeof(struct world));
    world_init(*state, false);
    return 0;
}

static int in_world_end(void **state)
{
    world_release(*state);
    tsn_free(*state);
    return 0;
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, in_world_begin, in_world_end)

static void alert_state(struct world *w, const char *name, const char *service, const char *severity,
                        enum tsn_alert_state was, enum tsn_alert_state state, int64_t fired)
{
    struct tsn_transition t = { .format = 1, .was = was, .state = state, .step_ms = w->now, .active_at_ms = fired,
                                .fired_at_ms = fired, .keep_firing_since_ms = TSN_TIME_NONE, .value = 1 };

    t.labels = tsn_labels_of("alertname", name, "service", service, "severity", severity, NULL);
    t.annotations = tsn_labels_empty();
    tsn_u128_hex(t.labels->id, t.alert_id);
    t.end_reason = state == TSN_ALERT_RESOLVED ? TSN_END_CONDITION : TSN_END_NONE;
    tsn_effects_clear(&w->effects);
    tsn_respond_transition(w->respond, w->alerts++, w->now, &t, &w->effects);
    tsn_transition_release(&t);
}

static void fire(struct world *w, const char *name, const char *service, const char *severity)
{
    alert_state(w, name, service, severity, TSN_ALERT_PENDING, TSN_ALERT_FIRING, w->now);
}

static void end(struct world *w, const char *name, const char *service, const char *severity)
{
    alert_state(w, name, service, severity, TSN_ALERT_FIRING, TSN_ALERT_RESOLVED, w->now);
}

static void tick(struct world *w, int64_t now)
{
    w->now = now;
    tsn_effects_clear(&w->effects);
    tsn_respond_tick(w->respond, now, &w->effects);
}

static const struct tsn_answer *command(struct world *w, const char *id, enum tsn_command_kind kind,
                                        const char *incident, const char *reason, int severity)
{
    struct tsn_command c = { .format = 1, .command_id = tsn_strdup(id), .kind = kind,
                             .incident_id = tsn_strdup(incident), .actor = tsn_strdup("ada"),
                             .reason = tsn_strdup(reason), .severity = severity };

    tsn_effects_clear(&w->effects);
    tsn_respond_command(w->respond, w->commands++, w->now, &c, &w->effects);
    tsn_command_release(&c);
    assert_true(w->effects.len > 0);
    assert_int_equal(w->effects.items[w->effects.len - 1].kind, TSN_EFFECT_ANSWER);
    return &w->effects.items[w->effects.len - 1].answer;
}

/* The n-th effect of a kind, NULL if there are fewer. */
static const struct tsn_effect *nth(const struct world *w, enum tsn_effect_kind kind, size_t n)
{
    for (size_t i = 0; i < w->effects.len; i++)
        if (w->effects.items[i].kind == kind && n-- == 0)
            return &w->effects.items[i];
    return NULL;
}

static size_t count(const struct world *w, enum tsn_effect_kind kind)
{
    size_t n = 0;

    while (nth(w, kind, n))
        n++;
    return n;
}

static void assert_event(const struct world *w, size_t n, enum tsn_incident_event_type type, int64_t at)
{
    const struct tsn_effect *e = nth(w, TSN_EFFECT_EVENT, n);

    assert_non_null(e);
    assert_string_equal(tsn_incident_event_type_name(e->event.type), tsn_incident_event_type_name(type));
    assert_int_equal(e->event.event_time_ms, at);
}

static void assert_page(const struct world *w, size_t n, int level, const char *who)
{
    const struct tsn_effect *e = nth(w, TSN_EFFECT_PAGE, n);

    assert_non_null(e);
    assert_int_equal(e->page.level, level);
    assert_string_equal(e->page.people[0], who);
}

static const struct tsn_incident *only(const struct world *w)
{
    size_t n;
    const struct tsn_respond_incident **all = tsn_respond_list(w->respond, &n);
    const struct tsn_incident *in = n ? &all[0]->pub : NULL;

    assert_int_equal(n, 1);
    tsn_free(all);
    return in;
}

static int severity_after(const char *name, const char *service, const char *severity)
{
    struct world w;
    int got;

    world_init(&w, false);
    fire(&w, name, service, severity);
    got = only(&w)->severity;
    world_release(&w);
    return got;
}

/* §1, §2, §11.8: label, tier and what it is about. */
static void test_severity_by_alert(void **state)
{
    static const struct {
        const char *name, *service, *label;
        int severity;
    } rows[] = {
        { "ServiceDown", "hook-receiver", "critical", 2 }, /* one service down, tier 1 */
        { "ServiceDown", "model-metrics", "critical", 2 },
        { "ServiceDown", "workflow-coordinator", "critical", 2 },
        { "ServiceDown", "kafka", "critical", 2 },
        { "ServiceDown", "postgresql", "critical", 1 }, /* database unavailable */
        { "ServiceDown", "Postgres", "critical", 1 },   /* by alias, case aside */
        { "ServiceDown", "authentication", "critical", 2 },
        { "ServiceDown", "redis", "critical", 3 },
        { "ServiceDown", "docs", "critical", 4 },
        { "ServiceDown", "never-heard-of", "critical", 2 },
        { "HighErrorRate", "hook-receiver", "critical", 2 },
        { "HighResponseTime", "hook-receiver", "warning", 3 },
        { "HookProcessingFailure", "hook-receiver", "warning", 3 },
        { "IntelligencePatternAnomaly", "hook-receiver", "info", 4 },
        { "Odd", "hook-receiver", "chartreuse", 3 },
        { "Slow", "grafana", "critical", 3 },
        { "Slow", "docs", "critical", 4 },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++)
        assert_int_equal(severity_after(rows[i].name, rows[i].service, rows[i].label), rows[i].severity);
}

static void test_given_severity_is_the_last_word(void **state)
{
    struct tsn_policy policy;
    struct tsn_labels *labels = tsn_labels_of("alertname", "Breach", "severity", "info", "incident_severity", "1", NULL);

    (void)state;
    tsn_policy_init_default(&policy);
    assert_int_equal(tsn_respond_alert_severity(&policy, labels, false), 1);
    tsn_labels_unref(labels);
    tsn_policy_release(&policy);
}

/* §1: deadlines and channels of each severity. */
static void test_deadlines(void **state)
{
    static const struct {
        const char *service, *label, *name, *channel;
        int64_t respond, resolve;
    } rows[] = {
        { "postgresql", "critical", "ServiceDown", "@channel", 15 * MINUTE, 4 * HOUR },
        { "hook-receiver", "critical", "ServiceDown", "@here", 30 * MINUTE, 8 * HOUR },
        { "hook-receiver", "warning", "Slow", "plain", 2 * HOUR, 24 * HOUR },
        { "hook-receiver", "info", "Odd", "silent", 24 * HOUR, 72 * HOUR },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct world w;

        world_init(&w, false);
        fire(&w, rows[i].name, rows[i].service, rows[i].label);
        assert_int_equal(only(&w)->severity, i + 1);
        assert_int_equal(only(&w)->respond_by_ms, T0 + rows[i].respond);
        assert_int_equal(only(&w)->resolve_by_ms, T0 + rows[i].resolve);
        assert_string_equal(tsn_page_channel_name(nth(&w, TSN_EFFECT_PAGE, 0)->page.channel), rows[i].channel);
        world_release(&w);
    }
}

/* §11.9 and 12: Sev 1 pages L1 and L3 together; unanswered climbs at 15 min. */
static void test_sev1_unanswered(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "postgresql", "critical");
    assert_event(w, 0, TSN_INC_OPENED, T0);
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 2);
    assert_page(w, 0, 1, "on-call-engineer");
    assert_page(w, 1, 3, "cto");
    assert_string_equal(nth(w, TSN_EFFECT_PAGE, 1)->page.people[1], "platform-lead");
    assert_int_equal(tsn_respond_next_due(w->respond), T0 + 15 * MINUTE);
    tick(w, T0 + 15 * MINUTE - 1);
    assert_int_equal(w->effects.len, 0);
    tick(w, T0 + 15 * MINUTE);
    assert_event(w, 0, TSN_INC_BREACHED, T0 + 15 * MINUTE);
    assert_event(w, 1, TSN_INC_ESCALATED, T0 + 15 * MINUTE);
    assert_int_equal(only(w)->level, 2);
    tick(w, T0 + 30 * MINUTE);
    assert_event(w, 0, TSN_INC_ESCALATED, T0 + 30 * MINUTE);
    assert_int_equal(only(w)->level, 3);
    tick(w, T0 + 4 * HOUR); /* level 3 has no next: only the deadline to resolve is left */
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 1);
    assert_event(w, 0, TSN_INC_BREACHED, T0 + 4 * HOUR);
    assert_int_equal(tsn_respond_next_due(w->respond), TSN_TIME_NONE);
}

/* §11.12: answered in time, it climbs at 30 min unresolved; no breach of the answer. */
static void test_sev1_answered(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "postgresql", "critical");
    w->now += 5 * MINUTE;
    assert_int_equal(command(w, "c1", TSN_CMD_ACK, only(w)->incident_id, "mine", 0)->code, TSN_OK);
    assert_event(w, 0, TSN_INC_ACKNOWLEDGED, T0 + 5 * MINUTE);
    assert_string_equal(only(w)->acknowledged_by, "ada");
    tick(w, T0 + 29 * MINUTE);
    assert_int_equal(w->effects.len, 0);
    tick(w, T0 + 30 * MINUTE);
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 1);
    assert_event(w, 0, TSN_INC_ESCALATED, T0 + 30 * MINUTE);
    assert_page(w, 0, 2, "platform-team-lead");
}

/* §1 and §11.11: Sev 2 is to be answered in 30 min and reaches the team lead within 1 h, not 2; the
 * executives when it has lasted 4 h (§6). */
static void test_sev2_ladder(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "hook-receiver", "critical");
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 1);
    assert_page(w, 0, 1, "on-call-engineer");
    assert_string_equal(only(w)->commander, "platform-team-lead");
    tick(w, T0 + 30 * MINUTE);
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 1);
    assert_event(w, 0, TSN_INC_BREACHED, T0 + 30 * MINUTE);
    tick(w, T0 + HOUR);
    assert_event(w, 0, TSN_INC_ESCALATED, T0 + HOUR);
    assert_page(w, 0, 2, "platform-team-lead");
    tick(w, T0 + 4 * HOUR);
    assert_event(w, 0, TSN_INC_ESCALATED, T0 + 4 * HOUR);
    assert_page(w, 0, 3, "cto");
    tick(w, T0 + 8 * HOUR);
    assert_event(w, 0, TSN_INC_BREACHED, T0 + 8 * HOUR);
}

/* §1: the team lead is told of a Sev 3 without a page; Sev 4 wakes nobody; neither climbs. */
static void test_sev3_and_4(void **state)
{
    struct world *w = *state;

    fire(w, "Slow", "hook-receiver", "warning");
    assert_page(w, 0, 1, "on-call-engineer");
    assert_page(w, 1, 2, "platform-team-lead");
    assert_false(nth(w, TSN_EFFECT_PAGE, 0)->page.tell);
    assert_true(nth(w, TSN_EFFECT_PAGE, 1)->page.tell);
    fire(w, "Odd", "docs", "info");
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 1);
    assert_true(nth(w, TSN_EFFECT_PAGE, 0)->page.tell);
    for (int64_t h = 1; h <= 80; h++) {
        tick(w, T0 + h * HOUR);
        for (size_t i = 0; nth(w, TSN_EFFECT_EVENT, i); i++)
            assert_int_equal(nth(w, TSN_EFFECT_EVENT, i)->event.type, TSN_INC_BREACHED);
    }
}

/* §11.8: all services down is Sev 1, in every incident that is about one of them. */
static void test_spread(void **state)
{
    struct world *w = *state;
    size_t n, ones = 0;
    const struct tsn_respond_incident **all;

    fire(w, "Odd", "docs", "info");
    fire(w, "ServiceDown", "hook-receiver", "critical");
    fire(w, "ServiceDown", "model-metrics", "critical");
    w->now += 10 * MINUTE;
    fire(w, "ServiceDown", "workflow-coordinator", "critical");
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 3);
    assert_event(w, 0, TSN_INC_OPENED, w->now);
    assert_event(w, 1, TSN_INC_UPDATED, w->now);
    assert_event(w, 2, TSN_INC_UPDATED, w->now);
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 6); /* L1 and L3, three times */
    all = tsn_respond_list(w->respond, &n);
    for (size_t i = 0; i < n; i++) {
        ones += all[i]->pub.severity == 1;
        if (all[i]->pub.severity == 1)
            assert_int_equal(all[i]->pub.respond_by_ms, w->now + 15 * MINUTE);
    }
    tsn_free(all);
    assert_int_equal(n, 4);
    assert_int_equal(ones, 3);
    w->now += MINUTE; /* one comes back: no severity falls by itself */
    end(w, "ServiceDown", "model-metrics", "critical");
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 1);
    assert_event(w, 0, TSN_INC_RESOLVED, w->now);
}

/* §11.4: the lower alert is inhibited by the higher, in one incident. */
static void test_inhibition(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "hook-receiver", "critical");
    fire(w, "ServiceDegraded", "hook-receiver", "warning");
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 0);
    assert_event(w, 0, TSN_INC_UPDATED, w->now);
    assert_non_null(strstr(nth(w, TSN_EFFECT_EVENT, 0)->event.reason, "inhibited"));
    assert_int_equal(only(w)->alert_count, 2);
    assert_int_equal(tsn_respond_counters(w->respond)->inhibited, 1);
    end(w, "ServiceDown", "hook-receiver", "critical");
    assert_event(w, 0, TSN_INC_UPDATED, w->now);
    end(w, "ServiceDegraded", "hook-receiver", "warning");
    assert_event(w, 0, TSN_INC_RESOLVED, w->now);
}

static void test_severity_rises_in_one_incident(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDegraded", "hook-receiver", "warning");
    assert_int_equal(only(w)->severity, 3);
    w->now += MINUTE;
    fire(w, "ServiceDown", "hook-receiver", "critical");
    assert_int_equal(only(w)->severity, 2);
    assert_int_equal(only(w)->respond_by_ms, w->now + 30 * MINUTE);
    assert_event(w, 0, TSN_INC_UPDATED, w->now);
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 1);
}

static void test_pending_is_ignored(void **state)
{
    struct world *w = *state;

    alert_state(w, "ServiceDown", "kafka", "critical", TSN_ALERT_INACTIVE, TSN_ALERT_PENDING, TSN_TIME_NONE);
    assert_int_equal(w->effects.len, 0);
    alert_state(w, "ServiceDown", "kafka", "critical", TSN_ALERT_PENDING, TSN_ALERT_RESOLVED, TSN_TIME_NONE);
    assert_int_equal(w->effects.len, 0);
    assert_int_equal(tsn_respond_counters(w->respond)->pending_ignored, 2);
}

static void test_reopen_within_window(void **state)
{
    struct world *w = *state;
    char id[40];

    fire(w, "ServiceDown", "kafka", "critical");
    memcpy(id, only(w)->incident_id, sizeof id);
    w->now += MINUTE;
    end(w, "ServiceDown", "kafka", "critical");
    assert_int_equal(tsn_respond_next_due(w->respond), w->now + 30 * MINUTE);
    w->now += 29 * MINUTE;
    fire(w, "ServiceDown", "kafka", "critical");
    assert_event(w, 0, TSN_INC_REOPENED, w->now);
    assert_string_equal(only(w)->incident_id, id);
    assert_int_equal(only(w)->reopen_count, 1);
    assert_int_equal(only(w)->respond_by_ms, w->now + 30 * MINUTE);
    assert_int_equal(only(w)->version, 3);
    end(w, "ServiceDown", "kafka", "critical");
    tick(w, w->now + 30 * MINUTE);
    assert_int_equal(count(w, TSN_EFFECT_FORGET), 1);
    fire(w, "ServiceDown", "kafka", "critical");
    assert_event(w, 0, TSN_INC_OPENED, w->now);
    assert_string_not_equal(only(w)->incident_id, id);
}

/* DESIGN §6: after downtime one level climbs, not three, and due timers come before the input. */
static void test_downtime_climbs_one_level(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "postgresql", "critical");
    w->now = T0 + 3 * HOUR;
    end(w, "ServiceDown", "postgresql", "critical");
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 3);
    assert_event(w, 0, TSN_INC_BREACHED, T0 + 15 * MINUTE);
    assert_event(w, 1, TSN_INC_ESCALATED, T0 + 15 * MINUTE);
    assert_event(w, 2, TSN_INC_RESOLVED, T0 + 3 * HOUR);
    assert_int_equal(only(w)->level, 2);
}

/* §6: by hand: names level and reason, pages the next, stands in the timeline; level 3 has no next. */
static void test_escalate_by_hand(void **state)
{
    struct world *w = *state;
    char id[40];

    fire(w, "Slow", "hook-receiver", "warning");
    memcpy(id, only(w)->incident_id, sizeof id);
    assert_int_equal(command(w, "e1", TSN_CMD_ESCALATE, id, "data integrity", 0)->code, TSN_OK);
    assert_event(w, 0, TSN_INC_ESCALATED, w->now);
    assert_string_equal(nth(w, TSN_EFFECT_EVENT, 0)->event.reason, "L1 → L2 by hand: data integrity");
    assert_string_equal(nth(w, TSN_EFFECT_EVENT, 0)->event.actor, "ada");
    assert_page(w, 0, 2, "platform-team-lead");
    command(w, "e2", TSN_CMD_ESCALATE, id, "breach", 0);
    assert_page(w, 0, 3, "cto");
    assert_int_equal(command(w, "e3", TSN_CMD_ESCALATE, id, "more", 0)->code, TSN_ERR_CONFLICT);
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 0);
}

static void test_commands_are_idempotent_and_answered(void **state)
{
    struct world *w = *state;
    char id[40];

    assert_int_equal(command(w, "x", TSN_CMD_ACK, "inc-0", "", 0)->code, TSN_ERR_NOT_FOUND);
    fire(w, "ServiceDown", "kafka", "critical");
    memcpy(id, only(w)->incident_id, sizeof id);
    assert_int_equal(command(w, "n", TSN_CMD_NOTE, id, "looking", 0)->code, TSN_OK);
    assert_event(w, 0, TSN_INC_NOTE, w->now);
    assert_string_equal(command(w, "n", TSN_CMD_NOTE, id, "looking", 0)->message, "applied already");
    assert_int_equal(count(w, TSN_EFFECT_EVENT), 0);
    assert_int_equal(command(w, "n2", TSN_CMD_NOTE, id, "", 0)->code, TSN_ERR_INVALID);
    assert_int_equal(command(w, "s", TSN_CMD_SEVERITY, id, "", 5)->code, TSN_ERR_INVALID);
    assert_int_equal(command(w, "r", TSN_CMD_RESOLVE, id, "fixed", 0)->code, TSN_OK);
    assert_event(w, 0, TSN_INC_RESOLVED, w->now);
    assert_int_equal(command(w, "a", TSN_CMD_ACK, id, "", 0)->code, TSN_ERR_CONFLICT);
    assert_int_equal(tsn_respond_next_due(w->respond), TSN_TIME_NONE); /* its alert still fires: held */
    end(w, "ServiceDown", "kafka", "critical");
    assert_event(w, 0, TSN_INC_UPDATED, w->now);
    assert_int_equal(tsn_respond_next_due(w->respond), w->now + 30 * MINUTE);
}

static void test_severity_by_hand_stands(void **state)
{
    struct world *w = *state;
    char id[40];

    fire(w, "Slow", "hook-receiver", "warning");
    memcpy(id, only(w)->incident_id, sizeof id);
    command(w, "s1", TSN_CMD_SEVERITY, id, "all users", 1);
    assert_int_equal(only(w)->severity, 1);
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 2);
    assert_int_equal(only(w)->respond_by_ms, w->now + 15 * MINUTE);
    command(w, "s2", TSN_CMD_SEVERITY, id, "cosmetic", 4);
    assert_int_equal(count(w, TSN_EFFECT_PAGE), 0);
    fire(w, "ServiceDown", "hook-receiver", "critical");
    assert_int_equal(only(w)->severity, 4);
}

/* A deadline that a lower severity puts in the past is met at the change, not before it. */
static void test_deadline_put_in_the_past(void **state)
{
    struct world *w = *state;
    char id[40];

    fire(w, "Odd", "hook-receiver", "info");
    memcpy(id, only(w)->incident_id, sizeof id);
    w->now = T0 + 10 * HOUR;
    command(w, "s1", TSN_CMD_SEVERITY, id, "worse", 1);
    w->now += 5 * MINUTE;
    command(w, "s2", TSN_CMD_SEVERITY, id, "not that bad", 2);
    assert_event(w, 0, TSN_INC_UPDATED, w->now);
    assert_event(w, 1, TSN_INC_BREACHED, w->now);
    assert_int_equal(only(w)->respond_by_ms, T0 + 30 * MINUTE);
}

static void test_shadow_pages_nobody(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, true);
    fire(&w, "ServiceDown", "postgresql", "critical");
    assert_int_equal(count(&w, TSN_EFFECT_PAGE), 0);
    assert_int_equal(count(&w, TSN_EFFECT_SAVE), 1);
    tick(&w, T0 + 15 * MINUTE);
    assert_event(&w, 1, TSN_INC_ESCALATED, T0 + 15 * MINUTE);
    world_release(&w);
}

static void test_old_offsets_are_skipped(void **state)
{
    struct world *w = *state;

    fire(w, "ServiceDown", "kafka", "critical");
    w->alerts = 0;
    end(w, "ServiceDown", "kafka", "critical");
    assert_int_equal(w->effects.len, 0);
    assert_int_equal(only(w)->state, TSN_INCIDENT_OPEN);
    assert_int_equal(tsn_respond_counters(w->respond)->duplicates, 1);
}

/* A restored state goes on as the one it was saved from. */
static void test_restore(void **state)
{
    struct world *w = *state;
    struct tsn_respond *second;
    struct tsn_respond_incident copy;
    struct tsn_effects a = { NULL, 0, 0 }, b = { NULL, 0, 0 };

    fire(w, "ServiceDown", "postgresql", "critical");
    second = tsn_respond_new(&w->policy, NULL);
    tsn_respond_incident_copy(&copy, nth(w, TSN_EFFECT_SAVE, 0)->record);
    assert_int_equal(tsn_respond_restore(second, &copy, NULL), TSN_OK);
    tsn_respond_set_position(second, tsn_respond_position(w->respond));
    tsn_respond_tick(w->respond, T0 + 20 * MINUTE, &a);
    tsn_respond_tick(second, T0 + 20 * MINUTE, &b);
    assert_int_equal(a.len, b.len);
    for (size_t i = 0; i < a.len; i++) {
        assert_int_equal(a.items[i].kind, b.items[i].kind);
        assert_int_equal(a.items[i].version, b.items[i].version);
        assert_int_equal(a.items[i].event.event_time_ms, b.items[i].event.event_time_ms);
    }
    tsn_effects_release(&a);
    tsn_effects_release(&b);
    tsn_respond_free(&second);
}

static void test_limits(void **state)
{
    struct tsn_respond_options options = { .max_incidents = 2, .max_alerts = 2 };
    struct world w;

    (void)state;
    world_init(&w, false);
    tsn_respond_free(&w.respond);
    w.respond = tsn_respond_new(&w.policy, &options);
    fire(&w, "A", "one", "warning");
    fire(&w, "B", "one", "warning");
    assert_int_equal(tsn_respond_counters(w.respond)->limit_alerts, 0);
    fire(&w, "C", "one", "warning");
    assert_int_equal(w.effects.len, 0);
    assert_int_equal(tsn_respond_counters(w.respond)->limit_alerts, 1);
    end(&w, "A", "one", "warning");
    fire(&w, "C", "one", "warning"); /* A ended and leaves */
    assert_int_equal(only(&w)->alert_count, 2);
    fire(&w, "A", "two", "warning");
    assert_int_equal(tsn_respond_counters(w.respond)->limit_incidents, 0);
    fire(&w, "A", "three", "warning");
    assert_int_equal(tsn_respond_counters(w.respond)->limit_incidents, 1);
    world_release(&w);
}

/* The alert of a service with that much of an annotation. */
static void fire_text(struct world *w, const char *name, size_t bytes)
{
    struct tsn_transition t = { .format = 1, .was = TSN_ALERT_PENDING, .state = TSN_ALERT_FIRING, .step_ms = w->now, .active_at_ms = w->now,
                                .fired_at_ms = w->now, .keep_firing_since_ms = TSN_TIME_NONE, .value = 1 };
    char *text = tsn_calloc(bytes + 1, 1);

    memset(text, 'x', bytes);
    t.labels = tsn_labels_of("alertname", name, "service", "s", "severity", "warning", NULL);
    t.annotations = tsn_labels_of("d", text, NULL);
    tsn_u128_hex(t.labels->id, t.alert_id);
    tsn_effects_clear(&w->effects);
    tsn_respond_transition(w->respond, w->alerts++, w->now, &t, &w->effects);
    tsn_transition_release(&t);
    tsn_free(text);
}

/* However much text alerts bring, an incident stays small enough to be told. */
static void test_text_limit(void **state)
{
    /* alertname A, service s, severity warning: 9 + 1 + 7 + 1 + 8 + 7 = 33 bytes of labels; an annotation d: 1 + its text */
    struct tsn_respond_options options = { .max_text_bytes = 200 };
    struct world w;

    (void)state;
    world_init(&w, false);
    tsn_respond_free(&w.respond);
    w.respond = tsn_respond_new(&w.policy, &options);
    fire_text(&w, "A", 166); /* at the limit */
    assert_int_equal(only(&w)->alerts[0].annotations->count, 1);
    assert_int_equal(tsn_respond_counters(w.respond)->limit_alerts, 0);
    fire_text(&w, "B", 1); /* none of it fits */
    assert_int_equal(w.effects.len, 0);
    assert_int_equal(tsn_respond_counters(w.respond)->limit_alerts, 1);
    w.now += 1000;
    fire_text(&w, "A", 167); /* one over: told without its text, and now there is room */
    assert_int_equal(only(&w)->alerts[0].annotations->count, 0);
    assert_int_equal(tsn_respond_counters(w.respond)->cut_alerts, 1);
    fire_text(&w, "B", 134); /* one over what is left beside A: cut */
    assert_int_equal(only(&w)->alert_count, 2);
    assert_int_equal(only(&w)->alerts[1].annotations->count, 0);
    fire_text(&w, "C", 10);
    assert_int_equal(only(&w)->alert_count, 3);
    assert_int_equal(only(&w)->alerts[2].annotations->count, 1);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_severity_by_alert),
        cmocka_unit_test(test_given_severity_is_the_last_word),
        cmocka_unit_test(test_deadlines),
        in_world(test_sev1_unanswered),
        in_world(test_sev1_answered),
        in_world(test_sev2_ladder),
        in_world(test_sev3_and_4),
        in_world(test_spread),
        in_world(test_inhibition),
        in_world(test_severity_rises_in_one_incident),
        in_world(test_pending_is_ignored),
        in_world(test_reopen_within_window),
        in_world(test_downtime_climbs_one_level),
        in_world(test_escalate_by_hand),
        in_world(test_commands_are_idempotent_and_answered),
        in_world(test_severity_by_hand_stands),
        in_world(test_deadline_put_in_the_past),
        cmocka_unit_test(test_shadow_pages_nobody),
        in_world(test_old_offsets_are_skipped),
        in_world(test_restore),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_text_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
