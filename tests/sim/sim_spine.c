/*
 * Goal: whatever crashes, aborts, rebalances and restarts do to the processes, what comes out at the end of
 * the spine (inputs → samples → alerts → incidents) is what one undisturbed pass gives.
 * Method: a seed makes a quarter of an hour of events and a schedule of what the processes of a small
 * cluster do (sim.h, lib_actors.c). When all is drained, three comparisons:
 *   law        alerts = what a DETECT that was never disturbed makes of the samples that lie in the log
 *   reference  alerts = what the sequential rule evaluator makes of the events themselves
 *   incidents  published events = what a RESPOND that was never disturbed makes of the alerts
 *   counts     what was counted in the committed samples = the events, series by series
 * A third of the seeds switch rule sets on the way: the reference knows of no switch and sits out, the counts
 * too. In another third partitions count as idle after a second: what an idle partition still had in hand
 * when its owner died is then late for DETECT, as DESIGN §3 has it, and the reference sits out.
 *
 * Usage: sim_spine [--seed N] [--seeds N] [--broken NAME]. Without --broken each broken variant is tried too: it
 * counts as a failed test if no seed notices it.
 */
#include "../detect_world.h"
#include "sim_actors.h"

#undef T0

enum { BROKEN_SEEDS = 40, MAX_TURNS = 100000, SETTLE_MS = 30000, TAIL_MS = 400000 };

static const int64_t start_ms = INT64_C(1700000040000); /* a whole multiple of a minute */

static const char *const rules[2] = {
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.15', for: 30s, labels: {severity: critical}}]}\n"
    "- {name: gauges, interval: 30s, rules: [\n"
    "   {alert: Hot, expr: 'avg by (service) (avg_over_time(temperature[2m])) > 80', keep_firing_for: 1m,\n"
    "    labels: {severity: warning}}, {alert: Busy, expr: 'rate(requests_total[2m]) > 1.7'}]}\n"
    "- {name: logs, interval: 15s, rules: [\n"
    "   {alert: Logs, expr: 'sum by (service) (increase(log_messages_total{level=\"ERROR\"}[1m])) > 12'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[1m])) > 0.3', for: 15s},\n"
    "   {alert: Dead, expr: 'absent(up{service=\"vault\"})', for: 1m, labels: {severity: critical, service: vault}}]}\n",
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.1', for: 15s, labels: {severity: critical}},\n"
    "   {alert: Slow, expr: 'avg_over_time(svc:errors:rate1m[3m]) > 0.1'}]}\n"
    "- {name: gauges, interval: 15s, rules: [{alert: Hot, expr: 'avg by (service) (temperature) > 80'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[3m])) > 0.3', for: 15s},\n"
    "   {alert: Many, expr: 'count(ALERTS{alertname=\"Hot\",alertstate=\"firing\"}) > 1'}]}\n",
};

void sim_fail(struct sim_world *s, const char *fmt, ...)
{
    va_list args;

    if (s->failure[0])
        return;
    va_start(args, fmt);
    vsnprintf(s->failure, sizeof s->failure, fmt, args);
    va_end(args);
}

struct tsn_rule_set *sim_rules(struct sim_world *s, int which)
{
    TSN_UNUSED(s);
    return world_rules(rules[which]);
}

/* ---- a run -------------------------------------------------------------------------------- */

static void sink_point(void *arg, const char *series, int64_t ts_ms, double value)
{
    ref_point(arg, series, ts_ms, value);
}

static void sink_delta(void *arg, const char *series, int64_t ts_ms, double value)
{
    ref_delta(arg, series, ts_ms, value);
}

