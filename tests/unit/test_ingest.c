/*
 * Goal: what STAGE 1 makes of a record is what CONTRACT.md and DESIGN §2–3 say, to the number.
 * Method: records go in as bytes, closed batches are decoded again and read by series text; no test looks inside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ingest_world.h"

/* ---- metrics ------------------------------------------------------------------------------ */

static void test_metrics(void **state)
{
    const char *delta = "requests_total{code=\"500\", job=\"a\", service=\"a\"}";
    const char *gauge = "temperature{job=\"a\", room=\"1\", service=\"a\"}";
    const char *counter = "requests_total{job=\"b\", service=\"b\"}";
    struct world w;
    int a = home_of("a"), b = home_of("b");

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"labels\":{\"service\":\"a\",\"code\":\"500\"},\"value\":2,"
                         "\"timestamp\":%lld,\"kind\":\"delta\"}", (long long)T0 + 10);
    feed(&w, METRICS, 0, "{\"kind\":\"delta\",\"timestamp\":%lld,\"value\":\"0.5\",\"labels\":{\"code\":\"500\",\"job\":\"a\"},"
                         "\"name\":\"requests_total\"}", (long long)T0 + 999);
    /* An array; a number as text; RFC 3339; a label that is a number. */
    feed(&w, METRICS, 0, "[{\"name\":\"temperature\",\"labels\":{\"service\":\"a\",\"room\":1},\"value\":\"-3.25e1\","
                         "\"timestamp\":\"2023-11-14T22:13:20.500Z\"},"
                         " {\"name\":\"temperature\",\"labels\":{\"service\":\"a\",\"room\":\"1\"},\"value\":\"NaN\",\"timestamp\":%lld}]",
         (long long)T0 + 600);
    /* The adapter's form: the name among the labels too. */
    feed(&w, METRICS, 0, "{\"labels\":{\"__name__\":\"requests_total\",\"job\":\"b\",\"empty\":\"\"},\"name\":\"requests_total\","
                         "\"timestamp\":\"2023-11-14T22:13:21Z\",\"value\":\"41\"}");
    feed(&w, METRICS, 0, "{\"name\":\"nobody_asks\",\"value\":1,\"timestamp\":%lld}", (long long)T0);
    close_at(&w, T0);
    assert_true(delta_in(&w, a, delta, T0) == 2.5);
    assert_non_null(point_in(&w, a, gauge, T0 + 500));
    assert_true(point_in(&w, a, gauge, T0 + 500)->value == -32.5);
    assert_true(point_in(&w, a, gauge, T0 + 600)->value != point_in(&w, a, gauge, T0 + 600)->value);
    assert_true(point_in(&w, b, counter, T0 + 1000)->value == 41);
    /* `temperature` also stands under absent(), in a global unit: it goes there too. */
    assert_int_equal(stats_of(&w).events, 6);
    assert_int_equal(stats_of(&w).irrelevant, 1);
    assert_int_equal(stats_of(&w).samples, 3);
    assert_int_equal(stats_of(&w).deltas, 2);
    assert_int_equal(w.batches[0].rule_set, 7);
    assert_int_equal(w.batches[0].slot, 3);
    assert_int_equal(input_in(&w, "m", 0)->watermark_ms, T0 + 1000 - 5000);
    assert_int_equal(input_in(&w, "m", 0)->first_offset, 0);
    assert_int_equal(input_in(&w, "m", 0)->next_offset, 5);
    close_world(&w);
}

static void test_kind_by_suffix(void **state)
{
    static const struct {
        const char *name;
        enum tsn_sample_kind kind;
    } rows[] = { { "x_total", TSN_COUNTER }, { "x_bucket", TSN_COUNTER }, { "x_count", TSN_COUNTER },
                 { "x_sum", TSN_COUNTER }, { "x", TSN_GAUGE }, { "total", TSN_GAUGE } };
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, "groups: [{name: g, rules: [{alert: A, expr: '{service=\"s\"}'}]}]");
    assign(&w, METRICS, 0, NULL);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_buf text = TSN_BUF_INIT;
        bool seen = false;

        feed(&w, METRICS, 0, "{\"name\":\"%s\",\"labels\":{\"service\":\"s\"},\"value\":1,\"timestamp\":%lld}", rows[i].name,
             (long long)T0);
        close_at(&w, T0);
        tsn_buf_printf(&text, "%s{job=\"s\", service=\"s\"}", rows[i].name);
        for (size_t r = 0; r < TSN_ARRAY_LEN(w.names); r++)
            if (w.names[r] && strcmp(w.names[r], tsn_buf_str(&text)) == 0) {
                assert_int_equal(w.kinds[r], rows[i].kind);
                seen = true;
            }
        assert_true(seen);
        tsn_buf_release(&text);
    }
    close_world(&w);
}

