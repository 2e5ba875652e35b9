/*
 * eval_call: the functions, naive form. One element in, at most one out, save for those that look
 * at the whole vector (absent, histogram_quantile, sort, vector, label_*).
 */
#include "promql/eval_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- windows ------------------------------------------------------------------------------ */

static double *values_of(const struct win *w)
{
    double *values = tsn_calloc(w->count, sizeof *values);

    for (size_t i = 0; i < w->count; i++)
        values[i] = w->samples[i].value;
    return values;
}

static double quantile_of(const struct win *w, double q)
{
    double *values = values_of(w), result = tsn_quantile(q, values, w->count);

    tsn_free(values);
    return result;
}

static double average(const struct win *w, const struct tsn_fold *f)
{
    double *values, mean;

    if (!isinf(f->sum.sum))
        return tsn_mean_of_sum(f->sum, f->count);
    values = values_of(w);
    mean = tsn_mean_of(values, w->count);
    tsn_free(values);
    return mean;
}

static bool instant_delta(const struct win *w, bool rate, double *out)
{
    struct tsn_sample last, previous;

    if (w->count < 2)
        return false;
    last = w->samples[w->count - 1];
    previous = w->samples[w->count - 2];
    if (last.ts_ms == previous.ts_ms)
        return false;
    *out = rate && last.value < previous.value ? last.value : last.value - previous.value;
    if (rate)
        *out /= (double)(last.ts_ms - previous.ts_ms) / 1000;
    return true;
}

static bool regression(const struct win *w, int64_t at_ms, enum tsn_function_id id, double ahead_s, double *out)
{
    double slope, intercept;

    if (w->count < 2)
        return false;
    tsn_linear_regression(w->samples, w->count, id == TSN_FN_DERIV ? w->samples[0].ts_ms : at_ms, &slope, &intercept);
    *out = id == TSN_FN_DERIV ? slope : slope * ahead_s + intercept;
    return true;
}

bool tsn_fold_value(enum tsn_function_id id, const struct tsn_fold *f, const struct mat *m, double *out)
{
    bool counter = id == TSN_FN_RATE || id == TSN_FN_INCREASE;

    switch (id) {
    case TSN_FN_RATE:
    case TSN_FN_INCREASE:
    case TSN_FN_DELTA:
        return tsn_rate_kernel(f->count, f->first, f->last, counter ? tsn_ksum_value(f->reset_sum) : 0, m->start_ms,
                               m->end_ms, m->range_ms, counter, id == TSN_FN_RATE, out);
    case TSN_FN_CHANGES: *out = f->changes; return true;
    case TSN_FN_RESETS: *out = f->resets; return true;
    case TSN_FN_SUM_OVER_TIME: *out = tsn_plain_nan(tsn_ksum_value(f->sum)); return true;
    case TSN_FN_AVG_OVER_TIME: *out = tsn_mean_of_sum(f->sum, f->count); return true;
    case TSN_FN_COUNT_OVER_TIME: *out = (double)f->count; return true;
    case TSN_FN_MIN_OVER_TIME: *out = f->min; return true;
    case TSN_FN_MAX_OVER_TIME: *out = f->max; return true;
    case TSN_FN_LAST_OVER_TIME: *out = f->last.value; return true;
    case TSN_FN_FIRST_OVER_TIME: *out = f->first.value; return true;
    case TSN_FN_STDVAR_OVER_TIME: *out = tsn_plain_nan(f->m2 / (double)f->count); return true;
    case TSN_FN_STDDEV_OVER_TIME: *out = tsn_plain_nan(sqrt(f->m2 / (double)f->count)); return true;
    case TSN_FN_PRESENT_OVER_TIME: *out = 1; return true;
    default: return false;
    }
}

bool tsn_window_value(enum tsn_function_id id, const struct win *w, const struct mat *m, int64_t at_ms, double param,
                      double *out)
{
    struct tsn_fold f = tsn_fold_window(w->samples, w->count, m->start_ms, m->range_ms);

    switch (id) {
    case TSN_FN_IRATE: return instant_delta(w, true, out);
    case TSN_FN_IDELTA: return instant_delta(w, false, out);
    case TSN_FN_DERIV:
    case TSN_FN_PREDICT_LINEAR: return regression(w, at_ms, id, param, out);
    case TSN_FN_AVG_OVER_TIME: *out = average(w, &f); return true;
    case TSN_FN_QUANTILE_OVER_TIME: *out = quantile_of(w, param); return true;
    default: return tsn_fold_value(id, &f, m, out);
    }
}

