/*
 * lib_world: the world of a run: what the seed chooses, what happens from turn to turn until all is drained, and the
 * comparisons that need no reference. See sim.h.
 */
#include <stdlib.h>
#include <string.h>

#include "sim_actors.h"
#include "tocsin/codec.h"
#include "tocsin/replay.h"

enum { MAX_TURNS = 60000, TAIL_MS = 400000 };

void sim_fail(struct sim_world *s, const char *fmt, ...)
{
    va_list args;

    if (s->failure[0])
        return;
    va_start(args, fmt);
    vsnprintf(s->failure, sizeof s->failure, fmt, args);
    va_end(args);
}

/* All inputs are declared. Before that a unit may start without one that nobody has named yet, and what that brings first is late:
 * DETECT knows of an input from the owner of its partition 0 only. */
static bool begun(const struct sim_world *s)
{
    return s->cluster.sources[0].metadata && s->cluster.sources[1].metadata && s->cluster.sources[2].metadata;
}

bool sim_trouble(struct sim_world *s, enum sim_fault kind, int64_t one_in)
{
    bool hit = sim_below(&s->random, one_in) == 0;

    return hit && (s->plan.faults & kind) && s->turns < s->plan.calm_after && begun(s);
}

/* What the seed alone decides; a fault that the plan takes away changes nothing else. */
static void choose(struct sim_world *s)
{
    uint64_t seed = s->plan.seed;
    int64_t offset_ms = 100000 + sim_below(&s->random, 300000),
            born_ms = 60000 + sim_below(&s->random, 200000);
    int workers = 1 + (int)sim_below(&s->random, SIM_MAX_WORKERS),
        starved = (int)sim_below(&s->random, 2);

    s->switch_ms = seed % 3 ? INT64_MAX : s->start_ms + offset_ms;
    s->never_late = seed % 3 != 2;
    s->eager = seed % 2 == 0;
    s->worker_count = s->plan.workers ? s->plan.workers : workers;
    sim_note(s, (enum sim_event)(SIM_E_WORKERS_1 + s->worker_count - 1));
    s->starved = (s->plan.faults & SIM_F_STARVE) && seed % 8 == 1 ? starved : -1;
    s->gap_ms = (s->plan.faults & SIM_F_GAP) && seed % 11 == 3 ? INT64_C(7200000) : 0;
    s->born_ms = (s->plan.faults & SIM_F_GROW) && seed % 5 < 2 && !s->gap_ms ? s->start_ms + born_ms
                                                                             : INT64_MAX;
    s->now = s->start_ms;
    if (s->starved >= 0) /* catch-up: all of it is there from the start */
        s->now += s->plan.length_s * 1000 + s->gap_ms;
}

