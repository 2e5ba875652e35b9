/*
 * judge: what was seen against what was expected (see tocsin/demo.h).
 *
 * An expectation is met by one firing of its rule for its service within its span, ended within the other span. Whatever fires
 * and meets none, fires twice, or at another time, is unexpected, and the expectation is missing: so a thing that comes too late
 * is told twice, once from either side. Incidents are met by group: the last severity and the set of event types must be equal.
 */
#include "demo/demo_int.h"

#include <stdio.h>
#include <string.h>

struct seen_alert {
    char alert_id[33], rule[80], service[80];
    int64_t fired_ms, ended_ms; /* TSN_TIME_NONE: not yet */
};
struct seen_incident {
    char id[40], group[160];
    int32_t severity;
    unsigned types;
    int64_t seq;
};
struct wanted_alert {
    const struct expected_alert *e;
    enum service service;
    int64_t at_ms;
};
struct wanted_incident {
    const struct expected_incident *e;
    enum service service;
    const char *scenario;
};

struct tsn_demo_judge {
    TSN_VEC(struct wanted_alert) alerts;
    TSN_VEC(struct wanted_incident) incidents;
    TSN_VEC(struct seen_alert) seen_alerts;
    TSN_VEC(struct seen_incident) seen_incidents;
};

static void want(struct tsn_demo_judge *j, const struct scenario *s)
{
    for (enum service service = 0; service < SERVICES; service++) {
        for (size_t i = 0; i < s->alert_count; i++) {
            const struct expected_alert *e = &s->alerts[i];
            struct wanted_alert w = { e, service, DEMO_DAY_MS + s->at_min * MINUTE_MS };

            if (e->service == service || (e->service == CORE_SERVICES && service <= WORKFLOW_COORDINATOR))
                tsn_vec_push(&j->alerts, w);
        }
        for (size_t i = 0; i < s->incident_count; i++) {
            const struct expected_incident *e = &s->incidents[i];
            struct wanted_incident w = { e, service, s->name };

            if (e->service == service || (e->service == CORE_SERVICES && service <= WORKFLOW_COORDINATOR))
                tsn_vec_push(&j->incidents, w);
        }
    }
}

struct tsn_demo_judge *tsn_demo_judge_new(const struct tsn_demo *demo)
{
    struct tsn_demo_judge *j = tsn_calloc(1, sizeof *j);

    for (size_t i = 0; i < demo_scenario_count; i++)
        if (demo_selected(demo) >> i & 1)
            want(j, &demo_scenarios[i]);
    return j;
}

void tsn_demo_judge_free(struct tsn_demo_judge **judge)
{
    struct tsn_demo_judge *j = *judge;

    if (!j)
        return;
    tsn_vec_release(&j->alerts);
    tsn_vec_release(&j->incidents);
    tsn_vec_release(&j->seen_alerts);
    tsn_vec_release(&j->seen_incidents);
    tsn_free(j);
    *judge = NULL;
}

/* ---- seen --------------------------------------------------------------------------------- */

static struct seen_alert *find_firing(struct tsn_demo_judge *j, const char *alert_id, int64_t fired_ms)
{
    for (size_t i = j->seen_alerts.len; i-- > 0;)
        if (strcmp(j->seen_alerts.items[i].alert_id, alert_id) == 0 && j->seen_alerts.items[i].fired_ms == fired_ms)
            return &j->seen_alerts.items[i];
    return NULL;
}

bool tsn_demo_judge_alert(struct tsn_demo_judge *j, const struct tsn_transition *t)
{
    struct seen_alert *known, fresh = { .fired_ms = t->step_ms, .ended_ms = TSN_TIME_NONE };
    const char *service = tsn_labels_get(t->labels, "service");

    if (t->state == TSN_ALERT_FIRING) {
        if (find_firing(j, t->alert_id, t->step_ms))
            return false;
        snprintf(fresh.alert_id, sizeof fresh.alert_id, "%s", t->alert_id);
        snprintf(fresh.rule, sizeof fresh.rule, "%s", t->rule);
        snprintf(fresh.service, sizeof fresh.service, "%s", service ? service : "");
        tsn_vec_push(&j->seen_alerts, fresh);
        return true;
    }
    if (t->state != TSN_ALERT_RESOLVED || t->was != TSN_ALERT_FIRING)
        return false;
    known = find_firing(j, t->alert_id, t->fired_at_ms);
    if (!known || known->ended_ms != TSN_TIME_NONE)
        return false;
    known->ended_ms = t->step_ms;
    return true;
}

bool tsn_demo_judge_incident(struct tsn_demo_judge *j, const struct tsn_incident_event *event)
{
    const struct tsn_incident *in = &event->snapshot;
    struct seen_incident *known = NULL, fresh = { .seq = 0 };

    for (size_t i = 0; i < j->seen_incidents.len; i++)
        if (strcmp(j->seen_incidents.items[i].id, in->incident_id) == 0)
            known = &j->seen_incidents.items[i];
    if (!known) {
        snprintf(fresh.id, sizeof fresh.id, "%s", in->incident_id);
        snprintf(fresh.group, sizeof fresh.group, "%s", in->group_key);
        tsn_vec_push(&j->seen_incidents, fresh);
        known = &j->seen_incidents.items[j->seen_incidents.len - 1];
    }
    if (event->seq <= known->seq)
        return false;
    known->seq = event->seq;
    known->severity = in->severity;
    known->types |= TSN_DEMO_TYPE(event->type);
    return true;
}

/* ---- verdict ------------------------------------------------------------------------------ */