static enum tsn_err over_windows(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    enum tsn_function_id id = e->u.call.func->id;
    uint32_t range_arg = id == TSN_FN_QUANTILE_OVER_TIME ? 1 : 0;
    bool keeps_name = id == TSN_FN_LAST_OVER_TIME || id == TSN_FN_FIRST_OVER_TIME;
    bool extended = tsn_extended(e->u.call.args[range_arg]);
    struct mat m = { 0 };
    double param = 0;
    enum tsn_err err = TSN_OK;

    if (e->u.call.arg_count == 2)
        err = tsn_ev_scalar(ev, e->u.call.args[1 - range_arg], at_ms, &param);
    if (!err)
        err = tsn_extended_check(ev, e->u.call.func, e->u.call.args[range_arg]);
    if (!err)
        err = tsn_ev_matrix(ev, e->u.call.args[range_arg], at_ms, &m);
    for (size_t i = 0; i < m.len && !err; i++) {
        double value;
        bool has = extended ? tsn_extended_value(id, e->u.call.args[range_arg], &m.items[i], &m, &value)
                            : tsn_window_value(id, &m.items[i], &m, at_ms, param, &value);

        if (has)
            tsn_vec_elem(out, keeps_name ? tsn_labels_ref(m.items[i].labels) : tsn_labels_drop_name(m.items[i].labels),
                         at_ms, value);
    }
    tsn_mat_free(&m);
    return err ? err : tsn_vec_unique(ev, out);
}

/* ---- element by element ------------------------------------------------------------------- */

static double round_to(double v, double nearest)
{
    double inverse = 1.0 / nearest;

    return floor(v * inverse + 0.5) / inverse;
}

double tsn_math_value(enum tsn_function_id id, double v, double a, double b)
{
    switch (id) {
    case TSN_FN_ABS: return fabs(v);
    case TSN_FN_CEIL: return ceil(v);
    case TSN_FN_FLOOR: return floor(v);
    case TSN_FN_EXP: return exp(v);
    case TSN_FN_SQRT: return sqrt(v);
    case TSN_FN_LN: return log(v);
    case TSN_FN_LOG2: return log2(v);
    case TSN_FN_LOG10: return log10(v);
    case TSN_FN_SIN: return sin(v);
    case TSN_FN_COS: return cos(v);
    case TSN_FN_TAN: return tan(v);
    case TSN_FN_ASIN: return asin(v);
    case TSN_FN_ACOS: return acos(v);
    case TSN_FN_ATAN: return atan(v);
    case TSN_FN_SINH: return sinh(v);
    case TSN_FN_COSH: return cosh(v);
    case TSN_FN_TANH: return tanh(v);
    case TSN_FN_ASINH: return asinh(v);
    case TSN_FN_ACOSH: return acosh(v);
    case TSN_FN_ATANH: return atanh(v);
    case TSN_FN_RAD: return v * (M_PI / 180);
    case TSN_FN_DEG: return v * (180 / M_PI);
    case TSN_FN_SGN: return v < 0 ? -1 : v > 0 ? 1 : v;
    case TSN_FN_CLAMP: return tsn_max(a, tsn_min(b, v));
    case TSN_FN_CLAMP_MIN: return tsn_max(a, tsn_min(INFINITY, v));
    case TSN_FN_CLAMP_MAX: return tsn_max(-INFINITY, tsn_min(a, v));
    case TSN_FN_ROUND: return round_to(v, a);
    default: return tsn_date_part(id, v);
    }
}

bool tsn_function_is_date(enum tsn_function_id id)
{
    return id == TSN_FN_DAY_OF_MONTH || id == TSN_FN_DAY_OF_WEEK || id == TSN_FN_DAY_OF_YEAR ||
           id == TSN_FN_DAYS_IN_MONTH || id == TSN_FN_HOUR || id == TSN_FN_MINUTE || id == TSN_FN_MONTH ||
           id == TSN_FN_YEAR;
}

