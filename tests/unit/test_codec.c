/*
 * Goal: what crosses a topic comes back as it was, in the same bytes each time, and damaged bytes are
 * refused without harm.
 * Method: records by hand and seeded random batches, round trips in both forms; avro-c reads our
 * bytes with the schemas under schemas/ and must write the same bytes again (so schema and codec
 * agree); every cut and seeded bit flips of good records must decode cleanly or be refused.
 */
#include "tocsin/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <avro.h>
#include <math.h>

static uint64_t seed_state = 1;

static uint64_t rnd(void)
{
    seed_state += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(&seed_state, sizeof seed_state);
}

/* ---- avro-c as the oracle ----------------------------------------------------------------- */

static avro_schema_t load_schema(const char *name)
{
    static char text[65536];
    char path[128];
    FILE *f;
    size_t len;
    avro_schema_t schema;

    snprintf(path, sizeof path, "schemas/%s.avsc", name);
    f = fopen(path, "r");
    assert_non_null(f);
    len = fread(text, 1, sizeof text, f);
    fclose(f);
    if (avro_schema_from_json_length(text, len, &schema))
        fail_msg("%s: %s", path, avro_strerror());
    return schema;
}

/* The generic reader takes all of our bytes and the generic writer gives them back. */
static void avro_agrees(const char *name, const struct tsn_buf *bytes)
{
    avro_schema_t schema = load_schema(name);
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    avro_reader_t reader = avro_reader_memory(bytes->data, (int64_t)bytes->len);
    char *again = tsn_alloc(bytes->len + 64);
    avro_writer_t writer = avro_writer_memory(again, (int64_t)bytes->len + 64);
    avro_value_t value;

    assert_int_equal(avro_generic_value_new(iface, &value), 0);
    if (avro_value_read(reader, &value))
        fail_msg("%s: %s", name, avro_strerror());
    assert_int_equal(avro_value_write(writer, &value), 0);
    assert_int_equal(avro_writer_tell(writer), bytes->len);
    assert_memory_equal(again, bytes->data, bytes->len);
    avro_value_decref(&value);
    avro_writer_free(writer);
    avro_reader_free(reader);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    tsn_free(again);
}

/* ---- batches ------------------------------------------------------------------------------ */

static double random_value(void)
{
    switch (rnd() % 6) {
    case 0: return tsn_double_from_bits(rnd());
    case 1: return tsn_stale();
    case 2: return (double)(rnd() % 100000);
    case 3: return 0;
    case 4: return -0.0;
    default: return (double)(rnd() % 1000) / 8;
    }
}

static tsn_fixed random_delta(void)
{
    switch (rnd() % 4) {
    case 0: return (tsn_fixed)(rnd() % 1000) << 64;
    case 1: return (tsn_fixed)(((unsigned __int128)rnd() << 64 | rnd()) >> (1 + rnd() % 127));
    case 2: return (tsn_fixed)(rnd() % 256) << rnd() % 119;
    default: return (tsn_fixed)1 << 64;
    }
}

static void random_rows(struct tsn_batch *b, size_t rows)
{
    uint32_t ref = (uint32_t)(rnd() % 1000);
    int64_t ts = (int64_t)(rnd() % 2000000000000);

    b->points = tsn_calloc(rows + 1, sizeof *b->points);
    b->deltas = tsn_calloc(rows + 1, sizeof *b->deltas);
    b->point_count = b->delta_count = rows;
    for (size_t i = 0; i < rows; i++) {
        if (rnd() % 3 == 0) {
            ref += 1 + (uint32_t)(rnd() % 200);
            ts = (int64_t)(rnd() % 2000000000000) - 1000000000;
        }
        ts += (int64_t)(rnd() % 20000);
        b->points[i] = (struct tsn_batch_point){ ref, ts, random_value() };
        b->deltas[i] = (struct tsn_batch_delta){ ref, ts / 1000 * 1000, random_delta() };
    }
}

