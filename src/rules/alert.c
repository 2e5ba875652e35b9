/*
 * alert: the life of alert instances, and what a recording rule makes of its vector.
 *
 * One step takes the expression's vector and gives what changed. Both sides, the instances kept and
 * the elements of the vector, are sorted by their labels and merged in one walk, so the order of
 * changes is that of the labels whatever the order of the input.
 *
 *     kept:   a  b     d        (a: refreshed · b: gone → pending deleted, firing resolved or kept
 *     vector: a     c  d         by keep_firing_for · c: new, pending · d: resolved before → anew)
 *
 * Guarantees: an error leaves instances as they were, save the limit, which drops them all as
 * Prometheus does and reports their ends. Cost O(n log n) in the vector, plus templates.
 * Source: reference semantics 30–37 (Prometheus 3.16, rules/alerting.go).
 */
#include "tocsin/rules.h"

#include <stdlib.h>
#include <string.h>

/* An element of the vector with its identity worked out. */
struct candidate {
    struct tsn_labels *labels, *annotations;
    double value;
};

static void instance_release(struct tsn_alert_instance *instance)
{
    tsn_labels_unref(instance->labels);
    tsn_labels_unref(instance->annotations);
}

void tsn_alert_rule_state_init(struct tsn_alert_rule_state *state, const struct tsn_rule *rule)
{
    memset(state, 0, sizeof *state);
    state->rule = rule;
}

static void clear_gone(struct tsn_alert_rule_state *state)
{
    for (size_t i = 0; i < state->gone_len; i++)
        instance_release(&state->gone[i]);
    state->gone_len = 0;
}

void tsn_alert_rule_state_release(struct tsn_alert_rule_state *state)
{
    clear_gone(state);
    for (size_t i = 0; i < state->len; i++)
        instance_release(&state->items[i]);
    tsn_free(state->items);
    tsn_free(state->gone);
    memset(state, 0, sizeof *state);
}

void tsn_alert_changes_release(struct tsn_alert_changes *changes)
{
    tsn_vec_release(changes);
}

/* ---- from element to candidate ------------------------------------------------------------ */

static void expand(const struct tsn_rule_text *text, const struct tsn_template_env *env, struct tsn_buf *out)
{
    struct tsn_error error = { 0 };

    tsn_buf_reset(out);
    if (!text->tmpl)
        tsn_buf_puts(out, text->value);
    else if (tsn_template_run(text->tmpl, env, out, &error) != TSN_OK) {
        tsn_buf_reset(out);
        tsn_buf_printf(out, "<error expanding template: %s>", error.message);
    }
}

static void make_candidate(const struct tsn_rule *rule, const struct tsn_vector_sample *sample,
                           struct tsn_template_env *env, struct tsn_labels_builder *builder,
                           struct tsn_buf *text, struct candidate *out)
{
    env->labels = sample->labels;
    env->value = sample->value;
    tsn_labels_builder_from(builder, sample->labels);
    tsn_labels_builder_del(builder, "__name__");
    for (size_t i = 0; i < rule->label_count; i++) {
        expand(&rule->labels[i], env, text);
        tsn_labels_builder_setn(builder, rule->labels[i].name, strlen(rule->labels[i].name),
                                tsn_buf_str(text), text->len);
    }
    tsn_labels_builder_set(builder, "alertname", rule->name);
    out->labels = tsn_labels_builder_finish(builder);
    for (size_t i = 0; i < rule->annotation_count; i++) {
        expand(&rule->annotations[i], env, text);
        tsn_labels_builder_setn(builder, rule->annotations[i].name, strlen(rule->annotations[i].name),
                                tsn_buf_str(text), text->len);
    }
    out->annotations = tsn_labels_builder_finish(builder);
    out->value = sample->value;
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    return tsn_labels_compare(x->labels, y->labels);
}

static void free_candidates(struct candidate *candidates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tsn_labels_unref(candidates[i].labels);
        tsn_labels_unref(candidates[i].annotations);
    }
    tsn_free(candidates);
}

