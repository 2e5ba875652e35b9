/*
 * Goal: no text breaks the loader of rule files; what it refuses has a place and a reason; what it
 * accepts can be linted, placed on a shard, and stepped.
 * Method: libFuzzer target; the corpus holds files of every construct. What loads runs three steps over
 * a few samples, as `test rules` would run it, and every lint finding must be printable.
 */
#include "tocsin/rule_eval.h"
#include "tocsin/shard.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tsn_err append(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value, struct tsn_error *error)
{
    return tsn_memstore_append(arg, labels, ts_ms, value, error);
}

static void fill(struct tsn_memstore *store)
{
    static const char *const names[] = { "up", "x", "d_bucket" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++) {
        struct tsn_labels *labels = tsn_labels_of("__name__", names[i], "service", "a", "le", "+Inf", NULL);

        for (int64_t t = 0; t < 6; t++)
            tsn_memstore_add(store, labels, t * 30000, (double)(t * t) - 5);
        tsn_labels_unref(labels);
    }
}

static void run(const struct tsn_rule_set *set)
{
    struct tsn_memstore *store = tsn_memstore_new();
    struct tsn_rule_eval_options options = { .storage = tsn_memstore_storage(store), .append = append,
                                             .append_arg = store, .eval = { .max_samples = 20000 } };
    struct tsn_rule_evaluator *evaluator;

    fill(store);
    evaluator = tsn_rule_evaluator_new(set, &options);
    for (int64_t t = 1; t <= 3; t++)
        for (size_t g = 0; g < set->group_count; g++)
            (void)tsn_rule_evaluator_step(evaluator, g, t * 60000);
    tsn_rule_evaluator_free(&evaluator);
    tsn_memstore_free(&store);
}

static void lint(const struct tsn_rule_set *set)
{
    struct tsn_lint_findings findings = { 0 };

    tsn_lint_run(set, NULL, &findings);
    for (size_t i = 0; i < findings.len; i++)
        TSN_ASSERT(findings.items[i].id && findings.items[i].text[0] && findings.items[i].file);
    tsn_lint_findings_release(&findings);
    (void)tsn_rule_set_reach_ms(set, 0);
    for (size_t g = 0; g < set->group_count; g++)
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            const char *why = NULL;

            TSN_ASSERT(tsn_rule_streamable(&set->groups[g].rules[r], &why) || why);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_rule_source source = { "fuzz.yaml", (const char *)data, size };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, NULL, &errors);

    if (set) {
        lint(set);
        run(set);
    } else {
        TSN_ASSERT(errors.len);
        for (size_t i = 0; i < errors.len; i++)
            TSN_ASSERT(errors.items[i].message[0] && errors.items[i].file);
    }
    tsn_rule_errors_release(&errors);
    tsn_rule_set_free(&set);
    return 0;
}
