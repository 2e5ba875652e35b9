/*
 * bench_ingest: events a second on one core through the INGEST core, records to closed, encoded batches, against
 * jansson parsing the same bytes (for Avro: avro-c reading them to a generic value), and using nothing, in the same process.
 *
 * Method: records are made beforehand; runs of ours and of the reference alternate, the best of five of each counts. The first
 * half of the records fills memo and caches and is not timed.
 * A batch is closed every 50,000 events, about what 100 ms bring. Figures: millions of events a second; ratio is ours / reference's.
 */
#include <avro.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tocsin/avro_plan.h"
#include "tocsin/ingest.h"

#define T0 INT64_C(1700000000000)
enum { EVENTS = 400000, TIMED = EVENTS / 2, CLOSE_EVERY = 50000, RUNS = 5 };

static const char rules[] =
    "groups:\n"
    "- name: g\n"
    "  rules:\n"
    "  - { alert: A, expr: 'sum by (service) (rate(http_requests_total[5m])) > 1' }\n"
    "  - { alert: B, expr: 'sum by (service) (rate(hooks_processed_total[5m])) > 1' }\n"
    "  - { alert: C, expr: 'histogram_quantile(0.9, sum by (le, service) (rate(hook_processing_duration_seconds_bucket[5m]))) > 1' }\n"
    "  - { alert: D, expr: 'sum by (service) (rate(log_messages_total[5m])) > 1' }\n";
static const char mining_rules[] =
    "groups: [{name: g, rules: [{ alert: E, expr: 'sum by (service, template) (rate(log_template_messages_total[5m])) > 1' }]}]";

struct record {
    char *data;
    size_t len;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t random_of(uint64_t i)
{
    return tsn_hash64(&i, sizeof i);
}

static void metric(struct tsn_buf *out, int i, unsigned series, const char *kind)
{
    unsigned s = (unsigned)(random_of((uint64_t)i) % series);

    tsn_buf_printf(out,
                   "{\"name\":\"http_requests_total\",\"labels\":{\"service\":\"service-%u\",\"instance\":\"i-%u\",\"method\":\"GET\","
                   "\"status\":\"%d\",\"environment\":\"production\"},\"value\":%d,\"timestamp\":%lld%s}",
                   s % 20, s, s % 3 ? 200 : 503, kind[0] ? 1 : i, (long long)T0 + i / 200, kind);
}

static void hook(struct tsn_buf *out, int i)
{
    uint64_t r = random_of((uint64_t)i);

    tsn_buf_printf(out,
                   "{\"timestamp\":\"2023-11-14T22:13:%02d.%03dZ\",\"service\":\"hook-receiver\",\"environment\":\"production\","
                   "\"hook_id\":\"%016llx\",\"hook_type\":\"type-%d\",\"status\":\"%s\",\"processing_time_ms\":%d.%d,\"patterns_discovered\":%d}",
                   20 + i / 200000, i / 200 % 1000, (unsigned long long)r, (int)(r % 7), r % 50 ? "success" : "error",
                   (int)(r >> 20 & 127), (int)(r >> 30 & 7), (int)(r % 3));
}

static void log_line(struct tsn_buf *out, int i)
{
    uint64_t r = random_of((uint64_t)i);

    tsn_buf_printf(out,
                   "{\"timestamp\":%lld,\"service\":\"api-%d\",\"environment\":\"production\",\"level\":\"%s\",\"message\":\"request %llx took %d ms\","
                   "\"logger\":\"core.web\",\"module\":\"web\",\"function\":\"handle\",\"line\":%d,\"request_id\":\"%016llx\",\"user_id\":null}",
                   (long long)T0 + i / 200, (int)(r % 10), r % 40 ? "INFO" : "ERROR", (unsigned long long)(r >> 40), (int)(r >> 8 & 1023),
                   (int)(r % 900), (unsigned long long)r);
}

static void put_long(struct tsn_buf *out, int64_t v)
{
    uint64_t z = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

    for (; z >= 128; z >>= 7)
        tsn_buf_putc(out, (char)(z | 128));
    tsn_buf_putc(out, (char)z);
}

static void put_pair(struct tsn_buf *out, const char *key, const char *value)
{
    put_long(out, (int64_t)strlen(key));
    tsn_buf_puts(out, key);
    put_long(out, (int64_t)strlen(value));
    tsn_buf_puts(out, value);
}

/* As metric(), in tocsin.v1.Metric. */
static void avro_metric(struct tsn_buf *out, int i)
{
    unsigned s = (unsigned)(random_of((uint64_t)i) % 1000);
    uint64_t one = tsn_double_bits(1);
    char text[32];

    put_long(out, 19);
    tsn_buf_puts(out, "http_requests_total");
    put_long(out, 5);
    snprintf(text, sizeof text, "service-%u", s % 20);
    put_pair(out, "service", text);
    snprintf(text, sizeof text, "i-%u", s);
    put_pair(out, "instance", text);
    put_pair(out, "method", "GET");
    put_pair(out, "status", s % 3 ? "200" : "503");
    put_pair(out, "environment", "production");
    put_long(out, 0);
    for (int k = 0; k < 8; k++, one >>= 8)
        tsn_buf_putc(out, (char)(one & 255));
    put_long(out, T0 + i / 200);
    put_long(out, 1);
    put_long(out, 2);
}

static struct record *make(int which)
{
    struct record *records = tsn_calloc(EVENTS, sizeof *records);

