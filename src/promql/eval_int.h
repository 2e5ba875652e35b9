/* eval_int: what the files of the naive evaluator share (private to promql/). */
#ifndef TOCSIN_PROMQL_EVAL_INT_H
#define TOCSIN_PROMQL_EVAL_INT_H

#include "promql/functions.h"
#include "promql/kernels.h"
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
/* A selector's newest samples, also where it is smoothed: what timestamp() reads. */
enum tsn_err tsn_ev_newest(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
/* eval_call.c, eval_binary.c, eval_aggregate.c */
enum tsn_err tsn_ev_call(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
enum tsn_err tsn_ev_binary(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);
enum tsn_err tsn_ev_aggregate(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out);

/* eval_extended.c: e (a selector, or a matrix of one) is anchored or smoothed. */
bool tsn_extended(const struct tsn_expr *e);
/* May f be asked of that? */
enum tsn_err tsn_extended_check(struct eval *ev, const struct tsn_function *f, const struct tsn_expr *arg);
/* One window, with what lies around it, to one number. w->count > 0; false: no output. */
bool tsn_extended_value(enum tsn_function_id id, const struct tsn_expr *arg, const struct win *w, const struct mat *m,
                        double *out);
/* Windows as the result itself: cut to their ends. */
void tsn_extend_windows(struct mat *m, const struct tsn_expr *e);
/* A smoothed instant selector's value; s also holds the samples of one lookback after at_ms. */
bool tsn_smoothed_value(const struct tsn_series_view *s, int64_t from_ms, int64_t at_ms, double *out);

/* __name__, __type__, __unit__. */
bool tsn_label_is_metadata(const char *name);
/* Label set without those (fresh reference). */
struct tsn_labels *tsn_labels_drop_name(struct tsn_labels *labels);
/* Only the named labels (keep), or all but those; drop_name: never the metadata. Fresh reference. */
struct tsn_labels *tsn_labels_project(const struct tsn_labels *labels, const char *const *names, uint32_t count,
                                      bool keep, bool drop_name);
/* *keep: for a comparison, its truth; false for the trim operators, which give floats nothing. */
double tsn_binop_apply(enum tsn_binop op, double a, double b, bool *keep);

/* ---- shared with the plans ---------------------------------------------------------------- */

/* Options with defaults filled in, and the times. */
struct eval tsn_eval_make(const struct tsn_storage *storage, const struct tsn_eval_options *options, int64_t start_ms,
                          int64_t end_ms, struct tsn_error *error);
/* One window to one number; false: no output. param: the scalar argument, if any. Of m only the
 * times are read. */
bool tsn_window_value(enum tsn_function_id id, const struct win *w, const struct mat *m, int64_t at_ms, double param,
                      double *out);
/* The same from a window's fold, where that is enough: false for irate, idelta, deriv, predict_linear and
 * quantile_over_time; avg_over_time only while the sum is finite. */
bool tsn_fold_value(enum tsn_function_id id, const struct tsn_fold *f, const struct mat *m, double *out);
/* abs() and all that look at one number. */
double tsn_math_value(enum tsn_function_id id, double v, double a, double b);
bool tsn_function_is_date(enum tsn_function_id id);
/* sum and all that give one number a group. count > 0; may reorder the values. */
double tsn_aggregate_values(enum tsn_aggop op, double *values, size_t count, double param);
/* count_values of elements, which are taken (in is empty afterwards). */
enum tsn_err tsn_count_values(struct eval *ev, const struct tsn_expr *e, struct vec *in, int64_t at_ms, struct vec *out);
/* What absent() of arg is labelled with. Fresh reference, like the next three. */
struct tsn_labels *tsn_absent_labels(const struct tsn_expr *arg);
struct tsn_labels *tsn_label_replaced(const struct tsn_expr *e, const struct tsn_regex *regex,
                                      struct tsn_labels *labels);
struct tsn_labels *tsn_label_joined(const struct tsn_expr *e, struct tsn_labels *labels);
/* Labels of a pair's result: the many side's, shaped by the matching, with included labels of one.
 * nameless: without the name whatever the operator does. */
struct tsn_labels *tsn_join_labels(const struct tsn_expr *e, const struct tsn_labels *many,
                                   const struct tsn_labels *one, bool nameless);
/* qsort orders of sort() and sort_desc(). */
int tsn_elem_ascending(const void *a, const void *b);
int tsn_elem_descending(const void *a, const void *b);

#endif