static void world_open(struct sim_world *s, uint64_t seed, enum sim_broken broken)
{
    static const char config[] = "kafka: { bootstrap.servers: \"sim:1\" }\n"
                                 "inputs:\n  - { topic: m, type: metrics }\n  - { topic: l, type: logs }\n"
                                 "ingest: { fill_job: false }\nrules: [ \"rules.yaml\" ]\n";
    struct tsn_error error;

    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->random = seed;
    s->now = start_ms;
    s->switch_ms = seed % 3 ? INT64_MAX : start_ms + 100000 + sim_below(&s->random, 300000);
    s->never_late = seed % 3 == 1;
    s->limit_ms = INT64_MAX;
    sim_cluster_init(&s->cluster, broken);
    if (tsn_config_parse(&s->config, "sim.yaml", config, sizeof config - 1, NULL, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    tsn_policy_init_default(&s->policy);
    for (int i = 0; i < 2; i++)
        s->sets[i] = sim_rules(s, i);
}

static void world_close(struct sim_world *s)
{
    for (int i = 0; i < SIM_WORKERS; i++) {
        for (size_t q = 0; q < s->workers[i].queue_len; q++)
            tsn_closed_batch_free(&s->workers[i].queue[q]);
        tsn_ingest_free(&s->workers[i].ingest);
    }
    for (int p = 0; p < SIM_PARTITIONS; p++) {
        sim_texts_clear(&s->owners[p].pending);
        tsn_detect_free(&s->owners[p].detect);
    }
    sim_responder_release(&s->responder);
    sim_cluster_release(&s->cluster);
    for (int i = 0; i < 2; i++)
        tsn_rule_set_free(&s->sets[i]);
    tsn_policy_release(&s->policy);
    tsn_config_release(&s->config);
}

/* How far event time has come on every partition of samples. */
static int64_t reached(const struct sim_world *s)
{
    int64_t least_ms = INT64_MAX;

    for (int p = 0; p < SIM_PARTITIONS; p++) {
        struct tsn_detect_stats stats;

        tsn_detect_get_stats(s->owners[p].detect, &stats);
        least_ms = stats.watermark_ms < least_ms ? stats.watermark_ms : least_ms;
    }
    return least_ms;
}

static void turn(struct sim_world *s)
{
    int64_t what = sim_below(&s->random, 1000);

    s->now += sim_inputs_done(s) ? sim_below(&s->random, 4000) : sim_below(&s->random, 340);
    if (what < 600)
        sim_worker_act(s, (int)sim_below(&s->random, SIM_WORKERS));
    else if (what < 850)
        sim_owner_act(s, (int32_t)sim_below(&s->random, SIM_PARTITIONS));
    else if (what < 980)
        sim_responder_act(s, &s->responder, true);
    else if (what < 987)
        sim_worker_start(s, (int)sim_below(&s->random, SIM_WORKERS));
    else if (what < 993)
        sim_owner_start(s, (int32_t)sim_below(&s->random, SIM_PARTITIONS));
    else
        sim_rebalance(s);
}

static void run(struct sim_world *s, int64_t end_ms)
{
    int turns = 0;

    for (int i = 0; i < SIM_SOURCES; i++)
        s->cluster.sources[i].owner = i % SIM_WORKERS;
    for (int i = 0; i < SIM_WORKERS; i++)
        sim_worker_start(s, i);
    for (int p = 0; p < SIM_PARTITIONS; p++)
        sim_owner_start(s, p);
    sim_responder_start(s, &s->responder);
    while ((!sim_inputs_done(s) || reached(s) < end_ms + TAIL_MS) && ++turns < MAX_TURNS && !s->failure[0])
        turn(s);
    if (turns == MAX_TURNS)
        sim_fail(s, "event time stands still at +%lld s", (long long)((reached(s) - start_ms) / 1000));
    while (!sim_owners_done(s) && !s->failure[0])
        for (int p = 0; p < SIM_PARTITIONS; p++)
            sim_owner_act(s, p);
    while (s->responder.next < s->cluster.alerts.len && !s->failure[0])
        sim_responder_act(s, &s->responder, true);
}

/* ---- comparisons -------------------------------------------------------------------------- */

static void check_law(struct sim_world *s, int32_t p)
{
    struct tsn_detect *d = sim_detect_new(s, p);
    struct sim_texts want = { 0 };
    struct tsn_detect_stats stats;
    size_t n = 0;

    for (size_t i = 0; i < s->cluster.samples[p].len; i++)
        if (!s->cluster.samples[p].items[i].aborted)
            sim_detect_apply(s, d, &s->cluster.samples[p].items[i], &want);
    for (size_t i = 0; i < s->cluster.alerts.len; i++) {
        const struct sim_record *r = &s->cluster.alerts.items[i];

        if (r->timestamp_ms != p)
            continue;
        if (n >= want.len || want.items[n].len != r->len || memcmp(want.items[n].data, r->bytes, r->len) != 0)
            sim_fail(s, "law: samples/%d, transition %zu: %.*s; undisturbed: %s", p, n, (int)r->len, r->bytes,
                     n < want.len ? tsn_buf_str(&want.items[n]) : "none");
        n++;
    }
    if (n < want.len)
        sim_fail(s, "law: samples/%d: %zu transitions, undisturbed %zu", p, n, want.len);
    tsn_detect_get_stats(d, &stats);
    s->limit_ms = stats.watermark_ms < s->limit_ms ? stats.watermark_ms : s->limit_ms;
    if ((s->never_late && (stats.late_moved || stats.late_dropped)) || stats.unknown_refs)
        sim_fail(s, "samples/%d: %llu deltas and %llu points late, %llu names unknown", p,
                 (unsigned long long)stats.late_moved, (unsigned long long)stats.late_dropped,
                 (unsigned long long)stats.unknown_refs);
    tsn_detect_get_stats(s->owners[p].detect, &stats);
    if (stats.unknown_refs || stats.refill_mismatches)
        sim_fail(s, "samples/%d, last owner: %llu names unknown, %llu refills that missed the checkpoint", p,
                 (unsigned long long)stats.unknown_refs, (unsigned long long)stats.refill_mismatches);
    sim_texts_clear(&want);
    tsn_detect_free(&d);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines with a step in [from_s, to_s], sorted: units step at their own pace. */
static void settle(struct tsn_buf *text, int64_t from_s, int64_t to_s)
{
    TSN_VEC(char *) lines = { 0 };
    struct tsn_buf sorted = TSN_BUF_INIT;
    char *all = tsn_buf_take(text, NULL), *rest = all, *line;

    while (rest && (line = strsep(&rest, "\n")) != NULL) {
        int64_t step_s = *line ? strtoll(line, NULL, 10) : INT64_MIN;

        if (step_s >= from_s && step_s <= to_s)
            tsn_vec_push(&lines, line);
    }
    if (lines.len)
        qsort(lines.items, lines.len, sizeof *lines.items, by_text);
    for (size_t i = 0; i < lines.len; i++)
        tsn_buf_printf(&sorted, "%s\n", lines.items[i]);
    tsn_vec_release(&lines);
    tsn_free(all);
    *text = sorted;
}

static void first_difference(struct sim_world *s, const char *got, const char *want)
{
    while (*got && *got == *want)
        got++, want++;
    sim_fail(s, "reference: alerts go on \"%.150s\", reference \"%.150s\"", got, want);
}

static void check_reference(struct sim_world *s, struct reference *ref)
{
    struct tsn_buf lines = TSN_BUF_INIT;
    int64_t limit_ms = s->limit_ms;

    for (size_t i = 0; i < s->cluster.alerts.len; i++) {
        struct tsn_transition t;
        struct tsn_error error;

        if (tsn_codec_transition_decode(s->cluster.alerts.items[i].bytes, s->cluster.alerts.items[i].len,
                                        TSN_FORM_JSON, &t, &error)) {
            sim_fail(s, "an alert does not decode: %s", error.message);
            break;
        }
        put_line(&lines, t.step_ms, t.rule, t.was, t.state, t.labels, t.annotations, t.value, t.active_at_ms);
        tsn_transition_release(&t);
    }
    reference_run(ref, s->sets[0], start_ms, limit_ms);
    settle(&lines, SETTLE_MS / 1000, (limit_ms - start_ms) / 1000);
    settle(&ref->lines, SETTLE_MS / 1000, (limit_ms - start_ms) / 1000);
    if (strcmp(tsn_buf_str(&lines), tsn_buf_str(&ref->lines)) != 0)
        first_difference(s, tsn_buf_str(&lines), tsn_buf_str(&ref->lines));
    if (!lines.len)
        sim_fail(s, "nothing fired: the seed proves nothing");
    tsn_buf_release(&lines);
}

struct name_key {
    int64_t writer;
    uint32_t ref, zero;
};

static void sim_name(struct sim_world *s, const struct tsn_batch *b, const struct tsn_batch_series *series)
{
    struct name_key key = { b->writer, series->ref, 0 };

    tsn_free(tsn_map_put(&s->names, &key, sizeof key, tsn_memdup(&series->labels->id, sizeof series->labels->id)));
}

static const struct tsn_u128 *sim_named(const struct sim_world *s, const struct tsn_batch *b, uint32_t ref)
{
    struct name_key key = { b->writer, ref, 0 };

    return tsn_map_get(&s->names, &key, sizeof key);
}

/* Adds up what one partition of samples counted: label id → tsn_fixed *. */
static void add_up(struct sim_world *s, int32_t p, struct tsn_map *sums)
{
    for (size_t i = 0; i < s->cluster.samples[p].len; i++) {
        const struct sim_record *r = &s->cluster.samples[p].items[i];
        struct tsn_batch batch;
        struct tsn_error error;

        if (r->aborted || tsn_codec_batch_decode(r->bytes, r->len, &batch, &error))
            continue;
        for (size_t n = 0; n < batch.series_count; n++)
            sim_name(s, &batch, &batch.series[n]);
        for (size_t n = 0; n < batch.delta_count; n++) {
            const struct tsn_u128 *id = sim_named(s, &batch, batch.deltas[n].ref);
            void **slot = id ? tsn_map_upsert(sums, id, sizeof *id, NULL) : NULL;

            if (!slot)
                sim_fail(s, "counts: samples/%d offset %lld: a series without a name", p, (long long)r->offset);
            if (!slot)
                continue;
            if (!*slot)
                *slot = tsn_calloc(1, sizeof(tsn_fixed));
            (void)tsn_fixed_add(*slot, batch.deltas[n].delta);
        }
        tsn_batch_release(&batch);
    }
}

static void check_counts(struct sim_world *s, const struct reference *ref)
{
    for (int32_t p = 0; p < SIM_PARTITIONS; p++) {
        struct tsn_map sums;

        tsn_map_init(&sums);
        add_up(s, p, &sums);
        for (size_t i = 0; i < ref->counters.len; i++) {
            const struct ref_counter *c = &ref->counters.items[i];
            const tsn_fixed *got = tsn_map_get(&sums, &c->labels->id, sizeof c->labels->id);
            tsn_fixed want = 0;

            for (size_t k = 0; k < c->panes.len; k++)
                (void)tsn_fixed_add(&want, c->panes.items[k].delta);
            if (got && *got != want)
                sim_fail(s, "counts: samples/%d: %s counted %.17g, events %.17g", p,
                         tsn_labels_get(c->labels, "__name__"), tsn_fixed_to_double(*got), tsn_fixed_to_double(want));
        }
        tsn_map_foreach(&sums, e)
            tsn_free(e->value);
        tsn_map_release(&sums);
        tsn_map_foreach(&s->names, e)
            tsn_free(e->value);
        tsn_map_clear(&s->names);
    }
    tsn_map_release(&s->names);
}

static void check_incidents(struct sim_world *s)
{
    struct sim_responder calm = { 0 };
    const struct sim_texts *got = &s->responder.published;

    sim_responder_start(s, &calm);
    while (calm.next < s->cluster.alerts.len)
        sim_responder_act(s, &calm, false);
    for (size_t i = 0; i < got->len || i < calm.published.len; i++)
        if (i >= got->len || i >= calm.published.len ||
            strcmp(tsn_buf_str(&got->items[i]), tsn_buf_str(&calm.published.items[i])) != 0) {
            sim_fail(s, "incidents: event %zu of %zu, undisturbed %zu: %.200s", i, got->len, calm.published.len,
                     i < got->len ? tsn_buf_str(&got->items[i]) : "missing");
            break;
        }
    sim_responder_release(&calm);
}

struct totals {
    size_t alerts, incidents, takeovers, batches;
};

/* True if every comparison held; else *failure (of 400 bytes) says which did not. */
static bool one_seed(uint64_t seed, enum sim_broken broken, struct totals *totals, char *failure)
{
    struct sim_world s;
    struct reference ref;
    struct sim_sink sink = { sink_point, sink_delta, &ref };
    int64_t end_ms;

    reference_init(&ref, SIM_TTL_MS);
    world_open(&s, seed, broken);
    end_ms = sim_produce(&s.cluster, seed, start_ms + 1, &sink);
    run(&s, end_ms);
    for (int p = 0; p < SIM_PARTITIONS && !s.failure[0]; p++)
        check_law(&s, p);
    if (!s.failure[0] && s.switch_ms == INT64_MAX)
        check_counts(&s, &ref);
    if (!s.failure[0] && s.never_late)
        check_reference(&s, &ref);
    if (!s.failure[0])
        check_incidents(&s);
    totals->alerts += s.cluster.alerts.len;
    totals->incidents += s.responder.published.len;
    totals->takeovers += s.takeovers;
    totals->batches += s.cluster.samples[0].len;
    memcpy(failure, s.failure, sizeof s.failure);
    reference_release(&ref);
    world_close(&s);
    return !failure[0];
}

/* ---- main --------------------------------------------------------------------------------- */

static bool variant_is_noticed(uint64_t seed, enum sim_broken broken)
{
    struct totals totals = { 0, 0, 0, 0 };
    char failure[400] = "";

    for (uint64_t n = 0; n < BROKEN_SEEDS; n++)
        if (!one_seed(seed + n, broken, &totals, failure)) {
            printf("broken variant %s: noticed by seed %llu: %.160s\n", sim_broken_name(broken),
                   (unsigned long long)(seed + n), failure);
            return true;
        }
    printf("broken variant %s: no seed of %d noticed it\n", sim_broken_name(broken), BROKEN_SEEDS);
    return false;
}

static int run_sound(uint64_t seed, uint64_t seeds)
{
    struct totals totals = { 0, 0, 0, 0 };
    int failed = 0;

    for (uint64_t n = 0; n < seeds && failed < 5; n++) {
        char failure[400] = "";

        if (one_seed(seed + n, SIM_SOUND, &totals, failure))
            continue;
        failed++;
        printf("seed %llu: %s\n  again: make sim SEED=%llu SEEDS=1\n", (unsigned long long)(seed + n), failure,
               (unsigned long long)(seed + n));
    }
    printf("%llu seeds: %zu batches, %zu takeovers, %zu alert transitions, %zu incident events\n",
           (unsigned long long)seeds, totals.batches, totals.takeovers, totals.alerts, totals.incidents);
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 100, passed = 0;
    const char *only = NULL;
    int failed = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--broken") == 0)
            only = argv[i + 1];
    }
    if (!only) {
        failed = run_sound(seed, seeds);
        passed = seeds - (uint64_t)failed;
    }
    for (int b = 1; b < SIM_BROKEN_COUNT; b++) {
        if (only ? strcmp(only, sim_broken_name((enum sim_broken)b)) != 0 : seeds < 20)
            continue;
        if (variant_is_noticed(seed, (enum sim_broken)b))
            passed++;
        else
            failed++;
    }
    printf("%llu passed, %d failed\n", (unsigned long long)passed, failed);
    return failed > 0;
}
