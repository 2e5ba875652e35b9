/*
 * plan_compile: expression → nodes. Nodes of equal text, scope and lane are one. What has no streaming
 * form (or would give an error whatever the data) becomes a naive node for that subtree.
 *
 * Names: most calculations shed the metric name, which can make two elements one. Where the
 * selector pins the name that cannot happen; where it may, the node counts its twins, and looks at
 * every step while it has some.
 */
#include "promql/plan_int.h"

#include <math.h>
#include <string.h>

struct compiler {
    struct tsn_plan *plan;
    struct tsn_plans *plans;
    uint32_t lane;
    const char *beat; /* in subqueries: at which times, as text; they step apart from others */
};

static struct node *compile(struct compiler *c, const struct tsn_expr *e);

/* ---- nodes -------------------------------------------------------------------------------- */

static char *node_text(const struct compiler *c, const char *what, const struct tsn_expr *e)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_printf(&text, "%u|%u|%s|%s|", c->lane, c->plan->scope, c->beat, what);
    tsn_expr_print(&text, e);
    return tsn_buf_take(&text, NULL);
}

static struct node *find_node(const struct compiler *c, const char *what, const struct tsn_expr *e)
{
    char *text = node_text(c, what, e);
    struct node *n = tsn_map_get_str(&c->plans->by_text, text);

    tsn_free(text);
    return n;
}

static struct node *new_node(struct compiler *c, const struct tsn_expr *e, enum node_kind kind)
{
    struct node *n = tsn_calloc(1, sizeof *n);

    n->kind = kind;
    n->expr = e;
    n->plans = c->plans;
    n->slots = &n->own;
    tsn_map_init(&n->by_id);
    tsn_map_init(&n->twins.by_id);
    return n;
}

/* The node is whole: it takes the slots that its children have, and its place. */
static struct node *keep_node(struct compiler *c, const char *what, struct node *n)
{
    char *text = node_text(c, what, n->expr);

    for (int side = 0; side < 2; side++) {
        const struct slots *from = tsn_node_child_slots(n, side);

        for (uint32_t i = 0; from && i < from->len; i++)
            if (from->state[i] == SLOT_LIVE)
                tsn_node_slot_added(n, side, i);
    }
    tsn_node_settle(n);
    n->kept = true;
    tsn_vec_push(&c->plans->nodes, n);
    tsn_map_put_str(&c->plans->by_text, text, n);
    tsn_free(text);
    return n;
}

void tsn_node_free(struct node *n)
{
    tsn_slots_release(&n->own);
    for (uint32_t g = 0; g < n->groups_cap; g++)
        tsn_vec_release(&n->groups[g].members);
    for (size_t k = 0; k < n->keys.len; k++) {
        tsn_vec_release(&n->keys.items[k].side[0]);
        tsn_vec_release(&n->keys.items[k].side[1]);
        tsn_vec_release(&n->keys.items[k].outs);
    }
    tsn_vec_release(&n->keys);
    tsn_vec_release(&n->free_keys);
    tsn_vec_release(&n->touched);
    tsn_vec_release(&n->emit);
    tsn_vec_release(&n->firsts.members);
    tsn_map_release(&n->by_id);
    tsn_map_release(&n->twins.by_id);
    for (int side = 0; side < 2; side++) {
        tsn_free(n->key_of[side]);
        tsn_free(n->out_of[side]);
    }
    tsn_free(n->present);
    tsn_free(n->value);
    tsn_free(n->cursors);
    for (uint32_t i = 0; i < n->blocks_cap; i++)
        tsn_blocks_free(n->blocks[i]);
    tsn_free(n->blocks);
    tsn_free(n->groups);
    tsn_free(n->group_of);
    tsn_free(n->upper);
    tsn_free(n->unseen);
    tsn_subquery_free(n->sub);
    if (n->regex)
        tsn_regex_free(&n->regex);
    tsn_free(n);
}

static struct node *naive(struct compiler *c, const struct tsn_expr *e)
{
    struct node *n = new_node(c, e, NODE_NAIVE);

    n->named = true;
    return keep_node(c, "naive", n);
}

