/*
 * parse_selector: literals, selectors and what may follow an operand: [range], [range:step], offset, @.
 *
 * Durations are arithmetic in 3.x: [5m + 30s], offset -(1h / 2). It is folded here; step() and range()
 * depend on a query's own step and span, which a rule does not have, and count as Prometheus counts
 * them for an instant query: zero. A literal range or step of nothing is refused here; arithmetic that
 * folds to nothing loads, as in Prometheus, and fails when evaluated (range_ms 0, step_ms -1).
 */
#include "promql/parser.h"

#include <math.h>

bool tsn_parse_is_metric_token(enum tsn_token_type type)
{
    switch (type) {
    case TSN_TOK_IDENTIFIER:
    case TSN_TOK_METRIC:
    case TSN_TOK_AGGREGATOR:
    case TSN_TOK_BY:
    case TSN_TOK_WITHOUT:
    case TSN_TOK_OFFSET:
    case TSN_TOK_SMOOTHED:
    case TSN_TOK_ANCHORED:
    case TSN_TOK_START:
    case TSN_TOK_END:
    case TSN_TOK_STEP:
    case TSN_TOK_RANGE:
    case TSN_TOK_MAX_OF:
    case TSN_TOK_MIN_OF: return true;
    default: return false;
    }
}

/* ---- strings --------------------------------------------------------------------------------- */

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static unsigned take_digits(const char *s, size_t count, unsigned base)
{
    unsigned value = 0;

    for (size_t i = 0; i < count; i++)
        value = value * base + digit(s[i]);
    return value;
}

/* One escape after its backslash, checked by the lexer. Returns the bytes it takes. */
static size_t unescape(const char *s, char *out, size_t *out_len)
{
    static const char names[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
    const char *name = strchr(names, s[0]);
    size_t count;

    if (s[0] >= '0' && s[0] <= '7') {
        out[(*out_len)++] = (char)take_digits(s, 3, 8);
        return 3;
    }
    if (s[0] == 'x') {
        out[(*out_len)++] = (char)take_digits(s + 1, 2, 16);
        return 3;
    }
    if (s[0] == 'u' || s[0] == 'U') {
        count = s[0] == 'u' ? 4 : 8;
        *out_len += tsn_utf8_encode(take_digits(s + 1, count, 16), out + *out_len);
        return count + 1;
    }
    out[(*out_len)++] = name ? values[name - names] : s[0];
    return 1;
}

char *tsn_parse_unquote(struct tsn_parser *p, struct tsn_token token, uint32_t *len)
{
    const char *s = p->lexer.text + token.span.start + 1;
    size_t in_len = token.span.end - token.span.start - 2, out_len = 0;
    bool raw = s[-1] == '`';
    /* An escape is never longer than its text. */
    char *out = tsn_arena_alloc(&p->query->arena, in_len + 1);

    for (size_t i = 0; i < in_len;) {
        if (raw || s[i] != '\\') {
            out[out_len++] = s[i++];
            continue;
        }
        i += 1 + unescape(s + i + 1, out, &out_len);
    }
    out[out_len] = '\0';
    *len = (uint32_t)out_len;
    return out;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Underscores may stand between digits, and between a base prefix and a digit. */
static bool underscores_ok(const char *s, size_t len)
{
    char before = '^';
    size_t i = 0;

    if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'x') {
        i = 2;
        before = '0';
    }
    for (; i < len; i++) {
        bool alnum = (s[i] >= '0' && s[i] <= '9') || ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f' && i >= 2 &&
                                                       (s[1] | 0x20) == 'x');
        if (s[i] == '_' ? before != '0' : (!alnum && before == '_'))
            return false;
        before = s[i] == '_' ? '_' : alnum ? '0' : '!';
    }
    return before != '_';
}

/* An integer with Go's prefixes: 0x…, and 0… for octal. False if it is not one or does not fit. */
static bool parse_integer(const char *s, size_t len, double *value)
{
    unsigned base = 10;
    size_t i = 0;
    int64_t n = 0;

    if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'x') {
        base = 16;
        i = 2;
    } else if (len > 1 && s[0] == '0') {
        base = 8;
        i = 1;
    }
    for (; i < len; i++) {
        bool is_digit = s[i] >= '0' && s[i] <= '9', is_hex = (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f';

        if ((!is_digit && !is_hex) || digit(s[i]) >= base || __builtin_mul_overflow(n, (int64_t)base, &n) ||
            __builtin_add_overflow(n, (int64_t)digit(s[i]), &n))
            return false;
    }
    *value = (double)n;
    return true;
}