static void test_fill_job_off(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, "ingest: { fill_job: off }\n", NULL);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"labels\":{\"job\":\"j\"},\"value\":1,\"timestamp\":%lld}", (long long)T0);
    close_at(&w, T0);
    assert_non_null(point_in(&w, home_of(""), "requests_total{job=\"j\"}", T0));
    close_world(&w);
}

/* ---- routing, announcements, declarations ------------------------------------------------- */

static void test_routes(void **state)
{
    int32_t global;
    const char *series = "temperature{job=\"s\", service=\"s\"}";
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    global = tsn_partition_of("r.yaml;global", strlen("r.yaml;global"), PLACES);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"labels\":{\"service\":\"s\"},\"value\":1,\"timestamp\":%lld}", (long long)T0);
    close_at(&w, T0);
    assert_non_null(point_in(&w, home_of("s"), series, T0));
    assert_non_null(point_in(&w, global, series, T0));
    assert_int_equal(samples_in(&w), home_of("s") == global ? 1 : 2);
    for (int p = 0; p < PLACES; p++) {
        assert_int_equal(w.batches[p].input_count, 1); /* every place gets the punctuation */
        assert_int_equal(w.batches[p].seq, 1);
    }
    close_world(&w);
}

static void test_announced_each_minute(void **state)
{
    int a = home_of("a");
    struct world w;
    size_t announced[4];
    static const int64_t walls[4] = { T0, T0 + 10000, T0 + 60000, T0 + 70000 };

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    for (int i = 0; i < 4; i++) {
        feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"labels\":{\"service\":\"a\"},\"value\":1,\"timestamp\":%lld}",
             (long long)T0 + i);
        close_at(&w, walls[i]);
        announced[i] = w.batches[a].series_count;
        assert_int_equal(w.batches[a].point_count, 1);
        assert_int_equal(w.batches[a].decl_count, announced[i]); /* declarations keep the same rhythm */
    }
    assert_int_equal(announced[0], 1);
    assert_int_equal(announced[1], 0);
    assert_int_equal(announced[2], 1);
    assert_int_equal(announced[3], 0);
    close_world(&w);
}

static void test_declarations(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    assign(&w, HOOKS, 0, NULL);
    assign(&w, LOGS, 1, NULL); /* not its partition 0: somebody else declares it */
    close_at(&w, T0);
    assert_int_equal(w.batches[2].decl_count, 2);
    assert_string_equal(w.batches[2].decls[0].topic, "m");
    assert_true(w.batches[2].decls[0].any_name);
    assert_int_equal(w.batches[2].decls[0].partition_count, 2);
    assert_string_equal(w.batches[2].decls[1].topic, "h");
    assert_string_equal(w.batches[2].decls[1].type, "hooks");
    assert_false(w.batches[2].decls[1].any_name);
    assert_int_equal(w.batches[2].decls[1].name_count, 5);
    assert_string_equal(w.batches[2].decls[1].names[1], "hook_processing_duration_seconds_bucket");
    assert_int_equal(w.batches[2].input_count, 3);
    /* what the shell says of an input whose partition 0 is elsewhere: once, and again when it grew or the minute changed */
    tsn_ingest_know_count(w.ingest, LOGS, 3);
    close_at(&w, T0 + 1);
    assert_int_equal(w.batches[2].decl_count, 1);
    assert_string_equal(w.batches[2].decls[0].type, "logs");
    assert_int_equal(w.batches[2].decls[0].partition_count, 3);
    close_at(&w, T0 + 2);
    assert_int_equal(w.batches[2].decl_count, 0);
    tsn_ingest_know_count(w.ingest, LOGS, 4);
    close_at(&w, T0 + 3);
    assert_int_equal(w.batches[2].decl_count, 1);
    assert_int_equal(w.batches[2].decls[0].partition_count, 4);
    close_at(&w, T0 + 60000);
    assert_int_equal(w.batches[2].decl_count, 3);
    close_world(&w);
}

