/*
 * Goal: the platform's incident procedures, row by row, are what the files under docker/ do.
 *
 * Method: the shipped rules, service catalogue and escalation policy are loaded as a worker loads them. A row of a table below is a row of
 * the procedures: the alert that tells of it must be in the rules, its labels come from there, RESPOND turns it into an incident,
 * and severity, deadlines, channel, commander and who is paged are compared. Where the procedures contradict themselves the row says
 * what holds. Objectives in the catalogue must be the thresholds in the rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tocsin/respond.h"
#include "tocsin/rules.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define T0 INT64_C(1700000000000)

static struct tsn_policy policy;
static struct tsn_rule_set *rules;

static char *read_file(const char *path)
{
    struct tsn_buf out = TSN_BUF_INIT;
    FILE *in = fopen(path, "rb");
    size_t got;

    assert_non_null(in);
    while ((got = fread(tsn_buf_reserve(&out, 4096), 1, 4096, in)) > 0)
        out.len += got;
    fclose(in);
    (void)tsn_buf_str(&out);
    return tsn_buf_take(&out, NULL);
}

static int load_all(void **state)
{
    static const char *const files[] = { "docker/rules/omninode.yaml", "docker/rules/logs.yaml", "docker/rules/watchdog.yaml" };
    struct tsn_rule_source sources[TSN_ARRAY_LEN(files)];
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_error error = { .code = TSN_OK };
    char *services = read_file("docker/services.yaml"), *escalation = read_file("docker/escalation.yaml"), *texts[TSN_ARRAY_LEN(files)];

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(files); i++) {
        texts[i] = read_file(files[i]);
        sources[i] = (struct tsn_rule_source){ files[i], texts[i], strlen(texts[i]) };
    }
    rules = tsn_rule_set_load(sources, TSN_ARRAY_LEN(files), &(struct tsn_rule_load_options){ 0 }, &errors);
    assert_non_null(rules);
    tsn_policy_init_default(&policy);
    assert_int_equal(tsn_policy_load_services(&policy, "services.yaml", services, strlen(services), &error), TSN_OK);
    assert_int_equal(tsn_policy_load_escalation(&policy, "escalation.yaml", escalation, strlen(escalation), &error), TSN_OK);
    tsn_rule_errors_release(&errors);
    for (size_t i = 0; i < TSN_ARRAY_LEN(files); i++)
        tsn_free(texts[i]);
    tsn_free(services);
    tsn_free(escalation);
    return 0;
}

static int release_all(void **state)
{
    TSN_UNUSED(state);
    tsn_rule_set_free(&rules);
    tsn_policy_release(&policy);
    return 0;
}

/* ---- the rules ---------------------------------------------------------------------------- */

/* The alert of that name; of several (one a service), the one whose expression names the service. NULL: none. */
static const struct tsn_rule *rule_of(const char *name, const char *service)
{
    const struct tsn_rule *any = NULL;

    for (size_t g = 0; g < rules->group_count; g++)
        for (size_t r = 0; r < rules->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &rules->groups[g].rules[r];

            if (!rule->is_alert || strcmp(rule->name, name) != 0)
                continue;
            any = rule;
            if (service && strstr(rule->expr_text, service))
                return rule;
        }
    return any;
}

static const char *text_of(const struct tsn_rule_text *texts, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(texts[i].name, name) == 0)
            return texts[i].value;
    return NULL;
}

static const char *label_of(const struct tsn_rule *rule, const char *name)
{
    return text_of(rule->labels, rule->label_count, name);
}

/* ---- §1, §4, §6: from an alert to who is told what, until when ------------------------------ */

struct row {
    const char *row, *alert, *services; /* services apart by spaces; the last one's incident is looked at */
    int severity, more; /* more: raised to this by a person (0: not), where no series of the platform can tell */
    int64_t respond, resolve;
    const char *channel, *commander, *paged, *told;
};

