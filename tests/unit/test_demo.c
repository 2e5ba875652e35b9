/*
 * Goal: the demo's expectation is right before any broker is there, and its bytes are a function of the seed.
 * Method: the generator's events become series the way CONTRACT.md says (written here anew: metrics as they are; counters counted
 * in panes of 1 s, born with a zero), the shipped rules step over them in the sequential reference, RESPOND's core takes the
 * transitions at the clock of their steps, and the judge must find nothing missing and nothing unexpected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tocsin/codec.h"
#include "tocsin/demo.h"
#include "tocsin/respond.h"
#include "tocsin/rule_eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 15000, PANE_MS = 1000 };

/* ---- events to series --------------------------------------------------------------------- */

struct counted {
    struct tsn_labels *labels;
    double total;
    int64_t pane_ms; /* open pane; TSN_TIME_NONE: none */
};
struct world {
    struct tsn_memstore *store;
    struct tsn_map by_id; /* label set id → struct counted */
    struct tsn_map templates; /* service and message without its numbers */
    struct tsn_labels_builder builder;
    struct tsn_rule_set *set;
    struct tsn_rule_evaluator *evaluator;
    struct tsn_policy policy;
    struct tsn_respond *respond;
    struct tsn_effects effects;
    struct tsn_demo *demo;
    struct tsn_demo_judge *judge;
    int64_t offset, step_ms;
    size_t events, transitions;
};

static void put(struct world *w, struct tsn_labels *labels, int64_t ts_ms, double value)
{
    struct tsn_error error;

    assert_int_equal(tsn_memstore_append(w->store, labels, ts_ms, value, &error), TSN_OK);
}

static void close_pane(struct world *w, struct counted *c)
{
    put(w, c->labels, c->pane_ms + PANE_MS, c->total);
    c->pane_ms = TSN_TIME_NONE;
}

/* Adds to the counter that the builder names. */
static void count(struct world *w, int64_t ts_ms, double delta)
{
    struct tsn_labels *labels = tsn_labels_builder_finish(&w->builder);
    struct counted *c = tsn_map_get(&w->by_id, &labels->id, sizeof labels->id);
    int64_t pane_ms = ts_ms / PANE_MS * PANE_MS;

    if (!c) {
        c = tsn_calloc(1, sizeof *c);
        c->labels = tsn_labels_ref(labels);
        c->pane_ms = TSN_TIME_NONE;
        tsn_map_put(&w->by_id, &labels->id, sizeof labels->id, c);
        put(w, labels, pane_ms, 0);
    }
    if (c->pane_ms != TSN_TIME_NONE && c->pane_ms != pane_ms)
        close_pane(w, c);
    c->pane_ms = pane_ms;
    c->total += delta;
    tsn_labels_unref(labels);
}

static void name(struct world *w, const char *metric, const struct tsn_json_node *event, const char *const *fields)
{
    const struct tsn_json_node *n;

    tsn_labels_builder_set(&w->builder, "__name__", metric);
    for (; *fields; fields++)
        if ((n = tsn_json_get(event, *fields)))
            tsn_labels_builder_setn(&w->builder, *fields, strlen(*fields), n->text, n->text_len);
    if ((n = tsn_json_get(event, "service")))
        tsn_labels_builder_setn(&w->builder, "job", 3, n->text, n->text_len);
}

static int64_t time_of(const struct tsn_json_node *event)
{
    int64_t ts_ms;

    assert_true(tsn_json_time(tsn_json_get(event, "timestamp"), &ts_ms));
    return ts_ms;
}

static void take_metric(struct world *w, const struct tsn_json_node *event)
{
    const struct tsn_json_node *metric = tsn_json_get(event, "name");
    struct tsn_labels *labels;
    double value;

    tsn_labels_builder_setn(&w->builder, "__name__", 8, metric->text, metric->text_len);
    tsn_json_foreach(tsn_json_get(event, "labels"), l) {
        tsn_labels_builder_setn(&w->builder, l->key, l->key_len, l->text, l->text_len);
        if (l->key_len == 7 && memcmp(l->key, "service", 7) == 0)
            tsn_labels_builder_setn(&w->builder, "job", 3, l->text, l->text_len);
    }
    assert_true(tsn_json_double(tsn_json_get(event, "value"), &value));
    labels = tsn_labels_builder_finish(&w->builder);
    put(w, labels, time_of(event), value);
    tsn_labels_unref(labels);
}

