/*
 * detect_int: what the files of detect share. See tocsin/detect.h for the picture.
 *
 *   detect.c        the object, apply, counters
 *   ruleset.c       which rule set is in force, its units
 *   switch.c        going over to another
 *   reach.c         which units read a series, how far back
 *   event_time.c    inputs, declarations, unit time, when a step is due
 *   samples.c       writers and their short names, lateness, the minutes of the index
 *   series_store.c  series by id and name, their samples
 *   lives.c         lives of counters: panes into totals
 *   panes.c         what was counted and waits for its step
 *   steps.c         one step of one unit: rules, what they write, why an alert ended
 *   state.c         writing the state topic
 *   chunks.c        long windows in the state topic
 *   takeover.c      reading it back
 *   mining*.c       log signatures into templates and their series (mining.h)
 */
#ifndef TOCSIN_DETECT_INT_H
#define TOCSIN_DETECT_INT_H

#include "detect/panes.h"
#include "tocsin/detect.h"
#include "tocsin/plan.h"

/* A counted total that stood still for this long is said again one pane before it changes: else the change would be the first sample of
 * a window, and no increase. As a birth's zero does for the first burst, this does for every later one. Longer than the usual scrape, so
 * that a counter that moves as often as it would be scraped gives no more samples than it would then. */
#define TSN_HOLD_MS INT64_C(15000)
/* So far before a sample may lie what decides whether it is there. */
#define TSN_HOLD_REACH_MS (TSN_HOLD_MS + TSN_PANE_MS)
#define TSN_MINUTE_MS INT64_C(60000)
#define TSN_DEFAULT_LOOKBACK_MS INT64_C(300000) /* Prometheus's */

/* Rounds down, before the epoch too. */
static inline int64_t tsn_minute_of(int64_t ms)
{
    return ms / TSN_MINUTE_MS - (ms % TSN_MINUTE_MS < 0);
}

/* Windows longer than this keep their past in state as chunks, each of CHUNK_MS of event time: part of the
 * format, for a takeover reads no samples before the last whole chunk. Tests set others. */
#define TSN_LONG_MS (INT64_C(60) * 60 * 1000)
#define TSN_CHUNK_MS (INT64_C(30) * 60 * 1000)

struct rule_run;

/* One life of a counter: from its first pane to its last. */
typedef tsn_fixed tsn_fixed_in_life __attribute__((aligned(8))); /* 8 bytes less a series than by its own alignment */
struct life {
    tsn_fixed_in_life total;
    int64_t birth_ms, last_ms; /* panes; birth TSN_TIME_NONE: not born */
    bool changed;              /* since it was saved */
    bool restored;             /* from state: its refilled panes await their base */
    bool dead;                 /* behind all windows: to be deleted from state */
};

/* A rule in state: file;group, and the rule's key (struct rule_run). */
struct holder {
    char *group, *rule;
};

/* What only a series has that a rule writes, or that lies in a long window, or that was born again. */
struct derived {
    TSN_VEC(struct life) ended; /* former lives inside the windows, by birth */
    uint64_t mark;             /* the rule and step that wrote it last */
    int64_t dirty_ms;          /* earliest sample not in state; TSN_TIME_NONE: none */
    TSN_VEC(int64_t) minutes;  /* minutes that have a record in state */
    TSN_VEC(struct holder) by; /* checkpoint and takeover: the rules that give it; owned */
    TSN_VEC(int64_t) chunks;   /* numbers of those in state; they rise */
    bool listed;               /* on the list of series with chunks */
};

/* A unit that reads a series, and how far before a step its selectors do. */
struct reader {
    int64_t reach_ms;
    uint64_t unit; /* 64 bits: no padding, readers are found by their bytes */
};
struct readers {
    uint32_t count;
    int64_t longest_ms;
    int64_t past_ms; /* where those of former sets stood that read it, too: a series' time does not go back at a switch */
    struct reader items[];
};