/* Sorted candidates, or NULL with *error when two have one identity. */
static struct candidate *make_candidates(const struct tsn_rule *rule, int64_t ts_ms,
                                         const struct tsn_vector_sample *vector, size_t count,
                                         const struct tsn_alert_eval_env *eval, struct tsn_error *error)
{
    struct tsn_template_env env = { .external_labels = eval ? eval->external_labels : NULL,
                                    .external_url = eval ? eval->external_url : NULL,
                                    .now_ms = ts_ms,
                                    .query = eval ? eval->query : NULL,
                                    .query_arg = eval ? eval->query_arg : NULL };
    struct candidate *candidates = tsn_calloc(count, sizeof *candidates);
    struct tsn_labels_builder builder;
    struct tsn_buf text = TSN_BUF_INIT;
    bool duplicate = false;

    tsn_labels_builder_init(&builder);
    for (size_t i = 0; i < count; i++)
        make_candidate(rule, &vector[i], &env, &builder, &text, &candidates[i]);
    tsn_labels_builder_release(&builder);
    tsn_buf_release(&text);
    if (count > 1)
        qsort(candidates, count, sizeof *candidates, compare_candidates);
    for (size_t i = 1; i < count && !duplicate; i++)
        duplicate = tsn_labels_equal(candidates[i - 1].labels, candidates[i].labels);
    if (!duplicate)
        return candidates;
    free_candidates(candidates, count);
    tsn_error_set(error, TSN_ERR_INVALID,
                  "vector contains metrics with the same labelset after applying alert labels");
    return NULL;
}

/* ---- one step ----------------------------------------------------------------------------- */

/* A change of items[index] or gone[index]; a pointer only once the vectors stand still. */
struct pending_change {
    enum tsn_alert_state was, now;
    bool in_gone;
    size_t index;
};

/* The instances after the step, while they are put together. */
struct merge {
    TSN_VEC(struct tsn_alert_instance) items;
    TSN_VEC(struct tsn_alert_instance) gone;
    TSN_VEC(struct pending_change) changes;
    int64_t ts_ms;
    size_t active; /* pending + firing */
    const struct tsn_rule *rule;
};

static void note(struct merge *m, enum tsn_alert_state was, enum tsn_alert_state now, bool in_gone)
{
    struct pending_change change = { was, now, in_gone, (in_gone ? m->gone.len : m->items.len) - 1 };

    tsn_vec_push(&m->changes, change);
}

/* Pending and firing by `for`; a lengthened `for` takes a firing one back. */
static void settle(struct merge *m, struct tsn_alert_instance instance, enum tsn_alert_state was)
{
    bool due = m->ts_ms - instance.active_at_ms >= m->rule->for_ms;

    m->active++;
    if (instance.state == TSN_ALERT_PENDING && due) {
        instance.state = TSN_ALERT_FIRING;
        instance.fired_at_ms = m->ts_ms;
    } else if (instance.state == TSN_ALERT_FIRING && !due) {
        instance.state = TSN_ALERT_PENDING;
        instance.fired_at_ms = TSN_TIME_NONE;
        instance.keep_firing_since_ms = TSN_TIME_NONE;
    }
    tsn_vec_push(&m->items, instance);
    if (instance.state != was)
        note(m, was, instance.state, false);
}

static void add_new(struct merge *m, struct candidate *c, uint64_t step)
{
    struct tsn_alert_instance instance = { .labels = c->labels,
                                           .annotations = c->annotations,
                                           .state = TSN_ALERT_PENDING,
                                           .value = c->value,
                                           .active_at_ms = m->ts_ms,
                                           .fired_at_ms = TSN_TIME_NONE,
                                           .resolved_at_ms = TSN_TIME_NONE,
                                           .keep_firing_since_ms = TSN_TIME_NONE,
                                           .seen_step = step };

    c->labels = c->annotations = NULL;
    settle(m, instance, TSN_ALERT_INACTIVE);
}

static void refresh(struct merge *m, struct tsn_alert_instance *old, struct candidate *c, uint64_t step)
{
    if (old->state == TSN_ALERT_INACTIVE) {
        instance_release(old);
        add_new(m, c, step);
        return;
    }
    tsn_labels_unref(old->annotations);
    old->annotations = c->annotations;
    c->annotations = NULL;
    old->value = c->value;
    old->keep_firing_since_ms = TSN_TIME_NONE;
    old->seen_step = step;
    settle(m, *old, old->state);
}

