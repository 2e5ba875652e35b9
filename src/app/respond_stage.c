/*
 * respond_stage: the owner's loop. See respond_stage.h; takeover is in respond_take.c, publishing in respond_publish.c, what happens
 * without Redis in respond_direct.c.
 *
 * One turn: rebalances → (no Redis: try again, direct path) → publish what waits → alerts → commands → timers → pages. Publishing comes before
 * new inputs, so a full outbox is emptied first.
 *
 * Concurrency: the stage's thread owns everything of the session; stop and drain are atomics; stats are copied under their lock.
 */
#include "app/respond_int.h"

#include <stdio.h>
#include <string.h>

enum {
    POLL_MS = 5,        /* of the group: rebalances only, its partitions stay paused */
    READ_MS = 20,       /* wait for an alert when there is nothing to do */
    READ_MAX = 200,     /* inputs a turn */
    RETRY_MS = 1000,    /* between attempts to reach Redis */
    CLOCK_MS = 100,     /* how often the clock is read for timers alone */
    PAGES_MS = 1000,    /* between attempts to tell what could not be told */
    PAGES_MAX = 100, QUERY_MS = 2000
};

static bool older_than(int64_t since_ns, int64_t ms)
{
    return tsn_mono_now().ns - since_ns >= ms * 1000000;
}

#define COUNT(s, member, by)                            \
    do {                                                \
        pthread_mutex_lock(&(s)->stage->stats_lock);    \
        (s)->stage->stats.member += (by);               \
        pthread_mutex_unlock(&(s)->stage->stats_lock);  \
    } while (0)

void respond_end_session(struct respond_session *s, const struct tsn_error *why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->why = *why;
}

void respond_store_failed(struct respond_session *s, const struct tsn_error *error)
{
    s->store_ready = false;
    s->retry_ns = tsn_mono_now().ns;
    if (!s->down_since_ns)
        s->down_since_ns = s->retry_ns;
    COUNT(s, store_errors, 1);
    /* Fenced: somebody else owns Redis, so the group must say who we are. Newer format: nothing to be done here. */
    if (error->code == TSN_ERR_FENCED || error->code == TSN_ERR_UNSUPPORTED)
        respond_end_session(s, error);
    else
        tsn_log(TSN_LOG_WARN, "respond", "Redis fails; inputs wait in Kafka", "error=\"%s\"", error->message);
}

bool respond_tell(struct respond_session *s, const struct tsn_page *page)
{
    const struct tsn_respond_stage_options *o = &s->stage->opt;

    if (o->tell)
        return o->tell(o->tell_arg, page);
    tsn_log(TSN_LOG_WARN, "page", page->tell ? "tell" : "page", "level=L%d severity=%d title=\"%.200s\" key=%s", (int)page->level,
            (int)page->severity, page->title, page->dedup_key);
    return true;
}

/* ---- inputs -------------------------------------------------------------------------------- */

enum tsn_err respond_read_clock(struct respond_session *s, struct tsn_error *error)
{
    const struct tsn_respond_stage_options *o = &s->stage->opt;
    enum tsn_err err = TSN_OK;

    if (o->clock)
        s->clock_ms = o->clock(o->clock_arg);
    else
        err = tsn_store_clock(s->store, &s->clock_ms, error);
    s->clock_read_ns = tsn_mono_now().ns;
    return err;
}

/* What the direct path has told already is not told again. */
static void drop_told_pages(struct respond_session *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->effects.len; i++) {
        struct tsn_effect *e = &s->effects.items[i];

        if (e->kind == TSN_EFFECT_PAGE && respond_direct_was_told(&s->direct, e->page.dedup_key)) {
            tsn_page_release(&e->page);
            continue;
        }
        s->pages_waiting = s->pages_waiting || e->kind == TSN_EFFECT_PAGE;
        s->effects.items[kept++] = *e;
    }
    s->effects.len = kept;
}

