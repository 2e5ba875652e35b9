/*
 * template_value: values, their Go names and their truth.
 *
 * The kinds are the ones that Prometheus's templates can meet: what $labels, $value, query and the
 * functions give. Where Go has a pointer (a sample, a time, a duration) the name says so, since
 * error texts and %T show it.
 */
#include "rules/template.h"

struct tmpl_value tmpl_string(struct tmpl_str text)
{
    return (struct tmpl_value){ .kind = VAL_STRING, .u.str = text };
}

struct tmpl_value tmpl_cstring(const char *text)
{
    return tmpl_string((struct tmpl_str){ text, strlen(text) });
}

struct tmpl_value tmpl_int(int64_t value)
{
    return (struct tmpl_value){ .kind = VAL_INT, .u.integer = value };
}

struct tmpl_value tmpl_float(double value)
{
    return (struct tmpl_value){ .kind = VAL_FLOAT, .u.real = value };
}

struct tmpl_value tmpl_bool(bool value)
{
    return (struct tmpl_value){ .kind = VAL_BOOL, .u.boolean = value };
}

struct tmpl_str tmpl_keep(struct tmpl_run *run, struct tsn_buf *buf)
{
    struct tmpl_str out = { tsn_arena_strndup(&run->arena, tsn_buf_str(buf), buf->len), buf->len };

    tsn_buf_release(buf);
    return out;
}

const char *tmpl_type_name(const struct tmpl_value *v)
{
    if (v->type)
        return v->type;
    switch (v->kind) {
    case VAL_INVALID:
    case VAL_MISSING: return "<nil>";
    case VAL_BOOL: return "bool";
    case VAL_INT: return "int";
    case VAL_UINT8: return "uint8";
    case VAL_FLOAT: return "float64";
    case VAL_COMPLEX: return "complex128";
    case VAL_STRING: return "string";
    case VAL_HTML: return "template.HTML";
    case VAL_LABELS: return "map[string]string";
    case VAL_ARGS: return "map[string]interface {}";
    case VAL_QUERY: return "template.queryResult";
    case VAL_SAMPLE: return "*template.sample";
    case VAL_TIME: return "*time.Time";
    case VAL_DURATION: return "*time.Duration";
    case VAL_DATA:
        return "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL "
               "string; Value interface {} }";
    }
    return "";
}

bool tmpl_truth(const struct tmpl_value *v)
{
    switch (v->kind) {
    case VAL_INVALID:
    case VAL_MISSING: return false;
    case VAL_BOOL: return v->u.boolean;
    case VAL_INT:
    case VAL_UINT8: return v->u.integer != 0;
    case VAL_FLOAT: return v->u.real != 0;
    case VAL_COMPLEX: return v->u.complex.re != 0 || v->u.complex.im != 0;
    case VAL_STRING:
    case VAL_HTML: return v->u.str.len > 0;
    case VAL_LABELS: return v->u.labels && v->u.labels->count > 0;
    case VAL_ARGS: return v->u.args.len > 0;
    case VAL_QUERY: return v->u.query.len > 0;
    case VAL_SAMPLE: return v->u.sample != NULL;
    case VAL_DURATION: return !v->type || v->u.integer != 0; /* a pointer unless the type says else */
    case VAL_TIME:
    case VAL_DATA: return true;
    }
    return false;
}

bool tmpl_is_text(const struct tmpl_value *v)
{
    return v->kind == VAL_STRING || v->kind == VAL_HTML;
}

void tmpl_args_key(char out[32], size_t index)
{
    snprintf(out, 32, "arg%zu", index);
}

/* The index whose key stands at `position` when keys are sorted as text: arg0 arg1 arg10 arg2 … */
size_t tmpl_args_sorted(size_t count, size_t position)
{
    for (size_t i = 0; i < count; i++) {
        char mine[32], other[32];
        size_t before = 0;

        tmpl_args_key(mine, i);
        for (size_t k = 0; k < count; k++) {
            tmpl_args_key(other, k);
            before += strcmp(other, mine) < 0;
        }
        if (before == position)
            return i;
    }
    return position;
}
