/*
 * lib_detect: the owners of the partitions of `samples` in the simulated cluster, around the real
 * core. A ghost is an owner that was replaced and has not heard of it.
 */
#include "sim_actors.h"

#include <string.h>

#include "tocsin/codec.h"

struct tsn_detect *sim_detect_new(struct sim_world *s, int32_t partition)
{
    struct tsn_detect_options options = { .partition = partition,
                                          .partition_count = SIM_PARTITIONS,
                                          .warmup = true,
                                          .counter_ttl_ms = SIM_TTL_MS,
                                          .long_ms = sim_long_ms(s),
                                          .chunk_ms = sim_chunk_ms(s),
                                          .reuse_sums = s->cluster.broken == SIM_REUSE_SUM };
    struct tsn_detect *d = tsn_detect_new(&options);

    for (int i = 0; i < sim_set_count(s); i++)
        tsn_detect_add_rule_set(d, i, sim_rules(s, i));
    return d;
}

/* Applies one record of samples; appends what came out as encoded transitions. */
void sim_detect_apply(struct sim_world *s, struct tsn_detect *d, const struct sim_record *r,
                      struct sim_texts *alerts)
{
    struct tsn_detect_output out = { 0 };
    struct tsn_batch batch = { 0 };
    struct tsn_error error;

