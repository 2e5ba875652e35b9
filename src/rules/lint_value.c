/*
 * lint_value: findings on what an expression computes.
 *
 * Ratios that divide a series by itself, rates of gauges, counters without a rate, thresholds that
 * nothing or everything meets, windows too short for two samples, quantiles without buckets, windows
 * that outlive the counters made here, and what a stream cannot give at all.
 */
#include "rules/lint.h"

#include <math.h>

/* ---- ratios ------------------------------------------------------------------------------- */

static bool same_matcher(const struct tsn_matcher *a, const struct tsn_matcher *b)
{
    return b && a->op == b->op && a->value_len == b->value_len && !memcmp(a->value, b->value, a->value_len);
}

static bool ignored(const struct tsn_expr *e, const char *label)
{
    for (uint32_t i = 0; i < e->u.binary.match_label_count; i++)
        if (!strcmp(e->u.binary.match_labels[i], label))
            return true;
    return false;
}

static char *ratio_fix(const struct lint *l, const struct tsn_expr *e, const char *label)
{
    const struct tsn_expr *lhs = tsn_expr_unwrap(e->u.binary.lhs), *rhs = tsn_expr_unwrap(e->u.binary.rhs);
    char *a = lint_print(lhs), *b = lint_print(rhs), *fix;

    if (lhs->kind == TSN_EXPR_AGGREGATE || rhs->kind == TSN_EXPR_AGGREGATE)
        fix = lint_text("aggregate `%s` away on both sides of %s / %s", label, a, b);
    else
        fix = lint_text("sum by (%s) (%s) / sum by (%s) (%s)", l->opt.shard_label, a, l->opt.shard_label, b);
    tsn_free(a);
    tsn_free(b);
    return fix;
}

/* The same computation on both sides: sum / count of a metric, or two windows of it, mean something. */
static bool same_shape(const struct tsn_expr *a, const struct tsn_expr *b)
{
    a = tsn_expr_unwrap(a);
    b = tsn_expr_unwrap(b);
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case TSN_EXPR_SELECTOR: return a->u.selector.offset_ms == b->u.selector.offset_ms;
    case TSN_EXPR_MATRIX:
        return a->u.matrix.range_ms == b->u.matrix.range_ms && same_shape(a->u.matrix.selector, b->u.matrix.selector);
    case TSN_EXPR_AGGREGATE:
        return a->u.aggregate.op == b->u.aggregate.op && same_shape(a->u.aggregate.operand, b->u.aggregate.operand);
    case TSN_EXPR_CALL:
        if (a->u.call.func != b->u.call.func || a->u.call.arg_count != b->u.call.arg_count)
            return false;
        for (uint32_t i = 0; i < a->u.call.arg_count; i++)
            if (!same_shape(a->u.call.args[i], b->u.call.args[i]))
                return false;
        return true;
    default: return true;
    }
}

/* One side of a division is filtered by a label that both sides still carry, so it joins on it. */
static bool pinned_side(struct lint *l, const struct tsn_expr *e, const struct tsn_expr *pinned,
                        const struct tsn_expr *free_side)
{
    const struct tsn_expr *a = lint_only_selector(pinned), *b = lint_only_selector(free_side);
    const char *metric;

    if (!a || !b)
        return false;
    metric = lint_metric(a);
    if (!*metric || strcmp(metric, lint_metric(b)) || !same_shape(pinned, free_side))
        return false;
    for (uint32_t i = 0; i < a->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &a->u.selector.matchers[i];

        if (!strcmp(m->name, "__name__") || same_matcher(m, lint_matcher(b, m->name)) ||
            (e->u.binary.on ? !ignored(e, m->name) : ignored(e, m->name)))
            continue;
        if (!lint_may_have(l, pinned, m->name, NULL) || !lint_may_have(l, free_side, m->name, NULL))
            continue;
        lint_add(l, e, "ratio-pinned-label", TSN_LINT_WARNING, ratio_fix(l, e, m->name),
                 "both sides of the division match on `%s`, which one side pins: each series of %s is divided by "
                 "itself, so the ratio is 1 or absent", m->name, metric);
        return true;
    }
    return false;
}

static void check_ratio(struct lint *l, const struct tsn_expr *e)
{
    const struct tsn_expr *lhs = e->u.binary.lhs, *rhs = e->u.binary.rhs;

    if (e->u.binary.op != TSN_OP_DIV || lhs->type != TSN_TYPE_VECTOR || rhs->type != TSN_TYPE_VECTOR)
        return;
    if (!pinned_side(l, e, lhs, rhs))
        pinned_side(l, e, rhs, lhs);
}

