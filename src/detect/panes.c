/*
 * panes: what was counted and not yet folded into a total, by pane. See panes.h.
 *
 * Adding looks from the newest pane back: samples come about in order. A pane whose sum stops being a small whole number moves from the
 * cells to the wide list and stays there. Memory grows by half and is given back when the panes are gone.
 */
#include "detect/panes.h"

#include <string.h>

enum { CELLS_MIN = 4, CELLS_KEPT = 8 };

static struct pane_cell *cells_of(struct panes *p)
{
    return p->cap ? p->cells.many : &p->cells.one;
}

static const struct pane_cell *cells_at(const struct panes *p)
{
    return p->cap ? p->cells.many : &p->cells.one;
}

static bool fits(int64_t pane_ms, tsn_fixed delta)
{
    int64_t whole = (int64_t)(delta >> 64);

    return !(uint64_t)delta && whole >= INT32_MIN && whole <= INT32_MAX && pane_ms >= 0 && pane_ms % TSN_PANE_MS == 0 &&
           pane_ms / TSN_PANE_MS <= UINT32_MAX;
}

static struct open_pane opened(struct pane_cell c)
{
    return (struct open_pane){ (int64_t)c.second * TSN_PANE_MS, (tsn_fixed)((unsigned __int128)(__int128)c.count << 64) };
}

/* ---- the wide list ------------------------------------------------------------------------ */

/* Position of the pane, or where it would stand. */
static size_t wide_place(const struct wide_panes *w, int64_t pane_ms)
{
    size_t at = w->len;

    while (at && w->items[at - 1].pane_ms >= pane_ms)
        at--;
    return at;
}

static void wide_insert(struct panes *p, int64_t pane_ms, tsn_fixed delta)
{
    struct open_pane pane = { pane_ms, delta };
    size_t at;

    if (!p->wide)
        p->wide = tsn_calloc(1, sizeof *p->wide);
    at = wide_place(p->wide, pane_ms);
    tsn_vec_push(p->wide, pane);
    memmove(p->wide->items + at + 1, p->wide->items + at, (p->wide->len - 1 - at) * sizeof pane);
    p->wide->items[at] = pane;
}

static void wide_remove(struct panes *p, size_t at, size_t count)
{
    struct wide_panes *w = p->wide;

    if (!w)
        return;
    memmove(w->items + at, w->items + at + count, (w->len - at - count) * sizeof *w->items);
    w->len -= count;
    if (w->len)
        return;
    tsn_vec_release(w);
    tsn_free(w);
    p->wide = NULL;
}

/* ---- cells -------------------------------------------------------------------------------- */

static void cells_resize(struct panes *p, uint32_t cap)
{
    if (p->cap) {
        p->cells.many = tsn_reallocarray(p->cells.many, cap, sizeof(struct pane_cell));
    } else {
        struct pane_cell one = p->cells.one;

        p->cells.many = tsn_reallocarray(NULL, cap, sizeof(struct pane_cell));
        p->cells.many[0] = one;
    }
    p->cap = cap;
}

static void cell_insert(struct panes *p, uint32_t at, struct pane_cell cell)
{
    struct pane_cell *cells;

    if (p->len == (p->cap ? p->cap : 1))
        cells_resize(p, p->cap ? p->cap + p->cap / 2 : CELLS_MIN);
    cells = cells_of(p);
    memmove(cells + at + 1, cells + at, (p->len - at) * sizeof *cells);
    cells[at] = cell;
    p->len++;
}

static void cells_remove(struct panes *p, uint32_t at, uint32_t count)
{
    struct pane_cell *cells = cells_of(p);

    p->len -= count;
    memmove(cells + at, cells + at + count, (p->len - at) * sizeof *cells);
    if (p->len || p->cap <= CELLS_KEPT)
        return;
    tsn_free(p->cells.many);
    p->cap = 0;
}

/* ---- panes -------------------------------------------------------------------------------- */

bool tsn_panes_add(struct panes *p, int64_t pane_ms, tsn_fixed delta)
{
    struct pane_cell *cells = cells_of(p);
    uint32_t at = p->len;
    tsn_fixed sum = delta;

    if (p->wide) {
        size_t place = wide_place(p->wide, pane_ms);

        if (place < p->wide->len && p->wide->items[place].pane_ms == pane_ms)
            return tsn_fixed_add(&p->wide->items[place].delta, delta);
    }
    if (pane_ms < 0 || pane_ms % TSN_PANE_MS || pane_ms / TSN_PANE_MS > UINT32_MAX) {
        wide_insert(p, pane_ms, delta);
        return true;
    }
    while (at && cells[at - 1].second >= pane_ms / TSN_PANE_MS)
        at--;
    if (at < p->len && cells[at].second == pane_ms / TSN_PANE_MS) {
        if (!tsn_fixed_add(&sum, opened(cells[at]).delta))
            return false;
        if (fits(pane_ms, sum)) {
            cells[at].count = (int32_t)(sum >> 64);
            return true;
        }
        cells_remove(p, at, 1);
    } else if (fits(pane_ms, delta)) {
        cell_insert(p, at, (struct pane_cell){ (uint32_t)(pane_ms / TSN_PANE_MS), (int32_t)(delta >> 64) });
        return true;
    }
    wide_insert(p, pane_ms, sum);
    return true;
}

bool tsn_panes_next(const struct panes *p, struct pane_cursor *at, struct open_pane *out)
{
    bool cell = at->cells < p->len, wide = p->wide && at->wide < p->wide->len;

    if (cell)
        *out = opened(cells_at(p)[at->cells]);
    if (wide && (!cell || p->wide->items[at->wide].pane_ms < out->pane_ms)) {
        *out = p->wide->items[at->wide++];
        return true;
    }
    at->cells += cell;
    return cell;
}

size_t tsn_panes_until(const struct panes *p, int64_t ts_ms)
{
    struct pane_cursor at = { 0, 0 };
    struct open_pane pane;
    size_t count = 0;

    while (tsn_panes_next(p, &at, &pane) && pane.pane_ms + TSN_PANE_MS <= ts_ms)
        count++;
    return count;
}

void tsn_panes_drop(struct panes *p, struct pane_cursor at)
{
    if (at.cells)
        cells_remove(p, 0, at.cells);
    if (at.wide)
        wide_remove(p, 0, at.wide);
}

void tsn_panes_cut(struct panes *p, struct pane_cursor at)
{
    if (p->len > at.cells)
        cells_remove(p, at.cells, p->len - at.cells);
    if (p->wide)
        wide_remove(p, at.wide, p->wide->len - at.wide);
}

void tsn_panes_release(struct panes *p)
{
    if (p->cap)
        tsn_free(p->cells.many);
    if (p->wide)
        tsn_vec_release(p->wide);
    tsn_free(p->wide);
    memset(p, 0, sizeof *p);
}
