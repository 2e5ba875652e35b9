/*
 * fuzz_metadata: each line as the metadata of a committed offset, as INGEST finds it when it takes a partition. A text that is read must stand
 * again, the same, in the offset that the next batch commits; and a partition that stands anywhere in time must take an event, an
 * idle mark and a close. A text that is not ours counts as none.
 */
#include "tocsin/codec.h"
#include "tocsin/ingest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW INT64_C(1700000000000)

static const char yaml[] = "kafka: { bootstrap.servers: \"b:9092\" }\n"
                           "inputs:\n  - { topic: m, type: metrics }\n"
                           "rules: [ \"r.yaml\" ]\n";
static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service) (rate(x_total[1m])) > 0'}]}]";
static const char event[] = "{\"name\":\"x_total\",\"kind\":\"delta\",\"labels\":{\"service\":\"a\"},\"value\":1,\"timestamp\":1700000000000}";

static struct tsn_config config;
static struct tsn_rule_set *set;

static void set_up(void)
{
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options load = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };

    TSN_ASSERT(tsn_config_parse(&config, "f.yaml", yaml, sizeof yaml - 1, NULL, NULL) == TSN_OK);
    set = tsn_rule_set_load(&source, 1, &load, &errors);
    TSN_ASSERT(set);
}

/* Commits a batch; true with the watermark and idle flag of the offset in it. */
static bool close_batch(struct tsn_ingest *in, int64_t *watermark_ms, bool *idle)
{
    struct tsn_closed_batch *b = tsn_ingest_close(in, NOW);
    int64_t clock_ms;
    bool any = b->offset_count > 0;
    struct tsn_batch batch;

    TSN_ASSERT(b->record_count == 1 && tsn_codec_batch_decode(b->records[0].data, b->records[0].len, &batch, NULL) == TSN_OK);
    tsn_batch_release(&batch);
    if (any)
        TSN_ASSERT(tsn_ingest_metadata_parse(b->offsets[0].metadata, watermark_ms, idle, &clock_ms));
    tsn_closed_batch_free(&b);
    return any;
}

static void take(const char *text)
{
    struct tsn_ingest_options options = { .config = &config, .writer = 1, .samples_partitions = 1 };
    struct tsn_ingest_record r = { .offset = 7, .timestamp_ms = NOW, .value = event, .value_len = sizeof event - 1 };
    struct tsn_ingest *in = tsn_ingest_new(&options, NULL);
    int64_t was_ms = TSN_TIME_NONE, now_ms = TSN_TIME_NONE, clock_ms;
    bool was_idle = false, idle = false;
    bool ours = tsn_ingest_metadata_parse(text, &was_ms, &was_idle, &clock_ms);
    enum tsn_err err;

    tsn_ingest_add_rule_set(in, 1, set);
    err = tsn_ingest_assign(in, 0, 0, 1, 7, text, NULL);
    TSN_ASSERT(err == (ours || !*text ? TSN_OK : TSN_ERR_INVALID)); /* no text: nothing was committed with it */
    TSN_ASSERT(tsn_ingest_watermark(in, 0, 0) == (ours ? was_ms : TSN_TIME_NONE));
    if (close_batch(in, &now_ms, &idle))
        TSN_ASSERT(now_ms == (ours ? was_ms : TSN_TIME_NONE) && idle == (ours && was_idle));
    tsn_ingest_idle(in, 0, 0, NOW);
    close_batch(in, &now_ms, &idle);
    TSN_ASSERT(tsn_ingest_record(in, &r, NULL) == TSN_OK);
    TSN_ASSERT(close_batch(in, &now_ms, &idle) && !idle && now_ms >= (ours && was_ms != TSN_TIME_NONE ? was_ms : 0));
    tsn_ingest_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!set)
        set_up();
    for (size_t at = 0; at < size;) {
        const char *line = (const char *)data + at, *end = memchr(line, '\n', size - at);
        size_t len = end ? (size_t)(end - line) : size - at;
        char *text = tsn_strndup(line, len);

        take(text);
        tsn_free(text);
        at += len + 1;
    }
    return 0;
}
