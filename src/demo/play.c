/*
 * play: the whole demo in one process. See play.h for the threads.
 *
 * Order of start: Redis (forks, before any thread), broker, topics, stages, readers, feeder. It ends when the feeder is through, DETECT's event
 * time has reached the end, RESPOND has taken every transition, and either all that is expected was seen or nothing more has come for a
 * while. Stop order: feeder, stages (INGEST, DETECT, RESPOND), readers, broker, Redis.
 */
#include "demo/play.h"

#include "demo/view.h"
#include "tocsin/codec.h"
#include "tocsin/kafka.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    POLL_APP_MS = 500, STATUS_MS = 250,
    END_SLACK_MS = 30000,  /* event time ends this much before the day: last scrapes, out-of-orderness, a step */
    QUIET_MS = 3000,       /* after the end: nothing more comes */
    STALL_MS = 90000,      /* no progress at all: something is broken */
};

struct play {
    const struct tsn_demo_options *opt;
    struct demo_cluster cluster;
    struct tsn_demo *demo;
    struct tsn_demo_judge *judge;
    struct demo_view view;
    struct tsn_app *app;
    struct tsn_app_stats *stats;
    struct tsn_reader *alerts, *incidents;
    struct incident_clock clock;
    struct feed feed;
    int64_t began_ns, polled_ns, status_ns, news_ns, progress_ns, progress_ms, rate_ns, rate_ms;
    double sim_per_s;
    int64_t firing, open;
    bool interrupted;
};

static bool older_than(int64_t since_ns, int64_t ms)
{
    return tsn_mono_now().ns - since_ns >= ms * 1000000;
}

/* ---- the incident clock --------------------------------------------------------------------- */

int64_t incident_clock_read(void *arg)
{
    struct incident_clock *c = arg;
    int64_t now_ms;

    tsn_app_get_stats(c->app, c->stats);
    now_ms = c->stats->detect.watermark_ms;
    if (c->stats->detect.transitions <= c->stats->respond.transitions && now_ms > c->last_ms)
        c->last_ms = now_ms;
    return c->last_ms;
}

/* ---- reading what comes out ---------------------------------------------------------------- */

static enum tsn_codec_form form_of(const struct tsn_message *m)
{
    return m->value_len && *(const char *)m->value == '{' ? TSN_FORM_JSON : TSN_FORM_AVRO;
}

static enum tsn_err take_alert(struct play *p, const struct tsn_message *m, struct tsn_error *error)
{
    struct tsn_transition t;

    if (tsn_codec_transition_decode(m->value, m->value_len, form_of(m), &t, error))
        return error->code;
    tsn_demo_judge_alert(p->judge, &t);
    p->firing += (t.state == TSN_ALERT_FIRING) - (t.state == TSN_ALERT_RESOLVED && t.was == TSN_ALERT_FIRING);
    if (t.state != TSN_ALERT_PENDING)
        demo_view_caption(&p->view, tsn_demo_caption(p->demo, t.step_ms));
    demo_view_alert(&p->view, &t);
    tsn_transition_release(&t);
    return TSN_OK;
}

static enum tsn_err take_incident(struct play *p, const struct tsn_message *m, struct tsn_error *error)
{
    struct tsn_incident_event e;

    if (tsn_codec_incident_event_decode(m->value, m->value_len, form_of(m), &e, error))
        return error->code;
    if (tsn_demo_judge_incident(p->judge, &e)) {
        p->open += (e.type == TSN_INC_OPENED || e.type == TSN_INC_REOPENED) - (e.type == TSN_INC_RESOLVED);
        demo_view_incident(&p->view, &e);
    }
    tsn_incident_event_release(&e);
    return TSN_OK;
}

/* All that is there now; waits up to wait_ms for the first. */
static enum tsn_err drain(struct play *p, struct tsn_reader *reader, int wait_ms, enum tsn_err (*take)(struct play *, const struct tsn_message *, struct tsn_error *),
                          struct tsn_error *error)
{
    struct tsn_message m;
    enum tsn_err err;

