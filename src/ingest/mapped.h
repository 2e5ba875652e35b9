/* mapped: inputs of type mapped (see mapped.c). */
#ifndef TSN_INGEST_MAPPED_H
#define TSN_INGEST_MAPPED_H

#include "ingest/ingest_int.h"

void mappings_set_up(struct tsn_ingest *in);
void mappings_release(struct tsn_ingest *in);
/* One event, as JSON nodes. False: refused. */
bool mapped_event(struct tsn_ingest *in, size_t input, const struct tsn_json_node *root);

#endif
