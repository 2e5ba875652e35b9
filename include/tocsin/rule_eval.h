/*
 * rule_eval: a rule set over stored samples, one step at a time (L3).
 *
 * Expressions run as plans over a store in memory, as they do live (`test rules`), or are read anew by
 * the naive evaluator (the sequential reference of tests, which is to share nothing with what it
 * judges). What rules give goes back into the storage as Prometheus does it: recorded series, ALERTS
 * and ALERTS_FOR_STATE, stale markers for what a rule gave last time and not this time. DETECT shares
 * the plans and the alert instance machine, not this loop.
 *
 * No clock, no I/O. One thread at a time. Everything is in a fixed order: groups as the caller
 * steps them, rules in file order, series in canonical order of labels.
 */
#ifndef TOCSIN_RULE_EVAL_H
#define TOCSIN_RULE_EVAL_H

#include "tocsin/base.h"
#include "tocsin/model.h"
#include "tocsin/plan.h"
#include "tocsin/rules.h"

/* ---- the evaluator ------------------------------------------------------------------------ */

struct tsn_rule_eval_options {
    struct tsn_storage storage; /* where expressions read */
    /* The store behind `storage`: expressions run as plans over it. NULL: the naive evaluator. Borrowed. */
    struct tsn_memstore *stream;
    /* Where results go; it must be visible to `storage` at once. As tsn_memstore_append. */
    enum tsn_err (*append)(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value,
                           struct tsn_error *error);
    void *append_arg;
    /* Called after each alert rule's step that changed something; may be NULL. Borrowed arguments. */
    void (*on_changes)(void *arg, size_t group, size_t rule, int64_t ts_ms,
                       const struct tsn_alert_changes *changes);
    void *changes_arg;
    struct tsn_labels *external_labels; /* borrowed for the evaluator's life; NULL: none */
    const char *external_url;           /* borrowed; NULL: "" */
    struct tsn_eval_options eval;       /* lookback, default subquery step; start and end are set here */
};

struct tsn_rule_evaluator;
/* Borrows the set. */
struct tsn_rule_evaluator *tsn_rule_evaluator_new(const struct tsn_rule_set *set,
                                                  const struct tsn_rule_eval_options *options);
void tsn_rule_evaluator_free(struct tsn_rule_evaluator **evaluator);
/* One tick of one group at ts_ms: its rules in file order. Errors of rules are kept per rule (see
 * below) and stop nothing, as in Prometheus. Returns the number of rules that failed. */
size_t tsn_rule_evaluator_step(struct tsn_rule_evaluator *evaluator, size_t group, int64_t ts_ms);
/* The error of the rule's last step, NULL if it went well. Borrowed until the next step. */
const char *tsn_rule_evaluator_error(const struct tsn_rule_evaluator *evaluator, size_t group, size_t rule);
/* The alert instances of a rule; NULL for a recording rule. Borrowed until the next step. */
const struct tsn_alert_rule_state *tsn_rule_evaluator_alerts(const struct tsn_rule_evaluator *evaluator,
                                                             size_t group, size_t rule);
/* What its plans are made of and did; all zero without them. */
struct tsn_plans_stats tsn_rule_evaluator_stats(const struct tsn_rule_evaluator *evaluator);
/* Goes over to another set (Prometheus's reload, reference semantics 41): groups are matched by
 * file and name, rules by name and labels, in order among equals; matched rules keep their
 * instances and series. Series of rules that are gone get a stale marker at the next step of their
 * group, or at once (at ts_ms) when the group is gone too. The old set may be freed afterwards. */
void tsn_rule_evaluator_reload(struct tsn_rule_evaluator *evaluator, const struct tsn_rule_set *set,
                               int64_t ts_ms);

/* The ALERTS and ALERTS_FOR_STATE label sets of an instance; fresh references. */
struct tsn_labels *tsn_alert_series_labels(const struct tsn_alert_instance *instance);
struct tsn_labels *tsn_alert_for_state_labels(const struct tsn_alert_instance *instance);
/* The expression's value as Prometheus feeds a rule: a vector as it is, a scalar as one element {}. */
enum tsn_err tsn_rule_vector_of(struct tsn_result *result, int64_t ts_ms, struct tsn_error *error);

#endif
