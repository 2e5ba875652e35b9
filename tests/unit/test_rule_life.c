/*
 * Goal: the life of rules over time as Prometheus has it: pending, firing, keep_firing_for, resolved, limits;
 * ALERTS and ALERTS_FOR_STATE as series that later rules of the same tick read; recorded series, in file
 * order, and their stale markers; a reload.
 * Method: a rule set, samples a minute, ticks a minute; after each tick one expression as text over what is
 * stored. All of it by plans and by the naive evaluator. What is expected follows reference semantics 30–41, promtool's verdict where it can see it.
 */
#include "tocsin/rule_eval.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define M INT64_C(60000)

static bool streaming; /* this round: by plans */

struct world {
    struct tsn_memstore *store;
    struct tsn_rule_set *set;
    struct tsn_rule_evaluator *evaluator;
    struct tsn_buf changes, text;
};

static const char *const states[] = { "inactive", "pending", "firing", "resolved" };

static void on_changes(void *arg, size_t group, size_t rule, int64_t ts_ms, const struct tsn_alert_changes *changes)
{
    struct world *w = arg;

    for (size_t i = 0; i < changes->len; i++)
        tsn_buf_printf(&w->changes, "%lld g%zu r%zu %s→%s;", (long long)(ts_ms / M), group, rule,
                       states[changes->items[i].was], states[changes->items[i].now]);
}

static enum tsn_err append(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value, struct tsn_error *error)
{
    return tsn_memstore_append(arg, labels, ts_ms, value, error);
}

static struct tsn_rule_set *load(const char *rules)
{
    struct tsn_rule_source source = { "f.yaml", rules, strlen(rules) };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, NULL, &errors);

    if (!set)
        fail_msg("%s", errors.items[0].message);
    return set;
}

static void begin(struct world *w, const char *rules)
{
    struct tsn_rule_eval_options options = { .append = append, .on_changes = on_changes, .changes_arg = w };

    memset(w, 0, sizeof *w);
    w->store = tsn_memstore_new();
    w->set = load(rules);
    options.storage = tsn_memstore_storage(w->store);
    options.append_arg = w->store;
    options.stream = streaming ? w->store : NULL;
    w->evaluator = tsn_rule_evaluator_new(w->set, &options);
}

static void end(struct world *w)
{
    struct tsn_plans_stats stats = tsn_rule_evaluator_stats(w->evaluator);

    assert_int_equal(stats.nodes > 0, streaming);
    assert_int_equal(stats.naive_nodes, 0);
    tsn_rule_evaluator_free(&w->evaluator);
    tsn_rule_set_free(&w->set);
    tsn_memstore_free(&w->store);
    tsn_buf_release(&w->changes);
    tsn_buf_release(&w->text);
}

/* A sample of x{a=…} at each minute of `values` ('0'–'9', '_' none), a tick of every group after each. */
static void play(struct world *w, const char *a, int64_t from_min, const char *values)
{
    struct tsn_labels *labels = tsn_labels_of("__name__", "x", "a", a, NULL);

    for (int64_t i = 0; values[i]; i++) {
        if (values[i] != '_')
            tsn_memstore_add(w->store, labels, (from_min + i) * M, values[i] - '0');
        else
            tsn_memstore_add(w->store, labels, (from_min + i) * M, tsn_stale());
        for (size_t g = 0; g < w->set->group_count; g++)
            (void)tsn_rule_evaluator_step(w->evaluator, g, (from_min + i) * M);
    }
    tsn_labels_unref(labels);
}

static const char *ask(struct world *w, const char *expr, int64_t at_min)
{
    struct tsn_storage storage = tsn_memstore_storage(w->store);
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    struct tsn_result result;
    struct tsn_error error;

    assert_non_null(query);
    tsn_buf_reset(&w->text);
    tsn_result_init(&result);
    assert_int_equal(tsn_eval_instant(query, &storage, at_min * M, NULL, &result, &error), TSN_OK);
    for (size_t i = 0; i < result.vector_len; i++) {
        tsn_labels_format(&w->text, result.vector[i].labels);
        tsn_buf_printf(&w->text, " %g;", result.vector[i].value);
    }
    tsn_result_release(&result);
    tsn_query_free(&query);
    return tsn_buf_str(&w->text);
}