/* A topic that is an input no more is declared with no partitions, once a minute for as long as the shell says so. */
static void test_gone_inputs(void **state)
{
    char old[] = "old", older[] = "older", *gone[] = { old, older };
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    close_at(&w, T0);
    assert_false(tsn_ingest_gone(w.ingest, gone, 0));
    assert_true(tsn_ingest_gone(w.ingest, gone, 2));
    assert_false(tsn_ingest_gone(w.ingest, gone, 2));
    close_at(&w, T0 + 1);
    assert_int_equal(w.batches[0].decl_count, 2);
    assert_string_equal(w.batches[0].decls[1].topic, "older");
    assert_int_equal(w.batches[0].decls[1].partition_count, 0);
    close_at(&w, T0 + 2);
    assert_int_equal(w.batches[0].decl_count, 0);
    assert_true(tsn_ingest_gone(w.ingest, gone, 1)); /* the other is read again: its owner says so */
    close_at(&w, T0 + 60000);
    assert_int_equal(w.batches[0].decl_count, 2);
    assert_string_equal(w.batches[0].decls[1].topic, "old");
    close_world(&w);
}

static void test_rule_sets_change(void **state)
{
    static const char other[] = "groups: [{name: g, rules: [{alert: A, expr: other}]}]";
    const char *event = "{\"name\":\"other\",\"labels\":{\"service\":\"a\"},\"value\":1,\"timestamp\":%lld}";
    struct tsn_rule_set *set = load_rules(other);
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, event, (long long)T0);
    close_at(&w, T0);
    assert_int_equal(samples_in(&w), 0);
    feed(&w, METRICS, 0, event, (long long)T0);
    tsn_ingest_add_rule_set(w.ingest, 9, set);
    close_at(&w, T0);
    assert_int_equal(w.batches[0].rule_set, 7); /* its record was not looked at for 9 */
    feed(&w, METRICS, 0, event, (long long)T0 + 1);
    close_at(&w, T0);
    assert_int_equal(samples_in(&w), 1);
    assert_int_equal(w.batches[0].rule_set, 9);
    feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"value\":1,\"timestamp\":%lld}", (long long)T0 + 1);
    close_at(&w, T0);
    assert_int_equal(samples_in(&w), 1); /* the union, while both are known */
    tsn_ingest_drop_rule_sets_below(w.ingest, 9);
    feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"value\":1,\"timestamp\":%lld}", (long long)T0 + 2);
    close_at(&w, T0);
    assert_int_equal(samples_in(&w), 0);
    stop(&w);
    tsn_rule_set_free(&set);
    close_world(&w);
}

/* ---- logs and hooks ----------------------------------------------------------------------- */

static void test_logs(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, LOGS, 0, NULL);
    for (int i = 0; i < 3; i++)
        feed(&w, LOGS, 0, "{\"timestamp\":%lld,\"service\":\"a\",\"environment\":\"prod\",\"level\":\"ERROR\",\"logger\":\"x.y\","
                          "\"message\":\"m \\u00e9 %d\",\"line\":12,\"user_id\":null}", (long long)T0 + i * 400, i);
    feed(&w, LOGS, 0, "{\"timestamp\":%lld,\"message\":\"bare\"}", (long long)T0);
    close_at(&w, T0);
    assert_true(delta_in(&w, home_of("a"), "log_messages_total{environment=\"prod\", job=\"a\", level=\"ERROR\", logger=\"x.y\", service=\"a\"}",
                         T0) == 3);
    assert_true(delta_in(&w, home_of(""), "log_messages_total", T0) == 1);
    close_world(&w);
}

static void hook(struct world *w, const char *status, const char *ms, const char *patterns)
{
    feed(w, HOOKS, 0, "{\"timestamp\":%lld,\"service\":\"a\",\"hook_type\":\"push\",\"status\":\"%s\",\"processing_time_ms\":%s,"
                      "\"patterns_discovered\":%s}", (long long)T0, status, ms, patterns);
}

static void test_hooks(void **state)
{
    static const struct {
        const char *le;
        double want;
    } rows[] = { { "0.005", 0 }, { "0.025", 0 }, { "0.05", 1 }, { "0.1", 2 }, { "10", 2 }, { "+Inf", 3 } };
    int a = home_of("a");
    struct world w;
    char name[160];

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, HOOKS, 0, NULL);
    hook(&w, "error", "100", "3");
    hook(&w, "error", "40.5", "[{\"pattern_type\":\"x\",\"count\":2},{\"pattern_type\":\"y\"}]");
    hook(&w, "success", "20000", "null");
    hook(&w, "error", "null", "0");
    close_at(&w, T0);
    assert_true(delta_in(&w, a, "hooks_processed_total{hook_type=\"push\", job=\"a\", service=\"a\", status=\"error\"}", T0) == 3);
    /* success is selected by no rule; _sum and _count neither: only buckets are. */
    assert_true(delta_in(&w, a, "hooks_processed_total{hook_type=\"push\", job=\"a\", service=\"a\", status=\"success\"}", T0) == -1);
    assert_true(delta_in(&w, a, "hook_processing_duration_seconds_count{hook_type=\"push\", job=\"a\", service=\"a\"}", T0) == -1);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        snprintf(name, sizeof name, "hook_processing_duration_seconds_bucket{hook_type=\"push\", job=\"a\", le=\"%s\", service=\"a\"}",
                 rows[i].le);
        assert_true(delta_in(&w, a, name, T0) == rows[i].want);
    }
    assert_true(delta_in(&w, a, "intelligence_patterns_discovered_total{job=\"a\", service=\"a\"}", T0) == 3);
    assert_true(delta_in(&w, a, "intelligence_patterns_discovered_total{job=\"a\", pattern_type=\"x\", service=\"a\"}", T0) == 2);
    assert_true(delta_in(&w, a, "intelligence_patterns_discovered_total{job=\"a\", pattern_type=\"y\", service=\"a\"}", T0) == 1);
    close_world(&w);
}