static void random_batch(struct tsn_batch *b, size_t rows)
{
    memset(b, 0, sizeof *b);
    b->format = TSN_FORMAT_VERSION;
    b->slot = 3;
    b->writer = (int64_t)rnd();
    b->epoch = 7;
    b->seq = 11;
    b->rule_set = 2;
    b->wall_ms = 1790000000123;
    b->input_count = 2;
    b->inputs = tsn_calloc(2, sizeof *b->inputs);
    b->inputs[0] = (struct tsn_batch_input){ tsn_strdup("bridge.logs"), 4, 10, 20, 1790000000000, false,
                                             TSN_TIME_NONE, 5 };
    b->inputs[1] = (struct tsn_batch_input){ tsn_strdup("bridge.hooks"), 0, 0, 0, TSN_TIME_NONE, true, 99, 0 };
    b->decl_count = 1;
    b->decls = tsn_calloc(1, sizeof *b->decls);
    b->decls[0].topic = tsn_strdup("bridge.hooks");
    b->decls[0].type = tsn_strdup("hooks");
    b->decls[0].partition_count = 6;
    b->decls[0].names = tsn_calloc(2, sizeof(char *));
    b->decls[0].name_count = 2;
    b->decls[0].names[0] = tsn_strdup("hooks_processed_total");
    b->decls[0].names[1] = tsn_strdup("x");
    b->series_count = 2;
    b->series = tsn_calloc(2, sizeof *b->series);
    b->series[0] = (struct tsn_batch_series){ 1, TSN_DELTA,
                                              tsn_labels_of("__name__", "x_total", "service", "a\"b", NULL) };
    b->series[1] = (struct tsn_batch_series){ UINT32_MAX, TSN_GAUGE, tsn_labels_empty() };
    b->signature_count = 1;
    b->signatures = tsn_calloc(1, sizeof *b->signatures);
    b->signatures[0] = (struct tsn_batch_signature){ rnd(), tsn_strdup("svc"), tsn_strdup("ERROR"),
                                                     tsn_strdup("lost <*>"), tsn_strdup("lost it"),
                                                     tsn_strdup("bridge.logs"), 1, 77, 1790000000001 };
    b->signature_count_count = 3;
    b->signature_counts = tsn_calloc(3, sizeof *b->signature_counts);
    for (int i = 0; i < 3; i++)
        b->signature_counts[i] = (struct tsn_batch_signature_count){
            rnd(), tsn_strdup(i == 1 ? "other" : "svc"), tsn_strdup("ERROR"), 5000 - i * 1000, i
        };
    random_rows(b, rows);
}

static void batches_come_back_to_the_bit(void **state)
{
    TSN_UNUSED(state);
    for (size_t rows = 0; rows < 200; rows = rows < 8 ? rows + 1 : rows * 3) {
        struct tsn_batch b, back;
        struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;
        struct tsn_error error = { 0 };

        random_batch(&b, rows);
        tsn_codec_batch_encode(&b, &once);
        avro_agrees("SampleBatch", &once);
        if (tsn_codec_batch_decode(once.data, once.len, &back, &error) != TSN_OK)
            fail_msg("%s", error.message);
        assert_int_equal(back.point_count, rows);
        for (size_t i = 0; i < rows; i++) {
            assert_int_equal(back.points[i].ref, b.points[i].ref);
            assert_int_equal(back.points[i].ts_ms, b.points[i].ts_ms);
            assert_int_equal(tsn_double_bits(back.points[i].value), tsn_double_bits(b.points[i].value));
            assert_int_equal(back.deltas[i].ref, b.deltas[i].ref);
            assert_int_equal(back.deltas[i].pane_ms, b.deltas[i].pane_ms);
            assert_true(back.deltas[i].delta == b.deltas[i].delta);
        }
        assert_true(tsn_labels_equal(back.series[0].labels, b.series[0].labels));
        assert_int_equal(back.inputs[1].watermark_ms, TSN_TIME_NONE);
        assert_string_equal(back.decls[0].names[0], "hooks_processed_total");
        assert_int_equal(back.signature_counts[2].pane_ms, 3000);
        assert_string_equal(back.signature_counts[1].service, "other");
        tsn_codec_batch_encode(&back, &twice);
        assert_int_equal(once.len, twice.len);
        assert_memory_equal(once.data, twice.data, once.len);
        tsn_batch_release(&b);
        tsn_batch_release(&back);
        tsn_buf_release(&once);
        tsn_buf_release(&twice);
    }
}

