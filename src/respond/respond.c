/*
 * respond: alert transitions and commands applied to incidents. See tocsin/respond.h.
 *
 * One input goes: offset test → timers due → the change itself → spread (every open incident is
 * asked again whether it is worse now) → SAVE effects. Everything a transition touches is one
 * group's newest incident; only spread reaches the others.
 */
#include "respond/respond_internal.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_MAX_INCIDENTS 10000
#define DEFAULT_MAX_ALERTS 1000
/* An event tells labels twice and all else once, JSON may take six bytes for one: 7 MiB at worst, below the 10 MiB that the topics take. */
#define DEFAULT_MAX_TEXT_BYTES (512 << 10)

struct tsn_respond *tsn_respond_new(const struct tsn_policy *policy, const struct tsn_respond_options *options)
{
    struct tsn_respond *r = tsn_calloc(1, sizeof *r);

    r->policy = policy;
    if (options)
        r->options = *options;
    if (!r->options.max_incidents)
        r->options.max_incidents = DEFAULT_MAX_INCIDENTS;
    if (!r->options.max_alerts)
        r->options.max_alerts = DEFAULT_MAX_ALERTS;
    if (!r->options.max_text_bytes)
        r->options.max_text_bytes = DEFAULT_MAX_TEXT_BYTES;
    tsn_map_init(&r->incidents);
    tsn_map_init(&r->groups);
    r->position = (struct tsn_respond_position){ -1, -1, TSN_TIME_NONE };
    return r;
}

void tsn_respond_free(struct tsn_respond **respond)
{
    struct tsn_respond *r = *respond;

    if (!r)
        return;
    tsn_map_foreach(&r->incidents, e) {
        struct tsn_held *h = e->value;

        tsn_respond_incident_release(&h->in);
        tsn_free(h);
    }
    tsn_map_release(&r->incidents);
    tsn_map_release(&r->groups);
    tsn_free(r);
    *respond = NULL;
}

struct tsn_respond_position tsn_respond_position(const struct tsn_respond *r)
{
    return r->position;
}

void tsn_respond_set_position(struct tsn_respond *r, struct tsn_respond_position position)
{
    r->position = position;
}

const struct tsn_respond_counters *tsn_respond_counters(const struct tsn_respond *r)
{
    return &r->counters;
}

const struct tsn_respond_incident *tsn_respond_get(const struct tsn_respond *r, const char *incident_id)
{
    const struct tsn_held *h = tsn_map_get_str(&r->incidents, incident_id);

    return h ? &h->in : NULL;
}

const struct tsn_respond_incident *tsn_respond_of_group(const struct tsn_respond *r, const char *group_key)
{
    const struct tsn_held *h = tsn_map_get_str(&r->groups, group_key);

    return h ? &h->in : NULL;
}

const struct tsn_respond_incident **tsn_respond_list(const struct tsn_respond *r, size_t *count)
{
    struct tsn_held **all = tsn_respond_sorted(r);
    const struct tsn_respond_incident **out = tsn_calloc(r->incidents.count, sizeof *out);

    *count = r->incidents.count;
    for (size_t i = 0; i < *count; i++)
        out[i] = &all[i]->in;
    tsn_free(all);
    return out;
}

static void hold(struct tsn_respond *r, struct tsn_held *h)
{
    const struct tsn_held *newest = tsn_map_get_str(&r->groups, h->in.pub.group_key);

    tsn_map_put_str(&r->incidents, h->in.pub.incident_id, h);
    if (!newest || newest->in.pub.opened_at_ms <= h->in.pub.opened_at_ms)
        tsn_map_put_str(&r->groups, h->in.pub.group_key, h);
}

enum tsn_err tsn_respond_restore(struct tsn_respond *r, struct tsn_respond_incident *incident,
                                 struct tsn_error *error)
{
    struct tsn_held *h;

