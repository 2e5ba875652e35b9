/*
 * lib_cluster: see sim.h.
 */
#include "sim.h"

#include <string.h>

static const char *const broken_names[SIM_BROKEN_COUNT] = {
    "sound", "no-fencing", "split-commit", "read-aborted", "no-counters", "no-names", "output-first", "respond-forgets"
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
    for (int p = 0; p < SIM_PARTITIONS; p++)
        tsn_map_init(&c->state[p]);
}

static void log_release(struct sim_log *log)
{
    for (size_t i = 0; i < log->len; i++)
        tsn_free(log->items[i].bytes);
    tsn_free(log->items);
}

void sim_cluster_release(struct sim_cluster *c)
{
    for (int s = 0; s < SIM_SOURCES; s++) {
        log_release(&c->inputs[s]);
        tsn_free(c->sources[s].metadata);
    }
    for (int p = 0; p < SIM_PARTITIONS; p++) {
        log_release(&c->samples[p]);
        tsn_map_foreach(&c->state[p], e) {
            tsn_buf_release(e->value);
            tsn_free(e->value);
        }
        tsn_map_release(&c->state[p]);
    }
    log_release(&c->alerts);
}

void sim_log_add(struct sim_log *log, int64_t timestamp_ms, bool aborted, const void *bytes, size_t len)
{
    struct sim_record record = { log->next_offset++, timestamp_ms, aborted, tsn_memdup(bytes, len), len };

    tsn_vec_push(log, record);
}

size_t sim_log_find(const struct sim_log *log, int64_t offset)
{
    size_t at = log->len;

    while (at && log->items[at - 1].offset >= offset)
        at--;
    return at;
}

static int source_of(const struct tsn_commit_offset *offset)
{
    return strcmp(offset->topic, "l") == 0 ? 2 : offset->partition;
}

static bool fenced(const struct sim_cluster *c, int worker, int64_t incarnation, const struct tsn_closed_batch *batch)
{
    if (c->broken == SIM_NO_FENCING)
        return false;
    if (c->producer[worker] != incarnation)
        return true;
    for (size_t i = 0; i < batch->offset_count; i++)
        if (c->sources[source_of(&batch->offsets[i])].owner != worker)
            return true;
    return false;
}

enum sim_outcome sim_commit_batch(struct sim_cluster *c, int worker, int64_t incarnation,
                                  const struct tsn_closed_batch *batch, bool abort_it)
{
    bool refused = fenced(c, worker, incarnation, batch);
    bool visible = !abort_it || c->broken == SIM_SPLIT_COMMIT;

    if (refused)
        return SIM_FENCED;
    for (size_t p = 0; p < batch->record_count; p++) {
        sim_log_add(&c->samples[p], batch->wall_ms, !visible, batch->records[p].data, batch->records[p].len);
        c->samples[p].next_offset++; /* the marker that ends the transaction */
    }
    if (abort_it)
        return SIM_ABORTED;
    for (size_t i = 0; i < batch->offset_count; i++) {
        int s = source_of(&batch->offsets[i]);

        c->sources[s].next_offset = batch->offsets[i].next_offset;
        tsn_free(c->sources[s].metadata);
        c->sources[s].metadata = tsn_strdup(batch->offsets[i].metadata);
    }
    return SIM_COMMITTED;
}

static void put_state(struct tsn_map *topic, const struct tsn_state_record *record)
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

void sim_commit_detect(struct sim_cluster *c, int32_t partition, const struct tsn_buf *alerts, size_t alert_count,
                       const struct tsn_state_record *state, size_t state_count, int64_t next_offset)
{
    for (size_t i = 0; i < alert_count; i++)
        sim_log_add(&c->alerts, partition, false, alerts[i].data, alerts[i].len);
    for (size_t i = 0; i < state_count; i++)
        if (c->broken != SIM_NO_COUNTERS || strncmp(state[i].key, "counter/", 8) != 0)
            put_state(&c->state[partition], &state[i]);
    c->detect_next[partition] = next_offset;
}
