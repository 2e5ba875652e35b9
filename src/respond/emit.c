/*
 * emit: effects: events with their snapshot, pages, saves; and the release of all of them.
 */
#include "respond/respond_internal.h"
#include "tocsin/respond_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------- */

void tsn_respond_incident_release(struct tsn_respond_incident *incident)
{
    tsn_incident_release(&incident->pub);
    tsn_texts_release(&incident->commands);
    memset(incident, 0, sizeof *incident);
}

void tsn_respond_incident_copy(struct tsn_respond_incident *to, const struct tsn_respond_incident *from)
{
    *to = *from;
    tsn_incident_copy(&to->pub, &from->pub);
    to->commands = (struct tsn_texts){ NULL, 0, 0 };
    for (size_t i = 0; i < from->commands.len; i++)
        tsn_texts_add(&to->commands, from->commands.items[i], strlen(from->commands.items[i]));
}

void tsn_effects_clear(struct tsn_effects *effects)
{
    for (size_t i = 0; i < effects->len; i++) {
        struct tsn_effect *e = &effects->items[i];

        tsn_incident_event_release(&e->event);
        tsn_page_release(&e->page);
        if (e->record)
            tsn_respond_incident_release(e->record);
        tsn_free(e->record);
        tsn_free(e->answer.command_id);
        tsn_free(e->answer.message);
    }
    effects->len = 0;
}

void tsn_effects_release(struct tsn_effects *effects)
{
    tsn_effects_clear(effects);
    tsn_vec_release(effects);
}

static struct tsn_effect *add(struct tsn_effects *effects, enum tsn_effect_kind kind, const struct tsn_incident *in)
{
    struct tsn_effect e = { .kind = kind };

    memcpy(e.incident_id, in->incident_id, sizeof e.incident_id);
    e.version = in->version;
    tsn_vec_push(effects, e);
    return &effects->items[effects->len - 1];
}

/* At most TSN_RESPOND_TEXT_MAX bytes, never cut inside a character. Caller frees. */
static char *bounded(const char *text)
{
    size_t len = text ? strlen(text) : 0;

    if (len > TSN_RESPOND_TEXT_MAX)
        len = TSN_RESPOND_TEXT_MAX;
    return tsn_strndup(text ? text : "", len ? tsn_utf8_valid_prefix(text, len) : 0);
}

/* ---- events and pages --------------------------------------------------------------------- */

void tsn_respond_emit(struct tsn_respond *r, struct tsn_held *h, enum tsn_incident_event_type type,
                      int64_t at_ms, const char *actor, const char *reason, struct tsn_effects *effects)
{
    struct tsn_effect *e;
    int64_t due = TSN_TIME_NONE;

    tsn_respond_due(r, &h->in, &due);
    h->in.pub.escalate_at_ms = due;
    h->in.pub.version++;
    h->dirty = true;
    e = add(effects, TSN_EFFECT_EVENT, &h->in.pub);
    e->event.format = TSN_FORMAT_VERSION;
    e->event.seq = h->in.pub.version;
    e->event.type = type;
    e->event.event_time_ms = at_ms;
    e->event.actor = bounded(actor);
    e->event.reason = bounded(reason);
    tsn_incident_copy(&e->event.snapshot, &h->in.pub);
}

void tsn_respond_page(struct tsn_respond *r, struct tsn_held *h, int32_t level, bool tell, int64_t now_ms,
                      const char *reason, struct tsn_effects *effects)
{
    const struct tsn_incident *in = &h->in.pub;
    const struct tsn_texts *people = &r->policy->escalation.people[level];
    struct tsn_page *page;

    if (r->options.shadow)
        return;
    page = &add(effects, TSN_EFFECT_PAGE, in)->page;
    page->level = level;
    page->severity = in->severity;
    page->tell = tell;
    page->channel = r->policy->escalation.severities[in->severity].channel;
    page->people = tsn_calloc(people->len, sizeof *page->people);
    for (page->people_count = 0; page->people_count < people->len; page->people_count++)
        page->people[page->people_count] = tsn_strdup(people->items[page->people_count]);
    page->title = tsn_strdup(in->title);
    page->reason = bounded(reason);
    page->at_ms = now_ms;
    snprintf(page->dedup_key, sizeof page->dedup_key, "%s:L%d", in->incident_id, (int)level);
}

