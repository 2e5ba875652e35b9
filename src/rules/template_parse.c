/*
 * template_parse: tokens → nodes, by recursive descent with three tokens of look-ahead.
 *
 * The look-ahead is kept as Go keeps it, since its errors name the line of the token read last,
 * not of the one at fault. Definitions ({{define}}, {{block}}) are parsed by a parser of their own
 * on the same lexer: they see no variable but $. Nesting is bounded, so hostile text cannot
 * exhaust the stack. The first error ends the parse: `failed` is set and every loop looks at it.
 */
#include "rules/template.h"

struct parser {
    struct tsn_template *tmpl;
    struct tmpl_lexer *lexer;
    struct tmpl_str name;
    struct tmpl_token token[3];
    int peek_count;
    TSN_VEC(struct tmpl_str) vars;
    uint32_t action_line;
    int range_depth;
    int nest;
    bool *failed;
    struct tsn_error *error;
};

/* Every production returns NULL only after an error was set. */
static struct tmpl_node *parse_pipeline(struct parser *p, const char *context, enum tmpl_token_type end);
static struct tmpl_node *parse_list(struct parser *p, struct tmpl_node **next);

static struct tmpl_node *new_node(struct parser *p, enum tmpl_node_type type, uint32_t pos)
{
    struct tmpl_node *n = tsn_arena_calloc(&p->tmpl->arena, 1, sizeof *n);

    n->type = type;
    n->pos = pos;
    return n;
}

static void add_kid(struct parser *p, struct tmpl_node *n, struct tmpl_node *kid)
{
    if (n->kid_count == n->kid_cap) {
        size_t cap = n->kid_cap ? n->kid_cap * 2 : 4;
        struct tmpl_node **kids = tsn_arena_alloc(&p->tmpl->arena, cap * sizeof(struct tmpl_node *));

        if (n->kid_count)
            memcpy(kids, n->kids, n->kid_count * sizeof *kids);
        n->kids = kids;
        n->kid_cap = cap;
    }
    n->kids[n->kid_count++] = kid;
}

TSN_PRINTF(2, 3) static struct tmpl_node *fail(struct parser *p, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    if (*p->failed)
        return NULL;
    *p->failed = true;
    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    tsn_error_set(p->error, TSN_ERR_INVALID, "template: %s:%u: %s", p->tmpl->name,
                  p->token[0].line, tsn_buf_str(&text));
    tsn_buf_release(&text);
    return NULL;
}

/* ---- tokens ------------------------------------------------------------------------------- */

static struct tmpl_token next(struct parser *p)
{
    if (p->peek_count > 0)
        p->peek_count--;
    else
        p->token[0] = tmpl_lexer_next(p->lexer);
    return p->token[p->peek_count];
}

static void backup(struct parser *p)
{
    p->peek_count++;
}

static struct tmpl_token peek(struct parser *p)
{
    if (p->peek_count > 0)
        return p->token[p->peek_count - 1];
    p->peek_count = 1;
    p->token[0] = tmpl_lexer_next(p->lexer);
    return p->token[0];
}

static struct tmpl_token next_non_space(struct parser *p)
{
    struct tmpl_token t;

    do {
        t = next(p);
    } while (t.type == TOK_SPACE);
    return t;
}

static struct tmpl_token peek_non_space(struct parser *p)
{
    struct tmpl_token t = next_non_space(p);

    backup(p);
    return t;
}

static void token_text(struct tsn_buf *out, struct tmpl_token t)
{
    size_t end = 0;

    if (t.type == TOK_EOF) {
        tsn_buf_puts(out, "EOF");
    } else if (t.type == TOK_ERROR) {
        tsn_buf_append(out, t.val.text, t.val.len);
    } else if (t.type > TOK_KEYWORD) {
        tsn_buf_printf(out, "<%.*s>", (int)t.val.len, t.val.text);
    } else if (t.val.len > 10) {
        for (int i = 0; i < 10 && end < t.val.len; i++) {
            uint32_t c;
            size_t n = tsn_utf8_decode(t.val.text + end, t.val.len - end, &c);

            end += n ? n : 1;
        }
        tmpl_quote(out, (struct tmpl_str){ t.val.text, end }, '"', false);
        tsn_buf_puts(out, "...");
    } else {
        tmpl_quote(out, t.val, '"', false);
    }
}

static struct tmpl_node *unexpected(struct parser *p, struct tmpl_token t, const char *context)
{
    struct tsn_buf text = TSN_BUF_INIT;

