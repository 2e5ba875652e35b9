/*
 * bench_parts: the hot loops one by one: ns an operation beside a reference in the same run, what they allocate, and, under
 * callgrind, how many instructions they take (callgrind.py compares those with callgrind.tsv).
 *
 * A part is set up once; its loop is the function hot_NAME, which does `ops` operations a call. Parts:
 *   json_shape     record → cell of the open batch: shape path, memo hit           reference: yajl walking the same bytes
 *   json_exact     the same for a text off the shape (a blank in front)            reference: yajl
 *   memo_miss      a series never seen: labels, hash, shards, its place in the batch
 *   avro_plan      as json_shape, for a bare tocsin.v1.Metric                      reference: avro-c to a generic value
 *   batch_encode   a point or delta of a batch of 2,000                            reference: avro-c writing rows of the same
 *   batch_decode   the same, read                                                  reference: avro-c to a generic value
 *   window_append  a scraped point into its series' window, no step due            reference: a push into a plain array
 *   step           a series of a step over two windows of 5 m (error share)        reference: the naive evaluator
 *
 * Usage: bench_parts [--loops | --allocations] [PART]
 *   --loops         one call of each loop and no more: for callgrind
 *   --allocations   "NAME allocations-per-1000-operations" of a warm loop
 */
#include <avro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yajl/yajl_parse.h>

#include "tocsin/avro_plan.h"
#include "tocsin/codec.h"
#include "tocsin/detect.h"
#include "tocsin/ingest.h"

#define T0 INT64_C(1700000100000)
#define HOT __attribute__((noinline)) void
enum { EVENTS = 20000, SERIES = 1000, STEP_MS = 15000, FULL = 22, RUNS = 15, AVRO_C_TURNS = 20 };

static double reference_ns; /* of a reference that times itself, because it has to prepare something */

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- allocations are counted on their way to the C library ---------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *ptr, size_t size);
static unsigned long allocations;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
    allocations++;
    return __libc_realloc(ptr, size);
}

/* ---- INGEST --------------------------------------------------------------------------------- */

static const char rules_text[] =
    "groups:\n"
    "- name: g\n"
    "  interval: 15s\n"
    "  rules:\n"
    "  - {alert: HighErrors, for: 1m, expr: 'sum by (service) (rate(http_requests_total{status=\"500\"}[5m]))"
    " / sum by (service) (rate(http_requests_total[5m])) > 0.05'}\n";

static struct tsn_rule_set *load_rules(void)
{
    struct tsn_rule_source source = { "r.yaml", rules_text, sizeof rules_text - 1 };
    struct tsn_rule_load_options load = { STEP_MS };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &load, &errors);

    TSN_ASSERT(set);
    return set;
}

struct feed {
    struct tsn_config config;
    struct tsn_rule_set *set;
    struct tsn_ingest *ingest;
    struct tsn_buf *records;
    int64_t offset;
};

static void json_event(struct tsn_buf *out, int i, int series, bool exact)
{
    tsn_buf_printf(out,
                   "%s{\"name\":\"http_requests_total\",\"labels\":{\"service\":\"svc-%d\",\"instance\":\"10.0.%d.%d:8080\",\"method\":\"GET\","
                   "\"status\":\"%s\"},\"value\":1,\"timestamp\":%lld,\"kind\":\"delta\"}",
                   exact ? " " : "", series % 50, series / 250, series % 250, series % 10 ? "200" : "500", (long long)T0 + i / 10);
}

static void put_long(struct tsn_buf *out, int64_t v)
{
    uint64_t z = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

    for (; z >= 128; z >>= 7)
        tsn_buf_putc(out, (char)(z | 128));
    tsn_buf_putc(out, (char)z);
}

static void put_text(struct tsn_buf *out, const char *text)
{
    put_long(out, (int64_t)strlen(text));
    tsn_buf_puts(out, text);
}

static void avro_event(struct tsn_buf *out, int i, int series)
{
    static const char one[8] = { 0, 0, 0, 0, 0, 0, '\xf0', '\x3f' };
    char text[32];

    put_text(out, "http_requests_total");
    put_long(out, 4);
    put_text(out, "service");
    snprintf(text, sizeof text, "svc-%d", series % 50);
    put_text(out, text);
    put_text(out, "instance");
    snprintf(text, sizeof text, "10.0.%d.%d:8080", series / 250, series % 250);
    put_text(out, text);
    put_text(out, "method");
    put_text(out, "GET");
    put_text(out, "status");
    put_text(out, series % 10 ? "200" : "500");
    put_long(out, 0);
    tsn_buf_append(out, one, sizeof one);
    put_long(out, T0 + i / 10);
    put_long(out, 1);
    put_long(out, 2);
}

