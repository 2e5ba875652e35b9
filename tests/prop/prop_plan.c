/*
 * Goal: plans give what the naive evaluator gives, to the bit: values, labels, order, errors.
 * Method: worlds of random series (counters with resets, gauges, buckets, NaN and infinities, stale
 * markers) that come and go, with samples that come late between steps, edits and trimming; several
 * random expressions over them in one graph, of which some share parts; both evaluators at every
 * step, some steps twice, some back in time. A second graph, built anew now and then in the middle,
 * must agree too: what is kept never matters.
 * A failure prints seed, time and expression; SEED=n SEEDS=m in the environment runs others. A seed is
 * five expressions, some 250 comparisons: the run under ASan holds 20,000 expressions, that of the
 * release build (SEEDS=20000) 100,000.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tocsin/plan.h"

/* ---- chance ------------------------------------------------------------------------------- */

static uint64_t rng_state;

static uint64_t rng(void)
{
    uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int64_t below(int64_t n)
{
    return (int64_t)(rng() % (uint64_t)n);
}

static bool one_in(int64_t n)
{
    return below(n) == 0;
}

#define PICK(array) ((array)[below((int64_t)TSN_ARRAY_LEN(array))])

/* ---- expressions -------------------------------------------------------------------------- */

static void vector(struct tsn_buf *out, int depth);
static void scalar(struct tsn_buf *out, int depth);

static void selector(struct tsn_buf *out, const char *range)
{
    static const char *const names[] = { "m", "m", "n", "n", "req_total", "h_bucket", "gone" };
    static const char *const matchers[] = { "", "", "", "{a=\"1\"}", "{a!=\"1\"}", "{b=~\"x|y\"}", "{b!~\"x\"}", "{c=\"\"}" };
    static const char *const offsets[] = { "", "", "", " offset 1m", " offset -30s", " @ 60", " offset 7s" };
    static const char *const extended[] = { " anchored", " smoothed" };

    if (one_in(12))
        tsn_buf_puts(out, "{__name__=~\"m|n\"}");
    else
        tsn_buf_printf(out, "%s%s", PICK(names), PICK(matchers));
    if (range)
        tsn_buf_printf(out, "[%s]", range);
    if (one_in(40))
        tsn_buf_puts(out, PICK(extended));
    tsn_buf_puts(out, PICK(offsets));
}

static void range_call(struct tsn_buf *out, int depth)
{
    static const char *const functions[] = {
        "rate", "rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets", "sum_over_time",
        "avg_over_time", "min_over_time", "max_over_time", "count_over_time", "last_over_time", "first_over_time",
        "stddev_over_time", "stdvar_over_time", "present_over_time", "absent_over_time"
    };
    static const char *const ranges[] = { "1m", "2m", "5m", "47s", "10s", "15m", "1h" };
    static const char *const subqueries[] = { "[2m:30s]", "[2m:30s]", "[5m:1m]", "[1m:7s]", "[10m:]", "[3m:45s] offset 20s",
                                              "[1m:15s] offset -30s", "[2m:1m] @ 60" };
    int which = (int)below(24);

    if (which == 0) {
        tsn_buf_puts(out, "predict_linear(");
        selector(out, PICK(ranges));
        tsn_buf_puts(out, ", 600)");
    } else if (which == 1) {
        tsn_buf_printf(out, "quantile_over_time(0.%d, ", (int)below(10));
        selector(out, PICK(ranges));
        tsn_buf_putc(out, ')');
    } else if (which < 5 && depth > 0) {
        tsn_buf_printf(out, "%s((", PICK(functions));
        one_in(12) ? scalar(out, depth - 1) : vector(out, depth - (int)below(3));
        tsn_buf_printf(out, ")%s)", PICK(subqueries));
    } else {
        tsn_buf_printf(out, "%s(", PICK(functions));
        selector(out, PICK(ranges));
        tsn_buf_putc(out, ')');
    }
}

static void scalar(struct tsn_buf *out, int depth)
{
    static const char *const scalars[] = { "2", "0", "0.5", "-1", "time()", "pi()", "NaN", "Inf", "(1 > bool 2)", "-time()" };

    if (depth > 0 && one_in(6)) {
        tsn_buf_puts(out, "scalar(");
        vector(out, depth - 1);
        tsn_buf_putc(out, ')');
    } else {
        tsn_buf_puts(out, PICK(scalars));
    }
}

static void aggregation(struct tsn_buf *out, int depth)
{
    static const char *const ops[] = { "sum", "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar" };
    static const char *const tops[] = { "topk(2, ", "bottomk(3, ", "topk(0, ", "quantile(0.4, ", "count_values(\"v\", ",
                                        "topk(scalar(m), " };
    static const char *const groupings[] = { "", " by (a)", " by (a, b)", " without (b)", " by (c)", " without (a, le)",
                                             " by (__name__)", " by (a, __name__)" };

    tsn_buf_printf(out, "%s", one_in(5) ? PICK(tops) : "");
    if (out->data[out->len - (out->len > 0)] != ' ')
        tsn_buf_printf(out, "%s(", PICK(ops));
    vector(out, depth - 1);
    tsn_buf_printf(out, ")%s", PICK(groupings));
}

static void binary(struct tsn_buf *out, int depth)
{
    static const char *const ops[] = { "/", "/", "*", "+", "-", "%", "^", "atan2" };
    static const char *const comparisons[] = { ">", ">", "<", "==", "!=", ">=", "<=", "> bool", "== bool" };
    static const char *const sets[] = { "and", "or", "unless" };
    static const char *const on[] = { "", "", " on (a)", " ignoring (b)", " on (a, b)", " on ()", " ignoring (le)" };
    static const char *const group[] = { "", "", " group_left", " group_right", " group_left (b)", " group_right (c)" };
    int which = (int)below(6);

    tsn_buf_putc(out, '(');
    if (which < 2) { /* with a scalar */
        bool left = one_in(3);

        left ? scalar(out, depth - 1) : vector(out, depth - 1);
        tsn_buf_printf(out, ") %s (", one_in(2) ? PICK(ops) : PICK(comparisons));
        left ? vector(out, depth - 1) : scalar(out, depth - 1);
    } else {
        vector(out, depth - 1);
        if (which == 2) {
            tsn_buf_printf(out, ") %s%s (", PICK(sets), PICK(on));
        } else {
            const char *matching = PICK(on);

            tsn_buf_printf(out, ") %s%s%s (", one_in(2) ? PICK(ops) : PICK(comparisons), matching,
                           *matching ? PICK(group) : "");
        }
        vector(out, depth - 1);
    }
    tsn_buf_putc(out, ')');
}

static void call(struct tsn_buf *out, int depth)
{
    static const char *const functions[] = { "abs", "ceil", "-", "sgn", "absent", "sort", "sort_desc", "timestamp", "exp",
                                             "hour", "+" };
    int which = (int)below(8);

    if (which < 2) {
        tsn_buf_printf(out, "histogram_quantile(0.%d, ", (int)below(100));
        one_in(2) ? tsn_buf_puts(out, "sum by (a, le) (rate(h_bucket[5m]))") : vector(out, depth - 1);
        tsn_buf_putc(out, ')');
    } else if (which == 2) {
        tsn_buf_puts(out, "label_replace(");
        vector(out, depth - 1);
        tsn_buf_puts(out, one_in(2) ? ", \"c\", \"$1\", \"a\", \"(.*)\")" : ", \"a\", \"\", \"b\", \"x\")");
    } else if (which == 3) {
        tsn_buf_puts(out, "label_join(");
        vector(out, depth - 1);
        tsn_buf_puts(out, one_in(2) ? ", \"c\", \"-\", \"a\", \"b\")" : ", \"a\", \"\", \"b\")");
    } else if (which == 4) {
        tsn_buf_puts(out, one_in(2) ? "clamp_max(" : "round(");
        vector(out, depth - 1);
        tsn_buf_puts(out, ", ");
        scalar(out, depth - 1);
        tsn_buf_putc(out, ')');
    } else if (which == 5) {
        tsn_buf_puts(out, "vector(");
        scalar(out, depth - 1);
        tsn_buf_putc(out, ')');
    } else {
        tsn_buf_printf(out, "%s(", PICK(functions));
        vector(out, depth - 1);
        tsn_buf_putc(out, ')');
    }
}

static void vector(struct tsn_buf *out, int depth)
{
    int which = depth > 0 ? (int)below(10) : (int)below(3);

    if (which == 0)
        selector(out, NULL);
    else if (which < 3)
        range_call(out, depth);
    else if (which < 6)
        aggregation(out, depth);
    else if (which < 8)
        binary(out, depth);
    else
        call(out, depth);
}

/* Most of what chance writes parses; the rest is thrown away. */
static struct tsn_query *random_query(void)
{
    for (;;) {
        struct tsn_buf text = TSN_BUF_INIT;
        struct tsn_parse_error error;
        struct tsn_query *query;

        vector(&text, (int)below(4));
        query = tsn_query_parse(tsn_buf_str(&text), text.len, &error);
        tsn_buf_release(&text);
        if (query)
            return query;
    }
}

/* ---- series ------------------------------------------------------------------------------- */

enum { MAX_SERIES = 48, QUERIES = 5, STEPS = 24, STEP_MS = 15000 };

struct source {
    struct tsn_labels *labels;
    struct tsn_samples samples;
    bool counter, wild;
    double last;
    struct tsn_plan_series *in[2]; /* handles in both graphs */
};
struct world {
    struct source *series[MAX_SERIES]; /* in canonical order */
    size_t count;
    int64_t now_ms, floor_ms, past_ms;
    struct tsn_eval_options options;
    struct tsn_query *queries[QUERIES];
    struct tsn_plans *plans[2];
    struct tsn_plan *plan[2][QUERIES];
};

static void world_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                         struct tsn_series_list *out)
{
    const struct world *w = self;

    from_ms = from_ms > w->floor_ms ? from_ms : w->floor_ms;
    for (size_t i = 0; i < w->count; i++) {
        const struct source *s = w->series[i];
        size_t first = 0, end;

        if (!tsn_matchers_match(matchers, count, s->labels))
            continue;
        while (first < s->samples.len && s->samples.items[first].ts_ms <= from_ms)
            first++;
        for (end = first; end < s->samples.len && s->samples.items[end].ts_ms <= to_ms;)
            end++;
        if (first < end)
            tsn_vec_push(out, ((struct tsn_series_view){ s->labels, s->samples.items + first, end - first }));
    }
}

