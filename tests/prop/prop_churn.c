/*
 * Goal: a step of the common plans allocates nothing while no series comes or goes; with series that come and go
 * it allocates the same few at every step, and the memory of those that went comes back: a million series born
 * and gone in an hour of event time, with the right answer at each step.
 * Method: every allocation is counted on its way to the C library (under a sanitizer by its hook); sums and
 * counts of the series alive are known in closed form; bytes in use late are those in use early.
 * SERIES=n in the environment sets how many are born (100,000; a release run of `make test` takes 1,000,000).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tocsin/plan.h"

enum { STEP_MS = 15000, T0 = 1500000000 };

/* ---- allocations are counted ---------------------------------------------------------------- */

static unsigned long allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                                     void (*on_free)(const volatile void *));
extern size_t __sanitizer_get_current_allocated_bytes(void);

static void count_allocation(const volatile void *ptr, size_t size)
{
    TSN_UNUSED(ptr);
    TSN_UNUSED(size);
    allocations++;
}
static void ignore_free(const volatile void *ptr)
{
    TSN_UNUSED(ptr);
}
static void count_allocations(void)
{
    assert_true(__sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free) > 0);
}
static size_t in_use(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

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
static void count_allocations(void) {}
static size_t in_use(void)
{
    return mallinfo2().uordblks;
}
#endif

/* ---- a world ------------------------------------------------------------------------------- */

struct source {
    struct tsn_labels *labels;
    struct tsn_samples samples;
    struct tsn_plan_series *in;
};
struct world {
    struct source *series;
    size_t count;
    struct tsn_plans *plans;
    struct tsn_query *queries[32];
    struct tsn_plan *plan[32];
    size_t query_count;
    struct tsn_result result; /* kept, as a caller that steps for ever keeps it */
    int64_t now_ms;
    double value;             /* of the only element of the last step; 0 if none */
};

/* Plans here have no naive part: the storage is never asked. */
static void nothing(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                    struct tsn_series_list *out)
{
    TSN_UNUSED(self);
    TSN_UNUSED(matchers);
    TSN_UNUSED(count);
    TSN_UNUSED(from_ms);
    TSN_UNUSED(to_ms);
    TSN_UNUSED(out);
    fail_msg("a plan asked the naive evaluator");
}

static void add_query(struct world *w, const char *text)
{
    struct tsn_parse_error error;
    size_t q = w->query_count++;

    assert_true(q < TSN_ARRAY_LEN(w->queries));
    w->queries[q] = tsn_query_parse(text, strlen(text), &error);
    if (!w->queries[q])
        fail_msg("%s: %s", text, error.message);
    w->plan[q] = tsn_plans_add(w->plans, w->queries[q], 0, 0);
    if (!tsn_plan_is_streaming(w->plan[q]))
        fail_msg("%s: no streaming form", text);
}

static size_t step(struct world *w, size_t q)
{
    struct tsn_storage storage = { nothing, w };
    struct tsn_error error;
    size_t count;

    if (tsn_plan_step(w->plan[q], &storage, w->now_ms, TSN_TIME_NONE, &w->result, &error))
        fail_msg("%s: %s", w->queries[q]->text, error.message);
    count = w->result.vector_len;
    w->value = count == 1 ? w->result.vector[0].value : 0;
    for (size_t i = 0; i < count; i++)
        tsn_labels_unref(w->result.vector[i].labels);
    w->result.vector_len = 0;
    return count;
}

static void born(struct world *w, struct source *s, struct tsn_labels *taken, size_t room)
{
    memset(s, 0, sizeof *s);
    s->labels = taken;
    tsn_samples_reserve(&s->samples, room);
    s->in = tsn_plans_series_add(w->plans, s->labels, &s->samples, 1);
}

static void gone(struct world *w, struct source *s)
{
    tsn_plans_series_remove(w->plans, s->in);
    tsn_labels_unref(s->labels);
    tsn_vec_release(&s->samples);
}

static void release(struct world *w)
{
    tsn_result_release(&w->result);
    tsn_plans_free(&w->plans);
    for (size_t q = 0; q < w->query_count; q++)
        tsn_query_free(&w->queries[q]);
    tsn_free(w->series);
}

/* ---- no churn, no allocation ---------------------------------------------------------------- */

static const char *const common[] = {
    "sum by (s) (rate(x{c=~\"5..\"}[5m])) / sum by (s) (rate(x[5m])) > 0.05",
    "sum by (s) (rate(x[5m]))",
    "histogram_quantile(0.95, sum by (s, le) (rate(x[5m]))) > 1",
    "avg_over_time(x[1h]) > 3 and on (s) max_over_time(x[2h]) > 0",
    "x > 1 unless on (s) min_over_time(x[30m]) > 5 or absent(y)",
    "rate(x[1m]) * on (s) group_left group by (s) (x)",
    "topk(3, sum by (i) (increase(x[10m])))",
    "quantile by (s) (0.9, x) + stddev by (s) (x)",
    "label_replace(changes(x[1h]), \"z\", \"$1\", \"s\", \"(.).*\")",
    "predict_linear(x[20m], 3600) < 0 or deriv(x[20m]) > bool 1",
    "max_over_time(sum by (s) (rate(x[1m]))[10m:1m]) > 0",
    "time() - timestamp(x) > 60",
    "count(x == 0) / count(x) > 0.5",
    "sum by (s) (sum_over_time(x[6h])) + on (s) group_right stddev_over_time(x[1h] offset 5m)",
    "irate(x[5m]) - delta(x[5m]) + last_over_time(x[5m])",
    "absent_over_time(y[5m]) or vector(1) or present_over_time(x[5m])",
};

static void nothing_is_allocated_without_churn(void **state)
{
    enum { SERIES = 48, WARM = 6 * 240 + 400, STEPS = 500 };
    static const char *const codes[] = { "200", "404", "500", "503" };
    struct world w = { .count = SERIES, .plans = tsn_plans_new(NULL), .now_ms = T0 };
    size_t elements = 0;

    TSN_UNUSED(state);
    w.series = tsn_calloc(SERIES, sizeof *w.series);
    for (size_t i = 0; i < TSN_ARRAY_LEN(common); i++)
        add_query(&w, common[i]);
    for (size_t i = 0; i < SERIES; i++) {
        char s[16], instance[16];

        snprintf(s, sizeof s, "s%zu", i % 4);
        snprintf(instance, sizeof instance, "i%zu", i / 4);
        born(&w, &w.series[i], tsn_labels_of("__name__", "x", "s", s, "i", instance, "c", codes[i % 4], "le",
                                             i % 3 ? "0.5" : "+Inf", NULL), WARM + STEPS);
    }
    for (int n = 0; n < WARM + STEPS; n++) {
        w.now_ms += STEP_MS;
        for (size_t i = 0; i < SERIES; i++)
            tsn_samples_push(&w.series[i].samples, ((struct tsn_sample){ w.now_ms, (double)((n * (int)(i + 1)) % 97) }));
        tsn_plans_changed(w.plans);
        for (size_t q = 0; q < w.query_count; q++) {
            unsigned long before = allocations;

            elements += step(&w, q);
            if (n >= WARM && allocations != before)
                fail_msg("step %d of %s: %lu allocations", n, w.queries[q]->text, allocations - before);
        }
    }
    assert_true(elements > WARM * SERIES); /* it is not about nothing */
    for (size_t i = 0; i < SERIES; i++)
        gone(&w, &w.series[i]);
    release(&w);
}

/* ---- churn ----------------------------------------------------------------------------------- */

/* Each series lives LIFE steps, one sample a step; its value is its number in its step's generation. */
enum { LIFE = 5, STEPS = 240 };

static struct tsn_labels *labels_of(size_t number)
{
    char pod[24], s[16];

    snprintf(pod, sizeof pod, "pod-%09zu", number);
    snprintf(s, sizeof s, "s%zu", number % 10);
    return tsn_labels_of("__name__", "x", "s", s, "pod", pod, NULL);
}

static void check_answers(struct world *w, size_t each, size_t generations)
{
    double alive = (double)(each * generations), each_sum = (double)each * (double)(each - 1) / 2;

    assert_int_equal(step(w, 0), 1);
    assert_true(w->value == alive);
    assert_int_equal(step(w, 1), 1);
    assert_true(w->value == each_sum * (double)generations);
    assert_int_equal(step(w, 2), generations > 1 ? 10 : 0); /* two samples and more make a rate */
    assert_int_equal(step(w, 3), 0);
}

static void a_million_come_and_go(void **state)
{
    const char *text = getenv("SERIES");
    size_t total = text ? (size_t)strtoull(text, NULL, 10) : 100000, each = total / STEPS;
    struct world w = { .count = each * LIFE, .plans = tsn_plans_new(NULL), .now_ms = T0 };
    unsigned long early = 0, late = 0;
    size_t at_first = 0, number = 0;

    TSN_UNUSED(state);
    w.series = tsn_calloc(w.count, sizeof *w.series);
    add_query(&w, "count(x)");
    add_query(&w, "sum(x)");
    add_query(&w, "sum by (s) (rate(x[5m])) >= 0");
    add_query(&w, "max_over_time(x[1h]) > 1e9 or x / on (pod) x < 0");
    for (size_t n = 0; n < STEPS; n++) {
        struct source *generation = w.series + n % LIFE * each;
        unsigned long before;

        w.now_ms += STEP_MS;
        for (size_t i = 0; i < each; i++) {
            if (n >= LIFE)
                gone(&w, &generation[i]);
            born(&w, &generation[i], labels_of(number++), LIFE);
        }
        for (size_t i = 0; i < (n < LIFE ? n + 1 : LIFE) * each; i++)
            tsn_samples_push(&w.series[i].samples, ((struct tsn_sample){ w.now_ms, (double)(i % each) }));
        tsn_plans_changed(w.plans);
        before = allocations;
        check_answers(&w, each, n < LIFE ? n + 1 : LIFE);
        early += n >= 40 && n < 60 ? allocations - before : 0;
        late += n >= STEPS - 20 ? allocations - before : 0;
        if (n == 60)
            at_first = in_use();
    }
    print_message("%zu series born and gone in %d s of event time; %lu allocations in 20 steps early, %lu late; %zu KiB in use early, %zu late\n",
                  number, STEPS * STEP_MS / 1000, early, late, at_first / 1024, in_use() / 1024);
    assert_true(late <= early + early / 10 + 100);
    assert_true(in_use() <= at_first + at_first / 10);
    for (size_t i = 0; i < w.count; i++)
        gone(&w, &w.series[i]);
    assert_int_equal(step(&w, 0), 0);
    assert_int_equal(tsn_plans_stats(w.plans).series, 0);
    assert_int_equal(tsn_plans_stats(w.plans).slots, 0);
    assert_true(in_use() < at_first / 4 * 3); /* arrays keep the room of the most that lived at once */
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_is_allocated_without_churn),
                                        cmocka_unit_test(a_million_come_and_go) };

    count_allocations();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
