/*
 * eval: the naive evaluator. It reads raw samples anew at every step: slow and obvious, the oracle
 * of the streaming plan. Results are in canonical order of labels unless the function sorts.
 *
 * Bounded by opt.max_samples over one evaluation, as Prometheus bounds a query.
 */
#include "promql/eval_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX_SAMPLES = 50000000 };
/* An `@` may name any time of 64 bits; no sample lies beyond this one. */
#define TIME_BOUND (INT64_MAX / 4)

void tsn_vec_elem(struct vec *v, struct tsn_labels *taken, int64_t ts_ms, double value)
{
    struct elem e = { taken, ts_ms, value };

    tsn_vec_push(v, e);
}

void tsn_vec_free(struct vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        tsn_labels_unref(v->items[i].labels);
    tsn_vec_release(v);
}

void tsn_mat_free(struct mat *m)
{
    for (size_t i = 0; i < m->len; i++) {
        tsn_labels_unref(m->items[i].labels);
        tsn_free(m->items[i].samples);
    }
    tsn_vec_release(m);
}

static int by_labels(const void *a, const void *b)
{
    return tsn_labels_compare(((const struct elem *)a)->labels, ((const struct elem *)b)->labels);
}

enum tsn_err tsn_vec_unique(struct eval *ev, struct vec *v)
{
    if (v->len)
        qsort(v->items, v->len, sizeof *v->items, by_labels);
    for (size_t i = 1; i < v->len; i++)
        if (tsn_labels_equal(v->items[i - 1].labels, v->items[i].labels))
            return tsn_error_set(ev->error, TSN_ERR_INVALID,
                                 "vector cannot contain metrics with the same labelset");
    return TSN_OK;
}

