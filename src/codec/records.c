/*
 * records: the field tables of transition, command and incident event. The Avro schemas of the same names
 * under schemas/ say the same thing; tests/unit/test_codec.c holds the two against each other.
 */
#include "codec/record.h"

#define NAMES(func, type, n)                                        \
    static const char *func##_of(int v) { return func((type)v); }   \
    static const struct enum_names func##_names = { (n), func##_of }

NAMES(tsn_alert_state_name, enum tsn_alert_state, TSN_ALERT_RESOLVED + 1);
NAMES(tsn_end_reason_name, enum tsn_end_reason, TSN_END_RULE_GONE + 1);
NAMES(tsn_command_kind_name, enum tsn_command_kind, TSN_CMD_KIND_COUNT);
NAMES(tsn_incident_event_type_name, enum tsn_incident_event_type, TSN_INC_TYPE_COUNT);
NAMES(tsn_incident_state_name, enum tsn_incident_state, TSN_INCIDENT_RESOLVED + 1);

#define MUST true
#define MAY false
#define FIELD(type, need, owner, member) \
    { #member, type, need, offsetof(struct owner, member), 0, NULL, NULL }
#define NAMED(type, need, owner, member, as) \
    { as, type, need, offsetof(struct owner, member), 0, NULL, NULL }
#define TIME(need, owner, stem) NAMED(F_TIME, need, owner, stem##_ms, #stem)
#define CHARS(need, owner, member) \
    { #member, F_CHARS, need, offsetof(struct owner, member), sizeof(((struct owner *)0)->member), NULL, NULL }
#define ENUM(need, owner, member, table, as) \
    { as, F_ENUM, need, offsetof(struct owner, member), 0, &table, NULL }
#define TEXTS(owner, member, counter) \
    { #member, F_TEXTS, MAY, offsetof(struct owner, member), offsetof(struct owner, counter), NULL, NULL }
#define RECORDS(owner, member, counter, table, as) \
    { as, F_RECORDS, MAY, offsetof(struct owner, member), offsetof(struct owner, counter), NULL, &table }
#define RECORD(title, owner, table) { title, sizeof(struct owner), table, TSN_ARRAY_LEN(table) }

static const struct field transition_fields[] = {
    FIELD(F_I32, MUST, tsn_transition, format),
    CHARS(MUST, tsn_transition, alert_id),
    FIELD(F_TEXT, MUST, tsn_transition, rule),
    FIELD(F_TEXT, MUST, tsn_transition, group),
    FIELD(F_TEXT, MAY, tsn_transition, file),
    FIELD(F_I64, MAY, tsn_transition, rule_set),
    ENUM(MAY, tsn_transition, was, tsn_alert_state_name_names, "was"),
    ENUM(MUST, tsn_transition, state, tsn_alert_state_name_names, "state"),
    ENUM(MAY, tsn_transition, end_reason, tsn_end_reason_name_names, "end_reason"),
    FIELD(F_LABELS, MUST, tsn_transition, labels),
    FIELD(F_LABELS, MAY, tsn_transition, annotations),
    FIELD(F_DOUBLE, MUST, tsn_transition, value),
    TIME(MUST, tsn_transition, active_at),
    TIME(MAY, tsn_transition, fired_at),
    NAMED(F_TIME, MUST, tsn_transition, step_ms, "step_ts"),
    TIME(MAY, tsn_transition, keep_firing_since),
    FIELD(F_BOOL, MAY, tsn_transition, warming),
    TEXTS(tsn_transition, sample_lines, sample_line_count),
    TEXTS(tsn_transition, templates, template_count),
};
static const struct record transition_record = RECORD("alert transition", tsn_transition, transition_fields);

static const struct field command_fields[] = {
    FIELD(F_I32, MUST, tsn_command, format),
    FIELD(F_TEXT, MUST, tsn_command, command_id),
    ENUM(MUST, tsn_command, kind, tsn_command_kind_name_names, "kind"),
    FIELD(F_TEXT, MUST, tsn_command, incident_id),
    FIELD(F_TEXT, MUST, tsn_command, actor),
    FIELD(F_TEXT, MAY, tsn_command, reason),
    TIME(MAY, tsn_command, at),
    FIELD(F_I32, MAY, tsn_command, severity),
};
static const struct record command_record = RECORD("command", tsn_command, command_fields);

/* An alert at the top of an event: enough to route on without opening the snapshot. */
static const struct field alert_brief_fields[] = {
    CHARS(MUST, tsn_incident_alert, alert_id),
    ENUM(MUST, tsn_incident_alert, state, tsn_alert_state_name_names, "state"),
    FIELD(F_LABELS, MAY, tsn_incident_alert, labels),
};
static const struct record alert_brief_record = RECORD("alert", tsn_incident_alert, alert_brief_fields);

static const struct field alert_fields[] = {
    CHARS(MUST, tsn_incident_alert, alert_id),
    FIELD(F_LABELS, MUST, tsn_incident_alert, labels),
    FIELD(F_LABELS, MAY, tsn_incident_alert, annotations),
    ENUM(MUST, tsn_incident_alert, state, tsn_alert_state_name_names, "state"),
    ENUM(MAY, tsn_incident_alert, end_reason, tsn_end_reason_name_names, "end_reason"),
    FIELD(F_DOUBLE, MAY, tsn_incident_alert, value),
    TIME(MAY, tsn_incident_alert, fired_at),
    TIME(MAY, tsn_incident_alert, resolved_at),
    FIELD(F_BOOL, MAY, tsn_incident_alert, warming),
    TEXTS(tsn_incident_alert, sample_lines, sample_line_count),
    TEXTS(tsn_incident_alert, templates, template_count),
};
static const struct record alert_record = RECORD("incident alert", tsn_incident_alert, alert_fields);

static const struct field incident_fields[] = {
    FIELD(F_I32, MUST, tsn_incident, format),
    CHARS(MUST, tsn_incident, incident_id),
    FIELD(F_I64, MUST, tsn_incident, version),
    FIELD(F_TEXT, MUST, tsn_incident, group_key),
    FIELD(F_TEXT, MAY, tsn_incident, title),
    ENUM(MUST, tsn_incident, state, tsn_incident_state_name_names, "state"),
    FIELD(F_I32, MUST, tsn_incident, severity),
    FIELD(F_I32, MUST, tsn_incident, level),
    TIME(MAY, tsn_incident, opened_at),
    TIME(MAY, tsn_incident, acknowledged_at),
    TIME(MAY, tsn_incident, resolved_at),
    TIME(MAY, tsn_incident, respond_by),
    TIME(MAY, tsn_incident, resolve_by),
    TIME(MAY, tsn_incident, respond_breached_at),
    TIME(MAY, tsn_incident, resolve_breached_at),
    TIME(MAY, tsn_incident, escalate_at),
    FIELD(F_OPTION, MAY, tsn_incident, acknowledged_by),
    FIELD(F_OPTION, MAY, tsn_incident, commander),
    TEXTS(tsn_incident, services, service_count),
    RECORDS(tsn_incident, alerts, alert_count, alert_record, "alerts"),
    FIELD(F_I32, MAY, tsn_incident, reopen_count),
};
static const struct record incident_record = RECORD("incident", tsn_incident, incident_fields);

#define SNAP(type, need, member, as) NAMED(type, need, tsn_incident_event, snapshot.member, as)
static const struct field event_fields[] = {
    FIELD(F_I32, MUST, tsn_incident_event, format),
    { "incident_id", F_CHARS, MUST, offsetof(struct tsn_incident_event, snapshot.incident_id),
      sizeof(((struct tsn_incident *)0)->incident_id), NULL, NULL },
    FIELD(F_I64, MUST, tsn_incident_event, seq),
    ENUM(MUST, tsn_incident_event, type, tsn_incident_event_type_name_names, "type"),
    TIME(MUST, tsn_incident_event, event_time),
    SNAP(F_I32, MUST, severity, "severity"),
    SNAP(F_I32, MUST, level, "level"),
    SNAP(F_TEXT, MUST, group_key, "group_key"),
    FIELD(F_TEXT, MAY, tsn_incident_event, reason),
    FIELD(F_TEXT, MAY, tsn_incident_event, actor),
    { "alerts", F_RECORDS, MAY, offsetof(struct tsn_incident_event, snapshot.alerts),
      offsetof(struct tsn_incident_event, snapshot.alert_count), NULL, &alert_brief_record },
    SNAP(F_TIME, MAY, respond_by_ms, "respond_by"),
    SNAP(F_TIME, MAY, resolve_by_ms, "resolve_by"),
    { "snapshot", F_RECORD, MUST, offsetof(struct tsn_incident_event, snapshot), 0, NULL, &incident_record },
};
static const struct record event_record = RECORD("incident event", tsn_incident_event, event_fields);

#define CODEC(stem, type, table)                                                                     \
    void tsn_codec_##stem##_encode(const struct type *value, enum tsn_codec_form form,               \
                                   struct tsn_buf *out)                                              \
    {                                                                                                \
        record_put(&table, value, form, out);                                                        \
    }                                                                                                \
    enum tsn_err tsn_codec_##stem##_decode(const void *data, size_t len, enum tsn_codec_form form,   \
                                           struct type *value, struct tsn_error *error)              \
    {                                                                                                \
        return record_get(&table, data, len, form, value, error);                                    \
    }
CODEC(transition, tsn_transition, transition_record)
CODEC(incident_event, tsn_incident_event, event_record)
CODEC(incident, tsn_incident, incident_record)

void tsn_codec_command_encode(const struct tsn_command *command, enum tsn_codec_form form, struct tsn_buf *out)
{
    record_put(&command_record, command, form, out);
}

/* What anybody may have produced: enough to act on, or refused with the reason. */
static const char *command_fault(const struct tsn_command *c)
{
    if (!*c->command_id || strlen(c->command_id) > 256)
        return "command_id is empty or longer than 256 bytes";
    if (!*c->incident_id || strlen(c->incident_id) > 256)
        return "incident_id is empty or longer than 256 bytes";
    if (!*c->actor || strlen(c->actor) > 256)
        return "actor is empty or longer than 256 bytes";
    if (strlen(c->reason) > 4096)
        return "reason is longer than 4096 bytes";
    if (c->kind == TSN_CMD_SEVERITY && (c->severity < 1 || c->severity > 4))
        return "severity is not 1 to 4";
    return NULL;
}

enum tsn_err tsn_codec_command_decode(const void *data, size_t len, enum tsn_codec_form form,
                                      struct tsn_command *command, struct tsn_error *error)
{
    enum tsn_err err = record_get(&command_record, data, len, form, command, error);
    const char *fault = err == TSN_OK ? command_fault(command) : NULL;

    if (!fault)
        return err;
    tsn_command_release(command);
    return tsn_error_set(error, TSN_ERR_INVALID, "command: %s", fault);
}
