/*
 * batch: struct tsn_batch ⇄ Avro tocsin.v1.SampleBatch (schemas/SampleBatch.avsc).
 *
 * Plain Avro throughout: any Avro reader sees inputs, declarations, series and signatures; points, deltas
 * and signature counts are `bytes` whose layout is columns.c's (signature counts: below). Written
 * by hand rather than through a generic writer because this is the record that every event pays for.
 *
 * Signature counts: count, then for each row  scope (index into `scopes`), 8 bytes signature (low
 * first), zigzag (pane − pane before) in seconds, count.
 *
 * Limits: TSN_FORMAT_VERSION or lower; at most 1,024 labels a series (INGEST's own limit is far lower),
 * and 256 bytes in a service or level of a signature count (a row of 11 bytes copies both).
 */
#include "codec/columns.h"
#include "tocsin/codec.h"

enum { MAX_LABELS = 1024, MAX_SCOPE_BYTES = 256, PANE_MS = 1000 };

static void put_time_or_null(struct tsn_buf *out, int64_t ms)
{
    put_long(out, ms == TSN_TIME_NONE ? 0 : 1);
    if (ms != TSN_TIME_NONE)
        put_long(out, ms);
}

/* An array in one block: its count, then the caller's items, then put_end. */
static void put_begin(struct tsn_buf *out, size_t count)
{
    if (count)
        put_long(out, (int64_t)count);
}

static void put_inputs(struct tsn_buf *out, const struct tsn_batch *b)
{
    put_begin(out, b->input_count);
    for (size_t i = 0; i < b->input_count; i++) {
        const struct tsn_batch_input *in = &b->inputs[i];

        put_string(out, in->topic);
        put_long(out, in->partition);
        put_long(out, in->first_offset);
        put_long(out, in->next_offset);
        put_time_or_null(out, in->watermark_ms);
        put_bool(out, in->idle);
        put_time_or_null(out, in->idle_clock_ms);
        put_long(out, in->late);
    }
    put_long(out, 0);
}

static void put_decls(struct tsn_buf *out, const struct tsn_batch *b)
{
    put_begin(out, b->decl_count);
    for (size_t i = 0; i < b->decl_count; i++) {
        const struct tsn_input_decl *d = &b->decls[i];

        put_string(out, d->topic);
        put_long(out, d->partition_count);
        put_string(out, d->type);
        put_bool(out, d->any_name);
        put_begin(out, d->name_count);
        for (size_t n = 0; n < d->name_count; n++)
            put_string(out, d->names[n]);
        put_long(out, 0);
    }
    put_long(out, 0);
}

static void put_series(struct tsn_buf *out, const struct tsn_batch *b)
{
    put_begin(out, b->series_count);
    for (size_t i = 0; i < b->series_count; i++) {
        const struct tsn_labels *labels = b->series[i].labels;

        TSN_ASSERT(labels->count <= MAX_LABELS);
        put_long(out, b->series[i].ref);
        put_long(out, b->series[i].kind);
        put_begin(out, labels->count);
        for (uint32_t n = 0; n < labels->count; n++) {
            put_bytes(out, labels->items[n].name, labels->items[n].name_len);
            put_bytes(out, labels->items[n].value, labels->items[n].value_len);
        }
        put_long(out, 0);
    }
    put_long(out, 0);
}

static void put_signatures(struct tsn_buf *out, const struct tsn_batch *b)
{
    put_begin(out, b->signature_count);
    for (size_t i = 0; i < b->signature_count; i++) {
        const struct tsn_batch_signature *s = &b->signatures[i];

        put_long(out, (int64_t)s->signature);
        put_string(out, s->service);
        put_string(out, s->level);
        put_string(out, s->text);
        put_long(out, s->sample ? 1 : 0);
        if (s->sample)
            put_string(out, s->sample);
        put_string(out, s->sample_topic ? s->sample_topic : "");
        put_long(out, s->sample_partition);
        put_long(out, s->sample_offset);
        put_long(out, s->ts_ms);
    }
    put_long(out, 0);
}

