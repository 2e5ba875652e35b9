/*
 * Goal: what DETECT gives is a function of the log of samples alone.
 * Method: seeded logs (two writers that restart, counters that die and are born again, late samples,
 * idle and waking partitions, three rule sets one after the other) and
 *   - a takeover at every place of the log: checkpoint, restore into a new DETECT, refill, go on; the
 *     transitions must be those of the undisturbed run, byte for byte;
 *   - takeovers of takeovers, at random places, to the end;
 *   - logs without lateness or switches against the sequential reference;
 *   - rules by plans and by the naive evaluator: the same transitions and state, byte for byte.
 * A failure prints its seed; SEED=n SEEDS=m in the environment runs others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../detect_state.h"

/* ---- chance ------------------------------------------------------------------------------- */

static uint64_t rng_state, current_seed;

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

/* ---- rules -------------------------------------------------------------------------------- */

static const char *const rule_sets[] = {
    "groups:\n"
    "- {name: counters, interval: 15s, rules: [\n"
    "   {record: 'svc:err:rate1m', expr: 'sum by (service) (rate(err_total[1m]))'},\n"
    "   {alert: Errors, expr: 'svc:err:rate1m > 0.2', for: 30s, labels: {severity: warning}},\n"
    "   {alert: Errors, expr: 'svc:err:rate1m > 0.5', keep_firing_for: 45s, labels: {severity: critical},\n"
    "     annotations: {v: '{{ $value }} on {{ $labels.service }}'}},\n"
    "   {alert: Twice, expr: 'increase(err_total[6m]) > 3'}, {alert: Lives, expr: 'err_total > 1'},\n"
    "   {record: 'svc:temp', expr: 'max by (service) (temp)'}, {alert: Warm, expr: 'svc:temp > 30'}]}\n"
    "- {name: gauges, interval: 30s, query_offset: 10s, rules: [\n"
    "   {alert: Hot, expr: 'max_over_time(temp[2m]) > 50', for: 1m},\n"
    "   {alert: Born, expr: 'log_total >= 0'}]}\n",
    "groups:\n"
    "- {name: counters, interval: 15s, rules: [\n"
    "   {alert: Errors, expr: 'svc:err:rate1m > 0.5', keep_firing_for: 45s, labels: {severity: critical}},\n"
    "   {record: 'svc:err:rate1m', expr: 'sum by (service) (rate(err_total[1m]))'},\n"
    "   {record: 'svc:err:sum', expr: '(svc:err:sum + svc:err:rate1m) or svc:err:rate1m'},\n"
    "   {alert: Sum, expr: 'avg_over_time(svc:err:sum[4m]) > 2'}, {alert: Warm, expr: 'svc:temp > 30'},\n"
    "   {alert: Longer, expr: 'avg_over_time(svc:err:rate1m[9m]) > 0.2'}]}\n"
    "- {name: gauges, interval: 30s, rules: [\n"
    "   {alert: Hot, expr: 'avg_over_time(temp[5m]) > 40', for: 1m},\n"
    "   {alert: Quiet, expr: 'absent(temp{service=\"a\"})'},\n"
    "   {alert: Sub, expr: 'max_over_time(rate(err_total[30s])[4m:30s]) > 0.6'}]}\n"
    "- {name: meta, interval: 15s, rules: [{alert: Many, expr: 'count(ALERTS{alertstate=\"firing\",alertname!=\"Many\"}) > 2'}]}\n",
    "groups:\n" /* what was read over 9 minutes is read over 3: the past of a recorded series leaves its chunks */
    "- {name: counters, interval: 15s, rules: [\n"
    "   {record: 'svc:err:rate1m', expr: 'sum by (service) (rate(err_total[1m]))'},\n"
    "   {alert: Shorter, expr: 'avg_over_time(svc:err:rate1m[3m]) > 0.2'}]}\n"
    "- {name: gauges, interval: 15s, limit: 2, rules: [\n"
    "   {alert: Hot, expr: 'avg_over_time(temp[5m]) > 40', for: 1m},\n"
    "   {alert: Flap, expr: 'changes(temp[5m] offset 1m) > 3'}]}\n"
    "- {name: logs, interval: 5s, rules: [{alert: Logs, expr: 'increase(log_total[20s]) > 3'},\n"
    "   {alert: NoLogs, expr: 'rate(log_total[1m]) == 0 or absent(log_total)', for: 20s}]}\n",
};

