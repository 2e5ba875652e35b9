/*
 * plan_subquery: what a subquery keeps. Its operand is a node of a lane of its own, evaluated at the
 * multiples of the subquery's step; the values stand, per label set, as samples of a selector, and
 * windows and their functions read that selector as they read any.
 *
 *     operand ──▶ values at k·step ──▶ struct selector (own slots, own samples) ──▶ window ──▶ function
 *
 * A step of the outer plan evaluates the operand only at the times that are new. What was kept is
 * good as long as nothing below it changed: every series that the operand reads is watched, and a
 * sample put among older ones, a drop of one still needed, a series that goes with such samples, a
 * step back in time or another floor make the whole window be evaluated anew. So what is kept is a
 * function of the samples alone. Where a step of the operand fails, or two of its elements show one
 * label set, the subquery fails, and the step is the naive evaluator's.
 */
#include "promql/plan_int.h"

#include <string.h>

/* One series of a watched selector. Absolute numbers of samples, as in a cursor. */
struct watched {
    uint32_t seen; /* samples before this one were there when last looked */
    uint32_t need; /* first that a kept value may stand on */
    uint32_t edits;
    int64_t newest_ms;
};
struct watch {
    struct selector *selector;
    int64_t offset_ms; /* an operand's value at t reads samples up to t - offset_ms … */
    int64_t back_ms;   /* … and later than t - back_ms */
    struct watched *series; /* by slot */
    uint32_t cap;
};

struct subquery {
    struct node *inner;
    int64_t step_ms;
    struct selector selector;    /* what windows stand on */
    struct tsn_samples **samples; /* by own slot */
    uint32_t samples_cap;
    struct tsn_map by_id; /* label set → own slot + 1 */
    uint32_t *shows;      /* by own slot: slots of the operand that have these labels */
    uint32_t *out_of;     /* by the operand's slot */
    uint32_t shows_cap, out_of_cap;
    TSN_VEC(struct watch) watches;
    bool known;                /* values stand for the multiples in (first_ms - step, last_ms] */
    int64_t first_ms, last_ms;
    uint64_t cost;             /* of one evaluation of the operand, the greatest since the last refill */
};

struct selector *tsn_subquery_selector(const struct node *n)
{
    return &n->sub->selector;
}

struct node *tsn_subquery_inner(const struct node *n)
{
    return n->sub->inner;
}

/* ---- life --------------------------------------------------------------------------------- */

static void watch_selector(struct subquery *q, struct selector *selector, int64_t offset_ms, int64_t back_ms)
{
    struct watch w = { .selector = selector, .offset_ms = offset_ms, .back_ms = back_ms };

    for (size_t i = 0; i < q->watches.len; i++) {
        const struct watch *known = &q->watches.items[i];

        if (known->selector == selector && known->offset_ms == offset_ms && known->back_ms == back_ms)
            return;
    }
    w.series = tsn_grow_zero(NULL, &w.cap, selector->slots.len, sizeof *w.series);
    tsn_vec_push(&q->watches, w);
}

/* Every selector below n, with how far from the subquery's times it reads. */
static void watch_below(struct subquery *q, const struct node *n, int64_t offset_ms, int64_t back_ms)
{
    const struct node *children[] = { n->in[0], n->in[1], n->scalars[0], n->scalars[1], n->window };

    if (n->kind == NODE_SUBQUERY) {
        watch_below(q, n->sub->inner, offset_ms + n->offset_ms, back_ms + n->offset_ms + n->range_ms);
        return;
    }
    if (n->kind == NODE_WINDOW || n->kind == NODE_NEWEST || n->kind == NODE_STAMP) {
        int64_t reach_ms = n->kind == NODE_WINDOW ? n->range_ms : n->plans->opt.lookback_ms;

        if (!n->in[0]) /* else it is a subquery's, which is looked at below */
            watch_selector(q, n->selector, offset_ms + n->offset_ms, back_ms + n->offset_ms + reach_ms);
    }
    for (size_t i = 0; i < TSN_ARRAY_LEN(children); i++)
        if (children[i])
            watch_below(q, children[i], offset_ms, back_ms);
}

void tsn_subquery_new(struct node *n, struct node *inner, int64_t step_ms)
{
    struct subquery *q = n->sub = tsn_calloc(1, sizeof *q);

    q->inner = inner;
    q->step_ms = step_ms;
    tsn_map_init(&q->by_id);
    watch_below(q, inner, 0, 0);
    n->slots = &q->selector.slots;
}

