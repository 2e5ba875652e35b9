/*
 * fuzz_ingest: the first byte picks the input and how the rest is cut into records, which all go through one object: JSON and Avro of
 * known types, a mapping, a registry that knows some ids. Whatever comes in, every closed batch must decode, and each record is
 * either taken or a dead letter.
 */
#include "tocsin/avro_plan.h"
#include "tocsin/codec.h"
#include "tocsin/ingest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define T0 INT64_C(1700000000000)
enum { INPUTS = 5, PLACES = 2 };

static const char yaml[] =
    "kafka: { bootstrap.servers: \"b:9092\" }\n"
    "inputs:\n"
    "  - { topic: m, type: metrics }\n"
    "  - { topic: l, type: logs }\n"
    "  - { topic: h, type: hooks }\n"
    "  - { topic: a, type: metrics, format: avro }\n"
    "  - { topic: x, type: mapped, timestamp: t, filter: [ { path: k, any: [v] } ], series: [ { name: n, labels: { a: b.c } },\n"
    "      { name: q, kind: histogram, value: v, buckets: [\"1\", \"2\"] } ] }\n"
    "ingest: { max_series: 50, max_label_bytes: 200, dead_letter_bytes: 1024 }\n"
    "rules: [ \"r.yaml\" ]\n";
static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service) ({__name__=~\".+\"})'}, {alert: B, expr: 'absent(x)'}]}]";

static struct tsn_config config;
static struct tsn_rule_set *set;

static enum tsn_err schema(void *arg, int32_t id, const char **json, size_t *len, struct tsn_error *error)
{
    static const char *const names[] = { "Metric", "Log", "Hook" };

    TSN_UNUSED(arg);
    if (id < 0 || id > 2)
        return tsn_error_set(error, id % 2 ? TSN_ERR_NOT_FOUND : TSN_ERR_UNREACHABLE, "no schema");
    *json = tsn_avro_own_schema(names[id]);
    *len = strlen(*json);
    return TSN_OK;
}

static void set_up(void)
{
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options load = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };

    TSN_ASSERT(tsn_config_parse(&config, "f.yaml", yaml, sizeof yaml - 1, NULL, NULL) == TSN_OK);
    set = tsn_rule_set_load(&source, 1, &load, &errors);
    TSN_ASSERT(set);
}

static void close_batch(struct tsn_ingest *in, int64_t wall_ms)
{
    struct tsn_closed_batch *b = tsn_ingest_close(in, wall_ms);

    for (size_t p = 0; p < b->record_count; p++) {
        struct tsn_batch batch;

        TSN_ASSERT(tsn_codec_batch_decode(b->records[p].data, b->records[p].len, &batch, NULL) == TSN_OK);
        tsn_batch_release(&batch);
    }
    for (size_t i = 0; i < b->offset_count; i++) {
        int64_t watermark_ms, clock_ms;
        bool idle;

        TSN_ASSERT(tsn_ingest_metadata_parse(b->offsets[i].metadata, &watermark_ms, &idle, &clock_ms));
    }
    tsn_closed_batch_free(&b);
}

/* Records end at newlines; the bytes of one are copied, so that a read behind its end is seen. */
static void feed(struct tsn_ingest *in, size_t input, const char *data, size_t size)
{
    struct tsn_ingest_record r = { .input = input, .timestamp_ms = T0 };

    for (const char *end = data + size; data < end;) {
        const char *stop = memchr(data, '\n', (size_t)(end - data));
        size_t len = stop ? (size_t)(stop - data) : (size_t)(end - data);
        char *copy = tsn_memdup(data, len);
        enum tsn_err err;

        r.value = len ? copy : NULL;
        r.value_len = len;
        err = tsn_ingest_record(in, &r, NULL);
        TSN_ASSERT(err == TSN_OK || err == TSN_ERR_UNREACHABLE);
        r.offset += err == TSN_OK;
        tsn_free(copy);
        if (r.offset % 3 == 2)
            close_batch(in, T0 + r.offset * 20000);
        data += len + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_ingest_options options = { .config = &config, .writer = 1, .samples_partitions = PLACES, .schema = schema };
    struct tsn_ingest_stats stats;
    struct tsn_ingest *in;

    if (!size)
        return 0;
    if (!set)
        set_up();
    in = tsn_ingest_new(&options, NULL);
    tsn_ingest_add_rule_set(in, 1, set);
    TSN_ASSERT(tsn_ingest_assign(in, data[0] % INPUTS, 0, 1, 0, NULL, NULL) == TSN_OK);
    feed(in, data[0] % INPUTS, (const char *)data + 1, size - 1);
    close_batch(in, T0);
    tsn_ingest_get_stats(in, &stats);
    TSN_ASSERT(stats.batches > 0 && stats.dead_letters <= stats.records);
    tsn_ingest_free(&in);
    return 0;
}
