/*
 * config: the configuration file as one plain value (L1), and the declarations of topics.
 *
 * YAML in, range-checked values out; every key stands in an option table (name, type, unit, range, default,
 * text) from which come the parser, the help text and the README's table. An unknown key fails with
 * file, line, column and a hint. Nothing here opens a file or reads the environment: the caller's two functions
 * do (struct tsn_config_io), so the parser can be fuzzed and tested as a function.
 *
 * Values: durations as Prometheus writes them (30s, 1h30m), sizes as 256MB or 4MiB, truth as on/off/true/
 * false. `${NAME}` in a value is replaced from the environment (`${NAME:-text}` with a default, `$${` for
 * a plain one). A secret may stand in a file: `password_file: path` for `password`, and in the kafka section
 * `sasl.password_file: path` for any property. Secrets never leave by tsn_config_print.
 *
 * Limits: 1 MiB of text, depth 32, 256 inputs, 256 series and 64 labels a mapping, 1,000 items in a list.
 */
#ifndef TOCSIN_CONFIG_H
#define TOCSIN_CONFIG_H

#include "tocsin/policy.h"

/* ---- inputs ------------------------------------------------------------------------------- */

enum tsn_input_type { TSN_INPUT_METRICS, TSN_INPUT_LOGS, TSN_INPUT_HOOKS, TSN_INPUT_MAPPED };
enum tsn_input_format { TSN_FORMAT_AUTO, TSN_FORMAT_JSON, TSN_FORMAT_AVRO, TSN_FORMAT_CONFLUENT, TSN_FORMAT_TEXT };
enum tsn_map_kind { TSN_MAP_COUNTER, TSN_MAP_CUMULATIVE, TSN_MAP_GAUGE, TSN_MAP_HISTOGRAM };
enum tsn_time_format { TSN_TIME_AUTO, TSN_TIME_S, TSN_TIME_MS, TSN_TIME_US, TSN_TIME_NS, TSN_TIME_RFC3339 };
const char *tsn_input_type_name(enum tsn_input_type type);

struct tsn_pair_text {
    char *name, *value; /* owned */
};
struct tsn_pair_texts {
    struct tsn_pair_text *items;
    size_t len, cap;
};
/* Copies both. */
void tsn_pair_texts_add(struct tsn_pair_texts *pairs, const char *name, const char *value);
void tsn_pair_texts_release(struct tsn_pair_texts *pairs);

/* One series of a mapped input. */
struct tsn_map_series {
    char *name;
    int64_t kind; /* enum tsn_map_kind */
    char *value;  /* path to the number; "" counts 1 an event */
    struct tsn_pair_texts labels;    /* label → path */
    struct tsn_pair_texts constants; /* label → text */
    struct tsn_texts bucket_texts;
    double *buckets; /* upper bounds, ascending, without +Inf; owned */
    size_t bucket_count;
};

/* A filter: the value at path must be one of these (or, with `not`, none of these). */
struct tsn_map_filter {
    char *path;
    struct tsn_texts any;
    bool negate;
};

struct tsn_input_config {
    char *topic;
    int64_t type;   /* enum tsn_input_type */
    int64_t format; /* enum tsn_input_format */
    char *schema_file; /* bare Avro: writer schema; "" : Tocsin's own of that type */
    char *reader_schema_file; /* mapped Avro: what to read it as; "" : as written */
    struct tsn_pair_texts defaults; /* logs: service, environment, level, logger of events that name none */
    /* mapped only */
    char *timestamp; /* path; "" : the record's Kafka timestamp */
    int64_t timestamp_format; /* enum tsn_time_format */
    TSN_VEC(struct tsn_map_filter) filters; /* all must hold */
    TSN_VEC(struct tsn_map_series) series;
};

/* ---- the whole ---------------------------------------------------------------------------- */

struct tsn_kafka_property {
    char *name, *value; /* owned */
    bool secret;
};
struct tsn_kafka_properties {
    struct tsn_kafka_property *items;
    size_t len, cap;
};

enum tsn_respond_mode { TSN_RESPOND_SHADOW, TSN_RESPOND_LIVE };
enum tsn_output_format { TSN_OUTPUT_JSON, TSN_OUTPUT_AVRO };