static void free_samples(struct subquery *q, uint32_t slot)
{
    tsn_vec_release(q->samples[slot]);
    tsn_free(q->samples[slot]);
    q->samples[slot] = NULL;
}

void tsn_subquery_free(struct subquery *q)
{
    if (!q)
        return;
    for (uint32_t i = 0; i < q->samples_cap; i++)
        if (q->samples[i])
            free_samples(q, i);
    for (size_t i = 0; i < q->watches.len; i++)
        tsn_free(q->watches.items[i].series);
    tsn_vec_release(&q->watches);
    tsn_map_release(&q->by_id);
    tsn_slots_release(&q->selector.slots);
    tsn_free(q->selector.source);
    tsn_free(q->samples);
    tsn_free(q->shows);
    tsn_free(q->out_of);
    tsn_free(q);
}

/* ---- settling ----------------------------------------------------------------------------- */

static uint32_t slot_for(struct node *n, struct tsn_labels *labels)
{
    struct subquery *q = n->sub;
    void **found = tsn_map_upsert(&q->by_id, &labels->id, sizeof labels->id, NULL);
    uint32_t slot;

    if (*found)
        return (uint32_t)((uintptr_t)*found - 1);
    slot = tsn_slots_add(&q->selector.slots, tsn_labels_ref(labels));
    *found = (void *)((uintptr_t)slot + 1);
    q->shows = tsn_grow_zero(q->shows, &q->shows_cap, slot + 1, sizeof *q->shows);
    q->samples = tsn_grow_zero(q->samples, &q->samples_cap, slot + 1, sizeof(*q->samples));
    q->selector.source = tsn_grow_zero(q->selector.source, &q->selector.source_cap, slot + 1,
                                       sizeof(*q->selector.source));
    q->selector.source[slot] = q->samples[slot] = tsn_calloc(1, sizeof(**q->samples));
    q->shows[slot] = 0;
    return slot;
}

void tsn_subquery_slot_added(struct node *n, uint32_t slot)
{
    struct subquery *q = n->sub;
    uint32_t out = slot_for(n, tsn_slots_shown(q->inner->slots, slot, q->inner->nameless));

    q->out_of = tsn_grow_zero(q->out_of, &q->out_of_cap, slot + 1, sizeof *q->out_of);
    q->out_of[slot] = out;
    q->shows[out]++;
}

void tsn_subquery_slot_removed(struct node *n, uint32_t slot)
{
    struct subquery *q = n->sub;
    uint32_t out = q->out_of[slot];

    if (--q->shows[out])
        return;
    /* Values of labels that nothing gives now: they would not be there if all were evaluated anew. */
    if (q->samples[out]->len && q->samples[out]->items[q->samples[out]->len - 1].ts_ms >= q->first_ms)
        q->known = false;
    tsn_map_del(&q->by_id, &q->selector.slots.labels[out]->id, sizeof(struct tsn_u128));
    q->selector.source[out] = NULL;
    free_samples(q, out);
    tsn_slots_remove(&q->selector.slots, out);
}

/* Series of the watched selectors came and went. */
void tsn_subquery_settle(struct node *n)
{
    struct subquery *q = n->sub;

    for (size_t i = 0; i < q->watches.len; i++) {
        struct watch *w = &q->watches.items[i];
        const struct slots *s = &w->selector->slots;

        w->series = tsn_grow_zero(w->series, &w->cap, s->len, sizeof *w->series);
        for (size_t k = 0; k < s->removed.len; k++)
            if (w->series[s->removed.items[k]].newest_ms > q->first_ms - w->back_ms)
                q->known = false;
        for (size_t k = 0; k < s->added.len; k++) {
            uint32_t slot = s->added.items[k];

            w->series[slot] = (struct watched){ .newest_ms = TSN_TIME_NONE };
            if (s->state[slot] == SLOT_LIVE)
                w->series[slot].seen = w->series[slot].need = w->selector->source[slot]->trimmed;
        }
    }
}

/* ---- a step ------------------------------------------------------------------------------- */

