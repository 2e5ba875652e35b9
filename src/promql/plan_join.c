/*
 * plan_join: operators between two vectors. Slots of both sides that have one key stand together
 * from when they come; a step looks at what is there. Where more than one of a side is there and
 * one is allowed, the step is the naive evaluator's, to say what is wrong as it says it.
 */
#include "promql/plan_int.h"

#include <string.h>

/* A key of more pairs than this and some per slot is left to the naive evaluator while they are there. */
enum { MAX_PAIRS = 4096, PAIRS_PER_SLOT = 4 };

static size_t room_of(const struct join_key *key)
{
    return MAX_PAIRS + PAIRS_PER_SLOT * (key->side[0].len + key->side[1].len);
}

static int many_side(const struct node *n)
{
    return n->expr->u.binary.card == TSN_CARD_ONE_TO_MANY ? 1 : 0;
}

/* The labels of a pair's result depend on both. */
static bool by_pairs(const struct node *n)
{
    return n->kind == NODE_JOIN && n->expr->u.binary.include_label_count > 0;
}

/* ---- slots come and go -------------------------------------------------------------------- */

static struct tsn_labels *key_labels(const struct node *n, int side, uint32_t slot)
{
    const struct tsn_expr *e = n->expr;

    return tsn_labels_project(n->in[side]->slots->labels[slot], e->u.binary.match_labels,
                              e->u.binary.match_label_count, e->u.binary.on, !e->u.binary.on || n->in[side]->nameless);
}

static uint32_t key_for(struct node *n, struct tsn_u128 id)
{
    void **found = tsn_map_upsert(&n->by_id, &id, sizeof id, NULL);
    struct join_key fresh = { .id = id, .live = true };
    uint32_t k;

    if (*found)
        return (uint32_t)((uintptr_t)*found - 1);
    if (n->free_keys.len) {
        k = tsn_vec_pop(&n->free_keys);
        n->keys.items[k] = fresh;
    } else {
        k = (uint32_t)n->keys.len;
        tsn_vec_push(&n->keys, fresh);
    }
    *found = (void *)((uintptr_t)k + 1);
    return k;
}

static void add_out(struct node *n, struct join_key *key, uint32_t many, uint32_t one)
{
    const struct node *from = n->in[many_side(n)], *other = n->in[1 - many_side(n)];
    struct tsn_labels *labels = tsn_join_labels(n->expr, from->slots->labels[many],
                                                one == NO_SLOT ? NULL : other->slots->labels[one], from->nameless);
    struct join_out out = { many, one, tsn_slots_add(&n->own, labels) };

    if (n->check_twins)
        tsn_twins_add(&n->twins, labels->id);
    tsn_vec_push(&key->outs, out);
}

static void remove_outs(struct node *n, struct join_key *key, int side, uint32_t slot)
{
    size_t kept = 0;

    for (size_t i = 0; i < key->outs.len; i++) {
        struct join_out *o = &key->outs.items[i];

        if ((side == many_side(n) ? o->many : o->one) != slot) {
            key->outs.items[kept++] = *o;
            continue;
        }
        if (n->check_twins)
            tsn_twins_del(&n->twins, n->own.labels[o->out]->id);
        tsn_slots_remove(&n->own, o->out);
    }
    key->outs.len = kept;
}

static void add_outs(struct node *n, struct join_key *key, int side, uint32_t slot)
{
    bool many = side == many_side(n);
    const struct u32s *others = &key->side[1 - side];

    if (!by_pairs(n)) {
        if (many)
            add_out(n, key, slot, NO_SLOT);
        return;
    }
    key->crowded |= key->outs.len + others->len > room_of(key);
    for (size_t i = 0; i < others->len && !key->crowded; i++)
        add_out(n, key, many ? slot : others->items[i], many ? others->items[i] : slot);
}

void tsn_join_slot_added(struct node *n, int side, uint32_t slot)
{
    struct tsn_labels *labels = key_labels(n, side, slot);
    uint32_t k = key_for(n, labels->id);

    tsn_labels_unref(labels);
    n->key_of[side] = tsn_grow_zero(n->key_of[side], &n->key_of_cap[side], slot + 1, sizeof *n->key_of[side]);
    n->key_of[side][slot] = k;
    tsn_vec_push(&n->keys.items[k].side[side], slot);
    if (n->kind == NODE_JOIN)
        add_outs(n, &n->keys.items[k], side, slot);
    if (n->kind != NODE_OR)
        return;
    n->out_of[side] = tsn_grow_zero(n->out_of[side], &n->out_of_cap[side], slot + 1, sizeof *n->out_of[side]);
    n->out_of[side][slot] =
        tsn_slots_add(&n->own, tsn_labels_ref(tsn_slots_shown(n->in[side]->slots, slot, n->in[side]->nameless)));
}

