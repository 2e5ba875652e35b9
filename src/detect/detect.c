/*
 * detect: batches in, steps run, transitions out.
 *
 * Order within a batch: rule-set numbers, inputs and declarations first, then series and samples,
 * then unit time, then steps of all units in time order (ties: unit order). Samples that come in
 * the same batch as the watermark that closes their step are therefore seen by it.
 */
#include "detect/detect_int.h"

#include <stdlib.h>
#include <string.h>

enum { PANE_MS = 1000, DEFAULT_MAX_SERIES = 2000000 };

struct tsn_detect *tsn_detect_new(const struct tsn_detect_options *options)
{
    struct tsn_detect *d = tsn_calloc(1, sizeof *d);

    d->opt = *options;
    if (!d->opt.shard_label)
        d->opt.shard_label = "service";
    if (!d->opt.counter_ttl_ms)
        d->opt.counter_ttl_ms = INT64_C(7200000);
    if (!d->opt.lookback_ms)
        d->opt.lookback_ms = 300000;
    if (!d->opt.max_series)
        d->opt.max_series = DEFAULT_MAX_SERIES;
    TSN_ASSERT(d->opt.partition_count > 0);
    tsn_store_init(&d->store);
    d->set_number = -1;
    d->index_minute_ms = TSN_TIME_NONE;
    d->restored_set = -1;
    d->stats.watermark_ms = TSN_TIME_NONE;
    d->stats.rule_set = -1;
    return d;
}

static void release_groups(struct tsn_detect *d)
{
    for (size_t g = 0; d->set && g < d->set->group_count; g++) {
        for (size_t r = 0; r < d->set->groups[g].rule_count; r++) {
            tsn_alert_rule_state_release(&d->groups[g].rules[r].alerts);
            tsn_vec_release(&d->groups[g].rules[r].written);
            tsn_free(d->groups[g].rules[r].last_error);
        }
        tsn_free(d->groups[g].rules);
    }
    tsn_free(d->groups);
    for (uint32_t u = 0; u < d->unit_count; u++) {
        tsn_free(d->units[u].name);
        tsn_free(d->units[u].groups);
    }
    tsn_free(d->units);
    d->groups = NULL;
    d->units = NULL;
    d->unit_count = 0;
}

static void free_decl(struct tsn_input_decl *decl)
{
    for (size_t i = 0; i < decl->name_count; i++)
        tsn_free(decl->names[i]);
    tsn_free(decl->names);
    tsn_free(decl->topic);
    tsn_free(decl->type);
    tsn_free(decl);
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
    release_groups(d);
    for (size_t i = 0; i < d->versions.len; i++)
        tsn_rule_set_free(&d->versions.items[i].set);
    tsn_vec_release(&d->versions);
    tsn_map_foreach(&d->inputs, e) {
        tsn_free(((struct input *)e->value)->topic);
        tsn_free(e->value);
    }
    tsn_map_release(&d->inputs);
    tsn_map_foreach(&d->decls, e)
        free_decl(e->value);
    tsn_map_release(&d->decls);
    tsn_map_release(&d->refs);
    free_values(&d->index);
    free_values(&d->restored_alerts);
    free_values(&d->restored_steps);
    tsn_map_release(&d->written_keys);
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
    out->transitions.len = 0;
    out->state.len = 0;
}

void tsn_detect_output_release(struct tsn_detect_output *out)
{
    tsn_detect_output_reset(out);
    tsn_vec_release(&out->transitions);
    tsn_vec_release(&out->state);
}

/* ---- rule sets ---------------------------------------------------------------------------- */

void tsn_detect_add_rule_set(struct tsn_detect *d, int64_t number, struct tsn_rule_set *set)
{
    struct rule_version version = { number, set };

    TSN_ASSERT(!d->versions.len || d->versions.items[d->versions.len - 1].number < number);
    tsn_vec_push(&d->versions, version);
}

struct reach {
    int64_t lookback_ms, longest_ms;
    int64_t outer_ms;
    bool any_selector, alerts;
};

static void find_reach(const struct tsn_expr *e, struct reach *reach);

static void reach_children(const struct tsn_expr *e, struct reach *reach)
{
    switch (e->kind) {
    case TSN_EXPR_PAREN: find_reach(e->u.paren, reach); break;
    case TSN_EXPR_UNARY: find_reach(e->u.unary.operand, reach); break;
    case TSN_EXPR_BINARY:
        find_reach(e->u.binary.lhs, reach);
        find_reach(e->u.binary.rhs, reach);
        break;
    case TSN_EXPR_CALL:
        for (uint32_t i = 0; i < e->u.call.arg_count; i++)
            find_reach(e->u.call.args[i], reach);
        break;
    case TSN_EXPR_AGGREGATE:
        find_reach(e->u.aggregate.operand, reach);
        if (e->u.aggregate.param)
            find_reach(e->u.aggregate.param, reach);
        break;
    default: break;
    }
}

