/*
 * lint_expr: what can be known of an expression without data.
 *
 * Labels: "can an element carry label x?" is answered by going down to the selectors; a selector can
 * carry anything but what it pins to empty, and one that names a recording rule of the same set carries
 * what that rule gives. Ranges: intervals of values, wide where nothing is known. Both err towards "can be".
 */
#include "rules/lint.h"

#include <math.h>

bool lint_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), s = strlen(suffix);

    return n >= s && !strcmp(text + n - s, suffix);
}

bool lint_is_call(const struct tsn_expr *e, const char *name)
{
    return e->kind == TSN_EXPR_CALL && !strcmp(tsn_function_name(e->u.call.func), name);
}

bool lint_is_rate(const struct tsn_expr *e)
{
    return lint_is_call(e, "rate") || lint_is_call(e, "irate") || lint_is_call(e, "increase");
}

const struct tsn_matcher *lint_matcher(const struct tsn_expr *s, const char *label)
{
    for (uint32_t i = 0; i < s->u.selector.matcher_count; i++)
        if (!strcmp(s->u.selector.matchers[i].name, label))
            return &s->u.selector.matchers[i];
    return NULL;
}

const char *lint_metric(const struct tsn_expr *s)
{
    const struct tsn_matcher *m;

    if (s->u.selector.name)
        return s->u.selector.name;
    m = lint_matcher(s, "__name__");
    return m && m->op == TSN_MATCH_EQ ? m->value : "";
}

/* ---- labels ------------------------------------------------------------------------------- */

#define MAX_RECORD_DEPTH 16

static bool may_have(const struct lint *l, const struct tsn_expr *e, const char *label,
                     const struct tsn_expr **dropper, int depth);

static bool listed(const char *const *labels, uint32_t count, const char *label)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(labels[i], label))
            return true;
    return false;
}

static bool record_has(const struct lint *l, const struct tsn_rule *r, const char *label, int depth)
{
    for (size_t i = 0; i < r->label_count; i++)
        if (!strcmp(r->labels[i].name, label))
            return r->labels[i].value[0] != '\0';
    return may_have(l, r->query->root, label, NULL, depth + 1);
}

static bool selector_may_have(const struct lint *l, const struct tsn_expr *e, const char *label, int depth)
{
    const struct tsn_matcher *m = lint_matcher(e, label);
    const char *metric = lint_metric(e);
    bool recorded = false;

    if (m && m->op == TSN_MATCH_EQ && !m->value_len)
        return false;
    if (!*metric || depth >= MAX_RECORD_DEPTH || !strcmp(label, "__name__"))
        return true;
    for (size_t g = 0; g < l->set->group_count; g++) {
        for (size_t r = 0; r < l->set->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &l->set->groups[g].rules[r];

            if (rule->is_alert || strcmp(rule->name, metric))
                continue;
            recorded = true;
            if (record_has(l, rule, label, depth))
                return true;
        }
    }
    return !recorded;
}

static const char *string_arg(const struct tsn_expr *call, uint32_t i)
{
    const struct tsn_expr *arg = i < call->u.call.arg_count ? tsn_expr_unwrap(call->u.call.args[i]) : NULL;

    return arg && arg->kind == TSN_EXPR_STRING ? arg->u.string.text : "";
}

static bool call_may_have(const struct lint *l, const struct tsn_expr *e, const char *label,
                          const struct tsn_expr **dropper, int depth)
{
    if (lint_is_call(e, "absent") || lint_is_call(e, "absent_over_time")) {
        const struct tsn_expr *arg = tsn_expr_unwrap(e->u.call.args[0]);
        const struct tsn_matcher *m;

        if (arg->kind == TSN_EXPR_MATRIX)
            arg = arg->u.matrix.selector;
        m = arg->kind == TSN_EXPR_SELECTOR ? lint_matcher(arg, label) : NULL;
        if ((!m || m->op != TSN_MATCH_EQ) && dropper)
            *dropper = e;
        return m && m->op == TSN_MATCH_EQ;
    }
    if ((lint_is_call(e, "label_replace") || lint_is_call(e, "label_join")) && !strcmp(string_arg(e, 1), label))
        return true;
    if (!strcmp(label, "le") && (lint_is_call(e, "histogram_quantile") || lint_is_call(e, "histogram_fraction")))
        return false;
    for (uint32_t i = 0; i < e->u.call.arg_count; i++)
        if (e->u.call.args[i]->type == TSN_TYPE_VECTOR || e->u.call.args[i]->type == TSN_TYPE_MATRIX)
            return !lint_is_call(e, "scalar") && may_have(l, e->u.call.args[i], label, dropper, depth);
    return false;
}

