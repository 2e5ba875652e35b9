/*
 * group_eval: runs the groups of a rule set over a storage. See tocsin/rule_eval.h.
 *
 * Per rule it keeps the series given at the last good step, sorted, so that the ones missing at the
 * next get their stale marker. A marker that meets a value of the same time (another rule gives the
 * series now) is dropped in silence, as Prometheus does; a value that meets another value of the
 * same time is the rule's error.
 */
#include "tocsin/rule_eval.h"

#include <stdlib.h>
#include <string.h>

struct series_set {
    struct tsn_labels **items;
    size_t len, cap;
};

struct rule_state {
    struct tsn_alert_rule_state alerts; /* alert rules */
    struct series_set given;            /* series of the last good step, sorted */
    struct tsn_plan *plan;              /* NULL: naive */
    char *error;
};

struct group_state {
    struct rule_state *rules;
    struct series_set orphans; /* series of rules that a reload took away: stale at the next step */
};

struct tsn_rule_evaluator {
    const struct tsn_rule_set *set;
    struct tsn_rule_eval_options options;
    struct group_state *groups;
    struct tsn_plans *plans; /* of all rules; NULL: naive */
};

/* ---- small parts -------------------------------------------------------------------------- */

static void series_set_release(struct series_set *set)
{
    for (size_t i = 0; i < set->len; i++)
        tsn_labels_unref(set->items[i]);
    tsn_vec_release(set);
}

static int compare_labels(const void *a, const void *b)
{
    return tsn_labels_compare(*(struct tsn_labels *const *)a, *(struct tsn_labels *const *)b);
}

static struct tsn_labels *named(const struct tsn_alert_instance *instance, const char *name, const char *state)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;

    tsn_labels_builder_init(&b);
    tsn_labels_builder_from(&b, instance->labels);
    tsn_labels_builder_set(&b, "__name__", name);
    if (state)
        tsn_labels_builder_set(&b, "alertstate", state);
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

struct tsn_labels *tsn_alert_series_labels(const struct tsn_alert_instance *instance)
{
    return named(instance, "ALERTS", tsn_alert_state_name(instance->state));
}

struct tsn_labels *tsn_alert_for_state_labels(const struct tsn_alert_instance *instance)
{
    return named(instance, "ALERTS_FOR_STATE", NULL);
}

enum tsn_err tsn_rule_vector_of(struct tsn_result *result, int64_t ts_ms, struct tsn_error *error)
{
    if (result->type == TSN_TYPE_VECTOR)
        return TSN_OK;
    if (result->type != TSN_TYPE_SCALAR)
        return tsn_error_set(error, TSN_ERR_INVALID, "rule result is not a vector or scalar");
    result->vector = tsn_calloc(1, sizeof *result->vector);
    result->vector[0] = (struct tsn_vector_sample){ tsn_labels_empty(), ts_ms, result->scalar };
    result->vector_len = result->vector_cap = 1;
    result->type = TSN_TYPE_VECTOR;
    return TSN_OK;
}

static enum tsn_err evaluate(const struct tsn_rule_evaluator *ev, const struct tsn_query *query, int64_t at_ms,
                             struct tsn_result *result, struct tsn_error *error)
{
    struct tsn_eval_options options = ev->options.eval;
    enum tsn_err err;

    options.start_ms = options.end_ms = at_ms;
    err = tsn_eval_instant(query, &ev->options.storage, at_ms, &options, result, error);
    return err == TSN_OK ? tsn_rule_vector_of(result, at_ms, error) : err;
}

static enum tsn_err stream(const struct tsn_rule_evaluator *ev, struct tsn_plan *plan, int64_t at_ms,
                           struct tsn_result *result, struct tsn_error *error)
{
    enum tsn_err err = tsn_plan_step(plan, &ev->options.storage, at_ms, TSN_TIME_NONE, result, error);

    return err == TSN_OK ? tsn_rule_vector_of(result, at_ms, error) : err;
}

/* ---- what a rule gave, into the storage --------------------------------------------------- */

static enum tsn_err give(struct tsn_rule_evaluator *ev, struct series_set *given, struct tsn_labels *labels,
                         int64_t at_ms, double value, struct tsn_error *error)
{
    enum tsn_err err = ev->options.append(ev->options.append_arg, labels, at_ms, value, error);

    if (err == TSN_OK)
        tsn_vec_push(given, tsn_labels_ref(labels));
    return err;
}

