/*
 * Goal: whatever crashes, aborts, rebalances and restarts do to the processes, what comes out at
 * the end of the spine (inputs → samples → alerts → incidents) is what one undisturbed pass gives.
 * Method: a seed makes ten minutes of events and a schedule of what the processes of a small
 * cluster do, and what is done to them (sim.h lists it). When all is drained, the comparisons, byte
 * for byte: law        alerts = what a DETECT that was never disturbed makes of the samples that
 * lie in the log reference  alerts = what the sequential rule evaluator makes of the events
 * themselves replay     what tocsin replay makes of the samples = alerts incidents  published
 * events = what a RESPOND that was never disturbed makes of the alerts: in sequence, each once
 *   direct     pages of the direct path bear ids of incidents that then were opened
 *   counts     what was counted in the committed samples = the events, series by series
 * A third of the seeds switch rule sets on the way: the reference knows of no switch and sits out,
 * the counts too. In another third partitions count as idle after a second: what an idle partition
 * still had in hand when its owner died is then late for DETECT, as DESIGN §3 has it, and the
 * reference sits out.
 *
 * A seed that fails is shrunk: kinds of trouble, length, workers and the time of trouble are taken
 * away as long as it still fails, and the least run is printed as a command.
 *
 * Usage: sim_spine [--seed N] [--seeds N] [--broken NAME] [--faults MASK] [--length S] [--workers
 * N] [--calm-after TURNS]. Without --broken each broken variant is tried too: it counts as a failed
 * test if no seed notices it.
 */
#include "../detect_world.h"
#include "sim_actors.h"

#undef T0

enum { BROKEN_SEEDS = 60, SETTLE_MS = 30000, LENGTH_S = 600, MINUTE_MS = 60000, LAST_TROUBLE = 8192 };

static const int64_t start_ms = INT64_C(1700000040000); /* a whole multiple of a minute */

static const char *const rules[2] = {
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.15', for: 30s, labels: {severity: "
    "critical}}]}\n"
    "- {name: gauges, interval: 30s, rules: [\n"
    "   {alert: Hot, expr: 'avg by (service) (avg_over_time(temperature[2m])) > 80', "
    "keep_firing_for: 1m,\n"
    "    labels: {severity: warning}}, {alert: Busy, expr: 'rate(requests_total[2m]) > 1.7'},\n"
    "   {alert: Queue, expr: 'avg_over_time(queue[3m]) > 60'}, {alert: Flood, expr: "
    "'sum_over_time(queue[3m]) > 1e10'},\n"
    "   {alert: Total, expr: 'errors_total > 10'}]}\n"
    "- {name: logs, interval: 15s, rules: [\n"
    "   {alert: Logs, expr: 'sum by (service) (increase(log_messages_total{level=\"ERROR\"}[1m])) "
    "> 12'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[1m])) > 0.3', "
    "for: 15s},\n"
    "   {alert: Dead, expr: 'absent(up{service=\"vault\"})', for: 1m, labels: {severity: critical, "
    "service: vault}}]}\n",
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.1', for: 15s, labels: {severity: "
    "critical}},\n"
    "   {alert: Slow, expr: 'avg_over_time(svc:errors:rate1m[3m]) > 0.1'}]}\n"
    "- {name: gauges, interval: 15s, rules: [{alert: Hot, expr: 'avg by (service) (temperature) > "
    "80'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[3m])) > 0.3', "
    "for: 15s},\n"
    "   {alert: Many, expr: 'count(ALERTS{alertname=\"Hot\",alertstate=\"firing\"}) > 1'}]}\n",
};

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

        if (r->timestamp_ms != p || r->aborted)
            continue;
        if (n >= want.len || want.items[n].len != r->len ||
            memcmp(want.items[n].data, r->bytes, r->len) != 0)
            sim_fail(s, "law: samples/%d, transition %zu: %.*s; undisturbed: %s", p, n, (int)r->len,
                     r->bytes, n < want.len ? tsn_buf_str(&want.items[n]) : "none");
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
    memset(&stats, 0, sizeof stats);
    if (s->owners[p].detect)
        tsn_detect_get_stats(s->owners[p].detect, &stats);
    if (stats.unknown_refs || stats.refill_mismatches)
        sim_fail(
            s,
            "samples/%d, last owner: %llu names unknown, %llu refills that missed the checkpoint",
            p, (unsigned long long)stats.unknown_refs, (unsigned long long)stats.refill_mismatches);
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

        if (s->cluster.alerts.items[i].aborted)
            continue;
        if (tsn_codec_transition_decode(s->cluster.alerts.items[i].bytes,
                                        s->cluster.alerts.items[i].len, TSN_FORM_JSON, &t,
                                        &error)) {
            sim_fail(s, "an alert does not decode: %s", error.message);
            break;
        }
        put_line(&lines, t.step_ms, t.rule, t.was, t.state, t.labels, t.annotations, t.value,
                 t.active_at_ms);
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

