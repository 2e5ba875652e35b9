/*
 * switch: going over to another rule set.
 *
 * A switch keeps what did not change: a unit by its name keeps its clock, a rule by name and labels
 * (in order among equals) its alerts and series. It happens at the batch with which every input
 * carries the new number, so it is a function of the log.
 *
 * After a switch a unit may want samples that no earlier set kept. At the switch each series is cut to what the
 * set then in force had to keep of it, however much happened to be in memory; where its units stood is kept (struct past)
 * for as long as a window reaches there, so that a takeover cuts alike. Until its windows are full the unit is warming.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <string.h>

/* ---- switching ---------------------------------------------------------------------------- */

/* What was in force before a switch. */
struct former {
    struct tsn_rule_set *set;
    struct group_run *groups;
    struct unit *units;
    uint32_t unit_count;
    int64_t step_ms; /* latest step of any unit */
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

static bool matcher_in(const struct tsn_matcher *m, const struct unit_selector *s)
{
    for (size_t i = 0; i < s->matcher_count; i++) {
        const struct tsn_matcher *o = &s->matchers[i];

        if (o->op == m->op && strcmp(o->name, m->name) == 0 && o->value_len == m->value_len &&
            memcmp(o->value, m->value, m->value_len) == 0)
            return true;
    }
    return false;
}

/* Since when a former set kept all that the selector reads: one of its selectors asks for no more. INT64_MAX: it did not. */
static int64_t kept_since(const struct past *past, const struct unit_index *units, const struct unit_selector *s)
{
    int64_t since_ms = INT64_MAX;

    for (uint32_t u = 0; u < units->count; u++)
        for (size_t i = 0; units->units[u].here && i < units->units[u].selectors.len; i++) {
            const struct unit_selector *old = &units->units[u].selectors.items[i];
            int64_t from_ms = past->steps_ms[u] == TSN_TIME_NONE ? TSN_TIME_NONE : past->steps_ms[u] - old->reach_ms;
            bool wider = from_ms < since_ms;

            for (size_t k = 0; k < old->matcher_count && wider; k++)
                wider = matcher_in(&old->matchers[k], s);
            if (wider)
                since_ms = from_ms;
        }
    return since_ms;
}

/* Until when the windows of a unit lack samples that it would have seen had it always run. */
static int64_t warm_until(const struct tsn_detect *d, const struct past *past, const struct unit_index *units,
                          const struct unit *unit)
{
    int64_t until_ms = d->floor_ms == TSN_TIME_NONE ? TSN_TIME_NONE : d->floor_ms + unit->window_ms;

    for (size_t i = 0; i < unit->selectors.len; i++) {
        int64_t since_ms = kept_since(past, units, &unit->selectors.items[i]), ms = TSN_TIME_NONE;

        if (since_ms == INT64_MAX)
            ms = past->latest_ms + unit->window_ms;
        else if (since_ms != TSN_TIME_NONE)
            ms = since_ms + unit->selectors.items[i].reach_ms;
        until_ms = ms > until_ms ? ms : until_ms;
    }
    return until_ms;
}

static void warm_by_past(struct tsn_detect *d, struct past *past, int64_t step_ms)
{
    const struct unit_index *units = tsn_detect_past_units(d, past);

    for (uint32_t u = 0; units && u < d->unit_count; u++) {
        int64_t until_ms = warm_until(d, past, units, &d->units[u]);

        if (until_ms > step_ms && until_ms > d->units[u].warm_until_ms)
            d->units[u].warm_until_ms = until_ms;
    }
}

/* Groups that were in several units may be in one now: it goes on from the one that came least far, and the others wait (group_run's
 * done_ms). A unit of new groups begins with the steps after the latest of all. */
static int64_t goes_on_from(const struct former *was, const struct group_run *groups, const struct unit *unit)
{
    int64_t from_ms = INT64_MAX;

    for (size_t o = 0; o < was->set->group_count; o++) {
        const struct unit *old = unit_of(was->units, was->unit_count, o);

        for (uint32_t g = 0; old->here && g < unit->group_count; g++)
            if (strcmp(groups[unit->groups[g]].key, was->groups[o].key) == 0 && old->last_step_ms < from_ms)
                from_ms = old->last_step_ms;
    }
    return from_ms == INT64_MAX ? was->step_ms : from_ms;
}

static void carry_clocks(struct tsn_detect *d, const struct former *was)
{
    for (uint32_t u = 0; u < d->unit_count; u++) {
        struct unit *unit = &d->units[u];
        const struct unit *old = find_unit(was, unit->name);

        unit->time_ms = old ? old->time_ms : TSN_TIME_NONE;
        unit->last_step_ms = goes_on_from(was, d->groups, unit);
        unit->start_ms = old ? old->start_ms : TSN_TIME_NONE;
        unit->warm_until_ms = old ? old->warm_until_ms : TSN_TIME_NONE;
    }
    for (size_t p = 0; p < d->pasts.len && d->opt.warmup && d->set_number > 0 && was->step_ms != TSN_TIME_NONE; p++)
        if (d->pasts.items[p].latest_ms != TSN_TIME_NONE)
            warm_by_past(d, &d->pasts.items[p], was->step_ms);
}

/* Moves the life of rules that both sets have; the series of the others in the group end at its next step. */
static void carry_group(struct group_run *to, struct group_run *from)
{
    for (size_t r = 0; r < to->group->rule_count; r++)
        for (size_t o = 0; o < from->group->rule_count; o++) {
            struct rule_run *old = from->rules[o];

            if (!old || !tsn_detect_same_rule(to->rules[r]->rule, old->rule))
                continue;
            old->rule = old->alerts.rule = to->rules[r]->rule;
            tsn_free(old->key);
            old->key = to->rules[r]->key;
            to->rules[r]->key = NULL;
            tsn_detect_free_rule(to->rules[r]);
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

/* ---- what former sets kept ---------------------------------------------------------------- */

/* More switches than this inside one window, and the oldest make all series forget alike. */
enum { MAX_PASTS = 16 };

struct unit_index *tsn_detect_past_units(struct tsn_detect *d, struct past *past)
{
    if (!past->index.units && !tsn_detect_units_of(d, past->number, &past->index))
        return NULL;
    return past->index.count == past->count ? &past->index : NULL;
}

int64_t tsn_detect_group_done(struct tsn_detect *d, const char *key)
{
    int64_t done_ms = TSN_TIME_NONE;

    for (size_t p = 0; p < d->pasts.len; p++) {
        const struct past *past = &d->pasts.items[p];
        const struct unit_index *index = tsn_detect_past_units(d, &d->pasts.items[p]);

        for (uint32_t u = 0; index && u < index->count; u++)
            for (uint32_t g = 0; index->units[u].here && g < index->units[u].group_count; g++) {
                const struct tsn_group *group = &index->set->groups[index->units[u].groups[g]];
                size_t file_len = strlen(group->file);

                if (past->steps_ms[u] > done_ms && strncmp(key, group->file, file_len) == 0 && key[file_len] == ';' &&
                    strcmp(key + file_len + 1, group->name) == 0)
                    done_ms = past->steps_ms[u];
            }
    }
    return done_ms;
}

static void drop_past(struct tsn_detect *d, size_t at)
{
    struct past *past = &d->pasts.items[at];

    tsn_detect_index_release(&past->index);
    tsn_detect_free_units(past->index.units, past->index.count);
    tsn_free(past->steps_ms);
    d->pasts.len--;
    memmove(d->pasts.items + at, d->pasts.items + at + 1, (d->pasts.len - at) * sizeof *d->pasts.items);
}

void tsn_detect_release_pasts(struct tsn_detect *d)
{
    while (d->pasts.len)
        drop_past(d, d->pasts.len - 1);
    tsn_vec_release(&d->pasts);
}

static bool in_some_window(const struct tsn_detect *d, int64_t ts_ms)
{
    for (uint32_t u = 0; u < d->unit_count; u++)
        if (d->units[u].here &&
            (d->units[u].last_step_ms == TSN_TIME_NONE || d->units[u].last_step_ms - d->units[u].window_ms < ts_ms))
            return true;
    return false;
}

/* The set in force becomes one of the past: each series keeps what it had to keep, to the last sample. */
static void leave_set(struct tsn_detect *d, int64_t latest_ms)
{
    struct past past = { d->set_number, latest_ms, tsn_calloc(d->unit_count, sizeof(int64_t)), d->unit_count, { 0 } };

    for (size_t p = d->pasts.len; p-- > 0;)
        if (!in_some_window(d, d->pasts.items[p].latest_ms))
            drop_past(d, p);
    if (d->pasts.len == MAX_PASTS) {
        d->floor_ms = d->pasts.items[0].latest_ms > d->floor_ms ? d->pasts.items[0].latest_ms : d->floor_ms;
        drop_past(d, 0);
    }
    for (uint32_t u = 0; u < d->unit_count; u++)
        past.steps_ms[u] = d->units[u].last_step_ms;
    tsn_vec_push(&d->pasts, past);
    for (size_t i = 0; i < d->store.all.len; i++)
        tsn_series_cut(d->store.all.items[i], tsn_detect_needless_of(d, d->store.all.items[i]));
}

static void switch_set(struct tsn_detect *d, const struct rule_version *version, struct tsn_detect_output *out)
{
    struct former was = { d->set, d->groups, d->units, d->unit_count, TSN_TIME_NONE };

    for (uint32_t u = 0; u < was.unit_count; u++)
        if (was.units[u].here && was.units[u].last_step_ms > was.step_ms)
            was.step_ms = was.units[u].last_step_ms;
    if (was.set)
        leave_set(d, was.step_ms);
    d->set = version->set;
    d->set_number = d->stats.rule_set = version->number;
    tsn_detect_build(d);
    if (was.set) {
        carry_clocks(d, &was);
        carry_rules(d, &was, out);
    }
    tsn_detect_free_groups(was.set, was.groups);
    tsn_detect_free_units(was.units, was.unit_count);
    tsn_detect_attach_all(d);
    if (!d->refill_until)
        d->chunked_ms = d->chunking_ms = TSN_TIME_NONE; /* other windows are long now */
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
