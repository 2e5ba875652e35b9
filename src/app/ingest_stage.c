/*
 * ingest_stage: the shell of STAGE 1.
 *
 * Two threads. The decoder polls, decodes and closes batches; the sender runs one transaction a closed batch. Between them
 * a mailbox of one: while a transaction is under way the next batch grows, and if it reaches its size limit too, decoding waits (its
 * partitions then count as blocked, never as idle).
 *
 * A session lasts until stop, a fence, an unexpected abort or a lost partition. It starts from committed offsets and their metadata, with a new
 * writer number; nothing of the session before is remembered.
 *
 * Idle is proved: the partition's EOF was met, and the broker, asked on a read_uncommitted handle, gives no later end, for idle_timeout.
 * An answer that does not come proves nothing: the partition is blocked and holds time.
 *
 * Concurrency: decoder owns consumer and core; the sender owns the producer while a batch is in the mailbox. `epoch` is atomic: raised by
 * the decoder on every rebalance, read by the sender before each try.
 */
#include "app/app_int.h"
#include "tocsin/ingest.h"

#include <string.h>

enum {
    POLL_MAX = 2048, POLL_MS = 50, QUERY_MS = 2000, COMMITTED_MS = 3000,
    DRAIN_MS = 8000,        /* on revoke: below the rebalance timeout, and inside the 10 s of an ordered stop */
    SILENT_CLOSE_MS = 1000, /* punctuation when nothing came */
    IDLE_RENEW_MS = 500, RULES_MS = 500, ALIGN_MS = 1000, RETRY_MS = 1000,
    LIVE_MS = 10000, /* event time no further behind the clock than this, out-of-orderness aside: people may be waiting for a step */
    ALIGN_MARKS = 64 /* a minute of marks; a partition that stays ahead for longer is paused by then, or not by bytes */
};

/* How many bytes a partition had given when its watermark stood there. */
struct align_mark {
    int64_t watermark_ms, bytes;
};

struct part {
    bool mine, held, align_paused, idle, blocked;
    int64_t next_offset, eof_offset; /* eof_offset -1: records came since */
    int64_t eof_ns, asked_ns, retry_ns;
    int64_t bytes; /* values read */
    struct align_mark marks[ALIGN_MARKS]; /* oldest first */
    int mark_count;
    int64_t until; /* until_end: where to stop; -1 not asked */
};

struct sender {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct tsn_closed_batch *batch; /* in the mailbox until its transaction is over */
    bool quit, failed;
    struct tsn_error error;
};

struct session {
    struct stage *stage;
    struct tsn_app *app;
    const struct tsn_config *config;
    struct tsn_consumer *consumer;
    struct tsn_producer *producer;
    struct tsn_ingest *ingest;
    struct sender sender;
    atomic_llong epoch;
    struct part *parts[256]; /* [input][partition] */
    int32_t part_count[256];
    TSN_VEC(struct tsn_rule_set *) sets;
    size_t sets_seen;
    bool ended, closing, caught_up;
    struct tsn_error why;
    int64_t closed_ns, rules_ns, align_ns, writer;
    int64_t first_ns; /* when the first record came; 0: none yet */
    int64_t step_ms, step; /* every step of a rule group stands at a multiple of step_ms; the last one that a batch took along */
    struct tsn_ingest_stats base;
};

static int64_t now_ns(void)
{
    return tsn_mono_now().ns;
}

static bool older_than(int64_t since_ns, int64_t ms)
{
    return now_ns() - since_ns >= ms * 1000000;
}

static void end_session(struct session *s, const struct tsn_error *why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->why = *why;
}

/* ---- the sender ---------------------------------------------------------------------------- */

static enum tsn_err send_dead_letter(struct session *s, const struct tsn_dead_letter *d, struct tsn_error *error)
{
    char partition[16], offset[24], length[24], stamp[24];
    struct tsn_header headers[] = {
        { "tocsin_topic", d->topic, strlen(d->topic) },    { "tocsin_partition", partition, 0 }, { "tocsin_offset", offset, 0 },
        { "tocsin_timestamp", stamp, 0 },                  { "tocsin_length", length, 0 },
        { "tocsin_cut", d->cut ? "true" : "false", d->cut ? 4 : 5 },
        { "tocsin_reason", d->reason, strlen(d->reason) }, { "tocsin_error", d->error, strlen(d->error) },
    };