static bool listed(const char *const *names, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The name, and the type and unit that Prometheus reserves beside it: what a calculation sheds. */
bool tsn_label_is_metadata(const char *name)
{
    return strcmp(name, "__name__") == 0 || strcmp(name, "__type__") == 0 || strcmp(name, "__unit__") == 0;
}

struct tsn_labels *tsn_labels_project(const struct tsn_labels *labels, const char *const *names, uint32_t count,
                                      bool keep, bool drop_name)
{
    struct tsn_labels_builder b;
    struct tsn_labels *out;

    tsn_labels_builder_init(&b);
    for (uint32_t i = 0; i < labels->count; i++) {
        const struct tsn_label *l = &labels->items[i];

        if (listed(names, count, l->name) == keep && !(drop_name && tsn_label_is_metadata(l->name)))
            tsn_labels_builder_setn(&b, l->name, l->name_len, l->value, l->value_len);
    }
    out = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return out;
}

struct tsn_labels *tsn_labels_drop_name(struct tsn_labels *labels)
{
    for (uint32_t i = 0; i < labels->count; i++)
        if (tsn_label_is_metadata(labels->items[i].name))
            return tsn_labels_project(labels, NULL, 0, false, true);
    return tsn_labels_ref(labels);
}

/* Where a selector or subquery looks, after @ and offset; far from where its window could overflow. */
static int64_t reference_time(const struct eval *ev, enum tsn_at_kind at, int64_t fixed_ms, int64_t offset_ms,
                              int64_t at_ms)
{
    switch (at) {
    case TSN_AT_TIMESTAMP: at_ms = fixed_ms; break;
    case TSN_AT_START: at_ms = ev->opt.start_ms; break;
    case TSN_AT_END: at_ms = ev->opt.end_ms; break;
    case TSN_AT_NONE: break;
    }
    at_ms = at_ms > TIME_BOUND ? TIME_BOUND : at_ms < -TIME_BOUND ? -TIME_BOUND : at_ms;
    return at_ms - offset_ms;
}

static enum tsn_err count_samples(struct eval *ev, size_t more)
{
    ev->samples += more;
    if (ev->samples > ev->opt.max_samples)
        return tsn_error_set(ev->error, TSN_ERR_LIMIT,
                             "query processing would load too many samples into memory in query execution");
    return TSN_OK;
}

/* A duration that folds to nothing parses, and fails here as in Prometheus. */
static enum tsn_err empty_duration(struct eval *ev)
{
    return tsn_error_set(ev->error, TSN_ERR_INVALID, "duration must be greater than 0");
}

static enum tsn_err select_smoothed(struct eval *ev, const struct tsn_expr *e, int64_t ref_ms, int64_t at_ms,
                                    struct vec *out)
{
    int64_t from_ms = ref_ms - ev->opt.lookback_ms;
    struct tsn_series_list found = { 0 };
    double value;

    ev->storage->select(ev->storage->self, e->u.selector.matchers, e->u.selector.matcher_count, from_ms,
                        ref_ms + ev->opt.lookback_ms, &found);
    for (size_t i = 0; i < found.len; i++)
        if (tsn_smoothed_value(&found.items[i], from_ms, ref_ms, &value))
            tsn_vec_elem(out, tsn_labels_ref(found.items[i].labels), at_ms, value);
    tsn_free(found.items);
    return count_samples(ev, out->len);
}

static enum tsn_err select_newest(struct eval *ev, const struct tsn_expr *e, int64_t ref_ms, struct vec *out)
{
    struct tsn_series_list found = { 0 };

    ev->storage->select(ev->storage->self, e->u.selector.matchers, e->u.selector.matcher_count,
                        ref_ms - ev->opt.lookback_ms, ref_ms, &found);
    for (size_t i = 0; i < found.len; i++) {
        const struct tsn_series_view *s = &found.items[i];
        size_t n = s->count;

        while (n && s->samples[n - 1].ts_ms > ref_ms)
            n--;
        if (n && s->samples[n - 1].ts_ms > ref_ms - ev->opt.lookback_ms && !tsn_is_stale(s->samples[n - 1].value))
            tsn_vec_elem(out, tsn_labels_ref(s->labels), s->samples[n - 1].ts_ms, s->samples[n - 1].value);
    }
    tsn_free(found.items);
    return count_samples(ev, out->len);
}

static int64_t selector_time(const struct eval *ev, const struct tsn_expr *e, int64_t at_ms)
{
    return reference_time(ev, e->u.selector.at, e->u.selector.at_ms, e->u.selector.offset_ms, at_ms);
}

static enum tsn_err select_instant(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    int64_t ref_ms = selector_time(ev, e, at_ms);

    return e->u.selector.smoothed ? select_smoothed(ev, e, ref_ms, at_ms, out) : select_newest(ev, e, ref_ms, out);
}

enum tsn_err tsn_ev_newest(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    return select_newest(ev, e, selector_time(ev, e, at_ms), out);
}

static enum tsn_err select_range(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct mat *out)
{
    const struct tsn_expr *sel = tsn_expr_unwrap(e->u.matrix.selector);
    int64_t ref_ms = selector_time(ev, sel, at_ms), from_ms, to_ms = ref_ms;
    struct tsn_series_list found = { 0 };
    size_t total = 0;

    if (e->u.matrix.range_ms <= 0)
        return empty_duration(ev);
    out->range_ms = e->u.matrix.range_ms;
    out->end_ms = ref_ms;
    out->start_ms = from_ms = ref_ms - out->range_ms;
    if (tsn_extended(sel))
        from_ms -= ev->opt.lookback_ms;
    if (sel->u.selector.smoothed)
        to_ms += ev->opt.lookback_ms;
    ev->storage->select(ev->storage->self, sel->u.selector.matchers, sel->u.selector.matcher_count, from_ms, to_ms,
                        &found);
    for (size_t i = 0; i < found.len; i++) {
        struct win w = { 0 };

        for (size_t n = 0; n < found.items[i].count; n++) {
            struct tsn_sample s = found.items[i].samples[n];

            if (s.ts_ms <= from_ms || s.ts_ms > to_ms || tsn_is_stale(s.value))
                continue;
            if (w.count == w.cap)
                w.samples = tsn_vec_grow(w.samples, &w.cap, w.count + 1, sizeof *w.samples);
            w.samples[w.count++] = s;
        }
        if (!w.count)
            continue;
        w.labels = tsn_labels_ref(found.items[i].labels);
        total += w.count;
        tsn_vec_push(out, w);
    }
    tsn_free(found.items);
    return count_samples(ev, total);
}

/* First multiple of step later than t. */
static int64_t first_multiple_after(int64_t t_ms, int64_t step_ms)
{
    int64_t k = t_ms / step_ms;

    if (t_ms % step_ms != 0 && t_ms < 0)
        k--;
    return (k + 1) * step_ms;
}

/* One step of a range or subquery: its elements join the series of m, which by_id finds. Every step
 * costs one sample even if it gives nothing, so that [100y:1ms] ends. */
static enum tsn_err add_step(struct eval *ev, const struct tsn_expr *root, int64_t t_ms, struct tsn_map *by_id,
                             struct mat *m)
{
    struct vec v = { 0 };
    double scalar;
    enum tsn_err err;

    if (root->type == TSN_TYPE_SCALAR) {
        err = tsn_ev_scalar(ev, root, t_ms, &scalar);
        if (!err)
            tsn_vec_elem(&v, tsn_labels_empty(), t_ms, scalar);
    } else {
        err = tsn_ev_vector(ev, root, t_ms, &v);
    }
    if (!err)
        err = count_samples(ev, v.len + 1);
    for (size_t i = 0; i < v.len && !err; i++) {
        bool created;
        void **slot = tsn_map_upsert(by_id, &v.items[i].labels->id, sizeof v.items[i].labels->id, &created);
        struct tsn_sample s = { t_ms, v.items[i].value };
        struct win *w;

        if (created) {
            struct win fresh = { .labels = tsn_labels_ref(v.items[i].labels) };

            *slot = (void *)(uintptr_t)m->len;
            tsn_vec_push(m, fresh);
        }
        w = &m->items[(uintptr_t)*slot];
        if (w->count == w->cap)
            w->samples = tsn_vec_grow(w->samples, &w->cap, w->count + 1, sizeof *w->samples);
        w->samples[w->count++] = s;
    }
    tsn_vec_free(&v);
    return err;
}

static enum tsn_err subquery(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct mat *out)
{
    int64_t ref_ms = reference_time(ev, e->u.subquery.at, e->u.subquery.at_ms, e->u.subquery.offset_ms, at_ms);
    int64_t step_ms = e->u.subquery.step_ms ? e->u.subquery.step_ms : ev->opt.default_step_ms;
    struct tsn_map by_id;
    enum tsn_err err = TSN_OK;

    if (e->u.subquery.range_ms <= 0 || step_ms <= 0)
        return empty_duration(ev);
    out->range_ms = e->u.subquery.range_ms;
    out->end_ms = ref_ms;
    out->start_ms = ref_ms - out->range_ms;
    tsn_map_init(&by_id);
    for (int64_t t = first_multiple_after(out->start_ms, step_ms); t <= ref_ms && !err; t += step_ms)
        err = add_step(ev, e->u.subquery.operand, t, &by_id, out);
    tsn_map_release(&by_id);
    return err;
}

enum tsn_err tsn_ev_matrix(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct mat *out)
{
    e = tsn_expr_unwrap(e);
    return e->kind == TSN_EXPR_SUBQUERY ? subquery(ev, e, at_ms, out) : select_range(ev, e, at_ms, out);
}

static enum tsn_err negate(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    enum tsn_err err = tsn_ev_vector(ev, e->u.unary.operand, at_ms, out);

    for (size_t i = 0; i < out->len && !err && e->u.unary.negate; i++) {
        struct tsn_labels *bare = tsn_labels_drop_name(out->items[i].labels);

        tsn_labels_unref(out->items[i].labels);
        out->items[i].labels = bare;
        out->items[i].value = -out->items[i].value;
    }
    return err ? err : tsn_vec_unique(ev, out);
}

enum tsn_err tsn_ev_vector(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    e = tsn_expr_unwrap(e);
    switch (e->kind) {
    case TSN_EXPR_SELECTOR:
        return select_instant(ev, e, at_ms, out); /* elements keep their samples' times: timestamp() */
    case TSN_EXPR_UNARY: return negate(ev, e, at_ms, out);
    case TSN_EXPR_BINARY: return tsn_ev_binary(ev, e, at_ms, out);
    case TSN_EXPR_CALL: return tsn_ev_call(ev, e, at_ms, out);
    case TSN_EXPR_AGGREGATE: return tsn_ev_aggregate(ev, e, at_ms, out);
    default: return tsn_error_set(ev->error, TSN_ERR_INTERNAL, "an expression of this kind is no vector");
    }
}

enum tsn_err tsn_ev_scalar(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, double *out)
{
    double a, b;
    bool keep;
    enum tsn_err err;

    e = tsn_expr_unwrap(e);
    switch (e->kind) {
    case TSN_EXPR_NUMBER: *out = e->u.number; return TSN_OK;
    case TSN_EXPR_UNARY:
        err = tsn_ev_scalar(ev, e->u.unary.operand, at_ms, out);
        *out = e->u.unary.negate ? -*out : *out;
        return err;
    case TSN_EXPR_BINARY:
        if ((err = tsn_ev_scalar(ev, e->u.binary.lhs, at_ms, &a)) ||
            (err = tsn_ev_scalar(ev, e->u.binary.rhs, at_ms, &b)))
            return err;
        *out = tsn_binop_apply(e->u.binary.op, a, b, &keep);
        if (tsn_binop_is_comparison(e->u.binary.op))
            *out = keep ? 1 : 0;
        return TSN_OK;
    case TSN_EXPR_CALL:
        switch (e->u.call.func->id) {
        case TSN_FN_TIME: *out = (double)at_ms / 1000; return TSN_OK;
        case TSN_FN_PI: *out = M_PI; return TSN_OK;
        case TSN_FN_SCALAR: {
            struct vec v = { 0 };

            err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, &v);
            *out = v.len == 1 ? v.items[0].value : NAN;
            tsn_vec_free(&v);
            return err;
        }
        default: break;
        }
        /* fall through */
    default: return tsn_error_set(ev->error, TSN_ERR_INTERNAL, "an expression of this kind is no scalar");
    }
}