/* (service, level) pairs in order of first use. */
struct scopes {
    struct tsn_map index; /* service NUL level → position + 1 */
    struct tsn_buf names; /* encoded array items */
    struct tsn_buf key;
    size_t count;
};

static size_t scope_of(struct scopes *s, const char *service, const char *level)
{
    void **slot;
    bool created;

    tsn_buf_reset(&s->key);
    tsn_buf_append(&s->key, service, strlen(service) + 1);
    tsn_buf_puts(&s->key, level);
    slot = tsn_map_upsert(&s->index, s->key.data, s->key.len, &created);
    if (created) {
        TSN_ASSERT(strlen(service) <= MAX_SCOPE_BYTES && strlen(level) <= MAX_SCOPE_BYTES);
        put_string(&s->names, service);
        put_string(&s->names, level);
        *slot = (void *)(uintptr_t)(s->count++);
    }
    return (size_t)(uintptr_t)*slot;
}

static void put_signature_counts(struct tsn_buf *out, const struct tsn_batch *b)
{
    struct scopes scopes = { .count = 0 };
    struct tsn_buf rows = TSN_BUF_INIT;
    int64_t before = 0;

    put_varint(&rows, b->signature_count_count);
    for (size_t i = 0; i < b->signature_count_count; i++) {
        const struct tsn_batch_signature_count *c = &b->signature_counts[i];

        TSN_ASSERT(c->pane_ms % PANE_MS == 0 && c->count >= 0);
        put_varint(&rows, scope_of(&scopes, c->service, c->level));
        put_u64(&rows, c->signature);
        put_long(&rows, c->pane_ms / PANE_MS - before);
        put_varint(&rows, (uint64_t)c->count);
        before = c->pane_ms / PANE_MS;
    }
    put_begin(out, scopes.count);
    tsn_buf_append(out, tsn_buf_str(&scopes.names), scopes.names.len);
    put_long(out, 0);
    put_bytes(out, rows.data, rows.len);
    tsn_map_release(&scopes.index);
    tsn_buf_release(&scopes.names);
    tsn_buf_release(&scopes.key);
    tsn_buf_release(&rows);
}

void tsn_codec_batch_encode(const struct tsn_batch *b, struct tsn_buf *out)
{
    struct tsn_buf columns = TSN_BUF_INIT;

    put_long(out, b->format);
    put_long(out, b->slot);
    put_long(out, b->writer);
    put_long(out, b->epoch);
    put_long(out, b->seq);
    put_long(out, b->rule_set);
    put_long(out, b->wall_ms);
    put_inputs(out, b);
    put_decls(out, b);
    put_series(out, b);
    columns_put_points(&columns, b->points, b->point_count);
    put_bytes(out, columns.data, columns.len);
    tsn_buf_reset(&columns);
    columns_put_deltas(&columns, b->deltas, b->delta_count);
    put_bytes(out, columns.data, columns.len);
    tsn_buf_release(&columns);
    put_signatures(out, b);
    put_signature_counts(out, b);
    put_bool(out, b->backfill);
}

/* ---- reading ------------------------------------------------------------------------------ */

static char *get_string(struct wire *w)
{
    size_t len;
    const char *text = wire_text(w, &len);

    return tsn_strndup(text, len);
}

static int64_t get_time_or_null(struct wire *w)
{
    int64_t branch = wire_long(w);

    if (branch != 0 && branch != 1)
        wire_fail(w, "no such branch of a union");
    return branch == 1 ? wire_long(w) : TSN_TIME_NONE;
}

/*
 * Walks the items of an array: `least` is the fewest bytes an item can have. Grows `items` block by
 * block; `count` is raised as each item begins, so that a release frees exactly what was read.
 */
