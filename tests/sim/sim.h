/*
 * sim: a cluster in memory, for the simulator. Topics are arrays; a transaction is a function call;
 * time is a number. What Kafka promises (and INGEST, DETECT, RESPOND lean on) is modelled, no more:
 *
 *   - a committed transaction's records and offsets become visible together, an aborted one's never
 * do, but take up offsets; its markers may reach one partition later than another, and until then a
 * read_committed reader stands still there;
 *   - a transaction that nobody ends is aborted after ten seconds, or when its transactional id
 * begins anew;
 *   - a commit of input offsets is refused if the member has not heard of the last rebalance, or
 * was replaced. Who owns a partition is not looked at: Kafka does not either;
 *   - a compacted topic keeps the last value of a key.
 *
 * What the issue asks of the simulator, clause by clause, with what is counted of each and where it happens, is the table in
 * sim_clauses.h; the numbers are printed, and none may be 0. Kinds of trouble (enum sim_fault) can be taken away one by one: the shrinker
 * needs it.
 *
 * `broken` switches one promise off, for tests only, to show that the checks would notice (sim_spine --broken NAME). The six:
 *
 *   idle by wall clock              idle-by-wall-clock
 *   skip a punctuation              skip-punctuation
 *   reuse a Kahan sum               reuse-kahan-sum (tsn_detect_options.reuse_sums)
 *   commit before the outbox        commit-before-outbox
 *   forget the epoch                forget-epoch
 *   trust the last stable offset    idle-at-stable-offset, takeover-at-stable-offset
 *
 * and of what else is promised: no-templates, no-chunks, switch-at-first-sight, forget-commands, timers-by-own-clock, and the rest below.
 *
 * Files: lib_cluster topics and transactions · lib_source events · lib_ingest, lib_detect, lib_respond the processes around the real cores ·
 * lib_store Redis · lib_people commands · lib_world a run from turn to turn · lib_check, lib_reference, lib_mining, lib_people what must
 * come out · lib_cover the table · sim_spine seeds, variants, shrinking.
 *
 * Not modelled: more than one switch of rule sets in a run (tests/prop/prop_detect.c has three sets), limits that are met (unit tests),
 * schema registry, pages to people.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "tocsin/config.h"
#include "tocsin/detect.h"
#include "tocsin/ingest.h"

enum {
    SIM_INPUTS = 2, /* topics: metrics, logs */
    SIM_SOURCES =
        4, /* input partitions: metrics/0, metrics/1, logs/0, metrics/2 (once it is born) */
    SIM_NEW_SOURCE = 3,
    SIM_PARTITIONS = 2, /* of samples */
    SIM_MAX_WORKERS = 5,
    SIM_TRANSACTION_MS = 10000 /* an open transaction's life */
};

enum sim_fault {
    SIM_F_CRASH = 1 << 0,
    SIM_F_ABORT = 1 << 1,
    SIM_F_TIMEOUT = 1 << 2,
    SIM_F_MARKER = 1 << 3,
    SIM_F_REBALANCE = 1 << 4,
    SIM_F_ZOMBIE = 1 << 5,
    SIM_F_REPEAT = 1 << 6,
    SIM_F_STARVE = 1 << 7,
    SIM_F_GROW = 1 << 8,
    SIM_F_GAP = 1 << 9,
    SIM_F_REDIS = 1 << 10,
    SIM_F_CLOCK = 1 << 11,
    SIM_F_OPEN = 1 << 12,
    SIM_F_PEOPLE = 1 << 13,
    SIM_F_KINDS = 14,
    SIM_F_ALL = (1 << 14) - 1
};

enum sim_broken {
    SIM_SOUND,
    SIM_NO_FENCING,   /* whoever lost a partition or was replaced still commits */
    SIM_SPLIT_COMMIT, /* INGEST: records first, offsets in another transaction */
    SIM_READ_ABORTED, /* DETECT reads what was aborted */
    SIM_NO_COUNTERS,  /* state loses totals of counters */
    SIM_NO_TEMPLATES, /* state loses what was mined of log lines */
    SIM_NO_CHUNKS,    /* state loses the past of long windows */
    SIM_NO_NAMES,     /* a takeover starts at the first sample, not where names were announced */
    SIM_OUTPUT_FIRST, /* DETECT: alerts first, offset and state in another transaction */
    SIM_IDLE_WALL,    /* idle: nothing was read for a while by the wall clock */
    SIM_IDLE_STABLE,  /* idle: the last stable offset is reached */
    SIM_SKIP_PUNCTUATION, /* a batch without samples is not sent */
    SIM_REUSE_SUM,    /* DETECT keeps a running sum of each window: adds what comes, takes off what
                         leaves */
    SIM_FORGET_EPOCH, /* closed batches survive the loss of their partitions */
    SIM_TAKE_STABLE,  /* DETECT's takeover reads state to the last stable offset only */
    SIM_NO_ALIGN,     /* nobody waits for the slowest partition */
    SIM_MARK_FIRST,   /* RESPOND commits its mark before the outbox */
    SIM_FORGET_GENERATION, /* Redis takes what an older owner writes */
    SIM_SWITCH_EARLY,      /* DETECT goes over with the first record behind the new set, not when every input carries it */
    SIM_FORGET_COMMANDS,   /* a takeover forgets which commands an incident has had */
    SIM_OWN_CLOCK,         /* RESPOND times by its own clock, not by Redis's */
    SIM_BLIND_RESTORE,     /* a Redis that was wiped or rolled back is taken as it is */
    SIM_BROKEN_COUNT
};
const char *sim_broken_name(enum sim_broken broken);

