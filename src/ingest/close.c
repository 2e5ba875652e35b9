/*
 * close: the open batch → one encoded record for every partition of `samples`, dead letters, offsets.
 *
 * Series with cells are walked in order of their refs; the cells of each are put in order of time, deltas of one
 * pane added up (the sum is exact, so in any order), and copied to each partition the series belongs to. So the
 * bytes depend on what was taken, not on how cells were chained.
 */
#include "ingest/lines.h"

#include <stdlib.h>
#include <string.h>

static void place_reset(struct place *p)
{
    for (size_t i = 0; i < p->series.len; i++)
        tsn_labels_unref(p->series.items[i].labels);
    tsn_vec_clear(&p->series);
    tsn_vec_clear(&p->points);
    tsn_vec_clear(&p->deltas);
    tsn_vec_clear(&p->signatures);
    tsn_vec_clear(&p->counts);
}

void places_release(struct tsn_ingest *in)
{
    for (int32_t p = 0; p < in->opt.samples_partitions; p++) {
        place_reset(&in->places[p]);
        tsn_vec_release(&in->places[p].series);
        tsn_vec_release(&in->places[p].points);
        tsn_vec_release(&in->places[p].deltas);
        tsn_vec_release(&in->places[p].signatures);
        tsn_vec_release(&in->places[p].counts);
    }
    tsn_free(in->places);
}

/* ---- samples ------------------------------------------------------------------------------ */

/* Series in order of their refs: by radix, since a batch may hold every series there is, and a comparison would
 * fetch two of them from memory. */
static void sort_active(struct tsn_ingest *in)
{
    enum { BITS = 11, BUCKETS = 1 << BITS };
    size_t len = in->active.len;
    struct active *from = in->active.items, *spare = tsn_alloc(len * sizeof *spare), *to = spare;

    for (int shift = 0; shift < 32 && in->next_ref >> shift; shift += BITS) {
        uint32_t starts[BUCKETS] = { 0 }, at = 0;
        struct active *swap = from;

        for (size_t i = 0; i < len; i++)
            starts[from[i].ref >> shift & (BUCKETS - 1)]++;
        for (size_t b = 0; b < BUCKETS; b++) {
            uint32_t count = starts[b];

            starts[b] = at;
            at += count;
        }
        for (size_t i = 0; i < len; i++)
            to[starts[from[i].ref >> shift & (BUCKETS - 1)]++] = from[i];
        from = to;
        to = swap;
    }
    if (from != in->active.items)
        memcpy(in->active.items, from, len * sizeof *from);
    tsn_free(spare);
}

static int by_pane(const void *a, const void *b)
{
    const struct tsn_batch_delta *x = a, *y = b;

    return (x->pane_ms > y->pane_ms) - (x->pane_ms < y->pane_ms);
}

/* A point with its place in the input, so that equal times keep their order. */
struct ranked_point {
    struct tsn_batch_point point;
    uint32_t rank; /* smaller came later: chains are newest first */
};

static int by_time(const void *a, const void *b)
{
    const struct ranked_point *x = a, *y = b;

    if (x->point.ts_ms != y->point.ts_ms)
        return x->point.ts_ms > y->point.ts_ms ? 1 : -1;
    return (x->rank < y->rank) - (x->rank > y->rank);
}

struct scratch {
    TSN_VEC(struct tsn_batch_delta) deltas;
    TSN_VEC(struct ranked_point) points;
};

static void gather_deltas(const struct tsn_ingest *in, const struct series *s, struct scratch *to)
{
    size_t kept = 0;

    tsn_vec_clear(&to->deltas);
    for (uint32_t at = s->head; at; at = in->deltas.items[at - 1].next) {
        struct tsn_batch_delta d = { s->ref, in->deltas.items[at - 1].pane_ms, in->deltas.items[at - 1].sum };

        tsn_vec_push(&to->deltas, d);
    }
    if (to->deltas.len > 1)
        qsort(to->deltas.items, to->deltas.len, sizeof *to->deltas.items, by_pane);
    for (size_t i = 1; i < to->deltas.len; i++) {
        struct tsn_batch_delta *last = &to->deltas.items[kept], *d = &to->deltas.items[i];

        if (d->pane_ms != last->pane_ms)
            to->deltas.items[++kept] = *d;
        else if (!tsn_fixed_add(&last->delta, d->delta))
            last->delta = (tsn_fixed)(~(unsigned __int128)0 >> 1); /* saturates, at 2^63 */
    }
    to->deltas.len = to->deltas.len ? kept + 1 : 0;
}

static void gather_points(const struct tsn_ingest *in, const struct series *s, struct scratch *to)
{
    tsn_vec_clear(&to->points);
    for (uint32_t at = s->head; at; at = in->points.items[at - 1].next) {
        const struct point_cell *c = &in->points.items[at - 1];
        struct ranked_point p = { { s->ref, c->ts_ms, c->value }, (uint32_t)to->points.len };

        tsn_vec_push(&to->points, p);
    }
    if (to->points.len > 1)
        qsort(to->points.items, to->points.len, sizeof *to->points.items, by_time);
}

