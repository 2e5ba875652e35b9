/*
 * steps: one step of one unit. Rules in file order, each by its plan over the partition's
 * series; what a rule gives goes back into the series as rule_eval.h does it (the two must agree:
 * tests/unit/test_detect.c compares them).
 *
 * In a refill steps only move the clocks: what the rules gave then is in state.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

#include "tocsin/rule_eval.h"

/* ---- why an alert ended ------------------------------------------------------------------- */

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

/* Only these are complete up to a step of the unit: what other inputs bring may have come by then or not. */
static bool unit_reads(const struct unit *unit, const struct tsn_labels *series)
{
    for (size_t i = 0; i < unit->selectors.len; i++)
        if (tsn_matchers_match(unit->selectors.items[i].matchers, unit->selectors.items[i].matcher_count, series))
            return true;
    return false;
}

static enum tsn_end_reason end_reason(struct tsn_detect *d, const struct unit *unit, const struct tsn_rule *rule,
                                      const struct tsn_labels *alert, int64_t step_ms)
{
    struct liveness look = { d, { &d->store, unit->place < 0, d->floor_ms, d }, alert, step_ms, false };
    const char *shard = tsn_labels_get(alert, d->opt.shard_label);

    tsn_expr_walk(rule->query->root, any_live, &look);
    if (look.live)
        return TSN_END_CONDITION;
    for (size_t i = 0; i < d->store.all.len; i++) {
        const struct series *s = d->store.all.items[i];
        const char *of = tsn_labels_get(s->labels, d->opt.shard_label);

        if ((!s->derived || s->mined) && (!shard || (of && strcmp(of, shard) == 0)) &&
            tsn_series_live(s, step_ms, d->opt.lookback_ms) && unit_reads(unit, s->labels))
            return TSN_END_SERIES_GONE;
    }
    return tsn_detect_all_idle(d) ? TSN_END_PARTITION_IDLE : TSN_END_PRODUCER_SILENT;
}

/* ---- what a rule gives, into the series --------------------------------------------------- */

static bool write_derived(struct tsn_detect *d, struct series *s, int64_t ts_ms, double value)
{
    if (s->samples.len == s->samples.cap)
        tsn_series_room(s, 1, tsn_detect_needless_of(d, s));
    if (!tsn_series_append(s, ts_ms, value))
        return false;
    tsn_store_touch(&d->store, s);
    if (s->more->dirty_ms == TSN_TIME_NONE)
        tsn_vec_push(&d->dirty, s);
    if (s->more->dirty_ms == TSN_TIME_NONE || ts_ms < s->more->dirty_ms)
        s->more->dirty_ms = ts_ms;
    return true;
}

void tsn_detect_let_go(struct tsn_detect *d, struct series *s, int64_t ts_ms)
{
    s->refs--;
    (void)write_derived(d, s, ts_ms, tsn_stale());
}

struct given {
    TSN_VEC(struct series *) items;
    bool conflict;
};

/* Writes one sample; the rule holds the series until a good step that does not give it. */
static void give(struct tsn_detect *d, struct given *given, struct tsn_labels *labels, int64_t ts_ms, double value)
{
    struct series *s = tsn_store_get(&d->store, labels->id);

    if (!s) {
        s = tsn_store_add(&d->store, labels, TSN_GAUGE);
        tsn_series_derive(s);
        tsn_detect_attach_series(d, s);
    }
    if (!write_derived(d, s, ts_ms, value)) {
        given->conflict = true;
        return;
    }
    s->more->mark = d->step_mark;
    s->refs++;
    tsn_vec_push(&given->items, s);
}

/* Series given at the last good step and not at this one end here. */
static void replace_given(struct tsn_detect *d, struct rule_run *run, struct given *given, int64_t ts_ms)
{
    for (size_t i = 0; i < run->written.len; i++) {
        if (run->written.items[i]->more->mark == d->step_mark)
            run->written.items[i]->refs--;
        else
            tsn_detect_let_go(d, run->written.items[i], ts_ms);
    }
    tsn_vec_release(&run->written);
    run->written.items = given->items.items;
    run->written.len = given->items.len;
    run->written.cap = given->items.cap;
}

static void write_alert_series(struct tsn_detect *d, struct rule_run *run, struct given *given, int64_t ts_ms)
{
    for (size_t i = 0; i < run->alerts.len; i++) {
        const struct tsn_alert_instance *in = &run->alerts.items[i];
        int64_t seconds = in->active_at_ms / 1000 - (in->active_at_ms % 1000 < 0);
        struct tsn_labels *labels;

        if (in->state == TSN_ALERT_INACTIVE)
            continue;
        labels = tsn_alert_series_labels(in);
        give(d, given, labels, ts_ms, 1);
        tsn_labels_unref(labels);
        labels = tsn_alert_for_state_labels(in);
        give(d, given, labels, ts_ms, (double)seconds);
        tsn_labels_unref(labels);
    }
}