static bool aggregate_may_have(const struct lint *l, const struct tsn_expr *e, const char *label,
                               const struct tsn_expr **dropper, int depth)
{
    const struct tsn_expr *param = e->u.aggregate.param ? tsn_expr_unwrap(e->u.aggregate.param) : NULL;
    bool in_list = listed(e->u.aggregate.labels, e->u.aggregate.label_count, label);

    switch (e->u.aggregate.op) {
    case TSN_AGG_TOPK:
    case TSN_AGG_BOTTOMK:
    case TSN_AGG_LIMITK:
    case TSN_AGG_LIMIT_RATIO: return may_have(l, e->u.aggregate.operand, label, dropper, depth);
    case TSN_AGG_COUNT_VALUES:
        if (param && param->kind == TSN_EXPR_STRING && !strcmp(param->u.string.text, label))
            return true;
        break;
    default: break;
    }
    if (e->u.aggregate.without ? in_list : !in_list) {
        if (dropper)
            *dropper = e;
        return false;
    }
    return may_have(l, e->u.aggregate.operand, label, dropper, depth);
}

static bool binary_may_have(const struct lint *l, const struct tsn_expr *e, const char *label,
                            const struct tsn_expr **dropper, int depth)
{
    const struct tsn_expr *lhs = e->u.binary.lhs, *rhs = e->u.binary.rhs;
    bool matched = listed(e->u.binary.match_labels, e->u.binary.match_label_count, label);

    if (lhs->type != TSN_TYPE_VECTOR || rhs->type != TSN_TYPE_VECTOR)
        return may_have(l, lhs->type == TSN_TYPE_VECTOR ? lhs : rhs, label, dropper, depth);
    if (e->u.binary.op == TSN_OP_OR)
        return may_have(l, lhs, label, dropper, depth) || may_have(l, rhs, label, NULL, depth);
    if (tsn_binop_is_set(e->u.binary.op))
        return may_have(l, lhs, label, dropper, depth);
    if (e->u.binary.card == TSN_CARD_ONE_TO_MANY)
        return listed(e->u.binary.include_labels, e->u.binary.include_label_count, label) ||
               may_have(l, rhs, label, dropper, depth);
    if (e->u.binary.card == TSN_CARD_MANY_TO_ONE)
        return listed(e->u.binary.include_labels, e->u.binary.include_label_count, label) ||
               may_have(l, lhs, label, dropper, depth);
    if (e->u.binary.on ? !matched : matched) {
        if (dropper)
            *dropper = e;
        return false;
    }
    return may_have(l, lhs, label, dropper, depth);
}

static bool may_have(const struct lint *l, const struct tsn_expr *e, const char *label,
                     const struct tsn_expr **dropper, int depth)
{
    switch (e->kind) {
    case TSN_EXPR_NUMBER:
    case TSN_EXPR_STRING: return false;
    case TSN_EXPR_PAREN: return may_have(l, e->u.paren, label, dropper, depth);
    case TSN_EXPR_UNARY: return may_have(l, e->u.unary.operand, label, dropper, depth);
    case TSN_EXPR_SUBQUERY: return may_have(l, e->u.subquery.operand, label, dropper, depth);
    case TSN_EXPR_MATRIX: return may_have(l, e->u.matrix.selector, label, dropper, depth);
    case TSN_EXPR_SELECTOR: return selector_may_have(l, e, label, depth);
    case TSN_EXPR_CALL: return call_may_have(l, e, label, dropper, depth);
    case TSN_EXPR_AGGREGATE: return aggregate_may_have(l, e, label, dropper, depth);
    case TSN_EXPR_BINARY: return binary_may_have(l, e, label, dropper, depth);
    }
    return true;
}

bool lint_may_have(const struct lint *l, const struct tsn_expr *e, const char *label, const struct tsn_expr **dropper)
{
    if (dropper)
        *dropper = NULL;
    return may_have(l, e, label, dropper, 0);
}

/* ---- constants and ranges ----------------------------------------------------------------- */

