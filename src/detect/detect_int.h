/*
 * detect_int: what the files of detect share. See tocsin/detect.h for the picture.
 *
 *   detect.c        the object, apply, counters
 *   ruleset.c       which rule set is in force, its units, switching
 *   event_time.c    inputs, declarations, unit time, when a step is due
 *   samples.c       writers and their short names, lateness, the minutes of the index
 *   series_store.c  series by id and name, panes, lives of counters
 *   steps.c         one step of one unit: rules, what they write, why an alert ended
 *   state.c         writing the state topic
 *   takeover.c      reading it back
 *   mining*.c       log signatures into templates and their series (mining.h)
 */
#ifndef TOCSIN_DETECT_INT_H
#define TOCSIN_DETECT_INT_H

#include "tocsin/detect.h"
#include "tocsin/plan.h"

#define TSN_PANE_MS INT64_C(1000)
#define TSN_MINUTE_MS INT64_C(60000)
#define TSN_DEFAULT_LOOKBACK_MS INT64_C(300000) /* Prometheus's */

/* Rounds down, before the epoch too. */
static inline int64_t tsn_minute_of(int64_t ms)
{
    return ms / TSN_MINUTE_MS - (ms % TSN_MINUTE_MS < 0);
}

struct rule_run;

/* What was counted in an open pane; folded into the total when a step passes its end. */
struct open_pane {
    int64_t pane_ms;
    tsn_fixed delta;
};

/* One life of a counter: from its first pane to its last. */
struct life {
    tsn_fixed total;
    int64_t birth_ms, last_ms; /* panes; birth TSN_TIME_NONE: not born */
    bool changed;              /* since the last checkpoint */
    bool restored;             /* from state: its refilled panes await their base */
    bool dead;                 /* behind all windows: to be deleted from state */
};

/* A rule in state: file;group, and the rule's key (struct rule_run). */
struct holder {
    char *group, *rule;
};

/* What only a series that a rule writes has. */
struct derived {
    uint64_t mark;             /* the rule and step that wrote it last */
    int64_t dirty_ms;          /* earliest sample not in state; TSN_TIME_NONE: none */
    TSN_VEC(int64_t) minutes;  /* minutes that have a record in state */
    TSN_VEC(struct holder) by; /* checkpoint and takeover: the rules that give it; owned */
};

struct series {
    struct tsn_labels *labels;
    enum tsn_sample_kind kind;
    bool own;     /* its shard is this partition (else it is here for a global unit) */
    bool derived; /* written by a rule */
    bool listed;  /* on the list of series with open panes or a running ttl */
    bool queued;  /* on the list of counters to save */
    bool mined;   /* of a log template: a counter whose samples lie in state, as a derived one's do */
    struct tsn_samples samples; /* what its plans read */
    struct tsn_plan_series *plan; /* its handle in the store's plans; NULL: no rule set in force */
    TSN_VEC(struct open_pane) panes;    /* sorted by pane */
    struct life life;                   /* the current one */
    TSN_VEC(struct life) ended;         /* former ones inside the windows, by birth */
    const uint32_t *units;              /* indexes of units that read it; shared */
    uint32_t unit_count;
    uint32_t refs;             /* short names of writers that stand for it, rules that write it */
    struct derived *more;      /* never NULL; of all that are not derived the same, empty */
};

struct series_list {
    struct series **items;
    size_t len, cap;
    bool unsorted;
};

struct series_store {
    struct series **by_id;  /* open addressing by the id's low bits, load at most 2/3 */
    uint32_t by_id_cap;     /* a power of two */
    struct tsn_map by_name; /* metric name → struct series_list */
    struct series_list all;
    struct series_list open; /* deltas: open panes or a ttl to watch */
    struct tsn_plans *plans; /* of the rules in force, over these series */
};

void tsn_series_forget_holders(struct series *s);
/* A rule writes it from now on. */
void tsn_series_derive(struct series *s);
struct series *tsn_store_get(struct series_store *store, struct tsn_u128 id);
struct series *tsn_store_add(struct series_store *store, struct tsn_labels *labels, enum tsn_sample_kind kind);
/* Frees every series for which gone() holds. */
void tsn_store_sweep(struct series_store *store, bool (*gone)(const struct series *, void *), void *arg);
void tsn_store_init(struct series_store *store);
void tsn_store_release(struct series_store *store);
/* Which series a plan sees: those of the partition's own shard, or all. */
enum { TSN_SCOPE_OWN, TSN_SCOPE_ALL };
/* Takes the plans (of no series yet), and gives back the former ones' memory. NULL: none. */
void tsn_store_set_plans(struct series_store *store, struct tsn_plans *plans);
/* The store's plans read the series from now on, if they do not yet. */
void tsn_store_plan_series(struct series_store *store, struct series *s);
/* Plans that stood at this very time before look again: its samples changed. */
void tsn_store_touch(struct series_store *store, struct series *s);
/* Keeps order; of two samples of one time the greater bit pattern stays. */
void tsn_series_insert(struct series *s, int64_t ts_ms, double value);
/* As a head block appends: false if there is a later sample, or another value of the same time. */
bool tsn_series_append(struct series *s, int64_t ts_ms, double value);
bool tsn_series_add_delta(struct series *s, int64_t pane_ms, tsn_fixed delta);
/* Folds panes that end at or before ts_ms and ends counters whose ttl has passed by then. True if
 * its lives changed. */
