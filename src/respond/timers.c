/*
 * timers: what is due next in an incident, and letting time go on.
 *
 * An incident has one due time, the least of: its deadline to respond (until acknowledged), its
 * deadline to resolve, the climb to the next level, and, when resolved, the end of the reopen window. A
 * deadline is breached once. The climb counts from when the level it stands at was paged, by the clock reading of
 * that moment and not by the due time, so that downtime does not run through the levels at once.
 */
#include "respond/respond_internal.h"

#include <stdio.h>
#include <string.h>

static void consider(enum tsn_due kind, int64_t at, enum tsn_due *best, int64_t *due_ms)
{
    if (at == TSN_TIME_NONE || (*best != TSN_DUE_NONE && at >= *due_ms))
        return;
    *best = kind;
    *due_ms = at;
}

static int64_t climb_at(const struct tsn_respond *r, const struct tsn_respond_incident *in)
{
    const struct tsn_climb *climb = &r->policy->escalation.severities[in->pub.severity].climb[in->pub.level];
    int64_t paged = in->paged_at_ms[in->pub.level], wait = climb->unresolved_ms;

    if (in->pub.level >= TSN_LEVELS || paged == TSN_TIME_NONE)
        return TSN_TIME_NONE;
    if (in->pub.acknowledged_at_ms == TSN_TIME_NONE && climb->unanswered_ms >= 0 &&
        (wait < 0 || climb->unanswered_ms < wait))
        wait = climb->unanswered_ms;
    return wait < 0 ? TSN_TIME_NONE : paged + wait;
}

enum tsn_due tsn_respond_due(const struct tsn_respond *r, const struct tsn_respond_incident *in, int64_t *due_ms)
{
    const struct tsn_incident *pub = &in->pub;
    enum tsn_due best = TSN_DUE_NONE;

    *due_ms = TSN_TIME_NONE;
    if (pub->state == TSN_INCIDENT_RESOLVED) {
        if (!tsn_respond_any_firing(pub))
            consider(TSN_DUE_FORGET, pub->resolved_at_ms + r->policy->escalation.reopen_window_ms, &best, due_ms);
        return best;
    }
    if (pub->acknowledged_at_ms == TSN_TIME_NONE && pub->respond_breached_at_ms == TSN_TIME_NONE)
        consider(TSN_DUE_RESPOND, pub->respond_by_ms, &best, due_ms);
    if (pub->resolve_breached_at_ms == TSN_TIME_NONE)
        consider(TSN_DUE_RESOLVE, pub->resolve_by_ms, &best, due_ms);
    consider(TSN_DUE_CLIMB, climb_at(r, in), &best, due_ms);
    if (best != TSN_DUE_NONE && *due_ms < in->floor_ms)
        *due_ms = in->floor_ms;
    return best;
}

static void breach(struct tsn_respond *r, struct tsn_held *h, enum tsn_due kind, int64_t due_ms, int64_t now_ms,
                   struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;
    char reason[96];

    if (kind == TSN_DUE_RESPOND)
        in->respond_breached_at_ms = due_ms;
    else
        in->resolve_breached_at_ms = due_ms;
    snprintf(reason, sizeof reason, "not %s within the Sev %d deadline",
             kind == TSN_DUE_RESPOND ? "acknowledged" : "resolved", (int)in->severity);
    r->counters.breached++;
    tsn_respond_emit(r, h, TSN_INC_BREACHED, due_ms, "tocsin", reason, effects);
    tsn_respond_page(r, h, in->level, true, now_ms, reason, effects);
}

static void climb(struct tsn_respond *r, struct tsn_held *h, int64_t due_ms, int64_t now_ms,
                  struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;
    const struct tsn_climb *c = &r->policy->escalation.severities[in->severity].climb[in->level];
    bool unanswered = in->acknowledged_at_ms == TSN_TIME_NONE && c->unanswered_ms >= 0 &&
                      (c->unresolved_ms < 0 || c->unanswered_ms < c->unresolved_ms);
    char waited[TSN_DURATION_TEXT], reason[128];

    tsn_format_duration(waited, unanswered ? c->unanswered_ms : c->unresolved_ms);
    snprintf(reason, sizeof reason, "%s %s after L%d was paged", unanswered ? "unanswered" : "unresolved", waited,
             (int)in->level);
    in->level++;
    h->in.paged_at_ms[in->level] = now_ms;
    r->counters.escalated++;
    tsn_respond_emit(r, h, TSN_INC_ESCALATED, due_ms, "tocsin", reason, effects);
    tsn_respond_page(r, h, in->level, false, now_ms, reason, effects);
}

static enum tsn_due held_due(const struct tsn_respond *r, struct tsn_held *h, int64_t *due_ms)
{
    if (h->dirty || !h->due_known) {
        h->due = tsn_respond_due(r, &h->in, &h->due_ms);
        h->due_known = true;
    }
    *due_ms = h->due_ms;
    return (enum tsn_due)h->due;
}

/* The held incident that is due first, by due time, then id. NULL: none by now_ms. */
static struct tsn_held *first_due(const struct tsn_respond *r, int64_t now_ms, enum tsn_due *kind, int64_t *due_ms)
{
    struct tsn_held *first = NULL;

    tsn_map_foreach(&r->incidents, e) {
        struct tsn_held *h = e->value;
        int64_t at;
        enum tsn_due k = held_due(r, h, &at);

        if (k == TSN_DUE_NONE || at > now_ms ||
            (first && (at > *due_ms || (at == *due_ms && strcmp(h->in.pub.incident_id,
                                                                first->in.pub.incident_id) > 0))))
            continue;
        first = h;
        *kind = k;
        *due_ms = at;
    }
    return first;
}

/* Ends: each step breaches a deadline, climbs a level or forgets an incident; there is an end of all
 * three. */
void tsn_respond_advance(struct tsn_respond *r, int64_t now_ms, struct tsn_effects *effects)
{
    struct tsn_held *h;
    enum tsn_due kind = TSN_DUE_NONE;
    int64_t due_ms = 0;

    if (now_ms > r->position.clock_ms)
        r->position.clock_ms = now_ms;
    now_ms = r->position.clock_ms;
    if (r->restored)
        r->all_down = tsn_respond_all_down(r);
    r->restored = false;
    while ((h = first_due(r, now_ms, &kind, &due_ms)) != NULL) {
        if (kind == TSN_DUE_FORGET)
            tsn_respond_forget(r, h, effects);
        else if (kind == TSN_DUE_CLIMB)
            climb(r, h, due_ms, now_ms, effects);
        else
            breach(r, h, kind, due_ms, now_ms, effects);
    }
}

int64_t tsn_respond_next_due(const struct tsn_respond *r)
{
    enum tsn_due kind;
    int64_t due_ms = TSN_TIME_NONE;

    return first_due(r, INT64_MAX, &kind, &due_ms) ? due_ms : TSN_TIME_NONE;
}
