/*
 * lib_cluster: see sim.h.
 */
#include "sim.h"

#include <string.h>

#include "tocsin/codec.h"

static const char *const broken_names[SIM_BROKEN_COUNT] = {
    [SIM_SOUND] = "sound",
    [SIM_NO_FENCING] = "no-fencing",
    [SIM_SPLIT_COMMIT] = "split-commit",
    [SIM_READ_ABORTED] = "read-aborted",
    [SIM_NO_COUNTERS] = "no-counters",
    [SIM_NO_TEMPLATES] = "no-templates",
    [SIM_NO_CHUNKS] = "no-chunks",
    [SIM_NO_NAMES] = "no-names",
    [SIM_OUTPUT_FIRST] = "output-first",
    [SIM_IDLE_WALL] = "idle-by-wall-clock",
    [SIM_IDLE_STABLE] = "idle-at-stable-offset",
    [SIM_SKIP_PUNCTUATION] = "skip-punctuation",
    [SIM_REUSE_SUM] = "reuse-kahan-sum",
    [SIM_FORGET_EPOCH] = "forget-epoch",
    [SIM_TAKE_STABLE] = "takeover-at-stable-offset",
    [SIM_NO_ALIGN] = "no-alignment",
    [SIM_MARK_FIRST] = "commit-before-outbox",
    [SIM_FORGET_GENERATION] = "forget-generation",
    [SIM_SWITCH_EARLY] = "switch-at-first-sight",
    [SIM_FORGET_COMMANDS] = "forget-commands",
    [SIM_OWN_CLOCK] = "timers-by-own-clock",
    [SIM_BLIND_RESTORE] = "blind-restore",
};

const char *sim_broken_name(enum sim_broken broken)
{
    return broken_names[broken];
}

uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t sim_below(uint64_t *state, int64_t n)
{
    return (int64_t)(sim_random(state) % (uint64_t)n);
}

void sim_cluster_init(struct sim_cluster *c, enum sim_broken broken)
{
    memset(c, 0, sizeof *c);
    c->broken = broken;
    tsn_map_init(&c->templates);
    for (int p = 0; p < SIM_PARTITIONS; p++)
        tsn_map_init(&c->state[p]);
}

static void log_release(struct sim_log *log)
{
    for (size_t i = 0; i < log->len; i++)
        tsn_free(log->items[i].bytes);
    tsn_free(log->items);
}

static void release_topic(struct tsn_map *topic)
{
    tsn_map_foreach(topic, e)
    {
        tsn_buf_release(e->value);
        tsn_free(e->value);
    }
    tsn_map_release(topic);
}

void sim_cluster_release(struct sim_cluster *c)
{
    for (int s = 0; s < SIM_SOURCES; s++) {
        log_release(&c->inputs[s]);
        tsn_free(c->sources[s].metadata);
    }
    for (int p = 0; p < SIM_PARTITIONS; p++) {
        log_release(&c->samples[p]);
        release_topic(&c->state[p]);
        for (size_t i = 0; i < c->pending[p].records.len; i++) {
            tsn_free(c->pending[p].records.items[i].key);
            tsn_free(c->pending[p].records.items[i].value);
        }
        tsn_vec_release(&c->pending[p].records);
    }
    release_topic(&c->templates);
    log_release(&c->alerts);
    log_release(&c->commands);
}

static struct sim_record *add(struct sim_log *log, int64_t timestamp_ms, bool aborted,
                              const void *bytes, size_t len)
{
    struct sim_record record = { .offset = log->next_offset++,
                                 .timestamp_ms = timestamp_ms,
                                 .visible_ms = INT64_MIN,
                                 .slot = -1,
                                 .aborted = aborted,
                                 .bytes = tsn_memdup(bytes, len),
                                 .len = len };

    tsn_vec_push(log, record);
    return &log->items[log->len - 1];
}

void sim_log_add(struct sim_log *log, int64_t timestamp_ms, bool aborted, const void *bytes,
                 size_t len)
{
    (void)add(log, timestamp_ms, aborted, bytes, len);
}

size_t sim_log_find(const struct sim_log *log, int64_t offset)
{
    size_t at = log->len;

    while (at && log->items[at - 1].offset >= offset)
        at--;
    return at;
}

size_t sim_log_stable(struct sim_log *log, int64_t now_ms)
{
    while (log->stable < log->len && log->items[log->stable].visible_ms <= now_ms)
        log->stable++;
    return log->stable;
}

static void end_open(struct sim_log *log, int32_t slot, int64_t now_ms)
{
    for (size_t i = log->stable; i < log->len; i++)
        if (log->items[i].slot == slot && log->items[i].aborted &&
            log->items[i].visible_ms > now_ms)
            log->items[i].visible_ms = now_ms;
}

void sim_end_open(struct sim_cluster *c, int32_t slot, int64_t now_ms)
{
    for (int p = 0; p < SIM_PARTITIONS; p++)
        end_open(&c->samples[p], slot, now_ms);
}

static int source_of(const struct tsn_commit_offset *offset)
{
    static const int metrics[] = { 0, 1, SIM_NEW_SOURCE };

    return strcmp(offset->topic, "l") == 0 ? 2 : metrics[offset->partition];
}