    if (tsn_map_get_str(&r->incidents, incident->pub.incident_id))
        return tsn_error_set(error, TSN_ERR_CONFLICT, "incident %s is held already", incident->pub.incident_id);
    h = tsn_calloc(1, sizeof *h);
    h->in = *incident;
    memset(incident, 0, sizeof *incident);
    hold(r, h);
    r->restored = true;
    return TSN_OK;
}

/* ---- severity and deadlines --------------------------------------------------------------- */

/* A raise gives less time from now on; it never gives more. */
static void tighten(const struct tsn_respond *r, struct tsn_incident *in, int64_t now_ms)
{
    const struct tsn_severity_policy *s = &r->policy->escalation.severities[in->severity];

    if (now_ms + s->respond_ms < in->respond_by_ms)
        in->respond_by_ms = now_ms + s->respond_ms;
    if (now_ms + s->resolve_ms < in->resolve_by_ms)
        in->resolve_by_ms = now_ms + s->resolve_ms;
}

static void set_commander(const struct tsn_respond *r, struct tsn_incident *in)
{
    const char *name = r->policy->escalation.severities[in->severity].commander;

    tsn_free(in->commander);
    in->commander = name ? tsn_strdup(name) : NULL;
}

/* Deadlines in full, from from_ms: at opening, reopening, or when a person sets the severity. */
static void set_deadlines(const struct tsn_respond *r, struct tsn_incident *in, int64_t from_ms)
{
    const struct tsn_severity_policy *s = &r->policy->escalation.severities[in->severity];

    in->respond_by_ms = from_ms + s->respond_ms;
    in->resolve_by_ms = from_ms + s->resolve_ms;
    set_commander(r, in);
}

/* True if the severity rose. Pages are the caller's, after its event. */
static bool raise_severity(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms)
{
    struct tsn_incident *in = &h->in.pub;
    int32_t severity = tsn_respond_severity(r->policy, in, r->all_down);

    if (h->in.severity_set || in->state == TSN_INCIDENT_RESOLVED || severity >= in->severity)
        return false;
    in->severity = severity;
    tighten(r, in, now_ms);
    set_commander(r, in);
    tsn_respond_mark_paged(r, h, now_ms);
    return true;
}

/* Incidents other than `but` that became worse because all core services are down now. */
static void apply_spread(struct tsn_respond *r, struct tsn_held *but, int64_t now_ms, struct tsn_effects *effects)
{
    struct tsn_held **all;

    if (!r->all_down)
        return;
    all = tsn_respond_sorted(r);
    for (size_t i = 0; i < r->incidents.count; i++) {
        int32_t before = all[i]->in.pub.severity;
        char reason[96];

        if (all[i] == but || !raise_severity(r, all[i], now_ms))
            continue;
        snprintf(reason, sizeof reason, "Sev %d → %d: all core services are down", (int)before,
                 (int)all[i]->in.pub.severity);
        tsn_respond_emit(r, all[i], TSN_INC_UPDATED, now_ms, "tocsin", reason, effects);
        tsn_respond_page_severity(r, all[i], now_ms, reason, effects);
    }
    tsn_free(all);
}

/* ---- alerts of an incident ---------------------------------------------------------------- */

static struct tsn_incident_alert *find_alert(struct tsn_incident *in, const char *alert_id)
{
    for (size_t i = 0; i < in->alert_count; i++)
        if (strcmp(in->alerts[i].alert_id, alert_id) == 0)
            return &in->alerts[i];
    return NULL;
}

static void free_lines(char **lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tsn_free(lines[i]);
    tsn_free(lines);
}

static void clear_alert(struct tsn_incident_alert *a)
{
    free_lines(a->sample_lines, a->sample_line_count);
    free_lines(a->templates, a->template_count);
    tsn_labels_unref(a->labels);
    tsn_labels_unref(a->annotations);
    memset(a, 0, sizeof *a);
}

