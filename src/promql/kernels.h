/*
 * kernels: the arithmetic of PromQL on plain numbers (private to promql/).
 *
 * Both evaluators, the naive one and the streaming plan, call these, so that they give the same
 * bits. Where order matters the caller gives it: groups in canonical order of labels, windows folded
 * as blocks.h says. Nothing here allocates, save tsn_top_k's caller who brings the room.
 * Source: Prometheus 3.16, promql/functions.go, quantile.go, engine.go (aggregation, aggregationK).
 */
#ifndef TOCSIN_PROMQL_KERNELS_H
#define TOCSIN_PROMQL_KERNELS_H

#include "promql/blocks.h"
#include "promql/functions.h"

#include <math.h>

/* ---- windows ------------------------------------------------------------------------------ */

/* Which NaN an addition of two gives is the compiler's choice: sums give one and the same. */
static inline double tsn_plain_nan(double v)
{
    return isnan(v) ? NAN : v;
}

/* rate, increase (counter), delta. False: no output, for want of two samples. reset_sum: Σ of the
 * value before each reset, 0 for delta. range_ms: the written range. */
bool tsn_rate_kernel(size_t count, struct tsn_sample first, struct tsn_sample last, double reset_sum, int64_t start_ms,
                     int64_t end_ms, int64_t range_ms, bool counter, bool per_second, double *out);
/* slope and value at intercept_ms; count ≥ 2. */
void tsn_linear_regression(const struct tsn_sample *samples, size_t count, int64_t intercept_ms, double *slope,
                           double *intercept);
/* Mean from a window's sum; where the sum is infinite, tsn_mean_of the values must be asked. */
double tsn_mean_of_sum(struct tsn_ksum sum, uint64_t count);

/* ---- many values to one; count ≥ 1 -------------------------------------------------------- */

double tsn_sum_of(const double *values, size_t count);
/* The plain sum's mean until the sum overflows, an incremental one from there on. */
double tsn_mean_of(const double *values, size_t count);
double tsn_variance_of(const double *values, size_t count);
/* values is sorted in place. */
double tsn_quantile(double q, double *values, size_t count);
/* Indices of the k greatest (or least) values, best first, NaN last; of equals those that
 * Prometheus's heap keeps. picked: room for min(k, count). Returns how many. */
size_t tsn_top_k(const double *values, size_t count, size_t k, bool least, uint32_t *picked);

/* ---- classic histograms ------------------------------------------------------------------- */

struct tsn_bucket {
    double upper, count;
};
/* Buckets are sorted and merged in place. */
double tsn_bucket_quantile(double q, struct tsn_bucket *buckets, size_t count);
double tsn_bucket_fraction(double lower, double upper, struct tsn_bucket *buckets, size_t count);

/* ---- single numbers ----------------------------------------------------------------------- */

/* Go's math.Max and math.Min: an infinity that settles the matter wins over NaN. */
double tsn_max(double a, double b);
double tsn_min(double a, double b);
/* A part of the UTC date of a Unix time, for any double as Go on amd64 takes it (date.c). */
double tsn_date_part(enum tsn_function_id id, double seconds);

#endif
