/*
 * detect_stage: the shell of STAGE 2.
 *
 * One thread serves all its partitions of `samples`, one core object each. Alerts, state and offsets of all of them go out in one
 * transaction every commit interval. Whatever ends a transaction badly, or takes a partition away unasked, ends the session: memory
 * is dropped and taken over anew from the log.
 *
 * Takeover of a partition, outside the rebalance callback, partition paused: the offset committed and stable (fetched when the partition
 * was assigned) → topic `state`, read_committed, up to its end as read_uncommitted sees it → the checkpoint must name that offset →
 * `samples` back from the index → go on.
 *
 * Concurrency: everything here belongs to the stage's thread; stats are copied under the app's lock.
 */
#include "app/app_int.h"
#include "tocsin/codec.h"
#include "tocsin/detect.h"

#include <stdio.h>
#include <string.h>

enum {
    POLL_MAX = 512, POLL_MS = 50, READ_MS = 30000, QUERY_MS = 2000, RULES_MS = 500, STATS_MS = 500,
    SET_MS = 20000, /* a batch names a set that topic rules has not given yet */
    LIVE_MS = 10000 /* a step no further behind the clock than this, out-of-orderness aside: people may be waiting for it */
};

struct owned {
    int32_t partition;
    int64_t committed, next_offset, eof_offset, committed_next; /* committed_next: what the last transaction held */
    int64_t until;
    bool ready, revoked;
    struct tsn_detect *core;
    size_t sets_seen;
    int64_t newest_set; /* number of the last set the core knows; -1 */
    int64_t state_wall_ms; /* when the owner before committed last; TSN_TIME_NONE: never */
};

struct session {
    struct stage *stage;
    struct tsn_app *app;
    const struct tsn_config *config;
    struct tsn_consumer *consumer;
    struct tsn_producer *producer;
    struct rule_settings settings;
    TSN_VEC(struct owned *) owned;
    struct tsn_detect_output out;
    struct tsn_buf bytes;
    bool ended, caught_up, dirty;
    struct tsn_error why;
    int64_t committed_ns, rules_ns, stats_ns, watermark_ms;
    struct detect_sight *sight; /* the stage's */
    uint64_t bad_records, takeovers;
};

static bool older_than(int64_t since_ns, int64_t ms)
{
    return tsn_mono_now().ns - since_ns >= ms * 1000000;
}

static void end_session(struct session *s, const struct tsn_error *why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->why = *why;
}

static struct owned *find_owned(struct session *s, int32_t partition)
{
    for (size_t i = 0; i < s->owned.len; i++)
        if (s->owned.items[i]->partition == partition && !s->owned.items[i]->revoked)
            return s->owned.items[i];
    return NULL;
}

/* ---- the transaction ----------------------------------------------------------------------- */

static enum tsn_err send_transitions(struct session *s, struct tsn_error *error)
{
    enum tsn_codec_form form = s->config->alerts.format == TSN_OUTPUT_AVRO ? TSN_FORM_AVRO : TSN_FORM_JSON;
    char watermark[TSN_RFC3339_TEXT];
    struct tsn_header headers[] = {
        { "content-type", form == TSN_FORM_AVRO ? "application/avro" : "application/json", 16 },
        { "tocsin_watermark", watermark, 0 },
    };
    enum tsn_err err = TSN_OK;

    tsn_format_rfc3339(watermark, s->watermark_ms == TSN_TIME_NONE ? 0 : s->watermark_ms);
    headers[1].len = strlen(watermark);
    for (size_t i = 0; i < s->out.transitions.len && !err; i++) {
        const struct tsn_transition *t = &s->out.transitions.items[i];

        tsn_buf_reset(&s->bytes);
        tsn_codec_transition_encode(t, form, &s->bytes);
        err = tsn_producer_send(s->producer, s->config->topics.alerts, 0, t->alert_id, strlen(t->alert_id), s->bytes.data, s->bytes.len,
                                TSN_TIME_NONE, headers, TSN_ARRAY_LEN(headers), error);
    }
    return err;
}

static enum tsn_err send_state(struct session *s, int32_t partition, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < s->out.state.len && !err; i++) {
        const struct tsn_state_record *r = &s->out.state.items[i];

        err = tsn_producer_send(s->producer, s->config->topics.state, partition, r->key, strlen(r->key), r->value, r->value_len,
                                TSN_TIME_NONE, NULL, 0, error);
    }
    return err;
}

