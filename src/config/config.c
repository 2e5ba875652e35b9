/*
 * config: the configuration file into struct tsn_config, and the checks that a single table row cannot make.
 *
 * Order: defaults, the file over them, derived names, then relations between keys. The first error ends it.
 */
#include "tocsin/config.h"

#include "config/config_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *tsn_input_type_name(enum tsn_input_type type)
{
    static const char *const names[] = { "metrics", "logs", "hooks", "mapped" };

    return names[type];
}

/* ---- life --------------------------------------------------------------------------------- */

void tsn_config_init(struct tsn_config *config)
{
    memset(config, 0, sizeof *config);
    config->file = tsn_strdup("");
    config->base_dir = tsn_strdup(".");
    for (size_t i = 0; i < tsn_config_section_count; i++)
        tsn_config_defaults(&tsn_config_sections[i], (char *)config + tsn_config_sections[i].offset);
}

static void release_input(struct tsn_input_config *input)
{
    tsn_config_clear(&tsn_config_input_table, input);
    for (size_t i = 0; i < input->filters.len; i++)
        tsn_config_clear(&tsn_config_filter_table, &input->filters.items[i]);
    tsn_vec_release(&input->filters);
    for (size_t i = 0; i < input->series.len; i++) {
        tsn_config_clear(&tsn_config_series_table, &input->series.items[i]);
        tsn_free(input->series.items[i].buckets);
    }
    tsn_vec_release(&input->series);
}

void tsn_config_release(struct tsn_config *config)
{
    for (size_t i = 0; i < tsn_config_section_count; i++)
        tsn_config_clear(&tsn_config_sections[i], (char *)config + tsn_config_sections[i].offset);
    for (size_t i = 0; i < config->kafka.len; i++) {
        tsn_free(config->kafka.items[i].name);
        tsn_free(config->kafka.items[i].value);
    }
    tsn_vec_release(&config->kafka);
    for (size_t i = 0; i < config->inputs.len; i++)
        release_input(&config->inputs.items[i]);
    tsn_vec_release(&config->inputs);
    tsn_texts_release(&config->rules);
    tsn_free(config->file);
    tsn_free(config->base_dir);
    memset(config, 0, sizeof *config);
}

char *tsn_config_path(const struct tsn_config *config, const char *path)
{
    struct tsn_buf out = TSN_BUF_INIT;

    if (*path == '/' || strcmp(config->base_dir, ".") == 0)
        return tsn_strdup(path);
    tsn_buf_printf(&out, "%s/%s", config->base_dir, path);
    return tsn_buf_take(&out, NULL);
}

/* ---- kafka: any property ------------------------------------------------------------------ */