    token_text(&text, t);
    if (t.type != TOK_ERROR) {
        fail(p, "unexpected %s in %s", tsn_buf_str(&text), context);
    } else if (p->action_line && p->action_line != t.line) {
        bool action = text.len >= 7 && !strcmp(text.data + text.len - 7, " action");

        fail(p, "%s%s started at %s:%u", tsn_buf_str(&text), action ? "" : " in action", p->tmpl->name,
             p->action_line);
    } else {
        fail(p, "%s", tsn_buf_str(&text));
    }
    tsn_buf_release(&text);
    return NULL;
}

static bool expect(struct parser *p, enum tmpl_token_type type, const char *context, struct tmpl_token *t)
{
    *t = next_non_space(p);
    if (t->type == type)
        return true;
    unexpected(p, *t, context);
    return false;
}

/* ---- terms -------------------------------------------------------------------------------- */

static void split_idents(struct parser *p, struct tmpl_node *n, struct tmpl_str text)
{
    size_t parts = 1, at = 0;

    for (size_t i = 0; i < text.len; i++)
        parts += text.text[i] == '.';
    n->idents = tsn_arena_alloc(&p->tmpl->arena, parts * sizeof *n->idents);
    for (size_t i = 0; i <= text.len; i++) {
        if (i == text.len || text.text[i] == '.') {
            n->idents[n->ident_count++] = (struct tmpl_str){ text.text + at, i - at };
            at = i + 1;
        }
    }
}

static struct tmpl_node *new_variable(struct parser *p, uint32_t pos, struct tmpl_str text)
{
    struct tmpl_node *n = new_node(p, NODE_VARIABLE, pos);

    split_idents(p, n, text);
    return n;
}

static struct tmpl_node *use_variable(struct parser *p, struct tmpl_token t)
{
    struct tmpl_node *n = new_variable(p, t.pos, t.val);
    struct tsn_buf quoted = TSN_BUF_INIT;

    for (size_t i = 0; i < p->vars.len; i++)
        if (p->vars.items[i].len == n->idents[0].len &&
            !memcmp(p->vars.items[i].text, n->idents[0].text, n->idents[0].len))
            return n;
    tmpl_quote(&quoted, n->idents[0], '"', false);
    fail(p, "undefined variable %s", tsn_buf_str(&quoted));
    tsn_buf_release(&quoted);
    return NULL;
}

static struct tmpl_node *string_node(struct parser *p, struct tmpl_token t)
{
    struct tmpl_node *n = new_node(p, NODE_STRING, t.pos);

    n->text = t.val;
    if (!tmpl_unquote(&p->tmpl->arena, t.val, &n->value))
        return fail(p, "invalid syntax");
    return n;
}

static struct tmpl_node *number_node(struct parser *p, struct tmpl_token t)
{
    struct tmpl_node *n = new_node(p, NODE_NUMBER, t.pos);
    struct tsn_error error;

    n->text = t.val;
    if (!tmpl_number_parse(n, t.type, &error))
        return fail(p, "%s", error.message);
    return n;
}

static struct tmpl_node *identifier_node(struct parser *p, struct tmpl_token t)
{
    struct tmpl_node *n = new_node(p, NODE_IDENTIFIER, t.pos);

    n->text = t.val;
    if (!tmpl_function_find(t.val))
        return fail(p, "function \"%.*s\" not defined", (int)t.val.len, t.val.text);
    if (t.val.len == 5 && !memcmp(t.val.text, "query", 5))
        p->tmpl->uses_query = true;
    return n;
}

static struct tmpl_node *paren_node(struct parser *p)
{
    struct tmpl_node *n;

    if (p->nest >= TMPL_MAX_NEST)
        return fail(p, "max expression depth exceeded");
    p->nest++;
    n = parse_pipeline(p, "parenthesized pipeline", TOK_RIGHT_PAREN);
    p->nest--;
    return n;
}

/* NULL without an error: the next token begins no term. */
static struct tmpl_node *parse_term(struct parser *p)
{
    struct tmpl_token t = next_non_space(p);
    struct tmpl_node *n;

