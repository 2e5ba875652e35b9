/*
 * reader: one partition from an offset, by assign(), without commits.
 *
 * The end is asked once, with a read_uncommitted handle's eyes (the high watermark), while messages come read_committed:
 * behind an open transaction the reader waits until the coordinator ends it, rather than take the last stable offset for the end.
 */
#include "kafka/kafka_int.h"

#include <poll.h>
#include <string.h>

enum { LEADER_WAIT_MS = 200, ASK_MS = 1000, END_TRIES = 30 };

struct tsn_reader {
    rd_kafka_t *rk;
    char *topic;
    int32_t partition;
    int64_t end, position;
    bool tail;
    rd_kafka_message_t *last;
};

static void no_group(rd_kafka_conf_t *conf)
{
    tsn_kafka_conf_set(conf, "group.id", "tocsin-reader"); /* required by the consumer API, never joined */
    tsn_kafka_conf_set(conf, "enable.auto.commit", "false");
    tsn_kafka_conf_set(conf, "enable.auto.offset.store", "false");
    tsn_kafka_conf_set(conf, "enable.partition.eof", "true");
    tsn_kafka_conf_set(conf, "auto.offset.reset", "earliest");
    tsn_kafka_conf_set(conf, "allow.auto.create.topics", "false");
    tsn_kafka_conf_set(conf, "fetch.wait.max.ms", "100");
    tsn_kafka_conf_set(conf, "isolation.level", "read_committed");
}

/* Right after a topic was made, or when its leader moves. */
static bool no_leader_yet(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static rd_kafka_resp_err_t ask_both(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high)
{
    rd_kafka_resp_err_t code;

    *low = RD_KAFKA_OFFSET_BEGINNING;
    *high = RD_KAFKA_OFFSET_END;
    code = tsn_kafka_ask_offset(rk, topic, partition, low, ASK_MS);
    return code ? code : tsn_kafka_ask_offset(rk, topic, partition, high, ASK_MS);
}

/* A read_committed handle is told the last stable offset: a handle of its own asks. */
static enum tsn_err true_end(const struct tsn_config *config, const char *topic, int32_t partition, int64_t *low,
                             int64_t *high, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_t *rk;

    if (!conf)
        return error->code;
    no_group(conf);
    tsn_kafka_conf_set(conf, "isolation.level", "read_uncommitted");
    rk = tsn_kafka_client(RD_KAFKA_CONSUMER, conf, error);
    if (!rk)
        return error->code;
    for (int tries = 0; tries < END_TRIES && !tsn_kafka_given_up(); tries++) {
        code = ask_both(rk, topic, partition, low, high);
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT && !no_leader_yet(code))
            break;
        if (no_leader_yet(code))
            poll(NULL, 0, LEADER_WAIT_MS);
    }
    tsn_kafka_dispose(rk, false, NULL, NULL);
    if (code) {
        tsn_kafka_error(error, code, topic);
        return tsn_error_prefix(error, "end of partition %d", partition);
    }
    return TSN_OK;
}

