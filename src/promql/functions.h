/*
 * functions: the table of PromQL functions (private to promql/).
 *
 * One row a function of Prometheus 3.16: name, argument types, arity, result type. The parser looks
 * rows up by name and checks calls against them; evaluators switch on the id. Rows marked
 * experimental exist so that the error can say "not enabled" instead of "unknown", as a server
 * without feature flags does; they never reach an evaluator.
 *
 * Arity, as Prometheus counts it: variadic 0 means exactly arg_count arguments; otherwise at least
 * arg_count - 1, and at most arg_count - 1 + variadic when variadic > 0 (no limit when negative).
 * Arguments past the table take the last type.
 */
#ifndef TOCSIN_PROMQL_FUNCTIONS_H
#define TOCSIN_PROMQL_FUNCTIONS_H

#include "tocsin/promql.h"

/* X(ID, name, result, variadic, experimental, argument types: V vector, M matrix, S scalar, T text) */
#define TSN_FUNCTIONS(X)                                                   \
    X(ABS, "abs", VECTOR, 0, false, "V")                                   \
    X(ABSENT, "absent", VECTOR, 0, false, "V")                             \
    X(ABSENT_OVER_TIME, "absent_over_time", VECTOR, 0, false, "M")         \
    X(ACOS, "acos", VECTOR, 0, false, "V")                                 \
    X(ACOSH, "acosh", VECTOR, 0, false, "V")                               \
    X(ASIN, "asin", VECTOR, 0, false, "V")                                 \
    X(ASINH, "asinh", VECTOR, 0, false, "V")                               \
    X(ATAN, "atan", VECTOR, 0, false, "V")                                 \
    X(ATANH, "atanh", VECTOR, 0, false, "V")                               \
    X(AVG_OVER_TIME, "avg_over_time", VECTOR, 0, false, "M")               \
    X(CEIL, "ceil", VECTOR, 0, false, "V")                                 \
    X(CHANGES, "changes", VECTOR, 0, false, "M")                           \
    X(CLAMP, "clamp", VECTOR, 0, false, "VSS")                             \
    X(CLAMP_MAX, "clamp_max", VECTOR, 0, false, "VS")                      \
    X(CLAMP_MIN, "clamp_min", VECTOR, 0, false, "VS")                      \
    X(COS, "cos", VECTOR, 0, false, "V")                                   \
    X(COSH, "cosh", VECTOR, 0, false, "V")                                 \
    X(COUNT_OVER_TIME, "count_over_time", VECTOR, 0, false, "M")           \
    X(DAY_OF_MONTH, "day_of_month", VECTOR, 1, false, "V")                 \
    X(DAY_OF_WEEK, "day_of_week", VECTOR, 1, false, "V")                   \
    X(DAY_OF_YEAR, "day_of_year", VECTOR, 1, false, "V")                   \
    X(DAYS_IN_MONTH, "days_in_month", VECTOR, 1, false, "V")               \
    X(DEG, "deg", VECTOR, 0, false, "V")                                   \
    X(DELTA, "delta", VECTOR, 0, false, "M")                               \
    X(DERIV, "deriv", VECTOR, 0, false, "M")                               \
    X(EXP, "exp", VECTOR, 0, false, "V")                                   \
    X(FIRST_OVER_TIME, "first_over_time", VECTOR, 0, false, "M")           \
    X(FLOOR, "floor", VECTOR, 0, false, "V")                               \
    X(HISTOGRAM_AVG, "histogram_avg", VECTOR, 0, false, "V")               \
    X(HISTOGRAM_COUNT, "histogram_count", VECTOR, 0, false, "V")           \
    X(HISTOGRAM_FRACTION, "histogram_fraction", VECTOR, 0, false, "SSV")   \
    X(HISTOGRAM_QUANTILE, "histogram_quantile", VECTOR, 0, false, "SV")    \
    X(HISTOGRAM_STDDEV, "histogram_stddev", VECTOR, 0, false, "V")         \
    X(HISTOGRAM_STDVAR, "histogram_stdvar", VECTOR, 0, false, "V")         \
    X(HISTOGRAM_SUM, "histogram_sum", VECTOR, 0, false, "V")               \
    X(HOUR, "hour", VECTOR, 1, false, "V")                                 \
    X(IDELTA, "idelta", VECTOR, 0, false, "M")                             \
    X(INCREASE, "increase", VECTOR, 0, false, "M")                         \
    X(IRATE, "irate", VECTOR, 0, false, "M")                               \
    X(LABEL_JOIN, "label_join", VECTOR, -1, false, "VTTT")                 \
    X(LABEL_REPLACE, "label_replace", VECTOR, 0, false, "VTTTT")           \
    X(LAST_OVER_TIME, "last_over_time", VECTOR, 0, false, "M")             \
    X(LN, "ln", VECTOR, 0, false, "V")                                     \
    X(LOG10, "log10", VECTOR, 0, false, "V")                               \
    X(LOG2, "log2", VECTOR, 0, false, "V")                                 \
    X(MAX_OVER_TIME, "max_over_time", VECTOR, 0, false, "M")               \
    X(MIN_OVER_TIME, "min_over_time", VECTOR, 0, false, "M")               \
    X(MINUTE, "minute", VECTOR, 1, false, "V")                             \
    X(MONTH, "month", VECTOR, 1, false, "V")                               \
    X(PI, "pi", SCALAR, 0, false, "")                                      \
    X(PREDICT_LINEAR, "predict_linear", VECTOR, 0, false, "MS")            \
    X(PRESENT_OVER_TIME, "present_over_time", VECTOR, 0, false, "M")       \
    X(QUANTILE_OVER_TIME, "quantile_over_time", VECTOR, 0, false, "SM")    \
    X(RAD, "rad", VECTOR, 0, false, "V")                                   \
    X(RATE, "rate", VECTOR, 0, false, "M")                                 \
    X(RESETS, "resets", VECTOR, 0, false, "M")                             \
    X(ROUND, "round", VECTOR, 1, false, "VS")                              \
    X(SCALAR, "scalar", SCALAR, 0, false, "V")                             \
    X(SGN, "sgn", VECTOR, 0, false, "V")                                   \
    X(SIN, "sin", VECTOR, 0, false, "V")                                   \
    X(SINH, "sinh", VECTOR, 0, false, "V")                                 \
    X(SORT, "sort", VECTOR, 0, false, "V")                                 \
    X(SORT_DESC, "sort_desc", VECTOR, 0, false, "V")                       \
    X(SQRT, "sqrt", VECTOR, 0, false, "V")                                 \
    X(STDDEV_OVER_TIME, "stddev_over_time", VECTOR, 0, false, "M")         \
    X(STDVAR_OVER_TIME, "stdvar_over_time", VECTOR, 0, false, "M")         \
    X(SUM_OVER_TIME, "sum_over_time", VECTOR, 0, false, "M")               \
    X(TAN, "tan", VECTOR, 0, false, "V")                                   \
    X(TANH, "tanh", VECTOR, 0, false, "V")                                 \
    X(TIME, "time", SCALAR, 0, false, "")                                  \
    X(TIMESTAMP, "timestamp", VECTOR, 0, false, "V")                       \
    X(VECTOR, "vector", VECTOR, 0, false, "S")                             \
    X(YEAR, "year", VECTOR, 1, false, "V")                                 \
    X(DOUBLE_EXPONENTIAL_SMOOTHING, "double_exponential_smoothing", VECTOR, 0, true, "MSS") \
    X(END, "end", SCALAR, 0, true, "")                                     \
    X(HISTOGRAM_QUANTILES, "histogram_quantiles", VECTOR, 9, true, "VTSS") \
    X(INFO, "info", VECTOR, 1, true, "VV")                                 \
    X(INTEGRAL, "integral", VECTOR, 1, true, "MS")                         \
    X(MAD_OVER_TIME, "mad_over_time", VECTOR, 0, true, "M")                \
    X(MAX_OF, "max_of", SCALAR, 0, true, "SS")                             \
    X(MIN_OF, "min_of", SCALAR, 0, true, "SS")                             \
    X(RANGE, "range", SCALAR, 0, true, "")                                 \
    X(SORT_BY_LABEL, "sort_by_label", VECTOR, -1, true, "VT")              \
    X(SORT_BY_LABEL_DESC, "sort_by_label_desc", VECTOR, -1, true, "VT")    \
    X(START, "start", SCALAR, 0, true, "")                                 \
    X(START_TIMESTAMP, "start_timestamp", VECTOR, 0, true, "V")            \
    X(STEP, "step", SCALAR, 0, true, "")                                   \
    X(TS_OF_FIRST_OVER_TIME, "ts_of_first_over_time", VECTOR, 0, true, "M") \
    X(TS_OF_LAST_OVER_TIME, "ts_of_last_over_time", VECTOR, 0, true, "M")  \
    X(TS_OF_MAX_OVER_TIME, "ts_of_max_over_time", VECTOR, 0, true, "M")    \
    X(TS_OF_MIN_OVER_TIME, "ts_of_min_over_time", VECTOR, 0, true, "M")

enum tsn_function_id {
#define TSN_FUNCTION_ENUM(id, name, result, variadic, experimental, args) TSN_FN_##id,
    TSN_FUNCTIONS(TSN_FUNCTION_ENUM)
#undef TSN_FUNCTION_ENUM
    TSN_FN_COUNT
};

#define TSN_FUNCTION_ARGS_MAX 5

struct tsn_function {
    const char *name;
    enum tsn_function_id id;
    enum tsn_value_type result;
    enum tsn_value_type args[TSN_FUNCTION_ARGS_MAX];
    uint32_t arg_count;
    int32_t variadic;
    bool experimental;
};

/* NULL if there is none of that name. Static storage. */
const struct tsn_function *tsn_function_find(const char *name, size_t len);
const struct tsn_function *tsn_function_by_id(enum tsn_function_id id);
/* The type that argument `index` must have; extra arguments take the last row. */
enum tsn_value_type tsn_function_arg_type(const struct tsn_function *f, uint32_t index);
/* "instant vector", "range vector", "scalar", "string": as the documentation names types. */
const char *tsn_value_type_text(enum tsn_value_type type);

#endif