/* A key that was crowded gets all its pairs again. */
static void refill_outs(struct node *n, struct join_key *key)
{
    const struct u32s *many = &key->side[many_side(n)], *one = &key->side[1 - many_side(n)];

    for (size_t i = 0; i < key->outs.len; i++) {
        if (n->check_twins)
            tsn_twins_del(&n->twins, n->own.labels[key->outs.items[i].out]->id);
        tsn_slots_remove(&n->own, key->outs.items[i].out);
    }
    key->outs.len = 0;
    key->crowded = false;
    for (size_t i = 0; i < many->len; i++)
        for (size_t k = 0; k < one->len; k++)
            add_out(n, key, many->items[i], one->items[k]);
}

void tsn_join_slot_removed(struct node *n, int side, uint32_t slot)
{
    struct join_key *key = &n->keys.items[n->key_of[side][slot]];
    struct u32s *list = &key->side[side];
    size_t at = 0;

    while (list->items[at] != slot)
        at++;
    list->items[at] = list->items[--list->len];
    if (n->kind == NODE_OR)
        tsn_slots_remove(&n->own, n->out_of[side][slot]);
    else if (key->crowded && key->side[0].len * key->side[1].len <= room_of(key))
        refill_outs(n, key);
    else if (n->kind == NODE_JOIN)
        remove_outs(n, key, side, slot);
    if (key->side[0].len || key->side[1].len)
        return;
    tsn_map_del(&n->by_id, &key->id, sizeof key->id);
    tsn_vec_release(&key->side[0]);
    tsn_vec_release(&key->side[1]);
    tsn_vec_release(&key->outs);
    key->live = false;
    tsn_vec_push(&n->free_keys, n->key_of[side][slot]);
}

/* ---- steps -------------------------------------------------------------------------------- */

static void join_pair(struct node *n, uint32_t many, uint32_t one, uint32_t out)
{
    enum tsn_binop op = n->expr->u.binary.op;
    int side = many_side(n);
    double m = n->in[side]->value[many], o = n->in[1 - side]->value[one];
    bool keep, bools = n->expr->u.binary.return_bool;
    double value = side ? tsn_binop_apply(op, o, m, &keep) : tsn_binop_apply(op, m, o, &keep);

    if (!keep && !tsn_binop_is_comparison(op))
        return;
    n->present[out] = keep || bools ? 1 : 2;
    n->value[out] = bools ? (keep ? 1 : 0) : value;
}

static void join_key(struct node *n, const struct join_key *key, int side)
{
    const struct node *one_in = n->in[1 - side], *many_in = n->in[side];
    uint32_t one = NO_SLOT, pairs = 0;

    for (size_t i = 0; i < key->side[1 - side].len; i++) {
        uint32_t slot = key->side[1 - side].items[i];

        if (one_in->present[slot] != 1)
            continue;
        n->failed |= one != NO_SLOT;
        one = slot;
    }
    if (one == NO_SLOT)
        return;
    for (size_t i = 0; i < key->outs.len; i++) {
        const struct join_out *o = &key->outs.items[i];

        if (many_in->present[o->many] != 1 || (o->one != NO_SLOT && o->one != one))
            continue;
        pairs++;
        join_pair(n, o->many, one, o->out);
    }
    n->failed |= pairs > 1 && n->expr->u.binary.card == TSN_CARD_ONE_TO_ONE;
}

void tsn_join_eval(struct node *n)
{
    int side = many_side(n);

    memset(n->present, 0, n->slots->len);
    for (size_t k = 0; k < n->keys.len; k++) {
        const struct join_key *key = &n->keys.items[k];

        n->failed |= key->live && key->crowded;
        if (key->live)
            join_key(n, key, side);
    }
}

static void mark_keys(struct node *n, int side)
{
    const struct node *in = n->in[side];

    for (size_t k = 0; k < n->keys.len; k++)
        n->keys.items[k].present = 0;
    for (uint32_t i = 0; i < in->slots->len; i++)
        if (in->present[i] == 1)
            n->keys.items[n->key_of[side][i]].present++;
}

static void either(struct node *n)
{
    memset(n->present, 0, n->slots->len);
    mark_keys(n, 0);
    for (int side = 0; side < 2; side++)
        for (uint32_t i = 0; i < n->in[side]->slots->len; i++) {
            uint32_t out;

            if (n->in[side]->present[i] != 1 || (side && n->keys.items[n->key_of[1][i]].present))
                continue;
            out = n->out_of[side][i];
            n->present[out] = 1;
            n->value[out] = n->in[side]->value[i];
        }
}

void tsn_set_eval(struct node *n)
{
    bool both = n->expr->u.binary.op == TSN_OP_AND;
    const struct node *in = n->in[0];

    if (n->kind == NODE_OR) {
        either(n);
        return;
    }
    mark_keys(n, 1);
    for (uint32_t i = 0; i < n->slots->len; i++) {
        n->present[i] = in->present[i] == 1 && (n->keys.items[n->key_of[0][i]].present > 0) == both;
        n->value[i] = in->value[i];
    }
}
