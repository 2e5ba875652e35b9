/*
 * severity: what an incident is called, and how bad it is.
 *
 * One alert: the label incident_severity (1–4) is a rule author's last word. Else, an outage alert
 * counts by its service: what the catalogue says for it, or its tier's word, or Sev 2 for a service
 * nobody listed. Else the severity label counts, held down by a tier of 3 or 4. An incident is
 * as bad as its worst firing alert that no higher one inhibits; where every core service is down, an
 * incident with an outage of a core service is Sev 1.
 */
#include "respond/respond_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *tsn_respond_service_label(const struct tsn_labels *labels)
{
    const char *service = tsn_labels_get(labels, "service");

    return service ? service : tsn_labels_get(labels, "job");
}

static const struct tsn_service *service_of(const struct tsn_policy *policy, const struct tsn_labels *labels)
{
    const char *name = tsn_respond_service_label(labels);

    return name ? tsn_policy_service(policy, name) : NULL;
}

static bool is_outage(const struct tsn_policy *policy, const struct tsn_labels *labels)
{
    const char *name = tsn_labels_get(labels, "alertname");

    return name && tsn_policy_is_outage(policy, name);
}

static int32_t label_severity(const struct tsn_policy *policy, const struct tsn_labels *labels)
{
    const char *text = tsn_labels_get(labels, "severity");
    struct tsn_buf key = TSN_BUF_INIT;
    int32_t severity = 0;

    for (const char *c = text ? text : ""; *c; c++)
        tsn_buf_putc(&key, *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c);
    if (text)
        severity = (int32_t)(intptr_t)tsn_map_get_str(&policy->escalation.label_severity, tsn_buf_str(&key));
    tsn_buf_release(&key);
    return severity ? severity : 3; /* no label, or one the policy does not know: medium */
}

static int32_t given_severity(const struct tsn_labels *labels)
{
    const char *given = tsn_labels_get(labels, "incident_severity");

    return given && given[0] >= '1' && given[0] <= '4' && !given[1] ? given[0] - '0' : 0;
}

bool tsn_respond_heartbeat(const struct tsn_labels *labels)
{
    const char *severity = tsn_labels_get(labels, "severity");

    return severity && strcasecmp(severity, "none") == 0 && !given_severity(labels);
}

int32_t tsn_respond_alert_severity(const struct tsn_policy *policy, const struct tsn_labels *labels, bool all_down)
{
    const struct tsn_service *service = service_of(policy, labels);
    int32_t severity = given_severity(labels);

    if (severity)
        return severity;
    if (is_outage(policy, labels)) {
        if (all_down && service && service->core)
            return 1;
        if (!service)
            return 2;
        return service->down ? service->down : policy->escalation.tier_down[service->tier];
    }
    severity = label_severity(policy, labels);
    if (service && service->tier >= 3 && severity < service->tier)
        severity = service->tier;
    return severity;
}

static bool inhibits(const struct tsn_inhibit *rule, const struct tsn_labels *source, const struct tsn_labels *target)
{
    const char *name = tsn_labels_get(source, "alertname");

    if (!name || strcmp(name, rule->source) != 0)
        return false;
    for (size_t i = 0; i < rule->equal.len; i++) {
        const char *a = tsn_labels_get(source, rule->equal.items[i]);
        const char *b = tsn_labels_get(target, rule->equal.items[i]);

        if (strcmp(a ? a : "", b ? b : "") != 0)
            return false;
    }
    return true;
}

bool tsn_respond_inhibited(const struct tsn_policy *policy, const struct tsn_incident *in, size_t alert)
{
    const struct tsn_escalation *e = &policy->escalation;
    const char *name = tsn_labels_get(in->alerts[alert].labels, "alertname");

    for (size_t i = 0; name && i < e->inhibit_count; i++) {
        if (strcmp(name, e->inhibits[i].target) != 0)
            continue;
        for (size_t a = 0; a < in->alert_count; a++)
            if (in->alerts[a].state == TSN_ALERT_FIRING &&
                inhibits(&e->inhibits[i], in->alerts[a].labels, in->alerts[alert].labels))
                return true;
    }
    return false;
}