static void say(struct tsn_demo_lines *lines, const char *fmt, ...) TSN_PRINTF(2, 3);
static void say(struct tsn_demo_lines *lines, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    tsn_vec_push(lines, tsn_buf_take(&text, NULL));
}

static const char *clock_text(char out[TSN_RFC3339_TEXT], int64_t ms)
{
    if (ms == TSN_TIME_NONE)
        return "-";
    tsn_format_rfc3339(out, ms);
    out[19] = '\0';
    return out + 11; /* HH:MM:SS */
}

static bool within(int64_t at_ms, int64_t start_ms, double from_min, double to_min)
{
    double at_min;

    if (at_ms == TSN_TIME_NONE)
        return false;
    at_min = (double)(at_ms - start_ms) / (double)MINUTE_MS;
    return at_min >= from_min && at_min <= to_min;
}

static bool meets(const struct wanted_alert *w, const struct seen_alert *s)
{
    return strcmp(w->e->rule, s->rule) == 0 && strcmp(demo_services[w->service], s->service) == 0 &&
           within(s->fired_ms, w->at_ms, w->e->fires_from, w->e->fires_to) && within(s->ended_ms, w->at_ms, w->e->ends_from, w->e->ends_to);
}

static void judge_alerts(const struct tsn_demo_judge *j, struct tsn_demo_verdict *v)
{
    bool *used = tsn_calloc(j->seen_alerts.len + 1, sizeof *used);
    char a[TSN_RFC3339_TEXT], b[TSN_RFC3339_TEXT], c[TSN_RFC3339_TEXT], d[TSN_RFC3339_TEXT];

    for (size_t i = 0; i < j->alerts.len; i++) {
        const struct wanted_alert *w = &j->alerts.items[i];
        size_t at = 0;

        while (at < j->seen_alerts.len && (used[at] || !meets(w, &j->seen_alerts.items[at])))
            at++;
        v->expected++;
        if (at < j->seen_alerts.len) {
            used[at] = true;
            v->seen++;
            continue;
        }
        say(&v->missing, "alert %s{service=\"%s\"} fires %s-%s, ends %s-%s", w->e->rule, demo_services[w->service],
            clock_text(a, w->at_ms + (int64_t)(w->e->fires_from * (double)MINUTE_MS)),
            clock_text(b, w->at_ms + (int64_t)(w->e->fires_to * (double)MINUTE_MS)),
            clock_text(c, w->at_ms + (int64_t)(w->e->ends_from * (double)MINUTE_MS)),
            clock_text(d, w->at_ms + (int64_t)(w->e->ends_to * (double)MINUTE_MS)));
    }
    for (size_t i = 0; i < j->seen_alerts.len; i++)
        if (!used[i])
            say(&v->unexpected, "alert %s{service=\"%s\"} fired %s, ended %s", j->seen_alerts.items[i].rule, j->seen_alerts.items[i].service,
                clock_text(a, j->seen_alerts.items[i].fired_ms), clock_text(b, j->seen_alerts.items[i].ended_ms));
    tsn_free(used);
}

static void say_incident(struct tsn_demo_lines *lines, const char *group, int32_t severity, unsigned types)
{
    struct tsn_buf text = TSN_BUF_INIT;

    for (unsigned t = 0; t < TSN_INC_TYPE_COUNT; t++)
        if (types >> t & 1)
            tsn_buf_printf(&text, " %s", tsn_incident_event_type_name((enum tsn_incident_event_type)t));
    say(lines, "incident %s severity %d:%s", group, severity, tsn_buf_str(&text));
    tsn_buf_release(&text);
}

static void judge_incidents(const struct tsn_demo_judge *j, struct tsn_demo_verdict *v)
{
    const unsigned free_types = TSN_DEMO_TYPE(TSN_INC_UPDATED) | TSN_DEMO_TYPE(TSN_INC_NOTE);
    bool *used = tsn_calloc(j->seen_incidents.len + 1, sizeof *used);

    for (size_t i = 0; i < j->incidents.len; i++) {
        const struct wanted_incident *w = &j->incidents.items[i];
        char group[160];
        size_t at = 0;

        snprintf(group, sizeof group, "{service=\"%s\"}", demo_services[w->service]);
        for (; at < j->seen_incidents.len; at++) {
            const struct seen_incident *s = &j->seen_incidents.items[at];

            if (!used[at] && strcmp(s->group, group) == 0 && s->severity == w->e->severity && (s->types & ~free_types) == w->e->types)
                break;
        }
        v->expected++;
        if (at < j->seen_incidents.len) {
            used[at] = true;
            v->seen++;
        } else {
            say_incident(&v->missing, group, w->e->severity, w->e->types);
        }
    }
    for (size_t i = 0; i < j->seen_incidents.len; i++)
        if (!used[i])
            say_incident(&v->unexpected, j->seen_incidents.items[i].group, j->seen_incidents.items[i].severity, j->seen_incidents.items[i].types);
    tsn_free(used);
}

void tsn_demo_judge_verdict(const struct tsn_demo_judge *judge, struct tsn_demo_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    judge_alerts(judge, verdict);
    judge_incidents(judge, verdict);
}

void tsn_demo_verdict_release(struct tsn_demo_verdict *v)
{
    struct tsn_demo_lines *all[] = { &v->missing, &v->unexpected };

    for (size_t l = 0; l < TSN_ARRAY_LEN(all); l++) {
        for (size_t i = 0; i < all[l]->len; i++)
            tsn_free(all[l]->items[i]);
        tsn_vec_release(all[l]);
    }
}
