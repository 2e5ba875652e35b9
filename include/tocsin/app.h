/*
 * app: the three stages as threads of one process (L7), for `run`, the demo and tests.
 *
 *     tsn_app_new ─▶ tsn_app_start ─▶ … tsn_app_finished / tsn_app_get_stats … ─▶ tsn_app_stop ─▶ tsn_app_free
 *
 * Each stage owns its consumer, its producer and its core object and runs in sessions: whatever fences it, aborts it or takes a partition
 * away unasked ends the session, drops what is in memory and starts anew from what is committed. So a crash and a hiccup take the same way.
 *
 * Stop order: INGEST closes its last batch and commits (bounded), leaves its group; then DETECT; then RESPOND; at most 10 s each.
 * Threads: the functions here are called from one thread, tsn_app_get_stats from any.
 */
#ifndef TOCSIN_APP_H
#define TOCSIN_APP_H

#include "tocsin/config.h"
#include "tocsin/detect.h"
#include "tocsin/rules.h"

struct tsn_app;

enum { TSN_STAGE_INGEST = 1, TSN_STAGE_DETECT = 2, TSN_STAGE_RESPOND = 4, TSN_STAGE_ALL = 7 };

struct tsn_app_options {
    const struct tsn_config *config; /* borrowed for the app's life */
    unsigned stages;                 /* TSN_STAGE_… */
    bool until_end; /* every stage stops at the end its input has when the stage before it has finished */
    /* The incident clock, ms since the epoch; NULL: Redis TIME. */
    int64_t (*incident_clock)(void *arg);
    void *incident_clock_arg;
    /* Simulated time: when a transition is applied the clock is not before its step, however late the reading is. */
    bool incident_clock_follows_steps;
    /* INGEST's sender calls it before each transaction; tests make it a slow sink. NULL: nothing. */
    void (*before_transaction)(void *arg);
    void *before_transaction_arg;
};

/* Reads the rule files, publishes the set if its hash is new. INVALID: configuration or rules (each error is logged with file, line
 * and column) · UNREACHABLE · NOT_FOUND: a topic is missing (`tocsin topics apply`). */
struct tsn_app *tsn_app_new(const struct tsn_app_options *options, struct tsn_error *error);
enum tsn_err tsn_app_start(struct tsn_app *app, struct tsn_error *error);
/* SIGHUP: reads the rule files again and publishes them if their hash is not the last one's. */
enum tsn_err tsn_app_reload(struct tsn_app *app, struct tsn_error *error);
/* Housekeeping of the calling thread: new rule sets from the topic, changed rule files. Call it about twice a second. */
void tsn_app_poll(struct tsn_app *app);
/* until_end: all stages are through, or one gave up. */
bool tsn_app_finished(const struct tsn_app *app);
/* A stage that cannot go on (two workers on one slot, a format of a newer version): its word; NULL while all is well. */
const char *tsn_app_failure(struct tsn_app *app);
/* Ordered stop, 10 s at most. False: a stage hangs in a call to the broker; it still uses app and configuration, so the process should end now (what it had
 * open is undone as after a crash). tsn_app_free then frees nothing. */
bool tsn_app_stop(struct tsn_app *app);
void tsn_app_free(struct tsn_app **app);

/* ---- what it does, for /metrics, status and the summary ------------------------------------ */

#define TSN_APP_MAX_PARTITIONS 1024

struct tsn_app_input {
    char topic[250];
    int32_t partition;
    int64_t next_offset, high_offset; /* lag in records = high - next */
    int64_t watermark_ms;             /* TSN_TIME_NONE: none */
    uint64_t records, events, late, dead_letters;
    bool idle, blocked, paused; /* blocked: silent, not proved empty; paused: ahead of the others (align) */
};
struct tsn_app_stats {
    struct {
        bool running, ready;
        uint64_t records, events, samples, deltas, irrelevant, dead_letters, late_moved, late_dropped, limits;
        uint64_t commits, aborts, sessions, fenced;
        int64_t commit_us_total, first_record_ns, last_commit_ns; /* monotonic */
    } ingest;
    struct {
        bool running, ready;
        uint64_t batches, samples, steps, evaluations, rule_errors, transitions, late_dropped, late_moved, series, bad_records, limits, limit_dropped;
        uint64_t commits, aborts, sessions, fenced, takeovers;
        struct tsn_mining_stats mining;
        int64_t step_us_total, commit_us_total, watermark_ms, rule_set, blind_since_ms, last_commit_ns;
        int32_t partitions;
    } detect;
    struct {
        bool running, ready;
        uint64_t transitions, commands, events, incidents_open, opened, commits, sessions, bad_records;
        bool redis_up;
    } respond;
    size_t input_count;
    struct tsn_app_input inputs[TSN_APP_MAX_PARTITIONS];
};
/* *stats is about 300 kB: not for a stack. */
void tsn_app_get_stats(struct tsn_app *app, struct tsn_app_stats *stats);

/* A rule that this worker runs, over all its partitions. Texts are borrowed for the visit. */
struct tsn_app_rule {
    char *group, *rule, *file;
    bool is_alert, ever_matched; /* ever: since the worker took it over */
    uint64_t evaluations, errors, last_count; /* last_count: series of the last result */
    size_t pending, firing;
    int64_t last_step_ms;
    char last_error[200];
};
/* Rules in file order; a snapshot of at most a second ago. The visit must not call the app. Any thread. */
void tsn_app_each_rule(struct tsn_app *app, void (*visit)(const struct tsn_app_rule *rule, void *arg), void *arg);

/* ---- rule files ---------------------------------------------------------------------------- */

struct tsn_rule_sources {
    struct tsn_rule_source *items; /* file and text owned */
    size_t len, cap;
};
/* Every file that config.rules names, sorted, named relative to the configuration's folder. A pattern that matches nothing is an error. */
enum tsn_err tsn_app_read_rules(const struct tsn_config *config, struct tsn_rule_sources *out, struct tsn_error *error);
void tsn_rule_sources_release(struct tsn_rule_sources *sources);
/* `rules apply`: publishes the configured files unless the last set is the same; *number is the set that holds them. */
enum tsn_err tsn_app_publish_rules(const struct tsn_config *config, int64_t *number, struct tsn_error *error);
/* `rules list`: every set of topic rules in order. Arguments are borrowed for the visit. */
enum tsn_err tsn_app_each_rule_set(const struct tsn_config *config,
                                   void (*visit)(void *arg, int64_t number, const char *hash, int64_t published_ms,
                                                 const struct tsn_rule_sources *sources),
                                   void *arg, struct tsn_error *error);

#endif
