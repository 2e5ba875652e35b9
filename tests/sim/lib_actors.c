/*
 * lib_actors: the processes of the simulated cluster, around the real cores. Each function is one thing that
 * a process does between two looks at the clock; a crash forgets all but what the cluster holds.
 */
#include "sim_actors.h"

#include <string.h>

#include "tocsin/codec.h"

/* ---- INGEST ------------------------------------------------------------------------------- */

static const struct {
    size_t input;
    int32_t partition, count;
} sources[SIM_SOURCES] = { { 0, 0, 2 }, { 0, 1, 2 }, { 1, 0, 1 } };

static void drop_queue(struct sim_worker *w)
{
    for (size_t i = 0; i < w->queue_len; i++)
        tsn_closed_batch_free(&w->queue[i]);
    w->queue_len = 0;
}

static void hold(struct sim_world *s, struct sim_worker *w, int source)
{
    struct tsn_error error;

    if (tsn_ingest_assign(w->ingest, sources[source].input, sources[source].partition, sources[source].count,
                          s->cluster.sources[source].next_offset, s->cluster.sources[source].metadata, &error))
        sim_fail(s, "assign: %s", error.message);
    w->holds[source] = true;
    w->next[source] = s->cluster.sources[source].next_offset;
    w->read_ms[source] = s->now;
}

void sim_worker_start(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];
    struct tsn_ingest_options options = { .config = &s->config, .slot = index, .writer = ++s->incarnations,
                                          .samples_partitions = SIM_PARTITIONS };
    struct tsn_error error;

    drop_queue(w);
    tsn_ingest_free(&w->ingest);
    memset(w->holds, 0, sizeof w->holds);
    w->incarnation = options.writer;
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

static bool available(const struct sim_world *s, const struct sim_worker *w, int source)
{
    const struct sim_log *log = &s->cluster.inputs[source];

    return (size_t)w->next[source] < log->len && log->items[w->next[source]].timestamp_ms <= s->now;
}

static void feed(struct sim_world *s, struct sim_worker *w, int source)
{
    for (int64_t n = 1 + sim_below(&s->random, 20); n && available(s, w, source); n--) {
        const struct sim_record *r = &s->cluster.inputs[source].items[w->next[source]];
        struct tsn_ingest_record record = { .input = sources[source].input,
                                            .partition = sources[source].partition,
                                            .offset = r->offset,
                                            .timestamp_ms = r->timestamp_ms,
                                            .value = r->bytes,
                                            .value_len = r->len };

        (void)tsn_ingest_record(w->ingest, &record, NULL);
        w->next[source]++;
        w->read_ms[source] = s->now;
    }
}

static void look_idle(struct sim_world *s, struct sim_worker *w, int source)
{
    if (s->never_late && !sim_inputs_done(s))
        return;
    if (!available(s, w, source) && s->now - w->read_ms[source] >= s->config.time.idle_timeout_ms)
        tsn_ingest_idle(w->ingest, sources[source].input, sources[source].partition, s->now);
}

/* Returns false if the worker found itself fenced (it has then started anew). */
static bool send_first(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];
    enum sim_outcome outcome = sim_commit_batch(&s->cluster, index, w->incarnation, w->queue[0],
                                                sim_below(&s->random, 5) == 0);

    if (outcome == SIM_FENCED) {
        sim_worker_start(s, index);
        return false;
    }
    if (outcome == SIM_ABORTED)
        return true; /* the same bytes go out again */
    tsn_closed_batch_free(&w->queue[0]);
    memmove(w->queue, w->queue + 1, --w->queue_len * sizeof(w->queue[0]));
    return true;
}

static void close_batch(struct sim_world *s, struct sim_worker *w, int index)
{
    if (w->queue_len < SIM_QUEUE) /* the workers' clocks differ by a second */
        w->queue[w->queue_len++] = tsn_ingest_close(w->ingest, s->now + index * 1000);
}

void sim_worker_act(struct sim_world *s, int index)
{
    struct sim_worker *w = &s->workers[index];
    int source = (int)sim_below(&s->random, SIM_SOURCES);

    learn_rules(s, w);
    switch (sim_below(&s->random, 4)) {
    case 0: close_batch(s, w, index); break;
    case 1:
        if (w->queue_len)
            (void)send_first(s, index);
        break;
    default:
        if (!w->holds[source])
            break;
        if (available(s, w, source))
            feed(s, w, source);
        else
            look_idle(s, w, source);
    }
}

