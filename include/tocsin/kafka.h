/*
 * kafka: the shell's way to the broker (L5); the only user of librdkafka, whose types stay inside.
 *
 *   consumer   a group member: polls batches of messages, tells of rebalances from inside the poll
 *   producer   transactional (with an id) or plain idempotent (without)
 *   reader     one partition from an offset to an end, without a group: state, refill, replay, CLI
 *
 * Errors: UNREACHABLE and TIMEOUT are retriable; CONFLICT from a commit means "aborted: the same may be sent
 * again"; FENCED means the transactional id has a newer owner or the broker timed the transaction out: the
 * producer is then of no more use, as after any error with `fatal` set: free it and make a new one. Threads: a consumer and a reader belong to one thread; a producer to
 * one thread at a time; tsn_producer_offsets may name a consumer that another thread polls.
 */
#ifndef TOCSIN_KAFKA_H
#define TOCSIN_KAFKA_H

#include "tocsin/config.h"

#include <stdatomic.h>

/* offset names: */
#define TSN_OFFSET_BEGINNING INT64_C(-2)
#define TSN_OFFSET_END INT64_C(-1)
#define TSN_OFFSET_NONE INT64_C(-1001) /* nothing committed */

struct tsn_header {
    const char *name;
    const void *value;
    size_t len;
};

/* Borrowed until the next poll of the consumer or next call of the reader. */
struct tsn_message {
    int32_t topic; /* index in the consumer's topics; 0 for a reader */
    int32_t partition;
    int64_t offset, timestamp_ms; /* TSN_TIME_NONE: none */
    bool eof;                     /* not a message: the partition's end was met, offset is its position */
    const void *key, *value;      /* NULL: none (a tombstone has value NULL) */
    size_t key_len, value_len;
    void *handle; /* internal */
};

/* A partition with the offset committed for it. */
struct tsn_kafka_partition {
    int32_t topic; /* index in the consumer's topics */
    int32_t partition;
    int64_t offset; /* next to read, or TSN_OFFSET_… */
    char *metadata; /* owned by the list; may be NULL */
};
struct tsn_kafka_partitions {
    struct tsn_kafka_partition *items;
    size_t len, cap;
};
void tsn_kafka_partitions_release(struct tsn_kafka_partitions *list);

/* ---- giving up ---------------------------------------------------------------------------- */

/* For an ordered stop without a broker: once *flag is true, every call here that the calling thread makes, and that waits for the
 * broker, gives up within about a second; commit and offsets within two, so that a slow broker still gets them. A reader gives nothing more.
 * NULL: none. Borrowed for the thread's life. */
void tsn_kafka_give_up_on(const atomic_bool *flag);
/* Whether the calling thread was told so: for loops around these calls. */
bool tsn_kafka_given_up(void);

/* ---- cluster ------------------------------------------------------------------------------ */

/* Partitions of a topic; 0 if it does not exist. UNREACHABLE … in *error (then -1). */
int32_t tsn_kafka_partition_count(const struct tsn_config *config, const char *topic, struct tsn_error *error);

/* ---- consumer ----------------------------------------------------------------------------- */

struct tsn_consumer;
struct tsn_consumer_options {
    const struct tsn_config *config; /* borrowed for the call */
    const char *group;
    const char *instance_id;    /* NULL: a dynamic member */
    const char *const *topics;  /* copied */
    size_t topic_count;
    bool eager;                 /* all partitions are given up at a rebalance (range assignor) */
    bool fail_on_gap;           /* auto.offset.reset=error instead of earliest */
    bool paused;                /* a new partition starts paused: nothing comes before tsn_consumer_pause(…, false) */
    /* Called inside the poll. `lost`: another member may have them already: nothing may be committed.
     * assign may set the offsets to start from (they hold the committed ones); the call applies them. */
    void (*assign)(void *arg, struct tsn_kafka_partitions *partitions);
    void (*revoke)(void *arg, const struct tsn_kafka_partitions *partitions, bool lost);
    /* auto.offset.reset=error: the position is out of the log's range. NULL: logged. */
    void (*gap)(void *arg, int32_t topic, int32_t partition);
    void *arg;
};
struct tsn_consumer *tsn_consumer_new(const struct tsn_consumer_options *options, struct tsn_error *error);
/* Up to max messages and eofs; waits at most timeout_ms for the first. -1 with *error on a fatal error. */
int tsn_consumer_poll(struct tsn_consumer *c, int timeout_ms, struct tsn_message *out, int max, struct tsn_error *error);
void tsn_consumer_pause(struct tsn_consumer *c, int32_t topic, int32_t partition, bool pause);
/* Goes back (or forth) within an assigned partition. */
enum tsn_err tsn_consumer_seek(struct tsn_consumer *c, int32_t topic, int32_t partition, int64_t offset, struct tsn_error *error);
/* The true end as last told by the broker (not the last stable offset); -1 unknown. No round trip. */
int64_t tsn_consumer_high(struct tsn_consumer *c, int32_t topic, int32_t partition);
/* End offset by asking the broker. -1 on error. */
int64_t tsn_consumer_query_end(struct tsn_consumer *c, int32_t topic, int32_t partition, int timeout_ms);
/* Partitions of one of its topics, by asking the broker; -1 on error. */
int32_t tsn_consumer_partition_count(struct tsn_consumer *c, int32_t topic, int timeout_ms);
/* The same as it was last told, without asking; -1: never told. tsn_consumer_committed asks anew every second. */
int32_t tsn_consumer_known_count(const struct tsn_consumer *c, int32_t topic);
/* Committed offsets and metadata of the whole group for every partition of its topics, over a read_uncommitted
 * handle, so that open transactions do not stall it. */
