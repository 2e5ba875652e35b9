/*
 * detect_world: a log of `samples` made by hand, a DETECT over it, and the plain reference.
 *
 * A test says what INGEST would have sent (inputs, points, deltas), sends batches, and reads the
 * transitions as lines of text. Batches are kept as the bytes that would lie in the topic, so a test
 * can start another DETECT at any place. The reference is the rule evaluator over a memory store
 * that holds the same series, totals of counters worked out here in the most obvious way.
 *
 * Include it after cmocka's headers; every function is static.
 */
#ifndef TESTS_DETECT_WORLD_H
#define TESTS_DETECT_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tocsin/codec.h"
#include "tocsin/detect.h"
#include "tocsin/patterns.h"
#include "tocsin/rule_eval.h"
#include "tocsin/series_notation.h"

#define WORLD_UNUSED __attribute__((unused))
#define T0 INT64_C(1700000040000) /* a whole multiple of a minute */

/* ---- the log ------------------------------------------------------------------------------ */

struct log_record {
    int64_t offset;
    char *bytes;
    size_t len;
};

/* One worker that writes: names series anew in each wall minute. */
struct log_writer {
    int32_t slot;
    int64_t writer, seq, minute;
    uint32_t next_ref;
    struct tsn_map refs; /* label id → ref + 1, of this minute */
    struct tsn_batch batch;
    size_t points_cap, deltas_cap, inputs_cap, decls_cap, series_cap, signatures_cap, counts_cap;
    struct tsn_map told; /* signatures announced in this minute */
    int64_t told_minute;
};

struct log {
    TSN_VEC(struct log_record) records;
    int64_t next_offset, wall_ms, rule_set;
};

static WORLD_UNUSED void log_release(struct log *log)
{
    for (size_t i = 0; i < log->records.len; i++)
        tsn_free(log->records.items[i].bytes);
    tsn_vec_release(&log->records);
}

#define WORLD_PUSH(array, count, cap) \
    ((count) == (cap) ? (void)((cap) = (cap) * 2 + 4, (array) = tsn_reallocarray((array), (cap), sizeof *(array))) \
                      : (void)0)

static WORLD_UNUSED void writer_init(struct log_writer *w, int32_t slot, int64_t writer)
{
    memset(w, 0, sizeof *w);
    w->slot = slot;
    w->writer = writer;
    w->minute = -1;
    tsn_map_init(&w->refs);
    tsn_map_init(&w->told);
    w->told_minute = -1;
}

static WORLD_UNUSED void writer_release(struct log_writer *w)
{
    tsn_batch_release(&w->batch);
    tsn_map_release(&w->refs);
    tsn_map_release(&w->told);
}

static WORLD_UNUSED struct tsn_labels *world_labels(const char *text)
{
    struct tsn_labels *labels = NULL;
    struct tsn_error error;

    if (tsn_series_labels_parse(text, strlen(text), &labels, &error)) {
        fprintf(stderr, "bad series in a test: %s: %s\n", text, error.message);
        abort();
    }
    return labels;
}

static WORLD_UNUSED uint32_t writer_ref(struct log *log, struct log_writer *w, struct tsn_labels *labels,
                                        enum tsn_sample_kind kind)
{
    int64_t minute = log->wall_ms / 60000;
    void **slot;

    if (minute != w->minute) {
        tsn_map_clear(&w->refs);
        w->minute = minute;
    }
    slot = tsn_map_upsert(&w->refs, &labels->id, sizeof labels->id, NULL);
    if (!*slot) {
        struct tsn_batch *b = &w->batch;

        *slot = (void *)(uintptr_t)(++w->next_ref);
        WORLD_PUSH(b->series, b->series_count, w->series_cap);
        b->series[b->series_count++] = (struct tsn_batch_series){ (uint32_t)(uintptr_t)*slot, kind,
                                                                  tsn_labels_copy(labels) };
    }
    return (uint32_t)(uintptr_t)*slot;
}

