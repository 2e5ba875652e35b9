/*
 * rights: what the broker lets us read and write. See tsn_admin_may_read and tsn_admin_may_write in tocsin/kafka_admin.h.
 *
 * A read at a partition's end is answered either with "end of partition", a record, or a refusal; each of them decides.
 * What has not answered when the time is up counts as allowed and is an error of its own: a slow broker is no ACL.
 *
 * A write is tried in a transaction of its own a topic, which is aborted. Where the rights are missing the partition does not get into the
 * transaction, and no delivery is reported; the state of the transaction says so.
 */
#include "kafka/kafka_int.h"
#include "tocsin/kafka_admin.h"

#include <string.h>

struct asking {
    const char *const *topics;
    bool *may, *answered;
    size_t count, left;
};

static rd_kafka_t *new_reader(const struct tsn_config *config, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);
    rd_kafka_t *rk;

    if (!conf)
        return NULL;
    tsn_kafka_conf_set(conf, "group.id", "tocsin-reader"); /* as in reader.c: never joined */
    tsn_kafka_conf_set(conf, "enable.auto.commit", "false");
    tsn_kafka_conf_set(conf, "enable.partition.eof", "true");
    tsn_kafka_conf_set(conf, "isolation.level", "read_uncommitted"); /* an open transaction would hide the end */
    tsn_kafka_conf_set(conf, "allow.auto.create.topics", "false");
    tsn_kafka_conf_set(conf, "fetch.wait.max.ms", "50");
    rk = tsn_kafka_client(RD_KAFKA_CONSUMER, conf, error);
    if (rk)
        rd_kafka_poll_set_consumer(rk);
    return rk;
}

static void take_answer(struct asking *a, const rd_kafka_message_t *m)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";

    for (size_t i = 0; i < a->count; i++) {
        if (a->answered[i] || strcmp(a->topics[i], topic) != 0)
            continue;
        if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && m->err != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED &&
            m->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && m->err != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC &&
            m->err != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
            continue; /* a passing trouble: the next answer decides */
        a->answered[i] = true;
        a->may[i] = !m->err || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        a->left--;
    }
}

enum tsn_err tsn_admin_may_read(const struct tsn_config *config, const char *const *topics, size_t count, int timeout_ms, bool *may,
                                struct tsn_error *error)
{
    struct asking a = { topics, may, tsn_calloc(count + 1, sizeof(bool)), count, count };
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count + 1);
    rd_kafka_t *rk = new_reader(config, error);
    int64_t until_ns = tsn_mono_now().ns + (int64_t)timeout_ms * 1000000;
    enum tsn_err err = rk ? TSN_OK : error->code;
    bool group_refused = false;

    for (size_t i = 0; i < count; i++) {
        may[i] = true;
        rd_kafka_topic_partition_list_add(list, topics[i], 0)->offset = RD_KAFKA_OFFSET_END;
    }
    if (!err)
        err = tsn_kafka_error(error, rd_kafka_assign(rk, list), "assign");
    while (!err && a.left && !group_refused && tsn_mono_now().ns < until_ns) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

        if (m) {
            group_refused = m->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
            take_answer(&a, m);
            rd_kafka_message_destroy(m);
        }
    }
    if (group_refused)
        for (size_t i = 0; i < count; i++)
            may[i] = false;
    else if (!err && a.left)
        err = tsn_error_set(error, TSN_ERR_TIMEOUT, "%zu of %zu topics gave no answer in %d ms", a.left, count, timeout_ms);
    rd_kafka_topic_partition_list_destroy(list);
    if (rk)
        rd_kafka_destroy(rk);
    tsn_free(a.answered);
    return err;
}

/* ---- writing ------------------------------------------------------------------------------ */

enum { POLL_MS = 20, INIT_MS = 1000, ABORT_MS = 5000 };

struct trying {
    bool answered;
    rd_kafka_resp_err_t code;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct trying *t = opaque;

    TSN_UNUSED(rk);
    t->answered = true;
    t->code = m->err;
}

static rd_kafka_t *new_writer(const struct tsn_config *config, const char *transactional_id, struct trying *trying, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);

    if (!conf)
        return NULL;
    tsn_kafka_conf_set(conf, "transactional.id", transactional_id);
    tsn_kafka_conf_set(conf, "transaction.timeout.ms", "10000");
    tsn_kafka_conf_set(conf, "message.timeout.ms", "9000");
    tsn_kafka_conf_set(conf, "allow.auto.create.topics", "false");
    tsn_kafka_conf_set(conf, "retry.backoff.ms", "5");
    tsn_kafka_conf_set(conf, "log_level", "2"); /* a refusal is an answer here, not an error to log */
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, trying);
    return tsn_kafka_client(RD_KAFKA_PRODUCER, conf, error);
}

