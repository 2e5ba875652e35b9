/*
 * producer: transactions, and plain idempotent sending.
 *
 * A transaction is opened by its thread only when everything that goes in is at hand, so it is short. retry.backoff.ms
 * is 5: a commit meets CONCURRENT_TRANSACTIONS, and waits that long instead of 100 ms (measured 13–34 against 107 ms).
 * transaction.timeout.ms is 10 s: a killed owner hides what comes after it from read_committed readers no longer.
 */
#include "kafka/kafka_int.h"

#include <string.h>

/* A transaction call is repeated in slices, so that a stop is seen. A stop waits for a broker that is slow, not for one that is away. */
enum { SLICE_MS = 1000, CALL_MAX_MS = 15000, STOP_MAX_MS = 2000, ABORT_STOP_MS = 1000 };

enum { TRANSACTION_MS = 10000 };

enum { SEND_WAIT_MS = 30000, POLL_STEP_MS = 50 };

struct tsn_producer {
    rd_kafka_t *rk;
    bool transactional;
    int64_t begun_ns; /* when the last transaction began */
    TSN_VEC(rd_kafka_topic_t *) known;
    rd_kafka_resp_err_t failed; /* plain: first failed delivery since the last flush */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct tsn_producer *p = opaque;

    TSN_UNUSED(rk);
    if (m->err && !p->failed)
        p->failed = m->err;
}

static enum tsn_err init_transactions(struct tsn_producer *p, int timeout_ms, struct tsn_error *error)
{
    int64_t until_ns = tsn_mono_now().ns + (int64_t)timeout_ms * 1000000;

    for (;;) {
        int64_t left_ms = (until_ns - tsn_mono_now().ns) / 1000000;
        rd_kafka_error_t *err = rd_kafka_init_transactions(p->rk, left_ms > SLICE_MS ? SLICE_MS : left_ms > 0 ? (int)left_ms : 1);
        enum tsn_err code;

        if (!err)
            return TSN_OK;
        code = tsn_kafka_take_error(error, err, "init transactions");
        if (!error->retriable || left_ms <= 0 || tsn_kafka_given_up())
            return code;
    }
}

struct tsn_producer *tsn_producer_new(const struct tsn_config *config, const char *transactional_id, int timeout_ms,
                                      struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);
    struct tsn_producer *p;

    if (!conf)
        return NULL;
    p = tsn_calloc(1, sizeof *p);
    tsn_kafka_conf_set(conf, "enable.idempotence", "true");
    tsn_kafka_conf_default(conf, config, "linger.ms", "1");
    /* As topics/samples.yaml has it: a closed batch is one record a partition. */
    tsn_kafka_conf_default(conf, config, "message.max.bytes", "10485760");
    tsn_kafka_conf_default(conf, config, "compression.codec", "lz4");
    tsn_kafka_conf_default(conf, config, "retry.backoff.ms", "5");
    if (transactional_id) {
        p->transactional = true;
        tsn_kafka_conf_set(conf, "transactional.id", transactional_id);
        tsn_kafka_conf_set(conf, "transaction.timeout.ms", "10000");
        tsn_kafka_conf_set(conf, "message.timeout.ms", "9000");
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, p);
    p->rk = tsn_kafka_client(RD_KAFKA_PRODUCER, conf, error);
    if (!p->rk || (transactional_id && init_transactions(p, timeout_ms, error)))
        tsn_producer_free(&p);
    return p;
}

static void release(void *owner)
{
    struct tsn_producer *p = owner;

    tsn_vec_release(&p->known);
    tsn_free(p);
}

void tsn_producer_free(struct tsn_producer **producer)
{
    struct tsn_producer *p = *producer;

    *producer = NULL;
    if (!p)
        return;
    for (size_t i = 0; i < p->known.len; i++)
        rd_kafka_topic_destroy(p->known.items[i]);
    if (p->rk)
        tsn_kafka_dispose(p->rk, false, release, p);
    else
        release(p);
}

void tsn_producer_know(struct tsn_producer *p, const char *topic)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(p->rk, topic, NULL);
    const struct rd_kafka_metadata *md = NULL;

    if (!rkt)
        return;
    tsn_vec_push(&p->known, rkt);
    if (!tsn_kafka_given_up() && !rd_kafka_metadata(p->rk, 0, rkt, &md, SLICE_MS))
        rd_kafka_metadata_destroy(md);
}

/* Whether a call that failed like this, and began at from_ns, is to be made again. */
static bool again(const rd_kafka_error_t *err, int64_t from_ns, int stop_ms)
{
    int64_t waited_ms = (tsn_mono_now().ns - from_ns) / 1000000;

    return rd_kafka_error_is_retriable(err) && waited_ms < (tsn_kafka_given_up() ? stop_ms : CALL_MAX_MS);
}

/* A fence of a transaction that stood open for longer than the broker allows is the broker's time-out: nobody else is on the slot. */
static enum tsn_err outcome(const struct tsn_producer *p, struct tsn_error *error, rd_kafka_error_t *err, const char *what)
{
    enum tsn_err code = tsn_kafka_take_error(error, err, what);

    if (code != TSN_ERR_FENCED || tsn_mono_now().ns - p->begun_ns < TRANSACTION_MS * INT64_C(1000000))
        return code;
    if (error)
        error->code = TSN_ERR_TIMEOUT;
    return TSN_ERR_TIMEOUT;
}

