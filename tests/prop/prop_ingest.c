/*
 * Goal: the fast path of JSON decides as the exact path does, whatever the bytes; and what INGEST gives is a function of the
 * records, not of where batches are cut and workers restart.
 * Method, second: one object takes all records of three partitions into one batch; others take the same, closed, freed and
 * assigned anew from the committed metadata at random. The sums of panes, the points and the lateness counts must agree.
 * Method, first: two objects are fed the same records, one of them with a blank in front, which keeps it on the exact
 * path. Records are made from a seed: good events of every type in few shapes (so that shapes are learned and hit), odd
 * forms of numbers, times and texts, and bytes changed at random. After each batch the rows must be equal by the labels of their
 * series (references need not be), and so must inputs, commit metadata and the reasons of the dead letters. A failure prints
 * its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/codec.h"
#include "tocsin/ingest.h"

#define T0 INT64_C(1700000000000)
enum { SEEDS = 60, RECORDS = 400, PLACES = 3 };

static uint64_t state_of_rng;

static uint64_t rng(uint64_t below)
{
    state_of_rng += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(&state_of_rng, sizeof state_of_rng) % below;
}

static const char *pick(const char *const *of, size_t count)
{
    return of[rng(count)];
}
#define PICK(...) pick((const char *const[]){ __VA_ARGS__ }, TSN_ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

static void put_number(struct tsn_buf *out)
{
    switch (rng(12)) {
    case 0: tsn_buf_puts(out, PICK("0", "-0", "1e3", "1.5E-3", "1e400", "123456789012345678901234567890", "0.1", "-7.25",
                                   "9007199254740993", "0.30000000000000004", "01", "1.", "-", "+1", ".5", "4611686018427387904")); break;
    case 1: tsn_buf_printf(out, "\"%s\"", PICK("1", "NaN", "+Inf", "-2.5", "", " 1", "0x10", "1_0", "007")); break;
    case 2: tsn_buf_puts(out, PICK("null", "true", "[]", "{}")); break;
    case 3: tsn_buf_printf(out, "%d.%d", (int)rng(1000), (int)rng(1000)); break;
    default: tsn_buf_printf(out, "%d", (int)rng(100)); break;
    }
}

static void put_time(struct tsn_buf *out)
{
    char text[TSN_RFC3339_TEXT];
    int64_t ts_ms = T0 + (int64_t)rng(200000) - 20000;

    switch (rng(10)) {
    case 0: tsn_buf_puts(out, PICK("\"2023-11-14T22:13:60Z\"", "\"2023-11-14T22:14:01.5Z\"", "\"2023-11-14T22:13:60.000Z\"",
                                   "\"2023-11-14 22:14:01.123Z\"", "\"2023-11-14T23:14:01+01:00\"", "\"1700000001000\"", "-1",
                                   "1700000000000.7", "1.7e12", "null", "\"2023-11-14T22:13:99.000Z\"", "1900000000000")); break;
    case 1:
    case 2:
    case 3: tsn_format_rfc3339(text, ts_ms); tsn_buf_printf(out, "\"%s\"", text); break;
    default: tsn_buf_printf(out, "%lld", (long long)ts_ms); break;
    }
}

static const char *text_of(void)
{
    return rng(12) ? PICK("a", "b", "checkout", "ERROR", "INFO", "success", "error", "gauge", "delta")
                   : PICK("", "caf\xc3\xa9", "\\u0041", "q\\\"q", "\xff", "\\u0000", "tab\tin", "x\\q", "\\ud800");
}

static void put_metric(struct tsn_buf *out)
{
    const char *blank = rng(4) ? "" : " ";

    tsn_buf_printf(out, "{\"name\":%s\"%s\",\"labels\":", blank, rng(20) ? PICK("requests_total", "temperature") : text_of());
    switch (rng(20)) {
    case 0: tsn_buf_puts(out, PICK("{}", "null", "{ }", "[]", "{\"a\":1}", "{\"a\":\"1\",\"a\":\"2\"}", "{\"a\" : \"1\" , \"b\":\"2\"}",
                                   "{\"a\":{}}", "{\"a\":null}", "{\"a\":true}", "{\"a\"}", "{\"a\":\"b\",}", "{\"a\",\"b\"}", "{\"a\":\"b\":\"c\"}")); break;
    default: tsn_buf_printf(out, "{\"service\":\"%s\",%s\"x\":\"%s\"}", text_of(), blank, text_of()); break;
    }
    tsn_buf_printf(out, ",%s\"value\":", blank);
    put_number(out);
    tsn_buf_puts(out, ",\"timestamp\":");
    put_time(out);
    if (rng(2))
        tsn_buf_printf(out, ",\"kind\":\"%s\"", rng(20) ? PICK("delta", "counter", "gauge") : text_of());
    if (!rng(30))
        tsn_buf_puts(out, PICK(",\"name\":\"other\"", ",\"extra\":[1,{\"a\":2}]", ",\"extra\":0.5e3", ",\"timestamp\":5"));
    tsn_buf_puts(out, PICK("}", "}", "}", "} ", "}\n", "}x"));
}

static void put_log(struct tsn_buf *out)
{
    tsn_buf_puts(out, "{\"timestamp\":");
    put_time(out);
    tsn_buf_printf(out, ",\"service\":\"%s\",\"level\":\"%s\",\"user_id\":%s,\"message\":", text_of(), text_of(), PICK("null", "\"u\"", "7"));
    if (rng(15))
        tsn_buf_printf(out, "\"%s took %d ms\"}", text_of(), (int)rng(100));
    else
        tsn_buf_puts(out, PICK("null}", "7}", "\"\"}", "[1]}"));
}

static void put_hook(struct tsn_buf *out)
{
    tsn_buf_puts(out, "{\"timestamp\":");
    put_time(out);
    tsn_buf_printf(out, ",\"service\":\"%s\",\"hook_type\":\"%s\",\"status\":\"%s\",\"processing_time_ms\":", text_of(), text_of(),
                   rng(15) ? PICK("success", "error") : text_of());
    put_number(out);
    tsn_buf_puts(out, ",\"patterns_discovered\":");
    if (rng(4))
        put_number(out);
    else
        tsn_buf_printf(out, "[{\"pattern_type\":\"%s\",\"count\":%d}]", text_of(), (int)rng(5));
    tsn_buf_putc(out, '}');
}

static void put_event(struct tsn_buf *out, size_t input)
{
    if (input == 0)
        put_metric(out);
    else if (input == 1)
        put_log(out);
    else
        put_hook(out);
}

static void put_record(struct tsn_buf *out, size_t input)
{
    tsn_buf_reset(out);
    tsn_buf_putc(out, ' '); /* record without it: data + 1 */
    if (rng(6)) {
        put_event(out, input);
    } else {
        tsn_buf_putc(out, '[');
        for (uint64_t n = rng(5); n; n--) {
            put_event(out, input);
            if (n > 1)
                tsn_buf_puts(out, PICK(",", ",", " , ", ",,"));
        }
        tsn_buf_puts(out, PICK("]", "]", "] ", "]]", ""));
    }
    if (!rng(10) && out->len > 2)
        out->data[1 + rng(out->len - 1)] = (char)rng(256);
    if (!rng(30))
        out->len = 1 + rng(out->len);
}

