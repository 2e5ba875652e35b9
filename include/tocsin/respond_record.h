/*
 * respond_record: what RESPOND keeps outside itself, as bytes (L4): in Redis and in the compacted topic `respond`.
 *
 *   incident   struct tsn_respond_incident ⇄ JSON: Redis, and `respond` keyed by incident id
 *   mark       which state of Redis was the last one published: the metadata of the committed offsets of `alerts`
 *              and `commands`, and `respond` under the key "position" (for when the group's offsets expired)
 *   entry      one element of the outbox: an event, a snapshot or a tombstone that waits to be published
 *   page       a page that waits to be told; in Redis, and `respond` under "direct:<dedup key>" (direct path)
 *   answer     to a command, for who waits for it
 *
 * All of it comes back as foreign bytes (a restored Redis, an older or newer Tocsin, an edit by hand), so decoding
 * checks every range that the core relies on. The same value gives the same bytes. A format number greater than
 * ours is TSN_ERR_UNSUPPORTED. Pure: no I/O.
 */
#ifndef TOCSIN_RESPOND_RECORD_H
#define TOCSIN_RESPOND_RECORD_H

#include "tocsin/respond.h"

/* ---- incident ----------------------------------------------------------------------------- */

/* Appends one JSON object. */
void tsn_respond_incident_encode(const struct tsn_respond_incident *incident, struct tsn_buf *out);
/* On success the caller releases *incident; on an error it is empty. INVALID, UNSUPPORTED. */
enum tsn_err tsn_respond_incident_decode(const void *data, size_t len, struct tsn_respond_incident *incident,
                                         struct tsn_error *error);

/* ---- mark --------------------------------------------------------------------------------- */

#define TSN_RESPOND_RUN_TEXT 33 /* 32 hex digits and a NUL */

/* A state of the store. `run` names one data set: a rebuild gives it a new one. */
struct tsn_respond_mark {
    char run[TSN_RESPOND_RUN_TEXT];
    int64_t generation;                  /* of the owner that wrote it, from 1 */
    int64_t cursor;                      /* outbox entries 1 … cursor exist (or, committed: are published) */
    struct tsn_respond_position position; /* offsets of the last applied records, -1: none; the clock */
};
#define TSN_RESPOND_MARK_TEXT 192
/* "v=1 run=… generation=5 cursor=1234 alerts=10 commands=-1 clock=1700000000000" */
void tsn_respond_mark_format(char out[TSN_RESPOND_MARK_TEXT], const struct tsn_respond_mark *mark);
enum tsn_err tsn_respond_mark_parse(const char *text, size_t len, struct tsn_respond_mark *mark,
                                    struct tsn_error *error);

/* ---- outbox entry ------------------------------------------------------------------------- */

enum tsn_outbox_kind { TSN_OUTBOX_EVENT, TSN_OUTBOX_SNAPSHOT, TSN_OUTBOX_TOMBSTONE };

struct tsn_outbox_entry {
    enum tsn_outbox_kind kind;
    bool last;                            /* of its input: a transaction may end here … */
    struct tsn_respond_position position; /* … with this much of the inputs applied */
    char incident_id[40];
    int64_t seq, event_time_ms;          /* EVENT */
    enum tsn_incident_event_type type;   /* EVENT */
    const char *value;                   /* borrowed; empty for a tombstone */
    size_t len;
};
/* One line of words, then the value's bytes. Appends. */
void tsn_outbox_entry_encode(const struct tsn_outbox_entry *entry, struct tsn_buf *out);
/* value is borrowed from data. */
enum tsn_err tsn_outbox_entry_decode(const void *data, size_t len, struct tsn_outbox_entry *entry,
                                     struct tsn_error *error);

/* ---- page and answer ---------------------------------------------------------------------- */

void tsn_page_release(struct tsn_page *page);
/* Appends one JSON object. */
void tsn_page_encode(const struct tsn_page *page, struct tsn_buf *out);
enum tsn_err tsn_page_decode(const void *data, size_t len, struct tsn_page *page, struct tsn_error *error);

struct tsn_respond_answer {
    enum tsn_err code;
    char incident_id[40];
    int64_t version; /* of the incident after the command; 0: there is none */
    char *message;   /* owned */
};
void tsn_respond_answer_release(struct tsn_respond_answer *answer);
/* Appends one JSON object. */
void tsn_respond_answer_encode(const struct tsn_respond_answer *answer, struct tsn_buf *out);
enum tsn_err tsn_respond_answer_decode(const void *data, size_t len, struct tsn_respond_answer *answer,
                                       struct tsn_error *error);

#endif
