/*
 * feed: the producer's thread. Sends the generator's events at the simulated pace, and never further ahead of the stages than both the mock
 * (5 MB a partition) and the incident clock bear.
 *
 * Each service's records of a topic go to one partition, and every partition has a service that never falls silent: a
 * partition without records would have to be proved idle before time goes on.
 */
#include "demo/play.h"

#include "tocsin/kafka.h"

#include <string.h>

enum {
    LEAD_MS = 3600000,    /* event time sent ahead of DETECT's */
    LEAD_SCRAPES = 600,   /* sent ahead of INGEST, a partition, of 5 kB on average … */
    LEAD_LINES = 8000,    /* … and of 0.3 kB */
    LOOK_EVERY = 50,      /* events between two looks at the stages */
    READY_MS = 30000,     /* for the stages to join their groups; below idle_timeout, so that no partition is idle when it begins */
    NAP_MS = 5, FLUSH_MS = 30000
};

static void nap_ms(int64_t ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

/* Services of a topic alternate; hooks come from the first and the third service only. */
static int32_t partition_of(const struct feed *f, enum tsn_demo_topic topic, size_t service)
{
    return (int32_t)(topic == TSN_DEMO_HOOKS ? service / 2 : service) % f->cluster->partitions[topic];
}

static void fail(struct feed *f, const struct tsn_error *error)
{
    pthread_mutex_lock(&f->lock);
    f->error = *error;
    f->failed = true;
    pthread_mutex_unlock(&f->lock);
}

static bool too_far(struct feed *f, const struct tsn_app_stats *stats, int64_t ts_ms, int64_t sent[TSN_DEMO_TOPICS][8])
{
    int64_t behind_ms = stats->detect.watermark_ms == TSN_TIME_NONE ? tsn_demo_start_ms(f->demo) : stats->detect.watermark_ms;

    for (size_t i = 0; i < stats->input_count; i++)
        for (int t = 0; t < TSN_DEMO_TOPICS; t++)
            if (strcmp(stats->inputs[i].topic, f->cluster->topics[t]) == 0 &&
                sent[t][stats->inputs[i].partition] - stats->inputs[i].next_offset > (t == TSN_DEMO_METRICS ? LEAD_SCRAPES : LEAD_LINES))
                return true;
    return ts_ms - behind_ms > LEAD_MS;
}

/* Until the event is due by the pace, and the stages are near enough. */
static void wait_for_turn(struct feed *f, struct tsn_app_stats *stats, int64_t began_ns, int64_t ts_ms, int64_t sent[TSN_DEMO_TOPICS][8])
{
    while (f->speed > 0 && !atomic_load(&f->stop)) {
        double due_ms = (double)(ts_ms - tsn_demo_start_ms(f->demo)) / f->speed;
        int64_t left_ms = (int64_t)due_ms - (tsn_mono_now().ns - began_ns) / 1000000;

        if (left_ms < 2)
            break;
        nap_ms(left_ms < 100 ? left_ms : 100);
    }
    if (atomic_load(&f->events) % LOOK_EVERY)
        return;
    for (tsn_app_get_stats(f->app, stats); too_far(f, stats, ts_ms, sent) && !atomic_load(&f->stop); tsn_app_get_stats(f->app, stats))
        nap_ms(NAP_MS);
}

static size_t service_of(const char *key)
{
    size_t i = 0;

    while (tsn_demo_service_name(i) && strcmp(key, tsn_demo_service_name(i)) != 0)
        i++;
    return i;
}

/* The pace begins when somebody listens. */
static void wait_for_stages(struct feed *f, struct tsn_app_stats *stats)
{
    for (int waited_ms = 0; waited_ms < READY_MS && !atomic_load(&f->stop); waited_ms += NAP_MS) {
        tsn_app_get_stats(f->app, stats);
        if (stats->ingest.ready && stats->detect.ready)
            return;
        nap_ms(NAP_MS);
    }
}

static enum tsn_err send_all(struct feed *f, struct tsn_producer *producer, struct tsn_app_stats *stats, struct tsn_error *error)
{
    int64_t sent[TSN_DEMO_TOPICS][8] = { { 0 } }, began_ns;
    struct tsn_demo_event e;

    wait_for_stages(f, stats);
    began_ns = tsn_mono_now().ns;
    while (!atomic_load(&f->stop) && tsn_demo_next(f->demo, &e)) {
        int32_t partition = partition_of(f, e.topic, service_of(e.key));

        wait_for_turn(f, stats, began_ns, e.ts_ms, sent);
        if (tsn_producer_send(producer, f->cluster->topics[e.topic], partition, e.key, strlen(e.key), e.data, e.len, TSN_TIME_NONE, NULL, 0,
                              error))
            return error->code;
        sent[e.topic][partition]++;
        atomic_store(&f->event_time_ms, e.ts_ms);
        atomic_fetch_add(&f->events, 1);
        pthread_mutex_lock(&f->lock);
        tsn_demo_gauges(f->demo, f->gauges);
        pthread_mutex_unlock(&f->lock);
    }
    return tsn_producer_flush(producer, FLUSH_MS, error);
}

static void *feed_main(void *arg)
{
    struct feed *f = arg;
    struct tsn_app_stats *stats = tsn_calloc(1, sizeof *stats);
    struct tsn_error error = { 0 };
    struct tsn_producer *producer;

    tsn_kafka_give_up_on(&f->stop);
    producer = tsn_producer_new(&f->cluster->config, NULL, FLUSH_MS, &error);
    if ((!producer || send_all(f, producer, stats, &error)) && !atomic_load(&f->stop))
        fail(f, &error);
    tsn_producer_free(&producer);
    tsn_free(stats);
    atomic_store(&f->done, true);
    return NULL;
}

void feed_start(struct feed *f)
{
    pthread_mutex_init(&f->lock, NULL);
    atomic_store(&f->event_time_ms, tsn_demo_start_ms(f->demo));
    TSN_ASSERT(pthread_create(&f->thread, NULL, feed_main, f) == 0);
}

void feed_stop(struct feed *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    pthread_mutex_destroy(&f->lock);
}
