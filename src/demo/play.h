/*
 * play: the demo's threads and what they share.
 *
 *     feeder ──▶ bridge.* ──▶ INGEST ─▶ DETECT ─▶ RESPOND (tsn_app) ──▶ alerts, incidents ──▶ main: judge, view
 *        ▲ pace, lead                                  ▲ clock
 *        └──── event time of DETECT ◀── stats ─────────┘
 *
 * Concurrency: the feeder owns generator and producer; main owns readers, judge, view and the app; RESPOND's thread calls the clock.
 * What they share is in struct feed (atomics, its lock) and in the app's stats.
 */
#ifndef TOCSIN_DEMO_PLAY_H
#define TOCSIN_DEMO_PLAY_H

#include "demo/services.h"
#include "tocsin/app.h"
#include "tocsin/demo.h"
#include "tocsin/kafka_mock.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- cluster.c: where it is played --------------------------------------------------------- */

struct demo_cluster {
    struct demo_services services;
    struct tsn_mock_cluster *mock; /* NULL: somebody else's brokers */
    struct tsn_config config;
    bool configured;
    char prefix[40]; /* of topics and groups; "" on the mock */
    char *topics[TSN_DEMO_TOPICS];
    int32_t partitions[TSN_DEMO_TOPICS];
};
/* Redis, then broker, configuration, topics. On an error all is undone. */
enum tsn_err demo_cluster_start(struct demo_cluster *c, const struct tsn_demo_options *options, struct tsn_error *error);
void demo_cluster_stop(struct demo_cluster *c);

/* ---- feed.c: the producer's thread --------------------------------------------------------- */

struct feed {
    const struct demo_cluster *cluster;
    struct tsn_app *app;
    struct tsn_demo *demo;
    double speed;
    pthread_t thread;
    atomic_bool stop, done;
    atomic_llong event_time_ms; /* of the last event sent */
    atomic_ullong events;
    pthread_mutex_t lock; /* gauges, error */
    struct tsn_demo_gauge gauges[TSN_DEMO_GAUGES];
    struct tsn_error error;
    bool failed;
};
void feed_start(struct feed *feed);
void feed_stop(struct feed *feed);

/* ---- the incident clock --------------------------------------------------------------------- */

/*
 * Simulated time for RESPOND: DETECT's event time, held while transitions up to it still wait for RESPOND; when one is applied, its
 * step. So at any speed a timer is applied after what happened before it and before what happened after it.
 */
struct incident_clock {
    struct tsn_app *app;
    struct tsn_app_stats *stats; /* RESPOND's thread's own */
    int64_t last_ms;
};
int64_t incident_clock_read(void *clock);

#endif