bool tsn_series_close_panes(struct series *s, int64_t ts_ms, int64_t ttl_ms);
/* Takeover: folds the refilled panes of restored lives that ended by ts_ms, and marks their ends. */
void tsn_series_rebase(struct series *s, int64_t ts_ms, int64_t ttl_ms);
void tsn_series_trim(struct series *s, int64_t before_ms);
/* Makes place for `more` samples: drops those at or before before_ms first, grows by little. */
void tsn_series_room(struct series *s, size_t more, int64_t before_ms);
/* Newest sample at or before ts within the lookback, not stale. */
bool tsn_series_live(const struct series *s, int64_t ts_ms, int64_t lookback_ms);

/* Storage view for an evaluator: all series of the partition, or only its own shard's; nothing at
 * or before floor_ms. */
struct store_view {
    struct series_store *store;
    bool own_only;
    int64_t floor_ms;
};
void tsn_store_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms,
                      int64_t to_ms, struct tsn_series_list *out);

/* One input partition, as last reported. */
struct input {
    bool known; /* somebody spoke for it */
    int64_t watermark_ms, idle_clock_ms;
    bool idle;
    int64_t rule_set;
};

/* One input topic: its declaration, once there is one, and its partitions. */
struct input_topic {
    char *name;
    bool declared;
    struct tsn_input_decl decl;
    TSN_VEC(struct input) parts;
};

struct rule_run {
    const struct tsn_rule *rule;
    char *key; /* file;group/rule/variant: names the rule in state, the same after a reload */
    struct tsn_alert_rule_state alerts;
    TSN_VEC(struct series *) written; /* derived series given at the last good step */
    uint64_t evaluations, errors, last_count;
    bool ever_matched;
    char *last_error;
    struct tsn_plan *plan; /* borrowed from the store's plans; NULL where the unit is not */
};

struct group_run {
    const struct tsn_group *group;
    char *key; /* file;group */
    struct rule_run **rules;
    TSN_VEC(struct series *) orphans; /* written by rules that a switch took away: end at the next step */
};

/* Groups that step together, with one clock. */
struct unit {
    char *name; /* file;group of its first group */
    uint32_t *groups;
    uint32_t group_count;
    int32_t place; /* partition, or -1 */
    bool here;
    int64_t time_ms, last_step_ms; /* TSN_TIME_NONE */
    int64_t start_ms; /* the first step is there or just after: where time first stood, or an earlier sample */
    int64_t window_ms; /* longest reach back of its selectors, at least the lookback */
    int64_t warm_until_ms;
    bool any_selector;
    bool mines; /* here, and reads series of log templates */
    struct tsn_routes routes; /* its selectors */
    bool *fed_by;             /* per input topic: can feed a selector */
};

struct rule_version {
    int64_t number;
    struct tsn_rule_set *set;
};

/* Who writes from one worker slot, and what its short names stand for in this wall minute. */
struct writer {
    int32_t slot;
    int64_t writer, minute;
    int64_t first_offset; /* of the minute */
    struct series **refs; /* by short name: the series, NULL if not announced, &nobody if over the limit */
    uint32_t refs_cap;
    uint32_t ref_count;
    struct tsn_map far_refs; /* short names that are not small: uint32_t → the same */
    int64_t texts_minute;    /* log texts announced: in this minute … */
    uint64_t text_bytes;     /* … so many bytes */
};

/* A place from which a refill can start: the time state before `offset`. */
struct mark {
    int64_t offset, wall_ms;
    char *text; /* JSON; NULL: none taken */
};
struct index_entry {
    int64_t minute, offset; /* event minute; of the mark */
    char *text;             /* the mark's */
    bool written;
};