    switch (t.type) {
    case TOK_IDENTIFIER: return identifier_node(p, t);
    case TOK_DOT: return new_node(p, NODE_DOT, t.pos);
    case TOK_NIL: return new_node(p, NODE_NIL, t.pos);
    case TOK_VARIABLE: return use_variable(p, t);
    case TOK_FIELD:
        n = new_node(p, NODE_FIELD, t.pos);
        split_idents(p, n, (struct tmpl_str){ t.val.text + 1, t.val.len - 1 });
        return n;
    case TOK_BOOL:
        n = new_node(p, NODE_BOOL, t.pos);
        n->truth = t.val.len == 4;
        return n;
    case TOK_CHAR_CONSTANT:
    case TOK_COMPLEX:
    case TOK_NUMBER: return number_node(p, t);
    case TOK_LEFT_PAREN: return paren_node(p);
    case TOK_STRING:
    case TOK_RAW_STRING: return string_node(p, t);
    default: backup(p); return NULL;
    }
}

static struct tmpl_node *dot_after_constant(struct parser *p, const struct tmpl_node *n)
{
    struct tsn_buf text = TSN_BUF_INIT, quoted = TSN_BUF_INIT;

    tmpl_node_print(&text, n);
    tmpl_quote(&quoted, (struct tmpl_str){ tsn_buf_str(&text), text.len }, '"', false);
    fail(p, "unexpected . after term %s", tsn_buf_str(&quoted));
    tsn_buf_release(&text);
    tsn_buf_release(&quoted);
    return NULL;
}

static struct tmpl_node *parse_operand(struct parser *p)
{
    struct tmpl_node *term = parse_term(p), *n;
    struct tsn_buf text = TSN_BUF_INIT;
    struct tmpl_str all;
    uint32_t pos;

    if (!term || peek(p).type != TOK_FIELD)
        return term;
    pos = peek(p).pos;
    if (term->type == NODE_FIELD || term->type == NODE_VARIABLE)
        tmpl_node_print(&text, term);
    while (peek(p).type == TOK_FIELD) {
        struct tmpl_token t = next(p);

        tsn_buf_append(&text, t.val.text, t.val.len);
    }
    all = (struct tmpl_str){ tsn_arena_strndup(&p->tmpl->arena, tsn_buf_str(&text), text.len), text.len };
    tsn_buf_release(&text);
    switch (term->type) {
    case NODE_VARIABLE: return new_variable(p, pos, all);
    case NODE_BOOL:
    case NODE_STRING:
    case NODE_NUMBER:
    case NODE_NIL:
    case NODE_DOT: return dot_after_constant(p, term);
    default:
        n = new_node(p, term->type == NODE_FIELD ? NODE_FIELD : NODE_CHAIN, pos);
        n->pipe = term->type == NODE_FIELD ? NULL : term;
        split_idents(p, n, (struct tmpl_str){ all.text + 1, all.len - 1 });
        return n;
    }
}

static struct tmpl_node *parse_command(struct parser *p)
{
    struct tmpl_node *cmd = new_node(p, NODE_COMMAND, peek_non_space(p).pos);

    for (;;) {
        struct tmpl_node *operand;
        struct tmpl_token t;

        peek_non_space(p);
        operand = parse_operand(p);
        if (*p->failed)
            return NULL;
        if (operand)
            add_kid(p, cmd, operand);
        t = next(p);
        if (t.type == TOK_SPACE)
            continue;
        if (t.type == TOK_RIGHT_DELIM || t.type == TOK_RIGHT_PAREN)
            backup(p);
        else if (t.type != TOK_PIPE)
            return unexpected(p, t, "operand");
        break;
    }
    if (!cmd->kid_count)
        return fail(p, "empty command");
    return cmd;
}

/* ---- pipelines ---------------------------------------------------------------------------- */

static void declare(struct parser *p, struct tmpl_node *pipe, struct tmpl_token v)
{
    pipe->decl[pipe->decl_count++] = new_variable(p, v.pos, v.val);
    tsn_vec_push(&p->vars, v.val);
}

/* Declarations at the head of a pipeline; false after an error. */
static bool parse_declarations(struct parser *p, struct tmpl_node *pipe, const char *context)
{
    for (;;) {
        struct tmpl_token v = peek_non_space(p), after, following;

        if (v.type != TOK_VARIABLE)
            return true;
        next(p);
        after = peek(p);
        following = peek_non_space(p);
        if (following.type == TOK_ASSIGN || following.type == TOK_DECLARE) {
            pipe->is_assign = following.type == TOK_ASSIGN;
            next_non_space(p);
            declare(p, pipe, v);
            return true;
        }
        if (following.type != TOK_CHAR || following.val.text[0] != ',') {
            /* An argument after all: push back what was read. */
            p->token[1] = after.type == TOK_SPACE ? after : v;
            p->token[2] = v;
            p->peek_count = after.type == TOK_SPACE ? 3 : 2;
            return true;
        }
        next_non_space(p);
        declare(p, pipe, v);
        if (strcmp(context, "range") || pipe->decl_count == 2) {
            fail(p, "too many declarations in %s", context);
            return false;
        }
        switch (peek_non_space(p).type) {
        case TOK_VARIABLE:
        case TOK_RIGHT_DELIM:
        case TOK_RIGHT_PAREN: continue;
        default: fail(p, "range can only initialize variables"); return false;
        }
    }
}

