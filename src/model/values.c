/* values: names of the enumerations, and release of the records that stages exchange. */
#include "tocsin/model.h"

#include <string.h>

static const char *const alert_state_names[] = { "inactive", "pending", "firing", "resolved" };
static const char *const end_reason_names[] = {
    "", "condition", "series_gone", "producer_silent", "partition_idle", "rule_gone"
};
static const char *const command_names[] = { "ack", "resolve", "escalate", "note", "severity" };
static const char *const event_names[] = {
    "opened", "updated", "acknowledged", "escalated", "breached", "note", "resolved", "reopened"
};
static const char *const incident_state_names[] = { "open", "acknowledged", "resolved" };

static bool find_name(const char *const *names, size_t count, const char *text, int *out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) {
            *out = (int)i;
            return true;
        }
    return false;
}

#define NAMED(type, func, table)                                       \
    const char *func##_name(type value)                                \
    {                                                                  \
        TSN_ASSERT((size_t)value < TSN_ARRAY_LEN(table));              \
        return (table)[value];                                         \
    }
#define PARSED(type, func, table)                                      \
    bool func##_parse(const char *text, type *out)                     \
    {                                                                  \
        int found;                                                     \
                                                                       \
        if (!find_name((table), TSN_ARRAY_LEN(table), text, &found))   \
            return false;                                              \
        *out = (type)found;                                            \
        return true;                                                   \
    }

NAMED(enum tsn_alert_state, tsn_alert_state, alert_state_names)
PARSED(enum tsn_alert_state, tsn_alert_state, alert_state_names)
NAMED(enum tsn_end_reason, tsn_end_reason, end_reason_names)
PARSED(enum tsn_end_reason, tsn_end_reason, end_reason_names)
NAMED(enum tsn_command_kind, tsn_command_kind, command_names)
PARSED(enum tsn_command_kind, tsn_command_kind, command_names)
NAMED(enum tsn_incident_event_type, tsn_incident_event_type, event_names)
PARSED(enum tsn_incident_event_type, tsn_incident_event_type, event_names)
NAMED(enum tsn_incident_state, tsn_incident_state, incident_state_names)
PARSED(enum tsn_incident_state, tsn_incident_state, incident_state_names)

void tsn_batch_release(struct tsn_batch *b)
{
    for (size_t i = 0; i < b->input_count; i++)
        tsn_free(b->inputs[i].topic);
    for (size_t i = 0; i < b->decl_count; i++) {
        for (size_t n = 0; n < b->decls[i].name_count; n++)
            tsn_free(b->decls[i].names[n]);
        tsn_free(b->decls[i].names);
        tsn_free(b->decls[i].topic);
        tsn_free(b->decls[i].type);
    }
    for (size_t i = 0; i < b->series_count; i++)
        tsn_labels_unref(b->series[i].labels);
    for (size_t i = 0; i < b->signature_count; i++) {
        tsn_free(b->signatures[i].service);
        tsn_free(b->signatures[i].level);
        tsn_free(b->signatures[i].text);
        tsn_free(b->signatures[i].sample);
        tsn_free(b->signatures[i].sample_topic);
    }
    for (size_t i = 0; i < b->signature_count_count; i++) {
        tsn_free(b->signature_counts[i].service);
        tsn_free(b->signature_counts[i].level);
    }
    tsn_free(b->inputs);
    tsn_free(b->decls);
    tsn_free(b->series);
    tsn_free(b->points);
    tsn_free(b->deltas);
    tsn_free(b->signatures);
    tsn_free(b->signature_counts);
    memset(b, 0, sizeof *b);
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tsn_free(texts[i]);
    tsn_free(texts);
}

void tsn_transition_release(struct tsn_transition *t)
{
    tsn_free(t->rule);
    tsn_free(t->group);
    tsn_free(t->file);
    tsn_labels_unref(t->labels);
    tsn_labels_unref(t->annotations);
    free_texts(t->templates, t->template_count);
    free_texts(t->sample_lines, t->sample_line_count);
    memset(t, 0, sizeof *t);
}

void tsn_command_release(struct tsn_command *c)
{
    tsn_free(c->command_id);
    tsn_free(c->incident_id);
    tsn_free(c->actor);
    tsn_free(c->reason);
    memset(c, 0, sizeof *c);
}

void tsn_incident_release(struct tsn_incident *incident)
{
    for (size_t i = 0; i < incident->alert_count; i++) {
        tsn_labels_unref(incident->alerts[i].labels);
        tsn_labels_unref(incident->alerts[i].annotations);
        free_texts(incident->alerts[i].templates, incident->alerts[i].template_count);
        free_texts(incident->alerts[i].sample_lines, incident->alerts[i].sample_line_count);
    }
    tsn_free(incident->alerts);
    free_texts(incident->services, incident->service_count);
    tsn_free(incident->group_key);
    tsn_free(incident->title);
    tsn_free(incident->acknowledged_by);
    tsn_free(incident->commander);
    memset(incident, 0, sizeof *incident);
}

static char *copy_text(const char *text)
{
    return text ? tsn_strdup(text) : NULL;
}

static char **copy_texts(char *const *texts, size_t count)
{
    char **copy = count ? tsn_calloc(count, sizeof *copy) : NULL;

    for (size_t i = 0; i < count; i++)
        copy[i] = tsn_strdup(texts[i]);
    return copy;
}

void tsn_incident_copy(struct tsn_incident *to, const struct tsn_incident *from)
{
    *to = *from;
    to->group_key = copy_text(from->group_key);
    to->title = copy_text(from->title);
    to->acknowledged_by = copy_text(from->acknowledged_by);
    to->commander = copy_text(from->commander);
    to->services = copy_texts(from->services, from->service_count);
    to->alerts = from->alert_count ? tsn_memdup(from->alerts, from->alert_count * sizeof *from->alerts) : NULL;
    for (size_t i = 0; i < from->alert_count; i++) {
        struct tsn_incident_alert *a = &to->alerts[i];

        a->labels = a->labels ? tsn_labels_ref(a->labels) : NULL;
        a->annotations = a->annotations ? tsn_labels_ref(a->annotations) : NULL;
        a->templates = copy_texts(a->templates, a->template_count);
        a->sample_lines = copy_texts(a->sample_lines, a->sample_line_count);
    }
}

void tsn_incident_event_release(struct tsn_incident_event *event)
{
    tsn_free(event->reason);
    tsn_free(event->actor);
    tsn_incident_release(&event->snapshot);
    memset(event, 0, sizeof *event);
}
