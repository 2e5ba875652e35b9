/*
 * template_func: the functions that Prometheus adds to Go's templates.
 *
 * Each takes values already checked against its parameters and gives a value or an error text;
 * the walker puts "error calling NAME: " before it. `query` is the only one that looks outside,
 * through the callback of the environment; its results live until the run ends.
 * Source: Prometheus 3.16 template/template.go and the common library's template helpers, behaviour.
 */
#include "rules/template.h"

#include <inttypes.h>
#include <math.h>

typedef bool function(struct tmpl_call *);

static function fn_query, fn_first, fn_label, fn_value, fn_strvalue, fn_args, fn_re_replace_all, fn_safe_html, fn_match,
    fn_title, fn_to_upper, fn_to_lower, fn_graph_link, fn_table_link, fn_sort_by_label, fn_strip_port, fn_strip_domain,
    fn_humanize, fn_humanize_1024, fn_humanize_duration, fn_humanize_percentage, fn_humanize_timestamp, fn_to_time,
    fn_to_duration, fn_now, fn_path_prefix, fn_external_url, fn_parse_duration, fn_url_query_escape;

const struct tmpl_function tmpl_functions[] = {
    { "query", "s", fn_query },
    { "first", "q", fn_first },
    { "label", "sp", fn_label },
    { "value", "p", fn_value },
    { "strvalue", "p", fn_strvalue },
    { "args", "a*", fn_args },
    { "reReplaceAll", "sss", fn_re_replace_all },
    { "safeHtml", "s", fn_safe_html },
    { "match", "ss", fn_match },
    { "title", "s", fn_title },
    { "toUpper", "s", fn_to_upper },
    { "toLower", "s", fn_to_lower },
    { "graphLink", "s", fn_graph_link },
    { "tableLink", "s", fn_table_link },
    { "sortByLabel", "sq", fn_sort_by_label },
    { "stripPort", "s", fn_strip_port },
    { "stripDomain", "s", fn_strip_domain },
    { "humanize", "a", fn_humanize },
    { "humanize1024", "a", fn_humanize_1024 },
    { "humanizeDuration", "a", fn_humanize_duration },
    { "humanizePercentage", "a", fn_humanize_percentage },
    { "humanizeTimestamp", "a", fn_humanize_timestamp },
    { "toTime", "a", fn_to_time },
    { "toDuration", "a", fn_to_duration },
    { "now", "", fn_now },
    { "pathPrefix", "", fn_path_prefix },
    { "externalURL", "", fn_external_url },
    { "parseDuration", "s", fn_parse_duration },
    { "urlQueryEscape", "s", fn_url_query_escape },
    { NULL, NULL, NULL },
};

static const struct tmpl_function *find_in(const struct tmpl_function *table, struct tmpl_str name)
{
    for (; table->name; table++)
        if (strlen(table->name) == name.len && !memcmp(table->name, name.text, name.len))
            return table;
    return NULL;
}

const struct tmpl_function *tmpl_function_find(struct tmpl_str name)
{
    const struct tmpl_function *f = find_in(tmpl_functions, name);

    return f ? f : find_in(tmpl_builtins, name);
}

bool tmpl_refuse(struct tmpl_call *c, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    c->message = tmpl_keep(c->run, &text).text;
    return false;
}

static bool give_text(struct tmpl_call *c, struct tsn_buf *text)
{
    *c->out = tmpl_string(tmpl_keep(c->run, text));
    return true;
}

/* ---- query results ------------------------------------------------------------------------ */

static bool fn_query(struct tmpl_call *c)
{
    const char *expr = tsn_arena_strndup(&c->run->arena, c->args[0].u.str.text, c->args[0].u.str.len);
    struct tsn_error error = { 0 };
    struct tsn_result *result;

    if (!c->run->env->query)
        return tmpl_refuse(c, "query is not available here");
    result = tsn_calloc(1, sizeof *result);
    tsn_vec_push(&c->run->results, result);
    if (c->run->env->query(c->run->env->query_arg, expr, result, &error))
        return tmpl_refuse(c, "%s", error.message);
    *c->out = (struct tmpl_value){ .kind = VAL_QUERY };
    if (result->type == TSN_TYPE_SCALAR) { /* as Prometheus's query function: one element, no labels */
        result->vector = tsn_calloc(1, sizeof *result->vector);
        result->vector[0] =
            (struct tsn_vector_sample){ tsn_labels_empty(), c->run->env->now_ms, result->scalar };
        result->vector_len = result->vector_cap = 1;
        result->type = TSN_TYPE_VECTOR;
    }
    if (result->type != TSN_TYPE_VECTOR)
        return tmpl_refuse(c, "rule result is not a vector or scalar");
    c->out->u.query.len = result->vector_len;
    c->out->u.query.items = tsn_arena_alloc(&c->run->arena, result->vector_len * sizeof *c->out->u.query.items);
    for (size_t i = 0; i < result->vector_len; i++)
        c->out->u.query.items[i] = &result->vector[i];
    return true;
}

