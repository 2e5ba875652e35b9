/*
 * Goal: policy files load strictly, and the shipped ones are the built-in values.
 * Method: the files under docker/ against the defaults, field by field; then one broken text a fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tocsin/policy.h"

static void read_file(const char *path, struct tsn_buf *out)
{
    FILE *in = fopen(path, "rb");
    size_t got;

    assert_non_null(in);
    do {
        got = fread(tsn_buf_reserve(out, 4096), 1, 4096, in);
        out->len += got;
        out->data[out->len] = '\0';
    } while (got);
    fclose(in);
}

static void assert_same_texts(const struct tsn_texts *a, const struct tsn_texts *b)
{
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++)
        assert_string_equal(a->items[i], b->items[i]);
}

static void assert_same_number(double a, double b)
{
    assert_int_equal(tsn_double_bits(a), tsn_double_bits(b));
}

static void test_shipped_services(void **state)
{
    struct tsn_policy built, loaded;
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { TSN_OK, false, false, "" };

    (void)state;
    tsn_policy_init_default(&built);
    tsn_policy_init_default(&loaded);
    read_file("docker/services.yaml", &text);
    tsn_policy_load_services(&loaded, "services.yaml", text.data, text.len, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(loaded.services.len, built.services.len);
    for (size_t i = 0; i < built.services.len; i++) {
        const struct tsn_service *a = &built.services.items[i], *b = &loaded.services.items[i];

        assert_string_equal(a->name, b->name);
        assert_same_texts(&a->aliases, &b->aliases);
        assert_int_equal(a->tier, b->tier);
        assert_int_equal(a->core, b->core);
        assert_int_equal(a->down, b->down);
        assert_int_equal(a->latency_p95_ms, b->latency_p95_ms);
        assert_int_equal(a->latency_p99_ms, b->latency_p99_ms);
        assert_same_number(a->availability_percent, b->availability_percent);
        assert_same_number(a->throughput_per_min, b->throughput_per_min);
        assert_same_number(a->error_rate_percent, b->error_rate_percent);
    }
    tsn_buf_release(&text);
    tsn_policy_release(&built);
    tsn_policy_release(&loaded);
}

static void test_shipped_escalation(void **state)
{
    struct tsn_policy built, loaded;
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { TSN_OK, false, false, "" };
    const struct tsn_escalation *a = &built.escalation, *b = &loaded.escalation;

    (void)state;
    tsn_policy_init_default(&built);
    tsn_policy_init_default(&loaded);
    read_file("docker/escalation.yaml", &text);
    tsn_policy_load_escalation(&loaded, "escalation.yaml", text.data, text.len, &error);
    assert_string_equal(error.message, "");
    for (int s = 1; s <= TSN_SEVERITIES; s++) {
        const struct tsn_severity_policy *p = &a->severities[s], *q = &b->severities[s];

        assert_int_equal(p->respond_ms, q->respond_ms);
        assert_int_equal(p->resolve_ms, q->resolve_ms);
        assert_int_equal(p->channel, q->channel);
        assert_string_equal(p->commander, q->commander);
        assert_memory_equal(p->page, q->page, sizeof p->page);
        assert_memory_equal(p->tell, q->tell, sizeof p->tell);
        assert_memory_equal(p->climb, q->climb, sizeof p->climb);
    }
    for (int level = 1; level <= TSN_LEVELS; level++)
        assert_same_texts(&a->people[level], &b->people[level]);
    assert_same_texts(&a->outage_alerts, &b->outage_alerts);
    assert_memory_equal(a->tier_down, b->tier_down, sizeof a->tier_down);
    assert_int_equal(b->inhibit_count, 1);
    assert_int_equal(a->reopen_window_ms, b->reopen_window_ms);
    tsn_buf_release(&text);
    tsn_policy_release(&built);
    tsn_policy_release(&loaded);
}

static void test_errors_name_the_place(void **state)
{
    static const struct {
        bool services;
        const char *text, *message;
    } rows[] = {
        { true, "services:\n  - name: a\n    tier: 5\n", "f:3:11: '5' is not a whole number of 1 to 4" },
        { true, "services:\n  - name: a\n    teir: 1\n", "f:3:5: unknown key 'teir'" },
        { true, "services:\n  - tier: 1\n", "f:2:5: a service needs name and tier" },
        { true, "services:\n  - {name: a, tier: 1}\n  - {name: A, tier: 2}\n", "f:3:5: the name 'A' is taken" },
        { true, "services:\n  - {name: a, tier: 1, aliases: [A]}\n", "f:2:5: the alias 'A' is taken" },
        { true, "services: x\n", "f:1:11: expected a list" },
        { true, "", "f:1:1: the file is empty" },
        { true, "services: &a [*a]\n", "aliases are not taken" },
        { false, "severities: {5: {}}\n", "f:1:14: '5' is not a whole number of 1 to 4" },
        { false, "severities:\n  1: {respond: soon}\n", "f:2:16: 'soon' is not a duration" },
        { false, "severities:\n  1: {respond: never}\n", "respond and resolve cannot be never" },
        { false, "severities:\n  1: {climb: {L3: {unresolved: 1h}}}\n", "level 3 has no next" },
        { false, "people: {L4: [x]}\n", "'L4' is not a level" },
        { false, "people: {L1: []}\n", "goes to L1, where nobody sits" },
        { false, "inhibit: [{source: A, target: A}]\n", "needs a source and another target" },
        { false, "reopen_window: 1h\nreopen_window: 2h\n", "f:2:1: the key 'reopen_window' stands twice" },
        { false, "a: [\n", "f:" },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_policy policy;
        struct tsn_error error;
        enum tsn_err code;

        memset(&error, 0, sizeof error);
        tsn_policy_init_default(&policy);
        code = rows[i].services
                   ? tsn_policy_load_services(&policy, "f", rows[i].text, strlen(rows[i].text), &error)
                   : tsn_policy_load_escalation(&policy, "f", rows[i].text, strlen(rows[i].text), &error);
        assert_int_equal(code, TSN_ERR_INVALID);
        if (!strstr(error.message, rows[i].message))
            fail_msg("row %zu: \"%s\" lacks \"%s\"", i, error.message, rows[i].message);
        assert_int_equal(policy.services.len, 12); /* unchanged */
        assert_int_equal(policy.escalation.severities[1].respond_ms, 15 * 60000);
        tsn_policy_release(&policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_services),
        cmocka_unit_test(test_shipped_escalation),
        cmocka_unit_test(test_errors_name_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