static void mark_stale(struct tsn_rule_evaluator *ev, struct tsn_labels *labels, int64_t at_ms)
{
    struct tsn_error ignored = { 0 };

    (void)ev->options.append(ev->options.append_arg, labels, at_ms, tsn_stale(), &ignored);
}

/* Series of the last step that are not in `given` end now; `given` takes their place. */
static void replace_given(struct tsn_rule_evaluator *ev, struct rule_state *rule, struct series_set *given,
                          int64_t at_ms)
{
    size_t j = 0;

    if (given->len > 1)
        qsort(given->items, given->len, sizeof *given->items, compare_labels);
    for (size_t i = 0; i < rule->given.len; i++) {
        while (j < given->len && tsn_labels_compare(given->items[j], rule->given.items[i]) < 0)
            j++;
        if (j == given->len || !tsn_labels_equal(given->items[j], rule->given.items[i]))
            mark_stale(ev, rule->given.items[i], at_ms);
    }
    series_set_release(&rule->given);
    rule->given = *given;
}

/* ---- one rule, one step ------------------------------------------------------------------- */

struct template_query {
    const struct tsn_rule_evaluator *ev;
    int64_t at_ms;
};

static enum tsn_err query_from_template(void *arg, const char *expr, struct tsn_result *out,
                                        struct tsn_error *error)
{
    struct template_query *self = arg;
    struct tsn_parse_error parse_error;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse_error);
    enum tsn_err err;

    if (!query)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s", parse_error.message);
    err = evaluate(self->ev, query, self->at_ms, out, error);
    tsn_query_free(&query);
    return err;
}

static enum tsn_err give_alerts(struct tsn_rule_evaluator *ev, struct rule_state *state,
                                struct series_set *given, int64_t at_ms, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < state->alerts.len; i++) {
        const struct tsn_alert_instance *a = &state->alerts.items[i];
        struct tsn_labels *labels;
        enum tsn_err one;
        int64_t seconds = a->active_at_ms / 1000 - (a->active_at_ms % 1000 < 0);

        if (a->state == TSN_ALERT_INACTIVE)
            continue;
        labels = tsn_alert_series_labels(a);
        one = give(ev, given, labels, at_ms, 1, error);
        err = one != TSN_OK ? one : err;
        tsn_labels_unref(labels);
        labels = tsn_alert_for_state_labels(a);
        one = give(ev, given, labels, at_ms, (double)seconds, error);
        err = one != TSN_OK ? one : err;
        tsn_labels_unref(labels);
    }
    return err;
}

static enum tsn_err step_alert(struct tsn_rule_evaluator *ev, size_t g, size_t r, int64_t ts_ms,
                               const struct tsn_result *result, struct tsn_error *error)
{
    const struct tsn_group *group = &ev->set->groups[g];
    struct rule_state *state = &ev->groups[g].rules[r];
    struct template_query query = { ev, ts_ms };
    struct tsn_alert_eval_env env = { ev->options.external_labels, ev->options.external_url,
                                      query_from_template, &query, group->limit };
    struct tsn_alert_changes changes = { 0 };
    struct series_set given = { 0 };
    int64_t at_ms = ts_ms - group->query_offset_ms;
    enum tsn_err err = tsn_alert_rule_step(&state->alerts, ts_ms, result->vector, result->vector_len, &env,
                                           &changes, error);

    if (changes.len && ev->options.on_changes)
        ev->options.on_changes(ev->options.changes_arg, g, r, ts_ms, &changes);
    tsn_alert_changes_release(&changes);
    if (err != TSN_OK)
        return err;
    err = give_alerts(ev, state, &given, at_ms, error);
    replace_given(ev, state, &given, at_ms);
    return err;
}

static enum tsn_err step_record(struct tsn_rule_evaluator *ev, size_t g, size_t r, int64_t ts_ms,
                                const struct tsn_result *result, struct tsn_error *error)
{
    const struct tsn_group *group = &ev->set->groups[g];
    struct rule_state *state = &ev->groups[g].rules[r];
    int64_t at_ms = ts_ms - group->query_offset_ms;
    struct series_set given = { 0 };
    struct tsn_vector_sample *out;
    size_t count;
    enum tsn_err err = tsn_record_rule_apply(&group->rules[r], result->vector, result->vector_len, &out, &count,
                                             error);

    if (err != TSN_OK)
        return err;
    if (group->limit > 0 && count > (size_t)group->limit) {
        tsn_vector_samples_free(out, count);
        return tsn_error_set(error, TSN_ERR_LIMIT, "exceeded limit of %lld with %zu series",
                             (long long)group->limit, count);
    }
    for (size_t i = 0; i < count; i++) {
        enum tsn_err one = give(ev, &given, out[i].labels, at_ms, out[i].value, error);

        err = one != TSN_OK ? one : err;
    }
    tsn_vector_samples_free(out, count);
    replace_given(ev, state, &given, at_ms);
    return err;
}

