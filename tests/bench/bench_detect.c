/*
 * bench_detect: what one partition of DETECT costs per sample, step and series; one thread.
 *
 * Method: 50,000 series of 50 services, gauges and counters as scraped every 15 s or deltas of the same
 * rhythm, one rule of two windows of 5 m by 15 s steps. Batches are made beforehand and not timed. CPU
 * time of applying batches (steps included) by plans; the reference does the same by the naive evaluator
 * for a few steps. Memory is what malloc gave out after 20 minutes of event time, per series.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tocsin/detect.h"

#define T0 INT64_C(1700000100000)
enum { SERIES = 50000, STEP_MS = 15000, ROUNDS = 80, NAIVE_ROUNDS = 24, TIMED_FROM = 21 };

static const char rules[] =
    "groups:\n"
    "- name: g\n"
    "  interval: 15s\n"
    "  rules:\n"
    "  - {alert: HighErrors, for: 1m, expr: 'sum by (service) (rate(http_requests_total{status=\"500\"}[5m]))"
    " / sum by (service) (rate(http_requests_total[5m])) > 0.05'}\n";

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct tsn_labels *labels_of(uint32_t i)
{
    char service[24], instance[40];

    snprintf(service, sizeof service, "svc-%u", i % 50);
    snprintf(instance, sizeof instance, "10.0.%u.%u:8080", i / 2500, i / 50 % 50);
    return tsn_labels_of("__name__", "http_requests_total", "service", service, "instance", instance, "method",
                         i / 50 % 2 ? "GET" : "POST", "status", i % 10 ? "200" : "500", NULL);
}

/* What one writer sends in one round; names are announced at the first of each minute of wall time. */
static struct tsn_batch *make_batch(int round, enum tsn_sample_kind kind)
{
    struct tsn_batch *b = tsn_calloc(1, sizeof *b);
    int64_t ts_ms = T0 + (int64_t)round * STEP_MS;

    b->format = TSN_FORMAT_VERSION;
    b->writer = 1;
    b->seq = round + 1;
    b->wall_ms = ts_ms;
    b->inputs = tsn_calloc(1, sizeof *b->inputs);
    b->inputs[0] = (struct tsn_batch_input){ .topic = tsn_strdup("m"), .watermark_ms = ts_ms };
    b->input_count = 1;
    if (!round) {
        b->decls = tsn_calloc(1, sizeof *b->decls);
        b->decls[0] = (struct tsn_input_decl){ .topic = tsn_strdup("m"), .partition_count = 1,
                                               .type = tsn_strdup("metrics"), .any_name = true };
        b->decl_count = 1;
    }
    if (!round || ts_ms / 60000 != (ts_ms - STEP_MS) / 60000) {
        b->series = tsn_calloc(SERIES, sizeof *b->series);
        for (uint32_t i = 0; i < SERIES; i++)
            b->series[b->series_count++] = (struct tsn_batch_series){ i, kind, labels_of(i) };
    }
    if (kind == TSN_DELTA) {
        b->deltas = tsn_calloc(SERIES, sizeof *b->deltas);
        for (uint32_t i = 0; i < SERIES; i++)
            b->deltas[b->delta_count++] = (struct tsn_batch_delta){ i, ts_ms - 1000, (tsn_fixed)(i % 7 + 1) << 64 };
    } else {
        b->points = tsn_calloc(SERIES, sizeof *b->points);
        for (uint32_t i = 0; i < SERIES; i++)
            b->points[b->point_count++] = (struct tsn_batch_point){ i, ts_ms, (double)round * (i % 7) };
    }
    return b;
}

struct figures {
    double ns_per_sample, bytes_per_series;
    size_t transitions;
};

static struct figures run(enum tsn_sample_kind kind, bool naive, int rounds)
{
    struct tsn_detect_options options = { .partition_count = 1, .naive = naive };
    size_t before = mallinfo2().uordblks;
    struct tsn_detect *d = tsn_detect_new(&options);
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options load = { STEP_MS };
    struct tsn_rule_set *set;
    struct tsn_detect_output out = { 0 };
    struct figures f = { 0 };
    struct tsn_rule_errors errors = { 0 };

    set = tsn_rule_set_load(&source, 1, &load, &errors);
    TSN_ASSERT(set);
    tsn_detect_add_rule_set(d, 0, set);
    for (int r = 0; r < rounds; r++) {
        struct tsn_batch *b = make_batch(r, kind);
        double start_ns = now_ns();

        tsn_detect_apply(d, b, r, &out);
        if (r >= TIMED_FROM)
            f.ns_per_sample += now_ns() - start_ns;
        f.transitions += out.transitions.len;
        tsn_detect_output_reset(&out);
        if (r % 4 == 0)
            tsn_detect_checkpoint(d, r + 1, &out);
        tsn_detect_output_reset(&out);
        tsn_batch_release(b);
        tsn_free(b);
    }
    tsn_detect_output_release(&out);
    f.ns_per_sample /= (double)(rounds - TIMED_FROM) * SERIES;
    f.bytes_per_series = (double)(mallinfo2().uordblks - before) / SERIES;
    tsn_detect_free(&d);
    return f;
}

static void report(const char *name, enum tsn_sample_kind kind)
{
    struct figures plans = run(kind, false, ROUNDS), naive = run(kind, true, NAIVE_ROUNDS);

    printf("BENCH name=detect_%s value=%.1f unit=ns/sample ref=%.1f ratio=%.1f floor= aim=\n", name, plans.ns_per_sample,
           naive.ns_per_sample, naive.ns_per_sample / plans.ns_per_sample);
    printf("BENCH name=detect_%s_memory value=%.0f unit=B/series ref= ratio= floor=1024 aim=400\n", name,
           plans.bytes_per_series);
    fflush(stdout);
}

int main(void)
{
    report("scraped", TSN_COUNTER);
    report("deltas", TSN_DELTA);
    return 0;
}
