/* reach: how far back the rules of a set look. See tsn_rule_set_reach_ms in tocsin/rules.h. */
#include "tocsin/rules.h"

#define DEFAULT_LOOKBACK_MS (5 * 60 * 1000)
/* A subquery without a step uses the default one, whose first point may lie one step earlier. */
#define SUBQUERY_STEP_MS (60 * 1000)

struct reach {
    int64_t lookback_ms, longest_ms;
};

/* outer_ms: how far before the step this part is evaluated at the earliest. */
static void walk(const struct tsn_expr *e, int64_t outer_ms, struct reach *reach)
{
    int64_t back_ms;

    switch (e->kind) {
    case TSN_EXPR_SELECTOR:
        back_ms = outer_ms + e->u.selector.offset_ms + reach->lookback_ms;
        reach->longest_ms = back_ms > reach->longest_ms ? back_ms : reach->longest_ms;
        break;
    case TSN_EXPR_MATRIX: walk(e->u.matrix.selector, outer_ms + e->u.matrix.range_ms, reach); break;
    case TSN_EXPR_SUBQUERY:
        walk(e->u.subquery.operand, outer_ms + e->u.subquery.range_ms + e->u.subquery.offset_ms + SUBQUERY_STEP_MS, reach);
        break;
    case TSN_EXPR_PAREN: walk(e->u.paren, outer_ms, reach); break;
    case TSN_EXPR_UNARY: walk(e->u.unary.operand, outer_ms, reach); break;
    case TSN_EXPR_BINARY:
        walk(e->u.binary.lhs, outer_ms, reach);
        walk(e->u.binary.rhs, outer_ms, reach);
        break;
    case TSN_EXPR_CALL:
        for (uint32_t i = 0; i < e->u.call.arg_count; i++)
            walk(e->u.call.args[i], outer_ms, reach);
        break;
    case TSN_EXPR_AGGREGATE:
        walk(e->u.aggregate.operand, outer_ms, reach);
        if (e->u.aggregate.param)
            walk(e->u.aggregate.param, outer_ms, reach);
        break;
    case TSN_EXPR_NUMBER:
    case TSN_EXPR_STRING:
    default: break;
    }
}

int64_t tsn_rule_set_reach_ms(const struct tsn_rule_set *set, int64_t lookback_ms)
{
    struct reach reach = { lookback_ms ? lookback_ms : DEFAULT_LOOKBACK_MS, 0 };

    for (size_t g = 0; g < set->group_count; g++)
        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            walk(set->groups[g].rules[r].query->root, set->groups[g].query_offset_ms, &reach);
    return reach.longest_ms;
}
