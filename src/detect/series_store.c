/*
 * series_store: the series of one partition, by id and by metric name, with their samples.
 *
 * A counted series (delta) keeps open panes apart from its samples: a pane becomes a sample, the
 * total at its end, when the first step passes that end. So samples never change once written, and
 * totals are exact sums of integers whatever the order in which deltas came (DESIGN §3).
 */
#include "detect/detect_int.h"

#include <stdlib.h>
#include <string.h>

void tsn_store_init(struct series_store *store)
{
    memset(store, 0, sizeof *store);
    tsn_map_init(&store->by_name);
}

/* Of most series; never written to. */
static struct derived not_derived = { .dirty_ms = TSN_TIME_NONE };
static const struct readers no_readers;

void tsn_series_forget_holders(struct series *s)
{
    for (size_t i = 0; i < s->more->by.len; i++) {
        tsn_free(s->more->by.items[i].group);
        tsn_free(s->more->by.items[i].rule);
    }
    if (s->more != &not_derived)
        tsn_vec_release(&s->more->by);
}

static void own_more(struct series *s)
{
    if (s->more != &not_derived)
        return;
    s->more = tsn_calloc(1, sizeof *s->more);
    s->more->dirty_ms = TSN_TIME_NONE;
}

void tsn_series_derive(struct series *s)
{
    s->derived = true;
    own_more(s);
}

void tsn_store_list_chunked(struct series_store *store, struct series *s)
{
    own_more(s);
    if (s->more->listed)
        return;
    s->more->listed = true;
    tsn_vec_push(&store->chunked, s);
}

void tsn_store_set_plans(struct series_store *store, struct tsn_plans *plans)
{
    for (size_t i = 0; i < store->all.len; i++)
        store->all.items[i]->plan = NULL;
    tsn_plans_free(&store->plans);
    store->plans = plans;
}

void tsn_store_plan_series(struct series_store *store, struct series *s)
{
    uint32_t scopes = 1u << TSN_SCOPE_ALL | (s->own ? 1u << TSN_SCOPE_OWN : 0);

    if (store->plans && !s->plan)
        s->plan = tsn_plans_series_add(store->plans, s->labels, &s->samples, scopes);
}

void tsn_store_touch(struct series_store *store, struct series *s)
{
    if (s->plan)
        tsn_plans_touch(store->plans, s->plan);
}

static void series_free(struct series_store *store, struct series *s)
{
    if (s->plan)
        tsn_plans_series_remove(store->plans, s->plan);
    tsn_series_forget_holders(s);
    tsn_labels_unref(s->labels);
    tsn_vec_release(&s->samples);
    tsn_vec_release(&s->panes);
    tsn_vec_release(&s->ended);
    if (s->more != &not_derived) {
        tsn_vec_release(&s->more->minutes);
        tsn_vec_release(&s->more->chunks);
        tsn_free(s->more);
    }
    tsn_free(s);
}

void tsn_store_release(struct series_store *store)
{
    tsn_store_set_plans(store, NULL);
    for (size_t i = 0; i < store->all.len; i++)
        series_free(store, store->all.items[i]);
    tsn_map_foreach(&store->by_name, e) {
        struct series_list *list = e->value;

        tsn_free(list->items);
        tsn_free(list);
    }
    tsn_map_release(&store->by_name);
    tsn_free(store->by_id);
    tsn_free(store->all.items);
    tsn_free(store->open.items);
    tsn_free(store->chunked.items);
}

/* Where the id stands, or the free place where it would; the table has one. */
static uint32_t id_place(const struct series_store *store, struct tsn_u128 id)
{
    uint32_t mask = store->by_id_cap - 1, at = (uint32_t)id.lo & mask;

    while (store->by_id[at] && !tsn_u128_equal(store->by_id[at]->labels->id, id))
        at = (at + 1) & mask;
    return at;
}

struct series *tsn_store_get(struct series_store *store, struct tsn_u128 id)
{
    return store->by_id_cap ? store->by_id[id_place(store, id)] : NULL;
}

/* A new table for `count` series, filled from `all`. */
static void rebuild_ids(struct series_store *store, size_t count)
{
    uint32_t cap = 64;

    while (cap / 3 * 2 < count)
        cap *= 2;
    tsn_free(store->by_id);
    store->by_id = tsn_calloc(cap, sizeof(*store->by_id));
    store->by_id_cap = cap;
    for (size_t i = 0; i < store->all.len; i++)
        store->by_id[id_place(store, store->all.items[i]->labels->id)] = store->all.items[i];
}

