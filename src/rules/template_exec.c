/*
 * template_exec: walks the nodes of a template and appends what they say.
 *
 * Every function returns false after the error was recorded (tmpl_fail), and callers pass that on at once.
 * Variables live on one stack; `frame` is where the current template's begin, since {{template}}
 * sees none of its caller's. Steps, depth, output and memory are bounded: a hostile template ends
 * with an error, never with the process.
 */
#include "rules/template.h"

enum walk { WALK_ON, WALK_ERROR, WALK_BREAK, WALK_CONTINUE };

static const struct tmpl_value missing = { .kind = VAL_MISSING };
static const struct tmpl_value nothing = { .kind = VAL_INVALID };

static enum walk walk(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n);
static bool eval_pipeline(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *pipe,
                          struct tmpl_value *out);
static bool eval_arg(struct tmpl_run *run, struct tmpl_value dot, char param, const struct tmpl_node *n,
                     struct tmpl_value *out);

static void location(struct tsn_buf *out, const struct tsn_template *tmpl, uint32_t pos)
{
    uint32_t line = 1, column = pos;

    for (uint32_t i = 0; i < pos && i < tmpl->len; i++)
        if (tmpl->text[i] == '\n') {
            line++;
            column = pos - i - 1;
        }
    tsn_buf_printf(out, "%s:%u:%u", tmpl->name, line, column);
}

bool tmpl_fail(struct tmpl_run *run, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    tsn_buf_puts(&text, "template: ");
    if (run->node) {
        location(&text, run->tmpl, run->node->pos);
        tsn_buf_puts(&text, ": executing ");
        tmpl_quote(&text, run->tree->name, '"', false);
        tsn_buf_puts(&text, " at <");
        tmpl_node_print(&text, run->node);
        tsn_buf_puts(&text, ">: ");
    }
    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    tsn_error_set(run->error, TSN_ERR_INVALID, "error executing template %s: %s", run->tmpl->name,
                  tsn_buf_str(&text));
    tsn_buf_release(&text);
    return false;
}

static bool step(struct tmpl_run *run)
{
    if (++run->steps > TMPL_MAX_STEPS)
        return tmpl_fail(run, "more than %d steps", TMPL_MAX_STEPS);
    if (run->out->len - run->out_start > TMPL_MAX_OUTPUT)
        return tmpl_fail(run, "output over %u bytes", TMPL_MAX_OUTPUT);
    if (run->arena.used_bytes > TMPL_MAX_ARENA)
        return tmpl_fail(run, "more than %u bytes of memory", TMPL_MAX_ARENA);
    return true;
}

/* ---- variables ---------------------------------------------------------------------------- */

static void push_var(struct tmpl_run *run, struct tmpl_str name, struct tmpl_value value)
{
    tsn_vec_push(&run->vars, ((struct tmpl_variable){ name, value }));
}

static struct tmpl_value *find_var(struct tmpl_run *run, struct tmpl_str name)
{
    for (size_t i = run->vars.len; i-- > run->frame;)
        if (run->vars.items[i].name.len == name.len && !memcmp(run->vars.items[i].name.text, name.text, name.len))
            return &run->vars.items[i].value;
    tmpl_fail(run, "undefined variable: %.*s", (int)name.len, name.text);
    return NULL;
}

static bool set_var(struct tmpl_run *run, struct tmpl_str name, struct tmpl_value value)
{
    struct tmpl_value *slot = find_var(run, name);

    if (slot)
        *slot = value;
    return slot != NULL;
}

/* ---- types -------------------------------------------------------------------------------- */

static const char *param_type(char param)
{
    return param == 's' ? "string" : param == 'q' ? "template.queryResult" : "*template.sample";
}

/* Makes *v fit the parameter, or fails. */
static bool fit(struct tmpl_run *run, char param, struct tmpl_value *v)
{
    static const struct {
        char param;
        enum tmpl_kind kind;
    } wants[] = { { 's', VAL_STRING }, { 'q', VAL_QUERY }, { 'p', VAL_SAMPLE } };

    if (param == 'a')
        return true;
    if (v->kind == VAL_INVALID && param != 's') {
        *v = (struct tmpl_value){ .kind = param == 'q' ? VAL_QUERY : VAL_SAMPLE };
        return true;
    }
    if (v->kind == VAL_INVALID)
        return tmpl_fail(run, "invalid value; expected %s", param_type(param));
    for (size_t i = 0; i < TSN_ARRAY_LEN(wants); i++)
        if (wants[i].param == param && wants[i].kind == v->kind)
            return true;
    return tmpl_fail(run, "wrong type for value; expected %s; got %s", param_type(param), tmpl_type_name(v));
}

