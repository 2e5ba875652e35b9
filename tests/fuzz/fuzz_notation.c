/*
 * Goal: no line breaks the series notation, and what is accepted keeps its bounds.
 * Method: libFuzzer target; the corpus holds a line per form.
 */
#include "tocsin/series_notation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_series_notation n;
    struct tsn_error error = { 0 };

    if (tsn_series_notation_parse((const char *)data, size, &n, &error)) {
        TSN_ASSERT(error.message[0] && !n.labels && !n.values);
        return 0;
    }
    TSN_ASSERT(n.labels && n.count <= TSN_SERIES_NOTATION_MAX);
    for (size_t i = 0; i < n.count; i++)
        TSN_ASSERT(!n.values[i].missing || n.values[i].value == 0);
    tsn_series_notation_release(&n);
    return 0;
}
