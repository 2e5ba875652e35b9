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
#include "app/ingest_session.h"

#include <string.h>

enum {
    POLL_MAX = 2048, POLL_MS = 50,
    DRAIN_MS = 8000,        /* on revoke: below the rebalance timeout */
    STOP_MS = 2500,         /* ordered stop: for the transaction under way, and again for the last one; see tsn_app_stop */
    SILENT_CLOSE_MS = 1000, /* punctuation when nothing came */
    GONE_MS = 30000, GONE_AGAIN_MS = 3000, /* after an answer; after none */
    IDLE_RENEW_MS = 500, RULES_MS = 500, RETRY_MS = 1000,
    LIVE_MS = 10000 /* event time no further behind the clock than this, out-of-orderness aside: people may be waiting for a step */
};

void ingest_end(struct ingest_session *s, const struct tsn_error *why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->why = *why;
}

/* ---- partitions ---------------------------------------------------------------------------- */

struct part *ingest_part(struct ingest_session *s, int32_t input, int32_t partition)
{
    return input >= 0 && (size_t)input < s->config->inputs.len && partition < s->part_count[input] ? &s->parts[input][partition] : NULL;
}

static void grow_parts(struct ingest_session *s, int32_t input, int32_t count)
{
    int32_t had = s->part_count[input];

    if (count <= had)
        return;
    s->parts[input] = tsn_reallocarray(s->parts[input], (size_t)count, sizeof *s->parts[input]);
    for (; had < count; had++)
        s->parts[input][had] = (struct part){ 0 };
    s->part_count[input] = count;
}

static bool any_mine(const struct ingest_session *s)
{
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++)
            if (s->parts[i][p].mine)
                return true;
    return false;
}

static void on_assign(void *arg, struct tsn_kafka_partitions *list)
{
    struct ingest_session *s = arg;
    bool asked[TSN_ARRAY_LEN(s->parts)];

    atomic_fetch_add(&s->epoch, 1);
    tsn_ingest_set_epoch(s->ingest, atomic_load(&s->epoch));
    memset(asked, 0, sizeof asked);
    for (size_t i = 0; i < list->len; i++) {
        struct tsn_kafka_partition *at = &list->items[i];
        int32_t count;
        struct tsn_error error = { 0 };
        struct part *part;

        if (!asked[at->topic]) /* once a topic: without a broker each question costs its whole time-out */
            (void)tsn_consumer_partition_count(s->consumer, at->topic, INGEST_QUERY_MS);
        asked[at->topic] = true;
        count = tsn_consumer_known_count(s->consumer, at->topic);
        grow_parts(s, at->topic, count > at->partition ? count : at->partition + 1);
        part = &s->parts[at->topic][at->partition];
        *part = (struct part){ 0 };
        part->mine = true;
        part->next_offset = at->offset < 0 ? 0 : at->offset;
        part->eof_offset = part->until = -1;
        part->first_ms = TSN_TIME_NONE;
        part->assigned_ns = tsn_mono_now().ns;
        if (tsn_ingest_assign(s->ingest, (size_t)at->topic, at->partition, s->part_count[at->topic], part->next_offset, at->metadata, &error))
            tsn_log(TSN_LOG_WARN, "ingest", "offset metadata is not ours; the watermark starts anew", "topic=%s partition=%d error=\"%s\"",
                    s->config->inputs.items[at->topic].topic, at->partition, error.message);
        tsn_log(TSN_LOG_INFO, "ingest", "partition assigned", "topic=%s partition=%d offset=%lld", s->config->inputs.items[at->topic].topic,
                at->partition, (long long)at->offset);
    }
    s->align_ns = 0;
}

static void close_batch(struct ingest_session *s)
{
    ingest_sender_take(s, tsn_ingest_close(s->ingest, tsn_wall_now().ms));
    s->closed_ns = tsn_mono_now().ns;
}