    headers[1].len = (size_t)snprintf(partition, sizeof partition, "%d", d->partition);
    headers[2].len = (size_t)snprintf(offset, sizeof offset, "%lld", (long long)d->offset);
    headers[3].len = (size_t)snprintf(stamp, sizeof stamp, "%lld", (long long)d->timestamp_ms);
    headers[4].len = (size_t)snprintf(length, sizeof length, "%zu", d->full_len);
    return tsn_producer_send(s->producer, s->config->topics.deadletter, -1, d->key, d->key_len, d->value, d->value_len, TSN_TIME_NONE,
                             headers, TSN_ARRAY_LEN(headers), error);
}

static enum tsn_err send_offsets(struct session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    struct tsn_kafka_partitions list = { 0 };
    enum tsn_err err;

    for (size_t i = 0; i < b->offset_count; i++)
        for (size_t t = 0; t < s->config->inputs.len; t++)
            if (strcmp(s->config->inputs.items[t].topic, b->offsets[i].topic) == 0) {
                struct tsn_kafka_partition at = { (int32_t)t, b->offsets[i].partition, b->offsets[i].next_offset, NULL };

                at.metadata = tsn_strdup(b->offsets[i].metadata);
                tsn_vec_push(&list, at);
                break;
            }
    err = list.len ? tsn_producer_offsets(s->producer, s->consumer, &list, error) : TSN_OK;
    tsn_kafka_partitions_release(&list);
    return err;
}

static enum tsn_err send_once(struct session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    enum tsn_err err = tsn_producer_begin(s->producer, error);

    for (size_t p = 0; p < b->record_count && !err; p++)
        err = tsn_producer_send(s->producer, s->config->topics.samples, (int32_t)p, NULL, 0, b->records[p].data, b->records[p].len,
                                b->wall_ms, NULL, 0, error);
    for (size_t i = 0; i < b->dead_count && !err; i++)
        err = send_dead_letter(s, &b->dead[i], error);
    if (!err)
        err = send_offsets(s, b, error);
    return err ? err : tsn_producer_commit(s->producer, error);
}

static void note_commit(struct session *s, int64_t took_ns, bool aborted)
{
    pthread_mutex_lock(&s->app->stats_lock);
    s->app->stats->ingest.commits += !aborted;
    s->app->stats->ingest.aborts += aborted;
    s->app->stats->ingest.commit_us_total += took_ns / 1000;
    s->app->stats->ingest.ready = true;
    if (!aborted)
        s->app->stats->ingest.last_commit_ns = now_ns();
    pthread_mutex_unlock(&s->app->stats_lock);
}

/* The same bytes go out again after an abort while the epoch stands. */
static enum tsn_err send_batch(struct session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    for (;;) {
        int64_t began_ns = now_ns();
        struct tsn_error abort_error;
        enum tsn_err err = send_once(s, b, error);

        note_commit(s, now_ns() - began_ns, err != TSN_OK);
        if (!err || err == TSN_ERR_FENCED || error->fatal)
            return err;
        if (atomic_load(&s->stage->stop))
            return error->code;
        if (tsn_producer_abort(s->producer, &abort_error)) {
            *error = abort_error;
            return error->code;
        }
        tsn_log(TSN_LOG_WARN, "ingest", "transaction aborted; the batch goes out again", "seq=%lld error=\"%s\"", (long long)b->seq, error->message);
        if (atomic_load(&s->epoch) != b->epoch)
            return tsn_error_set(error, TSN_ERR_CONFLICT, "the assignment changed while a transaction was aborted");
        tsn_app_sleep_ms(100);
    }
}

