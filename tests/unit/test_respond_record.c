/*
 * Goal: what RESPOND keeps in Redis and in the topic `respond` reads back as it was written, and damaged or foreign
 * bytes are refused with a word. Method: values through both directions; one damage per row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/respond_record.h"

#define T0 INT64_C(1700000000123)

/* An incident as the core makes it: one transition, one acknowledgement. Release the effects. */
static const struct tsn_respond_incident *make_incident(struct tsn_effects *effects, const char *severity)
{
    struct tsn_policy policy;
    struct tsn_respond *r;
    struct tsn_transition t = { .format = 1, .was = TSN_ALERT_PENDING, .state = TSN_ALERT_FIRING, .step_ms = T0,
                                .active_at_ms = T0, .fired_at_ms = T0, .keep_firing_since_ms = TSN_TIME_NONE,
                                .value = 0.25 };
    struct tsn_command c = { .format = 1, .command_id = tsn_strdup("c-1"), .kind = TSN_CMD_ACK,
                             .actor = tsn_strdup("ada \"l\""), .reason = tsn_strdup("seen") };
    const struct tsn_respond_incident *found = NULL;

    tsn_policy_init_default(&policy);
    r = tsn_respond_new(&policy, NULL);
    t.labels = tsn_labels_of("alertname", "HookErrors", "service", "hook-receiver", "severity", severity, NULL);
    t.annotations = tsn_labels_of("summary", "errors\nand more", NULL);
    tsn_u128_hex(t.labels->id, t.alert_id);
    tsn_respond_transition(r, 7, T0, &t, effects);
    if (effects->len) {
        c.incident_id = tsn_strdup(effects->items[0].incident_id);
        tsn_respond_command(r, 0, T0 + 1000, &c, effects);
    } else {
        c.incident_id = tsn_strdup("none");
        assert_int_equal(tsn_respond_counters(r)->heartbeats, 1);
    }
    for (size_t i = 0; i < effects->len; i++)
        if (effects->items[i].kind == TSN_EFFECT_SAVE)
            found = effects->items[i].record;
    tsn_transition_release(&t);
    tsn_command_release(&c);
    tsn_respond_free(&r);
    tsn_policy_release(&policy);
    return found;
}

static void test_incident_round_trip(void **state)
{
    struct tsn_effects effects = { NULL, 0, 0 };
    const struct tsn_respond_incident *in = make_incident(&effects, "critical");
    struct tsn_respond_incident back;
    struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;

    TSN_UNUSED(state);
    assert_non_null(in);
    tsn_respond_incident_encode(in, &once);
    assert_int_equal(tsn_respond_incident_decode(once.data, once.len, &back, NULL), TSN_OK);
    assert_string_equal(back.pub.incident_id, in->pub.incident_id);
    assert_int_equal(back.pub.version, 2);
    assert_string_equal(back.pub.acknowledged_by, "ada \"l\"");
    assert_string_equal(back.pub.title, "errors\nand more");
    assert_int_equal(back.pub.respond_by_ms, in->pub.respond_by_ms);
    for (int level = 1; level <= TSN_LEVELS; level++)
        assert_true(back.paged_at_ms[level] == in->paged_at_ms[level]);
    assert_int_equal(back.started_at_ms, T0);
    assert_int_equal(back.floor_ms, T0);
    assert_false(back.severity_set);
    assert_int_equal(back.commands.len, 1);
    assert_string_equal(back.commands.items[0], "c-1");
    tsn_respond_incident_encode(&back, &twice);
    assert_string_equal(once.data, twice.data);
    tsn_respond_incident_release(&back);
    tsn_buf_release(&once);
    tsn_buf_release(&twice);
    tsn_effects_release(&effects);
}

/* Replaces the first `from` in the encoded incident by `to` and decodes. */
static enum tsn_err damaged(const char *from, const char *to, struct tsn_error *error)
{
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_respond_incident back;
    struct tsn_buf text = TSN_BUF_INIT, bad = TSN_BUF_INIT;
    const char *at;
    enum tsn_err err;

    tsn_respond_incident_encode(make_incident(&effects, "critical"), &text);
    at = strstr(text.data, from);
    if (!at)
        fail_msg("%s does not hold %s", text.data, from);
    tsn_buf_append(&bad, text.data, (size_t)(at - text.data));
    tsn_buf_puts(&bad, to);
    tsn_buf_puts(&bad, at + strlen(from));
    err = tsn_respond_incident_decode(bad.data, bad.len, &back, error);
    if (err == TSN_OK)
        tsn_respond_incident_release(&back);
    tsn_buf_release(&text);
    tsn_buf_release(&bad);
    tsn_effects_release(&effects);
    return err;
}

