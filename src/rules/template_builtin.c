/*
 * template_builtin: the functions that Go's template language itself has.
 *
 * `and` and `or` stand in the table for their names and arity; the walker runs them, since they
 * must not evaluate what they do not need. `call` exists only to give Go's error: no value of an
 * alert template is a function.
 */
#include "rules/template.h"

typedef bool builtin(struct tmpl_call *);

static builtin fn_call, fn_html, fn_index, fn_js, fn_len, fn_not, fn_lazy, fn_print, fn_printf, fn_println, fn_slice,
    fn_urlquery, fn_eq, fn_ne, fn_lt, fn_le, fn_gt, fn_ge;

const struct tmpl_function tmpl_builtins[] = {
    { "and", "aa*", fn_lazy },      { "or", "aa*", fn_lazy },      { "not", "a", fn_not },
    { "call", "aa*", fn_call },     { "html", "a*", fn_html },     { "js", "a*", fn_js },
    { "index", "aa*", fn_index },   { "slice", "aa*", fn_slice },  { "len", "a", fn_len },
    { "print", "a*", fn_print },    { "println", "a*", fn_println }, { "printf", "sa*", fn_printf },
    { "urlquery", "a*", fn_urlquery }, { "eq", "aa*", fn_eq },     { "ne", "aa", fn_ne },
    { "lt", "aa", fn_lt },          { "le", "aa", fn_le },         { "gt", "aa", fn_gt },
    { "ge", "aa", fn_ge },          { NULL, NULL, NULL },
};

static bool fn_lazy(struct tmpl_call *c)
{
    *c->out = c->args[c->count - 1];
    return true;
}

static bool fn_not(struct tmpl_call *c)
{
    *c->out = tmpl_bool(!tmpl_truth(&c->args[0]));
    return true;
}

static bool fn_call(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    if (c->args[0].kind == VAL_INVALID)
        return tmpl_refuse(c, "call of nil");
    if (c->run->node)
        tmpl_node_print(&text, c->run->node);
    tmpl_refuse(c, "non-function %s of type %s", tsn_buf_str(&text), tmpl_type_name(&c->args[0]));
    tsn_buf_release(&text);
    return false;
}

/* ---- printing and escaping ---------------------------------------------------------------- */

static bool fn_print(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tmpl_sprint(&text, c->args, c->count);
    *c->out = tmpl_string(tmpl_keep(c->run, &text));
    return true;
}

static bool fn_println(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tmpl_sprintln(&text, c->args, c->count);
    *c->out = tmpl_string(tmpl_keep(c->run, &text));
    return true;
}

static bool fn_printf(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tmpl_sprintf(&text, c->args[0].u.str, c->args + 1, c->count - 1);
    *c->out = tmpl_string(tmpl_keep(c->run, &text));
    return true;
}

static bool escape(struct tmpl_call *c, void (*how)(struct tsn_buf *, struct tmpl_str))
{
    struct tsn_buf text = TSN_BUF_INIT, escaped = TSN_BUF_INIT;

    if (c->count == 1 && c->args[0].kind == VAL_STRING)
        tsn_buf_append(&text, c->args[0].u.str.text, c->args[0].u.str.len);
    else if (c->count == 1)
        tmpl_print_action(&text, &c->args[0]);
    else
        tmpl_sprint(&text, c->args, c->count);
    how(&escaped, (struct tmpl_str){ tsn_buf_str(&text), text.len });
    tsn_buf_release(&text);
    *c->out = tmpl_string(tmpl_keep(c->run, &escaped));
    return true;
}

static bool fn_html(struct tmpl_call *c)
{
    return escape(c, tmpl_html);
}

static bool fn_js(struct tmpl_call *c)
{
    return escape(c, tmpl_js);
}

static bool fn_urlquery(struct tmpl_call *c)
{
    return escape(c, tmpl_query_escape);
}

/* ---- len, index, slice -------------------------------------------------------------------- */

