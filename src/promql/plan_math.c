/* plan_math: scalars, what is done element by element, relabelling, absent, and the naive parts. */
#include "promql/plan_int.h"

#include <math.h>
#include <string.h>

static double param(const struct node *n, int i)
{
    return n->scalars[i]->scalar;
}

static void scalar_of(struct node *n)
{
    const struct node *in = n->in[0];
    uint32_t found = 0;

    n->scalar = NAN;
    for (uint32_t i = 0; i < in->slots->len && found < 2; i++)
        if (in->present[i] == 1) {
            n->scalar = in->value[i];
            found++;
        }
    if (found != 1)
        n->scalar = NAN;
}

static void scalar_binary(struct node *n)
{
    bool keep;

    n->scalar = tsn_binop_apply(n->expr->u.binary.op, param(n, 0), param(n, 1), &keep);
    if (tsn_binop_is_comparison(n->expr->u.binary.op))
        n->scalar = keep ? 1 : 0;
}

/* The scalar stands right, and the plain comparisons of alert rules: without a call per element. */
static bool filter_quick(struct node *n, enum tsn_binop op, double c)
{
    const uint8_t *has = n->in[0]->present;
    const double *v = n->in[0]->value;
    uint32_t len = n->slots->len;

    memcpy(n->value, v, len * sizeof *v);
    switch (op) {
    case TSN_OP_GT:
        for (uint32_t i = 0; i < len; i++)
            n->present[i] = (has[i] == 1) & (v[i] > c);
        return true;
    case TSN_OP_LT:
        for (uint32_t i = 0; i < len; i++)
            n->present[i] = (has[i] == 1) & (v[i] < c);
        return true;
    case TSN_OP_GE:
        for (uint32_t i = 0; i < len; i++)
            n->present[i] = (has[i] == 1) & (v[i] >= c);
        return true;
    default: return false;
    }
}

static void with_scalar(struct node *n)
{
    const struct node *in = n->in[0];
    enum tsn_binop op = n->expr->u.binary.op;
    bool swapped = n->expr->u.binary.lhs->type == TSN_TYPE_SCALAR, keep;
    bool comparison = tsn_binop_is_comparison(op), filter = comparison && !n->expr->u.binary.return_bool;
    double c = param(n, 0);

    if (filter && !swapped && filter_quick(n, op, c))
        return;
    for (uint32_t i = 0; i < n->slots->len; i++) {
        double v = in->value[i], value;

        n->present[i] = 0;
        if (in->present[i] != 1)
            continue;
        value = swapped ? tsn_binop_apply(op, c, v, &keep) : tsn_binop_apply(op, v, c, &keep);
        if ((filter || !comparison) && !keep)
            continue;
        n->present[i] = 1;
        n->value[i] = filter ? v : comparison ? (keep ? 1 : 0) : value;
    }
}

static void element_wise(struct node *n, const struct step *step)
{
    const struct node *in = n->in[0];
    double a = n->scalars[0] ? param(n, 0) : 1, b = n->scalars[1] ? param(n, 1) : 0;
    bool none = n->kind == NODE_MATH && n->fn == TSN_FN_CLAMP && a > b;

    for (uint32_t i = 0; i < n->slots->len; i++) {
        n->present[i] = in->present[i] == 1 && !none;
        if (!n->present[i])
            continue;
        switch (n->kind) {
        case NODE_MATH: n->value[i] = tsn_math_value(n->fn, in->value[i], a, b); break;
        case NODE_NEGATE: n->value[i] = -in->value[i]; break;
        case NODE_NOW: n->value[i] = (double)step->at_ms / 1000; break;
        default: n->value[i] = in->value[i]; break;
        }
    }
}

static void absent(struct node *n)
{
    const struct node *in = n->in[0];
    bool any = false;

    for (uint32_t i = 0; i < in->slots->len && !any; i++)
        any = in->present[i] == 1;
    n->present[0] = !any;
    n->value[0] = 1;
}

/* ---- relabelling -------------------------------------------------------------------------- */

void tsn_relabel_slot_added(struct node *n, uint32_t slot)
{
    struct tsn_labels *from = tsn_slots_shown(n->in[0]->slots, slot, n->in[0]->nameless);
    struct tsn_labels *to = n->regex ? tsn_label_replaced(n->expr, n->regex, from) : tsn_label_joined(n->expr, from);

    n->out_of[0] = tsn_grow_zero(n->out_of[0], &n->out_of_cap[0], slot + 1, sizeof *n->out_of[0]);
    n->out_of[0][slot] = tsn_slots_add(&n->own, to);
    tsn_twins_add(&n->twins, to->id);
}

void tsn_relabel_slot_removed(struct node *n, uint32_t slot)
{
    uint32_t out = n->out_of[0][slot];

    tsn_twins_del(&n->twins, n->own.labels[out]->id);
    tsn_slots_remove(&n->own, out);
}