static void *sender_main(void *arg)
{
    struct session *s = arg;
    struct sender *q = &s->sender;

    tsn_kafka_give_up_on(&s->stage->stop);
    pthread_mutex_lock(&q->lock);
    while (!q->quit) {
        struct tsn_error error = { 0 };
        enum tsn_err err;

        if (!q->batch) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        err = send_batch(s, q->batch, &error);
        pthread_mutex_lock(&q->lock);
        tsn_closed_batch_free(&q->batch);
        if (err && !q->failed) {
            q->failed = true;
            q->error = error;
        }
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Waits until the mailbox is empty; false if it is not within ms, or the sender failed. */
static bool sender_wait(struct session *s, int64_t ms)
{
    struct sender *q = &s->sender;
    struct timespec until;
    bool ok;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&q->lock);
    while (q->batch && !q->failed)
        if (pthread_cond_timedwait(&q->changed, &q->lock, &until))
            break;
    ok = !q->batch && !q->failed;
    if (q->failed)
        end_session(s, &q->error);
    pthread_mutex_unlock(&q->lock);
    return ok;
}

static void hand_over(struct session *s, struct tsn_closed_batch *batch)
{
    struct sender *q = &s->sender;

    pthread_mutex_lock(&q->lock);
    TSN_ASSERT(!q->batch);
    q->batch = batch;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* ---- partitions ---------------------------------------------------------------------------- */

static struct part *part_of(struct session *s, int32_t input, int32_t partition)
{
    return input >= 0 && (size_t)input < s->config->inputs.len && partition < s->part_count[input] ? &s->parts[input][partition] : NULL;
}

static void grow_parts(struct session *s, int32_t input, int32_t count)
{
    int32_t had = s->part_count[input];

    if (count <= had)
        return;
    s->parts[input] = tsn_reallocarray(s->parts[input], (size_t)count, sizeof *s->parts[input]);
    for (; had < count; had++)
        s->parts[input][had] = (struct part){ 0 };
    s->part_count[input] = count;
}

static bool any_mine(const struct session *s)
{
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++)
            if (s->parts[i][p].mine)
                return true;
    return false;
}

static void on_assign(void *arg, struct tsn_kafka_partitions *list)
{
    struct session *s = arg;

    atomic_fetch_add(&s->epoch, 1);
    tsn_ingest_set_epoch(s->ingest, atomic_load(&s->epoch));
    for (size_t i = 0; i < list->len; i++) {
        struct tsn_kafka_partition *at = &list->items[i];
        int32_t count = tsn_consumer_partition_count(s->consumer, at->topic, QUERY_MS);
        struct tsn_error error = { 0 };
        struct part *part;

        grow_parts(s, at->topic, count > at->partition ? count : at->partition + 1);
        part = &s->parts[at->topic][at->partition];
        *part = (struct part){ 0 };
        part->mine = true;
        part->next_offset = at->offset < 0 ? 0 : at->offset;
        part->eof_offset = part->until = -1;
        if (tsn_ingest_assign(s->ingest, (size_t)at->topic, at->partition, s->part_count[at->topic], part->next_offset, at->metadata, &error))
            tsn_log(TSN_LOG_WARN, "ingest", "offset metadata is not ours; the watermark starts anew", "topic=%s partition=%d error=\"%s\"",
                    s->config->inputs.items[at->topic].topic, at->partition, error.message);
        tsn_log(TSN_LOG_INFO, "ingest", "partition assigned", "topic=%s partition=%d offset=%lld", s->config->inputs.items[at->topic].topic,
                at->partition, (long long)at->offset);
    }
    s->align_ns = 0;
}

static void close_batch(struct session *s)
{
    hand_over(s, tsn_ingest_close(s->ingest, tsn_wall_now().ms));
    s->closed_ns = now_ns();
}

static void on_revoke(void *arg, const struct tsn_kafka_partitions *list, bool lost)
{
    struct session *s = arg;
    struct tsn_error error = { 0 };

    if (lost && !s->closing) {
        atomic_fetch_add(&s->epoch, 1);
        tsn_error_set(&error, TSN_ERR_FENCED, "partitions were lost: this worker was away longer than the session timeout");
        end_session(s, &error);
    }
    if (!lost && !s->ended && sender_wait(s, DRAIN_MS)) {
        close_batch(s);
        (void)sender_wait(s, DRAIN_MS);
    }
    atomic_fetch_add(&s->epoch, 1);
    tsn_ingest_set_epoch(s->ingest, atomic_load(&s->epoch));
    for (size_t i = 0; i < list->len; i++) {
        struct part *part = part_of(s, list->items[i].topic, list->items[i].partition);

        if (!part || !part->mine)
            continue;
        part->mine = false;
        tsn_ingest_unassign(s->ingest, (size_t)list->items[i].topic, list->items[i].partition);
    }
}

/* Records that retention took before they were read: the span is unobserved, and that is said. */
static void on_gap(void *arg, int32_t topic, int32_t partition)
{
    struct session *s = arg;
    struct part *part = part_of(s, topic, partition);

    tsn_log(TSN_LOG_ERROR, "ingest", "records were deleted before they were read; their span goes unobserved",
            "topic=%s partition=%d from_offset=%lld", s->config->inputs.items[topic].topic, partition, part ? (long long)part->next_offset : -1LL);
}

/* ---- records ------------------------------------------------------------------------------- */

/* A schema that cannot be fetched now: the record stays where it is and is offered again. */
static void hold(struct session *s, const struct tsn_message *m, struct part *part, const struct tsn_error *error)
{
    part->held = true;
    part->retry_ns = now_ns();
    tsn_consumer_pause(s->consumer, m->topic, m->partition, true);
    tsn_log(TSN_LOG_WARN, "ingest", "record waits", "topic=%s partition=%d offset=%lld error=\"%s\"", s->config->inputs.items[m->topic].topic,
            m->partition, (long long)m->offset, error->message);
}

static void take_message(struct session *s, const struct tsn_message *m)
{
    struct part *part = part_of(s, m->topic, m->partition);
    struct tsn_ingest_record record = { (size_t)m->topic, m->partition, m->offset, m->timestamp_ms, m->key, m->value, m->key_len, m->value_len };
    struct tsn_error error;

    if (!part || !part->mine || part->held)
        return;
    if (m->eof) {
        if (part->eof_offset != m->offset)
            part->eof_ns = part->asked_ns = now_ns();
        part->eof_offset = m->offset;
        return;
    }
    if (m->offset < part->next_offset)
        return;
    if (tsn_ingest_record(s->ingest, &record, &error)) {
        hold(s, m, part, &error);
        return;
    }
    if (!s->first_ns)
        s->first_ns = now_ns();
    part->next_offset = m->offset + 1;
    part->bytes += (int64_t)m->value_len;
    part->eof_offset = -1;
    part->idle = part->blocked = false;
}

static void retry_held(struct session *s, int32_t input, int32_t partition, struct part *part)
{
    struct tsn_error error;

    if (!part->held || !older_than(part->retry_ns, RETRY_MS))
        return;
    part->held = false;
    tsn_consumer_pause(s->consumer, input, partition, false);
    if (tsn_consumer_seek(s->consumer, input, partition, part->next_offset, &error))
        end_session(s, &error);
}

/* See the head of the file. Asks the broker at most twice a second for a partition whose end was met. */
static void prove_idle(struct session *s, int32_t input, int32_t partition, struct part *part)
{
    int64_t end;

    if (part->eof_offset < 0 || part->align_paused || part->held || !older_than(part->asked_ns, IDLE_RENEW_MS))
        return;
    if (!older_than(part->eof_ns, s->config->time.idle_timeout_ms))
        return;
    part->asked_ns = now_ns();
    end = tsn_consumer_query_end(s->consumer, input, partition, QUERY_MS);
    part->idle = end >= 0 && end <= part->eof_offset;
    part->blocked = !part->idle;
    if (part->idle)
        tsn_ingest_idle(s->ingest, (size_t)input, partition, tsn_wall_now().ms);
    else
        tsn_ingest_blocked(s->ingest, (size_t)input, partition);
}

/* ---- alignment ----------------------------------------------------------------------------- */

/* The least watermark among active partitions of an input, over the whole group. TSN_TIME_NONE: none known. */
static int64_t slowest(struct session *s, const struct tsn_kafka_partitions *committed, int32_t input)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < committed->len; i++) {
        const struct tsn_kafka_partition *at = &committed->items[i];
        const struct part *part = part_of(s, at->topic, at->partition);
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
    return least == INT64_MAX ? TSN_TIME_NONE : least;
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
    return part->mark_count ? part->bytes - part->marks[0].bytes : 0;
}

