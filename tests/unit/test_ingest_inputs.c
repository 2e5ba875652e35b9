/*
 * Goal: Avro, bare and framed, and mapped inputs give the series that the same events in JSON would; log lines give
 * signatures.
 * Method: records are put together byte by byte, schemas come from a registry of our own; batches are read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ingest_world.h"
#include "tocsin/avro_plan.h"

/* ---- writing Avro ------------------------------------------------------------------------- */

static void put_long(struct tsn_buf *out, int64_t v)
{
    uint64_t z = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

    for (; z >= 128; z >>= 7)
        tsn_buf_putc(out, (char)(z | 128));
    tsn_buf_putc(out, (char)z);
}

static void put_text(struct tsn_buf *out, const char *text)
{
    put_long(out, (int64_t)strlen(text));
    tsn_buf_puts(out, text);
}

static void put_double(struct tsn_buf *out, double v)
{
    uint64_t bits = tsn_double_bits(v);

    for (int i = 0; i < 8; i++, bits >>= 8)
        tsn_buf_putc(out, (char)(bits & 255));
}

static void put_frame(struct tsn_buf *out, int32_t id)
{
    tsn_buf_reset(out);
    tsn_buf_putc(out, 0);
    for (int shift = 24; shift >= 0; shift -= 8)
        tsn_buf_putc(out, (char)(id >> shift & 255));
}

/* tocsin.v1.Metric with labels {service="a"}; kind 0 gauge, 1 counter, 2 delta, -1 null. */
static void put_metric(struct tsn_buf *out, const char *name, double value, int64_t ts_ms, int kind)
{
    put_text(out, name);
    put_long(out, 1);
    put_text(out, "service");
    put_text(out, "a");
    put_long(out, 0);
    put_double(out, value);
    put_long(out, ts_ms);
    put_long(out, kind >= 0);
    if (kind >= 0)
        put_long(out, kind);
}

static void feed_buf(struct world *w, size_t input, const struct tsn_buf *b)
{
    feed_bytes(w, input, 0, T0 + 3600000, b->data, b->len);
}

/* ---- a registry --------------------------------------------------------------------------- */

static const char evolved[] = /* no labels, a new field, an int, micros, another name */
    "{\"type\":\"record\",\"name\":\"Sample\",\"fields\":[{\"name\":\"extra\",\"type\":{\"type\":\"array\",\"items\":\"string\"}},"
    "{\"name\":\"value\",\"type\":\"int\"},{\"name\":\"name\",\"type\":\"string\"},"
    "{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}}]}";
static const char loose[] = /* a time as text, labels that may be null, several events a record */
    "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Loose\",\"fields\":[{\"name\":\"timestamp\",\"type\":\"string\"},"
    "{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"labels\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"string\"]}},"
    "{\"name\":\"value\",\"type\":\"string\"}]}}";

static int reachable, asked;

static enum tsn_err schema(void *arg, int32_t id, const char **json, size_t *len, struct tsn_error *error)
{
    TSN_UNUSED(arg);
    asked++;
    if (id == 11 && !reachable)
        return tsn_error_set(error, TSN_ERR_UNREACHABLE, "registry: connection refused");
    *json = id == 7 || id == 11 ? tsn_avro_own_schema("Metric") : id == 8 ? evolved : id == 9 ? loose : id == 12 ? "{\"type\":" : NULL;
    if (!*json)
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "the registry has no schema %d", id);
    *len = strlen(*json);
    return TSN_OK;
}

/* ---- Avro --------------------------------------------------------------------------------- */

