/*
 * lib_ingest: the INGEST workers of the simulated cluster, around the real core: what a process
 * does between two looks at the clock, what its group does to it, and what a crash makes it forget.
 */
#include "sim_actors.h"

#include <string.h>

enum {
    IN_HAND_TURNS = 1000,
    SILENCE_MS = 270000 /* a silence of a source, which no reader can see coming, and what is read
                           at a time */
};

static const struct {
    size_t input;
    int32_t partition;
} sources[SIM_SOURCES] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 0, 2 } };

static void drop_queue(struct sim_worker *w)
{
    for (size_t i = 0; i < w->queue_len; i++)
        tsn_closed_batch_free(&w->queue[i]);
    w->queue_len = 0;
}

void sim_worker_stop(struct sim_worker *w)
{
    drop_queue(w);
    tsn_ingest_free(&w->ingest);
}

static int32_t partitions_of(const struct sim_world *s, int source)
{
    if (sources[source].input == 1)
        return 1;
    return s->cluster.sources[SIM_NEW_SOURCE].owner < 0 ? 2 : 3;
}

static void hold(struct sim_world *s, struct sim_worker *w, int source)
{
    struct tsn_error error;

    if (tsn_ingest_assign(w->ingest, sources[source].input, sources[source].partition,
                          partitions_of(s, source), s->cluster.sources[source].next_offset,
                          s->cluster.sources[source].metadata, &error))
        sim_fail(s, "assign: %s", error.message);
    w->holds[source] = true;
    w->next[source] = s->cluster.sources[source].next_offset;
    w->read_ms[source] = s->now;
}

/* A session from committed offsets: nothing of the one before is remembered. */
void sim_worker_start(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];
    struct tsn_ingest_options options = { .config = &s->config,
                                          .slot = index,
                                          .writer = ++s->incarnations,
                                          .samples_partitions = SIM_PARTITIONS,
                                          .record_bytes = s->incarnations % 3 ? 0 : 300 };
    struct tsn_error error;

    sim_worker_stop(w);
    sim_end_open(&s->cluster, index, s->now);
    memset(w->holds, 0, sizeof w->holds);
    w->incarnation = options.writer;
    w->generation = s->cluster.generation;
    w->session_skew_ms = w->skew_ms;
    s->cluster.producer[index] = options.writer;
    w->ingest = tsn_ingest_new(&options, &error);
    if (!w->ingest)
        sim_fail(s, "ingest: %s", error.message);
    tsn_ingest_add_rule_set(w->ingest, 0, s->sets[0]);
    w->knows_second = false;
    for (int i = 0; i < SIM_SOURCES; i++)
        if (s->cluster.sources[i].owner == index)
            hold(s, w, i);
}

