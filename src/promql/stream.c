/*
 * stream: single expressions by plans over samples in memory: `eval` and the checks of `test rules` go
 * the way that rules go live. See tocsin/plan.h.
 *
 * A range is one plan stepped from start to end: windows move on, nothing is read twice. Where a step
 * ends in an error, the naive evaluator is asked for the whole, so that the error is its own.
 */
#include "promql/plan_int.h"

enum tsn_err tsn_stream_instant(const struct tsn_query *query, struct tsn_memstore *store, int64_t at_ms,
                                const struct tsn_eval_options *options, struct tsn_result *result,
                                struct tsn_error *error)
{
    struct tsn_plans *plans = tsn_plans_new(options);
    struct tsn_storage storage = tsn_memstore_storage(store);
    struct tsn_plan *plan;
    enum tsn_err err;

    tsn_memstore_attach(store, plans);
    plan = tsn_plans_add(plans, query, 0, 0);
    err = tsn_plan_step(plan, &storage, at_ms, TSN_TIME_NONE, result, error);
    tsn_memstore_detach(store, plans);
    tsn_plans_free(&plans);
    return err;
}

/* start() and end() are those of the range: a step knows but its own time. */
static bool without_range_ends(const struct tsn_expr *e, void *arg)
{
    TSN_UNUSED(arg);
    if (e->kind == TSN_EXPR_SELECTOR)
        return e->u.selector.at != TSN_AT_START && e->u.selector.at != TSN_AT_END;
    return e->kind != TSN_EXPR_SUBQUERY || (e->u.subquery.at != TSN_AT_START && e->u.subquery.at != TSN_AT_END);
}

static bool streams(const struct tsn_query *query)
{
    return (query->root->type == TSN_TYPE_SCALAR || query->root->type == TSN_TYPE_VECTOR) &&
           tsn_expr_walk(query->root, without_range_ends, NULL);
}

/* The elements of a step join their series, in order of first appearance. */
static void join_point(struct tsn_map *by_id, struct tsn_result *out, struct tsn_labels *labels, struct tsn_sample point)
{
    bool created;
    void **slot = tsn_map_upsert(by_id, &labels->id, sizeof labels->id, &created);
    struct tsn_matrix_series *series;

    if (created) {
        if (out->matrix_len == out->matrix_cap)
            out->matrix = tsn_vec_grow(out->matrix, &out->matrix_cap, out->matrix_len + 1, sizeof *out->matrix);
        *slot = (void *)(uintptr_t)out->matrix_len;
        out->matrix[out->matrix_len++] = (struct tsn_matrix_series){ .labels = tsn_labels_ref(labels) };
    }
    series = &out->matrix[(uintptr_t)*slot];
    if (series->count == series->cap)
        series->points = tsn_vec_grow(series->points, &series->cap, series->count + 1, sizeof *series->points);
    series->points[series->count++] = point;
}

static enum tsn_err range_step(struct tsn_plan *plan, const struct tsn_storage *storage, int64_t t_ms,
                               struct tsn_map *by_id, struct tsn_result *out, struct tsn_error *error)
{
    struct tsn_labels *none = tsn_labels_empty();
    struct tsn_result step;
    enum tsn_err err;

    tsn_result_init(&step);
    err = tsn_plan_step(plan, storage, t_ms, TSN_TIME_NONE, &step, error);
    if (!err && step.type == TSN_TYPE_SCALAR)
        join_point(by_id, out, none, (struct tsn_sample){ t_ms, step.scalar });
    for (size_t i = 0; i < step.vector_len && !err; i++)
        join_point(by_id, out, step.vector[i].labels, (struct tsn_sample){ t_ms, step.vector[i].value });
    tsn_result_release(&step);
    tsn_labels_unref(none);
    return err;
}

enum tsn_err tsn_stream_range(const struct tsn_query *query, struct tsn_memstore *store, int64_t start_ms,
                              int64_t end_ms, int64_t step_ms, const struct tsn_eval_options *options,
                              struct tsn_result *result, struct tsn_error *error)
{
    struct tsn_storage storage = tsn_memstore_storage(store);
    struct tsn_plans *plans;
    struct tsn_plan *plan;
    struct tsn_map by_id;
    size_t max_samples, points = 0;
    enum tsn_err err = TSN_OK;

    if (step_ms <= 0 || !streams(query))
        return tsn_eval_range(query, &storage, start_ms, end_ms, step_ms, options, result, error);
    plans = tsn_plans_new(options);
    max_samples = plans->opt.max_samples;
    tsn_memstore_attach(store, plans);
    plan = tsn_plans_add(plans, query, 0, 0);
    tsn_map_init(&by_id);
    for (int64_t t = start_ms; t <= end_ms && !err; t += step_ms) {
        plans->opt.max_samples = max_samples - (++points < max_samples ? points : max_samples); /* points stay */
        err = range_step(plan, &storage, t, &by_id, result, error);
        if ((uint64_t)end_ms - (uint64_t)t < (uint64_t)step_ms) /* the next is later, or beyond int64 */
            break;
    }
    tsn_map_release(&by_id);
    tsn_memstore_detach(store, plans);
    tsn_plans_free(&plans);
    if (err) {
        tsn_result_release(result);
        return tsn_eval_range(query, &storage, start_ms, end_ms, step_ms, options, result, error);
    }
    result->type = TSN_TYPE_MATRIX;
    return TSN_OK;
}