void respond_store_input(struct respond_session *s, enum tsn_store_input_kind kind, struct tsn_respond_position before)
{
    struct tsn_store_input input = { .kind = kind, .before = before, .after = tsn_respond_position(s->core) };
    struct tsn_error error = { 0 };

    input.event_form = s->config->incidents.format == TSN_OUTPUT_AVRO ? TSN_FORM_AVRO : TSN_FORM_JSON;
    drop_told_pages(s);
    if (tsn_store_apply(s->store, &input, &s->effects, &error))
        respond_store_failed(s, &error);
    tsn_effects_clear(&s->effects);
}

/* JSON begins with a brace; Avro with the format number, which is none. */
static enum tsn_codec_form form_of(const struct tsn_message *m)
{
    return m->value_len && *(const char *)m->value == '{' ? TSN_FORM_JSON : TSN_FORM_AVRO;
}

/* False if a record of a newer format ended the session. */
static bool bad_record(struct respond_session *s, int topic, const struct tsn_message *m, const struct tsn_error *error)
{
    if (error->code == TSN_ERR_UNSUPPORTED) {
        respond_end_session(s, error);
        return false;
    }
    COUNT(s, bad_records, 1);
    tsn_log(TSN_LOG_ERROR, "respond", "a record cannot be read; it is skipped", "topic=%s offset=%lld error=\"%s\"",
            topic == ALERTS ? s->config->topics.alerts : s->config->topics.commands, (long long)m->offset, error->message);
    return true;
}

static void apply_alert(struct respond_session *s, const struct tsn_message *m)
{
    struct tsn_respond_position before = tsn_respond_position(s->core);
    struct tsn_error error = { 0 };
    struct tsn_transition t;
    bool ok = !tsn_codec_transition_decode(m->value, m->value_len, form_of(m), &t, &error);

    if (!ok && !bad_record(s, ALERTS, m, &error))
        return;
    if (ok && s->stage->opt.clock_follows_steps && s->clock_ms < t.step_ms)
        s->clock_ms = t.step_ms;
    if (ok)
        tsn_respond_transition(s->core, m->offset, s->clock_ms, &t, &s->effects);
    else
        tsn_respond_skip(s->core, false, m->offset);
    respond_store_input(s, TSN_STORE_ALERT, before);
    if (ok)
        tsn_transition_release(&t);
    COUNT(s, transitions, ok && m->offset > before.alerts); /* not what a session before had taken */
}

static void apply_command(struct respond_session *s, const struct tsn_message *m)
{
    struct tsn_respond_position before = tsn_respond_position(s->core);
    struct tsn_error error = { 0 };
    struct tsn_command c;
    bool ok = !tsn_codec_command_decode(m->value, m->value_len, form_of(m), &c, &error);

    if (!ok && !bad_record(s, COMMANDS, m, &error))
        return;
    if (ok)
        tsn_respond_command(s->core, m->offset, s->clock_ms, &c, &s->effects);
    else
        tsn_respond_skip(s->core, true, m->offset);
    respond_store_input(s, TSN_STORE_COMMAND, before);
    if (ok)
        tsn_command_release(&c);
    COUNT(s, commands, ok);
}

/* Up to READ_MAX records of one topic. The first is waited for. */
static bool read_input(struct respond_session *s, int topic, int wait_ms)
{
    int n = 0;

    for (; n < READ_MAX && s->store_ready && !s->ended; n++) {
        struct tsn_error error = { 0 };
        struct tsn_message m;
        enum tsn_err err = tsn_reader_next(s->readers[topic], n ? 0 : wait_ms, &m, &error);

        if (err == TSN_ERR_TIMEOUT)
            break;
        if (err || respond_read_clock(s, &error)) {
            if (err)
                respond_end_session(s, &error);
            else
                respond_store_failed(s, &error);
            break;
        }
        if (topic == ALERTS)
            apply_alert(s, &m);
        else
            apply_command(s, &m);
    }
    return n > 0;
}

