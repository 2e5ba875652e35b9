/*
 * eval_aggregate: sum, avg, topk and the rest. Elements are added in canonical order of their
 * labels, so the same vector gives the same bits whoever produced it.
 */
#include "promql/eval_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct group {
    struct tsn_labels *labels;
    TSN_VEC(struct elem) members; /* borrowed labels, canonical order */
};
struct groups {
    struct group *items;
    size_t len, cap;
};

static int canonical(const void *a, const void *b)
{
    return tsn_labels_compare(((const struct elem *)a)->labels, ((const struct elem *)b)->labels);
}

/* value_label: count_values' own, else NULL. */
static void into_groups(const struct tsn_expr *e, struct vec *in, const char *value_label, struct groups *groups)
{
    bool without = e->u.aggregate.without;
    uint32_t count = e->u.aggregate.label_count;
    const char **names = tsn_calloc(count + 1, sizeof *names);
    struct tsn_map by_id;

    for (uint32_t i = 0; i < count; i++)
        names[i] = e->u.aggregate.labels[i];
    if (value_label && !without)
        names[count++] = value_label;

    if (in->len)
        qsort(in->items, in->len, sizeof *in->items, canonical);
    tsn_map_init(&by_id);
    for (size_t i = 0; i < in->len; i++) {
        struct group fresh = { 0 };
        bool created;
        void **slot;

        fresh.labels = tsn_labels_project(in->items[i].labels, names, count, !without, without);
        slot = tsn_map_upsert(&by_id, &fresh.labels->id, sizeof fresh.labels->id, &created);
        if (created) {
            *slot = (void *)(uintptr_t)groups->len;
            tsn_vec_push(groups, fresh);
        } else {
            tsn_labels_unref(fresh.labels);
        }
        tsn_vec_push(&groups->items[(uintptr_t)*slot].members, in->items[i]);
    }
    tsn_map_release(&by_id);
    tsn_free(names);
}

static double *values_of(const struct group *g)
{
    double *values = tsn_calloc(g->members.len, sizeof *values);

    for (size_t i = 0; i < g->members.len; i++)
        values[i] = g->members.items[i].value;
    return values;
}

static double extreme_of(const double *values, size_t count, bool greatest)
{
    double best = values[0];

    for (size_t i = 1; i < count; i++)
        if (isnan(best) || (greatest ? values[i] > best : values[i] < best))
            best = values[i];
    return best;
}

double tsn_aggregate_values(enum tsn_aggop op, double *values, size_t count, double param)
{
    switch (op) {
    case TSN_AGG_SUM: return tsn_sum_of(values, count);
    case TSN_AGG_AVG: return tsn_mean_of(values, count);
    case TSN_AGG_MIN: return extreme_of(values, count, false);
    case TSN_AGG_MAX: return extreme_of(values, count, true);
    case TSN_AGG_COUNT:
    case TSN_AGG_COUNT_VALUES: return (double)count;
    case TSN_AGG_GROUP: return 1;
    case TSN_AGG_STDVAR: return tsn_variance_of(values, count);
    case TSN_AGG_STDDEV: return sqrt(tsn_variance_of(values, count));
    case TSN_AGG_QUANTILE: return tsn_quantile(param, values, count);
    default: return 0;
    }
}

static double reduce(enum tsn_aggop op, const struct group *g, double param)
{
    double *values = values_of(g), result = tsn_aggregate_values(op, values, g->members.len, param);

    tsn_free(values);
    return result;
}

static void take_k(const struct group *g, enum tsn_aggop op, double k, int64_t at_ms, struct vec *out)
{
    size_t count = g->members.len, want = k >= (double)count ? count : (size_t)k;
    uint32_t *picked = tsn_calloc(want, sizeof *picked);
    double *values = values_of(g);

    want = tsn_top_k(values, count, want, op == TSN_AGG_BOTTOMK, picked);
    for (size_t i = 0; i < want; i++)
        tsn_vec_elem(out, tsn_labels_ref(g->members.items[picked[i]].labels), at_ms, values[picked[i]]);
    tsn_free(values);
    tsn_free(picked);
}