bool lint_fold(const struct tsn_expr *e, double *value)
{
    double a, b;

    e = tsn_expr_unwrap(e);
    if (e->kind == TSN_EXPR_NUMBER) {
        *value = e->u.number;
        return true;
    }
    if (e->kind == TSN_EXPR_UNARY && lint_fold(e->u.unary.operand, value)) {
        if (e->u.unary.negate)
            *value = -*value;
        return true;
    }
    if (e->kind != TSN_EXPR_BINARY || !lint_fold(e->u.binary.lhs, &a) || !lint_fold(e->u.binary.rhs, &b))
        return false;
    switch (e->u.binary.op) {
    case TSN_OP_ADD: *value = a + b; return true;
    case TSN_OP_SUB: *value = a - b; return true;
    case TSN_OP_MUL: *value = a * b; return true;
    case TSN_OP_DIV: *value = a / b; return true;
    case TSN_OP_POW: *value = pow(a, b); return true;
    default: return false;
    }
}

static const struct lint_range anything = { -INFINITY, INFINITY }, not_negative = { 0, INFINITY };

static struct lint_range selector_range(const struct tsn_expr *e)
{
    const char *name = lint_metric(e);

    if (!strcmp(name, "up"))
        return (struct lint_range){ 0, 1 };
    if (lint_ends_with(name, "_total") || lint_ends_with(name, "_bucket") || lint_ends_with(name, "_count"))
        return not_negative;
    return anything;
}

static struct lint_range call_range(const struct tsn_expr *e)
{
    static const struct {
        const char *name;
        double lo, hi;
    } fixed[] = {
        { "rate", 0, INFINITY }, { "irate", 0, INFINITY }, { "increase", 0, INFINITY },
        { "changes", 0, INFINITY }, { "resets", 0, INFINITY }, { "count_over_time", 1, INFINITY },
        { "stddev_over_time", 0, INFINITY }, { "stdvar_over_time", 0, INFINITY }, { "abs", 0, INFINITY },
        { "absent", 1, 1 }, { "absent_over_time", 1, 1 }, { "present_over_time", 1, 1 },
        { "hour", 0, 23 }, { "minute", 0, 59 }, { "day_of_week", 0, 6 }, { "day_of_month", 1, 31 },
        { "month", 1, 12 }, { "sqrt", 0, INFINITY }, { "exp", 0, INFINITY },
    };
    static const char *const keep[] = { "avg_over_time", "min_over_time", "max_over_time", "last_over_time",
                                        "sort", "sort_desc", "label_replace", "label_join", "scalar", "vector",
                                        "ceil" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(fixed); i++)
        if (lint_is_call(e, fixed[i].name))
            return (struct lint_range){ fixed[i].lo, fixed[i].hi };
    for (size_t i = 0; i < TSN_ARRAY_LEN(keep); i++)
        if (lint_is_call(e, keep[i]) && e->u.call.arg_count)
            return lint_range_of(e->u.call.args[0]);
    if (lint_is_call(e, "sum_over_time") && lint_range_of(e->u.call.args[0]).lo >= 0)
        return not_negative;
    return anything;
}

static struct lint_range aggregate_range(const struct tsn_expr *e)
{
    struct lint_range r = lint_range_of(e->u.aggregate.operand);

    switch (e->u.aggregate.op) {
    case TSN_AGG_COUNT: return (struct lint_range){ 1, INFINITY };
    case TSN_AGG_COUNT_VALUES: return (struct lint_range){ 1, INFINITY };
    case TSN_AGG_GROUP: return (struct lint_range){ 1, 1 };
    case TSN_AGG_STDDEV:
    case TSN_AGG_STDVAR: return not_negative;
    case TSN_AGG_SUM: return r.lo >= 0 ? (struct lint_range){ r.lo, INFINITY } : anything;
    case TSN_AGG_QUANTILE: return anything;
    default: return r;
    }
}

static struct lint_range arithmetic_range(enum tsn_binop op, struct lint_range a, struct lint_range b)
{
    double products[4] = { a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi };
    struct lint_range r = { INFINITY, -INFINITY };

    switch (op) {
    case TSN_OP_ADD: return (struct lint_range){ a.lo + b.lo, a.hi + b.hi };
    case TSN_OP_SUB: return (struct lint_range){ a.lo - b.hi, a.hi - b.lo };
    case TSN_OP_MUL:
        for (int i = 0; i < 4; i++) {
            double p = isnan(products[i]) ? 0 : products[i]; /* 0 × Inf as a bound is 0 */

            r.lo = fmin(r.lo, p);
            r.hi = fmax(r.hi, p);
        }
        return r;
    case TSN_OP_DIV:
        if (b.lo == b.hi && b.lo > 0)
            return (struct lint_range){ a.lo / b.lo, a.hi / b.lo };
        return a.lo >= 0 && b.lo >= 0 ? not_negative : anything;
    default: return anything;
    }
}

