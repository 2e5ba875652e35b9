/*
 * fake_kafka: src/kafka's interface (tocsin/kafka.h) over logs in memory, for running the stages with their threads whole under ThreadSanitizer,
 * where librdkafka's uninstrumented threads would drown what is ours. Link it in place of src/kafka.
 *
 * What it keeps of Kafka: offsets with markers of transactions in between, read_committed readers that stop at the first open transaction,
 * transactional ids with epochs (a new owner ends what the old one left open and fences it), offsets and metadata that count with their transaction,
 * groups whose members are told inside their poll (cooperative: only what moves; eager: everything), static members (a second one of a
 * name fences the first), partitions that are added while members run, ends of partitions.
 * What it does not: retention, compaction, brokers that fail, time-outs of sessions and transactions.
 *
 * Trouble is seeded: a share of commits fails (CONFLICT: to be aborted and sent again), and a transactional id can be fenced by hand.
 *
 * Concurrency: one lock over everything and one condition; callbacks run without the lock on the polling thread. Records are never
 * changed once they are in a log, so what a message borrows stays.
 */
#ifndef TOCSIN_TESTS_FAKE_KAFKA_H
#define TOCSIN_TESTS_FAKE_KAFKA_H

#include "tocsin/kafka.h"

/* Forgets everything. No consumer, producer or reader may be left. */
void fake_kafka_reset(uint64_t seed);
/* Makes a topic, or adds partitions to it. */
void fake_kafka_topic(const char *name, int32_t partitions);
/* One commit of this many fails; 0: none does. */
void fake_kafka_fail_commits(unsigned one_of);
/* As a coordinator does when a transaction took too long: ends it and fences its owner. False: nobody has the id. */
bool fake_kafka_fence(const char *transactional_id);
/* A record by a plain producer. */
void fake_kafka_put(const char *topic, int32_t partition, const void *value, size_t len, int64_t timestamp_ms);
/* With a key; value NULL: a tombstone. */
void fake_kafka_put_keyed(const char *topic, int32_t partition, const void *key, size_t key_len, const void *value, size_t len);
/* What a group has committed, as anybody might have. */
void fake_kafka_commit(const char *group, const char *topic, int32_t partition, int64_t offset, const char *metadata);
/* Every committed record of a partition, in order. */
void fake_kafka_each(const char *topic, int32_t partition, void (*visit)(void *arg, const struct tsn_message *m), void *arg);
/* Transactions that are open now, those that were committed and those that were aborted, since the reset. */
struct fake_kafka_counts {
    size_t open, committed, aborted, rebalances;
};
struct fake_kafka_counts fake_kafka_counts(void);

#endif