static bool step_rule(struct tsn_rule_evaluator *ev, size_t g, size_t r, int64_t ts_ms)
{
    const struct tsn_group *group = &ev->set->groups[g];
    const struct tsn_rule *rule = &group->rules[r];
    struct rule_state *state = &ev->groups[g].rules[r];
    int64_t at_ms = ts_ms - group->query_offset_ms;
    struct tsn_error error = { 0 };
    struct tsn_result result;
    enum tsn_err err;

    tsn_free(state->error);
    state->error = NULL;
    tsn_result_init(&result);
    err = state->plan ? stream(ev, state->plan, at_ms, &result, &error)
                      : evaluate(ev, rule->query, at_ms, &result, &error);
    if (err == TSN_OK)
        err = rule->is_alert ? step_alert(ev, g, r, ts_ms, &result, &error)
                             : step_record(ev, g, r, ts_ms, &result, &error);
    tsn_result_release(&result);
    if (err != TSN_OK)
        state->error = tsn_strdup(error.message);
    return err == TSN_OK;
}

size_t tsn_rule_evaluator_step(struct tsn_rule_evaluator *ev, size_t g, int64_t ts_ms)
{
    const struct tsn_group *group = &ev->set->groups[g];
    struct series_set *orphans = &ev->groups[g].orphans;
    size_t failed = 0;

    for (size_t r = 0; r < group->rule_count; r++)
        failed += !step_rule(ev, g, r, ts_ms);
    for (size_t i = 0; i < orphans->len; i++)
        mark_stale(ev, orphans->items[i], ts_ms - group->query_offset_ms);
    series_set_release(orphans);
    return failed;
}

/* ---- life, reload ------------------------------------------------------------------------- */

static struct group_state *new_groups(const struct tsn_rule_set *set)
{
    struct group_state *groups = tsn_calloc(set->group_count, sizeof *groups);

    for (size_t g = 0; g < set->group_count; g++) {
        groups[g].rules = tsn_calloc(set->groups[g].rule_count, sizeof *groups[g].rules);
        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            tsn_alert_rule_state_init(&groups[g].rules[r].alerts, &set->groups[g].rules[r]);
    }
    return groups;
}

static void free_groups(const struct tsn_rule_set *set, struct group_state *groups)
{
    for (size_t g = 0; g < set->group_count; g++) {
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            tsn_alert_rule_state_release(&groups[g].rules[r].alerts);
            series_set_release(&groups[g].rules[r].given);
            tsn_free(groups[g].rules[r].error);
        }
        series_set_release(&groups[g].orphans);
        tsn_free(groups[g].rules);
    }
    tsn_free(groups);
}

/* Groups of one query_offset step at the same times: they share what is equal in them. */
static uint32_t lane_of(const struct tsn_rule_set *set, size_t g)
{
    uint32_t lane = 0;

    while (set->groups[lane].query_offset_ms != set->groups[g].query_offset_ms)
        lane++;
    return lane;
}

static void drop_plans(struct tsn_rule_evaluator *ev)
{
    if (ev->plans)
        tsn_memstore_detach(ev->options.stream, ev->plans);
    tsn_plans_free(&ev->plans);
}

static void make_plans(struct tsn_rule_evaluator *ev)
{
    if (!ev->options.stream)
        return;
    ev->plans = tsn_plans_new(&ev->options.eval);
    tsn_memstore_attach(ev->options.stream, ev->plans);
    for (size_t g = 0; g < ev->set->group_count; g++)
        for (size_t r = 0; r < ev->set->groups[g].rule_count; r++)
            ev->groups[g].rules[r].plan = tsn_plans_add(ev->plans, ev->set->groups[g].rules[r].query, 0,
                                                        lane_of(ev->set, g));
}

