/*
 * memstore: series and samples in memory, for the naive evaluator.
 *
 *     by id    hash128 of labels → series
 *     by name  metric name → its series, so that a selector with a name looks at few
 *
 * Answers are sorted by labels, never in hash order. A selector without `=` on the name reads all.
 */
#include "tocsin/rule_eval.h"

#include <stdlib.h>
#include <string.h>

struct stored_series {
    struct tsn_labels *labels;
    TSN_VEC(struct tsn_sample) samples;
};
struct name_list {
    TSN_VEC(struct stored_series *) series;
};
struct tsn_memstore {
    struct tsn_map by_id, by_name;
};

struct tsn_memstore *tsn_memstore_new(void)
{
    struct tsn_memstore *store = tsn_calloc(1, sizeof *store);

    tsn_map_init(&store->by_id);
    tsn_map_init(&store->by_name);
    return store;
}

void tsn_memstore_free(struct tsn_memstore **store)
{
    if (!*store)
        return;
    tsn_map_foreach(&(*store)->by_id, e) {
        struct stored_series *s = e->value;

        tsn_labels_unref(s->labels);
        tsn_vec_release(&s->samples);
        tsn_free(s);
    }
    tsn_map_foreach(&(*store)->by_name, e) {
        struct name_list *list = e->value;

        tsn_vec_release(&list->series);
        tsn_free(list);
    }
    tsn_map_release(&(*store)->by_id);
    tsn_map_release(&(*store)->by_name);
    tsn_free(*store);
    *store = NULL;
}

size_t tsn_memstore_series_count(const struct tsn_memstore *store)
{
    return store->by_id.count;
}

static struct stored_series *series_of(struct tsn_memstore *store, struct tsn_labels *labels)
{
    bool created;
    void **slot = tsn_map_upsert(&store->by_id, &labels->id, sizeof labels->id, &created);
    struct stored_series *s;
    struct name_list *list;
    const char *name = tsn_labels_get(labels, "__name__");

    if (!created)
        return *slot;
    s = *slot = tsn_calloc(1, sizeof *s);
    s->labels = tsn_labels_ref(labels);
    slot = tsn_map_upsert(&store->by_name, name ? name : "", name ? strlen(name) : 0, &created);
    if (created)
        *slot = tsn_calloc(1, sizeof *list);
    list = *slot;
    tsn_vec_push(&list->series, s);
    return s;
}

enum tsn_err tsn_memstore_append(struct tsn_memstore *store, struct tsn_labels *labels, int64_t ts_ms,
                                 double value, struct tsn_error *error)
{
    struct stored_series *s = series_of(store, labels);
    struct tsn_sample sample = { ts_ms, value };

    if (s->samples.len) {
        const struct tsn_sample *last = &s->samples.items[s->samples.len - 1];

        if (ts_ms < last->ts_ms)
            return tsn_error_set(error, TSN_ERR_CONFLICT, "out of order sample");
        if (ts_ms == last->ts_ms)
            return tsn_double_bits(value) == tsn_double_bits(last->value)
                       ? TSN_OK
                       : tsn_error_set(error, TSN_ERR_CONFLICT, "duplicate sample for timestamp");
    }
    tsn_vec_push(&s->samples, sample);
    return TSN_OK;
}

static int compare_views(const void *a, const void *b)
{
    const struct tsn_series_view *x = a, *y = b;

    return tsn_labels_compare(x->labels, y->labels);
}

static void add_if_match(const struct stored_series *s, const struct tsn_matcher *matchers, size_t count,
                         int64_t from_ms, int64_t to_ms, struct tsn_series_list *out)
{
    struct tsn_series_view view = { s->labels, s->samples.items, s->samples.len };

    if (!view.count || view.samples[0].ts_ms > to_ms || view.samples[view.count - 1].ts_ms <= from_ms)
        return;
    if (tsn_matchers_match(matchers, count, s->labels))
        tsn_vec_push(out, view);
}

static void memstore_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms,
                            int64_t to_ms, struct tsn_series_list *out)
{
    struct tsn_memstore *store = self;
    const struct tsn_matcher *name = NULL;
    size_t start = out->len;

    for (size_t i = 0; i < count && !name; i++)
        if (matchers[i].op == TSN_MATCH_EQ && strcmp(matchers[i].name, "__name__") == 0)
            name = &matchers[i];
    if (name) {
        struct name_list *list = tsn_map_get(&store->by_name, name->value, name->value_len);

        for (size_t i = 0; list && i < list->series.len; i++)
            add_if_match(list->series.items[i], matchers, count, from_ms, to_ms, out);
    } else {
        tsn_map_foreach(&store->by_id, e)
            add_if_match(e->value, matchers, count, from_ms, to_ms, out);
    }
    if (out->len - start > 1)
        qsort(out->items + start, out->len - start, sizeof *out->items, compare_views);
}

struct tsn_storage tsn_memstore_storage(struct tsn_memstore *store)
{
    struct tsn_storage storage = { memstore_select, store };

    return storage;
}
