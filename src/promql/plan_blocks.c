/*
 * plan_blocks: running folds of long windows, in the order of promql/blocks.h, so that a step costs
 * the same for an hour and a week.
 *
 *     ws                                                              we
 *      (----head----|---- ring[0] ----|---- ring[1] ----| … |- ring[n] -]
 *       suffix of i: samples i … end of the head block
 *
 * A new sample is merged into the last block of the ring, or begins one. When the window's start
 * enters a block, that block leaves the ring and its suffixes stand: they are made beforehand, a few at
 * a time, so that no step pays for a whole block. The answer is one suffix merged with at most 9 blocks. All folds are of the samples in the window and of block boundaries,
 * nothing else, so a ring made anew over the same samples is the same.
 *
 * Suffixes are kept packed, the wanted parts alone: a step reads one per series that it never read before,
 * from far memory, so its size is what long windows cost. About 6 bytes per sample and part.
 */
#include "promql/plan_int.h"

#include <string.h>

enum { RING = 12 }; /* 9 blocks can meet a window, and one more while it moves */
/* Suffixes are made beforehand every so many samples, twice as many: far memory is read and written by lines, and they are
 * done before they are needed. Each series has its turn at a step of its own. */
enum { TURN = 16 };

struct block {
    int64_t k;
    uint32_t end; /* absolute number of the sample after its last */
    struct tsn_fold fold;
};
/* Suffixes of one block's samples, absolute numbers first … end - 1, packed. */
struct suffixes {
    double *items;          /* `stride` numbers each */
    uint32_t cap, stride;   /* cap in numbers */
    uint32_t first, end;    /* equal: none */
    uint32_t made;          /* those of made … end - 1 stand */
    struct tsn_fold all;    /* of these … */
    uint32_t all_first;     /* … and its first sample's absolute number */
    struct tsn_sample last; /* of the block, stale markers out */
    int64_t k;
};
struct blocks {
    bool filled;
    int64_t head;         /* block of the window's start */
    struct suffixes now, coming; /* of the head; of the ring's first block */
    uint32_t next;        /* absolute number of the first sample not folded yet */
    uint32_t ring_len;
    struct block ring[RING]; /* in order of time */
    struct { /* tsn_blocks_reuse */
        struct tsn_ksum sum;
        uint32_t lo, hi;
        bool begun;
        TSN_VEC(double) values; /* of lo … hi - 1 */
    } reused;
};

void tsn_blocks_free(struct blocks *b)
{
    if (!b)
        return;
    tsn_free(b->now.items);
    tsn_free(b->coming.items);
    tsn_vec_release(&b->reused.values);
    tsn_free(b);
}

void tsn_blocks_forget(struct blocks *b)
{
    if (b)
        b->filled = false;
}

static void drop_first(struct blocks *b, uint32_t count)
{
    memmove(b->ring, b->ring + count, (b->ring_len - count) * sizeof b->ring[0]);
    b->ring_len -= count;
}

/* ---- suffixes ----------------------------------------------------------------------------- */

/* Count and place of the first sample, then the wanted parts in this order. */
static uint32_t packed_size(unsigned parts)
{
    return 1 + (parts & TSN_FOLD_SUM ? 2 : 0) + (parts & TSN_FOLD_RESETS ? 2 : 0) + (parts & TSN_FOLD_MOMENTS ? 2 : 0) +
           (parts & TSN_FOLD_EXTREMES ? 2 : 0) + (parts & (TSN_FOLD_RESETS | TSN_FOLD_CHANGES) ? 1 : 0);
}

static double *put_two(double *at, double a, double b)
{
    at[0] = a;
    at[1] = b;
    return at + 2;
}

static double *put_counts(double *at, uint32_t a, uint32_t b)
{
    uint32_t two[2] = { a, b };

    memcpy(at, two, sizeof two);
    return at + 1;
}

/* first: its first sample's place after the suffix's own. */
static void pack(double *at, const struct tsn_fold *f, uint32_t first, unsigned parts)
{
    at = put_counts(at, (uint32_t)f->count, first);
    if (parts & TSN_FOLD_SUM)
        at = put_two(at, f->sum.sum, f->sum.carry);
    if (parts & TSN_FOLD_RESETS)
        at = put_two(at, f->reset_sum.sum, f->reset_sum.carry);
    if (parts & TSN_FOLD_MOMENTS)
        at = put_two(at, f->mean, f->m2);
    if (parts & TSN_FOLD_EXTREMES)
        at = put_two(at, f->min, f->max);
    if (parts & (TSN_FOLD_RESETS | TSN_FOLD_CHANGES))
        (void)put_counts(at, f->resets, f->changes);
}