/* int64_t for numbers, durations (…_ms), sizes (…_bytes) and choices; text is owned, never NULL. */
struct tsn_config {
    char *file, *base_dir; /* where it was read; base_dir has no trailing slash, "." if none */
    struct tsn_kafka_properties kafka;
    struct {
        char *url, *password, *sentinel_master, *key_prefix;
        struct tsn_texts sentinels; /* host:port */
        int64_t connect_timeout_ms, command_timeout_ms;
    } redis;
    struct {
        char *url, *username, *password, *ca_file;
        int64_t timeout_ms, retry_min_ms, retry_max_ms, max_schemas, max_schema_bytes;
    } registry;
    TSN_VEC(struct tsn_input_config) inputs;
    struct tsn_texts rules; /* globs, relative to base_dir */
    struct {
        char *prefix;
        char *samples, *state, *rules, *templates, *alerts, *commands, *incidents, *respond, *deadletter;
    } topics; /* whole names */
    struct {
        int64_t format; /* enum tsn_output_format */
    } incidents, alerts;
    struct {
        bool fill_job;
        int64_t batch_interval_ms, batch_bytes, queue_bytes, max_series, max_label_bytes, dead_letter_bytes;
    } ingest;
    struct {
        struct tsn_texts masks, templates, secrets, secret_keys, secret_patterns;
    } logs;
    struct {
        int64_t out_of_orderness_ms, future_ms, idle_timeout_ms, align_ms, align_bytes, counter_ttl_ms, blind_after_ms;
    } time;
    struct {
        char *shard_label;
        bool warmup, prometheus_restore; /* the second by `run --compat prometheus` alone */
        int64_t max_series, max_samples, max_output, lookback_ms, commit_interval_ms;
        char *external_url;
        struct tsn_pair_texts external_labels;
    } detect;
    struct {
        int64_t mode; /* enum tsn_respond_mode */
        struct tsn_texts group_by;
        int64_t redis_grace_ms;
        char *services, *escalation, *notify; /* files, relative to base_dir; "": built-in */
    } respond;
    struct {
        int64_t slot;
        char *group_prefix; /* group ids are <prefix>ingest, … */
    } worker;
    struct {
        char *listen, *token;
    } http;
};

/* What the parser may ask of the outside. NULL members: no files, an empty environment. */
struct tsn_config_io {
    /* Content of a file, caller frees with tsn_free; NULL with *error. Paths are already joined to base_dir. */
    char *(*read_file)(void *arg, const char *path, size_t max_bytes, size_t *len, struct tsn_error *error);
    const char *(*get_env)(void *arg, const char *name); /* NULL if unset; borrowed */
    void *arg;
};

/* All defaults. */
void tsn_config_init(struct tsn_config *config);
void tsn_config_release(struct tsn_config *config);
/* Parses `text` over the defaults. `file` is for messages and base_dir. On an error *config is released and the message names
 * file:line:col. Initialises *config itself. */
enum tsn_err tsn_config_parse(struct tsn_config *config, const char *file, const char *text, size_t len,
                              const struct tsn_config_io *io, struct tsn_error *error);
/* `path` relative to the configuration file, joined. Caller frees. */
char *tsn_config_path(const struct tsn_config *config, const char *path);
/* The effective configuration as YAML, secrets as "***". */
void tsn_config_print(const struct tsn_config *config, struct tsn_buf *out);
/* Every key with type, default and text: as a Markdown table, or as plain text for --help. */
void tsn_config_reference(struct tsn_buf *out, bool markdown);
/* Whether the value of a librdkafka property must not be shown (…password, …secret, …jaas, …pem key …). */
bool tsn_config_secret_property(const char *name);
/* host, port of http.listen ("[::1]:8642", ":8642"); false if malformed. host: caller's 256 bytes. */
bool tsn_config_listen(const char *listen, char host[256], int *port);

/* ---- topic declarations (topics/NAME.yaml) ------------------------------------------------- */

struct tsn_topic_decl {
    char *role;  /* samples, state … : the key of the `topics` section; owned */
    char *about; /* one line; owned */
    int64_t partitions;       /* 0: as `partitions_as` */
    char *partitions_as;      /* role; "" if none */
    bool partitions_fixed;    /* a change would move keys: refused */
    int64_t replication;      /* -1: the broker's default */
    int64_t windows;          /* retention at least this many longest windows; 0: no such need */
    struct tsn_pair_texts config; /* topic configuration, as Kafka names it */
};
void tsn_topic_decl_release(struct tsn_topic_decl *decl);
/* Errors name file:line:col. On success the caller releases *decl. */
enum tsn_err tsn_topic_decl_parse(struct tsn_topic_decl *decl, const char *file, const char *text, size_t len,
                                  struct tsn_error *error);
/* The configured whole name of a role; NULL if there is no such role. Borrowed. */
const char *tsn_config_topic(const struct tsn_config *config, const char *role);

#endif