static bool check_pipeline(struct parser *p, const struct tmpl_node *pipe, const char *context)
{
    if (!pipe->kid_count) {
        fail(p, "missing value for %s", context);
        return false;
    }
    for (size_t i = 1; i < pipe->kid_count; i++) {
        switch (pipe->kids[i]->kids[0]->type) {
        case NODE_BOOL:
        case NODE_DOT:
        case NODE_NIL:
        case NODE_NUMBER:
        case NODE_STRING:
            fail(p, "non executable command in pipeline stage %zu", i + 1);
            return false;
        default: break;
        }
    }
    return true;
}

static struct tmpl_node *parse_pipeline(struct parser *p, const char *context, enum tmpl_token_type end)
{
    struct tmpl_node *pipe = new_node(p, NODE_PIPE, peek_non_space(p).pos);

    if (!parse_declarations(p, pipe, context))
        return NULL;
    for (;;) {
        struct tmpl_token t = next_non_space(p);
        struct tmpl_node *cmd;

        if (t.type == end)
            return check_pipeline(p, pipe, context) ? pipe : NULL;
        switch (t.type) {
        case TOK_BOOL:
        case TOK_CHAR_CONSTANT:
        case TOK_COMPLEX:
        case TOK_DOT:
        case TOK_FIELD:
        case TOK_IDENTIFIER:
        case TOK_NUMBER:
        case TOK_NIL:
        case TOK_RAW_STRING:
        case TOK_STRING:
        case TOK_VARIABLE:
        case TOK_LEFT_PAREN:
            backup(p);
            cmd = parse_command(p);
            if (!cmd)
                return NULL;
            add_kid(p, pipe, cmd);
            break;
        default: return unexpected(p, t, context);
        }
    }
}

/* ---- actions ------------------------------------------------------------------------------ */

static struct tmpl_node *parse_control(struct parser *p, enum tmpl_node_type type, uint32_t pos);

/* After {{else}}: "else if" and "else with" nest without an {{end}} of their own. */
static bool parse_else(struct parser *p, struct tmpl_node *n, struct tmpl_node *at)
{
    enum tmpl_token_type again = n->type == NODE_IF ? TOK_IF : n->type == NODE_WITH ? TOK_WITH : TOK_ERROR;
    struct tmpl_node *end, *inner;

    if (again != TOK_ERROR && peek(p).type == again) {
        next(p);
        n->other = new_node(p, NODE_LIST, at->pos);
        inner = parse_control(p, n->type, at->pos);
        if (inner)
            add_kid(p, n->other, inner);
        return inner != NULL;
    }
    n->other = parse_list(p, &end);
    if (n->other && end->type != NODE_END)
        fail(p, "expected end; found {{else}}");
    return !*p->failed;
}

static const char *control_name(enum tmpl_node_type type)
{
    return type == NODE_IF ? "if" : type == NODE_RANGE ? "range" : "with";
}

static struct tmpl_node *parse_control(struct parser *p, enum tmpl_node_type type, uint32_t pos)
{
    struct tmpl_node *n = new_node(p, type, pos), *end;
    size_t mark = p->vars.len;
    bool ok = false;

    if (p->nest >= TMPL_MAX_NEST)
        return fail(p, "actions nested too deeply (%d)", TMPL_MAX_NEST);
    p->nest++;
    n->pipe = parse_pipeline(p, control_name(type), TOK_RIGHT_DELIM);
    if (n->pipe) {
        n->pos = n->pipe->pos;
        p->range_depth += type == NODE_RANGE;
        n->body = parse_list(p, &end);
        p->range_depth -= type == NODE_RANGE;
        ok = n->body && (end->type == NODE_END || parse_else(p, n, end));
    }
    p->nest--;
    p->vars.len = mark;
    return ok ? n : NULL;
}