enum shape { SHAPE, EXACT, MISS, AVRO };

static void offer(struct feed *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct tsn_ingest_record r = { .offset = f->offset++, .timestamp_ms = T0 + 60000, .value = f->records[i].data,
                                       .value_len = f->records[i].len };

        (void)tsn_ingest_record(f->ingest, &r, NULL);
    }
}

static void close_batch(struct feed *f)
{
    struct tsn_closed_batch *b = tsn_ingest_close(f->ingest, T0);

    tsn_closed_batch_free(&b);
}

/* Warm: every record but those of MISS has been seen, and the batch's arrays have their room. */
static struct feed *new_feed(enum shape shape)
{
    struct feed *f = tsn_calloc(1, sizeof *f);
    struct tsn_ingest_options options = { .config = &f->config, .writer = 1, .samples_partitions = 4 };
    char yaml[256];
    int len = snprintf(yaml, sizeof yaml,
                       "kafka: { bootstrap.servers: \"b:9092\" }\ninputs: [ { topic: m, type: metrics, format: %s } ]\nrules: [ \"r.yaml\" ]\n",
                       shape == AVRO ? "avro" : "json");

    TSN_ASSERT(tsn_config_parse(&f->config, "b.yaml", yaml, (size_t)len, NULL, NULL) == TSN_OK);
    f->set = load_rules();
    f->ingest = tsn_ingest_new(&options, NULL);
    tsn_ingest_add_rule_set(f->ingest, 1, f->set);
    (void)tsn_ingest_assign(f->ingest, 0, 0, 1, 0, NULL, NULL);
    f->records = tsn_calloc(EVENTS, sizeof *f->records);
    for (int i = 0; i < EVENTS; i++) {
        int series = shape == MISS ? i : i * 7 % SERIES;

        if (shape == AVRO)
            avro_event(&f->records[i], i, series);
        else
            json_event(&f->records[i], i, series, shape == EXACT);
    }
    for (int pass = 0; pass < 2; pass++) {
        offer(f, 0, shape == MISS ? 1 : EVENTS);
        close_batch(f);
    }
    return f;
}

static void free_feed(struct feed *f)
{
    struct tsn_ingest_stats stats;

    tsn_ingest_get_stats(f->ingest, &stats);
    TSN_ASSERT(stats.dead_letters == 0 && stats.late_moved == 0 && stats.deltas == stats.events);
    tsn_ingest_free(&f->ingest);
    tsn_rule_set_free(&f->set);
    tsn_config_release(&f->config);
    for (int i = 0; i < EVENTS; i++)
        tsn_buf_release(&f->records[i]);
    tsn_free(f->records);
    tsn_free(f);
}

HOT hot_json_shape(void *part);
HOT hot_json_exact(void *part);
HOT hot_memo_miss(void *part);
HOT hot_avro_plan(void *part);

HOT hot_json_shape(void *part)
{
    offer(part, 0, EVENTS);
}

HOT hot_json_exact(void *part)
{
    offer(part, 0, EVENTS);
}

HOT hot_memo_miss(void *part)
{
    offer(part, 1, EVENTS);
}

HOT hot_avro_plan(void *part)
{
    offer(part, 0, EVENTS);
}

static void *new_shape(void)
{
    return new_feed(SHAPE);
}

static void *new_exact(void)
{
    return new_feed(EXACT);
}

static void *new_miss(void)
{
    return new_feed(MISS);
}

static void *new_avro(void)
{
    return new_feed(AVRO);
}

static void end_feed(void *part)
{
    free_feed(part);
}

static void settle_feed(void *part)
{
    close_batch(part);
}

static void yajl_all(void *part)
{
    static const yajl_callbacks none = { 0 };
    struct feed *f = part;

    for (int i = 0; i < EVENTS; i++) {
        yajl_handle h = yajl_alloc(&none, NULL, NULL);

        TSN_ASSERT(yajl_parse(h, (const unsigned char *)f->records[i].data, f->records[i].len) == yajl_status_ok);
        TSN_ASSERT(yajl_complete_parse(h) == yajl_status_ok);
        yajl_free(h);
    }
}

static void generic_of(const char *text, avro_schema_t *schema, avro_value_iface_t **iface, avro_value_t *value)
{
    TSN_ASSERT(avro_schema_from_json_length(text, strlen(text), schema) == 0);
    *iface = avro_generic_class_from_schema(*schema);
    avro_generic_value_new(*iface, value);
}