static bool fn_first(struct tmpl_call *c)
{
    if (!c->args[0].u.query.len)
        return tmpl_refuse(c, "first() called on vector with no elements");
    *c->out = (struct tmpl_value){ .kind = VAL_SAMPLE, .u.sample = c->args[0].u.query.items[0] };
    return true;
}

static bool nil_sample(struct tmpl_call *c)
{
    return tmpl_refuse(c, "runtime error: invalid memory address or nil pointer dereference");
}

static struct tmpl_value label_of(const struct tsn_vector_sample *s, struct tmpl_str name)
{
    const struct tsn_label *label = tsn_labels_find(s->labels, name.text, name.len);

    return label ? tmpl_string((struct tmpl_str){ label->value, label->value_len }) : tmpl_cstring("");
}

static bool fn_label(struct tmpl_call *c)
{
    if (!c->args[1].u.sample)
        return nil_sample(c);
    *c->out = label_of(c->args[1].u.sample, c->args[0].u.str);
    return true;
}

static bool fn_value(struct tmpl_call *c)
{
    if (!c->args[0].u.sample)
        return nil_sample(c);
    *c->out = tmpl_float(c->args[0].u.sample->value);
    return true;
}

static bool fn_strvalue(struct tmpl_call *c)
{
    if (!c->args[0].u.sample)
        return nil_sample(c);
    *c->out = label_of(c->args[0].u.sample, (struct tmpl_str){ "__value__", 9 });
    return true;
}

static bool sorts_before(const struct tsn_vector_sample *a, const struct tsn_vector_sample *b, struct tmpl_str label)
{
    struct tmpl_value va = label_of(a, label), vb = label_of(b, label);
    size_t n = va.u.str.len < vb.u.str.len ? va.u.str.len : vb.u.str.len;
    int c = n ? memcmp(va.u.str.text, vb.u.str.text, n) : 0;

    return c ? c < 0 : va.u.str.len < vb.u.str.len;
}

/* Stable, bottom up; sorts in place as Prometheus's does. */
static bool fn_sort_by_label(struct tmpl_call *c)
{
    const struct tsn_vector_sample **items = c->args[1].u.query.items, **other;
    size_t len = c->args[1].u.query.len;

    other = tsn_arena_alloc(&c->run->arena, (len ? len : 1) * sizeof(struct tsn_vector_sample *));
    for (size_t width = 1; width < len; width *= 2) {
        for (size_t lo = 0; lo < len; lo += 2 * width) {
            size_t mid = lo + width < len ? lo + width : len, hi = lo + 2 * width < len ? lo + 2 * width : len;
            size_t a = lo, b = mid;

            for (size_t k = lo; k < hi; k++)
                other[k] = a < mid && (b >= hi || !sorts_before(items[b], items[a], c->args[0].u.str)) ? items[a++]
                                                                                                   : items[b++];
        }
        memcpy(items, other, len * sizeof *items);
    }
    *c->out = c->args[1];
    return true;
}

static bool fn_args(struct tmpl_call *c)
{
    struct tmpl_value *copy = tsn_arena_alloc(&c->run->arena, (c->count ? c->count : 1) * sizeof *copy);

    if (c->count)
        memcpy(copy, c->args, c->count * sizeof *copy);
    *c->out = (struct tmpl_value){ .kind = VAL_ARGS, .u.args = { copy, c->count } };
    return true;
}

/* ---- text --------------------------------------------------------------------------------- */

static const char *cstr(struct tmpl_call *c, const struct tmpl_value *v)
{
    return tsn_arena_strndup(&c->run->arena, v->u.str.text, v->u.str.len);
}

