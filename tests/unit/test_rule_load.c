/*
 * Goal: rule files load as Prometheus loads them: strict keys, one document, names, durations, labels;
 * every error with its line and column, all of a file at once; what a loaded rule holds.
 * Method: a table of files with the verdict of promtool 3.16 (`check rules`) and what we say of it;
 * then one rich file, field by field.
 */
#include "tocsin/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct tsn_rule_set *load(const char *text, struct tsn_rule_errors *errors)
{
    struct tsn_rule_source source = { "f.yaml", text, strlen(text) };

    return tsn_rule_set_load(&source, 1, NULL, errors);
}

#define HEAD "groups:\n- name: g\n"
#define RULES HEAD "  rules:\n"
#define ALERT RULES "  - alert: A\n    expr: up\n"

static void files_load_or_say_where(void **state)
{
    static const struct {
        const char *text, *error; /* NULL: loads */
        uint32_t line, column;
    } cases[] = {
        { "", NULL, 0, 0 },
        { "{}", NULL, 0, 0 },
        { "# nothing\n", NULL, 0, 0 },
        { "groups:\n", NULL, 0, 0 },
        { HEAD, NULL, 0, 0 },
        { ALERT, NULL, 0, 0 },
        { "group: []\n", "field group not found", 1, 1 },
        { "groups: []\nversion: 1\n", "field version not found", 2, 1 },
        { "- groups\n", "rule file", 1, 1 },
        { "groups: [\n", "did not find expected node content", 2, 1 },
        { ALERT "---\n" ALERT, NULL, 0, 0 }, /* a server reads the first; check rules says more */
        { "groups:\n- rules: []\n", "Groupname must not be empty", 2, 3 },
        { HEAD "- name: g\n", "repeated in the same file", 3, 3 },
        { HEAD "  intervall: 1m\n", "field intervall not found", 3, 3 },
        { HEAD "  interval: 1.5m\n", "not a valid duration", 3, 13 },
        { HEAD "  interval: 90\n", "not a valid duration", 3, 13 },
        { HEAD "  interval: 1h30m\n  query_offset: 1m\n  limit: 5\n  labels: { a: b }\n", NULL, 0, 0 },
        { HEAD "  query_offset: x\n", "not a valid duration", 3, 17 },
        { HEAD "  limit: many\n", "limit", 3, 10 },
        { HEAD "  labels: { __name__: b }\n", "invalid label name: __name__", 3, 13 },
        { HEAD "  labels: [ b ]\n", "labels", 3, 11 },
        { RULES "  - expr: up\n", "one of 'record' or 'alert' must be set", 4, 5 },
        { RULES "  - alert: A\n    record: b\n    expr: up\n", "only one of 'record' and 'alert'", 4, 12 },
        { RULES "  - alert: A\n", "field 'expr' must be set", 4, 5 },
        { RULES "  - alert: A\n    expr: ''\n", "field 'expr' must be set", 5, 11 },
        { RULES "  - alert: A\n    expr: up ==\n", "could not parse expression", 5, 0 },
        { RULES "  - alert: A\n    expr: |\n      sum(\n        up[5m])\n", "could not parse expression", 7, 9 },
        { ALERT "    fro: 5m\n", "field fro not found", 6, 5 },
        { ALERT "    expr: up\n", "already", 6, 5 },
        { ALERT "    for: 5\n", "not a valid duration", 6, 10 },
        { ALERT "    for: -5m\n", "not a valid duration", 6, 10 },
        { ALERT "    for: 5m5s\n    keep_firing_for: 1d\n", NULL, 0, 0 },
        { ALERT "    for: 5s5m\n", "not a valid duration", 6, 10 },
        { ALERT "    labels: { __name__: b }\n", "invalid label name: __name__", 6, 15 },
        { ALERT "    labels: { alertname: b }\n", NULL, 0, 0 },
        { ALERT "    labels: { a: 5, b: true, c: null }\n", NULL, 0, 0 },
        { ALERT "    annotations: { s: '{{ $labels.x' }\n", "annotation \"s\": template: __alert_A:1: unclosed action", 6, 23 },
        { ALERT "    labels: { s: '{{ nix }}' }\n", "function \"nix\" not defined", 6, 18 },
        { RULES "  - record: a:b\n    expr: up\n    labels: { s: '{{ nix }}' }\n", NULL, 0, 0 }, /* no template there */
        { RULES "  - record: a b\n    expr: up\n", NULL, 0, 0 }, /* UTF-8 names */
        { RULES "  - record: 'a{}'\n    expr: up\n", "braces present", 4, 13 },
        { RULES "  - record: a\n    expr: up\n    for: 1m\n", "invalid field 'for' in recording rule", 6, 10 },
        { RULES "  - record: a\n    expr: up\n    keep_firing_for: 1m\n", "invalid field 'keep_firing_for'", 6, 22 },
        { RULES "  - record: a\n    expr: up\n    annotations: { b: c }\n", "invalid field 'annotations'", 6, 18 },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        struct tsn_rule_errors errors = { 0 };
        struct tsn_rule_set *set = load(cases[i].text, &errors);

        if (!cases[i].error != !!set)
            fail_msg("%s\n%s", cases[i].text, set ? "loads" : errors.items[0].message);
        if (!set) {
            const struct tsn_rule_error *e = &errors.items[0];

            if (!strstr(e->message, cases[i].error) || e->at.line != cases[i].line ||
                (cases[i].column && e->at.column != cases[i].column) || strcmp(e->file, "f.yaml") != 0)
                fail_msg("%s\n%s:%u:%u: %s\nexpected %u:%u: %s", cases[i].text, e->file, e->at.line, e->at.column,
                         e->message, cases[i].line, cases[i].column, cases[i].error);
        }
        tsn_rule_errors_release(&errors);
        tsn_rule_set_free(&set);
    }
}