static const double *get_two(const double *at, double *a, double *b)
{
    *a = at[0];
    *b = at[1];
    return at + 2;
}

/* samples: from the suffix's own place on. */
static void unpack(struct tsn_fold *f, const double *at, const struct tsn_sample *samples, struct tsn_sample last,
                   unsigned parts)
{
    uint32_t two[2];

    memcpy(two, at++, sizeof two);
    f->count = two[0];
    if (!f->count)
        return;
    f->first = samples[two[1]];
    f->last = last;
    if (parts & TSN_FOLD_SUM)
        at = get_two(at, &f->sum.sum, &f->sum.carry);
    if (parts & TSN_FOLD_RESETS)
        at = get_two(at, &f->reset_sum.sum, &f->reset_sum.carry);
    if (parts & TSN_FOLD_MOMENTS)
        at = get_two(at, &f->mean, &f->m2);
    if (parts & TSN_FOLD_EXTREMES)
        at = get_two(at, &f->min, &f->max);
    if (parts & (TSN_FOLD_RESETS | TSN_FOLD_CHANGES)) {
        memcpy(two, at, sizeof two);
        f->resets = two[0];
        f->changes = two[1];
    }
}

/* From now on the suffixes of block k, whose samples are first … end - 1. */
static void begin_suffixes(struct suffixes *f, int64_t k, uint32_t first, uint32_t end, unsigned parts)
{
    uint32_t count = end - first;

    f->stride = packed_size(parts);
    if (count * f->stride > f->cap) {
        f->cap = (count + count / 8) * f->stride;
        f->items = tsn_reallocarray(f->items, f->cap, sizeof *f->items);
    }
    f->k = k;
    f->first = first;
    f->end = f->made = f->all_first = end;
    f->all = (struct tsn_fold){ 0 };
}

/* Some more, from the end on, but none before `least`. */
static void make_suffixes(struct suffixes *f, const struct tsn_samples *s, uint32_t some, uint32_t least, unsigned parts)
{
    for (; some && f->made != f->first && (int32_t)(f->made - least) > 0; some--) {
        struct tsn_sample x = s->items[(uint32_t)(f->made - 1 - s->trimmed)];

        f->made--;
        if (!tsn_is_stale(x.value)) {
            struct tsn_fold fold = tsn_fold_of(x);

            tsn_fold_merge(&fold, &f->all, parts);
            f->all = fold;
            f->all_first = f->made;
        }
        pack(f->items + (size_t)(f->made - f->first) * f->stride, &f->all, f->all_first - f->made, parts);
    }
    f->last = f->all.last;
}

void tsn_blocks_prefetch(const struct blocks *b, const struct cursor *c)
{
    if (!b)
        return;
    __builtin_prefetch(&b->ring_len);
    if (b->now.end != b->now.first)
        __builtin_prefetch(b->now.items + (size_t)(uint32_t)(c->lo + 1 - b->now.first) * b->now.stride);
}

/* ---- the ring ----------------------------------------------------------------------------- */

/* New samples into the ring. */
static void fold_new(struct blocks *b, const struct cursor *c, const struct tsn_samples *s, int64_t block_ms,
                     unsigned parts)
{
    int64_t end_ms = b->ring_len ? (b->ring[b->ring_len - 1].k + 1) * block_ms : INT64_MIN;

    for (; b->next != c->hi; b->next++) {
        struct tsn_sample x = s->items[(uint32_t)(b->next - s->trimmed)];
        struct block *last;

        if (x.ts_ms > end_ms) {
            int64_t k = tsn_block_of(x.ts_ms, block_ms);

            TSN_ASSERT(b->ring_len < RING);
            b->ring[b->ring_len++] = (struct block){ .k = k };
            end_ms = (k + 1) * block_ms;
        }
        last = &b->ring[b->ring_len - 1];
        last->end = b->next + 1;
        if (!tsn_is_stale(x.value)) {
            struct tsn_fold fold = tsn_fold_of(x);

            tsn_fold_merge(&last->fold, &fold, parts);
        }
    }
}