/* RE2 and Go's regexp find the same mistakes and name them differently. */
static const char *regexp_error(struct tmpl_call *c, const char *message)
{
    static const struct {
        const char *re2, *go;
    } words[] = {
        { "missing ]: ", "missing closing ]: " },
        { "missing ): ", "missing closing ): " },
        { "unexpected ): ", "unexpected ): " },
        { "trailing \\: ", "trailing backslash at end of expression: " },
        { "no argument for repetition operator: ", "missing argument to repetition operator: " },
        { "invalid repetition size: ", "invalid repeat count: " },
        { "bad repetition operator: ", "invalid nested repetition operator: " },
        { "invalid perl operator: ", "invalid or unsupported Perl syntax: " },
        { "invalid named capture group: ", "invalid named capture: " },
        { "invalid escape sequence: ", "invalid escape sequence: " },
        { "invalid character class range: ", "invalid character class range: " },
        { "invalid character class: ", "invalid character class: " },
    };
    static const char lead[] = "error parsing regexp: ";

    if (!strncmp(message, lead, sizeof lead - 1))
        message += sizeof lead - 1;
    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i].re2);

        if (!strncmp(message, words[i].re2, n))
            return tsn_arena_printf(&c->run->arena, "%s`%s`", words[i].go, message + n);
    }
    return tsn_arena_strdup(&c->run->arena, message);
}

static bool fn_re_replace_all(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    const char *pattern = cstr(c, &c->args[0]);

    if (tsn_regex_replace_all(pattern, cstr(c, &c->args[1]), cstr(c, &c->args[2]), &text, &error)) {
        tsn_buf_release(&text);
        return tmpl_refuse(c, "regexp: Compile(`%s`): error parsing regexp: %s", pattern,
                           regexp_error(c, error.message));
    }
    return give_text(c, &text);
}

static bool fn_match(struct tmpl_call *c)
{
    struct tsn_error error = { 0 };
    bool found = false;

    if (tsn_regex_search(cstr(c, &c->args[0]), cstr(c, &c->args[1]), &found, &error))
        return tmpl_refuse(c, "error parsing regexp: %s", regexp_error(c, error.message));
    *c->out = tmpl_bool(found);
    return true;
}

static bool fn_safe_html(struct tmpl_call *c)
{
    *c->out = c->args[0];
    c->out->kind = VAL_HTML;
    return true;
}

static bool transform(struct tmpl_call *c, void (*how)(struct tsn_buf *, struct tmpl_str))
{
    struct tsn_buf text = TSN_BUF_INIT;

    how(&text, c->args[0].u.str);
    return give_text(c, &text);
}

#define TRANSFORM(name, how)                                                                              \
    static bool name(struct tmpl_call *c)                                                                 \
    {                                                                                                     \
        return transform(c, how);                                                                         \
    }
TRANSFORM(fn_title, tmpl_title)
TRANSFORM(fn_to_upper, tmpl_upper)
TRANSFORM(fn_to_lower, tmpl_lower)
TRANSFORM(fn_strip_port, tmpl_strip_port)
TRANSFORM(fn_strip_domain, tmpl_strip_domain)
TRANSFORM(fn_url_query_escape, tmpl_query_escape)

static void put_link(struct tsn_buf *out, struct tmpl_str expr, int tab)
{
    tsn_buf_puts(out, "/graph?g0.expr=");
    tmpl_query_escape(out, expr);
    tsn_buf_printf(out, "&g0.tab=%d", tab);
}

static void graph_link(struct tsn_buf *out, struct tmpl_str expr)
{
    put_link(out, expr, 0);
}

static void table_link(struct tsn_buf *out, struct tmpl_str expr)
{
    put_link(out, expr, 1);
}
TRANSFORM(fn_graph_link, graph_link)
TRANSFORM(fn_table_link, table_link)

static bool fn_external_url(struct tmpl_call *c)
{
    *c->out = tmpl_cstring(c->run->env->external_url ? c->run->env->external_url : "");
    return true;
}

