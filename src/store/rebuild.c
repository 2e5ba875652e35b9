/*
 * rebuild: a data set written anew from what Kafka holds, aside, and then made the one that counts by one script. A crash
 * before that leaves what was; keys that nobody will ever use are removed by the rebuild that succeeds.
 *
 * Two owners that rebuild at once: the switch compares the generation that was seen at the beginning, so one of them is
 * fenced. What removes the other's half-written keys cannot hurt it: it has lost already.
 */
#include "store/store_int.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A name nobody else uses: 128 random bits. */
static enum tsn_err new_run(char run[TSN_RESPOND_RUN_TEXT], struct tsn_error *error)
{
    struct tsn_u128 bits;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, &bits, sizeof bits) == (ssize_t)sizeof bits;

    if (fd >= 0)
        close(fd);
    if (!ok)
        return tsn_error_set(error, TSN_ERR_IO, "/dev/urandom gives nothing");
    tsn_u128_hex(bits, run);
    return TSN_OK;
}

static void put_keys(struct tsn_store *s, const char *run, struct store_args *args)
{
    store_arg_printf(args, "%smeta", s->prefix);
    store_arg_printf(args, "%s%s:", s->prefix, run);
}

/* An answer of {'OK', …}, or a word that says no. */
static enum tsn_err run_script(struct tsn_store *s, int script, const struct store_args *args, struct tsn_error *error)
{
    redisReply *reply;
    enum tsn_err err = store_script(s, script, 2, args, &reply, error);

    if (err != TSN_OK)
        return err;
    if (store_reply_is(store_reply_at(reply, 0), "FENCED"))
        err = tsn_error_set(error, TSN_ERR_FENCED, "Redis %s: another owner took over during the rebuild", s->shown);
    else if (!store_reply_is(store_reply_at(reply, 0), "OK"))
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: a script answered something else", s->shown);
    freeReplyObject(reply);
    return err;
}

static enum tsn_err add_incident(struct tsn_store *s, const char *run, const struct tsn_respond_incident *in,
                                 struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    enum tsn_err err;

    put_keys(s, run, &args);
    store_arg_text(&args, in->pub.incident_id);
    tsn_respond_incident_encode(in, &args.bytes);
    store_arg_end(&args);
    store_arg_i64(&args, in->pub.version);
    store_arg_text(&args, tsn_incident_state_name(in->pub.state));
    store_arg_i64(&args, in->pub.severity);
    if (in->pub.escalate_at_ms == TSN_TIME_NONE)
        store_arg_text(&args, "");
    else
        store_arg_i64(&args, in->pub.escalate_at_ms);
    store_arg_i64(&args, in->pub.opened_at_ms);
    err = run_script(s, STORE_ADD, &args, error);
    store_args_release(&args);
    return err;
}

static enum tsn_err switch_to(struct tsn_store *s, const char *run, const struct tsn_respond_mark *to, int64_t seen,
                              struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    enum tsn_err err;

    put_keys(s, run, &args);
    store_arg_text(&args, run);
    store_arg_i64(&args, to->generation);
    store_arg_i64(&args, seen);
    store_arg_i64(&args, to->cursor);
    store_arg_i64(&args, to->position.alerts);
    store_arg_i64(&args, to->position.commands);
    store_arg_i64(&args, to->position.clock_ms);
    store_arg_i64(&args, TSN_FORMAT_VERSION);
    err = run_script(s, STORE_SWITCH, &args, error);
    store_args_release(&args);
    return err;
}

/* A key of some data set other than `run`: the prefix, 32 hex digits, a colon. Only such keys are ever removed. */
static bool is_remains(const struct tsn_store *s, const redisReply *key, const char *run)
{
    size_t prefix = strlen(s->prefix);
    const char *at = key->str + prefix;

    if (key->type != REDIS_REPLY_STRING || (size_t)key->len < prefix + TSN_RESPOND_RUN_TEXT ||
        memcmp(key->str, s->prefix, prefix) != 0 || at[TSN_RESPOND_RUN_TEXT - 1] != ':')
        return false;
    for (int i = 0; i < TSN_RESPOND_RUN_TEXT - 1; i++)
        if (!at[i] || !strchr("0123456789abcdef", at[i]))
            return false;
    return memcmp(at, run, TSN_RESPOND_RUN_TEXT - 1) != 0;
}

