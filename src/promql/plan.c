/*
 * plan: the graph's life. Series come and go, slots settle, a step runs, its result goes out. See
 * tocsin/plan.h and plan_int.h.
 *
 * Settling runs before a step if anything came or went: nodes in order, children first, each takes
 * from its children's lists of added and removed slots and fills its own. A slot that goes keeps its
 * labels until all have heard of it.
 */
#include "promql/plan_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- samples ------------------------------------------------------------------------------ */

void tsn_samples_reserve(struct tsn_samples *samples, size_t want)
{
    if (want <= samples->cap)
        return;
    TSN_ASSERT(want <= UINT32_MAX);
    samples->cap = (uint32_t)want;
    samples->items = tsn_reallocarray(samples->items, want, sizeof *samples->items);
}

void tsn_samples_push(struct tsn_samples *samples, struct tsn_sample sample)
{
    enum { FEW = 4 };

    if (samples->len == samples->cap)
        tsn_samples_reserve(samples, (size_t)samples->len + samples->len / 4 + FEW);
    samples->items[samples->len++] = sample;
}

/* ---- life --------------------------------------------------------------------------------- */

struct tsn_plans *tsn_plans_new(const struct tsn_eval_options *options)
{
    struct tsn_plans *plans = tsn_calloc(1, sizeof *plans);

    plans->opt = tsn_eval_make(NULL, options, 0, 0, NULL).opt;
    tsn_map_init(&plans->by_text);
    tsn_map_init(&plans->selector_by_text);
    tsn_map_init(&plans->selectors_by_metric);
    return plans;
}

static void plan_free(struct tsn_plan *plan)
{
    tsn_vec_release(&plan->naives);
    tsn_vec_release(&plan->order.members);
    tsn_vec_release(&plan->shown.members);
    tsn_free(plan);
}

void tsn_plans_free(struct tsn_plans **plans)
{
    struct tsn_plans *p = *plans;

    if (!p)
        return;
    for (size_t i = 0; i < p->plans.len; i++)
        plan_free(p->plans.items[i]);
    for (size_t i = 0; i < p->nodes.len; i++)
        tsn_node_free(p->nodes.items[i]);
    for (size_t i = 0; i < p->selectors.len; i++)
        tsn_selector_free(p->selectors.items[i]);
    for (size_t i = 0; i < p->series.len; i++) {
        tsn_labels_unref(p->series.items[i]->labels);
        tsn_free(p->series.items[i]->others);
        tsn_free(p->series.items[i]);
    }
    tsn_map_foreach(&p->selectors_by_metric, e) {
        tsn_free(((struct selector_list *)e->value)->items);
        tsn_free(e->value);
    }
    tsn_map_release(&p->selectors_by_metric);
    tsn_map_release(&p->selector_by_text);
    tsn_map_release(&p->by_text);
    tsn_vec_release(&p->plans);
    tsn_vec_release(&p->nodes);
    tsn_vec_release(&p->selectors);
    tsn_vec_release(&p->series);
    tsn_vec_release(&p->values);
    tsn_vec_release(&p->buckets);
    tsn_vec_release(&p->samples);
    tsn_vec_release(&p->picked);
    tsn_vec_release(&p->merge);
    tsn_free(p);
    *plans = NULL;
}

/* ---- settling ----------------------------------------------------------------------------- */

struct slots *tsn_node_child_slots(const struct node *n, int side)
{
    if (n->kind == NODE_SUBQUERY)
        return side ? NULL : tsn_subquery_inner(n)->slots;
    if (n->selector)
        return side ? NULL : &n->selector->slots;
    return n->in[side] ? n->in[side]->slots : NULL;
}