/* How far before a step the samples of an expression may lie. */
static void find_reach(const struct tsn_expr *e, struct reach *reach)
{
    int64_t outer = reach->outer_ms, back;

    switch (e->kind) {
    case TSN_EXPR_SELECTOR:
        back = outer + e->u.selector.offset_ms + reach->lookback_ms;
        reach->longest_ms = back > reach->longest_ms ? back : reach->longest_ms;
        reach->any_selector = true;
        for (uint32_t i = 0; i < e->u.selector.matcher_count; i++)
            if (strcmp(e->u.selector.matchers[i].name, "__name__") == 0 &&
                (tsn_matcher_matches(&e->u.selector.matchers[i], "ALERTS", 6) ||
                 tsn_matcher_matches(&e->u.selector.matchers[i], "ALERTS_FOR_STATE", 16)))
                reach->alerts = true;
        break;
    case TSN_EXPR_MATRIX:
        reach->outer_ms = outer + e->u.matrix.range_ms;
        find_reach(e->u.matrix.selector, reach);
        break;
    case TSN_EXPR_SUBQUERY:
        reach->outer_ms = outer + e->u.subquery.range_ms + e->u.subquery.offset_ms + 60000;
        find_reach(e->u.subquery.operand, reach);
        break;
    default: reach_children(e, reach); break;
    }
    reach->outer_ms = outer;
}

int64_t tsn_detect_window_of(const struct tsn_detect *d, int64_t number)
{
    struct reach reach = { .lookback_ms = d->opt.lookback_ms };

    for (size_t v = 0; v < d->versions.len; v++) {
        const struct tsn_rule_set *set = d->versions.items[v].set;

        if (d->versions.items[v].number != number)
            continue;
        for (size_t g = 0; g < set->group_count; g++)
            for (size_t r = 0; r < set->groups[g].rule_count; r++) {
                reach.outer_ms = set->groups[g].query_offset_ms;
                find_reach(set->groups[g].rules[r].query->root, &reach);
            }
        return reach.longest_ms;
    }
    return number < 0 ? 0 : -1;
}

static void build_unit(struct tsn_detect *d, struct tsn_rule_set *set, const uint32_t *unit_of_group, uint32_t id,
                       struct unit *unit)
{
    struct reach reach = { .lookback_ms = d->opt.lookback_ms };
    struct tsn_buf name = TSN_BUF_INIT;

    memset(unit, 0, sizeof *unit);
    unit->groups = tsn_calloc(set->group_count, sizeof *unit->groups);
    for (size_t g = 0; g < set->group_count; g++)
        if (unit_of_group[g] == id)
            unit->groups[unit->group_count++] = (uint32_t)g;
    tsn_buf_printf(&name, "%s;%s", set->groups[unit->groups[0]].file, set->groups[unit->groups[0]].name);
    unit->name = tsn_buf_take(&name, NULL);
    unit->place = tsn_unit_place(set, unit_of_group, id, d->opt.shard_label, d->opt.partition_count);
    unit->here = unit->place < 0 || unit->place == d->opt.partition;
    unit->time_ms = unit->last_step_ms = unit->first_sample_ms = unit->warm_until_ms = TSN_TIME_NONE;
    for (uint32_t i = 0; i < unit->group_count; i++) {
        const struct tsn_group *group = &set->groups[unit->groups[i]];

        for (size_t r = 0; r < group->rule_count; r++) {
            reach.outer_ms = group->query_offset_ms;
            find_reach(group->rules[r].query->root, &reach);
        }
    }
    unit->window_ms = reach.longest_ms;
    unit->any_selector = reach.any_selector;
    d->alerts_read |= reach.alerts;
    if (unit->window_ms > d->window_ms)
        d->window_ms = unit->window_ms;
}

