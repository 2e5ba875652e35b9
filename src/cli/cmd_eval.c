/*
 * eval: evaluates expressions over given samples, without a broker.
 *
 * --bulk reads JSON lines (a case each: loads, eval) from standard input and writes a JSON line for
 * each; nothing carries over between lines, and a line that is no case gives an error line of its
 * own. The single form evaluates one expression over the loads of a file in the same format.
 * Both go by the plans that rules run on live; --naive takes the evaluator that is their oracle.
 */
#include "cli/cli.h"
#include "codec/labels_json.h"
#include "tocsin/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 30, MAX_STEPS = 1000000 };

/* 2^60 ms, 36 million years: further away sums with offsets and ranges would overflow. */
#define TIME_MAX_MS (INT64_C(1) << 60)

static bool in_time(int64_t ms) { return ms >= -TIME_MAX_MS && ms <= TIME_MAX_MS; }

/* A number, "NaN", "+Inf", "-Inf" or "stale"; false: no sample (null) or nonsense (*bad). */
static bool case_value(const json_t *v, double *out, bool *bad)
{
    const char *text = json_string_value(v);

    if (json_is_number(v)) {
        *out = json_number_value(v);
        return true;
    }
    if (text && strcmp(text, "stale") == 0) {
        *out = tsn_stale();
        return true;
    }
    if (text && tsn_parse_double(text, strlen(text), out))
        return true;
    *bad = *bad || !json_is_null(v);
    return false;
}

static enum tsn_err load_series(struct tsn_memstore *store, const json_t *loads, struct tsn_error *error)
{
    size_t i, n;
    json_t *load, *value;

    json_array_foreach(loads, i, load) {
        struct tsn_labels *labels = tsn_labels_from_json(json_object_get(load, "series"));
        int64_t start = json_integer_value(json_object_get(load, "start"));
        int64_t step = json_integer_value(json_object_get(load, "step"));
        int64_t at = start;
        bool bad = false, timely = in_time(start) && in_time(step);
        double number;

        json_array_foreach(json_object_get(load, "values"), n, value) {
            if (timely && case_value(value, &number, &bad))
                tsn_memstore_add(store, labels, at, number);
            timely = timely && in_time(at += step);
        }
        tsn_labels_unref(labels);
        if (bad)
            return tsn_error_set(error, TSN_ERR_INVALID, "load %zu holds a value that is no number", i);
        if (!timely)
            return tsn_error_set(error, TSN_ERR_INVALID, "load %zu goes beyond %lld ms", i, (long long)TIME_MAX_MS);
    }
    return TSN_OK;
}

static void put_number(struct tsn_buf *out, double v)
{
    char text[TSN_DOUBLE_TEXT];

    tsn_format_double(text, sizeof text, v, 'g', 21);
    tsn_buf_printf(out, isfinite(v) ? "%s" : "\"%s\"", text);
}

static void put_result(struct tsn_buf *out, const struct tsn_result *r)
{
    switch (r->type) {
    case TSN_TYPE_SCALAR:
        tsn_buf_puts(out, "\"type\":\"scalar\",\"value\":");
        put_number(out, r->scalar);
        return;
    case TSN_TYPE_STRING:
        tsn_buf_puts(out, "\"type\":\"string\",\"value\":");
        tsn_buf_json_string(out, r->string, strlen(r->string));
        return;
    case TSN_TYPE_VECTOR:
        tsn_buf_puts(out, "\"type\":\"vector\",\"result\":[");
        for (size_t i = 0; i < r->vector_len; i++) {
            tsn_buf_puts(out, i ? ",{\"labels\":" : "{\"labels\":");
            tsn_labels_json(out, r->vector[i].labels);
            tsn_buf_puts(out, ",\"value\":");
            put_number(out, r->vector[i].value);
            tsn_buf_putc(out, '}');
        }
        tsn_buf_putc(out, ']');
        return;
    default: break;
    }
    tsn_buf_puts(out, "\"type\":\"matrix\",\"result\":[");
    for (size_t i = 0; i < r->matrix_len; i++) {
        tsn_buf_puts(out, i ? ",{\"labels\":" : "{\"labels\":");
        tsn_labels_json(out, r->matrix[i].labels);
        tsn_buf_puts(out, ",\"points\":[");
        for (size_t n = 0; n < r->matrix[i].count; n++) {
            tsn_buf_printf(out, "%s[%lld,", n ? "," : "", (long long)r->matrix[i].points[n].ts_ms);
            put_number(out, r->matrix[i].points[n].value);
            tsn_buf_putc(out, ']');
        }
        tsn_buf_puts(out, "]}");
    }
    tsn_buf_putc(out, ']');
}

struct when {
    bool range, naive;
    int64_t at_ms, start_ms, end_ms, step_ms;
};

static enum tsn_err evaluate(struct tsn_memstore *store, const char *expr, const struct when *when,
                             struct tsn_result *result, struct tsn_error *error)
{
    struct tsn_storage storage = tsn_memstore_storage(store);
    struct tsn_parse_error parse;
    struct tsn_query *query = tsn_query_parse(expr, strlen(expr), &parse);
    enum tsn_err err;

