/*
 * rule_test: promtool's unit tests. The YAML becomes a tree of JSON values (every scalar a string),
 * checked for unknown and doubled keys, and is then read by name.
 *
 * As promtool: rules run at start, start + evaluation_interval, … up to the last eval_time of the
 * test, whatever their group's interval; an alert check looks at the last step at or before its
 * eval_time; only firing instances count; expression checks run afterwards on what was written.
 */
#include "tocsin/rule_test.h"
#include "tocsin/rule_eval.h"
#include "tocsin/series_notation.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 32, MAX_STEPS = 10000000 };

static json_t *to_json(yaml_document_t *doc, const yaml_node_t *node, int depth, struct tsn_error *error)
{
    json_t *out, *value;

    if (depth > MAX_DEPTH) {
        tsn_error_set(error, TSN_ERR_LIMIT, "nested deeper than %d", MAX_DEPTH);
        return NULL;
    }
    if (node->type == YAML_SCALAR_NODE)
        return json_stringn_nocheck((const char *)node->data.scalar.value, node->data.scalar.length);
    out = node->type == YAML_MAPPING_NODE ? json_object() : json_array();
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
            if (!(value = to_json(doc, yaml_document_get_node(doc, *i), depth + 1, error)))
                goto fail;
            json_array_append_new(out, value);
        }
        return out;
    }
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(doc, p->key);

        if (key->type != YAML_SCALAR_NODE || json_object_get(out, (const char *)key->data.scalar.value)) {
            tsn_error_set(error, TSN_ERR_INVALID, "%zu:%zu: a key is doubled or no text", key->start_mark.line + 1,
                          key->start_mark.column + 1);
            goto fail;
        }
        if (!(value = to_json(doc, yaml_document_get_node(doc, p->value), depth + 1, error)))
            goto fail;
        json_object_set_new_nocheck(out, (const char *)key->data.scalar.value, value);
    }
    return out;
fail:
    json_decref(out);
    return NULL;
}

static json_t *parse_yaml(const char *text, size_t len, struct tsn_error *error)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    json_t *root = NULL;

    if (!yaml_parser_initialize(&parser))
        return NULL;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&parser, &doc)) {
        tsn_error_set(error, TSN_ERR_INVALID, "%zu:%zu: %s", parser.problem_mark.line + 1,
                      parser.problem_mark.column + 1, parser.problem ? parser.problem : "not YAML");
    } else {
        if (yaml_document_get_root_node(&doc))
            root = to_json(&doc, yaml_document_get_root_node(&doc), 0, error);
        else
            tsn_error_set(error, TSN_ERR_INVALID, "the file is empty");
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return root;
}

static enum tsn_err known_keys(const json_t *object, const char *what, const char *const *known, struct tsn_error *error)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return tsn_error_set(error, TSN_ERR_INVALID, "%s must be a mapping", what);
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return tsn_error_set(error, TSN_ERR_INVALID, "field %s not found in %s", key, what);
    }
    return TSN_OK;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static enum tsn_err duration_of(const json_t *object, const char *key, int64_t fallback, int64_t *ms, struct tsn_error *error)
{
    const char *text = json_string_value(json_object_get(object, key));

    *ms = fallback;
    if (text && *text && !tsn_parse_duration(text, strlen(text), ms))
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: not a valid duration string: \"%s\"", key, text);
    return TSN_OK;
}

static struct tsn_labels *labels_of(const json_t *object, const char *name, const char *value)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;
    const char *key;
    json_t *text;

    tsn_labels_builder_init(&b);
    json_object_foreach((json_t *)(uintptr_t)object, key, text)
        if (json_is_string(text))
            tsn_labels_builder_setn(&b, key, strlen(key), json_string_value(text), json_string_length(text));
    if (name)
        tsn_labels_builder_set(&b, name, value);
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

/* ---- one test ----------------------------------------------------------------------------- */

struct run {
    const json_t *file, *test;
    const char *name;
    struct tsn_rule_set *set;
    struct tsn_memstore *store;
    struct tsn_rule_evaluator *evaluator;
    int64_t start_ms, interval_ms, step_ms, end_ms; /* interval: of samples; step: of evaluation */
    bool fuzzy;
    struct tsn_rule_test_report *report;
    struct tsn_error *error;
};