static bool same_rule(const struct tsn_rule *a, const struct tsn_rule *b)
{
    if (a->is_alert != b->is_alert || strcmp(a->name, b->name) != 0 || a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (strcmp(a->labels[i].name, b->labels[i].name) != 0 || strcmp(a->labels[i].value, b->labels[i].value) != 0)
            return false;
    return true;
}

/* Moves the life of rules that both sets have; what is left in `old` is gone. */
static void carry_over(struct group_run *to, const struct tsn_group *group, struct tsn_rule_set *old_set,
                       struct group_run *old)
{
    for (size_t g = 0; g < old_set->group_count; g++) {
        const struct tsn_group *was = &old_set->groups[g];

        if (strcmp(was->name, group->name) != 0 || strcmp(was->file, group->file) != 0)
            continue;
        for (size_t r = 0; r < group->rule_count; r++)
            for (size_t o = 0; o < was->rule_count; o++) {
                struct rule_run *from = &old[g].rules[o];

                if (!from->rule || !same_rule(&group->rules[r], from->rule))
                    continue;
                tsn_alert_rule_state_release(&to->rules[r].alerts);
                to->rules[r] = *from;
                to->rules[r].rule = &group->rules[r];
                to->rules[r].alerts.rule = &group->rules[r];
                memset(from, 0, sizeof *from);
                break;
            }
    }
}

static void emit(struct tsn_detect *d, const struct tsn_group *group, const struct tsn_rule *rule,
                 const struct tsn_alert_change *change, enum tsn_end_reason reason, int64_t step_ms, bool warming,
                 struct tsn_detect_output *out)
{
    const struct tsn_alert_instance *in = change->instance;
    struct tsn_transition t = { .format = TSN_FORMAT_VERSION };
    struct tsn_buf id = TSN_BUF_INIT;

    tsn_buf_printf(&id, "%s;%s;%s;", group->file, group->name, rule->name);
    tsn_buf_append(&id, &in->labels->id.hi, sizeof in->labels->id.hi);
    tsn_buf_append(&id, &in->labels->id.lo, sizeof in->labels->id.lo);
    tsn_u128_hex(tsn_hash128(id.data, id.len), t.alert_id);
    tsn_buf_release(&id);
    t.rule = tsn_strdup(rule->name);
    t.group = tsn_strdup(group->name);
    t.file = tsn_strdup(group->file);
    t.rule_set = d->set_number;
    t.was = change->was;
    t.state = change->now;
    t.end_reason = change->now == TSN_ALERT_RESOLVED ? reason : TSN_END_NONE;
    t.labels = tsn_labels_copy(in->labels);
    t.annotations = in->annotations ? tsn_labels_copy(in->annotations) : tsn_labels_empty();
    t.value = in->value;
    t.active_at_ms = in->active_at_ms;
    t.fired_at_ms = in->fired_at_ms;
    t.step_ms = step_ms;
    t.keep_firing_since_ms = in->keep_firing_since_ms;
    t.warming = warming;
    tsn_vec_push(&out->transitions, t);
    d->stats.transitions++;
}

static void end_gone_rules(struct tsn_detect *d, struct tsn_rule_set *old_set, struct group_run *old, int64_t step_ms,
                           struct tsn_detect_output *out)
{
    for (size_t g = 0; g < old_set->group_count; g++) {
        for (size_t r = 0; r < old_set->groups[g].rule_count; r++) {
            struct rule_run *run = &old[g].rules[r];

            if (!run->rule)
                continue;
            for (size_t i = 0; i < run->alerts.len; i++) {
                struct tsn_alert_change change = { run->alerts.items[i].state, TSN_ALERT_RESOLVED,
                                                   &run->alerts.items[i] };

                if (change.was != TSN_ALERT_INACTIVE)
                    emit(d, &old_set->groups[g], run->rule, &change, TSN_END_RULE_GONE, step_ms, false, out);
            }
            for (size_t i = 0; i < run->written.len; i++)
                tsn_series_insert(run->written.items[i], step_ms, tsn_stale());
            tsn_alert_rule_state_release(&run->alerts);
            tsn_vec_release(&run->written);
            tsn_free(run->last_error);
        }
        tsn_free(old[g].rules);
    }
    tsn_free(old);
}

static bool selects(const struct tsn_rule_set *set, const struct tsn_group *group, const struct tsn_labels *labels)
{
    struct tsn_routes routes = { 0 };
    struct tsn_rule_set one = { .groups = (struct tsn_group *)(uintptr_t)group, .group_count = 1 };
    bool found = false;

    TSN_UNUSED(set);
    tsn_routes_build(&one, "", 1, &routes);
    for (size_t i = 0; i < routes.len && !found; i++)
        found = tsn_matchers_match(routes.items[i].matchers, routes.items[i].matcher_count, labels);
    tsn_free(routes.items);
    return found;
}

/* Which units read a series; decides its lateness and its unit's first sample. */
static void attach_series(struct tsn_detect *d, struct series *s)
{
    const struct tsn_label *shard = tsn_labels_find(s->labels, d->opt.shard_label, strlen(d->opt.shard_label));
    int32_t home = tsn_partition_of(shard ? shard->value : "", shard ? shard->value_len : 0, d->opt.partition_count);

    s->own = home == d->opt.partition;
    tsn_free(s->units);
    s->units = d->unit_count ? tsn_calloc(d->unit_count, sizeof *s->units) : NULL;
    s->unit_count = 0;
    for (uint32_t u = 0; u < d->unit_count; u++) {
        bool reads = false;

        for (uint32_t g = 0; g < d->units[u].group_count && !reads; g++)
            reads = d->units[u].here && (s->own || d->units[u].place >= 0) &&
                    selects(d->set, &d->set->groups[d->units[u].groups[g]], s->labels);
        if (reads)
            s->units[s->unit_count++] = u;
    }
}

static struct unit *find_unit(struct unit *units, uint32_t count, const char *name)
{
    for (uint32_t u = 0; u < count; u++)
        if (strcmp(units[u].name, name) == 0)
            return &units[u];
    return NULL;
}

static void build_units(struct tsn_detect *d, struct tsn_rule_set *set)
{
    uint32_t *unit_of_group = tsn_calloc(set->group_count, sizeof *unit_of_group);

    tsn_units_of(set, unit_of_group);
    d->units = tsn_calloc(set->group_count, sizeof *d->units);
    d->unit_count = 0;
    for (size_t g = 0; g < set->group_count; g++)
        if (unit_of_group[g] == g)
            build_unit(d, set, unit_of_group, (uint32_t)g, &d->units[d->unit_count++]);
    tsn_free(unit_of_group);
    d->groups = tsn_calloc(set->group_count, sizeof *d->groups);
    for (size_t g = 0; g < set->group_count; g++) {
        d->groups[g].group = &set->groups[g];
        d->groups[g].rules = tsn_calloc(set->groups[g].rule_count, sizeof *d->groups[g].rules);
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            d->groups[g].rules[r].rule = &set->groups[g].rules[r];
            tsn_alert_rule_state_init(&d->groups[g].rules[r].alerts, &set->groups[g].rules[r]);
        }
    }
}