static size_t labels_bytes(const struct tsn_labels *labels)
{
    size_t n = 0;

    for (uint32_t i = 0; labels && i < labels->count; i++)
        n += labels->items[i].name_len + labels->items[i].value_len;
    return n;
}

static size_t lines_bytes(char *const *lines, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += strlen(lines[i]);
    return n;
}

/* What an alert may do without. */
static size_t more_bytes(const struct tsn_transition *t)
{
    return labels_bytes(t->annotations) + lines_bytes(t->sample_lines, t->sample_line_count) +
           lines_bytes(t->templates, t->template_count);
}

static char **copy_lines(char *const *lines, size_t count)
{
    char **copy = count ? tsn_calloc(count, sizeof *copy) : NULL;

    for (size_t i = 0; i < count; i++)
        copy[i] = tsn_strdup(lines[i]);
    return copy;
}

static size_t alert_bytes(const struct tsn_incident_alert *a)
{
    return labels_bytes(a->labels) + labels_bytes(a->annotations) + lines_bytes(a->sample_lines, a->sample_line_count) +
           lines_bytes(a->templates, a->template_count);
}

static size_t incident_bytes(const struct tsn_incident *in)
{
    size_t n = 0;

    for (size_t i = 0; i < in->alert_count; i++)
        n += alert_bytes(&in->alerts[i]);
    return n;
}

/* The alert that ended first leaves; false if all still fire. */
static bool evict(struct tsn_incident *in)
{
    size_t victim = in->alert_count;

    for (size_t i = 0; i < in->alert_count; i++)
        if (in->alerts[i].state != TSN_ALERT_FIRING &&
            (victim == in->alert_count || in->alerts[i].resolved_at_ms < in->alerts[victim].resolved_at_ms))
            victim = i;
    if (victim == in->alert_count)
        return false;
    clear_alert(&in->alerts[victim]);
    memmove(&in->alerts[victim], &in->alerts[victim + 1],
            (in->alert_count - victim - 1) * sizeof *in->alerts);
    in->alert_count--;
    return true;
}

/* Room for one more, by count and by text. False if there is none; the first alert of an incident always has some. */
static bool make_room(struct tsn_respond *r, struct tsn_incident *in, const struct tsn_transition *t)
{
    size_t labels = labels_bytes(t->labels);
    size_t all = labels + more_bytes(t);
    bool hit = false;

    while (in->alert_count >= r->options.max_alerts || incident_bytes(in) + all > r->options.max_text_bytes) {
        hit = true;
        if (!evict(in))
            break;
    }
    r->counters.limit_alerts += hit;
    return !in->alert_count || (in->alert_count < r->options.max_alerts &&
                                incident_bytes(in) + labels <= r->options.max_text_bytes);
}

/* `room`: bytes of text left for it; what does not fit goes without annotations and sample lines. */
static void fill_alert(struct tsn_respond *r, struct tsn_incident_alert *a, const struct tsn_transition *t, size_t room)
{
    bool whole = labels_bytes(t->labels) + more_bytes(t) <= room;

    r->counters.cut_alerts += !whole;
    clear_alert(a);
    memcpy(a->alert_id, t->alert_id, sizeof a->alert_id);
    a->labels = tsn_labels_ref(t->labels);
    a->annotations = t->annotations && whole ? tsn_labels_ref(t->annotations) : tsn_labels_empty();
    a->state = TSN_ALERT_FIRING;
    a->value = t->value;
    a->fired_at_ms = t->fired_at_ms == TSN_TIME_NONE ? t->step_ms : t->fired_at_ms;
    a->resolved_at_ms = TSN_TIME_NONE;
    a->warming = t->warming;
    if (!whole)
        return;
    a->sample_lines = copy_lines(t->sample_lines, t->sample_line_count);
    a->sample_line_count = t->sample_line_count;
    a->templates = copy_lines(t->templates, t->template_count);
    a->template_count = t->template_count;
}

