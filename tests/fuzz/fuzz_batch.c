/* fuzz_batch: any bytes as a sample batch; what decodes must encode, and decode to the same bytes again. */
#include "tocsin/codec.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_batch batch, again;
    struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;

    if (tsn_codec_batch_decode(data, size, &batch, NULL) != TSN_OK)
        return 0;
    tsn_codec_batch_encode(&batch, &once);
    TSN_ASSERT(tsn_codec_batch_decode(once.data, once.len, &again, NULL) == TSN_OK);
    tsn_codec_batch_encode(&again, &twice);
    TSN_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    tsn_batch_release(&batch);
    tsn_batch_release(&again);
    tsn_buf_release(&once);
    tsn_buf_release(&twice);
    return 0;
}