    while (!(err = tsn_reader_next(reader, wait_ms, &m, error))) {
        wait_ms = 0;
        p->news_ns = tsn_mono_now().ns;
        if ((err = take(p, &m, error)))
            return err;
    }
    return err == TSN_ERR_TIMEOUT ? TSN_OK : err;
}

/* ---- the view ----------------------------------------------------------------------------- */

static void show_status(struct play *p)
{
    struct demo_status s = { .event_time_ms = p->stats->detect.watermark_ms, .events = atomic_load(&p->feed.events),
                             .series = p->stats->detect.series, .firing = (uint64_t)p->firing, .open = (uint64_t)p->open };
    int64_t sent_ms;

    if (s.event_time_ms == TSN_TIME_NONE)
        return;
    sent_ms = atomic_load(&p->feed.event_time_ms);
    if (older_than(p->rate_ns, 1000)) {
        if (p->rate_ns)
            p->sim_per_s = (double)(sent_ms - p->rate_ms) * 1e6 / (double)(tsn_mono_now().ns - p->rate_ns);
        p->rate_ns = tsn_mono_now().ns;
        p->rate_ms = sent_ms;
    }
    s.sim_per_s = p->sim_per_s;
    pthread_mutex_lock(&p->feed.lock);
    memcpy(s.gauges, p->feed.gauges, sizeof s.gauges);
    pthread_mutex_unlock(&p->feed.lock);
    demo_view_status(&p->view, &s, tsn_demo_caption(p->demo, s.event_time_ms));
}

/* ---- the end ------------------------------------------------------------------------------ */

static bool all_seen(const struct play *p)
{
    struct tsn_demo_verdict v;
    bool seen;

    tsn_demo_judge_verdict(p->judge, &v);
    seen = v.seen == v.expected;
    tsn_demo_verdict_release(&v);
    return seen;
}

static bool over(struct play *p)
{
    if (!atomic_load(&p->feed.done) || p->stats->detect.watermark_ms == TSN_TIME_NONE ||
        p->stats->detect.watermark_ms < tsn_demo_end_ms(p->demo) - END_SLACK_MS ||
        p->stats->respond.transitions < p->stats->detect.transitions)
        return false;
    return older_than(p->news_ns, all_seen(p) ? QUIET_MS / 3 : QUIET_MS);
}

static enum tsn_err troubles(struct play *p, struct tsn_error *error)
{
    const char *failure = tsn_app_failure(p->app);
    int64_t at_ms = p->stats->detect.watermark_ms;

    if (failure)
        return tsn_error_set(error, TSN_ERR_INTERNAL, "a stage gave up: %s", failure);
    pthread_mutex_lock(&p->feed.lock);
    if (p->feed.failed)
        *error = p->feed.error;
    pthread_mutex_unlock(&p->feed.lock);
    if (error->code)
        return error->code;
    if (at_ms != p->progress_ms || !p->progress_ns) {
        p->progress_ms = at_ms;
        p->progress_ns = tsn_mono_now().ns;
    }
    /* A scrape comes every 15 s of event time: at a low speed that is the least progress there can be. */
    if (older_than(p->progress_ns, STALL_MS) && (p->opt->speed <= 0 || p->opt->speed > 1 || older_than(p->progress_ns, (int64_t)(STALL_MS / p->opt->speed))))
        return tsn_error_set(error, TSN_ERR_TIMEOUT, "event time has not moved for %d s", STALL_MS / 1000);
    return TSN_OK;
}

static enum tsn_err turn(struct play *p, const sigset_t *signals, struct tsn_error *error)
{
    static const struct timespec now = { 0, 0 };

    if (sigtimedwait(signals, NULL, &now) > 0)
        p->interrupted = true;
    if (drain(p, p->alerts, 10, take_alert, error) || drain(p, p->incidents, 0, take_incident, error))
        return error->code;
    if (older_than(p->polled_ns, POLL_APP_MS)) {
        p->polled_ns = tsn_mono_now().ns;
        tsn_app_poll(p->app);
    }
    if (older_than(p->status_ns, STATUS_MS)) {
        p->status_ns = tsn_mono_now().ns;
        tsn_app_get_stats(p->app, p->stats);
        show_status(p);
    }
    *error = (struct tsn_error){ 0 };
    return troubles(p, error);
}