static void generic_read(avro_value_t *value, const char *data, size_t len)
{
    avro_reader_t reader = avro_reader_memory(data, (int64_t)len);

    avro_value_reset(value);
    TSN_ASSERT(avro_value_read(reader, value) == 0);
    avro_reader_free(reader);
}

static void avro_c_all(void *part)
{
    struct feed *f = part;
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;

    generic_of(tsn_avro_own_schema("Metric"), &schema, &iface, &value);
    for (int i = 0; i < EVENTS; i++)
        generic_read(&value, f->records[i].data, f->records[i].len);
    avro_value_decref(&value);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
}

/* ---- batches and windows -------------------------------------------------------------------- */

static struct tsn_labels *labels_of(uint32_t i)
{
    char service[24], instance[40];

    snprintf(service, sizeof service, "svc-%u", i % 50);
    snprintf(instance, sizeof instance, "10.0.%u.%u:8080", i / 250, i % 250);
    return tsn_labels_of("__name__", "http_requests_total", "service", service, "instance", instance, "method", "GET", "status",
                         i / 50 % 10 ? "200" : "500", NULL);
}

static struct tsn_batch *empty_batch(int64_t seq, int64_t watermark_ms)
{
    struct tsn_batch *b = tsn_calloc(1, sizeof *b);

    b->format = TSN_FORMAT_VERSION;
    b->writer = 1;
    b->seq = seq;
    b->wall_ms = T0 + 1;
    b->inputs = tsn_calloc(1, sizeof *b->inputs);
    b->inputs[0] = (struct tsn_batch_input){ .topic = tsn_strdup("m"), .watermark_ms = watermark_ms };
    b->input_count = 1;
    return b;
}

static void add_points(struct tsn_batch *b, int64_t ts_ms, double value)
{
    b->points = tsn_calloc(SERIES, sizeof *b->points);
    for (uint32_t i = 0; i < SERIES; i++)
        b->points[b->point_count++] = (struct tsn_batch_point){ i, ts_ms + i % 7, value * (i % 7) };
}

static void announce(struct tsn_batch *b)
{
    b->decls = tsn_calloc(1, sizeof *b->decls);
    b->decls[0] = (struct tsn_input_decl){ .topic = tsn_strdup("m"), .partition_count = 1, .type = tsn_strdup("metrics"), .any_name = true };
    b->decl_count = 1;
    b->series = tsn_calloc(SERIES, sizeof *b->series);
    for (uint32_t i = 0; i < SERIES; i++)
        b->series[b->series_count++] = (struct tsn_batch_series){ i, TSN_COUNTER, labels_of(i) };
}

static void drop_batch(struct tsn_batch *b)
{
    tsn_batch_release(b);
    tsn_free(b);
}

struct codec {
    struct tsn_batch *batch;
    struct tsn_buf bytes, out;
};

static void *new_codec(void)
{
    struct codec *c = tsn_calloc(1, sizeof *c);

    c->batch = empty_batch(1, T0);
    add_points(c->batch, T0, 3);
    c->batch->deltas = tsn_calloc(SERIES, sizeof *c->batch->deltas);
    for (uint32_t i = 0; i < SERIES; i++)
        c->batch->deltas[c->batch->delta_count++] = (struct tsn_batch_delta){ i, T0 - 1000, (tsn_fixed)(i % 7 + 1) << 64 };
    tsn_codec_batch_encode(c->batch, &c->bytes);
    tsn_codec_batch_encode(c->batch, &c->out);
    return c;
}

static void end_codec(void *part)
{
    struct codec *c = part;

    drop_batch(c->batch);
    tsn_buf_release(&c->bytes);
    tsn_buf_release(&c->out);
    tsn_free(c);
}

HOT hot_batch_encode(void *part);
HOT hot_batch_decode(void *part);

HOT hot_batch_encode(void *part)
{
    struct codec *c = part;

    tsn_buf_reset(&c->out);
    tsn_codec_batch_encode(c->batch, &c->out);
}

HOT hot_batch_decode(void *part)
{
    struct codec *c = part;
    struct tsn_batch b;

    TSN_ASSERT(tsn_codec_batch_decode(c->bytes.data, c->bytes.len, &b, NULL) == TSN_OK);
    tsn_batch_release(&b);
}

static const char rows_schema[] = "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Row\",\"fields\":[{\"name\":\"series\",\"type\":\"long\"},"
                                  "{\"name\":\"ts\",\"type\":\"long\"},{\"name\":\"value\",\"type\":\"double\"}]}}";

