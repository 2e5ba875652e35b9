/*
 * template_lex: tokens of the template language.
 *
 * Text outside {{ }} is one token; inside, spaces are tokens too, because ".x .y" and ".x.y"
 * differ. Trim markers ("{{- " and " -}}") and comments are dealt with here and never seen by the
 * parser. Errors are tokens, so that the parser can say where an action began. Linear in the text.
 */
#include "rules/template.h"

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool has_prefix(const struct tmpl_lexer *l, size_t at, const char *prefix)
{
    size_t n = strlen(prefix);

    return at <= l->len && l->len - at >= n && !memcmp(l->input + at, prefix, n);
}

static uint32_t line_at(struct tmpl_lexer *l, size_t pos)
{
    for (; l->line_seen < pos; l->line_seen++)
        l->line += l->input[l->line_seen] == '\n';
    return l->line;
}

void tmpl_lexer_init(struct tmpl_lexer *l, struct tsn_arena *arena, const char *text, size_t len)
{
    *l = (struct tmpl_lexer){ .input = text, .len = len, .line = 1, .start_line = 1, .arena = arena };
}

static struct tmpl_token emit(struct tmpl_lexer *l, enum tmpl_token_type type)
{
    struct tmpl_token token = { type, (uint32_t)l->start, line_at(l, l->start),
                                { l->input + l->start, l->pos - l->start } };

    l->start = l->pos;
    return token;
}

static struct tmpl_token fail(struct tmpl_lexer *l, const char *message)
{
    struct tmpl_token token = { TOK_ERROR, (uint32_t)l->start, line_at(l, l->start),
                                { message, strlen(message) } };

    l->pos = l->start = l->len;
    l->inside_action = false;
    return token;
}

/* The code point at pos, -1 at the end; *width its bytes (1 for a broken byte). */
static int32_t rune_at(const struct tmpl_lexer *l, size_t pos, size_t *width)
{
    uint32_t c;

    if (pos >= l->len) {
        *width = 0;
        return -1;
    }
    *width = tsn_utf8_decode(l->input + pos, l->len - pos, &c);
    if (!*width) {
        *width = 1;
        return 0xfffd;
    }
    return (int32_t)c;
}

static struct tmpl_token bad_character(struct tmpl_lexer *l, const char *what, int32_t c)
{
    char shown[8] = "";

    if (c < 0)
        return fail(l, tsn_arena_printf(l->arena, "%s U+FFFFFFFFFFFFFFFF", what));
    if (!tmpl_is_print((uint32_t)c))
        return fail(l, tsn_arena_printf(l->arena, "%s U+%04X", what, (unsigned)c));
    shown[tsn_utf8_encode((uint32_t)c, shown)] = '\0';
    return fail(l, tsn_arena_printf(l->arena, "%s U+%04X '%s'", what, (unsigned)c, shown));
}

static bool at_right_delim(const struct tmpl_lexer *l, size_t pos, bool *trim)
{
    *trim = pos < l->len && is_space(l->input[pos]) && has_prefix(l, pos + 1, "-}}");
    return *trim || has_prefix(l, pos, "}}");
}

static bool left_trim_marker(const struct tmpl_lexer *l, size_t pos)
{
    return pos + 1 < l->len && l->input[pos] == '-' && is_space(l->input[pos + 1]);
}

static void skip_spaces(struct tmpl_lexer *l)
{
    while (l->pos < l->len && is_space(l->input[l->pos]))
        l->pos++;
}

/* After "{{" and a comment's opening: true if skipped, false with *token. */
static bool skip_comment(struct tmpl_lexer *l, struct tmpl_token *token)
{
    const char *end;
    bool trim;

    l->start = l->pos;
    l->pos += 2;
    end = memmem(l->input + l->pos, l->len - l->pos, "*/", 2);
    if (!end) {
        *token = fail(l, "unclosed comment");
        return false;
    }
    l->pos = (size_t)(end - l->input) + 2;
    if (!at_right_delim(l, l->pos, &trim)) {
        *token = fail(l, "comment ends before closing delimiter");
        return false;
    }
    l->pos += trim ? 4 : 2;
    if (trim)
        skip_spaces(l);
    l->start = l->pos;
    return true;
}