/* What people read of log templates: keyed, so that the broker's compaction keeps the last word. */
static enum tsn_err send_templates(struct session *s, struct tsn_error *error)
{
    static const struct tsn_header header = { "content-type", "application/json", 16 };
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < s->out.templates.len && !err; i++) {
        const struct tsn_state_record *r = &s->out.templates.items[i];

        err = tsn_producer_send(s->producer, s->config->topics.templates, -1, r->key, strlen(r->key), r->value, r->value_len,
                                TSN_TIME_NONE, &header, r->value ? 1 : 0, error);
    }
    return err;
}

/* Everything that was applied since the last one. Output of the cores was gathered in s->out by partition order already. */
static enum tsn_err transact(struct session *s, struct tsn_error *error)
{
    struct tsn_kafka_partitions offsets = { 0 };
    enum tsn_err err = tsn_producer_begin(s->producer, error);

    if (!err)
        err = send_transitions(s, error);
    for (size_t i = 0; i < s->owned.len && !err; i++) {
        struct owned *o = s->owned.items[i];
        struct tsn_kafka_partition at = { 0, o->partition, o->next_offset, NULL };

        if (!o->ready || o->revoked || o->next_offset == o->committed_next)
            continue;
        tsn_detect_output_reset(&s->out);
        tsn_detect_checkpoint(o->core, o->next_offset, &s->out);
        err = send_state(s, o->partition, error);
        if (!err)
            err = send_templates(s, error);
        tsn_vec_push(&offsets, at);
    }
    tsn_detect_output_reset(&s->out);
    if (!err && offsets.len)
        err = tsn_producer_offsets(s->producer, s->consumer, &offsets, error);
    if (!err)
        err = tsn_producer_commit(s->producer, error);
    tsn_kafka_partitions_release(&offsets);
    return err;
}

static void commit(struct session *s)
{
    int64_t began_ns = tsn_mono_now().ns;
    struct tsn_error error = { 0 }, ignored;
    size_t transitions = s->out.transitions.len;
    enum tsn_err err;

    if (!s->dirty || s->ended)
        return;
    err = transact(s, &error);
    pthread_mutex_lock(&s->app->stats_lock);
    s->app->stats->detect.commits += !err;
    s->app->stats->detect.transitions += err ? 0 : transitions;
    s->app->stats->detect.aborts += err != TSN_OK;
    s->app->stats->detect.commit_us_total += (tsn_mono_now().ns - began_ns) / 1000;
    if (!err)
        s->app->stats->detect.last_commit_ns = tsn_mono_now().ns;
    pthread_mutex_unlock(&s->app->stats_lock);
    s->committed_ns = tsn_mono_now().ns;
    s->dirty = false;
    if (err) {
        if (err != TSN_ERR_FENCED && !error.fatal)
            (void)tsn_producer_abort(s->producer, &ignored);
        end_session(s, &error);
        return;
    }
    for (size_t i = 0; i < s->owned.len; i++)
        if (s->owned.items[i]->ready)
            s->owned.items[i]->committed_next = s->owned.items[i]->next_offset;
}

/* ---- partitions ---------------------------------------------------------------------------- */

static void on_assign(void *arg, struct tsn_kafka_partitions *list)
{
    struct session *s = arg;

    for (size_t i = 0; i < list->len; i++) {
        struct owned *o = tsn_calloc(1, sizeof *o);

        o->partition = list->items[i].partition;
        o->committed = list->items[i].offset;
        o->eof_offset = o->until = o->newest_set = -1;
        o->state_wall_ms = TSN_TIME_NONE;
        tsn_vec_push(&s->owned, o);
    }
}

static void drop_owned(struct session *s, bool all)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->owned.len; i++) {
        struct owned *o = s->owned.items[i];

        if (!all && !o->revoked) {
            s->owned.items[kept++] = o;
            continue;
        }
        tsn_detect_free(&o->core);
        tsn_free(o);
    }
    s->owned.len = kept;
}

static void on_revoke(void *arg, const struct tsn_kafka_partitions *list, bool lost)
{
    struct session *s = arg;
    struct tsn_error error = { 0 };

    if (lost) {
        tsn_error_set(&error, TSN_ERR_TIMEOUT, "partitions were lost: this worker was away longer than the session timeout");
        end_session(s, &error);
    }
    commit(s);
    for (size_t i = 0; i < list->len; i++) {
        struct owned *o = find_owned(s, list->items[i].partition);

        if (o)
            o->revoked = true;
    }
}