static bool length_of(const struct tmpl_value *v, size_t *len)
{
    switch (v->kind) {
    case VAL_STRING:
    case VAL_HTML: *len = v->u.str.len; return true;
    case VAL_LABELS: *len = v->u.labels ? v->u.labels->count : 0; return true;
    case VAL_ARGS: *len = v->u.args.len; return true;
    case VAL_QUERY: *len = v->u.query.len; return true;
    default: return false;
    }
}

static const char *bare_type(const struct tmpl_value *v)
{
    const char *name = tmpl_type_name(v);

    return *name == '*' ? name + 1 : name;
}

static bool fn_len(struct tmpl_call *c)
{
    size_t len;

    if (c->args[0].kind == VAL_INVALID)
        return tmpl_refuse(c, "reflect: call of reflect.Value.Type on zero Value");
    if (c->args[0].kind == VAL_SAMPLE && !c->args[0].u.sample)
        return tmpl_refuse(c, "len of nil pointer");
    if (!length_of(&c->args[0], &len))
        return tmpl_refuse(c, "len of type %s", bare_type(&c->args[0]));
    *c->out = tmpl_int((int64_t)len);
    return true;
}

static bool index_arg(struct tmpl_call *c, const struct tmpl_value *v, size_t cap, size_t *out)
{
    if (v->kind == VAL_INVALID)
        return tmpl_refuse(c, "cannot index slice/array with nil");
    if (v->kind != VAL_INT && v->kind != VAL_UINT8)
        return tmpl_refuse(c, "cannot index slice/array with type %s", tmpl_type_name(v));
    if (v->u.integer < 0 || (uint64_t)v->u.integer > cap)
        return tmpl_refuse(c, "index out of range: %lld", (long long)v->u.integer);
    *out = (size_t)v->u.integer;
    return true;
}

static bool index_map(struct tmpl_call *c, const struct tmpl_value *item, const struct tmpl_value *key,
                      struct tmpl_value *out)
{
    if (key->kind == VAL_INVALID)
        return tmpl_refuse(c, "value is nil; should be of type string");
    if (key->kind != VAL_STRING)
        return tmpl_refuse(c, "value has type %s; should be string", tmpl_type_name(key));
    if (item->kind == VAL_LABELS) {
        const struct tsn_label *label =
            item->u.labels ? tsn_labels_find(item->u.labels, key->u.str.text, key->u.str.len) : NULL;

        *out = label ? tmpl_string((struct tmpl_str){ label->value, label->value_len }) : tmpl_cstring("");
        return true;
    }
    *out = (struct tmpl_value){ .kind = VAL_INVALID };
    for (size_t i = 0; i < item->u.args.len; i++) {
        char name[32];

        tmpl_args_key(name, i);
        if (strlen(name) == key->u.str.len && !memcmp(name, key->u.str.text, key->u.str.len))
            *out = item->u.args.items[i];
    }
    return true;
}

static bool index_once(struct tmpl_call *c, const struct tmpl_value *item, const struct tmpl_value *key,
                       struct tmpl_value *out)
{
    size_t at = 0, len = 0;

    if (item->kind == VAL_LABELS || item->kind == VAL_ARGS)
        return index_map(c, item, key, out);
    if (item->kind == VAL_INVALID || (item->kind == VAL_SAMPLE && !item->u.sample))
        return tmpl_refuse(c, "index of nil pointer");
    if (!length_of(item, &len))
        return tmpl_refuse(c, "can't index item of type %s", bare_type(item));
    if (!index_arg(c, key, len, &at))
        return false;
    if (at == len)
        return tmpl_refuse(c, "reflect: %s index out of range",
                      tmpl_is_text(item) ? "string" : "slice");
    if (tmpl_is_text(item))
        *out = (struct tmpl_value){ .kind = VAL_UINT8, .u.integer = (unsigned char)item->u.str.text[at] };
    else
        *out = (struct tmpl_value){ .kind = VAL_SAMPLE, .u.sample = item->u.query.items[at] };
    return true;
}

