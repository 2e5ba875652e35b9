/*
 * Goal: the three stages, with all their threads, are free of data races, and what comes of them does not depend on how the threads
 * are interleaved, on aborts, fences, workers that come and go, a rule set that changes and a Redis that is wiped.
 * Method: the whole app twice over tests/tsan's Kafka in memory and a Redis of this test's own, built with ThreadSanitizer. First one worker that
 * nobody disturbs; then with a second one that comes and goes and a third on the slot of the second, while threads read the metrics, the rules
 * are reloaded, commits fail, owners are fenced and Redis is wiped. Both get the same events in the same order, every partition active. The transitions of each alert instance must be the same, every
 * event of an incident must come once and in sequence, and all incidents must end. ThreadSanitizer itself fails the run (exit 66).
 *
 * Event time runs up to 50 times as fast as the clock; nothing here waits for a time to pass, only for results, and at most DEADLINE_S for them.
 */
#include "fake_kafka.h"
#include "tocsin/app.h"
#include "tocsin/codec.h"
#include "tocsin/monitor.h"
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __SANITIZE_THREAD__
#error "built without -fsanitize=thread this proves little: make SANITIZE=thread tsan-bins"
#endif

enum { SECONDS = 240, CALM_S = 150, SERVICES = 6, PARTITIONS = 3, STEP_MS = 20, DEADLINE_S = 60 };
#define T0 INT64_C(1700000000000)

static const char *const inputs[] = { "m", "l", "h" };

/* ---- the events ---------------------------------------------------------------------------- */

static void put(const char *topic, int32_t partition, int64_t ts_ms, const char *fmt, ...) TSN_PRINTF(4, 5);
static void put(const char *topic, int32_t partition, int64_t ts_ms, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    fake_kafka_put(topic, partition, text.data, text.len, ts_ms);
    tsn_buf_release(&text);
}

/* Each service has its own minutes of errors and heat, up to CALM_S: what began must end. Its metrics lie on one partition, its counted events on all of them. */
static void feed_second(int second)
{
    int64_t ts_ms = T0 + second * INT64_C(1000);

    for (int s = 0; s < SERVICES; s++) {
        bool bad = second < CALM_S && (second + 17 * s) % 120 >= 60;

        put("m", s % PARTITIONS, ts_ms, "{\"name\":\"temp\",\"labels\":{\"service\":\"s%d\"},\"value\":%d,\"timestamp\":%lld}", s,
            second < CALM_S && (second / 20 + s) % 4 == 0 ? 80 : 20, (long long)ts_ms);
        for (int p = 0; p < PARTITIONS; p++) {
            put("m", p, ts_ms, "{\"name\":\"errors_total\",\"kind\":\"delta\",\"labels\":{\"service\":\"s%d\"},\"value\":%d,\"timestamp\":%lld}", s,
                bad ? 3 : 0, (long long)ts_ms);
            put("l", p, ts_ms, "{\"timestamp\":%lld,\"service\":\"s%d\",\"level\":\"%s\",\"message\":\"request %d took %d ms\"}", (long long)ts_ms, s,
                bad ? "ERROR" : "INFO", second * 7 + p, second % 40);
            put("h", p, ts_ms, "{\"timestamp\":%lld,\"service\":\"s%d\",\"hook_type\":\"push\",\"status\":\"%s\",\"processing_time_ms\":%d}",
                (long long)ts_ms, s, bad && second % 3 ? "error" : "success", second % 50);
        }
    }
}

/* ---- what came of them --------------------------------------------------------------------- */

/* alert instance or incident → what happened to it, as text */
struct story {
    struct tsn_map by_name; /* → struct tsn_buf * */
    size_t records, bad;
};

static struct tsn_buf *page_of(struct story *story, const char *name)
{
    struct tsn_buf *page = tsn_map_get_str(&story->by_name, name);

    if (!page) {
        page = tsn_calloc(1, sizeof *page);
        tsn_map_put_str(&story->by_name, name, page);
    }
    return page;
}

static void story_release(struct story *story)
{
    tsn_map_foreach(&story->by_name, e) {
        tsn_buf_release(e->value);
        tsn_free(e->value);
    }
    tsn_map_release(&story->by_name);
}

/* Number of the rule set and warming aside: the second run changes sets. */
static void see_transition(void *arg, const struct tsn_message *m)
{
    struct story *story = arg;
    struct tsn_transition t;
    struct tsn_buf name = TSN_BUF_INIT;

    story->records++;
    if (tsn_codec_transition_decode(m->value, m->value_len, TSN_FORM_JSON, &t, NULL)) {
        story->bad++;
        return;
    }
    tsn_labels_format(&name, t.labels);
    tsn_buf_printf(page_of(story, tsn_buf_str(&name)), "%s %s at %lld since %lld; ", tsn_alert_state_name(t.state),
                   tsn_end_reason_name(t.end_reason), (long long)(t.step_ms - T0), (long long)(t.active_at_ms - T0));
    tsn_buf_release(&name);
    tsn_transition_release(&t);
}