/* The window's start stands in block `head` now. */
static void enter_block(struct blocks *b, int64_t head)
{
    uint32_t behind = 0;

    while (behind < b->ring_len && b->ring[behind].k < head)
        behind++;
    drop_first(b, behind);
    b->head = head;
    b->now.first = b->now.end = 0; /* no suffixes yet */
}

/* The ring's first block is the head now: what is missing of its suffixes is made. */
static void take_head(struct blocks *b, const struct cursor *c, const struct tsn_samples *s, unsigned parts)
{
    struct suffixes swap = b->now;

    if (b->coming.first == b->coming.end || b->coming.k != b->head)
        begin_suffixes(&b->coming, b->head, c->lo, b->ring[0].end, parts);
    make_suffixes(&b->coming, s, UINT32_MAX, c->lo, parts);
    b->now = b->coming;
    b->coming = swap;
    b->coming.first = b->coming.end = 0;
    drop_first(b, 1);
}

/* The next head is full as soon as another block follows it. */
static void prepare(struct blocks *b, const struct cursor *c, const struct tsn_samples *s, uint32_t some, unsigned parts)
{
    uint32_t first = c->lo;

    if (b->ring_len < 2)
        return;
    if (b->coming.first == b->coming.end || b->coming.k != b->ring[0].k) {
        if (b->now.end != b->now.first && (int32_t)(b->now.end - c->lo) > 0)
            first = b->now.end;
        begin_suffixes(&b->coming, b->ring[0].k, first, b->ring[0].end, parts);
    }
    make_suffixes(&b->coming, s, some, c->lo, parts);
}

struct tsn_fold tsn_blocks_fold(struct blocks **blocks, const struct cursor *c, const struct tsn_samples *s,
                                int64_t start_ms, int64_t range_ms, unsigned parts, uint32_t phase)
{
    int64_t block_ms = tsn_block_ms(range_ms), head = tsn_block_of(start_ms + 1, block_ms);
    struct blocks *b = *blocks ? *blocks : (*blocks = tsn_calloc(1, sizeof **blocks));
    struct tsn_fold all = { 0 };
    bool fresh = !b->filled || (int32_t)(b->next - c->lo) < 0;
    uint32_t come;

    if (fresh) {
        b->ring_len = 0;
        b->next = c->lo;
        b->coming.first = b->coming.end = 0;
        b->filled = true;
    }
    if (fresh || head != b->head)
        enter_block(b, head);
    come = c->hi - b->next;
    fold_new(b, c, s, block_ms, parts);
    if (b->ring_len && b->ring[0].k == head)
        take_head(b, c, s, parts);
    if (!fresh && ((c->hi + phase) ^ (c->hi - come + phase)) >= TURN)
        prepare(b, c, s, 2 * (come + TURN), parts);
    if (b->now.end != b->now.first && (int32_t)(b->now.end - c->lo) > 0)
        unpack(&all, b->now.items + (size_t)(c->lo - b->now.first) * b->now.stride,
               s->items + (uint32_t)(c->lo - s->trimmed), b->now.last, parts);
    for (uint32_t i = 0; i < b->ring_len; i++)
        tsn_fold_merge(&all, &b->ring[i].fold, parts);
    return all;
}

void tsn_blocks_reuse(struct blocks *b, const struct cursor *c, const struct tsn_samples *s, struct tsn_ksum *sum)
{
    size_t leaving;

    if (!b->reused.begun || (int32_t)(c->lo - b->reused.hi) > 0) {
        b->reused.begun = true;
        b->reused.sum = (struct tsn_ksum){ 0, 0 };
        b->reused.values.len = 0;
        b->reused.lo = b->reused.hi = c->lo;
    }
    for (; b->reused.hi != c->hi; b->reused.hi++) {
        double x = s->items[(uint32_t)(b->reused.hi - s->trimmed)].value;

        x = tsn_is_stale(x) ? 0 : x;
        tsn_ksum_add(&b->reused.sum, x);
        tsn_vec_push(&b->reused.values, x);
    }
    leaving = (uint32_t)(c->lo - b->reused.lo);
    for (size_t i = 0; i < leaving; i++)
        tsn_ksum_add(&b->reused.sum, -b->reused.values.items[i]);
    b->reused.values.len -= leaving;
    if (leaving)
        memmove(b->reused.values.items, b->reused.values.items + leaving, b->reused.values.len * sizeof(double));
    b->reused.lo = c->lo;
    *sum = b->reused.sum;
}
