/*
 * rules: Prometheus rule files, templates, the alert instance machine, lint (L3).
 *
 * A rule set is what a list of files gave: immutable once loaded, shared by its readers for
 * as long as its owner keeps it. Errors name file, line and column. No I/O here: text comes in as
 * bytes; the callers (cli, app, replay) read files.
 */
#ifndef TOCSIN_RULES_H
#define TOCSIN_RULES_H

#include "tocsin/base.h"
#include "tocsin/model.h"
#include "tocsin/promql.h"

struct tsn_position {
    uint32_t line, column; /* 1-based; 0 unknown */
};

struct tsn_template; /* compiled Go template; rules/template */

struct tsn_rule_text {
    const char *name, *value; /* label or annotation */
    struct tsn_template *tmpl; /* NULL when the value holds no "{{" */
    struct tsn_position at;
};

struct tsn_rule {
    bool is_alert;
    const char *name; /* alert or record */
    struct tsn_query *query;
    const char *expr_text;
    int64_t for_ms, keep_firing_for_ms;
    struct tsn_rule_text *labels; /* rule's own over the group's; sorted by name */
    size_t label_count;
    struct tsn_rule_text *annotations; /* sorted by name */
    size_t annotation_count;
    struct tsn_position at, expr_at; /* of the rule's first key, of the expression's first character */
    bool expr_is_block;              /* written as a | or > block: expression columns shift by line */
};

struct tsn_group {
    const char *name, *file;
    int64_t interval_ms;     /* the file's, else the default given to the loader */
    bool interval_given;
    int64_t query_offset_ms; /* 0 if not given */
    int64_t limit;           /* 0: none */
    struct tsn_rule *rules;
    size_t rule_count;
    struct tsn_position at;
};

struct tsn_rule_set {
    struct tsn_arena arena;
    struct tsn_group *groups;
    size_t group_count;
    struct tsn_u128 hash; /* of the texts, names and settings */
};

/* One diagnostic of loading; the whole list is kept so that every error is shown at once. */
struct tsn_rule_error {
    char *file; /* owned */
    struct tsn_position at;
    char *message; /* owned */
};
struct tsn_rule_errors {
    struct tsn_rule_error *items;
    size_t len, cap;
};
void tsn_rule_errors_release(struct tsn_rule_errors *errors);

struct tsn_rule_source {
    const char *file; /* name for messages and identity */
    const char *text;
    size_t len;
};
struct tsn_rule_load_options {
    int64_t default_interval_ms; /* 0: 1 m */
};
/* All sources as one set, exactly as Prometheus loads rule files (strict keys; one document, more
 * are an error only of `check`). NULL and filled *errors if anything is wrong. */
struct tsn_rule_set *tsn_rule_set_load(const struct tsn_rule_source *sources, size_t count,
                                       const struct tsn_rule_load_options *options,
                                       struct tsn_rule_errors *errors);
void tsn_rule_set_free(struct tsn_rule_set **set);
/* How far before a step the samples of any of its expressions may lie: ranges, subqueries, offsets and the lookback
 * (0: 5 m) together. What a log must keep. */
int64_t tsn_rule_set_reach_ms(const struct tsn_rule_set *set, int64_t lookback_ms);

/* ---- templates ---------------------------------------------------------------------------- */

/* What a template may ask for while it runs. */
struct tsn_template_env {
    const struct tsn_labels *labels;          /* $labels */
    const struct tsn_labels *external_labels; /* $externalLabels; NULL: none */
    const char *external_url;                 /* $externalURL; NULL: "" */
    double value;                             /* $value */
    bool value_is_string;                     /* reserved for promtool's string results */
    int64_t now_ms;                           /* now, humanizeTimestamp's reference: event time */
    /* query "expr": evaluates at now_ms; NULL: queries are refused. */
    enum tsn_err (*query)(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error);
    void *query_arg;
};
/* Compiles the Go-template text with Prometheus's prefix of variables. NULL with *error. */
struct tsn_template *tsn_template_new(const char *name, const char *text, size_t len, struct tsn_error *error);
void tsn_template_free(struct tsn_template **tmpl);
/* Appends the expansion; on error appends nothing and fills *error (the caller writes
 * "<error expanding template: …>" as Prometheus does). Bounded output (1 MiB) and steps. */
enum tsn_err tsn_template_run(const struct tsn_template *tmpl, const struct tsn_template_env *env,
                              struct tsn_buf *out, struct tsn_error *error);
/* Label names that the template reads through $labels (literal uses); for lint. Names are
 * borrowed from the template. */
size_t tsn_template_label_uses(const struct tsn_template *tmpl, const char **names, size_t max);
/* True if it calls query (needs other series: the unit is global). */
bool tsn_template_uses_query(const struct tsn_template *tmpl);

/* ---- alert instances ---------------------------------------------------------------------- */