static void see_event(void *arg, const struct tsn_message *m)
{
    struct story *story = arg;
    struct tsn_incident_event e;

    story->records++;
    if (tsn_codec_incident_event_decode(m->value, m->value_len, TSN_FORM_JSON, &e, NULL)) {
        story->bad++;
        return;
    }
    tsn_buf_printf(page_of(story, e.snapshot.incident_id), "%d%c", (int)e.seq, e.type == TSN_INC_RESOLVED ? '!' : ' ');
    tsn_incident_event_release(&e);
}

static struct story read_story(const char *topic, int32_t partitions, void (*see)(void *, const struct tsn_message *))
{
    struct story story = { .records = 0 };

    tsn_map_init(&story.by_name);
    for (int32_t p = 0; p < partitions; p++)
        fake_kafka_each(topic, p, see, &story);
    return story;
}

static size_t count_alerts(void)
{
    struct story story = read_story("tocsin.alerts", 1, see_transition);
    size_t count = story.records;

    story_release(&story);
    return count;
}

/* ---- the runs ------------------------------------------------------------------------------ */

struct watch {
    struct tsn_app *app; /* lives for the whole run */
    int port;            /* of its metrics */
    atomic_bool over;
};

static void see_rule(const struct tsn_app_rule *rule, void *arg)
{
    *(size_t *)arg += strlen(rule->rule) + rule->evaluations % 2;
}

/* What `status`, a scraper and a supervisor ask, all the time; the metrics come by the HTTP server's own thread. */
static void *watch_main(void *arg)
{
    static const char get[] = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct watch *t = arg;
    struct tsn_app_stats *stats = tsn_calloc(1, sizeof *stats);
    size_t sum = 0;

    while (!atomic_load(&t->over)) {
        tsn_app_get_stats(t->app, stats);
        tsn_app_each_rule(t->app, see_rule, &sum);
        (void)tsn_app_failure(t->app);
        TSN_ASSERT(world_ask(t->port, get, "HTTP/1.1 200"));
        world_sleep_ms(5);
    }
    tsn_free(stats);
    return NULL;
}

/* Starts, lives for a while, stops in order. */
static void *guest(void *arg)
{
    struct world_guest *g = arg;
    struct tsn_app *app = world_start(g->world, g->slot);

    for (int i = 0; app && i < 40 && !tsn_app_failure(app); i++) {
        tsn_app_poll(app);
        world_sleep_ms(50);
    }
    tsn_app_free(&app);
    return NULL;
}

static void hurt(struct world *w, struct tsn_app *app, int second)
{
    struct tsn_error error = { 0 };

    switch (second) {
    case 45: (void)fake_kafka_fence("tocsin.detect-0"); break;
    case 70:
        world_write_rules(w, "# another text, the same rules\n");
        TSN_ASSERT(tsn_app_reload(app, &error) == TSN_OK);
        break;
    case 90: (void)fake_kafka_fence("tocsin.respond"); break;
    case 110: world_wipe_redis(w); break;
    case 140: (void)fake_kafka_fence("tocsin.ingest-0"); break;
    default: break;
    }
}

/* Feeds everything; with trouble there are guests on slot 1 meanwhile, for a while two at once. The first worker's slot stays its own: a
 * worker that is fenced too often leaves for good, as it should. */
static void feed(struct world *w, struct tsn_app *app, bool troubled)
{
    struct world_guest slot = { w, 1 };
    pthread_t threads[2];

    for (int s = 0; s < SECONDS; s++) {
        feed_second(s);
        for (int i = 0; troubled && i < 2; i++)
            if (s == 20 + 60 * i)
                TSN_ASSERT(pthread_create(&threads[i], NULL, guest, &slot) == 0);
        if (troubled)
            hurt(w, app, s);
        tsn_app_poll(app);
        world_sleep_ms(STEP_MS);
    }
    for (int i = 0; troubled && i < 2; i++)
        pthread_join(threads[i], NULL);
}

static bool all_resolved(void)
{
    struct story story = read_story("tocsin.incidents", 2, see_event);
    bool all = story.records > 0;

    tsn_map_foreach(&story.by_name, e)
        all = all && strchr(tsn_buf_str(e->value), '!');
    story_release(&story);
    return all;
}

