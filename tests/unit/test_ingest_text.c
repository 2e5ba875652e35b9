/*
 * ingest, text: goal: plain lines, logfmt, syslog and JSON of a logs topic become log events with the labels they name or the configured
 * defaults; a stack trace is one event however it is cut into records, restarts included; section `logs` of the configuration holds.
 * Method: records in, closed batches decoded again; joined and split feeding are compared.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ingest_world.h"
#include "tocsin/patterns.h"

static const char rules[] =
    "groups:\n"
    "- name: g\n"
    "  rules:\n"
    "  - alert: A\n"
    "    expr: sum by (service) (rate(log_messages_total[5m])) > 1 or sum by (service) (rate(log_template_messages_total[5m])) > 1\n";

static void open_text(struct world *w, const char *input, const char *extra)
{
    struct tsn_buf inputs = TSN_BUF_INIT;

    memset(w, 0, sizeof *w);
    tsn_buf_printf(&inputs, "  - { topic: l, type: logs%s }\n", input);
    open_inputs(w, tsn_buf_str(&inputs), extra, rules);
    tsn_buf_release(&inputs);
    assign(w, 0, 0, NULL);
}

static void line(struct world *w, const char *text)
{
    feed_bytes(w, 0, 0, T0, text, strlen(text));
}

static void end(struct world *w)
{
    tsn_ingest_idle(w->ingest, 0, 0, T0);
    close_at(w, T0);
}

static double messages(struct world *w, const char *labels)
{
    struct tsn_buf name = TSN_BUF_INIT;
    double sum = -1;

    tsn_buf_printf(&name, *labels ? "log_messages_total{%s}" : "log_messages_total%s", labels);
    for (int p = 0; p < PLACES; p++)
        if (delta_in(w, p, tsn_buf_str(&name), T0 / 1000 * 1000) > 0)
            sum = delta_in(w, p, tsn_buf_str(&name), T0 / 1000 * 1000);
    tsn_buf_release(&name);
    return sum;
}

/* The announced signature with this text; fails if there is none. */
static const struct tsn_batch_signature *signature(struct world *w, const char *text)
{
    for (int p = 0; p < PLACES; p++)
        for (size_t i = 0; i < w->batches[p].signature_count; i++)
            if (strcmp(w->batches[p].signatures[i].text, text) == 0)
                return &w->batches[p].signatures[i];
    for (int p = 0; p < PLACES; p++)
        for (size_t i = 0; i < w->batches[p].signature_count; i++)
            print_message("there is: %s\n", w->batches[p].signatures[i].text);
    fail_msg("no signature '%s'", text);
    return NULL;
}

static void test_formats(void **state)
{
    struct world w;

    (void)state;
    open_text(&w, "", NULL);
    line(&w, "level=warn service=shop logger=cart msg=\"slow query\" took=3s");
    line(&w, "<131>1 2023-11-14T22:13:20Z web-1 billing 7 ID47 - it broke");
    line(&w, "2023-11-14T22:13:20Z ERROR [main] com.shop.Cart: no route to 10.0.0.1");
    line(&w, "{\"timestamp\":1700000000000,\"service\":\"shop\",\"environment\":\"prod\",\"level\":\"INFO\",\"message\":\"fine\"}");
    line(&w, "only words");
    end(&w);
    assert_true(messages(&w, "job=\"shop\", level=\"WARN\", logger=\"cart\", service=\"shop\"") == 1);
    assert_true(messages(&w, "job=\"billing\", level=\"ERROR\", service=\"billing\"") == 1);
    assert_true(messages(&w, "level=\"ERROR\", logger=\"com.shop.Cart\"") == 1);
    assert_true(messages(&w, "environment=\"prod\", job=\"shop\", level=\"INFO\", service=\"shop\"") == 1);
    assert_true(messages(&w, "") == 1);
    assert_string_equal(signature(&w, "slow query")->level, "WARN");
    assert_string_equal(signature(&w, "it broke")->service, "billing");
    assert_string_equal(signature(&w, "no route to <*>")->service, "");
    assert_int_equal(signature(&w, "only words")->sample_offset, 4);
    close_world(&w);
}

