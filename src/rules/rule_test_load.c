/*
 * rule_test_load: a unit-test file into values. See tocsin/rule_test.h.
 *
 * Each mapping has a table of its keys; a reader per key. Source: cmd/promtool/unittest.go of
 * Prometheus 3.16 for keys and defaults.
 */
#include "rules/yaml_tree.h"
#include "tocsin/rule_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct tsn_yaml yaml;
    struct tsn_rule_test_file *file;
};

struct key {
    const char *name;
    void (*read)(struct reader *r, const yaml_node_t *node, void *into);
};

/* Pushes a zeroed element onto an array of a public struct and returns its address. */
#define PUSH(array, count, cap)                                                              \
    (((cap) > (count) ? (void)0                                                              \
                      : (void)((array) = tsn_vec_grow((array), &(cap), (count) + 1, sizeof *(array)))), \
     memset(&(array)[count], 0, sizeof *(array)), &(array)[(count)++])

static void read_map(struct reader *r, const yaml_node_t *map, const char *what, const struct key *keys,
                     size_t key_count, void *into)
{
    struct tsn_yaml_pairs pairs;

    if (!tsn_yaml_pairs(&r->yaml, map, what, &pairs))
        return;
    for (size_t i = 0; i < pairs.len; i++) {
        size_t k = 0;

        while (k < key_count && strcmp(keys[k].name, pairs.items[i].key) != 0)
            k++;
        if (k < key_count)
            keys[k].read(r, pairs.items[i].value, into);
        else
            tsn_yaml_fail(&r->yaml, tsn_yaml_position(pairs.items[i].key_node), "field %s not found in %s",
                          pairs.items[i].key, what);
    }
    tsn_vec_release(&pairs);
}

static void read_list(struct reader *r, const yaml_node_t *list, const char *what,
                      void (*item)(struct reader *r, const yaml_node_t *node, void *into), void *into)
{
    size_t count;
    const yaml_node_item_t *items = tsn_yaml_items(&r->yaml, list, what, &count);

    for (size_t i = 0; i < count; i++)
        item(r, tsn_yaml_node(&r->yaml, items[i]), into);
}

static const char *text_or_empty(struct reader *r, const yaml_node_t *node, const char *what)
{
    const char *text = tsn_yaml_text(&r->yaml, node, what);

    return text ? text : "";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tsn_test_label *)a)->name, ((const struct tsn_test_label *)b)->name);
}

static void read_labels(struct reader *r, const yaml_node_t *node, const char *what, struct tsn_test_labels *into)
{
    struct tsn_yaml_pairs pairs;

    if (!tsn_yaml_pairs(&r->yaml, node, what, &pairs))
        return;
    for (size_t i = 0; i < pairs.len; i++) {
        struct tsn_test_label label = { pairs.items[i].key, text_or_empty(r, pairs.items[i].value, what) };

        tsn_vec_push(into, label);
    }
    tsn_vec_release(&pairs);
    if (into->len > 1)
        qsort(into->items, into->len, sizeof *into->items, by_name);
}

/* ---- series ------------------------------------------------------------------------------- */

static void series_name(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_test_series *)into)->series = text_or_empty(r, node, "series");
}

static void series_values(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_test_series *)into)->values = text_or_empty(r, node, "values");
}

static void series_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = { { "series", series_name }, { "values", series_values } };
    struct tsn_rule_test *test = into;
    struct tsn_test_series *series = PUSH(test->series, test->series_count, test->series_cap);

    series->at = tsn_yaml_position(node);
    series->series = series->values = "";
    read_map(r, node, "input_series", keys, TSN_ARRAY_LEN(keys), series);
}

static void test_series(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "input_series", series_item, into);
}

/* ---- alert tests -------------------------------------------------------------------------- */

static void exp_labels(struct reader *r, const yaml_node_t *node, void *into)
{
    read_labels(r, node, "exp_labels", &((struct tsn_expected_alert *)into)->labels);
}

static void exp_annotations(struct reader *r, const yaml_node_t *node, void *into)
{
    read_labels(r, node, "exp_annotations", &((struct tsn_expected_alert *)into)->annotations);
}

static void exp_alert_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = { { "exp_labels", exp_labels }, { "exp_annotations", exp_annotations } };
    struct tsn_alert_test *test = into;

    read_map(r, node, "exp_alerts", keys, TSN_ARRAY_LEN(keys),
             PUSH(test->expected, test->expected_count, test->expected_cap));
}

static void alert_exp_alerts(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "exp_alerts", exp_alert_item, into);
}

static void alert_eval_time(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_alert_test *)into)->eval_time_ms = tsn_yaml_duration(&r->yaml, node, "eval_time");
}

