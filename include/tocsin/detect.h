/*
 * detect: STAGE 2, samples → steps → alert transitions (L4). A pure state machine.
 *
 * One object serves one partition of `samples`. What it gives is a function of the batches applied, in
 * their order, and of the rule sets known, to the bit: it has no clock, no I/O and no hash order. The
 * shell (or replay, or the simulator) feeds it and writes what comes out.
 *
 * A unit is a rule group, or groups tied by recorded series. A unit's time is the least watermark
 * of the inputs that can feed its selectors; it steps at whole multiples of its interval.
 *
 *     batch ──▶ inputs (watermarks, idle)  ──▶ unit time ──▶ steps ──▶ transitions
 *          └──▶ series (samples, open panes) ───────────────▲      └──▶ state records
 *
 * A checkpoint and the records before it in `state`, with the log, give back the very state: what a
 * new owner gives is what the old one would have given, byte for byte (src/detect/takeover.c).
 *
 * Limits: series per partition (`max_series`), samples by window length; what a rule reads and gives at a step
 * (a rule over it fails at that step, its instances stand, the others go on). Each is counted. A series that
 * nobody reads is not kept; one whose samples lie behind all windows is forgotten.
 */
#ifndef TOCSIN_DETECT_H
#define TOCSIN_DETECT_H

#include "tocsin/model.h"
#include "tocsin/rules.h"
#include "tocsin/shard.h"

struct tsn_detect;

struct tsn_detect_options {
    const char *shard_label;   /* NULL: "service" */
    int32_t partition, partition_count; /* of `samples` */
    bool warmup;
    int64_t counter_ttl_ms; /* 0: 2 h */
    int64_t lookback_ms;    /* 0: 5 m */
    size_t max_series;      /* 0: 2,000,000 */
    size_t max_samples;     /* that an expression may read in a step; 0: 50,000,000, as Prometheus */
    size_t max_output;      /* elements that a rule may give at a step; 0: 1,000,000 */
    int64_t long_ms, chunk_ms; /* 0: windows over 1 h lie in state as chunks of 30 min; the same at every takeover */
    bool naive;             /* rules by the naive evaluator instead of plans: the reference of tests, slow */
    bool prometheus_restore; /* after a takeover `for` is restored as a Prometheus server does, not exactly (src/detect/compat.c) */
    bool reuse_sums;        /* test only: windows keep one running sum, whose bits then depend on the past (tests/sim) */
    const struct tsn_labels *external_labels; /* borrowed; may be NULL */
    const char *external_url;                 /* borrowed; may be NULL */
    bool fill_job; /* series of log templates have job = service, as INGEST fills it */
};

/* A record for the compacted topic `state`. Key is kind/… as text; value NULL deletes. Owned. */
struct tsn_state_record {
    char *key;
    char *value;
    size_t value_len;
};

struct tsn_detect_output {
    TSN_VEC(struct tsn_transition) transitions;
    TSN_VEC(struct tsn_state_record) state;
    TSN_VEC(struct tsn_state_record) templates; /* records for topic `templates`; key is service/id */
};
void tsn_detect_output_reset(struct tsn_detect_output *out);   /* frees the content, keeps arrays */
void tsn_detect_output_release(struct tsn_detect_output *out);

/* Log patterns. Sizes as they are, counters since creation. */
struct tsn_mining_stats {
    uint64_t templates, scopes; /* living; (service, level) pairs with any */
    uint64_t lines, discovered, merged;
    uint64_t evicted_templates, evicted_scopes, limit_texts; /* limits met */
    uint64_t unknown_texts; /* signatures mined as <*>: never announced, or over the limit */
};