static void feed(struct tsn_ingest *in, size_t input, int64_t offset, const char *data, size_t len)
{
    char *copy = tsn_memdup(data, len);
    struct tsn_ingest_record r = { .input = input, .offset = offset, .timestamp_ms = T0 + 600000, .value = copy, .value_len = len };

    assert_int_equal(tsn_ingest_record(in, &r, NULL), TSN_OK);
    tsn_free(copy);
}

/* Series by reference, as announced to one reader. */
struct names {
    char *items[4096];
};

static void names_release(struct names *names)
{
    for (size_t i = 0; i < TSN_ARRAY_LEN(names->items); i++) {
        tsn_free(names->items[i]);
        names->items[i] = NULL;
    }
}

static void name_series(struct names *names, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->series_count; i++) {
        struct tsn_buf text = TSN_BUF_INIT;

        assert_true(b->series[i].ref < TSN_ARRAY_LEN(names->items));
        tsn_labels_format(&text, b->series[i].labels);
        tsn_buf_printf(&text, " kind %d", (int)b->series[i].kind);
        tsn_free(names->items[b->series[i].ref]);
        names->items[b->series[i].ref] = tsn_buf_take(&text, NULL);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The rows of a place as sorted text. */
static char *rows_of(struct names *names, const struct tsn_buf *record)
{
    TSN_VEC(char *) lines = { NULL, 0, 0 };
    struct tsn_buf all = TSN_BUF_INIT;
    struct tsn_batch b;

    assert_int_equal(tsn_codec_batch_decode(record->data, record->len, &b, NULL), TSN_OK);
    name_series(names, &b);
    for (size_t i = 0; i < b.point_count + b.delta_count; i++) {
        struct tsn_buf line = TSN_BUF_INIT;

        if (i < b.point_count)
            tsn_buf_printf(&line, "%s %lld %016llx\n", names->items[b.points[i].ref], (long long)b.points[i].ts_ms,
                           (unsigned long long)tsn_double_bits(b.points[i].value));
        else
            tsn_buf_printf(&line, "%s %lld %a\n", names->items[b.deltas[i - b.point_count].ref],
                           (long long)b.deltas[i - b.point_count].pane_ms, tsn_fixed_to_double(b.deltas[i - b.point_count].delta));
        tsn_vec_push(&lines, tsn_buf_take(&line, NULL));
    }
    if (lines.len)
        qsort(lines.items, lines.len, sizeof *lines.items, by_text);
    for (size_t i = 0; i < lines.len; i++) {
        tsn_buf_puts(&all, lines.items[i]);
        tsn_free(lines.items[i]);
    }
    tsn_vec_release(&lines);
    tsn_batch_release(&b);
    return tsn_buf_take(&all, NULL);
}

static void compare_places(const struct tsn_closed_batch *a, const struct tsn_closed_batch *b, struct names *names, uint64_t seed)
{
    for (size_t p = 0; p < a->record_count; p++) {
        char *x = rows_of(&names[0], &a->records[p]), *y = rows_of(&names[1], &b->records[p]);

        if (strcmp(x ? x : "", y ? y : "") != 0)
            fail_msg("seed %llu, place %zu:\n%s---\n%s", (unsigned long long)seed, p, x, y);
        tsn_free(x);
        tsn_free(y);
    }
}

static void compare(struct tsn_ingest *fast, struct tsn_ingest *exact, struct names *names, uint64_t seed)
{
    struct tsn_closed_batch *a = tsn_ingest_close(fast, T0), *b = tsn_ingest_close(exact, T0);

    for (size_t i = 0; i < a->dead_count || i < b->dead_count; i++) {
        const struct tsn_dead_letter *x = i < a->dead_count ? &a->dead[i] : NULL, *y = i < b->dead_count ? &b->dead[i] : NULL;
        const struct tsn_dead_letter *odd = !x || (y && y->offset < x->offset) ? y : x;

        if (!x || !y || x->offset != y->offset || strcmp(x->reason, y->reason) != 0)
            fail_msg("seed %llu: record %lld is dead to one (%s, %s): %.*s", (unsigned long long)seed, (long long)odd->offset,
                     odd->reason, odd->error, (int)odd->value_len, odd->value);
    }
    compare_places(a, b, names, seed);
    assert_int_equal(a->offset_count, b->offset_count);
    for (size_t i = 0; i < a->offset_count; i++)
        assert_string_equal(a->offsets[i].metadata, b->offsets[i].metadata);
    tsn_closed_batch_free(&a);
    tsn_closed_batch_free(&b);
}

static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: 'sum by (service) ({__name__=~\".+\"})'}]}]";
static const char yaml[] = "kafka: { bootstrap.servers: \"b:9092\" }\n"
                           "inputs: [ { topic: m, type: metrics }, { topic: l, type: logs }, { topic: h, type: hooks } ]\n"
                           "rules: [ \"r.yaml\" ]\n";

