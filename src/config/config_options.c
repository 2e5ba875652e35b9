/*
 * config_options: every key of the configuration file, in one place.
 *
 * A row gives the parser, the help text and the README's table. Why a default has its value stands in its text or, where
 * it was measured, beside it.
 */
#include "config/config_internal.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MB INT64_C(1000000)
#define GB (1000 * MB)

#define AT(section, field) offsetof(struct tsn_config, section.field) - offsetof(struct tsn_config, section)

static const struct tsn_config_option redis_options[] = {
    { "url", TSN_CK_TEXT, AT(redis, url), 0, 0, "redis://127.0.0.1:6379/0", NULL, "redis://[user@]host:port/db" },
    { "password", TSN_CK_SECRET, AT(redis, password), 0, 0, "", NULL, "password, or password_file" },
    { "sentinels", TSN_CK_TEXTS, AT(redis, sentinels), 0, 0, "", NULL, "host:port of Sentinels; the url then gives only the db" },
    { "sentinel_master", TSN_CK_TEXT, AT(redis, sentinel_master), 0, 0, "tocsin", NULL, "name of the master the Sentinels watch" },
    { "key_prefix", TSN_CK_TEXT, AT(redis, key_prefix), 0, 0, "tocsin:", NULL, "in front of every key" },
    { "connect_timeout", TSN_CK_DURATION, AT(redis, connect_timeout_ms), 10, MINUTE, "2s", NULL, "to connect" },
    { "command_timeout", TSN_CK_DURATION, AT(redis, command_timeout_ms), 10, MINUTE, "2s", NULL, "for one script" },
};

static const struct tsn_config_option registry_options[] = {
    { "url", TSN_CK_TEXT, AT(registry, url), 0, 0, "", NULL, "schema registry, Confluent's API; empty: framed records are dead letters" },
    { "username", TSN_CK_TEXT, AT(registry, username), 0, 0, "", NULL, "HTTP basic authentication" },
    { "password", TSN_CK_SECRET, AT(registry, password), 0, 0, "", NULL, "password, or password_file" },
    { "ca_file", TSN_CK_TEXT, AT(registry, ca_file), 0, 0, "", NULL, "certificates to trust instead of the system's" },
    { "timeout", TSN_CK_DURATION, AT(registry, timeout_ms), 50, MINUTE, "2s", NULL, "for one fetch; records of that schema wait meanwhile" },
    { "retry_min", TSN_CK_DURATION, AT(registry, retry_min_ms), 100, HOUR, "1s", NULL, "first wait after an id failed; doubles" },
    { "retry_max", TSN_CK_DURATION, AT(registry, retry_max_ms), 100, DAY, "5m", NULL, "longest wait between tries of one id" },
    { "max_schemas", TSN_CK_INT, AT(registry, max_schemas), 1, 1000000, "10000", NULL, "ids remembered, good and bad" },
    { "max_schema_bytes", TSN_CK_SIZE, AT(registry, max_schema_bytes), 1024, 64 * MB, "1MiB", NULL, "longest answer that is read" },
};

static const struct tsn_config_option topics_options[] = {
    { "prefix", TSN_CK_TEXT, AT(topics, prefix), 0, 0, "tocsin.", NULL, "in front of the names below unless given" },
    { "samples", TSN_CK_TEXT, AT(topics, samples), 0, 0, "", NULL, "INGEST to DETECT" },
    { "state", TSN_CK_TEXT, AT(topics, state), 0, 0, "", NULL, "what DETECT remembers" },
    { "rules", TSN_CK_TEXT, AT(topics, rules), 0, 0, "", NULL, "numbered rule sets" },
    { "templates", TSN_CK_TEXT, AT(topics, templates), 0, 0, "", NULL, "log templates" },
    { "alerts", TSN_CK_TEXT, AT(topics, alerts), 0, 0, "", NULL, "transitions of alert instances" },
    { "commands", TSN_CK_TEXT, AT(topics, commands), 0, 0, "", NULL, "what people asked for" },
    { "incidents", TSN_CK_TEXT, AT(topics, incidents), 0, 0, "", NULL, "incident events, for everyone" },
    { "respond", TSN_CK_TEXT, AT(topics, respond), 0, 0, "", NULL, "snapshots to rebuild Redis from" },
    { "deadletter", TSN_CK_TEXT, AT(topics, deadletter), 0, 0, "", NULL, "records that could not be read" },
};

