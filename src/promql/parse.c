/*
 * parse: PromQL text → tree, Prometheus 3.16's grammar.
 *
 * Expressions by precedence climbing; modifiers after an operand ([…], offset, @) bind tighter than
 * any operator. Three things are as in Prometheus and surprise at first: a sign binds like `*`, so
 * -a^2 is -(a^2); keywords are metric names where no keyword can stand (sum, by, offset …); `sum`,
 * `topk` … are aggregations only when (, by or without follows.
 *
 * Guarantees: linear time, recursion ≤ 200, tree height ≤ 2000, text ≤ 1 MiB; the tree is fully
 * typed; every string in it is NUL-terminated and lives as long as the query.
 */
#include "promql/parser.h"

/* ---- errors and tokens ---------------------------------------------------------------------- */

void *tsn_parser_fail(struct tsn_parser *p, struct tsn_span span, const char *fmt, ...)
{
    va_list args;

    if (p->failed)
        return NULL;
    p->failed = true;
    p->error->span = span;
    va_start(args, fmt);
    vsnprintf(p->error->message, sizeof p->error->message, fmt, args);
    va_end(args);
    return NULL;
}

static const char *token_kind(enum tsn_token_type type)
{
    switch (type) {
    case TSN_TOK_IDENTIFIER: return "identifier ";
    case TSN_TOK_METRIC: return "metric identifier ";
    case TSN_TOK_STRING: return "string ";
    case TSN_TOK_NUMBER: return "number ";
    case TSN_TOK_DURATION: return "duration ";
    default: return "";
    }
}

static void describe_token(const struct tsn_parser *p, char *out, size_t out_len)
{
    struct tsn_span s = p->token.span;
    int len = (int)(s.end - s.start < 60 ? s.end - s.start : 60);
    const char *text = p->lexer.text + s.start, *form = "%s\"%.*s\"";

    if (p->token.type == TSN_TOK_EOF) {
        snprintf(out, out_len, "end of input");
        return;
    }
    len = (int)tsn_utf8_valid_prefix(text, (size_t)len);
    if (p->token.type == TSN_TOK_BINOP)
        form = "%s<op:%.*s>";
    else if (p->token.type == TSN_TOK_AGGREGATOR)
        form = "%s<aggr:%.*s>";
    else if (p->token.type >= TSN_TOK_BOOL)
        form = "%s<%.*s>";
    else if (p->token.type == TSN_TOK_STRING)
        form = "%s%.*s";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, out_len, form, token_kind(p->token.type), len, text);
#pragma GCC diagnostic pop
}

void *tsn_parser_unexpected(struct tsn_parser *p, const char *context, const char *expected)
{
    char what[96];

    if (p->token.type == TSN_TOK_ERROR)
        return tsn_parser_fail(p, p->token.span, "%s", p->lexer.error);
    describe_token(p, what, sizeof what);
    return tsn_parser_fail(p, p->token.span, "unexpected %s%s%s%s%s", what, context ? " in " : "",
                           context ? context : "", expected ? ", expected " : "", expected ? expected : "");
}

void tsn_parser_advance(struct tsn_parser *p)
{
    p->last_end = p->token.span.end;
    p->token = tsn_lexer_next(&p->lexer);
}

bool tsn_parser_accept(struct tsn_parser *p, enum tsn_token_type type)
{
    if (p->token.type != type)
        return false;
    tsn_parser_advance(p);
    return true;
}

struct tsn_expr *tsn_parser_node(struct tsn_parser *p, enum tsn_expr_kind kind, struct tsn_span span)
{
    struct tsn_node *node = tsn_arena_calloc(&p->query->arena, 1, sizeof *node);

    node->expr.kind = kind;
    node->expr.span = span;
    node->height = 1;
    return &node->expr;
}

bool tsn_parser_raise(struct tsn_parser *p, struct tsn_expr *expr, const struct tsn_expr *a,
                      const struct tsn_expr *b)
{
    struct tsn_node *node = (struct tsn_node *)expr;
    uint32_t ha = a ? ((const struct tsn_node *)a)->height : 0, hb = b ? ((const struct tsn_node *)b)->height : 0;
    uint32_t height = 1 + (ha > hb ? ha : hb);

    if (height > node->height)
        node->height = height;
    if (node->height <= TSN_PARSE_HEIGHT_MAX)
        return true;
    tsn_parser_fail(p, expr->span, "expression is too deep: more than %d levels", TSN_PARSE_HEIGHT_MAX);
    return false;
}

