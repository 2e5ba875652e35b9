/*
 * plan_group: aggregations and classic histograms. A group is a slot of its own whose members are
 * slots of the child, kept in canonical order, so that a step adds in that order without sorting.
 */
#include "promql/plan_int.h"

#include <math.h>
#include <string.h>

/* ---- members come and go ------------------------------------------------------------------ */

static struct tsn_labels *group_key(const struct node *n, const struct tsn_labels *labels)
{
    static const char *const le[] = { "le" };
    const struct tsn_expr *e = n->expr;

    if (n->kind == NODE_HISTOGRAM)
        return tsn_labels_project(labels, le, 1, false, n->in[0]->nameless);
    return tsn_labels_project(labels, e->u.aggregate.labels, e->u.aggregate.label_count, !e->u.aggregate.without,
                              e->u.aggregate.without || n->in[0]->nameless);
}

static bool read_bound(struct node *n, const struct tsn_labels *labels, uint32_t slot)
{
    const struct tsn_label *le = tsn_labels_find(labels, "le", 2);
    uint32_t cap = n->group_of_cap;
    double bound = 0;
    bool good = le && tsn_parse_double(le->value, le->value_len, &bound) && !isnan(bound);

    n->upper = tsn_reallocarray(n->upper, cap, sizeof *n->upper);
    n->upper[slot] = bound;
    return good;
}

static void touch(struct node *n, uint32_t g)
{
    if (!n->groups[g].touched)
        tsn_vec_push(&n->touched, g);
    n->groups[g].touched = true;
}

static uint32_t group_for(struct node *n, struct tsn_labels *key)
{
    void **found = tsn_map_upsert(&n->by_id, &key->id, sizeof key->id, NULL);
    uint32_t g;

    if (*found) {
        g = (uint32_t)((uintptr_t)*found - 1);
        tsn_labels_unref(key);
        return g;
    }
    g = tsn_slots_add(&n->own, key);
    *found = (void *)((uintptr_t)g + 1);
    n->groups = tsn_grow_zero(n->groups, &n->groups_cap, g + 1, sizeof *n->groups);
    n->groups[g].id = key->id;
    if (n->check_twins)
        tsn_twins_add(&n->twins, tsn_slots_shown(&n->own, g, n->nameless)->id);
    return g;
}

void tsn_group_slot_added(struct node *n, uint32_t slot)
{
    const struct tsn_labels *labels = n->in[0]->slots->labels[slot];
    uint32_t g = NO_SLOT;

    n->group_of = tsn_grow_zero(n->group_of, &n->group_of_cap, slot + 1, sizeof *n->group_of);
    if (n->kind != NODE_HISTOGRAM || read_bound(n, labels, slot)) {
        g = group_for(n, group_key(n, labels));
        tsn_group_add(&n->groups[g], slot);
        touch(n, g);
    }
    n->group_of[slot] = g;
}

void tsn_group_slot_removed(struct node *n, uint32_t slot)
{
    uint32_t g = n->group_of[slot];

    if (g == NO_SLOT)
        return;
    n->groups[g].dying = true;
    touch(n, g);
}

void tsn_group_node_settle(struct node *n)
{
    for (size_t i = 0; i < n->touched.len; i++) {
        uint32_t g = n->touched.items[i];
        struct group *group = &n->groups[g];

        group->touched = false;
        tsn_group_settle(n->plans, group, n->in[0]->slots, n->in[0]->nameless);
        if (group->members.len)
            continue;
        tsn_map_del(&n->by_id, &group->id, sizeof group->id);
        if (n->check_twins)
            tsn_twins_del(&n->twins, tsn_slots_shown(&n->own, g, n->nameless)->id);
        tsn_vec_release(&group->members);
        memset(group, 0, sizeof *group);
        tsn_slots_remove(&n->own, g);
    }
    n->touched.len = 0;
    if (n->kind == NODE_TOP) /* nobody stands on its groups' slots */
        tsn_slots_settled(&n->own);
}

/* ---- steps -------------------------------------------------------------------------------- */

