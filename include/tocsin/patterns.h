/*
 * patterns: log lines to templates, in two halves, both pure (L2).
 *
 *   signature   one line → masked text and its hash. Stateless: the same line gives the same signature in
 *               any process. INGEST calls it for each log event.
 *   miner       signatures → templates. State, bounded, a deterministic function of the order of its
 *               input. DETECT keeps one for each `samples` partition; scopes (service, level) inside it do not mix.
 *
 * A signature's text is the line with every variable written <*>, runs of blanks as one blank. Two lines have
 * the same hash exactly when they have the same text (64-bit collisions aside).
 *
 * The miner merges signatures that are equal but for one word, once that place has shown enough
 * distinct words (slot cardinality). Merges are union-find: groups only coarsen. A template's id derives from
 * its scope and first signature; when groups merge, the id of the older survives.
 *
 * Also here: finding the header of plain lines, taking fields out of JSON, logfmt and syslog lines, joining
 * stack traces, and masking secrets in sample lines.
 *
 * Nothing here reads a clock, a file or a global that changes. An object belongs to one thread at a time; a
 * tsn_pattern_config may be shared by threads once built.
 */
#ifndef TOCSIN_PATTERNS_H
#define TOCSIN_PATTERNS_H

#include "tocsin/base.h"

/* Bytes, borrowed. */
struct tsn_text {
    const char *data;
    size_t len;
};

/* ---- configuration ------------------------------------------------------------------------ */

/* Pinned masks and templates, secret keys. Immutable once in use. NULL stands for the defaults everywhere. */
struct tsn_pattern_config;
struct tsn_pattern_config *tsn_pattern_config_new(void);
void tsn_pattern_config_free(struct tsn_pattern_config **config);
/* A word matching `glob` is a variable whatever its shape: '*' any run, '?' any one character, '#' one
 * digit, the rest as it is. TSN_ERR_LIMIT beyond 64 masks, TSN_ERR_INVALID for an empty one. */
enum tsn_err tsn_pattern_config_mask(struct tsn_pattern_config *config, const char *glob, struct tsn_error *error);
/* A line that matches `text` (each <*> any run of characters) has exactly this template, before any
 * masking; the first pinned template that matches wins, and the miner never merges it. At most 256. */
enum tsn_err tsn_pattern_config_pin(struct tsn_pattern_config *config, const char *text, struct tsn_error *error);
/* A further key whose value is secret (beside password, token, …); compared without case. At most 64. */
enum tsn_err tsn_pattern_config_secret(struct tsn_pattern_config *config, const char *key, struct tsn_error *error);
/* Whatever matches this RE2 expression is secret: in samples and in templates. Matches of no length are passed over. At most 64;
 * TSN_ERR_INVALID with RE2's reason. */
enum tsn_err tsn_pattern_config_secret_regex(struct tsn_pattern_config *config, const char *regex, struct tsn_error *error);
/* Which kinds tsn_pattern_mask_secrets masks; default all. */
enum tsn_secret_kind {
    TSN_SECRET_KEYED = 1,  /* password=…, "token": "…", Authorization: Bearer … */
    TSN_SECRET_TOKEN = 2,  /* JWT, long random words, key ids, private key blocks */
    TSN_SECRET_EMAIL = 4,
    TSN_SECRET_URL = 8,    /* the user:password of a URL */
    TSN_SECRET_ALL = 15
};
void tsn_pattern_config_secret_kinds(struct tsn_pattern_config *config, unsigned kinds);
/* From section `logs` of the configuration; *out is NULL (the defaults) if it says nothing. The error names the key. */
struct tsn_config;
enum tsn_err tsn_pattern_config_read(const struct tsn_config *from, struct tsn_pattern_config **out, struct tsn_error *error);

/* ---- signature ---------------------------------------------------------------------------- */

/* Of a line only this much is read, so that a line without end costs no more than this. */
#define TSN_PATTERN_SCAN_MAX 4096

struct tsn_signature {
    uint64_t hash; /* tsn_hash64 of text, of a pinned template another function of it; stored in topics */
    const char *text; /* in the caller's buffer, NUL-terminated, valid UTF-8 */
    size_t len;
    bool cut;    /* the line was longer than TSN_PATTERN_SCAN_MAX */
    bool pinned; /* text is a pinned template */
};

/* The signature of one event's text (a message, or a joined trace). `scratch` is reset and holds the text until its
 * next use. Cost is linear in min(len, TSN_PATTERN_SCAN_MAX). */
struct tsn_signature tsn_pattern_signature(const struct tsn_pattern_config *config, const char *line, size_t len,
                                           struct tsn_buf *scratch);

