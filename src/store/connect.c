/*
 * connect: from the configuration to a connection that is logged in, on the right database, and to a master.
 *
 * With Sentinels: they are asked in turn for the master's address, at each connect anew; the server found must say
 * that it is a master (ROLE), for a Sentinel may be behind. The order of Sentinels in the configuration is kept.
 */
#include "store/store_int.h"

#include <signal.h>
#include <string.h>

static struct timeval timeval_of(int64_t ms)
{
    return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
}

struct tsn_store *tsn_store_new(const struct tsn_config *config, struct tsn_error *error)
{
    struct tsn_store *s = tsn_calloc(1, sizeof *s);

    if (store_address_parse(config->redis.url, &s->address, error) != TSN_OK) {
        tsn_free(s);
        return NULL;
    }
    if (s->address.tls && !store_tls_built()) {
        tsn_error_set(error, TSN_ERR_UNSUPPORTED, "redis.url: rediss:// needs a build with hiredis_ssl 1.1 or later");
        store_address_release(&s->address);
        tsn_free(s);
        return NULL;
    }
    if (*config->redis.password) {
        tsn_free(s->address.password);
        s->address.password = tsn_strdup(config->redis.password);
    }
    for (size_t i = 0; i < config->redis.sentinels.len; i++)
        tsn_texts_add(&s->sentinels, config->redis.sentinels.items[i], strlen(config->redis.sentinels.items[i]));
    s->master = tsn_strdup(config->redis.sentinel_master);
    s->prefix = tsn_strdup(config->redis.key_prefix);
    s->connect_timeout_ms = config->redis.connect_timeout_ms;
    s->command_timeout_ms = config->redis.command_timeout_ms;
    snprintf(s->shown, sizeof s->shown, "%s:%d/%lld", s->address.host, s->address.port, (long long)s->address.db);
    return s;
}

void tsn_store_free(struct tsn_store **store)
{
    struct tsn_store *s = *store;

    if (!s)
        return;
    tsn_store_disconnect(s);
    store_tls_free(s);
    store_address_release(&s->address);
    tsn_texts_release(&s->sentinels);
    tsn_free(s->master);
    tsn_free(s->prefix);
    tsn_free(s);
    *store = NULL;
}

void tsn_store_disconnect(struct tsn_store *s)
{
    if (s->redis)
        redisFree(s->redis);
    s->redis = NULL;
    memset(s->sha, 0, sizeof s->sha);
}

bool tsn_store_connected(const struct tsn_store *s)
{
    return s->redis != NULL;
}

const char *tsn_store_address(const struct tsn_store *s)
{
    return s->shown;
}

/* hiredis writes to sockets without MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
    struct sigaction now;

    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        now = (struct sigaction){ .sa_handler = SIG_IGN };
        sigaction(SIGPIPE, &now, NULL);
    }
}

static enum tsn_err open_socket(struct tsn_store *s, const char *host, int port, struct tsn_error *error)
{
    redisContext *c = redisConnectWithTimeout(host, port, timeval_of(s->connect_timeout_ms));
    enum tsn_err err = TSN_OK;

    if (!c || c->err || redisSetTimeout(c, timeval_of(s->command_timeout_ms)) != REDIS_OK) {
        tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis %s: %s", s->shown, c && c->err ? c->errstr : "no connection");
        err = TSN_ERR_UNREACHABLE;
    } else {
        redisEnableKeepAlive(c);
    }
    if (error && err != TSN_OK)
        error->retriable = true;
    if (err == TSN_OK && s->address.tls)
        err = store_tls_start(s, c, host, error);
    if (err != TSN_OK && c)
        redisFree(c);
    s->redis = err == TSN_OK ? c : NULL;
    return err;
}

/* One command that must be answered with +OK. */
static enum tsn_err expect_ok(struct tsn_store *s, const struct store_args *args, const char *what, struct tsn_error *error)
{
    redisReply *reply;
    enum tsn_err err = store_call(s, args, &reply, error);

    if (err != TSN_OK)
        return err;
    if (!store_reply_is(reply, "OK"))
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: %s was not answered with OK", s->shown, what);
    freeReplyObject(reply);
    return err;
}