static void announce(struct tsn_ingest *in, struct series *s)
{
    struct tsn_batch_series announced = { s->ref, (enum tsn_sample_kind)s->kind, series_labels(s) };

    for (uint32_t k = 0; k < s->place_count; k++) {
        if (k)
            tsn_labels_ref(announced.labels);
        tsn_vec_push(&in->places[series_places(s)[k]].series, announced);
    }
}

static void emit_series(struct tsn_ingest *in, struct series *s, int64_t minute, struct scratch *scratch)
{
    const int32_t *at = series_places(s);

    if (s->kind == TSN_DELTA)
        gather_deltas(in, s, scratch);
    else
        gather_points(in, s, scratch);
    if (s->announced_minute != minute && s->place_count)
        announce(in, s);
    for (uint32_t k = 0; k < s->place_count; k++) {
        struct place *place = &in->places[at[k]];

        if (s->kind == TSN_DELTA)
            for (size_t i = 0; i < scratch->deltas.len; i++)
                tsn_vec_push(&place->deltas, scratch->deltas.items[i]);
        else
            for (size_t i = 0; i < scratch->points.len; i++)
                tsn_vec_push(&place->points, scratch->points.items[i].point);
    }
    s->announced_minute = minute;
    s->head = 0;
}

static void emit_samples(struct tsn_ingest *in, int64_t minute)
{
    struct scratch scratch = { { NULL, 0, 0 }, { NULL, 0, 0 } };

    if (in->active.len > 1)
        sort_active(in);
    for (size_t i = 0; i < in->active.len; i++)
        emit_series(in, in->active.items[i].series, minute, &scratch);
    tsn_vec_clear(&in->active);
    tsn_vec_clear(&in->deltas);
    tsn_vec_clear(&in->points);
    in->new_series = 0;
    tsn_vec_release(&scratch.deltas);
    tsn_vec_release(&scratch.points);
}

/* ---- inputs ------------------------------------------------------------------------------- */

struct input_list {
    TSN_VEC(struct tsn_batch_input) inputs;
    struct input_decls decls;
};

static void list_part(const struct tsn_ingest *in, const struct part *part, struct input_list *list)
{
    struct tsn_batch_input input = { .topic = in->config->inputs.items[part->input].topic,
                                     .partition = part->partition, .first_offset = part->first_offset,
                                     .next_offset = part->next_offset, .watermark_ms = part->watermark_ms,
                                     .idle = part->idle, .idle_clock_ms = part->idle_clock_ms, .late = part->late };

    tsn_vec_push(&list->inputs, input);
}

static void input_list_release(struct input_list *list)
{
    input_decls_release(&list->decls);
    tsn_vec_release(&list->inputs);
}

/* ---- offsets ------------------------------------------------------------------------------ */

static void commit_part(const struct tsn_ingest *in, struct part *part, struct tsn_closed_batch *out)
{
    struct tsn_commit_offset o = { .partition = part->partition, .next_offset = part->next_offset };
    struct tsn_buf text = TSN_BUF_INIT;

    part->first_offset = part->next_offset;
    if (!part->dirty)
        return;
    part->dirty = false;
    metadata_print(part, &text);
    o.topic = tsn_strdup(in->config->inputs.items[part->input].topic);
    o.metadata = tsn_buf_take(&text, NULL);
    out->offsets[out->offset_count++] = o;
}

typedef void part_visit(struct tsn_ingest *in, struct part *part, void *arg);

static size_t each_part(struct tsn_ingest *in, part_visit *visit, void *arg)
{
    size_t count = 0;

    for (size_t i = 0; i < in->config->inputs.len; i++)
        for (size_t p = 0; p < in->inputs[i].len; p++) {
            if (!in->inputs[i].items[p])
                continue;
            count++;
            if (visit)
                visit(in, in->inputs[i].items[p], arg);
        }
    return count;
}

static void visit_list(struct tsn_ingest *in, struct part *part, void *arg)
{
    list_part(in, part, arg);
}

static void visit_commit(struct tsn_ingest *in, struct part *part, void *arg)
{
    commit_part(in, part, arg);
}

/* ---- the batch ---------------------------------------------------------------------------- */

/* Largest record of `samples`: below the topic's limit (topics/samples.yaml), with room for the inputs and the broker's frame. */
enum { RECORD_BYTES = 8 * 1024 * 1024 };

static size_t record_limit(const struct tsn_ingest *in)
{
    return in->opt.record_bytes ? in->opt.record_bytes : RECORD_BYTES;
}

/* One round: what each place holds from its `at` on, as far as it fits. Those before the last hold time: no watermark, nobody idle. */
struct round {
    struct tsn_batch *batches; /* [samples_partitions], borrowing from the places */
    bool last;
};

static void slice_round(const struct tsn_ingest *in, struct slice_at *at, size_t room, struct round *round)
{
    round->last = true;
    for (int32_t p = 0; p < in->opt.samples_partitions; p++) {
        slice_next(&in->places[p], &at[p], room, &round->batches[p]);
        round->last = round->last && slice_done(&in->places[p], &at[p]);
    }
}

