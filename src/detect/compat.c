/*
 * compat: after a takeover, alerts as a Prometheus server has them after a restart, where that is asked for
 * (`prometheus_restore`); without it what `state` says goes on as if nothing had been.
 *
 *   takeover        every instance is put aside; rules start with none
 *   evaluation 1    what is true is pending anew (or firing, without `for`); ALERTS is not written
 *   evaluation 2    `for` is restored from what was put aside: active_at, and the last step as the time it was
 *                   seen at (the sample of ALERTS_FOR_STATE); from here on ALERTS is written
 *   evaluation 3 …  what was firing, and is still true, fires again
 *
 * A server stops sending what does not come back, and its Alertmanager ends it after a time. Here its end is told
 * once it is known: what was firing and is gone at evaluation 2, or later before it fires again.
 * Until then the records in `state` stand as they were, so a second takeover meets the same past.
 *
 * What DETECT gives then depends on when it was restarted: the price of the comparison.
 * Source: reference semantics 40; RestoreForState in rules/group.go of Prometheus 3.16.
 */
#include "detect/detect_int.h"

struct before {
    struct tsn_alert_rule_state alerts; /* what was active; sorted */
    int64_t seen_ms;
    unsigned evaluations; /* since */
};

enum { RESTORED_AT = 2 }; /* the evaluation after which */

void tsn_compat_free(struct rule_run *run)
{
    if (!run->before)
        return;
    tsn_alert_rule_state_release(&run->before->alerts);
    tsn_free(run->before);
    run->before = NULL;
}

void tsn_compat_put_aside(struct rule_run *run, int64_t seen_ms)
{
    struct before *before;

    if (!run->rule->is_alert)
        return;
    tsn_compat_free(run);
    before = run->before = tsn_calloc(1, sizeof *before);
    before->alerts = run->alerts;
    before->seen_ms = seen_ms;
    tsn_alert_rule_state_init(&run->alerts, run->rule);
}

bool tsn_compat_restoring(const struct rule_run *run)
{
    return run->before && run->before->evaluations < RESTORED_AT;
}

static struct tsn_alert_instance *find(struct tsn_alert_rule_state *state, const struct tsn_labels *labels)
{
    for (size_t i = 0; i < state->len; i++)
        if (tsn_labels_equal(state->items[i].labels, labels))
            return &state->items[i];
    return NULL;
}

bool tsn_compat_holds(const struct rule_run *run, const struct tsn_labels *labels)
{
    return run->before && (tsn_compat_restoring(run) || find(&run->before->alerts, labels));
}

static void restore(struct rule_run *run, int64_t ts_ms)
{
    const struct before *before = run->before;

    for (size_t i = 0; i < before->alerts.len; i++) {
        const struct tsn_alert_instance *was = &before->alerts.items[i];
        struct tsn_alert_instance *now = find(&run->alerts, was->labels);

        if (now && now->state != TSN_ALERT_INACTIVE && was->state != TSN_ALERT_INACTIVE)
            now->active_at_ms = tsn_alert_restored_active_at(run->rule->for_ms, was->active_at_ms, before->seen_ms, ts_ms,
                                                             now->active_at_ms);
    }
}

/* Is nothing more to be told of it? */
static bool settled(struct tsn_detect *d, struct rule_run *run, const struct tsn_group *group,
                    const struct tsn_alert_instance *was, int64_t ts_ms, struct tsn_detect_output *out)
{
    const struct tsn_alert_instance *now = find(&run->alerts, was->labels);
    struct tsn_alert_change change = { was->state, TSN_ALERT_RESOLVED, was };

    if (was->state != TSN_ALERT_FIRING || (now && now->state == TSN_ALERT_FIRING))
        return true;
    if (now && now->state == TSN_ALERT_PENDING)
        return false;
    tsn_detect_emit(d, group, run->rule, &change, TSN_END_CONDITION, ts_ms, false, out);
    return true;
}

void tsn_compat_evaluated(struct tsn_detect *d, struct rule_run *run, const struct tsn_group *group, int64_t ts_ms,
                          struct tsn_detect_output *out)
{
    struct before *before = run->before;
    size_t kept = 0;

    if (!before || ++before->evaluations < RESTORED_AT)
        return;
    if (before->evaluations == RESTORED_AT)
        restore(run, ts_ms);
    for (size_t i = 0; i < before->alerts.len; i++) {
        struct tsn_alert_instance *was = &before->alerts.items[i];

        if (!settled(d, run, group, was, ts_ms, out)) {
            before->alerts.items[kept++] = *was;
            continue;
        }
        tsn_labels_unref(was->labels);
        tsn_labels_unref(was->annotations);
    }
    before->alerts.len = kept;
    if (!kept)
        tsn_compat_free(run);
}

void tsn_compat_each(const struct rule_run *run, void (*visit)(const struct tsn_alert_instance *, void *), void *arg)
{
    for (size_t i = 0; run->before && i < run->before->alerts.len; i++)
        visit(&run->before->alerts.items[i], arg);
}