#define SEV1 15 * MINUTE, 4 * HOUR, "@channel", "platform-lead", "L1 L3", ""
#define SEV2 30 * MINUTE, 8 * HOUR, "@here", "platform-team-lead", "L1", ""
#define SEV3 2 * HOUR, 24 * HOUR, "plain", "on-call-engineer", "L1", "L2"
#define SEV4 24 * HOUR, 72 * HOUR, "silent", "assigned-engineer", "", "L1"
#define CORE "hook-receiver model-metrics workflow-coordinator"

static const struct row table[] = {
    { "Sev 1: all API endpoints 5xx", "AllRequestsFailing", CORE, 1, 0, SEV1 },
    { "Sev 1: database unavailable", "ServiceDown", "postgresql", 1, 0, SEV1 },
    { "Sev 1: database unavailable, by another of its names", "ServiceDown", "postgres", 1, 0, SEV1 },
    { "Sev 1: complete failure, all services down", "ServiceDown", CORE, 1, 0, SEV1 },
    { "Sev 1: security breach or data leak (a person says so)", "NewErrorPattern", "hook-receiver", 3, 1, SEV1 },
    { "Sev 2: one of the services down (11.8: not Sev 1)", "ServiceDown", "hook-receiver", 2, 0, SEV2 },
    { "Sev 2: one of the services down", "ServiceDown", "model-metrics", 2, 0, SEV2 },
    { "Sev 2: two of the three down", "ServiceDown", "hook-receiver workflow-coordinator", 2, 0, SEV2 },
    { "Sev 2: one of the services of no use", "AllRequestsFailing", "model-metrics", 2, 0, SEV2 },
    { "Sev 2: nothing is heard of it", "HookReceiverSilent", "hook-receiver", 2, 0, SEV2 },
    { "Sev 2: database responses > 10 s (a person says so)", "LogErrorShare", "postgresql", 3, 2, SEV2 },
    { "Sev 2: > 10 % of requests failing", "RequestsFailing", "workflow-coordinator", 2, 0, SEV2 },
    { "Sev 2: > 50 % slowed", "HalfOfRequestsSlow", "hook-receiver", 2, 0, SEV2 },
    { "Sev 2: the month's budget gone in two days (11.6)", "ErrorBudgetBurnFast", "hook-receiver", 2, 0, SEV2 },
    { "Sev 3: < 25 % of requests slow, and up to 50 % (11.16)", "HighResponseTime", "hook-receiver", 3, 0, SEV3 },
    { "Sev 3: p99 over its objective", "HighTailResponseTime", "model-metrics", 3, 0, SEV3 },
    { "Sev 3: endpoints failing", "HighErrorRate", "model-metrics", 3, 0, SEV3 },
    { "Sev 3: monitoring trouble", "ServiceDown", "prometheus", 3, 0, SEV3 },
    { "Sev 3: monitoring trouble, by another name", "ServiceDown", "grafana", 3, 0, SEV3 },
    { "Sev 3: one availability zone", "ServiceDegraded", "hook-receiver", 3, 0, SEV3 },
    { "Sev 3: below the throughput floor", "ThroughputBelowFloor", "workflow-coordinator", 3, 0, SEV3 },
    { "Sev 3: hooks fail", "HookProcessingFailure", "hook-receiver", 3, 0, SEV3 },
    { "Sev 3: hooks are slow", "HookProcessingSlow", "hook-receiver", 3, 0, SEV3 },
    { "Sev 4: documentation", "ServiceDown", "documentation-site", 4, 0, SEV4 },
    { "Sev 4: tools", "ServiceDown", "development-tools", 4, 0, SEV4 },
    { "Sev 4: optional integrations, however loud", "RequestsFailing", "optional-integrations", 4, 0, SEV4 },
    { "Sev 4: patterns dry up", "IntelligencePatternAnomaly", "model-metrics", 4, 0, SEV4 },
    { "Sev 4: budget eaten slowly", "ErrorBudgetBurnSlow", "model-metrics", 4, 0, SEV4 },
    { "Tier 1: authentication down", "ServiceDown", "authentication", 2, 0, SEV2 },
    { "Tier 2: Kafka down", "ServiceDown", "kafka", 2, 0, SEV2 },
    { "Tier 3: Redis down", "ServiceDown", "redis", 3, 0, SEV3 },
    { "Tier 3: log aggregation down", "ServiceDown", "loki", 3, 0, SEV3 },
};