/* One active instance of an alert rule. Times are event time. */
struct tsn_alert_instance {
    struct tsn_labels *labels;      /* identity: with alertname; owned reference */
    struct tsn_labels *annotations; /* as last expanded */
    enum tsn_alert_state state;     /* INACTIVE while kept after resolving */
    double value;
    int64_t active_at_ms, fired_at_ms, resolved_at_ms, keep_firing_since_ms; /* TSN_TIME_NONE */
    uint64_t seen_step; /* internal: last evaluation that saw it */
};

/* All instances of one rule, in canonical order of labels. */
struct tsn_alert_rule_state {
    const struct tsn_rule *rule; /* borrowed; moves to the new set on reload */
    struct tsn_alert_instance *items;
    size_t len, cap;
    struct tsn_alert_instance *gone; /* left in the last step; kept for its *changes only */
    size_t gone_len, gone_cap;
    uint64_t step;
};

/* What one evaluation changed. */
struct tsn_alert_change {
    enum tsn_alert_state was, now; /* now = RESOLVED for a pending one that vanished, too */
    const struct tsn_alert_instance *instance; /* borrowed until the next evaluation */
};
struct tsn_alert_changes {
    struct tsn_alert_change *items;
    size_t len, cap;
};

void tsn_alert_rule_state_init(struct tsn_alert_rule_state *state, const struct tsn_rule *rule);
void tsn_alert_rule_state_release(struct tsn_alert_rule_state *state);

struct tsn_alert_eval_env {
    const struct tsn_labels *external_labels;
    const char *external_url;
    enum tsn_err (*query)(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error);
    void *query_arg;
    int64_t limit; /* the group's, 0: none; over it all instances are dropped and it is an error */
};
void tsn_alert_changes_release(struct tsn_alert_changes *changes);
/* Order of instances: canonical order of labels. Resolved ones stay 15 m, as in Prometheus. */
#define TSN_ALERT_RESOLVED_RETENTION_MS (15 * 60 * 1000)
/* One step of the life of a rule's alerts (reference/promql.md 30–37): `vector` is the
 * expression's result at ts_ms. Errors (duplicate label sets, limit) leave *changes empty; a
 * limit error has dropped the instances, and *changes then holds their ends. */
enum tsn_err tsn_alert_rule_step(struct tsn_alert_rule_state *state, int64_t ts_ms,
                                 const struct tsn_vector_sample *vector, size_t count,
                                 const struct tsn_alert_eval_env *env, struct tsn_alert_changes *changes,
                                 struct tsn_error *error);
/* active_at of an alert that a restarted Prometheus finds true again: it was active since was_ms and last seen at
 * seen_ms; now is now_ms, and it is active anew since anew_ms. Source: reference semantics 40. */
int64_t tsn_alert_restored_active_at(int64_t for_ms, int64_t was_ms, int64_t seen_ms, int64_t now_ms, int64_t anew_ms);
/* A recording rule's output: name and labels applied; duplicates are an error. The caller releases
 * with tsn_vector_samples_free. */
enum tsn_err tsn_record_rule_apply(const struct tsn_rule *rule, const struct tsn_vector_sample *vector,
                                   size_t count, struct tsn_vector_sample **out, size_t *out_count,
                                   struct tsn_error *error);

void tsn_vector_samples_free(struct tsn_vector_sample *vector, size_t count);

/* ---- lint --------------------------------------------------------------------------------- */

enum tsn_lint_severity { TSN_LINT_INFO, TSN_LINT_WARNING, TSN_LINT_ERROR };
struct tsn_lint_finding {
    const char *file; /* borrowed from the set */
    struct tsn_position at;
    const char *id;   /* static, e.g. "ratio-pinned-label" */
    const char *rule; /* borrowed */
    enum tsn_lint_severity severity;
    char *text, *suggestion; /* owned; suggestion may be NULL */
};
struct tsn_lint_findings {
    struct tsn_lint_finding *items;
    size_t len, cap;
};
struct tsn_policy; /* tocsin/policy.h */
struct tsn_lint_options {
    const char *shard_label;   /* NULL: "service" */
    int64_t sample_interval_ms; /* 0: 15 s */
    int64_t counter_ttl_ms;     /* 0: 2 h */
    /* Services and their objectives; NULL: thresholds are not compared with any. */
    const struct tsn_policy *policy;
    /* How many series a selector matches in a live or replayed sample; negative: unknown. NULL: cost
     * is not judged. cost_limit is in samples held by a window; 0: 10,000,000. */
    int64_t (*series_count)(void *arg, const struct tsn_matcher *matchers, size_t count);
    void *series_count_arg;
    int64_t cost_limit;
};
/* Findings in order of file, line, column, id; owned by the caller. Pure; no limit but the set's. */
void tsn_lint_run(const struct tsn_rule_set *set, const struct tsn_lint_options *options,
                  struct tsn_lint_findings *findings);
void tsn_lint_findings_release(struct tsn_lint_findings *findings);

#endif
