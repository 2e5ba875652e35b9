/*
 * rulebook: the topic `rules`, one partition, kept for ever: every rule set that was ever in force, with its number.
 *
 * A record is JSON: format, hash, settings, files [{file, text}]. A set's number is the offset of its record. Two workers that publish the
 * same set at the same moment leave two records of one hash: the second is no new set, for every reader.
 *
 * Concurrency: one mutex around everything; sets are parsed for the caller, never shared.
 */
#include "app/app_int.h"
#include "tocsin/codec.h"
#include "tocsin/model.h"
#include "tocsin/shard.h"

#include <string.h>

enum { READ_TIMEOUT_MS = 20000, SEND_TIMEOUT_MS = 20000 };

/* 100 years: as long as a duration of the configuration may be; what is longer, or negative, no configuration said. */
#define SETTING_MAX_MS (INT64_C(100) * 365 * 24 * 3600 * 1000)

struct version {
    int64_t number, published_ms;
    char *hash;
    struct tsn_rule_sources sources;
    struct rule_settings settings;
};

struct rule_book {
    pthread_mutex_t lock;
    const struct tsn_config *config;
    struct tsn_reader *reader;
    TSN_VEC(struct version) versions;
};

void tsn_rule_settings_release(struct rule_settings *s)
{
    tsn_free(s->shard_label);
    tsn_free(s->external_url);
    tsn_labels_unref(s->external_labels);
    memset(s, 0, sizeof *s);
}

static void release_version(struct version *v)
{
    tsn_free(v->hash);
    tsn_rule_sources_release(&v->sources);
    tsn_rule_settings_release(&v->settings);
}

static char *text_of(const struct tsn_json_node *object, const char *key)
{
    const struct tsn_json_node *n = object ? tsn_json_get(object, key) : NULL;

    return n && n->kind == TSN_JSON_STRING ? tsn_strndup(n->text, n->text_len) : NULL;
}

static int64_t integer_of(const struct tsn_json_node *object, const char *key)
{
    const struct tsn_json_node *n = object ? tsn_json_get(object, key) : NULL;
    int64_t value = 0;

    return n && tsn_json_i64(n, &value) ? value : 0;
}

static bool in_range(const struct rule_settings *s)
{
    return s->lookback_ms >= 0 && s->lookback_ms <= SETTING_MAX_MS && s->counter_ttl_ms >= 0 && s->counter_ttl_ms <= SETTING_MAX_MS;
}

static void read_settings(const struct tsn_json_node *object, struct rule_settings *s)
{
    const struct tsn_json_node *labels = object ? tsn_json_get(object, "external_labels") : NULL;
    const struct tsn_json_node *warmup = object ? tsn_json_get(object, "warmup") : NULL;
    const struct tsn_json_node *fill_job = object ? tsn_json_get(object, "fill_job") : NULL;
    struct tsn_labels_builder b;

    s->shard_label = text_of(object, "shard_label");
    if (!s->shard_label)
        s->shard_label = tsn_strdup("service");
    s->external_url = text_of(object, "external_url");
    s->lookback_ms = integer_of(object, "lookback_ms");
    s->counter_ttl_ms = integer_of(object, "counter_ttl_ms");
    s->warmup = warmup && warmup->kind == TSN_JSON_TRUE;
    s->fill_job = fill_job && fill_job->kind == TSN_JSON_TRUE;
    tsn_labels_builder_init(&b);
    if (labels && labels->kind == TSN_JSON_OBJECT)
        tsn_json_foreach(labels, n)
            if (n->kind == TSN_JSON_STRING)
                tsn_labels_builder_setn(&b, n->key, n->key_len, n->text, n->text_len);
    s->external_labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
}

static enum tsn_err read_version(const struct tsn_message *m, struct version *v, struct tsn_error *error)
{
    struct tsn_json json;
    const struct tsn_json_node *root, *files;
    enum tsn_err err;