bool tsn_config_secret_property(const char *name)
{
    static const char *const parts[] = { "password", "secret", "jaas", "key.pem", "oauthbearer.config", "token", "credential" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(parts); i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}

/* What Tocsin's guarantees rest on; setting it would break them. */
static const char *const owned_properties[] = {
    "enable.auto.commit", "enable.auto.offset.store", "auto.commit.interval.ms", "isolation.level", "transactional.id",
    "group.id", "group.instance.id", "enable.partition.eof", "auto.offset.reset", "enable.idempotence", "acks",
    "request.required.acks", "transaction.timeout.ms", "max.in.flight", "max.in.flight.requests.per.connection",
};

static void kafka_pair(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_config *config = arg;
    struct tsn_kafka_property p = { NULL, NULL, false };
    size_t len = strlen(key);
    bool from_file = len > 5 && strcmp(key + len - 5, "_file") == 0;

    for (size_t i = 0; i < TSN_ARRAY_LEN(owned_properties); i++)
        if (strcmp(key, owned_properties[i]) == 0)
            tsn_config_fail(w, at, "kafka: '%s' is set by Tocsin; exactly-once rests on it", key);
    if (w->failed)
        return;
    if (from_file) {
        p.name = tsn_strndup(key, len - 5);
        p.value = tsn_config_secret_file(w, value, p.name);
    } else {
        p.name = tsn_strdup(key);
        p.value = tsn_config_null(value) ? tsn_strdup("") : tsn_config_scalar(w, value, key);
    }
    p.secret = from_file || tsn_config_secret_property(p.name);
    if (p.value) {
        tsn_vec_push(&config->kafka, p);
    } else {
        tsn_free(p.name);
    }
}

/* ---- inputs ------------------------------------------------------------------------------- */

static bool parse_buckets(struct tsn_config_walk *w, const yaml_node_t *at, struct tsn_map_series *s)
{
    s->bucket_count = s->bucket_texts.len;
    s->buckets = tsn_calloc(s->bucket_count + 1, sizeof *s->buckets);
    for (size_t i = 0; i < s->bucket_count; i++) {
        const char *text = s->bucket_texts.items[i];

        if (!tsn_parse_double(text, strlen(text), &s->buckets[i]) || !isfinite(s->buckets[i]))
            tsn_config_fail(w, at, "buckets: '%s' is not a finite number", text);
        else if (i && s->buckets[i] <= s->buckets[i - 1])
            tsn_config_fail(w, at, "buckets must ascend: %s after %s", text, s->bucket_texts.items[i - 1]);
    }
    return !w->failed;
}

static void series_item(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_input_config *input = arg;
    struct tsn_map_series *s;

    TSN_UNUSED(key);
    tsn_vec_reserve(&input->series, input->series.len + 1);
    s = &input->series.items[input->series.len++];
    memset(s, 0, sizeof *s);
    tsn_config_defaults(&tsn_config_series_table, s);
    tsn_config_read_table(w, value, &tsn_config_series_table, s, NULL, NULL);
    if (!w->failed && !*s->name)
        tsn_config_fail(w, at, "a mapped series needs a name");
    for (size_t i = 0; i < s->labels.len && !w->failed; i++)
        if (!tsn_label_name_classic(s->labels.items[i].name, strlen(s->labels.items[i].name)))
            tsn_config_fail(w, at, "'%s' is not a label name", s->labels.items[i].name);
    if (!w->failed && (s->kind == TSN_MAP_HISTOGRAM) != (s->bucket_texts.len > 0))
        tsn_config_fail(w, at, "buckets belong to a histogram, and a histogram needs them");
    if (!w->failed && s->kind != TSN_MAP_COUNTER && !*s->value)
        tsn_config_fail(w, at, "series %s: only a counter goes without `value`", s->name);
    if (!w->failed)
        parse_buckets(w, at, s);
}

static void filter_item(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_input_config *input = arg;
    struct tsn_map_filter *f;

    TSN_UNUSED(key);
    tsn_vec_reserve(&input->filters, input->filters.len + 1);
    f = &input->filters.items[input->filters.len++];
    memset(f, 0, sizeof *f);
    tsn_config_defaults(&tsn_config_filter_table, f);
    tsn_config_read_table(w, value, &tsn_config_filter_table, f, NULL, NULL);
    if (!w->failed && (!*f->path || !f->any.len))
        tsn_config_fail(w, at, "a filter needs `path` and `any`");
}

static bool input_other(struct tsn_config_walk *w, const char *key, yaml_node_t *value, void *arg)
{
    if (strcmp(key, "series") == 0)
        tsn_config_each_item(w, value, "series", 256, series_item, arg);
    else if (strcmp(key, "filter") == 0)
        tsn_config_each_item(w, value, "filter", 64, filter_item, arg);
    else
        return false;
    return true;
}

static void check_log_input(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_input_config *input)
{
    static const char *const fields[] = { "service", "environment", "level", "logger" };

    if (input->type != TSN_INPUT_LOGS && (input->defaults.len || input->format == TSN_FORMAT_TEXT))
        tsn_config_fail(w, at, "input %s: defaults and format text belong to type logs", input->topic);
    for (size_t i = 0; i < input->defaults.len && !w->failed; i++) {
        size_t f = 0;

        while (f < TSN_ARRAY_LEN(fields) && strcmp(fields[f], input->defaults.items[i].name) != 0)
            f++;
        if (f == TSN_ARRAY_LEN(fields))
            tsn_config_fail(w, at, "input %s: no default for '%s'; there are service, environment, level, logger", input->topic,
                            input->defaults.items[i].name);
    }
}

static void input_item(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_config *config = arg;
    struct tsn_input_config *input;

    TSN_UNUSED(key);
    tsn_vec_reserve(&config->inputs, config->inputs.len + 1);
    input = &config->inputs.items[config->inputs.len++];
    memset(input, 0, sizeof *input);
    tsn_config_defaults(&tsn_config_input_table, input);
    tsn_config_read_table(w, value, &tsn_config_input_table, input, input_other, input);
    if (w->failed)
        return;
    if (!*input->topic)
        tsn_config_fail(w, at, "an input needs a topic");
    else if (strlen(input->topic) > 249 || strspn(input->topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(input->topic))
        tsn_config_fail(w, at, "'%s' is not the name of a topic (letters, digits, '.', '_', '-'; at most 249)", input->topic);
    else if ((input->type == TSN_INPUT_MAPPED) != (input->series.len > 0))
        tsn_config_fail(w, at, "input %s: `series` belongs to type mapped, and type mapped needs it", input->topic);
    else if (input->type != TSN_INPUT_MAPPED && (*input->timestamp || input->filters.len))
        tsn_config_fail(w, at, "input %s: timestamp and filter belong to type mapped", input->topic);
    else if (input->type == TSN_INPUT_MAPPED && input->format == TSN_FORMAT_AVRO && !*input->schema_file)
        tsn_config_fail(w, at, "input %s: bare Avro of a mapped topic needs schema_file", input->topic);
    if (!w->failed)
        check_log_input(w, at, input);
    for (size_t i = 0; i + 1 < config->inputs.len && !w->failed; i++)
        if (strcmp(config->inputs.items[i].topic, input->topic) == 0)
            tsn_config_fail(w, at, "topic %s stands twice in inputs", input->topic);
}

/* ---- sections ----------------------------------------------------------------------------- */

/* outputs: { incidents: { topic, format }, alerts: { topic, format } } */
struct output_read {
    char *topic;
    int64_t format;
};
static const struct tsn_config_option output_options[] = {
    { "topic", TSN_CK_TEXT, offsetof(struct output_read, topic), 0, 0, "", NULL, "name; as topics.<output>" },
    { "format", TSN_CK_CHOICE, offsetof(struct output_read, format), 0, 0, "json", "json|avro", "JSON, or framed Avro" },
};
static const struct tsn_config_section output_table = { "an output", output_options, 2, 0 };

static void output_pair(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_config *config = arg;
    struct output_read out = { NULL, 0 };
    bool incidents = strcmp(key, "incidents") == 0;
    char **name = incidents ? &config->topics.incidents : &config->topics.alerts;

    if (!incidents && strcmp(key, "alerts") != 0) {
        tsn_config_fail(w, at, "no output '%s'; there are incidents and alerts", key);
        return;
    }
    tsn_config_defaults(&output_table, &out);
    tsn_config_read_table(w, value, &output_table, &out, NULL, NULL);
    if (!w->failed) {
        *(incidents ? &config->incidents.format : &config->alerts.format) = out.format;
        if (*out.topic) {
            tsn_free(*name);
            *name = tsn_strdup(out.topic);
        }
    }
    tsn_config_clear(&output_table, &out);
}

static void rule_item(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    char *text = tsn_config_scalar(w, value, "an item of rules");

    TSN_UNUSED(key);
    TSN_UNUSED(at);
    if (text)
        tsn_texts_add(arg, text, strlen(text));
    tsn_free(text);
}

static void unknown_section(struct tsn_config_walk *w, const yaml_node_t *at, const char *key)
{
    const char *names[16] = { "kafka", "inputs", "rules", "outputs" }, *near;
    size_t count = 4;

    for (size_t i = 0; i < tsn_config_section_count; i++)
        names[count++] = tsn_config_sections[i].name;
    near = tsn_config_nearest(key, names, count);
    if (near)
        tsn_config_fail(w, at, "no section '%s'; did you mean '%s'?", key, near);
    else
        tsn_config_fail(w, at, "no section '%s'; there are kafka, inputs, rules, outputs, redis, registry, topics, ingest, "
                               "logs, time, detect, respond, worker, http", key);
}

static void section_pair(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct tsn_config *config = arg;

    if (strcmp(key, "kafka") == 0) {
        tsn_config_each_pair(w, value, "kafka", kafka_pair, config);
    } else if (strcmp(key, "inputs") == 0) {
        tsn_config_each_item(w, value, "inputs", 256, input_item, config);
    } else if (strcmp(key, "rules") == 0) {
        tsn_config_each_item(w, value, "rules", TSN_CONFIG_LIST, rule_item, &config->rules);
    } else if (strcmp(key, "outputs") == 0) {
        tsn_config_each_pair(w, value, "outputs", output_pair, config);
    } else {
        for (size_t i = 0; i < tsn_config_section_count; i++)
            if (strcmp(tsn_config_sections[i].name, key) == 0) {
                tsn_config_read_table(w, value, &tsn_config_sections[i], (char *)config + tsn_config_sections[i].offset,
                                      NULL, NULL);
                return;
            }
        unknown_section(w, at, key);
    }
}

/* ---- derived names and relations ---------------------------------------------------------- */

static const char *const roles[] = { "samples", "state", "rules", "templates", "alerts",
                                     "commands", "incidents", "respond", "deadletter" };

const char *tsn_config_topic(const struct tsn_config *config, const char *role)
{
    for (size_t i = 0; i < tsn_config_section_count; i++) {
        const struct tsn_config_section *s = &tsn_config_sections[i];

        if (strcmp(s->name, "topics") != 0)
            continue;
        for (size_t j = 1; j < s->count; j++)
            if (strcmp(s->options[j].key, role) == 0)
                return *(char *const *)(const void *)((const char *)config + s->offset + s->options[j].offset);
    }
    return NULL;
}

static void fill_topics(struct tsn_config *config)
{
    char **names[] = { &config->topics.samples, &config->topics.state, &config->topics.rules, &config->topics.templates,
                       &config->topics.alerts, &config->topics.commands, &config->topics.incidents,
                       &config->topics.respond, &config->topics.deadletter };

    for (size_t i = 0; i < TSN_ARRAY_LEN(roles); i++) {
        struct tsn_buf name = TSN_BUF_INIT;

        if (**names[i])
            continue;
        tsn_buf_printf(&name, "%s%s", config->topics.prefix, roles[i]);
        tsn_free(*names[i]);
        *names[i] = tsn_buf_take(&name, NULL);
    }
}

bool tsn_config_listen(const char *listen, char host[256], int *port)
{
    const char *colon = strrchr(listen, ':');
    int64_t number;
    size_t len;

    if (!colon || !tsn_parse_i64(colon + 1, strlen(colon + 1), &number) || number < 0 || number > 65535)
        return false;
    len = (size_t)(colon - listen);
    if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']') {
        listen++;
        len -= 2;
    } else if (memchr(listen, ':', len)) {
        return false;
    }
    if (len >= 256)
        return false;
    memcpy(host, listen, len);
    host[len] = '\0';
    *port = (int)number;
    return true;
}

static void check_relations(struct tsn_config_walk *w, const struct tsn_config *c)
{
    char host[256];
    int port;

    for (size_t i = 0; i < c->inputs.len && !w->failed; i++) {
        for (size_t r = 0; r < TSN_ARRAY_LEN(roles); r++)
            if (strcmp(c->inputs.items[i].topic, tsn_config_topic(c, roles[r])) == 0)
                tsn_config_fail(w, NULL, "topic %s is an input and Tocsin's own '%s'", c->inputs.items[i].topic, roles[r]);
    }
    if (*c->http.listen && !tsn_config_listen(c->http.listen, host, &port))
        tsn_config_fail(w, NULL, "http.listen: '%s' is not host:port", c->http.listen);
    if (!tsn_label_name_classic(c->detect.shard_label, strlen(c->detect.shard_label)))
        tsn_config_fail(w, NULL, "detect.shard_label: '%s' is not a label name", c->detect.shard_label);
    if (c->time.align_ms <= c->time.out_of_orderness_ms)
        tsn_config_fail(w, NULL, "time.align must be longer than time.out_of_orderness");
    if (c->registry.retry_max_ms < c->registry.retry_min_ms)
        tsn_config_fail(w, NULL, "registry.retry_max is shorter than registry.retry_min");
}

enum tsn_err tsn_config_parse(struct tsn_config *config, const char *file, const char *text, size_t len,
                              const struct tsn_config_io *io, struct tsn_error *error)
{
    static const struct tsn_config_io closed;
    struct tsn_error unused;
    struct tsn_config_walk w = { .file = file, .io = io ? io : &closed, .error = error ? error : &unused };
    const char *slash = strrchr(file, '/');

    tsn_config_init(config);
    tsn_free(config->file);
    config->file = tsn_strdup(file);
    if (slash) {
        tsn_free(config->base_dir);
        config->base_dir = tsn_strndup(file, slash == file ? 1 : (size_t)(slash - file));
    }
    w.base_dir = config->base_dir;
    tsn_error_set(w.error, TSN_ERR_INVALID, "%s: not YAML", file);
    if (tsn_config_walk_open(&w, text, len)) {
        tsn_config_each_pair(&w, yaml_document_get_root_node(&w.doc), "the configuration", section_pair, config);
        yaml_document_delete(&w.doc);
        fill_topics(config);
        check_relations(&w, config);
        if (!w.failed)
            return TSN_OK;
    }
    tsn_config_release(config);
    return w.error->code;
}
