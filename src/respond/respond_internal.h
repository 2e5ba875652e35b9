/* What the files of respond share: the state, and one input's way through it. */
#ifndef TSN_RESPOND_INTERNAL_H
#define TSN_RESPOND_INTERNAL_H

#include "tocsin/respond.h"

struct tsn_held {
    struct tsn_respond_incident in;
    bool dirty; /* changed by the running input */
    /* Its next timer, as long as nothing changes (dirty): a turn asks all of them. */
    bool due_known;
    int due; /* enum tsn_due */
    int64_t due_ms;
};

struct tsn_respond {
    const struct tsn_policy *policy; /* borrowed */
    struct tsn_respond_options options;
    struct tsn_map incidents; /* incident id → struct tsn_held * */
    struct tsn_map groups;    /* group key → struct tsn_held *: the newest of the group */
    struct tsn_respond_position position;
    struct tsn_respond_counters counters;
    bool all_down; /* every core service has a firing outage alert */
    bool restored; /* incidents were added since all_down was computed */
};

/* severity.c */
const char *tsn_respond_service_label(const struct tsn_labels *labels); /* NULL: none */
bool tsn_respond_inhibited(const struct tsn_policy *policy, const struct tsn_incident *in, size_t alert);
int32_t tsn_respond_severity(const struct tsn_policy *policy, const struct tsn_incident *in, bool all_down);
bool tsn_respond_all_down(const struct tsn_respond *r);
void tsn_respond_services(const struct tsn_policy *policy, struct tsn_incident *in);

/* timers.c */
enum tsn_due { TSN_DUE_NONE, TSN_DUE_RESPOND, TSN_DUE_RESOLVE, TSN_DUE_CLIMB, TSN_DUE_FORGET };
enum tsn_due tsn_respond_due(const struct tsn_respond *r, const struct tsn_respond_incident *in, int64_t *due_ms);
void tsn_respond_advance(struct tsn_respond *r, int64_t now_ms, struct tsn_effects *effects);

/* emit.c */
/* The next event, with the incident as it is now: change it first, page afterwards. */
void tsn_respond_emit(struct tsn_respond *r, struct tsn_held *h, enum tsn_incident_event_type type,
                      int64_t at_ms, const char *actor, const char *reason, struct tsn_effects *effects);
/* Starts the timers of the levels that the severity pages at once, and of the level it stands at. */
void tsn_respond_mark_paged(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms);
/* Pages or tells one level: an effect alone. */
void tsn_respond_page(struct tsn_respond *r, struct tsn_held *h, int32_t level, bool tell, int64_t now_ms,
                      const char *reason, struct tsn_effects *effects);
/* The levels that the incident's severity names. */
void tsn_respond_page_severity(struct tsn_respond *r, struct tsn_held *h, int64_t now_ms, const char *reason,
                               struct tsn_effects *effects);
/* SAVE for all that is dirty, by incident id. */
void tsn_respond_flush(struct tsn_respond *r, struct tsn_effects *effects);
void tsn_respond_forget(struct tsn_respond *r, struct tsn_held *h, struct tsn_effects *effects);
/* Held incidents by id; caller frees the array. */
struct tsn_held **tsn_respond_sorted(const struct tsn_respond *r);
bool tsn_respond_any_firing(const struct tsn_incident *in);

#endif
