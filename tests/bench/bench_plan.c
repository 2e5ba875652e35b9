/*
 * bench_plan: what a step of a rule costs per series, plan against naive evaluator over the same
 * samples in the same process, appending of samples included; one thread.
 *
 * Method: series with a sample every 15 s, 5 m windows, a step every 15 s. First the windows fill, then
 * steps are timed by CPU time: plan 40 (best of five runs of eight), naive a few. Both answers are
 * compared at the end. Then cost by window length, and bytes per series of samples and plan.
 * Figures: ns per series (or bucket, or ms per step) and step; ratio: naive / plan.
 *
 * Usage: bench_plan [--loops | --windows]
 *   --loops     each case warm, then its steps once in hot_steps(), "NAME OPERATIONS" a line: for plan_counts.py
 *   --windows   of these the windows of 30 m and 7 d alone
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tocsin/plan.h"

enum { STEP_MS = 15000, RUNS = 5, STEPS_PER_RUN = 8 };
enum { TIMED, COUNTED, COUNTED_WINDOWS };
static int mode;
#define T0 INT64_C(1700000100000)

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct source {
    struct tsn_labels *labels;
    struct tsn_samples samples;
    double total;
};
struct bench {
    struct source *series; /* made in canonical order of labels */
    size_t count, rules, keep;
    int64_t now_ms;
    struct tsn_query **queries;
    struct tsn_plans *plans;
    struct tsn_plan **plan;
    size_t plan_bytes, sample_bytes;
};

static void select_all(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                       struct tsn_series_list *out)
{
    const struct bench *b = self;

    for (size_t i = 0; i < b->count; i++) {
        const struct source *s = &b->series[i];
        size_t first = 0, end = s->samples.len;

        if (!tsn_matchers_match(matchers, count, s->labels))
            continue;
        while (first < end && s->samples.items[first].ts_ms <= from_ms)
            first++;
        while (end > first && s->samples.items[end - 1].ts_ms > to_ms)
            end--;
        if (first < end)
            tsn_vec_push(out, ((struct tsn_series_view){ s->labels, s->samples.items + first, end - first }));
    }
}

static void append_all(struct bench *b)
{
    b->now_ms += STEP_MS;
    for (size_t i = 0; i < b->count; i++) {
        struct source *s = &b->series[i];
        struct tsn_sample sample = { b->now_ms, s->total += (double)(i % 7) };

        if (s->samples.len > b->keep + b->keep / 2) {
            size_t old = s->samples.len - b->keep;

            memmove(s->samples.items, s->samples.items + old, b->keep * sizeof sample);
            s->samples.len = b->keep;
            s->samples.trimmed += (uint32_t)old;
        }
        tsn_samples_push(&s->samples, sample);
    }
    tsn_plans_changed(b->plans);
}

static size_t plan_step(struct bench *b)
{
    struct tsn_storage storage = { select_all, b };
    size_t elements = 0;

    for (size_t r = 0; r < b->rules; r++) {
        struct tsn_result result;
        struct tsn_error error;

        tsn_result_init(&result);
        if (tsn_plan_step(b->plan[r], &storage, b->now_ms, TSN_TIME_NONE, &result, &error))
            printf("plan: %s\n", error.message);
        elements += result.vector_len;
        tsn_result_release(&result);
    }
    return elements;
}

static size_t naive_step(struct bench *b)
{
    struct tsn_storage storage = { select_all, b };
    size_t elements = 0;

    for (size_t r = 0; r < b->rules; r++) {
        struct tsn_result result;
        struct tsn_error error;

        tsn_result_init(&result);
        if (tsn_eval_instant(b->queries[r], &storage, b->now_ms, NULL, &result, &error))
            printf("naive: %s\n", error.message);
        elements += result.vector_len;
        tsn_result_release(&result);
    }
    return elements;
}

/* Bytes that malloc gave out. */
static size_t in_use(void)
{
    return mallinfo2().uordblks;
}

static struct bench *new_bench(size_t count, size_t keep)
{
    struct bench *b = tsn_calloc(1, sizeof *b);

    b->count = count;
    b->keep = keep;
    b->now_ms = T0;
    b->series = tsn_calloc(count, sizeof *b->series);
    b->plans = tsn_plans_new(NULL);
    return b;
}

static void start(struct bench *b, size_t rules, size_t windows)
{
    size_t before = in_use();

    b->rules = rules;
    b->plan = tsn_calloc(rules, sizeof(*b->plan));
    for (size_t i = 0; i < b->count; i++)
        (void)tsn_plans_series_add(b->plans, b->series[i].labels, &b->series[i].samples, 1);
    for (size_t r = 0; r < rules; r++)
        b->plan[r] = tsn_plans_add(b->plans, b->queries[r], 0, 0);
    b->plan_bytes = in_use() - before;
    before = in_use();
    for (size_t i = 0; i < windows; i++)
        append_all(b);
    b->sample_bytes = in_use() - before;
    before = in_use();
    (void)plan_step(b);
    b->plan_bytes += in_use() - before;
}

