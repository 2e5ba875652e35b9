/*
 * respond_publish: the outbox to Kafka, exactly once.
 *
 * One transaction: events → `incidents`, snapshots and tombstones → `respond`, the mark → `respond` under "position" and in the
 * metadata of the committed offsets of `alerts` and `commands`. The mark says: entries up to `cursor` are published, inputs up to `position`
 * are applied in them. So a transaction ends only behind the last entry of an input. After the commit the outbox is trimmed; a crash between the two is
 * seen by the next owner, whose takeover trims up to the mark.
 */
#include "app/respond_int.h"

#include <stdio.h>
#include <string.h>

enum {
    CHUNK = 64,          /* entries read from Redis at a time: some KiB each, some MiB at worst */
    CUT_AFTER = 2000,    /* entries in a transaction, … */
    CUT_BYTES = 32 << 20, /* … or bytes: it must be sent within transaction.timeout.ms; more only to reach the end of an input */
    STOP_MS = 2500,       /* an ordered stop publishes for this long */
    IDLE_COMMIT_MS = 1000 /* offsets of inputs that changed nothing */
};

struct publishing {
    struct respond_session *session;
    struct tsn_error error;
    enum tsn_err err;
    int64_t cursor, sent;
    size_t bytes;
    struct tsn_respond_position position;
    uint64_t events;
    bool cut;
};

static struct tsn_header header(const char *name, const char *value)
{
    return (struct tsn_header){ name, value, strlen(value) };
}

/* CloudEvents, binary mode. */
static enum tsn_err send_event(struct publishing *p, const struct tsn_outbox_entry *e)
{
    struct respond_session *s = p->session;
    bool avro = s->config->incidents.format == TSN_OUTPUT_AVRO;
    char id[80], type[64], time[TSN_RFC3339_TEXT];
    struct tsn_header headers[] = {
        header("content-type", avro ? "application/avro" : "application/json"),
        header("ce_specversion", "1.0"),
        header("ce_source", "tocsin/respond"),
        header("ce_subject", e->incident_id),
        { "ce_id", id, (size_t)snprintf(id, sizeof id, "%s:%lld", e->incident_id, (long long)e->seq) },
        { "ce_type", type, (size_t)snprintf(type, sizeof type, "tocsin.incident.%s", tsn_incident_event_type_name(e->type)) },
        { "ce_time", time, 0 },
    };

    tsn_format_rfc3339(time, e->event_time_ms);
    headers[6].len = strlen(time);
    p->events++;
    return tsn_producer_send(s->producer, s->config->topics.incidents, -1, e->incident_id, strlen(e->incident_id), e->value, e->len,
                             TSN_TIME_NONE, headers, TSN_ARRAY_LEN(headers), &p->error);
}

static enum tsn_err send_record(struct respond_session *s, const char *key, const void *value, size_t len, struct tsn_error *error)
{
    return tsn_producer_send(s->producer, s->config->topics.respond, 0, key, strlen(key), value, len, TSN_TIME_NONE, NULL, 0, error);
}

/* The incident is over: what the direct path told of it need not be remembered. */
static enum tsn_err forget_direct(struct publishing *p, const char *incident_id)
{
    enum tsn_err err = TSN_OK;

    for (int level = 1; level <= TSN_LEVELS && !err; level++) {
        char key[96];
        int len = snprintf(key, sizeof key, DIRECT_PREFIX "%s:L%d", incident_id, level);

        if (!respond_direct_was_told(&p->session->direct, key + strlen(DIRECT_PREFIX)))
            continue;
        tsn_map_del(&p->session->direct.told, key + strlen(DIRECT_PREFIX), (size_t)len - strlen(DIRECT_PREFIX));
        err = send_record(p->session, key, NULL, 0, &p->error);
    }
    return err;
}

static bool send_entry(void *arg, int64_t cursor, const struct tsn_outbox_entry *e)
{
    struct publishing *p = arg;

    switch (e->kind) {
    case TSN_OUTBOX_EVENT: p->err = send_event(p, e); break;
    case TSN_OUTBOX_SNAPSHOT: p->err = send_record(p->session, e->incident_id, e->value, e->len, &p->error); break;
    case TSN_OUTBOX_TOMBSTONE:
        p->err = send_record(p->session, e->incident_id, NULL, 0, &p->error);
        if (!p->err)
            p->err = forget_direct(p, e->incident_id);
        break;
    }
    p->sent++;
    p->bytes += e->len;
    p->cursor = cursor;
    p->position = e->position;
    p->cut = e->last && (p->sent >= CUT_AFTER || p->bytes >= CUT_BYTES);
    return !p->err && !p->cut;
}

