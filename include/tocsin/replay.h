/*
 * replay: the stages over a stretch of history, into memory (L6). A pure state machine; the reading of
 * topics or files is the caller's.
 *
 *     samples/0 ─▶ DETECT ─┐  transitions, sorted by step
 *     samples/1 ─▶ DETECT ─┼──────────────▶ RESPOND at a simulated clock ─▶ incident events
 *     …                    ┘
 *
 * From the log of samples it gives exactly what the live run gave for the steps in [from, to], provided that
 * the log is given from far enough back: `lead` before `from`, so that windows are full and alerts that began before
 * are known. The report says where that did not hold. With a forced rule set it is a what-if (tsn_replay_merged):
 * only series that some live set selected are in the log.
 *
 * Log templates are those that tsn_replay_seed names; without it they are mined anew, each new once where the log given begins.
 *
 * Limits: transitions and events are kept until the end; options.max_transitions (0: 1,000,000) of them, then LIMIT.
 */
#ifndef TOCSIN_REPLAY_H
#define TOCSIN_REPLAY_H

#include "tocsin/detect.h"
#include "tocsin/respond.h"

struct tsn_replay;

struct tsn_replay_options {
    struct tsn_detect_options detect; /* partition is set here; partition_count says how many there are */
    int64_t from_ms, to_ms;           /* event time, both included */
    const struct tsn_policy *policy;  /* borrowed; NULL: no incidents */
    int64_t forced_set;               /* as if every batch carried this set's number; -1: as they do */
    size_t max_transitions;
};

struct tsn_replay *tsn_replay_new(const struct tsn_replay_options *options);
void tsn_replay_free(struct tsn_replay **replay);
/* As tsn_detect_add_rule_set, for one partition; takes the set. Numbers go up; before any batch that names them. */
void tsn_replay_add_rule_set(struct tsn_replay *replay, int32_t partition, int64_t number, struct tsn_rule_set *set);
/* Records of `state` of a partition, before any batch (tsn_detect_seed), then once …_done for each partition. In a what-if all go
 * to partition 0. */
void tsn_replay_seed(struct tsn_replay *replay, int32_t partition, const char *key, size_t key_len, const char *value, size_t value_len);
enum tsn_err tsn_replay_seed_done(struct tsn_replay *replay, int32_t partition, struct tsn_error *error);
/* How far before from_ms the event time of the first batches should lie: longest window (twice that with recording
 * rules), `for` and keep_firing_for of the sets added. Recording rules that read themselves never forget; what they
 * were before is not known. */
int64_t tsn_replay_lead_ms(const struct tsn_replay *replay);
/* One record of samples, in order of offsets. An error (it does not decode; the limit) names partition and offset; a
 * record that does not decode is counted and skipped, as live. */
enum tsn_err tsn_replay_batch(struct tsn_replay *replay, int32_t partition, int64_t offset, const void *bytes,
                              size_t len, struct tsn_error *error);
/* For a what-if over a log of several partitions, with partition_count 1: other rules live in other places, so one
 * DETECT gets all series. parts: the records that one transaction of INGEST wrote, one of each partition (same slot,
 * writer, seq), decoded; they are emptied. A series that lies in several of them counts once. */
enum tsn_err tsn_replay_merged(struct tsn_replay *replay, int64_t offset, struct tsn_batch *parts, size_t count,
                               struct tsn_error *error);
/* Every unit of the partition has passed to_ms: no more of it is needed. */
bool tsn_replay_done(const struct tsn_replay *replay, int32_t partition);

struct tsn_replay_report {
    uint64_t batches, bad_batches, samples, steps;
    /* From the lead before from_ms on: what a run over raw topics may decide otherwise; holes in the log. */
    uint64_t late_moved, late_dropped, unknown_refs;
    int64_t began_ms; /* least watermark that the first batches named, over the partitions; TSN_TIME_NONE: none */
    int64_t reached_ms; /* least event time reached; below to_ms: the log ended first */
    bool lead_short;  /* the log began less than the lead before from_ms */
};
struct tsn_replay_result {
    struct tsn_transition *transitions; /* steps in [from, to], by step, then partition, then as given */
    size_t transition_count;
    struct tsn_transition *open; /* the last transition before from_ms of alerts pending or firing then */
    size_t open_count;
    struct tsn_incident_event *events; /* event time in [from, to] */
    size_t event_count;
    struct tsn_replay_report report;
};
/* Once, after the last batch. The caller releases *result. */
void tsn_replay_finish(struct tsn_replay *replay, struct tsn_replay_result *result);
void tsn_replay_result_release(struct tsn_replay_result *result);

#endif