static void test_bare(void **state)
{
    static const char inputs[] = "  - { topic: m, type: metrics, format: avro }\n"
                                 "  - { topic: l, type: logs, format: avro }\n"
                                 "  - { topic: h, type: hooks, format: avro }\n";
    struct tsn_buf b = TSN_BUF_INIT;
    struct world w = { 0 };
    int a = home_of("a");

    TSN_UNUSED(state);
    open_inputs(&w, inputs, NULL, NULL);
    for (size_t i = METRICS; i <= HOOKS; i++)
        assign(&w, i, 0, NULL);
    put_metric(&b, "requests_total", 2.5, T0, 2);
    feed_buf(&w, METRICS, &b);
    tsn_buf_reset(&b);
    put_metric(&b, "temperature", -1.5, T0 + 1, -1);
    feed_buf(&w, METRICS, &b);
    b.len--; /* truncated */
    feed_buf(&w, METRICS, &b);
    tsn_buf_reset(&b);

    put_long(&b, T0); /* Log */
    put_long(&b, 1);
    put_text(&b, "a");
    put_long(&b, 0);
    put_long(&b, 1);
    put_text(&b, "ERROR");
    put_text(&b, "it broke");
    for (int i = 0; i < 12; i++)
        put_long(&b, 0);
    feed_buf(&w, LOGS, &b);
    tsn_buf_reset(&b);

    put_long(&b, T0); /* Hook */
    put_text(&b, "a");
    put_long(&b, 0);
    put_long(&b, 0);
    put_text(&b, "push");
    put_long(&b, 1); /* error */
    put_long(&b, 1);
    put_double(&b, 60);
    put_long(&b, 2); /* the list */
    put_long(&b, 1);
    put_text(&b, "x");
    put_long(&b, 4);
    put_long(&b, 0);
    put_long(&b, 0);
    put_long(&b, 0);
    feed_buf(&w, HOOKS, &b);

    close_at(&w, T0);
    assert_true(delta_in(&w, a, "requests_total{job=\"a\", service=\"a\"}", T0) == 2.5);
    assert_true(point_in(&w, a, "temperature{job=\"a\", service=\"a\"}", T0 + 1)->value == -1.5);
    assert_true(delta_in(&w, a, "log_messages_total{job=\"a\", level=\"ERROR\", service=\"a\"}", T0) == 1);
    assert_true(delta_in(&w, a, "hooks_processed_total{hook_type=\"push\", job=\"a\", service=\"a\", status=\"error\"}", T0) == 1);
    assert_true(delta_in(&w, a, "intelligence_patterns_discovered_total{job=\"a\", pattern_type=\"x\", service=\"a\"}", T0) == 4);
    assert_true(delta_in(&w, a, "hook_processing_duration_seconds_bucket{hook_type=\"push\", job=\"a\", le=\"0.1\", service=\"a\"}", T0) == 1);
    assert_true(delta_in(&w, a, "hook_processing_duration_seconds_bucket{hook_type=\"push\", job=\"a\", le=\"0.05\", service=\"a\"}", T0) == 0);
    assert_int_equal(w.closed->dead_count, 1);
    assert_string_equal(w.closed->dead[0].reason, "avro");
    assert_non_null(strstr(w.closed->dead[0].error, "byte"));
    tsn_buf_release(&b);
    close_world(&w);
}