void tsn_node_slot_added(struct node *n, int side, uint32_t slot)
{
    switch (n->kind) {
    case NODE_WINDOW:
        if (slot < n->cursor_cap)
            n->cursors[slot].filled = false;
        break;
    case NODE_GROUP:
    case NODE_TOP:
    case NODE_HISTOGRAM: tsn_group_slot_added(n, slot); break;
    case NODE_JOIN:
    case NODE_AND:
    case NODE_OR: tsn_join_slot_added(n, side, slot); break;
    case NODE_RELABEL: tsn_relabel_slot_added(n, slot); break;
    case NODE_SUBQUERY: tsn_subquery_slot_added(n, slot); break;
    default:
        if (n->check_twins)
            tsn_twins_add(&n->twins, tsn_slots_shown(n->slots, slot, true)->id);
        break;
    }
}

void tsn_node_slot_removed(struct node *n, int side, uint32_t slot)
{
    switch (n->kind) {
    case NODE_WINDOW:
        if (slot < n->blocks_cap) {
            tsn_blocks_free(n->blocks[slot]);
            n->blocks[slot] = NULL;
        }
        break;
    case NODE_GROUP:
    case NODE_TOP:
    case NODE_HISTOGRAM: tsn_group_slot_removed(n, slot); break;
    case NODE_JOIN:
    case NODE_AND:
    case NODE_OR: tsn_join_slot_removed(n, side, slot); break;
    case NODE_RELABEL: tsn_relabel_slot_removed(n, slot); break;
    case NODE_SUBQUERY: tsn_subquery_slot_removed(n, slot); break;
    default:
        if (n->check_twins)
            tsn_twins_del(&n->twins, tsn_slots_shown(n->slots, slot, true)->id);
        break;
    }
}

void tsn_node_settle(struct node *n)
{
    if (n->kind == NODE_GROUP || n->kind == NODE_TOP || n->kind == NODE_HISTOGRAM)
        tsn_group_node_settle(n);
    else if (n->kind == NODE_SUBQUERY)
        tsn_subquery_settle(n);
}

static void settle_order(struct tsn_plan *plan)
{
    const struct slots *s = plan->root ? plan->root->slots : NULL;

    if (!s)
        return;
    for (size_t i = 0; i < s->added.len; i++)
        tsn_group_add(&plan->order, s->added.items[i]);
    plan->order.dying |= s->removed.len > 0;
    if (plan->order.dying)
        tsn_group_settle(plan->plans, &plan->order, s, plan->root->nameless);
}

static void settled(struct tsn_plans *plans)
{
    for (size_t i = 0; i < plans->selectors.len; i++)
        tsn_slots_settled(&plans->selectors.items[i]->slots);
    for (size_t i = 0; i < plans->nodes.len; i++) {
        struct node *n = plans->nodes.items[i];

        tsn_slots_settled(n->kind == NODE_SUBQUERY ? &tsn_subquery_selector(n)->slots : &n->own);
    }
}

void tsn_plans_settle(struct tsn_plans *plans)
{
    if (!plans->pending)
        return;
    plans->pending = false;
    for (size_t i = 0; i < plans->nodes.len; i++) {
        struct node *n = plans->nodes.items[i];

        for (int side = 0; side < 2; side++) {
            struct slots *from = tsn_node_child_slots(n, side);

            for (size_t k = 0; from && k < from->added.len; k++)
                tsn_node_slot_added(n, side, from->added.items[k]);
            for (size_t k = 0; from && k < from->removed.len; k++)
                tsn_node_slot_removed(n, side, from->removed.items[k]);
        }
        tsn_node_settle(n);
    }
    for (size_t i = 0; i < plans->plans.len; i++)
        settle_order(plans->plans.items[i]);
    settled(plans);
}

/* ---- plans and series --------------------------------------------------------------------- */

static bool sorts(const struct tsn_expr *e)
{
    return e->kind == TSN_EXPR_CALL &&
           (e->u.call.func->id == TSN_FN_SORT || e->u.call.func->id == TSN_FN_SORT_DESC);
}

struct tsn_plan *tsn_plans_add(struct tsn_plans *plans, const struct tsn_query *query, uint32_t scope, uint32_t lane)
{
    struct tsn_plan *plan = tsn_calloc(1, sizeof *plan);

