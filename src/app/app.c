/* app: see tocsin/app.h. Start, stop, reload; what the stages share. */
#include "app/app_int.h"
#include "app/respond_stage.h"
#include "tocsin/ingest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FILES_MS = 5000, STOP_TURN_MS = 2500, STOP_ALL_MS = 8500 };

void tsn_app_sleep_ms(int ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

char *tsn_app_name(const struct tsn_config *config, const char *name, bool with_slot)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_printf(&out, "%s%s", config->worker.group_prefix, name);
    if (with_slot)
        tsn_buf_printf(&out, "-%lld", (long long)config->worker.slot);
    return tsn_buf_take(&out, NULL);
}

void tsn_stage_fail(struct stage *stage, const struct tsn_error *error)
{
    if (error->code == TSN_ERR_FENCED)
        snprintf(stage->failure, sizeof stage->failure, "slot %lld is used twice, or this worker was frozen again and again: %.300s",
                 (long long)stage->app->config->worker.slot, error->message);
    else
        snprintf(stage->failure, sizeof stage->failure, "%s", error->message);
    tsn_log(TSN_LOG_ERROR, "app", "a stage leaves for good", "error=\"%s\"", stage->failure);
}

bool tsn_fence_guard_hit(struct fence_guard *guard)
{
    int64_t now_ns = tsn_mono_now().ns;
    bool hit = guard->at_ns[0] && now_ns - guard->at_ns[0] < INT64_C(60000000000);

    memmove(guard->at_ns, guard->at_ns + 1, 2 * sizeof guard->at_ns[0]);
    guard->at_ns[2] = now_ns;
    return hit;
}

static char *read_schema_file(void *arg, const char *path, size_t *len, struct tsn_error *error)
{
    char *full = tsn_config_path(arg, path);
    char *text = tsn_app_read_file(full, 1 << 20, len, error);

    tsn_free(full);
    return text;
}

void tsn_app_ingest_sources(struct tsn_app *app, struct tsn_ingest_options *options)
{
    options->read_file = read_schema_file;
    options->read_file_arg = (void *)(uintptr_t)app->config;
    options->schema = app->registry ? tsn_registry_schema : NULL;
    options->schema_arg = app->registry;
}

void tsn_rule_stats_release(struct rule_stats *stats)
{
    for (size_t i = 0; i < stats->len; i++) {
        tsn_free(stats->items[i].group);
        tsn_free(stats->items[i].rule);
        tsn_free(stats->items[i].file);
    }
    tsn_vec_release(stats);
}

/* ---- rule files ---------------------------------------------------------------------------- */

static struct tsn_u128 hash_sources(const struct tsn_rule_sources *sources)
{
    struct tsn_buf all = TSN_BUF_INIT;
    struct tsn_u128 hash;

    for (size_t i = 0; i < sources->len; i++)
        tsn_buf_printf(&all, "%s\n%zu\n%s\n", sources->items[i].file, sources->items[i].len, sources->items[i].text);
    hash = tsn_hash128(tsn_buf_str(&all), all.len);
    tsn_buf_release(&all);
    return hash;
}

static enum tsn_err publish_files(struct tsn_app *app, bool first, struct tsn_error *error)
{
    struct tsn_rule_sources sources = { 0 };
    int64_t number;
    enum tsn_err err = tsn_app_read_rules(app->config, &sources, error);

    if (err)
        return err;
    app->files_hash = hash_sources(&sources);
    err = tsn_rule_book_publish(app->book, app->config, &sources, first, &number, error);
    tsn_rule_sources_release(&sources);
    return err;
}

enum tsn_err tsn_app_reload(struct tsn_app *app, struct tsn_error *error)
{
    enum tsn_err err = app->opt.stages & (TSN_STAGE_INGEST | TSN_STAGE_DETECT) ? publish_files(app, false, error) : TSN_OK;

    return !err && app->responder ? tsn_respond_stage_reload(app->responder, error) : err;
}

/* Files are read, not stat'ed: a mounted config map changes by a link, and an editor writes twice. */
static void watch_files(struct tsn_app *app)
{
    struct tsn_rule_sources sources = { 0 };
    struct tsn_error error = { 0 };

    if (tsn_mono_now().ns - app->files_checked_ns < FILES_MS * INT64_C(1000000))
        return;
    app->files_checked_ns = tsn_mono_now().ns;
    if (tsn_app_read_rules(app->config, &sources, &error))
        return;
    if (!tsn_u128_equal(hash_sources(&sources), app->files_hash) && tsn_app_reload(app, &error))
        tsn_log(TSN_LOG_ERROR, "rules", "changed rule files are not taken; the set before stays in force", "error=\"%s\"", error.message);
    tsn_rule_sources_release(&sources);
}

