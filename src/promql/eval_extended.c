/*
 * eval_extended: selectors `anchored` and `smoothed`, naive form (plans leave them to it).
 *
 * A window (ws, we] of such a selector also sees what lies around it: the samples of one lookback
 * before ws, and, smoothed, those of one lookback after we. What the functions take from there is
 * the value at either end of the window:
 *
 *     anchored   left: the last sample at or before ws, else the first in the window; right: the last sample
 *     smoothed   both: on the straight line between the samples on either side
 *
 * so that nothing is extrapolated. rate, increase and delta take both forms, changes and resets the
 * anchored one; other functions refuse them. A smoothed instant selector lies on the line between
 * the samples before and after; without one after, the one before stands.
 *
 * Source: Prometheus 3.16, promql/functions.go (extendedRate, pickOrInterpolateLeft and …Right,
 * pickFirstSampleIndices), promql/engine.go (extendFloats, smoothSeries).
 */
#include "promql/eval_int.h"

#include <math.h>

static const struct tsn_expr *selector_of(const struct tsn_expr *e)
{
    e = tsn_expr_unwrap(e);
    return e->kind == TSN_EXPR_MATRIX ? tsn_expr_unwrap(e->u.matrix.selector) : e;
}

bool tsn_extended(const struct tsn_expr *e)
{
    const struct tsn_expr *s = selector_of(e);

    return s->kind == TSN_EXPR_SELECTOR && (s->u.selector.anchored || s->u.selector.smoothed);
}

enum tsn_err tsn_extended_check(struct eval *ev, const struct tsn_function *f, const struct tsn_expr *arg)
{
    bool rate = f->id == TSN_FN_RATE || f->id == TSN_FN_INCREASE || f->id == TSN_FN_DELTA;
    bool pairs = f->id == TSN_FN_CHANGES || f->id == TSN_FN_RESETS;
    bool anchored;

    if (!tsn_extended(arg))
        return TSN_OK;
    anchored = selector_of(arg)->u.selector.anchored;
    if (rate || (pairs && anchored))
        return TSN_OK;
    return tsn_error_set(ev->error, TSN_ERR_INVALID, "%s modifier can only be used with: %s - not with %s",
                         anchored ? "anchored" : "smoothed",
                         anchored ? "changes, delta, increase, rate, resets" : "delta, increase, rate",
                         tsn_function_name(f));
}

/* On the line from a to b at t. A counter that was reset between them began at 0. */
static double on_line(struct tsn_sample a, struct tsn_sample b, int64_t t_ms, bool counter)
{
    double from = counter && b.value < a.value ? 0 : a.value;

    return from + (b.value - from) * (double)(t_ms - a.ts_ms) / (double)(b.ts_ms - a.ts_ms);
}

/* The samples that a window stands on, and its values at both ends. */
struct ends {
    size_t first, last; /* inside: samples strictly between start and end are first … last - 1 */
    double left, right;
};

/* False: no sample lies later than the window's start. */
static bool find_ends(const struct win *w, int64_t start_ms, int64_t end_ms, bool smoothed, bool counter,
                      struct ends *out)
{
    const struct tsn_sample *s = w->samples;
    size_t first = 0, last = w->count - 1;

    if (s[last].ts_ms <= start_ms)
        return false;
    while (first + 1 < w->count && s[first + 1].ts_ms <= start_ms)
        first++;
    while (smoothed && last && s[last - 1].ts_ms >= end_ms)
        last--;
    out->left = smoothed && s[first].ts_ms < start_ms ? on_line(s[first], s[first + 1], start_ms, counter)
                                                      : s[first].value;
    out->right = smoothed && last && s[last].ts_ms > end_ms ? on_line(s[last - 1], s[last], end_ms, counter)
                                                            : s[last].value;
    out->first = first + (s[first].ts_ms <= start_ms);
    out->last = last + (s[last].ts_ms < end_ms);
    return true;
}

static bool extended_rate(enum tsn_function_id id, bool smoothed, const struct win *w, const struct mat *m, double *out)
{
    bool counter = id != TSN_FN_DELTA;
    struct ends ends;
    double previous, correction = 0;

    if (w->samples[0].ts_ms > m->end_ms || !find_ends(w, m->start_ms, m->end_ms, smoothed, counter, &ends))
        return false; /* the line's ends both lie on one side */
    *out = ends.right - ends.left;
    previous = ends.left;
    for (size_t i = ends.first; i < ends.last && counter; i++) {
        if (w->samples[i].value < previous)
            correction += previous;
        previous = w->samples[i].value;
    }
    if (counter)
        *out += correction + (ends.right < previous ? previous : 0);
    if (id == TSN_FN_RATE)
        *out /= (double)m->range_ms / 1000;
    *out = tsn_plain_nan(*out);
    return true;
}

/* From the anchor on: the last sample at or before the start, if there is one. */
static bool pairs_of(enum tsn_function_id id, const struct win *w, const struct mat *m, double *out)
{
    size_t first = 0;
    struct win from;

    if (w->samples[w->count - 1].ts_ms <= m->start_ms)
        return false;
    while (w->samples[first + 1 < w->count ? first + 1 : first].ts_ms <= m->start_ms)
        first++;
    from = (struct win){ NULL, w->samples + first, w->count - first, 0 };
    return tsn_window_value(id, &from, m, m->end_ms, 0, out);
}

bool tsn_extended_value(enum tsn_function_id id, const struct tsn_expr *arg, const struct win *w, const struct mat *m,
                        double *out)
{
    if (id == TSN_FN_CHANGES || id == TSN_FN_RESETS)
        return pairs_of(id, w, m, out);
    return extended_rate(id, selector_of(arg)->u.selector.smoothed, w, m, out);
}

/* A range that is the answer itself: its two ends, and what lies between. */
static void extend_window(struct win *w, const struct mat *m, bool smoothed)
{
    struct ends ends;
    struct win out = { .labels = w->labels };

    if (find_ends(w, m->start_ms, m->end_ms, smoothed, false, &ends)) {
        size_t inside = ends.last > ends.first ? ends.last - ends.first : 0;

        out.samples = tsn_calloc(inside + 2, sizeof *out.samples);
        out.samples[out.count++] = (struct tsn_sample){ m->start_ms, ends.left };
        for (size_t i = 0; i < inside; i++)
            out.samples[out.count++] = w->samples[ends.first + i];
        out.samples[out.count++] = (struct tsn_sample){ m->end_ms, ends.right };
        out.cap = out.count;
    }
    tsn_free(w->samples);
    *w = out;
}

void tsn_extend_windows(struct mat *m, const struct tsn_expr *e)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->len; i++) {
        extend_window(&m->items[i], m, selector_of(e)->u.selector.smoothed);
        if (m->items[i].count)
            m->items[kept++] = m->items[i];
        else
            tsn_labels_unref(m->items[i].labels);
    }
    m->len = kept;
}

bool tsn_smoothed_value(const struct tsn_series_view *s, int64_t from_ms, int64_t at_ms, double *out)
{
    const struct tsn_sample *before = NULL, *after = NULL;

    for (size_t i = 0; i < s->count && !after; i++) {
        if (s->samples[i].ts_ms <= from_ms || tsn_is_stale(s->samples[i].value))
            continue;
        if (s->samples[i].ts_ms <= at_ms)
            before = &s->samples[i];
        else
            after = &s->samples[i];
    }
    if (!before)
        return false;
    *out = after && before->ts_ms < at_ms ? on_line(*before, *after, at_ms, false) : before->value;
    return true;
}
