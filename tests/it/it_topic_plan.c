/*
 * The plan of topics as a function: clusters of one to five brokers, copies and min.insync.replicas that fit them, state that follows
 * samples, settings nobody may read, retention against windows. Needs no service: what the cluster says is made up here.
 */
#include "tocsin/kafka_admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct tsn_config config;
    struct tsn_topic_decls decls;
    struct tsn_topic_plan_options options;
    struct tsn_topic_info infos[16];
    size_t count;
    struct tsn_topic_plan plan;
};

static struct world *world_new(void)
{
    static const char text[] = "inputs: [ { topic: in, type: metrics } ]\n";
    struct world *w = tsn_calloc(1, sizeof *w);
    const char **names;
    struct tsn_error error = { 0 };

    assert_int_equal(tsn_config_parse(&w->config, "t.yaml", text, sizeof text - 1, NULL, &error), TSN_OK);
    assert_int_equal(tsn_topic_decls_builtin(&w->decls, &error), TSN_OK);
    assert_int_equal(tsn_topic_decls_check(&w->decls, &w->config, &error), TSN_OK);
    w->options = (struct tsn_topic_plan_options){ .config = &w->config, .decls = &w->decls };
    names = tsn_topic_plan_names(&w->options, &w->count);
    assert_int_equal(w->count, 10);
    for (size_t i = 0; i < w->count; i++)
        w->infos[i].name = tsn_strdup(names[i]);
    tsn_free(names);
    return w;
}

static void world_free(struct world *w)
{
    tsn_topic_plan_release(&w->plan);
    for (size_t i = 0; i < w->count; i++) {
        tsn_free(w->infos[i].name);
        tsn_pair_texts_release(&w->infos[i].config);
    }
    tsn_topic_decls_release(&w->decls);
    tsn_config_release(&w->config);
    tsn_free(w);
}

static size_t at(const struct world *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->infos[i].name, name) == 0)
            return i;
    fail_msg("no topic %s", name);
    return 0;
}

static const struct tsn_topic_plan_item *item(const struct world *w, const char *name) { return &w->plan.items[at(w, name)]; }

static void build(struct world *w, int32_t brokers)
{
    tsn_topic_plan_release(&w->plan);
    tsn_topic_plan_build(&w->options, w->infos, brokers, &w->plan);
}

static const char *planned(const struct world *w, const char *name, const char *setting)
{
    const struct tsn_pair_texts *config = &item(w, name)->config;

    for (size_t i = 0; i < config->len; i++)
        if (strcmp(config->items[i].name, setting) == 0)
            return config->items[i].value;
    return "";
}

/* The topic is there, as the plan would have created it. */
static void exists(struct world *w, const char *name)
{
    struct tsn_topic_info *info = &w->infos[at(w, name)];

    info->exists = true;
    info->partitions = item(w, name)->partitions;
    info->replication = item(w, name)->replication;
    tsn_pair_texts_release(&info->config);
    for (size_t i = 0; i < item(w, name)->config.len; i++)
        tsn_pair_texts_add(&info->config, item(w, name)->config.items[i].name, item(w, name)->config.items[i].value);
}

static void change(struct world *w, const char *name, const char *setting, const char *value)
{
    struct tsn_pair_texts *config = &w->infos[at(w, name)].config;

    for (size_t i = 0; i < config->len; i++)
        if (strcmp(config->items[i].name, setting) == 0) {
            tsn_free(config->items[i].value);
            config->items[i].value = tsn_strdup(value);
            return;
        }
    fail_msg("%s has no %s", name, setting);
}

static bool noted(const struct world *w, const char *name, const char *text)
{
    for (size_t i = 0; i < item(w, name)->notes.len; i++)
        if (strstr(item(w, name)->notes.items[i], text))
            return true;
    return false;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_copies_fit_the_cluster(void **state)
{
    static const struct { int32_t brokers, copies; const char *insync; } cases[] = { { 1, 1, "1" }, { 2, 2, "1" }, { 3, 3, "2" }, { 5, 3, "2" } };
    struct world *w = world_new();

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++) {
        build(w, cases[i].brokers);
        assert_int_equal(item(w, "tocsin.samples")->status, TSN_TOPIC_MISSING);
        assert_int_equal(item(w, "tocsin.samples")->replication, cases[i].copies);
        assert_string_equal(planned(w, "tocsin.samples", "min.insync.replicas"), cases[i].insync);
        assert_int_equal(noted(w, "tocsin.samples", "instead of 3"), cases[i].copies < 3);
        assert_false(item(w, "tocsin.samples")->differs);
    }
    world_free(w);
}

static void test_as_created_is_as_declared(void **state)
{
    struct world *w = world_new();

    (void)state;
    for (int32_t brokers = 1; brokers <= 4; brokers++) {
        for (size_t i = 0; i < w->count; i++)
            w->infos[i].exists = false;
        build(w, brokers);
        for (size_t i = 0; i + 1 < w->count; i++)
            exists(w, w->infos[i].name);
        build(w, brokers);
        for (size_t i = 0; i + 1 < w->count; i++) {
            if (w->plan.items[i].status != TSN_TOPIC_OK)
                fail_msg("%d brokers: %s: %s", brokers, w->infos[i].name, w->plan.items[i].notes.items[0]);
        }
    }
    /* A cluster that grew: one copy of three is now a difference. */
    w->infos[at(w, "tocsin.alerts")].replication = 1;
    build(w, 3);
    assert_int_equal(item(w, "tocsin.alerts")->status, TSN_TOPIC_DRIFT);
    assert_true(noted(w, "tocsin.alerts", "1 copies, declared 3"));
    world_free(w);
}