static bool number_value(const char *s, size_t len, double *value)
{
    char clean[512];
    size_t n = 0;

    if (len >= sizeof clean || (memchr(s, '_', len) && !underscores_ok(s, len)))
        return false;
    for (size_t i = 0; i < len; i++)
        if (s[i] != '_')
            clean[n++] = s[i];
    if (parse_integer(clean, n, value))
        return true;
    if (n > 1 && (clean[1] | 0x20) == 'x')
        return false;
    /* Out of range is an error, as in Go; only the words inf and nan mean these. */
    return tsn_parse_double(clean, n, value) && (isfinite(*value) || (clean[0] | 0x20) == 'i' ||
                                                 (clean[0] | 0x20) == 'n');
}

bool tsn_parse_number(struct tsn_parser *p, double *value, bool *is_duration)
{
    struct tsn_span span = p->token.span;
    const char *text = p->lexer.text + span.start;
    uint32_t len = span.end - span.start;
    int64_t ms = 0;

    *is_duration = p->token.type == TSN_TOK_DURATION;
    if (*is_duration) {
        if (!tsn_parse_duration(text, len, &ms)) {
            tsn_parser_fail(p, span, "not a valid duration string: \"%.*s\"", (int)(len < 80 ? len : 80), text);
            return false;
        }
        if (ms > INT64_MAX / 1000000) { /* nanoseconds in 64 bits: 292 years */
            tsn_parser_fail(p, span, "duration out of range");
            return false;
        }
        *value = (double)ms / 1000;
    } else if (!number_value(text, len, value)) {
        tsn_parser_fail(p, span, "error parsing number: \"%.*s\"", (int)(len < 80 ? len : 80), text);
        return false;
    }
    tsn_parser_advance(p);
    return true;
}

/* ---- matchers -------------------------------------------------------------------------------- */

static bool is_match_op(const struct tsn_token *t, enum tsn_match_op *op)
{
    switch (t->type) {
    case TSN_TOK_ASSIGN: *op = TSN_MATCH_EQ; return true;
    case TSN_TOK_EQ_RE: *op = TSN_MATCH_RE; return true;
    case TSN_TOK_NE_RE: *op = TSN_MATCH_NRE; return true;
    case TSN_TOK_BINOP: *op = TSN_MATCH_NE; return t->op == TSN_OP_NE;
    default: return false;
    }
}

static bool compile_matcher(struct tsn_parser *p, struct tsn_matcher *m, struct tsn_span span)
{
    struct tsn_error error = { 0 };
    struct tsn_regex *regex;

    if (m->op != TSN_MATCH_RE && m->op != TSN_MATCH_NRE)
        return true;
    regex = tsn_regex_new(m->value, m->value_len, &error);
    if (!regex) {
        tsn_parser_fail(p, span, "%s", error.message);
        return false;
    }
    tsn_vec_push(&p->regexes, regex);
    m->regex = regex;
    return true;
}

/* name op "value", "name" op "value", or "metric" alone. */
static bool parse_matcher(struct tsn_parser *p, struct tsn_matcher *m)
{
    struct tsn_token name = p->token;

    if (name.type != TSN_TOK_IDENTIFIER && name.type != TSN_TOK_STRING)
        return tsn_parser_unexpected(p, "label matching", "identifier or \"}\"");
    if (name.type == TSN_TOK_STRING) {
        m->name = tsn_parse_unquote(p, name, &m->name_len);
    } else {
        m->name_len = name.span.end - name.span.start;
        m->name = tsn_arena_strndup(&p->query->arena, p->lexer.text + name.span.start, m->name_len);
    }
    tsn_parser_advance(p);
    if (!is_match_op(&p->token, &m->op)) {
        if (name.type == TSN_TOK_IDENTIFIER)
            return tsn_parser_unexpected(p, "label matching", "label matching operator");
        m->value = m->name;
        m->value_len = m->name_len;
        m->name = "__name__";
        m->name_len = 8;
        m->op = TSN_MATCH_EQ;
        return true;
    }
    tsn_parser_advance(p);
    if (p->token.type != TSN_TOK_STRING)
        return tsn_parser_unexpected(p, "label matching", "string");
    m->value = tsn_parse_unquote(p, p->token, &m->value_len);
    tsn_parser_advance(p);
    return compile_matcher(p, m, (struct tsn_span){ name.span.start, p->last_end });
}