static const struct tsn_config_option ingest_options[] = {
    { "fill_job", TSN_CK_BOOL, AT(ingest, fill_job), 0, 0, "on", NULL, "job from service, and service from job, where one is missing" },
    { "batch_interval", TSN_CK_DURATION, AT(ingest, batch_interval_ms), 10, MINUTE, "200ms", NULL, "a batch is closed this often" },
    { "batch_bytes", TSN_CK_SIZE, AT(ingest, batch_bytes), 65536, 64 * MB, "4MB", NULL, "… or at this size" },
    { "queue_bytes", TSN_CK_SIZE, AT(ingest, queue_bytes), MB, 64 * GB, "64MB", NULL, "closed batches that wait for their transaction; full pauses the inputs" },
    { "max_series", TSN_CK_INT, AT(ingest, max_series), 1, 100000000, "2000000", NULL, "series remembered by their raw labels" },
    { "max_label_bytes", TSN_CK_SIZE, AT(ingest, max_label_bytes), 64, 16 * MB, "16KiB", NULL, "labels of one series, all names and values" },
    { "dead_letter_bytes", TSN_CK_SIZE, AT(ingest, dead_letter_bytes), 1024, 10 * MB, "900kB", NULL, "a longer record keeps only its head" },
};

static const struct tsn_config_option logs_options[] = {
    { "masks", TSN_CK_TEXTS, AT(logs, masks), 0, 0, "", NULL, "words that are variables: * any run, ? a character, # a digit" },
    { "templates", TSN_CK_TEXTS, AT(logs, templates), 0, 0, "", NULL, "pinned: a line that fits one (<*> any text) has it, whatever else" },
    { "secrets", TSN_CK_TEXTS, AT(logs, secrets), 0, 0, "", NULL, "what is masked: keyed, token, email, url; empty: all; none" },
    { "secret_keys", TSN_CK_TEXTS, AT(logs, secret_keys), 0, 0, "", NULL, "more keys whose values are secret, beside password, token and their like" },
    { "secret_patterns", TSN_CK_TEXTS, AT(logs, secret_patterns), 0, 0, "", NULL, "RE2: what matches is secret" },
};

static const struct tsn_config_option time_options[] = {
    { "out_of_orderness", TSN_CK_DURATION, AT(time, out_of_orderness_ms), 0, DAY, "5s", NULL, "how far a partition's records may be out of order" },
    { "future", TSN_CK_DURATION, AT(time, future_ms), SECOND, 365 * DAY, "5m", NULL, "furthest a timestamp may be ahead of its record" },
    { "idle_timeout", TSN_CK_DURATION, AT(time, idle_timeout_ms), 50, HOUR, "1s", NULL, "proved empty for this long: idle" },
    { "align", TSN_CK_DURATION, AT(time, align_ms), 5 * SECOND, 7 * DAY, "5m", NULL, "furthest one partition may run ahead of the slowest" },
    { "align_bytes", TSN_CK_SIZE, AT(time, align_bytes), MB, 64 * GB, "256MB", NULL, "… or this much of its own batches" },
    { "counter_ttl", TSN_CK_DURATION, AT(time, counter_ttl_ms), MINUTE, 30 * DAY, "2h", NULL, "a counter counted here ends this long after its last event" },
    { "blind_after", TSN_CK_DURATION, AT(time, blind_after_ms), SECOND, DAY, "30s", NULL, "without a watermark for this long, page: detection is blind" },
};