/* The partition goes to another worker. Lost: the old owner does not know until it is refused. */
void sim_rebalance(struct sim_world *s)
{
    int source = (int)sim_below(&s->random, SIM_SOURCES);
    int from = s->cluster.sources[source].owner, to = (from + 1) % SIM_WORKERS;
    struct sim_worker *w = &s->workers[from];
    bool lost = sim_below(&s->random, 2) == 0, alive = true;

    if (!lost && w->holds[source]) {
        while (alive && w->queue_len)
            alive = send_first(s, from);
        if (alive)
            close_batch(s, w, from);
        while (alive && w->queue_len)
            alive = send_first(s, from);
        if (alive) {
            tsn_ingest_unassign(w->ingest, sources[source].input, sources[source].partition);
            w->holds[source] = false;
        }
    }
    if (!alive)
        return;
    s->cluster.sources[source].owner = to;
    if (s->workers[to].holds[source]) /* it had lost it and never noticed: it joins anew */
        sim_worker_start(s, to);
    else
        hold(s, &s->workers[to], source);
}

bool sim_inputs_done(const struct sim_world *s)
{
    for (int i = 0; i < SIM_SOURCES; i++)
        if ((size_t)s->cluster.sources[i].next_offset < s->cluster.inputs[i].len)
            return false;
    return true;
}

/* ---- DETECT ------------------------------------------------------------------------------- */

struct tsn_detect *sim_detect_new(struct sim_world *s, int32_t partition)
{
    struct tsn_detect_options options = { .partition = partition,
                                          .partition_count = SIM_PARTITIONS,
                                          .warmup = true,
                                          .counter_ttl_ms = SIM_TTL_MS };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (int64_t i = 0; i < 2; i++)
        tsn_detect_add_rule_set(d, i, sim_rules(s, (int)i));
    return d;
}

/* Applies one record of samples; appends what came out as encoded transitions. */
void sim_detect_apply(struct sim_world *s, struct tsn_detect *d, const struct sim_record *r, struct sim_texts *alerts)
{
    struct tsn_detect_output out = { 0 };
    struct tsn_batch batch = { 0 };
    struct tsn_error error;

    if (tsn_codec_batch_decode(r->bytes, r->len, &batch, &error))
        sim_fail(s, "samples offset %lld: %s", (long long)r->offset, error.message);
    tsn_detect_apply(d, &batch, r->offset, &out);
    tsn_batch_release(&batch);
    for (size_t i = 0; i < out.transitions.len; i++) {
        struct tsn_buf text = TSN_BUF_INIT;

        tsn_codec_transition_encode(&out.transitions.items[i], TSN_FORM_JSON, &text);
        tsn_vec_push(alerts, text);
    }
    tsn_detect_output_release(&out);
}

void sim_texts_clear(struct sim_texts *texts)
{
    for (size_t i = 0; i < texts->len; i++)
        tsn_buf_release(&texts->items[i]);
    tsn_vec_release(texts);
}

void sim_owner_start(struct sim_world *s, int32_t p)
{
    struct sim_owner *o = &s->owners[p];
    struct sim_texts nothing = { 0 };
    struct tsn_error error;
    int64_t from, next;

    sim_texts_clear(&o->pending);
    tsn_detect_free(&o->detect);
    o->detect = sim_detect_new(s, p);
    tsn_map_foreach(&s->cluster.state[p], e) {
        const struct tsn_buf *value = e->value;

        if (tsn_detect_restore(o->detect, tsn_map_entry_key(e), e->key_len, value->data, value->len, &error))
            sim_fail(s, "restore: %s", error.message);
    }
    if (tsn_detect_restore_done(o->detect, &from, &next, &error))
        sim_fail(s, "restore: %s", error.message);
    if (s->cluster.broken == SIM_NO_NAMES)
        from = next - (next - from) / 2;
    o->next = s->cluster.detect_next[p];
    for (size_t i = sim_log_find(&s->cluster.samples[p], from); i < s->cluster.samples[p].len; i++)
        if (s->cluster.samples[p].items[i].offset < next && !s->cluster.samples[p].items[i].aborted)
            sim_detect_apply(s, o->detect, &s->cluster.samples[p].items[i], &nothing);
    if (nothing.len)
        sim_fail(s, "a refill gave transitions");
    sim_texts_clear(&nothing);
    s->takeovers++;
}

static void owner_commit(struct sim_world *s, int32_t p)
{
    struct sim_owner *o = &s->owners[p];
    struct tsn_detect_output state = { 0 };
    bool fails = sim_below(&s->random, 10) == 0;

    if (fails && s->cluster.broken == SIM_OUTPUT_FIRST)
        sim_commit_detect(&s->cluster, p, o->pending.items, o->pending.len, NULL, 0, s->cluster.detect_next[p]);
    if (fails) {
        sim_owner_start(s, p);
        return;
    }
    tsn_detect_checkpoint(o->detect, o->next, &state);
    sim_commit_detect(&s->cluster, p, o->pending.items, o->pending.len, state.state.items, state.state.len, o->next);
    tsn_detect_output_release(&state);
    sim_texts_clear(&o->pending);
}