static enum tsn_err elementwise(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    enum tsn_function_id id = e->u.call.func->id;
    double param[2] = { 1, 0 };
    struct vec in = { 0 };
    enum tsn_err err = TSN_OK;

    if (tsn_function_is_date(id) && e->u.call.arg_count == 0) {
        tsn_vec_elem(out, tsn_labels_empty(), at_ms, tsn_date_part(id, floor((double)at_ms / 1000)));
        return TSN_OK;
    }
    for (uint32_t i = 1; i < e->u.call.arg_count && i <= 2 && !err; i++)
        err = tsn_ev_scalar(ev, e->u.call.args[i], at_ms, &param[i - 1]);
    if (!err)
        err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, &in);
    if (id == TSN_FN_CLAMP && param[0] > param[1])
        in.len = in.len ? (tsn_vec_free(&in), 0) : 0;
    for (size_t i = 0; i < in.len && !err; i++)
        tsn_vec_elem(out, tsn_labels_drop_name(in.items[i].labels), at_ms,
                     tsn_math_value(id, in.items[i].value, param[0], param[1]));
    tsn_vec_free(&in);
    return err ? err : tsn_vec_unique(ev, out);
}

/* The time of the sample itself for a plain selector, of the evaluation for anything else. */
static enum tsn_err timestamps(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    const struct tsn_expr *arg = tsn_expr_unwrap(e->u.call.args[0]);
    struct vec in = { 0 };
    enum tsn_err err = arg->kind == TSN_EXPR_SELECTOR ? tsn_ev_newest(ev, arg, at_ms, &in)
                                                      : tsn_ev_vector(ev, arg, at_ms, &in);

    for (size_t i = 0; i < in.len && !err; i++)
        tsn_vec_elem(out, tsn_labels_drop_name(in.items[i].labels), at_ms,
                     (double)(arg->kind == TSN_EXPR_SELECTOR ? in.items[i].ts_ms : at_ms) / 1000);
    tsn_vec_free(&in);
    return err ? err : tsn_vec_unique(ev, out);
}

/* ---- whole vectors ------------------------------------------------------------------------ */

/* Labels of the equality matchers whose label no later matcher names again; {} for anything but a
 * selector. Taken in turn: a!="x",a="y" gives a="y", as in Prometheus. */
struct tsn_labels *tsn_absent_labels(const struct tsn_expr *arg)
{
    const struct tsn_expr *sel = tsn_expr_unwrap(arg);
    struct tsn_labels_builder b;
    struct tsn_labels *labels;

    if (sel->kind == TSN_EXPR_MATRIX)
        sel = tsn_expr_unwrap(sel->u.matrix.selector);
    if (sel->kind != TSN_EXPR_SELECTOR)
        return tsn_labels_empty();
    tsn_labels_builder_init(&b);
    for (uint32_t i = 0; i < sel->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &sel->u.selector.matchers[i];
        bool first = true;

        for (uint32_t k = 0; k < i; k++)
            first = first && !(sel->u.selector.matchers[k].op == TSN_MATCH_EQ &&
                               strcmp(sel->u.selector.matchers[k].name, m->name) == 0);
        if (tsn_label_is_metadata(m->name))
            continue;
        if (m->op == TSN_MATCH_EQ && first)
            tsn_labels_builder_setn(&b, m->name, m->name_len, m->value, m->value_len);
        else
            tsn_labels_builder_del(&b, m->name);
    }
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

static enum tsn_err absent(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    const struct tsn_expr *arg = e->u.call.args[0];
    struct vec v = { 0 };
    struct mat m = { 0 };
    enum tsn_err err = TSN_OK;

    if (e->u.call.func->id == TSN_FN_ABSENT)
        err = tsn_ev_vector(ev, arg, at_ms, &v);
    else if (!(err = tsn_extended_check(ev, e->u.call.func, arg)))
        err = tsn_ev_matrix(ev, arg, at_ms, &m);

    if (!err && !v.len && !m.len)
        tsn_vec_elem(out, tsn_absent_labels(arg), at_ms, 1);
    tsn_vec_free(&v);
    tsn_mat_free(&m);
    return err;
}

int tsn_elem_ascending(const void *a, const void *b)
{
    const struct elem *x = a, *y = b;

    if (isnan(x->value) || isnan(y->value))
        return isnan(x->value) - isnan(y->value);
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return tsn_labels_compare(x->labels, y->labels);
}

int tsn_elem_descending(const void *a, const void *b)
{
    const struct elem *x = a, *y = b;

    if (isnan(x->value) || isnan(y->value) || x->value == y->value)
        return tsn_elem_ascending(a, b);
    return x->value > y->value ? -1 : 1;
}

struct histogram {
    struct tsn_labels *labels; /* with the name: two metrics are two histograms */
    TSN_VEC(struct tsn_bucket) buckets;
};

/* Gathers classic buckets by the labels less le. Both histogram functions stand on it. */
static enum tsn_err classic_histograms(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, uint32_t scalars,
                                       struct vec *out)
{
    static const char *const le[] = { "le" };
    struct vec in = { 0 };
    struct tsn_map by_id;
    TSN_VEC(struct histogram) all = { 0 };
    double param[2] = { 0, 0 };
    enum tsn_err err = TSN_OK;