static WORLD_UNUSED void put_point(struct log *log, struct log_writer *w, const char *series, int64_t ts_ms,
                                   double value)
{
    struct tsn_labels *labels = world_labels(series);
    struct tsn_batch *b = &w->batch;

    WORLD_PUSH(b->points, b->point_count, w->points_cap);
    b->points[b->point_count] = (struct tsn_batch_point){ writer_ref(log, w, labels, TSN_GAUGE), ts_ms, value };
    b->point_count++;
    tsn_labels_unref(labels);
}

static WORLD_UNUSED void put_delta(struct log *log, struct log_writer *w, const char *series, int64_t ts_ms,
                                   double value)
{
    struct tsn_labels *labels = world_labels(series);
    struct tsn_batch *b = &w->batch;
    tsn_fixed delta = 0;

    (void)tsn_fixed_from_double(value, &delta);
    WORLD_PUSH(b->deltas, b->delta_count, w->deltas_cap);
    b->deltas[b->delta_count] = (struct tsn_batch_delta){ writer_ref(log, w, labels, TSN_DELTA),
                                                          ts_ms / 1000 * 1000, delta };
    b->delta_count++;
    tsn_labels_unref(labels);
}

static WORLD_UNUSED void put_input(struct log_writer *w, const char *topic, int32_t partition, int64_t watermark_ms,
                                   bool idle, int64_t idle_clock_ms)
{
    struct tsn_batch *b = &w->batch;

    WORLD_PUSH(b->inputs, b->input_count, w->inputs_cap);
    b->inputs[b->input_count++] = (struct tsn_batch_input){ .topic = tsn_strdup(topic),
                                                            .partition = partition,
                                                            .watermark_ms = watermark_ms,
                                                            .idle = idle,
                                                            .idle_clock_ms = idle_clock_ms };
}

/* names: NULL for any; else one metric name. */
static WORLD_UNUSED void put_decl(struct log_writer *w, const char *topic, int32_t partitions, const char *name)
{
    struct tsn_batch *b = &w->batch;
    struct tsn_input_decl decl = { .topic = tsn_strdup(topic), .partition_count = partitions,
                                   .type = tsn_strdup(name ? "logs" : "metrics"), .any_name = !name };

    if (name) {
        decl.names = tsn_calloc(1, sizeof *decl.names);
        decl.names[decl.name_count++] = tsn_strdup(name);
    }
    WORLD_PUSH(b->decls, b->decl_count, w->decls_cap);
    b->decls[b->decl_count++] = decl;
}

/* `count` lines of one signature, as INGEST sends them: announced at its first use in a minute, with a sample. */
static WORLD_UNUSED void put_lines(struct log *log, struct log_writer *w, const char *service, const char *level,
                                   const char *line, int64_t ts_ms, int64_t count)
{
    struct tsn_buf scratch = TSN_BUF_INIT, key = TSN_BUF_INIT;
    struct tsn_signature s = tsn_pattern_signature(NULL, line, strlen(line), &scratch);
    struct tsn_batch *b = &w->batch;
    bool fresh;

    if (log->wall_ms / 60000 != w->told_minute) {
        tsn_map_clear(&w->told);
        w->told_minute = log->wall_ms / 60000;
    }
    tsn_buf_printf(&key, "%s/%s/%llx", service, level, (unsigned long long)s.hash);
    tsn_map_upsert(&w->told, key.data, key.len, &fresh);
    if (fresh) {
        WORLD_PUSH(b->signatures, b->signature_count, w->signatures_cap);
        b->signatures[b->signature_count++] = (struct tsn_batch_signature){
            s.hash, tsn_strdup(service), tsn_strdup(level), tsn_strndup(s.text, s.len), tsn_strdup(line), tsn_strdup("l"), 0,
            log->next_offset * 100 + (int64_t)b->signature_count, ts_ms };
    }
    WORLD_PUSH(b->signature_counts, b->signature_count_count, w->counts_cap);
    b->signature_counts[b->signature_count_count++] =
        (struct tsn_batch_signature_count){ s.hash, tsn_strdup(service), tsn_strdup(level), ts_ms / 1000 * 1000, count };
    tsn_buf_release(&scratch);
    tsn_buf_release(&key);
}

