/*
 * ingest_world: what tests of INGEST share: a configuration, a rule set, an object, and its batches decoded again, read by
 * the text of their series. Included after cmocka.h.
 */
#ifndef TSN_TESTS_INGEST_WORLD_H
#define TSN_TESTS_INGEST_WORLD_H

#include <stdio.h>
#include <string.h>

#include "tocsin/codec.h"
#include "tocsin/ingest.h"

#define T0 INT64_C(1700000000000)
enum { METRICS, LOGS, HOOKS, PLACES = 4 };

static const char default_rules[] =
    "groups:\n"
    "- name: g\n"
    "  rules:\n"
    "  - alert: A\n"
    "    expr: sum by (service) (rate(requests_total[5m])) > 1 or sum by (service) (temperature) > 1\n"
    "  - alert: B\n"
    "    expr: sum by (service) (rate(hooks_processed_total{status=\"error\"}[5m])) > 1\n"
    "  - alert: C\n"
    "    expr: histogram_quantile(0.95, sum by (le, service) (rate(hook_processing_duration_seconds_bucket[5m]))) > 1\n"
    "  - alert: D\n"
    "    expr: sum by (service) (rate({__name__=~\"log_messages_total|intelligence_patterns_discovered_total\"}[5m])) > 1\n"
    "- name: global\n"
    "  rules:\n"
    "  - alert: E\n"
    "    expr: absent(up{job=\"x\"}) or absent(temperature)\n";

struct world {
    struct tsn_config config;
    struct tsn_ingest_options options; /* set before open_world: schema, read_file */
    struct tsn_rule_set *set;
    struct tsn_ingest *ingest;
    struct tsn_closed_batch *closed;
    struct tsn_batch batches[PLACES];
    int64_t offset;
    char *names[4096]; /* series text by ref, as announced so far */
    uint8_t kinds[4096];
};

static inline struct tsn_rule_set *load_rules(const char *text)
{
    struct tsn_rule_source source = { "r.yaml", text, strlen(text) };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &(struct tsn_rule_load_options){ 0 }, &errors);

    if (!set)
        fail_msg("rules: %s", errors.len ? errors.items[0].message : "?");
    tsn_rule_errors_release(&errors);
    return set;
}

static inline void start(struct world *w, int64_t writer)
{
    struct tsn_ingest_options options = w->options;
    struct tsn_error error = { .code = TSN_OK };

    options.config = &w->config;
    options.slot = 3;
    options.writer = writer;
    options.samples_partitions = PLACES;
    w->ingest = tsn_ingest_new(&options, &error);
    if (!w->ingest)
        fail_msg("%s", error.message);
    tsn_ingest_add_rule_set(w->ingest, 7, w->set);
}

static const char default_inputs[] = "  - { topic: m, type: metrics }\n"
                                     "  - { topic: l, type: logs }\n"
                                     "  - { topic: h, type: hooks }\n";

/* *w holds the options and zeros. */
static inline void open_inputs(struct world *w, const char *inputs, const char *extra, const char *rules)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { .code = TSN_OK };

    tsn_buf_printf(&text, "kafka: { bootstrap.servers: \"b:9092\" }\ninputs:\n%srules: [ \"r.yaml\" ]\n%s", inputs,
                   extra ? extra : "");
    if (tsn_config_parse(&w->config, "t.yaml", text.data, text.len, NULL, &error) != TSN_OK)
        fail_msg("%s", error.message);
    tsn_buf_release(&text);
    w->set = load_rules(rules ? rules : default_rules);
    start(w, 1);
}

static inline void open_world(struct world *w, const char *extra, const char *rules)
{
    memset(w, 0, sizeof *w);
    open_inputs(w, default_inputs, extra, rules);
}

static inline void free_batches(struct world *w)
{
    for (int p = 0; w->closed && p < PLACES; p++)
        tsn_batch_release(&w->batches[p]);
    tsn_closed_batch_free(&w->closed);
}

static inline void stop(struct world *w)
{
    free_batches(w);
    tsn_ingest_free(&w->ingest);
    for (size_t i = 0; i < TSN_ARRAY_LEN(w->names); i++) {
        tsn_free(w->names[i]);
        w->names[i] = NULL;
    }
}