static void apply_timers(struct respond_session *s)
{
    struct tsn_respond_position before = tsn_respond_position(s->core);
    int64_t due = tsn_respond_next_due(s->core);
    struct tsn_error error = { 0 };

    if (due == TSN_TIME_NONE)
        return;
    if (older_than(s->clock_read_ns, CLOCK_MS) && respond_read_clock(s, &error)) {
        respond_store_failed(s, &error);
        return;
    }
    if (due > s->clock_ms)
        return;
    tsn_respond_tick(s->core, s->clock_ms, &s->effects);
    respond_store_input(s, TSN_STORE_TICK, before);
}

static bool tell_stored(void *arg, const struct tsn_page *page)
{
    return respond_tell(arg, page);
}

static void tell_pages(struct respond_session *s)
{
    struct tsn_error error = { 0 };
    size_t told;

    if (s->config->respond.mode == TSN_RESPOND_SHADOW || (!s->pages_waiting && !older_than(s->pages_ns, PAGES_MS)))
        return;
    s->pages_ns = tsn_mono_now().ns;
    if (tsn_store_pages(s->store, PAGES_MAX, tell_stored, s, &told, &error)) {
        respond_store_failed(s, &error);
        return;
    }
    s->pages_waiting = told > 0; /* none told: none there, or nobody can be told: asked again after a while */
    COUNT(s, pages, told);
}

/* ---- without Redis ------------------------------------------------------------------------- */

static void direct_path(struct respond_session *s)
{
    struct tsn_error error = { 0 };
    struct tsn_message m;

    if (!s->core && respond_know_incidents(s, &error)) {
        respond_end_session(s, &error);
        return;
    }
    if (!s->readers[ALERTS]) {
        /* Never had Redis in this session: from the last published position, or else from what comes now. */
        s->readers[ALERTS] = tsn_reader_new(s->config, s->config->topics.alerts, 0,
                                            s->marked ? s->mark.position.alerts + 1 : TSN_OFFSET_END, true, &error);
        if (!s->readers[ALERTS]) {
            respond_end_session(s, &error);
            return;
        }
    }
    for (int n = 0; n < READ_MAX && !s->ended; n++) {
        struct tsn_transition t;
        enum tsn_err err = tsn_reader_next(s->readers[ALERTS], 0, &m, &error);

        if (err == TSN_ERR_TIMEOUT)
            break;
        if (err)
            respond_end_session(s, &error);
        else if (!tsn_codec_transition_decode(m.value, m.value_len, form_of(&m), &t, &error)) {
            respond_direct_transition(s, &t);
            tsn_transition_release(&t);
        }
    }
    respond_direct_flush(s);
}

static void without_store(struct respond_session *s)
{
    struct tsn_error error = { 0 };
    enum tsn_err err;

    if (!s->down_since_ns)
        s->down_since_ns = tsn_mono_now().ns;
    if (older_than(s->retry_ns, RETRY_MS)) {
        err = respond_take_store(s, &error);
        COUNT(s, takeovers, !err);
        if (!err) {
            struct tsn_respond_mark mark = tsn_store_mark(s->store);

            tsn_log(TSN_LOG_INFO, "respond", "taken over", "redis=%s generation=%lld alerts=%lld commands=%lld", tsn_store_address(s->store),
                    (long long)mark.generation, (long long)mark.position.alerts, (long long)mark.position.commands);
            s->down_since_ns = 0;
            respond_policy_apply(s);
            return;
        }
        tsn_store_disconnect(s->store);
        respond_store_failed(s, &error);
        if (s->ended)
            return;
    }
    if (s->config->respond.mode == TSN_RESPOND_LIVE && older_than(s->down_since_ns, s->config->respond.redis_grace_ms))
        direct_path(s);
    tsn_app_sleep_ms(READ_MS);
}

/* ---- the group ----------------------------------------------------------------------------- */

static void on_assign(void *arg, struct tsn_kafka_partitions *list)
{
    struct respond_session *s = arg;

    for (size_t i = 0; i < list->len; i++)
        if (list->items[i].partition == 0)
            s->assigned[list->items[i].topic] = true;
}

