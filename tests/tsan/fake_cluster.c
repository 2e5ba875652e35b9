/* fake_cluster: topics, transactions and groups in memory; see fake_kafka.h. Functions here want the lock held, those of fake_kafka.h take it. */
#include "fake_int.h"

#include <string.h>
#include <time.h>

struct fake_cluster fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

uint64_t fake_random(void)
{
    fake.random += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(&fake.random, sizeof fake.random);
}

struct fake_topic *fake_find(const char *name)
{
    for (size_t i = 0; i < fake.topics.len; i++)
        if (strcmp(fake.topics.items[i]->name, name) == 0)
            return fake.topics.items[i];
    return NULL;
}

struct fake_group *fake_group(const char *name)
{
    struct fake_group *g;

    for (size_t i = 0; i < fake.groups.len; i++)
        if (strcmp(fake.groups.items[i]->name, name) == 0)
            return fake.groups.items[i];
    g = tsn_calloc(1, sizeof *g);
    g->name = tsn_strdup(name);
    tsn_vec_push(&fake.groups, g);
    return g;
}

struct fake_commit *fake_commit(struct fake_group *group, struct fake_topic *topic, int32_t partition)
{
    struct fake_commit fresh = { topic, partition, TSN_OFFSET_NONE, NULL, NULL };

    for (size_t i = 0; i < group->commits.len; i++)
        if (group->commits.items[i].topic == topic && group->commits.items[i].partition == partition)
            return &group->commits.items[i];
    tsn_vec_push(&group->commits, fresh);
    return &group->commits.items[group->commits.len - 1];
}

bool fake_wait(int64_t until_ns)
{
    int64_t left_ns = until_ns - tsn_mono_now().ns;
    struct timespec until;

    if (left_ns <= 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &until);
    left_ns += until.tv_nsec;
    until.tv_sec += left_ns / 1000000000;
    until.tv_nsec = left_ns % 1000000000;
    pthread_cond_timedwait(&fake.changed, &fake.lock, &until);
    return true;
}

/* ---- logs ---------------------------------------------------------------------------------- */

static void copy_headers(struct fake_record *r, const struct tsn_header *headers, size_t count)
{
    r->headers = count ? tsn_calloc(count, sizeof *r->headers) : NULL;
    r->header_count = count;
    for (size_t i = 0; i < count; i++) {
        r->headers[i].name = tsn_strdup(headers[i].name);
        r->headers[i].value = tsn_memdup(headers[i].value, headers[i].len);
        r->headers[i].len = headers[i].len;
    }
}

void fake_append(struct fake_topic *topic, int32_t partition, const void *key, size_t key_len, const void *value, size_t value_len,
                 int64_t timestamp_ms, const struct tsn_header *headers, size_t header_count, int32_t txn)
{
    struct fake_record *r = tsn_calloc(1, sizeof *r);
    struct fake_log *log = &topic->logs[partition];
    struct fake_txn *t = txn < 0 ? NULL : &fake.txns.items[txn];
    bool known = false;

    r->offset = (int64_t)log->records.len;
    r->timestamp_ms = timestamp_ms == TSN_TIME_NONE ? tsn_wall_now().ms : timestamp_ms;
    r->key = key ? tsn_memdup(key, key_len) : NULL;
    r->value = value ? tsn_memdup(value, value_len) : NULL;
    r->key_len = key_len;
    r->value_len = value_len;
    r->txn = txn;
    copy_headers(r, headers, header_count);
    tsn_vec_push(&log->records, r);
    for (size_t i = 0; t && i < t->touched.len; i++)
        known = known || t->touched.items[i] == log;
    if (t && !known)
        tsn_vec_push(&t->touched, log);
    if (!t)
        pthread_cond_broadcast(&fake.changed);
}

void fake_decide(int32_t txn, enum txn_state state)
{
    struct fake_txn *t = &fake.txns.items[txn];

    t->state = state;
    for (size_t i = 0; i < t->touched.len; i++) {
        struct fake_record *marker = tsn_calloc(1, sizeof *marker);

        marker->offset = (int64_t)t->touched.items[i]->records.len;
        marker->marker = true;
        marker->txn = -1;
        tsn_vec_push(&t->touched.items[i]->records, marker);
    }
    tsn_vec_release(&t->touched);
    pthread_cond_broadcast(&fake.changed);
}

int64_t fake_stable(struct fake_log *log)
{
    for (; log->stable < log->records.len; log->stable++) {
        int32_t txn = log->records.items[log->stable]->txn;

        if (txn >= 0 && fake.txns.items[txn].state == TXN_OPEN)
            break;
    }
    return (int64_t)log->stable;
}

const struct fake_record *fake_next(struct fake_log *log, int64_t *offset)
{
    int64_t end = fake_stable(log);

    for (*offset = *offset < 0 ? 0 : *offset; *offset < end; ++*offset) {
        const struct fake_record *r = log->records.items[*offset];

        if (!r->marker && (r->txn < 0 || fake.txns.items[r->txn].state == TXN_COMMITTED))
            return r;
    }
    return NULL;
}

void fake_fill(struct tsn_message *out, const struct fake_record *r, int32_t topic, int32_t partition)
{
    *out = (struct tsn_message){ .topic = topic, .partition = partition, .offset = r->offset, .timestamp_ms = r->timestamp_ms, .key = r->key,
                                 .value = r->value, .key_len = r->key_len, .value_len = r->value_len };
}

