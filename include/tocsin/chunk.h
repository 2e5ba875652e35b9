/*
 * chunk: the samples of one series over a stretch of event time, compressed (codec, L2). The past of long windows in
 * topic `state`.
 *
 *     format u8 | flags u8 | labels: n, (name, value) … | samples: n | first time | first bits | n-1 × sample
 *     sample:  control u8 | change of the time step, if it changed | bytes of (bits XOR bits before) that are not zero
 *
 * Numbers are variable-length (7 bits a byte), texts have their length in front. The control byte says how many zero bytes
 * lead in the XOR and how many bytes follow; its top bit, that the time step changed. A steady gauge is 1 byte a
 * sample, a counter of whole numbers about 3. Bits are kept exactly, NaN and stale markers too.
 *
 * Decoding is bounded by the bytes at hand (a sample takes one at least), and refuses what encoding cannot have made:
 * times that do not rise or lie outside (start, end], bytes left over, labels out of order.
 */
#ifndef TOCSIN_CHUNK_H
#define TOCSIN_CHUNK_H

#include "tocsin/model.h"

struct tsn_chunk {
    struct tsn_labels *labels;
    enum tsn_sample_kind kind;
    bool derived; /* written by a rule */
    struct tsn_sample *samples; /* times rise */
    size_t count;
};
/* Appends. Times rise and lie in (start_ms, …]; count > 0. */
void tsn_chunk_encode(const struct tsn_chunk *chunk, int64_t start_ms, struct tsn_buf *out);
/* INVALID, with a word, or UNSUPPORTED for a newer format. Release on TSN_OK alone. */
enum tsn_err tsn_chunk_decode(const void *data, size_t len, int64_t start_ms, int64_t end_ms, struct tsn_chunk *out,
                              struct tsn_error *error);
void tsn_chunk_release(struct tsn_chunk *chunk);

#endif
