/*
 * fuzz_apply: a record of `samples`, whatever it says, between two of ours: what decodes is applied, steps run, the checkpoint is written, and a
 * second DETECT takes over from it and reads the records again. Times at either end of 64 bits, references to series that were never announced,
 * declarations of a million partitions: nothing may crash, nor take longer than its size explains.
 */
#include "tocsin/codec.h"
#include "tocsin/detect.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define T0 INT64_C(1700000000000)
enum { SETS = 3 };
#define TEXT(text) ((char *)(uintptr_t)(text))

static const char rules[] = "groups: [{name: all, interval: 5s, rules: ["
                            "{record: 'svc:err:rate1m', expr: 'sum by (service) (rate(err_total[1m]))'},"
                            "{alert: Errors, expr: 'svc:err:rate1m > 0.1', for: 10s},"
                            "{alert: Hot, expr: 'max_over_time(temp[2h]) > 5'},"
                            "{alert: Any, expr: 'count by (service) ({__name__=~\".+\"}) > 2', keep_firing_for: 10s}]},"
                            "{name: far, interval: 1m, rules: [{alert: Gone, expr: 'absent(up)'},"
                            "{alert: Lines, expr: 'log_template_messages_total > 0'}]}]";

static struct tsn_detect *open_detect(void)
{
    struct tsn_rule_source source = { "rules.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_detect_options options = { .partition_count = 1, .max_series = 1000, .fill_job = true };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (int64_t i = 0; i < SETS; i++)
        tsn_detect_add_rule_set(d, i, tsn_rule_set_load(&source, 1, NULL, &errors));
    return d;
}

/* The batch of a minute: both inputs stand at its end. */
static void apply_ours(struct tsn_detect *d, int64_t minute, int64_t offset, struct tsn_detect_output *out)
{
    int64_t end_ms = T0 + (minute + 1) * 60000;
    struct tsn_batch_input inputs[] = { { .topic = TEXT("m"), .watermark_ms = end_ms }, { .topic = TEXT("l"), .watermark_ms = end_ms } };
    struct tsn_input_decl decls[] = { { .topic = TEXT("m"), .partition_count = 1, .type = TEXT("metrics"), .any_name = true },
                                      { .topic = TEXT("l"), .partition_count = 1, .type = TEXT("logs"), .any_name = true } };
    struct tsn_batch_signature signatures[] = { { 1, TEXT("a"), TEXT("ERROR"), TEXT("disk <*> full"), TEXT("disk 1 full"), TEXT("l"), 0, 7, end_ms - 9000 } };
    struct tsn_batch_signature_count counts[] = { { 1, TEXT("a"), TEXT("ERROR"), end_ms - 9000, 3 } };
    struct tsn_batch batch = { .format = 1, .writer = 9, .seq = minute + 1, .wall_ms = end_ms, .inputs = inputs, .input_count = 2, .decls = decls,
                               .decl_count = 2, .signatures = signatures, .signature_count = 1, .signature_counts = counts,
                               .signature_count_count = 1 };

    tsn_detect_apply(d, &batch, offset, out);
}

static void apply_theirs(struct tsn_detect *d, const uint8_t *data, size_t size, int64_t offset, struct tsn_detect_output *out)
{
    struct tsn_batch batch;

    if (tsn_codec_batch_decode(data, size, &batch, NULL) != TSN_OK)
        return;
    if (batch.rule_set < SETS) /* the shell does not apply what names a set that topic rules does not hold */
        tsn_detect_apply(d, &batch, offset, out);
    tsn_batch_release(&batch);
}

/* Records 0, 1 and 2 from `from` on. */
static void play(struct tsn_detect *d, const uint8_t *data, size_t size, int64_t from, struct tsn_detect_output *out)
{
    if (from <= 0)
        apply_ours(d, 0, 0, out);
    if (from <= 1)
        apply_theirs(d, data, size, 1, out);
    if (from <= 2)
        apply_ours(d, 1, 2, out);
}

static void take_over(const struct tsn_detect_output *state, const uint8_t *data, size_t size)
{
    struct tsn_detect *d = open_detect();
    struct tsn_detect_output out = { 0 };
    int64_t from, next;
    struct tsn_error error = { .message = "" };
    bool ok = true;

    for (size_t i = 0; i < state->state.len && ok; i++) {
        const struct tsn_state_record *r = &state->state.items[i];

        ok = !tsn_detect_restore(d, r->key, strlen(r->key), r->value, r->value_len, &error);
    }
    ok = ok && !tsn_detect_restore_done(d, &from, &next, &error);
    if (!ok)
        tsn_log(TSN_LOG_ERROR, "fuzz", "what was written cannot be taken over", "error=\"%s\"", error.message);
    TSN_ASSERT(ok && next == 3 && from <= 3);
    play(d, data, size, from, &out);
    TSN_ASSERT(!out.transitions.len); /* a refill gives none */
    apply_ours(d, 2, 3, &out);
    tsn_detect_checkpoint(d, 4, &out);
    tsn_detect_output_release(&out);
    tsn_detect_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_detect *d = open_detect();
    struct tsn_detect_output out = { 0 };

    play(d, data, size, 0, &out);
    tsn_detect_checkpoint(d, 3, &out);
    take_over(&out, data, size);
    tsn_detect_output_release(&out);
    tsn_detect_free(&d);
    return 0;
}