static void failed(struct run *run, const char *check, struct tsn_buf *text)
{
    struct tsn_rule_test_failure f = { tsn_strdup(run->name), tsn_strdup(check), tsn_buf_take(text, NULL) };

    tsn_vec_push(&run->report->failures, f);
}

static enum tsn_err append(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value, struct tsn_error *error)
{
    TSN_UNUSED(error);
    tsn_memstore_add(arg, labels, ts_ms, value);
    return TSN_OK;
}

static enum tsn_err load_input(struct run *run)
{
    size_t i;
    json_t *in;

    json_array_foreach(json_object_get(run->test, "input_series"), i, in) {
        struct tsn_series_notation n;
        struct tsn_buf line = TSN_BUF_INIT;
        enum tsn_err err;

        tsn_buf_printf(&line, "%s %s", text_of(in, "series"), text_of(in, "values"));
        err = tsn_series_notation_parse(line.data, line.len, &n, run->error);
        if (err)
            tsn_error_prefix(run->error, "input series \"%.100s\"", text_of(in, "series"));
        tsn_buf_release(&line);
        if (err)
            return err;
        for (size_t v = 0; v < n.count; v++)
            if (!n.values[v].missing)
                tsn_memstore_add(run->store, n.labels, run->start_ms + (int64_t)v * run->interval_ms, n.values[v].value);
        tsn_series_notation_release(&n);
    }
    return TSN_OK;
}

/* An alert as one line that sorts and compares: labels, then annotations. */
static char *alert_line(const struct tsn_labels *labels, const struct tsn_labels *annotations)
{
    struct tsn_buf line = TSN_BUF_INIT;

    tsn_labels_format(&line, labels);
    tsn_buf_puts(&line, " annotations ");
    if (annotations)
        tsn_labels_format(&line, annotations);
    else
        tsn_buf_puts(&line, "{}");
    return tsn_buf_take(&line, NULL);
}

struct lines {
    char **items;
    size_t len, cap;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_lines(struct lines *got, struct lines *want)
{
    bool same = got->len == want->len;

    if (got->len)
        qsort(got->items, got->len, sizeof(*got->items), by_text);
    if (want->len)
        qsort(want->items, want->len, sizeof(*want->items), by_text);
    for (size_t i = 0; i < got->len && same; i++)
        same = strcmp(got->items[i], want->items[i]) == 0;
    return same;
}

static void put_lines(struct tsn_buf *out, const char *title, const struct lines *lines)
{
    tsn_buf_printf(out, "    %s:%s\n", title, lines->len ? "" : " nothing");
    for (size_t i = 0; i < lines->len; i++)
        tsn_buf_printf(out, "      %s\n", lines->items[i]);
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->len; i++)
        tsn_free(lines->items[i]);
    tsn_vec_release(lines);
}

static void compare(struct run *run, const char *check, struct lines *got, struct lines *want)
{
    struct tsn_buf text = TSN_BUF_INIT;

    run->report->checks++;
    if (!same_lines(got, want)) {
        put_lines(&text, "want", want);
        put_lines(&text, "got", got);
        failed(run, check, &text);
    }
    tsn_buf_release(&text);
    free_lines(got);
    free_lines(want);
}

static void check_alert(struct run *run, const json_t *check)
{
    const char *name = text_of(check, "alertname");
    struct lines got = { 0 }, want = { 0 };
    struct tsn_buf title = TSN_BUF_INIT;
    size_t i;
    json_t *expected;

    for (size_t g = 0; g < run->set->group_count; g++)
        for (size_t r = 0; r < run->set->groups[g].rule_count; r++) {
            const struct tsn_alert_rule_state *state;

            if (!run->set->groups[g].rules[r].is_alert || strcmp(run->set->groups[g].rules[r].name, name) != 0)
                continue;
            state = tsn_rule_evaluator_alerts(run->evaluator, g, r);
            for (size_t n = 0; state && n < state->len; n++)
                if (state->items[n].state == TSN_ALERT_FIRING)
                    tsn_vec_push(&got, alert_line(state->items[n].labels, state->items[n].annotations));
        }
    json_array_foreach(json_object_get(check, "exp_alerts"), i, expected) {
        struct tsn_labels *labels = labels_of(json_object_get(expected, "exp_labels"), "alertname", name);
        struct tsn_labels *annotations = labels_of(json_object_get(expected, "exp_annotations"), NULL, NULL);

        tsn_vec_push(&want, alert_line(labels, annotations));
        tsn_labels_unref(labels);
        tsn_labels_unref(annotations);
    }
    tsn_buf_printf(&title, "alertname: %s, time: %s", name, text_of(check, "eval_time"));
    compare(run, title.data, &got, &want);
    tsn_buf_release(&title);
}