/* Templates as the miner finds them in lines as simple as the demo's: numbers vary, nothing else. A discovery stands on the total before. */
static void discover(struct world *w, const struct tsn_json_node *event)
{
    static const char *const fields[] = { "service", "level", NULL };
    const struct tsn_json_node *message = tsn_json_get(event, "message"), *service = tsn_json_get(event, "service");
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_labels *labels;
    struct counted *c;
    bool created;

    tsn_buf_append(&text, service->text, service->text_len);
    for (size_t i = 0; i < message->text_len; i++)
        if (message->text[i] < '0' || message->text[i] > '9')
            tsn_buf_putc(&text, message->text[i]);
    tsn_map_upsert(&w->templates, text.data, text.len, &created);
    tsn_buf_release(&text);
    if (!created)
        return;
    name(w, "log_templates_discovered_total", event, fields);
    labels = tsn_labels_builder_finish(&w->builder);
    c = tsn_map_get(&w->by_id, &labels->id, sizeof labels->id);
    if (c && c->pane_ms != TSN_TIME_NONE)
        close_pane(w, c);
    if (c)
        put(w, labels, time_of(event) / PANE_MS * PANE_MS, c->total); /* where the pane before ends; lines are seconds apart */
    tsn_labels_unref(labels);
    name(w, "log_templates_discovered_total", event, fields);
    count(w, time_of(event), 1);
}

static void take_log(struct world *w, const struct tsn_json_node *event)
{
    static const char *const fields[] = { "service", "environment", "level", "logger", NULL };

    assert_non_null(tsn_json_get(event, "message"));
    name(w, "log_messages_total", event, fields);
    count(w, time_of(event), 1);
    discover(w, event);
}

static void take_hook(struct world *w, const struct tsn_json_node *event)
{
    static const double bounds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
    static const char *const all[] = { "service", "environment", "hook_type", "status", NULL };
    static const char *const less_status[] = { "service", "environment", "hook_type", NULL };
    static const char *const plain[] = { "service", "environment", NULL };
    const struct tsn_json_node *patterns = tsn_json_get(event, "patterns_discovered");
    int64_t ts_ms = time_of(event);
    double took_ms;

    name(w, "hooks_processed_total", event, all);
    count(w, ts_ms, 1);
    assert_true(tsn_json_double(tsn_json_get(event, "processing_time_ms"), &took_ms));
    for (size_t i = 0; i <= TSN_ARRAY_LEN(bounds); i++) {
        char le[TSN_DOUBLE_TEXT] = "+Inf";
        bool hit = i == TSN_ARRAY_LEN(bounds) || took_ms / 1000 <= bounds[i];

        if (i < TSN_ARRAY_LEN(bounds))
            tsn_format_double(le, sizeof le, bounds[i], 'f', 21);
        name(w, "hook_processing_duration_seconds_bucket", event, less_status);
        tsn_labels_builder_set(&w->builder, "le", le);
        count(w, ts_ms, hit ? 1 : 0);
    }
    if (!patterns)
        return;
    tsn_json_foreach(patterns, p) {
        const struct tsn_json_node *type = tsn_json_get(p, "pattern_type");
        double found;

        assert_true(tsn_json_double(tsn_json_get(p, "count"), &found));
        name(w, "intelligence_patterns_discovered_total", event, plain);
        tsn_labels_builder_setn(&w->builder, "pattern_type", 12, type->text, type->text_len);
        count(w, ts_ms, found);
    }
}

static void take(struct world *w, const struct tsn_demo_event *e)
{
    static void (*const takers[])(struct world *, const struct tsn_json_node *) = { take_metric, take_log, take_hook };
    struct tsn_json json;
    struct tsn_error error;

    tsn_json_init(&json);
    if (tsn_json_parse(&json, e->data, e->len, &error))
        fail_msg("%s: %s", e->data, error.message);
    if (json.nodes.items[0].kind == TSN_JSON_ARRAY)
        tsn_json_foreach(json.nodes.items, event) {
            assert_int_equal(time_of(event), e->ts_ms);
            takers[e->topic](w, event);
        }
    else
        takers[e->topic](w, json.nodes.items);
    tsn_json_release(&json);
    w->events++;
}

