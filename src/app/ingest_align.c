/*
 * ingest_align: keeps input partitions that must be read side by side within time.align (or time.align_bytes) of each other.
 *
 * DETECT holds what one input brings ahead of another that feeds the same unit; this bounds it. Compared are the partitions of all inputs that
 * a rule set ties (tsn_ingest_tied), over the whole group: this worker's as they stand, others' as their committed metadata says. Idle ones
 * do not count: they do not hold time. An active one that has no watermark yet is slower than all, and gives no time to compare with. While it is new
 * (NEW_MS) the others go no further than time.align from where they began; after that by bytes alone, as it may hold time for as long as it
 * likes (an open transaction).
 *
 * The partitions are compared every LOOK_MS; one that is further ahead than time.align waits, and goes on when it is no more than half as far ahead,
 * because a pause throws away what was fetched. What a poll had brought by then is taken: letting it fall and seeking back to it lost the order of
 * a partition on a real broker.
 *
 * Others' watermarks are asked for once a second, and more often while a partition of this worker waits. They are older than they look, never younger.
 *
 * Limits: between two looks a fast catch-up goes on: the bound holds but for what LOOK_MS of it span. A partition that wakes up after having been idle, or is assigned anew, may be as far behind as it likes; bytes are those of the values read, not of
 * the batches they became, and are compared every LOOK_MS.
 */
#include "app/ingest_session.h"

#include <string.h>

enum {
    LOOK_MS = 50,
    MARK_MS = 250,         /* ALIGN_MARKS of them reach back for a minute */
    ASK_MS = 1000, ASK_SOON_MS = 200,
    COMMITTED_MS = 3000,
    NEW_MS = 5000          /* a partition's first records should be here by then, if it has any */
};

/* What active partitions say together. */
struct pace {
    int64_t least_ms; /* the least watermark; TSN_TIME_NONE: one has none; INT64_MAX: none is active */
    int64_t first_ms; /* the least that one of this worker had first; INT64_MAX: none has any */
    bool fresh;       /* one that has none is new */
};

static void take_slower(struct pace *pace, int64_t watermark_ms, bool fresh)
{
    if (watermark_ms < pace->least_ms)
        pace->least_ms = watermark_ms;
    pace->fresh = pace->fresh || (watermark_ms == TSN_TIME_NONE && fresh);
}

static void take_own(struct ingest_session *s, int32_t input, struct pace *pace)
{
    for (int32_t p = 0; p < s->part_count[input]; p++) {
        struct part *part = &s->parts[input][p];
        int64_t at_ms = tsn_ingest_watermark(s->ingest, (size_t)input, p);

        if (!part->mine || part->idle)
            continue;
        take_slower(pace, at_ms, part->eof_offset < 0 && !ingest_older_than(part->assigned_ns, NEW_MS));
        if (at_ms != TSN_TIME_NONE && part->first_ms == TSN_TIME_NONE)
            part->first_ms = at_ms;
        if (part->first_ms != TSN_TIME_NONE && part->first_ms < pace->first_ms)
            pace->first_ms = part->first_ms;
    }
}

static struct pace pace_of(struct ingest_session *s, int32_t input)
{
    struct pace pace = { INT64_MAX, INT64_MAX, false };

    take_own(s, input, &pace);
    for (size_t i = 0; i < s->committed.len; i++) {
        const struct tsn_kafka_partition *at = &s->committed.items[i];
        const struct part *part = ingest_part(s, at->topic, at->partition);
        int64_t watermark_ms, clock_ms;
        bool idle = false;

        if (at->topic != input || (part && part->mine))
            continue;
        if (!at->metadata || !tsn_ingest_metadata_parse(at->metadata, &watermark_ms, &idle, &clock_ms))
            watermark_ms = TSN_TIME_NONE;
        if (!idle)
            take_slower(&pace, watermark_ms, !ingest_older_than(s->began_ns, NEW_MS));
    }
    return pace;
}