static bool parse_matchers(struct tsn_parser *p, struct tsn_matcher *name, struct tsn_expr *e)
{
    TSN_VEC(struct tsn_matcher) list = { 0 };
    bool ok = false;

    if (p->token.type == TSN_TOK_LBRACE) {
        tsn_parser_advance(p);
        while (p->token.type != TSN_TOK_RBRACE) {
            struct tsn_matcher m = { 0 };

            if (!parse_matcher(p, &m))
                goto out;
            tsn_vec_push(&list, m);
            if (!tsn_parser_accept(p, TSN_TOK_COMMA) && p->token.type != TSN_TOK_RBRACE) {
                tsn_parser_unexpected(p, "label matching", "\",\" or \"}\"");
                goto out;
            }
        }
        tsn_parser_advance(p);
    }
    if (name)
        tsn_vec_push(&list, *name);
    e->u.selector.matchers = tsn_arena_alloc(&p->query->arena, list.len * sizeof list.items[0] + 1);
    if (list.len)
        memcpy(e->u.selector.matchers, list.items, list.len * sizeof list.items[0]);
    e->u.selector.matcher_count = (uint32_t)list.len;
    ok = true;
out:
    tsn_vec_release(&list);
    return ok;
}

struct tsn_expr *tsn_parse_selector(struct tsn_parser *p)
{
    struct tsn_expr *e = tsn_parser_node(p, TSN_EXPR_SELECTOR, p->token.span);
    struct tsn_matcher name = { .op = TSN_MATCH_EQ, .name = "__name__", .name_len = 8 };
    bool named = p->token.type != TSN_TOK_LBRACE;

    if (named) {
        name.value_len = p->token.span.end - p->token.span.start;
        name.value = tsn_arena_strndup(&p->query->arena, p->lexer.text + p->token.span.start, name.value_len);
        e->u.selector.name = name.value;
        tsn_parser_advance(p);
    }
    if (!parse_matchers(p, named ? &name : NULL, e))
        return NULL;
    e->span.end = p->last_end;
    return e;
}

/* ---- durations ------------------------------------------------------------------------------- */

struct duration {
    double seconds;
    bool literal; /* a number, signed perhaps; else arithmetic */
};

static bool parse_duration(struct tsn_parser *p, int min_precedence, struct duration *out);

static bool in_range(struct tsn_parser *p, double seconds, struct tsn_span span)
{
    if (seconds <= 9223372036.854775807 && seconds >= -9223372036.854775808)
        return true;
    tsn_parser_fail(p, span, "duration out of range");
    return false;
}

/* Takes the token or says what was expected instead. */
static bool expect(struct tsn_parser *p, enum tsn_token_type type, const char *text)
{
    if (tsn_parser_accept(p, type))
        return true;
    tsn_parser_unexpected(p, "duration expression", text);
    return false;
}

/* step(), range(), max_of(a, b), min_of(a, b); the lookahead is the word. */
static bool parse_duration_call(struct tsn_parser *p, struct duration *out)
{
    enum tsn_token_type word = p->token.type;
    struct duration a = { 0 }, b = { 0 };

    tsn_parser_advance(p);
    if (!expect(p, TSN_TOK_LPAREN, "\"(\""))
        return false;
    if (word == TSN_TOK_MAX_OF || word == TSN_TOK_MIN_OF) {
        if (!parse_duration(p, 1, &a) || !expect(p, TSN_TOK_COMMA, "\",\"") || !parse_duration(p, 1, &b))
            return false;
    }
    out->literal = false;
    out->seconds = word == TSN_TOK_MAX_OF ? fmax(a.seconds, b.seconds) : fmin(a.seconds, b.seconds);
    return expect(p, TSN_TOK_RPAREN, "\")\"");
}