static void on_revoke(void *arg, const struct tsn_kafka_partitions *list, bool lost)
{
    struct respond_session *s = arg;

    TSN_UNUSED(lost); /* the generation in Redis and the transactional id fence us either way */
    for (size_t i = 0; i < list->len; i++)
        if (list->items[i].partition == 0)
            s->assigned[list->items[i].topic] = false;
}

/* Both, or none: two owners with a topic each would share incidents. */
static bool assigned(const struct respond_session *s)
{
    return s->assigned[ALERTS] && s->assigned[COMMANDS];
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void publish_stats(struct respond_session *s)
{
    struct tsn_respond_stage_stats *to = &s->stage->stats;
    struct tsn_respond_mark mark = { .generation = 0 };
    const struct tsn_respond_counters *c = s->core ? tsn_respond_counters(s->core) : NULL;
    size_t held = 0;

    if (s->store_ready) {
        mark = tsn_store_mark(s->store);
        tsn_free((void *)tsn_respond_list(s->core, &held));
    }
    pthread_mutex_lock(&s->stage->stats_lock);
    to->owner = s->producer != NULL;
    to->redis_up = s->store_ready;
    to->ready = !to->owner || to->redis_up;
    if (s->store_ready) {
        to->generation = mark.generation;
        to->alerts_applied = mark.position.alerts;
        to->commands_applied = mark.position.commands;
        to->outbox_waiting = mark.cursor - tsn_store_trimmed(s->store);
        to->incidents_open = (int64_t)held;
    }
    if (c) {
        to->opened = c->opened;
        to->resolved = c->resolved;
        to->escalated = c->escalated;
        to->breached = c->breached;
    }
    pthread_mutex_unlock(&s->stage->stats_lock);
}

/* Draining: the ends that both topics had when it began are applied, and all of it is published. */
static bool reached_ends(struct respond_session *s)
{
    if (!atomic_load(&s->stage->drain) || !s->store_ready)
        return false;
    for (int i = 0; i < 2; i++) {
        if (s->until[i] < 0)
            s->until[i] = tsn_consumer_query_end(s->consumer, i, 0, QUERY_MS);
        if (s->until[i] < 0 || tsn_reader_position(s->readers[i]) < s->until[i])
            return false;
    }
    return tsn_store_mark(s->store).cursor == tsn_store_trimmed(s->store);
}

static void owner_turn(struct respond_session *s)
{
    bool busy;

    if (!s->store_ready) {
        without_store(s);
        return;
    }
    busy = respond_publish(s);
    if (s->store_ready && !s->ended)
        busy = read_input(s, COMMANDS, 0) || busy;
    if (s->store_ready && !s->ended)
        read_input(s, ALERTS, busy ? 0 : READ_MS);
    if (s->store_ready && !s->ended)
        apply_timers(s);
    if (s->store_ready && !s->ended)
        tell_pages(s);
    s->caught_up = !s->ended && reached_ends(s);
}

static void turn(struct respond_session *s)
{
    struct tsn_message messages[8];
    struct tsn_error error = { 0 };

    if (tsn_consumer_poll(s->consumer, s->producer ? 0 : READ_MS + POLL_MS, messages, TSN_ARRAY_LEN(messages), &error) < 0) {
        respond_end_session(s, &error);
        return;
    }
    if (s->producer && !assigned(s))
        respond_drop_owner(s);
    if (!s->producer && assigned(s) && respond_take_kafka(s, &error))
        respond_end_session(s, &error);
    respond_policy_turn(s);
    if (s->producer && !s->ended)
        owner_turn(s);
}

static enum tsn_err open_session(struct respond_session *s, struct tsn_error *error)
{
    char *group = tsn_app_name(s->config, "respond", false), *id = tsn_app_name(s->config, "respond", true);
    const char *topics[] = { s->config->topics.alerts, s->config->topics.commands };
    struct tsn_consumer_options member = { .config = s->config, .group = group, .instance_id = id, .topics = topics, .topic_count = 2,
                                           .eager = true, .paused = true, .assign = on_assign, .revoke = on_revoke, .arg = s };

    s->store = tsn_store_new(s->config, error);
    if (s->store)
        s->consumer = tsn_consumer_new(&member, error);
    tsn_free(group);
    tsn_free(id);
    return s->consumer ? TSN_OK : error->code;
}

static void run_session(struct respond_session *s)
{
    int64_t stats_ns = 0;

    while (!s->ended && !s->caught_up && !atomic_load(&s->stage->stop)) {
        turn(s);
        if (older_than(stats_ns, 200)) {
            stats_ns = tsn_mono_now().ns;
            publish_stats(s);
        }
    }
    if (!s->ended && s->producer)
        respond_publish(s); /* an ordered stop leaves nothing in the outbox */
    publish_stats(s);
}

/* True when the stage leaves for good; *error then says why, or has code OK. */
static bool one_session(struct tsn_respond_stage *stage, struct fence_guard *guard, struct tsn_error *error)
{
    struct respond_session *s = tsn_calloc(1, sizeof *s);
    bool through, fenced;

    s->stage = stage;
    s->config = stage->config;
    s->until[0] = s->until[1] = -1;
    respond_direct_init(&s->direct);
    if (open_session(s, error))
        respond_end_session(s, error);
    else
        run_session(s);
    *error = s->why;
    through = s->caught_up || atomic_load(&stage->stop);
    respond_drop_owner(s);
    tsn_consumer_free(&s->consumer);
    tsn_store_free(&s->store);
    respond_direct_release(&s->direct);
    tsn_effects_release(&s->effects);
    tsn_buf_release(&s->bytes);
    fenced = error->code == TSN_ERR_FENCED;
    pthread_mutex_lock(&stage->stats_lock);
    stage->stats.sessions++;
    stage->stats.fenced += fenced;
    stage->stats.owner = stage->stats.ready = false;
    pthread_mutex_unlock(&stage->stats_lock);
    tsn_free(s);
    if (through)
        *error = (struct tsn_error){ .code = TSN_OK };
    else
        tsn_log(TSN_LOG_WARN, "respond", "session ended; taking over anew", "error=\"%s\"", error->message);
    return through || error->code == TSN_ERR_UNSUPPORTED || (fenced && tsn_fence_guard_hit(guard));
}

enum tsn_err tsn_respond_stage_run(struct tsn_respond_stage *stage, struct tsn_error *error)
{
    struct fence_guard guard = { { 0 } };

    tsn_kafka_give_up_on(&stage->stop);
    while (!one_session(stage, &guard, error))
        tsn_app_sleep_ms(200 + (int)(tsn_mono_now().ns / 1000 % 800));
    return error->code;
}

/* ---- life ---------------------------------------------------------------------------------- */

struct tsn_respond_stage *tsn_respond_stage_new(const struct tsn_respond_stage_options *options, struct tsn_error *error)
{
    struct tsn_respond_stage *stage = tsn_calloc(1, sizeof *stage);

    stage->opt = *options;
    stage->config = options->config;
    stage->policy = options->policy;
    pthread_mutex_init(&stage->stats_lock, NULL);
    if (stage->policy)
        return stage;
    stage->loaded = respond_policy_load(stage->config, error);
    if (stage->loaded)
        stage->policy = &stage->loaded->policy;
    else
        tsn_respond_stage_free(&stage);
    return stage;
}

void tsn_respond_stage_stop(struct tsn_respond_stage *stage)
{
    atomic_store(&stage->stop, true);
}

void tsn_respond_stage_drain(struct tsn_respond_stage *stage)
{
    atomic_store(&stage->drain, true);
}

void tsn_respond_stage_get_stats(struct tsn_respond_stage *stage, struct tsn_respond_stage_stats *stats)
{
    pthread_mutex_lock(&stage->stats_lock);
    *stats = stage->stats;
    pthread_mutex_unlock(&stage->stats_lock);
}

void tsn_respond_stage_free(struct tsn_respond_stage **stage)
{
    if (!*stage)
        return;
    respond_policy_free(&(*stage)->loaded);
    respond_policy_free(&(*stage)->next);
    pthread_mutex_destroy(&(*stage)->stats_lock);
    tsn_free(*stage);
    *stage = NULL;
}