static void absent(struct merge *m, struct tsn_alert_instance *old)
{
    if (old->state == TSN_ALERT_PENDING) {
        old->state = TSN_ALERT_INACTIVE;
        old->resolved_at_ms = m->ts_ms;
        tsn_vec_push(&m->gone, *old);
        note(m, TSN_ALERT_PENDING, TSN_ALERT_RESOLVED, true);
        return;
    }
    if (old->state == TSN_ALERT_FIRING && m->rule->keep_firing_for_ms > 0) {
        if (old->keep_firing_since_ms == TSN_TIME_NONE)
            old->keep_firing_since_ms = m->ts_ms;
        if (m->ts_ms - old->keep_firing_since_ms < m->rule->keep_firing_for_ms) {
            settle(m, *old, TSN_ALERT_FIRING);
            return;
        }
    }
    if (old->state == TSN_ALERT_FIRING) {
        old->state = TSN_ALERT_INACTIVE;
        old->resolved_at_ms = m->ts_ms;
        tsn_vec_push(&m->items, *old);
        note(m, TSN_ALERT_FIRING, TSN_ALERT_RESOLVED, false);
    } else if (m->ts_ms - old->resolved_at_ms > TSN_ALERT_RESOLVED_RETENTION_MS) {
        instance_release(old);
    } else {
        tsn_vec_push(&m->items, *old);
    }
}

static void merge_all(struct merge *m, struct tsn_alert_rule_state *state, struct candidate *candidates,
                      size_t count)
{
    size_t i = 0, j = 0;

    while (i < state->len || j < count) {
        int order = i == state->len ? 1
                    : j == count    ? -1
                                    : tsn_labels_compare(state->items[i].labels, candidates[j].labels);
        if (order < 0)
            absent(m, &state->items[i++]);
        else if (order > 0)
            add_new(m, &candidates[j++], state->step);
        else
            refresh(m, &state->items[i++], &candidates[j++], state->step);
    }
}

static void publish(struct merge *m, struct tsn_alert_rule_state *state, struct tsn_alert_changes *changes)
{
    tsn_free(state->items);
    tsn_free(state->gone);
    state->items = m->items.items;
    state->len = m->items.len;
    state->cap = m->items.cap;
    state->gone = m->gone.items;
    state->gone_len = m->gone.len;
    state->gone_cap = m->gone.cap;
    for (size_t i = 0; i < m->changes.len; i++) {
        const struct pending_change *p = &m->changes.items[i];
        struct tsn_alert_change change = { p->was, p->now, &(p->in_gone ? state->gone : state->items)[p->index] };

        tsn_vec_push(changes, change);
    }
    tsn_vec_release(&m->changes);
}

/* How many instances would be active after the step: decides the limit before anything moves. */
static size_t count_active(const struct tsn_alert_rule_state *state, const struct candidate *candidates,
                           size_t count, int64_t ts_ms)
{
    size_t active = count, j = 0;

    for (size_t i = 0; i < state->len; i++) {
        const struct tsn_alert_instance *a = &state->items[i];
        int64_t since = a->keep_firing_since_ms == TSN_TIME_NONE ? ts_ms : a->keep_firing_since_ms;

        while (j < count && tsn_labels_compare(candidates[j].labels, a->labels) < 0)
            j++;
        if (j < count && tsn_labels_equal(candidates[j].labels, a->labels))
            continue;
        active += a->state == TSN_ALERT_FIRING && state->rule->keep_firing_for_ms > 0 &&
                  ts_ms - since < state->rule->keep_firing_for_ms;
    }
    return active;
}

/* The limit: every instance goes; those that were active are reported as ended. */
static enum tsn_err drop_all(struct tsn_alert_rule_state *state, int64_t ts_ms, int64_t limit, size_t active,
                             struct tsn_alert_changes *changes, struct tsn_error *error)
{
    struct merge m = { .ts_ms = ts_ms, .rule = state->rule };

    for (size_t i = 0; i < state->len; i++) {
        enum tsn_alert_state was = state->items[i].state;

        if (was == TSN_ALERT_INACTIVE) {
            instance_release(&state->items[i]);
            continue;
        }
        state->items[i].state = TSN_ALERT_INACTIVE;
        state->items[i].resolved_at_ms = ts_ms;
        tsn_vec_push(&m.gone, state->items[i]);
        note(&m, was, TSN_ALERT_RESOLVED, true);
    }
    publish(&m, state, changes);
    return tsn_error_set(error, TSN_ERR_LIMIT, "exceeded limit of %lld with %zu alerts", (long long)limit, active);
}

