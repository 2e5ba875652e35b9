/* fake_consumer: members of groups. See fake_kafka.h. */
#include "fake_int.h"

#include <string.h>

/* What a member reads. */
struct fake_owned {
    int32_t topic, partition;
    struct fake_topic *at;
    int64_t position, eof_told; /* eof_told: the position at which the end was told; -1 */
    bool paused;
};
struct tsn_consumer {
    struct tsn_consumer_options opt;
    char **topics;
    char *instance_id;
    struct fake_group *group;
    TSN_VEC(struct fake_owned) owned;
    bool fenced;
    size_t turn; /* who is asked first */
};

struct fake_group *fake_group_of(struct tsn_consumer *c) { return c->group; }
const char *fake_topic_of(const struct tsn_consumer *c, int32_t topic) { return c->topics[topic]; }

static struct fake_owned *find_owned(struct tsn_consumer *c, int32_t topic, int32_t partition)
{
    for (size_t i = 0; i < c->owned.len; i++)
        if (c->owned.items[i].topic == topic && c->owned.items[i].partition == partition)
            return &c->owned.items[i];
    return NULL;
}

bool fake_owns(struct tsn_consumer *c, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < c->opt.topic_count; i++)
        if (strcmp(c->topics[i], topic) == 0)
            return !c->fenced && find_owned(c, (int32_t)i, partition);
    return false;
}

/* ---- rebalances ---------------------------------------------------------------------------- */

/* Whose a partition should be: all topics' partitions are dealt out in turn, members in order of their names. */
static bool should_own(struct tsn_consumer *c, int32_t topic, int32_t partition)
{
    size_t rank = 0, index = (size_t)partition;

    for (size_t i = 0; i < c->group->members.len; i++)
        rank += strcmp(c->group->members.items[i]->instance_id, c->instance_id) < 0;
    for (int32_t t = 0; t < topic; t++)
        index += (size_t)fake_find(c->topics[t])->partitions;
    return index % c->group->members.len == rank;
}

static void push(struct tsn_kafka_partitions *list, int32_t topic, int32_t partition, int64_t offset, const char *metadata)
{
    struct tsn_kafka_partition at = { topic, partition, offset, metadata ? tsn_strdup(metadata) : NULL };

    tsn_vec_push(list, at);
}

static void let_go(struct tsn_consumer *c, const struct tsn_kafka_partitions *list)
{
    for (size_t i = 0; i < list->len; i++) {
        struct fake_owned *o = find_owned(c, list->items[i].topic, list->items[i].partition);
        struct fake_commit *commit = fake_commit(c->group, o->at, o->partition);

        if (commit->owner == c)
            commit->owner = NULL;
        *o = c->owned.items[--c->owned.len];
    }
    pthread_cond_broadcast(&fake.changed);
}

/* The lock is given up for the callback, and what follows looks anew. */
static void revoke(struct tsn_consumer *c, struct tsn_kafka_partitions *list)
{
    bool lost = c->fenced;

    fake.rebalances++;
    pthread_mutex_unlock(&fake.lock);
    c->opt.revoke(c->opt.arg, list, lost);
    pthread_mutex_lock(&fake.lock);
    let_go(c, list);
}

static void assign(struct tsn_consumer *c, struct tsn_kafka_partitions *list)
{
    fake.rebalances++;
    pthread_mutex_unlock(&fake.lock);
    c->opt.assign(c->opt.arg, list);
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < list->len; i++) {
        const struct tsn_kafka_partition *p = &list->items[i];
        struct fake_owned o = { p->topic, p->partition, fake_find(c->topics[p->topic]), p->offset < 0 ? 0 : p->offset, -1, c->opt.paused };

        tsn_vec_push(&c->owned, o);
    }
}