static enum tsn_err log_in(struct tsn_store *s, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    enum tsn_err err = TSN_OK;

    if (s->address.password) {
        store_arg_text(&args, "AUTH");
        if (s->address.user)
            store_arg_text(&args, s->address.user);
        store_arg_text(&args, s->address.password);
        err = expect_ok(s, &args, "AUTH", error);
        if (err == TSN_ERR_INTERNAL) /* the words differ by version: a refused login is configuration */
            err = error ? (error->code = TSN_ERR_INVALID) : TSN_ERR_INVALID;
    }
    if (err == TSN_OK && s->address.db) {
        store_args_reset(&args);
        store_arg_text(&args, "SELECT");
        store_arg_i64(&args, s->address.db);
        err = expect_ok(s, &args, "SELECT", error);
    }
    store_args_release(&args);
    return err;
}

static enum tsn_err check_master(struct tsn_store *s, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    enum tsn_err err;

    store_arg_text(&args, "ROLE");
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (!store_reply_is(store_reply_at(reply, 0), "master")) {
        err = tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis %s: a Sentinel called it the master, but it is not", s->shown);
        if (error)
            error->retriable = true;
    }
    freeReplyObject(reply);
    return err;
}

/* Asks one Sentinel. The answer is foreign: a host of at most 255 bytes and a port. */
static bool ask_sentinel(struct tsn_store *s, const char *sentinel, char host[256], int *port)
{
    char sentinel_host[256];
    int sentinel_port;
    redisContext *c;
    redisReply *reply = NULL;
    int64_t number = 0;
    bool ok = false;

    if (!store_host_port(sentinel, strlen(sentinel), 26379, sentinel_host, &sentinel_port))
        return false;
    c = redisConnectWithTimeout(sentinel_host, sentinel_port, timeval_of(s->connect_timeout_ms));
    if (c && !c->err && redisSetTimeout(c, timeval_of(s->command_timeout_ms)) == REDIS_OK)
        reply = redisCommand(c, "SENTINEL get-master-addr-by-name %s", s->master);
    if (store_reply_i64(store_reply_at(reply, 1), &number) && reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[0]->len > 0 && reply->element[0]->len < 256 && number > 0 && number < 65536) {
        memcpy(host, reply->element[0]->str, (size_t)reply->element[0]->len);
        host[reply->element[0]->len] = '\0';
        *port = (int)number;
        ok = true;
    }
    if (reply)
        freeReplyObject(reply);
    if (c)
        redisFree(c);
    return ok;
}

static enum tsn_err connect_to(struct tsn_store *s, const char *host, int port, struct tsn_error *error)
{
    enum tsn_err err;

    snprintf(s->shown, sizeof s->shown, "%s:%d/%lld", host, port, (long long)s->address.db);
    err = open_socket(s, host, port, error);
    if (err == TSN_OK)
        err = log_in(s, error);
    if (err == TSN_OK && s->sentinels.len)
        err = check_master(s, error);
    if (err != TSN_OK)
        tsn_store_disconnect(s);
    return err;
}

enum tsn_err tsn_store_connect(struct tsn_store *s, struct tsn_error *error)
{
    char host[256];
    int port;

    if (s->redis)
        return TSN_OK;
    ignore_sigpipe();
    if (!s->sentinels.len)
        return connect_to(s, s->address.host, s->address.port, error);
    for (size_t i = 0; i < s->sentinels.len; i++)
        if (ask_sentinel(s, s->sentinels.items[i], host, &port) && connect_to(s, host, port, error) == TSN_OK)
            return TSN_OK;
    tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis: none of %zu Sentinels names a master '%s' that can be reached",
                  s->sentinels.len, s->master);
    if (error)
        error->retriable = true;
    return TSN_ERR_UNREACHABLE;
}

enum tsn_err tsn_store_clock(struct tsn_store *s, int64_t *now_ms, struct tsn_error *error)
{
    struct store_args args = { .bytes = TSN_BUF_INIT };
    redisReply *reply;
    int64_t seconds, micros;
    enum tsn_err err;

    store_arg_text(&args, "TIME");
    err = store_call(s, &args, &reply, error);
    store_args_release(&args);
    if (err != TSN_OK)
        return err;
    if (store_reply_i64(store_reply_at(reply, 0), &seconds) && store_reply_i64(store_reply_at(reply, 1), &micros) &&
        seconds >= 0 && seconds < INT64_C(253402300800) && micros >= 0 && micros < 1000000)
        *now_ms = seconds * 1000 + micros / 1000;
    else
        err = tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: TIME answered no time", s->shown);
    freeReplyObject(reply);
    return err;
}
