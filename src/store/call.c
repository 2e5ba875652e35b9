/*
 * call: one command, one script or a pipeline of commands, and what came back, classified.
 *
 * A connection on which anything went wrong below the level of an answer (timeout, end of stream, bytes that are no
 * reply) is closed at once: what was sent may or may not have been done, and only a takeover can tell.
 */
#include "store/store_int.h"

#include <errno.h>
#include <string.h>

/* ---- arguments ---------------------------------------------------------------------------- */

void store_args_release(struct store_args *args)
{
    tsn_buf_release(&args->bytes);
    tsn_vec_release(&args->ends);
}

void store_args_reset(struct store_args *args)
{
    tsn_buf_reset(&args->bytes);
    tsn_vec_clear(&args->ends);
}

void store_arg_end(struct store_args *args)
{
    tsn_vec_push(&args->ends, args->bytes.len);
}

void store_arg(struct store_args *args, const void *data, size_t len)
{
    if (len)
        tsn_buf_append(&args->bytes, data, len);
    store_arg_end(args);
}

void store_arg_text(struct store_args *args, const char *text)
{
    store_arg(args, text, strlen(text));
}

void store_arg_i64(struct store_args *args, int64_t value)
{
    store_arg_printf(args, "%lld", (long long)value);
}

void store_arg_printf(struct store_args *args, const char *fmt, ...)
{
    va_list list;

    va_start(list, fmt);
    tsn_buf_vprintf(&args->bytes, fmt, list);
    va_end(list);
    store_arg_end(args);
}

/* ---- errors ------------------------------------------------------------------------------- */

enum tsn_err store_context_error(const redisContext *c, const char *shown, struct tsn_error *error)
{
    enum tsn_err code = TSN_ERR_UNREACHABLE;

    if (c && c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT))
        code = TSN_ERR_TIMEOUT;
    tsn_error_set(error, code, "Redis %s: %s", shown,
                  code == TSN_ERR_TIMEOUT ? "no answer in time" : c && c->err ? c->errstr : "out of memory");
    if (error)
        error->retriable = true;
    return code;
}

/* What the first word of an error reply means to us. */
static const struct {
    const char *word;
    enum tsn_err code;
    bool retriable;
} reply_errors[] = {
    { "OOM", TSN_ERR_LIMIT, true },          { "NOAUTH", TSN_ERR_INVALID, false },
    { "WRONGPASS", TSN_ERR_INVALID, false }, { "NOPERM", TSN_ERR_INVALID, false },
    { "WRONGTYPE", TSN_ERR_NOT_FOUND, true }, /* a key of ours holds something else: damage */
    { "NOSCRIPT", TSN_ERR_NOT_FOUND, true },
    { "LOADING", TSN_ERR_UNREACHABLE, true }, { "READONLY", TSN_ERR_UNREACHABLE, true },
    { "MASTERDOWN", TSN_ERR_UNREACHABLE, true }, { "BUSY", TSN_ERR_UNREACHABLE, true },
    { "MISCONF", TSN_ERR_UNREACHABLE, true }, { "NOREPLICAS", TSN_ERR_UNREACHABLE, true },
};

enum tsn_err store_reply_error(const char *shown, const redisReply *reply, struct tsn_error *error)
{
    enum tsn_err code = TSN_ERR_INTERNAL;
    bool retriable = false;
    size_t len = tsn_utf8_valid_prefix(reply->str, reply->len < 300 ? (size_t)reply->len : 300);

    for (size_t i = 0; i < TSN_ARRAY_LEN(reply_errors); i++) {
        size_t n = strlen(reply_errors[i].word);
        /* An error inside a script: "ERR …: -OOM command not allowed" before 7, "OOM …" since. */
        const char *at = memmem(reply->str, len, reply_errors[i].word, n);

        if (at && (at == reply->str || at[-1] == '-')) {
            code = reply_errors[i].code;
            retriable = reply_errors[i].retriable;
            break;
        }
    }
    tsn_error_set(error, code, "Redis %s: %.*s", shown, (int)len, reply->str);
    if (error)
        error->retriable = retriable;
    return code;
}

/* ---- calls -------------------------------------------------------------------------------- */

/* The borrowed pointers and lengths that hiredis wants. Both arrays are the caller's to free. */
static int argv_of(const struct store_args *args, const char ***argv, size_t **lens)
{
    size_t n = args->ends.len, start = 0;

    *argv = tsn_calloc(n, sizeof **argv);
    *lens = tsn_calloc(n, sizeof **lens);
    for (size_t i = 0; i < n; i++) {
        (*argv)[i] = tsn_buf_str(&args->bytes) + start;
        (*lens)[i] = args->ends.items[i] - start;
        start = args->ends.items[i];
    }
    return (int)n;
}

static enum tsn_err send_command(struct tsn_store *s, const struct store_args *args, struct tsn_error *error)
{
    const char **argv;
    size_t *lens;
    int n = argv_of(args, &argv, &lens), rc;

    rc = redisAppendCommandArgv(s->redis, n, argv, lens);
    tsn_free((void *)argv);
    tsn_free(lens);
    if (rc == REDIS_OK)
        return TSN_OK;
    store_context_error(s->redis, s->shown, error);
    tsn_store_disconnect(s);
    return TSN_ERR_UNREACHABLE;
}

/* The raw reply, an error reply included. */
static enum tsn_err read_reply(struct tsn_store *s, redisReply **reply, struct tsn_error *error)
{
    void *got = NULL;
    enum tsn_err err;

