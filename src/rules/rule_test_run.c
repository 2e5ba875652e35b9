/*
 * rule_test_run: one unit test over a rule set. See tocsin/rule_test.h.
 *
 * Samples enter the store as time reaches them, tick by tick, so that a negative offset sees no more
 * than promtool's does. A rule that fails ends the test, as there.
 *
 * A difference is shown element by element: what is expected and missing, what is there and
 * unexpected; where one of each is left over, label by label.
 * Source: cmd/promtool/unittest.go of Prometheus 3.16.
 */
#include "tocsin/rule_eval.h"
#include "tocsin/rule_test.h"
#include "tocsin/series_notation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An alert as compared: label lists, because an expected value may be empty and an annotation, too. */
struct alert_view {
    struct tsn_test_labels labels, annotations;
};

struct loaded_series {
    struct tsn_series_notation notation;
    size_t next; /* first value not yet in the store */
};

struct run {
    const struct tsn_rule_test_file *file;
    const struct tsn_rule_test *test;
    const struct tsn_rule_set *set;
    struct tsn_test_failures *failures;
    struct tsn_memstore *store;
    struct tsn_rule_evaluator *evaluator;
    struct tsn_labels *external_labels;
    struct loaded_series *series;
    size_t series_count;
    size_t *group_order; /* indexes of groups in the order of evaluation */
};

void tsn_test_failures_release(struct tsn_test_failures *failures)
{
    for (size_t i = 0; i < failures->len; i++)
        tsn_free(failures->items[i]);
    tsn_vec_release(failures);
}

static void fail_test(struct run *run, const char *fmt, ...) TSN_PRINTF(2, 3);
static void fail_test(struct run *run, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    tsn_vec_push(run->failures, tsn_buf_take(&text, NULL));
}

/* ---- samples ------------------------------------------------------------------------------ */

/* A series given twice: the later one stands. */
static void drop_repeated(struct run *run, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (run->series[i].notation.labels &&
            tsn_labels_equal(run->series[i].notation.labels, run->series[index].notation.labels))
            run->series[i].next = run->series[i].notation.count;
}

static bool load_series(struct run *run)
{
    run->series = tsn_calloc(run->test->series_count, sizeof *run->series);
    for (size_t i = 0; i < run->test->series_count; i++) {
        const struct tsn_test_series *s = &run->test->series[i];
        struct tsn_buf line = TSN_BUF_INIT;
        struct tsn_error error = { 0 };
        enum tsn_err err;

        tsn_buf_printf(&line, "%s %s", s->series, s->values);
        err = tsn_series_notation_parse(tsn_buf_str(&line), line.len, &run->series[i].notation, &error);
        run->series_count = i + 1;
        tsn_buf_release(&line);
        if (err != TSN_OK) {
            fail_test(run, "%s:%u:%u: input series %s: %s", run->file->file, s->at.line, s->at.column, s->series,
                      error.message);
            return false;
        }
        drop_repeated(run, i);
    }
    return true;
}

static void append_till(struct run *run, int64_t till_ms)
{
    for (size_t i = 0; i < run->series_count; i++) {
        struct loaded_series *s = &run->series[i];

        for (; s->next < s->notation.count; s->next++) {
            int64_t ts = run->test->start_ms + (int64_t)s->next * run->test->interval_ms;
            const struct tsn_series_value *v = &s->notation.values[s->next];
            struct tsn_error error = { 0 };

            if (ts > till_ms)
                break;
            if (!v->missing &&
                tsn_memstore_append(run->store, s->notation.labels, ts, v->value, &error) != TSN_OK)
                fail_test(run, "input series %s: %s", run->test->series[i].series, error.message);
        }
    }
}

static enum tsn_err append_result(void *arg, struct tsn_labels *labels, int64_t ts_ms, double value,
                                  struct tsn_error *error)
{
    return tsn_memstore_append(arg, labels, ts_ms, value, error);
}

/* ---- alerts ------------------------------------------------------------------------------- */

static int compare_lists(const struct tsn_test_labels *a, const struct tsn_test_labels *b)
{
    for (size_t i = 0; i < a->len && i < b->len; i++) {
        int order = strcmp(a->items[i].name, b->items[i].name);

        order = order ? order : strcmp(a->items[i].value, b->items[i].value);
        if (order)
            return order;
    }
    return (a->len > b->len) - (a->len < b->len);
}