static struct tmpl_node *parse_jump(struct parser *p, enum tmpl_node_type type, uint32_t pos)
{
    const char *word = type == NODE_BREAK ? "{{break}}" : "{{continue}}";
    struct tmpl_token t = next_non_space(p);

    if (t.type != TOK_RIGHT_DELIM)
        return unexpected(p, t, word);
    if (!p->range_depth)
        return fail(p, "%s outside {{range}}", word);
    return new_node(p, type, pos);
}

static struct tmpl_node *parse_else_or_end(struct parser *p, enum tmpl_node_type type)
{
    struct tmpl_token t = peek_non_space(p);

    if (type == NODE_ELSE && (t.type == TOK_IF || t.type == TOK_WITH))
        return new_node(p, NODE_ELSE, t.pos);
    if (!expect(p, TOK_RIGHT_DELIM, type == NODE_ELSE ? "else" : "end", &t))
        return NULL;
    return new_node(p, type, t.pos);
}

static bool template_name(struct parser *p, struct tmpl_token t, const char *context, struct tmpl_str *name)
{
    if (t.type != TOK_STRING && t.type != TOK_RAW_STRING) {
        unexpected(p, t, context);
        return false;
    }
    if (!tmpl_unquote(&p->tmpl->arena, t.val, name)) {
        fail(p, "invalid syntax");
        return false;
    }
    return true;
}

static bool is_empty(const struct tmpl_node *n)
{
    if (n->type == NODE_TEXT) {
        for (size_t i = 0; i < n->text.len; i++)
            if (!strchr(" \t\n\v\f\r", n->text.text[i]) || !n->text.text[i])
                return false;
        return true;
    }
    if (n->type != NODE_LIST)
        return false;
    for (size_t i = 0; i < n->kid_count; i++)
        if (!is_empty(n->kids[i]))
            return false;
    return true;
}

static void add_tree(struct parser *p, struct tmpl_node *root)
{
    struct tsn_template *tmpl = p->tmpl;
    struct tmpl_tree *trees;

    for (size_t i = 0; i < tmpl->tree_count; i++) {
        struct tmpl_tree *t = &tmpl->trees[i];

        if (t->name.len != p->name.len || memcmp(t->name.text, p->name.text, p->name.len))
            continue;
        if (!t->root || is_empty(t->root))
            t->root = root;
        else if (!is_empty(root))
            fail(p, "template: multiple definition of template \"%.*s\"", (int)p->name.len, p->name.text);
        return;
    }
    trees = tsn_arena_alloc(&tmpl->arena, (tmpl->tree_count + 1) * sizeof *trees);
    if (tmpl->tree_count)
        memcpy(trees, tmpl->trees, tmpl->tree_count * sizeof *trees);
    trees[tmpl->tree_count++] = (struct tmpl_tree){ p->name, root };
    tmpl->trees = trees;
}

/* The body of a define or block, by a parser of its own. */
static bool parse_named_body(struct parser *p, struct parser *inner, const char *context)
{
    struct tmpl_node *root, *end;

    root = parse_list(inner, &end);
    if (root && end->type != NODE_END)
        fail(inner, "unexpected {{else}} in %s", context);
    else if (root)
        add_tree(inner, root);
    tsn_vec_release(&inner->vars);
    return !*p->failed;
}

static struct parser inner_parser(struct parser *p)
{
    struct parser inner = { .tmpl = p->tmpl, .lexer = p->lexer, .nest = p->nest + 1, .failed = p->failed,
                            .error = p->error };

    tsn_vec_push(&inner.vars, ((struct tmpl_str){ "$", 1 }));
    return inner;
}

static bool parse_definition(struct parser *p)
{
    static const char context[] = "define clause";
    struct parser inner = inner_parser(p);
    struct tmpl_token t = next_non_space(&inner);

    if (template_name(&inner, t, context, &inner.name) && expect(&inner, TOK_RIGHT_DELIM, context, &t))
        return parse_named_body(p, &inner, context);
    tsn_vec_release(&inner.vars);
    return false;
}

static struct tmpl_node *parse_template(struct parser *p, bool block)
{
    const char *context = block ? "block clause" : "template clause";
    struct tmpl_token t = next_non_space(p);
    struct tmpl_node *n = new_node(p, NODE_TEMPLATE, t.pos);
    struct parser inner;

