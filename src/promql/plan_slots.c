/* plan_slots: slots, and lists of slots in canonical order of labels. See plan_int.h. */
#include "promql/plan_int.h"

#include <stdlib.h>
#include <string.h>

void *tsn_grow_zero(void *items, uint32_t *cap, uint32_t want, size_t item_size)
{
    uint32_t old = *cap, next = old ? old : 16;

    if (want <= old)
        return items;
    while (next < want)
        next = next < 1024 ? next * 2 : next + next / 4; /* many slots: little slack */
    items = tsn_reallocarray(items, next, item_size);
    memset((char *)items + (size_t)old * item_size, 0, (size_t)(next - old) * item_size);
    *cap = next;
    return items;
}

static void slots_grow(struct slots *s)
{
    uint32_t cap = s->cap;

    s->labels = tsn_grow_zero(s->labels, &cap, s->len + 1, sizeof(*s->labels));
    s->state = tsn_grow_zero(s->state, &s->cap, s->len + 1, sizeof *s->state);
}

uint32_t tsn_slots_add(struct slots *s, struct tsn_labels *taken)
{
    uint32_t slot;

    if (s->free.len) {
        slot = tsn_vec_pop(&s->free);
    } else {
        slots_grow(s);
        slot = s->len++;
    }
    s->labels[slot] = taken;
    s->state[slot] = SLOT_LIVE;
    s->live++;
    tsn_vec_push(&s->added, slot);
    return slot;
}

void tsn_slots_remove(struct slots *s, uint32_t slot)
{
    s->state[slot] = SLOT_DYING;
    s->live--;
    tsn_vec_push(&s->removed, slot);
}

/* A list longer than this was a start or a switch: its memory is given back. */
enum { FEW = 4096 };

void tsn_slots_settled(struct slots *s)
{
    for (size_t i = 0; i < s->removed.len; i++) {
        uint32_t slot = s->removed.items[i];

        tsn_labels_unref(s->labels[slot]);
        s->labels[slot] = NULL;
        if (slot < s->bare_cap) {
            tsn_labels_unref(s->bare[slot]);
            s->bare[slot] = NULL;
        }
        s->state[slot] = SLOT_FREE;
        tsn_vec_push(&s->free, slot);
    }
    s->removed.len = s->added.len = 0;
    if (s->added.cap > FEW)
        tsn_vec_release(&s->added);
    if (s->removed.cap > FEW)
        tsn_vec_release(&s->removed);
}

void tsn_slots_release(struct slots *s)
{
    for (uint32_t i = 0; i < s->len; i++) {
        tsn_labels_unref(s->labels[i]);
        if (i < s->bare_cap)
            tsn_labels_unref(s->bare[i]);
    }
    tsn_free(s->labels);
    tsn_free(s->bare);
    tsn_free(s->state);
    tsn_vec_release(&s->free);
    tsn_vec_release(&s->added);
    tsn_vec_release(&s->removed);
}

struct tsn_labels *tsn_slots_shown(struct slots *s, uint32_t slot, bool nameless)
{
    if (!nameless)
        return s->labels[slot];
    s->bare = tsn_grow_zero(s->bare, &s->bare_cap, slot + 1, sizeof(*s->bare));
    if (!s->bare[slot])
        s->bare[slot] = tsn_labels_drop_name(s->labels[slot]);
    return s->bare[slot];
}

static uint32_t next_shown(const struct tsn_labels *l, uint32_t at)
{
    while (at < l->count && l->items[at].name[0] == '_' && tsn_label_is_metadata(l->items[at].name))
        at++;
    return at;
}

static int compare_bytes(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

int tsn_labels_compare_shown(const struct tsn_labels *a, const struct tsn_labels *b, bool nameless)
{
    uint32_t i = 0, k = 0;

    if (!nameless)
        return tsn_labels_compare(a, b);
    for (;; i++, k++) {
        int order;

        i = next_shown(a, i);
        k = next_shown(b, k);
        if (i >= a->count || k >= b->count)
            return (i < a->count) - (k < b->count);
        order = compare_bytes(a->items[i].name, a->items[i].name_len, b->items[k].name, b->items[k].name_len);
        if (!order)
            order = compare_bytes(a->items[i].value, a->items[i].value_len, b->items[k].value,
                                  b->items[k].value_len);
        if (order)
            return order;
    }
}

/* ---- ordered lists ------------------------------------------------------------------------ */

void tsn_group_add(struct group *g, uint32_t slot)
{
    tsn_vec_push(&g->members, slot);
}

static void merge_runs(uint32_t *items, uint32_t *scratch, size_t middle, size_t len, const struct slots *s,
                       bool nameless)
{
    size_t i = 0, k = middle, n = 0;

    while (i < middle && k < len)
        scratch[n++] = tsn_labels_compare_shown(s->labels[items[k]], s->labels[items[i]], nameless) < 0 ? items[k++]
                                                                                                        : items[i++];
    memcpy(scratch + n, items + i, (middle - i) * sizeof *items);
    n += middle - i;
    memcpy(items, scratch, n * sizeof *items); /* what is left of the second run stands where it should */
}

static void sort_run(uint32_t *items, uint32_t *scratch, size_t len, const struct slots *s, bool nameless)
{
    size_t middle = len / 2;

    if (len < 2)
        return;
    sort_run(items, scratch, middle, s, nameless);
    sort_run(items + middle, scratch, len - middle, s, nameless);
    if (tsn_labels_compare_shown(s->labels[items[middle]], s->labels[items[middle - 1]], nameless) < 0)
        merge_runs(items, scratch, middle, len, s, nameless);
}

static void drop_dying(struct group *g, const struct slots *s)
{
    size_t kept = 0, sorted = 0;

    for (size_t i = 0; i < g->members.len; i++) {
        if (s->state[g->members.items[i]] != SLOT_LIVE)
            continue;
        sorted += i < g->sorted;
        g->members.items[kept++] = g->members.items[i];
    }
    g->members.len = kept;
    g->sorted = (uint32_t)sorted;
    g->dying = false;
}

void tsn_group_settle(struct tsn_plans *plans, struct group *g, const struct slots *s, bool nameless)
{
    size_t len;

    if (g->dying)
        drop_dying(g, s);
    len = g->members.len;
    if (g->sorted == len)
        return;
    tsn_vec_reserve(&plans->merge, len);
    sort_run(g->members.items + g->sorted, plans->merge.items, len - g->sorted, s, nameless);
    if (g->sorted)
        merge_runs(g->members.items, plans->merge.items, g->sorted, len, s, nameless);
    g->sorted = (uint32_t)len;
}

/* ---- twins -------------------------------------------------------------------------------- */

void tsn_twins_add(struct twins *t, struct tsn_u128 id)
{
    void **count = tsn_map_upsert(&t->by_id, &id, sizeof id, NULL);

    t->surplus += *count != NULL;
    *count = (void *)((uintptr_t)*count + 1);
}

void tsn_twins_del(struct twins *t, struct tsn_u128 id)
{
    void **count = tsn_map_slot(&t->by_id, &id, sizeof id);

    TSN_ASSERT(count && *count);
    *count = (void *)((uintptr_t)*count - 1);
    t->surplus -= *count != NULL;
    if (!*count)
        tsn_map_del(&t->by_id, &id, sizeof id);
}
