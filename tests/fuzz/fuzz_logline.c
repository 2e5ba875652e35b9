/*
 * Goal: no line breaks the scanner, the masker, extraction, headers, joins, the miner or its snapshot, and their promises hold.
 * Method: the input's lines go through all of them; signatures are checked for purity, validity and bound; the miner runs
 * under small limits and must survive its own snapshot.
 */
#include "tocsin/patterns.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(struct tsn_miner *miner, struct tsn_join *join, struct tsn_join *strict, const char *line, size_t len,
                     struct tsn_buf *a, struct tsn_buf *b)
{
    struct tsn_signature one = tsn_pattern_signature(NULL, line, len, a), two = tsn_pattern_signature(NULL, line, len, b);
    static struct tsn_pattern_memo *memo; /* one for all inputs: what they leave in it must not matter */
    struct tsn_miner_result result;
    struct tsn_log_fields fields;
    struct tsn_template t;

    TSN_ASSERT(one.hash == two.hash && one.len == two.len && memcmp(one.text, two.text, one.len) == 0);
    if (!memo)
        memo = tsn_pattern_memo_new(NULL);
    TSN_ASSERT(tsn_pattern_memo_hash(memo, line, len, b) == one.hash);
    TSN_ASSERT(one.len <= 4 * TSN_PATTERN_SCAN_MAX && tsn_utf8_valid(one.text, one.len));
    result = tsn_miner_add(miner, 0, one.hash, one.text, one.len, false, 1, 1);
    TSN_ASSERT(tsn_miner_get(miner, result.ref, &t) && t.id == result.id);
    TSN_ASSERT(tsn_miner_add(miner, 0, one.hash, one.text, one.len, false, 1, 1).id == result.id);
    tsn_miner_merged_clear(miner);
    tsn_log_extract(line, len, &fields, b);
    TSN_ASSERT(fields.message.len <= len);
    tsn_buf_reset(b);
    tsn_pattern_mask_secrets(NULL, line, len, 500, b);
    TSN_ASSERT(tsn_utf8_valid(tsn_buf_str(b), b->len));
    tsn_join_continues(join, line, len);
    tsn_join_continues(strict, line, len);
    TSN_ASSERT(join->lines >= 1 && join->lines <= TSN_JOIN_LINES && strict->lines >= 1 && strict->lines <= TSN_JOIN_LINES);
}

/* Never longer than the text. */
static void whole_text(const char *data, size_t size, struct tsn_buf *a, struct tsn_buf *b)
{
    struct tsn_text once = tsn_trace_text(data, size, a), twice;

    TSN_ASSERT(once.len <= size);
    twice = tsn_trace_text(once.data, once.len, b);
    TSN_ASSERT(twice.len <= once.len);
}

static void round_trip(const struct tsn_miner *miner, struct tsn_buf *a, struct tsn_buf *b)
{
    struct tsn_error error;
    struct tsn_miner *again;

    tsn_buf_reset(a);
    tsn_buf_reset(b);
    tsn_miner_snapshot(miner, a);
    again = tsn_miner_restore(NULL, a->data, a->len, &error);
    TSN_ASSERT(again);
    tsn_miner_snapshot(again, b);
    TSN_ASSERT(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
    tsn_miner_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_miner_limits limits = { .max_templates = 20, .max_signatures = 50, .max_slots = 200 };
    struct tsn_miner *miner = tsn_miner_new(&limits), *restored;
    struct tsn_buf a = TSN_BUF_INIT, b = TSN_BUF_INIT;
    struct tsn_join join = { 0 }, strict = { .strict = true };
    struct tsn_text lines[64];
    struct tsn_log_header header;
    struct tsn_error error;
    const char *p = (const char *)data, *end = p + size;
    size_t n = 0;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p);

        if (n < TSN_ARRAY_LEN(lines))
            lines[n++] = (struct tsn_text){ p, len };
        one_line(miner, &join, &strict, p, len, &a, &b);
        p += len + (newline != NULL);
    }
    whole_text((const char *)data, size, &a, &b);
    tsn_header_learn(&header, lines, n);
    for (size_t i = 0; i < n; i++)
        TSN_ASSERT(tsn_header_skip(&header, lines[i].data, lines[i].len) <= lines[i].len);
    round_trip(miner, &a, &b);
    restored = tsn_miner_restore(NULL, data, size, &error);
    tsn_miner_free(&restored);
    tsn_miner_free(&miner);
    tsn_buf_release(&a);
    tsn_buf_release(&b);
    return 0;
}
