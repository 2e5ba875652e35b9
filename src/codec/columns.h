/*
 * columns: the packed columns inside a sample batch (internal to codec). Layout: columns.c.
 */
#ifndef TSN_CODEC_COLUMNS_H
#define TSN_CODEC_COLUMNS_H

#include "codec/wire.h"
#include "tocsin/model.h"

void columns_put_points(struct tsn_buf *out, const struct tsn_batch_point *points, size_t count);
void columns_put_deltas(struct tsn_buf *out, const struct tsn_batch_delta *deltas, size_t count);
/* Each reads the whole of *w; on failure w->bad is set and *count is what may be freed. */
void columns_get_points(struct wire *w, struct tsn_batch_point **points, size_t *count);
void columns_get_deltas(struct wire *w, struct tsn_batch_delta **deltas, size_t *count);

#endif