/* ---- the public face ---------------------------------------------------------------------- */

void tsn_result_init(struct tsn_result *result)
{
    memset(result, 0, sizeof *result);
}

void tsn_result_release(struct tsn_result *result)
{
    for (size_t i = 0; i < result->vector_len; i++)
        tsn_labels_unref(result->vector[i].labels);
    for (size_t i = 0; i < result->matrix_len; i++) {
        tsn_labels_unref(result->matrix[i].labels);
        tsn_free(result->matrix[i].points);
    }
    tsn_free(result->vector);
    tsn_free(result->matrix);
    tsn_free(result->string);
    tsn_result_init(result);
}

struct eval tsn_eval_make(const struct tsn_storage *storage, const struct tsn_eval_options *options,
                          int64_t start_ms, int64_t end_ms, struct tsn_error *error)
{
    struct eval ev = { .storage = storage, .error = error };

    if (options)
        ev.opt = *options;
    if (!ev.opt.lookback_ms)
        ev.opt.lookback_ms = 300000;
    if (!ev.opt.default_step_ms)
        ev.opt.default_step_ms = 60000;
    if (!ev.opt.max_samples)
        ev.opt.max_samples = DEFAULT_MAX_SAMPLES;
    ev.opt.start_ms = start_ms;
    ev.opt.end_ms = end_ms;
    return ev;
}