static void test_framed(void **state)
{
    struct tsn_ingest_record again = { .input = METRICS, .timestamp_ms = T0 };
    struct tsn_buf b = TSN_BUF_INIT;
    struct tsn_error error = { .code = TSN_OK };
    struct world w = { 0 };
    int a = home_of("a");

    TSN_UNUSED(state);
    asked = 0;
    w.options.schema = schema;
    open_inputs(&w, default_inputs, NULL, NULL); /* format auto */
    assign(&w, METRICS, 0, NULL);
    for (int i = 0; i < 3; i++) {
        put_frame(&b, 7);
        put_metric(&b, "requests_total", 1, T0 + i, 2);
        feed_buf(&w, METRICS, &b);
    }
    assert_int_equal(asked, 1); /* compiled once */
    /* JSON on the same topic, the same series. */
    feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"kind\":\"delta\",\"labels\":{\"service\":\"a\"},\"value\":1,\"timestamp\":%lld}", (long long)T0);
    put_frame(&b, 8);
    put_long(&b, 2);
    put_text(&b, "not");
    put_text(&b, "wanted");
    put_long(&b, 0);
    put_long(&b, 21);
    put_text(&b, "temperature");
    put_long(&b, T0 * 1000 + 1999);
    feed_buf(&w, METRICS, &b);
    put_frame(&b, 9);
    put_long(&b, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&b, "2023-11-14T22:13:20.007Z");
        put_text(&b, "temperature");
        put_long(&b, 2);
        put_text(&b, "service");
        put_long(&b, 1);
        put_text(&b, i ? "b" : "a");
        put_text(&b, "none");
        put_long(&b, 0);
        put_long(&b, 0);
        put_text(&b, "12.5");
    }
    put_long(&b, 0);
    feed_buf(&w, METRICS, &b);
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 0);
    assert_true(delta_in(&w, a, "requests_total{job=\"a\", service=\"a\"}", T0) == 4);
    assert_int_equal(w.batches[a].delta_count, 1);
    assert_non_null(point_in(&w, home_of(""), "temperature", T0 + 1));
    assert_true(point_in(&w, home_of(""), "temperature", T0 + 1)->value == 21);
    assert_true(point_in(&w, a, "temperature{job=\"a\", service=\"a\"}", T0 + 7)->value == 12.5);
    assert_true(point_in(&w, home_of("b"), "temperature{job=\"b\", service=\"b\"}", T0 + 7)->value == 12.5);

    /* Bad ids go to the dead letters and stall nothing. */
    put_frame(&b, 10);
    feed_buf(&w, METRICS, &b);
    put_frame(&b, 12);
    feed_buf(&w, METRICS, &b);
    feed_bytes(&w, METRICS, 0, T0, "\0\0\0\0", 4); /* no frame: it is taken for JSON */
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 3);
    assert_string_equal(w.closed->dead[0].reason, "schema");
    assert_non_null(strstr(w.closed->dead[0].error, "no schema 10"));
    assert_string_equal(w.closed->dead[1].reason, "schema");
    assert_string_equal(w.closed->dead[2].reason, "json");

    /* A registry that does not answer: nothing is taken, the same record comes again. */
    reachable = 0;
    put_frame(&b, 11);
    put_metric(&b, "requests_total", 1, T0, 2);
    again.offset = w.offset;
    again.value = b.data;
    again.value_len = b.len;
    assert_int_equal(tsn_ingest_record(w.ingest, &again, &error), TSN_ERR_UNREACHABLE);
    assert_non_null(strstr(error.message, "refused"));
    assert_int_equal(tsn_ingest_pending(w.ingest), 0);
    reachable = 1;
    assert_int_equal(tsn_ingest_record(w.ingest, &again, &error), TSN_OK);
    close_at(&w, T0);
    assert_true(delta_in(&w, a, "requests_total{job=\"a\", service=\"a\"}", T0) == 1);
    tsn_buf_release(&b);
    close_world(&w);
}