/* Whether a signature is that of a pinned template: its hash says so. */
bool tsn_pattern_is_pin(uint64_t signature, const char *text, size_t len);
/* The line without what configured expressions call secret: first of all, before signature and sample. The line itself (borrowed) if
 * there is nothing to take out, else in `out`, which is reset. At most max_len bytes of the line are read (0: all). */
struct tsn_text tsn_pattern_redact(const struct tsn_pattern_config *config, const char *line, size_t len, size_t max_len,
                                   struct tsn_buf *out);

/* Signatures' hashes of lines like those seen before, several times faster than scanning; the answers are the same. One
 * thread each; the configuration is borrowed and must not change. 1 MiB, whatever comes. */
struct tsn_pattern_memo;
struct tsn_pattern_memo *tsn_pattern_memo_new(const struct tsn_pattern_config *config);
void tsn_pattern_memo_free(struct tsn_pattern_memo **memo);
/* tsn_pattern_signature(…).hash; scratch's contents are undefined afterwards. */
uint64_t tsn_pattern_memo_hash(struct tsn_pattern_memo *memo, const char *line, size_t len, struct tsn_buf *scratch);
struct tsn_pattern_memo_stats {
    uint64_t hits, misses;
};
struct tsn_pattern_memo_stats tsn_pattern_memo_stats(const struct tsn_pattern_memo *memo);

/* Appends the line with secrets written <secret>, e-mail addresses <email>. If the line is longer than max_len (0: any length will do),
 * not more than so many bytes are appended, and none of a secret that the end cuts. Output is valid UTF-8. Linear. */
void tsn_pattern_mask_secrets(const struct tsn_pattern_config *config, const char *line, size_t len, size_t max_len,
                              struct tsn_buf *out);

/* ---- miner -------------------------------------------------------------------------------- */

struct tsn_miner;
struct tsn_miner_limits {
    uint32_t max_templates;  /* default 20000 live groups; beyond, the old and rare are evicted */
    uint32_t max_signatures; /* default 100000 remembered signatures */
    uint32_t max_slots;      /* default 400000 places watched for merging */
    uint64_t max_text_bytes; /* default 16 MiB of template text */
};
/* NULL or zero fields: the defaults. */
struct tsn_miner *tsn_miner_new(const struct tsn_miner_limits *limits);
void tsn_miner_free(struct tsn_miner **miner);

/* A (service, level) pair → a small number, valid while the miner lives (and in its snapshots). Either may be "". */
uint32_t tsn_miner_scope(struct tsn_miner *miner, const char *service, const char *level);

/* What adding a signature did. `id` names the template for ever. `ref` is a handle for tsn_miner_get and
 * tsn_miner_tag, valid until the next tsn_miner_add or restore. */
struct tsn_miner_result {
    uint64_t id;
    uint32_t ref;    /* TSN_MINER_NONE: unknown (only from …_count) */
    bool is_new;     /* a template was discovered by this call (count it once, here) */
    uint32_t merges; /* how many templates vanished into others by this call: tsn_miner_merged tells which */
};
#define TSN_MINER_NONE UINT32_MAX

/* A signature with its text, and how many lines of it with the last at ts_ms (count may be 0: announcement only).
 * `text` must be a signature's text. */
struct tsn_miner_result tsn_miner_add(struct tsn_miner *miner, uint32_t scope, uint64_t signature, const char *text,
                                      size_t len, bool pinned, int64_t count, int64_t ts_ms);
/* As above for a signature seen before; ref is TSN_MINER_NONE if it is unknown (never announced, or evicted). */
struct tsn_miner_result tsn_miner_count(struct tsn_miner *miner, uint32_t scope, uint64_t signature, int64_t count,
                                        int64_t ts_ms);
/* A number of the caller's for a live template, TSN_MINER_NONE at discovery; not part of a snapshot. */
uint32_t *tsn_miner_tag(struct tsn_miner *miner, uint32_t ref);

/* Merges since the last call to tsn_miner_merged_clear, oldest first: `from` vanished into `into`. */
struct tsn_miner_merge {
    uint64_t from_id, into_id;
    uint32_t from_tag, into_tag;
};
const struct tsn_miner_merge *tsn_miner_merged(const struct tsn_miner *miner, size_t *count);
void tsn_miner_merged_clear(struct tsn_miner *miner);