/* Where nobody of the group has seen an event, idle clocks start at the wall clock; so say what others have seen. */
static void know_watermarks(struct session *s, const struct tsn_kafka_partitions *committed)
{
    for (size_t i = 0; i < committed->len; i++) {
        int64_t watermark_ms, clock_ms;
        bool idle;

        if (committed->items[i].metadata && tsn_ingest_metadata_parse(committed->items[i].metadata, &watermark_ms, &idle, &clock_ms))
            tsn_ingest_know(s->ingest, watermark_ms);
    }
}

/* Partitions of one input topic run no further apart than time.align (or time.align_bytes of their records): DETECT would have to hold what they bring ahead of time. A partition that
 * has no watermark yet is the slowest of all, but cannot be waited for: it may be empty. */
static void align(struct session *s)
{
    struct tsn_kafka_partitions committed = { 0 };
    struct tsn_error error;

    if (!older_than(s->align_ns, ALIGN_MS))
        return;
    s->align_ns = now_ns();
    if (tsn_consumer_committed(s->consumer, COMMITTED_MS, &committed, &error)) {
        tsn_log(TSN_LOG_WARN, "ingest", "offsets of the group cannot be read; alignment stays as it is", "error=\"%s\"", error.message);
        return;
    }
    know_watermarks(s, &committed);
    for (int32_t input = 0; (size_t)input < s->config->inputs.len; input++) {
        int64_t least = slowest(s, &committed, input);

        for (int32_t p = 0; p < s->part_count[input]; p++) {
            struct part *part = &s->parts[input][p];
            int64_t at = part->mine ? tsn_ingest_watermark(s->ingest, (size_t)input, p) : TSN_TIME_NONE;
            bool ahead;

            mark_bytes(part, at);
            ahead = !part->idle && least != TSN_TIME_NONE && at != TSN_TIME_NONE && at > least &&
                    (at - least > s->config->time.align_ms || bytes_ahead(part, least) > s->config->time.align_bytes);
            if (!part->mine || ahead == part->align_paused)
                continue;
            part->align_paused = ahead;
            tsn_ingest_blocked(s->ingest, (size_t)input, p); /* what comes while it waits is not seen: it holds time */
            tsn_consumer_pause(s->consumer, input, p, ahead);
        }
    }
    tsn_kafka_partitions_release(&committed);
}