static struct tsn_labels *random_labels(void)
{
    static const char *const names[] = { "m", "m", "n", "n", "req_total", "h_bucket", "h_bucket", "h_bucket" };
    static const char *const as[] = { "1", "2", "3", "" }, *const bs[] = { "x", "y", "z", "" };
    static const char *const bounds[] = { "0.1", "0.5", "1", "1.0", "+Inf", "+Inf", "bad" };
    const char *name = PICK(names);

    if (one_in(60))
        return tsn_labels_of("__name__", name, "__unit__", "s", "a", PICK(as), NULL);
    if (one_in(10))
        return tsn_labels_of("__name__", name, "A", PICK(as), "b", PICK(bs), NULL);
    return tsn_labels_of("__name__", name, "a", PICK(as), "b", PICK(bs), "le",
                         strcmp(name, "h_bucket") == 0 ? PICK(bounds) : "", NULL);
}

static double next_value(struct source *s)
{
    static const double strange[] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1e300, -1e300, 5e-324 };

    if (one_in(s->wild ? 4 : 25) && !s->counter)
        return PICK(strange);
    if (s->counter)
        s->last = one_in(15) ? (double)below(3) : s->last + (double)below(20) * (one_in(3) ? 0.1 : 1);
    else
        s->last = (double)(below(2000) - 1000) / (one_in(2) ? 7 : 1);
    return s->last;
}