struct tsn_detect {
    struct tsn_detect_options opt;
    struct series_store store;
    TSN_VEC(struct input_topic) topics;
    TSN_VEC(struct writer *) writers;
    TSN_VEC(struct rule_version) versions; /* by number */
    struct tsn_rule_set *set; /* in force; NULL before any */
    int64_t set_number;
    struct group_run *groups;
    struct unit *units;
    uint32_t unit_count;
    bool alerts_read; /* some selector can read ALERTS or ALERTS_FOR_STATE */
    int64_t floor_ms; /* what lies at or before it is forgotten: raised by switches, saved */
    int64_t needless_ms; /* what lies at or before it no unit reads, as of the last step */
    struct tsn_map unit_lists;     /* lists of units that read a series → the list */
    TSN_VEC(uint32_t) unit_list;   /* scratch */
    uint64_t step_mark;
    uint64_t trimmed_at; /* steps at the last trim */
    struct mark mark;
    TSN_VEC(struct index_entry) index;   /* by minute */
    TSN_VEC(int64_t) index_gone;         /* minutes to delete from state */
    TSN_VEC(struct series *) changed;    /* counters to save */
    TSN_VEC(struct series *) dirty;      /* derived series to save */
    uint64_t derived_trimmed_at;         /* steps when derived minutes were last looked through */
    int64_t refill_from, refill_until;   /* [from, until) fills windows; below from: names only */
    struct tsn_map restored_alerts;      /* key → owned text, until the refill ends */
    struct tsn_map restored_marks;       /* "checkpoint" and index minutes → owned text */
    struct mining *mining;       /* mining.h */
    struct tsn_map written_keys; /* alert state keys alive in the topic → hash of the value */
    struct tsn_detect_stats stats;
};

/* ruleset.c */
void tsn_detect_maybe_switch(struct tsn_detect *d, struct tsn_detect_output *out);
/* Takeover: set `number` in force, without a past. False if it is not known. */
bool tsn_detect_install_set(struct tsn_detect *d, int64_t number);
void tsn_detect_attach_series(struct tsn_detect *d, struct series *s);
void tsn_detect_release_set(struct tsn_detect *d);
void tsn_detect_emit(struct tsn_detect *d, const struct tsn_group *group, const struct tsn_rule *rule,
                     const struct tsn_alert_change *change, enum tsn_end_reason reason, int64_t step_ms, bool warming,
                     struct tsn_detect_output *out);
/* What lies at or before it no unit will read again under the set in force. TSN_TIME_NONE: keep all. */
int64_t tsn_detect_needless_ms(const struct tsn_detect *d);

/* event_time.c */
void tsn_detect_take_inputs(struct tsn_detect *d, const struct tsn_batch *b);
struct input_topic *tsn_detect_topic(struct tsn_detect *d, const char *name);
struct input *tsn_detect_input(struct input_topic *topic, int32_t partition);
void tsn_detect_declare(struct tsn_detect *d, const struct tsn_input_decl *decl);
void tsn_detect_feeds(struct tsn_detect *d);
/* Could a series of this name match the selector? */
bool tsn_detect_name_possible(const struct tsn_route *route, const char *name);
void tsn_detect_advance(struct tsn_detect *d);
bool tsn_detect_all_idle(const struct tsn_detect *d);
int64_t tsn_detect_next_step(const struct tsn_detect *d, const struct unit *unit);
void tsn_detect_release_inputs(struct tsn_detect *d);

/* samples.c */
int64_t tsn_detect_horizon(const struct tsn_detect *d, const struct series *s);
void tsn_detect_take_names(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset);
void tsn_detect_take_samples(struct tsn_detect *d, const struct tsn_batch *b);
void tsn_detect_list_open(struct tsn_detect *d, struct series *s);
/* The series' lives are to be saved; of one that is mined its samples from from_ms on, too. */
void tsn_detect_queue_series(struct tsn_detect *d, struct series *s, int64_t from_ms);
/* Something of this event time is in the batch: a refill that needs it can start at the mark. */
void tsn_detect_note_minute(struct tsn_detect *d, int64_t ts_ms);
/* Folds what every horizon has passed: after a switch a series may have another. */
void tsn_detect_close_to_horizon(struct tsn_detect *d);
/* Folds panes up to ts_ms and queues the series for saving if its lives changed. */
void tsn_detect_close_series(struct tsn_detect *d, struct series *s, int64_t ts_ms);
void tsn_detect_take_mark(struct tsn_detect *d, const struct tsn_batch *b, int64_t offset);
/* Offset at which the announcements begin that a reader starting at `offset` needs. */
int64_t tsn_detect_announced_from(const struct tsn_detect *d, int64_t offset);
void tsn_detect_release_writers(struct tsn_detect *d);
void tsn_detect_trim(struct tsn_detect *d);

/* steps.c */
void tsn_detect_run_steps(struct tsn_detect *d, struct tsn_detect_output *out);
/* A rule no longer gives the series: a stale marker, unless the time has a sample already. */
void tsn_detect_let_go(struct tsn_detect *d, struct series *s, int64_t ts_ms);

/* state.c, takeover.c */
char *tsn_detect_time_state(const struct tsn_detect *d, int64_t offset);
void tsn_detect_refilled(struct tsn_detect *d);

#endif