    TSN_ASSERT(scope < 32);
    plan->plans = plans;
    plan->query = query;
    plan->scope = scope;
    tsn_vec_push(&plans->plans, plan);
    if (query->root->type != TSN_TYPE_VECTOR && query->root->type != TSN_TYPE_SCALAR)
        return plan;
    tsn_plans_settle(plans);
    plan->root = tsn_plan_compile(plan, query->root, lane);
    plan->streaming = true;
    for (size_t i = 0; i < plan->naives.len; i++)
        plan->streaming = plan->streaming && plan->naives.items[i]->in[0];
    plan->sort = sorts(tsn_expr_unwrap(query->root));
    if (plan->root->kind == NODE_NAIVE && !plan->root->in[0])
        plan->root = NULL;
    for (uint32_t i = 0; plan->root && i < plan->root->slots->len; i++)
        if (plan->root->slots->state[i] == SLOT_LIVE)
            tsn_group_add(&plan->order, i);
    settled(plans);
    return plan;
}

static void attach_all(struct tsn_plans *plans, const struct selector_list *list, struct tsn_plan_series *s)
{
    for (size_t i = 0; list && i < list->len; i++)
        tsn_selector_attach(plans, list->items[i], s);
}

struct tsn_plan_series *tsn_plans_series_add(struct tsn_plans *plans, struct tsn_labels *labels,
                                             const struct tsn_samples *samples, uint32_t scopes)
{
    struct tsn_plan_series *s = tsn_calloc(1, sizeof *s);
    const struct tsn_label *name = tsn_labels_find(labels, "__name__", 8);

    s->labels = tsn_labels_ref(labels);
    s->samples = samples;
    s->scopes = scopes;
    s->index = (uint32_t)plans->series.len;
    s->odd = tsn_labels_get(labels, "__type__") || tsn_labels_get(labels, "__unit__");
    plans->odd += s->odd;
    tsn_vec_push(&plans->series, s);
    if (name)
        attach_all(plans, tsn_map_get(&plans->selectors_by_metric, name->value, name->value_len), s);
    attach_all(plans, tsn_map_get(&plans->selectors_by_metric, "", 0), s);
    plans->pending |= s->place_count > 0;
    tsn_plans_touch(plans, s);
    return s;
}

void tsn_plans_series_remove(struct tsn_plans *plans, struct tsn_plan_series *s)
{
    tsn_plans_touch(plans, s);
    for (uint32_t i = 0; i < s->place_count; i++) {
        struct selector *sel = plans->selectors.items[tsn_place_of(s, i)->selector];

        tsn_slots_remove(&sel->slots, tsn_place_of(s, i)->slot);
        sel->source[tsn_place_of(s, i)->slot] = NULL;
        plans->pending = true;
    }
    plans->odd -= s->odd;
    plans->series.items[s->index] = plans->series.items[--plans->series.len];
    plans->series.items[s->index]->index = s->index;
    tsn_labels_unref(s->labels);
    tsn_free(s->others);
    tsn_free(s);
}

void tsn_plans_touch(struct tsn_plans *plans, struct tsn_plan_series *s)
{
    plans->touched = ++plans->seq;
    for (uint32_t i = 0; i < s->place_count; i++)
        plans->selectors.items[tsn_place_of(s, i)->selector]->touched = plans->seq;
}

void tsn_plans_changed(struct tsn_plans *plans)
{
    plans->changed = ++plans->seq;
}

/* ---- a step ------------------------------------------------------------------------------- */

void tsn_node_room(struct node *n)
{
    uint32_t cap = n->cap, want = n->slots->len ? n->slots->len : 1; /* never NULL */

    n->present = tsn_grow_zero(n->present, &cap, want, sizeof *n->present);
    n->value = tsn_grow_zero(n->value, &n->cap, want, sizeof *n->value);
}

