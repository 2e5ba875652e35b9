/*
 * plan_leaf: newest samples, windows and the functions over them.
 *
 * A window keeps, per series, where it begins and ends among the samples, and where the last
 * reset and the last NaN (stale markers too) in it stand. Moving on costs what came and went.
 * rate, increase and delta need nothing else while the window has no reset; functions of single
 * samples never do. A window with a NaN or a marker takes the naive evaluator's own function over
 * a copy without markers, so that it gives the same bits. Nothing here survives in a number: a
 * cursor says where, never how much, so a window filled anew gives the same.
 */
#include "promql/plan_int.h"

#include <math.h>

/* Position of the first sample later than t_ms. */
static uint32_t after(const struct tsn_samples *s, int64_t t_ms)
{
    uint32_t low = 0, high = (uint32_t)s->len;

    if (high && s->items[high - 1].ts_ms <= t_ms)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (s->items[middle].ts_ms <= t_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- newest samples ----------------------------------------------------------------------- */

void tsn_newest_eval(struct node *n, const struct step *step)
{
    int64_t ref_ms = step->at_ms - n->offset_ms, from_ms = ref_ms - step->plans->opt.lookback_ms;
    bool stamp = n->kind == NODE_STAMP;

    from_ms = from_ms > step->floor_ms ? from_ms : step->floor_ms;
    n->cost = 0;
    for (uint32_t i = 0; i < n->slots->len; i++) {
        const struct tsn_samples *s = n->selector->source[i];
        uint32_t end;

        n->present[i] = 0;
        if (n->slots->state[i] != SLOT_LIVE || !(end = after(s, ref_ms)) || s->items[end - 1].ts_ms <= from_ms ||
            tsn_is_stale(s->items[end - 1].value))
            continue;
        n->present[i] = 1;
        n->value[i] = stamp ? (double)s->items[end - 1].ts_ms / 1000 : s->items[end - 1].value;
        n->cost++;
    }
}

/* ---- windows ------------------------------------------------------------------------------ */

static void refill(struct cursor *c, const struct tsn_samples *s, int64_t start_ms)
{
    c->lo = c->hi = c->reset = s->trimmed + after(s, start_ms);
    c->odd = c->lo - 1;
    c->edits = s->edits;
    c->filled = true;
}

static void advance(struct tsn_plans *plans, struct cursor *c, struct blocks *blocks, const struct tsn_samples *s,
                    int64_t start_ms, int64_t end_ms)
{
    uint32_t base = s->trimmed, len = (uint32_t)s->len, lo, hi;

    if (!c->filled || c->edits != s->edits || c->hi - base > len) {
        refill(c, s, start_ms);
        tsn_blocks_forget(blocks);
        plans->stats.refills++;
    }
    hi = c->hi - base;
    lo = c->lo - base;
    if (lo > hi) { /* trimmed away */
        lo = 0;
        tsn_blocks_forget(blocks);
    }
    for (; hi < len && s->items[hi].ts_ms <= end_ms; hi++) {
        double v = s->items[hi].value;

        if (isnan(v))
            c->odd = base + hi;
        else if (hi && v < s->items[hi - 1].value)
            c->reset = base + hi;
    }
    while (lo < hi && s->items[lo].ts_ms <= start_ms)
        lo++;
    c->lo = base + lo;
    c->hi = base + hi;
    if ((int32_t)(c->reset - c->lo) < 0)
        c->reset = c->lo;
    if ((int32_t)(c->odd - c->lo) < 0)
        c->odd = c->lo - 1;
}

/* Samples w[i …] of the block that holds w[i]; *next: the first of another block. */
static struct tsn_ksum block_sum(const struct tsn_sample *w, uint32_t i, uint32_t count, int64_t end_ms, uint32_t *next)
{
    struct tsn_ksum block = { w[i].value, 0 };

    for (i++; i < count && w[i].ts_ms <= end_ms; i++)
        tsn_ksum_add(&block, w[i].value);
    *next = i;
    return block;
}

static void add_block(struct tsn_ksum *sum, bool *any, struct tsn_ksum block)
{
    if (*any)
        tsn_ksum_merge(sum, block);
    else
        *sum = block;
    *any = true;
}

/* As tsn_fold_window adds. */
static struct tsn_ksum window_sum(const struct tsn_sample *w, uint32_t count, int64_t ws_ms, int64_t range_ms)
{
    int64_t block_ms = tsn_block_ms(range_ms), end_ms = (tsn_block_of(ws_ms + 1, block_ms) + 1) * block_ms;
    struct tsn_ksum all = { 0 };
    bool any = false;
    uint32_t h = 0, i;

    while (h < count && w[h].ts_ms <= end_ms)
        h++;
    for (i = h; i > 0; i--) {
        struct tsn_ksum x = { w[i - 1].value, 0 };

        if (any)
            tsn_ksum_merge(&x, all);
        all = x;
        any = true;
    }
    for (i = h; i < count;) {
        end_ms = (tsn_block_of(w[i].ts_ms, block_ms) + 1) * block_ms;
        add_block(&all, &any, block_sum(w, i, count, end_ms, &i));
    }
    return all;
}

/* Of equals the earliest, as the folds have it (there is a 0 and a -0). */
static double window_extreme(const struct tsn_sample *w, uint32_t count, bool greatest)
{
    double best = w[0].value;

    for (uint32_t i = 1; i < count; i++)
        if (greatest ? w[i].value > best : w[i].value < best)
            best = w[i].value;
    return best;
}

/* What is asked of the windows of one node. */
struct over {
    enum tsn_function_id fn;
    struct mat times;
    int64_t at_ms;
    double param;
};

static bool slow(const struct over *o, const struct tsn_sample *w, uint32_t count, double *out)
{
    struct win win = { NULL, (struct tsn_sample *)w, count, count }; /* read only */

    return tsn_window_value(o->fn, &win, &o->times, o->at_ms, o->param, out);
}

/* A NaN is in it. */
static bool with_markers(struct tsn_plans *plans, const struct over *o, const struct tsn_sample *w, uint32_t count,
                         double *out)
{
    plans->samples.len = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!tsn_is_stale(w[i].value))
            tsn_vec_push(&plans->samples, w[i]);
    return plans->samples.len && slow(o, plans->samples.items, (uint32_t)plans->samples.len, out);
}

static bool rate_of(const struct over *o, const struct tsn_sample *w, uint32_t count, double *out)
{
    return tsn_rate_kernel(count, w[0], w[count - 1], 0, o->times.start_ms, o->times.end_ms, o->times.range_ms,
                           o->fn != TSN_FN_DELTA, o->fn == TSN_FN_RATE, out);
}

/* No NaN in it, count > 0. */
static bool clean(const struct over *o, const struct tsn_sample *w, uint32_t count, bool resets, double *out)
{
    struct tsn_ksum sum;

    switch (o->fn) {
    case TSN_FN_RATE:
    case TSN_FN_INCREASE: return resets ? slow(o, w, count, out) : rate_of(o, w, count, out);
    case TSN_FN_DELTA: return rate_of(o, w, count, out);
    case TSN_FN_IRATE:
    case TSN_FN_IDELTA: return count >= 2 && slow(o, w + count - 2, 2, out);
    case TSN_FN_RESETS: *out = 0; return resets ? slow(o, w, count, out) : true;
    case TSN_FN_COUNT_OVER_TIME: *out = count; return true;
    case TSN_FN_PRESENT_OVER_TIME: *out = 1; return true;
    case TSN_FN_LAST_OVER_TIME: *out = w[count - 1].value; return true;
    case TSN_FN_FIRST_OVER_TIME: *out = w[0].value; return true;
    case TSN_FN_MIN_OVER_TIME: *out = window_extreme(w, count, false); return true;
    case TSN_FN_MAX_OVER_TIME: *out = window_extreme(w, count, true); return true;
    case TSN_FN_SUM_OVER_TIME:
    case TSN_FN_AVG_OVER_TIME:
        sum = window_sum(w, count, o->times.start_ms, o->times.range_ms);
        if (o->fn == TSN_FN_SUM_OVER_TIME)
            *out = tsn_plain_nan(tsn_ksum_value(sum));
        else if (isinf(sum.sum))
            return slow(o, w, count, out);
        else
            *out = tsn_mean_of_sum(sum, count);
        return true;
    default: return slow(o, w, count, out);
    }
}

/* Times of the window at this step; true if the cursors have to move. */
static bool window_times(struct node *win, const struct step *step)
{
    int64_t end_ms = step->at_ms - win->offset_ms, start_ms = end_ms - win->range_ms;
    bool valid = win->valid && win->at_ms == step->at_ms && win->floor_ms == step->floor_ms &&
                 win->seq > win->selector->touched && win->seq > step->plans->changed;
    bool back = win->valid && (end_ms < win->end_ms || step->floor_ms != win->floor_ms);

    win->cursors = tsn_grow_zero(win->cursors, &win->cursor_cap, win->selector->slots.len, sizeof *win->cursors);
    if (back)
        for (uint32_t i = 0; i < win->cursor_cap; i++)
            win->cursors[i].filled = false;
    win->start_ms = start_ms;
    win->end_ms = end_ms;
    win->at_ms = step->at_ms;
    win->floor_ms = step->floor_ms;
    return !valid;
}

/* Windows of more samples than this keep folds; under it the samples are as quickly read. */
enum { LONG_WINDOW = 64 };

/* What a fold answers; of those without resets rate, increase and delta need none. */
static bool wants_fold(const struct over *o, const struct cursor *c)
{
    bool odd = (int32_t)(c->odd - c->lo) >= 0;

    switch (o->fn) {
    case TSN_FN_RATE:
    case TSN_FN_INCREASE:
    case TSN_FN_RESETS: return odd || (int32_t)(c->reset - c->lo) > 0;
    case TSN_FN_DELTA:
    case TSN_FN_COUNT_OVER_TIME:
    case TSN_FN_PRESENT_OVER_TIME:
    case TSN_FN_FIRST_OVER_TIME:
    case TSN_FN_LAST_OVER_TIME: return odd;
    case TSN_FN_CHANGES:
    case TSN_FN_SUM_OVER_TIME:
    case TSN_FN_AVG_OVER_TIME:
    case TSN_FN_MIN_OVER_TIME:
    case TSN_FN_MAX_OVER_TIME:
    case TSN_FN_STDDEV_OVER_TIME:
    case TSN_FN_STDVAR_OVER_TIME: return true;
    default: return false;
    }
}

/* *has: there is a value. False: the window has to be read after all. */
static bool by_fold(struct node *win, const struct over *o, uint32_t slot, bool *has, double *out)
{
    struct cursor *c = &win->cursors[slot];
    struct tsn_fold f;

    win->blocks = tsn_grow_zero(win->blocks, &win->blocks_cap, slot + 1, sizeof(*win->blocks));
    f = tsn_blocks_fold(&win->blocks[slot], c, win->selector->source[slot], o->times.start_ms, o->times.range_ms,
                        win->parts, slot);
    if (win->plans->opt.reuse_sums)
        tsn_blocks_reuse(win->blocks[slot], c, win->selector->source[slot], &f.sum);
    if (o->fn == TSN_FN_AVG_OVER_TIME && isinf(f.sum.sum))
        return false;
    *has = f.count && tsn_fold_value(o->fn, &f, &o->times, out);
    return true;
}

/* How far ahead memory is asked for: the series of a selector lie anywhere. */
enum { PREFETCH = 8 };

/* Of a long window where it begins, and its folds; a short one is near the front of its samples. */
static void prefetch_long(const struct node *win, uint32_t i, const struct tsn_samples *s)
{
    __builtin_prefetch(s->items + (uint32_t)(win->cursors[i].lo - s->trimmed)); /* wherever that points */
    tsn_blocks_prefetch(win->blocks[i], &win->cursors[i]);
}

static inline void prefetch(const struct node *win, const struct tsn_samples *const *source, uint32_t i, uint32_t len)
{
    uint32_t soon = i + PREFETCH;
    const struct tsn_samples *near;

    if (soon >= len)
        return;
    if (soon + PREFETCH < len)
        __builtin_prefetch(source[soon + PREFETCH]); /* a gap is NULL, which may be asked for */
    near = source[soon];
    if (!near || !near->len)
        return;
    __builtin_prefetch(near->items + near->len - 1);
    if (soon < win->blocks_cap && win->blocks[soon])
        prefetch_long(win, soon, near);
    else
        __builtin_prefetch(near->items);
}

/* One window to one number; false: no output. */
static bool window_value(struct node *win, const struct over *o, uint32_t i, const struct tsn_samples *s, double *out)
{
    const struct cursor *c = &win->cursors[i];
    const struct tsn_sample *w = s->items + (uint32_t)(c->lo - s->trimmed);
    uint32_t count = c->hi - c->lo;
    bool has;

    if (count > LONG_WINDOW && wants_fold(o, c) && by_fold(win, o, i, &has, out))
        return has;
    return (int32_t)(c->odd - c->lo) >= 0 ? with_markers(win->plans, o, w, count, out)
                                          : clean(o, w, count, (int32_t)(c->reset - c->lo) > 0, out);
}

void tsn_over_eval(struct node *n, const struct step *step)
{
    struct node *win = n->window;
    bool move = window_times(win, step);
    struct over o = { n->fn, { .range_ms = win->range_ms, .start_ms = win->start_ms, .end_ms = win->end_ms },
                      step->at_ms, n->scalars[0] ? n->scalars[0]->scalar : 0 };
    /* The floor is for samples; values of a subquery may stand at any time. */
    int64_t start_ms = win->start_ms > step->floor_ms || n->in[0] ? win->start_ms : step->floor_ms, end_ms = win->end_ms;
    /* Bytes are written below, which may be anything to the compiler: what stands still is held here. */
    const struct tsn_samples *const *source = win->selector->source;
    const uint8_t *state = n->slots->state;
    struct cursor *cursors = win->cursors;
    uint8_t *present = n->present;
    uint32_t len = n->slots->len;
    uint64_t cost = 0;

    for (uint32_t i = 0; i < len; i++) {
        struct cursor *c = &cursors[i];

        present[i] = 0;
        prefetch(win, source, i, len);
        if (state[i] != SLOT_LIVE)
            continue;
        if (move)
            advance(step->plans, c, i < win->blocks_cap ? win->blocks[i] : NULL, source[i], start_ms, end_ms);
        if (c->hi == c->lo)
            continue;
        cost += c->hi - c->lo;
        present[i] = window_value(win, &o, i, source[i], &n->value[i]);
    }
    n->cost = cost;
    if (move) {
        win->valid = true;
        win->seq = ++step->plans->seq;
    }
}
