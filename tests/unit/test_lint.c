/*
 * Goal: each mistake is found where it stands, and what is right is left alone.
 * Method: one small rule a mistake with the id expected, each beside its corrected form, which must give
 * nothing; then the platform's six rules (all of their known mistakes) and the shipped rules (none).
 */
#include "tocsin/policy.h"
#include "tocsin/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct tsn_rule_set *load(const char *file, const char *text, size_t len)
{
    struct tsn_rule_source source = { file, text, len };
    struct tsn_rule_load_options options = { .default_interval_ms = 60000 };
    struct tsn_rule_errors errors = { NULL, 0, 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(&source, 1, &options, &errors);

    if (!set)
        fail_msg("%s: %s", file, errors.len ? errors.items[0].message : "no message");
    tsn_rule_errors_release(&errors);
    return set;
}

/* The ids of all findings of severity `least` or more, joined by a space; caller frees. */
static char *lint_ids(const char *file, const char *text, size_t len, const struct tsn_lint_options *options,
                      enum tsn_lint_severity least)
{
    struct tsn_rule_set *set = load(file, text, len);
    struct tsn_lint_findings findings = { NULL, 0, 0 };
    struct tsn_buf ids = TSN_BUF_INIT;

    tsn_lint_run(set, options, &findings);
    for (size_t i = 0; i < findings.len; i++) {
        assert_true(findings.items[i].at.line > 0);
        assert_non_null(findings.items[i].text);
        if (findings.items[i].severity >= least)
            tsn_buf_printf(&ids, "%s%s", ids.len ? " " : "", findings.items[i].id);
    }
    tsn_lint_findings_release(&findings);
    tsn_rule_set_free(&set);
    return tsn_buf_take(&ids, NULL);
}

struct rule_case {
    const char *expr, *rest, *ids; /* rest: further keys of the rule, each line indented by four */
};

#define ANNOTATION(text) "    annotations: { d: '" text "' }\n"

static const struct rule_case cases[] = {
    { "rate(r_total{status=~\"5..\"}[5m]) / rate(r_total[5m]) > 0.01", ANNOTATION("{{ $labels.instance }}"),
      "ratio-pinned-label" },
    { "rate(r_total[5m]) / ignoring(x) rate(r_total{status=\"500\"}[5m]) > 2", ANNOTATION("{{ $labels.instance }}"),
      "ratio-pinned-label" },
    { "sum by (service, status) (rate(r_total{status=~\"5..\"}[5m])) / sum by (service, status) (rate(r_total[5m])) > 0.1",
      "", "ratio-pinned-label" },
    { "sum by (service) (rate(r_total{status=~\"5..\"}[5m])) / sum by (service) (rate(r_total[5m])) > 0.1", "", "" },
    { "rate(r_total{status=~\"5..\"}[5m]) / ignoring(status) group_left sum without (status) (rate(r_total[5m])) > 0.1", "",
      "" },
    { "sum by (job) (up{job!=\"x\"}) / count by (job) (up) < 0.5", "", "" },
    { "requests_total > 100", "", "counter-without-rate" },
    { "sum by (service) (requests_total) > 100", "", "counter-without-rate" },
    { "sum by (service) (increase(requests_total[5m])) > 100", "", "" },
    { "sum by (service) (rate(active_connections[5m])) > 100", "", "rate-of-gauge" },
    { "sum by (service) (delta(requests_total[5m])) > 100", "", "delta-of-counter" },
    { "count(up) == 0", "", "threshold-never" },
    { "up > 1", "", "threshold-never" },
    { "sum by (service) (rate(r_total[5m])) < 0", "", "no-absence-clause threshold-never" },
    { "avg by (service) (up) <= 1", "", "threshold-always" },
    { "sum by (service) (rate(r_total[5m])) >= 0", "", "threshold-always" },
    { "count(up) > 0", "", "" },
    { "absent(up{service=\"a\"}) == 1", "", "" },
    { "avg by (service) (up) < 1", "", "" },
    { "sum by (service) (rate(r_total[5m])) > 1", ANNOTATION("{{ $labels.instance }}"), "annotation-label-dropped" },
    { "sum without (instance) (rate(r_total[5m])) > 1", ANNOTATION("{{ $labels.instance }}"), "annotation-label-dropped" },
    { "sum by (service) (rate(r_total[5m])) > 1", ANNOTATION("{{ $labels.service }}"), "" },
    { "vector(1)", ANNOTATION("{{ $labels.job }}"), "annotation-label-missing" },
    { "sum by (job) (up) == 0", "    labels: { team: x }\n" ANNOTATION("{{ $labels.team }}{{ $labels.job }}"),
      "annotation-label-missing" },
    { "sum by (service) (rate(r_total[5m])) * on (service) group_left (owner) owners > 1",
      ANNOTATION("{{ $labels.owner }}"), "" },
    { "label_replace(sum by (service) (rate(r_total[5m])), \"x\", \"$1\", \"service\", \"(.*)\") > 1",
      ANNOTATION("{{ $labels.x }}"), "" },
    { "sum by (service) (rate(r_total[1h])) > 5", ANNOTATION("{{ $value }} found in the last hour"), "rate-against-count" },
    { "sum by (service) (increase(r_total[1h])) > 5", ANNOTATION("{{ $value }} found in the last hour"), "" },
    { "sum by (service) (rate(r_total[5m])) > 5", ANNOTATION("{{ $value }} per second in the last 5 minutes"), "" },
    { "sum by (service) (rate(r_total[5m])) < 1", "", "no-absence-clause" },
    { "(sum by (service) (rate(r_total[5m])) or 0 * sum by (service) (up)) < 1", "", "" },
    { "sum by (service) (rate(r_total[20s])) > 1", "", "window-too-short" },
    { "sum by (service) (rate(r_total[30s])) > 1", "", "" },
    { "rate(r_total[5m]) > 10", ANNOTATION("{{ $labels.service }}"), "threshold-per-series" },
    { "rate(r_total[5m]) > 10", ANNOTATION("{{ $labels.instance }}"), "" },
    { "rate(errors_total[5m]) > 0", "", "" },
    { "histogram_quantile(0.9, rate(d_bucket[5m])) > 1", ANNOTATION("{{ $labels.service }}"), "quantile-per-series" },
    { "histogram_quantile(0.9, sum by (service) (rate(d_bucket[5m]))) > 1", "", "quantile-without-le" },
    { "histogram_quantile(0.9, sum by (le, service) (rate(d_bucket[5m]))) > 1", "", "" },
    { "histogram_quantile(0.9, sum by (service) (rate(native[5m]))) > 1", "", "" },
    { "up == 0", "    for: 30s\n", "for-under-interval" },
    { "up == 0", "    for: 1m\n", "" },
    { "up offset -5m == 0", "", "needs-future" },
    { "up @ 100 == 0", "", "needs-future" },
    { "up smoothed == 0", "", "needs-future" },
    { "max_over_time(up[5m:1m] @ end()) == 0", "", "needs-future" },
    { "sum by (service) (increase(hooks_processed_total[3h])) > 5", "", "window-over-counter-ttl" },
    { "sum by (service) (increase(hooks_processed_total[1h] offset 30m)) > 5", "    for: 31m\n", "window-over-counter-ttl" },
    { "sum by (service) (increase(hooks_processed_total[1h] offset 30m)) > 5", "    for: 30m\n", "" },
    { "sum by (service) (increase(scraped_total[3h])) > 5", "", "" },
};

static char *one_rule(const struct rule_case *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_printf(&text, "groups:\n- name: g\n  interval: 1m\n  rules:\n  - alert: A\n    expr: |\n      %s\n%s", c->expr, c->rest);
    return tsn_buf_take(&text, NULL);
}

static void each_mistake_is_found_and_nothing_else(void **state)
{
    size_t wrong = 0;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        char *text = one_rule(&cases[i]);
        char *ids = lint_ids("a.yaml", text, strlen(text), NULL, TSN_LINT_WARNING);

        if (strcmp(ids, cases[i].ids)) {
            print_error("%s: expected \"%s\", got \"%s\"\n", cases[i].expr, cases[i].ids, ids);
            wrong++;
        }
        tsn_free(ids);
        tsn_free(text);
    }
    assert_int_equal(wrong, 0);
}

