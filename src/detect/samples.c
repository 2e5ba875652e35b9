/*
 * samples: from a batch into series.
 *
 * A writer names a series by a short number that holds for one wall-clock minute of its batches, and
 * announces it at its first use there. So a reader that starts at some offset must start reading
 * where the current minute of each writer began: `first_offset`. One writer lives on a slot at a
 * time (a newer one has fenced it off); a slot silent for REF_MINUTES is forgotten.
 *
 * Lateness, the second test: a sample at or before the last step of a unit that reads it. What was
 * counted goes to the earliest pane whose end is still ahead, others are dropped; both are counted.
 * A series that no unit reads is not kept.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

/* Longer than any batch waits to be sent (the transaction timeout is 10 s), far under an hour of log. */
enum { REF_MINUTES = 10 };
/* A refill may start up to this long before the first sample it needs: how often the time state is noted. */
enum { MARK_MS = 10000 };
/* Steps between two looks at what can be forgotten. */
enum { TRIM_STEPS = 16 };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---- writers ------------------------------------------------------------------------------ */

/* Stands for a series that the limit kept out. */
static struct series nobody;

/* Writers count their names from 0 and use them again, so an array holds them; a name far beyond the
 * number of names does not decide its size. NULL: no place, and none made. */
static struct series **ref_slot(struct writer *w, uint32_t ref, bool make)
{
    enum { ROOM = 1024 };

    if (ref < w->refs_cap)
        return &w->refs[ref];
    if (!make)
        return (struct series **)tsn_map_slot(&w->far_refs, &ref, sizeof ref);
    if (ref >= ROOM + 4 * w->ref_count)
        return (struct series **)tsn_map_upsert(&w->far_refs, &ref, sizeof ref, NULL);
    {
        uint32_t cap = ref + ROOM + w->refs_cap / 4;

        w->refs = tsn_reallocarray(w->refs, cap, sizeof(*w->refs));
        memset(w->refs + w->refs_cap, 0, (cap - w->refs_cap) * sizeof(*w->refs));
        for (uint32_t i = w->refs_cap; i < cap && w->far_refs.count; i++) {
            struct series *far = tsn_map_del(&w->far_refs, &i, sizeof i);

            w->refs[i] = far;
        }
        w->refs_cap = cap;
    }
    return &w->refs[ref];
}

static void name_series(struct writer *w, uint32_t ref, struct series *s)
{
    struct series **slot = ref_slot(w, ref, true);

    w->ref_count += !*slot;
    if (*slot && *slot != &nobody)
        (*slot)->refs--;
    *slot = s ? s : &nobody;
    if (s)
        s->refs++;
}

static void let_go(struct series *s)
{
    if (s && s != &nobody)
        s->refs--;
}

static void forget_refs(struct writer *w)
{
    for (uint32_t i = 0; i < w->refs_cap; i++)
        let_go(w->refs[i]);
    if (w->refs_cap)
        memset(w->refs, 0, w->refs_cap * sizeof(*w->refs));
    tsn_map_foreach(&w->far_refs, e)
        let_go(e->value);
    tsn_map_clear(&w->far_refs);
    w->ref_count = 0;
}

static void writer_free(struct writer *w)
{
    tsn_free(w->refs);
    tsn_map_release(&w->far_refs);
    tsn_free(w);
}

void tsn_detect_release_writers(struct tsn_detect *d)
{
    for (size_t i = 0; i < d->writers.len; i++) {
        writer_free(d->writers.items[i]);
    }
    tsn_vec_release(&d->writers);
}

static struct writer *writer_of(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset)
{
    int64_t minute = tsn_minute_of(b->wall_ms);
    struct writer *w = NULL;
    bool known;

    for (size_t i = 0; i < d->writers.len && !w; i++)
        if (d->writers.items[i]->slot == b->slot)
            w = d->writers.items[i];
    known = w != NULL;
    if (!w) {
        w = tsn_calloc(1, sizeof *w);
        w->slot = b->slot;
        w->writer = b->writer;
        w->minute = minute;
        w->first_offset = offset;
        tsn_map_init(&w->far_refs);
        tsn_vec_push(&d->writers, w);
    }
    if (!known || w->minute != minute)
        for (size_t i = 0; i < d->writers.len; i++)
            d->writers.items[i]->silent++;
    w->silent = 0;
    if (w->writer != b->writer || w->minute != minute) {
        forget_refs(w);
        w->writer = b->writer;
        w->minute = minute;
        w->first_offset = offset;
    }
    return w;
}

/* By the minutes that others began: the clocks of two workers may be hours apart. */
static void forget_silent(struct tsn_detect *d, const struct writer *speaking)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->writers.len; i++) {
        struct writer *w = d->writers.items[i];

        if (w == speaking || w->silent <= REF_MINUTES * d->writers.len) {
            d->writers.items[kept++] = w;
            continue;
        }
        forget_refs(w);
        writer_free(w);
    }
    d->writers.len = kept;
}

int64_t tsn_detect_announced_from(const struct tsn_detect *d, int64_t offset)
{
    for (size_t i = 0; i < d->writers.len; i++)
        if (d->writers.items[i]->first_offset < offset)
            offset = d->writers.items[i]->first_offset;
    return offset;
}

