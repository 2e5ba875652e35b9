/*
 * series_notation: see tocsin/series_notation.h.
 *
 * The name and its labels go through the language's own lexer, so that keywords as names, quoted
 * names and escapes mean the same as in a rule. The values have a grammar of their own, where
 * `0x10` is eleven zeros and `_` a gap; they are scanned here, each number again by the language.
 */
#include "tocsin/series_notation.h"

#include "promql/parser.h"

#include <string.h>
#include <strings.h>

struct scan {
    const char *text;
    size_t len, pos;
    struct tsn_error *error;
};

static enum tsn_err fail(struct tsn_error *error, size_t pos, const char *why)
{
    return tsn_error_set(error, TSN_ERR_INVALID, "series notation, column %zu: %s", pos + 1, why);
}

static int peek(const struct scan *s)
{
    return s->pos < s->len ? (unsigned char)s->text[s->pos] : -1;
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || is_digit(c);
}

/* ---- name and labels ---------------------------------------------------------------------- */

/* name="value" or "a quoted metric name". False with the parser's error set. */
static bool parse_label(struct tsn_parser *p, struct tsn_labels_builder *builder)
{
    struct tsn_token name = p->token;
    const char *name_text = p->lexer.text + name.span.start;
    uint32_t name_len = name.span.end - name.span.start, value_len = 0;
    const char *value;

    if (name.type == TSN_TOK_STRING)
        name_text = tsn_parse_unquote(p, name, &name_len);
    else if (name.type != TSN_TOK_IDENTIFIER)
        return tsn_parser_unexpected(p, "label set", "identifier or \"}\"") != NULL;
    if (p->failed)
        return false;
    tsn_parser_advance(p);
    if (!tsn_parser_accept(p, TSN_TOK_ASSIGN)) {
        if (name.type != TSN_TOK_STRING)
            return tsn_parser_unexpected(p, "label set", "\"=\"") != NULL;
        tsn_labels_builder_setn(builder, "__name__", strlen("__name__"), name_text, name_len);
        return true;
    }
    if (p->token.type != TSN_TOK_STRING)
        return tsn_parser_unexpected(p, "label set", "string") != NULL;
    value = tsn_parse_unquote(p, p->token, &value_len);
    if (p->failed)
        return false;
    tsn_labels_builder_setn(builder, name_text, name_len, value, value_len);
    /* The closing brace is the last thing the lexer looks at: values are not its language. */
    tsn_parser_advance(p);
    return true;
}

/* The lookahead is what follows "{". *end: one past "}". */
static bool parse_label_set(struct tsn_parser *p, struct tsn_labels_builder *builder, size_t *end)
{
    while (p->token.type != TSN_TOK_RBRACE) {
        if (!parse_label(p, builder))
            return false;
        if (p->token.type != TSN_TOK_RBRACE && !tsn_parser_accept(p, TSN_TOK_COMMA))
            return tsn_parser_unexpected(p, "label set", "\",\" or \"}\"") != NULL;
    }
    *end = p->token.span.end;
    return true;
}

/* Length of the bare name at the start of text: words, and bytes of UTF-8. */
static size_t name_length(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && is_word((unsigned char)text[n]))
        n++;
    return n && is_digit((unsigned char)text[0]) ? 0 : n;
}

/* *used: how many bytes the name and labels took. */
static enum tsn_err parse_metric(const char *text, size_t len, size_t *used, struct tsn_labels **out,
                                 struct tsn_error *error)
{
    struct tsn_query query = { 0 };
    struct tsn_parse_error parse_error = { 0 };
    struct tsn_parser p = { .query = &query, .error = &parse_error };
    struct tsn_labels_builder builder;
    size_t name = name_length(text, len), at = name;
    enum tsn_err code = TSN_OK;