static void switch_set(struct tsn_detect *d, const struct rule_version *version, struct tsn_detect_output *out)
{
    struct tsn_rule_set *old_set = d->set;
    struct group_run *old = d->groups;
    struct unit *old_units = d->units;
    uint32_t old_unit_count = d->unit_count;
    int64_t step_ms = TSN_TIME_NONE;

    d->alerts_read = false;
    d->window_ms = 0;
    d->set = version->set;
    d->set_number = version->number;
    d->stats.rule_set = version->number;
    build_units(d, version->set);
    for (uint32_t u = 0; u < old_unit_count; u++)
        if (old_units[u].last_step_ms > step_ms)
            step_ms = old_units[u].last_step_ms;
    for (uint32_t u = 0; old_set && u < d->unit_count; u++) {
        struct unit *was = find_unit(old_units, old_unit_count, d->units[u].name);

        d->units[u].time_ms = was ? was->time_ms : TSN_TIME_NONE;
        d->units[u].last_step_ms = was ? was->last_step_ms : step_ms;
        d->units[u].first_sample_ms = was ? was->first_sample_ms : TSN_TIME_NONE;
        if (d->opt.warmup && version->number > 0 && step_ms != TSN_TIME_NONE &&
            (!was || was->window_ms < d->units[u].window_ms))
            d->units[u].warm_until_ms = step_ms + d->units[u].window_ms;
        else if (was)
            d->units[u].warm_until_ms = was->warm_until_ms;
    }
    if (old_set) {
        for (size_t g = 0; g < d->set->group_count; g++)
            carry_over(&d->groups[g], &d->set->groups[g], old_set, old);
        end_gone_rules(d, old_set, old, step_ms, out);
    }
    for (uint32_t u = 0; u < old_unit_count; u++) {
        tsn_free(old_units[u].name);
        tsn_free(old_units[u].groups);
    }
    tsn_free(old_units);
    for (size_t i = 0; i < d->store.all.len; i++)
        attach_series(d, d->store.all.items[i]);
    tsn_detect_attach_restored(d);
}

/* The newest known set that every input carries. Inputs that are idle carry what they last said. */
static void maybe_switch(struct tsn_detect *d, struct tsn_detect_output *out)
{
    int64_t least = INT64_MAX;
    const struct rule_version *best = NULL;

    tsn_map_foreach(&d->inputs, e) {
        const struct input *in = e->value;

        if (in->rule_set < least)
            least = in->rule_set;
    }
    for (size_t i = 0; i < d->versions.len; i++)
        if (d->versions.items[i].number <= least && d->inputs.count)
            best = &d->versions.items[i];
    if (best && best->number > d->set_number && !(d->refill_until && best->number > d->restored_set))
        switch_set(d, best, out);
}

/* ---- inputs and time ---------------------------------------------------------------------- */

static void take_inputs(struct tsn_detect *d, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->input_count; i++) {
        const struct tsn_batch_input *in = &b->inputs[i];
        struct tsn_buf key = TSN_BUF_INIT;
        struct input *known;
        void **slot;

        tsn_buf_printf(&key, "%s/%d", in->topic, in->partition);
        slot = tsn_map_upsert(&d->inputs, key.data, key.len, NULL);
        tsn_buf_release(&key);
        if (!*slot) {
            *slot = known = tsn_calloc(1, sizeof *known);
            known->topic = tsn_strdup(in->topic);
            known->partition = in->partition;
            known->watermark_ms = known->idle_clock_ms = TSN_TIME_NONE;
        }
        known = *slot;
        if (in->watermark_ms > known->watermark_ms)
            known->watermark_ms = in->watermark_ms;
        known->idle = in->idle;
        known->idle_clock_ms = in->idle ? in->idle_clock_ms : TSN_TIME_NONE;
        if (b->rule_set > known->rule_set || !known->rule_set)
            known->rule_set = b->rule_set;
    }
    for (size_t i = 0; i < b->decl_count; i++) {
        const struct tsn_input_decl *in = &b->decls[i];
        struct tsn_input_decl *copy = tsn_calloc(1, sizeof *copy);
        struct tsn_input_decl *old;

        copy->topic = tsn_strdup(in->topic);
        copy->type = tsn_strdup(in->type);
        copy->partition_count = in->partition_count;
        copy->any_name = in->any_name;
        copy->name_count = in->name_count;
        copy->names = tsn_calloc(in->name_count, sizeof *copy->names);
        for (size_t n = 0; n < in->name_count; n++)
            copy->names[n] = tsn_strdup(in->names[n]);
        old = tsn_map_put_str(&d->decls, in->topic, copy);
        if (old)
            free_decl(old);
    }
}

struct feeds {
    const struct tsn_input_decl *decl;
    bool found;
};

static bool selector_fed(const struct tsn_expr *e, void *arg)
{
    struct feeds *feeds = arg;

    if (e->kind != TSN_EXPR_SELECTOR)
        return true;
    for (size_t n = 0; n < feeds->decl->name_count && !feeds->found; n++) {
        bool possible = true;

        for (uint32_t i = 0; i < e->u.selector.matcher_count && possible; i++)
            if (strcmp(e->u.selector.matchers[i].name, "__name__") == 0)
                possible = tsn_matcher_matches(&e->u.selector.matchers[i], feeds->decl->names[n],
                                               strlen(feeds->decl->names[n]));
        feeds->found = possible;
    }
    return !feeds->found;
}

