/*
 * rights: what the broker lets us read. See tsn_admin_may_read in tocsin/kafka_admin.h.
 *
 * A read at a partition's end is answered either with "end of partition", a record, or a refusal; each of them decides.
 * What has not answered when the time is up counts as allowed and is an error of its own: a slow broker is no ACL.
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