static bool fn_index(struct tmpl_call *c)
{
    struct tmpl_value item = c->args[0];

    if (item.kind == VAL_INVALID)
        return tmpl_refuse(c, "index of untyped nil");
    for (size_t i = 1; i < c->count; i++) {
        struct tmpl_value next;

        if (!index_once(c, &item, &c->args[i], &next))
            return false;
        item = next;
    }
    *c->out = item;
    return true;
}

static bool fn_slice(struct tmpl_call *c)
{
    size_t at[3] = { 0, 0, 0 }, len = 0;
    bool text = tmpl_is_text(&c->args[0]);

    if (c->args[0].kind == VAL_INVALID)
        return tmpl_refuse(c, "slice of untyped nil");
    if (c->count > 4)
        return tmpl_refuse(c, "too many slice indexes: %zu", c->count - 1);
    if (text && c->count == 4)
        return tmpl_refuse(c, "cannot 3-index slice a string");
    if (!text && c->args[0].kind != VAL_QUERY)
        return tmpl_refuse(c, "can't slice item of type %s", bare_type(&c->args[0]));
    length_of(&c->args[0], &len);
    at[1] = len;
    for (size_t i = 1; i < c->count; i++)
        if (!index_arg(c, &c->args[i], len, &at[i - 1]))
            return false;
    if (at[0] > at[1])
        return tmpl_refuse(c, "invalid slice index: %zu > %zu", at[0], at[1]);
    if (c->count == 4 && at[1] > at[2])
        return tmpl_refuse(c, "invalid slice index: %zu > %zu", at[1], at[2]);
    *c->out = c->args[0];
    if (text) {
        c->out->u.str.text += at[0];
        c->out->u.str.len = at[1] - at[0];
    } else {
        c->out->u.query.items += at[0];
        c->out->u.query.len = at[1] - at[0];
    }
    return true;
}

/* ---- comparison --------------------------------------------------------------------------- */

enum basic { BASIC_NONE, BASIC_BOOL, BASIC_INT, BASIC_UINT, BASIC_FLOAT, BASIC_COMPLEX, BASIC_TEXT };

static enum basic basic_kind(const struct tmpl_value *v)
{
    switch (v->kind) {
    case VAL_BOOL: return BASIC_BOOL;
    case VAL_INT: return BASIC_INT;
    case VAL_UINT8: return BASIC_UINT;
    case VAL_FLOAT: return BASIC_FLOAT;
    case VAL_COMPLEX: return BASIC_COMPLEX;
    case VAL_STRING:
    case VAL_HTML: return BASIC_TEXT;
    case VAL_DURATION: return v->type ? BASIC_INT : BASIC_NONE;
    default: return BASIC_NONE;
    }
}

static int compare_text(struct tmpl_str a, struct tmpl_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.text, b.text, n) : 0;

    return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

static bool equal_basic(const struct tmpl_value *a, const struct tmpl_value *b, enum basic kind)
{
    switch (kind) {
    case BASIC_BOOL: return a->u.boolean == b->u.boolean;
    case BASIC_INT:
    case BASIC_UINT: return a->u.integer == b->u.integer;
    case BASIC_FLOAT: return a->u.real == b->u.real;
    case BASIC_COMPLEX: return a->u.complex.re == b->u.complex.re && a->u.complex.im == b->u.complex.im;
    case BASIC_TEXT: return compare_text(a->u.str, b->u.str) == 0;
    case BASIC_NONE: break;
    }
    return false;
}

static bool is_nil(const struct tmpl_value *v)
{
    return v->kind == VAL_INVALID || (v->kind == VAL_SAMPLE && !v->u.sample);
}