static bool is_hex_int(struct tmpl_str s)
{
    return s.len > 2 && s.text[0] == '0' && (s.text[1] | 32) == 'x' && !memchr(s.text, 'p', s.len) &&
           !memchr(s.text, 'P', s.len);
}

static bool constant(struct tmpl_run *run, const struct tmpl_node *n, struct tmpl_value *out)
{
    bool written_as_float = false;

    run->node = n;
    for (size_t i = 0; i < n->text.len; i++)
        written_as_float |= n->text.text[i] && strchr(".eEpP", n->text.text[i]) != NULL;
    if (n->number.is_complex)
        *out = (struct tmpl_value){ .kind = VAL_COMPLEX, .u.complex = { n->number.f, n->number.im } };
    else if (n->number.is_float && !is_hex_int(n->text) && n->text.text[0] != '\'' && written_as_float)
        *out = tmpl_float(n->number.f);
    else if (n->number.is_int)
        *out = tmpl_int(n->number.i);
    else if (n->number.is_uint)
        return tmpl_fail(run, "%.*s overflows int", (int)n->text.len, n->text.text);
    else
        *out = nothing;
    return true;
}

/* ---- calls -------------------------------------------------------------------------------- */

static size_t fixed_params(const char *params)
{
    size_t n = strlen(params);

    return n && params[n - 1] == '*' ? n - 2 : n;
}

static bool is_variadic(const char *params)
{
    size_t n = strlen(params);

    return n && params[n - 1] == '*';
}

static char param_at(const char *params, size_t i)
{
    size_t fixed = fixed_params(params);

    return i < fixed ? params[i] : params[fixed];
}

static bool check_count(struct tmpl_run *run, const struct tmpl_function *f, size_t given, size_t written)
{
    size_t fixed = fixed_params(f->params);

    if (is_variadic(f->params) && given < fixed)
        return tmpl_fail(run, "wrong number of args for %s: want at least %zu got %zu", f->name, fixed, written);
    if (!is_variadic(f->params) && given != fixed)
        return tmpl_fail(run, "wrong number of args for %s: want %zu got %zu", f->name, fixed, given);
    return true;
}

/* and, or: stop at the first argument that decides. */
static bool call_lazy(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_function *f,
                      struct tmpl_node *const *args, size_t count, struct tmpl_value final, struct tmpl_value *out)
{
    for (size_t i = 0; i < count; i++) {
        if (!eval_arg(run, dot, 'a', args[i], out))
            return false;
        if (tmpl_truth(out) == !strcmp(f->name, "or"))
            return true;
    }
    if (final.kind != VAL_MISSING)
        *out = final;
    return true;
}

/* args are the written arguments (without the function itself); `self` a method's receiver. */
static bool call(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_function *f, const struct tmpl_node *at,
                 struct tmpl_node *const *args, size_t count, struct tmpl_value final, const struct tmpl_value *self,
                 struct tmpl_value *out)
{
    size_t given = count + (final.kind != VAL_MISSING), total = given + (self != NULL);
    struct tmpl_value *argv;
    struct tmpl_call c = { .run = run, .count = total, .out = out, .message = "" };

    if (!check_count(run, f, given, count))
        return false;
    if (!self && (!strcmp(f->name, "and") || !strcmp(f->name, "or")))
        return call_lazy(run, dot, f, args, count, final, out);
    argv = tsn_arena_calloc(&run->arena, total ? total : 1, sizeof *argv);
    if (self)
        *argv++ = *self;
    for (size_t i = 0; i < count; i++)
        if (!eval_arg(run, dot, param_at(f->params, i), args[i], &argv[i]))
            return false;
    if (final.kind != VAL_MISSING) {
        argv[count] = final;
        if (!fit(run, param_at(f->params, count), &argv[count]))
            return false;
    }
    if (!strcmp(f->name, "call") && count)
        run->node = args[0];
    c.args = self ? argv - 1 : argv;
    if (f->call(&c))
        return step(run);
    run->node = at;
    return tmpl_fail(run, "error calling %s: %s", f->name, c.message);
}