static void vector_result(struct vec *v, int64_t at_ms, struct tsn_result *result)
{
    result->vector = tsn_calloc(v->len, sizeof *result->vector);
    result->vector_len = result->vector_cap = v->len;
    for (size_t i = 0; i < v->len; i++)
        result->vector[i] = (struct tsn_vector_sample){ v->items[i].labels, at_ms, v->items[i].value };
    tsn_vec_release(v);
}

static void matrix_result(struct mat *m, struct tsn_result *result)
{
    result->matrix = tsn_calloc(m->len, sizeof *result->matrix);
    result->matrix_len = result->matrix_cap = m->len;
    for (size_t i = 0; i < m->len; i++)
        result->matrix[i] = (struct tsn_matrix_series){ m->items[i].labels, m->items[i].samples, m->items[i].count,
                                                        m->items[i].cap };
    tsn_vec_release(m);
}

enum tsn_err tsn_eval_instant(const struct tsn_query *query, const struct tsn_storage *storage, int64_t at_ms,
                              const struct tsn_eval_options *options, struct tsn_result *result,
                              struct tsn_error *error)
{
    struct eval ev = tsn_eval_make(storage, options, at_ms, at_ms, error);
    const struct tsn_expr *root = tsn_expr_unwrap(query->root);
    struct vec v = { 0 };
    struct mat m = { 0 };
    enum tsn_err err = TSN_OK;

