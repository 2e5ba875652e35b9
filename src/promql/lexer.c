/*
 * lexer: see lexer.h.
 *
 * Accepts and refuses what Prometheus 3.16's lexer does, oddities included: numbers and durations
 * are scanned by the same loop (underscores, hex, one exponent), and what the loop leaves behind
 * decides whether it was a duration.
 */
#include "promql/lexer.h"

struct keyword {
    const char *word;
    enum tsn_token_type type;
    int op;
};

static const struct keyword keywords[] = {
    { "and", TSN_TOK_BINOP, TSN_OP_AND },
    { "or", TSN_TOK_BINOP, TSN_OP_OR },
    { "unless", TSN_TOK_BINOP, TSN_OP_UNLESS },
    { "atan2", TSN_TOK_BINOP, TSN_OP_ATAN2 },
    { "sum", TSN_TOK_AGGREGATOR, TSN_AGG_SUM },
    { "avg", TSN_TOK_AGGREGATOR, TSN_AGG_AVG },
    { "count", TSN_TOK_AGGREGATOR, TSN_AGG_COUNT },
    { "min", TSN_TOK_AGGREGATOR, TSN_AGG_MIN },
    { "max", TSN_TOK_AGGREGATOR, TSN_AGG_MAX },
    { "group", TSN_TOK_AGGREGATOR, TSN_AGG_GROUP },
    { "stddev", TSN_TOK_AGGREGATOR, TSN_AGG_STDDEV },
    { "stdvar", TSN_TOK_AGGREGATOR, TSN_AGG_STDVAR },
    { "topk", TSN_TOK_AGGREGATOR, TSN_AGG_TOPK },
    { "bottomk", TSN_TOK_AGGREGATOR, TSN_AGG_BOTTOMK },
    { "count_values", TSN_TOK_AGGREGATOR, TSN_AGG_COUNT_VALUES },
    { "quantile", TSN_TOK_AGGREGATOR, TSN_AGG_QUANTILE },
    { "limitk", TSN_TOK_AGGREGATOR, TSN_AGG_LIMITK },
    { "limit_ratio", TSN_TOK_AGGREGATOR, TSN_AGG_LIMIT_RATIO },
    { "offset", TSN_TOK_OFFSET, 0 },
    { "smoothed", TSN_TOK_SMOOTHED, 0 },
    { "anchored", TSN_TOK_ANCHORED, 0 },
    { "by", TSN_TOK_BY, 0 },
    { "without", TSN_TOK_WITHOUT, 0 },
    { "on", TSN_TOK_ON, 0 },
    { "ignoring", TSN_TOK_IGNORING, 0 },
    { "group_left", TSN_TOK_GROUP_LEFT, 0 },
    { "group_right", TSN_TOK_GROUP_RIGHT, 0 },
    { "fill", TSN_TOK_FILL, 0 },
    { "fill_left", TSN_TOK_FILL, 0 },
    { "fill_right", TSN_TOK_FILL, 0 },
    { "bool", TSN_TOK_BOOL, 0 },
    { "start", TSN_TOK_START, 0 },
    { "end", TSN_TOK_END, 0 },
    { "step", TSN_TOK_STEP, 0 },
    { "range", TSN_TOK_RANGE, 0 },
    { "max_of", TSN_TOK_MAX_OF, 0 },
    { "min_of", TSN_TOK_MIN_OF, 0 },
    { "inf", TSN_TOK_NUMBER, 0 },
    { "nan", TSN_TOK_NUMBER, 0 },
};