struct sim_record {
    int64_t offset, timestamp_ms;
    int64_t visible_ms; /* when its transaction's marker is there: until then the log is stable up
                           to here only */
    int32_t slot;       /* whose transaction */
    bool aborted;
    char *bytes;
    size_t len;
};
struct sim_log {
    struct sim_record *items;
    size_t len, cap;
    int64_t next_offset;
    size_t stable; /* sim_log_stable's memory */
};

struct sim_pending_state {
    char *key, *value;
    size_t value_len;
    int64_t visible_ms;
};

struct sim_cluster {
    struct sim_log inputs[SIM_SOURCES];
    struct sim_log samples[SIM_PARTITIONS];
    struct sim_log commands;
    struct sim_log alerts; /* timestamp_ms: the partition of samples it came from */
    struct {
        int64_t next_offset;
        char *metadata; /* NULL: nothing committed yet */
        int owner;      /* worker, as the group sees it; -1: there is no such partition yet */
    } sources[SIM_SOURCES];
    struct tsn_map state[SIM_PARTITIONS]; /* key → struct tsn_buf */
    struct tsn_map templates;             /* the same */
    struct {
        TSN_VEC(struct sim_pending_state) records; /* committed, the marker is under way */
        int64_t open_ms;                           /* a transaction is open there until then */
    } pending[SIM_PARTITIONS];
    int64_t detect_next[SIM_PARTITIONS], detect_generation[SIM_PARTITIONS];
    int64_t producer[SIM_MAX_WORKERS]; /* the incarnation that may commit for a slot */
    int64_t generation;                /* of INGEST's group: each rebalance raises it */
    size_t chunks_dropped;             /* from state */
    enum sim_broken broken;
};

void sim_cluster_init(struct sim_cluster *c, enum sim_broken broken);
void sim_cluster_release(struct sim_cluster *c);

void sim_log_add(struct sim_log *log, int64_t timestamp_ms, bool aborted, const void *bytes,
                 size_t len);
/* Index of the first record at or after an offset. */
size_t sim_log_find(const struct sim_log *log, int64_t offset);
/* Index of the first record that read_committed does not give at now_ms. */
size_t sim_log_stable(struct sim_log *log, int64_t now_ms);
/* Takes markers of `state` that have come by now. */
void sim_state_settle(struct sim_cluster *c, int32_t partition, int64_t now_ms);
/* The transactional id of a slot begins anew: what it left open is aborted. */
void sim_end_open(struct sim_cluster *c, int32_t slot, int64_t now_ms);

enum sim_outcome { SIM_COMMITTED, SIM_ABORTED, SIM_FENCED };
struct sim_transaction {
    int32_t slot;
    int64_t incarnation, generation, now_ms;
    bool abort_it, leave_open;
    int64_t late_ms[SIM_PARTITIONS]; /* of the commit markers */
};
/* INGEST's transaction of one closed batch. */
enum sim_outcome sim_commit_batch(struct sim_cluster *c, const struct sim_transaction *t,
                                  const struct tsn_closed_batch *batch);
/* DETECT's: alerts as encoded transitions, what a checkpoint gave (NULL: no checkpoint), next offset. */
void sim_commit_detect(struct sim_cluster *c, int32_t partition, const struct tsn_buf *alerts,
                       size_t alert_count, const struct tsn_detect_output *out, int64_t next_offset,
                       const struct sim_transaction *t);

/* ---- what happens in the world ------------------------------------------------------------ */

/* Fills the inputs with the events of length_s seconds from start_ms on; tells `sink` every event
 * as the reference wants it. */
struct sim_sink {
    void (*point)(void *arg, const char *series, int64_t ts_ms, double value);
    void (*delta)(void *arg, const char *series, int64_t ts_ms, double value);
    void (*line)(void *arg, const char *service, const char *level, int64_t ts_ms, const char *text);
    /* A sample that no step before known_ms can have seen. */
    void (*known)(void *arg, const char *series, int64_t known_ms, int64_t ts_ms, double value);
    void *arg;
};
struct sim_story {
    uint64_t seed;
    int64_t start_ms, length_s;
    int64_t gap_ms; /* nothing happens for so long in the middle */
    int64_t born_s; /* producers use metrics/2 from then on; INT64_MAX: never */
    bool open;      /* producers leave transactions open for a while */
};
/* Returns the time of the last event. */
int64_t sim_produce(struct sim_cluster *c, const struct sim_story *story,
                    const struct sim_sink *sink);

uint64_t sim_random(uint64_t *state);
int64_t sim_below(uint64_t *state, int64_t n);

#endif