static void run_seed(const struct tsn_config *config, const struct tsn_rule_set *set, uint64_t seed, uint64_t *taken)
{
    struct tsn_ingest_options options = { .config = config, .writer = 1, .samples_partitions = PLACES };
    struct tsn_ingest *fast = tsn_ingest_new(&options, NULL), *exact = tsn_ingest_new(&options, NULL);
    struct names *names = tsn_calloc(2, sizeof *names);
    struct tsn_ingest_stats stats;
    struct tsn_buf text = TSN_BUF_INIT;

    state_of_rng = seed * 1000003;
    tsn_ingest_add_rule_set(fast, 1, set);
    tsn_ingest_add_rule_set(exact, 1, set);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tsn_ingest_assign(fast, i, 0, 1, 0, NULL, NULL), TSN_OK);
        assert_int_equal(tsn_ingest_assign(exact, i, 0, 1, 0, NULL, NULL), TSN_OK);
    }
    for (int i = 0; i < RECORDS; i++) {
        size_t input = rng(3);

        put_record(&text, input);
        feed(fast, input, i, text.data + 1, text.len - 1);
        feed(exact, input, i, text.len > 1 ? text.data : text.data + 1, text.len > 1 ? text.len : 0);
        if (!rng(20))
            compare(fast, exact, names, seed);
    }
    compare(fast, exact, names, seed);
    tsn_ingest_get_stats(fast, &stats);
    *taken += stats.events;
    names_release(&names[0]);
    names_release(&names[1]);
    tsn_free(names);
    tsn_buf_release(&text);
    tsn_ingest_free(&fast);
    tsn_ingest_free(&exact);
}