static void on_revoke(void *arg, const struct tsn_kafka_partitions *list, bool lost)
{
    struct ingest_session *s = arg;
    struct tsn_error error = { 0 };
    int64_t drain_ms = atomic_load(&s->stage->stop) ? STOP_MS : DRAIN_MS;

    if (lost) {
        atomic_fetch_add(&s->epoch, 1);
        tsn_error_set(&error, TSN_ERR_TIMEOUT, "partitions were lost: this worker was away longer than the session timeout");
        ingest_end(s, &error);
    }
    if (!lost && !s->ended && ingest_sender_wait(s, drain_ms)) {
        close_batch(s);
        (void)ingest_sender_wait(s, drain_ms);
    }
    atomic_fetch_add(&s->epoch, 1);
    tsn_ingest_set_epoch(s->ingest, atomic_load(&s->epoch));
    for (size_t i = 0; i < list->len; i++) {
        struct part *part = ingest_part(s, list->items[i].topic, list->items[i].partition);

        if (!part || !part->mine)
            continue;
        part->mine = false;
        tsn_ingest_unassign(s->ingest, (size_t)list->items[i].topic, list->items[i].partition);
    }
}

/* Records that retention took before they were read: the span is unobserved, and that is said. */
static void on_gap(void *arg, int32_t topic, int32_t partition)
{
    struct ingest_session *s = arg;
    struct part *part = ingest_part(s, topic, partition);

    tsn_log(TSN_LOG_ERROR, "ingest", "records were deleted before they were read; their span goes unobserved",
            "topic=%s partition=%d from_offset=%lld", s->config->inputs.items[topic].topic, partition, part ? (long long)part->next_offset : -1LL);
}

/* ---- records ------------------------------------------------------------------------------- */

/* Its schema cannot be fetched now: the record is offered again. */
static void hold(struct ingest_session *s, const struct tsn_message *m, struct part *part, const struct tsn_error *error)
{
    part->held = true;
    part->retry_ns = tsn_mono_now().ns;
    tsn_consumer_pause(s->consumer, m->topic, m->partition, true);
    tsn_log(TSN_LOG_WARN, "ingest", "record waits", "topic=%s partition=%d offset=%lld error=\"%s\"", s->config->inputs.items[m->topic].topic,
            m->partition, (long long)m->offset, error->message);
}

static void take_message(struct ingest_session *s, const struct tsn_message *m)
{
    struct part *part = ingest_part(s, m->topic, m->partition);
    struct tsn_ingest_record record = { (size_t)m->topic, m->partition, m->offset, m->timestamp_ms, m->key, m->value, m->key_len, m->value_len };
    struct tsn_error error;

    if (!part || !part->mine || part->held)
        return;
    if (m->eof) {
        if (part->eof_offset != m->offset)
            part->eof_ns = part->asked_ns = tsn_mono_now().ns;
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
        s->first_ns = tsn_mono_now().ns;
    part->next_offset = m->offset + 1;
    part->bytes += (int64_t)m->value_len;
    part->eof_offset = -1;
    part->idle = part->blocked = false;
}

static void retry_held(struct ingest_session *s, int32_t input, int32_t partition, struct part *part)
{
    struct tsn_error error;

    if (!part->held || !ingest_older_than(part->retry_ns, RETRY_MS))
        return;
    part->held = false;
    tsn_consumer_pause(s->consumer, input, partition, false);
    if (tsn_consumer_seek(s->consumer, input, partition, part->next_offset, &error))
        ingest_end(s, &error);
}

/* See the head of the file. Asks the broker at most twice a second for a partition whose end was met; once it did not answer, no other partition
 * asks for as long, or the decoder would wait for each in turn. */
static void prove_idle(struct ingest_session *s, int32_t input, int32_t partition, struct part *part)
{
    int64_t end;

    if (part->eof_offset < 0 || part->align_paused || part->held || !ingest_older_than(part->asked_ns, IDLE_RENEW_MS))
        return;
    if (!ingest_older_than(part->eof_ns, s->config->time.idle_timeout_ms))
        return;
    if (s->silent_ns && !ingest_older_than(s->silent_ns, INGEST_QUERY_MS))
        end = -1;
    else
        end = tsn_consumer_query_end(s->consumer, input, partition, INGEST_QUERY_MS);
    part->asked_ns = tsn_mono_now().ns;
    if (end < 0 && (!s->silent_ns || ingest_older_than(s->silent_ns, INGEST_QUERY_MS)))
        s->silent_ns = part->asked_ns;
    else if (end >= 0)
        s->silent_ns = 0;
    part->idle = end >= 0 && end <= part->eof_offset;
    part->blocked = !part->idle;
    if (part->idle)
        tsn_ingest_idle(s->ingest, (size_t)input, partition, tsn_wall_now().ms);
    else
        tsn_ingest_blocked(s->ingest, (size_t)input, partition);
}

/* ---- rule sets ----------------------------------------------------------------------------- */

/* The greatest span of whose multiples every group's interval is one. */
static void note_steps(struct ingest_session *s, const struct tsn_rule_set *set)
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
static void take_rule_sets(struct ingest_session *s)
{
    size_t count;

    if (!ingest_older_than(s->rules_ns, RULES_MS))
        return;
    s->rules_ns = tsn_mono_now().ns;
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

static void publish_partition(struct ingest_session *s, int32_t input, int32_t p, struct tsn_app_input *out)
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

static void publish_stats(struct ingest_session *s)
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
static void keep_stats(struct ingest_session *s)
{
    struct tsn_ingest_stats now;
    uint64_t *to = (uint64_t *)&s->base;
    const uint64_t *from = (const uint64_t *)&now;

    tsn_ingest_get_stats(s->ingest, &now);
    for (size_t i = 0; i < sizeof now / sizeof *to; i++)
        to[i] += from[i];
}

/* ---- until_end ----------------------------------------------------------------------------- */

static bool reached_ends(struct ingest_session *s)
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
                part->until = tsn_consumer_query_end(s->consumer, (int32_t)i, p, INGEST_QUERY_MS);
            if (part->until < 0 || at < part->until)
                return false;
        }
    return true;
}

