/*
 * plan_int: what the files of the plans share (private to promql/). See tocsin/plan.h.
 *
 *   plan.c            series, selectors, settling, a step and its result
 *   plan_compile.c    expression → nodes, equal ones shared
 *   plan_slots.c      slots and ordered lists of them
 *   plan_leaf.c       newest samples, windows and the functions over them
 *   plan_blocks.c     running folds of long windows
 *   plan_subquery.c   values of a subquery's operand, kept as samples
 *   plan_math.c       scalars, element by element, relabelling, absent
 *   plan_group.c      aggregations, histograms
 *   plan_join.c       operators between vectors
 *
 * A node of vector type has SLOTS: places for elements whose labels are known before any step. Slots
 * appear and vanish when series do (settling, children first); a step only fills `present` and
 * `value`. Nodes that change no labels but the name share the slots of their child.
 *
 *     selector slots    0 1 2 3 4 …      labels of series
 *     rate(…)           · · · · ·        the same slots, nameless
 *     sum by (a)        groups: own slots, each with its members in canonical order
 */
#ifndef TOCSIN_PROMQL_PLAN_INT_H
#define TOCSIN_PROMQL_PLAN_INT_H

#include "promql/eval_int.h"
#include "tocsin/plan.h"

#define NO_SLOT UINT32_MAX

struct u32s {
    uint32_t *items;
    size_t len, cap;
};

enum slot_state { SLOT_FREE, SLOT_LIVE, SLOT_DYING };

struct slots {
    struct tsn_labels **labels; /* owned references */
    struct tsn_labels **bare;   /* without the name; made when first shown, room up to bare_cap */
    uint8_t *state;
    uint32_t len, cap, bare_cap; /* len: highest ever used + 1 */
    uint32_t live;
    struct u32s free, added, removed;
};

/* Series by matchers: what instant and range selectors stand on. */
struct selector {
    const struct tsn_expr *expr;
    const char *metric; /* the name it is pinned to, or NULL */
    uint32_t metric_len, scope, number; /* number: its place in plans->selectors */
    struct slots slots;
    const struct tsn_samples **source; /* by slot */
    uint32_t source_cap;
    uint64_t touched; /* seq of the last change of samples or slots */
};

struct selector_list {
    struct selector **items;
    size_t len, cap;
};

struct place {
    uint32_t selector, slot; /* selector: in plans->selectors */
};
struct tsn_plan_series {
    struct tsn_labels *labels;
    const struct tsn_samples *samples;
    struct place *others; /* where it stands: one place as a rule; the others exact */
    struct place first;
    uint32_t scopes, index; /* index: in plans->series */
    uint32_t place_count : 31;
    bool odd : 1; /* has __type__ or __unit__: two may become one without them */
};

/* Where a window stands in its series: absolute numbers of samples (position + trimmed). */
struct cursor {
    uint32_t lo, hi;  /* samples in the window, markers included */
    uint32_t reset;   /* last sample that is less than the one before it, if > lo */
    uint32_t odd;     /* last NaN, if >= lo: the window takes the slow way */
    uint32_t edits;
    bool filled;
};

enum node_kind {
    NODE_NUMBER, NODE_TIME, NODE_SCALAR_OF, NODE_SCALAR_NEGATE, NODE_SCALAR_BINARY, /* scalars */
    NODE_NEWEST, NODE_STAMP, NODE_WINDOW, NODE_OVER, /* leaves; a window has no values */
    NODE_SAME, NODE_NEGATE, NODE_MATH, NODE_WITH_SCALAR, NODE_NOW,
    NODE_VECTOR, NODE_DATE, NODE_ABSENT, NODE_RELABEL,
    NODE_GROUP, NODE_TOP, NODE_HISTOGRAM,
    NODE_JOIN, NODE_AND, NODE_OR,
    NODE_SUBQUERY, /* has no values either */
    NODE_NAIVE /* with in[0]: count_values of a node, whose label sets are known at a step only */
};

struct group {
    struct u32s members;  /* slots of the child, canonical order; the tail after `sorted` is not yet */
    uint32_t sorted;
    bool touched, dying;  /* dying: some member is */
    struct tsn_u128 id;
};

struct join_out {
    uint32_t many, one, out; /* one: NO_SLOT if labels do not depend on it */
};
struct join_key {
    struct u32s side[2]; /* slots of left and right with this key */
    TSN_VEC(struct join_out) outs;
    struct tsn_u128 id;
    uint32_t present; /* and, or, unless: of the marked side, at this step */
    bool live, crowded;
};