static void a_sample_costs_at_most_12_bytes(void **state)
{
    enum { N = 10000 };
    struct tsn_batch b = { .format = TSN_FORMAT_VERSION };
    struct tsn_buf out = TSN_BUF_INIT;

    TSN_UNUSED(state);
    b.points = tsn_calloc(N, sizeof *b.points);
    b.point_count = N;
    for (uint32_t i = 0; i < N; i++) /* the worst: all mantissa bits, scattered over 4 s */
        b.points[i] = (struct tsn_batch_point){ i * 3, 1790000000000 + (int64_t)(rnd() % 4000),
                                                1.0 / (double)(3 + rnd() % 1000000) };
    tsn_codec_batch_encode(&b, &out);
    assert_true(out.len <= 12 * N);
    tsn_batch_release(&b);
    tsn_buf_release(&out);
}

/* Every proper prefix is refused; flipped bits never crash, and what decodes encodes. */
static void damaged_batches_are_refused(void **state)
{
    struct tsn_batch b, back;
    struct tsn_buf good = TSN_BUF_INIT;

    TSN_UNUSED(state);
    random_batch(&b, 20);
    tsn_codec_batch_encode(&b, &good);
    tsn_batch_release(&b);
    for (size_t cut = 0; cut < good.len; cut++) {
        char *exact = tsn_memdup(good.data, cut);
        struct tsn_error error = { 0 };

        assert_int_equal(tsn_codec_batch_decode(exact, cut, &back, &error), TSN_ERR_INVALID);
        assert_non_null(strstr(error.message, "byte "));
        tsn_free(exact);
    }
    for (int i = 0; i < 20000; i++) {
        char *bent = tsn_memdup(good.data, good.len);
        struct tsn_buf again = TSN_BUF_INIT;

        for (uint64_t n = 1 + rnd() % 3; n; n--)
            bent[rnd() % good.len] ^= (char)(1 << rnd() % 8);
        if (tsn_codec_batch_decode(bent, good.len, &back, NULL) == TSN_OK) {
            tsn_codec_batch_encode(&back, &again);
            tsn_batch_release(&back);
        }
        tsn_buf_release(&again);
        tsn_free(bent);
    }
    tsn_buf_release(&good);
}

/* ---- transitions, incidents, commands ----------------------------------------------------- */

static void sample_transition(struct tsn_transition *t)
{
    *t = (struct tsn_transition){
        .format = TSN_FORMAT_VERSION, .alert_id = "0123456789abcdef0123456789abcdef", .rule_set = 4,
        .was = TSN_ALERT_PENDING, .state = TSN_ALERT_FIRING, .value = 0.1, .active_at_ms = 1790000000000,
        .fired_at_ms = 1790000060000, .step_ms = 1790000060000, .keep_firing_since_ms = TSN_TIME_NONE,
        .warming = true, .sample_line_count = 2
    };
    t->rule = tsn_strdup("Hot");
    t->group = tsn_strdup("g");
    t->file = tsn_strdup("rules/a.yaml");
    t->labels = tsn_labels_of("alertname", "Hot", "service", "x\n", NULL);
    t->annotations = tsn_labels_of("summary", "hot \xc3\xa9", NULL);
    t->templates = tsn_calloc(1, sizeof(char *));
    t->templates[t->template_count++] = tsn_strdup("1 a <*>");
    t->sample_lines = tsn_calloc(2, sizeof(char *));
    t->sample_lines[0] = tsn_strdup("one");
    t->sample_lines[1] = tsn_strdup("");
}

