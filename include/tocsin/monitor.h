/*
 * monitor: what a running worker says of itself over HTTP (app, L7).
 *
 *     /metrics   every counter of the stages, Prometheus text
 *     /healthz   200 while no stage has given up; else 503 and its word
 *     /readyz    200 when every stage of this worker is at work; else 503 and which are not
 *
 * Threads: start and stop by the app's thread; the answers are made on the server's thread from tsn_app_get_stats.
 */
#ifndef TOCSIN_MONITOR_H
#define TOCSIN_MONITOR_H

#include "tocsin/app.h"
#include "tocsin/metrics.h"

struct tsn_monitor;
/* Listens on config.http.listen. Borrows app and config until stopped. NULL with *error; NULL and code OK if listen is "". */
struct tsn_monitor *tsn_monitor_start(struct tsn_app *app, const struct tsn_config *config, unsigned stages, struct tsn_error *error);
int tsn_monitor_port(const struct tsn_monitor *monitor);
/* Before tsn_app_free. */
void tsn_monitor_stop(struct tsn_monitor **monitor);

/* The families over a snapshot, for tests and other front ends. */
struct tsn_monitor_families;
struct tsn_monitor_families *tsn_monitor_families_new(struct tsn_metrics *metrics);
void tsn_monitor_families_free(struct tsn_monitor_families **families);
/* now: for lags in event time; starts: stages of this worker. */
void tsn_monitor_fill(struct tsn_monitor_families *families, const struct tsn_app_stats *stats, unsigned stages, int64_t now_ms);
/* One rule; tsn_monitor_fill hides those of before. */
void tsn_monitor_fill_rule(const struct tsn_app_rule *rule, void *families);

#endif
