/*
 * lib_respond: RESPOND in the simulated cluster, around the real core, with a model of the store in
 * Redis: one atomic script an input, under a generation and under what the caller believes is
 * stored; an outbox; one transaction that publishes it with the mark; trimming. Redis may be wiped,
 * put back to what it was, slow (a call whose outcome nobody knows) and away (the direct path). Alerts, commands and
 * timers are taken in any order; the incident clock is Redis's, which leaps at times. What was taken in which order, and at which
 * reading of the clock, is noted where it is published: an undisturbed RESPOND is then given the same (lib_people.c).
 */
#include "sim_actors.h"

#include <string.h>

#include "tocsin/codec.h"

/* ---- taking over --------------------------------------------------------------------------- */

/* The run is a number here and text in the mark. */
static int64_t mark_run(const struct sim_responder *r)
{
    int64_t run = 0;

    (void)tsn_parse_i64(r->mark.run, strlen(r->mark.run), &run);
    return run;
}

static void rebuild(struct sim_world *s)
{
    struct sim_responder *r = &s->responder;
    int64_t generation = r->store.present ? r->store.generation : 0;

    sim_note(s, SIM_E_REDIS_REBUILT);
    sim_store_clear(&r->store);
    r->store.present = true;
    r->store.run = ++r->runs;
    r->store.generation = generation > r->mark.generation ? generation : r->mark.generation;
    r->store.cursor = r->store.trimmed = r->marked ? r->mark.cursor : 0;
    r->store.position =
        r->marked ? r->mark.position : (struct tsn_respond_position){ -1, -1, TSN_TIME_NONE };
    tsn_map_release(&r->store.incidents);
    sim_map_copy(&r->store.incidents, &r->topic);
}

static bool behind(const struct sim_responder *r)
{
    return !r->store.present ||
           (r->marked && (r->store.run != mark_run(r) || r->store.generation < r->mark.generation ||
                          r->store.cursor < r->mark.cursor));
}

/* The incident clock went back over a takeover: Redis lost what it knew, and its clock leapt. What was over when a page was named may not
 * be over now, and the alert joins it: the page told of the right thing under another name. */
static void excuse_names(struct sim_world *s)
{
    struct sim_responder *r = &s->responder;
    int64_t clock_ms = s->now + r->skew_ms;

    if (r->store.position.clock_ms > clock_ms)
        clock_ms = r->store.position.clock_ms;
    tsn_map_foreach(&r->told, e) if ((int64_t)(intptr_t)e->value > clock_ms)
    {
        sim_note(s, SIM_E_DIRECT_EXCUSED);
        tsn_map_del(&r->told, tsn_map_entry_key(e), e->key_len);
    }
}

static void forget_commands(const struct sim_world *s, struct tsn_respond_incident *in)
{
    if (s->cluster.broken == SIM_FORGET_COMMANDS)
        tsn_texts_release(&in->commands);
}

static void take_store(struct sim_world *s, struct sim_session *o)
{
    struct tsn_respond_options options = { .shadow = false };
    struct sim_responder *r = &s->responder;
    struct tsn_error error;

    if (behind(r) && (s->cluster.broken != SIM_BLIND_RESTORE || !r->store.present))
        rebuild(s);
    r->store.generation++;
    tsn_respond_free(&o->core);
    o->core = tsn_respond_new(&s->policy, &options);
    tsn_map_foreach(&r->store.incidents, e)
    {
        const struct tsn_buf *bytes = e->value;
        struct tsn_respond_incident in;

        if (tsn_respond_incident_decode(bytes->data, bytes->len, &in, &error))
            sim_fail(s, "respond: %s", error.message);
        forget_commands(s, &in);
        if (!s->failure[0] && tsn_respond_restore(o->core, &in, &error))
            sim_fail(s, "respond: %s", error.message);
        tsn_respond_incident_release(&in);
    }
    excuse_names(s);
    tsn_respond_set_position(o->core, r->store.position);
    if (r->marked && s->cluster.broken != SIM_BLIND_RESTORE)
        sim_store_trim(&r->store, r->mark.cursor);
    o->run = r->store.run;
    o->generation = r->store.generation;
    o->cursor = r->store.cursor;
    o->connected = true;
    o->lost_ms = TSN_TIME_NONE;
}