/* ---- label lists and arguments --------------------------------------------------------------- */

static bool is_label_token(enum tsn_token_type type, int op)
{
    switch (type) {
    case TSN_TOK_IDENTIFIER:
    case TSN_TOK_METRIC:
    case TSN_TOK_AGGREGATOR: return true;
    case TSN_TOK_BINOP: return op >= TSN_OP_AND || op == TSN_OP_ATAN2;
    case TSN_TOK_WITHOUT: return false;
    default: return type >= TSN_TOK_BOOL;
    }
}

/* One label of by(…), on(…), group_left(…). */
static const char *parse_label(struct tsn_parser *p)
{
    struct tsn_token t = p->token;
    uint32_t len;
    char *text;

    if (t.type == TSN_TOK_STRING) {
        text = tsn_parse_unquote(p, t, &len);
        if (text && (!len || !tsn_utf8_valid(text, len) || memchr(text, '\0', len)))
            return tsn_parser_fail(p, t.span, "invalid label name for grouping: \"%s\"", text);
    } else if (is_label_token(t.type, t.op)) {
        text = tsn_arena_strndup(&p->query->arena, p->lexer.text + t.span.start, t.span.end - t.span.start);
    } else {
        return tsn_parser_unexpected(p, "grouping opts", "label");
    }
    if (text)
        tsn_parser_advance(p);
    return text;
}

static bool parse_labels(struct tsn_parser *p, const char ***labels, uint32_t *count)
{
    TSN_VEC(const char *) list = { 0 };
    bool ok = false;

    if (!tsn_parser_accept(p, TSN_TOK_LPAREN))
        return tsn_parser_unexpected(p, "grouping opts", "\"(\"");
    while (p->token.type != TSN_TOK_RPAREN) {
        const char *label = parse_label(p);

        if (!label)
            goto out;
        tsn_vec_push(&list, label);
        if (!tsn_parser_accept(p, TSN_TOK_COMMA) && p->token.type != TSN_TOK_RPAREN) {
            tsn_parser_unexpected(p, "grouping opts", "\",\" or \")\"");
            goto out;
        }
    }
    tsn_parser_advance(p);
    *labels = tsn_arena_alloc(&p->query->arena, list.len * sizeof **labels + 1);
    if (list.len)
        memcpy(*labels, list.items, list.len * sizeof **labels);
    *count = (uint32_t)list.len;
    ok = true;
out:
    tsn_vec_release(&list);
    return ok;
}

/* ( arguments ); the lookahead is the parenthesis. */
static bool parse_arguments(struct tsn_parser *p, struct tsn_expr ***args, uint32_t *count)
{
    TSN_VEC(struct tsn_expr *) list = { 0 };
    bool ok = false;

    tsn_parser_advance(p);
    while (p->token.type != TSN_TOK_RPAREN) {
        struct tsn_expr *arg = tsn_parse_expr(p, 1);
        struct tsn_span comma = p->token.span;

        if (!arg)
            goto out;
        tsn_vec_push(&list, arg);
        if (tsn_parser_accept(p, TSN_TOK_COMMA)) {
            if (p->token.type == TSN_TOK_RPAREN) {
                tsn_parser_fail(p, comma, "trailing commas not allowed in function call args");
                goto out;
            }
        } else if (p->token.type != TSN_TOK_RPAREN) {
            tsn_parser_unexpected(p, NULL, "\",\", \")\" or an operator");
            goto out;
        }
    }
    tsn_parser_advance(p);
    *args = tsn_arena_alloc(&p->query->arena, list.len * sizeof **args + 1);
    if (list.len)
        memcpy(*args, list.items, list.len * sizeof **args);
    *count = (uint32_t)list.len;
    ok = true;
out:
    tsn_vec_release(&list);
    return ok;
}

/* ---- operands -------------------------------------------------------------------------------- */

static bool parse_grouping(struct tsn_parser *p, struct tsn_expr *e)
{
    e->u.aggregate.without = p->token.type == TSN_TOK_WITHOUT;
    e->u.aggregate.grouping_given = true;
    tsn_parser_advance(p);
    return parse_labels(p, &e->u.aggregate.labels, &e->u.aggregate.label_count);
}

static bool has_param(enum tsn_aggop op)
{
    return op == TSN_AGG_TOPK || op == TSN_AGG_BOTTOMK || op == TSN_AGG_QUANTILE ||
           op == TSN_AGG_COUNT_VALUES || op == TSN_AGG_LIMITK || op == TSN_AGG_LIMIT_RATIO;
}