/* Values of the members that are there, in canonical order; their slots too if asked. */
static size_t gather(const struct node *n, const struct group *g, double *values, uint32_t *slots)
{
    const struct node *in = n->in[0];
    size_t count = 0;

    for (size_t i = 0; i < g->members.len; i++) {
        uint32_t slot = g->members.items[i];

        if (in->present[slot] != 1)
            continue;
        if (slots)
            slots[count] = slot;
        values[count++] = in->value[slot];
    }
    return count;
}

void tsn_group_eval(struct node *n, const struct step *step)
{
    double param = n->scalars[0] ? n->scalars[0]->scalar : 0;

    for (uint32_t g = 0; g < n->own.len; g++) {
        size_t count;

        n->present[g] = 0;
        if (n->own.state[g] != SLOT_LIVE)
            continue;
        tsn_vec_reserve(&step->plans->values, n->groups[g].members.len);
        count = gather(n, &n->groups[g], step->plans->values.items, NULL);
        if (!count)
            continue;
        n->present[g] = 1;
        n->value[g] = tsn_aggregate_values(n->expr->u.aggregate.op, step->plans->values.items, count, param);
    }
}

void tsn_histogram_eval(struct node *n)
{
    const struct node *in = n->in[0];
    bool fraction = n->fn == TSN_FN_HISTOGRAM_FRACTION;

    for (uint32_t g = 0; g < n->own.len; g++) {
        const struct u32s *members = n->own.state[g] == SLOT_LIVE ? &n->groups[g].members : NULL;
        struct tsn_bucket *buckets;
        size_t count = 0;

        n->present[g] = 0;
        if (!members)
            continue;
        tsn_vec_reserve(&n->plans->buckets, members->len);
        buckets = n->plans->buckets.items;
        for (size_t i = 0; i < members->len; i++)
            if (in->present[members->items[i]] == 1)
                buckets[count++] = (struct tsn_bucket){ n->upper[members->items[i]], in->value[members->items[i]] };
        if (!count)
            continue;
        n->present[g] = 1;
        n->value[g] = fraction ? tsn_bucket_fraction(n->scalars[0]->scalar, n->scalars[1]->scalar, buckets, count)
                               : tsn_bucket_quantile(n->scalars[0]->scalar, buckets, count);
    }
}

static void top_of_group(struct node *n, const struct group *g, double k)
{
    struct tsn_plans *plans = n->plans;
    bool least = n->expr->u.aggregate.op == TSN_AGG_BOTTOMK;
    size_t count, want;

    tsn_vec_reserve(&plans->values, g->members.len);
    tsn_vec_reserve(&plans->merge, g->members.len);
    count = gather(n, g, plans->values.items, plans->merge.items);
    want = k >= (double)count ? count : (size_t)k;
    tsn_vec_reserve(&plans->picked, want);
    want = tsn_top_k(plans->values.items, count, want, least, plans->picked.items);
    for (size_t i = 0; i < want; i++) {
        uint32_t slot = plans->merge.items[plans->picked.items[i]];

        n->present[slot] = 1;
        n->value[slot] = plans->values.items[plans->picked.items[i]];
        tsn_vec_push(&n->emit, slot);
    }
}

/* Groups come out in the order in which the vector names them first. */
static void first_members(struct node *n)
{
    n->firsts.members.len = n->firsts.sorted = 0;
    for (uint32_t g = 0; g < n->own.len; g++) {
        const struct u32s *members = &n->groups[g].members;

        for (size_t i = 0; n->own.state[g] == SLOT_LIVE && i < members->len; i++)
            if (n->in[0]->present[members->items[i]] == 1) {
                tsn_group_add(&n->firsts, members->items[i]);
                break;
            }
    }
    tsn_group_settle(n->plans, &n->firsts, n->in[0]->slots, n->in[0]->nameless);
}

void tsn_top_eval(struct node *n)
{
    double k = n->scalars[0]->scalar;

    memset(n->present, 0, n->slots->len);
    n->emit.len = 0;
    n->failed |= isnan(k) || k >= 0x1p63;
    if (n->failed || k < 1)
        return;
    first_members(n);
    for (size_t i = 0; i < n->firsts.members.len; i++)
        top_of_group(n, &n->groups[n->group_of[n->firsts.members.items[i]]], k);
}
