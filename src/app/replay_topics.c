/*
 * replay_topics: feeds the replay core from the topics of a cluster.
 *
 * Where to begin: the event time of a sample and the wall clock of its record differ by seconds live, by at most
 * time.future ahead, and by any amount behind when a backlog is worked off (then reading begins earlier than it must,
 * which costs time and nothing else). So the start is found by record timestamp, by halving, the lead, `future` and some
 * minutes before the range: names are announced anew each minute, inputs too.
 *
 * A what-if may place its units on other partitions than the live rules did, so the records that one transaction of
 * INGEST wrote to the partitions are put together again and one DETECT gets them all.
 */
#include "app/app_int.h"
#include "tocsin/app_replay.h"
#include "tocsin/codec.h"

#include <string.h>

/* READ_MS: longer than an open transaction may hold the reader up. SLACK_MS: clocks of workers, and the minutes of names. */
enum { READ_MS = 20000, SLACK_MS = 180000, SCAN_RECORDS = 200, WHAT_IF_NUMBER = INT32_MAX };

struct source {
    const struct tsn_config *config;
    const struct tsn_app_replay *replay;
    struct rule_book *book;
    struct rule_settings settings;
    struct tsn_replay *core;
};

/* OK, NOT_FOUND at the end, or an error. */
static enum tsn_err timestamp_at(struct tsn_reader *r, int64_t offset, int64_t *timestamp_ms, struct tsn_error *error)
{
    struct tsn_message m;
    enum tsn_err err = tsn_reader_seek(r, offset, error);

    if (!err)
        err = tsn_reader_next(r, READ_MS, &m, error);
    if (!err)
        *timestamp_ms = m.timestamp_ms;
    return err;
}

/* Leaves the reader at an offset before every record of wall_ms or later. */
static enum tsn_err seek_wall(struct tsn_reader *r, int64_t wall_ms, struct tsn_error *error)
{
    struct tsn_message m;
    int64_t low, high = tsn_reader_end(r), timestamp_ms;
    enum tsn_err err = tsn_reader_next(r, READ_MS, &m, error);

    if (err)
        return err;
    low = m.offset;
    while (high - low > SCAN_RECORDS) {
        int64_t middle = low + (high - low) / 2;

        err = timestamp_at(r, middle, &timestamp_ms, error);
        if (err && err != TSN_ERR_NOT_FOUND)
            return err;
        if (err || timestamp_ms >= wall_ms)
            high = middle;
        else
            low = middle;
    }
    return tsn_reader_seek(r, low, error);
}

/* NOT_FOUND: the partition is empty. */
static enum tsn_err open_at_start(const struct source *s, int32_t partition, struct tsn_reader **r, struct tsn_error *error)
{
    int64_t wall_ms = s->replay->from_ms - tsn_replay_lead_ms(s->core) - s->config->time.future_ms - SLACK_MS;

    *r = tsn_reader_new(s->config, s->config->topics.samples, partition, TSN_OFFSET_BEGINNING, false, error);
    return *r ? seek_wall(*r, wall_ms, error) : error->code;
}

static enum tsn_err feed_partition(struct source *s, int32_t partition, struct tsn_error *error)
{
    struct tsn_reader *r;
    struct tsn_message m;
    enum tsn_err err = open_at_start(s, partition, &r, error);

    while (!err && !tsn_replay_done(s->core, partition) && !(err = tsn_reader_next(r, READ_MS, &m, error))) {
        enum tsn_err one = tsn_replay_batch(s->core, partition, m.offset, m.value, m.value_len, error);

        if (one == TSN_ERR_LIMIT || one == TSN_ERR_UNSUPPORTED)
            err = one;
        else if (one)
            tsn_log(TSN_LOG_WARN, "replay", "a record of samples cannot be read; it is skipped", "error=\"%s\"", error->message);
    }
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

/* What the live run knows of log templates. */
static enum tsn_err seed(struct source *s, int32_t from, int32_t core, struct tsn_error *error)
{
    struct tsn_reader *r = tsn_reader_new(s->config, s->config->topics.state, from, TSN_OFFSET_BEGINNING, false, error);
    struct tsn_message m;
    enum tsn_err err = r ? TSN_OK : error->code;

    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error)))
        tsn_replay_seed(s->core, core, m.key, m.key_len, m.value, m.value_len);
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static enum tsn_err seed_all(struct source *s, int32_t partitions, int32_t cores, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (int32_t p = 0; p < partitions && !err; p++)
        err = seed(s, p, cores == 1 ? 0 : p, error);
    for (int32_t c = 0; c < cores && !err; c++)
        err = tsn_replay_seed_done(s->core, c, error);
    return err;
}

