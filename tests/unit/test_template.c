/*
 * Goal: alert templates say what Prometheus says, to the byte, errors included, and stay in bounds.
 * Method: a table of texts with the answers of Go's own implementation (template_cases.h), and
 * cases by hand for bounds, label uses and queries.
 */
#include "tocsin/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *text, *expected;
} cases[] = {
#include "template_cases.h"
};

static enum tsn_err query(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error)
{
    static const struct {
        const char *inst;
        double value;
    } rows[] = { { "b", 1 }, { "a", 2.5 }, { "c", 1e9 } };

    TSN_UNUSED(arg);
    if (!strcmp(expr, "fail"))
        return tsn_error_set(error, TSN_ERR_INVALID, "query failed");
    out->type = TSN_TYPE_VECTOR;
    if (!strcmp(expr, "empty"))
        return TSN_OK;
    out->vector = tsn_calloc(3, sizeof *out->vector);
    out->vector_len = out->vector_cap = 3;
    for (size_t i = 0; i < 3; i++)
        out->vector[i] = (struct tsn_vector_sample){
            tsn_labels_of("__name__", "m", "inst", rows[i].inst, "z", "1", NULL), 0, rows[i].value
        };
    return TSN_OK;
}

static char *expand(const char *text, size_t len)
{
    struct tsn_labels *labels = tsn_labels_of("instance", "host-1.example.com:9100", "job", "node", "severity",
                                              "critical", "esc", "a<b>&\"c'", NULL);
    struct tsn_labels *external = tsn_labels_of("site", "eqiad", NULL);
    struct tsn_template_env env = { .labels = labels, .external_labels = external,
                                    .external_url = "http://prom.example.com/base", .value = 0.0012345,
                                    .now_ms = 1435065584128, .query = query };
    struct tsn_error error = { .message = "" };
    struct tsn_template *tmpl = tsn_template_new("X", text, len, &error);
    struct tsn_buf out = TSN_BUF_INIT, answer = TSN_BUF_INIT;

    if (!tmpl)
        tsn_buf_printf(&answer, "PARSE %s", error.message);
    else if (tsn_template_run(tmpl, &env, &out, &error))
        tsn_buf_printf(&answer, "ERR %s", error.message);
    else
        tsn_buf_printf(&answer, "OK %s", tsn_buf_str(&out));
    tsn_template_free(&tmpl);
    tsn_buf_release(&out);
    tsn_labels_unref(labels);
    tsn_labels_unref(external);
    return tsn_buf_take(&answer, NULL);
}

static void texts_expand_as_go_expands_them(void **state)
{
    size_t wrong = 0;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        char *got = expand(cases[i].text, strlen(cases[i].text));

        if (strcmp(got, cases[i].expected)) {
            print_error("%s\n  expected %s\n  got      %s\n", cases[i].text, cases[i].expected, got);
            wrong++;
        }
        tsn_free(got);
    }
    assert_true(TSN_ARRAY_LEN(cases) > 150);
    assert_int_equal(wrong, 0);
}

static void assert_gives(const char *text, const char *part)
{
    char *got = expand(text, strlen(text));

    if (!strstr(got, part))
        fail_msg("%.60s: %s", text, got);
    tsn_free(got);
}

static void hostile_templates_end_with_an_error(void **state)
{
    struct tsn_buf deep = TSN_BUF_INIT, big = TSN_BUF_INIT;
    char *got;

    TSN_UNUSED(state);
    assert_gives("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}", "exceeded maximum template depth");
    assert_gives("{{ range 2000000000 }}{{ end }}", "steps");
    assert_gives("{{ range 500000 }}aaaaaaaaaaaaaaaa{{ end }}", "output over");
    assert_gives("{{ $x := \"aaaaaaaa\" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}", "of memory");
    tsn_buf_puts(&deep, "{{ ");
    for (int i = 0; i < 100000; i++)
        tsn_buf_putc(&deep, '(');
    assert_gives(tsn_buf_str(&deep), "max expression depth exceeded");
    tsn_buf_reset(&deep);
    for (int i = 0; i < 50000; i++)
        tsn_buf_puts(&deep, "{{ if true }}");
    assert_gives(tsn_buf_str(&deep), "nested too deeply");
    tsn_buf_reset(&deep);
    for (int i = 0; i < 50000; i++)
        tsn_buf_puts(&deep, "{{ block \"b\" . }}");
    assert_gives(tsn_buf_str(&deep), "nested too deeply");
    for (int i = 0; i < (1 << 20); i++)
        tsn_buf_putc(&big, 'x');
    got = expand(big.data, big.len);
    assert_int_equal(strlen(got), (1 << 20) + 3);
    tsn_free(got);
    tsn_buf_putc(&big, 'x');
    assert_gives(tsn_buf_str(&big), "text over 1048576 bytes");
    tsn_buf_release(&deep);
    tsn_buf_release(&big);
}

static void label_uses_and_queries_are_known(void **state)
{
    static const char text[] = "{{ $labels.a }}{{ if .Labels.b }}{{ index $labels \"c\" }}{{ end }}{{ $labels.a }}"
                               "{{ range query \"up\" }}{{ .Labels.d }}{{ $.Labels.e }}{{ end }}";
    struct tsn_error error;
    struct tsn_template *tmpl = tsn_template_new("X", text, strlen(text), &error);
    const char *names[8];

    TSN_UNUSED(state);
    assert_non_null(tmpl);
    assert_true(tsn_template_uses_query(tmpl));
    assert_int_equal(tsn_template_label_uses(tmpl, names, 8), 4);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "c");
    assert_string_equal(names[3], "e");
    assert_int_equal(tsn_template_label_uses(tmpl, names, 2), 4);
    tsn_template_free(&tmpl);
    tmpl = tsn_template_new("X", "query", 5, &error);
    assert_false(tsn_template_uses_query(tmpl));
    tsn_template_free(&tmpl);
}

static void without_a_query_function_queries_are_refused(void **state)
{
    struct tsn_template_env env = { .value = 1 };
    struct tsn_error error;
    struct tsn_template *tmpl = tsn_template_new("X", "{{ query \"up\" }}", 16, &error);
    struct tsn_buf out = TSN_BUF_INIT;

    TSN_UNUSED(state);
    assert_int_not_equal(tsn_template_run(tmpl, &env, &out, &error), TSN_OK);
    assert_non_null(strstr(error.message, "query is not available here"));
    assert_int_equal(out.len, 0);
    tsn_template_free(&tmpl);
    tsn_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_expand_as_go_expands_them),
        cmocka_unit_test(hostile_templates_end_with_an_error),
        cmocka_unit_test(label_uses_and_queries_are_known),
        cmocka_unit_test(without_a_query_function_queries_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