static void a_transition_in_json_reads_as_the_contract_says(void **state)
{
    struct tsn_transition t;
    struct tsn_buf out = TSN_BUF_INIT;

    TSN_UNUSED(state);
    sample_transition(&t);
    tsn_codec_transition_encode(&t, TSN_FORM_JSON, &out);
    assert_string_equal(
        out.data,
        "{\"format\":1,\"alert_id\":\"0123456789abcdef0123456789abcdef\",\"rule\":\"Hot\",\"group\":\"g\","
        "\"file\":\"rules/a.yaml\",\"rule_set\":4,\"was\":\"pending\",\"state\":\"firing\",\"end_reason\":\"\","
        "\"labels\":{\"alertname\":\"Hot\",\"service\":\"x\\n\"},\"annotations\":{\"summary\":\"hot \xc3\xa9\"},"
        "\"value\":0.1,\"active_at\":\"2026-09-21T14:13:20.000Z\",\"fired_at\":\"2026-09-21T14:14:20.000Z\","
        "\"step_ts\":\"2026-09-21T14:14:20.000Z\",\"keep_firing_since\":null,\"warming\":true,"
        "\"sample_lines\":[\"one\",\"\"],\"templates\":[\"1 a <*>\"]}");
    tsn_transition_release(&t);
    tsn_buf_release(&out);
}

static void transitions_come_back(void **state)
{
    TSN_UNUSED(state);
    for (int form = TSN_FORM_JSON; form <= TSN_FORM_AVRO; form++)
        for (int i = 0; i < 4; i++) {
            static const double values[] = { 0.1, -1e300, (double)INFINITY, 5e-324 };
            struct tsn_transition t, back;
            struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;
            struct tsn_error error = { 0 };

            sample_transition(&t);
            t.value = values[i];
            t.end_reason = (enum tsn_end_reason)i;
            tsn_codec_transition_encode(&t, (enum tsn_codec_form)form, &once);
            if (form == TSN_FORM_AVRO)
                avro_agrees("AlertTransition", &once);
            if (tsn_codec_transition_decode(once.data, once.len, (enum tsn_codec_form)form, &back, &error))
                fail_msg("%s", error.message);
            assert_int_equal(tsn_double_bits(back.value), tsn_double_bits(t.value));
            assert_int_equal(back.fired_at_ms, t.fired_at_ms);
            assert_int_equal(back.keep_firing_since_ms, TSN_TIME_NONE);
            assert_true(tsn_labels_equal(back.labels, t.labels));
            tsn_codec_transition_encode(&back, (enum tsn_codec_form)form, &twice);
            assert_int_equal(once.len, twice.len);
            assert_memory_equal(once.data, twice.data, once.len);
            tsn_transition_release(&t);
            tsn_transition_release(&back);
            tsn_buf_release(&once);
            tsn_buf_release(&twice);
        }
}

static void sample_event(struct tsn_incident_event *e)
{
    struct tsn_incident *in = &e->snapshot;

    memset(e, 0, sizeof *e);
    e->format = in->format = TSN_FORMAT_VERSION;
    e->seq = in->version = 3;
    e->type = TSN_INC_ESCALATED;
    e->event_time_ms = 1790000000000;
    e->reason = tsn_strdup("no answer");
    e->actor = tsn_strdup("tocsin");
    snprintf(in->incident_id, sizeof in->incident_id, "inc-0123456789abcdef");
    in->group_key = tsn_strdup("{service=\"a\"}");
    in->title = tsn_strdup("a is down");
    in->severity = 1;
    in->level = 2;
    in->opened_at_ms = in->respond_by_ms = in->resolve_by_ms = 1789999999000;
    in->acknowledged_at_ms = in->resolved_at_ms = in->respond_breached_at_ms = TSN_TIME_NONE;
    in->resolve_breached_at_ms = in->escalate_at_ms = TSN_TIME_NONE;
    in->commander = tsn_strdup("ada");
    in->services = tsn_calloc(1, sizeof(char *));
    in->services[0] = tsn_strdup("a");
    in->service_count = 1;
    in->alerts = tsn_calloc(1, sizeof *in->alerts);
    in->alert_count = 1;
    snprintf(in->alerts[0].alert_id, sizeof in->alerts[0].alert_id, "ff");
    in->alerts[0].labels = tsn_labels_of("alertname", "Down", NULL);
    in->alerts[0].annotations = tsn_labels_empty();
    in->alerts[0].state = TSN_ALERT_FIRING;
    in->alerts[0].value = 1;
    in->alerts[0].fired_at_ms = 5;
    in->alerts[0].resolved_at_ms = TSN_TIME_NONE;
}