/* ---- rule sets ----------------------------------------------------------------------------- */

/* The greatest span of whose multiples every group's interval is one. */
static void note_steps(struct session *s, const struct tsn_rule_set *set)
{
    for (size_t i = 0; i < set->group_count; i++) {
        int64_t a = set->groups[i].interval_ms, b = s->step_ms;

        while (b) {
            int64_t rest = a % b;

            a = b;
            b = rest;
        }
        s->step_ms = a;
    }
}

/* At the start the two newest, later each new one: series that either selects are kept while DETECT changes over. */
static void take_rule_sets(struct session *s)
{
    size_t count;

    if (!older_than(s->rules_ns, RULES_MS))
        return;
    s->rules_ns = now_ns();
    count = tsn_rule_book_count(s->app->book);
    if (!s->sets_seen && count > 2)
        s->sets_seen = count - 2;
    for (; s->sets_seen < count; s->sets_seen++) {
        int64_t number;
        struct tsn_rule_set *set = tsn_rule_book_load(s->app->book, s->sets_seen, &number);

        if (!set)
            continue;
        tsn_vec_push(&s->sets, set);
        note_steps(s, set);
        tsn_ingest_add_rule_set(s->ingest, number, set);
        if (s->sets.len > 2)
            tsn_ingest_drop_rule_sets_below(s->ingest, number - 1);
    }
}