static bool at_grouping(const struct tsn_parser *p)
{
    return p->token.type == TSN_TOK_BY || p->token.type == TSN_TOK_WITHOUT;
}

/* The operator is taken; the lookahead is (, by or without. */
static struct tsn_expr *parse_aggregate(struct tsn_parser *p, struct tsn_token op)
{
    struct tsn_expr *e = tsn_parser_node(p, TSN_EXPR_AGGREGATE, op.span), **args;
    uint32_t count, want = has_param((enum tsn_aggop)op.op) ? 2 : 1;

    e->u.aggregate.op = (enum tsn_aggop)op.op;
    if (at_grouping(p) && !parse_grouping(p, e))
        return NULL;
    if (p->token.type != TSN_TOK_LPAREN)
        return tsn_parser_unexpected(p, "aggregation", "\"(\"");
    if (!parse_arguments(p, &args, &count))
        return NULL;
    e->span.end = p->last_end;
    if (!e->u.aggregate.grouping_given && at_grouping(p)) {
        if (!parse_grouping(p, e))
            return NULL;
        e->span.end = p->last_end;
    }
    if (!count)
        return tsn_parser_fail(p, e->span, "no arguments for aggregate expression provided");
    if (op.op == TSN_AGG_LIMITK || op.op == TSN_AGG_LIMIT_RATIO)
        return tsn_parser_fail(p, e->span, "%s() is experimental and must be enabled with "
                                           "--enable-feature=promql-experimental-functions",
                               tsn_aggop_text((enum tsn_aggop)op.op));
    if (count != want)
        return tsn_parser_fail(p, e->span, "wrong number of arguments for aggregate expression provided, "
                                           "expected %u, got %u", want, count);
    e->u.aggregate.param = want == 2 ? args[0] : NULL;
    e->u.aggregate.operand = args[want - 1];
    return tsn_parser_raise(p, e, e->u.aggregate.operand, e->u.aggregate.param) ? e : NULL;
}

/* The name is taken; the lookahead is the parenthesis. */
static struct tsn_expr *parse_call(struct tsn_parser *p, struct tsn_token name)
{
    uint32_t len = name.span.end - name.span.start;
    const char *text = p->lexer.text + name.span.start;
    const struct tsn_function *func = tsn_function_find(text, len);
    struct tsn_expr *e = tsn_parser_node(p, TSN_EXPR_CALL, name.span);

    if (!func)
        return tsn_parser_fail(p, name.span, "unknown function with name \"%.*s\"",
                               (int)(len < 100 ? len : 100), text);
    if (func->experimental)
        return tsn_parser_fail(p, name.span, "function \"%s\" is not enabled", func->name);
    e->u.call.func = func;
    if (!parse_arguments(p, &e->u.call.args, &e->u.call.arg_count))
        return NULL;
    e->span.end = p->last_end;
    for (uint32_t i = 0; i < e->u.call.arg_count; i++)
        if (!tsn_parser_raise(p, e, e->u.call.args[i], NULL))
            return NULL;
    return e;
}

static struct tsn_expr *parse_paren(struct tsn_parser *p)
{
    struct tsn_expr *e = tsn_parser_node(p, TSN_EXPR_PAREN, p->token.span);

    tsn_parser_advance(p);
    e->u.paren = tsn_parse_expr(p, 1);
    if (!e->u.paren)
        return NULL;
    if (!tsn_parser_accept(p, TSN_TOK_RPAREN))
        return tsn_parser_unexpected(p, NULL, "\")\" or an operator");
    e->span.end = p->last_end;
    return tsn_parser_raise(p, e, e->u.paren, NULL) ? e : NULL;
}

static struct tsn_expr *parse_literal(struct tsn_parser *p)
{
    struct tsn_token t = p->token;
    struct tsn_expr *e;

    if (t.type == TSN_TOK_STRING) {
        e = tsn_parser_node(p, TSN_EXPR_STRING, t.span);
        e->u.string.text = tsn_parse_unquote(p, t, &e->u.string.len);
        tsn_parser_advance(p);
        return e->u.string.text ? e : NULL;
    }
    e = tsn_parser_node(p, TSN_EXPR_NUMBER, t.span);
    return tsn_parse_number(p, &e->u.number, &e->number_is_duration) ? e : NULL;
}

/* A word: an aggregation, a call or a metric name, as the next token decides. */
static struct tsn_expr *parse_word(struct tsn_parser *p)
{
    struct tsn_lexer ahead = p->lexer;
    struct tsn_token word = p->token, next = tsn_lexer_next(&ahead);
    bool call = next.type == TSN_TOK_LPAREN;

