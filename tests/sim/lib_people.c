/*
 * lib_people: who acts on incidents, and what comes out of RESPOND in the end.
 *
 * People see published events and say something about one of the last: acknowledge, escalate, resolve, a note, another severity; at times
 * about an incident that is not there, in bytes that mean nothing, or the same record twice, as a producer that retries does.
 *
 * The reference is a RESPOND without store, crash or takeover. Which command came between which alerts, and what the clock said, was
 * decided by the race, so it is given the inputs as the published events say they were taken; from there on it must say the same to the
 * byte. What it is not told, it must not need: inputs that gave nothing stand in no record.
 */
#include "sim_actors.h"

#include <string.h>

#include "tocsin/codec.h"

enum { RECENT = 20 };

/* ---- people -------------------------------------------------------------------------------- */

static bool some_incident(struct sim_world *s, char out[40])
{
    const struct sim_texts *seen = &s->responder.published;
    size_t from = seen->len > RECENT ? seen->len - RECENT : 0;
    struct tsn_incident_event e;
    int64_t at = sim_below(&s->random, RECENT);

    if (!seen->len)
        return false;
    at = (int64_t)from + at % (int64_t)(seen->len - from);
    if (tsn_codec_incident_event_decode(seen->items[at].data, seen->items[at].len, TSN_FORM_JSON, &e, NULL))
        return false;
    memcpy(out, e.snapshot.incident_id, 40);
    tsn_incident_event_release(&e);
    return true;
}

static void say(struct sim_world *s, const char *incident_id)
{
    static const enum tsn_command_kind kinds[] = { TSN_CMD_ACK,  TSN_CMD_ACK,  TSN_CMD_RESOLVE, TSN_CMD_ESCALATE,
                                                   TSN_CMD_NOTE, TSN_CMD_NOTE, TSN_CMD_SEVERITY };
    char id[40], name[40], who[] = "somebody", words[64];
    struct tsn_command c = { .format = TSN_FORMAT_VERSION, .command_id = id, .incident_id = name, .actor = who, .reason = words };
    struct tsn_buf text = TSN_BUF_INIT;

    snprintf(id, sizeof id, "cmd-%lld", (long long)++s->responder.commands_said);
    snprintf(name, sizeof name, "%s", incident_id);
    snprintf(words, sizeof words, "said in cmd-%lld.", (long long)s->responder.commands_said);
    c.kind = kinds[sim_below(&s->random, TSN_ARRAY_LEN(kinds))];
    c.severity = 1 + (int32_t)sim_below(&s->random, 4);
    c.at_ms = s->now;
    tsn_codec_command_encode(&c, TSN_FORM_JSON, &text);
    sim_log_add(&s->cluster.commands, s->now, false, text.data, text.len);
    tsn_buf_release(&text);
}

static void say_again(struct sim_world *s)
{
    struct sim_log *log = &s->cluster.commands;
    int64_t back = 1 + sim_below(&s->random, 6);
    char *copy;

    if ((size_t)back > log->len)
        return;
    sim_note(s, SIM_E_COMMAND_REPEATED);
    copy = tsn_memdup(log->items[log->len - (size_t)back].bytes, log->items[log->len - (size_t)back].len);
    sim_log_add(log, s->now, false, copy, log->items[log->len - (size_t)back].len);
    tsn_free(copy);
}

void sim_people_act(struct sim_world *s)
{
    char incident[40] = "inc-0000000000000000";
    bool known = some_incident(s, incident);

    if (!sim_trouble(s, SIM_F_PEOPLE, 1))
        return;
    switch (sim_below(&s->random, 12)) {
    case 0: say(s, "inc-0123456789abcdef"); break;
    case 1: sim_log_add(&s->cluster.commands, s->now, false, "{\"format\":1,\"kind\":", 19); break;
    case 2:
    case 3:
    case 4: say_again(s); break;
    default:
        if (known)
            say(s, incident);
    }
}

void sim_note_answer(struct sim_world *s, const struct tsn_effects *effects)
{
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_ANSWER)
            sim_note(s, effects->items[i].answer.code ? SIM_E_COMMAND_REFUSED : SIM_E_COMMAND_TAKEN);
}

/* ---- the reference ------------------------------------------------------------------------- */

static void calm_take(struct tsn_effects *effects, struct sim_texts *events, struct tsn_map *paged)
{
    for (size_t i = 0; i < effects->len; i++) {
        struct tsn_buf text = TSN_BUF_INIT;

        if (effects->items[i].kind == TSN_EFFECT_PAGE)
            tsn_map_put_str(paged, effects->items[i].incident_id, (void *)1);
        if (effects->items[i].kind != TSN_EFFECT_EVENT)
            continue;
        tsn_codec_incident_event_encode(&effects->items[i].event, TSN_FORM_JSON, &text);
        tsn_vec_push(events, text);
    }
    tsn_effects_clear(effects);
}

static void calm_alert(struct sim_world *s, struct tsn_respond *core, int64_t at, int64_t now_ms, struct tsn_effects *effects)
{
    struct tsn_transition t;

    if (s->cluster.alerts.items[at].aborted || !sim_decode_alert(s, (size_t)at, &t))
        return;
    tsn_respond_transition(core, at, now_ms, &t, effects);
    tsn_transition_release(&t);
}

static void calm_command(struct sim_world *s, struct tsn_respond *core, int64_t at, int64_t now_ms, struct tsn_effects *effects)
{
    const struct sim_record *r = &s->cluster.commands.items[at];
    struct tsn_command c;

    if (tsn_codec_command_decode(r->bytes, r->len, TSN_FORM_JSON, &c, NULL))
        return;
    tsn_respond_command(core, at, now_ms, &c, effects);
    tsn_command_release(&c);
}