static void fire(struct tsn_respond *respond, int64_t offset, const char *alert, const char *service, const char *row, struct tsn_effects *effects)
{
    const struct tsn_rule *rule = rule_of(alert, service);
    struct tsn_transition t = { .format = 1, .was = TSN_ALERT_PENDING, .state = TSN_ALERT_FIRING, .step_ms = T0, .active_at_ms = T0,
                                .fired_at_ms = T0, .keep_firing_since_ms = TSN_TIME_NONE, .value = 1 };

    if (!rule)
        fail_msg("%s: no rule %s", row, alert);
    t.labels = tsn_labels_of("alertname", alert, "service", service, "severity", label_of(rule, "severity"), NULL);
    t.annotations = tsn_labels_empty();
    tsn_u128_hex(t.labels->id, t.alert_id);
    tsn_respond_transition(respond, offset, T0, &t, effects);
    tsn_transition_release(&t);
}

static void levels_paged(const struct tsn_effects *effects, const char *incident, bool tell, char out[16])
{
    out[0] = '\0';
    for (int level = 1; level <= TSN_LEVELS; level++)
        for (size_t i = 0; i < effects->len; i++) {
            const struct tsn_effect *e = &effects->items[i];

            if (e->kind == TSN_EFFECT_PAGE && strcmp(e->incident_id, incident) == 0 && e->page.level == level && e->page.tell == tell)
                snprintf(out + strlen(out), 16 - strlen(out), "%sL%d", out[0] ? " " : "", level);
        }
}

static void raise_by_hand(struct tsn_respond *respond, const char *incident, int severity, struct tsn_effects *effects)
{
    struct tsn_command c = { .format = 1, .command_id = tsn_strdup("c"), .kind = TSN_CMD_SEVERITY, .incident_id = tsn_strdup(incident),
                             .actor = tsn_strdup("ada"), .reason = tsn_strdup("seen"), .severity = severity };

    tsn_respond_command(respond, 0, T0, &c, effects);
    tsn_command_release(&c);
}

static void check_row(const struct row *row)
{
    struct tsn_respond *respond = tsn_respond_new(&policy, NULL);
    struct tsn_effects effects = { NULL, 0, 0 };
    char *services = tsn_strdup(row->services), *next, *group, paged[16], told[16];
    struct tsn_labels *labels;
    const struct tsn_incident *in;
    const char *service = NULL, *channel = NULL;
    int64_t offset = 0;

    for (char *s = strtok_r(services, " ", &next); s; s = strtok_r(NULL, " ", &next)) {
        tsn_effects_clear(&effects);
        fire(respond, offset++, row->alert, service = s, row->row, &effects);
    }
    labels = tsn_labels_of("service", service, NULL);
    group = tsn_respond_group_key(&policy, labels);
    tsn_labels_unref(labels);
    if (!tsn_respond_of_group(respond, group))
        fail_msg("%s: no incident of %s", row->row, group);
    in = &tsn_respond_of_group(respond, group)->pub;
    if (in->severity != row->severity)
        fail_msg("%s: severity %d, wanted %d", row->row, in->severity, row->severity);
    if (row->more) {
        tsn_effects_clear(&effects);
        raise_by_hand(respond, in->incident_id, row->more, &effects);
        in = &tsn_respond_of_group(respond, group)->pub;
        assert_int_equal(in->severity, row->more);
    }
    for (size_t i = 0; i < effects.len && !channel; i++)
        if (effects.items[i].kind == TSN_EFFECT_PAGE && strcmp(effects.items[i].incident_id, in->incident_id) == 0)
            channel = tsn_page_channel_name(effects.items[i].page.channel);
    levels_paged(&effects, in->incident_id, false, paged);
    levels_paged(&effects, in->incident_id, true, told);
    if (in->respond_by_ms != T0 + row->respond || in->resolve_by_ms != T0 + row->resolve || strcmp(in->commander, row->commander) != 0 || in->level != 1)
        fail_msg("%s: respond within %lld, resolve within %lld, commander %s, level %d", row->row, (long long)(in->respond_by_ms - T0),
                 (long long)(in->resolve_by_ms - T0), in->commander, in->level);
    /* Raised by a person, L1 and L2 may know of it already; who is paged for the severity stands. */
    if (strcmp(paged, row->paged) != 0 && !row->more)
        fail_msg("%s: pages %s, wanted %s", row->row, paged, row->paged);
    if (strcmp(told, row->told) != 0 && !row->more)
        fail_msg("%s: tells %s, wanted %s", row->row, told, row->told);
    if (channel)
        assert_string_equal(channel, row->channel);
    tsn_free(services);
    tsn_free(group);
    tsn_effects_release(&effects);
    tsn_respond_free(&respond);
}