static struct series *announced(struct tsn_detect *d, const struct tsn_batch_series *in)
{
    struct series *s = tsn_store_get(&d->store, in->labels->id);

    if (!s && d->store.all.len >= d->opt.max_series) {
        d->stats.series_limit_hits++;
        return NULL;
    }
    if (!s) {
        s = tsn_store_add(&d->store, in->labels, in->kind);
        tsn_detect_attach_series(d, s);
    }
    return s;
}

void tsn_detect_take_names(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset)
{
    struct writer *w = writer_of(d, b, offset);

    for (size_t i = 0; i < b->series_count; i++)
        name_series(w, b->series[i].ref, announced(d, &b->series[i]));
    forget_silent(d, w);
    tsn_mining_take_texts(d, w, b);
    d->stats.series = d->store.all.len;
}

/* ---- samples ------------------------------------------------------------------------------ */

int64_t tsn_detect_horizon(const struct tsn_detect *d, const struct series *s)
{
    int64_t last_ms = s->readers->past_ms;

    for (uint32_t i = 0; i < s->readers->count; i++)
        if (d->units[s->readers->items[i].unit].last_step_ms > last_ms)
            last_ms = d->units[s->readers->items[i].unit].last_step_ms;
    return last_ms;
}

static size_t index_at(const struct tsn_detect *d, int64_t minute)
{
    size_t at = d->index.len;

    while (at && d->index.items[at - 1].minute >= minute)
        at--;
    return at;
}

void tsn_detect_note_minute(struct tsn_detect *d, int64_t ts_ms)
{
    int64_t minute = tsn_minute_of(ts_ms);
    size_t at = index_at(d, minute);
    struct index_entry entry = { minute, d->mark.offset, NULL, false };

    if (at < d->index.len && d->index.items[at].minute == minute)
        return; /* offsets go up: the first is the lowest */
    entry.text = tsn_strdup(d->mark.text);
    tsn_vec_push(&d->index, entry);
    memmove(d->index.items + at + 1, d->index.items + at, (d->index.len - 1 - at) * sizeof entry);
    d->index.items[at] = entry;
}

static void note_sample(struct tsn_detect *d, const struct series *s, int64_t ts_ms)
{
    for (uint32_t i = 0; i < s->readers->count; i++) {
        struct unit *unit = &d->units[s->readers->items[i].unit];

        if (unit->start_ms == TSN_TIME_NONE || ts_ms < unit->start_ms)
            unit->start_ms = ts_ms;
    }
    tsn_detect_note_minute(d, ts_ms);
}

void tsn_detect_list_open(struct tsn_detect *d, struct series *s)
{
    if (s->listed)
        return;
    s->listed = true;
    tsn_vec_push(&d->store.open, s);
}

/* NULL if nothing is to be done: not announced, over the limit, or read by nobody. */
static struct series *wanted(struct tsn_detect *d, struct writer *w, uint32_t ref)
{
    struct series **slot = ref_slot(w, ref, false);

    if (slot && *slot && *slot != &nobody)
        return (*slot)->readers->count ? *slot : NULL;
    if (slot && *slot)
        d->stats.limit_dropped++;
    else
        d->stats.unknown_refs++;
    return NULL;
}

static void take_point(struct tsn_detect *d, struct writer *w, const struct tsn_batch_point *p)
{
    struct series *s = wanted(d, w, p->ref);

    d->stats.samples++;
    if (!s)
        return;
    if (p->ts_ms <= tsn_detect_horizon(d, s)) {
        d->stats.late_dropped++;
        return;
    }
    if (s->samples.len == s->samples.cap)
        tsn_series_room(s, 1, tsn_detect_needless_of(d, s));
    tsn_series_insert(s, p->ts_ms, p->value);
    note_sample(d, s, p->ts_ms);
}

static void take_delta(struct tsn_detect *d, struct writer *w, const struct tsn_batch_delta *p)
{
    struct series *s = wanted(d, w, p->ref);
    int64_t pane_ms = p->pane_ms, last_ms;

    d->stats.deltas++;
    if (!s)
        return;
    last_ms = tsn_detect_horizon(d, s);
    if (last_ms != TSN_TIME_NONE && pane_ms + TSN_PANE_MS <= last_ms) {
        pane_ms = floor_div(last_ms, TSN_PANE_MS) * TSN_PANE_MS; /* the earliest pane whose end is ahead */
        d->stats.late_moved++;
    }
    (void)tsn_panes_add(&s->panes, pane_ms, p->delta); /* false: 2^63 events in a pane */
    tsn_detect_list_open(d, s);
    note_sample(d, s, pane_ms);
}

void tsn_detect_take_samples(struct tsn_detect *d, const struct tsn_batch *b)
{
    struct writer *w = NULL;

    for (size_t i = 0; i < d->writers.len && !w; i++)
        if (d->writers.items[i]->slot == b->slot)
            w = d->writers.items[i];
    for (size_t i = 0; i < b->point_count; i++)
        take_point(d, w, &b->points[i]);
    for (size_t i = 0; i < b->delta_count; i++)
        take_delta(d, w, &b->deltas[i]);
    tsn_mining_take_cells(d, b);
    if (b->point_count && d->store.plans)
        tsn_plans_changed(d->store.plans);
}

