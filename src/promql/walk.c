/*
 * walk: small readers of the tree that every user shares.
 */
#include "tocsin/promql.h"

static const char *const binop_texts[] = {
    [TSN_OP_ADD] = "+",   [TSN_OP_SUB] = "-",  [TSN_OP_MUL] = "*",     [TSN_OP_DIV] = "/",
    [TSN_OP_MOD] = "%",   [TSN_OP_POW] = "^",  [TSN_OP_ATAN2] = "atan2", [TSN_OP_EQ] = "==",
    [TSN_OP_NE] = "!=",   [TSN_OP_LT] = "<",   [TSN_OP_LE] = "<=",     [TSN_OP_GT] = ">",
    [TSN_OP_TRIM_UPPER] = "</", [TSN_OP_TRIM_LOWER] = ">/",
    [TSN_OP_GE] = ">=",   [TSN_OP_AND] = "and", [TSN_OP_OR] = "or",    [TSN_OP_UNLESS] = "unless",
};

static const char *const aggop_texts[] = {
    [TSN_AGG_SUM] = "sum",           [TSN_AGG_AVG] = "avg",
    [TSN_AGG_MIN] = "min",           [TSN_AGG_MAX] = "max",
    [TSN_AGG_COUNT] = "count",       [TSN_AGG_GROUP] = "group",
    [TSN_AGG_STDDEV] = "stddev",     [TSN_AGG_STDVAR] = "stdvar",
    [TSN_AGG_TOPK] = "topk",         [TSN_AGG_BOTTOMK] = "bottomk",
    [TSN_AGG_QUANTILE] = "quantile", [TSN_AGG_COUNT_VALUES] = "count_values",
    [TSN_AGG_LIMITK] = "limitk",     [TSN_AGG_LIMIT_RATIO] = "limit_ratio",
};

const char *tsn_binop_text(enum tsn_binop op)
{
    return binop_texts[op];
}

const char *tsn_aggop_text(enum tsn_aggop op)
{
    return aggop_texts[op];
}

const struct tsn_expr *tsn_expr_unwrap(const struct tsn_expr *expr)
{
    while (expr->kind == TSN_EXPR_PAREN)
        expr = expr->u.paren;
    return expr;
}

static bool walk_call(const struct tsn_expr *expr, bool (*visit)(const struct tsn_expr *, void *), void *arg)
{
    for (uint32_t i = 0; i < expr->u.call.arg_count; i++)
        if (!tsn_expr_walk(expr->u.call.args[i], visit, arg))
            return false;
    return true;
}

bool tsn_expr_walk(const struct tsn_expr *expr, bool (*visit)(const struct tsn_expr *, void *), void *arg)
{
    if (!visit(expr, arg))
        return false;
    switch (expr->kind) {
    case TSN_EXPR_PAREN: return tsn_expr_walk(expr->u.paren, visit, arg);
    case TSN_EXPR_UNARY: return tsn_expr_walk(expr->u.unary.operand, visit, arg);
    case TSN_EXPR_BINARY:
        return tsn_expr_walk(expr->u.binary.lhs, visit, arg) &&
               tsn_expr_walk(expr->u.binary.rhs, visit, arg);
    case TSN_EXPR_CALL: return walk_call(expr, visit, arg);
    case TSN_EXPR_AGGREGATE:
        return (!expr->u.aggregate.param || tsn_expr_walk(expr->u.aggregate.param, visit, arg)) &&
               tsn_expr_walk(expr->u.aggregate.operand, visit, arg);
    case TSN_EXPR_MATRIX: return tsn_expr_walk(expr->u.matrix.selector, visit, arg);
    case TSN_EXPR_SUBQUERY: return tsn_expr_walk(expr->u.subquery.operand, visit, arg);
    case TSN_EXPR_NUMBER:
    case TSN_EXPR_STRING:
    case TSN_EXPR_SELECTOR: break;
    }
    return true;
}
