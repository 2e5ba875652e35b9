/*
 * respond_take: becoming the owner.
 *
 *   Kafka's side, once a session: the transactional producer (which fences a predecessor and ends what it left open), then the
 *   committed mark, then the records of topic `respond` that are no incidents.
 *   Redis's side, at the beginning and after each failure of it: takeover under the mark; if Redis is behind it or empty, a new data set from
 *   `respond`; then what was published and not trimmed is trimmed, and both inputs are read from behind what is applied.
 *
 * The mark comes from the metadata of the group's offsets, or, where those expired, from the record "position" that the same transactions wrote.
 */
#include "app/respond_int.h"

#include <string.h>

enum { PRODUCER_MS = 15000, COMMITTED_MS = 5000, READ_MS = 30000, QUERY_MS = 5000 };

/* ---- topic `respond` ------------------------------------------------------------------------ */

/* Every record of the topic, in order, into fn. */
static enum tsn_err each_record(struct respond_session *s, enum tsn_err (*fn)(void *arg, const struct tsn_message *m, struct tsn_error *error),
                                void *arg, struct tsn_error *error)
{
    struct tsn_reader *r = tsn_reader_new(s->config, s->config->topics.respond, 0, TSN_OFFSET_BEGINNING, false, error);
    struct tsn_message m;
    enum tsn_err err = r ? TSN_OK : error->code;

    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error)))
        if (!m.eof && m.key_len)
            err = fn(arg, &m, error);
    tsn_reader_free(&r);
    if (err && err != TSN_ERR_NOT_FOUND)
        tsn_error_prefix(error, "topic %s", s->config->topics.respond);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static bool key_begins(const struct tsn_message *m, const char *prefix)
{
    size_t len = strlen(prefix);

    return m->key_len >= len && memcmp(m->key, prefix, len) == 0;
}

struct noting {
    struct respond_session *session;
    struct tsn_respond_mark position;
    bool positioned;
};

static enum tsn_err note_record(void *arg, const struct tsn_message *m, struct tsn_error *error)
{
    struct noting *n = arg;
    size_t prefix = strlen(DIRECT_PREFIX);

    if (key_begins(m, DIRECT_PREFIX)) {
        const char *dedup = (const char *)m->key + prefix;

        if (m->value)
            respond_direct_told(&n->session->direct, dedup, m->key_len - prefix);
        else
            tsn_map_del(&n->session->direct.told, dedup, m->key_len - prefix);
    } else if (m->key_len == strlen(POSITION_KEY) && key_begins(m, POSITION_KEY) && m->value) {
        enum tsn_err err = tsn_respond_mark_parse(m->value, m->value_len, &n->position, error);

        if (err == TSN_ERR_UNSUPPORTED)
            return err;
        n->positioned = !err;
    }
    return TSN_OK;
}

/* The newest value of each incident: what compaction will leave. */
static enum tsn_err gather_incident(void *arg, const struct tsn_message *m, struct tsn_error *error)
{
    struct tsn_map *incidents = arg;
    struct tsn_buf *value;

    TSN_UNUSED(error);
    if (!key_begins(m, "inc-"))
        return TSN_OK;
    value = tsn_map_del(incidents, m->key, m->key_len);
    if (!m->value) {
        if (value)
            tsn_buf_release(value);
        tsn_free(value);
        return TSN_OK;
    }
    if (!value)
        value = tsn_calloc(1, sizeof *value);
    tsn_buf_reset(value);
    tsn_buf_append(value, m->value, m->value_len);
    tsn_map_put(incidents, m->key, m->key_len, value);
    return TSN_OK;
}

struct giving {
    struct tsn_map incidents;
    uint32_t at;
    uint64_t bad;
    struct tsn_error newer; /* code UNSUPPORTED: a newer Tocsin wrote one */
};

static bool give_incident(void *arg, struct tsn_respond_incident *in)
{
    struct giving *g = arg;

    while (g->at < g->incidents.entries_len && !g->newer.code) {
        const struct tsn_map_entry *e = &g->incidents.entries[g->at++];
        const struct tsn_buf *value = e->live ? e->value : NULL;
        struct tsn_error error = { 0 };
        enum tsn_err err;

        if (!value)
            continue;
        err = tsn_respond_incident_decode(value->data, value->len, in, &error);
        if (!err)
            return true;
        if (err == TSN_ERR_UNSUPPORTED)
            g->newer = error;
        g->bad++;
        tsn_log(TSN_LOG_ERROR, "respond", "a record of topic respond cannot be read; its incident is lost", "key=%.*s error=\"%s\"",
                (int)e->key_len, tsn_map_entry_key(e), error.message);
    }
    return false;
}

