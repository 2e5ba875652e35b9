/*
 * replay: DETECT over each partition of samples, their transitions merged by step, RESPOND over those.
 *
 * The incident clock stands at each transition's step. Live it stood a few seconds later (when the
 * transition was read), so deadlines of incidents fall a little earlier here; events of timers bear
 * their due times in both. Everything before `from` is run too and left out of the result.
 */
#include "tocsin/replay.h"

#include <stdlib.h>
#include <string.h>

#include "tocsin/codec.h"

enum { DEFAULT_MAX_TRANSITIONS = 1000000 };

struct kept {
    struct tsn_transition transition;
    int32_t partition;
    size_t rank; /* as given */
};

struct tsn_replay {
    struct tsn_replay_options opt;
    struct tsn_detect **detects;
    struct tsn_detect_stats *before; /* per partition: as event time reached the lead before from_ms */
    struct tsn_detect_output out;
    TSN_VEC(struct kept) kept;
    int64_t lead_ms, began_ms;
    uint64_t bad_batches;
};

struct tsn_replay *tsn_replay_new(const struct tsn_replay_options *options)
{
    struct tsn_replay *r = tsn_calloc(1, sizeof *r);

    TSN_ASSERT(options->detect.partition_count > 0 && options->from_ms <= options->to_ms);
    r->opt = *options;
    if (!r->opt.max_transitions)
        r->opt.max_transitions = DEFAULT_MAX_TRANSITIONS;
    r->began_ms = TSN_TIME_NONE;
    r->detects = tsn_calloc((size_t)options->detect.partition_count, sizeof(*r->detects));
    r->before = tsn_calloc((size_t)options->detect.partition_count, sizeof *r->before);
    for (int32_t p = 0; p < options->detect.partition_count; p++) {
        struct tsn_detect_options detect = options->detect;

        detect.partition = p;
        r->detects[p] = tsn_detect_new(&detect);
    }
    return r;
}

void tsn_replay_free(struct tsn_replay **replay)
{
    struct tsn_replay *r = *replay;

    if (!r)
        return;
    for (int32_t p = 0; p < r->opt.detect.partition_count; p++)
        tsn_detect_free(&r->detects[p]);
    tsn_free(r->detects);
    tsn_free(r->before);
    for (size_t i = 0; i < r->kept.len; i++)
        tsn_transition_release(&r->kept.items[i].transition);
    tsn_vec_release(&r->kept);
    tsn_detect_output_release(&r->out);
    tsn_free(r);
    *replay = NULL;
}

void tsn_replay_add_rule_set(struct tsn_replay *r, int32_t partition, int64_t number, struct tsn_rule_set *set)
{
    int64_t longest_ms = 0, lead_ms = tsn_detect_reach_ms(set, r->opt.detect.lookback_ms);
    bool records = false;

    for (size_t g = 0; g < set->group_count; g++)
        for (size_t i = 0; i < set->groups[g].rule_count; i++) {
            const struct tsn_rule *rule = &set->groups[g].rules[i];

            records |= !rule->is_alert;
            if (rule->for_ms + rule->keep_firing_for_ms > longest_ms)
                longest_ms = rule->for_ms + rule->keep_firing_for_ms;
        }
    lead_ms = longest_ms + (records ? 2 * lead_ms : lead_ms); /* windows over what was made of windows */
    r->lead_ms = lead_ms > r->lead_ms ? lead_ms : r->lead_ms;
    tsn_detect_add_rule_set(r->detects[partition], number, set);
}

void tsn_replay_seed(struct tsn_replay *r, int32_t partition, const char *key, size_t key_len, const char *value, size_t value_len)
{
    tsn_detect_seed(r->detects[partition], key, key_len, value, value_len);
}

enum tsn_err tsn_replay_seed_done(struct tsn_replay *r, int32_t partition, struct tsn_error *error)
{
    return tsn_detect_seed_done(r->detects[partition], error);
}

int64_t tsn_replay_lead_ms(const struct tsn_replay *r)
{
    return r->lead_ms;
}