static void incident_events_come_back(void **state)
{
    TSN_UNUSED(state);
    for (int form = TSN_FORM_JSON; form <= TSN_FORM_AVRO; form++) {
        struct tsn_incident_event e, back;
        struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;
        struct tsn_error error = { 0 };

        sample_event(&e);
        tsn_codec_incident_event_encode(&e, (enum tsn_codec_form)form, &once);
        if (form == TSN_FORM_AVRO)
            avro_agrees("IncidentEvent", &once);
        else
            assert_non_null(strstr(once.data, "\"incident_id\":\"inc-0123456789abcdef\",\"seq\":3,"
                                              "\"type\":\"escalated\",\"event_time\":\"2026-09-21"));
        if (tsn_codec_incident_event_decode(once.data, once.len, (enum tsn_codec_form)form, &back, &error))
            fail_msg("%s", error.message);
        assert_string_equal(back.snapshot.commander, "ada");
        assert_null(back.snapshot.acknowledged_by);
        assert_int_equal(back.snapshot.alert_count, 1);
        assert_int_equal(back.snapshot.alerts[0].fired_at_ms, 5);
        tsn_codec_incident_event_encode(&back, (enum tsn_codec_form)form, &twice);
        assert_int_equal(once.len, twice.len);
        assert_memory_equal(once.data, twice.data, once.len);
        for (size_t cut = 0; cut < once.len; cut++) {
            struct tsn_incident_event broken;
            char *exact = tsn_memdup(once.data, cut);

            assert_int_not_equal(tsn_codec_incident_event_decode(exact, cut, (enum tsn_codec_form)form,
                                                                 &broken, NULL), TSN_OK);
            tsn_free(exact);
        }
        tsn_incident_event_release(&e);
        tsn_incident_event_release(&back);
        tsn_buf_release(&once);
        tsn_buf_release(&twice);
    }
}

