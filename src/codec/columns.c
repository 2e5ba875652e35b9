/*
 * columns: points and deltas packed column by column (internal to codec).
 *
 * Rows are sorted by (ref, time), so a series is a run of rows. All numbers are Avro varints.
 *
 *     count
 *     refs    for each run: (ref − ref of the run before) × 2 + (1 if longer than one row);
 *             if longer: rows in the run
 *     times   first row of a run: zigzag (time − first time of the run before);
 *             other rows: time − time of the row before (never negative)
 *     values  points: for each row a nibble n (two to a byte, low first), then for each row the n
 *             leading bytes of its bits XORed with the row before of the same run: whole numbers
 *             have few, a repeated value has none
 *             deltas: a whole number d as d × 2, else ((shift × 32 + n) × 2 + 1) and n bytes, low first:
 *             the fixed-point number is those bytes times 256^shift
 *
 * Panes are written in whole seconds. A row costs 1 (ref) + 1–2 (time) + at most 8.5 bytes; of
 * scraped counters and counted events it is 3 to 7.
 *
 * A reader accepts only rows in order, so what it hands out satisfies model.h whoever wrote it.
 */
#include "codec/columns.h"

enum { PANE_MS = 1000 };

/* A run begins where the ref changes; rows of one struct kind lie `stride` bytes apart. */
struct rows {
    const char *base;
    size_t count, stride;
};

static uint32_t row_ref(const struct rows *rows, size_t i)
{
    uint32_t ref;

    memcpy(&ref, rows->base + i * rows->stride, sizeof ref); /* ref is the first member of both */
    return ref;
}

_Static_assert(offsetof(struct tsn_batch_point, ref) == 0, "ref stands first");
_Static_assert(offsetof(struct tsn_batch_delta, ref) == 0, "ref stands first");

static void put_refs(struct tsn_buf *out, const struct rows *rows)
{
    uint32_t before = 0;

    for (size_t i = 0, end; i < rows->count; i = end) {
        uint32_t ref = row_ref(rows, i);

        for (end = i + 1; end < rows->count && row_ref(rows, end) == ref; end++)
            ;
        TSN_ASSERT(i == 0 || ref > before);
        put_varint(out, (uint64_t)(ref - before) << 1 | (end - i > 1));
        if (end - i > 1)
            put_varint(out, end - i);
        before = ref;
    }
}

static void put_time(struct tsn_buf *out, bool first, int64_t *run, int64_t before, int64_t time)
{
    if (first) {
        put_varint(out, zigzag((int64_t)((uint64_t)time - (uint64_t)*run)));
        *run = time;
    } else {
        TSN_ASSERT(time >= before);
        put_varint(out, (uint64_t)time - (uint64_t)before);
    }
}

static unsigned significant_bytes(uint64_t bits)
{
    return bits ? 8u - (unsigned)__builtin_ctzll(bits) / 8u : 0;
}

static uint64_t point_xor(const struct tsn_batch_point *p, size_t i)
{
    uint64_t bits = tsn_double_bits(p[i].value);

    return i && p[i].ref == p[i - 1].ref ? bits ^ tsn_double_bits(p[i - 1].value) : bits;
}

static void put_values(struct tsn_buf *out, const struct tsn_batch_point *p, size_t count)
{
    char *to;

    for (size_t i = 0; i < count; i += 2) {
        unsigned low = significant_bytes(point_xor(p, i));
        unsigned high = i + 1 < count ? significant_bytes(point_xor(p, i + 1)) : 0;

        tsn_buf_putc(out, (char)(low | high << 4));
    }
    to = tsn_buf_reserve(out, count * 8);
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = point_xor(p, i);

        for (unsigned n = significant_bytes(bits); n; n--, bits <<= 8)
            *to++ = (char)(bits >> 56);
    }
    out->len = (size_t)(to - out->data);
    *to = '\0';
}

void columns_put_points(struct tsn_buf *out, const struct tsn_batch_point *p, size_t count)
{
    struct rows rows = { (const char *)p, count, sizeof *p };
    int64_t run = 0;

    put_varint(out, count);
    put_refs(out, &rows);
    for (size_t i = 0; i < count; i++)
        put_time(out, !i || p[i].ref != p[i - 1].ref, &run, i ? p[i - 1].ts_ms : 0, p[i].ts_ms);
    put_values(out, p, count);
}

static void put_delta(struct tsn_buf *out, tsn_fixed delta)
{
    unsigned __int128 v = (unsigned __int128)delta;
    unsigned shift = 0, n = 0;
    char bytes[16];

    TSN_ASSERT(delta >= 0);
    if (!(uint64_t)v) {
        put_varint(out, (uint64_t)(v >> 64) << 1);
        return;
    }
    for (; !(v & 255); v >>= 8)
        shift++;
    for (; v; v >>= 8)
        bytes[n++] = (char)(unsigned char)(v & 255);
    put_varint(out, (uint64_t)(shift << 5 | n) << 1 | 1);
    tsn_buf_append(out, bytes, n);
}

