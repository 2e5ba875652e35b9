/*
 * store: the owner's calls. See tocsin/store.h; what Redis runs is in scripts.c.
 *
 * struct tsn_store keeps what it believes is stored (mark, trimmed). Every script carries that belief and refuses when it
 * is wrong, so a Redis that was restored from a backup while we were talking to it cannot be built upon unseen.
 */
#include "store/store_int.h"

#include <string.h>

#define ANSWER_TTL_MS 600000 /* who gave a command asks within seconds; ten minutes cover a person's second look */
/* All bytes of one script. Redis takes 512 MB in one argument and 1 GB in a query buffer; an input that changes
 * 10,000 incidents of 10 KiB, each with event and snapshot, needs 300 MB. */
#define SCRIPT_MAX ((size_t)768 << 20)

struct tsn_respond_mark tsn_store_mark(const struct tsn_store *s)
{
    return s->mark;
}

int64_t tsn_store_trimmed(const struct tsn_store *s)
{
    return s->trimmed;
}

/* ---- words -------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum tsn_err code;
    bool retriable;
    const char *text;
} words[] = {
    { "MISSING", TSN_ERR_NOT_FOUND, true, "it holds no incidents of ours: empty, or wiped" },
    { "OTHER", TSN_ERR_NOT_FOUND, true, "it holds another data set than the one published last" },
    { "BEHIND", TSN_ERR_NOT_FOUND, true, "it is behind what is known already: restored, or failed over" },
    { "DAMAGED", TSN_ERR_NOT_FOUND, true, "its parts do not fit together" },
    { "FENCED", TSN_ERR_FENCED, false, "another owner took over" },
    { "DUPLICATE", TSN_ERR_CONFLICT, false, "that input is applied already" },
};

/* OK for {'OK', …}; else what its word means. */
static enum tsn_err check_word(struct tsn_store *s, const redisReply *reply, struct tsn_error *error)
{
    const redisReply *word = store_reply_at(reply, 0);

    if (store_reply_is(word, "OK"))
        return TSN_OK;
    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++)
        if (store_reply_is(word, words[i].word)) {
            tsn_error_set(error, words[i].code, "Redis %s: %s", s->shown, words[i].text);
            if (error)
                error->retriable = words[i].retriable;
            return words[i].code;
        }
    if (store_reply_is(word, "FULL")) {
        tsn_error_set(error, TSN_ERR_LIMIT, "Redis %s: too many %s wait", s->shown,
                      store_reply_is(store_reply_at(reply, 1), "pages") ? "pages" : "outbox entries");
        if (error)
            error->retriable = true;
        return TSN_ERR_LIMIT;
    }
    if (store_reply_is(word, "NEWER"))
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED, "Redis %s: written by a newer Tocsin; upgrade this one", s->shown);
    return tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: a script answered something else", s->shown);
}

static void put_keys(struct tsn_store *s, const char *run, struct store_args *args)
{
    store_arg_printf(args, "%smeta", s->prefix);
    store_arg_printf(args, "%s%s:", s->prefix, run);
}

/* Runs a script and checks its word. *reply is the caller's to free, NULL on an error. */
static enum tsn_err run(struct tsn_store *s, int script, const struct store_args *args, redisReply **reply,
                        struct tsn_error *error)
{
    enum tsn_err err = store_script(s, script, 2, args, reply, error);

    if (err == TSN_OK)
        err = check_word(s, *reply, error);
    if (err != TSN_OK && *reply) {
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return err;
}

/* ---- takeover ----------------------------------------------------------------------------- */

/* Lua's numbers are doubles: beyond 2^53 a script could not count, and our sums stay far from overflow. */
#define COUNT_MAX (INT64_C(1) << 53)

static bool possible(const struct tsn_store *s)
{
    const struct tsn_respond_mark *m = &s->mark;

    return m->generation > 0 && m->generation <= COUNT_MAX && s->trimmed >= 0 && m->cursor >= s->trimmed && m->cursor <= COUNT_MAX &&
           m->position.alerts >= -1 && m->position.alerts <= COUNT_MAX && m->position.commands >= -1 && m->position.commands <= COUNT_MAX;
}

static enum tsn_err read_mark(struct tsn_store *s, const redisReply *reply, struct tsn_error *error)
{
    struct tsn_respond_mark *m = &s->mark;