static void assert_sharding(const char *expr, bool flagged)
{
    const struct rule_case c = { expr, "", "" };
    char *text = one_rule(&c), *ids = lint_ids("a.yaml", text, strlen(text), NULL, TSN_LINT_INFO);

    if (flagged != (strstr(ids, "not-sharded") != NULL))
        fail_msg("%s: %s", expr, ids);
    tsn_free(ids);
    tsn_free(text);
}

static void rules_that_need_all_shards_are_told(void **state)
{
    TSN_UNUSED(state);
    assert_sharding("sum(rate(r_total[5m])) > 1", true);
    assert_sharding("sum by (job) (rate(r_total[5m])) > 1", true);
    assert_sharding("sum without (service) (rate(r_total[5m])) > 1", true);
    assert_sharding("a * on (x) b > 1", true);
    assert_sharding("a and ignoring (service) b", true);
    assert_sharding("absent(up{job=\"x\"})", true);
    assert_sharding("a > scalar(b)", true);
    assert_sharding("sum by (service, x) (rate(r_total[5m])) > 1", false);
    assert_sharding("sum(rate(r_total{service=\"x\"}[5m])) > 1", false);
    assert_sharding("absent(up{service=\"x\"})", false);
    assert_sharding("a{service=\"x\"} * on (x) b{service=\"y\"} > 1", true);
    assert_sharding("a * on (service) b > 1", false);
    assert_sharding("vector(1)", false);
}