void columns_put_deltas(struct tsn_buf *out, const struct tsn_batch_delta *d, size_t count)
{
    struct rows rows = { (const char *)d, count, sizeof *d };
    int64_t run = 0;

    put_varint(out, count);
    put_refs(out, &rows);
    for (size_t i = 0; i < count; i++) {
        TSN_ASSERT(d[i].pane_ms % PANE_MS == 0);
        put_time(out, !i || d[i].ref != d[i - 1].ref, &run, i ? d[i - 1].pane_ms / PANE_MS : 0,
                 d[i].pane_ms / PANE_MS);
    }
    for (size_t i = 0; i < count; i++)
        put_delta(out, d[i].delta);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void get_refs(struct wire *w, char *base, size_t count, size_t stride)
{
    uint64_t ref = 0;

    for (size_t i = 0; i < count && !w->bad;) {
        uint64_t head = wire_varint(w);
        uint64_t rows = head & 1 ? wire_varint(w) : 1;
        uint32_t small;

        if (head >> 1 > UINT32_MAX || (i && !(head >> 1)) || (ref += head >> 1) > UINT32_MAX) {
            wire_fail(w, "series references out of order");
            return;
        }
        if (!rows || rows > count - i) {
            wire_fail(w, "a run longer than its column");
            return;
        }
        small = (uint32_t)ref;
        for (; rows; rows--, i++)
            memcpy(base + i * stride, &small, sizeof small);
    }
}

static int64_t get_time(struct wire *w, bool first, int64_t *run, int64_t before)
{
    uint64_t step = wire_varint(w);
    int64_t time;

    if (first) {
        *run = (int64_t)((uint64_t)*run + (uint64_t)unzigzag(step));
        return *run;
    }
    if (step > INT64_MAX || __builtin_add_overflow(before, (int64_t)step, &time)) {
        wire_fail(w, "a time beyond 64 bits");
        return before;
    }
    return time;
}

static void get_values(struct wire *w, struct tsn_batch_point *p, size_t count)
{
    const unsigned char *nibbles = w->at;
    size_t need = 0;

    if (wire_left(w) < (count + 1) / 2) {
        wire_fail(w, "cut short inside the values");
        return;
    }
    w->at += (count + 1) / 2;
    for (size_t i = 0; i < count; i++) {
        unsigned n = nibbles[i / 2] >> (i % 2 * 4) & 15;

        if (n > 8) {
            wire_fail(w, "a value of more than 8 bytes");
            return;
        }
        need += n;
    }
    if (need != wire_left(w)) {
        wire_fail(w, "the values do not fill their column");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned n = nibbles[i / 2] >> (i % 2 * 4) & 15;
        uint64_t bits = 0;

        for (unsigned k = 0; k < n; k++)
            bits |= (uint64_t)*w->at++ << (56 - 8 * k);
        if (i && p[i].ref == p[i - 1].ref)
            bits ^= tsn_double_bits(p[i - 1].value);
        p[i].value = tsn_double_from_bits(bits);
    }
}

void columns_get_points(struct wire *w, struct tsn_batch_point **points, size_t *count)
{
    /* A row has at least a byte of time. */
    size_t n = wire_count(w, wire_varint(w), 1);
    struct tsn_batch_point *p = n ? tsn_calloc(n, sizeof *p) : NULL;
    int64_t run = 0;

    *points = p;
    *count = n;
    get_refs(w, (char *)p, n, sizeof *p);
    for (size_t i = 0; i < n && !w->bad; i++)
        p[i].ts_ms = get_time(w, !i || p[i].ref != p[i - 1].ref, &run, i ? p[i - 1].ts_ms : 0);
    if (!w->bad)
        get_values(w, p, n);
}

static tsn_fixed get_delta(struct wire *w)
{
    uint64_t head = wire_varint(w);
    unsigned shift, n;
    unsigned __int128 v = 0;

    if (!(head & 1))
        return (tsn_fixed)((unsigned __int128)(head >> 1) << 64);
    n = head >> 1 & 31;
    shift = (unsigned)(head >> 6);
    if (head >> 6 > 15 || !n || n + shift > 16 || n > wire_left(w)) {
        wire_fail(w, "an impossible delta");
        return 0;
    }
    for (unsigned k = n; k; k--)
        v = v << 8 | w->at[k - 1];
    w->at += n;
    v <<= 8 * shift;
    if (v >> 127) {
        wire_fail(w, "a negative delta");
        return 0;
    }
    return (tsn_fixed)v;
}

void columns_get_deltas(struct wire *w, struct tsn_batch_delta **deltas, size_t *count)
{
    size_t n = wire_count(w, wire_varint(w), 2); /* a byte of time, one of value */
    struct tsn_batch_delta *d = n ? tsn_calloc(n, sizeof *d) : NULL;
    int64_t run = 0, before = 0;

    *deltas = d;
    *count = n;
    get_refs(w, (char *)d, n, sizeof *d);
    for (size_t i = 0; i < n && !w->bad; i++) {
        before = get_time(w, !i || d[i].ref != d[i - 1].ref, &run, before);
        if (__builtin_mul_overflow(before, (int64_t)PANE_MS, &d[i].pane_ms))
            wire_fail(w, "a pane beyond 64 bits");
    }
    for (size_t i = 0; i < n && !w->bad; i++)
        d[i].delta = get_delta(w);
    if (!w->bad && wire_left(w))
        wire_fail(w, "bytes left over");
}