    if (store_reply_run(store_reply_at(reply, 1), m->run) &&
        store_reply_i64(store_reply_at(reply, 2), &m->generation) && store_reply_i64(store_reply_at(reply, 3), &m->cursor) &&
        store_reply_i64(store_reply_at(reply, 4), &s->trimmed) &&
        store_reply_i64(store_reply_at(reply, 5), &m->position.alerts) &&
        store_reply_i64(store_reply_at(reply, 6), &m->position.commands) &&
        store_reply_i64(store_reply_at(reply, 7), &m->position.clock_ms) && possible(s))
        return TSN_OK;
    return tsn_error_set(error, TSN_ERR_NOT_FOUND, "Redis %s: what it says of itself cannot be", s->shown);
}

enum tsn_err tsn_store_takeover(struct tsn_store *s, const struct tsn_respond_mark *committed,
                                struct tsn_respond *respond, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    put_keys(s, "", &args);
    store_arg_text(&args, committed ? committed->run : "");
    store_arg_i64(&args, committed ? committed->generation : 0);
    store_arg_i64(&args, committed ? committed->cursor : 0);
    store_arg_i64(&args, TSN_FORMAT_VERSION);
    store_arg_text(&args, s->prefix);
    err = run(s, STORE_TAKEOVER, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    err = read_mark(s, reply, error);
    freeReplyObject(reply);
    if (err == TSN_OK)
        err = store_load(s, respond, error);
    if (err == TSN_OK)
        tsn_respond_set_position(respond, s->mark.position);
    return err;
}

/* ---- apply -------------------------------------------------------------------------------- */

static void put_save(struct store_args *args, const struct tsn_respond_incident *in)
{
    store_arg_text(args, in->pub.incident_id);
    tsn_respond_incident_encode(in, &args->bytes);
    store_arg_end(args);
    store_arg_i64(args, in->pub.version);
    store_arg_text(args, tsn_incident_state_name(in->pub.state));
    store_arg_i64(args, in->pub.severity);
    if (in->pub.escalate_at_ms == TSN_TIME_NONE)
        store_arg_text(args, "");
    else
        store_arg_i64(args, in->pub.escalate_at_ms);
    store_arg_i64(args, in->pub.opened_at_ms);
}

/* Whether an effect becomes an outbox entry, and its kind. */
static bool entry_kind(const struct tsn_effect *e, enum tsn_outbox_kind *kind)
{
    switch (e->kind) {
    case TSN_EFFECT_EVENT: *kind = TSN_OUTBOX_EVENT; return true;
    case TSN_EFFECT_SAVE: *kind = TSN_OUTBOX_SNAPSHOT; return true;
    case TSN_EFFECT_FORGET: *kind = TSN_OUTBOX_TOMBSTONE; return true;
    case TSN_EFFECT_PAGE:
    case TSN_EFFECT_ANSWER: break;
    }
    return false;
}

static void put_entry(struct store_args *args, const struct tsn_effect *e, const struct tsn_store_input *input, bool last,
                      struct tsn_buf *value)
{
    struct tsn_outbox_entry entry = { .last = last, .position = input->after, .seq = e->version };

    tsn_buf_reset(value);
    entry_kind(e, &entry.kind);
    memcpy(entry.incident_id, e->incident_id, sizeof entry.incident_id);
    if (e->kind == TSN_EFFECT_EVENT) {
        entry.seq = e->event.seq;
        entry.type = e->event.type;
        entry.event_time_ms = e->event.event_time_ms;
        tsn_codec_incident_event_encode(&e->event, input->event_form, value);
    } else if (e->kind == TSN_EFFECT_SAVE) {
        tsn_respond_incident_encode(e->record, value);
    }
    entry.value = tsn_buf_str(value);
    entry.len = value->len;
    tsn_outbox_entry_encode(&entry, &args->bytes);
    store_arg_end(args);
}

static void put_entries(struct store_args *args, const struct tsn_effects *effects, const struct tsn_store_input *input,
                        size_t entries)
{
    struct tsn_buf value = TSN_BUF_INIT;
    enum tsn_outbox_kind kind;

    for (size_t i = 0; i < effects->len; i++)
        if (entry_kind(&effects->items[i], &kind))
            put_entry(args, &effects->items[i], input, --entries == 0, &value);
    tsn_buf_release(&value);
}

static void put_answer(struct store_args *args, const struct tsn_effect *e)
{
    struct tsn_respond_answer answer = { .code = e->answer.code, .version = e->version, .message = e->answer.message };

    memcpy(answer.incident_id, e->incident_id, sizeof answer.incident_id);
    store_arg_text(args, e->answer.command_id);
    tsn_respond_answer_encode(&answer, &args->bytes);
    store_arg_end(args);
}

static size_t count(const struct tsn_effects *effects, enum tsn_effect_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < effects->len; i++)
        n += effects->items[i].kind == kind;
    return n;
}

static void put_effects(struct store_args *args, const struct tsn_effects *effects, const struct tsn_store_input *input)
{
    size_t events = count(effects, TSN_EFFECT_EVENT), saves = count(effects, TSN_EFFECT_SAVE),
           forgets = count(effects, TSN_EFFECT_FORGET), pages = count(effects, TSN_EFFECT_PAGE),
           answers = count(effects, TSN_EFFECT_ANSWER);

    store_arg_i64(args, (int64_t)saves);
    store_arg_i64(args, (int64_t)forgets);
    store_arg_i64(args, (int64_t)(events + saves + forgets));
    store_arg_i64(args, (int64_t)pages);
    store_arg_i64(args, (int64_t)answers);
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_SAVE)
            put_save(args, effects->items[i].record);
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_FORGET)
            store_arg_text(args, effects->items[i].incident_id);
    put_entries(args, effects, input, events + saves + forgets);
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_PAGE) {
            tsn_page_encode(&effects->items[i].page, &args->bytes);
            store_arg_end(args);
        }
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_ANSWER)
            put_answer(args, &effects->items[i]);
}