void sim_owner_act(struct sim_world *s, int32_t p)
{
    struct sim_owner *o = &s->owners[p];
    const struct sim_log *log = &s->cluster.samples[p];
    size_t at = sim_log_find(log, o->next);

    for (int64_t n = 1 + sim_below(&s->random, 4); n && at < log->len; n--, at++) {
        if (!log->items[at].aborted || s->cluster.broken == SIM_READ_ABORTED)
            sim_detect_apply(s, o->detect, &log->items[at], &o->pending);
        o->next = log->items[at].offset + 1;
    }
    if (sim_below(&s->random, 3) == 0)
        owner_commit(s, p);
}

bool sim_owners_done(const struct sim_world *s)
{
    for (int p = 0; p < SIM_PARTITIONS; p++)
        if (sim_log_find(&s->cluster.samples[p], s->cluster.detect_next[p]) < s->cluster.samples[p].len)
            return false;
    return true;
}

/* ---- RESPOND ------------------------------------------------------------------------------ */

static void forget_saved(struct tsn_map *saved, const char *id)
{
    struct tsn_respond_incident *old = tsn_map_del(saved, id, strlen(id));

    if (!old)
        return;
    tsn_respond_incident_release(old);
    tsn_free(old);
}

void sim_responder_release(struct sim_responder *r)
{
    tsn_respond_free(&r->respond);
    while (r->saved.count)
        tsn_map_foreach(&r->saved, e) {
            char id[64];

            snprintf(id, sizeof id, "%.*s", (int)e->key_len, tsn_map_entry_key(e));
            forget_saved(&r->saved, id);
            break;
        }
    tsn_map_release(&r->saved);
    sim_texts_clear(&r->published);
}

void sim_responder_start(struct sim_world *s, struct sim_responder *r)
{
    struct tsn_respond_options options = { .shadow = false };
    struct tsn_error error;

    tsn_respond_free(&r->respond);
    r->respond = tsn_respond_new(&s->policy, &options);
    tsn_map_foreach(&r->saved, e) {
        struct tsn_respond_incident copy;

        tsn_respond_incident_copy(&copy, e->value);
        if (tsn_respond_restore(r->respond, &copy, &error))
            sim_fail(s, "respond: %s", error.message);
        tsn_respond_incident_release(&copy);
    }
    if (r->has_position)
        tsn_respond_set_position(r->respond, r->position);
    r->next = r->has_position ? (size_t)(r->position.alerts + 1) : 0;
}

/* Incidents, outbox and applied offset go in together, or not at all. */
static void respond_store(struct sim_world *s, struct sim_responder *r, const struct tsn_effects *effects)
{
    for (size_t i = 0; i < effects->len; i++) {
        const struct tsn_effect *e = &effects->items[i];

        if (e->kind == TSN_EFFECT_EVENT) {
            struct tsn_buf text = TSN_BUF_INIT;

            tsn_codec_incident_event_encode(&e->event, TSN_FORM_JSON, &text);
            tsn_vec_push(&r->published, text);
        } else if (e->kind == TSN_EFFECT_SAVE) {
            struct tsn_respond_incident *copy = tsn_alloc(sizeof *copy);

            tsn_respond_incident_copy(copy, e->record);
            forget_saved(&r->saved, e->incident_id);
            tsn_map_put_str(&r->saved, e->incident_id, copy);
        } else if (e->kind == TSN_EFFECT_FORGET) {
            forget_saved(&r->saved, e->incident_id);
        }
    }
    if (s->cluster.broken == SIM_RESPOND_FORGETS && r == &s->responder && sim_below(&s->random, 2))
        return;
    r->position = tsn_respond_position(r->respond);
    r->has_position = true;
}

/* Takes the next alert. The incident clock is the alert's step: the same whenever it is read. */
void sim_responder_act(struct sim_world *s, struct sim_responder *r, bool may_crash)
{
    const struct sim_record *record;
    struct tsn_effects effects = { 0 };
    struct tsn_transition t;
    struct tsn_error error;

    if (r->next >= s->cluster.alerts.len)
        return;
    record = &s->cluster.alerts.items[r->next];
    if (tsn_codec_transition_decode(record->bytes, record->len, TSN_FORM_JSON, &t, &error))
        sim_fail(s, "alerts offset %lld: %s", (long long)record->offset, error.message);
    tsn_respond_transition(r->respond, record->offset, t.step_ms, &t, &effects);
    tsn_transition_release(&t);
    if (may_crash && sim_below(&s->random, 8) == 0) {
        tsn_effects_release(&effects);
        sim_responder_start(s, r);
        return;
    }
    respond_store(s, r, &effects);
    tsn_effects_release(&effects);
    r->next++;
    if (may_crash && sim_below(&s->random, 12) == 0)
        sim_responder_start(s, r);
}