static bool decl_feeds(const struct tsn_detect *d, const struct unit *unit, const struct tsn_input_decl *decl)
{
    struct feeds feeds = { decl, false };

    if (decl->any_name || !unit->any_selector)
        return true;
    for (uint32_t g = 0; g < unit->group_count && !feeds.found; g++) {
        const struct tsn_group *group = &d->set->groups[unit->groups[g]];

        for (size_t r = 0; r < group->rule_count && !feeds.found; r++)
            tsn_expr_walk(group->rules[r].query->root, selector_fed, &feeds);
    }
    return feeds.found;
}

/* Folds one input into the unit's time; false if it is declared but nobody has spoken for it. */
static bool fold_input(const struct tsn_detect *d, const struct tsn_input_decl *decl, int32_t partition,
                       int64_t *least_ms, int64_t *idle_ms, bool *any_active)
{
    struct tsn_buf key = TSN_BUF_INIT;
    const struct input *in;

    tsn_buf_printf(&key, "%s/%d", decl->topic, partition);
    in = tsn_map_get(&d->inputs, key.data, key.len);
    tsn_buf_release(&key);
    if (!in)
        return false;
    if (in->idle) {
        if (in->idle_clock_ms > *idle_ms)
            *idle_ms = in->idle_clock_ms;
        return true;
    }
    if (in->watermark_ms == TSN_TIME_NONE)
        return false;
    *any_active = true;
    if (in->watermark_ms < *least_ms)
        *least_ms = in->watermark_ms;
    return true;
}

static void advance_unit(struct tsn_detect *d, struct unit *unit)
{
    int64_t least_ms = INT64_MAX, idle_ms = TSN_TIME_NONE, now_ms;
    bool any_active = false, any = false;

    tsn_map_foreach(&d->decls, e) {
        const struct tsn_input_decl *decl = e->value;

        if (!decl_feeds(d, unit, decl))
            continue;
        any = true;
        for (int32_t p = 0; p < decl->partition_count; p++)
            if (!fold_input(d, decl, p, &least_ms, &idle_ms, &any_active))
                return;
    }
    if (!any)
        return;
    now_ms = any_active ? least_ms : idle_ms;
    if (now_ms != TSN_TIME_NONE && now_ms > unit->time_ms)
        unit->time_ms = now_ms;
}

/* ---- samples ------------------------------------------------------------------------------ */

static int64_t horizon(const struct tsn_detect *d, const struct series *s)
{
    int64_t last_ms = TSN_TIME_NONE;

    for (uint32_t i = 0; i < s->unit_count; i++)
        if (d->units[s->units[i]].last_step_ms > last_ms)
            last_ms = d->units[s->units[i]].last_step_ms;
    return last_ms;
}

static void note_first(struct tsn_detect *d, const struct series *s, int64_t ts_ms)
{
    for (uint32_t i = 0; i < s->unit_count; i++) {
        struct unit *unit = &d->units[s->units[i]];

        if (unit->first_sample_ms == TSN_TIME_NONE || ts_ms < unit->first_sample_ms)
            unit->first_sample_ms = ts_ms;
    }
}

static struct series *series_of(struct tsn_detect *d, const struct tsn_batch *b, uint32_t ref)
{
    struct ref_key key;
    struct series *s;

    memset(&key, 0, sizeof key);
    key.slot = b->slot;
    key.writer = b->writer;
    key.ref = ref;
    s = tsn_map_get(&d->refs, &key, sizeof key);
    if (!s)
        d->stats.unknown_refs++;
    return s;
}

static void take_series(struct tsn_detect *d, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->series_count; i++) {
        const struct tsn_batch_series *in = &b->series[i];
        struct series *s = tsn_store_get(&d->store, in->labels->id);
        struct ref_key key;

        if (!s && d->store.all.len >= d->opt.max_series) {
            d->stats.series_limit_hits++;
            continue;
        }
        if (!s) {
            s = tsn_store_add(&d->store, in->labels, in->kind);
            attach_series(d, s);
        }
        memset(&key, 0, sizeof key);
        key.slot = b->slot;
        key.writer = b->writer;
        key.ref = in->ref;
        tsn_map_put(&d->refs, &key, sizeof key, s);
    }
    d->stats.series = d->store.all.len;
}

static void list_open(struct tsn_detect *d, struct series *s)
{
    if (s->listed)
        return;
    s->listed = true;
    tsn_vec_push(&d->store.open, s);
}

static void take_samples(struct tsn_detect *d, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->point_count; i++) {
        const struct tsn_batch_point *p = &b->points[i];
        struct series *s = series_of(d, b, p->ref);

        d->stats.samples++;
        if (!s)
            continue;
        if (p->ts_ms <= horizon(d, s)) {
            d->stats.late_dropped++;
            continue;
        }
        tsn_series_insert(s, p->ts_ms, p->value);
        note_first(d, s, p->ts_ms);
    }
    for (size_t i = 0; i < b->delta_count; i++) {
        const struct tsn_batch_delta *p = &b->deltas[i];
        struct series *s = series_of(d, b, p->ref);
        int64_t pane_ms = p->pane_ms, last_ms;

        d->stats.deltas++;
        if (!s)
            continue;
        last_ms = horizon(d, s);
        if (last_ms != TSN_TIME_NONE && pane_ms + PANE_MS <= last_ms) {
            pane_ms = last_ms / PANE_MS * PANE_MS; /* the earliest pane whose end is still ahead */
            d->stats.late_moved++;
        }
        (void)tsn_series_add_delta(s, pane_ms, p->delta);
        list_open(d, s);
        note_first(d, s, pane_ms);
    }
}

