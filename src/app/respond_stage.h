/*
 * respond_stage: the shell of STAGE 3: one owner at a time turns `alerts` and `commands` into incidents.
 *
 * Ownership is the consumer group's: whoever is assigned both partitions owns, others stand by. The owner reads both topics by itself
 * from where Redis stands, applies each input by one script, and publishes the outbox in transactions of the id `respond`:
 * events → `incidents`, snapshots and tombstones → `respond`, the committed offsets with the mark of what is published.
 *
 *     alerts, commands ─▶ core ─▶ one script (Redis) ─▶ pages ─▶ told
 *                                       └▶ outbox ─▶ one transaction (incidents, respond, offsets + mark) ─▶ trim
 *
 * What ends badly begins anew from what is stored: a failed script throws the core away and loads it again; a failed transaction
 * ends the session, and the next one learns from the committed mark whether it went through. A Redis that is behind that mark, or
 * empty, is rebuilt from `respond`.
 *
 * While Redis is away nothing is lost: the inputs wait in Kafka. After redis_grace alerts of Sev 1 and 2 page on the direct path.
 *
 * Threads: run in one; stop, drain, reload and get_stats from any.
 */
#ifndef TOCSIN_RESPOND_STAGE_H
#define TOCSIN_RESPOND_STAGE_H

#include "tocsin/config.h"
#include "tocsin/respond_record.h"

struct tsn_respond_stage_options {
    const struct tsn_config *config; /* borrowed for the stage's life */
    const struct tsn_policy *policy; /* borrowed; NULL: what config.respond names, or the built-in one */
    /* The incident clock in ms; NULL: Redis TIME. */
    int64_t (*clock)(void *arg);
    void *clock_arg;
    bool clock_follows_steps; /* simulated time: when a transition is applied the clock is not before its step */
    /* Tells people; false: not told, try again later. The same dedup_key may come twice and must then reach people once.
     * NULL: pages become log lines. Called from the stage's thread, never in shadow mode. */
    bool (*tell)(void *arg, const struct tsn_page *page);
    void *tell_arg;
};

struct tsn_respond_stage_stats {
    bool owner, redis_up, ready;
    int64_t generation, alerts_applied, commands_applied, outbox_waiting, incidents_open;
    uint64_t transitions, commands, events, transactions, pages, direct_pages, bad_records;
    uint64_t sessions, takeovers, rebuilds, fenced, store_errors, opened, resolved, escalated, breached;
};

struct tsn_respond_stage;
/* NULL with INVALID (policy files). */
struct tsn_respond_stage *tsn_respond_stage_new(const struct tsn_respond_stage_options *options, struct tsn_error *error);
/* Runs until stopped or, after drain, until everything is applied and published. Anything but OK: it cannot go on. */
enum tsn_err tsn_respond_stage_run(struct tsn_respond_stage *stage, struct tsn_error *error);
void tsn_respond_stage_stop(struct tsn_respond_stage *stage);
/* Leave when the ends that `alerts` and `commands` have now are applied and published. */
void tsn_respond_stage_drain(struct tsn_respond_stage *stage);
/* Reads the policy files again. INVALID: the policy before stays. Taken by the stage within its next turn: deadlines and timers of open
 * incidents are then computed anew. Any thread; nothing to do where the policy was given by the caller. */
enum tsn_err tsn_respond_stage_reload(struct tsn_respond_stage *stage, struct tsn_error *error);
void tsn_respond_stage_get_stats(struct tsn_respond_stage *stage, struct tsn_respond_stage_stats *stats);
void tsn_respond_stage_free(struct tsn_respond_stage **stage);

#endif