/* The first watermarks of a log say where its event time begins. */
static void note_beginning(struct tsn_replay *r, const struct tsn_batch *batch)
{
    for (size_t i = 0; i < batch->input_count && r->began_ms == TSN_TIME_NONE; i++)
        r->began_ms = batch->inputs[i].watermark_ms;
}

/* A log read from its middle begins with names not known and time not settled: no part of the range. */
static void note_before(struct tsn_replay *r, int32_t partition)
{
    struct tsn_detect_stats stats;

    tsn_detect_get_stats(r->detects[partition], &stats);
    if (stats.watermark_ms == TSN_TIME_NONE || stats.watermark_ms < r->opt.from_ms - r->lead_ms)
        r->before[partition] = stats;
}

static enum tsn_err keep(struct tsn_replay *r, int32_t partition, int64_t offset, struct tsn_error *error)
{
    for (size_t i = 0; i < r->out.transitions.len; i++) {
        struct kept kept = { r->out.transitions.items[i], partition, r->kept.len };

        if (kept.transition.step_ms > r->opt.to_ms || r->kept.len >= r->opt.max_transitions)
            tsn_transition_release(&kept.transition);
        else
            tsn_vec_push(&r->kept, kept);
    }
    r->out.transitions.len = 0; /* moved */
    if (r->kept.len < r->opt.max_transitions)
        return TSN_OK;
    return tsn_error_set(error, TSN_ERR_LIMIT, "samples/%d offset %lld: more than %zu transitions; narrow the range",
                         partition, (long long)offset, r->opt.max_transitions);
}

static enum tsn_err apply(struct tsn_replay *r, int32_t partition, int64_t offset, struct tsn_batch *batch,
                          struct tsn_error *error)
{
    if (r->opt.forced_set >= 0)
        batch->rule_set = r->opt.forced_set;
    note_beginning(r, batch);
    tsn_detect_apply(r->detects[partition], batch, offset, &r->out);
    tsn_batch_release(batch);
    note_before(r, partition);
    return keep(r, partition, offset, error);
}

enum tsn_err tsn_replay_batch(struct tsn_replay *r, int32_t partition, int64_t offset, const void *bytes, size_t len,
                              struct tsn_error *error)
{
    struct tsn_batch batch = { 0 };
    enum tsn_err err;

    TSN_ASSERT(partition >= 0 && partition < r->opt.detect.partition_count);
    err = tsn_codec_batch_decode(bytes, len, &batch, error);
    if (!err)
        return apply(r, partition, offset, &batch, error);
    r->bad_batches++;
    return tsn_error_prefix(error, "samples/%d offset %lld", partition, (long long)offset);
}

/* ---- one transaction's records as one batch ----------------------------------------------- */

/* The part that gives the samples of a ref: the first that has any. Values in the map are part + 1. */
static bool gives(struct tsn_map *giver, uint32_t ref, size_t part)
{
    void **slot = tsn_map_upsert(giver, &ref, sizeof ref, NULL);

    if (!*slot)
        *slot = (void *)(part + 1);
    return *slot == (void *)(part + 1);
}

/* As gives, of the log lines of a service's level. */
static bool gives_lines(struct tsn_map *giver, const char *service, const char *level, size_t part)
{
    struct tsn_buf key = TSN_BUF_INIT;
    void **slot;

    tsn_buf_append(&key, service, strlen(service) + 1); /* never four bytes without a NUL: no ref */
    tsn_buf_printf(&key, "level %s", level);
    slot = tsn_map_upsert(giver, key.data, key.len, NULL);
    if (!*slot)
        *slot = (void *)(part + 1);
    tsn_buf_release(&key);
    return *slot == (void *)(part + 1);
}

