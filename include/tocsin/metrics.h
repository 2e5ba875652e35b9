/*
 * metrics: our own counters, gauges and histograms, and their text exposition (L1).
 *
 *     family  tocsin_input_records_total{topic,partition}
 *       └─ metric per set of label values, at most `max` of them; what goes beyond shares one with every value "other"
 *
 * Families are made once, by one thread, before others use them. After that every function may be called from any
 * thread: updates are atomics, finding a metric takes a short spin lock (keep the pointer where it is hot). A name or label
 * that Prometheus refuses, or a kind that does not fit, is a bug and asserts.
 *
 * Source: Prometheus text format 0.0.4; families in order of making, metrics in order of label values, so that equal
 * states give equal bytes.
 */
#ifndef TOCSIN_METRICS_H
#define TOCSIN_METRICS_H

#include "tocsin/base.h"

#define TSN_METRIC_MAX_LABELS 8
#define TSN_METRIC_MAX_BUCKETS 32

enum tsn_metric_kind { TSN_METRIC_COUNTER, TSN_METRIC_GAUGE, TSN_METRIC_HISTOGRAM };

struct tsn_metrics;
struct tsn_metric_family;
struct tsn_metric;

struct tsn_metrics *tsn_metrics_new(void);
void tsn_metrics_free(struct tsn_metrics **metrics);

struct tsn_metric_spec {
    const char *name, *help;
    enum tsn_metric_kind kind;  /* a counter's name ends in _total, and no other's does */
    const char *labels[TSN_METRIC_MAX_LABELS + 1]; /* NULL-terminated */
    size_t max;                 /* sets of label values; 0: 1,000 */
    const double *bounds;       /* histogram: ascending, without +Inf; borrowed for the call */
    size_t bound_count;
};
/* Owned by *metrics; texts are copied. */
struct tsn_metric_family *tsn_metrics_family(struct tsn_metrics *metrics, const struct tsn_metric_spec *spec);

/* The metric with these values, one a label, NULL for none; made if new. Never NULL; owned by the family. A value may
 * hold any bytes: what is no UTF-8 is replaced. */
struct tsn_metric *tsn_metric_get(struct tsn_metric_family *family, const char *const *values);
/* Counter and gauge. */
void tsn_metric_add(struct tsn_metric *metric, double by);
/* Gauge; and a counter whose total is kept elsewhere. */
void tsn_metric_set(struct tsn_metric *metric, double value);
/* Histogram. NaN counts in +Inf alone and leaves the sum as it is. */
void tsn_metric_observe(struct tsn_metric *metric, double value);
/* Leaves out every metric of the family until it is touched again: for what comes and goes (partitions). */
void tsn_metric_family_hide(struct tsn_metric_family *family);

/* Appends the exposition of everything. */
void tsn_metrics_write(struct tsn_metrics *metrics, struct tsn_buf *out);

#endif