/* ---- rules and respond -------------------------------------------------------------------- */

static enum tsn_err append(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value, struct tsn_error *error)
{
    struct world *w = arg;

    return tsn_memstore_append(w->store, labels, ts_ms, value, error);
}

static void judge_effects(struct world *w)
{
    for (size_t i = 0; i < w->effects.len; i++)
        if (w->effects.items[i].kind == TSN_EFFECT_EVENT)
            assert_true(tsn_demo_judge_incident(w->judge, &w->effects.items[i].event));
    tsn_effects_clear(&w->effects);
}

static void on_changes(void *arg, size_t group, size_t rule, int64_t ts_ms, const struct tsn_alert_changes *changes)
{
    struct world *w = arg;

    for (size_t i = 0; i < changes->len; i++) {
        const struct tsn_alert_change *c = &changes->items[i];
        struct tsn_transition t = {
            .format = TSN_FORMAT_VERSION, .rule = (char *)(uintptr_t)w->set->groups[group].rules[rule].name,
            .group = (char *)(uintptr_t)w->set->groups[group].name, .file = (char *)(uintptr_t)"rules", .was = c->was, .state = c->now,
            .labels = c->instance->labels, .annotations = c->instance->annotations, .value = c->instance->value,
            .active_at_ms = c->instance->active_at_ms, .fired_at_ms = c->instance->fired_at_ms, .step_ms = ts_ms,
            .keep_firing_since_ms = TSN_TIME_NONE, .end_reason = c->now == TSN_ALERT_RESOLVED ? TSN_END_CONDITION : TSN_END_NONE,
        };

        tsn_u128_hex(c->instance->labels->id, t.alert_id);
        tsn_demo_judge_alert(w->judge, &t);
        tsn_respond_transition(w->respond, w->offset++, ts_ms, &t, &w->effects);
        judge_effects(w);
        w->transitions++;
    }
}

static void step(struct world *w)
{
    tsn_map_foreach(&w->by_id, e) {
        struct counted *c = e->value;

        if (c->pane_ms != TSN_TIME_NONE && c->pane_ms + PANE_MS <= w->step_ms)
            close_pane(w, c);
    }
    tsn_respond_tick(w->respond, w->step_ms, &w->effects);
    judge_effects(w);
    for (size_t g = 0; g < w->set->group_count; g++)
        if (tsn_rule_evaluator_step(w->evaluator, g, w->step_ms))
            for (size_t r = 0; r < w->set->groups[g].rule_count; r++)
                if (tsn_rule_evaluator_error(w->evaluator, g, r))
                    fail_msg("%s: %s", w->set->groups[g].rules[r].name, tsn_rule_evaluator_error(w->evaluator, g, r));
    w->step_ms += STEP_MS;
}

static char *read_file(const char *path, size_t *len)
{
    FILE *in = fopen(path, "rb");
    char *text = tsn_alloc(1 << 20);

    if (!in)
        fail_msg("%s: cannot be read; run from the top of the repository", path);
    *len = fread(text, 1, 1 << 20, in);
    fclose(in);
    return text;
}

static struct tsn_rule_set *shipped_rules(void)
{
    struct tsn_rule_source sources[2] = { { .file = "docker/rules/omninode.yaml" }, { .file = "docker/rules/logs.yaml" } };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set;

    for (size_t i = 0; i < 2; i++)
        sources[i].text = read_file(sources[i].file, &sources[i].len);
    set = tsn_rule_set_load(sources, 2, &(struct tsn_rule_load_options){ 0 }, &errors);
    assert_non_null(set);
    for (size_t i = 0; i < 2; i++)
        tsn_free((void *)(uintptr_t)sources[i].text);
    tsn_rule_errors_release(&errors);
    return set;
}

