/*
 * mining: log signatures → templates and their series, inside one partition's DETECT (DESIGN §5).
 *
 *     announcement ─▶ text book (signature → text, for the writer's wall minute)
 *     counts, sample ─▶ cells (pane, signature) ──step──▶ panes in order of time ─▶ miner of the scope
 *                                                             │ template, new? merged?
 *                                                             ▼
 *                                 log_template_messages_total, log_templates_discovered_total, topic `templates`
 *
 * A line is mined when a step passes the end of its pane, not when it arrives: panes in order of time, inside a pane by (service,
 * level, signature), first what is new, then what is counted. So ids, merges and discoveries depend on which lines fell in
 * which pane, never on batches, interleavings or workers. What comes after its pane was mined is late and goes to the
 * earliest pane that was not, as any count does (samples.c).
 *
 * What was mined lies in `state`: the miners' structure, each template's tally and lines, the series' samples (as recorded series
 * keep them: a refill could not give them again, since the miner has moved on) and totals. What was not comes back from the log.
 *
 * Bounds: per scope (service, level) the miner's limits below; SCOPES_MAX and TEMPLATES_MAX a partition, beyond which the scope that
 * was silent longest is forgotten; texts of TEXT_MAX bytes per writer and minute. Each is counted.
 */
#ifndef TOCSIN_DETECT_MINING_H
#define TOCSIN_DETECT_MINING_H

#include "detect/detect_int.h"
#include "tocsin/patterns.h"

#define TSN_LINES_MAX 5 /* sample lines that a template keeps and an alert carries */

/* One line, secrets masked by INGEST. */
struct mined_line {
    char *text, *topic; /* owned */
    int32_t partition;
    int64_t offset, ts_ms;
};

/* A template, living or merged away. */
struct mined {
    uint64_t id;
    struct mined_scope *scope;
    uint32_t ref;           /* in the scope's miner; TSN_MINER_NONE: merged away, or evicted */
    int64_t found_ms;       /* the pane in which it was discovered */
    int64_t count, first_ms, last_ms; /* as the miner last said; of a merged one as it ended */
    uint64_t into;          /* merged into that template … */
    int64_t merged_ms;      /* … in this pane; TSN_TIME_NONE: not */
    int64_t told;           /* count in the last record of topic `templates`; -1: none */
    int64_t told_ms;        /* last_ms of it */
    bool tally_changed, lines_changed, tell_now, gone;
    TSN_VEC(struct mined_line) lines; /* the first, then the newest, oldest first */
    struct tsn_labels *labels; /* of its series, made at first use */
};

/* What one signature of a scope is called, while a writer may count it. */
struct known_text {
    struct mined_scope *scope;
    uint64_t signature;
    char *text; /* owned */
    size_t len;
    int64_t minute; /* wall minute of the last announcement */
    uint32_t cells; /* that wait */
    bool learned;   /* while its pane is mined: the miner has its lines */
};

struct mined_scope {
    char *service, *level; /* owned */
    uint64_t hash;         /* names it in state keys */
    struct tsn_miner *miner; /* NULL: nothing mined yet, or forgotten */
    uint32_t number;         /* the scope's in it */
    TSN_VEC(struct mined *) templates; /* in order of discovery; the miner's tags are indexes */
    struct tsn_map by_id;  /* u64 → struct mined */
    int64_t last_ms;       /* newest pane mined */
    uint64_t evicted;      /* the miner's count when templates were last looked through */
    uint32_t texts;        /* known_texts that name it */
    bool changed;          /* the miner's structure, since the last checkpoint */
    bool touched, untold;  /* something was mined since; counts that topic `templates` does not have */
    uint32_t parts_written;
    struct tsn_labels *found_labels; /* of the series of discoveries */
};

struct mined_cell {
    int64_t pane_ms, count;
    struct known_text *text;
    struct mined_line *line; /* a sample; owned; NULL: none */
};

