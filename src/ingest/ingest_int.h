/*
 * ingest_int: what the files of ingest share. See tocsin/ingest.h for the picture.
 *
 * A record is taken in two halves. The first decodes it, checks every event in it and resolves each to
 * EFFECTS (this series, this time, this number); nothing is remembered of it yet. Only if the whole record is good does
 * the second half apply the effects to the open batch. So a record is taken whole, or goes to the dead letters whole.
 *
 *     memo:    128-bit hash of the raw label bytes → nothing | series | list of series     (series.c)
 *     series:  packed labels, ref, partitions of `samples` ──▶ chain of cells of the open batch
 *     cells:   delta (pane, exact sum) · point (time, value); a chain is newest first
 */
#ifndef TOCSIN_INGEST_INT_H
#define TOCSIN_INGEST_INT_H

#include "tocsin/avro_plan.h"
#include "tocsin/codec.h"
#include "tocsin/ingest.h"
#include "tocsin/patterns.h"
#include "tocsin/shard.h"

enum {
    PANE_MS = 1000,
    MINUTE_MS = 60000,
    MAX_LABELS = 256 /* of one series; the codec's own bound is 1,024 */
};

/* Borrowed bytes; data NULL: absent. */
struct span {
    const char *data;
    size_t len;
};

/* ---- partitions --------------------------------------------------------------------------- */

struct part {
    size_t input;
    int32_t partition, partition_count;
    int64_t first_offset, next_offset; /* of the open batch */
    int64_t watermark_ms;
    bool idle;
    int64_t idle_clock_ms, idle_now_ms; /* clock as last reckoned, at which reading of the shell's clock */
    int64_t late;
    bool dirty;          /* something to commit since the last close */
    uint64_t records, events, dead_letters;
    struct held *held; /* text_events.c: a text record that the next may continue; NULL: none ever was */
};

/* ---- series ------------------------------------------------------------------------------- */

struct series {
    struct tsn_u128 id;        /* of its labels */
    uint32_t ref, head;        /* head: newest cell of the open batch + 1; 0: none */
    uint32_t generation;       /* rule sets for which `places` holds */
    uint32_t epoch;            /* memo rotation in which it was last used */
    int64_t announced_minute;  /* the naming, see `namings`; TSN_TIME_NONE: never */
    union {
        int32_t one;
        int32_t *many; /* owned when place_count > 1 */
    } places;
    uint32_t place_count; /* partitions of `samples`, ascending; 0: no rule selects it */
    uint32_t packed_len : 29, kind : 3; /* kind: enum tsn_sample_kind */
    char packed[];        /* its labels (tsn_labels_pack): looked at once a minute, when it is announced */
};

/* Series by id and kind: open addressing by the id's low bits, load at most 2/3. */
struct series_table {
    struct series **slots;
    uint32_t cap, count; /* cap: a power of two */
};

struct active {
    struct series *series;
    uint32_t ref;
};

/* The series of one hook or one mapped histogram. */
struct series_list {
    uint32_t epoch, count;
    const double *bounds; /* ascending, borrowed; NULL: no histogram */
    struct series *items[]; /* NULL where no rule selects it. Histogram: LIST_SUM, LIST_COUNT, buckets …, +Inf */
};
enum { LIST_SUM, LIST_COUNT, LIST_BUCKETS };

enum memo_kind { MEMO_EMPTY = 0, MEMO_IRRELEVANT, MEMO_SERIES, MEMO_LIST };
struct memo_entry {
    struct tsn_u128 key;
    void *target;
    uint32_t generation;
    uint32_t kind : 2;  /* enum memo_kind */
    uint32_t young : 1; /* used since the last rotation */
    uint32_t next : 29; /* slot of the entry that was found after this one the last time: a guess, for prefetching */
};
struct memo_table {
    struct memo_entry *slots;
    uint32_t cap, count, young, last; /* cap: a power of two; young: so many; last: slot found last */
};

struct delta_cell {
    tsn_fixed sum;
    int64_t pane_ms;
    uint32_t next;
};
struct point_cell {
    int64_t ts_ms;
    double value;
    uint32_t next;
};

/* ---- effects ------------------------------------------------------------------------------ */

enum effect_type { EFFECT_POINT, EFFECT_DELTA, EFFECT_HISTOGRAM, EFFECT_LINE };
struct effect {
    enum effect_type type;
    uint32_t line; /* LINE: index into the record's lines */
    void *target;  /* struct series *, or struct series_list * for HISTOGRAM */
    int64_t ts_ms;
    double value;
    tsn_fixed delta;
};

/* A log line on its way to the signatures of the batch. Borrowed from the record. */
struct line {
    struct span service, level, message;
};

