/*
 * monitor_metrics: the stages' snapshot as metric families. See tocsin/monitor.h.
 *
 * Tables say which field is which metric, so that what /metrics shows can be read here in one go. Totals are kept by the
 * stages and only copied: a scrape never counts anything itself.
 */
#include "tocsin/monitor.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define INPUT_MAX TSN_APP_MAX_PARTITIONS

/* A field of struct tsn_app_stats without labels. */
enum field_type { U64, I64, I32, BOOL, US_TOTAL };
struct field {
    unsigned stage; /* shown only by workers that run it */
    enum tsn_metric_kind kind;
    enum field_type type;
    size_t offset;
    const char *name, *help;
};
#define F(stage_bit, kind, type, path, name, help) { stage_bit, kind, type, offsetof(struct tsn_app_stats, path), name, help }
#define IN(type, path, name, help) F(TSN_STAGE_INGEST, TSN_METRIC_COUNTER, type, ingest.path, name, help)
#define DE(type, path, name, help) F(TSN_STAGE_DETECT, TSN_METRIC_COUNTER, type, detect.path, name, help)
#define RE(type, path, name, help) F(TSN_STAGE_RESPOND, TSN_METRIC_COUNTER, type, respond.path, name, help)

static const struct field fields[] = {
    IN(U64, records, "tocsin_ingest_records_total", "Records read from input topics."),
    IN(U64, events, "tocsin_ingest_events_total", "Events in them."),
    IN(U64, samples, "tocsin_ingest_samples_total", "Samples sent on."),
    IN(U64, deltas, "tocsin_ingest_deltas_total", "Deltas of counters that are counted here, sent on."),
    IN(U64, irrelevant, "tocsin_ingest_irrelevant_total", "Samples that no rule selects."),
    IN(U64, dead_letters, "tocsin_ingest_dead_letters_total", "Records that could not be read."),
    IN(U64, late_moved, "tocsin_ingest_late_moved_total", "Late counts moved to the pane of the watermark."),
    IN(U64, late_dropped, "tocsin_ingest_late_dropped_total", "Late samples dropped."),
    IN(U64, limits, "tocsin_ingest_limit_hits_total", "A limit of ingest was met."),
    IN(U64, commits, "tocsin_ingest_commits_total", "Transactions committed."),
    IN(U64, aborts, "tocsin_ingest_aborts_total", "Transactions aborted."),
    IN(U64, sessions, "tocsin_ingest_sessions_total", "Times the stage started from what is committed."),
    IN(U64, fenced, "tocsin_ingest_fenced_total", "Times another owner, or the broker's timeout, fenced this one."),
    IN(US_TOTAL, commit_us_total, "tocsin_ingest_commit_seconds_total", "Time spent committing."),
    DE(U64, batches, "tocsin_detect_batches_total", "Batches applied."),
    DE(U64, samples, "tocsin_detect_samples_total", "Samples applied."),
    DE(U64, steps, "tocsin_detect_steps_total", "Steps of units."),
    DE(U64, evaluations, "tocsin_detect_evaluations_total", "Rules evaluated."),
    DE(U64, rule_errors, "tocsin_detect_rule_errors_total", "Evaluations that failed."),
    DE(U64, transitions, "tocsin_detect_transitions_total", "Transitions of alert instances."),
    DE(U64, late_dropped, "tocsin_detect_late_dropped_total", "Samples older than their unit's last step, dropped."),
    DE(U64, late_moved, "tocsin_detect_late_moved_total", "Deltas moved to the earliest open pane."),
    F(TSN_STAGE_DETECT, TSN_METRIC_GAUGE, U64, detect.series, "tocsin_detect_series", "Series held."),
    F(TSN_STAGE_DETECT, TSN_METRIC_GAUGE, U64, detect.mining.templates, "tocsin_detect_log_templates", "Log templates held."),
    F(TSN_STAGE_DETECT, TSN_METRIC_GAUGE, U64, detect.mining.scopes, "tocsin_detect_log_scopes", "Pairs of service and level with templates."),
    DE(U64, mining.lines, "tocsin_detect_log_lines_total", "Log lines counted into templates."),
    DE(U64, mining.discovered, "tocsin_detect_log_templates_discovered_total", "Log templates found."),
    DE(U64, mining.merged, "tocsin_detect_log_templates_merged_total", "Log templates merged into others."),
    DE(U64, mining.evicted_templates, "tocsin_detect_log_templates_evicted_total", "Rare and old log templates forgotten: a limit was met."),
    DE(U64, mining.evicted_scopes, "tocsin_detect_log_scopes_evicted_total", "Services' levels forgotten, longest silent first: a limit was met."),
    DE(U64, mining.limit_texts, "tocsin_detect_log_texts_limit_hits_total", "Texts of signatures not kept: a writer announced too much in a minute."),
    DE(U64, mining.unknown_texts, "tocsin_detect_log_texts_unknown_total", "Signatures mined as <*>, for want of their text."),
    DE(U64, bad_records, "tocsin_detect_bad_records_total", "Records of samples that could not be read."),
    DE(U64, limits, "tocsin_detect_limit_hits_total", "A limit of detect was met."),
    DE(U64, limit_dropped, "tocsin_detect_limit_dropped_total", "Samples dropped: their series was one too many."),
    DE(U64, commits, "tocsin_detect_commits_total", "Transactions committed."),
    DE(U64, aborts, "tocsin_detect_aborts_total", "Transactions aborted."),
    DE(U64, sessions, "tocsin_detect_sessions_total", "Times the stage started from what is committed."),
    DE(U64, fenced, "tocsin_detect_fenced_total", "Times another owner, or the broker's timeout, fenced this one."),
    DE(U64, takeovers, "tocsin_detect_takeovers_total", "Partitions taken over."),
    DE(US_TOTAL, step_us_total, "tocsin_detect_step_seconds_total", "Time spent in steps."),
    DE(US_TOTAL, commit_us_total, "tocsin_detect_commit_seconds_total", "Time spent committing."),
    F(TSN_STAGE_DETECT, TSN_METRIC_GAUGE, I64, detect.rule_set, "tocsin_detect_rule_set", "Number of the rule set in force; -1: none."),
    F(TSN_STAGE_DETECT, TSN_METRIC_GAUGE, I32, detect.partitions, "tocsin_detect_partitions", "Partitions of samples at work here."),
    RE(U64, transitions, "tocsin_respond_transitions_total", "Transitions of alerts taken."),
    RE(U64, commands, "tocsin_respond_commands_total", "Commands of people taken."),
    RE(U64, events, "tocsin_respond_events_total", "Incident events published."),
    RE(U64, opened, "tocsin_respond_opened_total", "Incidents opened."),
    F(TSN_STAGE_RESPOND, TSN_METRIC_GAUGE, U64, respond.incidents_open, "tocsin_respond_incidents_open", "Incidents that are open."),
    RE(U64, commits, "tocsin_respond_commits_total", "Transactions committed."),
    RE(U64, sessions, "tocsin_respond_sessions_total", "Times the stage started from what is committed."),
    RE(U64, bad_records, "tocsin_respond_bad_records_total", "Records of alerts and commands that could not be read."),
    F(TSN_STAGE_RESPOND, TSN_METRIC_GAUGE, BOOL, respond.redis_up, "tocsin_respond_redis_up", "Redis answers."),
};

