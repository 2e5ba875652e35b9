/*
 * lib_cover: counts what happened in the runs, row by row of the clause table (sim_clauses.h), and says what never did: a promise
 * that was never put to the test is not kept.
 */
#include "sim_actors.h"

static const struct {
    const char *clause, *what, *where;
} rows[SIM_E_COUNT] = {
#define SIM_EVENT_ROW(name, clause, what, where) [SIM_E_##name] = { clause, what, where },
    SIM_CLAUSES(SIM_EVENT_ROW)
#undef SIM_EVENT_ROW
};

void sim_totals_add(struct sim_totals *totals, const struct sim_world *s)
{
    totals->alerts += s->cluster.alerts.len;
    totals->incidents += s->responder.published.len;
    totals->takeovers += s->takeovers;
    totals->batches += s->cluster.samples[0].len;
    totals->direct += s->responder.told.count;
    for (int e = 0; e < SIM_E_COUNT; e++)
        totals->seen[e] += s->seen[e];
    totals->seen[SIM_E_CHUNK_DROPPED] += s->cluster.chunks_dropped;
}

void sim_totals_merge(struct sim_totals *totals, const struct sim_totals *other)
{
    totals->alerts += other->alerts;
    totals->incidents += other->incidents;
    totals->takeovers += other->takeovers;
    totals->batches += other->batches;
    totals->direct += other->direct;
    for (int e = 0; e < SIM_E_COUNT; e++)
        totals->seen[e] += other->seen[e];
}

int sim_totals_print(const struct sim_totals *totals, bool must)
{
    int missing = 0;

    for (int e = 0; e < SIM_E_COUNT; e++) {
        printf("%10zu  %-40s %-50s %s\n", totals->seen[e], rows[e].clause, rows[e].what, rows[e].where);
        missing += must && !totals->seen[e];
    }
    if (missing)
        printf("%d rows of the clause table never happened\n", missing);
    return missing;
}