static void learn_rules(struct sim_world *s, struct sim_worker *w)
{
    if (w->knows_second || s->now < s->switch_ms || sim_below(&s->random, 8))
        return;
    w->knows_second = true;
    tsn_ingest_add_rule_set(w->ingest, 1, s->sets[1]);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Something that read_committed gives. */
static bool available(struct sim_world *s, const struct sim_worker *w, int source)
{
    return (size_t)w->next[source] < sim_log_stable(&s->cluster.inputs[source], s->now);
}

/* The high watermark is reached: there is nothing, not even what read_committed does not give yet.
 */
static bool empty(const struct sim_world *s, const struct sim_worker *w, int source)
{
    const struct sim_log *log = &s->cluster.inputs[source];

    return (size_t)w->next[source] >= log->len || log->items[w->next[source]].timestamp_ms > s->now;
}

static int64_t watermark_of(const struct sim_world *s, const struct sim_worker *w, int source,
                            bool *idle)
{
    int64_t watermark_ms = TSN_TIME_NONE, clock_ms;
    struct tsn_ingest_partition_stats stats;
    const char *metadata = s->cluster.sources[source].metadata;

    *idle = false;
    if (w && w->holds[source] &&
        tsn_ingest_get_partition(w->ingest, sources[source].input, sources[source].partition,
                                 &stats)) {
        *idle = stats.idle;
        return stats.watermark_ms;
    }
    if (!metadata || !tsn_ingest_metadata_parse(metadata, &watermark_ms, idle, &clock_ms))
        return TSN_TIME_NONE;
    return watermark_ms;
}

/* Alignment as the shell does it: by the worker's own watermarks and the others' committed ones. */
static bool look_ahead(const struct sim_world *s, const struct sim_worker *w, int source)
{
    int64_t least_ms = INT64_MAX, own_ms;
    bool idle;

    for (int i = 0; i < SIM_SOURCES; i++) {
        int64_t at_ms;

        if (sources[i].input != sources[source].input || s->cluster.sources[i].owner < 0)
            continue;
        at_ms = watermark_of(s, w, i, &idle);
        if (!idle && at_ms < least_ms)
            least_ms = at_ms;
    }
    own_ms = watermark_of(s, w, source, &idle);
    return s->cluster.broken != SIM_NO_ALIGN && least_ms != INT64_MAX &&
           least_ms != TSN_TIME_NONE && own_ms != TSN_TIME_NONE && own_ms - least_ms > SIM_ALIGN_MS;
}

/* How far the committed watermarks of one input lie apart: what DETECT has to hold in memory. */
static void check_drift(struct sim_world *s)
{
    int64_t least_ms = INT64_MAX, greatest_ms = INT64_MIN, drift_ms;

    for (int i = 0; i < SIM_SOURCES; i++) {
        bool idle;
        int64_t at_ms;

        if (sources[i].input != 0 || s->cluster.sources[i].owner < 0)
            continue;
        at_ms = watermark_of(s, NULL, i, &idle);
        if (idle)
            continue;
        if (at_ms == TSN_TIME_NONE) /* cannot be waited for: it may be empty */
            return;
        least_ms = at_ms < least_ms ? at_ms : least_ms;
        greatest_ms = at_ms > greatest_ms ? at_ms : greatest_ms;
    }
    drift_ms = greatest_ms > least_ms ? greatest_ms - least_ms : 0;
    if (drift_ms > 3600000)
        sim_note(s, SIM_E_HOURS_APART);
    if (!s->all_known)
        s->all_known = s->turns;
    if (s->turns < s->all_known + IN_HAND_TURNS) /* until what was read before is committed */
        s->drift_ms = drift_ms > s->drift_ms ? drift_ms : s->drift_ms;
    if (!s->gap_ms && s->born_ms == INT64_MAX && drift_ms > s->drift_ms &&
        drift_ms > SIM_ALIGN_MS + SILENCE_MS)
        sim_fail(s, "alignment: partitions of the metrics are %lld s apart",
                 (long long)drift_ms / 1000);
}

static void feed(struct sim_world *s, struct sim_worker *w, int source)
{
    bool again = sim_trouble(s, SIM_F_REPEAT, 12);

    if (again && w->next[source] > 5) {
        sim_note(s, SIM_E_REPEATED);
        w->next[source] -= 1 + sim_below(&s->random, 5); /* delivered once more */
    }
    if (source == SIM_NEW_SOURCE)
        sim_note(s, SIM_E_NEW_PARTITION_READ);
    for (int64_t n = 1 + sim_below(&s->random, 20); n && available(s, w, source); n--) {
        const struct sim_record *r = &s->cluster.inputs[source].items[w->next[source]];
        struct tsn_ingest_record record = { .input = sources[source].input,
                                            .partition = sources[source].partition,
                                            .offset = r->offset,
                                            .timestamp_ms = r->timestamp_ms,
                                            .value = r->bytes,
                                            .value_len = r->len };

        if (n % 4 == 0 && look_ahead(s, w, source))
            break;
        (void)tsn_ingest_record(w->ingest, &record, NULL);
        w->next[source]++;
        w->read_ms[source] = s->now;
    }
}

/* The harness may know what comes: with never_late, a partition that will get more is never called
 * idle. */
static void look_idle(struct sim_world *s, struct sim_worker *w, int source)
{
    const struct sim_log *log = &s->cluster.inputs[source];
    bool nothing = empty(s, w, source);

    if (s->never_late && log->len && log->items[log->len - 1].timestamp_ms > s->now)
        return;
    if (s->never_late && !log->len && !sim_inputs_done(s))
        return;
    if (s->cluster.broken == SIM_IDLE_WALL)
        nothing = true;
    if (s->cluster.broken == SIM_IDLE_STABLE)
        nothing = !available(s, w, source);
    if (s->now - w->read_ms[source] < s->config.time.idle_timeout_ms)
        return;
    if (nothing)
        sim_note(s, SIM_E_IDLE);
    else if (!available(s, w, source))
        sim_note(s, SIM_E_INPUT_OPEN);
    if (nothing)
        tsn_ingest_idle(w->ingest, sources[source].input, sources[source].partition,
                        s->now + w->session_skew_ms);
    else
        tsn_ingest_blocked(w->ingest, sources[source].input, sources[source].partition);
}

static void read_some(struct sim_world *s, struct sim_worker *w)
{
    int source = (int)sim_below(&s->random, SIM_SOURCES), tries = SIM_SOURCES;

    while (tries-- && !w->holds[source])
        source = (source + 1) % SIM_SOURCES;
    if (!w->holds[source])
        return;
    if (source != w->last_source)
        sim_note(s, SIM_E_INTERLEAVED);
    w->last_source = source;
    if (source == s->starved && sim_below(&s->random, 12)) {
        sim_note(s, SIM_E_STARVED);
        if (s->cluster.broken == SIM_IDLE_WALL)
            look_idle(s, w, source);
        return;
    }
    if (look_ahead(s, w, source)) {
        sim_note(s, SIM_E_HELD);
        tsn_ingest_blocked(w->ingest, sources[source].input, sources[source].partition);
        return;
    }
    if (available(s, w, source))
        feed(s, w, source);
    else
        look_idle(s, w, source);
}

/* ---- sending ------------------------------------------------------------------------------ */

static void sleep_a_while(struct sim_world *s, struct sim_worker *w)
{
    w->wake_ms = s->now + 11000 + sim_below(&s->random, 20000);
}

/* Returns false if the worker found itself fenced or died of it (it has then started anew), or
 * sleeps. */
static bool send_first(struct sim_world *s, int index, bool draining)
{
    struct sim_worker *w = &s->workers[index];
    struct sim_transaction t = {
        .slot = index, .incarnation = w->incarnation, .generation = w->generation, .now_ms = s->now
    };
    bool sleeps = sim_below(&s->random, 2) == 0 && !draining;
    enum sim_outcome outcome;

    t.abort_it = sim_trouble(s, SIM_F_ABORT, 6);
    t.leave_open = sim_trouble(s, SIM_F_TIMEOUT, 40);
    if (sim_trouble(s, SIM_F_MARKER, 6))
        t.late_ms[sim_below(&s->random, SIM_PARTITIONS)] = sim_below(&s->random, 5000);
    outcome = sim_commit_batch(&s->cluster, &t, w->queue[0]);
    if (outcome == SIM_FENCED) {
        sim_note(s, SIM_E_INGEST_ZOMBIE);
        sim_worker_start(s, index);
        return false;
    }
    if (t.leave_open) { /* died inside the transaction, or fell asleep in it: the broker ends it,
                           and it is fenced */
        sim_note(s, sleeps ? SIM_E_INGEST_TIMED_OUT : SIM_E_INGEST_DIES_INSIDE);
        if (sleeps) {
            sleep_a_while(s, w);
            s->cluster.producer[index] = -1;
        } else {
            sim_worker_start(s, index);
        }
        return false;
    }
    if (outcome == SIM_ABORTED) {
        sim_note(s, SIM_E_INGEST_ABORTED);
        return true; /* the same bytes go out again */
    }
    check_drift(s);
    tsn_closed_batch_free(&w->queue[0]);
    memmove(w->queue, w->queue + 1, --w->queue_len * sizeof(w->queue[0]));
    if (!sim_trouble(s, SIM_F_CRASH, 60))
        return true;
    sim_note(s, SIM_E_INGEST_DIES_BEHIND);
    sim_worker_start(s, index); /* behind the commit, before it knew */
    return false;
}

static void close_batch(struct sim_world *s, struct sim_worker *w, int index)
{
    if (w->queue_len < SIM_QUEUE) /* the workers' clocks differ by a second even in quiet times */
        w->queue[w->queue_len++] = tsn_ingest_close(w->ingest, s->now + index * 1000 + w->skew_ms);
}

/* It hears of a rebalance that it slept through. */
static void hear(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];

    if (s->cluster.broken != SIM_FORGET_EPOCH) {
        sim_worker_start(s, index);
        return;
    }
    w->generation = s->cluster.generation; /* and what it had in hand still goes out */
    for (int i = 0; i < SIM_SOURCES; i++) {
        bool mine = s->cluster.sources[i].owner == index;

        if (w->holds[i] && !mine)
            tsn_ingest_unassign(w->ingest, sources[i].input, sources[i].partition);
        if (!w->holds[i] && mine)
            hold(s, w, i);
        w->holds[i] = mine;
    }
}

