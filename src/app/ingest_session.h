/*
 * ingest_session: what the files of INGEST's shell share; see ingest_stage.c for who owns what.
 */
#ifndef TOCSIN_INGEST_SESSION_H
#define TOCSIN_INGEST_SESSION_H

#include "app/app_int.h"
#include "tocsin/ingest.h"

enum {
    INGEST_QUERY_MS = 2000,
    ALIGN_MARKS = 256 /* a minute of marks; a partition that stays ahead for longer is paused by then, or not by bytes */
};

/* How many bytes a partition had given when its watermark stood there. */
struct align_mark {
    int64_t watermark_ms, bytes;
};

struct part {
    bool mine, held, align_paused, idle, blocked;
    int64_t next_offset, eof_offset; /* eof_offset -1: records came since */
    int64_t eof_ns, asked_ns, retry_ns, assigned_ns;
    int64_t first_ms; /* its first watermark here; TSN_TIME_NONE: none yet */
    int64_t bytes; /* values read */
    struct align_mark marks[ALIGN_MARKS]; /* oldest first */
    int mark_count;
    int64_t until; /* until_end: where to stop; -1 not asked */
};

struct sender {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct tsn_closed_batch *batch; /* in the mailbox until its transaction is over */
    bool quit, failed;
    struct tsn_error error;
};

struct ingest_session {
    struct stage *stage;
    struct tsn_app *app;
    const struct tsn_config *config;
    struct tsn_consumer *consumer;
    struct tsn_producer *producer;
    struct tsn_ingest *ingest;
    struct sender sender;
    atomic_llong epoch;
    struct part *parts[256]; /* [input][partition] */
    int32_t part_count[256];
    TSN_VEC(struct tsn_rule_set *) sets;
    size_t sets_seen;
    bool ended, caught_up;
    struct tsn_error why;
    int64_t closed_ns, rules_ns, align_ns, writer;
    struct tsn_kafka_partitions committed; /* of the whole group, at align_ns */
    int64_t began_ns, looked_ns, marked_ns;
    bool align_waits;      /* a partition of this worker is paused for others */
    int64_t gone_ns;       /* when the group was last asked for topics that nobody reads any more; 0: never */
    int64_t silent_ns;     /* when the broker last did not answer the question for an end; 0: it does */
    int64_t first_ns;      /* when the first record came; 0: none yet */
    int64_t step_ms, step; /* every step of a rule group stands at a multiple of step_ms; the last one that a batch took along */
    struct tsn_ingest_stats base;
};


/* The first reason counts. */
void ingest_end(struct ingest_session *s, const struct tsn_error *why);
static inline bool ingest_older_than(int64_t since_ns, int64_t ms)
{
    return tsn_mono_now().ns - since_ns >= ms * 1000000;
}
/* NULL if there is no such partition. */
struct part *ingest_part(struct ingest_session *s, int32_t input, int32_t partition);

/* ---- ingest_sender.c ----------------------------------------------------------------------- */

void ingest_sender_start(struct ingest_session *s);
void ingest_sender_stop(struct ingest_session *s);
/* Waits until the mailbox is empty; false if it is not within ms, or the sender failed (then the session ends). */
bool ingest_sender_wait(struct ingest_session *s, int64_t ms);
/* Takes the batch. The mailbox must be empty. */
void ingest_sender_take(struct ingest_session *s, struct tsn_closed_batch *batch);

/* ---- ingest_align.c ------------------------------------------------------------------------ */

/* To be called in every turn: pauses partitions that are too far ahead of what they must run beside, and lets them go again. */
void ingest_align(struct ingest_session *s);

#endif