enum tsn_err tsn_consumer_committed(struct tsn_consumer *c, int timeout_ms, struct tsn_kafka_partitions *out, struct tsn_error *error);
struct tsn_names {
    char **items;
    size_t len, cap;
};
void tsn_names_release(struct tsn_names *names);
/* Topics of which the group has committed offsets, that are none of this consumer's, and that no member reads. The group must be stable (CONFLICT). Needs
 * the right to describe the group. *names is empty on error; the caller releases it. */
enum tsn_err tsn_consumer_gone(struct tsn_consumer *c, int timeout_ms, struct tsn_names *names, struct tsn_error *error);
/* Closes and frees; revoke is not called any more. A member with an instance id keeps its place for the session timeout. Waits some seconds at
 * most (a second while giving up): a client that does not end by then is left behind, with a warning. So do the other …_free here. */
void tsn_consumer_free(struct tsn_consumer **consumer);

/* ---- producer ----------------------------------------------------------------------------- */

struct tsn_producer;
/* transactional_id NULL: idempotent, no transactions. With an id: fences any earlier owner (waits up to timeout_ms). */
struct tsn_producer *tsn_producer_new(const struct tsn_config *config, const char *transactional_id, int timeout_ms,
                                      struct tsn_error *error);
void tsn_producer_free(struct tsn_producer **producer);
/* Asks where the topic's partitions are, at most a second, and keeps the answer fresh: else the first record to it waits for that, up to
 * a second in the middle of a transaction. No answer is no error. */
void tsn_producer_know(struct tsn_producer *p, const char *topic);
enum tsn_err tsn_producer_begin(struct tsn_producer *p, struct tsn_error *error);
/* partition -1: by key (Kafka's murmur2). timestamp_ms TSN_TIME_NONE: now. value NULL: tombstone. Bytes are copied.
 * Waits for room in the queue (bounded by 30 s: TIMEOUT). */
enum tsn_err tsn_producer_send(struct tsn_producer *p, const char *topic, int32_t partition, const void *key, size_t key_len,
                               const void *value, size_t value_len, int64_t timestamp_ms, const struct tsn_header *headers,
                               size_t header_count, struct tsn_error *error);
/* Offsets of the consumer's group become part of the transaction. */
enum tsn_err tsn_producer_offsets(struct tsn_producer *p, struct tsn_consumer *consumer,
                                  const struct tsn_kafka_partitions *offsets, struct tsn_error *error);
/* OK · CONFLICT: aborted, send the same again · FENCED: the producer is dead. */
enum tsn_err tsn_producer_commit(struct tsn_producer *p, struct tsn_error *error);
enum tsn_err tsn_producer_abort(struct tsn_producer *p, struct tsn_error *error);
/* Plain producer: waits until all is acknowledged; the first failed delivery is the error. */
enum tsn_err tsn_producer_flush(struct tsn_producer *p, int timeout_ms, struct tsn_error *error);

/* ---- reader ------------------------------------------------------------------------------- */

struct tsn_reader;
/* Starts at `offset` (or TSN_OFFSET_BEGINNING). The end is the high watermark as read_uncommitted sees it now, unless `tail`
 * (then it never ends). Committed records only. */
struct tsn_reader *tsn_reader_new(const struct tsn_config *config, const char *topic, int32_t partition, int64_t offset,
                                  bool tail, struct tsn_error *error);
int64_t tsn_reader_end(const struct tsn_reader *r);
/* Offset it will read next, as far as it knows: transaction markers that were met count as read. */
int64_t tsn_reader_position(const struct tsn_reader *r);
/* OK with *message · NOT_FOUND: the end (all before it was given) · TIMEOUT: nothing yet · others. */
enum tsn_err tsn_reader_next(struct tsn_reader *r, int timeout_ms, struct tsn_message *message, struct tsn_error *error);
/* First header of the last message with this name; false if absent. Borrowed like the message. */
bool tsn_reader_header(const struct tsn_reader *r, const char *name, const void **value, size_t *len);
/* Goes to another offset; the end stays. */
enum tsn_err tsn_reader_seek(struct tsn_reader *r, int64_t offset, struct tsn_error *error);
/* Goes to the first record written at wall_ms or later; to the end if there is none. NOT_FOUND: the partition is empty. */
enum tsn_err tsn_reader_seek_time(struct tsn_reader *r, int64_t wall_ms, int timeout_ms, struct tsn_error *error);
void tsn_reader_free(struct tsn_reader **reader);

#endif