static void add_sets(struct session *s, struct owned *o)
{
    size_t count = tsn_rule_book_count(s->app->book);

    for (; o->sets_seen < count; o->sets_seen++) {
        int64_t number;
        struct tsn_rule_set *set = tsn_rule_book_load(s->app->book, o->sets_seen, &number);

        if (set)
            tsn_detect_add_rule_set(o->core, number, set);
        o->newest_set = number;
    }
}

/* What the core gives is a function of the log only if it knows every set up to the one that a batch names. */
static enum tsn_err know_set(struct session *s, struct owned *o, int64_t number, struct tsn_error *error)
{
    int64_t until_ns = tsn_mono_now().ns + SET_MS * INT64_C(1000000);

    while (o->newest_set < number) {
        if (tsn_rule_book_refresh(s->app->book, error))
            return error->code;
        add_sets(s, o);
        if (o->newest_set >= number)
            break;
        if (tsn_mono_now().ns > until_ns || atomic_load(&s->stage->stop))
            return tsn_error_set(error, TSN_ERR_NOT_FOUND, "samples/%d carries rule set %lld, which topic %s does not hold", o->partition,
                                 (long long)number, s->config->topics.rules);
        tsn_app_sleep_ms(20);
    }
    return TSN_OK;
}

static struct tsn_detect *new_core(struct session *s, int32_t partition)
{
    struct tsn_detect_options options = {
        .shard_label = s->settings.shard_label,
        .partition = partition,
        .partition_count = s->app->samples_partitions,
        .warmup = s->settings.warmup,
        .prometheus_restore = s->config->detect.prometheus_restore,
        .fill_job = s->settings.fill_job,
        .counter_ttl_ms = s->settings.counter_ttl_ms,
        .lookback_ms = s->settings.lookback_ms,
        .max_series = (size_t)s->config->detect.max_series,
        .max_samples = (size_t)s->config->detect.max_samples,
        .max_output = (size_t)s->config->detect.max_output,
        .external_labels = s->settings.external_labels,
        .external_url = s->settings.external_url,
    };

    return tsn_detect_new(&options);
}

static enum tsn_err read_state(struct session *s, struct owned *o, struct tsn_error *error)
{
    struct tsn_reader *r = tsn_reader_new(s->config, s->config->topics.state, o->partition, TSN_OFFSET_BEGINNING, false, error);
    struct tsn_message m;
    enum tsn_err err = r ? TSN_OK : error->code;

    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error))) {
        err = tsn_detect_restore(o->core, m.key, m.key_len, m.value, m.value_len, error);
        if (m.timestamp_ms > o->state_wall_ms)
            o->state_wall_ms = m.timestamp_ms;
    }
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static enum tsn_err apply_record(struct session *s, struct owned *o, const struct tsn_message *m, struct tsn_error *error)
{
    struct tsn_batch batch;
    enum tsn_err err = tsn_codec_batch_decode(m->value, m->value_len, &batch, error);

    if (!err && know_set(s, o, batch.rule_set, error)) {
        tsn_batch_release(&batch);
        return error->code;
    }
    if (!err) {
        tsn_detect_apply(o->core, &batch, m->offset, &s->out);
        tsn_batch_release(&batch);
    }
    if (err == TSN_ERR_UNSUPPORTED)
        return err;
    if (err) {
        s->bad_records++;
        tsn_log(TSN_LOG_ERROR, "detect", "a record of samples cannot be read; it is skipped", "partition=%d offset=%lld error=\"%s\"",
                o->partition, (long long)m->offset, error->message);
    }
    o->next_offset = m->offset + 1;
    return TSN_OK;
}

static enum tsn_err refill(struct session *s, struct owned *o, int64_t from, int64_t to, struct tsn_error *error)
{
    struct tsn_reader *r = from < to ? tsn_reader_new(s->config, s->config->topics.samples, o->partition, from, false, error) : NULL;
    struct tsn_message m;
    enum tsn_err err = r || from >= to ? TSN_OK : error->code;