#define ARRAY_EACH(w, items, count, least, item)                                                  \
    for (size_t block_##item; !(w)->bad && (block_##item = wire_block((w), (least))) != 0;)       \
        for ((items) = tsn_reallocarray((items), (count) + block_##item, sizeof *(items)),        \
            memset((items) + (count), 0, block_##item * sizeof *(items));                         \
             block_##item && !(w)->bad && ((item) = &(items)[(count)++], true); block_##item--)

static void get_inputs(struct wire *w, struct tsn_batch *b)
{
    struct tsn_batch_input *in;

    ARRAY_EACH(w, b->inputs, b->input_count, 8, in) {
        in->topic = get_string(w);
        in->partition = wire_int(w);
        in->first_offset = wire_long(w);
        in->next_offset = wire_long(w);
        in->watermark_ms = get_time_or_null(w);
        in->idle = wire_bool(w);
        in->idle_clock_ms = get_time_or_null(w);
        in->late = wire_long(w);
    }
}

static void get_decls(struct wire *w, struct tsn_batch *b)
{
    struct tsn_input_decl *d;
    char **name;

    ARRAY_EACH(w, b->decls, b->decl_count, 5, d) {
        d->topic = get_string(w);
        d->partition_count = wire_int(w);
        d->type = get_string(w);
        d->any_name = wire_bool(w);
        ARRAY_EACH(w, d->names, d->name_count, 1, name)
            *name = get_string(w);
    }
}

/* Accepts what put_series wrote: names rising, no empty value. */
static struct tsn_labels *get_labels(struct wire *w, struct tsn_labels_builder *builder)
{
    const char *before = NULL;
    size_t before_len = 0, total = 0;

    for (size_t n; !w->bad && (n = wire_block(w, 2)) != 0;)
        for (; n && !w->bad; n--) {
            size_t name_len, value_len, shorter;
            const char *name = wire_text(w, &name_len);
            const char *value = wire_text(w, &value_len);
            int order;

            shorter = name_len < before_len ? name_len : before_len;
            order = before ? memcmp(before, name, shorter) : -1;
            if (!value_len || order > 0 || (!order && before_len >= name_len) || ++total > MAX_LABELS) {
                wire_fail(w, "labels not in canonical form");
                break;
            }
            tsn_labels_builder_setn(builder, name, name_len, value, value_len);
            before = name;
            before_len = name_len;
        }
    return tsn_labels_builder_finish(builder);
}

static void get_series(struct wire *w, struct tsn_batch *b)
{
    struct tsn_labels_builder builder;
    struct tsn_batch_series *s;

    tsn_labels_builder_init(&builder);
    ARRAY_EACH(w, b->series, b->series_count, 3, s) {
        int64_t ref = wire_long(w), kind = wire_long(w);

        if (ref < 0 || ref > UINT32_MAX || kind < TSN_GAUGE || kind > TSN_DELTA)
            wire_fail(w, "no such series reference or kind");
        s->ref = (uint32_t)ref;
        s->kind = w->bad ? TSN_GAUGE : (enum tsn_sample_kind)kind;
        s->labels = get_labels(w, &builder);
    }
    tsn_labels_builder_release(&builder);
}

static void get_signatures(struct wire *w, struct tsn_batch *b)
{
    struct tsn_batch_signature *s;

    ARRAY_EACH(w, b->signatures, b->signature_count, 9, s) {
        int64_t branch;

        s->signature = (uint64_t)wire_long(w);
        s->service = get_string(w);
        s->level = get_string(w);
        s->text = get_string(w);
        branch = wire_long(w);
        if (branch != 0 && branch != 1)
            wire_fail(w, "no such branch of a union");
        s->sample = branch == 1 ? get_string(w) : NULL;
        s->sample_topic = get_string(w);
        s->sample_partition = wire_int(w);
        s->sample_offset = wire_long(w);
        s->ts_ms = wire_long(w);
    }
}

struct scope {
    const char *service, *level;
    size_t service_len, level_len;
};

static void get_count_rows(struct wire *w, struct tsn_batch *b, const struct scope *scopes, size_t scope_count)
{
    size_t rows = wire_count(w, wire_varint(w), 11); /* 1 + 8 + 1 + 1 */
    int64_t pane = 0;

    b->signature_counts = rows ? tsn_calloc(rows, sizeof *b->signature_counts) : NULL;
    for (size_t i = 0; i < rows && !w->bad; i++) {
        struct tsn_batch_signature_count *c = &b->signature_counts[b->signature_count_count++];
        uint64_t scope = wire_varint(w), count;

        c->signature = wire_u64(w);
        if (__builtin_add_overflow(pane, wire_long(w), &pane) ||
            __builtin_mul_overflow(pane, (int64_t)PANE_MS, &c->pane_ms))
            wire_fail(w, "a pane beyond 64 bits");
        count = wire_varint(w);
        if (scope >= scope_count || count > INT64_MAX) {
            wire_fail(w, "no such scope, or an impossible count");
            return;
        }
        c->count = (int64_t)count;
        c->service = tsn_strndup(scopes[scope].service, scopes[scope].service_len);
        c->level = tsn_strndup(scopes[scope].level, scopes[scope].level_len);
    }
    if (!w->bad && wire_left(w))
        wire_fail(w, "bytes left over");
}

/* Runs `get` over a field of type bytes, carrying its failure (and where) over to *w. */
#define COLUMN(w, call)                                              \
    do {                                                             \
        size_t len_;                                                 \
        const char *data_ = wire_bytes((w), &len_);                  \
        struct wire inner;                                           \
                                                                     \
        if ((w)->bad)                                                \
            break;                                                   \
        wire_init(&inner, data_, len_);                              \
        call;                                                        \
        if (inner.bad) {                                             \
            (w)->bad = inner.bad;                                    \
            (w)->bad_at = (size_t)((const unsigned char *)data_ - (w)->start) + inner.bad_at; \
            (w)->at = (w)->end;                                      \
        }                                                            \
    } while (0)

static void get_signature_counts(struct wire *w, struct tsn_batch *b)
{
    struct scope *scopes = NULL, *s;
    size_t count = 0;

    ARRAY_EACH(w, scopes, count, 2, s) {
        s->service = wire_text(w, &s->service_len);
        s->level = wire_text(w, &s->level_len);
        if (s->service_len > MAX_SCOPE_BYTES || s->level_len > MAX_SCOPE_BYTES)
            wire_fail(w, "a service or level too long for a signature count");
    }
    COLUMN(w, get_count_rows(&inner, b, scopes, count));
    tsn_free(scopes);
}

static void get_body(struct wire *w, struct tsn_batch *b)
{
    b->slot = wire_int(w);
    b->writer = wire_long(w);
    b->epoch = wire_long(w);
    b->seq = wire_long(w);
    b->rule_set = wire_long(w);
    b->wall_ms = wire_long(w);
    get_inputs(w, b);
    get_decls(w, b);
    get_series(w, b);
    COLUMN(w, columns_get_points(&inner, &b->points, &b->point_count));
    COLUMN(w, columns_get_deltas(&inner, &b->deltas, &b->delta_count));
    get_signatures(w, b);
    get_signature_counts(w, b);
    b->backfill = wire_bool(w);
}

enum tsn_err tsn_codec_batch_decode(const void *data, size_t len, struct tsn_batch *batch,
                                    struct tsn_error *error)
{
    struct wire w;

    memset(batch, 0, sizeof *batch);
    wire_init(&w, data, len);
    batch->format = wire_int(&w);
    if (!w.bad && batch->format > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED,
                             "sample batch of format %d, this program reads up to %d: upgrade it",
                             batch->format, TSN_FORMAT_VERSION);
    if (!w.bad && batch->format < 1)
        wire_fail(&w, "an impossible format number");
    get_body(&w, batch);
    if (!w.bad && wire_left(&w))
        wire_fail(&w, "bytes left over");
    if (!w.bad)
        return TSN_OK;
    tsn_batch_release(batch);
    return tsn_error_set(error, TSN_ERR_INVALID, "sample batch, byte %zu: %s", w.bad_at, w.bad);
}
