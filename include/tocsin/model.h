/*
 * model: the plain values that stages hand to each other (L1), and their invariants.
 *
 *   label set       what names a series; sorted, unique, no empty values; immutable, ref-counted
 *   batch           one record of `samples`: INGEST → DETECT
 *   transition      one record of `alerts`:  DETECT → RESPOND
 *   command         one record of `commands`: people → RESPOND
 *   incident event  one record of `incidents`: RESPOND → everyone
 *
 * All are values: no behaviour, no I/O. Their bytes are the codec module's (schemas/). An object belongs to
 * one thread at a time; reference counts are not atomic, so a label set that crosses threads is
 * copied (tsn_labels_copy) or handed over whole.
 */
#ifndef TOCSIN_MODEL_H
#define TOCSIN_MODEL_H

#include "tocsin/base.h"

/* Every internal record carries this; N reads N-1, N-1 meeting N stops with a clear word. */
#define TSN_FORMAT_VERSION 1

/* ---- label sets --------------------------------------------------------------------------- */

struct tsn_label {
    const char *name; /* NUL-terminated, inside the set's own block; names that nearly all series have are constants */
    const char *value;
    uint32_t name_len, value_len;
};

/* Sorted by name (bytewise), names unique, values never empty (an empty value is no label).
 * The metric name is the label __name__. One allocation: header, array, text. */
struct tsn_labels {
    int32_t refs;
    uint32_t count;
    struct tsn_u128 id; /* tsn_hash128 of the canonical bytes; names the series in topics */
    struct tsn_label items[];
};

/* Builds a label set; reusable after finish or reset. */
struct tsn_labels_builder {
    struct tsn_label *items; /* borrowed or arena text, unsorted until finish */
    size_t len, cap;
    struct tsn_arena text;
};
void tsn_labels_builder_init(struct tsn_labels_builder *b);
void tsn_labels_builder_release(struct tsn_labels_builder *b);
void tsn_labels_builder_reset(struct tsn_labels_builder *b);
/* Copies both texts. The last value set for a name wins; an empty value removes the label. */
void tsn_labels_builder_set(struct tsn_labels_builder *b, const char *name, const char *value);
void tsn_labels_builder_setn(struct tsn_labels_builder *b, const char *name, size_t name_len,
                             const char *value, size_t value_len);
void tsn_labels_builder_del(struct tsn_labels_builder *b, const char *name);
/* Starts from an existing set (replaces what the builder held). */
void tsn_labels_builder_from(struct tsn_labels_builder *b, const struct tsn_labels *labels);
/* NULL if absent. Borrowed until the next change. */
const char *tsn_labels_builder_get(const struct tsn_labels_builder *b, const char *name);
/* A new set with one reference; the builder is reset. */
struct tsn_labels *tsn_labels_builder_finish(struct tsn_labels_builder *b);

/* The set {}; a fresh reference. */
struct tsn_labels *tsn_labels_empty(void);
/* Convenience: name, value, name, value, …, NULL. */
struct tsn_labels *tsn_labels_of(const char *name, ...) __attribute__((sentinel));
struct tsn_labels *tsn_labels_ref(struct tsn_labels *labels);
void tsn_labels_unref(struct tsn_labels *labels); /* NULL is allowed */
struct tsn_labels *tsn_labels_copy(const struct tsn_labels *labels);
/* The texts alone, a third of the size of a set: for those who keep many and look at few. The id is not in it; unpack takes it
 * back. `out` holds packed_len bytes, and unpack takes as many: this process's own, they are not checked. */
size_t tsn_labels_packed_len(const struct tsn_labels *labels);
void tsn_labels_pack(const struct tsn_labels *labels, char *out);
struct tsn_labels *tsn_labels_unpack(const void *packed, size_t len, struct tsn_u128 id);
/* Value of a label, NULL if absent. Binary search. */
const char *tsn_labels_get(const struct tsn_labels *labels, const char *name);
const struct tsn_label *tsn_labels_find(const struct tsn_labels *labels, const char *name, size_t name_len);
bool tsn_labels_equal(const struct tsn_labels *a, const struct tsn_labels *b);
/* Canonical order: label by label, name then value, bytewise; a prefix sorts first. This is the
 * order in which aggregations add. */
int tsn_labels_compare(const struct tsn_labels *a, const struct tsn_labels *b);
/* {__name__="x", a="b"} as name{a="b"} in Prometheus's notation, values quoted as Go's %q. */
void tsn_labels_format(struct tsn_buf *out, const struct tsn_labels *labels);
/* {"a":"b",…} in canonical order. */
void tsn_labels_json(struct tsn_buf *out, const struct tsn_labels *labels);
/* A label name by the classic rule [a-zA-Z_][a-zA-Z0-9_]*. */
bool tsn_label_name_classic(const char *name, size_t len);

/* ---- samples: INGEST → DETECT ------------------------------------------------------------- */

enum tsn_sample_kind {
    TSN_GAUGE = 0,   /* a value as measured */
    TSN_COUNTER = 1, /* cumulative, as scraped; resets are the evaluator's business */
    TSN_DELTA = 2    /* counted by INGEST; DETECT keeps the total (DESIGN §3) */
};