static int compare_views(const void *a, const void *b)
{
    const struct alert_view *x = a, *y = b;
    int order = compare_lists(&x->labels, &y->labels);

    return order ? order : compare_lists(&x->annotations, &y->annotations);
}

struct views {
    TSN_VEC(struct alert_view) list;
};

static void add_firing(struct views *views, const struct tsn_rule *rule, const struct tsn_alert_instance *a)
{
    struct alert_view view = { 0 };

    for (size_t i = 0; i < a->labels->count; i++) {
        struct tsn_test_label label = { a->labels->items[i].name, a->labels->items[i].value };

        tsn_vec_push(&view.labels, label);
    }
    for (size_t i = 0; i < rule->annotation_count; i++) { /* one that expanded to nothing is still there */
        const char *value = tsn_labels_get(a->annotations, rule->annotations[i].name);
        struct tsn_test_label label = { rule->annotations[i].name, value ? value : "" };

        tsn_vec_push(&view.annotations, label);
    }
    tsn_vec_push(&views->list, view);
}

static void collect_firing(struct run *run, const char *name, struct views *got)
{
    for (size_t g = 0; g < run->set->group_count; g++)
        for (size_t r = 0; r < run->set->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &run->set->groups[g].rules[r];
            const struct tsn_alert_rule_state *state = tsn_rule_evaluator_alerts(run->evaluator, g, r);

            for (size_t i = 0; state && strcmp(rule->name, name) == 0 && i < state->len; i++)
                if (state->items[i].state == TSN_ALERT_FIRING)
                    add_firing(got, rule, &state->items[i]);
        }
}

static void print_list(struct tsn_buf *out, const struct tsn_test_labels *list)
{
    tsn_buf_putc(out, '{');
    for (size_t i = 0; i < list->len; i++) {
        tsn_buf_printf(out, "%s%s=", i ? ", " : "", list->items[i].name);
        tsn_buf_json_string(out, list->items[i].value, strlen(list->items[i].value));
    }
    tsn_buf_putc(out, '}');
}

static void print_view(struct tsn_buf *out, const char *sign, const struct alert_view *view)
{
    tsn_buf_printf(out, "\n      %s labels ", sign);
    print_list(out, &view->labels);
    tsn_buf_printf(out, "\n      %s annotations ", sign);
    print_list(out, &view->annotations);
}

/* The differences of two lists, a line each. */
static void print_differences(struct tsn_buf *out, const char *what, const struct tsn_test_labels *expected,
                              const struct tsn_test_labels *got)
{
    size_t i = 0, j = 0;

    while (i < expected->len || j < got->len) {
        int order = i == expected->len ? 1
                    : j == got->len    ? -1
                                       : strcmp(expected->items[i].name, got->items[j].name);
        const struct tsn_test_label *e = order <= 0 ? &expected->items[i] : NULL;
        const struct tsn_test_label *g = order >= 0 ? &got->items[j] : NULL;

        i += e != NULL;
        j += g != NULL;
        if (e && g && strcmp(e->value, g->value) == 0)
            continue;
        tsn_buf_printf(out, "\n      %s %s: expected ", what, e ? e->name : g->name);
        if (e)
            tsn_buf_json_string(out, e->value, strlen(e->value));
        tsn_buf_puts(out, e ? ", got " : "none, got ");
        if (g)
            tsn_buf_json_string(out, g->value, strlen(g->value));
        else
            tsn_buf_puts(out, "none");
    }
}

/* Removes what is on both sides of two sorted arrays. */
static void keep_unequal(struct views *a, struct views *b)
{
    size_t i = 0, j = 0, ka = 0, kb = 0;

    while (i < a->list.len || j < b->list.len) {
        int order = i == a->list.len ? 1
                    : j == b->list.len ? -1
                                       : compare_views(&a->list.items[i], &b->list.items[j]);
        struct alert_view *x = order <= 0 ? &a->list.items[i++] : NULL;
        struct alert_view *y = order >= 0 ? &b->list.items[j++] : NULL;
        struct alert_view swap;

        if (x && !y) {
            swap = a->list.items[ka];
            a->list.items[ka++] = *x;
            *x = swap;
        } else if (y && !x) {
            swap = b->list.items[kb];
            b->list.items[kb++] = *y;
            *y = swap;
        }
    }
    a->list.len = ka;
    b->list.len = kb;
}