/* What was taken up to an input that gave something, and that input. The others gave nothing, whenever they were taken: here, while the
 * clock stands. */
static void calm_up_to(struct sim_world *s, struct tsn_respond *core, const struct sim_taken *to, struct tsn_respond_position *done,
                       struct tsn_effects *effects)
{
    int64_t alerts = to->position.alerts - (to->cause == SIM_BY_ALERT),
            commands = to->position.commands - (to->cause == SIM_BY_COMMAND);

    while (done->alerts < alerts)
        calm_alert(s, core, ++done->alerts, TSN_TIME_NONE, effects);
    while (done->commands < commands)
        calm_command(s, core, ++done->commands, TSN_TIME_NONE, effects);
    if (to->cause == SIM_BY_ALERT)
        calm_alert(s, core, ++done->alerts, to->position.clock_ms, effects);
    else if (to->cause == SIM_BY_COMMAND)
        calm_command(s, core, ++done->commands, to->position.clock_ms, effects);
    else
        tsn_respond_tick(core, to->position.clock_ms, effects);
    if (done->alerts != to->position.alerts || done->commands != to->position.commands)
        sim_fail(s, "incidents: inputs went back or were left out: published up to alert %lld and command %lld after %lld and %lld",
                 (long long)to->position.alerts, (long long)to->position.commands, (long long)done->alerts,
                 (long long)done->commands);
}

void sim_responder_calm(struct sim_world *s, struct sim_texts *events, struct tsn_map *paged)
{
    struct tsn_respond_options options = { .shadow = false };
    struct sim_responder *r = &s->responder;
    struct tsn_respond *core = tsn_respond_new(&s->policy, &options);
    struct tsn_respond_position done = { -1, -1, TSN_TIME_NONE };
    struct sim_taken rest = { SIM_BY_CLOCK, { (int64_t)s->cluster.alerts.len - 1, (int64_t)s->cluster.commands.len - 1, r->last_ms } };
    struct tsn_effects effects = { 0 };

    for (size_t i = 0; i < r->journal.len && !s->failure[0]; i++) {
        calm_up_to(s, core, &r->journal.items[i], &done, &effects);
        calm_take(&effects, events, paged);
    }
    if (!s->failure[0])
        calm_up_to(s, core, &rest, &done, &effects);
    calm_take(&effects, events, paged);
    tsn_effects_release(&effects);
    tsn_respond_free(&core);
}

/* ---- what holds of any events --------------------------------------------------------------- */

struct life {
    int64_t seq, climbed_ms; /* last climb by the clock */
};

static void check_event(struct sim_world *s, struct life *life, const struct tsn_incident_event *e)
{
    bool machine = strcmp(e->actor, "tocsin") == 0;

    if (e->seq != life->seq + 1)
        sim_fail(s, "incidents: %s: event %lld follows %lld", e->snapshot.incident_id, (long long)e->seq, (long long)life->seq);
    life->seq = e->seq;
    if (e->type == TSN_INC_REOPENED || (e->type == TSN_INC_ESCALATED && !machine))
        life->climbed_ms = TSN_TIME_NONE;
    if (e->type == TSN_INC_BREACHED)
        sim_note(s, SIM_E_BREACHED);
    if (e->type != TSN_INC_ESCALATED || !machine)
        return;
    sim_note(s, SIM_E_CLIMBED);
    if (life->climbed_ms != TSN_TIME_NONE && e->event_time_ms - life->climbed_ms < SIM_CLIMB_MS)
        sim_fail(s, "incidents: %s climbed two levels within %lld ms", e->snapshot.incident_id,
                 (long long)(e->event_time_ms - life->climbed_ms));
    life->climbed_ms = e->event_time_ms;
}

/* A command that was acted on is named by the event. Twice is once too often. */
static void check_command(struct sim_world *s, struct tsn_map *acted, const struct tsn_incident_event *e)
{
    const char *name = strstr(e->reason, "said in cmd-");
    bool fresh;

    if (!name)
        return;
    sim_note(s, SIM_E_COMMAND_ACTED);
    tsn_map_upsert(acted, name, strcspn(name, "."), &fresh);
    if (!fresh)
        sim_fail(s, "incidents: a command was acted on twice: %s", e->reason);
}

void sim_check_events(struct sim_world *s)
{
    const struct sim_texts *got = &s->responder.published;
    struct tsn_map lives, acted;

    tsn_map_init(&lives);
    tsn_map_init(&acted);
    for (size_t i = 0; i < got->len && !s->failure[0]; i++) {
        struct tsn_incident_event e;
        struct tsn_error error;
        void **slot;

        if (tsn_codec_incident_event_decode(got->items[i].data, got->items[i].len, TSN_FORM_JSON, &e, &error)) {
            sim_fail(s, "an incident event does not decode: %s", error.message);
            break;
        }
        slot = tsn_map_upsert(&lives, e.snapshot.incident_id, strlen(e.snapshot.incident_id), NULL);
        if (!*slot) {
            *slot = tsn_calloc(1, sizeof(struct life));
            ((struct life *)*slot)->climbed_ms = TSN_TIME_NONE;
        }
        check_event(s, *slot, &e);
        check_command(s, &acted, &e);
        tsn_incident_event_release(&e);
    }
    tsn_map_foreach(&lives, e) tsn_free(e->value);
    tsn_map_release(&lives);
    tsn_map_release(&acted);
}