/* Counters since creation; for /metrics and `status`. */
struct tsn_detect_stats {
    uint64_t batches, samples, deltas, steps, rule_evaluations, rule_errors;
    uint64_t late_dropped, late_moved; /* the second test of lateness */
    uint64_t series_limit_hits, transitions, series; /* hits: announcements refused; a series is announced once a minute */
    uint64_t limit_dropped;                          /* samples and deltas of series that were refused */
    uint64_t rule_limit_hits; /* of rule_errors: max_samples, max_output, a group's limit */
    int64_t watermark_ms;  /* least unit time; TSN_TIME_NONE before any */
    int64_t rule_set;      /* in force */
    uint64_t leaps;        /* times a unit left out steps because its time leapt by more than 7 days at once */
    uint64_t unknown_refs; /* samples whose series was never announced: a hole in the log */
    uint64_t refill_mismatches; /* takeovers whose refill did not meet the checkpoint's clocks: samples and
                                   state disagree; the checkpoint's hold */
    struct tsn_mining_stats mining;
};

struct tsn_detect *tsn_detect_new(const struct tsn_detect_options *options);
void tsn_detect_free(struct tsn_detect **detect);
/* Makes a set known; in force once every input carries its number (DESIGN §4). Takes the set. Numbers
 * go up. What DETECT gives is a function of the log only if every set of topic `rules` that parses, up
 * to batch->rule_set, is known before the batch is applied: read `rules` to its end first, and again when a
 * batch names a number not yet read. For a takeover, add all sets before tsn_detect_restore_done. */
void tsn_detect_add_rule_set(struct tsn_detect *d, int64_t number, struct tsn_rule_set *set);
/* Applies the batch at `offset` (offsets go up) and runs every step that is due. Appends to out. */
void tsn_detect_apply(struct tsn_detect *d, const struct tsn_batch *batch, int64_t offset,
                      struct tsn_detect_output *out);
/* The checkpoint and what changed since the last call, for the transaction that commits `next_offset`. If that
 * transaction aborts, free the object and take over anew: what was handed out counts as written. */
void tsn_detect_checkpoint(struct tsn_detect *d, int64_t next_offset, struct tsn_detect_output *out);
/* How far before a step the samples lie that some rule of the set reads: its longest window, lookback (0: 5 m)
 * included, and the silence before it that decides what a counter gives. For replay. */
int64_t tsn_detect_reach_ms(const struct tsn_rule_set *set, int64_t lookback_ms);
void tsn_detect_get_stats(const struct tsn_detect *d, struct tsn_detect_stats *stats);

/* ---- takeover ----------------------------------------------------------------------------- */

/* Every record of `state` for this partition in log order, before any batch. Unknown kinds are an
 * error (written by a newer version); NULL value deletes. */
enum tsn_err tsn_detect_restore(struct tsn_detect *d, const char *key, size_t key_len, const char *value,
                                size_t value_len, struct tsn_error *error);
/* After the last one. *refill_offset: where to read `samples` from; batches below *next_offset
 * then only fill windows and give no output. Both 0 when there was no checkpoint. NOT_FOUND: the checkpoint names a
 * rule set that was not added. */
enum tsn_err tsn_detect_restore_done(struct tsn_detect *d, int64_t *refill_offset, int64_t *next_offset,
                                     struct tsn_error *error);

/* ---- replay ------------------------------------------------------------------------------- */

/* For a log read from its middle, before any batch: every record of `state` as it is now. Only what it says of log templates is
 * taken, so that signatures get the templates, discoveries and merges that the live run gave them; those of templates evicted
 * since are mined anew. Samples and alerts are the log's. */
void tsn_detect_seed(struct tsn_detect *d, const char *key, size_t key_len, const char *value, size_t value_len);
enum tsn_err tsn_detect_seed_done(struct tsn_detect *d, struct tsn_error *error);

/* ---- status ------------------------------------------------------------------------------- */

struct tsn_detect_rule_info {
    const char *group, *rule, *file;
    bool is_alert;
    uint64_t evaluations, errors, last_count; /* series of the last result */
    bool ever_matched;
    int64_t last_step_ms;
    const char *last_error; /* "" */
    size_t pending, firing;
};
/* Calls visit for every rule that this partition runs, in file order. */
void tsn_detect_each_rule(const struct tsn_detect *d, void (*visit)(const struct tsn_detect_rule_info *, void *),
                          void *arg);

#endif