static int world_by_ref_ts(const void *a, const void *b)
{
    const struct tsn_batch_point *x = a, *y = b;

    if (x->ref != y->ref)
        return x->ref < y->ref ? -1 : 1;
    return x->ts_ms < y->ts_ms ? -1 : x->ts_ms > y->ts_ms;
}

static int world_by_ref_pane(const void *a, const void *b)
{
    const struct tsn_batch_delta *x = a, *y = b;

    if (x->ref != y->ref)
        return x->ref < y->ref ? -1 : 1;
    return x->pane_ms < y->pane_ms ? -1 : x->pane_ms > y->pane_ms;
}

/* Closes the writer's batch and appends it to the log. Returns its record's index. */
static WORLD_UNUSED size_t log_send(struct log *log, struct log_writer *w)
{
    struct tsn_batch *b = &w->batch;
    struct tsn_buf out = TSN_BUF_INIT;
    struct log_record record = { log->next_offset, NULL, 0 };
    size_t kept = 0;

    b->format = TSN_FORMAT_VERSION;
    b->slot = w->slot;
    b->writer = w->writer;
    b->seq = ++w->seq;
    b->rule_set = log->rule_set;
    b->wall_ms = log->wall_ms;
    if (b->point_count)
        qsort(b->points, b->point_count, sizeof *b->points, world_by_ref_ts);
    if (b->delta_count)
        qsort(b->deltas, b->delta_count, sizeof *b->deltas, world_by_ref_pane);
    for (size_t i = 0; i < b->delta_count; i++) { /* one row a pane, as INGEST counts */
        if (kept && b->deltas[kept - 1].ref == b->deltas[i].ref && b->deltas[kept - 1].pane_ms == b->deltas[i].pane_ms)
            (void)tsn_fixed_add(&b->deltas[kept - 1].delta, b->deltas[i].delta);
        else
            b->deltas[kept++] = b->deltas[i];
    }
    b->delta_count = kept;
    tsn_codec_batch_encode(b, &out);
    record.bytes = tsn_buf_take(&out, &record.len);
    tsn_vec_push(&log->records, record);
    log->next_offset += 2; /* a transaction marker lies between records */
    tsn_batch_release(b);
    memset(b, 0, sizeof *b);
    w->points_cap = w->deltas_cap = w->inputs_cap = w->decls_cap = w->series_cap = 0;
    w->signatures_cap = w->counts_cap = 0;
    return log->records.len - 1;
}

/* ---- DETECT over it ----------------------------------------------------------------------- */

/* The set of one file; aborts with the loader's words if it is wrong. */
static WORLD_UNUSED struct tsn_rule_set *world_rules(const char *text)
{
    struct tsn_rule_source source = { "rules.yaml", text, strlen(text) };
    struct tsn_rule_load_options options = { 15000 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &options, &errors);

    if (!set) {
        for (size_t i = 0; i < errors.len; i++)
            fprintf(stderr, "bad rules in a test: %u: %s\n", errors.items[i].at.line, errors.items[i].message);
        abort();
    }
    return set;
}

static WORLD_UNUSED void apply_record(struct tsn_detect *d, const struct log_record *record,
                                      struct tsn_detect_output *out)
{
    struct tsn_batch batch = { 0 };
    struct tsn_error error;

    if (tsn_codec_batch_decode(record->bytes, record->len, &batch, &error)) {
        fprintf(stderr, "a batch of the test does not decode: %s\n", error.message);
        abort();
    }
    tsn_detect_apply(d, &batch, record->offset, out);
    tsn_batch_release(&batch);
}

/* One line a transition: what the reference knows of it. */
static WORLD_UNUSED void put_line(struct tsn_buf *out, int64_t step_ms, const char *rule, enum tsn_alert_state was,
                                  enum tsn_alert_state now, const struct tsn_labels *labels,
                                  const struct tsn_labels *annotations, double value, int64_t active_ms)
{
    tsn_buf_printf(out, "+%lld %s %s>%s ", (long long)((step_ms - T0) / 1000), rule, tsn_alert_state_name(was),
                   tsn_alert_state_name(now));
    tsn_labels_format(out, labels);
    if (annotations && annotations->count)
        tsn_labels_format(out, annotations);
    tsn_buf_printf(out, " %.17g since +%lld\n", value, (long long)((active_ms - T0) / 1000));
}

