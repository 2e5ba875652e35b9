/* fake_producer: transactions, plain sending, and readers of one partition. See fake_kafka.h. */
#include "fake_int.h"

#include <string.h>

static _Thread_local const atomic_bool *give_up;

void tsn_kafka_give_up_on(const atomic_bool *flag) { give_up = flag; }
bool tsn_kafka_given_up(void) { return give_up && atomic_load(give_up); }

void tsn_kafka_partitions_release(struct tsn_kafka_partitions *list)
{
    for (size_t i = 0; i < list->len; i++)
        tsn_free(list->items[i].metadata);
    tsn_vec_release(list);
}

int32_t tsn_kafka_partition_count(const struct tsn_config *config, const char *topic, struct tsn_error *error)
{
    struct fake_topic *t;
    int32_t count;

    TSN_UNUSED(config);
    TSN_UNUSED(error);
    pthread_mutex_lock(&fake.lock);
    t = fake_find(topic);
    count = t ? t->partitions : 0;
    pthread_mutex_unlock(&fake.lock);
    return count;
}

/* ---- producer ------------------------------------------------------------------------------ */

/* An offset that counts when its transaction is committed. */
struct pending {
    struct fake_group *group;
    struct fake_topic *topic;
    int32_t partition;
    int64_t offset;
    char *metadata;
};
struct tsn_producer {
    int32_t id; /* index; -1: plain */
    int64_t epoch;
    bool begun;
    TSN_VEC(struct pending) offsets;
};

static int32_t id_of(const char *name)
{
    struct fake_id fresh = { NULL, 0, -1 };

    for (size_t i = 0; i < fake.ids.len; i++)
        if (strcmp(fake.ids.items[i].name, name) == 0)
            return (int32_t)i;
    fresh.name = tsn_strdup(name);
    tsn_vec_push(&fake.ids, fresh);
    return (int32_t)fake.ids.len - 1;
}

struct tsn_producer *tsn_producer_new(const struct tsn_config *config, const char *transactional_id, int timeout_ms, struct tsn_error *error)
{
    struct tsn_producer *p = tsn_calloc(1, sizeof *p);
    struct fake_id *id;

    TSN_UNUSED(config);
    TSN_UNUSED(timeout_ms);
    TSN_UNUSED(error);
    p->id = -1;
    if (!transactional_id)
        return p;
    pthread_mutex_lock(&fake.lock);
    p->id = id_of(transactional_id);
    id = &fake.ids.items[p->id];
    if (id->txn >= 0)
        fake_decide(id->txn, TXN_ABORTED);
    id->txn = -1;
    p->epoch = ++id->epoch;
    pthread_mutex_unlock(&fake.lock);
    return p;
}

static void forget_offsets(struct tsn_producer *p)
{
    for (size_t i = 0; i < p->offsets.len; i++)
        tsn_free(p->offsets.items[i].metadata);
    tsn_vec_clear(&p->offsets);
}

/* What a producer leaves open stays so, as a killed one's does, until its id has a new owner. */
void tsn_producer_free(struct tsn_producer **producer)
{
    if (!*producer)
        return;
    forget_offsets(*producer);
    tsn_vec_release(&(*producer)->offsets);
    tsn_free(*producer);
    *producer = NULL;
}

void tsn_producer_know(struct tsn_producer *p, const char *topic)
{
    TSN_UNUSED(p);
    TSN_UNUSED(topic);
}

static enum tsn_err check_epoch(const struct tsn_producer *p, struct tsn_error *error)
{
    if (p->id < 0 || fake.ids.items[p->id].epoch == p->epoch)
        return TSN_OK;
    tsn_error_set(error, TSN_ERR_FENCED, "%s has a newer owner", fake.ids.items[p->id].name);
    error->fatal = true;
    return TSN_ERR_FENCED;
}

enum tsn_err tsn_producer_begin(struct tsn_producer *p, struct tsn_error *error)
{
    struct fake_txn fresh = { .state = TXN_OPEN };
    enum tsn_err err;

