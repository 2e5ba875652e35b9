/*
 * scenario: what goes wrong on the demo's day, and by hand what the shipped rules make of it.
 *
 * Each span below is worked out from the rule, its `for`, its window and the 15 s between scrapes and between steps, then widened
 * by about a minute; tests/unit/test_demo.c holds it against the sequential reference for several seeds. The hours are far enough apart
 * that no incident meets another of its service within the reopen window (30 m).
 */
#include "demo/demo_int.h"

#include <string.h>

const char *const demo_services[SERVICES] = { "hook-receiver", "model-metrics", "workflow-coordinator", "postgresql", "kafka", "redis" };

const char *tsn_demo_service_name(size_t index) { return index < SERVICES ? demo_services[index] : NULL; }

#define OPENED TSN_DEMO_TYPE(TSN_INC_OPENED)
#define RESOLVED TSN_DEMO_TYPE(TSN_INC_RESOLVED)
#define BREACHED TSN_DEMO_TYPE(TSN_INC_BREACHED)
#define ESCALATED TSN_DEMO_TYPE(TSN_INC_ESCALATED)

/* up is 0 for 8 minutes. Down after 30 s; Degraded (5 m average) after 2 m, until the last 0 has left its window. Throughput is
 * below its floor for some 6 of the 10 minutes it would take. */
static const struct expected_alert down_alerts[] = {
    { "ServiceDown", MODEL_METRICS, 0.4, 1.3, 7.9, 8.8 },
    { "ServiceDegraded", MODEL_METRICS, 1.9, 2.9, 12.4, 13.6 },
};
static const struct expected_incident down_incidents[] = { { MODEL_METRICS, 2, OPENED | RESOLVED } };

/* No scrape at all for 16 minutes: absent after the lookback of 5 m, and `for` of 5 m. */
static const struct expected_alert vanished_alerts[] = { { "HookReceiverSilent", HOOK_RECEIVER, 9.4, 10.8, 15.9, 16.8 } };
static const struct expected_incident vanished_incidents[] = { { HOOK_RECEIVER, 2, OPENED | RESOLVED } };

/* 5xx climb to 20 % within 5 minutes and stay for 65. The share over 5 m is 0.4 % x t^2 at first: 1 % at 1.6 m, 10 % at 5 m; after the
 * end it falls by 4 % a minute. Over 1 h: 1.44 % at 6.8 m. Over 6 h: 0.6 % between 5 m (played alone) and 13 m; over 30 m: below
 * 0.6 % at 99 m. Over 3 d: 0.1 % within 6 m, and over 6 h until the errors have left it, at about 428 m.
 * Nobody answers: the 30 m to respond are breached, L2 after 1 h, L3 after 3 h more. */
static const struct expected_alert error_alerts[] = {
    { "HighErrorRate", WORKFLOW_COORDINATOR, 2.5, 5, 73.5, 75.5 },
    { "RequestsFailing", WORKFLOW_COORDINATOR, 6, 8.5, 71.5, 73.5 },
    { "ErrorBudgetBurnFast", WORKFLOW_COORDINATOR, 7, 10.5, 73.4, 75.5 },
    { "ErrorBudgetBurnMedium", WORKFLOW_COORDINATOR, 19, 30, 97.5, 100.5 },
    { "ErrorBudgetBurnSlow", WORKFLOW_COORDINATOR, 60.5, 68, 423, 431 },
};
static const struct expected_incident error_incidents[] = {
    { WORKFLOW_COORDINATOR, 2, OPENED | BREACHED | ESCALATED | RESOLVED },
};

/* p95 passes 0.5 s when 31 % of the 5 m are slow (1.6 m), `for` 3 m; p99 stays below 0.75 s. */
static const struct expected_alert slow_alerts[] = { { "HighResponseTime", HOOK_RECEIVER, 3.5, 6, 22, 24.8 } };
static const struct expected_incident slow_incidents[] = { { HOOK_RECEIVER, 3, OPENED | RESOLVED } };

/* 14 failing hooks a second: the 5 m rate passes 10 at 3.6 m, `for` 2 m; below 10 again 1.4 m after the end. */
static const struct expected_alert hook_alerts[] = { { "HookProcessingFailure", HOOK_RECEIVER, 5, 6.7, 12.6, 14.5 } };
static const struct expected_incident hook_incidents[] = { { HOOK_RECEIVER, 3, OPENED | RESOLVED } };

/* No pattern for 150 minutes: the hour is empty at 60, `for` 30 m; the first pattern afterwards ends it. */
static const struct expected_alert dry_alerts[] = { { "IntelligencePatternAnomaly", MODEL_METRICS, 87, 92, 149.9, 155 } };
static const struct expected_incident dry_incidents[] = { { MODEL_METRICS, 4, OPENED | RESOLVED } };

/* A quarter of the lines are errors, from well below a hundredth: 5 % of 5 m after about a minute, `for` 5 m. */
static const struct expected_alert log_alerts[] = { { "LogErrorShare", POSTGRESQL, 5.2, 8, 17, 20.8 } };
static const struct expected_incident log_incidents[] = { { POSTGRESQL, 3, OPENED | RESOLVED } };

