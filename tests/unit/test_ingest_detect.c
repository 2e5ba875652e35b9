/*
 * Goal: what INGEST writes is what DETECT reads: from raw events to alert transitions, through the bytes of `samples`.
 * Method: a small plant of simulated time: events on two partitions, idle marks when they fall silent, a batch every so often,
 * one DETECT for each partition of `samples`. The transitions are compared with what Prometheus's semantics say, and between
 * runs that cut batches differently and restart INGEST.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/codec.h"
#include "tocsin/detect.h"
#include "tocsin/ingest.h"

#define T0 INT64_C(1700000100000) /* a whole multiple of 15 s */
enum { PLACES = 3, HOOKS = 0, METRICS = 1, SECONDS = 1500 };

static const char rules[] =
    "groups:\n"
    "- name: g\n"
    "  interval: 15s\n"
    "  rules:\n"
    "  - alert: HooksFail\n"
    "    expr: sum by (service) (increase(hooks_processed_total{status=\"error\"}[5m])) > 3\n"
    "  - alert: Hot\n"
    "    expr: temperature > 30\n"
    "    for: 1m\n"
    "- name: silence\n"
    "  interval: 15s\n"
    "  rules:\n"
    "  - alert: NoHooks\n"
    "    expr: absent(hooks_processed_total{service=\"a\"})\n";
static const char yaml[] = "kafka: { bootstrap.servers: \"b:9092\" }\n"
                           "inputs: [ { topic: h, type: hooks }, { topic: m, type: metrics } ]\n"
                           "rules: [ \"r.yaml\" ]\n";

static struct tsn_rule_set *load(void)
{
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options options = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &options, &errors);

    assert_non_null(set);
    return set;
}

struct plant {
    struct tsn_config config;
    struct tsn_rule_set *set;
    struct tsn_ingest *ingest;
    struct tsn_detect *detect[PLACES];
    struct tsn_detect_output out;
    struct tsn_buf log; /* a line for each transition */
    int64_t next[2][2], batches, writer;
    char *metadata[2][2];
};

static void open_ingest(struct plant *p)
{
    struct tsn_ingest_options options = { .config = &p->config, .writer = ++p->writer, .samples_partitions = PLACES };

    p->ingest = tsn_ingest_new(&options, NULL);
    tsn_ingest_add_rule_set(p->ingest, 0, p->set);
    for (size_t input = 0; input < 2; input++)
        for (int32_t part = 0; part < 2; part++)
            assert_int_equal(tsn_ingest_assign(p->ingest, input, part, 2, p->next[input][part], p->metadata[input][part], NULL), TSN_OK);
}

static void open_plant(struct plant *p)
{
    memset(p, 0, sizeof *p);
    assert_int_equal(tsn_config_parse(&p->config, "t.yaml", yaml, sizeof yaml - 1, NULL, NULL), TSN_OK);
    p->set = load();
    for (int k = 0; k < PLACES; k++) {
        struct tsn_detect_options options = { .partition = k, .partition_count = PLACES };

        p->detect[k] = tsn_detect_new(&options);
        tsn_detect_add_rule_set(p->detect[k], 0, load());
    }
    open_ingest(p);
}

static void note_transitions(struct plant *p)
{
    for (size_t i = 0; i < p->out.transitions.len; i++) {
        const struct tsn_transition *t = &p->out.transitions.items[i];
        const char *service = tsn_labels_get(t->labels, "service");

        tsn_buf_printf(&p->log, "%lld %s %s %s %s\n", (long long)(t->step_ms - T0) / 1000, t->rule, service ? service : "-",
                       tsn_alert_state_name(t->state), tsn_end_reason_name(t->end_reason));
    }
    tsn_detect_output_reset(&p->out);
}

static void close_batch(struct plant *p, int64_t wall_ms)
{
    struct tsn_closed_batch *b = tsn_ingest_close(p->ingest, wall_ms);

    for (int k = 0; k < PLACES; k++) {
        struct tsn_batch batch;

        assert_int_equal(tsn_codec_batch_decode(b->records[k].data, b->records[k].len, &batch, NULL), TSN_OK);
        tsn_detect_apply(p->detect[k], &batch, p->batches, &p->out);
        tsn_batch_release(&batch);
        note_transitions(p);
    }
    p->batches++;
    for (size_t i = 0; i < b->offset_count; i++) {
        size_t input = strcmp(b->offsets[i].topic, "h") == 0 ? HOOKS : METRICS;

        p->next[input][b->offsets[i].partition] = b->offsets[i].next_offset;
        tsn_free(p->metadata[input][b->offsets[i].partition]);
        p->metadata[input][b->offsets[i].partition] = tsn_strdup(b->offsets[i].metadata);
    }
    tsn_closed_batch_free(&b);
}