static struct lint_range binary_range(const struct tsn_expr *e)
{
    struct lint_range a = lint_range_of(e->u.binary.lhs), b = lint_range_of(e->u.binary.rhs);
    enum tsn_binop op = e->u.binary.op;

    if (op == TSN_OP_OR)
        return (struct lint_range){ fmin(a.lo, b.lo), fmax(a.hi, b.hi) };
    if (tsn_binop_is_set(op))
        return a;
    if (tsn_binop_is_comparison(op)) {
        if (e->u.binary.return_bool)
            return (struct lint_range){ 0, 1 };
        return e->u.binary.lhs->type == TSN_TYPE_SCALAR ? b : a;
    }
    return arithmetic_range(op, a, b);
}

struct lint_range lint_range_of(const struct tsn_expr *e)
{
    double constant;

    if (lint_fold(e, &constant))
        return (struct lint_range){ constant, constant };
    switch (e->kind) {
    case TSN_EXPR_PAREN: return lint_range_of(e->u.paren);
    case TSN_EXPR_SELECTOR: return selector_range(e);
    case TSN_EXPR_MATRIX: return selector_range(e->u.matrix.selector);
    case TSN_EXPR_SUBQUERY: return lint_range_of(e->u.subquery.operand);
    case TSN_EXPR_CALL: return call_range(e);
    case TSN_EXPR_AGGREGATE: return aggregate_range(e);
    case TSN_EXPR_BINARY: return binary_range(e);
    default: return anything;
    }
}

/* ---- thresholds --------------------------------------------------------------------------- */

static enum tsn_binop turned(enum tsn_binop op)
{
    switch (op) {
    case TSN_OP_LT: return TSN_OP_GT;
    case TSN_OP_LE: return TSN_OP_GE;
    case TSN_OP_GT: return TSN_OP_LT;
    case TSN_OP_GE: return TSN_OP_LE;
    default: return op;
    }
}

static void collect(const struct tsn_expr *e, struct lint_threshold *out, size_t *count)
{
    double limit;

    e = tsn_expr_unwrap(e);
    if (e->kind != TSN_EXPR_BINARY || *count == LINT_MAX_THRESHOLDS)
        return;
    if (tsn_binop_is_set(e->u.binary.op)) {
        collect(e->u.binary.lhs, out, count);
        collect(e->u.binary.rhs, out, count);
        return;
    }
    if (!tsn_binop_is_comparison(e->u.binary.op) || e->u.binary.return_bool)
        return;
    if (lint_fold(e->u.binary.rhs, &limit)) {
        out[(*count)++] = (struct lint_threshold){ e, e->u.binary.lhs, e->u.binary.op, limit };
        collect(e->u.binary.lhs, out, count);
    } else if (lint_fold(e->u.binary.lhs, &limit)) {
        out[(*count)++] = (struct lint_threshold){ e, e->u.binary.rhs, turned(e->u.binary.op), limit };
        collect(e->u.binary.rhs, out, count);
    }
}

size_t lint_thresholds(const struct tsn_expr *root, struct lint_threshold out[LINT_MAX_THRESHOLDS])
{
    size_t count = 0;

    collect(root, out, &count);
    return count;
}

const struct tsn_expr *lint_core(const struct tsn_expr *e, bool *aggregated, bool *scaled)
{
    double constant;

    for (;;) {
        e = tsn_expr_unwrap(e);
        if (e->kind == TSN_EXPR_AGGREGATE && e->u.aggregate.op != TSN_AGG_COUNT) {
            *aggregated = true;
            e = e->u.aggregate.operand;
        } else if (e->kind == TSN_EXPR_BINARY && e->u.binary.op <= TSN_OP_POW &&
                   lint_fold(e->u.binary.rhs, &constant)) {
            *scaled = true;
            e = e->u.binary.lhs;
        } else if (e->kind == TSN_EXPR_BINARY && e->u.binary.op <= TSN_OP_POW &&
                   lint_fold(e->u.binary.lhs, &constant)) {
            *scaled = true;
            e = e->u.binary.rhs;
        } else {
            return e;
        }
    }
}

struct only {
    const struct tsn_expr *selector;
    size_t count;
};

static bool count_selector(const struct tsn_expr *e, void *arg)
{
    struct only *only = arg;

    if (e->kind == TSN_EXPR_SELECTOR) {
        only->selector = e;
        only->count++;
    }
    return true;
}

const struct tsn_expr *lint_only_selector(const struct tsn_expr *e)
{
    struct only only = { NULL, 0 };

    tsn_expr_walk(e, count_selector, &only);
    return only.count == 1 ? only.selector : NULL;
}