    if (tsn_codec_batch_decode(r->bytes, r->len, &batch, &error))
        sim_fail(s, "samples offset %lld: %s", (long long)r->offset, error.message);
    if (s->cluster.broken == SIM_SWITCH_EARLY && batch.wall_ms > s->switch_ms)
        batch.rule_set = 1;
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

void sim_owner_stop(struct sim_owner *o)
{
    sim_texts_clear(&o->pending);
    tsn_detect_free(&o->detect);
}

static void refill(struct sim_world *s, int32_t p, int64_t from, int64_t next)
{
    const struct sim_log *log = &s->cluster.samples[p];
    struct sim_texts nothing = { 0 };

    for (size_t i = sim_log_find(log, from); i < log->len; i++)
        if (log->items[i].offset < next && !log->items[i].aborted)
            sim_detect_apply(s, s->owners[p].detect, &log->items[i], &nothing);
    if (nothing.len)
        sim_fail(s, "a refill gave transitions");
    sim_texts_clear(&nothing);
}

/* Takes over, or waits while a transaction over `state` is not decided. */
void sim_owner_start(struct sim_world *s, int32_t p)
{
    struct sim_owner *o = &s->owners[p];
    struct tsn_error error;
    int64_t from, next;
    bool waits;

    sim_owner_stop(o);
    o->generation = ++s->cluster.detect_generation[p];
    sim_state_settle(&s->cluster, p, s->now);
    waits = s->cluster.pending[p].records.len || s->cluster.pending[p].open_ms > s->now;
    if (waits)
        sim_note(s, s->cluster.pending[p].records.len ? SIM_E_MARKER_STATE : SIM_E_DETECT_TIMED_OUT);
    if (waits && s->cluster.broken != SIM_TAKE_STABLE)
        return;
    o->detect = sim_detect_new(s, p);
    tsn_map_foreach(&s->cluster.state[p], e)
    {
        const struct tsn_buf *value = e->value;

        s->seen[SIM_E_CHUNK_TAKEN] += e->key_len > 6 && memcmp(tsn_map_entry_key(e), "chunk/", 6) == 0;
        s->seen[SIM_E_TEMPLATE_TAKEN] += e->key_len > 9 && memcmp(tsn_map_entry_key(e), "template/", 9) == 0;
        if (tsn_detect_restore(o->detect, tsn_map_entry_key(e), e->key_len, value->data, value->len,
                               &error))
            sim_fail(s, "restore: %s", error.message);
    }
    if (tsn_detect_restore_done(o->detect, &from, &next, &error))
        sim_fail(s, "restore: %s", error.message);
    if (s->cluster.broken == SIM_NO_NAMES)
        from = next - (next - from) / 2;
    o->next = s->cluster.detect_next[p];
    refill(s, p, from, next);
    s->takeovers++;
}

/* Before, inside or behind the transaction, a crash: what was not committed is given again by the
 * next owner. */
static void owner_commit(struct sim_world *s, struct sim_owner *o, int32_t p)
{
    struct tsn_detect_output state = { 0 };
    struct sim_transaction t = { .now_ms = s->now };
    bool fails = sim_trouble(s, SIM_F_CRASH, 50), open = sim_trouble(s, SIM_F_TIMEOUT, 100);

    if (sim_trouble(s, SIM_F_MARKER, 5))
        t.late_ms[sim_below(&s->random, 2)] = sim_below(&s->random, 4000);
    if (fails && s->cluster.broken == SIM_OUTPUT_FIRST)
        sim_commit_detect(&s->cluster, p, o->pending.items, o->pending.len, NULL, s->cluster.detect_next[p], &t);
    t.leave_open = open;
    if (!fails) {
        tsn_detect_checkpoint(o->detect, o->next, &state);
        sim_commit_detect(&s->cluster, p, o->pending.items, o->pending.len, &state, o->next, &t);
        tsn_detect_output_release(&state);
        sim_texts_clear(&o->pending);
        fails = open || sim_trouble(s, SIM_F_CRASH, 100);
        if (fails)
            sim_note(s, open ? SIM_E_DETECT_DIES_INSIDE : SIM_E_DETECT_DIES_BEHIND);
    } else {
        sim_note(s, SIM_E_DETECT_DIES_BEFORE);
    }
    if (fails)
        sim_owner_start(s, p);
}

static void read_samples(struct sim_world *s, struct sim_owner *o, int32_t p)
{
    struct sim_log *log = &s->cluster.samples[p];
    size_t at = sim_log_find(log, o->next), end = sim_log_stable(log, s->now);

    if (at == end && end < log->len && !log->items[end].aborted)
        sim_note(s, SIM_E_MARKER_SAMPLES);
    for (int64_t n = 1 + sim_below(&s->random, 4); n && at < end; n--, at++) {
        if (!log->items[at].aborted || s->cluster.broken == SIM_READ_ABORTED)
            sim_detect_apply(s, o->detect, &log->items[at], &o->pending);
        o->next = log->items[at].offset + 1;
    }
}

void sim_owner_act(struct sim_world *s, int32_t p)
{
    struct sim_owner *o = &s->owners[p];

    sim_state_settle(&s->cluster, p, s->now);
    if (!o->detect) {
        sim_owner_start(s, p);
        return;
    }
    if (sim_trouble(s, SIM_F_ZOMBIE, 200)) { /* another takes over; this one does not know */
        sim_owner_stop(&s->ghosts[p]);
        s->ghosts[p] = *o;
        memset(o, 0, sizeof *o);
        sim_owner_start(s, p);
        return;
    }
    read_samples(s, o, p);
    if (sim_below(&s->random, 3) == 0)
        owner_commit(s, o, p);
}

void sim_owner_haunt(struct sim_world *s, int32_t p)
{
    struct sim_owner *ghost = &s->ghosts[p];

    if (!ghost->detect)
        return;
    read_samples(s, ghost, p);
    if (sim_below(&s->random, 3))
        return;
    if (s->cluster.broken == SIM_NO_FENCING) {
        struct tsn_detect_output state = { 0 };
        struct sim_transaction t = { .now_ms = s->now };

        tsn_detect_checkpoint(ghost->detect, ghost->next, &state);
        sim_commit_detect(&s->cluster, p, ghost->pending.items, ghost->pending.len, &state, ghost->next, &t);
        tsn_detect_output_release(&state);
    }
    sim_note(s, SIM_E_DETECT_ZOMBIE);
    sim_owner_stop(ghost); /* refused, it gives up */
}

bool sim_owners_done(const struct sim_world *s)
{
    for (int p = 0; p < SIM_PARTITIONS; p++)
        if (sim_log_find(&s->cluster.samples[p], s->cluster.detect_next[p]) <
            s->cluster.samples[p].len)
            return false;
    return true;
}