static void giving_release(struct giving *g)
{
    tsn_map_foreach(&g->incidents, e) {
        tsn_buf_release(e->value);
        tsn_free(e->value);
    }
    tsn_map_release(&g->incidents);
}

/* ---- Kafka's side --------------------------------------------------------------------------- */

static enum tsn_err committed_mark(struct respond_session *s, struct tsn_error *error)
{
    struct tsn_kafka_partitions list = { 0 };
    enum tsn_err err = tsn_consumer_committed(s->consumer, COMMITTED_MS, &list, error);

    for (size_t i = 0; i < list.len && !err; i++) {
        const struct tsn_kafka_partition *p = &list.items[i];

        if (p->topic != ALERTS || p->partition != 0 || p->offset < 0 || !p->metadata || !*p->metadata)
            continue;
        err = tsn_respond_mark_parse(p->metadata, strlen(p->metadata), &s->mark, error);
        s->marked = !err;
        if (err && err != TSN_ERR_UNSUPPORTED) {
            tsn_log(TSN_LOG_WARN, "respond", "the metadata of the committed offsets is not ours", "error=\"%s\"", error->message);
            err = TSN_OK;
        }
    }
    tsn_kafka_partitions_release(&list);
    return err;
}

enum tsn_err respond_take_kafka(struct respond_session *s, struct tsn_error *error)
{
    struct noting noting = { .session = s };
    char *id = tsn_app_name(s->config, "respond", false);
    enum tsn_err err;

    s->producer = tsn_producer_new(s->config, id, PRODUCER_MS, error);
    tsn_free(id);
    if (!s->producer)
        return error->code;
    tsn_producer_know(s->producer, s->config->topics.incidents);
    tsn_producer_know(s->producer, s->config->topics.respond);
    s->marked = false;
    err = committed_mark(s, error);
    if (!err)
        err = each_record(s, note_record, &noting, error);
    if (!err && !s->marked && noting.positioned) {
        tsn_log(TSN_LOG_WARN, "respond", "the group has no committed offsets; going on from the record of them", "group=%srespond",
                s->config->worker.group_prefix);
        s->mark = noting.position;
        s->marked = true;
    }
    return err;
}

/* ---- Redis's side --------------------------------------------------------------------------- */

static enum tsn_err new_core(struct respond_session *s, struct tsn_error *error)
{
    struct tsn_respond_options options = { .shadow = s->config->respond.mode == TSN_RESPOND_SHADOW };
    struct tsn_respond *core = tsn_respond_new(s->stage->policy, &options);
    enum tsn_err err = tsn_store_takeover(s->store, s->marked ? &s->mark : NULL, core, error);

    if (err) {
        tsn_respond_free(&core);
        return err;
    }
    tsn_respond_free(&s->core);
    s->core = core;
    return TSN_OK;
}

static enum tsn_err rebuild(struct respond_session *s, const char *why, struct tsn_error *error)
{
    struct giving giving = { .at = 0 };
    enum tsn_err err;

    if (s->marked)
        tsn_log(TSN_LOG_WARN, "respond", "Redis is rebuilt from topic respond", "because=\"%s\"", why);
    else
        tsn_log(TSN_LOG_INFO, "respond", "nothing was ever published: beginning anew", "because=\"%s\"", why);
    tsn_map_init(&giving.incidents);
    err = each_record(s, gather_incident, &giving.incidents, error);
    if (!err)
        err = tsn_store_rebuild(s->store, s->marked ? &s->mark : NULL, give_incident, &giving, error);
    if (!err && giving.newer.code) {
        *error = giving.newer;
        err = error->code;
    }
    giving_release(&giving);
    pthread_mutex_lock(&s->stage->stats_lock);
    s->stage->stats.rebuilds += !err;
    s->stage->stats.bad_records += giving.bad;
    pthread_mutex_unlock(&s->stage->stats_lock);
    return err;
}