static struct tmpl_token lex_text(struct tmpl_lexer *l)
{
    for (;;) {
        const char *delim = memmem(l->input + l->pos, l->len - l->pos, "{{", 2);
        struct tmpl_token token;
        size_t marker;

        if (!delim) {
            l->pos = l->len;
            return emit(l, l->pos > l->start ? TOK_TEXT : TOK_EOF);
        }
        l->pos = (size_t)(delim - l->input);
        marker = left_trim_marker(l, l->pos + 2) ? 2 : 0;
        if (l->pos > l->start) {
            size_t at = l->pos;

            if (marker)
                while (l->pos > l->start && is_space(l->input[l->pos - 1]))
                    l->pos--;
            token = emit(l, TOK_TEXT);
            l->pos = l->start = at;
            if (token.val.len)
                return token;
        }
        if (has_prefix(l, l->pos + 2 + marker, "/*")) {
            l->pos += 2 + marker;
            if (!skip_comment(l, &token))
                return token;
            continue;
        }
        l->pos += 2;
        token = emit(l, TOK_LEFT_DELIM);
        l->pos += marker;
        l->start = l->pos;
        l->inside_action = true;
        l->paren_depth = 0;
        return token;
    }
}

static struct tmpl_token lex_right_delim(struct tmpl_lexer *l)
{
    struct tmpl_token token;
    bool trim;

    at_right_delim(l, l->pos, &trim);
    if (trim)
        l->pos += 2;
    l->start = l->pos;
    l->pos += 2;
    token = emit(l, TOK_RIGHT_DELIM);
    if (trim)
        skip_spaces(l);
    l->start = l->pos;
    l->inside_action = false;
    return token;
}

static struct tmpl_token lex_space(struct tmpl_lexer *l)
{
    bool trim;

    skip_spaces(l);
    /* The last space may belong to " -}}". */
    if (at_right_delim(l, l->pos - 1, &trim) && trim) {
        l->pos--;
        if (l->pos == l->start)
            return lex_right_delim(l);
    }
    return emit(l, TOK_SPACE);
}

static bool at_terminator(const struct tmpl_lexer *l)
{
    if (l->pos >= l->len)
        return true;
    return strchr(" \t\r\n.,|:)(", l->input[l->pos]) ? l->input[l->pos] != '\0'
                                                    : has_prefix(l, l->pos, "}}");
}

static int32_t skip_alphanumeric(struct tmpl_lexer *l)
{
    size_t width;
    int32_t c;

    while ((c = rune_at(l, l->pos, &width)) >= 0 && tmpl_is_letter((uint32_t)c))
        l->pos += width;
    return c;
}

static struct tmpl_token lex_identifier(struct tmpl_lexer *l)
{
    static const struct {
        const char *word;
        enum tmpl_token_type type;
    } words[] = {
        { "block", TOK_BLOCK }, { "break", TOK_BREAK }, { "continue", TOK_CONTINUE },
        { "define", TOK_DEFINE }, { "else", TOK_ELSE }, { "end", TOK_END }, { "if", TOK_IF },
        { "range", TOK_RANGE }, { "nil", TOK_NIL }, { "template", TOK_TEMPLATE },
        { "with", TOK_WITH }, { "true", TOK_BOOL }, { "false", TOK_BOOL },
    };
    int32_t next = skip_alphanumeric(l);

    if (!at_terminator(l))
        return bad_character(l, "bad character", next);
    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++)
        if (strlen(words[i].word) == l->pos - l->start && has_prefix(l, l->start, words[i].word))
            return emit(l, words[i].type);
    return emit(l, TOK_IDENTIFIER);
}

/* The '.' or '$' has been passed. */
static struct tmpl_token lex_field_or_variable(struct tmpl_lexer *l, enum tmpl_token_type type)
{
    int32_t next;

    if (at_terminator(l))
        return emit(l, type == TOK_VARIABLE ? TOK_VARIABLE : TOK_DOT);
    next = skip_alphanumeric(l);
    if (!at_terminator(l))
        return bad_character(l, "bad character", next);
    return emit(l, type);
}

static bool accept(struct tmpl_lexer *l, const char *set)
{
    if (l->pos < l->len && l->input[l->pos] && strchr(set, l->input[l->pos])) {
        l->pos++;
        return true;
    }
    return false;
}

static bool scan_number(struct tmpl_lexer *l)
{
    const char *digits = "0123456789_";
    size_t width;
    int32_t c;

    accept(l, "+-");
    if (accept(l, "0")) {
        if (accept(l, "xX"))
            digits = "0123456789abcdefABCDEF_";
        else if (accept(l, "oO"))
            digits = "01234567_";
        else if (accept(l, "bB"))
            digits = "01_";
    }
    while (accept(l, digits))
        ;
    if (accept(l, "."))
        while (accept(l, digits))
            ;
    if (strlen(digits) == 11 ? accept(l, "eE") : strlen(digits) == 23 && accept(l, "pP")) {
        accept(l, "+-");
        while (accept(l, "0123456789_"))
            ;
    }
    accept(l, "i");
    c = rune_at(l, l->pos, &width);
    if (c >= 0 && tmpl_is_letter((uint32_t)c)) {
        l->pos += width;
        return false;
    }
    return true;
}