static enum tsn_err check_alerts_at(struct run *run, int64_t ts_ms)
{
    size_t i;
    json_t *check;
    int64_t at_ms;

    json_array_foreach(json_object_get(run->test, "alert_rule_test"), i, check) {
        if (duration_of(check, "eval_time", 0, &at_ms, run->error))
            return run->error->code;
        at_ms += run->start_ms;
        if (ts_ms <= at_ms && at_ms < ts_ms + run->step_ms)
            check_alert(run, check);
    }
    return TSN_OK;
}

static bool close_enough(const struct run *run, double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    if (!run->fuzzy)
        return false;
    /* promtool's fuzzy_compare: one part in 2^50 or so */
    return fabs(a - b) <= fmax(fabs(a), fabs(b)) * 0x1p-50;
}

static char *sample_line(const struct tsn_labels *labels, double value)
{
    struct tsn_buf line = TSN_BUF_INIT;
    char number[TSN_DOUBLE_TEXT];

    tsn_labels_format(&line, labels);
    tsn_format_double(number, sizeof number, value, 'g', 21);
    tsn_buf_printf(&line, " %s", number);
    return tsn_buf_take(&line, NULL);
}

struct expected_sample {
    struct tsn_labels *labels;
    double value;
};
struct expected_samples {
    struct expected_sample *items;
    size_t len, cap;
};

static enum tsn_err read_expected(struct run *run, const json_t *check, struct expected_samples *want)
{
    size_t i;
    json_t *in;

    json_array_foreach(json_object_get(check, "exp_samples"), i, in) {
        struct expected_sample e = { NULL, 0 };
        const char *labels = text_of(in, "labels"), *value = text_of(in, "value");

        if (json_object_get(in, "histogram"))
            return tsn_error_set(run->error, TSN_ERR_UNSUPPORTED, "exp_samples: native histograms are not evaluated");
        if (*value && !tsn_parse_double(value, strlen(value), &e.value))
            return tsn_error_set(run->error, TSN_ERR_INVALID, "exp_samples: \"%s\" is no number", value);
        if (!*labels)
            e.labels = tsn_labels_empty();
        else if (tsn_series_labels_parse(labels, strlen(labels), &e.labels, run->error))
            return run->error->code;
        tsn_vec_push(want, e);
    }
    return TSN_OK;
}

static void compare_samples(struct run *run, const char *title, const struct tsn_result *result,
                            const struct expected_samples *want)
{
    bool same = result->vector_len == want->len;
    struct tsn_buf text = TSN_BUF_INIT;
    struct lines got_lines = { 0 }, want_lines = { 0 };

    run->report->checks++;
    for (size_t i = 0; i < want->len; i++) {
        bool found = false;

        for (size_t k = 0; k < result->vector_len; k++)
            found = found || (tsn_labels_equal(result->vector[k].labels, want->items[i].labels) &&
                              close_enough(run, result->vector[k].value, want->items[i].value));
        same = same && found;
        tsn_vec_push(&want_lines, sample_line(want->items[i].labels, want->items[i].value));
    }
    for (size_t k = 0; k < result->vector_len; k++)
        tsn_vec_push(&got_lines, sample_line(result->vector[k].labels, result->vector[k].value));
    if (!same) {
        put_lines(&text, "want", &want_lines);
        put_lines(&text, "got", &got_lines);
        failed(run, title, &text);
    }
    tsn_buf_release(&text);
    free_lines(&got_lines);
    free_lines(&want_lines);
}

static enum tsn_err check_expr(struct run *run, const json_t *check)
{
    const char *expr = text_of(check, "expr");
    struct tsn_storage storage = tsn_memstore_storage(run->store);
    struct tsn_eval_options options = { .default_step_ms = run->step_ms };
    struct expected_samples want = { 0 };
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    struct tsn_buf title = TSN_BUF_INIT;
    struct tsn_result result;
    int64_t at_ms;
    enum tsn_err err;