/* Index of the alert, joined or refreshed; alert_count if there is no room. */
static size_t join_alert(struct tsn_respond *r, struct tsn_incident *in, const struct tsn_transition *t)
{
    struct tsn_incident_alert *a = find_alert(in, t->alert_id);
    size_t others;

    if (!a) {
        if (!make_room(r, in, t))
            return in->alert_count;
        in->alerts = tsn_reallocarray(in->alerts, in->alert_count + 1, sizeof *in->alerts);
        a = &in->alerts[in->alert_count++];
        memset(a, 0, sizeof *a);
    }
    others = incident_bytes(in) - alert_bytes(a);
    fill_alert(r, a, t, r->options.max_text_bytes > others ? r->options.max_text_bytes - others : 0);
    tsn_respond_services(r->policy, in);
    return (size_t)(a - in->alerts);
}

/* "ServiceDown firing", with what a reader must know about it. Caller frees. */
static char *alert_reason(const struct tsn_respond *r, const struct tsn_incident *in, size_t alert, int32_t before)
{
    const struct tsn_incident_alert *a = &in->alerts[alert];
    const char *name = tsn_labels_get(a->labels, "alertname");
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_printf(&text, "%s %s", name ? name : "alert", tsn_alert_state_name(a->state));
    if (a->state != TSN_ALERT_FIRING && a->end_reason)
        tsn_buf_printf(&text, " (%s)", tsn_end_reason_name(a->end_reason));
    if (a->state == TSN_ALERT_FIRING && a->warming)
        tsn_buf_puts(&text, " (warming: its series are younger than its window)");
    if (a->state == TSN_ALERT_FIRING && tsn_respond_inhibited(r->policy, in, alert))
        tsn_buf_puts(&text, ", inhibited by a higher alert");
    if (before && before != in->severity)
        tsn_buf_printf(&text, "; Sev %d → %d", (int)before, (int)in->severity);
    return tsn_buf_take(&text, NULL);
}

/* ---- a firing alert ----------------------------------------------------------------------- */

static char *title_of(const struct tsn_transition *t, const char *group_key)
{
    const char *summary = t->annotations ? tsn_labels_get(t->annotations, "summary") : NULL;
    const char *name = tsn_labels_get(t->labels, "alertname");
    struct tsn_buf text = TSN_BUF_INIT;

    if (summary && *summary)
        tsn_buf_puts(&text, summary);
    else
        tsn_buf_printf(&text, "%s %s", name ? name : "alert", group_key);
    if (text.len > TSN_RESPOND_TEXT_MAX) {
        text.len = tsn_utf8_valid_prefix(text.data, TSN_RESPOND_TEXT_MAX);
        text.data[text.len] = '\0';
    }
    return tsn_buf_take(&text, NULL);
}

/* A new life: at opening and at reopening. */
static void start(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms)
{
    struct tsn_incident *in = &h->in.pub;

    in->state = TSN_INCIDENT_OPEN;
    in->level = 1;
    in->acknowledged_at_ms = in->resolved_at_ms = TSN_TIME_NONE;
    in->respond_breached_at_ms = in->resolve_breached_at_ms = TSN_TIME_NONE;
    tsn_free(in->acknowledged_by);
    in->acknowledged_by = NULL;
    h->in.severity_set = false;
    h->in.started_at_ms = h->in.floor_ms = now_ms;
    in->severity = tsn_respond_severity(r->policy, in, r->all_down);
    set_deadlines(r, in, now_ms);
    for (int level = 0; level <= TSN_LEVELS; level++)
        h->in.paged_at_ms[level] = TSN_TIME_NONE;
    tsn_respond_mark_paged(r, h, now_ms);
}

static void announce(struct tsn_respond *r, struct tsn_held *h, size_t alert, enum tsn_incident_event_type type,
                     int64_t now_ms, int32_t before, bool page, struct tsn_effects *effects)
{
    char *reason = alert_reason(r, &h->in.pub, alert, before);

    tsn_respond_emit(r, h, type, now_ms, "tocsin", reason, effects);
    if (page)
        tsn_respond_page_severity(r, h, now_ms, reason, effects);
    tsn_free(reason);
}