/* ---- fields ------------------------------------------------------------------------------- */

static bool same(struct tmpl_str a, const char *b)
{
    return strlen(b) == a.len && !memcmp(a.text, b, a.len);
}

static bool struct_field(const struct tmpl_value *receiver, struct tmpl_str name, struct tmpl_value *out)
{
    if (receiver->kind == VAL_SAMPLE && receiver->u.sample) {
        const struct tsn_vector_sample *s = receiver->u.sample;

        if (same(name, "Labels"))
            *out = (struct tmpl_value){ .kind = VAL_LABELS, .u.labels = s->labels };
        else if (same(name, "Value"))
            *out = tmpl_float(s->value);
        else
            return false;
        return true;
    }
    if (receiver->kind == VAL_DATA) {
        const struct tsn_template_env *env = receiver->u.data;

        if (same(name, "Labels"))
            *out = (struct tmpl_value){ .kind = VAL_LABELS, .u.labels = env->labels };
        else if (same(name, "ExternalLabels"))
            *out = (struct tmpl_value){ .kind = VAL_LABELS, .u.labels = env->external_labels };
        else if (same(name, "ExternalURL"))
            *out = tmpl_cstring(env->external_url ? env->external_url : "");
        else if (same(name, "Value"))
            *out = tmpl_float(env->value);
        else
            return false;
        return true;
    }
    return false;
}

static void map_field(const struct tmpl_value *receiver, struct tmpl_str name, struct tmpl_value *out)
{
    if (receiver->kind == VAL_LABELS) {
        const struct tsn_label *label =
            receiver->u.labels ? tsn_labels_find(receiver->u.labels, name.text, name.len) : NULL;

        *out = label ? tmpl_string((struct tmpl_str){ label->value, label->value_len }) : tmpl_cstring("");
        return;
    }
    *out = nothing;
    for (size_t i = 0; i < receiver->u.args.len; i++) {
        char key[32];

        tmpl_args_key(key, i);
        if (same(name, key))
            *out = receiver->u.args.items[i];
    }
}

static bool eval_field(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *at, struct tmpl_str name,
                       struct tmpl_node *const *args, size_t count, struct tmpl_value final,
                       const struct tmpl_value *receiver, struct tmpl_value *out)
{
    const struct tmpl_function *method;
    bool has_args = count > 0 || final.kind != VAL_MISSING;

    if (receiver->kind == VAL_INVALID || receiver->kind == VAL_MISSING) {
        *out = nothing;
        return true;
    }
    method = tmpl_method_find(receiver, name);
    if (method)
        return call(run, dot, method, at, args, count, final, receiver, out);
    if (receiver->kind == VAL_LABELS || receiver->kind == VAL_ARGS) {
        if (has_args)
            return tmpl_fail(run, "%.*s is not a method but has arguments", (int)name.len, name.text);
        map_field(receiver, name, out);
        return true;
    }
    if (struct_field(receiver, name, out)) {
        if (has_args)
            return tmpl_fail(run, "%.*s has arguments but cannot be invoked as function", (int)name.len, name.text);
        return true;
    }
    if (receiver->kind == VAL_SAMPLE && !receiver->u.sample && (same(name, "Labels") || same(name, "Value")))
        return tmpl_fail(run, "nil pointer evaluating *template.sample.%.*s", (int)name.len, name.text);
    return tmpl_fail(run, "can't evaluate field %.*s in type %s", (int)name.len, name.text, tmpl_type_name(receiver));
}

static bool eval_chain(struct tmpl_run *run, struct tmpl_value dot, struct tmpl_value receiver,
                       const struct tmpl_node *at, const struct tmpl_str *idents, size_t ident_count,
                       struct tmpl_node *const *args, size_t count, struct tmpl_value final, struct tmpl_value *out)
{
    for (size_t i = 0; i + 1 < ident_count; i++) {
        struct tmpl_value next;

        if (!eval_field(run, dot, at, idents[i], NULL, 0, missing, &receiver, &next))
            return false;
        receiver = next;
    }
    return eval_field(run, dot, at, idents[ident_count - 1], args, count, final, &receiver, out);
}

