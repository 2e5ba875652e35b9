/*
 * demo: a day of the platform, made up, and what must come of it (L7; this half is pure).
 *
 *   generator   (seed, scenario) → events of bridge.metrics, bridge.logs, bridge.hooks, in order of event time
 *   expectation by hand from the scenario: which alerts fire and end when, which incidents are opened
 *   judge       holds what was seen against the expectation
 *
 * The platform: hook-receiver, model-metrics, workflow-coordinator; postgresql, kafka, redis. Traffic follows the hour,
 * with jitter. A scenario is one thing that goes wrong, at its own hour; `all` plays the whole day with all of them,
 * `quiet` some hours without any, a single one only the hours around it.
 *
 * Guarantees: the same seed and scenario give the same bytes on every machine (no libm, no clock, no I/O). What is expected
 * holds for every seed: thresholds are passed or missed by a wide margin, and each time is a span. Event times are of a fixed
 * day in the past, as the future bound refuses others. The expectation is about the shipped rules (docker/rules:
 * omninode.yaml and logs.yaml) and the built-in escalation policy.
 */
#ifndef TOCSIN_DEMO_H
#define TOCSIN_DEMO_H

#include "tocsin/model.h"

/* ---- generator ---------------------------------------------------------------------------- */

enum tsn_demo_topic { TSN_DEMO_METRICS, TSN_DEMO_LOGS, TSN_DEMO_HOOKS, TSN_DEMO_TOPICS };
const char *tsn_demo_topic_name(enum tsn_demo_topic topic);

/* Names of what can be played, "all" and "quiet" among them; *about (may be NULL) says what it is. NULL after the last. */
const char *tsn_demo_scenario_name(size_t index, const char **about);

/* The services that speak, "hook-receiver" first; NULL after the last. */
const char *tsn_demo_service_name(size_t index);

struct tsn_demo;
/* NOT_FOUND: no such scenario; the message lists them. */
struct tsn_demo *tsn_demo_new(uint64_t seed, const char *scenario, struct tsn_error *error);
void tsn_demo_free(struct tsn_demo **demo);
/* The span of event time that is played: [start, end). */
int64_t tsn_demo_start_ms(const struct tsn_demo *demo);
int64_t tsn_demo_end_ms(const struct tsn_demo *demo);

/* One record to produce: a JSON event, or an array of events of one service and time. */
struct tsn_demo_event {
    enum tsn_demo_topic topic;
    const char *key; /* the service; static */
    int64_t ts_ms;
    const char *data; /* borrowed until the next call */
    size_t len;
};
/* Times never go back. False at the end. */
bool tsn_demo_next(struct tsn_demo *demo, struct tsn_demo_event *event);
/* What begins at this moment or lies nearest before it: one line for the view; NULL: nothing yet. */
const char *tsn_demo_caption(const struct tsn_demo *demo, int64_t ts_ms);

/* How a service stood at its last scrape, for the view. */
struct tsn_demo_gauge {
    const char *service; /* static */
    bool scraped, up;
    double requests_per_min, error_share; /* of the last scrape's interval */
};
#define TSN_DEMO_GAUGES 3 /* the core services */
void tsn_demo_gauges(const struct tsn_demo *demo, struct tsn_demo_gauge out[TSN_DEMO_GAUGES]);

/* ---- judge -------------------------------------------------------------------------------- */

#define TSN_DEMO_TYPE(type) (1u << (type))

struct tsn_demo_judge;
/* `demo` is borrowed for the judge's life. */
struct tsn_demo_judge *tsn_demo_judge_new(const struct tsn_demo *demo);
void tsn_demo_judge_free(struct tsn_demo_judge **judge);
/* Each transition and each incident event, in any order between the two kinds; a repeat (same alert, state and step; same
 * incident and seq) is taken once. True if it is news. */
bool tsn_demo_judge_alert(struct tsn_demo_judge *judge, const struct tsn_transition *transition);
bool tsn_demo_judge_incident(struct tsn_demo_judge *judge, const struct tsn_incident_event *event);

struct tsn_demo_verdict {
    size_t expected, seen; /* alerts and incidents together; seen: those that came as expected */
    struct tsn_demo_lines {
        char **items; /* owned */
        size_t len, cap;
    } missing, unexpected;
};
/* As things stand. Alert by rule and service, in its spans of time; incident by group, final severity and types of events
 * (`updated` and `note` are free). Release with tsn_demo_verdict_release. */
void tsn_demo_judge_verdict(const struct tsn_demo_judge *judge, struct tsn_demo_verdict *verdict);
void tsn_demo_verdict_release(struct tsn_demo_verdict *verdict);

/* ---- the play (the other half: threads, clocks, a broker) ---------------------------------- */

struct tsn_demo_options {
    const char *scenario;
    uint64_t seed;
    const char *brokers; /* NULL: librdkafka's mock cluster in this process */
    double speed;        /* simulated seconds a second; 0: as fast as the stages follow */
    bool json;           /* lines of JSON instead of a view for people */
};
/*
 * Plays the scenario through all three stages in this process and writes what happens to stdout. Brings its own Redis. With `brokers` it
 * creates topics and groups with a prefix of this run, and leaves them there. Call it before any thread is started: it forks
 * Redis and blocks SIGINT and SIGTERM, which end the play in order. *as_expected is the judge's word.
 * NOT_FOUND: no such scenario, or no redis-server · UNREACHABLE · TIMEOUT: the stages stand still.
 */
enum tsn_err tsn_demo_play(const struct tsn_demo_options *options, bool *as_expected, struct tsn_error *error);

#endif