static void sim_name(struct sim_world *s, const struct tsn_batch *b,
                     const struct tsn_batch_series *series)
{
    struct name_key key = { b->writer, series->ref, 0 };

    tsn_free(tsn_map_put(&s->names, &key, sizeof key,
                         tsn_memdup(&series->labels->id, sizeof series->labels->id)));
}

static const struct tsn_u128 *sim_named(const struct sim_world *s, const struct tsn_batch *b,
                                        uint32_t ref)
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
                sim_fail(s, "counts: samples/%d offset %lld: a series without a name", p,
                         (long long)r->offset);
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
                         tsn_labels_get(c->labels, "__name__"), tsn_fixed_to_double(*got),
                         tsn_fixed_to_double(want));
        }
        tsn_map_foreach(&sums, e) tsn_free(e->value);
        tsn_map_release(&sums);
        tsn_map_foreach(&s->names, e) tsn_free(e->value);
        tsn_map_clear(&s->names);
    }
    tsn_map_release(&s->names);
}

struct totals {
    size_t alerts, incidents, takeovers, batches, rebuilds, direct;
};

/* True if every comparison held; else *failure (of 400 bytes) says which did not. */
static bool one_run(const struct sim_plan *plan, enum sim_broken broken, struct totals *totals,
                    char *failure)
{
    struct sim_world *s = tsn_alloc(sizeof *s);
    struct reference ref;
    struct sim_sink sink = { sink_point, sink_delta, &ref };
    struct sim_story story = { plan->seed, start_ms + 1, plan->length_s,
                               0,          INT64_MAX,    (plan->faults & SIM_F_OPEN) != 0 };
    int64_t end_ms;

    reference_init(&ref, SIM_TTL_MS);
    sim_world_open(s, plan, start_ms, broken);
    story.gap_ms = s->gap_ms;
    if (s->born_ms != INT64_MAX) /* producers hear of a partition later than the consumers do */
        story.born_s = (s->born_ms - start_ms + 2 * MINUTE_MS) / 1000;
    end_ms = sim_produce(&s->cluster, &story, &sink);
    sim_run(s, end_ms);
    for (int p = 0; p < SIM_PARTITIONS && !s->failure[0]; p++)
        check_law(s, p);
    if (!s->failure[0] && s->switch_ms == INT64_MAX)
        check_counts(s, &ref);
    if (!s->failure[0] && s->never_late)
        check_reference(s, &ref);
    if (!s->failure[0])
        sim_check_replay(s);
    if (!s->failure[0])
        sim_responder_finish(s);
    if (!s->failure[0])
        sim_check_incidents(s);
    totals->alerts += s->cluster.alerts.len;
    totals->incidents += s->responder.published.len;
    totals->takeovers += s->takeovers;
    totals->batches += s->cluster.samples[0].len;
    totals->rebuilds += s->responder.rebuilds;
    totals->direct += s->responder.told.count;
    memcpy(failure, s->failure, sizeof s->failure);
    reference_release(&ref);
    sim_world_close(s);
    tsn_free(s);
    return !failure[0];
}

/* ---- shrinking ---------------------------------------------------------------------------- */

static bool still_fails(const struct sim_plan *plan, enum sim_broken broken, char *failure)
{
    struct totals ignored = { 0 };
    char text[400] = "";

    if (one_run(plan, broken, &ignored, text))
        return false;
    memcpy(failure, text, sizeof text);
    return true;
}

/* Takes away what is not needed for a failure: of whatever kind, for the least run is the easiest
 * to read. */
static void shrink(struct sim_plan *plan, enum sim_broken broken, char *failure)
{
    struct sim_plan less;

    for (int bit = 0; bit < SIM_F_KINDS; bit++) {
        less = *plan;
        less.faults &= ~(1u << bit);
        if (less.faults != plan->faults && still_fails(&less, broken, failure))
            *plan = less;
    }
    for (less = *plan;
         (less.length_s = plan->length_s / 2) >= 60 && still_fails(&less, broken, failure);)
        *plan = less;
    for (int workers = 1; workers < SIM_MAX_WORKERS; workers++) {
        less = *plan;
        less.workers = workers;
        if (still_fails(&less, broken, failure)) {
            *plan = less;
            break;
        }
    }
    for (int64_t step = 4096; step >= 8; step /= 2) {
        less = *plan;
        less.calm_after = (plan->calm_after > LAST_TROUBLE ? LAST_TROUBLE : plan->calm_after) - step;
        if (less.calm_after >= 0 && still_fails(&less, broken, failure))
            *plan = less;
    }
}