static void encode_round(struct tsn_ingest *in, const struct round *round, const struct input_list *list, struct tsn_closed_batch *out)
{
    size_t partitions = (size_t)in->opt.samples_partitions;

    out->records = tsn_realloc(out->records, (out->record_count + partitions) * sizeof *out->records);
    memset(out->records + out->record_count, 0, partitions * sizeof *out->records);
    out->seq = ++in->seq;
    for (size_t p = 0; p < partitions; p++) {
        struct tsn_batch *b = &round->batches[p];

        b->format = TSN_FORMAT_VERSION;
        b->slot = in->opt.slot;
        b->writer = in->opt.writer;
        b->epoch = out->epoch;
        b->seq = out->seq;
        b->rule_set = in->batch_set;
        b->wall_ms = out->wall_ms;
        b->inputs = list->inputs.items;
        b->input_count = list->inputs.len;
        b->decls = list->decls.items;
        b->decl_count = list->decls.len;
        tsn_codec_batch_encode(b, &out->records[out->record_count++]);
    }
}

static void encode_split(struct tsn_ingest *in, struct round *round, struct input_list *list, struct tsn_closed_batch *out)
{
    struct slice_at *at = tsn_calloc((size_t)in->opt.samples_partitions, sizeof *at);
    struct input_list held = { 0 };

    for (size_t i = 0; i < list->inputs.len; i++) {
        struct tsn_batch_input input = list->inputs.items[i];

        input.next_offset = input.first_offset;
        input.watermark_ms = input.idle_clock_ms = TSN_TIME_NONE;
        input.idle = false;
        tsn_vec_push(&held.inputs, input);
    }
    held.decls = list->decls; /* borrowed */
    for (bool last = false; !last; last = round->last) {
        slice_round(in, at, record_limit(in) / 2, round);
        encode_round(in, round, round->last ? list : &held, out);
    }
    tsn_vec_release(&held.inputs);
    tsn_free(at);
}

/* Whole, as nearly always; where a record came out too large, anew in rounds. */
static void encode(struct tsn_ingest *in, struct input_list *list, struct tsn_closed_batch *out)
{
    size_t partitions = (size_t)in->opt.samples_partitions, largest = 0;
    struct round round = { tsn_calloc(partitions, sizeof *round.batches), true };
    struct slice_at *whole = tsn_calloc(partitions, sizeof *whole);

    slice_round(in, whole, SIZE_MAX, &round);
    encode_round(in, &round, list, out);
    for (size_t p = 0; p < partitions; p++)
        largest = out->records[p].len > largest ? out->records[p].len : largest;
    if (largest > record_limit(in)) {
        for (size_t p = 0; p < partitions; p++)
            tsn_buf_release(&out->records[p]);
        out->record_count = 0;
        in->seq--;
        encode_split(in, &round, list, out);
    }
    for (size_t p = 0; p < partitions; p++)
        place_reset(&in->places[p]);
    tsn_free(whole);
    tsn_free(round.batches);
}

struct tsn_closed_batch *tsn_ingest_close(struct tsn_ingest *in, int64_t wall_ms)
{
    struct tsn_closed_batch *out = tsn_calloc(1, sizeof *out);
    int64_t minute = floor_to(wall_ms, MINUTE_MS);
    struct input_list list = { 0 };

    if (minute != in->minute || !in->namings) /* also when the clock went back: readers forget names at every change */
        in->namings++;
    in->minute = minute;
    out->epoch = in->epoch;
    out->wall_ms = wall_ms;
    emit_samples(in, in->namings);
    lines_emit(in, in->namings);
    each_part(in, visit_list, &list);
    inputs_declare(in, in->namings, &list.decls);
    out->partitions = in->opt.samples_partitions;
    encode(in, &list, out);
    input_list_release(&list);
    out->offsets = tsn_calloc(each_part(in, NULL, NULL), sizeof *out->offsets);
    each_part(in, visit_commit, out);
    out->dead_count = in->dead.len;
    out->dead = in->dead.items;
    memset(&in->dead, 0, sizeof in->dead);
    in->dead_bytes = 0;
    in->dirty = false;
    in->open_records = 0;
    in->batch_set = in->max_set;
    in->stats.batches++;
    series_bound(in);
    lines_bound(in);
    ingest_trim(in);
    return out;
}

void tsn_closed_batch_free(struct tsn_closed_batch **batch)
{
    struct tsn_closed_batch *b = *batch;

    *batch = NULL;
    if (!b)
        return;
    for (size_t p = 0; p < b->record_count; p++)
        tsn_buf_release(&b->records[p]);
    for (size_t i = 0; i < b->dead_count; i++) {
        tsn_free(b->dead[i].topic);
        tsn_free(b->dead[i].key);
        tsn_free(b->dead[i].value);
        tsn_free(b->dead[i].error);
    }
    for (size_t i = 0; i < b->offset_count; i++) {
        tsn_free(b->offsets[i].topic);
        tsn_free(b->offsets[i].metadata);
    }
    tsn_free(b->records);
    tsn_free(b->dead);
    tsn_free(b->offsets);
    tsn_free(b);
}
