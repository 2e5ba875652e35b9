/*
 * ruleset: the rule set in force and its units. Going over to another: switch.c.
 *
 * A unit is built from its groups: where it runs, its selectors (reach.c), its rules. Series are attached to the units that
 * read them when they come and when a set comes into force; many have the same readers and share one list.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

/* ---- building ----------------------------------------------------------------------------- */

void tsn_detect_add_rule_set(struct tsn_detect *d, int64_t number, struct tsn_rule_set *set)
{
    struct rule_version version = { number, set };

    TSN_ASSERT(!d->versions.len || d->versions.items[d->versions.len - 1].number < number);
    tsn_vec_push(&d->versions, version);
}

static void measure_unit(struct unit *unit, int64_t lookback_ms, int64_t long_ms)
{
    unit->window_ms = unit->short_ms = lookback_ms;
    for (size_t i = 0; i < unit->selectors.len; i++) {
        int64_t reach_ms = unit->selectors.items[i].reach_ms;

        unit->window_ms = reach_ms > unit->window_ms ? reach_ms : unit->window_ms;
        if (reach_ms <= long_ms && reach_ms > unit->short_ms)
            unit->short_ms = reach_ms;
    }
}

/* Returns whether it may read ALERTS. */
static bool build_unit(const struct tsn_detect *d, const struct tsn_rule_set *set, const uint32_t *unit_of_group,
                       uint32_t id, struct unit *unit)
{
    struct tsn_buf name = TSN_BUF_INIT;
    bool alerts = false;

    unit->groups = tsn_calloc(set->group_count, sizeof *unit->groups);
    tsn_buf_printf(&name, "%s;%s", set->groups[id].file, set->groups[id].name);
    unit->name = tsn_buf_take(&name, NULL);
    unit->place = tsn_unit_place(set, unit_of_group, id, d->opt.shard_label, d->opt.partition_count);
    unit->here = unit->place < 0 || unit->place == d->opt.partition;
    unit->time_ms = unit->last_step_ms = unit->start_ms = unit->warm_until_ms = TSN_TIME_NONE;
    for (size_t g = 0; g < set->group_count; g++) {
        if (unit_of_group[g] != id)
            continue;
        unit->groups[unit->group_count++] = (uint32_t)g;
        alerts |= tsn_detect_selectors_of(&set->groups[g], d->opt.lookback_ms, &unit->selectors);
        if (set->groups[g].query_offset_ms > unit->query_offset_ms)
            unit->query_offset_ms = set->groups[g].query_offset_ms;
    }
    measure_unit(unit, d->opt.lookback_ms, d->opt.long_ms);
    unit->mines = tsn_mining_feeds(unit);
    return unit->here && alerts;
}

static uint32_t build_units(const struct tsn_detect *d, const struct tsn_rule_set *set, struct unit **units, bool *alerts)
{
    uint32_t *unit_of_group = tsn_calloc(set->group_count, sizeof *unit_of_group), count = 0;

    *alerts = false;
    tsn_units_of(set, unit_of_group);
    *units = tsn_calloc(set->group_count, sizeof **units);
    for (size_t g = 0; g < set->group_count; g++)
        if (unit_of_group[g] == g)
            *alerts |= build_unit(d, set, unit_of_group, (uint32_t)g, &(*units)[count++]);
    tsn_free(unit_of_group);
    return count;
}

bool tsn_detect_units_of(struct tsn_detect *d, int64_t number, struct unit_index *index)
{
    bool alerts;

    for (size_t i = 0; i < d->versions.len; i++) {
        if (d->versions.items[i].number != number)
            continue;
        index->set = d->versions.items[i].set;
        index->count = build_units(d, index->set, &index->units, &alerts);
        tsn_detect_index_units(index);
        return true;
    }
    return false;
}

