/* shape: the fast path of JSON (see shape.c). */
#ifndef TSN_INGEST_SHAPE_H
#define TSN_INGEST_SHAPE_H

#include "ingest/ingest_int.h"

struct shapes; /* of one input */
struct shapes *shapes_new(void);
void shapes_free(struct shapes *shapes);
/* The whole record, or false: then nothing is decided, and what was gathered of the record is to be dropped. */
bool shapes_take(struct tsn_ingest *in, struct shapes *shapes, enum tsn_input_type type, const char *data, size_t len);
/* Learns from an event object that the exact path took; `data` is the record it was parsed from. */
void shapes_learn(struct shapes *shapes, enum tsn_input_type type, const struct tsn_json_node *object, const char *data,
                  size_t len);

#endif