/* Two elements with one label set: an error, for the naive evaluator to tell. */
static bool twins_meet(struct node *n)
{
    struct tsn_map seen;
    bool found = false;

    if (!n->check_twins || !n->twins.surplus)
        return false;
    tsn_map_init(&seen);
    for (uint32_t i = 0; i < n->slots->len && !found; i++)
        if (n->present[i]) {
            const struct tsn_labels *labels = tsn_slots_shown(n->slots, i, n->nameless);

            found = tsn_map_put(&seen, &labels->id, sizeof labels->id, n) != NULL;
        }
    tsn_map_release(&seen);
    return found;
}

static void compute(struct node *n, const struct step *step)
{
    switch (n->kind) {
    case NODE_NEWEST:
    case NODE_STAMP: tsn_newest_eval(n, step); break;
    case NODE_OVER: tsn_over_eval(n, step); break;
    case NODE_GROUP: tsn_group_eval(n, step); break;
    case NODE_TOP: tsn_top_eval(n); break;
    case NODE_HISTOGRAM: tsn_histogram_eval(n); break;
    case NODE_JOIN: tsn_join_eval(n); break;
    case NODE_AND:
    case NODE_OR: tsn_set_eval(n); break;
    case NODE_SUBQUERY: tsn_subquery_eval(n, step); break;
    default: tsn_math_eval(n, step); break;
    }
}

/* Children first. False: the node stands for this very time and data. */
static bool children_eval(struct node *n, const struct step *step, bool *failed)
{
    struct node *children[] = { n->in[0], n->in[1], n->scalars[0], n->scalars[1] };
    bool stale = !n->valid || n->at_ms != step->at_ms || n->floor_ms != step->floor_ms;
    uint64_t cost = 0;

    *failed = false;
    for (size_t i = 0; i < TSN_ARRAY_LEN(children); i++) {
        if (!children[i])
            continue;
        tsn_node_eval(children[i], step);
        stale |= children[i]->seq > n->seq;
        *failed |= children[i]->failed;
        cost += children[i]->cost;
    }
    if (n->selector)
        stale |= n->selector->touched > n->seq || step->plans->changed > n->seq;
    if (n->sub)
        stale |= step->plans->touched > n->seq || step->plans->changed > n->seq;
    if (stale)
        n->cost = cost;
    return stale;
}

void tsn_node_eval(struct node *n, const struct step *step)
{
    uint64_t cost;
    bool failed;

    if (n->pass == step->plans->pass || n->kind == NODE_NAIVE)
        return;
    n->pass = step->plans->pass;
    if (!children_eval(n, step, &failed))
        return;
    cost = n->cost; /* of the children; a leaf counts its own */
    n->failed = failed;
    tsn_node_room(n);
    if (!failed)
        compute(n, step);
    n->failed = n->failed || twins_meet(n);
    n->cost = n->selector || n->sub ? n->cost + cost : cost;
    n->valid = true;
    n->at_ms = step->at_ms;
    n->floor_ms = step->floor_ms;
    n->seq = ++step->plans->seq;
}

/* ---- results ------------------------------------------------------------------------------ */

static void put(struct tsn_plan *plan, uint32_t slot, int64_t at_ms, struct tsn_result *result)
{
    struct node *n = plan->root;
    struct tsn_vector_sample s = { tsn_labels_ref(tsn_slots_shown(n->slots, slot, n->nameless)), at_ms,
                                   n->value[slot] };

    if (result->vector_len == result->vector_cap)
        result->vector = tsn_vec_grow(result->vector, &result->vector_cap, result->vector_len + 1,
                                      sizeof *result->vector);
    result->vector[result->vector_len++] = s;
}