/* The node shows its child's slots; `drop`: without the name. */
static void mirror(struct node *n, struct node *child, bool drop)
{
    n->slots = child->slots;
    n->named = child->named;
    n->pinned = child->pinned;
    n->nameless = child->nameless || drop;
    n->check_twins = drop && !child->nameless && child->named && !child->pinned;
}

static struct node *unary(struct compiler *c, const struct tsn_expr *e, enum node_kind kind, const struct tsn_expr *arg,
                          bool drop)
{
    struct node *child = compile(c, arg), *n = new_node(c, e, kind);

    n->in[0] = child;
    mirror(n, child, drop);
    return n;
}

/* ---- selectors ---------------------------------------------------------------------------- */

void tsn_selector_free(struct selector *s)
{
    tsn_slots_release(&s->slots);
    tsn_free(s->source);
    tsn_free(s);
}

void tsn_selector_attach(struct tsn_plans *plans, struct selector *sel, struct tsn_plan_series *s)
{
    struct place place = { sel->number, 0 };

    if (!(s->scopes >> sel->scope & 1) ||
        !tsn_matchers_match(sel->expr->u.selector.matchers, sel->expr->u.selector.matcher_count, s->labels))
        return;
    place.slot = tsn_slots_add(&sel->slots, tsn_labels_ref(s->labels));
    sel->source = tsn_grow_zero(sel->source, &sel->source_cap, sel->slots.len, sizeof(*sel->source));
    sel->source[place.slot] = s->samples;
    sel->touched = ++plans->seq;
    if (s->place_count)
        s->others = tsn_reallocarray(s->others, s->place_count, sizeof *s->others);
    *tsn_place_of(s, s->place_count++) = place;
}

static const struct tsn_matcher *pinned_metric(const struct tsn_expr *e)
{
    for (uint32_t i = 0; i < e->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &e->u.selector.matchers[i];

        if (m->op == TSN_MATCH_EQ && strcmp(m->name, "__name__") == 0 && m->value_len)
            return m;
    }
    return NULL;
}

static void list_selector(struct tsn_plans *plans, struct selector *s)
{
    void **slot = tsn_map_upsert(&plans->selectors_by_metric, s->metric ? s->metric : "", s->metric_len, NULL);
    struct selector_list *list = *slot;

    if (!list)
        list = *slot = tsn_calloc(1, sizeof *list);
    tsn_vec_push(list, s);
    s->number = (uint32_t)plans->selectors.len;
    tsn_vec_push(&plans->selectors, s);
}

static struct selector *selector(struct compiler *c, const struct tsn_expr *e)
{
    struct tsn_plans *plans = c->plans;
    struct tsn_expr plain = *e;
    const struct tsn_matcher *metric = pinned_metric(e);
    struct tsn_buf text = TSN_BUF_INIT;
    struct selector *s;

    plain.u.selector.offset_ms = 0;
    tsn_buf_printf(&text, "%u|", c->plan->scope);
    tsn_expr_print(&text, &plain);
    s = tsn_map_get(&plans->selector_by_text, text.data, text.len);
    if (!s) {
        s = tsn_calloc(1, sizeof *s);
        s->expr = e;
        s->scope = c->plan->scope;
        s->metric = metric ? metric->value : NULL;
        s->metric_len = metric ? metric->value_len : 0;
        tsn_map_put(&plans->selector_by_text, text.data, text.len, s);
        list_selector(plans, s);
        for (size_t i = 0; i < plans->series.len; i++)
            tsn_selector_attach(plans, s, plans->series.items[i]);
    }
    tsn_buf_release(&text);
    return s;
}

static bool plain_selector(const struct tsn_expr *e)
{
    return e->kind == TSN_EXPR_SELECTOR && e->u.selector.at == TSN_AT_NONE && !e->u.selector.anchored &&
           !e->u.selector.smoothed;
}

static struct node *leaf(struct compiler *c, const struct tsn_expr *e, const struct tsn_expr *sel, enum node_kind kind,
                         bool drop)
{
    struct node *n = new_node(c, e, kind);

    n->selector = selector(c, sel);
    n->offset_ms = sel->u.selector.offset_ms;
    n->slots = &n->selector->slots;
    n->named = true;
    n->pinned = n->selector->metric != NULL;
    n->nameless = drop;
    n->check_twins = drop && !n->pinned;
    return n;
}

