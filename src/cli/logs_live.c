/* logs_live: see logs_live.h. */
#include "cli/logs_live.h"
#include "cli/cli.h"
#include "tocsin/codec.h"
#include "tocsin/config.h"
#include "tocsin/kafka.h"

#include <string.h>

/* READ_MS: longer than an open transaction may hold the reader up. SLACK_MS: clocks of workers, and the minute in which
 * a signature is announced. LATER_MS: how much later than its event time a line may have been read and still counts. */
enum { READ_MS = 20000, SLACK_MS = 180000, LATER_MS = 3600000 };
static bool wanted(const struct tsn_logs_live *live, const char *service, const char *level)
{
    return (!live->service || strcmp(live->service, service) == 0) && (!live->level || strcmp(live->level, level) == 0);
}

static void take_batch(struct tsn_logs_live *live, struct tsn_book *book, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->signature_count; i++) {
        const struct tsn_batch_signature *s = &b->signatures[i];

        if (wanted(live, s->service, s->level))
            tsn_book_entry(book, tsn_miner_add(book->miner, tsn_miner_scope(book->miner, s->service, s->level), s->signature, s->text,
                                               strlen(s->text), tsn_pattern_is_pin(s->signature, s->text, strlen(s->text)), 0, s->ts_ms));
    }
    for (size_t i = 0; i < b->signature_count_count; i++) {
        const struct tsn_batch_signature_count *c = &b->signature_counts[i];
        struct tsn_miner_result result;

        for (unsigned side = 0; side < 2; side++) {
            if (c->pane_ms < live->from_ms[side] || c->pane_ms >= live->to_ms[side] || !wanted(live, c->service, c->level))
                continue;
            result = tsn_miner_count(book->miner, tsn_miner_scope(book->miner, c->service, c->level), c->signature, c->count, c->pane_ms);
            if (result.ref == TSN_MINER_NONE)
                live->unnamed += (uint64_t)c->count;
            else
                tsn_book_count(book, tsn_book_entry(book, result), side, (uint64_t)c->count);
        }
    }
}

/* Whether the writer of the batch may still have lines of before `to_ms`: it reads an input that is not that far. */
static bool behind(const struct tsn_batch *b, int64_t to_ms)
{
    for (size_t i = 0; i < b->input_count; i++)
        if (!b->inputs[i].idle && b->inputs[i].watermark_ms < to_ms)
            return true;
    return false;
}

static enum tsn_err read_partition(struct tsn_logs_live *live, const struct tsn_config *config, int32_t partition, struct tsn_book *book,
                                   struct tsn_error *error)
{
    int64_t first_ms = live->from_ms[0] < live->from_ms[1] ? live->from_ms[0] : live->from_ms[1];
    int64_t to_ms = live->to_ms[0] > live->to_ms[1] ? live->to_ms[0] : live->to_ms[1];
    struct tsn_reader *r = tsn_reader_new(config, config->topics.samples, partition, TSN_OFFSET_BEGINNING, false, error);
    enum tsn_err err = r ? tsn_reader_seek_time(r, first_ms - config->time.future_ms - SLACK_MS, READ_MS, error) : error->code;
    struct tsn_message m;
    bool more = true;

    while (!err && more && !(err = tsn_reader_next(r, READ_MS, &m, error))) {
        struct tsn_batch batch;

        err = tsn_codec_batch_decode(m.value, m.value_len, &batch, error);
        if (err) {
            tsn_error_prefix(error, "%s/%d offset %lld", config->topics.samples, partition, (long long)m.offset);
            break;
        }
        take_batch(live, book, &batch);
        more = m.timestamp_ms <= to_ms + LATER_MS || behind(&batch, to_ms);
        tsn_batch_release(&batch);
    }
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

enum tsn_err tsn_logs_live_read(struct tsn_logs_live *live, struct tsn_book *book, struct tsn_error *error)
{
    struct tsn_config config;
    enum tsn_err err = TSN_OK;
    int32_t partitions;

    book->scoped = true;
    if (!tsn_cli_load_config(live->config_file, &config))
        return tsn_error_set(error, TSN_ERR_INVALID, "no configuration");
    partitions = tsn_kafka_partition_count(&config, config.topics.samples, error);
    if (partitions < 0)
        err = error->code;
    else if (partitions == 0)
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s does not exist", config.topics.samples);
    for (int32_t p = 0; !err && p < partitions; p++)
        err = read_partition(live, &config, p, book, error);
    tsn_config_release(&config);
    return err;
}
