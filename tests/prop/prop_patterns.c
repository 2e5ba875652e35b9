/*
 * Goal: the miner is a function of its input's order; groups only coarsen; a snapshot at any point changes nothing; counts add up.
 * Method: seeded lines from a made-up grammar; one miner runs through, another is snapshotted and restored at random points; the
 * partition of a prefix is compared with the partition at the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
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

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_order_alone) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