static void test_state_follows_samples(void **state)
{
    struct world *w = world_new();

    (void)state;
    build(w, 3);
    assert_int_equal(item(w, "tocsin.state")->partitions, 8);
    w->options.samples_partitions = 32;
    build(w, 3);
    assert_int_equal(item(w, "tocsin.samples")->partitions, 32);
    assert_int_equal(item(w, "tocsin.state")->partitions, 32);
    exists(w, "tocsin.samples");
    w->options.samples_partitions = 0;
    build(w, 3);
    assert_int_equal(item(w, "tocsin.state")->partitions, 32); /* as it is, not as declared */
    assert_true(noted(w, "tocsin.samples", "32 partitions, declared 8: refused"));
    exists(w, "tocsin.state");
    w->infos[at(w, "tocsin.state")].partitions = 8;
    build(w, 3);
    assert_true(noted(w, "tocsin.state", "8 partitions, declared 32: refused"));
    world_free(w);
}

static void test_settings(void **state)
{
    struct world *w = world_new();

    (void)state;
    build(w, 3);
    exists(w, "tocsin.respond");
    exists(w, "tocsin.samples");
    change(w, "tocsin.respond", "cleanup.policy", "delete");
    change(w, "tocsin.samples", "retention.bytes", "1000000");
    build(w, 3);
    assert_true(noted(w, "tocsin.respond", "cleanup.policy is delete, declared compact"));
    assert_true(noted(w, "tocsin.samples", "retention.bytes is 1000000: records may go before 2 longest windows"));
    tsn_pair_texts_release(&w->infos[at(w, "tocsin.respond")].config);
    build(w, 3);
    assert_int_equal(item(w, "tocsin.respond")->status, TSN_TOPIC_OK);
    assert_true(noted(w, "tocsin.respond", "settings cannot be read"));
    world_free(w);
}

/* At the limit, and one millisecond over it; for a topic that is there and for one that would be created. */
static void test_retention(void **state)
{
    const int64_t half_ms = INT64_C(3024000000) / 2;
    struct world *w = world_new();

    (void)state;
    for (int existing = 0; existing < 2; existing++) {
        w->options.window_ms = half_ms;
        build(w, 3);
        assert_false(noted(w, "tocsin.samples", "retention too short"));
        w->options.window_ms = half_ms + 1;
        build(w, 3);
        assert_true(noted(w, "tocsin.samples", "retention too short: 5w"));
        assert_true(item(w, "tocsin.samples")->differs);
        assert_false(item(w, "tocsin.alerts")->differs);
        exists(w, "tocsin.samples");
    }
    change(w, "tocsin.samples", "retention.ms", "-1");
    build(w, 3);
    assert_false(noted(w, "tocsin.samples", "retention too short"));
    world_free(w);
}

static void test_inputs(void **state)
{
    struct world *w = world_new();

    (void)state;
    build(w, 1);
    assert_int_equal(item(w, "in")->status, TSN_TOPIC_ABSENT);
    assert_false(item(w, "in")->differs);
    w->options.create_inputs = true;
    build(w, 1);
    assert_int_equal(item(w, "in")->status, TSN_TOPIC_MISSING);
    assert_int_equal(item(w, "in")->partitions, 4);
    assert_int_equal(item(w, "in")->replication, 1);
    exists(w, "in");
    tsn_pair_texts_add(&w->infos[at(w, "in")].config, "message.timestamp.type", "LogAppendTime");
    build(w, 1);
    assert_int_equal(item(w, "in")->status, TSN_TOPIC_OK);
    assert_int_equal(item(w, "in")->notes.len, 0);
    change(w, "in", "message.timestamp.type", "CreateTime");
    build(w, 1);
    assert_true(noted(w, "in", "LogAppendTime is safer"));
    assert_false(item(w, "in")->differs);
    world_free(w);
}

static void test_declarations(void **state)
{
    static const char twice[] = "role: alerts\npartitions: 1\n", lone[] = "role: state\npartitions_as: samples\n", odd[] = "role: audit\npartitions: 1\n";
    struct world *w = world_new();
    struct tsn_topic_decls few = { 0 };
    struct tsn_error error = { 0 };

    (void)state;
    assert_int_equal(tsn_topic_decls_add(&w->decls, "x.yaml", twice, sizeof twice - 1, &error), TSN_ERR_INVALID);
    assert_string_equal(error.message, "x.yaml: role alerts is declared twice");
    assert_int_equal(tsn_topic_decls_add(&few, "y.yaml", lone, sizeof lone - 1, &error), TSN_OK);
    assert_int_equal(tsn_topic_decls_check(&few, &w->config, &error), TSN_ERR_INVALID);
    assert_string_equal(error.message, "topic declarations: role samples is missing");
    assert_int_equal(tsn_topic_decls_add(&w->decls, "z.yaml", odd, sizeof odd - 1, &error), TSN_OK);
    assert_int_equal(tsn_topic_decls_check(&w->decls, &w->config, &error), TSN_ERR_INVALID);
    assert_string_equal(error.message, "topic declarations: there is no role 'audit'");
    tsn_topic_decls_release(&few);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_fit_the_cluster), cmocka_unit_test(test_as_created_is_as_declared),
        cmocka_unit_test(test_state_follows_samples),  cmocka_unit_test(test_settings),
        cmocka_unit_test(test_retention),              cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_declarations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
