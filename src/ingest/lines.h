/* lines: the signatures of log lines (see lines.c). */
#ifndef TSN_INGEST_LINES_H
#define TSN_INGEST_LINES_H

#include "ingest/ingest_int.h"

/* NULL with *error: section `logs` of the configuration is wrong. */
struct lines *lines_new(const struct tsn_config *config, struct tsn_error *error);
void lines_free(struct lines *lines);
/* Whether any rule could select a template series at all. */
bool lines_wanted(struct tsn_ingest *in);
/* A line of the record under way (in->record). */
void lines_take(struct tsn_ingest *in, const struct line *line, int64_t ts_ms, int64_t pane_ms);
size_t lines_pending(const struct tsn_ingest *in);
/* Puts the open batch's signatures and counts in in->places; their texts are borrowed until lines_bound. */
void lines_emit(struct tsn_ingest *in, int64_t minute);
/* After the batch was encoded. */
void lines_bound(struct tsn_ingest *in);

#endif