/* 128 bytes, and there are a million of them: mind the holes. */
struct series {
    struct tsn_labels *labels;
    struct tsn_samples samples;    /* what its plans read */
    struct tsn_plan_series *plan;  /* its handle in the store's plans; NULL: no rule set in force */
    const struct readers *readers; /* by unit; shared; never NULL */
    struct derived *more;          /* never NULL; of most the same, empty */
    struct panes panes;            /* counted, not yet in the total */
    struct life life;              /* the current one */
    uint32_t refs;                 /* short names of writers that stand for it, rules that write it */
    uint8_t kind;                  /* enum tsn_sample_kind */
    bool own : 1;                  /* its shard is this partition (else it is here for a global unit) */
    bool derived : 1;              /* written by a rule */
    bool listed : 1;               /* on the list of series with open panes or a running ttl */
    bool queued : 1;               /* on the list of counters to save */
    bool mined : 1; /* of a log template: a counter whose samples lie in state, as a derived one's do */
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
    struct series_list chunked; /* in a long window, or with chunks in state */
    struct tsn_plans *plans; /* of the rules in force, over these series */
};

void tsn_series_forget_holders(struct series *s);
/* A former life, put in order of birth. */
void tsn_series_add_ended(struct series *s, const struct life *life);
/* The current life is over, and stays while a window sees it. */
void tsn_series_end_life(struct series *s);
/* A rule writes it from now on. */
void tsn_series_derive(struct series *s);
/* It has chunks, or will have. */
void tsn_store_list_chunked(struct series_store *store, struct series *s);
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
/* Folds panes that end at or before ts_ms and ends counters whose ttl has passed by then. True if
 * its lives changed. */
bool tsn_series_close_panes(struct series *s, int64_t ts_ms, int64_t ttl_ms);
/* Takeover: folds the refilled panes of restored lives and marks their ends; what was counted since they were saved
 * stays open. All panes after from_ms were read; what lies before is in chunks or behind the windows. */
void tsn_series_rebase(struct series *s, int64_t from_ms, int64_t needless_ms, int64_t ttl_ms);
void tsn_series_trim(struct series *s, int64_t before_ms);
/* The same, to the last sample: what lies at or before it is gone. */
void tsn_series_cut(struct series *s, int64_t before_ms);
/* Makes place for `more` samples: drops those at or before before_ms first, grows by little. */
void tsn_series_room(struct series *s, size_t more, int64_t before_ms);
/* Newest sample at or before ts within the lookback, not stale. */
bool tsn_series_live(const struct series *s, int64_t ts_ms, int64_t lookback_ms);

/* Storage view for an evaluator: all series of the partition, or only its own shard's; nothing at
 * or before floor_ms, and of each series no more than the units that read it may see. */
struct store_view {
    struct series_store *store;
    bool own_only;
    int64_t floor_ms;
    const struct tsn_detect *detect;
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
    struct before *before; /* compat.c: what was active before a takeover; NULL as a rule */
};

struct group_run {
    const struct tsn_group *group;
    char *key; /* file;group */
    int64_t done_ms; /* steps up to there it took under a former set: its unit may go on from an earlier one, of another group */
    struct rule_run **rules;
    TSN_VEC(struct series *) orphans; /* written by rules that a switch took away: end at the next step */
};

/* A selector of a unit. */
struct unit_selector {
    const struct tsn_matcher *matchers; /* borrowed from the set */
    size_t matcher_count;
    int64_t reach_ms; /* how far before a step it reads, at least the lookback */
};
struct unit_selectors {
    struct unit_selector *items;
    size_t len, cap;
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
    int64_t short_ms;  /* the longest that is not long */
    int64_t query_offset_ms; /* greatest of its groups */
    int64_t warm_until_ms;
    struct unit_selectors selectors;
    bool mines; /* here, and reads series of log templates */
    bool *fed_by;             /* per input topic: can feed a selector */
};