enum tsn_err tsn_alert_rule_step(struct tsn_alert_rule_state *state, int64_t ts_ms,
                                 const struct tsn_vector_sample *vector, size_t count,
                                 const struct tsn_alert_eval_env *env, struct tsn_alert_changes *changes,
                                 struct tsn_error *error)
{
    struct merge m = { .ts_ms = ts_ms, .rule = state->rule };
    struct candidate *candidates;
    enum tsn_err err = TSN_OK;
    size_t active;

    tsn_vec_clear(changes);
    candidates = make_candidates(state->rule, ts_ms, vector, count, env, error);
    if (!candidates)
        return TSN_ERR_INVALID;
    clear_gone(state);
    state->step++;
    active = count_active(state, candidates, count, ts_ms);
    if (env && env->limit > 0 && active > (size_t)env->limit) {
        err = drop_all(state, ts_ms, env->limit, active, changes, error);
    } else {
        merge_all(&m, state, candidates, count);
        publish(&m, state, changes);
    }
    free_candidates(candidates, count);
    return err;
}

/* ---- as Prometheus restores --------------------------------------------------------------- */

enum { OUTAGE_TOLERANCE_MS = 3600 * 1000, FOR_GRACE_MS = 600 * 1000 }; /* Prometheus's defaults */

int64_t tsn_alert_restored_active_at(int64_t for_ms, int64_t was_ms, int64_t seen_ms, int64_t now_ms, int64_t anew_ms)
{
    int64_t active_ms = was_ms - (was_ms % 1000 + 1000) % 1000; /* ALERTS_FOR_STATE is in whole seconds */
    int64_t remaining_ms = for_ms - (seen_ms - active_ms);

    if (for_ms < FOR_GRACE_MS || now_ms - seen_ms > OUTAGE_TOLERANCE_MS)
        return anew_ms;
    if (remaining_ms <= 0) /* it was firing: it fires at the next evaluation */
        return active_ms;
    if (remaining_ms < FOR_GRACE_MS)
        return now_ms + FOR_GRACE_MS - for_ms;
    return active_ms + (now_ms - seen_ms);
}

/* ---- recording rules ---------------------------------------------------------------------- */

void tsn_vector_samples_free(struct tsn_vector_sample *vector, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tsn_labels_unref(vector[i].labels);
    tsn_free(vector);
}

static int compare_samples(const void *a, const void *b)
{
    const struct tsn_vector_sample *x = a, *y = b;

    return tsn_labels_compare(x->labels, y->labels);
}

enum tsn_err tsn_record_rule_apply(const struct tsn_rule *rule, const struct tsn_vector_sample *vector,
                                   size_t count, struct tsn_vector_sample **out, size_t *out_count,
                                   struct tsn_error *error)
{
    struct tsn_vector_sample *result = tsn_calloc(count, sizeof *result);
    struct tsn_labels_builder builder;

    tsn_labels_builder_init(&builder);
    for (size_t i = 0; i < count; i++) {
        tsn_labels_builder_from(&builder, vector[i].labels);
        tsn_labels_builder_set(&builder, "__name__", rule->name);
        for (size_t k = 0; k < rule->label_count; k++)
            tsn_labels_builder_set(&builder, rule->labels[k].name, rule->labels[k].value);
        result[i] = vector[i];
        result[i].labels = tsn_labels_builder_finish(&builder);
    }
    tsn_labels_builder_release(&builder);
    if (count > 1)
        qsort(result, count, sizeof *result, compare_samples);
    *out = NULL;
    *out_count = 0;
    for (size_t i = 1; i < count; i++)
        if (tsn_labels_equal(result[i - 1].labels, result[i].labels)) {
            tsn_vector_samples_free(result, count);
            return tsn_error_set(error, TSN_ERR_INVALID,
                                 "vector contains metrics with the same labelset after applying rule labels");
        }
    *out = result;
    *out_count = count;
    return TSN_OK;
}