/* ---- marks -------------------------------------------------------------------------------- */

void tsn_detect_take_mark(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset)
{
    if (d->mark.text && b->wall_ms > d->mark.wall_ms - MARK_MS && b->wall_ms < d->mark.wall_ms + MARK_MS)
        return;
    tsn_free(d->mark.text);
    d->mark = (struct mark){ offset, b->wall_ms, tsn_detect_time_state(d, offset) };
}

/* ---- panes that a step has passed, and what can be forgotten ------------------------------ */

void tsn_detect_queue_series(struct tsn_detect *d, struct series *s, int64_t from_ms)
{
    tsn_store_touch(&d->store, s);
    if (s->mined) {
        if (s->more->dirty_ms == TSN_TIME_NONE)
            tsn_vec_push(&d->dirty, s);
        if (s->more->dirty_ms == TSN_TIME_NONE || from_ms < s->more->dirty_ms)
            s->more->dirty_ms = from_ms;
    }
    if (s->queued)
        return;
    s->queued = true;
    tsn_vec_push(&d->changed, s);
}

void tsn_detect_close_series(struct tsn_detect *d, struct series *s, int64_t ts_ms)
{
    size_t ready = tsn_panes_until(&s->panes, ts_ms);
    int64_t first_ms;

    if (ready)
        tsn_series_room(s, ready + 1, tsn_detect_needless_of(d, s));
    first_ms = s->samples.len ? s->samples.items[s->samples.len - 1].ts_ms : TSN_TIME_NONE + 1;
    if (tsn_series_close_panes(s, ts_ms, d->opt.counter_ttl_ms))
        tsn_detect_queue_series(d, s, first_ms);
}

/* Those that end later are dropped. */
static void cut_panes(struct panes *panes, int64_t ts_ms)
{
    struct pane_cursor kept = { 0, 0 }, next = { 0, 0 };
    struct open_pane pane;

    while (tsn_panes_next(panes, &next, &pane) && pane.pane_ms + TSN_PANE_MS <= ts_ms)
        kept = next;
    tsn_panes_cut(panes, kept);
}

void tsn_detect_close_to_horizon(struct tsn_detect *d)
{
    for (size_t i = 0; i < d->store.open.len; i++) {
        struct series *s = d->store.open.items[i];
        int64_t ts_ms = tsn_detect_horizon(d, s);

        if (ts_ms != TSN_TIME_NONE && !d->refill_until) /* in a refill panes stay open until their base is known */
            tsn_detect_close_series(d, s, ts_ms);
        if (!s->readers->count)
            cut_panes(&s->panes, ts_ms);
    }
}

/* Lives whose end lies behind every window leave state. */
static void trim_lives(struct tsn_detect *d, struct series *s, int64_t needless_ms)
{
    bool dead = false;

    for (size_t i = 0; i < s->more->ended.len; i++)
        if (s->more->ended.items[i].last_ms + TSN_PANE_MS + d->opt.counter_ttl_ms <= needless_ms)
            dead = s->more->ended.items[i].dead = true;
    if (!dead || s->queued)
        return;
    s->queued = true;
    tsn_vec_push(&d->changed, s);
}

static bool forgettable(const struct series *s, void *arg)
{
    TSN_UNUSED(arg);
    return !s->samples.len && !tsn_panes_any(&s->panes) && s->life.birth_ms == TSN_TIME_NONE && !s->more->ended.len && !s->refs &&
           !s->queued && !s->more->minutes.len && s->more->dirty_ms == TSN_TIME_NONE &&
           !s->more->chunks.len;
}

static void trim_index(struct tsn_detect *d, int64_t needless_ms)
{
    size_t gone = 0;

    d->indexed_ms = needless_ms > d->indexed_ms ? needless_ms : d->indexed_ms;
    while (gone < d->index.len && (d->index.items[gone].minute + 1) * TSN_MINUTE_MS <= needless_ms) {
        if (d->index.items[gone].written)
            tsn_vec_push(&d->index_gone, d->index.items[gone].minute);
        tsn_free(d->index.items[gone].text);
        gone++;
    }
    if (!gone)
        return;
    memmove(d->index.items, d->index.items + gone, (d->index.len - gone) * sizeof *d->index.items);
    d->index.len -= gone;
}

void tsn_detect_trim(struct tsn_detect *d)
{
    if (d->refill_until || d->stats.steps < d->trimmed_at + TRIM_STEPS)
        return;
    d->trimmed_at = d->stats.steps;
    for (size_t i = 0; i < d->store.all.len; i++) {
        struct series *s = d->store.all.items[i];
        int64_t needless_ms = tsn_detect_needless_of(d, s);

        tsn_series_trim(s, needless_ms);
        trim_lives(d, s, needless_ms);
    }
    trim_index(d, tsn_detect_refill_ms(d));
    tsn_store_sweep(&d->store, forgettable, NULL);
    d->stats.series = d->store.all.len;
}