static void test_framed_without_registry(void **state)
{
    struct tsn_buf b = TSN_BUF_INIT;
    struct world w = { 0 };

    TSN_UNUSED(state);
    open_inputs(&w, "  - { topic: m, type: metrics, format: confluent }\n", NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    put_frame(&b, 7);
    feed_buf(&w, METRICS, &b);
    feed(&w, METRICS, 0, "{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld}", (long long)T0);
    close_at(&w, T0);
    assert_int_equal(w.closed->dead_count, 2);
    assert_string_equal(w.closed->dead[0].reason, "schema");
    assert_string_equal(w.closed->dead[1].reason, "avro");
    tsn_buf_release(&b);
    close_world(&w);
}

/* ---- mapped ------------------------------------------------------------------------------- */

static const char mapping[] =
    "  - topic: orders\n"
    "    type: mapped\n"
    "    timestamp: meta.at\n"
    "    timestamp_format: s\n"
    "    filter:\n"
    "      - { path: kind, any: [order, refund] }\n"
    "      - { path: test, any: [\"true\"], negate: on }\n"
    "    series:\n"
    "      - { name: orders_total, labels: { service: shop.name, first: 'lines.0.sku', odd: 'a\\.b' }, constants: { source: web } }\n"
    "      - { name: basket, kind: gauge, value: sum, labels: { service: shop.name } }\n"
    "      - { name: seen_total, kind: cumulative, value: seen, labels: { service: shop.name } }\n"
    "      - { name: latency_seconds, kind: histogram, value: took, buckets: [\"0.1\", \"1\"], labels: { service: shop.name } }\n";
static const char mapped_rules[] =
    "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service) ({__name__=~\"orders_total|basket|seen_total|latency_seconds.*\"})'}]}]";

static void test_mapped(void **state)
{
    struct world w = { 0 };
    int a = home_of("a");

    TSN_UNUSED(state);
    open_inputs(&w, mapping, NULL, mapped_rules);
    assign(&w, 0, 0, NULL);
    feed(&w, 0, 0, "{\"kind\":\"order\",\"meta\":{\"at\":1700000000.25},\"shop\":{\"name\":\"a\"},\"lines\":[{\"sku\":17},{\"sku\":2}],"
                   "\"a.b\":true,\"sum\":\"12.5\",\"took\":0.5}");
    feed(&w, 0, 0, "[{\"kind\":\"refund\",\"meta\":{\"at\":\"1700000000\"},\"shop\":{\"name\":\"a\"},\"seen\":99,\"test\":false}]");
    feed(&w, 0, 0, "{\"kind\":\"order\",\"meta\":{\"at\":1700000001},\"shop\":{\"name\":\"a\"},\"test\":true}"); /* filtered out */
    feed(&w, 0, 0, "{\"kind\":\"ping\",\"meta\":{\"at\":1700000009}}");                                         /* filtered out: moves time */
    feed(&w, 0, 0, "{\"kind\":\"ping\"}");                                                                      /* filtered out: nobody cares */
    feed(&w, 0, 0, "{\"kind\":\"order\"}");
    feed(&w, 0, 0, "{\"kind\":\"order\",\"meta\":{\"at\":\"soon\"}}");
    feed(&w, 0, 0, "{\"kind\":\"order\",\"meta\":{\"at\":1700000009},\"sum\":\"much\"}");
    feed(&w, 0, 0, "{\"kind\":\"order\",\"meta\":{\"at\":1700000009},\"shop\":{\"name\":[]}}");
    close_at(&w, T0);
    assert_true(delta_in(&w, a, "orders_total{first=\"17\", job=\"a\", odd=\"true\", service=\"a\", source=\"web\"}", T0) == 1);
    assert_true(delta_in(&w, a, "orders_total{job=\"a\", service=\"a\", source=\"web\"}", T0) == 1);
    assert_true(point_in(&w, a, "basket{job=\"a\", service=\"a\"}", T0 + 250)->value == 12.5);
    assert_true(point_in(&w, a, "seen_total{job=\"a\", service=\"a\"}", T0)->value == 99);
    assert_true(delta_in(&w, a, "latency_seconds_bucket{job=\"a\", le=\"0.1\", service=\"a\"}", T0) == 0);
    assert_true(delta_in(&w, a, "latency_seconds_bucket{job=\"a\", le=\"1\", service=\"a\"}", T0) == 1);
    assert_true(delta_in(&w, a, "latency_seconds_bucket{job=\"a\", le=\"+Inf\", service=\"a\"}", T0) == 1);
    assert_true(delta_in(&w, a, "latency_seconds_sum{job=\"a\", service=\"a\"}", T0) == 0.5);
    assert_int_equal(input_in(&w, "orders", 0)->watermark_ms, T0 + 9000 - 5000);
    assert_int_equal(w.closed->dead_count, 4);
    assert_string_equal(w.closed->dead[0].reason, "timestamp");
    assert_string_equal(w.closed->dead[1].reason, "timestamp");
    assert_string_equal(w.closed->dead[2].reason, "value");
    assert_string_equal(w.closed->dead[3].reason, "field");
    assert_int_equal(w.batches[0].decl_count, 1);
    assert_int_equal(w.batches[0].decls[0].name_count, 6);
    assert_false(w.batches[0].decls[0].any_name);
    close_world(&w);
}

static void test_mapped_times(void **state)
{
    static const struct {
        const char *format, *at;
        int64_t ms; /* -1: refused */
    } rows[] = { { "ms", "1700000000123", T0 + 123 },       { "us", "1700000000123999", T0 + 123 },
                 { "ns", "1700000000123999999", T0 + 123 }, { "rfc3339", "\"2023-11-14T22:13:20.123Z\"", T0 + 123 },
                 { "auto", "\"2023-11-14T22:13:20Z\"", T0 }, { "rfc3339", "1700000000", -1 },
                 { "s", "9223372036854775807", -1 },        { "ns", "-9223372036854775808", -1 },
                 { "s", "1e300", -1 },                      { "us", "true", -1 } };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_buf inputs = TSN_BUF_INIT;
        struct world w = { 0 };

        tsn_buf_printf(&inputs, "  - { topic: t, type: mapped, timestamp: at, timestamp_format: %s, series: [{ name: orders_total }] }\n",
                       rows[i].format);
        open_inputs(&w, inputs.data, NULL, mapped_rules);
        assign(&w, 0, 0, NULL);
        feed(&w, 0, 0, "{\"at\":%s}", rows[i].at);
        close_at(&w, T0);
        if ((int64_t)w.closed->dead_count != (rows[i].ms < 0) ||
            (rows[i].ms >= 0 && input_in(&w, "t", 0)->watermark_ms != rows[i].ms - 5000))
            fail_msg("row %zu", i);
        tsn_buf_release(&inputs);
        close_world(&w);
    }
}