static void list_push(struct series_list *list, struct series *s)
{
    tsn_vec_push(list, s);
    list->unsorted = true;
}

struct series *tsn_store_add(struct series_store *store, struct tsn_labels *labels, enum tsn_sample_kind kind)
{
    struct series *s = tsn_calloc(1, sizeof *s);
    const struct tsn_label *name = tsn_labels_find(labels, "__name__", 8);
    void **slot;

    s->labels = tsn_labels_ref(labels);
    s->kind = kind;
    s->more = &not_derived;
    s->readers = &no_readers;
    s->life.birth_ms = s->life.last_ms = TSN_TIME_NONE;
    if ((store->all.len + 1) * 3 > (size_t)store->by_id_cap * 2)
        rebuild_ids(store, store->all.len + 1);
    store->by_id[id_place(store, labels->id)] = s;
    slot = tsn_map_upsert(&store->by_name, name ? name->value : "", name ? name->value_len : 0, NULL);
    if (!*slot)
        *slot = tsn_calloc(1, sizeof(struct series_list));
    list_push(*slot, s);
    list_push(&store->all, s);
    return s;
}

static void list_sweep(struct series_list *list, bool (*gone)(const struct series *, void *), void *arg)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->len; i++)
        if (!gone(list->items[i], arg))
            list->items[kept++] = list->items[i];
    list->len = kept;
}

void tsn_store_sweep(struct series_store *store, bool (*gone)(const struct series *, void *), void *arg)
{
    size_t kept = 0;

    tsn_map_foreach(&store->by_name, e) {
        struct series_list *list = e->value;

        list_sweep(list, gone, arg);
        if (list->len)
            continue;
        tsn_free(list->items);
        tsn_free(list);
        tsn_map_del(&store->by_name, tsn_map_entry_key(e), e->key_len);
    }
    list_sweep(&store->open, gone, arg);
    list_sweep(&store->chunked, gone, arg);
    for (size_t i = 0; i < store->all.len; i++) {
        struct series *s = store->all.items[i];

        if (!gone(s, arg)) {
            store->all.items[kept++] = s;
            continue;
        }
        series_free(store, s);
    }
    if (kept < store->all.len) {
        store->all.len = kept;
        rebuild_ids(store, kept);
    }
}