    errno = 0;
    if (redisGetReply(s->redis, &got) == REDIS_OK && got) {
        *reply = got;
        return TSN_OK;
    }
    err = store_context_error(s->redis, s->shown, error);
    tsn_store_disconnect(s);
    return err;
}

enum tsn_err store_call(struct tsn_store *s, const struct store_args *args, redisReply **reply, struct tsn_error *error)
{
    enum tsn_err err;

    *reply = NULL;
    if (!s->redis)
        return tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis %s: not connected", s->shown);
    err = send_command(s, args, error);
    if (err == TSN_OK)
        err = read_reply(s, reply, error);
    if (err == TSN_OK && (*reply)->type == REDIS_REPLY_ERROR) {
        err = store_reply_error(s->shown, *reply, error);
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return err;
}

static void build_script(struct store_args *out, const char *verb, const char *what, int keys, const struct store_args *args)
{
    size_t start = 0;

    store_arg_text(out, verb);
    store_arg_text(out, what);
    store_arg_i64(out, keys);
    for (size_t i = 0; i < args->ends.len; i++) {
        store_arg(out, args->bytes.data + start, args->ends.items[i] - start);
        start = args->ends.items[i];
    }
}

static enum tsn_err load_script(struct tsn_store *s, int script, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    store_arg_text(&args, "SCRIPT");
    store_arg_text(&args, "LOAD");
    store_arg_text(&args, store_scripts[script]);
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: SCRIPT LOAD answered no hash", s->shown);
    } else {
        memcpy(s->sha[script], reply->str, 40);
        s->sha[script][40] = '\0';
    }
    freeReplyObject(reply);
    return err;
}

enum tsn_err store_script(struct tsn_store *s, int script, int keys, const struct store_args *args, redisReply **reply,
                          struct tsn_error *error)
{
    struct tsn_error local = { .code = TSN_OK };
    enum tsn_err err = TSN_OK;

    *reply = NULL;
    /* Twice: SCRIPT FLUSH or a failover may have made Redis forget. The second time it was loaded just now. */
    for (int attempt = 0; attempt < 2; attempt++) {
        struct store_args whole = { .bytes = TSN_BUF_INIT };

        if (!s->sha[script][0])
            err = load_script(s, script, &local);
        if (err != TSN_OK)
            break;
        build_script(&whole, "EVALSHA", s->sha[script], keys, args);
        err = store_call(s, &whole, reply, &local);
        store_args_release(&whole);
        if (err == TSN_OK || !strstr(local.message, "NOSCRIPT"))
            break;
        s->sha[script][0] = '\0';
        err = TSN_OK;
    }
    if (err == TSN_OK && !*reply)
        err = tsn_error_set(&local, TSN_ERR_UNREACHABLE, "Redis %s: it forgets scripts as fast as they are loaded", s->shown);
    if (err != TSN_OK && error)
        *error = local;
    return err;
}

enum tsn_err store_pipeline(struct tsn_store *s, size_t count,
                            void (*build)(void *arg, size_t i, struct store_args *args),
                            enum tsn_err (*take)(void *arg, size_t i, const redisReply *reply, struct tsn_error *error),
                            void *arg, struct tsn_error *error)
{
    enum { CHUNK = 128 }; /* replies that hiredis holds at once: 128 incidents of some KiB each */
    struct store_args args = { .bytes = TSN_BUF_INIT };
    enum tsn_err err = s->redis ? TSN_OK : tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis %s: not connected", s->shown);

    for (size_t done = 0; done < count && err == TSN_OK; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK, sent = 0;
        enum tsn_err first = TSN_OK;

        for (; sent < n && err == TSN_OK; sent++) {
            store_args_reset(&args);
            build(arg, done + sent, &args);
            err = send_command(s, &args, error);
        }
        /* Every reply is read, so that the connection stays in step even when one of them is bad. */
        for (size_t i = 0; i < n && err == TSN_OK; i++) {
            redisReply *reply;

            err = read_reply(s, &reply, error);
            if (err != TSN_OK)
                break;
            if (first == TSN_OK)
                first = reply->type == REDIS_REPLY_ERROR ? store_reply_error(s->shown, reply, error)
                                                         : take(arg, done + i, reply, error);
            freeReplyObject(reply);
        }
        err = err == TSN_OK ? first : err;
    }
    store_args_release(&args);
    return err;
}

/* ---- replies ------------------------------------------------------------------------------ */

bool store_reply_i64(const redisReply *reply, int64_t *out)
{
    if (reply && reply->type == REDIS_REPLY_INTEGER) {
        *out = reply->integer;
        return true;
    }
    return reply && reply->type == REDIS_REPLY_STRING && tsn_parse_i64(reply->str, (size_t)reply->len, out);
}

bool store_reply_is(const redisReply *reply, const char *text)
{
    return reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
           (size_t)reply->len == strlen(text) && memcmp(reply->str, text, (size_t)reply->len) == 0;
}

const redisReply *store_reply_at(const redisReply *reply, size_t i)
{
    return reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;
}

bool store_reply_run(const redisReply *reply, char run[TSN_RESPOND_RUN_TEXT])
{
    if (!reply || reply->type != REDIS_REPLY_STRING || reply->len != TSN_RESPOND_RUN_TEXT - 1)
        return false;
    for (int i = 0; i < TSN_RESPOND_RUN_TEXT - 1; i++)
        if (!reply->str[i] || !strchr("0123456789abcdef", reply->str[i]))
            return false;
    memcpy(run, reply->str, TSN_RESPOND_RUN_TEXT - 1);
    run[TSN_RESPOND_RUN_TEXT - 1] = '\0';
    return true;
}