static enum tsn_err send_mark(struct respond_session *s, const struct tsn_respond_mark *mark, struct tsn_error *error)
{
    char text[TSN_RESPOND_MARK_TEXT];
    struct tsn_kafka_partition at[2] = { { ALERTS, 0, mark->position.alerts + 1, text },
                                         { COMMANDS, 0, mark->position.commands + 1, text } };
    struct tsn_kafka_partitions offsets = { at, 2, 2 };
    enum tsn_err err;

    tsn_respond_mark_format(text, mark);
    err = send_record(s, POSITION_KEY, text, strlen(text), error);
    return err ? err : tsn_producer_offsets(s->producer, s->consumer, &offsets, error);
}

static void give_up(struct respond_session *s, enum tsn_err err, const struct tsn_error *error)
{
    struct tsn_error ignored;

    if (err != TSN_ERR_FENCED && !error->fatal)
        (void)tsn_producer_abort(s->producer, &ignored);
    respond_end_session(s, error);
}

static void committed(struct respond_session *s, const struct tsn_respond_mark *mark, uint64_t events)
{
    s->mark = *mark;
    s->marked = true;
    s->remark = false;
    s->committed_ns = tsn_mono_now().ns;
    pthread_mutex_lock(&s->stage->stats_lock);
    s->stage->stats.transactions++;
    s->stage->stats.events += events;
    s->stage->stats.outbox_waiting = s->store_ready ? tsn_store_mark(s->store).cursor - mark->cursor : 0;
    pthread_mutex_unlock(&s->stage->stats_lock);
}

/* From the outbox into the open transaction. Leaves in *p how far it went. A trouble of Redis is the store's, not Kafka's. */
static enum tsn_err send_outbox(struct publishing *p, int64_t from, int64_t to, struct tsn_error *store_error)
{
    enum tsn_err err = TSN_OK;

    p->cursor = from;
    while (!err && !p->err && !p->cut && p->cursor < to) {
        int64_t before = p->cursor;

        err = tsn_store_outbox(p->session->store, p->cursor, CHUNK, send_entry, p, store_error);
        if (!err && !p->err && p->cursor == before)
            err = tsn_error_set(store_error, TSN_ERR_NOT_FOUND, "Redis: outbox entry %lld is missing", (long long)before + 1);
    }
    return err;
}

static void publish_some(struct respond_session *s, int64_t from)
{
    struct tsn_respond_mark mark = tsn_store_mark(s->store);
    struct publishing p = { .session = s, .position = mark.position };
    struct tsn_error store_error = { 0 };
    enum tsn_err store_err = TSN_OK;

    p.err = tsn_producer_begin(s->producer, &p.error);
    if (!p.err)
        store_err = send_outbox(&p, from, mark.cursor, &store_error);
    if (store_err) {
        struct tsn_error error = { 0 };

        if (tsn_producer_abort(s->producer, &error))
            respond_end_session(s, &error);
        respond_store_failed(s, &store_error);
        return;
    }
    if (p.cut) {
        mark.cursor = p.cursor;
        mark.position = p.position;
    }
    if (!p.err)
        p.err = send_mark(s, &mark, &p.error);
    if (!p.err)
        p.err = tsn_producer_commit(s->producer, &p.error);
    if (p.err) {
        give_up(s, p.err, &p.error);
        return;
    }
    committed(s, &mark, p.events);
    if (tsn_store_trim(s->store, mark.cursor, &store_error))
        respond_store_failed(s, &store_error);
}

static bool position_moved(const struct respond_session *s, const struct tsn_respond_mark *now)
{
    return !s->marked || now->position.alerts != s->mark.position.alerts || now->position.commands != s->mark.position.commands;
}

static bool overdue(const struct respond_session *s)
{
    return atomic_load(&s->stage->drain) || atomic_load(&s->stage->stop) ||
           tsn_mono_now().ns - s->committed_ns >= IDLE_COMMIT_MS * INT64_C(1000000);
}

bool respond_publish(struct respond_session *s)
{
    int64_t from_ns = tsn_mono_now().ns;
    bool any = false;

    while (s->store_ready && !s->ended) {
        struct tsn_respond_mark now = tsn_store_mark(s->store);
        int64_t published = tsn_store_trimmed(s->store);

        if (atomic_load(&s->stage->stop) && tsn_mono_now().ns - from_ns >= STOP_MS * INT64_C(1000000))
            break; /* the next owner publishes the rest */
        if (now.cursor == published && !s->remark && !(overdue(s) && position_moved(s, &now)))
            break;
        publish_some(s, published);
        any = true;
    }
    return any;
}

enum tsn_err respond_record(struct respond_session *s, const char *key, const void *value, size_t len, struct tsn_error *error)
{
    enum tsn_err err = tsn_producer_begin(s->producer, error);

    if (!err)
        err = send_record(s, key, value, len, error);
    if (!err)
        err = tsn_producer_commit(s->producer, error);
    if (err)
        give_up(s, err, error);
    return err;
}
