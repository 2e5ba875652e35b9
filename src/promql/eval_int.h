/* eval_int: what the files of the naive evaluator share (private to promql/). */
#ifndef TOCSIN_PROMQL_EVAL_INT_H
#define TOCSIN_PROMQL_EVAL_INT_H

#include "promql/functions.h"
#include "tocsin/promql.h"

struct elem {
    struct tsn_labels *labels; /* owned reference */
    int64_t ts_ms;
    double value;
};
struct vec {
    struct elem *items;
    size_t len, cap;
};

/* A window's samples of one series, stale markers out. */
struct win {
    struct tsn_labels *labels; /* owned reference */
    struct tsn_sample *samples; /* owned */
    size_t count, cap;
};
struct mat {
    struct win *items;
    size_t len, cap;
    int64_t range_ms, start_ms, end_ms; /* (start, end] */
};

struct eval {
    const struct tsn_storage *storage;
    struct tsn_eval_options opt;
    struct tsn_error *error;
    size_t samples; /* read so far, against opt.max_samples */
};

void tsn_vec_elem(struct vec *v, struct tsn_labels *taken, int64_t ts_ms, double value);
void tsn_vec_free(struct vec *v);
void tsn_mat_free(struct mat *m);
/* Sorts canonically and refuses two equal label sets. */
enum tsn_err tsn_vec_unique(struct eval *ev, struct vec *v);

/* All fill *out (initialised to zero by the caller) or return an error with ev->error filled. */
enum tsn_err tsn_ev_vector(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
enum tsn_err tsn_ev_scalar(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, double *out);
enum tsn_err tsn_ev_matrix(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct mat *out);
/* eval_call.c, eval_binary.c, eval_aggregate.c */
enum tsn_err tsn_ev_call(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
enum tsn_err tsn_ev_binary(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
enum tsn_err tsn_ev_aggregate(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);

/* __name__, __type__, __unit__. */
bool tsn_label_is_metadata(const char *name);
/* Label set without those (fresh reference). */
struct tsn_labels *tsn_labels_drop_name(struct tsn_labels *labels);
/* Only the named labels (keep), or all but those; drop_name: never the metadata. Fresh reference. */
struct tsn_labels *tsn_labels_project(const struct tsn_labels *labels, const char *const *names, uint32_t count,
                                      bool keep, bool drop_name);
/* *keep: for a comparison, its truth; false for the trim operators, which give floats nothing. */
double tsn_binop_apply(enum tsn_binop op, double a, double b, bool *keep);

/* kernels.c: numbers only; shared with the streaming plan. */
/* NaN result and false where there is no output. Source: promql.md 8–14. */
bool tsn_rate_kernel(size_t count, struct tsn_sample first, struct tsn_sample last, double reset_sum, int64_t start_ms,
                     int64_t end_ms, int64_t range_ms, bool counter, bool per_second, double *out);
/* values is sorted in place. */
double tsn_quantile(double q, double *values, size_t count);
/* Mean that does not overflow where the sum does. */
double tsn_mean_of(const double *values, size_t count);
struct tsn_bucket {
    double upper, count;
};
/* Buckets are sorted and merged in place. */
/* Go's math.Max and math.Min: an infinity that settles the matter wins over NaN. */
double tsn_max(double a, double b);
double tsn_min(double a, double b);
/* A part of the UTC date of a Unix time, for any double as Go on amd64 takes it. */
double tsn_date_part(enum tsn_function_id id, double seconds);
double tsn_bucket_quantile(double q, struct tsn_bucket *buckets, size_t count);
double tsn_bucket_fraction(double lower, double upper, struct tsn_bucket *buckets, size_t count);
/* slope and value at intercept_ms. */
void tsn_linear_regression(const struct tsn_sample *samples, size_t count, int64_t intercept_ms, double *slope,
                           double *intercept);

#endif