struct tsn_rule_evaluator *tsn_rule_evaluator_new(const struct tsn_rule_set *set,
                                                  const struct tsn_rule_eval_options *options)
{
    struct tsn_rule_evaluator *ev = tsn_calloc(1, sizeof *ev);

    ev->set = set;
    ev->options = *options;
    ev->groups = new_groups(set);
    make_plans(ev);
    return ev;
}

void tsn_rule_evaluator_free(struct tsn_rule_evaluator **evaluator)
{
    if (!*evaluator)
        return;
    drop_plans(*evaluator);
    free_groups((*evaluator)->set, (*evaluator)->groups);
    tsn_free(*evaluator);
    *evaluator = NULL;
}

const char *tsn_rule_evaluator_error(const struct tsn_rule_evaluator *ev, size_t group, size_t rule)
{
    return ev->groups[group].rules[rule].error;
}

struct tsn_plans_stats tsn_rule_evaluator_stats(const struct tsn_rule_evaluator *ev)
{
    return ev->plans ? tsn_plans_stats(ev->plans) : (struct tsn_plans_stats){ 0 };
}

const struct tsn_alert_rule_state *tsn_rule_evaluator_alerts(const struct tsn_rule_evaluator *ev, size_t group,
                                                             size_t rule)
{
    return ev->set->groups[group].rules[rule].is_alert ? &ev->groups[group].rules[rule].alerts : NULL;
}

static bool same_rule(const struct tsn_rule *a, const struct tsn_rule *b)
{
    if (strcmp(a->name, b->name) != 0 || a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (strcmp(a->labels[i].name, b->labels[i].name) != 0 ||
            strcmp(a->labels[i].value, b->labels[i].value) != 0)
            return false;
    return true;
}

static void move_rule(struct rule_state *to, const struct tsn_rule *new_rule, struct rule_state *from,
                      const struct tsn_rule *old_rule)
{
    to->given = from->given;
    memset(&from->given, 0, sizeof from->given);
    if (!new_rule->is_alert || !old_rule->is_alert)
        return;
    to->alerts = from->alerts;
    to->alerts.rule = new_rule;
    tsn_alert_rule_state_init(&from->alerts, old_rule);
}

static void move_group(const struct tsn_group *to, struct group_state *to_state, const struct tsn_group *from,
                       struct group_state *from_state)
{
    bool *taken = tsn_calloc(from->rule_count, sizeof *taken);

    for (size_t i = 0; i < to->rule_count; i++)
        for (size_t k = 0; k < from->rule_count; k++)
            if (!taken[k] && same_rule(&to->rules[i], &from->rules[k])) {
                move_rule(&to_state->rules[i], &to->rules[i], &from_state->rules[k], &from->rules[k]);
                taken[k] = true;
                break;
            }
    to_state->orphans = from_state->orphans;
    memset(&from_state->orphans, 0, sizeof from_state->orphans);
    for (size_t k = 0; k < from->rule_count; k++) {
        for (size_t i = 0; i < from_state->rules[k].given.len; i++)
            tsn_vec_push(&to_state->orphans, tsn_labels_ref(from_state->rules[k].given.items[i]));
        series_set_release(&from_state->rules[k].given);
    }
    tsn_free(taken);
}

void tsn_rule_evaluator_reload(struct tsn_rule_evaluator *ev, const struct tsn_rule_set *set, int64_t ts_ms)
{
    struct group_state *groups = new_groups(set);

    for (size_t n = 0; n < set->group_count; n++)
        for (size_t o = 0; o < ev->set->group_count; o++)
            if (strcmp(set->groups[n].name, ev->set->groups[o].name) == 0 &&
                strcmp(set->groups[n].file, ev->set->groups[o].file) == 0)
                move_group(&set->groups[n], &groups[n], &ev->set->groups[o], &ev->groups[o]);
    for (size_t o = 0; o < ev->set->group_count; o++) /* what nobody took over ends now */
        for (size_t r = 0; r < ev->set->groups[o].rule_count; r++)
            for (size_t i = 0; i < ev->groups[o].rules[r].given.len; i++)
                mark_stale(ev, ev->groups[o].rules[r].given.items[i],
                           ts_ms - ev->set->groups[o].query_offset_ms);
    drop_plans(ev); /* windows are filled anew: what is kept is a function of the samples */
    free_groups(ev->set, ev->groups);
    ev->set = set;
    ev->groups = groups;
    make_plans(ev);
}