struct tsn_sample {
    int64_t ts_ms;
    double value; /* may be the staleness marker */
};

/* One series announced in a batch. `ref` is the writer's short name for it, valid for this writer
 * (slot, writer) in this partition within one wall-clock minute of record timestamps. */
struct tsn_batch_series {
    uint32_t ref;
    enum tsn_sample_kind kind;
    struct tsn_labels *labels; /* owned by the batch */
};

/* A gauge or counter sample. */
struct tsn_batch_point {
    uint32_t ref;
    int64_t ts_ms;
    double value;
};

/* What was counted for a series in one 1 s pane: [pane_ms, pane_ms + 1000). */
struct tsn_batch_delta {
    uint32_t ref;
    int64_t pane_ms; /* multiple of 1000 */
    tsn_fixed delta; /* ≥ 0 */
};

/* A log signature first seen by this writer in this minute (DESIGN §5). */
struct tsn_batch_signature {
    uint64_t signature;
    char *service, *level, *text; /* owned; text is masked and tokenised, secrets out */
    char *sample;                 /* one raw line, secrets masked; may be NULL */
    char *sample_topic;
    int32_t sample_partition;
    int64_t sample_offset, ts_ms;
};

/* How many lines of a signature fell in one pane. */
struct tsn_batch_signature_count {
    uint64_t signature;
    char *service, *level; /* owned */
    int64_t pane_ms;
    int64_t count;
};

/* The state of one input partition, as its INGEST owner knows it at this batch; also provenance:
 * this batch holds exactly the records [first_offset, next_offset) of it. */
struct tsn_batch_input {
    char *topic; /* owned */
    int32_t partition;
    int64_t first_offset, next_offset;
    int64_t watermark_ms; /* TSN_TIME_NONE: none yet. Never goes back. */
    bool idle;            /* proved empty (DESIGN §3) */
    int64_t idle_clock_ms; /* while idle: greatest watermark known when it went idle + wall time since */
    int64_t late;          /* records late by INGEST's own test, so far */
};

/* One input topic as configured: what it is and what it can carry, so that DETECT knows which
 * inputs feed a unit. Every worker writes all that are configured, in its first batch and once a wall-clock minute. What a batch that holds partition 0
 * of the topic says counts; what others say only where nothing was said before. partition_count 0: it is an input no more, forget its
 * partitions. */
struct tsn_input_decl {
    char *topic; /* owned */
    int32_t partition_count;
    char *type; /* "metrics" | "logs" | "hooks" | mapped name; owned */
    bool any_name; /* metrics: may carry any metric name … */
    char **names;  /* … else exactly these; owned */
    size_t name_count;
};

/* One record of `samples`. One goes to EVERY partition of `samples` in every INGEST transaction. */
struct tsn_batch {
    int32_t format;
    int32_t slot;      /* worker slot */
    int64_t writer;    /* incarnation: differs after every restart of a slot */
    int64_t epoch;     /* assignment epoch */
    int64_t seq;       /* per writer, from 1, no gaps within committed records */
    int64_t rule_set;  /* the set whose selectors decided relevance; 0 before any */
    int64_t wall_ms;   /* writer's clock at close; informational */
    struct tsn_batch_input *inputs;
    size_t input_count;
    struct tsn_input_decl *decls;
    size_t decl_count;
    struct tsn_batch_series *series;
    size_t series_count;
    struct tsn_batch_point *points; /* sorted by (ref, ts) within a batch; input order kept on ties */
    size_t point_count;
    struct tsn_batch_delta *deltas; /* sorted by (ref, pane) */
    size_t delta_count;
    struct tsn_batch_signature *signatures;
    size_t signature_count;
    struct tsn_batch_signature_count *signature_counts;
    size_t signature_count_count;
    bool backfill; /* reserved: samples of the past for a warming rule set */
};
void tsn_batch_release(struct tsn_batch *batch);

/* ---- alert transitions: DETECT → RESPOND -------------------------------------------------- */

enum tsn_alert_state { TSN_ALERT_INACTIVE = 0, TSN_ALERT_PENDING, TSN_ALERT_FIRING, TSN_ALERT_RESOLVED };
enum tsn_end_reason {
    TSN_END_NONE = 0,
    TSN_END_CONDITION,       /* the input series live, the expression gives nothing */
    TSN_END_SERIES_GONE,     /* an input series ended; others of its service that the unit reads live */
    TSN_END_PRODUCER_SILENT, /* none of them lives */
    TSN_END_PARTITION_IDLE,  /* as producer_silent, and every input partition is idle */
    TSN_END_RULE_GONE
};
const char *tsn_alert_state_name(enum tsn_alert_state state);
const char *tsn_end_reason_name(enum tsn_end_reason reason); /* "" for none */
bool tsn_alert_state_parse(const char *text, enum tsn_alert_state *out);
bool tsn_end_reason_parse(const char *text, enum tsn_end_reason *out);