static void merge_lines(struct tsn_batch *to, struct tsn_batch *from, struct tsn_map *giver, size_t part)
{
    to->signatures = tsn_reallocarray(to->signatures, to->signature_count + from->signature_count, sizeof *to->signatures);
    to->signature_counts = tsn_reallocarray(to->signature_counts, to->signature_count_count + from->signature_count_count,
                                            sizeof *to->signature_counts);
    for (size_t i = 0; i < from->signature_count; i++)
        if (gives_lines(giver, from->signatures[i].service, from->signatures[i].level, part)) {
            to->signatures[to->signature_count++] = from->signatures[i];
            memset(&from->signatures[i], 0, sizeof from->signatures[i]); /* moved */
        }
    for (size_t i = 0; i < from->signature_count_count; i++)
        if (gives_lines(giver, from->signature_counts[i].service, from->signature_counts[i].level, part)) {
            to->signature_counts[to->signature_count_count++] = from->signature_counts[i];
            memset(&from->signature_counts[i], 0, sizeof from->signature_counts[i]);
        }
}

static void merge_into(struct tsn_batch *to, struct tsn_batch *from, struct tsn_map *giver, size_t part)
{
    merge_lines(to, from, giver, part);
    to->series = tsn_reallocarray(to->series, to->series_count + from->series_count, sizeof *to->series);
    for (size_t i = 0; i < from->series_count; i++)
        to->series[to->series_count++] = from->series[i];
    from->series_count = 0; /* moved */
    to->points = tsn_reallocarray(to->points, to->point_count + from->point_count, sizeof *to->points);
    for (size_t i = 0; i < from->point_count; i++)
        if (gives(giver, from->points[i].ref, part))
            to->points[to->point_count++] = from->points[i];
    to->deltas = tsn_reallocarray(to->deltas, to->delta_count + from->delta_count, sizeof *to->deltas);
    for (size_t i = 0; i < from->delta_count; i++)
        if (gives(giver, from->deltas[i].ref, part))
            to->deltas[to->delta_count++] = from->deltas[i];
    tsn_batch_release(from);
}

enum tsn_err tsn_replay_merged(struct tsn_replay *r, int64_t offset, struct tsn_batch *parts, size_t count,
                               struct tsn_error *error)
{
    struct tsn_map giver;

    TSN_ASSERT(count && r->opt.detect.partition_count == 1);
    tsn_map_init(&giver);
    for (size_t i = 0; i < parts[0].point_count; i++)
        (void)gives(&giver, parts[0].points[i].ref, 0);
    for (size_t i = 0; i < parts[0].delta_count; i++)
        (void)gives(&giver, parts[0].deltas[i].ref, 0);
    for (size_t i = 0; i < parts[0].signature_count_count; i++)
        (void)gives_lines(&giver, parts[0].signature_counts[i].service, parts[0].signature_counts[i].level, 0);
    for (size_t p = 1; p < count; p++) {
        TSN_ASSERT(parts[p].slot == parts[0].slot && parts[p].writer == parts[0].writer && parts[p].seq == parts[0].seq);
        merge_into(&parts[0], &parts[p], &giver, p);
    }
    tsn_map_release(&giver);
    return apply(r, 0, offset, &parts[0], error);
}

bool tsn_replay_done(const struct tsn_replay *r, int32_t partition)
{
    struct tsn_detect_stats stats;

    tsn_detect_get_stats(r->detects[partition], &stats);
    return stats.watermark_ms != TSN_TIME_NONE && stats.watermark_ms > r->opt.to_ms;
}

/* ---- the result --------------------------------------------------------------------------- */