/* What the partitions of one input must not run ahead of. */
static int64_t least_for(struct ingest_session *s, size_t input, const struct pace *paces)
{
    struct pace all = { INT64_MAX, INT64_MAX, false };

    for (size_t j = 0; j < s->config->inputs.len; j++) {
        if (!tsn_ingest_tied(s->ingest, input, j))
            continue;
        take_slower(&all, paces[j].least_ms, paces[j].fresh);
        all.first_ms = paces[j].first_ms < all.first_ms ? paces[j].first_ms : all.first_ms;
    }
    return all.least_ms == TSN_TIME_NONE && all.fresh && all.first_ms != INT64_MAX ? all.first_ms : all.least_ms;
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
    int64_t share = part->align_paused ? 2 : 1;

    if (part->idle || at_ms == TSN_TIME_NONE || at_ms <= least_ms)
        return false;
    if (least_ms != TSN_TIME_NONE && at_ms - least_ms > s->config->time.align_ms / share)
        return true;
    return bytes_ahead(part, least_ms) > s->config->time.align_bytes / share;
}

static void hold(struct ingest_session *s, int32_t input, int32_t p, struct part *part)
{
    part->align_paused = true;
    tsn_ingest_blocked(s->ingest, (size_t)input, p); /* what comes while it waits is not seen: it holds time */
    tsn_consumer_pause(s->consumer, input, p, true);
}

static void let_go(struct ingest_session *s, int32_t input, int32_t p, struct part *part)
{
    part->align_paused = false;
    tsn_consumer_pause(s->consumer, input, p, false);
    tsn_ingest_blocked(s->ingest, (size_t)input, p);
}

static void align_input(struct ingest_session *s, int32_t input, int64_t least_ms, bool mark)
{
    for (int32_t p = 0; p < s->part_count[input]; p++) {
        struct part *part = &s->parts[input][p];
        int64_t at_ms = part->mine ? tsn_ingest_watermark(s->ingest, (size_t)input, p) : TSN_TIME_NONE;
        bool ahead;

        if (!part->mine)
            continue;
        if (mark)
            mark_bytes(part, at_ms);
        ahead = too_far(s, part, at_ms, least_ms);
        if (ahead && !part->align_paused)
            hold(s, input, p, part);
        else if (!ahead && part->align_paused)
            let_go(s, input, p, part);
        s->align_waits = s->align_waits || ahead;
    }
}

static void look(struct ingest_session *s)
{
    struct pace paces[TSN_ARRAY_LEN(s->parts)];
    bool mark = ingest_older_than(s->marked_ns, MARK_MS);

    s->looked_ns = tsn_mono_now().ns;
    if (mark)
        s->marked_ns = s->looked_ns;
    s->align_waits = false;
    for (size_t i = 0; i < s->config->inputs.len; i++)
        paces[i] = pace_of(s, (int32_t)i);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        align_input(s, (int32_t)i, least_for(s, i, paces), mark);
}

/* Where nobody of the group has seen an event, idle clocks start at the wall clock; so say what others have seen. */
static void know_watermarks(struct ingest_session *s)
{
    for (size_t i = 0; i < s->committed.len; i++) {
        int64_t watermark_ms, clock_ms;
        bool idle;

        if (s->committed.items[i].metadata && tsn_ingest_metadata_parse(s->committed.items[i].metadata, &watermark_ms, &idle, &clock_ms))
            tsn_ingest_know(s->ingest, watermark_ms);
    }
}

static void ask(struct ingest_session *s)
{
    struct tsn_kafka_partitions committed = { 0 };
    struct tsn_error error;
    enum tsn_err err = tsn_consumer_committed(s->consumer, COMMITTED_MS, &committed, &error);

    s->align_ns = tsn_mono_now().ns;
    if (err) {
        tsn_kafka_partitions_release(&committed);
        tsn_log(TSN_LOG_WARN, "ingest", "offsets of the group cannot be read; alignment goes by what they were", "error=\"%s\"", error.message);
        return;
    }
    tsn_kafka_partitions_release(&s->committed);
    s->committed = committed;
    know_watermarks(s);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        if (tsn_consumer_known_count(s->consumer, (int32_t)i) > 0)
            tsn_ingest_know_count(s->ingest, i, tsn_consumer_known_count(s->consumer, (int32_t)i));
}

void ingest_align(struct ingest_session *s)
{
    if (ingest_older_than(s->align_ns, s->align_waits ? ASK_SOON_MS : ASK_MS))
        ask(s);
    if (ingest_older_than(s->looked_ns, LOOK_MS))
        look(s);
}
