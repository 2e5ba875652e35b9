/*
 * respond: STAGE 3 as a value (L4): alert transitions, commands and the incident clock in;
 * incident events, snapshots, pages and answers out.
 *
 * A struct tsn_respond is the whole state: incidents, where the inputs stand, the clock. Each call
 * is the function  state × input → state' × effects ; it changes the state in place, touches
 * nothing else, and the same inputs give the same effects to the byte. The Redis store keeps the
 * SAVE effects of each input in one script; a driver whose store failed throws the state away and
 * restores it. For simulator, replay and demo the state alone is the store.
 *
 * What holds:
 *   - input offsets at or below the applied one change nothing and give nothing;
 *   - before any input, timers due at the given clock reading are applied, in order of due time,
 *     then incident id; a timer's event bears its due time;
 *   - a level's timer starts when that level was paged (by the clock reading, not the due time):
 *     after an hour of downtime one level climbs, not three;
 *   - events of an incident are numbered from 1 without gaps and each has the whole incident;
 *   - a severity that was computed only rises while the incident is open (a falling one would
 *     move deadlines under people's feet); a person may set it either way, and it then stands
 *     until the incident reopens;
 *   - the clock never goes back: a reading before the last counts as the last.
 *
 * An incident is kept for the reopen window after it was resolved, and while an alert of it
 * fires, then forgotten. Limits: see struct tsn_respond_options; a hit is counted, and said.
 */
#ifndef TOCSIN_RESPOND_H
#define TOCSIN_RESPOND_H

#include "tocsin/policy.h"

#define TSN_RESPOND_COMMANDS_KEPT 64 /* command ids remembered by an incident, newest last */
#define TSN_RESPOND_TEXT_MAX 4096    /* bytes of a reason or actor; the rest is cut */

/* What RESPOND knows of an incident: the public snapshot and what only it needs. */
struct tsn_respond_incident {
    struct tsn_incident pub; /* pub.escalate_at_ms is its next due time, of whatever timer */
    int64_t paged_at_ms[TSN_LEVELS + 1]; /* TSN_TIME_NONE: not yet */
    int64_t started_at_ms; /* opened or last reopened: deadlines count from here */
    int64_t floor_ms;      /* last change of severity or policy: no timer is due before it, so that a
                              deadline that a change has put in the past is met at the change */
    bool severity_set;     /* by a person */
    struct tsn_texts commands;           /* applied command ids */
};
void tsn_respond_incident_release(struct tsn_respond_incident *incident);
void tsn_respond_incident_copy(struct tsn_respond_incident *to, const struct tsn_respond_incident *from);

enum tsn_effect_kind {
    TSN_EFFECT_EVENT,  /* → topic incidents */
    TSN_EFFECT_PAGE,   /* → people; not in shadow mode */
    TSN_EFFECT_SAVE,   /* → store and topic respond: the incident after this input, its timer inside */
    TSN_EFFECT_FORGET, /* the incident is over: delete it there */
    TSN_EFFECT_ANSWER  /* → who gave the command */
};

struct tsn_page {
    int32_t level, severity;
    bool tell; /* tell, do not wake */
    enum tsn_page_channel channel;
    char **people; /* owned */
    size_t people_count;
    char *title, *reason; /* owned */
    int64_t at_ms;
    char dedup_key[64]; /* "<incident>:<level>": the same for each try and for the direct path's */
};

struct tsn_answer {
    char *command_id; /* owned */
    enum tsn_err code;
    char *message; /* owned; "" when all is well */
};

struct tsn_effect {
    enum tsn_effect_kind kind;
    char incident_id[40];
    int64_t version;                     /* of the incident; 0: none */
    struct tsn_incident_event event;     /* EVENT */
    struct tsn_page page;                /* PAGE */
    struct tsn_respond_incident *record; /* SAVE; owned */
    struct tsn_answer answer;            /* ANSWER */
};
/* In order: events and pages as they happened, then SAVE and FORGET by incident id, then ANSWER. */
struct tsn_effects {
    struct tsn_effect *items;
    size_t len, cap;
};
void tsn_effects_clear(struct tsn_effects *effects); /* keeps the array */
void tsn_effects_release(struct tsn_effects *effects);