    for (uint32_t i = 0; i < scalars && !err; i++)
        err = tsn_ev_scalar(ev, e->u.call.args[i], at_ms, &param[i]);
    if (!err)
        err = tsn_ev_vector(ev, e->u.call.args[scalars], at_ms, &in);
    tsn_map_init(&by_id);
    for (size_t i = 0; i < in.len && !err; i++) {
        const char *text = tsn_labels_get(in.items[i].labels, "le");
        struct tsn_bucket bucket = { 0, in.items[i].value };
        struct histogram fresh = { 0 };
        bool created;
        void **slot;

        if (!text || !tsn_parse_double(text, strlen(text), &bucket.upper) || isnan(bucket.upper))
            continue;
        fresh.labels = tsn_labels_project(in.items[i].labels, le, 1, false, false);
        slot = tsn_map_upsert(&by_id, &fresh.labels->id, sizeof fresh.labels->id, &created);
        if (created) {
            *slot = (void *)(uintptr_t)all.len;
            tsn_vec_push(&all, fresh);
        } else {
            tsn_labels_unref(fresh.labels);
        }
        tsn_vec_push(&all.items[(uintptr_t)*slot].buckets, bucket);
    }
    for (size_t i = 0; i < all.len; i++) {
        struct histogram *h = &all.items[i];

        tsn_vec_elem(out, tsn_labels_drop_name(h->labels), at_ms,
                     scalars == 1 ? tsn_bucket_quantile(param[0], h->buckets.items, h->buckets.len)
                                  : tsn_bucket_fraction(param[0], param[1], h->buckets.items, h->buckets.len));
        tsn_labels_unref(h->labels);
        tsn_vec_release(&h->buckets);
    }
    tsn_vec_release(&all);
    tsn_map_release(&by_id);
    tsn_vec_free(&in);
    return err ? err : tsn_vec_unique(ev, out);
}

static const struct tsn_expr *text_arg(const struct tsn_expr *e, uint32_t i)
{
    return tsn_expr_unwrap(e->u.call.args[i]);
}

struct tsn_labels *tsn_label_replaced(const struct tsn_expr *e, const struct tsn_regex *regex,
                                      struct tsn_labels *labels)
{
    const struct tsn_expr *dst = text_arg(e, 1), *repl = text_arg(e, 2), *src = text_arg(e, 3);
    const struct tsn_label *from = tsn_labels_find(labels, src->u.string.text, src->u.string.len);
    struct tsn_buf value = TSN_BUF_INIT;
    struct tsn_labels_builder b;
    struct tsn_labels *changed = NULL;

    if (tsn_regex_expand(regex, from ? from->value : "", from ? from->value_len : 0, repl->u.string.text,
                         repl->u.string.len, &value)) {
        tsn_labels_builder_init(&b);
        tsn_labels_builder_from(&b, labels);
        tsn_labels_builder_setn(&b, dst->u.string.text, dst->u.string.len, tsn_buf_str(&value), value.len);
        changed = tsn_labels_builder_finish(&b);
        tsn_labels_builder_release(&b);
    }
    tsn_buf_release(&value);
    return changed ? changed : tsn_labels_ref(labels);
}

static enum tsn_err label_replace(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    const struct tsn_expr *dst = text_arg(e, 1), *re = text_arg(e, 4);
    struct tsn_regex *regex = tsn_regex_new(re->u.string.text, re->u.string.len, NULL);
    enum tsn_err err;

    if (!regex)
        return tsn_error_set(ev->error, TSN_ERR_INVALID, "invalid regular expression in label_replace(): %s",
                             re->u.string.text);
    if (!dst->u.string.len || !tsn_utf8_valid(dst->u.string.text, dst->u.string.len)) {
        tsn_regex_free(&regex);
        return tsn_error_set(ev->error, TSN_ERR_INVALID, "invalid destination label name in label_replace(): %s",
                             dst->u.string.text);
    }
    err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, out);
    for (size_t i = 0; i < out->len && !err; i++) {
        struct tsn_labels *changed = tsn_label_replaced(e, regex, out->items[i].labels);

        tsn_labels_unref(out->items[i].labels);
        out->items[i].labels = changed;
    }
    tsn_regex_free(&regex);
    return err ? err : tsn_vec_unique(ev, out);
}