static void print_command(const struct sim_plan *plan, enum sim_broken broken)
{
    static const char *const kinds[SIM_F_KINDS] = { "crash",     "abort",  "timeout", "marker",
                                                    "rebalance", "zombie", "repeat",  "starve",
                                                    "grow",      "gap",    "redis",   "clock",
                                                    "open" };

    printf("  least: build/release/tests/sim/sim_spine --seed %llu --seeds 1 --faults %u --length "
           "%lld --workers %d --calm-after %lld%s%s  (",
           (unsigned long long)plan->seed, plan->faults, (long long)plan->length_s, plan->workers,
           (long long)plan->calm_after, broken ? " --broken " : "",
           broken ? sim_broken_name(broken) : "");
    for (int bit = 0; bit < SIM_F_KINDS; bit++)
        if (plan->faults & 1u << bit)
            printf(" %s", kinds[bit]);
    printf(" )\n");
}

/* ---- main --------------------------------------------------------------------------------- */

static bool variant_is_noticed(const struct sim_plan *first, enum sim_broken broken)
{
    struct totals totals = { 0 };
    struct sim_plan plan = *first;
    char failure[400] = "";

    for (int n = 0; n < BROKEN_SEEDS; n++, plan.seed++)
        if (!one_run(&plan, broken, &totals, failure)) {
            printf("broken variant %s: noticed by seed %llu: %.160s\n", sim_broken_name(broken),
                   (unsigned long long)plan.seed, failure);
            return true;
        }
    printf("broken variant %s: no seed of %d noticed it\n", sim_broken_name(broken), BROKEN_SEEDS);
    return false;
}

/* The shrinker's own test: a variant that fails must fail after shrinking too, and with half the kinds of trouble at most (whether a
 * shorter run is enough, too, is the seed's). */
static bool shrinking_works(const struct sim_plan *first)
{
    struct sim_plan plan = *first;
    char failure[400] = "";

    if (!still_fails(&plan, SIM_SPLIT_COMMIT, failure))
        return false;
    shrink(&plan, SIM_SPLIT_COMMIT, failure);
    printf("shrunk: %.160s\n", failure);
    print_command(&plan, SIM_SPLIT_COMMIT);
    return still_fails(&plan, SIM_SPLIT_COMMIT, failure) && __builtin_popcount(plan.faults) <= SIM_F_KINDS / 2;
}

static int run_sound(const struct sim_plan *first, uint64_t seeds)
{
    struct totals totals = { 0 };
    struct sim_plan plan = *first;
    int failed = 0;

    for (uint64_t n = 0; n < seeds && failed < 5; n++, plan.seed++) {
        struct sim_plan least = plan;
        char failure[400] = "";

        if (one_run(&plan, SIM_SOUND, &totals, failure))
            continue;
        failed++;
        printf("seed %llu: %s\n  again: make sim SEED=%llu SEEDS=1\n",
               (unsigned long long)plan.seed, failure, (unsigned long long)plan.seed);
        shrink(&least, SIM_SOUND, failure);
        printf("  shrunk: %s\n", failure);
        print_command(&least, SIM_SOUND);
        fflush(stdout);
    }
    printf("%llu seeds: %zu batches, %zu takeovers, %zu alert transitions, %zu incident events, "
           "%zu rebuilds of Redis, %zu direct pages\n",
           (unsigned long long)seeds, totals.batches, totals.takeovers, totals.alerts,
           totals.incidents, totals.rebuilds, totals.direct);
    return failed;
}

static const char *take_options(int argc, char **argv, struct sim_plan *plan, uint64_t *seeds)
{
    const char *only = NULL;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            plan->seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            *seeds = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--broken") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--faults") == 0)
            plan->faults = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--length") == 0)
            plan->length_s = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--workers") == 0)
            plan->workers = (int)strtol(argv[i + 1], NULL, 10) % (SIM_MAX_WORKERS + 1);
        else if (strcmp(argv[i], "--calm-after") == 0)
            plan->calm_after = strtoll(argv[i + 1], NULL, 10);
    }
    return only;
}

int main(int argc, char **argv)
{
    struct sim_plan plan = {
        .seed = 1, .faults = SIM_F_ALL, .length_s = LENGTH_S, .calm_after = INT64_MAX
    };
    uint64_t seeds = 100, passed = 0;
    const char *only = take_options(argc, argv, &plan, &seeds);
    int failed = 0;

    if (!only) {
        failed = run_sound(&plan, seeds);
        passed = seeds - (uint64_t)failed;
    }
    for (int b = 1; b < SIM_BROKEN_COUNT; b++) {
        if (only ? strcmp(only, sim_broken_name((enum sim_broken)b)) != 0 : seeds < 20)
            continue;
        if (variant_is_noticed(&plan, (enum sim_broken)b))
            passed++;
        else
            failed++;
    }
    if (!only && seeds >= 20) {
        if (shrinking_works(&plan))
            passed++;
        else
            failed++;
    }
    printf("%llu passed, %d failed\n", (unsigned long long)passed, failed);
    return failed > 0;
}