void tsn_respond_mark_paged(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms)
{
    const struct tsn_severity_policy *s = &r->policy->escalation.severities[h->in.pub.severity];

    h->dirty = true;
    for (int32_t level = 1; level <= TSN_LEVELS; level++)
        if (s->page[level] || level == h->in.pub.level)
            h->in.paged_at_ms[level] = now_ms;
}

void tsn_respond_page_severity(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms, const char *reason,
                               struct tsn_effects *effects)
{
    const struct tsn_severity_policy *s = &r->policy->escalation.severities[h->in.pub.severity];

    for (int32_t level = 1; level <= TSN_LEVELS; level++)
        if (s->page[level] || s->tell[level])
            tsn_respond_page(r, h, level, !s->page[level], now_ms, reason, effects);
}

/* ---- the store's part --------------------------------------------------------------------- */

static int compare_held(const void *a, const void *b)
{
    return strcmp((*(struct tsn_held *const *)a)->in.pub.incident_id,
                  (*(struct tsn_held *const *)b)->in.pub.incident_id);
}

/* Held incidents by id, all or those the running input has changed. Caller frees the array. */
static struct tsn_held **sorted(const struct tsn_respond *r, bool dirty_only, size_t *count)
{
    struct tsn_held **all;
    size_t n = 0;

    *count = 0;
    tsn_map_foreach(&r->incidents, e)
        *count += !dirty_only || ((struct tsn_held *)e->value)->dirty;
    all = tsn_calloc(*count, sizeof *all);
    tsn_map_foreach(&r->incidents, e)
        if (!dirty_only || ((struct tsn_held *)e->value)->dirty)
            all[n++] = e->value;
    if (n)
        qsort(all, n, sizeof *all, compare_held);
    return all;
}

struct tsn_held **tsn_respond_sorted(const struct tsn_respond *r)
{
    size_t n;

    return sorted(r, false, &n);
}

void tsn_respond_flush(struct tsn_respond *r, struct tsn_effects *effects)
{
    size_t n;
    struct tsn_held **changed = sorted(r, true, &n);

    for (size_t i = 0; i < n; i++) {
        struct tsn_effect *e;
        int64_t due = TSN_TIME_NONE;

        tsn_respond_due(r, &changed[i]->in, &due);
        changed[i]->in.pub.escalate_at_ms = due;
        changed[i]->dirty = changed[i]->due_known = false;
        e = add(effects, TSN_EFFECT_SAVE, &changed[i]->in.pub);
        e->record = tsn_alloc(sizeof *e->record);
        tsn_respond_incident_copy(e->record, &changed[i]->in);
    }
    tsn_free(changed);
}

void tsn_respond_forget(struct tsn_respond *r, struct tsn_held *h, struct tsn_effects *effects)
{
    const struct tsn_incident *in = &h->in.pub;

    add(effects, TSN_EFFECT_FORGET, in);
    if (tsn_map_get_str(&r->groups, in->group_key) == h)
        tsn_map_del(&r->groups, in->group_key, strlen(in->group_key));
    tsn_map_del(&r->incidents, in->incident_id, strlen(in->incident_id));
    tsn_respond_incident_release(&h->in);
    tsn_free(h);
}

bool tsn_respond_any_firing(const struct tsn_incident *in)
{
    for (size_t i = 0; i < in->alert_count; i++)
        if (in->alerts[i].state == TSN_ALERT_FIRING)
            return true;
    return false;
}