/* ---- rates and counters ------------------------------------------------------------------- */

static bool is_gauge_name(const char *name)
{
    static const char *const exact[] = { "up", "active_connections", "processing_queue_size", "circuit_breaker_state" };
    static const char *const suffixes[] = { "_ratio", "_percent", "_celsius", "_info", "_timestamp_seconds", "_state",
                                            "_queue_size", "_queue_length", "_temperature", "_active_connections" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(exact); i++)
        if (!strcmp(name, exact[i]))
            return true;
    for (size_t i = 0; i < TSN_ARRAY_LEN(suffixes); i++)
        if (lint_ends_with(name, suffixes[i]))
            return true;
    return false;
}

static const struct tsn_expr *range_arg(const struct tsn_expr *call)
{
    for (uint32_t i = 0; i < call->u.call.arg_count; i++) {
        const struct tsn_expr *arg = tsn_expr_unwrap(call->u.call.args[i]);

        if (arg->type == TSN_TYPE_MATRIX)
            return arg;
    }
    return NULL;
}

static void check_rate(struct lint *l, const struct tsn_expr *e)
{
    const struct tsn_expr *range = range_arg(e);
    const char *function = tsn_function_name(e->u.call.func), *metric;

    if (!range || range->kind != TSN_EXPR_MATRIX)
        return;
    metric = lint_metric(range->u.matrix.selector);
    if (lint_is_rate(e) && is_gauge_name(metric))
        lint_add(l, e, "rate-of-gauge", TSN_LINT_WARNING, lint_text("deriv(…) or delta(…), or the counter behind it"),
                 "%s of %s, which by its name is a gauge: every fall of its value counts as a reset", function, metric);
    if ((lint_is_call(e, "delta") || lint_is_call(e, "idelta") || lint_is_call(e, "deriv")) &&
        lint_ends_with(metric, "_total"))
        lint_add(l, e, "delta-of-counter", TSN_LINT_WARNING, lint_text("increase(…) or rate(…)"),
                 "%s of the counter %s goes wrong at every restart of its producer", function, metric);
}

static void check_window(struct lint *l, const struct tsn_expr *e)
{
    static const char *const two[] = { "rate", "increase", "irate", "delta", "idelta", "deriv", "predict_linear" };
    const struct tsn_expr *range = range_arg(e);
    char window[TSN_DURATION_TEXT], interval[TSN_DURATION_TEXT], enough[TSN_DURATION_TEXT];

    if (!range || range->kind != TSN_EXPR_MATRIX || range->u.matrix.range_ms >= 2 * l->opt.sample_interval_ms)
        return;
    for (size_t i = 0; i < TSN_ARRAY_LEN(two); i++) {
        if (!lint_is_call(e, two[i]))
            continue;
        tsn_format_duration(window, range->u.matrix.range_ms);
        tsn_format_duration(interval, l->opt.sample_interval_ms);
        tsn_format_duration(enough, 4 * l->opt.sample_interval_ms);
        lint_add(l, e, "window-too-short", TSN_LINT_WARNING, lint_text("[%s] or more", enough),
                 "%s needs two samples and its window of %s is shorter than two intervals of %s: it gives nothing, or "
                 "something now and then", two[i], window, interval);
    }
}

/* ---- histograms --------------------------------------------------------------------------- */

static void check_quantile(struct lint *l, const struct tsn_expr *e)
{
    const struct tsn_expr *buckets, *dropper, *selector;
    char *inner;

    if (!lint_is_call(e, "histogram_quantile"))
        return;
    buckets = e->u.call.args[1];
    selector = lint_only_selector(buckets);
    /* Native histograms have no le and need none. */
    if (!selector || !lint_ends_with(lint_metric(selector), "_bucket") || lint_may_have(l, buckets, "le", &dropper))
        return;
    inner = dropper && dropper->kind == TSN_EXPR_AGGREGATE ? lint_print(dropper->u.aggregate.operand)
                                                           : tsn_strdup("…");
    lint_add(l, dropper ? dropper : e, "quantile-without-le", TSN_LINT_ERROR,
             lint_text("sum by (le, %s) (%s)", l->opt.shard_label, inner),
             "`le` is aggregated away before histogram_quantile, which then finds no buckets and gives nothing");
    tsn_free(inner);
}

