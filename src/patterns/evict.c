/*
 * evict: keeps the miner inside its limits.
 *
 * When a limit is met an eighth of the groups goes: those with the smallest count, of equals the longest silent, of
 * equals the first discovered. What was remembered of signatures and slots is built anew from the groups that stay, so a
 * hostile stream pays for its own lines: amortised, a constant number of steps per new signature. Everything dropped
 * is counted. A signature that comes back after eviction is announced and discovered again, with the same id (ids
 * derive from scope and signature).
 */
#include "patterns/miner_int.h"

#include <stdlib.h>
#include <string.h>

struct rank {
    int64_t count, last_ms;
    uint32_t ref;
};

static int by_worth(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    if (x->last_ms != y->last_ms)
        return x->last_ms < y->last_ms ? -1 : 1;
    return x->ref < y->ref ? -1 : x->ref > y->ref;
}

static void evict_groups(struct tsn_miner *m, size_t how_many)
{
    struct rank *ranks = tsn_reallocarray(NULL, m->groups.len, sizeof *ranks);
    size_t n = 0;

    for (uint32_t i = 0; i < m->groups.len; i++) {
        const struct group *g = &m->groups.items[i];

        if (g->state == GROUP_LIVE && !g->pinned)
            ranks[n++] = (struct rank){ g->count, g->last_ms, i };
    }
    qsort(ranks, n, sizeof *ranks, by_worth);
    for (size_t i = 0; i < n && i < how_many; i++) {
        struct group *g = &m->groups.items[ranks[i].ref];

        m->stats.text_bytes -= g->len;
        tsn_free(g->text);
        g->text = NULL;
        g->state = GROUP_EVICTED;
        m->stats.templates--;
        m->stats.evicted_templates++;
    }
    tsn_free(ranks);
}

/* Signatures whose group stays, by its new number; all but the groups' own texts go if there are too many. */
static void rebuild_signatures(struct tsn_miner *m, const uint32_t *renumber, bool drop_all)
{
    struct table old = m->sigs;

    memset(&m->sigs, 0, sizeof m->sigs);
    for (uint32_t i = 0; i < m->groups.len; i++)
        if (m->groups.items[i].state == GROUP_LIVE)
            tsn_table_put(&m->sigs, tsn_miner_sig_key(m, m->groups.items[i].scope, m->groups.items[i].text_hash),
                          renumber[i]);
    for (uint32_t i = 0; !drop_all && i < old.cap; i++) {
        uint32_t ref = old.keys[i] ? tsn_miner_find(m, old.values[i]) : TSN_MINER_NONE;

        if (ref != TSN_MINER_NONE)
            tsn_table_put(&m->sigs, old.keys[i], renumber[ref]);
    }
    m->stats.evicted_signatures += old.count - m->sigs.count;
    tsn_table_release(&old);
}

/* A slot forgets members that are gone; with all of them it goes itself, general or not. */
static void rebuild_slots(struct tsn_miner *m, const uint32_t *renumber)
{
    size_t kept = 0;

    tsn_table_release(&m->slot_index);
    for (size_t i = 0; i < m->slots.len; i++) {
        struct slot *s = &m->slots.items[i];
        unsigned n = 0;

        for (unsigned v = 0; v < s->count; v++) {
            uint32_t ref = tsn_miner_find(m, s->refs[v]);

            if (ref == TSN_MINER_NONE)
                continue;
            s->values[n] = s->values[v];
            s->refs[n++] = renumber[ref];
        }
        if (n == 0) {
            m->stats.evicted_slots++;
            continue;
        }
        s->count = (uint8_t)n;
        tsn_table_put(&m->slot_index, s->key, (uint32_t)kept);
        m->slots.items[kept++] = *s;
    }
    m->slots.len = kept;
}

/* Live groups move together, in order, under their new numbers. */
static void compact(struct tsn_miner *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->groups.len; i++)
        if (m->groups.items[i].state == GROUP_LIVE) {
            m->groups.items[kept] = m->groups.items[i];
            m->groups.items[kept].parent = (uint32_t)kept;
            kept++;
        }
    m->groups.len = kept;
}

void tsn_miner_trim(struct tsn_miner *m)
{
    size_t live = m->stats.templates;
    bool evict = live >= m->limits.max_templates || m->slots.len >= m->limits.max_slots ||
                 m->stats.text_bytes >= m->limits.max_text_bytes;
    bool full = m->sigs.count >= m->limits.max_signatures;
    uint32_t *renumber, next = 0;

    if (!evict && !full && m->groups.len < 2 * (size_t)m->limits.max_templates)
        return;
    if (evict)
        evict_groups(m, live / 8 + 1);
    renumber = tsn_reallocarray(NULL, m->groups.len + 1, sizeof *renumber);
    for (size_t i = 0; i < m->groups.len; i++)
        renumber[i] = m->groups.items[i].state == GROUP_LIVE ? next++ : TSN_MINER_NONE;
    rebuild_signatures(m, renumber, full);
    rebuild_slots(m, renumber);
    compact(m);
    tsn_free(renumber);
}