static void test_histogram_sum_is_exact(void **state)
{
    int a = home_of("a");
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service) (hook_processing_duration_seconds_sum)'}]}]");
    assign(&w, HOOKS, 0, NULL);
    for (int i = 0; i < 10; i++)
        hook(&w, "success", "250", "0");
    close_at(&w, T0);
    assert_true(delta_in(&w, a, "hook_processing_duration_seconds_sum{hook_type=\"push\", job=\"a\", service=\"a\"}", T0) == 2.5);
    assert_int_equal(samples_in(&w), 1);
    close_world(&w);
}

/* ---- event time --------------------------------------------------------------------------- */

static void gauge(struct world *w, int32_t partition, int64_t ts_ms)
{
    feed(w, METRICS, partition, "{\"name\":\"temperature\",\"labels\":{\"service\":\"a\"},\"value\":1,\"timestamp\":%lld}",
         (long long)ts_ms);
}

static void delta(struct world *w, int32_t partition, int64_t ts_ms)
{
    feed(w, METRICS, partition, "{\"name\":\"requests_total\",\"labels\":{\"service\":\"a\"},\"value\":1,\"kind\":\"delta\",\"timestamp\":%lld}",
         (long long)ts_ms);
}

static void test_late(void **state)
{
    const char *series = "requests_total{job=\"a\", service=\"a\"}";
    int a = home_of("a");
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    assign(&w, METRICS, 1, NULL);
    delta(&w, 0, T0 + 60000); /* watermark T0 + 55 s */
    assert_int_equal(tsn_ingest_watermark(w.ingest, METRICS, 0), T0 + 55000);
    delta(&w, 0, T0 + 55000); /* at the watermark: in time */
    delta(&w, 0, T0 + 54999); /* late: to the watermark's pane */
    delta(&w, 0, T0);
    gauge(&w, 0, T0 + 55000);
    gauge(&w, 0, T0 + 54999); /* late: dropped */
    gauge(&w, 1, T0);         /* another partition, another watermark */
    close_at(&w, T0);
    assert_true(delta_in(&w, a, series, T0 + 55000) == 3);
    assert_true(delta_in(&w, a, series, T0 + 60000) == 1);
    assert_true(delta_in(&w, a, series, T0) == -1);
    assert_non_null(point_in(&w, a, "temperature{job=\"a\", service=\"a\"}", T0 + 55000));
    assert_null(point_in(&w, a, "temperature{job=\"a\", service=\"a\"}", T0 + 54999));
    assert_non_null(point_in(&w, a, "temperature{job=\"a\", service=\"a\"}", T0));
    assert_int_equal(stats_of(&w).late_moved, 2);
    assert_int_equal(stats_of(&w).late_dropped, 1);
    assert_int_equal(input_in(&w, "m", 0)->late, 3);
    assert_int_equal(input_in(&w, "m", 1)->late, 0);
    close_world(&w);
}

/* All events of a record are judged by the watermark before it. */
static void test_array_is_one_record(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, "[{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld},{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld}]",
         (long long)T0 + 100000, (long long)T0);
    feed(&w, METRICS, 0, "[]");
    assert_int_equal(stats_of(&w).late_dropped, 0);
    assert_int_equal(stats_of(&w).samples, 2);
    assert_int_equal(tsn_ingest_watermark(w.ingest, METRICS, 0), T0 + 95000);
    close_world(&w);
}

static void test_future_bound(void **state)
{
    const char *fmt = "{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld}";
    char text[128];
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    snprintf(text, sizeof text, fmt, (long long)T0 + 300000);
    feed_bytes(&w, METRICS, 0, T0, text, strlen(text));
    snprintf(text, sizeof text, fmt, (long long)T0 + 300001);
    feed_bytes(&w, METRICS, 0, T0, text, strlen(text));
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 1);
    assert_string_equal(w.closed->dead[0].reason, "future");
    assert_int_equal(w.closed->dead[0].offset, 1);
    assert_int_equal(input_in(&w, "m", 0)->watermark_ms, T0 + 295000); /* a bad clock does not push time */
    assert_int_equal(input_in(&w, "m", 0)->next_offset, 2);
    close_world(&w);
}