static void alert_name(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_alert_test *)into)->alertname = text_or_empty(r, node, "alertname");
}

/* alertname is implied in every expected alert, over what is written. */
static void imply_alertname(struct tsn_alert_test *test)
{
    for (size_t i = 0; i < test->expected_count; i++) {
        struct tsn_test_labels *labels = &test->expected[i].labels;
        struct tsn_test_label label = { "alertname", test->alertname };
        size_t k = 0;

        while (k < labels->len && strcmp(labels->items[k].name, label.name) != 0)
            k++;
        if (k < labels->len)
            labels->items[k] = label;
        else
            tsn_vec_push(labels, label);
        qsort(labels->items, labels->len, sizeof *labels->items, by_name);
    }
}

static void alert_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = { { "eval_time", alert_eval_time }, { "alertname", alert_name },
                                       { "exp_alerts", alert_exp_alerts } };
    struct tsn_rule_test *test = into;
    struct tsn_alert_test *alert = PUSH(test->alerts, test->alert_count, test->alert_cap);

    alert->at = tsn_yaml_position(node);
    alert->alertname = "";
    read_map(r, node, "alert_rule_test", keys, TSN_ARRAY_LEN(keys), alert);
    imply_alertname(alert);
}

static void test_alerts(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "alert_rule_test", alert_item, into);
}

/* ---- expression tests --------------------------------------------------------------------- */

static void sample_labels(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_expected_sample *)into)->labels = text_or_empty(r, node, "labels");
}

static void sample_value(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_expected_sample *)into)->value = tsn_yaml_number(&r->yaml, node, "value");
}

static void sample_histogram(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_expected_sample *)into)->histogram = *text_or_empty(r, node, "histogram") != '\0';
}

static void sample_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = { { "labels", sample_labels }, { "value", sample_value },
                                       { "histogram", sample_histogram } };
    struct tsn_expr_test *test = into;
    struct tsn_expected_sample *sample = PUSH(test->expected, test->expected_count, test->expected_cap);

    sample->labels = "";
    read_map(r, node, "exp_samples", keys, TSN_ARRAY_LEN(keys), sample);
}

static void expr_samples(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "exp_samples", sample_item, into);
}

static void expr_eval_time(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_expr_test *)into)->eval_time_ms = tsn_yaml_duration(&r->yaml, node, "eval_time");
}

static void expr_text(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_expr_test *)into)->expr = text_or_empty(r, node, "expr");
}

static void expr_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = { { "expr", expr_text }, { "eval_time", expr_eval_time },
                                       { "exp_samples", expr_samples } };
    struct tsn_rule_test *test = into;
    struct tsn_expr_test *expr = PUSH(test->exprs, test->expr_count, test->expr_cap);

    expr->at = tsn_yaml_position(node);
    expr->expr = "";
    read_map(r, node, "promql_expr_test", keys, TSN_ARRAY_LEN(keys), expr);
}

static void test_exprs(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "promql_expr_test", expr_item, into);
}

/* ---- one test ----------------------------------------------------------------------------- */

static void test_interval(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_rule_test *)into)->interval_ms = tsn_yaml_duration(&r->yaml, node, "interval");
}

static void test_name(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_rule_test *)into)->name = tsn_yaml_text(&r->yaml, node, "name");
}

static void test_external_labels(struct reader *r, const yaml_node_t *node, void *into)
{
    read_labels(r, node, "external_labels", &((struct tsn_rule_test *)into)->external_labels);
}

static void test_external_url(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_rule_test *)into)->external_url = tsn_yaml_text(&r->yaml, node, "external_url");
}

/* RFC 3339, or seconds since the epoch with a fraction. */
static void test_start(struct reader *r, const yaml_node_t *node, void *into)
{
    struct tsn_rule_test *test = into;
    const char *text = tsn_yaml_text(&r->yaml, node, "start_timestamp");
    double seconds;

    if (!text)
        return;
    if (tsn_parse_double(text, strlen(text), &seconds) && fabs(seconds) < 1e12)
        test->start_ms = (int64_t)llround(seconds * 1000);
    else if (!tsn_parse_rfc3339(text, strlen(text), &test->start_ms))
        tsn_yaml_fail(&r->yaml, tsn_yaml_position(node), "start_timestamp: cannot parse \"%s\" to a valid timestamp",
                      text);
}