/* Two values without a basic kind: nil, pointers, or what cannot be compared. */
static bool equal_other(struct tmpl_call *c, const struct tmpl_value *a, const struct tmpl_value *b, bool *equal)
{
    struct tsn_buf text = TSN_BUF_INIT;

    *equal = false;
    if (is_nil(a) || is_nil(b)) {
        *equal = is_nil(a) && is_nil(b);
        return true;
    }
    if (b->kind == VAL_LABELS || b->kind == VAL_ARGS || b->kind == VAL_QUERY) {
        tmpl_print_action(&text, b);
        tmpl_refuse(c, "non-comparable type %s: %s", tsn_buf_str(&text), tmpl_type_name(b));
        tsn_buf_release(&text);
        return false;
    }
    *equal = a->kind == b->kind && a->kind == VAL_SAMPLE && a->u.sample == b->u.sample;
    return true;
}

static bool equal_pair(struct tmpl_call *c, const struct tmpl_value *a, const struct tmpl_value *b, bool *equal)
{
    enum basic ka = basic_kind(a), kb = basic_kind(b);
    bool integers = (ka == BASIC_INT || ka == BASIC_UINT) && (kb == BASIC_INT || kb == BASIC_UINT);

    if (ka == BASIC_NONE && kb == BASIC_NONE)
        return equal_other(c, a, b, equal);
    *equal = false;
    if (ka == kb || integers) {
        *equal = equal_basic(a, b, ka);
        return true;
    }
    if (a->kind == VAL_INVALID || b->kind == VAL_INVALID)
        return true;
    return tmpl_refuse(c, "incompatible types for comparison: %s and %s", tmpl_type_name(a), tmpl_type_name(b));
}

static bool fn_eq(struct tmpl_call *c)
{
    bool equal = false;

    if (c->count < 2)
        return tmpl_refuse(c, "missing argument for comparison");
    for (size_t i = 1; i < c->count && !equal; i++)
        if (!equal_pair(c, &c->args[0], &c->args[i], &equal))
            return false;
    *c->out = tmpl_bool(equal);
    return true;
}

static bool less(struct tmpl_call *c, const struct tmpl_value *a, const struct tmpl_value *b, bool *out)
{
    enum basic ka = basic_kind(a), kb = basic_kind(b);
    bool integers = (ka == BASIC_INT || ka == BASIC_UINT) && (kb == BASIC_INT || kb == BASIC_UINT);

    if (ka == BASIC_NONE || kb == BASIC_NONE)
        return tmpl_refuse(c, "invalid type for comparison");
    if (ka != kb && !integers)
        return tmpl_refuse(c, "incompatible types for comparison: %s and %s", tmpl_type_name(a),
                      tmpl_type_name(b));
    if (ka == BASIC_BOOL || ka == BASIC_COMPLEX)
        return tmpl_refuse(c, "invalid type for comparison");
    if (ka == BASIC_TEXT)
        *out = compare_text(a->u.str, b->u.str) < 0;
    else if (ka == BASIC_FLOAT)
        *out = a->u.real < b->u.real;
    else
        *out = a->u.integer < b->u.integer;
    return true;
}

static bool fn_ne(struct tmpl_call *c)
{
    if (!fn_eq(c))
        return false;
    c->out->u.boolean = !c->out->u.boolean;
    return true;
}

static bool fn_lt(struct tmpl_call *c)
{
    bool lt = false;

    if (!less(c, &c->args[0], &c->args[1], &lt))
        return false;
    *c->out = tmpl_bool(lt);
    return true;
}

/* As Go defines it: less or equal, so that NaN is neither … */
static bool fn_le(struct tmpl_call *c)
{
    if (!fn_lt(c))
        return false;
    return c->out->u.boolean || fn_eq(c);
}

/* … and greater is the inverse of that, so NaN is greater than everything. */
static bool fn_gt(struct tmpl_call *c)
{
    if (!fn_le(c))
        return false;
    c->out->u.boolean = !c->out->u.boolean;
    return true;
}

static bool fn_ge(struct tmpl_call *c)
{
    if (!fn_lt(c))
        return false;
    c->out->u.boolean = !c->out->u.boolean;
    return true;
}