static struct tsn_held *open_incident(struct tsn_respond *r, char *group_key, const struct tsn_transition *t,
                                      int64_t now_ms, struct tsn_effects *effects)
{
    struct tsn_held *h;
    char id[40];

    tsn_respond_incident_id(id, group_key, t->alert_id, t->fired_at_ms);
    if (r->incidents.count >= r->options.max_incidents || tsn_map_get_str(&r->incidents, id)) {
        r->counters.limit_incidents++;
        tsn_free(group_key);
        return NULL;
    }
    h = tsn_calloc(1, sizeof *h);
    h->in.pub.format = TSN_FORMAT_VERSION;
    memcpy(h->in.pub.incident_id, id, sizeof id);
    h->in.pub.group_key = group_key;
    h->in.pub.title = title_of(t, group_key);
    h->in.pub.opened_at_ms = now_ms;
    h->in.pub.escalate_at_ms = TSN_TIME_NONE;
    join_alert(r, &h->in.pub, t);
    hold(r, h);
    r->all_down = tsn_respond_all_down(r);
    start(r, h, now_ms);
    r->counters.opened++;
    announce(r, h, 0, TSN_INC_OPENED, now_ms, 0, true, effects);
    return h;
}

/* The alert joins an incident that is held: reopened if it was resolved, else updated. */
static void join_incident(struct tsn_respond *r, struct tsn_held *h, const struct tsn_transition *t,
                          int64_t now_ms, struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;
    struct tsn_incident_alert *old = find_alert(in, t->alert_id);
    bool reopens = in->state == TSN_INCIDENT_RESOLVED, rose;
    int32_t before = in->severity;
    size_t alert;

    if (old && old->state == TSN_ALERT_FIRING && old->fired_at_ms == t->fired_at_ms)
        return; /* told already */
    alert = join_alert(r, in, t);
    if (alert == in->alert_count)
        return; /* full of firing alerts: counted */
    r->all_down = tsn_respond_all_down(r);
    r->counters.inhibited += tsn_respond_inhibited(r->policy, in, alert);
    if (reopens) {
        in->reopen_count++;
        start(r, h, now_ms);
        r->counters.reopened++;
        announce(r, h, alert, TSN_INC_REOPENED, now_ms, before, true, effects);
        return;
    }
    rose = raise_severity(r, h, now_ms);
    announce(r, h, alert, TSN_INC_UPDATED, now_ms, before, rose, effects);
}

static void alert_fired(struct tsn_respond *r, const struct tsn_transition *t, int64_t now_ms,
                        struct tsn_effects *effects)
{
    char *group_key = tsn_respond_group_key(r->policy, t->labels);
    struct tsn_held *h = tsn_map_get_str(&r->groups, group_key);

    if (h) {
        tsn_free(group_key);
        join_incident(r, h, t, now_ms, effects);
    } else {
        h = open_incident(r, group_key, t, now_ms, effects);
    }
    apply_spread(r, h, now_ms, effects);
}

/* ---- an alert that ended ------------------------------------------------------------------ */

static void resolve(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms)
{
    h->in.pub.state = TSN_INCIDENT_RESOLVED;
    h->in.pub.resolved_at_ms = now_ms;
    r->counters.resolved++;
}

/* Who holds the firing alert: its group's newest; else any, for group_by may have changed since. */
static struct tsn_held *holder_of(const struct tsn_respond *r, const struct tsn_transition *t)
{
    char *group_key = tsn_respond_group_key(r->policy, t->labels);
    struct tsn_held *h = tsn_map_get_str(&r->groups, group_key);