static void one_query(struct bench *b, const char *text)
{
    struct tsn_parse_error error;

    b->queries = tsn_reallocarray(b->queries, b->rules + 1, sizeof(*b->queries));
    b->queries[b->rules] = tsn_query_parse(text, strlen(text), &error);
    TSN_ASSERT(b->queries[b->rules]);
    b->rules++;
}

static void free_bench(struct bench *b)
{
    tsn_plans_free(&b->plans);
    for (size_t i = 0; i < b->count; i++) {
        tsn_labels_unref(b->series[i].labels);
        tsn_vec_release(&b->series[i].samples);
    }
    for (size_t r = 0; r < b->rules; r++)
        tsn_query_free(&b->queries[r]);
    tsn_free(b->queries);
    tsn_free(b->plan);
    tsn_free(b->series);
    tsn_free(b);
}

enum { LOOP = 64 }; /* steps */

__attribute__((noinline)) void hot_steps(struct bench *b);
__attribute__((noinline)) void hot_steps(struct bench *b)
{
    for (int i = 0; i < LOOP; i++) {
        append_all(b);
        (void)plan_step(b);
    }
}

/* True in the modes that count instructions. */
static bool counted(struct bench *b, const char *name, size_t per)
{
    if (mode == TIMED)
        return false;
    append_all(b);
    (void)plan_step(b);
    hot_steps(b);
    printf("%s %zu\n", name, LOOP * per);
    fflush(stdout);
    return true;
}

/* ns a step, appending included. */
static double time_plan(struct bench *b, size_t *elements)
{
    double best = 0;

    for (int run = 0; run < RUNS; run++) {
        double start_ns = now_ns(), took;

        for (int i = 0; i < STEPS_PER_RUN; i++) {
            append_all(b);
            *elements = plan_step(b);
        }
        took = (now_ns() - start_ns) / STEPS_PER_RUN;
        best = !run || took < best ? took : best;
    }
    return best;
}

static double time_naive(struct bench *b, size_t *elements)
{
    double best = 0;

    for (int run = 0; run < 2; run++) {
        double start_ns = now_ns(), took;

        append_all(b);
        *elements = naive_step(b);
        took = now_ns() - start_ns;
        best = !run || took < best ? took : best;
    }
    return best;
}

static void report(struct bench *b, const char *name, double per, const char *unit, const char *floor)
{
    size_t found_plan = 0, found_naive = 0, held;
    double plan, naive;

    if (counted(b, name, (size_t)per))
        return;
    plan = time_plan(b, &found_plan);
    naive = time_naive(b, &found_naive);
    if (plan_step(b) != found_naive)
        printf("%s: plan and naive evaluator differ\n", name);
    held = in_use();
    append_all(b); /* once more, with room for the sample: nothing may stay behind */
    (void)plan_step(b);
    printf("BENCH name=%s value=%.2f unit=%s ref=%.2f ratio=%.1f floor=%s aim=\n", name, plan / per, unit, naive / per,
           naive / plan, floor);
    printf("BENCH name=%s_memory value=%.0f unit=B/series ref=%.0f ratio=%.2f floor=1024 aim=400\n", name,
           (double)(b->plan_bytes + b->sample_bytes) / (double)b->count, (double)b->sample_bytes / (double)b->count,
           (double)(b->plan_bytes + b->sample_bytes) / (double)b->sample_bytes);
    if (in_use() > held + b->count * sizeof(struct tsn_sample) * 32)
        printf("%s: a step without churn kept memory\n", name);
    fflush(stdout);
}

/* Requests by service, instance and code; made in canonical order. */
static struct bench *requests(size_t count)
{
    static const char *const codes[] = { "200", "404", "500", "503" };
    struct bench *b = new_bench(count, 20);

    for (size_t i = 0; i < count; i++) {
        char service[24], instance[24];

        snprintf(service, sizeof service, "service-%05zu", i % 20);
        snprintf(instance, sizeof instance, "i-%06zu", i / 4);
        b->series[i].labels = tsn_labels_of("__name__", "http_requests_total", "service", service, "instance", instance,
                                            "code", codes[i % 4], NULL);
    }
    return b;
}

static int by_labels(const void *a, const void *b)
{
    return tsn_labels_compare(((const struct source *)a)->labels, ((const struct source *)b)->labels);
}

static void error_ratio(size_t count)
{
    struct bench *b = requests(count);
    char name[64];

    qsort(b->series, b->count, sizeof *b->series, by_labels);
    one_query(b, "sum by (service) (rate(http_requests_total{code=~\"5..\"}[5m]))"
                 " / sum by (service) (rate(http_requests_total[5m])) > 0.05");
    start(b, b->rules, 22);
    snprintf(name, sizeof name, "plan_error_ratio_%zu", count);
    report(b, name, (double)count, "ns/series", "40");
    free_bench(b);
}

