/*
 * series: the memo from raw label bytes to series, the routing of series, and the cells of the open batch.
 *
 * A memo entry is young or old: a hit makes it young; when half of the limit (config ingest.max_series) is young, the old are
 * forgotten and the young become old. That is an approximate LRU without a list, and it happens only between batches,
 * so cells never point at something freed. A series is forgotten with the last entry that named
 * it; its ref goes to the next new series, which is announced anew, so references stay few and small.
 *
 * A change of rule sets raises the generation: entries of an older one count as misses and are resolved again
 * from labels, so a hit costs no test against rules.
 *
 * What refs a series gets is no part of the answer; DETECT sees labels only.
 */
#include "ingest/ingest_int.h"

#include <string.h>

enum { MEMO_MIN_CAP = 1024, MEMO_NEXT_MASK = (1 << 29) - 1 };

/* ---- memo --------------------------------------------------------------------------------- */

static struct memo_entry *table_slot(const struct memo_table *t, struct tsn_u128 key)
{
    uint32_t at;

    if (!t->cap)
        return NULL;
    at = (uint32_t)key.lo & (t->cap - 1);
    while (t->slots[at].kind != MEMO_EMPTY && !tsn_u128_equal(t->slots[at].key, key))
        at = (at + 1) & (t->cap - 1);
    return &t->slots[at];
}

static void table_grow(struct memo_table *t)
{
    struct memo_table bigger = *t;

    bigger.cap = t->cap ? t->cap * 2 : MEMO_MIN_CAP;
    bigger.slots = tsn_calloc(bigger.cap, sizeof *bigger.slots);
    bigger.last = 0;
    for (uint32_t i = 0; i < t->cap; i++)
        if (t->slots[i].kind != MEMO_EMPTY)
            *table_slot(&bigger, t->slots[i].key) = t->slots[i];
    tsn_free(t->slots);
    *t = bigger;
}

static void table_put(struct memo_table *t, const struct memo_entry *entry)
{
    struct memo_entry *slot;

    if ((t->count + 1) * 2 > t->cap)
        table_grow(t);
    slot = table_slot(t, entry->key);
    t->count += slot->kind == MEMO_EMPTY;
    t->young += !slot->young;
    *slot = *entry;
}

/* The entry is gone; those behind it that looked past it move up. */
static void table_close_gap(struct memo_table *t, uint32_t hole)
{
    uint32_t mask = t->cap - 1;

    for (uint32_t at = (hole + 1) & mask; t->slots[at].kind != MEMO_EMPTY; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)t->slots[at].key.lo & mask;

        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        t->slots[hole] = t->slots[at];
        hole = at;
    }
    memset(&t->slots[hole], 0, sizeof t->slots[hole]);
    t->count--;
}

/* The old go, the young become old. */
static void table_rotate(struct memo_table *t)
{
    for (uint32_t i = 0; i < t->cap; i++)
        while (t->slots[i].kind != MEMO_EMPTY && !t->slots[i].young)
            table_close_gap(t, i);
    for (uint32_t i = 0; i < t->cap; i++)
        t->slots[i].young = 0;
    t->young = 0;
}

static void mark_used(const struct tsn_ingest *in, const struct memo_entry *e)
{
    struct series_list *list = e->target;

    if (e->kind == MEMO_SERIES) {
        ((struct series *)e->target)->epoch = in->memo_epoch;
    } else if (e->kind == MEMO_LIST) {
        list->epoch = in->memo_epoch;
        for (uint32_t i = 0; i < list->count; i++)
            if (list->items[i])
                list->items[i]->epoch = in->memo_epoch;
    }
}

/*
 * Producers send their series in about the same order again and again. With many series each look-up is a miss of the caches, and half of an
 * event's cost; so the entry after the next and the series of the next are fetched while this event is worked on. A guess that is wrong, or old
 * because the table has grown, costs a line of cache and nothing else.
 */
static void guess_next(struct memo_table *t, const struct memo_entry *found)
{
    uint32_t at = (uint32_t)(found - t->slots);
    const struct memo_entry *next;

    if (t->last < t->cap)
        t->slots[t->last].next = at & MEMO_NEXT_MASK;
    t->last = at;
    if (found->next >= t->cap)
        return;
    next = &t->slots[found->next];
    __builtin_prefetch(next->target, 1);
    if (next->next < t->cap)
        __builtin_prefetch(&t->slots[next->next]);
}

