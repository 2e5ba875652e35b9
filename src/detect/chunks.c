/*
 * chunks: the past of long windows in topic `state`, so that a takeover reads an hour of samples and not a week of them.
 *
 *   chunk/<id>/<n>   the samples of one series in the n-th stretch of event time, (n × 30 min, (n + 1) × 30 min]
 *
 * A chunk is written once its stretch lies behind the steps of every unit with a long window: then nothing can be added
 * to it (a later sample is late). `chunked_ms` says how far that has come for all series; the checkpoint carries it and
 * a takeover reads `samples` from there. What it reads again lies in chunks, too, with the very bits, and changes nothing.
 *
 *   samples of a long series:  |▒▒ behind its window ▒▒|── chunk ──|── chunk ──|── chunk ──|···· only in the log ····▶
 *                               deleted from state                             chunked_ms     last step
 *
 * A walk over the series with chunks takes a bounded number of records into one transaction and goes on in the next.
 * After a switch of rule sets series may be long that were not: the first walk then goes through in one transaction.
 */
#include "detect/detect_int.h"

#include <string.h>

#include "tocsin/chunk.h"

/* Records of one walk in one transaction: about 2 MB. */
enum { WALK_RECORDS = 4096 };

static int64_t chunk_of(const struct tsn_detect *d, int64_t ts_ms)
{
    int64_t n = ts_ms / d->opt.chunk_ms;

    return n - (ts_ms % d->opt.chunk_ms <= 0); /* left-open; before the epoch too */
}

static void chunk_key(struct tsn_buf *key, const struct series *s, int64_t n)
{
    char hex[33];

    tsn_u128_hex(s->labels->id, hex);
    tsn_buf_printf(key, "chunk/%s/%lld", hex, (long long)n);
}

/* ---- writing ------------------------------------------------------------------------------ */

static int64_t come_to(const struct tsn_detect *d, bool all)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t u = 0; u < d->unit_count; u++) {
        const struct unit *unit = &d->units[u];
        int64_t ms = INT64_MAX;

        if (!unit->here || (!all && unit->window_ms <= unit->short_ms))
            continue;
        if (unit->last_step_ms != TSN_TIME_NONE)
            ms = unit->last_step_ms - unit->query_offset_ms; /* what rules write lies that far behind */
        else if (unit->start_ms != TSN_TIME_NONE)
            ms = unit->start_ms - 1 - unit->query_offset_ms;
        least_ms = ms < least_ms ? ms : least_ms;
    }
    return least_ms;
}

/* To where every unit with a long window has come; whole chunks. One pane less: what a counter was before it changes, and a birth's zero,
 * stand at the start of a pane, and are known when it ends. TSN_TIME_NONE: nothing stepped yet. */
static int64_t goal_ms(const struct tsn_detect *d)
{
    int64_t least_ms = come_to(d, false);

    if (least_ms == INT64_MAX) /* none is long; some may have been */
        least_ms = come_to(d, true);
    return least_ms == INT64_MAX ? TSN_TIME_NONE : chunk_of(d, least_ms - TSN_PANE_MS + 1) * d->opt.chunk_ms;
}