static inline void close_world(struct world *w)
{
    stop(w);
    tsn_rule_set_free(&w->set);
    tsn_config_release(&w->config);
}

static inline void assign(struct world *w, size_t input, int32_t partition, const char *metadata)
{
    assert_int_equal(tsn_ingest_assign(w->ingest, input, partition, 2, 0, metadata, NULL), TSN_OK);
}

static inline void feed_bytes(struct world *w, size_t input, int32_t partition, int64_t ts_ms, const char *data, size_t len)
{
    /* An exact copy on the heap: a read behind its end is seen by ASan. */
    char *copy = tsn_memdup(data, len);
    struct tsn_ingest_record r = { .input = input, .partition = partition, .offset = w->offset++, .timestamp_ms = ts_ms,
                                   .key = "k", .key_len = 1, .value = copy, .value_len = len };

    assert_int_equal(tsn_ingest_record(w->ingest, &r, NULL), TSN_OK);
    tsn_free(copy);
}

static inline void feed(struct world *w, size_t input, int32_t partition, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    feed_bytes(w, input, partition, T0 + 3600000, tsn_buf_str(&text), text.len);
    tsn_buf_release(&text);
}

static inline void close_at(struct world *w, int64_t wall_ms)
{
    struct tsn_error error = { .code = TSN_OK };

    free_batches(w);
    w->closed = tsn_ingest_close(w->ingest, wall_ms);
    assert_int_equal(w->closed->record_count, PLACES);
    for (int p = 0; p < PLACES; p++) {
        struct tsn_batch *b = &w->batches[p];

        if (tsn_codec_batch_decode(w->closed->records[p].data, w->closed->records[p].len, b, &error) != TSN_OK)
            fail_msg("%s", error.message);
        for (size_t i = 0; i < b->series_count; i++) {
            struct tsn_buf text = TSN_BUF_INIT;

            assert_true(b->series[i].ref < TSN_ARRAY_LEN(w->names));
            tsn_labels_format(&text, b->series[i].labels);
            tsn_free(w->names[b->series[i].ref]);
            w->names[b->series[i].ref] = tsn_buf_take(&text, NULL);
            w->kinds[b->series[i].ref] = (uint8_t)b->series[i].kind;
        }
    }
}

/* Where the series is sent by its service; every sample in it must be announced. */
static inline int home_of(const char *service)
{
    return tsn_partition_of(service, strlen(service), PLACES);
}

/* Sum of the deltas of a series in one pane, -1: no row; in place p. */
static inline double delta_in(struct world *w, int p, const char *series, int64_t pane_ms)
{
    for (size_t i = 0; i < w->batches[p].delta_count; i++) {
        const struct tsn_batch_delta *d = &w->batches[p].deltas[i];

        assert_non_null(w->names[d->ref]);
        if (strcmp(w->names[d->ref], series) == 0 && d->pane_ms == pane_ms)
            return tsn_fixed_to_double(d->delta);
    }
    return -1;
}

static inline const struct tsn_batch_point *point_in(struct world *w, int p, const char *series, int64_t ts_ms)
{
    for (size_t i = 0; i < w->batches[p].point_count; i++) {
        const struct tsn_batch_point *d = &w->batches[p].points[i];

        assert_non_null(w->names[d->ref]);
        if (strcmp(w->names[d->ref], series) == 0 && d->ts_ms == ts_ms)
            return d;
    }
    return NULL;
}

static inline size_t samples_in(const struct world *w)
{
    size_t n = 0;

    for (int p = 0; p < PLACES; p++)
        n += w->batches[p].point_count + w->batches[p].delta_count;
    return n;
}

static inline const struct tsn_batch_input *input_in(const struct world *w, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < w->batches[0].input_count; i++)
        if (strcmp(w->batches[0].inputs[i].topic, topic) == 0 && w->batches[0].inputs[i].partition == partition)
            return &w->batches[0].inputs[i];
    fail_msg("no input %s/%d in the batch", topic, partition);
    return NULL;
}

static inline struct tsn_ingest_stats stats_of(const struct world *w)
{
    struct tsn_ingest_stats stats;

    tsn_ingest_get_stats(w->ingest, &stats);
    return stats;
}

#endif
