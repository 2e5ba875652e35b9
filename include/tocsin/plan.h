/*
 * plan: the streaming evaluator (L2). Expressions of many rules, compiled once into one graph over
 * one set of series; a step is loops over arrays of numbers.
 *
 *     series ──▶ selectors ──▶ windows, newest samples ──▶ functions, operators, groups ──▶ results
 *     come/go:   matched once  cursors move on with time   keys and pairs found when a slot came
 *
 * What an expression gives equals the naive evaluator's answer (promql.h) to the bit, its errors
 * and order included: where a plan sees that a step may end in an error, it asks the naive
 * evaluator for that step; a subtree without streaming form (subqueries, count_values, @) is the
 * naive evaluator's for that subtree. Window state is history-free (promql/blocks.h): a function
 * of the samples in the window, so a plan that starts anew over the same samples gives the same.
 *
 * Equal sub-expressions of a lane are computed once a step, whatever number of rules hold them.
 *
 * The samples stay their owner's. A plan reads them at steps; it learns of changes so:
 *   appended between steps      tsn_plans_changed, once for any number of series
 *   appended during a step      tsn_plans_touch (a recording rule wrote what others may read now)
 *   put among older ones,       the owner raises `edits`
 *   or changed
 *   dropped from the front      the owner adds their number to `trimmed`
 *
 * One thread. Cost of a step: O(slots it reads); memory O(slots): ≈ 30 bytes per series and
 * window. Nothing is allocated in a step unless series come or go, or a slot shows itself in a
 * result for the first time.
 */
#ifndef TOCSIN_PLAN_H
#define TOCSIN_PLAN_H

#include "tocsin/promql.h"

/* Samples of one series, sorted by time, times unique; stale markers are in there. */
struct tsn_samples {
    struct tsn_sample *items;
    uint32_t len, cap;
    uint32_t trimmed; /* dropped from the front so far, modulo 2^32 */
    uint32_t edits;   /* changes other than to append and to trim */
};

/* Room for `want` samples, no more. */
void tsn_samples_reserve(struct tsn_samples *samples, size_t want);
/* Behind the others; grows by a quarter. */
void tsn_samples_push(struct tsn_samples *samples, struct tsn_sample sample);

struct tsn_plans;       /* the graph */
struct tsn_plan;        /* one expression in it */
struct tsn_plan_series; /* one series in it */

/* NULL options: defaults. start_ms and end_ms are not read: both are a step's time. */
struct tsn_plans *tsn_plans_new(const struct tsn_eval_options *options);
/* Frees plans and series handles too. */
void tsn_plans_free(struct tsn_plans **plans);

/* Compiles. `query` is borrowed and outlives the plans. `scope` (0–31): which series it sees. Plans
 * of one `lane` share their sub-expressions, and should step at the same times in rising order: to
 * go back in time is allowed and costs a pass over the windows. Never fails. Cost: O(series). */
struct tsn_plan *tsn_plans_add(struct tsn_plans *plans, const struct tsn_query *query, uint32_t scope, uint32_t lane);

/* `scopes`: a bit per scope that sees the series. samples is borrowed until the series is removed. */
struct tsn_plan_series *tsn_plans_series_add(struct tsn_plans *plans, struct tsn_labels *labels,
                                             const struct tsn_samples *samples, uint32_t scopes);
/* Frees the handle. */
void tsn_plans_series_remove(struct tsn_plans *plans, struct tsn_plan_series *series);
/* Its samples changed since the last step of any plan. */
void tsn_plans_touch(struct tsn_plans *plans, struct tsn_plan_series *series);
/* Samples of any series may have changed since the last step. */
void tsn_plans_changed(struct tsn_plans *plans);

/* As tsn_eval_instant over the series of the plan's scope, of whose samples those at or before
 * floor_ms (TSN_TIME_NONE: none) are not seen. `storage` is the same view, for the naive parts.
 * *result is initialised by the caller. */
enum tsn_err tsn_plan_step(struct tsn_plan *plan, const struct tsn_storage *storage, int64_t at_ms, int64_t floor_ms,
                           struct tsn_result *result, struct tsn_error *error);

/* ---- over samples in memory --------------------------------------------------------------- */

/* The graph sees the store's series, those there and those to come, in scope 0, and hears of samples
 * added. At most two graphs at a time. Both are borrowed till detached. Cost: O(series). */
void tsn_memstore_attach(struct tsn_memstore *store, struct tsn_plans *plans);
/* Before the graph or the store is freed. The graph's series stay in it, and are not to be stepped over any more. */
void tsn_memstore_detach(struct tsn_memstore *store, const struct tsn_plans *plans);

/* As tsn_eval_instant and tsn_eval_range, to the bit, by a plan of their own over the store; what has no
 * streaming form (a range vector, `@ start()` of a range) is the naive evaluator's. */
enum tsn_err tsn_stream_instant(const struct tsn_query *query, struct tsn_memstore *store, int64_t at_ms,
                                const struct tsn_eval_options *options, struct tsn_result *result,
                                struct tsn_error *error);
enum tsn_err tsn_stream_range(const struct tsn_query *query, struct tsn_memstore *store, int64_t start_ms,
                              int64_t end_ms, int64_t step_ms, const struct tsn_eval_options *options,
                              struct tsn_result *result, struct tsn_error *error);

/* What the graph is made of; for tests, status and benches. */
struct tsn_plans_stats {
    size_t series, selectors, nodes, naive_nodes, slots;
    uint64_t inner_steps;  /* evaluations of subqueries' operands */
    uint64_t naive_steps;  /* steps that were answered by the naive evaluator as a whole */
    uint64_t refills;      /* windows filled from their samples instead of moved on */
};
struct tsn_plans_stats tsn_plans_stats(const struct tsn_plans *plans);
/* No part of it is left to the naive evaluator. */
bool tsn_plan_is_streaming(const struct tsn_plan *plan);

#endif
