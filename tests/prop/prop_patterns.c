/*
 * Goal: the miner is a function of its input's order; groups only coarsen; a snapshot at any point changes nothing; counts add up.
 * Method: seeded lines from a made-up grammar; one miner runs through, another is snapshotted and restored at random points; the
 * partition of a prefix is compared with the partition at the end. The memo of signatures against the scanner, on lines of nasty pieces
 * whose digits and hexadecimal letters change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tocsin/patterns.h"

#define LINES 600
#define SEEDS 40

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

/* A letter-only word, number `n` of its kind. */
static void spell(char *out, char kind, uint64_t n)
{
    snprintf(out, 8, "%c%c%c%c", kind, (char)('g' + n % 17), (char)('g' + n / 17 % 17), kind);
}

static void make_line(uint64_t *seed, char *out, size_t size)
{
    char a[8], b[8], c[8];

    spell(a, 'v', next(seed) % 9);
    spell(b, 'n', next(seed) % (next(seed) % 2 ? 4 : 40));
    spell(c, 'w', next(seed) % 3);
    switch (next(seed) % 4) {
    case 0: snprintf(out, size, "%s the thing %s", a, b); break;
    case 1: snprintf(out, size, "%s %s owner=%s id %u", c, a, b, (unsigned)(next(seed) % 1000)); break;
    case 2: snprintf(out, size, "now %s is in %s state", b, c); break;
    default: snprintf(out, size, "%s of %s: %s", a, b, c); break;
    }
}

/* The surviving id of every id, by the merge records. */
static uint64_t follow(const struct tsn_miner *m, uint64_t id)
{
    size_t n;
    const struct tsn_miner_merge *merges = tsn_miner_merged(m, &n);

    for (size_t i = 0; i < n; i++)
        if (merges[i].from_id == id)
            id = merges[i].into_id;
    return id;
}

static void run_seed(uint64_t seed)
{
    struct tsn_miner *a = tsn_miner_new(NULL), *b = tsn_miner_new(NULL), *c;
    struct tsn_buf text = TSN_BUF_INIT, bytes = TSN_BUF_INIT;
    static uint64_t at_prefix[LINES], at_once[LINES];
    struct tsn_template t;
    struct tsn_error error;
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, total = 0;
    uint32_t cursor = 0;
    char line[128];

    for (int i = 0; i < LINES; i++) {
        struct tsn_miner_result x, y;
        struct tsn_signature s;

        make_line(&state, line, sizeof line);
        s = tsn_pattern_signature(NULL, line, strlen(line), &text);
        x = tsn_miner_add(a, 0, s.hash, s.text, s.len, false, 1, i);
        y = tsn_miner_add(b, 0, s.hash, s.text, s.len, false, 1, i);
        assert_true(x.id == y.id && x.is_new == y.is_new && x.merges == y.merges);
        at_once[i] = x.id;
        if (next(&state) % 50 == 0) {
            tsn_buf_reset(&bytes);
            tsn_miner_snapshot(b, &bytes);
            c = tsn_miner_restore(NULL, bytes.data, bytes.len, &error);
            assert_non_null(c);
            tsn_miner_free(&b);
            b = c;
        }
        for (int j = 0; i == LINES * 6 / 10 && j <= i; j++)
            at_prefix[j] = follow(a, at_once[j]);
    }
    /* lines together at the prefix are together at the end */
    for (int i = 0; i <= LINES * 6 / 10; i++)
        for (int j = 0; j < i; j++)
            if (at_prefix[i] == at_prefix[j])
                assert_true(follow(a, at_once[i]) == follow(a, at_once[j]));
    while (tsn_miner_next(a, &cursor, &t)) {
        total += (uint64_t)t.count;
        assert_true(follow(a, t.id) == t.id);
    }
    assert_int_equal(total, LINES);
    tsn_miner_free(&a);
    tsn_miner_free(&b);
    tsn_buf_release(&text);
    tsn_buf_release(&bytes);
}