static void test_defaults(void **state)
{
    struct world w;

    (void)state;
    open_text(&w, ", defaults: { service: legacy, environment: prod, level: INFO, logger: stdout }", NULL);
    line(&w, "only words");
    line(&w, "ERROR no route");
    line(&w, "{\"timestamp\":1700000000000,\"service\":\"shop\",\"message\":\"fine\"}");
    end(&w);
    assert_true(messages(&w, "environment=\"prod\", job=\"legacy\", level=\"INFO\", logger=\"stdout\", service=\"legacy\"") == 1);
    assert_true(messages(&w, "environment=\"prod\", job=\"legacy\", level=\"ERROR\", logger=\"stdout\", service=\"legacy\"") == 1);
    assert_true(messages(&w, "environment=\"prod\", job=\"shop\", level=\"INFO\", logger=\"stdout\", service=\"shop\"") == 1);
    assert_string_equal(signature(&w, "no route")->service, "legacy");
    close_world(&w);
}

/* Broken JSON stays a dead letter; as text it is a line. */
static void test_what_is_text(void **state)
{
    struct world w;

    (void)state;
    open_text(&w, "", NULL);
    line(&w, "{\"message\":\"cut");
    line(&w, "[1,2");
    end(&w);
    assert_int_equal(w.closed->dead_count, 2);
    close_world(&w);
    open_text(&w, ", format: text", NULL);
    line(&w, "{\"message\":\"cut");
    line(&w, "{\"time\":\"2023-11-14T22:13:20Z\",\"severity\":\"error\",\"app\":\"shop\",\"msg\":\"took \\u00e9 3 ms\"}");
    line(&w, "bad \377 bytes");
    line(&w, " \n ");
    end(&w);
    assert_int_equal(w.closed->dead_count, 0);
    assert_true(messages(&w, "job=\"shop\", level=\"ERROR\", service=\"shop\"") == 1);
    (void)signature(&w, "took é <*> ms");
    (void)signature(&w, "bad ? bytes");
    assert_int_equal(w.closed->offsets[0].next_offset, 4);
    close_world(&w);
    open_text(&w, ", format: json", NULL);
    line(&w, "only words");
    end(&w);
    assert_int_equal(w.closed->dead_count, 1);
    close_world(&w);
}

static const char *const java[] = { "ERROR no route to 10.0.0.1", "java.lang.IllegalStateException: broken", "\tat a.B.c(B.java:12)",
                                    "\tat a.B.d(B.java:40)", "Caused by: java.io.IOException: closed", "\tat x.Y.z(Y.java:7)",
                                    "\t... 12 more" };
static const char java_text[] = "no route to <*> java.lang.IllegalStateException: broken at a.B.c(B.java:<*>) "
                                "Caused by: java.io.IOException: closed at x.Y.z(Y.java:<*>)";

/* One event, its lines in one record, in one each, or in two. */
static void test_traces(void **state)
{
    (void)state;
    for (size_t per_record = 1; per_record <= TSN_ARRAY_LEN(java); per_record++) {
        struct tsn_buf text = TSN_BUF_INIT;
        struct world w;
        size_t records = 0;

        open_text(&w, "", NULL);
        for (size_t i = 0; i < TSN_ARRAY_LEN(java); i++) {
            tsn_buf_puts(&text, java[i]);
            tsn_buf_putc(&text, '\n');
            if ((i + 1) % per_record && i + 1 < TSN_ARRAY_LEN(java))
                continue;
            line(&w, tsn_buf_str(&text));
            tsn_buf_reset(&text);
            records++;
        }
        close_at(&w, T0); /* nothing is taken yet, nothing committed */
        assert_int_equal(w.closed->offset_count, 1);
        assert_int_equal(w.closed->offsets[0].next_offset, 0);
        line(&w, "INFO next");
        close_at(&w, T0);
        assert_true(messages(&w, "level=\"ERROR\"") == 1 && messages(&w, "level=\"INFO\"") == -1);
        assert_non_null(strstr(signature(&w, java_text)->sample, "\tat a.B.d(B.java:40)"));
        assert_int_equal(w.closed->offsets[0].next_offset, records);
        end(&w);
        assert_true(messages(&w, "level=\"INFO\"") == 1);
        assert_int_equal(w.closed->offsets[0].next_offset, records + 1);
        close_world(&w);
        tsn_buf_release(&text);
    }
}