/* What log events of an input have that name none; data NULL: none. By enum field, up to F_LOGGER. */
struct log_defaults {
    bool any;
    struct span field[4];
};

/* ---- events ------------------------------------------------------------------------------- */

enum field { F_SERVICE, F_ENVIRONMENT, F_LEVEL, F_LOGGER, F_MESSAGE, F_HOOK_TYPE, F_STATUS, F_COUNT };

struct pair {
    struct span name, value;
    double number; /* patterns: the count */
};

/* One event of a known type, decoded by whatever decoder; texts borrowed from the record or the decoder. */
struct event {
    int64_t ts_ms;
    double value; /* metrics; hooks: processing time in ms, NaN: none */
    int kind;     /* metrics: enum tsn_sample_kind, -1: by the name's suffix */
    struct span name;
    struct span field[F_COUNT];
    struct span raw_labels; /* metrics: the labels object as it came, instead of pairs */
    const struct tsn_avro_node *avro_labels; /* metrics: a MAP of texts, instead of pairs */
    const struct pair *pairs; /* metrics: labels; hooks: patterns discovered by type */
    size_t pair_count;
    double patterns; /* hooks: a bare count; 0: none */
};

/* ---- the open batch ----------------------------------------------------------------------- */

/* Partitions of `samples`, ascending, unique. */
struct place_list {
    int32_t *items;
    size_t len, cap;
};

struct known_set {
    int64_t number;
    const struct tsn_rule_set *set;
    struct tsn_routes routes;
};

/* What one partition of `samples` gets; arrays are kept from batch to batch. */
struct place {
    TSN_VEC(struct tsn_batch_series) series;
    TSN_VEC(struct tsn_batch_point) points;
    TSN_VEC(struct tsn_batch_delta) deltas;
    TSN_VEC(struct tsn_batch_signature) signatures;
    TSN_VEC(struct tsn_batch_signature_count) counts;
};

/* How far a place has gone out, where it takes several records: slices.c. */
struct slice_at {
    size_t series, points, deltas, signatures, counts;
};
/* The next slice, of at most `room` bytes (SIZE_MAX: all; one item, if that alone is larger), borrowed by `out`; `at` goes on behind it. */
void slice_next(const struct place *p, struct slice_at *at, size_t room, struct tsn_batch *out);
bool slice_done(const struct place *p, const struct slice_at *at);

struct parts {
    struct part **items; /* by partition number; NULL: not assigned */
    size_t len, cap;
};

/* What is known of an input beside the partitions that are this worker's. */
struct told_input {
    int32_t count;                    /* its partitions, as the shell says; 0: not known */
    int64_t naming, declared_count;   /* last declared in that naming, with that many */
};

struct tsn_ingest {
    struct tsn_ingest_options opt;
    const struct tsn_config *config;
    int64_t epoch, seq;
    int64_t minute, namings; /* wall minute of the last close; how often it changed: what was announced in one is not known in the next */
    struct parts *inputs;   /* [config->inputs.len] */
    struct shapes **shapes; /* [config->inputs.len] */
    struct avro_inputs *avro;
    struct mappings *mappings;
    struct lines *line_book;
    struct log_defaults *log_defaults; /* [config->inputs.len] */
    struct tsn_arena text_arena;       /* text_events.c: texts of one record */
    struct tsn_buf unescaped;
    TSN_VEC(struct known_set) sets; /* by number */
    int64_t group_watermark_ms; /* greatest told by tsn_ingest_know; TSN_TIME_NONE: none */
    int64_t max_set;
    int64_t batch_set;     /* what the open batch carries: the greatest set known when its first record came */
    uint64_t open_records; /* in the open batch */
    uint32_t generation; /* raised by every change of sets */
    struct told_input *told; /* inputs.c: [inputs.len] */
    TSN_VEC(char *) gone;    /* topics that are inputs no more */
    int64_t gone_naming;     /* in which they were last declared */
    bool *tied;          /* inputs.c: [inputs.len * inputs.len]; NULL: not known yet */
    uint32_t tied_generation;
    bool dirty;          /* something to say in the next batch beyond parts */

    /* series.c */
    struct memo_table memo;
    uint32_t memo_epoch;
    struct series_table by_id;
    TSN_VEC(struct series_list *) lists;
    TSN_VEC(uint32_t) free_refs;
    uint32_t next_ref;
    TSN_VEC(struct active) active; /* with cells in the open batch */
    TSN_VEC(struct delta_cell) deltas;
    TSN_VEC(struct point_cell) points;
    struct tsn_labels_builder builder;
    struct tsn_buf key;
    size_t new_series; /* not yet announced */

