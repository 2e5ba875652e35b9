/* checks: what lib_check.c and lib_reference.c share: what happened, and where partitions of `samples` went over to another rule set. */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include "../detect_world.h"
#include "sim_actors.h"

#undef T0

enum { SIM_MAX_GROUPS = 10 };

struct sim_point {
    struct tsn_labels *labels; /* borrowed from names */
    int64_t ts_ms;
    double value;
};

/* Where the undisturbed DETECT of a partition of `samples` went over from set 0 to set 1. */
struct sim_turning {
    bool happened;
    size_t record;                    /* of the partition's log: with it every input carries the new number */
    int64_t steps_ms[SIM_MAX_GROUPS]; /* by group of set 0: last step of its unit; TSN_TIME_NONE: none, or not here */
};

struct sim_checks {
    struct reference ref; /* counters as the events count them; its store is made anew for each run */
    TSN_VEC(struct sim_point) points;
    struct ref_samples mined; /* of the series of log templates */
    struct sim_lines *lines;
    struct sim_sink sink;
    struct tsn_map names; /* series as text → labels */
    struct sim_turning turnings[SIM_PARTITIONS];
};

/* Alerts of one partition of `samples` (-1: of all, of which none went over) against the sequential reference. */
void sim_check_reference(struct sim_world *s, struct sim_checks *c, int32_t partition);
/* Of alerts as lines: those with a step in [from_s, to_s], sorted, for units step at their own pace; where two such texts part. */
void sim_settle(struct tsn_buf *text, int64_t from_s, int64_t to_s);
void sim_first_difference(struct sim_world *s, int32_t partition, const char *got, const char *want);
/* The labels that a series' text stands for; borrowed. */
struct tsn_labels *sim_labels(struct sim_checks *c, const char *series);

#endif