static const struct tsn_config_option detect_options[] = {
    { "shard_label", TSN_CK_TEXT, AT(detect, shard_label), 0, 0, "service", NULL, "samples are partitioned by this label" },
    { "warmup", TSN_CK_BOOL, AT(detect, warmup), 0, 0, "on", NULL, "mark transitions of rules that have not seen a whole window" },
    { "max_series", TSN_CK_INT, AT(detect, max_series), 1, 100000000, "2000000", NULL, "series a partition of samples" },
    { "max_samples", TSN_CK_INT, AT(detect, max_samples), 1, 10000000000, "50000000", NULL, "samples that a rule may read in a step; over it the rule fails at that step, the others go on" },
    { "max_output", TSN_CK_INT, AT(detect, max_output), 1, 100000000, "1000000", NULL, "elements that a rule may give at a step; over it as max_samples" },
    { "lookback", TSN_CK_DURATION, AT(detect, lookback_ms), SECOND, DAY, "5m", NULL, "how long a sample stands for its series" },
    { "commit_interval", TSN_CK_DURATION, AT(detect, commit_interval_ms), 10, MINUTE, "200ms", NULL, "a transaction this often" },
    { "external_url", TSN_CK_TEXT, AT(detect, external_url), 0, 0, "", NULL, "for links in templates" },
    { "external_labels", TSN_CK_PAIRS, AT(detect, external_labels), 0, 0, "", NULL, "labels for templates: name: value" },
};

static const struct tsn_config_option respond_options[] = {
    { "mode", TSN_CK_CHOICE, AT(respond, mode), 0, 0, "shadow", "shadow|live", "shadow does all but paging" },
    { "group_by", TSN_CK_TEXTS, AT(respond, group_by), 0, 0, "service", NULL, "labels that make alerts one incident" },
    { "redis_grace", TSN_CK_DURATION, AT(respond, redis_grace_ms), SECOND, DAY, "60s", NULL, "without Redis for this long: page on the direct path" },
    { "services", TSN_CK_TEXT, AT(respond, services), 0, 0, "", NULL, "service catalogue; empty: the built-in one" },
    { "escalation", TSN_CK_TEXT, AT(respond, escalation), 0, 0, "", NULL, "escalation policy; empty: the built-in one" },
    { "notify", TSN_CK_TEXT, AT(respond, notify), 0, 0, "", NULL, "channels and routes; empty: none" },
};

static const struct tsn_config_option worker_options[] = {
    { "slot", TSN_CK_INT, AT(worker, slot), 0, 9999, "0", NULL, "this worker's number; no two alike at once" },
    { "group_prefix", TSN_CK_TEXT, AT(worker, group_prefix), 0, 0, "tocsin.", NULL, "in front of consumer group and transactional ids" },
};

static const struct tsn_config_option http_options[] = {
    { "listen", TSN_CK_TEXT, AT(http, listen), 0, 0, "127.0.0.1:8642", NULL, "host:port; empty: no HTTP" },
    { "token", TSN_CK_SECRET, AT(http, token), 0, 0, "", NULL, "bearer token, or token_file; without one only metrics and health answer" },
};

#define SECTION(name, table) { #name, table, TSN_ARRAY_LEN(table), offsetof(struct tsn_config, name) }
/* In the order of the help text. */
const struct tsn_config_section tsn_config_sections[] = {
    SECTION(redis, redis_options),   SECTION(registry, registry_options), SECTION(topics, topics_options),
    SECTION(ingest, ingest_options), SECTION(logs, logs_options), SECTION(time, time_options),         SECTION(detect, detect_options),
    SECTION(respond, respond_options), SECTION(worker, worker_options),   SECTION(http, http_options),
};
const size_t tsn_config_section_count = TSN_ARRAY_LEN(tsn_config_sections);

/* ---- tables of items ---------------------------------------------------------------------- */

