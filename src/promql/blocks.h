/*
 * blocks: the order in which a window's samples are added (private to promql/).
 *
 * Floating-point sums depend on order, so the order is part of the meaning: both evaluators, the
 * naive one that walks raw samples and the plan that keeps running state, must fold a window's
 * samples in the order given here, and then agree bit for bit. The order is a function of the
 * window's content and of absolute time alone, never of when a process started:
 *
 *     time is cut into absolute blocks of B = tsn_block_ms(range): block k = (k·B, (k+1)·B]
 *
 *       ws                                                          we
 *        (--h---|------ full ------|------ full ------|---- tail ----]
 *         head                                          k_last
 *
 *     head   block of the first millisecond inside the window: folded from its LAST sample back to
 *            its first inside the window (a suffix; a plan computes all suffixes of a block once,
 *            when the block becomes the head)
 *     others folded from first to last sample (a plan keeps a running prefix)
 *     window head ⊕ block ⊕ block ⊕ …, in order of time (that the blocks meet each other first would be
 *            cheaper, and loses what Prometheus's own tests look for where great values cancel)
 *
 * Blocks are left-open like windows, so that a window that ends on a boundary ends a block.
 * B is a 1/8th of the range: at most 9 combinations a window, whatever its length.
 *
 * Folds over the order: sums are compensated (Neumaier) pairs; avg divides the sum by the count;
 * variance is merged by counts, means and squared deviations (Chan). Functions that take values
 * as they stand (min, max, count, last …) give the same in any order but fold this way too.
 */
#ifndef TOCSIN_PROMQL_BLOCKS_H
#define TOCSIN_PROMQL_BLOCKS_H

#include "tocsin/model.h"

#include <math.h>

/* Length of the blocks of a window of range_ms > 0. */
static inline int64_t tsn_block_ms(int64_t range_ms)
{
    return range_ms >= 16 ? range_ms / 8 : 1;
}

/* The block of a time: k with k·B < t <= (k+1)·B. */
static inline int64_t tsn_block_of(int64_t ts_ms, int64_t block_ms)
{
    int64_t t = ts_ms - 1;

    return t >= 0 ? t / block_ms : -((-t + block_ms - 1) / block_ms);
}

/* A compensated sum: value = sum + carry. Neumaier's variant of Kahan, as Prometheus uses. */
struct tsn_ksum {
    double sum, carry;
};

static inline void tsn_ksum_add(struct tsn_ksum *s, double x)
{
    double t = s->sum + x;

    if (isinf(t))
        s->carry = 0;
    else if (fabs(s->sum) >= fabs(x))
        s->carry += (s->sum - t) + x;
    else
        s->carry += (x - t) + s->sum;
    s->sum = t;
}

/* Merges b into a: the sums meet compensated, the carries simply. */
static inline void tsn_ksum_merge(struct tsn_ksum *a, struct tsn_ksum b)
{
    tsn_ksum_add(a, b.sum);
    a->carry += b.carry;
}

static inline double tsn_ksum_value(struct tsn_ksum s)
{
    return isinf(s.sum) ? s.sum : s.sum + s.carry;
}

/* What a block (or window) folds to. `first` and `last` are samples in time order however the fold
 * ran; resets, changes and the reset sum are over neighbouring pairs inside the fold, and merging
 * two folds adds the pair at their seam. */
struct tsn_fold {
    uint64_t count;
    struct tsn_sample first, last;
    struct tsn_ksum sum;
    struct tsn_ksum reset_sum; /* Σ previous over pairs with cur < previous */
    double mean, m2;           /* for variance; NaN and Inf pass through */
    double min, max;           /* NaN only if all are NaN */
    uint32_t resets, changes;
};

static inline struct tsn_fold tsn_fold_of(struct tsn_sample x)
{
    struct tsn_fold f = { .count = 1, .first = x, .last = x, .mean = x.value, .min = x.value, .max = x.value };

    f.sum.sum = x.value;
    f.m2 = isfinite(x.value) ? 0 : NAN; /* no variance with an infinity in it */
    return f;
}

/* What of a fold is wanted; the parts do not depend on one another. Count, first and last always are. */
enum tsn_fold_part {
    TSN_FOLD_SUM = 1,
    TSN_FOLD_RESETS = 2, /* reset_sum, resets */
    TSN_FOLD_MOMENTS = 4,
    TSN_FOLD_EXTREMES = 8,
    TSN_FOLD_CHANGES = 16,
    TSN_FOLD_ALL = 31
};

static inline void tsn_fold_merge_pairs(struct tsn_fold *a, const struct tsn_fold *b, unsigned parts)
{
    double p = a->last.value, c = b->first.value;

    if (parts & TSN_FOLD_RESETS) {
        tsn_ksum_merge(&a->reset_sum, b->reset_sum);
        if (c < p) {
            tsn_ksum_add(&a->reset_sum, p);
            a->resets++;
        }
        a->resets += b->resets;
    }
    if (parts & TSN_FOLD_CHANGES)
        a->changes += b->changes + (c != p && !(isnan(c) && isnan(p)));
}

static inline void tsn_fold_merge_moments(struct tsn_fold *a, const struct tsn_fold *b)
{
    double n = (double)(a->count + b->count), delta = b->mean - a->mean;

    a->m2 += b->m2 + delta * delta * ((double)a->count * (double)b->count / n);
    a->mean += delta * ((double)b->count / n);
}

/* a := a ⊕ b, where a is earlier. */
static inline void tsn_fold_merge(struct tsn_fold *a, const struct tsn_fold *b, unsigned parts)
{
    if (!b->count)
        return;
    if (!a->count) {
        *a = *b;
        return;
    }
    tsn_fold_merge_pairs(a, b, parts);
    if (parts & TSN_FOLD_SUM)
        tsn_ksum_merge(&a->sum, b->sum);
    if (parts & TSN_FOLD_MOMENTS)
        tsn_fold_merge_moments(a, b);
    if (parts & TSN_FOLD_EXTREMES) {
        if (isnan(a->min) || b->min < a->min)
            a->min = b->min;
        if (isnan(a->max) || b->max > a->max)
            a->max = b->max;
    }
    a->count += b->count;
    a->last = b->last;
}

/* The fold of samples[0, count), which are exactly a window (ws, we]'s, stale markers out. The
 * definition that a plan must match. */
static inline struct tsn_fold tsn_fold_window(const struct tsn_sample *samples, size_t count, int64_t ws_ms,
                                              int64_t range_ms)
{
    int64_t block_ms = tsn_block_ms(range_ms), head = tsn_block_of(ws_ms + 1, block_ms);
    struct tsn_fold all = { 0 };
    size_t i, h = 0;

    while (h < count && tsn_block_of(samples[h].ts_ms, block_ms) == head)
        h++;
    for (i = h; i > 0; i--) {
        struct tsn_fold x = tsn_fold_of(samples[i - 1]);

        tsn_fold_merge(&x, &all, TSN_FOLD_ALL);
        all = x;
    }
    for (i = h; i < count;) {
        int64_t k = tsn_block_of(samples[i].ts_ms, block_ms);
        struct tsn_fold block = { 0 };

        for (; i < count && tsn_block_of(samples[i].ts_ms, block_ms) == k; i++) {
            struct tsn_fold x = tsn_fold_of(samples[i]);

            tsn_fold_merge(&block, &x, TSN_FOLD_ALL);
        }
        tsn_fold_merge(&all, &block, TSN_FOLD_ALL);
    }
    return all;
}

#endif