static struct node *window(struct compiler *c, const struct tsn_expr *matrix)
{
    struct node *n = find_node(c, "window", matrix);

    if (n)
        return n;
    n = leaf(c, matrix, tsn_expr_unwrap(matrix->u.matrix.selector), NODE_WINDOW, false);
    n->range_ms = matrix->u.matrix.range_ms;
    return keep_node(c, "window", n);
}

/* What a function wants of a window's fold. */
static unsigned parts_of(enum tsn_function_id fn)
{
    switch (fn) {
    case TSN_FN_SUM_OVER_TIME:
    case TSN_FN_AVG_OVER_TIME: return TSN_FOLD_SUM;
    case TSN_FN_RATE:
    case TSN_FN_INCREASE:
    case TSN_FN_RESETS: return TSN_FOLD_RESETS;
    case TSN_FN_CHANGES: return TSN_FOLD_CHANGES;
    case TSN_FN_STDDEV_OVER_TIME:
    case TSN_FN_STDVAR_OVER_TIME: return TSN_FOLD_MOMENTS;
    case TSN_FN_MIN_OVER_TIME:
    case TSN_FN_MAX_OVER_TIME: return TSN_FOLD_EXTREMES;
    default: return 0;
    }
}

/* A function more on a window: what was folded without it begins anew. */
static void want_parts(struct node *win, unsigned parts)
{
    if ((win->parts | parts) == win->parts)
        return;
    win->parts |= parts;
    for (uint32_t i = 0; i < win->blocks_cap; i++)
        tsn_blocks_forget(win->blocks[i]);
}

static bool plain_matrix(const struct tsn_expr *e)
{
    return e->kind == TSN_EXPR_MATRIX && e->u.matrix.range_ms > 0 && plain_selector(tsn_expr_unwrap(e->u.matrix.selector));
}

static struct node *over(struct compiler *c, const struct tsn_expr *e, const struct tsn_expr *matrix,
                         const struct tsn_expr *param, enum tsn_function_id fn)
{
    bool keeps_name = fn == TSN_FN_LAST_OVER_TIME || fn == TSN_FN_FIRST_OVER_TIME;
    struct node *win = window(c, matrix), *scalar = param ? compile(c, param) : NULL, *n;

    n = leaf(c, e, tsn_expr_unwrap(matrix->u.matrix.selector), NODE_OVER, !keeps_name);
    n->window = win;
    want_parts(win, parts_of(fn));
    n->scalars[0] = scalar;
    n->fn = fn;
    return n;
}

/* ---- subqueries --------------------------------------------------------------------------- */

static bool has_naive(const struct node *n)
{
    const struct node *children[] = { n->in[0], n->in[1], n->scalars[0], n->scalars[1] };

    if (n->kind == NODE_NAIVE)
        return true;
    for (size_t i = 0; i < TSN_ARRAY_LEN(children); i++)
        if (children[i] && has_naive(children[i]))
            return true;
    return false;
}

static struct node *lone(struct compiler *c, const struct tsn_expr *e, enum node_kind kind, struct tsn_labels *labels);

/* The operand as a vector: a scalar is one element without labels. */
static struct node *operand_node(struct compiler *c, const struct tsn_expr *e)
{
    struct node *scalar = compile(c, e), *n;

    if (e->type != TSN_TYPE_SCALAR)
        return scalar;
    n = find_node(c, "vector of", e);
    if (n)
        return n;
    n = lone(c, e, NODE_VECTOR, tsn_labels_empty());
    n->scalars[0] = scalar;
    return keep_node(c, "vector of", n);
}

/* NULL: no streaming form. */
static struct node *subquery(struct compiler *c, const struct tsn_expr *e)
{
    int64_t step_ms = e->u.subquery.step_ms ? e->u.subquery.step_ms : c->plans->opt.default_step_ms;
    struct tsn_buf beat = TSN_BUF_INIT;
    struct compiler below = *c;
    struct node *n, *inner;

