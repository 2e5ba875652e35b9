/*
 * group: what a consumer group still remembers of topics that nobody reads any more.
 *
 * An input that was taken out of the configuration leaves committed offsets behind; whoever waits for its time would wait for ever. A topic counts as gone
 * when the group has committed offsets of it, it is none of this consumer's topics, and no member of the group has a partition of it assigned while the
 * group is stable (an older worker may still read it).
 *
 * Both questions are asked on the observer's handle and waited for in slices, so that an ordered stop is seen. librdkafka below 2.0 cannot ask: then no
 * topic is ever gone.
 */
#include "kafka/kafka_int.h"

#include <string.h>

#if RD_KAFKA_VERSION >= 0x020000ff

enum { SLICE_MS = 200 };

/* Runs one admin request; the caller destroys the event. NULL with *error set. */
static rd_kafka_event_t *wait_for(rd_kafka_queue_t *queue, int timeout_ms, const char *what, struct tsn_error *error)
{
    rd_kafka_event_t *event = NULL;

    for (int waited_ms = 0; !event && waited_ms < timeout_ms && !tsn_kafka_given_up(); waited_ms += SLICE_MS)
        event = rd_kafka_queue_poll(queue, SLICE_MS);
    if (!event) {
        tsn_error_set(error, TSN_ERR_TIMEOUT, "%s: no answer", what);
        return NULL;
    }
    if (!rd_kafka_event_error(event))
        return event;
    tsn_kafka_error(error, rd_kafka_event_error(event), what);
    rd_kafka_event_destroy(event);
    return NULL;
}

static void add_topic(struct tsn_names *out, const char *topic)
{
    for (size_t i = 0; i < out->len; i++)
        if (strcmp(out->items[i], topic) == 0)
            return;
    tsn_vec_push(out, tsn_strdup(topic));
}

static void committed_topics(rd_kafka_event_t *event, const struct tsn_consumer *c, struct tsn_names *out)
{
    const rd_kafka_ListConsumerGroupOffsets_result_t *result = rd_kafka_event_ListConsumerGroupOffsets_result(event);
    size_t count;
    const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);

    for (size_t g = 0; g < count; g++) {
        const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[g]);

        for (int i = 0; list && i < list->cnt; i++)
            if (list->elems[i].offset >= 0 && !tsn_consumer_reads(c, list->elems[i].topic))
                add_topic(out, list->elems[i].topic);
    }
}

static enum tsn_err ask_committed(rd_kafka_t *rk, rd_kafka_queue_t *queue, const struct tsn_consumer *c, int timeout_ms, struct tsn_names *out,
                                  struct tsn_error *error)
{
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(tsn_consumer_group(c), NULL);
    rd_kafka_event_t *event;

    rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, NULL, queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    event = wait_for(queue, timeout_ms, "offsets of the group", error);
    if (!event)
        return error->code;
    committed_topics(event, c, out);
    rd_kafka_event_destroy(event);
    return TSN_OK;
}

static void drop_assigned(struct tsn_names *topics, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list && i < list->cnt; i++)
        for (size_t t = 0; t < topics->len; t++)
            if (strcmp(topics->items[t], list->elems[i].topic) == 0) {
                tsn_free(topics->items[t]);
                topics->items[t--] = topics->items[--topics->len];
            }
}

/* Takes away what members still read. An unstable group says nothing: CONFLICT. */
static enum tsn_err drop_read(rd_kafka_event_t *event, struct tsn_names *topics, struct tsn_error *error)
{
    const rd_kafka_DescribeConsumerGroups_result_t *result = rd_kafka_event_DescribeConsumerGroups_result(event);
    size_t count;
    const rd_kafka_ConsumerGroupDescription_t **groups = rd_kafka_DescribeConsumerGroups_result_groups(result, &count);

    if (count != 1 || rd_kafka_ConsumerGroupDescription_state(groups[0]) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE)
        return tsn_error_set(error, TSN_ERR_CONFLICT, "the group is not stable");
    for (size_t m = 0; m < rd_kafka_ConsumerGroupDescription_member_count(groups[0]); m++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(groups[0], m);
        const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(member);

        drop_assigned(topics, assignment ? rd_kafka_MemberAssignment_partitions(assignment) : NULL);
    }
    return TSN_OK;
}

static enum tsn_err ask_members(rd_kafka_t *rk, rd_kafka_queue_t *queue, const struct tsn_consumer *c, int timeout_ms, struct tsn_names *topics,
                                struct tsn_error *error)
{
    const char *group = tsn_consumer_group(c);
    rd_kafka_event_t *event;
    enum tsn_err err;

    rd_kafka_DescribeConsumerGroups(rk, &group, 1, NULL, queue);
    event = wait_for(queue, timeout_ms, "members of the group", error);
    if (!event)
        return error->code;
    err = drop_read(event, topics, error);
    rd_kafka_event_destroy(event);
    return err;
}

enum tsn_err tsn_consumer_gone(struct tsn_consumer *c, int timeout_ms, struct tsn_names *out, struct tsn_error *error)
{
    rd_kafka_t *rk = tsn_consumer_observer(c);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    enum tsn_err err = ask_committed(rk, queue, c, timeout_ms, out, error);

    if (!err && out->len)
        err = ask_members(rk, queue, c, timeout_ms, out, error);
    rd_kafka_queue_destroy(queue);
    if (err)
        tsn_names_release(out);
    return err;
}

#else

enum tsn_err tsn_consumer_gone(struct tsn_consumer *c, int timeout_ms, struct tsn_names *out, struct tsn_error *error)
{
    TSN_UNUSED(c);
    TSN_UNUSED(timeout_ms);
    TSN_UNUSED(out);
    TSN_UNUSED(error);
    return TSN_OK;
}

#endif

void tsn_names_release(struct tsn_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        tsn_free(names->items[i]);
    tsn_vec_release(names);
}