static void test_order_alone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* ---- memo --------------------------------------------------------------------------------- */

/* Pieces that the scanner has rules about; digits and hex letters of them change below. */
static const char *const pieces[] = {
    "a", "fade", "beef1234", "1f3b9c2d4e", "deadbee5", "x_beef12345", "name.1f2e3d4c", "host.beefcafe1", "fade@1f3b9c2d4e", "-1f3b9c2d4e",
    "-beef12345", "ssh2", "IPv4", "u17", "0x1f", "12:30:59", "2026-01-02", "Jun", "Fri", "10.0.0.7:80", "blk_-123", "f81d4fae-7dec-11d0-a765",
    "00:1b:44:11:3a:b7", "fe80::1", "=", "(", ")", "[", "]", "\"", "'", ":", ",", "/", "//", "..", "#", "@", "+", "<", ">", " ", "  ", "KB", "MB",
    "sec", "password", "token=", "true", "null", "undefined", "file.c:12", "/var/log/x1", "a,b,c", "\303\251", "\377", "\\", "%", "$", "~", "_", "-",
    "Infinity", "1.5", "99", "2005", "t1", "abcdef12", "12345678", "abcdefab", "0", "eeeeeeee1",
};

static size_t make_shape(uint64_t *seed, char *out)
{
    size_t n = 0, count = 1 + next(seed) % 14;

    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[next(seed) % TSN_ARRAY_LEN(pieces)];

        memcpy(out + n, piece, strlen(piece));
        n += strlen(piece);
        if (next(seed) % 3 == 0)
            out[n++] = ' ';
    }
    if (next(seed) % 40 == 0)
        for (; n < 4200; n++)
            out[n] = "ab1 2f"[next(seed) % 6];
    return n;
}

/* Another digit for a digit, another hex letter for one: what the memo may fold together, and some that it must not. */
static void change(uint64_t *seed, char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] >= '0' && line[i] <= '9' && next(seed) % 2)
            line[i] = (char)('0' + next(seed) % 10);
        else if (line[i] >= 'a' && line[i] <= 'f' && next(seed) % 3 == 0)
            line[i] = next(seed) % 2 ? (char)('a' + next(seed) % 6) : (char)('0' + next(seed) % 10);
}

static void test_memo_answers_as_the_scanner(void **state)
{
    struct tsn_pattern_config *config = tsn_pattern_config_new();
    struct tsn_pattern_memo *plain = tsn_pattern_memo_new(NULL), *masked;
    struct tsn_buf a = TSN_BUF_INIT, b = TSN_BUF_INIT;
    uint64_t seed = 99;
    char line[5000];

    (void)state;
    assert_int_equal(tsn_pattern_config_mask(config, "ssh2", NULL), TSN_OK);
    masked = tsn_pattern_memo_new(config);
    for (int i = 0; i < 6000; i++) {
        size_t len = make_shape(&seed, line);

        for (int again = 0; again < 8; again++) {
            /* at any alignment, with the end of the line at the end of memory that is there */
            char *copy = malloc(len + 1);

            memcpy(copy + 1, line, len);
            assert_true(tsn_pattern_memo_hash(plain, copy + 1, len, &a) == tsn_pattern_signature(NULL, line, len, &b).hash);
            assert_true(tsn_pattern_memo_hash(masked, line, len, &a) == tsn_pattern_signature(config, line, len, &b).hash);
            free(copy);
            change(&seed, line, len);
        }
    }
    assert_true(tsn_pattern_memo_stats(plain).hits > 10000);
    assert_true(tsn_pattern_memo_stats(masked).hits == 0);
    tsn_pattern_memo_free(&plain);
    tsn_pattern_memo_free(&masked);
    tsn_pattern_config_free(&config);
    tsn_buf_release(&a);
    tsn_buf_release(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_order_alone), cmocka_unit_test(test_memo_answers_as_the_scanner) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