/* Units and their selectors by metric name. */
struct unit_index {
    struct unit *units; /* borrowed */
    uint32_t count;
    const struct tsn_rule_set *set; /* theirs */
    struct tsn_map by_metric;
    TSN_VEC(struct reader) found; /* the last answer */
};

/* A set that was in force, where its units stood at the switch: what they did not keep is unseen, what came at or before is late. */
struct past {
    int64_t number, latest_ms;
    int64_t *steps_ms; /* by unit */
    uint32_t count;
    struct unit_index index; /* made when asked for */
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
    uint64_t silent;      /* minutes that other writers began since it was last heard */
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
    int64_t floor_ms; /* what lies at or before it is forgotten: raised by too many switches, saved */
    TSN_VEC(struct past) pasts;
    struct unit_index index_of_units;
    struct tsn_map readers; /* struct readers by their bytes: many series have the same */
    uint64_t step_mark;
    uint64_t trimmed_at; /* steps at the last trim */
    struct mark mark;
    TSN_VEC(struct index_entry) index;   /* by minute */
    TSN_VEC(int64_t) index_gone;         /* minutes to delete from state */
    int64_t indexed_ms;                  /* no minute after it was let go */
    TSN_VEC(struct series *) changed;    /* counters to save */
    TSN_VEC(struct series *) dirty;      /* derived series to save */
    TSN_VEC(struct series *) saving;     /* of those: what is being saved */
    int64_t counted_ms, counting_ms;     /* counters in state are as of then, at least; of those being saved */
    int64_t chunked_ms, chunking_ms;     /* chunks in state reach to there; … the walk under way */
    size_t chunk_at;                     /* where it stands in the list */
    uint64_t derived_trimmed_at;         /* steps when derived minutes were last looked through */
    int64_t refill_from, refill_until;   /* [from, until) fills windows; below from: names only */
    int64_t refill_ms;                   /* every sample after it is in there */
    struct tsn_map restored_alerts;      /* key → owned text, until the refill ends */
    struct tsn_map restored_marks;       /* "checkpoint" and index minutes → owned text */
    struct tsn_map restored_chunks;      /* key → struct tsn_buf, until restore_done */
    struct mining *mining;       /* mining.h */
    struct tsn_map written_keys; /* alert state keys alive in the topic → hash of the value */
    struct tsn_detect_stats stats;
};

/* ruleset.c */
/* Takeover: set `number` in force, without a past. False if it is not known. */
bool tsn_detect_install_set(struct tsn_detect *d, int64_t number);
void tsn_detect_attach_series(struct tsn_detect *d, struct series *s);
void tsn_detect_release_set(struct tsn_detect *d);
/* Units and groups of d->set, without a past; the former ones are the caller's. */
void tsn_detect_build(struct tsn_detect *d);
/* Plans of the set in force; series are attached to it. */
void tsn_detect_attach_all(struct tsn_detect *d);
/* Units of a set that is known, as build makes them. The caller frees units and index. */
bool tsn_detect_units_of(struct tsn_detect *d, int64_t number, struct unit_index *index);
bool tsn_detect_same_rule(const struct tsn_rule *a, const struct tsn_rule *b);
void tsn_detect_free_rule(struct rule_run *run);
void tsn_detect_free_groups(const struct tsn_rule_set *set, struct group_run *groups);
void tsn_detect_free_units(struct unit *units, uint32_t count);

/* switch.c */
void tsn_detect_maybe_switch(struct tsn_detect *d, struct tsn_detect_output *out);
void tsn_detect_emit(struct tsn_detect *d, const struct tsn_group *group, const struct tsn_rule *rule,
                     const struct tsn_alert_change *change, enum tsn_end_reason reason, int64_t step_ms, bool warming,
                     struct tsn_detect_output *out);