/* Of one input partition. */
enum input_metric { LAG, LAG_S, WATERMARK, RECORDS, EVENTS, LATE, DEAD, IDLE, BLOCKED, PAUSED, INPUT_METRICS };
static const struct { const char *name, *help; enum tsn_metric_kind kind; } inputs[INPUT_METRICS] = {
    [LAG] = { "tocsin_input_lag_records", "Records not read yet.", TSN_METRIC_GAUGE },
    [LAG_S] = { "tocsin_input_lag_seconds", "Wall clock less watermark; not while the partition is idle.", TSN_METRIC_GAUGE },
    [WATERMARK] = { "tocsin_input_watermark_timestamp_seconds", "Event time up to which the partition is complete.", TSN_METRIC_GAUGE },
    [RECORDS] = { "tocsin_input_records_total", "Records read since the partition was assigned.", TSN_METRIC_COUNTER },
    [EVENTS] = { "tocsin_input_events_total", "Events read since the partition was assigned.", TSN_METRIC_COUNTER },
    [LATE] = { "tocsin_input_late_total", "Events behind the watermark since the partition was assigned.", TSN_METRIC_COUNTER },
    [DEAD] = { "tocsin_input_dead_letters_total", "Records that could not be read since the partition was assigned.", TSN_METRIC_COUNTER },
    [IDLE] = { "tocsin_input_idle", "Proved empty: it does not hold time.", TSN_METRIC_GAUGE },
    [BLOCKED] = { "tocsin_input_blocked", "Silent, not proved empty: it holds time.", TSN_METRIC_GAUGE },
    [PAUSED] = { "tocsin_input_paused", "Ahead of the slowest partition: waits for it.", TSN_METRIC_GAUGE },
};