static void test_severity_table(void **state)
{
    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(table); i++)
        check_row(&table[i]);
}

/* ---- §6: the matrix --------------------------------------------------------------------------- */

static void test_escalation_matrix(void **state)
{
    static const struct {
        int severity, from;
        int64_t unanswered, unresolved;
    } rows[] = {
        { 1, 1, 15 * MINUTE, 30 * MINUTE }, /* 11.12: an unanswered page climbs at 15, an unresolved incident at 30 */
        { 1, 2, 15 * MINUTE, 30 * MINUTE },
        { 2, 1, HOUR, HOUR },         /* 11.11: to the team lead within 1 h, not 2 */
        { 2, 2, 3 * HOUR, 3 * HOUR }, /* to the executives when the outage has lasted 4 h */
        { 3, 1, -1, -1 }, { 3, 2, -1, -1 }, { 4, 1, -1, -1 }, { 4, 2, -1, -1 },
        { 1, 3, -1, -1 }, { 2, 3, -1, -1 }, { 3, 3, -1, -1 }, { 4, 3, -1, -1 }, /* level 3 has no next */
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        const struct tsn_climb *climb = &policy.escalation.severities[rows[i].severity].climb[rows[i].from];

        assert_int_equal(climb->unanswered_ms, rows[i].unanswered);
        assert_int_equal(climb->unresolved_ms, rows[i].unresolved);
    }
    assert_true(tsn_texts_has(&policy.escalation.people[1], "on-call-engineer"));
    assert_true(tsn_texts_has(&policy.escalation.people[2], "platform-team-lead"));
    assert_true(tsn_texts_has(&policy.escalation.people[3], "cto") && tsn_texts_has(&policy.escalation.people[3], "platform-lead"));
}

/* ---- §2, §3: tiers and service levels ------------------------------------------------------------ */

/* The number behind the last comparison of the rule's expression. */
static double threshold(const char *alert, const char *service)
{
    const struct tsn_rule *rule = rule_of(alert, service);
    const char *at;

    assert_non_null(rule);
    assert_non_null(strstr(rule->expr_text, service));
    at = strrchr(rule->expr_text, '>') ? strrchr(rule->expr_text, '>') : strrchr(rule->expr_text, '<');
    assert_non_null(at);
    return strtod(at + 1, NULL);
}