int32_t tsn_respond_severity(const struct tsn_policy *policy, const struct tsn_incident *in, bool all_down)
{
    int32_t worst = TSN_SEVERITIES;

    for (size_t i = 0; i < in->alert_count; i++) {
        int32_t severity;

        if (in->alerts[i].state != TSN_ALERT_FIRING || tsn_respond_inhibited(policy, in, i))
            continue;
        severity = tsn_respond_alert_severity(policy, in->alerts[i].labels, all_down);
        if (severity < worst)
            worst = severity;
    }
    return worst;
}

/* Marks the core services that an incident's firing outage alerts name; returns how many were new. */
static size_t mark_down(const struct tsn_policy *policy, const struct tsn_incident *in, bool *down)
{
    size_t fresh = 0;

    for (size_t i = 0; i < in->alert_count; i++) {
        const struct tsn_service *service;
        size_t at;

        if (in->alerts[i].state != TSN_ALERT_FIRING || !is_outage(policy, in->alerts[i].labels))
            continue;
        service = service_of(policy, in->alerts[i].labels);
        if (!service || !service->core)
            continue;
        at = (size_t)(service - policy->services.items);
        fresh += !down[at];
        down[at] = true;
    }
    return fresh;
}

bool tsn_respond_all_down(const struct tsn_respond *r)
{
    const struct tsn_catalogue *c = &r->policy->services;
    bool *down = tsn_calloc(c->len, sizeof *down);
    size_t core = 0, hit = 0;

    for (size_t i = 0; i < c->len; i++)
        core += c->items[i].core;
    tsn_map_foreach(&r->incidents, e)
        hit += mark_down(r->policy, &((struct tsn_held *)e->value)->in.pub, down);
    tsn_free(down);
    return core >= 2 && hit == core; /* one core service alone is "one service down" */
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Services of all its alerts, ended ones too: the incident's reach, by catalogue name, sorted. */
void tsn_respond_services(const struct tsn_policy *policy, struct tsn_incident *in)
{
    struct tsn_texts found = { NULL, 0, 0 };

    for (size_t i = 0; i < in->alert_count; i++) {
        const struct tsn_service *service = service_of(policy, in->alerts[i].labels);
        const char *name = service ? service->name : tsn_respond_service_label(in->alerts[i].labels);

        if (name && !tsn_texts_has(&found, name))
            tsn_texts_add(&found, name, strlen(name));
    }
    if (found.len)
        qsort(found.items, found.len, sizeof *found.items, compare_texts);
    for (size_t i = 0; i < in->service_count; i++)
        tsn_free(in->services[i]);
    tsn_free(in->services);
    in->services = found.items;
    in->service_count = found.len;
}

char *tsn_respond_group_key(const struct tsn_policy *policy, const struct tsn_labels *labels)
{
    struct tsn_labels_builder b;
    struct tsn_labels *key;
    struct tsn_buf text = TSN_BUF_INIT;
    char *out;

    tsn_labels_builder_init(&b);
    for (size_t i = 0; i < policy->group_by.len; i++) {
        const char *name = policy->group_by.items[i], *value = tsn_labels_get(labels, name);

        if (strcmp(name, "service") == 0) {
            const struct tsn_service *service = service_of(policy, labels);

            value = service ? service->name : tsn_respond_service_label(labels);
        }
        tsn_labels_builder_set(&b, name, value ? value : "");
    }
    key = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    tsn_labels_format(&text, key);
    tsn_labels_unref(key);
    out = tsn_strdup(tsn_buf_str(&text));
    tsn_buf_release(&text);
    return out;
}

void tsn_respond_incident_id(char out[40], const char *group_key, const char *alert_id, int64_t fired_at_ms)
{
    static const char digits[] = "0123456789abcdef";
    struct tsn_buf text = TSN_BUF_INIT;
    uint64_t hash;

    tsn_buf_printf(&text, "%s\n%s\n%lld", group_key, alert_id, (long long)fired_at_ms);
    hash = tsn_hash64(text.data, text.len);
    tsn_buf_release(&text);
    memcpy(out, "inc-", 4);
    for (int i = 0; i < 16; i++)
        out[4 + i] = digits[hash >> (60 - 4 * i) & 15];
    out[20] = '\0';
}