/* Until `alerts` transitions are there (0: until time has passed the feed's end) and all incidents are over. */
static void await(struct tsn_app *app, size_t alerts)
{
    struct tsn_app_stats *stats = tsn_calloc(1, sizeof *stats);
    int64_t until_ns = tsn_mono_now().ns + DEADLINE_S * INT64_C(1000000000);
    bool done = false;

    while (!done && tsn_mono_now().ns < until_ns) {
        tsn_app_poll(app);
        tsn_app_get_stats(app, stats);
        done = (alerts ? count_alerts() >= alerts : stats->detect.watermark_ms >= T0 + (SECONDS - 10) * INT64_C(1000)) && all_resolved();
        world_sleep_ms(50);
    }
    if (tsn_app_failure(app))
        fprintf(stderr, "the worker gave up: %s\n", tsn_app_failure(app));
    tsn_free(stats);
}

static void run(struct world *w, bool troubled, size_t alerts, struct story *transitions, struct story *events)
{
    struct watch t = { .over = false };
    struct tsn_monitor *monitor;
    pthread_t watcher;

    world_begin(w, troubled ? 2 : 1);
    for (size_t i = 0; i < TSN_ARRAY_LEN(inputs); i++)
        fake_kafka_topic(inputs[i], PARTITIONS);
    if (troubled)
        fake_kafka_fail_commits(20);
    t.app = world_start(w, 0);
    TSN_ASSERT(t.app && (monitor = tsn_monitor_start(t.app, world_config(w, 0), TSN_STAGE_ALL, NULL)));
    t.port = tsn_monitor_port(monitor);
    TSN_ASSERT(pthread_create(&watcher, NULL, watch_main, &t) == 0);
    feed(w, t.app, troubled);
    await(t.app, alerts);
    atomic_store(&t.over, true);
    pthread_join(watcher, NULL);
    tsn_monitor_stop(&monitor);
    tsn_app_free(&t.app);
    *transitions = read_story("tocsin.alerts", 1, see_transition);
    *events = read_story("tocsin.incidents", 2, see_event);
}

/* ---- the judgement ------------------------------------------------------------------------- */

static size_t compare(const struct story *calm, const struct story *hurt_story)
{
    size_t wrong = calm->by_name.count != hurt_story->by_name.count;

    tsn_map_foreach(&calm->by_name, e) {
        const struct tsn_buf *other = tsn_map_get(&hurt_story->by_name, tsn_map_entry_key(e), e->key_len);

        if (other && strcmp(tsn_buf_str(e->value), tsn_buf_str(other)) == 0)
            continue;
        fprintf(stderr, "%.*s\n  undisturbed: %s\n  disturbed:   %s\n", (int)e->key_len, tsn_map_entry_key(e), tsn_buf_str(e->value),
                other ? tsn_buf_str(other) : "nothing");
        wrong++;
    }
    return wrong;
}

/* Numbers 1, 2, 3 … without a hole or a repeat, of every incident. */
static size_t out_of_sequence(const struct story *events)
{
    size_t wrong = 0;

    tsn_map_foreach(&events->by_name, e) {
        const char *text = tsn_buf_str(e->value);
        long expected = 1;

        for (char *next; *text; text = next + 1, expected++)
            if (strtol(text, &next, 10) != expected) {
                fprintf(stderr, "incident %.*s: %s\n", (int)e->key_len, tsn_map_entry_key(e), tsn_buf_str(e->value));
                wrong++;
                break;
            }
    }
    return wrong;
}

int main(void)
{
    struct story alerts[2], events[2];
    struct fake_kafka_counts counts[2];
    struct world *w = world_new();
    size_t failed = 0;

    tsn_log_level_set(TSN_LOG_WARN);
    for (int i = 0; i < 2; i++) {
        run(w, i == 1, i ? alerts[0].records : 0, &alerts[i], &events[i]);
        counts[i] = fake_kafka_counts();
        printf("%s: %zu transitions of %u alerts, %zu events of %u incidents; transactions: %zu committed, %zu aborted, %zu left open; %zu rebalances\n",
               i ? "disturbed" : "undisturbed", alerts[i].records, alerts[i].by_name.count, events[i].records, events[i].by_name.count,
               counts[i].committed, counts[i].aborted, counts[i].open, counts[i].rebalances);
    }
    failed += alerts[0].by_name.count < 3 * SERVICES || events[0].by_name.count < SERVICES || counts[1].aborted == 0;
    failed += compare(&alerts[0], &alerts[1]) > 0;
    failed += out_of_sequence(&events[0]) + out_of_sequence(&events[1]) > 0;
    failed += alerts[0].bad + alerts[1].bad + events[0].bad + events[1].bad > 0;
    failed += counts[0].open + counts[1].open > 0;
    for (int i = 0; i < 2; i++) {
        story_release(&alerts[i]);
        story_release(&events[i]);
    }
    world_free(&w);
    printf("%zu passed, %zu failed\n", 5 - failed, failed);
    return failed > 0;
}