/* ---- streams ------------------------------------------------------------------------------ */

static void check_future(struct lint *l, const struct tsn_expr *e, int64_t offset_ms, enum tsn_at_kind at)
{
    if (offset_ms < 0)
        lint_add(l, e, "needs-future", TSN_LINT_ERROR, lint_text("a positive offset, or none"),
                 "a negative offset needs samples that have not come yet: a stream cannot run it");
    if (at != TSN_AT_NONE)
        lint_add(l, e, "needs-future", TSN_LINT_ERROR, lint_text("offset instead of @"),
                 "`@` pins the time, so the rule would have to keep or foresee that moment: a stream cannot run it");
}

static void check_smoothed(struct lint *l, const struct tsn_expr *selector)
{
    if (selector->u.selector.smoothed)
        lint_add(l, selector, "needs-future", TSN_LINT_ERROR, lint_text("`anchored`, which reads only what has been"),
                 "`smoothed` draws a line to the sample after the step, which has not come yet: a stream cannot run it");
}

/* Counters that INGEST counts itself end counter_ttl after their last event. */
static bool counted_here(const char *metric)
{
    static const char *const names[] = { "hooks_processed_total", "intelligence_patterns_discovered_total",
                                         "log_messages_total", "log_template_messages_total",
                                         "log_templates_discovered_total", "hook_processing_duration_seconds_bucket",
                                         "hook_processing_duration_seconds_sum",
                                         "hook_processing_duration_seconds_count" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++)
        if (!strcmp(metric, names[i]))
            return true;
    return false;
}

static void check_counter_ttl(struct lint *l, const struct tsn_expr *e)
{
    const struct tsn_expr *s = e->u.matrix.selector;
    int64_t reach = e->u.matrix.range_ms + s->u.selector.offset_ms + l->rule->for_ms;
    char have[TSN_DURATION_TEXT], ttl[TSN_DURATION_TEXT];

    if (!counted_here(lint_metric(s)) || reach <= l->opt.counter_ttl_ms)
        return;
    tsn_format_duration(have, reach);
    tsn_format_duration(ttl, l->opt.counter_ttl_ms);
    lint_add(l, e, "window-over-counter-ttl", TSN_LINT_WARNING,
             lint_text("a window (with offset and for) of %s at most, or a longer time.counter_ttl", ttl),
             "%s ends %s after its last event, and this rule looks back %s: the end of a series would look like a "
             "recovery", lint_metric(s), ttl, have);
}

static void check_cost(struct lint *l, const struct tsn_expr *e)
{
    const struct tsn_expr *s = e->u.matrix.selector;
    char window[TSN_DURATION_TEXT];
    int64_t series, samples;

    if (!l->opt.series_count)
        return;
    series = l->opt.series_count(l->opt.series_count_arg, s->u.selector.matchers, s->u.selector.matcher_count);
    if (series <= 0 || __builtin_mul_overflow(series, e->u.matrix.range_ms / l->opt.sample_interval_ms, &samples) ||
        samples <= l->opt.cost_limit)
        return;
    tsn_format_duration(window, e->u.matrix.range_ms);
    lint_add(l, e, "costly-window", TSN_LINT_WARNING,
             lint_text("a recording rule over a short window, and avg_over_time of it over the long one"),
             "%lld series over %s are %lld samples held (limit %lld)", (long long)series, window, (long long)samples,
             (long long)l->opt.cost_limit);
}

/* ---- thresholds --------------------------------------------------------------------------- */

static bool never(enum tsn_binop op, struct lint_range r, double limit)
{
    switch (op) {
    case TSN_OP_GT: return r.hi <= limit;
    case TSN_OP_GE: return r.hi < limit;
    case TSN_OP_LT: return r.lo >= limit;
    case TSN_OP_LE: return r.lo > limit;
    case TSN_OP_EQ: return limit < r.lo || limit > r.hi;
    default: return false;
    }
}

static bool always(enum tsn_binop op, struct lint_range r, double limit)
{
    switch (op) {
    case TSN_OP_GT: return r.lo > limit;
    case TSN_OP_GE: return r.lo >= limit;
    case TSN_OP_LT: return r.hi < limit;
    case TSN_OP_LE: return r.hi <= limit;
    case TSN_OP_NE: return limit < r.lo || limit > r.hi;
    default: return false;
    }
}