    memset(v, 0, sizeof *v);
    v->number = m->offset;
    v->published_ms = m->timestamp_ms;
    tsn_json_init(&json);
    err = tsn_json_parse(&json, m->value, m->value_len, error);
    root = err ? NULL : json.nodes.items;
    if (!err && integer_of(root, "format") > TSN_FORMAT_VERSION)
        err = tsn_error_set(error, TSN_ERR_UNSUPPORTED, "rule set %lld has format %lld, this build reads up to %d: run the newer build",
                            (long long)m->offset, (long long)integer_of(root, "format"), TSN_FORMAT_VERSION);
    files = root ? tsn_json_get(root, "files") : NULL;
    if (!err && (!files || files->kind != TSN_JSON_ARRAY || !(v->hash = text_of(root, "hash"))))
        err = tsn_error_set(error, TSN_ERR_INVALID, "rule set %lld: no files or no hash", (long long)m->offset);
    if (!err) {
        read_settings(tsn_json_get(root, "settings"), &v->settings);
        if (!in_range(&v->settings))
            err = tsn_error_set(error, TSN_ERR_INVALID, "rule set %lld: lookback or counter_ttl is out of range", (long long)m->offset);
        tsn_json_foreach(files, f) {
            struct tsn_rule_source source = { text_of(f, "file"), text_of(f, "text"), 0 };

            source.len = source.text ? strlen(source.text) : 0;
            tsn_vec_push(&v->sources, source);
            if (!source.file || !source.text)
                err = tsn_error_set(error, TSN_ERR_INVALID, "rule set %lld: a file without name or text", (long long)m->offset);
        }
    }
    if (err)
        release_version(v);
    tsn_json_release(&json);
    return err;
}

/* A set that cannot be read is skipped, with a word; one of a newer format stops us. */
static enum tsn_err refresh(struct rule_book *book, int timeout_ms, struct tsn_error *error)
{
    for (int wait_ms = timeout_ms;; wait_ms = 0) { /* the first is waited for, and what has come with it is taken */
        struct tsn_message m;
        struct version v;
        enum tsn_err err = tsn_reader_next(book->reader, wait_ms, &m, error);

        if (err == TSN_ERR_NOT_FOUND || err == TSN_ERR_TIMEOUT)
            return TSN_OK;
        if (!err && !m.value)
            continue;
        if (!err)
            err = read_version(&m, &v, error);
        if (err == TSN_ERR_INVALID) {
            tsn_log(TSN_LOG_ERROR, "rules", "a record of the rules topic cannot be read", "offset=%lld error=\"%s\"", (long long)m.offset, error->message);
            continue;
        }
        if (err)
            return err;
        /* Two workers that start together may both publish: the second record of one hash is the same set. */
        if (book->versions.len && strcmp(book->versions.items[book->versions.len - 1].hash, v.hash) == 0) {
            release_version(&v);
            continue;
        }
        tsn_vec_push(&book->versions, v);
    }
}

struct rule_book *tsn_rule_book_new(const struct tsn_config *config, struct tsn_error *error)
{
    struct tsn_reader *reader = tsn_reader_new(config, config->topics.rules, 0, TSN_OFFSET_BEGINNING, true, error);
    struct rule_book *book;
    int64_t end;

    if (!reader)
        return NULL;
    book = tsn_calloc(1, sizeof *book);
    pthread_mutex_init(&book->lock, NULL);
    book->config = config;
    book->reader = reader;
    end = tsn_reader_end(reader);
    for (int64_t until_ns = tsn_mono_now().ns + READ_TIMEOUT_MS * INT64_C(1000000);
         tsn_reader_position(book->reader) < end;) {
        if (refresh(book, 100, error)) {
            tsn_rule_book_free(&book);
            return NULL;
        }
        if (tsn_kafka_given_up() || tsn_mono_now().ns > until_ns)
            break;
    }
    return book;
}

void tsn_rule_book_free(struct rule_book **bookp)
{
    struct rule_book *book = *bookp;

    if (!book)
        return;
    for (size_t i = 0; i < book->versions.len; i++)
        release_version(&book->versions.items[i]);
    tsn_vec_release(&book->versions);
    tsn_reader_free(&book->reader);
    pthread_mutex_destroy(&book->lock);
    tsn_free(book);
    *bookp = NULL;
}

enum tsn_err tsn_rule_book_refresh(struct rule_book *book, struct tsn_error *error)
{
    enum tsn_err err;

    pthread_mutex_lock(&book->lock);
    err = refresh(book, 0, error);
    pthread_mutex_unlock(&book->lock);
    return err;
}

size_t tsn_rule_book_count(struct rule_book *book)
{
    size_t count;

    pthread_mutex_lock(&book->lock);
    count = book->versions.len;
    pthread_mutex_unlock(&book->lock);
    return count;
}

static struct tsn_rule_set *parse(const struct tsn_rule_sources *sources)
{
    struct tsn_rule_load_options options = { 0 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(sources->items, sources->len, &options, &errors);