    for (int i = 0; i < EVENTS; i++) {
        struct tsn_buf text = TSN_BUF_INIT;

        switch (which) {
        case 0: metric(&text, i, 1000, ",\"kind\":\"delta\""); break;
        case 1: metric(&text, i, 50000, ",\"kind\":\"delta\""); break;
        case 2: metric(&text, i, 1000, ""); break;
        case 3: hook(&text, i); break;
        case 4:
        case 5: log_line(&text, i); break;
        case 6: avro_metric(&text, i); break;
        default: /* a blank in front: the exact path */
            tsn_buf_putc(&text, ' ');
            metric(&text, i, 1000, ",\"kind\":\"delta\"");
            break;
        }
        records[i].data = tsn_buf_take(&text, &records[i].len);
    }
    return records;
}

static double run_ours(const struct tsn_config *config, const struct tsn_rule_set *set, size_t input,
                       const struct record *records, size_t *out_bytes)
{
    struct tsn_ingest_options options = { .config = config, .writer = 1, .samples_partitions = 4 };
    struct tsn_ingest *in = tsn_ingest_new(&options, NULL);
    struct tsn_ingest_stats stats;
    double start, took;

    tsn_ingest_add_rule_set(in, 1, set);
    (void)tsn_ingest_assign(in, input, 0, 1, 0, NULL, NULL);
    *out_bytes = 0;
    start = 0;
    for (int i = 0; i < EVENTS; i++) {
        struct tsn_ingest_record r = { .input = input, .offset = i, .timestamp_ms = T0 + 60000, .value = records[i].data,
                                       .value_len = records[i].len };

        if (i == EVENTS - TIMED) {
            *out_bytes = 0;
            start = now_s();
        }
        (void)tsn_ingest_record(in, &r, NULL);
        if ((i + 1) % CLOSE_EVERY == 0) {
            struct tsn_closed_batch *b = tsn_ingest_close(in, T0);

            for (size_t p = 0; p < b->record_count; p++)
                *out_bytes += b->records[p].len;
            tsn_closed_batch_free(&b);
        }
    }
    took = now_s() - start;
    tsn_ingest_get_stats(in, &stats);
    TSN_ASSERT(stats.dead_letters == 0 && stats.events == EVENTS);
    tsn_ingest_free(&in);
    return took;
}

static double run_avro_c(const struct record *records)
{
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
    double start;

    TSN_ASSERT(avro_schema_from_json_length(tsn_avro_own_schema("Metric"), strlen(tsn_avro_own_schema("Metric")), &schema) == 0);
    iface = avro_generic_class_from_schema(schema);
    avro_generic_value_new(iface, &value);
    start = now_s();
    for (int i = EVENTS - TIMED; i < EVENTS; i++) {
        avro_reader_t reader = avro_reader_memory(records[i].data, (int64_t)records[i].len);

        avro_value_reset(&value);
        TSN_ASSERT(avro_value_read(reader, &value) == 0);
        avro_reader_free(reader);
    }
    start = now_s() - start;
    avro_value_decref(&value);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    return start;
}

static double run_jansson(const struct record *records)
{
    double start = now_s();

    for (int i = EVENTS - TIMED; i < EVENTS; i++) {
        json_t *root = json_loadb(records[i].data, records[i].len, 0, NULL);

        TSN_ASSERT(root);
        json_decref(root);
    }
    return now_s() - start;
}

static struct tsn_rule_set *load_rules(const char *text)
{
    struct tsn_rule_source source = { "r.yaml", text, strlen(text) };
    struct tsn_rule_load_options load = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &load, &errors);

