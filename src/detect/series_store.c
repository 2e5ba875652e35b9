/*
 * series_store: the series of one partition, by id and by metric name, with their samples.
 *
 * Samples are kept in order of time and change rarely once written; `edits` says when one did, for the plans
 * that read them (tocsin/plan.h). Lists by name are sorted when somebody asks.
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
static const struct readers no_readers = { .past_ms = TSN_TIME_NONE };

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

void tsn_series_add_ended(struct series *s, const struct life *life)
{
    size_t at = s->more->ended.len;

    own_more(s);
    tsn_vec_push(&s->more->ended, *life);
    for (; at && s->more->ended.items[at - 1].birth_ms > life->birth_ms; at--)
        s->more->ended.items[at] = s->more->ended.items[at - 1];
    s->more->ended.items[at] = *life;
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
    tsn_free(s->samples.items);
    tsn_panes_release(&s->panes);
    if (s->more != &not_derived) {
        tsn_vec_release(&s->more->ended);
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
    s->kind = (uint8_t)kind;
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
    struct tsn_sample sample = { ts_ms, value };
    size_t at;

    if (!s->samples.len || s->samples.items[s->samples.len - 1].ts_ms < ts_ms) {
        tsn_samples_push(&s->samples, sample);
        return;
    }
    at = upper_bound(s, ts_ms);
    if (at && s->samples.items[at - 1].ts_ms == ts_ms) {
        double *old = &s->samples.items[at - 1].value;

        if (tsn_double_bits(value) > tsn_double_bits(*old)) {
            *old = value;
            s->samples.edits++;
        }
        return;
    }
    s->samples.edits += at < s->samples.len;
    tsn_samples_push(&s->samples, sample);
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
    tsn_samples_push(&s->samples, sample);
    return true;
}

static void drop_oldest(struct series *s, size_t old)
{
    if (!old)
        return;
    memmove(s->samples.items, s->samples.items + old, (s->samples.len - old) * sizeof *s->samples.items);
    s->samples.len -= (uint32_t)old;
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
    enum { SLACK_OF = 16 };
    size_t slack;

    if (s->samples.len + more <= s->samples.cap)
        return;
    if (before_ms != TSN_TIME_NONE)
        drop_oldest(s, upper_bound(s, before_ms));
    if (s->samples.len + more <= s->samples.cap)
        return;
    slack = s->samples.len / SLACK_OF;
    tsn_samples_reserve(&s->samples, s->samples.len + more + (slack ? slack : 1));
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