    for (size_t i = 0; i < errors.len; i++)
        tsn_log(TSN_LOG_ERROR, "rules", "rule file is wrong", "at=%s:%u:%u error=\"%s\"", errors.items[i].file, errors.items[i].at.line,
                errors.items[i].at.column, errors.items[i].message);
    tsn_rule_errors_release(&errors);
    return set;
}

struct tsn_rule_set *tsn_rule_book_load(struct rule_book *book, size_t index, int64_t *number)
{
    struct tsn_rule_set *set;

    pthread_mutex_lock(&book->lock);
    TSN_ASSERT(index < book->versions.len);
    *number = book->versions.items[index].number;
    set = parse(&book->versions.items[index].sources);
    pthread_mutex_unlock(&book->lock);
    return set;
}

bool tsn_rule_book_settings(struct rule_book *book, struct rule_settings *out)
{
    const struct rule_settings *last;

    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&book->lock);
    if (book->versions.len) {
        last = &book->versions.items[book->versions.len - 1].settings;
        *out = *last;
        out->shard_label = tsn_strdup(last->shard_label);
        out->external_url = last->external_url ? tsn_strdup(last->external_url) : NULL;
        out->external_labels = tsn_labels_copy(last->external_labels);
    }
    pthread_mutex_unlock(&book->lock);
    return out->shard_label != NULL;
}

/* ---- publishing ---------------------------------------------------------------------------- */

static void put_settings(const struct tsn_config *config, struct tsn_buf *out)
{
    tsn_buf_puts(out, "{\"shard_label\":");
    tsn_buf_json_string(out, config->detect.shard_label, strlen(config->detect.shard_label));
    tsn_buf_printf(out, ",\"lookback_ms\":%lld,\"counter_ttl_ms\":%lld,\"warmup\":%s,\"fill_job\":%s,\"external_url\":",
                   (long long)config->detect.lookback_ms, (long long)config->time.counter_ttl_ms, config->detect.warmup ? "true" : "false",
                   config->ingest.fill_job ? "true" : "false");
    tsn_buf_json_string(out, config->detect.external_url, strlen(config->detect.external_url));
    tsn_buf_puts(out, ",\"external_labels\":{");
    for (size_t i = 0; i < config->detect.external_labels.len; i++) {
        const struct tsn_pair_text *p = &config->detect.external_labels.items[i];

        if (i)
            tsn_buf_putc(out, ',');
        tsn_buf_json_string(out, p->name, strlen(p->name));
        tsn_buf_putc(out, ':');
        tsn_buf_json_string(out, p->value, strlen(p->value));
    }
    tsn_buf_puts(out, "}}");
}

static char *record_of(const struct tsn_config *config, const struct tsn_rule_sources *sources, char hash[33], size_t *len)
{
    struct tsn_buf body = TSN_BUF_INIT, record = TSN_BUF_INIT;

    tsn_buf_puts(&body, "\"settings\":");
    put_settings(config, &body);
    tsn_buf_puts(&body, ",\"files\":[");
    for (size_t i = 0; i < sources->len; i++) {
        tsn_buf_puts(&body, i ? ",{\"file\":" : "{\"file\":");
        tsn_buf_json_string(&body, sources->items[i].file, strlen(sources->items[i].file));
        tsn_buf_puts(&body, ",\"text\":");
        tsn_buf_json_string(&body, sources->items[i].text, sources->items[i].len);
        tsn_buf_putc(&body, '}');
    }
    tsn_buf_puts(&body, "]}");
    tsn_u128_hex(tsn_hash128(body.data, body.len), hash);
    tsn_buf_printf(&record, "{\"format\":%d,\"hash\":\"%s\",", TSN_FORMAT_VERSION, hash);
    tsn_buf_append(&record, body.data, body.len);
    tsn_buf_release(&body);
    return tsn_buf_take(&record, len);
}

/* The number under which a hash stands; -1. With `last_only`, if it is the last set's. */
static int64_t find_hash(struct rule_book *book, const char *hash, bool last_only)
{
    for (size_t i = book->versions.len; i > 0; i--) {
        if (strcmp(book->versions.items[i - 1].hash, hash) == 0)
            return book->versions.items[i - 1].number;
        if (last_only)
            break;
    }
    return -1;
}

/* Loads, and refuses what cannot run on a stream. */
static enum tsn_err validate(const struct tsn_rule_sources *sources, struct tsn_error *error)
{
    struct tsn_rule_set *set = parse(sources);
    const char *why;
    enum tsn_err err = set ? TSN_OK : tsn_error_set(error, TSN_ERR_INVALID, "the rule files do not load (see the lines above)");