struct memo_entry *memo_find(struct tsn_ingest *in, struct tsn_u128 key)
{
    struct memo_entry *e = table_slot(&in->memo, key);

    if (!e || e->kind == MEMO_EMPTY || e->generation != in->generation) {
        in->stats.memo_misses++;
        return NULL;
    }
    if (!e->young) {
        mark_used(in, e);
        e->young = 1;
        in->memo.young++;
    }
    in->stats.memo_hits++;
    guess_next(&in->memo, e);
    return e;
}

void memo_put(struct tsn_ingest *in, struct tsn_u128 key, enum memo_kind kind, void *target)
{
    struct memo_entry entry = { key, target, in->generation, kind, 1, 0 };

    mark_used(in, &entry);
    table_put(&in->memo, &entry);
}

struct series_list *series_list_new(struct tsn_ingest *in, uint32_t count)
{
    struct series_list *list = tsn_calloc(1, sizeof *list + count * sizeof list->items[0]);

    list->count = count;
    list->epoch = in->memo_epoch;
    tsn_vec_push(&in->lists, list);
    return list;
}

/* ---- routing ------------------------------------------------------------------------------ */

const int32_t *series_places(const struct series *s)
{
    return s->place_count > 1 ? s->places.many : &s->places.one;
}

static void place_add(struct place_list *list, int32_t place)
{
    size_t at = 0;

    while (at < list->len && list->items[at] < place)
        at++;
    if (at < list->len && list->items[at] == place)
        return;
    tsn_vec_push(list, place);
    memmove(list->items + at + 1, list->items + at, (list->len - 1 - at) * sizeof place);
    list->items[at] = place;
}

static bool route_takes(const struct tsn_route *route, const struct tsn_labels *labels, const char *unknown)
{
    if (!unknown)
        return tsn_matchers_match(route->matchers, route->matcher_count, labels);
    for (size_t m = 0; m < route->matcher_count; m++)
        if (strcmp(route->matchers[m].name, unknown) != 0 && !tsn_matchers_match(&route->matchers[m], 1, labels))
            return false;
    return true;
}

void series_places_of(const struct tsn_ingest *in, const struct tsn_labels *labels, const char *unknown,
                      struct place_list *places)
{
    const char *shard_label = in->config->detect.shard_label;
    const struct tsn_label *shard = tsn_labels_find(labels, shard_label, strlen(shard_label));
    int32_t home = tsn_partition_of(shard ? shard->value : "", shard ? shard->value_len : 0,
                                    in->opt.samples_partitions);

    for (size_t k = 0; k < in->sets.len; k++)
        for (size_t r = 0; r < in->sets.items[k].routes.len; r++) {
            const struct tsn_route *route = &in->sets.items[k].routes.items[r];

            if (route_takes(route, labels, unknown))
                place_add(places, route->partition < 0 ? home : route->partition);
        }
}

static void series_route(struct tsn_ingest *in, struct series *s, const struct tsn_labels *labels)
{
    struct place_list list = { NULL, 0, 0 };
    bool same;

    series_places_of(in, labels, NULL, &list);
    same = list.len == s->place_count &&
           (!s->place_count || memcmp(series_places(s), list.items, s->place_count * sizeof(int32_t)) == 0);
    if (!same) {
        if (s->place_count > 1)
            tsn_free(s->places.many);
        s->place_count = (uint32_t)list.len;
        if (list.len > 1)
            s->places.many = tsn_memdup(list.items, list.len * sizeof(int32_t));
        else
            s->places.one = list.len ? list.items[0] : -1;
        s->announced_minute = TSN_TIME_NONE;
    }
    s->generation = in->generation;
    tsn_vec_release(&list);
}