/* ---- operands ----------------------------------------------------------------------------- */

static bool not_a_function(struct tmpl_run *run, const struct tmpl_node *first, size_t arg_count,
                           struct tmpl_value final)
{
    struct tsn_buf text = TSN_BUF_INIT;

    if (!arg_count && final.kind == VAL_MISSING)
        return true;
    tmpl_node_print(&text, first);
    tmpl_fail(run, "can't give argument to non-function %s", tsn_buf_str(&text));
    tsn_buf_release(&text);
    return false;
}

/* A field, variable, chain or function with its arguments: what can take any. */
static bool eval_callable(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n,
                          const struct tmpl_node *at, struct tmpl_node *const *args, size_t count,
                          struct tmpl_value final, struct tmpl_value *out)
{
    struct tmpl_value receiver, *slot;

    run->node = n;
    switch (n->type) {
    case NODE_FIELD:
        return eval_chain(run, dot, dot, n, n->idents, n->ident_count, args, count, final, out);
    case NODE_CHAIN:
        if (n->pipe->type == NODE_NIL)
            return tmpl_fail(run, "indirection through explicit nil in nil.%.*s", (int)n->idents[0].len,
                             n->idents[0].text);
        if (!eval_arg(run, dot, 'a', n->pipe, &receiver))
            return false;
        return eval_chain(run, dot, receiver, n, n->idents, n->ident_count, args, count, final, out);
    case NODE_VARIABLE:
        slot = find_var(run, n->idents[0]);
        if (!slot)
            return false;
        if (n->ident_count > 1)
            return eval_chain(run, dot, *slot, n, n->idents + 1, n->ident_count - 1, args, count, final, out);
        *out = *slot;
        return not_a_function(run, n, count, final);
    default:
        return call(run, dot, tmpl_function_find(n->text), at, args, count, final, NULL, out);
    }
}

/* Constants in a place whose parameter is known to be text, a query result or a sample. */
static bool typed_constant(struct tmpl_run *run, char param, const struct tmpl_node *n, struct tmpl_value *out)
{
    struct tsn_buf text = TSN_BUF_INIT;

    if (param == 's' && n->type == NODE_STRING) {
        *out = tmpl_string(n->value);
        return true;
    }
    tmpl_node_print(&text, n);
    if (param == 's')
        tmpl_fail(run, "expected string; found %s", tsn_buf_str(&text));
    else
        tmpl_fail(run, "can't handle %s for arg of type %s", tsn_buf_str(&text), param_type(param));
    tsn_buf_release(&text);
    return false;
}

static bool eval_arg(struct tmpl_run *run, struct tmpl_value dot, char param, const struct tmpl_node *n,
                     struct tmpl_value *out)
{
    run->node = n;
    switch (n->type) {
    case NODE_DOT: *out = dot; return fit(run, param, out);
    case NODE_NIL:
        *out = nothing;
        if (param == 's')
            return tmpl_fail(run, "cannot assign nil to string");
        return fit(run, param, out);
    case NODE_PIPE: return eval_pipeline(run, dot, n, out) && fit(run, param, out);
    case NODE_FIELD:
    case NODE_VARIABLE:
    case NODE_IDENTIFIER:
    case NODE_CHAIN: return eval_callable(run, dot, n, n, NULL, 0, missing, out) && fit(run, param, out);
    default: break;
    }
    if (param != 'a')
        return typed_constant(run, param, n, out);
    if (n->type == NODE_NUMBER)
        return constant(run, n, out);
    *out = n->type == NODE_BOOL ? tmpl_bool(n->truth) : tmpl_string(n->value);
    return true;
}

/* ---- pipelines ---------------------------------------------------------------------------- */

static bool eval_command(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *cmd,
                         struct tmpl_value final, struct tmpl_value *out)
{
    const struct tmpl_node *first = cmd->kids[0];