    if (word.type == TSN_TOK_AGGREGATOR && (call || next.type == TSN_TOK_BY || next.type == TSN_TOK_WITHOUT)) {
        tsn_parser_advance(p);
        return parse_aggregate(p, word);
    }
    if (call && (word.type == TSN_TOK_IDENTIFIER || (word.type >= TSN_TOK_START && word.type <= TSN_TOK_MIN_OF))) {
        tsn_parser_advance(p);
        return parse_call(p, word);
    }
    return tsn_parse_selector(p);
}

static struct tsn_expr *parse_primary(struct tsn_parser *p)
{
    switch (p->token.type) {
    case TSN_TOK_LPAREN: return parse_paren(p);
    case TSN_TOK_NUMBER:
    case TSN_TOK_DURATION:
    case TSN_TOK_STRING: return parse_literal(p);
    case TSN_TOK_LBRACE: return tsn_parse_selector(p);
    case TSN_TOK_BINOP: /* and, or, unless are metric names here */
        if (p->token.op >= TSN_OP_AND)
            return parse_word(p);
        break;
    default:
        if (tsn_parse_is_metric_token(p->token.type))
            return parse_word(p);
    }
    return tsn_parser_unexpected(p, NULL, "an expression");
}

static struct tsn_expr *parse_postfix(struct tsn_parser *p)
{
    struct tsn_expr *e = parse_primary(p);

    while (e) {
        switch (p->token.type) {
        case TSN_TOK_LBRACKET: e = tsn_parse_brackets(p, e); break;
        case TSN_TOK_OFFSET: e = tsn_parse_offset(p, e); break;
        case TSN_TOK_AT: e = tsn_parse_at(p, e); break;
        case TSN_TOK_ANCHORED:
        case TSN_TOK_SMOOTHED: e = tsn_parse_extended(p, e); break;
        default: return e;
        }
    }
    return NULL;
}

/* A sign binds like *, so only ^ goes into its operand. A signed number is a number. */
static struct tsn_expr *parse_unary(struct tsn_parser *p)
{
    struct tsn_token sign = p->token;
    struct tsn_expr *operand, *e;

    if (sign.type != TSN_TOK_BINOP || (sign.op != TSN_OP_ADD && sign.op != TSN_OP_SUB))
        return parse_postfix(p);
    if (++p->nesting > TSN_PARSE_NESTING_MAX)
        return tsn_parser_fail(p, sign.span, "expression is nested more than %d deep", TSN_PARSE_NESTING_MAX);
    tsn_parser_advance(p);
    operand = tsn_parse_expr(p, tsn_parse_precedence(TSN_OP_POW));
    p->nesting--;
    if (!operand)
        return NULL;
    if (operand->kind == TSN_EXPR_NUMBER) {
        if (sign.op == TSN_OP_SUB)
            operand->u.number = -operand->u.number;
        operand->span.start = sign.span.start;
        return operand;
    }
    e = tsn_parser_node(p, TSN_EXPR_UNARY, (struct tsn_span){ sign.span.start, operand->span.end });
    e->u.unary.negate = sign.op == TSN_OP_SUB;
    e->u.unary.operand = operand;
    return tsn_parser_raise(p, e, operand, NULL) ? e : NULL;
}

/* ---- binary operators ------------------------------------------------------------------------ */

int tsn_parse_precedence(enum tsn_binop op)
{
    switch (op) {
    case TSN_OP_OR: return 1;
    case TSN_OP_AND:
    case TSN_OP_UNLESS: return 2;
    case TSN_OP_ADD:
    case TSN_OP_SUB: return 4;
    case TSN_OP_MUL:
    case TSN_OP_DIV:
    case TSN_OP_MOD:
    case TSN_OP_ATAN2: return 5;
    case TSN_OP_POW: return 6;
    default: return 3;
    }
}

