/*
 * panes: what was counted and not yet folded into a total, by pane (panes.c).
 *
 *     cells:  second | count    8 bytes: a whole number in a pane of this epoch, which is nearly every one
 *     wide:   pane_ms, delta    what does not fit: fractions, great numbers, times far off
 *
 * A worker that catches up holds five minutes of panes of every series (a partition that is ahead), so their size decides its
 * memory. A pane is in one of both lists, each in order of time. One cell needs no memory of its own.
 */
#ifndef TSN_DETECT_PANES_H
#define TSN_DETECT_PANES_H

#include "tocsin/model.h"

#define TSN_PANE_MS INT64_C(1000)

struct open_pane {
    int64_t pane_ms;
    tsn_fixed delta;
};

struct pane_cell {
    uint32_t second; /* since the epoch */
    int32_t count;
};

struct wide_panes {
    struct open_pane *items;
    size_t len, cap;
};

struct panes {
    union {
        struct pane_cell one; /* cap 0 */
        struct pane_cell *many;
    } cells;
    uint32_t len, cap;
    struct wide_panes *wide; /* owned; NULL: none */
};

/* A place between two panes; zero: before the first. */
struct pane_cursor {
    uint32_t cells, wide;
};

static inline bool tsn_panes_any(const struct panes *p)
{
    return p->len || p->wide;
}
/* False: the sum of the pane would not fit (2^63 events), and nothing was added. */
bool tsn_panes_add(struct panes *p, int64_t pane_ms, tsn_fixed delta);
/* The pane behind the cursor, which moves on. False: there is none. */
bool tsn_panes_next(const struct panes *p, struct pane_cursor *at, struct open_pane *out);
/* How many end at or before ts_ms. */
size_t tsn_panes_until(const struct panes *p, int64_t ts_ms);
/* Everything before the cursor goes. */
void tsn_panes_drop(struct panes *p, struct pane_cursor at);
/* Everything behind it goes. */
void tsn_panes_cut(struct panes *p, struct pane_cursor at);
void tsn_panes_release(struct panes *p);

#endif