    tsn_result_init(&result);
    tsn_buf_printf(&title, "expr: \"%s\", time: %s", expr, text_of(check, "eval_time"));
    err = query ? read_expected(run, check, &want)
                : tsn_error_set(run->error, TSN_ERR_INVALID, "expr \"%.200s\": %s", expr, parse.message);
    if (!err)
        err = duration_of(check, "eval_time", 0, &at_ms, run->error);
    if (!err && tsn_eval_instant(query, &storage, run->start_ms + at_ms, &options, &result, run->error)) {
        struct tsn_buf text = TSN_BUF_INIT;

        tsn_buf_printf(&text, "    error: %s\n", run->error->message);
        run->report->checks++;
        failed(run, title.data, &text);
    } else if (!err) {
        if (result.type == TSN_TYPE_SCALAR)
            (void)tsn_rule_vector_of(&result, run->start_ms + at_ms, run->error);
        compare_samples(run, title.data, &result, &want);
    }
    for (size_t i = 0; i < want.len; i++)
        tsn_labels_unref(want.items[i].labels);
    tsn_vec_release(&want);
    tsn_buf_release(&title);
    tsn_result_release(&result);
    tsn_query_free(&query);
    return err;
}

/* Group indexes in the order of group_eval_order, the rest as loaded. */
static void order_groups(const struct run *run, size_t *order)
{
    const json_t *names = json_object_get(run->file, "group_eval_order");
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(names); i++)
        for (size_t g = 0; g < run->set->group_count; g++)
            if (strcmp(run->set->groups[g].name, json_string_value(json_array_get(names, i)) ?
                       json_string_value(json_array_get(names, i)) : "") == 0)
                order[n++] = g;
    for (size_t g = 0; g < run->set->group_count; g++) {
        bool placed = false;

        for (size_t i = 0; i < n; i++)
            placed = placed || order[i] == g;
        if (!placed)
            order[n++] = g;
    }
}

static enum tsn_err last_eval_time(struct run *run)
{
    static const char *const lists[] = { "alert_rule_test", "promql_expr_test" };
    size_t i;
    json_t *check;
    int64_t at_ms;

    run->end_ms = run->start_ms;
    for (size_t l = 0; l < TSN_ARRAY_LEN(lists); l++)
        json_array_foreach(json_object_get(run->test, lists[l]), i, check) {
            if (duration_of(check, "eval_time", 0, &at_ms, run->error))
                return run->error->code;
            if (run->start_ms + at_ms > run->end_ms)
                run->end_ms = run->start_ms + at_ms;
        }
    if ((run->end_ms - run->start_ms) / run->step_ms > MAX_STEPS)
        return tsn_error_set(run->error, TSN_ERR_LIMIT, "more than %d evaluations in a test", MAX_STEPS);
    return TSN_OK;
}

static enum tsn_err evaluate_rules(struct run *run)
{
    size_t *order = tsn_calloc(run->set->group_count + 1, sizeof *order);
    enum tsn_err err = TSN_OK;

    order_groups(run, order);
    for (int64_t t = run->start_ms; t <= run->end_ms && !err; t += run->step_ms) {
        for (size_t g = 0; g < run->set->group_count; g++) {
            if (!tsn_rule_evaluator_step(run->evaluator, order[g], t))
                continue;
            for (size_t r = 0; r < run->set->groups[order[g]].rule_count; r++) {
                const char *why = tsn_rule_evaluator_error(run->evaluator, order[g], r);

                if (why && !err)
                    err = tsn_error_set(run->error, TSN_ERR_INVALID, "rule %s: %s",
                                        run->set->groups[order[g]].rules[r].name, why);
            }
        }
        if (!err)
            err = check_alerts_at(run, t);
    }
    tsn_free(order);
    return err;
}

static enum tsn_err run_test(struct run *run)
{
    static const char *const keys[] = { "interval", "input_series", "alert_rule_test", "promql_expr_test",
                                        "external_labels", "external_url", "name", "start_timestamp", NULL };
    struct tsn_labels *external = labels_of(json_object_get(run->test, "external_labels"), NULL, NULL);
    struct tsn_rule_eval_options options = { .append = append, .external_labels = external,
                                             .external_url = text_of(run->test, "external_url") };
    const char *start = text_of(run->test, "start_timestamp");
    double seconds;
    size_t i;
    json_t *check;
    enum tsn_err err = known_keys(run->test, "a test", keys, run->error);