static bool fn_path_prefix(struct tmpl_call *c)
{
    const char *url = c->run->env->external_url ? c->run->env->external_url : "";
    const char *host = strstr(url, "://"), *path = strchr(host ? host + 3 : url, '/');
    size_t len = path ? strcspn(path, "?#") : 0;

    *c->out = path ? tmpl_string((struct tmpl_str){ path, len }) : tmpl_cstring("");
    return true;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static bool to_float(struct tmpl_call *c, const struct tmpl_value *v, double *out)
{
    struct tsn_buf quoted = TSN_BUF_INIT;

    switch (v->kind) {
    case VAL_FLOAT: *out = v->u.real; return true;
    case VAL_INT:
        if (v->type && strcmp(v->type, "int64"))
            break;
        *out = (double)v->u.integer;
        return true;
    case VAL_DURATION:
        if (!v->type)
            break;
        *out = (double)v->u.integer / 1e9;
        return true;
    case VAL_STRING:
        if (tsn_parse_double(v->u.str.text, v->u.str.len, out)) {
            if (!isinf(*out) || memchr(v->u.str.text, 'f', v->u.str.len) || memchr(v->u.str.text, 'F', v->u.str.len))
                return true;
        }
        tmpl_quote(&quoted, v->u.str, '"', false);
        tmpl_refuse(c, "strconv.ParseFloat: parsing %s: %s", tsn_buf_str(&quoted),
               tsn_parse_double(v->u.str.text, v->u.str.len, out) ? "value out of range" : "invalid syntax");
        tsn_buf_release(&quoted);
        return false;
    default: break;
    }
    return tmpl_refuse(c, "can't convert %s to float", tmpl_type_name(v));
}

/* %.4g and what follows. */
static void put_4g(struct tsn_buf *out, double v, const char *suffix)
{
    struct tmpl_value arg = tmpl_float(v);

    tmpl_sprintf(out, (struct tmpl_str){ "%.4g", 4 }, &arg, 1);
    tsn_buf_puts(out, suffix);
}

static const char *scale_down(double *v, const char *const prefixes[8], double by)
{
    const char *prefix = "";

    for (int i = 0; i < 8 && fabs(*v) >= by; i++) {
        prefix = prefixes[i];
        *v /= by;
    }
    return prefix;
}

static const char *scale_up(double *v)
{
    static const char *const prefixes[8] = { "m", "u", "n", "p", "f", "a", "z", "y" };
    const char *prefix = "";

    for (int i = 0; i < 8 && fabs(*v) < 1; i++) {
        prefix = prefixes[i];
        *v *= 1000;
    }
    return prefix;
}

static bool fn_humanize(struct tmpl_call *c)
{
    static const char *const prefixes[8] = { "k", "M", "G", "T", "P", "E", "Z", "Y" };
    struct tsn_buf text = TSN_BUF_INIT;
    const char *prefix = "";
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    if (v != 0 && isfinite(v))
        prefix = fabs(v) >= 1 ? scale_down(&v, prefixes, 1000) : scale_up(&v);
    put_4g(&text, v, prefix);
    return give_text(c, &text);
}

static bool fn_humanize_1024(struct tmpl_call *c)
{
    static const char *const prefixes[8] = { "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi" };
    struct tsn_buf text = TSN_BUF_INIT;
    const char *prefix = "";
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    if (fabs(v) > 1 && isfinite(v))
        prefix = scale_down(&v, prefixes, 1024);
    put_4g(&text, v, prefix);
    return give_text(c, &text);
}

static bool fn_humanize_percentage(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    put_4g(&text, v * 100, "%");
    return give_text(c, &text);
}

static void put_long_duration(struct tsn_buf *out, double v)
{
    const char *sign = v < 0 ? "-" : "";
    int64_t d = fabs(v) < 9.2e18 ? (int64_t)fabs(v) : INT64_MIN;
    int64_t s = d % 60, m = d / 60 % 60, h = d / 3600 % 24, days = d / 86400;

    if (days)
        tsn_buf_printf(out, "%s%" PRId64 "d %" PRId64 "h %" PRId64 "m %" PRId64 "s", sign, days, h, m, s);
    else if (h)
        tsn_buf_printf(out, "%s%" PRId64 "h %" PRId64 "m %" PRId64 "s", sign, h, m, s);
    else if (m)
        tsn_buf_printf(out, "%s%" PRId64 "m %" PRId64 "s", sign, m, s);
    else {
        tsn_buf_puts(out, sign);
        put_4g(out, fabs(v), "s");
    }
}

static bool fn_humanize_duration(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;
    const char *prefix;
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    if (!isfinite(v)) {
        put_4g(&text, v, "");
    } else if (v == 0) {
        put_4g(&text, v, "s");
    } else if (fabs(v) >= 1) {
        put_long_duration(&text, v);
    } else {
        prefix = scale_up(&v);
        put_4g(&text, v, prefix);
        tsn_buf_putc(&text, 's');
    }
    return give_text(c, &text);
}

/* ---- times -------------------------------------------------------------------------------- */

static bool to_time_ms(struct tmpl_call *c, double v, int64_t *ms)
{
    double ns = v * 1e9;

    if (ns > 9223372036854775807.0 || ns < -9223372036854775808.0) {
        struct tmpl_value value = tmpl_float(v);
        struct tsn_buf text = TSN_BUF_INIT;

        tmpl_print_action(&text, &value);
        tmpl_refuse(c, "%s cannot be represented as a nanoseconds timestamp since it overflows int64",
               tsn_buf_str(&text));
        tsn_buf_release(&text);
        return false;
    }
    *ms = ns >= 9223372036854775807.0 ? INT64_MIN / 1000000 : (int64_t)ns / 1000000;
    return true;
}

static bool fn_humanize_timestamp(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;
    int64_t ms = 0;
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    if (!isfinite(v)) {
        put_4g(&text, v, "");
        return give_text(c, &text);
    }
    if (!to_time_ms(c, v, &ms))
        return false;
    tmpl_time_text(&text, ms);
    return give_text(c, &text);
}

static bool fn_to_time(struct tmpl_call *c)
{
    int64_t ms = 0;
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    if (!isfinite(v))
        return tmpl_refuse(c, "value is NaN or Inf");
    if (!to_time_ms(c, v, &ms))
        return false;
    *c->out = (struct tmpl_value){ .kind = VAL_TIME, .u.integer = ms };
    return true;
}

static bool fn_to_duration(struct tmpl_call *c)
{
    double v;

    if (!to_float(c, &c->args[0], &v))
        return false;
    v *= 1e9;
    *c->out = (struct tmpl_value){ .kind = VAL_DURATION };
    c->out->u.integer = fabs(v) < 9223372036854775808.0 ? (int64_t)v : INT64_MIN; /* as amd64 converts */
    return true;
}

static bool fn_now(struct tmpl_call *c)
{
    *c->out = tmpl_float((double)c->run->env->now_ms / 1000.0);
    return true;
}

/* Says as Prometheus does whether it is a unit that is unknown, or the whole. */
static bool bad_duration(struct tmpl_call *c, struct tmpl_str s)
{
    static const char *const units[] = { "ms", "s", "m", "h", "d", "w", "y" };
    struct tsn_buf quoted = TSN_BUF_INIT, unit = TSN_BUF_INIT;
    bool known = true;
    size_t at = 0, end;

    tmpl_quote(&quoted, s, '"', false);
    while (at < s.len && s.text[at] >= '0' && s.text[at] <= '9')
        at++;
    while (known && at && at < s.len) {
        for (end = at; end < s.len && !(s.text[end] >= '0' && s.text[end] <= '9'); end++)
            ;
        known = false;
        for (size_t i = 0; i < TSN_ARRAY_LEN(units); i++)
            known |= strlen(units[i]) == end - at && !memcmp(units[i], s.text + at, end - at);
        if (!known)
            tmpl_quote(&unit, (struct tmpl_str){ s.text + at, end - at }, '"', false);
        at = end;
        while (at < s.len && s.text[at] >= '0' && s.text[at] <= '9')
            at++;
    }
    if (known)
        tmpl_refuse(c, "not a valid duration string: %s", tsn_buf_str(&quoted));
    else
        tmpl_refuse(c, "unknown unit %s in duration %s", tsn_buf_str(&unit), tsn_buf_str(&quoted));
    tsn_buf_release(&quoted);
    tsn_buf_release(&unit);
    return false;
}

static bool fn_parse_duration(struct tmpl_call *c)
{
    struct tmpl_str s = c->args[0].u.str;
    bool negative = s.len && s.text[0] == '-';
    int64_t ms;

    s.text += negative;
    s.len -= negative;
    if (!s.len)
        return tmpl_refuse(c, "empty duration string");
    if (!tsn_parse_duration(s.text, s.len, &ms))
        return bad_duration(c, s);
    if (ms > INT64_MAX / 1000000)
        return tmpl_refuse(c, "duration out of range");
    *c->out = tmpl_float((double)(ms * 1000000) / 1e9 * (negative ? -1 : 1));
    return true;
}