static void drain_responder(struct tsn_app *app)
{
    if (!atomic_exchange(&app->respond.drain, true) && app->responder)
        tsn_respond_stage_drain(app->responder);
}

void tsn_app_poll(struct tsn_app *app)
{
    struct tsn_error error = { 0 };

    if (tsn_rule_book_refresh(app->book, &error))
        tsn_log(TSN_LOG_WARN, "rules", "topic rules cannot be read", "error=\"%s\"", error.message);
    watch_files(app);
    if (!app->opt.until_end)
        return;
    if (!app->ingest.started || atomic_load(&app->ingest.done))
        atomic_store(&app->detect.drain, true);
    if (atomic_load(&app->detect.drain) && (!app->detect.started || atomic_load(&app->detect.done)))
        drain_responder(app);
}

/* ---- life ---------------------------------------------------------------------------------- */

static enum tsn_err need_topics(struct tsn_app *app, struct tsn_error *error)
{
    const struct tsn_config *c = app->config;
    const char *topics[] = { c->topics.samples, c->topics.state, c->topics.rules, c->topics.templates, c->topics.alerts, c->topics.commands,
                             c->topics.incidents, c->topics.respond, c->topics.deadletter };

    for (size_t i = 0; i < TSN_ARRAY_LEN(topics); i++) {
        int32_t count = tsn_kafka_partition_count(c, topics[i], error);

        if (count < 0)
            return error->code;
        if (count == 0)
            return tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s is missing: run `tocsin topics apply`", topics[i]);
        if (i == 0)
            app->samples_partitions = count;
        if (i == 1 && count != app->samples_partitions)
            return tsn_error_set(error, TSN_ERR_INVALID, "topic %s has %d partitions and %s has %d; they must be equal", topics[1], count,
                                 topics[0], app->samples_partitions);
    }
    return TSN_OK;
}

static enum tsn_err new_responder(struct tsn_app *app, struct tsn_error *error)
{
    struct tsn_respond_stage_options options = { .config = app->config, .clock = app->opt.incident_clock,
                                                 .clock_follows_steps = app->opt.incident_clock_follows_steps,
                                                 .clock_arg = app->opt.incident_clock_arg };

    app->responder = tsn_respond_stage_new(&options, error);
    return app->responder ? TSN_OK : error->code;
}

static void *respond_stage_main(void *arg)
{
    struct stage *stage = arg;
    struct tsn_error error = { 0 };

    if (tsn_respond_stage_run(stage->app->responder, &error))
        tsn_stage_fail(stage, &error);
    atomic_store(&stage->done, true);
    return NULL;
}

struct tsn_app *tsn_app_new(const struct tsn_app_options *options, struct tsn_error *error)
{
    struct tsn_app *app = tsn_calloc(1, sizeof *app);

    app->opt = *options;
    app->config = options->config;
    app->stats = tsn_calloc(1, sizeof *app->stats);
    app->stats->detect.watermark_ms = TSN_TIME_NONE;
    pthread_mutex_init(&app->stats_lock, NULL);
    app->ingest.app = app->detect.app = app->respond.app = app;
    if (*app->config->registry.url && !(app->registry = tsn_registry_new(app->config, error)))
        tsn_app_free(&app);
    else if (need_topics(app, error) || !(app->book = tsn_rule_book_new(app->config, error)) ||
        ((options->stages & (TSN_STAGE_INGEST | TSN_STAGE_DETECT)) && publish_files(app, true, error)) ||
        ((options->stages & TSN_STAGE_RESPOND) && new_responder(app, error)))
        tsn_app_free(&app);
    return app;
}

static void start_stage(struct stage *stage, void *(*run)(void *))
{
    stage->started = true;
    TSN_ASSERT(pthread_create(&stage->thread, NULL, run, stage) == 0);
}

enum tsn_err tsn_app_start(struct tsn_app *app, struct tsn_error *error)
{
    TSN_UNUSED(error);
    pthread_mutex_lock(&app->stats_lock);
    app->stats->ingest.running = app->opt.stages & TSN_STAGE_INGEST;
    app->stats->detect.running = app->opt.stages & TSN_STAGE_DETECT;
    pthread_mutex_unlock(&app->stats_lock);
    if (app->responder)
        start_stage(&app->respond, respond_stage_main);
    if (app->opt.stages & TSN_STAGE_DETECT)
        start_stage(&app->detect, tsn_detect_stage_main);
    if (app->opt.stages & TSN_STAGE_INGEST)
        start_stage(&app->ingest, tsn_ingest_stage_main);
    return TSN_OK;
}