    tsn_free(group_key);
    if (h && find_alert(&h->in.pub, t->alert_id))
        return h;
    tsn_map_foreach(&r->incidents, e) {
        const struct tsn_incident_alert *a = find_alert(&((struct tsn_held *)e->value)->in.pub, t->alert_id);

        if (a && a->state == TSN_ALERT_FIRING)
            return e->value;
    }
    return NULL;
}

static void alert_ended(struct tsn_respond *r, const struct tsn_transition *t, int64_t now_ms,
                        struct tsn_effects *effects)
{
    struct tsn_held *h = holder_of(r, t);
    struct tsn_incident_alert *a = h ? find_alert(&h->in.pub, t->alert_id) : NULL;
    int32_t before;
    bool ends, rose;

    if (!a || a->state != TSN_ALERT_FIRING) {
        r->counters.unknown_ended++;
        return;
    }
    before = h->in.pub.severity;
    a->state = TSN_ALERT_RESOLVED;
    a->end_reason = t->end_reason;
    a->resolved_at_ms = t->step_ms;
    r->all_down = tsn_respond_all_down(r);
    ends = h->in.pub.state != TSN_INCIDENT_RESOLVED && !tsn_respond_any_firing(&h->in.pub);
    if (ends)
        resolve(r, h, now_ms);
    rose = raise_severity(r, h, now_ms); /* an alert is no longer inhibited */
    announce(r, h, (size_t)(a - h->in.pub.alerts), ends ? TSN_INC_RESOLVED : TSN_INC_UPDATED, now_ms, before, rose,
             effects);
}

/* ---- inputs ------------------------------------------------------------------------------- */

void tsn_respond_tick(struct tsn_respond *r, int64_t now_ms, struct tsn_effects *effects)
{
    tsn_respond_advance(r, now_ms, effects);
    tsn_respond_flush(r, effects);
}

void tsn_respond_skip(struct tsn_respond *r, bool is_command, int64_t offset)
{
    int64_t *applied = is_command ? &r->position.commands : &r->position.alerts;

    if (offset > *applied)
        *applied = offset;
}

void tsn_respond_transition(struct tsn_respond *r, int64_t offset, int64_t now_ms,
                            const struct tsn_transition *t, struct tsn_effects *effects)
{
    if (offset <= r->position.alerts) {
        r->counters.duplicates++;
        return;
    }
    r->position.alerts = offset;
    r->counters.transitions++;
    tsn_respond_advance(r, now_ms, effects);
    now_ms = r->position.clock_ms;
    if (tsn_respond_heartbeat(t->labels))
        r->counters.heartbeats++;
    else if (t->state == TSN_ALERT_FIRING)
        alert_fired(r, t, now_ms, effects);
    else if (t->state == TSN_ALERT_RESOLVED && t->was != TSN_ALERT_PENDING)
        alert_ended(r, t, now_ms, effects);
    else
        r->counters.pending_ignored++;
    tsn_respond_advance(r, now_ms, effects); /* a deadline of 0, a window that is over: now */
    tsn_respond_flush(r, effects);
}

void tsn_respond_set_policy(struct tsn_respond *r, const struct tsn_policy *policy, int64_t now_ms,
                            struct tsn_effects *effects)
{
    struct tsn_held **all;

    tsn_respond_advance(r, now_ms, effects);
    now_ms = r->position.clock_ms;
    r->policy = policy;
    r->all_down = tsn_respond_all_down(r);
    all = tsn_respond_sorted(r);
    for (size_t i = 0; i < r->incidents.count; i++) {
        int32_t before = all[i]->in.pub.severity;

        all[i]->dirty = true;
        if (all[i]->in.pub.state == TSN_INCIDENT_RESOLVED)
            continue;
        all[i]->in.floor_ms = now_ms;
        set_deadlines(r, &all[i]->in.pub, all[i]->in.started_at_ms);
        if (raise_severity(r, all[i], now_ms)) {
            char reason[64];

            snprintf(reason, sizeof reason, "Sev %d → %d by the new policy", (int)before,
                     (int)all[i]->in.pub.severity);
            tsn_respond_emit(r, all[i], TSN_INC_UPDATED, now_ms, "tocsin", reason, effects);
            tsn_respond_page_severity(r, all[i], now_ms, reason, effects);
        }
    }
    tsn_free(all);
    tsn_respond_advance(r, now_ms, effects);
    tsn_respond_flush(r, effects);
}