void tsn_lexer_init(struct tsn_lexer *lexer, const char *text, uint32_t len)
{
    memset(lexer, 0, sizeof *lexer);
    lexer->text = text;
    lexer->len = len;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

enum tsn_token_type tsn_lexer_keyword(const char *word, uint32_t len, int *op)
{
    for (size_t k = 0; k < TSN_ARRAY_LEN(keywords); k++) {
        uint32_t i = 0;

        while (i < len && keywords[k].word[i] && lower(word[i]) == keywords[k].word[i])
            i++;
        if (i == len && !keywords[k].word[i]) {
            *op = keywords[k].op;
            return keywords[k].type;
        }
    }
    *op = 0;
    return TSN_TOK_IDENTIFIER;
}

/* -1 at the end. */
static int peek_at(const struct tsn_lexer *l, uint32_t pos)
{
    return pos < l->len ? (unsigned char)l->text[pos] : -1;
}

static int peek(const struct tsn_lexer *l)
{
    return peek_at(l, l->pos);
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}
static bool is_alpha(int c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_in(int c, const char *set)
{
    return c > 0 && strchr(set, c);
}

static bool accept(struct tsn_lexer *l, const char *set)
{
    if (!is_in(peek(l), set))
        return false;
    l->pos++;
    return true;
}

static struct tsn_token token(struct tsn_lexer *l, enum tsn_token_type type, uint32_t start)
{
    return (struct tsn_token){ .type = type, .span = { start, l->pos } };
}

static struct tsn_token binop(struct tsn_lexer *l, enum tsn_binop op, uint32_t start)
{
    return (struct tsn_token){ .type = TSN_TOK_BINOP, .op = op, .span = { start, l->pos } };
}

__attribute__((format(printf, 3, 4))) static struct tsn_token fail(struct tsn_lexer *l, uint32_t start,
                                                                   const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(l->error, sizeof l->error, fmt, args);
    va_end(args);
    l->failed = true;
    l->failure = (struct tsn_token){ .type = TSN_TOK_ERROR, .span = { start, l->len } };
    return l->failure;
}

/* Names the character at pos in an error: itself if printable, else its code point. */
static struct tsn_token fail_char(struct tsn_lexer *l, uint32_t pos, const char *what)
{
    uint32_t code = 0;
    int width;

    if (pos >= l->len)
        return fail(l, pos, "%s: end of input", what);
    width = (int)tsn_utf8_decode(l->text + pos, l->len - pos, &code);
    if (!width)
        return fail(l, pos, "%s: invalid UTF-8", what);
    if (code < 0x20 || code == 0x7f)
        return fail(l, pos, "%s: U+%04X", what, code);
    return fail(l, pos, "%s: '%.*s'", what, width, l->text + pos);
}

/* Digits with at most one dot and exponent and no doubled underscore; false leaves pos where it
 * stopped, from where a duration's unit may follow. */
static bool scan_number(struct tsn_lexer *l)
{
    const char *digits = "0123456789";
    bool hex = false, dot = false, exponent = false;
    uint32_t start = l->pos;

    if (accept(l, "0") && accept(l, "xX")) {
        accept(l, "_");
        digits = "0123456789abcdefABCDEF";
        hex = true;
    }
    accept(l, ".");
    accept(l, digits);
    while (is_in(peek(l), digits) || is_in(peek(l), "._eE")) {
        if (is_in(peek(l), ".") && dot) {
            l->pos++;
            return false;
        }
        if (is_in(peek(l), "eE") && exponent) {
            l->pos++;
            return false;
        }
        if (accept(l, ".")) {
            dot = true;
            if (accept(l, "_.") || hex)
                return false;
        } else if (accept(l, "eE")) {
            exponent = true;
            accept(l, "+-");
            if (accept(l, "._eE") || peek(l) < 0)
                return false;
        } else if (accept(l, "_")) {
            if (accept(l, "._eE") || peek(l) < 0)
                return false;
        } else {
            while (accept(l, digits))
                continue;
        }
    }
    return l->pos != start && !is_alpha(peek(l)) && !is_digit(peek(l));
}

static bool scan_duration_rest(struct tsn_lexer *l)
{
    if (!accept(l, "smhdwy"))
        return false;
    accept(l, "s");
    while (accept(l, "0123456789")) {
        while (accept(l, "0123456789"))
            continue;
        if (!accept(l, "smhdw"))
            return false;
        accept(l, "s");
    }
    return !is_alpha(peek(l)) && !is_digit(peek(l));
}

static struct tsn_token lex_number(struct tsn_lexer *l)
{
    uint32_t start = l->pos;

    l->bracket_head = false;
    if (scan_number(l))
        return token(l, TSN_TOK_NUMBER, start);
    if (scan_duration_rest(l))
        return token(l, TSN_TOK_DURATION, start);
    return fail(l, start, "bad number or duration syntax: \"%.*s\"",
                (int)(l->pos - start < 80 ? l->pos - start : 80), l->text + start);
}

static int digit_value(int c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* After the backslash; false with the error set. */
static bool scan_escape(struct tsn_lexer *l, uint32_t start, char quote)
{
    int c = peek(l), count = 0, base = 16;
    uint32_t value = 0, most = 0x10ffff;

    if (c == quote || is_in(c, "abfnrtv\\")) {
        l->pos++;
        return true;
    }
    if (c >= '0' && c <= '7') {
        count = 3;
        base = 8;
        most = 255;
    } else if (is_in(c, "xuU")) {
        count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        most = c == 'x' ? 255 : most;
        l->pos++;
    } else if (c < 0) {
        fail(l, start, "escape sequence not terminated");
        return false;
    } else {
        fail_char(l, l->pos, "unknown escape sequence");
        return false;
    }
    for (; count; count--, l->pos++) {
        int d = digit_value(peek(l));

        if (d >= base) {
            fail_char(l, l->pos, peek(l) < 0 ? "escape sequence not terminated"
                                             : "illegal character in escape sequence");
            return false;
        }
        value = value * (uint32_t)base + (uint32_t)d;
    }
    if (value > most || (value >= 0xd800 && value < 0xe000)) {
        fail(l, start, "escape sequence is an invalid Unicode code point");
        return false;
    }
    return true;
}

static struct tsn_token lex_string(struct tsn_lexer *l)
{
    uint32_t start = l->pos, code;
    char quote = l->text[l->pos++];

    for (;;) {
        int c = peek(l);
        size_t width;

        if (c < 0 || (c == '\n' && quote != '`'))
            return fail(l, start, "unterminated %s string", quote == '`' ? "raw" : "quoted");
        width = tsn_utf8_decode(l->text + l->pos, l->len - l->pos, &code);
        if (!width || code == 0xfffd)
            return fail(l, l->pos, "invalid UTF-8 rune");
        l->pos += (uint32_t)width;
        if (c == quote)
            return token(l, TSN_TOK_STRING, start);
        if (c == '\\' && quote != '`' && !scan_escape(l, start, quote))
            return l->failure;
    }
}

/* fill(…) is a modifier, plain fill a metric name. */
static bool paren_follows(const struct tsn_lexer *l)
{
    uint32_t pos = l->pos;

    while (is_space(peek_at(l, pos)))
        pos++;
    return peek_at(l, pos) == '(';
}

static struct tsn_token lex_word(struct tsn_lexer *l)
{
    uint32_t start = l->pos;
    bool colon = false;
    struct tsn_token t;

    for (; is_alpha(peek(l)) || is_digit(peek(l)) || (peek(l) == ':' && !l->in_braces); l->pos++)
        colon |= peek(l) == ':';
    t = token(l, colon ? TSN_TOK_METRIC : TSN_TOK_IDENTIFIER, start);
    if (l->in_braces || colon)
        return t;
    t.type = tsn_lexer_keyword(l->text + start, l->pos - start, &t.op);
    if (t.type == TSN_TOK_FILL && !paren_follows(l))
        t.type = TSN_TOK_IDENTIFIER;
    return t;
}

/* In brackets only step(), range(), max_of() and min_of() are words. */
static struct tsn_token lex_bracket_word(struct tsn_lexer *l)
{
    uint32_t start = l->pos;
    struct tsn_token t;

    while (is_alpha(peek(l)))
        l->pos++;
    t = token(l, TSN_TOK_IDENTIFIER, start);
    t.type = tsn_lexer_keyword(l->text + start, l->pos - start, &t.op);
    if (t.type >= TSN_TOK_STEP && t.type <= TSN_TOK_MIN_OF)
        return t;
    l->pos = start;
    return fail_char(l, start, "unexpected character in duration expression");
}

static struct tsn_token lex_in_braces(struct tsn_lexer *l)
{
    uint32_t start = l->pos;
    int c = peek(l);

    if (c < 0)
        return fail(l, start, "unexpected end of input inside braces");
    if (is_alpha(c))
        return lex_word(l);
    if (c == '"' || c == '\'' || c == '`')
        return lex_string(l);
    l->pos++;
    switch (c) {
    case ',': return token(l, TSN_TOK_COMMA, start);
    case '}': l->in_braces = false; return token(l, TSN_TOK_RBRACE, start);
    case '=':
        return accept(l, "~") ? token(l, TSN_TOK_EQ_RE, start) : token(l, TSN_TOK_ASSIGN, start);
    case '!':
        if (accept(l, "~"))
            return token(l, TSN_TOK_NE_RE, start);
        if (accept(l, "="))
            return binop(l, TSN_OP_NE, start);
        return fail_char(l, l->pos, "unexpected character after '!' inside braces");
    case '{': return fail(l, start, "unexpected left brace '{'");
    default: return fail_char(l, start, "unexpected character inside braces");
    }
}

static struct tsn_token lex_comparison(struct tsn_lexer *l, int c, uint32_t start)
{
    switch (c) {
    case '=':
        if (accept(l, "="))
            return binop(l, TSN_OP_EQ, start);
        if (peek(l) == '~')
            return fail_char(l, l->pos, "unexpected character after '='");
        return token(l, TSN_TOK_ASSIGN, start);
    case '!':
        if (accept(l, "="))
            return binop(l, TSN_OP_NE, start);
        return fail_char(l, l->pos, "unexpected character after '!'");
    case '<':
        if (accept(l, "="))
            return binop(l, TSN_OP_LE, start);
        return accept(l, "/") ? binop(l, TSN_OP_TRIM_UPPER, start) : binop(l, TSN_OP_LT, start);
    default:
        if (accept(l, "="))
            return binop(l, TSN_OP_GE, start);
        return accept(l, "/") ? binop(l, TSN_OP_TRIM_LOWER, start) : binop(l, TSN_OP_GT, start);
    }
}

static struct tsn_token lex_bracket(struct tsn_lexer *l, int c, uint32_t start)
{
    if (c == '[') {
        if (l->in_brackets)
            return fail(l, start, "unexpected left bracket '['");
        l->in_brackets = l->bracket_head = true;
        return token(l, TSN_TOK_LBRACKET, start);
    }
    if (!l->in_brackets)
        return fail(l, start, "unexpected right bracket ']'");
    l->in_brackets = l->bracket_head = false;
    return token(l, TSN_TOK_RBRACKET, start);
}

static struct tsn_token lex_symbol(struct tsn_lexer *l)
{
    uint32_t start = l->pos;
    int c = peek(l);

    l->pos++;
    switch (c) {
    case ',': return token(l, TSN_TOK_COMMA, start);
    case '*': return binop(l, TSN_OP_MUL, start);
    case '/': return binop(l, TSN_OP_DIV, start);
    case '%': return binop(l, TSN_OP_MOD, start);
    case '+': return binop(l, TSN_OP_ADD, start);
    case '-': return binop(l, TSN_OP_SUB, start);
    case '^': return binop(l, TSN_OP_POW, start);
    case '@': return token(l, TSN_TOK_AT, start);
    case ':': return token(l, TSN_TOK_COLON, start);
    case '=':
    case '!':
    case '<':
    case '>': return lex_comparison(l, c, start);
    case '(': l->paren_depth++; return token(l, TSN_TOK_LPAREN, start);
    case ')':
        if (--l->paren_depth < 0)
            return fail(l, start, "unexpected right parenthesis ')'");
        return token(l, TSN_TOK_RPAREN, start);
    case '{': l->in_braces = true; return token(l, TSN_TOK_LBRACE, start);
    case '[':
    case ']': return lex_bracket(l, c, start);
    default: return fail_char(l, start, "unexpected character");
    }
}

static struct tsn_token lex_end(struct tsn_lexer *l)
{
    if (l->in_braces)
        return fail(l, l->pos, "unexpected end of input inside braces");
    if (l->paren_depth)
        return fail(l, l->pos, "unclosed left parenthesis");
    if (l->in_brackets)
        return fail(l, l->pos, "unclosed left bracket");
    return token(l, TSN_TOK_EOF, l->pos);
}

struct tsn_token tsn_lexer_next(struct tsn_lexer *l)
{
    int c;

    if (l->failed)
        return l->failure;
    for (;;) {
        while (is_space(peek(l)))
            l->pos++;
        if (peek(l) != '#' || l->bracket_head)
            break;
        while (l->pos < l->len && !is_in(peek(l), "\r\n"))
            l->pos++;
    }
    c = peek(l);
    if (c < 0)
        return lex_end(l);
    if (l->in_braces)
        return lex_in_braces(l);
    if (is_digit(c) || (c == '.' && is_digit(peek_at(l, l->pos + 1))))
        return lex_number(l);
    if (c == '"' || c == '\'' || c == '`')
        return lex_string(l);
    if (is_alpha(c) && l->in_brackets)
        return lex_bracket_word(l);
    if (is_alpha(c) || (c == ':' && !l->in_brackets))
        return lex_word(l);
    return lex_symbol(l);
}