static WORLD_UNUSED void put_transitions(struct tsn_buf *out, const struct tsn_detect_output *from)
{
    for (size_t i = 0; i < from->transitions.len; i++) {
        const struct tsn_transition *t = &from->transitions.items[i];

        put_line(out, t->step_ms, t->rule, t->was, t->state, t->labels, t->annotations, t->value, t->active_at_ms);
    }
}

/* ---- the reference ------------------------------------------------------------------------ */

struct ref_counter {
    struct tsn_labels *labels;
    TSN_VEC(struct tsn_batch_delta) panes;
};

struct ref_point {
    struct tsn_u128 id;
    int64_t ts_ms;
    double value;
};

struct reference {
    struct tsn_memstore *store;
    TSN_VEC(struct ref_point) points;
    TSN_VEC(struct ref_counter) counters;
    struct tsn_rule_set *set; /* borrowed */
    struct tsn_buf lines;
    int64_t ttl_ms, lookback_ms; /* lookback 0: the default */
};

static WORLD_UNUSED void reference_init(struct reference *ref, int64_t ttl_ms)
{
    memset(ref, 0, sizeof *ref);
    ref->store = tsn_memstore_new();
    ref->ttl_ms = ttl_ms ? ttl_ms : INT64_C(7200000);
}

static WORLD_UNUSED void reference_release(struct reference *ref)
{
    for (size_t i = 0; i < ref->counters.len; i++) {
        tsn_labels_unref(ref->counters.items[i].labels);
        tsn_vec_release(&ref->counters.items[i].panes);
    }
    tsn_vec_release(&ref->counters);
    tsn_vec_release(&ref->points);
    tsn_memstore_free(&ref->store);
    tsn_buf_release(&ref->lines);
}

/* Of two of one series and time the greater bit pattern stays. */
static WORLD_UNUSED void ref_point(struct reference *ref, const char *series, int64_t ts_ms, double value)
{
    struct tsn_labels *labels = world_labels(series);
    struct ref_point point = { labels->id, ts_ms, value };

    for (size_t i = 0; i < ref->points.len; i++)
        if (ref->points.items[i].ts_ms == ts_ms && tsn_u128_equal(ref->points.items[i].id, point.id) &&
            tsn_double_bits(ref->points.items[i].value) > tsn_double_bits(point.value))
            point.value = ref->points.items[i].value;
    tsn_vec_push(&ref->points, point);
    tsn_memstore_add(ref->store, labels, ts_ms, point.value);
    tsn_labels_unref(labels);
}

static WORLD_UNUSED void ref_delta(struct reference *ref, const char *series, int64_t ts_ms, double value)
{
    struct tsn_labels *labels = world_labels(series);
    struct tsn_batch_delta pane = { 0, ts_ms / 1000 * 1000, 0 };
    struct ref_counter *c = NULL;

    (void)tsn_fixed_from_double(value, &pane.delta);
    for (size_t i = 0; i < ref->counters.len && !c; i++)
        if (tsn_labels_equal(ref->counters.items[i].labels, labels))
            c = &ref->counters.items[i];
    if (!c) {
        struct ref_counter fresh = { tsn_labels_ref(labels), { 0 } };

        tsn_vec_push(&ref->counters, fresh);
        c = &ref->counters.items[ref->counters.len - 1];
    }
    tsn_vec_push(&c->panes, pane);
    tsn_labels_unref(labels);
}

/* A sample of a counter, and the time of the first step that can know of it. */
struct ref_sample {
    int64_t known_ms, ts_ms;
    struct tsn_labels *labels; /* borrowed */
    double value;
};

static int world_by_known(const void *a, const void *b)
{
    const struct ref_sample *x = a, *y = b;

    if (x->known_ms != y->known_ms)
        return x->known_ms < y->known_ms ? -1 : 1;
    return x->ts_ms < y->ts_ms ? -1 : x->ts_ms > y->ts_ms;
}

struct ref_samples {
    struct ref_sample *items;
    size_t len, cap, done;
};