    while (!err && r && !(err = tsn_reader_next(r, READ_MS, &m, error)) && m.offset < to)
        err = apply_record(s, o, &m, error);
    tsn_reader_free(&r);
    tsn_detect_output_reset(&s->out); /* a refill gives none */
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static void newest_step(const struct tsn_detect_rule_info *info, void *arg)
{
    int64_t *newest_ms = arg;

    if (info->last_step_ms > *newest_ms)
        *newest_ms = info->last_step_ms;
}

/* Event time of the owner before: a refill gives the core no watermark of its own, but the steps are those that were committed. */
static void note_sight(struct session *s, const struct owned *o)
{
    int64_t newest_ms = TSN_TIME_NONE;

    tsn_detect_each_rule(o->core, newest_step, &newest_ms);
    tsn_detect_sight_taken_over(s->app, s->sight, newest_ms, o->state_wall_ms);
}

static enum tsn_err take_over(struct session *s, struct owned *o, struct tsn_error *error)
{
    int64_t from = 0, next = 0, began_ns = tsn_mono_now().ns;
    enum tsn_err err;

    o->core = new_core(s, o->partition);
    add_sets(s, o);
    err = read_state(s, o, error);
    if (!err)
        err = tsn_detect_restore_done(o->core, &from, &next, error);
    if (!err && next != (o->committed < 0 ? 0 : o->committed))
        err = tsn_error_set(error, TSN_ERR_CONFLICT, "samples/%d: state stands at offset %lld, the group at %lld", o->partition,
                            (long long)next, (long long)o->committed);
    commit(s); /* what the other partitions gave must not be lost in the refill's reset */
    if (!err)
        err = refill(s, o, from, next, error);
    if (err)
        return tsn_error_prefix(error, "takeover of samples/%d", o->partition);
    o->next_offset = o->committed_next = next;
    o->ready = true;
    s->takeovers++;
    note_sight(s, o);
    tsn_log(TSN_LOG_INFO, "detect", "partition taken over", "partition=%d offset=%lld refilled_from=%lld took_ms=%lld", o->partition,
            (long long)next, (long long)from, (long long)((tsn_mono_now().ns - began_ns) / 1000000));
    tsn_consumer_pause(s->consumer, 0, o->partition, false);
    return TSN_OK;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void take_message(struct session *s, const struct tsn_message *m)
{
    struct owned *o = find_owned(s, m->partition);
    struct tsn_error error = { 0 };

    if (!o || !o->ready)
        return;
    if (m->eof) {
        o->eof_offset = m->offset;
        return;
    }
    if (m->offset < o->next_offset)
        return;
    if (apply_record(s, o, m, &error)) {
        end_session(s, &error);
        return;
    }
    s->dirty = true;
}

/* One row a rule, over all partitions of this worker. */
static void add_rule(const struct tsn_detect_rule_info *info, void *arg)
{
    struct rule_stats *stats = arg;
    struct tsn_app_rule *to = NULL;

    for (size_t i = 0; i < stats->len && !to; i++)
        if (strcmp(stats->items[i].group, info->group) == 0 && strcmp(stats->items[i].rule, info->rule) == 0 &&
            strcmp(stats->items[i].file, info->file) == 0)
            to = &stats->items[i];
    if (!to) {
        struct tsn_app_rule fresh = { tsn_strdup(info->group), tsn_strdup(info->rule), tsn_strdup(info->file), info->is_alert, false,
                                   0, 0, 0, 0, 0, TSN_TIME_NONE, "" };

        tsn_vec_push(stats, fresh);
        to = &stats->items[stats->len - 1];
    }
    to->ever_matched |= info->ever_matched;
    to->evaluations += info->evaluations;
    to->errors += info->errors;
    to->last_count += info->last_count;
    to->pending += info->pending;
    to->firing += info->firing;
    if (info->last_step_ms > to->last_step_ms)
        to->last_step_ms = info->last_step_ms;
    if (*info->last_error)
        snprintf(to->last_error, sizeof to->last_error, "%s", info->last_error);
}

static void publish_rules(struct session *s)
{
    struct rule_stats stats = { 0 };

    for (size_t i = 0; i < s->owned.len; i++)
        if (s->owned.items[i]->ready)
            tsn_detect_each_rule(s->owned.items[i]->core, add_rule, &stats);
    pthread_mutex_lock(&s->app->stats_lock);
    tsn_rule_stats_release(&s->app->rules);
    s->app->rules = stats;
    pthread_mutex_unlock(&s->app->stats_lock);
}

static void add_mining(struct tsn_mining_stats *sum, const struct tsn_mining_stats *one)
{
    sum->templates += one->templates;
    sum->scopes += one->scopes;
    sum->lines += one->lines;
    sum->discovered += one->discovered;
    sum->merged += one->merged;
    sum->evicted_templates += one->evicted_templates;
    sum->evicted_scopes += one->evicted_scopes;
    sum->limit_texts += one->limit_texts;
    sum->unknown_texts += one->unknown_texts;
}

static void publish_stats(struct session *s)
{
    struct tsn_detect_stats sum = { 0 };
    struct tsn_app_stats *to = s->app->stats;
    int64_t least_ms = INT64_MAX;
    int32_t ready = 0;

    for (size_t i = 0; i < s->owned.len; i++) {
        struct tsn_detect_stats one;

        if (!s->owned.items[i]->ready)
            continue;
        tsn_detect_get_stats(s->owned.items[i]->core, &one);
        ready++;
        sum.batches += one.batches;
        sum.samples += one.samples + one.deltas;
        sum.steps += one.steps;
        sum.rule_evaluations += one.rule_evaluations;
        sum.rule_errors += one.rule_errors;
        sum.late_dropped += one.late_dropped;
        sum.late_moved += one.late_moved;
        sum.series += one.series;
        sum.series_limit_hits += one.series_limit_hits + one.rule_limit_hits;
        sum.limit_dropped += one.limit_dropped;
        add_mining(&sum.mining, &one.mining);
        sum.rule_set = one.rule_set;
        if (one.watermark_ms != TSN_TIME_NONE && one.watermark_ms < least_ms)
            least_ms = one.watermark_ms;
    }
    if (least_ms != INT64_MAX) {
        s->watermark_ms = least_ms;
        tsn_detect_sight_at(s->sight, least_ms);
    }
    pthread_mutex_lock(&s->app->stats_lock);
    to->detect.ready = ready > 0 && (size_t)ready == s->owned.len;
    to->detect.partitions = ready;
    to->detect.batches = sum.batches;
    to->detect.samples = sum.samples;
    to->detect.steps = sum.steps;
    to->detect.evaluations = sum.rule_evaluations;
    to->detect.rule_errors = sum.rule_errors;
    to->detect.late_dropped = sum.late_dropped;
    to->detect.late_moved = sum.late_moved;
    to->detect.series = sum.series;
    to->detect.limits = sum.series_limit_hits;
    to->detect.limit_dropped = sum.limit_dropped;
    to->detect.mining = sum.mining;
    to->detect.rule_set = sum.rule_set;
    to->detect.watermark_ms = s->watermark_ms;
    to->detect.bad_records = s->bad_records;
    to->detect.takeovers = s->takeovers;
    pthread_mutex_unlock(&s->app->stats_lock);
}

/* Transitions of a step that has just passed do not wait for the commit interval; those of a catch-up do. */
static bool transitions_wait(const struct session *s)
{
    size_t count = s->out.transitions.len;

    return count && tsn_wall_now().ms - s->out.transitions.items[count - 1].step_ms < s->config->time.out_of_orderness_ms + LIVE_MS;
}

static void housekeeping(struct session *s)
{
    struct tsn_error error = { 0 };

    drop_owned(s, false);
    for (size_t i = 0; i < s->owned.len && !s->ended && !atomic_load(&s->stage->stop); i++)
        if (!s->owned.items[i]->ready && take_over(s, s->owned.items[i], &error))
            end_session(s, &error);
    if (older_than(s->rules_ns, RULES_MS)) {
        s->rules_ns = tsn_mono_now().ns;
        for (size_t i = 0; i < s->owned.len; i++)
            if (s->owned.items[i]->ready)
                add_sets(s, s->owned.items[i]);
    }
    if (older_than(s->committed_ns, s->config->detect.commit_interval_ms) || transitions_wait(s))
        commit(s);
    if (older_than(s->stats_ns, STATS_MS)) {
        s->stats_ns = tsn_mono_now().ns;
        commit(s); /* so that the time that is shown has all its transitions behind it */
        publish_stats(s);
        publish_rules(s);
        tsn_detect_sight_watch(s->app, s->sight, s->owned.len > 0);
    }
}

static bool reached_ends(struct session *s)
{
    if (!atomic_load(&s->stage->drain) || !s->owned.len)
        return false;
    for (size_t i = 0; i < s->owned.len; i++) {
        struct owned *o = s->owned.items[i];
        int64_t at = o->eof_offset > o->next_offset ? o->eof_offset : o->next_offset;

        if (!o->ready)
            return false;
        if (o->until < 0)
            o->until = tsn_consumer_query_end(s->consumer, 0, o->partition, QUERY_MS);
        if (o->until < 0 || at < o->until)
            return false;
    }
    return true;
}

static void run_session(struct session *s)
{
    struct tsn_message *messages = tsn_calloc(POLL_MAX, sizeof *messages);
    int64_t step_us = 0;

    while (!s->ended && !s->caught_up && !atomic_load(&s->stage->stop)) {
        struct tsn_error error = { 0 };
        int count = tsn_consumer_poll(s->consumer, POLL_MS, messages, POLL_MAX, &error);
        int64_t began_ns = tsn_mono_now().ns;

        if (count < 0)
            end_session(s, &error);
        for (int i = 0; i < count && !s->ended && !atomic_load(&s->stage->stop); i++)
            take_message(s, &messages[i]);
        step_us += (tsn_mono_now().ns - began_ns) / 1000;
        housekeeping(s);
        if (!s->ended && reached_ends(s)) {
            commit(s);
            s->caught_up = !s->ended;
        }
        pthread_mutex_lock(&s->app->stats_lock);
        s->app->stats->detect.step_us_total = step_us;
        pthread_mutex_unlock(&s->app->stats_lock);
    }
    commit(s);
    publish_stats(s);
    tsn_free(messages);
}

static enum tsn_err open_session(struct session *s, struct tsn_error *error)
{
    struct tsn_consumer_options member = { .config = s->config, .paused = true, .assign = on_assign, .revoke = on_revoke, .arg = s,
                                           .topic_count = 1, .fail_on_gap = true };
    char *id = tsn_app_name(s->config, "detect", true), *group = tsn_app_name(s->config, "detect", false);
    const char *topics[] = { s->config->topics.samples };