/* ---- one rule ----------------------------------------------------------------------------- */

struct query_env {
    struct tsn_detect *d;
    struct tsn_storage storage;
    int64_t at_ms;
};

static enum tsn_err evaluate(const struct query_env *env, const struct tsn_query *query, struct tsn_result *out,
                             struct tsn_error *error)
{
    struct tsn_eval_options options = { .lookback_ms = env->d->opt.lookback_ms,
                                        .max_samples = env->d->opt.max_samples,
                                        .start_ms = env->at_ms,
                                        .end_ms = env->at_ms };
    enum tsn_err err = tsn_eval_instant(query, &env->storage, env->at_ms, &options, out, error);

    return err ? err : tsn_rule_vector_of(out, env->at_ms, error);
}

/* By the rule's plan: the same answer, to the bit. */
static enum tsn_err evaluate_rule(const struct query_env *env, const struct rule_run *run, struct tsn_result *out,
                                  struct tsn_error *error)
{
    enum tsn_err err;

    if (env->d->opt.naive || !run->plan)
        return evaluate(env, run->rule->query, out, error);
    err = tsn_plan_step(run->plan, &env->storage, env->at_ms, env->d->floor_ms, out, error);
    return err ? err : tsn_rule_vector_of(out, env->at_ms, error);
}

static enum tsn_err query_from_template(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error)
{
    struct query_env env = *(struct query_env *)arg;
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    enum tsn_err err;

    if (!query)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s", parse.message);
    err = evaluate(&env, query, out, error);
    tsn_query_free(&query);
    return err;
}

static void rule_failed(struct tsn_detect *d, struct rule_run *run, enum tsn_err err, const char *message)
{
    d->stats.rule_errors++;
    d->stats.rule_limit_hits += err == TSN_ERR_LIMIT;
    run->errors++;
    tsn_free(run->last_error);
    run->last_error = tsn_strdup(message);
}

/* What a step of a rule is about. */
struct rule_step {
    struct unit *unit;
    const struct tsn_group *group;
    struct rule_run *run;
    int64_t ts_ms, at_ms; /* the step; less the group's query offset */
};

static void emit_changes(struct tsn_detect *d, const struct rule_step *step, const struct tsn_alert_changes *changes,
                         struct tsn_detect_output *out)
{
    bool warming = step->unit->warm_until_ms != TSN_TIME_NONE && step->ts_ms < step->unit->warm_until_ms;

    for (size_t i = 0; i < changes->len; i++) {
        const struct tsn_alert_change *change = &changes->items[i];
        enum tsn_end_reason reason = TSN_END_NONE;

        if (change->now == TSN_ALERT_RESOLVED)
            reason = end_reason(d, step->unit, step->run->rule, change->instance->labels, step->at_ms);
        tsn_detect_emit(d, step->group, step->run->rule, change, reason, step->ts_ms, warming, out);
    }
}

static void apply_alerts(struct tsn_detect *d, const struct rule_step *step, struct query_env *query,
                         const struct tsn_result *result, struct tsn_detect_output *out)
{
    struct tsn_alert_eval_env env = { d->opt.external_labels, d->opt.external_url, query_from_template, query,
                                      step->group->limit };
    struct tsn_alert_changes changes = { 0 };
    struct given given = { 0 };
    struct tsn_error error = { 0 };
    enum tsn_err err = tsn_alert_rule_step(&step->run->alerts, step->ts_ms, result->vector, result->vector_len, &env,
                                           &changes, &error);

    emit_changes(d, step, &changes, out);
    tsn_alert_changes_release(&changes);
    if (err) {
        rule_failed(d, step->run, err, error.message);
        return;
    }
    if (!d->alerts_read || tsn_compat_restoring(step->run))
        return;
    write_alert_series(d, step->run, &given, step->at_ms);
    replace_given(d, step->run, &given, step->at_ms);
}