    if (!template_name(p, t, context, &n->text))
        return NULL;
    if (!block && next_non_space(p).type == TOK_RIGHT_DELIM)
        return n;
    if (!block)
        backup(p);
    n->pipe = parse_pipeline(p, context, TOK_RIGHT_DELIM);
    if (!n->pipe || !block)
        return n->pipe ? n : NULL;
    if (p->nest >= TMPL_MAX_NEST)
        return fail(p, "actions nested too deeply (%d)", TMPL_MAX_NEST);
    inner = inner_parser(p);
    inner.name = n->text;
    return parse_named_body(p, &inner, context) ? n : NULL;
}

static struct tmpl_node *parse_action(struct parser *p)
{
    struct tmpl_token t = next_non_space(p);
    struct tmpl_node *n;

    switch (t.type) {
    case TOK_BLOCK: return parse_template(p, true);
    case TOK_TEMPLATE: return parse_template(p, false);
    case TOK_BREAK: return parse_jump(p, NODE_BREAK, t.pos);
    case TOK_CONTINUE: return parse_jump(p, NODE_CONTINUE, t.pos);
    case TOK_ELSE: return parse_else_or_end(p, NODE_ELSE);
    case TOK_END: return parse_else_or_end(p, NODE_END);
    case TOK_IF: return parse_control(p, NODE_IF, t.pos);
    case TOK_RANGE: return parse_control(p, NODE_RANGE, t.pos);
    case TOK_WITH: return parse_control(p, NODE_WITH, t.pos);
    default: break;
    }
    backup(p);
    n = new_node(p, NODE_ACTION, peek(p).pos);
    n->pipe = parse_pipeline(p, "command", TOK_RIGHT_DELIM);
    return n->pipe ? n : NULL;
}

static struct tmpl_node *parse_text_or_action(struct parser *p)
{
    struct tmpl_token t = next_non_space(p);
    struct tmpl_node *n;

    if (t.type == TOK_TEXT) {
        n = new_node(p, NODE_TEXT, t.pos);
        n->text = t.val;
        return n;
    }
    if (t.type != TOK_LEFT_DELIM)
        return unexpected(p, t, "input");
    p->action_line = t.line;
    n = parse_action(p);
    p->action_line = 0;
    return n;
}

static struct tmpl_node *parse_list(struct parser *p, struct tmpl_node **end)
{
    struct tmpl_node *list = new_node(p, NODE_LIST, peek_non_space(p).pos);

    while (peek_non_space(p).type != TOK_EOF) {
        struct tmpl_node *n = parse_text_or_action(p);

        if (!n)
            return NULL;
        if (n->type == NODE_END || n->type == NODE_ELSE) {
            *end = n;
            return list;
        }
        add_kid(p, list, n);
    }
    return fail(p, "unexpected EOF");
}

static void parse_top(struct parser *p)
{
    struct tmpl_node *root = new_node(p, NODE_LIST, peek(p).pos);

    while (peek(p).type != TOK_EOF) {
        struct tmpl_node *n;

        if (peek(p).type == TOK_LEFT_DELIM) {
            struct tmpl_token delim = next(p);

            if (next_non_space(p).type == TOK_DEFINE) {
                if (!parse_definition(p))
                    return;
                continue;
            }
            p->token[1] = delim;
            p->peek_count = 2;
        }
        n = parse_text_or_action(p);
        if (!n)
            return;
        if (n->type == NODE_END || n->type == NODE_ELSE) {
            fail(p, "unexpected %s", n->type == NODE_END ? "{{end}}" : "{{else}}");
            return;
        }
        add_kid(p, root, n);
    }
    add_tree(p, root);
}

bool tmpl_parse(struct tsn_template *tmpl, struct tsn_error *error)
{
    struct tmpl_lexer lexer;
    bool failed = false;
    struct parser p = { .tmpl = tmpl, .lexer = &lexer, .name = { tmpl->name, strlen(tmpl->name) },
                        .failed = &failed, .error = error };

    /* trees[0] is the template itself, whatever is defined before its end is reached. */
    tmpl->trees = tsn_arena_calloc(&tmpl->arena, 1, sizeof *tmpl->trees);
    tmpl->trees[0].name = p.name;
    tmpl->tree_count = 1;
    tmpl_lexer_init(&lexer, &tmpl->arena, tmpl->text, tmpl->len);
    tsn_vec_push(&p.vars, ((struct tmpl_str){ "$", 1 }));
    parse_top(&p);
    tsn_vec_release(&p.vars);
    return !failed;
}