/* Partitions count as idle at their end; the second mark takes event time past what waited for late ones. */
static void finish_inputs(struct ingest_session *s)
{
    int64_t wall_ms = tsn_wall_now().ms;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->config->inputs.len; i++)
            for (int32_t p = 0; p < s->part_count[i]; p++)
                if (s->parts[i][p].mine)
                    tsn_ingest_idle(s->ingest, i, p, wall_ms + pass * s->config->time.out_of_orderness_ms);
    if (!ingest_sender_wait(s, DRAIN_MS))
        return;
    close_batch(s);
    s->caught_up = ingest_sender_wait(s, 3 * DRAIN_MS);
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* An input that was taken out of the configuration must stop to hold time. One worker says so: the owner of the first input's first partition. */
static void find_gone(struct ingest_session *s)
{
    struct tsn_names topics = { 0 };
    struct tsn_error error = { 0 };

    if (!s->part_count[0] || !s->parts[0][0].mine || (s->gone_ns && !ingest_older_than(s->gone_ns, GONE_MS)))
        return;
    if (tsn_consumer_gone(s->consumer, INGEST_QUERY_MS, &topics, &error)) {
        tsn_log(TSN_LOG_DEBUG, "ingest", "cannot ask which topics are inputs no more", "error=\"%s\"", error.message);
        s->gone_ns = tsn_mono_now().ns - (GONE_MS - GONE_AGAIN_MS) * INT64_C(1000000);
        return;
    }
    s->gone_ns = tsn_mono_now().ns;
    if (tsn_ingest_gone(s->ingest, topics.items, topics.len))
        for (size_t i = 0; i < topics.len; i++)
            tsn_log(TSN_LOG_INFO, "ingest", "a topic is an input no more: it holds no time", "topic=%s", topics.items[i]);
    tsn_names_release(&topics);
}

static void housekeeping(struct ingest_session *s)
{
    take_rule_sets(s);
    find_gone(s);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        for (int32_t p = 0; p < s->part_count[i]; p++)
            if (s->parts[i][p].mine) {
                retry_held(s, (int32_t)i, p, &s->parts[i][p]);
                prove_idle(s, (int32_t)i, p, &s->parts[i][p]);
            }
    if (!s->app->opt.until_end || s->config->time.align_ms)
        ingest_align(s);
}

/* The least watermark of this worker's partitions that hold time; TSN_TIME_NONE: one has none yet, or all are idle. */
static int64_t least_watermark(const struct ingest_session *s)
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
static bool step_waits(struct ingest_session *s)
{
    int64_t least_ms = s->step_ms ? least_watermark(s) : TSN_TIME_NONE;

    return least_ms != TSN_TIME_NONE && least_ms / s->step_ms > s->step &&
           tsn_wall_now().ms - least_ms < s->config->time.out_of_orderness_ms + LIVE_MS;
}