/* A template as it stands. Text borrowed until the next call that changes the miner. */
struct tsn_template {
    uint64_t id; /* from scope and first signature; never changes. %016x in labels and output */
    uint32_t ref, scope;
    const char *text;
    size_t len;
    int64_t count;
    int64_t first_ms, last_ms;
    bool pinned;
};
/* False if ref is unknown, merged away or evicted. */
bool tsn_miner_get(const struct tsn_miner *miner, uint32_t ref, struct tsn_template *out);
/* Puts a template's counts right, after a restore of a snapshot older than they are. */
void tsn_miner_set_tally(struct tsn_miner *miner, uint32_t ref, int64_t count, int64_t first_ms, int64_t last_ms);
/* Live templates in order of discovery: start with *cursor = 0 until false. */
bool tsn_miner_next(const struct tsn_miner *miner, uint32_t *cursor, struct tsn_template *out);
void tsn_miner_scope_name(const struct tsn_miner *miner, uint32_t scope, const char **service, const char **level);

struct tsn_miner_stats {
    uint64_t templates, signatures, slots, text_bytes;
    uint64_t discovered, merged; /* since the beginning */
    uint64_t evicted_templates, evicted_signatures, evicted_slots; /* limits met */
};
struct tsn_miner_stats tsn_miner_stats(const struct tsn_miner *miner);

/* All of the state, appended to out: the same calls after restore give the same answers. Starts with a format byte. */
void tsn_miner_snapshot(const struct tsn_miner *miner, struct tsn_buf *out);
/* A new miner, or NULL with *error (damaged bytes never crash). */
struct tsn_miner *tsn_miner_restore(const struct tsn_miner_limits *limits, const void *data, size_t len,
                                    struct tsn_error *error);

/* ---- header of plain lines ---------------------------------------------------------------- */

/* Learns from the first lines of a source whether they begin with a header (time, level, component …) and how to
 * skip it. None is invented: without a time column there is no header. */
#define TSN_HEADER_SAMPLE 200
struct tsn_log_header {
    bool found;
    uint8_t time_columns[4]; /* columns that must look like time for the header to apply to a line */
    uint8_t time_count;
    uint8_t columns;     /* fixed columns, blank-separated, [a b] counting as one */
    uint8_t tail;        /* what ends it after those: enum tsn_header_tail */
    uint8_t tail_window; /* within how many further columns */
};
enum tsn_header_tail { TSN_HEADER_TAIL_NONE, TSN_HEADER_TAIL_COLON, TSN_HEADER_TAIL_DASH };
/* From `count` lines (TSN_HEADER_SAMPLE are enough). */
void tsn_header_learn(struct tsn_log_header *header, const struct tsn_text *lines, size_t count);
/* Bytes of header at the start of this line; 0 if the line does not have it. */
size_t tsn_header_skip(const struct tsn_log_header *header, const char *line, size_t len);

/* ---- extraction --------------------------------------------------------------------------- */

/* A log event as found in a line; texts borrowed from the line, or from `scratch` where they had to be unescaped. */
struct tsn_log_fields {
    struct tsn_text service, environment, level, logger, message, error_type, error_message, host;
    int64_t ts_ms; /* TSN_TIME_NONE: none found */
};
enum tsn_log_format { TSN_LOG_FORMAT_PLAIN, TSN_LOG_FORMAT_JSON, TSN_LOG_FORMAT_LOGFMT, TSN_LOG_FORMAT_SYSLOG };
/* Recognises a JSON object with a message, logfmt with msg=, RFC 5424 syslog; else plain: message = the line. */
enum tsn_log_format tsn_log_extract(const char *line, size_t len, struct tsn_log_fields *out, struct tsn_buf *scratch);
/* One of DEBUG INFO WARN ERROR FATAL for the many spellings (warning, E, crit, 3 …); "" if none. Static. */
const char *tsn_log_level_normal(const char *text, size_t len);

/* Joins lines of one event: stack traces of Java, Python, Go and Node, with `strict` nothing else; without it every indented line, too. */
struct tsn_join {
    bool strict;     /* nothing says where events begin: only what is surely of a trace continues one */
    uint8_t state;   /* what kind of trace we are inside, 0: none */
    uint32_t lines;  /* joined so far; at most TSN_JOIN_LINES */
};
#define TSN_JOIN_LINES 512
/* True if this line continues the event before it; else it begins one. The first line of a source never continues. */
bool tsn_join_continues(struct tsn_join *join, const char *line, size_t len);
/* This line begins an event: it has a header, or is another's. */
void tsn_join_start(struct tsn_join *join, const char *line, size_t len);
/* What of an event's text says which error it is: the message, each error with the frame that it came from, none of the others. The
 * text itself (borrowed) if it has one line, else in `out`, which is reset. Linear. */
struct tsn_text tsn_trace_text(const char *text, size_t len, struct tsn_buf *out);

#endif