static bool is_sign(const struct tsn_token *t)
{
    return t->type == TSN_TOK_BINOP && (t->op == TSN_OP_ADD || t->op == TSN_OP_SUB);
}

static bool parse_duration_operand(struct tsn_parser *p, struct duration *out)
{
    struct tsn_token t = p->token;
    bool ignored;

    if (++p->nesting > TSN_PARSE_NESTING_MAX) {
        tsn_parser_fail(p, t.span, "expression is nested more than %d deep", TSN_PARSE_NESTING_MAX);
        return false;
    }
    if (is_sign(&t)) {
        tsn_parser_advance(p);
        if (!parse_duration(p, tsn_parse_precedence(TSN_OP_POW), out))
            return false;
        if (t.op == TSN_OP_SUB)
            out->seconds = -out->seconds;
    } else if (t.type == TSN_TOK_LPAREN) {
        tsn_parser_advance(p);
        if (!parse_duration(p, 1, out) || !expect(p, TSN_TOK_RPAREN, "\")\""))
            return false;
        out->literal = false;
    } else if (t.type >= TSN_TOK_STEP && t.type <= TSN_TOK_MIN_OF) {
        if (!parse_duration_call(p, out))
            return false;
    } else if (t.type == TSN_TOK_NUMBER || t.type == TSN_TOK_DURATION) {
        out->literal = true;
        if (!tsn_parse_number(p, &out->seconds, &ignored) || !in_range(p, out->seconds, t.span))
            return false;
    } else {
        tsn_parser_unexpected(p, "subquery or range selector", "number, duration, step(), or range()");
        return false;
    }
    p->nesting--;
    return true;
}

static bool apply(struct tsn_parser *p, struct tsn_token op, struct duration *a, struct duration b)
{
    if ((op.op == TSN_OP_DIV || op.op == TSN_OP_MOD) && b.seconds == 0) {
        tsn_parser_fail(p, op.span, "%s by zero", op.op == TSN_OP_DIV ? "division" : "modulo");
        return false;
    }
    a->literal = false;
    switch (op.op) {
    case TSN_OP_ADD: a->seconds += b.seconds; break;
    case TSN_OP_SUB: a->seconds -= b.seconds; break;
    case TSN_OP_MUL: a->seconds *= b.seconds; break;
    case TSN_OP_DIV: a->seconds /= b.seconds; break;
    case TSN_OP_MOD: a->seconds = fmod(a->seconds, b.seconds); break;
    default: a->seconds = pow(a->seconds, b.seconds);
    }
    return true;
}

static bool parse_duration(struct tsn_parser *p, int min_precedence, struct duration *out)
{
    if (!parse_duration_operand(p, out))
        return false;
    while (p->token.type == TSN_TOK_BINOP && (p->token.op <= TSN_OP_POW)) {
        struct tsn_token op = p->token;
        int precedence = tsn_parse_precedence((enum tsn_binop)op.op);
        struct duration rhs = { 0 };

        if (precedence < min_precedence)
            break;
        tsn_parser_advance(p);
        if (!parse_duration(p, op.op == TSN_OP_POW ? precedence : precedence + 1, &rhs) ||
            !apply(p, op, out, rhs))
            return false;
    }
    return true;
}

/* Milliseconds; literals round to the nanosecond first, arithmetic cuts, as Prometheus does. */
static bool duration_ms(struct tsn_parser *p, struct duration d, struct tsn_span span, int64_t *ms)
{
    if (!isfinite(d.seconds)) {
        tsn_parser_fail(p, span, "duration is NaN or infinite");
        return false;
    }
    if (!in_range(p, d.seconds, span))
        return false;
    *ms = d.literal ? (int64_t)(round(d.seconds * 1e9) / 1e6) : (int64_t)(d.seconds * 1000);
    return true;
}

/* *ms is `nothing` for arithmetic that folds to no time at all. */
static bool parse_positive(struct tsn_parser *p, int64_t nothing, int64_t *ms)
{
    struct tsn_span span = p->token.span;
    struct duration d = { 0 };

    if (!parse_duration(p, 1, &d))
        return false;
    span.end = p->last_end;
    if (d.literal && d.seconds <= 0) {
        tsn_parser_fail(p, span, "duration must be greater than 0");
        return false;
    }
    if (!duration_ms(p, d, span, ms))
        return false;
    if (*ms <= 0)
        *ms = nothing;
    return true;
}