/* "line: suggestion" of each not-sharded finding. */
static char *shard_findings(const char *text)
{
    struct tsn_rule_set *set = load("a.yaml", text, strlen(text));
    struct tsn_lint_findings findings = { NULL, 0, 0 };
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_lint_run(set, NULL, &findings);
    for (size_t i = 0; i < findings.len; i++)
        if (!strcmp(findings.items[i].id, "not-sharded"))
            tsn_buf_printf(&out, "%u: %s\n", findings.items[i].at.line,
                           findings.items[i].suggestion ? findings.items[i].suggestion : findings.items[i].text);
    tsn_lint_findings_release(&findings);
    tsn_rule_set_free(&set);
    return tsn_buf_take(&out, NULL);
}

static void a_file_for_another_division_is_told_once(void **state)
{
    static const struct {
        const char *text, *expected;
    } files[] = {
        /* none keeps the shard label: once, with the label that divides most of them (le is none) */
        { "groups:\n- name: g\n  rules:\n  - { alert: A, expr: \"sum by (pod, le) (x) > 1\" }\n  - { alert: B, expr: sum by (pod) (x) > 2 }\n"
          "  - { alert: C, expr: sum by (le) (x) > 3 }\n", "4: detect: { shard_label: pod } divides 2 of them, if the series have it\n" },
        /* half of them keep it: the others one by one, where they break */
        { "groups:\n- name: g\n  rules:\n  - { alert: A, expr: x > 1 }\n  - { alert: B, expr: sum(x) > 2 }\n",
          "5: add the label to by (…): `service`\n" },
        { "groups:\n- name: g\n  rules:\n  - { alert: A, expr: x > 1 }\n  - { alert: B, expr: a * on (x) b > 2 }\n"
          "  - { alert: C, expr: 'x{service=\"a\"} > 0' }\n", "5: match on the label, too: `service`\n" },
        /* what the proof alone knows */
        { "groups:\n- name: g\n  rules:\n  - { alert: A, expr: x > 1 }\n"
          "  - { alert: B, expr: x > 2, annotations: { d: '{{ query \"up\" }}' } }\n",
          "5: a template calls query: the rule's group runs on one worker for all values of `service`\n" },
        { "groups:\n- name: g\n  rules:\n  - { alert: A, expr: x > 1 }\n", "" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(files); i++) {
        char *got = shard_findings(files[i].text);

        assert_string_equal(got, files[i].expected);
        tsn_free(got);
    }
}

static void one_expression_in_two_alerts_is_told_once(void **state)
{
    static const char text[] = "groups:\n- name: g\n  rules:\n  - { alert: A, expr: up  ==  0 }\n"
                               "  - { alert: B, expr: up == 0 }\n  - { alert: C, expr: up == 1 }\n"
                               "  - { alert: A, expr: up == 0, labels: { x: y } }\n";
    struct tsn_rule_set *set = load("a.yaml", text, sizeof text - 1);
    struct tsn_lint_findings findings = { NULL, 0, 0 };

    TSN_UNUSED(state);
    tsn_lint_run(set, NULL, &findings);
    assert_int_equal(findings.len, 1);
    assert_string_equal(findings.items[0].id, "duplicate-expression");
    assert_string_equal(findings.items[0].rule, "B");
    assert_int_equal(findings.items[0].at.line, 5);
    assert_int_equal(findings.items[0].at.column, 23);
    tsn_lint_findings_release(&findings);
    tsn_rule_set_free(&set);
}

static int64_t count_series(void *arg, const struct tsn_matcher *matchers, size_t count)
{
    TSN_UNUSED(matchers);
    TSN_UNUSED(count);
    return *(int64_t *)arg;
}

static void cost_is_series_times_window(void **state)
{
    const struct rule_case c = { "sum by (service) (rate(r_total[1h])) > 1", "", "" };
    char *text = one_rule(&c), *ids;
    int64_t series = 1000;
    struct tsn_lint_options options = { .series_count = count_series, .series_count_arg = &series,
                                        .cost_limit = 240000 };

    TSN_UNUSED(state);
    ids = lint_ids("a.yaml", text, strlen(text), &options, TSN_LINT_WARNING);
    assert_string_equal(ids, "");
    tsn_free(ids);
    series = 1001;
    ids = lint_ids("a.yaml", text, strlen(text), &options, TSN_LINT_WARNING);
    assert_string_equal(ids, "costly-window");
    tsn_free(ids);
    series = -1;
    ids = lint_ids("a.yaml", text, strlen(text), &options, TSN_LINT_WARNING);
    assert_string_equal(ids, "");
    tsn_free(ids);
    tsn_free(text);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    struct tsn_buf text = TSN_BUF_INIT;
    char block[4096];
    size_t n;

    if (!file)
        fail_msg("%s cannot be read; tests run from the top of the repository", path);
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        tsn_buf_append(&text, block, n);
    fclose(file);
    return tsn_buf_take(&text, len);
}

static char *lint_file(const char *path)
{
    struct tsn_policy policy;
    struct tsn_lint_options options = { .policy = &policy };
    size_t len;
    char *text = read_file(path, &len), *ids;

    tsn_policy_init_default(&policy);
    ids = lint_ids(path, text, len, &options, TSN_LINT_INFO);
    tsn_policy_release(&policy);
    tsn_free(text);
    return ids;
}

static void all_mistakes_of_the_six_rules_are_found(void **state)
{
    char *ids = lint_file("tests/golden/rules/seed-rules.yaml");

    TSN_UNUSED(state);
    assert_string_equal(ids, "for-under-interval job-and-shard-label "                            /* ServiceDown */
                             "duplicate-expression job-and-shard-label "                          /* ServiceDegraded */
                             "one-threshold-for-all quantile-per-series "                         /* HighResponseTime */
                             "error-budget-gap ratio-pinned-label "                               /* HighErrorRate */
                             "threshold-per-series "                                              /* HookProcessingFailure */
                             "no-absence-clause rate-against-count threshold-per-series"); /* IntelligencePattern… */
    tsn_free(ids);
}

static void the_shipped_rules_give_nothing(void **state)
{
    static const char *const files[] = { "docker/rules/omninode.yaml", "docker/rules/logs.yaml",
                                         "docker/rules/watchdog.yaml" };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(files); i++) {
        char *ids = lint_file(files[i]);

        assert_string_equal(ids, "");
        tsn_free(ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_found_and_nothing_else),
        cmocka_unit_test(rules_that_need_all_shards_are_told),
        cmocka_unit_test(a_file_for_another_division_is_told_once),
        cmocka_unit_test(one_expression_in_two_alerts_is_told_once),
        cmocka_unit_test(cost_is_series_times_window),
        cmocka_unit_test(all_mistakes_of_the_six_rules_are_found),
        cmocka_unit_test(the_shipped_rules_give_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
