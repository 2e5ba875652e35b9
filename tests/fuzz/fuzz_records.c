/*
 * fuzz_records: the first byte picks the record and the form, the rest is read as it. What decodes
 * must encode, and the bytes must then be a fixed point; as JSON, too, whose texts are UTF-8.
 */
#include "tocsin/codec.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY(stem, type, release)                                                                    \
    do {                                                                                            \
        struct type a, b;                                                                           \
        struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT, json = TSN_BUF_INIT;              \
                                                                                                    \
        if (tsn_codec_##stem##_decode(data, size, form, &a, NULL) != TSN_OK)                        \
            break;                                                                                  \
        tsn_codec_##stem##_encode(&a, form, &once);                                                 \
        tsn_codec_##stem##_encode(&a, TSN_FORM_JSON, &json);                                        \
        TSN_ASSERT(tsn_utf8_valid(json.data, json.len));                                            \
        release(&a);                                                                                \
        if (tsn_codec_##stem##_decode(once.data, once.len, form, &b, NULL) == TSN_OK) {             \
            tsn_codec_##stem##_encode(&b, form, &twice);                                            \
            TSN_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);      \
            release(&b);                                                                            \
        }                                                                                           \
        tsn_buf_release(&once);                                                                     \
        tsn_buf_release(&twice);                                                                    \
        tsn_buf_release(&json);                                                                     \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum tsn_codec_form form;
    int which;

    if (!size)
        return 0;
    form = data[0] & 1 ? TSN_FORM_AVRO : TSN_FORM_JSON;
    which = data[0] >> 1 & 3;
    data++;
    size--;
    switch (which) {
    case 0: TRY(transition, tsn_transition, tsn_transition_release); break;
    case 1: TRY(incident_event, tsn_incident_event, tsn_incident_event_release); break;
    case 2: TRY(incident, tsn_incident, tsn_incident_release); break;
    default: TRY(command, tsn_command, tsn_command_release); break;
    }
    return 0;
}