/* A pending instance that disappears gives a transition with state `resolved` too; `was` tells. */
struct tsn_transition {
    int32_t format;
    char alert_id[33]; /* hex of hash128 over unit name, rule name and instance labels */
    char *rule, *group, *file; /* owned */
    int64_t rule_set;
    enum tsn_alert_state was, state;
    enum tsn_end_reason end_reason;
    struct tsn_labels *labels;      /* with alertname; owned reference */
    struct tsn_labels *annotations; /* expanded; owned reference */
    double value;
    int64_t active_at_ms; /* when the condition first held */
    int64_t fired_at_ms;  /* TSN_TIME_NONE while pending */
    int64_t step_ms;      /* step_ts: the step at which it happened */
    int64_t keep_firing_since_ms; /* TSN_TIME_NONE if not */
    bool warming;
    /* Of alerts on log templates: up to five templates ("id text") and as many sample lines; owned. */
    char **templates;
    size_t template_count;
    char **sample_lines;
    size_t sample_line_count;
};
void tsn_transition_release(struct tsn_transition *t);

/* ---- commands and incidents --------------------------------------------------------------- */

enum tsn_command_kind {
    TSN_CMD_ACK, TSN_CMD_RESOLVE, TSN_CMD_ESCALATE, TSN_CMD_NOTE, TSN_CMD_SEVERITY,
    TSN_CMD_KIND_COUNT
};
const char *tsn_command_kind_name(enum tsn_command_kind kind);
bool tsn_command_kind_parse(const char *text, enum tsn_command_kind *out);

struct tsn_command {
    int32_t format;
    char *command_id;  /* unique; a repeat is skipped; owned, like all text here */
    enum tsn_command_kind kind;
    char *incident_id;
    char *actor, *reason; /* reason may be "" */
    int64_t at_ms;        /* clock of who said it; informational */
    int32_t severity;     /* TSN_CMD_SEVERITY: 1–4 */
};
void tsn_command_release(struct tsn_command *c);

enum tsn_incident_event_type {
    TSN_INC_OPENED, TSN_INC_UPDATED, TSN_INC_ACKNOWLEDGED, TSN_INC_ESCALATED, TSN_INC_BREACHED,
    TSN_INC_NOTE, TSN_INC_RESOLVED, TSN_INC_REOPENED, TSN_INC_TYPE_COUNT
};
const char *tsn_incident_event_type_name(enum tsn_incident_event_type type);
bool tsn_incident_event_type_parse(const char *text, enum tsn_incident_event_type *out);

enum tsn_incident_state { TSN_INCIDENT_OPEN, TSN_INCIDENT_ACKNOWLEDGED, TSN_INCIDENT_RESOLVED };
const char *tsn_incident_state_name(enum tsn_incident_state state);

/* One alert instance as an incident holds it. */
struct tsn_incident_alert {
    char alert_id[33];
    struct tsn_labels *labels, *annotations;
    enum tsn_alert_state state; /* firing or resolved */
    enum tsn_end_reason end_reason;
    double value;
    int64_t fired_at_ms, resolved_at_ms;
    bool warming;
    char **templates, **sample_lines;
    size_t template_count, sample_line_count;
};

/* An incident, whole: what every event carries as its snapshot. */
struct tsn_incident {
    int32_t format;
    char incident_id[40]; /* deterministic: "inc-" + 16 hex of (group key, first alert, fired_at) */
    int64_t version;      /* = seq of the last event */
    char *group_key;      /* e.g. {service="hook-receiver"}; owned */
    char *title;          /* owned */
    enum tsn_incident_state state;
    int32_t severity; /* 1–4 */
    int32_t level;    /* 1–3: where the escalation stands; Sev 1 pages L3 from the start and still climbs */
    int64_t opened_at_ms, acknowledged_at_ms, resolved_at_ms; /* TSN_TIME_NONE if not */
    int64_t respond_by_ms, resolve_by_ms;
    int64_t respond_breached_at_ms, resolve_breached_at_ms;
    int64_t escalate_at_ms; /* next due time; TSN_TIME_NONE: none */
    char *acknowledged_by, *commander; /* owned, may be NULL */
    char **services;                   /* services hit, sorted; owned */
    size_t service_count;
    struct tsn_incident_alert *alerts; /* in order of joining */
    size_t alert_count;
    int32_t reopen_count;
};
void tsn_incident_release(struct tsn_incident *incident);
/* A deep copy (label sets are shared by reference: same thread). Release with tsn_incident_release. */
void tsn_incident_copy(struct tsn_incident *to, const struct tsn_incident *from);
bool tsn_incident_state_parse(const char *text, enum tsn_incident_state *out);

struct tsn_incident_event {
    int32_t format;
    int64_t seq; /* per incident, from 1, no gaps */
    enum tsn_incident_event_type type;
    int64_t event_time_ms; /* a timer's event bears its due time */
    char *reason;          /* why: rule, timer, actor's words; owned */
    char *actor;           /* owned; "tocsin" for the machine */
    struct tsn_incident snapshot;
};
void tsn_incident_event_release(struct tsn_incident_event *event);

#endif
