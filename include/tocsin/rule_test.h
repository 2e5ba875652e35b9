/*
 * rule_test: unit tests of rules in promtool's format, run over the naive evaluator (L3).
 *
 * Text in, verdicts out; reading files is the caller's, through a callback. Source: promtool 3's
 * `test rules`.
 */
#ifndef TOCSIN_RULE_TEST_H
#define TOCSIN_RULE_TEST_H

#include "tocsin/rules.h"

struct tsn_rule_test_options {
    /* Appends the rule files that a pattern of `rule_files` names, relative to the test file. False with *error. */
    bool (*find_rules)(void *arg, const char *pattern, struct tsn_rule_source **sources, size_t *count,
                       struct tsn_error *error);
    void *arg;
};

/* What went wrong in one check; `got` and `want` are lines of text. Owned. */
struct tsn_rule_test_failure {
    char *test, *check, *text;
};
struct tsn_rule_test_report {
    size_t checks; /* alert and expression checks run */
    TSN_VEC(struct tsn_rule_test_failure) failures;
};
/* Runs every test of a file. An error means that the file or its rules are invalid. */
enum tsn_err tsn_rule_test_run(const char *text, size_t len, const struct tsn_rule_test_options *options,
                               struct tsn_rule_test_report *report, struct tsn_error *error);
void tsn_rule_test_report_release(struct tsn_rule_test_report *report);

#endif