    /* one record */
    const struct tsn_ingest_record *record;
    struct tsn_json json, labels_json;
    TSN_VEC(struct pair) pairs;
    TSN_VEC(struct span) spans;
    struct tsn_avro_nodes label_nodes;
    TSN_VEC(struct effect) effects;
    TSN_VEC(struct line) lines;
    int64_t record_ts_ms; /* Kafka's */
    int64_t max_ts_ms, now_bound_ms; /* greatest timestamp in it; latest allowed */
    int64_t before_ms;               /* its partition's watermark before it */
    uint64_t record_events, record_late, record_irrelevant;
    const char *reason; /* why it is refused */
    struct tsn_error refusal;

    /* closing */
    struct place *places;
    TSN_VEC(struct tsn_dead_letter) dead;
    size_t dead_bytes;

    struct tsn_ingest_stats stats;
};

static inline int64_t floor_to(int64_t ms, int64_t unit)
{
    return ms - ((ms % unit) + unit) % unit;
}

/* ingest.c */
/* Refuses the record under way: sets reason (static) and text; returns false. */
bool refuse(struct tsn_ingest *in, const char *reason, const char *fmt, ...) TSN_PRINTF(3, 4);

/* inputs.c */
struct input_decls {
    struct tsn_input_decl *items;
    size_t len, cap;
};
/* What a batch of this naming has to declare: each input once, and again when its number of partitions is another. */
void inputs_declare(struct tsn_ingest *in, int64_t naming, struct input_decls *out);
void input_decls_release(struct input_decls *decls);
void inputs_release(struct tsn_ingest *in);

/* series.c */
/* The entry, if it is known and of the present rule sets; NULL: resolve, then memo_put. Counts hit or miss. */
struct memo_entry *memo_find(struct tsn_ingest *in, struct tsn_u128 key);
void memo_put(struct tsn_ingest *in, struct tsn_u128 key, enum memo_kind kind, void *target);
/* Finishes in->builder to a series that a rule selects; *out is NULL if none does. False: refused (a limit). */
bool series_resolve(struct tsn_ingest *in, enum tsn_sample_kind kind, struct series **out);
/* An empty list, owned by the memo. */
struct series_list *series_list_new(struct tsn_ingest *in, uint32_t count);
/* Adds the partitions that series with these labels go to; matchers on label `unknown` (NULL: none) are taken as true. */
void series_places_of(const struct tsn_ingest *in, const struct tsn_labels *labels, const char *unknown,
                      struct place_list *places);
/* Whether a selector could be met by a series of that name. */
bool series_name_selected(const struct tsn_ingest *in, const char *name);
void series_add_delta(struct tsn_ingest *in, struct series *s, int64_t pane_ms, tsn_fixed delta);
void series_add_point(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value);
const int32_t *series_places(const struct series *s);
/* A new reference. */
struct tsn_labels *series_labels(const struct series *s);
/* After a batch was closed: forgets series beyond the limit. */
void series_bound(struct tsn_ingest *in);
void series_release(struct tsn_ingest *in);

/* events.c: an event → effects. False: refused. */
bool event_take(struct tsn_ingest *in, enum tsn_input_type type, const struct event *e);
/* The memo's key for type, kind, the fields of e that the mask names (bit F_x), and more spans. */
struct tsn_u128 event_key(struct tsn_ingest *in, char type, int kind, const struct event *e, unsigned mask,
                          const struct span *more, size_t more_count);
/* Checks the event's time and counts it; every event passes here once. */
bool event_time(struct tsn_ingest *in, int64_t ts_ms);
bool effect_delta(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value);
bool effect_histogram(struct tsn_ingest *in, struct series_list *list, int64_t ts_ms, double value);
void effect_point(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value);
void effects_apply(struct tsn_ingest *in, struct part *part);
/* The series of a histogram; labels so far are in *base. False: refused. */
bool histogram_resolve(struct tsn_ingest *in, const char *name, const struct tsn_labels *base, const double *bounds,
                       size_t bound_count, struct series_list **out);
/* Buckets of hook_processing_duration_seconds. */
extern const double hook_bounds[];
extern const size_t hook_bound_count;

void ingest_trim(struct tsn_ingest *in);

/* json_events.c; the nodes are left in in->json */
bool json_take(struct tsn_ingest *in, size_t input, const char *data, size_t len);
/* The document that in->json holds. */
bool json_take_nodes(struct tsn_ingest *in, size_t input);
/* Text of a scalar as a label would show it; data NULL for null. False for containers. */
bool json_scalar_text(const struct tsn_json_node *n, struct span *out);

/* metadata.c */
void metadata_print(const struct part *part, struct tsn_buf *out);
bool metadata_read(const char *text, struct part *part);

void effect_line(struct tsn_ingest *in, const struct event *e);

/* close.c */
void places_release(struct tsn_ingest *in);

#endif
