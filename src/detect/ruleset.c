/*
 * ruleset: the rule set in force, its units, and going over to another.
 *
 * A switch keeps what did not change: a unit by its name keeps its clock, a rule by name and labels
 * (in order among equals) its alerts and series. It happens at the batch with which every input
 * carries the new number, so it is a function of the log.
 *
 * After a switch a unit may want samples that no earlier set kept. What the earlier set would still
 * have read is kept exactly (`floor_ms`: nothing at or before it is read again, however much
 * happens to be in memory), and until its longest window is full the unit is warming.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

/* ---- how far back ------------------------------------------------------------------------- */

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

static bool may_be_alerts(const struct tsn_expr *selector)
{
    for (uint32_t i = 0; i < selector->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &selector->u.selector.matchers[i];

        if (strcmp(m->name, "__name__") == 0 && !tsn_matcher_matches(m, "ALERTS", 6) &&
            !tsn_matcher_matches(m, "ALERTS_FOR_STATE", 16))
            return false;
    }
    return true;
}

/* An anchored window takes its first value from before it. */
static int64_t matrix_reach(const struct tsn_expr *e, const struct tsn_expr *selector, int64_t lookback_ms)
{
    if (selector->u.selector.anchored)
        return e->u.matrix.range_ms + lookback_ms;
    return e->u.matrix.range_ms > lookback_ms ? e->u.matrix.range_ms : lookback_ms;
}

/* A window looks back over its range; why an alert ended is found over the lookback in any case. */
static void reach_selector(const struct tsn_expr *e, int64_t back_ms, struct reach *reach)
{
    back_ms += reach->outer_ms + e->u.selector.offset_ms;
    reach->longest_ms = back_ms > reach->longest_ms ? back_ms : reach->longest_ms;
    reach->any_selector = true;
    reach->alerts |= may_be_alerts(e);
}

/* How far before a step the samples of an expression may lie. A subquery's first point may stand up
 * to a step before its range. */
static void find_reach(const struct tsn_expr *e, struct reach *reach)
{
    int64_t outer = reach->outer_ms, step_ms;
    const struct tsn_expr *selector;

    switch (e->kind) {
    case TSN_EXPR_SELECTOR:
        reach_selector(e, reach->lookback_ms, reach);
        break;
    case TSN_EXPR_MATRIX:
        selector = tsn_expr_unwrap(e->u.matrix.selector);
        reach_selector(selector, matrix_reach(e, selector, reach->lookback_ms), reach);
        break;
    case TSN_EXPR_SUBQUERY:
        step_ms = e->u.subquery.step_ms > 0 ? e->u.subquery.step_ms : TSN_MINUTE_MS;
        reach->outer_ms = outer + e->u.subquery.range_ms + e->u.subquery.offset_ms + step_ms;
        find_reach(e->u.subquery.operand, reach);
        break;
    default: reach_children(e, reach); break;
    }
    reach->outer_ms = outer;
}

int64_t tsn_detect_reach_ms(const struct tsn_rule_set *set, int64_t lookback_ms)
{
    struct reach reach = { .lookback_ms = lookback_ms ? lookback_ms : TSN_DEFAULT_LOOKBACK_MS };

    for (size_t g = 0; g < set->group_count; g++)
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            reach.outer_ms = set->groups[g].query_offset_ms;
            find_reach(set->groups[g].rules[r].query->root, &reach);
        }
    return reach.longest_ms;
}

int64_t tsn_detect_needless_ms(const struct tsn_detect *d)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t u = 0; u < d->unit_count; u++) {
        const struct unit *unit = &d->units[u];
        int64_t needless_ms = INT64_MAX;

        if (unit->here && unit->last_step_ms != TSN_TIME_NONE)
            needless_ms = unit->last_step_ms - unit->window_ms;
        else if (unit->here && unit->start_ms != TSN_TIME_NONE)
            needless_ms = unit->start_ms - 1;
        least_ms = needless_ms < least_ms ? needless_ms : least_ms;
    }
    return least_ms == INT64_MAX ? TSN_TIME_NONE : least_ms;
}