static void forget_groups(struct sim_session *o)
{
    tsn_map_foreach(&o->groups, e) tsn_free(e->value);
    tsn_map_release(&o->groups);
    tsn_map_init(&o->groups);
}

static void store_lost(struct sim_world *s, struct sim_session *o)
{
    forget_groups(o);
    if (o->connected || o->lost_ms == TSN_TIME_NONE)
        o->lost_ms = s->now;
    o->direct_next = o->core ? tsn_respond_position(o->core).alerts + 1 : 0;
    o->connected = false;
}

/* Another process becomes the owner (or the same, after a crash); with `ghost` the old one does not
 * know. */
static void new_owner(struct sim_world *s, bool ghost)
{
    struct sim_responder *r = &s->responder;
    struct sim_session *o;

    if (!ghost)
        r->sessions[r->owner].alive = false;
    r->owner ^= 1;
    o = &r->sessions[r->owner];
    tsn_respond_free(&o->core);
    forget_groups(o);
    *o = (struct sim_session){ .alive = true, .epoch = ++r->epoch, .lost_ms = TSN_TIME_NONE };
    tsn_map_init(&o->groups);
    store_lost(s, o);
}

void sim_responder_start(struct sim_world *s)
{
    tsn_map_init(&s->responder.store.incidents);
    tsn_map_init(&s->responder.snapshot.incidents);
    tsn_map_init(&s->responder.topic);
    tsn_map_init(&s->responder.told);
    for (int i = 0; i < 2; i++)
        tsn_map_init(&s->responder.sessions[i].groups);
    new_owner(s, false);
}

void sim_responder_release(struct sim_responder *r)
{
    sim_store_clear(&r->store);
    sim_store_clear(&r->snapshot);
    sim_map_release(&r->topic);
    tsn_map_release(&r->told);
    for (int i = 0; i < 2; i++) {
        forget_groups(&r->sessions[i]);
        tsn_respond_free(&r->sessions[i].core);
    }
    sim_texts_clear(&r->published);
    tsn_vec_release(&r->journal);
}

/* ---- inputs -------------------------------------------------------------------------------- */

bool sim_decode_alert(struct sim_world *s, size_t at, struct tsn_transition *t)
{
    const struct sim_record *record = &s->cluster.alerts.items[at];
    struct tsn_error error;

    if (!tsn_codec_transition_decode(record->bytes, record->len, TSN_FORM_JSON, t, &error))
        return true;
    sim_fail(s, "alerts offset %lld: %s", (long long)record->offset, error.message);
    return false;
}

enum verdict { STORED, REFUSED, UNKNOWN };

static enum verdict store_apply(struct sim_world *s, struct sim_session *o, const struct tsn_effects *effects,
                                enum sim_cause cause)
{
    struct sim_responder *r = &s->responder;
    bool slow = sim_trouble(s, SIM_F_REDIS, 40), arrives = sim_below(&s->random, 2) == 0;

    if (s->now < r->away_until_ms)
        return UNKNOWN;
    if (s->cluster.broken != SIM_FORGET_GENERATION &&
        (!r->store.present || r->store.run != o->run || r->store.generation != o->generation ||
         r->store.cursor != o->cursor)) {
        sim_note(s, SIM_E_STORE_ZOMBIE);
        return REFUSED;
    }
    if (slow)
        sim_note(s, arrives ? SIM_E_REDIS_SLOW : SIM_E_REDIS_LOST);
    if (slow && !arrives)
        return UNKNOWN;
    sim_store_write(&r->store, effects, tsn_respond_position(o->core), cause);
    o->cursor = r->store.cursor;
    return slow ? UNKNOWN : STORED;
}

