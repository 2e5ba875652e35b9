/*
 * rule_test: unit tests of rule files in promtool's format (L3).
 *
 * A test file is read strictly (unknown and repeated keys are errors with their line), then each test
 * runs the rule set over its own series with the evaluator of rule_eval.h: ticks at start, start +
 * evaluation_interval, … up to the greatest eval_time; alerts are checked at the last tick at or
 * before their eval_time, expressions after the last tick. Verdicts are those of promtool 3.16.
 *
 * No I/O: the caller reads files, resolves the globs of rule_files and loads the set.
 * Limits: those of YAML trees and series notation, TSN_RULE_TEST_MAX_TICKS ticks a test.
 */
#ifndef TOCSIN_RULE_TEST_H
#define TOCSIN_RULE_TEST_H

#include "tocsin/rules.h"

/* Two years of minutes; a tick evaluates every rule. */
#define TSN_RULE_TEST_MAX_TICKS 1050000

/* A label as written in the file; values may be empty, which no label set holds. */
struct tsn_test_label {
    const char *name, *value;
};
struct tsn_test_labels {
    struct tsn_test_label *items; /* sorted by name */
    size_t len, cap;
};

struct tsn_test_series {
    const char *series, *values;
    struct tsn_position at;
};
struct tsn_expected_alert {
    struct tsn_test_labels labels, annotations; /* labels include alertname */
};
struct tsn_alert_test {
    int64_t eval_time_ms;
    const char *alertname;
    struct tsn_expected_alert *expected;
    size_t expected_count, expected_cap;
    struct tsn_position at;
};
struct tsn_expected_sample {
    const char *labels;
    double value;
    bool histogram; /* written as a native histogram: no float sample equals it */
};
struct tsn_expr_test {
    int64_t eval_time_ms;
    const char *expr;
    struct tsn_expected_sample *expected;
    size_t expected_count, expected_cap;
    struct tsn_position at;
};

struct tsn_rule_test {
    const char *name;  /* as written; NULL if not */
    const char *title; /* name, or "unnamed#i" */
    int64_t interval_ms, start_ms;
    struct tsn_test_series *series;
    size_t series_count, series_cap;
    struct tsn_alert_test *alerts;
    size_t alert_count, alert_cap;
    struct tsn_expr_test *exprs;
    size_t expr_count, expr_cap;
    struct tsn_test_labels external_labels;
    const char *external_url;
    struct tsn_position at;
};

struct tsn_rule_test_file {
    struct tsn_arena arena;
    const char *file;
    const char **rule_files; /* patterns, relative to the test file's folder */
    size_t rule_file_count, rule_file_cap;
    const char **group_order;
    size_t group_order_count, group_order_cap;
    int64_t evaluation_interval_ms;
    bool fuzzy_compare;
    bool naive; /* for the caller to set: by the naive evaluator instead of the plans that rules run on live */
    struct tsn_rule_test *tests;
    size_t test_count, test_cap;
};

/* NULL and filled *errors if anything is wrong. */
struct tsn_rule_test_file *tsn_rule_test_parse(const struct tsn_rule_source *source, struct tsn_rule_errors *errors);
void tsn_rule_test_file_free(struct tsn_rule_test_file **file);

/* What failed in one test: texts ready for a terminal, several lines each. */
struct tsn_test_failures {
    char **items; /* owned */
    size_t len, cap;
};
/* Runs one test over the set; true if nothing failed. */
bool tsn_rule_test_run(const struct tsn_rule_test_file *file, const struct tsn_rule_test *test,
                       const struct tsn_rule_set *set, struct tsn_test_failures *failures);
void tsn_test_failures_release(struct tsn_test_failures *failures);

#endif
