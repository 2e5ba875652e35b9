/*
 * test_panes: what was counted and waits for its step (src/detect/panes.h).
 *
 * Method: seeded additions of whole numbers, fractions and great numbers to panes near, far and before the epoch, with drops in between,
 * against a plain sorted array that keeps every pane as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect/panes.h"

#include <string.h>

static uint64_t seed;

static uint64_t roll(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

struct model {
    struct open_pane items[512];
    size_t len;
};

static void model_add(struct model *m, int64_t pane_ms, tsn_fixed delta)
{
    size_t at = 0;

    while (at < m->len && m->items[at].pane_ms < pane_ms)
        at++;
    if (at < m->len && m->items[at].pane_ms == pane_ms) {
        assert_true(tsn_fixed_add(&m->items[at].delta, delta));
        return;
    }
    memmove(m->items + at + 1, m->items + at, (m->len - at) * sizeof m->items[0]);
    m->items[at] = (struct open_pane){ pane_ms, delta };
    m->len++;
}

static void compare(const struct panes *p, const struct model *m)
{
    struct pane_cursor at = { 0, 0 };
    struct open_pane pane;
    size_t count = 0;

    for (; tsn_panes_next(p, &at, &pane); count++) {
        assert_true(count < m->len);
        assert_int_equal(pane.pane_ms, m->items[count].pane_ms);
        assert_true(pane.delta == m->items[count].delta);
    }
    assert_int_equal(count, m->len);
    assert_int_equal(tsn_panes_any(p), m->len > 0);
}

static int64_t some_pane(void)
{
    switch (roll(12)) {
    case 0: return -(int64_t)roll(5) * 1000;
    case 1: return ((int64_t)UINT32_MAX + (int64_t)roll(4) - 2) * 1000;
    case 2: return INT64_C(1700000000000) + (int64_t)roll(40) * 1000 + 1;
    default: return INT64_C(1700000000000) + (int64_t)roll(40) * 1000;
    }
}

static tsn_fixed some_delta(void)
{
    switch (roll(10)) {
    case 0: return (tsn_fixed)1 << 63; /* a half */
    case 1: return (tsn_fixed)INT32_MAX << 64;
    case 2: return (tsn_fixed)1 << 100;
    case 3: return 0;
    default: return (tsn_fixed)(roll(9) + 1) << 64;
    }
}

static void drop_some(struct panes *p, struct model *m)
{
    int64_t until_ms = some_pane();
    size_t count = tsn_panes_until(p, until_ms);
    struct pane_cursor at = { 0, 0 };
    struct open_pane pane;

    for (size_t i = 0; i < count; i++) {
        assert_true(tsn_panes_next(p, &at, &pane));
        assert_true(pane.pane_ms + TSN_PANE_MS <= until_ms);
    }
    assert_true(count == m->len || m->items[count].pane_ms + TSN_PANE_MS > until_ms);
    if (roll(3) == 0) {
        tsn_panes_cut(p, at);
        m->len = count;
        return;
    }
    tsn_panes_drop(p, at);
    memmove(m->items, m->items + count, (m->len - count) * sizeof m->items[0]);
    m->len -= count;
}

static void test_as_a_sorted_array(void **state)
{
    TSN_UNUSED(state);
    for (seed = 1; seed < 60 * UINT64_C(1000003); seed += 1000003) {
        uint64_t was = seed;
        struct panes p = { 0 };
        struct model m = { .len = 0 };

        for (int i = 0; i < 300; i++) {
            int64_t pane_ms = some_pane();
            tsn_fixed delta = some_delta();

            if (roll(10) == 0) {
                drop_some(&p, &m);
            } else {
                assert_true(tsn_panes_add(&p, pane_ms, delta));
                model_add(&m, pane_ms, delta);
            }
            compare(&p, &m);
        }
        tsn_panes_release(&p);
        seed = was;
    }
}

/* A sum that does not fit is refused and changes nothing, in either list. */
static void test_limit_of_a_pane(void **state)
{
    struct panes p = { 0 };
    struct pane_cursor at = { 0, 0 };
    struct open_pane pane;
    tsn_fixed most = (tsn_fixed)(~(unsigned __int128)0 >> 1);

    TSN_UNUSED(state);
    assert_true(tsn_panes_add(&p, 5000, (tsn_fixed)7 << 64));
    assert_false(tsn_panes_add(&p, 5000, most));
    assert_true(tsn_panes_next(&p, &at, &pane));
    assert_true(pane.delta == (tsn_fixed)7 << 64);
    assert_true(tsn_panes_add(&p, 5000, most - ((tsn_fixed)7 << 64)));
    assert_false(tsn_panes_add(&p, 5000, 1));
    at = (struct pane_cursor){ 0, 0 };
    assert_true(tsn_panes_next(&p, &at, &pane));
    assert_true(pane.delta == most);
    assert_false(tsn_panes_next(&p, &at, &pane));
    tsn_panes_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_a_sorted_array),
        cmocka_unit_test(test_limit_of_a_pane),
    };

    return cmocka_run_group_tests_name("panes", tests, NULL, NULL);
}