static void ref_know(struct ref_samples *all, struct tsn_labels *labels, int64_t known_ms, int64_t ts_ms, double value)
{
    struct ref_sample sample = { known_ms, ts_ms, labels, value };

    tsn_vec_push(all, sample);
}

/* Totals from the panes in order of time: zero at birth (known when its pane ends), a sample at each
 * pane's end, the total before it at a pane's start if it stood for 15 s, a marker after the ttl. */
static WORLD_UNUSED void ref_totals(struct reference *ref, struct ref_samples *all)
{
    for (size_t i = 0; i < ref->counters.len; i++) {
        struct ref_counter *c = &ref->counters.items[i];
        tsn_fixed total = 0;
        int64_t last_ms = TSN_TIME_NONE;
        double stood = 0;

        qsort(c->panes.items, c->panes.len, sizeof *c->panes.items, world_by_ref_pane);
        for (size_t k = 0; k < c->panes.len; k++) {
            int64_t pane_ms = c->panes.items[k].pane_ms;

            (void)tsn_fixed_add(&total, c->panes.items[k].delta);
            if (k + 1 < c->panes.len && c->panes.items[k + 1].pane_ms == pane_ms)
                continue;
            if (last_ms == TSN_TIME_NONE)
                ref_know(all, c->labels, pane_ms + 1000, pane_ms, 0);
            else if (pane_ms >= last_ms + 1000 + 15000)
                ref_know(all, c->labels, pane_ms + 1000, pane_ms, stood);
            ref_know(all, c->labels, pane_ms + 1000, pane_ms + 1000, tsn_fixed_to_double(total));
            last_ms = pane_ms;
            stood = tsn_fixed_to_double(total);
            if (k + 1 == c->panes.len || last_ms + 1000 + ref->ttl_ms <= c->panes.items[k + 1].pane_ms) {
                ref_know(all, c->labels, last_ms + 1000 + ref->ttl_ms, last_ms + 1000 + ref->ttl_ms, tsn_stale());
                last_ms = TSN_TIME_NONE;
                total = 0;
            }
        }
    }
    if (all->len)
        qsort(all->items, all->len, sizeof *all->items, world_by_known);
}

static enum tsn_err world_append(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value,
                                 struct tsn_error *error)
{
    return tsn_memstore_append(arg, labels, ts_ms, value, error);
}

static void world_changes(void *arg, size_t group, size_t rule, int64_t ts_ms, const struct tsn_alert_changes *changes)
{
    struct reference *ref = arg;

    for (size_t i = 0; i < changes->len; i++) {
        const struct tsn_alert_instance *in = changes->items[i].instance;

        put_line(&ref->lines, ts_ms, ref->set->groups[group].rules[rule].name, changes->items[i].was,
                 changes->items[i].now, in->labels, in->annotations, in->value, in->active_at_ms);
    }
}

/* Every step of every group in (first_ms, last_ms], by time, then group. */
static WORLD_UNUSED void reference_run(struct reference *ref, struct tsn_rule_set *set, int64_t first_ms,
                                       int64_t last_ms)
{
    struct tsn_rule_eval_options options = { .storage = tsn_memstore_storage(ref->store),
                                             .append = world_append,
                                             .append_arg = ref->store,
                                             .on_changes = world_changes,
                                             .changes_arg = ref,
                                             .eval.lookback_ms = ref->lookback_ms };
    struct ref_samples all = { 0 };
    struct tsn_rule_evaluator *ev;

    ref->set = set;
    ref_totals(ref, &all);
    ev = tsn_rule_evaluator_new(set, &options);
    for (int64_t ts = first_ms / 1000 * 1000; ts <= last_ms; ts += 1000) {
        for (; all.done < all.len && all.items[all.done].known_ms <= ts; all.done++)
            tsn_memstore_add(ref->store, all.items[all.done].labels, all.items[all.done].ts_ms,
                             all.items[all.done].value);
        for (size_t g = 0; g < set->group_count && ts >= first_ms; g++)
            if (ts % set->groups[g].interval_ms == 0)
                (void)tsn_rule_evaluator_step(ev, g, ts);
    }
    tsn_rule_evaluator_free(&ev);
    tsn_free(all.items);
}

#endif
