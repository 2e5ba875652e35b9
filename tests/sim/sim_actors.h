/* sim_actors: the simulated processes and the world they live in. See sim.h. */
#ifndef TESTS_SIM_ACTORS_H
#define TESTS_SIM_ACTORS_H

#include <stdio.h>

#include "sim.h"
#include "sim_clauses.h"
#include "tocsin/respond_record.h"

#define SIM_START_MS INT64_C(1700000040000) /* a whole multiple of a minute */

enum { SIM_ALL_OCCUR = 1000 }; /* seeds from which on all of the clause table must have happened */
enum { SIM_QUEUE = 3, SIM_TTL_MS = 100000, SIM_ALIGN_MS = 60000, SIM_GRACE_MS = 20000, SIM_CLIMB_MS = 60000 };

/* What makes a run: the seed, and what the shrinker took away. */
struct sim_plan {
    uint64_t seed;
    unsigned faults;    /* enum sim_fault */
    int64_t length_s;   /* of events */
    int64_t calm_after; /* turns: no trouble from then on */
    int workers;        /* 0: one to five, by the seed */
};

struct sim_texts {
    struct tsn_buf *items;
    size_t len, cap;
};

struct sim_worker {
    struct tsn_ingest *ingest;
    int64_t incarnation, generation;
    bool holds[SIM_SOURCES]; /* as the worker believes */
    int64_t next[SIM_SOURCES], read_ms[SIM_SOURCES];
    struct tsn_closed_batch *queue[SIM_QUEUE];
    size_t queue_len;
    bool knows_second;
    int last_source;
    int64_t wake_ms; /* it sleeps until then */
    int64_t skew_ms; /* of its wall clock */
    int64_t
        session_skew_ms; /* as it was when the session began: the idle clock runs on from there */
};

struct sim_owner {
    struct tsn_detect *detect; /* NULL: takeover waits for a marker */
    int64_t next, generation;
    struct sim_texts pending; /* given and not yet committed */
};

/* What RESPOND took: an alert, a command, or its clock. */
enum sim_cause { SIM_BY_ALERT, SIM_BY_COMMAND, SIM_BY_CLOCK };
/* One element of the outbox. */
struct sim_entry {
    enum sim_cause cause;
    enum tsn_outbox_kind kind;
    bool last; /* of its input */
    struct tsn_respond_position position;
    char incident_id[40];
    struct tsn_buf bytes;
};
struct sim_taken {
    enum sim_cause cause;
    struct tsn_respond_position position; /* after it */
};
/* One data set in Redis. */
struct sim_store {
    bool present;
    int64_t run, generation, cursor, trimmed;
    struct tsn_respond_position position;
    struct tsn_map incidents;         /* id → struct tsn_buf */
    TSN_VEC(struct sim_entry) outbox; /* entries trimmed+1 … cursor */
};
/* A process that owns, or believes it owns, RESPOND. */
struct sim_session {
    struct tsn_respond *core;
    bool alive, connected;
    int64_t epoch; /* of the transactional id */
    int64_t run, generation, cursor;
    int64_t lost_ms; /* since when Redis is away */
    int64_t direct_next;
    struct tsn_map groups; /* group key → incident id, while Redis is away */
};
struct sim_responder {
    struct sim_store store, snapshot; /* snapshot: what a restart of Redis may bring back */
    bool has_snapshot;
    int64_t away_until_ms, runs;
    struct sim_session sessions[2]; /* the owner and the one before */
    int owner;
    int64_t epoch;
    struct tsn_respond_mark mark; /* committed */
    bool marked;
    struct tsn_map topic; /* respond: id → struct tsn_buf */
    struct tsn_map told;  /* direct path: incident ids */
    struct sim_texts published;
    int64_t skew_ms, latest_ms; /* Redis's clock against the world's; the latest reading of it */
    int64_t last_ms;            /* the reading that ends all timers, once all inputs are taken */
    TSN_VEC(struct sim_taken) journal; /* inputs that gave something, as published: the order that counts */
    int64_t commands_said;
};

struct sim_world {
    struct sim_plan plan;
    uint64_t random;
    int64_t start_ms, now, turns, switch_ms; /* switch_ms INT64_MAX: one rule set throughout */
    bool head_start; /* DETECT stepped before all inputs were named */
    bool eager, never_late; /* never_late: partitions count as idle only when nothing more will come
                               there */
    int64_t gap_ms, born_ms;
    int worker_count;
    struct sim_cluster cluster;
    struct tsn_config config;
    struct tsn_policy policy;
    struct tsn_rule_set *sets[2];
    struct sim_worker workers[SIM_MAX_WORKERS];
    struct sim_owner owners[SIM_PARTITIONS], ghosts[SIM_PARTITIONS];
    struct sim_responder responder;
    int64_t limit_ms;     /* how far every unit of an undisturbed DETECT came */
    struct tsn_map names; /* while counting: (writer, ref) → id of the series */
    int64_t incarnations;
    int starved;
    int64_t all_known, drift_ms; /* turn when all metric partitions had a watermark; how far they
                                    were apart then */
    size_t takeovers;
    size_t seen[SIM_E_COUNT];
    char failure[400]; /* "" while all is well */
};