/* ---- steps -------------------------------------------------------------------------------- */

static void close_panes(struct tsn_detect *d, int64_t ts_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->store.open.len; i++) {
        struct series *s = d->store.open.items[i];

        tsn_series_close_panes(s, ts_ms, d->opt.counter_ttl_ms);
        if (s->panes.len || s->last_pane_ms != TSN_TIME_NONE)
            d->store.open.items[kept++] = s;
        else
            s->listed = false;
    }
    d->store.open.len = kept;
}

struct liveness {
    const struct tsn_detect *d;
    struct store_view view;
    const struct tsn_labels *alert;
    int64_t step_ms;
    bool live;
};

/* A selector's series that agree with the alert on every label both have. */
static bool agrees(const struct tsn_labels *series, const struct tsn_labels *alert)
{
    for (uint32_t i = 0; i < alert->count; i++) {
        const struct tsn_label *l = &alert->items[i];
        const char *other = tsn_labels_get(series, l->name);

        if (strcmp(l->name, "alertname") != 0 && other && strcmp(other, l->value) != 0)
            return false;
    }
    return true;
}

static bool any_live(const struct tsn_expr *e, void *arg)
{
    struct liveness *look = arg;
    struct tsn_series_list found = { 0 };

    if (e->kind != TSN_EXPR_SELECTOR)
        return true;
    tsn_store_select(&look->view, e->u.selector.matchers, e->u.selector.matcher_count,
                     look->step_ms - look->d->opt.lookback_ms, look->step_ms, &found);
    for (size_t i = 0; i < found.len && !look->live; i++)
        look->live = !tsn_is_stale(found.items[i].samples[found.items[i].count - 1].value) &&
                     agrees(found.items[i].labels, look->alert);
    tsn_free(found.items);
    return !look->live;
}

static bool all_idle(const struct tsn_detect *d)
{
    tsn_map_foreach(&d->inputs, e)
        if (!((const struct input *)e->value)->idle)
            return false;
    return true;
}

static enum tsn_end_reason end_reason(struct tsn_detect *d, const struct unit *unit, const struct tsn_rule *rule,
                                      const struct tsn_labels *alert, int64_t step_ms)
{
    struct liveness look = { d, { &d->store, unit->place < 0 }, alert, step_ms, false };
    const char *shard = tsn_labels_get(alert, d->opt.shard_label);

    tsn_expr_walk(rule->query->root, any_live, &look);
    if (look.live)
        return TSN_END_CONDITION;
    for (size_t i = 0; i < d->store.all.len; i++) {
        const struct series *s = d->store.all.items[i];
        const char *of = tsn_labels_get(s->labels, d->opt.shard_label);

        if (!s->derived && (!shard || (of && strcmp(of, shard) == 0)) &&
            tsn_series_live(s, step_ms, d->opt.lookback_ms))
            return TSN_END_SERIES_GONE;
    }
    return all_idle(d) ? TSN_END_PARTITION_IDLE : TSN_END_PRODUCER_SILENT;
}

/* Writes a derived sample; the series stays on `written` while it is written every step. */
static void write_derived(struct tsn_detect *d, struct rule_run *run, struct tsn_labels *labels, int64_t ts_ms,
                          double value)
{
    struct series *s = tsn_store_get(&d->store, labels->id);

    if (!s) {
        s = tsn_store_add(&d->store, labels, TSN_GAUGE);
        s->derived = true;
        attach_series(d, s);
        s->own = true;
    }
    if (s->mark != d->step_mark) {
        bool was_written = false;

        for (size_t i = 0; i < run->written.len && !was_written; i++)
            was_written = run->written.items[i] == s;
        if (!was_written)
            tsn_vec_push(&run->written, s);
    }
    s->mark = d->step_mark;
    tsn_series_insert(s, ts_ms, value);
}

/* Series that the rule wrote at the step before and not at this one end here. */
static void end_unwritten(struct tsn_detect *d, struct rule_run *run, int64_t ts_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < run->written.len; i++) {
        if (run->written.items[i]->mark == d->step_mark)
            run->written.items[kept++] = run->written.items[i];
        else
            tsn_series_insert(run->written.items[i], ts_ms, tsn_stale());
    }
    run->written.len = kept;
}

static void write_alert_series(struct tsn_detect *d, struct rule_run *run, int64_t ts_ms)
{
    struct tsn_labels_builder b;

    tsn_labels_builder_init(&b);
    for (size_t i = 0; i < run->alerts.len; i++) {
        const struct tsn_alert_instance *in = &run->alerts.items[i];
        struct tsn_labels *labels;

        if (in->state != TSN_ALERT_PENDING && in->state != TSN_ALERT_FIRING)
            continue;
        tsn_labels_builder_from(&b, in->labels);
        tsn_labels_builder_set(&b, "__name__", "ALERTS");
        tsn_labels_builder_set(&b, "alertstate", tsn_alert_state_name(in->state));
        labels = tsn_labels_builder_finish(&b);
        write_derived(d, run, labels, ts_ms, 1);
        tsn_labels_unref(labels);
        tsn_labels_builder_from(&b, in->labels);
        tsn_labels_builder_set(&b, "__name__", "ALERTS_FOR_STATE");
        labels = tsn_labels_builder_finish(&b);
        write_derived(d, run, labels, ts_ms, (double)(in->active_at_ms / 1000));
        tsn_labels_unref(labels);
    }
    tsn_labels_builder_release(&b);
}