static void relabel(struct node *n)
{
    const struct node *in = n->in[0];

    memset(n->present, 0, n->slots->len);
    for (uint32_t i = 0; i < in->slots->len; i++)
        if (in->present[i] == 1) {
            n->present[n->out_of[0][i]] = 1;
            n->value[n->out_of[0][i]] = in->value[i];
        }
}

void tsn_math_eval(struct node *n, const struct step *step)
{
    switch (n->kind) {
    case NODE_NUMBER: break;
    case NODE_TIME: n->scalar = (double)step->at_ms / 1000; break;
    case NODE_SCALAR_OF: scalar_of(n); break;
    case NODE_SCALAR_NEGATE: n->scalar = -param(n, 0); break;
    case NODE_SCALAR_BINARY: scalar_binary(n); break;
    case NODE_WITH_SCALAR: with_scalar(n); break;
    case NODE_ABSENT: absent(n); break;
    case NODE_VECTOR:
        n->present[0] = 1;
        n->value[0] = param(n, 0);
        break;
    case NODE_DATE:
        n->present[0] = 1;
        n->value[0] = tsn_date_part(n->fn, floor((double)step->at_ms / 1000));
        break;
    case NODE_RELABEL: relabel(n); break;
    default: element_wise(n, step); break;
    }
}

/* ---- naive parts -------------------------------------------------------------------------- */

/* Steps for which the slot of an element that is not given any more is kept. */
enum { KEEP_UNSEEN = 8 };

static uint32_t naive_slot(struct node *n, struct tsn_labels *labels)
{
    void **slot = tsn_map_upsert(&n->by_id, &labels->id, sizeof labels->id, NULL);

    if (!*slot) {
        *slot = (void *)((uintptr_t)tsn_slots_add(&n->own, tsn_labels_ref(labels)) + 1);
        n->plans->pending = true;
    }
    return (uint32_t)((uintptr_t)*slot - 1);
}

static void drop_unseen(struct node *n)
{
    for (uint32_t i = 0; i < n->own.len; i++) {
        if (n->own.state[i] != SLOT_LIVE || n->present[i] || ++n->unseen[i] < KEEP_UNSEEN)
            continue;
        tsn_map_del(&n->by_id, &n->own.labels[i]->id, sizeof n->own.labels[i]->id);
        tsn_slots_remove(&n->own, i);
        n->plans->pending = true;
    }
}

/* What is there of a node that is up to date. */
static void take_elements(const struct node *in, int64_t at_ms, struct vec *out)
{
    for (uint32_t i = 0; i < in->slots->len; i++)
        if (in->present[i] == 1)
            tsn_vec_elem(out, tsn_labels_ref(tsn_slots_shown(in->slots, i, in->nameless)), at_ms, in->value[i]);
}

/* count_values: the operand streams, the label sets of its counts are known at a step only. */
static bool count_elements(struct node *n, struct eval *ev, const struct step *step, struct vec *out)
{
    struct node *in = n->in[0];
    struct vec elements = { 0 };

    if (in->failed)
        return false;
    take_elements(in, step->at_ms, &elements);
    ev->samples = in->cost;
    return tsn_count_values(ev, n->expr, &elements, step->at_ms, out) == TSN_OK;
}

static bool up_to_date(struct node *n, const struct step *step)
{
    if (!n->valid || n->at_ms != step->at_ms || n->floor_ms != step->floor_ms)
        return false;
    if (n->in[0])
        return n->in[0]->seq <= n->seq;
    return n->seq > step->plans->changed && n->seq > step->plans->touched;
}

static void show_elements(struct node *n, const struct vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        (void)naive_slot(n, v->items[i].labels);
    tsn_node_room(n);
    n->unseen = tsn_grow_zero(n->unseen, &n->unseen_cap, n->own.len, sizeof *n->unseen);
    memset(n->present, 0, n->own.len);
    for (size_t i = 0; i < v->len; i++) {
        uint32_t slot = naive_slot(n, v->items[i].labels);

        n->present[slot] = 1;
        n->value[slot] = v->items[i].value;
        n->unseen[slot] = 0;
    }
    drop_unseen(n);
}

/* Before settling: what is given may bring slots. */
void tsn_naive_refresh(struct node *n, const struct step *step)
{
    struct tsn_error ignored;
    struct eval ev = tsn_eval_make(step->storage, &step->plans->opt, step->at_ms, step->at_ms, &ignored);
    struct vec v = { 0 }, none = { 0 };

    if (n->in[0]) {
        tsn_plans_settle(step->plans);
        tsn_node_eval(n->in[0], step);
    }
    if (up_to_date(n, step))
        return;
    n->failed = n->in[0] ? !count_elements(n, &ev, step, &v) : tsn_ev_vector(&ev, n->expr, step->at_ms, &v) != TSN_OK;
    show_elements(n, n->failed ? &none : &v);
    tsn_vec_free(&v);
    n->cost = ev.samples;
    n->valid = true;
    n->at_ms = step->at_ms;
    n->floor_ms = step->floor_ms;
    n->seq = ++step->plans->seq;
}