/* A line of a kind never seen, at once and again every 3 minutes: too few for a share of errors. The template is discovered once, the
 * alert stands as long as that is in the 5 m. Alone it needs an hour before, in which the service is learned. */
static const struct expected_alert novel_alerts[] = { { "NewErrorPattern", REDIS, 0, 0.7, 4.9, 5.8 } };
static const struct expected_incident novel_incidents[] = { { REDIS, 3, OPENED | RESOLVED } };

/* As service-down for 6 minutes, thrice: all core services down is Sev 1. It is over before the 15 m to answer are. */
static const struct expected_alert outage_alerts[] = {
    { "ServiceDown", CORE_SERVICES, 0.4, 1.3, 5.9, 6.8 },
    { "ServiceDegraded", CORE_SERVICES, 1.9, 2.9, 10.4, 11.6 },
};
static const struct expected_incident outage_incidents[] = { { CORE_SERVICES, 1, OPENED | RESOLVED } };

#define EXPECT(x) x##_alerts, TSN_ARRAY_LEN(x##_alerts), x##_incidents, TSN_ARRAY_LEN(x##_incidents)

const struct scenario demo_scenarios[] = {
    { "service-down", "model-metrics dies for 8 minutes", "03:00 model-metrics dies", TROUBLE_DOWN, MODEL_METRICS,
      3 * 60, 8, 20, 25, EXPECT(down) },
    { "vanished", "hook-receiver is not scraped for 16 minutes: no sample of up at all", "05:00 hook-receiver vanishes from the scrapes",
      TROUBLE_VANISHED, HOOK_RECEIVER, 5 * 60, 16, 20, 25, EXPECT(vanished) },
    { "new-error", "redis logs an error never seen before, for 10 minutes", "08:00 redis logs an error of a new kind", TROUBLE_NOVEL, REDIS,
      8 * 60, 10, 80, 25, EXPECT(novel) },
    { "errors", "5xx of workflow-coordinator climb to 20 % for 70 minutes; nobody answers the page",
      "10:00 errors of workflow-coordinator climb", TROUBLE_ERRORS, WORKFLOW_COORDINATOR, 10 * 60, 70, 90, 375, EXPECT(error) },
    { "latency", "response times of hook-receiver double for 20 minutes", "12:30 response times of hook-receiver double", TROUBLE_SLOW,
      HOOK_RECEIVER, 12 * 60 + 30, 20, 20, 25, EXPECT(slow) },
    { "hooks-fail", "14 hooks a second fail in hook-receiver for 12 minutes", "15:00 hooks fail in hook-receiver", TROUBLE_HOOKS,
      HOOK_RECEIVER, 15 * 60, 12, 20, 25, EXPECT(hook) },
    { "patterns-dry", "model-metrics finds no pattern for 150 minutes", "17:00 the patterns of model-metrics dry up", TROUBLE_DRY,
      MODEL_METRICS, 17 * 60, 150, 75, 25, EXPECT(dry) },
    { "log-errors", "postgresql logs errors for 15 minutes", "20:00 errors burst in the log of postgresql", TROUBLE_LOGS, POSTGRESQL,
      20 * 60, 15, 20, 25, EXPECT(log) },
    { "outage", "all three core services are down for 6 minutes", "22:00 all core services are down", TROUBLE_DOWN, CORE_SERVICES,
      22 * 60, 6, 20, 25, EXPECT(outage) },
};
const size_t demo_scenario_count = TSN_ARRAY_LEN(demo_scenarios);

const char *tsn_demo_scenario_name(size_t index, const char **about)
{
    static const char *const others[2][2] = { { "all", "the whole day, with every scenario" },
                                              { "quiet", "an hour in which nothing happens" } };
    const char *name = NULL, *text = NULL;

    if (index < 2) {
        name = others[index][0];
        text = others[index][1];
    } else if (index - 2 < demo_scenario_count) {
        name = demo_scenarios[index - 2].name;
        text = demo_scenarios[index - 2].about;
    }
    if (about)
        *about = text;
    return name;
}

bool demo_trouble(unsigned selected, enum trouble trouble, enum service service, int64_t ts_ms, int64_t *into_ms)
{
    for (size_t i = 0; i < demo_scenario_count; i++) {
        const struct scenario *s = &demo_scenarios[i];
        int64_t at_ms = DEMO_DAY_MS + s->at_min * MINUTE_MS;

        if (!(selected >> i & 1) || s->trouble != trouble || ts_ms < at_ms || ts_ms >= at_ms + s->lasts_min * MINUTE_MS)
            continue;
        if (s->service != service && !(s->service == CORE_SERVICES && service <= WORKFLOW_COORDINATOR))
            continue;
        if (into_ms)
            *into_ms = ts_ms - at_ms;
        return true;
    }
    return false;
}

const char *tsn_demo_caption(const struct tsn_demo *demo, int64_t ts_ms)
{
    const char *caption = NULL;

    for (size_t i = 0; i < demo_scenario_count; i++)
        if ((demo_selected(demo) >> i & 1) && ts_ms >= DEMO_DAY_MS + demo_scenarios[i].at_min * MINUTE_MS)
            caption = demo_scenarios[i].caption;
    return caption;
}
