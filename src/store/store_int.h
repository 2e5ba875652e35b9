/* store_int: what the files of store share. */
#ifndef TOCSIN_STORE_INT_H
#define TOCSIN_STORE_INT_H

#include "tocsin/store.h"

#include <hiredis/hiredis.h>

struct store_address {
    char host[256];
    int port;
    int64_t db;
    bool tls;
    char *user, *password; /* owned; NULL: none */
};

enum { STORE_TAKEOVER, STORE_APPLY, STORE_TRIM, STORE_PAGES_DONE, STORE_ADD, STORE_SWITCH, STORE_SCRIPTS };
extern const char *const store_scripts[STORE_SCRIPTS];

struct store_tls;
struct tsn_store {
    struct store_address address; /* of the URL: with Sentinels host and port are theirs to say */
    struct tsn_texts sentinels;
    char *master, *prefix;
    int64_t connect_timeout_ms, command_timeout_ms;
    char shown[320];
    redisContext *redis; /* NULL: not connected */
    struct store_tls *tls;
    char sha[STORE_SCRIPTS][41];  /* "": not known to be loaded */
    struct tsn_respond_mark mark; /* the owner's: what is stored */
    int64_t trimmed;
};

/* Arguments of a command: one flat buffer and where each ends, so that a script with 100,000 of them costs two
 * allocations. */
struct store_args {
    struct tsn_buf bytes;
    TSN_VEC(size_t) ends;
};
void store_args_release(struct store_args *args);
void store_args_reset(struct store_args *args);
void store_arg(struct store_args *args, const void *data, size_t len);
void store_arg_text(struct store_args *args, const char *text);
void store_arg_i64(struct store_args *args, int64_t value);
void store_arg_printf(struct store_args *args, const char *fmt, ...) TSN_PRINTF(2, 3);
/* Ends an argument that was appended to args->bytes in place. */
void store_arg_end(struct store_args *args);

/* address.c */
enum tsn_err store_address_parse(const char *url, struct store_address *address, struct tsn_error *error);
void store_address_release(struct store_address *address);
/* "host:port" or "[v6]:port". */
bool store_host_port(const char *text, size_t len, int default_port, char host[256], int *port);

/* call.c */
/* Sends and reads one reply; the caller frees it. An error reply is an error. */
enum tsn_err store_call(struct tsn_store *s, const struct store_args *args, redisReply **reply, struct tsn_error *error);
/* Runs a script by its hash, and by its text where Redis does not know it. args: `keys` KEYS, then ARGV. */
enum tsn_err store_script(struct tsn_store *s, int script, int keys, const struct store_args *args, redisReply **reply,
                          struct tsn_error *error);
/* Pipelines `count` commands built by `build` and hands each reply to `take` (borrowed). The first error ends it. */
enum tsn_err store_pipeline(struct tsn_store *s, size_t count,
                            void (*build)(void *arg, size_t i, struct store_args *args),
                            enum tsn_err (*take)(void *arg, size_t i, const redisReply *reply, struct tsn_error *error),
                            void *arg, struct tsn_error *error);
/* What hiredis says of a context that failed; the connection is then of no use. */
enum tsn_err store_context_error(const redisContext *c, const char *shown, struct tsn_error *error);
/* The code and words of an error reply. */
enum tsn_err store_reply_error(const char *shown, const redisReply *reply, struct tsn_error *error);

/* reply checks: false, or NULL, if the reply is something else */
bool store_reply_i64(const redisReply *reply, int64_t *out); /* integer, or digits in a string */
bool store_reply_is(const redisReply *reply, const char *text);
const redisReply *store_reply_at(const redisReply *reply, size_t i);
bool store_reply_run(const redisReply *reply, char run[TSN_RESPOND_RUN_TEXT]);

/* load.c */
enum tsn_err store_load(struct tsn_store *s, struct tsn_respond *respond, struct tsn_error *error);
/* Every id of :incidents, checked. Released with tsn_texts_release. */
enum tsn_err store_ids(struct tsn_store *s, const char *run, struct tsn_texts *ids, struct tsn_error *error);

/* tls.c */
enum tsn_err store_tls_start(struct tsn_store *s, redisContext *c, const char *host, struct tsn_error *error);
void store_tls_free(struct tsn_store *s);
bool store_tls_built(void);

#endif