void sim_worker_act(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];

    if (s->now < w->wake_ms)
        return;
    if (w->generation != s->cluster.generation && sim_below(&s->random, 6) == 0)
        hear(s, index);
    if (sim_trouble(s, SIM_F_CLOCK, 150)) {
        int64_t before_ms = w->skew_ms;

        w->skew_ms = sim_below(&s->random, 7200000) - 3600000;
        sim_note(s, w->skew_ms > before_ms ? SIM_E_CLOCK_FORWARD : SIM_E_CLOCK_BACK);
    }
    if (sim_trouble(s, SIM_F_ZOMBIE, 300))
        sleep_a_while(s, w);
    learn_rules(s, w);
    switch (sim_below(&s->random, 4)) {
    case 0: close_batch(s, w, index); break;
    case 1:
        if (w->queue_len)
            (void)send_first(s, index, false);
        break;
    default: read_some(s, w);
    }
}

/* ---- the group ---------------------------------------------------------------------------- */

/* Ordered: what is in hand goes out under the old generation, then the partitions are given up. */
static void revoke(struct sim_world *s, int index, const bool moved[SIM_SOURCES])
{
    struct sim_worker *w = &s->workers[index];
    bool alive = true;

    while (alive && w->queue_len)
        alive = send_first(s, index, true);
    if (alive)
        close_batch(s, w, index);
    while (alive && w->queue_len)
        alive = send_first(s, index, true);
    for (int i = 0; i < SIM_SOURCES; i++)
        if (w->holds[i] && (moved[i] || s->eager)) {
            tsn_ingest_unassign(w->ingest, sources[i].input, sources[i].partition);
            w->holds[i] = false;
        }
}