/* ---- what may follow an operand -------------------------------------------------------------- */

static struct tsn_expr *finish_matrix(struct tsn_parser *p, struct tsn_expr *operand, int64_t range_ms,
                                      struct tsn_span brackets)
{
    struct tsn_expr *e;

    if (operand->kind != TSN_EXPR_SELECTOR)
        return tsn_parser_fail(p, brackets, "ranges only allowed for vector selectors");
    if (((struct tsn_node *)operand)->offset_set)
        return tsn_parser_fail(p, brackets, "no offset modifiers allowed before range");
    if (operand->u.selector.at != TSN_AT_NONE)
        return tsn_parser_fail(p, brackets, "no @ modifiers allowed before range");
    e = tsn_parser_node(p, TSN_EXPR_MATRIX, (struct tsn_span){ operand->span.start, brackets.end });
    e->u.matrix.selector = operand;
    e->u.matrix.range_ms = range_ms;
    return tsn_parser_raise(p, e, operand, NULL) ? e : NULL;
}

struct tsn_expr *tsn_parse_brackets(struct tsn_parser *p, struct tsn_expr *operand)
{
    struct tsn_span brackets = p->token.span;
    int64_t range_ms, step_ms = 0;
    struct tsn_expr *e;

    tsn_parser_advance(p);
    if (!parse_positive(p, 0, &range_ms))
        return NULL;
    if (tsn_parser_accept(p, TSN_TOK_RBRACKET)) {
        brackets.end = p->last_end;
        return finish_matrix(p, operand, range_ms, brackets);
    }
    if (!tsn_parser_accept(p, TSN_TOK_COLON))
        return tsn_parser_unexpected(p, "subquery or range", "\":\" or \"]\"");
    if (p->token.type != TSN_TOK_RBRACKET && !parse_positive(p, -1, &step_ms))
        return NULL;
    if (!tsn_parser_accept(p, TSN_TOK_RBRACKET))
        return tsn_parser_unexpected(p, "subquery selector", "\"]\"");
    e = tsn_parser_node(p, TSN_EXPR_SUBQUERY, (struct tsn_span){ operand->span.start, p->last_end });
    e->u.subquery.operand = operand;
    e->u.subquery.range_ms = range_ms;
    e->u.subquery.step_ms = step_ms;
    return tsn_parser_raise(p, e, operand, NULL) ? e : NULL;
}

/* The selector or subquery whose time a modifier moves; NULL with an error if there is none. */
static struct tsn_expr *modified(struct tsn_parser *p, struct tsn_expr *operand, const char *what)
{
    if (operand->kind == TSN_EXPR_MATRIX)
        return operand->u.matrix.selector;
    if (operand->kind == TSN_EXPR_SELECTOR || operand->kind == TSN_EXPR_SUBQUERY)
        return operand;
    return tsn_parser_fail(p, operand->span, "%s modifier must be preceded by an instant vector selector or "
                                             "range vector selector or a subquery", what);
}

/* A signed literal, step() or a sign and parentheses end the offset; any other arithmetic goes on
 * as far as it can: `x offset (5m) * 2` is an offset of 10m, `x offset 5m * 2` is (x offset 5m) * 2. */
static bool parse_offset_duration(struct tsn_parser *p, struct duration *out)
{
    struct tsn_lexer ahead = p->lexer;
    bool sign = is_sign(&p->token);
    struct tsn_token first = sign ? tsn_lexer_next(&ahead) : p->token;

    if (first.type == TSN_TOK_LPAREN ? sign : !is_sign(&first)) {
        bool negate = sign && p->token.op == TSN_OP_SUB;

        if (sign)
            tsn_parser_advance(p);
        if (!parse_duration_operand(p, out))
            return false;
        if (negate)
            out->seconds = -out->seconds;
        return true;
    }
    return parse_duration(p, 1, out);
}

struct tsn_expr *tsn_parse_offset(struct tsn_parser *p, struct tsn_expr *operand)
{
    struct duration d = { 0 };
    struct tsn_expr *target;
    struct tsn_span span;
    int64_t ms;