/* Position of the first sample later than ts_ms. */
static size_t upper_bound(const struct series *s, int64_t ts_ms)
{
    size_t low = 0, high = s->samples.len;

    if (high && s->samples.items[high - 1].ts_ms <= ts_ms)
        return high;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->samples.items[middle].ts_ms <= ts_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void tsn_series_insert(struct series *s, int64_t ts_ms, double value)
{
    size_t at = upper_bound(s, ts_ms);
    struct tsn_sample sample = { ts_ms, value };

    if (at && s->samples.items[at - 1].ts_ms == ts_ms) {
        double *old = &s->samples.items[at - 1].value;

        if (tsn_double_bits(value) > tsn_double_bits(*old)) {
            *old = value;
            s->samples.edits++;
        }
        return;
    }
    s->samples.edits += at < s->samples.len;
    tsn_vec_push(&s->samples, sample);
    memmove(s->samples.items + at + 1, s->samples.items + at,
            (s->samples.len - 1 - at) * sizeof *s->samples.items);
    s->samples.items[at] = sample;
}

bool tsn_series_append(struct series *s, int64_t ts_ms, double value)
{
    const struct tsn_sample *last = s->samples.len ? &s->samples.items[s->samples.len - 1] : NULL;
    struct tsn_sample sample = { ts_ms, value };

    if (last && last->ts_ms >= ts_ms)
        return last->ts_ms == ts_ms && tsn_double_bits(last->value) == tsn_double_bits(value);
    tsn_vec_push(&s->samples, sample);
    return true;
}

bool tsn_series_add_delta(struct series *s, int64_t pane_ms, tsn_fixed delta)
{
    size_t at = s->panes.len;
    struct open_pane pane = { pane_ms, delta };

    while (at && s->panes.items[at - 1].pane_ms > pane_ms)
        at--;
    if (at && s->panes.items[at - 1].pane_ms == pane_ms)
        return tsn_fixed_add(&s->panes.items[at - 1].delta, delta);
    if (s->panes.len == s->panes.cap) { /* one or two are the rule */
        s->panes.cap = s->panes.cap * 2 + 1;
        s->panes.items = tsn_reallocarray(s->panes.items, s->panes.cap, sizeof *s->panes.items);
    }
    tsn_vec_push(&s->panes, pane);
    memmove(s->panes.items + at + 1, s->panes.items + at, (s->panes.len - 1 - at) * sizeof *s->panes.items);
    s->panes.items[at] = pane;
    return true;
}

/* A first value: where a former life's marker stands at the very time, the zero takes its place. */
static void insert_birth(struct series *s, int64_t pane_ms)
{
    size_t at = upper_bound(s, pane_ms);

    if (at && s->samples.items[at - 1].ts_ms == pane_ms && tsn_is_stale(s->samples.items[at - 1].value)) {
        s->samples.items[at - 1].value = 0;
        s->samples.edits++;
    } else {
        tsn_series_insert(s, pane_ms, 0);
    }
}

/* The marker goes where the ttl ran out, before any later pane is folded. */
static bool end_if_due(struct series *s, int64_t ts_ms, int64_t ttl_ms)
{
    int64_t end_ms;

    if (s->life.birth_ms == TSN_TIME_NONE)
        return false;
    end_ms = s->life.last_ms + TSN_PANE_MS + ttl_ms;
    if (end_ms > ts_ms)
        return false;
    tsn_series_insert(s, end_ms, tsn_stale());
    s->life.changed = true;
    tsn_vec_push(&s->ended, s->life);
    s->life = (struct life){ .birth_ms = TSN_TIME_NONE, .last_ms = TSN_TIME_NONE };
    return true;
}

/* Adds one pane to the current life; its birth puts the zero, so that a first burst is an increase. A total at or before
 * unsure_ms is not shown. */
static void fold_pane(struct series *s, struct life *life, const struct open_pane *pane, int64_t unsure_ms)
{
    if (life->birth_ms == TSN_TIME_NONE) {
        life->birth_ms = pane->pane_ms;
        insert_birth(s, pane->pane_ms);
    }
    (void)tsn_fixed_add(&life->total, pane->delta); /* saturates: 2^63 events in a series */
    life->last_ms = pane->pane_ms;
    if (pane->pane_ms + TSN_PANE_MS > unsure_ms)
        tsn_series_insert(s, pane->pane_ms + TSN_PANE_MS, tsn_fixed_to_double(life->total));
}

static void drop_panes(struct series *s, size_t count)
{
    if (!count)
        return;
    memmove(s->panes.items, s->panes.items + count, (s->panes.len - count) * sizeof *s->panes.items);
    s->panes.len -= count;
}

bool tsn_series_close_panes(struct series *s, int64_t ts_ms, int64_t ttl_ms)
{
    size_t done = 0;
    bool changed = false;

    for (; done < s->panes.len && s->panes.items[done].pane_ms + TSN_PANE_MS <= ts_ms; done++) {
        (void)end_if_due(s, s->panes.items[done].pane_ms, ttl_ms);
        fold_pane(s, &s->life, &s->panes.items[done], TSN_TIME_NONE);
        s->life.changed = changed = true;
    }
    drop_panes(s, done);
    return end_if_due(s, ts_ms, ttl_ms) || changed;
}

/* The total before the first refilled pane of a life is its total less what was read back. At or before from_ms not all was. */
static void rebase_life(struct series *s, struct life *life, int64_t from_ms)
{
    tsn_fixed read = 0;
    int64_t last_ms = life->last_ms;

    for (size_t i = 0; i < s->panes.len; i++)
        if (s->panes.items[i].pane_ms >= life->birth_ms && s->panes.items[i].pane_ms <= last_ms)
            (void)tsn_fixed_add(&read, s->panes.items[i].delta);
    life->total -= read;
    insert_birth(s, life->birth_ms);
    for (size_t i = 0; i < s->panes.len; i++)
        if (s->panes.items[i].pane_ms >= life->birth_ms && s->panes.items[i].pane_ms <= last_ms)
            fold_pane(s, life, &s->panes.items[i], from_ms);
    life->last_ms = last_ms;
    life->restored = false;
}

void tsn_series_rebase(struct series *s, int64_t from_ms, int64_t needless_ms, int64_t ttl_ms)
{
    int64_t known_ms = s->life.birth_ms != TSN_TIME_NONE ? s->life.last_ms
                       : s->ended.len                     ? s->ended.items[s->ended.len - 1].last_ms
                                                          : needless_ms;
    bool any = s->life.birth_ms != TSN_TIME_NONE || s->ended.len;
    size_t done = 0;

    for (size_t i = 0; i < s->ended.len; i++) {
        rebase_life(s, &s->ended.items[i], from_ms);
        tsn_series_insert(s, s->ended.items[i].last_ms + TSN_PANE_MS + ttl_ms, tsn_stale());
    }
    if (s->life.birth_ms != TSN_TIME_NONE)
        rebase_life(s, &s->life, from_ms);
    while (done < s->panes.len && (any ? s->panes.items[done].pane_ms <= known_ms
                                       : s->panes.items[done].pane_ms + TSN_PANE_MS + ttl_ms <= known_ms))
        done++; /* folded, or of a life that lies behind its windows */
    drop_panes(s, done);
}

static void drop_oldest(struct series *s, size_t old)
{
    if (!old)
        return;
    memmove(s->samples.items, s->samples.items + old, (s->samples.len - old) * sizeof *s->samples.items);
    s->samples.len -= old;
    s->samples.trimmed += (uint32_t)old;
}

void tsn_series_trim(struct series *s, int64_t before_ms)
{
    size_t old = upper_bound(s, before_ms);

    if (old >= 64 || old * 2 >= s->samples.len) /* moving few is not worth the copy */
        drop_oldest(s, old);
}

void tsn_series_cut(struct series *s, int64_t before_ms)
{
    drop_oldest(s, upper_bound(s, before_ms));
}

/* Most series hold a window's samples and no more: little slack. */
void tsn_series_room(struct series *s, size_t more, int64_t before_ms)
{
    enum { SLACK = 2, SLACK_OF = 16 };

    if (s->samples.len + more <= s->samples.cap)
        return;
    if (before_ms != TSN_TIME_NONE)
        drop_oldest(s, upper_bound(s, before_ms));
    if (s->samples.len + more <= s->samples.cap)
        return;
    s->samples.cap = s->samples.len + more + SLACK + s->samples.len / SLACK_OF;
    s->samples.items = tsn_reallocarray(s->samples.items, s->samples.cap, sizeof *s->samples.items);
}

bool tsn_series_live(const struct series *s, int64_t ts_ms, int64_t lookback_ms)
{
    size_t at = upper_bound(s, ts_ms);

    return at && s->samples.items[at - 1].ts_ms > ts_ms - lookback_ms &&
           !tsn_is_stale(s->samples.items[at - 1].value);
}

static int by_labels(const void *a, const void *b)
{
    const struct series *const *x = a, *const *y = b;

    return tsn_labels_compare((*x)->labels, (*y)->labels);
}

static void sort_list(struct series_list *list)
{
    if (list->unsorted && list->len)
        qsort(list->items, list->len, sizeof *list->items, by_labels);
    list->unsorted = false;
}

static void select_from(struct series_list *list, const struct store_view *view, const struct tsn_matcher *matchers,
                        size_t count, int64_t from_ms, int64_t to_ms, struct tsn_series_list *out)
{
    sort_list(list);
    for (size_t i = 0; i < list->len; i++) {
        struct series *s = list->items[i];
        struct tsn_series_view item;
        int64_t needless_ms;
        size_t first, end;

        if ((view->own_only && !s->own) || !s->samples.len || !tsn_matchers_match(matchers, count, s->labels))
            continue;
        needless_ms = view->detect ? tsn_detect_needless_of(view->detect, s) : TSN_TIME_NONE;
        first = upper_bound(s, from_ms > needless_ms ? from_ms : needless_ms);
        end = upper_bound(s, to_ms);
        if (first == end)
            continue;
        item = (struct tsn_series_view){ s->labels, s->samples.items + first, end - first };
        tsn_vec_push(out, item);
    }
}

void tsn_store_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms,
                      int64_t to_ms, struct tsn_series_list *out)
{
    struct store_view *view = self;

    from_ms = from_ms > view->floor_ms ? from_ms : view->floor_ms;
    for (size_t i = 0; i < count; i++)
        if (matchers[i].op == TSN_MATCH_EQ && strcmp(matchers[i].name, "__name__") == 0) {
            struct series_list *list = tsn_map_get(&view->store->by_name, matchers[i].value, matchers[i].value_len);

            if (list)
                select_from(list, view, matchers, count, from_ms, to_ms, out);
            return;
        }
    select_from(&view->store->all, view, matchers, count, from_ms, to_ms, out);
}