bool tsn_detect_same_rule(const struct tsn_rule *a, const struct tsn_rule *b)
{
    if (a->is_alert != b->is_alert || strcmp(a->name, b->name) != 0 || a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (strcmp(a->labels[i].name, b->labels[i].name) != 0 || strcmp(a->labels[i].value, b->labels[i].value) != 0)
            return false;
    return true;
}

/* Name, labels and place among equals: what a reload matches rules by. */
static char *rule_key(const char *group_key, const struct tsn_group *group, size_t r)
{
    struct tsn_buf labels = TSN_BUF_INIT, key = TSN_BUF_INIT;
    size_t equals = 0;

    for (size_t i = 0; i < group->rules[r].label_count; i++)
        tsn_buf_printf(&labels, "%s=%s\n", group->rules[r].labels[i].name, group->rules[r].labels[i].value);
    for (size_t i = 0; i < r; i++)
        equals += tsn_detect_same_rule(&group->rules[i], &group->rules[r]);
    tsn_buf_printf(&key, "%s/%s/%08llx.%zu", group_key, group->rules[r].name,
                   (unsigned long long)(tsn_hash64(tsn_buf_str(&labels), labels.len) >> 32), equals);
    tsn_buf_release(&labels);
    return tsn_buf_take(&key, NULL);
}

static void build_group(struct group_run *run, const struct tsn_group *group)
{
    struct tsn_buf key = TSN_BUF_INIT;

    tsn_buf_printf(&key, "%s;%s", group->file, group->name);
    run->key = tsn_buf_take(&key, NULL);
    run->group = group;
    run->rules = tsn_calloc(group->rule_count, sizeof(*run->rules));
    for (size_t r = 0; r < group->rule_count; r++) {
        struct rule_run *rule = run->rules[r] = tsn_calloc(1, sizeof *rule);

        rule->rule = &group->rules[r];
        rule->key = rule_key(run->key, group, r);
        tsn_alert_rule_state_init(&rule->alerts, rule->rule);
    }
}

void tsn_detect_build(struct tsn_detect *d)
{
    size_t count = d->set->group_count;

    d->unit_count = build_units(d, d->set, &d->units, &d->alerts_read);
    d->groups = tsn_calloc(count, sizeof *d->groups);
    for (size_t g = 0; g < count; g++) {
        build_group(&d->groups[g], &d->set->groups[g]);
        d->groups[g].done_ms = tsn_detect_group_done(d, d->groups[g].key);
    }
    tsn_detect_feeds(d);
}

void tsn_detect_free_rule(struct rule_run *run)
{
    if (!run)
        return;
    tsn_alert_rule_state_release(&run->alerts);
    tsn_compat_free(run);
    tsn_vec_release(&run->written);
    tsn_free(run->last_error);
    tsn_free(run->key);
    tsn_free(run);
}

void tsn_detect_free_groups(const struct tsn_rule_set *set, struct group_run *groups)
{
    for (size_t g = 0; set && g < set->group_count; g++) {
        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            tsn_detect_free_rule(groups[g].rules[r]);
        tsn_free(groups[g].rules);
        tsn_free(groups[g].key);
        tsn_vec_release(&groups[g].orphans);
    }
    tsn_free(groups);
}

void tsn_detect_free_units(struct unit *units, uint32_t count)
{
    for (uint32_t u = 0; u < count; u++) {
        tsn_free(units[u].name);
        tsn_free(units[u].groups);
        tsn_free(units[u].selectors.items);
        tsn_free(units[u].fed_by);
    }
    tsn_free(units);
}

static void forget_readers(struct tsn_detect *d);

void tsn_detect_release_set(struct tsn_detect *d)
{
    tsn_store_set_plans(&d->store, NULL);
    forget_readers(d);
    tsn_detect_index_release(&d->index_of_units);
    tsn_detect_free_groups(d->set, d->groups);
    tsn_detect_free_units(d->units, d->unit_count);
    d->groups = NULL;
    d->units = NULL;
    d->unit_count = 0;
    d->set = NULL;
}

/* ---- which units read a series ------------------------------------------------------------ */

/* What no unit reads. */
static const struct readers no_readers = { .past_ms = TSN_TIME_NONE };

/* Where the units of former sets stood that read the series. */
static int64_t past_ms(struct tsn_detect *d, const struct series *s)
{
    int64_t latest_ms = d->floor_ms;

    for (size_t p = 0; p < d->pasts.len; p++) {
        const struct past *past = &d->pasts.items[p];
        struct unit_index *index = tsn_detect_past_units(d, &d->pasts.items[p]);

        if (!index)
            continue;
        tsn_detect_find_readers(index, s);
        for (size_t i = 0; i < index->found.len; i++)
            if (past->steps_ms[index->found.items[i].unit] > latest_ms)
                latest_ms = past->steps_ms[index->found.items[i].unit];
    }
    return latest_ms;
}

static const struct readers *shared_readers(struct tsn_detect *d, int64_t past_ms)
{
    const struct unit_index *index = &d->index_of_units;
    size_t bytes = index->found.len * sizeof *index->found.items;
    struct tsn_buf key = TSN_BUF_INIT;
    struct readers *readers;
    void **slot;

    if (!bytes && past_ms == TSN_TIME_NONE)
        return &no_readers;
    tsn_buf_append(&key, &past_ms, sizeof past_ms);
    if (bytes)
        tsn_buf_append(&key, index->found.items, bytes);
    slot = tsn_map_upsert(&d->readers, key.data, key.len, NULL);
    tsn_buf_release(&key);
    if (*slot)
        return *slot;
    readers = *slot = tsn_calloc(1, sizeof *readers + bytes);
    readers->count = (uint32_t)index->found.len;
    readers->past_ms = past_ms;
    if (bytes)
        memcpy(readers->items, index->found.items, bytes);
    for (uint32_t i = 0; i < readers->count; i++)
        if (readers->items[i].reach_ms > readers->longest_ms)
            readers->longest_ms = readers->items[i].reach_ms;
    return readers;
}

static void forget_readers(struct tsn_detect *d)
{
    for (size_t i = 0; i < d->store.all.len; i++)
        d->store.all.items[i]->readers = &no_readers;
    tsn_map_foreach(&d->readers, e)
        tsn_free(e->value);
    tsn_map_clear(&d->readers);
}

void tsn_detect_attach_series(struct tsn_detect *d, struct series *s)
{
    const struct tsn_label *shard = tsn_labels_find(s->labels, d->opt.shard_label, strlen(d->opt.shard_label));
    int32_t home = tsn_partition_of(shard ? shard->value : "", shard ? shard->value_len : 0, d->opt.partition_count);

    s->own = (s->derived && !s->mined) || home == d->opt.partition;
    tsn_detect_find_readers(&d->index_of_units, s);
    s->readers = shared_readers(d, past_ms(d, s));
    if (s->readers->count) /* what no unit reads no plan selects */
        tsn_store_plan_series(&d->store, s);
    if (s->readers->longest_ms > d->opt.long_ms)
        tsn_store_list_chunked(&d->store, s);
}

/* How a plan's unit sees the series; groups of one query offset step at the same times. */
static void plan_group(struct tsn_detect *d, const struct unit *unit, uint32_t g)
{
    const struct tsn_group *group = &d->set->groups[g];
    uint32_t scope = unit->place < 0 ? TSN_SCOPE_OWN : TSN_SCOPE_ALL;

    for (size_t r = 0; r < group->rule_count; r++)
        d->groups[g].rules[r]->plan = unit->here ? tsn_plans_add(d->store.plans, group->rules[r].query, scope,
                                                                 (uint32_t)group->query_offset_ms)
                                                 : NULL;
}

void tsn_detect_attach_all(struct tsn_detect *d)
{
    struct tsn_eval_options options = { .lookback_ms = d->opt.lookback_ms, .max_samples = d->opt.max_samples,
                                        .reuse_sums = d->opt.reuse_sums };

    forget_readers(d);
    tsn_detect_index_release(&d->index_of_units);
    d->index_of_units = (struct unit_index){ .units = d->units, .count = d->unit_count };
    tsn_detect_index_units(&d->index_of_units);
    tsn_store_set_plans(&d->store, tsn_plans_new(&options));
    for (uint32_t u = 0; u < d->unit_count; u++)
        for (uint32_t g = 0; g < d->units[u].group_count; g++)
            plan_group(d, &d->units[u], d->units[u].groups[g]);
    for (size_t i = 0; i < d->store.all.len; i++)
        tsn_detect_attach_series(d, d->store.all.items[i]);
}

bool tsn_detect_install_set(struct tsn_detect *d, int64_t number)
{
    for (size_t i = 0; i < d->versions.len; i++) {
        if (d->versions.items[i].number != number)
            continue;
        tsn_detect_release_set(d);
        d->set = d->versions.items[i].set;
        d->set_number = d->stats.rule_set = number;
        tsn_detect_build(d);
        tsn_detect_attach_all(d);
        return true;
    }
    if (number >= 0)
        return false;
    tsn_detect_release_set(d);
    d->set_number = d->stats.rule_set = -1;
    return true;
}