static void fill_rows(avro_value_t *rows)
{
    for (int i = 0; i < 2 * SERIES; i++) {
        avro_value_t row, field;

        avro_value_append(rows, &row, NULL);
        avro_value_get_by_index(&row, 0, &field, NULL);
        avro_value_set_long(&field, i % SERIES);
        avro_value_get_by_index(&row, 1, &field, NULL);
        avro_value_set_long(&field, T0 + i % 7);
        avro_value_get_by_index(&row, 2, &field, NULL);
        avro_value_set_double(&field, i % 7);
    }
}

/* What avro-c needs for as many rows of series, time and number. */
static void avro_c_batch(bool write)
{
    enum { ROOM = 2 * SERIES * 32 };
    char *out = tsn_alloc(ROOM);
    avro_writer_t first = avro_writer_memory(out, ROOM);
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
    double start;
    size_t len;

    generic_of(rows_schema, &schema, &iface, &value);
    fill_rows(&value);
    TSN_ASSERT(avro_value_write(first, &value) == 0);
    len = (size_t)avro_writer_tell(first);
    avro_writer_free(first);
    start = now_ns();
    for (int i = 0; i < AVRO_C_TURNS; i++)
        if (write) {
            avro_writer_t writer = avro_writer_memory(out, ROOM);

            TSN_ASSERT(avro_value_write(writer, &value) == 0);
            avro_writer_free(writer);
        } else {
            generic_read(&value, out, len);
        }
    reference_ns = (now_ns() - start) / AVRO_C_TURNS;
    avro_value_decref(&value);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    tsn_free(out);
}

static void avro_c_write(void *part)
{
    TSN_UNUSED(part);
    avro_c_batch(true);
}

static void avro_c_read(void *part)
{
    TSN_UNUSED(part);
    avro_c_batch(false);
}

struct windows {
    struct tsn_detect *detect;
    struct tsn_detect_output out;
    struct tsn_batch *next;
    int64_t round;
    TSN_VEC(struct tsn_sample) plain[SERIES]; /* the reference's windows */
};

static void apply(struct windows *w, struct tsn_batch *b)
{
    tsn_detect_apply(w->detect, b, b->seq - 1, &w->out);
    tsn_detect_output_reset(&w->out);
    drop_batch(b);
}

/* The points of the next round; the watermark stays, so that no step is due. */
static void next_points(struct windows *w)
{
    w->next = empty_batch(2 * w->round + 1, T0 + (w->round - 1) * STEP_MS + 100);
    add_points(w->next, T0 + w->round * STEP_MS, (double)w->round);
    if (!w->round)
        announce(w->next);
}

static void next_watermark(struct windows *w)
{
    w->next = empty_batch(2 * w->round + 2, T0 + w->round * STEP_MS + 100);
    w->round++;
}

static void *new_windows(bool naive)
{
    struct windows *w = tsn_calloc(1, sizeof *w);
    struct tsn_detect_options options = { .partition_count = 1, .naive = naive };

    w->detect = tsn_detect_new(&options);
    tsn_detect_add_rule_set(w->detect, 0, load_rules());
    for (int r = 0; r < FULL; r++) {
        next_points(w);
        apply(w, w->next);
        next_watermark(w);
        apply(w, w->next);
    }
    next_points(w);
    return w;
}

static void *new_append(void)
{
    return new_windows(false);
}

static void *new_step(void)
{
    struct windows *w = new_windows(false);

    apply(w, w->next);
    next_watermark(w);
    return w;
}

static void end_windows(void *part)
{
    struct windows *w = part;

    drop_batch(w->next);
    tsn_detect_output_release(&w->out);
    tsn_detect_free(&w->detect);
    for (int i = 0; i < SERIES; i++)
        tsn_vec_release(&w->plain[i]);
    tsn_free(w);
}

HOT hot_window_append(void *part);
HOT hot_step(void *part);

HOT hot_window_append(void *part)
{
    struct windows *w = part;

    tsn_detect_apply(w->detect, w->next, w->next->seq - 1, &w->out);
}

HOT hot_step(void *part)
{
    struct windows *w = part;

    tsn_detect_apply(w->detect, w->next, w->next->seq - 1, &w->out);
}

static void settle_append(void *part)
{
    struct windows *w = part;

    drop_batch(w->next);
    next_watermark(w);
    apply(w, w->next);
    next_points(w);
}

static void settle_step(void *part)
{
    struct windows *w = part;

    tsn_detect_output_reset(&w->out);
    drop_batch(w->next);
    next_points(w);
    apply(w, w->next);
    next_watermark(w);
}