bool tsn_app_finished(const struct tsn_app *app)
{
    const struct stage *stages[] = { &app->ingest, &app->detect, &app->respond };

    for (size_t i = 0; i < TSN_ARRAY_LEN(stages); i++)
        if (stages[i]->started && !atomic_load(&stages[i]->done))
            return false;
    return true;
}

const char *tsn_app_failure(struct tsn_app *app)
{
    struct stage *stages[] = { &app->ingest, &app->detect, &app->respond };

    for (size_t i = 0; i < TSN_ARRAY_LEN(stages); i++)
        if (atomic_load(&stages[i]->done) && stages[i]->failure[0])
            return stages[i]->failure;
    return NULL;
}

/* Asks the stage to leave, and gives it its turn alone before the next is asked. */
static void ask_to_stop(struct stage *stage)
{
    if (!stage->started || stage->left)
        return;
    stage->asked_ns = tsn_mono_now().ns;
    atomic_store(&stage->stop, true);
    if (stage == &stage->app->respond && stage->app->responder)
        tsn_respond_stage_stop(stage->app->responder);
    while (!atomic_load(&stage->done) && tsn_mono_now().ns - stage->asked_ns < STOP_TURN_MS * INT64_C(1000000))
        tsn_app_sleep_ms(5);
}

static void join_stage(struct stage *stage, const char *name, int64_t until_ns)
{
    if (!stage->started || stage->left)
        return;
    while (!atomic_load(&stage->done) && tsn_mono_now().ns < until_ns)
        tsn_app_sleep_ms(5);
    stage->left = !atomic_load(&stage->done);
    if (stage->left) {
        tsn_log(TSN_LOG_WARN, "app", "a stage does not end: a call to the broker does not come back; it is left as it is", "stage=%s", name);
        return;
    }
    pthread_join(stage->thread, NULL);
    stage->started = false;
    tsn_log(TSN_LOG_INFO, "app", "stage stopped", "stage=%s took_ms=%lld", name, (long long)((tsn_mono_now().ns - stage->asked_ns) / 1000000));
}

/* In the data's order, so that each stage still sees what the one before it sent last. A stage that waits for a broker which is away overlaps with
 * the next: whatever it has open ends within about 5 s (a last commit, an abort, the clients), so that the whole stays under 10 s. A broker that takes
 * connections and answers nothing makes calls of librdkafka outlast their own time-outs; a stage in one is left, as a crash would leave it. */
bool tsn_app_stop(struct tsn_app *app)
{
    int64_t until_ns = tsn_mono_now().ns + STOP_ALL_MS * INT64_C(1000000);

    ask_to_stop(&app->ingest);
    ask_to_stop(&app->detect);
    ask_to_stop(&app->respond);
    join_stage(&app->ingest, "ingest", until_ns);
    join_stage(&app->detect, "detect", until_ns);
    join_stage(&app->respond, "respond", until_ns);
    return !app->ingest.left && !app->detect.left && !app->respond.left;
}

void tsn_app_free(struct tsn_app **appp)
{
    struct tsn_app *app = *appp;

    *appp = NULL;
    if (!app || !tsn_app_stop(app))
        return;
    tsn_respond_stage_free(&app->responder);
    tsn_rule_book_free(&app->book);
    tsn_registry_free(&app->registry);
    pthread_mutex_destroy(&app->stats_lock);
    tsn_free(app->stats);
    tsn_rule_stats_release(&app->rules);
    tsn_free(app);
}

static void add_respond_stats(struct tsn_app *app, struct tsn_app_stats *stats)
{
    struct tsn_respond_stage_stats from;

    if (!app->responder)
        return;
    tsn_respond_stage_get_stats(app->responder, &from);
    stats->respond.running = true;
    stats->respond.ready = from.ready;
    stats->respond.redis_up = from.redis_up;
    stats->respond.transitions = from.transitions;
    stats->respond.commands = from.commands;
    stats->respond.events = from.events;
    stats->respond.incidents_open = (uint64_t)from.incidents_open;
    stats->respond.opened = from.opened;
    stats->respond.commits = from.transactions;
    stats->respond.sessions = from.sessions;
    stats->respond.bad_records = from.bad_records;
}

void tsn_app_get_stats(struct tsn_app *app, struct tsn_app_stats *stats)
{
    pthread_mutex_lock(&app->stats_lock);
    *stats = *app->stats;
    pthread_mutex_unlock(&app->stats_lock);
    add_respond_stats(app, stats);
}

void tsn_app_each_rule(struct tsn_app *app, void (*visit)(const struct tsn_app_rule *rule, void *arg), void *arg)
{
    pthread_mutex_lock(&app->stats_lock);
    for (size_t i = 0; i < app->rules.len; i++)
        visit(&app->rules.items[i], arg);
    pthread_mutex_unlock(&app->stats_lock);
}