/* ---- a log -------------------------------------------------------------------------------- */

enum { PARTS = 3, WRITERS = 2, LOOKBACK_MS = 60000 };

/* At some seeds a counter lives through every silence, at others it ends in most. */
static int64_t ttl_ms(void)
{
    return current_seed % 3 == 1 ? 1200000 : 40000;
}

struct source {
    int32_t partition;
    const char *topic;
    int64_t clock_ms; /* greatest event time written */
    bool idle, spoke;
    int64_t idle_clock_ms;
};

static const char *const gauges[] = { "temp{service=\"a\"}", "temp{service=\"b\"}", "temp{service=\"c\",i=\"1\"}" };
static const char *const counters[] = { "err_total{service=\"a\",code=\"500\"}", "err_total{service=\"a\",code=\"503\"}",
                                        "err_total{service=\"b\",code=\"500\"}" };

struct maker {
    struct log log;
    struct log_writer writers[WRITERS];
    struct source sources[PARTS];
    struct reference *ref; /* NULL: lateness, idleness and switches too */
    int64_t sets[WRITERS];
    bool bursting; /* counters count */
    int64_t silent; /* batches without a sample, while time goes on */
};

static void one_sample(struct maker *m, struct log_writer *w, struct source *s)
{
    bool logs = s->partition == 0 && strcmp(s->topic, "l") == 0;
    int64_t ts = s->clock_ms + 1 + below(4000) - (m->ref ? 0 : below(12) == 0 ? 45000 : 0);
    const char *name = logs ? "log_total{service=\"a\"}"
                       : below(2) ? gauges[below(3)]
                                  : counters[below(3)];

    s->clock_ms = ts > s->clock_ms ? ts : s->clock_ms;
    if (name[0] == 't') {
        double value = below(40) == 0 ? tsn_stale() : (double)below(9000) / 100;

        if (below(7) == 0)
            return;
        put_point(&m->log, w, name, ts, value);
        if (m->ref)
            ref_point(m->ref, name, ts, value);
    } else if (m->bursting) {
        double value = (double)(1 + below(8)) / 8;

        put_delta(&m->log, w, name, ts, value);
        if (m->ref)
            ref_delta(m->ref, name, ts, value);
    }
}

/* Nothing comes, and time goes on: idle (unless a reference is to follow), or as others tell. */
static void silence(struct maker *m, struct source *s)
{
    int64_t more_ms = below(below(3) ? 9000 : 60000);

    if (m->ref) {
        s->clock_ms += more_ms;
        return;
    }
    if (!s->idle)
        s->idle_clock_ms = s->clock_ms;
    s->idle = true;
    s->idle_clock_ms += more_ms;
}

static void some_samples(struct maker *m, struct log_writer *w, struct source *s)
{
    if (!m->ref && s->spoke && !s->idle && below(12) == 0) {
        s->idle = true;
        s->idle_clock_ms = s->clock_ms;
    } else if (s->idle && below(3) == 0) {
        s->idle = false; /* wakes: where it was, or where the others are */
        if (below(2))
            s->clock_ms = s->idle_clock_ms;
    }
    if (s->idle)
        s->idle_clock_ms += below(20000);
    else
        for (int64_t n = below(7); n >= 0; n--)
            one_sample(m, w, s);
}

static void one_source(struct maker *m, struct log_writer *w, struct source *s)
{
    if (m->silent)
        silence(m, s);
    else
        some_samples(m, w, s);
    s->spoke = true;
    put_input(w, s->topic, s->partition, s->clock_ms - 5000, s->idle, s->idle ? s->idle_clock_ms : TSN_TIME_NONE);
}