/* A crash in the middle of a trace: what was not committed comes again, and counts once. */
static void test_restart(void **state)
{
    struct world w;
    struct tsn_ingest_partition_stats stats;
    char *metadata;

    (void)state;
    open_text(&w, "", NULL);
    line(&w, "INFO before");
    line(&w, java[0]);
    line(&w, java[1]);
    close_at(&w, T0);
    assert_int_equal(w.closed->offsets[0].next_offset, 1);
    assert_true(messages(&w, "level=\"INFO\"") == 1 && messages(&w, "level=\"ERROR\"") == -1);
    metadata = tsn_strdup(w.closed->offsets[0].metadata);
    stop(&w);
    start(&w, 2);
    assert_int_equal(tsn_ingest_assign(w.ingest, 0, 0, 2, 1, metadata, NULL), TSN_OK);
    w.offset = 0;
    line(&w, "INFO before"); /* below the committed offset: passed over */
    for (size_t i = 0; i < TSN_ARRAY_LEN(java); i++)
        line(&w, java[i]);
    w.offset = 3;
    line(&w, java[2]); /* held already: a seek back does not double it */
    assert_true(tsn_ingest_get_partition(w.ingest, 0, 0, &stats) && stats.next_offset == 1);
    end(&w);
    assert_true(messages(&w, "level=\"ERROR\"") == 1 && messages(&w, "level=\"INFO\"") == -1);
    (void)signature(&w, java_text);
    assert_int_equal(w.closed->offsets[0].next_offset, 8);
    assert_true(tsn_ingest_get_partition(w.ingest, 0, 0, &stats) && stats.records == 7 && stats.events == 1 && stats.idle);
    tsn_free(metadata);
    close_world(&w);
}

/* Lines of another key, another partition, or behind a JSON event do not continue a trace. */
static void test_producers(void **state)
{
    struct world w;
    struct tsn_ingest_record r = { .partition = 0, .offset = 1, .timestamp_ms = T0, .key = "other", .key_len = 5,
                                   .value = java[2], .value_len = strlen(java[2]) };

    (void)state;
    open_text(&w, "", NULL);
    assign(&w, 0, 1, NULL);
    line(&w, java[0]);
    assert_int_equal(tsn_ingest_record(w.ingest, &r, NULL), TSN_OK);
    w.offset = 0;
    feed_bytes(&w, 0, 1, T0, java[2], strlen(java[2]));
    feed_bytes(&w, 0, 1, T0, java[3], strlen(java[3]));
    tsn_ingest_idle(w.ingest, 0, 1, T0);
    end(&w);
    (void)signature(&w, "no route to <*>");
    (void)signature(&w, "at a.B.c(B.java:<*>)");
    assert_int_equal(w.closed->dead_count, 0);
    close_world(&w);
}

/* The watermark stays before what is held; the time of a trace is its first line's. */
static void test_time(void **state)
{
    struct world w;

    (void)state;
    open_text(&w, "", "time: { out_of_orderness: 0s }\n");
    line(&w, "INFO before");
    feed_bytes(&w, 0, 0, T0 + 5000, java[0], strlen(java[0]));
    feed_bytes(&w, 0, 0, T0 + 9000, java[2], strlen(java[2]));
    assert_true(tsn_ingest_watermark(w.ingest, 0, 0) == T0);
    tsn_ingest_idle(w.ingest, 0, 0, T0);
    assert_true(tsn_ingest_watermark(w.ingest, 0, 0) == T0 + 5000);
    line(&w, "2099-01-01T00:00:00Z ERROR from the future");
    end(&w);
    assert_int_equal(w.closed->dead_count, 1);
    assert_string_equal(w.closed->dead[0].reason, "future");
    close_world(&w);
}