/* The prefix as a pattern of SCAN: what it would take for a pattern stands as itself. */
static void put_pattern(const struct tsn_store *s, struct store_args *args)
{
    for (const char *c = s->prefix; *c; c++) {
        if (strchr("*?[]\\^", *c))
            tsn_buf_putc(&args->bytes, '\\');
        tsn_buf_putc(&args->bytes, *c);
    }
    tsn_buf_putc(&args->bytes, '*');
    store_arg_end(args);
}

static enum tsn_err remove_keys(struct tsn_store *s, const redisReply *keys, const char *run, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply = NULL;
    enum tsn_err err = TSN_OK;

    store_arg_text(&args, "DEL");
    for (size_t i = 0; i < keys->elements; i++)
        if (is_remains(s, keys->element[i], run))
            store_arg(&args, keys->element[i]->str, (size_t)keys->element[i]->len);
    if (args.ends.len > 1)
        err = store_call(s, &args, &reply, error);
    if (reply)
        freeReplyObject(reply);
    store_args_release(&args);
    return err;
}

/* Removes other data sets of this prefix. It ends when SCAN does: after one pass over the key space. */
static enum tsn_err remove_remains(struct tsn_store *s, const char *run, struct tsn_error *error)
{
    char cursor[32] = "0";
    enum tsn_err err;

    do {
        struct store_args args = { .bytes = TSN_BUF_INIT };
        redisReply *reply;
        const redisReply *next, *keys;

        store_arg_text(&args, "SCAN");
        store_arg_text(&args, cursor);
        store_arg_text(&args, "MATCH");
        put_pattern(s, &args);
        store_arg_text(&args, "COUNT");
        store_arg_text(&args, "500");
        err = store_call(s, &args, &reply, error);
        store_args_release(&args);
        if (err != TSN_OK)
            return err;
        next = store_reply_at(reply, 0);
        keys = store_reply_at(reply, 1);
        if (!next || next->type != REDIS_REPLY_STRING || (size_t)next->len >= sizeof cursor || !keys ||
            keys->type != REDIS_REPLY_ARRAY) {
            err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: SCAN answered something else", s->shown);
        } else {
            memcpy(cursor, next->str, (size_t)next->len + 1);
            err = remove_keys(s, keys, run, error);
        }
        freeReplyObject(reply);
    } while (err == TSN_OK && strcmp(cursor, "0") != 0);
    return err;
}

/* The generation that stands there, 0 if there is none or it is no number. */
static enum tsn_err seen_generation(struct tsn_store *s, int64_t *generation, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    *generation = 0;
    store_arg_text(&args, "HGET");
    store_arg_printf(&args, "%smeta", s->prefix);
    store_arg_text(&args, "generation");
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err == TSN_ERR_NOT_FOUND)
        return TSN_OK; /* something that is no hash: the switch replaces it */
    if (err != TSN_OK)
        return err;
    if (!store_reply_i64(reply, generation))
        *generation = 0;
    freeReplyObject(reply);
    return TSN_OK;
}

enum tsn_err tsn_store_rebuild(struct tsn_store *s, const struct tsn_respond_mark *committed,
                               bool (*next)(void *arg, struct tsn_respond_incident *incident), void *arg,
                               struct tsn_error *error)
{
    struct tsn_respond_mark to = { .position = { -1, -1, TSN_TIME_NONE } };
    struct tsn_respond_incident in;
    char run[TSN_RESPOND_RUN_TEXT];
    int64_t seen;
    enum tsn_err err;

    if (committed)
        to = *committed;
    err = seen_generation(s, &seen, error);
    if (err == TSN_OK)
        err = new_run(run, error);
    while (err == TSN_OK && next(arg, &in)) {
        err = add_incident(s, run, &in, error);
        tsn_respond_incident_release(&in);
    }
    if (err == TSN_OK)
        err = switch_to(s, run, &to, seen, error);
    if (err == TSN_OK)
        err = remove_remains(s, run, error);
    return err;
}
