/*
 * parse_exprs: NUL-separated expressions on stdin → a line each, "ok" or "no LINE:COL: message".
 * The parser's face for the conformance scripts; they compile it against the core library.
 */
#include "tocsin/promql.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct tsn_buf in = TSN_BUF_INIT;
    size_t got;

    while ((got = fread(tsn_buf_reserve(&in, 65536), 1, 65536, stdin)) > 0)
        in.len += got;
    for (size_t at = 0; at < in.len;) {
        size_t len = strnlen(in.data + at, in.len - at);
        struct tsn_parse_error error;
        struct tsn_query *query = tsn_query_parse(in.data + at, len, &error);

        if (query)
            puts("ok");
        else
            printf("no %u:%u: %s\n", error.line, error.column, error.message);
        tsn_query_free(&query);
        at += len + 1;
    }
    tsn_buf_release(&in);
    return 0;
}