static void put_apply(struct tsn_store *s, struct store_args *args, const struct tsn_store_input *input,
                      const struct tsn_effects *effects)
{
    static const char *const kinds[] = { "alerts", "commands", "tick" };

    put_keys(s, s->mark.run, args);
    store_arg_text(args, s->mark.run);
    store_arg_i64(args, s->mark.generation);
    store_arg_text(args, kinds[input->kind]);
    store_arg_i64(args, input->kind == TSN_STORE_COMMAND ? input->after.commands : input->after.alerts);
    store_arg_i64(args, s->mark.cursor);
    store_arg_i64(args, input->before.alerts);
    store_arg_i64(args, input->before.commands);
    store_arg_i64(args, input->after.alerts);
    store_arg_i64(args, input->after.commands);
    store_arg_i64(args, input->after.clock_ms);
    store_arg_i64(args, TSN_STORE_OUTBOX_MAX);
    store_arg_i64(args, TSN_STORE_PAGES_MAX);
    store_arg_i64(args, ANSWER_TTL_MS);
    put_effects(args, effects, input);
}

enum tsn_err tsn_store_apply(struct tsn_store *s, const struct tsn_store_input *input, const struct tsn_effects *effects,
                             struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply = NULL;
    int64_t cursor;
    enum tsn_err err;

    put_apply(s, &args, input, effects);
    if (args.bytes.len > SCRIPT_MAX)
        err = tsn_error_set(error, TSN_ERR_LIMIT, "one input changes %zu MB of incidents: more than one script can hold",
                            args.bytes.len >> 20);
    else
        err = run(s, STORE_APPLY, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (store_reply_i64(store_reply_at(reply, 1), &cursor) && cursor >= s->mark.cursor && cursor <= COUNT_MAX) {
        s->mark.cursor = cursor;
        s->mark.position = input->after;
    } else {
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: apply answered no cursor", s->shown);
    }
    freeReplyObject(reply);
    return err;
}

/* ---- outbox and pages --------------------------------------------------------------------- */

static enum tsn_err read_list(struct tsn_store *s, const char *list, int64_t from, size_t max, redisReply **reply,
                              struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    enum tsn_err err;

    store_arg_text(&args, "LRANGE");
    store_arg_printf(&args, "%s%s:%s", s->prefix, s->mark.run, list);
    store_arg_i64(&args, from);
    store_arg_i64(&args, from + (int64_t)max - 1);
    err = store_call(s, &args, reply, error);
    store_args_release(&args);
    if (err == TSN_OK && ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements > max)) {
        freeReplyObject(*reply);
        *reply = NULL;
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: LRANGE answered no list", s->shown);
    }
    return err;
}