static void send(struct plant *p, size_t input, int32_t part, int64_t *offset, int64_t ts_ms, const char *text)
{
    struct tsn_ingest_record r = { .input = input, .partition = part, .offset = (*offset)++, .timestamp_ms = ts_ms, .value = text,
                                   .value_len = strlen(text) };

    assert_int_equal(tsn_ingest_record(p->ingest, &r, NULL), TSN_OK);
}

/* A second of the plant: hooks of service a until 600 s, ten of them errors at 100–104 s; a thermometer, hot from 200 to 400 s. */
static void second(struct plant *p, int64_t offsets[2][2], int64_t s)
{
    int64_t ts_ms = T0 + s * 1000;
    char text[256];

    for (int i = 0; s < 600 && i < 4; i++) {
        bool bad = s >= 100 && s < 105 && i < 2;

        snprintf(text, sizeof text, "{\"timestamp\":%lld,\"service\":\"a\",\"hook_type\":\"push\",\"status\":\"%s\",\"processing_time_ms\":5}",
                 (long long)ts_ms + i * 100, bad ? "error" : "success");
        send(p, HOOKS, i & 1, &offsets[HOOKS][i & 1], ts_ms, text);
    }
    if (s % 5 == 0) {
        snprintf(text, sizeof text, "{\"name\":\"temperature\",\"labels\":{\"service\":\"b\"},\"value\":%d,\"timestamp\":%lld}",
                 s >= 200 && s < 400 ? 35 : 20, (long long)ts_ms);
        send(p, METRICS, 0, &offsets[METRICS][0], ts_ms, text);
    }
    tsn_ingest_idle(p->ingest, METRICS, 1, ts_ms); /* never a record on it */
    for (int32_t part = 0; s >= 601 && part < 2; part++)
        tsn_ingest_idle(p->ingest, HOOKS, part, ts_ms);
}

static void run(struct plant *p, int every, int restart_every)
{
    int64_t offsets[2][2] = { { 0, 0 }, { 0, 0 } };

    open_plant(p);
    for (int64_t s = 0; s < SECONDS; s++) {
        second(p, offsets, s);
        if (s % every == every - 1)
            close_batch(p, T0 + s * 1000);
        if (restart_every && s % restart_every == restart_every - 1) {
            close_batch(p, T0 + s * 1000);
            tsn_ingest_free(&p->ingest);
            open_ingest(p);
        }
    }
    close_batch(p, T0 + SECONDS * 1000);
}

static void close_plant(struct plant *p)
{
    for (int k = 0; k < PLACES; k++)
        tsn_detect_free(&p->detect[k]);
    tsn_ingest_free(&p->ingest);
    tsn_rule_set_free(&p->set);
    tsn_detect_output_release(&p->out);
    tsn_buf_release(&p->log);
    for (int i = 0; i < 4; i++)
        tsn_free(p->metadata[i / 2][i % 2]);
    tsn_config_release(&p->config);
}

static void expect_line(const struct plant *p, const char *line)
{
    if (!strstr(tsn_buf_str(&p->log), line))
        fail_msg("no '%s' in:\n%s", line, tsn_buf_str(&p->log));
}

static void test_from_events_to_alerts(void **state)
{
    struct plant p;

    TSN_UNUSED(state);
    run(&p, 1, 0);
    /* The first burst of a series never seen before is an increase: its birth stands as a 0 one pane earlier. */
    expect_line(&p, "105 HooksFail a firing \n");
    expect_line(&p, " HooksFail a resolved ");
    expect_line(&p, "210 Hot b pending \n");
    expect_line(&p, "270 Hot b firing \n");
    expect_line(&p, "405 Hot b resolved condition\n");
    /* The last success stands at the end of its pane, 600 s: out of lookback five minutes later, while the
     * hook partitions are idle and only their clocks move time on. */
    expect_line(&p, "900 NoHooks a firing \n");
    close_plant(&p);
}

static void test_cuts_and_restarts(void **state)
{
    static const int rows[][2] = { { 3, 0 }, { 7, 0 }, { 40, 0 }, { 2, 11 }, { 5, 100 } };
    struct plant once, other;

    TSN_UNUSED(state);
    run(&once, 1, 0);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        run(&other, rows[i][0], rows[i][1]);
        /* `samples` differs where idle marks were renewed at other times, which moves no step; all transitions are the same. */
        assert_string_equal(tsn_buf_str(&once.log), tsn_buf_str(&other.log));
        close_plant(&other);
    }
    close_plant(&once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_events_to_alerts),
        cmocka_unit_test(test_cuts_and_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
