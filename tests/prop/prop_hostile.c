/*
 * Goal: lines made to hurt cost bounded time and memory: one without end, a million distinct words, NULs, bytes that are no UTF-8, and runs of every
 * mark that some rule looks at.
 * Method: CPU time of this thread, as a ratio of two amounts of work in the same process, so that the machine does not matter. A line of
 * 1 MB may cost four times one of 256 kB (linear; quadratic would be sixteen); what is read up to a bound, 4 kB, may
 * not cost much more than an ordinary text of that length.
 * A stream of distinct words may cost the miner as much a line at its end as at its beginning, within its limits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tocsin/patterns.h"

#include <string.h>
#include <time.h>

enum { TINY = TSN_PATTERN_SCAN_MAX, SMALL = 256 << 10, LARGE = 1 << 20 };

/* What a line is made of, over and over. The first is the ordinary one. */
static const struct {
    const char *unit;
    size_t len;
} units[] = {
#define UNIT(text) { text, sizeof(text) - 1 }
    UNIT("request 17 took 3 ms "), UNIT("x"), UNIT("\0"), UNIT("\xff\xfe"), UNIT("\xe2\x82"), UNIT("7"), UNIT("a="), UNIT("password="), UNIT("token: "),
    UNIT("a,"), UNIT("1,"), UNIT("("), UNIT(")"), UNIT("\""), UNIT("x=\""), UNIT("\\"), UNIT("://"), UNIT("http://a:b"), UNIT("a@b."), UNIT("@"), UNIT("eyJ"),
    UNIT("----- "), UNIT("-----BEGIN"), UNIT("1:1:1:"), UNIT("a:b:"), UNIT("::"), UNIT("."), UNIT("./"), UNIT("1.1"), UNIT("Jan 1 1:1:1 "), UNIT("<*> "),
    UNIT("{"), UNIT("{\"a\":"), UNIT("["), UNIT("\\u0000"), UNIT("\n"), UNIT("\tat a.b(c)\n"), UNIT("Caused by: x\n"), UNIT("  File \"x\"\n"),
    UNIT("goroutine 1 [x]:\n"), UNIT("bearer "), UNIT("AKIA"), UNIT("%"), UNIT("true "), UNIT("ERROR "), UNIT("\r"), UNIT("\t"),
#undef UNIT
};

static char *make_line(size_t unit, const char *before, size_t len)
{
    char *line = tsn_alloc(len + 1);
    size_t at = strlen(before);

    memcpy(line, before, at);
    for (; at < len; at++)
        line[at] = units[unit].unit[at % units[unit].len];
    return line;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* All that INGEST does with a line, and what `logs mine` does beyond. */
static void work(const struct tsn_pattern_config *config, const char *line, size_t len, struct tsn_buf bufs[4])
{
    struct tsn_join join = { .strict = false };
    struct tsn_log_fields fields;
    struct tsn_text text;
    const char *p = line, *end = line + len;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));

        tsn_join_continues(&join, p, (size_t)((newline ? newline : end) - p));
        p = newline ? newline + 1 : end;
    }
    tsn_log_extract(line, len, &fields, &bufs[0]);
    text = tsn_trace_text(line, len, &bufs[1]);
    text = tsn_pattern_redact(config, text.data, text.len, TSN_PATTERN_SCAN_MAX, &bufs[2]);
    tsn_pattern_signature(config, text.data, text.len, &bufs[3]);
    tsn_buf_reset(&bufs[3]);
    tsn_pattern_mask_secrets(config, line, len, 1024, &bufs[3]);
    assert_true(bufs[3].len <= 1024);
}

/* Least of a few: what the work costs when nothing else is in its way. */
static int64_t cost(const struct tsn_pattern_config *config, const char *line, size_t len, struct tsn_buf bufs[4])
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < 3; i++) {
        int64_t start = cpu_ns(), took;

        work(config, line, len, bufs);
        took = cpu_ns() - start;
        least = took < least ? took : least;
    }
    return least;
}

static int64_t cost_of(const struct tsn_pattern_config *config, size_t unit, const char *before, size_t len, struct tsn_buf bufs[4])
{
    char *line = make_line(unit, before, len);
    int64_t ns = cost(config, line, len, bufs);

    tsn_free(line);
    return ns;
}