enum tsn_err tsn_store_outbox(struct tsn_store *s, int64_t cursor, size_t max,
                              bool (*fn)(void *arg, int64_t cursor, const struct tsn_outbox_entry *entry), void *arg,
                              struct tsn_error *error)
{
    redisReply *reply;
    enum tsn_err err;

    TSN_ASSERT(cursor >= s->trimmed && max > 0);
    err = read_list(s, "outbox", cursor - s->trimmed, max, &reply, error);
    if (err != TSN_OK)
        return err;
    for (size_t i = 0; i < reply->elements && err == TSN_OK; i++) {
        const redisReply *e = reply->element[i];
        struct tsn_outbox_entry entry;

        if (e->type != REDIS_REPLY_STRING || tsn_outbox_entry_decode(e->str, (size_t)e->len, &entry, error) != TSN_OK) {
            err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "Redis %s: outbox entry %lld cannot be read", s->shown,
                                (long long)(cursor + (int64_t)i + 1));
            break;
        }
        if (!fn(arg, cursor + (int64_t)i + 1, &entry))
            break;
    }
    freeReplyObject(reply);
    return err;
}

enum tsn_err tsn_store_trim(struct tsn_store *s, int64_t cursor, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    put_keys(s, s->mark.run, &args);
    store_arg_text(&args, s->mark.run);
    store_arg_i64(&args, s->mark.generation);
    store_arg_i64(&args, cursor);
    err = run(s, STORE_TRIM, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (cursor > s->trimmed)
        s->trimmed = cursor;
    freeReplyObject(reply);
    return TSN_OK;
}

static enum tsn_err pages_done(struct tsn_store *s, size_t n, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    put_keys(s, s->mark.run, &args);
    store_arg_text(&args, s->mark.run);
    store_arg_i64(&args, s->mark.generation);
    store_arg_i64(&args, (int64_t)n);
    err = run(s, STORE_PAGES_DONE, &args, &reply, error);
    store_args_release(&args);
    if (err == TSN_OK)
        freeReplyObject(reply);
    return err;
}

enum tsn_err tsn_store_pages(struct tsn_store *s, size_t max, bool (*fn)(void *arg, const struct tsn_page *page),
                             void *arg, size_t *told, struct tsn_error *error)
{
    redisReply *reply;
    size_t done = 0, ok = 0;
    enum tsn_err err = read_list(s, "pages", 0, max, &reply, error);

    if (told)
        *told = 0;
    if (err != TSN_OK)
        return err;
    for (; done < reply->elements; done++) {
        const redisReply *e = reply->element[done];
        struct tsn_error bad = { .message = "it is no string" };
        struct tsn_page page;
        bool went;

        if (e->type != REDIS_REPLY_STRING || tsn_page_decode(e->str, (size_t)e->len, &page, &bad) != TSN_OK) {
            tsn_log(TSN_LOG_ERROR, "respond", "a stored page cannot be read and is dropped", "error=\"%s\"", bad.message);
            continue;
        }
        went = fn(arg, &page);
        tsn_page_release(&page);
        if (!went)
            break;
        ok++;
    }
    freeReplyObject(reply);
    if (told)
        *told = ok;
    return done ? pages_done(s, done, error) : TSN_OK;
}

/* ---- notes -------------------------------------------------------------------------------- */

enum tsn_err tsn_store_note_get(struct tsn_store *s, const char *name, char value[TSN_STORE_NOTE_TEXT], struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    store_arg_text(&args, "GET");
    store_arg_printf(&args, "%s%s:note:%s", s->prefix, s->mark.run, name);
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (reply->type == REDIS_REPLY_STRING && reply->len < TSN_STORE_NOTE_TEXT) {
        memcpy(value, reply->str, (size_t)reply->len);
        value[reply->len] = '\0';
    } else {
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "Redis %s: no note %s", s->shown, name);
    }
    freeReplyObject(reply);
    return err;
}

enum tsn_err tsn_store_note_set(struct tsn_store *s, const char *name, const char *value, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    store_arg_text(&args, "SET");
    store_arg_printf(&args, "%s%s:note:%s", s->prefix, s->mark.run, name);
    store_arg_text(&args, value);
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err == TSN_OK)
        freeReplyObject(reply);
    return err;
}
