/*
 * cmd_samples: `tocsin samples`, what INGEST wrote, readable: a line a batch, and with --points a line a sample.
 *
 * Series are announced once a minute per writer, so a reader that starts in the middle may meet samples of a series whose labels it has not seen: they
 * are shown by their reference.
 */
#include "cli/cli.h"
#include "tocsin/codec.h"
#include "tocsin/config.h"
#include "tocsin/kafka.h"

#include <stdio.h>
#include <string.h>

static const char about[] =
    "Prints the batches of topic samples as JSON, one line each: writer, rule set, inputs with offsets and watermarks, counts.\n"
    "With --points every sample follows as a line of its own.\n\n"
    "Examples:\n"
    "  tocsin samples --partition 0 --last 10\n"
    "  tocsin samples --partition 3 --from 1200 --count 5 --points\n"
    "  tocsin samples --partition 0 --follow\n";

enum { WAIT_MS = 500 };

struct names {
    struct tsn_map by_ref; /* slot/writer/ref → text */
};

static size_t ref_key(char out[64], const struct tsn_batch *b, uint32_t ref)
{
    return (size_t)snprintf(out, 64, "%d/%lld/%u", b->slot, (long long)b->writer, ref);
}

static void learn(struct names *names, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->series_count; i++) {
        struct tsn_buf text = TSN_BUF_INIT;
        char key[64];
        size_t len = ref_key(key, b, b->series[i].ref);

        tsn_labels_format(&text, b->series[i].labels);
        tsn_free(tsn_map_put(&names->by_ref, key, len, tsn_buf_take(&text, NULL)));
    }
}

static void print_name(const struct names *names, const struct tsn_batch *b, uint32_t ref, struct tsn_buf *out)
{
    char key[64];
    const char *name = tsn_map_get(&names->by_ref, key, ref_key(key, b, ref));

    if (name)
        tsn_buf_json_string(out, name, strlen(name));
    else
        tsn_buf_printf(out, "\"#%u\"", ref);
}

static void print_time(struct tsn_buf *out, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE) {
        tsn_buf_puts(out, "null");
        return;
    }
    tsn_format_rfc3339(text, ms);
    tsn_buf_printf(out, "\"%s\"", text);
}

static void print_batch(const struct tsn_batch *b, int64_t offset, struct tsn_buf *out)
{
    tsn_buf_printf(out, "{\"offset\":%lld,\"slot\":%d,\"writer\":%lld,\"epoch\":%lld,\"seq\":%lld,\"rule_set\":%lld,\"wall\":", (long long)offset,
                   b->slot, (long long)b->writer, (long long)b->epoch, (long long)b->seq, (long long)b->rule_set);
    print_time(out, b->wall_ms);
    tsn_buf_printf(out, ",\"series\":%zu,\"points\":%zu,\"deltas\":%zu,\"signatures\":%zu,\"inputs\":[", b->series_count, b->point_count,
                   b->delta_count, b->signature_count);
    for (size_t i = 0; i < b->input_count; i++) {
        const struct tsn_batch_input *in = &b->inputs[i];

        tsn_buf_puts(out, i ? ",{\"topic\":" : "{\"topic\":");
        tsn_buf_json_string(out, in->topic, strlen(in->topic));
        tsn_buf_printf(out, ",\"partition\":%d,\"first\":%lld,\"next\":%lld,\"watermark\":", in->partition, (long long)in->first_offset,
                       (long long)in->next_offset);
        print_time(out, in->watermark_ms);
        tsn_buf_printf(out, ",\"idle\":%s,\"late\":%lld}", in->idle ? "true" : "false", (long long)in->late);
    }
    tsn_buf_puts(out, "]}\n");
}