static void apply_record(struct tsn_detect *d, const struct rule_step *step, const struct tsn_result *result)
{
    struct tsn_vector_sample *written = NULL;
    struct tsn_error error = { 0 };
    struct given given = { 0 };
    size_t count = 0;

    if (tsn_record_rule_apply(step->run->rule, result->vector, result->vector_len, &written, &count, &error)) {
        rule_failed(d, step->run, TSN_ERR_INVALID, error.message);
        return;
    }
    if (step->group->limit > 0 && count > (size_t)step->group->limit) {
        tsn_error_set(&error, TSN_ERR_LIMIT, "exceeded limit of %lld with %zu series", (long long)step->group->limit,
                      count);
        rule_failed(d, step->run, TSN_ERR_LIMIT, error.message);
        tsn_vector_samples_free(written, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        give(d, &given, written[i].labels, step->at_ms, written[i].value);
    tsn_vector_samples_free(written, count);
    if (given.conflict)
        rule_failed(d, step->run, TSN_ERR_CONFLICT, "another rule gave a series of this rule at the same time another value");
    replace_given(d, step->run, &given, step->at_ms);
}

static void run_rule(struct tsn_detect *d, const struct rule_step *step, struct tsn_detect_output *out)
{
    struct store_view view = { &d->store, step->unit->place < 0, d->floor_ms, d };
    struct query_env query = { d, { tsn_store_select, &view }, step->at_ms };
    struct rule_run *run = step->run;
    struct tsn_result result;
    struct tsn_error error = { 0 };
    enum tsn_err err;

    d->stats.rule_evaluations++;
    run->evaluations++;
    d->step_mark++;
    tsn_result_init(&result);
    err = evaluate_rule(&query, run, &result, &error);
    if (!err && result.vector_len > d->opt.max_output)
        err = tsn_error_set(&error, TSN_ERR_LIMIT, "gives %zu elements, more than the limit of %zu", result.vector_len,
                            d->opt.max_output);
    if (err) {
        rule_failed(d, run, err, error.message);
    } else {
        run->last_count = result.vector_len;
        run->ever_matched |= result.vector_len > 0;
        if (run->rule->is_alert)
            apply_alerts(d, step, &query, &result, out);
        else
            apply_record(d, step, &result);
    }
    tsn_compat_evaluated(d, run, step->group, step->ts_ms, out);
    tsn_result_release(&result);
}

/* ---- steps -------------------------------------------------------------------------------- */

static bool reads(const struct series *s, uint32_t unit)
{
    for (uint32_t i = 0; i < s->readers->count; i++)
        if (s->readers->items[i].unit == unit)
            return true;
    return false;
}

/* Folds the panes that this step has passed, of the series that the unit reads. */
static void close_panes(struct tsn_detect *d, uint32_t unit, int64_t ts_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->store.open.len; i++) {
        struct series *s = d->store.open.items[i];

        if (reads(s, unit))
            tsn_detect_close_series(d, s, ts_ms);
        if (tsn_panes_any(&s->panes) || s->life.birth_ms != TSN_TIME_NONE)
            d->store.open.items[kept++] = s;
        else
            s->listed = false;
    }
    d->store.open.len = kept;
}

static void end_orphans(struct tsn_detect *d, struct group_run *group, int64_t at_ms)
{
    for (size_t i = 0; i < group->orphans.len; i++)
        tsn_detect_let_go(d, group->orphans.items[i], at_ms);
    tsn_vec_release(&group->orphans);
}

static void step_unit(struct tsn_detect *d, uint32_t u, int64_t ts_ms, struct tsn_detect_output *out)
{
    struct unit *unit = &d->units[u];

    unit->last_step_ms = ts_ms;
    tsn_mining_step(d, u, ts_ms);
    if (d->refill_until)
        return;
    close_panes(d, u, ts_ms);
    d->stats.steps++;
    for (uint32_t g = 0; g < unit->group_count; g++) {
        const struct tsn_group *group = &d->set->groups[unit->groups[g]];
        struct group_run *run = &d->groups[unit->groups[g]];

        if (ts_ms % group->interval_ms != 0 || ts_ms <= run->done_ms)
            continue;
        for (size_t r = 0; r < group->rule_count; r++) {
            struct rule_step step = { unit, group, run->rules[r], ts_ms, ts_ms - group->query_offset_ms };

            run_rule(d, &step, out);
        }
        end_orphans(d, run, ts_ms - group->query_offset_ms);
    }
}

void tsn_detect_run_steps(struct tsn_detect *d, struct tsn_detect_output *out)
{
    for (;;) {
        uint32_t first = UINT32_MAX;
        int64_t when_ms = INT64_MAX;

        for (uint32_t u = 0; u < d->unit_count; u++) {
            int64_t step_ms;

            if (!d->units[u].here || d->units[u].time_ms == TSN_TIME_NONE)
                continue;
            step_ms = tsn_detect_next_step(d, &d->units[u]);
            if (step_ms <= d->units[u].time_ms && step_ms < when_ms) {
                when_ms = step_ms;
                first = u;
            }
        }
        if (first == UINT32_MAX)
            break;
        step_unit(d, first, when_ms, out);
        tsn_detect_trim(d);
    }
}
