/*
 * Goal: no text breaks the reader of rule-test files, and a test that reads runs to an end.
 * Method: libFuzzer target; the corpus holds tests of every construct. What reads is run over a small
 * set of rules, unless it asks for more steps than a fuzzer has time for.
 */
#include "tocsin/rule_test.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules[] = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: sum by (a) (x)\n"
                            "  - alert: A\n    expr: r > 1\n    for: 1m\n    labels: { l: '{{ $value }}' }\n"
                            "    annotations: { s: 'of {{ $labels.a }} {{ $externalLabels.e }}' }\n";
enum { MAX_STEPS = 200, MAX_TEXT = 400 };

static bool is_small(const struct tsn_rule_test_file *file, const struct tsn_rule_test *test)
{
    int64_t last_ms = 0, step_ms = file->evaluation_interval_ms;

    for (size_t i = 0; i < test->alert_count; i++)
        last_ms = test->alerts[i].eval_time_ms > last_ms ? test->alerts[i].eval_time_ms : last_ms;
    for (size_t i = 0; i < test->expr_count; i++)
        last_ms = test->exprs[i].eval_time_ms > last_ms ? test->exprs[i].eval_time_ms : last_ms;
    for (size_t i = 0; i < test->series_count; i++)
        if (strlen(test->series[i].values) > MAX_TEXT || strpbrk(test->series[i].values, "x")) {
            const char *x = strchr(test->series[i].values, 'x');

            if (!x || strlen(x) > 4) /* x999 at the most */
                return false;
        }
    return step_ms > 0 && last_ms / step_ms <= MAX_STEPS;
}

static void run(const struct tsn_rule_test_file *file)
{
    struct tsn_rule_source source = { "rules.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, NULL, &errors);

    TSN_ASSERT(set);
    for (size_t i = 0; i < file->test_count; i++) {
        struct tsn_test_failures failures = { 0 };

        if (!is_small(file, &file->tests[i]))
            continue;
        TSN_ASSERT(tsn_rule_test_run(file, &file->tests[i], set, &failures) == (failures.len == 0));
        tsn_test_failures_release(&failures);
    }
    tsn_rule_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_rule_source source = { "fuzz.yaml", (const char *)data, size };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_test_file *file = tsn_rule_test_parse(&source, &errors);

    if (file)
        run(file);
    else
        TSN_ASSERT(errors.len && errors.items[0].message[0]);
    tsn_rule_errors_release(&errors);
    tsn_rule_test_file_free(&file);
    return 0;
}
