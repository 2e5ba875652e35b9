/* kernels: see kernels.h. Semantics 8–16, 25–28 of Prometheus 3.16; the comments say what is not plain. */
#include "promql/kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

bool tsn_rate_kernel(size_t count, struct tsn_sample first, struct tsn_sample last, double reset_sum, int64_t start_ms,
                     int64_t end_ms, int64_t range_ms, bool counter, bool per_second, double *out)
{
    double raw = last.value - first.value + reset_sum;
    double to_start = (double)(first.ts_ms - start_ms) / 1000, to_end = (double)(end_ms - last.ts_ms) / 1000;
    double sampled = (double)(last.ts_ms - first.ts_ms) / 1000, average, threshold, factor;

    if (count < 2)
        return false;
    average = sampled / (double)(count - 1);
    threshold = average * 1.1; /* beyond 1.1 intervals the series is taken to begin or end inside */
    if (to_start >= threshold)
        to_start = average / 2;
    if (counter && raw > 0 && first.value >= 0) {
        double to_zero = sampled * (first.value / raw); /* a counter cannot have been below zero */

        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= threshold)
        to_end = average / 2;
    factor = (sampled + to_start + to_end) / sampled;
    if (per_second)
        factor /= (double)range_ms / 1000;
    *out = tsn_plain_nan(raw * factor);
    return true;
}

/* NaN sorts first, as in Prometheus. */
static int nan_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    if (isnan(x))
        return isnan(y) ? 0 : -1;
    if (isnan(y))
        return 1;
    return (x > y) - (x < y);
}

double tsn_quantile(double q, double *values, size_t count)
{
    double n = (double)count, rank, lower, upper, weight;

    if (!count || isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    qsort(values, count, sizeof *values, nan_first);
    rank = q * (n - 1);
    lower = fmax(0, floor(rank));
    upper = fmin(n - 1, lower + 1);
    weight = rank - floor(rank);
    if (weight == 0) /* on a sample: its neighbour may be infinite */
        return values[(size_t)lower];
    return values[(size_t)lower] * (1 - weight) + values[(size_t)upper] * weight;
}

static int by_upper(const void *a, const void *b)
{
    double x = ((const struct tsn_bucket *)a)->upper, y = ((const struct tsn_bucket *)b)->upper;

    return (x > y) - (x < y);
}

/* Stable, so that equal bounds add in the order they came; nearly sorted and few as a rule. */
static void sort_buckets(struct tsn_bucket *buckets, size_t count)
{
    enum { FEW = 64 };

    if (count > FEW) {
        qsort(buckets, count, sizeof *buckets, by_upper);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct tsn_bucket b = buckets[i];
        size_t at = i;

        for (; at && buckets[at - 1].upper > b.upper; at--)
            buckets[at] = buckets[at - 1];
        buckets[at] = b;
    }
}

/* Sorts and adds up equal bounds. Returns the new count, 0 if the last bound is not +Inf. */
static size_t merge_buckets(struct tsn_bucket *buckets, size_t count)
{
    size_t kept = 0;

    if (!count)
        return 0;
    sort_buckets(buckets, count);
    if (!isinf(buckets[count - 1].upper) || buckets[count - 1].upper < 0)
        return 0;
    for (size_t i = 1; i < count; i++) {
        if (buckets[i].upper == buckets[kept].upper)
            buckets[kept].count += buckets[i].count;
        else
            buckets[++kept] = buckets[i];
    }
    return kept + 1;
}

/* Lifts dips: a decrease, or a difference of rounding (1e-12), is no difference. */
static void make_monotonic(struct tsn_bucket *buckets, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        double previous = buckets[i - 1].count, now = buckets[i].count;

        if (now < previous || (isnan(now) && isnan(previous)) ||
            fabs(now - previous) / fmin(fabs(now) + fabs(previous), DBL_MAX) < 1e-12)
            buckets[i].count = previous;
    }
}

/* First of buckets[0, count - 1) that holds the rank, else the last. A binary search, so that counts
 * with NaN among them give what they give in Prometheus. */