/* 1 MB without a blank, NULs, what is no UTF-8: each is one line, its text and sample bounded, also as a trace without end. */
static void test_hostile(void **state)
{
    static const char *const units[] = { "x", "\xff", "\tat a.b(c)\n", "7," };
    struct tsn_buf text = TSN_BUF_INIT;
    struct world w;

    (void)state;
    open_text(&w, ", format: text", NULL);
    for (size_t u = 0; u <= TSN_ARRAY_LEN(units); u++) {
        tsn_buf_reset(&text);
        tsn_buf_puts(&text, "ERROR ");
        while (text.len < 1000000)
            if (u < TSN_ARRAY_LEN(units))
                tsn_buf_puts(&text, units[u]);
            else
                tsn_buf_putc(&text, '\0');
        feed_bytes(&w, 0, 0, T0, text.data, text.len);
    }
    for (int i = 0; i < 400; i++)
        line(&w, java[2]); /* more bytes than are held */
    end(&w);
    assert_int_equal(w.closed->dead_count, 0);
    for (int p = 0; p < PLACES; p++)
        for (size_t i = 0; i < w.batches[p].signature_count; i++) {
            assert_true(strlen(w.batches[p].signatures[i].text) <= 3 * TSN_PATTERN_SCAN_MAX);
            assert_true(strlen(w.batches[p].signatures[i].sample) <= 1024);
        }
    assert_true(messages(&w, "level=\"ERROR\"") == 5);
    tsn_buf_release(&text);
    close_world(&w);
}

static void test_configured(void **state)
{
    struct world w;

    (void)state;
    open_text(&w, "",
              "logs:\n  masks: [ \"job-*\" ]\n  templates: [ \"user <*> left\" ]\n  secret_keys: [ pin ]\n"
              "  secret_patterns: [ \"ACME-[A-Z]+\" ]\n  secrets: [ keyed ]\n");
    line(&w, "INFO job-alpha began");
    line(&w, "INFO user bob the third left");
    line(&w, "INFO pin=12ab for bob@example.org with ACME-QRS");
    end(&w);
    (void)signature(&w, "<*> began");
    assert_true(tsn_pattern_is_pin(signature(&w, "user <*> left")->signature, "user <*> left", 13));
    assert_string_equal(signature(&w, "pin=<*> for <*> with <secret>")->sample, "INFO pin=<secret> for bob@example.org with <secret>" + 5);
    close_world(&w);
}

static void test_wrong_configuration(void **state)
{
    static const struct {
        const char *logs, *says;
    } cases[] = {
        { "secret_patterns: [ \"a(\" ]", "logs.secret_patterns" },
        { "secrets: [ colour ]", "logs.secrets: 'colour'" },
        { "secrets: [ none, url ]", "logs.secrets: 'none'" },
        { "masks: [ \"\" ]", "logs.masks" },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_ingest_options options = { .writer = 1, .samples_partitions = 1 };
        struct tsn_config config;
        struct tsn_error error = { .code = TSN_OK };
        struct tsn_buf text = TSN_BUF_INIT;

        tsn_buf_printf(&text, "inputs: [ { topic: l, type: logs } ]\nlogs: { %s }\n", cases[i].logs);
        assert_int_equal(tsn_config_parse(&config, "t.yaml", text.data, text.len, NULL, &error), TSN_OK);
        options.config = &config;
        assert_null(tsn_ingest_new(&options, &error));
        if (!strstr(error.message, cases[i].says))
            fail_msg("%s: %s", cases[i].logs, error.message);
        tsn_config_release(&config);
        tsn_buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),    cmocka_unit_test(test_defaults),  cmocka_unit_test(test_what_is_text),
        cmocka_unit_test(test_traces),     cmocka_unit_test(test_restart),   cmocka_unit_test(test_producers),
        cmocka_unit_test(test_time),       cmocka_unit_test(test_hostile),       cmocka_unit_test(test_configured), cmocka_unit_test(test_wrong_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
