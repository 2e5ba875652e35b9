/*
 * labels_json: a label set from a JSON object as jansson read it. For state, bulk files and samples of series, not for the
 * hot path, which has a reader of its own.
 */
#ifndef TSN_CODEC_LABELS_JSON_H
#define TSN_CODEC_LABELS_JSON_H

#include <jansson.h>

#include "tocsin/model.h"

/*
 * The members of `object` that are strings; others are passed over. NULL or no object: the empty set. The caller
 * holds one reference (tsn_labels_unref).
 */
struct tsn_labels *tsn_labels_from_json(const json_t *object);

#endif