struct tsn_reader *tsn_reader_new(const struct tsn_config *config, const char *topic, int32_t partition, int64_t offset,
                                  bool tail, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_conf_t *conf;
    struct tsn_reader *r;
    int64_t low = 0, high = 0;

    if (true_end(config, topic, partition, &low, &high, error) || !(conf = tsn_kafka_conf(config, error)))
        return NULL;
    no_group(conf);
    r = tsn_calloc(1, sizeof *r);
    r->topic = tsn_strdup(topic);
    r->partition = partition;
    r->tail = tail;
    r->end = high;
    r->position = offset == TSN_OFFSET_END ? high : offset < low ? low : offset;
    r->rk = tsn_kafka_client(RD_KAFKA_CONSUMER, conf, error);
    if (!r->rk) {
        tsn_reader_free(&r);
        return NULL;
    }
    rd_kafka_poll_set_consumer(r->rk);
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = r->position;
    rd_kafka_assign(r->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return r;
}

int64_t tsn_reader_end(const struct tsn_reader *r)
{
    return r->end;
}

int64_t tsn_reader_position(const struct tsn_reader *r)
{
    return r->position;
}

enum tsn_err tsn_reader_next(struct tsn_reader *r, int timeout_ms, struct tsn_message *message, struct tsn_error *error)
{
    int64_t until_ns = tsn_mono_now().ns + (int64_t)timeout_ms * 1000000;

    if (r->last)
        rd_kafka_message_destroy(r->last);
    r->last = NULL;
    for (;;) {
        int64_t left_ms = (until_ns - tsn_mono_now().ns) / 1000000;
        rd_kafka_message_t *m;

        if (!r->tail && r->position >= r->end)
            return TSN_ERR_NOT_FOUND;
        if (tsn_kafka_given_up())
            return tsn_error_set(error, TSN_ERR_TIMEOUT, "%s/%d: stopped at offset %lld", r->topic, r->partition, (long long)r->position);
        m = rd_kafka_consumer_poll(r->rk, left_ms > 500 ? 500 : left_ms > 0 ? (int)left_ms : 0);
        if (!m) {
            if (left_ms <= 0)
                return tsn_error_set(error, TSN_ERR_TIMEOUT, "%s/%d: no record after offset %lld within %d ms", r->topic,
                                     r->partition, (long long)r->position, timeout_ms);
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            r->position = m->err ? m->offset : m->offset + 1;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && (r->tail || m->offset < r->end)) {
            r->last = m;
            tsn_kafka_message_fill(message, m);
            return TSN_OK;
        }
        if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && m->err != RD_KAFKA_RESP_ERR__TRANSPORT) {
            enum tsn_err err = tsn_kafka_error(error, m->err, r->topic);

            rd_kafka_message_destroy(m);
            return err;
        }
        rd_kafka_message_destroy(m);
    }
}

bool tsn_reader_header(const struct tsn_reader *r, const char *name, const void **value, size_t *len)
{
    rd_kafka_headers_t *headers;

    return r->last && !rd_kafka_message_headers(r->last, &headers) && !rd_kafka_header_get(headers, 0, name, value, len);
}

enum tsn_err tsn_reader_seek(struct tsn_reader *r, int64_t offset, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(list, r->topic, r->partition)->offset = offset;
    code = rd_kafka_assign(r->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    r->position = offset;
    return tsn_kafka_error(error, code, r->topic);
}

enum tsn_err tsn_reader_seek_time(struct tsn_reader *r, int64_t wall_ms, int timeout_ms, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *part = rd_kafka_topic_partition_list_add(list, r->topic, r->partition);
    rd_kafka_resp_err_t code;
    struct tsn_message ignored;
    int64_t offset;
    /* librdkafka asserts when a partition that it has not started yet is assigned anew */
    enum tsn_err err = tsn_reader_next(r, timeout_ms, &ignored, error);

    if (err) {
        rd_kafka_topic_partition_list_destroy(list);
        return err;
    }
    part->offset = wall_ms > 0 ? wall_ms : 0; /* the call takes a time here and gives an offset */
    code = rd_kafka_offsets_for_times(r->rk, list, timeout_ms);
    if (!code)
        code = part->err;
    offset = part->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return tsn_kafka_error(error, code, r->topic);
    if (offset >= 0)
        return tsn_reader_seek(r, offset, error);
    r->position = r->end; /* assigned anew only where records are read afterwards, for the same reason */
    return TSN_OK;
}

void tsn_reader_free(struct tsn_reader **reader)
{
    struct tsn_reader *r = *reader;

    if (!r)
        return;
    if (r->last)
        rd_kafka_message_destroy(r->last);
    if (r->rk)
        tsn_kafka_dispose(r->rk, true, NULL, NULL);
    tsn_free(r->topic);
    tsn_free(r);
    *reader = NULL;
}