static void test_idle(void **state)
{
    const struct tsn_batch_input *in;
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    assign(&w, METRICS, 1, NULL);
    tsn_ingest_idle(w.ingest, METRICS, 1, 500); /* nothing is known of event time yet */
    close_at(&w, T0);
    assert_true(input_in(&w, "m", 1)->idle);
    assert_true(input_in(&w, "m", 1)->idle_clock_ms == TSN_TIME_NONE);
    gauge(&w, 0, T0 + 5000);
    tsn_ingest_idle(w.ingest, METRICS, 1, 1000);
    close_at(&w, T0);
    assert_int_equal(input_in(&w, "m", 1)->idle_clock_ms, T0);
    tsn_ingest_idle(w.ingest, METRICS, 1, 3500);
    gauge(&w, 0, T0 + 60000); /* does not touch the clock of the idle one: wall time does */
    close_at(&w, T0);
    in = input_in(&w, "m", 1);
    assert_true(in->idle);
    assert_int_equal(in->idle_clock_ms, T0 + 2500);
    assert_true(in->watermark_ms == TSN_TIME_NONE);
    gauge(&w, 1, T0 + 1);
    close_at(&w, T0);
    in = input_in(&w, "m", 1);
    assert_false(in->idle);
    assert_true(in->idle_clock_ms == TSN_TIME_NONE);
    assert_int_equal(in->watermark_ms, T0 - 4999);
    close_world(&w);
}

/* Nobody ever sent anything: after half of blind_after (15 s) of proved silence on every partition the wall says what time it is, through a
 * restart, too. One partition that is not proved empty, or a watermark that another worker has seen, and it does not. */
static void test_idle_where_nothing_ever_was(void **state)
{
    const int64_t wall = T0 + 3600000;
    char *metadata;
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    assign(&w, METRICS, 1, NULL);
    for (int64_t ms = 0; ms <= 20000; ms += 500)
        tsn_ingest_idle(w.ingest, METRICS, 1, wall + ms);
    close_at(&w, T0);
    assert_true(input_in(&w, "m", 1)->idle_clock_ms == TSN_TIME_NONE); /* partition 0 is not known to be empty */
    tsn_ingest_idle(w.ingest, METRICS, 0, wall + 20000);
    tsn_ingest_idle(w.ingest, METRICS, 1, wall + 20500);
    close_at(&w, T0);
    assert_true(input_in(&w, "m", 0)->idle_clock_ms == TSN_TIME_NONE);
    assert_int_equal(input_in(&w, "m", 1)->idle_clock_ms, wall + 20500 - 5000);
    metadata = tsn_strdup(w.closed->offsets[0].metadata);
    assign(&w, METRICS, 0, metadata);
    tsn_free(metadata);
    tsn_ingest_idle(w.ingest, METRICS, 0, wall + 34999);
    tsn_ingest_idle(w.ingest, METRICS, 1, wall + 34999);
    close_at(&w, T0);
    assert_true(input_in(&w, "m", 0)->idle_clock_ms == TSN_TIME_NONE);
    assert_int_equal(input_in(&w, "m", 1)->idle_clock_ms, wall + 34999 - 5000);
    tsn_ingest_idle(w.ingest, METRICS, 0, wall + 35000);
    close_at(&w, T0);
    assert_int_equal(input_in(&w, "m", 0)->idle_clock_ms, wall + 35000 - 5000);
    close_world(&w);

    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    tsn_ingest_idle(w.ingest, METRICS, 0, wall);
    tsn_ingest_know(w.ingest, T0);
    tsn_ingest_know(w.ingest, TSN_TIME_NONE);
    tsn_ingest_idle(w.ingest, METRICS, 0, wall + 60000);
    close_at(&w, T0);
    assert_int_equal(input_in(&w, "m", 0)->idle_clock_ms, T0);
    close_world(&w);
}

/* ---- restart ------------------------------------------------------------------------------ */

/* Events with ups and downs of time, so that some are late; the same whoever reads them. */
static void storm(struct world *w, int from, int to)
{
    for (int i = from; i < to; i++) {
        int64_t ts_ms = T0 + i * 700 - (i * 7919 % 13) * 900;

        w->offset = i;
        if (i % 3)
            delta(w, 0, ts_ms);
        else
            gauge(w, 0, ts_ms);
    }
}

