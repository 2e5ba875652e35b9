/*
 * check: types of a parsed tree, by Prometheus's rules and in its words.
 *
 * Bottom up: children first, so that the first error reported is the innermost, leftmost one. Fills
 * `type` of every node. Nothing is rewritten except the cardinality of set operators, which is
 * many-to-many by nature.
 */
#include "promql/parser.h"

static bool check(struct tsn_parser *p, struct tsn_expr *e);

static bool passed(const struct tsn_parser *p)
{
    return !p->failed;
}

static bool expect_type(struct tsn_parser *p, struct tsn_expr *e, enum tsn_value_type want, const char *context)
{
    if (!check(p, e))
        return false;
    if (e->type != want)
        tsn_parser_fail(p, e->span, "expected type %s in %s, got %s", tsn_value_type_text(want), context,
                        tsn_value_type_text(e->type));
    return passed(p);
}

static bool check_aggregate(struct tsn_parser *p, struct tsn_expr *e)
{
    enum tsn_value_type param =
        e->u.aggregate.op == TSN_AGG_COUNT_VALUES ? TSN_TYPE_STRING : TSN_TYPE_SCALAR;

    e->type = TSN_TYPE_VECTOR;
    return expect_type(p, e->u.aggregate.operand, TSN_TYPE_VECTOR, "aggregation expression") &&
           (!e->u.aggregate.param || expect_type(p, e->u.aggregate.param, param, "aggregation parameter"));
}

/* The text between the operands, without space: where the operator stands. */
static struct tsn_span operator_span(const struct tsn_parser *p, const struct tsn_expr *e)
{
    struct tsn_span s = { e->u.binary.lhs->span.end, e->u.binary.rhs->span.start };

    while (s.start < s.end && strchr(" \t\r\n", p->lexer.text[s.start]))
        s.start++;
    return s;
}

static bool check_operand(struct tsn_parser *p, struct tsn_expr *e)
{
    if (e->type != TSN_TYPE_SCALAR && e->type != TSN_TYPE_VECTOR)
        tsn_parser_fail(p, e->span, "binary expression must contain only scalar and instant vector types");
    return passed(p);
}

static bool check_on_and_group(struct tsn_parser *p, struct tsn_expr *e)
{
    for (uint32_t i = 0; e->u.binary.on && i < e->u.binary.match_label_count; i++)
        for (uint32_t j = 0; j < e->u.binary.include_label_count; j++)
            if (strcmp(e->u.binary.match_labels[i], e->u.binary.include_labels[j]) == 0)
                tsn_parser_fail(p, operator_span(p, e),
                                "label \"%s\" must not occur in ON and GROUP clause at once",
                                e->u.binary.match_labels[i]);
    return passed(p);
}

static bool check_vector_matching(struct tsn_parser *p, struct tsn_expr *e)
{
    bool vectors = e->u.binary.lhs->type == TSN_TYPE_VECTOR && e->u.binary.rhs->type == TSN_TYPE_VECTOR;
    bool set = tsn_binop_is_set(e->u.binary.op);

    if (!vectors && e->u.binary.match_label_count)
        tsn_parser_fail(p, e->span, "vector matching only allowed between instant vectors");
    if (vectors && set && e->u.binary.card != TSN_CARD_ONE_TO_ONE)
        tsn_parser_fail(p, e->span, "no grouping allowed for \"%s\" operation", tsn_binop_text(e->u.binary.op));
    if (!vectors && set)
        tsn_parser_fail(p, e->span, "set operator \"%s\" not allowed in binary scalar expression",
                        tsn_binop_text(e->u.binary.op));
    if (!vectors) {
        e->u.binary.matching_given = e->u.binary.on = false;
        e->u.binary.card = TSN_CARD_ONE_TO_ONE;
        e->u.binary.include_label_count = 0;
    } else if (set) {
        e->u.binary.card = TSN_CARD_MANY_TO_MANY;
    }
    return passed(p);
}

static bool check_binary(struct tsn_parser *p, struct tsn_expr *e)
{
    struct tsn_expr *lhs = e->u.binary.lhs, *rhs = e->u.binary.rhs;
    bool comparison = tsn_binop_is_comparison(e->u.binary.op), scalars;

    if (!check(p, lhs) || !check(p, rhs))
        return false;
    scalars = lhs->type == TSN_TYPE_SCALAR && rhs->type == TSN_TYPE_SCALAR;
    e->type = scalars ? TSN_TYPE_SCALAR : TSN_TYPE_VECTOR;
    if (e->u.binary.return_bool && !comparison)
        tsn_parser_fail(p, operator_span(p, e), "bool modifier can only be used on comparison operators");
    if (comparison && !e->u.binary.return_bool && scalars)
        tsn_parser_fail(p, operator_span(p, e), "comparisons between scalars must use BOOL modifier");
    return passed(p) && check_on_and_group(p, e) && check_operand(p, lhs) && check_operand(p, rhs) &&
           check_vector_matching(p, e);
}