/* OK with *may false: the broker refuses the transactional id. */
static enum tsn_err begin_writing(rd_kafka_t *rk, int64_t until_ns, bool *may, struct tsn_error *error)
{
    *may = true;
    for (;;) {
        rd_kafka_error_t *err = rd_kafka_init_transactions(rk, INIT_MS);
        rd_kafka_resp_err_t code = err ? rd_kafka_error_code(err) : RD_KAFKA_RESP_ERR_NO_ERROR;
        bool again = err && rd_kafka_error_is_retriable(err) && tsn_mono_now().ns < until_ns;

        if (!err || code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) {
            *may = !err;
            rd_kafka_error_destroy(err);
            return TSN_OK;
        }
        if (!again)
            return tsn_kafka_take_error(error, err, "init transactions");
        rd_kafka_error_destroy(err);
    }
}

/* Waits for the record's delivery or for the transaction's failure. A second begin changes nothing, and names what the first failed of. */
static void await_answer(rd_kafka_t *rk, struct trying *t, int64_t until_ns)
{
    while (tsn_mono_now().ns < until_ns) {
        rd_kafka_error_t *err;

        rd_kafka_poll(rk, POLL_MS);
        if (t->answered && !t->code)
            return;
        err = rd_kafka_begin_transaction(rk); /* a refusal purges the record first, and that delivery does not say why */
        if (err && (rd_kafka_error_txn_requires_abort(err) || rd_kafka_error_is_fatal(err))) {
            t->answered = true;
            t->code = rd_kafka_error_code(err);
            rd_kafka_error_destroy(err);
            return;
        }
        rd_kafka_error_destroy(err);
    }
}

static enum tsn_err try_write(rd_kafka_t *rk, struct trying *t, const char *topic, int timeout_ms, bool *may, struct tsn_error *error)
{
    static const char text[] = "tocsin-check"; /* with a key: a compacted topic wants one */
    rd_kafka_vu_t vus[] = {
        { .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic },
        { .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0 },
        { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
        { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)(uintptr_t)text, sizeof text - 1 } },
        { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { (void *)(uintptr_t)text, sizeof text - 1 } },
    };
    enum tsn_err err = tsn_kafka_take_error(error, rd_kafka_begin_transaction(rk), "begin transaction");

    if (err)
        return err;
    *t = (struct trying){ false, RD_KAFKA_RESP_ERR_NO_ERROR };
    err = tsn_kafka_take_error(error, rd_kafka_produceva(rk, vus, TSN_ARRAY_LEN(vus)), topic);
    if (!err)
        await_answer(rk, t, tsn_mono_now().ns + (int64_t)timeout_ms * 1000000);
    *may = !t->code;
    if (!err && !t->answered)
        err = tsn_error_set(error, TSN_ERR_TIMEOUT, "%s gave no answer", topic);
    else if (!err && t->code && t->code != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && t->code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
             t->code != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC && t->code != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        err = tsn_error_set(error, TSN_ERR_IO, "%s: %s", topic, rd_kafka_err2str(t->code));
    else if (!err && !t->code)
        err = tsn_kafka_take_error(error, rd_kafka_abort_transaction(rk, ABORT_MS), "abort transaction");
    return err; /* what was refused never became a transaction at the broker: there is nothing to abort, and the handle is spent */
}

enum tsn_err tsn_admin_may_write(const struct tsn_config *config, const char *transactional_id, const char *const *topics, size_t count,
                                 int timeout_ms, bool *may_id, bool *may, struct tsn_error *error)
{
    struct trying trying = { false, RD_KAFKA_RESP_ERR_NO_ERROR };
    rd_kafka_t *rk = NULL;
    enum tsn_err err = TSN_OK;

    *may_id = true;
    for (size_t i = 0; i < count; i++)
        may[i] = true;
    for (size_t i = 0; !err && *may_id && i < count; i++) {
        if (!rk) {
            rk = new_writer(config, transactional_id, &trying, error);
            err = rk ? begin_writing(rk, tsn_mono_now().ns + (int64_t)timeout_ms * 1000000, may_id, error) : error->code;
        }
        if (!err && *may_id)
            err = try_write(rk, &trying, topics[i], timeout_ms, &may[i], error);
        if (rk && !may[i]) {
            rd_kafka_destroy(rk);
            rk = NULL;
        }
    }
    if (rk)
        rd_kafka_destroy(rk);
    return err;
}