#define G "groups:\n- name: g\n  rules:\n"

static void pending_then_firing_then_kept(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    begin(&w, G "  - alert: A\n    expr: x > 0\n    for: 2m\n    keep_firing_for: 3m\n    labels: { t: '{{ $value }}' }\n");
    play(&w, "1", 0, "1101110");
    /* a false tick begins `for` anew: pending at 0, gone at 2, pending at 3, firing at 5 = 2 m later */
    assert_string_equal(tsn_buf_str(&w.changes), "0 g0 r0 inactive→pending;2 g0 r0 pending→resolved;"
                                                 "3 g0 r0 inactive→pending;5 g0 r0 pending→firing;");
    assert_string_equal(ask(&w, "ALERTS", 5), "ALERTS{a=\"1\", alertname=\"A\", alertstate=\"firing\", t=\"1\"} 1;");
    assert_string_equal(ask(&w, "ALERTS_FOR_STATE", 5), "ALERTS_FOR_STATE{a=\"1\", alertname=\"A\", t=\"1\"} 180;");
    play(&w, "1", 7, "00"); /* false at 6, 7, 8: still firing */
    assert_string_equal(ask(&w, "ALERTS", 8), "ALERTS{a=\"1\", alertname=\"A\", alertstate=\"firing\", t=\"1\"} 1;");
    tsn_buf_reset(&w.changes);
    play(&w, "1", 9, "0"); /* 3 m after the first false tick */
    assert_string_equal(tsn_buf_str(&w.changes), "9 g0 r0 firing→resolved;");
    assert_string_equal(ask(&w, "ALERTS or ALERTS_FOR_STATE", 9), ""); /* stale at once */
    tsn_buf_reset(&w.changes);
    play(&w, "1", 10, "1"); /* anew, with a clock of its own */
    assert_string_equal(tsn_buf_str(&w.changes), "10 g0 r0 inactive→pending;");
    assert_string_equal(ask(&w, "ALERTS_FOR_STATE", 10), "ALERTS_FOR_STATE{a=\"1\", alertname=\"A\", t=\"1\"} 600;");
    end(&w);
}

static void seen_again_while_kept(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    begin(&w, G "  - alert: A\n    expr: x > 0\n    keep_firing_for: 2m\n");
    play(&w, "1", 0, "10101000"); /* each sight clears the clock of keeping */
    assert_string_equal(tsn_buf_str(&w.changes), "0 g0 r0 inactive→firing;7 g0 r0 firing→resolved;");
    end(&w);
}

static void rules_of_a_tick_see_those_before(void **state)
{
    struct world w;

    TSN_UNUSED(state);
    begin(&w, G "  - record: late\n    expr: early + 1\n" /* sees the tick before */
                "  - record: early\n    expr: x * 10\n    labels: { l: v }\n"
                "  - record: same\n    expr: early + 2\n"
                "  - alert: A\n    expr: same > 10\n    for: 1m\n"
                "  - record: firing\n    expr: count(ALERTS{alertstate=\"firing\"}) or vector(0)\n"
                "  - record: age\n    expr: time() - ALERTS_FOR_STATE{alertname=\"A\"}\n");
    play(&w, "1", 0, "12");
    assert_string_equal(ask(&w, "late", 1), "late{a=\"1\", l=\"v\"} 11;");
    assert_string_equal(ask(&w, "early", 1), "early{a=\"1\", l=\"v\"} 20;");
    assert_string_equal(ask(&w, "same", 1), "same{a=\"1\", l=\"v\"} 22;");
    assert_string_equal(ask(&w, "firing", 0), "firing 0;");
    assert_string_equal(ask(&w, "firing", 1), "firing 1;"); /* fired in this very tick */
    assert_string_equal(ask(&w, "age", 1), "age{a=\"1\", alertname=\"A\", l=\"v\"} 60;");
    play(&w, "1", 2, "_"); /* the series ends: what was recorded of it ends with it */
    assert_string_equal(ask(&w, "early or same or ALERTS", 2), "");
    end(&w);
}