/* How many slots have one label set; more than one needs a look at every step. */
struct twins {
    struct tsn_map by_id; /* id → count */
    size_t surplus;       /* slots beyond the first of each id */
};

struct blocks;
struct subquery;

struct node {
    enum node_kind kind;
    const struct tsn_expr *expr;
    struct tsn_plans *plans;
    struct node *in[2], *scalars[2], *window;
    struct selector *selector; /* leaves */
    struct slots *slots;       /* own.*, or the child's */
    struct slots own;
    bool named;                /* labels in slots may have a name … */
    bool pinned;               /* … the same in all */
    bool nameless;             /* slots are shown without name */
    bool check_twins, kept;
    struct twins twins;
    uint8_t *present; /* 1: an element; 2: a pair that a comparison filtered */
    double *value;
    uint32_t cap; /* of the two */
    double scalar;
    enum tsn_function_id fn;
    /* what the values are for */
    bool valid, failed;
    int64_t at_ms, floor_ms;
    uint64_t pass;
    uint64_t seq; /* when computed */
    uint64_t cost; /* samples, as the naive evaluator counts them */
    /* by kind */
    int64_t offset_ms, range_ms, start_ms, end_ms; /* windows; start and end of this step */
    struct cursor *cursors;
    struct blocks **blocks; /* of long windows; else NULL */
    unsigned parts;         /* windows: of a fold, what is asked of them */
    uint32_t cursor_cap, blocks_cap;
    struct group *groups; /* by own slot */
    uint32_t *group_of;   /* by child's slot */
    double *upper;        /* histograms: bound by child's slot */
    struct u32s touched;
    struct tsn_map by_id; /* id → own slot + 1, or key + 1 */
    uint32_t groups_cap, group_of_cap;
    struct u32s emit; /* top: slots in the order they come out */
    struct group firsts; /* top: of each group the first that is there */
    TSN_VEC(struct join_key) keys;
    struct u32s free_keys;
    uint32_t *key_of[2], *out_of[2]; /* by slot of left and right */
    uint32_t key_of_cap[2], out_of_cap[2];
    struct subquery *sub;
    struct tsn_regex *regex;
    uint32_t *unseen; /* naive: steps since a slot was given */
    uint32_t unseen_cap;
};

struct tsn_plan {
    struct tsn_plans *plans;
    const struct tsn_query *query;
    struct node *root; /* NULL: naive as a whole */
    uint32_t scope;
    bool streaming, sort;
    TSN_VEC(struct node *) naives;
    struct group order; /* root's slots */
    struct group shown; /* those that are there, if few */
};

struct tsn_plans {
    struct tsn_eval_options opt;
    TSN_VEC(struct tsn_plan *) plans;
    TSN_VEC(struct node *) nodes; /* children before parents */
    struct tsn_map by_text;       /* lane, scope, text → node */
    TSN_VEC(struct selector *) selectors;
    struct tsn_map selector_by_text, selectors_by_metric; /* metric → struct selector_list */
    TSN_VEC(struct tsn_plan_series *) series;
    size_t odd;
    bool pending;
    uint64_t pass, seq, changed, touched; /* changed: all series; touched: any */
    TSN_VEC(double) values;         /* scratch */
    TSN_VEC(struct tsn_bucket) buckets;
    TSN_VEC(struct tsn_sample) samples;
    struct u32s picked, merge;
    struct tsn_plans_stats stats;
};

/* What a step of a plan hands down. */
struct step {
    struct tsn_plans *plans;
    const struct tsn_storage *storage;
    int64_t at_ms, floor_ms;
};

/* plan_slots.c */
uint32_t tsn_slots_add(struct slots *s, struct tsn_labels *taken);
void tsn_slots_remove(struct slots *s, uint32_t slot); /* dying until tsn_slots_settled */
void tsn_slots_settled(struct slots *s);
void tsn_slots_release(struct slots *s);
/* Borrowed. */
struct tsn_labels *tsn_slots_shown(struct slots *s, uint32_t slot, bool nameless);
/* Canonical order of two sets as shown. */
int tsn_labels_compare_shown(const struct tsn_labels *a, const struct tsn_labels *b, bool nameless);
/* Grows *items to hold `want` items of that size, new ones zero. */
void *tsn_grow_zero(void *items, uint32_t *cap, uint32_t want, size_t item_size);
void tsn_group_add(struct group *g, uint32_t slot);
/* Drops the dying, sorts what was added. */
void tsn_group_settle(struct tsn_plans *plans, struct group *g, const struct slots *s, bool nameless);
void tsn_twins_add(struct twins *t, struct tsn_u128 id);
void tsn_twins_del(struct twins *t, struct tsn_u128 id);