/* ---- commands ----------------------------------------------------------------------------- */

static void answer(struct tsn_effects *effects, const struct tsn_command *c, int64_t version, enum tsn_err code,
                   const char *message)
{
    struct tsn_effect e = { .kind = TSN_EFFECT_ANSWER, .version = version };

    snprintf(e.incident_id, sizeof e.incident_id, "%s", c->incident_id);
    e.answer.command_id = tsn_strdup(c->command_id);
    e.answer.code = code;
    e.answer.message = tsn_strdup(message);
    tsn_vec_push(effects, e);
}

/* NULL: done, an event was given. "" and other texts: nothing to do, or refused with *code. */
static const char *do_ack(struct tsn_respond *r, struct tsn_held *h, const struct tsn_command *c, int64_t now_ms,
                          enum tsn_err *code, struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;

    if (in->state == TSN_INCIDENT_RESOLVED) {
        *code = TSN_ERR_CONFLICT;
        return "the incident is resolved";
    }
    if (in->state == TSN_INCIDENT_ACKNOWLEDGED)
        return "acknowledged already";
    in->state = TSN_INCIDENT_ACKNOWLEDGED;
    in->acknowledged_at_ms = now_ms;
    in->acknowledged_by = tsn_strndup(c->actor, tsn_utf8_valid_prefix(c->actor, strnlen(c->actor, TSN_RESPOND_TEXT_MAX)));
    tsn_respond_emit(r, h, TSN_INC_ACKNOWLEDGED, now_ms, c->actor, c->reason, effects);
    return NULL;
}

static const char *do_escalate(struct tsn_respond *r, struct tsn_held *h, const struct tsn_command *c,
                               int64_t now_ms, enum tsn_err *code, struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;
    struct tsn_buf reason = TSN_BUF_INIT;

    *code = TSN_ERR_CONFLICT;
    if (in->state == TSN_INCIDENT_RESOLVED)
        return "the incident is resolved";
    if (in->level >= TSN_LEVELS)
        return "level 3 has no next";
    *code = TSN_OK;
    tsn_buf_printf(&reason, "L%d → L%d by hand: %s", (int)in->level, (int)in->level + 1, c->reason);
    in->level++;
    h->in.paged_at_ms[in->level] = now_ms;
    r->counters.escalated++;
    tsn_respond_emit(r, h, TSN_INC_ESCALATED, now_ms, c->actor, tsn_buf_str(&reason), effects);
    tsn_respond_page(r, h, in->level, false, now_ms, tsn_buf_str(&reason), effects);
    tsn_buf_release(&reason);
    return NULL;
}

static const char *do_resolve(struct tsn_respond *r, struct tsn_held *h, const struct tsn_command *c,
                              int64_t now_ms, struct tsn_effects *effects)
{
    if (h->in.pub.state == TSN_INCIDENT_RESOLVED)
        return "resolved already";
    resolve(r, h, now_ms);
    tsn_respond_emit(r, h, TSN_INC_RESOLVED, now_ms, c->actor, c->reason, effects);
    return NULL;
}