/* Adds what the last batch holds of place p to a text that does not depend on batches. */
static void collect(struct world *w, int p, double *deltas, struct tsn_buf *points)
{
    for (size_t i = 0; i < w->batches[p].delta_count; i++)
        deltas[(w->batches[p].deltas[i].pane_ms - T0) / 1000 + 100] += tsn_fixed_to_double(w->batches[p].deltas[i].delta);
    for (size_t i = 0; i < w->batches[p].point_count; i++)
        tsn_buf_printf(points, "%lld ", (long long)w->batches[p].points[i].ts_ms);
}

static void test_restart_decides_alike(void **state)
{
    static double whole[400], parts[400];
    struct tsn_buf whole_points = TSN_BUF_INIT, part_points = TSN_BUF_INIT;
    int a = home_of("a");
    int64_t late;
    struct world w;
    char *metadata;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    for (int i = 0; i < 200; i += 20) {
        storm(&w, i, i + 20);
        close_at(&w, T0);
        collect(&w, a, whole, &whole_points);
    }
    late = input_in(&w, "m", 0)->late;
    assert_true(late > 20);
    stop(&w);

    metadata = NULL;
    for (int i = 0; i < 200; i += 20) { /* a new process for every batch */
        start(&w, 2 + i);
        assert_int_equal(tsn_ingest_assign(w.ingest, METRICS, 0, 2, i, metadata, NULL), TSN_OK);
        tsn_free(metadata);
        storm(&w, i, i + 20);
        close_at(&w, T0);
        collect(&w, a, parts, &part_points);
        assert_int_equal(w.closed->offset_count, 1);
        assert_int_equal(w.closed->offsets[0].next_offset, i + 20);
        assert_int_equal(input_in(&w, "m", 0)->first_offset, i);
        assert_true(strlen(w.closed->offsets[0].metadata) < 128);
        metadata = tsn_strdup(w.closed->offsets[0].metadata);
        if (i == 180)
            assert_int_equal(input_in(&w, "m", 0)->late, late);
        stop(&w);
    }
    assert_memory_equal(whole, parts, sizeof whole);
    assert_string_equal(tsn_buf_str(&whole_points), tsn_buf_str(&part_points));
    tsn_free(metadata);
    tsn_buf_release(&whole_points);
    tsn_buf_release(&part_points);
    start(&w, 1);
    close_world(&w);
}

static void test_metadata(void **state)
{
    static const char *const foreign[] = { "", "t1", "t2 w=1 i=0 c=- n=- l=0", "t1 w=x i=0 c=- n=- l=0", "{\"a\":1}",
                                           "t1 w=1 i=2 c=- n=- l=0", "t1 w=1 i=0 c=- n=- l=-4", "t1 w=1 i=0 c=- n=- l=0 x" };
    int64_t watermark_ms, clock_ms;
    bool idle;
    struct world w;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(foreign); i++)
        assert_false(tsn_ingest_metadata_parse(foreign[i], &watermark_ms, &idle, &clock_ms));
    assert_false(tsn_ingest_metadata_parse(NULL, &watermark_ms, &idle, &clock_ms));
    open_world(&w, NULL, NULL);
    assert_int_equal(tsn_ingest_assign(w.ingest, METRICS, 0, 2, 0, "somebody else's", NULL), TSN_ERR_INVALID);
    assert_true(tsn_ingest_watermark(w.ingest, METRICS, 0) == TSN_TIME_NONE);
    gauge(&w, 0, T0 + 5000);
    tsn_ingest_idle(w.ingest, METRICS, 0, 100);
    tsn_ingest_idle(w.ingest, METRICS, 0, 400);
    close_at(&w, T0);
    assert_true(tsn_ingest_metadata_parse(w.closed->offsets[0].metadata, &watermark_ms, &idle, &clock_ms));
    assert_int_equal(watermark_ms, T0);
    assert_true(idle);
    assert_int_equal(clock_ms, T0 + 300);
    /* The idle clock goes on over a restart, the time in between included. */
    assert_int_equal(tsn_ingest_assign(w.ingest, METRICS, 1, 2, 0, w.closed->offsets[0].metadata, NULL), TSN_OK);
    tsn_ingest_idle(w.ingest, METRICS, 1, 10400);
    close_at(&w, T0);
    assert_int_equal(input_in(&w, "m", 1)->idle_clock_ms, T0 + 10300);
    close_at(&w, T0);
    assert_int_equal(w.closed->offset_count, 0); /* nothing happened: nothing to commit */
    assert_int_equal(tsn_ingest_pending(w.ingest), 0);
    close_world(&w);
}