    if (e->u.subquery.at != TSN_AT_NONE || e->u.subquery.range_ms <= 0 || step_ms <= 0)
        return NULL;
    if ((n = find_node(c, "subquery", e)))
        return n;
    /* Subqueries of one step and offset share their operands' parts, should the ranges be equal, too:
     * of two that reach back differently, one would send the other's windows back in time. */
    tsn_buf_printf(&beat, "%s/%lld:%lld:%lld", c->beat, (long long)e->u.subquery.range_ms, (long long)step_ms,
                   (long long)e->u.subquery.offset_ms);
    below.beat = tsn_buf_str(&beat);
    inner = operand_node(&below, e->u.subquery.operand);
    if (!has_naive(inner)) {
        n = new_node(c, e, NODE_SUBQUERY);
        n->offset_ms = e->u.subquery.offset_ms;
        n->range_ms = e->u.subquery.range_ms;
        n->named = inner->named && !inner->nameless;
        n->pinned = inner->pinned;
        tsn_subquery_new(n, inner, step_ms);
        keep_node(c, "subquery", n);
    }
    tsn_buf_release(&beat);
    return n;
}

static void stand_on(struct node *n, struct node *sub, bool drop)
{
    n->in[0] = sub;
    n->selector = tsn_subquery_selector(sub);
    n->slots = &n->selector->slots;
    n->named = sub->named;
    n->pinned = sub->pinned;
    n->nameless = drop;
    n->check_twins = drop && sub->named && !sub->pinned;
}

static struct node *over_subquery(struct compiler *c, const struct tsn_expr *e, const struct tsn_expr *matrix,
                                  const struct tsn_expr *param, enum tsn_function_id fn)
{
    bool keeps_name = fn == TSN_FN_LAST_OVER_TIME || fn == TSN_FN_FIRST_OVER_TIME;
    struct node *sub = subquery(c, matrix), *win, *scalar, *n;

    if (!sub)
        return NULL;
    win = find_node(c, "window", matrix);
    if (!win) {
        win = new_node(c, matrix, NODE_WINDOW);
        stand_on(win, sub, false);
        win->offset_ms = sub->offset_ms;
        win->range_ms = sub->range_ms;
        keep_node(c, "window", win);
    }
    scalar = param ? compile(c, param) : NULL;
    n = new_node(c, e, NODE_OVER);
    stand_on(n, sub, !keeps_name);
    n->window = win;
    want_parts(win, parts_of(fn));
    n->scalars[0] = scalar;
    n->fn = fn;
    return n;
}

/* ---- calls -------------------------------------------------------------------------------- */

static struct node *lone(struct compiler *c, const struct tsn_expr *e, enum node_kind kind, struct tsn_labels *labels)
{
    struct node *n = new_node(c, e, kind);

    (void)tsn_slots_add(&n->own, labels);
    return n;
}

static struct node *absent(struct compiler *c, const struct tsn_expr *e)
{
    const struct tsn_expr *arg = tsn_expr_unwrap(e->u.call.args[0]);
    struct node *child, *n;

    if (e->u.call.func->id == TSN_FN_ABSENT_OVER_TIME) {
        child = find_node(c, "present", arg);
        if (!child) {
            if (plain_matrix(arg))
                child = over(c, arg, arg, NULL, TSN_FN_PRESENT_OVER_TIME);
            else if (arg->kind == TSN_EXPR_SUBQUERY)
                child = over_subquery(c, arg, arg, NULL, TSN_FN_PRESENT_OVER_TIME);
            if (!child)
                return naive(c, e);
            child->nameless = child->check_twins = false; /* nobody sees its labels */
            child = keep_node(c, "present", child);
        }
    } else {
        child = compile(c, arg);
    }
    n = lone(c, e, NODE_ABSENT, tsn_absent_labels(e->u.call.args[0]));
    n->in[0] = child;
    return n;
}

/* What comes in the order of sort() or topk() would be added in that order. */
static bool in_own_order(const struct tsn_expr *e)
{
    e = tsn_expr_unwrap(e);
    return (e->kind == TSN_EXPR_CALL &&
            (e->u.call.func->id == TSN_FN_SORT || e->u.call.func->id == TSN_FN_SORT_DESC)) ||
           (e->kind == TSN_EXPR_AGGREGATE && e->type == TSN_TYPE_VECTOR &&
            (e->u.aggregate.op == TSN_AGG_TOPK || e->u.aggregate.op == TSN_AGG_BOTTOMK));
}

