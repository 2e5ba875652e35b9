/*
 * policy: who is told what, when, and how bad a thing is (L1).
 *
 * Two plain values: the service catalogue (tiers, names) and the escalation policy (severities,
 * deadlines, levels, inhibition). RESPOND reads nothing else, so the same policy gives the same
 * incidents live, in replay and in the simulator. Built-in defaults are the platform's procedures
 * as corrected; docker/services.yaml and docker/escalation.yaml say the same in words.
 *
 * services.yaml: a list of services. Unknown keys are errors that name line and column.
 *
 *     services:
 *       - name: hook-receiver            # required, unique; what an incident shows
 *         tier: 1                        # required, 1–4
 *         aliases: [hookreceiver-api]    # other values of the service or job label; ASCII case ignored
 *         core: true                     # all core services down = Sev 1; default false
 *         down: 2                        # severity when it is down; default by tier (below)
 *         availability: 99.95            # SLA in percent; optional, like the following
 *         latency_p95: 500ms
 *         latency_p99: 1s
 *         throughput: 1000               # floor, per minute
 *         error_rate: 0.1                # percent
 *
 * escalation.yaml: every key optional; what is left out keeps the built-in value.
 *
 *     people:                            # who sits at a level; names are the notifier's
 *       L1: [on-call-engineer]
 *       L2: [platform-team-lead]
 *       L3: [cto, platform-lead]
 *     severities:
 *       1:
 *         respond: 15m                   # to be acknowledged by
 *         resolve: 4h
 *         page: [L1, L3]                 # paged at once
 *         tell: []                       # told without a page
 *         channel: "@channel"            # "@channel" | "@here" | "plain" | "silent"
 *         commander: platform-lead       # incident commander proposed
 *         climb:                         # to the next level, counted from when the level was paged
 *           L1: { unanswered: 15m, unresolved: 30m }
 *           L2: { unanswered: 15m, unresolved: 30m }
 *     labels: { critical: 2, warning: 3, info: 4 }     # severity label → severity
 *     outage_alerts: [ServiceDown, AllRequestsFailing]   # a firing one means: this service is down
 *     tier_down: { 1: 2, 2: 2, 3: 3, 4: 4 }            # severity of an outage by tier
 *     inhibit:
 *       - { source: ServiceDown, target: ServiceDegraded, equal: [service] }
 *     reopen_window: 30m                 # a resolved incident reopens within it
 *
 * Limits: 10,000 services, 64 aliases each, 64 names in any other list, 1 MiB of text.
 */
#ifndef TOCSIN_POLICY_H
#define TOCSIN_POLICY_H

#include "tocsin/model.h"

#define TSN_SEVERITIES 4
#define TSN_LEVELS 3

/* Severities and levels are used as indices 1…4 and 1…3; element 0 is unused. */

struct tsn_texts {
    char **items; /* owned */
    size_t len, cap;
};

struct tsn_service {
    char *name; /* owned */
    struct tsn_texts aliases;
    int32_t tier;
    bool core;
    int32_t down; /* severity when down; 0: by tier */
    double availability_percent, throughput_per_min, error_rate_percent; /* NaN: none */
    int64_t latency_p95_ms, latency_p99_ms;                              /* -1: none */
};

struct tsn_catalogue {
    struct tsn_service *items;
    size_t len, cap;
    struct tsn_map by_name; /* lower-case name or alias → index + 1 */
};

struct tsn_climb {
    int64_t unanswered_ms, unresolved_ms; /* -1: never */
};

enum tsn_page_channel { TSN_PAGE_CHANNEL, TSN_PAGE_HERE, TSN_PAGE_PLAIN, TSN_PAGE_SILENT };
const char *tsn_page_channel_name(enum tsn_page_channel channel); /* "@channel", … */

struct tsn_severity_policy {
    int64_t respond_ms, resolve_ms;
    bool page[TSN_LEVELS + 1]; /* at once, together */
    bool tell[TSN_LEVELS + 1];
    enum tsn_page_channel channel;
    char *commander; /* owned */
    struct tsn_climb climb[TSN_LEVELS + 1]; /* from this level to the next; L3 has none */
};

struct tsn_inhibit {
    char *source, *target; /* alert names; owned */
    struct tsn_texts equal; /* labels that must agree */
};

struct tsn_escalation {
    struct tsn_texts people[TSN_LEVELS + 1];
    struct tsn_severity_policy severities[TSN_SEVERITIES + 1];
    struct tsn_map label_severity; /* lower-case value of the label `severity` → (void *)severity */
    struct tsn_texts outage_alerts;
    int32_t tier_down[5];
    struct tsn_inhibit *inhibits;
    size_t inhibit_count, inhibit_cap;
    int64_t reopen_window_ms;
};

struct tsn_policy {
    struct tsn_catalogue services;
    struct tsn_escalation escalation;
    struct tsn_texts group_by; /* default [service]; from the main configuration */
};

/* The platform's own catalogue and matrix, corrected. Release with tsn_policy_release. */
void tsn_policy_init_default(struct tsn_policy *policy);
void tsn_policy_release(struct tsn_policy *policy);
/* Replaces the catalogue by the file's. On error *policy is unchanged; the message names file:line:col. */
enum tsn_err tsn_policy_load_services(struct tsn_policy *policy, const char *file, const char *text, size_t len,
                                      struct tsn_error *error);
/* Lays the file over what *policy has. On error *policy is unchanged. */
enum tsn_err tsn_policy_load_escalation(struct tsn_policy *policy, const char *file, const char *text,
                                        size_t len, struct tsn_error *error);

/* NULL if not in the catalogue. ASCII case is ignored. Borrowed. */
const struct tsn_service *tsn_policy_service(const struct tsn_policy *policy, const char *name);
/* True if `name` is in outage_alerts. */
bool tsn_policy_is_outage(const struct tsn_policy *policy, const char *alertname);

void tsn_texts_add(struct tsn_texts *texts, const char *text, size_t len);
bool tsn_texts_has(const struct tsn_texts *texts, const char *text);
void tsn_texts_release(struct tsn_texts *texts);

#endif