/* Is what was kept still what the samples say? oldest_ms: the first time that is needed from now on. */
static bool look(const struct watch *w, const struct tsn_samples *s, struct watched *v, int64_t last_ms,
                 int64_t oldest_ms)
{
    uint32_t base = s->trimmed, len = (uint32_t)s->len, next = v->seen - base;
    bool good = v->edits == s->edits && (int32_t)(base - v->need) <= 0;

    if ((int32_t)next < 0)
        next = 0;
    if (next < len && s->items[next].ts_ms <= last_ms - w->offset_ms)
        good = false;
    v->edits = s->edits;
    v->seen = base + len;
    if (len)
        v->newest_ms = s->items[len - 1].ts_ms;
    if ((int32_t)(base - v->need) > 0)
        v->need = base;
    while (v->need != v->seen && s->items[v->need - base].ts_ms <= oldest_ms - w->back_ms)
        v->need++;
    return good;
}

static void look_at_all(struct subquery *q, int64_t oldest_ms)
{
    for (size_t i = 0; i < q->watches.len; i++) {
        struct watch *w = &q->watches.items[i];

        for (uint32_t k = 0; k < w->selector->slots.len; k++)
            if (w->selector->slots.state[k] == SLOT_LIVE &&
                !look(w, w->selector->source[k], &w->series[k], q->last_ms, oldest_ms))
                q->known = false;
    }
}

static void forget_values(struct subquery *q)
{
    for (uint32_t i = 0; i < q->samples_cap; i++)
        if (q->samples[i]) {
            q->samples[i]->len = 0;
            q->samples[i]->edits++;
        }
    q->cost = 0;
}

/* Values before the window go once they are the greater part. */
static void trim_values(struct subquery *q)
{
    for (uint32_t i = 0; i < q->samples_cap; i++) {
        struct tsn_samples *s = q->samples[i];
        size_t old = 0;

        if (!s || s->len < 2 || s->items[s->len / 2].ts_ms >= q->first_ms)
            continue;
        while (old < s->len && s->items[old].ts_ms < q->first_ms)
            old++;
        memmove(s->items, s->items + old, (s->len - old) * sizeof *s->items);
        s->len -= old;
        s->trimmed += (uint32_t)old;
    }
}

/* The operand's elements at t join their samples. */
static bool inner_step(struct node *n, const struct step *outer, int64_t t_ms)
{
    struct subquery *q = n->sub;
    struct node *inner = q->inner;
    struct step step = { outer->plans, outer->storage, t_ms, outer->floor_ms };
    uint64_t elements = 0;

    outer->plans->pass++;
    outer->plans->stats.inner_steps++;
    tsn_node_eval(inner, &step);
    if (inner->failed)
        return false;
    for (uint32_t i = 0; i < inner->slots->len; i++) {
        struct tsn_samples *s;

        if (inner->present[i] != 1)
            continue;
        s = q->samples[q->out_of[i]];
        if (s->len && s->items[s->len - 1].ts_ms == t_ms)
            return false; /* two of one label set */
        tsn_samples_push(s, ((struct tsn_sample){ t_ms, inner->value[i] }));
        elements++;
    }
    if (inner->cost + elements + 1 > q->cost)
        q->cost = inner->cost + elements + 1;
    return true;
}

static int64_t multiple_at_or_before(int64_t t_ms, int64_t step_ms)
{
    int64_t k = t_ms / step_ms;

    return (t_ms % step_ms != 0 && t_ms < 0 ? k - 1 : k) * step_ms;
}

void tsn_subquery_eval(struct node *n, const struct step *step)
{
    struct subquery *q = n->sub;
    int64_t end_ms = step->at_ms - n->offset_ms, step_ms = q->step_ms;
    int64_t first_ms = multiple_at_or_before(end_ms - n->range_ms, step_ms) + step_ms;
    int64_t last_ms = multiple_at_or_before(end_ms, step_ms), next_ms;

    if (!n->valid || n->floor_ms != step->floor_ms || last_ms < q->last_ms || first_ms > q->last_ms + step_ms)
        q->known = false;
    look_at_all(q, first_ms);
    if (!q->known)
        forget_values(q);
    next_ms = q->known ? q->last_ms + step_ms : first_ms;
    q->first_ms = first_ms;
    q->last_ms = last_ms;
    q->known = true;
    for (int64_t t = next_ms; t <= last_ms && q->known; t += step_ms)
        q->known = inner_step(n, step, t) && q->cost * (uint64_t)((t - next_ms) / step_ms + 1) <=
                                                  step->plans->opt.max_samples;
    n->failed = !q->known;
    n->cost = last_ms < first_ms ? 0 : q->cost * (uint64_t)((last_ms - first_ms) / step_ms + 1);
    trim_values(q);
    q->selector.touched = ++step->plans->seq;
}
