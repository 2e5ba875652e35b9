/* detect_int: what the files of detect share. See tocsin/detect.h for the picture. */
#ifndef TOCSIN_DETECT_INT_H
#define TOCSIN_DETECT_INT_H

#include "tocsin/detect.h"

struct unit;

/* What was counted in an open pane; folded into the total when a step passes its end. */
struct open_pane {
    int64_t pane_ms;
    tsn_fixed delta;
};

struct series {
    struct tsn_labels *labels;
    enum tsn_sample_kind kind;
    bool own;     /* its shard is this partition (else it is here for a global unit) */
    bool derived; /* written by a rule */
    bool listed;  /* on the list of series with open panes or a running ttl */
    bool changed; /* since the last checkpoint */
    TSN_VEC(struct tsn_sample) samples; /* sorted by time, unique */
    TSN_VEC(struct open_pane) panes;    /* sorted by pane */
    tsn_fixed total;
    int64_t birth_pane_ms, last_pane_ms; /* TSN_TIME_NONE: not born */
    tsn_fixed restored_total;            /* takeover: the checkpoint's total */
    bool restored;
    uint32_t *units; /* indexes of units that read it */
    uint32_t unit_count;
    uint64_t mark; /* derived: the step that wrote it last */
};

struct series_list {
    struct series **items;
    size_t len, cap;
    bool unsorted;
};

struct series_store {
    struct tsn_map by_id;   /* id → struct series */
    struct tsn_map by_name; /* metric name → struct series_list */
    struct series_list all;
    struct series_list open; /* deltas: open panes or a ttl to watch */
};

struct series *tsn_store_get(struct series_store *store, struct tsn_u128 id);
struct series *tsn_store_add(struct series_store *store, struct tsn_labels *labels, enum tsn_sample_kind kind);
void tsn_store_init(struct series_store *store);
void tsn_store_release(struct series_store *store);
/* Keeps order; of two samples of one time the greater bit pattern stays. */
void tsn_series_insert(struct series *s, int64_t ts_ms, double value);
bool tsn_series_add_delta(struct series *s, int64_t pane_ms, tsn_fixed delta);
/* Folds panes that end at or before ts_ms and ends counters whose ttl has passed by then. */
void tsn_series_close_panes(struct series *s, int64_t ts_ms, int64_t ttl_ms);
void tsn_series_trim(struct series *s, int64_t before_ms);
/* Newest sample at or before ts within the lookback, not stale. */
bool tsn_series_live(const struct series *s, int64_t ts_ms, int64_t lookback_ms);

/* Storage view for an evaluator: all series of the partition, or only its own shard's. */
struct store_view {
    struct series_store *store;
    bool own_only;
};
void tsn_store_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms,
                      int64_t to_ms, struct tsn_series_list *out);

/* One input partition, as last reported. */
struct input {
    char *topic;
    int32_t partition;
    int64_t watermark_ms, idle_clock_ms;
    bool idle;
    int64_t rule_set;
};

struct rule_run {
    const struct tsn_rule *rule;
    struct tsn_alert_rule_state alerts;
    TSN_VEC(struct series *) written; /* derived series that were live after the last step */
    uint64_t evaluations, errors, last_count;
    bool ever_matched;
    char *last_error;
};

struct group_run {
    const struct tsn_group *group;
    struct rule_run *rules;
};

/* Groups that step together, with one clock. */
struct unit {
    char *name; /* file;group of its first group */
    uint32_t *groups;
    uint32_t group_count;
    int32_t place; /* partition, or -1 */
    bool here;
    int64_t time_ms, last_step_ms; /* TSN_TIME_NONE */
    int64_t first_sample_ms;
    int64_t window_ms; /* longest reach back of its selectors */
    int64_t warm_until_ms;
    bool any_selector;
};

struct rule_version {
    int64_t number;
    struct tsn_rule_set *set;
};

struct ref_key {
    int32_t slot;
    uint32_t ref;
    int64_t writer;
};

struct tsn_detect {
    struct tsn_detect_options opt;
    struct series_store store;
    struct tsn_map inputs;  /* "topic/partition" → struct input */
    struct tsn_map decls;   /* topic → struct tsn_input_decl */
    struct tsn_map refs;    /* struct ref_key → struct series */
    TSN_VEC(struct rule_version) versions; /* by number */
    struct tsn_rule_set *set; /* in force; NULL before any */
    int64_t set_number;
    struct group_run *groups;
    struct unit *units;
    uint32_t unit_count;
    bool alerts_read; /* some selector can read ALERTS or ALERTS_FOR_STATE */
    int64_t window_ms;
    uint64_t step_mark;
    int64_t index_minute_ms; /* last event minute written to the index */
    struct tsn_map index;    /* minute (decimal) → offset */
    int64_t refill_until;    /* batches below only fill windows */
    struct tsn_map restored_alerts; /* key → owned text, until the set is in force */
    struct tsn_map restored_steps;  /* unit name → int64_t * */
    int64_t restored_next, restored_set;
    bool has_checkpoint;
    struct tsn_map written_keys; /* alert state keys alive in the topic → &mark */
    struct tsn_detect_stats stats;
};

/* Longest reach back of a known set; -1 if the set is not known. */
int64_t tsn_detect_window_of(const struct tsn_detect *d, int64_t number);

/* state.c */
void tsn_detect_attach_restored(struct tsn_detect *d);

#endif