/* Slots that are there, in canonical order: few are sorted anew, many found in the list that is kept. */
static const struct u32s *shown_order(struct tsn_plan *plan)
{
    enum { FEW_OF = 16 };
    struct node *n = plan->root;
    struct group *shown = &plan->shown;

    shown->members.len = shown->sorted = 0;
    for (uint32_t i = 0; i < n->slots->len; i++)
        if (n->present[i] == 1)
            tsn_group_add(shown, i);
    if (shown->members.len > n->slots->live / FEW_OF) {
        tsn_group_settle(plan->plans, &plan->order, n->slots, n->nameless);
        return &plan->order.members;
    }
    tsn_group_settle(plan->plans, shown, n->slots, n->nameless);
    return &shown->members;
}

static void sort_result(const struct tsn_plan *plan, struct tsn_result *result)
{
    bool up = tsn_expr_unwrap(plan->query->root)->u.call.func->id == TSN_FN_SORT;
    struct elem *elems = tsn_calloc(result->vector_len, sizeof *elems);

    for (size_t i = 0; i < result->vector_len; i++)
        elems[i] = (struct elem){ result->vector[i].labels, result->vector[i].ts_ms, result->vector[i].value };
    if (result->vector_len)
        qsort(elems, result->vector_len, sizeof *elems, up ? tsn_elem_ascending : tsn_elem_descending);
    for (size_t i = 0; i < result->vector_len; i++)
        result->vector[i] = (struct tsn_vector_sample){ elems[i].labels, elems[i].ts_ms, elems[i].value };
    tsn_free(elems);
}

static void give_result(struct tsn_plan *plan, int64_t at_ms, struct tsn_result *result)
{
    struct node *n = plan->root;
    const struct u32s *order;

    result->type = plan->query->root->type;
    if (result->type == TSN_TYPE_SCALAR) {
        result->scalar = n->scalar;
        return;
    }
    order = n->kind == NODE_TOP ? &n->emit : shown_order(plan);
    for (size_t i = 0; i < order->len; i++)
        if (n->present[order->items[i]] == 1)
            put(plan, order->items[i], at_ms, result);
    if (plan->sort)
        sort_result(plan, result);
}

/* Windows, offsets and steps of subqueries (each under 300 years) may be added to it without overflow. */
static bool plain_time(int64_t at_ms)
{
    return at_ms > -(INT64_C(1) << 60) && at_ms < INT64_C(1) << 60;
}

enum tsn_err tsn_plan_step(struct tsn_plan *plan, const struct tsn_storage *storage, int64_t at_ms, int64_t floor_ms,
                           struct tsn_result *result, struct tsn_error *error)
{
    struct tsn_plans *plans = plan->plans;
    struct step step = { plans, storage, at_ms, floor_ms };
    struct tsn_eval_options options = plans->opt;
    bool good = plan->root && !plans->odd && plain_time(at_ms);

    plans->pass++;
    for (size_t i = 0; i < plan->naives.len && good; i++) {
        tsn_naive_refresh(plan->naives.items[i], &step);
        good = !plan->naives.items[i]->failed;
    }
    if (good) {
        tsn_plans_settle(plans);
        tsn_node_eval(plan->root, &step);
        good = !plan->root->failed && plan->root->cost <= plans->opt.max_samples; /* stale markers count here: never too few */
    }
    if (good) {
        give_result(plan, at_ms, result);
        return TSN_OK;
    }
    plans->stats.naive_steps++;
    return tsn_eval_instant(plan->query, storage, at_ms, &options, result, error);
}

struct tsn_plans_stats tsn_plans_stats(const struct tsn_plans *plans)
{
    struct tsn_plans_stats stats = plans->stats;

    stats.series = plans->series.len;
    stats.selectors = plans->selectors.len;
    stats.nodes = plans->nodes.len;
    for (size_t i = 0; i < plans->nodes.len; i++) {
        stats.naive_nodes += plans->nodes.items[i]->kind == NODE_NAIVE && !plans->nodes.items[i]->in[0];
        stats.slots += plans->nodes.items[i]->slots->live;
    }
    return stats;
}

bool tsn_plan_is_streaming(const struct tsn_plan *plan)
{
    return plan->root && plan->streaming;
}