static void test_damaged_incident_is_refused(void **state)
{
    static const struct {
        const char *from, *to;
        enum tsn_err code;
        const char *word;
    } rows[] = {
        { "{\"format\":1,", "{\"format\":2,", TSN_ERR_UNSUPPORTED, "upgrade" },
        { "{\"format\":1,", "{", TSN_ERR_INVALID, "format" },
        { "\"severity\":", "\"severity\":1", TSN_ERR_INVALID, "severity" },
        { "\"level\":1", "\"level\":4", TSN_ERR_INVALID, "level" },
        { "\"level\":1", "\"level\":0", TSN_ERR_INVALID, "level" },
        { "\"version\":2", "\"version\":0", TSN_ERR_INVALID, "version" },
        { "\"incident_id\":\"inc", "\"incident_id\":\"this-is-an-id-of-more-than-forty-bytes-inc", TSN_ERR_INVALID, "incident_id" },
        { "\"paged_at\":[", "\"paged_at\":[null,", TSN_ERR_INVALID, "paged_at" },
        { "\"started_at\":\"", "\"started_at\":\"x", TSN_ERR_INVALID, "started_at" },
        { "\"respond_by\":", "\"respond_by\":300000000000000,\"x\":", TSN_ERR_INVALID, "time" },
        { "\"severity_set\":false", "\"severity_set\":0", TSN_ERR_INVALID, "severity_set" },
        { "[\"c-1\"]", "[1]", TSN_ERR_INVALID, "commands" },
        { "\"incident\":{", "\"incident\":[{", TSN_ERR_INVALID, "JSON" },
        { "\"incident\":{", "\"other\":{", TSN_ERR_INVALID, "incident" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_error error = { 0 };

        assert_int_equal(damaged(rows[i].from, rows[i].to, &error), rows[i].code);
        if (!strstr(error.message, rows[i].word))
            fail_msg("row %zu: '%s' does not name %s", i, error.message, rows[i].word);
    }
}

static void test_heartbeat_opens_nothing(void **state)
{
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_labels *named = tsn_labels_of("alertname", "Watchdog", "severity", "None", NULL);
    struct tsn_labels *given = tsn_labels_of("alertname", "X", "severity", "none", "incident_severity", "2", NULL);
    struct tsn_labels *other = tsn_labels_of("alertname", "X", "severity", "nonesuch", NULL);

    TSN_UNUSED(state);
    assert_null(make_incident(&effects, "none"));
    assert_int_equal(effects.len, 0);
    assert_true(tsn_respond_heartbeat(named));
    assert_false(tsn_respond_heartbeat(given));
    assert_false(tsn_respond_heartbeat(other));
    tsn_labels_unref(named);
    tsn_labels_unref(given);
    tsn_labels_unref(other);
    tsn_effects_release(&effects);
}

/* The fuzz target begins from an incident that is one. */
static void test_corpus_incident_decodes(void **state)
{
    FILE *in = fopen("tests/fuzz/corpus/respond/incident", "rb");
    struct tsn_respond_incident back;
    char text[4096];
    size_t len;

    TSN_UNUSED(state);
    assert_non_null(in);
    len = fread(text, 1, sizeof text, in);
    fclose(in);
    assert_int_equal(tsn_respond_incident_decode(text + 1, len - 1, &back, NULL), TSN_OK);
    tsn_respond_incident_release(&back);
}

static void test_mark(void **state)
{
    struct tsn_respond_mark mark = { "0123456789abcdef0123456789abcdef", 5, 1234, { 10, -1, T0 } }, back;
    char text[TSN_RESPOND_MARK_TEXT];
    static const char *const bad[] = {
        "", "v=1", "v=0 run=0123456789abcdef0123456789abcdef generation=5 cursor=1 alerts=1 commands=1 clock=1",
        "v=1 run=0123456789ABCDEF0123456789abcdef generation=5 cursor=1 alerts=1 commands=1 clock=1",
        "v=1 run=0123456789abcdef0123456789abcdef generation=0 cursor=1 alerts=1 commands=1 clock=1",
        "v=1 run=0123456789abcdef0123456789abcdef generation=5 cursor=-1 alerts=1 commands=1 clock=1",
        "v=1 run=0123456789abcdef0123456789abcdef generation=5 cursor=1 alerts=-2 commands=1 clock=1",
        "v=1 run=0123456789abcdef0123456789abcdef generation=5 cursor=1 alerts=1 commands=1 clock=1 more=1",
        "v=1 run=0123456789abcdef0123456789abcdef generation=5  cursor=1 alerts=1 commands=1 clock=1",
    };

    TSN_UNUSED(state);
    tsn_respond_mark_format(text, &mark);
    assert_string_equal(text, "v=1 run=0123456789abcdef0123456789abcdef generation=5 cursor=1234 alerts=10 commands=-1 "
                              "clock=1700000000123");
    assert_int_equal(tsn_respond_mark_parse(text, strlen(text), &back, NULL), TSN_OK);
    assert_memory_equal(&mark, &back, sizeof mark);
    for (size_t i = 0; i < TSN_ARRAY_LEN(bad); i++)
        assert_int_equal(tsn_respond_mark_parse(bad[i], strlen(bad[i]), &back, NULL), TSN_ERR_INVALID);
    assert_int_equal(tsn_respond_mark_parse("v=2 x", 5, &back, NULL), TSN_ERR_UNSUPPORTED);
}

static void check_entry(const struct tsn_outbox_entry *e)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_outbox_entry back;

    tsn_outbox_entry_encode(e, &text);
    assert_int_equal(tsn_outbox_entry_decode(text.data, text.len, &back, NULL), TSN_OK);
    assert_int_equal(back.kind, e->kind);
    assert_int_equal(back.last, e->last);
    assert_memory_equal(&back.position, &e->position, sizeof back.position);
    assert_string_equal(back.incident_id, e->incident_id);
    assert_int_equal(back.len, e->len);
    if (e->len)
        assert_memory_equal(back.value, e->value, e->len);
    assert_int_equal(back.seq, e->seq);
    assert_int_equal(back.type, e->type);
    assert_true(back.event_time_ms == e->event_time_ms);
    tsn_buf_release(&text);
}