struct query_env {
    struct tsn_detect *d;
    struct tsn_storage storage;
    int64_t ts_ms;
};

static enum tsn_err run_query(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error)
{
    struct query_env *env = arg;
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    struct tsn_eval_options options = { .lookback_ms = env->d->opt.lookback_ms };
    enum tsn_err err;

    if (!query)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s", parse.message);
    err = tsn_eval_instant(query, &env->storage, env->ts_ms, &options, out, error);
    tsn_query_free(&query);
    return err;
}

static void rule_failed(struct tsn_detect *d, struct rule_run *run, const struct tsn_error *error)
{
    d->stats.rule_errors++;
    run->errors++;
    tsn_free(run->last_error);
    run->last_error = tsn_strdup(error->message);
}

static void apply_alerts(struct tsn_detect *d, struct unit *unit, const struct tsn_group *group, struct rule_run *run,
                         int64_t ts_ms, struct query_env *query, const struct tsn_result *result,
                         struct tsn_detect_output *out)
{
    struct tsn_alert_eval_env env = { d->opt.external_labels, d->opt.external_url, run_query, query, group->limit };
    struct tsn_alert_changes changes = { 0 };
    struct tsn_error error;
    bool warming = unit->warm_until_ms != TSN_TIME_NONE && ts_ms < unit->warm_until_ms;

    if (tsn_alert_rule_step(&run->alerts, ts_ms, result->vector, result->vector_len, &env, &changes, &error))
        rule_failed(d, run, &error);
    for (size_t i = 0; i < changes.len; i++) {
        const struct tsn_alert_change *change = &changes.items[i];
        enum tsn_end_reason reason = change->now == TSN_ALERT_RESOLVED
                                         ? end_reason(d, unit, run->rule, change->instance->labels, ts_ms)
                                         : TSN_END_NONE;

        emit(d, group, run->rule, change, reason, ts_ms, warming, out);
    }
    tsn_free(changes.items);
    if (d->alerts_read) {
        write_alert_series(d, run, ts_ms);
        end_unwritten(d, run, ts_ms);
    }
}