    run->start_ms = 0;
    if (!err && *start && !tsn_parse_rfc3339(start, strlen(start), &run->start_ms)) {
        if (tsn_parse_double(start, strlen(start), &seconds) && fabs(seconds) < 1e12)
            run->start_ms = (int64_t)(seconds * 1000);
        else
            err = tsn_error_set(run->error, TSN_ERR_INVALID, "start_timestamp: \"%s\" is no time", start);
    }
    if (!err)
        err = duration_of(run->test, "interval", run->step_ms, &run->interval_ms, run->error);
    run->store = tsn_memstore_new();
    if (!err)
        err = load_input(run);
    options.storage = tsn_memstore_storage(run->store);
    options.append_arg = run->store;
    options.eval.default_step_ms = run->step_ms;
    run->evaluator = tsn_rule_evaluator_new(run->set, &options);
    if (!err)
        err = last_eval_time(run);
    if (!err)
        err = evaluate_rules(run);
    if (!err)
        json_array_foreach(json_object_get(run->test, "promql_expr_test"), i, check)
            if (!err)
                err = check_expr(run, check);
    tsn_rule_evaluator_free(&run->evaluator);
    tsn_memstore_free(&run->store);
    tsn_labels_unref(external);
    return err;
}

static enum tsn_err load_rules(const json_t *root, int64_t step_ms, const struct tsn_rule_test_options *options,
                               struct tsn_rule_set **set, struct tsn_error *error)
{
    struct tsn_rule_load_options load = { step_ms };
    struct tsn_rule_source *sources = NULL;
    struct tsn_rule_errors errors = { 0 };
    size_t count = 0, i;
    json_t *pattern;
    enum tsn_err err = TSN_OK;

    json_array_foreach(json_object_get(root, "rule_files"), i, pattern)
        if (!err && !options->find_rules(options->arg, json_string_value(pattern) ? json_string_value(pattern) : "",
                                         &sources, &count, error))
            err = error->code;
    if (!err && !(*set = tsn_rule_set_load(sources, count, &load, &errors)))
        err = tsn_error_set(error, TSN_ERR_INVALID, "%s:%u:%u: %s", errors.items[0].file, errors.items[0].at.line,
                            errors.items[0].at.column, errors.items[0].message);
    tsn_rule_errors_release(&errors);
    for (i = 0; i < count; i++) {
        tsn_free((char *)(uintptr_t)sources[i].file);
        tsn_free((char *)(uintptr_t)sources[i].text);
    }
    tsn_free(sources);
    return err;
}

enum tsn_err tsn_rule_test_run(const char *text, size_t len, const struct tsn_rule_test_options *options,
                               struct tsn_rule_test_report *report, struct tsn_error *error)
{
    static const char *const keys[] = { "rule_files", "evaluation_interval", "group_eval_order", "tests",
                                        "fuzzy_compare", NULL };
    json_t *root = parse_yaml(text, len, error), *test;
    struct run run = { .file = root, .report = report, .error = error };
    enum tsn_err err = root ? known_keys(root, "the test file", keys, error) : error->code;
    size_t i;

    if (!err)
        err = duration_of(root, "evaluation_interval", 60000, &run.step_ms, error);
    if (!err && run.step_ms <= 0)
        err = tsn_error_set(error, TSN_ERR_INVALID, "evaluation_interval must be greater than 0");
    if (!err)
        err = load_rules(root, run.step_ms, options, &run.set, error);
    run.fuzzy = strcmp(text_of(root, "fuzzy_compare"), "true") == 0;
    if (!err)
        json_array_foreach(json_object_get(root, "tests"), i, test) {
            run.test = test;
            run.name = text_of(test, "name");
            if (!err && (err = run_test(&run)))
                tsn_error_prefix(error, "test %zu (%s)", i + 1, run.name);
        }
    tsn_rule_set_free(&run.set);
    json_decref(root);
    return err;
}

void tsn_rule_test_report_release(struct tsn_rule_test_report *report)
{
    for (size_t i = 0; i < report->failures.len; i++) {
        tsn_free(report->failures.items[i].test);
        tsn_free(report->failures.items[i].check);
        tsn_free(report->failures.items[i].text);
    }
    tsn_vec_release(&report->failures);
}