static const char *do_severity(struct tsn_respond *r, struct tsn_held *h, const struct tsn_command *c,
                               int64_t now_ms, enum tsn_err *code, struct tsn_effects *effects)
{
    struct tsn_incident *in = &h->in.pub;
    bool rose = c->severity < in->severity;
    struct tsn_buf reason = TSN_BUF_INIT;

    *code = TSN_ERR_INVALID;
    if (c->severity < 1 || c->severity > TSN_SEVERITIES)
        return "a severity is 1, 2, 3 or 4";
    *code = TSN_ERR_CONFLICT;
    if (in->state == TSN_INCIDENT_RESOLVED)
        return "the incident is resolved";
    *code = TSN_OK;
    if (c->severity == in->severity && h->in.severity_set)
        return "that is its severity already";
    tsn_buf_printf(&reason, "Sev %d → %d by hand: %s", (int)in->severity, (int)c->severity, c->reason);
    in->severity = c->severity;
    h->in.severity_set = true;
    h->in.floor_ms = now_ms;
    if (rose) {
        tighten(r, in, now_ms);
        set_commander(r, in);
        tsn_respond_mark_paged(r, h, now_ms);
    } else {
        set_deadlines(r, in, h->in.started_at_ms);
    }
    tsn_respond_emit(r, h, TSN_INC_UPDATED, now_ms, c->actor, tsn_buf_str(&reason), effects);
    if (rose)
        tsn_respond_page_severity(r, h, now_ms, tsn_buf_str(&reason), effects);
    tsn_buf_release(&reason);
    return NULL;
}

static const char *do_command(struct tsn_respond *r, struct tsn_held *h, const struct tsn_command *c,
                              int64_t now_ms, enum tsn_err *code, struct tsn_effects *effects)
{
    switch (c->kind) {
    case TSN_CMD_ACK: return do_ack(r, h, c, now_ms, code, effects);
    case TSN_CMD_RESOLVE: return do_resolve(r, h, c, now_ms, effects);
    case TSN_CMD_ESCALATE: return do_escalate(r, h, c, now_ms, code, effects);
    case TSN_CMD_SEVERITY: return do_severity(r, h, c, now_ms, code, effects);
    case TSN_CMD_NOTE:
        if (!*c->reason) {
            *code = TSN_ERR_INVALID;
            return "a note needs words";
        }
        tsn_respond_emit(r, h, TSN_INC_NOTE, now_ms, c->actor, c->reason, effects);
        return NULL;
    case TSN_CMD_KIND_COUNT: break;
    }
    *code = TSN_ERR_UNSUPPORTED;
    return "no such command";
}

static void remember(struct tsn_held *h, const char *command_id)
{
    struct tsn_texts *t = &h->in.commands;

    if (t->len >= TSN_RESPOND_COMMANDS_KEPT) {
        tsn_free(t->items[0]);
        memmove(t->items, t->items + 1, (t->len - 1) * sizeof *t->items);
        t->len--;
    }
    tsn_texts_add(t, command_id, strlen(command_id));
    h->dirty = true;
}

void tsn_respond_command(struct tsn_respond *r, int64_t offset, int64_t now_ms, const struct tsn_command *c,
                         struct tsn_effects *effects)
{
    struct tsn_held *h;
    enum tsn_err code = TSN_OK;
    const char *message = NULL;
    int64_t version = 0;

    if (offset <= r->position.commands) {
        r->counters.duplicates++;
        return;
    }
    r->position.commands = offset;
    r->counters.commands++;
    tsn_respond_advance(r, now_ms, effects);
    now_ms = r->position.clock_ms;
    h = tsn_map_get_str(&r->incidents, c->incident_id);
    if (!h) {
        code = TSN_ERR_NOT_FOUND;
        message = "no such incident, or it was resolved and its reopen window is over";
    } else if (tsn_texts_has(&h->in.commands, c->command_id)) {
        message = "applied already";
    } else {
        message = do_command(r, h, c, now_ms, &code, effects);
        if (code == TSN_OK)
            remember(h, c->command_id);
    }
    r->counters.commands_refused += code != TSN_OK;
    version = h ? h->in.pub.version : 0;
    tsn_respond_advance(r, now_ms, effects);
    tsn_respond_flush(r, effects);
    answer(effects, c, version, code, message ? message : "");
}