bool series_name_selected(const struct tsn_ingest *in, const char *name)
{
    size_t len = strlen(name);

    for (size_t k = 0; k < in->sets.len; k++)
        for (size_t r = 0; r < in->sets.items[k].routes.len; r++) {
            const struct tsn_route *route = &in->sets.items[k].routes.items[r];
            bool possible = true;

            for (size_t m = 0; m < route->matcher_count && possible; m++)
                if (strcmp(route->matchers[m].name, "__name__") == 0)
                    possible = tsn_matcher_matches(&route->matchers[m], name, len);
            if (possible)
                return true;
        }
    return false;
}

/* ---- series ------------------------------------------------------------------------------- */

/* Where the series stands, or the free place where it would; the table has one. One name may come as two kinds. */
static uint32_t id_place(const struct series_table *t, struct tsn_u128 id, enum tsn_sample_kind kind)
{
    uint32_t mask = t->cap - 1, at = (uint32_t)id.lo & mask;

    while (t->slots[at] && (t->slots[at]->kind != kind || !tsn_u128_equal(t->slots[at]->id, id)))
        at = (at + 1) & mask;
    return at;
}

/* A new table for `count` series, of those that are in it. */
static void id_rebuild(struct series_table *t, uint32_t count)
{
    struct series_table next = { NULL, MEMO_MIN_CAP, 0 };

    while (next.cap / 3 * 2 < count)
        next.cap *= 2;
    next.slots = tsn_calloc(next.cap, sizeof(*next.slots));
    for (uint32_t i = 0; i < t->cap; i++)
        if (t->slots[i]) {
            next.slots[id_place(&next, t->slots[i]->id, (enum tsn_sample_kind)t->slots[i]->kind)] = t->slots[i];
            next.count++;
        }
    tsn_free(t->slots);
    *t = next;
}

static struct series *series_new(struct tsn_ingest *in, const struct tsn_labels *labels, enum tsn_sample_kind kind)
{
    size_t len = tsn_labels_packed_len(labels);
    struct series *s = tsn_calloc(1, sizeof *s + len);

    tsn_labels_pack(labels, s->packed);
    s->packed_len = (uint32_t)len & ((1u << 29) - 1); /* at most max_label_bytes and 10 a label */
    s->id = labels->id;
    s->kind = (unsigned)kind & 7;
    s->ref = in->free_refs.len ? tsn_vec_pop(&in->free_refs) : in->next_ref++;
    s->announced_minute = TSN_TIME_NONE;
    s->places.one = -1;
    if ((in->by_id.count + 1) * 3 > in->by_id.cap * 2)
        id_rebuild(&in->by_id, in->by_id.count + 1);
    in->by_id.slots[id_place(&in->by_id, s->id, kind)] = s;
    in->by_id.count++;
    in->new_series++;
    return s;
}

struct tsn_labels *series_labels(const struct series *s)
{
    return tsn_labels_unpack(s->packed, s->packed_len, s->id);
}

static void series_free(struct series *s)
{
    if (s->place_count > 1)
        tsn_free(s->places.many);
    tsn_free(s);
}

/* Adds `service` where only `job` is and the other way round: rules use either. */
static void fill_job(struct tsn_labels_builder *b)
{
    const char *job = tsn_labels_builder_get(b, "job"), *service = tsn_labels_builder_get(b, "service");

    if (service && !job)
        tsn_labels_builder_set(b, "job", service);
    else if (job && !service)
        tsn_labels_builder_set(b, "service", job);
}

static bool check_labels(struct tsn_ingest *in)
{
    const struct tsn_labels_builder *b = &in->builder;
    uint64_t bytes = 0;

    for (size_t i = 0; i < b->len; i++) {
        const struct tsn_label *l = &b->items[i];

        if (!l->name_len || memchr(l->name, 0, l->name_len) || memchr(l->value, 0, l->value_len))
            return refuse(in, "labels", "a label with an empty name, or with a NUL in it");
        bytes += (uint64_t)l->name_len + l->value_len;
    }
    if (b->len <= MAX_LABELS && bytes <= (uint64_t)in->config->ingest.max_label_bytes)
        return true;
    return refuse(in, "limit", "a series of %zu labels and %llu bytes; at most %d and %lld", b->len,
                  (unsigned long long)bytes, MAX_LABELS, (long long)in->config->ingest.max_label_bytes);
}