    result->type = query->root->type;
    switch (result->type) {
    case TSN_TYPE_SCALAR: return tsn_ev_scalar(&ev, root, at_ms, &result->scalar);
    case TSN_TYPE_STRING: result->string = tsn_strndup(root->u.string.text, root->u.string.len); return TSN_OK;
    case TSN_TYPE_MATRIX:
        err = tsn_ev_matrix(&ev, root, at_ms, &m);
        if (!err && tsn_extended(root))
            tsn_extend_windows(&m, root);
        if (!err)
            matrix_result(&m, result);
        tsn_mat_free(&m);
        return err;
    default:
        err = tsn_ev_vector(&ev, root, at_ms, &v);
        if (!err)
            vector_result(&v, at_ms, result);
        tsn_vec_free(&v);
        return err;
    }
}

enum tsn_err tsn_eval_range(const struct tsn_query *query, const struct tsn_storage *storage, int64_t start_ms,
                            int64_t end_ms, int64_t step_ms, const struct tsn_eval_options *options,
                            struct tsn_result *result, struct tsn_error *error)
{
    struct eval ev = tsn_eval_make(storage, options, start_ms, end_ms, error);
    const struct tsn_expr *root = tsn_expr_unwrap(query->root);
    struct tsn_map by_id;
    struct mat m = { 0 };
    size_t points = 0;
    enum tsn_err err = TSN_OK;

    if (root->type != TSN_TYPE_SCALAR && root->type != TSN_TYPE_VECTOR)
        return tsn_error_set(error, TSN_ERR_INVALID,
                             "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                             root->type == TSN_TYPE_MATRIX ? "range vector" : "string");
    tsn_map_init(&by_id);
    if (step_ms <= 0)
        err = tsn_error_set(error, TSN_ERR_INVALID, "zero or negative query resolution step widths are not accepted");
    for (int64_t t = start_ms; t <= end_ms && !err; t += step_ms) {
        ev.samples = ++points; /* a step's samples are let go after it, its points stay */
        err = add_step(&ev, root, t, &by_id, &m);
        if ((uint64_t)end_ms - (uint64_t)t < (uint64_t)step_ms) /* the next is later, or beyond int64 */
            break;
    }
    result->type = TSN_TYPE_MATRIX;
    if (!err)
        matrix_result(&m, result);
    tsn_mat_free(&m);
    tsn_map_release(&by_id);
    return err;
}