static void append(struct world *w, struct source *s)
{
    int64_t last_ms = s->samples.len ? s->samples.items[s->samples.len - 1].ts_ms : w->now_ms - w->past_ms;

    while (last_ms < w->now_ms + 20000) {
        struct tsn_sample sample = { last_ms += one_in(10) ? 1 + below(90000) : 15000, 0 };

        sample.value = one_in(30) ? tsn_stale() : next_value(s);
        tsn_samples_push(&s->samples, sample);
        if (one_in(w->past_ms > 1000000 ? 300 : 8))
            break;
    }
}

/* Where it belongs by time; of one time the new value stays. */
static void insert_late(struct world *w, struct source *s)
{
    struct tsn_sample sample = { w->now_ms - below(600000), next_value(s) };
    size_t at = s->samples.len;

    s->samples.edits++;
    while (at && s->samples.items[at - 1].ts_ms >= sample.ts_ms)
        at--;
    if (at < s->samples.len && s->samples.items[at].ts_ms == sample.ts_ms) {
        s->samples.items[at].value = sample.value;
        return;
    }
    tsn_samples_push(&s->samples, sample);
    memmove(s->samples.items + at + 1, s->samples.items + at, (s->samples.len - 1 - at) * sizeof sample);
    s->samples.items[at] = sample;
}