/* ---- stats --------------------------------------------------------------------------------- */

static void publish_partition(struct session *s, int32_t input, int32_t p, struct tsn_app_input *out)
{
    const struct part *part = &s->parts[input][p];
    struct tsn_ingest_partition_stats stats = { 0 };

    memset(out, 0, sizeof *out);
    (void)tsn_ingest_get_partition(s->ingest, (size_t)input, p, &stats);
    snprintf(out->topic, sizeof out->topic, "%s", s->config->inputs.items[input].topic);
    out->partition = p;
    out->next_offset = part->next_offset;
    out->high_offset = tsn_consumer_high(s->consumer, input, p);
    if (part->eof_offset >= 0 && part->eof_offset >= out->high_offset) /* commit markers are no records */
        out->high_offset = out->next_offset;
    out->watermark_ms = stats.watermark_ms;
    out->records = stats.records;
    out->events = stats.events;
    out->late = stats.late;
    out->dead_letters = stats.dead_letters;
    out->idle = part->idle;
    out->blocked = part->blocked || part->held;
    out->paused = part->align_paused;
}

static void publish_stats(struct session *s)
{
    struct tsn_app_stats *to = s->app->stats;
    struct tsn_ingest_stats now;
    const struct tsn_ingest_stats *b = &s->base;
    size_t count = 0;

    tsn_ingest_get_stats(s->ingest, &now);
    pthread_mutex_lock(&s->app->stats_lock);
    to->ingest.records = b->records + now.records;
    to->ingest.events = b->events + now.events;
    to->ingest.samples = b->samples + now.samples;
    to->ingest.deltas = b->deltas + now.deltas;
    to->ingest.irrelevant = b->irrelevant + now.irrelevant;
    to->ingest.dead_letters = b->dead_letters + now.dead_letters;
    to->ingest.late_moved = b->late_moved + now.late_moved;
    to->ingest.late_dropped = b->late_dropped + now.late_dropped;
    to->ingest.limits = b->limit_series + now.limit_series + b->limit_labels + now.limit_labels;
    if (now.records && !to->ingest.first_record_ns)
        to->ingest.first_record_ns = s->first_ns;
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i] && count < TSN_APP_MAX_PARTITIONS; p++)
            if (s->parts[i][p].mine)
                publish_partition(s, (int32_t)i, p, &to->inputs[count++]);
    to->input_count = count;
    pthread_mutex_unlock(&s->app->stats_lock);
}

/* What a session read becomes part of the base of the next: a session's uncommitted tail is read, and counted, again. */
static void keep_stats(struct session *s)
{
    struct tsn_ingest_stats now;
    uint64_t *to = (uint64_t *)&s->base;
    const uint64_t *from = (const uint64_t *)&now;

    tsn_ingest_get_stats(s->ingest, &now);
    for (size_t i = 0; i < sizeof now / sizeof *to; i++)
        to[i] += from[i];
}

/* ---- until_end ----------------------------------------------------------------------------- */

static bool reached_ends(struct session *s)
{
    if (!any_mine(s))
        return false;
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++) {
            struct part *part = &s->parts[i][p];
            int64_t at = part->eof_offset > part->next_offset ? part->eof_offset : part->next_offset;

            if (!part->mine)
                continue;
            if (part->until < 0)
                part->until = tsn_consumer_query_end(s->consumer, (int32_t)i, p, QUERY_MS);
            if (part->until < 0 || at < part->until)
                return false;
        }
    return true;
}

