/* respond_int: what the files of the RESPOND stage share. */
#ifndef TOCSIN_RESPOND_INT_H
#define TOCSIN_RESPOND_INT_H

#include "app/app_int.h"
#include "app/respond_stage.h"
#include "tocsin/codec.h"
#include "tocsin/store.h"

enum { ALERTS = 0, COMMANDS = 1 }; /* index among the consumer's topics */

#define POSITION_KEY "position" /* in topic `respond`: the mark, for when the group's offsets expired */
#define DIRECT_PREFIX "direct:" /* in topic `respond`: a page told on the direct path, by dedup key */

/* A policy from the configuration's files, and what tells it from another: a hash over their texts. */
struct loaded_policy {
    struct tsn_policy policy;
    char hash[33];
};

struct tsn_respond_stage {
    struct tsn_respond_stage_options opt;
    const struct tsn_config *config;
    struct loaded_policy *loaded; /* from the files; NULL when one was given */
    struct loaded_policy *next;   /* under the lock: waits for the stage's thread */
    const struct tsn_policy *policy;
    atomic_bool stop, drain;
    pthread_mutex_t stats_lock;
    struct tsn_respond_stage_stats stats;
};

/* The direct path: what it has told, and what it calls incidents that nobody has opened yet. */
struct direct {
    struct tsn_map told;   /* dedup key → (void *)1 */
    struct tsn_map groups; /* group key → struct direct_group * */
    TSN_VEC(struct tsn_page) pending; /* not told yet, oldest first */
};
struct direct_group {
    char incident_id[40];
    int32_t severity;
};

struct respond_session {
    struct tsn_respond_stage *stage;
    const struct tsn_config *config;
    struct tsn_consumer *consumer;
    bool assigned[2]; /* ALERTS, COMMANDS */
    bool ended, caught_up;
    struct tsn_error why;

    /* the owner's; NULL or false on standby */
    struct tsn_producer *producer;
    struct tsn_reader *readers[2];
    struct tsn_store *store;
    struct tsn_respond *core; /* kept while Redis is away: the direct path asks it which incidents there were */
    bool store_ready;
    bool marked;                    /* something was published before: */
    struct tsn_respond_mark mark;   /* the last of it */
    bool remark;                    /* the data set is new: say so at once */
    int64_t retry_ns, down_since_ns, committed_ns, clock_read_ns, pages_ns;
    int64_t clock_ms;               /* last reading */
    int64_t until[2];               /* draining: ends; -1 not asked yet */
    bool pages_waiting;
    struct direct direct;
    struct tsn_effects effects;
    struct tsn_buf bytes;
};

/* respond_stage.c */
void respond_end_session(struct respond_session *s, const struct tsn_error *why);
/* Redis failed: the core is behind or ahead of it, take over anew. */
void respond_store_failed(struct respond_session *s, const struct tsn_error *error);
bool respond_tell(struct respond_session *s, const struct tsn_page *page);

/* Stores what the core's last input did (s->effects) and clears it. kind TSN_STORE_TICK for a change that no record caused. */
void respond_store_input(struct respond_session *s, enum tsn_store_input_kind kind, struct tsn_respond_position before);
enum tsn_err respond_read_clock(struct respond_session *s, struct tsn_error *error);

/* respond_policy.c */
struct loaded_policy *respond_policy_load(const struct tsn_config *config, struct tsn_error *error);
void respond_policy_free(struct loaded_policy **policy);
/* Takes what a reload left. */
void respond_policy_turn(struct respond_session *s);
/* After a takeover: deadlines that another policy gave are computed anew. */
void respond_policy_apply(struct respond_session *s);

/* respond_take.c */
/* Becomes owner of Kafka's side: producer, last mark, pages of the direct path. */
enum tsn_err respond_take_kafka(struct respond_session *s, struct tsn_error *error);
/* Loads the core from Redis, rebuilding that if need be, and points the readers behind what is applied. */
enum tsn_err respond_take_store(struct respond_session *s, struct tsn_error *error);
/* Without Redis, and before it was ever there in this session: the core holds the incidents that topic `respond` last said, so that the direct path
 * calls them by their names. Good for nothing else; a takeover loads anew. */
enum tsn_err respond_know_incidents(struct respond_session *s, struct tsn_error *error);
void respond_drop_owner(struct respond_session *s);

/* respond_publish.c */
/* Everything in the outbox, and offsets that moved; false: nothing was to do. Ends the session when a transaction fails. */
bool respond_publish(struct respond_session *s);
/* One record to topic `respond` in a transaction of its own. value NULL: a tombstone. */
enum tsn_err respond_record(struct respond_session *s, const char *key, const void *value, size_t len, struct tsn_error *error);

/* respond_direct.c */
void respond_direct_init(struct direct *d);
void respond_direct_release(struct direct *d);
/* Redis is back: what the direct path called incidents is for the core to say now. What was told stays. */
void respond_direct_reset(struct direct *d);
void respond_direct_told(struct direct *d, const char *dedup_key, size_t len);
bool respond_direct_was_told(const struct direct *d, const char *dedup_key);
/* One transition while Redis is away: what it must page is put in line … */
void respond_direct_transition(struct respond_session *s, const struct tsn_transition *t);
/* … and told here, in order, until one cannot be told. */
void respond_direct_flush(struct respond_session *s);

#endif