struct tsn_labels *tsn_label_joined(const struct tsn_expr *e, struct tsn_labels *labels)
{
    const struct tsn_expr *dst = text_arg(e, 1), *sep = text_arg(e, 2);
    struct tsn_buf value = TSN_BUF_INIT;
    struct tsn_labels_builder b;
    struct tsn_labels *joined;

    for (uint32_t a = 3; a < e->u.call.arg_count; a++) {
        const struct tsn_expr *name = text_arg(e, a);
        const struct tsn_label *l = tsn_labels_find(labels, name->u.string.text, name->u.string.len);

        if (a > 3)
            tsn_buf_append(&value, sep->u.string.text, sep->u.string.len);
        if (l)
            tsn_buf_append(&value, l->value, l->value_len);
    }
    tsn_labels_builder_init(&b);
    tsn_labels_builder_from(&b, labels);
    tsn_labels_builder_setn(&b, dst->u.string.text, dst->u.string.len, tsn_buf_str(&value), value.len);
    joined = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    tsn_buf_release(&value);
    return joined;
}

static enum tsn_err label_join(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    const struct tsn_expr *dst = text_arg(e, 1);
    enum tsn_err err;

    if (!dst->u.string.len || !tsn_utf8_valid(dst->u.string.text, dst->u.string.len))
        return tsn_error_set(ev->error, TSN_ERR_INVALID, "invalid destination label name in label_join(): %s",
                             dst->u.string.text);
    for (uint32_t a = 3; a < e->u.call.arg_count; a++)
        if (!text_arg(e, a)->u.string.len ||
            !tsn_utf8_valid(text_arg(e, a)->u.string.text, text_arg(e, a)->u.string.len))
            return tsn_error_set(ev->error, TSN_ERR_INVALID, "invalid source label name in label_join(): %s",
                                 text_arg(e, a)->u.string.text);
    err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, out);
    for (size_t i = 0; i < out->len && !err; i++) {
        struct tsn_labels *joined = tsn_label_joined(e, out->items[i].labels);

        tsn_labels_unref(out->items[i].labels);
        out->items[i].labels = joined;
    }
    return err ? err : tsn_vec_unique(ev, out);
}

enum tsn_err tsn_ev_call(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    const struct tsn_function *f = e->u.call.func;
    enum tsn_err err;
    double value;

    switch (f->id) {
    case TSN_FN_ABSENT:
    case TSN_FN_ABSENT_OVER_TIME: return absent(ev, e, at_ms, out);
    case TSN_FN_HISTOGRAM_QUANTILE: return classic_histograms(ev, e, at_ms, 1, out);
    case TSN_FN_HISTOGRAM_FRACTION: return classic_histograms(ev, e, at_ms, 2, out);
    case TSN_FN_HISTOGRAM_AVG: /* native histograms only: floats give nothing */
    case TSN_FN_HISTOGRAM_COUNT:
    case TSN_FN_HISTOGRAM_SUM:
    case TSN_FN_HISTOGRAM_STDDEV:
    case TSN_FN_HISTOGRAM_STDVAR:
        err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, out);
        tsn_vec_free(out);
        return err;
    case TSN_FN_LABEL_REPLACE: return label_replace(ev, e, at_ms, out);
    case TSN_FN_LABEL_JOIN: return label_join(ev, e, at_ms, out);
    case TSN_FN_SORT:
    case TSN_FN_SORT_DESC:
        err = tsn_ev_vector(ev, e->u.call.args[0], at_ms, out);
        if (out->len)
            qsort(out->items, out->len, sizeof *out->items, f->id == TSN_FN_SORT ? tsn_elem_ascending : tsn_elem_descending);
        return err;
    case TSN_FN_TIMESTAMP: return timestamps(ev, e, at_ms, out);
    case TSN_FN_VECTOR:
        err = tsn_ev_scalar(ev, e->u.call.args[0], at_ms, &value);
        if (!err)
            tsn_vec_elem(out, tsn_labels_empty(), at_ms, value);
        return err;
    default: break;
    }
    for (uint32_t i = 0; i < e->u.call.arg_count; i++)
        if (e->u.call.args[i]->type == TSN_TYPE_MATRIX)
            return over_windows(ev, e, at_ms, out);
    return elementwise(ev, e, at_ms, out);
}