    TSN_ASSERT(set);
    return set;
}

static const struct bench_case {
    const char *name;
    size_t input;
    bool mining, avro;
    double floor, aim; /* times the reference's speed */
} cases[] = {
    { "ingest_json_delta_1k", 0, false, false, 4, 10 },    { "ingest_json_delta_50k", 0, false, false, 3, 6 },
    { "ingest_json_counter_1k", 0, false, false, 3, 8 },   { "ingest_json_hook", 2, false, false, 2, 8 },
    { "ingest_json_log", 1, false, false, 2, 10 },         { "ingest_json_log_signatures", 1, true, false, 1, 4 },
    { "ingest_avro_delta_1k", 0, false, true, 2, 4 },      { "ingest_json_exact_path", 0, false, false, 1, 3 },
};

static void run_case(size_t c, const struct tsn_config *config, const struct tsn_rule_set *set)
{
    struct record *records = make((int)c);
    double ours = 1e9, reference = 1e9, bytes = 0;
    size_t out_bytes = 0;

    for (int i = 0; i < EVENTS; i++)
        bytes += (double)records[i].len;
    for (int r = 0; r < RUNS; r++) {
        double a = run_ours(config, set, cases[c].input, records, &out_bytes);
        double b = cases[c].avro ? run_avro_c(records) : run_jansson(records);

        ours = a < ours ? a : ours;
        reference = b < reference ? b : reference;
    }
    printf("BENCH name=%s value=%.3f unit=Mevents/s ref=%.3f ratio=%.2f floor=%.1f aim=%.1f bytes_in=%.0f bytes_out=%.2f us=%.3f\n",
           cases[c].name, TIMED / ours * 1e-6, TIMED / reference * 1e-6, reference / ours, cases[c].floor, cases[c].aim,
           bytes / EVENTS, (double)out_bytes / TIMED, ours / TIMED * 1e6);
    for (int i = 0; i < EVENTS; i++)
        tsn_free(records[i].data);
    tsn_free(records);
}

/* Usage: bench_ingest [part of a case's name] */
int main(int argc, char **argv)
{
    static const char format[] = "kafka: { bootstrap.servers: \"b:9092\" }\n"
                                 "inputs: [ { topic: m, type: metrics, format: %s }, { topic: l, type: logs }, { topic: h, type: hooks } ]\n"
                                 "rules: [ \"r.yaml\" ]\n";
    struct tsn_rule_set *plain = load_rules(rules), *mining = load_rules(mining_rules);
    struct tsn_config config[2];

    for (int avro = 0; avro < 2; avro++) {
        char yaml[512];
        int len = snprintf(yaml, sizeof yaml, format, avro ? "avro" : "json");

        TSN_ASSERT(tsn_config_parse(&config[avro], "b.yaml", yaml, (size_t)len, NULL, NULL) == TSN_OK);
    }
    for (size_t c = 0; c < TSN_ARRAY_LEN(cases); c++)
        if (argc < 2 || strstr(cases[c].name, argv[1]))
            run_case(c, &config[cases[c].avro], cases[c].mining ? mining : plain);
    tsn_rule_set_free(&plain);
    tsn_rule_set_free(&mining);
    tsn_config_release(&config[0]);
    tsn_config_release(&config[1]);
    return 0;
}
