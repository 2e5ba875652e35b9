/*
 * load: reading incidents back: all of them for an owner, all or one of them for everyone.
 *
 * Every incident is decoded and checked; one that is missing, unreadable or not the one its key says is damage, and damage is
 * answered by a rebuild from Kafka, never by going on with less.
 */
#include "store/store_int.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------------------------ */

enum tsn_err store_ids(struct tsn_store *s, const char *run, struct tsn_texts *ids, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    memset(ids, 0, sizeof *ids);
    store_arg_text(&args, "ZRANGE");
    store_arg_printf(&args, "%s%s:incidents", s->prefix, run);
    store_arg_text(&args, "0");
    store_arg_text(&args, "-1");
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *e = reply->element[i];

        if (e->type == REDIS_REPLY_STRING && e->len > 0 && e->len < 40 && !memchr(e->str, '\0', (size_t)e->len))
            tsn_texts_add(ids, e->str, (size_t)e->len);
    }
    if (reply->type != REDIS_REPLY_ARRAY || ids->len != reply->elements) {
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "Redis %s: the list of incidents holds what is no id", s->shown);
        tsn_texts_release(ids);
    }
    freeReplyObject(reply);
    return err;
}

struct loading {
    struct tsn_store *store;
    const char *run;
    struct tsn_texts ids;
    struct tsn_respond *respond; /* or: */
    bool (*fn)(void *arg, const struct tsn_respond_incident *incident);
    void *arg;
    bool stopped;
};

static void build_get(void *arg, size_t i, struct store_args *args)
{
    const struct loading *l = arg;

    store_arg_text(args, "HGET");
    store_arg_printf(args, "%s%s:incident:%s", l->store->prefix, l->run, l->ids.items[i]);
    store_arg_text(args, "record");
}

static enum tsn_err decode(struct tsn_store *s, const char *id, const redisReply *reply, struct tsn_respond_incident *in,
                           struct tsn_error *error)
{
    struct tsn_error inner = { .message = "it is missing" };
    enum tsn_err err = TSN_ERR_NOT_FOUND;

    if (reply->type == REDIS_REPLY_STRING)
        err = tsn_respond_incident_decode(reply->str, (size_t)reply->len, in, &inner);
    if (err == TSN_OK && strcmp(in->pub.incident_id, id) != 0) {
        tsn_error_set(&inner, TSN_ERR_NOT_FOUND, "it says that it is %s", in->pub.incident_id);
        tsn_respond_incident_release(in);
        err = TSN_ERR_NOT_FOUND;
    }
    if (err == TSN_OK)
        return TSN_OK;
    return tsn_error_set(error, err == TSN_ERR_UNSUPPORTED ? err : TSN_ERR_NOT_FOUND, "Redis %s: incident %s: %s", s->shown,
                         id, inner.message);
}

static enum tsn_err take_incident(void *arg, size_t i, const redisReply *reply, struct tsn_error *error)
{
    struct loading *l = arg;
    struct tsn_respond_incident in;
    enum tsn_err err;

    if (l->stopped)
        return TSN_OK;
    if (!l->respond && reply->type == REDIS_REPLY_NIL)
        return TSN_OK; /* a reader without the ownership: forgotten since the list was read */
    err = decode(l->store, l->ids.items[i], reply, &in, error);
    if (err != TSN_OK)
        return err;
    if (l->respond)
        err = tsn_respond_restore(l->respond, &in, error);
    else
        l->stopped = !l->fn(l->arg, &in);
    tsn_respond_incident_release(&in);
    return err;
}

static enum tsn_err load(struct tsn_store *s, const char *run, struct loading *l, struct tsn_error *error)
{
    enum tsn_err err = store_ids(s, run, &l->ids, error);

    l->store = s;
    l->run = run;
    if (err == TSN_OK)
        err = store_pipeline(s, l->ids.len, build_get, take_incident, l, error);
    tsn_texts_release(&l->ids);
    return err;
}

enum tsn_err store_load(struct tsn_store *s, struct tsn_respond *respond, struct tsn_error *error)
{
    struct loading l = { .respond = respond };

    return load(s, s->mark.run, &l, error);
}

enum tsn_err tsn_store_look(struct tsn_store *s, struct tsn_respond_mark *mark, struct tsn_error *error)
{
    static const char *const fields[] = { "run", "generation", "cursor", "alerts", "commands", "clock" };
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    store_arg_text(&args, "HMGET");
    store_arg_printf(&args, "%smeta", s->prefix);
    for (size_t i = 0; i < TSN_ARRAY_LEN(fields); i++)
        store_arg_text(&args, fields[i]);
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    memset(mark, 0, sizeof *mark);
    if (!store_reply_run(store_reply_at(reply, 0), mark->run) ||
        !store_reply_i64(store_reply_at(reply, 1), &mark->generation) ||
        !store_reply_i64(store_reply_at(reply, 2), &mark->cursor) ||
        !store_reply_i64(store_reply_at(reply, 3), &mark->position.alerts) ||
        !store_reply_i64(store_reply_at(reply, 4), &mark->position.commands) ||
        !store_reply_i64(store_reply_at(reply, 5), &mark->position.clock_ms))
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "Redis %s: no incidents under the prefix %s", s->shown, s->prefix);
    freeReplyObject(reply);
    return err;
}

enum tsn_err tsn_store_list(struct tsn_store *s, bool (*fn)(void *arg, const struct tsn_respond_incident *incident),
                            void *arg, struct tsn_error *error)
{
    struct loading l = { .fn = fn, .arg = arg };
    struct tsn_respond_mark mark;
    enum tsn_err err = tsn_store_look(s, &mark, error);

    return err == TSN_OK ? load(s, mark.run, &l, error) : err;
}

/* GET of one key, or HGET of its record. NOT_FOUND if there is none. */
static enum tsn_err get_one(struct tsn_store *s, const char *verb, const char *kind, const char *id, redisReply **reply,
                            struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    struct tsn_respond_mark mark;
    enum tsn_err err = tsn_store_look(s, &mark, error);

    *reply = NULL;
    if (err != TSN_OK)
        return err;
    store_arg_text(&args, verb);
    store_arg_printf(&args, "%s%s:%s:%s", s->prefix, mark.run, kind, id);
    if (*verb == 'H')
        store_arg_text(&args, "record");
    err = store_call(s, &args, reply, error);
    store_args_release(&args);
    if (err == TSN_OK && (*reply)->type != REDIS_REPLY_STRING) {
        freeReplyObject(*reply);
        *reply = NULL;
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "no %s %s", kind, id);
    }
    return err;
}

enum tsn_err tsn_store_incident(struct tsn_store *s, const char *incident_id, struct tsn_respond_incident *incident,
                           struct tsn_error *error)
{
    redisReply *reply;
    enum tsn_err err = get_one(s, "HGET", "incident", incident_id, &reply, error);

    if (err != TSN_OK)
        return err;
    err = decode(s, incident_id, reply, incident, error);
    freeReplyObject(reply);
    return err;
}

enum tsn_err tsn_store_answer(struct tsn_store *s, const char *command_id, struct tsn_respond_answer *answer,
                              struct tsn_error *error)
{
    redisReply *reply;
    enum tsn_err err = get_one(s, "GET", "answer", command_id, &reply, error);

    if (err != TSN_OK)
        return err;
    err = tsn_respond_answer_decode(reply->str, (size_t)reply->len, answer, error);
    freeReplyObject(reply);
    return err;
}
