/*
 * serve: what the process says of itself: /metrics, /healthz, /readyz.
 *
 * Values are kept by the stages (struct tsn_app_stats, a copy a scrape under the app's lock) and put into the families when somebody asks, so
 * that the stages know nothing of exposition. Names follow Prometheus's conventions: base units, _total for counters.
 *
 * Concurrency: the HTTP server's own thread runs the handlers, one at a time; it shares with the stages only what the app's lock guards.
 */
#include "app/app_int.h"
#include "tocsin/http.h"
#include "tocsin/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum family {
    IN_RECORDS, IN_EVENTS, IN_LATE, IN_DEAD, IN_LAG, IN_LAG_SECONDS, IN_WATERMARK, IN_STATE,
    SAMPLES, IRRELEVANT, LIMITS, TRANSACTIONS, TRANSACTION_SECONDS, SESSIONS, FENCED, READY,
    LATE, STEPS, STEP_SECONDS, EVALUATIONS, SERIES, WATERMARK, RULE_SET, BLIND, TRANSITIONS, TAKEOVERS, PARTITIONS, BAD,
    RULE_EVALUATIONS, RULE_FAILURES, RULE_SERIES, RULE_LAST_STEP, RULE_ALERTS, RULE_MATCHED,
    INCIDENTS_OPEN, INCIDENTS_OPENED, INCIDENT_EVENTS, COMMANDS, REDIS_UP,
    CPU, MEMORY, FAMILY_COUNT
};