static struct node *histogram(struct compiler *c, const struct tsn_expr *e, uint32_t scalars)
{
    struct node *params[2] = { NULL, NULL }, *child, *n;

    if (in_own_order(e->u.call.args[scalars]))
        return naive(c, e);
    for (uint32_t i = 0; i < scalars; i++)
        params[i] = compile(c, e->u.call.args[i]);
    child = compile(c, e->u.call.args[scalars]);
    n = new_node(c, e, NODE_HISTOGRAM);
    n->in[0] = child;
    n->scalars[0] = params[0];
    n->scalars[1] = params[1];
    n->fn = e->u.call.func->id;
    n->named = child->named && !child->nameless;
    n->pinned = child->pinned;
    n->nameless = true;
    n->check_twins = n->named && !n->pinned;
    return n;
}

static bool good_label(const struct tsn_expr *text)
{
    text = tsn_expr_unwrap(text);
    return text->u.string.len && tsn_utf8_valid(text->u.string.text, text->u.string.len) &&
           !tsn_label_is_metadata(text->u.string.text);
}

static struct node *relabel(struct compiler *c, const struct tsn_expr *e)
{
    bool replace = e->u.call.func->id == TSN_FN_LABEL_REPLACE;
    const struct tsn_expr *pattern = replace ? tsn_expr_unwrap(e->u.call.args[4]) : NULL;
    struct tsn_regex *regex = NULL;
    struct node *child, *n;
    bool good = good_label(e->u.call.args[1]);

    for (uint32_t i = 3; i < e->u.call.arg_count && !replace; i++)
        good = good && good_label(e->u.call.args[i]);
    if (good && replace)
        good = (regex = tsn_regex_new(pattern->u.string.text, pattern->u.string.len, NULL)) != NULL;
    if (!good)
        return naive(c, e);
    child = compile(c, e->u.call.args[0]);
    n = new_node(c, e, NODE_RELABEL);
    n->regex = regex;
    n->in[0] = child;
    n->named = child->named && !child->nameless;
    n->pinned = child->pinned;
    n->check_twins = true;
    return n;
}

static struct node *math(struct compiler *c, const struct tsn_expr *e)
{
    struct node *params[2] = { NULL, NULL }, *n;

    if (e->u.call.arg_count == 0) {
        n = lone(c, e, NODE_DATE, tsn_labels_empty());
        n->fn = e->u.call.func->id;
        return n;
    }
    for (uint32_t i = 1; i < e->u.call.arg_count && i <= 2; i++)
        params[i - 1] = compile(c, e->u.call.args[i]);
    n = unary(c, e, NODE_MATH, e->u.call.args[0], true);
    n->scalars[0] = params[0];
    n->scalars[1] = params[1];
    n->fn = e->u.call.func->id;
    return n;
}

static struct node *timestamps(struct compiler *c, const struct tsn_expr *e)
{
    const struct tsn_expr *arg = tsn_expr_unwrap(e->u.call.args[0]);

    if (arg->kind != TSN_EXPR_SELECTOR)
        return unary(c, e, NODE_NOW, arg, true);
    return plain_selector(arg) ? leaf(c, e, arg, NODE_STAMP, true) : naive(c, e);
}

static struct node *over_call(struct compiler *c, const struct tsn_expr *e)
{
    uint32_t range_arg = e->u.call.func->id == TSN_FN_QUANTILE_OVER_TIME ? 1 : 0;
    const struct tsn_expr *matrix = tsn_expr_unwrap(e->u.call.args[range_arg]);
    const struct tsn_expr *param = e->u.call.arg_count == 2 ? e->u.call.args[1 - range_arg] : NULL;
    struct node *n = NULL;

    if (plain_matrix(matrix))
        n = over(c, e, matrix, param, e->u.call.func->id);
    else if (matrix->kind == TSN_EXPR_SUBQUERY)
        n = over_subquery(c, e, matrix, param, e->u.call.func->id);
    return n ? n : naive(c, e);
}

static struct node *scalar_call(struct compiler *c, const struct tsn_expr *e)
{
    struct node *child, *n;

