/* text_events: records of plain text, logfmt, syslog or JSON lines → log events, traces joined across records (see text_events.c). */
#ifndef TSN_INGEST_TEXT_EVENTS_H
#define TSN_INGEST_TEXT_EVENTS_H

#include "ingest/ingest_int.h"

/* Whether this record is text. */
bool text_wanted(const struct tsn_ingest *in, const struct tsn_ingest_record *r);
/* Whether the partition holds this offset already. */
bool text_holds(const struct part *part, int64_t offset);
/* Takes the record to what is held if it continues that; false if it does not. */
bool text_continues(const struct tsn_ingest *in, struct part *part, const struct tsn_ingest_record *r);
/* Holds the record. Nothing may be held. */
void text_hold(struct part *part, const struct tsn_ingest_record *r);
/* What is held as one record, borrowed until text_taken, the offset behind it and how many records it was. False: nothing is. */
bool text_held(const struct part *part, struct tsn_ingest_record *r, int64_t *next_offset, uint64_t *records);
/* Nothing is held any more; text_drop for good. */
void text_taken(struct part *part);
void text_drop(struct part *part);
/* The events of a text record. False: refused. */
bool text_take(struct tsn_ingest *in, const struct tsn_ingest_record *r);
void text_release(struct tsn_ingest *in);

#endif