/* ---- building ----------------------------------------------------------------------------- */

void tsn_detect_add_rule_set(struct tsn_detect *d, int64_t number, struct tsn_rule_set *set)
{
    struct rule_version version = { number, set };

    TSN_ASSERT(!d->versions.len || d->versions.items[d->versions.len - 1].number < number);
    tsn_vec_push(&d->versions, version);
}

static void build_unit(struct tsn_detect *d, const uint32_t *unit_of_group, uint32_t id, struct unit *unit)
{
    struct reach reach = { .lookback_ms = d->opt.lookback_ms, .longest_ms = d->opt.lookback_ms };
    struct tsn_rule_set *set = d->set;
    struct tsn_buf name = TSN_BUF_INIT;

    unit->groups = tsn_calloc(set->group_count, sizeof *unit->groups);
    tsn_buf_printf(&name, "%s;%s", set->groups[id].file, set->groups[id].name);
    unit->name = tsn_buf_take(&name, NULL);
    unit->place = tsn_unit_place(set, unit_of_group, id, d->opt.shard_label, d->opt.partition_count);
    unit->here = unit->place < 0 || unit->place == d->opt.partition;
    unit->time_ms = unit->last_step_ms = unit->start_ms = unit->warm_until_ms = TSN_TIME_NONE;
    for (size_t g = 0; g < set->group_count; g++) {
        struct tsn_rule_set one = { .groups = &set->groups[g], .group_count = 1 };

        if (unit_of_group[g] != id)
            continue;
        unit->groups[unit->group_count++] = (uint32_t)g;
        tsn_routes_build(&one, d->opt.shard_label, d->opt.partition_count, &unit->routes);
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            reach.outer_ms = set->groups[g].query_offset_ms;
            find_reach(set->groups[g].rules[r].query->root, &reach);
        }
    }
    unit->window_ms = reach.longest_ms;
    unit->any_selector = reach.any_selector;
    unit->mines = tsn_mining_feeds(unit);
    d->alerts_read |= unit->here && reach.alerts;
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