    if (!step(run))
        return false;
    switch (first->type) {
    case NODE_FIELD:
    case NODE_CHAIN:
    case NODE_VARIABLE:
        return eval_callable(run, dot, first, first, cmd->kids + 1, cmd->kid_count - 1, final, out);
    case NODE_IDENTIFIER:
        return eval_callable(run, dot, first, cmd, cmd->kids + 1, cmd->kid_count - 1, final, out);
    case NODE_PIPE:
        return not_a_function(run, first, cmd->kid_count - 1, final) && eval_pipeline(run, dot, first, out);
    default: break;
    }
    run->node = first;
    if (!not_a_function(run, first, cmd->kid_count - 1, final))
        return false;
    switch (first->type) {
    case NODE_BOOL: *out = tmpl_bool(first->truth); return true;
    case NODE_DOT: *out = dot; return true;
    case NODE_NUMBER: return constant(run, first, out);
    case NODE_STRING: *out = tmpl_string(first->value); return true;
    default: return tmpl_fail(run, "nil is not a command");
    }
}

static bool eval_pipeline(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *pipe,
                          struct tmpl_value *out)
{
    struct tmpl_value value = missing;

    if (!pipe) {
        *out = nothing;
        return true;
    }
    run->node = pipe;
    for (size_t i = 0; i < pipe->kid_count; i++) {
        struct tmpl_value next = nothing;

        if (!eval_command(run, dot, pipe->kids[i], value, &next))
            return false;
        value = next;
    }
    for (size_t i = 0; i < pipe->decl_count; i++) {
        if (!pipe->is_assign)
            push_var(run, pipe->decl[i]->idents[0], value);
        else if (!set_var(run, pipe->decl[i]->idents[0], value))
            return false;
    }
    *out = value;
    return true;
}

/* ---- control ------------------------------------------------------------------------------ */

static enum walk walk_if_or_with(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n)
{
    size_t mark = run->vars.len;
    struct tmpl_value value;
    enum walk how = WALK_ON;

    if (!eval_pipeline(run, dot, n->pipe, &value))
        return WALK_ERROR;
    if (tmpl_truth(&value))
        how = walk(run, n->type == NODE_WITH ? value : dot, n->body);
    else if (n->other)
        how = walk(run, dot, n->other);
    run->vars.len = mark;
    return how;
}

/* The number of rounds of a range over v; false with an error if it cannot be ranged over. */
static bool range_count(struct tmpl_run *run, const struct tmpl_node *n, const struct tmpl_value *v, size_t *count)
{
    struct tsn_buf text = TSN_BUF_INIT;

    *count = 0;
    switch (v->kind) {
    case VAL_INVALID: return true;
    case VAL_LABELS: *count = v->u.labels ? v->u.labels->count : 0; return true;
    case VAL_ARGS: *count = v->u.args.len; return true;
    case VAL_QUERY: *count = v->u.query.len; return true;
    case VAL_INT:
    case VAL_UINT8:
        if (n->pipe->decl_count > 1)
            return tmpl_fail(run, "can't use %lld to iterate over more than one variable", (long long)v->u.integer);
        *count = v->u.integer > 0 ? (size_t)v->u.integer : 0;
        return true;
    default: break;
    }
    tmpl_print_action(&text, v);
    tmpl_fail(run, "range can't iterate over %s", tsn_buf_str(&text));
    tsn_buf_release(&text);
    return false;
}

static void range_element(struct tmpl_run *run, const struct tmpl_value *v, size_t i, struct tmpl_value *key,
                          struct tmpl_value *element)
{
    size_t at;

    *key = tmpl_int((int64_t)i);
    switch (v->kind) {
    case VAL_LABELS:
        *key = tmpl_string((struct tmpl_str){ v->u.labels->items[i].name, v->u.labels->items[i].name_len });
        *element = tmpl_string((struct tmpl_str){ v->u.labels->items[i].value, v->u.labels->items[i].value_len });
        break;
    case VAL_ARGS:
        at = tmpl_args_sorted(v->u.args.len, i);
        *key = tmpl_cstring(tsn_arena_printf(&run->arena, "arg%zu", at));
        *element = v->u.args.items[at];
        break;
    case VAL_QUERY: *element = (struct tmpl_value){ .kind = VAL_SAMPLE, .u.sample = v->u.query.items[i] }; break;
    default:
        *key = nothing;
        *element = *v;
        element->u.integer = (int64_t)i;
    }
}

static bool range_assign(struct tmpl_run *run, const struct tmpl_node *pipe, struct tmpl_value key,
                         struct tmpl_value element)
{
    size_t top = run->vars.len, n = pipe->decl_count;