    if (e->u.call.func->id != TSN_FN_SCALAR) {
        n = new_node(c, e, e->u.call.func->id == TSN_FN_TIME ? NODE_TIME : NODE_NUMBER);
        n->scalar = M_PI;
        return n;
    }
    child = compile(c, e->u.call.args[0]);
    n = new_node(c, e, NODE_SCALAR_OF);
    n->in[0] = child;
    return n;
}

static struct node *call(struct compiler *c, const struct tsn_expr *e)
{
    struct node *scalar, *n;

    if (e->type == TSN_TYPE_SCALAR)
        return scalar_call(c, e);
    switch (e->u.call.func->id) {
    case TSN_FN_ABSENT:
    case TSN_FN_ABSENT_OVER_TIME: return absent(c, e);
    case TSN_FN_HISTOGRAM_QUANTILE: return histogram(c, e, 1);
    case TSN_FN_HISTOGRAM_FRACTION: return histogram(c, e, 2);
    case TSN_FN_HISTOGRAM_AVG:
    case TSN_FN_HISTOGRAM_COUNT:
    case TSN_FN_HISTOGRAM_SUM:
    case TSN_FN_HISTOGRAM_STDDEV:
    case TSN_FN_HISTOGRAM_STDVAR: return naive(c, e);
    case TSN_FN_LABEL_REPLACE:
    case TSN_FN_LABEL_JOIN: return relabel(c, e);
    case TSN_FN_SORT:
    case TSN_FN_SORT_DESC: return unary(c, e, NODE_SAME, e->u.call.args[0], false);
    case TSN_FN_TIMESTAMP: return timestamps(c, e);
    case TSN_FN_VECTOR:
        scalar = compile(c, e->u.call.args[0]);
        n = lone(c, e, NODE_VECTOR, tsn_labels_empty());
        n->scalars[0] = scalar;
        return n;
    default: break;
    }
    for (uint32_t i = 0; i < e->u.call.arg_count; i++)
        if (e->u.call.args[i]->type == TSN_TYPE_MATRIX)
            return over_call(c, e);
    return math(c, e);
}

/* ---- operators and aggregations ----------------------------------------------------------- */

static bool any_metadata(const char *const *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (tsn_label_is_metadata(names[i]))
            return true;
    return false;
}

static struct node *join(struct compiler *c, const struct tsn_expr *e)
{
    enum tsn_binop op = e->u.binary.op;
    bool one_to_many = e->u.binary.card == TSN_CARD_ONE_TO_MANY, drops;
    struct node *l, *r, *n, *many;

    if (any_metadata(e->u.binary.match_labels, e->u.binary.match_label_count) ||
        any_metadata(e->u.binary.include_labels, e->u.binary.include_label_count))
        return naive(c, e);
    l = compile(c, e->u.binary.lhs);
    r = compile(c, e->u.binary.rhs);
    n = new_node(c, e, !tsn_binop_is_set(op) ? NODE_JOIN : op == TSN_OP_OR ? NODE_OR : NODE_AND);
    n->in[0] = l;
    n->in[1] = r;
    if (n->kind == NODE_AND) {
        mirror(n, l, false);
    } else if (n->kind == NODE_OR) {
        n->named = (l->named && !l->nameless) || (r->named && !r->nameless);
    } else {
        many = one_to_many ? r : l;
        drops = !tsn_binop_is_comparison(op) || e->u.binary.return_bool;
        n->named = !drops && many->named && !many->nameless;
        n->pinned = many->pinned;
        n->check_twins = e->u.binary.card != TSN_CARD_ONE_TO_ONE;
    }
    return n;
}

static struct node *binary(struct compiler *c, const struct tsn_expr *e)
{
    enum tsn_binop op = e->u.binary.op;
    bool left = e->u.binary.lhs->type == TSN_TYPE_SCALAR, right = e->u.binary.rhs->type == TSN_TYPE_SCALAR;
    struct node *scalar[2], *n;