/* count(x) > 0, absent(x) == 1: tests for presence, meant to hold for all there is. */
static bool is_presence_test(const struct tsn_expr *e)
{
    e = tsn_expr_unwrap(e);
    if (e->kind == TSN_EXPR_AGGREGATE)
        return e->u.aggregate.op == TSN_AGG_COUNT || e->u.aggregate.op == TSN_AGG_GROUP ||
               e->u.aggregate.op == TSN_AGG_COUNT_VALUES || is_presence_test(e->u.aggregate.operand);
    return lint_is_call(e, "absent") || lint_is_call(e, "absent_over_time") || lint_is_call(e, "present_over_time") ||
           lint_is_call(e, "count_over_time") || lint_is_call(e, "vector");
}

static void check_threshold(struct lint *l, const struct lint_threshold *t)
{
    struct lint_range r = lint_range_of(t->vector);
    const struct tsn_expr *vector = tsn_expr_unwrap(t->vector);
    bool counts = vector->kind == TSN_EXPR_AGGREGATE && vector->u.aggregate.op == TSN_AGG_COUNT;
    char limit[TSN_DOUBLE_TEXT];

    tsn_format_double(limit, sizeof limit, t->limit, 'g', 6);
    if (never(t->op, r, t->limit)) {
        lint_add(l, t->cmp, "threshold-never", TSN_LINT_ERROR,
                 counts ? lint_text("absent(…), or (count(…) or vector(0)) %s %s", tsn_binop_text(t->op), limit) : NULL,
                 counts ? "count of nothing is nothing, not 0: `%s %s` can never be met"
                        : "`%s %s` can never be met by what is left of it", tsn_binop_text(t->op), limit);
    } else if (always(t->op, r, t->limit) && !is_presence_test(t->vector)) {
        lint_add(l, t->cmp, "threshold-always", TSN_LINT_WARNING, NULL,
                 "`%s %s` is always met by what is left of it: the alert says no more than that the series exist",
                 tsn_binop_text(t->op), limit);
    }
}

/* Gauges named …_total: an amount that is there, not one that happened. */
static bool is_stock_name(const char *metric)
{
    static const char *const words[] = { "pooled", "stats_", "account", "current", "active", "used", "usage", "size",
                                         "capacity", "available", "free", "memory", "swap", "limit", "replicas",
                                         "pending", "queue" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++)
        if (strstr(metric, words[i]))
            return true;
    return false;
}

static void check_raw_counter(struct lint *l, const struct lint_threshold *t)
{
    bool aggregated = false, scaled = false;
    const struct tsn_expr *core = lint_core(t->vector, &aggregated, &scaled);
    const char *metric;
    char *text;

    if (core->kind != TSN_EXPR_SELECTOR || (t->op != TSN_OP_GT && t->op != TSN_OP_GE) || scaled)
        return;
    metric = lint_metric(core);
    if (!lint_ends_with(metric, "_total") || is_stock_name(metric) || strchr(metric, ':') || core->u.selector.offset_ms)
        return;
    text = lint_print(core);
    lint_add(l, core, "counter-without-rate", TSN_LINT_WARNING, lint_text("increase(%s[5m])", text),
             "%s, by its name a counter, counts up for as long as its producer lives: once above the threshold it stays there until a restart",
             metric);
    tsn_free(text);
}

/* ---- the walk ----------------------------------------------------------------------------- */

static bool visit(const struct tsn_expr *e, void *arg)
{
    struct lint *l = arg;

    switch (e->kind) {
    case TSN_EXPR_BINARY: check_ratio(l, e); break;
    case TSN_EXPR_CALL:
        check_rate(l, e);
        check_window(l, e);
        check_quantile(l, e);
        break;
    case TSN_EXPR_SELECTOR:
        check_future(l, e, e->u.selector.offset_ms, e->u.selector.at);
        check_smoothed(l, e);
        break;
    case TSN_EXPR_SUBQUERY: check_future(l, e, e->u.subquery.offset_ms, e->u.subquery.at); break;
    case TSN_EXPR_MATRIX:
        check_counter_ttl(l, e);
        check_cost(l, e);
        break;
    default: break;
    }
    return true;
}

void lint_values(struct lint *l)
{
    struct lint_threshold thresholds[LINT_MAX_THRESHOLDS];
    size_t count = lint_thresholds(l->rule->query->root, thresholds);

    tsn_expr_walk(l->rule->query->root, visit, l);
    for (size_t i = 0; i < count; i++) {
        check_threshold(l, &thresholds[i]);
        if (l->rule->is_alert)
            check_raw_counter(l, &thresholds[i]);
    }
}
