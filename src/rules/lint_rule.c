/*
 * lint_rule: findings on a rule as a whole: its annotations, what happens when data is missing, whether
 * it can be sharded, and whether its thresholds fit the objectives of the service catalogue.
 */
#include "rules/lint.h"

#include "tocsin/policy.h"

#include <ctype.h>
#include <math.h>

#define MAX_USES 64

/* ---- annotations -------------------------------------------------------------------------- */

static bool rule_label(const struct tsn_rule *r, const char *name)
{
    for (size_t i = 0; i < r->label_count; i++)
        if (!strcmp(r->labels[i].name, name))
            return true;
    return false;
}

static void missing_label(struct lint *l, const struct tsn_rule_text *text, const char *label,
                          const struct tsn_expr *dropper)
{
    bool by = dropper && dropper->kind == TSN_EXPR_AGGREGATE;

    if (!strcmp(label, "alertname") || rule_label(l->rule, label))
        lint_add_at(l, text->at, "annotation-label-missing", TSN_LINT_WARNING,
                    lint_text("write the value itself"),
                    "`%s` uses $labels.%s, but $labels holds the labels of the expression's result, not the rule's own: "
                    "it is empty", text->name, label);
    else if (by)
        lint_add_at(l, text->at, "annotation-label-dropped", TSN_LINT_WARNING,
                    lint_text(dropper->u.aggregate.without ? "leave `%s` out of without (…)" : "add `%s` to by (…)", label),
                    "`%s` uses $labels.%s, which %s drops: it is empty", text->name, label,
                    tsn_aggop_text(dropper->u.aggregate.op));
    else
        lint_add_at(l, text->at, "annotation-label-missing", TSN_LINT_WARNING, NULL,
                    "`%s` uses $labels.%s, which the expression's result cannot have: it is empty", text->name, label);
}

static void check_uses(struct lint *l, const struct tsn_rule_text *texts, size_t count)
{
    const struct tsn_expr *dropper;
    const char *uses[MAX_USES];

    for (size_t i = 0; i < count; i++) {
        size_t n = texts[i].tmpl ? tsn_template_label_uses(texts[i].tmpl, uses, MAX_USES) : 0;

        for (size_t k = 0; k < n && k < MAX_USES; k++)
            if (!lint_may_have(l, l->rule->query->root, uses[k], &dropper))
                missing_label(l, &texts[i], uses[k], dropper);
    }
}

/* ---- per second or per window -------------------------------------------------------------- */