static void test_service_levels(void **state)
{
    static const struct {
        const char *service;
        int tier;
        double availability, p95_s, p99_s, floor;
    } rows[] = {
        { "hook-receiver", 1, 99.95, 0.5, 1, 1000 }, { "model-metrics", 2, 99.9, 2, 5, 100 }, { "workflow-coordinator", 2, 99.9, 1, 2, 500 },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) { /* 11.7, 11.14: objectives are of the service, in catalogue and rules alike */
        const struct tsn_service *s = tsn_policy_service(&policy, rows[i].service);

        assert_non_null(s);
        assert_int_equal(s->tier, rows[i].tier);
        assert_true(s->core);
        assert_true(s->availability_percent == rows[i].availability);
        assert_true(s->error_rate_percent == 0.1);
        assert_int_equal(s->latency_p95_ms, (int64_t)(rows[i].p95_s * 1000));
        assert_int_equal(s->latency_p99_ms, (int64_t)(rows[i].p99_s * 1000));
        assert_true(s->throughput_per_min == rows[i].floor);
        assert_true(threshold("HighResponseTime", s->name) == rows[i].p95_s);
        assert_true(threshold("HighTailResponseTime", s->name) == rows[i].p99_s);
        assert_true(threshold("HalfOfRequestsSlow", s->name) == rows[i].p95_s);
        assert_true(threshold("ThroughputBelowFloor", s->name) == rows[i].floor);
    }
    assert_true(tsn_policy_service(&policy, "database")->availability_percent == 99.95);
}

/* ---- §9: the rules, and what was wrong with them ---------------------------------------------------- */

static void test_rules(void **state)
{
    static const struct {
        const char *alert;
        int64_t wait;
        const char *severity, *team, *has, *has_not; /* parts of the expression */
    } rows[] = {
        { "ServiceDown", 30000, "critical", "platform", "max by (service) (up{", "job" },
        { "ServiceDegraded", 2 * MINUTE, "warning", "platform", "avg_over_time(up{", "== 0" },                    /* 11.4 */
        { "HighResponseTime", 3 * MINUTE, "warning", "platform", "sum by (le, service)", "instance" },          /* 11.15 */
        { "HighErrorRate", 2 * MINUTE, "warning", "platform", "service:http_requests:error_ratio_rate5m", "status" }, /* 11.2 */
        { "HookProcessingFailure", 2 * MINUTE, "warning", "development", "sum by (service) (rate(", "hook_type" }, /* 11.10 */
        { "IntelligencePatternAnomaly", 30 * MINUTE, "info", "ai", "increase(intelligence_patterns_discovered_total[1h])", "rate(" }, /* 11.3 */
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        const struct tsn_rule *rule = rule_of(rows[i].alert, NULL);

        assert_non_null(rule);
        assert_int_equal(rule->for_ms, rows[i].wait);
        assert_string_equal(label_of(rule, "severity"), rows[i].severity);
        assert_string_equal(label_of(rule, "team"), rows[i].team);
        assert_non_null(strstr(rule->expr_text, rows[i].has));
        assert_null(strstr(rule->expr_text, rows[i].has_not));
    }
}

/* Whoever is woken finds what it is and what to do, from every alert that can open an incident. */
static void test_every_alert_says_what_to_do(void **state)
{
    TSN_UNUSED(state);
    for (size_t g = 0; g < rules->group_count; g++)
        for (size_t r = 0; r < rules->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &rules->groups[g].rules[r];

            if (!rule->is_alert || strcmp(label_of(rule, "severity"), "none") == 0)
                continue;
            for (size_t n = 0; n < 3; n++)
                if (!text_of(rule->annotations, rule->annotation_count, (const char *[]){ "summary", "description", "runbook_url" }[n]))
                    fail_msg("%s:%u: %s lacks an annotation", rules->groups[g].file, rule->at.line, rule->name);
            assert_non_null(label_of(rule, "team"));
            assert_non_null(tsn_map_get_str(&policy.escalation.label_severity, label_of(rule, "severity")));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_severity_table), cmocka_unit_test(test_escalation_matrix), cmocka_unit_test(test_service_levels),
        cmocka_unit_test(test_rules), cmocka_unit_test(test_every_alert_says_what_to_do),
    };

    return cmocka_run_group_tests(tests, load_all, release_all);
}