static int by_step(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;

    if (x->transition.step_ms != y->transition.step_ms)
        return x->transition.step_ms < y->transition.step_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void take_events(const struct tsn_replay *r, struct tsn_effects *effects, struct tsn_replay_result *result,
                        size_t *cap)
{
    for (size_t i = 0; i < effects->len; i++) {
        struct tsn_effect *e = &effects->items[i];

        if (e->kind != TSN_EFFECT_EVENT || e->event.event_time_ms < r->opt.from_ms ||
            e->event.event_time_ms > r->opt.to_ms)
            continue;
        if (result->event_count == *cap)
            result->events = tsn_vec_grow(result->events, cap, result->event_count + 1, sizeof *result->events);
        result->events[result->event_count++] = e->event;
        memset(&e->event, 0, sizeof e->event); /* moved */
    }
    tsn_effects_clear(effects);
}

static void run_respond(const struct tsn_replay *r, struct tsn_replay_result *result)
{
    struct tsn_respond_options options = { .shadow = true };
    struct tsn_respond *respond = tsn_respond_new(r->opt.policy, &options);
    struct tsn_effects effects = { 0 };
    size_t cap = 0;

    for (size_t i = 0; i < r->kept.len; i++) {
        const struct tsn_transition *t = &r->kept.items[i].transition;

        tsn_respond_transition(respond, (int64_t)i, t->step_ms, t, &effects);
        take_events(r, &effects, result, &cap);
    }
    tsn_respond_tick(respond, r->opt.to_ms, &effects);
    take_events(r, &effects, result, &cap);
    tsn_effects_release(&effects);
    tsn_respond_free(&respond);
}

/* Of the transitions before `from`, the last one of each alert, if it left the alert active. */
static void split_open(struct tsn_replay *r, size_t before, struct tsn_replay_result *result)
{
    struct tsn_map last;

    tsn_map_init(&last);
    for (size_t i = 0; i < before; i++) {
        struct tsn_transition *t = &r->kept.items[i].transition;

        (void)tsn_map_del(&last, t->alert_id, strlen(t->alert_id));
        if (t->state == TSN_ALERT_PENDING || t->state == TSN_ALERT_FIRING)
            tsn_map_put_str(&last, t->alert_id, t);
    }
    result->open = tsn_calloc(last.count, sizeof *result->open);
    tsn_map_foreach(&last, e) {
        struct tsn_transition *t = e->value;

        result->open[result->open_count++] = *t;
        memset(t, 0, sizeof *t); /* moved */
    }
    tsn_map_release(&last);
}

static void sum_up(const struct tsn_replay *r, struct tsn_replay_report *report)
{
    report->began_ms = r->began_ms;
    report->reached_ms = INT64_MAX;
    report->bad_batches = r->bad_batches;
    report->lead_short = r->began_ms == TSN_TIME_NONE || r->began_ms > r->opt.from_ms - r->lead_ms;
    for (int32_t p = 0; p < r->opt.detect.partition_count; p++) {
        struct tsn_detect_stats stats;

        tsn_detect_get_stats(r->detects[p], &stats);
        report->batches += stats.batches;
        report->samples += stats.samples + stats.deltas;
        report->steps += stats.steps;
        report->late_moved += stats.late_moved - r->before[p].late_moved;
        report->late_dropped += stats.late_dropped - r->before[p].late_dropped;
        report->unknown_refs += stats.unknown_refs - r->before[p].unknown_refs;
        report->reached_ms = stats.watermark_ms < report->reached_ms ? stats.watermark_ms : report->reached_ms;
    }
}

void tsn_replay_finish(struct tsn_replay *r, struct tsn_replay_result *result)
{
    size_t before = 0;

    memset(result, 0, sizeof *result);
    if (r->kept.len)
        qsort(r->kept.items, r->kept.len, sizeof *r->kept.items, by_step);
    if (r->opt.policy)
        run_respond(r, result);
    while (before < r->kept.len && r->kept.items[before].transition.step_ms < r->opt.from_ms)
        before++;
    split_open(r, before, result);
    result->transitions = tsn_calloc(r->kept.len - before, sizeof *result->transitions);
    for (size_t i = before; i < r->kept.len; i++)
        result->transitions[result->transition_count++] = r->kept.items[i].transition;
    r->kept.len = before; /* the rest is moved */
    sum_up(r, &result->report);
}

void tsn_replay_result_release(struct tsn_replay_result *result)
{
    for (size_t i = 0; i < result->transition_count; i++)
        tsn_transition_release(&result->transitions[i]);
    for (size_t i = 0; i < result->open_count; i++)
        tsn_transition_release(&result->open[i]);
    for (size_t i = 0; i < result->event_count; i++)
        tsn_incident_event_release(&result->events[i]);
    tsn_free(result->transitions);
    tsn_free(result->open);
    tsn_free(result->events);
    memset(result, 0, sizeof *result);
}