static void every_error_is_told(void **state)
{
    struct tsn_rule_errors errors = { 0 };

    TSN_UNUSED(state);
    assert_null(load(HEAD "  limit: x\n  rules:\n  - alert: A\n    expr: up ==\n  - record: b\n    expr: up\n    for: 1m\n"
                          "- rules: []\n", &errors));
    assert_true(errors.len >= 4);
    for (size_t i = 0; i < errors.len; i++)
        assert_true(errors.items[i].at.line > 0);
    tsn_rule_errors_release(&errors);
}

static void a_rule_holds_what_was_written(void **state)
{
    static const char text[] = HEAD "  interval: 30s\n  query_offset: 10s\n  limit: 7\n  labels: { team: x, tier: one }\n"
                                    "  rules:\n"
                                    "  - alert: A\n    expr: |\n      up == 0\n    for: 1h30m\n    keep_firing_for: 2m\n"
                                    "    labels: { tier: two, n: 5 }\n    annotations: { s: '{{ $value }}' }\n"
                                    "  - record: r:x\n    expr: sum(up)\n"
                                    "- name: h\n  rules: [ { record: y, expr: '1' } ]\n";
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = load(text, &errors);
    const struct tsn_group *g;
    const struct tsn_rule *a;

    TSN_UNUSED(state);
    assert_non_null(set);
    assert_int_equal(set->group_count, 2);
    g = &set->groups[0];
    assert_true(g->interval_given && g->interval_ms == 30000 && g->query_offset_ms == 10000 && g->limit == 7);
    a = &g->rules[0];
    assert_true(a->is_alert && a->for_ms == 5400000 && a->keep_firing_for_ms == 120000);
    assert_int_equal(a->label_count, 3);
    assert_string_equal(a->labels[0].name, "n");
    assert_string_equal(a->labels[0].value, "5");
    assert_string_equal(a->labels[1].value, "x");
    assert_string_equal(a->labels[2].value, "two"); /* the rule's over the group's */
    assert_true(a->expr_is_block && a->expr_at.line == 10);
    assert_non_null(a->annotations[0].tmpl);
    assert_true(!g->rules[1].is_alert && g->rules[1].label_count == 2);
    assert_true(!set->groups[1].interval_given && set->groups[1].interval_ms == 60000);
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
}

static void files_are_told_apart(void **state)
{
    struct tsn_rule_source two[] = { { "a.yaml", ALERT, strlen(ALERT) }, { "b.yaml", ALERT, strlen(ALERT) } };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(two, 2, NULL, &errors), *other;

    TSN_UNUSED(state);
    assert_non_null(set); /* one group name in two files is two groups */
    assert_int_equal(set->group_count, 2);
    two[1].file = "c.yaml";
    other = tsn_rule_set_load(two, 2, NULL, &errors);
    assert_false(tsn_u128_equal(set->hash, other->hash));
    tsn_rule_set_free(&set);
    tsn_rule_set_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_load_or_say_where),
        cmocka_unit_test(every_error_is_told),
        cmocka_unit_test(a_rule_holds_what_was_written),
        cmocka_unit_test(files_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