    if (!n)
        return true;
    if (pipe->is_assign)
        return n > 1 ? set_var(run, pipe->decl[0]->idents[0], key) && set_var(run, pipe->decl[1]->idents[0], element)
                     : set_var(run, pipe->decl[0]->idents[0], element);
    run->vars.items[top - 1].value = element;
    if (n > 1)
        run->vars.items[top - 2].value = key;
    return true;
}

static enum walk walk_range(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n)
{
    size_t mark = run->vars.len, inner, count;
    enum walk how = WALK_ON;
    struct tmpl_value value;

    run->node = n;
    if (!eval_pipeline(run, dot, n->pipe, &value) || !range_count(run, n, &value, &count))
        return WALK_ERROR;
    inner = run->vars.len;
    for (size_t i = 0; i < count; i++) {
        struct tmpl_value key, element;

        range_element(run, &value, i, &key, &element);
        if (!step(run) || !range_assign(run, n->pipe, key, element))
            return WALK_ERROR;
        how = walk(run, element, n->body);
        run->vars.len = inner;
        if (how == WALK_ERROR || how == WALK_BREAK)
            break;
    }
    if (!count && n->other)
        how = walk(run, dot, n->other);
    else if (how == WALK_BREAK || how == WALK_CONTINUE)
        how = WALK_ON;
    run->vars.len = mark;
    return how;
}

static enum walk walk_template(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n)
{
    const struct tmpl_tree *tree = NULL, *caller = run->tree;
    size_t frame = run->frame, mark;
    struct tmpl_value value;
    enum walk how;

    run->node = n;
    for (size_t i = 0; i < run->tmpl->tree_count; i++)
        if (run->tmpl->trees[i].name.len == n->text.len &&
            !memcmp(run->tmpl->trees[i].name.text, n->text.text, n->text.len))
            tree = &run->tmpl->trees[i];
    if (!tree) {
        tmpl_fail(run, "template \"%.*s\" not defined", (int)n->text.len, n->text.text);
        return WALK_ERROR;
    }
    if (run->depth >= TMPL_MAX_NEST) {
        tmpl_fail(run, "exceeded maximum template depth (%d)", TMPL_MAX_NEST);
        return WALK_ERROR;
    }
    if (!eval_pipeline(run, dot, n->pipe, &value))
        return WALK_ERROR;
    mark = run->vars.len;
    run->frame = mark;
    run->tree = tree;
    run->depth++;
    push_var(run, (struct tmpl_str){ "$", 1 }, value);
    how = walk(run, value, tree->root);
    if (how == WALK_ERROR)
        return how; /* the error already names where it happened */
    run->depth--;
    run->tree = caller;
    run->frame = frame;
    run->vars.len = mark;
    return how;
}

static enum walk walk_list(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n)
{
    for (size_t i = 0; i < n->kid_count; i++) {
        enum walk how = walk(run, dot, n->kids[i]);

        if (how != WALK_ON)
            return how;
    }
    return WALK_ON;
}

static enum walk walk(struct tmpl_run *run, struct tmpl_value dot, const struct tmpl_node *n)
{
    struct tmpl_value value;

    run->node = n;
    switch (n->type) {
    case NODE_LIST: return walk_list(run, dot, n);
    case NODE_TEXT: tsn_buf_append(run->out, n->text.text, n->text.len); return WALK_ON;
    case NODE_ACTION:
        if (!eval_pipeline(run, dot, n->pipe, &value))
            return WALK_ERROR;
        if (!n->pipe->decl_count)
            tmpl_print_action(run->out, &value);
        return step(run) ? WALK_ON : WALK_ERROR;
    case NODE_IF:
    case NODE_WITH: return walk_if_or_with(run, dot, n);
    case NODE_RANGE: return walk_range(run, dot, n);
    case NODE_TEMPLATE: return walk_template(run, dot, n);
    case NODE_BREAK: return WALK_BREAK;
    default: return WALK_CONTINUE;
    }
}

bool tmpl_execute(struct tmpl_run *run)
{
    struct tmpl_value dot = { .kind = VAL_DATA, .u.data = run->env };

    run->tree = &run->tmpl->trees[0];
    push_var(run, (struct tmpl_str){ "$", 1 }, dot);
    return walk(run, dot, run->tree->root) != WALK_ERROR;
}