/* Everything of one run. */
void sim_world_open(struct sim_world *s, const struct sim_plan *plan, int64_t start, enum sim_broken broken);
void sim_world_close(struct sim_world *s);
/* Until event time is well behind end_ms everywhere and all alerts are there. */
void sim_run(struct sim_world *s, int64_t end_ms);
/* What the events say must come out; `sink` hears of every event. Then: alerts by the law and by the reference, counts. */
struct sim_checks;
struct sim_checks *sim_checks_new(struct sim_sink *sink);
void sim_checks_free(struct sim_checks **checks);
void sim_check_detect(struct sim_world *s, struct sim_checks *checks);
void sim_check_replay(struct sim_world *s);
void sim_check_incidents(struct sim_world *s);

/* Something of the clause table happened. */
static inline void sim_note(struct sim_world *s, enum sim_event event)
{
    s->seen[event]++;
}

struct sim_totals {
    size_t alerts, incidents, takeovers, batches, direct;
    size_t seen[SIM_E_COUNT];
};
void sim_totals_add(struct sim_totals *totals, const struct sim_world *s);
void sim_totals_merge(struct sim_totals *totals, const struct sim_totals *other);
/* Prints the clause table with its counts. Returns the rows that never happened, if all `must`. */
int sim_totals_print(const struct sim_totals *totals, bool must);

/* The first one stays; the run goes on to its end. */
void sim_fail(struct sim_world *s, const char *fmt, ...) TSN_PRINTF(2, 3);
/* True once in `one_in`, if the plan has that kind of trouble. The draw is made anyhow: schedules
 * stay alike. */
bool sim_trouble(struct sim_world *s, enum sim_fault kind, int64_t one_in);
/* A fresh copy of rule set 0 or 1. */
struct tsn_rule_set *sim_rules(struct sim_world *s, int which);
/* With a gap of hours in the story a window is long from an hour on, as ever; else from six minutes on, so that the past of long
 * windows lies in state as chunks in every run. */
static inline int64_t sim_long_ms(const struct sim_world *s)
{
    return s->gap_ms ? 0 : 330000;
}
static inline int64_t sim_chunk_ms(const struct sim_world *s)
{
    return s->gap_ms ? 0 : 60000;
}
/* Sets in topic `rules`. */
static inline int sim_set_count(const struct sim_world *s)
{
    return s->switch_ms == INT64_MAX ? 1 : 2;
}

void sim_worker_start(struct sim_world *s, int index);
void sim_worker_stop(struct sim_worker *w);
void sim_worker_act(struct sim_world *s, int index);
void sim_rebalance(struct sim_world *s);
void sim_grow(struct sim_world *s);
bool sim_inputs_done(const struct sim_world *s);

struct tsn_detect *sim_detect_new(struct sim_world *s, int32_t partition);
void sim_detect_apply(struct sim_world *s, struct tsn_detect *d, const struct sim_record *r,
                      struct sim_texts *alerts);
void sim_owner_start(struct sim_world *s, int32_t partition);
void sim_owner_act(struct sim_world *s, int32_t partition);
void sim_owner_haunt(struct sim_world *s, int32_t partition);
void sim_owner_stop(struct sim_owner *o);
bool sim_owners_done(const struct sim_world *s);

void sim_responder_start(struct sim_world *s);
void sim_responder_act(struct sim_world *s);
/* Redis's own troubles. */
void sim_redis_act(struct sim_world *s);
/* All alerts taken, the last timers run, all of it published. */
void sim_responder_finish(struct sim_world *s);
void sim_responder_release(struct sim_responder *r);
/* What a RESPOND that was never disturbed makes of the alerts: events, and ids of the incidents it
 * paged for. */
void sim_responder_calm(struct sim_world *s, struct sim_texts *events, struct tsn_map *paged);
void sim_texts_clear(struct sim_texts *texts);

/* Log lines as they happened; what mining must make of them. */
struct sim_lines;
struct sim_lines *sim_lines_new(void);
void sim_lines_free(struct sim_lines **lines);
void sim_lines_add(struct sim_lines *lines, const char *service, const char *level, int64_t ts_ms, const char *text);
/* Mines them, pane by pane, and tells the sink of the series. Once. */
void sim_lines_mine(struct sim_world *s, struct sim_lines *lines, const struct sim_sink *sink);
/* Topic `templates` against them. */
void sim_check_templates(struct sim_world *s, const struct sim_lines *lines);
/* Counts what the commands were answered. */
void sim_note_answer(struct sim_world *s, const struct tsn_effects *effects);
bool sim_decode_alert(struct sim_world *s, size_t at, struct tsn_transition *t);
/* Somebody looks at the incidents and says something about one. */
void sim_people_act(struct sim_world *s);
/* What holds of published events whatever the reference says. */
void sim_check_events(struct sim_world *s);

void sim_map_put(struct tsn_map *map, const char *id, const struct tsn_buf *value);
void sim_map_release(struct tsn_map *map);
void sim_map_copy(struct tsn_map *to, const struct tsn_map *from);
void sim_store_clear(struct sim_store *store);
void sim_store_copy(struct sim_store *to, const struct sim_store *from);
void sim_store_trim(struct sim_store *store, int64_t cursor);
void sim_store_write(struct sim_store *store, const struct tsn_effects *effects, struct tsn_respond_position after,
                     enum sim_cause cause);

#endif