static void one_batch(struct maker *m)
{
    int32_t slot = (int32_t)below(WRITERS);
    struct log_writer *w = &m->writers[slot];

    if (below(25) == 0) { /* a restart: a new incarnation announces anew */
        int64_t writer = w->writer + 1;

        writer_release(w);
        writer_init(w, slot, writer);
    }
    if (below(30) == 0)
        m->bursting = !m->bursting;
    if (m->silent)
        m->silent--;
    else if (below(40) == 0)
        m->silent = below(2) ? below(8) : 20 + below(30);
    m->log.wall_ms += 100 + below(below(10) ? 3000 : 40000);
    if (!m->ref && m->sets[slot] < 2 && below(40) == 0)
        m->sets[slot]++;
    m->log.rule_set = m->sets[slot];
    for (int p = 0; p < PARTS; p++)
        if (p % WRITERS == slot)
            one_source(m, w, &m->sources[p]);
    (void)log_send(&m->log, w);
}

static int64_t end_of(const struct maker *m)
{
    int64_t end_ms = 0;

    for (int p = 0; p < PARTS; p++)
        end_ms = m->sources[p].clock_ms > end_ms ? m->sources[p].clock_ms : end_ms;
    return end_ms;
}

static void make_log(struct maker *m, struct reference *ref, int batches)
{
    memset(m, 0, sizeof *m);
    m->ref = ref;
    m->log.wall_ms = T0;
    m->bursting = true;
    for (int i = 0; i < WRITERS; i++)
        writer_init(&m->writers[i], i, 1);
    for (int p = 0; p < PARTS; p++)
        m->sources[p] = (struct source){ .partition = p == 2 ? 0 : p, .topic = p == 2 ? "l" : "m",
                                         .clock_ms = T0 + 5000 };
    put_decl(&m->writers[0], "m", 2, NULL);
    put_decl(&m->writers[0], "l", 1, "log_total");
    for (int p = 0; p < PARTS; p++) /* all clocks stand at T0 in the first batch: every unit starts there */
        put_input(&m->writers[0], m->sources[p].topic, m->sources[p].partition, T0, false, TSN_TIME_NONE);
    (void)log_send(&m->log, &m->writers[0]);
    for (int i = 0; i < batches; i++)
        one_batch(m);
    for (int p = 0; p < PARTS && ref; p++) /* and all stand at one time in the last */
        put_input(&m->writers[0], m->sources[p].topic, m->sources[p].partition, end_of(m), false, TSN_TIME_NONE);
    (void)log_send(&m->log, &m->writers[0]);
}

static void free_log(struct maker *m)
{
    for (int i = 0; i < WRITERS; i++)
        writer_release(&m->writers[i]);
    log_release(&m->log);
}

/* ---- DETECT ------------------------------------------------------------------------------- */

/* What counts as a long window, of which the past lies in chunks: at some seeds nothing, at others most. */
static struct tsn_detect *new_detect_by(bool naive)
{
    static const int64_t longs[][2] = { { 0, 0 }, { 120000, 60000 }, { 240000, 30000 }, { 61000, 120000 } };
    struct tsn_detect_options options = { .partition_count = 1, .warmup = true, .counter_ttl_ms = ttl_ms(),
                                           .lookback_ms = LOOKBACK_MS, .naive = naive,
                                           .long_ms = longs[current_seed % 4][0], .chunk_ms = longs[current_seed % 4][1] };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (size_t i = 0; i < TSN_ARRAY_LEN(rule_sets); i++)
        tsn_detect_add_rule_set(d, (int64_t)i, world_rules(rule_sets[i]));
    return d;
}

static struct tsn_detect *new_detect(void)
{
    return new_detect_by(false);
}

static void check_matches(const struct tsn_detect *d)
{
    struct tsn_detect_stats stats;

    tsn_detect_get_stats(d, &stats);
    assert_int_equal(stats.refill_mismatches, 0);
    assert_int_equal(stats.unknown_refs, 0);
}

