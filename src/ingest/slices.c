/*
 * slices: a place that is too large for one record of `samples` → several that fit.
 *
 * A record of `samples` has a limit on the broker (topics/samples.yaml), and what a batch holds has not: one 10 MB record of an input may
 * bring a million new series, each with its name to announce. Such a batch goes out in rounds, all in its one transaction: every round
 * is a record for every partition, with a seq of its own, so readers see nothing new. Only the last round carries the watermarks;
 * those before it hold time, and so no step runs on half of a batch.
 *
 * Sizes are upper bounds of the encoding: exact ones would cost a pass over values that is needed in one batch of a million.
 *
 * Guarantees: names before what uses them; every slice holds at least one item; the order of each list stays.
 */
#include "ingest/ingest_int.h"

#include <string.h>

/* Widest encodings: a varint of 32 bits takes 5 bytes, of 64 bits 10, of 128 bits 19. */
enum { SERIES_BYTES = 5 + 1 + 4, LABEL_BYTES = 10, POINT_BYTES = 5 + 10 + 10, DELTA_BYTES = 5 + 10 + 19, SIGNATURE_BYTES = 80, COUNT_BYTES = 50 };

static size_t text_len(const char *text)
{
    return text ? strlen(text) : 0;
}

static size_t series_bytes(const struct tsn_batch_series *s)
{
    size_t bytes = SERIES_BYTES;

    for (uint32_t i = 0; i < s->labels->count; i++)
        bytes += LABEL_BYTES + s->labels->items[i].name_len + s->labels->items[i].value_len;
    return bytes;
}

static size_t signature_bytes(const struct tsn_batch_signature *s)
{
    return SIGNATURE_BYTES + text_len(s->service) + text_len(s->level) + text_len(s->text) + text_len(s->sample) + text_len(s->sample_topic);
}

static size_t count_bytes(const struct tsn_batch_signature_count *c)
{
    return COUNT_BYTES + text_len(c->service) + text_len(c->level);
}

/* Takes `bytes` from what is left; false: no room, and the slice has something in it. */
static bool fits(size_t *room, bool *any, size_t bytes)
{
    if (*any && bytes > *room)
        return false;
    *any = true;
    *room = bytes < *room ? *room - bytes : 0;
    return true;
}

void slice_next(const struct place *p, struct slice_at *at, size_t room, struct tsn_batch *out)
{
    const struct slice_at from = *at;
    bool any = false, more = true;

    if (room == SIZE_MAX)
        *at = (struct slice_at){ p->series.len, p->points.len, p->deltas.len, p->signatures.len, p->counts.len };
    while (at->series < p->series.len && (more = more && fits(&room, &any, series_bytes(&p->series.items[at->series]))))
        at->series++;
    while (at->points < p->points.len && (more = more && fits(&room, &any, POINT_BYTES)))
        at->points++;
    while (at->deltas < p->deltas.len && (more = more && fits(&room, &any, DELTA_BYTES)))
        at->deltas++;
    while (at->signatures < p->signatures.len && (more = more && fits(&room, &any, signature_bytes(&p->signatures.items[at->signatures]))))
        at->signatures++;
    while (at->counts < p->counts.len && (more = more && fits(&room, &any, count_bytes(&p->counts.items[at->counts]))))
        at->counts++;
    out->series = p->series.items + from.series;
    out->series_count = at->series - from.series;
    out->points = p->points.items + from.points;
    out->point_count = at->points - from.points;
    out->deltas = p->deltas.items + from.deltas;
    out->delta_count = at->deltas - from.deltas;
    out->signatures = p->signatures.items + from.signatures;
    out->signature_count = at->signatures - from.signatures;
    out->signature_counts = p->counts.items + from.counts;
    out->signature_count_count = at->counts - from.counts;
}

bool slice_done(const struct place *p, const struct slice_at *at)
{
    return at->series == p->series.len && at->points == p->points.len && at->deltas == p->deltas.len &&
           at->signatures == p->signatures.len && at->counts == p->counts.len;
}
