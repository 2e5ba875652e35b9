/*
 * respond_direct: pages while Redis is away for longer than redis_grace.
 *
 * No incident can be opened without the store, but somebody must be woken: a firing alert of Sev 1 or 2, judged by label and tier alone, pages
 * the levels of its severity under the dedup key that the incident will have, so that the later regular page finds it told. Of a group, the
 * first alert names the incident, as in the core; an alert that is no worse than what was told of its group adds nothing.
 *
 * Told first, then recorded in `respond`: a crash between the two repeats a page under the same key; the other order could lose it.
 */
#include "app/respond_int.h"

#include <stdio.h>
#include <string.h>

enum { MAX_GROUPS = 10000 }; /* as many as the core holds incidents */

void respond_direct_init(struct direct *d)
{
    tsn_map_init(&d->told);
    tsn_map_init(&d->groups);
}

void respond_direct_reset(struct direct *d)
{
    tsn_map_foreach(&d->groups, e)
        tsn_free(e->value);
    tsn_map_clear(&d->groups);
    for (size_t i = 0; i < d->pending.len; i++)
        tsn_page_release(&d->pending.items[i]);
    tsn_vec_clear(&d->pending);
}

void respond_direct_release(struct direct *d)
{
    respond_direct_reset(d);
    tsn_vec_release(&d->pending);
    tsn_map_release(&d->groups);
    tsn_map_release(&d->told);
}

void respond_direct_told(struct direct *d, const char *dedup_key, size_t len)
{
    tsn_map_put(&d->told, dedup_key, len, (void *)1);
}

bool respond_direct_was_told(const struct direct *d, const char *dedup_key)
{
    return tsn_map_get_str(&d->told, dedup_key) != NULL;
}

/* What is known of the alert's group: told already, held by the core as it was last, or new; it is then named by this alert, of whatever
 * severity, as the core will. NULL: no room, or it is no worse than what was told. */
static struct direct_group *group_of(struct respond_session *s, const struct tsn_transition *t, int32_t severity)
{
    char *key = tsn_respond_group_key(s->stage->policy, t->labels);
    struct direct_group *g = tsn_map_get_str(&s->direct.groups, key);
    const struct tsn_respond_incident *held = s->core ? tsn_respond_of_group(s->core, key) : NULL;

    if (!g && s->direct.groups.count < MAX_GROUPS) {
        g = tsn_calloc(1, sizeof *g);
        g->severity = TSN_SEVERITIES + 1;
        if (held) {
            memcpy(g->incident_id, held->pub.incident_id, sizeof g->incident_id);
            if (held->pub.state != TSN_INCIDENT_RESOLVED)
                g->severity = held->pub.severity;
        } else {
            tsn_respond_incident_id(g->incident_id, key, t->alert_id, t->fired_at_ms);
        }
        tsn_map_put_str(&s->direct.groups, key, g);
    }
    tsn_free(key);
    if (!g || severity > 2 || severity >= g->severity)
        return NULL;
    g->severity = severity;
    return g;
}

static void add_page(struct respond_session *s, const struct direct_group *g, int32_t level, const struct tsn_transition *t)
{
    const struct tsn_escalation *e = &s->stage->policy->escalation;
    const char *name = tsn_labels_get(t->labels, "alertname"), *summary = tsn_labels_get(t->annotations, "summary");
    struct tsn_page page = { .level = level, .severity = g->severity, .channel = e->severities[g->severity].channel };

    snprintf(page.dedup_key, sizeof page.dedup_key, "%.39s:L%d", g->incident_id, (int)level);
    if (respond_direct_was_told(&s->direct, page.dedup_key))
        return;
    page.people = tsn_calloc(e->people[level].len, sizeof *page.people);
    for (; page.people_count < e->people[level].len; page.people_count++)
        page.people[page.people_count] = tsn_strdup(e->people[level].items[page.people_count]);
    page.title = tsn_strdup(summary && *summary ? summary : name ? name : "alert");
    page.reason = tsn_strdup("Redis is away: paged on the direct path, no incident is open yet");
    page.at_ms = tsn_wall_now().ms;
    tsn_vec_push(&s->direct.pending, page);
}

static void record(struct respond_session *s, const struct tsn_page *page)
{
    char key[96];
    struct tsn_error error = { 0 };

    respond_direct_told(&s->direct, page->dedup_key, strlen(page->dedup_key));
    snprintf(key, sizeof key, DIRECT_PREFIX "%s", page->dedup_key);
    tsn_buf_reset(&s->bytes);
    tsn_page_encode(page, &s->bytes);
    (void)respond_record(s, key, s->bytes.data, s->bytes.len, &error); /* its failure ends the session */
    pthread_mutex_lock(&s->stage->stats_lock);
    s->stage->stats.direct_pages++;
    pthread_mutex_unlock(&s->stage->stats_lock);
}

void respond_direct_flush(struct respond_session *s)
{
    struct direct *d = &s->direct;
    size_t done = 0;

    for (; done < d->pending.len && !s->ended; done++) {
        struct tsn_page *page = &d->pending.items[done];

        if (!respond_direct_was_told(d, page->dedup_key)) {
            if (!respond_tell(s, page))
                break;
            record(s, page);
        }
        tsn_page_release(page);
    }
    if (done)
        memmove(d->pending.items, d->pending.items + done, (d->pending.len - done) * sizeof *d->pending.items);
    d->pending.len -= done;
}

void respond_direct_transition(struct respond_session *s, const struct tsn_transition *t)
{
    int32_t severity;
    const struct direct_group *g;

    if (t->state != TSN_ALERT_FIRING || tsn_respond_heartbeat(t->labels))
        return;
    severity = tsn_respond_alert_severity(s->stage->policy, t->labels, false);
    g = group_of(s, t, severity);
    if (!g)
        return;
    for (int32_t level = 1; level <= TSN_LEVELS; level++)
        if (s->stage->policy->escalation.severities[severity].page[level])
            add_page(s, g, level, t);
}