    tsn_parser_advance(p);
    span = p->token.span;
    if (!parse_offset_duration(p, &d))
        return NULL;
    span.end = p->last_end;
    if (!duration_ms(p, d, span, &ms))
        return NULL;
    target = modified(p, operand, "offset");
    if (!target)
        return NULL;
    if (((struct tsn_node *)target)->offset_set)
        return tsn_parser_fail(p, operand->span, "offset may not be set multiple times");
    ((struct tsn_node *)target)->offset_set = !d.literal || round(d.seconds * 1e9) != 0;
    if (target->kind == TSN_EXPR_SUBQUERY)
        target->u.subquery.offset_ms = ms;
    else
        target->u.selector.offset_ms = ms;
    operand->span.end = p->last_end;
    return operand;
}

static bool parse_at_time(struct tsn_parser *p, enum tsn_at_kind *kind, double *seconds)
{
    bool negate = false, ignored;

    if (p->token.type == TSN_TOK_START || p->token.type == TSN_TOK_END) {
        *kind = p->token.type == TSN_TOK_START ? TSN_AT_START : TSN_AT_END;
        tsn_parser_advance(p);
        if (!tsn_parser_accept(p, TSN_TOK_LPAREN))
            return tsn_parser_unexpected(p, "@", "\"(\"");
        if (!tsn_parser_accept(p, TSN_TOK_RPAREN))
            return tsn_parser_unexpected(p, "@", "\")\"");
        return true;
    }
    *kind = TSN_AT_TIMESTAMP;
    if (is_sign(&p->token)) {
        negate = p->token.op == TSN_OP_SUB;
        tsn_parser_advance(p);
    }
    if (p->token.type != TSN_TOK_NUMBER && p->token.type != TSN_TOK_DURATION)
        return tsn_parser_unexpected(p, "@", "timestamp");
    if (!tsn_parse_number(p, seconds, &ignored))
        return false;
    if (negate)
        *seconds = -*seconds;
    return true;
}

struct tsn_expr *tsn_parse_at(struct tsn_parser *p, struct tsn_expr *operand)
{
    enum tsn_at_kind kind = TSN_AT_NONE, *at;
    double seconds = 0;
    struct tsn_expr *target;
    int64_t *at_ms;

    tsn_parser_advance(p);
    if (!parse_at_time(p, &kind, &seconds))
        return NULL;
    /* ± 2^63 seconds by the letter; what fits in milliseconds by the machine. */
    if (!(fabs(seconds) < 9.2e15))
        return tsn_parser_fail(p, operand->span, "timestamp out of bounds for @ modifier: %f", seconds);
    target = modified(p, operand, "@");
    if (!target)
        return NULL;
    at = target->kind == TSN_EXPR_SUBQUERY ? &target->u.subquery.at : &target->u.selector.at;
    at_ms = target->kind == TSN_EXPR_SUBQUERY ? &target->u.subquery.at_ms : &target->u.selector.at_ms;
    if (*at != TSN_AT_NONE)
        return tsn_parser_fail(p, operand->span, "@ <timestamp> may not be set multiple times");
    *at = kind;
    *at_ms = (int64_t)round(seconds * 1000);
    operand->span.end = p->last_end;
    return operand;
}

struct tsn_expr *tsn_parse_extended(struct tsn_parser *p, struct tsn_expr *operand)
{
    bool anchored = p->token.type == TSN_TOK_ANCHORED;
    const char *word = anchored ? "anchored" : "smoothed";
    struct tsn_expr *target = operand->kind == TSN_EXPR_MATRIX ? operand->u.matrix.selector : operand;

    tsn_parser_advance(p);
    if (target->kind == TSN_EXPR_SUBQUERY)
        return tsn_parser_fail(p, operand->span, "%s modifier is not supported for subqueries", word);
    if (target->kind != TSN_EXPR_SELECTOR)
        return tsn_parser_fail(p, operand->span, "%s modifier not implemented", word);
    if (anchored)
        target->u.selector.anchored = true;
    else
        target->u.selector.smoothed = true;
    if (target->u.selector.anchored && target->u.selector.smoothed)
        return tsn_parser_fail(p, operand->span, "anchored and smoothed modifiers cannot be used together");
    return operand;
}
