/* avro_events: Avro records of inputs (see avro_events.c). */
#ifndef TSN_INGEST_AVRO_EVENTS_H
#define TSN_INGEST_AVRO_EVENTS_H

#include "ingest/ingest_int.h"
#include "tocsin/avro_plan.h"

/* Reads the schemas that the configuration names. False with *error. */
bool avro_inputs_set_up(struct tsn_ingest *in, struct tsn_error *error);
void avro_inputs_release(struct tsn_ingest *in);
bool avro_framed(const struct tsn_ingest_record *record);
/* The record's events; false: refused, or, where *err is UNREACHABLE, to be offered again. */
bool avro_take_framed(struct tsn_ingest *in, const struct tsn_ingest_record *record, enum tsn_err *err, struct tsn_error *error);
bool avro_take_bare(struct tsn_ingest *in, size_t input, const void *data, size_t len);

#endif