    if (!query)
        return tsn_error_set(error, TSN_ERR_INVALID, "%u:%u: parse error: %s", parse.line, parse.column, parse.message);
    if (!in_time(when->at_ms) || !in_time(when->start_ms) || !in_time(when->end_ms))
        err = tsn_error_set(error, TSN_ERR_INVALID, "a time is beyond %lld ms", (long long)TIME_MAX_MS);
    else if (when->range && when->step_ms > 0 && (when->end_ms - when->start_ms) / when->step_ms >= MAX_STEPS)
        err = tsn_error_set(error, TSN_ERR_LIMIT, "the range has more than %d steps", MAX_STEPS);
    else if (when->range && when->step_ms <= 0)
        err = tsn_error_set(error, TSN_ERR_INVALID, "the step must be greater than 0");
    else if (when->naive)
        err = when->range ? tsn_eval_range(query, &storage, when->start_ms, when->end_ms, when->step_ms, NULL, result, error)
                          : tsn_eval_instant(query, &storage, when->at_ms, NULL, result, error);
    else
        err = when->range ? tsn_stream_range(query, store, when->start_ms, when->end_ms, when->step_ms, NULL, result, error)
                          : tsn_stream_instant(query, store, when->at_ms, NULL, result, error);
    tsn_query_free(&query);
    return err;
}

static enum tsn_err run_case(const json_t *root, bool naive, struct tsn_result *result, struct tsn_error *error)
{
    const json_t *ev = json_object_get(root, "eval");
    const char *expr = json_string_value(json_object_get(ev, "expr"));
    const char *kind = json_string_value(json_object_get(ev, "kind"));
    struct when when = { kind && strcmp(kind, "range") == 0, naive, json_integer_value(json_object_get(ev, "at_ms")),
                         json_integer_value(json_object_get(ev, "start_ms")),
                         json_integer_value(json_object_get(ev, "end_ms")),
                         json_integer_value(json_object_get(ev, "step_ms")) };
    struct tsn_memstore *store;
    enum tsn_err err;

    if (!expr)
        return tsn_error_set(error, TSN_ERR_INVALID, "the case has no eval.expr");
    store = tsn_memstore_new();
    err = load_series(store, json_object_get(root, "loads"), error);
    if (!err)
        err = evaluate(store, expr, &when, result, error);
    tsn_memstore_free(&store);
    return err;
}

static void bulk_line(const char *line, size_t len, uint64_t number, bool naive)
{
    json_error_t json;
    json_t *root = json_loadb(line, len, JSON_ALLOW_NUL, &json);
    const char *id = json_string_value(json_object_get(root, "id"));
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_result result;
    struct tsn_error error;
    enum tsn_err err;

    tsn_result_init(&result);
    err = root ? run_case(root, naive, &result, &error)
               : tsn_error_set(&error, TSN_ERR_INVALID, "line %llu: %s", (unsigned long long)number, json.text);
    tsn_buf_puts(&out, "{\"id\":");
    tsn_buf_json_string(&out, id ? id : "", id ? strlen(id) : 0);
    tsn_buf_putc(&out, ',');
    if (err) {
        tsn_buf_puts(&out, "\"type\":\"error\",\"error\":");
        tsn_buf_json_string(&out, error.message, strlen(error.message));
    } else {
        put_result(&out, &result);
    }
    tsn_buf_puts(&out, "}\n");
    fwrite(out.data, 1, out.len, stdout);
    tsn_buf_release(&out);
    tsn_result_release(&result);
    json_decref(root);
}

static int run_bulk(bool naive)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    uint64_t number = 0;

    while ((len = getline(&line, &cap, stdin)) >= 0) {
        number++;
        while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
            len--;
        if (len)
            bulk_line(line, (size_t)len, number, naive);
    }
    free(line);
    if (fflush(stdout) || ferror(stdin))
        return TSN_EXIT_FAILED;
    return TSN_EXIT_OK;
}

static bool parse_time(const char *option, const char *text, int64_t *ms)
{
    double seconds;

    if (tsn_parse_rfc3339(text, strlen(text), ms))
        return true;
    if (tsn_parse_double(text, strlen(text), &seconds) && fabs(seconds) < 1e12) {
        *ms = (int64_t)llround(seconds * 1000);
        return true;
    }
    fprintf(stderr, "tocsin: --%s: '%s' is neither RFC 3339 nor seconds since 1970\n", option, text);
    return false;
}