/* One script: before it, in it or behind it things may go wrong. */
static void settle(struct sim_world *s, struct sim_session *o, struct tsn_effects *effects, enum sim_cause cause)
{
    enum verdict verdict;

    if (sim_trouble(s, SIM_F_CRASH, 10)) {
        sim_note(s, SIM_E_RESPOND_DIES_BEFORE);
        tsn_effects_release(effects);
        new_owner(s, false);
        return;
    }
    verdict = store_apply(s, o, effects, cause);
    tsn_effects_release(effects);
    if (verdict != STORED)
        store_lost(s, o);
    if (sim_trouble(s, SIM_F_CRASH, 15)) {
        sim_note(s, SIM_E_RESPOND_DIES_STORED);
        new_owner(s, false);
    }
}

/* The incident clock: Redis's, which may leap; the core lets it stand where it would go back. */
static int64_t read_clock(struct sim_world *s, const struct sim_session *o)
{
    struct sim_responder *r = &s->responder;
    int64_t ms = s->now + r->skew_ms;

    r->latest_ms = ms > r->latest_ms ? ms : r->latest_ms;
    if (s->cluster.broken == SIM_OWN_CLOCK)
        return ms + o->epoch * 977 % 3600 * 1000;
    return ms;
}

/* False if there is none to be had. */
static bool take_alert(struct sim_world *s, struct sim_session *o)
{
    struct sim_log *log = &s->cluster.alerts;
    size_t at = (size_t)(tsn_respond_position(o->core).alerts + 1);
    struct tsn_effects effects = { 0 };
    struct tsn_transition t;

    if (at >= sim_log_stable(log, s->now))
        return false;
    if (log->items[at].aborted) {
        tsn_respond_skip(o->core, false, (int64_t)at);
    } else if (sim_decode_alert(s, at, &t)) {
        tsn_respond_transition(o->core, (int64_t)at, read_clock(s, o), &t, &effects);
        tsn_transition_release(&t);
    }
    settle(s, o, &effects, SIM_BY_ALERT);
    return true;
}

static bool take_command(struct sim_world *s, struct sim_session *o)
{
    const struct sim_log *log = &s->cluster.commands;
    size_t at = (size_t)(tsn_respond_position(o->core).commands + 1);
    struct tsn_effects effects = { 0 };
    struct tsn_command c;

    if (at >= log->len)
        return false;
    if (tsn_codec_command_decode(log->items[at].bytes, log->items[at].len, TSN_FORM_JSON, &c, NULL)) {
        sim_note(s, SIM_E_COMMAND_GARBAGE);
        tsn_respond_skip(o->core, true, (int64_t)at);
    } else {
        tsn_respond_command(o->core, (int64_t)at, read_clock(s, o), &c, &effects);
        sim_note_answer(s, &effects);
        tsn_command_release(&c);
    }
    settle(s, o, &effects, SIM_BY_COMMAND);
    return true;
}

static void take_time(struct sim_world *s, struct sim_session *o)
{
    int64_t due_ms = tsn_respond_next_due(o->core), now_ms = read_clock(s, o);
    struct tsn_effects effects = { 0 };

    if (due_ms == TSN_TIME_NONE || due_ms > now_ms)
        return;
    sim_note(s, SIM_E_TIMER);
    tsn_respond_tick(o->core, now_ms, &effects);
    settle(s, o, &effects, SIM_BY_CLOCK);
}

/* The name that the alert's incident has, or will have: of a group, the first alert that fires
 * names it. */
static const char *direct_name(struct sim_world *s, struct sim_session *o,
                               const struct tsn_transition *t)
{
    char *key = tsn_respond_group_key(&s->policy, t->labels),
         *name = tsn_map_get_str(&o->groups, key);
    const struct tsn_respond_incident *held = tsn_respond_of_group(o->core, key);

    if (!name) {
        name = tsn_calloc(1, 40);
        if (held)
            snprintf(name, 40, "%s", held->pub.incident_id);
        else
            tsn_respond_incident_id(name, key, t->alert_id, t->fired_at_ms);
        tsn_map_put_str(&o->groups, key, name);
    }
    tsn_free(key);
    return name;
}