static void print_unequal(struct tsn_buf *out, struct views *expected, struct views *got)
{
    keep_unequal(expected, got);
    if (expected->list.len == 1 && got->list.len == 1) {
        print_differences(out, "label", &expected->list.items[0].labels, &got->list.items[0].labels);
        print_differences(out, "annotation", &expected->list.items[0].annotations, &got->list.items[0].annotations);
        return;
    }
    for (size_t i = 0; i < expected->list.len; i++)
        print_view(out, i ? "-" : "- expected, not firing:\n      -", &expected->list.items[i]);
    for (size_t i = 0; i < got->list.len; i++)
        print_view(out, i ? "+" : "+ firing, not expected:\n      +", &got->list.items[i]);
}

static void sort_views(struct views *views)
{
    if (views->list.len > 1)
        qsort(views->list.items, views->list.len, sizeof *views->list.items, compare_views);
}

static bool same_views(const struct views *a, const struct views *b)
{
    bool same = a->list.len == b->list.len;

    for (size_t i = 0; same && i < a->list.len; i++)
        same = compare_views(&a->list.items[i], &b->list.items[i]) == 0;
    return same;
}

static void check_alert(struct run *run, const struct tsn_alert_test *test)
{
    struct views expected = { 0 }, got = { 0 };
    char time[TSN_DURATION_TEXT];

    for (size_t i = 0; i < test->expected_count; i++) {
        struct alert_view view = { test->expected[i].labels, test->expected[i].annotations };

        tsn_vec_push(&expected.list, view);
    }
    collect_firing(run, test->alertname, &got);
    sort_views(&expected);
    sort_views(&got);
    if (!same_views(&expected, &got)) {
        struct views left = { 0 }, right = { 0 }; /* copies: keep_unequal shortens them */
        struct tsn_buf text = TSN_BUF_INIT;

        for (size_t i = 0; i < expected.list.len; i++)
            tsn_vec_push(&left.list, expected.list.items[i]);
        for (size_t i = 0; i < got.list.len; i++)
            tsn_vec_push(&right.list, got.list.items[i]);
        tsn_format_duration(time, test->eval_time_ms);
        print_unequal(&text, &left, &right);
        fail_test(run, "%s:%u:%u: alert %s at %s: %zu expected, %zu firing%s", run->file->file, test->at.line,
                  test->at.column, test->alertname, time, expected.list.len, got.list.len, tsn_buf_str(&text));
        tsn_buf_release(&text);
        tsn_vec_release(&left.list);
        tsn_vec_release(&right.list);
    }
    for (size_t i = 0; i < got.list.len; i++) {
        tsn_vec_release(&got.list.items[i].labels);
        tsn_vec_release(&got.list.items[i].annotations);
    }
    tsn_vec_release(&got.list);
    tsn_vec_release(&expected.list);
}

/* ---- expressions -------------------------------------------------------------------------- */

static int by_labels(const void *a, const void *b)
{
    const struct tsn_vector_sample *x = a, *y = b;

    return tsn_labels_compare(x->labels, y->labels);
}

static bool same_value(const struct run *run, double a, double b)
{
    if (a == b)
        return true;
    return run->file->fuzzy_compare && (nextafter(a, -INFINITY) == b || nextafter(a, INFINITY) == b);
}

static void print_sample(struct tsn_buf *out, const char *sign, const struct tsn_vector_sample *s)
{
    char value[TSN_DOUBLE_TEXT];

    tsn_format_double(value, sizeof value, s->value, 'g', 21);
    tsn_buf_printf(out, "\n      %s ", sign);
    tsn_labels_format(out, s->labels);
    tsn_buf_printf(out, " %s", value);
}

/* Both sorted by labels. Equal ones are left out; appends nothing if all are equal. */
static void print_samples(const struct run *run, struct tsn_buf *out, const struct tsn_vector_sample *expected,
                          size_t expected_count, const struct tsn_vector_sample *got, size_t got_count)
{
    size_t i = 0, j = 0;

    while (i < expected_count || j < got_count) {
        int order = i == expected_count ? 1
                    : j == got_count    ? -1
                                        : tsn_labels_compare(expected[i].labels, got[j].labels);
        const struct tsn_vector_sample *e = order <= 0 ? &expected[i++] : NULL;
        const struct tsn_vector_sample *g = order >= 0 ? &got[j++] : NULL;

        if (e && g && same_value(run, e->value, g->value))
            continue;
        if (e)
            print_sample(out, "- expected", e);
        if (g)
            print_sample(out, "+ got     ", g);
        if (e && g && isnan(e->value) && isnan(g->value))
            tsn_buf_puts(out, "   (NaN equals nothing in this format, not even NaN)");
    }
}

