/* demo_int: what scenario, generator and judge share. Times inside a scenario are minutes from its start. */
#ifndef TOCSIN_DEMO_INT_H
#define TOCSIN_DEMO_INT_H

#include "tocsin/demo.h"

#define MINUTE_MS INT64_C(60000)
/* 2026-01-05T00:00:00Z, a Monday. */
#define DEMO_DAY_MS INT64_C(1767571200000)
#define DEMO_DAY_MINUTES 1440

enum service {
    HOOK_RECEIVER, MODEL_METRICS, WORKFLOW_COORDINATOR, POSTGRESQL, KAFKA, REDIS, SERVICES,
    NO_SERVICE = SERVICES,
    CORE_SERVICES /* in tables: each of the first three */
};
extern const char *const demo_services[SERVICES];

/* What goes wrong. */
enum trouble { TROUBLE_DOWN, TROUBLE_VANISHED, TROUBLE_ERRORS, TROUBLE_SLOW, TROUBLE_HOOKS, TROUBLE_DRY, TROUBLE_LOGS, TROUBLE_NOVEL };

struct expected_alert {
    const char *rule;
    enum service service;
    double fires_from, fires_to, ends_from, ends_to; /* minutes from the scenario's start */
};
struct expected_incident {
    enum service service;
    int32_t severity;
    unsigned types; /* TSN_DEMO_TYPE bits; `updated` and `note` are free */
};

struct scenario {
    const char *name, *about, *caption;
    enum trouble trouble;
    enum service service; /* or CORE_SERVICES */
    int32_t at_min, lasts_min; /* of the day */
    int32_t before_min, after_min; /* played around it when alone: before its start, after its end */
    const struct expected_alert *alerts;
    size_t alert_count;
    const struct expected_incident *incidents;
    size_t incident_count;
};
extern const struct scenario demo_scenarios[];
extern const size_t demo_scenario_count;

struct tsn_demo_generator;

/* Which scenarios are played: bit i is demo_scenarios[i]. */
unsigned demo_selected(const struct tsn_demo *demo);
/* Whether `trouble` hits the service at the time; *into_ms (may be NULL): time since its start. */
bool demo_trouble(unsigned selected, enum trouble trouble, enum service service, int64_t ts_ms, int64_t *into_ms);

#endif