/* count_values: each element's value becomes the named label, which then is one of the grouping's
 * (by), or falls to it (without). */
static void values_to_labels(struct vec *in, const char *label)
{
    struct tsn_labels_builder b;

    tsn_labels_builder_init(&b);
    for (size_t i = 0; i < in->len; i++) {
        char text[TSN_DOUBLE_TEXT];
        size_t len = tsn_format_double(text, sizeof text, in->items[i].value, 'f', 0);

        tsn_labels_builder_from(&b, in->items[i].labels);
        tsn_labels_builder_setn(&b, label, strlen(label), text, len);
        tsn_labels_unref(in->items[i].labels);
        in->items[i].labels = tsn_labels_builder_finish(&b);
    }
    tsn_labels_builder_release(&b);
}

static enum tsn_err read_param(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, double *param,
                               const char **label)
{
    const struct tsn_expr *p = e->u.aggregate.param ? tsn_expr_unwrap(e->u.aggregate.param) : NULL;
    enum tsn_err err;

    if (!p)
        return TSN_OK;
    if (p->kind == TSN_EXPR_STRING) {
        *label = p->u.string.text;
        if (!p->u.string.len || !tsn_utf8_valid(p->u.string.text, p->u.string.len))
            return tsn_error_set(ev->error, TSN_ERR_INVALID, "invalid label name \"%s\"", p->u.string.text);
        return TSN_OK;
    }
    err = tsn_ev_scalar(ev, p, at_ms, param);
    if (err || e->u.aggregate.op == TSN_AGG_QUANTILE)
        return err;
    if (isnan(*param))
        return tsn_error_set(ev->error, TSN_ERR_INVALID, "Parameter value is NaN");
    if (*param >= 0x1p63)
        return tsn_error_set(ev->error, TSN_ERR_INVALID, "Scalar value %g overflows int64", *param);
    return TSN_OK; /* anything below 1 gives nothing */
}

static void give_groups(const struct tsn_expr *e, struct groups *groups, double param, int64_t at_ms, struct vec *out)
{
    enum tsn_aggop op = e->u.aggregate.op;

    for (size_t g = 0; g < groups->len; g++) {
        struct group *group = &groups->items[g];

        if (op == TSN_AGG_TOPK || op == TSN_AGG_BOTTOMK) {
            if (param >= 1)
                take_k(group, op, param, at_ms, out);
        } else {
            tsn_vec_elem(out, tsn_labels_ref(group->labels), at_ms, reduce(op, group, param));
        }
        tsn_labels_unref(group->labels);
        tsn_vec_release(&group->members);
    }
    tsn_vec_release(groups);
}

enum tsn_err tsn_count_values(struct eval *ev, const struct tsn_expr *e, struct vec *in, int64_t at_ms, struct vec *out)
{
    struct groups groups = { 0 };
    const char *label = NULL;
    double param;
    enum tsn_err err = read_param(ev, e, at_ms, &param, &label);

    if (!err) {
        values_to_labels(in, label);
        into_groups(e, in, label, &groups);
        give_groups(e, &groups, 0, at_ms, out);
    }
    tsn_vec_free(in);
    return err ? err : tsn_vec_unique(ev, out);
}

enum tsn_err tsn_ev_aggregate(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    enum tsn_aggop op = e->u.aggregate.op;
    struct groups groups = { 0 };
    struct vec in = { 0 };
    const char *label = NULL;
    double param = 0;
    enum tsn_err err = read_param(ev, e, at_ms, &param, &label);

    if (!err)
        err = tsn_ev_vector(ev, e->u.aggregate.operand, at_ms, &in);
    if (!err && label)
        return tsn_count_values(ev, e, &in, at_ms, out);
    if (!err)
        into_groups(e, &in, NULL, &groups);
    give_groups(e, &groups, param, at_ms, out);
    tsn_vec_free(&in);
    if (err || op == TSN_AGG_TOPK || op == TSN_AGG_BOTTOMK)
        return err;
    return tsn_vec_unique(ev, out);
}