/* ---- a what-if: all partitions as one ------------------------------------------------------- */

enum { MAX_STASHED = 20000 };

struct lane {
    struct tsn_reader *reader;
    TSN_VEC(struct tsn_batch) stash; /* read before partition 0 had them */
};

/* The next record that decodes. */
static enum tsn_err lane_next(struct lane *lane, struct tsn_batch *batch, int64_t *offset, struct tsn_error *error)
{
    for (;;) {
        struct tsn_message m;
        enum tsn_err err = tsn_reader_next(lane->reader, READ_MS, &m, error);

        if (err)
            return err;
        *offset = m.offset;
        err = tsn_codec_batch_decode(m.value, m.value_len, batch, error);
        if (!err || err == TSN_ERR_UNSUPPORTED)
            return err;
        tsn_log(TSN_LOG_WARN, "replay", "a record of samples cannot be read; it is skipped", "error=\"%s\"", error->message);
    }
}

static bool same_writer(const struct tsn_batch *a, const struct tsn_batch *b)
{
    return a->slot == b->slot && a->writer == b->writer;
}

/* From the stash: what is of the wanted transaction; what its writer wrote before leaves it. *later: a later one is there. */
static bool from_stash(struct lane *lane, const struct tsn_batch *want, struct tsn_batch *found, bool *later)
{
    size_t kept = 0;
    bool any = false;

    *later = false;
    for (size_t i = 0; i < lane->stash.len; i++) {
        struct tsn_batch *b = &lane->stash.items[i];

        if (!same_writer(b, want) || b->seq > want->seq) {
            *later |= same_writer(b, want);
            lane->stash.items[kept++] = *b;
        } else if (b->seq == want->seq) {
            *found = *b;
            any = true;
        } else {
            tsn_batch_release(b);
        }
    }
    lane->stash.len = kept;
    return any;
}

/* The lane's record of the wanted transaction; NOT_FOUND if it has none (before its start, or behind its end). */
static enum tsn_err lane_find(struct lane *lane, const struct tsn_batch *want, struct tsn_batch *found, struct tsn_error *error)
{
    bool later;

    if (from_stash(lane, want, found, &later))
        return TSN_OK;
    while (!later) {
        int64_t offset;
        enum tsn_err err = lane_next(lane, found, &offset, error);

        if (err || (same_writer(found, want) && found->seq == want->seq))
            return err;
        later = same_writer(found, want) && found->seq > want->seq;
        tsn_vec_push(&lane->stash, *found);
        if (lane->stash.len > MAX_STASHED)
            return tsn_error_set(error, TSN_ERR_LIMIT, "the partitions of %s are too far apart to be read as one", "samples");
    }
    return TSN_ERR_NOT_FOUND;
}

static enum tsn_err feed_transaction(struct source *s, struct lane *lanes, int32_t partitions, struct tsn_batch *parts,
                                     struct tsn_error *error)
{
    size_t count = 1;
    int64_t offset;
    enum tsn_err err = lane_next(&lanes[0], &parts[0], &offset, error);

    if (err)
        return err;
    for (int32_t p = 1; p < partitions && !err; p++) {
        err = lane_find(&lanes[p], &parts[0], &parts[count], error);
        count += !err;
        err = err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
    }
    if (!err)
        return tsn_replay_merged(s->core, offset, parts, count, error);
    for (size_t i = 0; i < count; i++)
        tsn_batch_release(&parts[i]);
    return err;
}

static enum tsn_err feed_merged(struct source *s, int32_t partitions, struct tsn_error *error)
{
    struct lane *lanes = tsn_calloc((size_t)partitions, sizeof *lanes);
    struct tsn_batch *parts = tsn_calloc((size_t)partitions, sizeof *parts);
    enum tsn_err err = TSN_OK;

    for (int32_t p = 0; p < partitions && !err; p++) {
        err = open_at_start(s, p, &lanes[p].reader, error);
        if (err == TSN_ERR_NOT_FOUND && p)
            err = TSN_OK; /* this one is empty */
    }
    while (!err && !tsn_replay_done(s->core, 0))
        err = feed_transaction(s, lanes, partitions, parts, error);
    for (int32_t p = 0; p < partitions; p++) {
        for (size_t i = 0; i < lanes[p].stash.len; i++)
            tsn_batch_release(&lanes[p].stash.items[i]);
        tsn_vec_release(&lanes[p].stash);
        tsn_reader_free(&lanes[p].reader);
    }
    tsn_free(lanes);
    tsn_free(parts);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

/* ---- rule sets ----------------------------------------------------------------------------- */

static struct tsn_rule_set *load_given(const struct source *s, struct tsn_error *error)
{
    struct tsn_rule_load_options options = { 0 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(s->replay->rules, s->replay->rule_count, &options, &errors);