/* plan_blocks.c */
/* The wanted parts of the fold of the samples that the cursor stands on, as tsn_fold_window has it
 * without stale markers. Other parts than before: tsn_blocks_forget first. *blocks is made if NULL; work is what moved since the last call;
 * phase spreads it over the steps. */
struct tsn_fold tsn_blocks_fold(struct blocks **blocks, const struct cursor *c, const struct tsn_samples *s,
                                int64_t start_ms, int64_t range_ms, unsigned parts, uint32_t phase);
/* Asks memory for what the next fold reads. NULL is allowed. */
void tsn_blocks_prefetch(const struct blocks *blocks, const struct cursor *c);
/* The broken variant of the simulator: a sum that is never made anew; what comes is added, what leaves taken off. */
void tsn_blocks_reuse(struct blocks *blocks, const struct cursor *c, const struct tsn_samples *s, struct tsn_ksum *sum);
/* The cursor did not move on, it was set: what was folded does not count. NULL is allowed. */
void tsn_blocks_forget(struct blocks *blocks);
void tsn_blocks_free(struct blocks *blocks);

/* plan.c */
/* Slots that came and went reach all nodes. */
void tsn_plans_settle(struct tsn_plans *plans);
/* Brings node up to the step: its values, or node->failed. */
void tsn_node_eval(struct node *n, const struct step *step);
/* Room in value and present for all slots. */
void tsn_node_room(struct node *n);
/* The slots whose coming and going a node follows; NULL: none. */
struct slots *tsn_node_child_slots(const struct node *n, int side);

/* plan_compile.c */
/* Never fails: what has no streaming form becomes a naive node. */
struct node *tsn_plan_compile(struct tsn_plan *plan, const struct tsn_expr *e, uint32_t lane);
void tsn_node_free(struct node *n);
void tsn_selector_free(struct selector *s);
/* The i-th place of a series. */
static inline struct place *tsn_place_of(struct tsn_plan_series *s, uint32_t i)
{
    return i ? &s->others[i - 1] : &s->first;
}
/* The selector sees the series from now on. */
void tsn_selector_attach(struct tsn_plans *plans, struct selector *sel, struct tsn_plan_series *s);

/* Settling: a child's slot (in[side]) came, or goes (its labels are there until the end of settling). */
void tsn_node_slot_added(struct node *n, int side, uint32_t slot);
void tsn_node_slot_removed(struct node *n, int side, uint32_t slot);
/* After all of these. */
void tsn_node_settle(struct node *n);

/* plan_subquery.c. inner: the operand's node, of a lane of its own, without naive parts; n has offset and range. */
void tsn_subquery_new(struct node *n, struct node *inner, int64_t step_ms);
void tsn_subquery_free(struct subquery *sub);
struct selector *tsn_subquery_selector(const struct node *n);
struct node *tsn_subquery_inner(const struct node *n);
void tsn_subquery_slot_added(struct node *n, uint32_t slot);
void tsn_subquery_slot_removed(struct node *n, uint32_t slot);
void tsn_subquery_settle(struct node *n);
void tsn_subquery_eval(struct node *n, const struct step *step);

/* plan_leaf.c, plan_math.c, plan_group.c, plan_join.c: values of a node whose children are up to date. */
void tsn_newest_eval(struct node *n, const struct step *step);
void tsn_over_eval(struct node *n, const struct step *step);
void tsn_math_eval(struct node *n, const struct step *step);
void tsn_group_eval(struct node *n, const struct step *step);
void tsn_histogram_eval(struct node *n);
void tsn_top_eval(struct node *n);
void tsn_join_eval(struct node *n);
void tsn_set_eval(struct node *n);
void tsn_naive_refresh(struct node *n, const struct step *step);

void tsn_group_slot_added(struct node *n, uint32_t slot);
void tsn_group_slot_removed(struct node *n, uint32_t slot);
void tsn_group_node_settle(struct node *n);
void tsn_join_slot_added(struct node *n, int side, uint32_t slot);
void tsn_join_slot_removed(struct node *n, int side, uint32_t slot);
void tsn_relabel_slot_added(struct node *n, uint32_t slot);
void tsn_relabel_slot_removed(struct node *n, uint32_t slot);

#endif