static void trim(struct source *s)
{
    size_t count = (size_t)below((int64_t)s->samples.len + 1);

    memmove(s->samples.items, s->samples.items + count, (s->samples.len - count) * sizeof *s->samples.items);
    s->samples.len -= count;
    s->samples.trimmed += (uint32_t)count;
}

static void come(struct world *w)
{
    struct source *s;
    struct tsn_labels *labels = random_labels();
    size_t at = w->count;

    for (size_t i = 0; i < w->count; i++)
        if (tsn_labels_equal(w->series[i]->labels, labels)) {
            tsn_labels_unref(labels);
            return;
        }
    while (at && tsn_labels_compare(w->series[at - 1]->labels, labels) > 0)
        at--;
    memmove(w->series + at + 1, w->series + at, (w->count++ - at) * sizeof w->series[0]);
    s = w->series[at] = tsn_calloc(1, sizeof *s);
    s->labels = labels;
    s->counter = one_in(2);
    s->wild = one_in(4);
    append(w, s);
    for (int p = 0; p < 2; p++)
        if (w->plans[p])
            s->in[p] = tsn_plans_series_add(w->plans[p], labels, &s->samples, 1 << 3);
}

static void go(struct world *w, size_t i)
{
    struct source *s = w->series[i];

    for (int p = 0; p < 2; p++)
        if (w->plans[p])
            tsn_plans_series_remove(w->plans[p], s->in[p]);
    tsn_labels_unref(s->labels);
    tsn_vec_release(&s->samples);
    tsn_free(s);
    w->count--;
    memmove(w->series + i, w->series + i + 1, (w->count - i) * sizeof w->series[0]);
}

static void build(struct world *w, int p)
{
    tsn_plans_free(&w->plans[p]);
    w->plans[p] = tsn_plans_new(&w->options);
    for (size_t i = 0; i < w->count; i++)
        w->series[i]->in[p] = tsn_plans_series_add(w->plans[p], w->series[i]->labels, &w->series[i]->samples, 1 << 3);
    for (size_t q = 0; q < QUERIES; q++)
        w->plan[p][q] = tsn_plans_add(w->plans[p], w->queries[q], 3, 0);
}

static void live(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (!one_in(5))
            append(w, w->series[i]);
        if (one_in(12))
            insert_late(w, w->series[i]);
        if (one_in(20))
            trim(w->series[i]);
    }
    for (int64_t n = below(4); n > 0 && w->count < MAX_SERIES; n--)
        come(w);
    for (int64_t n = one_in(2) ? below(3) : 0; n > 0 && w->count; n--)
        go(w, (size_t)below((int64_t)w->count));
    for (int p = 0; p < 2; p++)
        if (w->plans[p])
            tsn_plans_changed(w->plans[p]);
}

/* ---- comparing ---------------------------------------------------------------------------- */

static bool equal(const struct tsn_result *a, const struct tsn_result *b)
{
    if (a->type != b->type || tsn_double_bits(a->scalar) != tsn_double_bits(b->scalar) ||
        a->vector_len != b->vector_len)
        return false;
    for (size_t i = 0; i < a->vector_len; i++)
        if (!tsn_labels_equal(a->vector[i].labels, b->vector[i].labels) || a->vector[i].ts_ms != b->vector[i].ts_ms ||
            tsn_double_bits(a->vector[i].value) != tsn_double_bits(b->vector[i].value))
            return false;
    return true;
}

static void show(const char *who, const struct tsn_result *r, enum tsn_err err, const struct tsn_error *error)
{
    print_error("%s: %s\n", who, err ? error->message : "");
    for (size_t i = 0; i < r->vector_len && !err; i++) {
        struct tsn_buf text = TSN_BUF_INIT;

        tsn_labels_format(&text, r->vector[i].labels);
        print_error("  %s %.17g %llx\n", tsn_buf_str(&text), r->vector[i].value,
                    (unsigned long long)tsn_double_bits(r->vector[i].value));
        tsn_buf_release(&text);
    }
}

static uint64_t compared, failures_agreed, elements, streaming;

