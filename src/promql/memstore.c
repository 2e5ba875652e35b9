/*
 * memstore: series in memory behind the evaluator's storage interface, in canonical order, and under
 * the plans of the graphs that are attached: they hear of series that come and of samples added.
 */
#include "tocsin/plan.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_GRAPHS = 2 }; /* the rules' of a test, and that of one of its checks */

struct mem_series {
    struct tsn_labels *labels;
    struct tsn_samples samples;
    struct tsn_plan_series *in[MAX_GRAPHS]; /* handles, by graph */
};

struct tsn_memstore {
    struct tsn_map by_id; /* id → struct mem_series */
    struct mem_series **sorted;
    size_t sorted_len; /* < by_id.count: sort again */
    struct tsn_plans *graphs[MAX_GRAPHS]; /* borrowed */
};

struct tsn_memstore *tsn_memstore_new(void)
{
    struct tsn_memstore *store = tsn_calloc(1, sizeof *store);

    tsn_map_init(&store->by_id);
    return store;
}

void tsn_memstore_free(struct tsn_memstore **store)
{
    if (!*store)
        return;
    tsn_map_foreach(&(*store)->by_id, e) {
        struct mem_series *s = e->value;

        tsn_labels_unref(s->labels);
        tsn_vec_release(&s->samples);
        tsn_free(s);
    }
    tsn_map_release(&(*store)->by_id);
    tsn_free((*store)->sorted);
    tsn_free(*store);
    *store = NULL;
}

static struct mem_series *series_of(struct tsn_memstore *store, const struct tsn_labels *labels)
{
    void **slot = tsn_map_upsert(&store->by_id, &labels->id, sizeof labels->id, NULL);
    struct mem_series *s = *slot;

    if (!s) {
        s = *slot = tsn_calloc(1, sizeof *s);
        s->labels = tsn_labels_copy(labels);
        for (int g = 0; g < MAX_GRAPHS; g++)
            if (store->graphs[g])
                s->in[g] = tsn_plans_series_add(store->graphs[g], s->labels, &s->samples, 1);
    }
    return s;
}

static void changed(struct tsn_memstore *store, struct mem_series *s)
{
    for (int g = 0; g < MAX_GRAPHS; g++)
        if (s->in[g])
            tsn_plans_touch(store->graphs[g], s->in[g]);
}

enum tsn_err tsn_memstore_append(struct tsn_memstore *store, const struct tsn_labels *labels, int64_t ts_ms,
                                 double value, struct tsn_error *error)
{
    struct mem_series *s = series_of(store, labels);
    const struct tsn_sample *last = s->samples.len ? &s->samples.items[s->samples.len - 1] : NULL;
    struct tsn_sample sample = { ts_ms, value };

    if (last && ts_ms < last->ts_ms)
        return tsn_error_set(error, TSN_ERR_CONFLICT, "out of order sample");
    if (last && ts_ms == last->ts_ms)
        return tsn_double_bits(value) == tsn_double_bits(last->value)
                   ? TSN_OK
                   : tsn_error_set(error, TSN_ERR_CONFLICT, "duplicate sample for timestamp");
    tsn_samples_push(&s->samples, sample);
    changed(store, s);
    return TSN_OK;
}

void tsn_memstore_add(struct tsn_memstore *store, const struct tsn_labels *labels, int64_t ts_ms, double value)
{
    struct mem_series *s = series_of(store, labels);
    struct tsn_sample sample = { ts_ms, value };
    size_t at;

    for (at = s->samples.len; at && s->samples.items[at - 1].ts_ms > ts_ms; at--)
        continue;
    if (at && s->samples.items[at - 1].ts_ms == ts_ms) {
        s->samples.items[at - 1].value = value;
        s->samples.edits++;
        changed(store, s);
        return;
    }
    tsn_samples_push(&s->samples, sample);
    s->samples.edits += at < s->samples.len - 1;
    changed(store, s);
    memmove(s->samples.items + at + 1, s->samples.items + at, (s->samples.len - 1 - at) * sizeof sample);
    s->samples.items[at] = sample;
}

static int by_labels(const void *a, const void *b)
{
    return tsn_labels_compare((*(struct mem_series *const *)a)->labels, (*(struct mem_series *const *)b)->labels);
}

static void sort_series(struct tsn_memstore *store)
{
    size_t n = 0;

    if (store->sorted_len == store->by_id.count)
        return;
    store->sorted = tsn_reallocarray(store->sorted, store->by_id.count, sizeof(*store->sorted));
    tsn_map_foreach(&store->by_id, e)
        store->sorted[n++] = e->value;
    qsort(store->sorted, n, sizeof(*store->sorted), by_labels);
    store->sorted_len = n;
}

/* Index of the first sample later than t. */
static size_t after(const struct mem_series *s, int64_t t_ms)
{
    size_t low = 0, high = s->samples.len;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->samples.items[middle].ts_ms <= t_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void mem_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                       struct tsn_series_list *out)
{
    struct tsn_memstore *store = self;

    sort_series(store);
    for (size_t i = 0; i < store->sorted_len; i++) {
        struct mem_series *s = store->sorted[i];
        size_t first = after(s, from_ms), end = after(s, to_ms);
        struct tsn_series_view view;

        if (first == end || !tsn_matchers_match(matchers, count, s->labels))
            continue;
        view = (struct tsn_series_view){ s->labels, s->samples.items + first, end - first };
        tsn_vec_push(out, view);
    }
}

struct tsn_storage tsn_memstore_storage(struct tsn_memstore *store)
{
    return (struct tsn_storage){ mem_select, store };
}

void tsn_memstore_attach(struct tsn_memstore *store, struct tsn_plans *plans)
{
    int g = 0;

    while (store->graphs[g]) {
        g++;
        TSN_ASSERT(g < MAX_GRAPHS);
    }
    store->graphs[g] = plans;
    sort_series(store); /* slots in an order that is always the same */
    for (size_t i = 0; i < store->sorted_len; i++)
        store->sorted[i]->in[g] = tsn_plans_series_add(plans, store->sorted[i]->labels, &store->sorted[i]->samples, 1);
}

void tsn_memstore_detach(struct tsn_memstore *store, const struct tsn_plans *plans)
{
    for (int g = 0; g < MAX_GRAPHS; g++) {
        if (store->graphs[g] != plans)
            continue;
        store->graphs[g] = NULL;
        tsn_map_foreach(&store->by_id, e)
            ((struct mem_series *)e->value)->in[g] = NULL;
    }
}