static size_t first_after(const struct series *s, int64_t ms)
{
    size_t low = 0, high = s->samples.len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->samples.items[middle].ts_ms <= ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t end_of_chunks(const struct tsn_detect *d, const struct series *s)
{
    return (s->more->chunks.items[s->more->chunks.len - 1] + 1) * d->opt.chunk_ms;
}

/* Chunks from the one of the first sample not saved, up to end_ms. */
static size_t write_chunks(struct tsn_detect *d, struct series *s, int64_t end_ms, struct tsn_detect_output *out)
{
    struct derived *more = s->more;
    int64_t from_ms = more->chunks.len ? end_of_chunks(d, s) : tsn_detect_needless_of(d, s);
    size_t at = first_after(s, from_ms), written = 0;

    while (at < s->samples.len && s->samples.items[at].ts_ms <= end_ms) {
        int64_t n = chunk_of(d, s->samples.items[at].ts_ms);
        size_t next = first_after(s, (n + 1) * d->opt.chunk_ms);
        struct tsn_chunk chunk = { s->labels, s->kind, s->derived, s->samples.items + at, next - at };
        struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;

        chunk_key(&key, s, n);
        tsn_chunk_encode(&chunk, n * d->opt.chunk_ms, &value);
        tsn_detect_push_record(out, &key, &value);
        tsn_vec_push(&more->chunks, n);
        at = next;
        written++;
    }
    return written;
}

/* Chunks that lie at or before ms leave state. */
static size_t drop_chunks(const struct tsn_detect *d, struct series *s, int64_t ms, struct tsn_detect_output *out)
{
    struct derived *more = s->more;
    size_t gone = 0;

    while (gone < more->chunks.len && (more->chunks.items[gone] + 1) * d->opt.chunk_ms <= ms) {
        struct tsn_buf key = TSN_BUF_INIT;

        chunk_key(&key, s, more->chunks.items[gone++]);
        tsn_detect_push_record(out, &key, NULL);
    }
    if (gone)
        memmove(more->chunks.items, more->chunks.items + gone, (more->chunks.len - gone) * sizeof *more->chunks.items);
    more->chunks.len -= gone;
    return gone;
}

static size_t walk_series(struct tsn_detect *d, struct series *s, struct tsn_detect_output *out)
{
    size_t records;

    if (s->readers->longest_ms <= d->opt.long_ms) /* the log has it; what rules wrote only state has, and some window may read it yet */
        return drop_chunks(d, s, s->derived ? tsn_detect_needless_of(d, s) : INT64_MAX, out);
    while (s->more->chunks.len && end_of_chunks(d, s) > d->chunking_ms)
        s->more->chunks.len--; /* a switch may have let time go back for it: written again */
    records = drop_chunks(d, s, tsn_detect_needless_of(d, s), out);
    records += write_chunks(d, s, d->chunking_ms, out);
    if (s->derived && s->more->chunks.len)
        tsn_detect_drop_minutes(s, end_of_chunks(d, s), false, out);
    return records;
}

/* Series that are long no more and have no chunks left. */
static void unlist(struct tsn_detect *d)
{
    struct series_list *list = &d->store.chunked;
    size_t kept = 0;

    for (size_t i = 0; i < list->len; i++) {
        struct series *s = list->items[i];

        if (s->readers->longest_ms > d->opt.long_ms || s->more->chunks.len)
            list->items[kept++] = s;
        else
            s->more->listed = false;
    }
    list->len = kept;
}

void tsn_detect_save_chunks(struct tsn_detect *d, struct tsn_detect_output *out)
{
    size_t records = 0;
    bool whole = d->chunked_ms == TSN_TIME_NONE;

    if (d->chunking_ms == d->chunked_ms) {
        int64_t goal = goal_ms(d);

        if (goal == TSN_TIME_NONE || goal == d->chunked_ms)
            return;
        d->chunking_ms = goal;
        d->chunk_at = 0;
    }
    for (; d->chunk_at < d->store.chunked.len && (whole || records < WALK_RECORDS); d->chunk_at++)
        records += walk_series(d, d->store.chunked.items[d->chunk_at], out);
    if (d->chunk_at < d->store.chunked.len)
        return;
    d->chunked_ms = d->chunking_ms;
    unlist(d);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void free_kept(struct tsn_buf *bytes)
{
    if (!bytes)
        return;
    tsn_buf_release(bytes);
    tsn_free(bytes);
}

enum tsn_err tsn_detect_keep_chunk(struct tsn_detect *d, const char *key, size_t key_len, const char *value,
                                   size_t value_len, struct tsn_error *error)
{
    struct tsn_buf *bytes;
    struct tsn_u128 id;

    if (key_len < 40 || key[38] != '/' || !tsn_u128_parse_hex(key + 6, 32, &id))
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: not chunk/<id>/<number>", (int)key_len, key);
    free_kept(tsn_map_del(&d->restored_chunks, key, key_len));
    if (!value)
        return TSN_OK;
    bytes = tsn_calloc(1, sizeof *bytes);
    tsn_buf_append(bytes, value, value_len);
    tsn_map_put(&d->restored_chunks, key, key_len, bytes);
    return TSN_OK;
}

static void note_chunk(struct series *s, int64_t n)
{
    struct derived *more = s->more;
    size_t at = more->chunks.len;

    tsn_vec_push(&more->chunks, n);
    for (; at && more->chunks.items[at - 1] > n; at--)
        more->chunks.items[at] = more->chunks.items[at - 1];
    more->chunks.items[at] = n;
}

static enum tsn_err load_chunk(struct tsn_detect *d, const char *key, size_t key_len, const struct tsn_buf *bytes,
                               struct tsn_error *error)
{
    int64_t n, most = INT64_MAX / d->opt.chunk_ms - 1;
    struct tsn_chunk chunk;
    struct series *s;
    enum tsn_err err;

    if (!tsn_parse_i64(key + 39, key_len - 39, &n) || n > most || n < -most)
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: not chunk/<id>/<number>", (int)key_len, key);
    err = tsn_chunk_decode(bytes->data, bytes->len, n * d->opt.chunk_ms, (n + 1) * d->opt.chunk_ms, &chunk, error);
    if (err)
        return tsn_error_prefix(error, "state key %.*s", (int)key_len, key);
    s = tsn_store_get(&d->store, chunk.labels->id);
    if (!s)
        s = tsn_store_add(&d->store, chunk.labels, chunk.kind);
    if (chunk.derived)
        tsn_series_derive(s);
    tsn_store_list_chunked(&d->store, s);
    note_chunk(s, n);
    tsn_series_room(s, chunk.count + s->samples.len / 8, TSN_TIME_NONE);
    for (size_t i = 0; i < chunk.count; i++)
        tsn_series_insert(s, chunk.samples[i].ts_ms, chunk.samples[i].value);
    tsn_chunk_release(&chunk);
    return TSN_OK;
}

enum tsn_err tsn_detect_load_chunks(struct tsn_detect *d, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    tsn_map_foreach(&d->restored_chunks, e) {
        if (!err)
            err = load_chunk(d, tsn_map_entry_key(e), e->key_len, e->value, error);
        free_kept(e->value);
        e->value = NULL;
    }
    tsn_map_clear(&d->restored_chunks);
    return err;
}

void tsn_detect_release_chunks(struct tsn_detect *d)
{
    tsn_map_foreach(&d->restored_chunks, e)
        free_kept(e->value);
    tsn_map_release(&d->restored_chunks);
}