#define IN(field) offsetof(struct tsn_input_config, field)
static const struct tsn_config_option input_options[] = {
    { "topic", TSN_CK_TEXT, IN(topic), 0, 0, "", NULL, "name of the topic" },
    { "type", TSN_CK_CHOICE, IN(type), 0, 0, "metrics", "metrics|logs|hooks|mapped", "what its records are" },
    { "format", TSN_CK_CHOICE, IN(format), 0, 0, "auto", "auto|json|avro|confluent|text", "auto: framed Avro by its first byte, else JSON; of logs, what begins with neither { nor [ is text. text: plain lines, logfmt, syslog RFC 5424, JSON" },
    { "schema_file", TSN_CK_TEXT, IN(schema_file), 0, 0, "", NULL, "bare Avro: the writer's schema; empty: Tocsin's own" },
    { "reader_schema_file", TSN_CK_TEXT, IN(reader_schema_file), 0, 0, "", NULL, "mapped Avro: the schema to read it as" },
    { "defaults", TSN_CK_PAIRS, IN(defaults), 0, 0, "", NULL, "logs: service, environment, level, logger of events that name none" },
    { "timestamp", TSN_CK_TEXT, IN(timestamp), 0, 0, "", NULL, "mapped: path of the event time; empty: the record's" },
    { "timestamp_format", TSN_CK_CHOICE, IN(timestamp_format), 0, 0, "auto", "auto|s|ms|us|ns|rfc3339", "mapped: auto takes numbers as ms and text as RFC 3339" },
};
#define SERIES(field) offsetof(struct tsn_map_series, field)
static const struct tsn_config_option series_options[] = {
    { "name", TSN_CK_TEXT, SERIES(name), 0, 0, "", NULL, "metric name" },
    { "kind", TSN_CK_CHOICE, SERIES(kind), 0, 0, "counter", "counter|cumulative|gauge|histogram", "counter: counted here; cumulative: a total as scraped" },
    { "value", TSN_CK_TEXT, SERIES(value), 0, 0, "", NULL, "path of the number; empty: 1 an event" },
    { "labels", TSN_CK_PAIRS, SERIES(labels), 0, 0, "", NULL, "label: path (names with dots between, a number for an item of a list, \\ before a dot in a name)" },
    { "constants", TSN_CK_PAIRS, SERIES(constants), 0, 0, "", NULL, "label: text" },
    { "buckets", TSN_CK_TEXTS, SERIES(bucket_texts), 0, 0, "", NULL, "histogram: upper bounds, ascending" },
};
#define FILTER(field) offsetof(struct tsn_map_filter, field)
static const struct tsn_config_option filter_options[] = {
    { "path", TSN_CK_TEXT, FILTER(path), 0, 0, "", NULL, "path of the value" },
    { "any", TSN_CK_TEXTS, FILTER(any), 0, 0, "", NULL, "it is one of these" },
    { "negate", TSN_CK_BOOL, FILTER(negate), 0, 0, "off", NULL, "it is none of these" },
};
const struct tsn_config_section tsn_config_input_table = { "an input", input_options, TSN_ARRAY_LEN(input_options), 0 };
const struct tsn_config_section tsn_config_series_table = { "a mapped series", series_options,
                                                            TSN_ARRAY_LEN(series_options), 0 };
const struct tsn_config_section tsn_config_filter_table = { "a filter", filter_options, TSN_ARRAY_LEN(filter_options), 0 };

#define TOPIC(field) offsetof(struct tsn_topic_decl, field)
static const struct tsn_config_option topic_options[] = {
    { "role", TSN_CK_TEXT, TOPIC(role), 0, 0, "", NULL, "key of the topics section" },
    { "about", TSN_CK_TEXT, TOPIC(about), 0, 0, "", NULL, "one line" },
    { "partitions", TSN_CK_INT, TOPIC(partitions), 0, 10000, "0", NULL, "count" },
    { "partitions_as", TSN_CK_TEXT, TOPIC(partitions_as), 0, 0, "", NULL, "the same count as this role" },
    { "partitions_fixed", TSN_CK_BOOL, TOPIC(partitions_fixed), 0, 0, "off", NULL, "never change the count" },
    { "replication", TSN_CK_INT, TOPIC(replication), -1, 32, "-1", NULL, "-1: the broker's default" },
    { "windows", TSN_CK_INT, TOPIC(windows), 0, 1000, "0", NULL, "retention of at least so many longest windows" },
    { "config", TSN_CK_PAIRS, TOPIC(config), 0, 0, "", NULL, "topic configuration" },
};
const struct tsn_config_section tsn_config_topic_table = { "a topic", topic_options, TSN_ARRAY_LEN(topic_options), 0 };