static void sum_rate(size_t count)
{
    struct bench *b = requests(count);
    char name[64];

    qsort(b->series, b->count, sizeof *b->series, by_labels);
    one_query(b, "sum by (service) (rate(http_requests_total[5m]))");
    start(b, b->rules, 22);
    snprintf(name, sizeof name, "plan_sum_rate_%zu", count);
    report(b, name, (double)count, "ns/series", "20");
    free_bench(b);
}

static void histograms(void)
{
    enum { HISTOGRAMS = 1000, BUCKETS = 12 };
    static const char *const bounds[BUCKETS] = { "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
                                                 "10", "+Inf" };
    struct bench *b = new_bench((size_t)HISTOGRAMS * BUCKETS, 20);

    for (size_t i = 0; i < b->count; i++) {
        char instance[24];

        snprintf(instance, sizeof instance, "i-%06zu", i / BUCKETS);
        b->series[i].labels = tsn_labels_of("__name__", "latency_bucket", "instance", instance, "le", bounds[i % BUCKETS],
                                            NULL);
    }
    qsort(b->series, b->count, sizeof *b->series, by_labels);
    one_query(b, "histogram_quantile(0.95, rate(latency_bucket[5m])) > 1");
    start(b, b->rules, 22);
    report(b, "plan_p95", (double)b->count, "ns/bucket", "30");
    free_bench(b);
}

static void many_rules(void)
{
    enum { RULES = 1000, EACH = 100 };
    struct bench *b = new_bench((size_t)RULES * EACH, 20);

    for (size_t i = 0; i < b->count; i++) {
        char name[24], service[24], instance[24];

        snprintf(name, sizeof name, "m_%04zu", i / EACH);
        snprintf(service, sizeof service, "s-%zu", i % 5);
        snprintf(instance, sizeof instance, "i-%03zu", i % EACH);
        b->series[i].labels = tsn_labels_of("__name__", name, "service", service, "instance", instance, NULL);
    }
    for (size_t r = 0; r < RULES; r++) {
        char text[96];

        snprintf(text, sizeof text, "sum by (service) (rate(m_%04zu[5m])) > %zu", r, r % 17);
        one_query(b, text);
    }
    start(b, RULES, 22);
    if (!counted(b, "plan_1000_rules", 1)) {
        double before, took;
        size_t elements = 0;

        (void)time_plan(b, &elements);
        append_all(b);
        before = now_ns();
        (void)plan_step(b);
        took = now_ns() - before;
        printf("BENCH name=plan_1000_rules value=%.2f unit=ms/step ref= ratio= floor=10 aim=\n", took / 1e6);
    }
    free_bench(b);
}

/* One function over windows of many lengths: ns per series and step. As many series in each, so that what
 * a step costs beside them weighs alike. */
static void by_window(const char *function)
{
    static const struct {
        const char *text;
        size_t samples;
    } windows[] = { { "1m", 4 }, { "5m", 20 }, { "30m", 120 }, { "2h", 480 }, { "12h", 2880 }, { "1d", 5760 }, { "7d", 40320 } };

    for (size_t w = 0; w < TSN_ARRAY_LEN(windows); w++) {
        struct bench *b;
        char text[96], instance[24];
        size_t elements = 0;

        if (mode == COUNTED_WINDOWS && windows[w].samples != 120 && windows[w].samples != 40320)
            continue;
        b = new_bench(mode == TIMED ? 50 : 8, windows[w].samples);
        for (size_t i = 0; i < b->count; i++) {
            snprintf(instance, sizeof instance, "i-%06zu", i);
            b->series[i].labels = tsn_labels_of("__name__", "x", "instance", instance, NULL);
        }
        snprintf(text, sizeof text, "%s(x[%s])", function, windows[w].text);
        one_query(b, text);
        start(b, b->rules, windows[w].samples + 2);
        snprintf(text, sizeof text, "plan_%s_%s", function, windows[w].text);
        if (counted(b, text, b->count)) {
            free_bench(b);
            continue;
        }
        printf("BENCH name=plan_%s_%s value=%.1f unit=ns/series ref= ratio= floor= aim=\n", function, windows[w].text,
               time_plan(b, &elements) / (double)b->count);
        fflush(stdout);
        free_bench(b);
    }
}

int main(int argc, char **argv)
{
    static const char *const running[] = { "rate", "increase", "sum_over_time", "avg_over_time", "count_over_time",
                                           "min_over_time", "max_over_time" };

    mode = argc < 2 ? TIMED : strcmp(argv[1], "--windows") == 0 ? COUNTED_WINDOWS : COUNTED;
    if (mode != COUNTED_WINDOWS) {
        error_ratio(1000);
        error_ratio(10000);
        if (mode == TIMED)
            error_ratio(50000);
        sum_rate(10000);
        histograms();
        many_rules();
    }
    for (size_t i = 0; i < TSN_ARRAY_LEN(running); i++)
        by_window(running[i]);
    return 0;
}