    if (op == TSN_OP_TRIM_UPPER || op == TSN_OP_TRIM_LOWER)
        return naive(c, e);
    if (!left && !right)
        return join(c, e);
    scalar[0] = compile(c, left ? e->u.binary.lhs : e->u.binary.rhs);
    if (left && right) {
        scalar[1] = compile(c, e->u.binary.rhs);
        n = new_node(c, e, NODE_SCALAR_BINARY);
        n->scalars[1] = scalar[1];
    } else {
        n = unary(c, e, NODE_WITH_SCALAR, left ? e->u.binary.rhs : e->u.binary.lhs,
                  !tsn_binop_is_comparison(op) || e->u.binary.return_bool);
    }
    n->scalars[0] = scalar[0];
    return n;
}

static struct node *aggregate(struct compiler *c, const struct tsn_expr *e)
{
    enum tsn_aggop op = e->u.aggregate.op;
    bool top = op == TSN_AGG_TOPK || op == TSN_AGG_BOTTOMK;
    struct node *param = NULL, *child, *n;

    if (op == TSN_AGG_COUNT_VALUES) {
        child = compile(c, e->u.aggregate.operand);
        if (child->kind == NODE_NAIVE && !child->in[0])
            return naive(c, e);
        n = new_node(c, e, NODE_NAIVE);
        n->in[0] = child;
        n->named = true;
        return keep_node(c, "naive", n);
    }
    if (op == TSN_AGG_LIMITK || op == TSN_AGG_LIMIT_RATIO)
        return naive(c, e);
    if (e->u.aggregate.param)
        param = compile(c, e->u.aggregate.param);
    child = compile(c, e->u.aggregate.operand);
    n = new_node(c, e, top ? NODE_TOP : NODE_GROUP);
    n->in[0] = child;
    n->scalars[0] = param;
    if (top) {
        mirror(n, child, false);
    } else if (!e->u.aggregate.without && any_metadata(e->u.aggregate.labels, e->u.aggregate.label_count)) {
        n->named = child->named && !child->nameless;
        n->pinned = child->pinned;
    }
    return n;
}

static struct node *negative(struct compiler *c, const struct tsn_expr *e)
{
    struct node *child, *n;

    if (e->type != TSN_TYPE_SCALAR)
        return unary(c, e, e->u.unary.negate ? NODE_NEGATE : NODE_SAME, e->u.unary.operand, e->u.unary.negate);
    child = compile(c, e->u.unary.operand);
    if (!e->u.unary.negate)
        return child;
    n = new_node(c, e, NODE_SCALAR_NEGATE);
    n->scalars[0] = child;
    return n;
}

static struct node *build(struct compiler *c, const struct tsn_expr *e)
{
    struct node *n;

    switch (e->kind) {
    case TSN_EXPR_NUMBER:
        n = new_node(c, e, NODE_NUMBER);
        n->scalar = e->u.number;
        return n;
    case TSN_EXPR_UNARY: return negative(c, e);
    case TSN_EXPR_BINARY: return binary(c, e);
    case TSN_EXPR_CALL: return call(c, e);
    case TSN_EXPR_AGGREGATE: return aggregate(c, e);
    case TSN_EXPR_SELECTOR: return plain_selector(e) ? leaf(c, e, e, NODE_NEWEST, false) : naive(c, e);
    default: return naive(c, e);
    }
}

/* Remembers which naive parts a step of this plan has to ask. */
static void collect_naives(struct tsn_plan *plan, struct node *n)
{
    if (!n)
        return;
    for (int i = 0; i < 2; i++) {
        collect_naives(plan, n->in[i]);
        collect_naives(plan, n->scalars[i]);
    }
    if (n->kind != NODE_NAIVE)
        return;
    for (size_t i = 0; i < plan->naives.len; i++)
        if (plan->naives.items[i] == n)
            return;
    tsn_vec_push(&plan->naives, n); /* after those below it */
}

static struct node *compile(struct compiler *c, const struct tsn_expr *e)
{
    struct node *n;

    e = tsn_expr_unwrap(e);
    n = find_node(c, "", e);
    if (!n)
        n = find_node(c, "naive", e);
    if (n)
        return n;
    n = build(c, e);
    return n->kept ? n : keep_node(c, "", n);
}

struct node *tsn_plan_compile(struct tsn_plan *plan, const struct tsn_expr *e, uint32_t lane)
{
    struct compiler c = { plan, plan->plans, lane, "" };
    struct node *n = compile(&c, e);

    collect_naives(plan, n);
    return n;
}