static bool says(const char *text, const char *phrase)
{
    size_t n = strlen(phrase);

    for (; *text; text++) {
        size_t i = 0;

        while (i < n && tolower((unsigned char)text[i]) == phrase[i])
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* The annotation that shows $value as a number per hour, per minute, "in the last hour". */
static const struct tsn_rule_text *speaks_of_a_window(const struct tsn_rule *r)
{
    static const char *const windows[] = { "in the last", "during the last", "over the last", "in the past", "per hour",
                                           "per minute", "an hour", "a minute" };
    static const char *const not[] = { "per second", "/s", "humanizepercentage", "a second", "%" };

    for (size_t i = 0; i < r->annotation_count; i++) {
        const char *text = r->annotations[i].value;
        bool window = false, other = false;

        for (size_t k = 0; k < TSN_ARRAY_LEN(windows); k++)
            window |= says(text, windows[k]);
        for (size_t k = 0; k < TSN_ARRAY_LEN(not); k++)
            other |= says(text, not[k]);
        if (window && !other && says(text, "$value"))
            return &r->annotations[i];
    }
    return NULL;
}

static void check_rate_against_count(struct lint *l, const struct lint_threshold *t)
{
    bool aggregated = false, scaled = false;
    const struct tsn_expr *core = lint_core(t->vector, &aggregated, &scaled);
    const struct tsn_rule_text *text = speaks_of_a_window(l->rule);
    char window[TSN_DURATION_TEXT] = "";
    const struct tsn_expr *range;
    char *inner;

    if (scaled || !text || !(lint_is_call(core, "rate") || lint_is_call(core, "irate")) || t->limit == 0)
        return;
    range = tsn_expr_unwrap(core->u.call.args[0]);
    if (range->kind != TSN_EXPR_MATRIX)
        return;
    inner = lint_print(range);
    tsn_format_duration(window, range->u.matrix.range_ms);
    lint_add(l, t->cmp, "rate-against-count", TSN_LINT_WARNING, lint_text("increase(%s)", inner),
             "%s gives a number per second, while `%s` speaks of a number per window (%s)",
             tsn_function_name(core->u.call.func), text->name, window);
    tsn_free(inner);
}

/* ---- one series against a threshold meant for the service ------------------------------------ */

static bool names_one_series(const struct lint *l)
{
    static const char *const coarse[] = { "job", "namespace", "cluster", "environment", "env", "site", "region" };
    const struct tsn_rule *r = l->rule;
    const char *uses[MAX_USES];

    for (size_t i = 0; i < r->annotation_count + r->label_count; i++) {
        const struct tsn_rule_text *text = i < r->annotation_count ? &r->annotations[i] : &r->labels[i - r->annotation_count];
        size_t n = text->tmpl ? tsn_template_label_uses(text->tmpl, uses, MAX_USES) : 0;

        if (says(text->value, "printf \"%v\" $labels") || says(text->value, "{{ $labels }}"))
            return true;
        for (size_t k = 0; k < n && k < MAX_USES; k++) {
            bool is_coarse = !strcmp(uses[k], l->opt.shard_label);

            for (size_t c = 0; c < TSN_ARRAY_LEN(coarse); c++)
                is_coarse |= !strcmp(uses[k], coarse[c]);
            if (!is_coarse)
                return true;
        }
    }
    return false;
}

static void check_aggregation(struct lint *l, const struct lint_threshold *t)
{
    bool aggregated = false, scaled = false;
    const struct tsn_expr *core = lint_core(t->vector, &aggregated, &scaled), *inner = core;
    bool quantile = lint_is_call(core, "histogram_quantile");
    char *text;

    if (quantile) {
        inner = tsn_expr_unwrap(core->u.call.args[1]);
        aggregated |= inner->kind == TSN_EXPR_AGGREGATE;
    }
    /* More than none of one series is more than none of the sum. */
    if (aggregated || !lint_is_rate(inner) || inner->u.call.args[0]->kind != TSN_EXPR_MATRIX ||
        ((t->op == TSN_OP_GT || t->op == TSN_OP_GE) && t->limit == 0) || names_one_series(l))
        return;
    text = lint_print(inner);
    lint_add(l, core, quantile ? "quantile-per-series" : "threshold-per-series", TSN_LINT_WARNING,
             lint_text(quantile ? "sum by (le, %s) (%s)" : "sum by (%s) (%s)", l->opt.shard_label, text),
             "the threshold is held against every series alone (instance, endpoint, …), and nothing in the alert's text "
             "tells which one: it speaks of the %s", l->opt.shard_label);
    tsn_free(text);
}

/* ---- absence ------------------------------------------------------------------------------ */

static bool find_absence(const struct tsn_expr *e, void *arg)
{
    bool *found = arg;

    *found |= (e->kind == TSN_EXPR_BINARY && e->u.binary.op == TSN_OP_OR) || lint_is_call(e, "absent") ||
              lint_is_call(e, "absent_over_time");
    return !*found;
}

static bool has_absence(const struct tsn_expr *e)
{
    bool found = false;

    tsn_expr_walk(e, find_absence, &found);
    return found;
}

/* Another alert of the set that watches the metric's absence. */
static bool absence_elsewhere(const struct lint *l, const char *metric)
{
    for (size_t g = 0; g < l->set->group_count; g++) {
        for (size_t r = 0; r < l->set->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &l->set->groups[g].rules[r];

            if (rule->is_alert && has_absence(rule->query->root) && strstr(rule->expr_text, metric))
                return true;
        }
    }
    return false;
}

static bool is_activity(const struct tsn_expr *core)
{
    return lint_is_rate(core) || lint_is_call(core, "changes") || lint_is_call(core, "count_over_time") ||
           (core->kind == TSN_EXPR_AGGREGATE && core->u.aggregate.op == TSN_AGG_COUNT);
}

/* The comparison is the alert itself, not one condition of several. */
static bool decides(const struct tsn_expr *root, const struct tsn_expr *cmp)
{
    return tsn_expr_unwrap(root) == cmp;
}

static void check_absence(struct lint *l, const struct lint_threshold *t)
{
    bool aggregated = false, scaled = false, low = t->op == TSN_OP_LT || t->op == TSN_OP_LE;
    const struct tsn_expr *core = lint_core(t->vector, &aggregated, &scaled), *selector = lint_only_selector(core);

    low |= t->op == TSN_OP_EQ && t->limit == 0 && lint_is_rate(core);
    if (!low || !decides(l->rule->query->root, t->cmp) || !is_activity(core) || has_absence(l->rule->query->root) || !selector ||
        absence_elsewhere(l, lint_metric(selector)))
        return;
    lint_add(l, t->cmp, "no-absence-clause", TSN_LINT_WARNING,
             lint_text("(… or 0 * sum by (%s) (up)) %s …", l->opt.shard_label, tsn_binop_text(t->op)),
             "when the series stop coming there is nothing to compare, so the alert meant for too little is silent at "
             "nothing at all");
}

/* ---- objectives --------------------------------------------------------------------------- */

static const struct tsn_service *pinned_service(const struct lint *l, const struct tsn_expr *selector)
{
    const struct tsn_matcher *m = lint_matcher(selector, l->opt.shard_label);

    if (!m)
        m = lint_matcher(selector, "job");
    return m && m->op == TSN_MATCH_EQ ? tsn_policy_service(l->opt.policy, m->value) : NULL;
}

/* What the alert promises must be what the service promises: one number for services with several is
 * wrong for all but one. */
static void check_latency(struct lint *l, const struct lint_threshold *t)
{
    bool aggregated = false, scaled = false;
    const struct tsn_expr *core = lint_core(t->vector, &aggregated, &scaled), *selector;
    const struct tsn_service *pinned;
    struct tsn_buf wanted = TSN_BUF_INIT;
    size_t differ = 0, services = 0;
    double phi;

    if (!lint_is_call(core, "histogram_quantile") || scaled || !lint_fold(core->u.call.args[0], &phi) ||
        (phi != 0.95 && phi != 0.99) || t->op < TSN_OP_GT)
        return;
    selector = lint_only_selector(core);
    if (!selector || !strstr(lint_metric(selector), "request_duration_seconds"))
        return;
    pinned = pinned_service(l, selector);
    for (size_t i = 0; i < l->opt.policy->services.len; i++) {
        const struct tsn_service *s = &l->opt.policy->services.items[i];
        int64_t objective = phi == 0.95 ? s->latency_p95_ms : s->latency_p99_ms;

        if (objective < 0 || (pinned && s != pinned) || (!pinned && lint_matcher(selector, l->opt.shard_label)))
            continue;
        services++;
        differ += (double)objective / 1000 != t->limit;
        tsn_buf_printf(&wanted, "%s%s %g s", wanted.len ? ", " : "", s->name, (double)objective / 1000);
    }
    if (services > 1 && differ)
        lint_add(l, t->cmp, "one-threshold-for-all", TSN_LINT_WARNING,
                 lint_text("a rule a service: %s", tsn_buf_str(&wanted)),
                 "%g s for every service, while their objectives differ", t->limit);
    else if (services == 1 && differ)
        lint_add(l, t->cmp, "threshold-not-objective", TSN_LINT_WARNING, lint_text("%s", tsn_buf_str(&wanted)),
                 "%g s is not the objective of the service", t->limit);
    tsn_buf_release(&wanted);
}

static bool is_error_ratio(const struct tsn_expr *e)
{
    const struct tsn_expr *lhs, *rhs;
    bool errors = false;

    e = tsn_expr_unwrap(e);
    if (e->kind != TSN_EXPR_BINARY || e->u.binary.op != TSN_OP_DIV)
        return false;
    lhs = lint_only_selector(e->u.binary.lhs);
    rhs = lint_only_selector(e->u.binary.rhs);
    if (!lhs || !rhs || strcmp(lint_metric(lhs), lint_metric(rhs)))
        return false;
    for (uint32_t i = 0; i < lhs->u.selector.matcher_count; i++) {
        const char *value = lhs->u.selector.matchers[i].value;

        errors |= value[0] == '5' || says(value, "error");
    }
    return errors;
}

/* An alert that holds two windows of a ratio against its budget. */
static bool burn_rate_in_set(const struct lint *l, double below)
{
    for (size_t g = 0; g < l->set->group_count; g++) {
        for (size_t r = 0; r < l->set->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &l->set->groups[g].rules[r];
            struct lint_threshold t[LINT_MAX_THRESHOLDS];
            size_t n = rule->is_alert ? lint_thresholds(rule->query->root, t) : 0, low = 0;

            for (size_t i = 0; i < n; i++)
                low += (t[i].op == TSN_OP_GT || t[i].op == TSN_OP_GE) && t[i].limit > 0 && t[i].limit < below;
            if (low >= 2)
                return true;
        }
    }
    return false;
}

static void check_budget(struct lint *l, const struct lint_threshold *t)
{
    double objective = INFINITY;

    for (size_t i = 0; i < l->opt.policy->services.len; i++)
        if (l->opt.policy->services.items[i].error_rate_percent / 100 < objective)
            objective = l->opt.policy->services.items[i].error_rate_percent / 100;
    if (!is_error_ratio(t->vector) || (t->op != TSN_OP_GT && t->op != TSN_OP_GE) || t->limit <= objective ||
        burn_rate_in_set(l, t->limit))
        return;
    lint_add(l, t->cmp, "error-budget-gap", TSN_LINT_WARNING,
             lint_text("burn-rate alerts on two windows each: ratio[1h] > 14.4 * %g and ratio[5m] > 14.4 * %g, "
                       "ratio[6h] > 6 * %g and ratio[30m] > 6 * %g", objective, objective, objective, objective),
             "the objective is %g %% of requests and the alert begins at %g %%: what lies between eats the budget "
             "unseen", objective * 100, t->limit * 100);
}

/* Objectives are compared only in sets that speak of the catalogue's own services. */
static bool mentions_catalogue(const struct lint *l)
{
    for (size_t g = 0; g < l->set->group_count; g++)
        for (size_t r = 0; r < l->set->groups[g].rule_count; r++)
            for (size_t i = 0; i < l->opt.policy->services.len; i++)
                if (l->opt.policy->services.items[i].core &&
                    strstr(l->set->groups[g].rules[r].expr_text, l->opt.policy->services.items[i].name))
                    return true;
    return false;
}

/* ---- the rule ----------------------------------------------------------------------------- */

static void check_for(struct lint *l)
{
    char have[TSN_DURATION_TEXT], interval[TSN_DURATION_TEXT];

    if (l->rule->for_ms <= 0 || l->rule->for_ms >= l->group->interval_ms)
        return;
    tsn_format_duration(have, l->rule->for_ms);
    tsn_format_duration(interval, l->group->interval_ms);
    lint_add(l, NULL, "for-under-interval", l->group->interval_given ? TSN_LINT_WARNING : TSN_LINT_INFO,
             lint_text("for: %s, or a shorter interval", interval),
             "for: %s is shorter than the %s interval of %s, so it waits a whole interval all the same", have,
             l->group->interval_given ? "group's" : "default", interval);
}

void lint_rule(struct lint *l)
{
    struct lint_threshold thresholds[LINT_MAX_THRESHOLDS];
    const struct tsn_rule *r = l->rule;
    size_t count = lint_thresholds(r->query->root, thresholds);
    bool objectives = l->opt.policy && r->is_alert && mentions_catalogue(l);

    lint_shards(l);
    if (!r->is_alert)
        return;
    check_for(l);
    check_uses(l, r->annotations, r->annotation_count);
    check_uses(l, r->labels, r->label_count);
    for (size_t i = 0; i < count; i++) {
        check_rate_against_count(l, &thresholds[i]);
        check_aggregation(l, &thresholds[i]);
        check_absence(l, &thresholds[i]);
        if (objectives) {
            check_latency(l, &thresholds[i]);
            check_budget(l, &thresholds[i]);
        }
    }
}
