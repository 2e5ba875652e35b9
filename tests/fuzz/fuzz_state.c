/*
 * fuzz_state: what lies in topic `state`, a record a line (key, tab, value), through restore, refill and the next
 * checkpoint. Damaged state is an error with a word; it is never a crash, and never a takeover that hangs.
 */
#include "tocsin/detect.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules[] = "groups: [{name: counters, interval: 1h, rules: ["
                            "{record: 'svc:err:rate1m', expr: 'sum by (service) (rate(err_total[1m]))'},"
                            "{alert: Errors, expr: 'svc:err:rate1m > 0.2', for: 30s},"
                            "{alert: Hot, expr: 'max_over_time(temp[2m]) > 50'}]},"
                            "{name: logs, interval: 1m, rules: [{alert: Lines, expr: 'log_template_messages_total > 0'}]}]";

static struct tsn_detect *open_detect(void)
{
    struct tsn_rule_source source = { "rules.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_detect_options options = { .partition_count = 1, .max_series = 10000 };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (int64_t i = 0; i < 3; i++)
        tsn_detect_add_rule_set(d, i, tsn_rule_set_load(&source, 1, NULL, &errors));
    return d;
}

static bool restore_lines(struct tsn_detect *d, const char *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *line = data + at, *end = memchr(line, '\n', size - at), *tab;
        size_t len = end ? (size_t)(end - line) : size - at;

        at += len + 1;
        tab = memchr(line, '\t', len);
        if (!tab)
            continue;
        if (tsn_detect_restore(d, line, (size_t)(tab - line), tab + 1, len - (size_t)(tab - line) - 1, NULL))
            return false;
    }
    return true;
}

#define TEXT(text) ((char *)(uintptr_t)(text))

/* One batch behind the checkpoint: the refill ends, a step may run, and lines are mined on top of what was restored. */
static void go_on(struct tsn_detect *d, int64_t offset)
{
    struct tsn_batch_input inputs[] = { { .topic = TEXT("m"), .watermark_ms = INT64_C(1700000640000) },
                                        { .topic = TEXT("l"), .watermark_ms = INT64_C(1700000640000) } };
    struct tsn_batch_signature signatures[] = {
        { 1, TEXT("a"), TEXT("INFO"), TEXT("user mallory in by root"), TEXT("user mallory in by root"), TEXT("l"), 0, 7,
          INT64_C(1700000500000) },
        { 2, TEXT("b"), TEXT("ERROR"), TEXT("disk empty"), TEXT("disk empty"), TEXT("l"), 0, 8, INT64_C(1700000501000) },
    };
    struct tsn_batch_signature_count counts[] = { { 1, TEXT("a"), TEXT("INFO"), INT64_C(1700000500000), 3 },
                                                  { 2, TEXT("b"), TEXT("ERROR"), INT64_C(1700000501000), 2 } };
    struct tsn_batch batch = { .format = 1, .writer = 9, .seq = 1, .wall_ms = INT64_C(1700000640000), .inputs = inputs,
                               .input_count = 2, .signatures = signatures, .signature_count = 2, .signature_counts = counts,
                               .signature_count_count = 2 };
    struct tsn_detect_output out = { 0 };

    tsn_detect_apply(d, &batch, offset, &out);
    tsn_detect_checkpoint(d, offset + 1, &out);
    tsn_detect_output_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_detect *d = open_detect();
    int64_t from, next;

    if (restore_lines(d, (const char *)data, size) && !tsn_detect_restore_done(d, &from, &next, NULL) && next < INT64_MAX)
        go_on(d, next);
    tsn_detect_free(&d);
    return 0;
}