struct tsn_respond_options {
    bool shadow;             /* no PAGE effects */
    size_t max_incidents;    /* 0: 10,000 held at once; a new one over it is refused */
    size_t max_alerts;       /* 0: 1,000 in one incident; ended ones leave first, then new ones are refused */
    size_t max_text_bytes;   /* 0: 512 KiB of labels, annotations and lines in one incident; ended ones leave first, then
                                annotations and lines are cut, then new ones are refused: an event must fit a record */
};

struct tsn_respond_counters {
    uint64_t transitions, commands, duplicates; /* duplicates: offsets skipped */
    uint64_t pending_ignored, unknown_ended;    /* the end of an alert no incident holds */
    uint64_t heartbeats;                        /* alerts of severity "none": never an incident */
    uint64_t inhibited;                         /* joined under a higher alert, told nobody */
    uint64_t opened, reopened, resolved, escalated, breached;
    uint64_t commands_refused, limit_incidents, limit_alerts, cut_alerts;
};

struct tsn_respond;
/* Policy is borrowed and must outlive it. */
struct tsn_respond *tsn_respond_new(const struct tsn_policy *policy, const struct tsn_respond_options *options);
void tsn_respond_free(struct tsn_respond **respond);

/* Offsets of the last applied record; -1: none. */
struct tsn_respond_position {
    int64_t alerts, commands, clock_ms;
};
struct tsn_respond_position tsn_respond_position(const struct tsn_respond *respond);
/* For a takeover, before any input. */
void tsn_respond_set_position(struct tsn_respond *respond, struct tsn_respond_position position);
/* Takes the content of *incident (which is emptied). CONFLICT if the id is held already. */
enum tsn_err tsn_respond_restore(struct tsn_respond *respond, struct tsn_respond_incident *incident,
                                 struct tsn_error *error);

/* Inputs. `effects` is appended to. now_ms: the incident clock. */
void tsn_respond_transition(struct tsn_respond *respond, int64_t offset, int64_t now_ms,
                            const struct tsn_transition *transition, struct tsn_effects *effects);
void tsn_respond_command(struct tsn_respond *respond, int64_t offset, int64_t now_ms,
                         const struct tsn_command *command, struct tsn_effects *effects);
void tsn_respond_tick(struct tsn_respond *respond, int64_t now_ms, struct tsn_effects *effects);
/* Another policy (reload): deadlines and timers of open incidents are computed anew from when they
 * were opened (or reopened) and paged; severities may rise. Borrowed like the first. */
void tsn_respond_set_policy(struct tsn_respond *respond, const struct tsn_policy *policy, int64_t now_ms,
                            struct tsn_effects *effects);
/* A record of `alerts` or `commands` that could not be decoded: only the offset moves. */
void tsn_respond_skip(struct tsn_respond *respond, bool is_command, int64_t offset);

/* The earliest due time of all; TSN_TIME_NONE if there is none. O(incidents). */
int64_t tsn_respond_next_due(const struct tsn_respond *respond);
/* NULL if not held. Borrowed until the next input. */
const struct tsn_respond_incident *tsn_respond_get(const struct tsn_respond *respond, const char *incident_id);
/* The newest incident held of a group; NULL if there is none. Borrowed until the next input. */
const struct tsn_respond_incident *tsn_respond_of_group(const struct tsn_respond *respond, const char *group_key);
/* All held, by incident id. The array is the caller's (tsn_free), its items are borrowed. */
const struct tsn_respond_incident **tsn_respond_list(const struct tsn_respond *respond, size_t *count);
const struct tsn_respond_counters *tsn_respond_counters(const struct tsn_respond *respond);

/* Severity of one alert by label, tier and whether all core services are down: what the direct
 * path pages by when nothing else can be asked. */
int32_t tsn_respond_alert_severity(const struct tsn_policy *policy, const struct tsn_labels *labels, bool all_down);
/* An alert that never is an incident: its label severity says "none" (the watchdog convention: an alert that always
 * fires, for whoever watches its absence) and no incident_severity says otherwise. */
bool tsn_respond_heartbeat(const struct tsn_labels *labels);
/* The group key of an alert, e.g. {service="hook-receiver"}. Caller frees. */
char *tsn_respond_group_key(const struct tsn_policy *policy, const struct tsn_labels *labels);
/* "inc-" + 16 hex over group key, first alert and its fired_at. */
void tsn_respond_incident_id(char out[40], const char *group_key, const char *alert_id, int64_t fired_at_ms);

#endif
