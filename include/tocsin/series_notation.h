/*
 * series_notation: the one-line text in which tests give series (L2; part of promql).
 *
 *     requests_total{job="api"} 0+10x5 _ stale 7 NaN -1x3
 *
 * A name with labels, then values separated by blanks: `a` one value, `axn` n+1 times a,
 * `a+bxn` and `a-bxn` n+1 values from a in steps of b, `_` and `_xn` one and n missing samples,
 * `stale` a staleness marker. Native histograms `{{…}}` are refused with their place: no float
 * function reads them. Source: Prometheus's unit-test format for rules (promtool 3).
 *
 * Limits: TSN_SERIES_NOTATION_MAX values a line.
 */
#ifndef TOCSIN_SERIES_NOTATION_H
#define TOCSIN_SERIES_NOTATION_H

#include "tocsin/model.h"

/* Half a year of one-second steps (real tests go to 10,000,001); `1x999999999` ends here. */
#define TSN_SERIES_NOTATION_MAX 16777216

struct tsn_series_value {
    double value; /* may be the staleness marker */
    bool missing; /* `_`: no sample at this step */
};
struct tsn_series_notation {
    struct tsn_labels *labels; /* owned reference */
    struct tsn_series_value *values; /* owned; index i lies at start + i × interval */
    size_t count, cap;
};

/* Errors name the column (1-based, in bytes). *out is initialised here and empty after an error. */
enum tsn_err tsn_series_notation_parse(const char *text, size_t len, struct tsn_series_notation *out,
                                       struct tsn_error *error);
/* Only the name and labels, as `exp_samples` of a unit test have them; a fresh reference. */
enum tsn_err tsn_series_labels_parse(const char *text, size_t len, struct tsn_labels **out, struct tsn_error *error);
void tsn_series_notation_release(struct tsn_series_notation *notation);

#endif