/* compat.c */
void tsn_compat_free(struct rule_run *run);
/* The instances go aside; they were last seen at seen_ms. */
void tsn_compat_put_aside(struct rule_run *run, int64_t seen_ms);
/* Its series are not written yet. */
bool tsn_compat_restoring(const struct rule_run *run);
/* The instance's record in state stays as it was. */
bool tsn_compat_holds(const struct rule_run *run, const struct tsn_labels *labels);
/* After each evaluation of the rule, failed or not. */
void tsn_compat_evaluated(struct tsn_detect *d, struct rule_run *run, const struct tsn_group *group, int64_t ts_ms,
                          struct tsn_detect_output *out);
void tsn_compat_each(const struct rule_run *run, void (*visit)(const struct tsn_alert_instance *, void *), void *arg);
void tsn_detect_release_pasts(struct tsn_detect *d);
/* Its units and their selectors; the past's. NULL: the set is not known. */
struct unit_index *tsn_detect_past_units(struct tsn_detect *d, struct past *past);
/* The last step of a group of that key under any of the former sets that are remembered. */
int64_t tsn_detect_group_done(struct tsn_detect *d, const char *key);

/* reach.c */
/* Appends the selectors of a group; true if one may read ALERTS or ALERTS_FOR_STATE. */
bool tsn_detect_selectors_of(const struct tsn_group *group, int64_t lookback_ms, struct unit_selectors *out);
void tsn_detect_index_units(struct unit_index *index);
void tsn_detect_index_release(struct unit_index *index);
/* Into index->found, by unit. */
void tsn_detect_find_readers(struct unit_index *index, const struct series *s);
/* What lies at or before it no unit will read again under the set in force. TSN_TIME_NONE: keep all. */
int64_t tsn_detect_needless_of(const struct tsn_detect *d, const struct series *s);
/* A takeover need not read samples at or before it. TSN_TIME_NONE: it needs all there are. */
int64_t tsn_detect_refill_ms(const struct tsn_detect *d);
/* Takes away what former sets had not kept. */
void tsn_detect_apply_floors(struct tsn_detect *d);

/* event_time.c */
void tsn_detect_take_inputs(struct tsn_detect *d, const struct tsn_batch *b);
struct input_topic *tsn_detect_topic(struct tsn_detect *d, const char *name);
struct input *tsn_detect_input(struct input_topic *topic, int32_t partition);
void tsn_detect_declare(struct tsn_detect *d, const struct tsn_input_decl *decl);
void tsn_detect_feeds(struct tsn_detect *d);
/* Could a series of this name match the selector? */
bool tsn_detect_name_possible(const struct unit_selector *route, const char *name);
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
/* After a switch. Folds what every horizon has passed, for a series may have another; what was counted beyond it for a series that no
 * unit reads now is not kept. */
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

/* chunks.c */
void tsn_detect_save_chunks(struct tsn_detect *d, struct tsn_detect_output *out);
enum tsn_err tsn_detect_keep_chunk(struct tsn_detect *d, const char *key, size_t key_len, const char *value,
                                   size_t value_len, struct tsn_error *error);
/* The chunks kept so far become samples. */
enum tsn_err tsn_detect_load_chunks(struct tsn_detect *d, struct tsn_error *error);
void tsn_detect_release_chunks(struct tsn_detect *d);
/* Minutes of a derived series whose end lies at or before ms leave state; `all` but the latest. */
void tsn_detect_drop_minutes(struct series *s, int64_t ms, bool all, struct tsn_detect_output *out);

/* state.c, takeover.c */
void tsn_detect_push_record(struct tsn_detect_output *out, struct tsn_buf *key, struct tsn_buf *value);
char *tsn_detect_time_state(const struct tsn_detect *d, int64_t offset);
void tsn_detect_refilled(struct tsn_detect *d);

/* takeover.c: 16 lower-case hex digits, as keys and records have them. */
bool tsn_detect_parse_hex64(const char *text, size_t len, uint64_t *out);

#endif