static void test_long_lines(void **state)
{
    static const char *const befores[] = { "", "{\"message\":\"", "level=error msg=\"", "<131>1 2026-01-02T03:04:05Z h a 1 m - " };
    struct tsn_pattern_config *config = tsn_pattern_config_new();
    struct tsn_buf bufs[4] = { TSN_BUF_INIT, TSN_BUF_INIT, TSN_BUF_INIT, TSN_BUF_INIT };
    int64_t ordinary;

    (void)state;
    assert_int_equal(tsn_pattern_config_mask(config, "a*b*c*d*e*f", NULL), TSN_OK);
    assert_int_equal(tsn_pattern_config_pin(config, "<*>x<*>xx<*>xxy", NULL), TSN_OK);
    assert_int_equal(tsn_pattern_config_secret_regex(config, "(x+x+)+y", NULL), TSN_OK);
    ordinary = cost_of(config, 0, "", TINY, bufs);
    for (size_t b = 0; b < TSN_ARRAY_LEN(befores); b++)
        for (size_t u = 0; u < TSN_ARRAY_LEN(units); u++) {
            int64_t tiny = cost_of(config, u, befores[b], TINY, bufs), small = cost_of(config, u, befores[b], SMALL, bufs),
                    large = cost_of(config, u, befores[b], LARGE, bufs);

            if (tiny > 40 * ordinary + 200000)
                fail_msg("'%s' and '%.20s'…: 4 kB cost %lld us, ordinary text %lld us", befores[b], units[u].unit, (long long)(tiny / 1000),
                         (long long)(ordinary / 1000));
            /* four times is linear, sixteen times quadratic; page faults may take more */
            if (large > 12 * small + 5000000)
                fail_msg("'%s' and '%.20s'…: 256 kB cost %lld us, 1 MB %lld us", befores[b], units[u].unit, (long long)(small / 1000),
                         (long long)(large / 1000));
        }
    for (size_t i = 0; i < TSN_ARRAY_LEN(bufs); i++)
        tsn_buf_release(&bufs[i]);
    tsn_pattern_config_free(&config);
}

static void random_word(uint64_t *seed, char *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        out[i] = (char)('a' + (*seed >> 40) % 26);
    }
}

/* `lines` of `words` words each that nobody saw before. */
static int64_t mine_words(struct tsn_miner *miner, uint64_t *seed, size_t lines, size_t words, struct tsn_buf *buf)
{
    char line[512];
    int64_t start = cpu_ns();

    for (size_t l = 0; l < lines; l++) {
        struct tsn_signature sig;
        size_t at = 0;

        for (size_t w = 0; w < words; w++) {
            random_word(seed, line + at, 7);
            line[at + 7] = ' ';
            at += 8;
        }
        sig = tsn_pattern_signature(NULL, line, at, buf);
        tsn_miner_add(miner, 0, sig.hash, sig.text, sig.len, false, 1, (int64_t)l);
        tsn_miner_merged_clear(miner);
    }
    return cpu_ns() - start;
}

static void test_distinct_words(void **state)
{
    enum { LINES = 20000 };
    static const struct tsn_miner_limits limits = { .max_templates = 2000, .max_signatures = 10000, .max_slots = 20000, .max_text_bytes = 1 << 18 };

    (void)state;
    for (size_t words = 1; words <= 25; words += 8) {
        struct tsn_miner *miner = tsn_miner_new(&limits);
        struct tsn_buf buf = TSN_BUF_INIT;
        struct tsn_miner_stats stats;
        uint64_t seed = 7;
        int64_t first, last;

        mine_words(miner, &seed, LINES / 2, words, &buf); /* up to the limits */
        first = mine_words(miner, &seed, LINES, words, &buf);
        mine_words(miner, &seed, LINES, words, &buf);
        last = mine_words(miner, &seed, LINES, words, &buf);
        stats = tsn_miner_stats(miner);
        assert_true(stats.templates <= limits.max_templates && stats.signatures <= limits.max_signatures &&
                    stats.slots <= limits.max_slots + 64 && stats.text_bytes <= limits.max_text_bytes + 4 * TSN_PATTERN_SCAN_MAX);
        assert_true(stats.evicted_templates + stats.merged + stats.evicted_signatures > 0);
        if (last > 6 * first + 5000000)
            fail_msg("%zu words: %d lines cost %lld us at first, %lld us later", words, LINES, (long long)(first / 1000), (long long)(last / 1000));
        tsn_miner_free(&miner);
        tsn_buf_release(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_long_lines), cmocka_unit_test(test_distinct_words) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
