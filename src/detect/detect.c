/*
 * detect: batches in, steps run, transitions out.
 *
 * Order within a batch: inputs and declarations, then the rule set, then series and samples, then
 * unit time, then steps of all units in time order (ties: unit order). Samples that come in the
 * same batch as the watermark that closes their step are therefore seen by it.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <string.h>

enum { DEFAULT_MAX_SERIES = 2000000, DEFAULT_MAX_OUTPUT = 1000000 };

struct tsn_detect *tsn_detect_new(const struct tsn_detect_options *options)
{
    struct tsn_detect *d = tsn_calloc(1, sizeof *d);

    d->opt = *options;
    if (!d->opt.shard_label)
        d->opt.shard_label = "service";
    if (!d->opt.counter_ttl_ms)
        d->opt.counter_ttl_ms = INT64_C(7200000);
    if (!d->opt.lookback_ms)
        d->opt.lookback_ms = TSN_DEFAULT_LOOKBACK_MS;
    if (!d->opt.max_series)
        d->opt.max_series = DEFAULT_MAX_SERIES;
    if (!d->opt.max_output)
        d->opt.max_output = DEFAULT_MAX_OUTPUT;
    TSN_ASSERT(d->opt.partition_count > 0);
    tsn_store_init(&d->store);
    tsn_mining_init(d);
    d->set_number = -1;
    d->opt.counter_ttl_ms += (TSN_PANE_MS - d->opt.counter_ttl_ms % TSN_PANE_MS) % TSN_PANE_MS; /* a life ends between panes */
    if (!d->opt.long_ms)
        d->opt.long_ms = TSN_LONG_MS;
    if (!d->opt.chunk_ms)
        d->opt.chunk_ms = TSN_CHUNK_MS;
    d->floor_ms = d->indexed_ms = d->counted_ms = d->chunked_ms = d->chunking_ms = TSN_TIME_NONE;
    d->stats.watermark_ms = TSN_TIME_NONE;
    d->stats.rule_set = -1;
    return d;
}

static void free_values(struct tsn_map *map)
{
    tsn_map_foreach(map, e)
        tsn_free(e->value);
    tsn_map_release(map);
}

void tsn_detect_free(struct tsn_detect **detect)
{
    struct tsn_detect *d = *detect;

    if (!d)
        return;
    tsn_detect_release_set(d);
    for (size_t i = 0; i < d->versions.len; i++)
        tsn_rule_set_free(&d->versions.items[i].set);
    tsn_vec_release(&d->versions);
    tsn_detect_release_inputs(d);
    tsn_detect_release_writers(d);
    for (size_t i = 0; i < d->index.len; i++)
        tsn_free(d->index.items[i].text);
    tsn_vec_release(&d->index);
    tsn_vec_release(&d->index_gone);
    tsn_vec_release(&d->changed);
    tsn_vec_release(&d->saving);
    tsn_vec_release(&d->dirty);
    tsn_free(d->mark.text);
    free_values(&d->restored_alerts);
    free_values(&d->restored_marks);
    tsn_map_release(&d->written_keys);
    tsn_map_release(&d->readers);
    tsn_detect_release_pasts(d);
    tsn_detect_release_chunks(d);
    tsn_mining_release(d);
    tsn_store_release(&d->store);
    tsn_free(d);
    *detect = NULL;
}

void tsn_detect_output_reset(struct tsn_detect_output *out)
{
    for (size_t i = 0; i < out->transitions.len; i++)
        tsn_transition_release(&out->transitions.items[i]);
    for (size_t i = 0; i < out->state.len; i++) {
        tsn_free(out->state.items[i].key);
        tsn_free(out->state.items[i].value);
    }
    for (size_t i = 0; i < out->templates.len; i++) {
        tsn_free(out->templates.items[i].key);
        tsn_free(out->templates.items[i].value);
    }
    out->transitions.len = 0;
    out->state.len = 0;
    out->templates.len = 0;
}

void tsn_detect_output_release(struct tsn_detect_output *out)
{
    tsn_detect_output_reset(out);
    tsn_vec_release(&out->transitions);
    tsn_vec_release(&out->state);
    tsn_vec_release(&out->templates);
}

void tsn_detect_apply(struct tsn_detect *d, const struct tsn_batch *batch, int64_t offset,
                      struct tsn_detect_output *out)
{
    if (d->refill_until && offset >= d->refill_until)
        tsn_detect_refilled(d);
    if (d->refill_until && offset < d->refill_from) {
        tsn_detect_take_names(d, batch, offset);
        return;
    }
    d->stats.batches++;
    tsn_detect_take_mark(d, batch, offset);
    tsn_detect_take_inputs(d, batch);
    tsn_detect_maybe_switch(d, out);
    tsn_detect_take_names(d, batch, offset);
    tsn_detect_take_samples(d, batch);
    if (!d->set)
        return;
    tsn_detect_advance(d);
    tsn_detect_run_steps(d, out);
}

void tsn_detect_get_stats(const struct tsn_detect *d, struct tsn_detect_stats *stats)
{
    *stats = d->stats;
    stats->mining = d->mining->stats;
    stats->mining.templates = d->mining->templates;
    stats->mining.scopes = d->mining->miners;
}

static void visit_rule(const struct group_run *group, const struct rule_run *run, int64_t last_step_ms,
                       void (*visit)(const struct tsn_detect_rule_info *, void *), void *arg)
{
    struct tsn_detect_rule_info info = { .group = group->group->name,
                                         .rule = run->rule->name,
                                         .file = group->group->file,
                                         .is_alert = run->rule->is_alert,
                                         .evaluations = run->evaluations,
                                         .errors = run->errors,
                                         .last_count = run->last_count,
                                         .ever_matched = run->ever_matched,
                                         .last_step_ms = last_step_ms,
                                         .last_error = run->last_error ? run->last_error : "" };

    for (size_t i = 0; i < run->alerts.len; i++) {
        info.pending += run->alerts.items[i].state == TSN_ALERT_PENDING;
        info.firing += run->alerts.items[i].state == TSN_ALERT_FIRING;
    }
    visit(&info, arg);
}

void tsn_detect_each_rule(const struct tsn_detect *d, void (*visit)(const struct tsn_detect_rule_info *, void *),
                          void *arg)
{
    for (uint32_t u = 0; u < d->unit_count; u++)
        for (uint32_t g = 0; d->units[u].here && g < d->units[u].group_count; g++) {
            const struct group_run *group = &d->groups[d->units[u].groups[g]];

            for (size_t r = 0; r < group->group->rule_count; r++)
                visit_rule(group, group->rules[r], d->units[u].last_step_ms, visit, arg);
        }
}
