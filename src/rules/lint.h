/*
 * lint: what is legal and yet wrong in rules; shared by src/rules/lint*.c only.
 *
 *   lint.c         the run, findings, positions, what holds between rules
 *   lint_expr.c    label flow, value ranges, thresholds: what an expression can give
 *   lint_value.c   findings on values: ratios, rates, thresholds, windows
 *   lint_rule.c    findings on a rule as a whole: annotations, absence, objectives
 *   lint_shard.c   rules that no one shard can answer
 *
 * Precision before recall: a finding must hold whatever the data, or name the text it rests on.
 */
#ifndef TSN_RULES_LINT_H
#define TSN_RULES_LINT_H

#include "tocsin/rules.h"

struct lint {
    const struct tsn_rule_set *set;
    struct tsn_lint_options opt;
    struct tsn_lint_findings *findings;
    const struct tsn_group *group; /* being looked at, and its rule */
    const struct tsn_rule *rule;
};

/* Adds a finding at `at` (NULL: the rule itself). `suggestion` is taken over; may be NULL. */
void lint_add(struct lint *l, const struct tsn_expr *at, const char *id, enum tsn_lint_severity severity,
              char *suggestion, const char *fmt, ...) TSN_PRINTF(6, 7);
void lint_add_at(struct lint *l, struct tsn_position at, const char *id, enum tsn_lint_severity severity,
                 char *suggestion, const char *fmt, ...) TSN_PRINTF(6, 7);
char *lint_text(const char *fmt, ...) TSN_PRINTF(1, 2);
/* Canonical text of an expression; the caller frees it. */
char *lint_print(const struct tsn_expr *e);

void lint_values(struct lint *l);
void lint_rule(struct lint *l);
void lint_shards(struct lint *l); /* of l->rule */

/* ---- what an expression can give ----------------------------------------------------------- */

/* Whether elements of e can carry the label; *dropper (may be NULL) says who dropped it. */
bool lint_may_have(const struct lint *l, const struct tsn_expr *e, const char *label, const struct tsn_expr **dropper);

struct lint_range {
    double lo, hi;
};
struct lint_range lint_range_of(const struct tsn_expr *e);
/* A constant expression's value. */
bool lint_fold(const struct tsn_expr *e, double *value);

/* vector OP constant, found through parentheses, and, or, unless, and comparisons' own operands. */
struct lint_threshold {
    const struct tsn_expr *cmp, *vector;
    enum tsn_binop op; /* turned so that the vector is on the left */
    double limit;
};
#define LINT_MAX_THRESHOLDS 32
size_t lint_thresholds(const struct tsn_expr *root, struct lint_threshold out[LINT_MAX_THRESHOLDS]);

bool lint_is_call(const struct tsn_expr *e, const char *name);
/* rate, increase, irate, delta, idelta, deriv, predict_linear … over a range. */
bool lint_is_rate(const struct tsn_expr *e); /* rate, irate, increase */
/* Removes parentheses, aggregations and arithmetic with constants. */
const struct tsn_expr *lint_core(const struct tsn_expr *e, bool *aggregated, bool *scaled);
/* The only selector below e, or NULL if there are none or several. */
const struct tsn_expr *lint_only_selector(const struct tsn_expr *e);
/* The selector's metric name, "" if it has none by "=". */
const char *lint_metric(const struct tsn_expr *selector);
const struct tsn_matcher *lint_matcher(const struct tsn_expr *selector, const char *label);
bool lint_ends_with(const char *text, const char *suffix);

#endif
