/*
 * fuzz_chunk: bytes as a chunk of samples, as one lies in topic `state`. What decodes must encode, and decode to the
 * same samples, bit for bit. Inputs are also read as samples (9 bytes each), encoded and decoded again.
 */
#include "tocsin/chunk.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LENGTH_MS = 1800000 };

static void same(const struct tsn_chunk *a, const struct tsn_chunk *b)
{
    TSN_ASSERT(a->count == b->count && a->kind == b->kind && a->derived == b->derived);
    TSN_ASSERT(tsn_labels_equal(a->labels, b->labels));
    TSN_ASSERT(memcmp(a->samples, b->samples, a->count * sizeof *a->samples) == 0);
}

static void there_and_back(const struct tsn_chunk *chunk)
{
    struct tsn_buf bytes = TSN_BUF_INIT;
    struct tsn_chunk back;

    tsn_chunk_encode(chunk, 0, &bytes);
    TSN_ASSERT(tsn_chunk_decode(bytes.data, bytes.len, 0, LENGTH_MS, &back, NULL) == TSN_OK);
    same(chunk, &back);
    tsn_chunk_release(&back);
    tsn_buf_release(&bytes);
}

static void as_samples(const uint8_t *data, size_t size)
{
    struct tsn_chunk chunk = { .labels = tsn_labels_of("__name__", "m", "service", "a", NULL), .kind = TSN_COUNTER };
    int64_t ts_ms = 0;

    chunk.samples = tsn_calloc(size / 9 + 1, sizeof *chunk.samples);
    for (size_t i = 0; i + 9 <= size && ts_ms < LENGTH_MS - 256; i += 9) {
        uint64_t bits;

        ts_ms += data[i] + 1;
        memcpy(&bits, data + i + 1, sizeof bits);
        chunk.samples[chunk.count++] = (struct tsn_sample){ ts_ms, tsn_double_from_bits(bits) };
    }
    if (chunk.count)
        there_and_back(&chunk);
    tsn_chunk_release(&chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_chunk chunk;

    if (tsn_chunk_decode(data, size, 0, LENGTH_MS, &chunk, NULL) == TSN_OK) {
        there_and_back(&chunk);
        tsn_chunk_release(&chunk);
    }
    as_samples(data, size);
    return 0;
}