/* Partitions count as idle at their end; the second mark takes event time past what waited for late ones. */
static void finish_inputs(struct session *s)
{
    int64_t wall_ms = tsn_wall_now().ms;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->config->inputs.len; i++)
            for (int32_t p = 0; p < s->part_count[i]; p++)
                if (s->parts[i][p].mine)
                    tsn_ingest_idle(s->ingest, i, p, wall_ms + pass * s->config->time.out_of_orderness_ms);
    if (!sender_wait(s, DRAIN_MS))
        return;
    close_batch(s);
    s->caught_up = sender_wait(s, 3 * DRAIN_MS);
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void housekeeping(struct session *s)
{
    take_rule_sets(s);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++)
            if (s->parts[i][p].mine) {
                retry_held(s, (int32_t)i, p, &s->parts[i][p]);
                prove_idle(s, (int32_t)i, p, &s->parts[i][p]);
            }
    if (!s->app->opt.until_end || s->config->time.align_ms)
        align(s);
}

/* The least watermark of this worker's partitions that hold time; TSN_TIME_NONE: one has none yet, or all are idle. */
static int64_t least_watermark(const struct session *s)
{
    int64_t least_ms = INT64_MAX;

    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++) {
            int64_t at_ms = s->parts[i][p].mine && !s->parts[i][p].idle ? tsn_ingest_watermark(s->ingest, i, p) : INT64_MAX;

            least_ms = at_ms < least_ms ? at_ms : least_ms;
        }
    return least_ms == INT64_MAX ? TSN_TIME_NONE : least_ms;
}

/* The open batch takes the watermark past a step, and event time keeps up with the clock: what the step finds should not wait for the
 * batch interval. In a catch-up steps pass many times a second and nobody waits for a single one. */
static bool step_waits(struct session *s)
{
    int64_t least_ms = s->step_ms ? least_watermark(s) : TSN_TIME_NONE;

    return least_ms != TSN_TIME_NONE && least_ms / s->step_ms > s->step &&
           tsn_wall_now().ms - least_ms < s->config->time.out_of_orderness_ms + LIVE_MS;
}

static void maybe_close(struct session *s)
{
    size_t pending = tsn_ingest_pending(s->ingest);
    bool full = pending >= (size_t)s->config->ingest.batch_bytes;
    int64_t least_ms;

    if (!s->sets.len || !any_mine(s))
        return;
    if (!full && !older_than(s->closed_ns, pending ? s->config->ingest.batch_interval_ms : SILENT_CLOSE_MS) && !step_waits(s))
        return;
    if (!sender_wait(s, full ? 1000 : 0))
        return;
    least_ms = least_watermark(s);
    if (s->step_ms && least_ms != TSN_TIME_NONE)
        s->step = least_ms / s->step_ms;
    close_batch(s);
    publish_stats(s);
}

static void run_session(struct session *s)
{
    struct tsn_message *messages = tsn_calloc(POLL_MAX, sizeof *messages);

    while (!s->ended && !s->caught_up && !atomic_load(&s->stage->stop)) {
        struct tsn_error error = { 0 };
        bool full = tsn_ingest_pending(s->ingest) >= (size_t)s->config->ingest.batch_bytes;
        int count = full || !s->sets.len ? 0 : tsn_consumer_poll(s->consumer, POLL_MS, messages, POLL_MAX, &error);

        if (!s->sets.len)
            tsn_app_sleep_ms(20);
        if (count < 0)
            end_session(s, &error);
        for (int i = 0; i < count; i++)
            take_message(s, &messages[i]);
        if (s->ended)
            break;
        housekeeping(s);
        maybe_close(s);
        if (s->app->opt.until_end && reached_ends(s))
            finish_inputs(s);
    }
    if (!s->ended && !s->caught_up && any_mine(s) && s->sets.len && sender_wait(s, DRAIN_MS)) {
        close_batch(s);
        (void)sender_wait(s, DRAIN_MS);
    }
    publish_stats(s);
    tsn_free(messages);
}

static enum tsn_err open_session(struct session *s, struct tsn_error *error)
{
    struct tsn_ingest_options options = { .config = s->config, .slot = (int32_t)s->config->worker.slot, .writer = s->writer,
                                          .samples_partitions = s->app->samples_partitions };
    struct tsn_consumer_options member = { .config = s->config, .fail_on_gap = true, .assign = on_assign, .revoke = on_revoke, .gap = on_gap,
                                           .arg = s, .topic_count = s->config->inputs.len };
    char *id = tsn_app_name(s->config, "ingest", true), *group = tsn_app_name(s->config, "ingest", false);
    const char **topics = tsn_calloc(s->config->inputs.len, sizeof *topics);