static void world_init(struct world *w, uint64_t seed, const char *scenario)
{
    struct tsn_error error = { 0 };
    struct tsn_rule_eval_options options;

    memset(w, 0, sizeof *w);
    w->demo = tsn_demo_new(seed, scenario, &error);
    if (!w->demo)
        fail_msg("%s", error.message);
    w->judge = tsn_demo_judge_new(w->demo);
    w->store = tsn_memstore_new();
    tsn_map_init(&w->by_id);
    tsn_map_init(&w->templates);
    tsn_labels_builder_init(&w->builder);
    w->set = shipped_rules();
    options = (struct tsn_rule_eval_options){ .storage = tsn_memstore_storage(w->store), .append = append, .append_arg = w,
                                              .on_changes = on_changes, .changes_arg = w };
    w->evaluator = tsn_rule_evaluator_new(w->set, &options);
    tsn_policy_init_default(&w->policy);
    w->respond = tsn_respond_new(&w->policy, &(struct tsn_respond_options){ .shadow = true });
    w->step_ms = tsn_demo_start_ms(w->demo);
}

static void world_release(struct world *w)
{
    tsn_rule_evaluator_free(&w->evaluator);
    tsn_rule_set_free(&w->set);
    tsn_memstore_free(&w->store);
    tsn_map_foreach(&w->by_id, e) {
        tsn_labels_unref(((struct counted *)e->value)->labels);
        tsn_free(e->value);
    }
    tsn_map_release(&w->by_id);
    tsn_map_release(&w->templates);
    tsn_labels_builder_release(&w->builder);
    tsn_effects_release(&w->effects);
    tsn_respond_free(&w->respond);
    tsn_policy_release(&w->policy);
    tsn_demo_judge_free(&w->judge);
    tsn_demo_free(&w->demo);
}

static void play(uint64_t seed, const char *scenario, size_t expected)
{
    struct world w;
    struct tsn_demo_event e;
    struct tsn_demo_verdict v;

    world_init(&w, seed, scenario);
    while (tsn_demo_next(w.demo, &e)) {
        while (e.ts_ms > w.step_ms)
            step(&w);
        take(&w, &e);
    }
    step(&w);
    tsn_demo_judge_verdict(w.judge, &v);
    for (size_t i = 0; i < v.missing.len; i++)
        print_message("%s, seed %llu: missing %s\n", scenario, (unsigned long long)seed, v.missing.items[i]);
    for (size_t i = 0; i < v.unexpected.len; i++)
        print_message("%s, seed %llu: unexpected %s\n", scenario, (unsigned long long)seed, v.unexpected.items[i]);
    if (getenv("DEMO_VERBOSE"))
        print_message("%s: %zu records, %zu transitions, %zu of %zu\n", scenario, w.events, w.transitions, v.seen, v.expected);
    assert_int_equal(v.missing.len, 0);
    assert_int_equal(v.unexpected.len, 0);
    assert_int_equal(v.expected, expected);
    assert_int_equal(v.seen, expected);
    tsn_demo_verdict_release(&v);
    world_release(&w);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void service_down(void **state) { TSN_UNUSED(state); play(1, "service-down", 3); }
static void vanished(void **state) { TSN_UNUSED(state); play(2, "vanished", 2); }
static void errors(void **state) { TSN_UNUSED(state); play(3, "errors", 6); }
static void latency(void **state) { TSN_UNUSED(state); play(4, "latency", 2); }
static void hooks_fail(void **state) { TSN_UNUSED(state); play(5, "hooks-fail", 2); }
static void patterns_dry(void **state) { TSN_UNUSED(state); play(6, "patterns-dry", 2); }
static void log_errors(void **state) { TSN_UNUSED(state); play(7, "log-errors", 2); }
static void new_error(void **state) { TSN_UNUSED(state); play(10, "new-error", 2); }
static void outage(void **state) { TSN_UNUSED(state); play(8, "outage", 9); }
static void quiet(void **state) { TSN_UNUSED(state); play(9, "quiet", 0); }

/* DEMO_SEEDS=n plays the whole day for n seeds; not in the normal run, for its time. */
static void whole_day(void **state)
{
    const char *seeds = getenv("DEMO_SEEDS");

    TSN_UNUSED(state);
    if (!seeds)
        skip();
    for (uint64_t seed = 1; seed <= (uint64_t)atoll(seeds); seed++)
        play(seed, "all", 30);
}

static struct tsn_u128 bytes_of(uint64_t seed, size_t *records)
{
    struct tsn_error error;
    struct tsn_demo *demo = tsn_demo_new(seed, "outage", &error);
    struct tsn_demo_event e;
    struct tsn_u128 sum = { 0, 0 };
    int64_t last_ms = tsn_demo_start_ms(demo);

    for (*records = 0; tsn_demo_next(demo, &e); ++*records) {
        struct tsn_u128 hash = tsn_hash128(e.data, e.len);

        assert_true(e.ts_ms >= last_ms && e.ts_ms < tsn_demo_end_ms(demo));
        last_ms = e.ts_ms;
        sum.hi = sum.hi * 31 + hash.hi;
        sum.lo = sum.lo * 31 + (hash.lo ^ (uint64_t)e.ts_ms ^ (uint64_t)e.topic);
    }
    tsn_demo_free(&demo);
    return sum;
}

static void same_seed_same_bytes(void **state)
{
    size_t n1, n2, n3;
    struct tsn_u128 a = bytes_of(42, &n1), b = bytes_of(42, &n2), c = bytes_of(43, &n3);

    TSN_UNUSED(state);
    assert_true(n1 > 3000);
    assert_int_equal(n1, n2);
    assert_true(tsn_u128_equal(a, b));
    assert_false(tsn_u128_equal(a, c));
}

static void no_such_scenario(void **state)
{
    struct tsn_error error;
    const char *about;

    TSN_UNUSED(state);
    assert_null(tsn_demo_new(1, "volcano", &error));
    assert_int_equal(error.code, TSN_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "volcano"));
    assert_non_null(strstr(error.message, "patterns-dry"));
    assert_string_equal(tsn_demo_scenario_name(0, &about), "all");
    assert_non_null(about);
    assert_null(tsn_demo_scenario_name(100, &about));
    assert_null(about);
}