static void test_item(struct reader *r, const yaml_node_t *node, void *into)
{
    static const struct key keys[] = {
        { "interval", test_interval },        { "input_series", test_series },
        { "alert_rule_test", test_alerts },   { "promql_expr_test", test_exprs },
        { "external_labels", test_external_labels }, { "external_url", test_external_url },
        { "name", test_name },                { "start_timestamp", test_start },
    };
    struct tsn_rule_test_file *file = into;
    struct tsn_rule_test *test = PUSH(file->tests, file->test_count, file->test_cap);

    test->at = tsn_yaml_position(node);
    read_map(r, node, "tests", keys, TSN_ARRAY_LEN(keys), test);
    if (test->name && !*test->name)
        test->name = NULL;
    test->title = test->name ? test->name
                             : tsn_arena_printf(&file->arena, "unnamed#%zu", file->test_count - 1);
}

/* ---- the file ----------------------------------------------------------------------------- */

static void file_rule_file(struct reader *r, const yaml_node_t *node, void *into)
{
    struct tsn_rule_test_file *file = into;

    *PUSH(file->rule_files, file->rule_file_count, file->rule_file_cap) = text_or_empty(r, node, "rule_files");
}

static void file_rule_files(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "rule_files", file_rule_file, into);
}

static void file_group(struct reader *r, const yaml_node_t *node, void *into)
{
    struct tsn_rule_test_file *file = into;
    const char *name = text_or_empty(r, node, "group_eval_order");

    for (size_t i = 0; i < file->group_order_count; i++)
        if (strcmp(file->group_order[i], name) == 0) {
            tsn_yaml_fail(&r->yaml, tsn_yaml_position(node), "group name repeated in evaluation order: %s", name);
            return;
        }
    *PUSH(file->group_order, file->group_order_count, file->group_order_cap) = name;
}

static void file_group_order(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "group_eval_order", file_group, into);
}

static void file_interval(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_rule_test_file *)into)->evaluation_interval_ms =
        tsn_yaml_duration(&r->yaml, node, "evaluation_interval");
}

static void file_fuzzy(struct reader *r, const yaml_node_t *node, void *into)
{
    ((struct tsn_rule_test_file *)into)->fuzzy_compare = tsn_yaml_truth(&r->yaml, node, "fuzzy_compare");
}

static void file_tests(struct reader *r, const yaml_node_t *node, void *into)
{
    read_list(r, node, "tests", test_item, into);
}

static void apply_defaults(struct tsn_rule_test_file *file)
{
    if (!file->evaluation_interval_ms)
        file->evaluation_interval_ms = 60000;
    for (size_t i = 0; i < file->test_count; i++)
        if (!file->tests[i].interval_ms)
            file->tests[i].interval_ms = file->evaluation_interval_ms;
}

struct tsn_rule_test_file *tsn_rule_test_parse(const struct tsn_rule_source *source, struct tsn_rule_errors *errors)
{
    static const struct key keys[] = {
        { "rule_files", file_rule_files }, { "evaluation_interval", file_interval },
        { "group_eval_order", file_group_order }, { "tests", file_tests }, { "fuzzy_compare", file_fuzzy },
    };
    struct tsn_rule_test_file *file = tsn_calloc(1, sizeof *file);
    struct reader r = { .file = file };
    size_t before = errors->len;

    tsn_arena_init(&file->arena, 0);
    file->file = tsn_arena_strdup(&file->arena, source->file);
    r.yaml = (struct tsn_yaml){ .file = file->file, .text = source->text, .len = source->len, .errors = errors,
                                .arena = &file->arena };
    if (tsn_yaml_load(&r.yaml) && tsn_yaml_root(&r.yaml))
        read_map(&r, tsn_yaml_root(&r.yaml), "a test file", keys, TSN_ARRAY_LEN(keys), file);
    tsn_yaml_release(&r.yaml);
    apply_defaults(file);
    if (errors->len > before)
        tsn_rule_test_file_free(&file);
    return file;
}

static void free_test(struct tsn_rule_test *test)
{
    for (size_t i = 0; i < test->alert_count; i++) {
        for (size_t k = 0; k < test->alerts[i].expected_count; k++) {
            tsn_vec_release(&test->alerts[i].expected[k].labels);
            tsn_vec_release(&test->alerts[i].expected[k].annotations);
        }
        tsn_free(test->alerts[i].expected);
    }
    for (size_t i = 0; i < test->expr_count; i++)
        tsn_free(test->exprs[i].expected);
    tsn_free(test->alerts);
    tsn_free(test->exprs);
    tsn_free(test->series);
    tsn_vec_release(&test->external_labels);
}

void tsn_rule_test_file_free(struct tsn_rule_test_file **file)
{
    if (!*file)
        return;
    for (size_t i = 0; i < (*file)->test_count; i++)
        free_test(&(*file)->tests[i]);
    tsn_free((*file)->tests);
    tsn_free((*file)->rule_files);
    tsn_free((*file)->group_order);
    tsn_arena_release(&(*file)->arena);
    tsn_free(*file);
    *file = NULL;
}