static void print_table(const struct tsn_result *r)
{
    struct tsn_buf line = TSN_BUF_INIT;
    char number[TSN_DOUBLE_TEXT];

    if (r->type == TSN_TYPE_SCALAR) {
        tsn_format_double(number, sizeof number, r->scalar, 'g', 21);
        printf("%s\n", number);
    } else if (r->type == TSN_TYPE_STRING) {
        printf("%s\n", r->string);
    }
    for (size_t i = 0; i < r->vector_len; i++) {
        tsn_buf_reset(&line);
        tsn_labels_format(&line, r->vector[i].labels);
        tsn_format_double(number, sizeof number, r->vector[i].value, 'g', 21);
        printf("%s  %s\n", line.data, number);
    }
    for (size_t i = 0; i < r->matrix_len; i++) {
        tsn_buf_reset(&line);
        tsn_labels_format(&line, r->matrix[i].labels);
        printf("%s\n", line.data);
        for (size_t n = 0; n < r->matrix[i].count; n++) {
            char stamp[TSN_RFC3339_TEXT];

            tsn_format_rfc3339(stamp, r->matrix[i].points[n].ts_ms);
            tsn_format_double(number, sizeof number, r->matrix[i].points[n].value, 'g', 21);
            printf("  %s  %s\n", stamp, number);
        }
    }
    tsn_buf_release(&line);
}

/* A file of JSON lines, each {"series":{…},"start":ms,"step":ms,"values":[…]} or a whole case. */
static enum tsn_err load_file(struct tsn_memstore *store, const char *path, struct tsn_error *error)
{
    size_t len = 0, at = 0, number = 0;
    char *text = tsn_cli_read_file(path, MAX_FILE, &len, error);
    enum tsn_err err = text ? TSN_OK : error->code;

    while (at < len && !err) {
        size_t end = at;
        json_error_t json;
        json_t *root, *loads;

        while (end < len && text[end] != '\n')
            end++;
        number++;
        if (end > at) {
            root = json_loadb(text + at, end - at, 0, &json);
            loads = json_object_get(root, "loads") ? json_incref(json_object_get(root, "loads")) : json_pack("[O]", root);
            err = root ? load_series(store, loads, error)
                       : tsn_error_set(error, TSN_ERR_INVALID, "%s:%zu:%d: %s", path, number, json.column, json.text);
            json_decref(loads);
            json_decref(root);
        }
        at = end + 1;
    }
    tsn_free(text);
    return err;
}

int tsn_cmd_eval(int argc, char **argv)
{
    bool bulk = false;
    const char *data = NULL, *at = NULL, *start = NULL, *end = NULL, *output = "table";
    struct when when = { .step_ms = 60000 };
    const struct tsn_option options[] = {
        { "bulk", TSN_OPT_FLAG, &bulk, NULL, "cases as JSON lines on standard input, a result line each", 0, 0 },
        { "data", TSN_OPT_TEXT, &data, "FILE", "samples: JSON lines {series,start,step,values}; - for standard input", 0, 0 },
        { "at", TSN_OPT_TEXT, &at, "TIME", "instant to evaluate at: RFC 3339 or seconds (default 0)", 0, 0 },
        { "start", TSN_OPT_TEXT, &start, "TIME", "first step of a range", 0, 0 },
        { "end", TSN_OPT_TEXT, &end, "TIME", "last step of a range", 0, 0 },
        { "step", TSN_OPT_DURATION, &when.step_ms, "DURATION", "distance of steps (default 1m)", 1, INT64_MAX },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the result (default table)", 0, 0 },
        { "naive", TSN_OPT_FLAG, &when.naive, NULL, "by the evaluator that reads every sample anew, the oracle of the plans", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "eval [--bulk | EXPR --data FILE --at TIME]",
                                 "Evaluates PromQL over given samples, as a Prometheus server without feature flags would.\n\n"
                                 "Examples:\n"
                                 "  tocsin eval --bulk < cases.jsonl > results.jsonl\n"
                                 "  tocsin eval 'sum(rate(x[5m]))' --data x.jsonl --start 0 --end 3600 --step 1m");
    struct tsn_memstore *store;
    struct tsn_result result;
    struct tsn_error error;
    enum tsn_err err;

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (bulk)
        return run_bulk(when.naive);
    if (operands != 1 || (strcmp(output, "table") != 0 && strcmp(output, "json") != 0)) {
        fprintf(stderr, "tocsin: eval takes one expression (or --bulk); --output is table or json\n");
        return TSN_EXIT_USAGE;
    }
    when.range = start || end;
    if ((at && !parse_time("at", at, &when.at_ms)) || (start && !parse_time("start", start, &when.start_ms)) ||
        (end && !parse_time("end", end, &when.end_ms)))
        return TSN_EXIT_USAGE;
    store = tsn_memstore_new();
    tsn_result_init(&result);
    err = data ? load_file(store, data, &error) : TSN_OK;
    if (!err)
        err = evaluate(store, argv[1], &when, &result, &error);
    if (err) {
        fprintf(stderr, "tocsin: %s\n", error.message);
    } else if (strcmp(output, "json") == 0) {
        struct tsn_buf out = TSN_BUF_INIT;

        tsn_buf_putc(&out, '{');
        put_result(&out, &result);
        printf("%s}\n", out.data);
        tsn_buf_release(&out);
    } else {
        print_table(&result);
    }
    tsn_result_release(&result);
    tsn_memstore_free(&store);
    return err == TSN_OK ? TSN_EXIT_OK : err == TSN_ERR_INVALID ? TSN_EXIT_INVALID : TSN_EXIT_FAILED;
}
