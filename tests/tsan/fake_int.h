/* fake_int: what the files of the fake share: the cluster. Everything in it is under its lock. */
#ifndef TOCSIN_TESTS_FAKE_INT_H
#define TOCSIN_TESTS_FAKE_INT_H

#include "fake_kafka.h"

#include <pthread.h>

enum { FAKE_PARTITIONS = 16 };
enum txn_state { TXN_OPEN, TXN_COMMITTED, TXN_ABORTED };

struct fake_header {
    char *name;
    char *value;
    size_t len;
};
struct fake_record {
    int64_t offset, timestamp_ms;
    char *key, *value; /* NULL: none */
    size_t key_len, value_len;
    struct fake_header *headers;
    size_t header_count;
    int32_t txn; /* index; -1: none */
    bool marker;
};
struct fake_log {
    TSN_VEC(struct fake_record *) records;
    size_t stable; /* everything before it is decided */
};
struct fake_topic {
    char *name;
    int32_t partitions;
    struct fake_log logs[FAKE_PARTITIONS];
};

struct tsn_consumer;
struct fake_commit {
    struct fake_topic *topic;
    int32_t partition;
    int64_t offset;
    char *metadata;
    struct tsn_consumer *owner; /* who reads it now */
};
struct fake_group {
    char *name;
    TSN_VEC(struct tsn_consumer *) members;
    TSN_VEC(struct fake_commit) commits;
};

struct fake_txn {
    enum txn_state state;
    TSN_VEC(struct fake_log *) touched;
};
struct fake_id {
    char *name;
    int64_t epoch;
    int32_t txn; /* the open one; -1 */
};

struct fake_cluster {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t random;
    unsigned fail_one_of;
    size_t rebalances;
    TSN_VEC(struct fake_topic *) topics;
    TSN_VEC(struct fake_group *) groups;
    TSN_VEC(struct fake_txn) txns;
    TSN_VEC(struct fake_id) ids;
};
extern struct fake_cluster fake;

uint64_t fake_random(void);
struct fake_topic *fake_find(const char *name); /* NULL */
struct fake_group *fake_group(const char *name);
struct fake_commit *fake_commit(struct fake_group *group, struct fake_topic *topic, int32_t partition);
void fake_append(struct fake_topic *topic, int32_t partition, const void *key, size_t key_len, const void *value, size_t value_len,
                 int64_t timestamp_ms, const struct tsn_header *headers, size_t header_count, int32_t txn);
/* Writes the markers and wakes everybody. */
void fake_decide(int32_t txn, enum txn_state state);
/* The end for read_committed readers. */
int64_t fake_stable(struct fake_log *log);
/* The next committed record at or after *offset, NULL up to the stable end; *offset moves over what is passed. */
const struct fake_record *fake_next(struct fake_log *log, int64_t *offset);
void fake_fill(struct tsn_message *out, const struct fake_record *r, int32_t topic, int32_t partition);
/* Waits at most until then (monotonic ns); false: it is over. */
bool fake_wait(int64_t until_ns);
bool fake_owns(struct tsn_consumer *c, const char *topic, int32_t partition);
struct fake_group *fake_group_of(struct tsn_consumer *c);
const char *fake_topic_of(const struct tsn_consumer *c, int32_t topic);

#endif
