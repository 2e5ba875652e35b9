/*
 * ingest: STAGE 1, records of input topics → closed batches for `samples` (L4). A pure state machine.
 *
 * One object serves one INGEST worker: all its assigned input partitions. The shell feeds records in order
 * of offset per partition, says when a partition is proved empty, and closes a batch every few hundred
 * ms or at a size limit. A closed batch is immutable: encoded bytes, one record (or several, src/ingest/slices.c) for EVERY partition of `samples`,
 * dead letters, and the offsets to commit with their metadata. After an abort the same bytes go out again. When batches
 * must be dropped (partition lost, epoch changed) the shell frees the object and makes a new one, with a new writer
 * number, from the committed offsets: nothing of the dropped ones may be remembered.
 *
 *     record ─▶ decode (JSON | Avro | Confluent | mapped) ─▶ event time, lateness ─▶ memo: series + relevance
 *                   └▶ dead letter                                └▶ points, panes, signatures ─▶ close ─▶ batch
 *
 * What one record gives is a function of the record, its partition's watermark before it and the rule sets known.
 * No clock, no I/O: every time comes in as an argument. Limits: config.ingest (series, label bytes, dead-letter bytes); each hit is counted.
 */
#ifndef TOCSIN_INGEST_H
#define TOCSIN_INGEST_H

#include "tocsin/config.h"
#include "tocsin/model.h"
#include "tocsin/rules.h"

struct tsn_ingest;

struct tsn_ingest_options {
    const struct tsn_config *config; /* borrowed: inputs, time, ingest, detect.shard_label */
    int32_t slot;
    int64_t writer;             /* differs after every restart and after every drop */
    int32_t samples_partitions; /* of topic samples */
    size_t record_bytes;        /* largest record of samples, 0: 8 MiB; a batch that needs larger ones goes out in several rounds */
    /* The writer schema with this registry id, as JSON text, borrowed for ever. NOT_FOUND: there is no such schema
     * (dead letter). UNREACHABLE: not known now; tsn_ingest_record then gives it back and the record is offered again. NULL: no registry. */
    enum tsn_err (*schema)(void *arg, int32_t id, const char **json, size_t *len, struct tsn_error *error);
    void *schema_arg;
    /* Text of a file named in the configuration (schema_file …), caller frees; NULL: none can be read. */
    char *(*read_file)(void *arg, const char *path, size_t *len, struct tsn_error *error);
    void *read_file_arg;
};

struct tsn_ingest *tsn_ingest_new(const struct tsn_ingest_options *options, struct tsn_error *error);
void tsn_ingest_free(struct tsn_ingest **ingest);

/* Makes a set known; series that any known set selects are kept. A batch carries the greatest number known
 * when its first record came: what it then lacks of a newer set, it does not claim to hold.
 * Borrowed: the set must outlive the object. Sets that DETECT has left behind are dropped by number. */
void tsn_ingest_add_rule_set(struct tsn_ingest *ingest, int64_t number, const struct tsn_rule_set *set);
void tsn_ingest_drop_rule_sets_below(struct tsn_ingest *ingest, int64_t number);

/* ---- partitions --------------------------------------------------------------------------- */

/* `input` is the index in config->inputs. `metadata` is what was committed with the offset (NULL: none): watermark and
 * idle flag go on from there. A metadata text of another form is INVALID and counts as none. */
enum tsn_err tsn_ingest_assign(struct tsn_ingest *ingest, size_t input, int32_t partition, int32_t partition_count,
                               int64_t next_offset, const char *metadata, struct tsn_error *error);
void tsn_ingest_unassign(struct tsn_ingest *ingest, size_t input, int32_t partition);
/* The assignment epoch that batches carry from the next close on. */
void tsn_ingest_set_epoch(struct tsn_ingest *ingest, int64_t epoch);
/* Parses a commit's metadata: for alignment, status. False if it is not ours. */
bool tsn_ingest_metadata_parse(const char *metadata, int64_t *watermark_ms, bool *idle, int64_t *idle_clock_ms);

/* ---- records ------------------------------------------------------------------------------ */

struct tsn_ingest_record {
    size_t input; /* index in config->inputs */
    int32_t partition;
    int64_t offset, timestamp_ms; /* Kafka's; TSN_TIME_NONE: none */
    const void *key, *value;      /* borrowed for the call; NULL with length 0: none */
    size_t key_len, value_len;
};
/* Takes one record. OK also when it went to the dead letters, and when it is passed over: below the partition's next offset (taken
 * before), or of a partition that is not assigned. UNREACHABLE (retriable): nothing was taken, offer the same again
 * (the partition is blocked meanwhile, not idle). No other error. */