static const struct tsn_metric_spec specs[FAMILY_COUNT] = {
    [IN_RECORDS] = { "tocsin_input_records_total", "Records read from an input partition.", TSN_METRIC_COUNTER, { "topic", "partition" }, 0, NULL, 0 },
    [IN_EVENTS] = { "tocsin_input_events_total", "Events in them.", TSN_METRIC_COUNTER, { "topic", "partition" }, 0, NULL, 0 },
    [IN_LATE] = { "tocsin_input_late_total", "Events later than the partition's watermark.", TSN_METRIC_COUNTER, { "topic", "partition" }, 0, NULL, 0 },
    [IN_DEAD] = { "tocsin_input_dead_letters_total", "Records that went to the dead letters.", TSN_METRIC_COUNTER, { "topic", "partition" }, 0, NULL, 0 },
    [IN_LAG] = { "tocsin_input_lag_records", "Records not read yet.", TSN_METRIC_GAUGE, { "topic", "partition" }, 0, NULL, 0 },
    [IN_LAG_SECONDS] = { "tocsin_input_lag_seconds", "Wall clock less the watermark: event time still to come.", TSN_METRIC_GAUGE, { "topic", "partition" }, 0, NULL, 0 },
    [IN_WATERMARK] = { "tocsin_input_watermark_timestamp_seconds", "Watermark of an input partition.", TSN_METRIC_GAUGE, { "topic", "partition" }, 0, NULL, 0 },
    [IN_STATE] = { "tocsin_input_state", "1 for the state that holds: active, idle (proved empty), blocked (silent, not proved empty), paused (ahead of the others).", TSN_METRIC_GAUGE, { "topic", "partition", "state" }, 0, NULL, 0 },
    [SAMPLES] = { "tocsin_ingest_samples_total", "Samples written, by kind.", TSN_METRIC_COUNTER, { "kind" }, 0, NULL, 0 },
    [IRRELEVANT] = { "tocsin_ingest_irrelevant_total", "Samples that no rule selects.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [LIMITS] = { "tocsin_limit_hits_total", "Inputs that met a limit.", TSN_METRIC_COUNTER, { "stage" }, 0, NULL, 0 },
    [TRANSACTIONS] = { "tocsin_transactions_total", "Kafka transactions.", TSN_METRIC_COUNTER, { "stage", "result" }, 0, NULL, 0 },
    [TRANSACTION_SECONDS] = { "tocsin_transaction_seconds_total", "Time spent in transactions.", TSN_METRIC_COUNTER, { "stage" }, 0, NULL, 0 },
    [SESSIONS] = { "tocsin_sessions_total", "Times that a stage ended a session: fence, abort, lost partition, stop.", TSN_METRIC_COUNTER, { "stage" }, 0, NULL, 0 },
    [FENCED] = { "tocsin_fenced_total", "Sessions that ended by a fence.", TSN_METRIC_COUNTER, { "stage" }, 0, NULL, 0 },
    [READY] = { "tocsin_stage_ready", "Whether the stage does its work.", TSN_METRIC_GAUGE, { "stage" }, 0, NULL, 0 },
    [LATE] = { "tocsin_late_total", "Late samples: moved (an event counted in a later pane) or dropped.", TSN_METRIC_COUNTER, { "stage", "what" }, 0, NULL, 0 },
    [STEPS] = { "tocsin_detect_steps_total", "Steps of units.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [STEP_SECONDS] = { "tocsin_detect_seconds_total", "Time spent on batches and steps.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [EVALUATIONS] = { "tocsin_detect_evaluations_total", "Evaluations of rules, by result.", TSN_METRIC_COUNTER, { "result" }, 0, NULL, 0 },
    [SERIES] = { "tocsin_detect_series", "Series held.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [WATERMARK] = { "tocsin_detect_watermark_timestamp_seconds", "Least event time of the units of this worker.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [RULE_SET] = { "tocsin_detect_rule_set", "Number of the rule set in force.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [BLIND] = { "tocsin_detect_blind", "1: no new watermark for longer than time.blind_after.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [TRANSITIONS] = { "tocsin_alert_transitions_total", "Alert transitions written.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [TAKEOVERS] = { "tocsin_detect_takeovers_total", "Partitions taken over.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [PARTITIONS] = { "tocsin_detect_partitions", "Partitions of samples served by this worker.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [BAD] = { "tocsin_bad_records_total", "Records of internal topics that cannot be read.", TSN_METRIC_COUNTER, { "stage" }, 0, NULL, 0 },
    [RULE_EVALUATIONS] = { "tocsin_rule_evaluations_total", "Evaluations of a rule.", TSN_METRIC_COUNTER, { "file", "group", "rule" }, 5000, NULL, 0 },
    [RULE_FAILURES] = { "tocsin_rule_evaluation_failures_total", "Evaluations that failed.", TSN_METRIC_COUNTER, { "file", "group", "rule" }, 5000, NULL, 0 },
    [RULE_SERIES] = { "tocsin_rule_result_series", "Series in the last result.", TSN_METRIC_GAUGE, { "file", "group", "rule" }, 5000, NULL, 0 },
    [RULE_LAST_STEP] = { "tocsin_rule_last_step_timestamp_seconds", "Event time of the last step.", TSN_METRIC_GAUGE, { "file", "group", "rule" }, 5000, NULL, 0 },
    [RULE_ALERTS] = { "tocsin_rule_alerts", "Active instances of an alert.", TSN_METRIC_GAUGE, { "file", "group", "rule", "state" }, 10000, NULL, 0 },
    [RULE_MATCHED] = { "tocsin_rule_ever_matched", "0: the rule has not given anything since the worker took it over.", TSN_METRIC_GAUGE, { "file", "group", "rule" }, 5000, NULL, 0 },
    [INCIDENTS_OPEN] = { "tocsin_incidents_open", "Open incidents.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [INCIDENTS_OPENED] = { "tocsin_incidents_opened_total", "Incidents opened.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [INCIDENT_EVENTS] = { "tocsin_incident_events_total", "Events written to topic incidents.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [COMMANDS] = { "tocsin_commands_total", "Commands applied.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [REDIS_UP] = { "tocsin_redis_up", "Whether Redis answers.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
    [CPU] = { "process_cpu_seconds_total", "User and system time.", TSN_METRIC_COUNTER, { NULL }, 0, NULL, 0 },
    [MEMORY] = { "process_resident_memory_peak_bytes", "Peak of resident memory.", TSN_METRIC_GAUGE, { NULL }, 0, NULL, 0 },
};

struct tsn_serve {
    struct tsn_app *app;
    struct tsn_http *http;
    struct tsn_metrics *metrics;
    struct tsn_metric_family *families[FAMILY_COUNT];
    struct tsn_app_stats *stats;
};

static void set(struct tsn_serve *s, enum family f, double value, const char *a, const char *b, const char *c, const char *d)
{
    const char *values[] = { a, b, c, d };

    tsn_metric_set(tsn_metric_get(s->families[f], values), value);
}

static double seconds(int64_t ms)
{
    return ms == TSN_TIME_NONE ? 0 : (double)ms / 1000;
}

static void put_inputs(struct tsn_serve *s)
{
    static const char *const states[] = { "active", "idle", "blocked", "paused" };
    double wall_s = (double)tsn_wall_now().ms / 1000;

    for (int f = IN_RECORDS; f <= IN_STATE; f++)
        tsn_metric_family_hide(s->families[f]);
    for (size_t i = 0; i < s->stats->input_count; i++) {
        const struct tsn_app_input *in = &s->stats->inputs[i];
        const char *now = in->paused ? "paused" : in->blocked ? "blocked" : in->idle ? "idle" : "active";
        char p[16];

        snprintf(p, sizeof p, "%d", in->partition);
        set(s, IN_RECORDS, (double)in->records, in->topic, p, NULL, NULL);
        set(s, IN_EVENTS, (double)in->events, in->topic, p, NULL, NULL);
        set(s, IN_LATE, (double)in->late, in->topic, p, NULL, NULL);
        set(s, IN_DEAD, (double)in->dead_letters, in->topic, p, NULL, NULL);
        if (in->high_offset >= in->next_offset)
            set(s, IN_LAG, (double)(in->high_offset - in->next_offset), in->topic, p, NULL, NULL);
        if (in->watermark_ms != TSN_TIME_NONE) {
            set(s, IN_WATERMARK, seconds(in->watermark_ms), in->topic, p, NULL, NULL);
            set(s, IN_LAG_SECONDS, in->idle ? 0 : wall_s - seconds(in->watermark_ms), in->topic, p, NULL, NULL);
        }
        for (size_t n = 0; n < TSN_ARRAY_LEN(states); n++)
            set(s, IN_STATE, strcmp(states[n], now) == 0, in->topic, p, states[n], NULL);
    }
}

static void put_ingest(struct tsn_serve *s)
{
    const struct tsn_app_stats *t = s->stats;

    set(s, SAMPLES, (double)t->ingest.samples, "point", NULL, NULL, NULL);
    set(s, SAMPLES, (double)t->ingest.deltas, "delta", NULL, NULL, NULL);
    set(s, IRRELEVANT, (double)t->ingest.irrelevant, NULL, NULL, NULL, NULL);
    set(s, LIMITS, (double)t->ingest.limits, "ingest", NULL, NULL, NULL);
    set(s, TRANSACTIONS, (double)t->ingest.commits, "ingest", "committed", NULL, NULL);
    set(s, TRANSACTIONS, (double)t->ingest.aborts, "ingest", "aborted", NULL, NULL);
    set(s, TRANSACTION_SECONDS, (double)t->ingest.commit_us_total / 1e6, "ingest", NULL, NULL, NULL);
    set(s, SESSIONS, (double)t->ingest.sessions, "ingest", NULL, NULL, NULL);
    set(s, FENCED, (double)t->ingest.fenced, "ingest", NULL, NULL, NULL);
    set(s, READY, t->ingest.ready, "ingest", NULL, NULL, NULL);
    set(s, LATE, (double)t->ingest.late_moved, "ingest", "moved", NULL, NULL);
    set(s, LATE, (double)t->ingest.late_dropped, "ingest", "dropped", NULL, NULL);
}

static void put_detect(struct tsn_serve *s)
{
    const struct tsn_app_stats *t = s->stats;

    set(s, LIMITS, (double)t->detect.limits, "detect", NULL, NULL, NULL);
    set(s, TRANSACTIONS, (double)t->detect.commits, "detect", "committed", NULL, NULL);
    set(s, TRANSACTIONS, (double)t->detect.aborts, "detect", "aborted", NULL, NULL);
    set(s, TRANSACTION_SECONDS, (double)t->detect.commit_us_total / 1e6, "detect", NULL, NULL, NULL);
    set(s, SESSIONS, (double)t->detect.sessions, "detect", NULL, NULL, NULL);
    set(s, FENCED, (double)t->detect.fenced, "detect", NULL, NULL, NULL);
    set(s, READY, t->detect.ready, "detect", NULL, NULL, NULL);
    set(s, LATE, (double)t->detect.late_moved, "detect", "moved", NULL, NULL);
    set(s, LATE, (double)t->detect.late_dropped, "detect", "dropped", NULL, NULL);
    set(s, STEPS, (double)t->detect.steps, NULL, NULL, NULL, NULL);
    set(s, STEP_SECONDS, (double)t->detect.step_us_total / 1e6, NULL, NULL, NULL, NULL);
    set(s, EVALUATIONS, (double)(t->detect.evaluations - t->detect.rule_errors), "ok", NULL, NULL, NULL);
    set(s, EVALUATIONS, (double)t->detect.rule_errors, "error", NULL, NULL, NULL);
    set(s, SERIES, (double)t->detect.series, NULL, NULL, NULL, NULL);
    set(s, WATERMARK, seconds(t->detect.watermark_ms), NULL, NULL, NULL, NULL);
    set(s, RULE_SET, (double)t->detect.rule_set, NULL, NULL, NULL, NULL);
    set(s, BLIND, t->detect.blind_since_ms != 0, NULL, NULL, NULL, NULL);
    set(s, TRANSITIONS, (double)t->detect.transitions, NULL, NULL, NULL, NULL);
    set(s, TAKEOVERS, (double)t->detect.takeovers, NULL, NULL, NULL, NULL);
    set(s, PARTITIONS, t->detect.partitions, NULL, NULL, NULL, NULL);
    set(s, BAD, (double)t->detect.bad_records, "detect", NULL, NULL, NULL);
}

static void put_respond(struct tsn_serve *s)
{
    const struct tsn_app_stats *t = s->stats;

    set(s, READY, t->respond.ready, "respond", NULL, NULL, NULL);
    set(s, SESSIONS, (double)t->respond.sessions, "respond", NULL, NULL, NULL);
    set(s, TRANSACTIONS, (double)t->respond.commits, "respond", "committed", NULL, NULL);
    set(s, BAD, (double)t->respond.bad_records, "respond", NULL, NULL, NULL);
    set(s, INCIDENTS_OPEN, (double)t->respond.incidents_open, NULL, NULL, NULL, NULL);
    set(s, INCIDENTS_OPENED, (double)t->respond.opened, NULL, NULL, NULL, NULL);
    set(s, INCIDENT_EVENTS, (double)t->respond.events, NULL, NULL, NULL, NULL);
    set(s, COMMANDS, (double)t->respond.commands, NULL, NULL, NULL, NULL);
    set(s, REDIS_UP, t->respond.redis_up, NULL, NULL, NULL, NULL);
}

static void put_rules(struct tsn_serve *s)
{
    for (int f = RULE_EVALUATIONS; f <= RULE_MATCHED; f++)
        tsn_metric_family_hide(s->families[f]);
    pthread_mutex_lock(&s->app->stats_lock);
    for (size_t i = 0; i < s->app->rules.len; i++) {
        const struct rule_stat *r = &s->app->rules.items[i];

        set(s, RULE_EVALUATIONS, (double)r->evaluations, r->file, r->group, r->rule, NULL);
        set(s, RULE_FAILURES, (double)r->errors, r->file, r->group, r->rule, NULL);
        set(s, RULE_SERIES, (double)r->last_count, r->file, r->group, r->rule, NULL);
        set(s, RULE_LAST_STEP, seconds(r->last_step_ms), r->file, r->group, r->rule, NULL);
        set(s, RULE_MATCHED, r->ever_matched, r->file, r->group, r->rule, NULL);
        if (!r->is_alert)
            continue;
        set(s, RULE_ALERTS, (double)r->pending, r->file, r->group, r->rule, "pending");
        set(s, RULE_ALERTS, (double)r->firing, r->file, r->group, r->rule, "firing");
    }
    pthread_mutex_unlock(&s->app->stats_lock);
}

static void on_metrics(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_serve *s = arg;
    struct rusage usage;

    TSN_UNUSED(request);
    tsn_app_get_stats(s->app, s->stats);
    put_inputs(s);
    if (s->stats->ingest.running)
        put_ingest(s);
    if (s->stats->detect.running)
        put_detect(s);
    if (s->stats->respond.running)
        put_respond(s);
    put_rules(s);
    getrusage(RUSAGE_SELF, &usage);
    set(s, CPU, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
        NULL, NULL, NULL, NULL);
    set(s, MEMORY, (double)usage.ru_maxrss * 1024, NULL, NULL, NULL, NULL);
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    tsn_metrics_write(s->metrics, &response->body);
}

/* Alive: no stage has left for good. */
static void on_health(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_serve *s = arg;
    const char *failure = tsn_app_failure(s->app);

    TSN_UNUSED(request);
    response->status = failure ? 503 : 200;
    tsn_buf_printf(&response->body, "%s\n", failure ? failure : "ok");
}

/* Ready: every stage that runs here does its work; one line for each that does not. */
static void on_ready(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_serve *s = arg;
    const struct tsn_app_stats *t = s->stats;

    TSN_UNUSED(request);
    tsn_app_get_stats(s->app, s->stats);
    if (t->ingest.running && !t->ingest.ready)
        tsn_buf_puts(&response->body, "ingest: no batch committed since it (re)started\n");
    if (t->detect.running && !t->detect.ready)
        tsn_buf_puts(&response->body, "detect: partitions are being taken over, or none is assigned\n");
    if (t->detect.running && t->detect.blind_since_ms)
        tsn_buf_puts(&response->body, "detect: blind, no new watermark in samples\n");
    if (t->respond.running && !t->respond.ready)
        tsn_buf_puts(&response->body, "respond: not the owner yet, or its store cannot be reached\n");
    response->status = response->body.len ? 503 : 200;
    if (!response->body.len)
        tsn_buf_puts(&response->body, "ok\n");
}

struct tsn_serve *tsn_serve_start(struct tsn_app *app, struct tsn_error *error)
{
    struct tsn_serve *s = tsn_calloc(1, sizeof *s);
    struct tsn_http_route routes[] = {
        { "GET", "/metrics", true, on_metrics, s }, { "GET", "/healthz", true, on_health, s }, { "GET", "/readyz", true, on_ready, s },
    };
    struct tsn_http_options options = { app->config->http.listen, app->config->http.token, routes, TSN_ARRAY_LEN(routes) };

    s->app = app;
    s->stats = tsn_calloc(1, sizeof *s->stats);
    s->metrics = tsn_metrics_new();
    for (int f = 0; f < FAMILY_COUNT; f++)
        s->families[f] = tsn_metrics_family(s->metrics, &specs[f]);
    s->http = tsn_http_start(&options, error);
    if (!s->http)
        tsn_serve_stop(&s);
    else
        tsn_log(TSN_LOG_INFO, "http", "listening", "listen=%s port=%d", app->config->http.listen, tsn_http_port(s->http));
    return s;
}

void tsn_serve_stop(struct tsn_serve **serve)
{
    struct tsn_serve *s = *serve;

    if (!s)
        return;
    tsn_http_stop(&s->http);
    tsn_metrics_free(&s->metrics);
    tsn_free(s->stats);
    tsn_free(s);
    *serve = NULL;
}