/* False after failing the test. A histogram never equals a float: it becomes a value no sample has. */
static bool expected_samples(struct run *run, const struct tsn_expr_test *test, struct tsn_vector_sample *out)
{
    for (size_t i = 0; i < test->expected_count; i++) {
        struct tsn_error error = { 0 };
        const char *labels = test->expected[i].labels;

        if (tsn_series_labels_parse(labels, strlen(labels), &out[i].labels, &error) != TSN_OK) {
            fail_test(run, "%s:%u:%u: labels \"%s\": %s", run->file->file, test->at.line, test->at.column, labels,
                      error.message);
            return false;
        }
        out[i].value = test->expected[i].histogram ? NAN : test->expected[i].value;
    }
    if (test->expected_count > 1)
        qsort(out, test->expected_count, sizeof *out, by_labels);
    return true;
}

static enum tsn_err evaluate(struct run *run, const struct tsn_expr_test *test, struct tsn_result *result,
                             struct tsn_error *error)
{
    int64_t at_ms = run->test->start_ms + test->eval_time_ms;
    struct tsn_eval_options options = { .default_step_ms = run->file->evaluation_interval_ms, .start_ms = at_ms,
                                        .end_ms = at_ms };
    struct tsn_storage storage = tsn_memstore_storage(run->store);
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(test->expr, strlen(test->expr), &parse);
    enum tsn_err err;

    if (!query)
        return tsn_error_set(error, TSN_ERR_INVALID, "%u:%u: %s", parse.line, parse.column, parse.message);
    err = run->file->naive ? tsn_eval_instant(query, &storage, at_ms, &options, result, error)
                           : tsn_stream_instant(query, run->store, at_ms, &options, result, error);
    tsn_query_free(&query);
    return err == TSN_OK ? tsn_rule_vector_of(result, at_ms, error) : err;
}

static void check_expr(struct run *run, const struct tsn_expr_test *test)
{
    struct tsn_vector_sample *expected = tsn_calloc(test->expected_count, sizeof *expected);
    struct tsn_buf diff = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    struct tsn_result result;
    char time[TSN_DURATION_TEXT];

    tsn_result_init(&result);
    tsn_format_duration(time, test->eval_time_ms);
    if (evaluate(run, test, &result, &error) != TSN_OK) {
        fail_test(run, "%s:%u:%u: expr \"%s\" at %s: %s", run->file->file, test->at.line, test->at.column, test->expr,
                  time, error.message);
    } else if (expected_samples(run, test, expected)) {
        if (result.vector_len > 1)
            qsort(result.vector, result.vector_len, sizeof *result.vector, by_labels);
        print_samples(run, &diff, expected, test->expected_count, result.vector, result.vector_len);
        if (diff.len)
            fail_test(run, "%s:%u:%u: expr \"%s\" at %s:%s", run->file->file, test->at.line, test->at.column,
                      test->expr, time, tsn_buf_str(&diff));
    }
    tsn_vector_samples_free(expected, test->expected_count);
    tsn_result_release(&result);
    tsn_buf_release(&diff);
}

/* ---- the test ----------------------------------------------------------------------------- */

static size_t rank_of(const struct run *run, const char *group)
{
    for (size_t i = 0; i < run->file->group_order_count; i++)
        if (strcmp(run->file->group_order[i], group) == 0)
            return i;
    return 0; /* as promtool: one that is not named ranks with the first */
}

/* Stable insertion by rank: groups of one rank stay in the order of the files. */
static void order_groups(struct run *run)
{
    run->group_order = tsn_calloc(run->set->group_count, sizeof *run->group_order);
    for (size_t g = 0; g < run->set->group_count; g++) {
        size_t rank = rank_of(run, run->set->groups[g].name), at = g;

        for (; at && rank_of(run, run->set->groups[run->group_order[at - 1]].name) > rank; at--)
            run->group_order[at] = run->group_order[at - 1];
        run->group_order[at] = g;
    }
}

static int64_t last_eval_time(const struct tsn_rule_test *test)
{
    int64_t last = 0;

    for (size_t i = 0; i < test->alert_count; i++)
        last = test->alerts[i].eval_time_ms > last ? test->alerts[i].eval_time_ms : last;
    for (size_t i = 0; i < test->expr_count; i++)
        last = test->exprs[i].eval_time_ms > last ? test->exprs[i].eval_time_ms : last;
    return last;
}