static void assign(struct sim_world *s, const int owner[SIM_SOURCES],
                   const bool missed[SIM_MAX_WORKERS])
{
    s->cluster.generation++;
    for (int i = 0; i < SIM_SOURCES; i++)
        s->cluster.sources[i].owner = owner[i];
    for (int k = 0; k < s->worker_count; k++) {
        struct sim_worker *w = &s->workers[k];

        if (missed[k])
            continue;
        w->generation = s->cluster.generation;
        for (int i = 0; i < SIM_SOURCES; i++)
            if (owner[i] == k && !w->holds[i])
                hold(s, w, i);
    }
}

static void change(struct sim_world *s, const int owner[SIM_SOURCES])
{
    bool moved[SIM_SOURCES], missed[SIM_MAX_WORKERS] = { false };

    for (int i = 0; i < SIM_SOURCES; i++)
        moved[i] = owner[i] != s->cluster.sources[i].owner;
    for (int k = 0; k < s->worker_count; k++) {
        struct sim_worker *w = &s->workers[k];
        bool affected = false;

        for (int i = 0; i < SIM_SOURCES; i++)
            affected |= w->holds[i] && (moved[i] || s->eager);
        missed[k] = s->now < w->wake_ms || w->generation != s->cluster.generation ||
                    sim_trouble(s, SIM_F_ZOMBIE, 3);
        if (affected && !missed[k])
            sim_note(s, s->eager ? SIM_E_EAGER : SIM_E_COOPERATIVE);
        if (affected && !missed[k])
            revoke(s, k, moved);
        missed[k] |= s->now < w->wake_ms; /* it fell asleep over it */
    }
    assign(s, owner, missed);
}

/* Members come and go: one partition moves, or all of them do. */
void sim_rebalance(struct sim_world *s)
{
    int owner[SIM_SOURCES], one = (int)sim_below(&s->random, SIM_SOURCES);
    bool all = sim_below(&s->random, 3) == 0;

    for (int i = 0; i < SIM_SOURCES; i++) {
        int to = (int)sim_below(&s->random, s->worker_count);

        owner[i] = s->cluster.sources[i].owner;
        if (owner[i] >= 0 && (all || i == one))
            owner[i] = to;
    }
    change(s, owner);
}

void sim_grow(struct sim_world *s)
{
    int owner[SIM_SOURCES];

    for (int i = 0; i < SIM_SOURCES; i++)
        owner[i] = s->cluster.sources[i].owner;
    sim_note(s, SIM_E_NEW_PARTITION);
    owner[SIM_NEW_SOURCE] = (int)sim_below(&s->random, s->worker_count);
    change(s, owner);
}

bool sim_inputs_done(const struct sim_world *s)
{
    for (int i = 0; i < SIM_SOURCES; i++)
        if ((size_t)s->cluster.sources[i].next_offset < s->cluster.inputs[i].len)
            return false;
    return true;
}