/* Name, labels and place among equals: what a reload matches rules by. */
static char *rule_key(const char *group_key, const struct tsn_group *group, size_t r)
{
    struct tsn_buf labels = TSN_BUF_INIT, key = TSN_BUF_INIT;
    size_t equals = 0;

    for (size_t i = 0; i < group->rules[r].label_count; i++)
        tsn_buf_printf(&labels, "%s=%s\n", group->rules[r].labels[i].name, group->rules[r].labels[i].value);
    for (size_t i = 0; i < r; i++)
        equals += same_rule(&group->rules[i], &group->rules[r]);
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

/* Units and groups of d->set, without a past. */
static void build(struct tsn_detect *d)
{
    size_t count = d->set->group_count;
    uint32_t *unit_of_group = tsn_calloc(count, sizeof *unit_of_group);

    d->alerts_read = false;
    tsn_units_of(d->set, unit_of_group);
    d->units = tsn_calloc(count, sizeof *d->units);
    d->unit_count = 0;
    for (size_t g = 0; g < count; g++)
        if (unit_of_group[g] == g)
            build_unit(d, unit_of_group, (uint32_t)g, &d->units[d->unit_count++]);
    tsn_free(unit_of_group);
    d->groups = tsn_calloc(count, sizeof *d->groups);
    for (size_t g = 0; g < count; g++)
        build_group(&d->groups[g], &d->set->groups[g]);
    tsn_detect_feeds(d);
}

static void rule_free(struct rule_run *run)
{
    if (!run)
        return;
    tsn_alert_rule_state_release(&run->alerts);
    tsn_vec_release(&run->written);
    tsn_free(run->last_error);
    tsn_free(run->key);
    tsn_free(run);
}

static void free_groups(const struct tsn_rule_set *set, struct group_run *groups)
{
    for (size_t g = 0; set && g < set->group_count; g++) {
        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            rule_free(groups[g].rules[r]);
        tsn_free(groups[g].rules);
        tsn_free(groups[g].key);
        tsn_vec_release(&groups[g].orphans);
    }
    tsn_free(groups);
}

static void free_units(struct unit *units, uint32_t count)
{
    for (uint32_t u = 0; u < count; u++) {
        tsn_free(units[u].name);
        tsn_free(units[u].groups);
        tsn_free(units[u].routes.items);
        tsn_free(units[u].fed_by);
    }
    tsn_free(units);
}

static void forget_lists(struct tsn_detect *d);

void tsn_detect_release_set(struct tsn_detect *d)
{
    tsn_store_set_plans(&d->store, NULL);
    forget_lists(d);
    free_groups(d->set, d->groups);
    free_units(d->units, d->unit_count);
    d->groups = NULL;
    d->units = NULL;
    d->unit_count = 0;
    d->set = NULL;
}

/* ---- which units read a series ------------------------------------------------------------ */

static bool unit_reads(const struct unit *unit, const struct series *s)
{
    if (!unit->here || (!s->own && unit->place < 0))
        return false;
    for (size_t i = 0; i < unit->routes.len; i++)
        if (tsn_matchers_match(unit->routes.items[i].matchers, unit->routes.items[i].matcher_count, s->labels))
            return true;
    return false;
}

/* Many series are read by the same units: one copy of each list there is. */
static const uint32_t *shared_list(struct tsn_detect *d)
{
    size_t bytes = d->unit_list.len * sizeof *d->unit_list.items;
    void **list;

    if (!bytes)
        return NULL;
    list = tsn_map_upsert(&d->unit_lists, d->unit_list.items, bytes, NULL);
    if (!*list)
        *list = tsn_memdup(d->unit_list.items, bytes);
    return *list;
}

static void forget_lists(struct tsn_detect *d)
{
    for (size_t i = 0; i < d->store.all.len; i++) {
        d->store.all.items[i]->units = NULL;
        d->store.all.items[i]->unit_count = 0;
    }
    tsn_map_foreach(&d->unit_lists, e)
        tsn_free(e->value);
    tsn_map_clear(&d->unit_lists);
}

void tsn_detect_attach_series(struct tsn_detect *d, struct series *s)
{
    const struct tsn_label *shard = tsn_labels_find(s->labels, d->opt.shard_label, strlen(d->opt.shard_label));
    int32_t home = tsn_partition_of(shard ? shard->value : "", shard ? shard->value_len : 0, d->opt.partition_count);

    s->own = (s->derived && !s->mined) || home == d->opt.partition;
    d->unit_list.len = 0;
    for (uint32_t u = 0; u < d->unit_count; u++)
        if (unit_reads(&d->units[u], s))
            tsn_vec_push(&d->unit_list, u);
    s->unit_count = (uint32_t)d->unit_list.len;
    s->units = shared_list(d);
    if (s->unit_count) /* what no unit reads no plan selects */
        tsn_store_plan_series(&d->store, s);
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

/* Plans of the set in force; then the series are attached again. */
static void attach_all(struct tsn_detect *d)
{
    struct tsn_eval_options options = { .lookback_ms = d->opt.lookback_ms };

    d->needless_ms = TSN_TIME_NONE; /* until the next step tells */
    forget_lists(d);
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
        build(d);
        attach_all(d);
        return true;
    }
    if (number >= 0)
        return false;
    tsn_detect_release_set(d);
    d->set_number = d->stats.rule_set = -1;
    return true;
}

/* ---- switching ---------------------------------------------------------------------------- */

/* What was in force before a switch. */
struct former {
    struct tsn_rule_set *set;
    struct group_run *groups;
    struct unit *units;
    uint32_t unit_count;
    int64_t step_ms;     /* latest step of any unit */
    int64_t needless_ms; /* its view of what nobody reads */
};

static struct unit *find_unit(const struct former *was, const char *name)
{
    for (uint32_t u = 0; u < was->unit_count; u++)
        if (strcmp(was->units[u].name, name) == 0)
            return &was->units[u];
    return NULL;
}

static const struct unit *unit_of(const struct unit *units, uint32_t count, size_t group)
{
    for (uint32_t u = 0; u < count; u++)
        for (uint32_t g = 0; g < units[u].group_count; g++)
            if (units[u].groups[g] == group)
                return &units[u];
    return NULL;
}

static bool matcher_in(const struct tsn_matcher *m, const struct tsn_route *route)
{
    for (size_t i = 0; i < route->matcher_count; i++) {
        const struct tsn_matcher *o = &route->matchers[i];

        if (o->op == m->op && strcmp(o->name, m->name) == 0 && o->value_len == m->value_len &&
            memcmp(o->value, m->value, m->value_len) == 0)
            return true;
    }
    return false;
}

/* The earlier set kept all that the selector reads: one of its selectors asks for no more. */
static bool was_kept(const struct former *was, const struct tsn_route *route)
{
    for (uint32_t u = 0; u < was->unit_count; u++)
        for (size_t i = 0; was->units[u].here && i < was->units[u].routes.len; i++) {
            const struct tsn_route *old = &was->units[u].routes.items[i];
            bool wider = true;

            for (size_t k = 0; k < old->matcher_count && wider; k++)
                wider = matcher_in(&old->matchers[k], route);
            if (wider)
                return true;
        }
    return false;
}

/* Until when the windows of a unit lack samples that it would have seen had it always run. */
static int64_t warm_until(const struct tsn_detect *d, const struct former *was, const struct unit *unit)
{
    int64_t until_ms = d->floor_ms == TSN_TIME_NONE ? TSN_TIME_NONE : d->floor_ms + unit->window_ms;

    for (size_t i = 0; i < unit->routes.len; i++)
        if (!was_kept(was, &unit->routes.items[i]))
            until_ms = was->step_ms + unit->window_ms;
    return until_ms > was->step_ms ? until_ms : TSN_TIME_NONE;
}

static void carry_clocks(struct tsn_detect *d, const struct former *was)
{
    for (uint32_t u = 0; u < d->unit_count; u++) {
        struct unit *unit = &d->units[u];
        const struct unit *old = find_unit(was, unit->name);

        unit->time_ms = old ? old->time_ms : TSN_TIME_NONE;
        unit->last_step_ms = old && old->here ? old->last_step_ms : was->step_ms;
        unit->start_ms = old ? old->start_ms : TSN_TIME_NONE;
        unit->warm_until_ms = old ? old->warm_until_ms : TSN_TIME_NONE;
        if (d->opt.warmup && d->set_number > 0 && was->step_ms != TSN_TIME_NONE) {
            int64_t until_ms = warm_until(d, was, unit);

            unit->warm_until_ms = until_ms > unit->warm_until_ms ? until_ms : unit->warm_until_ms;
        }
    }
}

/* Moves the life of rules that both sets have; the series of the others in the group end at its next step. */
static void carry_group(struct group_run *to, struct group_run *from)
{
    for (size_t r = 0; r < to->group->rule_count; r++)
        for (size_t o = 0; o < from->group->rule_count; o++) {
            struct rule_run *old = from->rules[o];

            if (!old || !same_rule(to->rules[r]->rule, old->rule))
                continue;
            old->rule = old->alerts.rule = to->rules[r]->rule;
            tsn_free(old->key);
            old->key = to->rules[r]->key;
            to->rules[r]->key = NULL;
            rule_free(to->rules[r]);
            to->rules[r] = old;
            from->rules[o] = NULL;
            break;
        }
    for (size_t i = 0; i < from->orphans.len; i++)
        tsn_vec_push(&to->orphans, from->orphans.items[i]);
    from->orphans.len = 0;
    for (size_t o = 0; o < from->group->rule_count; o++)
        for (size_t i = 0; from->rules[o] && i < from->rules[o]->written.len; i++)
            tsn_vec_push(&to->orphans, from->rules[o]->written.items[i]);
    for (size_t o = 0; o < from->group->rule_count; o++)
        if (from->rules[o])
            from->rules[o]->written.len = 0;
}

/* What nobody took over: its alerts end, its series end just after the last step of their unit. */
static void end_gone(struct tsn_detect *d, const struct former *was, size_t g, struct tsn_detect_output *out)
{
    struct group_run *group = &was->groups[g];
    const struct unit *unit = unit_of(was->units, was->unit_count, g);

    for (size_t r = 0; r < group->group->rule_count; r++) {
        struct rule_run *run = group->rules[r];

        for (size_t i = 0; run && i < run->alerts.len; i++) {
            struct tsn_alert_change change = { run->alerts.items[i].state, TSN_ALERT_RESOLVED,
                                               &run->alerts.items[i] };

            if (change.was != TSN_ALERT_INACTIVE)
                tsn_detect_emit(d, group->group, run->rule, &change, TSN_END_RULE_GONE, unit->last_step_ms, false,
                                out);
        }
        for (size_t i = 0; run && i < run->written.len; i++)
            tsn_detect_let_go(d, run->written.items[i], unit->last_step_ms + 1 - group->group->query_offset_ms);
    }
    for (size_t i = 0; i < group->orphans.len; i++)
        tsn_detect_let_go(d, group->orphans.items[i], unit->last_step_ms + 1 - group->group->query_offset_ms);
}

static void carry_rules(struct tsn_detect *d, const struct former *was, struct tsn_detect_output *out)
{
    for (size_t o = 0; o < was->set->group_count; o++) {
        for (size_t n = 0; n < d->set->group_count; n++)
            if (strcmp(d->groups[n].key, was->groups[o].key) == 0 &&
                unit_of(d->units, d->unit_count, n)->here == unit_of(was->units, was->unit_count, o)->here)
                carry_group(&d->groups[n], &was->groups[o]);
        end_gone(d, was, o, out);
    }
}

static void switch_set(struct tsn_detect *d, const struct rule_version *version, struct tsn_detect_output *out)
{
    struct former was = { d->set, d->groups, d->units, d->unit_count, TSN_TIME_NONE, tsn_detect_needless_ms(d) };

    for (uint32_t u = 0; u < was.unit_count; u++)
        if (was.units[u].here && was.units[u].last_step_ms > was.step_ms)
            was.step_ms = was.units[u].last_step_ms;
    if (was.needless_ms > d->floor_ms)
        d->floor_ms = was.needless_ms;
    d->set = version->set;
    d->set_number = d->stats.rule_set = version->number;
    build(d);
    if (was.set) {
        carry_clocks(d, &was);
        carry_rules(d, &was, out);
    }
    free_groups(was.set, was.groups);
    free_units(was.units, was.unit_count);
    attach_all(d);
    tsn_detect_close_to_horizon(d);
}

/* The newest known set that every input carries. Inputs that are idle carry what they last said. */
void tsn_detect_maybe_switch(struct tsn_detect *d, struct tsn_detect_output *out)
{
    int64_t least = INT64_MAX;
    const struct rule_version *best = NULL;

    for (size_t t = 0; t < d->topics.len; t++)
        for (size_t p = 0; p < d->topics.items[t].parts.len; p++) {
            const struct input *in = &d->topics.items[t].parts.items[p];

            if (in->known && in->rule_set < least)
                least = in->rule_set;
        }
    for (size_t i = 0; i < d->versions.len && least != INT64_MAX; i++)
        if (d->versions.items[i].number <= least)
            best = &d->versions.items[i];
    if (best && best->number > d->set_number)
        switch_set(d, best, out);
}

/* ---- transitions -------------------------------------------------------------------------- */

void tsn_detect_emit(struct tsn_detect *d, const struct tsn_group *group, const struct tsn_rule *rule,
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
    tsn_mining_explain(d, rule, step_ms, &t);
    tsn_vec_push(&out->transitions, t);
    d->stats.transitions++;
}