/* The judge says from both sides what came at another time, and what nobody expected. */
static void judge_says(void **state)
{
    struct tsn_error error;
    struct tsn_demo *demo = tsn_demo_new(1, "vanished", &error);
    struct tsn_demo_judge *judge = tsn_demo_judge_new(demo);
    struct tsn_labels *labels = tsn_labels_of("service", "hook-receiver", NULL);
    int64_t at_ms = tsn_demo_start_ms(demo) + 20 * 60000;
    struct tsn_transition t = { .rule = (char *)(uintptr_t)"HookReceiverSilent", .labels = labels, .was = TSN_ALERT_PENDING,
                                .state = TSN_ALERT_FIRING, .step_ms = at_ms + 600000, .fired_at_ms = at_ms + 600000 };
    struct tsn_demo_verdict v;

    TSN_UNUSED(state);
    assert_true(tsn_demo_judge_alert(judge, &t));
    assert_false(tsn_demo_judge_alert(judge, &t));
    t.was = TSN_ALERT_FIRING;
    t.state = TSN_ALERT_RESOLVED;
    t.step_ms = at_ms + 30 * 60000; /* too late */
    assert_true(tsn_demo_judge_alert(judge, &t));
    assert_false(tsn_demo_judge_alert(judge, &t));
    tsn_demo_judge_verdict(judge, &v);
    assert_int_equal(v.expected, 2);
    assert_int_equal(v.seen, 0);
    assert_int_equal(v.missing.len, 2);
    assert_int_equal(v.unexpected.len, 1);
    assert_string_equal(v.unexpected.items[0], "alert HookReceiverSilent{service=\"hook-receiver\"} fired 05:10:00, ended 05:30:00");
    tsn_demo_verdict_release(&v);
    tsn_labels_unref(labels);
    tsn_demo_judge_free(&judge);
    tsn_demo_free(&demo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bytes), cmocka_unit_test(no_such_scenario), cmocka_unit_test(judge_says),
        cmocka_unit_test(quiet), cmocka_unit_test(service_down), cmocka_unit_test(vanished), cmocka_unit_test(errors),
        cmocka_unit_test(latency), cmocka_unit_test(hooks_fail), cmocka_unit_test(patterns_dry), cmocka_unit_test(log_errors), cmocka_unit_test(new_error),
        cmocka_unit_test(outage), cmocka_unit_test(whole_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
