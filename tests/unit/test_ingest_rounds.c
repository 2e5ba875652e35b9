/*
 * Goal: a batch whose records would be larger than the broker takes goes out in rounds that together say the same.
 *
 * Method: one world with room for everything and one with 512 bytes a record take the same events. What the second gives in several rounds
 * must be what the first gives in one: names before their use, each sample once, watermarks in the last round alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "ingest_world.h"

enum { LIMIT = 512, SERIES = 200 };

/* What batches of one place say, whatever their cut. */
struct said {
    struct tsn_buf names, points, deltas, lines;
    int64_t watermark_ms, last_seq;
    size_t rounds;
};

static void say(struct said *s, const struct tsn_batch *b)
{
    s->rounds++;
    if (s->last_seq)
        assert_int_equal(b->seq, s->last_seq + 1);
    s->last_seq = b->seq;
    for (size_t i = 0; i < b->series_count; i++)
        tsn_labels_format(&s->names, b->series[i].labels);
    for (size_t i = 0; i < b->point_count; i++)
        tsn_buf_printf(&s->points, "%u %lld %g\n", b->points[i].ref, (long long)b->points[i].ts_ms, b->points[i].value);
    for (size_t i = 0; i < b->delta_count; i++)
        tsn_buf_printf(&s->deltas, "%u %lld %g\n", b->deltas[i].ref, (long long)b->deltas[i].pane_ms, tsn_fixed_to_double(b->deltas[i].delta));
    for (size_t i = 0; i < b->signature_count; i++)
        tsn_buf_printf(&s->lines, "%llx %s\n", (unsigned long long)b->signatures[i].signature, b->signatures[i].text);
    for (size_t i = 0; i < b->signature_count_count; i++)
        tsn_buf_printf(&s->lines, "%llx %lld\n", (unsigned long long)b->signature_counts[i].signature, (long long)b->signature_counts[i].count);
    for (size_t i = 0; i < b->input_count; i++) {
        assert_int_equal(s->watermark_ms, TSN_TIME_NONE); /* no round after one that lets time go on */
        if (b->inputs[i].watermark_ms == TSN_TIME_NONE)
            assert_int_equal(b->inputs[i].first_offset, b->inputs[i].next_offset);
    }
    for (size_t i = 0; i < b->input_count; i++)
        s->watermark_ms = b->inputs[i].watermark_ms > s->watermark_ms ? b->inputs[i].watermark_ms : s->watermark_ms;
}

static void release(struct said *s)
{
    tsn_buf_release(&s->names);
    tsn_buf_release(&s->points);
    tsn_buf_release(&s->deltas);
    tsn_buf_release(&s->lines);
}

static void take_events(struct world *w)
{
    assign(w, METRICS, 0, NULL);
    assign(w, LOGS, 0, NULL);
    for (int i = 0; i < SERIES; i++) {
        feed(w, METRICS, 0, "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":%d,\"labels\":{\"service\":\"a\",\"id\":\"%d\"},\"timestamp\":%lld}", i, i,
             (long long)T0 + i);
        feed(w, METRICS, 0, "{\"name\":\"temperature\",\"value\":%d,\"labels\":{\"service\":\"b\",\"id\":\"%d\"},\"timestamp\":%lld}", i, i, (long long)T0 + i);
        feed(w, LOGS, 0, "{\"message\":\"word%c%c happened\",\"service\":\"a\",\"level\":\"ERROR\",\"timestamp\":%lld}", 'a' + i % 26, 'a' + i / 26, (long long)T0 + i);
    }
}

static void close_into(struct world *w, size_t limit, struct said said[PLACES])
{
    struct tsn_closed_batch *b = tsn_ingest_close(w->ingest, T0);

    assert_int_equal(b->partitions, PLACES);
    assert_int_equal(b->record_count % PLACES, 0);
    for (size_t i = 0; i < b->record_count; i++) {
        struct tsn_batch batch;

        assert_int_equal(tsn_codec_batch_decode(b->records[i].data, b->records[i].len, &batch, NULL), TSN_OK);
        if (limit && batch.series_count + batch.point_count + batch.delta_count + batch.signature_count + batch.signature_count_count > 1)
            assert_true(b->records[i].len <= limit);
        say(&said[i % PLACES], &batch);
        tsn_batch_release(&batch);
    }
    assert_int_equal(b->seq, said[0].last_seq);
    tsn_closed_batch_free(&b);
}

static void test_rounds_say_the_same(void **state)
{
    static const char inputs[] = "  - { topic: m, type: metrics }\n  - { topic: l, type: logs }\n";
    static const char rules[] = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum by (service) (rate(requests_total[5m])) > 1\n"
                                "  - alert: B\n    expr: temperature > 1000 or log_template_messages_total > 1000\n";
    struct world whole = { 0 }, cut = { 0 };
    struct said a[PLACES], b[PLACES];
    size_t rounds = 0;

    TSN_UNUSED(state);
    memset(a, 0, sizeof a);
    for (int p = 0; p < PLACES; p++)
        a[p].watermark_ms = TSN_TIME_NONE;
    memcpy(b, a, sizeof b);
    cut.options.record_bytes = LIMIT;
    open_inputs(&whole, inputs, NULL, rules);
    open_inputs(&cut, inputs, NULL, rules);
    take_events(&whole);
    take_events(&cut);
    close_into(&whole, 0, a);
    close_into(&cut, LIMIT, b);
    for (int p = 0; p < PLACES; p++) {
        assert_int_equal(a[p].rounds, 1);
        assert_string_equal(tsn_buf_str(&a[p].names), tsn_buf_str(&b[p].names));
        assert_string_equal(tsn_buf_str(&a[p].points), tsn_buf_str(&b[p].points));
        assert_string_equal(tsn_buf_str(&a[p].deltas), tsn_buf_str(&b[p].deltas));
        assert_string_equal(tsn_buf_str(&a[p].lines), tsn_buf_str(&b[p].lines));
        assert_int_equal(a[p].watermark_ms, b[p].watermark_ms);
        assert_int_equal(b[p].watermark_ms, T0 + SERIES - 1 - 5000);
        assert_true(!rounds || b[p].rounds == rounds); /* every partition has a record of every round */
        rounds = b[p].rounds;
        release(&a[p]);
        release(&b[p]);
    }
    assert_true(rounds > SERIES / 10);
    close_world(&whole);
    close_world(&cut);
}

/* At the limit a batch goes out whole; one byte less of room, and it goes out in rounds. */
static void test_limit(void **state)
{
    size_t largest = 0;

    TSN_UNUSED(state);
    for (int pass = 0; pass < 3; pass++) {
        struct world w = { .options.record_bytes = pass ? largest + 1 - (size_t)pass : 0 };
        struct tsn_closed_batch *b;

        open_inputs(&w, default_inputs, NULL, NULL);
        assign(&w, METRICS, 0, NULL);
        for (int i = 0; i < 9; i++)
            feed(&w, METRICS, 0, "{\"name\":\"requests_total\",\"kind\":\"delta\",\"value\":1,\"labels\":{\"service\":\"a\",\"id\":\"%d\"},\"timestamp\":%lld}", i, (long long)T0);
        b = tsn_ingest_close(w.ingest, T0);
        for (size_t i = 0; !pass && i < b->record_count; i++)
            largest = b->records[i].len > largest ? b->records[i].len : largest;
        assert_int_equal(b->record_count > PLACES, pass == 2);
        assert_int_equal(b->seq, b->record_count / PLACES);
        tsn_closed_batch_free(&b);
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rounds_say_the_same), cmocka_unit_test(test_limit) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