    member.group = group;
    member.instance_id = id;
    member.topics = topics;
    if (!tsn_rule_book_settings(s->app->book, &s->settings))
        tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s holds no rule set", s->config->topics.rules);
    else if ((s->producer = tsn_producer_new(s->config, id, 15000, error))) {
        tsn_producer_know(s->producer, s->config->topics.alerts);
        tsn_producer_know(s->producer, s->config->topics.state);
        tsn_producer_know(s->producer, s->config->topics.templates);
        s->consumer = tsn_consumer_new(&member, error);
    }
    tsn_free(id);
    tsn_free(group);
    return s->consumer ? TSN_OK : error->code;
}

static bool one_session(struct stage *stage, struct fence_guard *guard, struct detect_sight *sight)
{
    struct session *s = tsn_calloc(1, sizeof *s);
    struct tsn_error error = { 0 };
    bool through;

    s->stage = stage;
    s->app = stage->app;
    s->config = stage->app->config;
    s->watermark_ms = TSN_TIME_NONE;
    s->sight = sight;
    if (open_session(s, &error))
        end_session(s, &error);
    else
        run_session(s);
    error = s->why;
    through = s->caught_up || atomic_load(&stage->stop);
    tsn_consumer_free(&s->consumer);
    tsn_producer_free(&s->producer);
    drop_owned(s, true);
    tsn_vec_release(&s->owned);
    tsn_detect_output_release(&s->out);
    tsn_buf_release(&s->bytes);
    tsn_rule_settings_release(&s->settings);
    pthread_mutex_lock(&stage->app->stats_lock);
    stage->app->stats->detect.sessions++;
    stage->app->stats->detect.fenced += error.code == TSN_ERR_FENCED;
    stage->app->stats->detect.ready = false;
    pthread_mutex_unlock(&stage->app->stats_lock);
    if (!through) {
        tsn_log(TSN_LOG_WARN, "detect", "session ended; taking over anew", "error=\"%s\"", error.message);
        if (error.code == TSN_ERR_UNSUPPORTED || (error.code == TSN_ERR_FENCED && tsn_fence_guard_hit(guard))) {
            tsn_stage_fail(stage, &error);
            through = true;
        }
    }
    tsn_free(s);
    return through;
}

void *tsn_detect_stage_main(void *arg)
{
    struct stage *stage = arg;
    struct fence_guard guard = { { 0 } };
    struct detect_sight sight;

    tsn_kafka_give_up_on(&stage->stop);
    tsn_detect_sight_init(&sight);
    while (!one_session(stage, &guard, &sight)) {
        tsn_detect_sight_watch(stage->app, &sight, sight.owned); /* without a broker no session lasts: it is said from here */
        tsn_app_sleep_ms(200 + (int)(tsn_mono_now().ns / 1000 % 800));
    }
    atomic_store(&stage->done, true);
    return NULL;
}