/* ---- properties --------------------------------------------------------------------------- */

static uint64_t seed_of(uint64_t n)
{
    const char *first = getenv("SEED");

    return (first ? strtoull(first, NULL, 10) : 1) + n;
}

static uint64_t seeds(uint64_t normal)
{
    const char *count = getenv("SEEDS");

    return count ? strtoull(count, NULL, 10) : normal;
}

static void same_text(uint64_t seed, size_t cut, size_t at, const struct tsn_buf *want, const struct tsn_buf *got)
{
    if (want->len == got->len && memcmp(tsn_buf_str(want), tsn_buf_str(got), want->len) == 0)
        return;
    fprintf(stderr, "seed %llu, takeover after batch %zu, batch %zu:\nundisturbed:\n%staken over:\n%s",
                (unsigned long long)seed, cut, at, tsn_buf_str(want), tsn_buf_str(got));
    fail();
}

enum { BATCHES = 240, AFTER = 30 };

struct totals {
    size_t transitions, read, before; /* batches with any; read in refills; that lay before them */
};

static void takeover_everywhere(uint64_t seed, struct totals *totals)
{
    struct maker m;
    struct tsn_buf want[BATCHES + 2];
    struct topic topic = { { 0 } };
    struct tsn_detect *d, *chain = NULL;
    size_t read = 0;

    rng_state = current_seed = seed;
    d = new_detect();
    make_log(&m, NULL, BATCHES);
    memset(want, 0, sizeof want);
    for (size_t i = 0; i < m.log.records.len; i++) {
        apply_one(d, &m.log.records.items[i], &want[i]);
        totals->transitions += want[i].len > 0;
    }
    check_matches(d);
    tsn_detect_free(&d);
    for (size_t i = 0; i < m.log.records.len; i++) {
        struct tsn_buf got = TSN_BUF_INIT;

        if (!chain)
            chain = i ? take_over(new_detect(), &topic, &m.log, &read) : new_detect();
        apply_one(chain, &m.log.records.items[i], &got);
        same_text(seed, i - 1, i, &want[i], &got);
        check_matches(chain);
        tsn_buf_release(&got);
        if (below(3) == 0) /* a transaction may hold several batches */
            continue;
        commit(chain, m.log.records.items[i].offset + 1, &topic);
        d = take_over(new_detect(), &topic, &m.log, &read);
        totals->read += read;
        totals->before += i + 1;
        for (size_t k = i + 1; k < m.log.records.len && k <= i + AFTER; k++) {
            apply_one(d, &m.log.records.items[k], &got);
            same_text(seed, i, k, &want[k], &got);
            tsn_buf_release(&got);
        }
        check_matches(d);
        tsn_detect_free(&d);
        if (below(20) == 0)
            tsn_detect_free(&chain);
    }
    tsn_detect_free(&chain);
    topic_release(&topic);
    for (size_t i = 0; i < BATCHES + 2; i++)
        tsn_buf_release(&want[i]);
    free_log(&m);
}

