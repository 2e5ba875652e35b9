/*
 * app_int: what the stages' files share.
 *
 * Concurrency: a stage's thread owns its consumer, producer and core. Shared are only: the stop and drain flags (atomics), the rule book
 * (its own mutex) and the stats (app->stats_lock, taken for a copy at a time).
 */
#ifndef TOCSIN_APP_INT_H
#define TOCSIN_APP_INT_H

#include "tocsin/app.h"
#include "tocsin/kafka.h"
#include "tocsin/registry.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- rule book: topic `rules`, all sets in order of number ---------------------------------- */

struct rule_book;
/* What stands in a set's record beside the texts: all that DETECT's answer depends on. */
struct rule_settings {
    char *shard_label;
    int64_t lookback_ms, counter_ttl_ms;
    bool warmup, fill_job;
    struct tsn_labels *external_labels; /* the book's */
    char *external_url;
};
struct rule_book *tsn_rule_book_new(const struct tsn_config *config, struct tsn_error *error);
void tsn_rule_book_free(struct rule_book **book);
/* Publishes if the hash was never seen (first) or is not the last one's (else); *number is the set that holds the texts. */
enum tsn_err tsn_rule_book_publish(struct rule_book *book, const struct tsn_config *config, const struct tsn_rule_sources *sources,
                                   bool first, int64_t *number, struct tsn_error *error);
/* Reads what the topic has got since. */
enum tsn_err tsn_rule_book_refresh(struct rule_book *book, struct tsn_error *error);
size_t tsn_rule_book_count(struct rule_book *book);
/* The set at `index`, parsed for the caller alone; NULL if it does not parse (logged). */
struct tsn_rule_set *tsn_rule_book_load(struct rule_book *book, size_t index, int64_t *number);
/* Settings of the last set; a copy with fresh text. False if the book is empty. */
bool tsn_rule_book_settings(struct rule_book *book, struct rule_settings *out);
void tsn_rule_settings_release(struct rule_settings *settings);

/* ---- rules as DETECT sees them -------------------------------------------------------------- */

struct rule_stats {
    struct tsn_app_rule *items;
    size_t len, cap;
};
void tsn_rule_stats_release(struct rule_stats *stats);

/* ---- the whole ------------------------------------------------------------------------------ */

struct tsn_respond_stage;

struct stage {
    struct tsn_app *app;
    pthread_t thread;
    bool started, left; /* left: it did not end in time, and still uses all of this */
    int64_t asked_ns;  /* when it was asked to stop */
    atomic_bool stop;  /* leave now, in order */
    atomic_bool drain; /* until_end: the stage before is through; take the ends now */
    atomic_bool done;
    char failure[512]; /* written before `done` */
};

struct tsn_app {
    struct tsn_app_options opt;
    const struct tsn_config *config;
    struct rule_book *book;
    struct tsn_registry *registry; /* INGEST's thread's; NULL: none is configured */
    struct stage ingest, detect, respond;
    struct tsn_respond_stage *responder;
    pthread_mutex_t stats_lock;
    struct tsn_app_stats *stats;
    struct rule_stats rules; /* under stats_lock */
    int64_t files_checked_ns;
    struct tsn_u128 files_hash;
    int32_t samples_partitions;
};

struct tsn_ingest_options;
/* Fills in where schemas and files come from. */
void tsn_app_ingest_sources(struct tsn_app *app, struct tsn_ingest_options *options);
void *tsn_ingest_stage_main(void *stage);
void *tsn_detect_stage_main(void *stage);
/* Text of a file for schemas and rules; caller frees. */
char *tsn_app_read_file(const char *path, size_t max_bytes, size_t *len, struct tsn_error *error);
/* <group_prefix><name> or <group_prefix><name>-<slot>; caller frees. */
char *tsn_app_name(const struct tsn_config *config, const char *name, bool with_slot);
void tsn_app_sleep_ms(int ms);
/* Says why the stage leaves for good. */
void tsn_stage_fail(struct stage *stage, const struct tsn_error *error);
/* Counts sessions that ended by a fence: three in a minute mean that the slot is used twice. */
struct fence_guard {
    int64_t at_ns[3];
};
bool tsn_fence_guard_hit(struct fence_guard *guard);

/* ---- whether detection sees anything: detect_sight.c ---- */

struct detect_sight {
    int64_t watermark_ms, moved_ns; /* newest that was seen, and when it came */
    bool blind, owned;              /* owned: partitions, when it was last asked */
    int64_t from_ms, lost_ms;       /* where sight was lost: event time, wall clock */
};

void tsn_detect_sight_init(struct detect_sight *sight);
/* The least event time of all owned partitions stands at watermark_ms. */
void tsn_detect_sight_at(struct detect_sight *sight, int64_t watermark_ms);
/* A partition was taken over whose owner before committed last at last_commit_ms of the wall clock (TSN_TIME_NONE: there was none). */
void tsn_detect_sight_taken_over(struct tsn_app *app, struct detect_sight *sight, int64_t watermark_ms, int64_t last_commit_ms);
/* To be called about twice a second: says that detection went blind, or sees again. */
void tsn_detect_sight_watch(struct tsn_app *app, struct detect_sight *sight, bool owns);

#endif