/* Redis is away for longer than the grace: firing alerts of Sev 1 and 2 page by label alone. */
static void direct_path(struct sim_world *s, struct sim_session *o)
{
    struct sim_log *log = &s->cluster.alerts;
    struct tsn_transition t;

    if (!o->core || s->now - o->lost_ms < SIM_GRACE_MS ||
        (size_t)o->direct_next >= sim_log_stable(log, s->now))
        return;
    if (!log->items[o->direct_next].aborted && sim_decode_alert(s, (size_t)o->direct_next, &t)) {
        const char *name = t.state == TSN_ALERT_FIRING ? direct_name(s, o, &t) : NULL;

        if (name && tsn_respond_alert_severity(&s->policy, t.labels, false) <= 2) {
            sim_note(s, SIM_E_DIRECT);
            tsn_map_put_str(&s->responder.told, name, (void *)(intptr_t)tsn_respond_position(o->core).clock_ms);
        }
        tsn_transition_release(&t);
    }
    o->direct_next++;
}

/* ---- publishing ---------------------------------------------------------------------------- */

static void set_mark(struct sim_responder *r, const struct sim_store *store, int64_t cursor,
                     struct tsn_respond_position position)
{
    struct tsn_respond_mark mark = { .generation = store->generation,
                                     .cursor = cursor,
                                     .position = position };
    char text[TSN_RESPOND_MARK_TEXT];

    snprintf(mark.run, sizeof mark.run, "%032lld", (long long)store->run);
    tsn_respond_mark_format(text, &mark);
    r->marked = tsn_respond_mark_parse(text, strlen(text), &r->mark, NULL) ==
                TSN_OK; /* as it lies in the metadata */
}

/* The order in which inputs were taken in the end: the comparisons go by it. */
static void note_input(struct sim_world *s, const struct sim_entry *e)
{
    struct sim_responder *r = &s->responder;
    const struct sim_taken *last = r->journal.len ? &r->journal.items[r->journal.len - 1] : NULL;
    struct sim_taken taken = { e->cause, e->position };

    if (last && last->cause == taken.cause && memcmp(&last->position, &taken.position, sizeof taken.position) == 0)
        return;
    if (taken.position.clock_ms > r->latest_ms)
        sim_fail(s, "incidents: an input was taken %lld s before the incident clock came there",
                 (long long)(taken.position.clock_ms - r->latest_ms) / 1000);
    tsn_vec_push(&r->journal, taken);
}

static void publish_entry(struct sim_world *s, const struct sim_entry *e)
{
    struct sim_responder *r = &s->responder;
    struct tsn_buf copy = TSN_BUF_INIT;

    note_input(s, e);
    if (e->kind == TSN_OUTBOX_EVENT) {
        tsn_buf_append(&copy, e->bytes.data, e->bytes.len);
        tsn_vec_push(&r->published, copy);
    } else {
        sim_map_put(&r->topic, e->incident_id, e->kind == TSN_OUTBOX_SNAPSHOT ? &e->bytes : NULL);
    }
}

static void publish(struct sim_world *s, struct sim_session *o)
{
    struct sim_responder *r = &s->responder;
    struct sim_store *store = &r->store;
    bool aborts = sim_trouble(s, SIM_F_ABORT, 8), dies = sim_trouble(s, SIM_F_CRASH, 12);
    struct tsn_respond_position position = store->position;
    size_t count = store->outbox.len;

    if (o->epoch != r->epoch && s->cluster.broken != SIM_NO_FENCING) {
        sim_note(s, SIM_E_RESPOND_ZOMBIE);
        o->alive = false; /* fenced: it leaves */
        return;
    }
    if (s->now < r->away_until_ms || !store->present || store->run != o->run) {
        store_lost(s, o);
        return;
    }
    if (count > 20 &&
        sim_below(&s->random, 2)) { /* a transaction may end behind the last entry of an input */
        for (count = 10; !store->outbox.items[count - 1].last;)
            count++;
        position = store->outbox.items[count - 1].position;
    }
    if (s->cluster.broken == SIM_MARK_FIRST)
        set_mark(r, store, store->trimmed + (int64_t)count, position);
    if (aborts) {
        sim_note(s, dies ? SIM_E_RESPOND_DIES_INSIDE : SIM_E_RESPOND_ABORTED);
        if (dies)
            new_owner(s, false);
        return;
    }
    for (size_t i = 0; i < count; i++)
        publish_entry(s, &store->outbox.items[i]);
    set_mark(r, store, store->trimmed + (int64_t)count, position);
    if (dies) { /* between commit and trim */
        sim_note(s, SIM_E_RESPOND_DIES_TRIM);
        new_owner(s, false);
    } else {
        sim_store_trim(store, r->mark.cursor);
    }
}