/* ---- life --------------------------------------------------------------------------------- */

static enum tsn_err start(struct play *p, struct tsn_error *error)
{
    const struct tsn_config *config = &p->cluster.config;
    struct tsn_app_options options = { .config = config, .stages = TSN_STAGE_ALL, .incident_clock = incident_clock_read,
                                       .incident_clock_arg = &p->clock, .incident_clock_follows_steps = true };

    if (!(p->app = tsn_app_new(&options, error)))
        return error->code;
    p->clock.app = p->app;
    p->clock.last_ms = tsn_demo_start_ms(p->demo);
    p->clock.stats = tsn_calloc(1, sizeof *p->clock.stats);
    p->alerts = tsn_reader_new(config, config->topics.alerts, 0, TSN_OFFSET_BEGINNING, true, error);
    p->incidents = p->alerts ? tsn_reader_new(config, config->topics.incidents, 0, TSN_OFFSET_BEGINNING, true, error) : NULL;
    if (!p->incidents || tsn_app_start(p->app, error))
        return error->code;
    p->feed = (struct feed){ .cluster = &p->cluster, .app = p->app, .demo = p->demo, .speed = p->opt->speed };
    feed_start(&p->feed);
    return TSN_OK;
}

static void play_out(struct play *p, const sigset_t *signals, struct tsn_error *error)
{
    p->began_ns = p->news_ns = tsn_mono_now().ns;
    while (!turn(p, signals, error) && !p->interrupted && !over(p))
        continue;
    feed_stop(&p->feed);
}

static struct demo_end about(struct play *p)
{
    return (struct demo_end){ .scenario = p->opt->scenario, .broker = p->opt->brokers ? p->opt->brokers : "mock", .topics = p->cluster.prefix,
                              .start_ms = tsn_demo_start_ms(p->demo), .end_ms = tsn_demo_end_ms(p->demo), .seed = p->opt->seed,
                              .events = atomic_load(&p->feed.events), .interrupted = p->interrupted,
                              .elapsed_s = (double)(tsn_mono_now().ns - p->began_ns) / 1e9 };
}

static enum tsn_err finish(struct play *p, bool *as_expected, const struct tsn_error *error)
{
    struct demo_end end;
    struct tsn_demo_verdict v;

    if (error->code)
        return error->code;
    end = about(p);
    tsn_demo_judge_verdict(p->judge, &v);
    *as_expected = !v.missing.len && !v.unexpected.len && !p->interrupted;
    demo_view_end(&p->view, &end, &v);
    tsn_demo_verdict_release(&v);
    return TSN_OK;
}

static void release(struct play *p)
{
    if (p->app)
        tsn_app_stop(p->app);
    tsn_reader_free(&p->alerts);
    tsn_reader_free(&p->incidents);
    tsn_app_free(&p->app);
    demo_cluster_stop(&p->cluster);
    tsn_demo_judge_free(&p->judge);
    tsn_demo_free(&p->demo);
    tsn_free(p->clock.stats);
    tsn_free(p->stats);
}

enum tsn_err tsn_demo_play(const struct tsn_demo_options *options, bool *as_expected, struct tsn_error *error)
{
    struct play p = { .opt = options };
    struct demo_end begin;
    sigset_t signals;
    enum tsn_err err;

    *as_expected = false;
    *error = (struct tsn_error){ 0 };
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    p.stats = tsn_calloc(1, sizeof *p.stats);
    p.stats->detect.watermark_ms = TSN_TIME_NONE;
    demo_view_init(&p.view, options->json);
    if ((p.demo = tsn_demo_new(options->seed, options->scenario, error)) && !demo_cluster_start(&p.cluster, options, error)) {
        p.judge = tsn_demo_judge_new(p.demo);
        begin = about(&p);
        demo_view_begin(&p.view, &begin, options->speed);
        if (!start(&p, error)) {
            play_out(&p, &signals, error);
            tsn_app_stop(p.app);
        }
    }
    err = error->code ? error->code : finish(&p, as_expected, error);
    release(&p);
    return err;
}