enum tsn_err tsn_ingest_record(struct tsn_ingest *ingest, const struct tsn_ingest_record *record, struct tsn_error *error);
/* The shell proved the partition empty (EOF offset = cached high watermark for idle_timeout): marks it idle, or renews
 * its idle clock: (greatest watermark known when it went idle + (now_ms - its now_ms then)). Its next record ends it.
 * Where no watermark is known, every partition here is idle, and this one has been for half of time.blind_after, the clock starts at
 * now_ms - time.out_of_orderness: now_ms must be the wall clock. */
void tsn_ingest_idle(struct tsn_ingest *ingest, size_t input, int32_t partition, int64_t now_ms);
/* The partition is no longer proved empty, though no record came (an open transaction, a broker that does not answer): it
 * holds time again from where time stands. */
void tsn_ingest_blocked(struct tsn_ingest *ingest, size_t input, int32_t partition);
/* A watermark of a partition that another worker of the group has: it counts among the greatest known. TSN_TIME_NONE changes nothing. */
void tsn_ingest_know(struct tsn_ingest *ingest, int64_t watermark_ms);
/* How many partitions an input has, also one of which this worker has none: it is declared in `samples` with the others. */
void tsn_ingest_know_count(struct tsn_ingest *ingest, size_t input, int32_t partition_count);
/* Topics that were inputs of the group and are read by nobody any more: declared with no partitions, so that they hold no time. The whole list; copied.
 * False if it is as it was. */
bool tsn_ingest_gone(struct tsn_ingest *ingest, char *const *topics, size_t count);
/* Whether two inputs (indices in config->inputs) bring series to one unit of a known rule set, so that DETECT has to hold what one
 * brings ahead of the other: for alignment. An input is tied to itself. */
bool tsn_ingest_tied(struct tsn_ingest *ingest, size_t a, size_t b);
/* TSN_TIME_NONE before any. */
int64_t tsn_ingest_watermark(const struct tsn_ingest *ingest, size_t input, int32_t partition);
/* Bytes that a close would give, about; 0 if nothing at all happened since the last one. */
size_t tsn_ingest_pending(const struct tsn_ingest *ingest);

/* ---- closed batches ----------------------------------------------------------------------- */

struct tsn_dead_letter {
    char *topic; /* owned; of the input */
    int32_t partition;
    int64_t offset, timestamp_ms;
    char *key, *value; /* owned; value is the head when `cut`; NULL: none */
    size_t key_len, value_len, full_len;
    bool cut;
    const char *reason; /* static, e.g. "json", "avro", "future", "schema", "limit" */
    char *error;        /* owned; where and why */
};
struct tsn_commit_offset {
    char *topic; /* owned */
    int32_t partition;
    int64_t next_offset;
    char *metadata; /* owned */
};
struct tsn_closed_batch {
    int64_t epoch, seq, wall_ms; /* wall_ms is the Kafka timestamp of the records */
    struct tsn_buf *records;     /* [record_count], a multiple of partitions: record i goes to partition i % partitions of samples, in this order */
    size_t record_count;
    int32_t partitions; /* of samples */
    struct tsn_dead_letter *dead;
    size_t dead_count;
    struct tsn_commit_offset *offsets;
    size_t offset_count;
};
/* Closes what was gathered. `wall_ms` stamps it; a series is announced at its first use per partition in each wall-clock minute of it.
 * Caller frees. Never NULL, even if nothing was gathered (punctuation alone). */
struct tsn_closed_batch *tsn_ingest_close(struct tsn_ingest *ingest, int64_t wall_ms);
void tsn_closed_batch_free(struct tsn_closed_batch **batch);

struct tsn_ingest_stats {
    uint64_t records, events, samples, deltas, irrelevant; /* irrelevant: no rule selects it */
    uint64_t dead_letters, late_moved, late_dropped, limit_series, limit_labels, memo_hits, memo_misses;
    uint64_t batches;
    uint64_t lines, limit_lines; /* log lines given to signatures; signatures forgotten at their limit */
};
void tsn_ingest_get_stats(const struct tsn_ingest *ingest, struct tsn_ingest_stats *stats);
/* Of one partition: events, late, dead letters since it was assigned. */
struct tsn_ingest_partition_stats {
    uint64_t records, events, late, dead_letters;
    int64_t watermark_ms, next_offset;
    bool idle;
};
bool tsn_ingest_get_partition(const struct tsn_ingest *ingest, size_t input, int32_t partition,
                              struct tsn_ingest_partition_stats *stats);

#endif