/* The new data set has another run than the mark names: the generation alone tells from here. */
static enum tsn_err rebuild_and_take(struct respond_session *s, const char *why, struct tsn_error *error)
{
    enum tsn_err err = rebuild(s, why, error);
    bool marked = s->marked;

    if (err)
        return err;
    s->marked = false;
    err = new_core(s, error);
    s->marked = marked;
    s->remark = true;
    if (!err && marked) {
        struct tsn_respond_mark now = tsn_store_mark(s->store);

        memcpy(s->mark.run, now.run, sizeof s->mark.run);
        s->mark.generation = now.generation;
    }
    return err;
}

enum tsn_err respond_know_incidents(struct respond_session *s, struct tsn_error *error)
{
    struct tsn_respond_options options = { .shadow = s->config->respond.mode == TSN_RESPOND_SHADOW };
    struct giving giving = { .at = 0 };
    struct tsn_respond_incident incident;
    enum tsn_err err;

    tsn_map_init(&giving.incidents);
    s->core = tsn_respond_new(s->stage->policy, &options);
    err = each_record(s, gather_incident, &giving.incidents, error);
    while (!err && give_incident(&giving, &incident))
        err = tsn_respond_restore(s->core, &incident, error);
    if (!err && giving.newer.code) {
        *error = giving.newer;
        err = error->code;
    }
    giving_release(&giving);
    return err;
}

/* Nothing was ever published, yet Redis has applied more than the topics hold: it belongs to a cluster that is gone. */
static bool beyond_the_end(struct respond_session *s)
{
    struct tsn_respond_position p = tsn_respond_position(s->core);
    int64_t alerts = tsn_consumer_query_end(s->consumer, ALERTS, 0, QUERY_MS);
    int64_t commands = tsn_consumer_query_end(s->consumer, COMMANDS, 0, QUERY_MS);

    return (alerts >= 0 && p.alerts >= alerts) || (commands >= 0 && p.commands >= commands);
}

static enum tsn_err open_readers(struct respond_session *s, struct tsn_error *error)
{
    struct tsn_respond_position p = tsn_respond_position(s->core);
    const char *topics[2] = { s->config->topics.alerts, s->config->topics.commands };
    int64_t from[2] = { p.alerts + 1, p.commands + 1 };

    for (int i = 0; i < 2; i++) {
        tsn_reader_free(&s->readers[i]);
        s->readers[i] = tsn_reader_new(s->config, topics[i], 0, from[i], true, error);
        if (!s->readers[i])
            return error->code;
        if (tsn_reader_position(s->readers[i]) > from[i] && from[i] > 0)
            tsn_log(TSN_LOG_ERROR, "respond", "records were deleted before they were read", "topic=%s from=%lld to=%lld", topics[i],
                    (long long)from[i], (long long)tsn_reader_position(s->readers[i]));
    }
    return TSN_OK;
}

enum tsn_err respond_take_store(struct respond_session *s, struct tsn_error *error)
{
    enum tsn_err err = tsn_store_connect(s->store, error);

    if (err)
        return err;
    err = new_core(s, error);
    if (err == TSN_ERR_NOT_FOUND) {
        struct tsn_error why = *error;

        err = rebuild_and_take(s, why.message, error);
    } else if (!err && !s->marked && beyond_the_end(s)) {
        err = rebuild_and_take(s, "it has applied more than the topics hold", error);
    }
    if (!err && s->marked && s->mark.cursor > tsn_store_trimmed(s->store))
        err = tsn_store_trim(s->store, s->mark.cursor, error);
    if (!err)
        err = open_readers(s, error);
    if (err)
        return err;
    respond_direct_reset(&s->direct);
    s->store_ready = s->pages_waiting = true;
    s->clock_ms = tsn_respond_position(s->core).clock_ms;
    return TSN_OK;
}

void respond_drop_owner(struct respond_session *s)
{
    for (int i = 0; i < 2; i++)
        tsn_reader_free(&s->readers[i]);
    tsn_producer_free(&s->producer);
    tsn_respond_free(&s->core);
    if (s->store)
        tsn_store_disconnect(s->store);
    respond_direct_release(&s->direct);
    respond_direct_init(&s->direct);
    s->store_ready = s->marked = false;
    s->retry_ns = s->down_since_ns = 0;
}
