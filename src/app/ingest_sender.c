/*
 * ingest_sender: the thread that runs one transaction a closed batch.
 *
 * The mailbox holds one batch, until its transaction is over. After an abort the same bytes go out again while the assignment epoch
 * stands; a fence, a fatal error or a changed epoch ends the session.
 *
 * Concurrency: the sender's thread owns the producer while a batch is in the mailbox; the mailbox has its lock.
 */
#include "app/ingest_session.h"

#include <string.h>

static enum tsn_err send_dead_letter(struct ingest_session *s, const struct tsn_dead_letter *d, struct tsn_error *error)
{
    char partition[16], offset[24], length[24], stamp[24];
    struct tsn_header headers[] = {
        { "tocsin_topic", d->topic, strlen(d->topic) },    { "tocsin_partition", partition, 0 }, { "tocsin_offset", offset, 0 },
        { "tocsin_timestamp", stamp, 0 },                  { "tocsin_length", length, 0 },
        { "tocsin_cut", d->cut ? "true" : "false", d->cut ? 4 : 5 },
        { "tocsin_reason", d->reason, strlen(d->reason) }, { "tocsin_error", d->error, strlen(d->error) },
    };

    headers[1].len = (size_t)snprintf(partition, sizeof partition, "%d", d->partition);
    headers[2].len = (size_t)snprintf(offset, sizeof offset, "%lld", (long long)d->offset);
    headers[3].len = (size_t)snprintf(stamp, sizeof stamp, "%lld", (long long)d->timestamp_ms);
    headers[4].len = (size_t)snprintf(length, sizeof length, "%zu", d->full_len);
    return tsn_producer_send(s->producer, s->config->topics.deadletter, -1, d->key, d->key_len, d->value, d->value_len, TSN_TIME_NONE,
                             headers, TSN_ARRAY_LEN(headers), error);
}

static enum tsn_err send_offsets(struct ingest_session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    struct tsn_kafka_partitions list = { 0 };
    enum tsn_err err;

    for (size_t i = 0; i < b->offset_count; i++)
        for (size_t t = 0; t < s->config->inputs.len; t++)
            if (strcmp(s->config->inputs.items[t].topic, b->offsets[i].topic) == 0) {
                struct tsn_kafka_partition at = { (int32_t)t, b->offsets[i].partition, b->offsets[i].next_offset, NULL };

                at.metadata = tsn_strdup(b->offsets[i].metadata);
                tsn_vec_push(&list, at);
                break;
            }
    err = list.len ? tsn_producer_offsets(s->producer, s->consumer, &list, error) : TSN_OK;
    tsn_kafka_partitions_release(&list);
    return err;
}

static enum tsn_err send_once(struct ingest_session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    const struct tsn_app_options *opt = &s->app->opt;
    enum tsn_err err;

    if (opt->before_transaction)
        opt->before_transaction(opt->before_transaction_arg);
    err = tsn_producer_begin(s->producer, error);
    for (size_t i = 0; i < b->record_count && !err; i++)
        err = tsn_producer_send(s->producer, s->config->topics.samples, (int32_t)(i % (size_t)b->partitions), NULL, 0, b->records[i].data,
                                b->records[i].len, b->wall_ms, NULL, 0, error);
    for (size_t i = 0; i < b->dead_count && !err; i++)
        err = send_dead_letter(s, &b->dead[i], error);
    if (!err)
        err = send_offsets(s, b, error);
    return err ? err : tsn_producer_commit(s->producer, error);
}

static void note_commit(struct ingest_session *s, int64_t took_ns, bool aborted)
{
    pthread_mutex_lock(&s->app->stats_lock);
    s->app->stats->ingest.commits += !aborted;
    s->app->stats->ingest.aborts += aborted;
    s->app->stats->ingest.commit_us_total += took_ns / 1000;
    s->app->stats->ingest.ready = true;
    if (!aborted)
        s->app->stats->ingest.last_commit_ns = tsn_mono_now().ns;
    pthread_mutex_unlock(&s->app->stats_lock);
}

/* The same bytes go out again after an abort while the epoch stands. */
static enum tsn_err send_batch(struct ingest_session *s, const struct tsn_closed_batch *b, struct tsn_error *error)
{
    for (;;) {
        int64_t began_ns = tsn_mono_now().ns;
        struct tsn_error abort_error;
        enum tsn_err err = send_once(s, b, error);

        note_commit(s, tsn_mono_now().ns - began_ns, err != TSN_OK);
        if (!err || err == TSN_ERR_FENCED || error->fatal)
            return err;
        if (tsn_producer_abort(s->producer, &abort_error)) {
            *error = abort_error;
            return error->code;
        }
        if (atomic_load(&s->stage->stop))
            return error->code;
        tsn_log(TSN_LOG_WARN, "ingest", "transaction aborted; the batch goes out again", "seq=%lld error=\"%s\"", (long long)b->seq, error->message);
        if (atomic_load(&s->epoch) != b->epoch)
            return tsn_error_set(error, TSN_ERR_CONFLICT, "the assignment changed while a transaction was aborted");
        tsn_app_sleep_ms(100);
    }
}

static void *sender_main(void *arg)
{
    struct ingest_session *s = arg;
    struct sender *q = &s->sender;

    tsn_kafka_give_up_on(&s->stage->stop);
    pthread_mutex_lock(&q->lock);
    while (!q->quit) {
        struct tsn_error error = { 0 };
        enum tsn_err err;

        if (!q->batch) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        err = send_batch(s, q->batch, &error);
        pthread_mutex_lock(&q->lock);
        tsn_closed_batch_free(&q->batch);
        if (err && !q->failed) {
            q->failed = true;
            q->error = error;
        }
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

bool ingest_sender_wait(struct ingest_session *s, int64_t ms)
{
    struct sender *q = &s->sender;
    struct timespec until;
    bool ok;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&q->lock);
    while (q->batch && !q->failed)
        if (pthread_cond_timedwait(&q->changed, &q->lock, &until))
            break;
    ok = !q->batch && !q->failed;
    if (q->failed)
        ingest_end(s, &q->error);
    pthread_mutex_unlock(&q->lock);
    return ok;
}

void ingest_sender_take(struct ingest_session *s, struct tsn_closed_batch *batch)
{
    struct sender *q = &s->sender;

    pthread_mutex_lock(&q->lock);
    TSN_ASSERT(!q->batch);
    q->batch = batch;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void ingest_sender_start(struct ingest_session *s)
{
    pthread_mutex_init(&s->sender.lock, NULL);
    pthread_cond_init(&s->sender.changed, NULL);
    TSN_ASSERT(pthread_create(&s->sender.thread, NULL, sender_main, s) == 0);
}

void ingest_sender_stop(struct ingest_session *s)
{
    pthread_mutex_lock(&s->sender.lock);
    s->sender.quit = true;
    pthread_cond_broadcast(&s->sender.changed);
    pthread_mutex_unlock(&s->sender.lock);
    pthread_join(s->sender.thread, NULL);
    tsn_closed_batch_free(&s->sender.batch);
    pthread_mutex_destroy(&s->sender.lock);
    pthread_cond_destroy(&s->sender.changed);
}