static void test_fast_is_exact(void **state)
{
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options load = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &load, &errors);
    const char *base = getenv("TOCSIN_SEED");
    struct tsn_config config;
    uint64_t taken = 0;

    (void)state;
    assert_non_null(set);
    assert_int_equal(tsn_config_parse(&config, "t.yaml", yaml, sizeof yaml - 1, NULL, NULL), TSN_OK);
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        run_seed(&config, set, seed + (base ? strtoull(base, NULL, 10) : 1), &taken);
    assert_true(taken > SEEDS * RECORDS / 3); /* most records are good ones */
    tsn_rule_set_free(&set);
    tsn_config_release(&config);
}

/* ---- cuts and restarts -------------------------------------------------------------------- */

enum { PARTS = 3 };

/* Rows added up over batches: text of series and pane → sum, and of points → how many. */
struct ledger {
    struct tsn_map rows; /* → tsn_fixed * */
    int64_t late[PARTS];
};

static void book(struct ledger *l, const char *series, int64_t ms, const char *value, tsn_fixed add)
{
    struct tsn_buf key = TSN_BUF_INIT;
    void **slot;

    tsn_buf_printf(&key, "%s %lld %s", series, (long long)ms, value);
    slot = tsn_map_upsert(&l->rows, key.data, key.len, NULL);
    if (!*slot)
        *slot = tsn_calloc(1, sizeof(tsn_fixed));
    assert_true(tsn_fixed_add(*slot, add));
    tsn_buf_release(&key);
}

static void book_batch(struct ledger *l, struct names *names, const struct tsn_buf *record)
{
    struct tsn_batch b;

    assert_int_equal(tsn_codec_batch_decode(record->data, record->len, &b, NULL), TSN_OK);
    name_series(names, &b);
    for (size_t i = 0; i < b.point_count; i++) {
        char value[32];

        snprintf(value, sizeof value, "%016llx", (unsigned long long)tsn_double_bits(b.points[i].value));
        book(l, names->items[b.points[i].ref], b.points[i].ts_ms, value, 1);
    }
    for (size_t i = 0; i < b.delta_count; i++)
        book(l, names->items[b.deltas[i].ref], b.deltas[i].pane_ms, "delta", b.deltas[i].delta);
    for (size_t i = 0; i < b.input_count; i++)
        l->late[b.inputs[i].partition] = b.inputs[i].late;
    tsn_batch_release(&b);
}

struct worker {
    struct tsn_ingest *ingest;
    struct names *names;
    struct ledger ledger;
    char *metadata[PARTS];
    int64_t next[PARTS], wall_ms;
};

static void worker_open(struct worker *w, const struct tsn_config *config, const struct tsn_rule_set *set)
{
    struct tsn_ingest_options options = { .config = config, .writer = w->wall_ms, .samples_partitions = PLACES, .record_bytes = w->wall_ms % 2 ? 150 : 0 };

    w->ingest = tsn_ingest_new(&options, NULL);
    tsn_ingest_add_rule_set(w->ingest, 1, set);
    for (int32_t p = 0; p < PARTS; p++)
        assert_int_equal(tsn_ingest_assign(w->ingest, 0, p, PARTS, w->next[p], w->metadata[p], NULL), TSN_OK);
}

static void worker_close(struct worker *w)
{
    struct tsn_closed_batch *b = tsn_ingest_close(w->ingest, w->wall_ms += (int64_t)rng(30000));

    for (size_t p = 0; p < b->record_count; p++)
        book_batch(&w->ledger, w->names, &b->records[p]);
    for (size_t i = 0; i < b->offset_count; i++) {
        int32_t p = b->offsets[i].partition;

        tsn_free(w->metadata[p]);
        w->metadata[p] = tsn_strdup(b->offsets[i].metadata);
        w->next[p] = b->offsets[i].next_offset;
    }
    tsn_closed_batch_free(&b);
}