static void commands_are_checked(void **state)
{
    static const struct {
        const char *json, *fault;
    } cases[] = {
        { "{\"format\":1,\"command_id\":\"c\",\"kind\":\"ack\",\"incident_id\":\"i\",\"actor\":\"a\"}", NULL },
        { "{\"format\":1,\"command_id\":\"\",\"kind\":\"ack\",\"incident_id\":\"i\",\"actor\":\"a\"}", "command_id" },
        { "{\"format\":1,\"command_id\":\"c\",\"kind\":\"nap\",\"incident_id\":\"i\",\"actor\":\"a\"}", "kind" },
        { "{\"format\":1,\"command_id\":\"c\",\"kind\":\"ack\",\"actor\":\"a\"}", "incident_id" },
        { "{\"format\":2,\"command_id\":\"c\",\"kind\":\"ack\",\"incident_id\":\"i\",\"actor\":\"a\"}", "upgrade" },
        { "{\"format\":1,\"command_id\":\"c\",\"kind\":\"severity\",\"incident_id\":\"i\",\"actor\":\"a\","
          "\"severity\":5}", "severity" },
        { "[]", "command" },
        { "{\"format\":1", "byte 11" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_command c;
        struct tsn_error error = { 0 };
        struct tsn_buf avro = TSN_BUF_INIT;
        enum tsn_err err = tsn_codec_command_decode(cases[i].json, strlen(cases[i].json), TSN_FORM_JSON, &c, &error);

        assert_int_equal(err == TSN_OK, cases[i].fault == NULL);
        if (cases[i].fault && !strstr(error.message, cases[i].fault))
            fail_msg("case %zu: %s", i, error.message);
        if (err == TSN_OK) {
            assert_string_equal(c.reason, "");
            assert_int_equal(c.at_ms, TSN_TIME_NONE);
            tsn_codec_command_encode(&c, TSN_FORM_AVRO, &avro);
            avro_agrees("Command", &avro);
            tsn_command_release(&c);
        }
        tsn_buf_release(&avro);
    }
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_takes_the_rfc_and_nothing_else(void **state)
{
    static const char *const good[] = { "0", "-0.5e+3", "\"\\ud83d\\ude00\\u0000\"", "[]", "{\"a\":[1,{}]}",
                                        " [ true , null ] ", "\"\xc3\xa9\"" };
    static const char *const bad[] = { "", "01", "1.", "-", ".5", "+1", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}",
                                       "\"\\x\"", "\"\\u12\"", "\"\x01\"", "\"\xff\"", "tru", "[1 2]", "1 2",
                                       "\"\\", "\"", "[", "nul", "{\"a\":1]", "NaN", "\"\\\n\"" };
    struct tsn_json json;

    TSN_UNUSED(state);
    tsn_json_init(&json);
    for (size_t i = 0; i < TSN_ARRAY_LEN(good); i++)
        assert_int_equal(tsn_json_parse(&json, good[i], strlen(good[i]), NULL), TSN_OK);
    for (size_t i = 0; i < TSN_ARRAY_LEN(bad); i++)
        if (tsn_json_parse(&json, bad[i], strlen(bad[i]), NULL) != TSN_ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
    tsn_json_release(&json);
}

static void json_depth_ends_at_its_limit(void **state)
{
    struct tsn_json json;
    struct tsn_buf text = TSN_BUF_INIT;

    TSN_UNUSED(state);
    tsn_json_init(&json);
    for (int depth = TSN_JSON_DEPTH; depth <= TSN_JSON_DEPTH + 1; depth++) {
        tsn_buf_reset(&text);
        for (int i = 0; i < depth; i++)
            tsn_buf_putc(&text, '[');
        for (int i = 0; i < depth; i++)
            tsn_buf_putc(&text, ']');
        assert_int_equal(tsn_json_parse(&json, text.data, text.len, NULL) == TSN_OK, depth == TSN_JSON_DEPTH);
    }
    tsn_buf_release(&text);
    tsn_json_release(&json);
}

static void json_nodes_say_what_was_written(void **state)
{
    static const char text[] = "{\"a\":[1,2.5],\"b\":\"x\\ty\",\"b\":\"z\",\"t\":\"2026-11-24T09:00:00.5Z\",\"n\":\"+Inf\"}";
    struct tsn_json json;
    double d;
    int64_t ms;

    TSN_UNUSED(state);
    tsn_json_init(&json);
    assert_int_equal(tsn_json_parse(&json, text, strlen(text), NULL), TSN_OK);
    assert_int_equal(json.nodes.items[0].skip, json.nodes.len);
    assert_int_equal(tsn_json_get(json.nodes.items, "a")->count, 2);
    assert_int_equal(tsn_json_get(json.nodes.items, "a")->text_len, 7);
    assert_true(tsn_json_is(tsn_json_get(json.nodes.items, "b"), "z"));
    assert_true(tsn_json_double(tsn_json_get(json.nodes.items, "a") + 2, &d) && d == 2.5);
    assert_true(tsn_json_double(tsn_json_get(json.nodes.items, "n"), &d) && d > 1e308);
    assert_true(tsn_json_time(tsn_json_get(json.nodes.items, "t"), &ms) && ms == 1795510800500);
    assert_null(tsn_json_get(json.nodes.items, "c"));
    tsn_json_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_back_to_the_bit),
        cmocka_unit_test(a_sample_costs_at_most_12_bytes),
        cmocka_unit_test(damaged_batches_are_refused),
        cmocka_unit_test(a_transition_in_json_reads_as_the_contract_says),
        cmocka_unit_test(transitions_come_back),
        cmocka_unit_test(incident_events_come_back),
        cmocka_unit_test(commands_are_checked),
        cmocka_unit_test(json_takes_the_rfc_and_nothing_else),
        cmocka_unit_test(json_depth_ends_at_its_limit),
        cmocka_unit_test(json_nodes_say_what_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