/* Of one rule, over the partitions of this worker. */
enum rule_metric { EVALUATIONS, FAILURES, SERIES, LAST_STEP, MATCHED, PENDING, FIRING, RULE_METRICS };
enum { RULES_MAX = 5000 };
static const struct { const char *name, *help; enum tsn_metric_kind kind; } rules[RULE_METRICS] = {
    [EVALUATIONS] = { "tocsin_rule_evaluations_total", "Evaluations of a rule.", TSN_METRIC_COUNTER },
    [FAILURES] = { "tocsin_rule_evaluation_failures_total", "Evaluations that failed.", TSN_METRIC_COUNTER },
    [SERIES] = { "tocsin_rule_result_series", "Series of the last result.", TSN_METRIC_GAUGE },
    [LAST_STEP] = { "tocsin_rule_last_step_timestamp_seconds", "Event time of the last step.", TSN_METRIC_GAUGE },
    [MATCHED] = { "tocsin_rule_ever_matched", "0: the rule gave nothing since this worker runs it.", TSN_METRIC_GAUGE },
    [PENDING] = { "tocsin_rule_alerts_pending", "Pending instances of an alert.", TSN_METRIC_GAUGE },
    [FIRING] = { "tocsin_rule_alerts_firing", "Firing instances of an alert.", TSN_METRIC_GAUGE },
};

struct tsn_monitor_families {
    struct tsn_metric_family *fields[TSN_ARRAY_LEN(fields)], *inputs[INPUT_METRICS], *rules[RULE_METRICS];
    struct tsn_metric_family *running, *ready, *watermark, *lag, *blind, *memory, *cpu, *start;
};

static struct tsn_metric_family *family(struct tsn_metrics *metrics, const char *name, enum tsn_metric_kind kind, const char *help,
                                        const char *label)
{
    return tsn_metrics_family(metrics, &(struct tsn_metric_spec){ .name = name, .help = help, .kind = kind, .labels = { label } });
}

struct tsn_monitor_families *tsn_monitor_families_new(struct tsn_metrics *metrics)
{
    struct tsn_monitor_families *f = tsn_calloc(1, sizeof *f);

    f->running = family(metrics, "tocsin_stage_running", TSN_METRIC_GAUGE, "The stage belongs to this worker and lives.", "stage");
    f->ready = family(metrics, "tocsin_stage_ready", TSN_METRIC_GAUGE, "The stage is at work.", "stage");
    for (size_t i = 0; i < INPUT_METRICS; i++)
        f->inputs[i] = tsn_metrics_family(metrics, &(struct tsn_metric_spec){ .name = inputs[i].name, .help = inputs[i].help,
                                                                             .kind = inputs[i].kind, .max = INPUT_MAX,
                                                                             .labels = { "topic", "partition" } });
    for (size_t i = 0; i < RULE_METRICS; i++)
        f->rules[i] = tsn_metrics_family(metrics, &(struct tsn_metric_spec){ .name = rules[i].name, .help = rules[i].help,
                                                                            .kind = rules[i].kind, .max = RULES_MAX,
                                                                            .labels = { "file", "group", "rule" } });
    for (size_t i = 0; i < TSN_ARRAY_LEN(fields); i++)
        f->fields[i] = family(metrics, fields[i].name, fields[i].kind, fields[i].help, NULL);
    f->watermark = family(metrics, "tocsin_detect_watermark_timestamp_seconds", TSN_METRIC_GAUGE, "Event time that every unit here has reached.", NULL);
    f->lag = family(metrics, "tocsin_detect_lag_seconds", TSN_METRIC_GAUGE, "Wall clock less that event time.", NULL);
    f->blind = family(metrics, "tocsin_detect_blind_seconds", TSN_METRIC_GAUGE, "How long no watermark has come; 0: they come.", NULL);
    f->memory = family(metrics, "process_resident_memory_bytes", TSN_METRIC_GAUGE, "Resident memory size in bytes.", NULL);
    f->cpu = family(metrics, "process_cpu_seconds_total", TSN_METRIC_COUNTER, "Total user and system CPU time spent in seconds.", NULL);
    f->start = family(metrics, "process_start_time_seconds", TSN_METRIC_GAUGE, "Start time of the process since unix epoch in seconds.", NULL);
    return f;
}

void tsn_monitor_families_free(struct tsn_monitor_families **families)
{
    tsn_free(*families);
    *families = NULL;
}

static double read_field(const struct field *field, const struct tsn_app_stats *stats)
{
    const void *at = (const char *)stats + field->offset;

    switch (field->type) {
    case U64: return (double)*(const uint64_t *)at;
    case I64: return (double)*(const int64_t *)at;
    case I32: return (double)*(const int32_t *)at;
    case BOOL: return *(const bool *)at;
    case US_TOTAL:
    default: return (double)*(const int64_t *)at / 1e6;
    }
}