/* ---- turns --------------------------------------------------------------------------------- */

static void session_act(struct sim_world *s, struct sim_session *o)
{
    if (!o->alive)
        return;
    if (!o->connected) {
        if (o->epoch != s->responder.epoch && s->cluster.broken != SIM_NO_FENCING)
            o->alive = false; /* its takeover begins at Kafka, which fences it */
        else if (s->now < s->responder.away_until_ms)
            direct_path(s, o);
        else
            take_store(s, o);
        return;
    }
    switch (sim_below(&s->random, 6)) {
    case 0:
    case 1: publish(s, o); break;
    case 2: (void)take_command(s, o); break;
    case 3: take_time(s, o); break;
    default: (void)take_alert(s, o);
    }
}

void sim_responder_act(struct sim_world *s)
{
    struct sim_responder *r = &s->responder;

    if (sim_trouble(s, SIM_F_ZOMBIE, 60))
        new_owner(s, true);
    session_act(s, &r->sessions[sim_below(&s->random, 4) == 0 ? r->owner ^ 1 : r->owner]);
}

void sim_redis_act(struct sim_world *s)
{
    struct sim_responder *r = &s->responder;

    if (sim_trouble(s, SIM_F_REDIS, 8)) {
        sim_note(s, SIM_E_REDIS_WIPED);
        sim_store_clear(&r->store); /* FLUSHALL: connections stay */
    }
    if (sim_trouble(s, SIM_F_REDIS, 8) && r->has_snapshot) {
        sim_note(s, SIM_E_REDIS_ROLLED_BACK);
        sim_store_copy(&r->store, &r->snapshot); /* restarted with an old dump */
        for (int i = 0; i < 2; i++)
            if (r->sessions[i].alive)
                store_lost(s, &r->sessions[i]);
    }
    if (sim_trouble(s, SIM_F_REDIS, 8)) {
        sim_note(s, SIM_E_REDIS_AWAY);
        r->away_until_ms = s->now + sim_below(&s->random, 90000);
    }
    if (sim_trouble(s, SIM_F_CLOCK, 8)) {
        int64_t before_ms = r->skew_ms;

        r->skew_ms = sim_below(&s->random, 240000) - 120000;
        sim_note(s, r->skew_ms > before_ms ? SIM_E_REDIS_FORWARD : SIM_E_REDIS_BACK);
    }
    if (sim_trouble(s, SIM_F_REDIS, 2)) {
        sim_store_copy(&r->snapshot, &r->store);
        r->has_snapshot = r->store.present;
    }
}

void sim_responder_finish(struct sim_world *s)
{
    struct sim_responder *r = &s->responder;

    for (int64_t n = 0; n < 100000 && !s->failure[0]; n++) {
        struct sim_session *o = &r->sessions[r->owner];
        bool taken = o->connected &&
                     (size_t)tsn_respond_position(o->core).alerts + 1 >= s->cluster.alerts.len &&
                     (size_t)tsn_respond_position(o->core).commands + 1 >= s->cluster.commands.len;

        s->now += 1000;
        if (taken && !r->last_ms)
            r->last_ms = r->latest_ms = r->latest_ms + INT64_C(7200000);
        if (taken && tsn_respond_position(o->core).clock_ms < r->last_ms) {
            struct tsn_effects effects = { 0 };

            tsn_respond_tick(o->core, r->last_ms, &effects);
            settle(s, o, &effects, SIM_BY_CLOCK);
        } else if (taken && !r->store.outbox.len) {
            return;
        } else {
            sim_responder_act(s);
        }
    }
    sim_fail(s, "RESPOND does not come to an end");
}