static char *read_file(void *arg, const char *path, size_t *len, struct tsn_error *error)
{
    static const char text[] = "{\"type\":\"record\",\"name\":\"O\",\"fields\":[{\"name\":\"in\",\"type\":{\"type\":\"record\",\"name\":\"I\","
                               "\"fields\":[{\"name\":\"n\",\"type\":\"float\"}]}},{\"name\":\"who\",\"type\":[\"null\",\"bytes\"]}]}";

    TSN_UNUSED(arg);
    if (!strstr(path, "order.avsc")) {
        tsn_error_set(error, TSN_ERR_NOT_FOUND, "%s: no such file", path);
        return NULL;
    }
    *len = sizeof text - 1;
    return tsn_strdup(text);
}

static void test_mapped_avro(void **state)
{
    static const char fmt[] = "  - { topic: o, type: mapped, format: avro, schema_file: %s, series: [{ name: basket, kind: gauge,"
                              " value: in.n, labels: { service: who } }] }\n";
    struct tsn_buf b = TSN_BUF_INIT, inputs = TSN_BUF_INIT;
    struct tsn_ingest_options options;
    struct tsn_error error = { .code = TSN_OK };
    struct world w = { 0 };

    TSN_UNUSED(state);
    tsn_buf_printf(&inputs, fmt, "order.avsc");
    w.options.read_file = read_file;
    open_inputs(&w, inputs.data, NULL, mapped_rules);
    assign(&w, 0, 0, NULL);
    tsn_buf_append(&b, "\x00\x00\xc0\x3f\x02\x02" "a", 7); /* 1.5f, "a" */
    feed_buf(&w, 0, &b);
    close_at(&w, T0);
    /* No path to a timestamp: the record's own. */
    assert_true(point_in(&w, home_of("a"), "basket{job=\"a\", service=\"a\"}", T0 + 3600000)->value == 1.5);
    options = w.options;
    close_world(&w);

    tsn_buf_reset(&inputs);
    tsn_buf_printf(&inputs, "kafka: { bootstrap.servers: \"b:9092\" }\nrules: [ \"r.yaml\" ]\ninputs:\n");
    tsn_buf_printf(&inputs, fmt, "other.avsc");
    assert_int_equal(tsn_config_parse(&w.config, "t.yaml", inputs.data, inputs.len, NULL, NULL), TSN_OK);
    options.config = &w.config;
    options.samples_partitions = 1;
    assert_null(tsn_ingest_new(&options, &error));
    assert_non_null(strstr(error.message, "other.avsc: no such file"));
    tsn_config_release(&w.config);
    tsn_buf_release(&b);
    tsn_buf_release(&inputs);
}

/* ---- log signatures ----------------------------------------------------------------------- */

static void error_line(struct world *w, const char *service, const char *level, int64_t ts_ms, int number)
{
    feed(w, LOGS, 0, "{\"timestamp\":%lld,\"service\":\"%s\",\"level\":\"%s\",\"message\":\"request %d failed, password=s3cret%d\"}",
         (long long)ts_ms, service, level, number, number);
}

