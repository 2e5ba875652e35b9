/*
 * dispose: ends a librdkafka handle without waiting for ever.
 *
 * rd_kafka_consumer_close and rd_kafka_destroy wait for the handle's threads, and those may wait for a broker that is down, hangs or does not
 * answer a rebalance; no argument bounds either call. So a thread made for it does both. Whoever disposes of a handle waits for that a few seconds;
 * after that the handle is left to its thread, which ends it when it can, and a warning says so. A process may leave meanwhile.
 *
 * Handles that were left are counted. A broker that is away for hours must not let them pile up, so from LEFT_MAX on the wait has no bound but the
 * ordered stop (tsn_kafka_give_up_on).
 *
 * Concurrency: any thread may dispose; the thread made for it owns the handle and `owner` from then on. Callbacks of the handle may still come, on
 * that thread: their opaque must be `owner`, which lives until the handle is gone.
 */
#include "kafka/kafka_int.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WAIT_MS = 5000, GIVEN_UP_MS = 1000, AGAIN_MS = 100, STEP_MS = 50, LEFT_MAX = 32 };

struct disposal {
    rd_kafka_t *rk;
    bool member;
    void (*release)(void *owner);
    void *owner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, left; /* left: nobody waits any more, the thread frees this */
};

static atomic_int left_count;

/* While a thread stops, one handle that hangs is enough to know that the next will, too. */
static _Thread_local bool hung_in_stop;

static void disposal_free(struct disposal *d)
{
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    tsn_free(d);
}

static void end_handle(struct disposal *d)
{
    if (d->member)
        rd_kafka_consumer_close(d->rk);
    rd_kafka_destroy_flags(d->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (d->release)
        d->release(d->owner);
}

static void *dispose_main(void *arg)
{
    struct disposal *d = arg;
    bool left;

    end_handle(d);
    pthread_mutex_lock(&d->lock);
    d->done = true;
    left = d->left;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    if (left) {
        atomic_fetch_sub(&left_count, 1);
        disposal_free(d);
    }
    return NULL;
}

static bool wait_more(int64_t began_ns)
{
    int64_t waited_ms = (tsn_mono_now().ns - began_ns) / 1000000;

    if (tsn_kafka_given_up())
        return waited_ms < (hung_in_stop ? AGAIN_MS : GIVEN_UP_MS);
    return waited_ms < WAIT_MS || atomic_load(&left_count) >= LEFT_MAX;
}

/* True if the handle was gone in time. */
static bool wait_for(struct disposal *d)
{
    int64_t began_ns = tsn_mono_now().ns;
    struct timespec until;

    while (!d->done && wait_more(began_ns)) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += STEP_MS * 1000000L;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&d->changed, &d->lock, &until);
    }
    return d->done;
}

void tsn_kafka_dispose(rd_kafka_t *rk, bool member, void (*release)(void *owner), void *owner)
{
    struct disposal *d = tsn_calloc(1, sizeof *d);
    char name[128];
    pthread_t thread;
    bool done;

    *d = (struct disposal){ .rk = rk, .member = member, .release = release, .owner = owner };
    snprintf(name, sizeof name, "%s", rd_kafka_name(rk));
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    if (pthread_create(&thread, NULL, dispose_main, d)) { /* no thread to be had: as librdkafka would */
        end_handle(d);
        disposal_free(d);
        return;
    }
    pthread_mutex_lock(&d->lock);
    done = wait_for(d);
    d->left = !done;
    if (!done)
        atomic_fetch_add(&left_count, 1);
    pthread_mutex_unlock(&d->lock);
    if (done) {
        pthread_join(thread, NULL);
        disposal_free(d);
        return;
    }
    pthread_detach(thread);
    hung_in_stop = tsn_kafka_given_up();
    tsn_log(TSN_LOG_WARN, "kafka", "a client does not end; it is left behind", "client=%s left=%d", name, atomic_load(&left_count));
}