/* The built-in policy, with deadlines that come within a run. */
static void open_policy(struct sim_world *s)
{
    static const char escalation[] =
        "severities:\n"
        "  1: { respond: 1m, resolve: 5m, climb: { L1: { unanswered: 1m, unresolved: 2m }, L2: { unanswered: 1m, unresolved: 2m } } }\n"
        "  2: { respond: 90s, resolve: 6m, climb: { L1: { unanswered: 1m, unresolved: 2m }, L2: { unanswered: 90s, unresolved: 3m } } }\n"
        "  3: { respond: 2m, resolve: 8m, climb: { L1: { unanswered: 2m, unresolved: 4m } } }\n"
        "reopen_window: 90s\n";
    struct tsn_error error;

    tsn_policy_init_default(&s->policy);
    if (tsn_policy_load_escalation(&s->policy, "sim.yaml", escalation, sizeof escalation - 1, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
}

void sim_world_open(struct sim_world *s, const struct sim_plan *plan, int64_t start, enum sim_broken broken)
{
    static const char config[] =
        "kafka: { bootstrap.servers: \"sim:1\" }\n"
        "inputs:\n  - { topic: m, type: metrics }\n  - { topic: l, type: logs }\n"
        "ingest: { fill_job: false }\nrules: [ \"rules.yaml\" ]\n";
    struct tsn_error error;

    memset(s, 0, sizeof *s);
    s->plan = *plan;
    s->random = plan->seed;
    s->start_ms = start;
    choose(s);
    s->limit_ms = INT64_MAX;
    sim_cluster_init(&s->cluster, broken);
    if (tsn_config_parse(&s->config, "sim.yaml", config, sizeof config - 1, NULL, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    open_policy(s);
    for (int i = 0; i < 2; i++)
        s->sets[i] = sim_rules(s, i);
}

void sim_world_close(struct sim_world *s)
{
    for (int i = 0; i < SIM_MAX_WORKERS; i++)
        sim_worker_stop(&s->workers[i]);
    for (int p = 0; p < SIM_PARTITIONS; p++) {
        sim_owner_stop(&s->owners[p]);
        sim_owner_stop(&s->ghosts[p]);
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
        struct tsn_detect_stats stats = { .watermark_ms = TSN_TIME_NONE };

        if (s->owners[p].detect)
            tsn_detect_get_stats(s->owners[p].detect, &stats);
        least_ms = stats.watermark_ms < least_ms ? stats.watermark_ms : least_ms;
    }
    return least_ms;
}

static void worker_dies(struct sim_world *s, int index)
{
    sim_note(s, s->workers[index].queue_len ? SIM_E_INGEST_DIES_CLOSED : SIM_E_INGEST_DIES_IDLE);
    sim_worker_start(s, index);
}

static void turn(struct sim_world *s)
{
    int64_t what = sim_below(&s->random, 1000);

    s->turns++;
    s->now += sim_inputs_done(s) ? sim_below(&s->random, 4000) : sim_below(&s->random, 340);
    if (s->now >= s->born_ms && s->cluster.sources[SIM_NEW_SOURCE].owner < 0)
        sim_grow(s);
    if (what < 600)
        sim_worker_act(s, (int)sim_below(&s->random, s->worker_count));
    else if (what < 835)
        sim_owner_act(s, (int32_t)sim_below(&s->random, SIM_PARTITIONS));
    else if (what < 850)
        sim_owner_haunt(s, (int32_t)sim_below(&s->random, SIM_PARTITIONS));
    else if (what < 968)
        sim_responder_act(s);
    else if (what < 975)
        sim_people_act(s);
    else if (what < 980)
        sim_redis_act(s);
    else if (what < 987 && sim_trouble(s, SIM_F_CRASH, 1))
        worker_dies(s, (int)sim_below(&s->random, s->worker_count));
    else if (what < 993 && sim_trouble(s, SIM_F_CRASH, 4)) /* a takeover is what costs most here */
        sim_owner_start(s, (int32_t)sim_below(&s->random, SIM_PARTITIONS));
    else if (what >= 993 && sim_trouble(s, SIM_F_REBALANCE, 1))
        sim_rebalance(s);
}

static void begin(struct sim_world *s)
{
    for (int i = 0; i < SIM_SOURCES; i++)
        s->cluster.sources[i].owner = i == SIM_NEW_SOURCE ? -1 : i % s->worker_count;
    for (int i = 0; i < s->worker_count; i++)
        sim_worker_start(s, i);
    for (int p = 0; p < SIM_PARTITIONS; p++)
        sim_owner_start(s, p);
    sim_responder_start(s);
}

void sim_run(struct sim_world *s, int64_t end_ms)
{
    begin(s);
    while ((!sim_inputs_done(s) || reached(s) < end_ms + TAIL_MS) && s->turns < MAX_TURNS &&
           !s->failure[0])
        turn(s);
    if (s->turns == MAX_TURNS)
        sim_fail(s, "event time stands still at +%lld s",
                 (long long)((reached(s) - s->start_ms) / 1000));
    while (!sim_owners_done(s) && !s->failure[0])
        for (int p = 0; p < SIM_PARTITIONS; p++) {
            s->now += 1000;
            sim_owner_act(s, p);
        }
    s->now += SIM_TRANSACTION_MS;
}

/* ---- comparisons -------------------------------------------------------------------------- */

void sim_check_incidents(struct sim_world *s)
{
    struct sim_texts calm = { 0 };
    struct tsn_map paged;
    const struct sim_texts *got = &s->responder.published;

    sim_note(s, SIM_E_INCIDENTS);
    tsn_map_init(&paged);
    sim_check_events(s);
    sim_responder_calm(s, &calm, &paged);
    for (size_t i = 0; i < got->len || i < calm.len; i++)
        if (i >= got->len || i >= calm.len ||
            strcmp(tsn_buf_str(&got->items[i]), tsn_buf_str(&calm.items[i])) != 0) {
            sim_fail(s, "incidents: event %zu of %zu, undisturbed %zu: %.200s", i, got->len,
                     calm.len, i < got->len ? tsn_buf_str(&got->items[i]) : "missing");
            break;
        }
    tsn_map_foreach(&s->responder.told,
                    e) if (!tsn_map_get(&paged, tsn_map_entry_key(e), e->key_len))
        sim_fail(s, "direct: a page under %.*s, which no incident has", (int)e->key_len,
                 tsn_map_entry_key(e));
    sim_texts_clear(&calm);
    tsn_map_release(&paged);
}

/* The alerts in the order of replay: by step, then partition, then as they came. */
struct in_order {
    int64_t step_ms, partition;
    size_t rank;
    const struct sim_record *record;
};

static int by_order(const void *a, const void *b)
{
    const struct in_order *x = a, *y = b;

    if (x->step_ms != y->step_ms)
        return x->step_ms < y->step_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static size_t live_order(struct sim_world *s, struct in_order *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s->cluster.alerts.len; i++) {
        const struct sim_record *r = &s->cluster.alerts.items[i];
        struct tsn_transition t;

        if (r->aborted || tsn_codec_transition_decode(r->bytes, r->len, TSN_FORM_JSON, &t, NULL))
            continue;
        out[n] = (struct in_order){ t.step_ms, r->timestamp_ms, n, r };
        n++;
        tsn_transition_release(&t);
    }
    qsort(out, n, sizeof *out, by_order);
    return n;
}

static struct tsn_replay *replayed(struct sim_world *s)
{
    struct tsn_replay_options options = { .detect = { .partition_count = SIM_PARTITIONS,
                                                      .warmup = true,
                                                      .counter_ttl_ms = SIM_TTL_MS,
                                                      .long_ms = sim_long_ms(s),
                                                      .chunk_ms = sim_chunk_ms(s),
                                                      .reuse_sums =
                                                          s->cluster.broken == SIM_REUSE_SUM },
                                          .from_ms = 0,
                                          .to_ms = INT64_MAX / 4,
                                          .forced_set = -1 };
    struct tsn_replay *r = tsn_replay_new(&options);
    struct tsn_error error;

    for (int32_t p = 0; p < SIM_PARTITIONS; p++) {
        for (int i = 0; i < sim_set_count(s); i++)
            tsn_replay_add_rule_set(r, p, i, sim_rules(s, i));
        for (size_t i = 0; i < s->cluster.samples[p].len; i++) {
            const struct sim_record *in = &s->cluster.samples[p].items[i];

            if (!in->aborted && tsn_replay_batch(r, p, in->offset, in->bytes, in->len, &error))
                sim_fail(s, "replay: %s", error.message);
        }
    }
    return r;
}

void sim_check_replay(struct sim_world *s)
{
    struct in_order *live = tsn_calloc(s->cluster.alerts.len + 1, sizeof *live);
    size_t count = live_order(s, live);
    struct tsn_replay *r = replayed(s);
    struct tsn_replay_result result;
    struct tsn_buf text = TSN_BUF_INIT;

    sim_note(s, SIM_E_REPLAYED);
    tsn_replay_finish(r, &result);
    if (result.transition_count != count)
        sim_fail(s, "replay: %zu transitions, live %zu", result.transition_count, count);
    for (size_t i = 0; i < count && i < result.transition_count; i++) {
        tsn_buf_reset(&text);
        tsn_codec_transition_encode(&result.transitions[i], TSN_FORM_JSON, &text);
        if (text.len != live[i].record->len ||
            memcmp(text.data, live[i].record->bytes, text.len) != 0)
            sim_fail(s, "replay: transition %zu: %s; live: %.*s", i, tsn_buf_str(&text),
                     (int)live[i].record->len, live[i].record->bytes);
    }
    tsn_buf_release(&text);
    tsn_replay_result_release(&result);
    tsn_replay_free(&r);
    tsn_free(live);
}