static size_t bucket_of_rank(const struct tsn_bucket *buckets, size_t count, double rank)
{
    size_t low = 0, high = count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (buckets[middle].count >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

double tsn_bucket_quantile(double q, struct tsn_bucket *buckets, size_t count)
{
    double rank, start, end, below;
    size_t b;

    if (isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    count = merge_buckets(buckets, count);
    make_monotonic(buckets, count);
    if (count < 2 || buckets[count - 1].count == 0)
        return NAN;
    rank = q * buckets[count - 1].count;
    b = bucket_of_rank(buckets, count, rank);
    if (b == count - 1)
        return buckets[count - 2].upper;
    if (b == 0 && buckets[0].upper <= 0)
        return buckets[0].upper;
    start = b ? buckets[b - 1].upper : 0;
    end = buckets[b].upper;
    below = b ? buckets[b - 1].count : 0;
    return start + (end - start) * ((rank - below) / (buckets[b].count - below));
}

/* Observations at or below x, by linear interpolation inside a bucket; total if x is in none. */
static double rank_of(double x, const struct tsn_bucket *buckets, size_t count)
{
    double total = buckets[count - 1].count, below = 0, rank = total;
    double lower = buckets[0].upper <= 0 ? -INFINITY : 0;

    for (size_t i = 0; i < count; i++) {
        double upper = buckets[i].upper, held = buckets[i].count;

        if (lower >= x) {
            rank = below;
            break;
        }
        if (lower < x && upper > x) {
            /* no observation of a bucket without a lower end counts; +Inf takes care of itself */
            rank = isinf(lower) ? held : below + (held - below) * (x - lower) / (upper - lower);
            break;
        }
        lower = upper;
        below = held;
    }
    return rank > total ? total : rank;
}

double tsn_bucket_fraction(double lower, double upper, struct tsn_bucket *buckets, size_t count)
{
    count = merge_buckets(buckets, count);
    if (!count || buckets[count - 1].count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    return (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / buckets[count - 1].count;
}

double tsn_max(double a, double b)
{
    if ((isinf(a) && a > 0) || (isinf(b) && b > 0))
        return INFINITY;
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

double tsn_min(double a, double b)
{
    if ((isinf(a) && a < 0) || (isinf(b) && b < 0))
        return -INFINITY;
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

double tsn_mean_of_sum(struct tsn_ksum sum, uint64_t count)
{
    return tsn_plain_nan(sum.sum / (double)count + sum.carry / (double)count);
}

double tsn_sum_of(const double *values, size_t count)
{
    struct tsn_ksum sum = { values[0], 0 };

    for (size_t i = 1; i < count; i++)
        tsn_ksum_add(&sum, values[i]);
    return tsn_ksum_value(sum);
}

double tsn_mean_of(const double *values, size_t count)
{
    struct tsn_ksum sum = { values[0], 0 };
    size_t i = 1;

    for (; i < count; i++) {
        struct tsn_ksum next = sum;

        tsn_ksum_add(&next, values[i]);
        if (isinf(next.sum))
            break;
        sum = next;
    }
    if (i == count)
        return tsn_mean_of_sum(sum, count);
    sum.sum /= (double)i;
    sum.carry /= (double)i;
    for (; i < count; i++) {
        double n = (double)(i + 1), q = (n - 1) / n;

        sum.sum *= q;
        sum.carry *= q;
        tsn_ksum_add(&sum, values[i] / n);
    }
    return sum.sum + sum.carry;
}

double tsn_variance_of(const double *values, size_t count)
{
    double mean = values[0], squares = isfinite(values[0]) ? 0 : NAN;

    for (size_t i = 1; i < count; i++) {
        double delta = values[i] - mean;

        mean += delta / (double)(i + 1);
        squares += delta * (values[i] - mean);
    }
    return squares / (double)count;
}

/* a stands nearer the top of the heap, which is the next to go: NaN first, then the lesser (or the
 * greater, for the least). */
static bool goes_before(double a, double b, bool least)
{
    return isnan(a) || (least ? a > b : a < b);
}

static void swap_picked(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;

    *a = *b;
    *b = t;
}

static void sift_up(const double *values, uint32_t *heap, size_t at, bool least)
{
    while (at) {
        size_t parent = (at - 1) / 2;

        if (!goes_before(values[heap[at]], values[heap[parent]], least))
            return;
        swap_picked(&heap[at], &heap[parent]);
        at = parent;
    }
}

static void sift_down(const double *values, uint32_t *heap, size_t count, bool least)
{
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= count)
            return;
        if (child + 1 < count && goes_before(values[heap[child + 1]], values[heap[child]], least))
            child++;
        if (!goes_before(values[heap[child]], values[heap[at]], least))
            return;
        swap_picked(&heap[at], &heap[child]);
        at = child;
    }
}

size_t tsn_top_k(const double *values, size_t count, size_t k, bool least, uint32_t *picked)
{
    size_t held = 0;

    for (size_t i = 0; i < count && k; i++) {
        double root = held ? values[picked[0]] : 0, v = values[i];

        if (held < k) {
            picked[held++] = (uint32_t)i;
            sift_up(values, picked, held - 1, least);
        } else if ((least ? root > v : root < v) || (isnan(root) && !isnan(v))) {
            picked[0] = (uint32_t)i;
            sift_down(values, picked, held, least);
        }
    }
    /* The heap's order reversed; k is small, or the vector is. Moved one by one: equals stay put. */
    for (size_t i = 1; i < held; i++)
        for (size_t at = i; at && goes_before(values[picked[at - 1]], values[picked[at]], least) &&
                            !(isnan(values[picked[at - 1]]) && isnan(values[picked[at]]));
             at--)
            swap_picked(&picked[at - 1], &picked[at]);
    return held;
}

void tsn_linear_regression(const struct tsn_sample *samples, size_t count, int64_t intercept_ms, double *slope,
                           double *intercept)
{
    struct tsn_ksum x = { 0 }, y = { 0 }, xy = { 0 }, x2 = { 0 };
    double first = samples[0].value, n = (double)count, cov, var;
    bool constant = true;

    for (size_t i = 0; i < count; i++) {
        double dx = (double)(samples[i].ts_ms - intercept_ms) / 1000;

        constant = constant && samples[i].value == first;
        tsn_ksum_add(&x, dx);
        tsn_ksum_add(&y, samples[i].value);
        tsn_ksum_add(&xy, dx * samples[i].value);
        tsn_ksum_add(&x2, dx * dx);
    }
    if (constant) {
        *slope = isinf(first) ? NAN : 0;
        *intercept = isinf(first) ? NAN : first;
        return;
    }
    cov = tsn_ksum_value(xy) - tsn_ksum_value(x) * tsn_ksum_value(y) / n;
    var = tsn_ksum_value(x2) - tsn_ksum_value(x) * tsn_ksum_value(x) / n;
    *slope = cov / var;
    *intercept = tsn_ksum_value(y) / n - *slope * (tsn_ksum_value(x) / n);
}