    *out = NULL;
    tsn_labels_builder_init(&builder);
    tsn_arena_init(&query.arena, 1024);
    tsn_labels_builder_setn(&builder, "__name__", strlen("__name__"), text, name);
    while (at < len && is_space((unsigned char)text[at]))
        at++;
    if (at < len && text[at] == '{' && !(at + 1 < len && text[at + 1] == '{')) {
        tsn_lexer_init(&p.lexer, text + at, (uint32_t)(len - at));
        tsn_parser_advance(&p);
        tsn_parser_advance(&p);
        if (parse_label_set(&p, &builder, used))
            *used += at;
        else
            code = fail(error, at + parse_error.span.start, parse_error.message);
        if (!code && name) /* the name in front wins over one in the braces */
            tsn_labels_builder_setn(&builder, "__name__", strlen("__name__"), text, name);
    } else if (!name) {
        code = fail(error, 0, "expected a metric name or \"{\"");
    } else {
        *used = name;
    }
    if (!code)
        *out = tsn_labels_builder_finish(&builder);
    tsn_labels_builder_release(&builder);
    tsn_arena_release(&query.arena);
    return code;
}

/* ---- values ------------------------------------------------------------------------------- */

/* Takes the characters of a decimal number; 'x' ends it. */
static void skip_number(struct scan *s)
{
    while (is_digit(peek(s)) || peek(s) == '.' || peek(s) == '_') {
        s->pos++;
        if (peek(s) == 'e' || peek(s) == 'E') {
            s->pos++;
            if (peek(s) == '+' || peek(s) == '-')
                s->pos++;
        }
    }
}

/* text[0, len) as the language reads a number. */
static bool number_of(const char *text, size_t len, double *out)
{
    struct tsn_query query = { 0 };
    struct tsn_parse_error ignored;
    struct tsn_parser p = { .query = &query, .error = &ignored };
    bool is_duration;

    tsn_lexer_init(&p.lexer, text, (uint32_t)len);
    tsn_parser_advance(&p);
    return p.token.type == TSN_TOK_NUMBER && p.token.span.end == len && tsn_parse_number(&p, out, &is_duration) &&
           p.token.type == TSN_TOK_EOF;
}

/* An unsigned number, Inf or NaN; *is_stale (NULL: not allowed here) for the word. */
static enum tsn_err scan_number(struct scan *s, double *out, bool *is_stale)
{
    size_t start = s->pos, len;
    bool word = !is_digit(peek(s)) && peek(s) != '.';

    if (word)
        while (is_word(peek(s)))
            s->pos++;
    else
        skip_number(s);
    len = s->pos - start;
    if (!len)
        return fail(s->error, start, s->pos < s->len && s->text[start] == '{' ?
                                         "native histograms are not supported" :
                                         "expected a number, \"_\" or \"stale\"");
    if (word && is_stale && len == 5 && memcmp(s->text + start, "stale", 5) == 0) {
        *is_stale = true;
        *out = tsn_stale();
        return TSN_OK;
    }
    if (!word && is_word(peek(s)) && peek(s) != 'x')
        return fail(s->error, start, "bad number");
    return number_of(s->text + start, len, out) ? TSN_OK :
                                                  fail(s->error, start, "expected a number, \"_\" or \"stale\"");
}

/* +n or -n or, where allowed, n. */
static enum tsn_err scan_signed(struct scan *s, double *out, bool *is_stale)
{
    int sign = peek(s);
    enum tsn_err code;

    if (sign != '+' && sign != '-')
        return scan_number(s, out, is_stale);
    s->pos++;
    code = scan_number(s, out, NULL);
    if (sign == '-')
        *out = -*out;
    return code;
}

/* xN if it is there: *times and *given. */
static enum tsn_err scan_times(struct scan *s, uint64_t *times, bool *given)
{
    size_t start = s->pos + 1;
    int64_t count;

    *times = 0;
    *given = peek(s) == 'x';
    if (!*given)
        return TSN_OK;
    s->pos++;
    while (is_digit(peek(s)))
        s->pos++;
    if (!tsn_parse_i64(s->text + start, s->pos - start, &count) || is_word(peek(s)) || peek(s) == '.')
        return fail(s->error, start, "invalid repetition in series values");
    if (count > TSN_SERIES_NOTATION_MAX)
        return tsn_error_set(s->error, TSN_ERR_LIMIT, "series notation, column %zu: more than %d values", start + 1,
                             TSN_SERIES_NOTATION_MAX);
    *times = (uint64_t)count;
    return TSN_OK;
}

