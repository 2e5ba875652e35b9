/*
 * Goal: the ground holds: map, buffers, number text, durations, times, fixed point, labels.
 * Method: small cases by hand at the edges, and a seeded comparison of the map with a plain array.
 */
#include "tocsin/base.h"
#include "tocsin/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

static void map_keeps_order_and_agrees_with_an_array(void **state)
{
    enum { KEYS = 500, STEPS = 20000 };
    static char alive[KEYS];
    struct tsn_map map;
    uint64_t seed = 7;
    size_t live = 0;
    int64_t last = -1;

    TSN_UNUSED(state);
    tsn_map_init(&map);
    for (int i = 0; i < STEPS; i++) {
        char key[64];
        int k;

        seed = tsn_hash64(&seed, sizeof seed);
        k = (int)(seed % KEYS);
        snprintf(key, sizeof key, k % 2 ? "%d" : "a key longer than sixteen bytes %d", k);
        if (seed >> 32 & 1) {
            assert_int_equal(tsn_map_del(&map, key, strlen(key)) != NULL, alive[k]);
            alive[k] = 0;
        } else {
            assert_int_equal(tsn_map_put_str(&map, key, &alive[k]) != NULL, alive[k]);
            alive[k] = 1;
        }
    }
    for (int k = 0; k < KEYS; k++)
        live += (size_t)alive[k];
    assert_int_equal(map.count, live);
    tsn_map_foreach(&map, e) {
        assert_true(e - map.entries > last);
        last = e - map.entries;
        assert_int_equal(*(char *)e->value, 1);
    }
    tsn_map_release(&map);
}