static bool has_samples(const struct tsn_buf *record)
{
    struct tsn_batch batch;
    bool any;

    if (tsn_codec_batch_decode(record->data, record->len, &batch, NULL))
        return true;
    any = batch.point_count + batch.delta_count > 0;
    tsn_batch_release(&batch);
    return any;
}

enum sim_outcome sim_commit_batch(struct sim_cluster *c, const struct sim_transaction *t,
                                  const struct tsn_closed_batch *batch)
{
    bool ends_well = !t->abort_it && !t->leave_open,
         visible = ends_well || c->broken == SIM_SPLIT_COMMIT;

    if (c->broken != SIM_NO_FENCING &&
        (c->producer[t->slot] != t->incarnation || t->generation != c->generation))
        return SIM_FENCED;
    for (size_t i = 0; i < batch->record_count; i++) {
        size_t p = i % (size_t)batch->partitions;
        struct sim_record *r;

        if (c->broken == SIM_SKIP_PUNCTUATION && !has_samples(&batch->records[i]))
            continue;
        r = add(&c->samples[p], batch->wall_ms, !visible, batch->records[i].data,
                batch->records[i].len);
        r->slot = t->slot;
        if (!visible)
            r->visible_ms = t->now_ms + (t->leave_open ? SIM_TRANSACTION_MS : 0);
        else
            r->visible_ms = t->now_ms + t->late_ms[p];
        c->samples[p].next_offset++; /* the marker that ends the transaction */
    }
    if (!ends_well)
        return SIM_ABORTED;
    for (size_t i = 0; i < batch->offset_count; i++) {
        int s = source_of(&batch->offsets[i]);

        c->sources[s].next_offset = batch->offsets[i].next_offset;
        tsn_free(c->sources[s].metadata);
        c->sources[s].metadata = tsn_strdup(batch->offsets[i].metadata);
    }
    return SIM_COMMITTED;
}

static void put_record(struct tsn_map *topic, const struct sim_pending_state *record)
{
    struct tsn_buf *old = tsn_map_del(topic, record->key, strlen(record->key)), *value;

    if (old) {
        tsn_buf_release(old);
        tsn_free(old);
    }
    if (!record->value)
        return;
    value = tsn_calloc(1, sizeof *value);
    tsn_buf_append(value, record->value, record->value_len);
    tsn_map_put_str(topic, record->key, value);
}

/* Markers come in order: what stands behind a late one waits. */
void sim_state_settle(struct sim_cluster *c, int32_t p, int64_t now_ms)
{
    size_t done = 0;

    while (done < c->pending[p].records.len &&
           c->pending[p].records.items[done].visible_ms <= now_ms) {
        struct sim_pending_state *r = &c->pending[p].records.items[done++];

        put_record(&c->state[p], r);
        c->chunks_dropped += !r->value && strncmp(r->key, "chunk/", 6) == 0;
        tsn_free(r->key);
        tsn_free(r->value);
    }
    c->pending[p].records.len -= done;
    if (done)
        memmove(c->pending[p].records.items, c->pending[p].records.items + done,
                c->pending[p].records.len * sizeof *c->pending[p].records.items);
}

/* What a broken variant forgets to write. */
static bool loses(enum sim_broken broken, const char *key)
{
    switch (broken) {
    case SIM_NO_COUNTERS: return strncmp(key, "counter/", 8) == 0;
    case SIM_NO_TEMPLATES:
        return strncmp(key, "miner/", 6) == 0 || strncmp(key, "template/", 9) == 0 || strncmp(key, "lines/", 6) == 0;
    case SIM_NO_CHUNKS: return strncmp(key, "chunk/", 6) == 0;
    default: return false;
    }
}

void sim_commit_detect(struct sim_cluster *c, int32_t partition, const struct tsn_buf *alerts,
                       size_t alert_count, const struct tsn_detect_output *out, int64_t next_offset,
                       const struct sim_transaction *t)
{
    const struct tsn_state_record *state = out ? out->state.items : NULL;
    size_t state_count = out ? out->state.len : 0, template_count = out ? out->templates.len : 0;

    for (size_t i = 0; i < alert_count; i++) {
        struct sim_record *r =
            add(&c->alerts, partition, t->leave_open, alerts[i].data, alerts[i].len);

        r->visible_ms = t->now_ms + (t->leave_open ? SIM_TRANSACTION_MS : t->late_ms[0]);
    }
    if (t->leave_open) {
        c->pending[partition].open_ms = t->now_ms + SIM_TRANSACTION_MS;
        return;
    }
    for (size_t i = 0; i < state_count; i++) {
        struct sim_pending_state r = { tsn_strdup(state[i].key), NULL, state[i].value_len,
                                       t->now_ms + t->late_ms[1] };

        if (state[i].value)
            r.value = tsn_memdup(state[i].value, state[i].value_len);
        if (!loses(c->broken, r.key)) {
            tsn_vec_push(&c->pending[partition].records, r);
            continue;
        }
        tsn_free(r.key);
        tsn_free(r.value);
    }
    for (size_t i = 0; i < template_count; i++) {
        struct sim_pending_state r = { out->templates.items[i].key, out->templates.items[i].value,
                                       out->templates.items[i].value_len, 0 };

        put_record(&c->templates, &r);
    }
    c->detect_next[partition] = next_offset;
    sim_state_settle(c, partition, t->now_ms);
}