    pthread_mutex_lock(&fake.lock);
    err = check_epoch(p, error);
    if (!err) {
        TSN_ASSERT(!p->begun && fake.ids.items[p->id].txn < 0);
        tsn_vec_push(&fake.txns, fresh);
        fake.ids.items[p->id].txn = (int32_t)fake.txns.len - 1;
        p->begun = true;
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

enum tsn_err tsn_producer_send(struct tsn_producer *p, const char *topic, int32_t partition, const void *key, size_t key_len,
                               const void *value, size_t value_len, int64_t timestamp_ms, const struct tsn_header *headers,
                               size_t header_count, struct tsn_error *error)
{
    struct fake_topic *t;
    enum tsn_err err;

    pthread_mutex_lock(&fake.lock);
    t = fake_find(topic);
    err = check_epoch(p, error);
    TSN_ASSERT(t && partition < t->partitions && (p->id < 0 || err || p->begun));
    if (!err)
        fake_append(t, partition >= 0 ? partition : (int32_t)(tsn_hash64(key, key_len) % (uint64_t)t->partitions), key, key_len, value,
                    value_len, timestamp_ms, headers, header_count, p->id < 0 ? -1 : fake.ids.items[p->id].txn);
    pthread_mutex_unlock(&fake.lock);
    return err;
}

/* As the coordinator does, a member that is one no longer, or never read the partition, is refused. */
enum tsn_err tsn_producer_offsets(struct tsn_producer *p, struct tsn_consumer *consumer, const struct tsn_kafka_partitions *offsets,
                                  struct tsn_error *error)
{
    enum tsn_err err;

    pthread_mutex_lock(&fake.lock);
    err = check_epoch(p, error);
    for (size_t i = 0; i < offsets->len && !err; i++) {
        const struct tsn_kafka_partition *at = &offsets->items[i];
        const char *topic = fake_topic_of(consumer, at->topic);
        struct pending one = { fake_group_of(consumer), fake_find(topic), at->partition, at->offset, NULL };

        if (!fake_owns(consumer, topic, at->partition)) {
            err = tsn_error_set(error, TSN_ERR_CONFLICT, "%s/%d is another member's", topic, at->partition);
            break;
        }
        one.metadata = at->metadata ? tsn_strdup(at->metadata) : NULL;
        tsn_vec_push(&p->offsets, one);
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

static void apply_offsets(struct tsn_producer *p)
{
    for (size_t i = 0; i < p->offsets.len; i++) {
        struct pending *from = &p->offsets.items[i];
        struct fake_commit *to = fake_commit(from->group, from->topic, from->partition);

        tsn_free(to->metadata);
        to->offset = from->offset;
        to->metadata = from->metadata;
        from->metadata = NULL;
    }
}

static void finish(struct tsn_producer *p, enum txn_state state)
{
    if (fake.ids.items[p->id].txn >= 0)
        fake_decide(fake.ids.items[p->id].txn, state);
    fake.ids.items[p->id].txn = -1;
    p->begun = false;
    forget_offsets(p);
}

enum tsn_err tsn_producer_commit(struct tsn_producer *p, struct tsn_error *error)
{
    enum tsn_err err;

    pthread_mutex_lock(&fake.lock);
    err = check_epoch(p, error);
    if (!err && fake.fail_one_of && fake_random() % fake.fail_one_of == 0)
        err = tsn_error_set(error, TSN_ERR_CONFLICT, "the fake lets this commit fail");
    if (!err) {
        apply_offsets(p);
        finish(p, TXN_COMMITTED);
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

enum tsn_err tsn_producer_abort(struct tsn_producer *p, struct tsn_error *error)
{
    enum tsn_err err;

    pthread_mutex_lock(&fake.lock);
    err = check_epoch(p, error);
    if (!err)
        finish(p, TXN_ABORTED);
    pthread_mutex_unlock(&fake.lock);
    return err;
}

enum tsn_err tsn_producer_flush(struct tsn_producer *p, int timeout_ms, struct tsn_error *error)
{
    TSN_UNUSED(p);
    TSN_UNUSED(timeout_ms);
    TSN_UNUSED(error);
    return TSN_OK;
}

/* ---- reader -------------------------------------------------------------------------------- */

struct tsn_reader {
    struct fake_topic *topic;
    int32_t partition;
    int64_t position, end;
    bool tail;
    const struct fake_record *last;
};

struct tsn_reader *tsn_reader_new(const struct tsn_config *config, const char *topic, int32_t partition, int64_t offset, bool tail,
                                  struct tsn_error *error)
{
    struct tsn_reader *r = tsn_calloc(1, sizeof *r);

    TSN_UNUSED(config);
    TSN_UNUSED(error);
    pthread_mutex_lock(&fake.lock);
    r->topic = fake_find(topic);
    r->partition = partition;
    r->tail = tail;
    r->end = (int64_t)r->topic->logs[partition].records.len;
    r->position = offset == TSN_OFFSET_END ? r->end : offset < 0 ? 0 : offset;
    pthread_mutex_unlock(&fake.lock);
    return r;
}

int64_t tsn_reader_end(const struct tsn_reader *r) { return r->end; }
int64_t tsn_reader_position(const struct tsn_reader *r) { return r->position; }

enum tsn_err tsn_reader_next(struct tsn_reader *r, int timeout_ms, struct tsn_message *message, struct tsn_error *error)
{
    int64_t until_ns = tsn_mono_now().ns + timeout_ms * INT64_C(1000000);
    enum tsn_err err = TSN_OK;

    pthread_mutex_lock(&fake.lock);
    while (!(r->last = fake_next(&r->topic->logs[r->partition], &r->position)) || (!r->tail && r->position >= r->end)) {
        if (!r->tail && r->position >= r->end) {
            err = TSN_ERR_NOT_FOUND;
            break;
        }
        if (!fake_wait(until_ns)) {
            err = tsn_error_set(error, TSN_ERR_TIMEOUT, "%s/%d: nothing yet", r->topic->name, r->partition);
            break;
        }
    }
    if (!err) {
        fake_fill(message, r->last, 0, r->partition);
        r->position++;
    } else {
        r->last = NULL;
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

bool tsn_reader_header(const struct tsn_reader *r, const char *name, const void **value, size_t *len)
{
    for (size_t i = 0; r->last && i < r->last->header_count; i++)
        if (strcmp(r->last->headers[i].name, name) == 0) {
            *value = r->last->headers[i].value;
            *len = r->last->headers[i].len;
            return true;
        }
    return false;
}

enum tsn_err tsn_reader_seek(struct tsn_reader *r, int64_t offset, struct tsn_error *error)
{
    TSN_UNUSED(error);
    r->position = offset;
    return TSN_OK;
}

enum tsn_err tsn_reader_seek_time(struct tsn_reader *r, int64_t wall_ms, int timeout_ms, struct tsn_error *error)
{
    const struct fake_log *log = &r->topic->logs[r->partition];
    enum tsn_err err = TSN_OK;

    TSN_UNUSED(timeout_ms);
    pthread_mutex_lock(&fake.lock);
    if (!log->records.len)
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "%s/%d is empty", r->topic->name, r->partition);
    for (r->position = 0; r->position < (int64_t)log->records.len && log->records.items[r->position]->timestamp_ms < wall_ms;)
        r->position++;
    pthread_mutex_unlock(&fake.lock);
    return err;
}

void tsn_reader_free(struct tsn_reader **reader)
{
    tsn_free(*reader);
    *reader = NULL;
}
