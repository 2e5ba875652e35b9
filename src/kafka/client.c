/*
 * client: configuration, logs, errors and metadata of librdkafka handles.
 *
 * The user's `kafka` section goes through as it is (TLS, SASL, tuning); what exactly-once needs is set after it and
 * cannot be overridden. librdkafka's own log lines come out as ours, context "kafka".
 */
#include "kafka/kafka_int.h"

#include <string.h>

static _Thread_local const atomic_bool *give_up;

void tsn_kafka_give_up_on(const atomic_bool *flag)
{
    give_up = flag;
}

bool tsn_kafka_given_up(void)
{
    return give_up && atomic_load(give_up);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    enum tsn_log_level to = level <= 3 ? TSN_LOG_ERROR : level == 4 ? TSN_LOG_WARN : level <= 6 ? TSN_LOG_INFO : TSN_LOG_DEBUG;

    if (level >= 5 && !tsn_log_debug_on("kafka"))
        return;
    /* A broker that is down is said by the stage that needs it; librdkafka repeats it per connection. */
    tsn_log(to == TSN_LOG_ERROR ? TSN_LOG_WARN : to, "kafka", facility, "client=%s text=\"%s\"", rk ? rd_kafka_name(rk) : "-", text);
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    TSN_UNUSED(opaque);
    tsn_log(TSN_LOG_WARN, "kafka", rd_kafka_err2str((rd_kafka_resp_err_t)err), "client=%s reason=\"%s\"", rd_kafka_name(rk), reason);
}

rd_kafka_conf_t *tsn_kafka_conf(const struct tsn_config *config, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[256];

    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    for (size_t i = 0; i < config->kafka.len; i++) {
        const struct tsn_kafka_property *p = &config->kafka.items[i];

        if (rd_kafka_conf_set(conf, p->name, p->value, why, sizeof why) == RD_KAFKA_CONF_OK)
            continue;
        tsn_error_set(error, TSN_ERR_INVALID, "%s: kafka.%s: %s", config->file ? config->file : "configuration", p->name, why);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    tsn_kafka_conf_default(conf, config, "client.id", "tocsin");
    tsn_kafka_conf_default(conf, config, "log.connection.close", "false");
    /* A broker that is gone without a word is noticed after this; many calls wait for that, whatever time-out they were given. */
    tsn_kafka_conf_default(conf, config, "socket.timeout.ms", "10000");
    tsn_kafka_conf_default(conf, config, "reconnect.backoff.max.ms", "2000");
    return conf;
}

void tsn_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];

    TSN_ASSERT(rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK);
}

void tsn_kafka_conf_default(rd_kafka_conf_t *conf, const struct tsn_config *config, const char *name, const char *value)
{
    for (size_t i = 0; i < config->kafka.len; i++)
        if (strcmp(config->kafka.items[i].name, name) == 0)
            return;
    tsn_kafka_conf_set(conf, name, value);
}

rd_kafka_t *tsn_kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct tsn_error *error)
{
    char why[512];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);

    if (!rk) {
        rd_kafka_conf_destroy(conf);
        tsn_error_set(error, TSN_ERR_INVALID, "Kafka client: %s", why);
    }
    return rk;
}

enum tsn_err tsn_kafka_class(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return TSN_OK;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR: return TSN_ERR_UNREACHABLE;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return TSN_ERR_TIMEOUT;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID: return TSN_ERR_FENCED;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return TSN_ERR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return TSN_ERR_LIMIT;
    default: return TSN_ERR_IO;
    }
}

enum tsn_err tsn_kafka_error(struct tsn_error *error, rd_kafka_resp_err_t code, const char *what)
{
    enum tsn_err err = tsn_kafka_class(code);
    bool nobody = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__RESOLVE;

    if (!err)
        return TSN_OK;
    tsn_error_set(error, err, "%s: %s%s", what, rd_kafka_err2str(code), nobody ? " (is it up, and kafka.bootstrap.servers right?)" : "");
    if (error) {
        error->retriable = err == TSN_ERR_UNREACHABLE || err == TSN_ERR_TIMEOUT;
        error->fatal = err == TSN_ERR_FENCED;
    }
    return err;
}

enum tsn_err tsn_kafka_take_error(struct tsn_error *error, rd_kafka_error_t *err, const char *what)
{
    enum tsn_err code;
    bool retriable, fatal;

    if (!err)
        return TSN_OK;
    code = tsn_kafka_class(rd_kafka_error_code(err));
    retriable = rd_kafka_error_is_retriable(err);
    fatal = rd_kafka_error_is_fatal(err);
    if (!fatal && rd_kafka_error_txn_requires_abort(err))
        code = TSN_ERR_CONFLICT;
    tsn_error_set(error, code, "%s: %s", what, rd_kafka_error_string(err));
    if (error) {
        error->retriable = retriable;
        error->fatal = fatal;
    }
    rd_kafka_error_destroy(err);
    return code;
}

/* The call takes a time here and gives an offset; both ends are times, too. */
rd_kafka_resp_err_t tsn_kafka_ask_offset(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *offset, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_resp_err_t code;

    at->offset = *offset;
    code = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (!code)
        code = at->err;
    if (!code && at->offset < 0) /* as it was: nobody answered in time */
        code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code)
        *offset = at->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

void tsn_kafka_message_fill(struct tsn_message *out, const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;

    memset(out, 0, sizeof *out);
    out->partition = m->partition;
    out->offset = m->offset;
    out->eof = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    out->timestamp_ms = TSN_TIME_NONE;
    if (out->eof)
        return;
    out->timestamp_ms = rd_kafka_message_timestamp(m, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        out->timestamp_ms = TSN_TIME_NONE;
    out->key = m->key;
    out->key_len = m->key_len;
    out->value = m->payload;
    out->value_len = m->len;
}

void tsn_kafka_partitions_release(struct tsn_kafka_partitions *list)
{
    for (size_t i = 0; i < list->len; i++)
        tsn_free(list->items[i].metadata);
    tsn_vec_release(list);
}

int32_t tsn_kafka_partition_count(const struct tsn_config *config, const char *topic, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_topic_t *rkt;
    rd_kafka_resp_err_t code;
    rd_kafka_t *rk;
    int32_t count = 0;

    if (conf)
        tsn_kafka_conf_set(conf, "allow.auto.create.topics", "false");
    if (!conf || !(rk = tsn_kafka_client(RD_KAFKA_CONSUMER, conf, error)))
        return -1;
    rkt = rd_kafka_topic_new(rk, topic, NULL);
    for (int tries = 0; tries < 10; tries++) {
        code = rd_kafka_metadata(rk, 0, rkt, &md, 1000);
        if ((code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT) || tsn_kafka_given_up())
            break;
    }
    if (!code && md->topic_cnt == 1)
        count = md->topics[0].err ? 0 : md->topics[0].partition_cnt;
    if (md)
        rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(rkt);
    tsn_kafka_dispose(rk, false, NULL, NULL);
    if (code) {
        tsn_kafka_error(error, code, topic);
        return -1;
    }
    return count;
}