    if (!set)
        tsn_error_set(error, TSN_ERR_INVALID, "%s:%u:%u: %s", errors.items[0].file, errors.items[0].at.line, errors.items[0].at.column,
                      errors.items[0].message);
    tsn_rule_errors_release(&errors);
    return set;
}

static enum tsn_err add_sets(struct source *s, int32_t partition, struct tsn_error *error)
{
    struct tsn_rule_set *set;
    int64_t number;

    if (s->replay->rules) {
        set = load_given(s, error);
        if (!set)
            return error->code;
        tsn_replay_add_rule_set(s->core, partition, WHAT_IF_NUMBER, set);
        return TSN_OK;
    }
    for (size_t i = 0; i < tsn_rule_book_count(s->book); i++)
        if ((set = tsn_rule_book_load(s->book, i, &number)) != NULL)
            tsn_replay_add_rule_set(s->core, partition, number, set);
    return TSN_OK;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void open_core(struct source *s, int32_t partitions)
{
    struct tsn_replay_options options = {
        .detect = { .shard_label = s->settings.shard_label,
                    .partition_count = partitions,
                    .warmup = s->settings.warmup,
                    .fill_job = s->settings.fill_job,
                    .counter_ttl_ms = s->settings.counter_ttl_ms,
                    .lookback_ms = s->settings.lookback_ms,
                    .max_series = (size_t)s->config->detect.max_series,
                    .max_samples = (size_t)s->config->detect.max_samples,
                    .max_output = (size_t)s->config->detect.max_output,
                    .external_labels = s->settings.external_labels,
                    .external_url = s->settings.external_url },
        .from_ms = s->replay->from_ms,
        .to_ms = s->replay->to_ms,
        .policy = s->replay->policy,
        .forced_set = s->replay->rules ? WHAT_IF_NUMBER : -1,
    };

    s->core = tsn_replay_new(&options);
}

enum tsn_err tsn_app_replay(const struct tsn_config *config, const struct tsn_app_replay *replay, struct tsn_replay_result *result,
                            struct tsn_error *error)
{
    struct source s = { .config = config, .replay = replay };
    int32_t partitions = tsn_kafka_partition_count(config, config->topics.samples, error);
    int32_t cores = replay->rules ? 1 : partitions;
    enum tsn_err err = TSN_OK;

    if (partitions < 0)
        return error->code;
    if (!partitions)
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s does not exist (tocsin topics apply)", config->topics.samples);
    s.book = tsn_rule_book_new(config, error);
    if (!s.book)
        return error->code;
    if (!tsn_rule_book_settings(s.book, &s.settings))
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s holds no rule set: nothing ever ran here", config->topics.rules);
    if (!err)
        open_core(&s, cores);
    for (int32_t p = 0; p < cores && !err; p++)
        err = add_sets(&s, p, error);
    if (!err)
        err = seed_all(&s, partitions, cores, error);
    for (int32_t p = 0; p < partitions && !err && !replay->rules; p++)
        err = feed_partition(&s, p, error);
    if (!err && replay->rules)
        err = feed_merged(&s, partitions, error);
    if (!err)
        tsn_replay_finish(s.core, result);
    tsn_replay_free(&s.core);
    tsn_rule_settings_release(&s.settings);
    tsn_rule_book_free(&s.book);
    return err;
}

enum tsn_err tsn_app_read_alerts(const struct tsn_config *config, int64_t from_ms, int64_t to_ms,
                                 void (*visit)(void *arg, const struct tsn_transition *t), void *arg, struct tsn_error *error)
{
    enum tsn_codec_form form = config->alerts.format == TSN_OUTPUT_AVRO ? TSN_FORM_AVRO : TSN_FORM_JSON;
    struct tsn_reader *r = tsn_reader_new(config, config->topics.alerts, 0, TSN_OFFSET_BEGINNING, false, error);
    struct tsn_message m;
    enum tsn_err err = r ? seek_wall(r, from_ms - config->time.future_ms - SLACK_MS, error) : error->code;

    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error))) {
        struct tsn_transition t;

        err = tsn_codec_transition_decode(m.value, m.value_len, form, &t, error);
        if (err) {
            tsn_error_prefix(error, "%s offset %lld", config->topics.alerts, (long long)m.offset);
            break;
        }
        if (t.step_ms >= from_ms && t.step_ms <= to_ms)
            visit(arg, &t);
        tsn_transition_release(&t);
    }
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}