static enum tsn_err push(struct scan *s, struct tsn_series_notation *out, double value, bool missing)
{
    if (out->count >= TSN_SERIES_NOTATION_MAX)
        return tsn_error_set(s->error, TSN_ERR_LIMIT, "series notation, column %zu: more than %d values", s->pos + 1,
                             TSN_SERIES_NOTATION_MAX);
    if (out->count == out->cap)
        out->values = tsn_vec_grow(out->values, &out->cap, out->count + 1, sizeof *out->values);
    out->values[out->count++] = (struct tsn_series_value){ value, missing };
    return TSN_OK;
}

static enum tsn_err parse_gap(struct scan *s, struct tsn_series_notation *out)
{
    uint64_t times;
    bool given;
    enum tsn_err code;

    s->pos++;
    code = scan_times(s, &times, &given);
    for (uint64_t i = 0; !code && i < (given ? times : 1); i++)
        code = push(s, out, 0, true);
    return code;
}

/* a, axn, a+bxn, a-bxn. */
static enum tsn_err parse_run(struct scan *s, struct tsn_series_notation *out)
{
    double value = 0, step = 0;
    bool is_stale = false, stepped, given;
    uint64_t times;
    enum tsn_err code = scan_signed(s, &value, &is_stale);

    if (code)
        return code;
    stepped = peek(s) == '+' || peek(s) == '-';
    if (stepped && (code = scan_signed(s, &step, NULL)))
        return code;
    if ((code = scan_times(s, &times, &given)))
        return code;
    if (stepped && !given)
        return fail(s->error, s->pos, "a step needs a repetition, as in 1+2x3");
    for (uint64_t i = 0; !code && i <= times; i++) {
        code = push(s, out, value, false);
        if (stepped)
            value += step;
    }
    return code;
}

static enum tsn_err parse_values(struct scan *s, struct tsn_series_notation *out)
{
    enum tsn_err code = TSN_OK;

    while (!code && s->pos < s->len) {
        if (!is_space(peek(s)))
            return fail(s->error, s->pos, "unexpected character in series values");
        while (is_space(peek(s)))
            s->pos++;
        if (peek(s) == '_')
            code = parse_gap(s, out);
        else if (s->pos < s->len)
            code = parse_run(s, out);
    }
    return code;
}

/* ---- public ------------------------------------------------------------------------------- */

static void trim(const char **text, size_t *len)
{
    while (*len && is_space((unsigned char)(*text)[0]))
        (*text)++, (*len)--;
    while (*len && is_space((unsigned char)(*text)[*len - 1]))
        (*len)--;
}

enum tsn_err tsn_series_notation_parse(const char *text, size_t len, struct tsn_series_notation *out,
                                       struct tsn_error *error)
{
    struct scan s = { .error = error };
    enum tsn_err code;

    memset(out, 0, sizeof *out);
    if (len > UINT32_MAX / 2)
        return tsn_error_set(error, TSN_ERR_LIMIT, "series notation: a line of %zu bytes", len);
    trim(&text, &len);
    code = parse_metric(text, len, &s.pos, &out->labels, error);
    s.text = text;
    s.len = len;
    if (!code)
        code = parse_values(&s, out);
    if (code)
        tsn_series_notation_release(out);
    return code;
}

enum tsn_err tsn_series_labels_parse(const char *text, size_t len, struct tsn_labels **out, struct tsn_error *error)
{
    size_t used = 0;
    enum tsn_err code;

    *out = NULL;
    if (len > UINT32_MAX / 2)
        return tsn_error_set(error, TSN_ERR_LIMIT, "series notation: a line of %zu bytes", len);
    trim(&text, &len);
    code = parse_metric(text, len, &used, out, error);
    if (!code && used != len) {
        tsn_labels_unref(*out);
        *out = NULL;
        return fail(error, used, "unexpected text after the labels");
    }
    return code;
}

void tsn_series_notation_release(struct tsn_series_notation *notation)
{
    tsn_labels_unref(notation->labels);
    tsn_free(notation->values);
    memset(notation, 0, sizeof *notation);
}