static void apply_record(struct tsn_detect *d, struct rule_run *run, int64_t ts_ms, const struct tsn_result *result)
{
    struct tsn_vector_sample *written = NULL;
    struct tsn_error error;
    size_t count = 0;

    if (tsn_record_rule_apply(run->rule, result->vector, result->vector_len, &written, &count, &error)) {
        rule_failed(d, run, &error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        write_derived(d, run, written[i].labels, ts_ms, written[i].value);
        tsn_labels_unref(written[i].labels);
    }
    tsn_free(written);
    end_unwritten(d, run, ts_ms);
}

/* A scalar result is one element with the labels {}. */
static void scalar_as_vector(struct tsn_result *result, int64_t ts_ms)
{
    if (result->type != TSN_TYPE_SCALAR)
        return;
    result->vector = tsn_reallocarray(result->vector, 1, sizeof *result->vector);
    result->vector[0] = (struct tsn_vector_sample){ tsn_labels_empty(), ts_ms, result->scalar };
    result->vector_len = result->vector_cap = 1;
    result->type = TSN_TYPE_VECTOR;
}

static void run_rule(struct tsn_detect *d, struct unit *unit, const struct tsn_group *group, struct rule_run *run,
                     int64_t ts_ms, struct tsn_detect_output *out)
{
    struct store_view view = { &d->store, unit->place < 0 };
    struct query_env query = { d, { tsn_store_select, &view }, ts_ms - group->query_offset_ms };
    struct tsn_eval_options options = { .lookback_ms = d->opt.lookback_ms };
    struct tsn_result result;
    struct tsn_error error;

    d->stats.rule_evaluations++;
    run->evaluations++;
    d->step_mark++;
    tsn_result_init(&result);
    if (tsn_eval_instant(run->rule->query, &query.storage, query.ts_ms, &options, &result, &error)) {
        rule_failed(d, run, &error);
    } else {
        scalar_as_vector(&result, query.ts_ms);
        run->last_count = result.vector_len;
        run->ever_matched |= result.vector_len > 0;
        if (run->rule->is_alert)
            apply_alerts(d, unit, group, run, ts_ms, &query, &result, out);
        else
            apply_record(d, run, query.ts_ms, &result);
    }
    tsn_result_release(&result);
}

/* Groups of one unit may differ in interval: a step is every multiple of any of them. */
static int64_t next_step(const struct tsn_detect *d, const struct unit *unit)
{
    int64_t after = unit->last_step_ms, next = INT64_MAX;

    if (after == TSN_TIME_NONE) {
        int64_t start = unit->time_ms;

        if (unit->first_sample_ms != TSN_TIME_NONE && unit->first_sample_ms < start)
            start = unit->first_sample_ms;
        after = start - 1;
    }
    for (uint32_t g = 0; g < unit->group_count; g++) {
        int64_t interval = d->set->groups[unit->groups[g]].interval_ms;
        int64_t step = (after >= 0 ? after / interval : -((-after + interval - 1) / interval)) * interval + interval;

        if (step < next)
            next = step;
    }
    return next;
}

static void step_unit(struct tsn_detect *d, struct unit *unit, int64_t ts_ms, struct tsn_detect_output *out)
{
    unit->last_step_ms = ts_ms;
    if (d->refill_until) /* panes stay open until their base is known (state.c) */
        return;
    close_panes(d, ts_ms);
    d->stats.steps++;
    for (uint32_t g = 0; g < unit->group_count; g++) {
        const struct tsn_group *group = &d->set->groups[unit->groups[g]];

        if (ts_ms % group->interval_ms != 0)
            continue;
        for (size_t r = 0; r < group->rule_count; r++)
            run_rule(d, unit, group, &d->groups[unit->groups[g]].rules[r], ts_ms, out);
    }
}

static void trim(struct tsn_detect *d)
{
    int64_t least = INT64_MAX;

    for (uint32_t u = 0; u < d->unit_count; u++)
        if (d->units[u].here && d->units[u].last_step_ms < least)
            least = d->units[u].last_step_ms;
    if (least == INT64_MAX || least == TSN_TIME_NONE || d->stats.steps % 16)
        return;
    for (size_t i = 0; i < d->store.all.len; i++)
        tsn_series_trim(d->store.all.items[i], least - d->window_ms - 2 * PANE_MS);
}

/* All due steps of all units in time order. In a refill, no further than the checkpoint went. */
static void run_steps(struct tsn_detect *d, struct tsn_detect_output *out)
{
    for (;;) {
        struct unit *first = NULL;
        int64_t when = INT64_MAX;

        for (uint32_t u = 0; u < d->unit_count; u++) {
            struct unit *unit = &d->units[u];
            int64_t *limit;
            int64_t step;

            if (!unit->here || unit->time_ms == TSN_TIME_NONE)
                continue;
            step = next_step(d, unit);
            limit = d->refill_until ? tsn_map_get_str(&d->restored_steps, unit->name) : NULL;
            if (step <= unit->time_ms && step < when && (!limit || step <= *limit)) {
                when = step;
                first = unit;
            }
        }
        if (!first)
            break;
        step_unit(d, first, when, out);
        trim(d);
    }
}

static void note_index(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset)
{
    int64_t least = INT64_MAX, minute;
    char key[24];
    int64_t *stored;

    for (size_t i = 0; i < b->point_count; i++)
        least = b->points[i].ts_ms < least ? b->points[i].ts_ms : least;
    for (size_t i = 0; i < b->delta_count; i++)
        least = b->deltas[i].pane_ms < least ? b->deltas[i].pane_ms : least;
    if (least == INT64_MAX)
        return;
    minute = least / 60000;
    snprintf(key, sizeof key, "%020lld", (long long)minute);
    stored = tsn_map_get_str(&d->index, key);
    if (stored)
        return; /* offsets go up: the first is the lowest */
    stored = tsn_alloc(sizeof *stored);
    *stored = offset;
    tsn_map_put_str(&d->index, key, stored);
}

void tsn_detect_apply(struct tsn_detect *d, const struct tsn_batch *batch, int64_t offset,
                      struct tsn_detect_output *out)
{
    if (d->refill_until && offset >= d->refill_until) {
        d->refill_until = 0;
        tsn_detect_attach_restored(d);
    }
    d->stats.batches++;
    take_inputs(d, batch);
    maybe_switch(d, out);
    take_series(d, batch);
    take_samples(d, batch);
    note_index(d, batch, offset);
    if (!d->set)
        return;
    d->stats.watermark_ms = INT64_MAX;
    for (uint32_t u = 0; u < d->unit_count; u++) {
        advance_unit(d, &d->units[u]);
        if (d->units[u].here && d->units[u].time_ms < d->stats.watermark_ms)
            d->stats.watermark_ms = d->units[u].time_ms;
    }
    if (d->stats.watermark_ms == INT64_MAX)
        d->stats.watermark_ms = TSN_TIME_NONE;
    run_steps(d, out);
}

void tsn_detect_get_stats(const struct tsn_detect *d, struct tsn_detect_stats *stats)
{
    *stats = d->stats;
}

void tsn_detect_each_rule(const struct tsn_detect *d, void (*visit)(const struct tsn_detect_rule_info *, void *),
                          void *arg)
{
    for (uint32_t u = 0; u < d->unit_count; u++) {
        if (!d->units[u].here)
            continue;
        for (uint32_t g = 0; g < d->units[u].group_count; g++) {
            const struct group_run *group = &d->groups[d->units[u].groups[g]];

            for (size_t r = 0; r < group->group->rule_count; r++) {
                const struct rule_run *run = &group->rules[r];
                struct tsn_detect_rule_info info = {
                    group->group->name, run->rule->name, group->group->file, run->rule->is_alert, run->evaluations,
                    run->errors, run->last_count, run->ever_matched, d->units[u].last_step_ms,
                    run->last_error ? run->last_error : "", 0, 0
                };

                for (size_t i = 0; i < run->alerts.len; i++) {
                    info.pending += run->alerts.items[i].state == TSN_ALERT_PENDING;
                    info.firing += run->alerts.items[i].state == TSN_ALERT_FIRING;
                }
                visit(&info, arg);
            }
        }
    }
}