    tsn_app_ingest_sources(s->app, &options);
    s->ingest = tsn_ingest_new(&options, error);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        topics[i] = s->config->inputs.items[i].topic;
    member.group = group;
    member.instance_id = id;
    member.topics = topics;
    if (s->ingest)
        s->producer = tsn_producer_new(s->config, id, 15000, error);
    if (s->producer) {
        tsn_producer_know(s->producer, s->config->topics.samples);
        tsn_producer_know(s->producer, s->config->topics.deadletter);
        s->consumer = tsn_consumer_new(&member, error);
    }
    tsn_free(topics);
    tsn_free(id);
    tsn_free(group);
    if (!s->consumer)
        return error->code;
    pthread_mutex_init(&s->sender.lock, NULL);
    pthread_cond_init(&s->sender.changed, NULL);
    TSN_ASSERT(pthread_create(&s->sender.thread, NULL, sender_main, s) == 0);
    return TSN_OK;
}

static void close_session(struct session *s)
{
    bool was_open = s->consumer != NULL;

    if (was_open) {
        pthread_mutex_lock(&s->sender.lock);
        s->sender.quit = true;
        pthread_cond_broadcast(&s->sender.changed);
        pthread_mutex_unlock(&s->sender.lock);
        pthread_join(s->sender.thread, NULL);
        tsn_closed_batch_free(&s->sender.batch);
        pthread_mutex_destroy(&s->sender.lock);
        pthread_cond_destroy(&s->sender.changed);
        s->closing = s->ended = true;
    }
    tsn_consumer_free(&s->consumer);
    tsn_producer_free(&s->producer);
    if (s->ingest)
        keep_stats(s);
    tsn_ingest_free(&s->ingest);
    for (size_t i = 0; i < s->sets.len; i++)
        tsn_rule_set_free(&s->sets.items[i]);
    tsn_vec_release(&s->sets);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        tsn_free(s->parts[i]);
}

/* One session from committed offsets; true when the stage is through or must leave for good. */
static bool one_session(struct stage *stage, struct tsn_ingest_stats *base, struct fence_guard *guard)
{
    struct session *s = tsn_calloc(1, sizeof *s);
    struct tsn_error error = { 0 };
    bool through;

    s->stage = stage;
    s->app = stage->app;
    s->config = stage->app->config;
    s->base = *base;
    s->writer = tsn_wall_now().ms;
    if (open_session(s, &error))
        end_session(s, &error);
    else
        run_session(s);
    error = s->why;
    through = s->caught_up || atomic_load(&stage->stop);
    close_session(s);
    *base = s->base;
    pthread_mutex_lock(&stage->app->stats_lock);
    stage->app->stats->ingest.sessions++;
    stage->app->stats->ingest.fenced += error.code == TSN_ERR_FENCED;
    stage->app->stats->ingest.ready = false;
    pthread_mutex_unlock(&stage->app->stats_lock);
    if (!through) {
        tsn_log(TSN_LOG_WARN, "ingest", "session ended; starting anew from committed offsets", "error=\"%s\"", error.message);
        if (error.code == TSN_ERR_INVALID || error.code == TSN_ERR_UNSUPPORTED ||
            (error.code == TSN_ERR_FENCED && tsn_fence_guard_hit(guard))) {
            tsn_stage_fail(stage, &error);
            through = true;
        }
    }
    tsn_free(s);
    return through;
}

void *tsn_ingest_stage_main(void *arg)
{
    struct stage *stage = arg;
    struct tsn_ingest_stats base = { 0 };
    struct fence_guard guard = { { 0 } };

    tsn_kafka_give_up_on(&stage->stop);
    while (!one_session(stage, &base, &guard))
        tsn_app_sleep_ms(200 + (int)(tsn_mono_now().ns / 1000 % 800));
    atomic_store(&stage->done, true);
    return NULL;
}