/* bool, on/ignoring (…), group_left/right (…) after the operator. */
static bool parse_matching(struct tsn_parser *p, struct tsn_expr *e)
{
    enum tsn_token_type type;

    e->u.binary.return_bool = tsn_parser_accept(p, TSN_TOK_BOOL);
    type = p->token.type;
    if (type == TSN_TOK_ON || type == TSN_TOK_IGNORING) {
        e->u.binary.on = type == TSN_TOK_ON;
        e->u.binary.matching_given = true;
        tsn_parser_advance(p);
        if (!parse_labels(p, &e->u.binary.match_labels, &e->u.binary.match_label_count))
            return false;
        type = p->token.type;
        if (type == TSN_TOK_GROUP_LEFT || type == TSN_TOK_GROUP_RIGHT) {
            e->u.binary.card = type == TSN_TOK_GROUP_LEFT ? TSN_CARD_MANY_TO_ONE : TSN_CARD_ONE_TO_MANY;
            tsn_parser_advance(p);
            if (p->token.type == TSN_TOK_LPAREN &&
                !parse_labels(p, &e->u.binary.include_labels, &e->u.binary.include_label_count))
                return false;
        }
    }
    if (p->token.type == TSN_TOK_FILL) {
        tsn_parser_fail(p, p->token.span, "binop fill modifiers are experimental and not enabled");
        return false;
    }
    return true;
}

static struct tsn_expr *parse_binary(struct tsn_parser *p, struct tsn_expr *lhs, int precedence)
{
    enum tsn_binop op = (enum tsn_binop)p->token.op;
    struct tsn_expr *e = tsn_parser_node(p, TSN_EXPR_BINARY, lhs->span);

    e->u.binary.op = op;
    e->u.binary.lhs = lhs;
    tsn_parser_advance(p);
    if (!parse_matching(p, e))
        return NULL;
    e->u.binary.rhs = tsn_parse_expr(p, op == TSN_OP_POW ? precedence : precedence + 1);
    if (!e->u.binary.rhs)
        return NULL;
    e->span.end = e->u.binary.rhs->span.end;
    return tsn_parser_raise(p, e, lhs, e->u.binary.rhs) ? e : NULL;
}

struct tsn_expr *tsn_parse_expr(struct tsn_parser *p, int min_precedence)
{
    struct tsn_expr *e;

    if (++p->nesting > TSN_PARSE_NESTING_MAX)
        return tsn_parser_fail(p, p->token.span, "expression is nested more than %d deep",
                               TSN_PARSE_NESTING_MAX);
    e = parse_unary(p);
    while (e && p->token.type == TSN_TOK_BINOP) {
        int precedence = tsn_parse_precedence((enum tsn_binop)p->token.op);

        if (precedence < min_precedence)
            break;
        e = parse_binary(p, e, precedence);
    }
    p->nesting--;
    return e;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void locate(const char *text, size_t len, struct tsn_parse_error *error)
{
    size_t end = error->span.start < len ? error->span.start : len;

    error->line = 1;
    error->column = 1;
    for (size_t i = 0; i < end; i++) {
        error->column++;
        if (text[i] == '\n') {
            error->line++;
            error->column = 1;
        }
    }
}

static bool parse_root(struct tsn_parser *p)
{
    tsn_parser_advance(p);
    if (p->token.type == TSN_TOK_EOF)
        return tsn_parser_fail(p, p->token.span, "no expression found in input");
    p->query->root = tsn_parse_expr(p, 1);
    if (!p->query->root)
        return false;
    if (p->token.type != TSN_TOK_EOF)
        return tsn_parser_unexpected(p, NULL, "an operator or the end of the expression");
    return tsn_check_types(p, p->query->root);
}

struct tsn_query *tsn_query_parse(const char *text, size_t len, struct tsn_parse_error *error)
{
    struct tsn_parser p = { .error = error };
    struct tsn_query *query;

    memset(error, 0, sizeof *error);
    if (len > TSN_PARSE_TEXT_MAX) {
        error->line = error->column = 1;
        snprintf(error->message, sizeof error->message, "expression is longer than 1 MiB");
        return NULL;
    }
    query = tsn_calloc(1, sizeof *query);
    tsn_arena_init(&query->arena, 4096);
    query->text = tsn_strndup(text, len);
    p.query = query;
    tsn_lexer_init(&p.lexer, query->text, (uint32_t)len);
    if (!parse_root(&p)) {
        TSN_ASSERT(p.failed);
        locate(text, len, error);
        query->root = NULL;
    }
    query->regexes = p.regexes.items;
    query->regex_count = p.regexes.len;
    if (!query->root)
        tsn_query_free(&query);
    return query;
}

void tsn_query_free(struct tsn_query **query)
{
    struct tsn_query *q = *query;

    if (!q)
        return;
    for (size_t i = 0; i < q->regex_count; i++)
        tsn_regex_free(&q->regexes[i]);
    tsn_free(q->regexes);
    tsn_arena_release(&q->arena);
    tsn_free(q->text);
    tsn_free(q);
    *query = NULL;
}