static void maybe_close(struct ingest_session *s)
{
    size_t pending = tsn_ingest_pending(s->ingest);
    bool full = pending >= (size_t)s->config->ingest.batch_bytes;
    int64_t least_ms;

    if (!s->sets.len || !any_mine(s))
        return;
    if (!full && !ingest_older_than(s->closed_ns, pending ? s->config->ingest.batch_interval_ms : SILENT_CLOSE_MS) && !step_waits(s))
        return;
    if (!ingest_sender_wait(s, full ? 1000 : 0))
        return;
    least_ms = least_watermark(s);
    if (s->step_ms && least_ms != TSN_TIME_NONE)
        s->step = least_ms / s->step_ms;
    close_batch(s);
    publish_stats(s);
}

static void run_session(struct ingest_session *s)
{
    struct tsn_message *messages = tsn_calloc(POLL_MAX, sizeof *messages);

    while (!s->ended && !s->caught_up && !atomic_load(&s->stage->stop)) {
        struct tsn_error error = { 0 };
        bool full = tsn_ingest_pending(s->ingest) >= (size_t)s->config->ingest.batch_bytes;
        int count = full || !s->sets.len ? 0 : tsn_consumer_poll(s->consumer, POLL_MS, messages, POLL_MAX, &error);

        if (!s->sets.len)
            tsn_app_sleep_ms(20);
        if (count < 0)
            ingest_end(s, &error);
        for (int i = 0; i < count && !atomic_load(&s->stage->stop); i++)
            take_message(s, &messages[i]);
        if (s->ended || atomic_load(&s->stage->stop))
            break;
        housekeeping(s);
        maybe_close(s);
        if (s->app->opt.until_end && reached_ends(s))
            finish_inputs(s);
    }
    if (!s->ended && !s->caught_up && any_mine(s) && s->sets.len && ingest_sender_wait(s, STOP_MS)) {
        close_batch(s);
        (void)ingest_sender_wait(s, STOP_MS);
    }
    publish_stats(s);
    tsn_free(messages);
}

/* The static id names the list of inputs, too: to a static member that comes back Kafka gives the partitions it had, whatever it subscribes to now. With
 * another list it is another member; the one before ends with its session timeout. The transactional id still fences a twin on the slot. */
static char *member_id(const struct ingest_session *s, const char *id)
{
    struct tsn_buf out = TSN_BUF_INIT;
    uint64_t inputs = 0;

    for (size_t i = 0; i < s->config->inputs.len; i++)
        inputs ^= tsn_hash64(s->config->inputs.items[i].topic, strlen(s->config->inputs.items[i].topic));
    tsn_buf_printf(&out, "%s-%08x", id, (unsigned)(inputs >> 32));
    return tsn_buf_take(&out, NULL);
}

static enum tsn_err open_session(struct ingest_session *s, struct tsn_error *error)
{
    struct tsn_ingest_options options = { .config = s->config, .slot = (int32_t)s->config->worker.slot, .writer = s->writer,
                                          .samples_partitions = s->app->samples_partitions };
    struct tsn_consumer_options member = { .config = s->config, .fail_on_gap = true, .assign = on_assign, .revoke = on_revoke, .gap = on_gap,
                                           .arg = s, .topic_count = s->config->inputs.len };
    char *id = tsn_app_name(s->config, "ingest", true), *group = tsn_app_name(s->config, "ingest", false);
    char *member_name = member_id(s, id);
    const char **topics = tsn_calloc(s->config->inputs.len, sizeof *topics);

    tsn_app_ingest_sources(s->app, &options);
    s->ingest = tsn_ingest_new(&options, error);
    for (size_t i = 0; i < s->config->inputs.len; i++)
        topics[i] = s->config->inputs.items[i].topic;
    member.group = group;
    member.instance_id = member_name;
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
    tsn_free(member_name);
    tsn_free(group);
    if (!s->consumer)
        return error->code;
    ingest_sender_start(s);
    return TSN_OK;
}

static void close_session(struct ingest_session *s)
{
    bool was_open = s->consumer != NULL;

    if (was_open)
        ingest_sender_stop(s);
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
    tsn_kafka_partitions_release(&s->committed);
}

/* One session from committed offsets; true when the stage is through or must leave for good. */
static bool one_session(struct stage *stage, struct tsn_ingest_stats *base, struct fence_guard *guard)
{
    struct ingest_session *s = tsn_calloc(1, sizeof *s);
    struct tsn_error error = { 0 };
    bool through;

    s->stage = stage;
    s->app = stage->app;
    s->config = stage->app->config;
    s->base = *base;
    s->writer = tsn_wall_now().ms;
    s->began_ns = tsn_mono_now().ns;
    if (open_session(s, &error))
        ingest_end(s, &error);
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