static void worker_end(struct worker *w)
{
    tsn_ingest_free(&w->ingest);
    names_release(w->names);
}

/* Metrics mostly in order, some far behind, on three partitions. */
static void put_history(struct tsn_buf *out, int i)
{
    int64_t ts_ms = T0 + i * 300 - (rng(6) ? 0 : (int64_t)rng(20000));

    tsn_buf_reset(out);
    tsn_buf_printf(out, "{\"name\":\"%s\",\"labels\":{\"service\":\"%s\"},\"value\":%d.%d,\"timestamp\":%lld,\"kind\":\"%s\"}",
                   PICK("x", "y"), PICK("a", "b", "c"), (int)rng(50), (int)rng(10), (long long)ts_ms, PICK("delta", "delta", "gauge"));
}

static void same_ledgers(const struct ledger *a, const struct ledger *b, uint64_t seed)
{
    if (a->rows.count != b->rows.count)
        fail_msg("seed %llu: %u and %u rows", (unsigned long long)seed, a->rows.count, b->rows.count);
    tsn_map_foreach(&a->rows, e) {
        const tsn_fixed *other = tsn_map_get(&b->rows, tsn_map_entry_key(e), e->key_len);

        if (!other || *other != *(tsn_fixed *)e->value)
            fail_msg("seed %llu: %.*s", (unsigned long long)seed, (int)e->key_len, tsn_map_entry_key(e));
    }
    for (int p = 0; p < PARTS; p++)
        assert_int_equal(a->late[p], b->late[p]);
}

static void ledger_release(struct ledger *l)
{
    tsn_map_foreach(&l->rows, e)
        tsn_free(e->value);
    tsn_map_release(&l->rows);
}

static void run_cuts(const struct tsn_config *config, const struct tsn_rule_set *set, uint64_t seed)
{
    struct worker whole = { .names = tsn_calloc(1, sizeof(struct names)), .wall_ms = T0 };
    struct worker cut = { .names = tsn_calloc(1, sizeof(struct names)), .wall_ms = T0 };
    struct tsn_buf text = TSN_BUF_INIT;

    state_of_rng = seed * 7777777;
    worker_open(&whole, config, set);
    worker_open(&cut, config, set);
    for (int i = 0; i < RECORDS; i++) {
        struct tsn_ingest_record r = { .partition = (int32_t)rng(PARTS), .offset = i, .timestamp_ms = T0 + 600000 };

        put_history(&text, i);
        r.value = text.data;
        r.value_len = text.len;
        assert_int_equal(tsn_ingest_record(whole.ingest, &r, NULL), TSN_OK);
        assert_int_equal(tsn_ingest_record(cut.ingest, &r, NULL), TSN_OK);
        if (!rng(8))
            worker_close(&cut);
        if (!rng(40)) {
            worker_close(&cut);
            worker_end(&cut);
            worker_open(&cut, config, set);
        }
    }
    worker_close(&whole);
    worker_close(&cut);
    assert_true(whole.ledger.late[0] > 0);
    same_ledgers(&whole.ledger, &cut.ledger, seed);
    for (int p = 0; p < PARTS; p++) {
        assert_string_equal(whole.metadata[p], cut.metadata[p]);
        tsn_free(whole.metadata[p]);
        tsn_free(cut.metadata[p]);
    }
    worker_end(&whole);
    worker_end(&cut);
    ledger_release(&whole.ledger);
    ledger_release(&cut.ledger);
    tsn_free(whole.names);
    tsn_free(cut.names);
    tsn_buf_release(&text);
}

static void test_cuts_do_not_matter(void **state)
{
    struct tsn_rule_source source = { "r.yaml", rules, sizeof rules - 1 };
    struct tsn_rule_load_options load = { 0 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &load, &errors);
    const char *base = getenv("TOCSIN_SEED");
    struct tsn_config config;

    (void)state;
    assert_non_null(set);
    assert_int_equal(tsn_config_parse(&config, "t.yaml", yaml, sizeof yaml - 1, NULL, NULL), TSN_OK);
    for (uint64_t seed = 0; seed < SEEDS / 3; seed++)
        run_cuts(&config, set, seed + (base ? strtoull(base, NULL, 10) : 1));
    tsn_rule_set_free(&set);
    tsn_config_release(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fast_is_exact), cmocka_unit_test(test_cuts_do_not_matter) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