static bool any_place(const struct tsn_ingest *in, const struct tsn_labels *labels)
{
    struct place_list list = { NULL, 0, 0 };
    bool any;

    series_places_of(in, labels, NULL, &list);
    any = list.len > 0;
    tsn_vec_release(&list);
    return any;
}

bool series_resolve(struct tsn_ingest *in, enum tsn_sample_kind kind, struct series **out)
{
    struct tsn_labels *labels;
    struct series *s;

    *out = NULL;
    if (in->config->ingest.fill_job)
        fill_job(&in->builder);
    if (!check_labels(in))
        return false;
    labels = tsn_labels_builder_finish(&in->builder);
    s = in->by_id.cap ? in->by_id.slots[id_place(&in->by_id, labels->id, kind)] : NULL;
    if (!s && any_place(in, labels))
        s = series_new(in, labels, kind);
    if (s && s->generation != in->generation)
        series_route(in, s, labels);
    tsn_labels_unref(labels);
    *out = s && s->place_count ? s : NULL;
    if (*out)
        s->epoch = in->memo_epoch;
    return true;
}

/* ---- cells -------------------------------------------------------------------------------- */

/* A series whose panes are out of order gets several cells for one pane after so many looks; closing adds them up. */
enum { CHAIN_LOOKS = 8 };

static void activate(struct tsn_ingest *in, struct series *s)
{
    struct active active = { s, s->ref };

    if (!s->head)
        tsn_vec_push(&in->active, active);
}

void series_add_delta(struct tsn_ingest *in, struct series *s, int64_t pane_ms, tsn_fixed delta)
{
    struct delta_cell cell = { delta, pane_ms, s->head };
    uint32_t at = s->head;

    for (int looks = 0; at && looks < CHAIN_LOOKS; looks++, at = in->deltas.items[at - 1].next) {
        struct delta_cell *c = &in->deltas.items[at - 1];

        if (c->pane_ms != pane_ms)
            continue;
        if (tsn_fixed_add(&c->sum, delta))
            return;
        break;
    }
    activate(in, s);
    tsn_vec_push(&in->deltas, cell);
    s->head = (uint32_t)in->deltas.len;
}

void series_add_point(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value)
{
    struct point_cell cell = { ts_ms, value, s->head };

    activate(in, s);
    tsn_vec_push(&in->points, cell);
    s->head = (uint32_t)in->points.len;
}

/* ---- bounds ------------------------------------------------------------------------------- */

static void rotate(struct tsn_ingest *in)
{
    size_t kept = 0;
    uint32_t gone = 0;

    table_rotate(&in->memo);
    in->memo_epoch++;
    for (size_t i = 0; i < in->lists.len; i++)
        if (in->lists.items[i]->epoch + 1 < in->memo_epoch)
            tsn_free(in->lists.items[i]);
        else
            in->lists.items[kept++] = in->lists.items[i];
    in->lists.len = kept;
    for (uint32_t i = 0; i < in->by_id.cap; i++) {
        struct series *s = in->by_id.slots[i];

        if (!s || s->epoch + 1 >= in->memo_epoch)
            continue;
        tsn_vec_push(&in->free_refs, s->ref);
        in->stats.limit_series++;
        in->by_id.slots[i] = NULL;
        gone++;
        series_free(s);
    }
    if (gone)
        id_rebuild(&in->by_id, in->by_id.count - gone);
}

void series_bound(struct tsn_ingest *in)
{
    uint64_t limit = (uint64_t)in->config->ingest.max_series;

    if ((uint64_t)in->memo.young * 2 <= limit && in->by_id.count <= limit)
        return;
    rotate(in);
    if (in->by_id.count > limit || in->memo.count > limit)
        rotate(in);
}

void series_release(struct tsn_ingest *in)
{
    for (uint32_t i = 0; i < in->by_id.cap; i++)
        if (in->by_id.slots[i])
            series_free(in->by_id.slots[i]);
    tsn_free(in->by_id.slots);
    for (size_t i = 0; i < in->lists.len; i++)
        tsn_free(in->lists.items[i]);
    tsn_vec_release(&in->lists);
    tsn_free(in->memo.slots);
    tsn_vec_release(&in->free_refs);
    tsn_vec_release(&in->active);
    tsn_vec_release(&in->deltas);
    tsn_vec_release(&in->points);
}