static void test_signatures(void **state)
{
    static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service, template) (rate(log_template_messages_total"
                                "{level=\"ERROR\",template!=\"x\"}[5m])) > 1'}]}]";
    const struct tsn_batch *b;
    uint64_t hash;
    struct world w;
    int a = home_of("a"), other = home_of("other");

    TSN_UNUSED(state);
    open_world(&w, NULL, rules);
    assign(&w, LOGS, 0, NULL);
    for (int i = 0; i < 3; i++)
        error_line(&w, "a", "ERROR", T0 + i * 800, 100 + i);
    error_line(&w, "a", "INFO", T0, 1); /* no rule could select its template */
    error_line(&w, "other", "ERROR", T0, 1);
    feed(&w, LOGS, 0, "{\"timestamp\":%lld,\"service\":\"a\",\"level\":\"ERROR\",\"message\":\"disk full\"}", (long long)T0 + 1);
    close_at(&w, T0);
    b = &w.batches[a];
    assert_int_equal(b->signature_count, a == other ? 3 : 2);
    assert_string_equal(b->signatures[0].service, "a");
    assert_string_equal(b->signatures[0].level, "ERROR");
    assert_string_equal(b->signatures[0].text, "request <*> failed, password=<*>");
    assert_string_equal(b->signatures[0].sample, "request 100 failed, password=<secret>");
    assert_string_equal(b->signatures[0].sample_topic, "l");
    assert_int_equal(b->signatures[0].sample_offset, 0);
    assert_int_equal(b->signatures[0].ts_ms, T0);
    hash = b->signatures[0].signature;
    assert_true(hash == tsn_hash64(b->signatures[0].text, strlen(b->signatures[0].text)));
    assert_int_equal(b->signature_counts[0].count, 2);
    assert_int_equal(b->signature_counts[0].pane_ms, T0);
    assert_true(b->signature_counts[0].signature == hash);
    assert_int_equal(b->signature_counts[1].count, 1);
    assert_int_equal(b->signature_counts[1].pane_ms, T0 + 1000);
    assert_true(w.batches[other].signatures[w.batches[other].signature_count - (a == other ? 2 : 1)].signature == hash);
    assert_int_equal(stats_of(&w).lines, 5);

    error_line(&w, "a", "ERROR", T0 + 3000, 7); /* the same minute: counted, not told again */
    close_at(&w, T0 + 1000);
    assert_int_equal(w.batches[a].signature_count, 0);
    assert_int_equal(w.batches[a].signature_count_count, 1);
    assert_true(w.batches[a].signature_counts[0].signature == hash);
    error_line(&w, "a", "ERROR", T0 + 60000, 8); /* the next one */
    error_line(&w, "a", "ERROR", T0 + 4000, 9);  /* late */
    close_at(&w, T0 + 60000);
    assert_int_equal(w.batches[a].signature_count, 1);
    assert_string_equal(w.batches[a].signatures[0].sample, "request 8 failed, password=<secret>");
    assert_int_equal(w.batches[a].signature_count_count, 2);
    assert_int_equal(w.batches[a].signature_counts[0].pane_ms, T0 + 55000); /* moved to the watermark's pane */
    assert_int_equal(w.batches[a].signature_counts[1].pane_ms, T0 + 60000);
    close_world(&w);
}

static void test_hostile_size(void **state)
{
    struct tsn_buf b = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, NULL);
    assign(&w, METRICS, 0, NULL);
    for (int extra = 0; extra < 2; extra++) { /* 2,000,000 values are read, one more is not */
        tsn_buf_reset(&b);
        tsn_buf_printf(&b, "{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld,\"x\":[0", (long long)T0);
        for (int i = 0; i < 2000000 - 6 + extra; i++)
            tsn_buf_puts(&b, ",0");
        tsn_buf_puts(&b, "]}");
        feed_buf(&w, METRICS, &b);
        assert_int_equal(stats_of(&w).dead_letters, extra);
    }
    close_at(&w, T0);
    assert_string_equal(w.closed->dead[0].reason, "json");
    assert_non_null(strstr(w.closed->dead[0].error, "more values"));
    assert_int_equal(w.closed->dead[0].full_len, b.len);
    for (int labels = 0; labels < 2; labels++) { /* a great many members, a great many labels: linear time */
        tsn_buf_reset(&b);
        tsn_buf_printf(&b, "{\"name\":\"temperature\",\"value\":1,\"timestamp\":%lld%s", (long long)T0, labels ? ",\"labels\":{\"a\":\"b\"" : "");
        for (int i = 0; i < 300000; i++)
            tsn_buf_printf(&b, ",\"k%d\":%s", i, labels ? "\"v\"" : "null");
        tsn_buf_puts(&b, labels ? "}}" : "}");
        feed_buf(&w, METRICS, &b);
        feed_buf(&w, METRICS, &b);
        assert_int_equal(stats_of(&w).limit_labels, labels ? 2 : 0);
    }
    tsn_buf_release(&b);
    close_world(&w);
}

