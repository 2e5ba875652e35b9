/*
 * sim: a cluster in memory, for the simulator. Topics are arrays; a transaction is a function call; time
 * is a number. What Kafka promises (and INGEST, DETECT, RESPOND lean on) is modelled, no more:
 *
 *   - a committed transaction's records and offsets become visible together, an aborted one's never do,
 *     but take up offsets;
 *   - a commit of input offsets is refused if the partition has another owner, or the worker was
 *     replaced (fencing);
 *   - a compacted topic keeps the last value of a key.
 *
 * `broken` switches one promise off, to show that the checks would notice (sim_spine.c --broken).
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "tocsin/config.h"
#include "tocsin/detect.h"
#include "tocsin/ingest.h"

enum {
    SIM_INPUTS = 2,     /* topics: metrics, logs */
    SIM_SOURCES = 3,    /* input partitions: metrics/0, metrics/1, logs/0 */
    SIM_PARTITIONS = 2, /* of samples */
    SIM_WORKERS = 2
};

enum sim_broken {
    SIM_SOUND,
    SIM_NO_FENCING,        /* a worker that lost a partition still commits */
    SIM_SPLIT_COMMIT,      /* INGEST: records first, offsets in another transaction */
    SIM_READ_ABORTED,      /* DETECT reads what was aborted */
    SIM_NO_COUNTERS,       /* state loses totals of counters */
    SIM_NO_NAMES,          /* a takeover starts at the first sample, not where names were announced */
    SIM_OUTPUT_FIRST,      /* DETECT: alerts first, offset and state in another transaction */
    SIM_RESPOND_FORGETS,   /* RESPOND's applied offset is not stored with its incidents */
    SIM_BROKEN_COUNT
};
const char *sim_broken_name(enum sim_broken broken);

struct sim_record {
    int64_t offset, timestamp_ms;
    bool aborted;
    char *bytes;
    size_t len;
};
struct sim_log {
    struct sim_record *items;
    size_t len, cap;
    int64_t next_offset;
};

struct sim_cluster {
    struct sim_log inputs[SIM_SOURCES];
    struct sim_log samples[SIM_PARTITIONS];
    struct sim_log alerts; /* timestamp_ms: the partition of samples it came from */
    struct {
        int64_t next_offset;
        char *metadata; /* NULL: nothing committed yet */
        int owner;      /* worker, as the group sees it */
    } sources[SIM_SOURCES];
    struct tsn_map state[SIM_PARTITIONS]; /* key → struct tsn_buf */
    int64_t detect_next[SIM_PARTITIONS];
    int64_t producer[SIM_WORKERS]; /* the incarnation that may commit for a slot */
    enum sim_broken broken;
};

void sim_cluster_init(struct sim_cluster *c, enum sim_broken broken);
void sim_cluster_release(struct sim_cluster *c);

void sim_log_add(struct sim_log *log, int64_t timestamp_ms, bool aborted, const void *bytes, size_t len);
/* Index of the first record at or after an offset. */
size_t sim_log_find(const struct sim_log *log, int64_t offset);

enum sim_outcome { SIM_COMMITTED, SIM_ABORTED, SIM_FENCED };
/* INGEST's transaction of one closed batch. `upto`: what the coordinator lets happen before it fails. */
enum sim_outcome sim_commit_batch(struct sim_cluster *c, int worker, int64_t incarnation,
                                  const struct tsn_closed_batch *batch, bool abort_it);
/* DETECT's: outputs as encoded transitions, state records, next offset. */
void sim_commit_detect(struct sim_cluster *c, int32_t partition, const struct tsn_buf *alerts, size_t alert_count,
                       const struct tsn_state_record *state, size_t state_count, int64_t next_offset);

/* ---- what happens in the world ------------------------------------------------------------ */

/* Fills the inputs with `seed`'s events from start_ms on; tells `sink` every event as the reference wants it. */
struct sim_sink {
    void (*point)(void *arg, const char *series, int64_t ts_ms, double value);
    void (*delta)(void *arg, const char *series, int64_t ts_ms, double value);
    void *arg;
};
/* Returns the time of the last event. */
int64_t sim_produce(struct sim_cluster *c, uint64_t seed, int64_t start_ms, const struct sim_sink *sink);

uint64_t sim_random(uint64_t *state);
int64_t sim_below(uint64_t *state, int64_t n);

#endif
