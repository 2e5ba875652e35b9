/*
 * ingest_align: keeps input partitions that must be read side by side within time.align (or time.align_bytes) of each other.
 *
 * DETECT holds what one input brings ahead of another that feeds the same unit; this bounds it. Compared are the partitions of all inputs that
 * a rule set ties (tsn_ingest_tied), over the whole group: this worker's as they stand, others' as their committed metadata says. Idle ones
 * do not count: they do not hold time. An active one that has no watermark yet is slower than all: no time to compare with, so the
 * others go on by bytes alone, as it may hold time for as long as it likes (an open transaction).
 *
 * Limits: others' watermarks are a second old; bytes are those of the values read, not of the batches they became.
 */
#include "app/ingest_session.h"

#include <string.h>

enum { ALIGN_MS = 1000, COMMITTED_MS = 3000 };

/* What an input's partitions say: the least watermark among active ones (TSN_TIME_NONE: one has none); INT64_MAX: none is active. */
static int64_t slowest_of(struct ingest_session *s, const struct tsn_kafka_partitions *committed, int32_t input)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < committed->len; i++) {
        const struct tsn_kafka_partition *at = &committed->items[i];
        const struct part *part = ingest_part(s, at->topic, at->partition);
        int64_t watermark_ms = TSN_TIME_NONE, clock_ms;
        bool idle = false;

        if (at->topic != input)
            continue;
        if (part && part->mine) {
            idle = part->idle;
            watermark_ms = tsn_ingest_watermark(s->ingest, (size_t)input, at->partition);
        } else if (!at->metadata || !tsn_ingest_metadata_parse(at->metadata, &watermark_ms, &idle, &clock_ms)) {
            watermark_ms = TSN_TIME_NONE;
        }
        if (!idle && watermark_ms < least)
            least = watermark_ms;
    }
    return least;
}

static void mark_bytes(struct part *part, int64_t watermark_ms)
{
    if (watermark_ms == TSN_TIME_NONE)
        return;
    if (part->mark_count == ALIGN_MARKS) {
        memmove(part->marks, part->marks + 1, (ALIGN_MARKS - 1) * sizeof part->marks[0]);
        part->mark_count--;
    }
    part->marks[part->mark_count++] = (struct align_mark){ watermark_ms, part->bytes };
}

/* What the partition gave since its own watermark stood at `least_ms`: what DETECT has to hold of it. */
static int64_t bytes_ahead(const struct part *part, int64_t least_ms)
{
    for (int i = part->mark_count; i > 0; i--)
        if (part->marks[i - 1].watermark_ms <= least_ms)
            return part->bytes - part->marks[i - 1].bytes;
    return part->mark_count && least_ms != TSN_TIME_NONE ? part->bytes - part->marks[0].bytes : part->bytes;
}

static bool too_far(const struct ingest_session *s, const struct part *part, int64_t at_ms, int64_t least_ms)
{
    if (part->idle || at_ms == TSN_TIME_NONE || at_ms <= least_ms)
        return false;
    if (least_ms != TSN_TIME_NONE && at_ms - least_ms > s->config->time.align_ms)
        return true;
    return bytes_ahead(part, least_ms) > s->config->time.align_bytes;
}

static void align_input(struct ingest_session *s, int32_t input, int64_t least_ms)
{
    for (int32_t p = 0; p < s->part_count[input]; p++) {
        struct part *part = &s->parts[input][p];
        int64_t at_ms = part->mine ? tsn_ingest_watermark(s->ingest, (size_t)input, p) : TSN_TIME_NONE;
        bool ahead;

        if (!part->mine)
            continue;
        mark_bytes(part, at_ms);
        ahead = too_far(s, part, at_ms, least_ms);
        if (ahead == part->align_paused)
            continue;
        part->align_paused = ahead;
        tsn_ingest_blocked(s->ingest, (size_t)input, p); /* what comes while it waits is not seen: it holds time */
        tsn_consumer_pause(s->consumer, input, p, ahead);
    }
}

/* Where nobody of the group has seen an event, idle clocks start at the wall clock; so say what others have seen. */
static void know_watermarks(struct ingest_session *s, const struct tsn_kafka_partitions *committed)
{
    for (size_t i = 0; i < committed->len; i++) {
        int64_t watermark_ms, clock_ms;
        bool idle;

        if (committed->items[i].metadata && tsn_ingest_metadata_parse(committed->items[i].metadata, &watermark_ms, &idle, &clock_ms))
            tsn_ingest_know(s->ingest, watermark_ms);
    }
}

void ingest_align(struct ingest_session *s)
{
    struct tsn_kafka_partitions committed = { 0 };
    struct tsn_error error;
    int64_t slowest[TSN_ARRAY_LEN(s->parts)];

    if (!ingest_older_than(s->align_ns, ALIGN_MS))
        return;
    s->align_ns = tsn_mono_now().ns;
    if (tsn_consumer_committed(s->consumer, COMMITTED_MS, &committed, &error)) {
        tsn_log(TSN_LOG_WARN, "ingest", "offsets of the group cannot be read; alignment stays as it is", "error=\"%s\"", error.message);
        return;
    }
    know_watermarks(s, &committed);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        slowest[i] = slowest_of(s, &committed, (int32_t)i);
    for (size_t i = 0; i < s->config->inputs.len; i++) {
        int64_t least_ms = INT64_MAX;

        for (size_t j = 0; j < s->config->inputs.len; j++)
            if (tsn_ingest_tied(s->ingest, i, j) && slowest[j] < least_ms)
                least_ms = slowest[j];
        align_input(s, (int32_t)i, least_ms);
    }
    tsn_kafka_partitions_release(&committed);
}