static void plain_push(void *part)
{
    struct windows *w = part;

    for (size_t i = 0; i < w->next->point_count; i++)
        tsn_vec_push(&w->plain[w->next->points[i].ref], ((struct tsn_sample){ w->next->points[i].ts_ms, w->next->points[i].value }));
}

static void naive_step(void *part)
{
    struct windows *w = new_windows(true);
    double start;

    TSN_UNUSED(part);
    apply(w, w->next);
    next_watermark(w);
    start = now_ns();
    tsn_detect_apply(w->detect, w->next, w->next->seq - 1, &w->out);
    reference_ns = now_ns() - start;
    end_windows(w);
}

/* ---- the parts ------------------------------------------------------------------------------ */

static void nothing(void *part)
{
    TSN_UNUSED(part);
}

static const struct part {
    const char *name;
    void *(*make)(void);
    void (*end)(void *part);
    void (*hot)(void *part);
    void (*settle)(void *part); /* after a loop: ready for the next; not timed */
    int ops;
    bool once; /* a loop changes what it works on: each run wants a fresh part */
    const char *reference_name;
    void (*reference)(void *part);
    double floor, aim; /* times the reference's speed */
} parts[] = {
    { "json_shape", new_shape, end_feed, hot_json_shape, settle_feed, EVENTS, false, "yajl", yajl_all, 2, 5 },
    { "json_exact", new_exact, end_feed, hot_json_exact, settle_feed, EVENTS, false, "yajl", yajl_all, 0.5, 1 },
    { "memo_miss", new_miss, end_feed, hot_memo_miss, settle_feed, EVENTS - 1, true, "none", NULL, 0, 0 },
    { "avro_plan", new_avro, end_feed, hot_avro_plan, settle_feed, EVENTS, false, "avro-c", avro_c_all, 2, 4 },
    { "batch_encode", new_codec, end_codec, hot_batch_encode, nothing, 2 * SERIES, false, "avro-c", avro_c_write, 4, 10 },
    { "batch_decode", new_codec, end_codec, hot_batch_decode, nothing, 2 * SERIES, false, "avro-c", avro_c_read, 4, 10 },
    { "window_append", new_append, end_windows, hot_window_append, settle_append, SERIES, false, "array", plain_push, 0, 0 },
    { "step", new_step, end_windows, hot_step, settle_step, SERIES, false, "naive", naive_step, 10, 50 },
};

/* Nanoseconds of the best of some loops; allocations of the last, which is warm. */
static double best_loop(const struct part *p, unsigned long *allocated, double *reference)
{
    void *part = p->make();
    double best = 0;

    *reference = 0;
    for (int run = 0; run < RUNS; run++) {
        unsigned long before = allocations;
        double start = now_ns(), took;

        p->hot(part);
        took = now_ns() - start;
        *allocated = allocations - before;
        best = !run || took < best ? took : best;
        if (p->once) {
            p->end(part);
            part = p->make();
        } else {
            p->settle(part);
        }
    }
    for (int run = 0; run < 3 && p->reference; run++) {
        double start = now_ns();

        reference_ns = 0;
        p->reference(part);
        start = reference_ns > 0 ? reference_ns : now_ns() - start;
        *reference = !run || start < *reference ? start : *reference;
    }
    p->end(part);
    return best;
}

static void loops_once(const struct part *p)
{
    void *part = p->make();

    p->hot(part);
    p->end(part);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 && argv[1][0] == '-' ? argv[1] : "", *only = argc > 1 && argv[argc - 1][0] != '-' ? argv[argc - 1] : NULL;

    for (size_t i = 0; i < TSN_ARRAY_LEN(parts); i++) {
        const struct part *p = &parts[i];
        unsigned long allocated;
        double ns, reference;

        if (only && strcmp(only, p->name) != 0)
            continue;
        if (strcmp(mode, "--loops") == 0) {
            loops_once(p);
            printf("%s %d\n", p->name, p->ops);
            continue;
        }
        ns = best_loop(p, &allocated, &reference);
        if (strcmp(mode, "--allocations") == 0)
            printf("%s %.2f\n", p->name, (double)allocated * 1000 / p->ops);
        else
            printf("BENCH name=part_%s value=%.1f unit=ns/op ref=%.1f ratio=%.2f floor=%.1f aim=%.1f against=%s allocations=%.3f\n", p->name, ns / p->ops,
                   reference / p->ops, reference / ns, p->floor, p->aim, p->reference_name, (double)allocated / p->ops);
        fflush(stdout);
    }
    return 0;
}