static void doubles_print_as_go_prints_them(void **state)
{
    static const struct {
        double value;
        char fmt;
        int threshold;
        const char *text;
    } cases[] = {
        { 999999, 'g', 6, "999999" },      { 1e6, 'g', 6, "1e+06" },
        { 1234567, 'g', 6, "1.234567e+06" }, { 0.0001, 'g', 6, "0.0001" },
        { 0.00001, 'g', 6, "1e-05" },      { 1e20, 'f', 0, "100000000000000000000" },
        { 0.1, 'f', 0, "0.1" },            { -0.0, 'g', 6, "-0" },
        { 5e-324, 'g', 21, "5e-324" },     { 1.0 / 3, 'g', 21, "0.3333333333333333" },
        { INFINITY, 'g', 21, "+Inf" },     { NAN, 'f', 21, "NaN" },
        { 1.7976931348623157e308, 'g', 21, "1.7976931348623157e+308" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        char text[TSN_DOUBLE_TEXT];

        tsn_format_double(text, sizeof text, cases[i].value, cases[i].fmt, cases[i].threshold);
        assert_string_equal(text, cases[i].text);
    }
}

static void durations_and_times_read_back(void **state)
{
    char text[TSN_DURATION_TEXT], stamp[TSN_RFC3339_TEXT];
    int64_t ms;

    TSN_UNUSED(state);
    assert_true(tsn_parse_duration("1h30m", 5, &ms));
    assert_int_equal(ms, 5400000);
    tsn_format_duration(text, ms);
    assert_string_equal(text, "1h30m");
    assert_true(tsn_parse_duration("250ms", 5, &ms));
    assert_int_equal(ms, 250);
    assert_false(tsn_parse_duration("30m1h", 5, &ms));
    assert_false(tsn_parse_duration("1.5h", 4, &ms));
    assert_false(tsn_parse_duration("5", 1, &ms));
    assert_true(tsn_parse_rfc3339("2026-11-24T09:00:00.123+01:00", 29, &ms));
    tsn_format_rfc3339(stamp, ms);
    assert_string_equal(stamp, "2026-11-24T08:00:00.123Z");
    assert_false(tsn_parse_rfc3339("2026-13-24T09:00:00Z", 20, &ms));
    assert_true(tsn_parse_rfc3339("2024-02-29T00:00:00Z", 20, &ms) && tsn_parse_rfc3339("0000-01-01T00:00:00Z", 20, &ms));
    assert_false(tsn_parse_rfc3339("2023-02-29T00:00:00Z", 20, &ms));
    assert_false(tsn_parse_rfc3339("0000-01-01T00:00:00+05:30", 25, &ms)); /* the year before 0 has no four digits */
    assert_false(tsn_parse_rfc3339("9999-12-31T23:59:59-00:01", 25, &ms));
    tsn_format_rfc3339(stamp, -1);
    assert_string_equal(stamp, "1969-12-31T23:59:59.999Z");
}

static void fixed_sums_ignore_order_and_refuse_overflow(void **state)
{
    tsn_fixed a, b, sum = 0;

    TSN_UNUSED(state);
    assert_true(tsn_fixed_from_double(0.1, &a));
    assert_true(tsn_fixed_from_double(1e9, &b));
    for (int i = 0; i < 10; i++)
        assert_true(tsn_fixed_add(&sum, i % 2 ? a : b));
    assert_true(tsn_fixed_to_double(sum) == 5e9 + 0.5);
    assert_false(tsn_fixed_from_double(0x1p62, &a));
    assert_false(tsn_fixed_from_double(NAN, &a));
    sum = ((tsn_fixed)1 << 126) - 1 + ((tsn_fixed)1 << 126);
    a = sum;
    assert_false(tsn_fixed_add(&sum, 1));
    assert_true(sum == a); /* unchanged */
}

/* Constant names and others, short texts and texts whose length takes two bytes; the empty set. */
static void packed_labels_come_back(void **state)
{
    char wide[301], packed[1024];
    struct tsn_labels *sets[3];

    TSN_UNUSED(state);
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    sets[0] = tsn_labels_of("__name__", "up", "job", "x", "service", wide, "servicex", "y", wide, "z", "environment", "e", NULL);
    sets[1] = tsn_labels_of("i", "v", NULL);
    sets[2] = tsn_labels_empty();
    for (size_t i = 0; i < 3; i++) {
        size_t len = tsn_labels_packed_len(sets[i]);
        struct tsn_labels *back;

        assert_true(len <= sizeof packed);
        tsn_labels_pack(sets[i], packed);
        back = tsn_labels_unpack(packed, len, sets[i]->id);
        assert_int_equal(tsn_labels_compare(back, sets[i]), 0);
        assert_true(tsn_labels_equal(back, sets[i]));
        tsn_labels_unref(back);
        tsn_labels_unref(sets[i]);
    }
}

static void labels_are_sorted_unique_and_named_by_content(void **state)
{
    struct tsn_labels *a = tsn_labels_of("job", "x", "__name__", "up", "empty", "", NULL);
    struct tsn_labels *b = tsn_labels_of("__name__", "down", "__name__", "up", "job", "x", NULL);
    struct tsn_buf text = TSN_BUF_INIT;

    TSN_UNUSED(state);
    assert_true(tsn_labels_equal(a, b));
    assert_int_equal(a->count, 2);
    assert_string_equal(tsn_labels_get(a, "job"), "x");
    assert_null(tsn_labels_get(a, "empty"));
    tsn_labels_format(&text, a);
    assert_string_equal(text.data, "up{job=\"x\"}");
    tsn_buf_release(&text);
    tsn_labels_unref(a);
    tsn_labels_unref(b);
}

static void json_strings_escape_and_mend(void **state)
{
    struct tsn_buf out = TSN_BUF_INIT;

    TSN_UNUSED(state);
    tsn_buf_json_string(&out, "a\"\\\n\x01\xff\xc3\xa9", 8);
    assert_string_equal(out.data, "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xc3\xa9\"");
    tsn_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_keeps_order_and_agrees_with_an_array),
        cmocka_unit_test(doubles_print_as_go_prints_them),
        cmocka_unit_test(durations_and_times_read_back),
        cmocka_unit_test(fixed_sums_ignore_order_and_refuse_overflow),
        cmocka_unit_test(labels_are_sorted_unique_and_named_by_content),
        cmocka_unit_test(packed_labels_come_back),
        cmocka_unit_test(json_strings_escape_and_mend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