    for (size_t g = 0; set && g < set->group_count && !err; g++) {
        const struct tsn_group *group = &set->groups[g];

        if (group->interval_ms % 1000 != 0)
            err = tsn_error_set(error, TSN_ERR_INVALID, "%s:%u: group %s: an interval must be whole seconds to run on a stream",
                                group->file, group->at.line, group->name);
        for (size_t r = 0; r < group->rule_count && !err; r++)
            if (!tsn_rule_streamable(&group->rules[r], &why))
                err = tsn_error_set(error, TSN_ERR_INVALID, "%s:%u:%u: %s: %s", group->file, group->rules[r].expr_at.line,
                                    group->rules[r].expr_at.column, group->rules[r].name, why);
    }
    tsn_rule_set_free(&set);
    return err;
}

static enum tsn_err send_record(struct rule_book *book, const char *hash, const char *record, size_t len, struct tsn_error *error)
{
    struct tsn_producer *producer = tsn_producer_new(book->config, NULL, SEND_TIMEOUT_MS, error);
    enum tsn_err err;

    if (!producer)
        return error->code;
    err = tsn_producer_send(producer, book->config->topics.rules, 0, hash, strlen(hash), record, len, TSN_TIME_NONE, NULL, 0, error);
    if (!err)
        err = tsn_producer_flush(producer, SEND_TIMEOUT_MS, error);
    tsn_producer_free(&producer);
    return err;
}

enum tsn_err tsn_rule_book_publish(struct rule_book *book, const struct tsn_config *config, const struct tsn_rule_sources *sources,
                                   bool first, int64_t *number, struct tsn_error *error)
{
    char hash[33], *record;
    size_t len;
    enum tsn_err err = validate(sources, error);

    if (err)
        return err;
    record = record_of(config, sources, hash, &len);
    pthread_mutex_lock(&book->lock);
    err = refresh(book, 0, error);
    *number = err ? -1 : find_hash(book, hash, !first);
    if (!err && *number < 0) {
        err = send_record(book, hash, record, len, error);
        for (int64_t until_ns = tsn_mono_now().ns + READ_TIMEOUT_MS * INT64_C(1000000); !err && *number < 0;) {
            err = refresh(book, 100, error);
            *number = find_hash(book, hash, true);
            if (!err && *number < 0 && (tsn_kafka_given_up() || tsn_mono_now().ns > until_ns))
                err = tsn_error_set(error, TSN_ERR_TIMEOUT, "the rule set that was published does not come back from topic %s", config->topics.rules);
        }
        if (!err)
            tsn_log(TSN_LOG_INFO, "rules", "rule set published", "rule_set=%lld files=%zu hash=%s", (long long)*number, sources->len, hash);
    } else if (!err && first && *number != book->versions.items[book->versions.len - 1].number) {
        tsn_log(TSN_LOG_WARN, "rules", "the rule files of this worker are an earlier set; the newest stays in force",
                "files_are=%lld in_force=%lld", (long long)*number, (long long)book->versions.items[book->versions.len - 1].number);
    }
    pthread_mutex_unlock(&book->lock);
    tsn_free(record);
    return err;
}

enum tsn_err tsn_app_publish_rules(const struct tsn_config *config, int64_t *number, struct tsn_error *error)
{
    struct tsn_rule_sources sources = { 0 };
    struct rule_book *book = NULL;
    enum tsn_err err = tsn_app_read_rules(config, &sources, error);

    if (!err && !(book = tsn_rule_book_new(config, error)))
        err = error->code;
    if (!err)
        err = tsn_rule_book_publish(book, config, &sources, false, number, error);
    tsn_rule_book_free(&book);
    tsn_rule_sources_release(&sources);
    return err;
}

enum tsn_err tsn_app_each_rule_set(const struct tsn_config *config,
                                   void (*visit)(void *arg, int64_t number, const char *hash, int64_t published_ms,
                                                 const struct tsn_rule_sources *sources),
                                   void *arg, struct tsn_error *error)
{
    struct rule_book *book = tsn_rule_book_new(config, error);

    if (!book)
        return error->code;
    for (size_t i = 0; i < book->versions.len; i++)
        visit(arg, book->versions.items[i].number, book->versions.items[i].hash, book->versions.items[i].published_ms,
              &book->versions.items[i].sources);
    tsn_rule_book_free(&book);
    return TSN_OK;
}