static void test_hostile_lines(void **state)
{
    static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: log_templates_discovered_total}]}]";
    struct tsn_buf long_line = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    open_world(&w, NULL, rules);
    assign(&w, LOGS, 0, NULL);
    tsn_buf_printf(&long_line, "{\"timestamp\":%lld,\"service\":\"", (long long)T0);
    for (int i = 0; i < 300; i++)
        tsn_buf_puts(&long_line, "\xc3\xa9");
    tsn_buf_puts(&long_line, "\",\"message\":\"");
    for (int i = 0; i < 200000; i++)
        tsn_buf_puts(&long_line, "nospace");
    tsn_buf_puts(&long_line, "\"}");
    feed_buf(&w, LOGS, &long_line);
    feed(&w, LOGS, 0, "{\"timestamp\":%lld,\"message\":\"\\u0000 nul\"}", (long long)T0);
    feed(&w, LOGS, 0, "{\"timestamp\":%lld,\"message\":\"\"}", (long long)T0);
    close_at(&w, T0); /* what came out decodes: the scope was cut at 256 bytes */
    assert_int_equal(w.closed->dead_count, 0);
    assert_int_equal(stats_of(&w).lines, 3);
    for (int p = 0; p < PLACES; p++)
        for (size_t i = 0; i < w.batches[p].signature_count; i++) {
            assert_true(strlen(w.batches[p].signatures[i].service) <= 256);
            assert_true(strlen(w.batches[p].signatures[i].text) < 10000);
        }
    tsn_buf_release(&long_line);
    close_world(&w);
}

/* Bit a * 3 + b: inputs a and b are tied by these rules. */
static unsigned ties_of(const char *exprs)
{
    struct world w = { 0 };
    struct tsn_buf rules = TSN_BUF_INIT;
    unsigned ties = 0;

    tsn_buf_printf(&rules, "groups:\n- name: g\n  rules:\n%s", exprs);
    open_world(&w, "", tsn_buf_str(&rules));
    for (size_t a = 0; a < 3; a++)
        for (size_t b = 0; b < 3; b++)
            ties |= (unsigned)tsn_ingest_tied(w.ingest, a, b) << (a * 3 + b);
    close_world(&w);
    tsn_buf_release(&rules);
    return ties;
}

#define PAIR(a, b) (1U << ((a) * 3 + (b)) | 1U << ((b) * 3 + (a)))
enum { EACH_ALONE = 1U << 0 | 1U << 4 | 1U << 8 };

/* A log backlog must not hold up the metric rules, and must hold up what reads both. */
static void test_ties(void **state)
{
    TSN_UNUSED(state);
    assert_int_equal(ties_of("  - alert: A\n    expr: rate(log_messages_total[5m]) > 1\n"), EACH_ALONE);
    assert_int_equal(ties_of("  - alert: A\n    expr: up == 0\n"), EACH_ALONE);
    assert_int_equal(ties_of("  - alert: A\n    expr: rate(log_messages_total[5m]) > 1 and on (service) up\n"), EACH_ALONE | PAIR(METRICS, LOGS));
    assert_int_equal(ties_of("  - alert: A\n    expr: rate(hooks_processed_total[5m]) > on (service) rate(log_messages_total[5m])\n"),
                     EACH_ALONE | PAIR(HOOKS, LOGS));
    assert_int_equal(ties_of("  - alert: A\n    expr: '{service=\"x\"}'\n"), EACH_ALONE | PAIR(METRICS, LOGS) | PAIR(METRICS, HOOKS) | PAIR(LOGS, HOOKS));
    /* one unit: the second reads what the first records */
    assert_int_equal(ties_of("  - record: r\n    expr: rate(log_messages_total[5m])\n"
                             "- name: h\n  rules:\n  - alert: A\n    expr: r > 1\n"),
                     EACH_ALONE);
    assert_int_equal(ties_of("  - record: r\n    expr: rate(log_messages_total[5m])\n"
                             "- name: h\n  rules:\n  - alert: A\n    expr: r > on (service) up\n"),
                     EACH_ALONE | PAIR(METRICS, LOGS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_framed),
        cmocka_unit_test(test_framed_without_registry),
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_mapped_times),
        cmocka_unit_test(test_mapped_avro),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_hostile_size),
        cmocka_unit_test(test_hostile_lines),
        cmocka_unit_test(test_ties),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