/* ---- the test's side ----------------------------------------------------------------------- */

static void free_record(struct fake_record *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        tsn_free(r->headers[i].name);
        tsn_free(r->headers[i].value);
    }
    tsn_free(r->headers);
    tsn_free(r->key);
    tsn_free(r->value);
    tsn_free(r);
}

static void free_topic(struct fake_topic *t)
{
    for (int32_t p = 0; p < FAKE_PARTITIONS; p++) {
        for (size_t i = 0; i < t->logs[p].records.len; i++)
            free_record(t->logs[p].records.items[i]);
        tsn_vec_release(&t->logs[p].records);
    }
    tsn_free(t->name);
    tsn_free(t);
}

static void free_group(struct fake_group *g)
{
    TSN_ASSERT(!g->members.len);
    for (size_t i = 0; i < g->commits.len; i++)
        tsn_free(g->commits.items[i].metadata);
    tsn_vec_release(&g->commits);
    tsn_vec_release(&g->members);
    tsn_free(g->name);
    tsn_free(g);
}

void fake_kafka_reset(uint64_t seed)
{
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.topics.len; i++)
        free_topic(fake.topics.items[i]);
    for (size_t i = 0; i < fake.groups.len; i++)
        free_group(fake.groups.items[i]);
    for (size_t i = 0; i < fake.txns.len; i++)
        tsn_vec_release(&fake.txns.items[i].touched);
    for (size_t i = 0; i < fake.ids.len; i++)
        tsn_free(fake.ids.items[i].name);
    tsn_vec_release(&fake.topics);
    tsn_vec_release(&fake.groups);
    tsn_vec_release(&fake.txns);
    tsn_vec_release(&fake.ids);
    fake.random = seed;
    fake.fail_one_of = 0;
    fake.rebalances = 0;
    pthread_mutex_unlock(&fake.lock);
}

void fake_kafka_topic(const char *name, int32_t partitions)
{
    struct fake_topic *t;

    TSN_ASSERT(partitions <= FAKE_PARTITIONS);
    pthread_mutex_lock(&fake.lock);
    t = fake_find(name);
    if (!t) {
        t = tsn_calloc(1, sizeof *t);
        t->name = tsn_strdup(name);
        tsn_vec_push(&fake.topics, t);
    }
    t->partitions = partitions > t->partitions ? partitions : t->partitions;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

void fake_kafka_fail_commits(unsigned one_of)
{
    pthread_mutex_lock(&fake.lock);
    fake.fail_one_of = one_of;
    pthread_mutex_unlock(&fake.lock);
}

bool fake_kafka_fence(const char *transactional_id)
{
    bool found = false;

    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.ids.len && !found; i++)
        if (strcmp(fake.ids.items[i].name, transactional_id) == 0) {
            found = true;
            fake.ids.items[i].epoch++;
            if (fake.ids.items[i].txn >= 0)
                fake_decide(fake.ids.items[i].txn, TXN_ABORTED);
            fake.ids.items[i].txn = -1;
        }
    pthread_mutex_unlock(&fake.lock);
    return found;
}

void fake_kafka_put(const char *topic, int32_t partition, const void *value, size_t len, int64_t timestamp_ms)
{
    pthread_mutex_lock(&fake.lock);
    fake_append(fake_find(topic), partition, NULL, 0, value, len, timestamp_ms, NULL, 0, -1);
    pthread_mutex_unlock(&fake.lock);
}

void fake_kafka_put_keyed(const char *topic, int32_t partition, const void *key, size_t key_len, const void *value, size_t len)
{
    pthread_mutex_lock(&fake.lock);
    fake_append(fake_find(topic), partition, key, key_len, value, len, TSN_TIME_NONE, NULL, 0, -1);
    pthread_mutex_unlock(&fake.lock);
}

void fake_kafka_commit(const char *group, const char *topic, int32_t partition, int64_t offset, const char *metadata)
{
    struct fake_commit *commit;

    pthread_mutex_lock(&fake.lock);
    commit = fake_commit(fake_group(group), fake_find(topic), partition);
    tsn_free(commit->metadata);
    commit->offset = offset;
    commit->metadata = tsn_strdup(metadata);
    pthread_mutex_unlock(&fake.lock);
}

void fake_kafka_each(const char *topic, int32_t partition, void (*visit)(void *arg, const struct tsn_message *m), void *arg)
{
    const struct fake_record *r;
    int64_t offset = 0;

    pthread_mutex_lock(&fake.lock);
    for (struct fake_topic *t = fake_find(topic); (r = fake_next(&t->logs[partition], &offset)); offset++) {
        struct tsn_message m;

        fake_fill(&m, r, 0, partition);
        visit(arg, &m);
    }
    pthread_mutex_unlock(&fake.lock);
}

struct fake_kafka_counts fake_kafka_counts(void)
{
    struct fake_kafka_counts counts = { 0 };

    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.txns.len; i++) {
        counts.open += fake.txns.items[i].state == TXN_OPEN;
        counts.committed += fake.txns.items[i].state == TXN_COMMITTED;
        counts.aborted += fake.txns.items[i].state == TXN_ABORTED;
    }
    counts.rebalances = fake.rebalances;
    pthread_mutex_unlock(&fake.lock);
    return counts;
}