static void fill_input(struct tsn_monitor_families *f, const struct tsn_app_input *in, int64_t now_ms)
{
    char partition[16];
    const char *const values[] = { in->topic, partition };
    bool timed = in->watermark_ms != TSN_TIME_NONE;
    const double now[INPUT_METRICS] = {
        [LAG] = in->high_offset > in->next_offset ? (double)(in->high_offset - in->next_offset) : 0,
        [LAG_S] = timed ? (double)(now_ms - in->watermark_ms) / 1000 : 0,
        [WATERMARK] = timed ? (double)in->watermark_ms / 1000 : 0,
        [RECORDS] = (double)in->records, [EVENTS] = (double)in->events, [LATE] = (double)in->late, [DEAD] = (double)in->dead_letters,
        [IDLE] = in->idle, [BLOCKED] = in->blocked, [PAUSED] = in->paused,
    };

    snprintf(partition, sizeof partition, "%d", in->partition);
    for (size_t i = 0; i < INPUT_METRICS; i++)
        if (timed ? i != LAG_S || !in->idle : i != LAG_S && i != WATERMARK)
            tsn_metric_set(tsn_metric_get(f->inputs[i], values), now[i]);
}

void tsn_monitor_fill_rule(const struct tsn_app_rule *rule, void *families)
{
    struct tsn_monitor_families *f = families;
    const char *const values[] = { rule->file, rule->group, rule->rule };
    bool stepped = rule->last_step_ms != TSN_TIME_NONE;
    const double now[RULE_METRICS] = {
        [EVALUATIONS] = (double)rule->evaluations, [FAILURES] = (double)rule->errors, [SERIES] = (double)rule->last_count,
        [LAST_STEP] = stepped ? (double)rule->last_step_ms / 1000 : 0, [MATCHED] = rule->ever_matched,
        [PENDING] = (double)rule->pending, [FIRING] = (double)rule->firing,
    };

    for (size_t i = 0; i < RULE_METRICS; i++)
        if ((rule->is_alert || (i != PENDING && i != FIRING)) && (stepped || i != LAST_STEP))
            tsn_metric_set(tsn_metric_get(f->rules[i], values), now[i]);
}

static void fill_stage(struct tsn_monitor_families *f, const char *stage, bool ours, bool running, bool ready)
{
    if (!ours)
        return;
    tsn_metric_set(tsn_metric_get(f->running, &stage), running);
    tsn_metric_set(tsn_metric_get(f->ready, &stage), ready);
}

static void fill_process(struct tsn_monitor_families *f)
{
    static double start_s;
    struct rusage usage;
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (statm && fscanf(statm, "%*d %ld", &pages) == 1)
        tsn_metric_set(tsn_metric_get(f->memory, NULL), (double)pages * (double)sysconf(_SC_PAGESIZE));
    if (statm)
        fclose(statm);
    getrusage(RUSAGE_SELF, &usage);
    tsn_metric_set(tsn_metric_get(f->cpu, NULL), (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    start_s = start_s > 0 ? start_s : (double)tsn_wall_now().ms / 1000;
    tsn_metric_set(tsn_metric_get(f->start, NULL), start_s);
}

void tsn_monitor_fill(struct tsn_monitor_families *f, const struct tsn_app_stats *stats, unsigned stages, int64_t now_ms)
{
    fill_stage(f, "ingest", stages & TSN_STAGE_INGEST, stats->ingest.running, stats->ingest.ready);
    fill_stage(f, "detect", stages & TSN_STAGE_DETECT, stats->detect.running, stats->detect.ready);
    fill_stage(f, "respond", stages & TSN_STAGE_RESPOND, stats->respond.running, stats->respond.ready);
    for (size_t i = 0; i < INPUT_METRICS; i++)
        tsn_metric_family_hide(f->inputs[i]);
    for (size_t i = 0; i < RULE_METRICS; i++)
        tsn_metric_family_hide(f->rules[i]);
    for (size_t i = 0; i < stats->input_count; i++)
        fill_input(f, &stats->inputs[i], now_ms);
    for (size_t i = 0; i < TSN_ARRAY_LEN(fields); i++)
        if (stages & fields[i].stage)
            tsn_metric_set(tsn_metric_get(f->fields[i], NULL), read_field(&fields[i], stats));
    tsn_metric_family_hide(f->watermark);
    tsn_metric_family_hide(f->lag);
    if ((stages & TSN_STAGE_DETECT) && stats->detect.watermark_ms != TSN_TIME_NONE) {
        tsn_metric_set(tsn_metric_get(f->watermark, NULL), (double)stats->detect.watermark_ms / 1000);
        tsn_metric_set(tsn_metric_get(f->lag, NULL), (double)(now_ms - stats->detect.watermark_ms) / 1000);
    }
    if (stages & TSN_STAGE_DETECT)
        tsn_metric_set(tsn_metric_get(f->blind, NULL),
                       stats->detect.blind_since_ms > 0 ? (double)(now_ms - stats->detect.blind_since_ms) / 1000 : 0);
    fill_process(f);
}
