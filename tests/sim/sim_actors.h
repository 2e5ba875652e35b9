/* sim_actors: the simulated processes and the world they live in. See sim.h. */
#ifndef TESTS_SIM_ACTORS_H
#define TESTS_SIM_ACTORS_H

#include <stdio.h>

#include "sim.h"
#include "tocsin/respond.h"

enum { SIM_QUEUE = 3, SIM_TTL_MS = 100000 };

struct sim_texts {
    struct tsn_buf *items;
    size_t len, cap;
};

struct sim_worker {
    struct tsn_ingest *ingest;
    int64_t incarnation;
    bool holds[SIM_SOURCES]; /* as the worker believes */
    int64_t next[SIM_SOURCES], read_ms[SIM_SOURCES];
    struct tsn_closed_batch *queue[SIM_QUEUE];
    size_t queue_len;
    bool knows_second;
};

struct sim_owner {
    struct tsn_detect *detect;
    int64_t next;
    struct sim_texts pending; /* given and not yet committed */
};

struct sim_responder {
    struct tsn_respond *respond;
    size_t next;
    struct tsn_map saved; /* incident id → struct tsn_respond_incident */
    struct tsn_respond_position position;
    bool has_position;
    struct sim_texts published;
};

struct sim_world {
    uint64_t seed, random;
    int64_t now, switch_ms; /* INT64_MAX: one rule set throughout */
    struct sim_cluster cluster;
    struct tsn_config config;
    struct tsn_policy policy;
    struct tsn_rule_set *sets[2];
    struct sim_worker workers[SIM_WORKERS];
    struct sim_owner owners[SIM_PARTITIONS];
    struct sim_responder responder;
    int64_t limit_ms; /* how far every unit of an undisturbed DETECT came */
    bool never_late;     /* partitions count as idle only once all events are there */
    struct tsn_map names; /* while counting: (writer, ref) → id of the series */
    int64_t incarnations;
    size_t takeovers;
    char failure[400]; /* "" while all is well */
};

/* The first one stays; the run goes on to its end. */
void sim_fail(struct sim_world *s, const char *fmt, ...) TSN_PRINTF(2, 3);
/* A fresh copy of rule set 0 or 1. */
struct tsn_rule_set *sim_rules(struct sim_world *s, int which);

void sim_worker_start(struct sim_world *s, int index);
void sim_worker_act(struct sim_world *s, int index);
void sim_rebalance(struct sim_world *s);
bool sim_inputs_done(const struct sim_world *s);

struct tsn_detect *sim_detect_new(struct sim_world *s, int32_t partition);
void sim_detect_apply(struct sim_world *s, struct tsn_detect *d, const struct sim_record *r, struct sim_texts *alerts);
void sim_owner_start(struct sim_world *s, int32_t partition);
void sim_owner_act(struct sim_world *s, int32_t partition);
bool sim_owners_done(const struct sim_world *s);

void sim_responder_start(struct sim_world *s, struct sim_responder *r);
void sim_responder_act(struct sim_world *s, struct sim_responder *r, bool may_crash);
void sim_responder_release(struct sim_responder *r);
void sim_texts_clear(struct sim_texts *texts);

#endif