/* One round: gives up what is to move, or takes what is free. True if a callback ran. */
static bool rebalance(struct tsn_consumer *c)
{
    struct tsn_kafka_partitions gone = { 0 }, come = { 0 };
    bool all_free = true, some;

    for (size_t i = 0; i < c->owned.len; i++)
        if (!should_own(c, c->owned.items[i].topic, c->owned.items[i].partition))
            push(&gone, c->owned.items[i].topic, c->owned.items[i].partition, c->owned.items[i].position, NULL);
    for (size_t t = 0; t < c->opt.topic_count; t++) {
        struct fake_topic *topic = fake_find(c->topics[t]);

        for (int32_t p = 0; p < topic->partitions; p++) {
            struct fake_commit *commit = fake_commit(c->group, topic, p);

            if (!should_own(c, (int32_t)t, p) || commit->owner == c)
                continue;
            all_free = all_free && !commit->owner;
            if (!commit->owner)
                push(&come, (int32_t)t, p, commit->offset, commit->metadata);
        }
    }
    if (c->opt.eager && (gone.len || come.len) && c->owned.len && all_free) {
        tsn_kafka_partitions_release(&gone);
        for (size_t i = 0; i < c->owned.len; i++)
            push(&gone, c->owned.items[i].topic, c->owned.items[i].partition, c->owned.items[i].position, NULL);
    }
    some = gone.len || (come.len && (all_free || !c->opt.eager));
    if (gone.len) {
        revoke(c, &gone);
    } else if (some) {
        for (size_t i = 0; i < come.len; i++)
            fake_commit(c->group, fake_find(c->topics[come.items[i].topic]), come.items[i].partition)->owner = c;
        assign(c, &come);
    }
    tsn_kafka_partitions_release(&gone);
    tsn_kafka_partitions_release(&come);
    return some;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void leave(struct tsn_consumer *c)
{
    for (size_t i = 0; i < c->group->members.len; i++)
        if (c->group->members.items[i] == c)
            c->group->members.items[i] = c->group->members.items[--c->group->members.len];
    for (size_t i = 0; i < c->group->commits.len; i++)
        if (c->group->commits.items[i].owner == c)
            c->group->commits.items[i].owner = NULL;
    pthread_cond_broadcast(&fake.changed);
}

struct tsn_consumer *tsn_consumer_new(const struct tsn_consumer_options *options, struct tsn_error *error)
{
    struct tsn_consumer *c = tsn_calloc(1, sizeof *c);

    TSN_UNUSED(error);
    c->opt = *options;
    c->instance_id = tsn_strdup(options->instance_id);
    c->topics = tsn_calloc(options->topic_count, sizeof *c->topics);
    for (size_t i = 0; i < options->topic_count; i++)
        c->topics[i] = tsn_strdup(options->topics[i]);
    pthread_mutex_lock(&fake.lock);
    c->group = fake_group(options->group);
    for (size_t i = 0; i < c->group->members.len; i++) {
        struct tsn_consumer *other = c->group->members.items[i];

        if (strcmp(other->instance_id, c->instance_id) == 0) {
            other->fenced = true;
            leave(other);
            break;
        }
    }
    tsn_vec_push(&c->group->members, c);
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    return c;
}

void tsn_consumer_free(struct tsn_consumer **consumer)
{
    struct tsn_consumer *c = *consumer;

    if (!c)
        return;
    pthread_mutex_lock(&fake.lock);
    if (!c->fenced)
        leave(c);
    pthread_mutex_unlock(&fake.lock);
    for (size_t i = 0; i < c->opt.topic_count; i++)
        tsn_free(c->topics[i]);
    tsn_free(c->topics);
    tsn_free(c->instance_id);
    tsn_vec_release(&c->owned);
    tsn_free(c);
    *consumer = NULL;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* A random piece of what a partition has, or the word that there is no more. */
static int take(struct tsn_consumer *c, struct fake_owned *o, struct tsn_message *out, int max)
{
    struct fake_log *log = &o->at->logs[o->partition];
    int piece = 1 + (int)(fake_random() % 64), used = 0;

    TSN_UNUSED(c);
    while (!o->paused && used < max && used < piece) {
        const struct fake_record *r = fake_next(log, &o->position);

        if (!r) {
            if (o->eof_told != o->position) {
                out[used] = (struct tsn_message){ .topic = o->topic, .partition = o->partition, .offset = o->position, .eof = true,
                                                  .timestamp_ms = TSN_TIME_NONE };
                o->eof_told = o->position;
                used++;
            }
            break;
        }
        fake_fill(&out[used++], r, o->topic, o->partition);
        o->position++;
    }
    return used;
}

int tsn_consumer_poll(struct tsn_consumer *c, int timeout_ms, struct tsn_message *out, int max, struct tsn_error *error)
{
    int64_t until_ns = tsn_mono_now().ns + timeout_ms * INT64_C(1000000);
    int used = 0;

    pthread_mutex_lock(&fake.lock);
    do {
        if (c->fenced) {
            tsn_error_set(error, TSN_ERR_FENCED, "%s: another member has this name", c->group->name);
            error->fatal = true;
            used = -1;
            break;
        }
        if (rebalance(c))
            continue;
        for (size_t i = 0; i < c->owned.len && used < max; i++)
            used += take(c, &c->owned.items[(i + c->turn) % c->owned.len], out + used, max - used);
        c->turn++;
    } while (!used && fake_wait(until_ns));
    pthread_mutex_unlock(&fake.lock);
    return used;
}

void tsn_consumer_pause(struct tsn_consumer *c, int32_t topic, int32_t partition, bool pause)
{
    struct fake_owned *o;

    pthread_mutex_lock(&fake.lock);
    o = find_owned(c, topic, partition);
    if (o)
        o->paused = pause;
    pthread_mutex_unlock(&fake.lock);
}

enum tsn_err tsn_consumer_seek(struct tsn_consumer *c, int32_t topic, int32_t partition, int64_t offset, struct tsn_error *error)
{
    struct fake_owned *o;
    enum tsn_err err = TSN_OK;

    pthread_mutex_lock(&fake.lock);
    o = find_owned(c, topic, partition);
    if (o) {
        o->position = offset;
        o->eof_told = -1;
    } else {
        err = tsn_error_set(error, TSN_ERR_INVALID, "seek: not assigned");
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

int64_t tsn_consumer_high(struct tsn_consumer *c, int32_t topic, int32_t partition)
{
    int64_t end;

    pthread_mutex_lock(&fake.lock);
    end = (int64_t)fake_find(c->topics[topic])->logs[partition].records.len;
    pthread_mutex_unlock(&fake.lock);
    return end;
}

int64_t tsn_consumer_query_end(struct tsn_consumer *c, int32_t topic, int32_t partition, int timeout_ms)
{
    TSN_UNUSED(timeout_ms);
    return tsn_consumer_high(c, topic, partition);
}

int32_t tsn_consumer_partition_count(struct tsn_consumer *c, int32_t topic, int timeout_ms)
{
    int32_t count;

    TSN_UNUSED(timeout_ms);
    pthread_mutex_lock(&fake.lock);
    count = fake_find(c->topics[topic])->partitions;
    pthread_mutex_unlock(&fake.lock);
    return count;
}

int32_t tsn_consumer_known_count(const struct tsn_consumer *c, int32_t topic)
{
    return tsn_consumer_partition_count((struct tsn_consumer *)(uintptr_t)c, topic, 0);
}

void tsn_names_release(struct tsn_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        tsn_free(names->items[i]);
    tsn_vec_release(names);
}

/* No input is ever taken out of the configuration here. */
enum tsn_err tsn_consumer_gone(struct tsn_consumer *c, int timeout_ms, struct tsn_names *names, struct tsn_error *error)
{
    TSN_UNUSED(c);
    TSN_UNUSED(timeout_ms);
    TSN_UNUSED(error);
    *names = (struct tsn_names){ 0 };
    return TSN_OK;
}

enum tsn_err tsn_consumer_committed(struct tsn_consumer *c, int timeout_ms, struct tsn_kafka_partitions *out, struct tsn_error *error)
{
    TSN_UNUSED(timeout_ms);
    TSN_UNUSED(error);
    pthread_mutex_lock(&fake.lock);
    for (size_t t = 0; t < c->opt.topic_count; t++) {
        struct fake_topic *topic = fake_find(c->topics[t]);

        for (int32_t p = 0; p < topic->partitions; p++) {
            const struct fake_commit *commit = fake_commit(c->group, topic, p);

            push(out, (int32_t)t, p, commit->offset, commit->metadata);
        }
    }
    pthread_mutex_unlock(&fake.lock);
    return TSN_OK;
}