static bool check_arity(struct tsn_parser *p, struct tsn_expr *e)
{
    const struct tsn_function *f = e->u.call.func;
    uint32_t got = e->u.call.arg_count, least = f->variadic ? f->arg_count - 1 : f->arg_count;
    uint32_t most = f->variadic > 0 ? least + (uint32_t)f->variadic : f->arg_count;

    if (!f->variadic && got != least)
        tsn_parser_fail(p, e->span, "expected %u argument(s) in call to \"%s\", got %u", least, f->name, got);
    else if (got < least)
        tsn_parser_fail(p, e->span, "expected at least %u argument(s) in call to \"%s\", got %u", least, f->name,
                        got);
    else if (f->variadic > 0 && got > most)
        tsn_parser_fail(p, e->span, "expected at most %u argument(s) in call to \"%s\", got %u", most, f->name,
                        got);
    return passed(p);
}

static bool check_call(struct tsn_parser *p, struct tsn_expr *e)
{
    const struct tsn_function *f = e->u.call.func;

    e->type = f->result;
    if (!check_arity(p, e))
        return false;
    for (uint32_t i = 0; i < e->u.call.arg_count; i++) {
        struct tsn_expr *arg = e->u.call.args[i];
        enum tsn_value_type want = tsn_function_arg_type(f, i);

        if (!check(p, arg))
            return false;
        if (arg->type != want)
            tsn_parser_fail(p, arg->span, "expected type %s in call to function \"%s\", got %s",
                            tsn_value_type_text(want), f->name, tsn_value_type_text(arg->type));
    }
    return passed(p);
}

static bool check_selector(struct tsn_parser *p, struct tsn_expr *e)
{
    uint32_t count = e->u.selector.matcher_count;
    bool named = e->u.selector.name;

    e->type = TSN_TYPE_VECTOR;
    for (uint32_t i = 0; named && i + 1 < count; i++)
        if (strcmp(e->u.selector.matchers[i].name, "__name__") == 0)
            tsn_parser_fail(p, e->span, "metric name must not be set twice: \"%s\" or \"%s\"",
                            e->u.selector.name, e->u.selector.matchers[i].value);
    for (uint32_t i = 0; i < count; i++)
        if (!tsn_matcher_matches(&e->u.selector.matchers[i], NULL, 0))
            return passed(p);
    tsn_parser_fail(p, e->span, "vector selector must contain at least one non-empty matcher");
    return false;
}

static bool check_unary(struct tsn_parser *p, struct tsn_expr *e)
{
    struct tsn_expr *operand = e->u.unary.operand;

    if (!check(p, operand))
        return false;
    e->type = operand->type;
    if (e->type != TSN_TYPE_SCALAR && e->type != TSN_TYPE_VECTOR)
        tsn_parser_fail(p, e->span,
                        "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                        tsn_value_type_text(e->type));
    return passed(p);
}

static bool check_subquery(struct tsn_parser *p, struct tsn_expr *e)
{
    struct tsn_expr *operand = e->u.subquery.operand;

    e->type = TSN_TYPE_MATRIX;
    if (!check(p, operand))
        return false;
    if (operand->type != TSN_TYPE_VECTOR)
        tsn_parser_fail(p, e->span, "subquery is only allowed on instant vector, got %s instead",
                        tsn_value_type_text(operand->type));
    return passed(p);
}

static bool check(struct tsn_parser *p, struct tsn_expr *e)
{
    switch (e->kind) {
    case TSN_EXPR_NUMBER: e->type = TSN_TYPE_SCALAR; return true;
    case TSN_EXPR_STRING: e->type = TSN_TYPE_STRING; return true;
    case TSN_EXPR_PAREN:
        if (!check(p, e->u.paren))
            return false;
        e->type = e->u.paren->type;
        return true;
    case TSN_EXPR_UNARY: return check_unary(p, e);
    case TSN_EXPR_BINARY: return check_binary(p, e);
    case TSN_EXPR_CALL: return check_call(p, e);
    case TSN_EXPR_AGGREGATE: return check_aggregate(p, e);
    case TSN_EXPR_SELECTOR: return check_selector(p, e);
    case TSN_EXPR_MATRIX: e->type = TSN_TYPE_MATRIX; return check(p, e->u.matrix.selector);
    case TSN_EXPR_SUBQUERY: return check_subquery(p, e);
    }
    return false;
}

bool tsn_check_types(struct tsn_parser *p, struct tsn_expr *expr)
{
    return check(p, expr);
}