enum tsn_err tsn_producer_begin(struct tsn_producer *p, struct tsn_error *error)
{
    TSN_ASSERT(p->transactional);
    p->begun_ns = tsn_mono_now().ns;
    return tsn_kafka_take_error(error, rd_kafka_begin_transaction(p->rk), "begin transaction");
}

static rd_kafka_headers_t *headers_of(const struct tsn_header *headers, size_t count)
{
    rd_kafka_headers_t *out = count ? rd_kafka_headers_new(count) : NULL;

    for (size_t i = 0; i < count; i++)
        rd_kafka_header_add(out, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].len);
    return out;
}

/* Our murmur2 and librdkafka's "murmur2_random" agree; choosing here keeps the topic's own setting out of it. */
enum tsn_err tsn_producer_send(struct tsn_producer *p, const char *topic, int32_t partition, const void *key, size_t key_len,
                               const void *value, size_t value_len, int64_t timestamp_ms, const struct tsn_header *headers,
                               size_t header_count, struct tsn_error *error)
{
    for (int waited_ms = 0;; waited_ms += POLL_STEP_MS) {
        rd_kafka_headers_t *hdrs = headers_of(headers, header_count);
        rd_kafka_vu_t vus[] = {
            { .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic },
            { .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition < 0 ? RD_KAFKA_PARTITION_UA : partition },
            { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
            { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)(uintptr_t)key, key_len } },
            { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { (void *)(uintptr_t)value, value_len } },
            { .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms == TSN_TIME_NONE ? 0 : timestamp_ms },
            { .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = hdrs },
        };
        rd_kafka_error_t *err = rd_kafka_produceva(p->rk, vus, hdrs ? 7 : 6);
        bool full = err && rd_kafka_error_code(err) == RD_KAFKA_RESP_ERR__QUEUE_FULL;

        rd_kafka_poll(p->rk, 0);
        if (!err)
            return TSN_OK;
        if (hdrs)
            rd_kafka_headers_destroy(hdrs);
        if (!full || waited_ms >= SEND_WAIT_MS || (waited_ms >= SLICE_MS && tsn_kafka_given_up()))
            return tsn_kafka_take_error(error, err, topic);
        rd_kafka_error_destroy(err);
        rd_kafka_poll(p->rk, POLL_STEP_MS);
    }
}

enum tsn_err tsn_producer_offsets(struct tsn_producer *p, struct tsn_consumer *consumer,
                                  const struct tsn_kafka_partitions *offsets, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)offsets->len);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(tsn_consumer_handle(consumer));
    rd_kafka_error_t *err;

    for (size_t i = 0; i < offsets->len; i++) {
        const struct tsn_kafka_partition *at = &offsets->items[i];
        rd_kafka_topic_partition_t *to =
            rd_kafka_topic_partition_list_add(list, tsn_consumer_topic(consumer, at->topic), at->partition);

        to->offset = at->offset;
        if (at->metadata) {
            to->metadata_size = strlen(at->metadata);
            to->metadata = strdup(at->metadata); /* librdkafka frees it with free() */
        }
    }
    for (int64_t from_ns = tsn_mono_now().ns; (err = rd_kafka_send_offsets_to_transaction(p->rk, list, group, SLICE_MS));) {
        if (!again(err, from_ns, STOP_MAX_MS))
            break;
        rd_kafka_error_destroy(err);
    }
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return outcome(p, error, err, "offsets to transaction");
}

static enum tsn_err in_slices(struct tsn_producer *p, rd_kafka_error_t *(*call)(rd_kafka_t *, int), int stop_ms, const char *what,
                              struct tsn_error *error)
{
    rd_kafka_error_t *err;

    for (int64_t from_ns = tsn_mono_now().ns; (err = call(p->rk, SLICE_MS));) {
        if (!again(err, from_ns, stop_ms))
            break;
        rd_kafka_error_destroy(err);
    }
    return outcome(p, error, err, what);
}

enum tsn_err tsn_producer_abort(struct tsn_producer *p, struct tsn_error *error)
{
    return in_slices(p, rd_kafka_abort_transaction, ABORT_STOP_MS, "abort transaction", error);
}

enum tsn_err tsn_producer_commit(struct tsn_producer *p, struct tsn_error *error)
{
    return in_slices(p, rd_kafka_commit_transaction, STOP_MAX_MS, "commit transaction", error);
}

enum tsn_err tsn_producer_flush(struct tsn_producer *p, int timeout_ms, struct tsn_error *error)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

    for (int64_t until_ns = tsn_mono_now().ns + (int64_t)timeout_ms * 1000000; code == RD_KAFKA_RESP_ERR__TIMED_OUT;) {
        int64_t left_ms = (until_ns - tsn_mono_now().ns) / 1000000;

        if (left_ms < 0 || tsn_kafka_given_up())
            break;
        code = rd_kafka_flush(p->rk, left_ms < SLICE_MS ? (int)left_ms : SLICE_MS);
    }
    if (!code)
        code = p->failed;
    p->failed = RD_KAFKA_RESP_ERR_NO_ERROR;
    return tsn_kafka_error(error, code, "delivery");
}