/* One tick of all groups; false if a rule failed. */
static bool tick(struct run *run, int64_t since_ms)
{
    char time[TSN_DURATION_TEXT];
    bool ok = true;

    tsn_format_duration(time, since_ms);
    for (size_t i = 0; i < run->set->group_count; i++) {
        size_t g = run->group_order[i];
        const struct tsn_group *group = &run->set->groups[g];

        if (tsn_rule_evaluator_step(run->evaluator, g, run->test->start_ms + since_ms) == 0)
            continue;
        for (size_t r = 0; r < group->rule_count; r++)
            if (tsn_rule_evaluator_error(run->evaluator, g, r))
                fail_test(run, "%s:%u:%u: rule %s at %s: %s", group->file, group->rules[r].at.line,
                          group->rules[r].at.column, group->rules[r].name, time,
                          tsn_rule_evaluator_error(run->evaluator, g, r));
        ok = false;
    }
    return ok;
}

/* Alert checks that fall between this tick and the next, in order of time, then of the file. */
static void check_alerts(struct run *run, int64_t since_ms)
{
    int64_t end = since_ms + run->file->evaluation_interval_ms, from = since_ms;

    while (from < end) {
        int64_t next = end;

        for (size_t i = 0; i < run->test->alert_count; i++) {
            int64_t t = run->test->alerts[i].eval_time_ms;

            if (t >= from && t < next)
                next = t;
        }
        for (size_t i = 0; next < end && i < run->test->alert_count; i++)
            if (run->test->alerts[i].eval_time_ms == next)
                check_alert(run, &run->test->alerts[i]);
        from = next + 1;
    }
}

static bool well_formed(struct run *run)
{
    for (size_t i = 0; i < run->test->alert_count; i++)
        if (!*run->test->alerts[i].alertname) {
            fail_test(run, "%s:%u:%u: an item under alert_rule_test misses required attribute alertname",
                      run->file->file, run->test->alerts[i].at.line, run->test->alerts[i].at.column);
            return false;
        }
    if (last_eval_time(run->test) / run->file->evaluation_interval_ms < TSN_RULE_TEST_MAX_TICKS)
        return true;
    fail_test(run, "%s:%u:%u: more than %d ticks to the greatest eval_time", run->file->file, run->test->at.line,
              run->test->at.column, TSN_RULE_TEST_MAX_TICKS);
    return false;
}

static void run_test(struct run *run)
{
    struct tsn_rule_eval_options options = { .storage = tsn_memstore_storage(run->store),
                                             .stream = run->file->naive ? NULL : run->store,
                                             .append = append_result,
                                             .append_arg = run->store,
                                             .external_labels = run->external_labels,
                                             .external_url = run->test->external_url,
                                             .eval.default_step_ms = run->file->evaluation_interval_ms };
    int64_t last = last_eval_time(run->test);

    if (!load_series(run) || !well_formed(run))
        return;
    run->evaluator = tsn_rule_evaluator_new(run->set, &options);
    for (int64_t t = 0; t <= last; t += run->file->evaluation_interval_ms) {
        append_till(run, run->test->start_ms + t);
        if (!tick(run, t))
            return;
        check_alerts(run, t);
    }
    for (size_t i = 0; i < run->test->expr_count; i++)
        check_expr(run, &run->test->exprs[i]);
}

static struct tsn_labels *labels_of(const struct tsn_test_labels *list)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;

    tsn_labels_builder_init(&b);
    for (size_t i = 0; i < list->len; i++)
        tsn_labels_builder_set(&b, list->items[i].name, list->items[i].value);
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

bool tsn_rule_test_run(const struct tsn_rule_test_file *file, const struct tsn_rule_test *test,
                       const struct tsn_rule_set *set, struct tsn_test_failures *failures)
{
    struct run run = { .file = file, .test = test, .set = set, .failures = failures };
    size_t before = failures->len;

    run.store = tsn_memstore_new();
    run.external_labels = labels_of(&test->external_labels);
    order_groups(&run);
    run_test(&run);
    for (size_t i = 0; i < run.series_count; i++)
        tsn_series_notation_release(&run.series[i].notation);
    tsn_free(run.series);
    tsn_free(run.group_order);
    tsn_rule_evaluator_free(&run.evaluator);
    tsn_labels_unref(run.external_labels);
    tsn_memstore_free(&run.store);
    return failures->len == before;
}