static void print_points(const struct names *names, const struct tsn_batch *b, struct tsn_buf *out)
{
    char number[TSN_DOUBLE_TEXT];

    for (size_t i = 0; i < b->point_count; i++) {
        tsn_buf_puts(out, "{\"series\":");
        print_name(names, b, b->points[i].ref, out);
        tsn_buf_puts(out, ",\"time\":");
        print_time(out, b->points[i].ts_ms);
        tsn_format_double(number, sizeof number, b->points[i].value, 'g', 21);
        tsn_buf_printf(out, ",\"value\":\"%s\"}\n", number);
    }
    for (size_t i = 0; i < b->delta_count; i++) {
        tsn_buf_puts(out, "{\"series\":");
        print_name(names, b, b->deltas[i].ref, out);
        tsn_buf_puts(out, ",\"pane\":");
        print_time(out, b->deltas[i].pane_ms);
        tsn_format_double(number, sizeof number, tsn_fixed_to_double(b->deltas[i].delta), 'g', 21);
        tsn_buf_printf(out, ",\"delta\":\"%s\"}\n", number);
    }
}

static enum tsn_err dump(struct tsn_reader *reader, int64_t count, bool points, bool follow, struct tsn_error *error)
{
    struct names names;
    struct tsn_buf out = TSN_BUF_INIT;
    enum tsn_err err = TSN_OK;

    tsn_map_init(&names.by_ref);
    for (int64_t seen = 0; !err && (count == 0 || seen < count);) {
        struct tsn_message m;
        struct tsn_batch batch;

        err = tsn_reader_next(reader, follow ? WAIT_MS : 20 * WAIT_MS, &m, error);
        if (err == TSN_ERR_TIMEOUT && follow) {
            err = TSN_OK;
            continue;
        }
        if (!err)
            err = tsn_codec_batch_decode(m.value, m.value_len, &batch, error);
        if (err)
            break;
        learn(&names, &batch);
        print_batch(&batch, m.offset, &out);
        if (points)
            print_points(&names, &batch, &out);
        fputs(tsn_buf_str(&out), stdout);
        fflush(stdout);
        tsn_buf_reset(&out);
        tsn_batch_release(&batch);
        seen++;
    }
    tsn_map_foreach(&names.by_ref, e)
        tsn_free(e->value);
    tsn_map_release(&names.by_ref);
    tsn_buf_release(&out);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

int tsn_cmd_samples(int argc, char **argv)
{
    const char *file = "tocsin.yaml";
    int64_t partition = 0, from = 0, count = 0, last = 0;
    bool points = false, follow = false;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "partition", TSN_OPT_INT, &partition, "P", "of topic samples (default 0)", 0, INT32_MAX },
        { "from", TSN_OPT_INT, &from, "OFFSET", "where to begin (default: the oldest)", 0, INT64_MAX },
        { "last", TSN_OPT_INT, &last, "N", "begin N offsets before the end", 1, INT64_MAX },
        { "count", TSN_OPT_INT, &count, "N", "stop after N batches", 1, INT64_MAX },
        { "points", TSN_OPT_FLAG, &points, NULL, "every sample, too", 0, 0 },
        { "follow", TSN_OPT_FLAG, &follow, NULL, "wait for more at the end", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "tocsin samples [OPTIONS]", about), code = TSN_EXIT_OK;
    struct tsn_error error = { 0 };
    struct tsn_reader *reader;
    struct tsn_config config;
    enum tsn_err err;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0)
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    reader = tsn_reader_new(&config, config.topics.samples, (int32_t)partition, from ? from : TSN_OFFSET_BEGINNING, follow, &error);
    err = reader ? TSN_OK : error.code;
    if (!err && last)
        err = tsn_reader_seek(reader, tsn_reader_end(reader) > last ? tsn_reader_end(reader) - last : 0, &error);
    if (!err)
        err = dump(reader, count, points, follow, &error);
    if (err) {
        fprintf(stderr, "tocsin samples: %s\n", error.message);
        code = err == TSN_ERR_UNREACHABLE || err == TSN_ERR_TIMEOUT ? TSN_EXIT_UNREACHABLE : TSN_EXIT_FAILED;
    }
    tsn_reader_free(&reader);
    tsn_config_release(&config);
    return code;
}