struct mining {
    struct tsn_map scopes; /* service NUL level → struct mined_scope */
    struct tsn_map texts;  /* (scope, signature) → struct known_text */
    TSN_VEC(struct mined_cell) cells;
    int64_t first_pane_ms;     /* earliest cell */
    int64_t horizon_ms;        /* panes that end at or before it were mined */
    struct tsn_map restored;   /* state key → owned text, until all was read */
    TSN_VEC(char *) gone;      /* state keys to delete; owned */
    TSN_VEC(char *) gone_told; /* keys of topic `templates` to delete; owned */
    size_t templates;          /* living ones, over all scopes */
    size_t miners;
    struct tsn_mining_stats stats;
    bool history;              /* replay: what the live run knew in the end is known */
};

void tsn_mining_init(struct tsn_detect *d);
void tsn_mining_release(struct tsn_detect *d);
/* Announced texts of the batch, for the minute of writer `w`. */
void tsn_mining_take_texts(struct tsn_detect *d, struct writer *w, const struct tsn_batch *b);
/* Counts and samples of the batch. */
void tsn_mining_take_cells(struct tsn_detect *d, const struct tsn_batch *b);
/* A unit steps at ts_ms: mines what its series need. In a refill it forgets what the last owner mined. */
void tsn_mining_step(struct tsn_detect *d, uint32_t unit, int64_t ts_ms);
/* Does the unit read template series? */
bool tsn_mining_feeds(const struct unit *unit);

/* mining_series.c */
struct mined *tsn_mined_get(const struct mined_scope *scope, uint64_t id);
/* What it was merged into in the end; itself if it lives; NULL if that was forgotten. */
struct mined *tsn_mined_survivor(const struct mined_scope *scope, struct mined *mined);
struct mined_scope *tsn_mined_scope(struct mining *m, const char *service, const char *level);
struct mined *tsn_mined_new(struct mining *m, struct mined_scope *scope, uint64_t id);
/* Releases what the line holds. */
void tsn_mined_line_free(struct mined_line *line);
int tsn_mined_line_compare(const struct mined_line *a, const struct mined_line *b);
/* Moves a line in, by time; beyond TSN_LINES_MAX the second oldest goes. */
void tsn_mined_add_line(struct mined *mined, struct mined_line *line);
extern const struct tsn_miner_limits tsn_mined_limits;
/* Takes over what the miner says of its templates, and lets go of those that it evicted. */
void tsn_mined_refresh(struct mining *m, struct mined_scope *scope);
/* Of the scope's messages of a template; mined NULL: of its discoveries. Borrowed. */
const struct tsn_labels *tsn_mined_labels(struct tsn_detect *d, struct mined_scope *scope, struct mined *mined);
/* What was counted of a series in a pane that is mined: its samples are written at once. */
void tsn_mined_count(struct tsn_detect *d, struct mined_scope *scope, struct mined *mined, int64_t pane_ms, int64_t count);
/* A merged template's series ends where the pane does. */
void tsn_mined_end_series(struct tsn_detect *d, struct mined *mined, int64_t end_ms);
/* Forgets a scope's miner and templates. */
void tsn_mined_scope_forget(struct mining *m, struct mined_scope *scope);
void tsn_mined_scope_free(struct mined_scope *scope);

/* mining_state.c */
void tsn_mining_save(struct tsn_detect *d, struct tsn_detect_output *out);
/* True if the key is of a kind that mining wrote; keeps it. */
bool tsn_mining_restore(struct tsn_detect *d, const char *key, size_t key_len, const char *value, size_t value_len);
enum tsn_err tsn_mining_restored(struct tsn_detect *d, struct tsn_error *error);

/* mining_alerts.c */
/* Texts and sample lines of the templates that the alert is about. */
void tsn_mining_explain(struct tsn_detect *d, const struct tsn_rule *rule, int64_t step_ms, struct tsn_transition *t);

#endif
