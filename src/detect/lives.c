/*
 * lives: counters counted by INGEST. Open panes become totals, totals become samples, silence ends a life.
 *
 * A pane becomes a sample, the total at its end, when the first step passes that end. So samples never change once
 * written, and totals are exact sums of integers whatever the order in which deltas came (DESIGN §3). A life begins with
 * a 0 at its first pane and ends with a stale marker counter_ttl after its last; a total that stood for TSN_HOLD_MS is said again where the
 * pane begins in which it changes.
 */
#include "detect/detect_int.h"

/* Position of the sample of this very time, or -1. Most looks are for the newest. */
static int64_t sample_at(const struct series *s, int64_t ts_ms)
{
    uint32_t at = s->samples.len;

    while (at && s->samples.items[at - 1].ts_ms > ts_ms)
        at--;
    return at && s->samples.items[at - 1].ts_ms == ts_ms ? (int64_t)at - 1 : -1;
}

void tsn_series_end_life(struct series *s)
{
    s->life.changed = true;
    tsn_series_add_ended(s, &s->life);
    s->life = (struct life){ .birth_ms = TSN_TIME_NONE, .last_ms = TSN_TIME_NONE };
}

/* A first value: where a former life's marker stands at the very time, the zero takes its place. */
static void insert_birth(struct series *s, int64_t pane_ms)
{
    int64_t at = sample_at(s, pane_ms);

    if (at >= 0 && tsn_is_stale(s->samples.items[at].value)) {
        s->samples.items[at].value = 0;
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
    tsn_series_end_life(s);
    return true;
}

/* Adds one pane to the current life. What went before it stands at the pane's start (zero at birth), so that a burst after silence is an
 * increase. Not shown: a total at or before unsure_ms, and one of which the silence before it began there or earlier. */
static void fold_pane(struct series *s, struct life *life, const struct open_pane *pane, int64_t unsure_ms)
{
    tsn_fixed total = life->total;

    if (life->birth_ms == TSN_TIME_NONE) {
        life->birth_ms = pane->pane_ms;
        insert_birth(s, pane->pane_ms);
    } else if (pane->pane_ms > life->birth_ms &&
               pane->pane_ms >= (life->last_ms > unsure_ms ? life->last_ms : unsure_ms) + TSN_HOLD_REACH_MS) {
        tsn_series_insert(s, pane->pane_ms, tsn_fixed_to_double(total));
    }
    (void)tsn_fixed_add(&total, pane->delta); /* stands still at 2^63 events in a series */
    life->total = total;
    life->last_ms = pane->pane_ms;
    if (pane->pane_ms + TSN_PANE_MS > unsure_ms)
        tsn_series_insert(s, pane->pane_ms + TSN_PANE_MS, tsn_fixed_to_double(total));
}

bool tsn_series_close_panes(struct series *s, int64_t ts_ms, int64_t ttl_ms)
{
    struct pane_cursor done = { 0, 0 }, next = { 0, 0 };
    struct open_pane pane;

    for (; tsn_panes_next(&s->panes, &next, &pane) && pane.pane_ms + TSN_PANE_MS <= ts_ms; done = next) {
        (void)end_if_due(s, pane.pane_ms, ttl_ms);
        fold_pane(s, &s->life, &pane, TSN_TIME_NONE);
        s->life.changed = true;
    }
    tsn_panes_drop(&s->panes, done);
    return end_if_due(s, ts_ms, ttl_ms) || done.cells || done.wide;
}

/* The total before the first refilled pane of a life is its total less what was read back. At or before from_ms not all was. */
static void rebase_life(struct series *s, struct life *life, int64_t from_ms)
{
    tsn_fixed read = 0;
    int64_t last_ms = life->last_ms;
    struct pane_cursor at = { 0, 0 };
    struct open_pane pane;

    while (tsn_panes_next(&s->panes, &at, &pane))
        if (pane.pane_ms >= life->birth_ms && pane.pane_ms <= last_ms)
            (void)tsn_fixed_add(&read, pane.delta);
    life->total -= read;
    life->last_ms = TSN_TIME_NONE;
    insert_birth(s, life->birth_ms);
    at = (struct pane_cursor){ 0, 0 };
    while (tsn_panes_next(&s->panes, &at, &pane))
        if (pane.pane_ms >= life->birth_ms && pane.pane_ms <= last_ms)
            fold_pane(s, life, &pane, from_ms);
    life->last_ms = last_ms;
    life->restored = false;
}

void tsn_series_rebase(struct series *s, int64_t from_ms, int64_t needless_ms, int64_t ttl_ms)
{
    size_t ended = s->more->ended.len;
    bool any = s->life.birth_ms != TSN_TIME_NONE || ended;
    int64_t known_ms = s->life.birth_ms != TSN_TIME_NONE ? s->life.last_ms
                       : ended                           ? s->more->ended.items[ended - 1].last_ms
                                                         : needless_ms;
    struct pane_cursor done = { 0, 0 }, next = { 0, 0 };
    struct open_pane pane;

    for (size_t i = 0; i < ended; i++) {
        rebase_life(s, &s->more->ended.items[i], from_ms);
        tsn_series_insert(s, s->more->ended.items[i].last_ms + TSN_PANE_MS + ttl_ms, tsn_stale());
    }
    if (s->life.birth_ms != TSN_TIME_NONE)
        rebase_life(s, &s->life, from_ms);
    while (tsn_panes_next(&s->panes, &next, &pane) &&
           (any ? pane.pane_ms <= known_ms : pane.pane_ms + TSN_PANE_MS + ttl_ms <= known_ms))
        done = next; /* folded, or of a life that lies behind its windows */
    tsn_panes_drop(&s->panes, done);
}