static struct tmpl_token bad_number(struct tmpl_lexer *l)
{
    struct tsn_buf quoted = TSN_BUF_INIT;
    const char *message;

    tmpl_quote(&quoted, (struct tmpl_str){ l->input + l->start, l->pos - l->start }, '"', false);
    message = tsn_arena_printf(l->arena, "bad number syntax: %s", tsn_buf_str(&quoted));
    tsn_buf_release(&quoted);
    return fail(l, message);
}

static struct tmpl_token lex_number(struct tmpl_lexer *l)
{
    if (!scan_number(l))
        return bad_number(l);
    if (l->pos < l->len && (l->input[l->pos] == '+' || l->input[l->pos] == '-')) {
        if (!scan_number(l) || l->input[l->pos - 1] != 'i')
            return bad_number(l);
        return emit(l, TOK_COMPLEX);
    }
    return emit(l, TOK_NUMBER);
}

static struct tmpl_token lex_quoted(struct tmpl_lexer *l, char quote, enum tmpl_token_type type,
                                    const char *error)
{
    while (l->pos < l->len) {
        char c = l->input[l->pos++];

        if (c == quote)
            return emit(l, type);
        if (c == '\\' && quote != '`') {
            if (l->pos >= l->len || l->input[l->pos] == '\n')
                break;
            l->pos++;
        } else if (c == '\n' && quote != '`') {
            break;
        }
    }
    return fail(l, error);
}

static struct tmpl_token lex_paren(struct tmpl_lexer *l, char c)
{
    l->paren_depth += c == '(' ? 1 : -1;
    if (l->paren_depth < 0)
        return fail(l, "unexpected right paren");
    return emit(l, c == '(' ? TOK_LEFT_PAREN : TOK_RIGHT_PAREN);
}

static struct tmpl_token lex_action(struct tmpl_lexer *l)
{
    size_t width;
    bool trim;
    int32_t c;

    if (at_right_delim(l, l->pos, &trim)) {
        if (!l->paren_depth)
            return lex_right_delim(l);
        return fail(l, "unclosed left paren");
    }
    c = rune_at(l, l->pos, &width);
    if (c < 0)
        return fail(l, "unclosed action");
    if (is_space(c))
        return lex_space(l);
    if (c == '.' && l->pos + 1 < l->len && l->input[l->pos + 1] >= '0' && l->input[l->pos + 1] <= '9')
        return lex_number(l);
    if (c == '+' || c == '-' || (c >= '0' && c <= '9'))
        return lex_number(l);
    if (c < 0x80 && strchr("=:|\"`$'.()", c) == NULL && tmpl_is_letter((uint32_t)c))
        return lex_identifier(l);
    l->pos += width;
    switch (c) {
    case '=': return emit(l, TOK_ASSIGN);
    case ':':
        if (l->pos < l->len && l->input[l->pos] == '=') {
            l->pos++;
            return emit(l, TOK_DECLARE);
        }
        return fail(l, "expected :=");
    case '|': return emit(l, TOK_PIPE);
    case '"': return lex_quoted(l, '"', TOK_STRING, "unterminated quoted string");
    case '`': return lex_quoted(l, '`', TOK_RAW_STRING, "unterminated raw quoted string");
    case '\'': return lex_quoted(l, '\'', TOK_CHAR_CONSTANT, "unterminated character constant");
    case '$': return lex_field_or_variable(l, TOK_VARIABLE);
    case '.':
        /* A lone '.' at the very end is the start of a number to Go. */
        if (l->pos >= l->len)
            return emit(l, TOK_NUMBER);
        return lex_field_or_variable(l, TOK_FIELD);
    case '(':
    case ')': return lex_paren(l, (char)c);
    default:
        if (tmpl_is_letter((uint32_t)c)) {
            l->pos -= width;
            return lex_identifier(l);
        }
        if (c > 0x20 && c < 0x7f)
            return emit(l, TOK_CHAR);
        return bad_character(l, "unrecognized character in action:", c);
    }
}

struct tmpl_token tmpl_lexer_next(struct tmpl_lexer *l)
{
    return l->inside_action ? lex_action(l) : lex_text(l);
}