static void test_outbox_entry(void **state)
{
    struct tsn_outbox_entry event = { TSN_OUTBOX_EVENT, false, { 3, -1, T0 }, "inc-1", 9, T0 - 5, TSN_INC_BREACHED, "\2\n\0x", 4 };
    struct tsn_outbox_entry snapshot = { TSN_OUTBOX_SNAPSHOT, true, { 3, 4, TSN_TIME_NONE }, "inc-1", 9, 0, 0, "{}", 2 };
    struct tsn_outbox_entry gone = { TSN_OUTBOX_TOMBSTONE, true, { 3, 4, T0 }, "inc-1", 9, 0, 0, "", 0 };
    static const char *const bad[] = { "", "1", "1 event last 3 4 5 inc-1 9 breached 5", "1 event last 3 4 5 inc-1 9 breached 5\n",
                                       "1 tombstone last 3 4 5 inc-1 9 - 0\nx", "1 event last 3 4 5 inc-1 9 sung 5\n{}",
                                       "1 event first 3 4 5 inc-1 9 breached 5\n{}", "x event last 3 4 5 inc-1 9 breached 5\n{}",
                                       "1 snapshot last 3 4 5 inc-1 9 breached 5\n{}", "1 event last 3 4 5 inc-1 9 breached 5 6\n{}" };

    TSN_UNUSED(state);
    check_entry(&event);
    check_entry(&snapshot);
    check_entry(&gone);
    for (size_t i = 0; i < TSN_ARRAY_LEN(bad); i++)
        assert_int_equal(tsn_outbox_entry_decode(bad[i], strlen(bad[i]), &gone, NULL), TSN_ERR_INVALID);
}

static void test_page_and_answer(void **state)
{
    char ada[] = "ada", grace[] = "grace", title[] = "t \"q\"", none[] = "", message[] = "the incident is resolved";
    char *people[] = { ada, grace };
    struct tsn_page page = { .level = 3, .severity = 1, .tell = true, .channel = TSN_PAGE_HERE, .people = people,
                             .people_count = 2, .title = title, .reason = none, .at_ms = T0, .dedup_key = "inc-1:L3" }, back;
    struct tsn_respond_answer answer = { TSN_ERR_CONFLICT, "inc-1", 4, message }, again;
    struct tsn_buf text = TSN_BUF_INIT, twice = TSN_BUF_INIT;

    TSN_UNUSED(state);
    tsn_page_encode(&page, &text);
    assert_int_equal(tsn_page_decode(text.data, text.len, &back, NULL), TSN_OK);
    tsn_page_encode(&back, &twice);
    assert_string_equal(text.data, twice.data);
    assert_int_equal(back.people_count, 2);
    assert_true(back.tell);
    tsn_page_release(&back);
    assert_int_equal(tsn_page_decode("{\"format\":1,\"level\":4}", 22, &back, NULL), TSN_ERR_INVALID);
    tsn_buf_reset(&text);
    tsn_respond_answer_encode(&answer, &text);
    assert_int_equal(tsn_respond_answer_decode(text.data, text.len, &again, NULL), TSN_OK);
    assert_int_equal(again.code, TSN_ERR_CONFLICT);
    assert_int_equal(again.version, 4);
    assert_string_equal(again.message, answer.message);
    tsn_respond_answer_release(&again);
    assert_int_equal(tsn_respond_answer_decode("{\"format\":1,\"code\":\"well\"}", 26, &again, NULL), TSN_ERR_INVALID);
    tsn_buf_release(&text);
    tsn_buf_release(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incident_round_trip), cmocka_unit_test(test_damaged_incident_is_refused),
        cmocka_unit_test(test_heartbeat_opens_nothing), cmocka_unit_test(test_corpus_incident_decodes), cmocka_unit_test(test_mark),
        cmocka_unit_test(test_outbox_entry), cmocka_unit_test(test_page_and_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