static void limits_and_twins(void **state)
{
    struct world w;
    struct tsn_labels *second;

    TSN_UNUSED(state);
    begin(&w, "groups:\n- name: g\n  limit: 1\n  rules:\n  - alert: A\n    expr: x > 0\n  - record: r\n    expr: x\n"
              "- name: h\n  rules:\n  - alert: B\n    expr: x > 0\n    labels: { a: same }\n");
    play(&w, "1", 0, "1");
    assert_string_equal(tsn_buf_str(&w.changes), "0 g0 r0 inactive→firing;0 g1 r0 inactive→firing;");
    assert_string_equal(ask(&w, "r", 0), "r{a=\"1\"} 1;");
    second = tsn_labels_of("__name__", "x", "a", "2", NULL);
    tsn_memstore_add(w.store, second, M, 1);
    tsn_labels_unref(second);
    tsn_buf_reset(&w.changes);
    play(&w, "1", 1, "1"); /* two: over the limit of g, one identity in h */
    assert_string_equal(tsn_buf_str(&w.changes), "1 g0 r0 firing→resolved;");
    assert_string_equal(tsn_rule_evaluator_error(w.evaluator, 0, 0), "exceeded limit of 1 with 2 alerts");
    assert_non_null(strstr(tsn_rule_evaluator_error(w.evaluator, 0, 1), "limit"));
    assert_non_null(strstr(tsn_rule_evaluator_error(w.evaluator, 1, 0), "same labelset"));
    assert_int_equal(tsn_rule_evaluator_alerts(w.evaluator, 0, 0)->len, 0);
    assert_int_equal(tsn_rule_evaluator_alerts(w.evaluator, 1, 0)->len, 1); /* untouched */
    assert_null(tsn_rule_evaluator_alerts(w.evaluator, 0, 1));
    end(&w);
}

static void a_reload_keeps_what_is_alike(void **state)
{
    struct world w;
    struct tsn_rule_set *next;

    TSN_UNUSED(state);
    begin(&w, G "  - alert: A\n    expr: x > 0\n    for: 1m\n  - alert: B\n    expr: x > 0\n  - record: r\n    expr: x\n");
    play(&w, "1", 0, "11");
    next = load(G "  - alert: A\n    expr: x > 0\n    for: 5m\n"); /* longer `for`, B and r gone */
    tsn_rule_evaluator_reload(w.evaluator, next, M);
    tsn_rule_set_free(&w.set);
    w.set = next;
    tsn_buf_reset(&w.changes);
    play(&w, "1", 2, "1111");
    assert_string_equal(tsn_buf_str(&w.changes), "2 g0 r0 firing→pending;5 g0 r0 pending→firing;");
    assert_string_equal(ask(&w, "r or ALERTS{alertname=\"B\"}", 5), ""); /* stale, not left to the lookback */
    assert_string_equal(ask(&w, "ALERTS_FOR_STATE", 5), "ALERTS_FOR_STATE{a=\"1\", alertname=\"A\"} 0;");
    end(&w);
}

static void errors_of_templates_are_texts(void **state)
{
    struct world w;
    const struct tsn_alert_rule_state *alerts;

    TSN_UNUSED(state);
    begin(&w, G "  - alert: A\n    expr: x > 0\n    annotations: { bad: '{{ $labels.a.b }}', good: '{{ $labels.nix }}{{ $value }}' }\n");
    play(&w, "1", 0, "3");
    alerts = tsn_rule_evaluator_alerts(w.evaluator, 0, 0);
    assert_int_equal(alerts->len, 1);
    assert_string_equal(tsn_labels_get(alerts->items[0].annotations, "good"), "3");
    assert_non_null(strstr(tsn_labels_get(alerts->items[0].annotations, "bad"),
                           "<error expanding template: error executing template __alert_A: template: __alert_A:1:"));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_then_firing_then_kept), cmocka_unit_test(seen_again_while_kept),
        cmocka_unit_test(rules_of_a_tick_see_those_before), cmocka_unit_test(limits_and_twins),
        cmocka_unit_test(a_reload_keeps_what_is_alike), cmocka_unit_test(errors_of_templates_are_texts),
    };

    int failed = cmocka_run_group_tests_name("naive", tests, NULL, NULL);

    streaming = true;
    return failed + cmocka_run_group_tests_name("streaming", tests, NULL, NULL);
}