static void test_takeover_everywhere(void **state)
{
    struct totals totals = { 0, 0, 0 };

    TSN_UNUSED(state);
    for (uint64_t n = 0; n < seeds(6); n++)
        takeover_everywhere(seed_of(n), &totals);
    takeover_everywhere(18, &totals); /* a switch makes a recorded series' window short: its past lay in chunks alone */
    assert_true(totals.transitions > 100);
    assert_true(totals.read < totals.before * 9 / 10); /* the index bounds what is read back */
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(struct tsn_buf *text)
{
    TSN_VEC(char *) lines = { 0 };
    struct tsn_buf sorted = TSN_BUF_INIT;
    char *rest = tsn_buf_take(text, NULL), *copy = rest, *line;

    while (copy && (line = strsep(&copy, "\n")) != NULL)
        tsn_vec_push(&lines, line);
    if (lines.len)
        qsort(lines.items, lines.len, sizeof *lines.items, by_text);
    for (size_t i = 0; i < lines.len; i++)
        tsn_buf_printf(&sorted, "%s\n", lines.items[i]);
    tsn_vec_release(&lines);
    tsn_free(rest);
    *text = sorted;
}

static void test_same_as_reference(void **state)
{
    TSN_UNUSED(state);
    for (uint64_t n = 0; n < seeds(12); n++) {
        struct tsn_detect_options options = { .partition_count = 1, .lookback_ms = LOOKBACK_MS };
        struct tsn_detect *d;
        struct tsn_rule_set *set = world_rules(rule_sets[n % TSN_ARRAY_LEN(rule_sets)]);
        struct tsn_detect_output out = { 0 };
        struct tsn_buf lines = TSN_BUF_INIT;
        struct tsn_detect_stats stats;
        struct reference ref;
        struct maker m;

        rng_state = current_seed = seed_of(n);
        options.counter_ttl_ms = ttl_ms();
        d = tsn_detect_new(&options);
        reference_init(&ref, options.counter_ttl_ms);
        ref.lookback_ms = LOOKBACK_MS;
        make_log(&m, &ref, 200);
        tsn_detect_add_rule_set(d, 0, set);
        for (size_t i = 0; i < m.log.records.len; i++)
            apply_record(d, &m.log.records.items[i], &out);
        put_transitions(&lines, &out);
        tsn_detect_get_stats(d, &stats);
        assert_int_equal(stats.late_dropped + stats.late_moved, 0);
        reference_run(&ref, set, T0, stats.watermark_ms);
        sort_lines(&lines); /* units step at their own pace: only the order inside one is fixed */
        sort_lines(&ref.lines);
        if (strcmp(tsn_buf_str(&lines), tsn_buf_str(&ref.lines)) != 0) {
            fprintf(stderr, "seed %llu: detect:\n%sreference:\n%s", (unsigned long long)seed_of(n), tsn_buf_str(&lines),
                        tsn_buf_str(&ref.lines));
            fail();
        }
        assert_true(lines.len > 0);
        tsn_buf_release(&lines);
        tsn_detect_output_release(&out);
        tsn_detect_free(&d);
        reference_release(&ref);
        free_log(&m);
    }
}

/* All that comes out over a log: transitions, and state at every fifth record. */
static void run_log(const struct log *log, bool naive, struct tsn_buf *text)
{
    struct tsn_detect *d = new_detect_by(naive);

    for (size_t i = 0; i < log->records.len; i++) {
        struct tsn_detect_output out = { 0 };

        apply_one(d, &log->records.items[i], text);
        if (i % 5 == 0)
            tsn_detect_checkpoint(d, log->records.items[i].offset + 1, &out);
        for (size_t k = 0; k < out.state.len; k++) {
            tsn_buf_printf(text, "%s ", out.state.items[k].key);
            tsn_buf_append(text, out.state.items[k].value, out.state.items[k].value_len);
            tsn_buf_putc(text, '\n');
        }
        tsn_detect_output_release(&out);
    }
    tsn_detect_free(&d);
}

static void test_plans_give_what_the_naive_evaluator_gives(void **state)
{
    TSN_UNUSED(state);
    for (uint64_t n = 0; n < seeds(12); n++) {
        struct tsn_buf plans = TSN_BUF_INIT, naive = TSN_BUF_INIT;
        struct maker m;

        rng_state = current_seed = seed_of(n);
        make_log(&m, NULL, 200);
        run_log(&m.log, false, &plans);
        run_log(&m.log, true, &naive);
        assert_true(plans.len > 0);
        if (plans.len != naive.len || memcmp(plans.data, naive.data, plans.len) != 0)
            fail_msg("seed %llu: plans and naive evaluator differ", (unsigned long long)seed_of(n));
        tsn_buf_release(&plans);
        tsn_buf_release(&naive);
        free_log(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_reference),
        cmocka_unit_test(test_takeover_everywhere),
        cmocka_unit_test(test_plans_give_what_the_naive_evaluator_gives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
