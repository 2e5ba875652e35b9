/*
 * Goal: event time on a real Kafka: an idle partition does not hold time, silence lets it go on (absent() fires, alerts and incidents end), also
 * where nobody ever sent anything; a partition that is blocked is not idle and loses nothing; a flush of old events neither turns time back nor
 * loses a count; a first burst is an increase, one after silence too, and a silent counter ends at its ttl.
 * Method: the stages in this process over topics of the test's own, events produced here to chosen partitions, alerts
 * read back committed. Steps are compared exactly where event time alone decides them.
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib_services.h"
#include "tocsin/app.h"
#include "tocsin/codec.h"
#include "tocsin/kafka.h"
#include "tocsin/kafka_admin.h"

enum { PARTITIONS = 4, WAIT_MS = 30000 };

struct world {
    char folder[64], *name, *topic, *logs;
    struct tsn_config config;
    struct tsn_app *app;
    struct tsn_producer *producer;
    struct tsn_reader *alerts;
    struct tsn_app_stats *stats;
};

/* The sink stands still for as long as this is set. */
static atomic_bool sink_stands;

static void wait_for_sink(void *arg)
{
    TSN_UNUSED(arg);
    while (atomic_load(&sink_stands))
        tsn_it_sleep_ms(20);
}

static void die_on(enum tsn_err err, const struct tsn_error *error)
{
    if (err)
        fail_msg("%s", error->message);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void create_topics(struct world *w)
{
    struct tsn_error error = { 0 };
    struct tsn_admin *admin = tsn_admin_new(&w->config, 10000, &error);
    const struct tsn_pair_texts none = { 0 };
    const char *const names[] = { w->topic, w->logs, w->config.topics.samples, w->config.topics.state, w->config.topics.rules, w->config.topics.alerts,
                                  w->config.topics.commands, w->config.topics.incidents, w->config.topics.respond,
                                  w->config.topics.deadletter, w->config.topics.templates };

    assert_non_null(admin);
    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++)
        die_on(tsn_admin_create(admin, names[i], i == 0 ? PARTITIONS : i == 2 || i == 3 ? 2 : 1, 1, &none, &error), &error);
    tsn_admin_free(&admin);
}