static void test_passed_over(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assert_int_equal(tsn_ingest_assign(w.ingest, METRICS, 0, 2, 5, NULL, NULL), TSN_OK);
    w.offset = 4;
    gauge(&w, 0, T0); /* below the offset where it begins */
    gauge(&w, 0, T0 + 1);
    w.offset = 5;
    gauge(&w, 0, T0 + 2); /* a second time */
    gauge(&w, 1, T0 + 3); /* not ours */
    close_at(&w, T0);
    assert_int_equal(stats_of(&w).records, 1);
    assert_non_null(point_in(&w, home_of("a"), "temperature{job=\"a\", service=\"a\"}", T0 + 1));
    assert_int_equal(input_in(&w, "m", 0)->next_offset, 6);
    tsn_ingest_unassign(w.ingest, METRICS, 0);
    gauge(&w, 0, T0 + 9);
    close_at(&w, T0);
    assert_int_equal(w.batches[0].input_count, 0);
    assert_int_equal(w.closed->offset_count, 0);
    close_world(&w);
}

/* ---- hostile input ------------------------------------------------------------------------ */

static void test_poison(void **state)
{
    static const struct {
        size_t input;
        const char *reason, *text;
    } rows[] = {
        { METRICS, "empty", "" },
        { METRICS, "json", "{" },
        { METRICS, "json", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":1700000000000" },
        { METRICS, "json", "{\"name\":\"temperature\xff\",\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "json", "42" },
        { METRICS, "json", "[[]]" },
        { METRICS, "json", "{\"name\":\"temperature\",\"value\":NaN,\"timestamp\":1700000000000}" },
        { METRICS, "field", "{\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "field", "{\"name\":\"\",\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "field", "{\"name\":\"temperature\",\"labels\":[1],\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "field", "{\"name\":\"temperature\",\"labels\":{\"a\":{}},\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "field", "{\"name\":\"temperature\",\"kind\":\"odd\",\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "labels", "{\"name\":\"temperature\",\"labels\":{\"a\":\"\\u0000\"},\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "labels", "{\"name\":\"temperature\",\"labels\":{\"\":\"b\"},\"value\":1,\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"temperature\",\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"temperature\",\"value\":\"1 \",\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":-1,\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":\"NaN\",\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":\"+Inf\",\"timestamp\":1700000000000}" },
        { METRICS, "value", "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":1e300,\"timestamp\":1700000000000}" },
        { METRICS, "timestamp", "{\"name\":\"temperature\",\"value\":1}" },
        { METRICS, "timestamp", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":\"yesterday\"}" },
        { METRICS, "timestamp", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":-1}" },
        { METRICS, "timestamp", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":1e300}" },
        { METRICS, "timestamp", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":9223372036854775807}" },
        { METRICS, "future", "{\"name\":\"temperature\",\"value\":1,\"timestamp\":1900000000000}" },
        { LOGS, "field", "{\"timestamp\":1700000000000}" },
        { LOGS, "field", "{\"timestamp\":1700000000000,\"message\":\"x\",\"level\":[]}" },
        { HOOKS, "field", "{\"timestamp\":1700000000000,\"status\":\"maybe\"}" },
        { HOOKS, "field", "{\"timestamp\":1700000000000,\"status\":\"error\",\"patterns_discovered\":\"many\"}" },
        { HOOKS, "value", "{\"timestamp\":1700000000000,\"status\":\"error\",\"processing_time_ms\":-1}" },
        { HOOKS, "value", "{\"timestamp\":1700000000000,\"status\":\"error\",\"processing_time_ms\":\"NaN\"}" },
        { HOOKS, "value", "{\"timestamp\":1700000000000,\"status\":\"error\",\"patterns_discovered\":[{\"count\":-2}]}" },
    };
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    for (size_t i = METRICS; i <= HOOKS; i++)
        assign(&w, i, 0, NULL);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        feed(&w, rows[i].input, 0, "%s", rows[i].text);
        close_at(&w, T0);
        if (w.closed->dead_count != 1)
            fail_msg("row %zu was taken: %s", i, rows[i].text);
        assert_string_equal(w.closed->dead[0].reason, rows[i].reason);
        assert_int_equal(w.closed->dead[0].offset, i);
        assert_int_equal(w.closed->dead[0].value_len, strlen(rows[i].text));
        assert_false(w.closed->dead[0].cut);
        assert_true(strlen(w.closed->dead[0].error) > 5);
        assert_int_equal(samples_in(&w), 0);
    }
    /* A good one among bad ones of the same array: the whole record is refused, nothing of it counted. */
    feed(&w, METRICS, 0, "[{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld},{\"name\":\"temperature\"}]", (long long)T0);
    feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld}", (long long)T0 + 1);
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 1);
    assert_true(strncmp(w.closed->dead[0].error, "event 1 of the array: ", 22) == 0);
    assert_int_equal(stats_of(&w).samples, 1);
    assert_int_equal(stats_of(&w).events, 1);
    assert_int_equal(stats_of(&w).dead_letters, TSN_ARRAY_LEN(rows) + 1);
    close_world(&w);
}

static void test_limits(void **state)
{
    const char *fmt = "{\"name\":\"temperature\",\"labels\":{\"x\":\"%.*s\"},\"value\":1,\"timestamp\":%lld}";
    static char pad[4096];
    struct tsn_buf many = TSN_BUF_INIT;
    int room = 64 - (int)strlen("__name__temperaturex");
    struct world w;

    TSN_UNUSED(state);
    memset(pad, 'p', sizeof pad);
    open_world(&w, "ingest: { max_label_bytes: 64, dead_letter_bytes: 1024 }\n", NULL);
    assign(&w, METRICS, 0, NULL);
    feed(&w, METRICS, 0, fmt, room, pad, (long long)T0);
    assert_int_equal(stats_of(&w).dead_letters, 0);
    feed(&w, METRICS, 0, fmt, room + 1, pad, (long long)T0);
    assert_int_equal(stats_of(&w).limit_labels, 1);
    /* A dead letter at its limit is whole, one byte more is cut. */
    feed_bytes(&w, METRICS, 0, T0, pad, 1024);
    feed_bytes(&w, METRICS, 0, T0, pad, 1025);
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 3);
    assert_string_equal(w.closed->dead[0].reason, "limit");
    assert_int_equal(w.closed->dead[1].value_len, 1024);
    assert_false(w.closed->dead[1].cut);
    assert_int_equal(w.closed->dead[2].value_len, 1024);
    assert_int_equal(w.closed->dead[2].full_len, 1025);
    assert_true(w.closed->dead[2].cut);
    close_world(&w);

    open_world(&w, NULL, NULL); /* 256 labels with the name, then 257 */
    assign(&w, METRICS, 0, NULL);
    for (int n = 255; n <= 256; n++) {
        tsn_buf_reset(&many);
        for (int i = 0; i < n; i++)
            tsn_buf_printf(&many, "%s\"l%d\":\"v\"", i ? "," : "", i);
        feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"labels\":{%s},\"value\":1,\"timestamp\":%lld}", many.data, (long long)T0);
        assert_int_equal(stats_of(&w).dead_letters, n - 255);
    }
    tsn_buf_release(&many);
    close_world(&w);
}

static void test_series_are_bounded(void **state)
{
    struct world w;
    uint32_t most = 0;

    TSN_UNUSED(state);
    open_world(&w, "ingest: { max_series: 100 }\n", NULL);
    assign(&w, METRICS, 0, NULL);
    for (int i = 0; i < 50; i++) /* half the limit: remembered for good */
        feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"labels\":{\"x\":\"%d\"},\"value\":1,\"timestamp\":%lld}", i, (long long)T0);
    close_at(&w, T0);
    assert_int_equal(stats_of(&w).limit_series, 0);
    for (int i = 0; i < 3000; i++) {
        feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"labels\":{\"x\":\"n%d\"},\"value\":%d,\"timestamp\":%lld}", i, i, (long long)T0);
        feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"labels\":{\"x\":\"0\"},\"value\":%d,\"timestamp\":%lld}", i, (long long)T0 + i);
        if (i % 25 != 24)
            continue;
        close_at(&w, T0 + i);
        for (int p = 0; p < PLACES; p++)
            for (size_t s = 0; s < w.batches[p].series_count; s++)
                most = w.batches[p].series[s].ref > most ? w.batches[p].series[s].ref : most;
    }
    assert_true(stats_of(&w).limit_series > 2500);
    assert_true(most < 250); /* references are used again */
    assert_int_equal(stats_of(&w).samples, 50 + 6000); /* nothing is lost by forgetting */
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_kind_by_suffix),
        cmocka_unit_test(test_fill_job_off),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_announced_each_minute),
        cmocka_unit_test(test_declarations),
        cmocka_unit_test(test_gone_inputs),
        cmocka_unit_test(test_rule_sets_change),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_histogram_sum_is_exact),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_array_is_one_record),
        cmocka_unit_test(test_future_bound),
        cmocka_unit_test(test_idle), cmocka_unit_test(test_idle_where_nothing_ever_was),
        cmocka_unit_test(test_restart_decides_alike),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_series_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