static void compare(struct world *w, int p, size_t q, int64_t at_ms, uint64_t seed)
{
    struct tsn_storage storage = { world_select, w };
    struct tsn_result naive, plan;
    struct tsn_error naive_error = { 0 }, plan_error = { 0 };
    enum tsn_err naive_err, plan_err;

    tsn_result_init(&naive);
    tsn_result_init(&plan);
    naive_err = tsn_eval_instant(w->queries[q], &storage, at_ms, &w->options, &naive, &naive_error);
    plan_err = tsn_plan_step(w->plan[p][q], &storage, at_ms, w->floor_ms, &plan, &plan_error);
    if (naive_err != plan_err || strcmp(naive_error.message, plan_error.message) != 0 ||
        (!naive_err && !equal(&naive, &plan))) {
        show("naive", &naive, naive_err, &naive_error);
        show("plan", &plan, plan_err, &plan_error);
        fail_msg("SEED=%llu time %lld graph %d: %s", (unsigned long long)seed, (long long)at_ms, p, w->queries[q]->text);
    }
    compared++;
    failures_agreed += naive_err != TSN_OK;
    elements += naive.vector_len;
    streaming += tsn_plan_is_streaming(w->plan[p][q]);
    tsn_result_release(&naive);
    tsn_result_release(&plan);
}

static void compare_all(struct world *w, int64_t at_ms, uint64_t seed)
{
    for (int p = 0; p < 2; p++)
        for (size_t q = 0; q < QUERIES && w->plans[p]; q++)
            compare(w, p, q, at_ms, seed);
}

/* A sample written within a step is seen by what is evaluated after it. */
static void write_in_step(struct world *w, int64_t at_ms)
{
    struct source *s;
    struct tsn_sample sample = { at_ms, (double)below(100) };

    if (!w->count)
        return;
    s = w->series[below((int64_t)w->count)];
    if (s->samples.len && s->samples.items[s->samples.len - 1].ts_ms >= at_ms)
        return;
    tsn_samples_push(&s->samples, sample);
    for (int p = 0; p < 2; p++)
        if (w->plans[p])
            tsn_plans_touch(w->plans[p], s->in[p]);
}

static void run_world(uint64_t seed)
{
    struct world w = { .now_ms = 1000000 + below(1000000), .floor_ms = TSN_TIME_NONE,
                       .past_ms = one_in(3) ? 3000000 : 400000, /* windows of hundreds of samples too */
                       .options.max_samples = one_in(8) ? (size_t)(1 + below(500)) : 0 };

    for (size_t q = 0; q < QUERIES; q++)
        w.queries[q] = random_query();
    for (int64_t n = below(40); n > 0; n--)
        come(&w);
    build(&w, 0);
    for (int step = 0; step < STEPS; step++) {
        int64_t at_ms = w.now_ms - w.now_ms % STEP_MS;

        if (one_in(10))
            build(&w, 1);
        if (one_in(30))
            w.floor_ms = w.now_ms - below(600000);
        compare_all(&w, at_ms, seed);
        if (one_in(4)) {
            write_in_step(&w, at_ms);
            compare_all(&w, at_ms, seed);
        }
        if (one_in(20))
            compare_all(&w, at_ms - below(300000), seed);
        w.now_ms += one_in(12) ? below(900000) : STEP_MS;
        live(&w);
    }
    for (int p = 0; p < 2; p++)
        tsn_plans_free(&w.plans[p]);
    while (w.count)
        go(&w, 0);
    for (size_t q = 0; q < QUERIES; q++)
        tsn_query_free(&w.queries[q]);
}

static void plans_equal_naive(void **state)
{
    const char *seed_text = getenv("SEED"), *seeds_text = getenv("SEEDS");
    uint64_t first = seed_text ? strtoull(seed_text, NULL, 10) : 1, seeds = seeds_text ? strtoull(seeds_text, NULL, 10) : 4000;

    TSN_UNUSED(state);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        rng_state = seed * UINT64_C(0x2545f4914f6cdd1d);
        run_world(seed);
    }
    print_message("%llu comparisons, %llu of plans without a naive part, %llu elements, %llu errors alike\n",
                  (unsigned long long)compared, (unsigned long long)streaming, (unsigned long long)elements,
                  (unsigned long long)failures_agreed);
    assert_true(elements > compared / 8); /* it is not about nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(plans_equal_naive) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