/* more: further lines of the configuration. */
static void start_with(struct world *w, unsigned stages, const char *more, const char *rules)
{
    struct tsn_app_options options = { .stages = stages, .before_transaction = wait_for_sink };
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    char file[128];

    memset(w, 0, sizeof *w);
    snprintf(w->folder, sizeof w->folder, "/tmp/tocsin-time-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->name = tsn_it_name("time");
    tsn_buf_printf(&text, "%s.in", w->name);
    w->topic = tsn_buf_take(&text, NULL);
    tsn_buf_printf(&text, "%s.logs", w->name);
    w->logs = tsn_buf_take(&text, NULL);
    write_file(w->folder, "rules.yaml", rules);
    tsn_buf_printf(&text,
                   "kafka: { bootstrap.servers: \"%s\" }\nredis: { url: \"%s\" }\ninputs: [ { topic: %s, type: metrics }, { topic: %s, type: logs } ]\nrules: [ rules.yaml ]\n"
                   "topics: { prefix: \"%s.\" }\nworker: { group_prefix: \"%s.\" }\nhttp: { listen: \"\" }\n%s",
                   tsn_it_kafka(), tsn_it_redis(), w->topic, w->logs, w->name, w->name, more);
    snprintf(file, sizeof file, "%s/tocsin.yaml", w->folder);
    die_on(tsn_config_parse(&w->config, file, text.data, text.len, &(struct tsn_config_io){ NULL, NULL, NULL }, &error), &error);
    tsn_buf_release(&text);
    create_topics(w);
    options.config = &w->config;
    w->app = tsn_app_new(&options, &error);
    if (!w->app)
        fail_msg("%s", error.message);
    die_on(tsn_app_start(w->app, &error), &error);
    w->producer = tsn_producer_new(&w->config, NULL, 10000, &error);
    w->alerts = tsn_reader_new(&w->config, w->config.topics.alerts, 0, TSN_OFFSET_BEGINNING, true, &error);
    assert_non_null(w->producer);
    assert_non_null(w->alerts);
    w->stats = tsn_calloc(1, sizeof *w->stats);
}

static void start(struct world *w, const char *rules)
{
    start_with(w, TSN_STAGE_INGEST | TSN_STAGE_DETECT, "time: { out_of_orderness: 1s, align: 30s }\n", rules);
}

static void stop(struct world *w)
{
    char path[256];

    tsn_app_stop(w->app);
    tsn_app_free(&w->app);
    tsn_producer_free(&w->producer);
    tsn_reader_free(&w->alerts);
    tsn_config_release(&w->config);
    tsn_free(w->stats);
    tsn_free(w->topic);
    tsn_free(w->logs);
    tsn_free(w->name);
    snprintf(path, sizeof path, "%s/rules.yaml", w->folder);
    unlink(path);
    rmdir(w->folder);
}

static int64_t now_ms(void)
{
    return tsn_wall_now().ms;
}

static int64_t ceil_s(int64_t ms)
{
    return (ms + 999) / 1000 * 1000;
}

static void send_by(struct world *w, struct tsn_producer *producer, int32_t partition, const char *name, const char *kind, double value, int64_t ts_ms)
{
    struct tsn_buf event = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    tsn_buf_printf(&event, "{\"name\":\"%s\",\"kind\":\"%s\",\"value\":%g,\"timestamp\":%lld,\"labels\":{\"service\":\"s%d\"}}", name, kind, value,
                   (long long)ts_ms, partition);
    die_on(tsn_producer_send(producer, w->topic, partition, NULL, 0, event.data, event.len, TSN_TIME_NONE, NULL, 0, &error), &error);
    tsn_buf_release(&event);
}

static void send(struct world *w, int32_t partition, const char *name, const char *kind, double value, int64_t ts_ms)
{
    send_by(w, w->producer, partition, name, kind, value, ts_ms);
}

/* The step of the first transition of `rule` to `state` from here on; fails the test if none comes, or ends for another reason. */
static int64_t wait_for_end(struct world *w, const char *rule, enum tsn_alert_state state, enum tsn_end_reason reason)
{
    int64_t until_ms = now_ms() + WAIT_MS, step_ms = TSN_TIME_NONE;

    while (step_ms == TSN_TIME_NONE && now_ms() < until_ms) {
        struct tsn_message m;
        struct tsn_transition t;
        struct tsn_error error = { 0 };

        if (tsn_reader_next(w->alerts, 500, &m, &error))
            continue;
        die_on(tsn_codec_transition_decode(m.value, m.value_len, TSN_FORM_JSON, &t, &error), &error);
        if (strcmp(t.rule, rule) == 0 && t.state == state) {
            step_ms = t.step_ms;
            assert_string_equal(tsn_end_reason_name(t.end_reason), tsn_end_reason_name(reason));
        }
        tsn_transition_release(&t);
    }
    if (step_ms == TSN_TIME_NONE)
        fail_msg("no transition of %s to %s within %d s", rule, tsn_alert_state_name(state), WAIT_MS / 1000);
    return step_ms;
}

static int64_t wait_for(struct world *w, const char *rule, enum tsn_alert_state state)
{
    return wait_for_end(w, rule, state, TSN_END_NONE);
}

static const struct tsn_app_input *input(struct world *w, int32_t partition)
{
    tsn_app_get_stats(w->app, w->stats);
    for (size_t i = 0; i < w->stats->input_count; i++)
        if (w->stats->inputs[i].partition == partition && strcmp(w->stats->inputs[i].topic, w->topic) == 0)
            return &w->stats->inputs[i];
    return NULL;
}

static bool until(struct world *w, int32_t partition, bool (*holds)(const struct tsn_app_input *))
{
    for (int64_t end_ms = now_ms() + WAIT_MS; now_ms() < end_ms; tsn_it_sleep_ms(100))
        if (input(w, partition) && holds(input(w, partition)))
            return true;
    return false;
}

static bool is_idle(const struct tsn_app_input *in)
{
    return in->idle;
}

static bool has_watermark(const struct tsn_app_input *in)
{
    return in->watermark_ms != TSN_TIME_NONE;
}

static int64_t awaited_ms;

static bool has_come(const struct tsn_app_input *in)
{
    return in->watermark_ms >= awaited_ms;
}

static bool is_blocked(const struct tsn_app_input *in)
{
    return in->blocked;
}

/* ---- tests --------------------------------------------------------------------------------- */

/* Partition 3 never has a record: it is proved empty and time goes on with the others; the step is the first at or after the
 * sample that breaks the bound. Then all fall silent, and absence fires at the step that event time alone decides. */
static void silence_moves_time(void **state)
{
    struct world w;
    int64_t first_ms, last_ms = 0, step_ms;

    TSN_UNUSED(state);
    start(&w, "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: High\n    expr: x{service=\"s1\"} > 5\n"
              "  - alert: Silent\n    expr: absent_over_time(x{service=\"s1\"}[5s])\n");
    assert_true(until(&w, 3, is_idle));
    first_ms = now_ms();
    for (int i = 0; i < 20; i++) {
        last_ms = now_ms();
        for (int32_t p = 0; p < 3; p++)
            send(&w, p, "x", "gauge", 10, last_ms);
        tsn_it_sleep_ms(200);
    }
    step_ms = wait_for(&w, "High", TSN_ALERT_FIRING);
    assert_int_equal(step_ms, ceil_s(first_ms));
    assert_true(input(&w, 3)->idle);
    step_ms = wait_for(&w, "Silent", TSN_ALERT_FIRING);
    assert_int_equal(step_ms, ceil_s(last_ms + 5000));
    stop(&w);
}

/* An open transaction hides what lies behind it: the partition is blocked, not idle, time waits; when it commits everything
 * counts. */
static void blocked_is_not_idle(void **state)
{
    struct world w;
    struct tsn_error error = { 0 };
    struct tsn_producer *open;
    char *id = tsn_it_name("open");
    int64_t held_ms;

    TSN_UNUSED(state);
    start(&w, "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: All\n    expr: sum(increase(c_total[5m])) > 99.5\n");
    open = tsn_producer_new(&w.config, id, 15000, &error);
    assert_non_null(open);
    for (int32_t p = 0; p < PARTITIONS; p++)
        send(&w, p, "c_total", "delta", 1, now_ms());
    assert_true(until(&w, 0, is_idle));
    die_on(tsn_producer_begin(open, &error), &error);
    held_ms = now_ms();
    for (int i = 0; i < 50; i++)
        send_by(&w, open, 0, "c_total", "delta", 1, held_ms);
    die_on(tsn_producer_flush(open, 5000, &error), &error);
    assert_true(until(&w, 0, is_blocked));
    for (int i = 0; i < 46; i++) {
        send(&w, 1 + i % 3, "c_total", "delta", 1, now_ms());
        tsn_it_sleep_ms(100);
    }
    assert_true(input(&w, 0)->blocked);
    assert_false(input(&w, 0)->idle);
    tsn_app_get_stats(w.app, w.stats);
    assert_true(w.stats->detect.watermark_ms < held_ms + 2000);
    die_on(tsn_producer_commit(open, &error), &error);
    (void)wait_for(&w, "All", TSN_ALERT_FIRING);
    tsn_app_get_stats(w.app, w.stats);
    assert_int_equal(w.stats->ingest.late_dropped + w.stats->detect.late_dropped, 0);
    tsn_producer_free(&open);
    tsn_free(id);
    stop(&w);
}

/* Ten minutes of backlog behind newer events: the watermark stays, each late count is moved, none is lost. */
static void backlog_is_counted(void **state)
{
    struct world w;
    int64_t base_ms, before_ms;

    TSN_UNUSED(state);
    start(&w, "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: All\n    expr: sum(increase(c_total[5m])) > 119.5\n");
    base_ms = now_ms();
    for (int i = 0; i < 20; i++)
        send(&w, 1, "c_total", "delta", 1, base_ms);
    assert_true(until(&w, 1, is_idle));
    before_ms = input(&w, 1)->watermark_ms;
    for (int i = 0; i < 100; i++)
        send(&w, 1, "c_total", "delta", 1, base_ms - 600000 + i * 5900);
    (void)wait_for(&w, "All", TSN_ALERT_FIRING);
    assert_true(input(&w, 1)->watermark_ms >= before_ms);
    assert_int_equal(w.stats->ingest.late_moved, 100);
    assert_int_equal(w.stats->ingest.late_dropped + w.stats->detect.late_dropped, 0);
    stop(&w);
}

static bool is_paused(const struct tsn_app_input *in)
{
    return in->paused;
}

static bool is_not_paused(const struct tsn_app_input *in)
{
    return !in->paused;
}

/* Partition 0 is ten minutes ahead of an active partition 1: it waits for half a minute, is not idle meanwhile, reads nothing more, and
 * goes on once the other has come near; nothing of it is late. */
static void fast_partition_waits(void **state)
{
    struct world w;
    int64_t base_ms = now_ms() - 3600000;
    uint64_t sent = 0, read;

    TSN_UNUSED(state);
    start(&w, "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Any\n    expr: x > 5\n");
    for (int i = 0; i < 100 && !(input(&w, 0) && is_paused(input(&w, 0))); i++) {
        send(&w, 1, "x", "gauge", 1, base_ms + i * 10);
        send(&w, 0, "x", "gauge", 1, base_ms + 600000 + (int64_t)sent++ * 10);
        tsn_it_sleep_ms(200);
    }
    assert_true(input(&w, 0) && is_paused(input(&w, 0)));
    tsn_it_sleep_ms(500);
    read = input(&w, 0)->records;
    for (int i = 0; i < 100; i++)
        send(&w, 0, "x", "gauge", 1, base_ms + 600000 + (int64_t)sent++ * 10);
    for (int i = 0; i < 150; i++) { /* half a minute */
        send(&w, 1, "x", "gauge", 1, base_ms + 2000 + i * 100);
        tsn_it_sleep_ms(200);
        assert_false(input(&w, 0)->idle);
    }
    assert_int_equal(input(&w, 0)->records, read);
    send(&w, 1, "x", "gauge", 1, base_ms + 600000);
    assert_true(until(&w, 0, is_not_paused));
    assert_true(until(&w, 0, is_idle));
    assert_int_equal(input(&w, 0)->records, sent);
    assert_int_equal(w.stats->ingest.late_dropped + w.stats->detect.late_dropped, 0);
    stop(&w);
}

/* Nobody ever sent anything: every partition is proved empty, and half of blind_after later the wall clock is what time it is: absent() fires,
 * detection is not blind. The first event then counts. */
static void nothing_ever_was(void **state)
{
    struct world w;
    int64_t began_ms, step_ms, event_ms;

    TSN_UNUSED(state);
    start_with(&w, TSN_STAGE_INGEST | TSN_STAGE_DETECT, "time: { out_of_orderness: 1s, blind_after: 20s }\n",
               "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Nobody\n    expr: absent(c_total)\n    for: 3s\n"
               "  - alert: First\n    expr: increase(c_total[10s]) > 2.5\n");
    began_ms = now_ms();
    step_ms = wait_for(&w, "Nobody", TSN_ALERT_FIRING);
    assert_in_range(step_ms, began_ms + 10000, now_ms());
    tsn_app_get_stats(w.app, w.stats);
    assert_int_equal(w.stats->detect.blind_since_ms, 0);
    event_ms = now_ms();
    send(&w, 2, "c_total", "delta", 3, event_ms);
    step_ms = wait_for_end(&w, "Nobody", TSN_ALERT_RESOLVED, TSN_END_CONDITION);
    assert_in_range(step_ms, ceil_s(event_ms) - 1000, ceil_s(event_ms) + 10000);
    assert_in_range(wait_for(&w, "First", TSN_ALERT_FIRING), step_ms, step_ms + 1000);
    assert_int_equal(w.stats->ingest.late_dropped + w.stats->detect.late_dropped, 0);
    stop(&w);
}

/* Ten errors at once in a series that was never seen, an hour of event time ago; then only another partition speaks. The burst is an increase of ten at
 * the step of its pane. So is one after a silence four times the window (1 s between two samples, and half of that again before the first:
 * Prometheus makes it 15), and the series ends one ttl behind that. */
static void burst_and_ttl(void **state)
{
    struct world w;
    int64_t base_ms = now_ms() / 1000 * 1000 - 3600000 + 500;

    TSN_UNUSED(state);
    start_with(&w, TSN_STAGE_INGEST | TSN_STAGE_DETECT, "time: { out_of_orderness: 1s, counter_ttl: 1m }\n",
               "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Burst\n    expr: increase(c_total[10s]) == 10\n"
               "  - alert: Again\n    expr: increase(c_total[10s]) == 15 and c_total == 20\n"
               "  - alert: Lives\n    expr: c_total >= 0\n");
    for (int32_t p = 0; p < PARTITIONS; p++) /* so that the burst alone says where time begins */
        assert_true(until(&w, p, is_idle));
    for (int i = 0; i < 10; i++)
        send(&w, 2, "c_total", "delta", 1, base_ms + i);
    assert_true(until(&w, 2, has_watermark));
    for (int i = 0; i < 24; i++) {
        send(&w, 1, "x", "gauge", 1, base_ms + i * 5000);
        for (int k = 0; k < 10 && i == 8; k++)
            send(&w, 2, "c_total", "delta", 1, base_ms + i * 5000 + k);
        awaited_ms = base_ms + 40000 - 1000;
        assert_true(i != 8 || until(&w, 2, has_come));
        tsn_it_sleep_ms(100);
    }
    assert_int_equal(wait_for(&w, "Burst", TSN_ALERT_FIRING), base_ms + 500);
    assert_int_equal(wait_for(&w, "Lives", TSN_ALERT_FIRING), base_ms + 500);
    assert_int_equal(wait_for(&w, "Again", TSN_ALERT_FIRING), base_ms + 500 + 40000);
    assert_int_equal(wait_for_end(&w, "Lives", TSN_ALERT_RESOLVED, TSN_END_PRODUCER_SILENT), base_ms + 500 + 40000 + 60000);
    stop(&w);
}

/* The events of `rule`'s incident up to one of `type`; fails if none comes. */
static void wait_for_incident(struct world *w, enum tsn_incident_event_type type)
{
    struct tsn_error error = { 0 };
    struct tsn_reader *reader = tsn_reader_new(&w->config, w->config.topics.incidents, 0, TSN_OFFSET_BEGINNING, true, &error);
    int64_t until_ms = now_ms() + WAIT_MS;
    bool seen = false;

    assert_non_null(reader);
    while (!seen && now_ms() < until_ms) {
        struct tsn_message m;
        struct tsn_incident_event event;

        if (tsn_reader_next(reader, 500, &m, &error))
            continue;
        die_on(tsn_codec_incident_event_decode(m.value, m.value_len, TSN_FORM_JSON, &event, &error), &error);
        seen = event.type == type;
        tsn_incident_event_release(&event);
    }
    tsn_reader_free(&reader);
    if (!seen)
        fail_msg("no incident event of type %d within %d s", (int)type, WAIT_MS / 1000);
}

/* A fault is reported once, then everybody falls silent: the alert ends when its sample is out of lookback, at that very step, and its
 * incident with it. */
static void silence_ends_incidents(void **state)
{
    struct world w;
    int64_t fault_ms;

    TSN_UNUSED(state);
    start_with(&w, TSN_STAGE_INGEST | TSN_STAGE_DETECT | TSN_STAGE_RESPOND, "time: { out_of_orderness: 1s }\ndetect: { lookback: 6s }\n",
               "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Hot\n    expr: x > 5\n    labels: { severity: critical }\n");
    fault_ms = now_ms();
    for (int32_t p = 0; p < PARTITIONS; p++)
        send(&w, p, "x", "gauge", p == 1 ? 10 : 1, fault_ms);
    assert_int_equal(wait_for(&w, "Hot", TSN_ALERT_FIRING), ceil_s(fault_ms));
    wait_for_incident(&w, TSN_INC_OPENED);
    assert_int_equal(wait_for_end(&w, "Hot", TSN_ALERT_RESOLVED, TSN_END_PARTITION_IDLE), ceil_s(fault_ms + 6000));
    wait_for_incident(&w, TSN_INC_RESOLVED);
    stop(&w);
}

static void send_log(struct world *w, int64_t ts_ms)
{
    struct tsn_buf event = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    tsn_buf_printf(&event, "{\"timestamp\":%lld,\"service\":\"s1\",\"level\":\"ERROR\",\"message\":\"no\"}", (long long)ts_ms);
    die_on(tsn_producer_send(w->producer, w->logs, 0, NULL, 0, event.data, event.len, TSN_TIME_NONE, NULL, 0, &error), &error);
    tsn_buf_release(&event);
}

/* Metrics ten minutes ahead of a log topic that is being read: they wait where a rule reads both, and run where none does. */
static void inputs_of_one_unit_wait(bool both)
{
    struct world w;
    int64_t base_ms = now_ms() - 3600000;

    start(&w, both ? "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Both\n    expr: x > 5 and on (service) increase(log_messages_total[5m]) > 0\n"
                   : "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: One\n    expr: x > 5\n"
                     "- name: h\n  interval: 1s\n  rules:\n  - alert: Other\n    expr: increase(log_messages_total[5m]) > 5\n");
    for (int i = 0; i < 60 && !(input(&w, 0) && is_paused(input(&w, 0))); i++) {
        send_log(&w, base_ms + i * 10);
        for (int32_t p = 0; p < PARTITIONS; p++)
            send(&w, p, "x", "gauge", 10, base_ms + 600000 + i * 10);
        tsn_it_sleep_ms(100);
    }
    assert_int_equal(input(&w, 0)->paused, both);
    for (int i = 0; i < 3; i++)
        send_log(&w, base_ms + 601000 + i * 1000);
    assert_true(until(&w, 0, is_not_paused));
    assert_true(wait_for(&w, both ? "Both" : "One", TSN_ALERT_FIRING) >= base_ms + 600000);
    stop(&w);
}

static void inputs_that_a_rule_reads_together_wait(void **state)
{
    TSN_UNUSED(state);
    inputs_of_one_unit_wait(true);
}

static void inputs_that_no_rule_reads_together_run(void **state)
{
    TSN_UNUSED(state);
    inputs_of_one_unit_wait(false);
}

/* An event of a series of its own, so that a batch grows with every one. */
static void send_unique(struct world *w, int32_t partition, int64_t number)
{
    struct tsn_buf event = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    tsn_buf_printf(&event, "{\"name\":\"c_total\",\"kind\":\"delta\",\"value\":1,\"timestamp\":%lld,\"labels\":{\"service\":\"s%d\",\"path\":\"/%0100lld\"}}",
                   (long long)now_ms(), partition, (long long)number);
    die_on(tsn_producer_send(w->producer, w->topic, partition, NULL, 0, event.data, event.len, TSN_TIME_NONE, NULL, 0, &error), &error);
    tsn_buf_release(&event);
}

/* Nothing goes out to topic samples for half a minute while events go on coming: INGEST's mailbox and its 64 KiB batch fill and decoding waits. No
 * partition is idle meanwhile, nothing is late afterwards, and every event counts. */
static void slow_sink_is_not_idle(void **state)
{
    enum { BEFORE = 20, ROUNDS = 300 };
    struct world w;
    char rules[256];
    int64_t sent = 0;
    uint64_t passed;

    TSN_UNUSED(state);
    snprintf(rules, sizeof rules, "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: All\n    expr: sum(c_total) == %d\n",
             (BEFORE + ROUNDS) * PARTITIONS);
    start_with(&w, TSN_STAGE_INGEST | TSN_STAGE_DETECT, "time: { out_of_orderness: 1s }\ningest: { batch_bytes: 64KiB }\n", rules);
    assert_true(until(&w, 0, is_idle));
    for (int i = 0; i < BEFORE; i++, tsn_it_sleep_ms(100))
        for (int32_t p = 0; p < PARTITIONS; p++)
            send_unique(&w, p, sent++);
    atomic_store(&sink_stands, true);
    tsn_it_sleep_ms(1000);
    tsn_app_get_stats(w.app, w.stats);
    passed = w.stats->detect.batches;
    for (int i = 0; i < ROUNDS; i++, tsn_it_sleep_ms(100))
        for (int32_t p = 0; p < PARTITIONS; p++) {
            send_unique(&w, p, sent++);
            if (i > 5 && input(&w, p))
                assert_false(input(&w, p)->idle);
        }
    tsn_app_get_stats(w.app, w.stats);
    assert_int_equal(w.stats->detect.batches, passed); /* it stood still indeed */
    atomic_store(&sink_stands, false);
    (void)wait_for(&w, "All", TSN_ALERT_FIRING);
    tsn_app_get_stats(w.app, w.stats);
    assert_int_equal(w.stats->ingest.late_dropped + w.stats->ingest.late_moved, 0);
    assert_int_equal(w.stats->detect.late_dropped + w.stats->detect.late_moved, 0);
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_ever_was),
        cmocka_unit_test(burst_and_ttl),
        cmocka_unit_test(silence_ends_incidents),
        cmocka_unit_test(silence_moves_time),
        cmocka_unit_test(blocked_is_not_idle),
        cmocka_unit_test(backlog_is_counted),
        cmocka_unit_test(fast_partition_waits),
        cmocka_unit_test(inputs_that_a_rule_reads_together_wait),
        cmocka_unit_test(inputs_that_no_rule_reads_together_run),
        cmocka_unit_test(slow_sink_is_not_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
